//! What became of the flows on a trunk that was cut, and whether it is enough.

use payflow_qos::{BitRate, Class, ClassPlan};
use serde::{Deserialize, Serialize};

use crate::report::Bar;
use crate::table::{Table, mbit, percent};
use crate::traffic::series::Series;

/// Share of its rate that a flow must get where it is served.
const RATE_SHARE: f64 = 0.99;
/// A bucket with less than this share of the rate is part of an outage.
const BUCKET_SHARE: f64 = 0.75;
/// What is credited may differ by so much from the outage that was measured; by twice that where the cut was silent.
const CREDIT_MS: u64 = 1_000;
/// How long after the trunk is back flows may still be without their rate, and it is called one outage, in milliseconds.
pub const RECOVERY_MS: u64 = 6_000;

/// How a trunk is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Both ends go down, and the switches say so.
    Down,
    /// The trunk swallows everything, and nobody says a word.
    Silent,
}

impl How {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::Down, Self::Silent];

    /// In file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Silent => "silent",
        }
    }

    /// Within which time from the cut a flow that can move must have its rate again, in milliseconds. A silent cut is noticed
    /// when discovery frames stay away: they come every second, and are waited for for two.
    #[must_use]
    pub fn limit_ms(self) -> u64 {
        match self {
            Self::Down => 1_000,
            Self::Silent => 5_000,
        }
    }

    fn credit_ms(self) -> u64 {
        match self {
            Self::Down => CREDIT_MS,
            // What it had swallowed before it was noticed is known from counters.
            Self::Silent => 2 * CREDIT_MS,
        }
    }
}

/// The whole report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CutReport {
    /// Version of Open vSwitch.
    pub switch_version: String,
    /// `kernel` or `userspace`.
    pub datapath: String,
    /// Capacity of the trunk that is cut.
    pub trunk_bps: u64,
    /// Capacity of the detour.
    pub detour_bps: u64,
    /// One entry for each way of cutting.
    pub cases: Vec<CutCase>,
    /// The verdict: every case passed.
    pub passed: bool,
}

/// One cut.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CutCase {
    /// How.
    pub how: How,
    /// Capacity of the detour.
    pub detour_bps: u64,
    /// When, Unix time in milliseconds.
    pub cut_unix_ms: u64,
    /// When the trunk was back, Unix time in milliseconds.
    pub back_unix_ms: u64,
    /// The paid flows.
    pub flows: Vec<CutFlow>,
    /// Every bar with its figure.
    pub bars: Vec<Bar>,
    /// All bars hold.
    pub passed: bool,
}

/// One paid flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CutFlow {
    /// Its name.
    pub name: String,
    /// What was paid for, frame bits per second.
    pub paid_bps: u64,
    /// What its meter tolerates at once, and a class buffer must have room for.
    pub burst_bytes: u64,
    /// Packets that left the sender.
    pub sent_packets: u64,
    /// Packets that arrived.
    pub received_packets: u64,
    /// Share of its rate before the cut, 0 to 1.
    pub before_share: f64,
    /// Its status while the trunk was cut.
    pub status: String,
    /// How often it had moved to another path by then.
    pub moves: u16,
    /// From the cut until it had its rate again for good, as received, in milliseconds; in steps of 100 ms, rounded up.
    pub outage_ms: u64,
    /// Share of its rate from the limit of the cut's kind until the trunk was back, 0 to 1.
    pub during_share: f64,
    /// Paid time that was not charged, in milliseconds.
    pub credited_ms: u64,
    /// Paid time bought, in milliseconds.
    pub duration_ms: u64,
    /// What was paid, in nanos.
    pub paid_nanos: u64,
    /// What came back on the ledger, in nanos.
    pub refunded_nanos: u64,
}

impl CutFlow {
    fn has_moved(&self) -> bool {
        self.status == "active" && self.moves > 0
    }

    /// Its share of the price for the time that was credited, in nanos, rounded down.
    fn due_nanos(&self) -> u64 {
        let due = u128::from(self.paid_nanos) * u128::from(self.credited_ms)
            / u128::from(self.duration_ms.max(1));
        u64::try_from(due).unwrap_or(u64::MAX)
    }
}

/// For how long from `cut_ms` on a flow was without its rate, looking at whole buckets until `end_ms`: until the end of the last
/// bucket with less than three quarters of it. All times are Unix milliseconds.
#[must_use]
pub fn outage_ms(series: &Series, rate_bps: u64, cut_ms: u64, end_ms: u64) -> u64 {
    let width = series.bucket_ms.max(1);
    let least = expected_bytes(rate_bps, width) * BUCKET_SHARE;
    let first = cut_ms / width;
    (first..end_ms / width)
        .rev()
        .find(|bucket| (bytes_in(series, *bucket) as f64) < least)
        .map_or(0, |bucket| ((bucket + 1) * width).saturating_sub(cut_ms))
}

