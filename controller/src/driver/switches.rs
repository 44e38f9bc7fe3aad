//! Connections from switches: OpenFlow over TCP. Bytes are passed on as they come.
//!
//! Nothing grows without bound. What a switch does not read is queued up to [`OUTPUT_LIMIT`]; above that
//! the switch is disconnected, and read back when it returns. Of every switch one piece at most waits for the
//! core, so that a flood from one does not delay the others; nothing more is read meanwhile, and TCP tells
//! the switch to wait.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{Semaphore, mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time,
};
use tracing::{debug, info, warn};

use super::event_loop::Event;
use crate::{
    config::OpenFlowConfig,
    core::{
        io::Input,
        network::{ConnectionId, NetworkInput},
    },
};

/// Bytes that may wait for one switch: the entries of some 100 000 reservations.
const OUTPUT_LIMIT: usize = 64 << 20;

/// Most bytes read at once.
const READ_BUFFER: usize = 64 << 10;

/// How long the last words of a connection may take.
const CLOSE_GRACE: Duration = Duration::from_millis(200);

/// The switches that are connected. Dropping it disconnects them; what they were told stays in them.
#[derive(Debug)]
pub(super) struct Switches {
    connections: Connections,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

type Connections = Arc<Mutex<BTreeMap<ConnectionId, Outbox>>>;

/// What is to be written to one switch. Dropping it closes the connection once that is done.
#[derive(Debug)]
struct Outbox {
    bytes: mpsc::UnboundedSender<Vec<u8>>,
    /// Bytes in the queue, and in the hands of the writer.
    queued: Arc<AtomicUsize>,
    /// Never sent on; dropped with the rest.
    _open: oneshot::Sender<()>,
}

impl Switches {
    /// Listens for switches.
    pub(super) async fn listen(
        config: &OpenFlowConfig,
        events: mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let connections = Connections::default();
        let accepting = tokio::spawn(accept(
            listener,
            config.max_connections,
            connections.clone(),
            events,
        ));
        info!(%address, "listening for switches");
        Ok(Self {
            connections,
            address,
            accepting,
        })
    }

    /// The address that is listened on.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Queues bytes for a switch. Nothing happens when the connection is gone already.
    pub(super) fn send(&self, connection: ConnectionId, bytes: Vec<u8>) {
        let mut connections = self.connections.lock();
        let Some(outbox) = connections.get(&connection) else {
            return;
        };
        let queued = outbox
            .queued
            .fetch_add(bytes.len(), Ordering::Relaxed)
            .saturating_add(bytes.len());
        if queued > OUTPUT_LIMIT {
            warn!(
                connection = connection.0,
                queued, "closing: the switch does not read what it is sent"
            );
            connections.remove(&connection);
        } else if outbox.bytes.send(bytes).is_err() {
            // The connection is ending by itself and says so.
            connections.remove(&connection);
        }
    }

