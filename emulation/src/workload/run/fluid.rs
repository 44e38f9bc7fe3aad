//! What flows get: each sends what it has bought, as a fluid through the tables, meters and queues of the switches in memory.

use std::time::Duration;

use payflow_controller::core::network::{Protocol, Selector};
use payflow_qos::Class;
use serde::Serialize;

use super::{Event, Run};
use crate::simulation::fabric::frames;
use crate::simulation::fluid::{Course, Stream, flow};

/// What was seen at one moment of all flows that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// When, in seconds.
    pub at_s: u64,
    /// How many flows there are.
    pub flows: usize,
    /// What they send together, bits per second.
    pub sent_bps: u64,
    /// What arrives of it.
    pub arrived_bps: u64,
    /// The part that arrives of the flow of which the least arrives, in millionths.
    pub least_ppm: u64,
    /// Jain's index of these parts, in millionths: a million is all alike.
    pub fairness_ppm: u64,
}

impl Run<'_> {
    pub(super) fn measure(&mut self) {
        let Some(every) = self.workload.measure else {
            return;
        };
        self.at(every, Event::Measure);
        let elapsed = self.elapsed();
        if elapsed <= self.workload.lasts {
            let measured = self.what_arrives(elapsed);
            self.measured.push(measured);
        }
    }

    fn what_arrives(&self, elapsed: Duration) -> Measured {
        let mut all = Vec::new();
        for number in &self.links.active {
            let Some(served) = self.flows.get(*number) else {
                continue;
            };
            let request = &served.request;
            let stations = &self.fabric.shape.stations;
            let (Some(from), Some(to)) = (stations.get(request.from), stations.get(request.to))
            else {
                continue;
            };
            let selector = Selector {
                source: from.address.into(),
                destination: to.address.into(),
                protocol: match request.amount.class() {
                    Class::Steady => Protocol::Udp,
                    _ => Protocol::Tcp,
                },
                source_port: None,
                destination_port: Some(request.port.into()),
            };
            let frame = frames::packet(&selector, from.mac, to.mac, 0);
            let course = Course::of(&self.fabric, from.jack, &frame);
            let stream = Stream {
                from: from.jack,
                frame,
                // Exact: rates are far below 2^52.
                offered: served.rate_bps as f64,
            };
            all.push((stream, course, to.jack));
        }
        let streams: Vec<_> = all
            .iter()
            .map(|(stream, course, _)| (stream, course))
            .collect();
        let rates = flow(&self.fabric, &streams);
        let (mut sent, mut arrived, mut shares) = (0.0, 0.0, Vec::new());
        for ((stream, course, end), rates) in all.iter().zip(rates) {
            let last = course.steps.iter().position(|step| step.out == *end);
            let got = last
                .and_then(|last| rates.get(last))
                .copied()
                .unwrap_or(0.0);
            sent += stream.offered;
            arrived += got;
            shares.push(got / stream.offered);
        }
        let least = shares.iter().copied().fold(1.0, f64::min);
        Measured {
            at_s: elapsed.as_secs(),
            flows: shares.len(),
            sent_bps: whole(sent),
            arrived_bps: whole(arrived),
            least_ppm: whole(least * 1e6),
            fairness_ppm: whole(jain(&shares) * 1e6),
        }
    }
}

/// Jain's index of fairness (R. Jain, D. Chiu, W. Hawe, DEC-TR-301, 1984): 1 if all are alike, 1/n if one has all; 1 of none.
#[must_use]
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|it| it * it).sum();
    if squares > 0.0 {
        sum * sum / (shares.len() as f64 * squares)
    } else {
        1.0
    }
}

/// To the next whole number.
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_of_equals_and_one_of_n_if_one_has_all() {
        assert!((jain(&[3.0, 3.0, 3.0]) - 1.0).abs() < 1e-12);
        assert!((jain(&[5.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-12);
        assert!((jain(&[]) - 1.0).abs() < 1e-12);
    }
}
