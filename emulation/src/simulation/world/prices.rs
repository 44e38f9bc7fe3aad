//! How the operator of a story prices.

use std::time::Duration;

use payflow_qos::{
    Tariff,
    price::{Congestion, Following, MinuteOfDay, Period, Pricing, TimeOfDay},
};

use crate::simulation::chance::Chance;

/// What it costs, and how that follows demand: the same in every life of the controller.
#[derive(Clone, Debug)]
pub(super) struct Prices {
    pub(super) pricing: Pricing,
    pub(super) following: Option<Following>,
}

const TARIFF: Tariff = Tariff {
    steady_nanos_per_mbit_second: 1_000_000,
    elastic_nanos_per_mbit_second: 800_000,
    minimum_nanos: 10_000_000,
};

impl Prices {
    /// Always the same.
    pub(super) fn fixed() -> Self {
        Self {
            pricing: Pricing::Fixed(TARIFF),
            following: None,
        }
    }

    /// The same in half of the seeds; else by the minute, or by what is booked. Some follow demand.
    pub(super) fn any(chance: &mut Chance) -> Self {
        let pricing = match chance.between(0, 4) {
            0 => by_the_minute(),
            1 => Congestion::new(TARIFF, 50).ok().map(Pricing::Congestion),
            _ => None,
        };
        let following = chance
            .happens(300)
            .then(|| Following::new(Duration::from_secs(7), 200, 100, 500, 4_000).ok());
        Self {
            pricing: pricing.unwrap_or(Pricing::Fixed(TARIFF)),
            following: following.flatten(),
        }
    }
}

/// Every other minute costs three times as much.
fn by_the_minute() -> Option<Pricing> {
    let period = |minute: u16| {
        Some(Period {
            from: MinuteOfDay::new(minute)?,
            to: MinuteOfDay::new(minute + 1)?,
            factor_per_mille: Some(if minute.is_multiple_of(2) {
                1_000
            } else {
                3_000
            }),
            steady_nanos_per_mbit_second: None,
            elastic_nanos_per_mbit_second: None,
        })
    };
    let periods: Option<Vec<Period>> = (0..24 * 60).map(period).collect();
    TimeOfDay::new(TARIFF, 0, periods?)
        .ok()
        .map(Pricing::TimeOfDay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_pricing_occurs() {
        let seeds = (0..64).map(|seed| Prices::any(&mut Chance::of(seed, "prices", 0)));
        let all: Vec<Prices> = seeds.collect();
        let is = |kind: fn(&Pricing) -> bool| all.iter().any(|it| kind(&it.pricing));
        assert!(is(|it| matches!(it, Pricing::Fixed(_))));
        assert!(is(|it| matches!(it, Pricing::TimeOfDay(_))));
        assert!(is(|it| matches!(it, Pricing::Congestion(_))));
        assert!(all.iter().any(|it| it.following.is_some()));
    }
}
