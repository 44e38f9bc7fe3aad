//! Everything together: switches, a ledger, a controller, and people.

use std::sync::Arc;
use std::time::Duration;

use payflow_controller::api::signature::audience;
use payflow_controller::client::{Client, ClientError, Identity};
use payflow_payment::ledger::Ledger as _;
use payflow_payment::ledger::iota::{HostLedger, IotaLedger};
use payflow_payment::ledger::keys::{Keyring, Wallet};
use reqwest::Method;
use serde_json::Value;

use super::auditor::{Account, Notes, audit};
use super::buyer::{Api, Buyer, Reply, Want};
use super::controller::Controller;
use super::ledger::{GRANT, InProcess, TestLedger};
use super::process::Scratch;
use super::switches::Switches;
use super::{PATIENCE, until};

/// How many buyers are enrolled and have ten IOTA each.
pub(crate) const BUYERS: u8 = 4;

/// What differs between tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) ttl_s: u64,
    pub(crate) grace_s: u64,
    pub(crate) switches: u8,
    /// Of every port.
    pub(crate) capacity: &'static str,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            ttl_s: 30,
            grace_s: 10,
            switches: 2,
            capacity: "1Gbit",
        }
    }
}

/// Kept from a cancelled reservation, in nanos.
pub(crate) const CANCELLATION_FEE: u64 = 2_000_000;
/// Kept from a payment that bought nothing, in nanos.
pub(crate) const MISPAYMENT_FEE: u64 = 3_000_000;

// Dropped in this order: who depends first.
pub(crate) struct World<L = InProcess> {
    pub(crate) controller: Controller,
    pub(crate) switches: Switches,
    pub(crate) ledger: L,
    pub(crate) operator: IotaLedger,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) notes: Notes,
    api: Api,
    http: reqwest::Client,
    pub(crate) scratch: Scratch,
}

impl World {
    /// With the ledger in this process, ready to sell.
    pub(crate) async fn start(terms: Terms) -> Self {
        let ledger = InProcess::start().await;
        Self::with(Scratch::new(), ledger, terms).await
    }
}

impl<L: TestLedger> World<L> {
    pub(crate) async fn with(scratch: Scratch, ledger: L, terms: Terms) -> Self {
        let mut world = Self::prepare(scratch, ledger, terms).await;
        world.controller.start();
        world.connect();
        world.until_ready().await;
        world
    }

    /// Everything but the controller's start.
    pub(crate) async fn prepare(scratch: Scratch, ledger: L, terms: Terms) -> Self {
        let dir = scratch.path().to_owned();
        let switches = Switches::start(&dir, terms.switches, 8);
        let data = dir.join("data");
        make_private(&data);
        let keys = Arc::new(Keyring::create(&data.join("operator.key"), None).unwrap());
        let operator = IotaLedger::new(&ledger.url(), ledger.chain_id(), keys.clone()).unwrap();
        let notes = Notes::default();
        let wallets = (1..=BUYERS).map(|n| Wallet::from_seed(seed(n)).address());
        for address in wallets.chain([operator.treasury_address()]) {
            ledger.fund(&address).await;
            notes.granted(&address, GRANT);
        }
        let config = config(&ledger.url(), ledger.chain_id().as_str(), terms)
            + &switches.config(terms.capacity)
            + &enrolled();
        let controller = Controller::new(&dir, &config);
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self {
            api: Arc::new(parking_lot::Mutex::new(controller.http())),
            controller,
            switches,
            ledger,
            operator,
            keys,
            notes,
            http,
            scratch,
        }
    }

    /// Switches and buyers find the controller where it is now.
    pub(crate) fn connect(&self) {
        *self.api.lock() = self.controller.http();
        self.switches.connect(self.controller.openflow());
    }

    /// Starts the controller again, and leads everybody to it.
    pub(crate) fn restart(&mut self) {
        self.controller.start();
        self.connect();
    }

