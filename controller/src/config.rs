//! The operator's configuration: a TOML file in which every key has a default.
//!
//! All errors of a file are told at once, each with the line, the key, and what to write instead.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use payflow_payment::{Amount, ChainId, ledger::keys::Passphrase};
use payflow_qos::{
    BitRate, PerMille, SwitchId, Tariff,
    price::{Following, Pricing},
};

use crate::api::token::Role;
use crate::core::{
    document::BuyerKey,
    network::{MacAddr, PortFacts, PortRole, openflow_name},
    receipts::ReceiptPolicy,
};

mod camara;
mod file;
mod log;
mod openflow;
mod reload;
#[cfg(test)]
mod tests;

pub use camara::{
    CamaraClient, CamaraConfig, ProfileProtocol, ProfileStatus, QosProfile, SinkRules, TokenHash,
};
pub(crate) use file::parse_role;
pub use log::{LogConfig, LogFormat};
pub use openflow::{Listener, OpenFlowConfig, SwitchConfig, TlsFiles, Transport};
pub use reload::Reload;

/// Everything an operator can say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `data_dir`: the journal, the keys and the embedded ledger; made with mode 0700 when missing.
    pub data_dir: DataDir,
    /// What the operator's key is under, if it is; never in the file. `payflow controller --passphrase-file` and others say
    /// where it is read from.
    pub operator_passphrase: Option<Passphrase>,
    /// `[openflow]`: where switches connect.
    pub openflow: OpenFlowConfig,
    /// `[http]`: where the API is served.
    pub http: HttpConfig,
    /// `[api_port]`: the API in band, as hosts in the network see it. Absent: out of band only.
    pub api_port: Option<ApiPort>,
    /// `[ovsdb]`: the switches' databases.
    pub ovsdb: OvsdbConfig,
    /// `[ledger]`: what is paid on.
    pub ledger: LedgerConfig,
    /// `[prices]`.
    pub prices: Prices,
    /// `[quotes]`: what every quote says.
    pub quotes: QuoteConfig,
    /// `[receipts]`: what is signed beside the receipt at the end, and when.
    pub receipts: ReceiptPolicy,
    /// `[network]`.
    pub network: NetworkOptions,
    /// `[log]`.
    pub log: LogConfig,
    /// `[[switch]]`: whose certificates are right for a datapath id.
    pub switches: Vec<SwitchConfig>,
    /// `[[port]]`: what is known of ports; goes before what OVSDB says.
    pub ports: Vec<PortConfig>,
    /// `[[enrolled]]`: buyers who may buy for any address of the network.
    pub enrolled: Vec<Enrolled>,
    /// `[camara]`: the CAMARA face.
    pub camara: CamaraConfig,
    /// `[[operator]]`: people and programs who act for the operator, each with a token and a role.
    pub operators: Vec<OperatorConfig>,
}

/// The data directory. By default `$XDG_STATE_HOME/payflow`, or `payflow-data` in the working
/// directory where that variable is not set. A relative path is relative to the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir(pub PathBuf);

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// `listen`: default `0.0.0.0:8080`.
    pub listen: SocketAddr,
    /// `[http.tls]`: HTTPS instead of plain HTTP.
    pub tls: Option<HttpTls>,
    /// `max_connections`: open at a time; default 1024.
    pub max_connections: usize,
    /// `max_connections_per_host`: default 64.
    pub max_connections_per_host: usize,
    /// `max_streams`: of events, open at a time, each on a connection of its own; default 512.
    pub max_streams: usize,
    /// `max_streams_per_host`: default 16.
    pub max_streams_per_host: usize,
    /// `requests_per_second`: what one host may ask all the time; default 200, and 0 is without a limit.
    pub requests_per_second: u32,
    /// `burst`: what one host may ask at once; default 1000.
    pub burst: u32,
    /// `allow_origins`: web pages of which origins a browser lets read answers (CORS); default none.
    pub allow_origins: Vec<Origin>,
}

/// `[http.tls]`: files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTls {
    /// `key`: the API's private key. Only its owner may write it, and only owner and group read it.
    pub key: PathBuf,
    /// `certificate`: the certificate for it, followed by intermediate ones if there are any.
    pub certificate: PathBuf,
}

/// An origin as a browser writes it (RFC 6454 section 6.1), or `*` for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// `[[operator]]`: a token, and what it is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorConfig {
    /// `name`: for the log.
    pub name: String,
    /// `role`: `viewer`, `operator`, `auditor`, `treasurer` or `admin`.
    pub role: Role,
    /// `token_file`: holds the token, readable by nobody else; or `sha256:` and its hash.
    pub token_file: PathBuf,
}

