//! What differs between what is wanted and what is held, and what is due next.

use std::{collections::BTreeSet, time::Duration};

use payflow_qos::Time;
use rust_openflow::{MeterCommand, MeterId};

use super::{Item, Reconciler};
use crate::core::network::{
    FlowId,
    entry::{FlowEntry, MeterSpec},
    rows::{Held, Row, RowId},
};

/// Flow entries and meters in one batch.
pub(super) const BATCH_ITEMS: usize = 512;

/// Longest hard time-out in seconds (`hard_timeout` of `ofp_flow_mod` has 16 bits). What is wanted
/// for longer is renewed when half of it is over.
const LONGEST_TIMEOUT_S: u16 = u16::MAX;

/// What has to be done about an item.
pub(super) enum Step {
    Settled,
    /// For another item first.
    Wait,
    Send(Difference),
}

pub(super) enum Difference {
    PutMeter(MeterCommand, MeterSpec),
    DeleteMeter,
    PutFlow { held: Held, timeout_s: u16 },
    DeleteFlow,
}

impl Reconciler {
    /// Up to a batch of differences, and nothing that is no longer one remains due.
    pub(super) fn next_differences(&mut self, now: Time) -> Vec<(Item, Difference)> {
        self.sort_due();
        let mut differences = Vec::new();
        let mut settled = Vec::new();
        let mut deferred = Vec::new();
        let mut meters_coming = BTreeSet::new();
        for item in self.due() {
            if differences.len() == BATCH_ITEMS {
                break;
            }
            if self.is_busy(item) || self.is_refused(item, now) {
                continue;
            }
            if self.is_deferred(item, now) {
                deferred.push(item);
                continue;
            }
            match self.difference(item, &meters_coming, now) {
                Step::Settled => settled.push(item),
                Step::Wait => {}
                Step::Send(difference) => {
                    if let (Item::Meter(meter), Difference::PutMeter(..)) = (item, &difference) {
                        meters_coming.insert(meter);
                    }
                    differences.push((item, difference));
                }
            }
        }
        let sent = differences.iter().map(|(item, _)| item);
        for item in settled.iter().chain(&deferred).chain(sent) {
            self.unmark(*item);
        }
        if !settled.is_empty() || !deferred.is_empty() || !differences.is_empty() {
            let is_due = |id: &RowId| self.rows.get(*id).is_some_and(|row| row.is_due);
            self.due_flows.retain(is_due);
            self.sorted = self.due_flows.len();
        }
        self.deferred.extend(deferred);
        for item in settled {
            self.settle(item);
        }
        differences
    }

    /// Puts the rows that came lately where they belong among those that are in order already.
    fn sort_due(&mut self) {
        if self.sorted < self.due_flows.len() {
            // Fast where all but the last are in order.
            self.due_flows.sort();
            self.sorted = self.due_flows.len();
        }
    }

    /// The switch holds what is wanted.
    pub(super) fn settle(&mut self, item: Item) {
        self.renewals.extend(self.renewal(item));
        self.refused.remove(&item);
        if let Item::Flow(id) = item {
            self.rows.tidy(id);
        }
    }

    /// No longer due; its place in `due_flows` is given up by the caller.
    fn unmark(&mut self, item: Item) {
        match item {
            Item::Meter(meter) => {
                self.due_meters.remove(&meter);
            }
            Item::Flow(id) => {
                if let Some(row) = self.rows.get_mut(id) {
                    row.is_due = false;
                }
            }
        }
    }

    /// When the hard time-out of a held entry has to be armed again, because it could not be armed for
    /// as long as the entry is wanted.
    fn renewal(&self, item: Item) -> Option<(Time, RowId)> {
        let Item::Flow(id) = item else { return None };
        let row = self.rows.get(id)?;
        let expires = row.held.as_ref()?.expires?;
        let until = row.wanted.highest()?.1.until?;
        (expires < until.minus(self.grace)).then(|| (expires.minus(longest_timeout() / 2), id))
    }

