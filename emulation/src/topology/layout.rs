//! Where nodes are in a picture: at their places, or where the links between them let them be.

use super::statistics::distances;
use super::{Coordinates, Place, Topology};
use crate::simulation::chance::Chance;
use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::{FRAC_PI_4, TAU};

/// Components up to this size compare every node with every other; larger ones with some.
const MOST_FOR_ALL_PAIRS: usize = 1_200;
/// With how many.
const PIVOTS: usize = 60;
/// How often every node is moved, at most.
const ROUNDS: usize = 120;
/// The northernmost that a map of Mercator's shows.
const MERCATOR_LIMIT: f64 = 84.0;

/// Where every node is, to the right and downwards, in any unit.
pub(super) fn positions(topology: &Topology) -> Vec<[f64; 2]> {
    let known = topology
        .nodes
        .iter()
        .filter(|node| node.place.is_some())
        .count();
    let mut positions = if known * 2 >= topology.nodes.len() && known >= 2 {
        on_map(topology)
    } else {
        by_links(topology)
    };
    spread(&mut positions);
    positions
}

fn on_map(topology: &Topology) -> Vec<[f64; 2]> {
    let places: Vec<Option<Place>> = topology.nodes.iter().map(|node| node.place).collect();
    let mut at: Vec<Option<[f64; 2]>> = match topology.coordinates {
        Coordinates::Plane => places.iter().map(|it| it.map(|it| [it.x, -it.y])).collect(),
        Coordinates::Geographic => {
            let west = west_edge(places.iter().flatten().map(|place| place.x));
            let project = |place: Place| {
                let east = (place.x - west).rem_euclid(360.0).to_radians();
                let north = place.y.clamp(-MERCATOR_LIMIT, MERCATOR_LIMIT).to_radians();
                [east, -(FRAC_PI_4 + north / 2.0).tan().ln()]
            };
            places.iter().map(|it| it.map(project)).collect()
        }
    };
    // Nodes without a place are in the middle of their neighbours, those of neighbours' neighbours next.
    let of = topology.links_of_nodes();
    let unknown: Vec<usize> = (0..at.len()).filter(|node| at[*node].is_none()).collect();
    for _ in 0..20 {
        for &node in &unknown {
            let others = of[node]
                .iter()
                .map(|link| topology.links[*link].other(node));
            at[node] = middle(others.filter_map(|other| at[other])).or(at[node]);
        }
    }
    let corner = at
        .iter()
        .flatten()
        .fold([f64::INFINITY, f64::NEG_INFINITY], |corner, it| {
            [corner[0].min(it[0]), corner[1].max(it[1])]
        });
    at.into_iter().map(|it| it.unwrap_or(corner)).collect()
}

fn middle(all: impl Iterator<Item = [f64; 2]>) -> Option<[f64; 2]> {
    let (mut sum, mut count) = ([0.0, 0.0], 0_u32);
    for it in all {
        sum = [sum[0] + it[0], sum[1] + it[1]];
        count += 1;
    }
    (count > 0).then(|| sum.map(|it| it / f64::from(count)))
}

/// The longitude from which eastwards nothing comes for longest, so that a map of the Pacific is not torn.
fn west_edge(longitudes: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = longitudes.map(|it| it.rem_euclid(360.0)).collect();
    sorted.sort_by(f64::total_cmp);
    let Some((first, last)) = sorted.first().zip(sorted.last()) else {
        return 0.0;
    };
    let around = (first + 360.0 - last, *first);
    let gaps = sorted.windows(2).map(|pair| (pair[1] - pair[0], pair[1]));
    gaps.fold(around, |best, gap| if gap.0 > best.0 { gap } else { best })
        .1
}

/// Every component by itself, one beside the other.
fn by_links(topology: &Topology) -> Vec<[f64; 2]> {
    let of = topology.links_of_nodes();
    let mut positions = vec![[0.0, 0.0]; topology.nodes.len()];
    let (mut left, mut top, mut row_height) = (0.0, 0.0, 0.0_f64);
    let mut width_limit = 0.0_f64;
    for members in topology.components() {
        let mut at = component(topology, &of, &members);
        let corner = at.iter().fold([f64::INFINITY; 2], |c, it| {
            [c[0].min(it[0]), c[1].min(it[1])]
        });
        let far = at.iter().fold([f64::NEG_INFINITY; 2], |c, it| {
            [c[0].max(it[0]), c[1].max(it[1])]
        });
        let size = [far[0] - corner[0], far[1] - corner[1]];
        // The largest comes first, and says how wide rows are.
        width_limit = width_limit.max(size[0] * 1.3).max(4.0);
        if left > 0.0 && left + size[0] > width_limit {
            (left, top, row_height) = (0.0, top + row_height + 1.0, 0.0);
        }
        for (member, it) in members.iter().zip(&mut at) {
            positions[*member] = [it[0] - corner[0] + left, it[1] - corner[1] + top];
        }
        left += size[0] + 1.0;
        row_height = row_height.max(size[1]);
    }
    positions
}

