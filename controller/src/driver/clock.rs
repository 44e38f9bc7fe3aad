//! The wall clock as the core may see it: never backwards.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use payflow_qos::Time;

use crate::wall;

/// A wall clock that never goes backwards and never stands still. Clones are the same clock.
///
/// - The wall clock steps *forwards*: so does this one. Whatever was due in between is due now: quotes
///   expire, and paid time that ends by the calendar ends.
/// - The wall clock steps *backwards*: this one goes on at half its speed until the wall clock has caught
///   up. Deadlines come late by at most the step, and buyers lose nothing.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Mutex<Reading>>);

#[derive(Debug)]
struct Reading {
    /// Since the Unix epoch.
    time: Duration,
    at: Instant,
}

impl Clock {
    /// A clock that shows the wall clock's time, but nothing before `not_before`: what the journal
    /// has seen is never in the future.
    #[must_use]
    pub(crate) fn starting(not_before: Time) -> Self {
        let time = wall::since_epoch().max(Duration::from_millis(not_before.millis()));
        Self(Arc::new(Mutex::new(Reading {
            time,
            at: Instant::now(),
        })))
    }

    /// The time now, in whole milliseconds, rounded down.
    #[must_use]
    pub(crate) fn now(&self) -> Time {
        let mut reading = self.0.lock();
        reading.advance(wall::since_epoch(), Instant::now());
        Time::from_millis(u64::try_from(reading.time.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Reading {
    fn advance(&mut self, wall: Duration, at: Instant) {
        let elapsed = at.saturating_duration_since(self.at);
        self.time = wall.max(self.time.saturating_add(elapsed / 2));
        self.at = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_secs(1_700_000_000);

    fn read(reading: &mut Reading, wall: Duration, elapsed: Duration) -> Duration {
        let at = reading.at + elapsed;
        reading.advance(wall, at);
        reading.time
    }

    #[test]
    fn a_step_forwards_is_followed_and_a_step_backwards_is_walked_off_at_half_speed() {
        let mut reading = Reading {
            time: T,
            at: Instant::now(),
        };
        let second = Duration::from_secs(1);
        assert_eq!(read(&mut reading, T + second, second), T + second);
        assert_eq!(read(&mut reading, T + 61 * second, second), T + 61 * second);
        // A minute back.
        assert_eq!(
            read(&mut reading, T + 2 * second, second),
            T + 61 * second + second / 2
        );
        // 119 s later the wall clock shows T + 121 s and has caught up.
        assert_eq!(
            read(&mut reading, T + 121 * second, 119 * second),
            T + 121 * second
        );
        assert_eq!(
            read(&mut reading, T + 122 * second, second),
            T + 122 * second
        );
    }

    #[test]
    fn it_never_shows_less_than_before_nor_less_than_the_journal_has_seen() {
        let future = Time::from_millis(u64::MAX / 4);
        let clock = Clock::starting(future);
        assert!(clock.now() >= future);
        let clock = Clock::starting(Time::from_millis(0));
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
