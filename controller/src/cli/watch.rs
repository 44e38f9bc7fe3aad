//! `payflow watch`: what a reservation gives, costs and has left, as it goes.
//!
//! On a terminal the lines are drawn anew; else there is one line for every change, and with `--json` one object a line.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use clap::Args;
use payflow_payment::Amount;
use payflow_qos::BitRate;
use serde::Serialize;

use super::{
    Common, Out, buy,
    buy::TrustArgs,
    client::{CallError, Client},
    error::CliError,
    units::{parse_duration, show_amount, show_millis},
    wallet::WalletArgs,
};
use crate::core::{
    document::{ReservationNumber, ReservationView, Status},
    network::FlowCounters,
};
use crate::wall;

/// Width of what shows how much of the time is over.
const BAR: u64 = 30;

/// `payflow watch`.
#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// Which, such as r17; by default the newest of this wallet that has not ended.
    #[arg(value_parser = buy::parse_id)]
    id: Option<ReservationNumber>,
    /// How often the controller is asked.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1s")]
    every: Duration,
    /// Go on watching after it has ended, until its refund is on the ledger.
    #[arg(long)]
    settled: bool,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    wallet: WalletArgs,
}

/// One look at a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Look {
    id: String,
    status: Status,
    /// What it has bought.
    bought_bps: u64,
    /// What came to the first switch, between the last two counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    offered_bps: Option<u64>,
    /// What left the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_bps: Option<u64>,
    /// Of the time that was bought.
    served_ms: u64,
    duration_ms: u64,
    left_ms: u64,
    price: Amount,
    /// What of the price the time that has passed costs, as the quote spreads it; what the receipt says, once there is one.
    earned: Amount,
    /// What is credited for what did not arrive, in milliseconds of service.
    shortfall_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Counts, and when they changed last.
#[derive(Clone, Copy, Debug)]
struct Meter {
    counted: FlowCounters,
    at: Instant,
    offered_bps: Option<u64>,
    delivered_bps: Option<u64>,
}

impl Meter {
    /// Rates between this count and the one before. Switches are read every few seconds, so most looks see the same.
    fn read(last: Option<Self>, counted: FlowCounters, at: Instant) -> Self {
        let Some(last) = last else {
            return Self {
                counted,
                at,
                offered_bps: None,
                delivered_bps: None,
            };
        };
        if last.counted == counted {
            return last;
        }
        let ms = at.duration_since(last.at).as_millis().max(1);
        let rate = |now: u64, before: u64| {
            let bits = u128::from(now.saturating_sub(before)) * 8;
            u64::try_from(bits * 1000 / ms).ok()
        };
        Self {
            counted,
            at,
            offered_bps: rate(counted.bytes, last.counted.bytes),
            delivered_bps: rate(counted.left_bytes, last.counted.left_bytes),
        }
    }
}

impl Look {
    fn at(view: &ReservationView, meter: Option<&Meter>, now_ms: u64) -> Self {
        let quote = &view.quote;
        let begun = view.active_at.map_or(now_ms, |it| it.0);
        let ends = view
            .ends_at
            .map_or(begun.saturating_add(quote.duration_ms), |it| it.0);
        let until = now_ms.min(ends);
        let passed = match view.active_at {
            Some(_) => until.saturating_sub(begun).min(quote.duration_ms),
            None => 0,
        };
        let receipt = view.receipt.as_ref().map(|it| &it.document);
        let price = quote.payment.price;
        let spread = quote.spread();
        let over = receipt.is_some() || view.ended_by.is_some();
        Self {
            id: view.id.clone(),
            status: view.status,
            bought_bps: quote.rate_bps,
            // Whatever comes after its end is not of it.
            offered_bps: meter.filter(|_| !over).and_then(|it| it.offered_bps),
            delivered_bps: meter.filter(|_| !over).and_then(|it| it.delivered_bps),
            served_ms: receipt.map_or(passed, |it| it.served_ms),
            duration_ms: quote.duration_ms,
            left_ms: if over {
                0
            } else {
                quote.duration_ms.saturating_sub(passed)
            },
            price,
            earned: receipt.map_or_else(
                || {
                    spread.map_or(Amount::ZERO, |it| {
                        Amount(it.earned_until(passed)).min(price)
                    })
                },
                |it| it.earned,
            ),
            shortfall_ms: view.shortfall_ms,
            detail: view.detail.clone(),
        }
    }

    /// For people, some lines.
    fn text(&self) -> String {
        let rate =
            |bps: Option<u64>| bps.map_or_else(|| "-".to_owned(), |it| BitRate(it).to_string());
        let done = self
            .served_ms
            .saturating_mul(BAR)
            .checked_div(self.duration_ms)
            .unwrap_or(0)
            .min(BAR);
        let bar: String = (0..BAR)
            .map(|at| if at < done { '#' } else { '.' })
            .collect();
        let whole = |ms: u64| show_millis(ms / 1000 * 1000);
        let mut text = format!(
            "{}  {}\n  rate   bought {}, offered {}, delivered {}\n  money  {} of {} used\n  time   [{bar}] {} left of {}",
            self.id,
            self.status.word(),
            BitRate(self.bought_bps),
            rate(self.offered_bps),
            rate(self.delivered_bps),
            show_amount(self.earned),
            show_amount(self.price),
            whole(self.left_ms),
            show_millis(self.duration_ms),
        );
        if self.shortfall_ms > 0 {
            text += &format!(
                "\n  credit {} were not delivered",
                show_millis(self.shortfall_ms)
            );
        }
        if let Some(detail) = &self.detail {
            text += &format!("\n  {detail}");
        }
        text
    }
}

