//! How pricing is written: one flat table, checked as a whole when it is read.

use super::{
    Pricing,
    congestion::{Congestion, CongestionError},
    schedule::{Period, ScheduleError, TimeOfDay},
    tariff::Tariff,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Model {
    #[default]
    Fixed,
    TimeOfDay,
    Congestion,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPricing {
    #[serde(default)]
    model: Model,
    steady_nanos_per_mbit_second: u64,
    elastic_nanos_per_mbit_second: u64,
    minimum_nanos: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    full_ratio: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    utc_offset_minutes: Option<i16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    period: Vec<Period>,
}

/// Why something is no pricing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PricingError {
    /// Of prices by the time of day.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Of congestion pricing.
    #[error(transparent)]
    Congestion(#[from] CongestionError),
    /// Congestion pricing without its ratio.
    #[error(
        "full_ratio is missing: how many times as much as an empty link a full one costs, such as 100"
    )]
    NoFullRatio,
    /// What belongs to another model.
    #[error("{key} belongs to model = \"{model}\"")]
    OtherModel {
        /// What was written.
        key: &'static str,
        /// Where it belongs.
        model: &'static str,
    },
}

impl TryFrom<RawPricing> for Pricing {
    type Error = PricingError;

    fn try_from(raw: RawPricing) -> Result<Self, PricingError> {
        let other = |is_there: bool, key, model| {
            if is_there {
                Err(PricingError::OtherModel { key, model })
            } else {
                Ok(())
            }
        };
        if raw.model != Model::Congestion {
            other(raw.full_ratio.is_some(), "full_ratio", "congestion")?;
        }
        if raw.model != Model::TimeOfDay {
            let offset = raw.utc_offset_minutes.is_some();
            other(offset, "utc_offset_minutes", "time_of_day")?;
            other(!raw.period.is_empty(), "period", "time_of_day")?;
        }
        let prices = Tariff {
            steady_nanos_per_mbit_second: raw.steady_nanos_per_mbit_second,
            elastic_nanos_per_mbit_second: raw.elastic_nanos_per_mbit_second,
            minimum_nanos: raw.minimum_nanos,
        };
        Ok(match raw.model {
            Model::Fixed => Pricing::Fixed(prices),
            Model::TimeOfDay => {
                let offset = raw.utc_offset_minutes.unwrap_or(0);
                Pricing::TimeOfDay(TimeOfDay::new(prices, offset, raw.period)?)
            }
            Model::Congestion => {
                let full_ratio = raw.full_ratio.ok_or(PricingError::NoFullRatio)?;
                Pricing::Congestion(Congestion::new(prices, full_ratio)?)
            }
        })
    }
}

impl From<Pricing> for RawPricing {
    fn from(pricing: Pricing) -> Self {
        let of = |model, prices: &Tariff| RawPricing {
            model,
            steady_nanos_per_mbit_second: prices.steady_nanos_per_mbit_second,
            elastic_nanos_per_mbit_second: prices.elastic_nanos_per_mbit_second,
            minimum_nanos: prices.minimum_nanos,
            full_ratio: None,
            utc_offset_minutes: None,
            period: Vec::new(),
        };
        match pricing {
            Pricing::Fixed(tariff) => of(Model::Fixed, &tariff),
            Pricing::TimeOfDay(schedule) => RawPricing {
                utc_offset_minutes: Some(schedule.utc_offset_minutes()),
                period: schedule.periods().to_vec(),
                ..of(Model::TimeOfDay, schedule.usual())
            },
            Pricing::Congestion(congestion) => RawPricing {
                full_ratio: Some(congestion.full_ratio()),
                ..of(Model::Congestion, congestion.base())
            },
        }
    }
}
