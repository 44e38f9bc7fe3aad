//! Nothing is done before the record it depends on is durable.
//!
//! The core's state is ahead of the disk; the world is not. Whatever is queued here waits until
//! every record written before it is durable, and comes out in the order it was queued. A crash
//! loses only what nobody has seen.

use std::collections::VecDeque;

/// Holds effects back until the journal has caught up.
#[derive(Debug)]
pub(super) struct Gate<T> {
    written: u64,
    durable: u64,
    waiting: VecDeque<(u64, T)>,
}

impl<T> Gate<T> {
    /// A gate behind a journal that ends at `sequence`, all of it durable.
    pub(super) fn after(sequence: u64) -> Self {
        Self {
            written: sequence,
            durable: sequence,
            waiting: VecDeque::new(),
        }
    }

    /// The sequence number for the next record.
    pub(super) fn write(&mut self) -> u64 {
        self.written += 1;
        self.written
    }

    /// The sequence number of the newest record.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Queues an effect behind every record written so far.
    pub(super) fn queue(&mut self, effect: T) {
        self.waiting.push_back((self.written, effect));
    }

    /// Every record up to `through` is durable.
    pub(super) fn durable(&mut self, through: u64) {
        self.durable = self.durable.max(through.min(self.written));
    }

    /// Takes the next effect that nothing holds back.
    pub(super) fn release(&mut self) -> Option<T> {
        let &(needs, _) = self.waiting.front()?;
        if needs > self.durable {
            return None;
        }
        self.waiting.pop_front().map(|(_, effect)| effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_waits_for_the_records_before_it_and_for_no_other() {
        let mut gate = Gate::after(10);
        gate.queue("free");
        assert_eq!(gate.write(), 11);
        gate.queue("after 11");
        assert_eq!(gate.write(), 12);
        gate.queue("after 12");
        assert_eq!(gate.release(), Some("free"));
        assert_eq!(gate.release(), None);
        gate.durable(11);
        assert_eq!(gate.release(), Some("after 11"));
        assert_eq!(gate.release(), None);
        gate.durable(99);
        assert_eq!(gate.release(), Some("after 12"));
    }

    #[test]
    fn order_is_kept_even_for_what_needs_nothing_more() {
        let mut gate = Gate::after(0);
        gate.write();
        gate.queue("first");
        gate.queue("second");
        assert_eq!(gate.release(), None);
        gate.durable(1);
        assert_eq!(
            (gate.release(), gate.release()),
            (Some("first"), Some("second"))
        );
    }
}
