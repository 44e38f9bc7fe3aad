//! Connections from switches: OpenFlow over TLS, or over plain TCP where the configuration says so. Bytes are passed
//! on as they come, but for [echo requests](echo), which are answered at once.
//!
//! Nothing grows without bound. Who has not proven yet who it is waits in the [`lobby`], which has room for so many and
//! lets nobody stay. What a switch does not read is queued up to a limit; above that it is disconnected, and read back
//! when it returns. Of every switch one piece of what it sent waits for the core at a time, and one for its turn: when the core is behind, TCP
//! tells each of them to wait, and a flood from one is one piece among those of all others.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
    time,
};
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use self::{
    echo::{Echoes, Sorted},
    lobby::{Lobby, Place},
    outbox::{Outboxes, Queue},
    refusal::{Complaints, Refusal},
    tls::Tls,
};
use super::{event_loop::Event, pem::TlsError};
use crate::{
    config::{Listener, OpenFlowConfig, TlsFiles, Transport},
    core::{
        io::Input,
        network::{ConnectionId, NetworkInput, Peer},
    },
};

mod certificate;
mod echo;
mod lobby;
mod outbox;
mod refusal;
#[cfg(test)]
pub(super) mod tests;
mod tls;

/// Most bytes read at once; some hundred packet-ins.
const READ_BUFFER: usize = 64 << 10;

/// How long the last words of a connection may take.
const CLOSE_GRACE: Duration = Duration::from_millis(200);

/// How long a TLS handshake may take, from the connection on.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// The switches that are connected. Dropping it disconnects them; what they were told stays in them.
#[derive(Debug)]
pub(super) struct Switches {
    door: Arc<Door>,
    addresses: Vec<SocketAddr>,
    // Dropped with this, and every connection with them.
    _accepting: JoinSet<()>,
}

/// Why switches cannot be listened for.
#[derive(Debug)]
pub(super) enum ListenError {
    Socket(Listener, io::Error),
    Tls(TlsError),
}

/// Whether the files can be used.
pub(super) fn check_files(files: &TlsFiles) -> Result<(), TlsError> {
    Tls::open(files).map(drop)
}

/// What all connections share.
#[derive(Debug)]
struct Door {
    connections: Mutex<Outboxes>,
    limit: usize,
    lobby: Lobby,
    complaints: Complaints,
    last_id: AtomicU64,
    events: mpsc::Sender<Event>,
}

/// A connection that may speak OpenFlow.
struct Admitted {
    id: ConnectionId,
    queue: Queue,
    closing: oneshot::Receiver<()>,
}

impl Switches {
    /// Listens for switches.
    pub(super) async fn listen(
        config: &OpenFlowConfig,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, ListenError> {
        let tls = config.tls.as_ref().map(Tls::open).transpose();
        let tls = tls.map_err(ListenError::Tls)?.map(Arc::new);
        let door = Arc::new(Door {
            connections: Mutex::default(),
            limit: config.max_connections,
            lobby: Lobby::default(),
            complaints: Complaints::default(),
            last_id: AtomicU64::new(0),
            events,
        });
        let mut addresses = Vec::new();
        let mut accepting = JoinSet::new();
        for wanted in &config.listen {
            let failed = |error| ListenError::Socket(*wanted, error);
            let listener = TcpListener::bind(wanted.address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            let transport = wanted.transport;
            let tls = match transport {
                Transport::Tcp => None,
                Transport::Tls => tls.clone(),
            };
            info!(%transport, %address, "listening for switches");
            if tls.is_none() && !address.ip().is_loopback() {
                warn!(%address, "over plain TCP whoever reaches this port can pass for any switch");
            }
            accepting.spawn(accept(listener, tls, door.clone()));
            addresses.push(address);
        }
        Ok(Self {
            door,
            addresses,
            _accepting: accepting,
        })
    }

    /// The addresses that are listened on, in the order of the configuration.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Queues bytes for a switch. Nothing happens when the connection is gone already.
    pub(super) fn send(&self, connection: ConnectionId, bytes: Vec<u8>) {
        self.door.connections.lock().send(connection, bytes);
    }

    /// Closes a connection after what is queued for it.
    pub(super) fn close(&self, connection: ConnectionId, reason: &str) {
        if self.door.connections.lock().remove(connection) {
            info!(
                connection = connection.0,
                reason, "closing the connection to a switch"
            );
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<Arc<Tls>>, door: Arc<Door>) {
    // Dropped with this task, and every connection with it.
    let mut serving = JoinSet::new();
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a switch cannot be accepted");
                time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while serving.try_join_next().is_some() {}
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%address, %error, "gone at once");
            continue;
        }
        let door = door.clone();
        match &tls {
            None => {
                let Some(admitted) = door.admit(address) else {
                    continue;
                };
                serving.spawn(async move {
                    let (reader, writer) = stream.into_split();
                    door.serve(admitted, reader, writer, address, Peer::Tcp)
                        .await;
                });
            }
            Some(tls) => {
                let tls = tls.clone();
                let place = door.lobby.enter(address.ip());
                serving.spawn(async move {
                    let Some((stream, peer)) = door.shake_hands(&tls, stream, address, place).await
                    else {
                        return;
                    };
                    let Some(admitted) = door.admit(address) else {
                        return;
                    };
                    tell_of(&admitted, address, &stream, &peer);
                    let (reader, writer) = tokio::io::split(stream);
                    door.serve(admitted, reader, writer, address, peer).await;
                });
            }
        }
    }
}

impl Door {
    /// Finds out who it is, for as long as it has its place in the lobby.
    async fn shake_hands(
        &self,
        tls: &Arc<Tls>,
        stream: TcpStream,
        address: SocketAddr,
        mut place: Place,
    ) -> Option<(TlsStream<TcpStream>, Peer)> {
        let shown = Mutex::default();
        let accepted = tokio::select! {
            accepted = time::timeout(HANDSHAKE_LIMIT, tls.accept(stream, &shown)) => accepted
                .unwrap_or_else(|_| Err((Refusal::Slow, format!("more than {HANDSHAKE_LIMIT:?}")))),
            () = place.lost() => Err((Refusal::Crowded, String::new())),
        };
        accepted
            .map_err(|(refusal, detail)| {
                let shown = shown.into_inner();
                self.complaints
                    .tell(address.ip(), refusal, &detail, shown.as_ref());
            })
            .ok()
    }

