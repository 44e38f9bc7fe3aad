//! Prepaid accounts: opened by a transfer, spent by vouchers, closed by a transfer back.

use payflow_payment::{
    PaymentKey,
    account::{MOST_FORKS, Phase},
    voucher::{AccountNumber, Checked, Payee, Promise, check},
};

use super::*;
use crate::core::accounts::{
    document::{AccountRequest, AccountView, Counted, Statement},
    problem::VoucherProblem as V,
};
use crate::core::document::{ChangeRequest, GroupRequest, Receipt};

const A1: AccountNumber = AccountNumber(1);
const DEPOSIT: u64 = 1_000_000_000;

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32])
}

/// The host at 10.0.0.1, with a key that can sign.
fn owner() -> Caller {
    Caller {
        key: Some(key(50).public_key()),
        address: Some(ip(1)),
        operator: false,
    }
}

fn other() -> Caller {
    Caller {
        key: Some(key(51).public_key()),
        address: Some(ip(2)),
        operator: false,
    }
}

fn payee() -> Payee {
    Payee {
        chain_id: CHAIN.into(),
        operator: key(1).public_key(),
    }
}

fn voucher_by(signer: u8, account: AccountNumber, sequence: u64, amount: u64) -> Checked {
    let promise = Promise {
        payee: payee(),
        account,
        sequence,
        amount: Amount(amount),
    };
    check(promise.sign(&key(signer)).unwrap(), &payee()).unwrap()
}

fn voucher(sequence: u64, amount: u64) -> Checked {
    voucher_by(50, A1, sequence, amount)
}

fn proof(voucher: &Checked) -> PaymentProof {
    PaymentProof::Voucher {
        voucher: Box::new(voucher.clone()),
        pay_as_you_go: false,
    }
}

fn voucher_kind<T: std::fmt::Debug>(reply: Result<T, Problem>) -> V {
    match kind(reply) {
        ProblemKind::Voucher(problem) => problem,
        other => panic!("{other:?}"),
    }
}

impl Desk {
    fn open_account(&mut self, caller: &Caller) -> Result<AccountView, Problem> {
        let request = Request::OpenAccount {
            body: AccountRequest {
                refund_to: "0xhome".into(),
            },
            idempotency: None,
        };
        self.account_answer(caller, request)
    }

    fn account_answer(
        &mut self,
        caller: &Caller,
        request: Request,
    ) -> Result<AccountView, Problem> {
        match self.ask(caller, request)? {
            Answer::Account(view) => Ok(*view),
            other => panic!("{other:?}"),
        }
    }

    fn account(&mut self) -> AccountView {
        self.account_answer(&owner(), Request::GetAccount(A1))
            .unwrap()
    }

    fn deposit(&mut self, digest: &str, amount: u64) {
        let number = ReservationNumber((1 << 40) + 1);
        let payment = self.evidence(digest, number, amount);
        self.checkpoint(3, vec![payment]);
    }

