//! What happens to a packet: tables, actions, groups, meters, and where it goes.
//!
//! As in Open vSwitch, what a packet meets on its way is found out first, and done at the end: a way
//! that goes round in circles has no effect but on counters of entries and groups.

use std::sync::Arc;
use std::time::Duration;

use rust_openflow::{
    Action, BufferId, ErrorCode, EthType, GroupId, Instruction, MacAddr, Masked, Match, MeterId,
    Oxm, PacketIn, PacketInReason, PacketOut, PortConfig, PortNo, QueueId, TableId,
};

use super::connection::Unasked;
use super::flow_table::N_TABLES;
use super::groups::Acting;
use super::packet::Packet;
use super::pattern::{Key, Pattern, lay_out, place};
use super::validate::{check_actions, check_alone, check_groups, check_port_number, sure_tags};
use super::{MemorySwitch, SentFrame};

/// How deep buckets of groups and passes through the tables may be in each other.
const MAX_DEPTH: u32 = 64;

/// How many buckets and tables a packet may meet.
const MAX_STEPS: u32 = 4_096;

/// A packet on its way through the switch.
struct Walk {
    packet: Packet,
    /// What tables match: read once, and again when actions have changed the packet.
    key: Key,
    key_is_old: bool,
    in_port: PortNo,
    metadata: u64,
    tunnel_id: u64,
    queue: Option<QueueId>,
    /// Length it came with: what entries count, whatever is pushed on later.
    counted_bytes: usize,
    depth: u32,
    steps: u32,
    /// Its way has no end: it goes nowhere.
    lost: bool,
    effects: Vec<Effect>,
    /// Length with which it left last, or came: what meters see, as packets are changed in Open
    /// vSwitch just before they leave.
    last_len: usize,
    /// A field was written that Open vSwitch's data path cannot write.
    slow_write: bool,
    /// And a packet-out left so: all of it is done outside the data path.
    is_slow: bool,
    /// Nothing is counted.
    is_trial: bool,
    /// A packet-out, of which nothing counts as a table miss.
    from_controller: bool,
    set: ActionSet,
}

/// What is done with a packet in the end.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// It passes a meter of this number with so many bytes; if it does not pass, nothing more is
    /// done.
    Meter(MeterId, usize),
    Leave(SentFrame),
    ToController(PacketIn),
}

/// What a bucket may change and what comes after it finds unchanged.
struct Before {
    packet: Option<Packet>,
    in_port: PortNo,
    metadata: u64,
    tunnel_id: u64,
    queue: Option<QueueId>,
}

/// Who sends a packet to the controller.
#[derive(Clone, Copy)]
struct Sender {
    table_id: TableId,
    cookie: u64,
    reason: PacketInReason,
}

/// What is done when the packet leaves the last table, one of each kind.
#[derive(Default)]
pub(super) struct ActionSet {
    pop_vlan: bool,
    push_vlan: Option<EthType>,
    set_fields: Vec<Oxm>,
    queue: Option<QueueId>,
    output: Option<PortNo>,
    group: Option<GroupId>,
}

impl MemorySwitch {
    /// A frame arrives on a port. Lost if the port is not there or not up.
    pub fn inject(&mut self, port_no: PortNo, frame: Vec<u8>, now: Duration) {
        self.advance(now);
        let Some(entry) = self.ports.get_mut(&port_no) else {
            return;
        };
        if !entry.port.is_up() {
            return;
        }
        entry.received.add(frame.len());
        if entry.port.config.contains(PortConfig::NO_RECV) {
            return;
        }
        let mut walk = self.walk(Packet::new(frame), port_no);
        if self.failed_open {
            self.forward_as_a_bridge(&mut walk);
        } else if let Some(first) = self.through_tables(&mut walk) {
            self.act_at_the_end(&mut walk, first);
        }
        self.finish(walk);
    }

