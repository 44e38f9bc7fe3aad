//! Deadlines by name, in the order of their time; equal times in the order of their names.

use std::collections::{BTreeMap, BTreeSet};

use payflow_qos::Time;

use super::document::ReservationNumber;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// The end of whatever the reservation is in: hold, patience, paid time.
    Reservation(ReservationNumber),
    /// Ask the ledger again for the offered payment.
    Payment(ReservationNumber),
    /// Look again for paths of flows that wait for one.
    Moves,
    /// Go on with the outgoing transfer at the head of the queue.
    Payout,
    /// Let the base price follow demand.
    BasePrice,
    /// Say what was given so far.
    Interim(ReservationNumber),
    /// Write the end of the chain of receipts on the ledger.
    Anchor,
    /// Ask for the treasury's balance again.
    Treasury,
}

/// At most one deadline per name.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    by_name: BTreeMap<Alarm, Time>,
    by_time: BTreeSet<(Time, Alarm)>,
}

impl Alarms {
    /// Sets a deadline, in place of any other of the same name.
    pub(super) fn set(&mut self, alarm: Alarm, at: Time) {
        self.clear(alarm);
        self.by_name.insert(alarm, at);
        self.by_time.insert((at, alarm));
    }

    /// Whether there is a deadline of this name.
    pub(super) fn is_set(&self, alarm: Alarm) -> bool {
        self.by_name.contains_key(&alarm)
    }

    /// Forgets a deadline.
    pub(super) fn clear(&mut self, alarm: Alarm) {
        if let Some(at) = self.by_name.remove(&alarm) {
            self.by_time.remove(&(at, alarm));
        }
    }

    /// Takes the first deadline that has come.
    pub(super) fn due(&mut self, now: Time) -> Option<Alarm> {
        let &(at, alarm) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.clear(alarm);
        Some(alarm)
    }

    /// When the first deadline comes.
    pub(super) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_set_again_comes_once_at_the_new_time() {
        let mut alarms = Alarms::default();
        alarms.set(Alarm::Payout, Time::from_millis(5));
        alarms.set(Alarm::Treasury, Time::from_millis(7));
        alarms.set(Alarm::Payout, Time::from_millis(9));
        assert_eq!(alarms.due(Time::from_millis(6)), None);
        assert_eq!(alarms.next(), Some(Time::from_millis(7)));
        assert_eq!(alarms.due(Time::from_millis(9)), Some(Alarm::Treasury));
        assert_eq!(alarms.due(Time::from_millis(9)), Some(Alarm::Payout));
        assert_eq!(alarms.due(Time::from_millis(9)), None);
        assert_eq!(alarms.next(), None);
    }
}
