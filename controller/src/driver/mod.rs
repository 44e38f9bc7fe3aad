//! The driver: the only part of the controller that knows sockets, tasks, files and the clock.
//!
//! ```text
//! switches --\                          /--> journal (SQLite) --> what is durable
//! OVSDB    ---+--> one bounded queue --> core --> switches, OVSDB
//! ledger   --+                          \--> ledger
//! requests -/                            \--> replies, changes
//! ```
//!
//! The event loop never waits for anything but the disk. Whoever brings it events waits when it is behind; whatever
//! it hands out goes into a queue with a limit, and what happens at the limit is said beside each. So no two parts
//! ever wait for one another.
//!
//! Start: the data directory is locked, the journal opened, keys read, records loaded, the ledger reached, the core
//! restored; only then do the databases and switches come in. Stop: nothing new is taken, the journal catches up, everything is
//! closed. Paid flows keep running in the switches.

use std::{path::Path, sync::Arc};

use payflow_payment::{
    Address, Amount, Asset, ChainId, SigningKey,
    ledger::{
        Ledger, dev,
        keys::{Keyring, Passphrase, SecretFileError},
    },
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
    time::Duration,
};
use tracing::{error, info};

use self::{
    clock::Clock,
    embedded::LedgerAccess,
    event_loop::{Ended, Event, EventLoop, Replies},
    ledger::LedgerWork,
    ovsdb::ClassOrders,
    switches::{ListenError, Switches},
};
use crate::{
    config::{Config, ConfigError, Listener, OvsdbEndpoint},
    core::{
        Contradiction, Core, CoreConfig, OperatorKeys, Scope, Shares,
        io::Input,
        network::{ApiPort, Network, NetworkConfig, NetworkInput},
    },
    metrics::Instruments,
};

mod clock;
mod embedded;
mod event_loop;
mod files;
mod handle;
mod ledger;
mod ovsdb;
mod pem;
mod store;
mod switches;
#[cfg(test)]
mod tests;

pub use files::{FileProblem, check_files};
pub use handle::{Addresses, Handle};
pub use pem::TlsError;
pub(crate) use pem::{certificates, certified_key};
pub use store::{Copied, CopyError, Restored, StoreError, back_up, restore};

// For the benches, which measure a commit without the event loop around it.
#[doc(hidden)]
pub use store::Store;

/// How long switches may take to confirm a paid flow before its buyer is refunded.
const INSTALL_PATIENCE: Duration = Duration::from_secs(10);

/// How long the path of a paid flow may be broken before its buyer is refunded. Twice as long as control connections may be
/// away while nothing is lost of what was sold; the time is credited meanwhile.
const SUSPEND_PATIENCE: Duration = Duration::from_secs(120);

/// What the treasury must hold before anything is sold: gas for some ten refunds.
const TREASURY_MINIMUM: Amount = Amount(50_000_000);

/// The file in the data directory with the seed of all keys of the operator.
pub const OPERATOR_KEY: &str = "operator.key";

/// Changes that a receiver may be behind.
const CHANGES: usize = 1_024;

/// A controller that runs. Dropping it stops it too, without waiting for that.
#[derive(Debug)]
pub struct Controller {
    handle: Handle,
    _stop: oneshot::Sender<()>,
    outcome: watch::Receiver<Option<Result<(), RunError>>>,
    running: JoinHandle<()>,
}

