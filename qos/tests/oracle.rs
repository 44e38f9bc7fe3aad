//! The capacity book against a naive oracle, over random histories: whatever was done, the two agree on every answer, reasons
//! and order included.
//!
//! The oracle keeps a list of commitments and adds up whatever touches a slot, each time anew. `PAYFLOW_ORACLE_OPERATIONS` says
//! how many operations are compared.
#![allow(clippy::unwrap_used)]

use payflow_qos::{
    HoldTerms,
    book::{Book, Commitment, CommitmentId, TrimError},
    calendar::Slots,
    class::{Class, ClassPlan},
    refusal::Reason,
    topology::{PortNo, PortRef, SwitchId},
    units::{BitRate, Bytes, PerMille, SoldRate, Time, Window},
};
use proptest::{
    prelude::*,
    test_runner::{TestCaseResult, TestRunner},
};
use std::{
    cell::Cell,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const OPERATIONS: u64 = 20_000;
/// Of a history, on average.
const LENGTH: u32 = 125;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;
const LINKS: u64 = 4;
const HOSTS: u32 = 3;
const IDS: u64 = 40;

fn link(number: u64) -> PortRef {
    PortRef::new(number, 1)
}

fn host(number: u32) -> PortRef {
    PortRef::new(9, number)
}

type Lost = Vec<(CommitmentId, Commitment)>;

// ---- The oracle -------------------------------------------------------------------------------------------------------

/// The state as the documents of the book tell it.
#[derive(Clone, Debug, Default)]
struct Oracle {
    cut: Slots,
    now: u64,
    live: BTreeMap<CommitmentId, Commitment>,
    capacities: BTreeMap<PortRef, BitRate>,
    shares: BTreeMap<PortRef, PerMille>,
    drained: BTreeSet<(SwitchId, Option<PortNo>)>,
    /// Until when, and after how many expiries.
    cooling: BTreeMap<PortRef, (u64, u32)>,
}

/// What is left of a link for one more: rate, buffer of a class.
struct Room {
    rate: u64,
    buffer: u64,
}

impl Oracle {
    /// Where seconds become minutes.
    fn border(&self) -> u64 {
        self.now / MINUTE * MINUTE + DAY
    }

    fn horizon(&self) -> u64 {
        let running = match self.cut {
            Slots::SecondsThenMinutes => MINUTE,
            Slots::FiveMinutes => 5 * MINUTE,
        };
        self.now / running * running + 30 * DAY
    }

    /// How long the slot is that an instant is in.
    fn slot(&self, at: u64) -> u64 {
        match self.cut {
            Slots::FiveMinutes => 5 * MINUTE,
            Slots::SecondsThenMinutes if at < self.border() => SECOND,
            Slots::SecondsThenMinutes => MINUTE,
        }
    }

    /// From the beginning of the first slot that a window touches to the end of the last. Seconds that have passed are left
    /// out, and where all have, there are no slots.
    fn slots(&self, window: Window) -> (u64, u64) {
        let start = window.start().millis().max(self.now) / SECOND * SECOND;
        let end = window.end().millis().div_ceil(SECOND) * SECOND;
        if end <= start {
            return (start, start);
        }
        let (first, last) = (self.slot(start), self.slot(end - 1));
        (start / first * first, end.div_ceil(last) * last)
    }

    fn on(
        &self,
        port: PortRef,
        left_out: Option<CommitmentId>,
    ) -> impl Iterator<Item = (&CommitmentId, &Commitment)> + Clone {
        let all = self.live.iter();
        all.filter(move |(id, its)| its.path.contains(&port) && Some(**id) != left_out)
    }

    /// The most rate, of all and of a class, and the most of the bursts of the class, in any slot of a window.
    fn peak<'a>(
        &self,
        among: impl Iterator<Item = &'a Commitment> + Clone,
        window: Window,
        class: Class,
    ) -> (u64, u64, u64) {
        let (start, end) = self.slots(window);
        if end <= start {
            return (0, 0, 0);
        }
        let near = among.map(|its| (self.slots(its.window), its));
        let near: Vec<_> = near
            .filter(|((from, to), _)| *from < end && start < *to)
            .collect();
        // A sum grows only where something begins.
        let instants = near.iter().map(|((from, _), _)| (*from).max(start));
        let sums = instants.map(|at| {
            let here = near
                .iter()
                .filter(|((from, to), _)| *from <= at && at < *to);
            let rate = here.clone().map(|(_, its)| u64::from(its.rate.0)).sum();
            let of_class = here.filter(|(_, its)| its.class == class);
            let class_rate = of_class.clone().map(|(_, its)| u64::from(its.rate.0));
            let burst = of_class.map(|(_, its)| its.burst.0);
            (rate, class_rate.sum(), burst.sum())
        });
        sums.fold((0, 0, 0), |most: (u64, u64, u64), (all, rate, burst)| {
            (most.0.max(all), most.1.max(rate), most.2.max(burst))
        })
    }

    fn reservable(&self, port: PortRef) -> u64 {
        let Some(capacity) = self.capacities.get(&port) else {
            return 0;
        };
        let whole = u64::from(ClassPlan::for_capacity(*capacity).reservable().0);
        let share = self.shares.get(&port).copied().unwrap_or(PerMille::ALL);
        whole * u64::from(share.thousandths()) / 1_000
    }

    /// Steady is sold up to three quarters of the capacity, elastic all that can be sold.
    fn sellable(capacity: BitRate, class: Class) -> u64 {
        match class {
            Class::Steady => capacity.0 * 75 / 100 / 1_000,
            _ => capacity.0 * 90 / 100 / 1_000,
        }
    }

    /// 50 ms of the capacity for steady bursts, 400 for elastic ones, in whole kbit; 64 000 bytes at least.
    fn buffer(capacity: BitRate, class: Class) -> u64 {
        let ms = if class == Class::Steady { 50 } else { 400 };
        (capacity.0 * ms / 8_000).max(64_000) / 125 * 125
    }

    fn room(
        &self,
        port: PortRef,
        window: Window,
        class: Class,
        left_out: Option<CommitmentId>,
    ) -> Room {
        let others = self.on(port, left_out).map(|(_, its)| its);
        let (all, rate, burst) = self.peak(others, window, class);
        let capacity = self.capacities[&port];
        let of_all = self.reservable(port).saturating_sub(all);
        let of_class = Self::sellable(capacity, class).saturating_sub(rate);
        Room {
            rate: of_all.min(of_class),
            buffer: Self::buffer(capacity, class).saturating_sub(burst),
        }
    }

    /// What one more unpaid hold may take.
    fn allowance(
        &self,
        port: PortRef,
        new: &Commitment,
        room: &Room,
        left_out: Option<CommitmentId>,
    ) -> Option<Room> {
        let holds = self.on(port, left_out).filter(|(_, its)| its.unpaid);
        if holds.clone().count() == 0 {
            return None;
        }
        let near = holds.map(|(_, its)| its);
        let near: Vec<_> = near.filter(|its| its.window.overlaps(new.window)).collect();
        let allowed = |whole: u64, free: u64, amount: &dyn Fn(&Commitment) -> u64| {
            let all: u64 = near.iter().map(|its| amount(its)).sum();
            let same = near.iter().filter(|its| its.ingress == new.ingress);
            let same: u64 = same.map(|its| amount(its)).sum();
            let half = (free + all).min(whole) / 2;
            (whole / 10)
                .saturating_sub(same)
                .min(half.saturating_sub(all))
        };
        let burst = |its: &Commitment| {
            if its.class == new.class {
                its.burst.0
            } else {
                0
            }
        };
        Some(Room {
            rate: allowed(self.reservable(port), room.rate, &|its| its.rate.0.into()),
            buffer: allowed(
                Self::buffer(self.capacities[&port], new.class),
                room.buffer,
                &burst,
            ),
        })
    }

    /// Why it cannot be committed, as if `left_out` were not.
    fn refuses(&self, new: &Commitment, left_out: Option<CommitmentId>) -> Option<Reason> {
        if !Class::SOLD.contains(&new.class) {
            return Some(Reason::NotSold { class: new.class });
        }
        let end = new.window.end().millis();
        if end <= self.now {
            return Some(Reason::Past);
        }
        if end > self.horizon() {
            let horizon = Time::from_millis(self.horizon());
            return Some(Reason::BeyondHorizon { horizon });
        }
        if let Some(until) = new.unpaid.then(|| self.cool_down(new.ingress)).flatten() {
            return Some(Reason::CoolingDown { until });
        }
        if new.path.is_empty() {
            return Some(Reason::NoRoute);
        }
        let path: BTreeSet<_> = new.path.iter().copied().collect();
        let mut path = path.into_iter();
        path.find_map(|port| self.link_refuses(port, new, left_out))
    }

    fn link_refuses(
        &self,
        link: PortRef,
        new: &Commitment,
        left_out: Option<CommitmentId>,
    ) -> Option<Reason> {
        if !self.capacities.contains_key(&link) {
            return Some(Reason::UnknownCapacity { link });
        }
        let old = left_out.and_then(|id| self.live.get(&id));
        let has_as_much = |old: &&Commitment| {
            old.path.contains(&link)
                && old.class == new.class
                && old.window.covers(new.window)
                && new.rate <= old.rate
                && new.burst <= old.burst
                && (old.unpaid || !new.unpaid)
        };
        if old.filter(has_as_much).is_some() {
            return None;
        }
        let room = self.room(link, new.window, new.class, left_out);
        let (rate, burst) = (u64::from(new.rate.0), new.burst.0);
        let kbps = |rate: u64| SoldRate(u32::try_from(rate).unwrap());
        if rate > room.rate {
            return Some(Reason::NoCapacity {
                link,
                asked: new.rate,
                free: kbps(room.rate),
            });
        }
        if burst > room.buffer {
            return Some(Reason::NoBuffer {
                link,
                class: new.class,
                asked: new.burst,
                free: Bytes(room.buffer),
            });
        }
        let allowed = new
            .unpaid
            .then(|| self.allowance(link, new, &room, left_out))??;
        (rate > allowed.rate || burst > allowed.buffer).then(|| {
            let by_burst = new.class.rate_for_burst(Bytes(allowed.buffer));
            Reason::HoldLimit {
                link,
                asked: new.rate,
                allowed: by_burst.unwrap_or_default().min(kbps(allowed.rate)),
            }
        })
    }

    fn cool_down(&self, ingress: PortRef) -> Option<Time> {
        let (until, _) = self.cooling.get(&ingress)?;
        (self.now < *until).then(|| Time::from_millis(*until))
    }

    fn expired(&mut self, ingress: PortRef, at: u64) {
        let expiries = self.cooling.get(&ingress).map_or(0, |its| its.1) + 1;
        let seconds = (10 << (expiries - 1).min(10)).min(300);
        self.cooling
            .insert(ingress, (at + seconds * SECOND, expiries));
    }

    fn advance(&mut self, now: u64) -> Lost {
        self.now = self.now.max(now);
        let ended = self
            .live
            .iter()
            .filter(|(_, its)| its.window.end().millis() <= self.now);
        let mut ended: Vec<_> = ended.map(|(id, its)| (its.window.end(), *id)).collect();
        ended.sort_unstable();
        let ended = ended
            .into_iter()
            .map(|(_, id)| (id, self.live.remove(&id).unwrap()));
        let ended: Lost = ended.collect();
        for (_, its) in ended.iter().filter(|(_, its)| its.unpaid) {
            self.expired(its.ingress, self.now);
        }
        ended
    }

    fn by_value(&self, port: PortRef) -> Vec<CommitmentId> {
        let mut here: Vec<_> = self.on(port, None).collect();
        here.sort_by_key(|(id, its)| (its.value == 0, its.unpaid, Reverse(its.value), **id));
        here.into_iter().map(|(id, _)| *id).collect()
    }

    /// The most valuable stay, whatever part may be sold.
    fn set_capacity(&mut self, port: PortRef, bps: u64) -> Lost {
        self.capacities.insert(port, BitRate(bps));
        let plan = ClassPlan::for_capacity(BitRate(bps));
        let (mut stay, mut go) = (Vec::new(), Vec::new());
        for id in self.by_value(port) {
            let its = self.live[&id].clone();
            let (all, rate, burst) = self.peak(stay.iter(), its.window, its.class);
            let asked = u64::from(its.rate.0);
            let fits = all + asked <= plan.reservable().0.into()
                && rate + asked <= Self::sellable(plan.capacity, its.class)
                && burst + its.burst.0 <= Self::buffer(plan.capacity, its.class);
            if fits {
                stay.push(its);
            } else {
                go.push(id);
            }
        }
        let go = go.into_iter().rev();
        go.map(|id| (id, self.live.remove(&id).unwrap())).collect()
    }

    fn clear_capacity(&mut self, port: PortRef) -> Lost {
        let mut lost = self.set_capacity(port, 0);
        let rest: Vec<_> = self.on(port, None).map(|(id, _)| *id).collect();
        lost.extend(
            rest.into_iter()
                .map(|id| (id, self.live.remove(&id).unwrap())),
        );
        self.capacities.remove(&port);
        lost
    }

    fn restore(&mut self, id: CommitmentId, commitment: Commitment) -> Lost {
        let links = commitment.path.clone();
        self.live.insert(id, commitment);
        let known = links
            .iter()
            .filter_map(|port| Some((*port, self.capacities.get(port)?.0)));
        let known: Vec<_> = known.collect();
        let lost = known
            .into_iter()
            .flat_map(|(port, bps)| self.set_capacity(port, bps));
        lost.collect()
    }

    fn renumber(&mut self, from: PortRef, to: PortRef) -> Lost {
        if from == to {
            return Vec::new();
        }
        let lost = self.clear_capacity(to);
        if let Some(capacity) = self.capacities.remove(&from) {
            self.capacities.insert(to, capacity);
        }
        let renamed = |port: PortRef| if port == from { to } else { port };
        for its in self.live.values_mut() {
            let path: BTreeSet<_> = its.path.iter().map(|port| renamed(*port)).collect();
            its.path = path.into_iter().collect();
            its.ingress = renamed(its.ingress);
        }
        if self.drained.remove(&(from.switch, Some(from.port))) {
            self.drained.insert((to.switch, Some(to.port)));
        }
        self.shares.remove(&to);
        if let Some(share) = self.shares.remove(&from) {
            self.shares.insert(to, share);
        }
        if let Some(cooling) = self.cooling.remove(&from) {
            self.cooling.insert(to, cooling);
        }
        lost
    }
}

