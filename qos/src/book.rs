//! The capacity book: what is committed on every directed link, and until when.
//!
//! One book serves a whole domain and has one writer. It never over-books: at every instant, on
//! every link, the rates committed are at most [`ClassPlan::reservable`], those of each class at most
//! [`ClassPlan::sellable`], and its bursts at most [`ClassPlan::sellable_burst`].
//!
//! An operator may keep a part of the reservable rate back ([`Book::set_share`]), and drain links and switches
//! ([`Book::drain`]). Either is about what is sold from then on: what is committed stays, also when it is made smaller or moved, on
//! the links that it is on already.
//!
//! # What an unpaid hold may take
//!
//! A quote holds capacity before anybody has paid, so that nobody else buys it meanwhile. So that
//! nobody can block the network for free, on every link:
//!
//! - the unpaid holds from one ingress port take at most [`INGRESS_SHARE_PERCENT`] of the reservable rate, and of
//!   the buffer of each class;
//! - all unpaid holds together take at most half of what would be free without them, of the rate and of each buffer;
//! - but the only unpaid hold on a link is exempt from both: a small link could otherwise never sell one large flow; flows that are
//!   bought together are one hold;
//! - of a hold that changes what is paid and carried already, only what it takes beyond that counts;
//! - a hold that expires unpaid costs its ingress port a cool-down, [`COOL_DOWN_FIRST`] and twice as long each further time in a row up to
//!   [`COOL_DOWN_MOST`], in which it can hold nothing. A payment ends it.
//!
//! Holds whose windows overlap the one asked for are added up as if all of them overlapped one
//! another. What is paid from the start (`unpaid: false`) is under no such limit.

use crate::{
    calendar::{Booking, Calendar, Limits, Load, Slots},
    class::{Class, ClassPlan},
    link_set::LinkSet,
    paths::Paths,
    port::{PortNo, PortRef, SwitchId},
    refusal::{Reason, Refusal},
    units::{BitRate, Bytes, PerMille, SoldRate, Time, Window},
};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Of the reservable rate and of each class buffer of a link: what unpaid holds from one ingress
/// port may take.
pub const INGRESS_SHARE_PERCENT: u32 = 10;
/// The cool-down after the first hold that expires unpaid.
pub const COOL_DOWN_FIRST: Duration = Duration::from_secs(10);
/// The longest cool-down.
pub const COOL_DOWN_MOST: Duration = Duration::from_secs(300);

/// Names a commitment; chosen by the caller, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitmentId(pub u64);

/// Capacity promised to one flow, on every link of its path alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// The directed links it takes: [`crate::topology::Path::egress_ports`].
    pub path: LinkSet,
    /// Steady or elastic.
    pub class: Class,
    /// Its rate.
    pub rate: SoldRate,
    /// What it may send at once: [`Class::burst`].
    pub burst: Bytes,
    /// When it holds.
    pub window: Window,
    /// The edge port of whoever asked for it: answerable for an unpaid hold.
    pub ingress: PortRef,
    /// Whether it is only a hold: promised, but not paid for yet.
    pub unpaid: bool,
    /// What an unpaid hold is a part of, and what of it is paid already.
    #[serde(default)]
    pub hold: HoldTerms,
    /// What it is worth. When capacity shrinks, the least valuable go first.
    pub value: u64,
}

/// What the limits of unpaid holds look at beside the hold itself; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldTerms {
    /// Of flows that are bought together, the first: all of them are one hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<CommitmentId>,
    /// What is carried already and paid for, where it only changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<Box<PaidPart>>,
}

/// The part of an unpaid hold that somebody has paid for before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidPart {
    /// On these links, of those of the hold.
    pub links: LinkSet,
    /// So much of the rate.
    pub rate: SoldRate,
    /// So much of the burst.
    pub burst: Bytes,
}

/// Whoever wants an unpaid hold on a link, as its limits see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    ingress: PortRef,
    group: Option<CommitmentId>,
    paid: (SoldRate, Bytes),
}

impl HoldTerms {
    pub(crate) fn holder(&self, ingress: PortRef, link: PortRef) -> Holder {
        let paid = self.paid.as_ref().filter(|it| it.links.contains(&link));
        Holder {
            ingress,
            group: self.group,
            paid: paid.map_or_else(Default::default, |it| (it.rate, it.burst)),
        }
    }
}

impl Commitment {
    fn booking(&self) -> Booking {
        Booking {
            window: self.window,
            class: self.class,
            rate: self.rate,
            burst: self.burst,
        }
    }
}

