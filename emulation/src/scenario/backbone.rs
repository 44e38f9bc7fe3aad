//! `payflow-lab run backbone`: paid flows between the places of a backbone, against best effort everywhere.
//!
//! The topology is built as it is, slower in proportion; every switch has the hosts of the topology, or one. Who buys what for where is
//! drawn from a seed, until as many flows as wanted have been sold. How long it takes to build, to be ready, and to be gone is measured.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use payflow_controller::core::document::ReservationNumber;
use payflow_qos::BitRate;
use serde::{Deserialize, Serialize};

use super::losses::{Counters, Losses, void_reasons};
use super::purchase::{Order, cancel_all, try_buy_all};
use super::{Output, open};
use crate::mininet::{Given, Lab, LabConfig, Topology};
use crate::plot::{Line, ThroughputPlot};
use crate::progress::Progress;
use crate::report::{Bar, at_least};
use crate::simulation::chance::Chance;
use crate::stage::{Purchase, Stage};
use crate::table::{Table, mbit, percent};
use crate::topology::{Reading, load};
use crate::traffic::recv::Delays;
use crate::traffic::series::Series;
use crate::trial::{FlowResult, Tools, Trial, TrialResult};

const ABILENE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/topologies/abilene-2005.toml"
);
/// What the fastest trunk carries, if nothing else is said: what one processor forwards for a dozen switches.
const FASTEST: BitRate = BitRate(10_000_000);
/// Rates are so many hundredths of what the slowest trunk carries.
const SHARES: (u64, u64) = (1, 6);
/// What a sender offers of what it bought, in per mille: a meter that tolerates exactly the rate takes no jitter.
const OFFERED_PER_MILLE: u64 = 996;
/// Rounds of asking for what was refused before.
const ROUNDS: usize = 10;
/// What is bought lasts for the purchases of all, and for every try.
const PAID_TIME: Duration = Duration::from_secs(400);
const FIRST_PORT: u16 = 5_201;
const FLOOD_PORT: u16 = 4_201;
const TICK: Duration = Duration::from_millis(1);
const TRIES: usize = 5;
/// Small enough for slow flows to be counted within one in a hundred.
const PAYLOAD: u32 = 458;
/// Share of a paid rate that must be offered, and must arrive, in per cent.
const RATE_PERCENT: u64 = 99;
/// Most that a paid flow may lose.
const LOSS: f64 = 0.001;

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct BackboneArgs {
    /// Where to write
    #[command(flatten)]
    pub output: Output,
    /// Whatever `payflow-lab topology show` takes
    #[arg(long, value_name = "SOURCE", default_value = ABILENE, hide_default_value = true)]
    pub topology: String,
    /// How it is read; the fastest trunk carries 10 Mbit/s if nothing else is said
    #[command(flatten)]
    pub reading: Reading,
    /// Paid flows
    #[arg(long, default_value_t = 30)]
    pub flows: usize,
    /// Who buys what for where
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Seconds of traffic
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    /// Best effort that is offered by all hosts together, in Mbit/s
    #[arg(long, default_value_t = 110)]
    pub best_effort_mbit: u64,
}

/// What was measured, and whether it is enough.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BackboneReport {
    /// What the topology is called.
    pub topology: String,
    /// Switches.
    pub switches: usize,
    /// Links between them.
    pub trunks: usize,
    /// Hosts.
    pub hosts: usize,
    /// What the fastest trunk carries, frame bits per second.
    pub fastest_bps: u64,
    /// The seed of the flows.
    pub seed: u64,
    /// Version of Open vSwitch.
    pub switch_version: String,
    /// `kernel` or `userspace`.
    pub datapath: String,
    /// How long it takes.
    pub seconds: Times,
    /// Flows that were wanted.
    pub wanted: usize,
    /// What was refused while they were bought: flow, and the controller's word for the problem.
    pub refused: Vec<String>,
    /// The paid flows.
    pub flows: Vec<BackboneFlow>,
    /// Best effort that was offered, frame bits per second.
    pub best_effort_offered_bps: u64,
    /// What arrived of it.
    pub best_effort_goodput_bps: u64,
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

/// How long the parts of a run take, in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// To build the network: switches, hosts, links.
    pub network: f64,
    /// From then until the controller sells and every host has reached it; buyers have wallets then.
    pub ready: f64,
    /// To buy all flows.
    pub purchases: f64,
    /// To end all of it, until no process, device or file of it is left.
    pub stop: f64,
}

