//! `payflow-lab mininet SCRIPT`: a Mininet script of somebody's, as it is, with PayFlow in its network.
//!
//! The script has the terminal, the working directory and /tmp; the rest is in namespaces of its own. They end with this process,
//! however it ends: `setpriv` lets the kernel kill `unshare` then, and `unshare` everything below it.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::ExitStatus;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{NAMESPACES, PYTHON, scripts};
use crate::trial::Tools;

/// What to run.
#[derive(Clone, Debug, Args)]
pub struct ScriptArgs {
    /// A script that starts a Mininet network, or one that has `topos = {...}`: SCRIPT, or SCRIPT:NAME,ARGUMENT,... as `mn --topo`
    /// takes it
    pub script: OsString,
    /// The script's own arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// Runs it to its end, and ends this process with its exit status where that is none of success.
///
/// # Errors
/// When it could not be started, or somebody has ended it.
pub fn run(args: &ScriptArgs) -> anyhow::Result<()> {
    let tools = Tools::find()?;
    if !nix::unistd::geteuid().is_root() {
        return Err(as_root());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let status = runtime.block_on(in_namespaces(args, &tools))?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => std::process::exit(code),
        (None, signal) => bail!(
            "the script was ended by signal {}",
            signal.unwrap_or_default()
        ),
    }
}

/// The same command through `sudo`, in place of this process.
fn as_root() -> anyhow::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return anyhow::Error::new(error).context("the path of this program"),
    };
    let error = std::process::Command::new("sudo")
        .args(["setpriv", "--pdeathsig", "TERM"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .exec();
    anyhow::Error::new(error).context("networks are made by root, and sudo cannot be run")
}

async fn in_namespaces(args: &ScriptArgs, tools: &Tools) -> anyhow::Result<ExitStatus> {
    let (mut terminate, mut hang_up) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    );
    // From a terminal Ctrl-C goes to the script as well, which does with it what it does under Mininet; this process waits for it.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut child = tokio::process::Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(NAMESPACES)
        .args([PYTHON, "-B"])
        .arg(scripts().join("run_script.py"))
        .arg(&args.script)
        .args(&args.arguments)
        .env("PAYFLOW", &tools.payflow)
        .spawn()
        .context("starting setpriv and unshare, of Debian's util-linux")?;
    let ended_by = loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = terminate.recv() => break "SIGTERM",
            _ = hang_up.recv() => break "SIGHUP",
            _ = interrupt.recv() => {}
        }
    };
    // unshare does not hear SIGTERM while it waits. What it leaves the kernel removes.
    child.kill().await?;
    bail!("ended by {ended_by}, and everything in the script's network with it")
}
