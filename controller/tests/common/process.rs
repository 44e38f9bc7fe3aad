//! Programs and files that do not outlive their test, also when it panics or is killed.
//!
//! A program is started through `setpriv --pdeathsig` (util-linux), so the kernel kills it when the test is gone. A
//! directory has a watchman, who waits for the end of a pipe that only the test holds open, and then removes it.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::PATIENCE;

/// A directory of the test's own.
pub(crate) struct Scratch {
    dir: Option<TempDir>,
    path: PathBuf,
    watchman: Child,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("payflow-")
            .tempdir()
            .unwrap();
        let path = dir.path().to_owned();
        // Whatever still writes there is being killed at the same moment.
        let script = r#"cat >/dev/null; for again in 1 2 3 4 5; do rm -rf -- "$0" 2>/dev/null && exit; sleep 1; done"#;
        let watchman = Command::new("sh")
            .args(["-c", script])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Whoever kills the test's process group does not kill its watchman.
            .process_group(0)
            .spawn()
            .unwrap();
        Self {
            dir: Some(dir),
            path,
            watchman,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("PAYFLOW_TEST_KEEP").is_some() {
            let kept = self.dir.take().map(TempDir::keep);
            eprintln!("kept for looking at: {kept:?}");
            let _ = self.watchman.kill();
        }
        drop(self.dir.take());
        drop(self.watchman.stdin.take());
        let _ = self.watchman.wait();
    }
}

/// A running program. Killed when dropped.
pub(crate) struct Program {
    name: String,
    child: Child,
}

impl Program {
    /// Starts a program in `dir`, with its outputs in the file `log` there.
    ///
    /// The kernel's promise is bound to the thread that starts it: start it from the test's own.
    pub(crate) fn start(dir: &Path, program: &str, args: &[&str], log: &str) -> Self {
        Self::start_with(dir, program, args, log, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn start_with(
        dir: &Path,
        program: &str,
        args: &[&str],
        log: &str,
        environment: &[(&str, String)],
    ) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(dir.join(log))
            .unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", program])
            .args(args)
            .current_dir(dir)
            .envs(["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"].map(|name| (name, dir)))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("{program}: {error}: `make setup` installs what is missing")
        });
        Self {
            name: program.to_owned(),
            child,
        }
    }

    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// SIGKILL, and gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn terminate(&mut self) {
        self.signal(Signal::SIGTERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Waits until it ends by itself; how, and after how long.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.exited() {
                return (status, begun.elapsed());
            }
            assert!(begun.elapsed() < PATIENCE, "{} does not end", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
