//! What is done to a packet.

use std::fmt;

use crate::code_points::wire_enum;
use crate::codec::{DecodeError, Reader, Wire, Writer, fmt_hex};
use crate::oxm::{EthType, Oxm};
use crate::port::{PortNo, QueueId};

wire_enum! {
    /// Kind of an action, `enum ofp_action_type`.
    pub struct ActionType(u16) {
        OUTPUT = 0;
        COPY_TTL_OUT = 11;
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

/// One thing done to a packet, `ofp_action_header` and what follows it.
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
    /// Writes a header field; a mask is not allowed.
    SetField(Oxm),
    /// Adds an empty VLAN tag of this EtherType.
    PushVlan(EthType),
    /// Removes the outermost VLAN tag.
    PopVlan,
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
                let before = body.len();
                let field = Oxm::read(&mut body)?;
                let used = 4 + before - body.len();
                body.skip(used.next_multiple_of(8) - used, "set_field padding")?;
                Self::SetField(field)
            }
            ActionType::PUSH_VLAN => {
                let eth_type = Wire::read(&mut body, "push_vlan ethertype")?;
                body.skip(2, "push_vlan padding")?;
                Self::PushVlan(eth_type)
            }
            ActionType::POP_VLAN => {
                body.skip(4, "pop_vlan padding")?;
                Self::PopVlan
            }
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
            Self::PushVlan(eth_type) => {
                eth_type.write(w);
                w.zeros(2);
            }
            Self::PopVlan => w.zeros(4),
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
            Self::Unknown { kind, .. } => *kind,
        }
    }
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
            Self::Unknown { kind, body } => {
                write!(f, "Unknown({kind} ")?;
                fmt_hex(f, body)?;
                f.write_str(")")
            }
        }
    }
}
