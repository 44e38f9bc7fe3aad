//! Batches on their way to the switch, and what its answers say of them.

use std::collections::{BTreeMap, BTreeSet};

use payflow_qos::Time;
use rust_openflow::{FlowFlags, FlowMod, MeterId, MeterMod};

use super::{
    Item, Reconciler,
    difference::{Difference, Step},
};
use crate::core::{
    network::{
        FlowId,
        cookie::INFRASTRUCTURE,
        entry::MeterSpec,
        rows::{Held, RowId},
    },
    planted::{Fault, is_planted},
};

/// Sends one message and gives the transaction id it was sent with.
pub(crate) trait Outlet {
    fn meter(&mut self, meter: MeterMod) -> u32;
    fn flow(&mut self, flow: FlowMod) -> u32;
    /// Flow-mods that take effect all at once, or not at all.
    fn bundle(&mut self, flows: Vec<FlowMod>) -> SentBundle;
    fn barrier(&mut self) -> u32;
}

/// Transaction ids of a bundle's messages.
pub(crate) struct SentBundle {
    pub(crate) open: u32,
    /// In the order of the flow-mods.
    pub(crate) flows: Vec<u32>,
    pub(crate) commit: u32,
}

#[derive(Default)]
pub(super) struct Batch {
    /// With transaction ids, as they were sent.
    sent: Vec<(u32, Item, Sent)>,
    /// By transaction id.
    errors: BTreeMap<u32, String>,
    bundle: Option<Bundle>,
}

/// The bundle in a batch.
struct Bundle {
    open: u32,
    commit: u32,
    fate: Fate,
}

/// What became of a bundle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The switch says so.
    Applied,
    /// Nothing of it was applied.
    Refused,
    /// The switch has no bundles.
    Unsupported,
    /// Not a word: it has none, and does not say so.
    Unheeded,
}

enum Sent {
    PutFlow(Held),
    DeleteFlow,
    PutMeter(MeterSpec),
    DeleteMeter,
}

/// What a barrier has confirmed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Confirmed {
    /// Reservations whose entries or meters were in the batch.
    pub(crate) flows: BTreeSet<FlowId>,
    /// Meters that are gone. Nobody wants them any more, so only their numbers tell whose they were.
    pub(crate) meters_gone: BTreeSet<MeterId>,
    /// What the switch refused: whose entry or meter, and the error for people.
    pub(crate) refused: Vec<(FlowId, String)>,
}

impl Reconciler {
    /// The switch refused a message. Tells whether it was one of these.
    pub(crate) fn error(&mut self, xid: u32, reason: &str) -> bool {
        for batch in self.batches.values_mut() {
            let part = batch.sent.iter().find(|(sent, ..)| *sent == xid);
            let is_part = part.is_some();
            // Meters go before it, and say nothing of it.
            let in_bundle = matches!(part, Some((_, Item::Flow(_), _)));
            if is_part {
                batch.errors.insert(xid, reason.to_owned());
            }
            match &mut batch.bundle {
                Some(bundle) if bundle.open == xid => bundle.fate = Fate::Unsupported,
                Some(bundle) if in_bundle || bundle.commit == xid => {
                    if bundle.fate == Fate::Unheeded {
                        bundle.fate = Fate::Refused;
                    }
                }
                _ if is_part => {}
                _ => continue,
            }
            return true;
        }
        false
    }

    /// The switch has answered a message that is neither a barrier nor a question.
    pub(crate) fn reply(&mut self, xid: u32) {
        let bundles = self.batches.values_mut();
        let bundles = bundles.filter_map(|batch| batch.bundle.as_mut());
        for bundle in bundles.filter(|bundle| bundle.commit == xid) {
            bundle.fate = Fate::Applied;
        }
    }

    /// Whether a message will not be answered, and nothing follows from that.
    pub(crate) fn is_unheeded(&self, xid: u32) -> bool {
        self.unheeded.contains(&xid)
    }

    /// Whether a batch ends with this barrier.
    pub(crate) fn ends_batch(&self, barrier: u32) -> bool {
        self.batches.contains_key(&barrier)
    }

