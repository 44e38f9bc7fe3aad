//! The match of a flow entry: a set of fields in one canonical order.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::addr::{MacAddr, Masked};
use crate::codec::{DecodeError, Reader, Writer};
use crate::oxm::{ArpOp, EthType, IpProto, Isid, Oxm, VlanVid};
use crate::port::PortNo;

/// Which packets a flow entry takes, `ofp_match`. Empty: all of them.
///
/// The fields are always in canonical order (which also puts prerequisites first), each at most
/// once, values cut to their masks and fields that match everything left out. So two matches are
/// equal exactly if they say the same, however a switch orders what it reads back. (Only encoding a
/// match that was decoded gives its bytes as they came: in their order, with needless masks.)
///
/// On the wire: 4 bytes and the fields, padded to a multiple of 8.
///
/// ```
/// use rust_openflow::{EthType, IpProto, Match, PortNo};
/// let iperf = Match::new()
///     .in_port(PortNo(3))
///     .eth_type(EthType::IPV4)
///     .ipv4_src_net([10, 0, 0, 77].into(), 24)
///     .ip_proto(IpProto::UDP)
///     .udp_dst(5201);
/// let same = Match::new()
///     .udp_dst(5201)
///     .ip_proto(IpProto::UDP)
///     .ipv4_src_net([10, 0, 0, 0].into(), 24)
///     .eth_type(EthType::IPV4)
///     .in_port(PortNo(3));
/// assert_eq!(iperf, same);
/// ```
#[derive(Clone, Default)]
pub struct Match {
    fields: Vec<Oxm>,
    /// The fields as a peer sent them, if not in canonical form: only for encoding what was decoded
    /// byte for byte. Not part of what the match says.
    wire: Vec<u8>,
}

/// `OFPMT_OXM`, the only kind of match OpenFlow 1.3 has.
const MATCH_TYPE_OXM: u16 = 1;

impl Match {
    /// Matches every packet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            fields: Vec::new(),
            wire: Vec::new(),
        }
    }

    /// The fields, in canonical order.
    #[must_use]
    pub fn fields(&self) -> &[Oxm] {
        &self.fields
    }

    /// Adds a field, in place of an earlier one of the same kind.
    #[must_use]
    pub fn with(mut self, field: Oxm) -> Self {
        self.wire.clear();
        let place = self.fields.binary_search_by_key(&field.key(), Oxm::key);
        match (place, field.is_any()) {
            (Ok(at), true) => drop(self.fields.remove(at)),
            (Ok(at), false) => {
                if let Some(old) = self.fields.get_mut(at) {
                    *old = field;
                }
            }
            (Err(_), true) => {}
            (Err(at), false) => self.fields.insert(at, field),
        }
        self
    }

    /// The port the match asks for, if it does.
    #[must_use]
    pub fn get_in_port(&self) -> Option<PortNo> {
        self.fields.iter().find_map(|field| match field {
            Oxm::InPort(port) => Some(*port),
            _ => None,
        })
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = r.u16("match type")?;
        if kind != MATCH_TYPE_OXM {
            return Err(DecodeError::BadMatchType(kind));
        }
        let mut body = r.counted(2, "match")?;
        let whole = body.clone();
        let len = body.len() + 4;
        let mut is_canonical = true;
        let mut fields = body.list(|r| {
            let (field, is_exact) = Oxm::read_exactly(r)?;
            is_canonical &= is_exact;
            Ok(field)
        })?;
        r.skip(len.next_multiple_of(8) - len, "match padding")?;

        if !fields.is_sorted_by_key(Oxm::key) {
            is_canonical = false;
            fields.sort_by_key(Oxm::key);
        }
        let twice = fields.windows(2).find_map(|pair| match pair {
            [a, b] if a.key() == b.key() => Some(a.key()),
            _ => None,
        });
        if let Some(key) = twice {
            return Err(DecodeError::DuplicateField {
                class: key.class,
                field: key.field,
            });
        }
        let any = fields.iter().any(Oxm::is_any);
        if any {
            fields.retain(|field| !field.is_any());
        }
        let wire = match is_canonical && !any {
            true => Vec::new(),
            false => whole.clone().rest().to_vec(),
        };
        Ok(Self { fields, wire })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin_tlv(MATCH_TYPE_OXM);
        if self.wire.is_empty() {
            self.fields.iter().for_each(|field| field.write(w));
        } else {
            w.bytes(&self.wire);
        }
        w.end(mark);
        w.pad8(mark);
    }
}

