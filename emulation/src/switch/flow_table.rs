//! The flow tables: entries by priority and match, and what flow-mods do to them.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use rust_openflow::{
    Action, AggregateStats, ErrorCode, FlowFilter, FlowFlags, FlowMod, FlowRemoved,
    FlowRemovedReason, FlowStats, GroupId, Instruction, Match, MeterId, PortNo, TableId,
    TableStats,
};

use super::clock::split;
use super::pattern::{Hint, Key, Pattern};

/// Tables a switch says it has: 0 to 253.
pub(super) const N_TABLES: u8 = 254;

/// An entry of a flow table.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) table_id: TableId,
    pub(super) priority: u16,
    pub(super) flow_match: Match,
    pub(super) cookie: u64,
    pub(super) flags: FlowFlags,
    /// In the order of execution.
    pub(super) instructions: Arc<[Instruction]>,
    pub(super) idle_timeout_s: u16,
    pub(super) hard_timeout_s: u16,
    pattern: Pattern,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) created_at: Duration,
    /// When it was put in or last modified: hard time-outs count from here.
    pub(super) modified_at: Duration,
    used_at: Duration,
}

#[derive(Clone, Debug, Default)]
struct Table {
    /// Highest priority first, and by match within a priority: the order in which a packet meets
    /// them.
    rows: Vec<Row>,
    lookups: u64,
    matched: u64,
}

#[derive(Clone, Debug)]
struct Row {
    hint: Hint,
    entry: Arc<Entry>,
}

/// All flow tables of a switch. A clone shares what neither has changed since: one is made for every bundle, so that it
/// can be taken back.
#[derive(Clone, Debug, Default)]
pub(super) struct FlowTables {
    /// By number, up to the highest that was ever needed.
    tables: Vec<Arc<Table>>,
    /// No entry's time is over before; packets may have kept it longer.
    earliest_expiry: Option<Duration>,
}

impl FlowTables {
    /// ADD: an entry of the same match and priority is replaced silently. Its idle time goes on, and
    /// so do its counters unless RESET_COUNTS is set. `room` is how many entries a table may have.
    pub(super) fn add(
        &mut self,
        wanted: &FlowMod,
        pattern: Pattern,
        room: usize,
        now: Duration,
    ) -> Result<(), ErrorCode> {
        let mut entry = Entry::new(wanted, pattern, now);
        let table = self.table(wanted.table_id);
        let place = table.place(entry.priority, &entry.flow_match);
        match place.ok().and_then(|at| table.rows.get(at)) {
            Some(Row { entry: old, .. }) => {
                entry.used_at = old.used_at;
                if !wanted.flags.contains(FlowFlags::RESET_COUNTS) {
                    (entry.packets, entry.bytes) = (old.packets, old.bytes);
                }
            }
            None => {
                if wanted.flags.contains(FlowFlags::CHECK_OVERLAP) && table.overlaps(&entry) {
                    return Err(ErrorCode::OVERLAP);
                }
                if table.rows.len() >= room {
                    return Err(ErrorCode::TABLE_FULL);
                }
            }
        }
        let deadline = entry.deadline();
        let row = Row {
            hint: entry.pattern.hint(),
            entry: Arc::new(entry),
        };
        match place {
            Ok(at) => table.rows[at] = row,
            Err(at) => table.rows.insert(at, row),
        }
        self.expect(deadline);
        Ok(())
    }

    /// MODIFY and MODIFY_STRICT: other instructions; cookie, time-outs and flags stay. The hard
    /// time-out starts anew and the idle time goes on; so do the counters unless RESET_COUNTS is
    /// set.
    pub(super) fn modify(&mut self, selection: &Selection, wanted: &FlowMod, now: Duration) {
        let instructions = in_order(&wanted.instructions);
        // A deadline that moves only moves later.
        for entry in self.selected_mut(selection) {
            entry.instructions = Arc::clone(&instructions);
            entry.modified_at = now;
            if wanted.flags.contains(FlowFlags::RESET_COUNTS) {
                (entry.packets, entry.bytes) = (0, 0);
            }
        }
    }

    /// DELETE and DELETE_STRICT: the entries that went.
    pub(super) fn delete(&mut self, selection: &Selection) -> Vec<Entry> {
        self.extract(|entry| selection.takes(entry))
    }

    /// The entries that used these meters; they go with them.
    pub(super) fn delete_users(&mut self, meters: &[MeterId]) -> Vec<Entry> {
        self.extract(|entry| entry.meter().is_some_and(|meter| meters.contains(&meter)))
    }

