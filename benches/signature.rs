//! Signatures and keys: what a payment and a quote cost before anything is decided.

use std::{hint::black_box, net::SocketAddr, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use payflow_controller::core::document::QuoteDocument;
use payflow_payment::{
    Amount, Signed, SignedTransaction,
    ledger::{
        Ledger as _,
        dev::{DEFAULT_CHECKPOINT_INTERVAL, DevLedger, serve},
        iota::{HostLedger, IotaLedger, inspect},
        keys::{Keyring, Wallet},
    },
};
use tokio::time::sleep;

#[allow(dead_code)]
mod desk;
use desk::Desk;

const IOTA: u64 = 1_000_000_000;

/// A payment that a wallet has built and signed with the unmodified client, against the development ledger.
async fn signed_payment() -> SignedTransaction {
    let dev = DevLedger::open(None).expect("a ledger in memory");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let handle = serve(dev.clone(), any, any, DEFAULT_CHECKPOINT_INTERVAL)
        .await
        .expect("a free port");
    let (wallet, payee) = (
        Wallet::from_seed([2; 32]),
        Wallet::from_seed([3; 32]).address(),
    );
    dev.fund(&wallet.address(), Amount(10 * IOTA))
        .expect("coins");
    let host = HostLedger::new(&handle.grpc_url(), dev.chain_id()).expect("an endpoint");
    while host.balance(&wallet.address()).await != Ok(Amount(10 * IOTA)) {
        sleep(Duration::from_millis(10)).await;
    }
    let payment = host.pay(&wallet, &payee, Amount(IOTA)).await;
    handle.shutdown().await;
    payment.expect("a funded wallet")
}

fn signature(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads");
    let mut group = criterion.benchmark_group("signature");
    group.throughput(Throughput::Elements(1));

    let payment = runtime.block_on(signed_payment());
    assert_eq!(
        inspect(&payment).expect("a plain payment").transfers[0].amount,
        Amount(IOTA)
    );
    group.bench_function("inspect_payment", |bencher| {
        bencher.iter(|| inspect(black_box(&payment)));
    });

    let mut desk = Desk::open(Vec::new());
    let (caller, body) = desk.next_request();
    let document = desk.quote(caller, body).document;
    let keyring = Arc::new(Keyring::from_seed([1; 32]));
    let key = keyring.document_key();
    group.bench_function("sign_quote", |bencher| {
        bencher.iter(|| {
            Signed::sign(
                black_box(&key),
                QuoteDocument::DOMAIN,
                black_box(document.clone()),
            )
        });
    });
    let signed = Signed::sign(&key, QuoteDocument::DOMAIN, document).expect("integers only");
    let pinned = key.public_key();
    group.bench_function("verify_quote", |bencher| {
        bencher.iter(|| {
            black_box(&signed)
                .verify(QuoteDocument::DOMAIN, &pinned)
                .is_ok()
        });
    });

    let inside = runtime.enter();
    let ledger = IotaLedger::new("http://127.0.0.1:1", desk::CHAIN.into(), keyring);
    drop(inside);
    let ledger = ledger.expect("connects when first asked");
    let mut index = 0;
    group.bench_function("receive_address", |bencher| {
        bencher.iter(|| {
            index += 1;
            ledger.receive_address(black_box(index))
        });
    });
    group.finish();
}

criterion_group!(benches, signature);
criterion_main!(benches);