/// A paid flow. All `*_bps` are frame bits per second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BackboneFlow {
    /// Its name.
    pub name: String,
    /// The host that sends.
    pub from: String,
    /// The host that receives.
    pub to: String,
    /// Switches on its path.
    pub hops: usize,
    /// What was paid for.
    pub paid_bps: u64,
    /// What was offered.
    pub offered_bps: u64,
    /// What arrived.
    pub goodput_bps: u64,
    /// Packets that left the sender.
    pub sent_packets: u64,
    /// Packets that arrived.
    pub received_packets: u64,
    /// Share lost, 0 to 1.
    pub loss: f64,
    /// One-way delays.
    pub delay_ms: Delays,
    /// The queueing delay that its quote allows.
    pub delay_bound_ms: u64,
}

/// A flow that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    name: String,
    from: String,
    to: String,
    port: u16,
    rate_bps: u64,
}

/// Runs it.
///
/// # Errors
/// When something could not be run or measured. A missed bar is no error here: it is in the report.
pub fn run(args: &BackboneArgs, dir: &Path) -> anyhow::Result<BackboneReport> {
    let tools = Tools::find()?;
    let mut reading = args.reading.clone();
    reading.scale_to.get_or_insert(FASTEST);
    let map = load(&args.topology, &reading)?;
    let given = Given::new(&map).map_err(anyhow::Error::msg)?;
    ensure!(given.hosts.len() > 1, "{}: one host buys nothing", map.name);
    let slowest = given.trunks.iter().map(|(_, _, bps)| *bps).min();
    let mut report = BackboneReport {
        topology: map.name.clone(),
        switches: given.switches,
        trunks: given.trunks.len(),
        hosts: given.hosts.len(),
        fastest_bps: given.fastest_bps(),
        seed: args.seed,
        wanted: args.flows,
        ..BackboneReport::default()
    };

    let progress = Progress::new(6);
    progress.begin("building the network");
    let begun = Instant::now();
    let lab = Lab::start(LabConfig {
        topology: Topology::Given(given),
        ..LabConfig::default()
    })?;
    report.seconds.network = begun.elapsed().as_secs_f64();
    report.switch_version = lab.info().switch_version.clone();
    report.datapath = lab.info().datapath.to_string();
    let mut stage = Stage::new(&lab, &tools, &dir.join("state"))?;
    let backbone = Backbone {
        lab: &lab,
        tools: &tools,
        args,
        dir,
        progress,
        unit_bps: slowest.context("no trunk")? / 100,
    };
    let measured = backbone.run(&mut stage, &mut report);
    if measured.is_err() {
        // The log goes with the lab; what it says last may be the reason.
        eprintln!("{}", stage.controller_log());
    }
    measured?;
    backbone.progress.begin("taking it all down");
    let begun = Instant::now();
    drop(backbone);
    drop(stage);
    drop(lab);
    report.seconds.stop = begun.elapsed().as_secs_f64();
    Ok(report.judged())
}

struct Backbone<'a> {
    lab: &'a Lab,
    tools: &'a Tools,
    args: &'a BackboneArgs,
    dir: &'a Path,
    progress: Progress,
    /// A hundredth of what the slowest trunk carries.
    unit_bps: u64,
}

impl<'a> Backbone<'a> {
    fn run(&self, stage: &mut Stage<'a>, report: &mut BackboneReport) -> anyhow::Result<()> {
        let hosts: Vec<String> = self
            .lab
            .info()
            .hosts
            .iter()
            .map(|it| it.name.clone())
            .collect();
        self.progress
            .begin("the controller, and every host's wallet");
        let begun = Instant::now();
        open(stage, self.lab, &hosts)?;
        report.seconds.ready = begun.elapsed().as_secs_f64();

        self.progress
            .begin(&format!("{} flows are bought", self.args.flows));
        let begun = Instant::now();
        let (wishes, bought) = self.buy(stage, &hosts, report)?;
        report.seconds.purchases = begun.elapsed().as_secs_f64();

        self.progress
            .begin(&format!("{} s of traffic", self.args.seconds));
        loop {
            self.attempt(&hosts, &wishes, &bought, report)?;
            if report.void_reasons.is_empty() || report.void_tries.len() + 1 >= TRIES {
                break;
            }
            self.progress
                .tell(&format!("void: {}", report.void_reasons.join("; ")));
            report
                .void_tries
                .push(std::mem::take(&mut report.void_reasons));
        }
        self.progress.begin("what was bought is cancelled");
        let orders: Vec<Order> = wishes.iter().map(|wish| self.order(wish)).collect();
        cancel_all(stage, &orders, &bought)
    }

