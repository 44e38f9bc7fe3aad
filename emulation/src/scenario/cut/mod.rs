//! `payflow-lab run cut`: the trunk under fifty paid flows is cut, once so that the switches say so, once silently.
//!
//! Two switches with a trunk of 40 Mbit/s between them, and a detour of 20 Mbit/s over a third. The flows are 25 Mbit/s in sum: not
//! all of them fit on the detour. Who does moves; the others wait, until the trunk is back, and are credited. A flood of best
//! effort runs beside them the whole time.

pub mod report;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use payflow_controller::core::document::ReservationView;

use self::report::{CutCase, CutFlow, CutReport, How, RECOVERY_MS, outage_ms, rate_share};
use super::purchase::{Order, buy_all, each_host};
use super::{Output, open};
use crate::mininet::{Lab, LabConfig, Topology};
use crate::plot::{Line, Phase, ThroughputPlot};
use crate::progress::Progress;
use crate::stage::{Purchase, Stage};
use crate::traffic::FRAME_OVERHEAD;
use crate::traffic::series::Series;
use crate::trial::{Tools, Trial, TrialResult, unix_ms, unix_now};

const FLOWS: u64 = 50;
const LEAST_BPS: u64 = 100_000;
const MOST_BPS: u64 = 900_000;
/// Every flow sends a packet each 10 ms, so that an outage is seen to the tenth of a second.
const PPS: u64 = 100;
const OFFERED_PER_MILLE: u64 = 998;
const TRUNK_BPS: u64 = 40_000_000;
const DETOUR_BPS: u64 = 20_000_000;
const SENDERS: u16 = 5;
const RECEIVERS: u16 = 2;
const FIRST_PORT: u16 = 5_000;
const FLOOD_PORT: u16 = 6_201;
const FLOOD: &str = "rate=50Mbit";
const TICK: Duration = Duration::from_millis(1);

/// So dear that every flow costs more than the least price, and the faster ones more than the slower.
const PRICES: &str = "\n[prices]\nsteady_nanos_per_mbit_second = 2000000\n";

const BEFORE: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(9);
/// Longer than all of it, buying included.
const PAID_TIME: Duration = Duration::from_secs(60);

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct CutArgs {
    /// Where to write
    #[command(flatten)]
    pub output: Output,
    /// Which kinds of cut; both by default
    #[arg(long, value_delimiter = ',')]
    pub how: Vec<How>,
}

/// Runs it.
///
/// # Errors
/// When something could not be run or measured. A missed bar is no error here: it is in the report.
pub fn run(args: &CutArgs, dir: &Path) -> anyhow::Result<CutReport> {
    let tools = Tools::find()?;
    let kinds = if args.how.is_empty() {
        How::ALL.to_vec()
    } else {
        args.how.clone()
    };
    let progress = Progress::new(1 + 3 * u64::try_from(kinds.len()).unwrap_or(0));
    progress.begin("building the network");
    let lab = Lab::start(LabConfig {
        topology: Topology::Detour {
            senders: SENDERS,
            receivers: RECEIVERS,
            trunk_bps: TRUNK_BPS,
            detour_bps: DETOUR_BPS,
        },
        ..LabConfig::default()
    })?;
    let mut stage = Stage::with_config(&lab, &tools, &dir.join("state"), PRICES)?;
    let cut = Cut {
        lab: &lab,
        tools: &tools,
        dir,
        progress,
    };
    let cases = cut.run_all(&mut stage, &kinds);
    if cases.is_err() {
        // The log goes with the lab; what it says last may be the reason.
        eprintln!("{}", stage.controller_log());
    }
    let report = CutReport {
        switch_version: lab.info().switch_version.clone(),
        datapath: lab.info().datapath.to_string(),
        trunk_bps: TRUNK_BPS,
        detour_bps: DETOUR_BPS,
        cases: cases?,
        passed: false,
    };
    Ok(report.judged())
}

/// What is bought and sent.
struct Flow {
    name: String,
    from: String,
    to: String,
    port: u16,
    rate_bps: u64,
}

