//! Prepaid accounts: one transfer on the ledger, and vouchers from then on.

use std::time::Duration;

use clap::{Args, Subcommand};
use payflow_payment::{
    Address, Amount, account::Phase, ledger::iota::inspect, voucher::AccountNumber,
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Common, Out,
    buy::{TrustArgs, again, greet, random_key},
    client::{Call, CallError, Client},
    error::CliError,
    show::Progress,
    units::{parse_amount, parse_duration, show_amount},
    voucher::{sign_next, trusted},
    wallet::{self, HostWallet, LedgerArgs, WalletArgs},
};
use crate::{
    api::WellKnown,
    core::{
        accounts::document::{AccountRequest, AccountView, Statement},
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
                    let views: Vec<AccountView> = client.list("/v1/accounts", "accounts").await?;
                    out.print(&json!({ "accounts": views }), || {
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
    let ledger = wallet::connect_to_pay(&args.ledger, known).await?;
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
