//! `payflow audit`: do the books add up, in themselves, with the reservations, and with the ledger?

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use futures::{StreamExt as _, stream};
use payflow_payment::{
    Address, Amount, Asset, BookAccount, BookAccounts, ChainId, Credit, Evidence, Transfer,
    TxDigest,
    ledger::{Lookup, iota::HostLedger},
};
use serde_json::json;

use super::{
    Common, Out, buy, client::Client, error::CliError, operator::TokenArgs, show,
    units::show_amount, wallet,
};
use crate::core::{
    accounts::document::AccountView,
    document::{ReservationView, Status, TransferView},
    reply::{BookAccountView, BookAccountsDocument, Books},
};

/// How often the books are asked for, until nothing moves meanwhile.
const TRIES: u32 = 10;

/// Questions to the ledger at a time.
const AT_ONCE: usize = 8;

/// `payflow audit`.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    token: TokenArgs,
    /// Ask this ledger, in place of the one that the controller names, about every payment and transfer.
    #[arg(long, value_name = "URL", conflicts_with = "no_ledger")]
    ledger: Option<String>,
    /// Do not ask the ledger.
    #[arg(long)]
    no_ledger: bool,
}

/// `payflow accounts` and `payflow transfers`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    token: TokenArgs,
    /// As comma-separated values, with a line of names first.
    #[arg(long)]
    csv: bool,
}

/// `payflow accounts`.
pub(super) async fn accounts(args: &ListArgs, common: &Common, out: Out) -> Result<(), CliError> {
    let client = args.token.client(common)?;
    let document: BookAccountsDocument = client.get("/v1/books/accounts").await?;
    let titles = ["account", "came", "left", "balance"].map(str::to_owned);
    if args.csv {
        let rows = document.accounts.iter().map(|it| {
            [
                it.account.to_string(),
                it.came.to_string(),
                it.left.to_string(),
                it.balance.to_string(),
            ]
        });
        return out.text(&csv(titles, rows));
    }
    out.print(&document, || {
        let rows = document.accounts.iter().map(|it| {
            [
                it.account.to_string(),
                show_amount(Amount(it.came)),
                show_amount(Amount(it.left)),
                signed(it.balance),
            ]
        });
        show::columns(&std::iter::once(titles).chain(rows).collect::<Vec<_>>())
    })
}

/// `payflow transfers`.
pub(super) async fn transfers(args: &ListArgs, common: &Common, out: Out) -> Result<(), CliError> {
    let client = args.token.client(common)?;
    let transfers = all_transfers(&client).await?;
    let titles = ["transfer", "from", "to", "amount"].map(str::to_owned);
    let rows = |amount: fn(Amount) -> String| {
        let row = move |it: &Transfer| {
            [
                it.id.to_string(),
                it.from.to_string(),
                it.to.to_string(),
                amount(it.amount),
            ]
        };
        transfers.iter().map(row)
    };
    if args.csv {
        return out.text(&csv(titles, rows(|amount| amount.to_string())));
    }
    out.print(&transfers, || {
        show::columns(
            &std::iter::once(titles)
                .chain(rows(show_amount))
                .collect::<Vec<_>>(),
        )
    })
}

