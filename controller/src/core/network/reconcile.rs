//! Brings one switch to what is wanted on it, and nothing more.
//!
//! Level-triggered: callers say what is *wanted*, the switch's answers say what is *held*, and
//! only the difference goes out. So it does not matter whether an entry is missing because it is new,
//! because the switch was restarted, or because somebody removed it by hand.
//!
//! One difference is sent as one batch: meters, barrier, flow entries, barrier; meter deletions follow
//! once a barrier has confirmed that nothing uses the meter any more (deleting a meter deletes its flow
//! entries silently). Flow entries are in an atomic bundle where the switch has them: no packet sees half of a difference.
//! A bundle is applied whole or not at all, so after a refusal its entries are sent one by one. Errors are matched to what caused them by transaction id. An item that is in a
//! batch is not sent again before that batch is confirmed, and at most [`MAX_BATCHES`] are under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use payflow_qos::Time;
use rust_openflow::{
    FlowFlags, FlowMod, FlowRemoved, FlowStats, Instruction, MeterCommand, MeterConfig, MeterId,
    MeterMod,
};

use super::{
    FlowId,
    claims::Claims,
    cookie::{INFRASTRUCTURE, OwnerTag},
    entry::{FlowEntry, FlowKey, MeterSpec, is_our_meter, meter_of},
    rows::{Held, Row, RowId, Rows},
};
use crate::core::planted::{Fault, is_planted};

/// Batches under way at once. More waits here, where it can still change.
const MAX_BATCHES: usize = 4;
/// Flow entries and meters in one batch.
const BATCH_ITEMS: usize = 512;
/// Longest hard time-out in seconds (`hard_timeout` of `ofp_flow_mod` has 16 bits). What is wanted
/// for longer is renewed when half of it is over.
const LONGEST_TIMEOUT_S: u16 = u16::MAX;

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

/// The wanted and the held entries of one switch.
pub(crate) struct Reconciler {
    tag: OwnerTag,
    grace: Duration,
    retry: Duration,
    rows: Rows,
    wanted_meters: BTreeMap<MeterId, Claims<MeterSpec>>,
    /// `None` is a meter that is there but is not one of ours to look at.
    held_meters: BTreeMap<MeterId, Option<MeterSpec>>,
    /// Held flow entries, and those on their way, by the meter they use.
    meter_users: BTreeMap<MeterId, usize>,
    meters_going: BTreeSet<MeterId>,
    /// Rows that are due, in order up to `sorted` and then as they came.
    due_flows: Vec<RowId>,
    sorted: usize,
    due_meters: BTreeSet<MeterId>,
    /// What is not looked at before [`Self::infrastructure_from`].
    deferred: BTreeSet<Item>,
    /// Meters in a batch.
    busy_meters: BTreeSet<MeterId>,
    /// By the transaction id of the barrier that confirms them.
    batches: BTreeMap<u32, Batch>,
    /// What the switch refused, and when it is tried again.
    refused: BTreeMap<Item, Time>,
    renewals: BTreeSet<(Time, RowId)>,
    infrastructure_from: Time,
    /// No bundle before then; `None` if this switch has none.
    bundles_from: Option<Time>,
    /// Messages of bundles that the switch has passed over: their answers will not come.
    unheeded: BTreeSet<u32>,
    connected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Meter(MeterId),
    Flow(RowId),
}

#[derive(Default)]
struct Batch {
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
    /// Nothing wanted, nothing held, not connected. Hard time-outs may be up to `grace` off before they are
    /// armed again; what a switch refuses is sent again after `retry`.
    pub(crate) fn new(tag: OwnerTag, grace: Duration, retry: Duration) -> Self {
        Self {
            tag,
            grace,
            retry,
            rows: Rows::default(),
            wanted_meters: BTreeMap::new(),
            held_meters: BTreeMap::new(),
            meter_users: BTreeMap::new(),
            meters_going: BTreeSet::new(),
            due_flows: Vec::new(),
            sorted: 0,
            due_meters: BTreeSet::new(),
            deferred: BTreeSet::new(),
            busy_meters: BTreeSet::new(),
            batches: BTreeMap::new(),
            refused: BTreeMap::new(),
            renewals: BTreeSet::new(),
            infrastructure_from: Time::default(),
            bundles_from: Some(Time::default()),
            unheeded: BTreeSet::new(),
            connected: false,
        }
    }

    /// Wants an entry. Where several generations of a reservation want the same key, the highest
    /// has it, and the one below comes back when the highest is withdrawn.
    pub(crate) fn want(&mut self, owner: FlowId, key: impl Into<Arc<FlowKey>>, entry: FlowEntry) {
        let id = self.rows.row_of(key.into());
        if let Some(row) = self.rows.get_mut(id)
            && row.wanted.get(owner) != Some(&entry)
        {
            row.wanted.insert(owner, entry);
            self.mark(Item::Flow(id));
        }
    }

