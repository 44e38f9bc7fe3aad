//! An emulated network: Mininet and a private Open vSwitch in namespaces of their own, driven from Rust.
//!
//! [`Lab::start`] runs `mininet/lab.py` as the first process of fresh network, mount and process namespaces and talks to
//! it in JSON lines. When the [`Lab`] is dropped, or this process dies, however it dies, the end of the script's standard
//! input ends it, and the kernel takes every process, device, mount and file of the lab with it.
//!
//! Needs root; for other users the namespaces are made through `sudo`.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The longest that bringing a network up may take: about 50 ms per switch, more on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(90);
/// The longest that any other answer of the script may take beyond what the request itself allows.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long a lab waits for its turn; longer than a whole test suite of labs.
const TURN_LIMIT: Duration = Duration::from_secs(30 * 60);
/// Lines of the script's standard error kept for error messages.
const STDERR_LINES: usize = 40;

/// The address of the controller's API inside every lab.
pub const API_ADDRESS: &str = "10.0.0.254";

/// What went wrong with a lab or a program in it.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The script could not be started at all.
    #[error("cannot start the lab ({command}): {source}")]
    Start {
        /// The command line tried.
        command: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The script ended, with the last lines of its standard error.
    #[error("the lab has ended: {0}")]
    Ended(String),
    /// The script refused or failed a request, in its words.
    #[error("lab, {operation}: {message}")]
    Refused {
        /// The operation asked for.
        operation: String,
        /// The script's error, the failing command's standard error included.
        message: String,
    },
    /// The script answered something this version does not understand.
    #[error("lab, {operation}: unexpected answer: {source}")]
    Answer {
        /// The operation asked for.
        operation: String,
        /// Where the answer does not fit.
        source: serde_json::Error,
    },
    /// Nothing came in time.
    #[error("{what}: nothing within {limit:?}")]
    TimeOut {
        /// What was waited for, with what was seen until then.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// A program ended with a failure.
    #[error("`{command}` in {node} ended with status {status}: {stderr}")]
    Failed {
        /// The program and its arguments.
        command: String,
        /// The host it ran in.
        node: String,
        /// Its exit status; minus the signal number where a signal ended it.
        status: i32,
        /// Its standard error.
        stderr: String,
    },
}

/// The networks that the script can build.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Topology {
    /// Three switches in a row, hosts h1 and h2 on the first, h3 on the second, h4 on the third, an intruder (m1, m2, m3)
    /// on each; the second trunk is the bottleneck.
    Paper {
        /// Capacity of the first trunk, frame bits per second.
        trunk_bps: u64,
        /// Capacity of the second trunk, frame bits per second.
        bottleneck_bps: u64,
    },
    /// Switches in a row.
    Line(Regular),
    /// Switches in a row, closed; at least three.
    Ring(Regular),
    /// A trunk between any two switches.
    Mesh(Regular),
}

/// Parameters of the regular topologies.
#[derive(Clone, Debug, Serialize)]
pub struct Regular {
    /// Number of switches.
    pub switches: u16,
    /// Hosts on each switch; at most 200 in sum.
    pub hosts: u16,
    /// Capacity of every trunk, frame bits per second.
    pub trunk_bps: u64,
}

impl Default for Topology {
    fn default() -> Self {
        Self::Paper {
            trunk_bps: 100_000_000,
            bottleneck_bps: 20_000_000,
        }
    }
}

/// Which datapath the switches use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Datapath {
    /// The kernel's, where the kernel has the openvswitch module.
    #[default]
    Auto,
    /// The kernel's.
    Kernel,
    /// Open vSwitch's own.
    Userspace,
}

impl std::fmt::Display for Datapath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Kernel => "kernel",
            Self::Userspace => "userspace",
        })
    }
}

