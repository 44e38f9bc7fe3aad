//! Reads a [`Config`] out of TOML key by key, so that one wrong key does not hide the next.

#[cfg(test)]
use std::collections::BTreeSet;
use std::{
    cell::RefCell, collections::BTreeMap, fmt::Display, net::SocketAddr, path::PathBuf,
    str::FromStr, time::Duration,
};

use payflow_payment::{Amount, ChainId};
use payflow_qos::{BitRate, PerMille, SwitchId, topology::ParseSwitchIdError};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    ApiPort, Config, ConfigProblem, DataDir, Enrolled, HttpConfig, HttpTls, LedgerConfig,
    LogConfig, LogFormat, NetworkOptions, OpenFlowConfig, OperatorConfig, OvsdbConfig, OvsdbTls,
    PortConfig, QuoteConfig, SwitchConfig, TlsFiles,
};
use crate::core::{network::PortRole, receipts::ReceiptPolicy};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

mod camara;
mod prices;

use camara::read_camara;
use prices::read_prices;

/// What a text says.
pub(super) struct Read {
    /// With defaults in place of what is wrong.
    pub(super) config: Config,
    /// What is wrong, in file order.
    pub(super) problems: Vec<ConfigProblem>,
    /// The text is not TOML: what the parser skipped is not in the configuration.
    pub(super) is_broken: bool,
    /// In which line each key is, where there is one of it.
    pub(super) places: BTreeMap<String, usize>,
    /// Every key that was looked for, with those of sections that are there; `port.name`.
    #[cfg(test)]
    pub(super) known: BTreeSet<String>,
}

/// Reads a configuration.
pub(super) fn read(text: &str) -> Read {
    let (document, errors) = DeTable::parse_recoverable(text);
    let report = Report {
        text,
        problems: RefCell::default(),
        places: RefCell::default(),
        #[cfg(test)]
        known: RefCell::default(),
    };
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        report.add(at, String::new(), format!("not TOML: {}", error.message()));
    }
    let config = read_root(Section::new(
        &report,
        String::new(),
        Some(document.get_ref()),
        0,
    ));
    let mut problems = report.problems.into_inner();
    if !errors.is_empty() {
        // What the parser skipped would be told as missing.
        problems.truncate(errors.len());
    }
    problems.sort();
    Read {
        config,
        problems,
        is_broken: !errors.is_empty(),
        places: report.places.into_inner(),
        #[cfg(test)]
        known: report.known.into_inner(),
    }
}

fn read_root(mut root: Section<'_>) -> Config {
    let defaults = Config::default();
    Config {
        data_dir: root.or("data_dir", path, defaults.data_dir),
        operator_passphrase: None,
        openflow: read_openflow(root.section("openflow")),
        http: read_http(root.section("http")),
        api_port: root.section_if_there("api_port").and_then(read_api_port),
        ovsdb: read_ovsdb(root.section("ovsdb")),
        ledger: read_ledger(root.section("ledger")),
        prices: read_prices(root.section("prices")),
        quotes: read_quotes(root.section("quotes")),
        receipts: read_receipts(root.section("receipts")),
        network: read_network(root.section("network")),
        log: read_log(root.section("log")),
        switches: root
            .sections("switch")
            .into_iter()
            .filter_map(read_switch)
            .collect(),
        ports: root
            .sections("port")
            .into_iter()
            .filter_map(read_port)
            .collect(),
        enrolled: root
            .sections("enrolled")
            .into_iter()
            .filter_map(read_enrolled)
            .collect(),
        camara: read_camara(root.section("camara")),
        operators: root
            .sections("operator")
            .into_iter()
            .filter_map(read_operator)
            .collect(),
    }
}

fn read_openflow(mut section: Section<'_>) -> OpenFlowConfig {
    let defaults = OpenFlowConfig::default();
    OpenFlowConfig {
        listen: section.or("listen", one_or_more, defaults.listen),
        tls: section.section_if_there("tls").and_then(read_tls),
        max_connections: section.or("max_connections", integer, defaults.max_connections),
    }
}

fn read_tls(mut section: Section<'_>) -> Option<TlsFiles> {
    let files = read_credentials(&mut section, "switch_ca");
    let crl = section.optional("crl", file);
    let [key, certificate, switch_ca] = files?;
    Some(TlsFiles {
        key,
        certificate,
        switch_ca,
        crl,
    })
}

