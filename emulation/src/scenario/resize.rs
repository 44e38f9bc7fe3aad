//! `payflow-lab run resize`: a paid flow changes from 5 to 10 Mbit/s and back while it sends, against a flood, and loses no packet.
//!
//! On the network of the paper, from h1 to h4. The sender follows: it sends faster once the higher rate is confirmed, and slower
//! before the lower one is asked for.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use payflow_controller::core::document::{ReservationNumber, ReservationView, Status};
use serde::{Deserialize, Serialize};

use super::cut::report::rate_share;
use super::losses::{Counters, Losses, void_reasons};
use super::{Output, open};
use crate::mininet::{Lab, LabConfig};
use crate::plot::{Line, Phase, ThroughputPlot};
use crate::progress::Progress;
use crate::report::Bar;
use crate::stage::Stage;
use crate::table::{mbit, percent};
use crate::trial::{FlowResult, RunningTrial, Tools, Trial, TrialResult, unix_ms, unix_now};

const LOW_BPS: u64 = 5_000_000;
const HIGH_BPS: u64 = 10_000_000;
/// What the sender offers of it.
const TRAFFIC: &str = "rate=4980000,other-rate=9960000";
const LOW_OFFERED_BPS: u64 = 4_980_000;
const HIGH_OFFERED_BPS: u64 = 9_960_000;
const BOTTLENECK_BPS: u64 = 20_000_000;
const PORT: u16 = 5_201;
const FLOOD_PORT: u16 = 6_201;
const FLOOD: &str = "rate=50Mbit";
const STEP: Duration = Duration::from_secs(5);
/// From the signal until the sender has surely changed: it looks every 10 ms.
const SIGNAL: Duration = Duration::from_millis(200);
/// For both changes, beyond the steps.
const CHANGES: Duration = Duration::from_secs(4);
const TRIES: usize = 3;
/// Least share of a rate that must have been sent, and must have arrived.
const RATE_SHARE: f64 = 0.99;

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct ResizeArgs {
    /// Where to write
    #[command(flatten)]
    pub output: Output,
}

/// What was measured, and whether it is enough.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ResizeReport {
    /// Version of Open vSwitch.
    pub switch_version: String,
    /// `kernel` or `userspace`.
    pub datapath: String,
    /// The rates that were paid for, one after the other, frame bits per second.
    pub paid_bps: Vec<u64>,
    /// Packets that left the sender.
    pub sent_packets: u64,
    /// Packets that arrived.
    pub received_packets: u64,
    /// Packets that arrived after one that was sent later.
    pub reordered_packets: u64,
    /// Both changes, in order.
    pub changes: Vec<Change>,
    /// Share of the offered rate that arrived at 5, at 10, and at 5 Mbit/s again, 0 to 1; between the changes.
    pub rate_shares: Vec<f64>,
    /// Where packets were lost.
    pub losses: Losses,
    /// Why the measurement means nothing; empty when it does.
    pub void_reasons: Vec<String>,
    /// Tries before this one that were void, each with its reasons.
    pub void_tries: Vec<Vec<String>>,
    /// Every bar with its figure.
    pub bars: Vec<Bar>,
    /// All bars hold and the measurement is not void.
    pub passed: bool,
}

/// One change of the rate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Change {
    /// What was asked for, frame bits per second.
    pub wanted_bps: u64,
    /// What the reservation has, once it is confirmed; zero when it was not.
    pub confirmed_bps: u64,
    /// Why not.
    pub problem: Option<String>,
    /// When it was asked for, Unix time in milliseconds.
    pub asked_unix_ms: u64,
    /// When it was confirmed, payment included, Unix time in milliseconds.
    pub confirmed_unix_ms: u64,
    /// What was paid for the reservation that was replaced, in nanos.
    pub replaced_paid_nanos: u64,
    /// What it earned.
    pub replaced_earned_nanos: u64,
    /// What came back on the ledger.
    pub replaced_refunded_nanos: u64,
    /// The paid time that it served, in milliseconds.
    pub replaced_served_ms: u64,
    /// The paid time that it had, in milliseconds.
    pub replaced_duration_ms: u64,
}

