//! What the end-to-end tests share: a lab, a controller in it, and hosts with money.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use payflow_controller::core::document::ReservationView;
use payflow_emulation::entry::Entry;
use payflow_emulation::mininet::{Lab, LabConfig, Regular, Topology};
use payflow_emulation::stage::Stage;
use payflow_emulation::trial::{FlowResult, Tools, Trial};
use tempfile::TempDir;

/// Enough for packets to be lost on a bottleneck of 20 Mbit/s, little enough for a busy machine.
pub(crate) const FLOOD: &str = "rate=36Mbit";
/// Of a measurement under a flood.
pub(crate) const MEASURE: Duration = Duration::from_secs(4);

/// A network, and where its controller keeps its files.
pub(crate) struct Theatre {
    pub(crate) lab: Lab,
    pub(crate) tools: Tools,
    dir: TempDir,
}

impl Theatre {
    /// The network of the paper: h1 and h2 at the first switch, h4 at the last, 20 Mbit/s before the last.
    pub(crate) fn paper() -> Self {
        Self::new(Topology::default())
    }

    pub(crate) fn new(topology: Topology) -> Self {
        let tools = Tools::find().unwrap();
        let lab = Lab::start(LabConfig {
            topology,
            ..LabConfig::default()
        })
        .unwrap();
        Self {
            lab,
            tools,
            dir: TempDir::new().unwrap(),
        }
    }

    /// The controller, ready to sell; each of the hosts known to the network and with money.
    pub(crate) fn open(&self, hosts: &[&str]) -> Stage<'_> {
        self.open_with(hosts, "")
    }

    /// The same, with more configuration.
    pub(crate) fn open_with(&self, hosts: &[&str], config: &str) -> Stage<'_> {
        let dir = self.dir.path().join("state");
        let mut stage = Stage::with_config(&self.lab, &self.tools, &dir, config).unwrap();
        self.start_controller(&mut stage);
        for host in hosts {
            stage.introduce(host).unwrap();
            stage.wallet(host).unwrap();
        }
        // The receiver of what is bought must be known as well.
        for host in &self.lab.info().hosts {
            stage.introduce(&host.name).unwrap();
        }
        self.lab.repair().unwrap();
        stage
    }

    pub(crate) fn start_controller(&self, stage: &mut Stage<'_>) {
        stage
            .start_controller(self.lab.info().switches.len())
            .unwrap();
    }

    /// A directory beside the controller's files.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    pub(crate) fn operator_token(&self) -> String {
        let file = self.dir.path().join("state/data/operator.token");
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }

    /// What the API tells the operator.
    fn ask(&self, path: &str) -> String {
        let authorization = format!("Authorization: Bearer {}", self.operator_token());
        let url = format!("http://127.0.0.1:8080{path}");
        let words = ["curl", "-s", "-f", "-m", "10", "-H", &authorization, &url];
        self.lab.exec("root", &words).unwrap()
    }

    pub(crate) fn metrics(&self) -> String {
        self.ask("/metrics")
    }

    /// Everybody's, newest first.
    pub(crate) fn reservations(&self) -> Vec<ReservationView> {
        #[derive(serde::Deserialize)]
        struct All {
            reservations: Vec<ReservationView>,
        }
        let all: All = serde_json::from_str(&self.ask("/v1/reservations")).unwrap();
        all.reservations
    }

    pub(crate) fn trial(&self) -> Trial<'_> {
        Trial::new(&self.lab, &self.tools, MEASURE)
    }

    /// How one UDP flow from h1 to port 5201 of h4 does beside a flood of best effort from the same host.
    pub(crate) fn under_flood(&self, rate: &str) -> FlowResult {
        let result = self
            .trial()
            .udp("paid", "h1", "h4", 5201, rate)
            .udp("flood", "h1", "h4", 6201, FLOOD)
            .run()
            .unwrap();
        let flood = result.flow("flood").unwrap();
        assert!(
            flood.loss > 0.2,
            "the flood was none: it lost {:.3}",
            flood.loss
        );
        result.flow("paid").unwrap().clone()
    }

    pub(crate) fn ping(&self, from: &str, to: &str) -> bool {
        self.lab.reaches(from, to, Duration::from_secs(20)).unwrap()
    }

    /// Gives hosts addresses of IPv6, `fd00::` and these numbers, and makes them known to one another and to the network.
    pub(crate) fn ipv6(&self, hosts: &[(&str, u8)]) {
        for (host, number) in hosts {
            let address = format!("fd00::{number}/64");
            let interface = &self.lab.info().host(host).unwrap().interface;
            let add = ["ip", "-6", "address", "add", &address, "dev", interface];
            let argv = [&add[..], &["nodad"]].concat();
            self.lab.exec(host, &argv).unwrap();
        }
        for ((from, _), (to, number)) in hosts.iter().zip(hosts.iter().cycle().skip(1)) {
            let address = format!("fd00::{number}");
            assert!(self.ping(from, &address), "{from} does not reach {to}");
        }
    }

    /// A Python program in a host; its standard output. For frames that no ordinary program sends.
    pub(crate) fn python(&self, host: &str, program: &str) -> String {
        self.lab
            .exec(host, &["/usr/bin/python3", "-c", program])
            .unwrap()
    }

    /// Sends a frame, written in hexadecimal, so many times, a millisecond apart.
    pub(crate) fn send_frames(&self, host: &str, frame: &str, count: u32) {
        let interface = &self.lab.info().host(host).unwrap().interface;
        self.python(
            host,
            &format!(
                "import socket, time\n\
                 s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n\
                 s.bind(('{interface}', 0))\n\
                 frame = bytes.fromhex('{frame}')\n\
                 for _ in range({count}):\n    s.send(frame)\n    time.sleep(0.001)\n"
            ),
        );
    }

    /// How many records the controller's journal has.
    pub(crate) fn records(&self) -> usize {
        let file = self.dir.path().join("state/data/journal.sqlite");
        let program = format!(
            "import sqlite3\n\
             journal = sqlite3.connect('file:{}?mode=ro', uri=True)\n\
             print(journal.execute('SELECT count(*) FROM journal').fetchone()[0])\n",
            file.display()
        );
        self.python("root", &program).trim().parse().unwrap()
    }

    /// Packets that an interface has received so far.
    pub(crate) fn received(&self, node: &str, interface: &str) -> u64 {
        let text = self.lab.exec(node, &["cat", "/proc/net/dev"]).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(&format!("{interface}:")))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// Several switches with one host each.
