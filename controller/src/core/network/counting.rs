//! What the first switch and the last one have counted of every paid flow.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{RangeBounds, RangeInclusive},
    time::Duration,
};

use payflow_qos::{SwitchId, Time};
use rust_openflow::{
    FlowFilter, FlowStats, Match, MeterId, MeterStats, MultipartReplyBody, MultipartRequestBody,
};

use super::{
    FlowId, Network, NetworkEvent, Protocol,
    conservation::{Conservation, Span},
    entry::{FlowKey, reservation_meter},
    paid::Paid,
    switch::Reading,
};

/// How old the counters of an entry may be when a switch tells them: Open vSwitch brings them up to date twice a second
/// (`max-revalidator`), those of meters at once.
const AGE: Duration = Duration::from_secs(1);

/// Every generation of a flow.
fn generations(reservation: u64) -> RangeInclusive<FlowId> {
    let of = |generation| FlowId {
        reservation,
        generation,
    };
    of(0)..=of(u16::MAX)
}

/// The part of what entered between two readings that may be lost: one in so many bytes.
const fn tolerated(protocol: Protocol) -> u128 {
    match protocol {
        Protocol::Udp => 1_000,
        // Headers of 66 in frames of 1514 bytes, where a receiver merges what the first switch saw one by one.
        Protocol::Tcp => 20,
    }
}

/// A counter that is not kept has all bits set (OpenFlow 1.3.5, section 5.8).
const NOT_KEPT: u64 = u64::MAX;

/// What a counter shows, in packets and bytes.
pub(super) type Shown = (u64, u64);

/// What a meter showed last: all that came, and what it dropped of that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MeterSeen {
    came: Shown,
    dropped: Shown,
}

/// What the entry at the last switch of a path showed last. An entry that takes the place of one with the same match goes on
/// with its counters, whatever generation they are of.
#[derive(Clone, Debug)]
struct ExitSeen {
    /// The newest that it was of.
    generation: u16,
    switch: SwitchId,
    matching: Match,
    shown: Shown,
    age: Duration,
}

/// What is counted of all flows that are of one reservation, or take its place.
#[derive(Debug)]
pub(super) struct Counted {
    conservation: Conservation,
    /// The same of a path that broke and was left, until its last switch has told what came of what had entered there; and the
    /// first generation that it does not concern.
    left_behind: Option<(u16, Conservation)>,
    exits: Vec<ExitSeen>,
}

impl Counted {
    /// Of a flow that begins now, or one that was there before.
    pub(super) fn new(begins: bool) -> Self {
        Self {
            conservation: if begins {
                Conservation::fresh()
            } else {
                Conservation::resumed()
            },
            left_behind: None,
            exits: Vec::new(),
        }
    }

    /// What concerns a generation.
    fn of(&mut self, generation: u16) -> &mut Conservation {
        match &mut self.left_behind {
            Some((newer, conservation)) if generation < *newer => conservation,
            _ => &mut self.conservation,
        }
    }

    /// A broken path is whole again, or a newer generation has another one.
    fn go_on(&mut self, generation: u16) {
        let is_new = self.exits.iter().all(|exit| exit.generation < generation);
        if self.conservation.is_paused() && is_new {
            let left = std::mem::replace(&mut self.conservation, Conservation::resumed());
            self.left_behind = Some((generation, left));
        } else {
            self.conservation.go_on();
        }
    }

    /// A switch refuses to carry it: what is missing from here on, or was not found yet, is nobody's loss.
    pub(super) fn stop(&mut self) {
        self.conservation.forget();
        self.conservation.pause(Time::default());
    }
}

impl Network {
    /// Adds what the counters of an audit show more than the last one.
    pub(super) fn count(&mut self, switch: SwitchId, reading: &Reading, now: Time) {
        let span = Span {
            asked: reading.asked_at,
            answered: now,
        };
        let there: BTreeSet<u32> = reading
            .meter_stats
            .iter()
            .map(|meter| meter.meter_id.0)
            .collect();
        self.meters_seen
            .retain(|(at, meter), _| *at != switch || there.contains(meter));
        let newest = self.newest_at(switch, ..);
        self.count_meters(switch, &reading.meter_stats, &newest, span);
        self.count_entries(switch, &reading.flows, span);
    }

    /// The last word on a flow that is being taken off: its first switch lets nothing more in.
    pub(super) fn ask_for_entered(&mut self, paid: &Paid, now: Time) {
        if let Some((hop, _)) = paid.ingress() {
            let meter = reservation_meter(paid.plan.flow.reservation);
            let number = paid.plan.flow.reservation;
            let question = MultipartRequestBody::Meter(meter);
            self.ask_for(hop.switch, number, question, now);
        }
    }

    /// The same at the last switch, before its entry is deleted.
    pub(super) fn ask_for_left(&mut self, paid: &Paid, now: Time) {
        if let Some((hop, _)) = paid.exit() {
            let cookie = super::cookie::OwnerTag(self.config.owner_tag).cookie(paid.plan.flow);
            let filter = FlowFilter::by_cookie(cookie, u64::MAX);
            let number = paid.plan.flow.reservation;
            let question = MultipartRequestBody::Flow(filter);
            self.ask_for(hop.switch, number, question, now);
        }
    }

