//! `bench-admission [--asks N] FILE`: how many asks one core decides, on one link and on a backbone of 197 switches and 486
//! directed links where much is sold out, and what a million reservations take of memory. Writes FILE.
//!
//! Both on the shipped calendar, slots of one second for 24 hours, and, for comparison with published work, on slots of five
//! minutes. Windows last up to one hour. On the backbone, flows are asked for within the next 23 hours, and with every ask whatever came of one of the last 100 000 goes, so that it
//! stays as full as it is. What is refused is told why, the highest rate that fits, and the earliest start.

use std::{
    hint::black_box,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use payflow_benches::{
    demand::{self, Numbers},
    program,
    report::{self, Machine, Target, median, rounded},
};
use payflow_qos::{
    Ask, BitRate, CommitmentId, PortRef, Topology, admission::find_path, book::Book,
    calendar::Slots,
};
use serde::Serialize;

const USAGE: &str = "usage: bench-admission [--asks N] FILE";
/// How often one link is measured; the median counts.
const ROUNDS: usize = 21;
/// Parts of what is asked of the backbone, each timed; the median counts.
const PARTS: usize = 11;
/// Commitments alive on one link, of 400 Gbit/s.
const LIVE: u64 = 20_000;
/// Asks of which something is alive on the backbone.
const RECENT: usize = 100_000;
/// Of the trunks of the backbone: then about one ask in ten is refused.
const SCARCE: BitRate = BitRate(500_000_000);
const MILLION: u64 = 1_000_000;
const SWITCHES: u64 = 197;
const MANY: BitRate = BitRate(400_000_000_000);

/// How long single decisions took.
#[derive(Clone, Copy, Debug, Serialize)]
struct Latency {
    count: usize,
    p50_ns: u64,
    p99_ns: u64,
}

#[derive(Serialize)]
struct OneLink {
    /// One is taken in and goes again.
    per_s: f64,
    latency: Latency,
}

#[derive(Serialize)]
struct Backbone {
    switches: u64,
    directed_links: usize,
    recent_asks: usize,
    per_s: f64,
    accepted_percent: f64,
    /// Of those that were taken in.
    mean_links: f64,
    accepted: Latency,
    /// With what could be had instead.
    refused: Latency,
}

/// What one way to cut time comes to.
#[derive(Serialize)]
struct Speed {
    slots: &'static str,
    one_link: OneLink,
    backbone: Backbone,
}

#[derive(Serialize)]
struct Memory {
    reservations: u64,
    mean_links: f64,
    mib: f64,
}

#[derive(Serialize)]
struct Results {
    what: &'static str,
    machine: Machine,
    shipped: Speed,
    /// As published work has them.
    five_minutes: Speed,
    memory: Memory,
    targets: Vec<Target>,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (mut asks, mut file) = (50_000, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--asks" => asks = args.next().context(USAGE)?.parse()?,
            _ if file.is_none() && !arg.starts_with('-') => file = Some(PathBuf::from(arg)),
            _ => bail!(USAGE),
        }
    }
    let file = file.context(USAGE)?;
    let machine = Machine::this();
    // First, so that nothing that was given back before is taken for what is needed.
    let memory = memory()?;
    println!("{} reservations: {} MiB", memory.reservations, memory.mib);
    let shipped = speed("1 s for 24 h, then 60 s", Slots::SecondsThenMinutes, asks);
    let five_minutes = speed("300 s", Slots::FiveMinutes, asks);
    let one_link = "admissions per second on one link";
    let backbone = "admissions per second on 197 switches";
    let on_five = |what| format!("{what}, slots of five minutes");
    let targets = vec![
        Target::at_least(one_link, shipped.one_link.per_s, 1e6),
        Target::at_least(on_five(one_link), five_minutes.one_link.per_s, 1e7),
        Target::at_least(on_five(backbone), five_minutes.backbone.per_s, 5e5),
        Target::at_most("MiB for a million reservations", memory.mib, 1_024.0),
    ];
    for target in &targets {
        println!("{}", target.line());
    }
    let results = Results {
        what: "asks decided by one core, windows up to 1 h; rates are medians of several rounds",
        machine,
        shipped,
        five_minutes,
        memory,
        targets,
    };
    report::write(&file, &results)
}

fn speed(name: &'static str, slots: Slots, asks: usize) -> Speed {
    let one_link = one_link(slots, asks);
    println!(
        "slots of {name}, one link: {} per second, {:?}",
        one_link.per_s, one_link.latency
    );
    let backbone = backbone(slots, asks);
    println!(
        "slots of {name}, backbone: {} per second, {} % accepted, {:?}, refused {:?}",
        backbone.per_s, backbone.accepted_percent, backbone.accepted, backbone.refused
    );
    Speed {
        slots: name,
        one_link,
        backbone,
    }
}

