//! Metrics for Prometheus: what the shell around the core measures ([`Instruments`]), and what the core counts
//! ([`Figures`]), in one OpenMetrics text ([`exposition`]).
//!
//! Labels are of small, closed sets: states, kinds of problem, routes as they are written down in the API, status classes, and
//! switches and ports, of which there are as many as there is hardware. Never a flow, a reservation, an account, an address or a
//! key: those are without number, and nobody else's business.

mod exposition;
#[cfg(test)]
mod tests;

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

#[cfg(doc)]
use crate::core::figures::Figures;

pub use exposition::{CONTENT_TYPE, exposition};

/// Upper bounds in seconds: a commit takes from half a millisecond on a good disk to seconds on a bad day.
const COMMIT_BOUNDS: [f64; 11] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0,
];

/// Upper bounds in seconds: an answer from memory, one behind a commit, one that waits for a payment.
const REQUEST_BOUNDS: [f64; 12] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.5, 10.0, 60.0,
];

/// What driver and API measure. A clone is the same instruments.
#[derive(Clone, Debug)]
pub struct Instruments {
    commits: Histogram,
    records: Counter,
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
}

/// What is told apart of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    /// As the API's documentation writes it: `/v1/quotes/{id}`.
    route: &'static str,
    /// `2xx`, `3xx`, `4xx` or `5xx`.
    status: &'static str,
}

impl Default for Instruments {
    fn default() -> Self {
        Self {
            commits: Histogram::new(COMMIT_BOUNDS),
            records: Counter::default(),
            requests: Family::new_with_constructor(|| Histogram::new(REQUEST_BOUNDS)),
        }
    }
}

impl Instruments {
    /// So many records have become durable together.
    pub fn committed(&self, records: usize, took: Duration) {
        self.commits.observe(took.as_secs_f64());
        self.records
            .inc_by(u64::try_from(records).unwrap_or(u64::MAX));
    }

    /// A request was answered.
    pub fn answered(&self, route: &'static str, status: u16, took: Duration) {
        let status = match status {
            ..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.requests
            .get_or_create(&RequestLabels { route, status })
            .observe(took.as_secs_f64());
    }
}
