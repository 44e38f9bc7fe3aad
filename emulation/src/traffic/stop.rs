//! An orderly end on SIGINT and SIGTERM: what was measured so far is reported.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::TrafficError;

/// Catches SIGINT and SIGTERM for the thread that makes it and those it starts.
pub(super) struct Stop(SignalFd);

impl Stop {
    pub(super) fn new() -> Result<Self, TrafficError> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
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