/// The controller's key and certificate, and the CA of the switches, which has this name.
fn read_credentials(section: &mut Section<'_>, ca: &'static str) -> Option<[PathBuf; 3]> {
    let key = section.required(
        "key",
        file,
        "the file with the controller's private key, such as \"/etc/payflow/ctl-privkey.pem\"",
    );
    let certificate = section.required(
        "certificate",
        file,
        "the file with the controller's certificate, such as \"/etc/payflow/ctl-cert.pem\"",
    );
    let ca = section.required(
        ca,
        file,
        "the file with the CA of the switches, such as \"/var/lib/openvswitch/pki/switchca/cacert.pem\"",
    );
    Some([key?, certificate?, ca?])
}

fn read_switch(mut section: Section<'_>) -> Option<SwitchConfig> {
    let id = section.required(
        "id",
        datapath,
        "the datapath id, such as \"0000000000000001\"",
    );
    let keys = section.required(
        "keys",
        list("[\"sha256:...\"]"),
        "the fingerprints of its keys, as the log and `payflow switches` show them",
    );
    Some(SwitchConfig {
        id: id?,
        keys: keys?,
    })
}

fn read_http(mut section: Section<'_>) -> HttpConfig {
    let defaults = HttpConfig::default();
    HttpConfig {
        listen: section.or("listen", socket("0.0.0.0:8080"), defaults.listen),
        tls: section.section_if_there("tls").and_then(read_http_tls),
        max_connections: section.or("max_connections", integer, defaults.max_connections),
        max_connections_per_host: section.or(
            "max_connections_per_host",
            integer,
            defaults.max_connections_per_host,
        ),
        max_streams: section.or("max_streams", integer, defaults.max_streams),
        max_streams_per_host: section.or(
            "max_streams_per_host",
            integer,
            defaults.max_streams_per_host,
        ),
        requests_per_second: section.or(
            "requests_per_second",
            integer,
            defaults.requests_per_second,
        ),
        burst: section.or("burst", integer, defaults.burst),
        allow_origins: section.or(
            "allow_origins",
            list("[\"https://shop.example\"]"),
            defaults.allow_origins,
        ),
    }
}

fn read_http_tls(mut section: Section<'_>) -> Option<HttpTls> {
    let key = section.required(
        "key",
        file,
        "the file with the API's private key, such as \"/etc/payflow/api-key.pem\"",
    );
    let certificate = section.required(
        "certificate",
        file,
        "the file with the API's certificate, such as \"/etc/payflow/api-cert.pem\"",
    );
    Some(HttpTls {
        key: key?,
        certificate: certificate?,
    })
}

fn read_operator(mut section: Section<'_>) -> Option<OperatorConfig> {
    let name = section.required("name", text, "a name for the log, such as \"alice\"");
    let role = section.required(
        "role",
        text_as,
        "\"viewer\", \"operator\", \"auditor\", \"treasurer\" or \"admin\"",
    );
    let token_file = section.required(
        "token_file",
        file,
        "the file with the token, such as \"/etc/payflow/alice.token\"",
    );
    Some(OperatorConfig {
        name: name?,
        role: role?,
        token_file: token_file?,
    })
}

fn read_api_port(mut section: Section<'_>) -> Option<ApiPort> {
    let address = section.required(
        "address",
        parsed("an IP address without a port, such as \"10.0.0.254\""),
        "the API's IP address in the network, such as \"10.0.0.254\"",
    );
    let mac = section.required(
        "mac",
        text_as,
        "the API's MAC address, such as \"02:00:00:00:00:fe\"",
    );
    Some(ApiPort {
        address: address?,
        mac: mac?,
    })
}

fn read_ovsdb(mut section: Section<'_>) -> OvsdbConfig {
    let defaults = OvsdbConfig::default();
    let endpoints = list("[\"unix:/var/run/openvswitch/db.sock\"]");
    OvsdbConfig {
        endpoints: section.or("endpoints", endpoints, defaults.endpoints),
        tls: section.section_if_there("tls").and_then(read_ovsdb_tls),
        trust_link_speed: section.or("trust_link_speed", boolean, defaults.trust_link_speed),
    }
}

fn read_ovsdb_tls(mut section: Section<'_>) -> Option<OvsdbTls> {
    let [key, certificate, server_ca] = read_credentials(&mut section, "server_ca")?;
    Some(OvsdbTls {
        key,
        certificate,
        server_ca,
    })
}

