//! The whole controller, with the embedded ledger, in a data directory of its own.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, path::PathBuf};

use payflow_payment::ledger::{iota::IotaLedger, keys};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

mod accounts;
mod spent_elsewhere;

use super::*;
use crate::{
    config::{DataDir, LedgerConfig},
    core::{
        io::{Caller, Request},
        problem::ProblemKind,
        reply::{Answer, Readiness},
    },
};

fn config(dir: &Path) -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config {
        data_dir: DataDir(dir.join("data")),
        ..Config::default()
    };
    config.openflow.listen = vec![Listener::tcp(any)];
    config.ledger = LedgerConfig::Embedded {
        grpc: any,
        faucet: any,
    };
    config.ovsdb.endpoints = vec![crate::config::OvsdbEndpoint::Unix(PathBuf::from(
        "/nonexistent",
    ))];
    config
}

async fn readiness(controller: &Controller) -> Readiness {
    match controller
        .handle()
        .request(Caller::default(), Request::Readiness)
        .await
    {
        Ok(Answer::Readiness(readiness)) => readiness,
        other => panic!("{other:?}"),
    }
}

async fn until_the_ledger_is_up(controller: &Controller) -> Readiness {
    for _ in 0..200 {
        let readiness = readiness(controller).await;
        if readiness.ledger && readiness.treasury {
            return readiness;
        }
        time::sleep(Duration::from_millis(50)).await;
    }
    panic!(
        "the ledger did not come up: {:?}",
        readiness(controller).await
    );
}

#[tokio::test]
async fn it_starts_with_an_embedded_ledger_a_filled_treasury_and_room_for_switches() {
    let dir = tempfile::tempdir().unwrap();
    let controller = run(config(dir.path())).await.unwrap();
    until_the_ledger_is_up(&controller).await;
    let addresses = controller.handle().addresses().clone();
    let url = format!("http://{}", addresses.ledger.unwrap());
    assert_eq!(
        IotaLedger::discover_chain_id(&url).await.unwrap(),
        *controller.handle().chain_id()
    );
    let mut switch = TcpStream::connect(addresses.openflow[0]).await.unwrap();
    switch.write_all(&[4, 0, 0, 8, 0, 0, 0, 1]).await.unwrap(); // OFPT_HELLO, version 1.3
    let mut hello = [0; 2];
    switch.read_exact(&mut hello).await.unwrap();
    assert_eq!(hello, [4, 0]);
    let handle = controller.handle().clone();
    controller.shutdown().await.unwrap();
    assert!(TcpStream::connect(addresses.openflow[0]).await.is_err());
    let refused = handle
        .request(Caller::default(), Request::Readiness)
        .await
        .unwrap_err();
    assert_eq!(refused.kind, ProblemKind::NotReady);
    assert!(matches!(
        handle.changes().recv().await,
        Err(broadcast::error::RecvError::Closed)
    ));
}

#[tokio::test]
async fn a_restart_keeps_chain_keys_and_treasury() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let controller = run(config(dir.path())).await.unwrap();
        until_the_ledger_is_up(&controller).await;
        let handle = controller.handle();
        let treasury = handle.ledger().treasury_address();
        let balance = handle.ledger().balance(&treasury).await.unwrap();
        seen.push((
            handle.chain_id().clone(),
            handle.operator_key(),
            treasury,
            balance,
        ));
        controller.shutdown().await.unwrap();
    }
    assert_eq!(seen.first(), seen.last());
}

#[tokio::test]
async fn a_second_controller_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let controller = run(config(dir.path())).await.unwrap();
    let error = run(config(dir.path())).await.unwrap_err();
    assert!(
        matches!(error, StartError::Store(StoreError::Locked { .. })),
        "{error}"
    );
    controller.shutdown().await.unwrap();
    run(config(dir.path()))
        .await
        .unwrap()
        .shutdown()
        .await
        .unwrap();
}