/// `[api_port]`: the address that hosts in the network reach the API at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiPort {
    /// `address`: its IP address in the network.
    pub address: IpAddr,
    /// `mac`: its MAC address there.
    pub mac: MacAddr,
}

/// `[ovsdb]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OvsdbConfig {
    /// `endpoints`: default the local Open vSwitch, `unix:/var/run/openvswitch/db.sock`.
    pub endpoints: Vec<OvsdbEndpoint>,
    /// `[ovsdb.tls]`: needed by, and only by, `ssl:` endpoints.
    pub tls: Option<OvsdbTls>,
    /// `trust_link_speed`: a physical port of which nothing is declared has the capacity its link
    /// negotiated; default false.
    pub trust_link_speed: bool,
}

/// Where an OVSDB server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OvsdbEndpoint {
    /// `unix:/var/run/openvswitch/db.sock`.
    Unix(PathBuf),
    /// `tcp:192.0.2.1:6640`.
    Tcp(SocketAddr),
    /// `ssl:192.0.2.1:6640`: TLS 1.2 or 1.3 with certificates on both sides.
    Ssl(SocketAddr),
}

/// `[ovsdb.tls]`: files in PEM. They are read again at every connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OvsdbTls {
    /// `key`: the controller's private key. Only its owner may write it, and only owner and group read it.
    pub key: PathBuf,
    /// `certificate`: the controller's certificate, followed by intermediate ones if there are any.
    pub certificate: PathBuf,
    /// `server_ca`: one or several CAs; the servers have certificates of one of them. Names are not compared, as Open
    /// vSwitch does not either: these CAs sign switches and nothing else.
    pub server_ca: PathBuf,
}

/// `[ledger]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerConfig {
    /// `embedded = true`, the default: a development ledger inside the controller. Its money is
    /// worth nothing.
    Embedded {
        /// `grpc`: where wallets reach it; default `0.0.0.0:50051`. Port 0 takes any free port.
        grpc: SocketAddr,
        /// `faucet`: where money is given away; default `0.0.0.0:9123`. Port 0 takes any free port.
        faucet: SocketAddr,
    },
    /// `url` and `chain_id`: a ledger elsewhere.
    Remote {
        /// gRPC endpoint of a node, such as `http://127.0.0.1:50051`.
        url: String,
        /// The chain it must be, so that money of one chain never passes for money of another.
        chain_id: ChainId,
        /// `committee`: a file with the validators that are trusted, as `payflow ledger` writes it and `payflow committee`
        /// asks it of a node. Whatever the node says is then believed only if they, or validators that they and their
        /// successors appointed, signed it. Without it the node is believed whatever it says.
        committee: Option<PathBuf>,
    },
}

/// `[prices]`, in nanos of IOTA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    /// `model` and what belongs to it: `fixed` by default, `time_of_day` with `[[prices.period]]`, or `congestion` with
    /// `full_ratio`.
    pub pricing: Pricing,
    /// `[prices.follow_demand]`: all prices rise and fall slowly with what is sold; not when absent.
    pub following: Option<Following>,
}

/// `[quotes]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuoteConfig {
    /// `ttl_s`: how long a quote can be paid and its capacity is held; default 30 s.
    pub ttl: Duration,
    /// `grace_s`: how much later a payment made in time may still become known; default 10 s.
    pub grace: Duration,
    /// `cancellation_fee_nanos`: kept at most when the buyer ends early; default 0.005 IOTA.
    pub cancellation_fee: Amount,
    /// `mispayment_fee_nanos`: kept at most when a payment that bought nothing is sent back; default
    /// 0.005 IOTA, about what sending it costs.
    pub mispayment_fee: Amount,
    /// `max_duration_s`: the longest that is sold at once; default a day.
    pub max_duration: Duration,
}

/// `[network]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkOptions {
    /// `discover_trunks`: a port that nobody declared may become a trunk when discovery proves a
    /// switch behind it; default false, because then no host can ever pass for a switch.
    pub discover_trunks: bool,
    /// `share_per_mille`: what part of what a link can carry may be sold, unless its port says otherwise; default all of it
    /// that is not kept for control and best effort.
    pub share: Option<PerMille>,
}