/// Runs it.
///
/// # Errors
/// When something could not be run or measured. A missed bar, a refused change included, is no error here: it is in the report.
pub fn run(_args: &ResizeArgs, dir: &Path) -> anyhow::Result<ResizeReport> {
    let tools = Tools::find()?;
    let progress = Progress::new(4);
    progress.begin("building the network");
    let lab = Lab::start(LabConfig::default())?;
    let mut stage = Stage::new(&lab, &tools, &dir.join("state"))?;
    let resize = Resize {
        lab: &lab,
        tools: &tools,
        dir,
        progress,
    };
    let report = resize.run(&mut stage);
    if report.is_err() {
        // The log goes with the lab; what it says last may be the reason.
        eprintln!("{}", stage.controller_log());
    }
    report
}

struct Resize<'a> {
    lab: &'a Lab,
    tools: &'a Tools,
    dir: &'a Path,
    progress: Progress,
}

impl<'a> Resize<'a> {
    fn run(&self, stage: &mut Stage<'a>) -> anyhow::Result<ResizeReport> {
        open(stage, self.lab, &["h1".to_owned()])?;
        let mut void_tries = Vec::new();
        loop {
            let mut report = self.attempt(stage)?;
            if report.void_reasons.is_empty() || void_tries.len() + 1 >= TRIES {
                report.void_tries = void_tries;
                return Ok(report.judged());
            }
            self.progress
                .tell(&format!("void: {}", report.void_reasons.join("; ")));
            void_tries.push(report.void_reasons);
        }
    }

    fn attempt(&self, stage: &Stage<'_>) -> anyhow::Result<ResizeReport> {
        self.progress.begin("h1 pays for 5 Mbit/s");
        let words = [
            "--to", "10.0.0.4", "--udp", "5201", "--rate", "5Mbit", "--for", "60s",
        ];
        let bought = stage.reserve("h1", &words)?.view;
        self.lab.repair()?;

        self.progress.begin("it changes to 10 Mbit/s, and back");
        let before = Counters::read(self.lab)?;
        let running = Trial::new(self.lab, self.tools, STEP * 3 + CHANGES)
            .together()
            .udp("paid", "h1", "h4", PORT, TRAFFIC)
            .udp("flood", "h2", "h4", FLOOD_PORT, FLOOD)
            .start()?;
        let began = unix_ms(unix_now() + running.ends_in()) - unix_ms(STEP * 3 + CHANGES);
        std::thread::sleep(running.ends_in().saturating_sub(STEP * 2 + CHANGES));
        let (changes, views) = self.change(stage, &running, &bought)?;
        let result = running.finish()?;
        let drops = Counters::read(self.lab)?.since(&before);

        self.progress.begin("what was replaced is settled");
        let mut changes = changes;
        for (change, view) in changes.iter_mut().zip(views.windows(2)) {
            let [replaced, _] = view else { continue };
            settle(change, &stage.settled("h1", &replaced.id)?)?;
        }
        let last = views.last().context("a reservation")?;
        if last.status == Status::Active {
            stage.cancel("h1", &last.id)?;
        }
        self.plot(&changes, &result)?;
        let numbers = views
            .iter()
            .filter_map(|view| ReservationNumber::from_reservation_id(&view.id))
            .map(|number| number.0);
        let losses = Losses::of(&result, &drops, numbers);
        let void_reasons = void_reasons(&losses, &result, ["paid"]);
        let flow = result.flow("paid")?;
        Ok(ResizeReport {
            switch_version: self.lab.info().switch_version.clone(),
            datapath: self.lab.info().datapath.to_string(),
            paid_bps: views.iter().map(|view| view.quote.rate_bps).collect(),
            sent_packets: flow.sent_packets,
            received_packets: flow.received_packets,
            reordered_packets: flow.reordered_packets,
            rate_shares: rate_shares(flow, began, &changes),
            changes,
            losses,
            void_reasons,
            ..ResizeReport::default()
        })
    }

    /// Both changes, and every reservation in the order in which they took each other's place.
    fn change(
        &self,
        stage: &Stage<'_>,
        running: &RunningTrial,
        bought: &ReservationView,
    ) -> anyhow::Result<(Vec<Change>, Vec<ReservationView>)> {
        let mut views = vec![bought.clone()];
        let up = ask(stage, &mut views, HIGH_BPS);
        if up.problem.is_some() {
            return Ok((vec![up], views));
        }
        running.switch_rates("h1")?;
        std::thread::sleep(STEP);
        running.switch_rates("h1")?;
        std::thread::sleep(SIGNAL);
        let down = ask(stage, &mut views, LOW_BPS);
        Ok((vec![up, down], views))
    }

