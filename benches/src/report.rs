//! Results as JSON, and what is needed to read them.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

use crate::program::version_of;

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Cores that may be used.
    pub cores: usize,
    /// The kernel.
    pub kernel: String,
    /// Processes that wanted to run in the last minute, on average, before the bench: above 0, it was not alone.
    pub load_before: f64,
    /// Which Open vSwitch it has, if any.
    pub open_vswitch: Option<String>,
    /// Which version of this project was measured.
    pub payflow: &'static str,
}

impl Machine {
    /// This one, now.
    #[must_use]
    pub fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let known = read("/proc/cpuinfo");
        let model = known
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, model)| model);
        let load = read("/proc/loadavg");
        let load = load.split(' ').next().and_then(|load| load.parse().ok());
        Self {
            cpu: model.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load.unwrap_or_default(),
            open_vswitch: version_of("ovs-vswitchd", &["--version"]),
            payflow: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// A figure that was to be reached.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// What is measured, and against what.
    pub what: String,
    /// What was measured.
    pub measured: f64,
    /// What it was to be.
    pub wanted: String,
    /// Whether it is.
    pub reached: bool,
}

impl Target {
    /// One that is reached from `wanted` upwards.
    #[must_use]
    pub fn at_least(what: impl Into<String>, measured: f64, wanted: f64) -> Self {
        Self {
            what: what.into(),
            measured: rounded(measured),
            wanted: format!("at least {wanted}"),
            reached: measured >= wanted,
        }
    }

    /// One that is reached up to `wanted`.
    #[must_use]
    pub fn at_most(what: impl Into<String>, measured: f64, wanted: f64) -> Self {
        Self {
            what: what.into(),
            measured: rounded(measured),
            wanted: format!("at most {wanted}"),
            reached: measured <= wanted,
        }
    }

    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let word = if self.reached { "reached" } else { "MISSED" };
        format!(
            "{word:<8} {}: {} ({})",
            self.what, self.measured, self.wanted
        )
    }
}

/// How long something took, most of the time and at worst but for one in a hundred.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half took no longer.
    pub p50_ms: f64,
    /// 99 % took no longer.
    pub p99_ms: f64,
}

impl Latency {
    /// Of these.
    #[must_use]
    pub fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let at = |per_mille: usize| {
            let index = (took.len() * per_mille / 1_000).min(took.len().saturating_sub(1));
            took.get(index)
                .map_or(0.0, |it| rounded(it.as_secs_f64() * 1e3))
        };
        Self {
            p50_ms: at(500),
            p99_ms: at(990),
        }
    }
}

/// The middle one; of an even number, the upper of the two. Zero of nothing.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Three digits that count.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(2 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

/// Writes the results of one bench to `file`; `bench-summary` puts them beside the others.
///
/// # Errors
/// The file cannot be written.
pub fn write(file: &Path, results: &impl Serialize) -> anyhow::Result<()> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    let json = serde_json::to_string_pretty(results)?;
    fs::write(file, json + "\n").with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_latencies_the_worst_is_the_99th() {
        let took = (1..=100).rev().map(Duration::from_millis).collect();
        let Latency { p50_ms, p99_ms } = Latency::of(took);
        assert_eq!((p50_ms, p99_ms), (51.0, 100.0));
        assert_eq!(Latency::of(Vec::new()).p99_ms, 0.0);
    }

    #[test]
    fn medians_and_digits() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 3.0);
        assert_eq!(median(Vec::new()), 0.0);
        assert_eq!(
            [0.0, 1.2345, 98_765.0, 0.012_345].map(rounded),
            [0.0, 1.23, 98_800.0, 0.0123]
        );
    }
}
