//! What runs: the controller, and the development ledger alone.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use payflow_payment::ledger::{
    dev::{self, BANNER, DEFAULT_CHECKPOINT_INTERVAL, DevLedger, serve},
    iota::IotaLedger,
    keys::Passphrase,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use super::{
    Out,
    error::CliError,
    logging,
    passphrase::PassphraseArgs,
    service::{self, Asked, Signals},
};
use crate::{
    api::{
        self, Endpoint, Limits, Settings,
        rate::Rate,
        tls::Tls,
        token::{OperatorToken, Operators},
    },
    config::{CamaraConfig, Config, ConfigError, HttpConfig, LedgerConfig, Listener, LogConfig},
    driver,
};

/// `payflow controller`.
#[derive(Debug, Args)]
pub(super) struct ControllerArgs {
    /// The configuration file; every key has a default.
    #[arg(long, env = "PAYFLOW_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where journal, keys and the embedded ledger are kept.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the API is served.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Where switches connect: ssl:ADDRESS:PORT, or tcp:ADDRESS:PORT in the clear. Goes over all that the file has.
    #[arg(long, value_name = "ADDRESS:PORT")]
    openflow: Option<Listener>,
    /// Where wallets reach the embedded ledger.
    #[arg(long, value_name = "ADDRESS:PORT")]
    ledger_grpc: Option<SocketAddr>,
    /// Where the embedded ledger gives money away.
    #[arg(long, value_name = "ADDRESS:PORT")]
    faucet: Option<SocketAddr>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// `payflow ledger`.
#[derive(Debug, Args)]
pub(super) struct LedgerArgs {
    /// Where it is kept; without, it is gone with the process.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where wallets and controllers reach it.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50051")]
    grpc: SocketAddr,
    /// Where it gives money away.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9123")]
    faucet: SocketAddr,
    /// Where to write the committee of epoch 0, for `ledger.committee` of controllers; committee.json in --dir when not said.
    #[arg(long, value_name = "FILE")]
    committee: Option<PathBuf>,
    /// After how many seconds an epoch ends, and other validators sign.
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(1..))]
    epoch_s: u64,
    /// Let anybody make it go wrong, for tests: PUT JSON to /v1/faults beside the faucet. Everything can be found in the
    /// documentation of `Faults` in payflow-payment.
    #[arg(long)]
    faults: bool,
}

/// `payflow committee`.
#[derive(Debug, Args)]
pub(super) struct CommitteeArgs {
    /// gRPC endpoint of a node, such as http://127.0.0.1:50051.
    url: String,
    /// Of which epoch. What was before it can then not be verified, so a controller that has followed already wants the epoch
    /// that it is in, or one before.
    #[arg(long, default_value_t = 0)]
    epoch: u64,
}

/// Whose queues go.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The controller's configuration file, which names the databases and the data directory. The queues of every PayFlow
    /// controller that uses these databases go.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The controller's data directory, if it is not the one of the file. The controller must not run.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl ControllerArgs {
    /// The configuration file, with the options over it.
    fn config(&self) -> Result<Config, CliError> {
        let mut config = match &self.config {
            Some(path) => {
                Config::load(path).map_err(|error| CliError::Failed(error.to_string()))?
            }
            None => Config::default(),
        };
        if let Some(data_dir) = &self.data_dir {
            config.data_dir.0.clone_from(data_dir);
        }
        if let Some(listen) = self.http {
            config.http.listen = listen;
        }
        if let Some(listen) = self.openflow {
            config.openflow.listen = vec![listen];
        }
        match (&mut config.ledger, self.ledger_grpc, self.faucet) {
            (_, None, None) => {}
            (LedgerConfig::Embedded { grpc, faucet }, new_grpc, new_faucet) => {
                *grpc = new_grpc.unwrap_or(*grpc);
                *faucet = new_faucet.unwrap_or(*faucet);
            }
            (LedgerConfig::Remote { url, .. }, _, _) => {
                return Err(CliError::Usage(format!(
                    "--ledger-grpc and --faucet are for the embedded ledger, and the configuration says {url}"
                )));
            }
        }
        config
            .check()
            .map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(config)
    }

    /// The passphrase of the operator's key, where that is under one, or is to be made under one. Read once, at the start: what
    /// comes from a descriptor or a terminal is not there a second time.
    fn operator_passphrase(&self, config: &Config) -> Result<Option<Passphrase>, CliError> {
        let key = config.data_dir.0.join(driver::OPERATOR_KEY);
        if key.exists() {
            self.passphrase.of(&key)
        } else if self.passphrase.is_given() {
            self.passphrase.new_one().map(Some)
        } else {
            Ok(None)
        }
    }
}

