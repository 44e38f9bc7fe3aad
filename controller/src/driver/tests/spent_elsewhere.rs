//! Somebody else has the operator's seed, and spends what a signed transfer wants while the controller is down.

use std::{os::unix::fs::DirBuilderExt as _, sync::Arc};

use payflow_payment::{
    Amount,
    ledger::{
        Ledger as _, Lookup, PayoutOrder, PayoutSource, Submission,
        dev::{DevLedger, Faults, serve},
        iota::{HostLedger, IotaLedger, inspect},
        keys::{Keyring, Wallet},
    },
};

use super::{
    accounts::{DEPOSIT, ask, caller, until},
    *,
};
use crate::{
    config::Enrolled,
    core::accounts::{self, document::AccountRequest},
};
use payflow_payment::voucher::AccountNumber;

const IOTA: u64 = 1_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_can_never_execute_is_made_again_from_other_coins_and_pays_once() {
    let dir = tempfile::tempdir().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let dev = DevLedger::open(None).unwrap();
    let server = serve(dev.clone(), any, any, Duration::from_millis(20))
        .await
        .unwrap();
    let (url, chain_id) = (server.grpc_url(), dev.chain_id());
    let committee = dir.path().join("committee.json");
    std::fs::write(&committee, dev.committee(0).to_json()).unwrap();

    let host = Wallet::from_seed([71; 32]);
    let home = Wallet::from_seed([72; 32]).address();
    let thief = Wallet::from_seed([73; 32]).address();
    let mut config = config(dir.path());
    config.ledger = LedgerConfig::Remote {
        url: url.clone(),
        chain_id: chain_id.clone(),
        committee: Some(committee),
    };
    config.enrolled = vec![Enrolled {
        key: host.public_key(),
        name: "host".to_owned(),
        addresses: None,
    }];
    let mut private = std::fs::DirBuilder::new();
    private.mode(0o700).create(&config.data_dir.0).unwrap();
    let keys = Keyring::create(&config.data_dir.0.join("operator.key"), None).unwrap();
    let twin = IotaLedger::new(&url, chain_id.clone(), Arc::new(keys)).unwrap();
    let fund = |address, nanos| dev.fund(&address, Amount(nanos)).map(drop).unwrap();
    fund(twin.treasury_address(), 10 * IOTA);
    fund(host.address(), 10 * IOTA);
    dev.make_checkpoint().unwrap();

    let controller = run(config.clone()).await.unwrap();
    until_the_ledger_is_up(&controller).await;
    let open = Request::OpenAccount {
        body: AccountRequest {
            refund_to: home.clone(),
        },
        idempotency: None,
    };
    let document = ask(&controller, &host, open).await.account.document;
    let account = AccountNumber::from_account_id(&document.id).unwrap();
    let ledger = HostLedger::new(&url, chain_id).unwrap();
    let transaction = ledger.pay(&host, &document.pay_to, DEPOSIT).await.unwrap();
    let deposit = || Request::Deposit {
        account,
        transaction: transaction.clone(),
        inspected: inspect(&transaction).unwrap(),
    };
    until(&controller, &host, deposit, |view| {
        view.deposited == DEPOSIT
    })
    .await;

    // The validators decide on nothing any more: what is signed now does not execute before the epoch has ended.
    dev.set_faults(Faults {
        hold_votes: true,
        ..Faults::default()
    });
    ask(&controller, &host, Request::CloseAccount(account)).await;
    let show = || Request::GetAccount(account);
    let view = until(&controller, &host, show, |view| {
        let transfer = view.settlement.as_ref();
        transfer.is_some_and(|it| it.digest.is_some())
    })
    .await;
    let signed = view.settlement.unwrap().digest.unwrap();
    controller.shutdown().await.unwrap();
    dev.end_epoch().unwrap();
    dev.set_faults(Faults::default());
    assert_eq!(twin.lookup(&signed).await, Lookup::NotFound);

    // The deposit goes elsewhere, and the treasury's coin has paid the gas.
    let order = PayoutOrder {
        from: PayoutSource::Receive(accounts::receive_index(account)),
        payouts: Vec::new(),
        remainder_to: thief.clone(),
        memo: None,
    };
    let theft = twin.build_payout(&order).await.unwrap();
    assert_eq!(
        twin.submit(&theft.transaction).await,
        Submission::Accepted,
        "the coins are free again"
    );

    let controller = run(config).await.unwrap();
    until_the_ledger_is_up(&controller).await;
    let view = until(&controller, &host, show, |view| {
        let transfer = view.settlement.as_ref();
        transfer.is_some_and(|it| it.checkpoint.is_some())
    })
    .await;
    let settlement = view.settlement.unwrap();
    assert_eq!(settlement.given_up, std::slice::from_ref(&signed));
    assert_ne!(settlement.digest, Some(signed.clone()));
    let returned = view.statement.unwrap().document.returned;
    assert_eq!(twin.balance(&home).await.unwrap(), returned, "once");
    assert_eq!(twin.balance(&thief).await.unwrap(), DEPOSIT);
    assert_eq!(twin.lookup(&signed).await, Lookup::NotFound);
    let answer = controller.handle().request(
        Caller {
            operator: true,
            ..caller(&host)
        },
        Request::Books,
    );
    match answer.await {
        Ok(Answer::Books(books)) => assert_eq!(books.payouts_open, 0),
        other => panic!("{other:?}"),
    }
    controller.shutdown().await.unwrap();
}
