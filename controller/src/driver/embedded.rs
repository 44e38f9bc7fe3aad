//! The ledger that is paid on: elsewhere, or the development ledger inside this process.

use std::{net::SocketAddr, path::Path, sync::Arc};

use payflow_payment::{
    Amount, ChainId,
    ledger::{
        Ledger,
        dev::{DEFAULT_CHECKPOINT_INTERVAL, DevLedger, Handle, serve},
        iota::{Committee, IotaLedger},
        keys::Keyring,
    },
};
use tracing::{info, warn};

use super::StartError;
use crate::config::LedgerConfig;

/// Below this, an embedded ledger's faucet fills the treasury: gas for some thousand refunds.
const TREASURY_LOW: Amount = Amount(10_000_000_000);

/// What the faucet then gives: a thousand IOTA.
const TREASURY_GIFT: Amount = Amount(1_000_000_000_000);

/// Where the committees are kept that were followed, beside the journal that has the cursor.
const FOLLOWED: &str = "committees.json";

/// The ledger, and the server of it when it is embedded.
pub(super) struct LedgerAccess {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) embedded: Option<Handle>,
}

/// Reaches the ledger; an embedded one is opened, or made, in `dir`.
pub(super) async fn reach(
    config: &LedgerConfig,
    dir: &Path,
    keys: Arc<Keyring>,
) -> Result<LedgerAccess, StartError> {
    let failed = |reason: String| StartError::Ledger { reason };
    match config {
        LedgerConfig::Remote {
            url,
            chain_id,
            committee,
        } => {
            let ledger = adapter(url, chain_id.clone(), keys)?;
            let ledger = if let Some(path) = committee {
                let pinned = read_committee(path)?;
                let (epoch, fingerprint) = (pinned.epoch(), pinned.fingerprint());
                info!(
                    epoch,
                    fingerprint, "what the ledger says is verified from this committee on"
                );
                verifying(ledger, pinned, &dir.join(FOLLOWED))?
            } else {
                warn!(
                    url,
                    "THE LEDGER IS NOT VERIFIED: whatever this node says is believed, also that somebody has paid; \
                     set ledger.committee, or let the node be your own"
                );
                ledger
            };
            Ok(LedgerAccess {
                ledger: Arc::new(ledger),
                embedded: None,
            })
        }
        LedgerConfig::Embedded { grpc, faucet } => {
            let dir = dir.join("ledger");
            let kept = dir.join(FOLLOWED);
            // Every transaction is executed again: seconds, for a long ledger.
            let opened = tokio::task::spawn_blocking(move || {
                std::fs::create_dir_all(&dir)
                    .map_err(|error| format!("{}: {error}", dir.display()))?;
                DevLedger::open(Some(&dir)).map_err(|error| error.to_string())
            });
            let development = opened
                .await
                .map_err(|error| failed(error.to_string()))?
                .map_err(failed)?;
            let server = serve(
                development.clone(),
                *grpc,
                *faucet,
                DEFAULT_CHECKPOINT_INTERVAL,
            )
            .await;
            let server = server.map_err(|error| {
                failed(format!("cannot listen on {grpc} and {faucet}: {error}"))
            })?;
            let ledger = adapter(
                &format!("http://{}", reachable(server.grpc_addr)),
                development.chain_id(),
                keys,
            )?;
            // It is our own, and verified all the same, as any other would be.
            let ledger = verifying(ledger, development.committee(0), &kept)?;
            let treasury = ledger.treasury_address();
            if development.balance_of(&treasury) < TREASURY_LOW {
                development
                    .fund(&treasury, TREASURY_GIFT)
                    .map_err(|error| failed(error.to_string()))?;
                info!(%treasury, nanos = TREASURY_GIFT.get(), "the faucet has filled the treasury");
            }
            Ok(LedgerAccess {
                ledger: Arc::new(ledger),
                embedded: Some(server),
            })
        }
    }
}

fn adapter(url: &str, chain_id: ChainId, keys: Arc<Keyring>) -> Result<IotaLedger, StartError> {
    IotaLedger::new(url, chain_id, keys).map_err(|error| StartError::Ledger {
        reason: error.to_string(),
    })
}

fn verifying(
    ledger: IotaLedger,
    pinned: Committee,
    followed: &Path,
) -> Result<IotaLedger, StartError> {
    ledger
        .verifying(pinned, Some(followed))
        .map_err(|error| StartError::Ledger {
            reason: error.to_string(),
        })
}

/// Reads the file that `ledger.committee` names.
pub(super) fn read_committee(path: &Path) -> Result<Committee, StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Ledger {
        reason: format!("ledger.committee: {}: {error}", path.display()),
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    Committee::from_json(&text).map_err(|error| failed(&error))
}

/// An address to connect to, for one that is listened on.
fn reachable(listening: SocketAddr) -> SocketAddr {
    match listening {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, v6.port()).into()
        }
        other => other,
    }
}
