//! The few frames the controller reads and makes itself: ARP, neighbour discovery, and the
//! source addresses of whatever else a host sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet::packet::{
    MutablePacket, Packet,
    arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket},
    ethernet::{EtherType, EtherTypes, EthernetPacket, MutableEthernetPacket},
    icmpv6::{self, Icmpv6Packet, Icmpv6Types},
    ip::IpNextHeaderProtocols,
    ipv4::Ipv4Packet,
    ipv6::{Ipv6Packet, MutableIpv6Packet},
    vlan::VlanPacket,
};

use super::MacAddr;

/// Source of the frames with which the controller asks hosts whether they are there. A locally
/// administered address; the answers go no further than the first switch.
pub(crate) const PROBE_MAC: MacAddr = MacAddr([0x02, 0x70, 0x66, 0x00, 0x00, 0x01]);
/// Link-local source of neighbour solicitations.
const PROBE_IPV6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0070, 0x66ff, 0xfe00, 1);

const ETHERNET_HEADER: usize = 14;
const VLAN_TAG: usize = 4;
const ARP_BODY: usize = 28;
const IPV6_HEADER: usize = 40;
/// Type, code, checksum, reserved, target, and the source link-layer address option.
const SOLICITATION: usize = 32;

/// Who sent a frame, as far as the frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// Ethernet source.
    pub(crate) mac: MacAddr,
    /// The address it speaks for, if that is one host's address.
    pub(crate) address: Option<IpAddr>,
}

/// What the controller reads of a frame that a host sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) sender: Sender,
    /// It speaks for itself: not ARP on behalf of another station, from which nothing is learned.
    pub(crate) for_itself: bool,
    /// Ethernet destination.
    pub(crate) destination: MacAddr,
    pub(crate) words: Words,
}

/// Whether a frame tells others where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// By ARP.
    Arp,
    /// By a neighbour solicitation or advertisement, right behind the IPv6 header.
    NeighbourDiscovery,
    /// It does not, or not in a way that is read here: behind IPv6 extension headers, SNAP or a third tag.
    Other,
}

/// Reads a frame. `None` for what no honest host sends: truncated, or from a group or nobody.
pub(crate) fn read(frame: &[u8]) -> Option<Heard> {
    let ethernet = EthernetPacket::new(frame)?;
    let mac = MacAddr::from(ethernet.get_source());
    if !mac.is_station() {
        return None;
    }
    let (ethertype, body) = untagged(frame, &ethernet)?;
    let (mut for_itself, mut words) = (true, Words::Other);
    let address = match ethertype {
        EtherTypes::Arp => {
            let (owner, address) = arp_sender(body)?;
            (for_itself, words) = (owner == mac, Words::Arp);
            Some(IpAddr::V4(address))
        }
        EtherTypes::Ipv4 => Some(IpAddr::V4(Ipv4Packet::new(body)?.get_source())),
        EtherTypes::Ipv6 => {
            let (address, of_words) = ipv6_sender(body)?;
            words = of_words;
            Some(IpAddr::V6(address))
        }
        _ => None,
    };
    Some(Heard {
        sender: Sender {
            mac,
            address: address.filter(|address| is_host_address(*address)),
        },
        for_itself,
        destination: MacAddr::from(ethernet.get_destination()),
        words,
    })
}

/// Whether one host can have this address: not unspecified, loopback, multicast or broadcast.
fn is_host_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            first != 0 && !v4.is_loopback() && !v4.is_multicast() && first < 240
        }
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_loopback() && !v6.is_multicast(),
    }
}

/// The EtherType and what follows it, behind at most two VLAN tags.
fn untagged<'a>(frame: &'a [u8], ethernet: &EthernetPacket<'_>) -> Option<(EtherType, &'a [u8])> {
    let (mut ethertype, mut body) = (ethernet.get_ethertype(), frame.get(ETHERNET_HEADER..)?);
    for _ in 0..2 {
        if !matches!(ethertype, EtherTypes::Vlan | EtherTypes::PBridge) {
            break;
        }
        ethertype = VlanPacket::new(body)?.get_ethertype();
        body = body.get(VLAN_TAG..)?;
    }
    Some((ethertype, body))
}

/// Whose address ARP (RFC 826) tells.
fn arp_sender(body: &[u8]) -> Option<(MacAddr, Ipv4Addr)> {
    let arp = ArpPacket::new(body)?;
    let is_read = arp.get_hardware_type() == ArpHardwareTypes::Ethernet
        && arp.get_protocol_type() == EtherTypes::Ipv4;
    is_read.then(|| {
        (
            MacAddr::from(arp.get_sender_hw_addr()),
            arp.get_sender_proto_addr(),
        )
    })
}

