//! What the adapter believes when a committee is pinned: what follows from it, and nothing else a node may say.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{Follower, IOTA, Net, development_ledger_only, follow};
use payflow_payment::ledger::dev::{DevLedger, Faults, Lie};
use payflow_payment::ledger::iota::{Committee, IotaLedger};
use payflow_payment::ledger::keys::Keyring;
use payflow_payment::ledger::{FollowEvent, Ledger as _, Lookup, Unproven};
use payflow_payment::{Amount, Asset, TxDigest};

fn lying(lie: Lie) -> Faults {
    Faults {
        lie: Some(lie),
        ..Faults::default()
    }
}

/// Follows until a payment comes, past whatever is not believed.
async fn payment(follower: &mut Follower) -> Vec<TxDigest> {
    loop {
        if let FollowEvent::Checkpoint(followed) = follower.next().await
            && !followed.payments.is_empty()
        {
            return followed
                .payments
                .into_iter()
                .map(|paid| paid.digest)
                .collect();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_proven_is_the_same_as_what_an_honest_node_says() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let verifying = net.verifying(None);
    let to = [net.operator.receive_address(0), net.wallet.address()];
    let (_, digest) = net.pay(&to[0], IOTA).await;
    let said = net.final_evidence(&digest).await;
    assert_eq!(verifying.lookup(&digest).await, Lookup::Found(said.clone()));
    let mut proven = follow(&verifying, 0, &to);
    let mut told = net.follow(0, &to);
    loop {
        let (proven, _) = proven.payment().await;
        assert_eq!(proven, told.payment().await.0, "also of the faucet");
        if proven.payments.contains(&said) {
            break;
        }
    }
}

/// Each lie has its own error, by which people know what to look for; and once the node is honest, everything comes.
#[tokio::test(flavor = "multi_thread")]
async fn no_lie_of_a_node_is_ever_a_payment() {
    development_ledger_only!();
    for lie in [
        Lie::Signature,
        Lie::Committee,
        Lie::Contents,
        Lie::Omission,
        Lie::Amount,
        Lie::Gap,
    ] {
        let net = Net::funded(None).await;
        let verifying = net.verifying(None);
        let to = net.operator.receive_address(0);
        let mut follower = follow(
            &verifying,
            net.dev.newest_checkpoint(),
            std::slice::from_ref(&to),
        );
        assert!(matches!(follower.next().await, FollowEvent::Checkpoint(_)));
        net.dev.set_faults(lying(lie));
        if lie == Lie::Gap {
            // The last that is shown before the one that is left out.
            net.dev.make_checkpoint().unwrap();
            assert!(matches!(follower.next().await, FollowEvent::Checkpoint(_)));
        }
        let (_, digest) = net.pay(&to, IOTA).await;
        if lie == Lie::Gap {
            net.final_evidence(&digest).await;
            net.dev.make_checkpoint().unwrap();
        }
        let refused = follower.unproven().await;
        let its_own = match lie {
            Lie::Signature => matches!(refused, Unproven::WrongSignature { .. }),
            Lie::Committee => matches!(refused, Unproven::NotHandedOver { .. }),
            Lie::Contents | Lie::Omission => matches!(refused, Unproven::WrongContents { .. }),
            Lie::Amount => matches!(refused, Unproven::WrongEffects { .. }),
            Lie::Gap => matches!(refused, Unproven::Gap { .. }),
        };
        assert!(its_own, "{lie:?}: {refused:?}");
        // Asked by digest, the node cannot get away with it either. What it leaves out of a stream is no lie there.
        if !matches!(lie, Lie::Gap | Lie::Omission) {
            let looked_up = verifying.lookup(&digest).await;
            let final_one =
                matches!(&looked_up, Lookup::Found(evidence) if evidence.checkpoint.is_some());
            assert!(!final_one, "{lie:?}: {looked_up:?}");
        }
        net.dev.set_faults(Faults::default());
        assert_eq!(payment(&mut follower).await, [digest], "{lie:?}");
    }
}

/// Why a committee should be pinned, or the node be the operator's own.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_pinned_committee_a_node_is_believed() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let to = net.operator.receive_address(0);
    let (_, digest) = net.pay(&to, IOTA).await;
    net.final_evidence(&digest).await;
    net.dev.set_faults(lying(Lie::Amount));
    let believed = net.final_evidence(&digest).await;
    assert!(believed.received(&to, &Asset::iota()) > Amount(IOTA));
    assert!(matches!(
        net.verifying(None).lookup(&digest).await,
        Lookup::Unknown { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn committees_are_followed_through_epochs_and_kept_over_a_restart() {
    development_ledger_only!();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("committees.json");
    let net = Net::funded(None).await;
    let to = net.operator.receive_address(0);
    let mut follower = follow(&net.verifying(Some(&file)), 0, std::slice::from_ref(&to));
    let mut cursor = 0;
    let mut first = None;
    for _ in 0..6 {
        let (_, digest) = net.pay(&to, IOTA).await;
        net.dev.end_epoch().unwrap();
        let (followed, _) = follower.payment().await;
        assert_eq!(followed.payments.first().unwrap().digest, digest);
        cursor = followed.checkpoint;
        first.get_or_insert(digest);
    }
    drop(follower);

    // The file names the committee that signs now, so that no old epoch is asked for.
    let kept = std::fs::read_to_string(&file).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    let epochs: Vec<_> = kept["committees"]
        .as_array()
        .unwrap()
        .iter()
        .map(|committee| committee["epoch"].clone())
        .collect();
    assert_eq!(epochs, ["6", "5", "4", "3"]);
    let (_, digest) = net.pay(&to, IOTA).await;
    let restarted = net.verifying(Some(&file));
    let mut follower = follow(&restarted, cursor + 1, std::slice::from_ref(&to));
    assert_eq!(payment(&mut follower).await, [digest]);

    // A checkpoint from before what is kept, and no file or a spoilt one: the epochs are walked from the pinned one.
    assert!(matches!(
        restarted.lookup(&first.clone().unwrap()).await,
        Lookup::Found(_)
    ));
    std::fs::write(&file, "{ spoilt").unwrap();
    let again = net.verifying(Some(&file));
    let mut follower = follow(&again, cursor, std::slice::from_ref(&to));
    assert_eq!(payment(&mut follower).await.len(), 1);
    let mended: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(
        mended["committees"][0]["epoch"],
        kept["committees"][0]["epoch"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committee_nobody_pinned_or_of_another_ledger_proves_nothing() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let to = net.operator.receive_address(0);
    let (_, digest) = net.pay(&to, IOTA).await;
    net.final_evidence(&digest).await;
    let other = DevLedger::open(None).unwrap();
    let pinned = |committee: Committee| {
        let keys = Arc::new(Keyring::from_seed([1; 32]));
        IotaLedger::new(&net.handle.grpc_url(), net.dev.chain_id(), keys)
            .unwrap()
            .verifying(committee, None)
            .unwrap()
    };
    let stranger = pinned(other.committee(0));
    assert!(matches!(
        stranger.lookup(&digest).await,
        Lookup::Unknown { .. }
    ));
    let mut follower = follow(&stranger, 0, std::slice::from_ref(&to));
    assert!(matches!(
        follower.unproven().await,
        Unproven::WrongSignature { .. }
    ));
    let later = pinned(net.dev.committee(3));
    let mut follower = follow(&later, 0, std::slice::from_ref(&to));
    let refused = follower.unproven().await;
    assert!(
        matches!(&refused, Unproven::NotHandedOver { reason, .. } if reason.contains("epoch 3")),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committee_is_pinned_as_text() {
    development_ledger_only!();
    let net = Net::start(None).await;
    let committee = net.dev.committee(0);
    assert_eq!(
        Committee::from_json(&committee.to_json()).unwrap(),
        committee
    );
    let claimed =
        IotaLedger::claimed_committee(&net.handle.grpc_url(), net.dev.chain_id(), 0).await;
    assert_eq!(claimed.unwrap().fingerprint(), committee.fingerprint());
    assert_ne!(net.dev.committee(1).fingerprint(), committee.fingerprint());
    let nobody = r#"{ "epoch": "0", "members": [] }"#;
    for text in ["", "{}", nobody, &committee.to_json().replace("2500", "0")] {
        assert!(Committee::from_json(text).is_err(), "{text}");
    }
}
