//! A lab with PayFlow in it: the controller in the lab's own namespace, and hosts that buy. The demo and the end-to-end
//! tests play on it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use payflow_controller::core::document::{QuoteDocument, ReservationView, Status};
use payflow_payment::Signed;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::auditor::{AUDIT_LIMIT, Audit};
use crate::entry::{self, Entry};
use crate::mininet::{Done, Lab, LabError, Proc, Stream};
use crate::trial::Tools;

mod operator;

pub use operator::{AccountBook, Audited, Operator};

/// The API's address in the network.
const API: &str = "http://10.0.0.254:8080";
const LEDGER: &str = "http://10.0.0.254:50051";
const FAUCET: &str = "http://10.0.0.254:9123";
/// For a controller to be ready to sell, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
/// For one command of a host.
const COMMAND_LIMIT: Duration = Duration::from_secs(90);
/// How long a killed process may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// Exit status of `payflow` when the controller refused.
pub(crate) const REFUSED: i32 = 3;
/// The API's address for the operator, beside the controller.
const LOCAL_API: &str = "http://127.0.0.1:8080";

/// What a stranger would write: where things are kept, and the API's address in the network.
const CONFIG: &str = r#"data_dir = "@DIR@/data"

[api_port]
address = "10.0.0.254"
mac = "02:00:00:00:00:fe"
"#;

/// A lab with a controller in it.
pub struct Stage<'a> {
    /// The network.
    pub lab: &'a Lab,
    tools: &'a Tools,
    dir: PathBuf,
    controller: Option<Proc>,
}

/// What the controller refused, as its problem document (RFC 9457) says it.
#[derive(Clone, Debug, Deserialize)]
pub struct Refusal {
    /// Which problem: a URI whose last part is its short name.
    #[serde(rename = "type")]
    pub kind: String,
    /// HTTP status.
    pub status: u16,
    /// What is wrong in this case.
    pub detail: String,
    /// Extension members.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// What `payflow reserve --json` prints: the reservation, and how long each step took.
#[derive(Clone, Debug, Deserialize)]
pub struct Purchase {
    /// The reservation, active.
    #[serde(flatten)]
    pub view: ReservationView,
    /// Milliseconds by step.
    pub timing_ms: Timing,
}

/// See [`Purchase`].
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Timing {
    /// From the request to the quote.
    pub quote: f64,
}

impl<'a> Stage<'a> {
    /// An empty stage that keeps its files in `dir`, which is made anew.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(lab: &'a Lab, tools: &'a Tools, dir: &Path) -> anyhow::Result<Self> {
        Self::with_config(lab, tools, dir, "")
    }

