//! `payflow-lab demo`: the main job on real switches, measured.
//!
//! On the PayFlow paper's network (three switches, four hosts, 20 Mbit/s on the second trunk): a flow suffers unpaid; paid,
//! it gets its rate, and so does a TCP flow beside it; intruders on every switch gain nothing and hurt nobody; cancelled
//! half-way, its rules are gone and the refund is on the ledger; the controller is killed and restarted and the flow does
//! not notice; the controller stays dead and the flow ends when its time is over. At the end the ledger is asked whether
//! the books balance.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use payflow_controller::core::document::ReservationView;

use crate::mininet::{Lab, LabConfig};
use crate::plot::{Line, Phase, ThroughputPlot};
use crate::progress::Progress;
use crate::report::{
    Books, DeadController, DemoReport, FlowFigures, Latency, PLACES, PaidTcp, PaymentReport,
    PhaseReport, RefundReport, RestartReport, Spoofed,
};
use crate::stage::{Purchase, Stage};
use crate::traffic::series::Series;
use crate::trial::{Tools, Trial, TrialResult, unix_ms, unix_now};

const BOTTLENECK_BPS: u64 = 20_000_000;
const PAID_BPS: u64 = 10_000_000;
const PAID_PORT: u16 = 5201;
/// What the paid flow offers: 99.6 % of what it paid for, so that the pacing of the sender is not what is measured.
const OFFERED: &str = "rate=9960000";
const TCP_BPS: u64 = 4_000_000;
const TCP_PORT: u16 = 5301;
const FLOOD_PORT: u16 = 6201;
const FLOOD: &str = "rate=100Mbit";
/// An intruder sends as much as the flow it pretends to be.
const SPOOFED: &str = "rate=10Mbit";
const SPOOF_PORT: u16 = 6301;

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_secs(5);

/// Where the demo puts what it makes.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Report and plot go here, and state while it runs.
    pub dir: PathBuf,
}

/// Runs the demo and writes `report.json` and `throughput.svg`.
///
/// # Errors
/// When something could not be run or measured. A missed bar is no error here: it is in the report.
pub fn run(options: &DemoOptions) -> anyhow::Result<DemoReport> {
    let tools = Tools::find()?;
    let progress = Progress::new(9);
    progress.tell("building the network");
    let lab = Lab::start(LabConfig::default())?;
    let mut stage = Stage::new(&lab, &tools, &options.dir.join("state"))?;
    let mut play = Play {
        lab: &lab,
        tools: &tools,
        recorded: Vec::new(),
        phases: Vec::new(),
        progress,
    };
    let result = play.run(&mut stage);
    if result.is_err() {
        // The log goes with the lab; what it says last may be the reason.
        eprintln!("{}", stage.controller_log());
    }
    let report = result?;

    let file = options.dir.join("report.json");
    std::fs::write(&file, serde_json::to_string_pretty(&report)?)
        .with_context(|| format!("writing {}", file.display()))?;
    play.plot(&options.dir.join("throughput.svg"))?;
    Ok(report)
}

/// The performance: what has been measured so far.
struct Play<'a> {
    lab: &'a Lab,
    tools: &'a Tools,
    recorded: Vec<(String, TrialResult)>,
    phases: Vec<Phase>,
    progress: Progress,
}

