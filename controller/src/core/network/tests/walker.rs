//! What the tables of a switch do to a packet.

use std::net::{IpAddr, Ipv4Addr};

use pnet::packet::{
    MutablePacket, Packet as _,
    ethernet::EthernetPacket,
    ip::IpNextHeaderProtocols,
    ipv4::{Ipv4Packet, MutableIpv4Packet},
    udp::{MutableUdpPacket, UdpPacket},
};
use rust_openflow::{Action, Instruction, Match, Oxm, PortNo, TableId};

use super::fake::FakeSwitch;
use crate::core::network::MacAddr;

/// A frame, with the fields that the tables look at and change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) frame: Vec<u8>,
}

/// What became of a packet at one switch.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Port, packet as it leaves, queue.
    pub(super) outputs: Vec<(u32, Packet, u32)>,
    /// Table and cookie of the entries that showed it to the controller.
    pub(super) shown: Vec<(TableId, u64)>,
    pub(super) meters: Vec<u32>,
}

impl Packet {
    pub(super) fn udp(
        source: (MacAddr, Ipv4Addr),
        destination: (MacAddr, Ipv4Addr),
        dscp: u8,
    ) -> Self {
        Self::udp_to_port(source, destination, dscp, 5000)
    }

    pub(super) fn udp_to_port(
        (eth_src, ip_src): (MacAddr, Ipv4Addr),
        (eth_dst, ip_dst): (MacAddr, Ipv4Addr),
        dscp: u8,
        port: u16,
    ) -> Self {
        let mut frame = [&eth_dst.0[..], &eth_src.0[..], &[8, 0], &[0; 28]].concat();
        let mut ip = MutableIpv4Packet::new(&mut frame[14..]).unwrap();
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_total_length(28);
        ip.set_dscp(dscp);
        ip.set_next_level_protocol(IpNextHeaderProtocols::Udp);
        ip.set_source(ip_src);
        ip.set_destination(ip_dst);
        let mut udp = MutableUdpPacket::new(ip.payload_mut()).unwrap();
        udp.set_source(4000);
        udp.set_destination(port);
        Self { frame }
    }

    /// The first eight bytes of a segment, where TCP has its ports as UDP does.
    pub(super) fn tcp(
        source: (MacAddr, Ipv4Addr),
        destination: (MacAddr, Ipv4Addr),
        port: u16,
    ) -> Self {
        let mut packet = Self::udp_to_port(source, destination, 0, port);
        MutableIpv4Packet::new(&mut packet.frame[14..])
            .unwrap()
            .set_next_level_protocol(IpNextHeaderProtocols::Tcp);
        packet
    }

    pub(super) fn arp((mac, address): (MacAddr, Ipv4Addr), target: Ipv4Addr) -> Self {
        let head = [0, 1, 8, 0, 6, 4, 0, 1];
        let arp = [
            &head[..],
            &mac.0,
            &address.octets(),
            &[0; 6],
            &target.octets(),
        ]
        .concat();
        Self {
            frame: [&[0xff; 6][..], &mac.0, &[8, 6], &arp].concat(),
        }
    }

    pub(super) fn arp_reply((mac, address): (MacAddr, Ipv4Addr), to: MacAddr) -> Self {
        let mut packet = Self::arp((mac, address), Ipv4Addr::UNSPECIFIED);
        packet.frame[..6].copy_from_slice(&to.0);
        packet.frame[21] = 2;
        packet
    }

    pub(super) fn dscp(&self) -> Option<u8> {
        self.ip().map(|ip| ip.get_dscp())
    }

