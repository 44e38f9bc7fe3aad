//! What a payment looks like while the ledger is away, slow, forgetful, or another one.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{IOTA, Net, development_ledger_only, reachable, serve_at};
use payflow_payment::ledger::dev::{DevLedger, Faults};
use payflow_payment::ledger::iota::IotaLedger;
use payflow_payment::ledger::keys::Keyring;
use payflow_payment::ledger::{
    BuildError, FollowEvent, Ledger as _, Lookup, PayoutOrder, PayoutSource, Submission,
};
use payflow_payment::{Amount, TxDigest};

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_down_says_unknown_and_never_not_paid() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let to = net.operator.receive_address(0);
    let (signed, digest) = net.pay(&to, IOTA).await;
    net.final_evidence(&digest).await;
    let order = PayoutOrder {
        from: PayoutSource::Receive(0),
        payouts: vec![],
        remainder_to: net.operator.treasury_address(),
        memo: None,
    };
    let (dev, at) = (net.dev.clone(), net.handle.grpc_addr);
    let Net {
        handle,
        operator,
        host,
        wallet,
        ..
    } = net;

    dev.set_faults(Faults {
        refuse_calls: true,
        ..Faults::default()
    });
    assert!(
        matches!(operator.lookup(&digest).await, Lookup::Unknown { .. }),
        "a node going down"
    );
    dev.set_faults(Faults::default());
    handle.shutdown().await;

    assert!(matches!(
        operator.lookup(&digest).await,
        Lookup::Unknown { .. }
    ));
    let nobody = TxDigest::new("11111111111111111111111111111111");
    assert!(matches!(
        operator.lookup(&nobody).await,
        Lookup::Unknown { .. }
    ));
    assert!(matches!(
        operator.submit(&signed).await,
        Submission::Unknown { .. }
    ));
    assert!(operator.status().await.is_err());
    assert!(operator.balance(&to).await.is_err());
    assert!(operator.memo_of(&digest).await.is_err());
    assert!(operator.gas_of(&digest).await.is_err());
    assert!(matches!(
        operator.build_payout(&order).await,
        Err(BuildError::Unknown { .. })
    ));
    assert!(host.pay(&wallet, &to, Amount(1)).await.is_err());

    let _handle = serve_at(dev, at).await;
    reachable(&operator).await;
    assert!(
        matches!(operator.lookup(&digest).await, Lookup::Found(_)),
        "back again"
    );
    assert_eq!(operator.lookup(&nobody).await, Lookup::NotFound);
    assert_eq!(
        operator.submit(&signed).await,
        Submission::Accepted,
        "the same bytes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_another_chain_is_not_believed() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let (signed, digest) = net.pay(&net.operator.receive_address(0), IOTA).await;
    let other = DevLedger::open(None).unwrap().chain_id();
    assert_ne!(other, net.dev.chain_id());
    let keys = Arc::new(Keyring::from_seed([1; 32]));
    let operator = IotaLedger::new(&net.handle.grpc_url(), other.clone(), keys.clone()).unwrap();
    let Lookup::Unknown { reason } = operator.lookup(&digest).await else {
        panic!("evidence of another chain");
    };
    assert!(reason.contains(other.as_str()), "{reason}");
    assert!(matches!(
        operator.submit(&signed).await,
        Submission::Unknown { .. }
    ));
    assert!(operator.status().await.is_err());
    assert_eq!(
        IotaLedger::discover_chain_id(&net.handle.grpc_url())
            .await
            .unwrap(),
        net.dev.chain_id()
    );
    assert!(IotaLedger::new(&net.handle.grpc_url(), "mainnet".into(), keys.clone()).is_err());
    assert!(IotaLedger::new("not a url", other, keys).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_executed_is_not_final_before_its_checkpoint() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    net.dev.set_faults(Faults {
        no_checkpoints: true,
        ..Faults::default()
    });
    let (_, digest) = net.pay(&net.operator.receive_address(0), IOTA).await;
    for _ in 0..5 {
        let Lookup::Found(evidence) = net.operator.lookup(&digest).await else {
            panic!("executed and not found");
        };
        assert_eq!((evidence.checkpoint, evidence.timestamp), (None, None));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    net.dev.set_faults(Faults {
        checkpoint_delay: Duration::from_millis(100),
        ..Faults::default()
    });
    assert!(net.final_evidence(&digest).await.timestamp.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_restarted_from_its_directory_is_the_same_ledger() {
    development_ledger_only!();
    let dir = tempfile::tempdir().unwrap();
    let net = Net::funded(Some(dir.path())).await;
    let to = net.operator.receive_address(0);
    let mut follower = net.follow(0, std::slice::from_ref(&to));
    let (signed, first) = net.pay(&to, IOTA).await;
    let evidence = net.final_evidence(&first).await;
    let (followed, _) = follower.payment().await;
    let cursor = followed.checkpoint;
    let (chain, supply, balance) = (
        net.dev.chain_id(),
        net.dev.supply(),
        net.dev.balance_of(&to),
    );

    let Net {
        dev,
        handle,
        operator,
        wallet,
        ..
    } = net;
    let at = handle.grpc_addr;
    handle.shutdown().await;
    let newest = dev.newest_checkpoint();
    drop(dev);
    let dev = DevLedger::open(Some(dir.path())).unwrap();
    assert_eq!(
        (dev.chain_id(), dev.supply(), dev.balance_of(&to)),
        (chain, supply, balance)
    );
    assert_eq!(dev.newest_checkpoint(), newest);
    assert_eq!(
        DevLedger::open(Some(dir.path()))
            .err()
            .map(|error| error.to_string().contains("in use")),
        Some(true)
    );

    let net = Net::at(dev.clone(), serve_at(dev, at).await);
    reachable(&operator).await;
    assert_eq!(operator.lookup(&first).await, Lookup::Found(evidence));
    assert_eq!(operator.submit(&signed).await, Submission::Accepted);
    assert_eq!(net.dev.balance_of(&to), balance, "paid once");
    let (_, second) = net.pay(&to, 2 * IOTA).await;

    let (followed, interruptions) = follower.payment().await;
    assert!(interruptions > 0, "the follower noticed");
    let seen: Vec<_> = followed.payments.iter().map(|paid| &paid.digest).collect();
    assert_eq!(seen, [&second], "and missed and repeated nothing");

    let mut resumed = net.follow(cursor + 1, std::slice::from_ref(&to));
    let (followed, _) = resumed.payment().await;
    assert_eq!(
        followed.payments.first().map(|paid| &paid.digest),
        Some(&second)
    );
    let mut replayed = net.follow(cursor, std::slice::from_ref(&to));
    let (followed, _) = replayed.payment().await;
    assert_eq!(
        followed.payments.first().map(|paid| &paid.digest),
        Some(&first)
    );
    assert_eq!(wallet.address(), net.wallet.address());
    net.assert_conserved();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_no_checkpoint_can_be_submitted_again_after_a_crash() {
    development_ledger_only!();
    let dir = tempfile::tempdir().unwrap();
    let net = Net::funded(Some(dir.path())).await;
    net.dev.set_faults(Faults {
        no_checkpoints: true,
        ..Faults::default()
    });
    let to = net.operator.receive_address(0);
    let (signed, digest) = net.pay(&to, IOTA).await;
    let Net {
        dev,
        handle,
        operator,
        ..
    } = net;
    let at = handle.grpc_addr;
    handle.shutdown().await;
    drop(dev);

    let dev = DevLedger::open(Some(dir.path())).unwrap();
    let net = Net::at(dev.clone(), serve_at(dev, at).await);
    reachable(&operator).await;
    assert_eq!(operator.lookup(&digest).await, Lookup::NotFound);
    assert_eq!(net.dev.balance_of(&to), Amount::ZERO);
    assert_eq!(operator.submit(&signed).await, Submission::Accepted);
    assert!(net.final_evidence(&digest).await.succeeded);
    assert_eq!(net.dev.balance_of(&to), Amount(IOTA));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_checkpoint_comes_once_and_in_order() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let mut follower = net.follow(0, &[]);
    let mut last_time = None;
    for expected in 0..20 {
        let _ = net.dev.make_checkpoint().unwrap();
        let FollowEvent::Checkpoint(followed) = follower.next().await else {
            panic!("interrupted");
        };
        assert_eq!(followed.checkpoint, expected);
        assert!(last_time <= Some(followed.timestamp), "time goes on");
        last_time = Some(followed.timestamp);
    }
}
