//! Requests at stated times, from a CSV file.
//!
//! The first line names the columns: `at_ms,from,to,rate_bps,duration_s` for inelastic applications, `at_ms,from,to,rate_bps,bytes`
//! for elastic ones. `from` and `to` are names of nodes.

use serde::Deserialize;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceRow {
    /// When, in milliseconds from the beginning.
    pub at_ms: u64,
    /// The node it sends from.
    pub from: String,
    /// The node it sends to.
    pub to: String,
    /// Frame bits per second.
    pub rate_bps: u64,
    /// How long, in seconds.
    #[serde(default)]
    pub duration_s: Option<u64>,
    /// How much is to be carried.
    #[serde(default)]
    pub bytes: Option<u64>,
}

/// No trace has more lines that are wrong and told.
const MOST_TOLD: usize = 20;

/// Reads all rows, in order of time.
///
/// # Errors
/// Every line that is wrong, up to twenty.
pub fn read(text: &str) -> Result<Vec<TraceRow>, Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for row in reader.deserialize::<TraceRow>() {
        match row {
            Ok(row) if row.rate_bps == 0 => {
                problems.push(format!("at {} ms: a rate of 0", row.at_ms))
            }
            Ok(row) if row.duration_s.is_some() == row.bytes.is_some() => {
                problems.push(format!("at {} ms: either duration_s or bytes", row.at_ms));
            }
            Ok(row) => rows.push(row),
            Err(error) => problems.push(error.to_string()),
        }
        if problems.len() >= MOST_TOLD {
            problems.push("and perhaps more".to_owned());
            break;
        }
    }
    if problems.is_empty() {
        rows.sort_by_key(|row| row.at_ms);
        Ok(rows)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_in_order_of_time_and_wrong_lines_are_told() {
        let rows =
            read("at_ms,from,to,rate_bps,bytes\n2000,a,b,1000000,500\n 1000, b, a, 2000000, 7\n");
        let rows = rows.expect("a trace");
        assert_eq!(
            (rows[0].at_ms, rows[0].from.as_str(), rows[0].bytes),
            (1_000, "b", Some(7))
        );
        let wrong = read("at_ms,from,to,rate_bps,bytes\nsoon,a,b,1,1\n5,a,b,0,1\n6,a,b,1,\n")
            .expect_err("wrong");
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong[0].contains("line: 2"), "{wrong:?}");
        let column = read("at_ms,from,to,rate,bytes\n1,a,b,1,1\n").expect_err("a column");
        assert!(column[0].contains("rate"), "{column:?}");
    }
}
