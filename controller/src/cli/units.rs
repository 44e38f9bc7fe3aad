//! Rates, times and money as people write and read them.

use std::{str::FromStr, time::Duration};

use payflow_payment::Amount;
use payflow_qos::BitRate;

/// Nanos in an IOTA.
const NANOS: u64 = 1_000_000_000;

/// `10Mbit`, `1.5Gbit`, `500kbit`.
pub(super) fn parse_rate(text: &str) -> Result<BitRate, String> {
    match BitRate::from_str(text) {
        Ok(rate) if rate.bps() > 0 => Ok(rate),
        _ => Err("write a rate with its unit, such as 10Mbit, 1.5Gbit or 500kbit".to_owned()),
    }
}

/// `30s`, `5m`, `1h30m`, `2d`: whole seconds, at least one.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || "write a time with its unit, such as 30s, 5m, 1h30m or 2d; at least 1s".to_owned();
    let mut seconds = 0_u64;
    let mut rest = text;
    // From large to small, each at most once.
    let mut smaller_than = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.chars().next().ok_or_else(wrong)?;
        let length = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        if length >= smaller_than {
            return Err(wrong());
        }
        smaller_than = length;
        let part = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(length));
        seconds = part
            .and_then(|part| seconds.checked_add(part))
            .ok_or_else(wrong)?;
        rest = tail.get(unit.len_utf8()..).unwrap_or_default();
    }
    if seconds == 0 {
        Err(wrong())
    } else {
        Ok(Duration::from_secs(seconds))
    }
}

/// `0.5` or `0.5IOTA` in IOTA, `500000000nanos` in the smallest unit. Never rounds.
pub(super) fn parse_amount(text: &str) -> Result<Amount, String> {
    let wrong = || {
        "write an amount in IOTA, such as 0.5, or in the smallest unit, such as 500000000nanos"
            .to_owned()
    };
    let lower = text.trim().to_ascii_lowercase();
    let is_number =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(number) = lower
        .strip_suffix("nanos")
        .or_else(|| lower.strip_suffix("nano"))
    {
        let number = number.trim_end();
        return is_number(number)
            .then(|| number.parse().ok())
            .flatten()
            .map(Amount)
            .ok_or_else(wrong);
    }
    let number = lower.strip_suffix("iota").unwrap_or(&lower).trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    whole
        .checked_mul(NANOS)
        .and_then(|nanos| nanos.checked_add(fraction))
        .map(Amount)
        .ok_or_else(wrong)
}

/// Exact: `0.5 IOTA`, `12 IOTA`, `0.000000001 IOTA`.
pub(super) fn show_amount(amount: Amount) -> String {
    let (whole, fraction) = (amount.0 / NANOS, amount.0 % NANOS);
    if fraction == 0 {
        return format!("{whole} IOTA");
    }
    let digits = format!("{fraction:09}");
    format!("{whole}.{} IOTA", digits.trim_end_matches('0'))
}

/// Exact to the millisecond: `30 s`, `1.5 s`, `5 min`, `1 h 30 min`.
pub(super) fn show_millis(millis: u64) -> String {
    let (seconds, rest) = (millis / 1000, millis % 1000);
    if rest != 0 {
        let digits = format!("{rest:03}");
        return format!("{seconds}.{} s", digits.trim_end_matches('0'));
    }
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let text: Vec<_> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number} {unit}"))
        .collect();
    if text.is_empty() {
        "0 s".to_owned()
    } else {
        text.join(" ")
    }
}

/// Milliseconds since 1970 as people read them: `2026-11-28 04:01:49 UTC`.
pub(super) fn show_time(millis: u64) -> String {
    let seconds = millis / 1000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years from March to February, so that a leap day is the last of one: 400 of them have 146 097 days.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("1h30m", 5400),
            ("2d", 172_800),
            ("1d1h1m1s", 90_061),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for wrong in [
            "",
            "30",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "30 s",
            "1m1h",
            "1s1s",
            "99999999999999999999d",
            "1µ",
            "1y",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn money_is_read_exactly_or_not_at_all() {
        for (text, nanos) in [
            ("0.5", 500_000_000),
            ("0.5IOTA", 500_000_000),
            ("12 iota", 12_000_000_000),
            ("0.000000001", 1),
            ("7nanos", 7),
            ("1 nano", 1),
            ("18446744073.709551615", u64::MAX),
        ] {
            assert_eq!(parse_amount(text), Ok(Amount(nanos)), "{text}");
        }
        for wrong in [
            "",
            ".5",
            "1.",
            "-1",
            "+1",
            "1e3",
            "0.0000000001",
            "18446744073.709551616",
            "1.5nanos",
            "1 EUR",
            "٣",
            "nanos",
        ] {
            assert!(parse_amount(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_needs_its_unit() {
        assert_eq!(parse_rate("10Mbit"), Ok(BitRate(10_000_000)));
        for wrong in ["10", "0Mbit", "-1Mbit", "10MB", ""] {
            assert!(parse_rate(wrong).unwrap_err().contains("10Mbit"), "{wrong}");
        }
    }

    #[test]
    fn times_are_shown_exactly() {
        let cases = [
            (0, "0 s"),
            (1500, "1.5 s"),
            (30_000, "30 s"),
            (5_400_000, "1 h 30 min"),
            (61_001, "61.001 s"),
        ];
        for (millis, text) in cases {
            assert_eq!(show_millis(millis), text);
        }
    }

    proptest! {
        #[test]
        fn an_amount_survives_being_shown(nanos: u64) {
            prop_assert_eq!(parse_amount(&show_amount(Amount(nanos))), Ok(Amount(nanos)));
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (millis, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (951_868_800_000, "2000-03-01 00:00:00 UTC"),
            (1_735_689_599_999, "2024-12-31 23:59:59 UTC"),
            (1_795_838_509_000, "2026-11-28 04:01:49 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(show_time(millis), text);
        }
    }
}
