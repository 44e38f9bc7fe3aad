//! Owners of prepaid accounts: who fill them, sign for them, close them, and do all that wrongly, too.

use std::collections::BTreeMap;
use std::net::IpAddr;

use payflow_controller::core::accounts::document::AccountView;
use payflow_controller::core::document::BuyerKey;
use payflow_controller::core::io::{Caller, Idempotency};
use payflow_payment::voucher::{AccountNumber, Payee, Promise, Voucher};
use payflow_payment::{Address, Amount, ChainId, PublicKey, SigningKey};
use payflow_qos::Time;

use super::chance::Chance;
use super::ledger::Transfer;

/// How somebody deposits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// By itself, and enough for something.
    Right,
    /// Enough for nothing.
    Short,
    /// When it has long been waited for.
    Late,
    /// The same once more.
    Twice,
    /// In many small transfers.
    InPieces,
    /// Out of somebody else's wallet.
    ByAnother,
    /// The signed transfer is handed over, again and again until it is there.
    HandsOver,
    /// In worthless coins.
    WrongAsset,
    /// Not at all.
    Never,
}

const FILLINGS: [Filling; 12] = [
    Filling::Right,
    Filling::Right,
    Filling::Right,
    Filling::InPieces,
    Filling::InPieces,
    Filling::HandsOver,
    Filling::HandsOver,
    Filling::Short,
    Filling::Late,
    Filling::Twice,
    Filling::ByAnother,
    Filling::WrongAsset,
];

/// What is true of a voucher that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nature {
    /// The next one.
    Next,
    /// The last one again.
    Repeated,
    /// A new one that promises less than an old one.
    Backwards,
    /// One that should have come before others.
    OutOfOrder,
    /// The last number again, for another amount.
    Forked,
    /// It promises what nobody has.
    TooMuch,
    /// Its amount was changed after it had been signed.
    Forged,
    /// It breaks off.
    Truncated,
    /// It is for another operator.
    OtherOperator,
    /// It is for money of another chain.
    OtherChain,
    /// It is of an account that there is not.
    UnknownAccount,
    /// Somebody else has signed.
    OtherSigner,
}

/// Those that somebody sends who means no good, or does not know what it does.
const MISCHIEF: [Nature; 11] = [
    Nature::Repeated,
    Nature::Backwards,
    Nature::OutOfOrder,
    Nature::Forked,
    Nature::TooMuch,
    Nature::Forged,
    Nature::Truncated,
    Nature::OtherOperator,
    Nature::OtherChain,
    Nature::UnknownAccount,
    Nature::OtherSigner,
];

/// A voucher on its way, as text, and what is true of it.
#[derive(Clone, Debug)]
pub struct Posted {
    /// What is true of it.
    pub nature: Nature,
    /// Of which account it says to be.
    pub account: AccountNumber,
    /// What it says of its number.
    pub sequence: u64,
    /// What it says of the amount.
    pub amount: Amount,
    /// As it is sent.
    pub text: String,
}

/// What an owner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerStep {
    /// Opens the account.
    Open,
    /// Deposits.
    Fill,
    /// Sends vouchers.
    Use,
    /// Wants it closed.
    Close,
    /// Waits for the balance.
    Wait,
    /// Nothing.
    Done,
}

/// What is being paid as it goes.
#[derive(Clone, Debug)]
pub struct Running {
    /// Who has bought it.
    pub buyer: usize,
    /// What all of it costs.
    pub price: u64,
    /// All of it.
    pub duration_ms: u64,
    /// The next voucher is due then.
    pub next_at: Time,
    /// No voucher is sent from then on.
    pub stops_at: Option<Time>,
}