    fn ethernet(&self) -> EthernetPacket<'_> {
        EthernetPacket::new(&self.frame).unwrap()
    }

    fn ip(&self) -> Option<Ipv4Packet<'_>> {
        (self.ethernet().get_ethertype().0 == 0x0800)
            .then(|| Ipv4Packet::new(&self.frame[14..]).unwrap())
    }

    fn udp_ports(&self) -> Option<(u16, u16)> {
        let ip = self.ip()?;
        let udp = UdpPacket::new(ip.payload())?;
        Some((udp.get_source(), udp.get_destination()))
    }

    fn has(&self, in_port: u32, field: &Oxm) -> bool {
        let (ethernet, ip) = (self.ethernet(), self.ip());
        let mac = |mac: pnet::util::MacAddr| rust_openflow::MacAddr(mac.octets());
        match field {
            Oxm::InPort(port) => port.0 == in_port,
            Oxm::EthSrc(source) => source.matches(mac(ethernet.get_source())),
            Oxm::EthDst(destination) => destination.matches(mac(ethernet.get_destination())),
            Oxm::EthType(kind) => kind.0 == ethernet.get_ethertype().0,
            Oxm::IpDscp(dscp) => ip.is_some_and(|ip| ip.get_dscp() == *dscp),
            Oxm::IpProto(proto) => ip.is_some_and(|ip| ip.get_next_level_protocol().0 == proto.0),
            Oxm::Ipv4Src(source) => ip.is_some_and(|ip| source.matches(ip.get_source())),
            Oxm::Ipv4Dst(destination) => {
                ip.is_some_and(|ip| destination.matches(ip.get_destination()))
            }
            Oxm::UdpSrc(port) => self
                .udp_ports()
                .is_some_and(|(source, _)| port.matches(source)),
            Oxm::UdpDst(port) => self
                .udp_ports()
                .is_some_and(|(_, destination)| port.matches(destination)),
            Oxm::ArpSpa(address) => {
                ethernet.get_ethertype().0 == 0x0806
                    && address.matches(<[u8; 4]>::try_from(&self.frame[28..32]).unwrap().into())
            }
            Oxm::TcpDst(port) => self
                .udp_ports()
                .is_some_and(|(_, destination)| port.matches(destination)),
            // Nothing here sends IPv6, or matches the source of TCP.
            Oxm::Ipv6Src(_)
            | Oxm::Ipv6Dst(_)
            | Oxm::Icmpv6Type(_)
            | Oxm::Ipv6NdTarget(_)
            | Oxm::TcpSrc(_) => false,
            other => panic!("no table looks at {other:?}"),
        }
    }

    fn matches(&self, in_port: u32, matching: &Match) -> bool {
        matching
            .fields()
            .iter()
            .all(|field| self.has(in_port, field))
    }
}

/// Sends a packet through the tables of a switch.
pub(super) fn walk(switch: &FakeSwitch, in_port: u32, packet: Packet) -> Walk {
    let (mut walk, mut packet, mut queue) = (Walk::default(), packet, 0);
    let mut table = Some(TableId(0));
    while let Some(at) = table.take() {
        let entries = switch.flows.values().filter(|flow| flow.table_id == at);
        let matching = entries.filter(|flow| packet.matches(in_port, &flow.flow_match));
        let Some(flow) = matching.max_by_key(|flow| flow.priority) else {
            break;
        };
        for instruction in &flow.instructions {
            match instruction {
                Instruction::Meter(meter) => walk.meters.push(meter.0),
                Instruction::GotoTable(next) => {
                    assert!(*next > at, "tables only go forward");
                    table = Some(*next);
                }
                Instruction::ApplyActions(actions) => {
                    for action in actions {
                        apply(
                            action,
                            in_port,
                            &mut packet,
                            &mut queue,
                            (at, flow.cookie),
                            &mut walk,
                        );
                    }
                }
                other => panic!("no entry does {other:?}"),
            }
        }
    }
    walk
}

/// Treats a packet as a packet-out tells.
pub(super) fn treat(actions: &[Action], in_port: u32, mut packet: Packet) -> Walk {
    let (mut walk, mut queue) = (Walk::default(), 0);
    for action in actions {
        let entry = (TableId(0), 0);
        apply(action, in_port, &mut packet, &mut queue, entry, &mut walk);
    }
    walk
}

fn apply(
    action: &Action,
    in_port: u32,
    packet: &mut Packet,
    queue: &mut u32,
    entry: (TableId, u64),
    walk: &mut Walk,
) {
    match action {
        Action::Output {
            port: PortNo::CONTROLLER,
            ..
        } => walk.shown.push(entry),
        // A packet never goes back out of the port it came in on.
        Action::Output { port, .. } if port.0 != in_port => {
            walk.outputs.push((port.0, packet.clone(), *queue))
        }
        Action::Output { .. } => {}
        Action::SetQueue(id) => *queue = id.0,
        Action::SetField(Oxm::IpDscp(dscp)) => {
            assert!(packet.ip().is_some(), "only IP packets have a mark");
            MutableIpv4Packet::new(&mut packet.frame[14..])
                .unwrap()
                .set_dscp(*dscp);
        }
        Action::SetField(Oxm::EthDst(mac)) => {
            packet.frame[..6].copy_from_slice(&mac.value().0);
        }
        other => panic!("no entry does {other:?}"),
    }
}

/// For assertions about hosts.
pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
