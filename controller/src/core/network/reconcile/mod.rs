//! Brings one switch to what is wanted on it, and nothing more.
//!
//! Level-triggered: callers say what is *wanted*, the switch's answers say what is *held*, and
//! only the difference goes out. So it does not matter whether an entry is missing because it is new,
//! because the switch was restarted, or because somebody removed it by hand.
//!
//! One difference is sent as one batch: meters, barrier, flow entries, barrier; meter deletions follow
//! once a barrier has confirmed that nothing uses the meter any more (deleting a meter deletes its flow
//! entries silently). Flow entries are in an atomic bundle where the switch has them: no packet sees half of a difference.
//! A bundle is applied whole or not at all, so after a refusal its entries are sent one by one. Errors are matched to what
//! caused them by transaction id. An item that is in a batch is not sent again before that batch is confirmed, and at most
//! [`MAX_BATCHES`] are under way.

mod batch;
mod difference;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use payflow_qos::Time;
use rust_openflow::{FlowRemoved, FlowStats, Instruction, MeterConfig, MeterId};

use batch::Batch;
pub(crate) use batch::{Confirmed, Outlet, SentBundle};
use difference::entry_wanted;

use super::{
    FlowId,
    claims::Claims,
    cookie::{INFRASTRUCTURE, OwnerTag},
    entry::{FlowEntry, FlowKey, MeterSpec, is_our_meter, meter_of},
    rows::{Held, Row, RowId, Rows},
};

/// Batches under way at once. More waits here, where it can still change.
const MAX_BATCHES: usize = 4;

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
    /// Meters that entries of others use. One that is wanted as well is ours as long as it is.
    meters_of_others: BTreeSet<MeterId>,
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
            meters_of_others: BTreeSet::new(),
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
    pub(crate) fn want(
        &mut self,
        owner: FlowId,
        key: impl Into<Arc<FlowKey>>,
        entry: FlowEntry,
    ) -> RowId {
        let id = self.rows.row_of(key.into());
        if let Some(row) = self.rows.get_mut(id)
            && row.wanted.get(owner) != Some(&entry)
        {
            row.wanted.insert(owner, entry);
            self.mark(Item::Flow(id));
        }
        id
    }

    /// No longer wants an entry for this owner.
    pub(crate) fn withdraw(&mut self, owner: FlowId, key: &FlowKey) {
        if let Some(id) = self.rows.find(key) {
            self.withdraw_from(owner, id);
        }
    }

    fn withdraw_from(&mut self, owner: FlowId, id: RowId) {
        let row = self.rows.get_mut(id);
        if row.and_then(|row| row.wanted.remove(owner)).is_some() {
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
        let meters_gone: Vec<_> = self
            .wanted_meters
            .iter()
            .filter(|(meter, claims)| {
                claims.contains(INFRASTRUCTURE) && !meters.contains_key(*meter)
            })
            .map(|(meter, _)| *meter)
            .collect();
        for meter in meters_gone {
            self.withdraw_meter(INFRASTRUCTURE, meter);
        }
        for (meter, spec) in meters {
            self.want_meter(INFRASTRUCTURE, *meter, *spec);
        }
        let want = |(key, entry)| self.want(INFRASTRUCTURE, key, entry);
        let mut stays: Vec<RowId> = entries.into_iter().map(want).collect();
        let rows = self.rows.iter();
        let wanted = rows.filter(|(_, row)| row.wanted.contains(INFRASTRUCTURE));
        let wanted: Vec<RowId> = wanted.map(|(id, _)| id).collect();
        // All that stays is wanted: nothing is gone if that is as much.
        if stays.len() < wanted.len() {
            stays.sort();
            for id in wanted {
                if stays.binary_search(&id).is_err() {
                    self.withdraw_from(INFRASTRUCTURE, id);
                }
            }
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
            self.is_refused(item, now) && !self.concerns_all(item) || self.is_deferred(item, now)
        };
        self.connected && self.batches.is_empty() && self.due().all(can_wait)
    }

    /// Whether the switch has refused something that concerns all reservations, and has not taken it since.
    pub(crate) fn lacks_infrastructure(&self) -> bool {
        self.refused.keys().any(|item| self.concerns_all(*item))
    }

    /// Whether all reservations depend on it. A meter that nobody wants any more harms none.
    fn concerns_all(&self, item: Item) -> bool {
        let is_wanted = match item {
            Item::Meter(meter) => self.wanted_meters.contains_key(&meter),
            Item::Flow(_) => true,
        };
        is_wanted && self.owners(item).next().is_none()
    }

    /// Whether a reading that was asked for now would be complete: nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.batches.is_empty()
    }

    /// A switch has connected and told everything it holds. Entries without our tag and meters outside our
    /// ranges are left alone; gives how many such entries there are.
    pub(crate) fn read_back(
        &mut self,
        flows: Vec<FlowStats>,
        meters: &[MeterConfig],
        now: Time,
    ) -> usize {
        self.connected = true;
        self.infrastructure_from = now;
        self.bundles_from = Some(now);
        self.compare(flows, Some(meters), now)
    }

    /// Until then only the entries of reservations are mended.
    pub(crate) fn defer_infrastructure(&mut self, until: Time) {
        self.infrastructure_from = until;
    }

    /// Believes what the switch says it holds, and nothing else; nothing may be under way. Everything is
    /// compared with what is wanted. Where it says nothing of its meters, they are what they were.
    pub(crate) fn compare(
        &mut self,
        flows: Vec<FlowStats>,
        meters: Option<&[MeterConfig]>,
        now: Time,
    ) -> usize {
        let refused = std::mem::take(&mut self.refused);
        let believed = std::mem::take(&mut self.held_meters);
        self.forget();
        self.refused = refused;
        let mut foreign = 0;
        for flow in flows {
            if self.tag.owner(flow.cookie).is_none() {
                foreign += 1;
                self.meters_of_others.extend(meter_of(&flow.instructions));
                continue;
            }
            let (key, held) = Held::read(flow, now);
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
                self.meters_of_others.contains(&meter) && !self.wanted_meters.contains_key(&meter);
            is_our_meter(meter) && !is_theirs
        };
        let told = meters.map(|meters| {
            let ours = meters.iter().filter(|meter| is_ours(meter.meter_id));
            ours.map(|it| (it.meter_id, MeterSpec::of(it.flags, &it.bands)))
                .collect()
        });
        self.held_meters = told.unwrap_or(believed);
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
        self.meters_of_others.clear();
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

impl Held {
    /// What a switch says it holds, and under which key.
    fn read(flow: FlowStats, now: Time) -> (FlowKey, Self) {
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
        let key = FlowKey {
            table: flow.table_id,
            priority: flow.priority,
            matching: flow.flow_match,
        };
        let held = Self {
            cookie: flow.cookie,
            instructions: Instruction::canonical(flow.instructions).into(),
            expires,
        };
        (key, held)
    }
}
