//! The controller's core under seeds. `PAYFLOW_SIMULATION_SEEDS` asks for more of them.

use std::sync::Mutex;
use std::time::Instant;

use payflow_emulation::simulate::{Seeds, each};
use payflow_emulation::simulation::{FaultKind, Outcome, Scenario, Wish, observer::Tally, run};

fn seeds(default: u64) -> u64 {
    let name = "PAYFLOW_SIMULATION_SEEDS";
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number"))
    })
}

/// Runs the seeds on all cores; what happened in all of them together.
fn all_is_well(seeds: Seeds, scenario: &Scenario) -> Tally {
    let sum = Mutex::new(Tally::default());
    let wrong = each(seeds, scenario, |outcome| {
        *sum.lock().expect("nothing panics while it holds this") += outcome.tally;
    });
    if let Some((seed, outcome)) = wrong.first() {
        panic!(
            "{} seeds go wrong; {} shows: {:#?}",
            wrong.len(),
            scenario.command(*seed),
            outcome.violations
        );
    }
    sum.into_inner()
        .expect("nothing panics while it holds this")
}

#[test]
fn whatever_goes_wrong_money_capacity_and_guarantees_hold_under_every_seed() {
    let begun = Instant::now();
    let count = seeds(10_000);
    let tally = all_is_well(Seeds::from(0, count), &Scenario::default());
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    println!(
        "{count} seeds, {:.0} a minute: {tally:?}",
        count as f64 / minutes
    );
    // A simulation in which nothing happens would find nothing.
    let Tally {
        quotes,
        payments,
        carried,
        refunds,
        crashes,
        suspended,
        outages,
        thefts_tried,
        renumbered,
        moved,
        changed,
        begun_later,
        drained,
        shrunk,
        rebates,
        groups,
        accounts,
        accounts_closed,
        deposits,
        vouchers,
        vouchers_refused,
        forks,
        stopped,
    } = tally;
    for (what, count) in [
        ("quotes", quotes),
        ("payments", payments),
        ("flows carried", carried),
        ("refunds", refunds),
        ("crashes", crashes),
        ("suspensions", suspended),
        ("outages", outages),
        ("thefts tried", thefts_tried),
        ("ports with another number", renumbered),
        ("flows moved", moved),
        ("flows changed", changed),
        ("flows begun later", begun_later),
        ("drains", drained),
        ("links that shrank", shrunk),
        ("transfers that got back more than they cost", rebates),
        ("groups", groups),
        ("accounts", accounts),
        ("accounts closed", accounts_closed),
        ("deposits", deposits),
        ("vouchers", vouchers),
        ("vouchers refused", vouchers_refused),
        ("contradictions", forks),
        ("flows that ended for want of vouchers", stopped),
    ] {
        assert!(count > 0, "no {what}: {tally:?}");
    }
}

/// What there was before buyers changed what they had and bought for later, operators drained, and links shrank.
fn before() -> Scenario {
    let mut before = Scenario::default();
    before.wishes.clear();
    before
        .faults
        .retain(|fault| !matches!(fault, FaultKind::Drain | FaultKind::Shrink));
    before
}

/// Seeds that once found something in what there was [`before`], and what it was. Each has a test of its own beside the code that was wrong, because a
/// seed tells another story when the simulation changes.
const FOUND: [(u64, &str); 11] = [
    (
        2670,
        "a transfer was signed while another one, deferred before, spent the gas coin: it could never execute, and held \
         up all others",
    ),
    (
        1753,
        "class queues of a port that was plugged in again counted as made, and a paid flow travelled as best effort",
    ),
    (
        4567,
        "a flow whose cable broke while it was being installed became active, and was not credited",
    ),
    (
        5122,
        "capacity was sold again while a switch out of reach still carried the flow that had been cancelled",
    ),
    (
        100_323,
        "a flow that had waited for a switch was installed with what was left of a time-out that had been set before, and \
         was gone there for an instant when it had just become active",
    ),
    (
        122,
        "a flow whose trunk had been given up kept its entry for ten seconds more, and a host whose port got that number rode \
         on it",
    ),
    (
        2998,
        "a host was remembered at a number that belonged to a trunk since the controller had died, and a flow was sold that led \
         there",
    ),
    (
        11_676,
        "what had ended because a port was gone, and what a switch out of reach still carried, was not booked until it was settled; \
         then it was, and a hold that had been sold meanwhile lost its capacity without a word",
    ),
    (
        3981,
        "a flow followed a liar who claimed its host's address right after a restart, while the switch of the real one could not be \
         asked",
    ),
    (
        17_193,
        "a flow followed a liar while the control connection of the real host's switch was cut and neither end knew",
    ),
    (
        4591,
        "a flow that followed its host home let the claimant in until the new path was confirmed",
    ),
];

/// The same of everything that there was before buyers bought groups.
const FOUND_SINCE: [(u64, &str); 1] = [(
    8690,
    "a link was made slower under a flow whose change was paid and not final: the flow and its change gave way to each other \
     until the stack was used up",
)];