// ---- Histories --------------------------------------------------------------------------------------------------------

/// An instant told from what is near it when it comes to it.
#[derive(Clone, Copy, Debug)]
enum At {
    Now(i64),
    /// Where seconds become minutes.
    Border(i64),
    Horizon(i64),
}

impl At {
    fn millis(self, oracle: &Oracle) -> u64 {
        let (near, by) = match self {
            At::Now(by) => (oracle.now, by),
            At::Border(by) => (oracle.border(), by),
            At::Horizon(by) => (oracle.horizon(), by),
        };
        near.saturating_add_signed(by)
    }
}

#[derive(Clone, Debug)]
struct Flow {
    from: At,
    to: At,
    commitment: Commitment,
}

impl Flow {
    fn commitment(&self, oracle: &Oracle) -> Commitment {
        Commitment {
            window: window(oracle, self.from, self.to),
            ..self.commitment.clone()
        }
    }
}

fn window(oracle: &Oracle, a: At, b: At) -> Window {
    let (a, b) = (a.millis(oracle), b.millis(oracle));
    Window::new(Time::from_millis(a.min(b)), Time::from_millis(a.max(b) + 1)).unwrap()
}

/// How capacity is lost and found, and who has it.
#[derive(Clone, Debug)]
enum Step {
    Commit(u64, Flow),
    CommitAgain(u64),
    Replace(u64, Flow),
    /// To some of its links, and a part of its rate, per mille.
    Shrink(u64, u64, u16),
    Release(u64),
    Trim(u64, u64, u64),
    Expire(u64),
    MarkPaid(u64),
    Restore(u64, Flow),
    /// The clock is read.
    Clock(At),
    SetCapacity(u64, u64),
    ClearCapacity(u64),
    Share(u64, u16),
    Drain(u64, bool, bool),
    RenumberLink(u64, u64),
    RenumberHost(u32, u32),
    /// Nothing is done, and what is free is compared.
    Look(u64, At, At),
}

