//! Named scenarios: `payflow-lab run backbone`, `run crowd`, `run cut`, `run resize`, `run kill-money`.
//!
//! Each builds a network of its own, buys what it needs on the development ledger, measures, and writes `report.json` and
//! plots into its directory. Verdicts are computed from the figures beside them.

pub mod backbone;
pub mod ceiling;
pub mod crowd;
pub mod cut;
pub mod kill_money;
pub mod losses;
pub mod purchase;
pub mod resize;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::mininet::Lab;
use crate::report::{Bar, bars_table};
use crate::stage::Stage;

/// The scenarios.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// Paid flows between the places of a backbone, Abilene by default, against best effort everywhere
    Backbone(backbone::BackboneArgs),
    /// A hundred paid flows on one trunk, against ten times its capacity of best effort
    Crowd(crowd::CrowdArgs),
    /// A trunk under fifty paid flows is cut: who can move is back within a second, the others are credited
    Cut(cut::CutArgs),
    /// The controller is killed fifty times while hosts buy: every nano is where the books say, on the ledger as well
    KillMoney(kill_money::KillMoneyArgs),
    /// A paid flow changes from 5 to 10 Mbit/s and back without losing a packet
    Resize(resize::ResizeArgs),
}

/// Where a scenario writes.
#[derive(Clone, Debug, Args)]
pub struct Output {
    /// Where to write; target/lab/SCENARIO by default
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

impl Output {
    /// The directory, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn dir(&self, scenario: &str) -> anyhow::Result<PathBuf> {
        let dir = self
            .dir
            .clone()
            .unwrap_or_else(|| Path::new("target/lab").join(scenario));
        std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(dir)
    }
}

/// Runs a scenario, writes its report and prints the bars.
///
/// # Errors
/// When something could not be run or measured, or a bar was missed.
pub fn run(scenario: &Scenario) -> anyhow::Result<()> {
    match scenario {
        Scenario::Backbone(args) => {
            let dir = args.output.dir("backbone")?;
            let report = backbone::run(args, &dir)?;
            print!("{}", report.tables());
            finish(&dir, &report, &report.bars, report.passed)
        }
        Scenario::Crowd(args) => {
            let dir = args.output.dir("crowd")?;
            let report = crowd::run(args, &dir)?;
            print!("{}", report.tables());
            finish(&dir, &report, &report.bars(), report.passed)
        }
        Scenario::Cut(args) => {
            let dir = args.output.dir("cut")?;
            let report = cut::run(args, &dir)?;
            print!("{}", report.tables());
            finish(&dir, &report, &report.bars(), report.passed)
        }
        Scenario::KillMoney(args) => {
            let dir = args.output.dir("kill-money")?;
            let report = kill_money::run(args, &dir)?;
            print!("{}", report.tables());
            finish(&dir, &report, &report.bars, report.passed)
        }
        Scenario::Resize(args) => {
            let dir = args.output.dir("resize")?;
            let report = resize::run(args, &dir)?;
            finish(&dir, &report, &report.bars, report.passed)
        }
    }
}

fn finish(dir: &Path, report: &impl Serialize, bars: &[Bar], passed: bool) -> anyhow::Result<()> {
    let file = dir.join("report.json");
    std::fs::write(&file, serde_json::to_string_pretty(report)?)
        .with_context(|| format!("writing {}", file.display()))?;
    println!("\n{}", bars_table(bars));
    println!("report  {}", file.display());
    if passed {
        return Ok(());
    }
    bail!("a bar was missed; see the table")
}

/// A controller that is ready to sell, and hosts that the network knows, the buyers among them with money.
fn open<'a>(stage: &mut Stage<'a>, lab: &'a Lab, buyers: &[String]) -> anyhow::Result<()> {
    stage.start_controller(lab.info().switches.len())?;
    for host in &lab.info().hosts {
        stage.introduce(&host.name)?;
    }
    for host in buyers {
        stage.wallet(host)?;
    }
    lab.repair()?;
    Ok(())
}