    /// Closes a connection after what is queued for it.
    pub(super) fn close(&self, connection: ConnectionId, reason: &str) {
        if self.connections.lock().remove(&connection).is_some() {
            info!(
                connection = connection.0,
                reason, "closing the connection to a switch"
            );
        }
    }
}

impl Drop for Switches {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    limit: usize,
    connections: Connections,
    events: mpsc::Sender<Event>,
) {
    // Dropped with this task, and every connection with it.
    let mut serving = JoinSet::new();
    for id in (1..).map(ConnectionId) {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a switch cannot be accepted");
                time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while serving.try_join_next().is_some() {}
        if serving.len() >= limit {
            warn!(%peer, limit, "a switch is refused: openflow.max_connections are connected");
            continue;
        }
        let (bytes, queue) = mpsc::unbounded_channel();
        let (open, closing) = oneshot::channel();
        let queued = Arc::new(AtomicUsize::new(0));
        connections.lock().insert(
            id,
            Outbox {
                bytes,
                queued: queued.clone(),
                _open: open,
            },
        );
        let (connections, events) = (connections.clone(), events.clone());
        serving.spawn(async move {
            debug!(connection = id.0, %peer, "connected");
            let reason = serve(id, stream, queue, &queued, closing, &events).await;
            debug!(connection = id.0, %peer, reason, "disconnected");
            connections.lock().remove(&id);
            // Fails only when the controller is stopping.
            let _ = events
                .send(Event::network(NetworkInput::Closed { connection: id }))
                .await;
        });
    }
}

/// Serves one connection to its end; why it ended, for the log.
async fn serve(
    id: ConnectionId,
    mut stream: TcpStream,
    queue: mpsc::UnboundedReceiver<Vec<u8>>,
    queued: &AtomicUsize,
    closing: oneshot::Receiver<()>,
    events: &mpsc::Sender<Event>,
) -> String {
    if let Err(error) = stream.set_nodelay(true) {
        return error.to_string();
    }
    if events
        .send(Event::network(NetworkInput::Connected { connection: id }))
        .await
        .is_err()
    {
        return "the controller is stopping".to_owned();
    }
    let (reader, writer) = stream.split();
    let mut writing = std::pin::pin!(write(writer, queue, queued));
    tokio::select! {
        ended = read(id, reader, events) => ended.err().map_or("closed by the switch".to_owned(), |error| error.to_string()),
        ended = &mut writing => ended.err().map_or("closed by the controller".to_owned(), |error| error.to_string()),
        _ = closing => match time::timeout(CLOSE_GRACE, writing).await {
            Ok(_) => "closed by the controller".to_owned(),
            Err(_) => "closed by the controller; not all was read".to_owned(),
        },
    }
}

async fn read(
    id: ConnectionId,
    mut reader: ReadHalf<'_>,
    events: &mpsc::Sender<Event>,
) -> io::Result<()> {
    let turns = Arc::new(Semaphore::new(1));
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        let turn = turns
            .clone()
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let count = reader.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        let bytes = Event::Bytes {
            connection: id,
            bytes: bytes.to_vec(),
            turn,
        };
        events.send(bytes).await.map_err(io::Error::other)?;
    }
}

async fn write(
    mut writer: WriteHalf<'_>,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    queued: &AtomicUsize,
) -> io::Result<()> {
    while let Some(bytes) = queue.recv().await {
        writer.write_all(&bytes).await?;
        queued.fetch_sub(bytes.len(), Ordering::Relaxed);
    }
    writer.shutdown().await
}

impl Event {
    pub(super) fn network(input: NetworkInput) -> Self {
        Self::Input(Input::Network(input))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LIMIT: usize = 3;

    async fn listening(capacity: usize) -> (Switches, mpsc::Receiver<Event>) {
        let (events, inputs) = mpsc::channel(capacity);
        let config = OpenFlowConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            max_connections: LIMIT,
        };
        (Switches::listen(&config, events).await.unwrap(), inputs)
    }

    async fn next(inputs: &mut mpsc::Receiver<Event>) -> NetworkInput {
        match time::timeout(Duration::from_secs(10), inputs.recv())
            .await
            .unwrap()
            .unwrap()
        {
            Event::Input(Input::Network(input)) => input,
            Event::Bytes {
                connection, bytes, ..
            } => NetworkInput::Bytes { connection, bytes },
            _ => panic!("not from a switch"),
        }
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_and_ids_are_never_reused() {
        let (switches, mut inputs) = listening(16).await;
        for number in 1..=2 {
            let connection = ConnectionId(number);
            let mut peer = TcpStream::connect(switches.address()).await.unwrap();
            assert_eq!(
                next(&mut inputs).await,
                NetworkInput::Connected { connection }
            );
            peer.write_all(b"hello").await.unwrap();
            assert_eq!(
                next(&mut inputs).await,
                NetworkInput::Bytes {
                    connection,
                    bytes: b"hello".to_vec()
                }
            );
            switches.send(connection, b"wel".to_vec());
            switches.send(connection, b"come".to_vec());
            let mut answer = [0; 7];
            peer.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"welcome");
            drop(peer);
            assert_eq!(next(&mut inputs).await, NetworkInput::Closed { connection });
            switches.send(connection, b"too late".to_vec());
        }
    }

