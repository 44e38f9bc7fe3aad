//! Prepaid accounts: one transfer on the ledger, and vouchers from then on.
//!
//! The next voucher is made from what the controller says of the account, and never believes it more than it must: the terms are
//! signed by the operator, what is promised so far is proven by the wallet's own signature, and the last word on every account is
//! written beside the wallet before it leaves, so that no number is used for two of them.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use payflow_payment::{
    Address, Amount, PublicKey, Signature,
    account::Phase,
    ledger::iota::inspect,
    voucher::{AccountNumber, Payee, Promise, Voucher, check},
};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Common, Out,
    buy::{TrustArgs, again, greet, random_key},
    client::{Call, CallError, Client},
    error::CliError,
    show::Progress,
    units::{parse_amount, parse_duration, show_amount},
    wallet::{self, HostWallet, LedgerArgs, WalletArgs},
};
use crate::{
    api::WellKnown,
    core::{
        accounts::document::{AccountDocument, AccountRequest, AccountView, Statement},
        document::{ReservationNumber, ReservationView},
    },
};

const POLL: Duration = Duration::from_millis(250);
/// How long the controller is asked to wait for its decision, each time.
const WAIT: Duration = Duration::from_secs(25);

/// `payflow account ...`.
#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Open an account and pay a deposit into it.
    Open {
        /// How much: in IOTA, such as 2.5, or as 2500000000nanos. Gas comes on top.
        #[arg(long, value_name = "AMOUNT", value_parser = parse_amount)]
        deposit: Amount,
        /// Where the balance goes when it is closed; by default the wallet.
        #[arg(long, value_name = "ADDRESS")]
        refund_to: Option<String>,
        #[command(flatten)]
        pay: DepositArgs,
    },
    /// Pay more into an account.
    Deposit {
        /// Which, such as a3.
        #[arg(value_parser = parse_account)]
        id: AccountNumber,
        /// How much.
        #[arg(value_name = "AMOUNT", value_parser = parse_amount)]
        amount: Amount,
        #[command(flatten)]
        pay: DepositArgs,
    },
    /// Show an account, or all of this wallet's.
    Show {
        /// Which, such as a3.
        #[arg(value_parser = parse_account)]
        id: Option<AccountNumber>,
        #[command(flatten)]
        wallet: WalletArgs,
    },
    /// Close an account: what is left goes back, once nothing is held any more.
    Close {
        /// Which, such as a3.
        #[arg(value_parser = parse_account)]
        id: AccountNumber,
        /// Wait until the transfer is final on the ledger, for at most two minutes.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        wallet: WalletArgs,
    },
}

/// How a deposit is paid.
#[derive(Clone, Debug, Args)]
pub(super) struct DepositArgs {
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    trust: TrustArgs,
    /// Give up waiting for the deposit to be final after this time; it counts whenever it is.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "2m")]
    wait: Duration,
}

pub(super) fn parse_account(text: &str) -> Result<AccountNumber, String> {
    AccountNumber::from_account_id(text)
        .ok_or_else(|| "write the id of an account, such as a3".to_owned())
}

/// Runs an account command.
pub(super) async fn run(
    command: AccountCommand,
    common: &Common,
    out: Out,
) -> Result<(), CliError> {
    match command {
        AccountCommand::Open {
            deposit,
            refund_to,
            pay,
        } => {
            let wallet = pay.ledger.wallet.load()?;
            let (client, known) = greet(common, &wallet, &pay.trust).await?;
            let refund_to = refund_to.map_or_else(|| wallet.address(), Address::new);
            let call = Call {
                method: Method::POST,
                path: "/v1/accounts".to_owned(),
                body: Some(json!(AccountRequest { refund_to })),
                idempotency_key: Some(random_key()?),
                wait: None,
            };
            let view: AccountView = client.read(again(&client, &call).await?.document)?;
            pay_in(&client, &known, &wallet, view, deposit, &pay, out).await
        }
        AccountCommand::Deposit { id, amount, pay } => {
            let wallet = pay.ledger.wallet.load()?;
            let (client, known) = greet(common, &wallet, &pay.trust).await?;
            let view: AccountView = client.get(&path_of(id)).await?;
            pay_in(&client, &known, &wallet, view, amount, &pay, out).await
        }
        AccountCommand::Show { id, wallet } => {
            let wallet = wallet.load()?;
            let trust = TrustArgs::default();
            let (client, _) = greet(common, &wallet, &trust).await?;
            match id {
                Some(id) => {
                    let view: AccountView = client.get(&path_of(id)).await?;
                    out.print(&view, || shown(&view))
                }
                None => {
                    let document: Value = client.get("/v1/accounts").await?;
                    let views: Vec<AccountView> =
                        client.read(document.get("accounts").cloned().unwrap_or_default())?;
                    out.print(&document, || {
                        let each: Vec<String> = views.iter().map(shown).collect();
                        each.join("\n\n")
                    })
                }
            }
        }
        AccountCommand::Close {
            id,
            wait,
            trust,
            wallet,
        } => close(id, wait, &trust, &wallet.load()?, common, out).await,
    }
}