/// What to build.
#[derive(Clone, Debug)]
pub struct LabConfig {
    /// The network.
    pub topology: Topology,
    /// Where the switches look for their controller, as Open vSwitch writes it; `None`: static flows only.
    pub controller: Option<String>,
    /// The switches' datapath.
    pub datapath: Datapath,
    /// Keep the output of every program here; `None`: it ends with the lab.
    pub log_dir: Option<PathBuf>,
    /// Wait until no other lab of this machine needs the processors, so that the figures mean something.
    pub exclusive: bool,
}

impl Default for LabConfig {
    fn default() -> Self {
        Self {
            topology: Topology::default(),
            controller: Some("tcp:127.0.0.1:6653".to_owned()),
            datapath: Datapath::Auto,
            log_dir: None,
            exclusive: true,
        }
    }
}

/// What was built.
#[derive(Clone, Debug, Deserialize)]
pub struct LabInfo {
    /// The datapath in use, never `Auto`.
    pub datapath: Datapath,
    /// Version of Open vSwitch.
    pub switch_version: String,
    /// The switches, in order.
    pub switches: Vec<SwitchInfo>,
    /// The hosts, intruders included.
    pub hosts: Vec<HostInfo>,
}

/// One switch.
#[derive(Clone, Debug, Deserialize)]
pub struct SwitchInfo {
    /// Its name in Mininet and Open vSwitch.
    pub name: String,
    /// Its OpenFlow datapath id.
    pub datapath_id: u64,
    /// Its ports, without the local one.
    pub ports: Vec<PortInfo>,
}

/// One port of a switch.
#[derive(Clone, Debug, Deserialize)]
pub struct PortInfo {
    /// The interface, as in OVSDB.
    pub name: String,
    /// The OpenFlow port number.
    pub number: u32,
    /// The node at the other end; `root` for the API.
    pub peer: String,
    /// The interface at the other end.
    pub peer_interface: String,
    /// Capacity in frame bits per second, where known.
    pub capacity_bps: Option<u64>,
    /// `trunk`, `host` or `api`.
    pub role: String,
}

/// One host.
#[derive(Clone, Debug, Deserialize)]
pub struct HostInfo {
    /// Its name.
    pub name: String,
    /// Its IPv4 address.
    pub ip: std::net::Ipv4Addr,
    /// Its MAC address.
    pub mac: String,
    /// Its interface.
    pub interface: String,
}

impl LabInfo {
    /// A host by name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&HostInfo> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The port of `switch` whose other end is `peer`.
    #[must_use]
    pub fn port(&self, switch: &str, peer: &str) -> Option<&PortInfo> {
        let switch = self
            .switches
            .iter()
            .find(|candidate| candidate.name == switch)?;
        switch.ports.iter().find(|port| port.peer == peer)
    }
}

/// A running network. Dropping it ends everything in it.
pub struct Lab {
    link: Arc<Link>,
    child: Child,
    info: LabInfo,
    log_dir: Option<PathBuf>,
    _turn: Option<UnixListener>,
}

