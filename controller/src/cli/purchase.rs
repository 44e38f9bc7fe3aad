//! A payment on its way: remembered before it is handed over, so that it is never made twice.
//!
//! Signed bytes may buy something from the moment they leave this process, whatever is heard afterwards. So they are
//! written beside the wallet first, and the same bytes are handed over again until the controller has decided.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use payflow_payment::{SignedTransaction, TxDigest};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    client::{Call, CallError, Client},
    error::{CliError, ProblemDocument},
    show::Progress,
    wallet::HostWallet,
};
use crate::core::document::{QuoteDocument, QuoteRequest, ReservationView};

/// How long the controller is asked to wait for its decision, each time.
const WAIT: Duration = Duration::from_secs(25);
/// Between two questions where the controller did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// A payment that was signed, and of which it is not known what it bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unfinished {
    /// The controller that it is for.
    pub(super) api: String,
    /// What was asked; several for a group.
    pub(super) requests: Vec<QuoteRequest>,
    /// What was offered and is being paid, verified. The payment is handed over for the first; it buys all or none.
    pub(super) quotes: Vec<QuoteDocument>,
    /// Names the payment on the ledger.
    pub(super) digest: TxDigest,
    /// The payment.
    pub(super) transaction: SignedTransaction,
}

/// What became of a payment.
#[derive(Debug)]
pub(super) enum Decided {
    /// It has bought the reservation.
    Bought(Box<ReservationView>),
    /// It buys nothing. What was paid, if anything, is refunded.
    Refused(Box<ProblemDocument>),
    /// Not known yet.
    Open {
        /// For people.
        reason: String,
        /// The reservation, as far as it was told.
        view: Value,
    },
}

/// One purchase at a time: two payments signed over the same coins would make each other void.
#[derive(Debug)]
pub(super) struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits for the turn of this process.
    pub(super) async fn take(wallet: &HostWallet) -> Result<Self, CliError> {
        let path = beside(wallet.path(), "lock");
        let failed = |error: io::Error| CliError::Failed(format!("{}: {error}", path.display()));
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => return Ok(Self { _lock: file }),
            Err(TryLockError::WouldBlock) => {
                eprintln!("another payflow reserve is paying from this wallet; waiting for it");
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let file = tokio::task::spawn_blocking(move || file.lock().map(|()| file))
            .await
            .map_err(|error| CliError::Failed(error.to_string()))?
            .map_err(failed)?;
        Ok(Self { _lock: file })
    }
}

impl Unfinished {
    /// What was remembered beside the wallet, if anything.
    pub(super) fn load(wallet: &HostWallet) -> Result<Option<Self>, CliError> {
        Self::read(&file_of(wallet))
    }

