//! What is taken for the capacity of links of which nothing is known.

use super::{Fact, Origin, Topology};
use payflow_qos::BitRate;
use std::{cmp::Reverse, collections::BTreeMap};

/// Where a topology says nothing of any link: 10 Gbit/s, which is the most common speed in the map of GEANT of 2012, and, as
/// OC-192, that of every link of Abilene (Internet Topology Zoo, `Geant2012.graphml`, `Abilene.graphml`).
pub const FALLBACK_CAPACITY: BitRate = BitRate(10_000_000_000);

/// Fills in capacities: what was asked for, else what the file says, else the most common of those that are known (of equally
/// common ones the lowest), else [`FALLBACK_CAPACITY`].
pub(super) fn apply(topology: &mut Topology, asked: Option<BitRate>) {
    let default = asked
        .or(topology.default_capacity)
        .or_else(|| most_common(topology))
        .unwrap_or(FALLBACK_CAPACITY);
    topology.default_capacity = Some(default);
    for link in &mut topology.links {
        let origin = link.capacity.map(|capacity| capacity.origin);
        if origin.is_none_or(|origin| origin == Origin::Default) {
            link.capacity = Some(Fact {
                value: default,
                origin: Origin::Default,
            });
        }
    }
}

fn most_common(topology: &Topology) -> Option<BitRate> {
    let mut counts = BTreeMap::<BitRate, usize>::new();
    for capacity in topology.links.iter().filter_map(|link| link.capacity) {
        *counts.entry(capacity.value).or_default() += 1;
    }
    let best = counts
        .into_iter()
        .max_by_key(|(rate, count)| (*count, Reverse(*rate)));
    best.map(|(rate, _)| rate)
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Link, Node};
    use super::*;

    fn topology(capacities: &[Option<u64>]) -> Topology {
        let node = |name: &str| Node {
            name: name.to_owned(),
            kind: Kind::Switch,
            place: None,
        };
        let link = |capacity: &Option<u64>| Link {
            ends: [0, 1],
            capacity: capacity.map(|bps| Fact::stated(BitRate(bps))),
            delay_us: None,
        };
        Topology {
            nodes: vec![node("a"), node("b")],
            links: capacities.iter().map(link).collect(),
            ..Topology::default()
        }
    }

    fn filled(mut topology: Topology, asked: Option<u64>) -> Vec<(u64, Origin)> {
        apply(&mut topology, asked.map(BitRate));
        let capacities = topology.links.iter().filter_map(|link| link.capacity);
        capacities.map(|it| (it.value.0, it.origin)).collect()
    }

    #[test]
    fn what_is_asked_for_comes_before_the_file_before_the_most_common_before_the_fallback() {
        use Origin::{Default, Stated};
        let links = [Some(5), Some(5), Some(7), None];
        let known = [(5, Stated), (5, Stated), (7, Stated)];
        let with = |last: u64| [known.as_slice(), &[(last, Default)]].concat();
        assert_eq!(filled(topology(&links), None), with(5));
        let said = Topology {
            default_capacity: Some(BitRate(9)),
            ..topology(&links)
        };
        assert_eq!(filled(said.clone(), None), with(9));
        assert_eq!(filled(said, Some(3)), with(3));
        assert_eq!(
            filled(topology(&[None]), None),
            [(FALLBACK_CAPACITY.0, Default)]
        );
        assert_eq!(
            filled(topology(&[Some(8), Some(2), None]), None)[2],
            (2, Default)
        );
    }
}
