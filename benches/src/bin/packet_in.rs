//! `bench-packet-in [--repetitions N] [--only NAME] [--switches N] FILE`: how many packet-ins a controller answers per CPU second, and
//! how soon, beside other controllers on the same machine in the same minutes. Writes FILE.
//!
//! Every controller runs as a process of its own, is given the same packets, and is measured with 1, 15 and 64 switches,
//! as far as it takes them. Repetitions are interleaved, so that what else the machine does meets all of them alike.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use payflow_benches::{
    contestant::Contestant,
    load::{Load, Mix, Phase},
    program::PATIENCE,
    reflector,
    report::{self, Machine, Target, median, rounded},
};
use serde::Serialize;

const USAGE: &str = "usage: bench-packet-in [--repetitions N] [--only NAME] [--switches N] FILE";
const SWITCHES: [u16; 3] = [1, 15, 64];
/// Packets of one switch that wait for answers, where the controller is to be busy.
const WINDOW: usize = 64;
/// How long a measurement lasts, unless there are no new hosts left.
const TIME: Duration = Duration::from_secs(2);
/// How long latency is measured: long enough for ten packets beyond the 99th percentile, short enough to leave hosts of
/// the only switch for the rate.
const LATENCY_TIME: Duration = Duration::from_secs(1);
/// Packets of new hosts per second of all switches together, where latency is measured.
const RATE: u32 = 1_000;
/// How long the ports of a new switch settle at the controller.
const SETTLE: Duration = Duration::from_secs(2);

/// How often a measurement is tried.
const ATTEMPTS: usize = 4;

/// What hosts do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Work {
    /// Hosts that are known ask for addresses (ARP), and every 32nd packet is from a host that was never heard.
    Busy,
    /// Every packet is from a host that was never heard.
    Strangers,
}

impl Work {
    const ALL: [Self; 2] = [Self::Busy, Self::Strangers];

    fn mix(self, contestant: Contestant) -> Mix {
        Mix {
            stranger_every: match self {
                Self::Busy => 32,
                Self::Strangers => 1,
            },
            known_need_none: contestant.known_need_none(),
        }
    }
}

/// One measurement.
#[derive(Clone, Debug)]
struct Sample {
    answered: u64,
    unanswered: u64,
    per_s: f64,
    per_cpu_s: f64,
    flow_mods_per_answer: f64,
    p50: Duration,
    p99: Duration,
    resident: u64,
}

/// Medians over the repetitions.
#[derive(Clone, Debug, Serialize)]
struct Row {
    controller: &'static str,
    switches: u16,
    work: Work,
    /// Packets answered per second of the controller's CPU time, all threads together, while it was given more than it
    /// could do.
    answers_per_cpu_s: f64,
    /// Packets answered per second then.
    answers_per_s: f64,
    /// In all repetitions.
    answered: u64,
    /// In all repetitions: without an answer 10 s after the last packet.
    unanswered: u64,
    /// What it told the switches, per packet.
    flow_mods_per_answer: f64,
    /// Latency of packets of new hosts, at a fixed rate of all switches together; microseconds.
    p50_us: f64,
    p99_us: f64,
    /// Memory at the end, bytes.
    resident_bytes: u64,
}

#[derive(Serialize)]
struct Results {
    what: &'static str,
    machine: Machine,
    versions: Vec<(&'static str, Option<String>)>,
    repetitions: usize,
    window_per_switch: usize,
    latency_rate_per_s: u32,
    rows: Vec<Row>,
    targets: Vec<Target>,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (mut repetitions, mut only, mut only_switches, mut file) = (3, None, None, None);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "reflect" => return reflector::serve(value()?.parse()?),
            "--repetitions" => repetitions = value()?.parse()?,
            "--only" => only = Some(value()?),
            "--switches" => only_switches = Some(value()?.parse::<u16>()?),
            _ if file.is_none() && !arg.starts_with('-') => file = Some(PathBuf::from(arg)),
            _ => bail!(USAGE),
        }
    }
    let file = file.context(USAGE)?;
    let machine = Machine::this();
    let versions: Vec<_> = Contestant::ALL
        .map(|contestant| (contestant.name(), contestant.version()))
        .into();
    let present = |contestant: &Contestant| {
        let wanted = only
            .as_deref()
            .is_none_or(|name| contestant.name().contains(name));
        if wanted && contestant.version().is_none() {
            println!("{} is not installed, and left out", contestant.name());
        }
        wanted && contestant.version().is_some()
    };
    let contestants: Vec<_> = Contestant::ALL.into_iter().filter(present).collect();
    let mut samples: Vec<((Contestant, u16, Work), Vec<Sample>)> = Vec::new();
    for repetition in 1..=repetitions {
        for work in Work::ALL {
            for switches in only_switches.map_or(SWITCHES.to_vec(), |only| vec![only]) {
                for contestant in contestants
                    .iter()
                    .copied()
                    .filter(|it| switches <= it.max_switches())
                {
                    let sample = measure_again(contestant, switches, work)?;
                    println!(
                        "{repetition}/{repetitions} {:<18} {switches:>2} switches, {work:?}: {:>9.0} answers per CPU s, {:>9.0} per s, p50 {:?}, p99 {:?}, {} unanswered",
                        contestant.name(),
                        sample.per_cpu_s,
                        sample.per_s,
                        sample.p50,
                        sample.p99,
                        sample.unanswered
                    );
                    let key = (contestant, switches, work);
                    match samples.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, of_key)) => of_key.push(sample),
                        None => samples.push((key, vec![sample])),
                    }
                }
            }
        }
    }
    let rows: Vec<Row> = samples
        .iter()
        .map(|(key, of_key)| Row::of(*key, of_key))
        .collect();
    let targets = targets(&rows);
    println!();
    for target in &targets {
        println!("{}", target.line());
    }
    let results = Results {
        what: "Packets that hosts send are shown to a controller by emulated switches. A packet is answered by a packet-out with its \
               frame or by an entry that names its sender; where payflow knows the sender already, the switch has let the packet go \
               on, and it counts when a later one on the same connection is answered. Closed loop for rates, open loop for latency.",
        machine,
        versions,
        repetitions,
        window_per_switch: WINDOW,
        latency_rate_per_s: RATE,
        rows,
        targets,
    };
    report::write(&file, &results)
}