/// Distances in the picture as numbers of links, as far as that can be: stress majorisation (Gansner, Koren, North 2004), node by
/// node, with weights of the inverse squares.
fn component(topology: &Topology, of: &[Vec<usize>], members: &[usize]) -> Vec<[f64; 2]> {
    let number: BTreeMap<usize, usize> = members.iter().copied().zip(0..).collect();
    let from = |node: usize| -> Vec<f64> {
        let all = distances(topology, of, node);
        members
            .iter()
            .map(|member| all[*member].unwrap_or_default() as f64)
            .collect()
    };
    let everybody = members.len() <= MOST_FOR_ALL_PAIRS;
    let pivots: Vec<usize> = if everybody {
        (0..members.len()).collect()
    } else {
        (0..PIVOTS)
            .map(|pivot| pivot * members.len() / PIVOTS)
            .collect()
    };
    let rows: Vec<Vec<f64>> = pivots.iter().map(|pivot| from(members[*pivot])).collect();
    let neighbours: Vec<BTreeSet<usize>> = members
        .iter()
        .map(|member| {
            let others = of[*member]
                .iter()
                .map(|link| topology.links[*link].other(*member));
            others.map(|other| number[&other]).collect()
        })
        .collect();
    let mut at = start(members.len(), |node| from(members[node]));
    for _ in 0..ROUNDS {
        let mut moved = 0.0_f64;
        for node in 0..members.len() {
            let (mut sum, mut weights) = ([0.0, 0.0], 0.0);
            let mut pull = |other: usize, wanted: f64| {
                let apart = [at[node][0] - at[other][0], at[node][1] - at[other][1]];
                let length = apart[0].hypot(apart[1]).max(1e-6);
                let weight = wanted.powi(-2);
                for axis in 0..2 {
                    sum[axis] += weight * (at[other][axis] + apart[axis] * wanted / length);
                }
                weights += weight;
            };
            for (pivot, row) in pivots.iter().zip(&rows) {
                if *pivot != node {
                    pull(*pivot, row[node]);
                }
            }
            if !everybody {
                neighbours[node].iter().for_each(|other| pull(*other, 1.0));
            }
            if weights > 0.0 {
                let new = sum.map(|it| it / weights);
                moved = moved.max((new[0] - at[node][0]).hypot(new[1] - at[node][1]));
                at[node] = new;
            }
        }
        if moved < 0.002 {
            break;
        }
    }
    at
}

/// Before anything is moved: by the distances from nodes that are far apart.
fn start(count: usize, from: impl Fn(usize) -> Vec<f64>) -> Vec<[f64; 2]> {
    let farthest = |row: &[f64]| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.map_or(0, |(node, _)| node)
    };
    let a = from(farthest(&from(0)));
    let b = from(farthest(&a));
    let both: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a.min(*b)).collect();
    let c = from(farthest(&both));
    // So that no two nodes begin at the same point.
    let mut chance = Chance::of(0, "layout", 0);
    let mut jitter = || chance.between(0, 1_000) as f64 / 1_000.0 - 0.5;
    (0..count)
        .map(|node| {
            [
                a[node] - b[node] + 0.4 * jitter(),
                2.0 * c[node] - a[node].min(b[node]) + 0.4 * jitter(),
            ]
        })
        .collect()
}

/// Nodes at the same place stand around it.
fn spread(positions: &mut [[f64; 2]]) {
    let extent = positions.iter().fold(
        [
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ],
        |e, it| {
            [
                e[0].min(it[0]),
                e[1].max(it[0]),
                e[2].min(it[1]),
                e[3].max(it[1]),
            ]
        },
    );
    let size = (extent[1] - extent[0]).max(extent[3] - extent[2]).max(1e-9);
    let mut at_place = BTreeMap::<[i64; 2], Vec<usize>>::new();
    for (node, it) in positions.iter().enumerate() {
        let cell = it.map(|it| (it / size * 400.0).round() as i64);
        at_place.entry(cell).or_default().push(node);
    }
    for together in at_place.values().filter(|together| together.len() > 1) {
        let count = together.len() as f64;
        let radius = size * 0.012 * (count / TAU).max(1.0);
        for (number, &node) in together.iter().enumerate() {
            let angle = TAU * number as f64 / count;
            positions[node][0] += radius * angle.cos();
            positions[node][1] += radius * angle.sin();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Reading, load};

    fn shown(source: &str) -> Vec<[f64; 2]> {
        positions(&load(source, &Reading::default()).expect("a topology"))
    }

    #[test]
    fn without_places_neighbours_are_near_and_others_are_not() {
        let at = shown("mn:linear,9,1");
        let apart = |a: usize, b: usize| (at[a][0] - at[b][0]).hypot(at[a][1] - at[b][1]);
        // s1 and s9 are nodes 0 and 16; s1 and h1 are 0 and 1.
        assert!(apart(0, 16) > 6.0, "{}", apart(0, 16));
        assert!((0.5..1.5).contains(&apart(0, 1)), "{}", apart(0, 1));
    }

    #[test]
    fn no_two_nodes_are_at_one_point_and_every_point_is_one() {
        for source in [
            "gen:barabasi-albert,n=1500,m=1",
            "gen:line,n=1",
            "mn:single,40",
            "gen:waxman,n=60,connected=false,beta=0.01",
        ] {
            let at = shown(source);
            let points: BTreeSet<[u64; 2]> = at.iter().map(|it| it.map(f64::to_bits)).collect();
            assert_eq!(points.len(), at.len(), "{source}");
            assert!(at.iter().flatten().all(|it| it.is_finite()), "{source}");
        }
    }

    #[test]
    fn a_map_of_the_pacific_is_not_torn() {
        assert!((west_edge([170.0, -170.0, 150.0].into_iter()) - 150.0).abs() < 1e-9);
        assert!((west_edge([-120.0, -70.0, 10.0].into_iter()) - 240.0).abs() < 1e-9);
        assert_eq!(west_edge(std::iter::empty()), 0.0);
    }
}
