//! What may happen ten thousand times a second and is logged every ten seconds: that somebody was refused, and how often. Pure.

use std::time::Duration;

/// Between two lines of the log about the same.
const PAUSE: Duration = Duration::from_secs(10);

/// What was not said yet.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    unsaid: u64,
    last: Option<Duration>,
}

impl Complaints {
    /// One more, so long after the beginning. How often it was since the last line, where it is time for another.
    pub(super) fn count(&mut self, now: Duration) -> Option<u64> {
        self.unsaid += 1;
        if self.last.is_some_and(|last| now < last + PAUSE) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_the_others_together() {
        let mut complaints = Complaints::default();
        assert_eq!(complaints.count(Duration::ZERO), Some(1));
        for ms in 1..10_000 {
            assert_eq!(complaints.count(Duration::from_millis(ms)), None);
        }
        assert_eq!(complaints.count(PAUSE), Some(10_000));
        assert_eq!(complaints.count(PAUSE * 3), Some(1));
    }
}
