//! What the crowd measured, and whether it is enough.

use serde::{Deserialize, Serialize};

use super::plan::{EXCESS, FLOWS, Kind};
use crate::report::{Bar, at_least};
use crate::scenario::ceiling::Ceiling;
use crate::scenario::losses::Losses;
use crate::table::{Table, mbit, percent};
use crate::traffic::recv::Delays;

/// Share of the paid rate that must be offered by a constant-rate flow, and must arrive, in per cent.
const RATE_PERCENT: u64 = 99;
/// Most that such a flow may lose.
pub(super) const LOSS: f64 = 0.001;
/// Longest one-way delay of 99 of 100 of its packets, whatever its quote says.
const DELAY_MS: f64 = 50.0;
/// Share of the paid rate that a TCP flow must reach as goodput, in per cent.
const TCP_PERCENT: u64 = 90;
/// Share of what paid flows leave that best effort must get, in per cent.
const BEST_EFFORT_PERCENT: u64 = 90;
/// Share of the best effort that was meant to be offered, in per cent.
const OFFERED_PERCENT: u64 = 97;

/// The whole report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CrowdReport {
    /// Version of Open vSwitch.
    pub switch_version: String,
    /// `kernel` or `userspace`.
    pub datapath: String,
    /// Capacity of every trunk.
    pub trunk_bps: u64,
    /// What the chain forwards without any of this.
    pub ceiling: Option<Ceiling>,
    /// How long it took to buy everything, in seconds, and how many flows that were.
    pub purchases: Vec<Purchases>,
    /// The runs.
    pub runs: Vec<CrowdRun>,
    /// The verdict: every run passed and none is void.
    pub passed: bool,
}

/// The purchases before a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Purchases {
    /// The run.
    pub kind: Kind,
    /// Flows bought, each paid on the ledger.
    pub flows: usize,
    /// From the first request to the last confirmation.
    pub seconds: f64,
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CrowdRun {
    /// What the flows did.
    pub kind: Kind,
    /// Whether the processor decided what was lost; the figures mean nothing then.
    pub void: bool,
    /// Why.
    pub void_reasons: Vec<String>,
    /// Tries before this one that were void, each with its reasons.
    pub void_tries: Vec<Vec<String>>,
    /// Seconds of sending.
    pub seconds: u64,
    /// The paid flows.
    pub flows: Vec<CrowdFlow>,
    /// Everything else.
    pub best_effort: BestEffort,
    /// Where packets were lost.
    pub losses: Losses,
    /// Every bar with its figure.
    pub bars: Vec<Bar>,
    /// All bars hold and the run is not void.
    pub passed: bool,
}

/// A paid flow. All `*_bps` are frame bits per second, except the goodput of TCP, which is payload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CrowdFlow {
    /// Its name.
    pub name: String,
    /// The switch where it enters.
    pub entry: String,
    /// `udp`, `tcp`, or `excessive`: UDP at three times what was bought.
    pub sends: String,
    /// Steady or elastic.
    pub class: String,
    /// What was paid for.
    pub paid_bps: u64,
    /// What was offered; zero for TCP, which offers what it is given.
    pub offered_bps: u64,
    /// What arrived.
    pub goodput_bps: u64,
    /// Packets that left the sender; of TCP not counted, like the next five.
    pub sent_packets: u64,
    /// Packets that arrived.
    pub received_packets: u64,
    /// Frame bytes that left the sender.
    pub sent_bytes: u64,
    /// Frame bytes that arrived; of TCP payload bytes.
    pub received_bytes: u64,
    /// Share lost, 0 to 1.
    pub loss: f64,
    /// One-way delays.
    pub delay_ms: Delays,
    /// The queueing delay that its quote allows.
    pub delay_bound_ms: u64,
    /// Packets that its meter dropped.
    pub meter_drops: u64,
    /// The longest that a packet left its sender after its time, in milliseconds.
    pub longest_lag_ms: f64,
}

