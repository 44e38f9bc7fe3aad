//! What the ledger takes and what it refuses, and what the controller reads in a transaction before submitting it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{COMPUTATION, IOTA, Net, development_ledger_only};
use futures::StreamExt as _;
use iota_sdk_crypto::IotaSigner as _;
use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use iota_sdk_crypto::validator::ValidatorCommitteeSignatureVerifier;
use iota_sdk_grpc_client::GrpcClient;
use iota_sdk_grpc_client::read_mask_fields::{CheckpointResponseField, EpochField};
use iota_sdk_grpc_types::v1::filter::{AddressFilter, TransactionFilter};
use iota_sdk_transaction_builder::TransactionBuilder;
use iota_sdk_types as iota;
use payflow_payment::ledger::dev::{BANNER, Faults};
use payflow_payment::ledger::{InspectError, Ledger as _, Lookup, Submission};
use payflow_payment::{Amount, SignedTransaction, TxDigest};

/// The host's key, for what its wallet refuses to build.
fn key() -> Ed25519PrivateKey {
    Ed25519PrivateKey::new([2; 32])
}

fn sender() -> iota::Address {
    key().public_key().derive_address()
}

fn sign(transaction: &iota::Transaction, keys: &[&Ed25519PrivateKey]) -> SignedTransaction {
    let signed = iota::SignedTransaction {
        transaction: transaction.clone(),
        signatures: keys
            .iter()
            .map(|key| key.sign_transaction(transaction).unwrap())
            .collect(),
    };
    SignedTransaction::from_bytes(bcs::to_bytes(&signed).unwrap()).unwrap()
}

fn raw(gas: iota::ObjectReference, to: &payflow_payment::Address, nanos: u64) -> iota::Transaction {
    let to: iota::Address = to.as_str().parse().unwrap();
    let mut builder = TransactionBuilder::new(sender());
    builder
        .send_iota(to, nanos)
        .gas([gas])
        .gas_budget(10_000_000)
        .gas_price(1_000);
    builder.finish().unwrap()
}

async fn coin(net: &Net, owner: iota::Address) -> iota::ObjectReference {
    let client = GrpcClient::new(net.handle.grpc_url()).unwrap();
    let coins = client.coins(owner).await.unwrap().into_inner().items;
    let object = client
        .objects([*coins.first().unwrap().id()])
        .await
        .unwrap()
        .into_inner()
        .remove(0);
    object.unwrap().object_reference().unwrap()
}

