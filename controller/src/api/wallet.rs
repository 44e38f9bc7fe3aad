//! `GET /v1/wallet`: what a wallet must know to pay, for wallets that cannot ask a node of the ledger themselves. A node speaks
//! gRPC, which no page in a browser does.
//!
//! Only the wallet of the key that signs is told of, and it is the ledger that is asked, not the core. A node's patience is the
//! operator's, so there is a gate before it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use payflow_payment::ledger::Unavailable;
use tokio::sync::{Semaphore, SemaphorePermit};
use warp::http::StatusCode;

use super::{
    reply::{HttpResponse, document},
    request::{Failed, Received},
    routes::Api,
};
use crate::core::problem::{Problem, ProblemKind};

/// Questions to the ledger at once.
const AT_ONCE: usize = 8;
/// How many questions an address may ask before it has to wait, and after how long it may ask one more.
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_millis(500);
/// Addresses that are remembered; above that those that have not asked for longest are forgotten.
const ADDRESSES: usize = 4_096;

/// Who may ask the ledger now.
#[derive(Debug)]
pub(super) struct Gate {
    under_way: Semaphore,
    asked: Mutex<BTreeMap<IpAddr, Bucket>>,
}

/// How many questions an address has left, as of when.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u32,
    at: Instant,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            under_way: Semaphore::new(AT_ONCE),
            asked: Mutex::default(),
        }
    }
}

impl Gate {
    /// Lets one question through.
    async fn pass(&self, from: IpAddr) -> Result<SemaphorePermit<'_>, Problem> {
        if !take(&mut self.asked.lock(), from, Instant::now()) {
            return Err(Problem::new(
                ProblemKind::TooManyRequests,
                "the ledger is asked too often from this address; wait a second",
            ));
        }
        self.under_way.acquire().await.map_err(|_| {
            Problem::new(
                ProblemKind::NotReady,
                "the controller is stopping; ask again in a moment",
            )
        })
    }
}

fn take(asked: &mut BTreeMap<IpAddr, Bucket>, from: IpAddr, now: Instant) -> bool {
    if asked.len() >= ADDRESSES && !asked.contains_key(&from) {
        let oldest = asked.iter().min_by_key(|(_, bucket)| bucket.at);
        if let Some((&oldest, _)) = oldest {
            asked.remove(&oldest);
        }
    }
    let bucket = asked.entry(from).or_insert(Bucket {
        left: BURST,
        at: now,
    });
    let passed = now.saturating_duration_since(bucket.at).as_millis();
    let more = u32::try_from(passed / REFILL.as_millis()).unwrap_or(BURST);
    if more > 0 {
        bucket.left = bucket.left.saturating_add(more).min(BURST);
        bucket.at = now;
    }
    match bucket.left.checked_sub(1) {
        Some(left) => {
            bucket.left = left;
            true
        }
        None => false,
    }
}

impl Api {
    /// Coins and the price of gas, for the key that has signed.
    pub(super) async fn wallet(&self, received: Received) -> Result<HttpResponse, Failed> {
        let Some(owner) = received.caller.key else {
            return Err(Problem::new(
                ProblemKind::Unauthenticated,
                "this must be signed by the wallet's key",
            )
            .into());
        };
        let from = received.head.connection.peer.ip().to_canonical();
        let _place = self.wallets.pass(from).await?;
        match self.desk.wallet(&owner).await {
            Ok(state) => Ok(document(StatusCode::OK, &state)),
            Err(Unavailable { reason }) => {
                tracing::warn!(reason, "a wallet could not be looked up");
                Err(Problem::new(
                    ProblemKind::LedgerUnavailable,
                    "the ledger does not answer; nothing was paid, ask again in a moment",
                )
                .into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;
    use crate::api::testing::{Served, buyer_key};

    fn address(n: u32) -> IpAddr {
        Ipv4Addr::from(n).into()
    }

    #[test]
    fn an_address_may_ask_a_few_times_at_once_and_then_at_a_steady_pace() {
        let (mut asked, now) = (BTreeMap::new(), Instant::now());
        let at_once = (0..100)
            .filter(|_| take(&mut asked, address(1), now))
            .count();
        assert_eq!(at_once, 10);
        assert!(
            take(&mut asked, address(2), now),
            "another is not held back"
        );
        let later = now + Duration::from_secs(2);
        let after = (0..100)
            .filter(|_| take(&mut asked, address(1), later))
            .count();
        assert_eq!(after, 4);
    }

    #[test]
    fn no_number_of_addresses_takes_more_memory() {
        let (mut asked, now) = (BTreeMap::new(), Instant::now());
        for n in 0..10_000 {
            assert!(take(
                &mut asked,
                address(n),
                now + Duration::from_millis(n.into())
            ));
        }
        assert!(asked.len() <= ADDRESSES);
    }

    #[tokio::test]
    async fn a_wallet_is_told_to_its_own_key_and_to_nobody_else() {
        let served = Served::new([]).await;
        served
            .send("GET", "/v1/wallet", "", "")
            .await
            .is_problem(401, "unauthenticated");
        let response = served.signed("GET", "/v1/wallet", "", "").await;
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.body["address"], format!("0x{}", buyer_key()));
        assert_eq!(response.body["coins"][0]["balance"], 7);
    }

    #[tokio::test]
    async fn whoever_asks_without_end_is_told_to_wait() {
        let served = Served::new([]).await;
        for _ in 0..BURST {
            assert_eq!(served.signed("GET", "/v1/wallet", "", "").await.status, 200);
        }
        let response = served.signed("GET", "/v1/wallet", "", "").await;
        response.is_problem(429, "too-many-requests");
        assert!(response.header("retry-after").is_some());
    }
}
