//! What the same would cost at other times.

use super::{Factor, Pricing, Purchase};
use crate::{
    admission::{Ask, fitting_path},
    book::Book,
    refusal::Reason,
    topology::Topology,
    units::{Time, Window},
};
use serde::Serialize;
use std::time::Duration;

/// The most starts that one outlook looks at: a day in quarters of an hour.
pub const MOST_CHANCES: usize = 96;

/// A time at which what is asked for could start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chance {
    /// When.
    pub start: Time,
    /// What it costs then, in nanos; `None` where it has no room, or no price.
    pub price_nanos: Option<u64>,
    /// Why it has no room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Reason>,
}

/// The price of what is asked for, without holding it, if it starts when its window does, one `step` later, two steps
/// later, and so on: `count` starts (at most [`MOST_CHANCES`]) as far as the horizon reaches. A device can choose a cheap
/// time by it; until somebody asks for a quote no price is binding. Each start costs a path search and a
/// [`Pricing::charge`]. A step of nothing looks at the first start alone.
pub fn outlook(
    pricing: &Pricing,
    topology: &Topology,
    book: &Book,
    ask: &Ask,
    base: Factor,
    step: Duration,
    count: usize,
) -> Vec<Chance> {
    let duration = ask.window.duration();
    let starts = std::iter::successors(Some(ask.window.start()), |start| {
        Some(start.plus(step)).filter(|next| next > start)
    });
    let windows = starts.map_while(|start| Window::lasting(start, duration));
    windows
        .take_while(|window| window.end() <= book.horizon())
        .take(count.min(MOST_CHANCES))
        .map(|window| {
            let ask = Ask {
                window,
                ..ask.clone()
            };
            let (price_nanos, refusal) = match fitting_path(topology, book, &ask) {
                Ok(path) => {
                    let purchase = Purchase {
                        path: &path.egress_ports().collect::<Vec<_>>(),
                        class: ask.class,
                        rate: ask.rate,
                        window,
                        replacing: ask.replacing,
                    };
                    let charge = pricing.charge(book, &purchase, base);
                    (charge.map(|it| it.total()), None)
                }
                Err(refusal) => (None, Some(refusal)),
            };
            Chance {
                start: window.start(),
                price_nanos,
                refusal,
            }
        })
        .collect()
}
