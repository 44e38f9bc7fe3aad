//! Where packets were lost: in meters and queues, which is what a network is for, or because a program or a processor did
//! not keep up, which makes a measurement on emulated switches void.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::entry::meter_of;
use crate::mininet::{Lab, LabError};
use crate::trial::TrialResult;

/// Share of all packets that may be lost to the processor before figures mean nothing.
const CPU_SHARE: f64 = 0.001;
/// Share of a paid flow's packets that its sender may leave out because the machine stalled it.
const SKIPPED_SHARE: f64 = 0.005;

/// The counters of all drops at one moment.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    switches: BTreeMap<String, u64>,
    sockets: BTreeMap<String, u64>,
}

impl Counters {
    /// Reads them.
    ///
    /// # Errors
    /// When a counter cannot be read.
    pub fn read(lab: &Lab) -> Result<Self, LabError> {
        Ok(Self {
            switches: lab.drops()?,
            sockets: lab.socket_drops()?,
        })
    }

    /// What was added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let less = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>| {
            now.iter()
                .map(|(place, count)| {
                    let count = count.saturating_sub(then.get(place).copied().unwrap_or(0));
                    (place.clone(), count)
                })
                .filter(|(_, count)| *count > 0)
                .collect()
        };
        Self {
            switches: less(&self.switches, &before.switches),
            sockets: less(&self.sockets, &before.sockets),
        }
    }

    /// Packets that the meter of a reservation dropped, on whichever switch.
    #[must_use]
    pub fn metered(&self, reservation: u64) -> u64 {
        let meter = format!(" meter {}", meter_of(reservation));
        self.matching(|place| place.ends_with(&meter))
    }

    fn matching(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        self.switches
            .iter()
            .filter(|(place, _)| wanted(place))
            .map(|(_, count)| count)
            .sum()
    }
}

/// More than so many bytes waiting for the switch process at one port, some 900 full frames, are late because of the processor, and
/// arrive at their meter all at once.
const WAITED_BYTES: u64 = 2 << 20;

/// What became of every UDP packet that did not arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Packets that left their senders.
    pub sent_packets: u64,
    /// Those that arrived.
    pub received_packets: u64,
    /// Dropped by the meters of their own reservations: sent above what was paid for.
    pub in_meters: u64,
    /// Dropped by full queues, by class and port; those of the elastic class are TCP's and not among the packets above.
    pub in_queues: BTreeMap<String, u64>,
    /// Dropped because a socket or a processor's backlog was full, by place; whoever's packets they were.
    pub in_sockets: BTreeMap<String, u64>,
    /// Dropped by Open vSwitch at a port: the kernel took them no more.
    pub at_ports: BTreeMap<String, u64>,
    /// Lost, and no counter tells where; or, below zero, counted and not of the packets above.
    pub unexplained: i64,
    /// Bytes that waited at once for the switch process, at most, by port, kernel overhead included: about 2300 for a full frame.
    pub waited: BTreeMap<String, u64>,
    /// Packets that senders left out because the machine stalled them.
    pub never_sent: u64,
    /// Packets that senders' systems refused.
    pub refused_at_sender: u64,
}

/// The queue of the elastic class.
const ELASTIC_QUEUE: &str = " queue 3";
const QUEUES: [(&str, &str); 4] = [
    (" queue 0", "best effort"),
    (" queue 1", "control"),
    (" queue 2", "steady"),
    (ELASTIC_QUEUE, "elastic"),
];

impl Losses {
    /// Accounts for the UDP flows of a measurement; `reservations` are those that carried some of them.
    #[must_use]
    pub fn of(
        result: &TrialResult,
        drops: &Counters,
        reservations: impl IntoIterator<Item = u64>,
    ) -> Self {
        let sum = |of: fn(&crate::trial::FlowResult) -> u64| result.flows.values().map(of).sum();
        let mut losses = Self {
            sent_packets: sum(|flow| flow.sent_packets),
            received_packets: sum(|flow| flow.received_packets),
            in_meters: reservations.into_iter().map(|it| drops.metered(it)).sum(),
            in_sockets: drops.sockets.clone(),
            never_sent: sum(|flow| flow.skipped_packets),
            refused_at_sender: sum(|flow| flow.failed_packets),
            ..Self::default()
        };
        for (place, count) in &drops.switches {
            let class = QUEUES
                .iter()
                .find_map(|(queue, class)| Some((place.strip_suffix(queue)?, class)));
            if let Some((port, class)) = class {
                losses.in_queues.insert(format!("{class}, {port}"), *count);
            } else if place.contains(" port ") {
                losses.at_ports.insert(place.clone(), *count);
            }
        }
        let queued: u64 = losses
            .in_queues
            .iter()
            .filter(|(place, _)| !place.starts_with("elastic"))
            .map(|(_, count)| count)
            .sum();
        // Packets that the sender's system refused are not among those sent.
        let sockets: u64 = losses
            .in_sockets
            .iter()
            .filter(|(place, _)| !place.ends_with(" sending"))
            .map(|(_, count)| count)
            .sum();
        let told = losses.in_meters + queued + sockets + losses.at_ports.values().sum::<u64>();
        losses.unexplained = signed(losses.lost()) - signed(told);
        losses
    }