    fn plot(&self, changes: &[Change], result: &TrialResult) -> anyhow::Result<()> {
        let lines = ["paid", "flood"];
        ThroughputPlot {
            title: "5 Mbit/s, 10 Mbit/s, 5 Mbit/s: at the receiver".to_owned(),
            lines: lines
                .iter()
                .filter_map(|name| {
                    Some(Line {
                        label: (*name).to_owned(),
                        parts: vec![result.flows.get(*name)?.received.clone()],
                    })
                })
                .collect(),
            phases: changes
                .iter()
                .map(|change| Phase {
                    label: format!("{} Mbit/s asked for", mbit(change.wanted_bps)),
                    start_unix_ms: change.asked_unix_ms,
                })
                .collect(),
            capacity_bps: BOTTLENECK_BPS,
        }
        .write(&self.dir.join("throughput.svg"))?;
        Ok(())
    }
}

/// Asks for another rate, pays, and waits until it is confirmed. What comes of it is the last of the views.
fn ask(stage: &Stage<'_>, views: &mut Vec<ReservationView>, wanted_bps: u64) -> Change {
    let change = Change {
        wanted_bps,
        asked_unix_ms: unix_ms(unix_now()),
        ..Change::default()
    };
    let id = views.last().map(|view| view.id.clone()).unwrap_or_default();
    match stage.change("h1", &id, &format!("{}kbit", wanted_bps / 1_000)) {
        Ok(purchase) => {
            let confirmed_bps = if purchase.view.status == Status::Active {
                purchase.view.quote.rate_bps
            } else {
                0
            };
            views.push(purchase.view);
            Change {
                confirmed_bps,
                confirmed_unix_ms: unix_ms(unix_now()),
                ..change
            }
        }
        Err(error) => Change {
            problem: Some(error.root_cause().to_string()),
            confirmed_unix_ms: unix_ms(unix_now()),
            ..change
        },
    }
}

fn settle(change: &mut Change, settled: &ReservationView) -> anyhow::Result<()> {
    let receipt = &settled.receipt.as_ref().context("the receipt")?.document;
    let transfer = settled
        .settlement
        .as_ref()
        .context("the refund's transfer")?;
    change.replaced_paid_nanos = receipt.paid.0;
    change.replaced_earned_nanos = receipt.earned.0;
    change.replaced_refunded_nanos = transfer.amount.0;
    change.replaced_served_ms = receipt.served_ms;
    change.replaced_duration_ms = receipt.duration_ms;
    Ok(())
}

/// Shares of the offered rates before, between and after both changes; whole buckets well inside of each.
fn rate_shares(flow: &FlowResult, began: u64, changes: &[Change]) -> Vec<f64> {
    let [up, down] = changes else {
        return Vec::new();
    };
    let margin = 500;
    let end = flow.sent.start_unix_ms
        + flow.sent.bucket_ms * u64::try_from(flow.sent.packets.len()).unwrap_or(0);
    [
        (LOW_OFFERED_BPS, began + margin, up.asked_unix_ms),
        (
            HIGH_OFFERED_BPS,
            up.confirmed_unix_ms + margin,
            down.asked_unix_ms.saturating_sub(margin),
        ),
        (
            LOW_OFFERED_BPS,
            down.confirmed_unix_ms + margin,
            end.saturating_sub(margin),
        ),
    ]
    .map(|(rate, from, to)| rate_share(&flow.received, rate, from, to))
    .to_vec()
}

impl ResizeReport {
    /// Fills `bars` and `passed` from the figures.
    #[must_use]
    pub fn judged(mut self) -> Self {
        self.bars = self.judge();
        self.passed = self.void_reasons.is_empty() && self.bars.iter().all(|bar| bar.passed);
        self
    }