    pub(super) fn packet_out(&mut self, wanted: PacketOut) -> Result<(), ErrorCode> {
        let in_port = wanted.in_port;
        check_port_number(in_port)?;
        wanted.actions.iter().try_for_each(check_alone)?;
        let real = in_port.0 < 0xff00;
        if !real && !matches!(in_port, PortNo::LOCAL | PortNo::CONTROLLER | PortNo::ANY) {
            return Err(ErrorCode::REQUEST_BAD_PORT);
        }
        if wanted.buffer_id != BufferId::NO_BUFFER {
            return Err(ErrorCode::BUFFER_UNKNOWN);
        }
        let wanted_len = wanted.data.len();
        let packet = Packet::new(wanted.data);
        let mut walk = self.walk(packet, in_port);
        walk.from_controller = true;
        let pattern = Pattern::of_packet(walk.key());
        if !check_actions(&wanted.actions, &pattern, &mut sure_tags(&pattern))? {
            return Err(ErrorCode::MATCH_INCONSISTENT);
        }
        check_groups(&wanted.actions, |group| self.groups.contains(group))?;
        let sender = Sender {
            table_id: TableId(0),
            cookie: u64::MAX,
            reason: PacketInReason::ACTION,
        };
        if wanted.actions.iter().any(leads_on) {
            // One that would lead nowhere is refused, and counts nowhere.
            let mut trial = self.walk(walk.packet.clone(), in_port);
            trial.is_trial = true;
            self.act(&mut trial, &wanted.actions, sender);
            self.act_at_the_end(&mut trial, sender);
            if trial.lost {
                return Err(ErrorCode::FLOW_UNKNOWN);
            }
        }
        self.act(&mut walk, &wanted.actions, sender);
        self.act_at_the_end(&mut walk, sender);
        // Not even an Ethernet header: no error, but it goes nowhere.
        walk.lost |= wanted_len < 14;
        self.finish(walk);
        Ok(())
    }

    fn walk(&mut self, packet: Packet, in_port: PortNo) -> Walk {
        Walk {
            counted_bytes: packet.len(),
            last_len: packet.len(),
            key: packet.key(),
            key_is_old: false,
            packet,
            in_port,
            metadata: 0,
            tunnel_id: 0,
            queue: None,
            depth: 0,
            steps: 0,
            lost: false,
            effects: std::mem::take(&mut self.effects),
            slow_write: false,
            is_slow: false,
            is_trial: false,
            from_controller: false,
            set: ActionSet::default(),
        }
    }

    /// Does what came out. Outside the data path, in Open vSwitch, meters are for the next that
    /// leaves, and for it alone.
    fn finish(&mut self, walk: Walk) {
        let mut waiting: Vec<MeterId> = Vec::new();
        let mut effects = walk.effects;
        if walk.lost {
            effects.clear();
        }
        for effect in effects.drain(..) {
            let len = match &effect {
                Effect::Meter(meter, _) if walk.is_slow => {
                    waiting.push(*meter);
                    continue;
                }
                Effect::Meter(_, len) => *len,
                Effect::Leave(sent) => sent.frame.len(),
                Effect::ToController(packet) => packet.data.len(),
            };
            let now = self.now;
            let mut drops = |meter| !self.meters.pass(meter, len, now);
            if waiting.drain(..).any(&mut drops) {
                continue;
            }
            match effect {
                Effect::Meter(meter, _) => {
                    if drops(meter) {
                        break;
                    }
                }
                Effect::Leave(sent) => {
                    if let Some(entry) = self.ports.get_mut(&sent.port) {
                        entry.sent.add(sent.frame.len());
                    }
                    self.sent.push(sent);
                }
                Effect::ToController(packet) => {
                    let reason = packet.reason.0;
                    self.tell(Unasked::PacketIn, reason, &packet.into());
                }
            }
        }
        self.effects = effects;
    }

    /// From table 0 on. Gives the entry that took the packet first, if one did.
    fn through_tables(&mut self, walk: &mut Walk) -> Option<Sender> {
        let mut next = Some(TableId(0));
        let mut first = None;
        while let Some(table_id) = next.take() {
            if !walk.may_go_on() {
                break;
            }
            let (len, now) = (walk.counted_bytes, self.now);
            let found = if walk.is_trial {
                self.tables.find(table_id, walk.key())
            } else {
                self.tables.look_up(table_id, walk.key(), len, now)
            };
            let Some(entry) = found else {
                // OpenFlow 1.3 drops what no entry takes, but does first what was written.
                break;
            };
            let sender = Sender {
                table_id,
                cookie: entry.cookie,
                reason: if entry.is_table_miss() && !walk.from_controller {
                    PacketInReason::NO_MATCH
                } else {
                    PacketInReason::ACTION
                },
            };
            let instructions = Arc::clone(&entry.instructions);
            first.get_or_insert(sender);
            for instruction in &*instructions {
                match instruction {
                    Instruction::Meter(meter) => {
                        walk.effects.push(Effect::Meter(*meter, walk.last_len));
                    }
                    Instruction::ApplyActions(actions) => self.act(walk, actions, sender),
                    Instruction::ClearActions => walk.set = ActionSet::default(),
                    Instruction::WriteActions(actions) => walk.set.write(actions),
                    Instruction::WriteMetadata { value, mask } => {
                        walk.metadata = walk.metadata & !mask | value & mask;
                    }
                    Instruction::GotoTable(to) if to.0 < N_TABLES => next = Some(*to),
                    _ => {}
                }
            }
        }
        first
    }

    /// Does what was written on the way. What goes to the controller then, Open vSwitch says, was
    /// sent by whoever began: the first entry, or the packet-out.
    fn act_at_the_end(&mut self, walk: &mut Walk, sender: Sender) {
        let actions = std::mem::take(&mut walk.set).in_order();
        let reason = PacketInReason::ACTION;
        self.act(walk, &actions, Sender { reason, ..sender });
    }

