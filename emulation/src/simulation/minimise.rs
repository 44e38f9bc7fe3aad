//! The smallest scenario in which a seed still goes wrong: what nobody needs for it is left out.

use super::{Outcome, Scenario, run};

/// Leaves out one thing after another, as long as something is still wrong. `done` is called before every run.
///
/// A smaller scenario may go wrong in another way than the first; that is a finding, too.
///
/// # Panics
/// When a simulation does.
pub fn minimise(seed: u64, scenario: &Scenario, mut done: impl FnMut(&Scenario)) -> Scenario {
    let mut smallest = scenario.clone();
    let mut fails = |smaller: &Scenario| {
        done(smaller);
        let Outcome { violations, .. } = run(seed, smaller);
        !violations.is_empty()
    };
    for kind in scenario.faults.iter().rev() {
        let mut smaller = smallest.clone();
        smaller.faults.remove(kind);
        if fails(&smaller) {
            smallest = smaller;
        }
    }
    for wish in scenario.wishes.iter().rev() {
        let mut smaller = smallest.clone();
        smaller.wishes.remove(wish);
        if fails(&smaller) {
            smallest = smaller;
        }
    }
    leave_out_buyers(&mut smallest, &mut fails);
    smallest
}

/// Halves first, then ever smaller parts, then one by one.
fn leave_out_buyers(smallest: &mut Scenario, fails: &mut impl FnMut(&Scenario) -> bool) {
    let mut size = smallest.buyers.div_ceil(2).max(1);
    loop {
        let there: Vec<usize> = (0..smallest.buyers)
            .filter(|number| !smallest.without.contains(number))
            .collect();
        for some in there.chunks(size) {
            let mut smaller = smallest.clone();
            smaller.without.extend(some);
            if smaller.without.len() < smaller.buyers && fails(&smaller) {
                *smallest = smaller;
            }
        }
        if size == 1 {
            return;
        }
        size = size.div_ceil(2);
    }
}
