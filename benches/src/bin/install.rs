//! `bench-install [--reservations N] [--turns N] FILE`: how long it takes until three bridges of Open vSwitch that have lost
//! their tables hold everything again that was sold, against the least it can take. Writes FILE.
//!
//! Reservations are sold first, over the API: half of them are installed when programs are killed, all of them when rates
//! are measured. Then, in turns, the same switches, restarted and empty, are pointed at this bench, which pours the same
//! meters and entries into them with one barrier behind all of them, one by one and in bundles, and at the controller. All are timed alike: from
//! the moment at which both sides accept connections until every switch, asked again and again over a connection of its
//! own, holds every entry; then all tables are read and compared. Before every turn nobody has anything to do.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::time::ClockId;
use payflow_benches::{
    client::{Client, Sold},
    market::Market,
    program::PATIENCE,
    report::{self, Machine, Target, median, rounded},
};
use serde::Serialize;

const USAGE: &str = "usage: bench-install [--reservations N] [--turns N] FILE";
/// Between two questions to a switch.
const POLL: Duration = Duration::from_millis(20);
/// How long an installation may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Both sides are there, until the tables are.
const BACK_S: f64 = 2.0;
/// Of the raw rate.
const SHARE: f64 = 0.8;

/// One installation.
#[derive(Clone, Copy, Debug, Serialize)]
struct Turn {
    seconds: f64,
    /// Flow entries and meters per second.
    per_s: f64,
    /// CPU time meanwhile.
    switches_cpu_s: f64,
    /// Of the controller, or of the client that pours.
    client_cpu_s: f64,
}

/// What happened after a program was killed.
#[derive(Clone, Copy, Debug, Serialize)]
struct Back {
    /// From the moment at which both sides accept connections until all tables are what they were.
    tables_s: f64,
    /// Until the controller has read every switch, and found or made it so.
    ready_s: f64,
    switches_cpu_s: f64,
    controller_cpu_s: f64,
}

#[derive(Serialize)]
struct Killed {
    reservations: usize,
    switches: Vec<Back>,
    controller: Vec<Back>,
    both: Vec<Back>,
}

#[derive(Serialize)]
struct Results {
    what: &'static str,
    machine: Machine,
    load_after: f64,
    reservations: usize,
    flow_entries: usize,
    meters: usize,
    /// How long selling them took, the payments included.
    sold_in_s: f64,
    /// Entries one by one.
    raw: Vec<Turn>,
    /// Entries in atomic bundles, as the controller sends them.
    raw_in_bundles: Vec<Turn>,
    controller: Vec<Turn>,
    killed: Killed,
    targets: Vec<Target>,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (mut reservations, mut turns, mut file) = (20_000, 3, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--reservations" => reservations = args.next().context(USAGE)?.parse()?,
            "--turns" => turns = args.next().context(USAGE)?.parse()?,
            _ if file.is_none() && !arg.starts_with('-') => file = Some(PathBuf::from(arg)),
            _ => bail!(USAGE),
        }
    }
    let file = file.context(USAGE)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let results = runtime.block_on(measure(reservations, turns))?;
    for target in &results.targets {
        println!("{}", target.line());
    }
    report::write(&file, &results)
}

