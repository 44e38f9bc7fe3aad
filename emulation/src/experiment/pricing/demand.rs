//! Who wants what, when, and what it is worth to them: the same for every rule that sells it.

use super::network::Network;
use crate::exact::{log2, power_of_two};
use crate::simulation::chance::Chance;
use payflow_qos::{Ask, Class, HoldTerms, PortRef, SoldRate, Time, Window};
use std::time::Duration;

/// The present, when it begins.
pub(super) const START: Time = Time::from_millis(1_700_000_000_000);
/// Half of all that is offered values 1 Mbit/s for one second at less than this, in nanos.
pub(super) const MEDIAN_VALUE: u64 = 1_000_000;

/// Rates, in thousandths of the default speed of a network.
const RATES_PER_MILLE: [u64; 5] = [5, 10, 20, 40, 80];
/// Durations, evenly on a logarithmic scale: from ten minutes to four hours.
const DURATIONS_S: [f64; 2] = [600.0, 14_400.0];
/// Every second one asks for now, the others for some time up to three hours ahead.
const AHEAD: Duration = Duration::from_secs(3 * 3_600);
/// Of the logarithm of the values.
const SPREAD: f64 = 1.0;

/// How long requests arrive, and from when on they count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    /// Seconds in which requests arrive.
    pub arrivals_s: u64,
    /// Of these, seconds at the beginning whose requests are served and not counted, while the network fills.
    pub warm_up_s: u64,
}

/// One buyer.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// When it asks.
    pub at: Time,
    /// What for.
    pub ask: Ask,
    /// What it is worth, in nanos: it buys for at most that, at once or never.
    pub value: u64,
    /// Whether it counts.
    pub counts: bool,
}

/// All buyers of one seed. A load of 1 offers, on shortest paths, as much as all trunks together may sell.
///
/// # Errors
/// A node cannot be reached from another.
pub(super) fn requests(
    network: &Network,
    load: f64,
    period: Period,
    seed: u64,
) -> anyhow::Result<Vec<Request>> {
    let mean_kbps = mean_rate_kbps(network);
    let flows = network.for_sale() as f64 / (mean_kbps * network.mean_hops()?);
    let count = load * flows * period.arrivals_s as f64 / mean_duration_s();
    // Given how many there are, the arrivals of a Poisson process are independent and anywhere.
    let mut arrivals: Vec<u64> = {
        let mut chance = Chance::of(seed, "arrivals", 0);
        let end = period.arrivals_s * 1_000;
        (0..count as usize)
            .map(|_| chance.between(0, end))
            .collect()
    };
    arrivals.sort_unstable();
    let hosts: Vec<PortRef> = network.hosts().collect();
    let requests = (0_u64..).zip(arrivals).filter_map(|(number, at_ms)| {
        let mut chance = Chance::of(seed, "buyer", number);
        let from = weighted(&mut chance, network.weights(), None);
        let to = weighted(&mut chance, network.weights(), Some(from));
        let per_mille = RATES_PER_MILLE[chance.between(0, RATES_PER_MILLE.len() as u64) as usize];
        let rate = SoldRate((network.default_capacity.0 / 1_000_000 * per_mille) as u32);
        let [shortest, longest] = DURATIONS_S;
        let octaves = log2(longest / shortest) * chance.uniform();
        let duration = Duration::from_secs((shortest * power_of_two(octaves)) as u64);
        let at = START.plus(Duration::from_millis(at_ms));
        let ahead = if chance.happens(500) {
            Duration::ZERO
        } else {
            chance.millis(0, AHEAD.as_millis() as u64)
        };
        let class = if chance.happens(500) {
            Class::Steady
        } else {
            Class::Elastic
        };
        // The sum of twelve is near to a normal one, and the same on every machine.
        let normal = (0..12).map(|_| chance.uniform()).sum::<f64>() - 6.0;
        let per_mbit_second = MEDIAN_VALUE as f64 * power_of_two(SPREAD * normal * LOG2_E);
        let mbit = f64::from(rate.0) / 1_000.0 * duration.as_secs_f64();
        Some(Request {
            at,
            ask: Ask {
                from: hosts[from],
                to: hosts[to],
                class,
                rate,
                window: Window::lasting(at.plus(ahead), duration)?,
                asker: hosts[from],
                unpaid: false,
                hold: HoldTerms::default(),
                replacing: None,
                bounds: payflow_qos::Bounds::default(),
            },
            value: (per_mbit_second * mbit) as u64,
            counts: at_ms >= period.warm_up_s * 1_000,
        })
    });
    Ok(requests.collect())
}

