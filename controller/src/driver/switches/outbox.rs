//! What is to be written to switches, and how much of it may wait.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::{mpsc, oneshot},
};
use tracing::warn;

use crate::core::network::ConnectionId;

/// Bytes that may wait for one switch: the entries of some 100 000 reservations.
pub(super) const OUTPUT_LIMIT: usize = 64 << 20;

/// Bytes that may wait for all switches together. Above that the one with most is disconnected.
const TOTAL_LIMIT: usize = 4 * OUTPUT_LIMIT;

/// What waits for each connection.
#[derive(Debug, Default)]
pub(super) struct Outboxes {
    boxes: BTreeMap<ConnectionId, Outbox>,
    total: Arc<AtomicUsize>,
}

/// What is to be written to one switch. Dropping it closes the connection once that is done.
#[derive(Debug)]
struct Outbox {
    bytes: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Arc<Waiting>,
    /// Never sent on; dropped with the rest.
    _open: oneshot::Sender<()>,
}

/// The other end of an outbox.
#[derive(Debug)]
pub(super) struct Queue {
    bytes: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting: Arc<Waiting>,
}

/// Bytes in the queue and in the hands of the writer, of one connection and of all.
#[derive(Debug)]
struct Waiting {
    own: AtomicUsize,
    total: Arc<AtomicUsize>,
}

impl Outboxes {
    /// An outbox for a new connection: what to write, and when to end.
    pub(super) fn insert(&mut self, connection: ConnectionId) -> (Queue, oneshot::Receiver<()>) {
        let (bytes, queue) = mpsc::unbounded_channel();
        let (open, closing) = oneshot::channel();
        let waiting = Arc::new(Waiting {
            own: AtomicUsize::new(0),
            total: self.total.clone(),
        });
        let outbox = Outbox {
            bytes,
            waiting: waiting.clone(),
            _open: open,
        };
        self.boxes.insert(connection, outbox);
        let queue = Queue {
            bytes: queue,
            waiting,
        };
        (queue, closing)
    }

    pub(super) fn len(&self) -> usize {
        self.boxes.len()
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, connection: ConnectionId) -> bool {
        self.boxes.remove(&connection).is_some()
    }

    /// Queues bytes for a switch, and disconnects who is too far behind.
    pub(super) fn send(&mut self, connection: ConnectionId, bytes: Vec<u8>) {
        let Some(outbox) = self.boxes.get(&connection) else {
            return;
        };
        let (own, total) = outbox.waiting.add(bytes.len());
        if own > OUTPUT_LIMIT {
            warn!(
                connection = connection.0,
                waiting = own,
                "closing: the switch does not read what it is sent"
            );
            self.boxes.remove(&connection);
        } else if outbox.bytes.send(bytes).is_err() {
            // The connection is ending by itself and says so.
            self.boxes.remove(&connection);
        }
        if total > TOTAL_LIMIT {
            self.relieve();
        }
    }

    /// Disconnects the switch that is furthest behind.
    fn relieve(&mut self) {
        let slowest = self
            .boxes
            .iter()
            .map(|(id, outbox)| (outbox.waiting.own.load(Ordering::Relaxed), *id))
            .max();
        if let Some((waiting, connection)) = slowest {
            warn!(
                connection = connection.0,
                waiting, "closing: too much waits for switches, and most of it for this one"
            );
            self.boxes.remove(&connection);
        }
    }
}

impl Queue {
    /// Writes what comes until the outbox is dropped.
    pub(super) async fn write(&mut self, mut writer: impl AsyncWrite + Unpin) -> io::Result<()> {
        while let Some(bytes) = self.bytes.recv().await {
            writer.write_all(&bytes).await?;
            self.waiting.remove(bytes.len());
            if self.bytes.is_empty() {
                // TLS keeps what the socket did not take at once.
                writer.flush().await?;
            }
        }
        writer.shutdown().await
    }
}

impl Waiting {
    /// What waits with these: for this connection, and for all.
    fn add(&self, count: usize) -> (usize, usize) {
        let own = self.own.fetch_add(count, Ordering::Relaxed);
        let total = self.total.fetch_add(count, Ordering::Relaxed);
        (own.saturating_add(count), total.saturating_add(count))
    }

    fn remove(&self, count: usize) {
        self.own.fetch_sub(count, Ordering::Relaxed);
        self.total.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // What was never written.
        self.total
            .fetch_sub(self.own.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_have_a_limit_and_the_slowest_goes_first() {
        let mut outboxes = Outboxes::default();
        let queues: Vec<_> = (0..8).map(|n| outboxes.insert(ConnectionId(n))).collect();
        for piece in 0..TOTAL_LIMIT / OUTPUT_LIMIT * 6 {
            // Five behave; the sixth and seventh are slow, the seventh slower.
            let slow = if piece % 3 == 0 { 6 } else { 7 };
            outboxes.send(ConnectionId(slow), vec![0; OUTPUT_LIMIT / 8]);
        }
        assert_eq!(outboxes.len(), 7, "the one above its own limit is gone");
        assert!(!outboxes.boxes.contains_key(&ConnectionId(7)));
        for n in 0..5 {
            outboxes.send(ConnectionId(n), vec![0; OUTPUT_LIMIT - 1]);
        }
        assert!(outboxes.total.load(Ordering::Relaxed) > 0);
        drop(queues);
        drop(outboxes.boxes);
        assert_eq!(
            outboxes.total.load(Ordering::Relaxed),
            0,
            "nothing is counted for ever"
        );
    }
}
