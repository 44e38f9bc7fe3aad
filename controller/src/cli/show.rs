//! Documents as people read them.

use std::{cell::RefCell, io::IsTerminal as _, time::Duration};

use indicatif::ProgressBar;
use payflow_payment::Amount;
use payflow_qos::{
    BitRate,
    price::{Charge, Segment},
};

use super::units::{show_amount, show_millis};
use crate::core::{
    document::{OutlookDocument, PriceDocument, QuoteDocument, ReservationView, Status},
    network::{PortRange, Protocol, Selector},
    payload::Payload,
};
use crate::wall;

/// What goes on meanwhile, on stderr: a spinner on a terminal, else a line for every step.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    /// What was said last; it is not said again where every step is a line.
    said: RefCell<String>,
}

impl Progress {
    /// With `quiet`, only a terminal is told.
    pub(super) fn new(quiet: bool) -> Self {
        let bar = std::io::stderr()
            .is_terminal()
            .then(ProgressBar::new_spinner);
        if let Some(bar) = &bar {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self {
            bar,
            quiet,
            said: RefCell::default(),
        }
    }

    /// What is happening now.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None if !self.quiet && self.said.replace(text.to_owned()) != text => {
                eprintln!("{text}");
            }
            None => {}
        }
    }

    /// Something to remember, whoever reads.
    pub(super) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// The rest is on stdout.
    pub(super) fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done();
    }
}

/// A quote.
pub(super) fn quote(quote: &QuoteDocument) -> String {
    let terms = &quote.payment;
    let now = wall::unix_millis();
    let left = terms.expires_at.get().saturating_sub(now.get());
    rows(
        &format!(
            "{}: {} for {}",
            quote.id,
            flow_and_rate(quote),
            show_millis(quote.duration_ms)
        ),
        &[
            ("price", Some(show_amount(terms.price))),
            ("payload", quote.payload.as_ref().map(payload)),
            ("spread", quote.charge.as_ref().map(spread)),
            (
                "class",
                Some(format!(
                    "{}, queueing delay at most {} ms",
                    quote.class, quote.delay_bound_ms
                )),
            ),
            ("excess", Some(excess(quote))),
            ("fees", Some(fees(quote))),
            ("binding for", Some(show_millis(left / 1000 * 1000))),
        ],
    )
}

fn payload(payload: &Payload) -> String {
    format!(
        "{} in packets of {} bytes, sold with their headers",
        BitRate(payload.rate_bps),
        payload.packet_bytes
    )
}

/// How a price is spread over the time that it buys.
fn spread(charge: &Charge) -> String {
    // For a minute, so that stretches compare; in the smallest unit, rounded up.
    let per_minute = |it: &Segment| {
        let nanos = (u128::from(it.nanos) * 60_000).div_ceil(u128::from(it.ms.max(1)));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    };
    let rates = || charge.segments().iter().map(per_minute);
    format!(
        "from {} to {} a minute; time that is not served gives back what it cost",
        show_amount(Amount(rates().min().unwrap_or(0))),
        show_amount(Amount(rates().max().unwrap_or(0))),
    )
}