async fn measure(reservations: usize, turns: usize) -> anyhow::Result<Results> {
    let machine = Machine::this();
    let dir = tempfile::Builder::new()
        .prefix("payflow-bench-")
        .tempdir()?;
    let begun = Instant::now();
    let mut market = Market::open(dir.path()).await?;
    let half = reservations / 2;
    let sold = market.sell(half).await?;
    let mut sold_in = begun.elapsed();
    println!("{half} sold after {sold_in:.0?}");
    let killed = kill(&mut market, &sold, half, turns)?;

    let begun = Instant::now();
    let sold = market.sell(reservations).await?;
    sold_in += begun.elapsed();
    println!("{reservations} sold after {sold_in:.0?}");
    let flow_entries = sold.iter().map(|it| it.entries.len()).sum();
    let meters = sold.iter().map(|it| it.meters.len()).sum();
    let (mut raw, mut raw_in_bundles, mut controller) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..turns {
        raw.push(told("raw", pour(&mut market, &sold, false)?));
        raw_in_bundles.push(told("raw, in bundles", pour(&mut market, &sold, true)?));
        controller.push(told("controller", reinstall(&mut market, &sold)?));
    }

    let of = |turns: &[Turn]| median(turns.iter().map(|turn| turn.per_s).collect());
    let back = |what: &str, all: &[Back]| {
        let seconds = median(all.iter().map(|it| it.tables_s.max(it.ready_s)).collect());
        let what = format!(
            "seconds until everything is there and known to be, {half} reservations, {what} killed"
        );
        Target::at_most(what, seconds, BACK_S)
    };
    let rate = |how: &str, raw: &[Turn]| {
        let what = format!(
            "rate at which {flow_entries} entries and {meters} meters are installed, of the raw one with entries {how}"
        );
        Target::at_least(what, of(&controller) / of(raw), SHARE)
    };
    let targets = vec![
        rate("one by one", &raw),
        rate("in bundles", &raw_in_bundles),
        back("ovs-vswitchd", &killed.switches),
        back("the controller", &killed.controller),
        back("both", &killed.both),
    ];
    Ok(Results {
        what: "Time until three bridges of Open vSwitch hold every entry and meter of all reservations, from the moment \
               at which both sides accept connections: by the controller, and by a client that pours the same \
               messages into them. On a machine that is not alone, see the CPU times.",
        machine,
        load_after: Machine::this().load_before,
        reservations,
        flow_entries,
        meters,
        sold_in_s: rounded(sold_in.as_secs_f64()),
        raw,
        raw_in_bundles,
        controller,
        killed,
        targets,
    })
}

/// For those who wait.
fn told<T: std::fmt::Debug>(what: &str, measured: T) -> T {
    println!("{what:<20} {measured:?}");
    measured
}

/// The raw limit.
fn pour(market: &mut Market, sold: &[Sold], bundled: bool) -> anyhow::Result<Turn> {
    let messages = sold.iter().map(|it| it.messages(bundled));
    let messages: Vec<_> = messages.collect::<Result<_, _>>()?;
    market.empty_switches()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut clients = market.clients()?;
    let pouring = std::thread::scope(|scope| {
        let pouring = scope.spawn(|| pour_all(&listener, &messages));
        let watched = watch(market, address, &mut clients, sold);
        let poured = pouring.join().ok().context("the client ended badly")?;
        anyhow::Ok((watched?, poured?))
    });
    let ((took, switches_cpu), client_cpu) = pouring?;
    market.bridges.disconnect()?;
    Ok(turn(took, switches_cpu, client_cpu, sold))
}

/// Serves every switch that connects on a thread of its own. Gives the CPU time of all of them.
fn pour_all(listener: &TcpListener, messages: &[Vec<u8>]) -> anyhow::Result<Duration> {
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in messages {
            let (stream, _) = listener.accept()?;
            threads.push(scope.spawn(move || {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let mut client = Client::greet(stream)?;
                let index = usize::try_from(client.datapath_id())?.checked_sub(1);
                let messages = index.and_then(|index| messages.get(index));
                let poured = client.pour(messages.context("an unknown switch")?)?;
                if poured.errors > 0 {
                    bail!("the switch refused {} messages", poured.errors);
                }
                anyhow::Ok(Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now()?))
            }));
        }
        let mut cpu = Duration::ZERO;
        for thread in threads {
            cpu += thread.join().ok().context("the client ended badly")??;
        }
        Ok(cpu)
    })
}

/// The same by the controller.
fn reinstall(market: &mut Market, sold: &[Sold]) -> anyhow::Result<Turn> {
    market.empty_switches()?;
    let mut clients = market.clients()?;
    let before = market.controller.program.cpu()?;
    let address = market.controller.openflow;
    let (took, switches_cpu) = watch(market, address, &mut clients, sold)?;
    let cpu = market.controller.program.cpu()?.saturating_sub(before);
    Ok(turn(took, switches_cpu, cpu, sold))
}

/// Points the switches at a controller that listens, and watches them until they hold everything: how long that took, and
/// their CPU time.
fn watch(
    market: &Market,
    controller: SocketAddr,
    clients: &mut [Client<impl std::io::Read + std::io::Write>],
    sold: &[Sold],
) -> anyhow::Result<(Duration, Duration)> {
    let before = market.bridges.daemon.cpu()?;
    let begun = Instant::now();
    market.bridges.connect(controller)?;
    let took = until_held(clients, sold, begun)?;
    Ok((took, market.bridges.daemon.cpu()?.saturating_sub(before)))
}

