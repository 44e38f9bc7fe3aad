//! A ledger that is only asked what any ledger can be asked: the development ledger on loopback, or the one that
//! `PAYFLOW_TEST_LEDGER` names, a node's gRPC endpoint such as `http://127.0.0.1:50051`. Its faucet is at
//! `PAYFLOW_TEST_FAUCET`, or else on port 9123 of the same machine, where a local network has it.
//!
//! Every test has keys that were never used before, so that a ledger which remembers does no harm.

use std::sync::Arc;
use std::time::Duration;

use payflow_payment::ledger::Ledger as _;
use payflow_payment::ledger::dev::{DevLedger, Handle};
use payflow_payment::ledger::iota::{HostLedger, IotaLedger};
use payflow_payment::ledger::keys::{Keyring, Wallet};
use payflow_payment::{Address, Amount, Evidence, SignedTransaction, TxDigest};
use serde_json::json;

use super::{Follower, IOTA, PATIENCE, assert_conserved, final_evidence, follow, pay, serve_at};

/// The ledger that `PAYFLOW_TEST_LEDGER` names.
pub(crate) fn named_ledger() -> Option<String> {
    std::env::var("PAYFLOW_TEST_LEDGER")
        .ok()
        .filter(|url| !url.is_empty())
}

pub(crate) struct Anywhere {
    pub(crate) url: String,
    pub(crate) operator: IotaLedger,
    pub(crate) host: HostLedger,
    pub(crate) wallet: Wallet,
    money: Money,
}

enum Money {
    Own(Arc<DevLedger>, Handle),
    /// A faucet gives what it likes, to this wallet, which pays out what is wanted.
    Faucet(String, Wallet),
}

impl Anywhere {
    pub(crate) async fn start() -> Self {
        let (url, money) = match named_ledger() {
            Some(url) => {
                let faucet = std::env::var("PAYFLOW_TEST_FAUCET").unwrap_or_else(|_| {
                    let mut faucet =
                        reqwest::Url::parse(&url).expect("PAYFLOW_TEST_LEDGER is a URL");
                    faucet.set_port(Some(9123)).unwrap();
                    faucet.to_string()
                });
                let faucet = faucet.trim_end_matches('/').to_owned();
                (url, Money::Faucet(faucet, random_wallet()))
            }
            None => {
                let dev = DevLedger::open(None).unwrap();
                let handle = serve_at(dev.clone(), ([127, 0, 0, 1], 0).into()).await;
                (handle.grpc_url(), Money::Own(dev, handle))
            }
        };
        let chain = IotaLedger::discover_chain_id(&url).await.unwrap();
        let keys = Arc::new(Keyring::from_seed(random_seed()));
        Self {
            operator: IotaLedger::new(&url, chain.clone(), keys).unwrap(),
            host: HostLedger::new(&url, chain).unwrap(),
            wallet: random_wallet(),
            url,
            money,
        }
    }

    /// Money for the host and for the operator's gas.
    pub(crate) async fn funded() -> Self {
        let net = Self::start().await;
        net.fund(&net.wallet.address(), 2 * IOTA).await;
        net.fund(&net.operator.treasury_address(), IOTA).await;
        net
    }

    /// Gives an address so much, and not a nano more.
    pub(crate) async fn fund(&self, address: &Address, nanos: u64) {
        let digest = match &self.money {
            Money::Own(dev, _) => dev.fund(address, Amount(nanos)).unwrap().digest,
            Money::Faucet(faucet, bank) => {
                self.fill(faucet, bank, nanos + IOTA / 10).await;
                pay(&self.host, &self.operator, bank, address, nanos)
                    .await
                    .1
            }
        };
        self.final_evidence(&digest).await;
    }

    async fn fill(&self, faucet: &str, bank: &Wallet, nanos: u64) {
        let address = bank.address();
        let request = json!({ "FixedAmountRequest": { "recipient": address } });
        let filling = async {
            let mut held = self.balance(&address).await;
            while held.0 < nanos {
                let asked = reqwest::Client::new()
                    .post(format!("{faucet}/v1/gas"))
                    .json(&request);
                let answer = asked.send().await.unwrap();
                assert!(
                    answer.status().is_success(),
                    "the faucet at {faucet}: {answer:?}"
                );
                let before = held;
                while held == before {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    held = self.balance(&address).await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, filling)
            .await
            .expect("a faucet that gives");
    }

    pub(crate) async fn balance(&self, address: &Address) -> Amount {
        self.operator.balance(address).await.unwrap()
    }

    pub(crate) async fn pay(&self, to: &Address, nanos: u64) -> (SignedTransaction, TxDigest) {
        pay(&self.host, &self.operator, &self.wallet, to, nanos).await
    }

    pub(crate) async fn final_evidence(&self, digest: &TxDigest) -> Evidence {
        final_evidence(&self.operator, digest).await
    }

    /// From now on.
    pub(crate) async fn follow(&self, addresses: &[Address]) -> Follower {
        let now = self.operator.status().await.unwrap().checkpoint;
        follow(&self.operator, now, addresses)
    }

    /// Where it can be known: everything there ever was is still there.
    pub(crate) fn assert_conserved(&self) {
        if let Money::Own(dev, _) = &self.money {
            assert_conserved(dev);
        }
    }
}

pub(crate) fn random_wallet() -> Wallet {
    Wallet::from_seed(random_seed())
}

fn random_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    seed
}
