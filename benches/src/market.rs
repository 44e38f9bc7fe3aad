//! A controller that has sold many small flows on real switches: `payflow controller`, a row of three Open vSwitch bridges,
//! a development ledger in this process, and buyers.
//!
//! Every second flow crosses all three bridges, the others two: two and a half flow entries and one meter for each.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use payflow_controller::api::signature::audience;
use payflow_payment::{
    Amount, ChainId,
    ledger::{
        Ledger as _,
        dev::{DevLedger, Handle, serve},
        iota::{HostLedger, IotaLedger},
        keys::Keyring,
    },
    voucher::Payee,
};

use crate::{
    buyer::{Buyer, Want},
    client::{Client, Sold},
    contestant::{Running, private_dir, start_payflow_again, start_payflow_at},
    open_vswitch::Bridges,
    program::{PATIENCE, free_address},
};

/// What each of them and the treasury get, in nanos.
const MONEY: Amount = Amount(1_000_000_000_000_000);
/// Between taking the controller away from the switches and giving them one again: what the loss meant to the controller
/// is written down then.
const REST: Duration = Duration::from_secs(1);
/// Of every link: its class buffers take the bursts of some hundred thousand small flows.
const CAPACITY: &str = "100Gbit";
/// Frame bits per second of every flow, and how long it lasts, in seconds.
const RATE_BPS: u64 = 8_000;
const DURATION_S: u64 = 6 * 3_600;
/// The first port at which flows arrive.
const FIRST_PORT: usize = 1_024;

/// What differs between benches.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Who buy at the same time.
    pub buyers: u8,
    /// Between two checkpoints; whoever pays with a transaction waits for one.
    pub checkpoints: Duration,
    /// More in the controller's configuration: keys before the first table.
    pub more: &'a str,
}

impl Default for Terms<'_> {
    fn default() -> Self {
        Self {
            buyers: 8,
            checkpoints: Duration::from_millis(5),
            more: "",
        }
    }
}

/// Controller, switches, ledger and buyers.
pub struct Market {
    /// `payflow controller`.
    pub controller: Running,
    /// The switches.
    pub bridges: Bridges,
    buyers: Vec<Buyer>,
    sold: usize,
    runs: usize,
    dir: PathBuf,
    keys: Arc<Keyring>,
    chain_id: ChainId,
    // Dropped last.
    ledger: Handle,
}

impl Market {
    /// Opens in an empty directory; nothing is sold yet.
    ///
    /// # Errors
    /// Something of it cannot be started.
    pub async fn open(dir: &Path) -> anyhow::Result<Self> {
        Self::open_with(dir, Terms::default()).await
    }

    /// The same on these terms.
    ///
    /// # Errors
    /// Something of it cannot be started.
    pub async fn open_with(dir: &Path, terms: Terms<'_>) -> anyhow::Result<Self> {
        let dev = DevLedger::open(None)?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let ledger = serve(dev.clone(), any, any, terms.checkpoints).await?;
        private_dir(&dir.join("data"))?;
        let keys = Arc::new(Keyring::create(&dir.join("data/operator.key"), None)?);
        let operator = IotaLedger::new(&ledger.grpc_url(), dev.chain_id(), keys.clone())?;
        dev.fund(&operator.treasury_address(), MONEY)?;
        let bridges = Bridges::start(dir, 3, 1)?;
        // What the ledger says is verified, as it is for an operator.
        let committee = dir.join("committee.json");
        std::fs::write(&committee, dev.committee(0).to_json())?;
        let mut config = format!("ledger.committee = \"{}\"\n", committee.display());
        config += terms.more;
        config += &bridges.config(CAPACITY);
        for number in 0..terms.buyers {
            // One coin is enough: the change of a payment pays the next.
            dev.fund(&Buyer::address_of(number), MONEY)?;
            config += &Buyer::enrolment_of(number);
        }
        let (url, chain) = (ledger.grpc_url(), dev.chain_id());
        let places = [free_address()?, free_address()?];
        let controller = start_payflow_at(dir, places, &url, chain.as_str(), &config)?;
        bridges.connect(controller.openflow)?;
        let tag = audience(&keys.document_key().public_key());
        let api = controller.http.context("the API's address")?;
        let buyers = (0..terms.buyers).map(|number| {
            let wallet = HostLedger::new(&url, dev.chain_id())?;
            anyhow::Ok(Buyer::numbered(number, api, tag.clone(), wallet))
        });
        Ok(Self {
            controller,
            bridges,
            buyers: buyers.collect::<Result<_, _>>()?,
            sold: 0,
            runs: 0,
            dir: dir.to_owned(),
            keys,
            chain_id: dev.chain_id(),
            ledger,
        })
    }

    /// Waits until everything can be bought: links have to be proven and hosts to be learned first.
    ///
    /// # Errors
    /// It cannot, for too long.
    pub async fn learn(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let buyer = self.buyers.first().context("nobody buys")?;
        loop {
            self.bridges.announce()?;
            tokio::time::sleep(Duration::from_millis(200)).await;
            let (from, to) = (Bridges::address(1, 1), Bridges::address(3, 1));
            let Err(error) = buyer.buy_and_cancel(from.into(), to.into(), 1).await else {
                return Ok(());
            };
            if begun.elapsed() > PATIENCE {
                return Err(error.context("nothing can be bought"));
            }
        }
    }

