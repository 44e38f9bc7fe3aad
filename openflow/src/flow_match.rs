//! The match of a flow entry: a set of fields in one canonical order.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::addr::{MacAddr, Masked};
use crate::codec::{DecodeError, Reader, Writer};
use crate::oxm::{ArpOp, EthType, IpProto, Oxm, VlanVid};
use crate::port::PortNo;

/// Which packets a flow entry takes, `ofp_match`. Empty: all of them.
///
/// The fields are always in canonical order (which also puts prerequisites first), each at most
/// once, values cut to their masks and fields that match everything left out. So two matches are
/// equal exactly if they say the same, however a switch orders what it reads back.
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
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Match {
    fields: Vec<Oxm>,
}

/// `OFPMT_OXM`, the only kind of match OpenFlow 1.3 has.
const MATCH_TYPE_OXM: u16 = 1;

impl Match {
    /// Matches every packet.
    #[must_use]
    pub const fn new() -> Self {
        Self { fields: Vec::new() }
    }

    /// The fields, in canonical order.
    #[must_use]
    pub fn fields(&self) -> &[Oxm] {
        &self.fields
    }

    /// Adds a field, in place of an earlier one of the same kind.
    #[must_use]
    pub fn with(mut self, field: Oxm) -> Self {
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
        let len = body.len() + 4;
        let mut fields = body.list(Oxm::read)?;
        r.skip(len.next_multiple_of(8) - len, "match padding")?;

        fields.sort_by_key(Oxm::key);
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
        fields.retain(|field| !field.is_any());
        Ok(Self { fields })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin_tlv(MATCH_TYPE_OXM);
        self.fields.iter().for_each(|field| field.write(w));
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
