//! The fields of a packet laid out as bytes, so that matching, specificity and overlap are three
//! comparisons under a mask, eight bytes at a time.

use rust_openflow::{ErrorCode, EthType, IpProto, Match, Oxm, VlanVid};

/// One place per field. Ports of TCP, UDP and SCTP share theirs: a match that names one names the
/// protocol too.
pub(super) mod place {
    use std::ops::Range;

    pub(crate) const IN_PORT: Range<usize> = 0..4;
    pub(crate) const METADATA: Range<usize> = 4..12;
    pub(crate) const ETH_DST: Range<usize> = 12..18;
    pub(crate) const ETH_SRC: Range<usize> = 18..24;
    pub(crate) const ETH_TYPE: Range<usize> = 24..26;
    pub(crate) const VLAN_VID: Range<usize> = 26..28;
    pub(crate) const VLAN_PCP: Range<usize> = 28..29;
    pub(crate) const IP_DSCP: Range<usize> = 29..30;
    pub(crate) const IP_ECN: Range<usize> = 30..31;
    pub(crate) const IP_PROTO: Range<usize> = 31..32;
    pub(crate) const IPV4_SRC: Range<usize> = 32..36;
    pub(crate) const IPV4_DST: Range<usize> = 36..40;
    pub(crate) const L4_SRC: Range<usize> = 40..42;
    pub(crate) const L4_DST: Range<usize> = 42..44;
    pub(crate) const ICMP_TYPE: Range<usize> = 44..45;
    pub(crate) const ICMP_CODE: Range<usize> = 45..46;
    pub(crate) const ARP_OP: Range<usize> = 46..48;
    pub(crate) const ARP_SPA: Range<usize> = 48..52;
    pub(crate) const ARP_TPA: Range<usize> = 52..56;
    pub(crate) const ARP_SHA: Range<usize> = 56..62;
    pub(crate) const ARP_THA: Range<usize> = 62..68;
    pub(crate) const IPV6_SRC: Range<usize> = 68..84;
    pub(crate) const IPV6_DST: Range<usize> = 84..100;
    pub(crate) const IPV6_FLABEL: Range<usize> = 100..104;
    pub(crate) const ND_TARGET: Range<usize> = 104..120;
    pub(crate) const ND_SLL: Range<usize> = 120..126;
    pub(crate) const ND_TLL: Range<usize> = 126..132;
    pub(crate) const MPLS_LABEL: Range<usize> = 132..136;
    pub(crate) const MPLS_TC: Range<usize> = 136..137;
    pub(crate) const MPLS_BOS: Range<usize> = 137..138;
    pub(crate) const TUNNEL_ID: Range<usize> = 138..146;
}

/// Words of eight bytes in a key: all places, and a few bytes that stay zero.
const WORDS: usize = 19;

/// The fields of one packet, absent ones zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key([[u8; 8]; WORDS]);

impl Default for Key {
    fn default() -> Self {
        Self([[0; 8]; WORDS])
    }
}

impl Key {
    pub(super) fn set(&mut self, place: std::ops::Range<usize>, value: &[u8]) {
        if let Some(field) = self.0.as_flattened_mut().get_mut(place)
            && field.len() == value.len()
        {
            field.copy_from_slice(value);
        }
    }

    pub(super) fn get<const N: usize>(&self, place: std::ops::Range<usize>) -> [u8; N] {
        let field = self.0.as_flattened().get(place);
        let field = field.and_then(|field| field.try_into().ok());
        field.unwrap_or([0; N])
    }

    /// The same number for every packet of a flow, in every run (FNV-1a, its bits mixed at the end):
    /// of addresses, protocol and ports, not of marks, which may differ from packet to packet.
    pub(super) fn flow_hash(&self) -> u64 {
        const OF_A_FLOW: [std::ops::Range<usize>; 6] = [
            place::ETH_DST.start..place::VLAN_VID.end,
            place::IP_PROTO,
            place::IPV4_SRC,
            place::IPV4_DST,
            place::L4_SRC.start..place::L4_DST.end,
            place::IPV6_SRC.start..place::IPV6_DST.end,
        ];
        let bytes = self.0.as_flattened();
        let bytes = OF_A_FLOW.into_iter().filter_map(|place| bytes.get(place));
        let hash = bytes.flatten().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    }

    fn word(&self, at: usize) -> u64 {
        self.0.get(at).copied().map_or(0, u64::from_ne_bytes)
    }