/// One owner of one account.
#[derive(Debug)]
pub struct Owner {
    /// Its number among owners.
    pub number: usize,
    /// Where it asks from.
    pub address: IpAddr,
    key: SigningKey,
    public: BuyerKey,
    /// How it deposits.
    pub filling: Filling,
    /// What it deposits.
    pub amount: u64,
    /// So long after the account was opened.
    pub fills_after_ms: u64,
    /// Wrong vouchers that it sends, and so long after one another.
    pub mischief: Vec<(u64, Nature)>,
    /// When the next of these is sent.
    pub mischief_at: Option<Time>,
    /// It closes the account so long after it was opened, if at all; else when everybody is served, or never.
    pub closes_after_ms: Option<u64>,
    /// It asks for that once more.
    pub closes_twice: bool,
    /// It deposits when the account is closed already.
    pub deposits_late: bool,
    /// What it does next.
    pub step: OwnerStep,
    /// The account, once it is opened.
    pub view: Option<AccountView>,
    /// When it was opened.
    pub opened_at: Option<Time>,
    /// Transfers that it has signed to be handed over.
    pub to_hand_over: Option<Transfer>,
    /// The highest number that it has used.
    pub sequence: u64,
    /// The last voucher that it has signed as it should.
    last: Option<Voucher>,
    /// What is being paid as it goes.
    pub running: Option<Running>,
    /// Vouchers that are not answered, by the number of the request.
    pub sent: BTreeMap<u64, Posted>,
    /// Its request that is not answered.
    pub waiting: Option<u64>,
    /// When it acts next.
    pub looks_at: Option<Time>,
    /// Its own chance.
    pub chance: Chance,
}

impl Owner {
    /// Somebody who has an account, and a key of its own.
    #[must_use]
    pub fn any(number: usize, address: IpAddr, mut chance: Chance) -> Self {
        let mut seed = [7; 32];
        for (byte, of) in seed.iter_mut().zip(number.to_be_bytes()) {
            *byte = of;
        }
        let key = SigningKey::from_seed(seed);
        let filling = if chance.happens(50) {
            Filling::Never
        } else {
            chance.pick(&FILLINGS).copied().unwrap_or(Filling::Right)
        };
        let amount = match filling {
            Filling::Short => chance.between(1, 9_000_000),
            _ => chance.between(50_000_000, 900_000_000),
        };
        let fills_after_ms = match filling {
            Filling::Late => chance.between(10_000, 40_000),
            _ => chance.between(0, 2_000),
        };
        let wrongs = if chance.happens(500) {
            chance.between(1, 8)
        } else {
            0
        };
        let mischief = (0..wrongs)
            .filter_map(|_| {
                let nature = chance.pick(&MISCHIEF).copied()?;
                Some((chance.between(0, 12_000), nature))
            })
            .collect();
        let closes_after_ms = match chance.between(0, 4) {
            0 => Some(chance.between(0, 60_000)),
            1 => None,
            _ => Some(chance.between(60_000, 150_000)),
        };
        Self {
            number,
            address,
            public: key.public_key(),
            key,
            filling,
            amount,
            fills_after_ms,
            mischief,
            mischief_at: None,
            closes_after_ms,
            closes_twice: chance.happens(300),
            deposits_late: chance.happens(200),
            step: OwnerStep::Open,
            view: None,
            opened_at: None,
            to_hand_over: None,
            sequence: 0,
            last: None,
            running: None,
            sent: BTreeMap::new(),
            waiting: None,
            looks_at: None,
            chance,
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> BuyerKey {
        self.public
    }

    /// How it is known to the controller.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller {
            key: Some(self.public),
            address: Some(self.address),
            operator: false,
        }
    }

    /// Where its money comes from.
    #[must_use]
    pub fn wallet(&self) -> Address {
        Address::new(format!("0xpurse-{}", self.number))
    }

    /// Where the balance goes; nothing else is ever sent there.
    #[must_use]
    pub fn refund_to(&self) -> Address {
        Address::new(format!("0xbalance-{}", self.number))
    }

    /// Makes asking twice asking once.
    #[must_use]
    pub fn idempotency(&self) -> Idempotency {
        Idempotency {
            key: format!("owner-{}", self.number),
            fingerprint: format!("{}", self.number),
        }
    }

    /// Its account, once it has one.
    #[must_use]
    pub fn account(&self) -> Option<AccountNumber> {
        AccountNumber::from_account_id(&self.view.as_ref()?.account.document.id)
    }

