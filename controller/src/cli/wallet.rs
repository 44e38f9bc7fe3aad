//! A host's key and coins.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, Subcommand};
use payflow_payment::{
    Address, Amount, ChainId, PublicKey,
    ledger::{
        iota::{HostLedger, IotaLedger},
        keys::{Passphrase, Wallet},
    },
};
use serde_json::{Value, json};

use super::{
    Common, Out,
    error::CliError,
    passphrase::PassphraseArgs,
    units::{show_amount, show_millis},
};
use crate::api::{WellKnown, signature::MessageSigner};

/// How long a faucet may take.
const FAUCET_TIME: Duration = Duration::from_secs(30);
const FAUCET_PAUSE: Duration = Duration::from_millis(200);

/// `payflow wallet ...`.
#[derive(Debug, Subcommand)]
pub(super) enum WalletCommand {
    /// Make a key. An existing one is never overwritten. To put it under a passphrase later: payflow key protect FILE.
    New {
        #[command(flatten)]
        wallet: WalletArgs,
        /// Put it under a passphrase from the start.
        #[arg(long)]
        protect: bool,
    },
    /// Print the address that coins are sent to.
    Address(WalletArgs),
    /// Ask the ledger what the wallet holds.
    Balance(LedgerArgs),
    /// Get coins from a faucet, where the ledger has one.
    Fund {
        #[command(flatten)]
        ledger: LedgerArgs,
        /// The faucet; by default the one the controller names.
        #[arg(long, env = "PAYFLOW_FAUCET", value_name = "URL")]
        faucet: Option<String>,
    },
}

/// Which wallet.
#[derive(Clone, Debug, Args)]
pub(super) struct WalletArgs {
    /// The file with the wallet's key; by default ~/.payflow/wallet.key.
    #[arg(long, env = "PAYFLOW_WALLET", value_name = "FILE")]
    wallet: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Which wallet on which ledger.
#[derive(Clone, Debug, Args)]
pub(super) struct LedgerArgs {
    #[command(flatten)]
    pub(super) wallet: WalletArgs,
    /// A node's gRPC endpoint; by default the one the controller names.
    #[arg(long, env = "PAYFLOW_LEDGER", value_name = "URL")]
    pub(super) ledger: Option<String>,
}

/// A wallet that pays, and that signs requests: one key is both payer and buyer.
#[derive(Clone)]
pub struct HostWallet {
    wallet: Arc<Wallet>,
    path: PathBuf,
}

impl WalletArgs {
    fn path(&self) -> Result<PathBuf, CliError> {
        if let Some(path) = &self.wallet {
            return Ok(path.clone());
        }
        match std::env::var_os("HOME") {
            Some(home) if !home.is_empty() => {
                Ok(Path::new(&home).join(".payflow").join("wallet.key"))
            }
            _ => Err(CliError::Usage(
                "HOME is not set; say where the wallet is with --wallet FILE".to_owned(),
            )),
        }
    }

    /// Reads the wallet.
    pub(super) fn load(&self) -> Result<HostWallet, CliError> {
        let path = self.path()?;
        if !path.exists() {
            return Err(CliError::Failed(format!(
                "there is no wallet at {}; make one with: payflow wallet new",
                path.display()
            )));
        }
        HostWallet::load(&path, self.passphrase.of(&path)?.as_ref())
    }
}

impl HostWallet {
    /// Reads the key in a file that `payflow wallet new` has made, with its passphrase if it is under one.
    ///
    /// # Errors
    /// There is none, it is no key, others may read it, or the passphrase is missing or wrong.
    pub fn load(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, CliError> {
        let wallet =
            Wallet::load(path, passphrase).map_err(|error| CliError::Failed(error.to_string()))?;
        Ok(Self {
            wallet: Arc::new(wallet),
            path: path.to_owned(),
        })
    }

    /// What pays.
    pub(super) fn payer(&self) -> &Wallet {
        &self.wallet
    }

    /// Where coins are sent.
    #[must_use]
    pub fn address(&self) -> Address {
        self.wallet.address()
    }

    /// The key that buys.
    #[must_use]
    pub fn buyer(&self) -> PublicKey {
        self.wallet.public_key()
    }

    /// The file of the key.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl MessageSigner for HostWallet {
    fn public_key(&self) -> [u8; 32] {
        self.buyer().0
    }

    fn sign_bytes(&self, bytes: &[u8]) -> Option<[u8; 64]> {
        self.wallet.sign_bytes(bytes)
    }
}

impl std::fmt::Debug for HostWallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostWallet({})", self.address())
    }
}

