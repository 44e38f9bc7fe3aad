//! The controllers that are compared, each started as its manual says.

use std::{
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::program::{Program, free_address, sibling, version_of};

/// The learning switch on os-ken; its package carries the framework alone.
const OS_KEN_SWITCH: &str = include_str!("../os_ken_switch.py");

/// A controller that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contestant {
    /// Sends every packet back, and nothing else.
    Reflector,
    /// This project's.
    Payflow,
    /// Of Open vSwitch.
    OvsTestcontroller,
    /// A learning switch on os-ken.
    OsKen,
}

/// One that runs, and what it depends on.
#[derive(Debug)]
pub struct Running {
    /// The controller itself.
    pub program: Program,
    /// Where switches connect.
    pub openflow: SocketAddr,
    /// Where its API is, if it has one.
    pub http: Option<SocketAddr>,
    _ledger: Option<Program>,
}

impl Contestant {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Reflector,
        Self::Payflow,
        Self::OvsTestcontroller,
        Self::OsKen,
    ];

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reflector => "null reflector",
            Self::Payflow => "payflow",
            Self::OvsTestcontroller => "ovs-testcontroller",
            Self::OsKen => "os-ken",
        }
    }

    /// Its version; `None` if it is not installed.
    #[must_use]
    pub fn version(self) -> Option<String> {
        match self {
            Self::Reflector => Some(env!("CARGO_PKG_VERSION").to_owned()),
            Self::Payflow => version_of(&sibling("payflow").ok()?, &["--version"]),
            Self::OvsTestcontroller => version_of("ovs-testcontroller", &["--version"]),
            Self::OsKen => {
                let python = os_ken_python()?;
                let show = "import importlib.metadata as m; print('os-ken', m.version('os-ken'))";
                version_of(&python, &["-c", show])
            }
        }
    }

    /// How many switches it can take.
    #[must_use]
    pub fn max_switches(self) -> u16 {
        match self {
            // MAX_SWITCHES is 16, and the last one is refused as often as not.
            Self::OvsTestcontroller => 15,
            _ => u16::MAX,
        }
    }

    /// Whether hosts that it knows are let through by the switch, and shown to it for its information only.
    #[must_use]
    pub fn known_need_none(self) -> bool {
        self == Self::Payflow
    }

    /// Starts it in an empty directory.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(self, dir: &Path) -> anyhow::Result<Running> {
        match self {
            Self::Reflector => {
                let myself = std::env::current_exe()?.to_string_lossy().into_owned();
                let address = free_address()?;
                listening(dir, &myself, &["reflect", &address.to_string()], address)
            }
            Self::OvsTestcontroller => {
                let address = free_address()?;
                let listen = format!("ptcp:{}:127.0.0.1", address.port());
                let args = ["-O", "OpenFlow13", "--unixctl=tc.ctl", &listen];
                listening(dir, "ovs-testcontroller", &args, address)
            }
            Self::OsKen => {
                let python = os_ken_python().unwrap_or_default();
                let script = dir.join("os_ken_switch.py");
                std::fs::write(&script, OS_KEN_SWITCH)?;
                let address = free_address()?;
                let port = address.port().to_string();
                listening(dir, &python, &["os_ken_switch.py", &port], address)
            }
            Self::Payflow => start_payflow(dir, ""),
        }
    }
}

fn listening(
    dir: &Path,
    program: &str,
    args: &[&str],
    address: SocketAddr,
) -> anyhow::Result<Running> {
    let mut program = Program::start(dir, program, args, "controller.log")?;
    program.listens(address)?;
    Ok(Running {
        program,
        openflow: address,
        http: None,
        _ledger: None,
    })
}

/// `payflow controller` with a development ledger of its own, in another process, and out-of-band API; `more` is
/// appended to its configuration.
///
/// # Errors
/// One of the two cannot be started.
pub fn start_payflow(dir: &Path, more: &str) -> anyhow::Result<Running> {
    let anywhere = "127.0.0.1:0";
    let args = [
        "--json", "ledger", "--dir", "ledger", "--grpc", anywhere, "--faucet", anywhere,
    ];
    let mut ledger = Program::start(dir, &sibling("payflow")?, &args, "ledger.log")?;
    let (grpc, chain_id) = ledger.says(ledger_addresses)?;
    private_dir(&dir.join("data"))?;
    let running = start_payflow_with(dir, &grpc, &chain_id, more)?;
    Ok(Running {
        _ledger: Some(ledger),
        ..running
    })
}

/// The same with a ledger that is there already; so is its data directory `data`.
///
/// # Errors
/// It cannot be started.
pub fn start_payflow_with(
    dir: &Path,
    grpc: &str,
    chain_id: &str,
    more: &str,
) -> anyhow::Result<Running> {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    start_payflow_at(dir, [anywhere; 2], grpc, chain_id, more)
}

/// The same, at addresses that stay when it is started again: where it listens for switches, and where its API is.
///
/// # Errors
/// It cannot be started.
pub fn start_payflow_at(
    dir: &Path,
    [openflow, http]: [SocketAddr; 2],
    grpc: &str,
    chain_id: &str,
    more: &str,
) -> anyhow::Result<Running> {
    let config = format!(
        r#"data_dir = "data"
openflow.listen = "{openflow}"
http.listen = "{http}"
http.requests_per_second = 0
ovsdb.endpoints = ["unix:db.sock"]
ledger.url = "{grpc}"
ledger.chain_id = "{chain_id}"
{more}"#
    );
    std::fs::write(dir.join("payflow.toml"), config)?;
    start_payflow_again(dir, "controller.log")
}

/// Starts `payflow controller` with the configuration and the data that are there already, and waits until it listens.
/// It writes to the file `log`, which must not be there.
///
/// # Errors
/// It cannot be started.
pub fn start_payflow_again(dir: &Path, log: &str) -> anyhow::Result<Running> {
    let args = ["controller", "--config", "payflow.toml"];
    let mut program = Program::start(dir, &sibling("payflow")?, &args, log)?;
    let at = |log: &str, word: &str| {
        let (_, said) = log.split_once(word)?;
        said.split_whitespace().next()?.parse().ok()
    };
    let (http, openflow) =
        program.says(|log| Some((at(log, " ready http=")?, at(log, " openflow=")?)))?;
    Ok(Running {
        program,
        openflow,
        http: Some(http),
        _ledger: None,
    })
}

/// A directory that nobody else may read, as the controller wants for its data.
///
/// # Errors
/// It cannot be made.
pub fn private_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(dir)
}

fn ledger_addresses(log: &str) -> Option<(String, String)> {
    let begin = log.find('{')?;
    let mut values =
        serde_json::Deserializer::from_str(log.get(begin..)?).into_iter::<serde_json::Value>();
    let said = values.next()?.ok()?;
    let text = |key: &str| Some(said.get(key)?.as_str()?.to_owned());
    Some((text("grpc")?, text("chain_id")?))
}

/// The Python of the environment that `make bench` makes for os-ken.
fn os_ken_python() -> Option<String> {
    let place = std::env::var_os("PAYFLOW_BENCH_OS_KEN").map(PathBuf::from)?;
    let python = place.join("bin/python");
    python
        .exists()
        .then(|| python.to_string_lossy().into_owned())
}