/// Why the controller does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory or the journal cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operator's key cannot be read.
    #[error(transparent)]
    Keys(#[from] SecretFileError),
    /// Without the old key the money of the journal could not be moved; a new one is not made.
    #[error(
        "{file} is missing, and the journal beside it holds records made with it; restore it from a backup"
    )]
    KeysMissing {
        /// Where the key belongs.
        file: String,
    },
    /// The data directory was made for something else.
    #[error(
        "this data_dir was made with {what} {made}, and now it is {found}; use the former, or a data_dir of its own"
    )]
    Changed {
        /// `chain` or `operator key`.
        what: &'static str,
        /// What it was.
        made: String,
        /// What it is.
        found: String,
    },
    /// The ledger cannot be used.
    #[error("the ledger cannot be used: {reason}")]
    Ledger {
        /// What is wrong.
        reason: String,
    },
    /// The records contradict each other.
    #[error("the journal cannot be used: {0}")]
    Journal(#[from] Contradiction),
    /// The OpenFlow port cannot be listened on.
    #[error("cannot listen for switches on {listener}: {error}; change openflow.listen")]
    Listen {
        /// Which of them.
        listener: Listener,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The keys and certificates for switches cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why the controller stopped by itself.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunError {
    /// The journal cannot be written. What was confirmed to anybody is durable.
    #[error("the journal failed: {0}")]
    Journal(Arc<StoreError>),
    /// The disk was too slow when the controller was to stop. What was confirmed to anybody is durable.
    #[error("the journal did not catch up in time")]
    JournalBehind,
    /// A part of the controller panicked.
    #[error("the controller failed: {0}")]
    Panicked(String),
}

/// Takes the class queues off every port in the databases of the configuration, for a controller that will not come back;
/// flows that are still paid for lose what they are guaranteed. For each database, how many ports had queues, or why it
/// could not be done there.
///
/// # Errors
/// When the controller of this data directory runs.
pub async fn remove_classes(
    config: &Config,
) -> Result<Vec<(OvsdbEndpoint, Result<usize, String>)>, StoreError> {
    let dir = &config.data_dir.0;
    // Held to the end, so that no controller makes them anew meanwhile.
    let _lock = if dir.exists() {
        Some(Store::open(dir).await?)
    } else {
        None
    };
    let mut results = Vec::new();
    for endpoint in &config.ovsdb.endpoints {
        let removed = ovsdb::remove_classes(endpoint, config.ovsdb.tls.as_ref()).await;
        results.push((endpoint.clone(), removed.map_err(|error| error.to_string())));
    }
    Ok(results)
}

/// Starts the controller.
///
/// # Errors
/// Says what is wrong and what to do about it; nothing is left running then.
pub async fn run(config: Config) -> Result<Controller, StartError> {
    config.check()?;
    files::first_wrong(&config)?;
    let dir = config.data_dir.0.clone();
    let mut store = Store::open(&dir).await?;
    let passphrase = config.operator_passphrase.as_ref();
    let keys = Arc::new(operator_keys(&dir, &store, passphrase)?);
    let records = store.load().await?;
    let clock = Clock::starting(store.last_recorded_at().await?);
    let LedgerAccess { ledger, embedded } =
        embedded::reach(&config.ledger, &dir, keys.clone()).await?;
    let signing = keys.document_key();
    let operator = signing.public_key();
    bind(&mut store, "chain", ledger.chain_id().as_str()).await?;
    bind(&mut store, "operator key", &operator.to_string()).await?;
    let start_of_following = first_checkpoint(&mut store, &*ledger).await?;

    let network = Network::new(network_config(&config, &keys));
    let keys = LedgerKeys {
        ledger: ledger.clone(),
        signing,
    };
    let core_config = core_config(&config, ledger.chain_id().clone());
    let count = records.len();
    let mut core = Core::restore(
        core_config,
        Box::new(keys),
        Box::new(network),
        records,
        clock.now(),
    )?;
    // What it has begun to record since is not written yet.
    let last = store.last();
    let meant = core.transfers();
    let written = meant.partition_point(|it| it.id.record <= last);
    store
        .keep_transfers(meant.get(..written).unwrap_or_default())
        .await?;
    info!(records = count, dir = %dir.display(), "the journal is read");
    let follow_from = core
        .followed()
        .map_or(start_of_following, |last| last.saturating_add(1));
    for port in &config.ports {
        core.handle(
            Input::Network(NetworkInput::Port(port.facts())),
            clock.now(),
        );
    }

    let config = Arc::new(config);
    let (sender, mut events) = mpsc::channel(event_loop::QUEUE);
    let classes = while_serving(
        ClassOrders::start(&config, &sender),
        &mut events,
        &mut core,
        &clock,
    )
    .await;
    let listening = Switches::listen(&config.openflow, sender.clone()).await;
    let switches = listening.map_err(|error| match error {
        ListenError::Socket(listener, error) => StartError::Listen { listener, error },
        ListenError::Tls(error) => StartError::Tls(error),
    })?;
    let changes = broadcast::Sender::new(CHANGES);
    let instruments = Instruments::default();
    let handle = Handle {
        events: sender.clone(),
        instruments: instruments.clone(),
        changes: changes.downgrade(),
        ledger: ledger.clone(),
        operator,
        addresses: Arc::new(Addresses {
            openflow: switches.addresses().to_vec(),
            ledger: embedded.as_ref().map(|server| server.grpc_addr),
            faucet: embedded.as_ref().map(|server| server.faucet_addr),
        }),
    };
    let (journal, writer) = store.start(clock.clone(), instruments);
    let ledger = LedgerWork::start(ledger, sender);
    let replies = Replies::default();
    let event_loop = EventLoop {
        core,
        clock,
        events,
        journal,
        switches,
        classes,
        ledger,
        changes,
        replies,
        follow_from,
    };
    let (stop, stopping) = oneshot::channel();
    let (outcome, stopped) = watch::channel(None);
    let running = tokio::spawn(supervise(
        tokio::spawn(event_loop.run(stopping)),
        writer,
        embedded,
        outcome,
    ));
    Ok(Controller {
        handle,
        _stop: stop,
        outcome: stopped,
        running,
    })
}

impl Controller {
    /// Talks to it.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until it has stopped by itself, which it does only when it must not go on.
    pub async fn stopped(&self) -> Result<(), RunError> {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(result)) => result.clone(),
            Ok(None) | Err(_) => Err(RunError::Panicked("it is gone without a word".to_owned())),
        }
    }

    /// Stops it: nothing new is taken, the journal catches up, everything is closed. Paid flows keep running.
    pub async fn shutdown(self) -> Result<(), RunError> {
        let Self {
            _stop: stop,
            outcome,
            running,
            ..
        } = self;
        drop(stop);
        if let Err(error) = running.await {
            return Err(RunError::Panicked(error.to_string()));
        }
        outcome.borrow().clone().unwrap_or(Ok(()))
    }
}

