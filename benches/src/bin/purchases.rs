//! `bench-purchases [--purchases N] [--buyers N] FILE`: how many purchases a second a controller makes from prepaid accounts, over
//! three bridges of Open vSwitch and durably, against how many the bridges and the journal could take. Writes FILE.
//!
//! Every buyer has an account and one purchase on its way at a time: it asks for a quote, pays it with the next voucher, and has
//! its answer when the flow is on all three switches and that is on stable storage. In the end the switches are read, and must
//! hold what was sold; the controller is killed (SIGKILL) and started again, and must know every voucher it has acknowledged.
//!
//! What it is held against is measured behind it, in the same run. *Open vSwitch*: the same meters and entries, read back and put
//! into the same bridges, emptied, by a client without any policy, in rounds of as many as were on their way at once, in the order
//! that a purchase needs: everything but the first switch's entries, a barrier, those, a barrier. *The store*: the same records of the
//! journal, written once more, in transactions of as many as the buyers can have caused together in one step of a purchase; without
//! the bookings beside them, which makes it faster than it is. Buyers, switches and controller share the cores of this machine, so the CPU time of each is stated.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use nix::time::ClockId;
use payflow_benches::{
    buyer::Purchase,
    client::{Client, Sold},
    market::{Market, Terms, across},
    prepaid::Prepaid,
    program::PATIENCE,
    report::{self, Latency, Machine, Target, rounded},
};
use payflow_controller::{core::journal::Record, driver::Store};
use payflow_payment::Amount;
use payflow_qos::Time;
use serde::Serialize;

const USAGE: &str = "usage: bench-purchases [--purchases N] [--buyers N] FILE";
/// Of the slower of what Open vSwitch and the store can take.
const SHARE: f64 = 0.5;
/// In nanos; more than anybody spends here.
const DEPOSIT: Amount = Amount(100_000_000_000_000);
/// A quote, a payment, and that it is active: what is written of a purchase before its buyer hears of it.
const STEPS: usize = 3;
/// Entries of a purchase, one a switch.
const HOPS: usize = 3;

/// What was done, by whom, in CPU time for a purchase.
#[derive(Clone, Copy, Debug, Serialize)]
struct Work {
    controller_us: f64,
    switches_us: f64,
    /// All buyers, and the ledger, which does nothing meanwhile.
    buyers_us: f64,
}

#[derive(Serialize)]
struct Results {
    what: &'static str,
    machine: Machine,
    load_after: f64,
    purchases: usize,
    at_once: usize,
    purchases_per_s: f64,
    quote: Latency,
    /// From handing over the voucher to the answer that it is active.
    bought: Latency,
    work: Work,
    /// Records of the journal for a purchase.
    records: f64,
    open_vswitch_per_s: f64,
    /// CPU time of the switches for a purchase then.
    open_vswitch_us: f64,
    store_per_s: f64,
    targets: Vec<Target>,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (mut purchases, mut buyers, mut file) = (8_000, 32, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--purchases" => purchases = args.next().context(USAGE)?.parse()?,
            "--buyers" => buyers = args.next().context(USAGE)?.parse()?,
            _ if file.is_none() && !arg.starts_with('-') => file = Some(PathBuf::from(arg)),
            _ => bail!(USAGE),
        }
    }
    let file = file.context(USAGE)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let results = runtime.block_on(measure(purchases, buyers, &file))?;
    for target in &results.targets {
        println!("{}", target.line());
    }
    report::write(&file, &results)
}

async fn measure(purchases: usize, buyers: u8, file: &Path) -> anyhow::Result<Results> {
    let machine = Machine::this();
    // On the disk that the results go to: a directory in memory would make every commit a lie.
    let beside = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(beside)?;
    let dir = tempfile::tempdir_in(beside.canonicalize()?)?;
    let terms = Terms {
        buyers,
        ..Terms::default()
    };
    let mut market = Market::open_with(dir.path(), terms).await?;
    market.learn().await?;
    let payee = market.payee();
    let opening = market
        .take_buyers()
        .into_iter()
        .map(|buyer| Prepaid::open(buyer, payee.clone(), DEPOSIT));
    let mut buyers = futures::future::try_join_all(opening).await?;

    let (controller, switches, own) = (
        market.controller.program.cpu()?,
        market.bridges.daemon.cpu()?,
        own_cpu()?,
    );
    let begun = Instant::now();
    let done = buy(&mut buyers, purchases).await?;
    let took = begun.elapsed();
    let each = |now: Duration, before| {
        rounded(now.saturating_sub(before).as_secs_f64() * 1e6 / purchases as f64)
    };
    let work = Work {
        controller_us: each(market.controller.program.cpu()?, controller),
        switches_us: each(market.bridges.daemon.cpu()?, switches),
        buyers_us: each(own_cpu()?, own),
    };
    let rate = purchases as f64 / took.as_secs_f64();
    println!("{rate:.0} purchases/s, {work:?}");
    let sold = market.until_only(purchases * HOPS, purchases)?;

    market.kill_controller()?;
    let (records, store) = store_rate(
        &market.data_dir(),
        &dir.path().join("again"),
        purchases,
        buyers.len(),
    )
    .await?;
    println!("store: {store:.0} purchases/s, {records:.1} records each");
    market.restart_controller()?;
    for buyer in &buyers {
        buyer.is_known().await?;
    }
    market.kill_controller()?;

    let (poured, cpu) = pour(&mut market, &sold, buyers.len())?;
    let open_vswitch = purchases as f64 / poured.as_secs_f64();
    println!("Open vSwitch: {open_vswitch:.0} purchases/s");
    let (slower, limit) = if open_vswitch < store {
        ("Open vSwitch", open_vswitch)
    } else {
        ("the store", store)
    };
    Ok(Results {
        what: "Purchases from prepaid accounts over three bridges of Open vSwitch, each a quote, a voucher, the flow on all three \
               switches, and stable storage, against what the slower of Open vSwitch and the store can take. Buyers, switches and \
               controller share the cores.",
        machine,
        load_after: Machine::this().load_before,
        purchases,
        at_once: buyers.len(),
        purchases_per_s: rounded(rate),
        quote: Latency::of(done.iter().map(|it| it.quoted).collect()),
        bought: Latency::of(done.iter().map(|it| it.installed).collect()),
        work,
        records: rounded(records),
        open_vswitch_per_s: rounded(open_vswitch),
        open_vswitch_us: each(cpu, Duration::ZERO),
        store_per_s: rounded(store),
        targets: vec![Target::at_least(
            format!(
                "purchases/s from prepaid accounts, {} at a time, of what {slower} can take",
                buyers.len()
            ),
            rate / limit,
            SHARE,
        )],
    })
}

