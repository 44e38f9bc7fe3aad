//! Signals that a program looks for: an orderly end on SIGINT and SIGTERM, with what was measured so far reported; another
//! rate on SIGUSR1.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::TrafficError;

/// Signals caught for the thread that makes it and those it starts.
pub(super) struct Caught(SignalFd);

impl Caught {
    /// SIGINT and SIGTERM: the end.
    pub(super) fn stop() -> Result<Self, TrafficError> {
        Self::new(&[Signal::SIGINT, Signal::SIGTERM])
    }

    /// SIGUSR1: the other rate.
    pub(super) fn switch() -> Result<Self, TrafficError> {
        Self::new(&[Signal::SIGUSR1])
    }

    fn new(which: &[Signal]) -> Result<Self, TrafficError> {
        let signals: SigSet = which.iter().copied().collect();
        signals
            .thread_block()
            .map_err(TrafficError::errno("blocking signals"))?;
        SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map(Self)
            .map_err(TrafficError::errno("signalfd"))
    }

    /// Whether one of the signals has come. Each is seen once.
    pub(super) fn requested(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }

    /// Becomes readable with the signal.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
