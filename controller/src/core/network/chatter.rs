//! Lines of the log that a switch, or a host behind it, can cause as often as it likes.

use payflow_qos::{SwitchId, Time};
use tracing::warn;

use super::Network;

/// So many of one kind are in the log within `timings.complaint`.
const MOST: u32 = 20;

/// What they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Chatter {
    /// A host uses a name that belongs elsewhere.
    Claims,
    /// Errors that no message of ours has caused.
    Errors,
    /// The switch refuses entries of reservations.
    Refusals,
    /// Somebody removes entries of ours.
    Removals,
    /// Messages that cannot be read.
    Unreadable,
}

impl Network {
    /// Whether one more may be in the log; the log says when it begins to leave them out.
    pub(super) fn may_say(&mut self, switch: SwitchId, what: Chatter, now: Time) -> bool {
        let until = now.plus(self.config.timings.complaint);
        let (ends, said) = self.chatter.entry((switch, what)).or_insert((until, 0));
        if *ends <= now {
            (*ends, *said) = (until, 0);
        }
        *said = said.saturating_add(1);
        if *said == MOST + 1 {
            warn!(%switch, ?what, "more of these are not logged for a while");
        }
        *said <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::network::NetworkConfig;

    #[test]
    fn a_switch_is_quoted_so_often_a_minute_and_no_other_suffers() {
        let mut network = Network::new(NetworkConfig::new([9; 32]));
        let mut said = |switch, what, at| {
            let now = Time::from_millis(at);
            let lines = 0..1_000;
            let said = lines.filter(|_| network.may_say(SwitchId(switch), what, now));
            said.count() as u32
        };
        assert_eq!(said(1, Chatter::Errors, 0), MOST);
        assert_eq!(said(1, Chatter::Errors, 59_999), 0);
        assert_eq!(said(1, Chatter::Claims, 59_999), MOST);
        assert_eq!(said(2, Chatter::Errors, 59_999), MOST);
        assert_eq!(said(1, Chatter::Errors, 60_000), MOST);
    }
}