    fn read(path: &Path) -> Result<Option<Self>, CliError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CliError::Failed(format!("{}: {error}", path.display()))),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            CliError::Failed(format!(
                "{} cannot be read ({error}). It remembers a payment whose outcome is not known: look at payflow status \
                 before you move it away",
                path.display()
            ))
        })
    }

    /// Remembers it, durably, before anything else happens.
    pub(super) fn remember(&self, wallet: &HostWallet) -> Result<(), CliError> {
        let path = file_of(wallet);
        self.write(&path).map_err(|error| {
            CliError::Failed(format!(
                "{}: {error}; nothing has been paid",
                path.display()
            ))
        })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_extension("draft");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(
            serde_json::to_string_pretty(self)
                .map_err(io::Error::other)?
                .as_bytes(),
        )?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        sync_parent(path)
    }

    /// Forgets it, once its outcome is known.
    pub(super) fn forget(wallet: &HostWallet) -> Result<(), CliError> {
        let path = file_of(wallet);
        match fs::remove_file(&path).and_then(|()| sync_parent(&path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(CliError::Failed(format!("{}: {error}", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// Hands the payment over, the same bytes each time, until it is decided or the time is over.
    pub(super) async fn hand_over(
        &self,
        client: &Client,
        patience: Duration,
        progress: &Progress,
    ) -> Result<Decided, CliError> {
        let deadline = Instant::now() + patience;
        let mut open = Decided::Open {
            reason: "it was not asked".to_owned(),
            view: Value::Null,
        };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let call = Call {
                method: Method::POST,
                path: "/v1/reservations".to_owned(),
                body: Some(
                    json!({ "quote": self.id(), "payment": { "transaction": self.transaction } }),
                ),
                idempotency_key: None,
                wait: Some(left.min(WAIT)),
            };
            let asked = Instant::now();
            match client.call(&call).await {
                Ok(answered) if answered.status == StatusCode::CREATED => {
                    return Ok(Decided::Bought(Box::new(client.read(answered.document)?)));
                }
                Ok(answered) => {
                    let status = answered
                        .document
                        .get("status")
                        .and_then(Value::as_str)
                        .unwrap_or("open")
                        .to_owned();
                    progress.say(&format!("the reservation is {status}"));
                    let reason = format!("the reservation is {status}");
                    open = Decided::Open {
                        reason,
                        view: answered.document,
                    };
                }
                Err(CallError::Refused(problem))
                    if !CallError::Refused(problem.clone()).is_open() =>
                {
                    return Ok(Decided::Refused(problem));
                }
                Err(error) => {
                    let reason = CliError::from(error).to_string();
                    progress.say(&reason);
                    open = match open {
                        Decided::Open { view, .. } => Decided::Open { reason, view },
                        decided => decided,
                    };
                }
            }
            if Instant::now() >= deadline {
                return Ok(open);
            }
            // A controller that waited has used the time already.
            tokio::time::sleep_until((asked + PAUSE).min(deadline)).await;
        }
    }

    /// The quote that the payment is handed over for.
    pub(super) fn id(&self) -> &str {
        self.quotes.first().map_or("", |quote| &quote.id)
    }

    /// Whether this is what is being asked for again.
    pub(super) fn is_for(&self, requests: &[QuoteRequest]) -> bool {
        // Said as a time from now, it is another instant every time.
        let bare = |request: &QuoteRequest| QuoteRequest {
            start_at: None,
            max_price: None,
            ..request.clone()
        };
        self.requests.iter().map(bare).eq(requests.iter().map(bare))
    }
}

fn file_of(wallet: &HostWallet) -> PathBuf {
    beside(wallet.path(), "unfinished.json")
}

fn beside(wallet: &Path, ending: &str) -> PathBuf {
    let mut name = wallet.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    wallet.with_file_name(name)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use payflow_payment::ledger::keys::Wallet;

    use super::*;
    use crate::{
        api::{
            signature,
            testing::{Served, operator_key, quote, quote_request, reservation},
        },
        cli::client::Identity,
        core::{
            io::{PaymentProof, Request},
            problem::{Problem, ProblemKind},
        },
    };

    fn wallet(dir: &Path) -> HostWallet {
        let path = dir.join("wallet.key");
        Wallet::create(&path, None).unwrap();
        HostWallet::load(&path, None).unwrap()
    }

    fn purchase(api: &str) -> Unfinished {
        Unfinished {
            api: api.to_owned(),
            requests: vec![serde_json::from_value(quote_request()).unwrap()],
            quotes: vec![quote().document],
            digest: TxDigest::new("d1"),
            transaction: SignedTransaction::from_bytes(b"ok!".to_vec()).unwrap(),
        }
    }

    fn client(served: &Served, wallet: &HostWallet) -> Client {
        let tag = signature::audience(&operator_key().public_key());
        Client::new(&format!("http://{}", served.address))
            .unwrap()
            .with_identity(Identity::Buyer {
                wallet: wallet.clone(),
                tag,
            })
    }

    #[test]
    fn what_is_remembered_is_found_again_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let wallet = wallet(dir.path());
        assert_eq!(Unfinished::load(&wallet).unwrap(), None);
        let purchase = purchase("http://10.0.0.254:8080");
        purchase.remember(&wallet).unwrap();
        assert_eq!(Unfinished::load(&wallet).unwrap(), Some(purchase));
        Unfinished::forget(&wallet).unwrap();
        Unfinished::forget(&wallet).unwrap();
        assert_eq!(Unfinished::load(&wallet).unwrap(), None);
    }

    #[test]
    fn a_torn_memory_is_an_error_and_not_a_second_payment() {
        let dir = tempfile::tempdir().unwrap();
        let wallet = wallet(dir.path());
        fs::write(file_of(&wallet), "{").unwrap();
        let error = Unfinished::load(&wallet).unwrap_err().to_string();
        assert!(error.contains("outcome is not known"), "{error}");
    }

    #[tokio::test]
    async fn the_same_bytes_are_handed_over_until_it_is_decided() {
        let dir = tempfile::tempdir().unwrap();
        let wallet = wallet(dir.path());
        let served = Served::new([
            Err(Problem::new(ProblemKind::LedgerUnavailable, "later")),
            reservation("active", json!({ "active_at": 1 })),
        ])
        .await;
        let purchase = purchase(&format!("http://{}", served.address));
        let decided = purchase
            .hand_over(
                &client(&served, &wallet),
                Duration::from_secs(10),
                &Progress::new(true),
            )
            .await
            .unwrap();
        assert!(matches!(decided, Decided::Bought(_)), "{decided:?}");
        let transactions: Vec<_> = served
            .asked()
            .into_iter()
            .map(|(caller, request)| match request {
                Request::Reserve {
                    payment: Some(PaymentProof::Transaction { transaction, .. }),
                    ..
                } => {
                    assert_eq!(caller.key, Some(wallet.buyer()));
                    transaction
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(transactions, vec![purchase.transaction.clone(); 2]);
    }

    #[tokio::test]
    async fn a_refusal_is_final_and_an_open_answer_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let wallet = wallet(dir.path());
        let served = Served::new([
            Err(Problem::new(ProblemKind::QuoteExpired, "too late")),
            Err(Problem::new(ProblemKind::NotReady, "starting")),
            reservation("pending", json!({})),
        ])
        .await;
        let (client, purchase) = (client(&served, &wallet), purchase("http://x"));
        let hand_over = async |patience| {
            purchase
                .hand_over(
                    &client,
                    Duration::from_millis(patience),
                    &Progress::new(true),
                )
                .await
                .unwrap()
        };
        assert!(matches!(hand_over(0).await, Decided::Refused(problem) if problem.status == 410));
        assert!(matches!(
            hand_over(0).await,
            Decided::Open {
                view: Value::Null,
                ..
            }
        ));
        assert!(matches!(
            hand_over(0).await,
            Decided::Open {
                view: Value::Object(_),
                ..
            }
        ));
    }

    #[tokio::test]
    async fn nobody_there_leaves_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let wallet = wallet(dir.path());
        let mut served = Served::new([]).await;
        let client = client(&served, &wallet);
        served.stop.take().unwrap().send(()).unwrap();
        served.task.await.unwrap();
        let decided = purchase("http://x")
            .hand_over(&client, Duration::ZERO, &Progress::new(true))
            .await
            .unwrap();
        assert!(matches!(decided, Decided::Open { .. }), "{decided:?}");
    }

    #[tokio::test]
    async fn two_purchases_of_one_wallet_take_turns() {
        let dir = tempfile::tempdir().unwrap();
        let wallet = wallet(dir.path());
        let first = Turn::take(&wallet).await.unwrap();
        let second = tokio::spawn(async move { Turn::take(&wallet).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!second.is_finished());
        drop(first);
        second.await.unwrap().unwrap();
    }
}
