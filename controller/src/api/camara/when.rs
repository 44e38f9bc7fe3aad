//! Times as RFC 3339 has them, with a zone.

use payflow_payment::UnixMillis;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Writes a time, to the millisecond; `None` beyond the year 9999.
pub(super) fn written(at: UnixMillis) -> Option<String> {
    let nanos = i128::from(at.0) * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    at.format(&Rfc3339).ok()
}

/// Reads a time, rounded down to the millisecond; `None` for what is none, or was before 1970.
pub(super) fn read(text: &str) -> Option<UnixMillis> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let millis = at.unix_timestamp_nanos().div_euclid(1_000_000);
    u64::try_from(millis).ok().map(UnixMillis)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_have_a_zone_and_are_those_of_the_calendar() {
        assert_eq!(
            written(UnixMillis(0)).as_deref(),
            Some("1970-01-01T00:00:00Z")
        );
        let at = read("2024-06-01T13:00:00+01:00").unwrap();
        assert_eq!(written(at).as_deref(), Some("2024-06-01T12:00:00Z"));
        assert_eq!(read("2024-06-01T12:00:00"), None, "no zone");
        assert_eq!(read("1969-12-31T23:59:59Z"), None);
        assert_eq!(written(UnixMillis(u64::MAX)), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0..253_402_300_799_000_u64) {
            let at = UnixMillis(millis);
            prop_assert_eq!(read(&written(at).unwrap()), Some(at));
        }
    }
}