/// `[[port]]`: what the operator knows of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// `switch`: its datapath id, hexadecimal.
    pub switch: SwitchId,
    /// `name`.
    pub name: String,
    /// `capacity`, such as `100Mbit`; absent leaves it to OVSDB.
    pub capacity: Option<BitRate>,
    /// `role`: `edge`, `trunk` or `api`; absent leaves it to OVSDB.
    pub role: Option<PortRole>,
    /// `share_per_mille`: what part of what leaves there may be sold; absent is as everywhere.
    pub share: Option<PerMille>,
}

/// `[[enrolled]]`: a buyer known to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// `key`: ed25519 public key, 64 hexadecimal digits.
    pub key: BuyerKey,
    /// `name`: for people.
    pub name: String,
    /// `addresses`: only flows that start or end at one of these, for a host behind a proxy or outside the managed network; any
    /// flow when absent.
    pub addresses: Option<Vec<IpAddr>>,
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Which file, where there is one.
    pub file: Option<PathBuf>,
    /// At least one.
    pub problems: Vec<ConfigProblem>,
}

/// A configuration, and all that is wrong with it.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What is right of it, with defaults in place of the rest.
    pub config: Config,
    /// What is wrong, in file order; what is about no line comes first.
    pub problems: Vec<ConfigProblem>,
    places: BTreeMap<String, usize>,
}

impl Examined {
    /// The line of a key, where the file has it once.
    #[must_use]
    pub fn line(&self, key: &str) -> Option<usize> {
        self.places.get(key).copied()
    }

    /// Something else that is wrong with it, found elsewhere.
    pub fn add(&mut self, key: &str, message: String) {
        self.problems.push(ConfigProblem {
            line: self.line(key),
            key: key.to_owned(),
            message,
        });
        self.problems.sort();
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigProblem {
    /// Line in the file, from 1; absent when it is not about one line.
    pub line: Option<usize>,
    /// The key, such as `openflow.listen`; empty when it is not about a key.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Config {
    /// Longest duration that admission plans ahead: 30 days.
    pub const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 3600);

    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let examined = Self::examine(path)?;
        if examined.problems.is_empty() {
            return Ok(examined.config);
        }
        Err(ConfigError {
            file: Some(path.to_owned()),
            problems: examined.problems,
        })
    }

