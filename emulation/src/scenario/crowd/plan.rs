//! Who buys what, and how it is sent.

use crate::mininet::{Regular, Topology};
use crate::traffic::{FRAME_OVERHEAD, MAX_PAYLOAD};

/// Switches in a row; the hosts of all but the last send, those of the last receive.
pub const SWITCHES: u16 = 4;
const HOSTS_PER_SWITCH: u16 = 5;
/// Of those, the ones that share all flows but one, and on the last switch those that receive.
const SHARING: u16 = 3;
/// The one that sends more than it bought, on the first switch.
const SENDS_TOO_MUCH: u16 = 3;
/// The one that has bought nothing, and on the last switch the one that receives best effort.
const BOUGHT_NOTHING: u16 = 4;
/// Capacity of every trunk.
pub const TRUNK_BPS: u64 = 40_000_000;

/// Flows that are bought.
pub const FLOWS: usize = 100;
const LEAST_KBPS: u64 = 50;
const MOST_KBPS: u64 = 2_000;
/// Most flows are slow, a few are fast: the rate grows linearly by so much over all flows, and by the rest with the 15th
/// power of the flow's number.
const LINEAR_KBPS: u64 = 277;
/// What is left of 30 Mbit/s, given to the flow that sends too much.
const REST_KBPS: u64 = 16;
/// The flow whose host sends three times what it bought: about 1 Mbit/s.
const EXCESSIVE: usize = 94;
/// How much more.
pub const EXCESS: u64 = 3;

/// Of what was paid for, flows offer so many parts in a thousand: the pacing of the sender is not what is measured.
const OFFERED_PER_MILLE: u64 = 996;
/// Packets per second of a slow flow; a fast one sends full frames.
const PPS: u64 = 50;
/// Bursts are sent every 40 ms or a multiple of it, all flows at the same instants. A steady flow is sold 50 ms of its rate: the
/// rest is for what a sender and a switch on a busy machine are late by.
const BURST_PERIOD_MS: u64 = 40;
const BURST_PERCENT: u64 = 80;

const FIRST_PORT: u16 = 5_000;

/// What all flows do in one run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Every flow at a constant rate.
    Constant,
    /// Every flow in bursts of four fifths of what was sold, all at the same instants.
    Bursts,
    /// Every third flow is greedy TCP, the others are at a constant rate.
    Tcp,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Constant, Self::Bursts, Self::Tcp];

    /// In file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Bursts => "bursts",
            Self::Tcp => "tcp",
        }
    }

    /// For people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Constant => "all at a constant rate",
            Self::Bursts => "in bursts of four fifths of what was sold, all at once",
            Self::Tcp => "every third flow TCP",
        }
    }
}

/// One flow that is bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidFlow {
    /// Its name.
    pub name: String,
    /// Who sends.
    pub from: String,
    /// The switch where it enters.
    pub entry: String,
    /// Who receives.
    pub to: String,
    /// Destination port.
    pub port: u16,
    /// What is bought, frame bits per second.
    pub rate_bps: u64,
    /// Whether it sends more than that.
    pub excessive: bool,
    /// Whether it is TCP.
    pub tcp: bool,
}

/// The network.
#[must_use]
pub fn topology() -> Topology {
    Topology::Line(Regular {
        switches: SWITCHES,
        hosts: HOSTS_PER_SWITCH,
        trunk_bps: TRUNK_BPS,
    })
}

fn host(switch: u16, number: u16) -> String {
    format!("h{}", switch * HOSTS_PER_SWITCH + number + 1)
}

/// Where best effort enters, and where it goes. It shares the ports of hosts that have paid for other flows, but not where those
/// send in bursts: on emulated switches packets wait for the processor in a line for each port, and bursts behind others would
/// come to their meters too near to each other.
#[must_use]
pub fn floods(kind: Kind) -> Vec<(String, String)> {
    let from = match kind {
        Kind::Constant | Kind::Tcp => 0,
        Kind::Bursts => BOUGHT_NOTHING,
    };
    (0..SWITCHES - 1)
        .map(|switch| (host(switch, from), host(SWITCHES - 1, BOUGHT_NOTHING)))
        .collect()
}

/// The flows of a run, by rate.
#[must_use]
pub fn flows(kind: Kind) -> Vec<PaidFlow> {
    // Three hosts on each of three switches share all flows but one; the excessive one has a host of its own.
    let senders: Vec<(u16, u16)> = (0..SHARING)
        .flat_map(|number| (0..SWITCHES - 1).map(move |switch| (switch, number)))
        .collect();
    let mut deal = senders.iter().cycle();
    (0_u16..)
        .zip(rates_kbps())
        .map(|(number, kbps)| {
            let excessive = usize::from(number) == EXCESSIVE;
            let (switch, sender) = if excessive {
                (0, SENDS_TOO_MUCH)
            } else {
                deal.next().copied().unwrap_or_default()
            };
            PaidFlow {
                name: format!("flow {number:02}"),
                from: host(switch, sender),
                entry: format!("s{}", switch + 1),
                to: host(SWITCHES - 1, number % SHARING),
                port: FIRST_PORT + number,
                rate_bps: kbps * 1_000,
                excessive,
                tcp: kind == Kind::Tcp && number % 3 == 0 && !excessive,
            }
        })
        .collect()
}

