//! The binding to IOTA: network ids, the scheme `exact`, and prepaid vouchers (`docs/x402-iota.md`).

use iota_sdk_types::CheckpointDigest;
use payflow_payment::{Address, Amount, ChainId, PaymentTerms, SignedTransaction, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    error::ErrorCode,
    wire::{PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo, VERSION},
};

/// A whole signed transaction that pays exactly what is asked for, to an address made for it.
pub const EXACT: &str = "exact";
/// A voucher of a prepaid account with this operator.
pub const VOUCHER: &str = "prepaid-voucher";
/// Who is paid by a voucher: not an address, but whoever the account is with.
pub const OPERATOR: &str = "operator";

/// The namespace of IOTA's Move-based networks.
const NAMESPACE: &str = "iota";

/// The network in CAIP-2: `iota:` and the chain identifier as nodes show it, the first four bytes of the genesis checkpoint's
/// digest in hexadecimal. A chain whose id is no such digest has the first four bytes of its SHA-256.
#[must_use]
pub fn network(chain_id: &ChainId) -> String {
    let first = |bytes: &[u8]| hex::encode(bytes.get(..4).unwrap_or_default());
    let reference = match CheckpointDigest::from_base58(chain_id.as_str()) {
        Ok(digest) => first(digest.as_ref()),
        Err(_) => first(&Sha256::digest(chain_id.as_str())),
    };
    format!("{NAMESPACE}:{reference}")
}

/// `extra` of a requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extra {
    /// The quote that is bought.
    pub quote: String,
    /// The whole id of the chain.
    pub chain_id: ChainId,
    /// The transaction must be in a checkpoint whose time is at most this, or handed over before; Unix milliseconds.
    pub expires_at: UnixMillis,
    /// For how long after that it may still become known.
    pub grace_ms: u64,
    /// Where refunds go.
    pub refund_to: Address,
    /// Kept at most from a payment that buys nothing, decimal.
    pub mispayment_fee: String,
    /// Every address that the transaction must pay, where that is more than one: `amount` is the sum of them then, and `payTo`
    /// the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
}

/// One of several addresses to pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// To whom.
    pub pay_to: Address,
    /// How much, decimal.
    pub amount: String,
}

/// A payment that could be read; whether it pays enough to whom it should is for the core to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// Scheme [`EXACT`].
    Transaction(SignedTransaction),
    /// Scheme [`VOUCHER`].
    Voucher {
        /// In base64.
        voucher: String,
        /// It pays the first seconds, and others follow.
        pay_as_you_go: bool,
    },
}

/// How to pay for a quote, or for all of a group, that `quote` is the first of.
#[must_use]
pub fn required(
    quote: &str,
    terms: &[PaymentTerms],
    resource: ResourceInfo,
    error: ErrorCode,
    now: UnixMillis,
) -> PaymentRequired {
    PaymentRequired {
        x402_version: VERSION,
        error: Some(error.code().to_owned()),
        resource,
        accepts: requirements(quote, terms, now),
        extensions: serde_json::Map::new(),
    }
}

/// The ways to pay for all of these at once; none where the sum is beyond counting.
#[must_use]
pub fn requirements(
    quote: &str,
    terms: &[PaymentTerms],
    now: UnixMillis,
) -> Vec<PaymentRequirements> {
    let Some(first) = terms.first() else {
        return Vec::new();
    };
    let Some(amount) = Amount::checked_sum(terms.iter().map(|it| it.price)) else {
        return Vec::new();
    };
    let outputs = terms.iter().map(|it| Output {
        pay_to: it.pay_to.clone(),
        amount: it.price.0.to_string(),
    });
    let outputs: Vec<_> = outputs.collect();
    let extra = Extra {
        quote: quote.to_owned(),
        chain_id: first.chain_id.clone(),
        expires_at: first.expires_at,
        grace_ms: first.grace_ms,
        refund_to: first.refund_to.clone(),
        mispayment_fee: first.mispayment_fee.0.to_string(),
        outputs: if outputs.len() > 1 {
            outputs
        } else {
            Vec::new()
        },
    };
    let exact = PaymentRequirements {
        scheme: EXACT.to_owned(),
        network: network(&first.chain_id),
        amount: amount.0.to_string(),
        asset: first.asset.to_string(),
        pay_to: first.pay_to.to_string(),
        // Rounded down, so that nobody is told more time than there is.
        max_timeout_seconds: first.expires_at.0.saturating_sub(now.0) / 1000,
        extra: serde_json::to_value(extra).ok(),
    };
    let voucher = PaymentRequirements {
        scheme: VOUCHER.to_owned(),
        pay_to: OPERATOR.to_owned(),
        extra: Some(json!({ "quote": quote, "chainId": first.chain_id })),
        ..exact.clone()
    };
    vec![exact, voucher]
}

/// The quote that a payment says it is for.
#[must_use]
pub fn quote_of(payment: &PaymentPayload) -> Option<&str> {
    payment.accepted.extra.as_ref()?.get("quote")?.as_str()
}

