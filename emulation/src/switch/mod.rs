#![doc = include_str!("README.md")]

mod bundles;
mod clock;
mod connection;
mod control;
mod faults;
mod flow_table;
mod groups;
mod meters;
mod packet;
mod pattern;
mod pipeline;
mod ports;
mod statistics;
#[cfg(test)]
mod tests;
mod trace;
mod validate;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rust_openflow::{
    DatapathId, FlowFlags, FlowRemoved, FlowRemovedReason, GroupId, MacAddr, Message, PortNo,
    QueueId,
};

pub use connection::{ConnectionId, ConnectionKind};
pub use faults::Refusal;
pub use trace::Traced;
pub use view::EntryView;

use connection::{Connection, Unasked};
use faults::Faults;
use flow_table::{Entry, FlowTables};
use groups::Groups;
use meters::Meters;
use pipeline::Effect;
use ports::PortEntry;

/// As Open vSwitch is shipped: see [`SwitchSettings::inactivity_probe`].
const INACTIVITY_PROBE: Duration = Duration::from_secs(5);

/// Without a primary connection for so long, a standalone switch goes on by itself.
const FAIL_OPEN_AFTER: Duration = Duration::from_secs(15);

/// What a switch does while no controller is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailMode {
    /// Keeps its entries, meters and groups.
    Secure,
    /// After 15 s forgets them and forwards by itself, as a learning bridge, until a controller
    /// has said more than greetings, echoes and questions about the switch.
    Standalone,
}

/// How a switch is made.
#[derive(Clone, Debug)]
pub struct SwitchSettings {
    /// Its identity; survives restarts.
    pub datapath_id: DatapathId,
    /// Name of the bridge and of its local port, at most 15 bytes.
    pub name: String,
    /// What it does without a controller.
    pub fail_mode: FailMode,
    /// Entries one flow table may have; one more is refused with TABLE_FULL.
    pub max_entries_per_table: usize,
    /// Meters there may be; one more is refused with OUT_OF_METERS. Open vSwitch has 262 144.
    pub max_meters: u32,
    /// Groups there may be of each type; one more is refused with OUT_OF_GROUPS.
    pub max_groups: u32,
    /// Without a word from its peer for so long, a primary connection is probed with an echo; after as long again it is
    /// closed. Open vSwitch has this setting for each controller (`inactivity_probe`, in milliseconds): 5 s.
    pub inactivity_probe: Duration,
}

impl SwitchSettings {
    /// A bridge `br0` in secure mode, with the limits of Open vSwitch 3.1.
    #[must_use]
    pub fn new(datapath_id: DatapathId) -> Self {
        Self {
            datapath_id,
            name: "br0".to_owned(),
            fail_mode: FailMode::Secure,
            max_entries_per_table: 1_000_000,
            max_meters: 262_144,
            max_groups: GroupId::MAX.0,
            inactivity_probe: INACTIVITY_PROBE,
        }
    }
}

/// A frame that left the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentFrame {
    /// Out of which port; [`PortNo::LOCAL`] for the switch's own network stack.
    pub port: PortNo,
    /// Into which queue, if an action chose one that exists on the port.
    pub queue: Option<QueueId>,
    /// The frame, without check sequence.
    pub frame: Vec<u8>,
}

/// An OpenFlow 1.3 switch in memory.
///
/// Every method that takes `now` takes the time since the switch's start; it never goes backwards
/// (an earlier time counts as the latest one seen).
#[derive(Clone, Debug)]
pub struct MemorySwitch {
    settings: SwitchSettings,
    now: Duration,
    ports: BTreeMap<PortNo, PortEntry>,
    queues: BTreeSet<(PortNo, QueueId)>,
    tables: FlowTables,
    meters: Meters,
    groups: Groups,
    connections: BTreeMap<ConnectionId, Connection>,
    next_connection: u64,
    generation_id: Option<u64>,
    /// Ends of entries that nobody has been told of yet: that comes after the barrier reply.
    untold: Vec<(u8, FlowRemoved)>,
    untold_since: Duration,
    /// Since when no primary connection is there.
    alone_since: Option<Duration>,
    /// Forwards by itself.
    failed_open: bool,
    learned: BTreeMap<MacAddr, PortNo>,
    sent: Vec<SentFrame>,
    /// Empty; kept for its room.
    effects: Vec<Effect>,
    faults: Faults,
    /// Counts changes.
    version: u64,
}