/// Everything that was not paid for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BestEffort {
    /// What was meant to be offered.
    pub target_bps: u64,
    /// What was offered.
    pub offered_bps: u64,
    /// What arrived.
    pub goodput_bps: u64,
    /// What the paid flows left of the last trunk: its capacity less what arrived of them, TCP with its headers.
    pub left_bps: u64,
}

impl CrowdReport {
    /// All bars, with the runs they belong to.
    #[must_use]
    pub fn bars(&self) -> Vec<Bar> {
        self.runs
            .iter()
            .flat_map(|run| {
                run.bars.iter().map(|bar| Bar {
                    name: format!("{}: {}", run.kind.name(), bar.name),
                    ..bar.clone()
                })
            })
            .collect()
    }

    /// Fills `passed`.
    #[must_use]
    pub fn judged(mut self) -> Self {
        self.passed = !self.runs.is_empty() && self.runs.iter().all(|run| run.passed);
        self
    }

    /// The flows that did worst, and where packets were lost, for people.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut text = String::new();
        if let Some(ceiling) = &self.ceiling {
            text.push_str(&format!(
                "{} switches in a row forward {} packets/s without a loss\n",
                ceiling.switches, ceiling.loss_free_pps
            ));
        }
        let mut table = Table::new([
            "run, flow",
            "paid Mbit/s",
            "offered",
            "got",
            "loss",
            "p99 ms",
        ]);
        for run in &self.runs {
            for flow in run.worst() {
                table.row([
                    format!("{}, {} ({})", run.kind.name(), flow.name, flow.sends),
                    mbit(flow.paid_bps),
                    mbit(flow.offered_bps),
                    mbit(flow.goodput_bps),
                    percent(flow.loss),
                    format!("{:.1}", flow.delay_ms.p99),
                ]);
            }
            let rest = &run.best_effort;
            table.row([
                format!("{}, best effort", run.kind.name()),
                "-".to_owned(),
                mbit(rest.offered_bps),
                mbit(rest.goodput_bps),
                "-".to_owned(),
                "-".to_owned(),
            ]);
        }
        text.push_str(&format!("\nthe flows that did worst:\n{table}\n"));
        for run in &self.runs {
            let losses = &run.losses;
            text.push_str(&format!(
                "{}: of {} packets {} did not arrive: {} dropped by meters, {} by queues, {} lost to the processor\n",
                run.kind.name(),
                losses.sent_packets,
                losses.lost(),
                losses.in_meters,
                losses.in_queues.values().sum::<u64>(),
                losses.to_the_cpu(),
            ));
            for reason in &run.void_reasons {
                text.push_str(&format!("{}: VOID: {reason}\n", run.kind.name()));
            }
        }
        text
    }
}

impl CrowdRun {
    /// Fills `bars` and `passed` from the figures.
    #[must_use]
    pub fn judged(mut self) -> Self {
        self.void = !self.void_reasons.is_empty();
        self.bars = self.judge();
        self.passed = !self.void && self.bars.iter().all(|bar| bar.passed);
        self
    }

    fn constant(&self) -> impl Iterator<Item = &CrowdFlow> {
        self.flows.iter().filter(|flow| flow.sends == "udp")
    }

