//! `bench-summary CRITERION_DIR PROGRAMS_DIR SUMMARY`: what was measured, as one JSON file and as a table.
//!
//! Reads the `estimates.json` that Criterion keeps beside every benchmark, `percentiles.json` where a benchmark has timed
//! every single operation as well, and what the benches of whole programs have written. Either directory may be missing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use payflow_benches::report::Machine;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// `estimates.json`, as far as it is read.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

/// Nanoseconds per iteration.
#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

/// `benchmark.json`, as far as it is read.
#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
    throughput: Option<Throughput>,
}

/// What one iteration does.
#[derive(Deserialize)]
struct Throughput {
    #[serde(rename = "Elements")]
    elements: Option<u64>,
}

/// Of single operations, in nanoseconds.
#[derive(Clone, Copy, Deserialize, Serialize)]
struct Percentiles {
    p50_ns: u64,
    p99_ns: u64,
    max_ns: u64,
    /// How many were timed.
    count: u64,
}

#[derive(Serialize)]
struct Summary {
    machine: Machine,
    benches: Vec<Line>,
    /// By name of the bench: whatever it has to say.
    programs: BTreeMap<String, serde_json::Value>,
}

#[derive(Serialize)]
struct Line {
    name: String,
    /// Per iteration.
    median_ns: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    elements_per_s: Option<f64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    percentiles: Option<Percentiles>,
}

fn main() -> anyhow::Result<()> {
    let [criterion, programs, output] = std::env::args_os()
        .skip(1)
        .map(PathBuf::from)
        .collect::<Vec<_>>()
        .try_into()
        .ok()
        .context("usage: bench-summary CRITERION_DIR PROGRAMS_DIR SUMMARY")?;
    let mut found = BTreeMap::new();
    if criterion.exists() {
        collect(&criterion, &mut found)?;
    }
    let programs = if programs.exists() {
        collect_programs(&programs)?
    } else {
        BTreeMap::new()
    };
    if found.is_empty() && programs.is_empty() {
        bail!("nothing was measured in {}", criterion.display());
    }
    let summary = Summary {
        machine: Machine::this(),
        benches: found.into_values().collect(),
        programs,
    };
    let json = serde_json::to_string_pretty(&summary)?;
    fs::write(&output, json + "\n").with_context(|| output.display().to_string())?;
    print(&summary);
    println!("\n{}", output.display());
    Ok(())
}

/// Every benchmark below `dir`, by name.
fn collect(dir: &Path, found: &mut BTreeMap<String, Line>) -> anyhow::Result<()> {
    let newest = dir.join("new");
    if newest.join("estimates.json").exists() {
        let line = Line::read(&newest)?;
        found.insert(line.name.clone(), line);
        return Ok(());
    }
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        }
    }
    Ok(())
}

/// Every `NAME.json` in `dir`.
fn collect_programs(dir: &Path) -> anyhow::Result<BTreeMap<String, serde_json::Value>> {
    let mut programs = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        if let Some(name) = name.filter(|_| path.extension().is_some_and(|it| it == "json")) {
            programs.insert(name, read(&path)?);
        }
    }
    Ok(programs)
}

impl Line {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let benchmark: Benchmark = read(&dir.join("benchmark.json"))?;
        let estimates: Estimates = read(&dir.join("estimates.json"))?;
        let median_ns = estimates.median.point_estimate;
        let elements = benchmark.throughput.and_then(|it| it.elements);
        let percentiles = dir.with_file_name("percentiles.json");
        Ok(Self {
            name: benchmark.full_id,
            median_ns,
            elements_per_s: elements.map(|count| count as f64 * 1e9 / median_ns),
            percentiles: percentiles
                .exists()
                .then(|| read(&percentiles))
                .transpose()?,
        })
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

fn print(summary: &Summary) {
    let Machine { cpu, cores, .. } = &summary.machine;
    println!("\n{cpu}, {cores} cores\n");
    println!(
        "{:<48} {:>12} {:>12} {:>12}",
        "bench", "median", "p99", "per second"
    );
    for line in &summary.benches {
        let p99 = line
            .percentiles
            .map_or(String::new(), |it| time(it.p99_ns as f64));
        let rate = line.elements_per_s.map_or(String::new(), thousands);
        println!(
            "{:<48} {:>12} {:>12} {:>12}",
            line.name,
            time(line.median_ns),
            p99,
            rate
        );
    }
    println!();
    for (name, results) in &summary.programs {
        for target in results["targets"].as_array().into_iter().flatten() {
            let word = if target["reached"] == true {
                "reached"
            } else {
                "MISSED"
            };
            println!(
                "{word:<8} {name}: {}",
                target["what"].as_str().unwrap_or_default()
            );
            println!(
                "{:<8} {} ({})",
                "",
                target["measured"],
                target["wanted"].as_str().unwrap_or_default()
            );
        }
    }
}

fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.1} ns"),
        ns if ns < 1e6 => format!("{:.2} us", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

/// `1 234 567`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_criterion_leaves_behind_is_found_at_any_depth() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("group/bench/new");
        fs::create_dir_all(&new).unwrap();
        fs::write(
            new.join("benchmark.json"),
            r#"{"group_id":"group","full_id":"group/bench","throughput":{"Elements":2}}"#,
        )
        .unwrap();
        fs::write(
            new.join("estimates.json"),
            r#"{"median":{"confidence_interval":{},"point_estimate":1000.0,"standard_error":0.1}}"#,
        )
        .unwrap();
        fs::write(
            dir.path().join("group/bench/percentiles.json"),
            r#"{"p50_ns":1,"p99_ns":9,"max_ns":10,"count":5}"#,
        )
        .unwrap();
        let mut found = BTreeMap::new();
        collect(dir.path(), &mut found).unwrap();
        let line = found.get("group/bench").unwrap();
        assert_eq!((line.median_ns, line.elements_per_s), (1000.0, Some(2e6)));
        assert_eq!(line.percentiles.unwrap().p99_ns, 9);
    }

    #[test]
    fn what_the_benches_of_programs_wrote_is_there_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("packet-in.json"), r#"{"targets":[]}"#).unwrap();
        fs::write(dir.path().join("notes.txt"), "not a result").unwrap();
        let found = collect_programs(dir.path()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["packet-in"]);
        fs::write(dir.path().join("broken.json"), "{").unwrap();
        assert!(collect_programs(dir.path()).is_err());
    }

    #[test]
    fn large_numbers_can_be_read() {
        assert_eq!(
            [7.0, 1_234.0, 123_456.4, 1_000_000.0].map(thousands),
            ["7", "1 234", "123 456", "1 000 000"]
        );
    }
}
