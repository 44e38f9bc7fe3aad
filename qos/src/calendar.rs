//! The calendar of one directed link: what is booked there, slot by slot.
//!
//! The next 24 hours are cut into slots of one second, the time after them, up to 30 days, into
//! slots of one minute. A booking counts in every slot it touches (windows are rounded outwards),
//! so that a calendar may show more than there is at an instant, and never less. As time goes on,
//! minutes come within the 24 hours and are cut into seconds; a booking that begins or ends within
//! such a minute then counts only in its own seconds. What a calendar shows thus depends on the
//! bookings and the time alone, not on when they were made.

use crate::{
    class::{Class, ClassPlan},
    series::Series,
    units::{Bytes, PerMille, SoldRate, Time, Window},
};
use std::{collections::BTreeMap, ops::Range};

/// How far ahead can be booked, from the beginning of the running minute, or five minutes.
const DAYS: u64 = 30;
const DAY_S: u64 = 24 * 60 * 60;
/// Fine slots in a coarse one, at most.
const FINE_IN_COARSE: usize = 60;

/// How a calendar cuts the time that can be booked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slots {
    /// 24 hours of seconds, then minutes: what is sold by.
    #[default]
    SecondsThenMinutes,
    /// Nothing but five minutes, as in published work on booking ahead: to compare with.
    FiveMinutes,
}

// Matched, and not kept as numbers, so that every division is by a constant.
impl Slots {
    /// Every way.
    pub const ALL: [Slots; 2] = [Slots::SecondsThenMinutes, Slots::FiveMinutes];

    /// The latest end a window may have at `now`: 30 days on, from the beginning of the running minute, or five minutes.
    pub const fn horizon(self, now: Time) -> Time {
        Span::at(self, now.millis() / 1_000).horizon()
    }

    /// The length of a fine slot, in seconds.
    pub const fn fine_s(self) -> u64 {
        match self {
            Slots::SecondsThenMinutes => 1,
            Slots::FiveMinutes => 300,
        }
    }

    const fn fine(self) -> u64 {
        match self {
            Slots::SecondsThenMinutes => DAY_S,
            Slots::FiveMinutes => DAYS * DAY_S / 300,
        }
    }

    const fn coarse(self) -> u64 {
        match self {
            Slots::SecondsThenMinutes => (DAYS - 1) * DAY_S / 60,
            Slots::FiveMinutes => 0,
        }
    }

    /// The second at which the coarse slot begins that a second is in. Time comes within the fine slots by coarse ones, so
    /// where there are none, as if they were as long as the fine ones.
    const fn coarse_start(self, second: u64) -> u64 {
        match self {
            Slots::SecondsThenMinutes => second - second % 60,
            Slots::FiveMinutes => second - second % 300,
        }
    }

    const fn coarse_s(self) -> u64 {
        match self {
            Slots::SecondsThenMinutes => 60,
            Slots::FiveMinutes => 300,
        }
    }

    const fn fine_number(self, second: u64) -> u64 {
        match self {
            Slots::SecondsThenMinutes => second,
            Slots::FiveMinutes => second / 300,
        }
    }

    const fn fine_start(self, second: u64) -> u64 {
        match self {
            Slots::SecondsThenMinutes => second,
            Slots::FiveMinutes => second - second % 300,
        }
    }

    const fn coarse_number(self, second: u64) -> u64 {
        match self {
            Slots::SecondsThenMinutes => second / 60,
            Slots::FiveMinutes => second / 300,
        }
    }

    /// Where in its ring a fine slot is.
    const fn fine_place(self, number: u64) -> usize {
        match self {
            Slots::SecondsThenMinutes => (number % Slots::SecondsThenMinutes.fine()) as usize,
            Slots::FiveMinutes => (number % Slots::FiveMinutes.fine()) as usize,
        }
    }

    /// Where in its ring a coarse slot is.
    const fn coarse_place(self, number: u64) -> usize {
        match self {
            Slots::SecondsThenMinutes => (number % Slots::SecondsThenMinutes.coarse()) as usize,
            Slots::FiveMinutes => 0,
        }
    }
}

const RATES: usize = 0;
const STEADY_BURSTS: usize = 1;
const ELASTIC_BURSTS: usize = 2;
const STEADY_RATES: usize = 3;

/// What one flow takes of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booking {
    /// When.
    pub window: Window,
    /// Whose buffer its burst takes.
    pub class: Class,
    /// Its rate.
    pub rate: SoldRate,
    /// What it may send at once.
    pub burst: Bytes,
}

