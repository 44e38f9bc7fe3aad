//! What the ledger itself says: balances, gas, memos. Asks the ledger, never the controller.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use payflow_payment::ledger::{Ledger as _, iota::IotaLedger, keys::Keyring};
use payflow_payment::{Address, TxDigest, memo};
use serde::{Deserialize, Serialize};

/// `payflow-lab ledger`: run where the ledger can be reached.
#[derive(Debug, clap::Args)]
pub struct AuditorArgs {
    /// The ledger's gRPC endpoint
    #[arg(long, default_value = "http://127.0.0.1:50051")]
    url: String,
    /// The operator's key file, to include the treasury
    #[arg(long)]
    operator_key: Option<PathBuf>,
    /// An address whose balance is wanted
    #[arg(long = "address")]
    addresses: Vec<String>,
    /// A transaction whose gas and memo are wanted
    #[arg(long = "digest")]
    digests: Vec<String>,
}

/// What the ledger says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Audit {
    /// Nanos by address.
    pub balances: BTreeMap<String, u64>,
    /// Net gas of each transaction, in nanos.
    pub gas_nanos: BTreeMap<String, i64>,
    /// The receipt hash that a transaction carries, hexadecimal.
    pub receipt_hashes: BTreeMap<String, String>,
}

impl Audit {
    /// All balances together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.balances
            .values()
            .fold(0, |sum, nanos| sum.saturating_add(*nanos))
    }

    /// The gas of all transactions together.
    #[must_use]
    pub fn gas(&self) -> i64 {
        self.gas_nanos
            .values()
            .fold(0, |sum, nanos| sum.saturating_add(*nanos))
    }
}

/// Asks the ledger.
///
/// # Errors
/// When it does not answer, or does not know a transaction.
pub fn audit(args: &AuditorArgs) -> anyhow::Result<Audit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(ask(args))
}

async fn ask(args: &AuditorArgs) -> anyhow::Result<Audit> {
    let chain_id = IotaLedger::discover_chain_id(&args.url).await?;
    let keys = match &args.operator_key {
        Some(path) => Keyring::load(path, None)?,
        None => Keyring::from_seed([0; 32]),
    };
    let ledger = IotaLedger::new(&args.url, chain_id, Arc::new(keys))?;
    let mut addresses: Vec<Address> = Vec::new();
    for text in &args.addresses {
        addresses.push(
            ledger
                .parse_address(text)
                .with_context(|| format!("{text:?} is not an address"))?,
        );
    }
    if args.operator_key.is_some() {
        addresses.push(ledger.treasury_address());
    }
    let mut found = Audit::default();
    for address in addresses {
        let balance = ledger.balance(&address).await?;
        found.balances.insert(address.to_string(), balance.0);
    }
    for text in &args.digests {
        let digest = TxDigest::new(text.as_str());
        let gas = ledger
            .gas_of(&digest)
            .await?
            .with_context(|| format!("{text} is not on the ledger"))?;
        found
            .gas_nanos
            .insert(text.clone(), i64::try_from(gas.net())?);
        if let Some(hash) = ledger
            .memo_of(&digest)
            .await?
            .as_deref()
            .and_then(memo::decode)
        {
            found.receipt_hashes.insert(text.clone(), hash.to_string());
        }
    }
    Ok(found)
}

/// How long the ledger may take to answer everything.
pub const AUDIT_LIMIT: Duration = Duration::from_secs(30);
