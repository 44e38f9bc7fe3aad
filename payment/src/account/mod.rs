//! The state of one prepaid account: what was deposited, what its owner's highest voucher promises, what is held for purchases
//! and what is spent.
//!
//! Pure. The `may_…` methods decide whether something may happen and change nothing; [`Account::apply`] takes what has happened,
//! in order, and refuses what cannot have. After every fact
//!
//! - spent + held ≤ what the highest voucher promises ≤ deposited;
//! - deposited = spent + held + free, and, once it is closed, deposited = spent + fee + returned.
//!
//! A hold becomes, all or in part, what is spent; the rest of it is free again. What is free again is still covered by the highest
//! voucher, so the next voucher need not promise more, only be the next one.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Amount, PublicKey,
    voucher::{Checked, Voucher},
};

/// How many contradictions are kept. One proves what there is to prove, and each takes room for ever.
pub const MOST_FORKS: usize = 4;

/// One prepaid account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    owner: PublicKey,
    phase: Phase,
    deposited: Amount,
    highest: Option<Voucher>,
    /// By purchase.
    holds: BTreeMap<u64, Amount>,
    spent: Amount,
    forks: Vec<Fork>,
}

/// Where an account is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It takes deposits and vouchers.
    Open,
    /// Its owner wants it closed; it waits for what is held.
    Closing,
    /// What was left is on its way back.
    Closed,
}

/// Two vouchers with one sequence number, both signed by the owner: a copied key, or a client that forgot what it had said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// The one that counts: it came first.
    pub first: Voucher,
    /// The one that says otherwise.
    pub second: Voucher,
}

/// Something that has happened to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A transfer to it is final.
    Deposited(Amount),
    /// Its owner's word is now this.
    Promised(Voucher),
    /// Its owner has said two things.
    Forked(Fork),
    /// So much is set aside for a purchase, on top of what already is.
    Held {
        /// Which.
        purchase: u64,
        /// How much more.
        amount: Amount,
    },
    /// A purchase is settled: this of its hold is spent, and the rest free again.
    Charged {
        /// Which.
        purchase: u64,
        /// How much.
        amount: Amount,
    },
    /// Its owner wants it closed.
    Closing,
    /// What was left goes back.
    Closed(Closing),
}

/// What becomes of what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// Goes back to the owner.
    pub returned: Amount,
    /// Kept, for the gas of sending it.
    pub fee: Amount,
}

/// Why something may not happen to an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody else's word.
    #[error("the voucher is signed by {signer}, and the account belongs to {owner}")]
    WrongSigner {
        /// Who signed.
        signer: PublicKey,
        /// Whose word counts.
        owner: PublicKey,
    },
    /// The very voucher that is the highest.
    #[error("voucher {sequence} was received before and counts already; sign number {} for something else", sequence.saturating_add(1))]
    Replayed {
        /// Its number.
        sequence: u64,
    },
    /// A later one has taken its place.
    #[error("voucher {sequence} has been replaced by number {highest}")]
    Superseded {
        /// Its number.
        sequence: u64,
        /// The highest that is known.
        highest: u64,
    },
    /// It takes back what an earlier one has promised.
    #[error(
        "voucher {sequence} promises {amount}, and an earlier one {promised}: amounts never go down, because they are sums"
    )]
    Decreasing {
        /// Its number.
        sequence: u64,
        /// What it says.
        amount: Amount,
        /// What is promised already.
        promised: Amount,
    },
    /// Another voucher with the same number was here before.
    #[error(
        "another voucher {} was received before, for {}; it counts, and both are kept as evidence",
        .0.first.promise.sequence, .0.first.promise.amount
    )]
    Forked(Box<Fork>),
    /// It promises what is not there.
    #[error("the voucher promises {amount}, and only {deposited} is deposited; deposit more first")]
    ExceedsDeposit {
        /// What it says.
        amount: Amount,
        /// What is there.
        deposited: Amount,
    },
    /// The voucher does not cover the purchase.
    #[error("the voucher promises {amount} in all; this needs one that promises {needed}")]
    VoucherTooSmall {
        /// What it says.
        amount: Amount,
        /// What it would have to say at least.
        needed: Amount,
    },
    /// The deposits do not cover the purchase.
    #[error("{price} is asked for, and {free} of the deposit is free; deposit more first")]
    BalanceTooSmall {
        /// What is asked for.
        price: Amount,
        /// What is not spent and not held.
        free: Amount,
    },
    /// It is being closed, or is.
    #[error("the account is closed, or is being closed; open another one")]
    NotOpen,
    /// More than can be counted.
    #[error("{deposited} and {amount} are more than an account can hold")]
    TooMuch {
        /// What is there.
        deposited: Amount,
        /// What would come.
        amount: Amount,
    },
}

