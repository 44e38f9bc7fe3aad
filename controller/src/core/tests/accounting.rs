//! The books in double entry: what each account has after a history, and who may see it.

use payflow_payment::{BookAccount, BookAccounts, Purpose, Transfer, TransferId};

use super::*;
use crate::core::bookkeeping::Bookkeeper;

fn operator() -> Caller {
    Caller {
        operator: true,
        ..buyer()
    }
}

impl Desk {
    fn balance(&mut self, account: BookAccount) -> i64 {
        let accounts = self.accounts(&operator());
        let found = accounts.iter().find(|it| it.account == account);
        found.map_or(0, |it| it.balance)
    }

    fn transfers(&mut self, after: Option<TransferId>, most: usize) -> (Vec<Transfer>, bool) {
        match self
            .ask(&operator(), Request::Transfers { after, most })
            .unwrap()
        {
            Answer::Transfers(document) => (document.transfers, document.more),
            other => panic!("{other:?}"),
        }
    }
}

/// Served half and cancelled, beside a payment that was short, one too small to be sent back, and one made twice.
fn a_history() -> (Desk, ReservationNumber) {
    let mut desk = open();
    let number = desk.buy();
    for (digest, amount) in [("short", 5_000_000), ("crumb", 1_000_000)] {
        let payment = desk.evidence(digest, number, amount);
        desk.checkpoint(2, vec![payment]);
    }
    desk.pay_out();
    desk.wait(Duration::from_secs(15));
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    desk.wait(Duration::from_secs(1));
    (desk, number)
}

#[test]
fn money_moves_from_the_buyer_to_what_is_held_to_what_is_earned_and_on_to_the_treasury() {
    let (mut desk, number) = a_history();
    let receipt = desk.view(number).receipt.unwrap().document;
    assert!(receipt.earned.0 > 0 && receipt.fee.0 > 0 && receipt.refunded.0 > 0);
    let held = BookAccount::Held(number.0);
    let due = BookAccount::RefundsDue(Purpose::Reservation(number.0));
    let signed = |amount: Amount| i64::try_from(amount.0).unwrap();
    // The fee of the short payment was not swept, as what lay beside it was not earned yet.
    assert_eq!(desk.balance(held), 0);
    assert_eq!(desk.balance(due), signed(receipt.refunded));
    assert_eq!(desk.balance(BookAccount::Earned), signed(receipt.earned));
    assert_eq!(
        desk.balance(BookAccount::Fees),
        signed(receipt.fee) + 2_000_000
    );
    assert_eq!(desk.balance(BookAccount::Treasury), -1_980_400);
    desk.pay_out();
    assert_eq!(desk.balance(due), 0);
    assert_eq!(
        (
            desk.balance(BookAccount::Earned),
            desk.balance(BookAccount::Fees)
        ),
        (0, 0)
    );
    assert_eq!(
        desk.balance(BookAccount::Credited(Purpose::Reservation(number.0))),
        1_000_000
    );
    assert_eq!(desk.balance(BookAccount::Gas), 2 * 1_980_400);
    assert_eq!(
        desk.balance(BookAccount::Treasury),
        signed(receipt.earned) + signed(receipt.fee) + 2_000_000 - 2 * 1_980_400
    );
    let kept = signed(receipt.earned) + signed(receipt.fee) + 2_000_000 + 1_000_000;
    assert_eq!(desk.balance(BookAccount::Host(BUYER)), -kept);
    desk.books();
}

#[test]
fn a_buyer_sees_its_own_accounts_and_nobody_elses_transfers() {
    let (mut desk, number) = a_history();
    let of = |accounts: Vec<BookAccountView>| {
        let names = accounts.into_iter().map(|it| it.account);
        names.collect::<Vec<_>>()
    };
    let own = [
        BookAccount::Host(BUYER),
        BookAccount::Held(number.0),
        BookAccount::RefundsDue(Purpose::Reservation(number.0)),
        BookAccount::Credited(Purpose::Reservation(number.0)),
    ];
    assert_eq!(of(desk.accounts(&buyer())), own);
    let stranger = Caller {
        key: Some(payflow_payment::PublicKey([9; 32])),
        ..buyer()
    };
    assert_eq!(of(desk.accounts(&stranger)), []);
    let nobody = Caller {
        key: None,
        ..buyer()
    };
    assert_eq!(
        kind(desk.ask(&nobody, Request::BookAccounts)),
        ProblemKind::Unauthenticated
    );
    let all = Request::Transfers {
        after: None,
        most: 10,
    };
    assert!(desk.ask(&buyer(), all).is_err());
}

