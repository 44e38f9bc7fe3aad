//! Rates, sizes, instants and windows: integers with units, every rounding stated.
//!
//! All of them are plain integers in JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A rate in bits per second, counted over Ethernet frames as a switch counts them: headers
/// included, preamble, gap and check sequence not.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BitRate(pub u64);

impl BitRate {
    /// Bits per second.
    pub const fn bps(self) -> u64 {
        self.0
    }

    /// The rate as it is sold, booked, priced and metered: whole kbit/s (`OFPMF_KBPS`, OpenFlow 1.3
    /// `ofp_meter_band_header.rate`), rounded up once, here and nowhere else, so that admission and
    /// the switch never disagree. `None` above 4.29 Tbit/s, where the meter's 32-bit field ends.
    pub fn to_sold(self) -> Option<SoldRate> {
        u32::try_from(self.0.div_ceil(1_000)).ok().map(SoldRate)
    }
}

/// Exact: the largest unit that leaves a whole number (`10Mbit/s`, `1500kbit/s`, `1bit/s`).
impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = RATE_UNITS
            .into_iter()
            .find(|(unit, _)| self.0 != 0 && self.0.is_multiple_of(*unit))
            .unwrap_or((1, "bit"));
        write!(f, "{}{name}/s", self.0 / unit)
    }
}

/// Reads `10Mbit`, `10Mbit/s`, `1.5Gbit`, `500 kbit/s`, `64000bit`. Units are decimal, and their
/// case does not matter. A fraction that is not a whole number of bit/s is an error, not a rounding;
/// so is a number without a unit.
impl FromStr for BitRate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseRateError {
            text: text.to_owned(),
        };
        let lower = text.trim().to_ascii_lowercase();
        let bare = lower.strip_suffix("/s").unwrap_or(&lower);
        let split = bare
            .find(|c: char| c.is_ascii_alphabetic())
            .ok_or_else(error)?;
        let (number, unit) = bare.split_at(split);
        let unit = RATE_UNITS
            .into_iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(unit))
            .map(|(factor, _)| factor)
            .ok_or_else(error)?;
        decimal_times(number.trim(), unit)
            .map(BitRate)
            .ok_or_else(error)
    }
}

/// Largest first: the order in which [`BitRate`] tries them for display.
const RATE_UNITS: [(u64, &str); 4] = [
    (1_000_000_000, "Gbit"),
    (1_000_000, "Mbit"),
    (1_000, "kbit"),
    (1, "bit"),
];

/// `number * factor`, for a decimal number, if that is whole and fits.
fn decimal_times(number: &str, factor: u64) -> Option<u64> {
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = number
        .split_once('.')
        .map_or((number, None), |(w, f)| (w, Some(f)));
    let mut total = digits(whole)
        .then_some(whole)?
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)?;
    if let Some(fraction) = fraction {
        let parts = digits(fraction).then_some(fraction)?.parse::<u64>().ok()?;
        let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let scaled = parts.checked_mul(factor)?;
        total = total.checked_add(scaled.is_multiple_of(scale).then(|| scaled / scale)?)?;
    }
    Some(total)
}

/// A text that is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a rate: write for example 500kbit, 10Mbit/s or 1.5Gbit")]
pub struct ParseRateError {
    /// What was given.
    pub text: String,
}

/// A rate as it is sold: whole kbit/s (1000 bit/s) of frames. Made by [`BitRate::to_sold`].
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct SoldRate(pub u32);

impl SoldRate {
    /// Bits per second.
    pub const fn bps(self) -> u64 {
        self.0 as u64 * 1_000
    }

    /// Thousands of bits per second, as an OpenFlow meter band takes them.
    pub const fn kbps(self) -> u32 {
        self.0
    }

    /// What a flow at this rate carries in `duration`. Rounds down: a byte counts once it is whole.
    pub fn carried_in(self, duration: Duration) -> Bytes {
        let bytes = u128::from(self.bps()).saturating_mul(duration.as_nanos()) / 8_000_000_000;
        Bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl From<SoldRate> for BitRate {
    fn from(rate: SoldRate) -> Self {
        BitRate(rate.bps())
    }
}

impl fmt::Display for SoldRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BitRate::from(*self).fmt(f)
    }
}

