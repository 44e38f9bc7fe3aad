//! The development ledger: in this process, where things can be made to go wrong, or as the program it also is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use payflow_payment::ledger::dev::{DevLedger, Faults, Handle, serve};
use payflow_payment::{Address, Amount, ChainId};
use serde_json::{Value, json};

use super::controller::PAYFLOW;
use super::process::Program;
use super::{IOTA, PATIENCE, until};

/// Checkpoints come this often: quick, so that tests are.
const CHECKPOINTS: Duration = Duration::from_millis(100);

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A ledger to pay on.
pub(crate) trait TestLedger {
    fn url(&self) -> String;
    fn chain_id(&self) -> ChainId;
    /// Gives ten IOTA.
    async fn fund(&self, address: &Address);
}

/// What [`TestLedger::fund`] gives.
pub(crate) const GRANT: u64 = 10 * IOTA;

/// In this process.
pub(crate) struct InProcess {
    pub(crate) dev: Arc<DevLedger>,
    handle: Handle,
}

impl InProcess {
    pub(crate) async fn start() -> Self {
        let dev = DevLedger::open(None).unwrap();
        let handle = serve(dev.clone(), ANY, ANY, CHECKPOINTS).await.unwrap();
        Self { dev, handle }
    }

    /// Answers every call as a node does that is shutting down.
    pub(crate) fn go_down(&self) {
        self.dev.set_faults(Faults {
            refuse_calls: true,
            ..Faults::default()
        });
    }

    /// Executes and makes nothing final.
    pub(crate) fn hold_checkpoints(&self) {
        self.dev.set_faults(Faults {
            no_checkpoints: true,
            ..Faults::default()
        });
    }

    /// Everything is well again.
    pub(crate) fn recover(&self) {
        self.dev.set_faults(Faults::default());
    }
}

impl TestLedger for InProcess {
    fn url(&self) -> String {
        self.handle.grpc_url()
    }

    fn chain_id(&self) -> ChainId {
        self.dev.chain_id()
    }

    async fn fund(&self, address: &Address) {
        self.dev.fund(address, Amount(GRANT)).unwrap();
    }
}

/// `payflow ledger`, on a disk, so that it can be killed and comes back.
pub(crate) struct OwnProcess {
    dir: PathBuf,
    grpc: SocketAddr,
    faucet: SocketAddr,
    chain_id: ChainId,
    runs: u32,
    program: Option<Program>,
}

impl OwnProcess {
    pub(crate) async fn start(dir: &Path) -> Self {
        let mut ledger = Self {
            dir: dir.to_owned(),
            grpc: lasting_address(),
            faucet: ANY,
            chain_id: ChainId::new(String::new()),
            runs: 0,
            program: None,
        };
        ledger.restart().await;
        ledger
    }

    pub(crate) fn kill(&mut self) {
        self.program.take().unwrap().kill();
    }

    /// Starts it, at the same address as before.
    pub(crate) async fn restart(&mut self) {
        self.runs += 1;
        let (grpc, faucet) = (self.grpc.to_string(), self.faucet.to_string());
        let words = [
            "--json", "ledger", "--dir", "ledger", "--grpc", &grpc, "--faucet", &faucet,
        ];
        let log = format!("ledger-{}.log", self.runs);
        self.program = Some(Program::start(&self.dir, PAYFLOW, &words, &log));
        let path = self.dir.join(log);
        let said = until("the ledger says where it is", || async {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            document(&text).ok_or(text)
        })
        .await;
        let faucet = said["faucet"].as_str().unwrap();
        self.faucet = faucet.trim_start_matches("http://").parse().unwrap();
        let chain_id = ChainId::new(said["chain_id"].as_str().unwrap());
        assert!(
            self.runs == 1 || chain_id == self.chain_id,
            "it is the same ledger"
        );
        self.chain_id = chain_id;
    }
}

/// The first JSON object among the lines of a log.
fn document(text: &str) -> Option<Value> {
    let begin = text.find("{\n").or_else(|| text.find("{\""))?;
    let mut values = serde_json::Deserializer::from_str(text.get(begin..)?).into_iter::<Value>();
    values
        .next()?
        .ok()
        .filter(|value| value.get("grpc").is_some())
}

impl TestLedger for OwnProcess {
    fn url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    fn chain_id(&self) -> ChainId {
        self.chain_id.clone()
    }

    async fn fund(&self, address: &Address) {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        let body = json!({ "FixedAmountRequest": { "recipient": address } });
        let url = format!("http://{}/v1/gas", self.faucet);
        let answer = http.post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

/// An address that is free now, and that the system gives to nobody who does not ask for it by number.
pub(crate) fn lasting_address() -> SocketAddr {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    (first..32_000)
        .chain(20_000..first)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|address| std::net::TcpListener::bind(address).is_ok())
        .unwrap()
}
