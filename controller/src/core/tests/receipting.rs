//! Interim receipts, receipts, the chain of them, and its end on the ledger.

use payflow_payment::{ChainEnd, memo};

use super::*;
use crate::core::{
    document::{InterimReceipt, Receipt},
    reply::{ChainDocument, ReceiptsDocument},
};

/// A receipt every ten seconds, and an end on the ledger every minute.
const OFTEN: ReceiptPolicy = ReceiptPolicy {
    interim: Some(Duration::from_secs(10)),
    anchors: Some(Duration::from_secs(60)),
};

fn open_with(receipts: ReceiptPolicy) -> Desk {
    start_with(
        LINE,
        Vec::new(),
        Time::from_millis(1_000_000),
        true,
        |config| {
            config.receipts = receipts;
        },
    )
}

impl Desk {
    fn receipts(&mut self, number: ReservationNumber) -> ReceiptsDocument {
        match self.ask(&buyer(), Request::Receipts(number)).unwrap() {
            Answer::Receipts(document) => *document,
            other => panic!("{other:?}"),
        }
    }

    fn chain(&mut self, after: u64, most: usize) -> ChainDocument {
        let nobody = Caller {
            key: None,
            ..buyer()
        };
        match self.ask(&nobody, Request::Chain { after, most }).unwrap() {
            Answer::Chain(document) => document,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_reservation_is_stated_while_it_runs_and_receipted_at_its_end_in_one_chain() {
    let mut desk = open_with(OFTEN);
    let number = desk.buy();
    desk.wait(Duration::from_secs(31));
    let signed = desk.receipts(number);
    let key = signed.interim[0].signer;
    let served: Vec<_> = signed
        .interim
        .iter()
        .map(|it| {
            it.verify(InterimReceipt::DOMAIN, &key).unwrap();
            (
                it.document.sequence,
                it.document.served_ms,
                it.document.charged,
            )
        })
        .collect();
    assert_eq!(
        served,
        [
            (1, 10_000, Amount(PRICE / 3)),
            (2, 20_000, Amount(PRICE / 3 * 2))
        ],
        "none at the end, where the receipt is"
    );
    let receipt = signed.receipt.unwrap();
    receipt.verify(Receipt::DOMAIN, &key).unwrap();
    assert_eq!(receipt.document.sequence, 3);
    let chain = desk.chain(0, 100);
    let ends = chain
        .receipts
        .iter()
        .scan(ChainEnd::default(), |end, link| {
            let before = *end;
            *end = end.then(&link.hash);
            Some((before, *end))
        });
    let ends: Vec<_> = ends.collect();
    assert_eq!(Some(ends[0].0), signed.interim[0].document.place());
    assert_eq!(Some(ends[1].0), signed.interim[1].document.place());
    assert_eq!(Some(ends[2].0), receipt.document.place());
    assert_eq!(ends[2].1, chain.end);
    assert_eq!(chain.receipts[2].hash, receipt.hash().unwrap());
    // In pages.
    let page = desk.chain(1, 1);
    assert_eq!(
        (page.receipts, page.more),
        (chain.receipts[1..2].to_vec(), true)
    );
    assert_eq!(desk.chain(99, 1).receipts, []);
}

#[test]
fn interim_receipts_go_on_after_a_crash_and_never_fall_back() {
    let mut desk = open_with(OFTEN);
    let number = desk.buy();
    desk.wait(Duration::from_secs(15));
    let mut desk = start_with(LINE, desk.journal.clone(), desk.now, true, |config| {
        config.receipts = OFTEN;
    });
    desk.wait(Duration::from_secs(16));
    let signed = desk.receipts(number);
    let mut last = (0, 0);
    for receipt in &signed.interim {
        let next = (receipt.document.sequence, receipt.document.served_ms);
        assert!(
            next.0 == last.0 + 1 && next.1 >= last.1,
            "{last:?} {next:?}"
        );
        last = next;
    }
    assert_eq!(signed.interim.len(), 2);
    assert_eq!(signed.receipt.unwrap().document.sequence, 3);
}

#[test]
fn the_end_of_the_chain_goes_on_the_ledger_if_it_has_grown_and_costs_gas_alone() {
    let mut desk = open_with(OFTEN);
    let number = desk.buy();
    desk.wait(Duration::from_secs(40));
    let (_, refunded) = desk.pay_out();
    assert_eq!(refunded, Amount(0));
    desk.wait(Duration::from_secs(30));
    let (payout, order) = desk.take_build();
    assert_eq!(order.from, payflow_payment::ledger::PayoutSource::Treasury);
    assert_eq!(order.payouts, []);
    let chain = desk.chain(0, 100);
    assert_eq!(order.memo, Some(chain.end.memo()));
    let digest = TxDigest::new("anchor");
    desk.ledger(LedgerEvent::PayoutBuilt {
        payout,
        result: Ok(outgoing(&digest)),
    });
    desk.finalise(&digest);
    let anchors = desk.chain(0, 100).anchors;
    assert_eq!(anchors.len(), 1);
    assert_eq!(
        (anchors[0].end, anchors[0].checkpoint),
        (chain.end, Some(9))
    );
    // Nothing has been signed since.
    desk.wait(Duration::from_secs(200));
    assert!(
        !desk
            .orders
            .iter()
            .any(|order| matches!(order, LedgerOrder::BuildPayout { .. }))
    );
    let receipt = desk.receipts(number).receipt.unwrap();
    assert_ne!(order.memo, Some(memo::encode(&receipt.hash().unwrap())));
    desk.books();
    assert_eq!(desk.crash().chain(0, 100).anchors, anchors);
}

#[test]
fn a_receipt_that_does_not_follow_the_last_one_is_refused_at_the_start() {
    let mut desk = open_with(OFTEN);
    desk.buy();
    desk.wait(Duration::from_secs(40));
    let stated = |(_, record): &(u64, Record)| matches!(record, Record::Interim { .. });
    let first = desk.journal.iter().position(stated).unwrap();
    let mut journal = desk.journal.clone();
    journal.remove(first);
    let mut register = crate::core::register::Register::default();
    let error = journal
        .iter()
        .try_for_each(|(_, record)| register.apply(record))
        .unwrap_err();
    assert!(
        error.reason.contains("does not follow the last receipt"),
        "{error}"
    );
}

#[test]
fn receipts_are_their_buyers_and_the_chain_is_everybodys() {
    let mut desk = open_with(OFTEN);
    let number = desk.buy();
    let stranger = Caller {
        key: Some(STRANGER),
        ..buyer()
    };
    assert_eq!(
        kind(desk.ask(&stranger, Request::Receipts(number))),
        ProblemKind::NotTheOwner
    );
    assert_eq!(desk.chain(0, 100).end, ChainEnd::default());
}