/// Why a commitment cannot be trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrimError {
    /// There is no such commitment.
    #[error("there is no such commitment")]
    Unknown,
    /// A trim only shrinks; more time is a new commitment.
    #[error("the new one is not within the old one")]
    NotWithin,
}

/// All that is committed in one domain.
#[derive(Clone, Debug)]
pub struct Book {
    slots: Slots,
    now: Time,
    links: BTreeMap<PortRef, Link>,
    commitments: BTreeMap<CommitmentId, Commitment>,
    /// The same, by the links they take, whether the capacities of those are known or not.
    paths: Paths,
    /// The same, by end.
    ends: BTreeSet<(Time, CommitmentId)>,
    cooling: BTreeMap<PortRef, Cooling>,
    /// Links that are being taken out of service, and switches with all that leave them.
    drained: BTreeSet<(SwitchId, Option<PortNo>)>,
    /// Of the reservable rate: what may be sold, where that is not all. Kept while the capacity is unknown.
    shares: BTreeMap<PortRef, PerMille>,
}

/// One directed link of known capacity.
#[derive(Clone, Debug)]
struct Link {
    plan: ClassPlan,
    /// Of the plan: what may be sold.
    limits: Limits,
    calendar: Calendar,
    unpaid: BTreeMap<CommitmentId, Hold>,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    holder: Holder,
    /// What it takes beyond what is paid.
    booking: Booking,
}

/// What an ingress port has earned by letting holds expire.
#[derive(Clone, Copy, Debug)]
struct Cooling {
    until: Time,
    /// Expiries since it last paid.
    expiries: u32,
}

impl Book {
    /// Nothing committed, no link known; the present is `now`.
    pub fn new(now: Time) -> Self {
        Book::with_slots(Slots::default(), now)
    }

    /// As [`Self::new`], with calendars that cut time otherwise than those that are sold by.
    pub fn with_slots(slots: Slots, now: Time) -> Self {
        Book {
            slots,
            now,
            links: BTreeMap::new(),
            commitments: BTreeMap::new(),
            paths: Paths::default(),
            ends: BTreeSet::new(),
            cooling: BTreeMap::new(),
            drained: BTreeSet::new(),
            shares: BTreeMap::new(),
        }
    }

    /// Takes a directed link out of service, or everything that leaves a switch; or ends that. [`crate::admission::find_path`]
    /// finds nothing over it any more; what is committed there stays.
    pub fn drain(&mut self, switch: SwitchId, port: Option<PortNo>, drained: bool) {
        if drained {
            self.drained.insert((switch, port));
        } else {
            self.drained.remove(&(switch, port));
        }
    }

    /// Whether a directed link, or the switch that it leaves, is being taken out of service.
    pub fn is_drained(&self, link: PortRef) -> bool {
        !self.drained.is_empty()
            && [None, Some(link.port)]
                .iter()
                .any(|port| self.drained.contains(&(link.switch, *port)))
    }

    /// Moves the present on; an earlier `now` changes nothing. Forgets and returns the commitments
    /// whose windows have ended; one that was still unpaid counts as an unpaid expiry.
    pub fn advance(&mut self, now: Time) -> Vec<(CommitmentId, Commitment)> {
        let before = self.now.millis() / 1_000;
        self.now = self.now.max(now);
        let mut ended = Vec::new();
        while let Some((end, id)) = self
            .ends
            .first()
            .copied()
            .filter(|(end, _)| *end <= self.now)
        {
            self.ends.remove(&(end, id));
            if let Some(commitment) = self.forget(id) {
                if commitment.unpaid {
                    self.cool_down(commitment.ingress, self.now);
                }
                ended.push((id, commitment));
            }
        }
        // Within one second, the finest slot of a calendar, nothing moves.
        if self.now.millis() / 1_000 > before {
            for link in self.links.values_mut() {
                link.calendar.advance(self.now);
            }
        }
        ended
    }

    /// The present, as last told by [`Self::advance`].
    pub const fn now(&self) -> Time {
        self.now
    }

    /// The latest end a window may have: [`Slots::horizon`].
    pub fn horizon(&self) -> Time {
        self.slots.horizon(self.now)
    }

    /// Says how fast a directed link is. What no longer fits is released, on its whole path, and
    /// returned, least valuable first: the commitments are re-admitted [in order of value](Self::on_link_by_value), and those
    /// that find no room go. What of it may be sold, [`Self::set_share`], makes nobody go.
    /// The caller may look for another path for them.
    pub fn set_capacity(
        &mut self,
        port: PortRef,
        capacity: BitRate,
    ) -> Vec<(CommitmentId, Commitment)> {
        self.readmit(port, ClassPlan::for_capacity(capacity))
    }