    /// A barrier was answered; `None` if it was not one of these.
    pub(crate) fn barrier(&mut self, xid: u32, now: Time) -> Option<Confirmed> {
        let Batch {
            sent,
            mut errors,
            bundle,
            ..
        } = self.batches.remove(&xid)?;
        if let Some(bundle) = bundle.as_ref().filter(|it| it.fate == Fate::Unheeded) {
            self.unheeded.extend([bundle.open, bundle.commit]);
        }
        let fate = bundle.map_or(Fate::Applied, |bundle| bundle.fate);
        self.bundles_from = match fate {
            Fate::Applied => self.bundles_from,
            Fate::Refused => Some(now.plus(self.retry)),
            Fate::Unsupported | Fate::Unheeded => None,
        };
        let mut confirmed = Confirmed::default();
        let mut refused = BTreeMap::new();
        for (xid, item, sent) in sent {
            self.set_busy(item, false);
            confirmed.flows.extend(self.owners(item));
            let in_bundle = matches!(item, Item::Flow(_));
            // Where there are no bundles, errors are about bundles.
            let error = errors
                .remove(&xid)
                .filter(|_| !(in_bundle && fate == Fate::Unsupported));
            match error {
                None if in_bundle && fate != Fate::Applied => self.undo(sent),
                None => {
                    if let (Item::Meter(meter), Sent::DeleteMeter) = (item, &sent) {
                        confirmed.meters_gone.insert(meter);
                    }
                    self.apply(item, sent);
                }
                Some(reason) => {
                    if let Some(owner) = self.sender(item, &sent) {
                        refused.insert(self.place(item), (owner, reason));
                    }
                    self.refuse(item, sent, now);
                }
            }
            // What was wanted may have changed meanwhile. As a rule it has not.
            match self.difference(item, &BTreeSet::new(), now) {
                Step::Settled if !self.is_due(item) && !self.is_refused(item, now) => {
                    self.settle(item);
                }
                _ => self.mark(item),
            }
        }
        confirmed.refused = refused.into_values().collect();
        Some(confirmed)
    }

    pub(super) fn send_batch(
        &mut self,
        differences: Vec<(Item, Difference)>,
        outlet: &mut impl Outlet,
        now: Time,
    ) {
        let mut batch = Batch::default();
        // Meters that flow entries need, the entries, then the meters nothing uses any more.
        let (meters, flows): (Vec<_>, Vec<_>) = differences
            .into_iter()
            .partition(|(item, _)| matches!(item, Item::Meter(_)));
        let (deleted_meters, put_meters): (Vec<_>, Vec<_>) = meters
            .into_iter()
            .partition(|(_, difference)| matches!(difference, Difference::DeleteMeter));
        // New entries before deletions: a packet always finds one of the two.
        let (deleted_flows, put_flows): (Vec<_>, Vec<_>) = flows
            .into_iter()
            .partition(|(_, difference)| matches!(difference, Difference::DeleteFlow));
        let needs_barrier = !put_meters.is_empty() && !put_flows.is_empty();
        for (item, difference) in put_meters {
            self.send(&mut batch, item, difference, outlet);
        }
        if needs_barrier {
            outlet.barrier();
        }
        let flows = put_flows.into_iter().chain(deleted_flows);
        let flows: Vec<_> = flows.collect();
        if flows.len() > 1 && self.bundles_from.is_some_and(|from| from <= now) {
            self.send_bundle(&mut batch, flows, outlet);
        } else {
            for (item, difference) in flows {
                self.send(&mut batch, item, difference, outlet);
            }
        }
        for (item, difference) in deleted_meters {
            self.send(&mut batch, item, difference, outlet);
        }
        self.batches.insert(outlet.barrier(), batch);
    }

    fn send_bundle(
        &mut self,
        batch: &mut Batch,
        flows: Vec<(Item, Difference)>,
        outlet: &mut impl Outlet,
    ) {
        let mut parts = Vec::with_capacity(flows.len());
        let mut flow_mods = Vec::with_capacity(flows.len());
        for (item, difference) in flows {
            let Item::Flow(id) = item else { continue };
            if let Some((flow_mod, sent)) = self.flow_mod(id, difference) {
                flow_mods.push(flow_mod);
                parts.push((item, sent));
            }
        }
        let SentBundle {
            open,
            flows,
            commit,
        } = outlet.bundle(flow_mods);
        for (xid, (item, sent)) in flows.into_iter().zip(parts) {
            self.under_way(batch, xid, item, sent);
        }
        batch.bundle = Some(Bundle {
            open,
            commit,
            fate: Fate::Unheeded,
        });
    }