impl Play<'_> {
    fn run(&mut self, stage: &mut Stage<'_>) -> anyhow::Result<DemoReport> {
        let lab = self.lab;
        stage.start_controller(lab.info().switches.len())?;
        for host in ["h1", "h2", "h3", "h4"] {
            stage.introduce(host)?;
        }
        lab.repair()?;
        let wallets = [stage.wallet("h1")?, stage.wallet("h2")?];
        let before_books = stage.audit(&wallets, &[])?;

        self.begin("unpaid: the flow meets the flood");
        let before = self.both("before", LONG)?;

        self.begin("h1 pays for 10 Mbit/s, h2 for a TCP flow");
        let purchase = stage.reserve("h1", &paid_flow("100s"))?;
        let tcp = stage.reserve(
            "h2",
            &[
                "--to", "10.0.0.4", "--tcp", "5301", "--rate", "4Mbit", "--for", "100s",
            ],
        )?;
        let during = self.measure("during", LONG, |trial| {
            trial.tcp("paid tcp", "h2", 0, "h4", TCP_PORT)
        })?;

        let mut spoofed = BTreeMap::new();
        for (place, intruder) in PLACES.into_iter().zip(["m1", "m2", "m3"]) {
            self.begin(&format!(
                "an intruder at the {place} switch sends in h1's name"
            ));
            spoofed.insert(place.to_owned(), self.spoof(place, intruder)?);
        }

        self.begin("h1 cancels half-way");
        let cancelled = stage.cancel("h1", &purchase.view.id)?;
        let left = stage.paid_entries()?;
        let tcp_cancelled = stage.cancel("h2", &tcp.view.id)?;
        anyhow::ensure!(
            left > 0,
            "the TCP flow's entries went with another reservation's"
        );
        let left = stage.paid_entries()?;
        anyhow::ensure!(
            left == 0,
            "{left} entries of paid flows are left after everything was cancelled"
        );
        let after = self.both("after", LONG)?;

        self.begin("the controller is killed and restarted under a paid flow");
        let kept = stage.reserve("h1", &paid_flow("30s"))?;
        let restart = self.restart(stage)?;
        let kept = stage.settled("h1", &kept.view.id)?;

        self.begin("the controller stays dead; the flow ends with its time");
        let last = stage.reserve("h1", &paid_flow("12s"))?;
        let past_end = self.dead(stage, &last.view)?;
        stage.start_controller(lab.info().switches.len())?;
        let last = stage.settled("h1", &last.view.id)?;

        self.begin("the ledger is asked whether the books balance");
        let settled = [&cancelled, &tcp_cancelled, &kept, &last];
        let digests: Vec<String> = settled.iter().copied().flat_map(transactions).collect();
        let after_books = stage.audit(&wallets, &digests)?;

        let cancelled_settlement = cancelled
            .settlement
            .as_ref()
            .context("the refund's transfer")?;
        let receipt = cancelled.receipt.as_ref().context("the receipt")?;
        let refund_digest = cancelled_settlement
            .digest
            .as_ref()
            .context("the refund's digest")?
            .to_string();
        let on_ledger = after_books
            .receipt_hashes
            .get(&refund_digest)
            .cloned()
            .unwrap_or_default();
        anyhow::ensure!(
            on_ledger == receipt.hash()?.to_string(),
            "the ledger holds {on_ledger:?} where the receipt's hash should be"
        );
        let payment = purchase.view.payment.as_ref().context("the payment")?;
        let terms = &purchase.view.quote.payment;
        let restart_flow = restart.flow("paid")?;
        let report = DemoReport {
            switch_version: lab.info().switch_version.clone(),
            datapath: lab.info().datapath.to_string(),
            bottleneck_bps: BOTTLENECK_BPS,
            paid_bps: PAID_BPS,
            before: phase(&before)?,
            during: phase(&during)?,
            after: phase(&after)?,
            paid_tcp: PaidTcp::new(
                during.tcp.get("paid tcp").context("the TCP report")?,
                TCP_BPS,
            ),
            spoofed,
            payment: PaymentReport {
                ledger: "iota (development ledger)".to_owned(),
                chain_id: terms.chain_id.to_string(),
                digest: payment
                    .digest
                    .as_ref()
                    .context("the payment's digest")?
                    .to_string(),
                amount_nanos: payment.amount.context("the amount")?.0,
                checkpoint: payment.checkpoint.context("the checkpoint")?,
            },
            refund: RefundReport {
                digest: refund_digest,
                amount_nanos: cancelled_settlement.amount.0,
                unserved_charge_nanos: receipt.document.unserved_charge.0,
                fee_nanos: terms.cancellation_fee.0,
            },
            receipt_hash_on_ledger: on_ledger,
            latency_ms: latency(&purchase)?,
            restart: RestartReport {
                sent_packets: restart_flow.sent_packets,
                received_packets: restart_flow.received_packets,
            },
            dead_controller: DeadController {
                seconds_past_end: past_end,
            },
            books: Books {
                before_nanos: before_books.total(),
                after_nanos: after_books.total(),
                gas_nanos: u64::try_from(after_books.gas()).context("gas in sum")?,
            },
            flows: self.figures(),
            drops: lab.drops()?,
            bars: Vec::new(),
            passed: false,
        };
        Ok(report.judged())
    }

    /// Paid flow and flood, from the same host port: the worst case for a switch that sends in batches.
    fn both(&mut self, name: &str, duration: Duration) -> anyhow::Result<TrialResult> {
        self.measure(name, duration, |trial| trial)
    }

    fn measure(
        &mut self,
        name: &str,
        duration: Duration,
        more: impl FnOnce(Trial<'_>) -> Trial<'_>,
    ) -> anyhow::Result<TrialResult> {
        let result = more(self.trial(duration)).run()?;
        self.recorded.push((name.to_owned(), result.clone()));
        Ok(result)
    }

    fn trial(&self, duration: Duration) -> Trial<'_> {
        Trial::new(self.lab, self.tools, duration)
            .udp("paid", "h1", "h4", PAID_PORT, OFFERED)
            .udp("flood", "h1", "h4", FLOOD_PORT, FLOOD)
    }

    /// What an intruder gains by sending in the victim's name, beyond what plain packets of its own get.
    fn spoof(&mut self, place: &str, intruder: &str) -> anyhow::Result<Spoofed> {
        let result = self.measure(&format!("spoofed, {place} switch"), SHORT, |trial| {
            trial
                .spoofed("spoofed", intruder, "h1", "h4", PAID_PORT, SPOOFED)
                .udp("plain", intruder, "h4", SPOOF_PORT, SPOOFED)
        })?;
        let gained = result
            .flow("spoofed")?
            .goodput_bps
            .saturating_sub(result.flow("plain")?.goodput_bps);
        Ok(Spoofed {
            gained_bps: gained,
            victim_loss: result.flow("paid")?.loss,
        })
    }

    /// The paid flow while the controller is killed and started again.
    fn restart(&mut self, stage: &mut Stage<'_>) -> anyhow::Result<TrialResult> {
        let duration = Duration::from_secs(18);
        let running = self.trial(duration).start()?;
        std::thread::sleep(Duration::from_secs(4));
        stage.kill_controller()?;
        std::thread::sleep(Duration::from_secs(2));
        stage.start_controller(self.lab.info().switches.len())?;
        let result = running.finish()?;
        self.recorded.push(("restart".to_owned(), result.clone()));
        Ok(result)
    }

    /// For how many seconds after the end of its time the flow still had its rate, with nobody there to end it.
    fn dead(&mut self, stage: &mut Stage<'_>, view: &ReservationView) -> anyhow::Result<f64> {
        let ends = view.ends_at.context("the end of the paid time")?.get();
        let remaining = Duration::from_millis(ends.saturating_sub(unix_ms(unix_now())));
        let running = self.trial(remaining + Duration::from_secs(10)).start()?;
        std::thread::sleep(Duration::from_secs(2));
        stage.kill_controller()?;
        let result = running.finish()?;
        let stopped = last_at_rate(&result.flow("paid")?.received, PAID_BPS * 9 / 10)
            .context("the paid flow never had its rate")?;
        self.recorded.push(("dead controller".to_owned(), result));
        Ok(signed_seconds(stopped, ends))
    }

    fn begin(&self, what: &str) {
        self.progress.begin(what);
    }

    fn figures(&self) -> Vec<FlowFigures> {
        let paid = |phase: &str, flow: &str| {
            let unpaid = flow != "paid" || phase == "before" || phase == "after";
            if unpaid { 0 } else { PAID_BPS }
        };
        self.recorded
            .iter()
            .flat_map(|(name, result)| {
                result
                    .flows
                    .values()
                    .map(move |flow| FlowFigures::new(name, flow, paid(name, &flow.name)))
            })
            .collect()
    }

    fn plot(&self, path: &Path) -> anyhow::Result<()> {
        let names = ["paid", "flood", "spoofed"];
        let mut lines: Vec<Line> = names
            .iter()
            .map(|name| Line {
                label: (*name).to_owned(),
                parts: self
                    .recorded
                    .iter()
                    .filter_map(|(_, result)| result.flows.get(*name))
                    .map(|flow| flow.received.clone())
                    .collect(),
            })
            .collect();
        let tcp = self
            .recorded
            .iter()
            .flat_map(|(_, result)| result.tcp.values())
            .map(|it| it.series.clone());
        lines.push(Line {
            label: "paid tcp".to_owned(),
            parts: tcp.collect(),
        });
        lines.retain(|line| !line.parts.is_empty());
        let phases = self
            .recorded
            .iter()
            .filter_map(|(name, result)| {
                let start_unix_ms = result.flows.get("paid")?.sent.start_unix_ms;
                Some(Phase {
                    label: name.clone(),
                    start_unix_ms,
                })
            })
            .chain(self.phases.iter().cloned())
            .collect();
        ThroughputPlot {
            title: "Throughput at the receivers".to_owned(),
            lines,
            phases,
            capacity_bps: BOTTLENECK_BPS,
        }
        .write(path)?;
        Ok(())
    }
}

