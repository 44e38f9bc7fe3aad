//! Documents that are put together where they are answered, and so have no type that is written: only their schemas are used.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    api::x402::answer::PaidView,
    core::{
        accounts::document::{AccountView, Counted},
        document::{OutlookDocument, PriceDocument, ReservationView},
        network::{Host, SwitchView},
    },
};

/// A list of reservations.
#[derive(Serialize, JsonSchema)]
pub(super) struct ReservationList {
    /// Newest first.
    reservations: Vec<ReservationView>,
    /// Whether there are others after these.
    more: bool,
}

/// A list of prepaid accounts.
#[derive(Serialize, JsonSchema)]
pub(super) struct AccountList {
    /// Newest first.
    accounts: Vec<AccountView>,
    /// Whether there are others after these.
    more: bool,
}

/// A list of hosts.
#[derive(Serialize, JsonSchema)]
pub(super) struct HostList {
    /// By address.
    hosts: Vec<Host>,
    /// Whether there are others after these.
    more: bool,
}

/// All switches.
#[derive(Serialize, JsonSchema)]
pub(super) struct SwitchList {
    /// By datapath id.
    switches: Vec<SwitchView>,
}

/// What became of each voucher.
#[derive(Serialize, JsonSchema)]
pub(super) struct VoucherResults {
    /// In the order of the request.
    results: Vec<VoucherResult>,
}

/// Counted, or why not.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum VoucherResult {
    Counted(Counted),
    Refused(ProblemDocument),
}

/// That the API answers.
#[derive(Serialize, JsonSchema)]
pub(super) struct Health {
    /// `ok`.
    status: String,
}

/// A price now, or prices of several starts.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum PriceAnswer {
    Price(PriceDocument),
    Outlook(OutlookDocument),
}

/// The reservation; for whoever has shown nothing but a payment, the state of the purchase and nothing of the flow.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Purchased {
    Signed(Box<ReservationView>),
    Paid(PaidView<'static>),
}

/// What is wrong, and what to do about it (RFC 9457). Members beside these depend on the problem.
#[derive(Serialize, JsonSchema)]
pub(super) struct ProblemDocument {
    /// `urn:payflow:problem:` and a name.
    r#type: String,
    /// What kind of problem it is, for people.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What is wrong in this case, and what to do, for people.
    detail: String,
}