/// Which share of its rate arrived in the whole buckets between two instants, Unix milliseconds.
#[must_use]
pub fn rate_share(series: &Series, rate_bps: u64, from_ms: u64, to_ms: u64) -> f64 {
    let width = series.bucket_ms.max(1);
    let buckets = from_ms.div_ceil(width)..to_ms / width;
    let span_ms = buckets.end.saturating_sub(buckets.start) * width;
    let bytes: u64 = buckets.map(|bucket| bytes_in(series, bucket)).sum();
    if span_ms == 0 {
        return 0.0;
    }
    bytes as f64 / expected_bytes(rate_bps, span_ms)
}

fn expected_bytes(rate_bps: u64, span_ms: u64) -> f64 {
    rate_bps as f64 * span_ms as f64 / 8_000.0
}

/// Bytes in a bucket, counted in widths since the Unix epoch; none where nothing was counted.
fn bytes_in(series: &Series, bucket: u64) -> u64 {
    let first = series.start_unix_ms / series.bucket_ms.max(1);
    bucket
        .checked_sub(first)
        .and_then(|index| series.bytes.get(usize::try_from(index).ok()?))
        .copied()
        .unwrap_or(0)
}

impl CutReport {
    /// All bars, with the cases they belong to.
    #[must_use]
    pub fn bars(&self) -> Vec<Bar> {
        self.cases
            .iter()
            .flat_map(|case| {
                case.bars.iter().map(|bar| Bar {
                    name: format!("{}: {}", case.how.name(), bar.name),
                    ..bar.clone()
                })
            })
            .collect()
    }

    /// Fills `passed`.
    #[must_use]
    pub fn judged(mut self) -> Self {
        self.passed = !self.cases.is_empty() && self.cases.iter().all(|case| case.passed);
        self
    }

    /// What became of the flows, for people.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut table = Table::new([
            "cut, flow",
            "paid Mbit/s",
            "status",
            "outage ms",
            "credited ms",
            "refunded nanos",
        ]);
        for case in &self.cases {
            for flow in &case.flows {
                table.row([
                    format!("{}, {}", case.how.name(), flow.name),
                    mbit(flow.paid_bps),
                    if flow.has_moved() {
                        "moved".to_owned()
                    } else {
                        flow.status.clone()
                    },
                    flow.outage_ms.to_string(),
                    flow.credited_ms.to_string(),
                    flow.refunded_nanos.to_string(),
                ]);
            }
        }
        table.to_string()
    }
}

impl CutCase {
    /// Fills `bars` and `passed` from the figures.
    #[must_use]
    pub fn judged(mut self) -> Self {
        self.bars = self.judge();
        self.passed = self.bars.iter().all(|bar| bar.passed);
        self
    }

    fn judge(&self) -> Vec<Bar> {
        let (moved, others): (Vec<&CutFlow>, Vec<&CutFlow>) =
            self.flows.iter().partition(|flow| flow.has_moved());
        let limit_ms = self.how.limit_ms();
        let credit_ms = self.how.credit_ms();
        let worst_ms = |flows: &[&CutFlow], of: &dyn Fn(&CutFlow) -> u64| {
            flows.iter().map(|flow| of(flow)).max().unwrap_or(0)
        };
        let least = |flows: &[&CutFlow], of: &dyn Fn(&CutFlow) -> f64| {
            flows.iter().map(|flow| of(flow)).fold(1.0, f64::min)
        };
        let all: Vec<&CutFlow> = self.flows.iter().collect();
        let before = least(&all, &|flow| flow.before_share);
        let during = least(&moved, &|flow| flow.during_share);
        let outage = worst_ms(&moved, &|flow| flow.outage_ms);
        let stranded = self.could_have_moved(&moved, &others);
        let suspended = others
            .iter()
            .filter(|flow| flow.status == "suspended")
            .count();
        let credit_off = worst_ms(&all, &|flow| flow.credited_ms.abs_diff(flow.outage_ms));
        let money_off = worst_ms(&all, &|flow| flow.refunded_nanos.abs_diff(flow.due_nanos()));
        vec![
            Bar::new(
                "before the cut everybody has their rate",
                percent(RATE_SHARE),
                format!("worst of {}: {}", all.len(), percent(before)),
                !all.is_empty() && before >= RATE_SHARE,
            ),
            Bar::new(
                "whoever fits on the detour moves, the dearest first",
                "nobody is left who would have had room",
                format!("{} moved, {stranded} would have had room", moved.len()),
                !moved.is_empty() && stranded == 0,
            ),
            Bar::new(
                "and is back at its rate",
                format!("within {limit_ms} ms"),
                format!("after {outage} ms at the latest"),
                !moved.is_empty() && outage <= limit_ms,
            ),
            Bar::new(
                "and keeps it",
                percent(RATE_SHARE),
                format!("worst: {}", percent(during)),
                !moved.is_empty() && during >= RATE_SHARE,
            ),
            Bar::new(
                "the others are suspended",
                format!("{} of {}", others.len(), others.len()),
                suspended.to_string(),
                // A detour that has room for everybody proves nothing.
                !others.is_empty() && suspended == others.len(),
            ),
            Bar::new(
                "the outage is credited",
                format!("to within {credit_ms} ms"),
                format!("{credit_off} ms off at most"),
                !all.is_empty() && credit_off <= credit_ms,
            ),
            Bar::new(
                "and refunded on the ledger",
                "its share of the price, to the nano",
                format!("{money_off} nanos off at most"),
                !all.is_empty() && money_off <= 1,
            ),
        ]
    }

