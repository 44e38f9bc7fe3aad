//! Double entry: every movement of money takes it out of one account and puts it into another, so that the sum of all accounts is
//! zero at every moment.
//!
//! | account | what lies there |
//! |---|---|
//! | `host:KEY` | what a buyer has got back less what it has paid: never above zero |
//! | `prepaid:aN` | deposited in a prepaid account, and not used yet |
//! | `held:rN` | paid, and not accounted for yet |
//! | `earned` | the operator's, for time served; not collected yet |
//! | `fees` | the operator's, of early ends and payments that bought nothing; not collected yet |
//! | `refunds_due:rN`, `refunds_due:aN` | a buyer's, and on its way |
//! | `credited:rN`, `credited:aN` | a buyer's, and too little to be worth its gas |
//! | `treasury` | collected, less gas. What the operator brings in or takes out is not part of these books, so it may be below zero |
//! | `gas` | what transfers have cost on the ledger; below zero where more of the deposits of coins came back, as when many are merged |
//!
//! A transfer is never changed or taken back: what was wrong is corrected by another one.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Amount, PublicKey};

/// What a payment was made for, by its number: in text `r12` or `a3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// A reservation.
    Reservation(u64),
    /// A prepaid account.
    Account(u64),
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reservation(number) => write!(f, "r{number}"),
            Self::Account(number) => write!(f, "a{number}"),
        }
    }
}

impl Purpose {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.get(1..)?;
        let number: u64 = digits.parse().ok()?;
        let purpose = match text.as_bytes().first()? {
            b'r' => Self::Reservation(number),
            b'a' => Self::Account(number),
            _ => return None,
        };
        // One purpose has one name.
        (purpose.to_string() == text).then_some(purpose)
    }
}

/// Where money lies. In text as in the table of this module.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub enum BookAccount {
    /// With a buyer, outside.
    Host(PublicKey),
    /// Free in a prepaid account.
    Prepaid(u64),
    /// Of a reservation that is not settled.
    Held(u64),
    /// Charges of time served.
    Earned,
    /// Fees.
    Fees,
    /// To be sent back.
    RefundsDue(Purpose),
    /// Recorded in favour of whoever paid.
    Credited(Purpose),
    /// The operator's.
    Treasury,
    /// Spent.
    Gas,
}

impl BookAccount {
    /// Whether more may have left it than has come.
    #[must_use]
    pub const fn may_be_negative(&self) -> bool {
        matches!(self, Self::Host(_) | Self::Treasury | Self::Gas)
    }
}

impl fmt::Display for BookAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(key) => write!(f, "host:{key}"),
            Self::Prepaid(number) => write!(f, "prepaid:a{number}"),
            Self::Held(number) => write!(f, "held:r{number}"),
            Self::Earned => f.write_str("earned"),
            Self::Fees => f.write_str("fees"),
            Self::RefundsDue(purpose) => write!(f, "refunds_due:{purpose}"),
            Self::Credited(purpose) => write!(f, "credited:{purpose}"),
            Self::Treasury => f.write_str("treasury"),
            Self::Gas => f.write_str("gas"),
        }
    }
}

/// This text is no account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no account")]
pub struct UnknownBookAccount(String);

impl FromStr for BookAccount {
    type Err = UnknownBookAccount;

    fn from_str(text: &str) -> Result<Self, UnknownBookAccount> {
        let unknown = || UnknownBookAccount(text.to_owned());
        let purpose = |of: &str| Purpose::parse(of).ok_or_else(unknown);
        match text.split_once(':') {
            None => match text {
                "earned" => Ok(Self::Earned),
                "fees" => Ok(Self::Fees),
                "treasury" => Ok(Self::Treasury),
                "gas" => Ok(Self::Gas),
                _ => Err(unknown()),
            },
            Some(("host", key)) => {
                let key = PublicKey::try_from(key.to_owned()).map_err(|_| unknown())?;
                Ok(Self::Host(key))
            }
            Some((kind, of)) => match (kind, purpose(of)?) {
                ("prepaid", Purpose::Account(number)) => Ok(Self::Prepaid(number)),
                ("held", Purpose::Reservation(number)) => Ok(Self::Held(number)),
                ("refunds_due", purpose) => Ok(Self::RefundsDue(purpose)),
                ("credited", purpose) => Ok(Self::Credited(purpose)),
                _ => Err(unknown()),
            },
        }
    }
}