/// Waits for the event loop and the journal's writer, and tells how it ended.
async fn supervise(
    event_loop: JoinHandle<Ended>,
    writer: JoinHandle<Result<(), StoreError>>,
    embedded: Option<dev::Handle>,
    outcome: watch::Sender<Option<Result<(), RunError>>>,
) {
    let ended = event_loop.await;
    // The loop's end of the journal is gone with it, so the writer ends when everything is written.
    let written = writer.await;
    let result = match (ended, written) {
        (Ok(_), Ok(Err(error))) => Err(RunError::Journal(Arc::new(error))),
        (Ok(Ended::Stopped), Ok(Ok(()))) => Ok(()),
        (Ok(Ended::JournalFailed), Ok(Ok(()))) => Err(RunError::JournalBehind),
        (Err(panic), _) | (_, Err(panic)) => Err(RunError::Panicked(panic.to_string())),
    };
    match &result {
        Ok(()) => info!("stopped; everything is durable, and paid flows keep running"),
        Err(error) => error!(%error, "stopped"),
    }
    if let Some(server) = embedded {
        server.shutdown().await;
    }
    outcome.send_replace(Some(result));
}

/// Waits for `starting` while its events go into the core.
async fn while_serving<T>(
    starting: impl Future<Output = T>,
    events: &mut mpsc::Receiver<Event>,
    core: &mut Core,
    clock: &Clock,
) -> T {
    let mut starting = std::pin::pin!(starting);
    loop {
        tokio::select! {
            started = &mut starting => return started,
            event = events.recv() => if let Some(Event::Input(input)) = event {
                core.handle(input, clock.now());
            },
        }
    }
}