    fn words(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied().map(u64::from_ne_bytes)
    }
}

/// A match in the layout of a [`Key`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    value: Key,
    mask: Key,
}

/// The word of a pattern that says most: most packets that do not match it are told by this alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    word: usize,
    mask: u64,
    value: u64,
}

impl Hint {
    /// `false` if the packet surely does not match.
    pub(super) fn may_match(self, key: &Key) -> bool {
        key.word(self.word) & self.mask == self.value
    }
}

impl Pattern {
    /// Lays out a match, or says why Open vSwitch refuses it.
    pub(super) fn new(flow_match: &Match) -> Result<Self, ErrorCode> {
        let mut pattern = Self {
            value: Key::default(),
            mask: Key::default(),
        };
        for field in flow_match.fields() {
            let (place, value, mask) = lay_out(field).ok_or(ErrorCode::BAD_FIELD)?;
            if !fits(field) {
                return Err(ErrorCode::MATCH_BAD_VALUE);
            }
            if !pattern.has_prerequisite(field) {
                return Err(ErrorCode::BAD_PREREQ);
            }
            pattern.value.set(place.clone(), &value);
            pattern.mask.set(place, &mask);
        }
        Ok(pattern)
    }

    /// What is sure of one packet: everything.
    pub(super) fn of_packet(key: &Key) -> Self {
        Self {
            value: key.clone(),
            mask: Key([[0xff; 8]; WORDS]),
        }
    }

    pub(super) fn matches(&self, key: &Key) -> bool {
        let words = self.value.words().zip(self.mask.words()).zip(key.words());
        words.fold(0, |differs, ((value, mask), key)| {
            differs | (key & mask ^ value)
        }) == 0
    }

    pub(super) fn hint(&self) -> Hint {
        let says = |word: &usize| self.mask.word(*word).count_ones();
        let word = (0..WORDS).max_by_key(says).unwrap_or(0);
        Hint {
            word,
            mask: self.mask.word(word),
            value: self.value.word(word),
        }
    }

    /// Whether everything that matches `self` matches `wider` too.
    pub(super) fn is_within(&self, wider: &Self) -> bool {
        let outer = wider.value.words().zip(wider.mask.words());
        let inner = self.value.words().zip(self.mask.words());
        outer.zip(inner).all(|((wide, wide_mask), (value, mask))| {
            wide_mask & mask == wide_mask && value & wide_mask == wide
        })
    }

    /// Whether some packet could match both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let a = self.value.words().zip(self.mask.words());
        let b = other.value.words().zip(other.mask.words());
        a.zip(b)
            .all(|((a, a_mask), (b, b_mask))| (a ^ b) & a_mask & b_mask == 0)
    }

    /// Whether it matches every packet.
    pub(super) fn is_any(&self) -> bool {
        self.mask.words().all(|word| word == 0)
    }

    /// EtherType the match requires exactly, if it does.
    pub(super) fn eth_type(&self) -> Option<EthType> {
        let exact = self.mask.get::<2>(place::ETH_TYPE) == [0xff; 2];
        exact.then(|| EthType(u16::from_be_bytes(self.value.get(place::ETH_TYPE))))
    }

    fn ip_proto(&self) -> Option<IpProto> {
        let [mask] = self.mask.get(place::IP_PROTO);
        let [value] = self.value.get(place::IP_PROTO);
        (mask == 0xff).then_some(IpProto(value))
    }

    /// Whether the match makes sure that there is a VLAN tag.
    pub(super) fn has_vlan(&self) -> bool {
        u16::from_be_bytes(self.value.get(place::VLAN_VID)) & VlanVid::PRESENT.0 != 0
    }

    /// Whether the packet is sure to have the field (OpenFlow 1.3.5, section 7.2.3.6).
    pub(super) fn has_prerequisite(&self, field: &Oxm) -> bool {
        let (ethernet, proto) = (self.eth_type(), self.ip_proto());
        let ip = matches!(ethernet, Some(EthType::IPV4 | EthType::IPV6));
        let over_ip = |wanted| ip && proto == Some(wanted);
        let icmpv6 = ethernet == Some(EthType::IPV6) && proto == Some(IpProto::ICMPV6);
        let kind = self.mask.get(place::ICMP_TYPE).map(|mask| mask == 0xff) == [true];
        let kind = kind.then(|| self.value.get::<1>(place::ICMP_TYPE));
        match field {
            Oxm::VlanPcp(_) => self.has_vlan(),
            Oxm::IpDscp(_) | Oxm::IpEcn(_) | Oxm::IpProto(_) => ip,
            Oxm::Ipv4Src(_) | Oxm::Ipv4Dst(_) => ethernet == Some(EthType::IPV4),
            Oxm::TcpSrc(_) | Oxm::TcpDst(_) => over_ip(IpProto::TCP),
            Oxm::UdpSrc(_) | Oxm::UdpDst(_) => over_ip(IpProto::UDP),
            Oxm::SctpSrc(_) | Oxm::SctpDst(_) => over_ip(IpProto::SCTP),
            Oxm::IcmpType(_) | Oxm::IcmpCode(_) => {
                ethernet == Some(EthType::IPV4) && proto == Some(IpProto::ICMP)
            }
            Oxm::ArpOp(_) | Oxm::ArpSpa(_) | Oxm::ArpTpa(_) | Oxm::ArpSha(_) | Oxm::ArpTha(_) => {
                ethernet == Some(EthType::ARP)
            }
            Oxm::Ipv6Src(_) | Oxm::Ipv6Dst(_) | Oxm::Ipv6Flabel(_) => {
                ethernet == Some(EthType::IPV6)
            }
            Oxm::Icmpv6Type(_) | Oxm::Icmpv6Code(_) => icmpv6,
            Oxm::Ipv6NdTarget(_) => icmpv6 && matches!(kind, Some([135 | 136])),
            Oxm::Ipv6NdSll(_) => icmpv6 && kind == Some([135]),
            Oxm::Ipv6NdTll(_) => icmpv6 && kind == Some([136]),
            Oxm::MplsLabel(_) | Oxm::MplsTc(_) | Oxm::MplsBos(_) => {
                matches!(ethernet, Some(EthType::MPLS | EthType(0x8848)))
            }
            _ => true,
        }
    }
}