    /// Makes a link anew, with those of its commitments that fit; the others are released.
    fn readmit(&mut self, port: PortRef, plan: ClassPlan) -> Vec<(CommitmentId, Commitment)> {
        let (link, losers) = self.refilled(port, plan, None);
        // What is released is not to be taken out of what it is not in.
        self.links.remove(&port);
        let losers: Vec<_> = losers
            .into_iter()
            .filter_map(|id| Some((id, self.release(id)?)))
            .collect();
        self.links.insert(port, link);
        losers
    }

    /// A link with those of its commitments, and this one more, that fit; and the others, least valuable first.
    fn refilled(
        &self,
        port: PortRef,
        plan: ClassPlan,
        one_more: Option<(CommitmentId, &Commitment)>,
    ) -> (Link, Vec<CommitmentId>) {
        let whole = Limits::of(&plan, PerMille::ALL);
        let mut link = Link::new(plan, self.share(port), Calendar::new(self.slots, self.now));
        let mut losers = Vec::new();
        let known = self.paths.over(port).into_iter();
        let known = known.filter_map(|id| Some((id, self.commitments.get(&id)?)));
        for (id, commitment) in by_value(known.chain(one_more)) {
            let Commitment {
                class,
                rate,
                burst,
                window,
                ..
            } = *commitment;
            let room = link.calendar.room(class, window, &whole, None);
            match Headroom::of(room).refuses(port, class, rate, burst) {
                None => link.enter(id, commitment, port),
                Some(_) => losers.push(id),
            }
        }
        losers.reverse();
        (link, losers)
    }

    /// What part of the reservable rate of a directed link may be sold; all of it unless said otherwise. It is remembered
    /// while the capacity is unknown. Lowered below what is sold, it makes nobody go: what is committed stays, and nothing is
    /// added until there is room again. Buffers are no part of it.
    pub fn set_share(&mut self, port: PortRef, share: PerMille) {
        if share == PerMille::ALL {
            self.shares.remove(&port);
        } else {
            self.shares.insert(port, share);
        }
        if let Some(link) = self.links.get_mut(&port) {
            link.limits = Limits::of(&link.plan, share);
        }
    }

    /// What [`Self::set_share`] said.
    pub fn share(&self, port: PortRef) -> PerMille {
        self.shares.get(&port).copied().unwrap_or(PerMille::ALL)
    }

    /// The rate of a directed link that may be sold, what is committed there included; nothing if its capacity is unknown.
    pub fn reservable(&self, port: PortRef) -> SoldRate {
        let link = self.links.get(&port);
        link.map(|link| SoldRate(link.limits.rate))
            .unwrap_or_default()
    }

    /// Makes the capacity of a directed link unknown again: whatever is committed there is
    /// released, on its whole path, and returned, least valuable first.
    pub fn clear_capacity(&mut self, port: PortRef) -> Vec<(CommitmentId, Commitment)> {
        let mut losers = self.set_capacity(port, BitRate(0));
        // Flows of no rate, which fit even there.
        let rest = self.on_link(port);
        losers.extend(
            rest.into_iter()
                .filter_map(|id| Some((id, self.release(id)?))),
        );
        self.links.remove(&port);
        losers
    }

    /// The port of a directed link, or of whoever asked, has another number from now on; what is committed stays so. What
    /// was known of the new number before is nothing any more: whatever is committed there is released as by
    /// [`Self::clear_capacity`], and returned.
    pub fn renumber(&mut self, from: PortRef, to: PortRef) -> Vec<(CommitmentId, Commitment)> {
        if from == to {
            return Vec::new();
        }
        let losers = self.clear_capacity(to);
        if let Some(link) = self.links.remove(&from) {
            self.links.insert(to, link);
        }
        for (id, commitment) in &mut self.commitments {
            if commitment.ingress == from {
                commitment.ingress = to;
            }
            if let Some(paid) = &mut commitment.hold.paid {
                paid.links = paid.links.renamed(from, to);
            }
            if commitment.path.contains(&from) {
                self.paths.remove(*id, &commitment.path);
                commitment.path = commitment.path.renamed(from, to);
                self.paths.insert(*id, &mut commitment.path);
            }
        }
        for link in self.links.values_mut() {
            for hold in link
                .unpaid
                .values_mut()
                .filter(|it| it.holder.ingress == from)
            {
                hold.holder.ingress = to;
            }
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
        losers
    }

    /// How the capacity of a directed link is divided, if it is known.
    pub fn plan(&self, port: PortRef) -> Option<&ClassPlan> {
        self.links.get(&port).map(|link| &link.plan)
    }

    /// The directed links of known capacity.
    pub fn links(&self) -> impl Iterator<Item = (PortRef, &ClassPlan)> + '_ {
        self.links.iter().map(|(port, link)| (*port, &link.plan))
    }

