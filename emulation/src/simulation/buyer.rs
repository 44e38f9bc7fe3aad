//! Those who buy: honest, forgetful, greedy and hostile ones.

use std::net::IpAddr;

use payflow_controller::core::document::{BuyerKey, QuoteDocument, ReservationNumber};
use payflow_controller::core::io::{Caller, Idempotency};
use payflow_payment::voucher::Voucher;
use payflow_payment::{Address, TxDigest};
use payflow_qos::Time;

use super::chance::Chance;

/// How a buyer pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Hands over its signed transaction.
    HandsOver,
    /// Submits by itself and shows the digest.
    Shows,
    /// Submits by itself and says nothing.
    Silent,
    /// Never pays.
    Forgets,
    /// Pays too little.
    Short,
    /// Pays too much.
    Generous,
    /// Pays in worthless coins.
    WrongAsset,
    /// Pays when the quote has expired.
    Late,
    /// Hands over a transaction, and pays again by itself.
    Twice,
    /// Hands over a transaction whose coin it spends elsewhere at the same time.
    DoubleSpends,
    /// Shows the digest of somebody else's payment.
    Steals,
    /// Shows a digest that nobody has ever seen.
    Invents,
}

impl Habit {
    const ALL: [(Self, u64); 12] = [
        (Self::HandsOver, 10),
        (Self::Shows, 4),
        (Self::Silent, 2),
        (Self::Forgets, 2),
        (Self::Short, 1),
        (Self::Generous, 1),
        (Self::WrongAsset, 1),
        (Self::Late, 2),
        (Self::Twice, 2),
        (Self::DoubleSpends, 2),
        (Self::Steals, 1),
        (Self::Invents, 1),
    ];

    fn any(chance: &mut Chance) -> Self {
        let total = Self::ALL.iter().map(|(_, weight)| weight).sum();
        let mut at = chance.between(0, total);
        for (habit, weight) in Self::ALL {
            if at < weight {
                return habit;
            }
            at -= weight;
        }
        Self::HandsOver
    }
}

/// What a buyer waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// For what it is to change to be served.
    Base,
    /// To find out whether the destination is there.
    Look,
    /// To ask for a quote, or for the answer to it.
    Quote,
    /// To pay, or for the answer to that.
    Pay,
    /// For the end of what it bought.
    Watch,
    /// For nothing: it was refused, or all is over.
    Done,
}

/// A change of what is served already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Number of whoever bought that: the same buyer, before.
    pub of: usize,
    /// Asked for so long after that was served first.
    pub after_ms: u64,
    /// It keeps the rate that it has.
    pub keeps_rate: bool,
    /// It keeps the time that is left.
    pub keeps_time: bool,
    /// The reservation that is to be changed, once it was asked for.
    pub reservation: Option<ReservationNumber>,
}

/// Out of which prepaid account a buyer pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepaid {
    /// The number of its owner.
    pub owner: usize,
    /// The owner's key, which is the buyer's.
    pub key: BuyerKey,
    /// The first seconds at once, and the rest as it goes.
    pub as_it_goes: bool,
}

/// One buyer and its one purchase.
#[derive(Clone, Debug)]
pub struct Buyer {
    /// Its number.
    pub number: usize,
    /// How it pays.
    pub habit: Habit,
    /// Where it is.
    pub address: IpAddr,
    /// Whom its packets are for.
    pub destination: IpAddr,
    /// Where its packets come from, if not from itself.
    pub source: Option<IpAddr>,
    /// Destination port of its packets.
    pub port: u16,
    /// Frame bits per second.
    pub rate_bps: u64,
    /// How long, in seconds.
    pub duration_s: u64,
    /// It begins so long after it was asked for first.
    pub starts_after_ms: Option<u64>,
    /// When it is to begin.
    pub starts_at: Option<Time>,
    /// Numbers of the other flows of a group that it buys; each is then a buyer by itself.
    pub members: Vec<usize>,
    /// What those want together, in whole kbit/s.
    pub members_bps: u64,
    /// This is bought in place of something else.
    pub change: Option<Change>,
    /// Whose key signs: the number of whoever bought the first of a chain of changes.
    pub signs_as: usize,
    /// It pays out of an account, and not on the ledger.
    pub prepaid: Option<Prepaid>,
    /// What it has signed for that; made once, unless it is refused.
    pub voucher: Option<Voucher>,
    /// Ends early, so long after it was served first.
    pub cancels_after_ms: Option<u64>,
    /// What it waits for.
    pub step: Step,
    /// What it was offered.
    pub quote: Option<QuoteDocument>,
    /// The transaction it made for the quote, with its coins; made once.
    pub payment: Option<super::ledger::Transfer>,
    /// A digest it shows that is not its own.
    pub shows: Option<TxDigest>,
    /// It has submitted the transaction by itself.
    pub submitted: bool,
    /// Its request that is not answered.
    pub waiting: Option<u64>,
    /// When it last asked for something.
    pub asked_at: Time,
    /// When it looks again.
    pub looks_at: Option<Time>,
    /// When it was first told that it is served.
    pub served_since: Option<Time>,
    /// It has asked for the end.
    pub cancelled: bool,
}

