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
//! | settled | held → earned, → fees, → refunds due |
//! | a transfer is final | refunds due → buyer; what is left at the receive address → treasury; treasury → gas |
//! | a transfer failed on the ledger | treasury → gas |
//!
//! Gas below zero, as storage that was paid for is given back, goes the other way.

use std::collections::BTreeMap;

use payflow_payment::{
    Amount, BookAccount, BookAccounts, PublicKey, Transfer, TransferError, TransferId,
};

use super::journal::Record;

/// Makes the transfers of one record after another.
#[derive(Clone, Debug, Default)]
pub struct Bookkeeper {
    accounts: BookAccounts,
    deals: BTreeMap<u64, Deal>,
    /// Outgoing transfers that are not final.
    payouts: BTreeMap<u64, Outgoing>,
}

/// What lies at the receive address of one quote.
#[derive(Clone, Copy, Debug)]
struct Deal {
    buyer: PublicKey,
    held: Amount,
    /// The operator's, and still there.
    earned: Amount,
    fees: Amount,
}

#[derive(Clone, Copy, Debug)]
struct Outgoing {
    /// Of which reservation; none where it only says something.
    number: Option<u64>,
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
            Record::QuoteIssued(issued) => self.deal(issued.number.0, issued.quote.document.buyer),
            Record::GroupIssued { quotes } => {
                for issued in quotes {
                    self.deal(issued.number.0, issued.quote.document.buyer);
                }
            }
            Record::Paid { number, amount, .. } => self.paid(entry, number.0, *amount)?,
            Record::GroupPaid { members, .. } => {
                for member in members {
                    self.paid(entry, member.number.0, member.amount)?;
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
                let number = number.0;
                let deal = self.known(entry, number)?;
                let buyer = BookAccount::Host(deal.buyer);
                let Some(payout) = payout else {
                    entry.transfer(buyer, BookAccount::Credited(number), *amount);
                    return Ok(());
                };
                entry.is_whole(*amount, &[*fee, *refund])?;
                deal.fees = entry.sum(deal.fees, *fee)?;
                entry.transfer(buyer, BookAccount::Fees, *fee);
                entry.transfer(buyer, BookAccount::RefundsDue(number), *refund);
                self.send(*payout, Some(number), *refund, false);
            }
            Record::Settled {
                number,
                receipt,
                payout,
                ..
            } => {
                let number = number.0;
                let account = &receipt.document;
                let deal = self.known(entry, number)?;
                let held = std::mem::take(&mut deal.held);
                entry.is_whole(held, &[account.earned, account.fee, account.refunded])?;
                deal.earned = entry.sum(deal.earned, account.earned)?;
                deal.fees = entry.sum(deal.fees, account.fee)?;
                let from = BookAccount::Held(number);
                entry.transfer(from, BookAccount::Earned, account.earned);
                entry.transfer(from, BookAccount::Fees, account.fee);
                entry.transfer(from, BookAccount::RefundsDue(number), account.refunded);
                self.send(*payout, Some(number), account.refunded, true);
            }
            Record::Anchored { payout, .. } => self.send(*payout, None, Amount::ZERO, false),
            Record::PayoutDead { gas_nanos, .. } => entry.gas(*gas_nanos),
            Record::PayoutFinal {
                payout, gas_nanos, ..
            } => {
                let sent = self.payouts.remove(payout);
                let sent = sent.ok_or_else(|| entry.unknown(format!("transfer {payout}")))?;
                if let Some(number) = sent.number {
                    let deal = self.known(entry, number)?;
                    let due = BookAccount::RefundsDue(number);
                    entry.transfer(due, BookAccount::Host(deal.buyer), sent.amount);
                    // What else lies there is not earned yet as long as something is held, and stays until that is settled.
                    if sent.settles || deal.held.is_zero() {
                        let earned = std::mem::take(&mut deal.earned);
                        let fees = std::mem::take(&mut deal.fees);
                        entry.transfer(BookAccount::Earned, BookAccount::Treasury, earned);
                        entry.transfer(BookAccount::Fees, BookAccount::Treasury, fees);
                    }
                }
                entry.gas(*gas_nanos);
            }
            Record::PaymentOffered { .. }
            | Record::PaymentRefused { .. }
            | Record::Started { .. }
            | Record::Activated { .. }
            | Record::Suspended { .. }
            | Record::Resumed { .. }
            | Record::FellShort { .. }
            | Record::Stated { .. }
            | Record::Moved(_)
            | Record::Displaced { .. }
            | Record::Ended { .. }
            | Record::Cleared { .. }
            | Record::PayoutSigned { .. }
            | Record::PortNamed { .. }
            | Record::PortRenumbered { .. }
            | Record::SwitchBound { .. }
            | Record::Drained { .. }
            | Record::BasePrice { .. }
            | Record::SwitchForgotten { .. }
            | Record::Followed { .. } => {}
        }
        Ok(())
    }

    fn deal(&mut self, number: u64, buyer: PublicKey) {
        let deal = Deal {
            buyer,
            held: Amount::ZERO,
            earned: Amount::ZERO,
            fees: Amount::ZERO,
        };
        self.deals.insert(number, deal);
    }

    fn known(&mut self, entry: &Entry, number: u64) -> Result<&mut Deal, BookkeepingError> {
        let deal = self.deals.get_mut(&number);
        deal.ok_or_else(|| entry.unknown(format!("reservation r{number}")))
    }

    fn paid(
        &mut self,
        entry: &mut Entry,
        number: u64,
        amount: Amount,
    ) -> Result<(), BookkeepingError> {
        let deal = self.known(entry, number)?;
        deal.held = entry.sum(deal.held, amount)?;
        entry.transfer(
            BookAccount::Host(deal.buyer),
            BookAccount::Held(number),
            amount,
        );
        Ok(())
    }

    fn send(&mut self, payout: u64, number: Option<u64>, amount: Amount, settles: bool) {
        let outgoing = Outgoing {
            number,
            amount,
            settles,
        };
        self.payouts.insert(payout, outgoing);
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

    fn sum(&self, one: Amount, other: Amount) -> Result<Amount, BookkeepingError> {
        one.checked_add(other)
            .ok_or_else(|| BookkeepingError::Unequal {
                record: self.record,
                parts: [one, other].into_iter().sum(),
                whole: Amount(u64::MAX),
            })
    }

    fn is_whole(&self, whole: Amount, parts: &[Amount]) -> Result<(), BookkeepingError> {
        if Amount::checked_sum(parts.iter().copied()) == Some(whole) {
            return Ok(());
        }
        Err(BookkeepingError::Unequal {
            record: self.record,
            parts: parts.iter().copied().sum(),
            whole,
        })
    }
}