/// The source, or the target of a neighbour advertisement, which speaks for that address.
fn ipv6_sender(body: &[u8]) -> Option<(Ipv6Addr, Words)> {
    let ip = Ipv6Packet::new(body)?;
    if ip.get_next_header() == IpNextHeaderProtocols::Icmpv6 {
        let icmp = Icmpv6Packet::new(ip.payload())?;
        match icmp.get_icmpv6_type() {
            Icmpv6Types::NeighborAdvert => {
                // Reserved (4 bytes), then the target (RFC 4861 section 4.4).
                let target: [u8; 16] = *icmp.payload().get(4..)?.first_chunk()?;
                return Some((Ipv6Addr::from(target), Words::NeighbourDiscovery));
            }
            Icmpv6Types::NeighborSolicit => {
                return Some((ip.get_source(), Words::NeighbourDiscovery));
            }
            _ => {}
        }
    }
    Some((ip.get_source(), Words::Other))
}

/// Asks the owner of an address, at its port, whether it is still there: an ARP probe (RFC 5227)
/// or a neighbour solicitation (RFC 4861).
pub(crate) fn presence_probe(owner: MacAddr, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp_probe(owner, address),
        IpAddr::V6(address) => solicitation(owner, address),
    }
}

fn ethernet_frame(to: MacAddr, ethertype: EtherType, body_len: usize) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET_HEADER + body_len];
    if let Some(mut ethernet) = MutableEthernetPacket::new(&mut frame) {
        ethernet.set_destination(to.into());
        ethernet.set_source(PROBE_MAC.into());
        ethernet.set_ethertype(ethertype);
    }
    frame
}

fn arp_probe(owner: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet_frame(owner, EtherTypes::Arp, ARP_BODY);
    if let Some(mut arp) = frame
        .get_mut(ETHERNET_HEADER..)
        .and_then(MutableArpPacket::new)
    {
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_operation(ArpOperations::Request);
        arp.set_sender_hw_addr(PROBE_MAC.into());
        arp.set_target_proto_addr(address);
    }
    frame
}

fn solicitation(owner: MacAddr, address: Ipv6Addr) -> Vec<u8> {
    let mut message = Vec::with_capacity(SOLICITATION);
    message.extend([Icmpv6Types::NeighborSolicit.0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(address.octets());
    message.extend([1, 1]); // source link-layer address, 1 x 8 bytes
    message.extend(PROBE_MAC.0);
    if let Some(icmp) = Icmpv6Packet::new(&message) {
        let checksum = icmpv6::checksum(&icmp, &PROBE_IPV6, &address);
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&checksum.to_be_bytes());
        }
    }
    let mut frame = ethernet_frame(owner, EtherTypes::Ipv6, IPV6_HEADER + message.len());
    if let Some(mut ip) = frame
        .get_mut(ETHERNET_HEADER..)
        .and_then(MutableIpv6Packet::new)
    {
        ip.set_version(6);
        ip.set_payload_length(u16::try_from(message.len()).unwrap_or(u16::MAX));
        ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
        ip.set_hop_limit(255);
        ip.set_source(PROBE_IPV6);
        ip.set_destination(address);
        ip.payload_mut().copy_from_slice(&message);
    }
    frame
}

impl MacAddr {
    /// Whether this names one station: neither a group nor all zeros.
    pub(crate) fn is_station(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0 && self.0 != [0; 6]
    }
}

impl From<pnet::util::MacAddr> for MacAddr {
    fn from(mac: pnet::util::MacAddr) -> Self {
        Self(mac.octets())
    }
}

