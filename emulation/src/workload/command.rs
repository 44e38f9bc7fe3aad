//! `payflow-lab simulate FILE`: a workload on the controller's core, in virtual time.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::results::Results;
use super::run::Run;
use super::{Places, Plan, Workload};
use crate::simulate::Seeds;
use crate::table::Table;
use crate::topology::{self, Reading, Wiring};

/// The most switches that a workload is played on.
const MOST_SWITCHES: usize = 1_000;

/// What to play, and on what.
pub struct Job {
    workload: Workload,
    places: Places,
}

impl Job {
    /// Reads both files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn load(file: &Path, topology: &str, reading: &Reading) -> anyhow::Result<Self> {
        let workload = Workload::load(file)?;
        let topology = topology::load(topology, reading)?;
        let wiring = Wiring::of(&topology, MOST_SWITCHES).map_err(anyhow::Error::msg)?;
        let places = Places::new(wiring, workload.hosts_per_switch);
        Ok(Self { workload, places })
    }

    /// Plays it under one seed; `tell` is given how many of how many events of the plan have happened.
    ///
    /// # Errors
    /// The workload does not fit the topology, or something is not as it must be.
    pub fn play(&self, seed: u64, tell: &dyn Fn(usize, usize)) -> anyhow::Result<Results> {
        let plan = Plan::new(&self.workload, &self.places, seed).map_err(|problems| {
            anyhow::anyhow!(
                "{} cannot be played on this topology:\n  {}",
                self.workload.name,
                problems.join("\n  ")
            )
        })?;
        let all = plan.events.len();
        let run =
            Run::new(&self.workload, &self.places, &plan, seed).map_err(anyhow::Error::msg)?;
        let outcome = run
            .run(&|done| tell(done, all))
            .map_err(|problem| anyhow::anyhow!("seed {seed}: {problem}"))?;
        Results::new(&self.workload, self.places.hosts.len(), seed, outcome)
    }
}

/// Runs one seed or many, tells what came of it, and writes it into a directory.
///
/// # Errors
/// What is wrong with the files, with a run, or with writing.
pub fn run(
    file: &Path,
    topology: &str,
    reading: &Reading,
    seeds: Seeds,
    dir: Option<PathBuf>,
) -> anyhow::Result<()> {
    let job = Job::load(file, topology, reading)?;
    let name = file.file_stem().unwrap_or_default();
    let dir = dir.unwrap_or_else(|| Path::new("target/lab/workload").join(name));
    let all = play_all(&job, seeds)?;
    for results in &all {
        let dir = if all.len() == 1 {
            dir.clone()
        } else {
            dir.join(format!("seed-{}", results.seed))
        };
        write(&dir, results)?;
    }
    let mut out = std::io::stdout().lock();
    for results in &all {
        write!(out, "{}", tables(results))?;
    }
    writeln!(out, "\nresults {}", dir.display())?;
    for results in &all {
        writeln!(out, "seed {}: digest {}", results.seed, results.digest)?;
    }
    Ok(())
}

fn play_all(job: &Job, seeds: Seeds) -> anyhow::Result<Vec<Results>> {
    let bar = ProgressBar::new(1_000 * seeds.count()).with_style(ProgressStyle::with_template(
        "{wide_bar} {percent} %, {eta} left",
    )?);
    let next = AtomicU64::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(seed) = seeds.nth(next.fetch_add(1, Ordering::Relaxed)) {
            let shown = AtomicU64::new(0);
            let tell = |event: usize, all: usize| {
                let per_mille = u64::try_from(event * 1_000 / all.max(1)).unwrap_or(1_000);
                let before = shown.swap(per_mille, Ordering::Relaxed);
                bar.inc(per_mille.saturating_sub(before));
            };
            done.push(job.play(seed, &tell));
            bar.inc(1_000_u64.saturating_sub(shown.load(Ordering::Relaxed)));
        }
        done
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let cores = cores.min(usize::try_from(seeds.count()).unwrap_or(usize::MAX));
    let all: Vec<anyhow::Result<Results>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    });
    bar.finish_and_clear();
    let mut all = all.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    all.sort_by_key(|results| results.seed);
    if all.is_empty() {
        bail!("there is no seed to play");
    }
    Ok(all)
}

fn write(dir: &Path, results: &Results) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let json = serde_json::to_string_pretty(results)? + "\n";
    let files = [
        ("report.json", &json),
        ("flows.csv", &results.flows_csv),
        ("samples.csv", &results.samples_csv),
        ("links.csv", &results.links_csv),
    ];
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// For people.
fn tables(results: &Results) -> String {
    let mut table = Table::new([
        "application",
        "requests",
        "served",
        "Mbit asked",
        "Mbit served",
        "earned nanos",
        "refunded nanos",
    ]);
    let total = ("all".to_owned(), &results.total);
    let each = results.applications.iter();
    for (name, figures) in each.map(|(name, it)| (name.clone(), it)).chain([total]) {
        table.row([
            name,
            figures.requests.to_string(),
            percent(figures.acceptance_ppm),
            figures.asked_mbit.to_string(),
            figures.served_mbit.to_string(),
            figures.earned_nanos.to_string(),
            figures.refunded_nanos.to_string(),
        ]);
    }
    let mut text = format!("\n{}, seed {}\n{table}", results.workload, results.seed);
    let endings = results.total.endings.iter();
    let endings: Vec<String> = endings
        .map(|(word, count)| format!("{word} {count}"))
        .collect();
    text += &format!("endings: {}\n", endings.join(", "));
    for (step, latency) in &results.latency {
        text += &format!(
            "{step}: median {} ms, 99 % within {} ms\n",
            latency.median_ms, latency.p99_ms
        );
    }
    let busiest = results.busiest_link.as_ref();
    let busiest = busiest.map(|(name, load)| format!(", {} on {name}", percent(*load)));
    text += &format!(
        "load: {} on average{}; fairness {}; {} moves; {} events\n",
        percent(results.mean_load_ppm),
        busiest.unwrap_or_default(),
        percent(results.fairness_ppm),
        results.moves,
        results.events
    );
    if let Some(least) = results.measured.iter().map(|it| it.least_ppm).min() {
        text += &format!(
            "in the switches' tables, every flow got at least {} of its rate, whenever it was looked at\n",
            percent(least)
        );
    }
    text
}

/// Millionths as per cent, rounded down to hundredths.
fn percent(ppm: u64) -> String {
    format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100)
}