pub(crate) fn regular(switches: u16) -> Regular {
    Regular {
        switches,
        hosts: 1,
        trunk_bps: 20_000_000,
    }
}

/// The options of `payflow reserve` for a UDP flow.
pub(crate) fn udp<'a>(
    to: &'a str,
    port: &'a str,
    rate: &'a str,
    duration: &'a str,
) -> [&'a str; 8] {
    ["--to", to, "--udp", port, "--rate", rate, "--for", duration]
}

/// At least 95 % of what was offered arrived, and as much was offered as was asked for.
#[track_caller]
pub(crate) fn assert_served(flow: &FlowResult, rate_bps: u64) {
    assert!(
        flow.offered_bps >= rate_bps * 9 / 10,
        "the sender was stalled: {} of {rate_bps} bit/s were offered",
        flow.offered_bps
    );
    assert!(
        flow.loss <= 0.05,
        "{} lost {} of {} packets",
        flow.name,
        flow.sent_packets.saturating_sub(flow.received_packets),
        flow.sent_packets
    );
}

/// What all switches do, without counters and times.
fn rules(entries: &[Entry]) -> BTreeSet<String> {
    entries.iter().map(Entry::rule).collect()
}

/// What `after` lacks of `before`, and what it has of reservations that `before` had not. New entries of no reservation are
/// fine: hosts make themselves known whenever they like, as with the router solicitations of IPv6.
pub(crate) fn differences(before: &[Entry], after: &[Entry]) -> Vec<String> {
    let (old, new) = (rules(before), rules(after));
    let gone = old.difference(&new).map(|rule| format!("gone: {rule}"));
    let paid = after.iter().filter(|entry| entry.is_paid());
    let extra = paid.map(Entry::rule).filter(|rule| !old.contains(rule));
    gone.chain(extra.map(|rule| format!("new: {rule}")))
        .collect()
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
    begun.elapsed()
}

/// Asserts that every nano paid is accounted for; (paid, earned, fee, refunded).
#[track_caller]
pub(crate) fn account(view: &ReservationView) -> (u64, u64, u64, u64) {
    let receipt = &view.receipt.as_ref().unwrap().document;
    let (paid, earned) = (receipt.paid.0, receipt.earned.0);
    let (fee, refunded) = (receipt.fee.0, receipt.refunded.0);
    assert_eq!(paid, earned + fee + refunded, "{receipt:?}");
    assert_eq!(
        receipt.unserved_charge.0,
        fee + refunded,
        "what was not served goes back: {receipt:?}"
    );
    let settlement = view.settlement.as_ref().unwrap();
    assert_eq!(settlement.amount.0, refunded);
    (paid, earned, fee, refunded)
}
