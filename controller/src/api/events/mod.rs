//! What happens to reservations, told while it happens: server-sent events (WHATWG HTML section 9.2) and the same over WebSocket
//! (RFC 6455).
//!
//! The [`hub`] hears every change from the core once, works out what has happened ([`between`]), writes it down once, and hands it
//! to those whom it concerns; so thousands of streams cost a change no more than those it is for. Each stream has a short queue of
//! its own; whoever does not keep up with that is told so and closed, and comes back with `Last-Event-ID`.

pub(super) mod hub;
pub(super) mod stream;
pub(super) mod websocket;

use payflow_payment::{Signed, UnixMillis};
use payflow_qos::PortRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::{
    document::{PaymentView, Receipt, ReservationView, Status, TransferView},
    network::FlowCounters,
};

/// Something that has happened: the data of an event, and a message over WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventDocument {
    /// Names it while this controller runs. `Last-Event-ID` goes on after it.
    pub id: String,
    /// `r` and the number; absent where it is about the stream itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<String>,
    /// What has happened; `event` names it.
    #[serde(flatten)]
    pub happened: Happened,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happened {
    /// All of it as it is now: the first event of a reservation's stream, and where something was missed. What follows may be
    /// contained in it.
    Snapshot {
        /// As `GET /v1/reservations/{id}` shows it.
        view: Box<ReservationView>,
    },
    /// It has got another status.
    Status {
        /// Which.
        status: Status,
        /// Why it ended, once it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended_by: Option<String>,
        /// The reservation that takes its place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaced_by: Option<String>,
        /// The last thing that went wrong, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        /// When the paid time began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        active_at: Option<UnixMillis>,
        /// When the paid time ends or ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends_at: Option<UnixMillis>,
    },
    /// It leads another way.
    Moved {
        /// How often it has moved by now.
        moves: u16,
        /// The egress ports of the new path.
        path: Vec<PortRef>,
        /// The queueing delay that the buffers of that path allow at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delay_bound_ms: Option<u64>,
    },
    /// What its switches have counted, where that has changed: every few seconds, in the stream of one reservation alone.
    Usage {
        /// Since the first packet.
        usage: FlowCounters,
        /// What is credited by now for what was let in and not delivered.
        shortfall_ms: u64,
    },
    /// Not all of what was let in was delivered, and it is credited.
    Shortfall {
        /// In all, of the time served.
        shortfall_ms: u64,
    },
    /// A payment that bought it is final.
    Paid {
        /// The payment.
        payment: PaymentView,
    },
    /// Where it is paid as it goes: a voucher has paid for longer.
    Covered {
        /// Until when.
        paid_until: UnixMillis,
    },
    /// Money goes back: signed first, and final once there is a checkpoint.
    Refunded {
        /// The transfer.
        transfer: TransferView,
    },
    /// The account of service and money is signed.
    Receipt {
        /// It.
        receipt: Box<Signed<Receipt>>,
    },
    /// Events were missed, as they came faster than the controller keeps them, or before it was started. Ask for what matters
    /// with `GET`.
    Missed,
    /// The stream ends, as its reader does not keep up. Come back with `Last-Event-ID`.
    TooSlow,
    /// The stream ends, as it is old or the controller stops. Come back with `Last-Event-ID`.
    End,
}

impl Happened {
    /// The name of the event.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Snapshot { .. } => "snapshot",
            Self::Status { .. } => "status",
            Self::Moved { .. } => "moved",
            Self::Usage { .. } => "usage",
            Self::Shortfall { .. } => "shortfall",
            Self::Paid { .. } => "paid",
            Self::Covered { .. } => "covered",
            Self::Refunded { .. } => "refunded",
            Self::Receipt { .. } => "receipt",
            Self::Missed => "missed",
            Self::TooSlow => "too_slow",
            Self::End => "end",
        }
    }
}

/// As much of a reservation as tells what has happened when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Brief {
    status: Status,
    moves: u16,
    shortfall_ms: u64,
    paid_until: Option<UnixMillis>,
    paid: bool,
    receipt: bool,
    settlement: Stage,
    /// Of other refunds: how many there are, signed, and final.
    others: [usize; 3],
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    None,
    Planned,
    Signed,
    Final,
}

impl Stage {
    fn of(transfer: Option<&TransferView>) -> Self {
        match transfer {
            None => Self::None,
            Some(it) if it.checkpoint.is_some() => Self::Final,
            Some(it) if it.digest.is_some() => Self::Signed,
            Some(_) => Self::Planned,
        }
    }
}

impl Brief {
    pub(super) fn of(view: &ReservationView) -> Self {
        let others = |stage| {
            let each = view.other_refunds.iter();
            each.filter(|it| Stage::of(Some(it)) >= stage).count()
        };
        Self {
            status: view.status,
            moves: view.moves,
            shortfall_ms: view.shortfall_ms,
            paid_until: view.paid_until,
            paid: view
                .payment
                .as_ref()
                .is_some_and(|it| it.final_at.is_some()),
            receipt: view.receipt.is_some(),
            settlement: Stage::of(view.settlement.as_ref()),
            others: [
                others(Stage::Planned),
                others(Stage::Signed),
                others(Stage::Final),
            ],
        }
    }

    /// Nothing is expected to happen to it any more.
    pub(super) fn is_over(&self) -> bool {
        let refunded = self.others == [self.others[0]; 3];
        let settled = matches!(self.settlement, Stage::None | Stage::Final);
        let ended = match self.status {
            Status::Settled => true,
            Status::Expired | Status::Cancelled | Status::Failed => !self.paid,
            _ => false,
        };
        ended && settled && refunded
    }