fn read_ledger(mut section: Section<'_>) -> LedgerConfig {
    let remote = section.has("url") || section.has("chain_id");
    let embedded = section.optional("embedded", boolean).unwrap_or(!remote);
    if embedded && remote {
        let at = section
            .position("embedded")
            .or(section.position("url"))
            .unwrap_or(section.at);
        section.problem(
            at,
            "embedded",
            "the embedded ledger has no url or chain_id; remove those, or write embedded = false",
        );
    }
    if embedded {
        section.optional("url", text);
        section.optional("chain_id", text);
        if let Some(at) = section.position("committee") {
            let problem = "the embedded ledger's committee is known; remove this, or give a url and a chain_id";
            section.problem(at, "committee", problem);
        }
        section.optional("committee", |_| Ok(()));
        let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
        LedgerConfig::Embedded {
            grpc: section.or("grpc", socket("0.0.0.0:50051"), any(50051)),
            faucet: section.or("faucet", socket("0.0.0.0:9123"), any(9123)),
        }
    } else {
        let url = section.required(
            "url",
            url,
            "the node's gRPC endpoint, such as \"http://127.0.0.1:50051\"",
        );
        let chain_id = section.required(
            "chain_id",
            text,
            "the id of the chain, as the node or `payflow ledger` says it",
        );
        let committee = section.optional("committee", file);
        for key in ["grpc", "faucet"] {
            if let Some(at) = section.position(key) {
                section.problem(
                    at,
                    key,
                    "only the embedded ledger listens; remove this, or write embedded = true",
                );
            }
            section.optional(key, |_| Ok(()));
        }
        LedgerConfig::Remote {
            url: url.unwrap_or_default(),
            chain_id: ChainId::new(chain_id.unwrap_or_default()),
            committee,
        }
    }
}

fn read_quotes(mut section: Section<'_>) -> QuoteConfig {
    let defaults = QuoteConfig::default();
    QuoteConfig {
        ttl: section.or("ttl_s", seconds, defaults.ttl),
        grace: section.or("grace_s", seconds, defaults.grace),
        cancellation_fee: Amount(section.or(
            "cancellation_fee_nanos",
            integer,
            defaults.cancellation_fee.get(),
        )),
        mispayment_fee: Amount(section.or(
            "mispayment_fee_nanos",
            integer,
            defaults.mispayment_fee.get(),
        )),
        max_duration: section.or("max_duration_s", seconds, defaults.max_duration),
    }
}

fn read_network(mut section: Section<'_>) -> NetworkOptions {
    NetworkOptions {
        discover_trunks: section.or("discover_trunks", boolean, false),
        share: section.optional("share_per_mille", per_mille),
    }
}

fn read_log(mut section: Section<'_>) -> LogConfig {
    let defaults = LogConfig::default();
    LogConfig {
        level: section.or("level", log_level, defaults.level),
        format: section.or("format", log_format, defaults.format),
    }
}

fn read_port(mut section: Section<'_>) -> Option<PortConfig> {
    let switch = section.required(
        "switch",
        datapath,
        "the datapath id, such as \"0000000000000001\"",
    );
    let name = section.required(
        "name",
        text,
        "the port's name on the switch, such as \"s1-eth1\"",
    );
    let capacity = section.optional("capacity", text_as::<BitRate>);
    let role = section.optional("role", role);
    let share = section.optional("share_per_mille", per_mille);
    Some(PortConfig {
        switch: switch?,
        name: name?,
        capacity,
        role,
        share,
    })
}

fn read_enrolled(mut section: Section<'_>) -> Option<Enrolled> {
    let key = section.required(
        "key",
        text_as,
        "the buyer's ed25519 public key, 64 hexadecimal digits",
    );
    let name = section.required("name", text, "a name for people, such as \"studio\"");
    let addresses = section.optional("addresses", list("[\"10.0.0.7\"]"));
    Some(Enrolled {
        key: key?,
        name: name?,
        addresses,
    })
}

/// Where problems are collected.
struct Report<'t> {
    text: &'t str,
    problems: RefCell<Vec<ConfigProblem>>,
    places: RefCell<BTreeMap<String, usize>>,
    #[cfg(test)]
    known: RefCell<BTreeSet<String>>,
}

impl Report<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    fn add(&self, at: usize, key: String, message: String) {
        self.problems.borrow_mut().push(ConfigProblem {
            line: Some(self.line(at)),
            key,
            message,
        });
    }
}