/// The options of `payflow reserve` for the flow of the demo.
fn paid_flow(duration: &str) -> [&str; 8] {
    [
        "--to", "10.0.0.4", "--udp", "5201", "--rate", "10Mbit", "--for", duration,
    ]
}

fn phase(result: &TrialResult) -> anyhow::Result<PhaseReport> {
    Ok(PhaseReport::new(
        result.flow("paid")?,
        result.flow("flood")?,
    ))
}

fn latency(purchase: &Purchase) -> anyhow::Result<Latency> {
    let payment = purchase.view.payment.as_ref().context("the payment")?;
    let offered = payment.offered_at.context("when it was offered")?.get();
    let final_at = payment.final_at.context("when it was final")?.get();
    let active = purchase.view.active_at.context("when it was active")?.get();
    let span = |from: u64, to: u64| to.saturating_sub(from) as f64;
    Ok(Latency {
        quote: purchase.timing_ms.quote,
        payment_final: span(offered, final_at),
        install: span(final_at, active),
    })
}

/// Every transaction of a settled reservation: its payment and its settlement.
fn transactions(view: &ReservationView) -> Vec<String> {
    let payment = view
        .payment
        .as_ref()
        .and_then(|payment| payment.digest.as_ref())
        .map(ToString::to_string);
    let settlement = view
        .settlement
        .as_ref()
        .and_then(|transfer| transfer.digest.as_ref())
        .map(ToString::to_string);
    payment.into_iter().chain(settlement).collect()
}