    /// Whether switches count packets of it.
    pub(super) fn is_carried(&self) -> bool {
        matches!(
            self.status,
            Status::Installing | Status::Active | Status::Suspended
        )
    }
}

/// What has happened to a reservation: all that is different from what was known. Of one that was not known, where it is now.
pub(super) fn between(before: Option<&Brief>, view: &ReservationView) -> Vec<Happened> {
    let after = Brief::of(view);
    let mut happened = Vec::new();
    let before = before.copied().unwrap_or(Brief {
        // Any other than it has.
        status: match after.status {
            Status::Held => Status::Pending,
            _ => Status::Held,
        },
        ..after
    });
    if after.paid && !before.paid {
        happened.extend(
            view.payment
                .clone()
                .map(|payment| Happened::Paid { payment }),
        );
    }
    if after.status != before.status {
        happened.push(Happened::Status {
            status: view.status,
            ended_by: view.ended_by.clone(),
            replaced_by: view.replaced_by.clone(),
            detail: view.detail.clone(),
            active_at: view.active_at,
            ends_at: view.ends_at,
        });
    }
    if after.moves != before.moves {
        happened.push(Happened::Moved {
            moves: view.moves,
            path: view.path.clone(),
            delay_bound_ms: view.delay_bound_ms,
        });
    }
    if after.shortfall_ms > before.shortfall_ms {
        happened.push(Happened::Shortfall {
            shortfall_ms: view.shortfall_ms,
        });
    }
    if after.paid_until != before.paid_until {
        let covered = view
            .paid_until
            .map(|paid_until| Happened::Covered { paid_until });
        happened.extend(covered);
    }
    if after.receipt && !before.receipt {
        let receipt = view.receipt.clone().map(Box::new);
        happened.extend(receipt.map(|receipt| Happened::Receipt { receipt }));
    }
    if after.settlement > before.settlement && after.settlement >= Stage::Signed {
        let transfer = view.settlement.clone();
        happened.extend(transfer.map(|transfer| Happened::Refunded { transfer }));
    }
    if after.others[1..] != before.others[1..] {
        let others = view.other_refunds.iter().filter(|it| it.digest.is_some());
        happened.extend(
            others
                .cloned()
                .map(|transfer| Happened::Refunded { transfer }),
        );
    }
    happened
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::api::testing::view;

    fn names(before: Option<&ReservationView>, after: &ReservationView) -> Vec<&'static str> {
        let before = before.map(Brief::of);
        between(before.as_ref(), after)
            .iter()
            .map(Happened::name)
            .collect()
    }

    #[test]
    fn a_life_is_told_change_by_change() {
        let paid = json!({ "digest": "d1", "amount": 5, "final_at": 3 });
        let transfer = |more: serde_json::Value| {
            let mut it = json!({ "to": "0xab", "amount": 1 });
            it.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            it
        };
        let life = [
            (view("held", json!({})), vec!["status"]),
            (
                view("pending", json!({ "payment": { "digest": "d1" } })),
                vec!["status"],
            ),
            (
                view("installing", json!({ "payment": paid })),
                vec!["paid", "status"],
            ),
            (
                view("active", json!({ "payment": paid, "active_at": 4 })),
                vec!["status"],
            ),
            (
                view(
                    "active",
                    json!({ "payment": paid, "active_at": 4, "moves": 1 }),
                ),
                vec!["moved"],
            ),
            (
                view(
                    "active",
                    json!({ "payment": paid, "moves": 1, "shortfall_ms": 7, "paid_until": 9 }),
                ),
                vec!["shortfall", "covered"],
            ),
            (
                view(
                    "expired",
                    json!({ "payment": paid, "moves": 1, "shortfall_ms": 7, "settlement": transfer(json!({})) }),
                ),
                vec!["status"],
            ),
            (
                view(
                    "expired",
                    json!({ "payment": paid, "moves": 1, "shortfall_ms": 7,
                    "settlement": transfer(json!({ "digest": "d2" })) }),
                ),
                vec!["refunded"],
            ),
            (
                view(
                    "settled",
                    json!({ "payment": paid, "moves": 1, "shortfall_ms": 7,
                    "settlement": transfer(json!({ "digest": "d2", "checkpoint": 8 })) }),
                ),
                vec!["status", "refunded"],
            ),
        ];
        let mut before = None;
        for (after, expected) in &life {
            assert_eq!(names(before, after), *expected, "{:?}", after.status);
            assert_eq!(
                names(Some(after), after),
                Vec::<&str>::new(),
                "nothing has happened"
            );
            before = Some(after);
        }
        let over: Vec<_> = life
            .iter()
            .map(|(view, _)| Brief::of(view).is_over())
            .collect();
        assert_eq!(over.iter().position(|it| *it), Some(life.len() - 1));
    }

    #[test]
    fn of_what_was_not_known_the_status_is_told_whatever_it_is() {
        for status in ["held", "pending", "active", "settled"] {
            assert_eq!(
                names(None, &view(status, json!({}))),
                ["status"],
                "{status}"
            );
        }
    }

    #[test]
    fn every_event_is_written_with_its_name() {
        let document = EventDocument {
            id: "1-2".to_owned(),
            reservation: None,
            happened: Happened::TooSlow,
        };
        let text = serde_json::to_value(&document).unwrap();
        assert_eq!(text, json!({ "id": "1-2", "event": "too_slow" }));
        for happened in between(None, &view("active", json!({ "moves": 3 }))) {
            assert_eq!(
                serde_json::to_value(&happened).unwrap()["event"],
                happened.name()
            );
        }
    }
}