#[test]
fn transfers_come_in_pages_with_names_that_stay_and_make_the_accounts() {
    let (mut desk, _) = a_history();
    desk.pay_out();
    let (all, more) = desk.transfers(None, 1_000);
    assert!(!more && all.len() > 8);
    let mut pages = Vec::new();
    loop {
        let last = pages.last().map(|it: &Transfer| it.id);
        let (page, more) = desk.transfers(last, 3);
        assert!(page.len() == 3 || !more);
        pages.extend(page);
        if !more {
            break;
        }
    }
    assert_eq!(pages, all);
    // The journal alone means the same.
    let mut bookkeeper = Bookkeeper::default();
    let journal = desk.journal.clone();
    let again = journal
        .iter()
        .flat_map(|(sequence, record)| bookkeeper.book(*sequence, record).unwrap());
    assert_eq!(again.collect::<Vec<_>>(), all);
    let mut accounts = BookAccounts::default();
    for transfer in &all {
        accounts.book(transfer).unwrap();
    }
    assert_eq!(&accounts, bookkeeper.accounts());
    let mut desk = desk.crash();
    assert_eq!(desk.transfers(None, 1_000).0, all);
}

#[test]
fn a_journal_whose_money_does_not_add_up_is_refused() {
    let (mut desk, _) = a_history();
    desk.pay_out();
    let spoilt = |spoil: &dyn Fn(&mut Record) -> bool| {
        let mut journal = desk.journal.clone();
        let mut changed = journal.iter_mut().filter(|(_, record)| {
            matches!(
                record,
                Record::Paid { .. } | Record::Mispaid { .. } | Record::Settled { .. }
            )
        });
        assert!(changed.any(|(_, record)| spoil(record)));
        let mut bookkeeper = Bookkeeper::default();
        journal
            .iter()
            .try_for_each(|(sequence, record)| bookkeeper.book(*sequence, record).map(drop))
            .unwrap_err()
            .to_string()
    };
    let less_paid = spoilt(&|record| {
        let Record::Paid { amount, .. } = record else {
            return false;
        };
        amount.0 -= 1;
        true
    });
    assert!(less_paid.contains("makes"), "{less_paid}");
    let more_back = spoilt(&|record| {
        let Record::Mispaid {
            refund,
            payout: Some(_),
            ..
        } = record
        else {
            return false;
        };
        refund.0 += 1;
        true
    });
    assert!(more_back.contains("makes"), "{more_back}");
    let more_earned = spoilt(&|record| {
        let Record::Settled { receipt, .. } = record else {
            return false;
        };
        receipt.document.earned.0 += 1;
        true
    });
    assert!(more_earned.contains("makes"), "{more_earned}");
}

#[test]
fn gas_below_zero_is_booked_also_when_it_is_the_first_and_after_a_restart() {
    let mut desk = open();
    desk.buy();
    desk.wait(Duration::from_secs(40));
    let (payout, _) = desk.take_build();
    let digest = TxDigest::new("merged many coins");
    desk.ledger(LedgerEvent::PayoutBuilt {
        payout,
        result: Ok(outgoing(&digest)),
    });
    // What coins had deposited came back, and was more than the transaction cost.
    desk.finalise_for(&digest, -960_800);
    assert_eq!(desk.balance(BookAccount::Gas), -960_800);
    assert_eq!(
        desk.balance(BookAccount::Treasury),
        i64::try_from(PRICE).unwrap() + 960_800
    );
    desk.books();
    assert_eq!(desk.crash().balance(BookAccount::Gas), -960_800);
}
