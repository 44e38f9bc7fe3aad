//! Which packets a flow is for: addresses, protocol and ranges of ports, and the masked matches that cover a range.

use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr};

use rust_openflow::{IpProto, Match};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::entry::MatchExt as _;

/// Which packets a reservation is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// Source address of the packets.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Source ports; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<PortRange>,
    /// Destination ports; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<PortRange>,
}

/// Transport protocol of a flow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// UDP, IP protocol 17.
    Udp,
    /// TCP, IP protocol 6.
    Tcp,
}

/// Transport ports from the first to the last, both included. Written as a number where it is one port, else as text: `"5000-5010"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// A value and the bits of it that count: OXM with a mask, OpenFlow 1.3 section 7.2.3.
type Masked = (u16, u16);

impl Selector {
    /// Most entries that one flow may take at each switch of its path. One range takes up to 30; two take the product of theirs.
    pub const MAX_ENTRIES: usize = 64;

    /// How many entries it takes at each switch.
    #[must_use]
    pub fn entries(&self) -> usize {
        let blocks = |ports: Option<PortRange>| ports.map_or(1, |it| it.cover().len());
        blocks(self.source_port) * blocks(self.destination_port)
    }

    /// Whether some packet is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let ports = |a: Option<PortRange>, b: Option<PortRange>| match (a, b) {
            (Some(a), Some(b)) => a.overlaps(b),
            _ => true,
        };
        self.source == other.source
            && self.destination == other.destination
            && self.protocol == other.protocol
            && ports(self.source_port, other.source_port)
            && ports(self.destination_port, other.destination_port)
    }

    /// The matches that take exactly its packets, each packet in one of them.
    pub(crate) fn matches(&self) -> Vec<Match> {
        let packets = Match::new().ip_src(self.source).ip_dst(self.destination);
        let (packets, source, destination): (_, Under, Under) = match self.protocol {
            Protocol::Udp => (
                packets.ip_proto(IpProto::UDP),
                Match::udp_src_masked,
                Match::udp_dst_masked,
            ),
            Protocol::Tcp => (
                packets.ip_proto(IpProto::TCP),
                Match::tcp_src_masked,
                Match::tcp_dst_masked,
            ),
        };
        let blocks = |ports: Option<PortRange>| match ports {
            None => vec![None],
            Some(ports) => ports.cover().into_iter().map(Some).collect(),
        };
        let narrowed = |packets: Match, under: Under, block: Option<Masked>| match block {
            None => packets,
            Some((value, mask)) => under(packets, value, mask),
        };
        let destinations = blocks(self.destination_port);
        let both = blocks(self.source_port).into_iter().flat_map(|from| {
            let packets = narrowed(packets.clone(), source, from);
            let to = destinations.iter();
            to.map(move |to| narrowed(packets.clone(), destination, *to))
                .collect::<Vec<_>>()
        });
        both.collect()
    }
}

/// Adds a port under a mask.
type Under = fn(Match, u16, u16) -> Match;

impl PortRange {
    /// `None` where the last is before the first.
    #[must_use]
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The lowest port.
    #[must_use]
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    #[must_use]
    pub fn last(self) -> u16 {
        self.last
    }

    /// Whether a port is in it.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether some port is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The fewest masked values that have exactly these ports, each port in one of them; at most 30.
    #[must_use]
    pub fn cover(self) -> Vec<Masked> {
        let mut blocks = Vec::new();
        let (mut at, end) = (u32::from(self.first), u32::from(self.last) + 1);
        while at < end {
            // The largest block that begins here and does not go beyond the end.
            let aligned = if at == 0 { 16 } else { at.trailing_zeros() };
            let bits = aligned.min((end - at).ilog2());
            let mask = 0xffff_u32 << bits & 0xffff;
            let low = |value: u32| u16::try_from(value & 0xffff).unwrap_or_default();
            blocks.push((low(at), low(mask)));
            at += 1 << bits;
        }
        blocks
    }
}

impl From<u16> for PortRange {
    fn from(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Debug for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        // `parse` takes a sign as well.
        let port = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|_| digits)
        };
        let wrong =
            || format!("{text:?} is no port and no range of ports; write 5201 or 5000-5010");
        let (first, last) = port(first).zip(port(last)).ok_or_else(wrong)?;
        Self::new(first, last)
            .ok_or_else(|| format!("the range of ports {text} ends before it begins"))
    }
}

impl JsonSchema for PortRange {
    fn schema_name() -> Cow<'static, str> {
        "PortRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A transport port, or a range of them as text; both ends are included.",
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": 65535 },
                { "type": "string", "pattern": "^[1-9][0-9]{0,4}-[1-9][0-9]{0,4}$", "examples": ["5000-5010"] }
            ]
        })
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last {
            serializer.serialize_u16(self.first)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrRange)
    }
}