/// Runs a wallet command.
pub(super) async fn run(command: WalletCommand, common: &Common, out: Out) -> Result<(), CliError> {
    match command {
        WalletCommand::New { wallet, protect } => new(&wallet, protect, out),
        WalletCommand::Address(args) => {
            let wallet = args.load()?;
            let address = wallet.address();
            out.print(
                &json!({ "address": address, "public_key": wallet.buyer() }),
                || address.to_string(),
            )
        }
        WalletCommand::Balance(args) => {
            let wallet = args.wallet.load()?;
            let url = ledger_url(&args, common).await?;
            let (ledger, chain_id) = connect(&url, None).await?;
            let balance = balance(&ledger, &wallet.address()).await?;
            let document = json!({
                "address": wallet.address(), "chain_id": chain_id, "balance_nanos": balance
            });
            out.print(&document, || show_amount(balance))
        }
        WalletCommand::Fund { ledger, faucet } => fund(&ledger, faucet, common, out).await,
    }
}

/// Connects to a ledger and makes sure which chain it is: `expected`, or whatever it says.
pub(super) async fn connect(
    url: &str,
    expected: Option<&ChainId>,
) -> Result<(HostLedger, ChainId), CliError> {
    let failed = |reason: String| {
        CliError::Failed(format!(
            "the ledger at {url}: {reason}; is --ledger (or PAYFLOW_LEDGER) its gRPC endpoint?"
        ))
    };
    let chain_id = match expected {
        Some(chain_id) => chain_id.clone(),
        None => IotaLedger::discover_chain_id(url)
            .await
            .map_err(|error| failed(error.to_string()))?,
    };
    let ledger =
        HostLedger::new(url, chain_id.clone()).map_err(|error| failed(error.to_string()))?;
    ledger
        .check_chain()
        .await
        .map_err(|error| failed(error.to_string()))?;
    Ok((ledger, chain_id))
}

/// The ledger to pay a controller on: the one that was named, or else the one that it names, on the chain that it says.
pub(super) async fn connect_to_pay(
    args: &LedgerArgs,
    known: &WellKnown,
) -> Result<HostLedger, CliError> {
    let url = args.ledger.as_ref().or(known.ledger_url.as_ref());
    let url = url.ok_or_else(|| {
        CliError::Usage("the controller names no ledger; say which with --ledger URL".to_owned())
    })?;
    let (ledger, _) = connect(url, Some(&known.chain_id)).await?;
    Ok(ledger)
}

/// The ledger that was named, or else the one that the controller names.
pub(super) async fn ledger_url(args: &LedgerArgs, common: &Common) -> Result<String, CliError> {
    if let Some(url) = &args.ledger {
        return Ok(url.clone());
    }
    let client = common.client()?;
    client.well_known().await?.ledger_url.ok_or_else(|| {
        CliError::Usage("the controller names no ledger; say which with --ledger URL".to_owned())
    })
}

async fn balance(ledger: &HostLedger, address: &Address) -> Result<Amount, CliError> {
    ledger
        .balance(address)
        .await
        .map_err(|error| CliError::Failed(error.to_string()))
}

fn new(args: &WalletArgs, protect: bool, out: Out) -> Result<(), CliError> {
    let path = args.path()?;
    if args.wallet.is_none()
        && let Some(directory) = path.parent()
    {
        private_directory(directory)
            .map_err(|error| CliError::Failed(format!("{}: {error}", directory.display())))?;
    }
    let passphrase = (protect || args.passphrase.is_said())
        .then(|| args.passphrase.new_one())
        .transpose()?;
    let wallet = Wallet::create(&path, passphrase.as_ref())
        .map_err(|error| CliError::Failed(error.to_string()))?;
    let document = json!({ "address": wallet.address(), "file": path });
    out.print(&document, || {
        format!(
            "{}\nThe key is in {}. Whoever has that file has the coins: keep a copy, and keep it to yourself.",
            wallet.address(),
            path.display()
        )
    })
}

