//! Flow entries and meters as they are wanted on a switch.

use std::{net::IpAddr, sync::Arc};

use payflow_qos::{Class, PortNo, SoldRate, Time};
use rust_openflow::{
    Action, EthType, Instruction, Masked, Match, MeterBand, MeterFlags, MeterId, Oxm, QueueId,
    TableId,
};

use super::MacAddr;
use crate::core::planted::{Fault, is_planted};

/// What makes two entries the same one on a switch: adding an entry with the same key replaces it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FlowKey {
    pub(crate) table: TableId,
    pub(crate) priority: u16,
    pub(crate) matching: Match,
}

/// What an entry does and how long it is wanted. Its cookie follows from its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlowEntry {
    /// In canonical order, as switches report them.
    pub(crate) instructions: Arc<[Instruction]>,
    /// The hard time-out is armed for this instant; `None` stays until it is removed.
    pub(crate) until: Option<Time>,
}

impl FlowEntry {
    pub(crate) fn new(instructions: Vec<Instruction>) -> Self {
        Self {
            instructions: Instruction::canonical(instructions).into(),
            until: None,
        }
    }

    /// The meter that packets pass.
    pub(crate) fn meter(&self) -> Option<MeterId> {
        meter_of(&self.instructions)
    }
}

/// The meter that packets pass.
pub(crate) fn meter_of(instructions: &[Instruction]) -> Option<MeterId> {
    instructions.iter().find_map(|it| match it {
        Instruction::Meter(meter) => Some(*meter),
        _ => None,
    })
}

/// What a meter lets pass; everything above is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MeterSpec {
    /// Frame kbit/s, and kbit of burst.
    Kbps { rate: u32, burst: u32 },
    /// Packets/s, and packets of burst.
    Packets { rate: u32, burst: u32 },
}

impl MeterSpec {
    /// The meter of a paid flow.
    pub(crate) fn sold(class: Class, rate: SoldRate) -> Self {
        Self::Kbps {
            rate: rate.kbps(),
            burst: class.burst_kbit(rate),
        }
    }

    pub(crate) fn flags(self) -> MeterFlags {
        let unit = match self {
            Self::Kbps { .. } => MeterFlags::KBPS,
            Self::Packets { .. } => MeterFlags::PKTPS,
        };
        unit | MeterFlags::BURST | MeterFlags::STATS
    }

    pub(crate) fn bands(self) -> Vec<MeterBand> {
        let (Self::Kbps { rate, burst } | Self::Packets { rate, burst }) = self;
        vec![MeterBand::Drop { rate, burst }]
    }

    /// Reads a meter back; `None` if no meter of ours looks like this. Whether the switch keeps
    /// counters makes no difference.
    pub(crate) fn of(flags: MeterFlags, bands: &[MeterBand]) -> Option<Self> {
        let [MeterBand::Drop { rate, burst }] = *bands else {
            return None;
        };
        let kbps = Self::Kbps { rate, burst };
        let packets = Self::Packets { rate, burst };
        [kbps, packets]
            .into_iter()
            .find(|spec| spec.flags() == flags | MeterFlags::STATS)
    }
}

/// First meter number of reservations; the reservation number (modulo 2^30) is added.
const RESERVATION_METERS: u32 = 0x1_0000;
/// First meter number of the packet-in meters, one per port.
const PACKET_IN_METERS: u32 = 0x100;
/// First meter number of the meters for packets to the API, one per port.
const API_METERS: u32 = 0x8000;
/// How many ports have a number of their own in these two ranges. The others share the last one.
const METERED_PORTS: u32 = 0x7eff;

/// The meter of a reservation; all generations of its path share it.
pub(crate) fn reservation_meter(reservation: u64) -> MeterId {
    let numbers = if is_planted(Fault::ReuseMeterEarly) {
        4
    } else {
        1 << 30
    };
    let low = u32::try_from(reservation % numbers).unwrap_or_default();
    MeterId(RESERVATION_METERS + low)
}

/// The meter for what one port may send to the controller, and for its ARP and neighbour discovery.
pub(crate) fn packet_in_meter(port: PortNo) -> MeterId {
    MeterId(PACKET_IN_METERS + port.0.min(METERED_PORTS))
}

/// The meter for what the hosts behind one port may send to the API.
pub(crate) fn api_meter(port: PortNo) -> MeterId {
    MeterId(API_METERS + port.0.min(METERED_PORTS))
}