    /// The path of a flow is broken.
    pub(super) fn pause_counting(&mut self, paid: &Paid, now: Time) {
        self.ask_for_entered(paid, now);
        if let Some(counted) = self.counted.get_mut(&paid.plan.flow.reservation) {
            counted.conservation.pause(now);
        }
    }

    /// It is whole again, or there is another one.
    pub(super) fn go_on_counting(&mut self, flow: FlowId) {
        if let Some(counted) = self.counted.get_mut(&flow.reservation) {
            counted.go_on(flow.generation);
        }
    }

    /// Until when the last switch has to keep its entry, so that it can tell what became of all that was let in; nothing more is.
    pub(super) fn keep_counting_until(&mut self, paid: &Paid) -> Option<Time> {
        let (hop, _) = paid.exit()?;
        self.switches.get(&hop.switch).filter(|it| it.is_read())?;
        let flow = paid.plan.flow;
        let counted = self.counted.get_mut(&flow.reservation)?;
        let transit = paid.plan.transit.saturating_add(AGE);
        counted.of(flow.generation).is_known_from(transit)
    }

    fn ask_for(&mut self, id: SwitchId, number: u64, question: MultipartRequestBody, now: Time) {
        let Some(switch) = self.switches.get_mut(&id).filter(|it| it.is_read()) else {
            return;
        };
        let connection = self.spokesmen.get(&id);
        if let Some(connection) = connection.and_then(|it| self.connections.get_mut(it)) {
            let xid = connection.question(question, now);
            switch.asked.insert(xid, (now, number));
        }
    }

    /// The answer to [`Self::ask_for`], if it is one.
    pub(super) fn told_counters(
        &mut self,
        id: SwitchId,
        xid: u32,
        body: &MultipartReplyBody,
        now: Time,
    ) -> bool {
        let switch = self.switches.get_mut(&id);
        let Some((asked, number)) = switch.and_then(|switch| switch.asked.remove(&xid)) else {
            return false;
        };
        let span = Span {
            asked,
            answered: now,
        };
        match body {
            MultipartReplyBody::Meter(meters) => {
                let newest = self.newest_at(id, generations(number));
                self.count_meters(id, meters, &newest, span);
            }
            MultipartReplyBody::Flow(flows) => self.count_entries(id, flows, span),
            _ => {}
        }
        true
    }

    /// Which of these flows has a meter at a switch: it is shared by the generations of a path; the newest one has it, and comes
    /// last.
    fn newest_at(
        &self,
        switch: SwitchId,
        flows: impl RangeBounds<FlowId>,
    ) -> BTreeMap<MeterId, FlowId> {
        let flows = self.flows.range(flows);
        let here = flows.filter(|(_, paid)| {
            let first = paid.ingress();
            first.is_some_and(|(hop, _)| hop.switch == switch)
        });
        here.map(|(flow, _)| (reservation_meter(flow.reservation), *flow))
            .collect()
    }

    fn count_meters(
        &mut self,
        switch: SwitchId,
        meters: &[MeterStats],
        newest: &BTreeMap<MeterId, FlowId>,
        span: Span,
    ) {
        for meter in meters {
            let came = (meter.packet_in_count, meter.byte_in_count);
            let bands = meter.bands.iter();
            let dropped = bands.fold((0_u64, 0_u64), |(packets, bytes), band| {
                (
                    packets.saturating_add(band.packet_count),
                    bytes.saturating_add(band.byte_count),
                )
            });
            let seen = MeterSeen { came, dropped };
            let key = (switch, meter.meter_id.0);
            let before = self.meters_seen.insert(key, seen).unwrap_or_default();
            let Some(flow) = newest.get(&meter.meter_id).copied() else {
                continue;
            };
            if came.1 == NOT_KEPT || dropped.1 == NOT_KEPT {
                if let Some(counted) = self.counted.get_mut(&flow.reservation) {
                    counted.conservation.forget();
                }
                continue;
            }
            let came = grown(before.came, came);
            let dropped = grown(before.dropped, dropped);
            let admitted = came.1.saturating_sub(dropped.1);
            let Some(paid) = self.flows.get_mut(&flow) else {
                continue;
            };
            add(&mut paid.counters.dropped_packets, dropped.0);
            add(&mut paid.counters.dropped_bytes, dropped.1);
            if paid.is_at_one_switch() {
                add(
                    &mut paid.counters.left_packets,
                    came.0.saturating_sub(dropped.0),
                );
                add(&mut paid.counters.left_bytes, admitted);
            } else if let Some(counted) = self.counted.get_mut(&flow.reservation) {
                counted.conservation.has_entered(admitted, span);
            }
        }
    }