struct NumberOrRange;

impl de::Visitor<'_> for NumberOrRange {
    type Value = PortRange;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port, or a range of ports as text such as \"5000-5010\"")
    }

    fn visit_u64<E: de::Error>(self, port: u64) -> Result<PortRange, E> {
        let port = u16::try_from(port).ok().map(PortRange::from);
        port.ok_or_else(|| E::custom("a port is at most 65535"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PortRange, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range() -> impl Strategy<Value = PortRange> {
        (any::<u16>(), any::<u16>()).prop_map(|(a, b)| PortRange {
            first: a.min(b),
            last: a.max(b),
        })
    }

    /// Few of everything, so that much overlaps and much just does not.
    fn selector() -> impl Strategy<Value = Selector> {
        let address = prop_oneof![
            (1u8..3).prop_map(|it| IpAddr::from([10, 0, 0, it])),
            (1u16..3).prop_map(|it| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, it])),
        ];
        let protocol = prop_oneof![Just(Protocol::Udp), Just(Protocol::Tcp)];
        let ports = || {
            prop::option::of((0u16..6, 0u16..6).prop_map(|(a, b)| PortRange {
                first: a.min(b),
                last: a.max(b),
            }))
        };
        (address.clone(), address, protocol, ports(), ports()).prop_map(
            |(source, destination, protocol, source_port, destination_port)| Selector {
                source,
                destination,
                protocol,
                source_port,
                destination_port,
            },
        )
    }

    /// Whether it takes a packet with these ports, in the plainest words.
    fn takes(selector: &Selector, from: u16, to: u16) -> bool {
        let is_in = |ports: Option<PortRange>, port| match ports {
            None => true,
            Some(PortRange { first, last }) => first <= port && port <= last,
        };
        is_in(selector.source_port, from) && is_in(selector.destination_port, to)
    }

    proptest! {
        #[test]
        fn masked_ports_are_exactly_the_range_and_each_port_is_in_one(range in range()) {
            let cover = range.cover();
            prop_assert!(cover.len() <= 30, "{} blocks", cover.len());
            for port in 0..=u16::MAX {
                let hits = cover.iter().filter(|(value, mask)| port & mask == *value).count();
                prop_assert_eq!(hits, usize::from(range.contains(port)), "port {}", port);
            }
        }

        #[test]
        fn selectors_overlap_where_a_packet_is_in_both(a in selector(), b in selector()) {
            let same_ends = (a.source, a.destination, a.protocol) == (b.source, b.destination, b.protocol);
            let ports = (0..7).flat_map(|from| (0..7).map(move |to| (from, to)));
            let shared = ports.into_iter().any(|(from, to)| takes(&a, from, to) && takes(&b, from, to));
            prop_assert_eq!(a.overlaps(&b), same_ends && shared);
            prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
            prop_assert!(a.overlaps(&a));
        }

        #[test]
        fn a_range_reads_back_as_it_was_written(range in range()) {
            prop_assert_eq!(range.to_string().parse::<PortRange>(), Ok(range));
            let json = serde_json::to_string(&range).expect("a range is JSON");
            prop_assert_eq!(serde_json::from_str::<PortRange>(&json).expect("what was written"), range);
        }

        #[test]
        fn a_flow_has_as_many_matches_as_it_says_and_no_two_are_the_same(it in selector()) {
            let matches = it.matches();
            prop_assert_eq!(matches.len(), it.entries());
            let different: std::collections::BTreeSet<_> = matches.iter().collect();
            prop_assert_eq!(different.len(), matches.len());
        }
    }

    #[test]
    fn the_widest_cover_has_thirty_blocks_and_one_port_has_one() {
        let widest = PortRange::new(1, 65_534).expect("in order");
        assert_eq!(widest.cover().len(), 30);
        assert_eq!(PortRange::from(5201).cover(), [(5201, 0xffff)]);
        let aligned = PortRange::new(5_120, 5_127).expect("in order");
        assert_eq!(aligned.cover(), [(5_120, 0xfff8)]);
    }

    #[test]
    fn one_port_is_a_number_in_json_and_what_is_no_range_is_refused() {
        let written = |range: PortRange| serde_json::to_string(&range).expect("a range is JSON");
        assert_eq!(written(5201.into()), "5201");
        assert_eq!(written(PortRange::new(1, 9).expect("in order")), "\"1-9\"");
        for wrong in [
            "70000",
            "-1",
            "1.5",
            "\"9-1\"",
            "\"+1-2\"",
            "\"1-\"",
            "\"-\"",
            "\"1-2-3\"",
            "\"1-70000\"",
            "null",
            "[1,2]",
        ] {
            assert!(
                serde_json::from_str::<PortRange>(wrong).is_err(),
                "{wrong} was taken"
            );
        }
    }
}