/// Whether a value stays within the bits its field has.
pub(super) fn fits(field: &Oxm) -> bool {
    match field {
        Oxm::VlanVid(vid) => vid.value().0 <= 0x1fff,
        Oxm::VlanPcp(value) | Oxm::MplsTc(value) => *value < 8,
        Oxm::IpDscp(value) => *value < 64,
        Oxm::IpEcn(value) => *value < 4,
        Oxm::MplsBos(value) => *value < 2,
        Oxm::MplsLabel(value) => *value < 1 << 20,
        Oxm::Ipv6Flabel(value) => value.value() < 1 << 20,
        _ => true,
    }
}

type Laid = (std::ops::Range<usize>, Vec<u8>, Vec<u8>);

/// Place, value and mask of a field; `None` for one that Open vSwitch does not know.
pub(super) fn lay_out(field: &Oxm) -> Option<Laid> {
    macro_rules! exact {
        ($place:expr, $value:expr) => {{
            let value = $value.to_vec();
            let mask = vec![0xff; value.len()];
            ($place, value, mask)
        }};
    }
    macro_rules! number {
        ($place:expr, $masked:expr) => {{
            let mask = $masked.mask().map(|mask| mask.to_be_bytes().to_vec());
            let value = $masked.value().to_be_bytes().to_vec();
            let mask = mask.unwrap_or_else(|| vec![0xff; value.len()]);
            ($place, value, mask)
        }};
    }
    macro_rules! address {
        ($place:expr, $masked:expr) => {{
            let mask = $masked.mask().map(|mask| mask.octets().to_vec());
            let value = $masked.value().octets().to_vec();
            let mask = mask.unwrap_or_else(|| vec![0xff; value.len()]);
            ($place, value, mask)
        }};
    }
    macro_rules! mac {
        ($place:expr, $masked:expr) => {{
            let mask = $masked.mask().map_or(vec![0xff; 6], |mask| mask.0.to_vec());
            ($place, $masked.value().0.to_vec(), mask)
        }};
    }
    Some(match field {
        Oxm::InPort(port) => exact!(place::IN_PORT, port.0.to_be_bytes()),
        Oxm::Metadata(value) => number!(place::METADATA, value),
        Oxm::EthDst(value) => mac!(place::ETH_DST, value),
        Oxm::EthSrc(value) => mac!(place::ETH_SRC, value),
        Oxm::EthType(value) => exact!(place::ETH_TYPE, value.0.to_be_bytes()),
        Oxm::VlanVid(value) => {
            let mask = value.mask().map_or(0x1fff, |mask| mask.0);
            let bytes = value.value().0.to_be_bytes().to_vec();
            (place::VLAN_VID, bytes, mask.to_be_bytes().to_vec())
        }
        Oxm::VlanPcp(value) => exact!(place::VLAN_PCP, [*value]),
        Oxm::IpDscp(value) => exact!(place::IP_DSCP, [*value]),
        Oxm::IpEcn(value) => exact!(place::IP_ECN, [*value]),
        Oxm::IpProto(value) => exact!(place::IP_PROTO, [value.0]),
        Oxm::Ipv4Src(value) => address!(place::IPV4_SRC, value),
        Oxm::Ipv4Dst(value) => address!(place::IPV4_DST, value),
        Oxm::TcpSrc(value) | Oxm::UdpSrc(value) | Oxm::SctpSrc(value) => {
            number!(place::L4_SRC, value)
        }
        Oxm::TcpDst(value) | Oxm::UdpDst(value) | Oxm::SctpDst(value) => {
            number!(place::L4_DST, value)
        }
        Oxm::IcmpType(value) | Oxm::Icmpv6Type(value) => exact!(place::ICMP_TYPE, [*value]),
        Oxm::IcmpCode(value) | Oxm::Icmpv6Code(value) => exact!(place::ICMP_CODE, [*value]),
        Oxm::ArpOp(value) => exact!(place::ARP_OP, value.0.to_be_bytes()),
        Oxm::ArpSpa(value) => address!(place::ARP_SPA, value),
        Oxm::ArpTpa(value) => address!(place::ARP_TPA, value),
        Oxm::ArpSha(value) => mac!(place::ARP_SHA, value),
        Oxm::ArpTha(value) => mac!(place::ARP_THA, value),
        Oxm::Ipv6Src(value) => address!(place::IPV6_SRC, value),
        Oxm::Ipv6Dst(value) => address!(place::IPV6_DST, value),
        Oxm::Ipv6Flabel(value) => number!(place::IPV6_FLABEL, value),
        Oxm::Ipv6NdTarget(value) => address!(place::ND_TARGET, value),
        Oxm::Ipv6NdSll(value) => exact!(place::ND_SLL, value.0),
        Oxm::Ipv6NdTll(value) => exact!(place::ND_TLL, value.0),
        Oxm::MplsLabel(value) => exact!(place::MPLS_LABEL, value.to_be_bytes()),
        Oxm::MplsTc(value) => exact!(place::MPLS_TC, [*value]),
        Oxm::MplsBos(value) => exact!(place::MPLS_BOS, [*value]),
        Oxm::TunnelId(value) => number!(place::TUNNEL_ID, value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pattern(flow_match: &Match) -> Pattern {
        Pattern::new(flow_match).unwrap()
    }

    #[test]
    fn a_narrower_match_is_within_a_wider_one_and_not_the_other_way_round() {
        let net = Match::new()
            .eth_type(EthType::IPV4)
            .ipv4_src_net([10, 0, 0, 0].into(), 8);
        let host = Match::new()
            .eth_type(EthType::IPV4)
            .ipv4_src([10, 0, 0, 1].into());
        assert!(pattern(&host).is_within(&pattern(&net)));
        assert!(!pattern(&net).is_within(&pattern(&host)));
        assert!(pattern(&net).is_within(&pattern(&Match::new())));
    }

    #[test]
    fn matches_overlap_unless_a_common_bit_tells_them_apart() {
        let from = |port| pattern(&Match::new().in_port(rust_openflow::PortNo(port)));
        let arp = pattern(&Match::new().eth_type(EthType::ARP));
        assert!(from(1).overlaps(&arp));
        assert!(!from(1).overlaps(&from(2)));
    }

    #[test]
    fn a_field_without_its_prerequisite_is_refused() {
        for lacking in [
            Match::new().udp_dst(1),
            Match::new().eth_type(EthType::ARP).ip_proto(IpProto::UDP),
            Match::new()
                .eth_type(EthType::IPV6)
                .ipv4_src([10, 0, 0, 1].into()),
            Match::new().vlan_vid(VlanVid::NONE).vlan_pcp(1),
        ] {
            assert_eq!(Pattern::new(&lacking), Err(ErrorCode::BAD_PREREQ));
        }
        let too_large = Match::new().eth_type(EthType::IPV4).ip_dscp(64);
        assert_eq!(Pattern::new(&too_large), Err(ErrorCode::MATCH_BAD_VALUE));
    }
}
