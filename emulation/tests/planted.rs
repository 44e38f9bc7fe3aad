//! Is the simulation any good? Each fault that is planted in the core on purpose is found by it.
//!
//! A seed finds a fault when the observer sees something wrong or the core panics. When a seed does so no more, those
//! that do are looked for and told, to be written here. `PAYFLOW_PLANTED_SEARCH=1000` (with `--no-capture`) tells for
//! every fault which of the seeds below 1000 find it.

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use payflow_controller::core::planted::Fault;
use payflow_emulation::simulation::{Scenario, run};

/// Where a fault can be seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Requests, ledger and journal show it.
    Nothing,
    /// Only the tables of switches show it.
    Switches,
}

/// A fault, what it takes to see it, and seeds that find it with some of the words they find it in.
type Planted = (Fault, Needs, &'static [(u64, &'static str)]);

const PLANTED: [Planted; 10] = [
    (
        Fault::SkipConsumedCheck,
        Needs::Nothing,
        &[
            (6, "352740000 refunded of 176870000 paid"),
            (0, "the books say 2610607200 paid, and 2107679200 were seen"),
        ],
    ),
    (
        Fault::RefundTwice,
        Needs::Nothing,
        &[
            (2, "settles what was settled before"),
            (4, "settles what was settled before"),
        ],
    ),
    (
        Fault::InstallBeforeJournal,
        Needs::Nothing,
        &[(0, "is installed before its payment is durable")],
    ),
    (Fault::ForgetTimeout, Needs::Switches, &[]),
    (
        Fault::RoundRateDown,
        Needs::Nothing,
        &[(0, "7328000 bit/s and 1000 ms, but 7328680 bit/s")],
    ),
    (Fault::ReuseMeterEarly, Needs::Switches, &[]),
    (Fault::DeleteWithoutGeneration, Needs::Switches, &[]),
    (
        Fault::LoseCheckpoint,
        Needs::Nothing,
        &[
            (7, "62700000 paid, 0 refunded, 62700000 kept"),
            (20, "kept, but at most 33300000 are due"),
        ],
    ),
    (
        Fault::TrustError,
        Needs::Nothing,
        &[
            (2, "settles what was settled before"),
            (16, "48192000 refunded of 25096000 paid"),
        ],
    ),
    (
        Fault::LeakHold,
        Needs::Nothing,
        &[
            (39, "are refused while 6817000 of 18000000 are taken"),
            (49, "are refused while 8525000 of 18000000 are taken"),
            (68, "are refused while 6834000 of 18000000 are taken"),
        ],
    ),
];

/// Set this once the data plane of the simulation is made of switches.
const SWITCHES: bool = false;

/// How many seeds may be tried until one finds a fault.
const SEEDS: u64 = 1_000;

/// What is wrong under a seed.
fn wrong(seed: u64, planted: Option<Fault>) -> Vec<String> {
    let scenario = Scenario {
        planted,
        ..Scenario::default()
    };
    match catch_unwind(|| run(seed, scenario)) {
        Ok(outcome) => outcome.violations,
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            vec![format!("panic: {}", text.unwrap_or_default())]
        }
    }
}

/// The seeds below `end` that find the fault, and what each sees first; on all cores.
fn search(fault: Fault, end: u64) -> Vec<(u64, String)> {
    let (next, found) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            if let Some(first) = wrong(seed, Some(fault)).into_iter().next() {
                let mut found = found.lock().expect("nothing panics while it holds this");
                found.push((seed, first));
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let mut found = found
        .into_inner()
        .expect("nothing panics while it holds this");
    found.sort_unstable();
    found
}

fn report(fault: Fault, end: u64) -> String {
    let found = search(fault, end);
    let mut lines = vec![format!("{fault:?}: {} of {end} seeds find it", found.len())];
    let few = found.iter().take(8);
    lines.extend(few.map(|(seed, what)| format!("    {seed:>4}  {what}")));
    lines.join("\n")
}

/// How many seeds to try with every fault, where that is asked for.
fn asked_for() -> Option<u64> {
    let name = "PAYFLOW_PLANTED_SEARCH";
    let text = std::env::var(name).ok()?;
    let seeds = text.parse();
    Some(seeds.unwrap_or_else(|_| panic!("{name}={text} is not a number of seeds")))
}

#[test]
fn every_planted_fault_is_found_by_its_seeds() {
    let mut lost = Vec::new();
    for (fault, needs, seeds) in PLANTED {
        if let Some(seeds) = asked_for() {
            println!("{}", report(fault, seeds));
        }
        if needs == Needs::Switches && !SWITCHES {
            continue;
        }
        let misses: Vec<u64> = seeds
            .iter()
            .filter(|(seed, words)| {
                let seen = wrong(*seed, Some(fault));
                !seen.iter().any(|what| what.contains(words))
            })
            .map(|(seed, _)| *seed)
            .collect();
        if seeds.is_empty() || !misses.is_empty() {
            let report = report(fault, SEEDS);
            lost.push(format!("not by {misses:?} any more. {report}"));
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

#[test]
fn with_nothing_planted_those_seeds_are_clean() {
    for (_, _, seeds) in PLANTED {
        for (seed, _) in seeds {
            assert_eq!(wrong(*seed, None), Vec::<String>::new(), "seed {seed}");
        }
    }
}

#[test]
fn every_fault_is_on_the_list_once() {
    assert_eq!(PLANTED.map(|(fault, _, _)| fault), Fault::ALL);
}