/// A fact that cannot follow those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Impossible(String);

impl Refusal {
    /// A word for programs, one for each reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongSigner { .. } => "voucher-wrong-signer",
            Self::Replayed { .. } => "voucher-replayed",
            Self::Superseded { .. } => "voucher-superseded",
            Self::Decreasing { .. } => "voucher-decreasing",
            Self::Forked(_) => "voucher-forked",
            Self::ExceedsDeposit { .. } => "voucher-exceeds-deposit",
            Self::VoucherTooSmall { .. } => "voucher-too-small",
            Self::BalanceTooSmall { .. } => "balance-too-small",
            Self::NotOpen => "account-not-open",
            Self::TooMuch { .. } => "account-full",
        }
    }
}

impl Account {
    /// The largest sum of deposits: numbers of signed documents end there (RFC 8785 section 3.2.2.3).
    pub const MOST: Amount = Amount((1 << 53) - 1);

    /// A new one, with nothing in it.
    #[must_use]
    pub fn new(owner: PublicKey) -> Self {
        Self {
            owner,
            phase: Phase::Open,
            deposited: Amount::ZERO,
            highest: None,
            holds: BTreeMap::new(),
            spent: Amount::ZERO,
            forks: Vec::new(),
        }
    }

    /// Whose word counts.
    #[must_use]
    pub fn owner(&self) -> PublicKey {
        self.owner
    }

    /// Where it is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The sum of all deposits.
    #[must_use]
    pub fn deposited(&self) -> Amount {
        self.deposited
    }

    /// The sum of all that was charged.
    #[must_use]
    pub fn spent(&self) -> Amount {
        self.spent
    }

    /// What is set aside for purchases that are not settled.
    #[must_use]
    pub fn held(&self) -> Amount {
        self.holds
            .values()
            .fold(Amount::ZERO, |sum, it| Amount(sum.0 + it.0))
    }

    /// What is set aside for one purchase.
    #[must_use]
    pub fn held_for(&self, purchase: u64) -> Amount {
        self.holds.get(&purchase).copied().unwrap_or_default()
    }

    /// What is neither spent nor held.
    #[must_use]
    pub fn free(&self) -> Amount {
        minus(self.deposited, self.taken())
    }

    /// Of that, what the highest voucher covers.
    #[must_use]
    pub fn covered(&self) -> Amount {
        minus(self.promised(), self.taken())
    }

    /// The voucher that counts.
    #[must_use]
    pub fn highest(&self) -> Option<&Voucher> {
        self.highest.as_ref()
    }

    /// What that promises; nothing without one.
    #[must_use]
    pub fn promised(&self) -> Amount {
        self.highest
            .as_ref()
            .map_or(Amount::ZERO, |it| it.promise.amount)
    }

