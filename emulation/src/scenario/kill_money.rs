//! `payflow-lab run kill-money`: the controller, and the ledger in it, are killed again and again while hosts buy, change and
//! cancel; afterwards every nano is where the books say, on the ledger as well, and no host had to do anything for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use parking_lot::Mutex;
use payflow_controller::core::document::ReservationView;
use serde::{Deserialize, Serialize};

use super::{Output, open};
use crate::mininet::{Lab, LabConfig};
use crate::progress::Progress;
use crate::report::Bar;
use crate::simulation::chance::Chance;
use crate::stage::{Operator, REFUSED, Stage};
use crate::table::Table;
use crate::trial::Tools;

/// Who buys, side by side.
const BUYERS: [&str; 3] = ["h1", "h2", "h3"];
const TO: &str = "10.0.0.4";
/// How long a controller lives at most before it is killed, from when it could sell again on.
const LONGEST_LIFE_MS: u64 = 3_500;
/// For everything to be settled once nobody is killed any more.
const SETTLING: Duration = Duration::from_secs(120);
/// What a host does when nobody answers: it asks again.
const PAUSE: Duration = Duration::from_millis(300);
/// Exit status of `payflow` when nobody knows yet what became of a payment.
const OPEN: i32 = 4;

/// Options of the scenario.
#[derive(Clone, Debug, Args)]
pub struct KillMoneyArgs {
    /// How often it is killed
    #[arg(long, default_value_t = 50)]
    pub kills: u32,
    /// When, and who buys what
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where to write
    #[command(flatten)]
    pub output: Output,
}

/// What happened, and whether it is right.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KillMoneyReport {
    /// Decides when it is killed and who buys what.
    pub seed: u64,
    /// How often it was killed.
    pub kills: u32,
    /// The record that was the last one on the disk when it was killed, of those about a purchase, and how often.
    pub killed_after: BTreeMap<String, u32>,
    /// Reservations that were paid for.
    pub purchases: usize,
    /// Of these, those that were served for some time.
    pub served: usize,
    /// Of these, those whose money is not settled.
    pub unsettled: Vec<String>,
    /// Payments that bought nothing, and were sent back.
    pub sent_back: usize,
    /// What hosts were told, and how often: `0` bought, `3` refused, `4` not known yet, anything else nobody answered.
    pub told: BTreeMap<i32, u32>,
    /// What the audit found: books, accounts, reservations and ledger against each other.
    pub findings: Vec<String>,
    /// Payments and transfers that the ledger was asked about.
    pub asked_of_ledger: u64,
    /// What the books put into the treasury less what they took out, in nanos.
    pub treasury_in_books: i64,
    /// What the treasury has on the ledger, less what it had before.
    pub treasury_on_ledger: i64,
    /// What the books owe to buyers at receive addresses, in nanos.
    pub owed_in_books: i64,
    /// What lies at receive addresses.
    pub owed_on_ledger: u64,
    /// Entries and meters of paid flows that are still on switches.
    pub left_on_switches: usize,
    /// Every bar with its figure.
    pub bars: Vec<Bar>,
    /// All bars hold.
    pub passed: bool,
}

/// Runs it.
///
/// # Errors
/// When something could not be run. What is wrong with the money is no error here: it is in the report.
pub fn run(args: &KillMoneyArgs, dir: &Path) -> anyhow::Result<KillMoneyReport> {
    let tools = Tools::find()?;
    let progress = Progress::new(4);
    progress.begin("building the network");
    let lab = Lab::start(LabConfig::default())?;
    let mut stage = Stage::new(&lab, &tools, &dir.join("state"))?;
    let report = kill(args, &lab, &mut stage, &progress);
    if report.is_err() {
        eprintln!("{}", stage.controller_log());
    }
    report
}

