//! Pay as you go: a reservation that is carried for as long as vouchers arrive.
//!
//! It is quoted and booked as any other, and bought with a voucher that covers its first seconds at least: the grace. From then on
//! whatever the account's vouchers promise beyond what is taken is set aside for it, until its price is. Nothing is carried that is
//! not paid: when vouchers stop it goes on for what is set aside, and then its packets are best effort, which the buyer is told.
//! What is set aside and not served is free in the account again, without a fee. An account pays for one at a time in this way.

use payflow_payment::{Amount, UnixMillis, account::Refusal, voucher::AccountNumber};
use payflow_qos::Time;

use crate::core::{
    Core, Effect,
    document::ReservationNumber,
    problem::{Problem, ProblemKind},
    register::Reservation,
    unix,
};

/// What the buyer is told when it ends.
pub(in crate::core) const STOPPED: &str = "no voucher has come for what was to be carried from now on, so its packets are best effort; buy it again, and send \
     vouchers ahead of paid_until";

impl Core {
    /// The least that has to be paid at once, where the rest is paid as it goes.
    pub(super) fn first_part(
        &self,
        account: AccountNumber,
        members: &[ReservationNumber],
    ) -> Result<Amount, Problem> {
        let wrong = |why: &str| Err(Problem::new(ProblemKind::WrongState, why));
        let reservation = match members {
            [number] => self.register.reservations.get(number),
            _ => return wrong("a group is paid whole"),
        };
        let Some(reservation) = reservation else {
            return wrong("there is no such quote");
        };
        if reservation.issued.starts_at.is_some() {
            return wrong("what begins later is paid whole");
        }
        let prepaid = self.known_account(account)?;
        if let Some(other) = prepaid.metered {
            return wrong(&format!(
                "account {account} pays for {} as it goes; end that first, or open another account",
                other.reservation_id()
            ));
        }
        let quote = reservation.quote();
        let grace = quote.payment.grace_ms;
        let spread = quote.spread();
        Ok(spread.map_or(quote.payment.price, |it| {
            Amount(it.earned_until(grace.min(quote.duration_ms)))
        }))
    }

    /// What a voucher sets aside for it: all that it covers, and at most the price.
    pub(super) fn set_aside(
        &self,
        account: AccountNumber,
        promised: Amount,
        price: Amount,
    ) -> Result<Amount, Problem> {
        let state = &self.known_account(account)?.state;
        let taken = state.spent().checked_add(state.held());
        let covered = taken.and_then(|it| promised.checked_sub(it));
        covered
            .map(|it| it.min(price))
            .ok_or_else(|| Problem::from(&Refusal::NotOpen))
    }

    /// More is set aside for what an account pays as it goes.
    pub(super) fn extended(&mut self, account: AccountNumber) {
        let prepaid = self.register.accounts.get(&account);
        let Some(number) = prepaid.and_then(|it| it.metered) else {
            return;
        };
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        if let Some(ends) = reservation.covered_until() {
            let flow = reservation.flow();
            self.gate.queue(Effect::SetEnd(flow, ends));
        }
        self.arm(number);
        self.changed(number);
    }
}

impl Reservation {
    /// Until when it is paid, once it is active, where it is paid as it goes: what is served until then costs what is set
    /// aside at most. Moves with time while nothing is served.
    pub(in crate::core) fn covered_until(&self) -> Option<Time> {
        let paid = self.paid.as_ref().filter(|it| it.metered)?;
        let active = self.active.as_ref()?;
        let spread = self.quote().spread()?;
        let whole = active.to.since(active.from);
        let at = |ms| active.from.plus(std::time::Duration::from_millis(ms));
        let covered = last_within(whole.as_millis(), |ms| {
            spread.earned(self.served(at(ms))) <= paid.amount.0
        });
        Some(at(covered))
    }

    /// For how long it is paid from its beginning on, in milliseconds, where it is paid as it goes.
    pub(in crate::core) fn covered_ms(&self) -> Option<u64> {
        let paid = self.paid.as_ref().filter(|it| it.metered)?;
        let spread = self.quote().spread()?;
        let whole = u128::from(self.quote().duration_ms);
        Some(last_within(whole, |ms| {
            spread.earned_until(ms) <= paid.amount.0
        }))
    }

    /// The same for people and programs.
    pub(in crate::core) fn paid_until(&self) -> Option<UnixMillis> {
        self.covered_until().map(unix)
    }
}

/// The last of the numbers from 0 to `most` for which it holds; it holds for none after one for which it does not.
fn last_within(most: u128, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, u64::try_from(most).unwrap_or(u64::MAX));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_holds_is_found() {
        for most in 0..20 {
            for last in 0..=most {
                assert_eq!(last_within(u128::from(most), |it| it <= last), last);
            }
        }
    }
}
