//! Epochs of the development ledger, judged by the verifier of the unmodified client.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{IOTA, Net, PATIENCE, development_ledger_only, serve_at};
use iota_sdk_crypto::validator::{CommitteeChainVerifier, ValidatorCommitteeSignatureVerifier};
use iota_sdk_grpc_client::GrpcClient;
use iota_sdk_grpc_client::read_mask_fields::{CheckpointResponseField, EpochField};
use iota_sdk_types::{SignedCheckpointSummary, ValidatorCommittee};
use payflow_payment::ledger::Ledger as _;
use payflow_payment::ledger::dev::{DevLedger, Options};

const FIELDS: [CheckpointResponseField; 2] = [
    CheckpointResponseField::CHECKPOINT_SUMMARY,
    CheckpointResponseField::CHECKPOINT_SIGNATURE,
];

/// As text it is the SDK's.
fn committee(dev: &DevLedger, epoch: u64) -> ValidatorCommittee {
    serde_json::from_str(&dev.committee(epoch).to_json()).unwrap()
}

async fn summary(client: &GrpcClient, number: u64) -> SignedCheckpointSummary {
    let checkpoint = client
        .checkpoint_by_sequence_number(number)
        .read_mask(FIELDS)
        .await
        .unwrap();
    checkpoint.into_inner().signed_summary().unwrap()
}

async fn last_checkpoint(client: &GrpcClient, epoch: u64) -> u64 {
    let fields = [EpochField::LAST_CHECKPOINT, EpochField::COMMITTEE];
    let epoch = client
        .epoch()
        .epoch_number(epoch)
        .read_mask(fields)
        .await
        .unwrap();
    epoch.into_inner().last_checkpoint.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_epoch_hands_over_to_a_committee_with_other_keys() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let client = GrpcClient::new(net.handle.grpc_url()).unwrap();
    for n in 1..=3 {
        let (_, digest) = net.pay(&net.operator.receive_address(n), IOTA).await;
        net.dev.end_epoch().unwrap();
        assert_eq!(net.dev.epoch(), n);
        net.final_evidence(&digest).await;
    }
    net.dev.make_checkpoint().unwrap();

    // Only the first committee is taken from anybody; the rest follows from what it signed.
    let mut chain = CommitteeChainVerifier::new(committee(&net.dev, 0)).unwrap();
    let mut known = vec![committee(&net.dev, 0)];
    for epoch in 0..3 {
        let last = summary(&client, last_checkpoint(&client, epoch).await).await;
        chain.verify_epoch_close(&last).unwrap();
        assert_eq!(*chain.committee(), committee(&net.dev, epoch + 1));
        known.push(chain.committee().clone());
    }
    let keys = |committee: &ValidatorCommittee| {
        let members = committee.members.iter();
        members.map(|member| member.public_key).collect::<Vec<_>>()
    };
    for (old, new) in known.iter().zip(known.iter().skip(1)) {
        assert!(!keys(old).iter().any(|key| keys(new).contains(key)));
    }

    let mut previous: Option<SignedCheckpointSummary> = None;
    let mut transactions = 0;
    for number in 0..=net.dev.newest_checkpoint() {
        let signed = summary(&client, number).await;
        let at = &signed.checkpoint;
        let epoch = usize::try_from(at.epoch).unwrap();
        let verifier = |epoch: usize| {
            ValidatorCommitteeSignatureVerifier::new(known.get(epoch).unwrap().clone()).unwrap()
        };
        verifier(epoch)
            .verify_checkpoint_summary(at, &signed.signature)
            .unwrap();
        let other = verifier((epoch + 1) % known.len());
        assert!(
            other
                .verify_checkpoint_summary(at, &signed.signature)
                .is_err(),
            "the committee of another epoch"
        );
        let before = previous.as_ref().map(|signed| &signed.checkpoint);
        assert_eq!(at.previous_digest, before.map(|before| before.digest()));
        let ended = before.is_some_and(|before| before.end_of_epoch_data.is_some());
        let epoch_before = before.map_or(0, |before| before.epoch);
        assert_eq!(at.epoch, epoch_before + u64::from(ended));
        transactions = at.network_total_transactions;
        previous = Some(signed);
    }
    assert_eq!(transactions, 2 + 3 + 3, "faucet, payments, ends of epochs");
    net.assert_conserved();
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_end_by_the_clock_and_are_the_same_after_a_restart() {
    development_ledger_only!();
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        epoch_length: Duration::from_millis(50),
        ..Options::default()
    };
    let dev = DevLedger::open_with(Some(dir.path()), options).unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], 0));
    let handle = serve_at(dev.clone(), at).await;
    let wait = async {
        while dev.epoch() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    handle.shutdown().await;
    let (epoch, newest) = (dev.epoch(), dev.newest_checkpoint());
    drop(dev);

    let dev = DevLedger::open(Some(dir.path())).unwrap();
    assert_eq!((dev.epoch(), dev.newest_checkpoint()), (epoch, newest));
    let handle = serve_at(dev.clone(), at).await;
    let client = GrpcClient::new(handle.grpc_url()).unwrap();
    let mut chain = CommitteeChainVerifier::new(committee(&dev, 0)).unwrap();
    for past in 0..epoch {
        let last = summary(&client, last_checkpoint(&client, past).await).await;
        chain.verify_epoch_close(&last).unwrap();
    }
    assert_eq!(*chain.committee(), committee(&dev, epoch));
}