    #[tokio::test]
    async fn what_was_queued_before_closing_still_arrives() {
        let (switches, mut inputs) = listening(16).await;
        let mut peer = TcpStream::connect(switches.address()).await.unwrap();
        let connection = ConnectionId(1);
        assert_eq!(
            next(&mut inputs).await,
            NetworkInput::Connected { connection }
        );
        switches.send(connection, b"last words".to_vec());
        switches.close(connection, "a test");
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"last words");
        assert_eq!(next(&mut inputs).await, NetworkInput::Closed { connection });
    }

    #[tokio::test]
    async fn a_switch_that_does_not_read_is_closed_and_reported_once() {
        let (switches, mut inputs) = listening(16).await;
        let _peer = TcpStream::connect(switches.address()).await.unwrap();
        let connection = ConnectionId(1);
        assert_eq!(
            next(&mut inputs).await,
            NetworkInput::Connected { connection }
        );
        for _ in 0..(OUTPUT_LIMIT / (1 << 20) + 40) {
            switches.send(connection, vec![0; 1 << 20]);
            tokio::task::yield_now().await;
        }
        assert_eq!(next(&mut inputs).await, NetworkInput::Closed { connection });
        assert!(
            time::timeout(Duration::from_millis(100), inputs.recv())
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_flood_waits_in_the_switch_while_the_core_is_behind() {
        let (switches, mut inputs) = listening(2).await;
        let mut peer = TcpStream::connect(switches.address()).await.unwrap();
        let flood = tokio::spawn(async move {
            for _ in 0..1_024 {
                peer.write_all(&vec![7; 64 << 10]).await.unwrap();
            }
        });
        time::sleep(Duration::from_millis(300)).await;
        assert!(
            !flood.is_finished(),
            "64 MiB were taken though nobody asked for them"
        );
        assert!(matches!(
            next(&mut inputs).await,
            NetworkInput::Connected { .. }
        ));
        let mut taken = 0;
        while let NetworkInput::Bytes { bytes, .. } = next(&mut inputs).await {
            taken += bytes.len();
        }
        flood.await.unwrap();
        assert_eq!(taken, 64 << 20);
    }

    #[tokio::test]
    async fn one_that_floods_has_one_piece_in_the_queue_and_others_have_their_turn() {
        let (switches, mut inputs) = listening(16).await;
        let mut flooding = TcpStream::connect(switches.address()).await.unwrap();
        let mut quiet = TcpStream::connect(switches.address()).await.unwrap();
        for _ in 0..2 {
            assert!(matches!(
                next(&mut inputs).await,
                NetworkInput::Connected { .. }
            ));
        }
        for _ in 0..4 {
            flooding.write_all(&[7; READ_BUFFER / 2]).await.unwrap();
            time::sleep(Duration::from_millis(20)).await;
        }
        quiet.write_all(b"hello").await.unwrap();
        time::sleep(Duration::from_millis(50)).await;
        let mut before = 0;
        while !matches!(next(&mut inputs).await, NetworkInput::Bytes { bytes, .. } if bytes == b"hello")
        {
            before += 1;
        }
        assert_eq!(before, 1);
    }

    #[tokio::test]
    async fn switches_above_the_limit_are_refused_until_one_leaves() {
        let (switches, mut inputs) = listening(16).await;
        let mut peers = Vec::new();
        for _ in 0..LIMIT {
            peers.push(TcpStream::connect(switches.address()).await.unwrap());
            assert!(matches!(
                next(&mut inputs).await,
                NetworkInput::Connected { .. }
            ));
        }
        let mut refused = TcpStream::connect(switches.address()).await.unwrap();
        assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
        peers.pop();
        assert!(matches!(
            next(&mut inputs).await,
            NetworkInput::Closed { .. }
        ));
        time::sleep(Duration::from_millis(50)).await;
        let _peer = TcpStream::connect(switches.address()).await.unwrap();
        assert!(matches!(
            next(&mut inputs).await,
            NetworkInput::Connected { .. }
        ));
    }

    #[tokio::test]
    async fn dropping_it_disconnects_every_switch() {
        let (switches, mut inputs) = listening(16).await;
        let mut peer = TcpStream::connect(switches.address()).await.unwrap();
        assert!(matches!(
            next(&mut inputs).await,
            NetworkInput::Connected { .. }
        ));
        drop(switches);
        assert_eq!(peer.read(&mut [0]).await.unwrap_or(0), 0);
    }
}