async fn close(
    id: AccountNumber,
    wait: bool,
    trust: &TrustArgs,
    wallet: &HostWallet,
    common: &Common,
    out: Out,
) -> Result<(), CliError> {
    let (client, known) = greet(common, wallet, trust).await?;
    let call = Call {
        method: Method::POST,
        path: format!("{}/close", path_of(id)),
        body: Some(json!({})),
        idempotency_key: None,
        wait: None,
    };
    let mut view: AccountView = client.read(again(&client, &call).await?.document)?;
    let progress = Progress::new(out.json);
    let deadline = Instant::now() + Duration::from_secs(120);
    while wait && !is_settled(&view) {
        if Instant::now() > deadline {
            return Err(CliError::Pending {
                message: format!(
                    "{id} is not settled yet; look again with: payflow account show {id}"
                ),
                document: Box::new(json!(view)),
            });
        }
        progress.say(&format!("{id} is {}", word(view.status)));
        tokio::time::sleep(POLL).await;
        view = client.get(&path_of(id)).await?;
    }
    progress.done();
    if let Some(statement) = &view.statement {
        let signed = statement.verify(Statement::DOMAIN, &known.operator_key);
        signed.map_err(|error| {
            CliError::Failed(format!("the statement is not the operator's: {error}"))
        })?;
    }
    out.print(&view, || shown(&view))
}

fn is_settled(view: &AccountView) -> bool {
    match &view.settlement {
        Some(transfer) => transfer.checkpoint.is_some(),
        None => view.statement.is_some(),
    }
}

pub(super) fn path_of(id: AccountNumber) -> String {
    format!("/v1/accounts/{id}")
}

/// The terms, if the operator has signed them, for this wallet.
fn trusted<'v>(
    view: &'v AccountView,
    wallet: &HostWallet,
    known: &WellKnown,
) -> Result<&'v AccountDocument, CliError> {
    let document = view
        .account
        .verify(AccountDocument::DOMAIN, &known.operator_key)
        .map_err(|error| distrusted(&format!("the account is not the operator's: {error}")))?;
    if document.owner != wallet.buyer() {
        return Err(distrusted("the account is not this wallet's"));
    }
    if document.chain_id != known.chain_id {
        return Err(distrusted("the account is on another chain"));
    }
    Ok(document)
}

/// Pays into an account, hands the same bytes over until they count, and shows the account.
async fn pay_in(
    client: &Client,
    known: &WellKnown,
    wallet: &HostWallet,
    view: AccountView,
    amount: Amount,
    args: &DepositArgs,
    out: Out,
) -> Result<(), CliError> {
    let document = trusted(&view, wallet, known)?;
    let id = document.id.clone();
    let url = match &args.ledger.ledger {
        Some(url) => url.clone(),
        None => known.ledger_url.clone().ok_or_else(|| {
            CliError::Usage(
                "the controller names no ledger; say which with --ledger URL".to_owned(),
            )
        })?,
    };
    let (ledger, _) = wallet::connect(&url, Some(&known.chain_id)).await?;
    let to = [(document.pay_to.clone(), amount)];
    let transaction = ledger.pay_all(wallet.payer(), &to).await.map_err(|error| {
        CliError::Failed(format!(
            "{error}; {id} is open and nothing was paid into it. Pay with: payflow account deposit {id} AMOUNT"
        ))
    })?;
    let digest = inspect(&transaction)
        .map_err(|error| CliError::Failed(error.to_string()))?
        .digest;
    let progress = Progress::new(out.json);
    progress.say(&format!(
        "paying {} into {id} with {digest}",
        show_amount(amount)
    ));
    let deadline = Instant::now() + args.wait;
    loop {
        let call = Call {
            method: Method::POST,
            path: format!("/v1/accounts/{id}/deposits"),
            body: Some(json!({ "transaction": transaction })),
            idempotency_key: None,
            wait: None,
        };
        let mut said = "the deposit is not final".to_owned();
        match client.call(&call).await {
            Ok(answered) => {
                let view: AccountView = client.read(answered.document)?;
                if view.deposits.iter().any(|it| it.digest == digest) {
                    progress.done();
                    return out.print(&view, || shown(&view));
                }
            }
            Err(error) if error.is_open() => said = CliError::from(error).to_string(),
            Err(error) => return Err(error.into()),
        }
        if Instant::now() > deadline {
            return Err(CliError::Pending {
                message: format!(
                    "{said}; it counts as soon as it is, so do not pay again: look with payflow account show {id}"
                ),
                document: Box::new(json!({ "pending": true, "account": id, "digest": digest })),
            });
        }
        progress.say(&said);
        tokio::time::sleep(POLL).await;
    }
}

