//! A row of sums, one per slot of time, that answers "what is the most in this range?".
//!
//! A flat array under one level of blocks: measured against trees, arrays win at every window
//! length, and blocks win once windows pass some thousand slots. A whole block is raised and asked
//! about without touching its slots.

use std::ops::Range;

/// Slots per block.
const BLOCK: usize = 64;

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

impl Series {
    pub(crate) const fn new(len: usize) -> Self {
        Series {
            len,
            slots: Vec::new(),
            blocks: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Series::new(self.len);
    }

    /// The most in any slot of the range; 0 if it is empty.
    pub(crate) fn peak(&self, range: Range<usize>) -> u32 {
        let mut parts = parts(self.there(range));
        let ends = [parts.next(), parts.next_back()];
        // All blocks between the ends are whole.
        let between = parts.map(|(index, _)| self.blocks[index].highest());
        let between = between.max().unwrap_or(0);
        ends.into_iter()
            .flatten()
            .fold(between, |most, (index, part)| {
                let block = self.blocks[index];
                if block.highest() <= most {
                    return most;
                }
                let peak = if self.is_whole(index, &part) {
                    block.peak
                } else {
                    highest(&self.slots[part])
                };
                most.max(peak + block.raised)
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
        for (index, part) in parts(range) {
            if self.is_whole(index, &part) {
                self.blocks[index].raised += amount;
            } else {
                // What grows can only become the highest itself.
                let slots = &mut self.slots[part];
                slots.iter_mut().for_each(|slot| *slot += amount);
                let block = &mut self.blocks[index];
                block.peak = block.peak.max(highest(slots));
            }
        }
    }

    /// Takes from every slot of the range what was added before.
    pub(crate) fn take(&mut self, range: Range<usize>, amount: u32) {
        if amount == 0 || range.is_empty() {
            return;
        }
        self.allocate(range.end);
        for (index, part) in parts(range) {
            if self.is_whole(index, &part) && self.blocks[index].raised >= amount {
                self.blocks[index].raised -= amount;
            } else {
                if lowest(&self.slots[part.clone()]) < amount {
                    self.push_down(index);
                }
                let slots = &mut self.slots[part];
                let was_highest = highest(slots) == self.blocks[index].peak;
                slots.iter_mut().for_each(|slot| *slot -= amount);
                if was_highest {
                    self.measure(index);
                }
            }
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
        for (index, part) in parts(first..end) {
            let (head, tail) = rest.split_at(part.len());
            self.push_down(index);
            self.slots[part].copy_from_slice(head);
            self.measure(index);
            rest = tail;
        }
    }

    /// Has slots up to `end`, in whole blocks.
    fn allocate(&mut self, end: usize) {
        if end > self.slots.len() {
            let blocks = end.div_ceil(BLOCK);
            self.slots.resize((blocks * BLOCK).min(self.len), 0);
            self.blocks.resize(blocks, Block::default());
        }
    }

    /// What of a range is there.
    fn there(&self, range: Range<usize>) -> Range<usize> {
        range.start..range.end.min(self.slots.len())
    }

    /// Whether the range is all of the block; the last one may be short.
    fn is_whole(&self, index: usize, part: &Range<usize>) -> bool {
        *part == (index * BLOCK..((index + 1) * BLOCK).min(self.len))
    }

    fn block_mut(&mut self, index: usize) -> (&mut Block, &mut [u32]) {
        let end = ((index + 1) * BLOCK).min(self.len);
        (&mut self.blocks[index], &mut self.slots[index * BLOCK..end])
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

fn lowest(slots: &[u32]) -> u32 {
    slots.iter().copied().fold(u32::MAX, u32::min)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEN: usize = 4 * BLOCK + 7;

    #[derive(Clone, Debug)]
    enum Step {
        Add(Range<usize>, u32),
        TakeBack(usize),
        Write(usize, Vec<u32>),
    }

    fn range() -> impl Strategy<Value = Range<usize>> {
        (0..=LEN, 0..=LEN).prop_map(|(a, b)| a.min(b)..a.max(b))
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
            prop_assert_eq!(series.peak(asked.clone()), highest(&plain[asked.clone()]));
            prop_assert_eq!(series.last_above(asked.clone(), limit), asked.rev().find(|slot| plain[*slot] > limit));
        }
    }
}