    /// Waits until switches, hosts, ledger and treasury are all there.
    pub(crate) async fn until_ready(&self) {
        until("the controller is ready", || async {
            let reply = self.get("/readyz").await?;
            let switches = reply.body.get("switches_ready").and_then(Value::as_u64);
            let all = u64::try_from(self.switches.count()).ok();
            if reply.status == 200 && switches == all {
                Ok(())
            } else {
                Err(format!("{reply:?}"))
            }
        })
        .await;
        until("the hosts are known", || async {
            self.switches.announce();
            let reply = self.ask_as_operator("/v1/hosts").await?;
            let count = reply.body["hosts"].as_array().map(Vec::len);
            if count == Some(8 * self.switches.count()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            Err(format!("{reply:?}"))
        })
        .await;
    }

    /// An enrolled buyer with ten IOTA; `n` from 1 to [`BUYERS`].
    pub(crate) fn buyer(&self, n: u8) -> Buyer {
        self.stranger(n)
    }

    /// Ten IOTA more for a buyer.
    pub(crate) async fn grant(&self, n: u8) {
        let address = Wallet::from_seed(seed(n)).address();
        self.ledger.fund(&address).await;
        self.notes.granted(&address, GRANT);
    }

    /// Somebody with a key of its own; enrolled only up to [`BUYERS`].
    pub(crate) fn stranger(&self, n: u8) -> Buyer {
        let ledger = HostLedger::new(&self.ledger.url(), self.ledger.chain_id()).unwrap();
        let tag = audience(&self.keys.document_key().public_key());
        Buyer::new(seed(n), ledger, self.api.clone(), tag, self.notes.clone())
    }

    /// From a host of the first switch to the same of the last.
    pub(crate) fn want(&self, host: u8, port: u16) -> Want {
        let last = u8::try_from(self.switches.count()).unwrap();
        Want {
            from: (1, host),
            to: (last, host),
            port,
            rate_bps: 10_000_000,
            duration_s: 60,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Reply, String> {
        let url = format!("http://{}{path}", *self.api.lock());
        Reply::of(self.http.get(url)).await
    }

    pub(crate) async fn ask_as_operator(&self, path: &str) -> Result<Reply, String> {
        let url = format!("http://{}{path}", *self.api.lock());
        let request = self.http.request(Method::GET, url);
        Reply::of(request.bearer_auth(self.token()?)).await
    }

    fn token(&self) -> Result<String, String> {
        let file = self.scratch.path().join("data/operator.token");
        let token = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        Ok(token.trim().to_owned())
    }

    pub(crate) async fn account(&self) -> Result<Account, String> {
        let said = |error: ClientError| error.to_string();
        let client = Client::new(&format!("http://{}", *self.api.lock())).map_err(said)?;
        let client = client.with_identity(Identity::Operator(self.token()?));
        let reservations = client.list("/v1/reservations", "reservations");
        Ok(Account {
            reservations: reservations.await.map_err(said)?,
            books: client.get("/v1/books").await.map_err(said)?,
        })
    }

    /// Waits until no money is on its way, and requires everything that always holds.
    pub(crate) async fn audited(&self) -> Account {
        let account = until("no money is on its way", || async {
            let account = self.account().await?;
            account.is_quiet()?;
            Ok(account)
        })
        .await;
        audit(&account, &self.notes, &self.operator, &self.switches).await;
        account
    }

    /// Whether the controller lives and sells on.
    pub(crate) async fn is_well(&mut self, buyer: &Buyer, want: &Want) {
        assert!(self.controller.is_running(), "{}", self.controller.log());
        assert_eq!(self.get("/healthz").await.unwrap().status, 200);
        let view = buyer.buy(want).await;
        let reply = buyer.cancel(&view.id).await.unwrap();
        assert!(matches!(reply.status, 200 | 202), "{reply:?}");
        buyer.settled(&view.id).await;
    }
}

/// The key of person `n`.
fn seed(n: u8) -> [u8; 32] {
    [n; 32]
}

fn make_private(dir: &std::path::Path) {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(dir).unwrap();
}

fn config(url: &str, chain_id: &str, terms: Terms) -> String {
    let Terms { ttl_s, grace_s, .. } = terms;
    format!(
        r#"data_dir = "data"

[openflow]
listen = "127.0.0.1:0"

[http]
listen = "127.0.0.1:0"
requests_per_second = 0

[ovsdb]
endpoints = ["unix:db.sock"]

[ledger]
url = "{url}"
chain_id = "{chain_id}"

[prices]
steady_nanos_per_mbit_second = 100000
minimum_nanos = 10000000

[quotes]
ttl_s = {ttl_s}
grace_s = {grace_s}
cancellation_fee_nanos = {CANCELLATION_FEE}
mispayment_fee_nanos = {MISPAYMENT_FEE}
"#
    )
}

fn enrolled() -> String {
    (1..=BUYERS)
        .map(|n| {
            let key = Buyer::public_key(&seed(n));
            format!("[[enrolled]]\nkey = \"{key}\"\nname = \"buyer {n}\"\n")
        })
        .collect()
}