fn private_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Asks a faucet of IOTA's kind: `POST /v1/gas`, then `GET /v1/status/{task}` until it is decided.
async fn fund(
    args: &LedgerArgs,
    faucet: Option<String>,
    common: &Common,
    out: Out,
) -> Result<(), CliError> {
    let wallet = args.wallet.load()?;
    let faucet = match faucet {
        Some(url) => url,
        None => common.client()?.well_known().await?.faucet_url.ok_or_else(|| {
            CliError::Usage("the controller names no faucet; say which with --faucet URL, where there is one".to_owned())
        })?,
    };
    let base = faucet.trim_end_matches('/');
    let failed = |reason: String| CliError::Failed(format!("the faucet at {base}: {reason}"));
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(FAUCET_TIME)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let begun = tokio::time::Instant::now();
    let asked = http
        .post(format!("{base}/v1/gas"))
        .json(&json!({ "FixedAmountRequest": { "recipient": wallet.address() } }));
    let answer = faucet_answer(asked).await.map_err(failed)?;
    let task = answer
        .get("task")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let task = match (task, answer.get("error").and_then(Value::as_str)) {
        (Some(task), None) => task,
        (_, error) => {
            return Err(failed(
                error.unwrap_or("it has answered something else").to_owned(),
            ));
        }
    };
    let transfers = loop {
        let answer = faucet_answer(http.get(format!("{base}/v1/status/{task}")))
            .await
            .map_err(failed)?;
        let status = answer.get("status");
        match status
            .and_then(|status| status.get("status"))
            .and_then(Value::as_str)
        {
            Some("SUCCEEDED") => {
                break status
                    .and_then(|status| status.get("transferred_gas_objects"))
                    .cloned();
            }
            Some("DISCARDED") => {
                return Err(failed(
                    "it has discarded the request; try again later".to_owned(),
                ));
            }
            _ if begun.elapsed() > FAUCET_TIME => {
                return Err(failed(format!(
                    "no coins within {} s; try again later",
                    FAUCET_TIME.as_secs()
                )));
            }
            _ => tokio::time::sleep(FAUCET_PAUSE).await,
        }
    };
    let sent: u64 = transfers
        .as_ref()
        .and_then(|transfers| transfers.get("sent")?.as_array())
        .map_or(0, |sent| {
            sent.iter()
                .filter_map(|coin| coin.get("amount")?.as_u64())
                .fold(0, u64::saturating_add)
        });
    let document =
        json!({ "address": wallet.address(), "received_nanos": sent, "transfers": transfers });
    out.print(&document, || {
        let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        format!(
            "received {} after {}",
            show_amount(Amount(sent)),
            show_millis(elapsed)
        )
    })
}

async fn faucet_answer(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let response = request.send().await.map_err(|error| error.to_string())?;
    let status = response.status();
    if matches!(status.as_u16(), 429 | 503) {
        return Err("it is overloaded, or you have had enough; try again later".to_owned());
    }
    let text = response.text().await.map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|_| format!("{status}, and no JSON"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_key_that_signs_is_the_key_that_pays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet.key");
        let made = Wallet::create(&path, None).unwrap();
        let wallet = HostWallet::load(&path, None).unwrap();
        assert_eq!(wallet.address(), made.address());
        let key = iota_sdk_types::Ed25519PublicKey::new(wallet.buyer().0);
        assert_eq!(wallet.address().as_str(), key.derive_address().to_string());
    }

    #[test]
    fn a_missing_wallet_is_told_with_how_to_make_one() {
        let dir = tempfile::tempdir().unwrap();
        let args = WalletArgs {
            wallet: Some(dir.path().join("none")),
            passphrase: PassphraseArgs::default(),
        };
        let error = args.load().unwrap_err().to_string();
        assert!(error.contains("payflow wallet new"), "{error}");
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let args = WalletArgs {
            wallet: Some(dir.path().join("wallet.key")),
            passphrase: PassphraseArgs::default(),
        };
        new(&args, false, Out { json: true }).unwrap();
        let before = args.load().unwrap().address();
        assert!(new(&args, false, Out { json: true }).is_err());
        assert_eq!(args.load().unwrap().address(), before);
    }
}