fn flows() -> Vec<Flow> {
    (0..FLOWS)
        .map(|number| {
            let small = u16::try_from(number).unwrap_or(u16::MAX);
            Flow {
                name: format!("flow {number:02}"),
                from: format!("h{}", small % SENDERS + 1),
                to: format!("h{}", SENDERS + small % RECEIVERS + 1),
                port: FIRST_PORT + small,
                rate_bps: LEAST_BPS + (MOST_BPS - LEAST_BPS) * number / (FLOWS - 1) / 1_000 * 1_000,
            }
        })
        .collect()
}

impl Flow {
    fn traffic(&self) -> String {
        let offered = self.rate_bps * OFFERED_PER_MILLE / 1_000;
        let payload = (self.rate_bps / 8 / PPS).saturating_sub(FRAME_OVERHEAD.into());
        format!("rate={offered},payload={payload}")
    }
}

struct Cut<'a> {
    lab: &'a Lab,
    tools: &'a Tools,
    dir: &'a Path,
    progress: Progress,
}

impl<'a> Cut<'a> {
    fn run_all(&self, stage: &mut Stage<'a>, kinds: &[How]) -> anyhow::Result<Vec<CutCase>> {
        let buyers: Vec<String> = (1..=SENDERS).map(|number| format!("h{number}")).collect();
        open(stage, self.lab, &buyers)?;
        kinds.iter().map(|how| self.case(stage, *how)).collect()
    }

