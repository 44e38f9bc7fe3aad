//! What happens to a packet: tables, actions, meters, and where it goes.

use std::sync::Arc;
use std::time::Duration;

use rust_openflow::{
    Action, BufferId, ErrorCode, EthType, Instruction, MacAddr, Masked, Match, Message, Oxm,
    PacketIn, PacketInReason, PacketOut, PortConfig, PortNo, QueueId, TableId,
};

use super::connection::Unasked;
use super::flow_table::N_TABLES;
use super::packet::Packet;
use super::pattern::{Key, Pattern, lay_out, place};
use super::validate::{check_actions, check_alone, check_groups, check_port_number, sure_tags};
use super::{MemorySwitch, SentFrame};

/// How often a packet-out may send a packet through the tables.
const MAX_PASSES: u32 = 64;

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
    /// A meter dropped it: entries still count it, but it goes nowhere.
    dropped: bool,
    passes: u32,
    /// A packet-out, of which nothing counts as a table miss.
    from_controller: bool,
    set: ActionSet,
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
struct ActionSet {
    pop_vlan: bool,
    push_vlan: Option<EthType>,
    set_fields: Vec<Oxm>,
    queue: Option<QueueId>,
    output: Option<PortNo>,
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
        let mut walk = Walk::new(Packet::new(frame), port_no);
        if self.failed_open {
            self.forward_as_a_bridge(&mut walk);
        } else if let Some(first) = self.through_tables(&mut walk) {
            self.act_at_the_end(&mut walk, first);
        }
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
        let packet = Packet::new(wanted.data);
        let mut walk = Walk::new(packet, in_port);
        walk.from_controller = true;
        // Not even an Ethernet header: no error, but it goes nowhere.
        walk.dropped = walk.packet.len() < 14;
        let pattern = Pattern::of_packet(walk.key());
        if !check_actions(&wanted.actions, &pattern, &mut sure_tags(&pattern))? {
            return Err(ErrorCode::MATCH_INCONSISTENT);
        }
        check_groups(&wanted.actions)?;
        let sender = Sender {
            table_id: TableId(0),
            cookie: u64::MAX,
            reason: PacketInReason::ACTION,
        };
        self.act(&mut walk, &wanted.actions, sender);
        self.act_at_the_end(&mut walk, sender);
        Ok(())
    }

    /// From table 0 on. Gives the entry that took the packet first, if one did.
    fn through_tables(&mut self, walk: &mut Walk) -> Option<Sender> {
        let mut next = Some(TableId(0));
        let mut first = None;
        while let Some(table_id) = next.take() {
            let (len, now) = (walk.counted_bytes, self.now);
            let Some(entry) = self.tables.look_up(table_id, walk.key(), len, now) else {
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
                        let len = walk.packet.len();
                        walk.dropped |= !walk.dropped && !self.meters.pass(*meter, len, now);
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
            match action {
                Action::Output { port, .. } => self.output(walk, *port, sender),
                Action::SetQueue(queue) => walk.queue = Some(*queue),
                Action::SetField(Oxm::Metadata(value)) => walk.metadata = value.value(),
                Action::SetField(Oxm::TunnelId(value)) => walk.tunnel_id = value.value(),
                Action::SetField(Oxm::InPort(port)) => walk.in_port = *port,
                Action::SetField(field) => walk.change().set_field(field),
                Action::PushVlan(eth_type) => walk.change().push_vlan(*eth_type),
                Action::PopVlan => walk.change().pop_vlan(),
                // Refused when the entry was put in.
                _ => {}
            }
        }
    }

    fn output(&mut self, walk: &mut Walk, port: PortNo, sender: Sender) {
        match port {
            PortNo::TABLE => {
                if walk.passes < MAX_PASSES {
                    walk.passes += 1;
                    self.through_tables(walk);
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

    fn flood(&mut self, walk: &Walk) {
        let ports: Vec<PortNo> = self.ports.keys().copied().collect();
        for port in ports.into_iter().filter(|port| *port != walk.in_port) {
            self.leave(walk, port);
        }
    }

    fn leave(&mut self, walk: &Walk, port: PortNo) {
        let Some(entry) = self.ports.get_mut(&port) else {
            return;
        };
        if walk.dropped || !entry.port.is_up() || entry.port.config.contains(PortConfig::NO_FWD) {
            return;
        }
        entry.sent.add(walk.packet.len());
        let queue = walk.queue;
        self.sent.push(SentFrame {
            port,
            queue: queue.filter(|queue| self.queues.contains(&(port, *queue))),
            frame: walk.packet.bytes().to_vec(),
        });
    }

    /// Whole, whatever `max_len` says: the switch keeps no packets.
    fn tell_controllers(&mut self, walk: &Walk, sender: Sender) {
        let muted = self
            .ports
            .get(&walk.in_port)
            .is_some_and(|entry| entry.port.config.contains(PortConfig::NO_PACKET_IN));
        if walk.dropped || muted {
            return;
        }
        let mut flow_match = Match::new().in_port(walk.in_port);
        if walk.metadata != 0 {
            flow_match = flow_match.metadata(walk.metadata);
        }
        if walk.tunnel_id != 0 {
            flow_match = flow_match.with(Oxm::TunnelId(Masked::exact(walk.tunnel_id)));
        }
        let message = Message::PacketIn(PacketIn {
            buffer_id: BufferId::NO_BUFFER,
            total_len: u16::try_from(walk.packet.len()).unwrap_or(u16::MAX),
            reason: sender.reason,
            table_id: sender.table_id,
            cookie: sender.cookie,
            flow_match,
            data: walk.packet.clone().into_bytes(),
        });
        self.tell(Unasked::PacketIn, sender.reason.0, &message);
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

impl Walk {
    fn new(packet: Packet, in_port: PortNo) -> Self {
        Self {
            counted_bytes: packet.len(),
            key: packet.key(),
            key_is_old: false,
            packet,
            in_port,
            metadata: 0,
            tunnel_id: 0,
            queue: None,
            dropped: false,
            passes: 0,
            from_controller: false,
            set: ActionSet::default(),
        }
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
                _ => {}
            }
        }
    }

    /// In the order of OpenFlow 1.3.5, section 5.10. Without an output nothing is done.
    fn in_order(self) -> Vec<Action> {
        let Some(port) = self.output else {
            return Vec::new();
        };
        let mut actions = Vec::new();
        actions.extend(self.pop_vlan.then_some(Action::PopVlan));
        actions.extend(self.push_vlan.map(Action::PushVlan));
        actions.extend(self.set_fields.into_iter().map(Action::SetField));
        actions.extend(self.queue.map(Action::SetQueue));
        actions.push(Action::output(port));
        actions
    }
}