impl TryFrom<String> for BookAccount {
    type Error = UnknownBookAccount;

    fn try_from(text: String) -> Result<Self, UnknownBookAccount> {
        text.parse()
    }
}

impl From<BookAccount> for String {
    fn from(account: BookAccount) -> Self {
        account.to_string()
    }
}

/// Names a transfer, for ever: the journal record that means it, and which of that record's transfers it is, from 0 on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct TransferId {
    /// Number of the journal record.
    pub record: u64,
    /// Among those of the record.
    pub part: u32,
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.record, self.part)
    }
}

/// This text names no transfer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a transfer, such as 12.0")]
pub struct UnknownTransfer(String);

impl FromStr for TransferId {
    type Err = UnknownTransfer;

    fn from_str(text: &str) -> Result<Self, UnknownTransfer> {
        let id = text.split_once('.').and_then(|(record, part)| {
            Some(Self {
                record: record.parse().ok()?,
                part: part.parse().ok()?,
            })
        });
        id.filter(|id| id.to_string() == text)
            .ok_or_else(|| UnknownTransfer(text.to_owned()))
    }
}

/// One movement of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transfer {
    /// Its name.
    #[serde(flatten)]
    pub id: TransferId,
    /// Where it was.
    pub from: BookAccount,
    /// Where it is.
    pub to: BookAccount,
    /// How much, in the smallest unit; never zero.
    pub amount: Amount,
}

/// What has come and gone, in the smallest unit. Sums of 128 bits, which no supply fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turnover {
    /// All that has come.
    pub came: u128,
    /// All that has left.
    pub left: u128,
}

impl Turnover {
    /// What is there; below zero if more has left than has come.
    #[must_use]
    pub fn balance(self) -> i128 {
        let signed = |sum| i128::try_from(sum).unwrap_or(i128::MAX);
        signed(self.came) - signed(self.left)
    }
}

/// A transfer that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// An account has less than is to leave it.
    #[error("{from} has {balance}, and {amount} would leave it")]
    Overdrawn {
        /// Which account.
        from: BookAccount,
        /// What is there.
        balance: i128,
        /// What would leave.
        amount: Amount,
    },
    /// From an account to itself, or of nothing.
    #[error("transfer {0} moves nothing")]
    Nothing(TransferId),
    /// A transfer of that name, or of a later one, is booked.
    #[error("transfer {0} does not follow {1}")]
    OutOfOrder(TransferId, TransferId),
}

/// Every account, as all transfers so far have left it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookAccounts {
    accounts: BTreeMap<BookAccount, Turnover>,
    last: Option<TransferId>,
}

impl BookAccounts {
    /// Books a transfer: both sides of it, or, with an error, neither.
    ///
    /// # Errors
    /// When it moves nothing, does not come after the last one, or overdraws an account that cannot be negative.
    pub fn book(&mut self, transfer: &Transfer) -> Result<(), TransferError> {
        let Transfer {
            id,
            from,
            to,
            amount,
        } = *transfer;
        if amount.is_zero() || from == to {
            return Err(TransferError::Nothing(id));
        }
        if let Some(last) = self.last.filter(|last| *last >= id) {
            return Err(TransferError::OutOfOrder(id, last));
        }
        let balance = self.turnover(&from).balance();
        if !from.may_be_negative() && balance < i128::from(amount.get()) {
            return Err(TransferError::Overdrawn {
                from,
                balance,
                amount,
            });
        }
        self.accounts.entry(from).or_default().left += u128::from(amount.get());
        self.accounts.entry(to).or_default().came += u128::from(amount.get());
        self.last = Some(id);
        Ok(())
    }