    /// The entries that referred to these groups; they go with them.
    pub(super) fn delete_referring(&mut self, groups: &[GroupId]) -> Vec<Entry> {
        self.extract(|entry| entry.groups().any(|group| groups.contains(&group)))
    }

    /// The entries whose time is over, with the reason.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<(Entry, FlowRemovedReason)> {
        if self.earliest_expiry.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let over = self.extract(|entry| entry.deadline().is_some_and(|(at, _)| at <= now));
        self.look_for_deadlines();
        let with_reason = |entry: Entry| {
            let reason = entry
                .deadline()
                .map_or(FlowRemovedReason::HARD_TIMEOUT, |(_, reason)| reason);
            (entry, reason)
        };
        over.into_iter().map(with_reason).collect()
    }

    /// When the next entry's time is over, or earlier if packets have kept it longer.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.earliest_expiry
    }

    fn expect(&mut self, deadline: Option<(Duration, FlowRemovedReason)>) {
        let both = deadline.map(|(at, _)| at).into_iter();
        self.earliest_expiry = both.chain(self.earliest_expiry).min();
    }

    fn look_for_deadlines(&mut self) {
        let deadlines = self.all().filter_map(Entry::deadline);
        self.earliest_expiry = deadlines.map(|(at, _)| at).min();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn table(&mut self, id: TableId) -> &mut Table {
        let at = usize::from(id.0);
        if self.tables.len() <= at {
            self.tables.resize_with(at + 1, Arc::default);
        }
        Arc::make_mut(&mut self.tables[at])
    }

    pub(super) fn users_of(&self, meter: MeterId) -> u32 {
        let users = self.all().filter(|entry| entry.meter() == Some(meter));
        u32::try_from(users.count()).unwrap_or(u32::MAX)
    }

    /// How often entries refer to a group.
    pub(super) fn references_to(&self, group: GroupId) -> u32 {
        let all = self.all().flat_map(Entry::groups);
        let references = all.filter(|other| *other == group).count();
        u32::try_from(references).unwrap_or(u32::MAX)
    }

    /// The entry that would take a packet.
    pub(super) fn find(&self, table: TableId, key: &Key) -> Option<&Entry> {
        let table = self.tables.get(usize::from(table.0))?;
        let row = table.rows.iter().find(|row| row.takes(key))?;
        Some(&row.entry)
    }

    /// The entry that takes a packet, its counters moved on.
    pub(super) fn look_up(
        &mut self,
        table: TableId,
        key: &Key,
        frame_bytes: usize,
        now: Duration,
    ) -> Option<&Entry> {
        let table = self.table(table);
        table.lookups += 1;
        let row = table.rows.iter_mut().find(|row| row.takes(key))?;
        let entry = Arc::make_mut(&mut row.entry);
        table.matched += 1;
        entry.packets += 1;
        entry.bytes += u64::try_from(frame_bytes).unwrap_or(u64::MAX);
        entry.used_at = now;
        Some(entry)
    }

    pub(super) fn stats(&self, selection: &Selection, now: Duration) -> Vec<FlowStats> {
        self.selected(selection)
            .map(|entry| entry.stats(now))
            .collect()
    }

    pub(super) fn aggregate(&self, selection: &Selection) -> AggregateStats {
        let mut sums = AggregateStats::default();
        for entry in self.selected(selection) {
            sums.flow_count += 1;
            sums.packet_count += entry.packets;
            sums.byte_count += entry.bytes;
        }
        sums
    }

    pub(super) fn table_stats(&self) -> Vec<TableStats> {
        let stats = |number: u8| {
            let table = self.tables.get(usize::from(number));
            let entries = table.map_or(0, |table| table.rows.len());
            TableStats {
                table_id: TableId(number),
                active_count: u32::try_from(entries).unwrap_or(u32::MAX),
                lookup_count: table.map_or(0, |table| table.lookups),
                matched_count: table.map_or(0, |table| table.matched),
            }
        };
        (0..N_TABLES).map(stats).collect()
    }

    pub(super) fn has_any(&self, selection: &Selection) -> bool {
        self.selected(selection).next().is_some()
    }

    /// By table, then in the order in which packets meet them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        let rows = self.tables.iter().flat_map(|table| &table.rows);
        rows.map(|row| &*row.entry)
    }

    fn selected(&self, selection: &Selection) -> impl Iterator<Item = &Entry> {
        self.all().filter(move |entry| selection.takes(entry))
    }

    fn selected_mut(&mut self, selection: &Selection) -> impl Iterator<Item = &mut Entry> {
        let tables = self.tables.iter_mut();
        // One that has nothing of it stays shared.
        let tables =
            tables.filter(|table| table.rows.iter().any(|row| selection.takes(&row.entry)));
        let rows = tables.flat_map(|table| &mut Arc::make_mut(table).rows);
        rows.filter(move |row| selection.takes(&row.entry))
            .map(|row| Arc::make_mut(&mut row.entry))
    }

    fn extract(&mut self, goes: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut gone = Vec::new();
        for table in &mut self.tables {
            if table.rows.iter().any(|row| goes(&row.entry)) {
                let rows = &mut Arc::make_mut(table).rows;
                let rows = rows.extract_if(.., |row| goes(&row.entry));
                gone.extend(rows.map(|row| Arc::unwrap_or_clone(row.entry)));
            }
        }
        if !gone.is_empty() {
            self.look_for_deadlines();
        }
        gone
    }
}