    /// The same, with `more` at the end of the controller's configuration.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn with_config(
        lab: &'a Lab,
        tools: &'a Tools,
        dir: &Path,
        more: &str,
    ) -> anyhow::Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
        }
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        if !tools.payflow.is_file() {
            bail!(
                "{} is not built; `cargo build --workspace --bins` builds it",
                tools.payflow.display()
            );
        }
        let config = CONFIG.replace("@DIR@", &dir.to_string_lossy()) + more;
        std::fs::write(dir.join("controller.toml"), config)?;
        Ok(Self {
            lab,
            tools,
            dir,
            controller: None,
        })
    }

    /// The same, for those who only buy: what becomes of the controller is not theirs.
    #[must_use]
    pub fn without_controller(&self) -> Self {
        Self {
            lab: self.lab,
            tools: self.tools,
            dir: self.dir.clone(),
            controller: None,
        }
    }

    /// Starts the controller, and waits until it can sell on `switches` switches.
    ///
    /// # Errors
    /// When it does not get there in time.
    pub fn start_controller(&mut self, switches: usize) -> anyhow::Result<()> {
        let program = self.tools.payflow.to_string_lossy().into_owned();
        let config = self
            .dir
            .join("controller.toml")
            .to_string_lossy()
            .into_owned();
        let controller = self
            .lab
            .program(
                "root",
                [
                    program,
                    "controller".to_owned(),
                    "--config".to_owned(),
                    config,
                ],
            )
            .spawn()?;
        self.controller = Some(controller);
        let deadline = Instant::now() + START_LIMIT;
        let mut last = "no answer yet".to_owned();
        while Instant::now() < deadline {
            if let Some(controller) = &self.controller
                && !controller.is_running()?
            {
                bail!(
                    "the controller ended: {}",
                    controller.output(Stream::Stderr)?
                );
            }
            let done = self
                .lab
                .program(
                    "root",
                    ["curl", "-s", "-m", "2", &format!("{LOCAL_API}/readyz")],
                )
                .run(Duration::from_secs(5))?;
            match serde_json::from_str::<Ready>(&done.stdout) {
                Ok(ready) if ready.ready && ready.switches_ready >= switches => return Ok(()),
                Ok(_) | Err(_) => last = done.stdout,
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!(
            "the controller was not ready after {} s: {last}",
            START_LIMIT.as_secs()
        )
    }

    /// Kills the controller as a crash would: SIGKILL, at once.
    ///
    /// # Errors
    /// When there is none, or it cannot be killed.
    pub fn kill_controller(&mut self) -> anyhow::Result<()> {
        let controller = self.controller.take().context("no controller is running")?;
        controller.kill(Signal::SIGKILL)?;
        // Until it is gone, its data are in use.
        controller.wait(KILL_LIMIT)?;
        Ok(())
    }

    /// What the controller logged, for when something went wrong.
    #[must_use]
    pub fn controller_log(&self) -> String {
        self.controller
            .as_ref()
            .and_then(|controller| controller.output(Stream::Stderr).ok())
            .unwrap_or_default()
    }

    /// Makes sure that the network has seen a host, and that the host reaches the API.
    ///
    /// # Errors
    /// When it does not.
    pub fn introduce(&self, host: &str) -> anyhow::Result<()> {
        if !self.lab.reaches(host, "10.0.0.254", START_LIMIT)? {
            bail!("{host} does not reach the API");
        }
        Ok(())
    }

    /// Makes a wallet for a host and fills it at the faucet. Its address.
    ///
    /// # Errors
    /// When a command fails.
    pub fn wallet(&self, host: &str) -> anyhow::Result<String> {
        self.succeed(host, &["wallet", "new"])?;
        self.succeed(host, &["wallet", "fund"])?;
        #[derive(Deserialize)]
        struct Known {
            address: String,
        }
        Ok(self.json::<Known>(host, &["wallet", "address"])?.address)
    }

    /// `payflow reserve` in a host; the words are its options.
    ///
    /// # Errors
    /// When nothing was bought.
    pub fn reserve(&self, host: &str, words: &[&str]) -> anyhow::Result<Purchase> {
        let words: Vec<&str> = ["reserve"]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        self.json(host, &words)
    }

    /// The same, where it may be refused.
    ///
    /// # Errors
    /// When the command fails in another way.
    pub fn try_reserve(
        &self,
        host: &str,
        words: &[&str],
    ) -> anyhow::Result<Result<Purchase, Refusal>> {
        let words = [&["--json", "reserve"], words].concat();
        let done = self.payflow(host, &words)?;
        if done.status == REFUSED {
            return Ok(Err(problem(&done.stdout)?));
        }
        let done = done.success().with_context(|| self.last_words())?;
        let purchase = serde_json::from_str(&done.stdout)
            .with_context(|| format!("what payflow reserve printed: {}", done.stdout))?;
        Ok(Ok(purchase))
    }

    /// What the controller says against a command of a host.
    ///
    /// # Errors
    /// When it does not refuse it.
    pub fn refusal(&self, host: &str, words: &[&str]) -> anyhow::Result<Refusal> {
        let words = [&["--json"], words].concat();
        let done = self.payflow(host, &words)?;
        if done.status != REFUSED {
            bail!(
                "`payflow {}` in {host} was not refused: status {}, {}{}",
                words.join(" "),
                done.status,
                done.stdout,
                done.stderr
            );
        }
        problem(&done.stdout)
    }

    /// `payflow quote`: a signed offer, for which capacity is held.
    ///
    /// # Errors
    /// When there is none.
    pub fn quote(&self, host: &str, words: &[&str]) -> anyhow::Result<QuoteDocument> {
        let quote: Signed<QuoteDocument> = self.json(host, &[&["quote"], words].concat())?;
        Ok(quote.document)
    }

    /// `payflow status` of one reservation.
    ///
    /// # Errors
    /// When the command fails.
    pub fn status(&self, host: &str, id: &str) -> anyhow::Result<ReservationView> {
        self.json(host, &["status", id])
    }

    /// `payflow status`: every reservation of a host's wallet.
    ///
    /// # Errors
    /// When the command fails.
    pub fn statuses(&self, host: &str) -> anyhow::Result<Vec<ReservationView>> {
        #[derive(Deserialize)]
        struct All {
            reservations: Vec<ReservationView>,
        }
        Ok(self.json::<All>(host, &["status"])?.reservations)
    }

    /// `payflow change`: the reservation that has taken the other's place, active.
    ///
    /// # Errors
    /// When it was not changed.
    pub fn change(&self, host: &str, id: &str, rate: &str) -> anyhow::Result<Purchase> {
        self.json(host, &["change", id, "--rate", rate])
    }

    /// `payflow cancel --wait`: the reservation, settled.
    ///
    /// # Errors
    /// When the command fails.
    pub fn cancel(&self, host: &str, id: &str) -> anyhow::Result<ReservationView> {
        self.json(host, &["cancel", id, "--wait"])
    }

    /// `payflow cancel`, without waiting for the refund.
    ///
    /// # Errors
    /// When the command fails.
    pub fn leave(&self, host: &str, id: &str) -> anyhow::Result<ReservationView> {
        self.json(host, &["cancel", id])
    }

    /// Waits until a reservation has this status.
    ///
    /// # Errors
    /// When it has not within `limit`.
    pub fn becomes(
        &self,
        host: &str,
        id: &str,
        status: Status,
        limit: Duration,
    ) -> anyhow::Result<ReservationView> {
        let deadline = Instant::now() + limit;
        loop {
            let view = self.status(host, id)?;
            if view.status == status {
                return Ok(view);
            }
            if Instant::now() > deadline {
                bail!(
                    "{id} is {:?} and not {status:?} after {limit:?}: {:?}; {}",
                    view.status,
                    view.detail,
                    self.last_words()
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until a reservation is settled.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn settled(&self, host: &str, id: &str) -> anyhow::Result<ReservationView> {
        let deadline = Instant::now() + COMMAND_LIMIT;
        loop {
            let view = self.status(host, id)?;
            let is_final = view
                .settlement
                .as_ref()
                .is_some_and(|transfer| transfer.checkpoint.is_some());
            if is_final {
                return Ok(view);
            }
            if Instant::now() > deadline {
                bail!(
                    "{id} is {:?} and not settled: {:?}",
                    view.status,
                    view.detail
                );
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Asks the ledger for the balances of hosts and treasury, and about transactions.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn audit(&self, addresses: &[String], digests: &[String]) -> anyhow::Result<Audit> {
        let mut words = vec![
            self.tools.payflow_lab.to_string_lossy().into_owned(),
            "ledger".to_owned(),
            "--operator-key".to_owned(),
            self.dir
                .join("data/operator.key")
                .to_string_lossy()
                .into_owned(),
        ];
        for address in addresses {
            words.extend(["--address".to_owned(), address.clone()]);
        }
        for digest in digests {
            words.extend(["--digest".to_owned(), digest.clone()]);
        }
        let done = self
            .lab
            .program("root", words)
            .run(AUDIT_LIMIT)?
            .success()?;
        serde_json::from_str(&done.stdout).context("what the ledger says")
    }

    /// The entries of every switch.
    ///
    /// # Errors
    /// When a switch does not answer, or says what is not understood.
    pub fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for switch in &self.lab.info().switches {
            entries.extend(entry::entries(
                &switch.name,
                &self.ofctl("dump-flows", &switch.name)?,
            )?);
        }
        Ok(entries)
    }

    /// The meters of reservations on every switch, as (switch, number).
    ///
    /// # Errors
    /// When a switch does not answer.
    pub fn paid_meters(&self) -> anyhow::Result<Vec<(String, u32)>> {
        let mut meters = Vec::new();
        for switch in &self.lab.info().switches {
            let text = self.ofctl("dump-meters", &switch.name)?;
            meters.extend(entry::paid_meters(&text).map(|meter| (switch.name.clone(), meter)));
        }
        Ok(meters)
    }

    /// How many entries and meters of paid flows are on the switches.
    ///
    /// # Errors
    /// When a switch does not answer.
    pub fn paid_entries(&self) -> anyhow::Result<usize> {
        let paid = self
            .entries()?
            .iter()
            .filter(|entry| entry.is_paid())
            .count();
        Ok(paid + self.paid_meters()?.len())
    }

    fn ofctl(&self, what: &str, switch: &str) -> Result<String, LabError> {
        // Numbers, not names, so that the text is the same in every version.
        let words = ["ovs-ofctl", "-O", "OpenFlow13", "--no-names", what, switch];
        self.lab.exec("root", &words)
    }

    fn json<T: DeserializeOwned>(&self, host: &str, words: &[&str]) -> anyhow::Result<T> {
        let words: Vec<&str> = ["--json"]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        let text = self.succeed(host, &words)?;
        serde_json::from_str(&text)
            .with_context(|| format!("what payflow {} printed: {text}", words.join(" ")))
    }

    fn succeed(&self, host: &str, words: &[&str]) -> anyhow::Result<String> {
        let done = self.payflow(host, words)?.success();
        done.map(|done| done.stdout)
            .with_context(|| self.last_words())
    }

    /// The `payflow` command in a host, with the host's own wallet. A failing exit status is no error here.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn payflow(&self, host: &str, words: &[&str]) -> Result<Done, LabError> {
        let mut argv = vec![self.tools.payflow.to_string_lossy().into_owned()];
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        let wallet = self
            .dir
            .join(format!("{host}.key"))
            .to_string_lossy()
            .into_owned();
        self.lab
            .program(host, argv)
            .env("PAYFLOW_API", API)
            .env("PAYFLOW_LEDGER", LEDGER)
            .env("PAYFLOW_FAUCET", FAUCET)
            .env("PAYFLOW_WALLET", &wallet)
            .run(COMMAND_LIMIT)
    }

    fn last_words(&self) -> String {
        let log = self.controller_log();
        let tail: Vec<&str> = log.lines().rev().take(15).collect();
        format!(
            "the controller's last words: {}",
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        )
    }
}

fn problem(text: &str) -> anyhow::Result<Refusal> {
    serde_json::from_str(text).with_context(|| format!("the problem document {text:?}"))
}

#[derive(Deserialize)]
struct Ready {
    ready: bool,
    switches_ready: usize,
}