/// Runs the controller until SIGTERM or SIGINT. Paid flows stay on the switches.
pub(super) async fn controller(args: ControllerArgs) -> Result<(), CliError> {
    let mut config = args.config()?;
    config.operator_passphrase = args.operator_passphrase(&config)?;
    let level = logging::start(&config.log);
    let running = config.clone();
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let (http, data_dir) = (config.http.listen, config.data_dir.0.clone());
    let camara = config.camara.clone();
    let sinks = api::camara::sinks::Sender::new(camara.sinks.clone())
        .map_err(|error| CliError::Failed(format!("camara.sinks.ca: {error}")))?;
    let served = config.http.clone();
    let api_address = config.api_port.as_ref().map(|port| port.address);
    let remote = match &config.ledger {
        LedgerConfig::Embedded { .. } => None,
        LedgerConfig::Remote { url, .. } => Some(url.clone()),
    };
    // From here on a signal stops in order, also during the start.
    let mut signals = Signals::listen().map_err(|error| failed(&error))?;
    let starting = driver::run(running);
    let controller = tokio::select! {
        started = starting => started.map_err(|error| failed(&error))?,
        () = signals.stop() => {
            tracing::info!("stopped before it was ready; nothing was promised to anybody");
            return Ok(());
        }
    };
    let handle = controller.handle().clone();
    let credentials = Credentials::read(&data_dir, &config)?;
    let settings = settings(&handle, remote, api_address, &served, &credentials, camara);
    allow_sockets(settings.limits.connections);
    let listener = TcpListener::bind(http).await.map_err(|error| {
        CliError::Failed(format!(
            "the API cannot listen on {http}: {error}; see --http"
        ))
    })?;
    let at = listener.local_addr().map_err(|error| failed(&error))?;
    let addresses = handle.addresses();
    let openflow = addresses.openflow.iter().map(SocketAddr::to_string);
    let openflow = openflow.collect::<Vec<_>>().join(",");
    tracing::info!(http = %at, %openflow, operator_key = %settings.operator_key, chain_id = %settings.chain_id, "ready");

    let watched = service::watch(handle.clone());
    let status = format!("serving on {at}");
    let asked = handle.clone();
    let (closing, closed) = watch::channel(false);
    let telling = {
        let mut closed = closed.clone();
        tokio::spawn(api::camara::events::run(
            Arc::new(handle.clone()),
            sinks,
            async move {
                let _ = closed.wait_for(|closed| *closed).await;
            },
        ))
    };
    let api = tokio::spawn(api::server::serve(
        listener,
        Arc::new(handle),
        settings,
        async move {
            let mut closed = closed;
            // Also when the sender is gone.
            let _ = closed.wait_for(|closed| *closed).await;
        },
    ));
    service::ready(&status);
    let ended = loop {
        tokio::select! {
            result = controller.stopped() => break result,
            asked_for = signals.next() => match asked_for {
                Asked::Stop => break Ok(()),
                Asked::Reload => {
                    service::reloading();
                    args.reload(&mut config, &asked, &level, &credentials).await;
                    service::ready(&status);
                }
            },
        }
    };
    service::tell(&[sd_notify::NotifyState::Stopping]);
    if let Some(watched) = watched {
        watched.abort();
    }
    tracing::info!(
        "stopping: what is asked is answered, what is written is finished; a second signal stops at once"
    );
    let close = async {
        // The API first, so that nobody is promised anything by a core that is going.
        closing.send_replace(true);
        api.await.map_err(|error| failed(&error))?;
        telling.await.map_err(|error| failed(&error))?;
        let closed = controller.shutdown().await;
        ended.and(closed).map_err(|error| failed(&error))
    };
    tokio::select! {
        closed = close => closed,
        () = signals.stop() => Err(CliError::Failed(
            "stopped at once by a second signal; what was confirmed to anybody is durable, and paid flows keep running"
                .to_owned(),
        )),
    }
}