    fn act(&mut self, walk: &mut Walk, actions: &[Action], sender: Sender) {
        for action in actions {
            if walk.lost {
                return;
            }
            match action {
                Action::Output { port, .. } => self.output(walk, *port, sender),
                Action::Group(group) => self.through_group(walk, *group, sender),
                Action::SetQueue(queue) => walk.queue = Some(*queue),
                Action::SetField(Oxm::Metadata(value)) => walk.metadata = value.value(),
                Action::SetField(Oxm::TunnelId(value)) => walk.tunnel_id = value.value(),
                Action::SetField(Oxm::InPort(port)) => walk.in_port = *port,
                Action::SetField(field) => walk.set_field(field),
                Action::PushVlan(eth_type) => walk.change().push_vlan(*eth_type),
                Action::PopVlan => walk.change().pop_vlan(),
                // Refused when the entry was put in.
                _ => {}
            }
        }
    }

    /// Each bucket that acts has the packet as it came to the group, and so has what comes after.
    fn through_group(&mut self, walk: &mut Walk, group: GroupId, sender: Sender) {
        if !walk.may_go_on() {
            return;
        }
        let port_is_up = |port| {
            self.ports
                .get(&port)
                .is_some_and(|entry| entry.port.is_up())
        };
        let hash = || walk.packet.key().flow_hash();
        let Some(Acting { lists, buckets }) = self.groups.act(group, port_is_up, hash) else {
            return;
        };
        let Some(buckets) = buckets else {
            return;
        };
        let sender = Sender {
            reason: PacketInReason::ACTION,
            ..sender
        };
        for actions in &lists[buckets.clone()] {
            let before = walk.before(actions);
            walk.depth += 1;
            self.act(walk, actions, sender);
            walk.depth -= 1;
            walk.restore(before);
        }
        if !walk.is_trial {
            self.groups.count(group, buckets, walk.counted_bytes);
        }
    }

    fn output(&mut self, walk: &mut Walk, port: PortNo, sender: Sender) {
        match port {
            PortNo::TABLE => {
                if walk.may_go_on() {
                    walk.depth += 1;
                    self.through_tables(walk);
                    walk.depth -= 1;
                }
            }
            PortNo::CONTROLLER => self.tell_controllers(walk, sender),
            PortNo::IN_PORT => self.leave(walk, walk.in_port),
            PortNo::FLOOD | PortNo::ALL => self.flood(walk),
            PortNo::NORMAL => self.forward_as_a_bridge(walk),
            port if port == walk.in_port => {}
            port => self.leave(walk, port),
        }
    }

    fn flood(&self, walk: &mut Walk) {
        let in_port = walk.in_port;
        for port in self.ports.keys().filter(|port| **port != in_port) {
            self.leave(walk, *port);
        }
    }

    fn leave(&self, walk: &mut Walk, port: PortNo) {
        let Some(entry) = self.ports.get(&port) else {
            return;
        };
        if !entry.port.is_up() || entry.port.config.contains(PortConfig::NO_FWD) {
            return;
        }
        let queue = walk.queue;
        walk.push(Effect::Leave(SentFrame {
            port,
            queue: queue.filter(|queue| self.queues.contains(&(port, *queue))),
            frame: walk.packet.bytes().to_vec(),
        }));
    }

    /// Whole, whatever `max_len` says: the switch keeps no packets.
    fn tell_controllers(&self, walk: &mut Walk, sender: Sender) {
        let muted = self
            .ports
            .get(&walk.in_port)
            .is_some_and(|entry| entry.port.config.contains(PortConfig::NO_PACKET_IN));
        if muted {
            return;
        }
        let mut flow_match = Match::new().in_port(walk.in_port);
        if walk.metadata != 0 {
            flow_match = flow_match.metadata(walk.metadata);
        }
        if walk.tunnel_id != 0 {
            flow_match = flow_match.with(Oxm::TunnelId(Masked::exact(walk.tunnel_id)));
        }
        walk.push(Effect::ToController(PacketIn {
            buffer_id: BufferId::NO_BUFFER,
            total_len: u16::try_from(walk.packet.len()).unwrap_or(u16::MAX),
            reason: sender.reason,
            table_id: sender.table_id,
            cookie: sender.cookie,
            flow_match,
            data: walk.packet.bytes().to_vec(),
        }));
    }

