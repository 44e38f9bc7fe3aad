//! What the demo measured, and whether it is enough: `target/demo/report.json`.
//!
//! All `*_bps` are frame bits per second unless they are called TCP goodput; all `*_nanos` are the ledger's smallest unit.
//! The verdict is computed from the figures beside it, so a reader can compute it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::table::{Table, mbit, percent};
use crate::traffic::recv::Delays;
use crate::traffic::tcp::TcpReport;
use crate::trial::FlowResult;

/// The whole report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DemoReport {
    /// Version of Open vSwitch.
    pub switch_version: String,
    /// `kernel` or `userspace`.
    pub datapath: String,
    /// Capacity of the trunk that all flows share.
    pub bottleneck_bps: u64,
    /// The rate that was bought for the UDP flow.
    pub paid_bps: u64,
    /// The flow without a reservation, against the flood.
    pub before: PhaseReport,
    /// The same, reserved and paid.
    pub during: PhaseReport,
    /// The same, after the reservation was cancelled.
    pub after: PhaseReport,
    /// The paid TCP flow beside it.
    pub paid_tcp: PaidTcp,
    /// What spoofers gained, by the place of the spoofing host: `first`, `middle`, `last`.
    pub spoofed: BTreeMap<String, Spoofed>,
    /// The payment on the ledger.
    pub payment: PaymentReport,
    /// The refund after the cancellation.
    pub refund: RefundReport,
    /// The receipt's hash as read back from the ledger, hexadecimal.
    pub receipt_hash_on_ledger: String,
    /// How long the steps of a purchase took.
    pub latency_ms: Latency,
    /// The paid flow while the controller was killed and started again.
    pub restart: RestartReport,
    /// The paid flow's end without a controller.
    pub dead_controller: DeadController,
    /// The sum of all balances on the ledger.
    pub books: Books,
    /// Every flow measured, by phase and name.
    pub flows: Vec<FlowFigures>,
    /// Drops at the switches over the whole demo, as Open vSwitch and the kernel counted them.
    pub drops: BTreeMap<String, u64>,
    /// Every bar with its figure; `passed` is that all are.
    pub bars: Vec<Bar>,
    /// The verdict.
    pub passed: bool,
}

/// One phase of the demo.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PhaseReport {
    /// The flow that is paid for in the second phase.
    pub paid_flow: PaidFlow,
    /// The flood.
    pub best_effort: BestEffort,
}

impl PhaseReport {
    /// The figures of a phase.
    #[must_use]
    pub fn new(flow: &FlowResult, flood: &FlowResult) -> Self {
        Self {
            paid_flow: PaidFlow {
                sent_packets: flow.sent_packets,
                received_packets: flow.received_packets,
                offered_bps: flow.offered_bps,
                goodput_bps: flow.goodput_bps,
                loss: flow.loss,
                delay_ms_p99: flow.delay_ms.p99,
            },
            best_effort: BestEffort {
                offered_bps: flood.offered_bps,
                goodput_bps: flood.goodput_bps,
            },
        }
    }
}

/// The flow that is paid for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PaidFlow {
    /// Packets that left the sender.
    pub sent_packets: u64,
    /// Packets that arrived.
    pub received_packets: u64,
    /// What was offered.
    pub offered_bps: u64,
    /// What arrived.
    pub goodput_bps: u64,
    /// Share lost, 0 to 1.
    pub loss: f64,
    /// One-way delay that 99 of 100 packets did not exceed.
    pub delay_ms_p99: f64,
}

/// The flood.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BestEffort {
    /// What was offered.
    pub offered_bps: u64,
    /// What arrived.
    pub goodput_bps: u64,
}

/// The paid TCP flow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PaidTcp {
    /// Payload bits per second at the receiver.
    pub goodput_bps: u64,
    /// The rate that was bought, in frame bits.
    pub paid_bps: u64,
}

impl PaidTcp {
    /// The figures of a TCP flow for which `paid_bps` were bought.
    #[must_use]
    pub fn new(report: &TcpReport, paid_bps: u64) -> Self {
        Self {
            goodput_bps: report.goodput_bps,
            paid_bps,
        }
    }
}

/// What one spoofer achieved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spoofed {
    /// What arrived of the spoofed packets beyond what plain best-effort packets of the same host got.
    pub gained_bps: u64,
    /// Share of the victim's packets lost meanwhile, 0 to 1.
    pub victim_loss: f64,
}

/// The payment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PaymentReport {
    /// Which kind of ledger.
    pub ledger: String,
    /// Which of that kind.
    pub chain_id: String,
    /// The transaction.
    pub digest: String,
    /// What was paid.
    pub amount_nanos: u64,
    /// The checkpoint that contains it.
    pub checkpoint: u64,
}

