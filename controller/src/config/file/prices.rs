//! `[prices]`: which way of pricing, and its numbers.

use std::time::Duration;

use payflow_qos::{
    Tariff,
    price::{Congestion, Following, MinuteOfDay, Period, Pricing, TimeOfDay},
};
use toml::de::DeValue;

use super::{Section, integer, kind, seconds, text, text_as};
use crate::config::Prices;

/// The values of `model`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Model {
    Fixed,
    TimeOfDay,
    Congestion,
}

pub(super) fn read_prices(mut section: Section<'_>) -> Prices {
    let defaults = Prices::default();
    let usual = Prices::default_tariff();
    let mut price = |key, default| section.or(key, integer, default);
    let tariff = Tariff {
        steady_nanos_per_mbit_second: price(
            "steady_nanos_per_mbit_second",
            usual.steady_nanos_per_mbit_second,
        ),
        elastic_nanos_per_mbit_second: price(
            "elastic_nanos_per_mbit_second",
            usual.elastic_nanos_per_mbit_second,
        ),
        minimum_nanos: price("minimum_nanos", usual.minimum_nanos),
    };
    let written = section.position("model");
    let model = section.or("model", model, Model::Fixed);
    let pricing = match model {
        Model::Fixed => Ok(Pricing::Fixed(tariff)),
        Model::TimeOfDay => {
            let offset = section.or("utc_offset_minutes", minutes, 0);
            let found = section.sections("period");
            let periods: Vec<_> = found.into_iter().map(read_period).collect();
            match periods.into_iter().collect::<Option<Vec<_>>>() {
                Some(periods) => TimeOfDay::new(tariff, offset, periods)
                    .map(Pricing::TimeOfDay)
                    .map_err(|error| ("period", error.to_string())),
                // What is wrong with them is told already.
                None => Ok(Pricing::Fixed(tariff)),
            }
        }
        Model::Congestion => {
            let ratio = section.required(
                "full_ratio",
                integer,
                "how many times as much as an empty link a full one costs, such as 100",
            );
            match ratio {
                Some(ratio) => Congestion::new(tariff, ratio)
                    .map(Pricing::Congestion)
                    .map_err(|error| ("full_ratio", error.to_string())),
                None => Ok(Pricing::Fixed(tariff)),
            }
        }
    };
    let pricing = pricing.unwrap_or_else(|(key, message)| {
        let at = section.position(key).or(written).unwrap_or(section.at);
        section.problem(at, key, message);
        defaults.pricing
    });
    let following = section.section_if_there("follow_demand");
    Prices {
        pricing,
        following: following.and_then(read_following),
    }
}

fn read_period(mut section: Section<'_>) -> Option<Period> {
    const FROM: &str = "the minute with which it begins, such as \"08:00\"";
    const TO: &str = "the minute with which it ends, such as \"22:00\"";
    let from = section.required("from", text_as::<MinuteOfDay>, FROM);
    let to = section.required("to", text_as::<MinuteOfDay>, TO);
    let factor_per_mille = section.optional("factor_per_mille", integer);
    let mut price = |key| section.optional(key, integer);
    let steady_nanos_per_mbit_second = price("steady_nanos_per_mbit_second");
    let elastic_nanos_per_mbit_second = price("elastic_nanos_per_mbit_second");
    Some(Period {
        from: from?,
        to: to?,
        factor_per_mille,
        steady_nanos_per_mbit_second,
        elastic_nanos_per_mbit_second,
    })
}

/// By default a price that moves by a twentieth at most every ten minutes, between a half and four times of what is written.
fn read_following(mut section: Section<'_>) -> Option<Following> {
    let interval = section.or("interval_s", seconds, Duration::from_secs(600));
    let mut number = |key, default| section.or(key, integer, default);
    let target = number("target_per_mille", 500);
    let step = number("step_per_mille", 50);
    let lowest = number("lowest_per_mille", 500);
    let highest = number("highest_per_mille", 4_000);
    Following::new(interval, target, step, lowest, highest)
        .map_err(|error| section.problem(section.at, "", error.to_string()))
        .ok()
}

fn model(value: &DeValue<'_>) -> Result<Model, String> {
    match text(value)?.as_str() {
        "fixed" => Ok(Model::Fixed),
        "time_of_day" => Ok(Model::TimeOfDay),
        "congestion" => Ok(Model::Congestion),
        other => Err(format!(
            "{other:?} is no way of pricing; write \"fixed\", \"time_of_day\" or \"congestion\""
        )),
    }
}

/// Also negative ones.
fn minutes(value: &DeValue<'_>) -> Result<i16, String> {
    let number = value.as_integer().filter(|number| number.radix() == 10);
    number
        .and_then(|number| number.as_str().parse().ok())
        .ok_or_else(|| {
            format!(
                "whole minutes are wanted, such as 60 or -300, not {}",
                kind(value)
            )
        })
}