/// What is booked on a link at some instant, or the most over some window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// All rates together.
    pub rate: SoldRate,
    /// The rates of steady flows together.
    pub steady_rate: SoldRate,
    /// The bursts of steady flows together.
    pub steady_burst: Bytes,
    /// The bursts of elastic flows together.
    pub elastic_burst: Bytes,
}

impl Load {
    /// The bursts of one class together. What is not sold has none.
    pub const fn burst(&self, class: Class) -> Bytes {
        match class {
            Class::Steady => self.steady_burst,
            Class::Elastic => self.elastic_burst,
            Class::Control | Class::BestEffort => Bytes(0),
        }
    }
}

/// The most that may be booked at any instant. Bursts are counted in whole kbit (125 bytes), as a meter takes them
/// ([`Class::burst_kbit`]), up to 537 GB per class, where their 32-bit sums end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) rate: u32,
    pub(crate) steady_rate: u32,
    pub(crate) steady_burst_kbit: u32,
    pub(crate) elastic_burst_kbit: u32,
}

impl Limits {
    /// What a plan gives the classes that are sold, and this part of what it gives them of the rate. Bursts round down.
    pub(crate) fn of(plan: &ClassPlan, share: PerMille) -> Self {
        let kbit = |bytes: Bytes| u32::try_from(bytes.0 / Bytes::PER_KBIT).unwrap_or(u32::MAX);
        Limits {
            rate: share.of(plan.reservable()).kbps(),
            steady_rate: plan.sellable(Class::Steady).kbps(),
            steady_burst_kbit: kbit(plan.sellable_burst(Class::Steady)),
            elastic_burst_kbit: kbit(plan.sellable_burst(Class::Elastic)),
        }
    }

    /// The most of the rates of one class. What is not sold has as much as elastic.
    pub(crate) const fn rate(&self, class: Class) -> u32 {
        match class {
            Class::Steady if self.steady_rate < self.rate => self.steady_rate,
            _ => self.rate,
        }
    }

    /// The most of the bursts of one class. What is not sold has none.
    pub(crate) const fn burst(&self, class: Class) -> Bytes {
        match class {
            Class::Steady => bytes(self.steady_burst_kbit),
            Class::Elastic => bytes(self.elastic_burst_kbit),
            Class::Control | Class::BestEffort => Bytes(0),
        }
    }

    const fn of_row(&self, row: usize) -> u32 {
        match row {
            RATES => self.rate,
            STEADY_RATES => self.steady_rate,
            STEADY_BURSTS => self.steady_burst_kbit,
            _ => self.elastic_burst_kbit,
        }
    }
}

/// What is booked on one directed link, from now to [`Slots::horizon`].
///
/// It adds up and tells; whether something fits is decided by [`crate::book::Book`]. Takes up to 0.3 MB
/// for rates and as much for each class, steady twice, once something is booked.
#[derive(Clone, Debug)]
pub struct Calendar {
    span: Span,
    /// [`RATES`], [`STEADY_BURSTS`], [`ELASTIC_BURSTS`], [`STEADY_RATES`].
    rows: [Row; 4],
}

impl Calendar {
    /// Nothing booked, from `now` on.
    pub fn new(slots: Slots, now: Time) -> Self {
        Calendar {
            span: Span::at(slots, now.millis() / 1_000),
            rows: [(); 4].map(|()| Row::new(slots)),
        }
    }

    /// Moves the present on; time never goes back. Costs one step per minute passed.
    pub fn advance(&mut self, now: Time) {
        let now = (now.millis() / 1_000).max(self.span.now);
        let next = Span::at(self.span.slots, now);
        for row in &mut self.rows {
            row.advance(self.span, next);
        }
        self.span = next;
    }

    /// What is looked at or changed soon is fetched from memory, of all links at once instead of one after another: where a
    /// network is large, most of the time goes into waiting for it.
    pub(crate) fn fetch(&self, class: Class, window: Window) {
        let (fine, coarse) = slots(self.span, &self.span.seconds(window));
        for row in rate_rows(class).iter().copied().chain(burst_row(class)) {
            let Row {
                fine: near,
                coarse: far,
                ..
            } = &self.rows[row];
            let near = fine.iter().map(|slots| near.touch(slots.clone()));
            let far = coarse.iter().map(|slots| far.touch(slots.clone()));
            std::hint::black_box(near.chain(far).fold(0, |all, value| all ^ value));
        }
    }