/// Which one, where each is as likely as its weight; another one than `but`.
fn weighted(chance: &mut Chance, weights: &[u64], but: Option<usize>) -> usize {
    let weights = || {
        weights
            .iter()
            .enumerate()
            .filter(|(it, _)| Some(*it) != but)
    };
    let mut left = chance.between(0, weights().map(|(_, weight)| weight).sum());
    let mut chosen = 0;
    for (index, weight) in weights() {
        chosen = index;
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    chosen
}

fn mean_rate_kbps(network: &Network) -> f64 {
    let mean = RATES_PER_MILLE.iter().sum::<u64>() as f64 / RATES_PER_MILLE.len() as f64;
    network.default_capacity.0 as f64 / 1_000_000.0 * mean
}

/// Of a logarithmic scale.
fn mean_duration_s() -> f64 {
    let [shortest, longest] = DURATIONS_S;
    (longest - shortest) * LOG2_E / log2(longest / shortest)
}

const LOG2_E: f64 = std::f64::consts::LOG2_E;

#[cfg(test)]
mod tests {
    use super::{super::network::shipped, *};

    #[test]
    fn demand_is_as_stated_and_the_same_for_the_same_seed() {
        let map = shipped().expect("topologies").swap_remove(0);
        let network = Network::new(map).expect("a network");
        let period = Period {
            arrivals_s: 36_000,
            warm_up_s: 7_200,
        };
        let all = requests(&network, 1.0, period, 7).expect("requests");
        let same = requests(&network, 1.0, period, 7).expect("requests");
        assert!(
            all.iter()
                .zip(&same)
                .all(|(a, b)| (&a.ask, a.value, a.at) == (&b.ask, b.value, b.at))
        );
        let other = requests(&network, 1.0, period, 8).expect("requests");
        assert!(all.iter().zip(&other).any(|(a, b)| a.ask != b.ask));
        assert!(all.is_sorted_by_key(|it| it.at));
        assert!(
            all.iter()
                .all(|it| it.ask.from != it.ask.to && it.ask.window.start() >= it.at)
        );

        let count = all.len() as f64;
        let mbit_seconds =
            |it: &Request| f64::from(it.ask.rate.0) / 1e3 * it.ask.window.duration().as_secs_f64();
        let mut values: Vec<_> = all
            .iter()
            .map(|it| it.value as f64 / mbit_seconds(it))
            .collect();
        values.sort_unstable_by(f64::total_cmp);
        let median = values[values.len() / 2] / MEDIAN_VALUE as f64;
        assert!((0.95..1.05).contains(&median), "{median}");
        // One spread above the median are 84 % of a normal distribution.
        let high = values[values.len() * 841 / 1_000] / MEDIAN_VALUE as f64;
        assert!((2.5..2.95).contains(&high), "{high}");
        let seconds = all
            .iter()
            .map(|it| it.ask.window.duration().as_secs_f64())
            .sum::<f64>()
            / count;
        assert!(
            (seconds / mean_duration_s() - 1.0).abs() < 0.05,
            "{seconds}"
        );
        // As much as all trunks may sell, give and take what is chance.
        let offered: f64 =
            all.iter().map(mbit_seconds).sum::<f64>() * network.mean_hops().expect("hops");
        let for_sale = network.for_sale() as f64 / 1e3 * period.arrivals_s as f64;
        assert!(
            (offered / for_sale - 1.0).abs() < 0.1,
            "{}",
            offered / for_sale
        );
        let counted = all.iter().filter(|it| it.counts).count() as f64;
        assert!((counted / count - 0.8).abs() < 0.03);
    }
}
