//! Traffic as a fluid: what hosts offer flows along the tables of the switches, through meters, into the classes of
//! every port, at once and without packets.
//!
//! A port serves every class up to its guarantee first, then hands what is left to those that want more, in the order
//! of their priority: as the class queues of a real switch do, and as `qos/src/class.rs` describes them. Streams of one
//! class share what it gets in proportion to what they bring. A meter lets its rate pass, shared in the same way.

use std::collections::{BTreeMap, VecDeque};

use rust_openflow::{MeterBand, MeterId};

use super::fabric::Fabric;
use super::fabric::shape::Jack;

/// No stream is followed further than this.
const MAX_STEPS: usize = 64;

/// More rounds than any course that ends is long.
const MAX_ROUNDS: usize = 3 * MAX_STEPS;

/// What changes by less, in bits per second, is at rest.
const AT_REST: f64 = 0.001;

/// Guarantee in hundredths of the capacity, and whether more may be borrowed, for queues by priority.
const CLASSES: [(u32, f64, bool); 4] = [
    (1, 0.02, false),
    (2, 0.75, true),
    (3, 0.15, true),
    (0, 0.08, true),
];

/// What a host sends.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Where it enters.
    pub from: Jack,
    /// One of its packets.
    pub frame: Vec<u8>,
    /// Bits per second.
    pub offered: f64,
}

/// One switch on the way of a stream.
#[derive(Clone, Debug)]
pub struct Step {
    /// The step before, if this is not the first.
    pub before: Option<usize>,
    /// Meters that it passed at this switch.
    pub meters: Vec<(u64, MeterId)>,
    /// Where it leaves.
    pub out: Jack,
    /// Through which queue.
    pub queue: u32,
}

/// Where a stream goes.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// Every port it leaves through, those before coming first.
    pub steps: Vec<Step>,
    /// It is never at an end.
    pub endless: bool,
}

impl Course {
    /// Follows a frame through the tables.
    #[must_use]
    pub fn of(fabric: &Fabric, from: Jack, frame: &[u8]) -> Self {
        let mut course = Self::default();
        let mut on_the_way = VecDeque::from([(from, frame.to_vec(), None)]);
        while let Some((jack, frame, before)) = on_the_way.pop_front() {
            let (Some(switch), Some(number)) = (fabric.switch(jack.switch), fabric.number(jack))
            else {
                continue;
            };
            let traced = switch.trace(rust_openflow::PortNo(number.0), frame);
            let meters: Vec<_> = traced
                .meters
                .iter()
                .map(|meter| (jack.switch, *meter))
                .collect();
            for sent in traced.sent {
                let port = payflow_qos::PortRef::new(jack.switch, sent.port.0);
                let Some(out) = fabric.jack(port) else {
                    continue;
                };
                if course.steps.len() >= MAX_STEPS {
                    course.endless = true;
                    return course;
                }
                course.steps.push(Step {
                    before,
                    meters: meters.clone(),
                    out,
                    queue: sent.queue.map_or(0, |queue| queue.0),
                });
                if let Some(far) = fabric.far_end(out) {
                    on_the_way.push_back((far, sent.frame, Some(course.steps.len() - 1)));
                }
            }
        }
        course
    }

    /// The steps that lead out of a port, first to last; `None` if none does.
    #[must_use]
    pub fn to(&self, end: Jack) -> Option<Vec<&Step>> {
        let mut at = self.steps.iter().position(|step| step.out == end)?;
        let mut way = Vec::new();
        loop {
            let step = self.steps.get(at)?;
            way.push(step);
            match step.before {
                Some(before) => at = before,
                None => break,
            }
        }
        way.reverse();
        Some(way)
    }
}

/// What leaves through every step of every course, in bits per second, when these streams flow together.
#[must_use]
pub fn flow(fabric: &Fabric, streams: &[(&Stream, &Course)]) -> Vec<Vec<f64>> {
    let network = Junctions::of(fabric, streams);
    let mut leaving: Vec<f64> = network.places.iter().map(|place| place.offered).collect();
    // What leaves a step depends on what left those before it, and on what others bring to the same port: again and
    // again, until nothing changes any more. Streams that push each other in a circle may not come to rest; they are
    // best effort, as only that goes in circles.
    for _ in 0..MAX_ROUNDS {
        let mut rates = network.arriving(&leaving);
        network.through_meters(&mut rates);
        network.through_ports(&mut rates);
        let before = std::mem::replace(&mut leaving, rates);
        let mut moved = before.iter().zip(&leaving);
        if moved.all(|(before, after)| (before - after).abs() < AT_REST) {
            break;
        }
    }
    let mut leaving = leaving.into_iter();
    let of_course = |(_, course): &(&Stream, &Course)| {
        let of_course = leaving.by_ref().take(course.steps.len());
        of_course.collect()
    };
    streams.iter().map(of_course).collect()
}

/// Where streams meet: found out once, as only their rates change from round to round.
struct Junctions {
    /// Every step of every course, in their order.
    places: Vec<Place>,
    /// What every meter lets pass.
    meters: Vec<Option<f64>>,
    /// What every port carries.
    ports: Vec<f64>,
}

/// A step, in the numbers of [`Junctions`].
struct Place {
    offered: f64,
    before: Option<usize>,
    meters: Vec<usize>,
    /// A meter is passed once however many ports a packet leaves through: the first step counts.
    counts: bool,
    port: usize,
    class: usize,
}

