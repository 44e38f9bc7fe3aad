//! Prepaid accounts: opened by a transfer, spent by vouchers, closed by a transfer back.
//!
//! What may happen to an account is decided by [`payflow_payment::account`]; here it is written down first and done then, as
//! everything else. The deposits are the operator's to keep until the account is closed: a host trusts it with as much as it deposits,
//! and has its signed vouchers and the operator's signed statement to show.

pub mod document;
pub(super) mod metered;
mod paying;
pub mod problem;
pub(super) mod register;
pub(super) mod vouchers;

use std::{ops::Bound, time::Duration};

use payflow_payment::{
    Amount, Evidence, Mispayment, PaymentKey, Signed, SignedTransaction,
    account::Phase,
    ledger::Inspected,
    settle_mispayment,
    voucher::{AccountNumber, Payee},
};
use payflow_qos::PortRef;

use self::{
    document::{
        AccountClosed, AccountDocument, AccountOpened, AccountRequest, AccountView, Deposit,
        DepositReturned, DepositView, Statement,
    },
    problem::VoucherProblem,
    register::{Prepaid, opened_since},
};
use super::{
    Core,
    document::BuyerKey,
    io::{Caller, Idempotency, LedgerOrder, Output},
    journal::Record,
    problem::{Problem, ProblemKind},
    quoting::key_of,
    reply::{Answer, Books},
    unix,
    views::{plus, transfer},
};

/// Receive addresses of accounts come after those of quotes, whose numbers are below this.
const FIRST_ADDRESS: u64 = 1 << 40;

/// How many accounts without a deposit one port, or one enrolled key, may have: each is a durable record, and an address that is
/// watched for ever.
const MOST_EMPTY: usize = 8;
/// Those that are older count no more.
const EMPTY_COUNTS: Duration = Duration::from_secs(3600);

/// The receive key of an account.
pub(crate) fn receive_index(account: AccountNumber) -> u64 {
    FIRST_ADDRESS + account.0
}

impl Core {
    /// Where vouchers for this operator are worth something.
    #[must_use]
    pub fn payee(&self) -> Payee {
        Payee {
            chain_id: self.config.chain_id.clone(),
            operator: self.keys.signing_key().public_key(),
        }
    }

    /// `POST /v1/accounts`.
    pub(super) fn open_account(
        &mut self,
        caller: &Caller,
        body: &AccountRequest,
        idempotency: Option<Idempotency>,
    ) -> Result<Answer, Problem> {
        let owner = key_of(caller)?;
        if let Some(it) = &idempotency {
            let key = (owner, it.key.clone());
            match self.register.account_idempotency.get(&key) {
                None => {}
                Some((fingerprint, number)) if *fingerprint == it.fingerprint => {
                    return self.get_account(caller, *number);
                }
                Some(_) => {
                    return Err(Problem::new(
                        ProblemKind::IdempotencyConflict,
                        "this Idempotency-Key came with another request before; make a new key for a new request",
                    ));
                }
            }
        }
        self.can_sell()?;
        let refund_to = self.refund_address(&body.refund_to)?;
        let asker = self.may_open(owner, caller)?;
        let number = self.register.next_account();
        if number.0 > AccountNumber::MAX {
            return Err(Problem::new(
                ProblemKind::Internal,
                "account numbers are used up",
            ));
        }
        let document = AccountDocument {
            id: number.account_id(),
            owner,
            chain_id: self.config.chain_id.clone(),
            asset: self.config.asset.clone(),
            pay_to: self.keys.receive_address(receive_index(number)),
            refund_to,
            closing_fee: self.config.mispayment_fee,
            mispayment_fee: self.config.mispayment_fee,
            opened_at: self.unix_now(),
        };
        let document = Signed::sign(self.keys.signing_key(), AccountDocument::DOMAIN, document)
            .map_err(|error| {
                Problem::new(
                    ProblemKind::Internal,
                    format!("the account cannot be signed: {error}"),
                )
            })?;
        // Watched before anybody is told of the address, so that no deposit is missed.
        let address = document.document.pay_to.clone();
        self.order(LedgerOrder::Watch { address });
        self.record(Record::AccountOpened(Box::new(AccountOpened {
            account: number,
            document,
            asker,
            idempotency,
            at: self.now,
        })));
        self.get_account(caller, number)
    }