impl Lab {
    /// Builds the network and waits until its switches are up.
    ///
    /// # Errors
    /// When the script cannot be run, or fails, with its words.
    pub fn start(config: LabConfig) -> Result<Self, LabError> {
        let turn = if config.exclusive {
            Some(wait_for_turn()?)
        } else {
            None
        };
        let mut command = namespace_command();
        let start_error = |command: &Command, source| LabError::Start {
            command: format!("{command:?}"),
            source,
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| start_error(&command, source))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            unreachable!("all three were asked for as pipes");
        };
        let link = Arc::new(Link::new(stdin));
        let reading = Arc::clone(&link);
        let erring = Arc::clone(&link);
        let err_reader = thread::spawn(move || erring.keep_stderr(BufReader::new(stderr)));
        thread::spawn(move || {
            reading.dispatch(BufReader::new(stdout));
            // The reason of an early end is on standard error: have it before telling whoever waits.
            let _ = err_reader.join();
            reading.end();
        });
        let mut lab = Self {
            link,
            child,
            info: LabInfo {
                datapath: config.datapath,
                switch_version: String::new(),
                switches: Vec::new(),
                hosts: Vec::new(),
            },
            log_dir: config.log_dir,
            _turn: turn,
        };
        lab.info = lab.link.ask(
            "start",
            json!({ "topology": config.topology, "controller": config.controller, "datapath": config.datapath }),
            START_LIMIT,
        )?;
        Ok(lab)
    }

    /// Names, ports and addresses.
    #[must_use]
    pub fn info(&self) -> &LabInfo {
        &self.info
    }

    /// The process id, as this process sees it, of the first process of the lab's namespaces: `nsenter --target` it with
    /// `--net --mount --pid` to look around. `None` when it cannot be found.
    #[must_use]
    pub fn namespace_pid(&self) -> Option<u32> {
        let mut pid = self.child.id();
        // Below sudo, where it is used, and unshare.
        loop {
            let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            if command.starts_with("python3") {
                return Some(pid);
            }
            let children =
                std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
            pid = children.split_whitespace().next()?.parse().ok()?;
        }
    }

    /// A program to run in host `node`, or, with `root`, in the lab's own namespace: where the controller runs, and
    /// where Open vSwitch is found at its usual place.
    pub fn program<S: Into<String>>(
        &self,
        node: &str,
        argv: impl IntoIterator<Item = S>,
    ) -> Program<'_> {
        Program {
            lab: self,
            node: node.to_owned(),
            argv: argv.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            nice: 0,
            name: None,
        }
    }

    /// Runs a program in a host to its end, at most a minute; its standard output.
    ///
    /// # Errors
    /// [`LabError::Failed`] when it fails, with its standard error.
    pub fn exec(&self, node: &str, argv: &[&str]) -> Result<String, LabError> {
        let done = self
            .program(node, argv.iter().copied())
            .run(Duration::from_secs(60))?;
        done.success().map(|done| done.stdout)
    }

    /// Starts a program in a host.
    ///
    /// # Errors
    /// When there is no such host or program.
    pub fn spawn(&self, node: &str, argv: &[&str]) -> Result<Proc, LabError> {
        self.program(node, argv.iter().copied()).spawn()
    }

    /// Starts a program in the lab's own namespace: the controller, the development ledger.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn spawn_root(&self, argv: &[&str]) -> Result<Proc, LabError> {
        self.spawn("root", argv)
    }

    /// Ends the switch process with `signal` and starts it again: flows and meters are gone, queues and ports stay.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn restart_switches(&self, signal: Signal) -> Result<(), LabError> {
        self.link.ask(
            "restart_switches",
            json!({ "signal": signal as i32 }),
            START_LIMIT,
        )
    }

    /// Takes every link between two nodes down or up.
    ///
    /// # Errors
    /// When there is none.
    pub fn set_link(&self, a: &str, b: &str, up: bool) -> Result<(), LabError> {
        self.link
            .ask("link", json!({ "a": a, "b": b, "up": up }), ANSWER_LIMIT)
    }

    /// Applies what the userspace datapath needs, now. A watcher does so by itself within milliseconds of every change;
    /// this is for measurements that must not begin before.
    ///
    /// # Errors
    /// When a repair fails: figures measured then would mean nothing.
    pub fn repair(&self) -> Result<(), LabError> {
        self.link
            .ask::<Value>("repair", json!({}), ANSWER_LIMIT)
            .map(|_| ())
    }

    /// Packets dropped since the start, by place: `s2-eth102 queue 0`, `s1 meter 1`, `s1 port 101 sent`. Queues and meters are
    /// all there, ports only with drops. Counters of meters and ports begin anew when the switches restart.
    ///
    /// # Errors
    /// When a counter cannot be read.
    pub fn drops(&self) -> Result<BTreeMap<String, u64>, LabError> {
        self.link.ask("drops", json!({}), ANSWER_LIMIT)
    }

    /// The end of the switch process's log.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn switch_log(&self) -> Result<String, LabError> {
        #[derive(Deserialize)]
        struct Log {
            text: String,
        }
        self.link
            .ask::<Log>("switch_log", json!({}), ANSWER_LIMIT)
            .map(|log| log.text)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.link.close();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.child.try_wait() {
                Ok(Some(_)) => return,
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Ok(None) | Err(_) => break,
            }
        }
        // `--kill-child` takes the namespaces along. Through sudo this may be refused; the closed pipe is then the way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program about to run in a lab.
