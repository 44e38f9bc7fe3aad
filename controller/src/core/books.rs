//! The books as they are shown: accounts and transfers.

use payflow_payment::{BookAccount, TransferId, Turnover};

use super::{
    Core,
    document::{BuyerKey, ReservationNumber},
    io::Caller,
    problem::Problem,
    quoting::key_of,
    reply::{BookAccountView, BookAccountsDocument, TransfersDocument},
};

impl Core {
    /// Every account for the operator; for a buyer its own, and those of what it has bought.
    pub(super) fn book_accounts(&self, caller: &Caller) -> Result<BookAccountsDocument, Problem> {
        let buyer = match caller.operator {
            true => None,
            false => Some(key_of(caller)?),
        };
        let books = self.bookkeeper.accounts();
        let theirs = books
            .iter()
            .filter(|(account, _)| buyer.is_none_or(|key| self.concerns(account, key)));
        Ok(BookAccountsDocument {
            accounts: theirs
                .map(|(account, turnover)| view(*account, *turnover))
                .collect(),
            last: books.last(),
        })
    }

    fn concerns(&self, account: &BookAccount, buyer: BuyerKey) -> bool {
        match account {
            BookAccount::Host(key) => *key == buyer,
            BookAccount::Held(number)
            | BookAccount::RefundsDue(number)
            | BookAccount::Credited(number) => {
                let of = self.register.reservations.get(&ReservationNumber(*number));
                of.is_some_and(|it| it.quote().buyer == buyer)
            }
            BookAccount::Earned | BookAccount::Fees | BookAccount::Treasury | BookAccount::Gas => {
                false
            }
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

fn view(account: BookAccount, turnover: Turnover) -> BookAccountView {
    BookAccountView {
        account,
        came: u64::try_from(turnover.came).unwrap_or(u64::MAX),
        left: u64::try_from(turnover.left).unwrap_or(u64::MAX),
        balance: i64::try_from(turnover.balance()).unwrap_or(i64::MAX),
    }
}
