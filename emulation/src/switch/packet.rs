//! A frame: reading its header fields, and writing them with the checksums kept right.

use std::ops::Range;

use rust_openflow::{EthType, IpProto, Oxm};

use super::pattern::{Key, lay_out, place};

/// VLAN tags a packet may have that are told apart from what it carries.
pub(super) const MAX_TAGS: usize = 2;

/// An Ethernet frame and where its headers begin.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    bytes: Vec<u8>,
    /// VLAN tags told apart from what the frame carries: at most one when it arrives, as Open
    /// vSwitch's `vlan-limit` has it, and those pushed on.
    tags: usize,
    network: Option<Network>,
}

#[derive(Clone, Copy, Debug)]
struct Network {
    eth_type: EthType,
    at: usize,
    /// What an IP packet carries and where, if its first bytes are here.
    transport: Option<(IpProto, usize)>,
    proto: IpProto,
}

impl Packet {
    /// A frame, or less than one: below the 14 bytes of an Ethernet header it has no field at all.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let mut packet = Self {
            bytes,
            tags: 0,
            network: None,
        };
        let tagged = matches!(packet.u16(12), Some(0x8100 | 0x88a8)) && packet.len() >= 18;
        packet.tags = usize::from(tagged);
        packet.locate();
        packet
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn u8(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.slice(at, 2)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u16::from_be_bytes)
    }

    fn slice(&self, at: usize, len: usize) -> Option<&[u8]> {
        self.bytes.get(at..at + len)
    }

    fn has_tag(&self) -> bool {
        self.tags > 0
    }

    /// Where the EtherType after the VLAN tags stands.
    fn eth_type_at(&self) -> usize {
        12 + 4 * self.tags
    }

    /// EtherType as Open vSwitch matches it: 0x05ff for frames of IEEE 802.3 without one.
    fn eth_type(&self) -> EthType {
        match self.u16(self.eth_type_at()) {
            Some(value) if value >= 0x0600 => EthType(value),
            _ => EthType(0x05ff),
        }
    }

    fn locate(&mut self) {
        let at = self.eth_type_at() + 2;
        let eth_type = self.eth_type();
        let found = match eth_type {
            EthType::IPV4 => self.ipv4(at),
            EthType::IPV6 => self.ipv6(at),
            _ => Some((IpProto(0), None)),
        };
        self.network = found.map(|(proto, transport)| Network {
            eth_type,
            at,
            transport: transport.map(|at| (proto, at)),
            proto,
        });
    }

    /// Protocol, and where its header is: nowhere in a fragment, also the first one, as Open vSwitch has it (`ovs-ofctl(8)`,
    /// `set-frags`, mode `normal`).
    fn ipv4(&self, at: usize) -> Option<(IpProto, Option<usize>)> {
        let first = self.u8(at)?;
        let header = usize::from(first & 15) * 4;
        let total = usize::from(self.u16(at + 2)?);
        let there = self.bytes.len().checked_sub(at)?;
        if first >> 4 != 4 || header < 20 || total < header || total > there {
            return None;
        }
        let proto = IpProto(self.u8(at + 9)?);
        // More of them, or not the first.
        let is_fragment = self.u16(at + 6)? & 0x3fff != 0;
        Some((proto, (!is_fragment).then_some(at + header)))
    }

    /// Protocol after the extension headers.
    fn ipv6(&self, at: usize) -> Option<(IpProto, Option<usize>)> {
        let mut next = self.u8(at + 6)?;
        let mut here = at + 40;
        self.slice(at, 40)?;
        if at + 40 + usize::from(self.u16(at + 4)?) > self.bytes.len() {
            return None;
        }
        loop {
            match next {
                0 | 43 | 60 => {
                    let Some((following, len)) = self.u8(here).zip(self.u8(here + 1)) else {
                        return Some((IpProto(next), None));
                    };
                    next = following;
                    here += 8 + 8 * usize::from(len);
                }
                44 => {
                    let (Some(following), Some(offset)) = (self.u8(here), self.u16(here + 2))
                    else {
                        return Some((IpProto(next), None));
                    };
                    if offset & 0xfff9 != 0 {
                        return Some((IpProto(following), None));
                    }
                    next = following;
                    here += 8;
                }
                _ => return Some((IpProto(next), Some(here))),
            }
        }
    }

    /// Every field the frame has.
    pub(super) fn key(&self) -> Key {
        let mut key = Key::default();
        if self.len() < 14 {
            return key;
        }
        let mut copy = |to: Range<usize>, at: usize| {
            if let Some(bytes) = self.slice(at, to.len()) {
                key.set(to, bytes);
            }
        };
        copy(place::ETH_DST, 0);
        copy(place::ETH_SRC, 6);
        if let Some(Network { eth_type, at, .. }) = self.network {
            match eth_type {
                EthType::IPV4 => {
                    copy(place::IPV4_SRC, at + 12);
                    copy(place::IPV4_DST, at + 16);
                }
                EthType::IPV6 => {
                    copy(place::IPV6_SRC, at + 8);
                    copy(place::IPV6_DST, at + 24);
                }
                EthType::ARP if self.is_arp(at) => {
                    copy(place::ARP_OP, at + 6);
                    copy(place::ARP_SHA, at + 8);
                    copy(place::ARP_SPA, at + 14);
                    copy(place::ARP_THA, at + 18);
                    copy(place::ARP_TPA, at + 24);
                }
                _ => {}
            }
        }
        if let Some((proto, at)) = self.transport() {
            match proto {
                IpProto::TCP | IpProto::UDP | IpProto::SCTP => {
                    copy(place::L4_SRC, at);
                    copy(place::L4_DST, at + 2);
                }
                IpProto::ICMP | IpProto::ICMPV6 => {
                    copy(place::ICMP_TYPE, at);
                    copy(place::ICMP_CODE, at + 1);
                }
                _ => {}
            }
        }
        if let Some(at) = self.neighbour_discovery() {
            copy(place::ND_TARGET, at + 8);
            if let Some((to, at)) = self.link_layer_option(at) {
                copy(to, at);
            }
        }
        key.set(place::ETH_TYPE, &self.eth_type().0.to_be_bytes());
        self.bits_of_bytes(&mut key);
        key
    }

    /// The fields that are only some bits of their bytes.
    fn bits_of_bytes(&self, key: &mut Key) {
        if self.has_tag()
            && let Some(tci) = self.u16(14)
        {
            key.set(place::VLAN_VID, &(tci & 0x0fff | 0x1000).to_be_bytes());
            key.set(
                place::VLAN_PCP,
                &tci.to_be_bytes().map(|byte| byte >> 5)[..1],
            );
        }
        let Some(network) = self.network else {
            return;
        };
        if let Some(class) = self.traffic_class(network) {
            key.set(place::IP_DSCP, &[class >> 2]);
            key.set(place::IP_ECN, &[class & 3]);
            key.set(place::IP_PROTO, &[network.proto.0]);
        }
        let word = self
            .slice(network.at, 4)
            .and_then(|word| word.try_into().ok());
        let Some(word) = word.map(u32::from_be_bytes) else {
            return;
        };
        match network.eth_type {
            EthType::IPV6 => key.set(place::IPV6_FLABEL, &(word & 0xf_ffff).to_be_bytes()),
            EthType::MPLS => {
                let [.., low, _] = word.to_be_bytes();
                key.set(place::MPLS_LABEL, &(word >> 12).to_be_bytes());
                key.set(place::MPLS_TC, &[low >> 1 & 7]);
                key.set(place::MPLS_BOS, &[low & 1]);
            }
            _ => {}
        }
    }

    /// What the IP packet carries and where, if its header is whole.
    fn transport(&self) -> Option<(IpProto, usize)> {
        let (proto, at) = self.network?.transport?;
        let len = match proto {
            IpProto::TCP => usize::from(self.u8(at + 12)? >> 4) * 4,
            IpProto::SCTP => 12,
            _ => 8,
        };
        let impossible = proto == IpProto::TCP && len < 20;
        self.slice(at, len)
            .filter(|_| !impossible)
            .map(|_| (proto, at))
    }

    fn is_arp(&self, at: usize) -> bool {
        self.slice(at, 6) == Some(&[0, 1, 8, 0, 6, 4]) && self.slice(at, 28).is_some()
    }

    fn neighbour_discovery(&self) -> Option<usize> {
        let (proto, at) = self.transport()?;
        let solicitation_or_advertisement = matches!(self.u8(at), Some(135 | 136));
        (proto == IpProto::ICMPV6 && solicitation_or_advertisement && self.u8(at + 1) == Some(0))
            .then_some(at)
    }

    /// Where the link-layer address option of a neighbour discovery packet is, and which it is.
    fn link_layer_option(&self, at: usize) -> Option<(Range<usize>, usize)> {
        let mut here = at + 24;
        loop {
            let (kind, len) = (self.u8(here)?, usize::from(self.u8(here + 1)?) * 8);
            match (self.u8(at)?, kind, len) {
                (_, _, 0) => return None,
                (135, 1, 8) => return Some((place::ND_SLL, here + 2)),
                (136, 2, 8) => return Some((place::ND_TLL, here + 2)),
                _ => here += len,
            }
        }
    }

    fn traffic_class(&self, network: Network) -> Option<u8> {
        match network.eth_type {
            EthType::IPV4 => self.u8(network.at + 1),
            EthType::IPV6 => self.u16(network.at).map(|word| {
                let [_, low] = (word >> 4).to_be_bytes();
                low
            }),
            _ => None,
        }
    }

    /// Adds a VLAN tag of id 0 in front of others. Of more than [`MAX_TAGS`], as in Open vSwitch,
    /// the innermost is lost.
    pub(super) fn push_vlan(&mut self, eth_type: EthType) {
        if self.len() < 14 {
            return;
        }
        if self.tags == MAX_TAGS {
            self.bytes.drain(16..20);
            self.tags -= 1;
        }
        let [a, b] = eth_type.0.to_be_bytes();
        self.bytes.splice(12..12, [a, b, 0, 0]);
        self.tags += 1;
        self.locate();
    }

    /// Removes the outermost VLAN tag, if there is one.
    pub(super) fn pop_vlan(&mut self) {
        if self.has_tag() {
            self.bytes.drain(12..16);
            self.tags -= 1;
            self.locate();
        }
    }

    /// Writes a header field; nothing happens to a packet that has none of that kind. Fields of
    /// the pipeline (port, metadata, tunnel) are not in the frame.
    pub(super) fn set_field(&mut self, field: &Oxm) {
        let Some((_, value, _)) = lay_out(field) else {
            return;
        };
        match field {
            Oxm::EthDst(_) => self.write(0, &value),
            Oxm::EthSrc(_) => self.write(6, &value),
            Oxm::VlanVid(vid) => {
                // Buckets may do that to packets without a tag: then they get one.
                if !self.has_tag() {
                    self.push_vlan(EthType::VLAN);
                }
                let tci = self.u16(14).unwrap_or(0) & 0xf000 | vid.value().0 & 0x0fff;
                self.write(14, &tci.to_be_bytes());
            }
            Oxm::VlanPcp(pcp) if self.has_tag() => {
                let tci = self.u16(14).unwrap_or(0) & 0x1fff | u16::from(*pcp) << 13;
                self.write(14, &tci.to_be_bytes());
            }
            Oxm::ArpOp(_) => self.write_arp(6, &value),
            Oxm::ArpSha(_) => self.write_arp(8, &value),
            Oxm::ArpSpa(_) => self.write_arp(14, &value),
            Oxm::ArpTha(_) => self.write_arp(18, &value),
            Oxm::ArpTpa(_) => self.write_arp(24, &value),
            Oxm::TcpSrc(_) => self.write_transport(IpProto::TCP, 0, &value),
            Oxm::TcpDst(_) => self.write_transport(IpProto::TCP, 2, &value),
            Oxm::UdpSrc(_) => self.write_transport(IpProto::UDP, 0, &value),
            Oxm::UdpDst(_) => self.write_transport(IpProto::UDP, 2, &value),
            Oxm::SctpSrc(_) => self.write_transport(IpProto::SCTP, 0, &value),
            Oxm::SctpDst(_) => self.write_transport(IpProto::SCTP, 2, &value),
            Oxm::IcmpType(_) => self.write_transport(IpProto::ICMP, 0, &value),
            Oxm::IcmpCode(_) => self.write_transport(IpProto::ICMP, 1, &value),
            Oxm::Icmpv6Type(_) => self.write_transport(IpProto::ICMPV6, 0, &value),
            Oxm::Icmpv6Code(_) => self.write_transport(IpProto::ICMPV6, 1, &value),
            Oxm::Ipv6NdTarget(_) if self.neighbour_discovery().is_some() => {
                self.write_transport(IpProto::ICMPV6, 8, &value);
            }
            _ => self.set_network_field(field, &value),
        }
    }

    fn set_network_field(&mut self, field: &Oxm, value: &[u8]) {
        let Some(network) = self.network else {
            return;
        };
        let at = network.at;
        match (network.eth_type, field) {
            (EthType::IPV4, Oxm::Ipv4Src(_)) => self.write_address(at + 12, value),
            (EthType::IPV4, Oxm::Ipv4Dst(_)) => self.write_address(at + 16, value),
            (EthType::IPV6, Oxm::Ipv6Src(_)) => self.write_address(at + 8, value),
            (EthType::IPV6, Oxm::Ipv6Dst(_)) => self.write_address(at + 24, value),
            (_, Oxm::IpDscp(dscp)) => {
                let ecn = self.traffic_class(network).unwrap_or(0) & 3;
                self.set_traffic_class(network, dscp << 2 | ecn);
            }
            (_, Oxm::IpEcn(ecn)) => {
                let dscp = self.traffic_class(network).unwrap_or(0) & 0xfc;
                self.set_traffic_class(network, dscp | ecn & 3);
            }
            (EthType::IPV6, Oxm::Ipv6Flabel(label)) => {
                let [_, b, c, d] = label.value().to_be_bytes();
                let high = self.u8(at + 1).unwrap_or(0) & 0xf0;
                self.write(at + 1, &[high | b & 0x0f, c, d]);
            }
            _ => {}
        }
    }

    fn set_traffic_class(&mut self, network: Network, class: u8) {
        let at = network.at;
        match network.eth_type {
            EthType::IPV4 => {
                let old = self.u16(at).unwrap_or(0);
                let new = old & 0xff00 | u16::from(class);
                self.adjust_checksum(at + 10, &old.to_be_bytes(), &new.to_be_bytes());
                self.write(at + 1, &[class]);
            }
            EthType::IPV6 => {
                let word = self.u16(at).unwrap_or(0) & 0xf00f | u16::from(class) << 4;
                self.write(at, &word.to_be_bytes());
            }
            _ => {}
        }
    }

    /// An IP address: also in the header's checksum and in that of what the packet carries, even
    /// if the rest of that header is nonsense.
    fn write_address(&mut self, at: usize, value: &[u8]) {
        let Some(network) = self.network else {
            return;
        };
        let Some(old) = self.slice(at, value.len()).map(<[u8]>::to_vec) else {
            return;
        };
        if network.eth_type == EthType::IPV4 {
            self.adjust_checksum(network.at + 10, &old, value);
        }
        let shortest = if network.proto == IpProto::TCP { 20 } else { 8 };
        if let Some((proto, transport)) = network.transport
            && self.slice(transport, shortest).is_some()
        {
            match proto {
                IpProto::TCP => self.adjust_checksum(transport + 16, &old, value),
                IpProto::UDP => self.adjust_udp_checksum(transport + 6, &old, value),
                IpProto::ICMPV6 => self.adjust_checksum(transport + 2, &old, value),
                _ => {}
            }
        }
        self.write(at, value);
    }

    /// `value` at `offset` of the transport header, if it is of this protocol. SCTP's CRC is left
    /// as it is.
    fn write_transport(&mut self, wanted: IpProto, offset: usize, value: &[u8]) {
        let transport = self.transport();
        let Some((proto, at)) = transport.filter(|(proto, _)| *proto == wanted) else {
            return;
        };
        let (start, end) = (offset & !1, (offset + value.len()).next_multiple_of(2));
        let Some(old) = self.slice(at + start, end - start).map(<[u8]>::to_vec) else {
            return;
        };
        self.write(at + offset, value);
        let new = self.slice(at + start, end - start).map(<[u8]>::to_vec);
        let new = new.unwrap_or_default();
        match proto {
            IpProto::TCP => self.adjust_checksum(at + 16, &old, &new),
            IpProto::UDP => self.adjust_udp_checksum(at + 6, &old, &new),
            IpProto::ICMP | IpProto::ICMPV6 => self.adjust_checksum(at + 2, &old, &new),
            _ => {}
        }
    }

    fn write_arp(&mut self, offset: usize, value: &[u8]) {
        if let Some(network) = self.network
            && network.eth_type == EthType::ARP
            && self.is_arp(network.at)
        {
            self.write(network.at + offset, value);
        }
    }

    fn write(&mut self, at: usize, value: &[u8]) {
        if let Some(field) = self.bytes.get_mut(at..at + value.len()) {
            field.copy_from_slice(value);
        }
    }

    /// RFC 768: a checksum of zero is none, and stays none.
    fn adjust_udp_checksum(&mut self, at: usize, old: &[u8], new: &[u8]) {
        if self.u16(at).is_some_and(|sum| sum != 0) {
            self.adjust_checksum(at, old, new);
            if self.u16(at) == Some(0) {
                self.write(at, &[0xff, 0xff]);
            }
        }
    }

    /// RFC 1624: what a checksum becomes when covered bytes change.
    fn adjust_checksum(&mut self, at: usize, old: &[u8], new: &[u8]) {
        let Some(sum) = self.u16(at) else {
            return;
        };
        let words = |bytes| {
            let (words, _): (&[[u8; 2]], _) = <[u8]>::as_chunks(bytes);
            words.iter().copied().map(u16::from_be_bytes)
        };
        let mut total = u32::from(!sum);
        total += words(old).map(|word| u32::from(!word)).sum::<u32>();
        total += words(new).map(u32::from).sum::<u32>();
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        let folded = u16::try_from(total).unwrap_or(u16::MAX);
        self.write(at, &(!folded).to_be_bytes());
    }
}