/// Whether what a payment says it accepts is what is asked for now. Seconds that have passed since, and `extra`, which only
/// repeats what the quote says, may differ.
///
/// # Errors
/// The code of what differs.
pub fn accepts(
    accepted: &PaymentRequirements,
    asked: &[PaymentRequirements],
) -> Result<(), ErrorCode> {
    let mut ways = asked.iter().filter(|it| it.scheme == accepted.scheme);
    let way = ways.next().ok_or(ErrorCode::UnsupportedScheme)?;
    if way.network != accepted.network {
        return Err(ErrorCode::InvalidNetwork);
    }
    let said = |it: &PaymentRequirements| (it.amount.clone(), it.asset.clone(), it.pay_to.clone());
    if said(way) != said(accepted) {
        return Err(ErrorCode::InvalidPaymentRequirements);
    }
    Ok(())
}

/// Reads what a payment holds, by its scheme.
///
/// # Errors
/// The code, and what is wrong for people.
pub fn offered(payment: &PaymentPayload) -> Result<Offered, (ErrorCode, String)> {
    if payment.x402_version != VERSION {
        let said = payment.x402_version;
        let why = format!("x402Version is {said}; {VERSION} is spoken here");
        return Err((ErrorCode::InvalidVersion, why));
    }
    let wrong = |why: String| (ErrorCode::InvalidPayload, why);
    match payment.accepted.scheme.as_str() {
        EXACT => Ok(Offered::Transaction(transaction(&payment.payload)?)),
        VOUCHER => {
            let read: VoucherPayload = serde_json::from_value(payment.payload.clone())
                .map_err(|error| wrong(format!("payload: {error}")))?;
            Ok(Offered::Voucher {
                voucher: read.voucher,
                pay_as_you_go: read.pay_as_you_go,
            })
        }
        other => Err((
            ErrorCode::UnsupportedScheme,
            format!("scheme {other:?} is not accepted; {EXACT:?} and {VOUCHER:?} are"),
        )),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExactPayload {
    transaction: String,
    #[serde(default)]
    signatures: Option<Vec<String>>,
    #[serde(default)]
    signature: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VoucherPayload {
    voucher: String,
    #[serde(default)]
    pay_as_you_go: bool,
}

/// `{transaction, signatures}`, or `{transaction, signature}` where there is one, or the whole in `transaction` alone.
fn transaction(payload: &Value) -> Result<SignedTransaction, (ErrorCode, String)> {
    let wrong = |why: String| (ErrorCode::InvalidPayload, format!("payload: {why}"));
    let read: ExactPayload =
        serde_json::from_value(payload.clone()).map_err(|error| wrong(error.to_string()))?;
    let signatures = match (read.signatures, read.signature) {
        (None, None) => None,
        (Some(several), None) => Some(several),
        (None, Some(one)) => Some(vec![one]),
        (Some(_), Some(_)) => {
            return Err(wrong("write signatures or signature, not both".to_owned()));
        }
    };
    let form = match signatures {
        None => Value::from(read.transaction),
        Some(signatures) => json!({ "tx_bytes": read.transaction, "signatures": signatures }),
    };
    serde_json::from_value(form).map_err(|_| {
        let why = "transaction and signatures are not the base64 of a signed transaction";
        wrong(why.to_owned())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    use payflow_payment::Asset;

    use super::*;

    fn terms(pay_to: &str, price: u64) -> PaymentTerms {
        PaymentTerms {
            chain_id: ChainId::new("chain-1"),
            asset: Asset::iota(),
            pay_to: Address::new(pay_to),
            price: Amount(price),
            refund_to: Address::new("0xab"),
            expires_at: UnixMillis(31_999),
            grace_ms: 10_000,
            cancellation_fee: Amount(5),
            mispayment_fee: Amount(6),
        }
    }

    fn payment(scheme: &str, payload: Value) -> PaymentPayload {
        PaymentPayload {
            x402_version: VERSION,
            resource: None,
            accepted: PaymentRequirements {
                scheme: scheme.to_owned(),
                ..requirements("q7", &[terms("0xcd", 7)], UnixMillis(0)).remove(0)
            },
            payload,
            extensions: serde_json::Map::new(),
        }
    }

    #[test]
    fn a_network_is_named_by_the_first_four_bytes_of_its_genesis() {
        // As nodes of IOTA's mainnet show it.
        let digest = CheckpointDigest::new({
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&[0x63, 0x64, 0xaa, 0xd5]);
            bytes
        });
        let chain = ChainId::new(digest.to_base58());
        assert_eq!(network(&chain), "iota:6364aad5");
        let other = network(&ChainId::new("chain-1"));
        assert_eq!(other.len(), "iota:6364aad5".len());
        assert_ne!(other, network(&ChainId::new("chain-2")));
    }

    #[test]
    fn one_quote_is_paid_to_its_address_within_whole_seconds() {
        let ways = requirements("q7", &[terms("0xcd", 7)], UnixMillis(1_000));
        let exact = &ways[0];
        assert_eq!(
            (exact.scheme.as_str(), exact.amount.as_str()),
            ("exact", "7")
        );
        assert_eq!(
            (exact.pay_to.as_str(), exact.asset.as_str()),
            ("0xcd", Asset::IOTA)
        );
        assert_eq!(exact.max_timeout_seconds, 30, "30.999 s, rounded down");
        let extra = exact.extra.as_ref().unwrap();
        assert_eq!(extra["quote"], "q7");
        assert_eq!(extra.get("outputs"), None);
        let late = requirements("q7", &[terms("0xcd", 7)], UnixMillis(40_000));
        assert_eq!(late[0].max_timeout_seconds, 0);
    }

    #[test]
    fn a_group_is_paid_as_a_sum_to_all_of_its_addresses() {
        let ways = requirements("q7", &[terms("0xcd", 7), terms("0xce", 8)], UnixMillis(0));
        assert_eq!(
            (ways[0].amount.as_str(), ways[0].pay_to.as_str()),
            ("15", "0xcd")
        );
        let extra: Extra = serde_json::from_value(ways[0].extra.clone().unwrap()).unwrap();
        let outputs: Vec<_> = extra
            .outputs
            .iter()
            .map(|it| (it.pay_to.as_str(), it.amount.as_str()))
            .collect();
        assert_eq!(outputs, [("0xcd", "7"), ("0xce", "8")]);
        assert_eq!(requirements("q7", &[], UnixMillis(0)), []);
        let endless = [terms("0xcd", u64::MAX), terms("0xce", 1)];
        assert_eq!(requirements("q7", &endless, UnixMillis(0)), []);
    }

    #[test]
    fn whoever_accepts_something_else_is_told_what_differs() {
        let asked = requirements("q7", &[terms("0xcd", 7)], UnixMillis(0));
        let with = |change: fn(&mut PaymentRequirements)| {
            let mut accepted = asked[0].clone();
            change(&mut accepted);
            accepts(&accepted, &asked)
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|it| it.max_timeout_seconds = 3), Ok(()));
        assert_eq!(with(|it| it.extra = None), Ok(()));
        let network = with(|it| it.network = "iota:2304aa97".to_owned());
        assert_eq!(network, Err(ErrorCode::InvalidNetwork));
        let scheme = with(|it| it.scheme = "upto".to_owned());
        assert_eq!(scheme, Err(ErrorCode::UnsupportedScheme));
        let others: [fn(&mut PaymentRequirements); 3] = [
            |it| it.amount = "6".to_owned(),
            |it| it.asset = "0x2::coin::COIN".to_owned(),
            |it| it.pay_to = "0xce".to_owned(),
        ];
        for change in others {
            assert_eq!(with(change), Err(ErrorCode::InvalidPaymentRequirements));
        }
    }

    #[test]
    fn a_transaction_is_read_in_the_forms_that_wallets_give() {
        let base64 = |bytes: &[u8]| BASE64.encode(bytes);
        let parts =
            json!({ "transaction": base64(&[7, 8, 9]), "signatures": [base64(&[1, 2, 3])] });
        let one = json!({ "transaction": base64(&[7, 8, 9]), "signature": base64(&[1, 2, 3]) });
        let whole = json!({ "transaction": base64(&[7, 8, 9, 1, 3, 1, 2, 3]) });
        let read: Vec<_> = [parts, one, whole]
            .into_iter()
            .map(|it| offered(&payment(EXACT, it)).unwrap())
            .collect();
        assert!(read.windows(2).all(|it| it[0] == it[1]), "{read:?}");
        for wrong in [
            json!({}),
            json!({ "transaction": 7 }),
            json!({ "transaction": "%" }),
            json!({ "transaction": "AA==", "signature": "AA==", "signatures": [] }),
            json!({ "transaction": "AA==", "digest": "x" }),
        ] {
            let (code, _) = offered(&payment(EXACT, wrong.clone())).unwrap_err();
            assert_eq!(code, ErrorCode::InvalidPayload, "{wrong}");
        }
    }

    #[test]
    fn a_voucher_is_read_and_may_pay_as_it_goes() {
        let read = |payload| offered(&payment(VOUCHER, payload));
        let voucher = |pay_as_you_go| Offered::Voucher {
            voucher: "AA==".to_owned(),
            pay_as_you_go,
        };
        assert_eq!(read(json!({ "voucher": "AA==" })), Ok(voucher(false)));
        let metered = json!({ "voucher": "AA==", "payAsYouGo": true });
        assert_eq!(read(metered), Ok(voucher(true)));
        let (code, _) = read(json!({ "vouchers": [] })).unwrap_err();
        assert_eq!(code, ErrorCode::InvalidPayload);
    }

    #[test]
    fn other_versions_and_schemes_are_told_apart() {
        let mut old = payment(EXACT, json!({ "transaction": "AA==" }));
        old.x402_version = 1;
        assert_eq!(offered(&old).unwrap_err().0, ErrorCode::InvalidVersion);
        let upto = payment("upto", json!({}));
        assert_eq!(offered(&upto).unwrap_err().0, ErrorCode::UnsupportedScheme);
    }
}