    /// Adds a booking. What of it lies before the present does not count. The caller has seen that
    /// it fits and that it ends by the [`Slots::horizon`].
    pub(crate) fn book(&mut self, booking: &Booking) {
        let range = self.span.seconds(booking.window);
        for (row, amount) in amounts(booking) {
            self.rows[row].change(self.span, range.clone(), Change::Add, amount);
        }
    }

    /// Takes a booking back: one that was made before, or what is left of it.
    pub(crate) fn unbook(&mut self, booking: &Booking) {
        let range = self.span.seconds(booking.window);
        for (row, amount) in amounts(booking) {
            self.rows[row].change(self.span, range.clone(), Change::Take, amount);
        }
    }

    /// The most that is booked at any instant of the window, slots rounded outwards. Rates and
    /// bursts may peak at different instants.
    pub fn peak(&self, window: Window) -> Load {
        load(|row| self.row_peak(row, window, None))
    }

    /// What is left of the limits for one more booking of a class all through a window, as if `left_out`, which is
    /// booked, were not. Half of the work of an admission is here, so nothing is looked at that nobody asks for.
    pub(crate) fn room(
        &self,
        class: Class,
        window: Window,
        limits: &Limits,
        left_out: Option<&Booking>,
    ) -> (SoldRate, Bytes) {
        let left = |row| {
            let peak = self.row_peak(row, window, left_out);
            limits.of_row(row).saturating_sub(peak)
        };
        let rate = rate_rows(class).iter().map(|row| left(*row)).min();
        let burst = burst_row(class).map_or(0, left);
        (SoldRate(rate.unwrap_or(0)), bytes(burst))
    }

    fn row_peak(&self, row: usize, window: Window, left_out: Option<&Booking>) -> u32 {
        let of_part = |(range, relief): (Range<u64>, u32)| {
            self.rows[row].peak(self.span, range).saturating_sub(relief)
        };
        self.parts(row, window, left_out)
            .into_iter()
            .map(of_part)
            .max()
            .unwrap_or(0)
    }

    /// What is booked in the slot of this instant; nothing before the present or past the horizon.
    pub fn load(&self, at: Time) -> Load {
        let second = at.millis() / 1_000;
        let known = (self.span.now..self.span.horizon_s()).contains(&second);
        load(|row| {
            if known {
                self.rows[row].peak(self.span, second..second + 1)
            } else {
                0
            }
        })
    }

    /// The rates that are booked all through the window, in order, as if `left_out`, which is booked, were not: the second
    /// up to which, and the rate. Slots are rounded outwards, so that the last second may lie after the end of the window;
    /// neighbours may be equal. Nothing before the present or past the horizon is told.
    pub(crate) fn rates(
        &self,
        window: Window,
        left_out: Option<&Booking>,
        mut tell: impl FnMut(u64, SoldRate),
    ) {
        let [fine_s, coarse_s] = [self.span.slots.fine_s(), self.span.slots.coarse_s()];
        for (range, relief) in self.parts(RATES, window, left_out) {
            let (fine, coarse) = slots(self.span, &range);
            let row = &self.rows[RATES];
            let mut until = range.start;
            for (series, parts, slot_s) in
                [(&row.fine, fine, fine_s), (&row.coarse, coarse, coarse_s)]
            {
                for part in parts {
                    series.runs(part, |slots, rate| {
                        until += slots as u64 * slot_s;
                        tell(until, SoldRate(rate.saturating_sub(relief)));
                    });
                }
            }
        }
    }

    /// Whether the booking fits beside the others all through its window.
    pub(crate) fn has_room(&self, booking: &Booking, limits: &Limits) -> bool {
        if booking.burst > limits.burst(booking.class) {
            return false;
        }
        let seconds = self.span.whole_slots(self.span.seconds(booking.window));
        amounts(booking).all(|(row, amount)| {
            limits
                .of_row(row)
                .checked_sub(amount)
                .is_some_and(|limit| self.rows[row].is_within(self.span, seconds.clone(), limit))
        })
    }

