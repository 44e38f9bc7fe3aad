//! Purchases that are paid from an account: the voucher is the payment, and there is no ledger to wait for.

use payflow_payment::{Amount, account::Refusal, voucher::Checked};

use super::document::{BoughtFromAccount, Drawn};
use crate::core::{
    Core,
    document::ReservationNumber,
    io::Caller,
    journal::Record,
    paying::expired,
    problem::{Problem, ProblemKind},
    quoting::key_of,
    reply::Answer,
    reservation::{Response, Stimulus, respond},
};

impl Core {
    /// `POST /v1/reservations` with a voucher: all or nothing, at once.
    pub(in crate::core) fn reserve_from_account(
        &mut self,
        caller: &Caller,
        number: ReservationNumber,
        checked: &Checked,
        metered: bool,
    ) -> Result<Answer, Problem> {
        // Behind what was promised before.
        self.save_vouchers();
        let buyer = key_of(caller)?;
        let promise = &checked.voucher().promise;
        let (account, sequence) = (promise.account, promise.sequence);
        let members = self.members(number);
        let known = self.known_account(account)?;
        // Whoever overhears a voucher cannot buy with it: the request is signed by the same key.
        if known.state.owner() != buyer {
            return Err(Problem::new(
                ProblemKind::NotTheOwner,
                format!("only the key that opened account {account} may pay from it"),
            ));
        }
        let mut price = Amount::ZERO;
        for member in &members {
            let reservation = self.visible(caller, *member)?;
            price = price
                .checked_add(reservation.quote().payment.price)
                .ok_or_else(|| Problem::new(ProblemKind::Internal, "the price is too high"))?;
        }
        let least = match metered && self.register.bought_with(account, sequence).is_none() {
            true => self.first_part(account, &members)?,
            false => price,
        };
        let judged = self.known_account(account)?.state.may_buy(checked, least);
        if let Err(refusal @ Refusal::Forked(_)) = judged {
            return Err(self.refused_voucher(account, refusal));
        }
        if let Some(bought) = self.register.bought_with(account, sequence) {
            if members.contains(&bought) {
                return self.as_it_is(number);
            }
            return Err(Problem::new(
                ProblemKind::PaymentAlreadyUsed,
                format!(
                    "voucher {sequence} of account {account} has bought {}; sign a higher number for this",
                    bought.reservation_id()
                ),
            )
            .with("bought", bought.reservation_id()));
        }
        for member in &members {
            let reservation = self.visible(caller, *member)?;
            match respond(reservation.state, Stimulus::PaymentOffered) {
                Response::Record(_) => {}
                Response::Refuse(why) => return Err(Problem::new(ProblemKind::WrongState, why)),
                Response::Ignore => return self.as_it_is(number),
            }
            if self.unix_now() > reservation.quote().payment.expires_at {
                return Err(expired(*member));
            }
        }
        if let Err(refusal) = judged {
            return Err(self.refused_voucher(account, refusal));
        }
        let whole = members.iter().filter_map(|number| {
            let reservation = self.register.reservations.get(number)?;
            Some(Drawn {
                number: *number,
                amount: reservation.quote().payment.price,
            })
        });
        let mut drawn: Vec<Drawn> = whole.collect();
        if metered {
            for it in &mut drawn {
                it.amount = self.set_aside(account, promise.amount, it.amount)?;
            }
        }
        let bought = BoughtFromAccount {
            voucher: checked.voucher().clone(),
            members: drawn,
            metered,
            at: self.now,
        };
        self.record(Record::BoughtFromAccount(Box::new(bought)));
        for member in members {
            self.bought(member);
        }
        self.as_it_is(number)
    }
}
