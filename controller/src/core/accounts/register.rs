//! What the journal says of prepaid accounts.

use payflow_payment::{
    Signed, TxDigest,
    account::{Account, Closing, Event, Fork},
    memo,
    voucher::{AccountNumber, Voucher},
};
use payflow_qos::Time;

use super::document::{
    AccountClosed, AccountDocument, AccountOpened, BoughtFromAccount, Deposit, DepositReturned,
    FromAccount, Statement,
};
use crate::core::{
    document::{Receipt, ReservationNumber},
    journal::Record,
    register::{Mispaid, Paid, Payout, PayoutFor, Register},
    reservation::Fact,
};

/// One account, from its opening on.
#[derive(Clone, Debug)]
pub(in crate::core) struct Prepaid {
    pub(in crate::core) opened: AccountOpened,
    /// What was deposited, promised, held and spent.
    pub(in crate::core) state: Account,
    pub(in crate::core) deposits: Vec<Deposit>,
    /// Deposits that came too late.
    pub(in crate::core) returned: Vec<Mispaid>,
    pub(in crate::core) statement: Option<Signed<Statement>>,
    pub(in crate::core) payout: Option<u64>,
    /// What it pays for as it goes.
    pub(in crate::core) metered: Option<ReservationNumber>,
}

impl Prepaid {
    pub(in crate::core) fn document(&self) -> &AccountDocument {
        &self.opened.document.document
    }
}

impl Register {
    /// The number for the next account.
    pub(in crate::core) fn next_account(&self) -> AccountNumber {
        let last = self.accounts.last_key_value();
        let next = last.map_or(1, |(last, _)| last.0 + 1);
        AccountNumber(next.max(self.numbers_from.1))
    }

