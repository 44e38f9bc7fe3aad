//! One measurement in a lab: receivers first, then senders, then the reports of both joined flow by flow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::mininet::{Lab, LabError, Proc, Stream};
use crate::traffic::recv::{Delays, ReceivedStream, RecvReport};
use crate::traffic::send::{SendReport, SentFlow};
use crate::traffic::series::Series;
use crate::traffic::tcp::TcpReport;

/// For a receiver to listen, on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// For packets still in queues when the last one has been sent: the deepest queue at the slowest rate, with room.
const DRAIN: Duration = Duration::from_millis(1500);
/// For a program to write its report, beyond the time it runs.
const REPORT_LIMIT: Duration = Duration::from_secs(20);
/// Generators go before everything but the switch: a late packet is a wrong measurement.
const NICE: i32 = -5;

/// What senders sleep at least, and the width of buckets, unless a trial says otherwise.
const TICK: Duration = Duration::from_micros(500);
const BUCKET: Duration = Duration::from_millis(100);
/// From the start of the first sender until all begin together.
const START_LEAD: Duration = Duration::from_millis(300);
const START_LEAD_PER_SENDER: Duration = Duration::from_millis(60);

/// For the senders of all hosts to have begun.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What went wrong with a measurement.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The lab or a program in it failed.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A program's report is not what it should be.
    #[error("report of {program}: {source}")]
    Report {
        /// Whose.
        program: String,
        /// Where it does not fit.
        source: serde_json::Error,
    },
    /// A flow was measured whose sender or stream is not known.
    #[error("no flow {0:?} was sent")]
    NoFlow(String),
    /// The programs of this project are not beside the one that runs.
    #[error("{0} is not built; `make` builds it")]
    NotBuilt(PathBuf),
}

/// The project's own programs, beside the one that runs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// `payflow-lab`: the traffic generators.
    pub payflow_lab: PathBuf,
    /// `payflow`: controller, ledger and client. It need not exist for measurements alone.
    pub payflow: PathBuf,
}

impl Tools {
    /// Looks beside the running program, and above `deps/` for a test.
    ///
    /// # Errors
    /// When `payflow-lab` is not there.
    pub fn find() -> Result<Self, TrialError> {
        let program = std::env::current_exe().unwrap_or_default();
        let mut dir = program.parent().unwrap_or(Path::new("."));
        if dir.ends_with("deps") {
            dir = dir.parent().unwrap_or(dir);
        }
        let tools = Self {
            payflow_lab: dir.join("payflow-lab"),
            payflow: dir.join("payflow"),
        };
        if tools.payflow_lab.is_file() {
            Ok(tools)
        } else {
            Err(TrialError::NotBuilt(tools.payflow_lab))
        }
    }
}

/// What one flow offered and what arrived of it. All `*_bps` are frame bits per second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FlowResult {
    /// Its name.
    pub name: String,
    /// Packets that left the sender.
    pub sent_packets: u64,
    /// Packets that arrived.
    pub received_packets: u64,
    /// Frame bytes that left the sender.
    pub sent_bytes: u64,
    /// Frame bytes that arrived.
    pub received_bytes: u64,
    /// What was offered, over the time of sending.
    pub offered_bps: u64,
    /// What arrived, over the time of sending.
    pub goodput_bps: u64,
    /// Share of the packets sent that never arrived, 0 to 1.
    pub loss: f64,
    /// One-way delays.
    pub delay_ms: Delays,
    /// Packets that the sender left out because the machine stalled it; the measurement offers less then.
    pub skipped_packets: u64,
    /// Packets that the sender's system refused; they are not among those sent.
    pub failed_packets: u64,
    /// The longest that a packet left after its time, in milliseconds.
    pub longest_lag_ms: f64,
    /// Packets that arrived after one that was sent later.
    pub reordered_packets: u64,
    /// What was sent, over time.
    pub sent: Series,
    /// What arrived, over time.
    pub received: Series,
}

