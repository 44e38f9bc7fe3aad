//! Topologies without chance.

use super::{Plan, count};
use crate::topology::{Fact, MOST_NODES, Place, Refusal, arguments::Arguments};
use std::f64::consts::TAU;

/// `n` switches in a row.
pub(super) fn line(plan: &mut Plan, arguments: Arguments) -> Result<(), Refusal> {
    let arguments = plan.arguments(arguments, &["n"], 0)?;
    let n = count(&arguments, 4, 1)?;
    let switches = (0..n)
        .map(|at| plan.switch(at as f64, 0.0))
        .collect::<Result<Vec<_>, _>>()?;
    for pair in switches.windows(2) {
        plan.link(pair[0], pair[1])?;
    }
    switches
        .into_iter()
        .try_for_each(|switch| plan.attach(switch, 0.8, 0.6))
}

/// `n` switches in a circle.
pub(super) fn ring(plan: &mut Plan, arguments: Arguments) -> Result<(), Refusal> {
    let arguments = plan.arguments(arguments, &["n"], 0)?;
    let n = count(&arguments, 4, 3)?;
    let around = around(plan, n)?;
    for at in 0..n {
        plan.link(around[at], around[(at + 1) % n])?;
    }
    around
        .into_iter()
        .try_for_each(|switch| plan.attach(switch, 0.3, 0.25))
}

/// One switch in the middle and `n` around it.
pub(super) fn star(plan: &mut Plan, arguments: Arguments) -> Result<(), Refusal> {
    let arguments = plan.arguments(arguments, &["n"], 0)?;
    let n = count(&arguments, 4, 1)?;
    let middle = plan.switch(0.0, 0.0)?;
    for switch in around(plan, n)? {
        plan.link(middle, switch)?;
        plan.attach(switch, 0.3, 0.25)?;
    }
    Ok(())
}

fn around(plan: &mut Plan, n: usize) -> Result<Vec<usize>, Refusal> {
    let angles = (0..n).map(|at| TAU * (0.25 - at as f64 / n as f64));
    angles
        .map(|angle| plan.switch(angle.cos(), angle.sin()))
        .collect()
}

/// A root, under every switch but the lowest `fanout` others, `depth` levels of links. Hosts are on the lowest.
pub(super) fn tree(plan: &mut Plan, arguments: Arguments) -> Result<(), Refusal> {
    let arguments = plan.arguments(arguments, &["depth", "fanout"], 0)?;
    let depth = arguments.number("depth", 2, 0..=16)?;
    let fanout = arguments.number("fanout", 2, 1..=MOST_NODES)?;
    let mut level = vec![plan.switch(0.5, 0.0)?];
    for below in 1..=depth {
        let width = level.len().saturating_mul(fanout) as f64;
        let mut next = Vec::new();
        for parent in level {
            for _ in 0..fanout {
                let child =
                    plan.switch((next.len() as f64 + 0.5) / width, -(below as f64) * 0.3)?;
                plan.link(parent, child)?;
                next.push(child);
            }
        }
        level = next;
    }
    let width = 0.8 / level.len() as f64;
    level
        .into_iter()
        .try_for_each(|switch| plan.attach(switch, width, 0.15))
}

/// The fat tree of `k` pods (Al-Fares, Loukissas, Vahdat, SIGCOMM 2008, doi 10.1145/1402958.1402967): (k/2)^2 core switches; in
/// every pod k/2 aggregation and k/2 edge switches, each with each; k/2 hosts on every edge switch.
pub(super) fn fat_tree(plan: &mut Plan, arguments: Arguments) -> Result<(), Refusal> {
    // How many hosts depends on k, so it is looked at twice.
    let arguments = plan.arguments(arguments, &["k"], 0)?;
    let k = arguments.number("k", 4, 2..=40)?;
    if !k.is_multiple_of(2) {
        return Err(Refusal::new(format!(
            "k={k} is odd; a fat tree has an even number of pods"
        )));
    }
    let half = k / 2;
    if !arguments.named.contains_key("hosts") {
        plan.hosts_each = half;
    }
    let width = (k * half) as f64;
    let x = |at: usize, of: usize| width * (at as f64 + 0.5) / of as f64;
    let level = width / 8.0;
    let mut core = Vec::new();
    for at in 0..half * half {
        core.push(plan.switch(x(at, half * half), 3.0 * level)?);
    }
    for pod in 0..k {
        let mut aggregation = Vec::new();
        for at in 0..half {
            let switch = plan.switch(x(pod * half + at, k * half), 2.0 * level)?;
            for to in &core[at * half..(at + 1) * half] {
                plan.link(*to, switch)?;
            }
            aggregation.push(switch);
        }
        for at in 0..half {
            let edge = plan.switch(x(pod * half + at, k * half), level)?;
            for switch in &aggregation {
                plan.link(*switch, edge)?;
            }
            plan.attach(edge, 0.9, level)?;
        }
    }
    Ok(())
}

/// Two switches with `n` hosts each; `bottleneck` is what the link between them carries, if not as much as the others.
pub(super) fn dumbbell(plan: &mut Plan, arguments: Arguments) -> Result<(), Refusal> {
    let arguments = plan.arguments(arguments, &["n", "bottleneck"], 0)?;
    let n = arguments.number("n", 2, 1..=super::MOST_HOSTS)?;
    if arguments.named.contains_key("hosts") {
        return Err(Refusal::new(
            "a dumbbell has n hosts on each side; leave hosts out",
        ));
    }
    let (left, right) = (plan.switch(-1.0, 0.0)?, plan.switch(1.0, 0.0)?);
    let capacity = plan.capacity;
    plan.capacity = arguments.get("bottleneck")?.map(Fact::stated).or(capacity);
    plan.link(left, right)?;
    plan.capacity = capacity;
    for (switch, x) in [(left, -2.0), (right, 2.0)] {
        for at in 0..n {
            let y = (n as f64 - 1.0) / 2.0 - at as f64;
            let host = plan.host(Some(Place { x, y: y * 0.6 }))?;
            plan.link(host, switch)?;
        }
    }
    Ok(())
}
