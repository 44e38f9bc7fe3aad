//! Vouchers that come by themselves: many at a time, and one durable record for as many as come while the last one is written.
//!
//! Only the highest of an account counts, so only that is written. A record of vouchers is never begun while another is on its way
//! to the disk: what comes meanwhile waits, and goes with the next, as the highest of its account. Who sent it waits as long.

use std::collections::BTreeMap;

use payflow_payment::{
    account::Refusal,
    voucher::{AccountNumber, Checked, Voucher},
};

use super::document::Counted;
use crate::core::{
    Core,
    io::{Caller, RequestId},
    journal::Record,
    planted::{Fault, is_planted},
    problem::Problem,
    quoting::key_of,
    reply::Answer,
};

/// Vouchers on their way to the journal.
#[derive(Debug, Default)]
pub(in crate::core) struct Waiting {
    /// The highest of each account that no record has yet.
    highest: BTreeMap<AccountNumber, Voucher>,
    /// Answers that say something about them.
    replies: Vec<(RequestId, Result<Answer, Problem>)>,
    /// The record that is being written.
    in_flight: Option<u64>,
}

impl Core {
    /// `POST /v1/vouchers`, and one by one. Answered when what is said is durable.
    pub(in crate::core) fn vouchers(
        &mut self,
        id: RequestId,
        caller: &Caller,
        vouchers: Vec<Checked>,
    ) {
        let reply = key_of(caller).map(|_| {
            let each = vouchers.into_iter().map(|it| self.voucher(it));
            Answer::Vouchers(each.collect())
        });
        if is_planted(Fault::AnswerVoucherEarly) {
            self.reply(id, reply);
        } else {
            self.waiting_vouchers.replies.push((id, reply));
        }
        if self.waiting_vouchers.in_flight.is_none() {
            self.save_vouchers();
        }
    }

    fn voucher(&mut self, checked: Checked) -> Result<Counted, Problem> {
        let account = checked.voucher().promise.account;
        let prepaid = self.known_account(account)?;
        let waiting = self.waiting_vouchers.highest.get(&account);
        match prepaid.state.may_promise_after(waiting, &checked) {
            Ok(()) => {
                let voucher = checked.into_voucher();
                let counted = Counted {
                    account: account.account_id(),
                    sequence: voucher.promise.sequence,
                    promised: voucher.promise.amount,
                };
                self.waiting_vouchers.highest.insert(account, voucher);
                Ok(counted)
            }
            Err(refusal) => Err(self.refused_voucher(account, refusal)),
        }
    }

    /// A contradiction is kept, and what else there is to know is said.
    pub(in crate::core) fn refused_voucher(
        &mut self,
        account: AccountNumber,
        refusal: Refusal,
    ) -> Problem {
        let problem = Problem::from(&refusal);
        match refusal {
            Refusal::Forked(fork) => {
                let prepaid = self.register.accounts.get(&account);
                if prepaid.is_some_and(|it| it.state.keeps(&fork)) {
                    tracing::warn!(%account, ?fork, "an account's owner has signed two vouchers with one number");
                    let at = self.now;
                    self.record(Record::VoucherForked { account, fork, at });
                }
                problem
            }
            Refusal::Replayed { sequence } | Refusal::Superseded { sequence, .. } => {
                match self.register.bought_with(account, sequence) {
                    Some(number) => problem.with("bought", number.reservation_id()),
                    None => problem,
                }
            }
            _ => problem,
        }
    }

    /// Writes the highest vouchers that wait, and lets answers go behind that.
    pub(in crate::core) fn save_vouchers(&mut self) {
        let highest = std::mem::take(&mut self.waiting_vouchers.highest);
        if !highest.is_empty() {
            let (at, accounts) = (self.now, highest.keys().copied().collect::<Vec<_>>());
            self.record(Record::Vouchers {
                vouchers: highest.into_values().collect(),
                at,
            });
            self.waiting_vouchers.in_flight = Some(self.gate.written());
            for account in accounts {
                self.extended(account);
            }
        }
        for (id, reply) in std::mem::take(&mut self.waiting_vouchers.replies) {
            self.reply(id, reply);
        }
    }

    /// The journal has caught up so far.
    pub(in crate::core) fn vouchers_durable(&mut self, through: u64) {
        if self
            .waiting_vouchers
            .in_flight
            .is_some_and(|it| it <= through)
        {
            self.waiting_vouchers.in_flight = None;
            self.save_vouchers();
        }
    }
}
