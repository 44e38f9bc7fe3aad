//! Signed transfers whose coins somebody else spends, who has the same seed: on the development ledger, with and without a
//! pinned committee.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{IOTA, Net, development_ledger_only, random_wallet};
use payflow_payment::ledger::dev::{Faults, Lie};
use payflow_payment::ledger::iota::IotaLedger;
use payflow_payment::ledger::keys::Keyring;
use payflow_payment::ledger::{
    Ledger as _, Lookup, Outgoing, Payout, PayoutOrder, PayoutSource, Prospect, Submission,
};
use payflow_payment::{Address, Amount, SignedTransaction};

fn order(from: PayoutSource, to: &Address, nanos: u64, rest: &Address) -> PayoutOrder {
    PayoutOrder {
        from,
        payouts: vec![Payout {
            to: to.clone(),
            amount: Amount(nanos),
        }],
        remainder_to: rest.clone(),
        memo: None,
    }
}

/// A payment lies at receive address 7, and half of it is to go back.
async fn refund(net: &Net) -> Outgoing {
    let receive = net.operator.receive_address(7);
    let (_, digest) = net.pay(&receive, IOTA).await;
    net.final_evidence(&digest).await;
    let treasury = net.operator.treasury_address();
    let home = net.wallet.address();
    let order = order(PayoutSource::Receive(7), &home, IOTA / 2, &treasury);
    net.operator.build_payout(&order).await.unwrap()
}

/// Pays somebody from the treasury, as whoever has the seed can.
async fn spend(net: &Net, nanos: u64) {
    let to = random_wallet().address();
    let treasury = net.operator.treasury_address();
    let order = order(PayoutSource::Treasury, &to, nanos, &treasury);
    let other = net.operator.build_payout(&order).await.unwrap();
    assert_eq!(
        net.operator.submit(&other.transaction).await,
        Submission::Accepted
    );
    net.final_evidence(&other.digest).await;
}

/// What the operator is told by a node that it believes, and by one of which it believes what is proven.
async fn prospects(net: &Net, transaction: &SignedTransaction) -> (Prospect, Prospect) {
    let verifying = net.verifying(None);
    (
        net.operator.prospect(transaction).await,
        verifying.prospect(transaction).await,
    )
}

#[track_caller]
fn assert_dead(prospect: &Prospect, because: &str) {
    assert!(
        matches!(prospect, Prospect::Dead { reason } if reason.contains(because)),
        "{prospect:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_spent_elsewhere_may_execute_and_what_has_executed_is_not_dead() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let outgoing = refund(&net).await;
    let open = (Prospect::Open, Prospect::Open);
    assert_eq!(prospects(&net, &outgoing.transaction).await, open);
    net.operator.submit(&outgoing.transaction).await;
    net.final_evidence(&outgoing.digest).await;
    assert_eq!(prospects(&net, &outgoing.transaction).await, open);
    // Also where its coins have moved on since.
    for _ in 0..3 {
        spend(&net, 1_000).await;
    }
    assert_eq!(prospects(&net, &outgoing.transaction).await, open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coin_that_another_transaction_took_is_proof_however_long_ago_that_was() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let outgoing = refund(&net).await;
    for spent in 1..=5 {
        spend(&net, 1_000).await;
        if spent == 1 || spent == 5 {
            assert!(matches!(
                net.operator.submit(&outgoing.transaction).await,
                Submission::Rejected { .. }
            ));
            let (told, proven) = prospects(&net, &outgoing.transaction).await;
            assert_dead(&told, "was spent by");
            assert_dead(&proven, "was spent by");
        }
    }
    // Built anew, out of other versions, it pays once.
    let treasury = net.operator.treasury_address();
    let home = net.wallet.address();
    let order = order(PayoutSource::Receive(7), &home, IOTA / 2, &treasury);
    let again = net.operator.build_payout(&order).await.unwrap();
    net.operator.submit(&again.transaction).await;
    assert!(net.final_evidence(&again.digest).await.succeeded);
    assert_eq!(
        net.operator.lookup(&outgoing.digest).await,
        Lookup::NotFound
    );
    net.assert_conserved();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_names_what_spent_the_coins() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let outgoing = refund(&net).await;
    let thief = Keyring::from_seed([1; 32]);
    let thief = IotaLedger::new(&net.handle.grpc_url(), net.dev.chain_id(), Arc::new(thief));
    let thief = thief.unwrap();
    let away = random_wallet().address();
    let order = order(PayoutSource::Receive(7), &away, 5, &away);
    let taken = thief.build_payout(&order).await.unwrap();
    thief.submit(&taken.transaction).await;
    net.final_evidence(&taken.digest).await;
    let (told, proven) = prospects(&net, &outgoing.transaction).await;
    assert_dead(&told, taken.digest.as_str());
    assert_dead(&proven, taken.digest.as_str());
}

/// A coin that was merged into another says nothing of who did it.
#[tokio::test(flavor = "multi_thread")]
async fn a_coin_that_is_gone_counts_where_the_node_is_believed() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let outgoing = refund(&net).await;
    // The larger coin comes first, so the one that was signed is merged into it.
    net.fund(&net.operator.treasury_address(), 5 * IOTA).await;
    spend(&net, 1_000).await;
    let (told, proven) = prospects(&net, &outgoing.transaction).await;
    assert_dead(&told, "is gone");
    assert!(
        matches!(&proven, Prospect::Unknown { reason } if reason.contains("does not prove")),
        "{proven:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_and_no_proof_are_unknown() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let outgoing = refund(&net).await;
    spend(&net, 1_000).await;
    let unknown = |prospect: &Prospect| matches!(prospect, Prospect::Unknown { .. });
    for lie in [Lie::Signature, Lie::Committee, Lie::Contents] {
        net.dev.set_faults(Faults {
            lie: Some(lie),
            ..Faults::default()
        });
        let (_, proven) = prospects(&net, &outgoing.transaction).await;
        assert!(unknown(&proven), "{lie:?}: {proven:?}");
    }
    net.dev.set_faults(Faults {
        refuse_calls: true,
        ..Faults::default()
    });
    let (told, proven) = prospects(&net, &outgoing.transaction).await;
    assert!(unknown(&told) && unknown(&proven), "{told:?} {proven:?}");
}

/// A transaction that is not in a checkpoint may be undone by the end of the epoch.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_final_proves_nothing() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let outgoing = refund(&net).await;
    net.dev.set_faults(Faults {
        no_checkpoints: true,
        ..Faults::default()
    });
    let to = random_wallet().address();
    let treasury = net.operator.treasury_address();
    let order = order(PayoutSource::Treasury, &to, 1_000, &treasury);
    let other = net.operator.build_payout(&order).await.unwrap();
    net.operator.submit(&other.transaction).await;
    assert!(matches!(
        net.operator.lookup(&other.digest).await,
        Lookup::Found(_)
    ));
    assert_eq!(
        prospects(&net, &outgoing.transaction).await,
        (Prospect::Open, Prospect::Open)
    );
    net.dev.set_faults(Faults::default());
    net.final_evidence(&other.digest).await;
    let (told, proven) = prospects(&net, &outgoing.transaction).await;
    assert_dead(&told, other.digest.as_str());
    assert_dead(&proven, other.digest.as_str());
}
