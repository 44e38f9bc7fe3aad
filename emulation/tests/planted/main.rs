//! Is the simulation any good? Each fault that is planted in the core on purpose is found by it.
//!
//! A seed finds a fault when something is seen to be wrong or the core panics. When a seed does so no more, those that do
//! are looked for and told, to be written here. `PAYFLOW_PLANTED_SEARCH=1000` (with `--no-capture`) tells for every
//! fault which of the seeds below 1000 find it.

mod paths;

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use payflow_controller::core::planted::{Fault, plant};
use payflow_emulation::simulation::minimise::minimise;
use payflow_emulation::simulation::{FaultKind, Scenario, Wish, run};

/// What a seed decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    /// Of the whole core: the simulation.
    Simulation,
    /// The same, where buyers pay out of prepaid accounts.
    Accounts,
    /// Of its network half alone.
    Paths,
}

use Story::{Accounts, Paths, Simulation};

/// Seeds that find a fault, and some of the words they find it in.
type Seeds = &'static [(u64, &'static str)];

const PLANTED: [(Fault, Story, Seeds); 11] = [
    (
        Fault::SkipConsumedCheck,
        Simulation,
        &[
            (1, "q4: served to the end for 1000000, and 10000000 are due"),
            (2, "q1: 83319584 refunded of 66196000 paid"),
        ],
    ),
    (
        Fault::RefundTwice,
        Simulation,
        &[
            (2, "settles what was settled before"),
            (53, "settles what was settled before"),
        ],
    ),
    (
        Fault::InstallBeforeJournal,
        Simulation,
        &[(1, "q1 is installed before its payment is durable")],
    ),
    (
        Fault::ForgetTimeout,
        Simulation,
        &[(0, "r1 on s1 has no hard time-out")],
    ),
    (
        Fault::RoundRateDown,
        Simulation,
        &[(0, "q1 is for 8337000 bit/s and 22000 ms, but 8337150 bit/s")],
    ),
    (
        Fault::ReuseMeterEarly,
        Simulation,
        &[
            (
                9,
                "r1 is metered at Some(4859000.0) on s3, and 1591000 bit/s were sold",
            ),
            (
                8,
                "r5 is metered at Some(5240000.0) on s2, and 3882000 bit/s were sold",
            ),
        ],
    ),
    (
        Fault::DeleteWithoutGeneration,
        Paths,
        &[
            (
                0,
                "r11 is installed, and has no entry on a switch of its path",
            ),
            (
                1,
                "r1 is installed, and has no entry on a switch of its path",
            ),
        ],
    ),
    (
        Fault::LoseCheckpoint,
        Simulation,
        &[
            (6, "q7: 28200000 paid, 0 refunded, 28200000 kept"),
            (10, "q1: 276300000 paid, 46689174 refunded, 229610826 kept"),
        ],
    ),
    (
        Fault::TrustError,
        Simulation,
        &[
            (0, "q4: 42924328 refunded of 34704000 paid"),
            (1, "settles what was settled before"),
        ],
    ),
    (
        Fault::LeakHold,
        Simulation,
        &[
            (11, "are refused while 0 of 9000000 are taken"),
            (19, "are refused while 847000 of 9000000 are taken"),
        ],
    ),
    (
        Fault::AnswerVoucherEarly,
        Accounts,
        &[
            (
                2,
                "counts as Counted { account: \"a4\", sequence: 3, promised: Amount(26100802) } after (1, 23728001); durable: false",
            ),
            (26, "after (2, 20000000); durable: false"),
        ],
    ),
];

/// The same again for the network half alone. (A second generation, for [`Fault::DeleteWithoutGeneration`], the desk
/// never makes.)
const ALONE: &[(Fault, Seeds)] = &[
    (
        Fault::ForgetTimeout,
        &[(0, "has an entry without a hard time-out")],
    ),
    (
        Fault::ReuseMeterEarly,
        &[
            (0, "r11 is metered at another rate than was sold"),
            (1, "r1 and r5 share a meter"),
        ],
    ),
];