    /// Reads a file and says all that is wrong with it.
    ///
    /// # Errors
    /// The file cannot be read at all.
    pub fn examine(path: &Path) -> Result<Examined, ConfigError> {
        let of_file = |problems| ConfigError {
            file: Some(path.to_owned()),
            problems,
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "there is no such file",
                io::ErrorKind::PermissionDenied => "it must be readable by the controller",
                io::ErrorKind::InvalidData => "it must be text in UTF-8",
                _ => "it must be a readable file",
            };
            of_file(vec![ConfigProblem {
                line: None,
                key: String::new(),
                message: format!("{hint} ({error})"),
            }])
        })?;
        Ok(Self::examine_text(&text))
    }

    /// Reads and checks the text of a file.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let examined = Self::examine_text(text);
        if examined.problems.is_empty() {
            Ok(examined.config)
        } else {
            Err(ConfigError {
                file: None,
                problems: examined.problems,
            })
        }
    }

    fn examine_text(text: &str) -> Examined {
        let read = file::read(text);
        let mut problems = read.problems;
        let checked = if read.is_broken {
            Ok(())
        } else {
            read.config.check()
        };
        // Where a section has a wrong key, its default would be judged in its place.
        let section = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
        let wrong: BTreeSet<String> = problems.iter().map(|it| section(&it.key)).collect();
        for problem in checked.err().into_iter().flat_map(|error| error.problems) {
            let keys = || problem.key.split(" and ");
            if !keys().any(|key| wrong.contains(&section(key))) {
                let line = keys().find_map(|key| read.places.get(key).copied());
                problems.push(ConfigProblem { line, ..problem });
            }
        }
        problems.sort();
        Examined {
            config: read.config,
            problems,
            places: read.places,
        }
    }

    /// Checks what no single key shows. [`Self::parse`] has done so; needed again after overrides.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let mut problem = |key: String, message: String| {
            problems.push(ConfigProblem {
                line: None,
                key,
                message,
            })
        };
        for (key, message) in self.camara.problems() {
            problem(key, message);
        }
        for (address, keys) in self.shared_addresses() {
            problem(
                keys.join(" and "),
                format!("both want {address}; give each a port of its own"),
            );
        }
        if self.openflow.max_connections == 0 {
            problem(
                "openflow.max_connections".into(),
                "0 would refuse every switch; write for example 1024".into(),
            );
        }
        if self.openflow.listen.is_empty() {
            problem(
                "openflow.listen".into(),
                "no switch could connect; write for example \"ssl:0.0.0.0:6653\"".into(),
            );
        }
        let takes_tls = |listener: &Listener| listener.transport == Transport::Tls;
        match (
            self.openflow.listen.iter().find(|it| takes_tls(it)),
            &self.openflow.tls,
        ) {
            (Some(listener), None) => problem(
                "openflow.listen".into(),
                format!("{listener} needs [openflow.tls] with key, certificate and switch_ca"),
            ),
            (None, Some(_)) => problem(
                "openflow.tls".into(),
                "nobody is served with these certificates; write listen = \"ssl:0.0.0.0:6653\", or remove them".into(),
            ),
            _ => {}
        }
        let takes_tls = |endpoint: &OvsdbEndpoint| matches!(endpoint, OvsdbEndpoint::Ssl(_));
        match (
            self.ovsdb.endpoints.iter().find(|it| takes_tls(it)),
            &self.ovsdb.tls,
        ) {
            (Some(endpoint), None) => problem(
                "ovsdb.endpoints".into(),
                format!("{endpoint} needs [ovsdb.tls] with key, certificate and server_ca"),
            ),
            (None, Some(_)) => problem(
                "ovsdb.tls".into(),
                "no server is reached with these certificates; write endpoints = [\"ssl:192.0.2.1:6640\"], or remove them"
                    .into(),
            ),
            _ => {}
        }
        let mut pinned = BTreeSet::new();
        for switch in &self.switches {
            if !pinned.insert(switch.id) {
                problem(
                    "switch".into(),
                    format!(
                        "switch {} is there twice; keep one, with all its keys",
                        switch.id
                    ),
                );
            }
            if switch.keys.is_empty() {
                problem(
                    "switch.keys".into(),
                    format!(
                        "switch {} could never connect; write the fingerprint of its key, as the log and `payflow switches` show it",
                        switch.id
                    ),
                );
            }
        }
        if self.quotes.ttl.is_zero() {
            problem(
                "quotes.ttl_s".into(),
                "a quote that lasts 0 s cannot be paid; write for example 30".into(),
            );
        }
        if self.quotes.max_duration.is_zero() || self.quotes.max_duration > Self::MAX_DURATION {
            problem(
                "quotes.max_duration_s".into(),
                format!(
                    "must be from 1 to {}, which is 30 days",
                    Self::MAX_DURATION.as_secs()
                ),
            );
        }
        let mut ports = BTreeSet::new();
        for port in &self.ports {
            if !ports.insert((port.switch, openflow_name(&port.name))) {
                problem(
                    "port".into(),
                    format!(
                        "port {:?} of switch {} is there twice; keep one",
                        port.name, port.switch
                    ),
                );
            }
            if port.role == Some(PortRole::Api) && self.api_port.is_none() {
                problem(
                    "api_port".into(),
                    format!(
                        "port {:?} leads to the API; write [api_port] with its address and mac",
                        port.name
                    ),
                );
            }
        }
        let mut keys = BTreeSet::new();
        for enrolled in &self.enrolled {
            if !keys.insert(enrolled.key) {
                problem(
                    "enrolled".into(),
                    format!("key {} is there twice; keep one", enrolled.key),
                );
            }
        }
        for (key, zero) in [
            ("http.max_connections", self.http.max_connections == 0),
            (
                "http.max_connections_per_host",
                self.http.max_connections_per_host == 0,
            ),
            ("http.burst", self.http.burst == 0),
        ] {
            if zero {
                problem(
                    key.into(),
                    "with 0 nobody could ask anything; write at least 1".into(),
                );
            }
        }
        let mut names = BTreeSet::new();
        for operator in &self.operators {
            if !names.insert(&operator.name) {
                problem(
                    "operator".into(),
                    format!(
                        "{:?} is there twice; give each a name of its own",
                        operator.name
                    ),
                );
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError {
                file: None,
                problems,
            })
        }
    }

    /// What the file says of a port: what it does not say is `None`.
    #[must_use]
    pub fn port(&self, switch: SwitchId, name: &str) -> Option<&PortConfig> {
        self.ports
            .iter()
            .find(|port| port.switch == switch && openflow_name(&port.name) == openflow_name(name))
    }

    /// Addresses that more than one listener would take. Port 0 is nobody's.
    fn shared_addresses(&self) -> Vec<(SocketAddr, Vec<&'static str>)> {
        let mut listeners: Vec<_> = self
            .openflow
            .listen
            .iter()
            .map(|listener| ("openflow.listen", listener.address))
            .collect();
        listeners.push(("http.listen", self.http.listen));
        if let LedgerConfig::Embedded { grpc, faucet } = self.ledger {
            listeners.extend([("ledger.grpc", grpc), ("ledger.faucet", faucet)]);
        }
        let mut by_port: BTreeMap<u16, Vec<(&'static str, SocketAddr)>> = BTreeMap::new();
        for (key, address) in listeners
            .into_iter()
            .filter(|(_, address)| address.port() != 0)
        {
            by_port
                .entry(address.port())
                .or_default()
                .push((key, address));
        }
        let mut shared = Vec::new();
        for listeners in by_port.values() {
            for (at, (key, address)) in listeners.iter().enumerate() {
                for (other_key, other) in listeners.iter().skip(at + 1) {
                    if address.ip() == other.ip()
                        || address.ip().is_unspecified()
                        || other.ip().is_unspecified()
                    {
                        shared.push((*other, vec![*key, *other_key]));
                    }
                }
            }
        }
        shared
    }
}