/// Whether a meter number is in the ranges that belong to the controller.
pub(crate) fn is_our_meter(meter: MeterId) -> bool {
    let ours = RESERVATION_METERS..RESERVATION_METERS + (1 << 30);
    let per_port = |first: u32| first..=first + METERED_PORTS;
    ours.contains(&meter.0)
        || per_port(PACKET_IN_METERS).contains(&meter.0)
        || per_port(API_METERS).contains(&meter.0)
}

/// Short ways to write matches and actions in the words of this crate.
pub(crate) trait MatchExt: Sized {
    /// Came in on this port.
    fn port_in(self, port: PortNo) -> Self;
    /// Comes from this station.
    fn mac_src(self, mac: MacAddr) -> Self;
    /// Goes to this station.
    fn mac_dst(self, mac: MacAddr) -> Self;
    /// An IP packet from this address; states the EtherType.
    fn ip_src(self, address: IpAddr) -> Self;
    /// An IP packet to this address; states the EtherType.
    fn ip_dst(self, address: IpAddr) -> Self;
}

impl MatchExt for Match {
    fn port_in(self, port: PortNo) -> Self {
        self.in_port(rust_openflow::PortNo(port.0))
    }

    fn mac_src(self, mac: MacAddr) -> Self {
        self.eth_src(rust_openflow::MacAddr(mac.0))
    }

    fn mac_dst(self, mac: MacAddr) -> Self {
        self.eth_dst(rust_openflow::MacAddr(mac.0))
    }

    fn ip_src(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.eth_type(EthType::IPV4).ipv4_src(address),
            IpAddr::V6(address) => self.eth_type(EthType::IPV6).ipv6_src(address),
        }
    }

    fn ip_dst(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.eth_type(EthType::IPV4).ipv4_dst(address),
            IpAddr::V6(address) => self.eth_type(EthType::IPV6).ipv6_dst(address),
        }
    }
}

/// Out of a port of the switch.
pub(crate) fn output(port: PortNo) -> Action {
    Action::output(rust_openflow::PortNo(port.0))
}

/// Into the queue of a class.
pub(crate) fn queue(class: Class) -> Action {
    Action::SetQueue(QueueId(class.queue()))
}

/// Writes the mark of a class; the packet must be known to be IP.
pub(crate) fn mark(class: Class) -> Action {
    Action::SetField(Oxm::IpDscp(class.dscp()))
}

/// Writes the destination's MAC address.
pub(crate) fn to_mac(mac: MacAddr) -> Action {
    Action::SetField(Oxm::EthDst(Masked::exact(rust_openflow::MacAddr(mac.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meter_numbers_of_ports_and_reservations_never_meet() {
        let ports = [0, 1, METERED_PORTS - 1, METERED_PORTS, 0xffff_fffe].map(PortNo);
        for a in ports {
            for b in ports {
                assert_ne!(packet_in_meter(a), api_meter(b));
            }
            for reservation in [0, 1, (1 << 30) - 1, 1 << 30, LAST_RESERVATION] {
                assert_ne!(packet_in_meter(a), reservation_meter(reservation));
                assert_ne!(api_meter(a), reservation_meter(reservation));
                assert!(is_our_meter(reservation_meter(reservation)));
            }
            assert!(is_our_meter(packet_in_meter(a)) && is_our_meter(api_meter(a)));
        }
        assert!(!is_our_meter(MeterId(1)) && !is_our_meter(MeterId::CONTROLLER));
    }

    const LAST_RESERVATION: u64 = super::super::FlowId::RESERVATION_LIMIT - 1;

    #[test]
    fn a_meter_reads_back_as_it_was_written() {
        for spec in [
            MeterSpec::Kbps {
                rate: 10,
                burst: 20,
            },
            MeterSpec::Packets { rate: 1, burst: 1 },
        ] {
            assert_eq!(MeterSpec::of(spec.flags(), &spec.bands()), Some(spec));
        }
        let two = [
            MeterBand::Drop { rate: 1, burst: 1 },
            MeterBand::Drop { rate: 2, burst: 1 },
        ];
        assert_eq!(
            MeterSpec::of(MeterFlags::KBPS | MeterFlags::BURST, &two),
            None
        );
    }
}