impl MemorySwitch {
    /// A switch with its local port and no other.
    #[must_use]
    pub fn new(settings: SwitchSettings) -> Self {
        let local = PortEntry::local(&settings);
        Self {
            settings,
            now: Duration::ZERO,
            ports: BTreeMap::from([(PortNo::LOCAL, local)]),
            queues: BTreeSet::new(),
            tables: FlowTables::default(),
            meters: Meters::default(),
            groups: Groups::default(),
            connections: BTreeMap::new(),
            next_connection: 1,
            generation_id: None,
            untold: Vec::new(),
            untold_since: Duration::ZERO,
            alone_since: Some(Duration::ZERO),
            failed_open: false,
            learned: BTreeMap::new(),
            sent: Vec::new(),
            effects: Vec::new(),
            faults: Faults::default(),
            version: 0,
        }
    }

    /// Opens a connection. The switch's HELLO is the first thing on it.
    pub fn connect(&mut self, kind: ConnectionKind, now: Duration) -> ConnectionId {
        self.advance(now);
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.connections.insert(id, Connection::new(kind, self.now));
        self.look_for_controllers();
        id
    }

    /// Closes a connection, whichever end did. Unknown and closed ones are no error.
    pub fn disconnect(&mut self, id: ConnectionId, now: Duration) {
        self.advance(now);
        self.connections.remove(&id);
        self.look_for_controllers();
    }

    /// Takes bytes from a controller. Those for a connection that is not open are lost.
    pub fn receive(&mut self, id: ConnectionId, bytes: &[u8], now: Duration) {
        self.advance(now);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.half_open || connection.closed {
            return;
        }
        connection.heard_at = self.now;
        connection.probed = false;
        connection.framer.push(bytes);
        self.obey_all(id);
    }

    /// Bytes for a controller, in order. May be called again until it gives none: a slow switch
    /// ([`Self::limit_output`]) gives a little at a time.
    pub fn take_output(&mut self, id: ConnectionId) -> Vec<u8> {
        let limit = self.faults.bytes_per_call;
        let connection = self.connections.get_mut(&id);
        connection.map_or_else(Vec::new, |connection| connection.take_output(limit))
    }

    /// Whether the connection is there. The switch closes one whose peer speaks no OpenFlow 1.3,
    /// sends what is none, or is silent.
    #[must_use]
    pub fn is_open(&self, id: ConnectionId) -> bool {
        self.connections
            .get(&id)
            .is_some_and(|connection| !connection.closed || connection.has_output())
    }

