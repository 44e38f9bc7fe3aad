//! What is done to a packet.

use std::fmt;

use crate::code_points::wire_enum;
use crate::codec::{DecodeError, Hex, Reader, Wire, Writer};
use crate::oxm::{EthType, Oxm};
use crate::port::PortNo;
use crate::queue::QueueId;

wire_enum! {
    /// Kind of an action, `enum ofp_action_type`.
    pub struct ActionType(u16) {
        OUTPUT = 0;
        /// From the next-to-outermost header to the outermost.
        COPY_TTL_OUT = 11;
        /// From the outermost header to the next-to-outermost.
        COPY_TTL_IN = 12;
        SET_MPLS_TTL = 15;
        DEC_MPLS_TTL = 16;
        PUSH_VLAN = 17;
        POP_VLAN = 18;
        PUSH_MPLS = 19;
        POP_MPLS = 20;
        SET_QUEUE = 21;
        GROUP = 22;
        SET_NW_TTL = 23;
        DEC_NW_TTL = 24;
        SET_FIELD = 25;
        PUSH_PBB = 26;
        POP_PBB = 27;
        /// A vendor's action.
        EXPERIMENTER = 0xffff;
    }
}

wire_enum! {
    /// Number of a group, `enum ofp_group`.
    pub struct GroupId(u32) {
        /// Highest number of a real group.
        MAX = 0xffff_ff00;
        /// All groups, in requests and deletions.
        ALL = 0xffff_fffc;
        /// No group, or any, in flow requests and deletions.
        ANY = 0xffff_ffff;
    }
}

/// One thing done to a packet, `ofp_action_header` and what follows it: 8 bytes, 16 for
/// [`Action::Output`], and a multiple of 8 for [`Action::SetField`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Sends the packet out of a port.
    Output {
        /// Where to.
        port: PortNo,
        /// How many bytes to send if `port` is the controller; [`Action::NO_BUFFER`] is all.
        max_len: u16,
    },
    /// Puts the packet into a queue of the port it is output to later. A queue that does not exist
    /// is accepted silently by Open vSwitch and means the default queue.
    SetQueue(QueueId),
    /// Hands the packet to a group.
    Group(GroupId),
    /// Writes a header field. OpenFlow 1.3 allows no mask here; one that a peer sends nevertheless
    /// is kept, in [`Action::Unknown`] if a [`crate::Masked`] would not say it bit for bit.
    SetField(Oxm),
    /// Adds an empty VLAN tag of this EtherType, 0x8100 or 0x88a8.
    PushVlan(EthType),
    /// Removes the outermost VLAN tag.
    PopVlan,
    /// Adds an MPLS header of this EtherType, 0x8847 or 0x8848.
    PushMpls(EthType),
    /// Removes the outermost MPLS header; the EtherType is that of what is below.
    PopMpls(EthType),
    /// Adds a provider backbone bridging service tag (IEEE 802.1ah) of this EtherType, 0x88e7.
    PushPbb(EthType),
    /// Removes the outermost service tag.
    PopPbb,
    /// Copies the TTL from the next-to-outermost header that has one to the outermost.
    CopyTtlOut,
    /// Copies the TTL from the outermost header that has one to the next-to-outermost.
    CopyTtlIn,
    /// Writes the TTL of the outermost MPLS header.
    SetMplsTtl(u8),
    /// Takes one from the TTL of the outermost MPLS header.
    DecMplsTtl,
    /// Writes the IPv4 TTL or IPv6 hop limit.
    SetNwTtl(u8),
    /// Takes one from the IPv4 TTL or IPv6 hop limit.
    DecNwTtl,
    /// A vendor's action, `ofp_action_experimenter_header`, such as those of Open vSwitch
    /// ([`crate::NICIRA`]). What it carries is kept as it came.
    Experimenter {
        /// Which vendor.
        experimenter: u32,
        /// What follows the vendor's id; with it and 4 bytes before it a multiple of 8 bytes.
        data: Vec<u8>,
    },
    /// Any other action, kept as it came.
    Unknown {
        /// Kind of the action.
        kind: ActionType,
        /// What follows type and length.
        body: Vec<u8>,
    },
}

