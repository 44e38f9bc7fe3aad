//! What of a paid flow has entered the network within its rate, and what has left it: the rest was lost on the way.
//!
//! Two switches are never read in the same instant, and packets are on the way meanwhile. But what has left by some moment had
//! entered before it. So what a *later* reading of the last switch lacks of an *earlier* one of the first is lost, less what has
//! entered since: the difference never tells too much, and is exact once nothing enters any more. The most that it ever told
//! stands.
//!
//! Counters that begin anew say nothing of what was not read before. From then on what is missing is unknown, until both switches
//! have been read again, and what is missing at that moment is nobody's loss.

use std::{collections::VecDeque, time::Duration};

use payflow_qos::Time;

/// A reading was taken at some moment between these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// When the switch was asked.
    pub(crate) asked: Time,
    /// When its answer was here.
    pub(crate) answered: Time,
}

/// The bytes of one flow at its first switch, behind the meter, and at its last one; over all its paths.
#[derive(Clone, Debug)]
pub(crate) struct Conservation {
    entered: u64,
    left: u64,
    /// Readings of the first switch: when the answer was here, and what had entered. Oldest first.
    readings: VecDeque<(Time, u64)>,
    base: Base,
    lost: u64,
    /// What had entered at the newest reading that a reading of the last switch has met.
    met: u64,
    pause: Pause,
}

/// What became of what had entered between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Bytes that had entered.
    pub(crate) entered: u64,
    /// Of these and of those before, bytes that are now known to be lost.
    pub(crate) lost: u64,
}

/// Whether what enters concerns anybody.
#[derive(Clone, Copy, Debug)]
enum Pause {
    No,
    /// Not from then on: what the next reading shows does, if it comes soon.
    From(Time),
    Yes,
}

/// How late a reading may be that was asked for when a pause began.
const SOON: Duration = Duration::from_secs(1);

/// What is missing and was not lost.
#[derive(Clone, Copy, Debug)]
enum Base {
    Known(i128),
    /// Not known, until the first switch is read after the last one, which was read then.
    Unknown {
        left_read: Option<Time>,
    },
}

/// Readings of the first switch that no reading of the last one has met yet.
const MOST_READINGS: usize = 8;

impl Conservation {
    /// Of a flow whose counters begin at nothing.
    pub(crate) fn fresh() -> Self {
        Self {
            entered: 0,
            left: 0,
            readings: VecDeque::new(),
            base: Base::Known(0),
            lost: 0,
            met: 0,
            pause: Pause::No,
        }
    }

    /// Of a flow that has been counted before, by nobody knows whom.
    pub(crate) fn resumed() -> Self {
        let mut conservation = Self::fresh();
        conservation.forget();
        conservation
    }

