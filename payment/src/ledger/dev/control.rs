//! Beside the faucet, over HTTP: the committee to pin, and for tests what should go wrong.
//!
//! - `GET /v1/committee`: the committee of epoch 0, as a controller's `ledger.committee` reads it.
//! - `GET /v1/faults`, `PUT /v1/faults`: [`Faults`] as JSON; `{}` makes everything right again.
//! - `POST /v1/epoch`: ends the epoch, and says which there is now.
//!
//! The last two are there only if [`Options::faults_over_http`](super::Options::faults_over_http) says so.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{self, WithStatus};
use warp::{Filter, Rejection};

use super::faucet::{MAX_REQUEST_BYTES, answer};
use super::{DevLedger, Faults};

type Json = WithStatus<reply::Json>;

pub(super) fn routes(ledger: Arc<DevLedger>) -> BoxedFilter<(Json,)> {
    let controlled = ledger.options.faults_over_http;
    let ledger = warp::any().map(move || ledger.clone());
    let committee = warp::path!("v1" / "committee")
        .and(warp::get())
        .and(ledger.clone())
        .map(|ledger: Arc<DevLedger>| ok(&ledger.committee(0)));
    if !controlled {
        return committee.boxed();
    }
    let told = warp::path!("v1" / "faults")
        .and(warp::get())
        .and(ledger.clone())
        .map(|ledger: Arc<DevLedger>| ok(&ledger.faults()));
    let set = warp::path!("v1" / "faults")
        .and(warp::put())
        .and(ledger.clone())
        .and(warp::body::content_length_limit(MAX_REQUEST_BYTES))
        .and(warp::body::json())
        .map(|ledger: Arc<DevLedger>, faults: Faults| {
            tracing::warn!(?faults, "this ledger goes wrong on demand");
            ledger.set_faults(faults);
            ok(&faults)
        });
    let epoch = warp::path!("v1" / "epoch")
        .and(warp::post())
        .and(ledger)
        .and_then(end_epoch);
    let all = committee.or(told).unify().or(set).unify().or(epoch);
    all.unify().boxed()
}

fn ok(body: &impl Serialize) -> Json {
    reply::with_status(reply::json(body), StatusCode::OK)
}

async fn end_epoch(ledger: Arc<DevLedger>) -> Result<Json, Rejection> {
    let ender = Arc::clone(&ledger);
    let ended = tokio::task::spawn_blocking(move || ender.end_epoch()).await;
    Ok(match ended {
        Ok(Ok(last_checkpoint)) => answer(
            StatusCode::OK,
            &json!({ "epoch": ledger.epoch(), "last_checkpoint": last_checkpoint }),
        ),
        Ok(Err(error)) => answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            &json!({ "error": error.to_string() }),
        ),
        Err(error) => answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            &json!({ "error": error.to_string() }),
        ),
    })
}
