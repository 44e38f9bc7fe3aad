//! The description of a flow on the command line: `name=paid,to=10.0.0.4:5201,rate=10Mbit`.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use pnet::util::MacAddr;

use super::raw::RawSource;
use super::stamp::Stamp;
use super::{MAX_PAYLOAD, TrafficError, frame_overhead};

/// Most packets that a flow sends at once.
const MAX_BURST: u32 = 10_000;

/// One UDP flow: at a constant rate, or in bursts that make up for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSpec {
    /// How reports call it.
    pub name: String,
    /// Its mark in every payload; by default a number of its own.
    pub stream: u32,
    /// Destination.
    pub to: SocketAddr,
    /// Source port; zero: the system's choice.
    pub from_port: u16,
    /// Frame bits per second.
    pub rate_bps: u64,
    /// The rate after an odd number of SIGUSR1, frame bits per second; the same where there is no other.
    pub other_rate_bps: u64,
    /// Packets that leave together; one for a constant rate.
    pub burst_packets: u32,
    /// UDP payload in bytes.
    pub payload_bytes: u32,
    /// Differentiated services code point, 0 to 63, as the sender sets it.
    pub dscp: u8,
    /// Set for frames made by hand, with addresses of somebody else.
    pub raw: Option<RawSource>,
}

impl FlowSpec {
    /// Bytes of each frame on the wire, as switches count them.
    #[must_use]
    pub fn frame_bytes(&self) -> u32 {
        self.payload_bytes + frame_overhead(self.to.is_ipv6())
    }
}

impl FromStr for FlowSpec {
    type Err = TrafficError;

    /// Comma-separated `key=value`: `to` and `rate` are needed; `name`, `stream`, `payload`, `burst`, `other-rate`,
    /// `dscp` and `from-port` are not. `iface`, `src-mac`, `dst-mac` and `src-ip` belong together and make a flow of raw frames.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |problem: String| TrafficError::BadFlow {
            flow: text.to_owned(),
            problem,
        };
        let mut fields = std::collections::BTreeMap::new();
        for part in text.split(',') {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| bad(format!("{part:?} is not key=value")))?;
            if fields.insert(key.trim(), value.trim()).is_some() {
                return Err(bad(format!("{key} is given twice")));
            }
        }
        let to: SocketAddr = parse(fields.remove("to"), "to")
            .map_err(&bad)?
            .ok_or_else(|| bad("needs to=ADDRESS:PORT".to_owned()))?;
        let rate = fields
            .remove("rate")
            .ok_or_else(|| bad("needs rate=, as in rate=10Mbit".to_owned()))?;
        let rate_bps = parse_rate(rate)
            .filter(|rate| *rate > 0)
            .ok_or_else(|| bad(format!("{rate:?} is no rate")))?;
        let other_rate_bps = match fields.remove("other-rate") {
            None => rate_bps,
            Some(other) => parse_rate(other)
                .filter(|rate| *rate > 0)
                .ok_or_else(|| bad(format!("{other:?} is no rate")))?,
        };
        let burst_packets = parse(fields.remove("burst"), "burst")
            .map_err(&bad)?
            .unwrap_or(1);
        if !(1..=MAX_BURST).contains(&burst_packets) {
            return Err(bad(format!("a burst has 1 to {MAX_BURST} packets")));
        }
        let payload_bytes = parse(fields.remove("payload"), "payload")
            .map_err(&bad)?
            .unwrap_or(MAX_PAYLOAD);
        if !(Stamp::BYTES..=MAX_PAYLOAD as usize).contains(&(payload_bytes as usize)) {
            return Err(bad(format!(
                "a payload has {} to {MAX_PAYLOAD} bytes",
                Stamp::BYTES
            )));
        }
        let dscp = parse(fields.remove("dscp"), "dscp")
            .map_err(&bad)?
            .unwrap_or(0);
        if dscp > 63 {
            return Err(bad("dscp is at most 63".to_owned()));
        }
        let raw = {
            let iface = fields.remove("iface").map(str::to_owned);
            let source_mac: Option<MacAddr> =
                parse(fields.remove("src-mac"), "src-mac").map_err(&bad)?;
            let destination_mac: Option<MacAddr> =
                parse(fields.remove("dst-mac"), "dst-mac").map_err(&bad)?;
            let source_ip: Option<Ipv4Addr> =
                parse(fields.remove("src-ip"), "src-ip").map_err(&bad)?;
            match (iface, source_mac, destination_mac, source_ip) {
                (None, None, None, None) => None,
                (Some(interface), Some(source_mac), Some(destination_mac), Some(source_ip)) => {
                    if !to.is_ipv4() {
                        return Err(bad("raw frames are IPv4".to_owned()));
                    }
                    Some(RawSource {
                        interface,
                        source_mac,
                        destination_mac,
                        source_ip,
                    })
                }
                _ => {
                    return Err(bad(
                        "iface, src-mac, dst-mac and src-ip belong together".to_owned()
                    ));
                }
            }
        };
        let flow = Self {
            name: fields.remove("name").unwrap_or("flow").to_owned(),
            stream: parse(fields.remove("stream"), "stream")
                .map_err(&bad)?
                .unwrap_or(0),
            to,
            from_port: parse(fields.remove("from-port"), "from-port")
                .map_err(&bad)?
                .unwrap_or(0),
            rate_bps,
            other_rate_bps,
            burst_packets,
            payload_bytes,
            dscp,
            raw,
        };
        match fields.keys().next() {
            Some(unknown) => Err(bad(format!("unknown key {unknown:?}"))),
            None => Ok(flow),
        }
    }
}