fn at() -> impl Strategy<Value = At> {
    let whole = |ms: i64| ms / 1_000 * 1_000;
    prop_oneof![
        5 => (-5_000..90_000_i64).prop_map(At::Now),
        1 => (-20_000..0_i64).prop_map(At::Now),
        2 => (-90_000..200_000_i64).prop_map(At::Border),
        1 => (-200_000..62_000_i64).prop_map(At::Horizon),
        2 => (0..90_000_i64).prop_map(move |ms| At::Now(whole(ms))),
        1 => (-3..4_i64).prop_map(|minutes| At::Border(minutes * 60_000)),
    ]
}

fn flow() -> impl Strategy<Value = Flow> {
    let class = prop_oneof![
        20 => Just(Class::Steady),
        20 => Just(Class::Elastic),
        1 => Just(Class::BestEffort),
    ];
    let some = |least| prop::collection::btree_set(0..LINKS, least..4_usize);
    let links = prop_oneof![20 => some(1), 1 => some(0)];
    let rate = prop_oneof![10 => 1..5_000_u32, 1 => 0..20_000_u32, 1 => Just(u32::MAX)];
    let unpaid = prop::bool::weighted(0.3);
    (
        links,
        class,
        rate,
        1..4_u64,
        (at(), at()),
        0..HOSTS,
        unpaid,
        0..4_u64,
    )
        .prop_map(
            |(links, class, rate, bursts, (from, to), ingress, unpaid, value)| Flow {
                from,
                to,
                commitment: Commitment {
                    // In order, as the book tells them.
                    path: links.into_iter().map(link).collect(),
                    class,
                    rate: SoldRate(rate),
                    burst: Bytes(class.burst(SoldRate(rate)).0 * bursts),
                    window: Window::new(Time::default(), Time::from_millis(1)).unwrap(),
                    ingress: host(ingress),
                    unpaid,
                    hold: HoldTerms::default(),
                    value,
                },
            },
        )
}

