//! A topology as numbered switches, cables between them and hosts: what networks are built from.

use std::collections::BTreeMap;

use payflow_qos::BitRate;

use super::{FALLBACK_CAPACITY, Topology};

/// Switches by number, from 1 on; every one can be reached from every other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// Their names: the first is that of switch 1.
    pub switches: Vec<String>,
    /// Cables between switches, and what they carry in each direction.
    pub cables: Vec<(u64, u64, BitRate)>,
    /// Hosts by name, each with its switch. A host with several links is there once for each.
    pub hosts: Vec<(String, u64)>,
}

impl Wiring {
    /// A topology of at most so many switches. Delays of links are left out.
    ///
    /// # Errors
    /// It has no switch, more than that, or some of them cannot be reached from others.
    pub fn of(topology: &Topology, most: usize) -> Result<Self, String> {
        let switches: Vec<usize> = topology.switches().collect();
        let numbers: BTreeMap<usize, u64> = switches.iter().copied().zip(1..).collect();
        let name = &topology.name;
        if switches.is_empty() || switches.len() > most {
            return Err(format!(
                "{name} has {} switches; 1 to {most} can be simulated",
                switches.len()
            ));
        }
        let alone = topology.clone().without_hosts();
        if alone.components().len() > 1 {
            return Err(format!(
                "some switches of {name} cannot be reached from others; --largest leaves those out"
            ));
        }
        let name_of = |node: usize| topology.nodes[node].name.clone();
        let (mut cables, mut hosts) = (Vec::new(), Vec::new());
        for link in &topology.links {
            let [a, b] = link.ends;
            match [a, b].map(|end| numbers.get(&end).copied()) {
                [Some(a), Some(b)] => {
                    let capacity = link.capacity.map_or(FALLBACK_CAPACITY, |it| it.value);
                    cables.push((a, b, capacity));
                }
                [Some(switch), None] => hosts.push((name_of(b), switch)),
                [None, Some(switch)] => hosts.push((name_of(a), switch)),
                [None, None] => {}
            }
        }
        Ok(Self {
            switches: switches.into_iter().map(name_of).collect(),
            cables,
            hosts,
        })
    }
}
