//! Match fields (OXM, "OpenFlow extensible match"): one value of one packet header field.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::addr::{MacAddr, Masked};
use crate::code_points::{wire_enum, wire_flags};
use crate::codec::{DecodeError, Hex, Reader, Wire, Writer};
use crate::port::PortNo;

wire_enum! {
    /// What an Ethernet frame carries (IEEE 802 EtherType).
    pub struct EthType(u16) {
        IPV4 = 0x0800;
        ARP = 0x0806;
        VLAN = 0x8100;
        IPV6 = 0x86dd;
        MPLS = 0x8847;
        MPLS_MULTICAST = 0x8848;
        /// Provider bridging, IEEE 802.1ad.
        QINQ = 0x88a8;
        LLDP = 0x88cc;
        /// Provider backbone bridging, IEEE 802.1ah.
        PBB = 0x88e7;
    }
}

wire_enum! {
    /// What an IP packet carries (IANA protocol number).
    pub struct IpProto(u8) {
        ICMP = 1;
        TCP = 6;
        UDP = 17;
        ICMPV6 = 58;
        SCTP = 132;
    }
}

wire_enum! {
    /// What an ARP packet says (`arp_op`).
    pub struct ArpOp(u16) {
        REQUEST = 1;
        REPLY = 2;
    }
}

wire_enum! {
    /// VLAN of a packet as `OXM_OF_VLAN_VID` writes it: the 12-bit id plus the bit that says there
    /// is a tag at all.
    pub struct VlanVid(u16) {
        /// The packet has no tag.
        NONE = 0;
        /// The bit that says there is a tag; alone and under a mask of itself: any tag.
        PRESENT = 0x1000;
    }
}

impl VlanVid {
    /// Tagged with this id, of which only the low 12 bits count.
    #[must_use]
    pub const fn tagged(id: u16) -> Self {
        Self(Self::PRESENT.0 | (id & 0x0fff))
    }

    /// The 12-bit id, or `None` if there is no tag.
    #[must_use]
    pub const fn id(self) -> Option<u16> {
        if self.0 & Self::PRESENT.0 == 0 {
            None
        } else {
            Some(self.0 & 0x0fff)
        }
    }
}

wire_flags! {
    /// Which extension headers an IPv6 packet has, and how, `enum ofp_ipv6exthdr_flags`.
    pub struct Ipv6ExtHdr(u16) {
        /// The header says that nothing follows it.
        NONEXT = 1 << 0;
        /// Encrypted payload.
        ESP = 1 << 1;
        /// Authentication header.
        AUTH = 1 << 2;
        /// One or two destination options headers.
        DEST = 1 << 3;
        /// Fragment header.
        FRAG = 1 << 4;
        /// Router header.
        ROUTER = 1 << 5;
        /// Hop-by-hop options header.
        HOP = 1 << 6;
        /// A header that should be there once is there twice.
        UNREP = 1 << 7;
        /// Headers in another order than the one preferred by RFC 8200.
        UNSEQ = 1 << 8;
    }
}

/// Provider backbone bridging service instance id, `I-SID` of IEEE 802.1ah: 24 bits, the rest is
/// cut off when written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isid(pub u32);

impl Wire for Isid {
    const LEN: usize = 3;
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, DecodeError> {
        let [a, b, c] = r.array(field)?;
        Ok(Self(u32::from_be_bytes([0, a, b, c])))
    }
    fn write(&self, w: &mut Writer<'_>) {
        let [_, low @ ..] = self.0.to_be_bytes();
        w.bytes(&low);
    }
}

/// Class of the fields every switch knows, `OFPXMC_OPENFLOW_BASIC`.
pub(crate) const CLASS_BASIC: u16 = 0x8000;
/// Class of vendor fields, `OFPXMC_EXPERIMENTER`; the body starts with the vendor's 32-bit id.
pub(crate) const CLASS_EXPERIMENTER: u16 = 0xffff;

/// A field this crate has no type for, or whose mask the specification does not allow: kept as it
/// came and re-encoded byte for byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawOxm {
    class: u16,
    field: u8,
    has_mask: bool,
    body: Vec<u8>,
}

