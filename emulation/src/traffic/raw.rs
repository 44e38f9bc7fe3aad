//! UDP packets made by hand down to the Ethernet header, for hosts that pretend to be others.

use std::net::{Ipv4Addr, SocketAddr};

use pnet::datalink::{self, Channel, DataLinkSender};
use pnet::packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{self, Ipv4Flags, MutableIpv4Packet};
use pnet::packet::udp::{self, MutableUdpPacket};
use pnet::util::MacAddr;

use super::TrafficError;
use super::flow::FlowSpec;
use super::stamp::Stamp;

const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;
const UDP_BYTES: usize = 8;

/// Addresses that a raw flow claims, and the interface it leaves through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSource {
    /// Interface of the real sender.
    pub interface: String,
    /// Claimed source MAC address.
    pub source_mac: MacAddr,
    /// Destination MAC address; nobody is asked for it.
    pub destination_mac: MacAddr,
    /// Claimed source address.
    pub source_ip: Ipv4Addr,
}

/// Sends the frames of one raw flow.
pub(super) struct RawSender {
    sender: Box<dyn DataLinkSender>,
    frame: Vec<u8>,
}

impl RawSender {
    pub(super) fn open(flow: &FlowSpec, source: &RawSource) -> Result<Self, TrafficError> {
        let what = format!("raw socket on {}", source.interface);
        let interface = datalink::interfaces()
            .into_iter()
            .find(|candidate| candidate.name == source.interface)
            .ok_or_else(|| TrafficError::Io {
                what: what.clone(),
                source: std::io::ErrorKind::NotFound.into(),
            })?;
        let config = datalink::Config {
            promiscuous: false,
            ..datalink::Config::default()
        };
        match datalink::channel(&interface, config).map_err(TrafficError::io(what.clone()))? {
            Channel::Ethernet(sender, _) => Ok(Self {
                sender,
                frame: template(flow, source)?,
            }),
            _ => Err(TrafficError::Io {
                what,
                source: std::io::ErrorKind::Unsupported.into(),
            }),
        }
    }

    /// Sends one packet; whether the system took it.
    pub(super) fn send(&mut self, stamp: Stamp) -> bool {
        let headers = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES;
        for (byte, value) in self.frame.iter_mut().skip(headers).zip(stamp.encode()) {
            *byte = value;
        }
        matches!(self.sender.send_to(&self.frame, None), Some(Ok(())))
    }
}

/// The frame without its stamp. Its UDP checksum is zero, which IPv4 allows: "none was made" (RFC 768).
fn template(flow: &FlowSpec, source: &RawSource) -> Result<Vec<u8>, TrafficError> {
    let bad = |problem: &str| TrafficError::BadFlow {
        flow: flow.name.clone(),
        problem: problem.to_owned(),
    };
    let SocketAddr::V4(to) = flow.to else {
        return Err(bad("raw frames are IPv4"));
    };
    let payload = usize::try_from(flow.payload_bytes).map_err(|_| bad("payload too long"))?;
    let ip_length =
        u16::try_from(IPV4_BYTES + UDP_BYTES + payload).map_err(|_| bad("payload too long"))?;
    let mut frame = vec![0; ETHERNET_BYTES + usize::from(ip_length)];

    let mut ethernet =
        MutableEthernetPacket::new(&mut frame).ok_or_else(|| bad("no room for Ethernet"))?;
    ethernet.set_source(source.source_mac);
    ethernet.set_destination(source.destination_mac);
    ethernet.set_ethertype(EtherTypes::Ipv4);

    let (_, packet) = frame.split_at_mut(ETHERNET_BYTES);
    let mut ip = MutableIpv4Packet::new(packet).ok_or_else(|| bad("no room for IPv4"))?;
    ip.set_version(4);
    ip.set_header_length(5);
    ip.set_dscp(flow.dscp);
    ip.set_total_length(ip_length);
    ip.set_flags(Ipv4Flags::DontFragment);
    ip.set_ttl(64);
    ip.set_next_level_protocol(IpNextHeaderProtocols::Udp);
    ip.set_source(source.source_ip);
    ip.set_destination(*to.ip());
    let checksum = ipv4::checksum(&ip.to_immutable());
    ip.set_checksum(checksum);

    let (_, datagram) = packet.split_at_mut(IPV4_BYTES);
    let mut udp = MutableUdpPacket::new(datagram).ok_or_else(|| bad("no room for UDP"))?;
    udp.set_source(flow.from_port);
    udp.set_destination(to.port());
    udp.set_length(ip_length - 20);
    debug_assert_eq!(udp::MutableUdpPacket::minimum_packet_size(), UDP_BYTES);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use pnet::packet::Packet;
    use pnet::packet::ethernet::EthernetPacket;
    use pnet::packet::ipv4::Ipv4Packet;
    use pnet::packet::udp::UdpPacket;

    #[test]
    fn a_spoofed_frame_is_a_correct_packet_of_somebody_else() {
        let flow: FlowSpec = "to=10.0.0.4:5201,rate=5Mbit,iface=m1-eth0,src-mac=02:00:00:00:00:01,dst-mac=02:00:00:00:00:04,src-ip=10.0.0.1,from-port=4000,dscp=46,payload=100"
            .parse()
            .unwrap();
        let frame = template(&flow, flow.raw.as_ref().unwrap()).unwrap();
        assert_eq!(frame.len(), 142);
        let ethernet = EthernetPacket::new(&frame).unwrap();
        assert_eq!(ethernet.get_source(), MacAddr::new(2, 0, 0, 0, 0, 1));
        let ip = Ipv4Packet::new(ethernet.payload()).unwrap();
        assert_eq!(
            (ip.get_source(), ip.get_dscp(), ip.get_total_length()),
            (Ipv4Addr::new(10, 0, 0, 1), 46, 128)
        );
        assert_eq!(ip.get_checksum(), ipv4::checksum(&ip));
        let udp = UdpPacket::new(ip.payload()).unwrap();
        assert_eq!(
            (udp.get_source(), udp.get_destination(), udp.get_length()),
            (4000, 5201, 108)
        );
    }
}