fn kill<'a>(
    args: &KillMoneyArgs,
    lab: &'a Lab,
    stage: &mut Stage<'a>,
    progress: &Progress,
) -> anyhow::Result<KillMoneyReport> {
    open(stage, lab, &BUYERS.map(str::to_owned))?;
    let treasury_before = stage.treasury()?;
    let mut report = KillMoneyReport {
        seed: args.seed,
        ..KillMoneyReport::default()
    };

    progress.begin("hosts buy, and the controller is killed");
    let enough = AtomicBool::new(false);
    let told = Mutex::new(BTreeMap::new());
    let bought = AtomicUsize::new(0);
    let killed = std::thread::scope(|scope| {
        let shoppers: Vec<_> = (0..)
            .zip(BUYERS)
            .map(|(number, host)| {
                let shopper = Shopper {
                    stage: stage.without_controller(),
                    host,
                    port: 10_000 * (number + 1),
                    chance: Chance::of(args.seed, host, 0),
                    told: &told,
                    bought: &bought,
                };
                scope.spawn(|| shopper.shop(&enough))
            })
            .collect();
        let killed = killing(args, lab, stage, progress, &mut report, &bought);
        enough.store(true, Ordering::Relaxed);
        for shopper in shoppers {
            match shopper.join() {
                Ok(done) => done?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        killed
    });
    killed?;
    report.told = told.into_inner();

    progress.begin("everything is settled, without anybody asking");
    let operator = stage.operator();
    let views = settled(&operator, &mut report)?;
    progress.begin("books, ledger and switches are compared");
    let audit = operator.audit()?;
    report.findings = audit.findings;
    report.asked_of_ledger = audit.asked_of_ledger;
    let accounts = operator.accounts()?;
    report.treasury_in_books = accounts.balance_of(|name| name == "treasury");
    report.owed_in_books = accounts.balance_of(|name| {
        ["held:", "refunds_due:", "credited:"]
            .iter()
            .any(|it| name.starts_with(it))
    });
    let addresses: Vec<String> = views
        .iter()
        .map(|view| view.quote.payment.pay_to.to_string())
        .collect();
    let ledger = stage.audit(&addresses, &[])?;
    let at_addresses = addresses.iter().filter_map(|it| ledger.balances.get(it));
    report.owed_on_ledger = at_addresses.sum();
    report.treasury_on_ledger = i64::try_from(stage.treasury()?)? - i64::try_from(treasury_before)?;
    report.left_on_switches = stage.paid_entries()?;
    Ok(report.judged())
}

/// Kills it, and starts it again, so many times.
fn killing<'a>(
    args: &KillMoneyArgs,
    lab: &'a Lab,
    stage: &mut Stage<'a>,
    progress: &Progress,
    report: &mut KillMoneyReport,
    bought: &AtomicUsize,
) -> anyhow::Result<()> {
    let mut chance = Chance::of(args.seed, "killer", 0);
    for kill in 1..=args.kills {
        std::thread::sleep(chance.millis(0, LONGEST_LIFE_MS));
        stage.kill_controller()?;
        report.kills = kill;
        if let Some(last) = stage.last_record_of_a_purchase()? {
            *report.killed_after.entry(last).or_default() += 1;
        }
        stage.start_controller(lab.info().switches.len())?;
        progress.tell(&format!(
            "killed {kill} of {} times, bought {}",
            args.kills,
            bought.load(Ordering::Relaxed)
        ));
    }
    Ok(())
}

/// Waits until nothing is open any more.
fn settled(
    operator: &Operator<'_>,
    report: &mut KillMoneyReport,
) -> anyhow::Result<Vec<ReservationView>> {
    let deadline = Instant::now() + SETTLING;
    loop {
        let views = operator.reservations()?;
        let paid: Vec<_> = views.iter().filter(|view| is_paid(view)).collect();
        report.purchases = paid.len();
        report.served = paid.iter().filter(|view| view.active_at.is_some()).count();
        report.sent_back = views.iter().map(|view| view.other_refunds.len()).sum();
        let open = views.iter().filter(|view| is_open(view));
        report.unsettled = open.map(|view| view.id.clone()).collect();
        if report.unsettled.is_empty() || Instant::now() > deadline {
            return Ok(views);
        }
        std::thread::sleep(PAUSE);
    }
}

fn is_paid(view: &ReservationView) -> bool {
    view.payment.as_ref().is_some_and(|it| it.amount.is_some())
}

/// Whether money of it is on its way, or will be.
fn is_open(view: &ReservationView) -> bool {
    let is_final =
        |transfer: &payflow_controller::core::document::TransferView| transfer.checkpoint.is_some();
    let settles = view.settlement.as_ref().is_some_and(is_final);
    is_paid(view) && !settles || view.ended_by.is_none() || !view.other_refunds.iter().all(is_final)
}

/// A host that buys as long as it may, and does what a person would: the same command again when nobody answers.
struct Shopper<'a> {
    stage: Stage<'a>,
    host: &'static str,
    port: u16,
    chance: Chance,
    told: &'a Mutex<BTreeMap<i32, u32>>,
    bought: &'a AtomicUsize,
}