    /// The flow of each kind that got least of what it paid for, and the one that waited longest.
    fn worst(&self) -> Vec<&CrowdFlow> {
        let share = |flow: &&CrowdFlow| flow.goodput_bps * 1_000_000 / flow.paid_bps.max(1);
        let slowest = self.constant().min_by_key(share);
        let latest = self
            .constant()
            .max_by(|a, b| a.delay_ms.p99.total_cmp(&b.delay_ms.p99))
            .filter(|latest| slowest.is_none_or(|slowest| slowest.name != latest.name));
        let of = |sends: &'static str| {
            self.flows
                .iter()
                .filter(move |flow| flow.sends == sends)
                .min_by_key(share)
        };
        [slowest, latest, of("tcp"), of("excessive")]
            .into_iter()
            .flatten()
            .collect()
    }

    fn judge(&self) -> Vec<Bar> {
        let rate = |bps: u64| format!("{} Mbit/s", mbit(bps));
        // How many flows miss a bar, and the figure of the worst.
        let every = |name: &str,
                     wanted: String,
                     flows: Vec<&CrowdFlow>,
                     holds: &dyn Fn(&CrowdFlow) -> bool,
                     seen: &dyn Fn(&CrowdFlow) -> (f64, String)| {
            let missed = flows.iter().filter(|flow| !holds(flow)).count();
            let worst = flows
                .iter()
                .map(|flow| seen(flow))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map_or_else(|| "none".to_owned(), |(_, figure)| figure);
            Bar::new(
                name,
                wanted,
                format!("worst of {}: {worst}; {missed} miss it", flows.len()),
                missed == 0 && !flows.is_empty(),
            )
        };
        let of_paid = |flow: &CrowdFlow, bps: u64| {
            let share = bps as f64 / flow.paid_bps.max(1) as f64;
            (
                -share,
                format!("{} of {}", percent(share), rate(flow.paid_bps)),
            )
        };
        let constant = || self.constant().collect::<Vec<_>>();
        let mut bars = vec![
            Bar::new(
                "flows bought and measured",
                FLOWS.to_string(),
                self.flows.len().to_string(),
                self.flows.len() == FLOWS,
            ),
            every(
                "what they paid for is offered",
                format!("{RATE_PERCENT} %"),
                constant(),
                &|flow| at_least(flow.offered_bps, RATE_PERCENT, flow.paid_bps),
                &|flow| of_paid(flow, flow.offered_bps),
            ),
            every(
                "and arrives",
                format!("{RATE_PERCENT} %"),
                constant(),
                &|flow| at_least(flow.goodput_bps, RATE_PERCENT, flow.paid_bps),
                &|flow| of_paid(flow, flow.goodput_bps),
            ),
            every(
                "nothing of it is lost",
                format!("at most {}", percent(LOSS)),
                constant(),
                &|flow| flow.sent_packets > 0 && flow.loss <= LOSS,
                &|flow| (flow.loss, percent(flow.loss)),
            ),
            every(
                "99 of 100 packets are in time",
                format!("what the quote says, at most {DELAY_MS:.0} ms"),
                constant(),
                &|flow| {
                    flow.received_packets > 0
                        && flow.delay_ms.p99 <= DELAY_MS.min(flow.delay_bound_ms as f64)
                },
                &|flow| (flow.delay_ms.p99, format!("{:.1} ms", flow.delay_ms.p99)),
            ),
        ];
        if self.kind == Kind::Tcp {
            let tcp = self.flows.iter().filter(|flow| flow.sends == "tcp");
            bars.push(every(
                "TCP goodput",
                format!("{TCP_PERCENT} %"),
                tcp.collect(),
                &|flow| at_least(flow.goodput_bps, TCP_PERCENT, flow.paid_bps),
                &|flow| of_paid(flow, flow.goodput_bps),
            ));
        }
        let excessive = self.flows.iter().filter(|flow| flow.sends == "excessive");
        bars.push(every(
            "who sends too much gets what it bought",
            format!("offers {EXCESS} times as much, gets 99 to 101 %"),
            excessive.collect(),
            &|flow| {
                at_least(flow.offered_bps, EXCESS * RATE_PERCENT, flow.paid_bps)
                    && at_least(flow.goodput_bps, RATE_PERCENT, flow.paid_bps)
                    && at_least(flow.paid_bps, RATE_PERCENT, flow.goodput_bps)
            },
            &|flow| of_paid(flow, flow.goodput_bps),
        ));
        let rest = &self.best_effort;
        bars.push(Bar::new(
            "best effort is offered",
            format!("{OFFERED_PERCENT} % of {}", rate(rest.target_bps)),
            rate(rest.offered_bps),
            at_least(rest.offered_bps, OFFERED_PERCENT, rest.target_bps),
        ));
        bars.push(Bar::new(
            "and gets what is left",
            format!("{BEST_EFFORT_PERCENT} % of {}", rate(rest.left_bps)),
            rate(rest.goodput_bps),
            at_least(rest.goodput_bps, BEST_EFFORT_PERCENT, rest.left_bps),
        ));
        bars.push(Bar::new(
            "queues and meters decide what is lost",
            "not the processor",
            format!("{} packets lost to it", self.losses.to_the_cpu()),
            !self.void,
        ));
        bars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(number: usize, sends: &str) -> CrowdFlow {
        let times = if sends == "excessive" { EXCESS } else { 1 };
        CrowdFlow {
            name: format!("flow {number}"),
            entry: "s1".to_owned(),
            sends: sends.to_owned(),
            class: "steady".to_owned(),
            paid_bps: 1_000_000,
            offered_bps: times * 996_000,
            goodput_bps: 996_000,
            sent_packets: 10_000,
            received_packets: 10_000,
            sent_bytes: 0,
            received_bytes: 0,
            loss: 0.0,
            delay_ms: Delays {
                p99: 20.0,
                ..Delays::default()
            },
            delay_bound_ms: 97,
            meter_drops: 0,
            longest_lag_ms: 0.1,
        }
    }

    fn good() -> CrowdRun {
        let mut flows: Vec<_> = (0..FLOWS - 2).map(|number| flow(number, "udp")).collect();
        flows.push(flow(98, "tcp"));
        flows.push(flow(99, "excessive"));
        CrowdRun {
            kind: Kind::Tcp,
            void: false,
            void_reasons: Vec::new(),
            void_tries: Vec::new(),
            seconds: 20,
            flows,
            best_effort: BestEffort {
                target_bps: 400_000_000,
                offered_bps: 399_000_000,
                goodput_bps: 9_500_000,
                left_bps: 10_000_000,
            },
            losses: Losses::default(),
            bars: Vec::new(),
            passed: false,
        }
    }

    #[test]
    fn every_figure_that_misses_its_bar_is_seen() {
        let report = good().judged();
        assert!(report.passed, "{:?}", report.bars);
        let first = |run: &mut CrowdRun, spoil: fn(&mut CrowdFlow)| {
            run.flows.first_mut().into_iter().for_each(spoil);
        };
        let last = |run: &mut CrowdRun, back: usize, spoil: fn(&mut CrowdFlow)| {
            run.flows
                .iter_mut()
                .rev()
                .skip(back)
                .take(1)
                .for_each(spoil);
        };
        type Spoiler<'a> = Box<dyn Fn(&mut CrowdRun) + 'a>;
        let spoilers: Vec<Spoiler<'_>> = vec![
            Box::new(|run| run.flows.truncate(0)),
            Box::new(|run| first(run, |flow| flow.offered_bps = 980_000)),
            Box::new(|run| first(run, |flow| flow.goodput_bps = 980_000)),
            Box::new(|run| first(run, |flow| flow.loss = 0.0011)),
            Box::new(|run| first(run, |flow| flow.sent_packets = 0)),
            Box::new(|run| first(run, |flow| flow.delay_ms.p99 = 50.1)),
            Box::new(|run| first(run, |flow| flow.delay_bound_ms = 19)),
            Box::new(|run| last(run, 1, |flow| flow.goodput_bps = 899_000)),
            Box::new(|run| last(run, 0, |flow| flow.offered_bps = 2_900_000)),
            Box::new(|run| last(run, 0, |flow| flow.goodput_bps = 1_100_000)),
            Box::new(|run| run.best_effort.offered_bps = 380_000_000),
            Box::new(|run| run.best_effort.goodput_bps = 8_900_000),
            Box::new(|run| run.void_reasons.push("the processor".to_owned())),
        ];
        for (number, spoil) in spoilers.iter().enumerate() {
            let mut run = good();
            spoil(&mut run);
            assert!(!run.judged().passed, "spoiler {number} went unnoticed");
        }
    }
}
