//! `payflow-lab run crowd`: a hundred paid flows of 0.05 to 2 Mbit/s, 30 Mbit/s in sum, on trunks of 40 Mbit/s, against
//! 400 Mbit/s of best effort.
//!
//! Four switches in a row; flows enter at the first three and leave at the last, after up to three trunks. Best effort enters
//! at the same three switches. Every flow is paid for on the ledger.

pub mod plan;
pub mod report;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use payflow_controller::core::document::ReservationNumber;

use self::plan::{Kind, PaidFlow, TRUNK_BPS};
use self::report::{BestEffort, CrowdFlow, CrowdReport, CrowdRun, Purchases};
use super::losses::{Counters, Losses, void_reasons};
use super::purchase::{Order, buy_all, cancel_all};
use super::{Output, ceiling, open};
use crate::mininet::{Lab, LabConfig};
use crate::plot::{Line, ThroughputPlot};
use crate::progress::Progress;
use crate::stage::{Purchase, Stage};
use crate::traffic::recv::Delays;
use crate::traffic::series::Series;
use crate::traffic::tcp::TcpReport;
use crate::trial::{FlowResult, Tools, Trial, TrialResult};

/// Tries of a run, should it be void.
const TRIES: usize = 6;
/// Bursts have 10 ms less than what is sold, and their sender takes 2 ms of it. More than so many bytes waiting for the switch
/// process, 8 ms of the best effort at one port, explain that their meters drop some of them.
const LATE_BURSTS_BYTES: u64 = 212_000;
/// What is bought lasts for all of them, and for buying the others.
const PAID_TIME: Duration = Duration::from_secs(400);
/// Fewer wake-ups of a dozen senders on few processors; bursts of constant-rate flows stay far below what is sold.
const TICK: Duration = Duration::from_millis(1);
const FLOOD_PORT: u16 = 6_201;
/// Of the frames of a TCP flow with time stamps, 1448 of 1514 bytes are payload.
const TCP_FRAME: u64 = 1514;
const TCP_PAYLOAD: u64 = 1448;

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct CrowdArgs {
    /// Where to write
    #[command(flatten)]
    pub output: Output,
    /// Seconds of every run
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    /// Best effort that is offered, in Mbit/s
    #[arg(long, default_value_t = 400)]
    pub best_effort_mbit: u64,
    /// Which runs; all by default
    #[arg(long, value_delimiter = ',')]
    pub runs: Vec<Kind>,
    /// Do not look for the ceiling of the machine first
    #[arg(long)]
    pub no_ceiling: bool,
}

/// Runs it.
///
/// # Errors
/// When something could not be run or measured. A missed bar is no error here: it is in the report.
pub fn run(args: &CrowdArgs, dir: &Path) -> anyhow::Result<CrowdReport> {
    let tools = Tools::find()?;
    let kinds = if args.runs.is_empty() {
        Kind::ALL.to_vec()
    } else {
        args.runs.clone()
    };
    let progress = Progress::new(2 + 2 * u64::try_from(kinds.len()).unwrap_or(0));
    let ceiling = if args.no_ceiling {
        None
    } else {
        progress.begin("how much this machine forwards without a loss");
        Some(ceiling::find(&tools, plan::SWITCHES, &progress)?)
    };
    progress.begin("building the network");
    let lab = Lab::start(LabConfig {
        topology: plan::topology(),
        ..LabConfig::default()
    })?;
    let mut stage = Stage::new(&lab, &tools, &dir.join("state"))?;
    let mut crowd = Crowd {
        lab: &lab,
        tools: &tools,
        args,
        dir,
        progress,
        purchases: Vec::new(),
    };
    let runs = crowd.run_all(&mut stage, &kinds);
    if runs.is_err() {
        // The log goes with the lab; what it says last may be the reason.
        eprintln!("{}", stage.controller_log());
    }
    let report = CrowdReport {
        switch_version: lab.info().switch_version.clone(),
        datapath: lab.info().datapath.to_string(),
        trunk_bps: TRUNK_BPS,
        ceiling,
        runs: runs?,
        purchases: crowd.purchases,
        passed: false,
    };
    Ok(report.judged())
}

struct Crowd<'a> {
    lab: &'a Lab,
    tools: &'a Tools,
    args: &'a CrowdArgs,
    dir: &'a Path,
    progress: Progress,
    purchases: Vec<Purchases>,
}

impl<'a> Crowd<'a> {
    fn run_all(&mut self, stage: &mut Stage<'a>, kinds: &[Kind]) -> anyhow::Result<Vec<CrowdRun>> {
        let mut buyers: Vec<String> = plan::flows(Kind::Constant)
            .into_iter()
            .map(|flow| flow.from)
            .collect();
        buyers.sort();
        buyers.dedup();
        open(stage, self.lab, &buyers)?;
        kinds.iter().map(|kind| self.run(stage, *kind)).collect()
    }

