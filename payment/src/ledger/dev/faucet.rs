//! The faucet, over HTTP as IOTA's own (`crates/iota-faucet` of its node): `POST /v1/gas`, then
//! `GET /v1/status/<task>`; or `POST /gas`, which answers when the money is there. Paths, bodies and status codes are the
//! same, down to 201 for a status and 500 for a task that is not known; it gives to everybody and has no limit.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use iota_sdk_crypto::IotaSigner as _;
use iota_sdk_transaction_builder::TransactionBuilder;
use iota_sdk_types::{ObjectId, SignedTransaction, TransactionDigest};
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::StatusCode;
use warp::hyper::body::Bytes;
use warp::reply::{self, Reply, WithStatus};
use warp::{Filter, Rejection};

use super::state::State;
use super::{DevLedger, coin, control, neutral_address};
use crate::{Address, Amount, TxDigest};

/// What the faucet gives at a time: 10 IOTA.
pub const FAUCET_AMOUNT: Amount = Amount(10_000_000_000);

/// The largest request that is read, in bytes.
pub(super) const MAX_REQUEST_BYTES: u64 = 4_096;

/// How long `POST /gas` waits for its checkpoint.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

const GAS_BUDGET: u64 = 10_000_000;

/// Money given by the faucet, final with the next checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who has it.
    pub recipient: Address,
    /// How much.
    pub amount: Amount,
    /// The transaction.
    pub digest: TxDigest,
    coin: ObjectId,
    transaction: TransactionDigest,
}

/// Why the faucet gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaucetError {
    /// Not an address of this ledger.
    #[error("{0} is not an address")]
    BadAddress(Address),
    /// It has not so much left, or the amount is absurd.
    #[error("the faucet cannot give {amount}: {reason}")]
    Refused {
        /// What was asked for.
        amount: Amount,
        /// Why not.
        reason: String,
    },
}

impl DevLedger {
    /// Gives money to an address, in an ordinary transaction.
    pub fn fund(&self, recipient: &Address, amount: Amount) -> Result<Grant, FaucetError> {
        let to: iota_sdk_types::Address = recipient
            .as_str()
            .parse()
            .map_err(|_| FaucetError::BadAddress(recipient.clone()))?;
        let refused = |reason: String| FaucetError::Refused { amount, reason };
        let mut state = self.state.lock();
        let signed = self.transfer(&state, to, amount).map_err(refused)?;
        let transaction = state
            .apply(signed)
            .map_err(|rejection| refused(format!("{rejection:?}")))?;
        let succeeded = state.transaction(&transaction).is_some_and(|executed| {
            matches!(&executed.effects, iota_sdk_types::TransactionEffects::V1(effects) if effects.status.is_success())
        });
        if !succeeded {
            return Err(refused("there is not so much left".into()));
        }
        Ok(Grant {
            recipient: neutral_address(&to),
            amount,
            digest: TxDigest::new(transaction.to_string()),
            coin: ObjectId::derive_id(transaction, 0),
            transaction,
        })
    }

    fn transfer(
        &self,
        state: &State,
        to: iota_sdk_types::Address,
        amount: Amount,
    ) -> Result<SignedTransaction, String> {
        let from = self.faucet.public_key().derive_address();
        let coins = state
            .owned_by(&from)
            .take(coin::MAX_GAS_OBJECTS)
            .map(|coin| coin.object_ref());
        let mut builder = TransactionBuilder::new(from);
        builder
            .send_iota(to, amount.get())
            .gas(coins)
            .gas_budget(GAS_BUDGET)
            .gas_price(coin::REFERENCE_GAS_PRICE);
        let transaction = builder.finish().map_err(|error| error.to_string())?;
        let signature = self
            .faucet
            .sign_transaction(&transaction)
            .map_err(|error| error.to_string())?;
        Ok(SignedTransaction {
            transaction,
            signatures: vec![signature],
        })
    }

    fn is_final(&self, grant: &Grant) -> bool {
        let state = self.state.lock();
        let executed = state.transaction(&grant.transaction);
        executed.is_some_and(|executed| executed.checkpoint.is_some())
    }
}

#[derive(Deserialize)]
struct GasRequest {
    #[serde(rename = "FixedAmountRequest")]
    fixed_amount: FixedAmountRequest,
}

#[derive(Deserialize)]
struct FixedAmountRequest {
    recipient: Address,
}

/// The HTTP interface.
pub(super) fn routes(
    ledger: Arc<DevLedger>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone + Send + Sync + 'static {
    let control = control::routes(Arc::clone(&ledger));
    let ledger = warp::any().map(move || ledger.clone());
    let body = || {
        warp::post()
            .and(warp::header::optional::<String>("content-type"))
            .and(warp::body::content_length_limit(MAX_REQUEST_BYTES))
            .and(warp::body::bytes())
    };
    let gas = warp::path!("v1" / "gas")
        .and(body())
        .and(ledger.clone())
        .map(|kind, body: Bytes, ledger: Arc<DevLedger>| give(&ledger, kind, &body));
    let gas_at_once = warp::path!("gas")
        .and(body())
        .and(ledger.clone())
        .then(give_at_once);
    let status = warp::path!("v1" / "status" / String)
        .and(warp::get())
        .and(ledger)
        .map(|task: String, ledger: Arc<DevLedger>| status(&ledger, &task));
    let health = warp::path::end().and(warp::get()).map(|| "OK");
    let all = gas.or(gas_at_once).unify().or(status).unify();
    // Pages of others may ask as well, as they may ask IOTA's own.
    let anybody = warp::cors()
        .allow_any_origin()
        .allow_methods(["GET", "POST"])
        .allow_header("content-type");
    all.with(anybody).or(control).or(health).recover(refuse)
}