    fn owners_quote(&mut self, port: u16) -> ReservationNumber {
        let request = Request::Quote {
            body: QuoteRequest {
                destination_port: Some(port.into()),
                rate_bps: 500_000,
                ..request()
            },
            idempotency: None,
        };
        match self.ask(&owner(), request).unwrap() {
            Answer::Quote(quote) => {
                assert_eq!(quote.document.payment.price, Amount(COST));
                ReservationNumber::from_quote_id(&quote.document.id).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    fn pay_with(
        &mut self,
        caller: &Caller,
        quote: ReservationNumber,
        voucher: &Checked,
    ) -> Result<ReservationView, Problem> {
        let payment = Some(proof(voucher));
        match self.ask(caller, Request::Reserve { quote, payment })? {
            Answer::Reservation(view) => Ok(*view),
            other => panic!("{other:?}"),
        }
    }

    fn owners_view(&mut self, number: ReservationNumber) -> ReservationView {
        match self.ask(&owner(), Request::GetReservation(number)).unwrap() {
            Answer::Reservation(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    fn cancel(&mut self, number: ReservationNumber) {
        self.ask(&owner(), Request::Cancel(number)).unwrap();
    }

    fn say(&mut self, vouchers: Vec<Checked>) -> Vec<Result<Counted, Problem>> {
        match self.ask(&owner(), Request::Vouchers(vouchers)).unwrap() {
            Answer::Vouchers(each) => each,
            other => panic!("{other:?}"),
        }
    }

    fn say_one(&mut self, voucher: Checked) -> Result<Counted, Problem> {
        self.say(vec![voucher]).remove(0)
    }

    fn close(&mut self) -> AccountView {
        self.account_answer(&owner(), Request::CloseAccount(A1))
            .unwrap()
    }

    /// Number and amount of the vouchers in the journal, by record.
    fn vouchers_written(&self) -> Vec<Vec<(u64, u64)>> {
        let records = self.journal.iter().filter_map(|(_, record)| match record {
            Record::Vouchers { vouchers, .. } => Some(vouchers),
            _ => None,
        });
        let said = records.map(|vouchers| {
            let each = vouchers.iter().map(|it| &it.promise);
            each.map(|it| (it.sequence, it.amount.0)).collect()
        });
        said.collect()
    }
}

/// 0.5 Mbit/s for 30 s.
const COST: u64 = 15_000_000;

/// An account with a deposit.
fn funded() -> Desk {
    let mut desk = open();
    let view = desk.open_account(&owner()).unwrap();
    assert_eq!(view.account.document.id, "a1");
    desk.deposit("deposit", DEPOSIT);
    desk
}

#[test]
fn a_host_opens_an_account_with_one_transfer_and_buys_without_the_ledger() {
    let mut desk = open();
    let view = desk.open_account(&owner()).unwrap();
    let document = view
        .account
        .verify("payflow-account", &key(1).public_key())
        .unwrap();
    let address = document.pay_to.clone();
    assert!(desk.orders.contains(&LedgerOrder::Watch {
        address: address.clone()
    }));
    assert_ne!(address, Address::new("receive-1"), "no quote has it");
    desk.deposit("deposit", DEPOSIT);
    desk.deposit("deposit", DEPOSIT);
    let view = desk.account();
    assert_eq!(
        (view.deposited.0, view.free.0, view.deposits.len()),
        (DEPOSIT, DEPOSIT, 1),
        "seen twice is seen once"
    );

    let number = desk.owners_quote(5201);
    let orders = desk.orders.len();
    let view = desk.pay_with(&owner(), number, &voucher(1, COST)).unwrap();
    assert_eq!(view.status, Status::Installing, "no wait");
    assert_eq!(desk.owners_view(number).status, Status::Active);
    assert_eq!(desk.orders.len(), orders, "and no word to the ledger");
    let payment = view.payment.unwrap();
    assert_eq!((payment.digest, payment.amount), (None, Some(Amount(COST))));
    assert_eq!(payment.from_account.unwrap().account, "a1");
    let view = desk.account();
    assert_eq!((view.held.0, view.free.0), (COST, DEPOSIT - COST));
    assert_eq!(desk.books().held, Amount(DEPOSIT));
    assert_eq!(desk.books().prepaid, Amount(DEPOSIT - COST));

    desk.wait(Duration::from_secs(31));
    let view = desk.owners_view(number);
    assert_eq!(view.status, Status::Settled, "at once: nothing is sent");
    let receipt = view.receipt.unwrap();
    let receipt = receipt
        .verify(Receipt::DOMAIN, &key(1).public_key())
        .unwrap();
    assert_eq!(
        (receipt.earned.0, receipt.payment_digest.as_ref()),
        (COST, None)
    );
    let view = desk.account();
    assert_eq!((view.spent.0, view.held.0), (COST, 0));
    assert_eq!(desk.books().earned, Amount(COST));
    assert_eq!(desk.books().payouts_open, 0);
}

#[test]
fn what_is_not_served_is_free_in_the_account_again() {
    let mut desk = funded();
    let number = desk.owners_quote(5201);
    desk.pay_with(&owner(), number, &voucher(1, COST)).unwrap();
    desk.wait(Duration::from_secs(10));
    desk.cancel(number);
    let receipt = desk.owners_view(number).receipt.unwrap().document;
    let kept = receipt.earned.0 + receipt.fee.0;
    assert_eq!((receipt.served_ms, kept), (10_000, 7_000_000));
    let view = desk.account();
    assert_eq!(
        (view.spent.0, view.held.0, view.free.0),
        (kept, 0, DEPOSIT - kept)
    );
    assert_eq!(desk.books().payouts_open, 0);
    // The next voucher is covered by what came back as far as that goes.
    let number = desk.owners_quote(5201);
    let refused = desk
        .pay_with(&owner(), number, &voucher(2, COST))
        .unwrap_err();
    assert_eq!(refused.kind, ProblemKind::Voucher(V::TooSmall));
    assert_eq!(refused.extensions["needed"], kept + COST);
    desk.pay_with(&owner(), number, &voucher(2, kept + COST))
        .unwrap();
}

#[test]
fn of_two_requests_with_one_voucher_one_buys_and_the_other_learns_what_was_bought() {
    let mut desk = funded();
    let (first, second) = (desk.owners_quote(5201), desk.owners_quote(5202));
    let one = voucher(1, COST);
    desk.durable = false;
    let pay = |quote| Request::Reserve {
        quote,
        payment: Some(proof(&one)),
    };
    // Both are there before anything of either is durable.
    let ids = [
        desk.post(&owner(), pay(first)),
        desk.post(&owner(), pay(second)),
    ];
    assert!(desk.replies.is_empty());
    desk.durable = true;
    let through = desk.journal.last().unwrap().0;
    desk.feed(Input::Journaled { through });
    assert!(desk.replies.remove(&ids[0]).unwrap().is_ok());
    let lost = desk.replies.remove(&ids[1]).unwrap().unwrap_err();
    assert_eq!(lost.kind, ProblemKind::PaymentAlreadyUsed);
    assert_eq!(lost.extensions["bought"], "r1");
    assert_eq!(desk.owners_view(second).status, Status::Held);
    assert_eq!(desk.account().held, Amount(COST));
}

#[test]
fn a_purchase_that_is_asked_for_again_is_the_same_also_after_a_crash() {
    let mut desk = funded();
    let number = desk.owners_quote(5201);
    let one = voucher(1, COST);
    desk.pay_with(&owner(), number, &one).unwrap();
    let records = desk.journal.len();
    desk.pay_with(&owner(), number, &one).unwrap();
    assert_eq!(desk.journal.len(), records);
    let before = desk.account();
    let mut desk = desk.crash();
    assert_eq!(desk.account(), before);
    let again = desk.pay_with(&owner(), number, &one).unwrap();
    assert_eq!(again.status, Status::Active);
    assert_eq!(desk.journal.len(), records);
    assert!(desk.network_log().contains(&"adopt 1".to_owned()));
    // Later ones do not change what it has bought.
    desk.say_one(voucher(2, COST)).unwrap();
    assert!(desk.pay_with(&owner(), number, &one).is_ok());
}

#[test]
fn an_overheard_voucher_buys_nothing_for_anybody_else() {
    let mut desk = funded();
    let body = QuoteRequest {
        rate_bps: 500_000,
        ..request()
    };
    let request = Request::Quote {
        body,
        idempotency: None,
    };
    let Ok(Answer::Quote(quote)) = desk.ask(&other(), request) else {
        panic!("a quote")
    };
    let number = ReservationNumber::from_quote_id(&quote.document.id).unwrap();
    let refused = desk.pay_with(&other(), number, &voucher(1, COST));
    assert_eq!(kind(refused), ProblemKind::NotTheOwner);
    let forged = voucher_by(51, A1, 1, COST);
    assert_eq!(voucher_kind(desk.say_one(forged)), V::WrongSigner);
    assert_eq!(
        kind(desk.account_answer(&other(), Request::GetAccount(A1))),
        ProblemKind::NotTheOwner
    );
    assert_eq!(
        kind(desk.account_answer(&other(), Request::CloseAccount(A1))),
        ProblemKind::NotTheOwner
    );
    assert_eq!(desk.account().promised, Amount(0));
}

#[test]
fn every_voucher_that_does_not_count_is_refused_with_its_own_code_and_leaves_no_record() {
    let mut desk = funded();
    desk.say_one(voucher(5, 500)).unwrap();
    let records = desk.journal.len();
    let refused = [
        (voucher(5, 500), V::Replayed),
        (voucher(4, 400), V::Superseded),
        (voucher(6, 499), V::Decreasing),
        (voucher(6, DEPOSIT + 1), V::ExceedsDeposit),
        (voucher_by(50, AccountNumber(9), 1, 1), V::UnknownAccount),
    ];
    for (voucher, expected) in refused {
        assert_eq!(voucher_kind(desk.say_one(voucher)), expected);
    }
    assert_eq!(desk.journal.len(), records);
    let number = desk.owners_quote(5201);
    let dear = voucher(6, 2 * DEPOSIT);
    let refused = desk.pay_with(&owner(), number, &dear);
    assert_eq!(voucher_kind(refused), V::ExceedsDeposit);
}

#[test]
fn a_replay_says_what_the_voucher_has_bought() {
    let mut desk = funded();
    let number = desk.owners_quote(5201);
    desk.pay_with(&owner(), number, &voucher(1, COST)).unwrap();
    let refused = desk.say_one(voucher(1, COST)).unwrap_err();
    assert_eq!(refused.kind, ProblemKind::Voucher(V::Replayed));
    assert_eq!(refused.extensions["bought"], "r1");
}

#[test]
fn a_fork_is_kept_as_evidence_and_buys_nothing() {
    let mut desk = funded();
    let (first, second) = (desk.owners_quote(5201), desk.owners_quote(5202));
    desk.pay_with(&owner(), first, &voucher(1, COST)).unwrap();
    for quote in [first, second] {
        let refused = desk.pay_with(&owner(), quote, &voucher(1, 2 * COST));
        assert_eq!(voucher_kind(refused), V::Forked);
    }
    for extra in 0..10 {
        let fork = voucher(1, 3 * COST + extra);
        assert_eq!(voucher_kind(desk.say_one(fork)), V::Forked);
    }
    let mut desk = desk.crash();
    let view = desk.account();
    assert_eq!(view.forks.len(), MOST_FORKS);
    let fork = &view.forks[0];
    assert_eq!(
        (fork.first.promise.amount.0, fork.second.promise.amount.0),
        (COST, 2 * COST)
    );
    assert_eq!((view.promised.0, view.held.0), (COST, COST));
}

#[test]
fn one_record_holds_the_highest_voucher_of_each_account_and_nobody_is_answered_before() {
    let mut desk = funded();
    desk.open_account(&other()).unwrap();
    let second = desk.evidence("other", ReservationNumber((1 << 40) + 2), DEPOSIT);
    desk.checkpoint(4, vec![second]);
    let a2 = |sequence, amount| voucher_by(51, AccountNumber(2), sequence, amount);
    desk.durable = false;
    let mut ids = Vec::new();
    for vouchers in [
        vec![voucher(1, 10), voucher(2, 20)],
        vec![voucher(3, 30), a2(1, 5)],
        vec![voucher(5, 50), voucher(4, 40), a2(2, 6)],
        vec![voucher(6, 60), voucher(6, 60)],
    ] {
        ids.push(desk.post(&owner(), Request::Vouchers(vouchers)));
    }
    assert_eq!(
        desk.vouchers_written(),
        [vec![(2, 20)]],
        "the first at once, and no other beside it"
    );
    assert!(desk.replies.is_empty(), "nothing is durable yet");
    let through = desk.journal.last().unwrap().0;
    desk.feed(Input::Journaled { through });
    assert_eq!(
        desk.vouchers_written(),
        [vec![(2, 20)], vec![(6, 60), (2, 6)]],
        "everything that came meanwhile, as its highest"
    );
    assert_eq!(desk.replies.len(), 1, "the first is answered");
    let through = desk.journal.last().unwrap().0;
    desk.feed(Input::Journaled { through });
    let said: Vec<_> = ids
        .iter()
        .map(|id| match desk.replies.remove(id).unwrap().unwrap() {
            Answer::Vouchers(each) => each.into_iter().map(|it| it.is_ok()).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        said,
        [
            vec![true, true],
            vec![true, true],
            vec![true, false, true],
            vec![true, false]
        ]
    );
}

#[test]
fn a_crash_loses_only_vouchers_that_nobody_was_told_of() {
    let mut desk = funded();
    desk.say_one(voucher(1, 10)).unwrap();
    desk.durable = false;
    let waits = [2, 3].map(|n| desk.post(&owner(), Request::Vouchers(vec![voucher(n, 10 * n)])));
    assert!(waits.iter().all(|id| !desk.replies.contains_key(id)));
    // The disk had taken the second and not the third.
    let mut desk = desk.crash();
    assert_eq!(
        (desk.account().sequence, desk.account().promised.0),
        (2, 20)
    );
    desk.say_one(voucher(3, 30)).unwrap();
}

#[test]
fn a_purchase_comes_behind_vouchers_that_still_wait() {
    let mut desk = funded();
    let number = desk.owners_quote(5201);
    desk.durable = false;
    for n in 1..4 {
        desk.post(&owner(), Request::Vouchers(vec![voucher(n, COST)]));
    }
    let payment = |n| Request::Reserve {
        quote: number,
        payment: Some(proof(&voucher(n, COST))),
    };
    let late = desk.post(&owner(), payment(3));
    let good = desk.post(&owner(), payment(4));
    desk.durable = true;
    let through = desk.journal.last().unwrap().0;
    desk.feed(Input::Journaled { through });
    let late = desk.replies.remove(&late).unwrap();
    assert_eq!(voucher_kind(late), V::Replayed);
    assert!(desk.replies.remove(&good).unwrap().is_ok());
    assert_eq!(desk.account().sequence, 4);
    desk.crash();
}

#[test]
fn closing_returns_the_balance_on_the_ledger_with_a_signed_statement() {
    let mut desk = funded();
    let number = desk.owners_quote(5201);
    desk.pay_with(&owner(), number, &voucher(1, COST)).unwrap();
    let view = desk.close();
    assert_eq!(view.status, Phase::Closing, "something is held");
    assert_eq!(voucher_kind(desk.say_one(voucher(2, COST))), V::NotOpen);
    desk.wait(Duration::from_secs(31));
    let view = desk.account();
    assert_eq!((view.status, view.free.0), (Phase::Closed, 0));
    let statement = view.statement.unwrap();
    let said = statement
        .verify(Statement::DOMAIN, &key(1).public_key())
        .unwrap();
    assert_eq!(
        (said.deposited.0, said.spent.0, said.fee.0, said.returned.0),
        (DEPOSIT, COST, 0, DEPOSIT - COST)
    );
    assert_eq!(said.voucher.as_ref(), Some(voucher(1, COST).voucher()));
    let Some(LedgerOrder::BuildPayout { order, .. }) = desk
        .orders
        .iter()
        .find(|it| matches!(it, LedgerOrder::BuildPayout { .. }))
    else {
        panic!("a payout")
    };
    let hash = statement.hash().unwrap();
    assert_eq!(order.memo, Some(payflow_payment::memo::encode(&hash)));
    assert_eq!(
        order.from,
        payflow_payment::ledger::PayoutSource::Receive((1 << 40) + 1)
    );
    assert_eq!(order.remainder_to, Address::new("treasury"));
    assert_eq!(
        desk.pay_out(),
        (Address::new("0xhome"), Amount(DEPOSIT - COST))
    );
    assert!(desk.account().settlement.unwrap().checkpoint.is_some());
    assert_eq!(desk.books().refunded, Amount(DEPOSIT - COST));
    let records = desk.journal.len();
    assert_eq!(desk.close().status, Phase::Closed, "twice is once");
    assert_eq!(desk.journal.len(), records);

    // Too late: it goes back, less the fee that was printed.
    desk.deposit("late", 10_000_000);
    assert_eq!(desk.pay_out(), (Address::new("0xhome"), Amount(8_000_000)));
    assert_eq!(desk.account().other_refunds.len(), 1);
    desk.books();
}

#[test]
fn an_account_is_closed_after_a_crash_in_the_middle_of_closing() {
    let mut desk = funded();
    desk.durable = false;
    desk.post(&owner(), Request::CloseAccount(A1));
    // The disk has taken the wish and not the statement.
    let wish = |(_, record): &(u64, Record)| matches!(record, Record::AccountClosing { .. });
    let at = desk.journal.iter().position(wish).unwrap();
    assert_eq!(desk.journal.len(), at + 2);
    desk.journal.truncate(at + 1);
    let mut desk = desk.crash();
    assert_eq!(desk.account().status, Phase::Closed);
    // It has spent nothing, and pays the gas of its end.
    assert_eq!(desk.pay_out().1, Amount(DEPOSIT - 2_000_000));
    assert_eq!(desk.books().fees, Amount(2_000_000));
}

#[test]
fn an_account_without_a_deposit_is_closed_without_a_transfer() {
    let mut desk = open();
    desk.open_account(&owner()).unwrap();
    assert_eq!(desk.close().status, Phase::Closed);
    assert_eq!(desk.books().payouts_open, 0);
}

#[test]
fn a_voucher_pays_for_a_group_all_or_none() {
    let mut desk = funded();
    let back = QuoteRequest {
        source: Some(ip(4)),
        destination: ip(1),
        source_port: Some(5201.into()),
        destination_port: None,
        rate_bps: 500_000,
        ..request()
    };
    let there = QuoteRequest {
        rate_bps: 500_000,
        ..request()
    };
    let request = Request::Group {
        body: GroupRequest {
            quotes: vec![there, back],
            max_price: None,
        },
        idempotency: None,
    };
    assert!(desk.ask(&owner(), request).is_ok());
    let [first, second] = [ReservationNumber(1), ReservationNumber(2)];
    let refused = desk.pay_with(&owner(), first, &voucher(1, 2 * COST - 1));
    assert_eq!(voucher_kind(refused), V::TooSmall);
    let all = voucher(1, 2 * COST);
    desk.pay_with(&owner(), second, &all).unwrap();
    assert_eq!(desk.owners_view(first).status, Status::Active);
    assert_eq!(desk.owners_view(second).status, Status::Active);
    assert!(desk.pay_with(&owner(), first, &all).is_ok(), "the same");
    assert_eq!(desk.account().held, Amount(2 * COST));
    desk.wait(Duration::from_secs(31));
    assert_eq!(desk.account().spent, Amount(2 * COST));
    desk.books();
}

#[test]
fn a_change_is_paid_with_a_voucher_and_what_it_replaces_is_free_again() {
    let mut desk = funded();
    let slow = desk.owners_quote(5201);
    desk.pay_with(&owner(), slow, &voucher(1, COST)).unwrap();
    desk.wait(Duration::from_secs(10));
    let request = Request::Change {
        number: slow,
        body: ChangeRequest {
            rate_bps: Some(2_000_000),
            ..ChangeRequest::default()
        },
        idempotency: None,
    };
    let Ok(Answer::Quote(quote)) = desk.ask(&owner(), request) else {
        panic!("a quote")
    };
    let price = quote.document.payment.price.0;
    let fast = ReservationNumber::from_quote_id(&quote.document.id).unwrap();
    desk.pay_with(&owner(), fast, &voucher(2, COST + price))
        .unwrap();
    assert_eq!(desk.owners_view(fast).status, Status::Active);
    let old = desk.owners_view(slow);
    assert_eq!(old.ended_by.as_deref(), Some("replaced"));
    let view = desk.account();
    assert_eq!((view.spent.0, view.held.0), (COST / 3, price));
    desk.books();
}

#[test]
fn a_purchase_that_cannot_be_given_costs_nothing() {
    let mut desk = start(LINE, Vec::new(), Time::from_millis(1_000_000), false);
    desk.open_account(&owner()).unwrap();
    desk.deposit("deposit", DEPOSIT);
    let number = desk.owners_quote(5201);
    let view = desk.pay_with(&owner(), number, &voucher(1, COST)).unwrap();
    assert_eq!(view.status, Status::Installing);
    desk.wait(Duration::from_secs(11));
    let view = desk.owners_view(number);
    assert_eq!(view.ended_by.as_deref(), Some("failed"));
    let view = desk.account();
    assert_eq!((view.spent.0, view.held.0, view.free.0), (0, 0, DEPOSIT));
}

#[test]
fn a_quote_that_has_expired_or_is_paid_otherwise_takes_no_voucher() {
    let mut desk = funded();
    let late = desk.owners_quote(5201);
    let paid = desk.owners_quote(5202);
    let transfer = desk.evidence("pay", paid, COST);
    desk.checkpoint(5, vec![transfer]);
    let refused = desk.pay_with(&owner(), paid, &voucher(1, COST));
    assert_eq!(kind(refused), ProblemKind::WrongState);
    desk.wait(Duration::from_secs(35));
    let refused = desk.pay_with(&owner(), late, &voucher(1, COST));
    assert_eq!(kind(refused), ProblemKind::QuoteExpired);
    assert_eq!(desk.account().sequence, 0, "and none is used up");
}

#[test]
fn accounts_are_opened_by_hosts_that_are_known_and_not_without_end() {
    let mut desk = open();
    let stranger = Caller {
        address: None,
        ..owner()
    };
    assert_eq!(kind(desk.open_account(&stranger)), ProblemKind::NotTheOwner);
    for _ in 0..8 {
        desk.open_account(&owner()).unwrap();
    }
    let refused = desk.open_account(&owner());
    assert_eq!(kind(refused), ProblemKind::TooManyRequests);
    // Those of another port are not concerned, nor is whoever pays in what was asked for.
    let same_port = Caller {
        address: Some(ip(4)),
        ..owner()
    };
    assert!(desk.open_account(&same_port).is_ok());
    desk.deposit("deposit", DEPOSIT);
    assert!(desk.open_account(&owner()).is_ok());
}

#[test]
fn an_account_that_is_asked_for_again_is_the_same() {
    let mut desk = open();
    let ask = |key: &str, fingerprint: &str| Request::OpenAccount {
        body: AccountRequest {
            refund_to: "0xhome".into(),
        },
        idempotency: Some(Idempotency {
            key: key.into(),
            fingerprint: fingerprint.into(),
        }),
    };
    let first = desk.account_answer(&owner(), ask("k", "f")).unwrap();
    let mut desk = desk.crash();
    let again = desk.account_answer(&owner(), ask("k", "f")).unwrap();
    assert_eq!(first.account, again.account);
    assert_eq!(
        kind(desk.account_answer(&owner(), ask("k", "g"))),
        ProblemKind::IdempotencyConflict
    );
    let other = desk.account_answer(&owner(), ask("l", "f")).unwrap();
    assert_eq!(other.account.document.id, "a2");
}

#[test]
fn deposits_are_consumed_as_payments_are() {
    let desk = funded();
    let keys: Vec<&PaymentKey> = desk
        .journal
        .iter()
        .flat_map(|(_, record)| record.consumes())
        .collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].digest, "deposit".into());
}

/// What a journal held before there were accounts.
#[test]
fn receipts_of_older_journals_are_read() {
    let mut desk = open();
    let number = desk.buy();
    desk.wait(Duration::from_secs(31));
    let receipt = desk.view(number).receipt.unwrap();
    let json = serde_json::to_value(&receipt).unwrap();
    assert_eq!(json["document"]["payment_digest"], "pay");
    assert!(json["document"].get("from_account").is_none());
    let read: Signed<Receipt> = serde_json::from_value(json).unwrap();
    assert!(read.verify(Receipt::DOMAIN, &key(1).public_key()).is_ok());
}

/// Half a million nanos a second.
const SECOND: u64 = COST / 30;

impl Desk {
    /// Buys with a voucher for so many seconds, the rest as it goes.
    fn go(&mut self, quote: ReservationNumber, voucher: &Checked) -> Result<(), Problem> {
        let payment = Some(PaymentProof::Voucher {
            voucher: Box::new(voucher.clone()),
            pay_as_you_go: true,
        });
        self.ask(&owner(), Request::Reserve { quote, payment })
            .map(drop)
    }

    fn paid_for_ms(&mut self, number: ReservationNumber) -> u64 {
        let view = self.owners_view(number);
        view.paid_until.unwrap().0 - view.active_at.unwrap().0
    }
}

#[test]
fn a_reservation_is_carried_while_vouchers_arrive_and_is_best_effort_when_they_stop() {
    let mut desk = funded();
    let number = desk.owners_quote(5201);
    let refused = desk.go(number, &voucher(1, 10 * SECOND - 1)).unwrap_err();
    assert_eq!(refused.kind, ProblemKind::Voucher(V::TooSmall));
    assert_eq!(refused.extensions["needed"], 10 * SECOND, "the grace");
    desk.go(number, &voucher(1, 10 * SECOND)).unwrap();
    assert_eq!(desk.paid_for_ms(number), 10_000);
    for second in 1..=5 {
        desk.wait(Duration::from_secs(1));
        desk.say_one(voucher(1 + second, (10 + second) * SECOND))
            .unwrap();
        assert_eq!(desk.paid_for_ms(number), 10_000 + 1_000 * second);
    }
    let view = desk.account();
    assert_eq!((view.held.0, view.promised.0), (15 * SECOND, 15 * SECOND));
    // No more vouchers: what is paid is still carried.
    desk.wait(Duration::from_millis(9_999));
    assert_eq!(desk.owners_view(number).status, Status::Active);
    desk.wait(Duration::from_millis(2));
    let view = desk.owners_view(number);
    assert_eq!(view.status, Status::Settled);
    let told = view.detail.unwrap();
    assert!(
        told.contains("best effort") && told.contains("voucher"),
        "{told}"
    );
    assert!(desk.network_log().contains(&"remove 1".to_owned()));
    let receipt = view.receipt.unwrap().document;
    assert_eq!(
        (receipt.earned.0, receipt.fee.0, receipt.refunded.0),
        (15 * SECOND, 0, 0)
    );
    let view = desk.account();
    assert_eq!((view.spent.0, view.held.0), (15 * SECOND, 0));
    desk.books();
}

#[test]
fn who_pays_as_one_goes_and_leaves_gets_back_what_was_not_served_without_a_fee() {
    let mut desk = funded();
    let number = desk.owners_quote(5201);
    desk.go(number, &voucher(1, 12 * SECOND)).unwrap();
    desk.wait(Duration::from_secs(5));
    desk.cancel(number);
    let view = desk.account();
    assert_eq!((view.spent.0, view.held.0), (5 * SECOND, 0));
    // Another may be paid in this way now; what came back is covered already.
    let next = desk.owners_quote(5201);
    desk.go(next, &voucher(2, 15 * SECOND)).unwrap();
    assert_eq!(desk.paid_for_ms(next), 10_000);
    desk.books();
}

#[test]
fn a_reservation_that_is_paid_whole_as_it_goes_runs_its_whole_time() {
    let mut desk = funded();
    let number = desk.owners_quote(5201);
    desk.go(number, &voucher(1, 10 * SECOND)).unwrap();
    desk.wait(Duration::from_secs(1));
    desk.say_one(voucher(2, 2 * COST)).unwrap();
    assert_eq!(desk.account().held, Amount(COST), "and not a nano more");
    desk.wait(Duration::from_secs(28));
    assert_eq!(desk.owners_view(number).status, Status::Active);
    desk.wait(Duration::from_secs(2));
    let view = desk.owners_view(number);
    assert_eq!((view.status, view.detail), (Status::Settled, None));
    assert_eq!(desk.account().spent, Amount(COST));
}

#[test]
fn what_is_paid_as_it_goes_survives_a_crash_and_ends_when_it_would_have() {
    let mut desk = funded();
    let number = desk.owners_quote(5201);
    desk.go(number, &voucher(1, 10 * SECOND)).unwrap();
    desk.say_one(voucher(2, 12 * SECOND)).unwrap();
    let until = desk.owners_view(number).paid_until;
    let mut desk = desk.crash();
    assert_eq!(desk.owners_view(number).paid_until, until);
    desk.say_one(voucher(3, 14 * SECOND)).unwrap();
    assert_eq!(desk.paid_for_ms(number), 14_000);
    desk.wait(Duration::from_millis(14_001));
    assert_eq!(desk.owners_view(number).status, Status::Settled);
    assert_eq!(desk.account().spent, Amount(14 * SECOND));
}

#[test]
fn switches_are_told_no_later_end_than_what_is_paid() {
    let mut desk = funded();
    let number = desk.owners_quote(5201);
    desk.go(number, &voucher(1, 10 * SECOND)).unwrap();
    let ends = |desk: &Desk| {
        let log = desk.network_log();
        log.iter().filter(|it| *it == "end 1").count()
    };
    assert_eq!(ends(&desk), 1);
    desk.say_one(voucher(2, 11 * SECOND)).unwrap();
    assert_eq!(ends(&desk), 2, "every voucher moves it");
    let reservation = &desk.core.register.reservations[&number];
    let plan = super::super::plan(reservation, Time::from_millis(u64::MAX)).unwrap();
    assert_eq!(Some(plan.ends), reservation.covered_until());
}

#[test]
fn one_reservation_of_an_account_is_paid_as_it_goes_and_groups_and_later_ones_are_not() {
    let mut desk = funded();
    let (first, second) = (desk.owners_quote(5201), desk.owners_quote(5202));
    desk.go(first, &voucher(1, 10 * SECOND)).unwrap();
    let refused = desk.go(second, &voucher(2, 20 * SECOND)).unwrap_err();
    assert_eq!(refused.kind, ProblemKind::WrongState);
    assert!(refused.detail.contains("r1"), "{}", refused.detail);
    // The same purchase again is the same.
    desk.go(first, &voucher(1, 10 * SECOND)).unwrap();
    // Others are bought whole beside it.
    desk.pay_with(&owner(), second, &voucher(2, 10 * SECOND + COST))
        .unwrap();
    assert_eq!(desk.account().held, Amount(10 * SECOND + COST));
    desk.books();
}
