//! Where packets would go, without sending any.

use rust_openflow::{Action, Instruction, MeterId, Oxm, PortConfig, PortNo, QueueId, TableId};

use super::flow_table::N_TABLES;
use super::packet::Packet;
use super::pattern::{Key, place};
use super::{MemorySwitch, SentFrame};

/// What would become of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traced {
    /// As it would leave. Meters are taken to let it pass.
    pub sent: Vec<SentFrame>,
    /// Meters it would pass, in order.
    pub meters: Vec<MeterId>,
    /// Table and cookie of the entries that would take it.
    pub entries: Vec<(TableId, u64)>,
    /// A controller would be shown it.
    pub shown: bool,
}

impl MemorySwitch {
    /// What the tables would do to a frame that arrived on a port now. Counts nothing, learns nothing, tells nobody.
    /// Follows ports, queues, fields, metadata, meters and applied actions; of written actions, groups, and bridging
    /// without a controller it knows nothing, and gives no frame.
    #[must_use]
    pub fn trace(&self, port_no: PortNo, frame: Vec<u8>) -> Traced {
        let mut traced = Traced::default();
        let arrives = self
            .ports
            .get(&port_no)
            .is_some_and(|it| it.port.is_up() && !it.port.config.contains(PortConfig::NO_RECV));
        if !arrives || self.failed_open {
            return traced;
        }
        let mut packet = Packet::new(frame);
        let (mut queue, mut metadata) = (None, 0_u64);
        let mut next = Some(TableId(0));
        while let Some(table_id) = next.take() {
            let key = key_of(&packet, port_no, metadata);
            let Some(entry) = self.tables.find(table_id, &key) else {
                break;
            };
            traced.entries.push((table_id, entry.cookie));
            for instruction in &*entry.instructions {
                match instruction {
                    Instruction::Meter(meter) => traced.meters.push(*meter),
                    Instruction::WriteMetadata { value, mask } => {
                        metadata = metadata & !mask | value & mask;
                    }
                    Instruction::ApplyActions(actions) => {
                        for action in actions {
                            self.follow(action, port_no, &mut packet, &mut queue, &mut traced);
                        }
                    }
                    Instruction::GotoTable(to) if to.0 < N_TABLES => next = Some(*to),
                    _ => {}
                }
            }
        }
        traced
    }

    fn follow(
        &self,
        action: &Action,
        in_port: PortNo,
        packet: &mut Packet,
        queue: &mut Option<QueueId>,
        traced: &mut Traced,
    ) {
        let mut leave = |port: PortNo, packet: &Packet| {
            let out = self.ports.get(&port);
            if out.is_some_and(|it| it.port.is_up() && !it.port.config.contains(PortConfig::NO_FWD))
            {
                traced.sent.push(SentFrame {
                    port,
                    queue: queue.filter(|queue| self.queues.contains(&(port, *queue))),
                    frame: packet.bytes().to_vec(),
                });
            }
        };
        match action {
            Action::Output {
                port: PortNo::CONTROLLER,
                ..
            } => traced.shown = true,
            Action::Output {
                port: PortNo::IN_PORT,
                ..
            } => leave(in_port, packet),
            Action::Output {
                port: PortNo::FLOOD | PortNo::ALL,
                ..
            } => {
                for port in self.ports.keys().filter(|port| **port != in_port) {
                    leave(*port, packet);
                }
            }
            Action::Output { port, .. } if *port != in_port => leave(*port, packet),
            Action::SetQueue(wanted) => *queue = Some(*wanted),
            Action::SetField(Oxm::Metadata(_) | Oxm::TunnelId(_) | Oxm::InPort(_)) => {}
            Action::SetField(field) => packet.set_field(field),
            Action::PushVlan(eth_type) => packet.push_vlan(*eth_type),
            Action::PopVlan => packet.pop_vlan(),
            _ => {}
        }
    }
}

fn key_of(packet: &Packet, in_port: PortNo, metadata: u64) -> Key {
    let mut key = packet.key();
    key.set(place::IN_PORT, &in_port.0.to_be_bytes());
    key.set(place::METADATA, &metadata.to_be_bytes());
    key
}