    /// The number of that; 0 without one.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.highest.as_ref().map_or(0, |it| it.promise.sequence)
    }

    /// Vouchers that contradict each other; the first [`MOST_FORKS`] of them.
    #[must_use]
    pub fn forks(&self) -> &[Fork] {
        &self.forks
    }

    /// Whether a contradiction is worth keeping: it is new, and there is room.
    #[must_use]
    pub fn keeps(&self, fork: &Fork) -> bool {
        self.forks.len() < MOST_FORKS && !self.forks.contains(fork)
    }

    fn taken(&self) -> Amount {
        Amount(self.spent.0 + self.held().0)
    }

    /// Whether so much may be added.
    pub fn may_deposit(&self, amount: Amount) -> Result<(), Refusal> {
        if self.phase == Phase::Closed {
            return Err(Refusal::NotOpen);
        }
        let sum = self.deposited.checked_add(amount);
        match sum.filter(|sum| *sum <= Self::MOST) {
            Some(_) => Ok(()),
            None => Err(Refusal::TooMuch {
                deposited: self.deposited,
                amount,
            }),
        }
    }

    /// Whether a voucher takes the place of the highest.
    pub fn may_promise(&self, voucher: &Checked) -> Result<(), Refusal> {
        self.follows(self.highest(), voucher.voucher())
    }

    /// The same after one that may be promised and has not been yet.
    pub fn may_promise_after(
        &self,
        waiting: Option<&Voucher>,
        voucher: &Checked,
    ) -> Result<(), Refusal> {
        self.follows(waiting.or(self.highest()), voucher.voucher())
    }

    fn follows(&self, last: Option<&Voucher>, voucher: &Voucher) -> Result<(), Refusal> {
        if voucher.signer != self.owner {
            return Err(Refusal::WrongSigner {
                signer: voucher.signer,
                owner: self.owner,
            });
        }
        if self.phase != Phase::Open {
            return Err(Refusal::NotOpen);
        }
        let sequence = voucher.promise.sequence;
        let amount = voucher.promise.amount;
        let (highest, promised) = last.map_or((0, Amount::ZERO), |it| {
            (it.promise.sequence, it.promise.amount)
        });
        match last {
            Some(first) if sequence == highest && amount == first.promise.amount => {
                return Err(Refusal::Replayed { sequence });
            }
            Some(first) if sequence == highest => {
                return Err(Refusal::Forked(Box::new(Fork {
                    first: first.clone(),
                    second: voucher.clone(),
                })));
            }
            _ if sequence <= highest => return Err(Refusal::Superseded { sequence, highest }),
            _ => {}
        }
        if amount < promised {
            return Err(Refusal::Decreasing {
                sequence,
                amount,
                promised,
            });
        }
        if amount > self.deposited {
            return Err(Refusal::ExceedsDeposit {
                amount,
                deposited: self.deposited,
            });
        }
        Ok(())
    }

    /// Whether a voucher pays a price: it takes the place of the highest, and covers what is spent, what is held and the price.
    pub fn may_buy(&self, voucher: &Checked, price: Amount) -> Result<(), Refusal> {
        match self.may_promise(voucher) {
            Ok(()) => {}
            // That it cannot be bought says more than that the voucher promises what is not there.
            Err(Refusal::ExceedsDeposit { .. }) if price > self.free() => {
                return Err(Refusal::BalanceTooSmall {
                    price,
                    free: self.free(),
                });
            }
            Err(refusal) => return Err(refusal),
        }
        self.affords(price)?;
        let amount = voucher.voucher().promise.amount;
        let needed = Amount(self.taken().0 + price.0);
        if amount < needed {
            return Err(Refusal::VoucherTooSmall { amount, needed });
        }
        Ok(())
    }

    fn affords(&self, price: Amount) -> Result<(), Refusal> {
        let free = self.free();
        if price > free {
            return Err(Refusal::BalanceTooSmall { price, free });
        }
        Ok(())
    }

    /// What becomes of what is left, when nothing is held any more. An account that has spent less than `most_fee` pays the
    /// difference of it, and at most what it has: the gas of sending money back must have been earned.
    #[must_use]
    pub fn closing(&self, most_fee: Amount) -> Option<Closing> {
        if self.phase != Phase::Closing || !self.holds.is_empty() {
            return None;
        }
        let left = self.free();
        let fee = minus(most_fee, self.spent).min(left);
        Some(Closing {
            returned: minus(left, fee),
            fee,
        })
    }

    /// Takes what has happened, or tells why it cannot have; then nothing has changed.
    pub fn apply(&mut self, event: &Event) -> Result<(), Impossible> {
        let no = |reason: &dyn std::fmt::Display| Err(Impossible(reason.to_string()));
        match event {
            Event::Deposited(amount) => match self.may_deposit(*amount) {
                Ok(()) => self.deposited = Amount(self.deposited.0 + amount.0),
                Err(refusal) => return no(&refusal),
            },
            Event::Promised(voucher) => match self.follows(self.highest(), voucher) {
                Ok(()) => self.highest = Some(voucher.clone()),
                Err(refusal) => return no(&refusal),
            },
            Event::Forked(fork) => {
                if !self.keeps(fork) {
                    return no(&"this contradiction is kept already, or enough of them are");
                }
                self.forks.push(fork.clone());
            }
            Event::Held { purchase, amount } => {
                if self.phase != Phase::Open {
                    return no(&Refusal::NotOpen);
                }
                if *amount > self.covered() {
                    return no(&"more is held than the highest voucher covers");
                }
                let hold = self.holds.entry(*purchase).or_default();
                *hold = Amount(hold.0 + amount.0);
            }
            Event::Charged { purchase, amount } => match self.holds.get(purchase) {
                Some(hold) if amount <= hold => {
                    self.holds.remove(purchase);
                    self.spent = Amount(self.spent.0 + amount.0);
                }
                Some(_) => return no(&"more is charged than was held"),
                None => return no(&"nothing was held for it"),
            },
            Event::Closing => match self.phase {
                Phase::Open => self.phase = Phase::Closing,
                Phase::Closing | Phase::Closed => return no(&Refusal::NotOpen),
            },
            Event::Closed(Closing { returned, fee }) => {
                let balances = Amount::checked_sum([*returned, *fee]) == Some(self.free());
                if self.phase != Phase::Closing || !self.holds.is_empty() || !balances {
                    return no(&"it cannot be closed so");
                }
                self.phase = Phase::Closed;
            }
        }
        Ok(())
    }
}

/// Zero where nothing is left. Sums of an account stay below [`Account::MOST`], so nothing overflows either.
fn minus(a: Amount, b: Amount) -> Amount {
    Amount(a.0.saturating_sub(b.0))
}
