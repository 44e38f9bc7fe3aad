//! The books as they are shown: accounts and transfers.

use payflow_payment::{BookAccount, Purpose, TransferId, Turnover, voucher::AccountNumber};

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
            BookAccount::Prepaid(number) => self.is_for(Purpose::Account(*number), buyer),
            BookAccount::Held(number) => self.is_for(Purpose::Reservation(*number), buyer),
            BookAccount::RefundsDue(purpose) | BookAccount::Credited(purpose) => {
                self.is_for(*purpose, buyer)
            }
            BookAccount::Earned | BookAccount::Fees | BookAccount::Treasury | BookAccount::Gas => {
                false
            }
        }
    }

    fn is_for(&self, purpose: Purpose, buyer: BuyerKey) -> bool {
        match purpose {
            Purpose::Reservation(number) => {
                let it = self.register.reservations.get(&ReservationNumber(number));
                it.is_some_and(|it| it.quote().buyer == buyer)
            }
            Purpose::Account(number) => {
                let it = self.register.accounts.get(&AccountNumber(number));
                it.is_some_and(|it| it.state.owner() == buyer)
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