/// One table of the file. Keys that were not asked for by the time it is dropped are unknown.
struct Section<'t> {
    report: &'t Report<'t>,
    path: String,
    table: Option<&'t DeTable<'t>>,
    at: usize,
    known: Vec<&'static str>,
    /// There may be others like it: `[[port]]`.
    is_repeated: bool,
}

impl<'t> Section<'t> {
    fn new(
        report: &'t Report<'t>,
        path: String,
        table: Option<&'t DeTable<'t>>,
        at: usize,
    ) -> Self {
        Self {
            report,
            path,
            table,
            at,
            known: Vec::new(),
            is_repeated: false,
        }
    }

    /// This key may be here.
    fn know(&mut self, key: &'static str) {
        self.known.push(key);
        #[cfg(test)]
        self.report.known.borrow_mut().insert(self.name_of(key));
        if let (Some(at), false) = (self.position(key), self.is_repeated) {
            let line = self.report.line(at);
            self.report
                .places
                .borrow_mut()
                .insert(self.name_of(key), line);
        }
    }

    fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.entry(key).map(|(key, _)| key.span().start)
    }

    fn entry(
        &self,
        key: &str,
    ) -> Option<(
        &'t Spanned<std::borrow::Cow<'t, str>>,
        &'t Spanned<DeValue<'t>>,
    )> {
        self.table?
            .iter()
            .find(|(name, _)| name.get_ref().as_ref() == key)
    }

    fn problem(&self, at: usize, key: &str, message: impl Into<String>) {
        self.report.add(at, self.name_of(key), message.into());
    }

    fn name_of(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        }
    }

    fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        self.know(key);
        let (_, value) = self.entry(key)?;
        read(value.get_ref())
            .map_err(|message| self.problem(value.span().start, key, message))
            .ok()
    }

    fn or<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
        default: T,
    ) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
        what: &str,
    ) -> Option<T> {
        if !self.has(key) {
            self.problem(self.at, key, format!("is missing; write {what}"));
        }
        self.optional(key, read)
    }

    fn section_if_there(&mut self, key: &'static str) -> Option<Section<'t>> {
        self.know(key);
        self.has(key).then(|| self.section(key))
    }

    fn section(&mut self, key: &'static str) -> Section<'t> {
        self.know(key);
        let entry = self.entry(key);
        let at = entry.map_or(0, |(_, value)| value.span().start);
        let table = entry.and_then(|(_, value)| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.problem(
                    at,
                    key,
                    format!(
                        "a table is wanted, not {}; write [{key}]",
                        kind(value.get_ref())
                    ),
                );
            }
            table
        });
        let mut section = Section::new(self.report, self.name_of(key), table, at);
        section.is_repeated = self.is_repeated;
        section
    }

    fn sections(&mut self, key: &'static str) -> Vec<Section<'t>> {
        // One of several has no place that a message about all could name.
        let repeated = std::mem::replace(&mut self.is_repeated, true);
        self.know(key);
        self.is_repeated = repeated;
        let Some((_, value)) = self.entry(key) else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        let wrong = |at, found| {
            self.problem(
                at,
                key,
                format!("tables are wanted, not {found}; write [[{key}]]"),
            )
        };
        match value.get_ref().as_array() {
            None => wrong(value.span().start, kind(value.get_ref())),
            Some(items) => {
                for item in items {
                    match item.get_ref().as_table() {
                        None => wrong(item.span().start, kind(item.get_ref())),
                        Some(table) => {
                            let mut section = Section::new(
                                self.report,
                                self.name_of(key),
                                Some(table),
                                item.span().start,
                            );
                            section.is_repeated = true;
                            sections.push(section);
                        }
                    }
                }
            }
        }
        sections
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        for (name, _) in self.table.into_iter().flatten() {
            let text = name.get_ref().as_ref();
            if !self.known.contains(&text) {
                self.problem(
                    name.span().start,
                    text,
                    format!("is not a key here; known are {}", self.known.join(", ")),
                );
            }
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    value.type_str()
}

fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value.as_str() {
        Some("") => Err("must not be empty".to_owned()),
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("a text in quotes is wanted, not {}", kind(value))),
    }
}

/// A text that says itself what it must be when it is wrong.
fn text_as<T: FromStr<Err: Display>>(value: &DeValue<'_>) -> Result<T, String> {
    text(value)?.parse::<T>().map_err(|error| error.to_string())
}

/// A list of such texts.
fn list<T: FromStr<Err: Display>>(
    example: &'static str,
) -> impl Fn(&DeValue<'_>) -> Result<Vec<T>, String> {
    move |value| {
        let items = value
            .as_array()
            .ok_or_else(|| format!("a list is wanted, not {}; write {example}", kind(value)))?;
        items.iter().map(|item| text_as(item.get_ref())).collect()
    }
}