/// The refund.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefundReport {
    /// The transaction.
    pub digest: String,
    /// What came back.
    pub amount_nanos: u64,
    /// The charge of the time that was not served.
    pub unserved_charge_nanos: u64,
    /// The cancellation fee printed in the quote.
    pub fee_nanos: u64,
}

/// How long the steps took, in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// From the request to the quote.
    pub quote: f64,
    /// From the signed transaction to its checkpoint.
    pub payment_final: f64,
    /// From there to the last barrier.
    pub install: f64,
}

/// The paid flow across a restart of the controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestartReport {
    /// Packets that left the sender.
    pub sent_packets: u64,
    /// Packets that arrived.
    pub received_packets: u64,
}

/// What happens without a controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadController {
    /// For how long after the end of its time the flow still had its rate.
    pub seconds_past_end: f64,
}

/// Balances in sum.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Books {
    /// Before the demo.
    pub before_nanos: u64,
    /// After it.
    pub after_nanos: u64,
    /// What the ledger kept for its transactions.
    pub gas_nanos: u64,
}

/// One flow of one phase in full.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlowFigures {
    /// The phase.
    pub phase: String,
    /// The flow.
    pub name: String,
    /// Packets that left the sender.
    pub sent_packets: u64,
    /// Packets that arrived.
    pub received_packets: u64,
    /// Frame bytes that left the sender.
    pub sent_bytes: u64,
    /// Frame bytes that arrived.
    pub received_bytes: u64,
    /// What was offered.
    pub offered_bps: u64,
    /// What was paid for; zero for nothing.
    pub paid_bps: u64,
    /// What arrived.
    pub goodput_bps: u64,
    /// Share lost, 0 to 1.
    pub loss: f64,
    /// One-way delays.
    pub delay_ms: Delays,
    /// Packets that the sender left out because the machine stalled it.
    pub skipped_packets: u64,
}

impl FlowFigures {
    /// The figures of a flow for which `paid_bps` were paid in `phase`.
    #[must_use]
    pub fn new(phase: &str, flow: &FlowResult, paid_bps: u64) -> Self {
        Self {
            phase: phase.to_owned(),
            name: flow.name.clone(),
            sent_packets: flow.sent_packets,
            received_packets: flow.received_packets,
            sent_bytes: flow.sent_bytes,
            received_bytes: flow.received_bytes,
            offered_bps: flow.offered_bps,
            paid_bps,
            goodput_bps: flow.goodput_bps,
            loss: flow.loss,
            delay_ms: flow.delay_ms,
            skipped_packets: flow.skipped_packets,
        }
    }
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// What.
    pub name: String,
    /// What is wanted, for people.
    pub wanted: String,
    /// What was seen, for people.
    pub seen: String,
    /// Whether it holds.
    pub passed: bool,
}

impl Bar {
    /// A bar, and whether it holds.
    #[must_use]
    pub fn new(
        name: &str,
        wanted: impl Into<String>,
        seen: impl Into<String>,
        passed: bool,
    ) -> Self {
        Self {
            name: name.to_owned(),
            wanted: wanted.into(),
            seen: seen.into(),
            passed,
        }
    }
}

/// Share of the paid rate that a TCP flow must reach as goodput, in per cent.
const TCP_PERCENT: u64 = 90;
/// Share of the paid rate that must be offered, and must arrive, in per cent.
const UDP_PERCENT: u64 = 99;
/// Most that a paid flow may lose.
const LOSS: f64 = 0.001;
/// Least that the same flow loses unpaid, or the flood proves nothing.
const UNPAID_LOSS: f64 = 0.5;
/// Most that a spoofer may gain, in per cent of the paid rate: what is within the noise of a measurement.
const GAIN_PERCENT: u64 = 5;
/// Where spoofers try: at ports of the first, the middle and the last switch of the path.
pub const PLACES: [&str; 3] = ["first", "middle", "last"];
/// Longest that a flow may outlive its time without a controller: the grace of hard time-outs, in whole seconds.
const SECONDS_PAST_END: f64 = 5.0;
/// A flow that ended earlier than this before its time was not served; less is the width of a bucket.
const SECONDS_BEFORE_END: f64 = 0.5;

impl DemoReport {
    /// Fills `bars` and `passed` from the figures.
    #[must_use]
    pub fn judged(mut self) -> Self {
        self.bars = self.judge();
        self.passed = self.bars.iter().all(|bar| bar.passed);
        self
    }