    /// Draws wishes until enough of them have been sold.
    fn buy(
        &self,
        stage: &Stage<'_>,
        hosts: &[String],
        report: &mut BackboneReport,
    ) -> anyhow::Result<(Vec<Wish>, BTreeMap<String, Purchase>)> {
        let mut chance = Chance::new(self.args.seed);
        let (mut sold, mut bought) = (Vec::new(), BTreeMap::new());
        let mut number = 0;
        for _ in 0..ROUNDS {
            let missing = self.args.flows - sold.len();
            let mut wishes = Vec::new();
            for _ in 0..missing {
                wishes.push(wish(number, hosts, self.unit_bps, &mut chance)?);
                number += 1;
            }
            let orders: Vec<Order> = wishes.iter().map(|wish| self.order(wish)).collect();
            let mut answers = try_buy_all(stage, &orders)?;
            for wish in wishes {
                match answers
                    .remove(&wish.name)
                    .context("an answer to every order")?
                {
                    Ok(purchase) => {
                        bought.insert(wish.name.clone(), purchase);
                        sold.push(wish);
                    }
                    Err(refusal) => report
                        .refused
                        .push(format!("{}: {}", wish.name, refusal.kind)),
                }
            }
            if sold.len() == self.args.flows {
                break;
            }
        }
        Ok((sold, bought))
    }

    fn order(&self, wish: &Wish) -> Order {
        let address = self
            .lab
            .info()
            .host(&wish.to)
            .map(|host| host.ip.to_string());
        let to = address.unwrap_or_default();
        Order::new(
            &wish.name,
            &wish.from,
            &to,
            "udp",
            wish.port,
            wish.rate_bps,
            PAID_TIME,
        )
    }

    fn attempt(
        &self,
        hosts: &[String],
        wishes: &[Wish],
        bought: &BTreeMap<String, Purchase>,
        report: &mut BackboneReport,
    ) -> anyhow::Result<()> {
        let mut trial = Trial::new(self.lab, self.tools, Duration::from_secs(self.args.seconds))
            .tick(TICK)
            .together();
        for wish in wishes {
            let offered = wish.rate_bps * OFFERED_PER_MILLE / 1_000;
            let traffic = format!("rate={offered},payload={PAYLOAD}");
            trial = trial.udp(&wish.name, &wish.from, &wish.to, wish.port, &traffic);
        }
        // Everybody floods somebody far away: half-way around the order of the topology.
        let each = self.args.best_effort_mbit * 1_000_000 / u64::try_from(hosts.len())?;
        let far = (hosts.len() / 2).max(1);
        let targets = hosts.iter().cycle().skip(far);
        for (from, to) in hosts.iter().zip(targets).filter(|_| each > 0) {
            let name = format!("best effort {from}");
            trial = trial.udp(&name, from, to, FLOOD_PORT, &format!("rate={each}"));
        }
        self.lab.repair()?;
        let before = Counters::read(self.lab)?;
        let running = trial.start()?;
        let waited = self.lab.watch_sockets(running.ends_in())?;
        let result = running.finish()?;
        let drops = Counters::read(self.lab)?.since(&before);

        report.flows.clear();
        let mut numbers = Vec::new();
        for wish in wishes {
            let view = &bought.get(&wish.name).context("what was bought")?.view;
            numbers.extend(ReservationNumber::from_reservation_id(&view.id).map(|it| it.0));
            let flow = result.flow(&wish.name)?;
            report.flows.push(BackboneFlow {
                name: wish.name.clone(),
                from: wish.from.clone(),
                to: wish.to.clone(),
                hops: view.quote.path.len(),
                paid_bps: view.quote.rate_bps,
                offered_bps: flow.offered_bps,
                goodput_bps: flow.goodput_bps,
                sent_packets: flow.sent_packets,
                received_packets: flow.received_packets,
                loss: flow.loss,
                delay_ms: flow.delay_ms,
                delay_bound_ms: view.quote.delay_bound_ms,
            });
        }
        let rest = || result.flows.values().filter(|flow| is_best_effort(flow));
        report.best_effort_offered_bps = rest().map(|flow| flow.offered_bps).sum();
        report.best_effort_goodput_bps = rest().map(|flow| flow.goodput_bps).sum();
        report.losses = Losses {
            waited,
            ..Losses::of(&result, &drops, numbers)
        };
        let paid = wishes.iter().map(|wish| wish.name.as_str());
        report.void_reasons = void_reasons(&report.losses, &result, paid);
        self.plot(report, &result)
    }

