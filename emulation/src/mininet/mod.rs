//! An emulated network: Mininet and a private Open vSwitch in namespaces of their own, driven from Rust.
//!
//! [`Lab::start`] runs `mininet/lab.py` as the first process of fresh network, mount and process namespaces and talks to
//! it in JSON lines. When the [`Lab`] is dropped, or this process dies, however it dies, the end of the script's standard
//! input ends it, and the kernel takes every process, device, mount and file of the lab with it.
//!
//! Needs root; for other users the namespaces are made through `sudo`.

mod link;
mod network;
mod program;
pub mod script;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::{Value, json};

use link::Link;
pub use network::{
    Datapath, Given, HostInfo, LabConfig, LabInfo, PortInfo, Regular, SwitchInfo, Topology,
};
pub use program::{Done, Proc, Program, Stream};

/// The longest that bringing a network up may take: about 50 ms per switch, more on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(90);
/// The longest that any other answer of the script may take beyond what the request itself allows.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long a lab waits for its turn; longer than a whole test suite of labs.
const TURN_LIMIT: Duration = Duration::from_secs(30 * 60);

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
        Program::new(self, node, argv.into_iter().map(Into::into).collect())
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

    /// Whether a host gets an answer to a ping before the limit.
    ///
    /// Asked anew each second: one `ping` told to wait longer gives up as soon as the kernel reports that an address, asked
    /// for before the network was ready, could not be resolved.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn reaches(&self, from: &str, to: &str, limit: Duration) -> Result<bool, LabError> {
        let deadline = Instant::now() + limit;
        loop {
            let ping = self
                .program(from, ["ping", "-c", "1", "-W", "1", to])
                .run(Duration::from_secs(30))?;
            if ping.status == 0 {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            // An address that has just been given up fails at once.
            thread::sleep(Duration::from_millis(100));
        }
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

    /// Makes every link between two switches swallow all frames without a word to either, or carry them again. Needs Linux 5.16.
    ///
    /// # Errors
    /// When there is none, or the kernel cannot.
    pub fn swallow(&self, a: &str, b: &str, on: bool) -> Result<(), LabError> {
        self.link
            .ask("swallow", json!({ "a": a, "b": b, "on": on }), ANSWER_LIMIT)
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

    /// Packets dropped since the start because a program or a processor did not keep up, by place: `ovs-vswitchd sockets`,
    /// `backlog` (of the processors, the whole machine's), `h4 receiving`, `h1 sending`. Places without drops are left out.
    ///
    /// # Errors
    /// When a counter cannot be read.
    pub fn socket_drops(&self) -> Result<BTreeMap<String, u64>, LabError> {
        self.link.ask("socket_drops", json!({}), ANSWER_LIMIT)
    }

    /// Looks at the packet sockets of the switch process for so long: the most bytes that waited in each at once, by port,
    /// kernel overhead included. What waits there waits for the processor.
    ///
    /// # Errors
    /// When they cannot be looked at.
    pub fn watch_sockets(&self, duration: Duration) -> Result<BTreeMap<String, u64>, LabError> {
        self.link.ask(
            "watch_sockets",
            json!({ "seconds": duration.as_secs_f64() }),
            duration.saturating_add(ANSWER_LIMIT),
        )
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

/// The arguments of `unshare` for fresh namespaces whose first process goes when `unshare` does.
const NAMESPACES: [&str; 6] = [
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
];
/// Debian's own Python: the one that Debian's Mininet is installed for.
const PYTHON: &str = "/usr/bin/python3";

/// Where the Mininet side of this crate is.
fn scripts() -> PathBuf {
    std::env::var_os("PAYFLOW_MININET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("mininet"),
        PathBuf::from,
    )
}

/// The command that runs the script as first process of namespaces of its own, as root.
fn namespace_command() -> Command {
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new("unshare")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("unshare");
        sudo
    };
    command
        .args(NAMESPACES)
        .args([PYTHON, "-B"])
        .arg(scripts().join("lab.py"));
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