fn clock() -> impl Strategy<Value = At> {
    prop_oneof![
        6 => 0..3_000_i64,
        6 => 0..130_000_i64,
        1 => DAY as i64 - 100_000..DAY as i64 + 100_000,
        1 => 0..40 * DAY as i64,
        // A clock that is set back.
        2 => -100_000..0_i64,
        1 => -40 * DAY as i64..0,
    ]
    .prop_map(At::Now)
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..IDS;
    let on = || 0..LINKS;
    prop_oneof![
        40 => (id(), flow()).prop_map(|(id, flow)| Step::Commit(id, flow)),
        1 => id().prop_map(Step::CommitAgain),
        8 => (id(), flow()).prop_map(|(id, flow)| Step::Replace(id, flow)),
        4 => (id(), 0..16_u64, 0..1_001_u16).prop_map(|(id, links, part)| Step::Shrink(id, links, part)),
        6 => id().prop_map(Step::Release),
        6 => (id(), 0..DAY, 0..DAY).prop_map(|(id, a, b)| Step::Trim(id, a, b)),
        4 => id().prop_map(Step::Expire),
        4 => id().prop_map(Step::MarkPaid),
        3 => (id(), flow()).prop_map(|(id, flow)| Step::Restore(id, flow)),
        8 => clock().prop_map(Step::Clock),
        8 => (on(), prop_oneof![6 => 1_000_000..30_000_000_u64, 1 => 0..3_000_000_u64]).prop_map(|(on, bps)| Step::SetCapacity(on, bps)),
        1 => on().prop_map(Step::ClearCapacity),
        4 => (on(), prop_oneof![1 => Just(1_000), 1 => 0..1_000_u16]).prop_map(|(on, share)| Step::Share(on, share)),
        2 => (on(), any::<bool>(), any::<bool>()).prop_map(|(on, all, drained)| Step::Drain(on, all, drained)),
        1 => (on(), on()).prop_map(|(from, to)| Step::RenumberLink(from, to)),
        1 => (0..HOSTS, 0..HOSTS).prop_map(|(from, to)| Step::RenumberHost(from, to)),
        8 => (on(), at(), at()).prop_map(|(on, from, to)| Step::Look(on, from, to)),
    ]
}