impl RawOxm {
    /// A field from its parts: `field` has 7 bits, `body` (value, then mask if `has_mask`) at most
    /// 255 bytes; `None` beyond.
    #[must_use]
    pub fn new(class: u16, field: u8, has_mask: bool, body: Vec<u8>) -> Option<Self> {
        (field < 0x80 && body.len() <= 255).then_some(Self {
            class,
            field,
            has_mask,
            body,
        })
    }

    /// `oxm_class`.
    #[must_use]
    pub fn class(&self) -> u16 {
        self.class
    }

    /// `oxm_field`.
    #[must_use]
    pub fn field(&self) -> u8 {
        self.field
    }

    /// `oxm_hasmask`: whether the second half of the body is a mask.
    #[must_use]
    pub fn has_mask(&self) -> bool {
        self.has_mask
    }

    /// Value, then mask if there is one.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whose field it is, if it is a vendor's (`oxm_experimenter_header`).
    #[must_use]
    pub fn experimenter(&self) -> Option<u32> {
        match self.class {
            CLASS_EXPERIMENTER => self.body.first_chunk().copied().map(u32::from_be_bytes),
            _ => None,
        }
    }
}

impl fmt::Debug for RawOxm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mask = if self.has_mask { " masked" } else { "" };
        let (class, field, body) = (self.class, self.field, Hex(&self.body));
        write!(f, "RawOxm({class:#06x}:{field}{mask} {body})")
    }
}

