//! Everything that is known of the flow entries of one switch, by key.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use payflow_qos::Time;
use rust_openflow::{Instruction, MeterId};

use super::{
    claims::Claims,
    entry::{FlowEntry, FlowKey, meter_of},
};

/// Names a row as long as it is there; then it may name another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowId(u32);

/// One key: what is wanted under it, and what is held.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: Arc<FlowKey>,
    pub(crate) wanted: Claims<FlowEntry>,
    pub(crate) held: Option<Held>,
    /// It is in a batch.
    pub(crate) is_busy: bool,
    /// What is wanted and what is held may differ.
    pub(crate) is_due: bool,
}

/// A flow entry the switch is believed to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) cookie: u64,
    pub(crate) instructions: Arc<[Instruction]>,
    pub(crate) expires: Option<Time>,
}

/// Rows by key and by id. Keys are long, and comparing them is what costs, so a key is looked up once, and by its hash.
/// Hashes are the same in every run, and decide nothing: rows are gone through by id.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    by_key: HashMap<Arc<FlowKey>, RowId, BuildHasherDefault<KeyHasher>>,
    rows: Vec<Option<Row>>,
    free: Vec<RowId>,
}

/// A multiplication by the golden ratio for every word (Knuth, 6.4): keys are hashed more often than anything else is done
/// with them. Who chooses addresses whose hashes are the same slows down little: few are learned of one port.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.write_u64(word);
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    /// The high bits say most, and the map looks at the low ones first.
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

impl Rows {
    pub(crate) fn find(&self, key: &FlowKey) -> Option<RowId> {
        self.by_key.get(key).copied()
    }

    /// The row of this key, made if need be.
    pub(crate) fn row_of(&mut self, key: Arc<FlowKey>) -> RowId {
        let (rows, free) = (&mut self.rows, &mut self.free);
        let place = self.by_key.entry(key);
        let key = place.key().clone();
        *place.or_insert_with(|| {
            let id = free.pop().unwrap_or_else(|| {
                rows.push(None);
                RowId(u32::try_from(rows.len() - 1).unwrap_or(u32::MAX))
            });
            if let Some(row) = rows.get_mut(id.0 as usize) {
                *row = Some(Row {
                    key,
                    wanted: Claims::default(),
                    held: None,
                    is_busy: false,
                    is_due: false,
                });
            }
            id
        })
    }

    pub(crate) fn get(&self, id: RowId) -> Option<&Row> {
        self.rows.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: RowId) -> Option<&mut Row> {
        self.rows.get_mut(id.0 as usize)?.as_mut()
    }

    pub(crate) fn get_by_key(&self, key: &FlowKey) -> Option<&Row> {
        self.get(self.find(key)?)
    }

    /// Forgets a row of which nothing is wanted, held or to be done.
    pub(crate) fn tidy(&mut self, id: RowId) {
        let is_empty =
            |row: &Row| row.wanted.is_empty() && row.held.is_none() && !row.is_busy && !row.is_due;
        let place = self.rows.get_mut(id.0 as usize);
        if let Some(row) = place.and_then(|row| row.take_if(|row| is_empty(row))) {
            self.by_key.remove(&row.key);
            self.free.push(id);
        }
    }

    /// All rows, in the order of ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RowId, &Row)> {
        let rows = (0..).map(RowId).zip(&self.rows);
        rows.filter_map(|(id, row)| Some((id, row.as_ref()?)))
    }

    /// The same, to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.rows.iter_mut().flatten()
    }
}

impl Held {
    /// The meter that packets pass.
    pub(crate) fn meter(&self) -> Option<MeterId> {
        meter_of(&self.instructions)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rust_openflow::{Match, PortNo, TableId};

    fn key(number: u32) -> Arc<FlowKey> {
        Arc::new(FlowKey {
            table: TableId(0),
            priority: 1,
            matching: Match::new().in_port(PortNo(number)),
        })
    }

    #[test]
    fn a_row_is_found_by_its_key_until_nothing_is_left_of_it() {
        let mut rows = Rows::default();
        let ids = [3, 1, 2].map(|number| rows.row_of(key(number)));
        assert_eq!(rows.row_of(key(1)), ids[1]);
        let order: Vec<_> = rows.iter().map(|(id, row)| (id, row.key.clone())).collect();
        assert_eq!(
            order,
            [(ids[0], key(3)), (ids[1], key(1)), (ids[2], key(2))]
        );
        rows.get_mut(ids[1]).unwrap().is_due = true;
        rows.tidy(ids[1]);
        assert_eq!(rows.find(&key(1)), Some(ids[1]));
        rows.get_mut(ids[1]).unwrap().is_due = false;
        rows.tidy(ids[1]);
        rows.tidy(ids[1]);
        assert!(rows.find(&key(1)).is_none() && rows.get(ids[1]).is_none());
        assert_eq!(rows.row_of(key(7)), ids[1], "its place is taken again");
        assert_eq!(rows.get_by_key(&key(7)).unwrap().key, key(7));
    }
}