    fn plot(&self, report: &BackboneReport, result: &TrialResult) -> anyhow::Result<()> {
        let sum = |best_effort: bool, of: fn(&FlowResult) -> &Series| {
            let mut flows = result
                .flows
                .values()
                .filter(|it| is_best_effort(it) == best_effort);
            let first = of(flows.next()?).clone();
            Some(flows.fold(first, |mut sum, flow| {
                sum.merge(of(flow));
                sum
            }))
        };
        let lines = [
            ("paid, sent", sum(false, |flow| &flow.sent)),
            ("paid, received", sum(false, |flow| &flow.received)),
            ("best effort, received", sum(true, |flow| &flow.received)),
        ];
        ThroughputPlot {
            title: format!(
                "{} paid flows on {}: sums over all hosts",
                report.flows.len(),
                report.topology
            ),
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
            capacity_bps: report.fastest_bps,
        }
        .write(&self.dir.join("throughput.svg"))?;
        Ok(())
    }
}

fn is_best_effort(flow: &FlowResult) -> bool {
    flow.name.starts_with("best effort")
}

/// The next flow that somebody wants: from one host to another, at a few hundredths of what the slowest trunk carries.
fn wish(number: u16, hosts: &[String], unit_bps: u64, chance: &mut Chance) -> anyhow::Result<Wish> {
    let from = chance.pick(hosts).context("no hosts")?;
    let others: Vec<&String> = hosts.iter().filter(|host| *host != from).collect();
    let to = chance.pick(&others).context("one host alone")?;
    // Whole kilobits, as orders are written.
    let rate = chance.between(SHARES.0, SHARES.1) * unit_bps / 1_000 * 1_000;
    Ok(Wish {
        name: format!("flow {}", number + 1),
        from: from.clone(),
        to: (*to).clone(),
        port: FIRST_PORT.checked_add(number).context("too many flows")?,
        rate_bps: rate.max(1_000),
    })
}

impl BackboneReport {
    /// Fills `bars` and `passed` from the figures.
    #[must_use]
    pub fn judged(mut self) -> Self {
        self.bars = self.judge();
        self.passed = self.void_reasons.is_empty() && self.bars.iter().all(|bar| bar.passed);
        self
    }

    fn judge(&self) -> Vec<Bar> {
        let every = |name: &str,
                     wanted: String,
                     holds: &dyn Fn(&BackboneFlow) -> bool,
                     seen: &dyn Fn(&BackboneFlow) -> (f64, String)| {
            let missed = self.flows.iter().filter(|flow| !holds(flow)).count();
            let worst = self
                .flows
                .iter()
                .map(seen)
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map_or_else(|| "none".to_owned(), |(_, figure)| figure);
            let seen = format!("worst of {}: {worst}; {missed} miss it", self.flows.len());
            Bar::new(name, wanted, seen, missed == 0 && !self.flows.is_empty())
        };
        #[allow(clippy::cast_precision_loss)] // rates stay far below 2^53
        let of_paid = |flow: &BackboneFlow, bps: u64| {
            let share = bps as f64 / flow.paid_bps.max(1) as f64;
            (
                -share,
                format!("{} of {} Mbit/s", percent(share), mbit(flow.paid_bps)),
            )
        };
        #[allow(clippy::cast_precision_loss)] // a bound is a few seconds
        let bound = |flow: &BackboneFlow| flow.delay_bound_ms as f64;
        vec![
            Bar::new(
                "flows bought and measured",
                self.wanted.to_string(),
                format!(
                    "{}, {} refused before",
                    self.flows.len(),
                    self.refused.len()
                ),
                self.flows.len() == self.wanted,
            ),
            every(
                "what they paid for is offered",
                format!("{RATE_PERCENT} %"),
                &|flow| at_least(flow.offered_bps, RATE_PERCENT, flow.paid_bps),
                &|flow| of_paid(flow, flow.offered_bps),
            ),
            every(
                "and arrives",
                format!("{RATE_PERCENT} %"),
                &|flow| at_least(flow.goodput_bps, RATE_PERCENT, flow.paid_bps),
                &|flow| of_paid(flow, flow.goodput_bps),
            ),
            every(
                "nothing of it is lost",
                format!("at most {}", percent(LOSS)),
                &|flow| flow.sent_packets > 0 && flow.loss <= LOSS,
                &|flow| (flow.loss, percent(flow.loss)),
            ),
            every(
                "99 of 100 packets are in time",
                "what the quote says".to_owned(),
                &|flow| flow.received_packets > 0 && flow.delay_ms.p99 <= bound(flow),
                &|flow| {
                    let figure = format!("{:.1} of {} ms", flow.delay_ms.p99, flow.delay_bound_ms);
                    (flow.delay_ms.p99 / bound(flow).max(1.0), figure)
                },
            ),
            Bar::new(
                "queues and meters decide what is lost",
                "not the processor",
                format!("{} packets lost to it", self.losses.to_the_cpu()),
                self.void_reasons.is_empty(),
            ),
        ]
    }