    fn run(&mut self, stage: &Stage<'_>, kind: Kind) -> anyhow::Result<CrowdRun> {
        let flows = plan::flows(kind);
        self.progress.begin(&format!(
            "{} flows are bought: {}",
            flows.len(),
            kind.title()
        ));
        // The large ones first: at the end so little is free that what others hold unpaid is in the way.
        let orders: Vec<Order> = flows.iter().rev().map(|flow| self.order(flow)).collect();
        let begun = Instant::now();
        let bought = buy_all(stage, &orders, &self.progress)?;
        self.purchases.push(Purchases {
            kind,
            flows: bought.len(),
            seconds: begun.elapsed().as_secs_f64(),
        });
        self.progress.begin(&format!(
            "{} s of traffic: {}",
            self.args.seconds,
            kind.title()
        ));
        let mut void_tries = Vec::new();
        let run = loop {
            let mut run = self.attempt(kind, &flows, &bought)?.judged();
            if run.void && void_tries.len() + 1 < TRIES {
                self.progress
                    .tell(&format!("void: {}", run.void_reasons.join("; ")));
                void_tries.push(run.void_reasons);
                continue;
            }
            run.void_tries = void_tries;
            break run;
        };
        cancel_all(stage, &orders, &bought)?;
        Ok(run)
    }

    fn order(&self, flow: &PaidFlow) -> Order {
        let address = self
            .lab
            .info()
            .host(&flow.to)
            .map(|host| host.ip.to_string());
        Order::new(
            &flow.name,
            &flow.from,
            &address.unwrap_or_default(),
            if flow.tcp { "tcp" } else { "udp" },
            flow.port,
            flow.rate_bps,
            PAID_TIME,
        )
    }

    fn attempt(
        &self,
        kind: Kind,
        flows: &[PaidFlow],
        bought: &BTreeMap<String, Purchase>,
    ) -> anyhow::Result<CrowdRun> {
        let mut trial = Trial::new(self.lab, self.tools, Duration::from_secs(self.args.seconds))
            .tick(TICK)
            .together();
        for flow in flows {
            let purchase = bought.get(&flow.name).context("a flow was not bought")?;
            trial = if flow.tcp {
                trial.tcp(&flow.name, &flow.from, 0, &flow.to, flow.port)
            } else {
                let traffic = flow.traffic(kind, purchase.view.quote.burst_bytes);
                trial.udp(&flow.name, &flow.from, &flow.to, flow.port, &traffic)
            };
        }
        let floods = plan::floods(kind);
        let target_bps = self.args.best_effort_mbit * 1_000_000;
        let share = target_bps / u64::try_from(floods.len()).unwrap_or(1).max(1);
        for (number, (from, to)) in floods.iter().enumerate() {
            let name = format!("best effort {number}");
            trial = trial.udp(&name, from, to, FLOOD_PORT, &format!("rate={share}"));
        }
        self.lab.repair()?;
        let before = Counters::read(self.lab)?;
        let running = trial.start()?;
        let waited = self.lab.watch_sockets(running.ends_in())?;
        let result = running.finish()?;
        let drops = Counters::read(self.lab)?.since(&before);

        let mut figures = Vec::new();
        let mut udp_numbers = Vec::new();
        for flow in flows {
            let purchase = bought.get(&flow.name).context("a flow was not bought")?;
            let number = ReservationNumber::from_reservation_id(&purchase.view.id)
                .context("the reservation's number")?;
            if !flow.tcp {
                udp_numbers.push(number.0);
            }
            figures.push(figure(flow, purchase, &result, drops.metered(number.0))?);
        }
        let losses = Losses {
            waited,
            ..Losses::of(&result, &drops, udp_numbers)
        };
        let paid = flows.iter().filter(|flow| !flow.tcp);
        let mut void_reasons = void_reasons(&losses, &result, paid.map(|flow| flow.name.as_str()));
        if kind == Kind::Bursts {
            void_reasons.extend(late_bursts(&losses, &figures));
        }
        self.plot(kind, flows, &result)?;
        Ok(CrowdRun {
            kind,
            void: false,
            void_reasons,
            void_tries: Vec::new(),
            seconds: self.args.seconds,
            best_effort: best_effort(target_bps, &result, &figures),
            flows: figures,
            losses,
            bars: Vec::new(),
            passed: false,
        })
    }