    /// Packets that did not arrive.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sent_packets.saturating_sub(self.received_packets)
    }

    /// Packets that were lost, or never sent, because a program or a processor did not keep up.
    #[must_use]
    pub fn to_the_cpu(&self) -> u64 {
        let unexplained = u64::try_from(self.unexplained).unwrap_or(0);
        self.in_sockets.values().sum::<u64>()
            + self.at_ports.values().sum::<u64>()
            + unexplained
            + self.refused_at_sender
    }
}

/// Why a measurement means nothing; empty when it does. `paid` names the flows whose senders must have kept up.
#[must_use]
pub fn void_reasons<'a>(
    losses: &Losses,
    result: &TrialResult,
    paid: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let mut reasons = Vec::new();
    let cpu = losses.to_the_cpu();
    let share = crate::trial::share(cpu, losses.sent_packets);
    if share > CPU_SHARE {
        reasons.push(format!(
            "{cpu} of {} packets were lost to the processor, not to a queue or a meter",
            losses.sent_packets
        ));
    }
    if let Some((port, bytes)) = losses.waited.iter().max_by_key(|(_, bytes)| **bytes)
        && *bytes > WAITED_BYTES
    {
        reasons.push(format!(
            "{bytes} bytes waited for the switch process at {port}"
        ));
    }
    for name in paid {
        let Some(flow) = result.flows.get(name) else {
            continue;
        };
        let skipped = flow.skipped_packets + flow.failed_packets;
        if crate::trial::share(skipped, skipped + flow.sent_packets) > SKIPPED_SHARE {
            reasons.push(format!(
                "{skipped} packets of {name} were never sent: the machine stalled its sender"
            ));
        }
    }
    reasons
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::FlowResult;

    fn flow(name: &str, sent: u64, received: u64, skipped: u64) -> (String, FlowResult) {
        let result = FlowResult {
            name: name.to_owned(),
            sent_packets: sent,
            received_packets: received,
            skipped_packets: skipped,
            ..FlowResult::default()
        };
        (name.to_owned(), result)
    }

    fn counters(switches: &[(&str, u64)], sockets: &[(&str, u64)]) -> Counters {
        let map = |of: &[(&str, u64)]| {
            of.iter()
                .map(|(place, count)| ((*place).to_owned(), *count))
                .collect()
        };
        Counters {
            switches: map(switches),
            sockets: map(sockets),
        }
    }

    #[test]
    fn every_lost_packet_has_a_place_or_is_called_unexplained() {
        let before = counters(&[("s1 meter 65541", 7), ("s1-eth101 queue 0", 100)], &[]);
        let after = counters(
            &[
                ("s1 meter 65541", 27),
                ("s1 meter 65542", 1_000),
                ("s1 meter 357", 5),
                ("s1-eth101 queue 0", 600),
                ("s1-eth101 queue 3", 9),
                ("s2 port 101 sent", 3),
            ],
            &[("ovs-vswitchd sockets", 2), ("h1 sending", 50)],
        );
        let result = TrialResult {
            flows: [flow("paid", 1_000, 980, 0), flow("flood", 2_000, 1_493, 4)].into(),
            ..TrialResult::default()
        };
        let losses = Losses::of(&result, &after.since(&before), [5]);
        assert_eq!((losses.lost(), losses.in_meters), (527, 20));
        assert_eq!(losses.in_queues.get("best effort, s1-eth101"), Some(&500));
        assert_eq!(losses.unexplained, 527 - 20 - 500 - 2 - 3);
        assert_eq!(losses.to_the_cpu(), 2 + 50 + 3 + 2);
        assert_eq!(losses.never_sent, 4);
    }

    #[test]
    fn what_the_processor_loses_makes_a_measurement_void_and_what_a_queue_loses_does_not() {
        let result = TrialResult {
            flows: [
                flow("paid", 10_000, 10_000, 0),
                flow("flood", 90_000, 40_000, 0),
            ]
            .into(),
            ..TrialResult::default()
        };
        let queue = counters(&[("s1-eth101 queue 0", 50_000)], &[]);
        let losses = Losses::of(&result, &queue, []);
        assert_eq!(void_reasons(&losses, &result, ["paid"]), [""; 0]);
        let socket = counters(
            &[("s1-eth101 queue 0", 49_800)],
            &[("ovs-vswitchd sockets", 200)],
        );
        let losses = Losses::of(&result, &socket, []);
        assert_eq!(void_reasons(&losses, &result, ["paid"]).len(), 1);
        // Nor does it count that nobody knows where packets went.
        let losses = Losses::of(&result, &Counters::default(), []);
        assert_eq!(void_reasons(&losses, &result, ["paid"]).len(), 1);

        let stalled = TrialResult {
            flows: [
                flow("paid", 9_900, 9_900, 100),
                flow("flood", 90_000, 90_000, 9_000),
            ]
            .into(),
            ..TrialResult::default()
        };
        let losses = Losses::of(&stalled, &Counters::default(), []);
        assert_eq!(void_reasons(&losses, &stalled, ["paid"]).len(), 1);
        let waited = Losses {
            waited: [("s1-eth1".to_owned(), WAITED_BYTES + 1)].into(),
            ..Losses::default()
        };
        assert_eq!(void_reasons(&waited, &TrialResult::default(), []).len(), 1);
    }
}
