//! Prices by the time of day.

use super::{Factor, charge::Course, tariff::Tariff};
use crate::{
    class::Class,
    units::{SoldRate, Window},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

const DAY_MINUTES: u16 = 24 * 60;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = DAY_MINUTES as u64 * MINUTE_MS;
/// No place on Earth is further from UTC: fourteen hours.
const MOST_OFFSET_MINUTES: i16 = 14 * 60;
/// The highest factor of a period, per mille.
pub const MOST_FACTOR_PER_MILLE: u32 = 1_000_000;

/// A minute of the day, from `00:00` to `24:00`, its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MinuteOfDay(u16);

impl MinuteOfDay {
    /// So many minutes after midnight; `None` above 1440.
    pub const fn new(minutes: u16) -> Option<Self> {
        if minutes <= DAY_MINUTES {
            Some(MinuteOfDay(minutes))
        } else {
            None
        }
    }

    /// Minutes after midnight.
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

impl fmt::Display for MinuteOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// Not a time of the day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time of the day: write \"HH:MM\", from \"00:00\" to \"24:00\"")]
pub struct ParseMinuteError(String);

impl FromStr for MinuteOfDay {
    type Err = ParseMinuteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let two = |digits: &str| {
            let plain = digits.len() == 2 && digits.bytes().all(|it| it.is_ascii_digit());
            plain.then(|| digits.parse::<u16>().ok()).flatten()
        };
        text.split_once(':')
            .and_then(|(hours, minutes)| Some((two(hours)?, two(minutes).filter(|it| *it < 60)?)))
            .and_then(|(hours, minutes)| MinuteOfDay::new(hours * 60 + minutes))
            .ok_or_else(|| ParseMinuteError(text.to_owned()))
    }
}

impl TryFrom<String> for MinuteOfDay {
    type Error = ParseMinuteError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MinuteOfDay> for String {
    fn from(minute: MinuteOfDay) -> Self {
        minute.to_string()
    }
}

/// A part of the day and its prices: either a factor, or prices of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// Its first minute.
    pub from: MinuteOfDay,
    /// The first minute after it. Before `from` for a period that lies across midnight.
    pub to: MinuteOfDay,
    /// What the usual prices are multiplied by, in thousandths; rounded up to a whole nano for 1 Mbit/s and one second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor_per_mille: Option<u32>,
    /// For 1 Mbit/s of the steady class, for one second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steady_nanos_per_mbit_second: Option<u64>,
    /// For 1 Mbit/s of the elastic class, for one second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elastic_nanos_per_mbit_second: Option<u64>,
}

impl Period {
    /// Without the `minimum_nanos` of `usual`, which is that of the whole reservation.
    fn tariff(&self, usual: &Tariff) -> Result<Tariff, PeriodProblem> {
        let prices = (
            self.steady_nanos_per_mbit_second,
            self.elastic_nanos_per_mbit_second,
        );
        let (steady, elastic) = match (self.factor_per_mille, prices) {
            (Some(0), (None, None)) => return Err(PeriodProblem::FactorZero),
            (Some(factor), (None, None)) if factor > MOST_FACTOR_PER_MILLE => {
                return Err(PeriodProblem::FactorTooHigh(factor));
            }
            (Some(factor), (None, None)) => {
                let times = |price: u64| {
                    let price = (u128::from(price) * u128::from(factor)).div_ceil(1_000);
                    u64::try_from(price).map_err(|_| PeriodProblem::TooDear)
                };
                (
                    times(usual.steady_nanos_per_mbit_second)?,
                    times(usual.elastic_nanos_per_mbit_second)?,
                )
            }
            (None, (Some(steady), Some(elastic))) => (steady, elastic),
            (None, _) => return Err(PeriodProblem::NoPrice),
            (Some(_), _) => return Err(PeriodProblem::TwoPrices),
        };
        Ok(Tariff {
            steady_nanos_per_mbit_second: steady,
            elastic_nanos_per_mbit_second: elastic,
            minimum_nanos: 0,
        })
    }
}

/// What the operator says of prices by the time of day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeOfDay {
    usual: Tariff,
    utc_offset_minutes: i16,
    periods: Vec<Period>,
    /// The day from midnight on: up to which minute, at which prices. The last one ends the day.
    day: Vec<(MinuteOfDay, Tariff)>,
}