    /// The longest that frames of this class can wait on a path: [`crate::class::delay_bound_ms`].
    /// `None` if a link is unknown.
    pub fn delay_bound_ms(
        &self,
        path: impl IntoIterator<Item = PortRef>,
        class: Class,
    ) -> Option<u64> {
        let plans: Option<Vec<_>> = path.into_iter().map(|port| self.plan(port)).collect();
        crate::class::delay_bound_ms(class, plans?)
    }

    /// Commits capacity on every link of the path, or on none. The same commitment under the same
    /// id again changes nothing.
    ///
    /// # Errors
    ///
    /// Of several reasons the first of these is told: not for sale, past, beyond the horizon,
    /// cooling down; then, for the lowest link that refuses: unknown capacity, rate, buffer, hold
    /// limit.
    pub fn commit(&mut self, id: CommitmentId, commitment: &Commitment) -> Result<(), Refusal> {
        match self.commitments.get(&id) {
            Some(known) if known == commitment => return Ok(()),
            Some(_) => return Err(Reason::Conflict.into()),
            None => {}
        }
        self.fits_in_place_of(commitment, None)?;
        self.enter(id, commitment.clone());
        Ok(())
    }

    /// Enters a commitment that was made before, whatever the hold limits say: after a restart, when
    /// the capacities of its links are not known yet. [`Self::set_capacity`] keeps or releases it
    /// once they are; until then its window runs down. Where a capacity is known already, what no
    /// longer fits is released and returned at once, as there.
    pub fn restore(
        &mut self,
        id: CommitmentId,
        commitment: Commitment,
    ) -> Vec<(CommitmentId, Commitment)> {
        self.release(id);
        let mut losers = Vec::new();
        // Not entered before it is seen to fit everywhere: no sum ever goes beyond what a link has.
        for port in &commitment.path {
            let Some(link) = self.links.get(port) else {
                continue;
            };
            let (_, lost) = self.refilled(*port, link.plan, Some((id, &commitment)));
            let is_lost = lost.contains(&id);
            for it in lost {
                losers.extend(self.release(it).map(|released| (it, released)));
            }
            if is_lost {
                losers.push((id, commitment));
                return losers;
            }
        }
        self.enter(id, commitment);
        losers
    }

    /// Puts `commitment` in the place of what `id` holds, if anything: what it holds counts as
    /// free. All or nothing: refused, the old one stays. For moving a flow make-before-break,
    /// replace it by the union of both paths, so that shared links are counted once, and when
    /// packets take the new path, by the new one. Where it takes no more of a link than the old one, it fits, whatever is sold
    /// of that link beside it.
    ///
    /// # Errors
    ///
    /// As [`Self::commit`].
    pub fn replace(&mut self, id: CommitmentId, commitment: &Commitment) -> Result<(), Refusal> {
        self.fits_in_place_of(commitment, Some(id))?;
        self.release(id);
        self.enter(id, commitment.clone());
        Ok(())
    }

    /// Whether a commitment can be entered as if `left_out` were not there.
    fn fits_in_place_of(
        &self,
        commitment: &Commitment,
        left_out: Option<CommitmentId>,
    ) -> Result<(), Reason> {
        let holder = commitment.unpaid.then_some(commitment.ingress);
        self.may_ask(commitment.class, commitment.window, holder)?;
        if commitment.path.is_empty() {
            return Err(Reason::NoRoute);
        }
        let booking = commitment.booking();
        let mut links = commitment.path.iter();
        links.try_for_each(|port| {
            let holder = holder.map(|ingress| commitment.hold.holder(ingress, *port));
            self.admits(*port, &booking, holder, left_out)
        })
    }

    /// Gives the capacity back. `None` if there is no such commitment (any more).
    pub fn release(&mut self, id: CommitmentId) -> Option<Commitment> {
        let commitment = self.forget(id)?;
        self.ends.remove(&(commitment.window.end(), id));
        Some(commitment)
    }

