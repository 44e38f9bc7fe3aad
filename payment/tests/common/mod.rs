//! A development ledger on loopback, an operator and a host; or, in [`anywhere`], whatever ledger somebody names.
#![allow(dead_code, unused_imports, unused_macros, clippy::unwrap_used)]

mod anywhere;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use payflow_payment::ledger::dev::{DevLedger, Handle, serve};
use payflow_payment::ledger::iota::{HostLedger, IotaLedger};
use payflow_payment::ledger::keys::{Keyring, Wallet};
use payflow_payment::ledger::{FollowEvent, Followed, Ledger as _, Lookup, Submission, Unproven};
use payflow_payment::{Address, Amount, Evidence, SignedTransaction, TxDigest};
use tokio::sync::watch;

pub(crate) use self::anywhere::{Anywhere, named_ledger, random_wallet};

/// Long enough for a loaded machine, short enough to notice a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Storage deposit of one coin, and computation of one transaction, in nanos.
pub(crate) const DEPOSIT: u64 = 980_400;
pub(crate) const COMPUTATION: u64 = 1_000_000;

pub(crate) const IOTA: u64 = 1_000_000_000;

pub(crate) struct Net {
    pub(crate) dev: Arc<DevLedger>,
    pub(crate) handle: Handle,
    pub(crate) operator: IotaLedger,
    pub(crate) host: HostLedger,
    pub(crate) wallet: Wallet,
}

pub(crate) async fn serve_at(dev: Arc<DevLedger>, grpc: SocketAddr) -> Handle {
    let faucet = SocketAddr::from(([127, 0, 0, 1], 0));
    serve(dev, grpc, faucet, Duration::from_millis(20))
        .await
        .unwrap()
}

impl Net {
    pub(crate) async fn start(directory: Option<&Path>) -> Self {
        let dev = DevLedger::open(directory).unwrap();
        let handle = serve_at(dev.clone(), SocketAddr::from(([127, 0, 0, 1], 0))).await;
        Self::at(dev, handle)
    }

    pub(crate) fn at(dev: Arc<DevLedger>, handle: Handle) -> Self {
        let (url, chain) = (handle.grpc_url(), dev.chain_id());
        let keys = Arc::new(Keyring::from_seed([1; 32]));
        Self {
            operator: IotaLedger::new(&url, chain.clone(), keys).unwrap(),
            host: HostLedger::new(&url, chain).unwrap(),
            wallet: Wallet::from_seed([2; 32]),
            dev,
            handle,
        }
    }

    /// The operator's ledger, believing only what follows from the committee of epoch 0.
    pub(crate) fn verifying(&self, kept: Option<&Path>) -> IotaLedger {
        let keys = Arc::new(Keyring::from_seed([1; 32]));
        IotaLedger::new(&self.handle.grpc_url(), self.dev.chain_id(), keys)
            .unwrap()
            .verifying(self.dev.committee(0), kept)
            .unwrap()
    }

    /// Money for the host and for the operator's gas.
    pub(crate) async fn funded(directory: Option<&Path>) -> Self {
        let net = Self::start(directory).await;
        net.fund(&net.wallet.address(), 20 * IOTA).await;
        net.fund(&net.operator.treasury_address(), IOTA).await;
        net
    }

    pub(crate) async fn fund(&self, address: &Address, nanos: u64) {
        let grant = self.dev.fund(address, Amount(nanos)).unwrap();
        self.final_evidence(&grant.digest).await;
    }

    pub(crate) async fn pay(&self, to: &Address, nanos: u64) -> (SignedTransaction, TxDigest) {
        pay(&self.host, &self.operator, &self.wallet, to, nanos).await
    }

    /// Waits until the transaction is in a checkpoint.
    pub(crate) async fn final_evidence(&self, digest: &TxDigest) -> Evidence {
        final_evidence(&self.operator, digest).await
    }

    pub(crate) fn follow(&self, from: u64, addresses: &[Address]) -> Follower {
        follow(&self.operator, from, addresses)
    }

    pub(crate) fn assert_conserved(&self) {
        assert_conserved(&self.dev);
    }
}

/// Everything there ever was is still there.
pub(crate) fn assert_conserved(dev: &DevLedger) {
    dev.make_checkpoint().unwrap();
    let supply = dev.supply();
    assert_eq!(
        supply.coins.0 + supply.deposits.0 + supply.burned.0,
        4_600_000_000 * IOTA + DEPOSIT,
        "{supply:?}"
    );
}

/// Ends the test where `PAYFLOW_TEST_LEDGER` names another ledger: it needs one that it can look into, or that goes wrong
/// on demand.
macro_rules! development_ledger_only {
    () => {
        if let Some(url) = crate::common::named_ledger() {
            eprintln!(
                "SKIPPED: this test needs the development ledger, with its insides and its faults on demand, and \
                 PAYFLOW_TEST_LEDGER names {url}"
            );
            return;
        }
    };
}
pub(crate) use development_ledger_only;

/// Signs a payment as a host, and submits it as the operator.
pub(crate) async fn pay(
    host: &HostLedger,
    operator: &IotaLedger,
    wallet: &Wallet,
    to: &Address,
    nanos: u64,
) -> (SignedTransaction, TxDigest) {
    let signed = host.pay(wallet, to, Amount(nanos)).await.unwrap();
    let digest = operator.inspect(&signed).unwrap().digest;
    assert_eq!(operator.submit(&signed).await, Submission::Accepted);
    (signed, digest)
}

/// Waits until the transaction is in a checkpoint.
pub(crate) async fn final_evidence(ledger: &IotaLedger, digest: &TxDigest) -> Evidence {
    let wait = async {
        loop {
            match ledger.lookup(digest).await {
                Lookup::Found(evidence) if evidence.checkpoint.is_some() => return evidence,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap()
}

pub(crate) fn follow(ledger: &IotaLedger, from: u64, addresses: &[Address]) -> Follower {
    let (sender, receiver) =
        watch::channel(Arc::new(addresses.iter().cloned().collect::<BTreeSet<_>>()));
    Follower {
        addresses: sender,
        events: ledger.follow(from, receiver),
    }
}

pub(crate) struct Follower {
    pub(crate) addresses: watch::Sender<Arc<BTreeSet<Address>>>,
    events: BoxStream<'static, FollowEvent>,
}

impl Follower {
    pub(crate) async fn next(&mut self) -> FollowEvent {
        tokio::time::timeout(PATIENCE, self.events.next())
            .await
            .unwrap()
            .unwrap()
    }

    /// The next checkpoint with a payment to us, and how many interruptions came before it.
    pub(crate) async fn payment(&mut self) -> (Followed, usize) {
        let mut interruptions = 0;
        loop {
            match self.next().await {
                FollowEvent::Checkpoint(followed) if !followed.payments.is_empty() => {
                    return (followed, interruptions);
                }
                FollowEvent::Checkpoint(_) => {}
                FollowEvent::Interrupted(_) => interruptions += 1,
                FollowEvent::Unproven(unproven) => panic!("{unproven}"),
            }
        }
    }

    /// The first thing that is not believed; no payment may come before it.
    pub(crate) async fn unproven(&mut self) -> Unproven {
        loop {
            match self.next().await {
                FollowEvent::Unproven(unproven) => return unproven,
                FollowEvent::Checkpoint(followed) => assert_eq!(followed.payments, []),
                FollowEvent::Interrupted(_) => {}
            }
        }
    }
}

/// Waits until the node answers again: the first call after a restart may still be told of the lost connection.
pub(crate) async fn reachable(ledger: &IotaLedger) {
    let wait = async {
        while ledger.status().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}