    /// Applies a record about accounts.
    pub(in crate::core) fn apply_to_account(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::AccountOpened(opened) => self.account_opened(opened),
            Record::Deposited(deposit) => self.deposited(deposit),
            Record::DepositReturned(returned) => self.deposit_returned(returned),
            Record::Vouchers { vouchers, .. } => vouchers.iter().try_for_each(|it| {
                self.promised(it)?;
                self.set_aside(it.promise.account)
            }),
            Record::VoucherForked { account, fork, .. } => self.forked(*account, fork),
            Record::BoughtFromAccount(bought) => self.bought_from_account(bought),
            Record::SettledToAccount {
                number,
                receipt,
                lingers,
                ..
            } => self.settled_to_account(*number, receipt, *lingers),
            Record::AccountClosing { account, .. } => {
                apply(&mut self.prepaid(*account)?.state, &Event::Closing)
            }
            Record::AccountClosed(closed) => self.account_closed(closed),
            _ => Err("it is not about an account".to_owned()),
        }
    }

    fn prepaid(&mut self, number: AccountNumber) -> Result<&mut Prepaid, String> {
        self.accounts
            .get_mut(&number)
            .ok_or_else(|| format!("account {number} is not known"))
    }

    fn account_opened(&mut self, opened: &AccountOpened) -> Result<(), String> {
        let number = opened.account;
        if number != self.next_account() {
            return Err(format!("account {number} is not the next number"));
        }
        let document = &opened.document.document;
        self.account_by_address
            .insert(document.pay_to.clone(), number);
        if let Some(idempotency) = &opened.idempotency {
            self.account_idempotency.insert(
                (document.owner, idempotency.key.clone()),
                (idempotency.fingerprint.clone(), number),
            );
        }
        let prepaid = Prepaid {
            opened: opened.clone(),
            state: Account::new(document.owner),
            deposits: Vec::new(),
            returned: Vec::new(),
            statement: None,
            payout: None,
            metered: None,
        };
        self.accounts.insert(number, prepaid);
        Ok(())
    }

    fn deposited(&mut self, deposit: &Deposit) -> Result<(), String> {
        self.consume(&deposit.key)?;
        let prepaid = self.prepaid(deposit.account)?;
        prepaid.deposits.push(deposit.clone());
        apply(&mut prepaid.state, &Event::Deposited(deposit.amount))
    }

    fn deposit_returned(&mut self, it: &DepositReturned) -> Result<(), String> {
        self.consume(&it.key)?;
        let prepaid = self.prepaid(it.account)?;
        prepaid.returned.push(Mispaid {
            amount: it.amount,
            refund: it.refund,
            fee: it.fee,
            payout: it.payout,
        });
        let to = prepaid.document().refund_to.clone();
        match it.payout {
            Some(id) => {
                let of = PayoutFor::LateDeposit(it.account);
                self.plan(id, Payout::new(of, to, it.refund, None))
            }
            None => Ok(()),
        }
    }

    fn promised(&mut self, voucher: &Voucher) -> Result<(), String> {
        let prepaid = self.prepaid(voucher.promise.account)?;
        apply(&mut prepaid.state, &Event::Promised(voucher.clone()))
    }

    /// What is covered and not taken is for what the account pays as it goes.
    fn set_aside(&mut self, account: AccountNumber) -> Result<(), String> {
        let prepaid = self.prepaid(account)?;
        let (metered, covered) = (prepaid.metered, prepaid.state.covered());
        let Some(reservation) = metered.and_then(|it| self.reservations.get_mut(&it)) else {
            return Ok(());
        };
        let price = reservation.quote().payment.price;
        let ended = reservation.ended_by().is_some();
        let number = reservation.issued.number;
        let Some(paid) = reservation.paid.as_mut().filter(|_| !ended) else {
            return Ok(());
        };
        let more = covered.min(price.checked_sub(paid.amount).unwrap_or_default());
        if more.is_zero() {
            return Ok(());
        }
        paid.amount = paid
            .amount
            .checked_add(more)
            .ok_or_else(|| "more is set aside than can be".to_owned())?;
        let hold = Event::Held {
            purchase: number.0,
            amount: more,
        };
        apply(&mut self.prepaid(account)?.state, &hold)
    }

    fn forked(&mut self, account: AccountNumber, fork: &Fork) -> Result<(), String> {
        let prepaid = self.prepaid(account)?;
        apply(&mut prepaid.state, &Event::Forked(fork.clone()))
    }

    fn bought_from_account(&mut self, bought: &BoughtFromAccount) -> Result<(), String> {
        self.promised(&bought.voucher)?;
        let promise = &bought.voucher.promise;
        let account = promise.account;
        for drawn in &bought.members {
            let hold = Event::Held {
                purchase: drawn.number.0,
                amount: drawn.amount,
            };
            apply(&mut self.prepaid(account)?.state, &hold)?;
            self.bought_with
                .entry((account, promise.sequence))
                .or_insert(drawn.number);
            let paid = Paid {
                digest: None,
                from: Some((account, promise.sequence)),
                amount: drawn.amount,
                checkpoint: None,
                metered: bought.metered,
                at: bought.at,
            };
            self.sold(drawn.number, paid)?;
            if bought.metered {
                self.prepaid(account)?.metered = Some(drawn.number);
            }
        }
        Ok(())
    }

    fn settled_to_account(
        &mut self,
        number: ReservationNumber,
        receipt: &Signed<Receipt>,
        lingers: bool,
    ) -> Result<(), String> {
        let reservation = self.follow(number, Fact::Settled)?;
        reservation.lingers = lingers;
        reservation.receipt = Some(receipt.clone());
        let paid = reservation.paid.as_ref();
        let (account, _) = paid
            .and_then(|it| it.from)
            .ok_or_else(|| "it was not paid from an account".to_owned())?;
        let hash = receipt.hash().map_err(|error| error.to_string())?;
        self.chain.link(receipt.document.place(), hash)?;
        self.follow(number, Fact::SettlementFinal)?;
        let kept = &receipt.document;
        let amount = kept.earned.checked_add(kept.fee);
        let charge = Event::Charged {
            purchase: number.0,
            amount: amount.ok_or_else(|| "its receipt does not add up".to_owned())?,
        };
        let prepaid = self.prepaid(account)?;
        prepaid.metered = prepaid.metered.filter(|it| *it != number);
        apply(&mut prepaid.state, &charge)
    }

    fn account_closed(&mut self, closed: &AccountClosed) -> Result<(), String> {
        let statement = &closed.statement.document;
        let hash = closed.statement.hash().map_err(|error| error.to_string())?;
        let prepaid = self.prepaid(closed.account)?;
        let closing = Closing {
            returned: statement.returned,
            fee: statement.fee,
        };
        apply(&mut prepaid.state, &Event::Closed(closing))?;
        prepaid.statement = Some(closed.statement.clone());
        prepaid.payout = closed.payout;
        match closed.payout {
            Some(id) => {
                let to = statement.refund_to.clone();
                let memo = Some(memo::encode(&hash));
                let of = PayoutFor::Closing(closed.account);
                self.plan(id, Payout::new(of, to, statement.returned, memo))
            }
            None => Ok(()),
        }
    }

    /// What a voucher has bought.
    pub(in crate::core) fn bought_with(
        &self,
        account: AccountNumber,
        sequence: u64,
    ) -> Option<ReservationNumber> {
        self.bought_with.get(&(account, sequence)).copied()
    }
}

impl Paid {
    /// Whether a transaction paid it, which is that.
    pub(in crate::core) fn is_by(&self, digest: &TxDigest) -> bool {
        self.digest.as_ref() == Some(digest)
    }

    /// The voucher that paid it, if one did.
    pub(in crate::core) fn account_and_voucher(&self) -> Option<FromAccount> {
        self.from.map(|(account, sequence)| FromAccount {
            account: account.account_id(),
            sequence,
        })
    }
}

fn apply(account: &mut Account, event: &Event) -> Result<(), String> {
    account.apply(event).map_err(|error| error.to_string())
}

/// When an account was opened, for what may not be asked too often.
pub(in crate::core) fn opened_since(prepaid: &Prepaid, since: Time) -> bool {
    prepaid.opened.at >= since
}
