//! Which transfers a fact means, in double entry.
//!
//! It reads the journal and nothing else: neither the register nor what is in memory of money anywhere else. So what the two say of
//! the same journal can be compared, and the store, which writes both down in one commit, has transfers that nobody can
//! change without the other.
//!
//! | fact | transfers |
//! |---|---|
//! | a payment buys | buyer → held |
//! | a payment buys nothing | buyer → fees, and → refunds due; or buyer → credited |
//! | a deposit | buyer → prepaid |
//! | a voucher buys, or covers more of what is paid as it goes | prepaid → held |
//! | settled | held → earned, → fees, → refunds due; or what is left → prepaid |
//! | a prepaid account is closed | prepaid → fees, → refunds due |
//! | a transfer is final | refunds due → buyer; what is left at the receive address → treasury; treasury → gas |
//! | a transfer failed on the ledger | treasury → gas |
//!
//! Gas below zero, as storage that was paid for is given back, goes the other way.

use std::collections::BTreeMap;

use payflow_payment::{
    Amount, BookAccount, BookAccounts, PublicKey, Purpose, Transfer, TransferError, TransferId,
};

use super::{
    document::Receipt,
    journal::{QuoteIssued, Record},
};

/// Makes the transfers of one record after another.
#[derive(Clone, Debug, Default)]
pub struct Bookkeeper {
    accounts: BookAccounts,
    deals: BTreeMap<Purpose, Deal>,
    /// Which account has paid a reservation, where one has.
    paid_from: BTreeMap<u64, u64>,
    prepaid: BTreeMap<u64, Prepaid>,
    /// Outgoing transfers that are not final.
    payouts: BTreeMap<u64, Outgoing>,
}

/// What vouchers say of a prepaid account.
#[derive(Clone, Copy, Debug, Default)]
struct Prepaid {
    promised: Amount,
    /// Of that: what purchases have cost, and what is held for others.
    taken: Amount,
    /// The reservation that it pays as it goes, as long as that has not ended.
    metered: Option<u64>,
}

/// What lies at the receive address of one quote, or of one prepaid account.
#[derive(Clone, Copy, Debug)]
struct Deal {
    buyer: PublicKey,
    /// Held, or free in the account.
    held: Amount,
    /// The operator's, and still there.
    earned: Amount,
    fees: Amount,
    /// An account that is open keeps what it has earned.
    open: bool,
    /// Of a reservation, and whose place it takes.
    price: Amount,
    replaces: Option<u64>,
}