    /// The end of the last slot of the window in which the booking would not fit beside the others,
    /// whatever its own window; `None` if it fits all the way.
    pub(crate) fn last_obstacle(
        &self,
        window: Window,
        booking: &Booking,
        limits: &Limits,
        left_out: Option<&Booking>,
    ) -> Option<Time> {
        let obstacles = amounts(booking).filter_map(|(row, amount)| {
            let Some(limit) = limits.of_row(row).checked_sub(amount) else {
                return Some(self.span.horizon_s());
            };
            let parts = self.parts(row, window, left_out);
            let in_part = |(range, relief): (Range<u64>, u32)| {
                self.rows[row].last_above(self.span, range, limit.saturating_add(relief))
            };
            parts.into_iter().rev().find_map(in_part)
        });
        obstacles
            .max()
            .map(|second| Time::from_millis(second.saturating_mul(1_000)))
    }

    /// The window in seconds, cut where `left_out` begins and ends, with what to take off in each
    /// part. Cuts are where the calendar counts the booking, so that no slot lies across one.
    fn parts(
        &self,
        row: usize,
        window: Window,
        left_out: Option<&Booking>,
    ) -> [(Range<u64>, u32); 3] {
        let all = self.span.whole_slots(self.span.seconds(window));
        let relief = left_out.and_then(|booking| {
            let amount = amounts(booking).find(|(its, _)| *its == row)?.1;
            Some((
                self.span.whole_slots(self.span.seconds(booking.window)),
                amount,
            ))
        });
        let Some((own, amount)) = relief else {
            return [(all, 0), (0..0, 0), (0..0, 0)];
        };
        let (from, to) = (
            own.start.clamp(all.start, all.end),
            own.end.clamp(all.start, all.end),
        );
        [(all.start..from, 0), (from..to, amount), (to..all.end, 0)]
    }
}

const fn bytes(kbit: u32) -> Bytes {
    Bytes(kbit as u64 * Bytes::PER_KBIT)
}

/// Which rows a booking counts in, and how much; a burst rounds up to a whole kbit. One too large for a sum is refused before
/// it comes here.
fn amounts(booking: &Booking) -> impl Iterator<Item = (usize, u32)> {
    let rate = booking.rate.kbps();
    let burst = booking.burst.0.div_ceil(Bytes::PER_KBIT);
    let burst = u32::try_from(burst).unwrap_or(u32::MAX);
    let rates = rate_rows(booking.class).iter().map(move |row| (*row, rate));
    rates.chain([(burst_row(booking.class).unwrap_or(STEADY_BURSTS), burst)])
}

/// Where the rates of a class are added up.
const fn rate_rows(class: Class) -> &'static [usize] {
    match class {
        Class::Steady => &[RATES, STEADY_RATES],
        Class::Control | Class::Elastic | Class::BestEffort => &[RATES],
    }
}

/// Where the bursts of a class are added up. What is not sold has none.
const fn burst_row(class: Class) -> Option<usize> {
    match class {
        Class::Steady => Some(STEADY_BURSTS),
        Class::Elastic => Some(ELASTIC_BURSTS),
        Class::Control | Class::BestEffort => None,
    }
}

fn load(of_row: impl Fn(usize) -> u32) -> Load {
    Load {
        rate: SoldRate(of_row(RATES)),
        steady_rate: SoldRate(of_row(STEADY_RATES)),
        steady_burst: bytes(of_row(STEADY_BURSTS)),
        elastic_burst: bytes(of_row(ELASTIC_BURSTS)),
    }
}

/// The seconds a calendar covers: in fine slots from `now` to `border`, in coarse ones from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    slots: Slots,
    now: u64,
    /// Where a coarse slot begins, or would begin: as long as all fine slots after the beginning of the running one.
    border: u64,
}

impl Span {
    const fn at(slots: Slots, now: u64) -> Self {
        Span {
            slots,
            now,
            border: slots.coarse_start(now) + slots.fine() * slots.fine_s(),
        }
    }

    const fn horizon_s(self) -> u64 {
        self.border + self.slots.coarse() * self.slots.coarse_s()
    }

    const fn horizon(self) -> Time {
        Time::from_millis(self.horizon_s().saturating_mul(1_000))
    }

    /// The seconds that the window touches, as far as they are covered.
    fn seconds(self, window: Window) -> Range<u64> {
        let start = (window.start().millis() / 1_000).max(self.now);
        let end = window.end().millis().div_ceil(1_000).min(self.horizon_s());
        start..end.max(start)
    }