/// How many seeds are tried for one that finds a fault.
const SEEDS: u64 = 1_000;

/// Buyers want nothing but to be served at once, and the operator leaves links alone: such stories are short, and seeds stay
/// what they are when buyers and operators learn more.
fn with(planted: Option<Fault>) -> Scenario {
    let mut scenario = Scenario {
        planted,
        ..Scenario::default()
    };
    let operators = [FaultKind::Drain, FaultKind::Shrink];
    scenario.faults.retain(|fault| !operators.contains(fault));
    scenario.wishes.clear();
    scenario
}

/// What is wrong under a seed.
fn wrong(story: Story, seed: u64, planted: Option<Fault>) -> Vec<String> {
    let told = catch_unwind(|| match story {
        Simulation | Accounts => {
            let mut scenario = with(planted);
            if story == Accounts {
                scenario.wishes.insert(Wish::Account);
            }
            run(seed, &scenario).violations
        }
        Paths => {
            plant(planted);
            paths::run(seed)
        }
    });
    plant(None);
    told.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        vec![format!("panic: {}", text.unwrap_or_default())]
    })
}

/// The seeds below `end` that find something, and what each sees first; on all cores.
fn search(story: Story, planted: Option<Fault>, end: u64) -> Vec<(u64, String)> {
    let (next, found) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            if let Some(first) = wrong(story, seed, planted).into_iter().next() {
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

fn report(fault: Fault, story: Story, end: u64) -> String {
    let found = search(story, Some(fault), end);
    let count = found.len();
    let mut lines = vec![format!(
        "{fault:?}, {story:?}: {count} of {end} seeds find it"
    )];
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

/// Everything that is to be found, by what, and with which seeds.
fn all() -> Vec<(Fault, Story, Seeds)> {
    let alone = ALONE.iter().map(|(fault, seeds)| (*fault, Paths, *seeds));
    PLANTED.into_iter().chain(alone).collect()
}

#[test]
fn every_planted_fault_is_found_by_its_seeds() {
    let mut lost = Vec::new();
    for (fault, story, seeds) in all() {
        if let Some(seeds) = asked_for() {
            println!("{}", report(fault, story, seeds));
        }
        let misses: Vec<u64> = seeds
            .iter()
            .filter(|(seed, words)| {
                let seen = wrong(story, *seed, Some(fault));
                !seen.iter().any(|what| what.contains(words))
            })
            .map(|(seed, _)| *seed)
            .collect();
        if seeds.is_empty() || !misses.is_empty() {
            let report = report(fault, story, SEEDS);
            lost.push(format!("not by {misses:?} any more. {report}"));
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

#[test]
fn with_nothing_planted_those_seeds_are_clean() {
    for (_, story, seeds) in all() {
        for (seed, _) in seeds {
            let seen = wrong(story, *seed, None);
            assert_eq!(seen, Vec::<String>::new(), "{story:?}, seed {seed}");
        }
    }
}

#[test]
fn whenever_paths_change_no_flow_loses_an_entry_or_its_meter() {
    assert_eq!(search(Paths, None, 50), []);
}

#[test]
fn a_seed_that_goes_wrong_is_made_small_and_still_goes_wrong() {
    let scenario = Scenario {
        planted: Some(Fault::ForgetTimeout),
        ..Scenario::default()
    };
    let small = minimise(0, &scenario, |_| ());
    assert!(!run(0, &small).violations.is_empty());
    assert_eq!(small.faults.len(), 0, "it needs no misfortune");
    assert_eq!(small.buyers - small.without.len(), 1, "one buyer is enough");
}

#[test]
fn every_fault_is_on_the_list_once() {
    assert_eq!(PLANTED.map(|(fault, _, _)| fault), Fault::ALL);
}
