//! A row of sums, one per slot of time, that answers "what is the most in this range?".
//!
//! A flat array under one level of blocks: measured against trees, arrays win at every window
//! length, and blocks win once windows pass some thousand slots. A whole block is raised and asked
//! about without touching its slots. Over every 64 blocks there is a bound, so that where little is booked, nothing is
//! looked at.

use std::ops::Range;

/// Slots per block.
const BLOCK: usize = 64;
/// Slots under one bound.
const CHAPTER: usize = 64 * BLOCK;
/// A bound is measured again when so often something has been taken from below it.
const LOOSE: u8 = if cfg!(test) { 3 } else { 64 };

/// The sums. Takes no memory beyond the last block to which anything was added.
///
/// Callers keep every sum within `u32`: what is added has passed admission, what is taken away was added.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    len: usize,
    /// What each slot holds beside what its whole block was raised by. Those that are not there hold nothing.
    slots: Vec<u32>,
    /// Of the slots that are there.
    blocks: Vec<Block>,
    bounds: Vec<Bound>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// What every slot of the block holds on top.
    raised: u32,
    /// The most in any of its slots, `raised` left out.
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
            blocks: Vec::new(),
            bounds: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Series::new(self.len);
    }

    /// Whether no slot of the range holds more than `limit`.
    pub(crate) fn is_within(&self, range: Range<usize>, limit: u32) -> bool {
        let range = self.there(range);
        let mut bounds = self.bounds[chapters(&range)].iter();
        bounds.all(|bound| bound.most <= limit) || self.peak(range) <= limit
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
            most.max(highest(&self.slots[part]) + block.raised)
        })
    }

    /// The last slot of the range that holds more than `limit`.
    pub(crate) fn last_above(&self, range: Range<usize>, limit: u32) -> Option<usize> {
        parts(self.there(range)).rev().find_map(|(index, part)| {
            let block = self.blocks[index];
            if block.highest() <= limit {
                return None;
            }
            part.rev()
                .find(|slot| self.slots[*slot] + block.raised > limit)
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
                continue;
            }
            for run in self.slots[part].chunk_by(|a, b| a == b) {
                tell(run.len(), run[0] + raised);
            }
        }
        if empty > 0 {
            tell(empty, 0);
        }
    }

    pub(crate) fn get(&self, slot: usize) -> u32 {
        self.slots
            .get(slot)
            .map_or(0, |value| value + self.blocks[slot / BLOCK].raised)
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
            if part.is_empty() {
                continue;
            }
            let block = &mut self.blocks[part.start / BLOCK];
            // What grows can only become the highest itself.
            let grow = |most: u32, slot: &mut u32| {
                *slot += amount;
                most.max(*slot)
            };
            block.peak = self.slots[part].iter_mut().fold(block.peak, grow);
            most = most.max(block.highest());
        }
        for bound in &mut self.bounds[chapters] {
            bound.most = bound.most.max(most);
        }
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
        // In one go: as a rule no slot holds less.
        let slots = &mut self.slots[part.clone()];
        let (mut least, mut most) = (u32::MAX, 0);
        for slot in slots.iter_mut() {
            least = least.min(*slot);
            most = most.max(*slot);
            *slot = slot.wrapping_sub(amount);
        }
        if least < amount {
            let give_back = |slot: &mut u32| *slot = slot.wrapping_add(amount);
            slots.iter_mut().for_each(give_back);
            self.push_down(index);
            self.slots[part].iter_mut().for_each(|slot| *slot -= amount);
            self.measure(index);
        } else if most == self.blocks[index].peak {
            self.measure(index);
        }
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
            if self.blocks[index].highest() == 0 && highest(head) == 0 {
                continue;
            }
            self.push_down(index);
            self.slots[part].copy_from_slice(head);
            self.measure(index);
            is_new = true;
        }
        if is_new {
            chapters(&(first..end)).for_each(|chapter| self.measure_bound(chapter));
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

    fn block_mut(&mut self, index: usize) -> (&mut Block, &mut [u32]) {
        let slots = self.slots_of(index);
        (&mut self.blocks[index], &mut self.slots[slots])
    }

    /// Moves what the whole block was raised by into its slots.
    fn push_down(&mut self, index: usize) {
        let (block, slots) = self.block_mut(index);
        let raised = std::mem::take(&mut block.raised);
        slots.iter_mut().for_each(|slot| *slot += raised);
        block.peak += raised;
    }

    fn measure(&mut self, index: usize) {
        let (block, slots) = self.block_mut(index);
        block.peak = highest(slots);
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

fn highest(slots: &[u32]) -> u32 {
    slots.iter().copied().fold(0, u32::max)
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
            let most = highest(&plain[asked.clone()]);
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