    /// What is known to be lost, in bytes. Never falls.
    #[cfg(test)]
    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }

    /// When a reading of the last switch would say what became of all that has entered; `None` if that is known, or will not be.
    pub(crate) fn is_known_from(&self, transit: Duration) -> Option<Time> {
        let Base::Known(base) = self.base else {
            return None;
        };
        let (at, entered) = self.readings.back()?;
        let open = self.missing(*entered) - base > i128::from(self.lost);
        open.then(|| at.plus(transit))
    }

    /// Some counter has begun anew, and nobody knows what it had counted.
    pub(crate) fn forget(&mut self) {
        self.base = Base::Unknown { left_read: None };
        self.readings.clear();
    }

    /// The path is known to be broken, which is credited by time: what enters from now on is nobody's loss. The first switch is
    /// being asked what has entered until now.
    pub(crate) fn pause(&mut self, now: Time) {
        if matches!(self.pause, Pause::No) {
            self.pause = Pause::From(now);
        }
    }

    /// Whether the path is known to be broken.
    pub(crate) const fn is_paused(&self) -> bool {
        !matches!(self.pause, Pause::No)
    }

    /// It is whole.
    pub(crate) fn go_on(&mut self) {
        if self.is_paused() {
            self.pause = Pause::No;
            self.forget();
        }
    }

    /// The first switch has let so many bytes more in since it was read last.
    pub(crate) fn has_entered(&mut self, more: u64, span: Span) {
        match self.pause {
            Pause::No => {}
            Pause::From(at) => {
                self.pause = Pause::Yes;
                if span.asked < at || span.answered > at.plus(SOON) {
                    return;
                }
            }
            Pause::Yes => return,
        }
        self.entered = self.entered.saturating_add(more);
        if let Base::Unknown {
            left_read: Some(at),
        } = self.base
            && span.asked >= at
        {
            self.base = Base::Known(self.missing(self.entered) - i128::from(self.lost));
            self.met = self.entered;
        }
        if matches!(self.base, Base::Known(_)) {
            self.readings.push_back((span.answered, self.entered));
            if self.readings.len() > MOST_READINGS {
                self.readings.pop_front();
            }
        }
    }

    /// So many bytes more have left since the last switch was read last. Packets are on the way for `transit` at the most.
    pub(crate) fn has_left(&mut self, more: u64, span: Span, transit: Duration) -> Found {
        self.left = self.left.saturating_add(more);
        match &mut self.base {
            Base::Unknown { left_read } => {
                *left_read = Some(span.answered);
                Found::default()
            }
            Base::Known(base) => {
                let base = *base;
                let met = |(at, _): &&(Time, u64)| at.plus(transit) <= span.asked;
                let before = self.readings.iter().take_while(met).count();
                // The last of them tells the most, and those before it are of no more use.
                let Some((_, entered)) = self.readings.drain(..before).next_back() else {
                    return Found::default();
                };
                let lost = u64::try_from(self.missing(entered) - base).unwrap_or(0);
                let found = Found {
                    entered: entered.saturating_sub(self.met),
                    lost: lost.saturating_sub(self.lost),
                };
                (self.lost, self.met) = (self.lost.max(lost), entered);
                found
            }
        }
    }

    /// The same, where nobody knows when that was read.
    pub(crate) fn had_left(&mut self, more: u64) {
        self.left = self.left.saturating_add(more);
    }

    fn missing(&self, entered: u64) -> i128 {
        i128::from(entered) - i128::from(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRANSIT: Duration = Duration::from_millis(50);

    fn at(ms: u64) -> Span {
        let at = Time::from_millis(ms);
        Span {
            asked: at,
            answered: at,
        }
    }

    #[test]
    fn what_does_not_leave_is_lost_once_it_had_time_to_leave() {
        let mut flow = Conservation::fresh();
        flow.has_entered(1_000, at(0));
        flow.has_left(0, at(49), TRANSIT);
        assert_eq!(flow.lost(), 0);
        flow.has_left(600, at(50), TRANSIT);
        assert_eq!(flow.lost(), 400);
        flow.has_entered(500, at(60));
        flow.has_left(500, at(120), TRANSIT);
        assert_eq!(flow.lost(), 400);
    }

    #[test]
    fn what_was_missing_when_a_counter_began_anew_is_nobodys_loss() {
        let mut flow = Conservation::resumed();
        flow.has_entered(9_000, at(0));
        flow.has_left(2_000, at(100), TRANSIT);
        flow.has_entered(500, at(200));
        flow.has_left(500, at(300), TRANSIT);
        assert_eq!(flow.lost(), 0);
        flow.has_entered(700, at(400));
        flow.has_left(0, at(500), TRANSIT);
        assert_eq!(
            flow.lost(),
            200,
            "700 entered, and 500 of before had not left"
        );
    }

    #[test]
    fn what_enters_while_the_path_is_known_to_be_broken_is_nobodys_loss() {
        let mut flow = Conservation::fresh();
        flow.has_entered(1_000, at(0));
        flow.pause(Time::from_millis(100));
        flow.has_entered(300, at(101));
        flow.has_entered(5_000, at(1_000));
        flow.has_left(700, at(2_000), TRANSIT);
        assert_eq!(flow.lost(), 600);
        flow.go_on();
        flow.has_left(900, at(3_000), TRANSIT);
        flow.has_entered(2_000, at(4_000));
        flow.has_left(500, at(5_000), TRANSIT);
        assert_eq!(flow.lost(), 600);
        flow.has_entered(800, at(6_000));
        flow.has_left(700, at(7_000), TRANSIT);
        assert_eq!(flow.lost(), 600, "what had entered before is on the way");
        flow.has_entered(0, at(8_000));
        flow.has_left(0, at(9_000), TRANSIT);
        assert_eq!(flow.lost(), 600);
    }

    #[test]
    fn a_reading_that_comes_late_after_a_break_tells_nothing() {
        let mut flow = Conservation::fresh();
        flow.pause(Time::from_millis(100));
        flow.has_entered(5_000, at(2_000));
        flow.has_left(0, at(4_000), TRANSIT);
        assert_eq!(flow.lost(), 0);
    }

    /// What happens to a flow, in the order of time.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// So many bytes enter; they leave, or are lost.
        Packet(u64, bool),
        /// All that are on the way arrive.
        Arrive,
        ReadFirst,
        ReadLast,
        /// The counter of the last switch begins anew.
        Restart,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (1..2_000_u64, prop::bool::weighted(0.8)).prop_map(|(bytes, arrives)| Step::Packet(bytes, arrives)),
            3 => Just(Step::Arrive),
            2 => Just(Step::ReadFirst),
            2 => Just(Step::ReadLast),
            1 => Just(Step::Restart),
            4 => (1..120_u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// However switches are read and restarted, no more is told than was lost; and all of it in the end, if no counter
        /// began anew.
        #[test]
        fn never_more_is_told_than_was_lost_and_all_of_it_in_the_end(
            steps in prop::collection::vec(step(), 1..120),
            late in 0..30_u64,
        ) {
            let mut flow = Conservation::fresh();
            let (mut now, mut truly_lost, mut restarted) = (0, 0, false);
            // Not read yet at either end; on the way, and since when.
            let (mut entered, mut left, mut on_the_way) = (0, 0, Vec::<(u64, u64)>::new());
            let mut told = 0;
            for step in steps.into_iter().chain([Step::Wait(50), Step::ReadFirst, Step::Wait(90), Step::ReadLast]) {
                match step {
                    Step::Packet(bytes, arrives) => {
                        entered += bytes;
                        if arrives {
                            on_the_way.push((now, bytes));
                        } else {
                            truly_lost += bytes;
                        }
                    }
                    Step::Arrive => left += on_the_way.drain(..).map(|(_, bytes)| bytes).sum::<u64>(),
                    Step::ReadFirst => {
                        let span = Span { asked: Time::from_millis(now), answered: Time::from_millis(now + late) };
                        flow.has_entered(std::mem::take(&mut entered), span);
                        now += late;
                    }
                    Step::ReadLast => {
                        let asked = Time::from_millis(now);
                        let more = std::mem::take(&mut left);
                        now += late;
                        flow.has_left(more, Span { asked, answered: Time::from_millis(now) }, TRANSIT);
                    }
                    Step::Restart => {
                        left = 0;
                        restarted = true;
                        flow.forget();
                    }
                    Step::Wait(ms) => now += ms,
                }
                // Nothing is on the way for longer than that.
                let (arrived, rest) = on_the_way.into_iter().partition(|(since, _)| since + 50 <= now);
                on_the_way = rest;
                left += Vec::<(u64, u64)>::into_iter(arrived).map(|(_, bytes)| bytes).sum::<u64>();
                prop_assert!(flow.lost() <= truly_lost, "{} of {truly_lost}", flow.lost());
                prop_assert!(flow.lost() >= told);
                told = flow.lost();
            }
            if !restarted {
                prop_assert_eq!(flow.lost(), truly_lost);
            }
        }
    }
}
