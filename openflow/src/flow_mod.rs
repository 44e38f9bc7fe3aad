//! Putting flow entries in, changing them and taking them out.

use crate::action::GroupId;
use crate::code_points::{wire_enum, wire_flags};
use crate::codec::{DecodeError, Reader, Wire, Writer};
use crate::flow_entry::FlowEntry;
use crate::flow_match::Match;
use crate::instruction::{Instruction, TableId};
use crate::packet::BufferId;
use crate::port::PortNo;

wire_enum! {
    /// What to do with flow entries, `enum ofp_flow_mod_command`.
    pub struct FlowCommand(u8) {
        /// Replaces an entry of the same match and priority silently, cookie included.
        ADD = 0;
        /// Gives every entry within the match other instructions; cookies stay.
        MODIFY = 1;
        /// The same for the one entry of this match and priority.
        MODIFY_STRICT = 2;
        /// Removes every entry within the match.
        DELETE = 3;
        /// Removes the one entry of this match and priority.
        DELETE_STRICT = 4;
    }
}

wire_flags! {
    /// How a flow entry behaves, `enum ofp_flow_mod_flags`.
    pub struct FlowFlags(u16) {
        /// Tell the controller when the entry goes.
        SEND_FLOW_REM = 1 << 0;
        /// Refuse an entry that overlaps another of the same priority.
        CHECK_OVERLAP = 1 << 1;
        /// Start counting from zero.
        RESET_COUNTS = 1 << 2;
        /// Packets need not be counted.
        NO_PKT_COUNTS = 1 << 3;
        /// Bytes need not be counted.
        NO_BYT_COUNTS = 1 << 4;
    }
}

impl FlowFlags {
    /// The flags that stay with an entry; the others only say how to put it in.
    pub const LASTING: Self =
        Self(Self::SEND_FLOW_REM.0 | Self::NO_PKT_COUNTS.0 | Self::NO_BYT_COUNTS.0);
}

/// Adds, changes or removes flow entries, `ofp_flow_mod`: 48 bytes, header included, match and
/// instructions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowMod {
    /// The controller's own mark on the entry.
    pub cookie: u64,
    /// For MODIFY and DELETE: only entries whose cookie agrees with `cookie` in these bits.
    pub cookie_mask: u64,
    /// Which table; [`TableId::ALL`] only for DELETE.
    pub table_id: TableId,
    /// What to do.
    pub command: FlowCommand,
    /// Remove the entry after so many seconds without a packet; 0 is never.
    pub idle_timeout_s: u16,
    /// Remove the entry after so many seconds; 0 is never.
    pub hard_timeout_s: u16,
    /// Among entries that match, the highest wins.
    pub priority: u16,
    /// A packet held by the switch to send through the new entry.
    pub buffer_id: BufferId,
    /// For DELETE: only entries that output here; [`PortNo::ANY`] is all.
    pub out_port: PortNo,
    /// For DELETE: only entries that use this group; [`GroupId::ANY`] is all.
    pub out_group: GroupId,
    /// How the entry behaves.
    pub flags: FlowFlags,
    /// Which packets.
    pub flow_match: Match,
    /// What to do with them; nothing means drop.
    pub instructions: Vec<Instruction>,
}

impl FlowMod {
    /// Any command, with everything else at the value that means nothing special.
    #[must_use]
    pub fn new(command: FlowCommand, table_id: TableId, priority: u16, flow_match: Match) -> Self {
        Self {
            cookie: 0,
            cookie_mask: 0,
            table_id,
            command,
            idle_timeout_s: 0,
            hard_timeout_s: 0,
            priority,
            buffer_id: BufferId::NO_BUFFER,
            out_port: PortNo::ANY,
            out_group: GroupId::ANY,
            flags: FlowFlags::NONE,
            flow_match,
            instructions: Vec::new(),
        }
    }

    /// Puts an entry in, in place of one of the same match and priority.
    #[must_use]
    pub fn add(
        table_id: TableId,
        priority: u16,
        flow_match: Match,
        instructions: Vec<Instruction>,
    ) -> Self {
        Self {
            instructions,
            ..Self::new(FlowCommand::ADD, table_id, priority, flow_match)
        }
    }

    /// Removes the one entry of this match and priority.
    #[must_use]
    pub fn delete_strict(table_id: TableId, priority: u16, flow_match: Match) -> Self {
        Self::new(FlowCommand::DELETE_STRICT, table_id, priority, flow_match)
    }

    /// Removes every entry whose cookie agrees with `cookie` in the bits of `mask`, in one table or
    /// in all of them.
    #[must_use]
    pub fn delete_by_cookie(table_id: TableId, cookie: u64, mask: u64) -> Self {
        let delete = Self::new(FlowCommand::DELETE, table_id, 0, Match::new());
        Self {
            cookie,
            cookie_mask: mask,
            ..delete
        }
    }

    /// With this mark.
    #[must_use]
    pub fn cookie(self, cookie: u64) -> Self {
        Self { cookie, ..self }
    }

    /// Gone after so many seconds without a packet.
    #[must_use]
    pub fn idle_timeout_s(self, idle_timeout_s: u16) -> Self {
        Self {
            idle_timeout_s,
            ..self
        }
    }

    /// Gone after so many seconds.
    #[must_use]
    pub fn hard_timeout_s(self, hard_timeout_s: u16) -> Self {
        Self {
            hard_timeout_s,
            ..self
        }
    }

    /// With these flags.
    #[must_use]
    pub fn flags(self, flags: FlowFlags) -> Self {
        Self { flags, ..self }
    }

    /// The entry an ADD asks for, as [`crate::FlowStats::entry`] will show it.
    #[must_use]
    pub fn entry(&self) -> FlowEntry {
        FlowEntry {
            table_id: self.table_id,
            priority: self.priority,
            flow_match: self.flow_match.clone(),
            cookie: self.cookie,
            idle_timeout_s: self.idle_timeout_s,
            hard_timeout_s: self.hard_timeout_s,
            flags: self.flags & FlowFlags::LASTING,
            instructions: Instruction::canonical(self.instructions.clone()),
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let cookie = r.u64("cookie")?;
        let cookie_mask = r.u64("cookie_mask")?;
        let table_id = Wire::read(r, "table_id")?;
        let command = Wire::read(r, "flow_mod command")?;
        let idle_timeout_s = r.u16("idle_timeout")?;
        let hard_timeout_s = r.u16("hard_timeout")?;
        let priority = r.u16("priority")?;
        let buffer_id = Wire::read(r, "buffer_id")?;
        let out_port = Wire::read(r, "out_port")?;
        let out_group = Wire::read(r, "out_group")?;
        let flags = FlowFlags(r.u16("flow_mod flags")?);
        r.skip(2, "flow_mod padding")?;
        Ok(Self {
            cookie,
            cookie_mask,
            table_id,
            command,
            idle_timeout_s,
            hard_timeout_s,
            priority,
            buffer_id,
            out_port,
            out_group,
            flags,
            flow_match: Match::read(r)?,
            instructions: r.list(Instruction::read)?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        w.u64(self.cookie);
        w.u64(self.cookie_mask);
        self.table_id.write(w);
        self.command.write(w);
        w.u16(self.idle_timeout_s);
        w.u16(self.hard_timeout_s);
        w.u16(self.priority);
        self.buffer_id.write(w);
        self.out_port.write(w);
        self.out_group.write(w);
        w.u16(self.flags.0);
        w.zeros(2);
        self.flow_match.write(w);
        self.instructions
            .iter()
            .for_each(|instruction| instruction.write(w));
    }
}
