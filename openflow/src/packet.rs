//! Packets between switch and controller.

use std::fmt;

use crate::action::Action;
use crate::code_points::wire_enum;
use crate::codec::{DecodeError, Hex, Reader, Wire, Writer};
use crate::flow_match::Match;
use crate::instruction::TableId;
use crate::port::PortNo;

wire_enum! {
    /// A packet held by the switch.
    pub struct BufferId(u32) {
        /// None is held: the message carries the packet.
        NO_BUFFER = 0xffff_ffff;
    }
}

wire_enum! {
    /// Why a packet was sent to the controller, `enum ofp_packet_in_reason`.
    pub struct PacketInReason(u8) {
        /// The entry that takes what nothing else took.
        NO_MATCH = 0;
        /// An output action to the controller.
        ACTION = 1;
        /// A TTL that was 0 or 1 already was to be decreased.
        INVALID_TTL = 2;
    }
}

/// A packet from the switch, `ofp_packet_in`: 24 bytes, header included, match, 2 bytes and the
/// frame.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketIn {
    /// Where the switch holds the packet, if it does.
    pub buffer_id: BufferId,
    /// Length of the whole frame, which may be more than `data` holds.
    pub total_len: u16,
    /// Why it was sent.
    pub reason: PacketInReason,
    /// Table of the entry that sent it.
    pub table_id: TableId,
    /// Cookie of the entry that sent it; all ones if none did.
    pub cookie: u64,
    /// Pipeline fields of the packet: the port, and metadata if there is any.
    pub flow_match: Match,
    /// The Ethernet frame, or its beginning.
    pub data: Vec<u8>,
}

impl fmt::Debug for PacketIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketIn")
            .field("buffer_id", &self.buffer_id)
            .field("total_len", &self.total_len)
            .field("reason", &self.reason)
            .field("table_id", &self.table_id)
            .field("cookie", &format_args!("{:#x}", self.cookie))
            .field("flow_match", &self.flow_match)
            .field("data", &Hex(&self.data))
            .finish()
    }
}

impl PacketIn {
    /// The port the packet came in on, which every switch says.
    #[must_use]
    pub fn in_port(&self) -> Option<PortNo> {
        self.flow_match.get_in_port()
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let buffer_id = Wire::read(r, "buffer_id")?;
        let total_len = r.u16("total_len")?;
        let reason = Wire::read(r, "packet_in reason")?;
        let table_id = Wire::read(r, "table_id")?;
        let cookie = r.u64("cookie")?;
        let flow_match = Match::read(r)?;
        r.skip(2, "packet_in padding")?;
        let data = r.rest().to_vec();
        Ok(Self {
            buffer_id,
            total_len,
            reason,
            table_id,
            cookie,
            flow_match,
            data,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.buffer_id.write(w);
        w.u16(self.total_len);
        self.reason.write(w);
        self.table_id.write(w);
        w.u64(self.cookie);
        self.flow_match.write(w);
        w.zeros(2);
        w.bytes(&self.data);
    }
}

/// A packet for the switch to send, `ofp_packet_out`: 24 bytes, header included, actions and the
/// frame.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketOut {
    /// The packet held by the switch, or [`BufferId::NO_BUFFER`] with the frame in `data`.
    pub buffer_id: BufferId,
    /// The port it counts as having come in on; [`PortNo::CONTROLLER`] for a packet of our own.
    pub in_port: PortNo,
    /// What to do with it; nothing means drop.
    pub actions: Vec<Action>,
    /// The Ethernet frame.
    pub data: Vec<u8>,
}

impl fmt::Debug for PacketOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketOut")
            .field("buffer_id", &self.buffer_id)
            .field("in_port", &self.in_port)
            .field("actions", &self.actions)
            .field("data", &Hex(&self.data))
            .finish()
    }
}

impl PacketOut {
    /// A frame of the controller's own, out of one port.
    #[must_use]
    pub fn new(port: PortNo, frame: Vec<u8>) -> Self {
        Self {
            buffer_id: BufferId::NO_BUFFER,
            in_port: PortNo::CONTROLLER,
            actions: vec![Action::output(port)],
            data: frame,
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let buffer_id = Wire::read(r, "buffer_id")?;
        let in_port = Wire::read(r, "in_port")?;
        let actions_len = usize::from(r.u16("actions_len")?);
        r.skip(6, "packet_out padding")?;
        let actions = Reader::new(r.take(actions_len, "packet_out actions")?).list(Action::read)?;
        Ok(Self {
            buffer_id,
            in_port,
            actions,
            data: r.rest().to_vec(),
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.buffer_id.write(w);
        self.in_port.write(w);
        // Counts only the actions, which start after 6 more bytes.
        let len_at = w.reserve_u16();
        w.zeros(6);
        let start = w.position();
        self.actions.iter().for_each(|action| action.write(w));
        w.fill_u16(len_at, w.position() - start);
        w.bytes(&self.data);
    }
}