impl ControllerArgs {
    /// Reads the configuration again, and follows what can be followed. A file that is wrong changes nothing.
    async fn reload(
        &self,
        running: &mut Config,
        handle: &driver::Handle,
        level: &logging::Level,
        credentials: &Credentials,
    ) {
        if self.config.is_none() {
            tracing::warn!(
                "there is no configuration file to read again; start with --config FILE"
            );
            return;
        }
        let wanted = match self.config() {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::error!(
                    "the configuration is wrong, and nothing of it is followed: {error}"
                );
                return;
            }
        };
        let unusable = driver::check_files(&wanted);
        if !unusable.is_empty() {
            for problem in unusable {
                tracing::error!(
                    key = problem.key,
                    "nothing of the configuration is followed: {}",
                    problem.message
                );
            }
            return;
        }
        let reload = running.reloaded(&wanted);
        // Files may hold something else under the same name.
        let new = match Credentials::read(&running.data_dir.0, &reload.config) {
            Ok(new) => new,
            Err(error) => {
                tracing::error!("nothing of the configuration is followed: {error}");
                return;
            }
        };
        for key in &reload.kept {
            tracing::warn!(
                key,
                "has changed in the file and stays as it is until the controller is started again"
            );
        }
        if !handle.reconfigure(&reload.config).await {
            return;
        }
        credentials.follow(&new);
        level.change(&reload.config.log.level);
        *running = reload.config;
        let followed = reload.followed.join(", ");
        tracing::info!(followed, "the configuration is read again");
    }
}

fn settings(
    handle: &driver::Handle,
    remote: Option<String>,
    api_address: Option<std::net::IpAddr>,
    http: &HttpConfig,
    credentials: &Credentials,
    camara: CamaraConfig,
) -> Settings {
    let rate = NonZeroU32::new(http.requests_per_second).zip(NonZeroU32::new(http.burst));
    let addresses = handle.addresses();
    let here =
        |address: Option<SocketAddr>| address.map(|address| Endpoint::SameHost(address.port()));
    Settings {
        operator_key: handle.operator_key(),
        chain_id: handle.chain_id().clone(),
        ledger: remote.map(Endpoint::Url).or(here(addresses.ledger)),
        faucet: here(addresses.faucet),
        api_address,
        operators: credentials.operators.clone(),
        limits: Limits {
            connections: http.max_connections,
            connections_per_peer: http.max_connections_per_host,
            streams: http.max_streams,
            streams_per_peer: http.max_streams_per_host,
            ..Limits::default()
        },
        rate: rate.map(|(per_second, burst)| Rate { per_second, burst }),
        allow_origins: http.allow_origins.clone(),
        tls: credentials.tls.clone(),
        camara,
    }
}

/// What the API proves itself with, and knows operators by: what is in files, and may be something else after a while.
struct Credentials {
    operators: Operators,
    tls: Option<Tls>,
}

impl Credentials {
    /// Reads the files. Where the data directory has no token, a new one is made.
    fn read(data_dir: &Path, config: &Config) -> Result<Self, CliError> {
        let admin = OperatorToken::load_or_create(data_dir)
            .map_err(|error| CliError::Failed(format!("the operator's token: {error}")))?;
        let operators = Operators::only(admin)
            .with_files(&config.operators)
            .map_err(|error| CliError::Failed(format!("operator.token_file: {error}")))?;
        let tls = config.http.tls.as_ref().map(Tls::open).transpose();
        let tls = tls.map_err(|error| CliError::Failed(error.to_string()))?;
        Ok(Self { operators, tls })
    }

