//! A row of sums, one per slot of time, that answers "what is the most in this range?".
//!
//! A flat array under one level of blocks: measured against trees, arrays win at every window
//! length, and blocks win once windows pass some thousand slots. A whole block is raised and asked
//! about without touching its slots. Over every 64 blocks there is a bound, so that where little is booked, nothing is
//! looked at.
//!
//! Time goes into waiting for memory, so slots are narrow: within one block they seldom differ by more than 16 bits hold. Where
//! they do, the slots of the block are kept wide, beside the others.

use std::{collections::BTreeMap, ops::Range};

/// Slots per block.
const BLOCK: usize = 64;
/// Slots under one bound.
const CHAPTER: usize = 64 * BLOCK;
/// A bound is measured again when so often something has been taken from below it.
const LOOSE: u8 = if cfg!(test) { 3 } else { 64 };
/// The most that a narrow slot holds.
const NARROW: u32 = if cfg!(test) { 1_500 } else { u16::MAX as u32 };

/// The sums. Takes no memory beyond the last block to which anything was added.
///
/// Callers keep every sum within `u32`: what is added has passed admission, what is taken away was added.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    len: usize,
    /// What each slot holds beside what its whole block was raised by, in narrow blocks. Those that are not there hold nothing.
    slots: Vec<u16>,
    /// The same in wide blocks, by number of block.
    wide: BTreeMap<usize, Box<[u32; BLOCK]>>,
    /// Of the slots that are there.
    blocks: Vec<Block>,
    bounds: Vec<Bound>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// What every slot of the block holds on top.
    raised: u32,
    /// The most in any of its slots, `raised` left out. Beyond [`NARROW`] the block is wide.
    peak: u32,
}

impl Block {
    /// The most in any of its slots.
    const fn highest(self) -> u32 {
        self.peak + self.raised
    }
}

/// At least as much as any slot of a chapter holds.
#[derive(Clone, Copy, Debug, Default)]
struct Bound {
    most: u32,
    /// How often something was taken since it was exact.
    taken: u8,
}