    fn case(&self, stage: &Stage<'_>, how: How) -> anyhow::Result<CutCase> {
        let flows = flows();
        self.progress
            .begin(&format!("{} flows are bought", flows.len()));
        let address = |host: &str| {
            let host = self.lab.info().host(host);
            host.map(|host| host.ip.to_string()).unwrap_or_default()
        };
        let orders: Vec<Order> = flows
            .iter()
            .rev()
            .map(|flow| {
                let to = address(&flow.to);
                Order::new(
                    &flow.name,
                    &flow.from,
                    &to,
                    "udp",
                    flow.port,
                    flow.rate_bps,
                    PAID_TIME,
                )
            })
            .collect();
        let bought = buy_all(stage, &orders, &self.progress)?;
        self.lab.repair()?;

        self.progress.begin(match how {
            How::Down => "the trunk goes down",
            How::Silent => "the trunk is cut without a word",
        });
        let outage = Duration::from_millis(how.limit_ms()) + Duration::from_secs(7);
        let mut trial = Trial::new(self.lab, self.tools, BEFORE + outage + AFTER)
            .tick(TICK)
            .together()
            .udp(
                "flood",
                "h1",
                &format!("h{}", SENDERS + RECEIVERS),
                FLOOD_PORT,
                FLOOD,
            );
        for flow in &flows {
            trial = trial.udp(&flow.name, &flow.from, &flow.to, flow.port, &flow.traffic());
        }
        let running = trial.start()?;
        sleep_until_left(running.ends_in(), outage + AFTER);
        let cut_unix_ms = unix_ms(unix_now());
        self.cut(how, true)?;
        // What has moved by then has moved in time, or never will.
        std::thread::sleep(Duration::from_millis(how.limit_ms()) + Duration::from_secs(2));
        let during = self.statuses(stage, &orders, &bought)?;
        sleep_until_left(running.ends_in(), AFTER);
        let back_unix_ms = unix_ms(unix_now());
        self.cut(how, false)?;
        let result = running.finish()?;

        self.progress
            .begin("the paid time ends, and everything is settled");
        let settled = each_host(&orders, |order| {
            let purchase = bought.get(&order.name).context("it was never bought")?;
            let view = stage.settled(&order.host, &purchase.view.id)?;
            Ok((order.name.clone(), view))
        })?;
        let figures = flows
            .iter()
            .map(|flow| {
                let during = during.get(&flow.name).context("the status of a flow")?;
                let settled = settled.get(&flow.name).context("the end of a flow")?;
                figure(
                    how,
                    flow,
                    &result,
                    (cut_unix_ms, back_unix_ms),
                    during,
                    settled,
                )
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        self.plot(how, &figures, &result, (cut_unix_ms, back_unix_ms))?;
        let case = CutCase {
            how,
            detour_bps: DETOUR_BPS,
            cut_unix_ms,
            back_unix_ms,
            flows: figures,
            bars: Vec::new(),
            passed: false,
        };
        Ok(case.judged())
    }

    fn cut(&self, how: How, cut: bool) -> anyhow::Result<()> {
        match how {
            How::Down => self.lab.set_link("s1", "s2", !cut)?,
            How::Silent => self.lab.swallow("s1", "s2", cut)?,
        }
        Ok(())
    }

    /// What the controller says of every flow; one command a host, so that asking does not disturb the measurement.
    fn statuses(
        &self,
        stage: &Stage<'_>,
        orders: &[Order],
        bought: &BTreeMap<String, Purchase>,
    ) -> anyhow::Result<BTreeMap<String, ReservationView>> {
        let mut views = BTreeMap::new();
        for number in 1..=SENDERS {
            for view in stage.statuses(&format!("h{number}"))? {
                views.insert(view.id.clone(), view);
            }
        }
        let of = |order: &Order| {
            let view = views.get(&bought.get(&order.name)?.view.id)?;
            Some((order.name.clone(), view.clone()))
        };
        Ok(orders.iter().filter_map(of).collect())
    }

    fn plot(
        &self,
        how: How,
        figures: &[CutFlow],
        result: &TrialResult,
        (cut, back): (u64, u64),
    ) -> anyhow::Result<()> {
        let sum = |wanted: &dyn Fn(&CutFlow) -> bool| {
            let mut sum: Option<Series> = None;
            for flow in figures.iter().filter(|flow| wanted(flow)) {
                if let Some(flow) = result.flows.get(&flow.name) {
                    sum.get_or_insert_with(|| Series::new(flow.received.bucket_ms))
                        .merge(&flow.received);
                }
            }
            sum
        };
        let flood = result.flows.get("flood").map(|flow| flow.received.clone());
        let lines = [
            ("paid, moved", sum(&|flow| flow.moves > 0)),
            ("paid, not moved", sum(&|flow| flow.moves == 0)),
            ("best effort", flood),
        ];
        ThroughputPlot {
            title: format!("50 paid flows and a cut ({}): at the receivers", how.name()),
            lines: lines
                .into_iter()
                .filter_map(|(label, series)| {
                    Some(Line {
                        label: label.to_owned(),
                        parts: vec![series?],
                    })
                })
                .collect(),
            phases: [("cut", cut), ("back", back)]
                .map(|(label, start_unix_ms)| Phase {
                    label: label.to_owned(),
                    start_unix_ms,
                })
                .to_vec(),
            capacity_bps: TRUNK_BPS,
        }
        .write(&self.dir.join(format!("{}.svg", how.name())))?;
        Ok(())
    }
}

fn sleep_until_left(left: Duration, wanted: Duration) {
    std::thread::sleep(left.saturating_sub(wanted));
}

fn figure(
    how: How,
    flow: &Flow,
    result: &TrialResult,
    (cut, back): (u64, u64),
    during: &ReservationView,
    settled: &ReservationView,
) -> anyhow::Result<CutFlow> {
    let measured = result.flow(&flow.name)?;
    let offered = flow.rate_bps * OFFERED_PER_MILLE / 1_000;
    let series = &measured.received;
    let began = measured.sent.start_unix_ms + 500;
    let receipt = &settled.receipt.as_ref().context("the receipt")?.document;
    let settlement = settled
        .settlement
        .as_ref()
        .context("the refund's transfer")?;
    let status = serde_json::to_value(during.status)?;
    // Who has moved must have its rate while the trunk is still cut; who waits, soon after it is back.
    let end = if during.moves > 0 {
        back
    } else {
        back + RECOVERY_MS
    };
    Ok(CutFlow {
        name: flow.name.clone(),
        paid_bps: flow.rate_bps,
        burst_bytes: during.quote.burst_bytes,
        sent_packets: measured.sent_packets,
        received_packets: measured.received_packets,
        before_share: rate_share(series, offered, began, cut),
        status: status.as_str().unwrap_or_default().to_owned(),
        moves: during.moves,
        outage_ms: outage_ms(series, offered, cut, end),
        during_share: rate_share(series, offered, cut + how.limit_ms(), back),
        credited_ms: (receipt.duration_ms + receipt.shortfall_ms).saturating_sub(receipt.served_ms),
        duration_ms: receipt.duration_ms,
        paid_nanos: receipt.paid.0,
        refunded_nanos: settlement.amount.0,
    })
}
