//! What the ledger's faults do to whoever follows it: they cost time, and never a payment.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use common::{Follower, IOTA, Net, PATIENCE, development_ledger_only, follow, reachable, serve_at};
use payflow_payment::ledger::dev::{DevLedger, Faults, Lie, Options};
use payflow_payment::ledger::iota::IotaLedger;
use payflow_payment::ledger::{FollowEvent, Ledger as _, Lookup, Submission};
use payflow_payment::{Address, Amount, TxDigest};
use serde_json::json;

const PAYMENTS: usize = 6;

/// Pays, whatever the ledger answers, until a checkpoint has it. The same bytes are submitted again and again, as the
/// controller does.
async fn pay_for_sure(net: &Net, to: &Address, nanos: u64) -> TxDigest {
    let signed = loop {
        match net.host.pay(&net.wallet, to, Amount(nanos)).await {
            Ok(signed) => break signed,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let digest = net.operator.inspect(&signed).unwrap().digest;
    let wait = async {
        loop {
            net.operator.submit(&signed).await;
            match net.operator.lookup(&digest).await {
                Lookup::Found(evidence) if evidence.checkpoint.is_some() => return,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    digest
}

/// Everything that is followed up to the checkpoint with the last payment.
async fn seen_until(follower: &mut Follower, last: &TxDigest) -> Vec<TxDigest> {
    let all = async {
        let mut seen = Vec::new();
        let mut next = None;
        while seen.last() != Some(last) {
            if let FollowEvent::Checkpoint(followed) = follower.next().await {
                assert_eq!(followed.checkpoint, next.unwrap_or(followed.checkpoint));
                next = Some(followed.checkpoint + 1);
                seen.extend(followed.payments.into_iter().map(|paid| paid.digest));
            }
        }
        seen
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap()
}

/// With these faults all the time, a follower that verifies and one that does not see every payment once.
async fn every_payment_is_seen_once(faults: Faults) {
    let net = Net::funded(None).await;
    let to = net.operator.receive_address(0);
    net.dev.set_faults(faults);
    let mut followers =
        [&net.verifying(None), &net.operator].map(|it| follow(it, 0, std::slice::from_ref(&to)));
    let mut paid = Vec::new();
    for n in 1..=PAYMENTS {
        paid.push(pay_for_sure(&net, &to, u64::try_from(n).unwrap() * 1_000_000).await);
    }
    for follower in &mut followers {
        let seen = seen_until(follower, paid.last().unwrap()).await;
        assert_eq!(seen, paid, "{faults:?}");
    }
    assert_eq!(net.dev.balance_of(&to), Amount(21_000_000));
    net.dev.set_faults(Faults::default());
    net.assert_conserved();
}

fn each(n: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(n)
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_lost_lose_no_payment() {
    development_ledger_only!();
    for n in [6, 9] {
        let faults = Faults {
            lose_frame: each(n),
            ..Faults::default()
        };
        every_payment_is_seen_once(faults).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_come_twice_double_no_payment() {
    development_ledger_only!();
    for n in [6, 9] {
        let faults = Faults {
            repeat_frame: each(n),
            ..Faults::default()
        };
        every_payment_is_seen_once(faults).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_is_taken_up_where_it_ended() {
    development_ledger_only!();
    let faults = Faults {
        end_stream_after: each(2),
        ..Faults::default()
    };
    every_payment_is_seen_once(faults).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_that_are_late_are_only_late() {
    development_ledger_only!();
    let faults = Faults {
        checkpoint_delay: Duration::from_millis(100),
        ..Faults::default()
    };
    every_payment_is_seen_once(faults).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_after_success_pays_once_however_often_it_is_repeated() {
    development_ledger_only!();
    let faults = Faults {
        fail_after_success: true,
        ..Faults::default()
    };
    every_payment_is_seen_once(faults).await;
    let net = Net::funded(None).await;
    net.dev.set_faults(faults);
    let to = net.operator.receive_address(0);
    let signed = net.host.pay(&net.wallet, &to, Amount(IOTA)).await.unwrap();
    let answer = net.operator.submit(&signed).await;
    assert!(matches!(answer, Submission::Unknown { .. }), "{answer:?}");
    assert_eq!(net.dev.balance_of(&to), Amount(IOTA), "and yet it is done");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_at_once_loses_and_doubles_nothing() {
    development_ledger_only!();
    let faults = Faults {
        checkpoint_delay: Duration::from_millis(10),
        fail_after_success: true,
        lose_frame: each(11),
        repeat_frame: each(13),
        end_stream_after: each(5),
        ..Faults::default()
    };
    every_payment_is_seen_once(faults).await;
}

/// Stopped and started again from its disk between all payments, with the last one in no checkpoint yet.
#[tokio::test(flavor = "multi_thread")]
async fn restarts_lose_and_double_nothing() {
    development_ledger_only!();
    let dir = tempfile::tempdir().unwrap();
    let mut net = Net::funded(Some(dir.path())).await;
    let at = net.handle.grpc_addr;
    let to = net.operator.receive_address(0);
    let mut followers =
        [&net.verifying(None), &net.operator].map(|it| follow(it, 0, std::slice::from_ref(&to)));
    let mut paid = Vec::new();
    for n in 0..4 {
        net.dev.set_faults(Faults {
            no_checkpoints: true,
            ..Faults::default()
        });
        let (signed, digest) = net.pay(&to, 1_000_000 + n).await;
        let Net { dev, handle, .. } = net;
        handle.shutdown().await;
        drop(dev);
        let dev = DevLedger::open(Some(dir.path())).unwrap();
        let handle = serve_at(dev.clone(), at).await;
        net = Net::at(dev, handle);
        reachable(&net.operator).await;
        assert_eq!(net.operator.submit(&signed).await, Submission::Accepted);
        net.final_evidence(&digest).await;
        paid.push(digest);
    }
    for follower in &mut followers {
        assert_eq!(seen_until(follower, paid.last().unwrap()).await, paid);
    }
    net.assert_conserved();
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_set_over_http_only_where_that_was_asked_for() {
    development_ledger_only!();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let http = reqwest::Client::new();
    for allowed in [false, true] {
        let options = Options {
            faults_over_http: allowed,
            ..Options::default()
        };
        let dev = DevLedger::open_with(None, options).unwrap();
        let handle = serve_at(dev.clone(), any).await;
        let url = |path: &str| format!("{}/v1/{path}", handle.faucet_url());
        let wanted = Faults {
            checkpoint_delay: Duration::from_millis(70),
            lose_frame: each(9),
            lie: Some(Lie::Amount),
            ..Faults::default()
        };
        let text = json!({ "checkpoint_delay_ms": 70, "lose_frame": 9, "lie": "amount" });
        let answer = http.put(url("faults")).json(&text).send().await.unwrap();
        assert_eq!(answer.status().is_success(), allowed);
        let set = if allowed { wanted } else { Faults::default() };
        assert_eq!(dev.faults(), set);
        let nonsense = json!({ "no_such_fault": true });
        let answer = http.put(url("faults")).json(&nonsense).send().await;
        assert!(answer.unwrap().status().is_client_error());
        assert_eq!(dev.faults(), set, "nonsense changes nothing");
        let answer = http.get(url("faults")).send().await.unwrap();
        if allowed {
            assert_eq!(answer.json::<Faults>().await.unwrap(), wanted);
        } else {
            assert_eq!(answer.status().as_u16(), 404);
        }
        let answer = http.post(url("epoch")).send().await.unwrap();
        assert_eq!(answer.status().is_success(), allowed);
        assert_eq!(dev.epoch(), u64::from(allowed));

        // The committee to pin is no secret.
        let answer = http.get(url("committee")).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let committee = payflow_payment::ledger::iota::Committee::from_json(&text).unwrap();
        assert_eq!(committee, dev.committee(0));
        let chain = IotaLedger::discover_chain_id(&handle.grpc_url()).await;
        assert_eq!(chain.unwrap(), dev.chain_id());
    }
}