#[must_use = "nothing runs before `run` or `spawn`"]
pub struct Program<'a> {
    lab: &'a Lab,
    node: String,
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    nice: i32,
    name: Option<String>,
}

impl Program<'_> {
    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets the scheduling priority, from -20 (first) to 19. Paced senders want to be first.
    pub fn nice(mut self, nice: i32) -> Self {
        self.nice = nice;
        self
    }

    /// Names the output files.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started or takes longer than `limit`; it is killed then. A failing exit status is no error here.
    pub fn run(self, limit: Duration) -> Result<Done, LabError> {
        #[derive(Deserialize)]
        struct Output {
            status: i32,
            stdout: String,
            stderr: String,
        }
        let Output { status, stdout, stderr } = self.lab.link.ask(
            "exec",
            json!({ "node": self.node, "argv": self.argv, "env": self.env, "nice": self.nice, "timeout_s": limit.as_secs_f64() }),
            limit.saturating_add(ANSWER_LIMIT),
        )?;
        Ok(Done {
            command: self.argv.join(" "),
            node: self.node,
            status,
            stdout,
            stderr,
        })
    }

    /// Starts it.
    ///
    /// # Errors
    /// When there is no such host or program.
    pub fn spawn(self) -> Result<Proc, LabError> {
        #[derive(Deserialize)]
        struct Started {
            process: u64,
            pid: u32,
        }
        let mut request =
            json!({ "node": self.node, "argv": self.argv, "env": self.env, "nice": self.nice });
        if let (Some(fields), Some(dir)) = (request.as_object_mut(), &self.lab.log_dir) {
            fields.insert("log_dir".to_owned(), json!(dir));
        }
        let name = self.name.or_else(|| {
            let program = Path::new(self.argv.first()?).file_name()?;
            Some(program.to_string_lossy().into_owned())
        });
        if let (Some(fields), Some(name)) = (request.as_object_mut(), name) {
            fields.insert("name".to_owned(), json!(name));
        }
        let Started { process, pid } = self.lab.link.ask("spawn", request, ANSWER_LIMIT)?;
        let link = Arc::clone(&self.lab.link);
        Ok(Proc {
            link,
            process,
            pid,
            command: self.argv.join(" "),
            node: self.node,
        })
    }
}

/// A program that has ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// The program and its arguments.
    pub command: String,
    /// Where it ran.
    pub node: String,
    /// Exit status; minus the signal number where a signal ended it.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Done {
    /// Itself, unless the exit status tells a failure.
    ///
    /// # Errors
    /// [`LabError::Failed`] with the program's standard error.
    pub fn success(self) -> Result<Self, LabError> {
        if self.status == 0 {
            return Ok(self);
        }
        Err(LabError::Failed {
            command: self.command,
            node: self.node,
            status: self.status,
            stderr: self.stderr.trim().to_owned(),
        })
    }
}

/// Which output of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A program that was started in a lab. It outlives this handle and ends with the lab.
pub struct Proc {
    link: Arc<Link>,
    process: u64,
    pid: u32,
    command: String,
    node: String,
}

#[derive(Deserialize)]
struct Chunk {
    text: String,
    offset: u64,
    status: Option<i32>,
}