    /// Puts a smaller commitment in the place of one: some of its links, no more of its rate and burst, some of its time. Whatever
    /// is known of capacities, it fits.
    ///
    /// # Errors
    ///
    /// If there is no such commitment, or the new one is not within the old.
    pub fn shrink(&mut self, id: CommitmentId, smaller: Commitment) -> Result<(), TrimError> {
        let known = self.commitments.get(&id).ok_or(TrimError::Unknown)?;
        let within = known.window.covers(smaller.window)
            && smaller.rate <= known.rate
            && smaller.burst <= known.burst
            && smaller.class == known.class
            && smaller.unpaid == known.unpaid
            && !smaller.path.is_empty()
            && smaller.path.iter().all(|link| known.path.contains(link));
        if !within {
            return Err(TrimError::NotWithin);
        }
        self.release(id);
        self.enter(id, smaller);
        Ok(())
    }

    /// Shrinks the window of a commitment and gives back the rest.
    ///
    /// # Errors
    ///
    /// If there is no such commitment, or the new window is not within the old.
    pub fn trim(&mut self, id: CommitmentId, window: Window) -> Result<(), TrimError> {
        let known = self.commitments.get(&id).ok_or(TrimError::Unknown)?;
        if !known.window.covers(window) {
            return Err(TrimError::NotWithin);
        }
        if let Some(old) = self.release(id) {
            self.enter(id, Commitment { window, ..old });
        }
        Ok(())
    }

    /// The hold is paid: it is under no hold limit any more, and its ingress port cools down no
    /// longer. `false` if there is no such commitment.
    pub fn mark_paid(&mut self, id: CommitmentId) -> bool {
        let Some(commitment) = self.commitments.get_mut(&id) else {
            return false;
        };
        commitment.unpaid = false;
        commitment.hold = HoldTerms::default();
        self.cooling.remove(&commitment.ingress);
        for port in &commitment.path {
            if let Some(link) = self.links.get_mut(port) {
                link.unpaid.remove(&id);
            }
        }
        true
    }

    /// An unpaid hold has expired at `now`: gives its capacity back and cools its ingress port
    /// down. `None`, and nothing happens, if there is no such hold or it has been paid.
    pub fn expire_unpaid(&mut self, id: CommitmentId, now: Time) -> Option<Commitment> {
        self.commitments
            .get(&id)
            .filter(|commitment| commitment.unpaid)?;
        let commitment = self.release(id)?;
        self.cool_down(commitment.ingress, now);
        Some(commitment)
    }

    /// Until when an ingress port can hold nothing; `None` if it can.
    pub fn cool_down_until(&self, ingress: PortRef, now: Time) -> Option<Time> {
        self.cooling
            .get(&ingress)
            .map(|cooling| cooling.until)
            .filter(|until| now < *until)
    }

    /// The rate that is free on a link over a whole window; nothing if its capacity is unknown.
    pub fn free(&self, port: PortRef, window: Window) -> SoldRate {
        let free = |link: &Link| {
            let taken = link.calendar.peak(window).rate;
            SoldRate(link.limits.rate.saturating_sub(taken.0))
        };
        self.links.get(&port).map(free).unwrap_or_default()
    }

    /// Whether a link has room for this, whatever the hold limits say; one of unknown capacity has, as far as is known.
    pub fn has_room(&self, port: PortRef, commitment: &Commitment) -> bool {
        let booking = commitment.booking();
        self.links
            .get(&port)
            .is_none_or(|link| link.calendar.has_room(&booking, &link.limits))
    }

    /// What is committed on a link in the slot of an instant.
    pub fn load(&self, port: PortRef, at: Time) -> Load {
        self.links
            .get(&port)
            .map(|link| link.calendar.load(at))
            .unwrap_or_default()
    }

    /// How much of what may be sold on these links is committed in the slot of an instant, in millionths, rounded down: what
    /// [`crate::price::BasePrice`] follows. Links of unknown capacity do not count; nothing of nothing is nothing.
    pub fn sold_millionths(&self, links: &[PortRef], at: Time) -> u32 {
        let links = links.iter().filter_map(|port| self.links.get(port));
        let (mut sold, mut for_sale) = (0_u128, 0_u128);
        for link in links {
            sold += u128::from(link.calendar.load(at).rate.0);
            for_sale += u128::from(link.plan.reservable().0);
        }
        let millionths = (sold * 1_000_000).checked_div(for_sale).unwrap_or(0);
        u32::try_from(millionths).unwrap_or(u32::MAX)
    }

    /// The rates that are committed on a link all through a window, in order, as if `left_out` were not committed: the
    /// second up to which, and the rate. `None` if the capacity of the link is unknown; else the rate that may be sold there.
    pub(crate) fn rates(
        &self,
        port: PortRef,
        window: Window,
        left_out: Option<CommitmentId>,
        tell: impl FnMut(u64, SoldRate),
    ) -> Option<SoldRate> {
        let link = self.links.get(&port)?;
        let left_out = self.booking_on(port, left_out);
        link.calendar.rates(window, left_out.as_ref(), tell);
        Some(link.plan.reservable())
    }