/// Asks for nothing but numbers until those are right, then for everything. The time ends with the numbers if everything
/// is right at the first look.
fn until_held(
    clients: &mut [Client<impl std::io::Read + std::io::Write>],
    sold: &[Sold],
    begun: Instant,
) -> anyhow::Result<Duration> {
    for (client, sold) in clients.iter_mut().zip(sold) {
        loop {
            let count = client.count_sold()?;
            if count == sold.entries.len() as u64 {
                break;
            }
            if begun.elapsed() > LIMIT {
                bail!("after {LIMIT:?} a switch holds {count} entries");
            }
            std::thread::sleep(POLL);
        }
    }
    let mut took = begun.elapsed();
    for (client, sold) in clients.iter_mut().zip(sold) {
        loop {
            let held = client.sold()?;
            if (&held.meters, &held.entries) == (&sold.meters, &sold.entries) {
                break;
            }
            if begun.elapsed() > LIMIT {
                bail!("after {LIMIT:?} a switch does not hold what it held");
            }
            std::thread::sleep(POLL);
            took = begun.elapsed();
        }
    }
    Ok(took)
}

fn turn(took: Duration, switches_cpu: Duration, client_cpu: Duration, sold: &[Sold]) -> Turn {
    let count: usize = sold
        .iter()
        .map(|it| it.entries.len() + it.meters.len())
        .sum();
    Turn {
        seconds: rounded(took.as_secs_f64()),
        per_s: rounded(count as f64 / took.as_secs_f64()),
        switches_cpu_s: rounded(switches_cpu.as_secs_f64()),
        client_cpu_s: rounded(client_cpu.as_secs_f64()),
    }
}

fn kill(
    market: &mut Market,
    sold: &[Sold],
    reservations: usize,
    turns: usize,
) -> anyhow::Result<Killed> {
    let mut killed = Killed {
        reservations,
        switches: Vec::new(),
        controller: Vec::new(),
        both: Vec::new(),
    };
    for _ in 0..turns {
        let said = count_ready(market);
        market.bridges.kill()?;
        market.bridges.launch()?;
        killed
            .switches
            .push(told("ovs-vswitchd killed", back(market, sold, said)?));

        market.kill_controller()?;
        market.restart_controller()?;
        killed
            .controller
            .push(told("controller killed", back(market, sold, 0)?));

        market.bridges.kill()?;
        market.kill_controller()?;
        market.restart_controller()?;
        market.bridges.launch()?;
        killed
            .both
            .push(told("both killed", back(market, sold, 0)?));
    }
    Ok(killed)
}

/// Waits until everything is as it was; the controller had said so often before that a switch is ready.
fn back(market: &Market, sold: &[Sold], said: usize) -> anyhow::Result<Back> {
    let streams = market.bridges.management()?;
    let begun = Instant::now();
    let switches_cpu = market.bridges.daemon.cpu()?;
    let controller_cpu = market.controller.program.cpu()?;
    let mut clients = Vec::new();
    for stream in streams {
        stream.set_read_timeout(Some(PATIENCE))?;
        clients.push(Client::greet(stream)?);
    }
    let (tables, ready) = std::thread::scope(|scope| {
        let ready = scope.spawn(|| {
            while count_ready(market) < said + market.bridges.count() {
                if begun.elapsed() > LIMIT {
                    bail!("after {LIMIT:?} not every switch is ready");
                }
                std::thread::sleep(POLL / 4);
            }
            Ok(begun.elapsed())
        });
        let tables = until_held(&mut clients, sold, begun);
        let ready = ready.join().ok().context("waiting ended badly")?;
        anyhow::Ok((tables?, ready?))
    })?;
    let since = |now: Duration, before| rounded(now.saturating_sub(before).as_secs_f64());
    let back = Back {
        tables_s: rounded(tables.as_secs_f64()),
        ready_s: rounded(ready.as_secs_f64()),
        switches_cpu_s: since(market.bridges.daemon.cpu()?, switches_cpu),
        controller_cpu_s: since(market.controller.program.cpu()?, controller_cpu),
    };
    Ok(back)
}

/// How often the controller has said that a switch is ready.
fn count_ready(market: &Market) -> usize {
    let log = market.controller.program.log();
    log.matches("switch ready").count()
}