    /// A host that the network knows may open one, or an enrolled key; not without end.
    fn may_open(&self, owner: BuyerKey, caller: &Caller) -> Result<Option<PortRef>, Problem> {
        let host = caller.address.and_then(|it| self.network.host(it));
        if host.is_none() && !self.config.enrolled.contains_key(&owner) {
            return Err(Problem::new(
                ProblemKind::NotTheOwner,
                "only a host of the managed network may open an account, asking over that network, or a key that the \
                 operator has enrolled",
            ));
        }
        let asker = host.map(|it| it.port);
        let since = self.now.minus(EMPTY_COUNTS);
        let empty = self.register.accounts.values().filter(|it| {
            let theirs = match asker {
                Some(port) => it.opened.asker == Some(port),
                None => it.document().owner == owner,
            };
            theirs
                && opened_since(it, since)
                && it.state.phase() == Phase::Open
                && it.state.deposited().is_zero()
        });
        if empty.count() >= MOST_EMPTY {
            return Err(Problem::new(
                ProblemKind::TooManyRequests,
                format!(
                    "{MOST_EMPTY} accounts without a deposit were opened here within the hour; pay into one of them, or close \
                     one"
                ),
            ));
        }
        Ok(asker)
    }

    /// `GET /v1/accounts/{id}`.
    pub(super) fn get_account(
        &self,
        caller: &Caller,
        number: AccountNumber,
    ) -> Result<Answer, Problem> {
        let prepaid = self.visible_account(caller, number)?;
        Ok(Answer::Account(Box::new(self.account_view(prepaid))))
    }

    /// `GET /v1/accounts`: the caller's own; all of them for the operator.
    pub(super) fn list_accounts(
        &self,
        caller: &Caller,
        after: Option<AccountNumber>,
        most: usize,
    ) -> Result<Answer, Problem> {
        if !caller.operator {
            key_of(caller)?;
        }
        let older = after.map_or(Bound::Unbounded, Bound::Excluded);
        let accounts = self.register.accounts.range((Bound::Unbounded, older));
        let visible = accounts
            .rev()
            .map(|(_, it)| it)
            .filter(|it| caller.operator || caller.key == Some(it.state.owner()));
        Ok(Answer::Accounts(
            visible.take(most).map(|it| self.account_view(it)).collect(),
        ))
    }

    /// An account, for its owner or the operator.
    fn visible_account(&self, caller: &Caller, number: AccountNumber) -> Result<&Prepaid, Problem> {
        if !caller.operator {
            key_of(caller)?;
        }
        let prepaid = self.known_account(number)?;
        if caller.operator || caller.key == Some(prepaid.state.owner()) {
            Ok(prepaid)
        } else {
            Err(Problem::new(
                ProblemKind::NotTheOwner,
                "only the key that opened it may see or use it",
            ))
        }
    }

    fn known_account(&self, number: AccountNumber) -> Result<&Prepaid, Problem> {
        self.register.accounts.get(&number).ok_or_else(|| {
            Problem::new(
                ProblemKind::Voucher(VoucherProblem::UnknownAccount),
                format!("there is no account {number} here"),
            )
        })
    }

    fn account_view(&self, it: &Prepaid) -> AccountView {
        let state = &it.state;
        let closed = it.statement.is_some();
        let sent = |id: u64| self.register.payouts.get(&id).and_then(transfer);
        AccountView {
            account: it.opened.document.clone(),
            status: state.phase(),
            deposited: state.deposited(),
            spent: state.spent(),
            held: state.held(),
            free: if closed { Amount::ZERO } else { state.free() },
            promised: state.promised(),
            sequence: state.sequence(),
            voucher: state.highest().cloned(),
            forks: state.forks().to_vec(),
            deposits: it
                .deposits
                .iter()
                .map(|it| DepositView {
                    digest: it.key.digest.clone(),
                    amount: it.amount,
                    checkpoint: it.checkpoint,
                    at: unix(it.at),
                })
                .collect(),
            statement: it.statement.clone(),
            settlement: it.payout.and_then(sent),
            other_refunds: it
                .returned
                .iter()
                .filter_map(|it| sent(it.payout?))
                .collect(),
        }
    }

    /// `POST /v1/accounts/{id}/deposits`: submits a transfer for a host that has no ledger at hand. The host keeps the bytes and may
    /// hand them over again; what counts is what is seen in a checkpoint.
    pub(super) fn deposit(
        &mut self,
        caller: &Caller,
        number: AccountNumber,
        transaction: SignedTransaction,
        inspected: &Inspected,
    ) -> Result<Answer, Problem> {
        let prepaid = self.visible_account(caller, number)?;
        if prepaid.state.phase() != Phase::Open {
            let refusal = payflow_payment::account::Refusal::NotOpen;
            return Err(Problem::from(&refusal));
        }
        let document = prepaid.document();
        let paid =
            payflow_payment::Credit::sum(&inspected.transfers, &document.pay_to, &document.asset);
        if paid.is_zero() {
            return Err(Problem::new(
                ProblemKind::PaymentInvalid,
                format!(
                    "the transaction pays nothing to {}; it was not submitted",
                    document.pay_to
                ),
            ));
        }
        self.queue(Output::Ledger(LedgerOrder::Submit {
            digest: inspected.digest.clone(),
            transaction,
        }));
        self.get_account(caller, number)
    }