fn one_link(slots: Slots, asks: usize) -> OneLink {
    let link = PortRef::new(1, 1);
    let mut book = Book::with_slots(slots, demand::START);
    book.set_capacity(link, MANY);
    let mut numbers = Numbers(1);
    let mut next = || {
        let window = numbers.window_from_now();
        demand::on_one_link(link, &numbers.ask(3, window))
    };
    for id in 0..LIVE {
        book.commit(CommitmentId(id), &next())
            .expect("20 000 flows of 5 Mbit/s are 100 Gbit/s");
    }
    let asked: Vec<_> = (0..asks).map(|_| next()).collect();
    let id = CommitmentId(u64::MAX);
    // The fastest and the slowest of a machine that others use as well say little.
    let rates = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        for commitment in &asked {
            book.commit(id, black_box(commitment)).expect("it fits");
            book.release(id);
        }
        asks as f64 / begun.elapsed().as_secs_f64()
    });
    let per_s = rounded(median(rates.collect()));
    let times = asked.iter().map(|commitment| {
        let begun = Instant::now();
        book.commit(id, black_box(commitment)).expect("it fits");
        let took = begun.elapsed();
        book.release(id);
        took
    });
    OneLink {
        per_s,
        latency: latency(times.collect()),
    }
}

/// A network and what came of what was asked of it.
struct Sold {
    topology: Topology,
    book: Book,
    asks: Vec<Option<CommitmentId>>,
    /// Which of them goes.
    lots: Numbers,
    next: u64,
    accepted: usize,
    /// Of those accepted.
    links: usize,
}

impl Sold {
    fn new(slots: Slots, capacity: BitRate) -> Self {
        let links = demand::backbone_of_197();
        let (topology, book) = demand::network_of(slots, SWITCHES, &links, capacity);
        Sold {
            topology,
            book,
            asks: Vec::new(),
            lots: Numbers(4),
            next: 0,
            accepted: 0,
            links: 0,
        }
    }

    /// Takes it in, or says no.
    fn decide(&mut self, ask: &Ask) -> bool {
        let path = find_path(&self.topology, &self.book, black_box(ask)).ok();
        let id = path.map(|path| {
            let id = CommitmentId(self.next);
            self.next += 1;
            self.book
                .commit(id, &ask.commitment(&path, 1))
                .expect("a path that was found can be committed");
            self.accepted += 1;
            self.links += path.hops.len();
            id
        });
        self.asks.push(id);
        id.is_some()
    }

    fn forget_one(&mut self) {
        let lot = self.lots.below(self.asks.len() as u64) as usize;
        if let Some(id) = self.asks.swap_remove(lot) {
            self.book.release(id);
        }
    }
}

fn ask(numbers: &mut Numbers) -> Ask {
    let window = numbers.window_ahead();
    numbers.ask(SWITCHES, window)
}

fn backbone(slots: Slots, asks: usize) -> Backbone {
    let mut sold = Sold::new(slots, SCARCE);
    let directed_links = sold.topology.links().count();
    let mut numbers = Numbers(2);
    for _ in 0..RECENT {
        sold.decide(&ask(&mut numbers));
    }
    for _ in 0..RECENT {
        sold.decide(&ask(&mut numbers));
        sold.forget_one();
    }
    let asked: Vec<_> = (0..asks).map(|_| ask(&mut numbers)).collect();
    let (accepted, links) = (sold.accepted, sold.links);
    let rates = asked.chunks(asks.div_ceil(PARTS)).map(|part| {
        let begun = Instant::now();
        for ask in part {
            sold.decide(ask);
            sold.forget_one();
        }
        part.len() as f64 / begun.elapsed().as_secs_f64()
    });
    let per_s = rounded(median(rates.collect()));
    let (accepted, links) = (sold.accepted - accepted, sold.links - links);
    let (mut yes, mut no) = (Vec::new(), Vec::new());
    for _ in 0..asks {
        let ask = ask(&mut numbers);
        let begun = Instant::now();
        let is_in = sold.decide(&ask);
        let took = begun.elapsed();
        if is_in { &mut yes } else { &mut no }.push(took);
        sold.forget_one();
    }
    Backbone {
        switches: SWITCHES,
        directed_links,
        recent_asks: RECENT,
        per_s,
        accepted_percent: rounded(100.0 * accepted as f64 / asks as f64),
        mean_links: rounded(links as f64 / accepted as f64),
        accepted: latency(yes),
        refused: latency(no),
    }
}

/// What a million flows take that all are sold.
fn memory() -> anyhow::Result<Memory> {
    let before = resident_bytes()?;
    let mut sold = Sold::new(Slots::default(), MANY);
    let mut numbers = Numbers(3);
    for _ in 0..MILLION {
        if !sold.decide(&ask(&mut numbers)) {
            bail!("a million flows were to fit");
        }
    }
    let after = resident_bytes()?;
    Ok(Memory {
        reservations: MILLION,
        mean_links: rounded(sold.links as f64 / MILLION as f64),
        mib: rounded(after.saturating_sub(before) as f64 / f64::from(1 << 20)),
    })
}

fn resident_bytes() -> anyhow::Result<u64> {
    program::resident_bytes(std::process::id()).context("/proc/self/status does not tell VmRSS")
}

fn latency(mut times: Vec<Duration>) -> Latency {
    times.sort_unstable();
    let at = |percent: usize| {
        let time = times.get(times.len() * percent / 100).copied();
        u64::try_from(time.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
    };
    Latency {
        count: times.len(),
        p50_ns: at(50),
        p99_ns: at(99),
    }
}
