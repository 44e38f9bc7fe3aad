//! The books as they are shown: accounts and transfers.

use payflow_payment::{Account, TransferId, Turnover};

use super::{
    Core,
    document::{BuyerKey, ReservationNumber},
    io::Caller,
    problem::Problem,
    quoting::key_of,
    reply::{AccountView, AccountsDocument, TransfersDocument},
};

impl Core {
    /// Every account for the operator; for a buyer its own, and those of what it has bought.
    pub(super) fn accounts(&self, caller: &Caller) -> Result<AccountsDocument, Problem> {
        let buyer = match caller.operator {
            true => None,
            false => Some(key_of(caller)?),
        };
        let books = self.bookkeeper.accounts();
        let theirs = books
            .iter()
            .filter(|(account, _)| buyer.is_none_or(|key| self.concerns(account, key)));
        Ok(AccountsDocument {
            accounts: theirs
                .map(|(account, turnover)| view(*account, *turnover))
                .collect(),
            last: books.last(),
        })
    }

    fn concerns(&self, account: &Account, buyer: BuyerKey) -> bool {
        match account {
            Account::Host(key) => *key == buyer,
            Account::Held(number) | Account::RefundsDue(number) | Account::Credited(number) => {
                let of = self.register.reservations.get(&ReservationNumber(*number));
                of.is_some_and(|it| it.quote().buyer == buyer)
            }
            Account::Earned | Account::Fees | Account::Treasury | Account::Gas => false,
        }
    }

    /// Those that come after one, in order, `most` of them at most.
    pub(super) fn transfers_after(
        &self,
        after: Option<TransferId>,
        most: usize,
    ) -> TransfersDocument {
        let known = self
            .transfers
            .partition_point(|it| after.is_some_and(|after| it.id <= after));
        let (_, rest) = self.transfers.split_at(known);
        TransfersDocument {
            transfers: rest.iter().take(most).copied().collect(),
            more: rest.len() > most,
        }
    }
}

fn view(account: Account, turnover: Turnover) -> AccountView {
    AccountView {
        account,
        came: u64::try_from(turnover.came).unwrap_or(u64::MAX),
        left: u64::try_from(turnover.left).unwrap_or(u64::MAX),
        balance: i64::try_from(turnover.balance()).unwrap_or(i64::MAX),
    }
}