impl Series {
    pub(crate) const fn new(len: usize) -> Self {
        Series {
            len,
            slots: Vec::new(),
            wide: BTreeMap::new(),
            blocks: Vec::new(),
            bounds: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Series::new(self.len);
    }

    /// Whether no slot of the range holds more than `limit`. Slots are looked at only where their block does not tell.
    pub(crate) fn is_within(&self, range: Range<usize>, limit: u32) -> bool {
        let range = self.there(range);
        let mut bounds = self.bounds[chapters(&range)].iter();
        if bounds.all(|bound| bound.most <= limit) {
            return true;
        }
        let (first, whole, last) = self.split(range);
        let mut whole = self.blocks[whole].iter();
        whole.all(|block| block.highest() <= limit)
            && [first, last].into_iter().all(|part| {
                // An empty part of the block after the last has no block.
                let block = self.blocks.get(part.start / BLOCK);
                block.filter(|_| !part.is_empty()).is_none_or(|block| {
                    block.highest() <= limit || self.highest(part) + block.raised <= limit
                })
            })
    }

    /// The most in any slot of the range; 0 if it is empty.
    pub(crate) fn peak(&self, range: Range<usize>) -> u32 {
        let (first, whole, last) = self.split(self.there(range));
        let between = self.blocks[whole].iter().map(|block| block.highest());
        let between = between.max().unwrap_or(0);
        [first, last].into_iter().fold(between, |most, part| {
            // An empty part of the block after the last has no block.
            let Some(block) = self.blocks.get(part.start / BLOCK) else {
                return most;
            };
            if block.highest() <= most || part.is_empty() {
                return most;
            }
            most.max(self.highest(part) + block.raised)
        })
    }

    /// The last slot of the range that holds more than `limit`.
    pub(crate) fn last_above(&self, range: Range<usize>, limit: u32) -> Option<usize> {
        parts(self.there(range)).rev().find_map(|(index, part)| {
            let block = self.blocks[index];
            if block.highest() <= limit {
                return None;
            }
            let first = part.start;
            let last = match self.wide_part(index, &part) {
                Some(slots) => slots.iter().rposition(|slot| *slot + block.raised > limit),
                None => self.slots[part]
                    .iter()
                    .rposition(|slot| u32::from(*slot) + block.raised > limit),
            };
            last.map(|place| first + place)
        })
    }

    /// All the range in order: how many slots, and what each of them holds. Neighbours may be equal.
    pub(crate) fn runs(&self, range: Range<usize>, mut tell: impl FnMut(usize, u32)) {
        let there = self.there(range.clone());
        let empty = range.end.saturating_sub(there.end.max(range.start));
        for (index, part) in parts(there) {
            let Block { raised, peak } = self.blocks[index];
            if peak == 0 {
                tell(part.len(), raised);
            } else if let Some(slots) = self.wide_part(index, &part) {
                for run in slots.chunk_by(|a, b| a == b) {
                    tell(run.len(), run[0] + raised);
                }
            } else {
                for run in self.slots[part].chunk_by(|a, b| a == b) {
                    tell(run.len(), u32::from(run[0]) + raised);
                }
            }
        }
        if empty > 0 {
            tell(empty, 0);
        }
    }

    pub(crate) fn get(&self, slot: usize) -> u32 {
        self.peak(slot..slot + 1)
    }

    /// Reads of whatever a look at this range, or a change to it, will want from memory; what is told means nothing. Reads do not
    /// wait for one another, as work does.
    pub(crate) fn touch(&self, range: Range<usize>) -> u32 {
        /// In a line of the cache of 64 bytes.
        const BLOCKS: usize = 64 / size_of::<Block>();
        const SLOTS: usize = 64 / size_of::<u16>();
        let range = self.there(range);
        if range.is_empty() {
            return 0;
        }
        let (first, whole, last) = self.split(range);
        let blocks = self.blocks[whole].iter().step_by(BLOCKS);
        let slots = [first, last].into_iter().flat_map(|part| {
            let block = self.blocks.get(part.start / BLOCK);
            let slots = self.slots[part].iter().step_by(SLOTS);
            let slots = slots.map(|slot| u32::from(*slot));
            slots.chain(block.map(|block| block.raised))
        });
        let both = blocks.map(|block| block.raised).chain(slots);
        both.fold(0, |all, value| all ^ value)
    }

    /// Adds to every slot of the range.
    pub(crate) fn add(&mut self, range: Range<usize>, amount: u32) {
        if amount == 0 || range.is_empty() {
            return;
        }
        self.allocate(range.end);
        let chapters = chapters(&range);
        let (first, whole, last) = self.split(range);
        let mut most = 0;
        for block in &mut self.blocks[whole] {
            block.raised += amount;
            most = most.max(block.highest());
        }
        for part in [first, last] {
            if !part.is_empty() {
                most = most.max(self.add_to_slots(part, amount));
            }
        }
        for bound in &mut self.bounds[chapters] {
            bound.most = bound.most.max(most);
        }
    }

    /// Of one block; the most in any of its slots from then on.
    fn add_to_slots(&mut self, part: Range<usize>, amount: u32) -> u32 {
        let index = part.start / BLOCK;
        let block = &mut self.blocks[index];
        let narrow = u16::try_from(amount).ok();
        let Some(narrow) = narrow.filter(|_| block.peak.saturating_add(amount) <= NARROW) else {
            let part = within_block(&part);
            self.edit(index, |slots| {
                slots[part].iter_mut().for_each(|slot| *slot += amount);
            });
            return self.blocks[index].highest();
        };
        // What grows can only become the highest itself.
        let most = self.slots[part].iter_mut().fold(0, |most: u16, slot| {
            *slot += narrow;
            most.max(*slot)
        });
        block.peak = block.peak.max(most.into());
        block.highest()
    }

    /// Takes from every slot of the range what was added before.
    pub(crate) fn take(&mut self, range: Range<usize>, amount: u32) {
        if amount == 0 || range.is_empty() {
            return;
        }
        self.allocate(range.end);
        let chapters = chapters(&range);
        let (first, whole, last) = self.split(range);
        let least = self.blocks[whole.clone()].iter().map(|block| block.raised);
        if least.min().is_none_or(|least| least >= amount) {
            let blocks = self.blocks[whole].iter_mut();
            blocks.for_each(|block| block.raised -= amount);
        } else {
            whole.for_each(
                |index| match self.blocks[index].raised.checked_sub(amount) {
                    Some(rest) => self.blocks[index].raised = rest,
                    None => self.take_from_slots(self.slots_of(index), amount),
                },
            );
        }
        for part in [first, last] {
            if !part.is_empty() {
                self.take_from_slots(part, amount);
            }
        }
        for chapter in chapters {
            let bound = &mut self.bounds[chapter];
            bound.taken += 1;
            if bound.taken == LOOSE {
                self.measure_bound(chapter);
            }
        }
    }

    /// Of one block.
    fn take_from_slots(&mut self, part: Range<usize>, amount: u32) {
        let index = part.start / BLOCK;
        let block = self.blocks[index];
        if let Ok(narrow) = u16::try_from(amount)
            && block.peak <= NARROW
        {
            // In one go: as a rule no slot holds less.
            let slots = &mut self.slots[part.clone()];
            let (mut least, mut most) = (u16::MAX, 0);
            for slot in slots.iter_mut() {
                least = least.min(*slot);
                most = most.max(*slot);
                *slot = slot.wrapping_sub(narrow);
            }
            if least >= narrow {
                if u32::from(most) == block.peak {
                    self.blocks[index].peak = self.highest(self.slots_of(index));
                }
                return;
            }
            let give_back = |slot: &mut u16| *slot = slot.wrapping_add(narrow);
            slots.iter_mut().for_each(give_back);
        }
        let part = within_block(&part);
        self.edit(index, |slots| {
            slots[part].iter_mut().for_each(|slot| *slot -= amount);
        });
    }

    /// Writes `values` into the slots from `first` on.
    pub(crate) fn write(&mut self, first: usize, values: &[u32]) {
        let end = first + values.len();
        if first >= self.slots.len() && values.iter().all(|value| *value == 0) {
            return;
        }
        self.allocate(end);
        let mut rest = values;
        let mut is_new = false;
        for (index, part) in parts(first..end) {
            let (head, tail) = rest.split_at(part.len());
            rest = tail;
            // As a rule nothing is written where nothing is.
            if self.blocks[index].highest() == 0 && head.iter().all(|value| *value == 0) {
                continue;
            }
            let part = within_block(&part);
            self.edit(index, |slots| slots[part].copy_from_slice(head));
            is_new = true;
        }
        if is_new {
            chapters(&(first..end)).for_each(|chapter| self.measure_bound(chapter));
        }
    }

    /// Changes the slots of a block whatever they hold, which is told and taken as it is, with what the whole block was raised by.
    fn edit(&mut self, index: usize, change: impl FnOnce(&mut [u32])) {
        let slots = self.slots_of(index);
        let Block { raised, peak } = self.blocks[index];
        let mut values = [0; BLOCK];
        let values = &mut values[..slots.len()];
        match self.wide_part(index, &slots) {
            Some(wide) => values.copy_from_slice(wide),
            None => {
                let narrow = self.slots[slots.clone()].iter();
                (values.iter_mut().zip(narrow)).for_each(|(value, slot)| *value = (*slot).into());
            }
        }
        values.iter_mut().for_each(|value| *value += raised);
        change(values);

        let (least, most) = values.iter().fold((u32::MAX, 0), |(least, most), value| {
            (least.min(*value), most.max(*value))
        });
        // As little as can be is moved between the block and its slots: what was raised as a whole is taken as a whole again.
        let raised = Some(raised.min(least)).filter(|raised| most - raised <= NARROW);
        let raised = raised.unwrap_or(least);
        values.iter_mut().for_each(|value| *value -= raised);
        self.blocks[index] = Block {
            raised,
            peak: most - raised,
        };
        if most - raised > NARROW {
            let wide = self.wide.entry(index);
            let wide = wide.or_insert_with(|| Box::new([0; BLOCK]));
            wide[..values.len()].copy_from_slice(values);
            return;
        }
        if peak > NARROW {
            self.wide.remove(&index);
        }
        let narrow = self.slots[slots].iter_mut();
        narrow.zip(values).for_each(|(slot, value)| {
            // None is above NARROW.
            *slot = u16::try_from(*value).unwrap_or(u16::MAX);
        });
    }

    /// The slots of a part of a block, if it is wide.
    fn wide_part(&self, index: usize, part: &Range<usize>) -> Option<&[u32]> {
        if self.blocks[index].peak <= NARROW {
            return None;
        }
        let slots = self.wide.get(&index)?;
        Some(&slots[within_block(part)])
    }

    /// The most in any slot of a part of a block, `raised` left out.
    fn highest(&self, part: Range<usize>) -> u32 {
        let index = part.start / BLOCK;
        match self.wide_part(index, &part) {
            Some(slots) => slots.iter().copied().fold(0, u32::max),
            None => self.slots[part].iter().copied().fold(0, u16::max).into(),
        }
    }

    /// Has slots up to `end`, in whole blocks.
    fn allocate(&mut self, end: usize) {
        if end > self.slots.len() {
            let blocks = end.div_ceil(BLOCK);
            self.slots.resize((blocks * BLOCK).min(self.len), 0);
            self.blocks.resize(blocks, Block::default());
            self.bounds.resize(end.div_ceil(CHAPTER), Bound::default());
        }
    }

    /// What of a range is there.
    fn there(&self, range: Range<usize>) -> Range<usize> {
        range.start..range.end.min(self.slots.len())
    }

    /// The slots of a block; the last one may be short.
    fn slots_of(&self, index: usize) -> Range<usize> {
        index * BLOCK..((index + 1) * BLOCK).min(self.len)
    }

    /// The slots of the range before its first whole block, its whole blocks, and the slots after them.
    fn split(&self, range: Range<usize>) -> (Range<usize>, Range<usize>, Range<usize>) {
        let first = range.start.div_ceil(BLOCK);
        let end = if range.end == self.len {
            range.end.div_ceil(BLOCK)
        } else {
            range.end / BLOCK
        };
        if range.is_empty() || end < first {
            return (range, 0..0, 0..0);
        }
        let after = (end * BLOCK).min(range.end);
        let before = (first * BLOCK).min(range.end);
        (range.start..before, first..end, after..range.end)
    }

    fn measure_bound(&mut self, chapter: usize) {
        let blocks = chapter * CHAPTER / BLOCK..((chapter + 1) * CHAPTER / BLOCK);
        let blocks = &self.blocks[blocks.start..blocks.end.min(self.blocks.len())];
        self.bounds[chapter] = Bound {
            most: blocks.iter().map(|it| it.highest()).max().unwrap_or(0),
            taken: 0,
        };
    }
}

/// A part of a block, counted from its beginning.
const fn within_block(part: &Range<usize>) -> Range<usize> {
    let begin = part.start / BLOCK * BLOCK;
    part.start - begin..part.end - begin
}

/// The chapters that a range touches.
fn chapters(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / CHAPTER..range.end.div_ceil(CHAPTER)
}

/// The parts of a range that lie in one block each, with the number of the block.
fn parts(range: Range<usize>) -> impl DoubleEndedIterator<Item = (usize, Range<usize>)> {
    let blocks = if range.is_empty() {
        0..0
    } else {
        range.start / BLOCK..range.end.div_ceil(BLOCK)
    };
    blocks.map(move |index| {
        (
            index,
            range.start.max(index * BLOCK)..range.end.min((index + 1) * BLOCK),
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEN: usize = CHAPTER + 4 * BLOCK + 7;

    #[derive(Clone, Debug)]
    enum Step {
        Add(Range<usize>, u32),
        TakeBack(usize),
        Write(usize, Vec<u32>),
    }

    /// Often about the end of a block, or the last slots of all.
    fn place() -> impl Strategy<Value = usize> {
        prop_oneof![
            0..=LEN,
            (0..LEN / BLOCK, 0..4_usize).prop_map(|(block, beside)| block * BLOCK + beside),
            LEN - 10..=LEN,
        ]
    }

    fn range() -> impl Strategy<Value = Range<usize>> {
        (place(), place()).prop_map(|(a, b)| a.min(b)..a.max(b))
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (range(), 0..1_000_u32).prop_map(|(range, amount)| Step::Add(range, amount)),
            2 => any::<usize>().prop_map(Step::TakeBack),
            1 => (0..LEN - 60, prop::collection::vec(1_000_000..1_001_000_u32, 0..60)).prop_map(|(at, values)| Step::Write(at, values)),
        ]
    }

    proptest! {
        #[test]
        fn a_series_answers_as_a_plain_array(steps in prop::collection::vec(step(), 0..60), asked in range(), limit in 0..3_000_u32) {
            let (mut series, mut plain, mut added) = (Series::new(LEN), vec![0_u32; LEN], Vec::new());
            for step in steps {
                match step {
                    Step::Add(range, amount) => {
                        series.add(range.clone(), amount);
                        plain[range.clone()].iter_mut().for_each(|slot| *slot += amount);
                        added.push((range, amount));
                    }
                    Step::TakeBack(which) if !added.is_empty() => {
                        let (range, amount) = added.swap_remove(which % added.len());
                        series.take(range.clone(), amount);
                        plain[range].iter_mut().for_each(|slot| *slot -= amount);
                    }
                    Step::TakeBack(_) => {}
                    Step::Write(at, values) => {
                        series.write(at, &values);
                        plain[at..at + values.len()].copy_from_slice(&values);
                    }
                }
            }
            for (slot, value) in plain.iter().enumerate() {
                prop_assert_eq!(series.get(slot), *value);
            }
            let most = plain[asked.clone()].iter().copied().max().unwrap_or(0);
            prop_assert_eq!(series.peak(asked.clone()), most);
            for limit in [limit, most, most.saturating_sub(1)] {
                prop_assert_eq!(series.is_within(asked.clone(), limit), most <= limit);
            }
            let mut told = Vec::new();
            series.runs(asked.clone(), |slots, value| told.extend(std::iter::repeat_n(value, slots)));
            prop_assert_eq!(told.as_slice(), &plain[asked.clone()]);
            prop_assert_eq!(series.last_above(asked.clone(), limit), asked.rev().find(|slot| plain[*slot] > limit));
        }
    }
}