/// Does it to both, and compares what they say.
fn compare(book: &mut Book, oracle: &mut Oracle, step: Step) -> TestCaseResult {
    let now = oracle.now;
    match step {
        Step::Commit(id, flow) => commit(book, oracle, CommitmentId(id), flow.commitment(oracle))?,
        Step::CommitAgain(id) => {
            if let Some(known) = oracle.live.get(&CommitmentId(id)).cloned() {
                commit(book, oracle, CommitmentId(id), known)?;
            }
        }
        Step::Replace(id, flow) => {
            let (id, new) = (CommitmentId(id), flow.commitment(oracle));
            let refused = oracle.refuses(&new, Some(id));
            let told = book.replace(id, &new).err().map(|refusal| refusal.reason);
            prop_assert_eq!(told, refused.clone());
            if refused.is_none() {
                oracle.live.insert(id, new);
            }
        }
        Step::Shrink(id, links, part) => shrink(book, oracle, CommitmentId(id), links, part)?,
        Step::Release(id) => {
            let id = CommitmentId(id);
            prop_assert_eq!(book.release(id), oracle.live.remove(&id));
        }
        Step::Trim(id, a, b) => {
            let known = oracle.live.get_mut(&CommitmentId(id));
            let old = known.as_ref().map(|known| known.window);
            let start = old.map_or(0, |old| old.start().millis());
            // Now and then beyond the end.
            let cut = |at: u64| start + at % (old.map_or(1, Window::millis) + 2);
            let ends = [cut(a), cut(b)].map(Time::from_millis);
            let Some(new) = Window::new(ends[0], ends[1]) else {
                return Ok(());
            };
            let expected = match (&known, old) {
                (Some(_), Some(old)) if old.covers(new) => Ok(()),
                (Some(_), _) => Err(TrimError::NotWithin),
                (None, _) => Err(TrimError::Unknown),
            };
            prop_assert_eq!(book.trim(CommitmentId(id), new), expected);
            if let (Some(known), Ok(())) = (known, expected) {
                known.window = new;
            }
        }
        Step::Expire(id) => {
            let id = CommitmentId(id);
            let gone = oracle.live.get(&id).filter(|its| its.unpaid).cloned();
            prop_assert_eq!(&book.expire_unpaid(id, Time::from_millis(now)), &gone);
            if let Some(gone) = gone {
                oracle.live.remove(&id);
                oracle.expired(gone.ingress, now);
            }
        }
        Step::MarkPaid(id) => {
            let known = oracle.live.get_mut(&CommitmentId(id));
            prop_assert_eq!(book.mark_paid(CommitmentId(id)), known.is_some());
            if let Some(known) = known {
                known.unpaid = false;
                oracle.cooling.remove(&known.ingress);
            }
        }
        Step::Restore(id, flow) => {
            let (id, its) = (CommitmentId(id), flow.commitment(oracle));
            // Only what was sold and has not ended is in a journal.
            let end = its.window.end().millis();
            if its.class.is_sold() && (now + 1..=oracle.horizon()).contains(&end) {
                prop_assert_eq!(book.restore(id, its.clone()), oracle.restore(id, its));
            }
        }
        Step::Clock(at) => {
            let read = at.millis(oracle);
            let ended = book.advance(Time::from_millis(read));
            prop_assert_eq!(ended, oracle.advance(read));
        }
        Step::SetCapacity(on, bps) => {
            let lost = book.set_capacity(link(on), BitRate(bps));
            prop_assert_eq!(lost, oracle.set_capacity(link(on), bps));
        }
        Step::ClearCapacity(on) => {
            let lost = book.clear_capacity(link(on));
            prop_assert_eq!(lost, oracle.clear_capacity(link(on)));
        }
        Step::Share(on, share) => {
            let share = PerMille::new(share).unwrap();
            book.set_share(link(on), share);
            oracle.shares.insert(link(on), share);
        }
        Step::Drain(on, all, drained) => {
            let PortRef { switch, port } = link(on);
            let port = (!all).then_some(port);
            book.drain(switch, port, drained);
            if drained {
                oracle.drained.insert((switch, port));
            } else {
                oracle.drained.remove(&(switch, port));
            }
        }
        Step::RenumberLink(from, to) => {
            let lost = book.renumber(link(from), link(to));
            prop_assert_eq!(lost, oracle.renumber(link(from), link(to)));
        }
        Step::RenumberHost(from, to) => {
            let lost = book.renumber(host(from), host(to));
            prop_assert_eq!(lost, oracle.renumber(host(from), host(to)));
        }
        Step::Look(on, from, to) => {
            let (port, asked) = (link(on), window(oracle, from, to));
            let free = if oracle.capacities.contains_key(&port) {
                oracle.room(port, asked, Class::Elastic, None).rate
            } else {
                0
            };
            prop_assert_eq!(u64::from(book.free(port, asked).0), free);
            let at = asked.start();
            let slot = Window::new(at, at.plus(Duration::from_millis(1))).unwrap();
            let is_covered = (now / SECOND * SECOND..oracle.horizon()).contains(&at.millis());
            let load = book.load(port, at);
            for class in Class::SOLD {
                let here = oracle.on(port, None).map(|(_, its)| its);
                let is_known = is_covered && oracle.capacities.contains_key(&port);
                let sums = if is_known {
                    oracle.peak(here, slot, class)
                } else {
                    (0, 0, 0)
                };
                let rate = match class {
                    Class::Steady => load.steady_rate,
                    _ => SoldRate(load.rate.0 - load.steady_rate.0),
                };
                prop_assert_eq!(
                    (load.rate.0.into(), rate.0.into(), load.burst(class).0),
                    sums
                );
            }
        }
    }
    Ok(())
}