/// One method per field: `name(value)`, and `name_masked(value, mask)` where masks are allowed.
macro_rules! builders {
    ($( $(#[$meta:meta])* $name:ident $(/ $masked:ident)? : $variant:ident($ty:ty); )*) => {
        impl Match {
            $( builders!(@one $(#[$meta])* $name $(/ $masked)? : $variant($ty)); )*
        }
    };
    (@one $(#[$meta:meta])* $name:ident : $variant:ident($ty:ty)) => {
        $(#[$meta])*
        #[must_use]
        pub fn $name(self, value: $ty) -> Self {
            self.with(Oxm::$variant(value))
        }
    };
    (@one $(#[$meta:meta])* $name:ident / $masked:ident : $variant:ident($ty:ty)) => {
        $(#[$meta])*
        #[must_use]
        pub fn $name(self, value: $ty) -> Self {
            self.with(Oxm::$variant(Masked::exact(value)))
        }
        $(#[$meta])*
        ///
        /// Only the bits set in `mask` count.
        #[must_use]
        pub fn $masked(self, value: $ty, mask: $ty) -> Self {
            self.with(Oxm::$variant(Masked::new(value, mask)))
        }
    };
}

builders! {
    /// Came in on this port.
    in_port: InPort(PortNo);
    /// Came in on this physical port below the logical one.
    in_phy_port: InPhyPort(PortNo);
    /// Carries this metadata from earlier tables.
    metadata / metadata_masked: Metadata(u64);
    /// Goes to this Ethernet address.
    eth_dst / eth_dst_masked: EthDst(MacAddr);
    /// Comes from this Ethernet address.
    eth_src / eth_src_masked: EthSrc(MacAddr);
    /// Carries this protocol; the prerequisite of every field above Ethernet.
    eth_type: EthType(EthType);
    /// Has this VLAN tag, or none ([`VlanVid::NONE`]).
    vlan_vid / vlan_vid_masked: VlanVid(VlanVid);
    /// Has this VLAN priority (3 bits).
    vlan_pcp: VlanPcp(u8);
    /// Has this DSCP (6 bits, not shifted).
    ip_dscp: IpDscp(u8);
    /// Has this ECN mark (2 bits).
    ip_ecn: IpEcn(u8);
    /// Carries this protocol over IPv4 or IPv6.
    ip_proto: IpProto(IpProto);
    /// Comes from this IPv4 address.
    ipv4_src / ipv4_src_masked: Ipv4Src(Ipv4Addr);
    /// Goes to this IPv4 address.
    ipv4_dst / ipv4_dst_masked: Ipv4Dst(Ipv4Addr);
    /// TCP source port.
    tcp_src / tcp_src_masked: TcpSrc(u16);
    /// TCP destination port.
    tcp_dst / tcp_dst_masked: TcpDst(u16);
    /// UDP source port.
    udp_src / udp_src_masked: UdpSrc(u16);
    /// UDP destination port.
    udp_dst / udp_dst_masked: UdpDst(u16);
    /// SCTP source port.
    sctp_src / sctp_src_masked: SctpSrc(u16);
    /// SCTP destination port.
    sctp_dst / sctp_dst_masked: SctpDst(u16);
    /// ICMP type.
    icmp_type: IcmpType(u8);
    /// ICMP code.
    icmp_code: IcmpCode(u8);
    /// ARP operation.
    arp_op: ArpOp(ArpOp);
    /// ARP sender IPv4 address.
    arp_spa / arp_spa_masked: ArpSpa(Ipv4Addr);
    /// ARP target IPv4 address.
    arp_tpa / arp_tpa_masked: ArpTpa(Ipv4Addr);
    /// ARP sender Ethernet address.
    arp_sha / arp_sha_masked: ArpSha(MacAddr);
    /// ARP target Ethernet address.
    arp_tha / arp_tha_masked: ArpTha(MacAddr);
    /// Comes from this IPv6 address.
    ipv6_src / ipv6_src_masked: Ipv6Src(Ipv6Addr);
    /// Goes to this IPv6 address.
    ipv6_dst / ipv6_dst_masked: Ipv6Dst(Ipv6Addr);
    /// ICMPv6 type.
    icmpv6_type: Icmpv6Type(u8);
    /// ICMPv6 code.
    icmpv6_code: Icmpv6Code(u8);
    /// Target of a neighbour solicitation or advertisement.
    ipv6_nd_target / ipv6_nd_target_masked: Ipv6NdTarget(Ipv6Addr);
    /// Source link-layer address of a neighbour solicitation.
    ipv6_nd_sll: Ipv6NdSll(MacAddr);
    /// Target link-layer address of a neighbour advertisement.
    ipv6_nd_tll: Ipv6NdTll(MacAddr);
    /// IPv6 flow label (20 bits).
    ipv6_flabel / ipv6_flabel_masked: Ipv6Flabel(u32);
    /// IPv6 extension headers, [`crate::Ipv6ExtHdr`] bits.
    ipv6_exthdr / ipv6_exthdr_masked: Ipv6Exthdr(u16);
    /// Outermost MPLS label (20 bits).
    mpls_label: MplsLabel(u32);
    /// Its traffic class (3 bits).
    mpls_tc: MplsTc(u8);
    /// Whether it is the bottom of the stack (1 bit).
    mpls_bos: MplsBos(u8);
    /// Provider backbone bridging service instance.
    pbb_isid / pbb_isid_masked: PbbIsid(Isid);
    /// Came in through the tunnel of this id.
    tunnel_id / tunnel_id_masked: TunnelId(u64);
}

impl Match {
    /// Comes from this IPv4 network; a prefix above 32 counts as 32.
    #[must_use]
    pub fn ipv4_src_net(self, net: Ipv4Addr, prefix: u8) -> Self {
        self.ipv4_src_masked(net, ipv4_mask(prefix))
    }

    /// Goes to this IPv4 network; a prefix above 32 counts as 32.
    #[must_use]
    pub fn ipv4_dst_net(self, net: Ipv4Addr, prefix: u8) -> Self {
        self.ipv4_dst_masked(net, ipv4_mask(prefix))
    }

    /// Comes from this IPv6 network; a prefix above 128 counts as 128.
    #[must_use]
    pub fn ipv6_src_net(self, net: Ipv6Addr, prefix: u8) -> Self {
        self.ipv6_src_masked(net, ipv6_mask(prefix))
    }

    /// Goes to this IPv6 network; a prefix above 128 counts as 128.
    #[must_use]
    pub fn ipv6_dst_net(self, net: Ipv6Addr, prefix: u8) -> Self {
        self.ipv6_dst_masked(net, ipv6_mask(prefix))
    }
}

fn ipv4_mask(prefix: u8) -> Ipv4Addr {
    let host_bits = 32 - u32::from(prefix.min(32));
    Ipv4Addr::from_bits(u32::MAX.checked_shl(host_bits).unwrap_or(0))
}

fn ipv6_mask(prefix: u8) -> Ipv6Addr {
    let host_bits = 128 - u32::from(prefix.min(128));
    Ipv6Addr::from_bits(u128::MAX.checked_shl(host_bits).unwrap_or(0))
}

impl PartialEq for Match {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
    }
}

impl Eq for Match {}

impl PartialOrd for Match {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Match {
    fn cmp(&self, other: &Self) -> Ordering {
        self.fields.cmp(&other.fields)
    }
}

impl Hash for Match {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fields.hash(state);
    }
}

impl FromIterator<Oxm> for Match {
    fn from_iter<I: IntoIterator<Item = Oxm>>(fields: I) -> Self {
        fields.into_iter().fold(Self::new(), Self::with)
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Match")?;
        f.debug_list().entries(&self.fields).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::oxm::RawOxm;

    fn read(bytes: &[u8]) -> Result<Match, DecodeError> {
        let mut r = Reader::new(bytes);
        let flow_match = Match::read(&mut r)?;
        r.finish("match").map(|()| flow_match)
    }

    fn written(flow_match: &Match) -> Vec<u8> {
        let mut out = Vec::new();
        flow_match.write(&mut Writer::new(&mut out));
        out
    }

    /// udp_dst 5201, ip_proto 17, eth_type IPv4: the reverse of the canonical order.
    const REVERSED: [u8; 24] = [
        0x00, 0x01, 0x00, 0x15, // OFPMT_OXM, length 21, padding not counted
        0x80, 0x00, 0x20, 0x02, 0x14, 0x51, // udp_dst 5201
        0x80, 0x00, 0x14, 0x01, 0x11, // ip_proto 17
        0x80, 0x00, 0x0a, 0x02, 0x08, 0x00, // eth_type 0x0800
        0x00, 0x00, 0x00, // pad to 24
    ];

    #[test]
    fn the_order_of_a_switch_does_not_matter_and_is_kept_on_the_wire() {
        let sent = Match::new()
            .eth_type(EthType::IPV4)
            .ip_proto(IpProto::UDP)
            .udp_dst(5201);
        let reported = read(&REVERSED).unwrap();
        assert_eq!(reported, sent);
        assert_eq!(reported.cmp(&sent), Ordering::Equal);
        assert_eq!(reported.fields(), sent.fields());
        assert_eq!(written(&reported), REVERSED);
        assert_eq!(read(&written(&sent)).unwrap(), sent);
    }

    #[test]
    fn a_field_that_matches_everything_is_no_field() {
        let any = Match::new().udp_dst(7).udp_dst_masked(5201, 0);
        assert_eq!(any, Match::new());
        let on_the_wire = [0, 1, 0, 12, 0x80, 0, 0x21, 4, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&on_the_wire), Ok(any));
    }

    #[test]
    fn needless_bits_of_a_peer_do_not_matter_and_are_kept_on_the_wire() {
        for (wire, meant) in [
            // udp_dst under no bit at all
            (
                &[0, 1, 0, 12, 0x80, 0, 0x21, 4, 0, 0, 0, 0, 0, 0, 0, 0][..],
                Match::new(),
            ),
            // udp_dst 5201 under a mask of all ones
            (
                &[
                    0, 1, 0, 12, 0x80, 0, 0x21, 4, 0x14, 0x51, 0xff, 0xff, 0, 0, 0, 0,
                ],
                Match::new().udp_dst(5201),
            ),
            // udp_dst 0x1451 under 0xff00
            (
                &[
                    0, 1, 0, 12, 0x80, 0, 0x21, 4, 0x14, 0x51, 0xff, 0x00, 0, 0, 0, 0,
                ],
                Match::new().udp_dst_masked(0x1400, 0xff00),
            ),
        ] {
            let reported = read(wire).unwrap();
            assert_eq!(reported, meant);
            assert_eq!(written(&reported), wire);
            let tcp = |m: Match| m.ip_proto(IpProto::TCP);
            assert_eq!(written(&tcp(reported)), written(&tcp(meant)));
        }
    }

    #[test]
    fn bits_outside_a_mask_and_masks_of_all_ones_do_not_matter() {
        let mask = [255, 255, 255, 0].into();
        assert_eq!(
            Match::new().ipv4_src_masked([10, 1, 2, 3].into(), mask),
            Match::new().ipv4_src_net([10, 1, 2, 0].into(), 24)
        );
        assert_eq!(
            Match::new().ipv4_dst_net([10, 1, 2, 3].into(), 32),
            Match::new().ipv4_dst([10, 1, 2, 3].into())
        );
        assert_eq!(
            Match::new().vlan_vid_masked(VlanVid::tagged(5), VlanVid(0x1fff)),
            Match::new().vlan_vid(VlanVid::tagged(5))
        );
    }

    #[test]
    fn prefixes_of_every_length_make_the_masks_they_say() {
        for prefix in 0..=40 {
            assert_eq!(
                ipv4_mask(prefix).to_bits().leading_ones(),
                u32::from(prefix.min(32))
            );
        }
        for prefix in 0..=140 {
            assert_eq!(
                ipv6_mask(prefix).to_bits().leading_ones(),
                u32::from(prefix.min(128))
            );
        }
    }

    #[test]
    fn a_field_twice_is_refused_but_two_vendors_may_use_one_number() {
        let twice = [
            0, 1, 0, 16, 0x80, 0, 0x0a, 2, 8, 0, 0x80, 0, 0x0a, 2, 8, 6, // eth_type twice
        ];
        assert_eq!(
            read(&twice),
            Err(DecodeError::DuplicateField {
                class: 0x8000,
                field: 5
            })
        );

        let vendor = |id: u8| RawOxm::new(0xffff, 1, false, vec![0, 0, 0, id]).unwrap();
        let both = [Oxm::Unknown(vendor(2)), Oxm::Unknown(vendor(1))];
        let both: Match = both.into_iter().collect();
        assert_eq!(read(&written(&both)), Ok(both));
    }

    #[test]
    fn a_field_of_the_wrong_length_is_refused() {
        let short = [0, 1, 0, 9, 0x80, 0, 0x0a, 1, 8, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            read(&short),
            Err(DecodeError::BadLength {
                field: "eth_type",
                len: 1
            })
        );
        let unmasked = [0, 1, 0, 10, 0x80, 0, 0x21, 2, 0, 7, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            read(&unmasked),
            Err(DecodeError::BadLength {
                field: "udp_dst",
                len: 2
            })
        );
    }

    #[test]
    fn a_mask_where_none_is_allowed_is_kept_as_it_came() {
        let bytes = [0, 1, 0, 10, 0x80, 0, 0x11, 2, 46, 63, 0, 0, 0, 0, 0, 0]; // ip_dscp 46/63
        let flow_match = read(&bytes).unwrap();
        assert!(matches!(flow_match.fields(), [Oxm::Unknown(raw)] if raw.has_mask()));
        assert_eq!(written(&flow_match), bytes);
    }

    #[test]
    fn a_match_that_is_no_oxm_match_is_refused() {
        let standard = [0, 0, 0, 8, 0, 0, 0, 0];
        assert_eq!(read(&standard), Err(DecodeError::BadMatchType(0)));
    }
}