    /// As a bridge that learns where addresses are.
    fn forward_as_a_bridge(&mut self, walk: &mut Walk) {
        let key = walk.packet.key();
        let from = MacAddr(key.get(place::ETH_SRC));
        let to = MacAddr(key.get(place::ETH_DST));
        if !from.is_multicast() {
            self.learned.insert(from, walk.in_port);
        }
        match self.learned.get(&to).copied() {
            Some(port) if !to.is_multicast() => {
                if port != walk.in_port {
                    self.leave(walk, port);
                }
            }
            _ => self.flood(walk),
        }
    }
}

/// Fields that Open vSwitch's data path cannot write.
fn is_slow_to_write(field: &Oxm) -> bool {
    matches!(
        field,
        Oxm::ArpOp(_)
            | Oxm::ArpSpa(_)
            | Oxm::ArpTpa(_)
            | Oxm::ArpSha(_)
            | Oxm::ArpTha(_)
            | Oxm::IcmpType(_)
            | Oxm::IcmpCode(_)
            | Oxm::Icmpv6Type(_)
            | Oxm::Icmpv6Code(_)
    )
}

/// Whether what an action does is not all there is to it.
fn leads_on(action: &Action) -> bool {
    match action {
        Action::Output { port, .. } => *port == PortNo::TABLE,
        action => matches!(action, Action::Group(_)),
    }
}

impl Walk {
    /// Whether one more bucket or table may follow; if not, all is lost.
    fn may_go_on(&mut self) -> bool {
        self.steps += 1;
        self.lost |= self.depth >= MAX_DEPTH || self.steps > MAX_STEPS;
        !self.lost
    }

    /// Notes that the packet leaves as it is now.
    fn push(&mut self, effect: Effect) {
        self.is_slow |= self.slow_write && self.from_controller;
        self.last_len = self.packet.len();
        self.effects.push(effect);
    }

    fn set_field(&mut self, field: &Oxm) {
        if !is_slow_to_write(field) {
            self.change().set_field(field);
            return;
        }
        let before = self.packet.bytes().to_vec();
        self.change().set_field(field);
        self.slow_write |= self.packet.bytes() != before;
    }

    /// What is to be restored after these actions.
    fn before(&self, actions: &[Action]) -> Before {
        let changes = |action: &Action| match action {
            Action::Output { port, .. } => *port == PortNo::TABLE,
            Action::Group(_) | Action::SetQueue(_) => false,
            _ => true,
        };
        Before {
            packet: actions.iter().any(changes).then(|| self.packet.clone()),
            in_port: self.in_port,
            metadata: self.metadata,
            tunnel_id: self.tunnel_id,
            queue: self.queue,
        }
    }

    fn restore(&mut self, before: Before) {
        if let Some(packet) = before.packet {
            *self.change() = packet;
        }
        self.in_port = before.in_port;
        self.metadata = before.metadata;
        self.tunnel_id = before.tunnel_id;
        self.queue = before.queue;
    }

    /// What tables match now.
    fn key(&mut self) -> &Key {
        if std::mem::take(&mut self.key_is_old) {
            self.key = self.packet.key();
        }
        self.key.set(place::IN_PORT, &self.in_port.0.to_be_bytes());
        self.key.set(place::METADATA, &self.metadata.to_be_bytes());
        self.key
            .set(place::TUNNEL_ID, &self.tunnel_id.to_be_bytes());
        &self.key
    }

    /// The packet, to be changed.
    fn change(&mut self) -> &mut Packet {
        self.key_is_old = true;
        &mut self.packet
    }
}

impl ActionSet {
    pub(super) fn of(actions: &[Action]) -> Self {
        let mut set = Self::default();
        set.write(actions);
        set
    }

    /// A later action of a kind takes the place of an earlier one.
    fn write(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::PopVlan => self.pop_vlan = true,
                Action::PushVlan(eth_type) => self.push_vlan = Some(*eth_type),
                Action::SetField(field) => {
                    let place = |field: &Oxm| lay_out(field).map(|(place, ..)| place);
                    let new = place(field);
                    self.set_fields.retain(|old| place(old) != new);
                    self.set_fields.push(field.clone());
                }
                Action::SetQueue(queue) => self.queue = Some(*queue),
                Action::Output { port, .. } => self.output = Some(*port),
                Action::Group(group) => self.group = Some(*group),
                _ => {}
            }
        }
    }

    /// In the order of OpenFlow 1.3.5, section 5.10. A group takes the place of an output; without
    /// either nothing is done.
    pub(super) fn in_order(self) -> Vec<Action> {
        let Some(last) = self
            .group
            .map(Action::Group)
            .or(self.output.map(Action::output))
        else {
            return Vec::new();
        };
        let mut actions = Vec::new();
        actions.extend(self.pop_vlan.then_some(Action::PopVlan));
        actions.extend(self.push_vlan.map(Action::PushVlan));
        actions.extend(self.set_fields.into_iter().map(Action::SetField));
        actions.extend(self.queue.map(Action::SetQueue));
        actions.push(last);
        actions
    }
}
