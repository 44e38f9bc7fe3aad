//! A flow entry in a form that can be compared.

use crate::flow_match::Match;
use crate::flow_mod::{FlowFlags, FlowMod};
use crate::instruction::{Instruction, TableId};

/// A flow entry in a form that can be compared: what was asked for ([`FlowMod::entry`]) with what
/// a switch reports ([`crate::FlowStats::entry`]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowEntry {
    /// Which table.
    pub table_id: TableId,
    /// Among entries that match, the highest wins.
    pub priority: u16,
    /// Which packets. With table and priority, the identity of the entry.
    pub flow_match: Match,
    /// The controller's own mark.
    pub cookie: u64,
    /// Seconds without a packet after which it goes; 0 is never.
    pub idle_timeout_s: u16,
    /// Seconds after which it goes; 0 is never.
    pub hard_timeout_s: u16,
    /// The flags that stay with an entry, [`FlowFlags::LASTING`].
    pub flags: FlowFlags,
    /// What to do with the packets, in [`Instruction::canonical`] form.
    pub instructions: Vec<Instruction>,
}

impl FlowEntry {
    /// What puts this entry in.
    #[must_use]
    pub fn to_add(&self) -> FlowMod {
        let instructions = self.instructions.clone();
        FlowMod::add(
            self.table_id,
            self.priority,
            self.flow_match.clone(),
            instructions,
        )
        .cookie(self.cookie)
        .idle_timeout_s(self.idle_timeout_s)
        .hard_timeout_s(self.hard_timeout_s)
        .flags(self.flags)
    }

    /// What takes this entry out, and only if it still bears this cookie.
    #[must_use]
    pub fn to_delete(&self) -> FlowMod {
        FlowMod {
            cookie: self.cookie,
            cookie_mask: u64::MAX,
            ..FlowMod::delete_strict(self.table_id, self.priority, self.flow_match.clone())
        }
    }
}