    /// What it was and how long it took, for people.
    #[must_use]
    pub fn tables(&self) -> String {
        let times = &self.seconds;
        let mut table = Table::new([
            "the flows that did worst",
            "paid Mbit/s",
            "offered",
            "got",
            "loss",
            "p99 ms",
        ]);
        let mut flows: Vec<&BackboneFlow> = self.flows.iter().collect();
        flows.sort_by(|a, b| {
            b.loss
                .total_cmp(&a.loss)
                .then(b.delay_ms.p99.total_cmp(&a.delay_ms.p99))
        });
        for flow in flows.into_iter().take(5) {
            table.row([
                format!(
                    "{}, {} to {}, {} switches",
                    flow.name, flow.from, flow.to, flow.hops
                ),
                mbit(flow.paid_bps),
                mbit(flow.offered_bps),
                mbit(flow.goodput_bps),
                percent(flow.loss),
                format!("{:.1}", flow.delay_ms.p99),
            ]);
        }
        let mut text = format!(
            "{}: {} switches, {} trunks of up to {} Mbit/s, {} hosts; {} datapath of Open vSwitch {}\n\
             built in {:.1} s, ready in {:.1} s more, everything bought in {:.1} s, gone in {:.2} s\n\
             best effort: {} Mbit/s offered, {} arrived\n\n{table}",
            self.topology,
            self.switches,
            self.trunks,
            mbit(self.fastest_bps),
            self.hosts,
            self.datapath,
            self.switch_version,
            times.network,
            times.ready,
            times.purchases,
            times.stop,
            mbit(self.best_effort_offered_bps),
            mbit(self.best_effort_goodput_bps),
        );
        for reason in &self.void_reasons {
            text.push_str(&format!("VOID: {reason}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> BackboneReport {
        let flow = BackboneFlow {
            paid_bps: 1_000_000,
            offered_bps: 996_000,
            goodput_bps: 996_000,
            sent_packets: 10_000,
            received_packets: 10_000,
            delay_bound_ms: 97,
            ..BackboneFlow::default()
        };
        BackboneReport {
            wanted: 3,
            flows: vec![flow; 3],
            ..BackboneReport::default()
        }
    }

    #[test]
    fn every_figure_that_misses_its_bar_is_seen() {
        let report = good().judged();
        assert!(report.passed, "{:?}", report.bars);
        let spoilers: [fn(&mut BackboneReport); 8] = [
            |report| report.flows.truncate(2),
            |report| {
                report
                    .flows
                    .iter_mut()
                    .for_each(|flow| flow.offered_bps = 989_000)
            },
            |report| {
                report
                    .flows
                    .iter_mut()
                    .skip(2)
                    .for_each(|flow| flow.goodput_bps = 989_000)
            },
            |report| {
                report
                    .flows
                    .iter_mut()
                    .take(1)
                    .for_each(|flow| flow.loss = 0.0011)
            },
            |report| {
                report
                    .flows
                    .iter_mut()
                    .take(1)
                    .for_each(|flow| flow.sent_packets = 0)
            },
            |report| {
                report
                    .flows
                    .iter_mut()
                    .take(1)
                    .for_each(|flow| flow.received_packets = 0)
            },
            |report| {
                report
                    .flows
                    .iter_mut()
                    .take(1)
                    .for_each(|flow| flow.delay_ms.p99 = 97.1)
            },
            |report| report.void_reasons.push("the processor".to_owned()),
        ];
        for (number, spoil) in spoilers.iter().enumerate() {
            let mut report = good();
            spoil(&mut report);
            assert!(!report.judged().passed, "spoiler {number} went unnoticed");
        }
    }

    #[test]
    fn a_seed_draws_the_same_flows_each_time_and_nobody_sends_to_itself() {
        let hosts: Vec<String> = (1..=11).map(|number| format!("h{number}")).collect();
        let draw = |seed| -> Vec<Wish> {
            let mut chance = Chance::new(seed);
            let wishes = (0..200).map(|number| wish(number, &hosts, 100_000, &mut chance));
            wishes.collect::<anyhow::Result<_>>().expect("hosts enough")
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        for wish in draw(3) {
            assert_ne!(wish.from, wish.to);
            assert!((100_000..=500_000).contains(&wish.rate_bps), "{wish:?}");
        }
    }
}
