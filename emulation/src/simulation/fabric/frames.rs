//! The frames that hosts send: ARP, and the first packet of what they offer.

use std::net::Ipv4Addr;

use payflow_controller::core::network::{MacAddr, PortRange, Protocol, Selector};

use super::shape::Station;

/// Whom hosts ask for when they only want to be known.
pub(super) const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);

const BROADCAST: MacAddr = MacAddr([0xff; 6]);
const ARP: [u8; 2] = [8, 6];
/// Ethernet, IPv4, lengths of their addresses (RFC 826).
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// A host tells who and where it is, by asking for nobody.
#[must_use]
pub fn announcement(mac: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    question(mac, address, NOBODY)
}

/// A host asks for another.
#[must_use]
pub fn question(mac: MacAddr, address: Ipv4Addr, wanted: Ipv4Addr) -> Vec<u8> {
    let target = (MacAddr([0; 6]), wanted);
    arp(REQUEST, (mac, address), target, BROADCAST)
}

/// What a host answers to this frame, if anything.
#[must_use]
pub fn answer(station: &Station, frame: &[u8]) -> Option<Vec<u8>> {
    let asks = frame.get(12..14)? == ARP && frame.get(20..22)? == REQUEST;
    let for_me = frame.get(38..42)? == station.address.octets();
    let to_me = frame.get(..6)? == BROADCAST.0 || frame.get(..6)? == station.mac.0;
    if !(asks && for_me && to_me) {
        return None;
    }
    let asker = MacAddr(frame.get(22..28)?.try_into().ok()?);
    let address: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    let me = (station.mac, station.address);
    Some(arp(REPLY, me, (asker, address.into()), asker))
}

fn arp(
    operation: [u8; 2],
    sender: (MacAddr, Ipv4Addr),
    target: (MacAddr, Ipv4Addr),
    to: MacAddr,
) -> Vec<u8> {
    [
        &to.0[..],
        &sender.0.0,
        &ARP,
        &ARP_HEAD,
        &operation,
        &sender.0.0,
        &sender.1.octets(),
        &target.0.0,
        &target.1.octets(),
    ]
    .concat()
}

/// A packet that a selector takes, as this station sends it: with a mark, if it claims to have paid.
#[must_use]
pub fn packet(selector: &Selector, from: MacAddr, to: MacAddr, dscp: u8) -> Vec<u8> {
    let (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) =
        (selector.source, selector.destination)
    else {
        return Vec::new();
    };
    // A UDP datagram of 20 bytes; a TCP header of five words, which is as long.
    let (protocol, rest) = match selector.protocol {
        Protocol::Udp => (17, [0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        Protocol::Tcp => (6, [0, 0, 0, 0, 0, 0, 0, 0, 5 << 4, 0, 0, 0, 0, 0, 0, 0]),
    };
    let ports = [selector.source_port, selector.destination_port];
    let [from_port, to_port] =
        ports.map(|port| port.map_or(40_000, PortRange::first).to_be_bytes());
    let total_len: u16 = 40;
    let ip_head = [
        &[0x45, dscp << 2][..],
        &total_len.to_be_bytes(),
        &[0, 0, 0, 0, 64, protocol, 0, 0],
        &source.octets(),
        &destination.octets(),
    ];
    [
        &to.0[..],
        &from.0,
        &[8, 0],
        &ip_head.concat(),
        &from_port,
        &to_port,
        &rest,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::fabric::shape::Jack;

    fn station(last: u8) -> Station {
        Station {
            address: Ipv4Addr::new(10, 0, 0, last),
            mac: MacAddr([2, 0, 0, 0, 0, last]),
            jack: Jack { switch: 1, eth: 1 },
        }
    }

    #[test]
    fn a_host_answers_who_asks_for_it_and_nobody_else() {
        let (asked, other) = (station(1), station(2));
        let mut question = announcement(other.mac, other.address);
        assert_eq!(answer(&asked, &question), None);
        question[38..42].copy_from_slice(&asked.address.octets());
        let answered = answer(&asked, &question).expect("it is asked for");
        assert_eq!(answered[..6], other.mac.0);
        assert_eq!(answered[6..12], asked.mac.0);
        assert_eq!(answered[20..22], REPLY);
        assert_eq!(answer(&other, &question), None);
    }
}