    /// What has come to an account and left it; nothing for one that nobody has used.
    #[must_use]
    pub fn turnover(&self, account: &BookAccount) -> Turnover {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    /// Every account that was ever used, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&BookAccount, &Turnover)> {
        self.accounts.iter()
    }

    /// The newest transfer; `None` if there was none.
    #[must_use]
    pub const fn last(&self) -> Option<TransferId> {
        self.last
    }

    /// All balances together: zero, always.
    #[must_use]
    pub fn sum(&self) -> i128 {
        self.accounts.values().map(|it| it.balance()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn purpose() -> impl Strategy<Value = Purpose> {
        prop_oneof![
            any::<u64>().prop_map(Purpose::Reservation),
            any::<u64>().prop_map(Purpose::Account),
        ]
    }

    fn account() -> impl Strategy<Value = BookAccount> {
        prop_oneof![
            any::<[u8; 32]>().prop_map(|key| BookAccount::Host(PublicKey(key))),
            any::<u64>().prop_map(BookAccount::Prepaid),
            any::<u64>().prop_map(BookAccount::Held),
            purpose().prop_map(BookAccount::RefundsDue),
            purpose().prop_map(BookAccount::Credited),
            Just(BookAccount::Earned),
            Just(BookAccount::Fees),
            Just(BookAccount::Treasury),
            Just(BookAccount::Gas),
        ]
    }

    fn few() -> impl Strategy<Value = BookAccount> {
        prop_oneof![
            Just(BookAccount::Host(PublicKey([1; 32]))),
            Just(BookAccount::Held(1)),
            Just(BookAccount::Earned),
            Just(BookAccount::Treasury),
        ]
    }

    proptest! {
        #[test]
        fn an_account_is_read_back_from_its_name(account in account()) {
            prop_assert_eq!(account.to_string().parse(), Ok(account));
        }

        #[test]
        fn the_sum_is_zero_and_nothing_is_overdrawn_whatever_is_tried(
            tried in prop::collection::vec((few(), few(), 0..1_000_u64, 0..3_u64), 0..60),
        ) {
            let mut accounts = BookAccounts::default();
            let mut model: BTreeMap<BookAccount, i128> = BTreeMap::new();
            let mut record = 1;
            for (from, to, amount, step) in tried {
                record += step;
                let id = TransferId { record, part: 0 };
                let before = accounts.clone();
                let booked = accounts.book(&Transfer { id, from, to, amount: Amount(amount) });
                let may = from != to && amount > 0 && before.last < Some(id)
                    && (from.may_be_negative() || model.get(&from).copied().unwrap_or(0) >= i128::from(amount));
                prop_assert_eq!(booked.is_ok(), may);
                if may {
                    *model.entry(from).or_default() -= i128::from(amount);
                    *model.entry(to).or_default() += i128::from(amount);
                } else {
                    prop_assert_eq!(&accounts, &before);
                }
                prop_assert_eq!(accounts.sum(), 0);
                for (account, turnover) in accounts.iter() {
                    prop_assert_eq!(turnover.balance(), model.get(account).copied().unwrap_or(0));
                    prop_assert!(turnover.balance() >= 0 || account.may_be_negative());
                }
            }
        }
    }

    #[test]
    fn an_account_has_one_name() {
        for text in [
            "",
            "held",
            "held:7",
            "held:r07",
            "held:r-7",
            "held:a7",
            "prepaid:r7",
            "held:é7",
            "host:ab",
            "earned:r1",
            "Earned",
            "held:r18446744073709551616",
        ] {
            assert!(text.parse::<BookAccount>().is_err(), "{text}");
        }
    }
}