/// What is asked for; or the answer to what cannot be read.
fn read(kind: Option<String>, body: &[u8]) -> Result<Address, (StatusCode, String)> {
    if kind.is_none_or(|kind| !kind.starts_with("application/json")) {
        let reason = "expected a request with `Content-Type: application/json`";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, reason.to_owned()));
    }
    let request: GasRequest = serde_json::from_slice(body).map_err(|error| {
        let status = match error.classify() {
            serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        (status, error.to_string())
    })?;
    let recipient = request.fixed_amount.recipient;
    match recipient.as_str().parse::<iota_sdk_types::Address>() {
        Ok(_) => Ok(recipient),
        Err(error) => Err((StatusCode::UNPROCESSABLE_ENTITY, error.to_string())),
    }
}

fn give(ledger: &DevLedger, kind: Option<String>, body: &[u8]) -> WithStatus<reply::Json> {
    let refused =
        |status, reason: String| answer(status, &json!({ "task": null, "error": reason }));
    let recipient = match read(kind, body) {
        Ok(recipient) => recipient,
        Err((status, reason)) => return refused(status, reason),
    };
    match ledger.fund(&recipient, FAUCET_AMOUNT) {
        Ok(grant) => {
            let task = task_id(&grant.transaction);
            ledger.grants.lock().insert(task.clone(), grant);
            answer(
                StatusCode::ACCEPTED,
                &json!({ "task": task, "error": null }),
            )
        }
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn give_at_once(
    kind: Option<String>,
    body: Bytes,
    ledger: Arc<DevLedger>,
) -> WithStatus<reply::Json> {
    let refused = |status, reason: String| {
        let nothing: [Value; 0] = [];
        answer(
            status,
            &json!({ "transferredGasObjects": nothing, "error": reason }),
        )
    };
    let recipient = match read(kind, &body) {
        Ok(recipient) => recipient,
        Err((status, reason)) => return refused(status, reason),
    };
    let grant = match ledger.fund(&recipient, FAUCET_AMOUNT) {
        Ok(grant) => grant,
        Err(error) => return refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let mut newest = ledger.newest.subscribe();
    let all_done = async { while !ledger.is_final(&grant) && newest.changed().await.is_ok() {} };
    match tokio::time::timeout(LONGEST_WAIT, all_done).await {
        Ok(()) => answer(
            StatusCode::CREATED,
            &json!({ "transferredGasObjects": [sent(&grant)], "error": null }),
        ),
        Err(_) => refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("no checkpoint within {LONGEST_WAIT:?}"),
        ),
    }
}

/// A coin as the faucet tells of it.
fn sent(grant: &Grant) -> Value {
    json!({
        "amount": grant.amount,
        "id": grant.coin.to_string(),
        "transferTxDigest": grant.digest,
    })
}

fn status(ledger: &DevLedger, task: &str) -> WithStatus<reply::Json> {
    let Some(grant) = ledger.grants.lock().get(task).cloned() else {
        let body = json!({ "status": null, "error": "task id not found" });
        return answer(StatusCode::INTERNAL_SERVER_ERROR, &body);
    };
    let status = if ledger.is_final(&grant) {
        json!({
            "status": "SUCCEEDED",
            "transferred_gas_objects": { "sent": [sent(&grant)] }
        })
    } else {
        json!({ "status": "INPROGRESS", "transferred_gas_objects": null })
    };
    answer(
        StatusCode::CREATED,
        &json!({ "status": status, "error": null }),
    )
}

/// A UUID (RFC 9562, version 8, where IOTA's own has version 4) that stands for a transaction.
fn task_id(transaction: &TransactionDigest) -> String {
    let mut hex = String::new();
    for (byte, n) in <TransactionDigest as AsRef<[u8]>>::as_ref(transaction)
        .iter()
        .zip(0..16)
    {
        if matches!(n, 4 | 6 | 8 | 10) {
            hex.push('-');
        }
        let byte = match n {
            6 => byte & 0x0f | 0x80,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        hex.push_str(&hex::encode([byte]));
    }
    hex
}

async fn refuse(rejection: Rejection) -> Result<WithStatus<reply::Json>, Infallible> {
    let (status, error) = if rejection.is_not_found() {
        (StatusCode::NOT_FOUND, "no such resource".to_owned())
    } else {
        (StatusCode::BAD_REQUEST, format!("{rejection:?}"))
    };
    Ok(answer(status, &json!({ "task": null, "error": error })))
}

pub(super) fn answer(status: StatusCode, body: &Value) -> WithStatus<reply::Json> {
    reply::with_status(reply::json(body), status)
}