/// What cannot be a schedule of a day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// No periods.
    #[error("there is no period; write at least one, for example from \"00:00\" to \"24:00\"")]
    NoPeriods,
    /// More than fourteen hours.
    #[error("an offset of {0} minutes from UTC is more than fourteen hours")]
    Offset(i16),
    /// One period is wrong by itself.
    #[error("the period from {from} to {to} {problem}")]
    Period {
        /// Where it begins.
        from: MinuteOfDay,
        /// Where it ends.
        to: MinuteOfDay,
        /// What is wrong.
        problem: PeriodProblem,
    },
    /// Minutes without a price.
    #[error("no period has the time from {from} to {to}")]
    Gap {
        /// The first such minute.
        from: MinuteOfDay,
        /// The first minute that has a price again.
        to: MinuteOfDay,
    },
    /// Minutes with two prices.
    #[error("two periods have the time from {from} to {to}")]
    Overlap {
        /// The first such minute.
        from: MinuteOfDay,
        /// The first minute after them.
        to: MinuteOfDay,
    },
}

/// What is wrong with a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodProblem {
    /// It takes no time.
    #[error("takes no time; a whole day is from \"00:00\" to \"24:00\"")]
    Empty,
    /// Its factor is zero.
    #[error("has a factor of zero; where nothing is to be paid, write prices of zero")]
    FactorZero,
    /// Its factor is above [`MOST_FACTOR_PER_MILLE`].
    #[error("has a factor of {0} per mille, above {MOST_FACTOR_PER_MILLE}")]
    FactorTooHigh(u32),
    /// Prices of one class alone, or none.
    #[error("needs factor_per_mille, or a price for each class")]
    NoPrice,
    /// A factor and prices.
    #[error("has both factor_per_mille and prices of its own")]
    TwoPrices,
    /// Price times factor do not fit 64 bits.
    #[error("has prices higher than 64 bits can say")]
    TooDear,
}

impl TimeOfDay {
    /// Periods that have every minute of the day once, in any order. The day begins so many minutes before that of UTC (60
    /// for Central European Time; daylight saving is the operator's to follow).
    ///
    /// # Errors
    ///
    /// If a period is wrong by itself, minutes have no price or two, or the offset is above fourteen hours.
    pub fn new(
        usual: Tariff,
        utc_offset_minutes: i16,
        periods: Vec<Period>,
    ) -> Result<Self, ScheduleError> {
        if utc_offset_minutes.unsigned_abs() > MOST_OFFSET_MINUTES.unsigned_abs() {
            return Err(ScheduleError::Offset(utc_offset_minutes));
        }
        let (midnight, end_of_day) = (MinuteOfDay(0), MinuteOfDay(DAY_MINUTES));
        let mut stretches = Vec::new();
        for period in &periods {
            let Period { from, to, .. } = *period;
            let wrong = |problem| ScheduleError::Period { from, to, problem };
            let tariff = period.tariff(&usual).map_err(wrong)?;
            if from == to || (from == end_of_day && to == midnight) {
                return Err(wrong(PeriodProblem::Empty));
            } else if from < to {
                stretches.push((from, to, tariff));
            } else {
                // Across midnight; one of the two may be nothing.
                let two = [(from, end_of_day, tariff), (midnight, to, tariff)];
                stretches.extend(two.into_iter().filter(|(from, to, _)| from < to));
            }
        }
        stretches.sort_by_key(|(from, to, _)| (*from, *to));
        let mut day: Vec<(MinuteOfDay, Tariff)> = Vec::new();
        let mut told = midnight;
        for (from, to, tariff) in stretches {
            if told < from {
                return Err(ScheduleError::Gap {
                    from: told,
                    to: from,
                });
            }
            if from < told {
                let to = to.min(told);
                return Err(ScheduleError::Overlap { from, to });
            }
            told = to;
            day.push((to, tariff));
        }
        if told == midnight {
            return Err(ScheduleError::NoPeriods);
        }
        if told < end_of_day {
            return Err(ScheduleError::Gap {
                from: told,
                to: end_of_day,
            });
        }
        Ok(TimeOfDay {
            usual,
            utc_offset_minutes,
            periods,
            day,
        })
    }