impl From<MacAddr> for pnet::util::MacAddr {
    fn from(MacAddr([a, b, c, d, e, f]): MacAddr) -> Self {
        Self::new(a, b, c, d, e, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    #[test]
    fn a_probe_is_what_a_host_answers() {
        let address = Ipv4Addr::new(10, 0, 0, 7);
        let frame = presence_probe(HOST, address.into());
        let ethernet = EthernetPacket::new(&frame).unwrap();
        assert_eq!(MacAddr::from(ethernet.get_destination()), HOST);
        let arp = ArpPacket::new(ethernet.payload()).unwrap();
        assert_eq!(arp.get_operation(), ArpOperations::Request);
        assert_eq!(
            arp.get_sender_proto_addr(),
            Ipv4Addr::UNSPECIFIED,
            "RFC 5227: a probe claims nothing"
        );
        assert_eq!(arp.get_target_proto_addr(), address);

        let v6: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let frame = presence_probe(HOST, v6.into());
        let ip = Ipv6Packet::new(&frame[ETHERNET_HEADER..]).unwrap();
        assert_eq!((ip.get_hop_limit(), ip.get_destination()), (255, v6));
        let icmp = Icmpv6Packet::new(ip.payload()).unwrap();
        assert_eq!(
            icmp.get_checksum(),
            icmpv6::checksum(&icmp, &ip.get_source(), &v6)
        );
        assert_eq!(icmp.get_icmpv6_type(), Icmpv6Types::NeighborSolicit);
    }

    #[test]
    fn arp_on_behalf_of_another_station_is_told_apart() {
        let mut frame = presence_probe(HOST, Ipv4Addr::new(10, 0, 0, 7).into());
        let heard = Heard {
            sender: Sender {
                mac: PROBE_MAC,
                address: None,
            },
            for_itself: true,
            destination: HOST,
            words: Words::Arp,
        };
        assert_eq!(read(&frame), Some(heard));
        frame[ETHERNET_HEADER + 8] ^= 2; // first octet of the ARP sender's MAC address
        assert!(read(&frame).is_some_and(|heard| !heard.for_itself));
    }

    #[test]
    fn tags_are_looked_behind() {
        let frame = presence_probe(HOST, Ipv4Addr::new(10, 0, 0, 7).into());
        let mut tagged = frame.clone();
        tagged.splice(12..12, [0x88, 0xa8, 0, 5, 0x81, 0, 0, 7]);
        assert_eq!(read(&tagged), read(&frame));
        tagged.splice(12..12, [0x88, 0xa8, 0, 3]);
        assert!(
            read(&tagged).is_some_and(|heard| heard.words == Words::Other),
            "three are not read"
        );
    }

    /// A neighbour advertisement (RFC 4861) by `HOST` for `target`, behind these extension headers.
    fn advertisement(target: Ipv6Addr, extensions: &[u8], first: u8) -> Vec<u8> {
        let mut message = vec![Icmpv6Types::NeighborAdvert.0, 0, 0, 0, 0x20, 0, 0, 0];
        message.extend(target.octets());
        let mut frame = solicitation(HOST, target);
        frame.truncate(ETHERNET_HEADER + IPV6_HEADER);
        frame[ETHERNET_HEADER + 6] = first;
        frame[ETHERNET_HEADER + 4..][..2]
            .copy_from_slice(&((extensions.len() + message.len()) as u16).to_be_bytes());
        frame.extend(extensions);
        frame.extend(message);
        frame
    }

    #[test]
    fn an_advertisement_speaks_for_its_target_and_behind_extension_headers_it_is_not_read() {
        const ICMPV6: u8 = 58;
        let target: Ipv6Addr = "2001:db8::9".parse().unwrap();
        let heard = read(&advertisement(target, &[], ICMPV6)).unwrap();
        assert_eq!(
            (heard.sender.address, heard.words),
            (Some(target.into()), Words::NeighbourDiscovery)
        );
        // Hop-by-hop options, routing, destination options: next header, length 0, padding (RFC 8200 section 4).
        for header in [0, 43, 60] {
            let behind = [ICMPV6, 0, 1, 4, 0, 0, 0, 0];
            let heard = read(&advertisement(target, &behind, header)).unwrap();
            assert_eq!(heard.words, Words::Other, "{header}");
            assert_ne!(heard.sender.address, Some(target.into()));
        }
    }

    #[test]
    fn arp_behind_snap_is_not_read() {
        let mut frame = presence_probe(HOST, Ipv4Addr::new(10, 0, 0, 7).into());
        let length = ((frame.len() - ETHERNET_HEADER + 8) as u16).to_be_bytes();
        frame.splice(12..12, [length[0], length[1], 0xaa, 0xaa, 3, 0, 0, 0]);
        assert!(read(&frame).is_some_and(|heard| heard.words == Words::Other));
    }

    #[test]
    fn groups_loopback_and_nothing_are_no_host_addresses() {
        for bad in [
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
        ] {
            assert!(!is_host_address(bad.parse().unwrap()), "{bad}");
        }
        for good in ["10.0.0.1", "169.254.3.4", "fe80::1", "2001:db8::1"] {
            assert!(is_host_address(good.parse().unwrap()), "{good}");
        }
    }

    proptest! {
        #[test]
        fn no_frame_makes_the_reader_panic(mut frame in proptest::collection::vec(any::<u8>(), 0..120), ethertype in prop::sample::select(vec![0x0800u16, 0x0806, 0x86dd, 0x8100, 0x88a8])) {
            if frame.len() >= 14 {
                frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            }
            let _ = read(&frame);
        }
    }
}
