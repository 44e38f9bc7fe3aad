//! What a service manager is told (`sd_notify(3)`), and the signals that it sends.
//!
//! Without a service manager nothing is told, and nothing is missing.

use std::{io, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time,
};

use crate::{
    core::io::{Caller, Request},
    driver::Handle,
};

/// How long the core may take to answer before the watchdog hears nothing. Its longest turns are some 100 ms.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// Tells the service manager.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    // Without NOTIFY_SOCKET this is nothing.
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// The configuration is being read again; until [`ready`].
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager cannot be told"),
    }
}

/// It serves; with a word for `systemctl status`.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Keeps the watchdog quiet for as long as the core answers: not while this process merely exists. `None` where nobody
/// watches.
pub(super) fn watch(handle: Handle) -> Option<JoinHandle<()>> {
    let interval = sd_notify::watchdog_enabled()?;
    Some(tokio::spawn(async move {
        // Half of it, as sd_watchdog_enabled(3) recommends.
        let mut ticks = time::interval((interval / 2).max(Duration::from_millis(1)));
        loop {
            ticks.tick().await;
            let asked = handle.request(Caller::default(), Request::Selling);
            match time::timeout(PROBE_TIME.min(interval), asked).await {
                Ok(Ok(_)) => tell(&[NotifyState::Watchdog]),
                Ok(Err(problem)) => tracing::error!(detail = problem.detail, "the core is gone"),
                Err(_) => {
                    tracing::error!(
                        "the core does not answer; the service manager is not told that all is well"
                    );
                }
            }
        }
    }))
}

/// SIGTERM and SIGINT stop, SIGHUP reads the configuration again.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To stop, in order; the second time at once.
    Stop,
    /// To read the configuration again.
    Reload,
}

impl Signals {
    /// From here on none is lost.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// The next one that stops. Others are passed over.
    pub(super) async fn stop(&mut self) {
        while self.next().await != Asked::Stop {}
    }
}