/// Such a text, or a list of them.
fn one_or_more<T: FromStr<Err: Display>>(value: &DeValue<'_>) -> Result<Vec<T>, String> {
    match value.as_array() {
        Some(items) => items.iter().map(|item| text_as(item.get_ref())).collect(),
        None => Ok(vec![text_as(value)?]),
    }
}

fn parsed<T: FromStr>(what: &'static str) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| {
        let text = text(value)?;
        text.parse().map_err(|_| format!("{text:?} is not {what}"))
    }
}

fn socket(example: &'static str) -> impl Fn(&DeValue<'_>) -> Result<SocketAddr, String> {
    move |value| {
        let text = text(value)?;
        text.parse().map_err(|_| {
            format!("{text:?} is not an IP address and a port; write for example {example:?}")
        })
    }
}

fn url(value: &DeValue<'_>) -> Result<String, String> {
    let text = text(value)?;
    if text.starts_with("http://") || text.starts_with("https://") {
        Ok(text)
    } else {
        Err(format!(
            "{text:?} is not a URL of a node; write for example \"http://127.0.0.1:50051\""
        ))
    }
}

fn path(value: &DeValue<'_>) -> Result<DataDir, String> {
    file(value).map(DataDir)
}

fn file(value: &DeValue<'_>) -> Result<PathBuf, String> {
    text(value).map(PathBuf::from)
}

fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| format!("write true or false, not {}", kind(value)))
}

fn integer<T: TryFrom<u64>>(value: &DeValue<'_>) -> Result<T, String> {
    let number = value
        .as_integer()
        .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| {
            "a whole number that is not negative is wanted, without quotes or a unit".to_owned()
        })
}

fn per_mille(value: &DeValue<'_>) -> Result<PerMille, String> {
    PerMille::try_from(integer::<u16>(value)?).map_err(|error| error.to_string())
}

fn read_receipts(mut section: Section<'_>) -> ReceiptPolicy {
    let defaults = ReceiptPolicy::default();
    ReceiptPolicy {
        interim: section.or("interim_interval_s", interval, defaults.interim),
        anchors: section.or("anchor_interval_s", interval, defaults.anchors),
    }
}

/// Zero is never.
fn interval(value: &DeValue<'_>) -> Result<Option<Duration>, String> {
    let interval = seconds(value)?;
    Ok(Some(interval).filter(|it| !it.is_zero()))
}

fn seconds(value: &DeValue<'_>) -> Result<Duration, String> {
    integer(value).map(Duration::from_secs)
}

fn datapath(value: &DeValue<'_>) -> Result<SwitchId, String> {
    text(value)?
        .parse()
        .map_err(|error: ParseSwitchIdError| error.to_string())
}

fn log_level(value: &DeValue<'_>) -> Result<String, String> {
    let level = text(value)?;
    // A single word that is no level would be taken for the name of a module, and silence everything.
    let mut bare = level
        .split(',')
        .map(str::trim)
        .filter(|it| !it.contains('='));
    let misspelt = bare.find(|it| it.parse::<LevelFilter>().is_err());
    let wrong = match (misspelt, level.parse::<EnvFilter>()) {
        (None, Ok(_)) => return Ok(level),
        (Some(word), _) => format!("{word:?} is no level"),
        (None, Err(error)) => error.to_string(),
    };
    Err(format!(
        "{wrong}; write \"error\", \"warn\", \"info\", \"debug\" or \"trace\", or for parts \"info,payflow_controller::driver=debug\""
    ))
}

fn log_format(value: &DeValue<'_>) -> Result<LogFormat, String> {
    match text(value)?.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!(
            "{other:?} is not a form of logs; write \"text\" or \"json\""
        )),
    }
}

fn role(value: &DeValue<'_>) -> Result<PortRole, String> {
    let text = text(value)?;
    parse_role(&text)
        .ok_or_else(|| format!("{text:?} is not a role; write \"edge\", \"trunk\" or \"api\""))
}

/// `edge`, `trunk` or `api`.
pub(crate) fn parse_role(text: &str) -> Option<PortRole> {
    match text {
        "edge" => Some(PortRole::Unsaid),
        "trunk" => Some(PortRole::Trunk),
        "api" => Some(PortRole::Api),
        _ => None,
    }
}
