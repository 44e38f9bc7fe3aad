//! Topologies under a seed.

use super::{Plan, count};
use crate::simulation::chance::Chance;
use crate::topology::{Place, Refusal, arguments::Arguments};
use std::collections::BTreeSet;

/// The side of the square that Waxman's switches are in.
const SIDE: f64 = 1_000.0;
/// Every pair of switches is looked at.
const MOST_SWITCHES: usize = 3_000;

/// Switches in a square, of which two at distance d have a link with probability `beta` exp(-d / (`alpha` L)), where L is the
/// greatest distance (Waxman, IEEE JSAC 6(9), 1988, doi 10.1109/49.12889). What that leaves apart is joined by the shortest
/// possible links, unless `connected=false`.
pub(super) fn waxman(plan: &mut Plan, arguments: Arguments) -> Result<(), Refusal> {
    let arguments = plan.arguments(arguments, &["n", "alpha", "beta", "connected"], 0)?;
    let n = count(&arguments, 20, 1)?;
    if n > MOST_SWITCHES {
        return Err(Refusal::new(format!("more than {MOST_SWITCHES} switches")));
    }
    let (alpha, beta) = (
        arguments.share("alpha", 0.15)?,
        arguments.share("beta", 0.6)?,
    );
    let connected = arguments.get("connected")?.unwrap_or(true);
    let mut places = plan.chance("places");
    for _ in 0..n {
        let (x, y) = (SIDE * unit(&mut places), SIDE * unit(&mut places));
        plan.switch(x, y)?;
    }
    let at: Vec<Place> = plan
        .builder
        .topology
        .nodes
        .iter()
        .filter_map(|node| node.place)
        .collect();
    let distance = |a: usize, b: usize| (at[a].x - at[b].x).hypot(at[a].y - at[b].y);
    let pairs = || (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b)));
    let greatest = pairs().map(|(a, b)| distance(a, b)).fold(0.0, f64::max);
    let mut links = plan.chance("links");
    for (a, b) in pairs() {
        if unit(&mut links) < beta * (-distance(a, b) / (alpha * greatest)).exp() {
            plan.link(a, b)?;
        }
    }
    if connected {
        join(plan, n, distance)?;
    }
    (0..n).try_for_each(|switch| plan.attach(switch, 30.0, 20.0))
}

/// Joins the component of the first switch with the nearest switch outside of it, until there is none.
fn join(plan: &mut Plan, n: usize, distance: impl Fn(usize, usize) -> f64) -> Result<(), Refusal> {
    let components = plan.builder.topology.components();
    let mut of = vec![0; n];
    for (number, members) in components.iter().enumerate() {
        members.iter().for_each(|member| of[*member] = number);
    }
    let mut inside = vec![false; n];
    // Of every switch outside: the nearest one inside.
    let mut nearest = vec![(f64::INFINITY, 0); n];
    let mut coming = of[0];
    for left in (0..components.len()).rev() {
        for &new in &components[coming] {
            inside[new] = true;
            for other in (0..n).filter(|other| of[*other] != coming) {
                let far = distance(new, other);
                if far < nearest[other].0 {
                    nearest[other] = (far, new);
                }
            }
        }
        if left == 0 {
            break;
        }
        let outside = (0..n).filter(|other| !inside[*other]);
        let next = outside.min_by(|a, b| nearest[*a].0.total_cmp(&nearest[*b].0));
        let Some(next) = next else { break };
        plan.link(nearest[next].1, next)?;
        coming = of[next];
    }
    Ok(())
}

/// Growth by preferential attachment (Barabasi and Albert, Science 286, 1999, doi 10.1126/science.286.5439.509): beginning with a
/// star of `m` + 1 switches, each new switch is joined to `m` others, chosen with probabilities as their numbers of links.
pub(super) fn barabasi_albert(plan: &mut Plan, arguments: Arguments) -> Result<(), Refusal> {
    let arguments = plan.arguments(arguments, &["n", "m"], 0)?;
    let m = arguments.number("m", 2, 1..=100)?;
    let n = count(&arguments, 20.max(m + 1), m + 1)?;
    let mut chance = plan.chance("attachment");
    let mut ends = Vec::new();
    for number in 0..n {
        let switch = plan.switch_anywhere()?;
        let chosen: BTreeSet<usize> = match number {
            0 => continue,
            _ if number <= m => [0].into(),
            _ => choose(&mut chance, &ends, m),
        };
        for other in chosen {
            plan.link(other, switch)?;
            ends.extend([other, switch]);
        }
    }
    (0..n).try_for_each(|switch| plan.attach(switch, 0.0, 0.0))
}

/// So many different ones, each in every draw as likely as it is often an end.
fn choose(chance: &mut Chance, ends: &[usize], m: usize) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    while chosen.len() < m {
        chosen.extend(chance.pick(ends));
    }
    chosen
}

/// From 0 to below 1, in steps of 2^-53.
fn unit(chance: &mut Chance) -> f64 {
    (chance.number() >> 11) as f64 / (1_u64 << 53) as f64
}