    /// Sells until `count` reservations were sold, and waits until the switches hold all of them. Gives what they hold.
    ///
    /// # Errors
    /// The controller refuses, or does not install what it sold.
    pub async fn sell(&mut self, count: usize) -> anyhow::Result<Vec<Sold>> {
        self.learn().await?;
        let numbers = self.sold..count;
        let shares = self.buyers.iter().enumerate().map(|(offset, buyer)| {
            let share = numbers.clone().skip(offset).step_by(self.buyers.len());
            async move {
                for number in share {
                    buyer.buy(&want(number)).await?;
                }
                anyhow::Ok(())
            }
        });
        futures::future::try_join_all(shares).await?;
        self.sold = count;
        self.until_held(Wanted::of(count))
    }

    /// Waits until the switches hold so many entries and meters of reservations in all, and no others. Gives what they hold.
    ///
    /// # Errors
    /// They do not.
    pub fn until_only(&self, entries: usize, meters: usize) -> anyhow::Result<Vec<Sold>> {
        self.until_held(Wanted { entries, meters })
    }

    fn until_held(&self, wanted: Wanted) -> anyhow::Result<Vec<Sold>> {
        let mut clients = self.clients()?;
        let begun = Instant::now();
        loop {
            let mut held = Vec::new();
            for client in &mut clients {
                held.push(client.sold()?);
            }
            if wanted.is_held(&held) {
                return Ok(held);
            }
            if begun.elapsed() > PATIENCE {
                bail!(
                    "after {PATIENCE:?} the switches do not hold what was sold: {}",
                    self.controller.program.log()
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Those who buy; nobody is left here.
    pub fn take_buyers(&mut self) -> Vec<Buyer> {
        std::mem::take(&mut self.buyers)
    }

    /// To whom vouchers are said.
    #[must_use]
    pub fn payee(&self) -> Payee {
        Payee {
            chain_id: self.chain_id.clone(),
            operator: self.keys.document_key().public_key(),
        }
    }

    /// Another client of the same ledger, which verifies no signatures.
    ///
    /// # Errors
    /// None for an address that was served.
    pub fn ledger_client(&self) -> anyhow::Result<IotaLedger> {
        let url = self.ledger.grpc_url();
        Ok(IotaLedger::new(
            &url,
            self.chain_id.clone(),
            self.keys.clone(),
        )?)
    }

    /// Where the controller keeps its journal.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Empties the switches, and leaves them without a controller until nobody is busy any more.
    ///
    /// # Errors
    /// Open vSwitch says no.
    pub fn empty_switches(&mut self) -> anyhow::Result<()> {
        self.bridges.disconnect()?;
        self.bridges.kill()?;
        self.bridges.launch()?;
        self.bridges.management()?;
        std::thread::sleep(REST);
        Ok(())
    }

    /// Asks for a quote under a number, which holds capacity for some seconds and is not paid.
    ///
    /// # Errors
    /// The controller refuses, or cannot be reached.
    pub async fn quote(&self, number: usize) -> anyhow::Result<()> {
        let buyer = self.buyers.get(number % self.buyers.len().max(1));
        buyer.context("nobody buys")?.quote(&want(number)).await?;
        Ok(())
    }

    /// Connections to all switches from the side of their management.
    ///
    /// # Errors
    /// A switch does not answer.
    pub fn clients(&self) -> anyhow::Result<Vec<Client<std::os::unix::net::UnixStream>>> {
        let streams = self.bridges.management()?;
        let clients = streams.into_iter().map(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            Client::greet(stream)
        });
        clients.collect()
    }

    /// SIGKILL to the controller.
    ///
    /// # Errors
    /// It had ended before.
    pub fn kill_controller(&mut self) -> anyhow::Result<()> {
        self.controller.program.kill()
    }

    /// Starts the controller again, with what it has on disk, and waits until it listens.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn restart_controller(&mut self) -> anyhow::Result<()> {
        self.runs += 1;
        let log = format!("controller-{}.log", self.runs);
        self.controller = start_payflow_again(&self.dir, &log)?;
        Ok(())
    }
}

/// How many entries and meters so many reservations have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    entries: usize,
    meters: usize,
}

impl Wanted {
    fn of(count: usize) -> Self {
        Self {
            entries: 2 * count + count.div_ceil(2),
            meters: count,
        }
    }

    fn is_held(self, held: &[Sold]) -> bool {
        let entries = held.iter().map(|it| it.entries.len()).sum();
        let meters = held.iter().map(|it| it.meters.len()).sum();
        self == Self { entries, meters }
    }
}

/// What is bought under this number where every flow crosses all three bridges.
///
/// # Errors
/// There are no more ports.
pub fn across(number: usize) -> anyhow::Result<Want> {
    Ok(Want {
        from: Bridges::address(1, 1).into(),
        to: Bridges::address(3, 1).into(),
        port: u16::try_from(FIRST_PORT + number).context("there are no more ports")?,
        rate_bps: RATE_BPS,
        duration_s: DURATION_S,
    })
}

/// What is bought under this number.
fn want(number: usize) -> Want {
    let (from, to) = if number.is_multiple_of(2) {
        (1, 3)
    } else {
        (2, 1)
    };
    Want {
        from: Bridges::address(from, 1).into(),
        to: Bridges::address(to, 1).into(),
        port: u16::try_from(FIRST_PORT + number / 2).unwrap_or(u16::MAX),
        rate_bps: RATE_BPS,
        duration_s: DURATION_S,
    }
}