fn rates_kbps() -> impl Iterator<Item = u64> {
    let last = FLOWS as u128 - 1;
    (0..FLOWS).map(move |number| {
        let n = number as u128;
        let fast = u128::from(MOST_KBPS - LEAST_KBPS - LINEAR_KBPS) * n.pow(15) / last.pow(15);
        let linear = u128::from(LINEAR_KBPS) * n / last;
        let rest = if number == EXCESSIVE { REST_KBPS } else { 0 };
        LEAST_KBPS + rest + u64::try_from(linear + fast).unwrap_or(MOST_KBPS)
    })
}

impl PaidFlow {
    /// How its sender is told to send, where it is not TCP; `burst_bytes` is what was sold.
    #[must_use]
    pub fn traffic(&self, kind: Kind, burst_bytes: u64) -> String {
        let offered = self.rate_bps * OFFERED_PER_MILLE / 1_000;
        if self.excessive {
            return describe(self.rate_bps * EXCESS, MAX_PAYLOAD, 1);
        }
        if kind == Kind::Bursts {
            let burst = Burst::of(offered, burst_bytes);
            return describe(
                burst.rate_bps,
                burst.frame_bytes - FRAME_OVERHEAD,
                burst.packets,
            );
        }
        let frame = offered / 8 / PPS;
        let payload = u32::try_from(frame)
            .unwrap_or(u32::MAX)
            .saturating_sub(FRAME_OVERHEAD)
            .min(MAX_PAYLOAD);
        describe(offered, payload, 1)
    }
}

fn describe(rate_bps: u64, payload: u32, packets: u32) -> String {
    format!("rate={rate_bps},payload={payload},burst={packets}")
}

/// A burst that comes again after a whole number of periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Burst {
    packets: u32,
    frame_bytes: u32,
    /// Exactly one burst per period, rounded down.
    rate_bps: u64,
}

impl Burst {
    /// The largest that is at most four fifths of what was sold and keeps `offered_bps`; two packets at least.
    fn of(offered_bps: u64, sold_bytes: u64) -> Self {
        let most = sold_bytes * BURST_PERCENT / 100;
        let periods = (most * 8_000 / offered_bps.max(1) / BURST_PERIOD_MS).max(1);
        let period_ms = periods * BURST_PERIOD_MS;
        let bytes = (offered_bps * period_ms / 8_000).min(most);
        let packets = bytes
            .div_ceil(u64::from(MAX_PAYLOAD + FRAME_OVERHEAD))
            .max(2);
        let frame_bytes = bytes / packets;
        Self {
            packets: u32::try_from(packets).unwrap_or(u32::MAX),
            frame_bytes: u32::try_from(frame_bytes).unwrap_or(u32::MAX),
            rate_bps: packets * frame_bytes * 8_000 / period_ms,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::traffic::flow::FlowSpec;

    #[test]
    fn a_hundred_flows_are_thirty_megabit_from_three_switches() {
        let flows = flows(Kind::Tcp);
        assert_eq!(flows.len(), FLOWS);
        assert_eq!(
            flows.iter().map(|flow| flow.rate_bps).sum::<u64>(),
            30_000_000
        );
        let rates = flows.iter().map(|flow| flow.rate_bps);
        assert_eq!(
            (rates.clone().min(), rates.max()),
            (Some(50_000), Some(2_000_000))
        );
        let entries: BTreeSet<_> = flows.iter().map(|flow| flow.entry.as_str()).collect();
        assert_eq!(entries.into_iter().collect::<Vec<_>>(), ["s1", "s2", "s3"]);
        let excessive: Vec<_> = flows.iter().filter(|flow| flow.excessive).collect();
        assert_eq!(excessive.len(), 1);
        assert!(flows.iter().filter(|flow| flow.from == "h4").eq(excessive));
        let tcp = flows.iter().filter(|flow| flow.tcp).count();
        assert!((33..=34).contains(&tcp), "{tcp} of them are TCP");
        let ports: BTreeSet<_> = flows.iter().map(|flow| flow.port).collect();
        assert_eq!(ports.len(), FLOWS);
    }

    #[test]
    fn every_flow_offers_at_least_99_per_cent_and_no_burst_is_larger_than_sold() {
        use payflow_qos::{BitRate, Class};
        for kind in Kind::ALL {
            for flow in flows(kind).iter().filter(|flow| !flow.excessive) {
                let sold = BitRate(flow.rate_bps).to_sold().unwrap();
                let burst_bytes = Class::Steady.burst(sold).0;
                let text = format!("to=10.0.0.1:1,{}", flow.traffic(kind, burst_bytes));
                let spec: FlowSpec = text.parse().unwrap();
                assert!(spec.rate_bps <= flow.rate_bps, "{text}");
                assert!(
                    spec.rate_bps * 100 >= flow.rate_bps * 99,
                    "{text} of {flow:?}"
                );
                let at_once = u64::from(spec.frame_bytes()) * u64::from(spec.burst_packets);
                assert!(at_once <= burst_bytes, "{text}");
                if kind == Kind::Bursts {
                    // As large as sold, as far as the common period allows: one more would be too many.
                    let period_bytes = flow.rate_bps * BURST_PERIOD_MS / 8_000;
                    assert!(
                        at_once + period_bytes + 100 > burst_bytes * 75 / 100,
                        "{text}"
                    );
                }
            }
        }
    }
}