/// Measures; once more when that fails, where it is not this project's controller that fails: ovs-testcontroller closes
/// connections that do not greet it within a second of its own count.
fn measure_again(contestant: Contestant, switches: u16, work: Work) -> anyhow::Result<Sample> {
    let attempts = match contestant {
        Contestant::Payflow => 1,
        _ => ATTEMPTS,
    };
    for _ in 1..attempts {
        match measure(contestant, switches, work) {
            Ok(sample) => return Ok(sample),
            Err(error) => println!(
                "{} with {switches} switches: {error:#}; once more",
                contestant.name()
            ),
        }
    }
    measure(contestant, switches, work)
        .with_context(|| format!("{} with {switches} switches", contestant.name()))
}

/// Starts a controller, connects the switches, and measures.
fn measure(contestant: Contestant, switches: u16, work: Work) -> anyhow::Result<Sample> {
    let dir = tempfile::Builder::new()
        .prefix("payflow-bench-")
        .tempdir()?;
    let running = contestant.start(dir.path())?;
    let mut load = Load::connect(running.openflow, 0, switches, work.mix(contestant))?;
    load.idle(SETTLE)?;
    load.introduce(PATIENCE)?;

    let latency = load.open_loop(RATE, LATENCY_TIME)?;
    let cpu_before = running.program.cpu()?;
    let rate = load.closed_loop(WINDOW, TIME)?;
    let cpu = running.program.cpu()?.saturating_sub(cpu_before);
    let unanswered = |phase: &Phase| phase.shown - phase.received.answered;
    let answered = rate.received.answered;
    Ok(Sample {
        answered: answered + latency.received.answered,
        unanswered: unanswered(&rate) + unanswered(&latency),
        per_s: rate.in_time as f64 / rate.took.as_secs_f64(),
        per_cpu_s: answered as f64 / cpu.as_secs_f64(),
        flow_mods_per_answer: rate.received.flow_mods as f64 / answered.max(1) as f64,
        p50: latency.percentile(50),
        p99: latency.percentile(99),
        resident: running.program.resident_bytes(),
    })
}

impl Row {
    fn of((contestant, switches, work): (Contestant, u16, Work), samples: &[Sample]) -> Self {
        let of = |value: fn(&Sample) -> f64| rounded(median(samples.iter().map(value).collect()));
        Self {
            controller: contestant.name(),
            switches,
            work,
            answers_per_cpu_s: of(|it| it.per_cpu_s),
            answers_per_s: of(|it| it.per_s),
            answered: samples.iter().map(|it| it.answered).sum(),
            unanswered: samples.iter().map(|it| it.unanswered).sum(),
            flow_mods_per_answer: of(|it| it.flow_mods_per_answer),
            p50_us: of(|it| it.p50.as_secs_f64() * 1e6),
            p99_us: of(|it| it.p99.as_secs_f64() * 1e6),
            resident_bytes: of(|it| it.resident as f64) as u64,
        }
    }
}

fn targets(rows: &[Row]) -> Vec<Target> {
    let find = |contestant: Contestant, switches, work| {
        rows.iter().find(|row| {
            (row.controller, row.switches, row.work) == (contestant.name(), switches, work)
        })
    };
    let mut targets = Vec::new();
    for work in Work::ALL {
        if let Some(ours) = find(Contestant::Payflow, 64, work) {
            let what = format!("{work:?}: packets without an answer, 64 switches");
            targets.push(Target::at_most(what, ours.unanswered as f64, 0.0));
            if let Some(least) = find(Contestant::Reflector, 64, work) {
                let what = format!("{work:?}: p99, 64 switches, of the null reflector's");
                targets.push(Target::at_most(what, ours.p99_us / least.p99_us, 3.0));
            }
        }
        for (other, least) in [
            (Contestant::OvsTestcontroller, 3.0),
            (Contestant::OsKen, 3.0),
        ] {
            if let (Some(ours), Some(other)) =
                (find(Contestant::Payflow, 15, work), find(other, 15, work))
            {
                let what = format!(
                    "{work:?}: answers per CPU second, 15 switches, of {}'s",
                    other.controller
                );
                targets.push(Target::at_least(
                    what,
                    ours.answers_per_cpu_s / other.answers_per_cpu_s,
                    least,
                ));
            }
        }
    }
    targets
}