impl Deal {
    fn of(buyer: PublicKey) -> Self {
        Self {
            buyer,
            held: Amount::ZERO,
            earned: Amount::ZERO,
            fees: Amount::ZERO,
            open: false,
            price: Amount::ZERO,
            replaces: None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Outgoing {
    /// For what; nothing where it only says something.
    purpose: Option<Purpose>,
    amount: Amount,
    settles: bool,
}

/// A record that means no transfers which can follow those before it: the journal is not ours, or was edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookkeepingError {
    /// A reservation or transfer that was never heard of.
    #[error("record {record} is about {what}, which is not known")]
    Unknown {
        /// Number of the record.
        record: u64,
        /// What it is about.
        what: String,
    },
    /// Parts that are not the whole.
    #[error("record {record} makes {parts} of {whole}")]
    Unequal {
        /// Number of the record.
        record: u64,
        /// The sum of the parts.
        parts: u128,
        /// What they are parts of.
        whole: Amount,
    },
    /// An account has not what is to leave it.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

impl Bookkeeper {
    /// Every account, after all records so far.
    #[must_use]
    pub fn accounts(&self) -> &BookAccounts {
        &self.accounts
    }

    /// The next record, and the number it has in the journal: what it means is booked, and told.
    ///
    /// # Errors
    /// When it contradicts those before it. Nothing more can be booked then.
    pub fn book(
        &mut self,
        sequence: u64,
        record: &Record,
    ) -> Result<Vec<Transfer>, BookkeepingError> {
        let mut entry = Entry {
            record: sequence,
            transfers: Vec::new(),
        };
        self.enter(&mut entry, record)?;
        for transfer in &entry.transfers {
            self.accounts.book(transfer)?;
        }
        Ok(entry.transfers)
    }

    fn enter(&mut self, entry: &mut Entry, record: &Record) -> Result<(), BookkeepingError> {
        match record {
            Record::QuoteIssued(issued) => self.quoted(issued),
            Record::GroupIssued { quotes } => quotes.iter().for_each(|it| self.quoted(it)),
            Record::AccountOpened(opened) => {
                let owner = opened.document.document.owner;
                let deal = Deal {
                    open: true,
                    ..Deal::of(owner)
                };
                self.deals.insert(Purpose::Account(opened.account.0), deal);
            }
            Record::Paid { number, amount, .. } => {
                let purpose = Purpose::Reservation(number.0);
                self.paid(entry, purpose, BookAccount::Held(number.0), *amount)?;
            }
            Record::GroupPaid { members, .. } => {
                for it in members {
                    let purpose = Purpose::Reservation(it.number.0);
                    self.paid(entry, purpose, BookAccount::Held(it.number.0), it.amount)?;
                }
            }
            Record::Deposited(it) => {
                let number = it.account.0;
                let to = BookAccount::Prepaid(number);
                self.paid(entry, Purpose::Account(number), to, it.amount)?;
            }
            Record::BoughtFromAccount(bought) => {
                let promise = &bought.voucher.promise;
                let account = promise.account.0;
                self.prepaid.entry(account).or_default().promised = promise.amount;
                for member in &bought.members {
                    self.set_aside(entry, account, member.number.0, member.amount)?;
                    if bought.metered {
                        let prepaid = self.prepaid.entry(account).or_default();
                        prepaid.metered = Some(member.number.0);
                    }
                }
            }
            Record::Vouchers { vouchers, .. } => {
                for voucher in vouchers {
                    let promise = &voucher.promise;
                    self.promised(entry, promise.account.0, promise.amount)?;
                }
            }
            Record::Ended { number, .. } => self.ended(number.0),
            // It takes the place of another one, which ends.
            Record::Activated { number, .. } => {
                let deal = self.known(entry, Purpose::Reservation(number.0))?;
                if let Some(replaced) = deal.replaces {
                    self.ended(replaced);
                }
            }
            Record::Mispaid {
                number,
                amount,
                refund,
                fee,
                payout,
                ..
            } => {
                let purpose = Purpose::Reservation(number.0);
                self.sent_back(entry, purpose, *amount, (*refund, *fee), *payout)?;
            }
            Record::DepositReturned(it) => {
                let purpose = Purpose::Account(it.account.0);
                self.sent_back(entry, purpose, it.amount, (it.refund, it.fee), it.payout)?;
            }
            Record::Settled {
                number,
                receipt,
                payout,
                ..
            } => {
                let purpose = Purpose::Reservation(number.0);
                let to = BookAccount::RefundsDue(purpose);
                self.settled(entry, number.0, &receipt.document, (purpose, to))?;
                self.send(*payout, Some(purpose), receipt.document.refunded, true);
            }
            Record::SettledToAccount {
                number, receipt, ..
            } => {
                let account = self.paid_from.get(&number.0).copied();
                let account = account
                    .ok_or_else(|| entry.unknown(format!("the account that paid r{}", number.0)))?;
                let purpose = Purpose::Account(account);
                let to = BookAccount::Prepaid(account);
                self.settled(entry, number.0, &receipt.document, (purpose, to))?;
                let refunded = receipt.document.refunded;
                let deal = self.known(entry, purpose)?;
                deal.held = entry.sum(deal.held, refunded)?;
                let prepaid = self.prepaid.entry(account).or_default();
                let taken = prepaid.taken.checked_sub(refunded);
                prepaid.taken =
                    taken.ok_or_else(|| entry.unequal(refunded.0.into(), prepaid.taken))?;
            }
            Record::SettledForNothing {
                number, receipt, ..
            } => {
                let purpose = Purpose::Reservation(number.0);
                let to = BookAccount::RefundsDue(purpose);
                self.settled(entry, number.0, &receipt.document, (purpose, to))?;
            }
            Record::AccountClosed(closed) => {
                let purpose = Purpose::Account(closed.account.0);
                let statement = &closed.statement.document;
                let deal = self.known(entry, purpose)?;
                let free = std::mem::take(&mut deal.held);
                deal.open = false;
                entry.is_whole(free, &[statement.fee, statement.returned])?;
                deal.fees = entry.sum(deal.fees, statement.fee)?;
                let from = BookAccount::Prepaid(closed.account.0);
                entry.transfer(from, BookAccount::Fees, statement.fee);
                entry.transfer(from, BookAccount::RefundsDue(purpose), statement.returned);
                if let Some(payout) = closed.payout {
                    self.send(payout, Some(purpose), statement.returned, true);
                }
            }
            Record::Anchored { payout, .. } => self.send(*payout, None, Amount::ZERO, false),
            Record::PayoutDead { gas_nanos, .. } => entry.gas(*gas_nanos),
            Record::PayoutFinal {
                payout, gas_nanos, ..
            } => {
                let sent = self.payouts.remove(payout);
                let sent = sent.ok_or_else(|| entry.unknown(format!("transfer {payout}")))?;
                if let Some(purpose) = sent.purpose {
                    self.sent(entry, purpose, sent)?;
                }
                entry.gas(*gas_nanos);
            }
            Record::PaymentOffered { .. }
            | Record::PaymentRefused { .. }
            | Record::Started { .. }
            | Record::Suspended { .. }
            | Record::Resumed { .. }
            | Record::FellShort { .. }
            | Record::Interim { .. }
            | Record::Moved(_)
            | Record::MovedOn { .. }
            | Record::Displaced { .. }
            | Record::Cleared { .. }
            | Record::PayoutSigned { .. }
            | Record::PortNamed { .. }
            | Record::PortRenumbered { .. }
            | Record::SwitchBound { .. }
            | Record::Drained { .. }
            | Record::SellingStopped { .. }
            | Record::Restored { .. }
            | Record::BasePrice { .. }
            | Record::SwitchForgotten { .. }
            | Record::VoucherForked { .. }
            | Record::AccountClosing { .. }
            | Record::Given { .. }
            | Record::SessionOpened(_)
            | Record::SessionTold { .. }
            | Record::Followed { .. } => {}
        }
        Ok(())
    }

    fn quoted(&mut self, issued: &QuoteIssued) {
        let quote = &issued.quote.document;
        let deal = Deal {
            price: quote.payment.price,
            replaces: issued.replaces.map(|it| it.0),
            ..Deal::of(quote.buyer)
        };
        self.deals
            .insert(Purpose::Reservation(issued.number.0), deal);
    }

    /// Nothing more is set aside for it.
    fn ended(&mut self, number: u64) {
        let account = self.paid_from.get(&number);
        if let Some(prepaid) = account.and_then(|it| self.prepaid.get_mut(it)) {
            prepaid.metered = prepaid.metered.filter(|it| *it != number);
        }
    }

    /// What is promised and not taken is for what the account pays as it goes, until its price is set aside.
    fn promised(
        &mut self,
        entry: &mut Entry,
        account: u64,
        promised: Amount,
    ) -> Result<(), BookkeepingError> {
        let prepaid = self.prepaid.entry(account).or_default();
        prepaid.promised = promised;
        let covered = promised.checked_sub(prepaid.taken).unwrap_or_default();
        let Some(number) = prepaid.metered else {
            return Ok(());
        };
        let deal = self.known(entry, Purpose::Reservation(number))?;
        let open = deal.price.checked_sub(deal.held).unwrap_or_default();
        self.set_aside(entry, account, number, covered.min(open))
    }

    fn set_aside(
        &mut self,
        entry: &mut Entry,
        account: u64,
        number: u64,
        amount: Amount,
    ) -> Result<(), BookkeepingError> {
        self.take(entry, Purpose::Account(account), amount)?;
        let prepaid = self.prepaid.entry(account).or_default();
        prepaid.taken = entry.sum(prepaid.taken, amount)?;
        let deal = self.known(entry, Purpose::Reservation(number))?;
        deal.held = entry.sum(deal.held, amount)?;
        let (from, to) = (BookAccount::Prepaid(account), BookAccount::Held(number));
        entry.transfer(from, to, amount);
        self.paid_from.insert(number, account);
        Ok(())
    }

    fn known(&mut self, entry: &Entry, purpose: Purpose) -> Result<&mut Deal, BookkeepingError> {
        let deal = self.deals.get_mut(&purpose);
        deal.ok_or_else(|| entry.unknown(purpose.to_string()))
    }

    fn paid(
        &mut self,
        entry: &mut Entry,
        purpose: Purpose,
        to: BookAccount,
        amount: Amount,
    ) -> Result<(), BookkeepingError> {
        let deal = self.known(entry, purpose)?;
        deal.held = entry.sum(deal.held, amount)?;
        entry.transfer(BookAccount::Host(deal.buyer), to, amount);
        Ok(())
    }

    fn take(
        &mut self,
        entry: &Entry,
        purpose: Purpose,
        amount: Amount,
    ) -> Result<(), BookkeepingError> {
        let deal = self.known(entry, purpose)?;
        let whole = deal.held;
        let rest = whole.checked_sub(amount);
        deal.held = rest.ok_or_else(|| entry.unequal(amount.get().into(), whole))?;
        Ok(())
    }

    /// What came and counts for nothing: to be sent back, or kept in favour of whoever paid.
    fn sent_back(
        &mut self,
        entry: &mut Entry,
        purpose: Purpose,
        amount: Amount,
        (refund, fee): (Amount, Amount),
        payout: Option<u64>,
    ) -> Result<(), BookkeepingError> {
        let deal = self.known(entry, purpose)?;
        let buyer = BookAccount::Host(deal.buyer);
        let Some(payout) = payout else {
            entry.transfer(buyer, BookAccount::Credited(purpose), amount);
            return Ok(());
        };
        entry.is_whole(amount, &[fee, refund])?;
        deal.fees = entry.sum(deal.fees, fee)?;
        entry.transfer(buyer, BookAccount::Fees, fee);
        entry.transfer(buyer, BookAccount::RefundsDue(purpose), refund);
        self.send(payout, Some(purpose), refund, false);
        Ok(())
    }

    /// Of what was held, the operator's part stays at the address of `at`, and the rest goes to an account.
    fn settled(
        &mut self,
        entry: &mut Entry,
        number: u64,
        receipt: &Receipt,
        (at, rest): (Purpose, BookAccount),
    ) -> Result<(), BookkeepingError> {
        let held = &mut self.known(entry, Purpose::Reservation(number))?.held;
        let held = std::mem::take(held);
        entry.is_whole(held, &[receipt.earned, receipt.fee, receipt.refunded])?;
        let deal = self.known(entry, at)?;
        deal.earned = entry.sum(deal.earned, receipt.earned)?;
        deal.fees = entry.sum(deal.fees, receipt.fee)?;
        let from = BookAccount::Held(number);
        entry.transfer(from, BookAccount::Earned, receipt.earned);
        entry.transfer(from, BookAccount::Fees, receipt.fee);
        entry.transfer(from, rest, receipt.refunded);
        Ok(())
    }

    fn send(&mut self, payout: u64, purpose: Option<Purpose>, amount: Amount, settles: bool) {
        let outgoing = Outgoing {
            purpose,
            amount,
            settles,
        };
        self.payouts.insert(payout, outgoing);
    }

    fn sent(
        &mut self,
        entry: &mut Entry,
        purpose: Purpose,
        sent: Outgoing,
    ) -> Result<(), BookkeepingError> {
        let deal = self.known(entry, purpose)?;
        let due = BookAccount::RefundsDue(purpose);
        let buyer = BookAccount::Host(deal.buyer);
        entry.transfer(due, buyer, sent.amount);
        // What else lies there is not earned yet as long as something is held, and stays until that is settled; so does all of an
        // account that is open. What an account has paid does not lie there.
        let elsewhere = match purpose {
            Purpose::Reservation(number) => self.paid_from.contains_key(&number),
            Purpose::Account(_) => false,
        };
        let deal = self.known(entry, purpose)?;
        if sent.settles || elsewhere || !deal.open && deal.held.is_zero() {
            let earned = std::mem::take(&mut deal.earned);
            let fees = std::mem::take(&mut deal.fees);
            entry.transfer(BookAccount::Earned, BookAccount::Treasury, earned);
            entry.transfer(BookAccount::Fees, BookAccount::Treasury, fees);
        }
        Ok(())
    }
}

/// The transfers of one record.
struct Entry {
    record: u64,
    transfers: Vec<Transfer>,
}

impl Entry {
    /// Nothing is not moved.
    fn transfer(&mut self, from: BookAccount, to: BookAccount, amount: Amount) {
        if !amount.is_zero() {
            let part = u32::try_from(self.transfers.len()).unwrap_or(u32::MAX);
            let id = TransferId {
                record: self.record,
                part,
            };
            self.transfers.push(Transfer {
                id,
                from,
                to,
                amount,
            });
        }
    }

    fn gas(&mut self, nanos: i64) {
        let amount = Amount(nanos.unsigned_abs());
        if nanos < 0 {
            self.transfer(BookAccount::Gas, BookAccount::Treasury, amount);
        } else {
            self.transfer(BookAccount::Treasury, BookAccount::Gas, amount);
        }
    }

    fn unknown(&self, what: String) -> BookkeepingError {
        BookkeepingError::Unknown {
            record: self.record,
            what,
        }
    }

    fn unequal(&self, parts: u128, whole: Amount) -> BookkeepingError {
        BookkeepingError::Unequal {
            record: self.record,
            parts,
            whole,
        }
    }

    fn sum(&self, one: Amount, other: Amount) -> Result<Amount, BookkeepingError> {
        one.checked_add(other)
            .ok_or_else(|| self.unequal([one, other].into_iter().sum(), Amount(u64::MAX)))
    }

    fn is_whole(&self, whole: Amount, parts: &[Amount]) -> Result<(), BookkeepingError> {
        if Amount::checked_sum(parts.iter().copied()) == Some(whole) {
            return Ok(());
        }
        Err(self.unequal(parts.iter().copied().sum(), whole))
    }
}