impl Buyer {
    /// Somebody who wants something.
    pub fn any(number: usize, chance: &mut Chance) -> Self {
        let host = |chance: &mut Chance| u8::try_from(chance.between(1, 9)).unwrap_or(1);
        let from = host(chance);
        let to = loop {
            let to = host(chance);
            if to != from {
                break to;
            }
        };
        Self {
            number,
            habit: Habit::any(chance),
            address: IpAddr::from([10, 0, 0, from]),
            destination: IpAddr::from([10, 0, 0, to]),
            // Few, so that somebody buys what another has, or had.
            port: if number.is_multiple_of(2) {
                5_000
            } else {
                5_001
            },
            rate_bps: chance.between(100_000, 9_000_000),
            duration_s: chance.between(1, 40),
            starts_after_ms: None,
            starts_at: None,
            source: None,
            members: Vec::new(),
            members_bps: 0,
            change: None,
            signs_as: number,
            prepaid: None,
            voucher: None,
            cancels_after_ms: chance.happens(300).then(|| chance.between(0, 20_000)),
            step: Step::Look,
            quote: None,
            payment: None,
            shows: None,
            submitted: false,
            waiting: None,
            asked_at: Time::default(),
            looks_at: None,
            served_since: None,
            cancelled: false,
        }
    }

    /// The same buyer wants something else of what it has.
    #[must_use]
    pub fn changing(base: &Self, number: usize, chance: &mut Chance) -> Self {
        let kept = chance.between(0, 4);
        let change = Change {
            of: base.number,
            after_ms: chance.between(0, 12_000),
            keeps_rate: kept == 0,
            keeps_time: kept == 1,
            reservation: None,
        };
        // Most differ a little, so that there is often room.
        let rate_bps = if chance.happens(700) {
            base.rate_bps * chance.between(500, 1_500) / 1_000
        } else {
            chance.between(100_000, 9_000_000)
        };
        Self {
            number,
            habit: Habit::any(chance),
            rate_bps,
            duration_s: chance.between(1, 40),
            change: Some(change),
            source: None,
            members: Vec::new(),
            members_bps: 0,
            starts_after_ms: None,
            cancels_after_ms: chance.happens(200).then(|| chance.between(0, 20_000)),
            step: Step::Base,
            ..base.clone()
        }
    }

    /// Another flow that is worth something together with that of `base` alone: the way back, or one from the same host.
    #[must_use]
    pub fn member(base: &Self, number: usize, chance: &mut Chance) -> Self {
        let other = IpAddr::from([10, 0, 0, u8::try_from(chance.between(1, 9)).unwrap_or(1)]);
        let (source, destination) = match chance.between(0, 3) {
            0 if other != base.address => (None, other),
            1 => (None, base.destination),
            _ => (Some(base.destination), base.address),
        };
        Self {
            number,
            source,
            destination,
            port: u16::try_from(6_000 + number).unwrap_or(6_000),
            rate_bps: chance.between(100_000, 5_000_000),
            duration_s: if chance.happens(500) {
                base.duration_s
            } else {
                chance.between(1, 40)
            },
            members: Vec::new(),
            members_bps: 0,
            cancels_after_ms: chance.happens(150).then(|| chance.between(0, 20_000)),
            step: Step::Base,
            ..base.clone()
        }
    }

    /// Its key; one per buyer.
    #[must_use]
    pub fn key(&self) -> BuyerKey {
        if let Some(prepaid) = self.prepaid {
            return prepaid.key;
        }
        let mut bytes = [0; 32];
        for (byte, of) in bytes.iter_mut().zip(self.signs_as.to_be_bytes()) {
            *byte = of;
        }
        payflow_payment::PublicKey(bytes)
    }

    /// Whether it sends UDP, which is sold as steady unless something else is asked for; the others send TCP, which is elastic.
    #[must_use]
    pub const fn is_steady(&self) -> bool {
        !self.signs_as.is_multiple_of(3)
    }

    /// How it is known to the controller.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller {
            key: Some(self.key()),
            address: Some(self.address),
            operator: false,
        }
    }

    /// Where its money comes from.
    #[must_use]
    pub fn wallet(&self) -> Address {
        Address::new(format!("0xwallet-{}", self.number))
    }

    /// Where refunds go; nothing else is ever sent there.
    #[must_use]
    pub fn refund_to(&self) -> Address {
        Address::new(format!("0xrefund-{}", self.number))
    }

    /// Makes asking twice asking once.
    #[must_use]
    pub fn idempotency(&self) -> Idempotency {
        Idempotency {
            key: format!("buyer-{}", self.number),
            fingerprint: format!("{}", self.number),
        }
    }

    /// The number of its quote and reservation.
    #[must_use]
    pub fn reservation(&self) -> Option<ReservationNumber> {
        ReservationNumber::from_quote_id(&self.quote.as_ref()?.id)
    }
}
