//! Programs under measurement: started, watched, ended.

use std::{
    fs::File,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    time::{ClockId, clock_getcpuclockid},
    unistd::Pid,
};

/// How long a program may take to be there.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running program. Killed when dropped; the kernel kills it when the bench is gone.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program in `dir`, with its outputs in the file `log` there.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(dir: &Path, program: &str, args: &[&str], log: &str) -> anyhow::Result<Self> {
        let log = dir.join(log);
        let file = File::options().create(true).append(true).open(&log)?;
        // setpriv (util-linux) becomes the program: the same process id.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", program])
            .args(args)
            .current_dir(dir)
            .envs(["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"].map(|name| (name, dir)))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        Ok(Self {
            name: program.to_owned(),
            child,
            log,
        })
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until something can be read out of its log.
    ///
    /// # Errors
    /// It ends before that, or takes too long.
    pub fn says<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            let log = self.log();
            if let Some(found) = find(&log) {
                return Ok(found);
            }
            self.is_well(begun)?;
        }
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// It ends before that, or takes too long.
    pub fn listens(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            self.is_well(begun)?;
        }
        Ok(())
    }

    fn is_well(&mut self, since: Instant) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has ended ({status}): {}", self.name, self.log());
        }
        if since.elapsed() > PATIENCE {
            bail!(
                "{} is not there after {PATIENCE:?}: {}",
                self.name,
                self.log()
            );
        }
        std::thread::sleep(Duration::from_millis(10));
        Ok(())
    }

    /// CPU time of all its threads, since its start: what `/proc/PID/stat` counts in ticks, in nanoseconds.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let clock: ClockId = clock_getcpuclockid(self.pid()).with_context(|| self.name.clone())?;
        Ok(clock.now()?.into())
    }

    /// Memory it holds, in bytes; 0 if the system does not tell.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        resident_bytes(self.child.id()).unwrap_or_default()
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    ///
    /// # Errors
    /// It does not end.
    pub fn terminate(mut self) -> anyhow::Result<ExitStatus> {
        kill(self.pid(), Signal::SIGTERM)?;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > PATIENCE {
                bail!("{} does not end", self.name);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// It had ended before.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has ended ({status}): {}", self.name, self.log());
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of this project, built with the one that runs.
///
/// # Errors
/// It was not built.
pub fn sibling(name: &str) -> anyhow::Result<String> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        bail!("{} is not built: run this through make", path.display());
    }
    Ok(path.to_string_lossy().into_owned())
}

/// An address of this machine that nobody uses now.
///
/// # Errors
/// There is none.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Memory that a process holds, in bytes (proc(5), `status`); `None` if the system does not tell.
#[must_use]
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib << 10)
}

/// The first line of what a command says.
#[must_use]
pub fn version_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}
