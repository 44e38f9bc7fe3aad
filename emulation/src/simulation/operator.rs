//! The operator of a simulated network: its keys, addresses and settings.

use std::collections::BTreeMap;
use std::time::Duration;

use payflow_controller::core::network::NetworkConfig;
use payflow_controller::core::receipts::ReceiptPolicy;
use payflow_controller::core::{CoreConfig, OperatorKeys, Shares};
use payflow_payment::{Address, Amount, Asset, SigningKey};
use payflow_qos::price::{Following, Pricing};

/// The ledger's chain id.
pub const CHAIN: &str = "simulated";
/// Where the operator collects what it earns.
pub const TREASURY: &str = "0xtreasury";
/// Of the operator's key.
const SEED: [u8; 32] = [1; 32];

/// The key that signs quotes, receipts and statements.
#[must_use]
pub fn signing_key() -> SigningKey {
    SigningKey::from_seed(SEED)
}

/// Where the quote of this number is paid.
#[must_use]
pub fn receive_address(index: u64) -> Address {
    Address::new(format!("0xreceive-{index}"))
}

/// The operator's keys: always the same.
#[must_use]
pub fn keys() -> Box<dyn OperatorKeys> {
    Box::new(Keys(signing_key()))
}

struct Keys(SigningKey);

impl OperatorKeys for Keys {
    fn receive_address(&self, index: u64) -> Address {
        receive_address(index)
    }
    fn treasury_address(&self) -> Address {
        TREASURY.into()
    }
    fn parse_address(&self, text: &str) -> Option<Address> {
        text.starts_with("0x").then(|| Address::new(text))
    }
    fn signing_key(&self) -> &SigningKey {
        &self.0
    }
}

/// As it is shipped. Every life has its own secret for link discovery.
#[must_use]
pub fn network_config(life: u32) -> NetworkConfig {
    let mut secret = [0; 32];
    for (byte, of) in secret.iter_mut().zip(life.to_be_bytes()) {
        *byte = of;
    }
    NetworkConfig::new(secret)
}

/// Its settings, with these prices.
#[must_use]
pub fn config(pricing: Pricing, following: Option<Following>) -> CoreConfig {
    CoreConfig {
        receipts: ReceiptPolicy {
            interim: Some(Duration::from_secs(7)),
            anchors: Some(Duration::from_secs(30)),
        },
        chain_id: CHAIN.into(),
        asset: Asset::iota(),
        pricing,
        following,
        quote_ttl: Duration::from_secs(15),
        grace: Duration::from_secs(10),
        cancellation_fee: Amount(2_000_000),
        mispayment_fee: Amount(1_000_000),
        max_duration: Duration::from_secs(3_600),
        install_patience: Duration::from_secs(10),
        suspend_patience: Duration::from_secs(20),
        treasury_minimum: Amount(1_000_000),
        shares: Shares::default(),
        enrolled: BTreeMap::new(),
    }
}