impl Junctions {
    fn of(fabric: &Fabric, streams: &[(&Stream, &Course)]) -> Self {
        let mut network = Self {
            places: Vec::new(),
            meters: Vec::new(),
            ports: Vec::new(),
        };
        let mut meters = BTreeMap::new();
        let mut ports = BTreeMap::new();
        for (stream, course) in streams {
            let first = network.places.len();
            for (at, step) in course.steps.iter().enumerate() {
                let meter = |meter: &(u64, MeterId)| {
                    *meters.entry(*meter).or_insert_with(|| {
                        network.meters.push(rate_of(fabric, *meter));
                        network.meters.len() - 1
                    })
                };
                let passed = step.meters.iter().map(meter).collect();
                let port = *ports.entry(step.out).or_insert_with(|| {
                    let capacity = fabric.capacity(step.out).map_or(0, |capacity| capacity.0);
                    // Exact to the bit: capacities are far below 2^52.
                    network.ports.push(capacity as f64);
                    network.ports.len() - 1
                });
                let earlier = course.steps.iter().take(at);
                network.places.push(Place {
                    offered: stream.offered,
                    before: step.before.map(|before| first + before),
                    meters: passed,
                    counts: earlier.into_iter().all(|it| it.before != step.before),
                    port,
                    class: class_of(step.queue),
                });
            }
        }
        network
    }

    /// What comes to every step when this leaves those before.
    fn arriving(&self, leaving: &[f64]) -> Vec<f64> {
        let arrives = |place: &Place| {
            let before = place.before.and_then(|before| leaving.get(before));
            before.copied().unwrap_or(place.offered)
        };
        self.places.iter().map(arrives).collect()
    }

    fn through_meters(&self, rates: &mut [f64]) {
        let mut loads = vec![0.0; self.meters.len()];
        for (place, rate) in self.places.iter().zip(&*rates) {
            for meter in place.meters.iter().filter(|_| place.counts) {
                if let Some(load) = loads.get_mut(*meter) {
                    *load += rate;
                }
            }
        }
        let share = |(load, rate): (f64, &Option<f64>)| match *rate {
            Some(rate) if load > rate => rate / load,
            _ => 1.0,
        };
        let shares: Vec<f64> = loads.into_iter().zip(&self.meters).map(share).collect();
        for (place, rate) in self.places.iter().zip(rates) {
            let passed = place.meters.iter().filter_map(|meter| shares.get(*meter));
            *rate *= passed.copied().fold(1.0, f64::min);
        }
    }

    fn through_ports(&self, rates: &mut [f64]) {
        let mut loads = vec![[0.0; 4]; self.ports.len()];
        for (place, rate) in self.places.iter().zip(&*rates) {
            let load = loads.get_mut(place.port);
            if let Some(load) = load.and_then(|load| load.get_mut(place.class)) {
                *load += rate;
            }
        }
        let share = |(load, capacity): ([f64; 4], &f64)| shares(load, *capacity);
        let shares: Vec<_> = loads.into_iter().zip(&self.ports).map(share).collect();
        for (place, rate) in self.places.iter().zip(rates) {
            let share = shares.get(place.port);
            *rate *= share
                .and_then(|share| share.get(place.class))
                .copied()
                .unwrap_or_default();
        }
    }
}

/// The rate of a meter in bits per second; none for one that counts packets, or is not there.
#[must_use]
pub fn rate_of(fabric: &Fabric, (switch, meter): (u64, MeterId)) -> Option<f64> {
    let mut meters = fabric.switch(switch)?.meters();
    let config = meters.find(|config| config.meter_id == meter)?;
    if !config.flags.contains(rust_openflow::MeterFlags::KBPS) {
        return None;
    }
    match config.bands.first()? {
        MeterBand::Drop { rate, .. } => Some(f64::from(*rate) * 1_000.0),
        _ => None,
    }
}

fn class_of(queue: u32) -> usize {
    CLASSES
        .iter()
        .position(|(number, ..)| *number == queue)
        .unwrap_or(CLASSES.len() - 1)
}

/// Which part of what every class brings gets through a port.
fn shares(load: [f64; 4], capacity: f64) -> [f64; 4] {
    let mut served = [0.0; 4];
    for ((served, load), (_, guarantee, _)) in served.iter_mut().zip(load).zip(CLASSES) {
        *served = load.min(guarantee * capacity);
    }
    let mut left = capacity - served.iter().sum::<f64>();
    for ((served, load), (.., borrows)) in served.iter_mut().zip(load).zip(CLASSES) {
        if borrows {
            let more = (load - *served).min(left).max(0.0);
            *served += more;
            left -= more;
        }
    }
    let mut shares = [1.0; 4];
    for ((share, served), load) in shares.iter_mut().zip(served).zip(load) {
        if load > 0.0 {
            *share = served / load;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(load: [f64; 4]) -> [f64; 4] {
        let shares = shares(load, 100.0);
        std::array::from_fn(|class| (load[class] * shares[class] * 1e6).round() / 1e6)
    }

    #[test]
    fn best_effort_gets_all_that_is_idle() {
        assert_eq!(served([0.0, 0.0, 0.0, 500.0]), [0.0, 0.0, 0.0, 100.0]);
        assert_eq!(served([1.0, 20.0, 0.0, 500.0]), [1.0, 20.0, 0.0, 79.0]);
    }

    #[test]
    fn paid_classes_win_nine_tenths_in_any_mix_whatever_the_flood() {
        assert_eq!(served([0.0, 90.0, 0.0, 500.0]), [0.0, 90.0, 0.0, 10.0]);
        assert_eq!(served([0.0, 0.0, 90.0, 500.0]), [0.0, 0.0, 90.0, 10.0]);
        assert_eq!(served([2.0, 75.0, 15.0, 500.0]), [2.0, 75.0, 15.0, 8.0]);
    }

    #[test]
    fn control_borrows_nothing() {
        assert_eq!(served([50.0, 90.0, 0.0, 8.0]), [2.0, 90.0, 0.0, 8.0]);
    }
}