fn parse<T: FromStr>(value: Option<&str>, key: &str) -> Result<Option<T>, String>
where
    T::Err: std::fmt::Display,
{
    value
        .map(|value| {
            value
                .parse()
                .map_err(|error| format!("{key}={value}: {error}"))
        })
        .transpose()
}

/// `10Mbit`, `500kbit`, `1Gbit` or plain bits per second, whole numbers only.
fn parse_rate(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" | "bit" => 1,
        "k" | "kbit" => 1_000,
        "M" | "Mbit" => 1_000_000,
        "G" | "Gbit" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_short_form_has_sensible_defaults() {
        let flow: FlowSpec = "to=10.0.0.4:5201,rate=10Mbit".parse().unwrap();
        assert_eq!(
            (
                flow.rate_bps,
                flow.payload_bytes,
                flow.frame_bytes(),
                flow.dscp
            ),
            (10_000_000, 1400, 1442, 0)
        );
        assert_eq!(flow.raw, None);
        let flow: FlowSpec = "to=[fd00::4]:5201,rate=10Mbit".parse().unwrap();
        assert_eq!(
            flow.frame_bytes(),
            1462,
            "the header of IPv6 is 20 bytes longer"
        );
    }

    #[test]
    fn a_spoofed_flow_names_all_its_addresses() {
        let raw = "to=10.0.0.4:5201,rate=5Mbit,iface=m1-eth0,src-mac=02:00:00:00:00:01,dst-mac=02:00:00:00:00:04,src-ip=10.0.0.1,from-port=4000,dscp=46";
        let flow: FlowSpec = raw.parse().unwrap();
        assert_eq!(flow.raw.unwrap().source_ip, Ipv4Addr::new(10, 0, 0, 1));
        assert!(
            "to=10.0.0.4:5201,rate=5Mbit,iface=m1-eth0"
                .parse::<FlowSpec>()
                .is_err()
        );
    }

    #[test]
    fn nonsense_is_told_and_not_sent() {
        for text in [
            "",
            "to=10.0.0.4:5201",
            "rate=1Mbit",
            "to=x,rate=1",
            "to=10.0.0.4:1,rate=0",
            "to=10.0.0.4:1,rate=-1",
            "to=10.0.0.4:1,rate=1Tbit",
            "to=10.0.0.4:1,rate=99999999999Gbit",
            "to=10.0.0.4:1,rate=1,payload=23",
            "to=10.0.0.4:1,rate=1,payload=1401",
            "to=10.0.0.4:1,rate=1,dscp=64",
            "to=10.0.0.4:1,rate=1,burst=0",
            "to=10.0.0.4:1,rate=1,burst=10001",
            "to=10.0.0.4:1,rate=1,other-rate=0",
            "to=10.0.0.4:1,rate=1,colour=red",
            "to=10.0.0.4:1,rate=1,rate=2",
        ] {
            assert!(text.parse::<FlowSpec>().is_err(), "{text:?} was accepted");
        }
    }
}