/// A reservation.
pub(super) fn reservation(view: &ReservationView) -> String {
    let quote = &view.quote;
    let paid = view.payment.as_ref().map(|payment| {
        let amount = payment
            .amount
            .map_or_else(|| "offered".to_owned(), show_amount);
        if let Some(from) = &payment.from_account {
            return format!(
                "{amount}, voucher {} of account {}",
                from.sequence, from.account
            );
        }
        let place = payment.checkpoint.map_or_else(
            || ", not final yet".to_owned(),
            |number| format!(", checkpoint {number}"),
        );
        let digest = payment.digest.as_ref().map_or("", |it| it.as_str());
        format!("{amount}, transaction {digest}{place}")
    });
    let receipt = view.receipt.as_ref().map(|signed| {
        let receipt = &signed.document;
        format!(
            "served {} of {}{}: paid {}, earned {}, fee {}, refunded {}",
            show_millis(receipt.served_ms),
            show_millis(receipt.duration_ms),
            match receipt.shortfall_ms {
                0 => String::new(),
                ms => format!(", {} of it not delivered", show_millis(ms)),
            },
            show_amount(receipt.paid),
            show_amount(receipt.earned),
            show_amount(receipt.fee),
            show_amount(receipt.refunded)
        )
    });
    let transfer = |amount: Amount,
                    to: &dyn std::fmt::Display,
                    digest: Option<&dyn std::fmt::Display>,
                    checkpoint: Option<u64>| {
        let digest = digest.map_or_else(
            || "not signed yet".to_owned(),
            |digest| format!("transaction {digest}"),
        );
        let place = checkpoint.map_or_else(
            || ", not final yet".to_owned(),
            |number| format!(", checkpoint {number}"),
        );
        format!("{} to {to}, {digest}{place}", show_amount(amount))
    };
    let show_transfer = |view: &crate::core::document::TransferView| {
        transfer(
            view.amount,
            &view.to,
            view.digest
                .as_ref()
                .map(|digest| digest as &dyn std::fmt::Display),
            view.checkpoint,
        )
    };
    let mut lines = vec![
        (
            "class",
            Some(format!(
                "{}, queueing delay at most {} ms",
                quote.class,
                view.delay_bound_ms.unwrap_or(quote.delay_bound_ms)
            )),
        ),
        ("excess", Some(excess(quote))),
        ("paid", paid),
        (
            "ends",
            view.ends_at.filter(|_| is_live(view.status)).map(|end| {
                format!(
                    "in {}",
                    show_millis(end.get().saturating_sub(wall::unix_millis().get()) / 1000 * 1000)
                )
            }),
        ),
        (
            "begins",
            quote
                .start_at
                .filter(|_| view.active_at.is_none() && view.ended_by.is_none())
                .map(|start| {
                    format!(
                        "in {}",
                        show_millis(start.get().saturating_sub(wall::unix_millis().get()) / 1000 * 1000)
                    )
                }),
        ),
        (
            "path",
            (view.moves > 0).then(|| {
                let ports: Vec<String> = view.path.iter().map(ToString::to_string).collect();
                format!("moved {} times, now {}", view.moves, ports.join(", "))
            }),
        ),
        (
            "counted",
            view.usage.map(|usage| {
                format!(
                    "{} packets, {} bytes; {} packets above the rate dropped, {} delivered to the last switch",
                    usage.packets, usage.bytes, usage.dropped_packets, usage.left_packets
                )
            }),
        ),
        (
            "lost",
            view.usage.filter(|usage| usage.lost_bytes > 0).map(|usage| {
                let credit = match view.shortfall_ms {
                    0 => "within what is tolerated".to_owned(),
                    ms => format!("{} are credited for it", show_millis(ms)),
                };
                format!("{} bytes on the way; {credit}", usage.lost_bytes)
            }),
        ),
        ("replaces", quote.replaces.clone()),
        ("replaced by", view.replaced_by.clone()),
        ("ended by", view.ended_by.clone()),
        ("receipt", receipt),
        ("refund", view.settlement.as_ref().map(show_transfer)),
        ("detail", view.detail.clone()),
    ];
    for other in &view.other_refunds {
        lines.push(("sent back", Some(show_transfer(other))));
    }
    let title = format!(
        "{} is {}: {} for {}",
        view.id,
        view.status.word(),
        flow_and_rate(quote),
        show_millis(quote.duration_ms)
    );
    rows(&title, &lines)
}

/// What something would cost.
pub(super) fn price(price: &PriceDocument) -> String {
    rows(
        &format!(
            "{} for {}: {}",
            BitRate(price.rate_bps),
            show_millis(price.duration_ms),
            show_amount(price.price)
        ),
        &[(
            "class",
            Some(format!(
                "{}, queueing delay at most {} ms",
                price.class, price.delay_bound_ms
            )),
        )],
    )
}