/// What has been said last on an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    sequence: u64,
    amount: Amount,
}

/// The last word on every account, beside the wallet.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Memory(BTreeMap<String, Said>);

impl Memory {
    fn file(wallet: &Path) -> PathBuf {
        let mut name = wallet.file_name().unwrap_or_default().to_owned();
        name.push(".vouchers.json");
        wallet.with_file_name(name)
    }

    fn load(wallet: &Path) -> Result<Self, CliError> {
        let file = Self::file(wallet);
        let failed = |error: String| CliError::Failed(format!("{}: {error}", file.display()));
        match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    fn save(&self, wallet: &Path) -> io::Result<()> {
        let file = Self::file(wallet);
        let draft = file.with_extension("draft");
        let mut out = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        out.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        out.sync_all()?;
        fs::rename(&draft, &file)
    }
}

/// The voucher that pays so much more, if what the controller says of the account can be.
fn next_promise(
    view: &AccountView,
    payee: &Payee,
    owner: PublicKey,
    said: Said,
    price: Amount,
) -> Result<Promise, String> {
    let number = AccountNumber::from_account_id(&view.account.document.id)
        .ok_or("the account has no number")?;
    let proven = match &view.voucher {
        None => Said::default(),
        Some(voucher) => {
            let checked = check(voucher.clone(), payee).map_err(|error| error.to_string())?;
            let promise = &checked.voucher().promise;
            if voucher.signer != owner || promise.account != number {
                return Err("the voucher that it shows is of somebody else".to_owned());
            }
            Said {
                sequence: promise.sequence,
                amount: promise.amount,
            }
        }
    };
    let taken = view
        .spent
        .checked_add(view.held)
        .ok_or("sums of the account are too large")?;
    if taken > proven.amount {
        return Err(format!(
            "the controller has taken {taken}, and no voucher of this wallet says more than {}",
            proven.amount
        ));
    }
    let needed = taken.checked_add(price).ok_or("the price is too high")?;
    Ok(Promise {
        payee: payee.clone(),
        account: number,
        sequence: proven.sequence.max(said.sequence).saturating_add(1),
        amount: needed.max(proven.amount).max(said.amount),
    })
}

/// Signs the next voucher of an account, and remembers it before anybody sees it.
pub(super) fn sign_next(
    view: &AccountView,
    wallet: &HostWallet,
    known: &WellKnown,
    price: Amount,
) -> Result<Voucher, CliError> {
    let document = trusted(view, wallet, known)?;
    let payee = Payee {
        chain_id: known.chain_id.clone(),
        operator: known.operator_key,
    };
    let name = format!("{}/{}/{}", known.chain_id, known.operator_key, document.id);
    let mut memory = Memory::load(wallet.path())?;
    let said = memory.0.get(&name).copied().unwrap_or_default();
    let promise = next_promise(view, &payee, wallet.buyer(), said, price)
        .map_err(|reason| distrusted(&reason))?;
    if promise.amount > view.deposited {
        return Err(CliError::Failed(format!(
            "{} holds {} that is free, and this costs {}; pay more in with: payflow account deposit {} AMOUNT",
            document.id,
            show_amount(view.free),
            show_amount(price),
            document.id
        )));
    }
    let last = Said {
        sequence: promise.sequence,
        amount: promise.amount,
    };
    memory.0.insert(name, last);
    memory.save(wallet.path()).map_err(|error| {
        CliError::Failed(format!(
            "{}: {error}; nothing has been paid",
            Memory::file(wallet.path()).display()
        ))
    })?;
    let signature = promise
        .signed_bytes()
        .and_then(|bytes| wallet.payer().sign_bytes(&bytes))
        .ok_or_else(|| CliError::Failed("the wallet cannot sign a voucher".to_owned()))?;
    Ok(promise.with_signature(wallet.buyer(), Signature(signature)))
}

/// An account to pay from, and with whom.
pub(super) struct PaidFrom<'a> {
    pub(super) account: AccountNumber,
    pub(super) client: &'a Client,
    pub(super) wallet: &'a HostWallet,
    pub(super) known: &'a WellKnown,
}