/// Shows it until it has ended.
pub(super) async fn watch(args: &WatchArgs, common: &Common, out: Out) -> Result<(), CliError> {
    let wallet = args.wallet.load()?;
    let (client, _) = buy::greet(common, &wallet, &args.trust).await?;
    let number = match args.id {
        Some(number) => number,
        None => newest(&client).await?,
    };
    let path = format!("/v1/reservations/{}", number.reservation_id());
    let mut screen = Screen::new(out);
    let mut meter = None;
    loop {
        match client.call(&super::client::Call::get(&path)).await {
            Ok(answered) => {
                let view: ReservationView = client.read(answered.document)?;
                if let Some(counted) = view.usage {
                    meter = Some(Meter::read(meter, counted, Instant::now()));
                }
                screen.show(&Look::at(&view, meter.as_ref(), wall::unix_millis().0))?;
                let over = match view.status {
                    Status::Settled => true,
                    _ => view.ended_by.is_some() && !args.settled,
                };
                if over {
                    return Ok(());
                }
            }
            // Paid flows are carried while a controller is away; it may be back.
            Err(CallError::NoAnswer(reason)) => screen.note(&reason),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(args.every).await;
    }
}

/// The newest that has not ended.
async fn newest(client: &Client) -> Result<ReservationNumber, CliError> {
    let views = buy::reservations(client).await?;
    let living = views
        .iter()
        .find(|it| it.ended_by.is_none() && it.status != Status::Settled);
    living
        .and_then(|it| ReservationNumber::from_reservation_id(&it.id))
        .ok_or_else(|| {
            CliError::Failed(
                "this wallet has no reservation that runs; say which with its id, such as r17"
                    .to_owned(),
            )
        })
}

/// Where it is drawn.
struct Screen {
    out: Out,
    is_terminal: bool,
    /// Lines that are drawn over the next time.
    drawn: usize,
    last: Option<Look>,
}

impl Screen {
    fn new(out: Out) -> Self {
        Self {
            out,
            is_terminal: std::io::stdout().is_terminal() && !out.json,
            drawn: 0,
            last: None,
        }
    }

    fn show(&mut self, look: &Look) -> Result<(), CliError> {
        if self.out.json {
            let mut line =
                serde_json::to_string(look).map_err(|error| CliError::Failed(error.to_string()))?;
            line.push('\n');
            return self.out.text(&line);
        }
        let text = look.text();
        if self.is_terminal {
            let mut frame = String::new();
            if self.drawn > 0 {
                // Up to its beginning, and clear from there (ECMA-48: CPL, ED).
                frame += &format!("\x1b[{}F\x1b[J", self.drawn);
            }
            self.drawn = text.lines().count();
            frame += &text;
            frame.push('\n');
            self.out.text(&frame)?;
            return std::io::stdout()
                .flush()
                .map_err(|error| CliError::Failed(format!("stdout: {error}")));
        }
        // One line, where something but the time has changed.
        let differs = self.last.as_ref().is_none_or(|last| {
            (last.status, last.delivered_bps, &last.detail)
                != (look.status, look.delivered_bps, &look.detail)
        });
        self.last = Some(look.clone());
        if !differs {
            return Ok(());
        }
        self.out.text(&(text.replace("\n ", ";") + "\n"))
    }

    fn note(&mut self, text: &str) {
        eprintln!("payflow: {text}");
        self.drawn = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::api::testing::view;

    fn counted(bytes: u64) -> FlowCounters {
        FlowCounters {
            bytes,
            left_bytes: bytes / 2,
            ..FlowCounters::default()
        }
    }

    #[test]
    fn rates_are_those_between_two_counts_however_often_one_looks() {
        let begun = Instant::now();
        let at = |s| begun + Duration::from_secs(s);
        let first = Meter::read(None, counted(1_000), at(0));
        assert_eq!((first.offered_bps, first.delivered_bps), (None, None));
        let same = Meter::read(Some(first), counted(1_000), at(1));
        let next = Meter::read(Some(same), counted(251_000), at(2));
        assert_eq!(next.offered_bps, Some(1_000_000));
        assert_eq!(next.delivered_bps, Some(500_000));
        // A switch that was made anew counts from zero.
        let anew = Meter::read(Some(next), counted(0), at(3));
        assert_eq!(anew.offered_bps, Some(0));
    }

    #[test]
    fn time_and_money_pass_together_and_end_where_they_were_bought() {
        let active = view("active", json!({ "active_at": 1_000, "ends_at": 31_000 }));
        let look = |now| Look::at(&active, None, now);
        let price = active.quote.payment.price;
        assert_eq!(
            (look(1_000).earned, look(1_000).left_ms),
            (Amount(0), 30_000)
        );
        let half = look(16_000);
        assert_eq!((half.served_ms, half.left_ms), (15_000, 15_000));
        assert!(half.earned.0 * 2 >= price.0 && half.earned < price);
        let over = look(99_000);
        assert_eq!((over.earned, over.left_ms), (price, 0));
        assert!(
            half.text()
                .contains("[###############...............] 15 s left"),
            "{}",
            half.text()
        );
    }

    #[test]
    fn nothing_is_used_before_it_begins() {
        let look = Look::at(&view("installing", json!({})), None, 99_000);
        assert_eq!(
            (look.served_ms, look.earned, look.left_ms),
            (0, Amount(0), 30_000)
        );
    }
}