/// When the last bucket ends in which at least `rate_bps` arrived, averaged over five buckets; Unix milliseconds.
fn last_at_rate(series: &Series, rate_bps: u64) -> Option<u64> {
    let rates: Vec<(u64, u64)> = series.rates_bps().collect();
    rates
        .windows(5)
        .rfind(|window| window.iter().map(|(_, bps)| bps).sum::<u64>() / 5 >= rate_bps)
        .and_then(|window| window.last())
        .map(|(start, _)| start + series.bucket_ms)
}

fn signed_seconds(at: u64, from: u64) -> f64 {
    let millis = i64::try_from(at).unwrap_or(i64::MAX) - i64::try_from(from).unwrap_or(i64::MAX);
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_rate_is_the_end_of_its_last_bucket() {
        let mut series = Series::new(100);
        for bucket in 0_u64..30 {
            let bytes = if bucket < 20 { 125_000 } else { 10_000 };
            series.add((1_000_000 + bucket * 100) * 1_000_000, bytes);
        }
        let end = last_at_rate(&series, 9_000_000);
        assert_eq!(end, Some(1_000_000 + 2_000), "10 Mbit/s until 2.0 s");
        assert!((signed_seconds(1_500, 2_000) + 0.5).abs() < f64::EPSILON);
    }
}