impl PortConfig {
    /// As the core takes it, with nothing else known.
    #[must_use]
    pub fn facts(&self) -> PortFacts {
        PortFacts {
            switch: self.switch,
            port_name: openflow_name(&self.name).to_owned(),
            capacity: self.capacity,
            role: self.role.unwrap_or_default(),
        }
    }
}

impl Default for DataDir {
    fn default() -> Self {
        let state_home = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
        match state_home.filter(|path| path.is_absolute()) {
            Some(path) => Self(path.join("payflow")),
            None => Self(PathBuf::from("payflow-data")),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            tls: None,
            max_connections: 1024,
            max_connections_per_host: 64,
            max_streams: 512,
            max_streams_per_host: 16,
            requests_per_second: 200,
            burst: 1000,
            allow_origins: Vec::new(),
        }
    }
}

impl Origin {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let is_host = |host: &str| {
            let plain = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte)
            };
            !host.is_empty() && host.bytes().all(plain)
        };
        if text == "*" || host.is_some_and(is_host) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not an origin; write for example \"https://shop.example\" in lower case, without a path, or \"*\""
        ))
    }
}

impl Default for OvsdbConfig {
    fn default() -> Self {
        Self {
            endpoints: vec![OvsdbEndpoint::Unix("/var/run/openvswitch/db.sock".into())],
            tls: None,
            trust_link_speed: false,
        }
    }
}

impl Default for LedgerConfig {
    fn default() -> Self {
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Self::Embedded {
            grpc: any(50051),
            faucet: any(9123),
        }
    }
}

impl Prices {
    pub(crate) const fn default_tariff() -> Tariff {
        Tariff {
            steady_nanos_per_mbit_second: 100_000,
            elastic_nanos_per_mbit_second: 80_000,
            minimum_nanos: 10_000_000,
        }
    }
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            pricing: Pricing::Fixed(Self::default_tariff()),
            following: None,
        }
    }
}

impl Default for QuoteConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            cancellation_fee: Amount(5_000_000),
            mispayment_fee: Amount(5_000_000),
            max_duration: Duration::from_secs(24 * 3600),
        }
    }
}

impl FromStr for OvsdbEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "{text:?} is not an OVSDB server; write \"unix:/var/run/openvswitch/db.sock\", \"tcp:192.0.2.1:6640\" or \"ssl:192.0.2.1:6640\""
            )
        };
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) => address.parse().map(Self::Tcp).map_err(|_| wrong()),
            Some(("ssl", address)) => address.parse().map(Self::Ssl).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for OvsdbEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Ssl(address) => write!(f, "ssl:{address}"),
        }
    }
}

impl fmt::Display for ConfigError {
    /// One problem per line, `file:line: key: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            if let Some(file) = &self.file {
                write!(f, "{}:", file.display())?;
            }
            match (problem.line, &self.file) {
                (Some(line), Some(_)) => write!(f, "{line}: ")?,
                (Some(line), None) => write!(f, "line {line}: ")?,
                (None, Some(_)) => write!(f, " ")?,
                (None, None) => {}
            }
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            f.write_str(&problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