    /// The seconds of all slots that the given seconds touch.
    fn whole_slots(self, seconds: Range<u64>) -> Range<u64> {
        if seconds.is_empty() {
            return seconds;
        }
        let slot = |second| {
            if second < self.border {
                self.slots.fine_start(second)..self.slots.fine_start(second) + self.slots.fine_s()
            } else {
                let start = self.slots.coarse_start(second);
                start..start + self.slots.coarse_s()
            }
        };
        slot(seconds.start).start..slot(seconds.end - 1).end
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Add,
    Take,
}

/// The sums of one quantity.
#[derive(Clone, Debug)]
struct Row {
    /// A ring: [`Slots::fine_place`].
    fine: Series,
    /// A ring: [`Slots::coarse_place`].
    coarse: Series,
    /// By how much the coarse slots beyond the border show too much, because bookings begin and end
    /// within them: the change at each second, from 0 at the beginning of every slot. With it,
    /// cutting one into fine slots is exact.
    excess: BTreeMap<u64, i64>,
}

impl Row {
    fn new(slots: Slots) -> Self {
        Row {
            fine: Series::new(slots.fine() as usize),
            coarse: Series::new(slots.coarse() as usize),
            excess: BTreeMap::new(),
        }
    }

    fn change(&mut self, span: Span, seconds: Range<u64>, change: Change, amount: u32) {
        let apply = |series: &mut Series, slots| match change {
            Change::Add => series.add(slots, amount),
            Change::Take => series.take(slots, amount),
        };
        let (fine, coarse) = slots(span, &seconds);
        fine.into_iter()
            .for_each(|slots| apply(&mut self.fine, slots));
        coarse
            .into_iter()
            .for_each(|slots| apply(&mut self.coarse, slots));

        let amount = if change == Change::Add {
            i64::from(amount)
        } else {
            -i64::from(amount)
        };
        if seconds.is_empty() || amount == 0 {
            return;
        }
        let slot = |second| span.slots.coarse_start(second);
        let is_within = |second| second > span.border && second != slot(second);
        if is_within(seconds.start) {
            self.exceed(slot(seconds.start), amount);
            self.exceed(seconds.start, -amount);
        }
        if is_within(seconds.end) {
            self.exceed(seconds.end, amount);
        }
    }

    fn exceed(&mut self, second: u64, by: i64) {
        let excess = self.excess.entry(second).or_insert(0);
        *excess += by;
        if *excess == 0 {
            self.excess.remove(&second);
        }
    }

    fn peak(&self, span: Span, seconds: Range<u64>) -> u32 {
        let (fine, coarse) = slots(span, &seconds);
        let fine = fine.into_iter().map(|slots| self.fine.peak(slots));
        fine.chain(coarse.into_iter().map(|slots| self.coarse.peak(slots)))
            .max()
            .unwrap_or(0)
    }

    /// Whether no slot that touches these seconds shows more than `limit`.
    fn is_within(&self, span: Span, seconds: Range<u64>, limit: u32) -> bool {
        let (fine, coarse) = slots(span, &seconds);
        let mut fine = fine.into_iter();
        let mut coarse = coarse.into_iter();
        fine.all(|slots| self.fine.is_within(slots, limit))
            && coarse.all(|slots| self.coarse.is_within(slots, limit))
    }

    /// The end, in seconds, of the last slot that touches these seconds and shows more than `limit`.
    fn last_above(&self, span: Span, seconds: Range<u64>, limit: u32) -> Option<u64> {
        let cut = span.slots;
        let (fine, coarse) = slots(span, &seconds);
        let first = cut.coarse_number(seconds.start.max(span.border));
        let coarse = last_in_ring(
            &self.coarse,
            coarse,
            first,
            cut.coarse_place(first),
            cut.coarse(),
            limit,
        );
        let first = cut.fine_number(seconds.start);
        let fine = || {
            last_in_ring(
                &self.fine,
                fine,
                first,
                cut.fine_place(first),
                cut.fine(),
                limit,
            )
        };
        coarse
            .map(|number| (number + 1) * cut.coarse_s())
            .or_else(|| fine().map(|number| (number + 1) * cut.fine_s()))
    }