/// How a value and its optional mask are read and written.
trait Body: Sized {
    const LEN: usize;
    const MASKABLE: bool;
    fn read(r: &mut Reader<'_>, masked: bool) -> Result<Self, DecodeError>;
    fn has_mask(&self) -> bool;
    fn write(&self, w: &mut Writer<'_>);
}

/// Declares every field of the basic class: variant, type, number.
macro_rules! oxm {
    ($( $(#[$meta:meta])* $variant:ident($($ty:tt)+) = $number:literal, $name:literal; )*) => {
        /// One field of a match, or the value of a set-field action.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Oxm {
            $( $(#[$meta])* $variant($($ty)+), )*
            /// Any other field, kept as it came.
            Unknown(RawOxm),
        }

        impl Oxm {
            /// Class, number, and vendor for vendor fields: what must be unique in a match.
            /// Basic fields first, in the order of their numbers, which puts every
            /// prerequisite before what needs it.
            pub(crate) fn key(&self) -> OxmKey {
                match self {
                    $( Self::$variant(_) => OxmKey::basic($number), )*
                    Self::Unknown(raw) => OxmKey::of(raw),
                }
            }

            /// Whether the field matches every packet because no bit of its mask is set.
            pub(crate) fn is_any(&self) -> bool {
                match self {
                    $( Self::$variant(value) => AnyBits::is_any_bits(value), )*
                    Self::Unknown(_) => false,
                }
            }

            /// Reads one field with its header.
            pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let class = r.u16("oxm_class")?;
                let field_and_mask = r.u8("oxm_field")?;
                let (field, has_mask) = (field_and_mask >> 1, field_and_mask & 1 == 1);
                let len = usize::from(r.u8("oxm_length")?);
                let body = r.take(len, "oxm body")?;
                let mut reader = Reader::new(body);
                match (class, field) {
                    $(
                        (CLASS_BASIC, $number) if <$($ty)+ as Body>::MASKABLE || !has_mask => {
                            if len != <$($ty)+ as Body>::LEN << u8::from(has_mask) {
                                return Err(DecodeError::BadLength { field: $name, len });
                            }
                            <$($ty)+ as Body>::read(&mut reader, has_mask).map(Self::$variant)
                        }
                    )*
                    _ => Ok(Self::Unknown(RawOxm { class, field, has_mask, body: body.to_vec() })),
                }
            }

            /// Reads one field, and whether [`Self::write`] would write the same bytes: not if bits
            /// stand outside a mask, or if a mask says nothing.
            pub(crate) fn read_exactly(r: &mut Reader<'_>) -> Result<(Self, bool), DecodeError> {
                let mut whole = r.clone();
                let field = Self::read(r)?;
                let raw = whole.take(whole.len() - r.len(), "oxm")?;
                let has_mask = raw.get(2).is_some_and(|byte| byte & 1 == 1);
                if !has_mask || matches!(field, Self::Unknown(_)) {
                    return Ok((field, true));
                }
                let mut written = Vec::with_capacity(raw.len());
                field.write(&mut Writer::new(&mut written));
                let same = written == raw;
                Ok((field, same))
            }

            /// Writes one field with its header.
            pub(crate) fn write(&self, w: &mut Writer<'_>) {
                match self {
                    $(
                        Self::$variant(value) => {
                            let has_mask = value.has_mask();
                            let len = <$($ty)+ as Body>::LEN << u8::from(has_mask);
                            write_header(w, CLASS_BASIC, $number, has_mask, len);
                            Body::write(value, w);
                        }
                    )*
                    Self::Unknown(raw) => {
                        write_header(w, raw.class, raw.field, raw.has_mask, raw.body.len());
                        w.bytes(&raw.body);
                    }
                }
            }
        }
    };
}

oxm! {
    /// Port the packet came in on.
    InPort(PortNo) = 0, "in_port";
    /// Physical port below a logical one.
    InPhyPort(PortNo) = 1, "in_phy_port";
    /// What earlier tables wrote about the packet.
    Metadata(Masked<u64>) = 2, "metadata";
    /// Ethernet destination.
    EthDst(Masked<MacAddr>) = 3, "eth_dst";
    /// Ethernet source.
    EthSrc(Masked<MacAddr>) = 4, "eth_src";
    /// What the frame carries, after VLAN tags.
    EthType(EthType) = 5, "eth_type";
    /// VLAN tag.
    VlanVid(Masked<VlanVid>) = 6, "vlan_vid";
    /// VLAN priority, 3 bits.
    VlanPcp(u8) = 7, "vlan_pcp";
    /// Differentiated services code point (RFC 2474), 6 bits.
    IpDscp(u8) = 8, "ip_dscp";
    /// Explicit congestion notification (RFC 3168), 2 bits.
    IpEcn(u8) = 9, "ip_ecn";
    /// What the IP packet carries.
    IpProto(IpProto) = 10, "ip_proto";
    /// IPv4 source.
    Ipv4Src(Masked<Ipv4Addr>) = 11, "ipv4_src";
    /// IPv4 destination.
    Ipv4Dst(Masked<Ipv4Addr>) = 12, "ipv4_dst";
    /// TCP source port.
    TcpSrc(Masked<u16>) = 13, "tcp_src";
    /// TCP destination port.
    TcpDst(Masked<u16>) = 14, "tcp_dst";
    /// UDP source port.
    UdpSrc(Masked<u16>) = 15, "udp_src";
    /// UDP destination port.
    UdpDst(Masked<u16>) = 16, "udp_dst";
    /// SCTP source port.
    SctpSrc(Masked<u16>) = 17, "sctp_src";
    /// SCTP destination port.
    SctpDst(Masked<u16>) = 18, "sctp_dst";
    /// ICMP type.
    IcmpType(u8) = 19, "icmpv4_type";
    /// ICMP code.
    IcmpCode(u8) = 20, "icmpv4_code";
    /// ARP operation.
    ArpOp(ArpOp) = 21, "arp_op";
    /// ARP sender IPv4 address.
    ArpSpa(Masked<Ipv4Addr>) = 22, "arp_spa";
    /// ARP target IPv4 address.
    ArpTpa(Masked<Ipv4Addr>) = 23, "arp_tpa";
    /// ARP sender Ethernet address.
    ArpSha(Masked<MacAddr>) = 24, "arp_sha";
    /// ARP target Ethernet address.
    ArpTha(Masked<MacAddr>) = 25, "arp_tha";
    /// IPv6 source.
    Ipv6Src(Masked<Ipv6Addr>) = 26, "ipv6_src";
    /// IPv6 destination.
    Ipv6Dst(Masked<Ipv6Addr>) = 27, "ipv6_dst";
    /// IPv6 flow label, 20 bits.
    Ipv6Flabel(Masked<u32>) = 28, "ipv6_flabel";
    /// ICMPv6 type.
    Icmpv6Type(u8) = 29, "icmpv6_type";
    /// ICMPv6 code.
    Icmpv6Code(u8) = 30, "icmpv6_code";
    /// Target address of an IPv6 neighbour discovery packet (RFC 4861).
    Ipv6NdTarget(Masked<Ipv6Addr>) = 31, "ipv6_nd_target";
    /// Source link-layer address of a neighbour solicitation.
    Ipv6NdSll(MacAddr) = 32, "ipv6_nd_sll";
    /// Target link-layer address of a neighbour advertisement.
    Ipv6NdTll(MacAddr) = 33, "ipv6_nd_tll";
    /// MPLS label, 20 bits.
    MplsLabel(u32) = 34, "mpls_label";
    /// MPLS traffic class, 3 bits.
    MplsTc(u8) = 35, "mpls_tc";
    /// MPLS bottom of stack, 1 bit.
    MplsBos(u8) = 36, "mpls_bos";
    /// Provider backbone bridging service instance (IEEE 802.1ah), 24 bits.
    PbbIsid(Masked<Isid>) = 37, "pbb_isid";
    /// Id of a logical port's tunnel.
    TunnelId(Masked<u64>) = 38, "tunnel_id";
    /// IPv6 extension headers that are there: [`Ipv6ExtHdr`] bits.
    Ipv6Exthdr(Masked<u16>) = 39, "ipv6_exthdr";
}

/// Identity of a field and its place in the canonical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OxmKey {
    vendor_class: bool,
    pub(crate) class: u16,
    pub(crate) field: u8,
    experimenter: [u8; 4],
}

impl OxmKey {
    fn basic(field: u8) -> Self {
        Self {
            vendor_class: false,
            class: CLASS_BASIC,
            field,
            experimenter: [0; 4],
        }
    }

    fn of(raw: &RawOxm) -> Self {
        let experimenter = match raw.class {
            CLASS_EXPERIMENTER => raw.body.first_chunk().copied().unwrap_or_default(),
            _ => [0; 4],
        };
        Self {
            vendor_class: raw.class != CLASS_BASIC,
            class: raw.class,
            field: raw.field,
            experimenter,
        }
    }
}

fn write_header(w: &mut Writer<'_>, class: u16, field: u8, has_mask: bool, len: usize) {
    w.u16(class);
    w.u8(field << 1 | u8::from(has_mask));
    // At most 32 bytes for the typed fields; RawOxm keeps its body within 255.
    w.u8(u8::try_from(len).unwrap_or(u8::MAX));
}

macro_rules! plain_body {
    ($($ty:ty),*) => {$(
        impl Body for $ty {
            const LEN: usize = <$ty as Wire>::LEN;
            const MASKABLE: bool = false;
            fn read(r: &mut Reader<'_>, _masked: bool) -> Result<Self, DecodeError> {
                Wire::read(r, "oxm value")
            }
            fn has_mask(&self) -> bool {
                false
            }
            fn write(&self, w: &mut Writer<'_>) {
                Wire::write(self, w);
            }
        }
        impl AnyBits for $ty {
            fn is_any_bits(&self) -> bool {
                false
            }
        }
    )*};
}
plain_body!(u8, u32, PortNo, EthType, IpProto, ArpOp, MacAddr);

impl<T: Wire + crate::addr::Bits> Body for Masked<T> {
    const LEN: usize = T::LEN;
    const MASKABLE: bool = true;

    fn read(r: &mut Reader<'_>, masked: bool) -> Result<Self, DecodeError> {
        let value = T::read(r, "oxm value")?;
        Ok(if masked {
            Self::new(value, T::read(r, "oxm mask")?)
        } else {
            Self::exact(value)
        })
    }

    fn has_mask(&self) -> bool {
        self.mask().is_some()
    }

    fn write(&self, w: &mut Writer<'_>) {
        self.value().write(w);
        if let Some(mask) = self.mask() {
            mask.write(w);
        }
    }
}

trait AnyBits {
    fn is_any_bits(&self) -> bool;
}

impl<T: crate::addr::Bits> AnyBits for Masked<T> {
    fn is_any_bits(&self) -> bool {
        self.is_any()
    }
}
