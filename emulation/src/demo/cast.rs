//! Who plays in the demo: the controller in the lab's own namespace, and hosts that buy.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use payflow_controller::core::document::ReservationView;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::auditor::{AUDIT_LIMIT, Audit};
use crate::mininet::{Lab, Proc, Stream};
use crate::trial::Tools;

/// The API's address in the network.
const API: &str = "http://10.0.0.254:8080";
const LEDGER: &str = "http://10.0.0.254:50051";
const FAUCET: &str = "http://10.0.0.254:9123";
/// For a controller to be ready to sell, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
/// For one command of a host.
const COMMAND_LIMIT: Duration = Duration::from_secs(90);

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
        let config = CONFIG.replace("@DIR@", &dir.to_string_lossy());
        std::fs::write(dir.join("controller.toml"), config)?;
        Ok(Self {
            lab,
            tools,
            dir,
            controller: None,
        })
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
                    ["curl", "-s", "-m", "2", "http://127.0.0.1:8080/readyz"],
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
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let ping = self
                .lab
                .program(host, ["ping", "-c", "1", "-W", "1", "10.0.0.254"])
                .run(Duration::from_secs(5))?;
            if ping.status == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{host} does not reach the API: {}", ping.stdout);
            }
        }
    }

    /// Makes a wallet for a host and fills it at the faucet. Its address.
    ///
    /// # Errors
    /// When a command fails.
    pub fn wallet(&self, host: &str) -> anyhow::Result<String> {
        self.payflow(host, &["wallet", "new"])?;
        self.payflow(host, &["wallet", "fund"])?;
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

    /// `payflow status` of one reservation.
    ///
    /// # Errors
    /// When the command fails.
    pub fn status(&self, host: &str, id: &str) -> anyhow::Result<ReservationView> {
        self.json(host, &["status", id])
    }

    /// `payflow cancel --wait`: the reservation, settled.
    ///
    /// # Errors
    /// When the command fails.
    pub fn cancel(&self, host: &str, id: &str) -> anyhow::Result<ReservationView> {
        self.json(host, &["cancel", id, "--wait"])
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

    /// How many entries and meters of paid flows are on the switches.
    ///
    /// # Errors
    /// When a switch does not answer.
    pub fn paid_entries(&self) -> anyhow::Result<usize> {
        let mut found = 0;
        for switch in &self.lab.info().switches {
            for what in ["dump-flows", "dump-meters"] {
                let text = self.lab.exec(
                    "root",
                    &["ovs-ofctl", "-O", "OpenFlow13", what, &switch.name],
                )?;
                found += text.lines().filter(|line| is_paid(line)).count();
            }
        }
        Ok(found)
    }

    fn json<T: DeserializeOwned>(&self, host: &str, words: &[&str]) -> anyhow::Result<T> {
        let words: Vec<&str> = ["--json"]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        let text = self.payflow(host, &words)?;
        serde_json::from_str(&text)
            .with_context(|| format!("what payflow {} printed: {text}", words.join(" ")))
    }

    fn payflow(&self, host: &str, words: &[&str]) -> anyhow::Result<String> {
        let mut argv = vec![self.tools.payflow.to_string_lossy().into_owned()];
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        let wallet = self
            .dir
            .join(format!("{host}.key"))
            .to_string_lossy()
            .into_owned();
        let done = self
            .lab
            .program(host, argv)
            .env("PAYFLOW_API", API)
            .env("PAYFLOW_LEDGER", LEDGER)
            .env("PAYFLOW_FAUCET", FAUCET)
            .env("PAYFLOW_WALLET", &wallet)
            .run(COMMAND_LIMIT)?;
        done.success().map(|done| done.stdout).with_context(|| {
            let log = self.controller_log();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            format!(
                "the controller's last words: {}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            )
        })
    }
}

#[derive(Deserialize)]
struct Ready {
    ready: bool,
    switches_ready: usize,
}

/// Whether a line of a dump is about a paid flow: its cookie names a reservation, or its meter is in their range.
fn is_paid(line: &str) -> bool {
    let number = |key: &str| {
        line.trim_start()
            .strip_prefix(key)?
            .split([',', ' '])
            .next()
            .map(str::to_owned)
    };
    let cookie = number("cookie=0x").and_then(|hex| u64::from_str_radix(&hex, 16).ok());
    let meter = number("meter=").and_then(|digits| digits.parse::<u32>().ok());
    cookie.is_some_and(|cookie| (cookie >> 16) & 0xff_ffff_ffff != 0)
        || meter.is_some_and(|meter| meter >= 0x1_0000)
}

#[cfg(test)]
mod tests {
    use super::is_paid;

    #[test]
    fn entries_and_meters_of_reservations_are_told_from_the_others() {
        assert!(is_paid(
            " cookie=0x5000000000010000, duration=1s, table=0, udp actions=output:1"
        ));
        assert!(!is_paid(
            " cookie=0x5000000000000000, duration=1s, table=0, arp actions=output:1"
        ));
        assert!(is_paid("meter=65537 kbps burst stats bands="));
        assert!(!is_paid("meter=357 pktps burst stats bands="));
    }
}