    fn judge(&self) -> Vec<Bar> {
        let paid = &self.during.paid_flow;
        let rate = |bps: u64| format!("{} Mbit/s", mbit(bps));
        let mut bars = vec![
            Bar::new(
                "unpaid, the flow suffers",
                format!("loss above {}", percent(UNPAID_LOSS)),
                percent(self.before.paid_flow.loss),
                self.before.paid_flow.loss > UNPAID_LOSS,
            ),
            Bar::new(
                "paid, it offers what it paid for",
                format!("{UDP_PERCENT} % of {}", rate(self.paid_bps)),
                rate(paid.offered_bps),
                at_least(paid.offered_bps, UDP_PERCENT, self.paid_bps),
            ),
            Bar::new(
                "paid, it arrives",
                format!("{UDP_PERCENT} % of {}", rate(self.paid_bps)),
                rate(paid.goodput_bps),
                at_least(paid.goodput_bps, UDP_PERCENT, self.paid_bps),
            ),
            Bar::new(
                "paid, nothing is lost",
                format!("at most {}", percent(LOSS)),
                percent(paid.loss),
                paid.loss <= LOSS,
            ),
            Bar::new(
                "paid TCP",
                format!("{TCP_PERCENT} % of {}", rate(self.paid_tcp.paid_bps)),
                rate(self.paid_tcp.goodput_bps),
                at_least(
                    self.paid_tcp.goodput_bps,
                    TCP_PERCENT,
                    self.paid_tcp.paid_bps,
                ),
            ),
        ];
        for place in PLACES {
            let spoofed = self.spoofed.get(place);
            let holds = |spoofed: &Spoofed| {
                !at_least(spoofed.gained_bps, GAIN_PERCENT, self.paid_bps)
                    && spoofed.victim_loss <= LOSS
            };
            bars.push(Bar::new(
                &format!("spoofing at the {place} switch"),
                format!(
                    "gains below {GAIN_PERCENT} %, victim loses at most {}",
                    percent(LOSS)
                ),
                spoofed.map_or_else(
                    || "not measured".to_owned(),
                    |spoofed| {
                        format!(
                            "{}, {}",
                            rate(spoofed.gained_bps),
                            percent(spoofed.victim_loss)
                        )
                    },
                ),
                spoofed.is_some_and(holds),
            ));
        }
        let due = self
            .refund
            .unserved_charge_nanos
            .checked_sub(self.refund.fee_nanos);
        bars.push(Bar::new(
            "refund on the ledger",
            format!(
                "{} less the fee of {} nanos",
                self.refund.unserved_charge_nanos, self.refund.fee_nanos
            ),
            format!("{} nanos", self.refund.amount_nanos),
            due == Some(self.refund.amount_nanos) && !self.refund.digest.is_empty(),
        ));
        bars.push(Bar::new(
            "receipt on the ledger",
            "its hash is read back",
            self.receipt_hash_on_ledger.clone(),
            !self.receipt_hash_on_ledger.is_empty(),
        ));
        let restart_loss = crate::trial::share(
            self.restart
                .sent_packets
                .saturating_sub(self.restart.received_packets),
            self.restart.sent_packets,
        );
        bars.push(Bar::new(
            "controller killed and restarted",
            format!("the flow loses at most {}", percent(LOSS)),
            percent(restart_loss),
            self.restart.sent_packets > 0 && restart_loss <= LOSS,
        ));
        bars.push(Bar::new(
            "controller dead",
            format!("the flow ends at its time, {SECONDS_PAST_END:.0} s of grace"),
            format!("{:.1} s", self.dead_controller.seconds_past_end),
            (-SECONDS_BEFORE_END..=SECONDS_PAST_END)
                .contains(&self.dead_controller.seconds_past_end),
        ));
        bars.push(Bar::new(
            "books balance",
            "before less gas is after",
            format!(
                "{} - {} = {}",
                self.books.before_nanos, self.books.gas_nanos, self.books.after_nanos
            ),
            self.books.before_nanos.checked_sub(self.books.gas_nanos)
                == Some(self.books.after_nanos),
        ));
        bars
    }

    /// The report as tables for people.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut flows = Table::new([
            "phase, flow",
            "paid Mbit/s",
            "offered",
            "got",
            "loss",
            "p99 ms",
        ]);
        for flow in &self.flows {
            flows.row([
                format!("{}, {}", flow.phase, flow.name),
                if flow.paid_bps == 0 {
                    "-".to_owned()
                } else {
                    mbit(flow.paid_bps)
                },
                mbit(flow.offered_bps),
                mbit(flow.goodput_bps),
                percent(flow.loss),
                format!("{:.1}", flow.delay_ms.p99),
            ]);
        }
        format!("{flows}\n{}", bars_table(&self.bars))
    }
}

/// Bars as a table for people.
#[must_use]
pub fn bars_table(bars: &[Bar]) -> Table {
    let mut table = Table::new(["", "wanted", "seen", ""]);
    for bar in bars {
        let verdict = if bar.passed { "ok" } else { "MISSED" };
        table.row([
            bar.name.clone(),
            bar.wanted.clone(),
            bar.seen.clone(),
            verdict.to_owned(),
        ]);
    }
    table
}