    fn plot(&self, kind: Kind, flows: &[PaidFlow], result: &TrialResult) -> anyhow::Result<()> {
        let of = |wanted: &dyn Fn(&PaidFlow) -> bool| {
            let mut sum: Option<Series> = None;
            for flow in flows.iter().filter(|flow| wanted(flow)) {
                let udp = result.flows.get(&flow.name).map(|flow| &flow.received);
                let tcp = result.tcp.get(&flow.name).map(|flow| &flow.series);
                for series in udp.into_iter().chain(tcp) {
                    sum.get_or_insert_with(|| Series::new(series.bucket_ms))
                        .merge(series);
                }
            }
            sum
        };
        let mut rest: Option<Series> = None;
        for (_, flow) in result.flows.iter().filter(|(name, _)| is_best_effort(name)) {
            rest.get_or_insert_with(|| Series::new(flow.received.bucket_ms))
                .merge(&flow.received);
        }
        let lines = [
            ("paid, UDP", of(&|flow| !flow.tcp && !flow.excessive)),
            ("paid, TCP", of(&|flow| flow.tcp)),
            ("sends too much", of(&|flow| flow.excessive)),
            ("best effort", rest),
        ];
        ThroughputPlot {
            title: format!("100 paid flows, {}: at the receivers", kind.title()),
            lines: lines
                .into_iter()
                .filter_map(|(label, series)| {
                    Some(Line {
                        label: label.to_owned(),
                        parts: vec![series?],
                    })
                })
                .collect(),
            phases: Vec::new(),
            capacity_bps: TRUNK_BPS,
        }
        .write(&self.dir.join(format!("{}.svg", kind.name())))?;
        Ok(())
    }
}

/// Why bursts that left their senders in time did not come to their meters in time, if so many did not that a flow misses its bar.
fn late_bursts(losses: &Losses, figures: &[CrowdFlow]) -> Option<String> {
    let conforming = figures
        .iter()
        .filter(|flow| flow.sends == "udp" && flow.loss > report::LOSS);
    let dropped: u64 = conforming.map(|flow| flow.meter_drops).sum();
    let waited = losses.waited.values().max().copied().unwrap_or(0);
    (dropped > 0 && waited > LATE_BURSTS_BYTES).then(|| {
        format!(
            "{dropped} packets came to their meters too near to each other: {waited} bytes waited for the switch process at once"
        )
    })
}

fn is_best_effort(name: &str) -> bool {
    name.starts_with("best effort")
}

fn figure(
    flow: &PaidFlow,
    purchase: &Purchase,
    result: &TrialResult,
    meter_drops: u64,
) -> anyhow::Result<CrowdFlow> {
    let quote = &purchase.view.quote;
    let sends = match (flow.tcp, flow.excessive) {
        (true, _) => "tcp",
        (false, true) => "excessive",
        (false, false) => "udp",
    };
    let figure = CrowdFlow {
        name: flow.name.clone(),
        entry: flow.entry.clone(),
        sends: sends.to_owned(),
        class: quote.class.to_string(),
        paid_bps: quote.rate_bps,
        offered_bps: 0,
        goodput_bps: 0,
        sent_packets: 0,
        received_packets: 0,
        sent_bytes: 0,
        received_bytes: 0,
        loss: 0.0,
        delay_ms: Delays::default(),
        delay_bound_ms: quote.delay_bound_ms,
        meter_drops,
        longest_lag_ms: 0.0,
    };
    if flow.tcp {
        let tcp: &TcpReport = result.tcp.get(&flow.name).context("a TCP flow's report")?;
        return Ok(CrowdFlow {
            goodput_bps: tcp.goodput_bps,
            received_bytes: tcp.bytes,
            ..figure
        });
    }
    let udp: &FlowResult = result.flow(&flow.name)?;
    Ok(CrowdFlow {
        offered_bps: udp.offered_bps,
        goodput_bps: udp.goodput_bps,
        sent_packets: udp.sent_packets,
        received_packets: udp.received_packets,
        sent_bytes: udp.sent_bytes,
        received_bytes: udp.received_bytes,
        loss: udp.loss,
        delay_ms: udp.delay_ms,
        longest_lag_ms: udp.longest_lag_ms,
        ..figure
    })
}

fn best_effort(target_bps: u64, result: &TrialResult, paid: &[CrowdFlow]) -> BestEffort {
    let rest = || {
        result
            .flows
            .values()
            .filter(|flow| is_best_effort(&flow.name))
    };
    let arrived: u64 = paid
        .iter()
        .map(|flow| match flow.sends.as_str() {
            "tcp" => flow.goodput_bps * TCP_FRAME / TCP_PAYLOAD,
            _ => flow.goodput_bps,
        })
        .sum();
    BestEffort {
        target_bps,
        offered_bps: rest().map(|flow| flow.offered_bps).sum(),
        goodput_bps: rest().map(|flow| flow.goodput_bps).sum(),
        left_bps: TRUNK_BPS.saturating_sub(arrived),
    }
}