    /// How many that did not move would each have had room on the detour beside those that did and are worth as much or more.
    fn could_have_moved(&self, moved: &[&CutFlow], others: &[&CutFlow]) -> usize {
        let plan = ClassPlan::for_capacity(BitRate(self.detour_bps));
        let rate = plan.sellable(Class::Steady).bps();
        let buffer = plan.sellable_burst(Class::Steady).0;
        let fits = |other: &&&CutFlow| {
            let before = || {
                moved
                    .iter()
                    .filter(|flow| flow.paid_nanos >= other.paid_nanos)
            };
            let taken_bps: u64 = before().map(|flow| flow.paid_bps).sum();
            let taken_bytes: u64 = before().map(|flow| flow.burst_bytes).sum();
            taken_bps + other.paid_bps <= rate && taken_bytes + other.burst_bytes <= buffer
        };
        others.iter().filter(fits).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 packets of 125 bytes a second, with a hole.
    fn series(hole: std::ops::Range<u64>) -> Series {
        let mut series = Series::new(100);
        for ms in (1_000_000..1_020_000).step_by(10) {
            if !hole.contains(&ms) {
                series.add(ms * 1_000_000, 125);
            }
        }
        series
    }

    #[test]
    fn an_outage_ends_with_the_last_bucket_below_the_rate() {
        let moved = series(1_005_020..1_005_430);
        let outage = |series: &Series| outage_ms(series, 100_000, 1_005_020, 1_013_000);
        assert_eq!(outage(&moved), 480);
        assert_eq!(outage(&series(0..0)), 0);
        // What never comes back lasts until the end, also where nothing more was counted.
        assert_eq!(outage(&series(1_005_020..2_000_000)), 7_980);
        let whole = rate_share(&moved, 100_000, 1_000_000, 1_005_000);
        assert!((whole - 1.0).abs() < 1e-9, "{whole}");
        let holed = rate_share(&moved, 100_000, 1_005_000, 1_006_000);
        assert!((holed - 0.59).abs() < 1e-9, "{holed}");
    }

    fn flow(number: u64, moved: bool) -> CutFlow {
        let outage_ms = if moved { 300 } else { 9_500 };
        CutFlow {
            name: format!("flow {number}"),
            paid_bps: 1_000_000,
            burst_bytes: 6_250,
            sent_packets: 2_000,
            received_packets: 1_900,
            before_share: 1.0,
            status: if moved { "active" } else { "suspended" }.to_owned(),
            moves: moved.into(),
            outage_ms,
            during_share: 1.0,
            credited_ms: outage_ms + 400,
            duration_ms: 60_000,
            paid_nanos: 6_000_000,
            refunded_nanos: (outage_ms + 400) * 100,
        }
    }

    fn good() -> CutCase {
        let mut flows: Vec<_> = (0..18).map(|number| flow(number, true)).collect();
        flows.extend((18..25).map(|number| flow(number, false)));
        CutCase {
            how: How::Down,
            detour_bps: 20_000_000,
            cut_unix_ms: 0,
            back_unix_ms: 0,
            flows,
            bars: Vec::new(),
            passed: false,
        }
    }

    #[test]
    fn every_figure_that_misses_its_bar_is_seen() {
        let case = good().judged();
        assert!(case.passed, "{:?}", case.bars);
        let spoilers: [fn(&mut CutFlow); 9] = [
            |flow| flow.before_share = 0.98,
            |flow| flow.outage_ms = 1_100,
            |flow| flow.during_share = 0.98,
            |flow| flow.paid_bps = 0, // leaves room for another
            |flow| flow.status = "suspended".to_owned(),
            |flow| flow.moves = 0,
            |flow| flow.credited_ms = 1_400,
            |flow| flow.refunded_nanos += 2,
            |flow| flow.refunded_nanos -= 2,
        ];
        for (number, spoil) in spoilers.iter().enumerate() {
            let mut case = good();
            case.flows.first_mut().into_iter().for_each(spoil);
            assert!(!case.judged().passed, "spoiler {number} went unnoticed");
        }
        let mut case = good();
        case.flows.iter_mut().rev().take(1).for_each(|flow| {
            flow.paid_nanos *= 2;
            flow.refunded_nanos *= 2;
        });
        assert!(!case.judged().passed, "a dearer one was left behind");
        let mut case = good();
        case.flows.retain(CutFlow::has_moved);
        assert!(!case.judged().passed, "nobody was left behind");
        let mut case = good();
        for flow in case.flows.iter_mut().filter(|flow| !flow.has_moved()) {
            flow.credited_ms = 0;
            flow.refunded_nanos = 0;
        }
        assert!(!case.judged().passed, "nothing was credited");
    }
}