impl FlowResult {
    /// Joins what was sent with what arrived of the same stream; `None` when nothing did.
    #[must_use]
    pub fn join(sent: &SentFlow, received: Option<&ReceivedStream>) -> Self {
        let received_packets = received.map_or(0, |stream| stream.received_packets);
        let received_bytes = received.map_or(0, |stream| stream.received_bytes);
        let goodput_bps = u128::from(received_bytes) * 8_000 / u128::from(sent.duration_ms.max(1));
        Self {
            name: sent.name.clone(),
            sent_packets: sent.sent_packets,
            received_packets,
            sent_bytes: sent.sent_bytes,
            received_bytes,
            offered_bps: sent.offered_bps,
            goodput_bps: u64::try_from(goodput_bps).unwrap_or(u64::MAX),
            loss: share(
                sent.sent_packets.saturating_sub(received_packets),
                sent.sent_packets,
            ),
            delay_ms: received.map(|stream| stream.delay_ms).unwrap_or_default(),
            skipped_packets: sent.skipped_packets,
            failed_packets: sent.failed_packets,
            longest_lag_ms: sent.longest_lag_ms,
            reordered_packets: received.map_or(0, |stream| stream.reordered_packets),
            sent: sent.series.clone(),
            received: received.map_or_else(
                || Series::new(sent.series.bucket_ms),
                |stream| stream.series.clone(),
            ),
        }
    }
}

/// `part / whole` as a number from 0 to 1; 0 of nothing. Packet counts stay far below 2^53, so nothing is rounded away.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// The time since the Unix epoch.
#[must_use]
pub fn unix_now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Whole milliseconds, as the reports count them.
#[must_use]
pub fn unix_ms(since_epoch: Duration) -> u64 {
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// A measurement being set up.
pub struct Trial<'a> {
    lab: &'a Lab,
    tools: &'a Tools,
    duration: Duration,
    tick: Duration,
    bucket: Duration,
    together: bool,
    flows: Vec<(String, String)>,
    ports: BTreeMap<String, Vec<u16>>,
    tcp: Vec<TcpPlan>,
}

struct TcpPlan {
    name: String,
    from: String,
    to: String,
    from_port: u16,
    port: u16,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct TrialResult {
    /// UDP flows by name.
    pub flows: BTreeMap<String, FlowResult>,
    /// TCP flows by name, as their receivers saw them.
    pub tcp: BTreeMap<String, TcpReport>,
}

impl TrialResult {
    /// A UDP flow by name.
    ///
    /// # Errors
    /// When there was none of that name.
    pub fn flow(&self, name: &str) -> Result<&FlowResult, TrialError> {
        self.flows
            .get(name)
            .ok_or_else(|| TrialError::NoFlow(name.to_owned()))
    }
}

impl<'a> Trial<'a> {
    /// Nothing yet, for `duration`.
    #[must_use]
    pub fn new(lab: &'a Lab, tools: &'a Tools, duration: Duration) -> Self {
        Self {
            lab,
            tools,
            duration,
            tick: TICK,
            bucket: BUCKET,
            together: false,
            flows: Vec::new(),
            ports: BTreeMap::new(),
            tcp: Vec::new(),
        }
    }

    /// Lets every UDP sender sleep at least so long between two looks at its schedule: fewer wake-ups where there are many.
    #[must_use]
    pub fn tick(mut self, tick: Duration) -> Self {
        self.tick = tick;
        self
    }

    /// Counts packets over time in buckets so wide.
    #[must_use]
    pub fn bucket(mut self, bucket: Duration) -> Self {
        self.bucket = bucket;
        self
    }

    /// Lets the senders of all hosts begin at the same instant.
    #[must_use]
    pub fn together(mut self) -> Self {
        self.together = true;
        self
    }

    /// Adds a UDP flow from host `from` to port `port` of host `to`. `more` is the rest of its description, as in
    /// `rate=10Mbit,dscp=46`; the name and a stream of its own are added.
    #[must_use]
    pub fn udp(self, name: &str, from: &str, to: &str, port: u16, more: &str) -> Self {
        let address = self.lab.info().host(to).map(|host| host.ip.to_string());
        self.udp_at(name, from, to, &address.unwrap_or_default(), port, more)
    }