/// No name or number of ours has a comma, a quotation mark or a line break (RFC 4180).
fn csv<const N: usize>(titles: [String; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let lines = std::iter::once(titles).chain(rows);
    lines.map(|line| line.join(",") + "\r\n").collect()
}

async fn all_transfers(client: &Client) -> Result<Vec<Transfer>, CliError> {
    client.list("/v1/books/transfers", "transfers").await
}

/// The books, and whether they add up.
pub(super) async fn audit(args: &AuditArgs, common: &Common, out: Out) -> Result<(), CliError> {
    let client = args.token.client(common)?;
    // What happens between two questions would look like a difference; so it is asked again until nothing has.
    let mut tries = 0;
    let (books, views, prepaid, accounts, mut transfers, compared) = loop {
        tries += 1;
        let accounts: BookAccountsDocument = client.get("/v1/books/accounts").await?;
        let views = buy::reservations(&client).await?;
        let prepaid: Vec<AccountView> = client.list("/v1/accounts", "accounts").await?;
        let books: Books = client.get("/v1/books").await?;
        let transfers = all_transfers(&client).await?;
        let is_still = transfers.last().map(|it| it.id) == accounts.last;
        if is_still || tries == TRIES {
            break (books, views, prepaid, accounts, transfers, is_still);
        }
    };
    transfers.retain(|it| accounts.last.is_some_and(|last| it.id <= last));

    let mut findings = of_books(&books, &views);
    findings.extend(of_transfers(&accounts.accounts, &transfers));
    if compared {
        findings.extend(of_accounts(&accounts.accounts, &books, &views, &prepaid));
    }
    let asked = match args.ledger_url(&client).await? {
        None => 0,
        Some((url, chain)) => {
            let (ledger, _) = wallet::connect(&url, Some(&chain)).await?;
            let claims = claims(&views, &prepaid);
            let asked = claims.len();
            findings.extend(of_ledger(&ledger, claims).await?);
            asked
        }
    };
    let report = json!({
        "books": books,
        "reservations": views.len(),
        "transfers": transfers.len(),
        "compared_with_reservations": compared,
        "asked_of_ledger": asked,
        "balanced": findings.is_empty(),
        "findings": findings,
    });
    out.print(&report, || {
        let mut text = show::columns(&[
            ["paid".to_owned(), show_amount(books.paid)],
            ["  earned".to_owned(), show_amount(books.earned)],
            ["  fees".to_owned(), show_amount(books.fees)],
            ["  refunded".to_owned(), show_amount(books.refunded)],
            ["  held".to_owned(), show_amount(books.held)],
            ["  credited".to_owned(), show_amount(books.credited)],
            ["gas".to_owned(), signed(books.gas_nanos)],
            [
                "transfers not final".to_owned(),
                books.payouts_open.to_string(),
            ],
            ["asked of the ledger".to_owned(), asked.to_string()],
        ]);
        if !compared {
            text.push_str(
                "\nMoney moves all the time: accounts and reservations were not compared.",
            );
        }
        if findings.is_empty() {
            text.push_str("\nThe books balance.");
        }
        text
    })?;
    match findings.as_slice() {
        [] => Ok(()),
        findings => Err(CliError::Failed(format!(
            "the books do not balance: {}",
            findings.join("; ")
        ))),
    }
}

impl AuditArgs {
    /// Which ledger to ask, and which chain it must be; none where that is not wanted.
    async fn ledger_url(&self, client: &Client) -> Result<Option<(String, ChainId)>, CliError> {
        if self.no_ledger {
            return Ok(None);
        }
        let known = client.well_known().await?;
        let url = self.ledger.clone().or(known.ledger_url).ok_or_else(|| {
            CliError::Usage(
                "the controller names no ledger; say which with --ledger URL, or --no-ledger"
                    .to_owned(),
            )
        })?;
        Ok(Some((url, known.chain_id)))
    }
}

fn signed(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    format!("{sign}{}", show_amount(Amount(nanos.unsigned_abs())))
}

/// What does not add up in the books alone, or with the receipts. Sums are of 128 bits, which no supply fills.
fn of_books(books: &Books, views: &[ReservationView]) -> Vec<String> {
    let mut findings = Vec::new();
    let parts = [
        books.earned,
        books.fees,
        books.refunded,
        books.held,
        books.credited,
    ];
    let parts: u128 = parts.into_iter().sum();
    if u128::from(books.paid.0) != parts {
        findings.push(format!("paid is {} and its parts are {parts}", books.paid));
    }
    for view in views {
        let Some(receipt) = view.receipt.as_ref().map(|receipt| &receipt.document) else {
            let is_paid = view.payment.as_ref().is_some_and(|it| it.amount.is_some());
            if view.status == Status::Settled && is_paid {
                findings.push(format!("{} is settled without a receipt", view.id));
            }
            continue;
        };
        let parts = [receipt.earned, receipt.fee, receipt.refunded];
        let parts: u128 = parts.into_iter().sum();
        if u128::from(receipt.paid.0) != parts {
            findings.push(format!(
                "{}: paid is {} and its parts are {parts}",
                view.id, receipt.paid
            ));
        }
        if receipt.fee > view.quote.payment.cancellation_fee {
            findings.push(format!("{}: the fee is more than the quote says", view.id));
        }
    }
    findings
}

/// The accounts are what the transfers make of them, and nothing is lost on the way.
fn of_transfers(shown: &[BookAccountView], transfers: &[Transfer]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut accounts = BookAccounts::default();
    for transfer in transfers {
        if let Err(error) = accounts.book(transfer) {
            findings.push(format!("transfer {}: {error}", transfer.id));
        }
    }
    let shown: BTreeMap<BookAccount, &BookAccountView> =
        shown.iter().map(|it| (it.account, it)).collect();
    let made = accounts.iter().map(|(account, _)| account);
    let all: BTreeSet<&BookAccount> = made.chain(shown.keys()).collect();
    for account in all {
        let balance = shown.get(account).map_or(0, |it| it.balance);
        let makes = accounts.turnover(account).balance();
        if i128::from(balance) != makes {
            findings.push(format!(
                "{account} is shown with {balance}, and its transfers make {makes}"
            ));
        }
    }
    let sum: i128 = shown.values().map(|it| i128::from(it.balance)).sum();
    if sum != 0 {
        findings.push(format!("the sum of all accounts is {sum}"));
    }
    findings
}

/// The accounts agree with what the reservations say of themselves.
fn of_accounts(
    shown: &[BookAccountView],
    books: &Books,
    views: &[ReservationView],
    prepaid: &[AccountView],
) -> Vec<String> {
    let mut findings = Vec::new();
    let mut differs = |what: &str, account: i128, other: u128| {
        if i128::try_from(other) != Ok(account) {
            findings.push(format!(
                "{what}: the accounts say {account}, the reservations {other}"
            ));
        }
    };
    let sum =
        |of: &dyn Fn(&BookAccountView) -> Option<i128>| shown.iter().filter_map(of).sum::<i128>();
    let came = |which: BookAccount| sum(&|it| (it.account == which).then_some(i128::from(it.came)));
    differs("earned", came(BookAccount::Earned), books.earned.0.into());
    differs("fees", came(BookAccount::Fees), books.fees.0.into());
    let held = |it: &BookAccountView| {
        let account = it.account;
        matches!(account, BookAccount::Held(_) | BookAccount::Prepaid(_))
            .then_some(i128::from(it.balance))
    };
    differs("held", sum(&held), books.held.0.into());
    let credited = |it: &BookAccountView| {
        matches!(it.account, BookAccount::Credited(_)).then_some(i128::from(it.balance))
    };
    differs("credited", sum(&credited), books.credited.0.into());
    let due = sum(&|it| {
        matches!(it.account, BookAccount::RefundsDue(_)).then_some(i128::from(it.balance))
    });
    let theirs = views.iter().flat_map(outgoing);
    let all = theirs.chain(prepaid.iter().flat_map(returned));
    let open = all.filter(|it| it.checkpoint.is_none());
    differs("refunds due", due, open.map(|it| it.amount).sum());
    findings
}

/// Every transfer out of a reservation.
fn outgoing(view: &ReservationView) -> impl Iterator<Item = &TransferView> {
    view.settlement.iter().chain(&view.other_refunds)
}

/// Every transfer out of a prepaid account.
fn returned(view: &AccountView) -> impl Iterator<Item = &TransferView> {
    view.settlement.iter().chain(&view.other_refunds)
}

/// What the controller says of a transaction.
struct Claim {
    /// For people.
    of: String,
    digest: TxDigest,
    claimed: Claimed,
}

enum Claimed {
    /// The ledger has it.
    Done {
        checkpoint: u64,
        /// Who received how much of what, if anything.
        credit: Option<(Address, Amount, Asset)>,
    },
    /// It never moved anything, and another was made in its place.
    GivenUp,
}

fn claims(views: &[ReservationView], prepaid: &[AccountView]) -> Vec<Claim> {
    let mut claims = Vec::new();
    for view in views {
        let terms = &view.quote.payment;
        if let Some(payment) = &view.payment
            && let (Some(digest), Some(amount), Some(checkpoint)) =
                (&payment.digest, payment.amount, payment.checkpoint)
        {
            claims.push(Claim {
                of: format!("the payment of {}", view.id),
                digest: digest.clone(),
                claimed: Claimed::Done {
                    checkpoint,
                    credit: Some((terms.pay_to.clone(), amount, terms.asset.clone())),
                },
            });
        }
        claims.extend(outgoing(view).flat_map(|it| sent(it, &view.id, &terms.asset)));
    }
    for view in prepaid {
        let account = &view.account.document;
        claims.extend(view.deposits.iter().map(|deposit| Claim {
            of: format!("a deposit of {}", account.id),
            digest: deposit.digest.clone(),
            claimed: Claimed::Done {
                checkpoint: deposit.checkpoint,
                credit: Some((
                    account.pay_to.clone(),
                    deposit.amount,
                    account.asset.clone(),
                )),
            },
        }));
        claims.extend(returned(view).flat_map(|it| sent(it, &account.id, &account.asset)));
    }
    claims
}

/// What is claimed of a transfer, once it is final; and of those that were given up before it.
fn sent(transfer: &TransferView, of: &str, asset: &Asset) -> Vec<Claim> {
    let (to, amount) = (transfer.to.clone(), transfer.amount);
    let done = transfer.digest.clone().zip(transfer.checkpoint);
    let done = done.map(|(digest, checkpoint)| Claim {
        of: format!("a transfer of {of}"),
        digest,
        claimed: Claimed::Done {
            checkpoint,
            credit: (!amount.is_zero()).then(|| (to, amount, asset.clone())),
        },
    });
    let given_up = transfer.given_up.iter().map(|digest| Claim {
        of: format!("a transfer of {of} that was given up"),
        digest: digest.clone(),
        claimed: Claimed::GivenUp,
    });
    done.into_iter().chain(given_up).collect()
}

/// What the ledger says otherwise. An error where it says nothing: what is unknown is no finding.
async fn of_ledger(ledger: &HostLedger, claims: Vec<Claim>) -> Result<Vec<String>, CliError> {
    let mut answers = stream::iter(claims)
        .map(|claim| async move {
            let found = ledger.lookup(&claim.digest).await;
            (claim, found)
        })
        .buffered(AT_ONCE);
    let mut findings = Vec::new();
    while let Some((claim, found)) = answers.next().await {
        match found {
            Lookup::Found(evidence) if evidence.checkpoint.is_none() => {
                return Err(CliError::Failed(format!(
                    "the ledger that is asked does not have {} in a checkpoint yet; ask one that is up to date",
                    claim.digest
                )));
            }
            Lookup::Found(evidence) => findings.extend(claim.contradiction(&evidence)),
            Lookup::NotFound if matches!(claim.claimed, Claimed::GivenUp) => {}
            Lookup::NotFound => {
                findings.push(format!(
                    "{}, {}, is not on the ledger",
                    claim.of, claim.digest
                ));
            }
            Lookup::Unknown { reason } => {
                return Err(CliError::Failed(format!(
                    "the ledger does not say what became of {}: {reason}",
                    claim.digest
                )));
            }
        }
    }
    Ok(findings)
}

impl Claim {
    fn contradiction(&self, evidence: &Evidence) -> Option<String> {
        let name = format!("{}, {}", self.of, self.digest);
        let Claimed::Done { checkpoint, credit } = &self.claimed else {
            return evidence
                .succeeded
                .then(|| format!("{name}, is on the ledger: its money went out twice"));
        };
        if !evidence.succeeded {
            return Some(format!("{name}, failed on the ledger"));
        }
        if evidence.checkpoint != Some(*checkpoint) {
            return Some(format!(
                "{name}, is in checkpoint {:?} and not in {checkpoint}",
                evidence.checkpoint
            ));
        }
        let (to, amount, asset) = credit.as_ref()?;
        let received = Credit::sum(&evidence.credits, to, asset);
        (received != *amount).then(|| format!("{name}, gave {received} to {to} and not {amount}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use payflow_payment::{PublicKey, TransferId};

    const HOST: BookAccount = BookAccount::Host(PublicKey([7; 32]));

    fn transfer(record: u64, from: BookAccount, to: BookAccount, amount: u64) -> Transfer {
        let id = TransferId { record, part: 0 };
        let amount = Amount(amount);
        Transfer {
            id,
            from,
            to,
            amount,
        }
    }

    fn shown(account: BookAccount, came: u64, left: u64) -> BookAccountView {
        let balance = i64::try_from(came).unwrap() - i64::try_from(left).unwrap();
        BookAccountView {
            account,
            came,
            left,
            balance,
        }
    }

    #[test]
    fn a_nano_that_is_missing_is_found() {
        let books = Books {
            paid: Amount(10),
            earned: Amount(5),
            refunded: Amount(5),
            ..Books::default()
        };
        assert_eq!(of_books(&books, &[]), Vec::<String>::new());
        let books = Books {
            refunded: Amount(4),
            ..books
        };
        assert_eq!(of_books(&books, &[]), ["paid is 10 and its parts are 9"]);
    }

    #[test]
    fn accounts_that_are_not_what_their_transfers_make_of_them_are_found() {
        let transfers = [
            transfer(1, HOST, BookAccount::Held(1), 10),
            transfer(2, BookAccount::Held(1), BookAccount::Earned, 10),
        ];
        let right = [
            shown(HOST, 0, 10),
            shown(BookAccount::Held(1), 10, 10),
            shown(BookAccount::Earned, 10, 0),
        ];
        assert_eq!(of_transfers(&right, &transfers), Vec::<String>::new());
        let books = Books {
            paid: Amount(10),
            earned: Amount(10),
            ..Books::default()
        };
        assert_eq!(of_accounts(&right, &books, &[], &[]), Vec::<String>::new());
        let less = [right[0], right[1], shown(BookAccount::Earned, 9, 0)];
        assert_eq!(
            of_transfers(&less, &transfers),
            [
                "earned is shown with 9, and its transfers make 10",
                "the sum of all accounts is -1"
            ]
        );
        assert_eq!(
            of_accounts(&less, &books, &[], &[]),
            ["earned: the accounts say 9, the reservations 10"]
        );
        let overdrawn = [
            transfers[0],
            transfer(2, BookAccount::Held(1), BookAccount::Earned, 11),
        ];
        let found = of_transfers(&right, &overdrawn);
        assert!(
            found
                .iter()
                .any(|it| it.starts_with("transfer 2.0: held:r1 has 10")),
            "{found:?}"
        );
    }

    #[test]
    fn what_the_ledger_says_otherwise_is_found() {
        let claim = Claim {
            of: "the payment of r1".to_owned(),
            digest: TxDigest::new("d"),
            claimed: Claimed::Done {
                checkpoint: 7,
                credit: Some((Address::new("a"), Amount(10), Asset::iota())),
            },
        };
        let credit = |amount| Credit {
            address: Address::new("a"),
            asset: Asset::iota(),
            amount: Amount(amount),
        };
        let right = Evidence {
            digest: TxDigest::new("d"),
            succeeded: true,
            checkpoint: Some(7),
            timestamp: None,
            sender: None,
            credits: vec![credit(4), credit(6)],
        };
        assert_eq!(claim.contradiction(&right), None);
        let wrong = [
            Evidence {
                succeeded: false,
                ..right.clone()
            },
            Evidence {
                checkpoint: None,
                ..right.clone()
            },
            Evidence {
                credits: vec![credit(11)],
                ..right.clone()
            },
        ];
        for wrong in wrong {
            assert!(claim.contradiction(&wrong).is_some(), "{wrong:?}");
        }
        let given_up = Claim {
            claimed: Claimed::GivenUp,
            ..claim
        };
        let twice = given_up.contradiction(&right).unwrap();
        assert!(twice.ends_with("its money went out twice"), "{twice}");
        let in_vain = Evidence {
            succeeded: false,
            ..right
        };
        assert_eq!(given_up.contradiction(&in_vain), None);
    }
}