#[tokio::test]
async fn an_operators_key_under_a_passphrase_starts_with_it_alone_and_is_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let words = |text: &str| Some(Passphrase::new(text).unwrap());
    let mut config = config(dir.path());
    config.operator_passphrase = words("one");
    let controller = run(config.clone()).await.unwrap();
    let key = controller.handle().operator_key();
    controller.shutdown().await.unwrap();
    let file = config.data_dir.0.join(OPERATOR_KEY);
    assert!(keys::is_protected(&file).unwrap());

    for (passphrase, wrong) in [(None, "none was given"), (words("two"), "is wrong")] {
        config.operator_passphrase = passphrase;
        let error = run(config.clone()).await.unwrap_err().to_string();
        assert!(
            error.contains(wrong) && error.contains("operator.key"),
            "{error}"
        );
    }
    config.operator_passphrase = words("one");
    let controller = run(config.clone()).await.unwrap();
    assert_eq!(controller.handle().operator_key(), key);
    controller.shutdown().await.unwrap();

    // Off again: no passphrase is needed any more.
    keys::protect(&file, words("one").as_ref(), None).unwrap();
    config.operator_passphrase = None;
    let controller = run(config).await.unwrap();
    assert_eq!(controller.handle().operator_key(), key);
    controller.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_data_directory_belongs_to_one_chain_and_one_key() {
    let dir = tempfile::tempdir().unwrap();
    run(config(dir.path()))
        .await
        .unwrap()
        .shutdown()
        .await
        .unwrap();
    let data = dir.path().join("data");
    std::fs::rename(data.join("ledger"), data.join("ledger.old")).unwrap();
    let error = run(config(dir.path())).await.unwrap_err();
    assert!(
        matches!(error, StartError::Changed { what: "chain", .. }),
        "{error}"
    );
    std::fs::remove_dir_all(data.join("ledger")).unwrap();
    std::fs::rename(data.join("ledger.old"), data.join("ledger")).unwrap();
    std::fs::remove_file(data.join("operator.key")).unwrap();
    let error = run(config(dir.path())).await.unwrap_err();
    let lost = matches!(
        error,
        StartError::Changed {
            what: "operator key",
            ..
        } | StartError::KeysMissing { .. }
    );
    assert!(lost, "{error}");
}

#[tokio::test]
async fn a_first_start_without_its_ledger_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let chain_id = ChainId::new("1".repeat(32)); // base58 of 32 zero bytes
    config.ledger = LedgerConfig::Remote {
        url: "http://127.0.0.1:1".to_owned(),
        chain_id,
        committee: None,
    };
    let error = run(config).await.unwrap_err();
    assert!(
        matches!(&error, StartError::Ledger { reason } if reason.contains("first start")),
        "{error}"
    );
}

#[tokio::test]
async fn a_ledger_elsewhere_is_verified_from_the_committee_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let development = dev::DevLedger::open(None).unwrap();
    let interval = Duration::from_millis(20);
    let serving = dev::serve(development.clone(), any, any, interval).await;
    let serving = serving.unwrap();
    let file = dir.path().join("committee.json");
    let mut config = config(dir.path());
    config.ledger = LedgerConfig::Remote {
        url: serving.grpc_url(),
        chain_id: development.chain_id(),
        committee: Some(file.clone()),
    };
    for text in [None, Some("{}")] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let error = run(config.clone()).await.unwrap_err().to_string();
        assert!(
            error.contains("ledger.committee") && error.contains("committee.json"),
            "{error}"
        );
        assert!(
            check_files(&config)
                .iter()
                .any(|it| it.key == "ledger.committee" && it.message.contains("committee.json")),
            "check-config says so too"
        );
    }
    std::fs::write(&file, development.committee(0).to_json()).unwrap();
    assert_eq!(check_files(&config), []);
    let controller = run(config).await.unwrap();
    while !readiness(&controller).await.ledger {
        time::sleep(Duration::from_millis(20)).await;
    }
    // What nobody who is trusted has signed is no ledger to sell on.
    development.set_faults(dev::Faults {
        lie: Some(dev::Lie::Signature),
        ..dev::Faults::default()
    });
    development.make_checkpoint().unwrap();
    while readiness(&controller).await.ledger {
        time::sleep(Duration::from_millis(20)).await;
    }
    development.set_faults(dev::Faults::default());
    while !readiness(&controller).await.ledger {
        time::sleep(Duration::from_millis(20)).await;
    }
    // The committee that an epoch appoints is kept beside the journal.
    development.end_epoch().unwrap();
    let kept = dir.path().join("data").join("committees.json");
    while !std::fs::read_to_string(&kept).is_ok_and(|text| text.contains("\"epoch\": \"1\"")) {
        time::sleep(Duration::from_millis(20)).await;
    }
    controller.shutdown().await.unwrap();
    serving.shutdown().await;
}

#[tokio::test]
async fn an_address_in_use_is_told_with_the_key_to_change() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(dir.path());
    config.openflow.listen = vec![Listener::tcp(taken.local_addr().unwrap())];
    let error = run(config.clone()).await.unwrap_err();
    assert!(error.to_string().contains("openflow.listen"), "{error}");
    // Nothing was left running: the directory is free again.
    config.openflow.listen[0].address.set_port(0);
    run(config).await.unwrap().shutdown().await.unwrap();
}