    /// One commitment.
    pub fn get(&self, id: CommitmentId) -> Option<&Commitment> {
        self.commitments.get(&id)
    }

    /// Every commitment.
    pub fn commitments(&self) -> impl Iterator<Item = (CommitmentId, &Commitment)> + '_ {
        self.commitments
            .iter()
            .map(|(id, commitment)| (*id, commitment))
    }

    /// The commitments on one link, in ascending order.
    pub fn on_link(&self, port: PortRef) -> Vec<CommitmentId> {
        if self.links.contains_key(&port) {
            self.paths.over(port)
        } else {
            Vec::new()
        }
    }

    /// The commitments on one link in order of value: what is worth something, then paid before unpaid, the higher value, the
    /// lower id. As they are to be moved, and the other way round as they are to go.
    pub fn on_link_by_value(&self, port: PortRef) -> Vec<CommitmentId> {
        let known = self.on_link(port).into_iter();
        let known = known.filter_map(|id| Some((id, self.commitments.get(&id)?)));
        by_value(known).into_iter().map(|(id, _)| id).collect()
    }

    /// Whether this class can be asked for over this window at all, as an unpaid hold from `holder`
    /// if there is one.
    pub(crate) fn may_ask(
        &self,
        class: Class,
        window: Window,
        holder: Option<PortRef>,
    ) -> Result<(), Reason> {
        if !class.is_sold() {
            return Err(Reason::NotSold { class });
        }
        if window.end() <= self.now {
            return Err(Reason::Past);
        }
        let horizon = self.horizon();
        if window.end() > horizon {
            return Err(Reason::BeyondHorizon { horizon });
        }
        match holder.and_then(|ingress| self.cool_down_until(ingress, self.now)) {
            Some(until) => Err(Reason::CoolingDown { until }),
            None => Ok(()),
        }
    }

    /// Whether a booking fits on a link, as if `left_out` were not committed.
    pub(crate) fn admits(
        &self,
        port: PortRef,
        booking: &Booking,
        holder: Option<Holder>,
        left_out: Option<CommitmentId>,
    ) -> Result<(), Reason> {
        let Booking {
            class,
            window,
            rate,
            burst,
        } = *booking;
        let link = self
            .links
            .get(&port)
            .ok_or(Reason::UnknownCapacity { link: port })?;
        // Most have room and no limit; then what exactly is left is nobody's question.
        let is_held = holder.is_some() && !link.unpaid.is_empty();
        if !is_held && link.calendar.has_room(booking, &link.limits) {
            return Ok(());
        }
        let room = self.headroom(port, class, window, holder, left_out)?;
        match room.refuses(port, class, rate, burst) {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }

    /// What a link has room for over a window, as if `left_out` were not committed.
    pub(crate) fn headroom(
        &self,
        port: PortRef,
        class: Class,
        window: Window,
        holder: Option<Holder>,
        left_out: Option<CommitmentId>,
    ) -> Result<Headroom, Reason> {
        let link = self
            .links
            .get(&port)
            .ok_or(Reason::UnknownCapacity { link: port })?;
        let old = self.booking_on(port, left_out);
        let room = link
            .calendar
            .room(class, window, &link.limits, old.as_ref());
        let mut room = Headroom::of(room);
        let is_paid_for = |id| holder.is_none() || link.unpaid.contains_key(&id);
        room.held = old
            .filter(|old| old.class == class && old.window.covers(window))
            .filter(|_| left_out.is_some_and(is_paid_for))
            .map(|old| (old.rate, old.burst));
        room.hold = holder.and_then(|holder| {
            let hold = link.hold_allowance(&holder, class, window, &room, left_out)?;
            let (rate, burst) = holder.paid;
            Some(Allowance {
                rate: SoldRate(hold.rate.0.saturating_add(rate.0)),
                burst: Bytes(hold.burst.0.saturating_add(burst.0)),
            })
        });
        Ok(room)
    }

    /// The earliest start after `window` begins at which the link has room for `booking` as long as
    /// the window lasts, as far as its calendar tells; `None` if there is none within the horizon. And whether that is exact:
    /// what hold limits refuse, and what has a place already, may fit earlier.
    pub(crate) fn next_room(
        &self,
        port: PortRef,
        booking: &Booking,
        left_out: Option<CommitmentId>,
    ) -> (Option<Time>, bool) {
        let Some(link) = self.links.get(&port) else {
            return (None, true);
        };
        let limits = link.limits;
        let left_out = self.booking_on(port, left_out);
        let mut is_exact = left_out.is_none();
        if booking.rate.0 > limits.rate(booking.class)
            || booking.burst > limits.burst(booking.class)
        {
            return (None, is_exact);
        }
        let duration = booking.window.duration();
        let mut window = booking.window;
        while window.end() <= self.horizon() {
            let obstacle = link
                .calendar
                .last_obstacle(window, booking, &limits, left_out.as_ref());
            let later = match obstacle {
                Some(end) => Some(end),
                None if window.start() > booking.window.start() => {
                    return (Some(window.start()), is_exact);
                }
                // It fits, so it is the hold limits that refuse: they change when a hold no longer
                // overlaps.
                None => {
                    is_exact = false;
                    let ends = link.unpaid.values().map(|hold| hold.booking.window.end());
                    ends.filter(|end| *end > window.start()).min()
                }
            };
            match later.and_then(|later| Window::lasting(later, duration)) {
                Some(later) => window = later,
                None => return (None, is_exact),
            }
        }
        (None, is_exact)
    }

    fn booking_on(&self, link: PortRef, id: Option<CommitmentId>) -> Option<Booking> {
        let commitment = self.commitments.get(&id?)?;
        commitment
            .path
            .contains(&link)
            .then(|| commitment.booking())
    }

    /// [`Calendar::fetch`] on each of these links.
    pub(crate) fn fetch(
        &self,
        links: impl IntoIterator<Item = PortRef>,
        class: Class,
        window: Window,
    ) {
        let links = links.into_iter().filter_map(|port| self.links.get(&port));
        links.for_each(|link| link.calendar.fetch(class, window));
    }

    /// Writes a commitment that has been seen to fit.
    fn enter(&mut self, id: CommitmentId, mut commitment: Commitment) {
        self.paths.insert(id, &mut commitment.path);
        for port in &commitment.path {
            if let Some(link) = self.links.get_mut(port) {
                link.enter(id, &commitment, *port);
            }
        }
        self.ends.insert((commitment.window.end(), id));
        self.commitments.insert(id, commitment);
    }

    /// Takes a commitment out of everything but `ends`.
    fn forget(&mut self, id: CommitmentId) -> Option<Commitment> {
        let commitment = self.commitments.remove(&id)?;
        self.fetch(
            commitment.path.iter().copied(),
            commitment.class,
            commitment.window,
        );
        self.paths.remove(id, &commitment.path);
        for port in &commitment.path {
            if let Some(link) = self.links.get_mut(port) {
                link.leave(id, &commitment);
            }
        }
        Some(commitment)
    }

    fn cool_down(&mut self, ingress: PortRef, now: Time) {
        let expiries = self
            .cooling
            .get(&ingress)
            .map_or(1, |cooling| cooling.expiries.saturating_add(1));
        let doubled =
            COOL_DOWN_FIRST.saturating_mul(1_u32.checked_shl(expiries - 1).unwrap_or(u32::MAX));
        self.cooling.insert(
            ingress,
            Cooling {
                until: now.plus(doubled.min(COOL_DOWN_MOST)),
                expiries,
            },
        );
    }
}

