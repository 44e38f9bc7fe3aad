//! `docs/x402-iota.md` says what is done here: its examples are read, verified and compared.
#![allow(clippy::unwrap_used)]

use payflow_payment::{Address, Amount, Asset, ChainId, ledger::iota::inspect};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    ErrorCode, PaymentPayload, PaymentRequired, SettlementResponse,
    iota::{self, Extra},
    wire,
};

const DOCUMENT: &str = include_str!("../../../../docs/x402-iota.md");

/// The blocks of the document in this language and of this type.
fn blocks(language: &str, kind: &str) -> Vec<&'static str> {
    let opening = format!("```{language} {kind}\n");
    let blocks = DOCUMENT.split(opening.as_str()).skip(1);
    blocks.map(|it| it.split("\n```").next().unwrap()).collect()
}

/// Documents of a type, none of which has a member that would be lost.
fn examples<T: Serialize + DeserializeOwned>(kind: &str, count: usize) -> Vec<T> {
    let read = blocks("json", kind).into_iter().map(|text| {
        let value: Value = serde_json::from_str(text).unwrap();
        let read: T = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), value, "{kind}");
        read
    });
    let read: Vec<T> = read.collect();
    assert_eq!(read.len(), count, "{kind}");
    read
}

#[test]
fn what_is_asked_for_is_the_same_in_json_and_on_the_wire() {
    let required: PaymentRequired = examples("PaymentRequired", 1).remove(0);
    let line = blocks("text", "PaymentRequired");
    assert_eq!(wire::decode::<PaymentRequired>(line[0]).unwrap(), required);
    let code = ErrorCode::PaymentRequired.code();
    assert_eq!(required.error.as_deref(), Some(code));
    let schemes: Vec<_> = required
        .accepts
        .iter()
        .map(|it| it.scheme.as_str())
        .collect();
    assert_eq!(schemes, [iota::EXACT, iota::VOUCHER]);
    let extra = required.accepts[0].extra.clone().unwrap();
    let extra: Extra = serde_json::from_value(extra).unwrap();
    assert_eq!(iota::network(&extra.chain_id), required.accepts[0].network);
    assert_eq!(required.accepts[0].asset, Asset::IOTA);
}

#[test]
fn what_is_paid_is_signed_and_pays_what_is_asked_for() {
    let payments: Vec<PaymentPayload> = examples("PaymentPayload", 2);
    for payment in &payments {
        let iota::Offered::Transaction(transaction) = iota::offered(payment).unwrap() else {
            panic!("{payment:?}")
        };
        // Verifies the signatures.
        let inspected = inspect(&transaction).unwrap();
        let paid = |to: &str| {
            let to = Address::new(to);
            payflow_payment::Credit::sum(&inspected.transfers, &to, &Asset::iota())
        };
        let accepted = &payment.accepted;
        let extra: Extra = serde_json::from_value(accepted.extra.clone().unwrap()).unwrap();
        let asked: Vec<_> = match extra.outputs.as_slice() {
            [] => vec![(accepted.pay_to.clone(), accepted.amount.clone())],
            outputs => outputs
                .iter()
                .map(|it| (it.pay_to.to_string(), it.amount.clone()))
                .collect(),
        };
        for (to, amount) in &asked {
            assert_eq!(paid(to).0.to_string(), *amount);
        }
        let sum = Amount::checked_sum(asked.iter().map(|(_, it)| Amount(it.parse().unwrap())));
        assert_eq!(sum.unwrap().0.to_string(), accepted.amount);
        assert_eq!(asked[0].0, accepted.pay_to);
        assert_eq!(extra.refund_to, inspected.payer);
        assert_eq!(iota::quote_of(payment), Some("q7"));
    }
    let settled: Vec<SettlementResponse> = examples("SettlementResponse", 2);
    let iota::Offered::Transaction(transaction) = iota::offered(&payments[0]).unwrap() else {
        panic!()
    };
    let inspected = inspect(&transaction).unwrap();
    assert_eq!(settled[0].transaction, inspected.digest.as_str());
    assert_eq!(settled[0].payer.as_deref(), Some(inspected.payer.as_str()));
    assert!(settled[0].success && !settled[1].success);
    assert!(
        settled
            .iter()
            .all(|it| it.network == payments[0].accepted.network)
    );
}

#[test]
fn every_code_of_the_binding_is_in_the_document_and_the_document_has_no_other() {
    for code in ErrorCode::ALL {
        let said = DOCUMENT.contains(code.code());
        let internal = code == ErrorCode::UnexpectedSettleError;
        assert!(said || internal, "{} is not explained", code.code());
    }
    let known = |it: &str| ErrorCode::ALL.iter().any(|code| code.code() == it);
    for word in DOCUMENT.split('`').skip(1).step_by(2) {
        let is_code = word.starts_with("invalid_") && !word.ends_with('_');
        assert!(!is_code || known(word), "{word}");
    }
}

#[test]
fn the_networks_of_the_document_have_the_form_that_is_written_here() {
    for id in ["iota:6364aad5", "iota:2304aa97"] {
        assert!(DOCUMENT.contains(&format!("`{id}`")));
        assert_eq!(id.len(), iota::network(&ChainId::new("any")).len());
    }
}