    /// The same, to another of the host's addresses; one of IPv6 in brackets.
    #[must_use]
    pub fn udp_at(
        mut self,
        name: &str,
        from: &str,
        to: &str,
        address: &str,
        port: u16,
        more: &str,
    ) -> Self {
        let stream = self.flows.len() + 1;
        self.flows.push((
            from.to_owned(),
            format!("name={name},stream={stream},to={address}:{port},{more}"),
        ));
        let ports = self.ports.entry(to.to_owned()).or_default();
        if !ports.contains(&port) {
            ports.push(port);
        }
        self
    }

    /// Adds a UDP flow of raw frames from host `from`, under the addresses of host `victim`, to port `port` of host `to`.
    #[must_use]
    pub fn spoofed(
        self,
        name: &str,
        from: &str,
        victim: &str,
        to: &str,
        port: u16,
        more: &str,
    ) -> Self {
        let addresses = |host: &str| {
            let host = self.lab.info().host(host);
            host.map(|host| (host.ip, host.mac.clone(), host.interface.clone()))
        };
        let Some(((_, _, interface), (ip, mac, _), (_, destination, _))) = addresses(from)
            .zip(addresses(victim))
            .zip(addresses(to))
            .map(|((a, b), c)| (a, b, c))
        else {
            // The generator refuses a flow without addresses, and says so.
            return self.udp(name, from, to, port, more);
        };
        let raw =
            format!("iface={interface},src-mac={mac},src-ip={ip},dst-mac={destination},{more}");
        self.udp(name, from, to, port, &raw)
    }

    /// Adds a greedy TCP flow.
    #[must_use]
    pub fn tcp(mut self, name: &str, from: &str, from_port: u16, to: &str, port: u16) -> Self {
        self.tcp.push(TcpPlan {
            name: name.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            from_port,
            port,
        });
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// When a program fails.
    pub fn run(self) -> Result<TrialResult, TrialError> {
        self.start()?.finish()
    }

    /// Starts it, for a measurement during which something else happens.
    ///
    /// # Errors
    /// When a program cannot be started.
    pub fn start(self) -> Result<RunningTrial, TrialError> {
        let seconds = format!("{}ms", self.duration.as_millis());
        let mut running = RunningTrial {
            receivers: Vec::new(),
            senders: Vec::new(),
            tcp: Vec::new(),
            ends_at: Instant::now() + self.duration,
            limit: self.duration + START_LIMIT + REPORT_LIMIT,
        };
        let bucket = format!("{}us", self.bucket.as_micros());
        let tick = format!("{}us", self.tick.as_micros());
        for (host, ports) in &self.ports {
            let mut argv = self.traffic(&["recv", "--bucket", &bucket]);
            for port in ports {
                argv.extend(["--port".to_owned(), port.to_string()]);
            }
            running.receivers.push(
                self.lab
                    .program(host, argv)
                    .nice(NICE)
                    .name("recv")
                    .spawn()?,
            );
        }
        for plan in &self.tcp {
            let port = plan.port.to_string();
            let argv = self.traffic(&["tcp-recv", "--port", &port, "--bucket", &bucket]);
            let receiver = self
                .lab
                .program(&plan.to, argv)
                .nice(NICE)
                .name("tcp-recv")
                .spawn()?;
            running.tcp.push((plan.name.clone(), receiver));
        }
        for receiver in running
            .receivers
            .iter()
            .chain(running.tcp.iter().map(|(_, receiver)| receiver))
        {
            receiver.wait_for(Stream::Stderr, "ready", READY_LIMIT)?;
        }

        let mut by_host: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (host, flow) in &self.flows {
            by_host.entry(host).or_default().push(flow);
        }
        // Every sender has been started by then.
        let senders = u32::try_from(by_host.len() + self.tcp.len()).unwrap_or(u32::MAX);
        let lead = START_LEAD + START_LEAD_PER_SENDER * senders;
        let begins = if self.together { lead } else { Duration::ZERO };
        running.ends_at = Instant::now() + begins + self.duration;
        let start = (unix_now() + lead).as_millis().to_string();
        for (host, flows) in by_host {
            let mut argv = self.traffic(&[
                "send", "--for", &seconds, "--tick", &tick, "--bucket", &bucket,
            ]);
            if self.together {
                argv.extend(["--at".to_owned(), start.clone()]);
            }
            for flow in flows {
                argv.extend(["--flow".to_owned(), flow.to_owned()]);
            }
            running.senders.push(
                self.lab
                    .program(host, argv)
                    .nice(NICE)
                    .name("send")
                    .spawn()?,
            );
        }
        for plan in &self.tcp {
            let address = self
                .lab
                .info()
                .host(&plan.to)
                .map(|host| host.ip.to_string())
                .unwrap_or_default();
            let (to, from_port) = (
                format!("{address}:{}", plan.port),
                plan.from_port.to_string(),
            );
            let mut argv = self.traffic(&[
                "tcp-send",
                "--for",
                &seconds,
                "--bucket",
                &bucket,
                "--to",
                &to,
                "--from-port",
                &from_port,
            ]);
            if self.together {
                argv.extend(["--at".to_owned(), start.clone()]);
            }
            running.senders.push(
                self.lab
                    .program(&plan.from, argv)
                    .nice(NICE)
                    .name("tcp-send")
                    .spawn()?,
            );
        }
        Ok(running)
    }

    fn traffic(&self, words: &[&str]) -> Vec<String> {
        let program = self.tools.payflow_lab.to_string_lossy().into_owned();
        let words = words.iter().map(|word| (*word).to_owned());
        [program, "traffic".to_owned()]
            .into_iter()
            .chain(words)
            .collect()
    }
}

/// A measurement under way.
pub struct RunningTrial {
    receivers: Vec<Proc>,
    senders: Vec<Proc>,
    tcp: Vec<(String, Proc)>,
    ends_at: Instant,
    limit: Duration,
}

impl RunningTrial {
    /// In how long the senders will have ended.
    #[must_use]
    pub fn ends_in(&self) -> Duration {
        self.ends_at.saturating_duration_since(Instant::now())
    }