    /// From now on those.
    fn follow(&self, new: &Self) {
        self.operators.follow(&new.operators);
        if let (Some(tls), Some(new)) = (&self.tls, &new.tls) {
            tls.follow(new);
        }
    }
}

/// Each connection takes a file descriptor, and many systems give a process 1024 unless it asks for more.
fn allow_sockets(connections: usize) {
    /// For the journal, switches, the ledger and logs.
    const OTHERS: u64 = 512;
    let wanted = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_add(OTHERS);
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < wanted {
            setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard)?;
        }
        Ok(hard)
    });
    match raised {
        Ok(hard) if hard < wanted => tracing::warn!(
            hard,
            wanted,
            "fewer connections can be open than http.max_connections says; raise the limit of open files (ulimit -Hn)"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// Runs the development ledger until SIGTERM or SIGINT.
pub(super) async fn ledger(args: LedgerArgs, out: Out) -> Result<(), CliError> {
    logging::start(&LogConfig::default());
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let mut signals = Signals::listen().map_err(|error| failed(&error))?;
    if let Some(dir) = &args.dir {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| CliError::Failed(format!("{}: {error}", dir.display())))?;
    }
    let options = dev::Options {
        epoch_length: Duration::from_secs(args.epoch_s),
        faults_over_http: args.faults,
    };
    let ledger =
        DevLedger::open_with(args.dir.as_deref(), options).map_err(|error| failed(&error))?;
    let committee = ledger.committee(0);
    let in_dir = || args.dir.as_ref().map(|dir| dir.join("committee.json"));
    let committee_file = args.committee.clone().or_else(in_dir);
    if let Some(file) = &committee_file {
        std::fs::write(file, committee.to_json() + "\n")
            .map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))?;
    }
    let serving = serve(
        Arc::clone(&ledger),
        args.grpc,
        args.faucet,
        DEFAULT_CHECKPOINT_INTERVAL,
    )
    .await
    .map_err(|error| {
        CliError::Failed(format!(
            "cannot listen on {} and {}: {error}; see --grpc and --faucet",
            args.grpc, args.faucet
        ))
    })?;
    let document = json!({
        "grpc": serving.grpc_url(), "faucet": serving.faucet_url(), "chain_id": ledger.chain_id(),
        "chain_name": dev::CHAIN_NAME, "committee": committee_file,
        "committee_fingerprint": committee.fingerprint()
    });
    out.print(&document, || {
        let file = committee_file.as_ref().map_or_else(
            || "with --dir or --committee it is written to a file".to_owned(),
            |file| file.display().to_string(),
        );
        format!(
            "{BANNER}\n  ledger     {}\n  faucet     {}\n  chain      {}\n  chain id   {}\n  committee  {} ({file})",
            serving.grpc_url(),
            serving.faucet_url(),
            dev::CHAIN_NAME,
            ledger.chain_id(),
            committee.fingerprint(),
        )
    })?;
    service::ready("serving");
    signals.stop().await;
    serving.shutdown().await;
    Ok(())
}

/// Asks a node for a committee and prints it, for `ledger.committee`. The node vouches for itself, so the fingerprint goes to
/// stderr, to be compared with what somebody else says.
pub(super) async fn committee(args: &CommitteeArgs) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let chain_id = IotaLedger::discover_chain_id(&args.url)
        .await
        .map_err(|error| failed(&error))?;
    let committee = IotaLedger::claimed_committee(&args.url, chain_id.clone(), args.epoch)
        .await
        .map_err(|error| failed(&error))?;
    eprintln!(
        "This is what the node says, and nobody has vouched for it. Before you trust it, compare with other nodes:\n  \
         chain id     {chain_id}\n  epoch        {}\n  fingerprint  {}",
        committee.epoch(),
        committee.fingerprint()
    );
    println!("{}", committee.to_json());
    Ok(())
}