/// Everybody buys, one after the other, all at the same time.
async fn buy(buyers: &mut [Prepaid], purchases: usize) -> anyhow::Result<Vec<Purchase>> {
    let count = buyers.len();
    let shares = buyers
        .iter_mut()
        .enumerate()
        .map(|(offset, buyer)| async move {
            let mut done = Vec::new();
            for number in (offset..purchases).step_by(count) {
                done.push(buyer.buy(&across(number)?).await?);
            }
            anyhow::Ok(done)
        });
    Ok(futures::future::try_join_all(shares).await?.concat())
}

/// Of this process.
fn own_cpu() -> anyhow::Result<Duration> {
    Ok(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into())
}

/// Writes the records of the purchases once more. Gives how many there are for each, and purchases a second.
async fn store_rate(
    journal: &Path,
    again: &Path,
    purchases: usize,
    at_once: usize,
) -> anyhow::Result<(f64, f64)> {
    let records = Store::open(journal).await?.load().await?;
    let last = records
        .iter()
        .rposition(|(_, record)| matches!(record, Record::Deposited(_)))
        .context("no deposit in the journal")?;
    let (before, bought) = records.split_at(last + 1);
    ensure!(!bought.is_empty(), "nothing was bought");
    let each = bought.len() as f64 / purchases as f64;
    let at_once = ((each * at_once as f64 / STEPS as f64) as usize).max(1);
    let mut store = Store::open(again).await?;
    store.append(before, &[], Time::from_millis(1)).await?;
    let begun = Instant::now();
    for records in bought.chunks(at_once) {
        store.append(records, &[], Time::from_millis(1)).await?;
    }
    let rate = purchases as f64 / begun.elapsed().as_secs_f64();
    Ok((each, rate))
}

/// Puts what was sold into the switches again, which have lost it. Gives how long that took, and their CPU time.
fn pour(
    market: &mut Market,
    sold: &[Sold],
    at_once: usize,
) -> anyhow::Result<(Duration, Duration)> {
    let rounds = sold.iter().map(|it| it.rounds(at_once));
    let rounds: Vec<_> = rounds.collect::<Result<_, _>>()?;
    let most = rounds.iter().map(Vec::len).max().unwrap_or_default();
    market.empty_switches()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    market.bridges.connect(listener.local_addr()?)?;
    let mut clients = Vec::new();
    for _ in 0..market.bridges.count() {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        clients.push(Client::greet(stream)?);
    }
    clients.sort_by_key(Client::datapath_id);
    let before = market.bridges.daemon.cpu()?;
    let begun = Instant::now();
    for round in 0..most {
        for half in 0..2 {
            std::thread::scope(|scope| {
                let mut threads = Vec::new();
                for (client, rounds) in clients.iter_mut().zip(&rounds) {
                    let messages = rounds.get(round).and_then(|halves| halves.get(half));
                    let Some(messages) = messages.filter(|it| !it.is_empty()) else {
                        continue;
                    };
                    threads.push(scope.spawn(|| client.pour(messages)));
                }
                for thread in threads {
                    let poured = thread.join().ok().context("the client ended badly")??;
                    ensure!(poured.errors == 0, "the switch refused {}", poured.errors);
                }
                anyhow::Ok(())
            })?;
        }
    }
    let took = begun.elapsed();
    let cpu = market.bridges.daemon.cpu()?.saturating_sub(before);
    let mut watching = market.clients()?;
    for (client, sold) in watching.iter_mut().zip(sold) {
        ensure!(
            client.sold()?.entries == sold.entries,
            "a switch does not hold what was put into it"
        );
    }
    Ok((took, cpu))
}
