//! Which commitments take which links.
//!
//! There are far fewer paths than flows: those on the same links are kept together, and share what says which links these are.
//! With a million flows over thirteen links each that is the difference between 30 bytes a flow and 430.

use crate::{book::CommitmentId, link_set::LinkSet, port::PortRef};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

/// Ids by their sets of links. Nothing is in any order; whoever goes through ids makes one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    numbers: HashMap<LinkSet, u32, BuildHasherDefault<IdHasher>>,
    /// By number. Those without ids are free to be used again.
    paths: Vec<Ids<CommitmentId>>,
    free: Vec<u32>,
    /// The numbers of those that lead over a link.
    over: BTreeMap<PortRef, Ids<u32>>,
}

type Ids<T> = HashSet<T, BuildHasherDefault<IdHasher>>;

impl Paths {
    /// Enters an id, and lets its links be the ones that are shared.
    pub(crate) fn insert(&mut self, id: CommitmentId, links: &mut LinkSet) {
        if let Some((known, number)) = self.numbers.get_key_value(links) {
            *links = known.clone();
            self.paths[*number as usize].insert(id);
            return;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.paths.push(Ids::default());
            u32::try_from(self.paths.len() - 1).expect("paths take memory: there are not that many")
        });
        self.paths[number as usize].insert(id);
        for link in links.iter() {
            self.over.entry(*link).or_default().insert(number);
        }
        self.numbers.insert(links.clone(), number);
    }

    /// Takes an id out that was entered with these links.
    pub(crate) fn remove(&mut self, id: CommitmentId, links: &LinkSet) {
        let Some(number) = self.numbers.get(links).copied() else {
            return;
        };
        let ids = &mut self.paths[number as usize];
        ids.remove(&id);
        if !ids.is_empty() {
            return;
        }
        *ids = Ids::default();
        self.numbers.remove(links);
        self.free.push(number);
        for link in links {
            if let Some(numbers) = self.over.get_mut(link) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.over.remove(link);
                }
            }
        }
    }

    /// What takes this link, in ascending order.
    pub(crate) fn over(&self, link: PortRef) -> Vec<CommitmentId> {
        let numbers = self.over.get(&link).into_iter().flatten();
        let ids = numbers.flat_map(|number| &self.paths[*number as usize]);
        let mut ids: Vec<_> = ids.copied().collect();
        ids.sort_unstable();
        ids
    }
}

/// Ids and numbers are given out one after another by ourselves, so a multiplication scatters them well enough (Knuth, volume
/// 3, 6.4).
#[derive(Clone, Copy, Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_u64(&mut self, word: u64) {
        let scattered = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The upper half is the better one; a table looks at both ends.
        self.0 = scattered ^ scattered >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_tells_who_takes_a_link_as_a_plain_list_does(
            steps in prop::collection::vec((0..12_u64, prop::collection::vec(1..5_u32, 1..4)), 0..60),
        ) {
            let (mut paths, mut plain) = (Paths::default(), BTreeMap::<_, LinkSet>::new());
            for (id, ports) in steps {
                let id = CommitmentId(id);
                match plain.remove(&id) {
                    Some(links) => paths.remove(id, &links),
                    None => {
                        let mut links = ports.iter().map(|port| PortRef::new(1, *port)).collect();
                        paths.insert(id, &mut links);
                        plain.insert(id, links);
                    }
                }
                for link in (1..5).map(|port| PortRef::new(1, port)) {
                    let over = plain.iter().filter(|(_, links)| links.contains(&link)).map(|(id, _)| *id);
                    prop_assert_eq!(paths.over(link), over.collect::<Vec<_>>());
                }
            }
            for (id, links) in plain {
                paths.remove(id, &links);
            }
            prop_assert!(paths.numbers.is_empty() && paths.over.is_empty());
            prop_assert_eq!(paths.free.len(), paths.paths.len());
        }
    }
}