    /// The prices that factors are of, and the minimum.
    pub const fn usual(&self) -> &Tariff {
        &self.usual
    }

    /// By how many minutes the day begins before that of UTC.
    pub const fn utc_offset_minutes(&self) -> i16 {
        self.utc_offset_minutes
    }

    /// As they were given.
    pub fn periods(&self) -> &[Period] {
        &self.periods
    }

    /// The exact price of a window.
    pub(super) fn course(
        &self,
        class: Class,
        rate: SoldRate,
        window: Window,
        base: Factor,
    ) -> Option<Course> {
        let mut course = Course::default();
        let mut left = window.millis();
        // Of the local day, in milliseconds: at most two days in sum.
        let offset_ms = i64::from(self.utc_offset_minutes) * MINUTE_MS.cast_signed();
        let local = (window.start().millis() % DAY_MS).cast_signed() + offset_ms;
        let mut at = local.rem_euclid(DAY_MS.cast_signed()).cast_unsigned();
        let mut ends = self.day.iter().cycle();
        while left > 0 {
            let (to, tariff) = ends.next()?;
            let until = u64::from(to.minutes()) * MINUTE_MS;
            if until <= at {
                continue;
            }
            let ms = left.min(until - at);
            let per_mbit_second = base.of(tariff.price(class)?)?;
            course.push(ms, u128::from(rate.kbps()) * u128::from(per_mbit_second));
            left -= ms;
            at = if until == DAY_MS { 0 } else { until };
        }
        Some(course)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::units::Time;
    use proptest::prelude::*;

    const USUAL: Tariff = Tariff {
        steady_nanos_per_mbit_second: 1_001,
        elastic_nanos_per_mbit_second: 800,
        minimum_nanos: 0,
    };

    fn period(from: &str, to: &str, factor: u32) -> Period {
        Period {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            factor_per_mille: Some(factor),
            steady_nanos_per_mbit_second: None,
            elastic_nanos_per_mbit_second: None,
        }
    }

    fn problem(periods: &[Period]) -> String {
        TimeOfDay::new(USUAL, 0, periods.to_vec())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn times_of_the_day_are_read_as_they_are_shown() {
        for text in ["00:00", "09:05", "23:59", "24:00"] {
            assert_eq!(text.parse::<MinuteOfDay>().unwrap().to_string(), text);
        }
        for text in [
            "", "9:00", "24:01", "12:60", "12", "-1:00", "+1:00", "12:0x", "99:99",
        ] {
            assert!(text.parse::<MinuteOfDay>().is_err(), "accepted {text:?}");
        }
    }

    #[test]
    fn every_minute_of_the_day_has_one_price() {
        assert!(problem(&[]).starts_with("there is no period"));
        assert_eq!(
            problem(&[period("08:00", "24:00", 1_000)]),
            "no period has the time from 00:00 to 08:00"
        );
        assert_eq!(
            problem(&[
                period("18:00", "08:00", 500),
                period("08:00", "17:59", 1_000)
            ]),
            "no period has the time from 17:59 to 18:00"
        );
        assert_eq!(
            problem(&[
                period("00:00", "12:00", 500),
                period("12:00", "23:00", 1_000)
            ]),
            "no period has the time from 23:00 to 24:00"
        );
        assert_eq!(
            problem(&[
                period("22:00", "08:01", 500),
                period("08:00", "22:00", 1_000)
            ]),
            "two periods have the time from 08:00 to 08:01"
        );
        assert_eq!(
            problem(&[
                period("00:00", "24:00", 500),
                period("08:00", "22:00", 1_000)
            ]),
            "two periods have the time from 08:00 to 22:00"
        );
        assert!(problem(&[period("08:00", "08:00", 1)]).contains("takes no time"));
        assert!(problem(&[period("24:00", "00:00", 1)]).contains("takes no time"));
    }

    #[test]
    fn a_period_has_a_factor_or_prices_and_never_both() {
        let whole = |factor| period("00:00", "24:00", factor);
        assert!(problem(&[whole(0)]).contains("factor of zero"));
        assert!(problem(&[whole(1_000_001)]).contains("above 1000000"));
        let none = Period {
            factor_per_mille: None,
            ..whole(1)
        };
        assert!(problem(&[none]).contains("needs factor_per_mille"));
        let one = Period {
            steady_nanos_per_mbit_second: Some(5),
            ..none
        };
        assert!(problem(&[one]).contains("a price for each class"));
        let both = Period {
            elastic_nanos_per_mbit_second: Some(5),
            ..whole(1)
        };
        assert!(problem(&[both]).contains("both factor_per_mille and prices"));
        let dear = Tariff {
            steady_nanos_per_mbit_second: u64::MAX,
            ..USUAL
        };
        let error = TimeOfDay::new(dear, 0, vec![whole(1_001)]).unwrap_err();
        assert!(error.to_string().contains("higher than 64 bits"));
        assert_eq!(
            TimeOfDay::new(USUAL, -841, vec![whole(1)]),
            Err(ScheduleError::Offset(-841))
        );
        assert!(TimeOfDay::new(USUAL, i16::MIN, vec![whole(1)]).is_err());
    }

    /// Cuts of the day into periods, shifted so that one lies across midnight.
    fn schedule() -> impl Strategy<Value = TimeOfDay> {
        let cuts = prop::collection::btree_set(0..DAY_MINUTES, 1..6);
        (cuts, -840..=840_i16, any::<bool>()).prop_map(|(cuts, offset, own)| {
            let cuts: Vec<_> = cuts.into_iter().collect();
            let minute = |it: u16| MinuteOfDay::new(it).unwrap();
            let next = |index: usize| *cuts.get(index + 1).unwrap_or(&cuts[0]);
            let periods = cuts.iter().enumerate().map(|(index, from)| Period {
                from: minute(*from),
                to: minute(next(index)),
                factor_per_mille: (!own).then_some(100 + 7 * u32::from(*from)),
                steady_nanos_per_mbit_second: own.then_some(u64::from(*from)),
                elastic_nanos_per_mbit_second: own.then_some(3),
            });
            let mut periods: Vec<_> = periods.collect();
            if let [whole] = periods.as_mut_slice() {
                (whole.from, whole.to) = (minute(0), minute(DAY_MINUTES));
            }
            periods.reverse();
            TimeOfDay::new(USUAL, offset, periods).unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_window_costs_what_its_minutes_cost(schedule in schedule(), start in 0..4 * DAY_MS, minutes in 1..3_000_u64, elastic: bool) {
            let class = if elastic { Class::Elastic } else { Class::Steady };
            let start = start + 1_700_000_000_000;
            let window = Window::new(Time::from_millis(start), Time::from_millis(start + minutes * MINUTE_MS)).unwrap();
            let price_at = |ms: u64| {
                let minute = (i64::try_from(ms / MINUTE_MS).unwrap() + i64::from(schedule.utc_offset_minutes())).rem_euclid(1_440);
                let minute = MinuteOfDay::new(u16::try_from(minute).unwrap()).unwrap();
                let period = schedule.periods().iter().find(|it| {
                    if it.from < it.to { it.from <= minute && minute < it.to } else { it.from <= minute || minute < it.to }
                }).unwrap();
                let (own, usual) = if elastic {
                    (period.elastic_nanos_per_mbit_second, USUAL.elastic_nanos_per_mbit_second)
                } else {
                    (period.steady_nanos_per_mbit_second, USUAL.steady_nanos_per_mbit_second)
                };
                u128::from(own.unwrap_or_else(|| (usual * u64::from(period.factor_per_mille.unwrap())).div_ceil(1_000)))
            };
            let mut naive = 0;
            let mut at = start;
            while at < window.end().millis() {
                let until = ((at / MINUTE_MS + 1) * MINUTE_MS).min(window.end().millis());
                naive += u128::from(until - at) * 70 * price_at(at);
                at = until;
            }
            let course = schedule.course(class, SoldRate(70), window, Factor::ONE).unwrap();
            prop_assert_eq!(course.exact(), Some(naive));
        }
    }
}
