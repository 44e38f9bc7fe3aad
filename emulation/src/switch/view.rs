//! What an observer outside may look at without asking over OpenFlow.

use std::time::Duration;

use rust_openflow::{FlowFlags, GroupDesc, Instruction, Match, MeterConfig, TableId};

use super::MemorySwitch;
use super::flow_table::Entry;

/// A flow entry as it stands in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryView<'a> {
    /// In which table.
    pub table_id: TableId,
    /// Of entries that match a packet, the one of the highest priority takes it.
    pub priority: u16,
    /// Which packets.
    pub flow_match: &'a Match,
    /// The controller's own mark on it.
    pub cookie: u64,
    /// What is done with the packets, in the order of execution.
    pub instructions: &'a [Instruction],
    /// As they came, those included that only say how to put an entry in.
    pub flags: FlowFlags,
    /// It goes after so many seconds without a packet; 0 is never.
    pub idle_timeout_s: u16,
    /// It goes so many seconds after `modified_at`; 0 is never.
    pub hard_timeout_s: u16,
    /// When it was put in, or last replaced; since the switch's start.
    pub installed_at: Duration,
    /// When it was put in, replaced or modified: the hard time-out counts from here.
    pub modified_at: Duration,
    /// Packets it took, those included that a meter dropped then.
    pub packets: u64,
    /// Their bytes, as they arrived.
    pub bytes: u64,
}

impl EntryView<'_> {
    /// When the hard time-out will take it, if it has one; since the switch's start.
    #[must_use]
    pub fn ends_at(&self) -> Option<Duration> {
        let after = Duration::from_secs(self.hard_timeout_s.into());
        (self.hard_timeout_s > 0).then(|| self.modified_at + after)
    }
}

impl<'a> From<&'a Entry> for EntryView<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            table_id: entry.table_id,
            priority: entry.priority,
            flow_match: &entry.flow_match,
            cookie: entry.cookie,
            instructions: &entry.instructions,
            flags: entry.flags,
            idle_timeout_s: entry.idle_timeout_s,
            hard_timeout_s: entry.hard_timeout_s,
            installed_at: entry.created_at,
            modified_at: entry.modified_at,
            packets: entry.packets,
            bytes: entry.bytes,
        }
    }
}

impl MemorySwitch {
    /// Every flow entry: by table, then in the order in which packets meet them.
    pub fn entries(&self) -> impl Iterator<Item = EntryView<'_>> {
        self.tables.all().map(EntryView::from)
    }

    /// Every meter with its flags and bands, by number.
    pub fn meters(&self) -> impl Iterator<Item = &MeterConfig> {
        self.meters.all()
    }

    /// Every group with its buckets, by number.
    pub fn groups(&self) -> impl Iterator<Item = &GroupDesc> {
        self.groups.all()
    }

    /// A number that rises whenever entries, meters, groups, ports or queues change: an observer who finds
    /// the same number again has nothing to look at. Counters and time do not move it. It never
    /// falls, not even at a restart.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn changed(&mut self) {
        self.version += 1;
    }
}