fn rejected(submission: &Submission, why: &str) {
    match submission {
        Submission::Rejected { reason } => assert!(reason.contains(why), "{reason}"),
        other => panic!("{other:?}, expected {why}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coin_is_spent_once() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let to = net.operator.receive_address(0);
    let gas = coin(&net, sender()).await;
    let first = sign(&raw(gas, &to, 1), &[&key()]);
    assert_eq!(net.operator.submit(&first).await, Submission::Accepted);
    assert_eq!(
        net.operator.submit(&first).await,
        Submission::Accepted,
        "the same is not a second"
    );
    let second = sign(&raw(gas, &to, 2), &[&key()]);
    rejected(
        &net.operator.submit(&second).await,
        "not available for consumption",
    );
    assert_eq!(net.dev.balance_of(&to), Amount(1));
    let digest = net.operator.inspect(&second).unwrap().digest;
    assert_eq!(net.operator.lookup(&digest).await, Lookup::NotFound);
    net.assert_conserved();
}

/// Equivocation: validators that have signed different transactions over one version of a coin never agree on either.
#[tokio::test(flavor = "multi_thread")]
async fn signing_twice_over_one_coin_locks_it_until_the_epoch_ends() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let to = net.operator.receive_address(0);
    let gas = coin(&net, sender()).await;
    let [first, second, third] = [1, 2, 3].map(|nanos| sign(&raw(gas, &to, nanos), &[&key()]));
    let hold_votes = |hold_votes| Faults {
        hold_votes,
        ..Faults::default()
    };
    net.dev.set_faults(hold_votes(true));
    for _ in 0..2 {
        let answer = net.operator.submit(&first).await;
        assert!(matches!(answer, Submission::Unknown { .. }), "{answer:?}");
    }
    rejected(
        &net.operator.submit(&second).await,
        "locked until the epoch ends",
    );
    net.dev.set_faults(hold_votes(false));
    net.dev.make_checkpoint().unwrap();
    for transaction in [&first, &second, &third] {
        rejected(
            &net.operator.submit(transaction).await,
            "locked until the epoch ends",
        );
        let digest = net.operator.inspect(transaction).unwrap().digest;
        assert_eq!(net.operator.lookup(&digest).await, Lookup::NotFound);
    }
    assert_eq!(coin(&net, sender()).await, gas, "nothing was spent");

    net.dev.end_epoch().unwrap();
    assert_eq!(net.operator.submit(&second).await, Submission::Accepted);
    rejected(&net.operator.submit(&first).await, "not available");
    assert_eq!(net.dev.balance_of(&to), Amount(2));
    net.assert_conserved();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_validators_decide_late_is_done_without_being_sent_again() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let to = net.operator.receive_address(0);
    net.dev.set_faults(Faults {
        hold_votes: true,
        ..Faults::default()
    });
    let signed = net.host.pay(&net.wallet, &to, Amount(5)).await.unwrap();
    let answer = net.operator.submit(&signed).await;
    assert!(matches!(answer, Submission::Unknown { .. }), "{answer:?}");
    let digest = net.operator.inspect(&signed).unwrap().digest;
    assert_eq!(net.operator.lookup(&digest).await, Lookup::NotFound);
    net.dev.set_faults(Faults::default());
    assert!(net.final_evidence(&digest).await.succeeded);
    assert_eq!(net.dev.balance_of(&to), Amount(5));
}

/// The figures of IOTA's own fixtures and of its client's estimates, in nanos.
#[tokio::test(flavor = "multi_thread")]
async fn gas_is_what_the_real_network_takes() {
    development_ledger_only!();
    const PRICE: u64 = 1_000;
    let net = Net::funded(None).await;
    let client = GrpcClient::new(net.handle.grpc_url()).unwrap();
    let price = client.reference_gas_price().await.unwrap().into_inner();
    assert_eq!(price, PRICE);
    let to = net.operator.receive_address(0);
    let gas = coin(&net, sender()).await;
    let offer = async |price: u64, budget: u64| {
        let mut transaction = raw(gas, &to, 1);
        let iota::Transaction::V1(v1) = &mut transaction else {
            panic!("a version that is not known");
        };
        v1.gas_payment.price = price;
        v1.gas_payment.budget = budget;
        net.operator.submit(&sign(&transaction, &[&key()])).await
    };
    rejected(&offer(PRICE - 1, 10_000_000).await, "reference gas price");
    rejected(&offer(PRICE, 999_999).await, "gas budget");
    rejected(&offer(PRICE, 50 * IOTA + 1).await, "gas budget");
    rejected(&offer(PRICE, 20 * IOTA + 1).await, "gas balance");

    // One coin pays: its deposit comes back and is made again, and the new coin's is added.
    let (_, digest) = net.pay(&to, 1_500_000).await;
    net.final_evidence(&digest).await;
    let cost = net.operator.gas_of(&digest).await.unwrap().unwrap();
    assert_eq!(cost.computation, Amount(1_000_000));
    assert_eq!(cost.storage, Amount(2 * 980_400));
    assert_eq!(cost.storage_rebate, Amount(980_400));
    assert_eq!(cost.net(), 1_980_400);

    // Two coins pay: they are made one, so that as many are there after as before.
    net.fund(&net.wallet.address(), IOTA).await;
    let (signed, digest) = net.pay(&to, 1_500_000).await;
    let budget = net.operator.inspect(&signed).unwrap().gas_budget;
    assert_eq!(budget, Amount(2_960_800), "what the client asks for");
    net.final_evidence(&digest).await;
    let cost = net.operator.gas_of(&digest).await.unwrap().unwrap();
    assert_eq!(cost.net(), 1_000_000);
    net.assert_conserved();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_take_it_for_a_real_network() {
    development_ledger_only!();
    let net = Net::start(None).await;
    let other = Net::start(None).await;
    let client = GrpcClient::new(net.handle.grpc_url()).unwrap();
    let info = client.service_info().await.unwrap().into_inner();
    assert_eq!(info.chain.as_deref(), Some("payflow-devnet"));
    assert!(info.server.unwrap().starts_with("payflow-devledger/"));
    let chain_id: iota::Digest = (&info.chain_id.unwrap()).try_into().unwrap();
    assert_eq!(chain_id.to_string(), net.dev.chain_id().as_str());
    assert_ne!(net.dev.chain_id(), other.dev.chain_id(), "each its own");
    assert!(BANNER.contains("DEVELOPMENT") && BANNER.contains("worth nothing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_and_costs_nothing() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let to = net.operator.receive_address(0);
    let before = net.dev.balance_of(&net.wallet.address());
    let gas = coin(&net, sender()).await;
    let good = raw(gas, &to, 1);

    let stranger = Ed25519PrivateKey::new([3; 32]);
    let wrong_signer = sign(&good, &[&stranger]);
    rejected(&net.operator.submit(&wrong_signer).await, "is absent");
    let inspected = net.operator.inspect(&wrong_signer);
    assert!(
        matches!(inspected, Err(InspectError::WrongSigners { .. })),
        "{inspected:?}"
    );

    let unsigned = sign(&good, &[]);
    rejected(
        &net.operator.submit(&unsigned).await,
        "expected 1 signatures, got 0",
    );
    assert!(matches!(
        net.operator.inspect(&unsigned),
        Err(InspectError::WrongSigners { .. })
    ));

    let another = raw(gas, &to, 2);
    let swapped = iota::SignedTransaction {
        transaction: another,
        signatures: vec![key().sign_transaction(&good).unwrap()],
    };
    let swapped = SignedTransaction::from_bytes(bcs::to_bytes(&swapped).unwrap()).unwrap();
    rejected(
        &net.operator.submit(&swapped).await,
        "invalid user signature",
    );
    assert!(matches!(
        net.operator.inspect(&swapped),
        Err(InspectError::BadSignature(_))
    ));

    let mut stale = gas;
    stale.version = iota::Version::from_u64(99);
    rejected(
        &net.operator
            .submit(&sign(&raw(stale, &to, 1), &[&key()]))
            .await,
        "version 99 is not available",
    );

    let theirs = coin(
        &net,
        net.operator.treasury_address().as_str().parse().unwrap(),
    )
    .await;
    rejected(
        &net.operator
            .submit(&sign(&raw(theirs, &to, 1), &[&key()]))
            .await,
        "is not owned by",
    );

    let garbage = SignedTransaction::from_bytes(vec![7; 40]).unwrap();
    assert!(matches!(
        net.operator.submit(&garbage).await,
        Submission::Rejected { .. }
    ));
    assert!(matches!(
        net.operator.inspect(&garbage),
        Err(InspectError::Malformed(_))
    ));
    assert_eq!(net.dev.balance_of(&net.wallet.address()), before);
    assert_eq!(
        net.operator.lookup(&TxDigest::new("not a digest")).await,
        Lookup::NotFound
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_taken_in_its_last_epoch_and_never_after() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    net.dev.end_epoch().unwrap();
    let to = net.operator.receive_address(0);
    let expiring = async |epoch| {
        let mut transaction = raw(coin(&net, sender()).await, &to, 1);
        let iota::Transaction::V1(v1) = &mut transaction else {
            panic!("a version that is not known");
        };
        v1.expiration = iota::TransactionExpiration::Epoch(epoch);
        net.operator.submit(&sign(&transaction, &[&key()])).await
    };
    rejected(&expiring(0).await, "expired");
    assert_eq!(expiring(1).await, Submission::Accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_beyond_ones_means_is_on_the_ledger_and_pays_only_gas() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let to = net.operator.receive_address(0);
    let before = net.dev.balance_of(&net.wallet.address());
    let signed = sign(&raw(coin(&net, sender()).await, &to, 999 * IOTA), &[&key()]);
    let digest = net.operator.inspect(&signed).unwrap().digest;
    assert_eq!(net.operator.submit(&signed).await, Submission::Accepted);
    let evidence = net.final_evidence(&digest).await;
    assert!(!evidence.succeeded);
    assert_eq!(evidence.credits, []);
    assert_eq!(
        before.0 - net.dev.balance_of(&net.wallet.address()).0,
        COMPUTATION
    );
    assert_eq!(
        net.operator.gas_of(&digest).await.unwrap().unwrap().net(),
        i128::from(COMPUTATION)
    );
    net.assert_conserved();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sponsored_payment_needs_both_signatures() {
    development_ledger_only!();
    let net = Net::start(None).await;
    let sponsor = Ed25519PrivateKey::new([4; 32]);
    let sponsor_address = sponsor.public_key().derive_address();
    net.fund(&net.wallet.address(), 1_500_000).await;
    net.fund(&sponsor_address.to_string().into(), IOTA).await;
    let to = net.operator.receive_address(0);
    let client = GrpcClient::new(net.handle.grpc_url()).unwrap();
    let mut builder = TransactionBuilder::new(sender()).with_client(&client);
    builder.sponsor(sponsor_address);
    let payment = coin(&net, sender()).await.object_id;
    builder.send_coins([payment], to.as_str().parse().unwrap(), 1_500_000u64);
    let transaction = builder.finish().await.unwrap();

    rejected(
        &net.operator.submit(&sign(&transaction, &[&key()])).await,
        "expected 2 signatures, got 1",
    );
    rejected(
        &net.operator
            .submit(&sign(&transaction, &[&key(), &key()]))
            .await,
        "is absent",
    );
    let both = sign(&transaction, &[&key(), &sponsor]);
    let inspected = net.operator.inspect(&both);
    assert!(
        matches!(inspected, Err(InspectError::NotAPlainPayment(_))),
        "{inspected:?}"
    );
    assert_eq!(net.operator.submit(&both).await, Submission::Accepted);
    assert_eq!(net.dev.balance_of(&to), Amount(1_500_000));
    assert_eq!(net.dev.balance_of(&net.wallet.address()), Amount::ZERO);
    net.assert_conserved();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_provable_payments_pass_inspection() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let to: iota::Address = net.operator.receive_address(0).as_str().parse().unwrap();
    let gas = coin(&net, sender()).await;
    let build = |fill: &dyn Fn(&mut TransactionBuilder)| {
        let mut builder = TransactionBuilder::new(sender());
        fill(&mut builder);
        builder.gas([gas]).gas_budget(10_000_000).gas_price(1_000);
        net.operator
            .inspect(&sign(&builder.finish().unwrap(), &[&key()]))
    };
    let sent = build(&|b| {
        b.send_iota(to, 5u64).send_iota(to, 7u64);
    });
    let transfers = sent.unwrap().transfers;
    assert_eq!(
        transfers.iter().map(|t| t.amount.0).collect::<Vec<_>>(),
        [12]
    );
    let unknown_coin = iota::ObjectReference {
        object_id: iota::ObjectId::new([5; 32]),
        ..gas
    };
    let object = build(&|b| {
        b.transfer_objects(to, [unknown_coin]);
    });
    assert!(
        matches!(object, Err(InspectError::NotAPlainPayment(_))),
        "{object:?}"
    );
    let coins = build(&|b| {
        b.send_coins([unknown_coin], to, 5u64);
    });
    assert!(
        matches!(coins, Err(InspectError::NotAPlainPayment(_))),
        "{coins:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cut_of_a_transaction_is_malformed() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let signed = sign(
        &raw(
            coin(&net, sender()).await,
            &net.operator.receive_address(0),
            1,
        ),
        &[&key()],
    );
    for n in 0..signed.as_bytes().len() {
        let cut =
            SignedTransaction::from_bytes(signed.as_bytes().get(..n).unwrap().to_vec()).unwrap();
        assert!(
            matches!(net.operator.inspect(&cut), Err(InspectError::Malformed(_))),
            "{n} bytes"
        );
    }
    let longer = [signed.as_bytes(), &[0]].concat();
    assert!(
        net.operator
            .inspect(&SignedTransaction::from_bytes(longer).unwrap())
            .is_err()
    );
}

/// Checked by the client's own verifier: the chain of digests and the validator's signature.
#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_chained_and_signed() {
    development_ledger_only!();
    let net = Net::funded(None).await;
    let to = net.operator.receive_address(0);
    let (_, digest) = net.pay(&to, IOTA).await;
    let number = net.final_evidence(&digest).await.checkpoint.unwrap();
    let client = GrpcClient::new(net.handle.grpc_url()).unwrap();
    let epoch = client
        .epoch()
        .read_mask(EpochField::COMMITTEE)
        .await
        .unwrap()
        .into_inner();
    let committee = (&epoch.committee.unwrap()).try_into().unwrap();
    let verifier = ValidatorCommitteeSignatureVerifier::new(committee).unwrap();
    let fields = [
        CheckpointResponseField::CHECKPOINT_SUMMARY,
        CheckpointResponseField::CHECKPOINT_SIGNATURE,
        CheckpointResponseField::TRANSACTIONS,
    ];
    let receiver =
        AddressFilter::default().with_address(iota_sdk_grpc_types::v1::types::Address::from(
            to.as_str().parse::<iota::Address>().unwrap(),
        ));
    let mut filtered = client
        .checkpoints_stream_filtered()
        .start_sequence_number(0)
        .transactions_filter(TransactionFilter::default().with_receiver(receiver))
        .read_mask(fields.clone())
        .await
        .unwrap()
        .into_inner();
    let found = loop {
        if let Some(checkpoint) = filtered.next().await.unwrap().unwrap().into_checkpoint() {
            break checkpoint;
        }
    };
    assert_eq!(found.sequence_number(), number);
    assert_eq!(found.executed_transactions().len(), 1);

    let mut previous = None;
    for n in 0..=number {
        let checkpoint = client
            .checkpoint_by_sequence_number(n)
            .read_mask(fields.clone())
            .await
            .unwrap()
            .into_inner();
        let signed = checkpoint.signed_summary().unwrap();
        verifier
            .verify_checkpoint_summary(&signed.checkpoint, &signed.signature)
            .unwrap();
        assert_eq!(signed.checkpoint.previous_digest, previous);
        previous = Some(signed.checkpoint.digest());
    }
    let genesis = client
        .checkpoint_by_sequence_number(0)
        .read_mask(fields.clone())
        .await
        .unwrap()
        .into_inner();
    let genesis = genesis.signed_summary().unwrap().checkpoint.digest();
    assert_eq!(genesis.to_string(), net.dev.chain_id().as_str());
}