    fn count_entries(&mut self, switch: SwitchId, entries: &[FlowStats], span: Span) {
        let mut left = BTreeSet::new();
        for entry in entries {
            if let Some(owner) = self.owner(entry.cookie) {
                let shown = (entry.packet_count, entry.byte_count);
                let age = Duration::new(
                    entry.duration_sec.into(),
                    entry.duration_nsec.min(999_999_999),
                );
                self.count_entry(switch, owner, &entry.flow_match, shown);
                if self.count_exit(switch, owner, &entry.flow_match, shown, age) {
                    left.insert(owner);
                }
            }
        }
        // A flow may have several entries, and what left by one is not missing at another.
        for flow in left {
            self.conclude(flow, span);
        }
    }

    /// All entries of a flow at its last switch were read.
    fn conclude(&mut self, flow: FlowId, span: Span) {
        let Some(paid) = self.flows.get_mut(&flow) else {
            return;
        };
        if let Some(counted) = self.counted.get_mut(&flow.reservation) {
            let conservation = counted.of(flow.generation);
            let transit = paid.plan.transit.saturating_add(AGE);
            let found = conservation.has_left(0, span, transit);
            add(&mut paid.counters.lost_bytes, found.lost);
            let protocol = paid.plan.selector.protocol;
            if u128::from(found.lost) * tolerated(protocol) > u128::from(found.entered) {
                add(&mut paid.counters.short_bytes, found.lost);
                self.emit(NetworkEvent::FellShort { flow });
            }
        }
    }

    /// What an entry shows; counts if it is one of those at the first switch.
    pub(super) fn count_entry(
        &mut self,
        switch: SwitchId,
        flow: FlowId,
        matching: &Match,
        seen: Shown,
    ) {
        let Some(paid) = self.flows.get_mut(&flow) else {
            return;
        };
        if paid
            .ingress()
            .is_some_and(|(hop, keys)| hop.switch == switch && is_one_of(matching, keys))
        {
            let before = paid.last_seen.insert(matching.clone(), seen);
            let (packets, bytes) = grown(before.unwrap_or_default(), seen);
            add(&mut paid.counters.packets, packets);
            add(&mut paid.counters.bytes, bytes);
        }
    }

    /// The same at the last switch; whether it is one of those there. What is lost is not told by one entry.
    pub(super) fn count_exit(
        &mut self,
        switch: SwitchId,
        flow: FlowId,
        matching: &Match,
        shown: Shown,
        age: Duration,
    ) -> bool {
        let Some(paid) = self.flows.get_mut(&flow) else {
            return false;
        };
        let is_exit = paid
            .exit()
            .is_some_and(|(hop, keys)| hop.switch == switch && is_one_of(matching, keys));
        let counted = self.counted.get_mut(&flow.reservation);
        let Some(counted) = counted.filter(|_| is_exit && !paid.is_at_one_switch()) else {
            return false;
        };
        let generation = flow.generation;
        if shown.1 == NOT_KEPT {
            counted.of(generation).forget();
            return false;
        }
        let known = counted
            .exits
            .iter_mut()
            .find(|it| it.switch == switch && it.matching == *matching);
        let before = match known {
            Some(exit) => {
                if exit.generation < generation {
                    // It goes on with the counters of the one before: nobody knows which of it came on which path.
                    exit.generation = generation;
                    counted.left_behind = None;
                }
                let began_anew =
                    age < exit.age || grown(exit.shown, shown) == shown && shown != exit.shown;
                exit.age = age;
                let before = std::mem::replace(&mut exit.shown, shown);
                if began_anew && before != (0, 0) {
                    counted.of(generation).forget();
                }
                before
            }
            None => {
                counted.exits.push(ExitSeen {
                    generation,
                    switch,
                    matching: matching.clone(),
                    shown,
                    age,
                });
                (0, 0)
            }
        };
        let (packets, bytes) = grown(before, shown);
        add(&mut paid.counters.left_packets, packets);
        add(&mut paid.counters.left_bytes, bytes);
        counted.of(generation).had_left(bytes);
        true
    }

    /// Forgets a flow of which no generation is left.
    pub(super) fn stop_counting(&mut self, reservation: u64) {
        if self.flows.range(generations(reservation)).next().is_none() {
            self.counted.remove(&reservation);
        }
    }
}

/// Whether an entry with this match is one of them.
fn is_one_of(matching: &Match, keys: &[FlowKey]) -> bool {
    keys.iter().any(|key| key.matching == *matching)
}

/// Switches say what they like, also that all bits are set, which the specification has for a counter that is not kept.
fn add(counter: &mut u64, more: u64) {
    *counter = counter.saturating_add(more);
}

/// By how much counters have grown since they were last seen; they begin at zero again when an entry
/// or meter is made anew.
fn grown(last: Shown, now: Shown) -> Shown {
    match (now.0.checked_sub(last.0), now.1.checked_sub(last.1)) {
        (Some(packets), Some(bytes)) => (packets, bytes),
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_is_not_kept_stops_nothing() {
        let mut counted = 0;
        for (last, now) in [(0, u64::MAX), (u64::MAX, 5), (5, u64::MAX)] {
            add(&mut counted, grown((last, last), (now, now)).0);
        }
        assert_eq!(counted, u64::MAX);
    }
}
