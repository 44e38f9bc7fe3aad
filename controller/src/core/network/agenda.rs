//! Things that are looked at when something has happened to them or their time has come, and at no other time: with many
//! switches, to look at each of them at every packet is what would cost most.

use std::collections::{BTreeMap, BTreeSet};

use payflow_qos::Time;

/// A map that knows which of its values were taken out to be changed, and when each has to be looked at if nothing
/// happens before.
pub(crate) struct Agenda<K, V> {
    all: BTreeMap<K, Item<V>>,
    /// Changed since [`Self::reschedule`].
    touched: BTreeSet<K>,
    deadlines: BTreeSet<(Time, K)>,
}

struct Item<V> {
    value: V,
    /// As in `deadlines`.
    deadline: Option<Time>,
}

impl<K, V> Default for Agenda<K, V> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            touched: BTreeSet::new(),
            deadlines: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Copy, V> Agenda<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.all.get(key).map(|item| &item.value)
    }

    /// To change it, or to have it looked at.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let item = self.all.get_mut(key)?;
        self.touched.insert(*key);
        Some(&mut item.value)
    }

    /// The same, made if need be.
    pub(crate) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.touched.insert(key);
        let item = self.all.entry(key).or_insert_with(|| Item {
            value: make(),
            deadline: None,
        });
        &mut item.value
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        self.get_or_insert_with(key, || value);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let item = self.all.remove(key)?;
        self.touched.remove(key);
        if let Some(at) = item.deadline {
            self.deadlines.remove(&(at, *key));
        }
        Some(item.value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.all.iter().map(|(key, item)| (key, &item.value))
    }

    /// Those whose time has come, in the order of keys.
    pub(crate) fn due(&self, now: Time) -> BTreeSet<K> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, key)| *key).collect()
    }

    /// Those that something has happened to.
    pub(crate) fn touched(&self) -> Vec<K> {
        self.touched.iter().copied().collect()
    }

    /// Everything has been done about those that something has happened to; `deadline` tells when to look at one again.
    pub(crate) fn reschedule(&mut self, deadline: impl Fn(&V) -> Option<Time>) {
        for key in std::mem::take(&mut self.touched) {
            let Some(item) = self.all.get_mut(&key) else {
                continue;
            };
            let next = deadline(&item.value);
            let before = std::mem::replace(&mut item.deadline, next);
            if before != next {
                if let Some(at) = before {
                    self.deadlines.remove(&(at, key));
                }
                self.deadlines.extend(next.map(|at| (at, key)));
            }
        }
    }

    /// When the first of them has to be looked at.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    proptest! {
        /// The values are their own deadlines; 0 has none.
        #[test]
        fn what_is_due_is_what_looking_at_each_would_give(
            steps in prop::collection::vec((0u8..4, 0u8..8, 0u64..20), 0..60)
        ) {
            let mut agenda = Agenda::default();
            let mut model: BTreeMap<u8, u64> = BTreeMap::new();
            let deadline = |value: &u64| (*value > 0).then(|| at(*value));
            for (step, key, value) in steps {
                match step {
                    0 => {
                        agenda.insert(key, value);
                        model.insert(key, value);
                    }
                    1 => prop_assert_eq!(agenda.remove(&key), model.remove(&key)),
                    _ => {
                        if let Some(it) = agenda.get_mut(&key) {
                            *it = value;
                            model.insert(key, value);
                        }
                        prop_assert_eq!(agenda.touched().contains(&key), model.contains_key(&key));
                    }
                }
                agenda.reschedule(deadline);
                prop_assert!(agenda.touched().is_empty());
                prop_assert_eq!(agenda.next_deadline(), model.values().filter_map(deadline).min());
                let due = model.iter().filter(|(_, value)| (1..=10).contains(*value));
                prop_assert_eq!(agenda.due(at(10)), due.map(|(key, _)| *key).collect());
            }
        }
    }
}