fn operator_keys(
    dir: &Path,
    store: &Store,
    passphrase: Option<&Passphrase>,
) -> Result<Keyring, StartError> {
    let file = dir.join(OPERATOR_KEY);
    if store.last() > 0 && !file.exists() {
        return Err(StartError::KeysMissing {
            file: file.display().to_string(),
        });
    }
    Ok(Keyring::load_or_create(&file, passphrase)?)
}

/// The data directory belongs to one chain and one key for ever.
async fn bind(store: &mut Store, what: &'static str, found: &str) -> Result<(), StartError> {
    match store.setting(what).await? {
        Some(made) if made == found => Ok(()),
        Some(made) => Err(StartError::Changed {
            what,
            made,
            found: found.to_owned(),
        }),
        None => Ok(store.set(what, found).await?),
    }
}

/// Where following begins before anything was followed: the newest checkpoint at the first start of all. No address
/// of ours was known to anybody before.
async fn first_checkpoint(store: &mut Store, ledger: &dyn Ledger) -> Result<u64, StartError> {
    const NAME: &str = "first checkpoint";
    if let Some(checkpoint) = store
        .setting(NAME)
        .await?
        .and_then(|text| text.parse().ok())
    {
        return Ok(checkpoint);
    }
    let status = ledger.status().await.map_err(|error| StartError::Ledger {
        reason: format!(
            "{error}; the first start needs it, to know from where on to look for payments"
        ),
    })?;
    store.set(NAME, &status.checkpoint.to_string()).await?;
    Ok(status.checkpoint)
}

fn core_config(config: &Config, chain_id: ChainId) -> CoreConfig {
    CoreConfig {
        chain_id,
        asset: Asset::iota(),
        pricing: config.prices.pricing.clone(),
        following: config.prices.following,
        quote_ttl: config.quotes.ttl,
        grace: config.quotes.grace,
        cancellation_fee: config.quotes.cancellation_fee,
        mispayment_fee: config.quotes.mispayment_fee,
        max_duration: config.quotes.max_duration,
        install_patience: INSTALL_PATIENCE,
        suspend_patience: SUSPEND_PATIENCE,
        treasury_minimum: TREASURY_MINIMUM,
        shares: Shares {
            usual: config.network.share.unwrap_or(payflow_qos::PerMille::ALL),
            ports: config
                .ports
                .iter()
                .filter_map(|port| Some(((port.switch, port.name.clone()), port.share?)))
                .collect(),
        },
        receipts: config.receipts,
        enrolled: config
            .enrolled
            .iter()
            .map(|buyer| {
                let own = |addresses: &Vec<_>| addresses.iter().copied().collect();
                let scope = buyer.addresses.as_ref();
                (
                    buyer.key,
                    scope.map_or(Scope::Any, |it| Scope::Addresses(own(it))),
                )
            })
            .collect(),
    }
}

fn network_config(config: &Config, keys: &Keyring) -> NetworkConfig {
    NetworkConfig {
        api: config.api_port.as_ref().map(|port| ApiPort {
            address: port.address,
            mac: port.mac,
        }),
        closed_ports: config
            .openflow
            .listen
            .iter()
            .map(|listener| listener.address.port())
            .collect(),
        switch_keys: config
            .switches
            .iter()
            .map(|switch| (switch.id, switch.keys.iter().copied().collect()))
            .collect(),
        discover_trunks: config.network.discover_trunks,
        port_counters: true,
        ..NetworkConfig::new(keys.purpose_seed("link discovery"))
    }
}

/// The operator's keys as the core sees them.
struct LedgerKeys {
    ledger: Arc<dyn Ledger>,
    signing: SigningKey,
}

impl OperatorKeys for LedgerKeys {
    fn receive_address(&self, index: u64) -> Address {
        self.ledger.receive_address(index)
    }

    fn treasury_address(&self) -> Address {
        self.ledger.treasury_address()
    }

    fn parse_address(&self, text: &str) -> Option<Address> {
        self.ledger.parse_address(text)
    }

    fn signing_key(&self) -> &SigningKey {
        &self.signing
    }
}