/// A part of a whole, in thousandths: from nothing to all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PerMille(u16);

impl PerMille {
    /// All of it.
    pub const ALL: PerMille = PerMille(1_000);

    /// So many thousandths. `None` above 1000.
    pub const fn new(thousandths: u16) -> Option<Self> {
        if thousandths <= 1_000 {
            Some(PerMille(thousandths))
        } else {
            None
        }
    }

    /// Thousandths.
    pub const fn thousandths(self) -> u16 {
        self.0
    }

    /// This part of a rate, rounded down to whole kbit/s.
    #[must_use]
    pub const fn of(self, whole: SoldRate) -> SoldRate {
        // At most the whole: fits.
        SoldRate((whole.0 as u64 * self.0 as u64 / 1_000) as u32)
    }
}

impl TryFrom<u16> for PerMille {
    type Error = TooManyThousandths;

    fn try_from(thousandths: u16) -> Result<Self, Self::Error> {
        PerMille::new(thousandths).ok_or(TooManyThousandths(thousandths))
    }
}

impl From<PerMille> for u16 {
    fn from(part: PerMille) -> Self {
        part.0
    }
}

impl fmt::Display for PerMille {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per mille", self.0)
    }
}

/// More thousandths than a whole has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} per mille are more than there is; at most 1000")]
pub struct TooManyThousandths(pub u16);

/// A size in bytes.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// In a kbit (1000 bit), as a meter counts bursts.
    pub(crate) const PER_KBIT: u64 = 125;
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", self.0)
    }
}

/// An instant: milliseconds since the Unix epoch.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Time(u64);

impl Time {
    /// The instant `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Time(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The instant `duration` later. A fraction of a millisecond counts as a whole one, so that a
    /// deadline is never early; the result stops at the last instant that can be told.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Time(self.0.saturating_add(millis_up(duration)))
    }

    /// The instant `duration` earlier. A fraction of a millisecond counts as a whole one; the
    /// result stops at the epoch.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Time(self.0.saturating_sub(millis_up(duration)))
    }

    /// How long after `earlier` this instant is; zero if it is not after it.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

fn millis_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// A stretch of time, half-open: `start` belongs to it, `end` does not. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawWindow")]
pub struct Window {
    start: Time,
    end: Time,
}

impl Window {
    /// From `start` up to, not including, `end`. `None` unless `start < end`.
    pub fn new(start: Time, end: Time) -> Option<Self> {
        (start < end).then_some(Window { start, end })
    }

    /// `duration` from `start` on. `None` if that is empty.
    pub fn lasting(start: Time, duration: Duration) -> Option<Self> {
        Window::new(start, start.plus(duration))
    }

    /// The first instant.
    pub const fn start(self) -> Time {
        self.start
    }

    /// The first instant after it.
    pub const fn end(self) -> Time {
        self.end
    }

    /// How long it lasts.
    pub fn duration(self) -> Duration {
        self.end.since(self.start)
    }