impl PaidFrom<'_> {
    /// Pays quotes: the same voucher is handed over until it is decided.
    pub(super) async fn pay(
        &self,
        quotes: &[String],
        price: Amount,
        pay_as_you_go: bool,
        patience: Duration,
        progress: &Progress,
    ) -> Result<Vec<ReservationView>, CliError> {
        let Self {
            account,
            client,
            wallet,
            known,
        } = self;
        let view: AccountView = client.get(&path_of(*account)).await?;
        let voucher = sign_next(&view, wallet, known, price)?;
        progress.say(&format!(
            "paying with voucher {} of {account}",
            voucher.promise.sequence
        ));
        let quote = quotes.first().map_or("", String::as_str);
        let deadline = Instant::now() + patience;
        let first: ReservationView = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let call = Call {
                method: Method::POST,
                path: "/v1/reservations".to_owned(),
                body: Some(json!({
                    "quote": quote,
                    "payment": { "voucher": voucher, "pay_as_you_go": pay_as_you_go },
                })),
                idempotency_key: None,
                wait: Some(left.min(WAIT)),
            };
            let reason = match client.call(&call).await {
                Ok(answered) if answered.status == StatusCode::CREATED => {
                    break client.read(answered.document)?;
                }
                Ok(_) => "the switches have not confirmed".to_owned(),
                Err(error) if error.is_open() => CliError::from(error).to_string(),
                Err(CallError::Refused(problem)) => return Err(CliError::Refused(problem)),
                Err(error) => return Err(error.into()),
            };
            if Instant::now() > deadline {
                return Err(CliError::Pending {
                    message: format!("not decided yet: {reason}; look with payflow status"),
                    document: Box::new(
                        json!({ "pending": true, "reason": reason, "quote": quote }),
                    ),
                });
            }
            progress.say(&reason);
            tokio::time::sleep(POLL).await;
        };
        let mut views = vec![first];
        for quote in quotes.iter().skip(1) {
            let number = ReservationNumber::from_quote_id(quote);
            let id = number.map(ReservationNumber::reservation_id);
            let path = format!("/v1/reservations/{}", id.unwrap_or_default());
            views.push(client.get(&path).await?);
        }
        Ok(views)
    }
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Open => "open",
        Phase::Closing => "closing",
        Phase::Closed => "closed",
    }
}

fn distrusted(reason: &str) -> CliError {
    CliError::Failed(format!("{reason}; nothing has been paid"))
}