fn commit(
    book: &mut Book,
    oracle: &mut Oracle,
    id: CommitmentId,
    new: Commitment,
) -> TestCaseResult {
    let expected = match oracle.live.get(&id) {
        Some(known) if *known == new => None,
        Some(_) => Some(Reason::Conflict),
        None => oracle.refuses(&new, None),
    };
    let told = book.commit(id, &new).err().map(|refusal| refusal.reason);
    prop_assert_eq!(told, expected.clone());
    if expected.is_none() {
        oracle.live.insert(id, new);
    }
    Ok(())
}

fn shrink(
    book: &mut Book,
    oracle: &mut Oracle,
    id: CommitmentId,
    links: u64,
    part: u16,
) -> TestCaseResult {
    let Some(old) = oracle.live.get(&id).cloned() else {
        return Ok(());
    };
    let path = old
        .path
        .iter()
        .filter(|port| links >> port.switch.0 & 1 == 1);
    let smaller = Commitment {
        path: path.copied().collect(),
        rate: PerMille::new(part).unwrap().of(old.rate),
        ..old
    };
    let expected = if smaller.path.is_empty() {
        Err(TrimError::NotWithin)
    } else {
        Ok(())
    };
    prop_assert_eq!(book.shrink(id, smaller.clone()), expected);
    if expected.is_ok() {
        oracle.live.insert(id, smaller);
    }
    Ok(())
}

