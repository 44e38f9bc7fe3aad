//! Rates as applications count them, and what they are in frames.

use payflow_qos::SoldRate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use super::network::Protocol;

/// What a flow sends, as its application counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Payload bits per second.
    pub rate_bps: u64,
    /// Payload bytes of each packet: of its UDP datagram, or of its TCP segment.
    pub packet_bytes: u32,
}

impl Payload {
    /// The largest packet: jumbo frames of 9000 bytes carry no more.
    pub const MOST_PACKET_BYTES: u32 = 9_000;

    /// The rate in frame bits per second, rounded up: every packet has its headers besides, of Ethernet (14 bytes), IPv4 or IPv6
    /// (20 or 40) and UDP or TCP (8, or 32 with the time stamps that systems send). `None` for packets of no bytes or of more
    /// than [`Self::MOST_PACKET_BYTES`], and above what can be sold at all.
    #[must_use]
    pub fn frame_bps(self, protocol: Protocol, address: IpAddr) -> Option<u64> {
        let network = if address.is_ipv4() { 20 } else { 40 };
        let transport = match protocol {
            Protocol::Udp => 8,
            Protocol::Tcp => 32,
        };
        if !(1..=Self::MOST_PACKET_BYTES).contains(&self.packet_bytes) {
            return None;
        }
        let packet = u128::from(self.packet_bytes);
        let frame_bits = u128::from(self.rate_bps) * (packet + 14 + network + transport);
        let bps = u64::try_from(frame_bits.div_ceil(packet)).ok()?;
        (bps <= SoldRate(u32::MAX).bps()).then_some(bps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(rate_bps: u64, packet_bytes: u32, protocol: Protocol, address: &str) -> Option<u64> {
        let address = address.parse().ok()?;
        let payload = Payload {
            rate_bps,
            packet_bytes,
        };
        payload.frame_bps(protocol, address)
    }

    #[test]
    fn a_thousand_bytes_of_udp_over_ipv4_are_1042_on_the_wire() {
        assert_eq!(
            frames(1_000_000, 1_000, Protocol::Udp, "10.0.0.1"),
            Some(1_042_000)
        );
        assert_eq!(
            frames(1_000_000, 1_000, Protocol::Udp, "fd00::1"),
            Some(1_062_000)
        );
        assert_eq!(
            frames(1_000_000, 1_000, Protocol::Tcp, "10.0.0.1"),
            Some(1_066_000)
        );
    }

    #[test]
    fn a_frame_rate_is_rounded_up() {
        assert_eq!(frames(1, 1_000, Protocol::Udp, "10.0.0.1"), Some(2));
        assert_eq!(frames(0, 1_000, Protocol::Udp, "10.0.0.1"), Some(0));
    }

    #[test]
    fn what_no_packet_or_meter_can_be_has_no_rate() {
        for packet in [0, 9_001] {
            assert_eq!(frames(1_000, packet, Protocol::Udp, "10.0.0.1"), None);
        }
        assert_eq!(frames(u64::MAX, 1, Protocol::Udp, "10.0.0.1"), None);
        assert_eq!(
            frames(4_294_967_296_000, 9_000, Protocol::Udp, "10.0.0.1"),
            None
        );
    }
}