impl Link {
    fn new(plan: ClassPlan, share: PerMille, calendar: Calendar) -> Self {
        Link {
            plan,
            limits: Limits::of(&plan, share),
            calendar,
            unpaid: BTreeMap::new(),
        }
    }

    fn enter(&mut self, id: CommitmentId, commitment: &Commitment, port: PortRef) {
        let booking = commitment.booking();
        self.calendar.book(&booking);
        if commitment.unpaid {
            let holder = commitment.hold.holder(commitment.ingress, port);
            let (rate, burst) = holder.paid;
            let booking = Booking {
                rate: SoldRate(booking.rate.0.saturating_sub(rate.0)),
                burst: Bytes(booking.burst.0.saturating_sub(burst.0)),
                ..booking
            };
            self.unpaid.insert(id, Hold { holder, booking });
        }
    }

    fn leave(&mut self, id: CommitmentId, commitment: &Commitment) {
        self.calendar.unbook(&commitment.booking());
        self.unpaid.remove(&id);
    }

    /// What one more unpaid hold from `ingress` may take, where `room` is free over the window;
    /// `None` if there is no limit, because it would be the only one.
    fn hold_allowance(
        &self,
        holder: &Holder,
        class: Class,
        window: Window,
        room: &Headroom,
        left_out: Option<CommitmentId>,
    ) -> Option<Allowance> {
        let others = || {
            let others = self.unpaid.iter().filter(|(id, _)| Some(**id) != left_out);
            others.map(|(_, hold)| hold)
        };
        let group = holder.group;
        let is_together = |hold: &Hold| group.is_some() && hold.holder.group == group;
        if others().all(is_together) {
            return None;
        }
        let (mut rate, mut burst) = (Taken::default(), Taken::default());
        for hold in others().filter(|hold| hold.booking.window.overlaps(window)) {
            let same_ingress = hold.holder.ingress == holder.ingress;
            rate.count(hold.booking.rate.0.into(), same_ingress);
            if hold.booking.class == class {
                burst.count(hold.booking.burst.0, same_ingress);
            }
        }
        let rate = rate.allowance(self.limits.rate.into(), room.rate.0.into());
        Some(Allowance {
            // At most a tenth of the reservable rate: fits.
            rate: SoldRate(u32::try_from(rate).unwrap_or(u32::MAX)),
            burst: Bytes(burst.allowance(self.plan.sellable_burst(class).0, room.burst.0)),
        })
    }
}

