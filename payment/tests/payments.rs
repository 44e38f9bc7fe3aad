//! Paying, following, judging and paying out, with the unmodified IOTA client: over loopback, or on the ledger that
//! `PAYFLOW_TEST_LEDGER` names.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{Anywhere, COMPUTATION, DEPOSIT, IOTA, follow, random_wallet};
use iota_sdk_grpc_client::GrpcClient;
use payflow_payment::ledger::iota::IotaLedger;
use payflow_payment::ledger::keys::Keyring;
use payflow_payment::ledger::{
    BuildError, Ledger as _, Lookup, Payout, PayoutOrder, PayoutSource, Submission,
};
use payflow_payment::{
    Address, Amount, Asset, DocumentHash, PaymentTerms, UnixMillis, Verdict, judge, memo,
};

fn terms(net: &Anywhere, price: u64, expires_at: UnixMillis) -> PaymentTerms {
    PaymentTerms {
        chain_id: net.operator.chain_id().clone(),
        asset: Asset::iota(),
        pay_to: net.operator.receive_address(7),
        price: Amount(price),
        refund_to: net.wallet.address(),
        expires_at,
        grace_ms: 1_000,
        cancellation_fee: Amount(0),
        mispayment_fee: Amount(0),
    }
}

fn payout(to: &Address, nanos: u64) -> Payout {
    Payout {
        to: to.clone(),
        amount: Amount(nanos),
    }
}

