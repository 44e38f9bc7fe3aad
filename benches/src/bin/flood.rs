//! `bench-flood [--purchases N] FILE`: how long a reservation takes to be installed while a port of another switch floods
//! the controller with packet-ins, against the same in quiet. Writes FILE.
//!
//! Reservations are bought on two bridges of Open vSwitch, one after the other, over the API, and cancelled again. The
//! flood comes from an emulated switch that heeds no meter, as a broken or hostile one would: it shows packets as fast as
//! the controller reads them. Quiet and flood take turns. A development ledger in this process makes a checkpoint every
//! 5 ms, and every purchase waits for one.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use payflow_benches::{
    buyer::{Buyer, Purchase},
    contestant::{private_dir, start_payflow_with},
    load::{Load, Mix},
    open_vswitch::Bridges,
    program::PATIENCE,
    report::{self, Machine, Target, rounded},
};
use payflow_controller::api::signature::audience;
use payflow_payment::{
    Amount,
    ledger::{
        Ledger as _,
        dev::{DevLedger, serve},
        iota::{HostLedger, IotaLedger},
        keys::Keyring,
    },
};
use serde::Serialize;

/// Quiet and flood, so many times each.
const TURNS: usize = 4;
const CHECKPOINTS: Duration = Duration::from_millis(5);
/// Number of the flooding switch.
const FLOODING: u16 = 98;

/// Times of purchases, milliseconds.
#[derive(Clone, Debug, Serialize)]
struct Times {
    purchases: usize,
    quote_p50_ms: f64,
    quote_p99_ms: f64,
    /// From handing over the payment to "active".
    install_p50_ms: f64,
    install_p99_ms: f64,
}

#[derive(Serialize)]
struct Results {
    what: &'static str,
    machine: Machine,
    quiet: Times,
    flood: Times,
    flood_packets_per_s: f64,
    targets: Vec<Target>,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (mut purchases, mut file) = (400, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--purchases" => {
                purchases = args.next().context("--purchases needs a number")?.parse()?
            }
            _ if file.is_none() && !arg.starts_with('-') => file = Some(PathBuf::from(arg)),
            _ => bail!("usage: bench-flood [--purchases N] FILE"),
        }
    }
    let file = file.context("usage: bench-flood [--purchases N] FILE")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let results = runtime.block_on(measure(purchases))?;
    for target in &results.targets {
        println!("{}", target.line());
    }
    report::write(&file, &results)
}

async fn measure(purchases: usize) -> anyhow::Result<Results> {
    let machine = Machine::this();
    let dir = tempfile::Builder::new()
        .prefix("payflow-bench-")
        .tempdir()?;
    let dir = dir.path();
    let dev = DevLedger::open(None)?;
    let any = "127.0.0.1:0".parse()?;
    let ledger = serve(dev.clone(), any, any, CHECKPOINTS).await?;
    private_dir(&dir.join("data"))?;
    let keys = Arc::new(Keyring::create(&dir.join("data/operator.key"), None)?);
    let operator = IotaLedger::new(&ledger.grpc_url(), dev.chain_id(), keys.clone())?;
    // One coin is enough: the change of a payment pays the next.
    for address in [operator.treasury_address(), Buyer::address()] {
        dev.fund(&address, Amount(1_000_000_000_000))?;
    }
    let bridges = Bridges::start(dir, 2, 4)?;
    let config = bridges.config("1Gbit") + &Buyer::enrolment();
    let running = start_payflow_with(dir, &ledger.grpc_url(), dev.chain_id().as_str(), &config)?;
    bridges.connect(running.openflow)?;
    let mix = Mix {
        stranger_every: 1,
        known_need_none: true,
    };
    let mut load = Load::connect(running.openflow, FLOODING, 1, mix)?;
    load.idle(Duration::from_secs(3))?;
    load.introduce(PATIENCE)?;
    let tag = audience(&keys.document_key().public_key());
    let wallet = HostLedger::new(&ledger.grpc_url(), dev.chain_id())?;
    let buyer = Buyer::new(running.http.context("the API's address")?, tag, wallet);
    bridges.announce()?;

    let mut port = 1_024;
    let begun = Instant::now();
    // Links have to be proven and hosts to be learned first.
    while let Err(error) = buy(&buyer, &mut port).await {
        load.idle(Duration::from_millis(200))?;
        bridges.announce()?;
        if begun.elapsed() > PATIENCE {
            return Err(error.context("nothing can be bought"));
        }
    }
    let (mut quiet, mut flood) = (Vec::new(), Vec::new());
    let (mut shown, mut flooded) = (0, Duration::ZERO);
    for _ in 0..TURNS {
        for is_flood in [false, true] {
            let stop = Arc::new(AtomicBool::new(false));
            let (stopping, begun) = (stop.clone(), Instant::now());
            let thread = std::thread::spawn(move || {
                if is_flood {
                    let shown = load.flood(&stopping);
                    return (load, shown);
                }
                while !stopping.load(Ordering::Relaxed) {
                    if let Err(error) = load.idle(Duration::from_millis(5)) {
                        return (load, Err(error));
                    }
                }
                (load, Ok(0))
            });
            tokio::time::sleep(Duration::from_millis(200)).await;
            let times = if is_flood { &mut flood } else { &mut quiet };
            let mut failed = None;
            for _ in 0..purchases / TURNS {
                match buy(&buyer, &mut port).await {
                    Ok(time) => times.push(time),
                    Err(error) => failed = Some(error),
                }
            }
            stop.store(true, Ordering::Relaxed);
            let count;
            (load, count) = thread.join().ok().context("the flood ended badly")?;
            shown += count?;
            flooded += if is_flood {
                begun.elapsed()
            } else {
                Duration::ZERO
            };
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }
    let (quiet, flood) = (Times::of(&quiet), Times::of(&flood));
    let ratio = flood.install_p99_ms / quiet.install_p99_ms;
    Ok(Results {
        what: "Time from handing a signed payment over to the reservation being active on two bridges of Open vSwitch, \
               while a port of another switch floods packet-ins, and while none does.",
        machine,
        flood_packets_per_s: rounded(shown as f64 / flooded.as_secs_f64()),
        targets: vec![Target::at_most(
            "p99 of installing during a flood, of the quiet one",
            ratio,
            2.0,
        )],
        quiet,
        flood,
    })
}

async fn buy(buyer: &Buyer, port: &mut u16) -> anyhow::Result<Purchase> {
    *port += 1;
    let (from, to) = (Bridges::address(1, 1), Bridges::address(2, 1));
    buyer.buy_and_cancel(from.into(), to.into(), *port).await
}

impl Times {
    fn of(purchases: &[Purchase]) -> Self {
        let of = |value: fn(&Purchase) -> Duration, percent: usize| {
            let mut times: Vec<_> = purchases.iter().map(value).collect();
            times.sort_unstable();
            let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            rounded(times.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3)
        };
        Self {
            purchases: purchases.len(),
            quote_p50_ms: of(|it| it.quoted, 50),
            quote_p99_ms: of(|it| it.quoted, 99),
            install_p50_ms: of(|it| it.installed, 50),
            install_p99_ms: of(|it| it.installed, 99),
        }
    }
}