impl Table {
    /// Where the entry of this priority and match is, or else would be.
    fn place(&self, priority: u16, flow_match: &Match) -> Result<usize, usize> {
        let wanted = (Reverse(priority), flow_match);
        self.rows.binary_search_by(|row| {
            let entry = &row.entry;
            (Reverse(entry.priority), &entry.flow_match).cmp(&wanted)
        })
    }

    fn overlaps(&self, new: &Entry) -> bool {
        self.rows.iter().any(|Row { entry, .. }| {
            entry.priority == new.priority && entry.pattern.overlaps(&new.pattern)
        })
    }
}

impl Row {
    fn takes(&self, key: &Key) -> bool {
        self.hint.may_match(key) && self.entry.pattern.matches(key)
    }
}

/// As they are executed.
fn in_order(instructions: &[Instruction]) -> Arc<[Instruction]> {
    let mut in_order = instructions.to_vec();
    in_order.sort();
    in_order.into()
}

impl Entry {
    fn new(wanted: &FlowMod, pattern: Pattern, now: Duration) -> Self {
        Self {
            table_id: wanted.table_id,
            priority: wanted.priority,
            flow_match: wanted.flow_match.clone(),
            cookie: wanted.cookie,
            flags: wanted.flags,
            instructions: in_order(&wanted.instructions),
            idle_timeout_s: wanted.idle_timeout_s,
            hard_timeout_s: wanted.hard_timeout_s,
            pattern,
            packets: 0,
            bytes: 0,
            created_at: now,
            modified_at: now,
            used_at: now,
        }
    }

    /// The entry that takes what nothing else took: priority 0, any packet.
    pub(super) fn is_table_miss(&self) -> bool {
        self.priority == 0 && self.pattern.is_any()
    }

    fn meter(&self) -> Option<MeterId> {
        self.instructions.iter().find_map(|each| match each {
            Instruction::Meter(meter) => Some(*meter),
            _ => None,
        })
    }

    fn actions(&self) -> impl Iterator<Item = &Action> {
        let lists = self.instructions.iter().filter_map(|each| match each {
            Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => {
                Some(actions)
            }
            _ => None,
        });
        lists.flatten()
    }

    fn outputs_to(&self, wanted: PortNo) -> bool {
        self.actions()
            .any(|action| matches!(action, Action::Output { port, .. } if *port == wanted))
    }

    fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.actions().filter_map(|action| match action {
            Action::Group(group) => Some(*group),
            _ => None,
        })
    }

    /// When its time is over and why.
    fn deadline(&self) -> Option<(Duration, FlowRemovedReason)> {
        let after = |from: Duration, seconds: u16, reason| {
            (seconds > 0).then(|| (from + Duration::from_secs(seconds.into()), reason))
        };
        let hard = after(
            self.modified_at,
            self.hard_timeout_s,
            FlowRemovedReason::HARD_TIMEOUT,
        );
        let idle = after(
            self.used_at,
            self.idle_timeout_s,
            FlowRemovedReason::IDLE_TIMEOUT,
        );
        match (hard, idle) {
            (Some(hard), Some(idle)) => Some(if idle.0 < hard.0 { idle } else { hard }),
            (hard, idle) => hard.or(idle),
        }
    }

    fn stats(&self, now: Duration) -> FlowStats {
        let (duration_sec, duration_nsec) = split(now.saturating_sub(self.created_at));
        FlowStats {
            table_id: self.table_id,
            duration_sec,
            duration_nsec,
            priority: self.priority,
            idle_timeout_s: self.idle_timeout_s,
            hard_timeout_s: self.hard_timeout_s,
            flags: self.flags,
            cookie: self.cookie,
            packet_count: self.packets,
            byte_count: self.bytes,
            flow_match: self.flow_match.clone(),
            instructions: Instruction::canonical(self.instructions.to_vec()),
        }
    }

    /// What the controllers are told of its end.
    pub(super) fn removed(&self, reason: FlowRemovedReason, now: Duration) -> FlowRemoved {
        let (duration_sec, duration_nsec) = split(now.saturating_sub(self.created_at));
        FlowRemoved {
            cookie: self.cookie,
            priority: self.priority,
            reason,
            table_id: self.table_id,
            duration_sec,
            duration_nsec,
            idle_timeout_s: self.idle_timeout_s,
            hard_timeout_s: self.hard_timeout_s,
            packet_count: self.packets,
            byte_count: self.bytes,
            flow_match: self.flow_match.clone(),
        }
    }
}

/// Which entries a modification, a deletion or a question is about.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    table_id: TableId,
    /// Strict: the one entry of this priority and match. Else every entry within the pattern.
    strict: Option<(u16, Match)>,
    pattern: Pattern,
    cookie: u64,
    cookie_mask: u64,
    out_port: PortNo,
    out_group: GroupId,
}

impl Selection {
    /// Of a MODIFY, which does not look at output ports.
    pub(super) fn to_modify(wanted: &FlowMod, pattern: Pattern, strict: bool) -> Self {
        Self {
            out_port: PortNo::ANY,
            out_group: GroupId::ANY,
            ..Self::to_delete(wanted, pattern, strict)
        }
    }

    /// Of a DELETE.
    pub(super) fn to_delete(wanted: &FlowMod, pattern: Pattern, strict: bool) -> Self {
        Self {
            table_id: wanted.table_id,
            strict: strict.then(|| (wanted.priority, wanted.flow_match.clone())),
            pattern,
            cookie: wanted.cookie,
            cookie_mask: wanted.cookie_mask,
            out_port: wanted.out_port,
            out_group: wanted.out_group,
        }
    }

    /// Of a question.
    ///
    /// # Errors
    /// What is wrong with its match, or `BAD_TABLE_ID` for a table the switch does not have.
    pub(super) fn asked(filter: &FlowFilter) -> Result<Self, ErrorCode> {
        let pattern = Pattern::new(&filter.flow_match)?;
        super::validate::check_port_number(filter.out_port)?;
        if filter.table_id.0 > N_TABLES && filter.table_id != TableId::ALL {
            return Err(ErrorCode::REQUEST_BAD_TABLE_ID);
        }
        Ok(Self {
            table_id: filter.table_id,
            strict: None,
            pattern,
            cookie: filter.cookie,
            cookie_mask: filter.cookie_mask,
            out_port: filter.out_port,
            out_group: filter.out_group,
        })
    }

    /// Open vSwitch keeps entries of its own, with cookie 0 and an output to the controller, in
    /// table 254. All tables do not include it, unless entries are looked up by their whole
    /// cookie.
    pub(super) fn takes_entries_of_the_switch(&self) -> bool {
        let whole_cookie = self.cookie_mask == u64::MAX;
        let there =
            self.table_id == TableId(N_TABLES) || self.table_id == TableId::ALL && whole_cookie;
        there
            && self.cookie & self.cookie_mask == 0
            && self.pattern.is_any()
            && matches!(self.out_port, PortNo::ANY | PortNo::CONTROLLER)
            && self.out_group == GroupId::ANY
    }

    fn takes(&self, entry: &Entry) -> bool {
        let here = self.table_id == TableId::ALL || self.table_id == entry.table_id;
        let named = match &self.strict {
            Some((priority, flow_match)) => {
                *priority == entry.priority && *flow_match == entry.flow_match
            }
            None => entry.pattern.is_within(&self.pattern),
        };
        here && (entry.cookie ^ self.cookie) & self.cookie_mask == 0
            && named
            && (self.out_port == PortNo::ANY || entry.outputs_to(self.out_port))
            && (self.out_group == GroupId::ANY
                || entry.groups().any(|group| group == self.out_group))
    }
}