/// An account, for people.
fn shown(view: &AccountView) -> String {
    let document = &view.account.document;
    let mut lines = vec![
        format!("{}: {}", document.id, word(view.status)),
        format!(
            "  deposited {}: spent {}, held {}, free {}",
            show_amount(view.deposited),
            show_amount(view.spent),
            show_amount(view.held),
            show_amount(view.free)
        ),
        format!(
            "  voucher {} promises {}",
            view.sequence,
            show_amount(view.promised)
        ),
    ];
    if view.status == Phase::Open {
        lines.push(format!("  pay in at {}", document.pay_to));
    }
    if !view.forks.is_empty() {
        lines.push(format!(
            "  {} contradicting vouchers were received: is the wallet's key in use elsewhere?",
            view.forks.len()
        ));
    }
    if let Some(statement) = &view.statement {
        let said = &statement.document;
        lines.push(format!(
            "  returned {} to {}, fee {}",
            show_amount(said.returned),
            said.refund_to,
            show_amount(said.fee)
        ));
    }
    if let Some(transfer) = &view.settlement {
        let digest = transfer
            .digest
            .as_ref()
            .map_or("not signed yet", |it| it.as_str());
        let place = transfer.checkpoint.map_or_else(
            || "not final yet".to_owned(),
            |it| format!("checkpoint {it}"),
        );
        lines.push(format!("  transaction {digest}, {place}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use payflow_payment::{Asset, Signed, SigningKey, UnixMillis};

    use super::*;

    fn operator() -> SigningKey {
        SigningKey::from_seed([1; 32])
    }

    fn owner() -> SigningKey {
        SigningKey::from_seed([2; 32])
    }

    fn payee() -> Payee {
        Payee {
            chain_id: "chain".into(),
            operator: operator().public_key(),
        }
    }

    fn view(promised: Option<(u64, u64)>, spent: u64, held: u64) -> AccountView {
        let document = AccountDocument {
            id: "a3".to_owned(),
            owner: owner().public_key(),
            chain_id: "chain".into(),
            asset: Asset::iota(),
            pay_to: "0x1".into(),
            refund_to: "0x2".into(),
            closing_fee: Amount(1),
            mispayment_fee: Amount(1),
            opened_at: UnixMillis(0),
        };
        let voucher = promised.map(|(sequence, amount)| {
            let promise = Promise {
                payee: payee(),
                account: AccountNumber(3),
                sequence,
                amount: Amount(amount),
            };
            promise.sign(&owner()).unwrap()
        });
        AccountView {
            account: Signed::sign(&operator(), AccountDocument::DOMAIN, document).unwrap(),
            status: Phase::Open,
            deposited: Amount(1_000),
            spent: Amount(spent),
            held: Amount(held),
            free: Amount(1_000 - spent - held),
            promised: Amount(promised.map_or(0, |it| it.1)),
            sequence: promised.map_or(0, |it| it.0),
            voucher,
            forks: Vec::new(),
            deposits: Vec::new(),
            statement: None,
            settlement: None,
            other_refunds: Vec::new(),
        }
    }

    fn next(view: &AccountView, said: (u64, u64)) -> Result<(u64, u64), String> {
        let said = Said {
            sequence: said.0,
            amount: Amount(said.1),
        };
        let promise = next_promise(view, &payee(), owner().public_key(), said, Amount(100))?;
        Ok((promise.sequence, promise.amount.0))
    }

    #[test]
    fn the_next_voucher_covers_what_is_taken_and_the_price() {
        assert_eq!(next(&view(None, 0, 0), (0, 0)), Ok((1, 100)));
        assert_eq!(
            next(&view(Some((4, 300)), 200, 100), (4, 300)),
            Ok((5, 400))
        );
        // What came back is covered already.
        assert_eq!(next(&view(Some((4, 300)), 50, 0), (4, 300)), Ok((5, 300)));
    }

    #[test]
    fn a_number_that_was_used_is_never_used_again_whatever_the_controller_says() {
        assert_eq!(next(&view(None, 0, 0), (7, 250)), Ok((8, 250)));
        assert_eq!(next(&view(Some((4, 300)), 300, 0), (7, 350)), Ok((8, 400)));
    }

    #[test]
    fn nothing_is_signed_for_what_no_voucher_has_promised() {
        let lie = next(&view(Some((4, 300)), 301, 0), (4, 300)).unwrap_err();
        assert!(lie.contains("has taken 301"), "{lie}");
        assert!(next(&view(None, 1, 0), (0, 0)).is_err());
        let mut forged = view(Some((4, 300)), 300, 0);
        forged.voucher.as_mut().unwrap().promise.amount = Amount(900);
        assert!(next(&forged, (0, 0)).is_err());
    }

    #[test]
    fn the_last_word_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let wallet = dir.path().join("wallet.key");
        let mut memory = Memory::load(&wallet).unwrap();
        let said = Said {
            sequence: 7,
            amount: Amount(70),
        };
        memory.0.insert("chain/key/a3".to_owned(), said);
        memory.save(&wallet).unwrap();
        let read = Memory::load(&wallet).unwrap();
        assert_eq!(read.0.get("chain/key/a3"), Some(&said));
    }
}
