//! Who wants an entry or a meter.

use super::FlowId;

/// What several owners want under one key, in the order of owners. There is one owner nearly always.
#[derive(Debug)]
pub(crate) struct Claims<T>(Vec<(FlowId, T)>);

impl<T> Default for Claims<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Claims<T> {
    fn place(&self, owner: FlowId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&owner, |(owner, _)| *owner)
    }

    pub(crate) fn get(&self, owner: FlowId) -> Option<&T> {
        let at = self.place(owner).ok()?;
        self.0.get(at).map(|(_, claim)| claim)
    }

    pub(crate) fn contains(&self, owner: FlowId) -> bool {
        self.place(owner).is_ok()
    }

    /// Gives what the owner wanted before.
    pub(crate) fn insert(&mut self, owner: FlowId, claim: T) -> Option<T> {
        match self.place(owner) {
            Ok(at) => {
                let (_, old) = self.0.get_mut(at)?;
                Some(std::mem::replace(old, claim))
            }
            Err(at) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, (owner, claim));
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, owner: FlowId) -> Option<T> {
        let at = self.place(owner).ok()?;
        Some(self.0.remove(at).1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn owners(&self) -> impl Iterator<Item = FlowId> + '_ {
        self.0.iter().map(|(owner, _)| *owner)
    }

    /// The claim of the highest owner, which is the one that counts.
    pub(crate) fn highest(&self) -> Option<(FlowId, &T)> {
        self.0.last().map(|(owner, claim)| (*owner, claim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn claims_are_what_a_map_of_them_is(steps in prop::collection::vec((any::<bool>(), 0u64..4, 0u16..2, any::<u8>()), 0..40)) {
            let (mut claims, mut map) = (Claims::default(), BTreeMap::new());
            for (insert, reservation, generation, claim) in steps {
                let owner = FlowId { reservation, generation };
                if insert {
                    prop_assert_eq!(claims.insert(owner, claim), map.insert(owner, claim));
                } else {
                    prop_assert_eq!(claims.remove(owner), map.remove(&owner));
                }
                prop_assert_eq!(claims.get(owner), map.get(&owner));
                prop_assert_eq!(claims.contains(owner), map.contains_key(&owner));
                prop_assert_eq!(claims.owners().collect::<Vec<_>>(), map.keys().copied().collect::<Vec<_>>());
                prop_assert_eq!(claims.highest(), map.last_key_value().map(|(owner, claim)| (*owner, claim)));
                prop_assert_eq!(claims.is_empty(), map.is_empty());
            }
        }
    }
}