/// What both say of everything.
fn compare_all(book: &Book, oracle: &Oracle) -> TestCaseResult {
    let live = oracle.live.iter().map(|(id, its)| (*id, its));
    prop_assert!(book.commitments().eq(live), "other commitments");
    prop_assert_eq!(book.now().millis(), oracle.now);
    prop_assert_eq!(book.horizon().millis(), oracle.horizon());
    for port in (0..LINKS).map(link) {
        let reservable = u64::from(book.reservable(port).0);
        prop_assert_eq!(reservable, oracle.reservable(port));
        let switch = oracle.drained.contains(&(port.switch, None));
        let is_drained = switch || oracle.drained.contains(&(port.switch, Some(port.port)));
        prop_assert_eq!(book.is_drained(port), is_drained);
        if let Some(capacity) = oracle.capacities.get(&port) {
            prop_assert_eq!(book.on_link_by_value(port), oracle.by_value(port));
            never_overbooked(oracle, port, *capacity)?;
        }
    }
    for ingress in (0..HOSTS).map(host) {
        let told = book.cool_down_until(ingress, book.now());
        prop_assert_eq!(told, oracle.cool_down(ingress));
    }
    Ok(())
}

/// Whatever slots there are: at every instant, what is sold is there.
fn never_overbooked(oracle: &Oracle, port: PortRef, capacity: BitRate) -> TestCaseResult {
    let here = || oracle.on(port, None).map(|(_, its)| its);
    let now = Time::from_millis(oracle.now);
    for at in here().map(|its| its.window.start().max(now)) {
        let running = || here().filter(|its| its.window.contains(at));
        let rate: u64 = running().map(|its| its.rate.bps()).sum();
        prop_assert!(rate * 10 <= capacity.0 * 9, "{port} at {at}");
        for class in Class::SOLD {
            let flows = running().filter(|its| its.class == class);
            let rate: u64 = flows.clone().map(|its| u64::from(its.rate.0)).sum();
            prop_assert!(rate <= Oracle::sellable(capacity, class), "{port} at {at}");
            let burst: u64 = flows.map(|its| its.burst.0).sum();
            prop_assert!(burst <= Oracle::buffer(capacity, class), "{port} at {at}");
        }
    }
    Ok(())
}