    /// What is promised, as far as it knows.
    #[must_use]
    pub fn promised(&self) -> u64 {
        self.view.as_ref().map_or(0, |view| view.promised.0)
    }

    /// It was shown its account.
    pub fn shown(&mut self, view: AccountView) {
        self.sequence = self.sequence.max(view.sequence);
        self.view = Some(view);
    }

    /// Signs the next number, for this amount in all or what is promised already.
    pub fn signs(&mut self, payee: &Payee, amount: u64) -> Option<Voucher> {
        let account = self.account()?;
        self.sequence += 1;
        let promise = Promise {
            payee: payee.clone(),
            account,
            sequence: self.sequence,
            amount: Amount(amount.max(self.promised())),
        };
        let voucher = promise.sign(&self.key)?;
        self.last = Some(voucher.clone());
        Some(voucher)
    }

    /// A voucher of this nature, for so much in all where that is the owner's to say. `None` where there is none yet to be
    /// wrong about.
    pub fn writes(&mut self, nature: Nature, amount: u64, payee: &Payee) -> Option<Posted> {
        let account = self.account()?;
        let last = self.last.clone();
        let promised = self.promised();
        let word = |sequence, amount| Promise {
            payee: payee.clone(),
            account,
            sequence,
            amount: Amount(amount),
        };
        let stranger = SigningKey::from_seed([9; 32]);
        let voucher = match nature {
            Nature::Next => self.signs(payee, amount)?,
            Nature::Repeated => last?,
            Nature::Backwards => {
                let lower = promised.checked_sub(1)?;
                self.sequence += 1;
                word(self.sequence, lower).sign(&self.key)?
            }
            Nature::OutOfOrder => {
                let sequence = self.sequence.checked_sub(1).filter(|it| *it > 0)?;
                word(sequence, promised.saturating_add(1)).sign(&self.key)?
            }
            Nature::Forked => {
                let last = last?.promise;
                word(last.sequence, last.amount.0.saturating_add(1)).sign(&self.key)?
            }
            // Its number is used up all the same, or the next one would contradict it.
            Nature::TooMuch => {
                self.sequence += 1;
                word(self.sequence, (1 << 53) - 1).sign(&self.key)?
            }
            Nature::Forged => {
                let mut voucher = word(self.sequence + 1, amount).sign(&self.key)?;
                voucher.promise.amount = Amount(amount + 1);
                voucher
            }
            Nature::Truncated => word(self.sequence + 1, amount).sign(&self.key)?,
            Nature::OtherOperator => {
                let mut promise = word(self.sequence + 1, amount);
                promise.payee.operator = PublicKey([3; 32]);
                promise.sign(&self.key)?
            }
            Nature::OtherChain => {
                let mut promise = word(self.sequence + 1, amount);
                promise.payee.chain_id = ChainId::from("another");
                promise.sign(&self.key)?
            }
            Nature::UnknownAccount => {
                let mut promise = word(1, amount);
                promise.account = AccountNumber(AccountNumber::MAX);
                promise.sign(&self.key)?
            }
            Nature::OtherSigner => word(self.sequence + 1, amount).sign(&stranger)?,
        };
        let mut text = voucher.to_string();
        if nature == Nature::Truncated {
            let whole = u64::try_from(text.len()).unwrap_or_default();
            let kept = usize::try_from(self.chance.between(1, whole)).unwrap_or(1);
            text.truncate(kept);
        }
        Some(Posted {
            nature,
            account: voucher.promise.account,
            sequence: voucher.promise.sequence,
            amount: voucher.promise.amount,
            text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_filling_and_every_wrong_voucher_occurs() {
        let all: Vec<Owner> = (0..400)
            .map(|seed| Owner::any(1, [10, 0, 0, 1].into(), Chance::of(seed, "owner", 1)))
            .collect();
        for filling in FILLINGS.into_iter().chain([Filling::Never]) {
            assert!(all.iter().any(|it| it.filling == filling), "{filling:?}");
        }
        for nature in MISCHIEF {
            let sent = all.iter().flat_map(|it| &it.mischief);
            assert!(sent.into_iter().any(|it| it.1 == nature), "{nature:?}");
        }
    }
}