/// Since buyers buy groups: each with nothing in it but what it needs.
const FOUND_WITH_GROUPS: [(u64, &[FaultKind], &str); 2] = [
    (
        9530,
        &[
            FaultKind::Crash,
            FaultKind::Disk,
            FaultKind::Ledger,
            FaultKind::Cable,
            FaultKind::Restart,
            FaultKind::Line,
            FaultKind::Full,
            FaultKind::Replug,
            FaultKind::Claim,
            FaultKind::Database,
            FaultKind::Drain,
        ],
        "a port was plugged in anew while no controller was there, and then its switch said that it had no meters: nothing more was to be \
     sold there, so nobody made the class queues of what was, which travelled as best effort and was charged whole",
    ),
    (
        779,
        &[FaultKind::Claim],
        "a name that its owner had not used yet was whose it was for the first who did",
    ),
];

/// The same of everything that there was before buyers paid out of accounts.
const FOUND_BEFORE_ACCOUNTS: [(u64, &str); 3] = [
    (
        20_648,
        "a shorter flow was to take the place of one, and was on the last switch already, when the controller died: its hard time-out \
         took what the longer one still needed there",
    ),
    (
        22_511,
        "a flow was about to move when the controller died; after the restart its path was taken off before the new one was whole",
    ),
    (
        448,
        "time-outs of a flow were armed again in the instant in which what it had replaced was removed: that was never told to be gone, \
         and its money stayed held",
    ),
];

#[test]
fn what_was_found_once_is_not_found_again() {
    for (seed, found) in FOUND_BEFORE_ACCOUNTS {
        let scenario = Scenario {
            wishes: [Wish::Change, Wish::Later, Wish::Prices, Wish::Group].into(),
            ..Scenario::default()
        };
        let Outcome { violations, .. } = run(seed, &scenario);
        assert!(violations.is_empty(), "{found}: {violations:?}");
    }
    for (seed, faults, found) in FOUND_WITH_GROUPS {
        let scenario = Scenario {
            faults: faults.iter().copied().collect(),
            wishes: [Wish::Group].into(),
            ..Scenario::default()
        };
        let Outcome { violations, .. } = run(seed, &scenario);
        assert!(violations.is_empty(), "{found}: {violations:?}");
    }
    for (seed, found) in FOUND_SINCE {
        let since = Scenario {
            wishes: [Wish::Change, Wish::Later, Wish::Prices].into(),
            ..Scenario::default()
        };
        let Outcome { violations, .. } = run(seed, &since);
        assert!(violations.is_empty(), "{found}: {violations:?}");
    }
    for (seed, found) in FOUND {
        let outcome = run(seed, &before());
        assert!(
            outcome.violations.is_empty(),
            "{found}: {:?}",
            outcome.violations
        );
    }
}

#[test]
fn where_nothing_goes_wrong_everybody_who_pays_is_served() {
    let tally = all_is_well(Seeds::from(0, seeds(10_000) / 10), &Scenario::calm());
    assert!(tally.carried > 0 && tally.crashes == 0, "{tally:?}");
    assert_eq!(tally.outages, 0, "{tally:?}");
}

/// Seeds in which nothing else goes wrong.
fn all_is_well_with_only(fault: FaultKind) -> Tally {
    let scenario = Scenario {
        faults: [fault].into(),
        ..Scenario::default()
    };
    all_is_well(Seeds::from(0, seeds(10_000) / 10), &scenario)
}

#[test]
fn whoever_claims_to_be_somebody_else_leads_no_flow_astray() {
    let tally = all_is_well_with_only(FaultKind::Claim);
    assert_eq!(tally.outages, 0, "{tally:?}");
}

#[test]
fn where_only_cables_break_what_a_switch_has_told_is_credited_to_the_second() {
    let tally = all_is_well_with_only(FaultKind::Cable);
    assert!(tally.outages > 0 && tally.suspended > 0, "{tally:?}");
}

#[test]
fn where_only_ports_are_replugged_what_a_switch_has_told_is_credited_to_the_second() {
    let tally = all_is_well_with_only(FaultKind::Replug);
    assert!(
        tally.outages > 0 && tally.suspended > 0 && tally.renumbered > 0,
        "{tally:?}"
    );
}

#[test]
fn what_is_drained_moves_without_a_packet_lost() {
    let tally = all_is_well_with_only(FaultKind::Drain);
    assert!(tally.drained > 0 && tally.moved > 0, "{tally:?}");
    assert_eq!((tally.outages, tally.suspended), (0, 0), "{tally:?}");
}

#[test]
fn where_only_links_shrink_what_fits_no_more_moves_or_is_credited() {
    let tally = all_is_well_with_only(FaultKind::Shrink);
    assert!(
        tally.shrunk > 0 && tally.moved > 0 && tally.suspended > 0,
        "{tally:?}"
    );
}

#[test]
fn many_buyers_at_once_change_nothing() {
    let scenario = Scenario {
        buyers: 60,
        ..Scenario::default()
    };
    all_is_well(Seeds::from(0, seeds(10_000) / 50), &scenario);
}

#[test]
fn a_seed_is_the_same_story_each_time_bit_for_bit() {
    let scenario = Scenario {
        story: true,
        ..Scenario::default()
    };
    for seed in 0..50 {
        let first = run(seed, &scenario);
        assert_eq!(first, run(seed, &scenario), "seed {seed}");
        assert_ne!(first.digest, run(seed + 1, &scenario).digest);
    }
}