    /// No longer wants an entry for this owner.
    pub(crate) fn withdraw(&mut self, owner: FlowId, key: &FlowKey) {
        let id = self.rows.find(key);
        let row = id.and_then(|id| self.rows.get_mut(id));
        if let (Some(id), Some(_)) = (id, row.and_then(|row| row.wanted.remove(owner))) {
            self.mark(Item::Flow(id));
        }
    }

    /// Wants a meter; shared by generations as entries are.
    pub(crate) fn want_meter(&mut self, owner: FlowId, meter: MeterId, spec: MeterSpec) {
        let claims = self.wanted_meters.entry(meter).or_default();
        if claims.insert(owner, spec) != Some(spec) {
            self.mark(Item::Meter(meter));
        }
    }

    /// No longer wants a meter for this owner. It goes when no entry uses it any more.
    pub(crate) fn withdraw_meter(&mut self, owner: FlowId, meter: MeterId) {
        if let Some(claims) = self.wanted_meters.get_mut(&meter)
            && claims.remove(owner).is_some()
        {
            if claims.is_empty() {
                self.wanted_meters.remove(&meter);
            }
            self.mark(Item::Meter(meter));
        }
    }

    /// Makes these the only entries and meters wanted for the infrastructure.
    pub(crate) fn replace_infrastructure(
        &mut self,
        entries: BTreeMap<FlowKey, FlowEntry>,
        meters: &BTreeMap<MeterId, MeterSpec>,
    ) {
        let gone: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, row)| {
                row.wanted.contains(INFRASTRUCTURE) && !entries.contains_key(row.key.as_ref())
            })
            .map(|(_, row)| row.key.clone())
            .collect();
        let meters_gone: Vec<_> = self
            .wanted_meters
            .iter()
            .filter(|(meter, claims)| {
                claims.contains(INFRASTRUCTURE) && !meters.contains_key(*meter)
            })
            .map(|(meter, _)| *meter)
            .collect();
        for key in gone {
            self.withdraw(INFRASTRUCTURE, &key);
        }
        for meter in meters_gone {
            self.withdraw_meter(INFRASTRUCTURE, meter);
        }
        for (meter, spec) in meters {
            self.want_meter(INFRASTRUCTURE, *meter, *spec);
        }
        for (key, entry) in entries {
            self.want(INFRASTRUCTURE, key, entry);
        }
    }

    /// Whether another reservation wants this key.
    pub(crate) fn is_taken(&self, key: &FlowKey, by_others_than: FlowId) -> bool {
        let row = self.rows.get_by_key(key);
        row.map(|row| &row.wanted)
            .into_iter()
            .flat_map(Claims::owners)
            .any(|owner| owner.reservation != by_others_than.reservation)
    }

    /// Whether an earlier generation of the same reservation wants this key.
    pub(crate) fn is_shared(&self, key: &FlowKey, flow: FlowId) -> bool {
        let row = self.rows.get_by_key(key);
        row.map(|row| &row.wanted)
            .into_iter()
            .flat_map(Claims::owners)
            .any(|owner| owner.reservation == flow.reservation && owner != flow)
    }

    /// Whether another reservation wants this meter.
    pub(crate) fn is_meter_taken(&self, meter: MeterId, by_others_than: FlowId) -> bool {
        let claims = self.wanted_meters.get(&meter);
        claims
            .into_iter()
            .flat_map(Claims::owners)
            .any(|owner| owner.reservation != by_others_than.reservation)
    }

    /// Whether the switch holds what is wanted under this key, confirmed by a barrier.
    pub(crate) fn holds(&self, key: &FlowKey, now: Time) -> bool {
        let row = self.rows.get_by_key(key);
        self.connected && row.is_some_and(|row| !row.is_busy && self.agrees(row, now))
    }

    /// Whether the switch holds no entry of this owner under this key, confirmed by a barrier.
    pub(crate) fn is_gone(&self, key: &FlowKey, owner: FlowId) -> bool {
        let cookie = self.tag.cookie(owner);
        let is_gone =
            |row: &Row| !row.is_busy && row.held.as_ref().is_none_or(|held| held.cookie != cookie);
        self.rows.get_by_key(key).is_none_or(is_gone)
    }

    /// Whether the meter is gone, confirmed by a barrier, or belongs to others now.
    pub(crate) fn is_meter_gone(&self, meter: MeterId) -> bool {
        self.wanted_meters.contains_key(&meter)
            || !self.busy_meters.contains(&meter) && !self.held_meters.contains_key(&meter)
    }

    /// How many entries and meters are wanted.
    pub(crate) fn wanted_counts(&self) -> (usize, usize) {
        let entries = self.rows.iter().filter(|(_, row)| !row.wanted.is_empty());
        (entries.count(), self.wanted_meters.len())
    }

    /// What the entry with this key does on the switch, or will do.
    pub(crate) fn instructions(&self, key: &FlowKey, now: Time) -> Option<&[Instruction]> {
        let row = self.rows.get_by_key(key)?;
        let wanted = || entry_wanted(row, now).map(|(_, entry)| &entry.instructions);
        let held = row.held.as_ref().map(|held| &held.instructions);
        held.or_else(wanted).map(|instructions| &**instructions)
    }

    /// Everything wanted now, by key: what the switch holds once it is in step.
    #[cfg(test)]
    pub(crate) fn wanted_entries(&self, now: Time) -> BTreeMap<FlowKey, (FlowId, FlowEntry)> {
        let entry = |row: &Row| {
            let (owner, entry) = entry_wanted(row, now)?;
            Some((FlowKey::clone(&row.key), (owner, entry.clone())))
        };
        self.rows.iter().filter_map(|(_, row)| entry(row)).collect()
    }

    /// Whether nothing is under way or due, apart from what the switch refused of reservations: each is told of that. What
    /// is wanted for all of them is never given up.
    pub(crate) fn is_in_step(&self, now: Time) -> bool {
        let can_wait = |item| {
            self.is_refused(item, now) && self.owners(item).next().is_some()
                || self.is_deferred(item, now)
        };
        self.connected && self.batches.is_empty() && self.due().all(can_wait)
    }

    /// Whether the switch has refused something that is wanted for all reservations, and has not taken it since.
    pub(crate) fn lacks_infrastructure(&self) -> bool {
        let is_wanted = |item: &Item| match *item {
            Item::Meter(meter) => self.wanted_meters.contains_key(&meter),
            Item::Flow(id) => self.rows.get(id).is_some_and(|row| !row.wanted.is_empty()),
        };
        let mut refused = self.refused.keys();
        refused.any(|item| is_wanted(item) && self.owners(*item).next().is_none())
    }

    /// Whether a reading that was asked for now would be complete: nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.batches.is_empty()
    }

    /// A switch has connected and told everything it holds. Entries without our tag and meters outside our
    /// ranges are left alone; gives how many such entries there are.
    pub(crate) fn read_back(
        &mut self,
        flows: &[FlowStats],
        meters: &[MeterConfig],
        now: Time,
    ) -> usize {
        self.connected = true;
        self.infrastructure_from = now;
        self.bundles_from = Some(now);
        self.compare(flows, meters, now)
    }

    /// Until then only the entries of reservations are mended.
    pub(crate) fn defer_infrastructure(&mut self, until: Time) {
        self.infrastructure_from = until;
    }

    /// Believes what the switch says it holds, and nothing else; nothing may be under way. Everything is
    /// compared with what is wanted.
    pub(crate) fn compare(
        &mut self,
        flows: &[FlowStats],
        meters: &[MeterConfig],
        now: Time,
    ) -> usize {
        let refused = std::mem::take(&mut self.refused);
        self.forget();
        self.refused = refused;
        let mut foreign = 0;
        let mut meters_of_others = BTreeSet::new();
        for flow in flows {
            if self.tag.owner(flow.cookie).is_none() {
                foreign += 1;
                meters_of_others.extend(meter_of(&flow.instructions));
                continue;
            }
            let key = FlowKey {
                table: flow.table_id,
                priority: flow.priority,
                matching: flow.flow_match.clone(),
            };
            let held = Held::read(flow, now);
            self.use_meter(held.meter());
            let id = self.rows.row_of(key.into());
            if let Some(row) = self.rows.get_mut(id) {
                row.held = Some(held);
            }
        }
        // A meter says not whose it is. One with a number of ours that an entry of others uses is theirs, unless it is wanted:
        // to delete it would delete the entry.
        let is_ours = |meter: MeterId| {
            let is_theirs =
                meters_of_others.contains(&meter) && !self.wanted_meters.contains_key(&meter);
            is_our_meter(meter) && !is_theirs
        };
        for meter in meters.iter().filter(|meter| is_ours(meter.meter_id)) {
            self.held_meters
                .insert(meter.meter_id, MeterSpec::of(meter.flags, &meter.bands));
        }
        self.due_flows = self.rows.iter().map(|(id, _)| id).collect();
        self.sorted = self.due_flows.len();
        self.rows.iter_mut().for_each(|row| row.is_due = true);
        let meters = self.wanted_meters.keys().chain(self.held_meters.keys());
        self.due_meters = meters.copied().collect();
        foreign
    }

    /// The entries of ours that the switch holds: key, owner, instructions.
    pub(crate) fn held_entries(&self) -> impl Iterator<Item = (&FlowKey, FlowId, &[Instruction])> {
        self.rows.iter().filter_map(|(_, row)| {
            let held = row.held.as_ref()?;
            let owner = self.tag.owner(held.cookie)?;
            Some((row.key.as_ref(), owner, held.instructions.as_ref()))
        })
    }

    /// The connection is gone, and with it what we believe.
    pub(crate) fn disconnected(&mut self) {
        self.forget();
        self.unheeded.clear();
        self.connected = false;
    }

    fn forget(&mut self) {
        for row in self.rows.iter_mut() {
            row.held = None;
            row.is_busy = false;
            row.is_due = false;
        }
        self.held_meters.clear();
        self.meter_users.clear();
        self.meters_going.clear();
        self.due_flows.clear();
        self.sorted = 0;
        self.due_meters.clear();
        self.deferred.clear();
        self.busy_meters.clear();
        self.batches.clear();
        self.refused.clear();
        self.renewals.clear();
    }

    /// Sends what differs, as much as may be under way.
    pub(crate) fn flush(&mut self, now: Time, outlet: &mut impl Outlet) {
        if !self.connected {
            return;
        }
        if self.infrastructure_from <= now {
            for item in std::mem::take(&mut self.deferred) {
                self.mark(item);
            }
        }
        while self.renewals.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, row)) = self.renewals.pop_first() {
                self.mark(Item::Flow(row));
            }
        }
        while self.batches.len() < MAX_BATCHES {
            let differences = self.next_differences(now);
            if differences.is_empty() {
                break;
            }
            self.send_batch(differences, outlet, now);
        }
    }

    /// When [`Self::flush`] has something to do that no answer of the switch will bring about.
    pub(crate) fn next_deadline(&self, now: Time) -> Option<Time> {
        if !self.connected {
            return None;
        }
        let renewal = self.renewals.first().map(|(at, _)| *at);
        let retry = self.refused.values().copied().filter(|at| now < *at).min();
        let infrastructure = (now < self.infrastructure_from).then_some(self.infrastructure_from);
        [renewal, retry, infrastructure].into_iter().flatten().min()
    }

    /// The switch refused a message. Tells whether it was one of these.
    pub(crate) fn error(&mut self, xid: u32, reason: &str) -> bool {
        for batch in self.batches.values_mut() {
            let is_part = batch.sent.iter().any(|(sent, ..)| *sent == xid);
            if is_part {
                batch.errors.insert(xid, reason.to_owned());
            }
            match &mut batch.bundle {
                Some(bundle) if bundle.open == xid => bundle.fate = Fate::Unsupported,
                Some(bundle) if is_part || bundle.commit == xid => {
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

    /// The switch says that an entry is gone. Gives its owner if that was not our doing.
    pub(crate) fn removed(&mut self, gone: &FlowRemoved) -> Option<FlowId> {
        let key = FlowKey {
            table: gone.table_id,
            priority: gone.priority,
            matching: gone.flow_match.clone(),
        };
        let id = self.rows.find(&key)?;
        let row = self.rows.get(id)?;
        let is_known = row
            .held
            .as_ref()
            .is_some_and(|held| held.cookie == gone.cookie);
        if !is_known || row.is_busy {
            return None;
        }
        self.release(id);
        self.mark(Item::Flow(id));
        self.tag.owner(gone.cookie)
    }

    fn mark(&mut self, item: Item) {
        match item {
            Item::Meter(meter) => {
                self.due_meters.insert(meter);
            }
            Item::Flow(id) => {
                if let Some(row) = self.rows.get_mut(id)
                    && !std::mem::replace(&mut row.is_due, true)
                {
                    self.due_flows.push(id);
                }
            }
        }
    }

    fn due(&self) -> impl Iterator<Item = Item> + '_ {
        let meters = self.due_meters.iter().copied().map(Item::Meter);
        meters.chain(self.due_flows.iter().copied().map(Item::Flow))
    }

    fn is_due(&self, item: Item) -> bool {
        match item {
            Item::Meter(meter) => self.due_meters.contains(&meter),
            Item::Flow(id) => self.rows.get(id).is_some_and(|row| row.is_due),
        }
    }

    fn set_busy(&mut self, item: Item, is_busy: bool) {
        match item {
            Item::Flow(id) => {
                if let Some(row) = self.rows.get_mut(id) {
                    row.is_busy = is_busy;
                }
            }
            Item::Meter(meter) if is_busy => {
                self.busy_meters.insert(meter);
            }
            Item::Meter(meter) => {
                self.busy_meters.remove(&meter);
            }
        }
    }

    fn is_busy(&self, item: Item) -> bool {
        match item {
            Item::Flow(id) => self.rows.get(id).is_some_and(|row| row.is_busy),
            Item::Meter(meter) => self.busy_meters.contains(&meter),
        }
    }

    /// Where the item stands among others: meters by number, then entries by key.
    fn place(&self, item: Item) -> (Option<Arc<FlowKey>>, Item) {
        match item {
            Item::Meter(_) => (None, item),
            Item::Flow(id) => (self.rows.get(id).map(|row| row.key.clone()), item),
        }
    }

    fn meter_wanted(&self, meter: MeterId) -> Option<MeterSpec> {
        self.wanted_meters
            .get(&meter)?
            .highest()
            .map(|(_, spec)| *spec)
    }

    fn is_refused(&self, item: Item, now: Time) -> bool {
        self.refused.get(&item).is_some_and(|until| now < *until)
    }

    /// Whether the item waits for [`Self::infrastructure_from`].
    fn is_deferred(&self, item: Item, now: Time) -> bool {
        now < self.infrastructure_from
            && self.owners(item).next().is_none()
            && match item {
                Item::Meter(meter) => meter < super::entry::reservation_meter(0),
                Item::Flow(_) => true,
            }
    }

    /// The reservations that want the item or have it on the switch; one may come twice.
    fn owners(&self, item: Item) -> impl Iterator<Item = FlowId> + '_ {
        let (meter, row) = match item {
            Item::Meter(meter) => (self.wanted_meters.get(&meter), None),
            Item::Flow(id) => (None, self.rows.get(id)),
        };
        let held = row.and_then(|row| self.tag.owner(row.held.as_ref()?.cookie));
        let wanted = row.map(|row| row.wanted.owners()).into_iter().flatten();
        let meter = meter.map(Claims::owners).into_iter().flatten();
        let owners = wanted.chain(held).chain(meter);
        owners.filter(|owner| *owner != INFRASTRUCTURE)
    }

    /// For whom something was put on the switch.
    fn sender(&self, item: Item, sent: &Sent) -> Option<FlowId> {
        match (item, sent) {
            (_, Sent::PutFlow(held)) => self.tag.owner(held.cookie),
            (Item::Meter(meter), Sent::PutMeter(_)) => {
                Some(self.wanted_meters.get(&meter)?.highest()?.0)
            }
            _ => None,
        }
    }

    /// Whether the switch holds this entry as it is wanted. A hard time-out may be up to the grace off; one
    /// that cannot be as long as wanted is right until half of it is over.
    fn agrees(&self, row: &Row, now: Time) -> bool {
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

    /// Up to a batch of differences, and nothing that is no longer one remains due.
    fn next_differences(&mut self, now: Time) -> Vec<(Item, Difference)> {
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
    fn settle(&mut self, item: Item) {
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

    fn difference(&self, item: Item, meters_coming: &BTreeSet<MeterId>, now: Time) -> Step {
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

    fn send_batch(
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

    fn release(&mut self, id: RowId) {
        let held = self.rows.get_mut(id).and_then(|row| row.held.take());
        self.leave_meter(held.and_then(|held| held.meter()));
    }

    fn use_meter(&mut self, meter: Option<MeterId>) {
        if let Some(meter) = meter {
            *self.meter_users.entry(meter).or_default() += 1;
        }
    }

    fn leave_meter(&mut self, meter: Option<MeterId>) {
        let Some(meter) = meter else { return };
        if let Some(users) = self.meter_users.get_mut(&meter) {
            *users = users.saturating_sub(1);
            if *users == 0 {
                self.meter_users.remove(&meter);
                self.mark(Item::Meter(meter));
            }
        }
    }
}

/// What has to be done about an item.
enum Step {
    Settled,
    /// For another item first.
    Wait,
    Send(Difference),
}

enum Difference {
    PutMeter(MeterCommand, MeterSpec),
    DeleteMeter,
    PutFlow { held: Held, timeout_s: u16 },
    DeleteFlow,
}

impl Held {
    fn read(flow: &FlowStats, now: Time) -> Self {
        let age = Duration::new(
            u64::from(flow.duration_sec),
            flow.duration_nsec.min(999_999_999),
        );
        let expires = match (flow.hard_timeout_s, flow.idle_timeout_s) {
            (0, 0) => None,
            (hard, 0) => Some(now.plus(Duration::from_secs(u64::from(hard)).saturating_sub(age))),
            // Ours never have an idle time-out: expired long ago, so that it is put right.
            (_, _) => Some(Time::default()),
        };
        Self {
            cookie: flow.cookie,
            instructions: Instruction::canonical(flow.instructions.clone()).into(),
            expires,
        }
    }
}

/// What counts of what is wanted.
fn entry_wanted(row: &Row, now: Time) -> Option<(FlowId, &FlowEntry)> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use rust_openflow::{FlowCommand, Match, PortNo, TableId};

    const TAG: OwnerTag = OwnerTag(0x50);

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    fn key(number: u32) -> FlowKey {
        FlowKey {
            table: TableId(0),
            priority: 1,
            matching: Match::new().in_port(PortNo(number)),
        }
    }

    fn owner(reservation: u64, generation: u16) -> FlowId {
        FlowId {
            reservation,
            generation,
        }
    }

    fn reconciler() -> Reconciler {
        let mut reconciler = Reconciler::new(TAG, Duration::from_secs(10), Duration::from_secs(5));
        reconciler.read_back(&[], &[], at(0));
        reconciler
    }

    /// What a switch does with a bundle.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    enum Bundles {
        #[default]
        Applied,
        /// For one of its messages.
        Refused,
        Unsupported,
        /// As vendors' messages may be.
        Ignored,
    }

    /// A switch that does what it is told at once, and answers when asked to.
    #[derive(Default)]
    struct Model {
        xid: u32,
        bundles: Bundles,
        bundles_seen: usize,
        /// Committed.
        committed: Vec<u32>,
        errors: Vec<u32>,
        flows: BTreeMap<FlowKey, FlowMod>,
        meters: BTreeMap<MeterId, MeterMod>,
        barriers: Vec<u32>,
        sent: usize,
    }

    impl Outlet for Model {
        fn meter(&mut self, meter: MeterMod) -> u32 {
            self.sent += 1;
            let existed = self.meters.contains_key(&meter.meter_id);
            match meter.command {
                MeterCommand::DELETE => {
                    let uses = Instruction::Meter(meter.meter_id);
                    assert!(
                        !self
                            .flows
                            .values()
                            .any(|flow| flow.instructions.contains(&uses)),
                        "would take flows with it"
                    );
                    assert!(existed, "deletes what is not there");
                    self.meters.remove(&meter.meter_id);
                }
                command => {
                    assert_eq!(
                        existed,
                        command == MeterCommand::MODIFY,
                        "METER_EXISTS or UNKNOWN_METER"
                    );
                    self.meters.insert(meter.meter_id, meter);
                }
            }
            self.barrier_free_xid()
        }

        fn flow(&mut self, flow: FlowMod) -> u32 {
            self.sent += 1;
            let key = FlowKey {
                table: flow.table_id,
                priority: flow.priority,
                matching: flow.flow_match.clone(),
            };
            if flow.command == FlowCommand::DELETE_STRICT {
                self.flows
                    .retain(|at, old| *at != key || old.cookie != flow.cookie);
            } else {
                let used = flow
                    .instructions
                    .iter()
                    .find_map(|instruction| match instruction {
                        Instruction::Meter(meter) => Some(*meter),
                        _ => None,
                    });
                assert!(
                    used.is_none_or(|meter| self.meters.contains_key(&meter)),
                    "INVALID_METER"
                );
                self.flows.insert(key, flow);
            }
            self.barrier_free_xid()
        }

        fn bundle(&mut self, flows: Vec<FlowMod>) -> SentBundle {
            self.bundles_seen += 1;
            let open = self.barrier_free_xid();
            let applied = self.bundles == Bundles::Applied;
            let xids = flows.into_iter().map(|flow| match applied {
                true => self.flow(flow),
                false => self.barrier_free_xid(),
            });
            let xids: Vec<u32> = xids.collect();
            let commit = self.barrier_free_xid();
            match self.bundles {
                Bundles::Applied => self.committed.push(commit),
                Bundles::Refused => self.errors.push(commit),
                Bundles::Unsupported => {
                    self.errors.push(open);
                    self.errors.extend(&xids);
                    self.errors.push(commit);
                }
                Bundles::Ignored => {}
            }
            SentBundle {
                open,
                flows: xids,
                commit,
            }
        }

        fn barrier(&mut self) -> u32 {
            let xid = self.barrier_free_xid();
            self.barriers.push(xid);
            xid
        }
    }

    impl Model {
        fn answer(&mut self, reconciler: &mut Reconciler, now: Time) {
            for xid in self.errors.drain(..) {
                assert!(reconciler.error(xid, "refused"));
            }
            for xid in self.committed.drain(..) {
                reconciler.reply(xid);
            }
            for xid in self.barriers.drain(..) {
                // Those between meters and flow entries confirm nothing by themselves.
                let confirmed = reconciler.barrier(xid, now).unwrap_or_default();
                assert_eq!(confirmed.refused, [], "no entry by itself");
            }
        }

        fn barrier_free_xid(&mut self) -> u32 {
            self.xid += 1;
            self.xid
        }

        fn answer_all(&mut self, reconciler: &mut Reconciler, now: Time) {
            while !self.barriers.is_empty() {
                self.answer(reconciler, now);
                reconciler.flush(now, self);
            }
        }
    }

    fn paid_entry(meter: u32, action: u32) -> FlowEntry {
        let output = Instruction::apply(rust_openflow::Action::output(PortNo(action)));
        FlowEntry::new(vec![Instruction::Meter(MeterId(0x1_0000 + meter)), output])
    }

    #[test]
    fn a_time_out_that_does_not_fit_is_renewed_when_half_of_it_is_over() {
        let (mut reconciler, mut switch) = (reconciler(), Model::default());
        let entry = FlowEntry {
            until: Some(at(200_000)),
            ..FlowEntry::new(vec![])
        };
        reconciler.want(owner(1, 0), key(1), entry);
        let mut armed = Vec::new();
        let mut now = at(0);
        while now < at(200_000) {
            reconciler.flush(now, &mut switch);
            let before = switch.sent;
            switch.answer_all(&mut reconciler, now);
            assert_eq!(switch.sent, before);
            armed.push((now.millis() / 1_000, switch.flows[&key(1)].hard_timeout_s));
            let Some(next) = reconciler.next_deadline(now) else {
                break;
            };
            assert!(now < next, "time goes on");
            now = next;
        }
        let times: Vec<u64> = armed.iter().map(|(at, _)| *at).collect();
        assert_eq!(
            times,
            [0, 32_767, 65_535, 98_302, 131_070, 163_837],
            "{armed:?}"
        );
        let (last, timeout) = armed.last().unwrap();
        assert!(last + u64::from(*timeout) >= 200_000, "{armed:?}");
    }

    #[test]
    fn what_the_switch_refuses_is_sent_again_later_and_not_before() {
        let (mut reconciler, mut switch) = (reconciler(), Model::default());
        reconciler.want(owner(1, 0), key(1), FlowEntry::new(vec![]));
        reconciler.flush(at(0), &mut switch);
        assert!(reconciler.error(1, "TABLE_FULL"));
        let confirmed = reconciler.barrier(2, at(0)).unwrap();
        assert_eq!(confirmed.refused, [(owner(1, 0), "TABLE_FULL".to_owned())]);
        assert!(!reconciler.holds(&key(1), at(0)));
        reconciler.flush(at(4), &mut switch);
        assert_eq!(switch.sent, 1);
        assert_eq!(reconciler.next_deadline(at(4)), Some(at(5)));
        reconciler.flush(at(5), &mut switch);
        assert_eq!(switch.sent, 2);
    }

    #[test]
    fn after_a_refused_bundle_entries_go_one_by_one_and_later_in_bundles_again() {
        let (mut reconciler, mut switch) = (reconciler(), Model::default());
        let want = |reconciler: &mut Reconciler, numbers: std::ops::Range<u32>| {
            for number in numbers {
                reconciler.want(owner(1, 0), key(number), FlowEntry::new(vec![]));
            }
        };
        switch.bundles = Bundles::Refused;
        want(&mut reconciler, 0..3);
        reconciler.flush(at(0), &mut switch);
        assert_eq!((switch.bundles_seen, switch.flows.len()), (1, 0));
        switch.answer_all(&mut reconciler, at(0));
        assert_eq!((switch.bundles_seen, switch.flows.len()), (1, 3));
        assert!(reconciler.is_in_step(at(0)));
        switch.bundles = Bundles::Unsupported;
        want(&mut reconciler, 3..6);
        reconciler.flush(at(5), &mut switch);
        switch.answer_all(&mut reconciler, at(5));
        assert_eq!((switch.bundles_seen, switch.flows.len()), (2, 6));
        want(&mut reconciler, 6..9);
        reconciler.flush(at(100), &mut switch);
        assert_eq!((switch.bundles_seen, switch.flows.len()), (2, 9));
    }

    #[test]
    fn what_is_wanted_is_sent_in_the_order_in_which_it_was_wanted_first() {
        let (mut reconciler, mut switch) = (reconciler(), Model::default());
        let numbers = |differences: Vec<(Item, Difference)>, reconciler: &Reconciler| {
            let keys = differences
                .iter()
                .map(|(item, _)| reconciler.place(*item).0.unwrap());
            keys.map(|it| FlowKey::clone(&it)).collect::<Vec<_>>()
        };
        let want = |reconciler: &mut Reconciler, number| {
            reconciler.want(owner(1, 0), key(number), FlowEntry::new(vec![]));
        };
        let first = (MAX_BATCHES * BATCH_ITEMS) as u32;
        for number in 1_000..1_000 + first + 4 {
            want(&mut reconciler, number);
        }
        reconciler.flush(at(0), &mut switch);
        for number in [5, 90_000, 1_000 + 2 * first, 3, 80_000] {
            want(&mut reconciler, number);
        }
        let sent = reconciler.next_differences(at(0));
        let left = 1_000 + first..1_000 + first + 4;
        let late = [5, 90_000, 1_000 + 2 * first, 3, 80_000];
        let expected: Vec<_> = left.chain(late).map(key).collect();
        assert_eq!(numbers(sent, &reconciler), expected);
    }

    #[test]
    fn no_more_than_so_many_batches_are_under_way() {
        let (mut reconciler, mut switch) = (reconciler(), Model::default());
        for number in 0..10_000 {
            reconciler.want(owner(1, 0), key(number), FlowEntry::new(vec![]));
        }
        reconciler.flush(at(0), &mut switch);
        assert_eq!(
            (switch.barriers.len(), switch.sent),
            (MAX_BATCHES, MAX_BATCHES * BATCH_ITEMS)
        );
        switch.answer_all(&mut reconciler, at(0));
        assert_eq!(switch.flows.len(), 10_000);
        assert!(reconciler.is_in_step(at(0)));
    }

    #[derive(Clone, Debug)]
    enum Change {
        Want {
            owner: FlowId,
            key: u32,
            meter: u32,
            action: u32,
            rate: u32,
        },
        Withdraw {
            owner: FlowId,
            key: u32,
        },
        Flush,
        Answer,
        Bundles(Bundles),
        Restart,
    }

    fn change() -> impl Strategy<Value = Change> {
        let owner = || {
            (1_u64..4, 0_u16..3)
                .prop_map(|(reservation, generation)| owner(reservation, generation))
        };
        prop_oneof![
            4 => (owner(), 0_u32..5, 1_u32..3, 1_u32..3).prop_map(|(owner, key, action, rate)| {
                // As in life, a reservation has one meter.
                let meter = u32::try_from(owner.reservation).unwrap();
                Change::Want { owner, key, meter, action, rate }
            }),
            3 => (owner(), 0_u32..5).prop_map(|(owner, key)| Change::Withdraw { owner, key }),
            2 => Just(Change::Flush),
            2 => Just(Change::Answer),
            1 => Just(Change::Restart),
            1 => prop_oneof![
                Just(Bundles::Applied),
                Just(Bundles::Refused),
                Just(Bundles::Unsupported),
                Just(Bundles::Ignored),
            ]
            .prop_map(Change::Bundles),
        ]
    }

    proptest! {
        /// [`Model`] panics at every order that a switch would refuse.
        #[test]
        fn whatever_changes_and_whenever_barriers_come_the_switch_ends_up_with_what_is_wanted(
            changes in proptest::collection::vec(change(), 0..60),
        ) {
            let (mut reconciler, mut switch) = (reconciler(), Model::default());
            let mut meter_claims: BTreeMap<(FlowId, MeterId), BTreeSet<u32>> = BTreeMap::new();
            for change in changes {
                match change {
                    Change::Want { owner, key: number, meter, action, rate } => {
                        let spec = MeterSpec::Kbps { rate, burst: 1 };
                        let meter_id = MeterId(0x1_0000 + meter);
                        reconciler.want_meter(owner, meter_id, spec);
                        meter_claims.entry((owner, meter_id)).or_default().insert(number);
                        reconciler.want(owner, key(number), paid_entry(meter, action));
                    }
                    Change::Withdraw { owner, key: number } => {
                        reconciler.withdraw(owner, &key(number));
                        for ((of, meter), keys) in &mut meter_claims {
                            if *of == owner && keys.remove(&number) && keys.is_empty() {
                                reconciler.withdraw_meter(owner, *meter);
                            }
                        }
                    }
                    Change::Flush => reconciler.flush(at(0), &mut switch),
                    Change::Answer => switch.answer(&mut reconciler, at(0)),
                    Change::Bundles(bundles) => switch.bundles = bundles,
                    Change::Restart => {
                        reconciler.disconnected();
                        switch = Model { bundles: switch.bundles, ..Model::default() };
                        reconciler.read_back(&[], &[], at(0));
                    }
                }
            }
            reconciler.flush(at(0), &mut switch);
            switch.answer_all(&mut reconciler, at(0));
            prop_assert!(reconciler.is_in_step(at(0)));
            let wanted: Vec<(FlowKey, u64)> = reconciler
                .wanted_entries(at(0))
                .into_iter()
                .map(|(key, (owner, _))| (key, TAG.cookie(owner)))
                .collect();
            let held: Vec<(FlowKey, u64)> = switch.flows.iter().map(|(key, flow)| (key.clone(), flow.cookie)).collect();
            prop_assert_eq!(held, wanted);
            let wanted: BTreeMap<MeterId, MeterSpec> =
                reconciler.wanted_meters.keys().map(|meter| (*meter, reconciler.meter_wanted(*meter).unwrap())).collect();
            let held: BTreeMap<MeterId, MeterSpec> = switch
                .meters
                .iter()
                .map(|(id, meter)| (*id, MeterSpec::of(meter.flags, &meter.bands).unwrap()))
                .collect();
            prop_assert_eq!(held, wanted);
        }
    }
}