fn history(cut: Slots, steps: Vec<Step>) -> TestCaseResult {
    let mut book = Book::with_slots(cut, Time::default());
    let mut oracle = Oracle {
        cut,
        ..Oracle::default()
    };
    for number in 0..LINKS {
        book.set_capacity(link(number), BitRate(10_000_000));
        oracle.set_capacity(link(number), 10_000_000);
    }
    for step in steps {
        compare(&mut book, &mut oracle, step)?;
        compare_all(&book, &oracle)?;
    }
    // Nothing is left behind when everything is given back.
    for id in oracle.live.keys() {
        book.release(*id);
    }
    let all = Window::new(book.now(), book.horizon()).unwrap();
    for port in oracle.capacities.keys() {
        prop_assert_eq!(book.free(*port, all), book.reservable(*port));
    }
    Ok(())
}

#[test]
fn the_book_says_what_a_list_of_all_commitments_says() {
    let wanted = std::env::var("PAYFLOW_ORACLE_OPERATIONS").ok();
    let wanted = wanted.map_or(OPERATIONS, |wanted| wanted.parse().unwrap());
    let done = Cell::new(0_u64);
    let steps = prop::collection::vec(step(), 0..=2 * LENGTH as usize);
    let shipped = prop::bool::weighted(0.75);
    let histories = (shipped, steps);
    while done.get() < wanted {
        let cases = (wanted - done.get()).div_ceil(LENGTH.into());
        let config = ProptestConfig {
            cases: u32::try_from(cases).unwrap(),
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let result = TestRunner::new(config).run(&histories, |(shipped, steps)| {
            done.set(done.get() + steps.len() as u64);
            let cut = if shipped {
                Slots::default()
            } else {
                Slots::FiveMinutes
            };
            history(cut, steps)
        });
        if let Err(error) = result {
            panic!("{error}");
        }
    }
    println!("{} operations, no difference", done.get());
}
