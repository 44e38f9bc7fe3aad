//! What the end-to-end tests share: a network of real switches, a ledger, the real `payflow controller` as a child
//! process, buyers with wallets, and an auditor who trusts none of them.
//!
//! Everything listens on ports that the system chooses, so tests run side by side. Nothing outlives its test, however
//! that ends: see [`process`].

pub(crate) mod auditor;
pub(crate) mod buyer;
pub(crate) mod chance;
pub(crate) mod controller;
pub(crate) mod ledger;
pub(crate) mod pki;
pub(crate) mod process;
pub(crate) mod switches;
pub(crate) mod world;

use std::time::{Duration, Instant};

/// Long enough for a loaded machine, short enough to notice a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// One IOTA, in nanos.
pub(crate) const IOTA: u64 = 1_000_000_000;

/// Asks again until there is an answer.
pub(crate) async fn until<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let begun = Instant::now();
    loop {
        let last = match ask().await {
            Ok(found) => return found,
            Err(last) => last,
        };
        assert!(
            begun.elapsed() < PATIENCE,
            "waited in vain until {what}; at last: {last}"
        );
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
