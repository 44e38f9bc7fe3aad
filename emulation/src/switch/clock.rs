//! Time since the start, as OpenFlow writes it.

use std::time::Duration;

/// Whole seconds and the nanoseconds beyond them; after 136 years the seconds stay where they are.
pub(super) fn split(duration: Duration) -> (u32, u32) {
    let seconds = u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    (seconds, duration.subsec_nanos())
}