    fn judge(&self) -> Vec<Bar> {
        let mut bars = Vec::new();
        for (number, wanted) in [HIGH_BPS, LOW_BPS].into_iter().enumerate() {
            let change = self.changes.get(number);
            let seen = match change {
                None => "was never asked for".to_owned(),
                Some(Change {
                    problem: Some(problem),
                    ..
                }) => problem.clone(),
                Some(change) => format!(
                    "{} Mbit/s after {} ms",
                    mbit(change.confirmed_bps),
                    change
                        .confirmed_unix_ms
                        .saturating_sub(change.asked_unix_ms)
                ),
            };
            bars.push(Bar::new(
                &format!("it changes to {} Mbit/s", mbit(wanted)),
                "confirmed",
                seen,
                change.is_some_and(|change| change.confirmed_bps == wanted),
            ));
        }
        let lost = self.sent_packets.saturating_sub(self.received_packets);
        bars.push(Bar::new(
            "it loses no packet",
            format!("{} packets arrive", self.sent_packets),
            format!("{lost} lost, {} late", self.reordered_packets),
            self.sent_packets > 0 && lost == 0 && self.changes.len() == 2,
        ));
        let least = self.rate_shares.iter().copied().fold(1.0, f64::min);
        bars.push(Bar::new(
            "it has each rate",
            percent(RATE_SHARE),
            format!("worst of {}: {}", self.rate_shares.len(), percent(least)),
            self.rate_shares.len() == 3 && least >= RATE_SHARE,
        ));
        let off = self.changes.iter().map(Change::nanos_off).max();
        bars.push(Bar::new(
            "what was replaced is paid for what it served",
            "the rest comes back without a fee",
            format!("{} nanos off at most", off.unwrap_or(0)),
            self.changes.len() == 2 && off.is_some_and(|off| off <= 1),
        ));
        bars
    }
}

impl Change {
    /// By how much the refund of what was replaced differs from its share of the price; all of it where nothing was settled.
    fn nanos_off(&self) -> u64 {
        let (paid, duration) = (self.replaced_paid_nanos, self.replaced_duration_ms);
        if paid == 0 || duration == 0 {
            return u64::MAX;
        }
        let unserved = duration.saturating_sub(self.replaced_served_ms);
        let due = u128::from(paid) * u128::from(unserved) / u128::from(duration);
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        let unaccounted = paid.abs_diff(self.replaced_earned_nanos + self.replaced_refunded_nanos);
        self.replaced_refunded_nanos.abs_diff(due).max(unaccounted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ResizeReport {
        let change = |bps| Change {
            wanted_bps: bps,
            confirmed_bps: bps,
            replaced_paid_nanos: 1_000,
            replaced_earned_nanos: 250,
            replaced_refunded_nanos: 750,
            replaced_served_ms: 5_000,
            replaced_duration_ms: 20_000,
            ..Change::default()
        };
        ResizeReport {
            sent_packets: 10_000,
            received_packets: 10_000,
            changes: vec![change(HIGH_BPS), change(LOW_BPS)],
            rate_shares: vec![1.0; 3],
            ..ResizeReport::default()
        }
    }

    #[test]
    fn every_figure_that_misses_its_bar_is_seen() {
        let report = good().judged();
        assert!(report.passed, "{:?}", report.bars);
        let first = |report: &mut ResizeReport, spoil: fn(&mut Change)| {
            report.changes.first_mut().into_iter().for_each(spoil);
        };
        type Spoiler<'a> = Box<dyn Fn(&mut ResizeReport) + 'a>;
        let spoilers: Vec<Spoiler<'_>> = vec![
            Box::new(|report| report.received_packets -= 1),
            Box::new(|report| report.sent_packets = 0),
            Box::new(|report| report.changes.truncate(1)),
            Box::new(|report| report.rate_shares = vec![1.0, 0.98, 1.0]),
            Box::new(|report| report.rate_shares.truncate(2)),
            Box::new(|report| report.void_reasons.push("the processor".to_owned())),
            Box::new(|report| first(report, |change| change.confirmed_bps = LOW_BPS)),
            Box::new(|report| first(report, |change| change.replaced_refunded_nanos -= 2)),
            Box::new(|report| first(report, |change| change.replaced_paid_nanos = 0)),
        ];
        for (number, spoil) in spoilers.iter().enumerate() {
            let mut report = good();
            spoil(&mut report);
            assert!(!report.judged().passed, "spoiler {number} went unnoticed");
        }
    }
}
