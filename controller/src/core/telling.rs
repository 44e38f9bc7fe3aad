//! The log of what becomes of reservations: a line for every fact, each with the reservation's id as `reservation`.
//!
//! What goes as it should is told at level `debug`, so that a busy controller does not write a line for every quote; what
//! an operator may be asked about is told at `info`, and what failed at `warn`.

use super::{
    document::ReservationNumber,
    journal::{EndCause, Record},
};

macro_rules! tell {
    ($level:ident, $number:expr, $($line:tt)*) => {
        tracing::$level!(reservation = %ReservationNumber::reservation_id($number), $($line)*)
    };
}

/// Tells a fact as it is written.
pub(super) fn tell(record: &Record) {
    match record {
        Record::QuoteIssued(issued) => {
            tell!(debug, issued.number, price = %issued.quote.document.payment.price, "quoted");
        }
        Record::GroupIssued { quotes } => {
            for issued in quotes {
                tell!(debug, issued.number, price = %issued.quote.document.payment.price, "quoted in a group");
            }
        }
        Record::PaymentOffered { number, digest, .. } => {
            tell!(debug, *number, %digest, "a payment is offered");
        }
        Record::PaymentRefused {
            number,
            digest,
            reason,
        } => tell!(info, *number, %digest, reason, "the payment will never buy it"),
        Record::Paid { number, amount, .. } => tell!(debug, *number, %amount, "paid"),
        Record::GroupPaid { members, .. } => {
            for member in members {
                tell!(debug, member.number, amount = %member.amount, "paid in a group");
            }
        }
        Record::BoughtFromAccount(bought) => {
            let account = bought.voucher.promise.account;
            for member in &bought.members {
                tell!(debug, member.number, %account, "paid from an account");
            }
        }
        Record::Given { members, .. } => {
            for number in members {
                tell!(debug, *number, "given: it costs nothing");
            }
        }
        Record::Started { number, .. } => tell!(debug, *number, "its time has come"),
        Record::Activated { number, .. } => tell!(debug, *number, "active"),
        Record::Suspended { number, reason, .. } => tell!(info, *number, reason, "suspended"),
        Record::Resumed { number, .. } => tell!(info, *number, "carried again"),
        Record::FellShort {
            number,
            short_bytes,
            ..
        } => tell!(
            info,
            *number,
            short_bytes,
            "not all of it was delivered; that is credited"
        ),
        Record::Displaced { number, reason, .. } => {
            tell!(info, *number, reason, "has no path; it waits for one");
        }
        Record::Ended {
            number,
            cause: EndCause::Failed,
            detail,
            ..
        } => tell!(warn, *number, detail, "ended: it could not be given"),
        Record::Ended { number, cause, .. } => {
            tell!(debug, *number, cause = cause.word(), "ended");
        }
        Record::Settled {
            number, receipt, ..
        }
        | Record::SettledToAccount {
            number, receipt, ..
        }
        | Record::SettledForNothing {
            number, receipt, ..
        } => {
            let receipt = &receipt.document;
            tell!(debug, *number, earned = %receipt.earned, refunded = %receipt.refunded, "settled");
        }
        Record::Cleared { number, .. } => {
            tell!(
                info,
                *number,
                "nothing of it is left on any switch; its capacity is free"
            );
        }
        // Told where they are decided, or about no reservation.
        Record::Mispaid { .. }
        | Record::Interim { .. }
        | Record::Anchored { .. }
        | Record::Moved(_)
        | Record::MovedOn { .. }
        | Record::PayoutSigned { .. }
        | Record::PayoutDead { .. }
        | Record::PayoutFinal { .. }
        | Record::PortNamed { .. }
        | Record::PortRenumbered { .. }
        | Record::SwitchBound { .. }
        | Record::Drained { .. }
        | Record::SellingStopped { .. }
        | Record::Restored { .. }
        | Record::BasePrice { .. }
        | Record::SwitchForgotten { .. }
        | Record::Followed { .. }
        | Record::AccountOpened(_)
        | Record::Deposited(_)
        | Record::DepositReturned(_)
        | Record::Vouchers { .. }
        | Record::VoucherForked { .. }
        | Record::AccountClosing { .. }
        | Record::AccountClosed(_)
        | Record::SessionOpened(_)
        | Record::SessionTold { .. } => {}
    }
}