/// Whether a rate is at least so many per cent of another.
#[must_use]
pub fn at_least(bps: u64, percent: u64, of: u64) -> bool {
    u128::from(bps) * 100 >= u128::from(of) * u128::from(percent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn good() -> DemoReport {
        let flow = PaidFlow {
            sent_packets: 8_668,
            received_packets: 8_668,
            offered_bps: 10_000_000,
            goodput_bps: 9_999_000,
            loss: 0.0,
            delay_ms_p99: 3.0,
        };
        let unpaid = PaidFlow {
            received_packets: 2_000,
            loss: 0.77,
            goodput_bps: 2_300_000,
            ..flow.clone()
        };
        let flood = BestEffort {
            offered_bps: 100_000_000,
            goodput_bps: 9_500_000,
        };
        DemoReport {
            switch_version: "3.1.0".to_owned(),
            datapath: "userspace".to_owned(),
            bottleneck_bps: 20_000_000,
            paid_bps: 10_000_000,
            before: PhaseReport {
                paid_flow: unpaid.clone(),
                best_effort: flood.clone(),
            },
            during: PhaseReport {
                paid_flow: flow,
                best_effort: flood.clone(),
            },
            after: PhaseReport {
                paid_flow: unpaid,
                best_effort: flood,
            },
            paid_tcp: PaidTcp {
                goodput_bps: 4_700_000,
                paid_bps: 5_000_000,
            },
            spoofed: PLACES
                .map(|place| {
                    (
                        place.to_owned(),
                        Spoofed {
                            gained_bps: 0,
                            victim_loss: 0.0,
                        },
                    )
                })
                .into(),
            payment: PaymentReport {
                ledger: "iota".to_owned(),
                chain_id: "c".to_owned(),
                digest: "d".to_owned(),
                amount_nanos: 300,
                checkpoint: 3,
            },
            refund: RefundReport {
                digest: "e".to_owned(),
                amount_nanos: 90,
                unserved_charge_nanos: 100,
                fee_nanos: 10,
            },
            receipt_hash_on_ledger: "ab".to_owned(),
            latency_ms: Latency {
                quote: 1.0,
                payment_final: 300.0,
                install: 4.0,
            },
            restart: RestartReport {
                sent_packets: 8_000,
                received_packets: 8_000,
            },
            dead_controller: DeadController {
                seconds_past_end: 2.0,
            },
            books: Books {
                before_nanos: 1_000,
                after_nanos: 990,
                gas_nanos: 10,
            },
            flows: Vec::new(),
            drops: BTreeMap::new(),
            bars: Vec::new(),
            passed: false,
        }
    }

    #[test]
    fn a_good_run_passes_and_survives_json() {
        let report = good().judged();
        assert!(report.passed, "{:?}", report.bars);
        let text = serde_json::to_string(&report).unwrap();
        let again: DemoReport = serde_json::from_str(&text).unwrap();
        assert_eq!(again.bars, report.bars);
    }

    #[test]
    fn every_bar_can_be_missed_and_spoils_the_verdict() {
        let spoilers: [fn(&mut DemoReport); 16] = [
            |r| r.before.paid_flow.loss = 0.5,
            |r| r.during.paid_flow.offered_bps = 9_899_999,
            |r| r.during.paid_flow.goodput_bps = 9_899_999,
            |r| r.during.paid_flow.loss = 0.0011,
            |r| r.paid_tcp.goodput_bps = 4_499_999,
            |r| {
                r.spoofed
                    .values_mut()
                    .take(1)
                    .for_each(|s| s.gained_bps = 500_000)
            },
            |r| {
                r.spoofed
                    .values_mut()
                    .take(1)
                    .for_each(|s| s.victim_loss = 0.002)
            },
            |r| r.spoofed.retain(|place, _| place != "middle"),
            |r| r.refund.amount_nanos = 91,
            |r| r.refund.fee_nanos = 101,
            |r| r.receipt_hash_on_ledger.clear(),
            |r| r.restart.received_packets = 7_991,
            |r| r.restart.sent_packets = 0,
            |r| r.dead_controller.seconds_past_end = 5.1,
            |r| r.dead_controller.seconds_past_end = -0.6,
            |r| r.books.after_nanos = 989,
        ];
        for (number, spoil) in spoilers.into_iter().enumerate() {
            let mut report = good();
            spoil(&mut report);
            let report = report.judged();
            assert!(!report.passed, "spoiler {number} went unnoticed");
            assert_eq!(
                report.bars.iter().filter(|bar| !bar.passed).count(),
                1,
                "spoiler {number}"
            );
        }
    }
}