/// In order of value: what is worth something, then paid before unpaid, the higher value, the lower id.
fn by_value<'a>(
    commitments: impl Iterator<Item = (CommitmentId, &'a Commitment)>,
) -> Vec<(CommitmentId, &'a Commitment)> {
    let mut ranked: Vec<_> = commitments.collect();
    ranked.sort_unstable_by_key(|(id, its)| (its.value == 0, its.unpaid, Reverse(its.value), *id));
    ranked
}

/// What the unpaid holds on a link take of its rate, or of a buffer.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    by_all: u64,
    by_same_ingress: u64,
}

impl Taken {
    fn count(&mut self, amount: u64, same_ingress: bool) {
        self.by_all = self.by_all.saturating_add(amount);
        if same_ingress {
            self.by_same_ingress = self.by_same_ingress.saturating_add(amount);
        }
    }

    /// What one more may take of `whole`, where `free` is free. Both shares round down.
    fn allowance(&self, whole: u64, free: u64) -> u64 {
        let percent = u64::from(INGRESS_SHARE_PERCENT);
        let share = whole / 100 * percent + whole % 100 * percent / 100;
        let half = free.saturating_add(self.by_all).min(whole) / 2;
        share
            .saturating_sub(self.by_same_ingress)
            .min(half.saturating_sub(self.by_all))
    }
}

/// The most that one more unpaid hold may take.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    rate: SoldRate,
    burst: Bytes,
}

/// What a link has room for over some window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Headroom {
    rate: SoldRate,
    /// Of the buffer of the class that was asked about.
    burst: Bytes,
    /// The limit for an unpaid hold, if there is one.
    hold: Option<Allowance>,
    /// What the one that is to be replaced has there, over the whole window. Whatever else is sold, so much fits.
    held: Option<(SoldRate, Bytes)>,
}

impl Headroom {
    /// What is left of the rate and of the bursts.
    fn of((rate, burst): (SoldRate, Bytes)) -> Self {
        Headroom {
            rate,
            burst,
            hold: None,
            held: None,
        }
    }

    /// The highest rate that fits, with the burst that goes with it; 0 if none does.
    pub(crate) fn highest(&self, class: Class) -> SoldRate {
        let fits =
            |rate: SoldRate, burst| class.rate_for_burst(burst).unwrap_or_default().min(rate);
        let allowed = self
            .hold
            .map_or(SoldRate(u32::MAX), |hold| fits(hold.rate, hold.burst));
        let new = fits(self.rate, self.burst).min(allowed);
        self.held
            .map_or(new, |(rate, burst)| new.max(fits(rate, burst)))
    }

    /// Why this does not fit; `None` if it does. What fits also fits at every lower rate.
    pub(crate) fn refuses(
        &self,
        link: PortRef,
        class: Class,
        rate: SoldRate,
        burst: Bytes,
    ) -> Option<Reason> {
        if self
            .held
            .is_some_and(|held| rate <= held.0 && burst <= held.1)
        {
            return None;
        }
        if rate > self.rate {
            return Some(Reason::NoCapacity {
                link,
                asked: rate,
                free: self.rate,
            });
        }
        if burst > self.burst {
            return Some(Reason::NoBuffer {
                link,
                class,
                asked: burst,
                free: self.burst,
            });
        }
        let hold = self
            .hold
            .filter(|hold| rate > hold.rate || burst > hold.burst)?;
        let allowed = class
            .rate_for_burst(hold.burst)
            .unwrap_or_default()
            .min(hold.rate);
        Some(Reason::HoldLimit {
            link,
            asked: rate,
            allowed,
        })
    }
}
