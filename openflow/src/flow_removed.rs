//! Hearing that a flow entry is gone.

use crate::code_points::wire_enum;
use crate::codec::{DecodeError, Reader, Wire, Writer};
use crate::flow_match::Match;
use crate::instruction::TableId;

wire_enum! {
    /// Why a flow entry went, `enum ofp_flow_removed_reason`.
    pub struct FlowRemovedReason(u8) {
        /// No packet for its idle time-out.
        IDLE_TIMEOUT = 0;
        /// Its hard time-out.
        HARD_TIMEOUT = 1;
        /// A flow-mod.
        DELETE = 2;
        /// The deletion of a group it referred to.
        GROUP_DELETE = 3;
        /// OpenFlow 1.4, and Open vSwitch before it.
        METER_DELETE = 4;
        /// OpenFlow 1.4, and Open vSwitch before it.
        EVICTION = 5;
    }
}

/// A flow entry is gone, `ofp_flow_removed`: 48 bytes, header included, and the match. Sent for
/// entries put in with [`crate::FlowFlags::SEND_FLOW_REM`]; lost while the connection is down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowRemoved {
    /// The controller's own mark.
    pub cookie: u64,
    /// Its priority.
    pub priority: u16,
    /// Why it went.
    pub reason: FlowRemovedReason,
    /// Which table it was in.
    pub table_id: TableId,
    /// Whole seconds it was there.
    pub duration_sec: u32,
    /// Nanoseconds beyond them.
    pub duration_nsec: u32,
    /// Its idle time-out in seconds; 0 for none.
    pub idle_timeout_s: u16,
    /// Its hard time-out in seconds; 0 for none.
    pub hard_timeout_s: u16,
    /// Packets that matched.
    pub packet_count: u64,
    /// Bytes of them, whole frames.
    pub byte_count: u64,
    /// Which packets it took.
    pub flow_match: Match,
}

impl FlowRemoved {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            cookie: r.u64("cookie")?,
            priority: r.u16("priority")?,
            reason: Wire::read(r, "flow_removed reason")?,
            table_id: Wire::read(r, "table_id")?,
            duration_sec: r.u32("duration_sec")?,
            duration_nsec: r.u32("duration_nsec")?,
            idle_timeout_s: r.u16("idle_timeout")?,
            hard_timeout_s: r.u16("hard_timeout")?,
            packet_count: r.u64("packet_count")?,
            byte_count: r.u64("byte_count")?,
            flow_match: Match::read(r)?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        w.u64(self.cookie);
        w.u16(self.priority);
        self.reason.write(w);
        self.table_id.write(w);
        w.u32(self.duration_sec);
        w.u32(self.duration_nsec);
        w.u16(self.idle_timeout_s);
        w.u16(self.hard_timeout_s);
        w.u64(self.packet_count);
        w.u64(self.byte_count);
        self.flow_match.write(w);
    }
}
