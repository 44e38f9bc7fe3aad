//! `payflow controller` as its operator runs it: a program, a configuration file, a data directory, a log.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::PATIENCE;
use super::process::Program;

/// The program under test.
pub(crate) const PAYFLOW: &str = env!("CARGO_BIN_EXE_payflow");

/// A controller: running, or between two runs.
pub(crate) struct Controller {
    dir: PathBuf,
    runs: u32,
    program: Option<Program>,
    http: SocketAddr,
    openflow: Vec<SocketAddr>,
    environment: Vec<(&'static str, String)>,
}

impl Controller {
    /// The files of one that was not started yet.
    pub(crate) fn new(dir: &Path, config: &str) -> Self {
        std::fs::write(dir.join("payflow.toml"), config).unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        Self {
            dir: dir.to_owned(),
            runs: 0,
            program: None,
            http: nowhere,
            openflow: vec![nowhere],
            environment: Vec::new(),
        }
    }

    /// From the next start on this is in its environment.
    pub(crate) fn set(&mut self, name: &'static str, value: String) {
        self.environment.push((name, value));
    }

    /// Starts the program, and does not wait for it.
    pub(crate) fn launch(&mut self) {
        assert!(self.program.is_none(), "it runs already");
        self.runs += 1;
        let args = ["controller", "--config", "payflow.toml"];
        let log = self.log_name();
        self.program = Some(Program::start_with(
            &self.dir,
            PAYFLOW,
            &args,
            &log,
            &self.environment,
        ));
    }

    /// Waits until it says that it listens, and where. What it says instead, if it ends.
    pub(crate) fn listening(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let log = self.log();
            if let Some((http, openflow)) = log.lines().find_map(addresses) {
                (self.http, self.openflow) = (http, openflow);
                return Ok(());
            }
            if let Some(status) = self.program.as_mut().and_then(Program::exited) {
                self.program = None;
                return Err(format!("{status}: {}", self.log()));
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the controller does not listen: {log}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn start(&mut self) {
        self.launch();
        self.listening().unwrap();
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.program.take().unwrap().kill();
    }

    /// SIGTERM; whether it ended well, and how long that took.
    pub(crate) fn stop(&mut self) -> (bool, Duration) {
        let mut program = self.program.take().unwrap();
        program.terminate();
        let (status, took) = program.wait();
        (status.success(), took)
    }

    /// SIGHUP: the configuration is to be read again.
    pub(crate) fn reload(&self) {
        self.program.as_ref().unwrap().signal(Signal::SIGHUP);
    }

    /// Waits until it has ended; whether it ended well, and after how long.
    pub(crate) fn ended(&mut self) -> (bool, Duration) {
        let (status, took) = self.program.take().unwrap().wait();
        (status.success(), took)
    }

    /// SIGTERM, and not waited for.
    pub(crate) fn terminate(&mut self) {
        self.program.as_mut().unwrap().terminate();
    }

    /// SIGSTOP: it answers nothing, and what is connected to it stays connected.
    pub(crate) fn freeze(&self) {
        self.program.as_ref().unwrap().signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.program.as_ref().unwrap().signal(Signal::SIGCONT);
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.program
            .as_mut()
            .is_some_and(|program| program.exited().is_none())
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// The first port for switches.
    pub(crate) fn openflow(&self) -> SocketAddr {
        self.openflow[0]
    }

    /// All of them, in the order of the configuration.
    pub(crate) fn openflow_ports(&self) -> &[SocketAddr] {
        &self.openflow
    }

    /// What the present run has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join(self.log_name())).unwrap_or_default()
    }

    fn log_name(&self) -> String {
        format!("controller-{}.log", self.runs)
    }

    /// Another command of the program, to its end.
    pub(crate) fn command(dir: &Path, args: &[&str]) -> Output {
        Command::new(PAYFLOW)
            .args(args)
            .current_dir(dir)
            .output()
            .unwrap()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(60)..).unwrap_or(&[]);
            eprintln!("--- the controller's last words, run {}", self.runs);
            eprintln!("{}\n---", tail.join("\n"));
        }
    }
}

fn addresses(line: &str) -> Option<(SocketAddr, Vec<SocketAddr>)> {
    let (_, said) = line.split_once(" ready http=")?;
    let (http, rest) = said.split_once(" openflow=")?;
    let ports = rest.split(' ').next()?.split(',').map(str::parse);
    Some((http.parse().ok()?, ports.collect::<Result<_, _>>().ok()?))
}