impl Shopper<'_> {
    fn shop(mut self, enough: &AtomicBool) -> anyhow::Result<()> {
        while !enough.load(Ordering::Relaxed) {
            self.port += 1;
            let port = self.port.to_string();
            let seconds = format!("{}s", self.chance.between(1, 5));
            let words = [
                "reserve", "--to", TO, "--udp", &port, "--rate", "1Mbit", "--for", &seconds,
            ];
            let Some(view) = self.ask(&words, enough)? else {
                continue;
            };
            self.bought.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(self.chance.millis(0, 1_500));
            match self.chance.between(0, 3) {
                0 => drop(self.ask(&["cancel", &view.id], enough)?),
                1 => drop(self.ask(&["change", &view.id, "--rate", "2Mbit"], enough)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// One command, until somebody answers; what it printed, if it did what was asked.
    fn ask(
        &mut self,
        words: &[&str],
        enough: &AtomicBool,
    ) -> anyhow::Result<Option<ReservationView>> {
        loop {
            let done = self
                .stage
                .payflow(self.host, &[&["--json"], words].concat())?;
            *self.told.lock().entry(done.status).or_default() += 1;
            match done.status {
                0 => {
                    let view = serde_json::from_str(&done.stdout).with_context(|| {
                        format!("what payflow {} printed: {}", words.join(" "), done.stdout)
                    })?;
                    return Ok(Some(view));
                }
                // An open payment is taken up again by the same command.
                OPEN => {}
                REFUSED => return Ok(None),
                2 => bail!("payflow {}: {}", words.join(" "), done.stderr),
                _ if enough.load(Ordering::Relaxed) => return Ok(None),
                _ => {}
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl KillMoneyReport {
    /// Fills `bars` and `passed` from the figures.
    #[must_use]
    pub fn judged(mut self) -> Self {
        let nothing = |list: &[String]| match list {
            [] => "nothing".to_owned(),
            some => some.join("; "),
        };
        self.bars = vec![
            Bar::new(
                "what was paid for is settled",
                format!("all of {}", self.purchases),
                format!("{} open", self.unsettled.len()),
                self.purchases > 0 && self.unsettled.is_empty(),
            ),
            Bar::new(
                "somebody was served",
                "more than nobody",
                format!("{} of {}", self.served, self.purchases),
                self.served > 0,
            ),
            Bar::new(
                "the audit finds",
                "nothing",
                nothing(&self.findings),
                self.findings.is_empty() && self.asked_of_ledger > 0,
            ),
            Bar::new(
                "the treasury on the ledger",
                format!("{} nanos, as in the books", self.treasury_in_books),
                format!("{} nanos", self.treasury_on_ledger),
                self.treasury_on_ledger == self.treasury_in_books,
            ),
            Bar::new(
                "what lies at receive addresses",
                format!("{} nanos, as in the books", self.owed_in_books),
                format!("{} nanos", self.owed_on_ledger),
                i64::try_from(self.owed_on_ledger) == Ok(self.owed_in_books),
            ),
            Bar::new(
                "left on the switches",
                "nothing",
                self.left_on_switches.to_string(),
                self.left_on_switches == 0,
            ),
        ];
        self.passed = self.bars.iter().all(|bar| bar.passed);
        self
    }

    /// For a terminal.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut table = Table::new(["killed after", "times"]);
        for (record, times) in &self.killed_after {
            table.row([record.clone(), times.to_string()]);
        }
        format!(
            "{table}\n{} kills, {} purchases, {} payments sent back; hosts were told {:?}\n",
            self.kills, self.purchases, self.sent_back, self.told
        )
    }
}