    fn advance(&mut self, from: Span, to: Span) {
        if to.now >= from.horizon_s() {
            self.fine.clear();
            self.coarse.clear();
            self.excess.clear();
            return;
        }
        let cut = to.slots;
        let fine_in_coarse = (cut.coarse_s() / cut.fine_s()) as usize;
        for number in cut.coarse_number(from.border)..cut.coarse_number(to.border) {
            let (first, end) = (number * cut.coarse_s(), (number + 1) * cut.coarse_s());
            let mut values = [0_u32; FINE_IN_COARSE];
            let values = &mut values[..fine_in_coarse];
            let place = cut.coarse_place(number);
            let shown = i64::from(self.coarse.get(place));
            // Where nothing is shown, nothing begins or ends.
            if shown != 0 {
                self.coarse.write(place, &[0]);
                let mut changes = self.excess.split_off(&first);
                self.excess.append(&mut changes.split_off(&end));
                let mut changes = changes.into_iter().peekable();
                let mut excess = 0;
                for (second, value) in (first..).zip(values.iter_mut()) {
                    let change = changes.next_if(|(at, _)| *at == second);
                    excess += change.map_or(0, |(_, by)| by);
                    *value = u32::try_from(shown - excess).expect(
                        "a slot shows the sum of what touches it, the excess is part of that",
                    );
                }
            }
            // Slots that have passed stay in the ring until the ones that take their places are written; nothing reads them.
            if end > to.now {
                let place = cut.fine_place(cut.fine_number(first));
                self.fine.write(place, values);
            }
        }
    }
}

/// The places of the slots that touch these seconds: in the fine ring, then in the coarse one, each cut where the ring closes.
fn slots(span: Span, seconds: &Range<u64>) -> ([Range<usize>; 2], [Range<usize>; 2]) {
    const NONE: [Range<usize>; 2] = [0..0, 0..0];
    let cut = span.slots;
    let fine = if seconds.start < span.border && !seconds.is_empty() {
        let first = cut.fine_number(seconds.start);
        let last = cut.fine_number(seconds.end.min(span.border) - 1);
        unroll(cut.fine_place(first), last - first + 1, cut.fine())
    } else {
        NONE
    };
    let coarse = if seconds.end > span.border && !seconds.is_empty() {
        let first = cut.coarse_number(seconds.start.max(span.border));
        let last = cut.coarse_number(seconds.end - 1);
        unroll(cut.coarse_place(first), last - first + 1, cut.coarse())
    } else {
        NONE
    };
    (fine, coarse)
}

/// So many places of a ring, in order; no more than it has.
const fn unroll(first: usize, count: u64, size: u64) -> [Range<usize>; 2] {
    let (count, size) = (count as usize, size as usize);
    let before = if count < size - first {
        count
    } else {
        size - first
    };
    [first..first + before, 0..count - before]
}

/// The number of the last slot above `limit`, where `slots` hold the numbers from `first` on, which is in `place`.
fn last_in_ring(
    series: &Series,
    slots: [Range<usize>; 2],
    first: u64,
    place: usize,
    size: u64,
    limit: u32,
) -> Option<u64> {
    let slot = slots
        .into_iter()
        .rev()
        .find_map(|slots| series.last_above(slots, limit))?;
    let after = if slot >= place {
        slot - place
    } else {
        slot + size as usize - place
    };
    Some(first + after as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHIPPED: Slots = Slots::SecondsThenMinutes;

    fn window(start_ms: u64, end_ms: u64) -> Window {
        Window::new(Time::from_millis(start_ms), Time::from_millis(end_ms)).unwrap()
    }

    fn steady(window: Window, rate: u32) -> Booking {
        Booking {
            window,
            class: Class::Steady,
            rate: SoldRate(rate),
            burst: bytes(rate * 2),
        }
    }

    #[test]
    fn a_booking_counts_in_every_slot_it_touches() {
        let mut calendar = Calendar::new(SHIPPED, Time::default());
        calendar.book(&steady(window(1_999, 3_001), 5));
        let rates: Vec<_> = (0..6)
            .map(|second| calendar.load(Time::from_millis(second * 1_000)).rate.0)
            .collect();
        assert_eq!(rates, [0, 5, 5, 5, 0, 0]);
    }

    #[test]
    fn a_minute_becomes_exact_when_it_comes_within_the_day() {
        let start = (DAY_S + 90) * 1_000;
        let booked = window(start, start + 10_000);
        let mut calendar = Calendar::new(SHIPPED, Time::default());
        calendar.book(&steady(booked, 5));
        let before = window(start - 20_000, start - 10_000);
        assert_eq!(
            calendar.peak(before).rate,
            SoldRate(5),
            "rounded outwards to the minute"
        );
        calendar.advance(Time::from_millis(2 * 60_000));
        assert_eq!(calendar.peak(before), Load::default());
        assert_eq!(calendar.peak(booked).rate, SoldRate(5));
        assert_eq!(calendar.peak(booked).steady_burst, Bytes(1_250));
    }

    #[test]
    fn thirty_days_can_be_booked_and_not_a_slot_more() {
        assert_eq!(
            SHIPPED.horizon(Time::from_millis(59_999)).millis(),
            30 * DAY_S * 1_000
        );
        assert_eq!(
            SHIPPED.horizon(Time::from_millis(60_000)).millis(),
            (30 * DAY_S + 60) * 1_000
        );
        assert_eq!(
            Slots::FiveMinutes
                .horizon(Time::from_millis(599_999))
                .millis(),
            (30 * DAY_S + 300) * 1_000
        );
    }

    #[test]
    fn a_time_far_ahead_is_empty_and_usable() {
        let mut calendar = Calendar::new(SHIPPED, Time::default());
        calendar.book(&steady(window(0, 1_000_000), 5));
        let later = Time::from_millis(100 * DAY_S * 1_000);
        calendar.advance(later);
        let booked = window(later.millis(), later.millis() + 1);
        assert_eq!(calendar.peak(booked), Load::default());
        calendar.book(&steady(booked, 7));
        assert_eq!(calendar.load(later).rate, SoldRate(7));
    }

    #[test]
    fn the_last_instant_that_can_be_told_is_no_panic() {
        let end = Time::from_millis(u64::MAX);
        let mut calendar = Calendar::new(SHIPPED, end);
        calendar.advance(end);
        assert_eq!(
            calendar.peak(window(u64::MAX - 1, u64::MAX)),
            Load::default()
        );
    }

    /// Instants around the present, the border between the resolutions, and the horizon.
    fn instant() -> impl Strategy<Value = u64> {
        let second = prop_oneof![
            0..400_u64,
            DAY_S - 200..DAY_S + 400,
            30 * DAY_S - 400..30 * DAY_S
        ];
        (second, 0..1_000_u64).prop_map(|(second, ms)| second * 1_000 + ms)
    }

    fn booking() -> impl Strategy<Value = Booking> {
        (instant(), instant(), 1..50_u32, any::<bool>()).prop_filter_map(
            "empty",
            |(a, b, rate, elastic)| {
                let window = Window::new(Time::from_millis(a.min(b)), Time::from_millis(a.max(b)))?;
                let class = if elastic {
                    Class::Elastic
                } else {
                    Class::Steady
                };
                Some(Booking {
                    window,
                    class,
                    rate: SoldRate(rate),
                    // Rounded up to whole kbit.
                    burst: Bytes(u64::from(rate) * 375 - u64::from(rate % 125)),
                })
            },
        )
    }

    /// What a calendar must show in the slot of a second, from first principles.
    fn shown(cut: Slots, bookings: &[Booking], now_s: u64, second: u64) -> Load {
        let border = now_s - now_s % 60 + DAY_S;
        let length = match cut {
            Slots::FiveMinutes => 300,
            Slots::SecondsThenMinutes if second < border => 1,
            Slots::SecondsThenMinutes => 60,
        };
        let start = second / length * length;
        let slot = window(start.max(now_s) * 1_000, (start + length) * 1_000);
        let touching: Vec<_> = bookings
            .iter()
            .filter(|booking| booking.window.overlaps(slot))
            .collect();
        let burst = |class| {
            Bytes(
                touching
                    .iter()
                    .filter(|b| b.class == class)
                    .map(|b| b.burst.0.next_multiple_of(125))
                    .sum(),
            )
        };
        let steady = touching.iter().filter(|b| b.class == Class::Steady);
        Load {
            rate: SoldRate(touching.iter().map(|b| b.rate.0).sum()),
            steady_rate: SoldRate(steady.map(|b| b.rate.0).sum()),
            steady_burst: burst(Class::Steady),
            elastic_burst: burst(Class::Elastic),
        }
    }

    /// The seconds next to where a sum can change.
    fn marks(bookings: &[Booking]) -> impl Iterator<Item = u64> + '_ {
        let edges = bookings.iter().flat_map(|b| {
            [
                b.window.start().millis() / 1_000,
                b.window.end().millis() / 1_000,
            ]
        });
        edges.flat_map(|s| {
            [
                s.saturating_sub(300),
                s.saturating_sub(60),
                s.saturating_sub(1),
                s,
                s + 1,
                s + 60,
                s + 300,
            ]
        })
    }

    #[derive(Clone, Debug)]
    enum Step {
        Book(Booking),
        TakeBack(usize),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => booking().prop_map(Step::Book),
            2 => any::<usize>().prop_map(Step::TakeBack),
            1 => (0..90_000_u64).prop_map(Step::Advance),
            1 => (0..500_000_u64).prop_map(Step::Advance),
            1 => (0..40 * DAY_S * 1_000).prop_map(Step::Advance),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        /// Whatever was booked and taken back, and however the border moved meanwhile, every slot
        /// shows the sum of what touches it, and the peak over a window is its highest slot, with
        /// one booking left out or without.
        #[test]
        fn a_calendar_forgets_nothing_as_time_moves_over_its_borders(
            steps in prop::collection::vec(step(), 1..30),
            asked in booking(),
            room in 0..100_u32,
            steady_room in 0..100_u32,
            cut in prop::sample::select(Slots::ALL.to_vec()),
        ) {
            let (mut calendar, mut live, mut now) = (Calendar::new(cut, Time::default()), Vec::<Booking>::new(), 0);
            for step in steps {
                match step {
                    Step::Book(booking) => {
                        calendar.book(&booking);
                        live.push(booking);
                    }
                    Step::TakeBack(which) if !live.is_empty() => {
                        calendar.unbook(&live.swap_remove(which % live.len()));
                    }
                    Step::TakeBack(_) => {}
                    Step::Advance(by) => {
                        now += by;
                        // What is over stays in the slot that runs, which the model does not know.
                        if cut.fine_s() > 1 {
                            now -= now % (cut.fine_s() * 1_000);
                        }
                        calendar.advance(Time::from_millis(now));
                    }
                }
            }
            let (now_s, end_s, border) = (now / 1_000, calendar.span.horizon_s(), calendar.span.border);
            let all = marks(&live).chain(border - 150..border + 150).chain([now_s, end_s - 1]);
            for second in all.filter(|second| (now_s..end_s).contains(second)) {
                let told = calendar.load(Time::from_millis(second * 1_000));
                prop_assert_eq!(told, shown(cut, &live, now_s, second), "second {} at {}", second, now_s);
            }

            let window = asked.window;
            let seconds = window.start().millis() / 1_000..window.end().millis().div_ceil(1_000);
            let looked: Vec<_> = marks(&live).chain([seconds.start, seconds.end - 1, border, now_s])
                .filter(|second| seconds.contains(second) && (now_s..end_s).contains(second)).collect();
            for left_out in std::iter::once(None).chain((0..live.len()).map(Some)) {
                let mut rest = live.clone();
                let left_out = left_out.map(|index| rest.swap_remove(index));
                let of_all = looked.iter().map(|second| shown(cut, &rest, now_s, *second));
                let most = |of: fn(&Load) -> u32| of_all.clone().map(|load| of(&load)).max().unwrap_or(0);
                let is_steady = asked.class == Class::Steady;
                let (rates, steady) = (most(|load| load.rate.0), most(|load| load.steady_rate.0));
                let bursts = if is_steady { most(|load| (load.steady_burst.0 / 125) as u32) } else { most(|load| (load.elastic_burst.0 / 125) as u32) };
                let limits = Limits {
                    rate: room + asked.rate.0,
                    steady_rate: steady_room + asked.rate.0,
                    steady_burst_kbit: u32::MAX,
                    elastic_burst_kbit: u32::MAX,
                };
                let left = calendar.room(asked.class, window, &limits, left_out.as_ref());
                let of_rates = limits.rate.saturating_sub(rates);
                let of_steady = if is_steady { limits.steady_rate.saturating_sub(steady) } else { u32::MAX };
                prop_assert_eq!(left.0, SoldRate(of_rates.min(of_steady)));
                prop_assert_eq!(left.1, bytes(u32::MAX - bursts));
                let is_above = |load: Load| load.rate.0 > room || is_steady && load.steady_rate.0 > steady_room;
                let obstacle = calendar.last_obstacle(window, &asked, &limits, left_out.as_ref());
                prop_assert_eq!(obstacle.is_some(), of_all.clone().any(is_above));
                if left_out.is_none() {
                    prop_assert_eq!(calendar.has_room(&asked, &limits), obstacle.is_none());
                }
                if let Some(end) = obstacle {
                    let before = shown(cut, &rest, now_s, end.millis() / 1_000 - 1);
                    prop_assert!(is_above(before), "the slot before the end told is an obstacle");
                }
            }
        }
    }
}