impl Proc {
    /// Its process id inside the lab.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has written so far.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn output(&self, stream: Stream) -> Result<String, LabError> {
        let (mut text, mut offset) = (String::new(), 0);
        loop {
            let chunk = self.read(stream, offset)?;
            if chunk.text.is_empty() {
                return Ok(text);
            }
            text.push_str(&chunk.text);
            offset = chunk.offset;
        }
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn is_running(&self) -> Result<bool, LabError> {
        Ok(self.read(Stream::Stderr, 0)?.status.is_none())
    }

    /// Waits until it has written `needle`.
    ///
    /// # Errors
    /// When it does not within `limit`, or ends before; the error has what it wrote to standard error.
    pub fn wait_for(&self, stream: Stream, needle: &str, limit: Duration) -> Result<(), LabError> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.read(stream, 0)?.status;
            if self.output(stream)?.contains(needle) {
                return Ok(());
            }
            if let Some(status) = ended {
                let stderr = self.output(Stream::Stderr)?;
                return Err(LabError::Failed {
                    command: self.command.clone(),
                    node: self.node.clone(),
                    status,
                    stderr: format!("ended before it wrote {needle:?}; {}", stderr.trim()),
                });
            }
            if Instant::now() > deadline {
                let what = format!(
                    "{needle:?} from `{}` in {}; standard error: {}",
                    self.command,
                    self.node,
                    self.output(Stream::Stderr)?.trim()
                );
                return Err(LabError::TimeOut { what, limit });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal; whether it still ran.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn kill(&self, signal: Signal) -> Result<bool, LabError> {
        #[derive(Deserialize)]
        struct Sent {
            sent: bool,
        }
        let request = json!({ "process": self.process, "signal": signal as i32 });
        self.link
            .ask::<Sent>("signal", request, ANSWER_LIMIT)
            .map(|answer| answer.sent)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `limit`. A failing exit status is no error here.
    pub fn wait(&self, limit: Duration) -> Result<Done, LabError> {
        #[derive(Deserialize)]
        struct Ended {
            status: Option<i32>,
        }
        let request = json!({ "process": self.process, "timeout_s": limit.as_secs_f64() });
        let ended: Ended = self
            .link
            .ask("wait", request, limit.saturating_add(ANSWER_LIMIT))?;
        let Some(status) = ended.status else {
            return Err(LabError::TimeOut {
                what: format!("the end of `{}` in {}", self.command, self.node),
                limit,
            });
        };
        Ok(Done {
            command: self.command.clone(),
            node: self.node.clone(),
            status,
            stdout: self.output(Stream::Stdout)?,
            stderr: self.output(Stream::Stderr)?,
        })
    }

    fn read(&self, stream: Stream, offset: u64) -> Result<Chunk, LabError> {
        let request = json!({ "process": self.process, "stream": stream, "offset": offset });
        self.link.ask("read", request, ANSWER_LIMIT)
    }
}

type Answer = Result<Value, String>;

/// The pipe to the script: requests out, answers dispatched to whoever asked.
struct Link {
    requests: Mutex<Requests>,
    stderr: Mutex<VecDeque<String>>,
}

struct Requests {
    /// `None` once closed.
    stdin: Option<ChildStdin>,
    next_id: u64,
    waiting: BTreeMap<u64, mpsc::Sender<Answer>>,
    ended: bool,
}

impl Link {
    fn new(stdin: ChildStdin) -> Self {
        let requests = Requests {
            stdin: Some(stdin),
            next_id: 1,
            waiting: BTreeMap::new(),
            ended: false,
        };
        Self {
            requests: Mutex::new(requests),
            stderr: Mutex::new(VecDeque::new()),
        }
    }

    fn ask<T: serde::de::DeserializeOwned>(
        &self,
        operation: &str,
        mut request: Value,
        limit: Duration,
    ) -> Result<T, LabError> {
        let (sender, receiver) = mpsc::channel();
        let id = {
            let mut requests = lock(&self.requests);
            let id = requests.next_id;
            requests.next_id += 1;
            if let Some(fields) = request.as_object_mut() {
                fields.insert("id".to_owned(), json!(id));
                fields.insert("op".to_owned(), json!(operation));
            }
            let ended = requests.ended;
            let line = format!("{request}\n");
            let written = match requests.stdin.as_mut() {
                Some(stdin) if !ended => stdin
                    .write_all(line.as_bytes())
                    .and_then(|()| stdin.flush())
                    .is_ok(),
                Some(_) | None => false,
            };
            if !written {
                drop(requests);
                return Err(self.ended());
            }
            requests.waiting.insert(id, sender);
            id
        };
        match receiver.recv_timeout(limit) {
            Ok(Ok(value)) => serde_json::from_value(value).map_err(|source| LabError::Answer {
                operation: operation.to_owned(),
                source,
            }),
            Ok(Err(message)) => Err(LabError::Refused {
                operation: operation.to_owned(),
                message,
            }),
            Err(RecvTimeoutError::Timeout) => {
                lock(&self.requests).waiting.remove(&id);
                Err(LabError::TimeOut {
                    what: format!("the lab's answer to {operation}"),
                    limit,
                })
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    fn dispatch(&self, stdout: impl BufRead) {
        #[derive(Deserialize)]
        struct Reply {
            id: u64,
            #[serde(default)]
            ok: Value,
            error: Option<String>,
        }
        for line in stdout.lines().map_while(Result::ok) {
            match serde_json::from_str::<Reply>(&line) {
                Ok(reply) => {
                    if let Some(sender) = lock(&self.requests).waiting.remove(&reply.id) {
                        // Nobody listens any more when the asker has timed out.
                        let _ = sender.send(reply.error.map_or(Ok(reply.ok), Err));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, line, "the lab wrote something that is no answer")
                }
            }
        }
    }

    fn keep_stderr(&self, stderr: impl BufRead) {
        for line in stderr.lines().map_while(Result::ok) {
            tracing::debug!(target: "lab", "{line}");
            let mut kept = lock(&self.stderr);
            kept.push_back(line);
            if kept.len() > STDERR_LINES {
                kept.pop_front();
            }
        }
    }

    fn end(&self) {
        let mut requests = lock(&self.requests);
        requests.ended = true;
        requests.waiting.clear();
    }

    fn close(&self) {
        lock(&self.requests).stdin = None;
    }

    fn ended(&self) -> LabError {
        let lines: Vec<String> = lock(&self.stderr).iter().cloned().collect();
        LabError::Ended(if lines.is_empty() {
            "it said nothing".to_owned()
        } else {
            lines.join("; ")
        })
    }
}

/// What the locks guard stays consistent between statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The command that runs the script as first process of namespaces of its own, as root.
fn namespace_command() -> Command {
    let script = std::env::var_os("PAYFLOW_MININET_DIR")
        .map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("mininet"),
            PathBuf::from,
        )
        .join("lab.py");
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new("unshare")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("unshare");
        sudo
    };
    // Debian's own Python: the one that Debian's Mininet is installed for.
    command
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "/usr/bin/python3",
            "-B",
        ])
        .arg(script);
    command
}

/// Takes one of this machine's turns (one for every two processors): an abstract socket address, which the kernel frees
/// when its holder dies.
fn wait_for_turn() -> Result<UnixListener, LabError> {
    let turns = thread::available_parallelism().map_or(1, |n| (n.get() / 2).max(1));
    let deadline = Instant::now() + TURN_LIMIT;
    loop {
        for turn in 0..turns {
            let address = UnixAddr::from_abstract_name(format!("payflow-lab-{turn}"));
            if let Ok(listener) = address.and_then(|address| UnixListener::bind_addr(&address)) {
                return Ok(listener);
            }
        }
        if Instant::now() > deadline {
            return Err(LabError::TimeOut {
                what: "a turn, beside the other labs".to_owned(),
                limit: TURN_LIMIT,
            });
        }
        thread::sleep(Duration::from_millis(50));
    }
}