    /// Lets time pass: entries expire, idle peers are probed, stalls end.
    pub fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.untold_since < self.now {
            self.tell_of_ends();
        }
        for (entry, reason) in self.tables.expire(self.now) {
            self.changed();
            if let Some(removed) = self.removal(&entry, reason) {
                self.tell(Unasked::FlowRemoved, reason.0, &removed.into());
            }
        }
        self.probe();
        self.look_for_controllers();
        if !self.faults.is_stalled(self.now) && self.faults.stalled_until.take().is_some() {
            let ids: Vec<_> = self.connections.keys().copied().collect();
            ids.into_iter().for_each(|id| self.obey_all(id));
        }
    }

    /// When [`Self::advance`] will have something to do, if ever; for an idle time-out that packets
    /// have put off, when it will look again.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let probe = self.settings.inactivity_probe;
        let probes = self
            .connections
            .values()
            .filter(|connection| connection.kind == ConnectionKind::Primary && !connection.closed)
            .map(|connection| {
                let intervals = if connection.probed { 2 } else { 1 };
                connection.heard_at + probe * intervals
            });
        let standalone = self.settings.fail_mode == FailMode::Standalone && !self.failed_open;
        let alone = self.alone_since.filter(|_| standalone);
        probes
            .chain(self.tables.next_expiry())
            .chain(self.faults.stalled_until)
            .chain(alone.map(|since| since + FAIL_OPEN_AFTER))
            .chain((!self.untold.is_empty()).then(|| self.untold_since + Duration::from_nanos(1)))
            .min()
    }

    /// Frames that left since the last call, in order.
    pub fn take_frames(&mut self) -> Vec<SentFrame> {
        std::mem::take(&mut self.sent)
    }

    /// The process ends and starts anew: flows, meters, groups, connections and elections are forgotten,
    /// identity, ports, queues and settings are not.
    pub fn restart(&mut self, now: Duration) {
        self.advance(now);
        self.changed();
        self.tables.clear();
        self.meters.clear();
        self.groups.clear();
        self.connections.clear();
        self.generation_id = None;
        self.untold.clear();
        self.learned.clear();
        self.failed_open = false;
        self.alone_since = Some(self.now);
        for port in self.ports.values_mut() {
            port.reset(self.now);
        }
    }

    /// What the switch does without a controller, from now on.
    pub fn set_fail_mode(&mut self, fail_mode: FailMode, now: Duration) {
        self.settings.fail_mode = fail_mode;
        self.failed_open &= fail_mode == FailMode::Standalone;
        self.advance(now);
    }

    /// Entries one flow table may have from now on; those there are stay.
    pub fn limit_entries_per_table(&mut self, limit: usize) {
        self.settings.max_entries_per_table = limit;
    }

    /// Meters there may be from now on; those there are stay.
    pub fn limit_meters(&mut self, limit: u32) {
        self.settings.max_meters = limit;
    }

    /// Groups there may be of each type from now on; those there are stay.
    pub fn limit_groups(&mut self, limit: u32) {
        self.settings.max_groups = limit;
    }

    /// How long its peer may be silent from now on: see [`SwitchSettings::inactivity_probe`].
    pub fn set_inactivity_probe(&mut self, interval: Duration) {
        self.settings.inactivity_probe = interval;
    }

    /// Refuses some flow-mods from now on. Of several refusals the first that fits acts.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.faults.refusals.push(refusal);
    }

    /// Refuses nothing on demand any more.
    pub fn refuse_nothing(&mut self) {
        self.faults.refusals.clear();
    }

    /// Looks at nothing that arrives until then; frames are forwarded meanwhile.
    pub fn stall_until(&mut self, until: Duration) {
        self.faults.stalled_until = Some(until);
    }

    /// How many bytes [`Self::take_output`] gives at most; `None` for all there are.
    pub fn limit_output(&mut self, bytes_per_call: Option<usize>) {
        self.faults.bytes_per_call = bytes_per_call;
    }

    /// Cuts a connection's line without a word: what the controller sends is swallowed, and it
    /// hears nothing more, not even that the connection has ended.
    pub fn cut(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.half_open = true;
            connection.take_output(None);
        }
    }

    /// Says the same to every connection that wants to hear it.
    fn tell(&mut self, kind: Unasked, reason: u8, message: &Message) {
        for connection in self.connections.values_mut() {
            if connection.hears(kind, reason) {
                connection.say(0, message);
            }
        }
    }

    /// An entry went at a controller's word: told of after the barrier reply.
    fn ended(&mut self, entry: &Entry, reason: FlowRemovedReason) {
        if let Some(removed) = self.removal(entry, reason) {
            self.untold.push((reason.0, removed));
            self.untold_since = self.now;
        }
    }

    /// What is told of an entry's end: nothing unless it was put in with SEND_FLOW_REM.
    fn removal(&self, entry: &Entry, reason: FlowRemovedReason) -> Option<FlowRemoved> {
        // OpenFlow 1.3 has no reason for meters: masks know it, the message says DELETE.
        let said = match reason {
            FlowRemovedReason::METER_DELETE => FlowRemovedReason::DELETE,
            reason => reason,
        };
        entry
            .flags
            .contains(FlowFlags::SEND_FLOW_REM)
            .then(|| entry.removed(said, self.now))
    }

    fn tell_of_ends(&mut self) {
        for (reason, removed) in std::mem::take(&mut self.untold) {
            self.tell(Unasked::FlowRemoved, reason, &removed.into());
        }
    }

    fn probe(&mut self) {
        let (now, probe) = (self.now, self.settings.inactivity_probe);
        for connection in self.connections.values_mut() {
            if connection.kind != ConnectionKind::Primary || connection.closed {
                continue;
            }
            let silence = now.saturating_sub(connection.heard_at);
            if silence >= probe * 2 {
                connection.closed = true;
            } else if silence >= probe && !connection.probed {
                connection.say(0, &Message::EchoRequest(Vec::new()));
                connection.probed = true;
            }
        }
    }

    /// Notices that the last controller has gone, or that one is there again.
    fn look_for_controllers(&mut self) {
        let attended = self
            .connections
            .values()
            .any(|connection| connection.kind == ConnectionKind::Primary && !connection.closed);
        if attended {
            self.alone_since = None;
            return;
        }
        let since = *self.alone_since.get_or_insert(self.now);
        let long = self.now.saturating_sub(since) >= FAIL_OPEN_AFTER;
        if self.settings.fail_mode == FailMode::Standalone && long && !self.failed_open {
            self.failed_open = true;
            self.changed();
            self.tables.clear();
            self.meters.clear();
            self.groups.clear();
        }
    }
}
