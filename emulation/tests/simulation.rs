//! The controller's core under seeds. `PAYFLOW_SIMULATION_SEEDS` asks for more of them.

use std::sync::Mutex;

use payflow_emulation::simulate::{Seeds, each};
use payflow_emulation::simulation::{Scenario, observer::Tally, run};

fn seeds(default: u64) -> u64 {
    let name = "PAYFLOW_SIMULATION_SEEDS";
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number"))
    })
}

/// Runs the seeds on all cores; what happened in all of them together.
fn all_is_well(seeds: Seeds, scenario: Scenario) -> Tally {
    let sum = Mutex::new(Tally::default());
    let wrong = each(seeds, scenario, |outcome| {
        *sum.lock().expect("nothing panics while it holds this") += outcome.tally;
    });
    if let Some((seed, outcome)) = wrong.first() {
        panic!(
            "{} seeds go wrong; payflow-lab simulate --seed {seed} --buyers {}{} shows: {:#?}",
            wrong.len(),
            scenario.buyers,
            if scenario.faults { "" } else { " --calm" },
            outcome.violations
        );
    }
    sum.into_inner()
        .expect("nothing panics while it holds this")
}

#[test]
fn whatever_goes_wrong_money_and_capacity_add_up_under_every_seed() {
    let tally = all_is_well(Seeds::from(0, seeds(10_000)), Scenario::default());
    // A simulation in which nothing happens would find nothing.
    let Tally {
        quotes,
        payments,
        carried,
        refunds,
        crashes,
        suspended,
    } = tally;
    for (what, count) in [
        ("quotes", quotes),
        ("payments", payments),
        ("flows carried", carried),
        ("refunds", refunds),
        ("crashes", crashes),
        ("suspensions", suspended),
    ] {
        assert!(count > 0, "no {what}: {tally:?}");
    }
}

/// Seeds that once found something, and what it was.
const FOUND: [(u64, &str); 1] = [(
    2670,
    "a transfer was signed while another one, deferred before, spent the gas coin: it could never execute, and held up \
     all others",
)];

#[test]
fn what_was_found_once_is_not_found_again() {
    for (seed, found) in FOUND {
        let outcome = run(seed, Scenario::default());
        assert!(
            outcome.violations.is_empty(),
            "{found}: {:?}",
            outcome.violations
        );
    }
}

#[test]
fn where_nothing_goes_wrong_everybody_who_pays_is_served() {
    let scenario = Scenario {
        faults: false,
        ..Scenario::default()
    };
    let tally = all_is_well(Seeds::from(0, seeds(10_000) / 10), scenario);
    assert!(tally.carried > 0 && tally.crashes == 0, "{tally:?}");
}

#[test]
fn many_buyers_at_once_change_nothing() {
    let scenario = Scenario {
        buyers: 60,
        ..Scenario::default()
    };
    all_is_well(Seeds::from(0, seeds(10_000) / 50), scenario);
}

#[test]
fn a_seed_is_the_same_story_each_time_bit_for_bit() {
    let scenario = Scenario {
        story: true,
        ..Scenario::default()
    };
    for seed in 0..50 {
        let first = run(seed, scenario);
        assert_eq!(first, run(seed, scenario), "seed {seed}");
        assert_ne!(first.digest, run(seed + 1, scenario).digest);
    }
}