    /// Lets a switch in if there is room.
    fn admit(&self, address: SocketAddr) -> Option<Admitted> {
        let mut connections = self.connections.lock();
        if connections.len() >= self.limit {
            drop(connections);
            let limit = self.limit.to_string();
            self.complaints
                .tell(address.ip(), Refusal::Full, &limit, None);
            return None;
        }
        let id = ConnectionId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        let (queue, closing) = connections.insert(id);
        Some(Admitted { id, queue, closing })
    }

    /// Serves one connection to its end.
    async fn serve(
        &self,
        admitted: Admitted,
        reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
        address: SocketAddr,
        peer: Peer,
    ) {
        let connection = admitted.id;
        debug!(connection = connection.0, %address, "connected");
        let in_the_clear = (peer == Peer::Tcp).then_some(address);
        let connected = NetworkInput::Connected { connection, peer };
        let reason = match self.events.send(Event::network(connected)).await {
            Err(_) => "the controller is stopping".to_owned(),
            Ok(()) => self.exchange(admitted, reader, writer, in_the_clear).await,
        };
        debug!(connection = connection.0, %address, reason, "disconnected");
        self.connections.lock().remove(connection);
        // Fails only when the controller is stopping.
        let closed = NetworkInput::Closed { connection };
        let _ = self.events.send(Event::network(closed)).await;
    }

    /// Passes bytes both ways to the end; why it ended, for the log.
    async fn exchange(
        &self,
        Admitted {
            id,
            mut queue,
            closing,
        }: Admitted,
        reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
        in_the_clear: Option<SocketAddr>,
    ) -> String {
        let mut writing = std::pin::pin!(queue.write(writer));
        tokio::select! {
            ended = self.read(id, reader, in_the_clear) => ended.err().map_or("closed by the switch".to_owned(), |error| error.to_string()),
            ended = &mut writing => ended.err().map_or("closed by the controller".to_owned(), |error| error.to_string()),
            _ = closing => match time::timeout(CLOSE_GRACE, writing).await {
                Ok(_) => "closed by the controller".to_owned(),
                Err(_) => "closed by the controller; not all was read".to_owned(),
            },
        }
    }

    async fn read(
        &self,
        connection: ConnectionId,
        mut reader: impl AsyncRead + Unpin,
        mut in_the_clear: Option<SocketAddr>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; READ_BUFFER];
        let turns = Arc::new(Semaphore::new(1));
        let mut echoes = Echoes::default();
        loop {
            let count = reader.read(&mut buffer).await?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(());
            };
            if let Some(address) = in_the_clear.take()
                && bytes.first() == Some(&tls::HANDSHAKE)
            {
                self.complaints
                    .tell(address.ip(), Refusal::NotTcp, "a TLS handshake", None);
                return Ok(());
            }
            let Sorted { rest, replies } = echoes.sort(bytes);
            if !replies.is_empty() {
                self.connections.lock().send(connection, replies);
            }
            if rest.is_empty() {
                continue;
            }
            // Until the core has taken the last piece, the switch waits.
            let turn = turns.clone().acquire_owned().await;
            let bytes = Event::Bytes {
                connection,
                bytes: rest,
                turn: turn.map_err(io::Error::other)?,
            };
            self.events.send(bytes).await.map_err(io::Error::other)?;
        }
    }
}

fn tell_of(admitted: &Admitted, address: SocketAddr, stream: &TlsStream<TcpStream>, peer: &Peer) {
    let (_, session) = stream.get_ref();
    let (version, cipher) = (
        session.protocol_version(),
        session.negotiated_cipher_suite().map(|it| it.suite()),
    );
    if let Peer::Tls(certificate) = peer {
        info!(
            connection = admitted.id.0, %address, subject = certificate.subject, key = %certificate.key,
            ?version, ?cipher, "a switch has proven who it is"
        );
    }
}

impl Event {
    pub(super) fn network(input: NetworkInput) -> Self {
        Self::Input(Input::Network(input))
    }
}