    pub(super) fn difference(
        &self,
        item: Item,
        meters_coming: &BTreeSet<MeterId>,
        now: Time,
    ) -> Step {
        match item {
            Item::Meter(meter) => match (self.meter_wanted(meter), self.held_meters.get(&meter)) {
                (None, None) => Step::Settled,
                (Some(spec), Some(held)) if *held == Some(spec) => Step::Settled,
                (Some(spec), held) => {
                    let command = if held.is_some() {
                        MeterCommand::MODIFY
                    } else {
                        MeterCommand::ADD
                    };
                    Step::Send(Difference::PutMeter(command, spec))
                }
                (None, Some(_)) if self.meters_of_others.contains(&meter) => Step::Settled,
                (None, Some(_)) if self.meter_users.contains_key(&meter) => Step::Wait,
                (None, Some(_)) => Step::Send(Difference::DeleteMeter),
            },
            Item::Flow(id) => {
                let Some(row) = self.rows.get(id) else {
                    return Step::Settled;
                };
                match (entry_wanted(row, now), &row.held) {
                    (None, None) => Step::Settled,
                    (Some(_), Some(_)) if self.agrees(row, now) => Step::Settled,
                    (Some((owner, entry)), _) => {
                        let has_meter = entry.meter().is_none_or(|meter| {
                            meters_coming.contains(&meter)
                                || self.held_meters.contains_key(&meter)
                                    && !self.meters_going.contains(&meter)
                        });
                        if has_meter {
                            Step::Send(self.put(owner, entry, now))
                        } else {
                            Step::Wait
                        }
                    }
                    (None, Some(_)) => Step::Send(Difference::DeleteFlow),
                }
            }
        }
    }

    /// The entry as the switch will hold it when it is sent now.
    fn put(&self, owner: FlowId, entry: &FlowEntry, now: Time) -> Difference {
        let timeout_s = entry.until.map_or(0, |until| timeout_s(until, now));
        let expires = entry
            .until
            .map(|_| now.plus(Duration::from_secs(u64::from(timeout_s))));
        let held = Held {
            cookie: self.tag.cookie(owner),
            instructions: entry.instructions.clone(),
            expires,
        };
        Difference::PutFlow { held, timeout_s }
    }

    /// Whether the switch holds this entry as it is wanted. A hard time-out may be up to the grace off; one
    /// that cannot be as long as wanted is right until half of it is over.
    pub(super) fn agrees(&self, row: &Row, now: Time) -> bool {
        let (Some((owner, entry)), Some(held)) = (entry_wanted(row, now), &row.held) else {
            return false;
        };
        let time_agrees = match (held.expires, entry.until) {
            (None, None) => true,
            (Some(expires), Some(until)) => {
                let early =
                    expires < until.minus(self.grace) && expires <= now.plus(longest_timeout() / 2);
                !early && expires <= until.plus(self.grace)
            }
            _ => false,
        };
        time_agrees
            && held.cookie == self.tag.cookie(owner)
            && held.instructions == entry.instructions
    }
}

/// What counts of what is wanted.
pub(super) fn entry_wanted(row: &Row, now: Time) -> Option<(FlowId, &FlowEntry)> {
    let (owner, entry) = row.wanted.highest()?;
    let is_wanted = entry.until.is_none_or(|until| now < until);
    is_wanted.then_some((owner, entry))
}

fn longest_timeout() -> Duration {
    Duration::from_secs(u64::from(LONGEST_TIMEOUT_S))
}

/// Whole seconds from now until then, rounded up, so that the entry is not gone early; at least one,
/// because 0 means for ever, and at most what the field holds.
fn timeout_s(until: Time, now: Time) -> u16 {
    let seconds = until.since(now).as_millis().div_ceil(1_000);
    u16::try_from(seconds).unwrap_or(LONGEST_TIMEOUT_S).max(1)
}
