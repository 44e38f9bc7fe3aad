//! What the clock on the wall says, counted from 1970; for everything outside the core, which is told the time.

use std::time::{Duration, SystemTime};

use payflow_payment::UnixMillis;

/// Time since the Unix epoch; zero for a clock that is set before it.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// The same, in milliseconds.
pub(crate) fn unix_millis() -> UnixMillis {
    later(Duration::ZERO)
}

/// So much later.
pub(crate) fn later(by: Duration) -> UnixMillis {
    let at = since_epoch().saturating_add(by).as_millis();
    UnixMillis(u64::try_from(at).unwrap_or(u64::MAX))
}

/// The same, in whole seconds, as signatures of requests say it (RFC 9421, `created`).
pub(crate) fn unix_seconds() -> u64 {
    since_epoch().as_secs()
}