    /// Lets the UDP flows of a host change to their other rate, or back.
    ///
    /// # Errors
    /// When the host has no sender, or it has ended.
    pub fn switch_rates(&self, host: &str) -> Result<(), TrialError> {
        let sender = self
            .senders
            .iter()
            .find(|sender| sender.node() == host)
            .ok_or_else(|| TrialError::NoFlow(format!("from {host}")))?;
        if sender.kill(Signal::SIGUSR1)? {
            return Ok(());
        }
        Err(TrialError::NoFlow(format!("from {host} any more")))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When a program failed.
    pub fn finish(self) -> Result<TrialResult, TrialError> {
        let mut sent = Vec::new();
        for sender in &self.senders {
            let done = sender.wait(self.limit)?.success()?;
            // TCP senders report too; what counts there is what arrived.
            if let Ok(report) = serde_json::from_str::<SendReport>(&done.stdout) {
                sent.extend(report.flows);
            }
        }
        std::thread::sleep(DRAIN);
        let mut received: BTreeMap<u32, ReceivedStream> = BTreeMap::new();
        for receiver in &self.receivers {
            receiver.kill(Signal::SIGTERM)?;
            let report: RecvReport = report(receiver)?;
            received.extend(
                report
                    .streams
                    .into_iter()
                    .map(|stream| (stream.stream, stream)),
            );
        }
        let mut result = TrialResult::default();
        for flow in sent {
            let joined = FlowResult::join(&flow, received.get(&flow.stream));
            result.flows.insert(flow.name, joined);
        }
        for (name, receiver) in self.tcp {
            // Most have ended by themselves.
            receiver.kill(Signal::SIGTERM)?;
            let report = report(&receiver)?;
            result.tcp.insert(name, report);
        }
        Ok(result)
    }
}

fn report<T: DeserializeOwned>(program: &Proc) -> Result<T, TrialError> {
    let done = program.wait(REPORT_LIMIT)?.success()?;
    serde_json::from_str(&done.stdout).map_err(|source| TrialError::Report {
        program: done.command,
        source,
    })
}
