//! What can be made to go wrong: on demand, and the same in every run.

use std::time::Duration;

use rust_openflow::{ErrorCode, FlowMod};

/// Refuses some flow-mods that would have been fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Only flow-mods whose cookie agrees with this in the bits of `cookie_mask`.
    pub cookie: u64,
    /// Which bits of the cookie count; 0 for every flow-mod.
    pub cookie_mask: u64,
    /// How many of them are let through first.
    pub skip: u32,
    /// How many are refused then; `u32::MAX` for all.
    pub times: u32,
    /// With which error.
    pub error: ErrorCode,
}

impl Refusal {
    /// Refuses every flow-mod from now on.
    #[must_use]
    pub fn all(error: ErrorCode) -> Self {
        Self {
            cookie: 0,
            cookie_mask: 0,
            skip: 0,
            times: u32::MAX,
            error,
        }
    }

    /// The error, if it is this flow-mod's turn.
    fn take(&mut self, flow_mod: &FlowMod) -> Option<ErrorCode> {
        if (flow_mod.cookie ^ self.cookie) & self.cookie_mask != 0 || self.times == 0 {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if self.times != u32::MAX {
            self.times -= 1;
        }
        Some(self.error)
    }
}

/// What is wrong with the switch at the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) refusals: Vec<Refusal>,
    /// Until then nothing that arrives is looked at.
    pub(super) stalled_until: Option<Duration>,
    /// How many bytes a connection gives away per call.
    pub(super) bytes_per_call: Option<usize>,
}

impl Faults {
    pub(super) fn refuses(&mut self, flow_mod: &FlowMod) -> Option<ErrorCode> {
        self.refusals
            .iter_mut()
            .find_map(|refusal| refusal.take(flow_mod))
    }

    pub(super) fn is_stalled(&self, now: Duration) -> bool {
        self.stalled_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_openflow::{Match, TableId};

    #[test]
    fn a_refusal_skips_and_counts_only_what_it_is_about() {
        let mut faults = Faults {
            refusals: vec![Refusal {
                cookie: 0x100,
                cookie_mask: 0xf00,
                skip: 1,
                times: 1,
                error: ErrorCode::TABLE_FULL,
            }],
            ..Faults::default()
        };
        let add = |cookie| FlowMod::add(TableId(0), 1, Match::new(), vec![]).cookie(cookie);
        let refused = [0x100, 0x200, 0x101, 0x102].map(|cookie| faults.refuses(&add(cookie)));
        assert_eq!(refused, [None, None, Some(ErrorCode::TABLE_FULL), None]);
    }
}