    /// A transaction that is in a checkpoint pays to an account.
    pub(super) fn deposit_seen(&mut self, account: AccountNumber, evidence: &Evidence) {
        let Some(prepaid) = self.register.accounts.get(&account) else {
            return;
        };
        let document = prepaid.document();
        let key = PaymentKey {
            chain_id: self.config.chain_id.clone(),
            digest: evidence.digest.clone(),
            pay_to: document.pay_to.clone(),
        };
        let amount = evidence.received(&document.pay_to, &document.asset);
        let fresh = evidence.succeeded && !amount.is_zero() && !self.register.is_consumed(&key);
        let Some(checkpoint) = evidence.checkpoint.filter(|_| fresh) else {
            return;
        };
        let at = self.now;
        match prepaid.state.may_deposit(amount) {
            Ok(()) => self.record(Record::Deposited(Box::new(Deposit {
                account,
                key,
                amount,
                checkpoint,
                at,
            }))),
            Err(refusal) => {
                let (refund, fee, payout) = match settle_mispayment(amount, document.mispayment_fee)
                {
                    Mispayment::Refund(it) => {
                        (it.refunded(), it.fee(), Some(self.register.next_payout()))
                    }
                    Mispayment::Credit(_) => (Amount::ZERO, Amount::ZERO, None),
                };
                tracing::info!(%account, %amount, %refund, %refusal, "a deposit does not count");
                self.record(Record::DepositReturned(Box::new(DepositReturned {
                    account,
                    key,
                    amount,
                    refund,
                    fee,
                    payout,
                    reason: refusal.to_string(),
                    at,
                })));
                self.advance_payout();
            }
        }
    }

    /// `POST /v1/accounts/{id}/close`. Asking twice is asking once; what is held is waited for.
    pub(super) fn close_account(
        &mut self,
        caller: &Caller,
        number: AccountNumber,
    ) -> Result<Answer, Problem> {
        // What was promised before counts before.
        self.save_vouchers();
        let owner = key_of(caller)?;
        let prepaid = self.visible_account(caller, number)?;
        if prepaid.state.owner() != owner {
            return Err(Problem::new(
                ProblemKind::NotTheOwner,
                "only the key that opened it may close it",
            ));
        }
        if prepaid.state.phase() == Phase::Open {
            let at = self.now;
            self.record(Record::AccountClosing {
                account: number,
                at,
            });
            self.try_close(number);
        }
        self.get_account(caller, number)
    }

    /// Closes an account that is to be closed, once nothing of it is held.
    pub(super) fn try_close(&mut self, number: AccountNumber) {
        let Some(prepaid) = self.register.accounts.get(&number) else {
            return;
        };
        let (document, state) = (prepaid.document(), &prepaid.state);
        let Some(closing) = state.closing(document.closing_fee) else {
            return;
        };
        let statement = Statement {
            account: document.id.clone(),
            owner: document.owner,
            chain_id: document.chain_id.clone(),
            deposited: state.deposited(),
            spent: state.spent(),
            fee: closing.fee,
            returned: closing.returned,
            refund_to: document.refund_to.clone(),
            voucher: state.highest().cloned(),
        };
        let something_moves = !state.deposited().is_zero();
        let signed = Signed::sign(self.keys.signing_key(), Statement::DOMAIN, statement);
        let statement = match signed {
            Ok(statement) => statement,
            Err(error) => {
                tracing::error!(account = %number, %error, "cannot be accounted for; its balance stays held");
                return;
            }
        };
        self.record(Record::AccountClosed(Box::new(AccountClosed {
            account: number,
            statement,
            payout: something_moves.then(|| self.register.next_payout()),
            at: self.now,
        })));
        self.advance_payout();
    }

    /// Takes up every account where the journal left it.
    pub(super) fn resume_accounts(&mut self) {
        let accounts: Vec<_> = self
            .register
            .accounts
            .iter()
            .map(|(number, it)| (*number, it.document().pay_to.clone()))
            .collect();
        for (number, address) in accounts {
            self.order(LedgerOrder::Watch { address });
            self.try_close(number);
        }
    }

    /// Adds what is in accounts to the books; what purchases have cost is in them by the receipts.
    pub(super) fn add_accounts(&self, books: &mut Books) {
        for prepaid in self.register.accounts.values() {
            let state = &prepaid.state;
            books.paid = plus(books.paid, state.deposited());
            match &prepaid.statement {
                Some(it) => {
                    books.fees = plus(books.fees, it.document.fee);
                    books.refunded = plus(books.refunded, it.document.returned);
                }
                None => {
                    books.held = plus(books.held, state.free());
                    books.prepaid = plus(books.prepaid, state.free());
                }
            }
            for it in &prepaid.returned {
                books.paid = plus(books.paid, it.amount);
                books.fees = plus(books.fees, it.fee);
                books.refunded = plus(books.refunded, it.refund);
                if it.payout.is_none() {
                    books.credited = plus(books.credited, it.amount);
                }
            }
        }
    }
}