/// Says everything that is wrong with a file, and what is wrong with the keys and certificates that it names.
pub(super) fn check_config(file: &Path, out: Out) -> Result<(), CliError> {
    let mut examined =
        Config::examine(file).map_err(|error| CliError::Failed(error.to_string()))?;
    for problem in driver::check_files(&examined.config) {
        examined.add(problem.key, problem.message);
    }
    if let Some(files) = &examined.config.http.tls
        && let Err(error) = Tls::open(files)
    {
        examined.add("http.tls", error.to_string());
    }
    let tokens = examined.config.operators.iter();
    let tokens: Vec<_> = tokens
        .filter_map(|operator| OperatorToken::of_file(&operator.token_file).err())
        .collect();
    for error in tokens {
        examined.add("operator.token_file", error.to_string());
    }
    if examined.problems.is_empty() {
        return out.print(&json!({ "file": file, "valid": true }), || {
            format!("{} is valid", file.display())
        });
    }
    Err(CliError::Config(Box::new(ConfigError {
        file: Some(file.to_owned()),
        problems: examined.problems,
    })))
}

/// Takes the class queues off every port.
pub(super) async fn remove_queues(args: &RemoveArgs, out: Out) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let mut config = Config::load(&args.config).map_err(|error| failed(&error))?;
    if let Some(data_dir) = &args.data_dir {
        config.data_dir.0.clone_from(data_dir);
    }
    let results = driver::remove_classes(&config)
        .await
        .map_err(|error| failed(&error))?;
    let document: Vec<_> = results
        .iter()
        .map(|(endpoint, result)| match result {
            Ok(ports) => json!({ "endpoint": endpoint.to_string(), "ports": ports }),
            Err(error) => json!({ "endpoint": endpoint.to_string(), "error": error }),
        })
        .collect();
    out.print(&document, || {
        let lines = results.iter().map(|(endpoint, result)| match result {
            Ok(ports) => format!("{endpoint}: class queues taken off {ports} ports"),
            Err(error) => format!("{endpoint}: {error}"),
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    if results.iter().any(|(_, result)| result.is_err()) {
        return Err(CliError::Failed(
            "not every database could be reached; run the same command again when it can"
                .to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn args() -> ControllerArgs {
        ControllerArgs {
            config: None,
            data_dir: None,
            http: None,
            openflow: None,
            ledger_grpc: None,
            faucet: None,
            passphrase: PassphraseArgs::default(),
        }
    }

    #[test]
    fn the_example_configuration_is_valid() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/operator.toml");
        let config = Config::load(&file).unwrap();
        assert!(config.api_port.is_some());
        assert!(!config.ports.is_empty());
        // What the comments promise about defaults.
        assert_eq!(config.prices, Config::default().prices);
        assert_eq!(config.quotes, Config::default().quotes);
    }

    #[test]
    fn options_go_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("payflow.toml");
        std::fs::write(
            &file,
            "data_dir = \"/a\"\n[http]\nlisten = \"127.0.0.1:1\"\n",
        )
        .unwrap();
        let config = ControllerArgs {
            config: Some(file),
            data_dir: Some("/b".into()),
            openflow: Some("127.0.0.1:2".parse().unwrap()),
            ledger_grpc: Some("127.0.0.1:3".parse().unwrap()),
            ..args()
        }
        .config()
        .unwrap();
        assert_eq!(config.data_dir.0, Path::new("/b"));
        assert_eq!(config.http.listen, "127.0.0.1:1".parse().unwrap());
        assert_eq!(config.openflow.listen, ["tcp:127.0.0.1:2".parse().unwrap()]);
        assert!(matches!(config.ledger, LedgerConfig::Embedded { grpc, .. } if grpc.port() == 3));
    }

    #[test]
    fn a_faucet_of_a_ledger_elsewhere_makes_no_sense() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("payflow.toml");
        std::fs::write(
            &file,
            "[ledger]\nurl = \"http://127.0.0.1:50051\"\nchain_id = \"c\"\n",
        )
        .unwrap();
        let args = ControllerArgs {
            config: Some(file),
            faucet: Some("127.0.0.1:4".parse().unwrap()),
            ..args()
        };
        assert!(matches!(args.config(), Err(CliError::Usage(_))));
    }
}