/// What something would cost at other times, the cheapest marked.
pub(super) fn outlook(outlook: &OutlookDocument) -> String {
    let prices = || outlook.chances.iter().filter_map(|chance| chance.price);
    let (cheapest, dearest) = (prices().min(), prices().max().map_or(0, |it| it.0));
    let first = outlook.chances.first().map_or(0, |it| it.start_at.get());
    // What begins at once begins when it was asked.
    let now = wall::unix_millis().get();
    let asked = if first.abs_diff(now) < 60_000 {
        first
    } else {
        now
    };
    let differ = prices().any(|price| Some(price) != cheapest);
    let mut table = vec![["START", "PRICE", "", ""].map(str::to_owned)];
    for chance in &outlook.chances {
        let ahead = chance.start_at.get().saturating_sub(asked) / 1_000 * 1_000;
        let start = match ahead {
            0 => "now".to_owned(),
            ahead => format!("in {}", show_millis(ahead)),
        };
        let price = chance.price.map_or_else(|| "-".to_owned(), show_amount);
        let note = match &chance.refusal {
            Some(reason) => reason.to_string(),
            None if differ && chance.price == cheapest => "cheapest".to_owned(),
            None => String::new(),
        };
        table.push([start, price, bar(chance.price, dearest), note]);
    }
    format!(
        "{} for {}, {}:\n{}",
        BitRate(outlook.rate_bps),
        show_millis(outlook.duration_ms),
        outlook.class,
        columns(&table)
    )
}

/// As long as its share of the dearest, rounded up.
fn bar(price: Option<Amount>, dearest: u64) -> String {
    const LONGEST: u128 = 24;
    let length = price.map_or(0, |price| {
        (u128::from(price.0) * LONGEST).div_ceil(u128::from(dearest.max(1)))
    });
    "#".repeat(usize::try_from(length).unwrap_or(0))
}

/// A line for each.
pub(super) fn reservations(views: &[ReservationView]) -> String {
    if views.is_empty() {
        return "no reservations".to_owned();
    }
    let mut table = vec![["ID", "STATUS", "RATE", "FLOW", "FOR", "PRICE"].map(str::to_owned)];
    for view in views {
        table.push([
            view.id.clone(),
            view.status.word().to_owned(),
            BitRate(view.quote.rate_bps).to_string(),
            flow(&view.quote.flow),
            show_millis(view.quote.duration_ms),
            show_amount(view.quote.payment.price),
        ]);
    }
    columns(&table)
}

/// Columns as wide as their widest cell, two spaces between them.
pub(super) fn columns<const N: usize>(table: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in table {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines = table.iter().map(|row| {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_live(status: Status) -> bool {
    matches!(status, Status::Active | Status::Suspended)
}

fn flow_and_rate(quote: &QuoteDocument) -> String {
    format!("{} for {}", BitRate(quote.rate_bps), flow(&quote.flow))
}

fn flow(flow: &Selector) -> String {
    let protocol = match flow.protocol {
        Protocol::Udp => "udp",
        Protocol::Tcp => "tcp",
    };
    let end = |address: std::net::IpAddr, port: Option<PortRange>| match port {
        Some(ports) if address.is_ipv6() => format!("[{address}]:{ports}"),
        Some(ports) => format!("{address}:{ports}"),
        None => address.to_string(),
    };
    format!(
        "{protocol} {} -> {}",
        end(flow.source, flow.source_port),
        end(flow.destination, flow.destination_port)
    )
}

fn excess(quote: &QuoteDocument) -> String {
    format!(
        "what exceeds the rate by more than {} bytes at once is dropped",
        quote.burst_bytes
    )
}

fn fees(quote: &QuoteDocument) -> String {
    format!(
        "at most {} when cancelled, {} when paid late or short",
        show_amount(quote.payment.cancellation_fee),
        show_amount(quote.payment.mispayment_fee)
    )
}

fn rows(title: &str, rows: &[(&str, Option<String>)]) -> String {
    let mut text = title.to_owned();
    for (name, value) in rows {
        if let Some(value) = value {
            text.push_str(&format!("\n  {name:<12}{value}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let table = [["a", "bb", "c"], ["dddd", "é", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&table), "a     bb  c\ndddd  é");
    }
}