    fn send(
        &mut self,
        batch: &mut Batch,
        item: Item,
        difference: Difference,
        outlet: &mut impl Outlet,
    ) {
        let (xid, sent) = match (item, difference) {
            (Item::Meter(meter), Difference::PutMeter(command, spec)) => {
                self.held_meters.entry(meter).or_insert(None);
                let meter = MeterMod {
                    command,
                    flags: spec.flags(),
                    meter_id: meter,
                    bands: spec.bands(),
                };
                (outlet.meter(meter), Sent::PutMeter(spec))
            }
            (Item::Meter(meter), _) => {
                self.meters_going.insert(meter);
                (outlet.meter(MeterMod::delete(meter)), Sent::DeleteMeter)
            }
            (Item::Flow(id), difference) => {
                let Some((flow_mod, sent)) = self.flow_mod(id, difference) else {
                    return;
                };
                (outlet.flow(flow_mod), sent)
            }
        };
        self.under_way(batch, xid, item, sent);
    }

    fn flow_mod(&mut self, id: RowId, difference: Difference) -> Option<(FlowMod, Sent)> {
        let row = self.rows.get(id)?;
        let (table, priority) = (row.key.table, row.key.priority);
        let matching = row.key.matching.clone();
        if let Difference::PutFlow { held, timeout_s } = difference {
            let add = FlowMod::add(table, priority, matching, held.instructions.to_vec())
                .cookie(held.cookie)
                .hard_timeout_s(timeout_s)
                .flags(FlowFlags::SEND_FLOW_REM);
            self.use_meter(held.meter());
            return Some((add, Sent::PutFlow(held)));
        }
        // Only if it still is the entry that is believed to be there.
        let cookie = row.held.as_ref().map_or(0, |held| held.cookie);
        let mut delete = FlowMod {
            cookie,
            cookie_mask: u64::MAX,
            ..FlowMod::delete_strict(table, priority, matching)
        };
        let infrastructure = self.tag.cookie(INFRASTRUCTURE);
        if is_planted(Fault::DeleteWithoutGeneration) && cookie != infrastructure {
            let mask = !u64::from(u16::MAX);
            delete = FlowMod::delete_by_cookie(table, cookie, mask);
        }
        Some((delete, Sent::DeleteFlow))
    }

    fn under_way(&mut self, batch: &mut Batch, xid: u32, item: Item, sent: Sent) {
        self.refused.remove(&item);
        self.set_busy(item, true);
        batch.sent.push((xid, item, sent));
    }

    /// It was part of a bundle of which nothing was applied: the switch holds what it held.
    fn undo(&mut self, sent: Sent) {
        if let Sent::PutFlow(held) = sent {
            self.leave_meter(held.meter());
        }
    }

    /// The switch has done it.
    fn apply(&mut self, item: Item, sent: Sent) {
        match (item, sent) {
            (Item::Flow(id), Sent::PutFlow(held)) => {
                // Counted as a user of its meter when it was sent.
                self.release(id);
                if let Some(row) = self.rows.get_mut(id) {
                    row.held = Some(held);
                }
            }
            (Item::Flow(id), _) => self.release(id),
            (Item::Meter(meter), Sent::PutMeter(spec)) => {
                self.held_meters.insert(meter, Some(spec));
            }
            (Item::Meter(meter), _) => {
                self.meters_going.remove(&meter);
                self.held_meters.remove(&meter);
            }
        }
    }

    /// The switch has refused it, so what it holds there is unknown: it counts as nothing, the item is
    /// sent again later, and the next reading tells.
    fn refuse(&mut self, item: Item, sent: Sent, now: Time) {
        match (item, sent) {
            (Item::Flow(id), Sent::PutFlow(held)) => {
                self.leave_meter(held.meter());
                self.release(id);
            }
            (Item::Flow(id), _) => self.release(id),
            (Item::Meter(meter), Sent::PutMeter(_)) => {
                self.held_meters.remove(&meter);
            }
            (Item::Meter(meter), _) => {
                self.meters_going.remove(&meter);
            }
        }
        self.refused.insert(item, now.plus(self.retry));
    }

    /// For whom something was put on the switch.
    fn sender(&self, item: Item, sent: &Sent) -> Option<FlowId> {
        match (item, sent) {
            (_, Sent::PutFlow(held)) => self.tag.owner(held.cookie),
            (Item::Meter(meter), Sent::PutMeter(_)) => {
                Some(self.wanted_meters.get(&meter)?.highest()?.0)
            }
            // What stays of a reservation is its own affair; what stays of the infrastructure may let somebody in.
            (Item::Flow(id), Sent::DeleteFlow) => self
                .tag
                .owner(self.rows.get(id)?.held.as_ref()?.cookie)
                .filter(|owner| *owner == INFRASTRUCTURE),
            _ => None,
        }
    }
}
