//! What will happen, in order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use payflow_qos::Time;

/// Events by time, and of one instant in the order in which they were planned.
#[derive(Debug)]
pub struct Agenda<E> {
    events: BinaryHeap<Reverse<Planned<E>>>,
    numbered: u64,
}

/// An event in its place. No two have one number.
#[derive(Debug)]
struct Planned<E> {
    at: Time,
    number: u64,
    /// Boxed, as they are moved about much and some are large.
    event: Box<E>,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self {
            events: BinaryHeap::new(),
            numbered: 0,
        }
    }
}

impl<E> Agenda<E> {
    /// Something will happen so long after now.
    pub fn plan(&mut self, now: Time, after: Duration, event: E) {
        self.numbered += 1;
        self.events.push(Reverse(Planned {
            at: now.plus(after),
            number: self.numbered,
            event: Box::new(event),
        }));
    }

    /// What happens next, and when.
    pub fn take(&mut self) -> Option<(Time, E)> {
        let Reverse(Planned { at, event, .. }) = self.events.pop()?;
        Some((at, *event))
    }
}

impl<E> Planned<E> {
    fn place(&self) -> (Time, u64) {
        (self.at, self.number)
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl<E> Eq for Planned<E> {}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_instant_the_first_planned_comes_first() {
        let mut agenda = Agenda::default();
        let now = Time::from_millis(5);
        for (after, what) in [(2, "c"), (1, "a"), (1, "b")] {
            agenda.plan(now, Duration::from_millis(after), what);
        }
        let order: Vec<_> = std::iter::from_fn(|| agenda.take()).collect();
        let [first, second] = [6, 7].map(Time::from_millis);
        assert_eq!(order, [(first, "a"), (first, "b"), (second, "c")]);
    }
}