impl Action {
    /// `OFPCML_NO_BUFFER`: send the whole packet to the controller.
    pub const NO_BUFFER: u16 = 0xffff;

    /// Output to a port of the switch.
    #[must_use]
    pub const fn output(port: PortNo) -> Self {
        Self::Output { port, max_len: 0 }
    }

    /// Output of the whole packet to the controller.
    #[must_use]
    pub const fn to_controller() -> Self {
        Self::Output {
            port: PortNo::CONTROLLER,
            max_len: Self::NO_BUFFER,
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, mut body) = r.tlv("action")?;
        let action = match ActionType(kind) {
            ActionType::OUTPUT => {
                let port = Wire::read(&mut body, "output port")?;
                let max_len = body.u16("output max_len")?;
                body.skip(6, "output padding")?;
                Self::Output { port, max_len }
            }
            ActionType::SET_QUEUE => Self::SetQueue(Wire::read(&mut body, "queue_id")?),
            ActionType::GROUP => Self::Group(Wire::read(&mut body, "group_id")?),
            ActionType::SET_FIELD => {
                let whole = body.clone();
                let (field, is_canonical) = Oxm::read_exactly(&mut body)?;
                let used = 4 + whole.len() - body.len();
                body.skip(used.next_multiple_of(8) - used, "set_field padding")?;
                if is_canonical {
                    Self::SetField(field)
                } else {
                    Self::Unknown {
                        kind: ActionType::SET_FIELD,
                        body: whole.clone().rest().to_vec(),
                    }
                }
            }
            ActionType::PUSH_VLAN => Self::PushVlan(read_eth_type(&mut body)?),
            ActionType::POP_VLAN => read_nothing(&mut body, Self::PopVlan)?,
            ActionType::PUSH_MPLS => Self::PushMpls(read_eth_type(&mut body)?),
            ActionType::POP_MPLS => Self::PopMpls(read_eth_type(&mut body)?),
            ActionType::PUSH_PBB => Self::PushPbb(read_eth_type(&mut body)?),
            ActionType::POP_PBB => read_nothing(&mut body, Self::PopPbb)?,
            ActionType::COPY_TTL_OUT => read_nothing(&mut body, Self::CopyTtlOut)?,
            ActionType::COPY_TTL_IN => read_nothing(&mut body, Self::CopyTtlIn)?,
            ActionType::SET_MPLS_TTL => Self::SetMplsTtl(read_ttl(&mut body)?),
            ActionType::DEC_MPLS_TTL => read_nothing(&mut body, Self::DecMplsTtl)?,
            ActionType::SET_NW_TTL => Self::SetNwTtl(read_ttl(&mut body)?),
            ActionType::DEC_NW_TTL => read_nothing(&mut body, Self::DecNwTtl)?,
            ActionType::EXPERIMENTER => Self::Experimenter {
                experimenter: body.u32("action experimenter")?,
                data: body.rest().to_vec(),
            },
            kind => Self::Unknown {
                kind,
                body: body.rest().to_vec(),
            },
        };
        body.finish("action").map(|()| action)
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin_tlv(self.kind().0);
        match self {
            Self::Output { port, max_len } => {
                port.write(w);
                w.u16(*max_len);
                w.zeros(6);
            }
            Self::SetQueue(queue) => queue.write(w),
            Self::Group(group) => group.write(w),
            Self::SetField(field) => {
                field.write(w);
                w.pad8(mark);
            }
            Self::PushVlan(eth_type)
            | Self::PushMpls(eth_type)
            | Self::PopMpls(eth_type)
            | Self::PushPbb(eth_type) => {
                eth_type.write(w);
                w.zeros(2);
            }
            Self::SetMplsTtl(ttl) | Self::SetNwTtl(ttl) => {
                w.u8(*ttl);
                w.zeros(3);
            }
            Self::PopVlan
            | Self::PopPbb
            | Self::CopyTtlOut
            | Self::CopyTtlIn
            | Self::DecMplsTtl
            | Self::DecNwTtl => w.zeros(4),
            Self::Experimenter { experimenter, data } => {
                w.u32(*experimenter);
                w.bytes(data);
            }
            Self::Unknown { body, .. } => w.bytes(body),
        }
        w.end(mark);
    }

