//! Chance under a seed: the only source of chance in a simulation, and in the comparison with Open vSwitch.

use std::time::Duration;

use crate::exact::log2;

/// SplitMix64 (Steele, Lea, Flood 2014). The same seed gives the same numbers, on every machine.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Begins with a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Begins anew for one of many that share a seed: what the others draw changes nothing about it.
    #[must_use]
    pub fn of(seed: u64, whose: &str, number: u64) -> Self {
        // FNV-1a over the name.
        let name = whose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mut mixed = Self(seed ^ name.rotate_left(32));
        mixed.0 = mixed.number() ^ number;
        Self(mixed.number())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to below `high`; `low` when there is none.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % high.saturating_sub(low).max(1)
    }

    /// From 0 to below 1.
    pub fn uniform(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Exponentially distributed with this mean, rounded down; the same on every machine.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        // From above 0 to 1, so that its inverse is at least 1, and at most 2^53.
        let share = 1.0 - self.uniform();
        (mean as f64 * log2(1.0 / share) * std::f64::consts::LN_2) as u64
    }

    /// A number of milliseconds from `low` to below `high`.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// True `permille` times in a thousand.
    pub fn happens(&mut self, permille: u64) -> bool {
        self.number() % 1_000 < permille
    }

    /// One of several; `None` of none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.between(0, u64::try_from(from.len()).unwrap_or(u64::MAX));
        from.get(usize::try_from(at).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_another_differs() {
        let numbers = |seed| {
            let mut chance = Chance::new(seed);
            (0..50)
                .map(|_| chance.between(10, 1_000))
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        assert!(numbers(7).iter().all(|number| (10..1_000).contains(number)));
    }

    #[test]
    fn an_exponential_distribution_has_its_mean_and_its_median() {
        let mut chance = Chance::new(11);
        let mut drawn: Vec<u64> = (0..100_000).map(|_| chance.exponential(10_000)).collect();
        let mean = drawn.iter().sum::<u64>() as f64 / 100_000.0;
        assert!((9_900.0..10_100.0).contains(&mean), "{mean}");
        drawn.sort_unstable();
        assert!((6_830..7_030).contains(&drawn[50_000]), "{}", drawn[50_000]);
    }

    #[test]
    fn of_nothing_nothing_is_picked() {
        let mut chance = Chance::new(1);
        assert_eq!(chance.pick::<u8>(&[]), None);
        assert_eq!(chance.pick(&[3]), Some(&3));
        assert_eq!(chance.between(5, 5), 5);
    }
}