    /// How long it lasts, in milliseconds.
    pub const fn millis(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether the instant belongs to it.
    pub fn contains(self, at: Time) -> bool {
        self.start <= at && at < self.end
    }

    /// Whether all of `inner` belongs to it.
    pub fn covers(self, inner: Window) -> bool {
        self.start <= inner.start && inner.end <= self.end
    }

    /// Whether some instant belongs to both. Windows that only touch do not overlap.
    pub fn overlaps(self, other: Window) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// A window as it is read, before it is known to be one.
#[derive(Deserialize)]
struct RawWindow {
    start: Time,
    end: Time,
}

impl TryFrom<RawWindow> for Window {
    type Error = EmptyWindow;

    fn try_from(raw: RawWindow) -> Result<Self, Self::Error> {
        Window::new(raw.start, raw.end).ok_or(EmptyWindow {
            start: raw.start,
            end: raw.end,
        })
    }
}

/// A window that does not end after its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a window from {start} to {end} is empty")]
pub struct EmptyWindow {
    /// Its start.
    pub start: Time,
    /// Its end, not after the start.
    pub end: Time,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_are_read_in_every_common_spelling() {
        for (text, bps) in [
            ("10Mbit", 10_000_000),
            ("10Mbit/s", 10_000_000),
            ("500kbit", 500_000),
            ("500 kbit/s", 500_000),
            ("1Gbit", 1_000_000_000),
            ("1.5gbit", 1_500_000_000),
            ("64000bit", 64_000),
            ("0bit", 0),
        ] {
            assert_eq!(text.parse(), Ok(BitRate(bps)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_rate_is_an_error_and_never_a_rounding() {
        for text in [
            "",
            "10",
            "Mbit",
            "-1Mbit",
            "+1Mbit",
            "1e3bit",
            "0.5bit",
            "1.Mbit",
            ".5Mbit",
            "1MB",
            "1Mbit/h",
            "99999999999Gbit",
        ] {
            assert!(text.parse::<BitRate>().is_err(), "accepted {text:?}");
        }
    }

    #[test]
    fn a_rate_is_sold_in_whole_kbit_rounded_up_once() {
        assert_eq!(BitRate(0).to_sold(), Some(SoldRate(0)));
        assert_eq!(BitRate(1).to_sold(), Some(SoldRate(1)));
        assert_eq!(BitRate(1_000).to_sold(), Some(SoldRate(1)));
        assert_eq!(BitRate(1_001).to_sold(), Some(SoldRate(2)));
        assert_eq!(
            BitRate(4_294_967_295_000).to_sold(),
            Some(SoldRate(u32::MAX))
        );
        assert_eq!(BitRate(4_294_967_295_001).to_sold(), None);
    }

    #[test]
    fn a_part_of_a_rate_rounds_down_and_is_never_more_than_the_whole() {
        let part = |thousandths| PerMille::new(thousandths).unwrap();
        assert_eq!(part(500).of(SoldRate(9_001)), SoldRate(4_500));
        assert_eq!(part(1).of(SoldRate(999)), SoldRate(0));
        assert_eq!(PerMille::ALL.of(SoldRate(u32::MAX)), SoldRate(u32::MAX));
        assert_eq!(PerMille::new(1_001), None);
        assert_eq!(serde_json::to_string(&part(250)).unwrap(), "250");
        assert!(serde_json::from_str::<PerMille>("1001").is_err());
    }

    #[test]
    fn parts_of_a_millisecond_make_deadlines_later_and_starts_earlier() {
        let t = Time::from_millis(1_000);
        assert_eq!(t.plus(Duration::from_micros(1)).millis(), 1_001);
        assert_eq!(t.minus(Duration::from_micros(1)).millis(), 999);
        assert_eq!(
            Time::from_millis(3).minus(Duration::from_secs(1)).millis(),
            0
        );
        assert_eq!(Time::from_millis(3).since(t), Duration::ZERO);
    }

    #[test]
    fn windows_are_half_open_and_never_empty() {
        let window = |a, b| Window::new(Time::from_millis(a), Time::from_millis(b));
        assert_eq!(window(5, 5), None);
        assert_eq!(window(6, 5), None);
        let w = window(5, 9).unwrap();
        assert!(w.contains(Time::from_millis(5)) && !w.contains(Time::from_millis(9)));
        assert!(!w.overlaps(window(9, 10).unwrap()) && w.overlaps(window(8, 10).unwrap()));
    }

    #[test]
    fn json_holds_integers_and_an_empty_window_is_refused() {
        let w = Window::new(Time::from_millis(5), Time::from_millis(9)).unwrap();
        assert_eq!(serde_json::to_string(&w).unwrap(), r#"{"start":5,"end":9}"#);
        assert_eq!(
            serde_json::from_str::<Window>(r#"{"start":5,"end":9}"#).unwrap(),
            w
        );
        assert!(serde_json::from_str::<Window>(r#"{"start":9,"end":9}"#).is_err());
        assert_eq!(serde_json::to_string(&BitRate(7)).unwrap(), "7");
    }

    proptest! {
        #[test]
        fn every_rate_is_read_back_as_it_was_shown(bps: u64) {
            prop_assert_eq!(BitRate(bps).to_string().parse(), Ok(BitRate(bps)));
        }
    }
}