    /// Kind of the action on the wire.
    #[must_use]
    pub fn kind(&self) -> ActionType {
        match self {
            Self::Output { .. } => ActionType::OUTPUT,
            Self::SetQueue(_) => ActionType::SET_QUEUE,
            Self::Group(_) => ActionType::GROUP,
            Self::SetField(_) => ActionType::SET_FIELD,
            Self::PushVlan(_) => ActionType::PUSH_VLAN,
            Self::PopVlan => ActionType::POP_VLAN,
            Self::PushMpls(_) => ActionType::PUSH_MPLS,
            Self::PopMpls(_) => ActionType::POP_MPLS,
            Self::PushPbb(_) => ActionType::PUSH_PBB,
            Self::PopPbb => ActionType::POP_PBB,
            Self::CopyTtlOut => ActionType::COPY_TTL_OUT,
            Self::CopyTtlIn => ActionType::COPY_TTL_IN,
            Self::SetMplsTtl(_) => ActionType::SET_MPLS_TTL,
            Self::DecMplsTtl => ActionType::DEC_MPLS_TTL,
            Self::SetNwTtl(_) => ActionType::SET_NW_TTL,
            Self::DecNwTtl => ActionType::DEC_NW_TTL,
            Self::Experimenter { .. } => ActionType::EXPERIMENTER,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}

/// An EtherType and two bytes of padding.
fn read_eth_type(body: &mut Reader<'_>) -> Result<EthType, DecodeError> {
    let eth_type = Wire::read(body, "action ethertype")?;
    body.skip(2, "action padding")?;
    Ok(eth_type)
}

/// A TTL and three bytes of padding.
fn read_ttl(body: &mut Reader<'_>) -> Result<u8, DecodeError> {
    let ttl = body.u8("action ttl")?;
    body.skip(3, "action padding")?;
    Ok(ttl)
}

/// The four bytes of padding of an action that says everything by its kind.
fn read_nothing(body: &mut Reader<'_>, action: Action) -> Result<Action, DecodeError> {
    body.skip(4, "action padding")?;
    Ok(action)
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output { port, max_len: 0 } => write!(f, "Output({port})"),
            Self::Output { port, max_len } => write!(f, "Output({port}, max_len {max_len})"),
            Self::SetQueue(queue) => write!(f, "SetQueue({queue})"),
            Self::Group(group) => write!(f, "Group({group})"),
            Self::SetField(field) => write!(f, "SetField({field:?})"),
            Self::PushVlan(eth_type) => write!(f, "PushVlan({eth_type})"),
            Self::PopVlan => f.write_str("PopVlan"),
            Self::PushMpls(eth_type) => write!(f, "PushMpls({eth_type})"),
            Self::PopMpls(eth_type) => write!(f, "PopMpls({eth_type})"),
            Self::PushPbb(eth_type) => write!(f, "PushPbb({eth_type})"),
            Self::PopPbb => f.write_str("PopPbb"),
            Self::CopyTtlOut => f.write_str("CopyTtlOut"),
            Self::CopyTtlIn => f.write_str("CopyTtlIn"),
            Self::SetMplsTtl(ttl) => write!(f, "SetMplsTtl({ttl})"),
            Self::DecMplsTtl => f.write_str("DecMplsTtl"),
            Self::SetNwTtl(ttl) => write!(f, "SetNwTtl({ttl})"),
            Self::DecNwTtl => f.write_str("DecNwTtl"),
            Self::Experimenter { experimenter, data } => {
                write!(f, "Experimenter({experimenter:#010x} {})", Hex(data))
            }
            Self::Unknown { kind, body } => write!(f, "Unknown({kind} {})", Hex(body)),
        }
    }
}
