//! A flow entry as the switch has it, with its counters.

use crate::codec::{DecodeError, Reader, Wire, Writer};
use crate::flow_entry::FlowEntry;
use crate::flow_match::Match;
use crate::flow_mod::FlowFlags;
use crate::instruction::{Instruction, TableId};

/// A flow entry as the switch has it, with its counters, `ofp_flow_stats`: 48 bytes, match and
/// instructions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowStats {
    /// Which table.
    pub table_id: TableId,
    /// Whole seconds since it was put in.
    pub duration_sec: u32,
    /// Nanoseconds beyond them.
    pub duration_nsec: u32,
    /// Among entries that match, the highest wins.
    pub priority: u16,
    /// Seconds without a packet after which it goes; 0 is never.
    pub idle_timeout_s: u16,
    /// Seconds after which it goes, counted from when it was put in; 0 is never.
    pub hard_timeout_s: u16,
    /// How the entry behaves.
    pub flags: FlowFlags,
    /// The controller's own mark.
    pub cookie: u64,
    /// Packets that matched.
    pub packet_count: u64,
    /// Bytes of them, whole frames.
    pub byte_count: u64,
    /// Which packets.
    pub flow_match: Match,
    /// What is done with them.
    pub instructions: Vec<Instruction>,
}

impl FlowStats {
    /// The entry without its counters, to compare with what was asked for.
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
        let mut body = r.counted(0, "flow_stats")?;
        let r = &mut body;
        let table_id = Wire::read(r, "table_id")?;
        r.skip(1, "flow_stats padding")?;
        let duration_sec = r.u32("duration_sec")?;
        let duration_nsec = r.u32("duration_nsec")?;
        let priority = r.u16("priority")?;
        let idle_timeout_s = r.u16("idle_timeout")?;
        let hard_timeout_s = r.u16("hard_timeout")?;
        let flags = FlowFlags(r.u16("flow_stats flags")?);
        r.skip(4, "flow_stats padding")?;
        Ok(Self {
            table_id,
            duration_sec,
            duration_nsec,
            priority,
            idle_timeout_s,
            hard_timeout_s,
            flags,
            cookie: r.u64("cookie")?,
            packet_count: r.u64("packet_count")?,
            byte_count: r.u64("byte_count")?,
            flow_match: Match::read(r)?,
            instructions: r.list(Instruction::read)?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin(0);
        self.table_id.write(w);
        w.zeros(1);
        w.u32(self.duration_sec);
        w.u32(self.duration_nsec);
        w.u16(self.priority);
        w.u16(self.idle_timeout_s);
        w.u16(self.hard_timeout_s);
        w.u16(self.flags.0);
        w.zeros(4);
        w.u64(self.cookie);
        w.u64(self.packet_count);
        w.u64(self.byte_count);
        self.flow_match.write(w);
        self.instructions
            .iter()
            .for_each(|instruction| instruction.write(w));
        w.end(mark);
    }
}
