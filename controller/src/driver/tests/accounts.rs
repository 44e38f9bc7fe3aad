//! A prepaid account from its opening to the transfer back, on the embedded ledger and the journal on disk.

use payflow_payment::{
    Amount, SigningKey,
    account::Phase,
    ledger::{
        iota::{HostLedger, inspect},
        keys::Wallet,
    },
    voucher::{AccountNumber, Payee, Promise, check},
};
use serde_json::json;

use super::*;
use crate::{
    config::Enrolled,
    core::accounts::document::{AccountRequest, AccountView},
};

pub(super) const DEPOSIT: Amount = Amount(500_000_000);

pub(super) fn caller(wallet: &Wallet) -> Caller {
    Caller {
        key: Some(wallet.public_key()),
        ..Caller::default()
    }
}

pub(super) async fn ask(controller: &Controller, wallet: &Wallet, request: Request) -> AccountView {
    match controller.handle().request(caller(wallet), request).await {
        Ok(Answer::Account(view)) => *view,
        other => panic!("{other:?}"),
    }
}

/// Asks until it is as wanted.
pub(super) async fn until(
    controller: &Controller,
    wallet: &Wallet,
    request: impl Fn() -> Request,
    is_it: impl Fn(&AccountView) -> bool,
) -> AccountView {
    for _ in 0..400 {
        let view = ask(controller, wallet, request()).await;
        if is_it(&view) {
            return view;
        }
        time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is still {:?}", ask(controller, wallet, request()).await);
}

/// Coins from the faucet, as soon as they are there.
async fn fund(controller: &Controller, wallet: &Wallet, ledger: &HostLedger) {
    let faucet = controller.handle().addresses().faucet.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let asked = http
        .post(format!("http://{faucet}/v1/gas"))
        .json(&json!({ "FixedAmountRequest": { "recipient": wallet.address() } }));
    assert!(asked.send().await.unwrap().status().is_success());
    for _ in 0..400 {
        if ledger.balance(&wallet.address()).await.unwrap() > DEPOSIT {
            return;
        }
        time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the faucet has sent nothing");
}

#[tokio::test]
async fn an_account_is_paid_into_spent_kept_over_a_restart_and_returned() {
    let dir = tempfile::tempdir().unwrap();
    let wallet = Wallet::from_seed([61; 32]);
    let owner = SigningKey::from_seed([61; 32]);
    let home = Wallet::from_seed([62; 32]).address();
    let mut config = config(dir.path());
    config.enrolled = vec![Enrolled {
        key: wallet.public_key(),
        name: "host".to_owned(),
        addresses: None,
    }];
    let controller = run(config.clone()).await.unwrap();
    until_the_ledger_is_up(&controller).await;
    let handle = controller.handle();
    let url = format!("http://{}", handle.addresses().ledger.unwrap());
    let ledger = HostLedger::new(&url, handle.chain_id().clone()).unwrap();
    fund(&controller, &wallet, &ledger).await;

    let open = Request::OpenAccount {
        body: AccountRequest {
            refund_to: home.clone(),
        },
        idempotency: None,
    };
    let view = ask(&controller, &wallet, open).await;
    let document = view.account.document;
    let account = AccountNumber::from_account_id(&document.id).unwrap();
    let transaction = ledger
        .pay(&wallet, &document.pay_to, DEPOSIT)
        .await
        .unwrap();
    // Handed over again and again, it is one deposit.
    let deposit = || Request::Deposit {
        account,
        transaction: transaction.clone(),
        inspected: inspect(&transaction).unwrap(),
    };
    until(&controller, &wallet, deposit, |view| {
        view.deposited == DEPOSIT
    })
    .await;

    let payee = Payee {
        chain_id: handle.chain_id().clone(),
        operator: handle.operator_key(),
    };
    let voucher = |sequence| {
        let promise = Promise {
            payee: payee.clone(),
            account,
            sequence,
            amount: Amount(10 * sequence),
        };
        check(promise.sign(&owner).unwrap(), &payee).unwrap()
    };
    for sequence in 1..=20 {
        let request = Request::Vouchers(vec![voucher(sequence)]);
        let answer = handle.request(caller(&wallet), request).await;
        let Ok(Answer::Vouchers(each)) = answer else {
            panic!("{answer:?}")
        };
        assert!(each.iter().all(Result::is_ok), "{each:?}");
    }
    controller.shutdown().await.unwrap();

    let controller = run(config).await.unwrap();
    until_the_ledger_is_up(&controller).await;
    let show = || Request::GetAccount(account);
    let view = ask(&controller, &wallet, show()).await;
    assert_eq!(
        (view.sequence, view.promised, view.deposited),
        (20, Amount(200), DEPOSIT)
    );
    ask(&controller, &wallet, Request::CloseAccount(account)).await;
    let view = until(&controller, &wallet, show, |view| {
        let transfer = view.settlement.as_ref();
        transfer.is_some_and(|it| it.checkpoint.is_some())
    })
    .await;
    assert_eq!(view.status, Phase::Closed);
    let url = format!("http://{}", controller.handle().addresses().ledger.unwrap());
    let ledger = HostLedger::new(&url, controller.handle().chain_id().clone()).unwrap();
    let returned = ledger.balance(&home).await.unwrap();
    // It has bought nothing, so it pays the gas of its end.
    assert_eq!(returned.0, DEPOSIT.0 - document.closing_fee.0);
    assert_eq!(returned, view.statement.unwrap().document.returned);
    controller.shutdown().await.unwrap();
}