fn settle(net: &Anywhere, from: u64, payouts: Vec<Payout>, memo: Option<Vec<u8>>) -> PayoutOrder {
    PayoutOrder {
        from: PayoutSource::Receive(from),
        payouts,
        remainder_to: net.operator.treasury_address(),
        memo,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_followed_judged_and_settled_to_the_nano() {
    let net = Anywhere::funded().await;
    let status = net.operator.status().await.unwrap();
    let terms = terms(
        &net,
        100_000_000,
        status.timestamp.saturating_add_ms(3_600_000),
    );
    let mut follower = net.follow(std::slice::from_ref(&terms.pay_to)).await;

    // The host pays 5 nanos too much.
    let signed = net
        .host
        .pay(&net.wallet, &terms.pay_to, Amount(100_000_005))
        .await
        .unwrap();
    let inspected = net.operator.inspect(&signed).unwrap();
    assert_eq!(inspected.payer, net.wallet.address());
    assert_eq!(inspected.sponsor, None);
    let to_us: Vec<_> = inspected
        .transfers
        .iter()
        .map(|t| (&t.address, t.amount.0))
        .collect();
    assert_eq!(to_us, [(&terms.pay_to, 100_000_005)]);
    assert_eq!(net.operator.submit(&signed).await, Submission::Accepted);

    let (followed, _) = follower.payment().await;
    let evidence = followed.payments.first().unwrap();
    assert_eq!(evidence.digest, inspected.digest);
    assert_eq!(evidence.sender.as_ref(), Some(&net.wallet.address()));
    assert_eq!(*evidence, net.final_evidence(&inspected.digest).await);
    let verdict = judge(&terms, evidence, followed.timestamp);
    let excess = Amount(5);
    assert_eq!(
        verdict,
        Verdict::Paid {
            amount: Amount(100_000_005),
            excess
        }
    );

    // 40 000 000 unserved and the excess go back, the rest is earned; the treasury pays the gas.
    let treasury = net.operator.treasury_address();
    let before = net.operator.balance(&treasury).await.unwrap();
    let host_before = net.operator.balance(&net.wallet.address()).await.unwrap();
    let receipt = DocumentHash([9; 32]);
    let refund = vec![payout(&net.wallet.address(), 40_000_005)];
    let order = settle(&net, 7, refund, Some(memo::encode(&receipt)));
    let outgoing = net.operator.build_payout(&order).await.unwrap();
    assert_eq!(outgoing.remainder, Amount(60_000_000));
    assert_eq!(
        net.operator.submit(&outgoing.transaction).await,
        Submission::Accepted
    );
    let paid_out = net.final_evidence(&outgoing.digest).await;
    assert!(paid_out.succeeded);

    let gas = net
        .operator
        .gas_of(&outgoing.digest)
        .await
        .unwrap()
        .unwrap();
    assert!(gas.net() <= i128::from(outgoing.gas_budget.0));
    assert_eq!(
        gas.net(),
        i128::from(COMPUTATION + DEPOSIT),
        "two coins came in (payment, gas), three go out (refund, earnings, gas)"
    );
    let host_after = net.operator.balance(&net.wallet.address()).await.unwrap();
    assert_eq!(host_after.0 - host_before.0, 40_000_005);
    let after = net.operator.balance(&treasury).await.unwrap();
    assert_eq!(
        i128::from(after.0),
        i128::from(before.0) + 60_000_000 - gas.net()
    );
    assert_eq!(
        net.operator.balance(&terms.pay_to).await.unwrap(),
        Amount::ZERO
    );

    let written = net
        .operator
        .memo_of(&outgoing.digest)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(memo::decode(&written), Some(receipt));
    assert_eq!(net.operator.memo_of(&inspected.digest).await.unwrap(), None);
    net.assert_conserved();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_transaction_pays_several_addresses_what_each_is_due() {
    let net = Anywhere::funded().await;
    let due: Vec<_> = [(1, 70_000_000), (2, 30_000_000)]
        .map(|(index, amount)| (net.operator.receive_address(index), Amount(amount)))
        .to_vec();
    let watched: Vec<_> = due.iter().map(|(address, _)| address.clone()).collect();
    let mut follower = net.follow(&watched).await;
    let signed = net.host.pay_all(&net.wallet, &due).await.unwrap();
    let inspected = net.operator.inspect(&signed).unwrap();
    let credited = |credits: &[payflow_payment::Credit]| {
        let ours = credits.iter().filter(|it| watched.contains(&it.address));
        let mut ours: Vec<_> = ours.map(|it| (it.address.clone(), it.amount)).collect();
        ours.sort();
        ours
    };
    let mut expected = due.clone();
    expected.sort();
    assert_eq!(credited(&inspected.transfers), expected);
    assert_eq!(net.operator.submit(&signed).await, Submission::Accepted);
    let (followed, _) = follower.payment().await;
    let evidence = followed.payments.first().unwrap();
    assert_eq!(evidence.digest, inspected.digest);
    assert_eq!(credited(&evidence.credits), expected);
    let too_much = [(watched[0].clone(), Amount(u64::MAX)), due[1].clone()];
    assert!(net.host.pay_all(&net.wallet, &too_much).await.is_err());
    net.assert_conserved();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_to_an_address_added_later_is_seen() {
    let net = Anywhere::funded().await;
    let mut follower = net.follow(&[]).await;
    for index in 0..5 {
        let address = net.operator.receive_address(index);
        follower.addresses.send_modify(|all| {
            std::sync::Arc::make_mut(all).insert(address.clone());
        });
        let (_, digest) = net.pay(&address, IOTA / 100).await;
        let (followed, interruptions) = follower.payment().await;
        let seen: Vec<_> = followed.payments.iter().map(|paid| &paid.digest).collect();
        assert_eq!((seen, interruptions), (vec![&digest], 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_coins_and_several_payouts_leave_nothing_behind() {
    let net = Anywhere::funded().await;
    let receive = net.operator.receive_address(3);
    for nanos in [3_000_000, 5_000_000, 7_000_000] {
        let (_, digest) = net.pay(&receive, nanos).await;
        net.final_evidence(&digest).await;
    }
    let (a, b) = (random_wallet().address(), random_wallet().address());
    let payouts = vec![payout(&a, 14_000_000), payout(&b, 1_000_000)];
    let outgoing = net
        .operator
        .build_payout(&settle(&net, 3, payouts, None))
        .await
        .unwrap();
    assert_eq!(outgoing.remainder, Amount::ZERO);
    net.operator.submit(&outgoing.transaction).await;
    assert!(net.final_evidence(&outgoing.digest).await.succeeded);
    for (address, holds) in [(&a, 14_000_000), (&b, 1_000_000), (&receive, 0)] {
        assert_eq!(net.balance(address).await, Amount(holds));
    }
    net.assert_conserved();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_treasury_pays_what_receive_addresses_cannot() {
    let net = Anywhere::funded().await;
    let order = PayoutOrder {
        from: PayoutSource::Treasury,
        payouts: vec![payout(&net.wallet.address(), IOTA / 2)],
        remainder_to: net.operator.treasury_address(),
        memo: None,
    };
    let outgoing = net.operator.build_payout(&order).await.unwrap();
    net.operator.submit(&outgoing.transaction).await;
    assert!(net.final_evidence(&outgoing.digest).await.succeeded);
    assert_eq!(
        net.balance(&net.wallet.address()).await.0,
        2 * IOTA + IOTA / 2
    );
    assert!(matches!(
        net.operator.build_payout(&order).await,
        Err(BuildError::Impossible { .. })
    ));
    net.assert_conserved();
}

/// What settles a payment whose money was collected with another's: only a receipt is left to write.
#[tokio::test(flavor = "multi_thread")]
async fn a_payout_to_nobody_writes_its_memo_and_moves_nothing() {
    let net = Anywhere::funded().await;
    let order = PayoutOrder {
        from: PayoutSource::Treasury,
        payouts: vec![],
        remainder_to: net.operator.treasury_address(),
        memo: Some(b"receipt".to_vec()),
    };
    let outgoing = net.operator.build_payout(&order).await.unwrap();
    net.operator.submit(&outgoing.transaction).await;
    assert!(net.final_evidence(&outgoing.digest).await.succeeded);
    let memo = net.operator.memo_of(&outgoing.digest).await.unwrap();
    assert_eq!(memo.as_deref(), Some(b"receipt".as_slice()));
    let gas = net.operator.gas_of(&outgoing.digest).await.unwrap();
    let left = net.balance(&net.operator.treasury_address()).await.0;
    assert_eq!(
        i128::from(left),
        i128::from(IOTA) - gas.unwrap().net(),
        "only gas was paid"
    );
    net.assert_conserved();
}

#[tokio::test(flavor = "multi_thread")]
async fn payouts_that_cannot_be_made_are_not_made() {
    let net = Anywhere::start().await;
    net.fund(&net.wallet.address(), IOTA).await;
    let receive = net.operator.receive_address(0);
    let everything = settle(
        &net,
        0,
        vec![payout(&net.wallet.address(), 1_000_000)],
        None,
    );
    let impossible = |result| matches!(result, Err(BuildError::Impossible { .. }));
    assert!(
        impossible(net.operator.build_payout(&everything).await),
        "nothing there"
    );
    let (_, digest) = net.pay(&receive, 1_000_000).await;
    net.final_evidence(&digest).await;
    assert!(
        impossible(net.operator.build_payout(&everything).await),
        "no gas in the treasury"
    );
    net.fund(&net.operator.treasury_address(), IOTA).await;
    let too_much = settle(
        &net,
        0,
        vec![payout(&net.wallet.address(), 1_000_001)],
        None,
    );
    assert!(
        impossible(net.operator.build_payout(&too_much).await),
        "a nano too much"
    );
    let nothing = settle(&net, 0, vec![payout(&net.wallet.address(), 0)], None);
    assert!(
        impossible(net.operator.build_payout(&nothing).await),
        "a payout of nothing"
    );
    net.operator.build_payout(&everything).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_does_not_sign_what_it_cannot_pay() {
    let net = Anywhere::start().await;
    net.fund(&net.wallet.address(), 10_000_000).await;
    let to = net.operator.receive_address(0);
    for nanos in [10_000_000, 9_999_999, 9_000_000] {
        assert!(
            net.host.pay(&net.wallet, &to, Amount(nanos)).await.is_err(),
            "{nanos}"
        );
    }
    net.pay(&to, 5_000_000).await;
    let nowhere = Address::new("0xnowhere");
    assert!(
        net.host
            .pay(&net.wallet, &nowhere, Amount(1))
            .await
            .is_err()
    );
}

/// With the committee that the node itself names, which proves that its checkpoints can be verified, and nothing about
/// whether it can be trusted.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_says_is_proven_by_its_committee() {
    let net = Anywhere::funded().await;
    let client = GrpcClient::new(&net.url).unwrap();
    let info = client.service_info().await.unwrap().into_inner();
    let chain = net.operator.chain_id().clone();
    let pinned = IotaLedger::claimed_committee(&net.url, chain.clone(), info.epoch.unwrap()).await;
    let keys = Arc::new(Keyring::from_seed([1; 32]));
    let verifying = IotaLedger::new(&net.url, chain, keys)
        .unwrap()
        .verifying(pinned.unwrap(), None)
        .unwrap();
    let to = net.operator.receive_address(0);
    let now = net.operator.status().await.unwrap().checkpoint;
    let mut follower = follow(&verifying, now, std::slice::from_ref(&to));
    let (_, digest) = net.pay(&to, 1_500_000).await;
    let said = net.final_evidence(&digest).await;
    let (followed, _) = follower.payment().await;
    assert_eq!(followed.payments, std::slice::from_ref(&said));
    assert_eq!(verifying.lookup(&digest).await, Lookup::Found(said));
}
