//! The accept loop: connections within limits, each served as HTTP/1.1.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};
use warp::{
    Filter as _, Reply as _,
    http::{Request, StatusCode},
    hyper::{
        self,
        body::{Body, Incoming},
        server::conn::http1,
        service::Service as _,
    },
};

use super::{
    Desk, Limits, Settings,
    complaints::Complaints,
    events::hub::Hub,
    patience::Patient,
    rate::Buckets,
    reply::{problem, problem_json},
    request::Connection,
    routes::{self, Api},
    tls::Tls,
};
use crate::core::problem::{Problem, ProblemKind};

/// How long requests in progress may take once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait when the system has no socket left to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a connection keeps of a request's header at most; a longer one is refused (431).
const HEADER_BYTES: usize = 32 * 1024;

/// Serves until `stop` is ready, then lets requests in progress end, for at most five seconds.
pub async fn serve(
    listener: TcpListener,
    desk: Arc<dyn Desk>,
    settings: Settings,
    stop: impl Future<Output = ()>,
) {
    let limits = settings.limits;
    let acceptor = match settings.tls.as_ref().map(Tls::acceptor).transpose() {
        Ok(acceptor) => acceptor,
        Err(error) => {
            // The provider is ours and has both versions.
            tracing::error!(%error, "no TLS can be spoken; nothing is served");
            return;
        }
    };
    let begun = Instant::now();
    let mut complaints = Complaints::default();
    let (stopping, stopped) = watch::channel(false);
    let api = Api {
        hub: Hub::start(Arc::clone(&desk), limits, stopped.clone()),
        buckets: settings
            .rate
            .map(|rate| Arc::new(Mutex::new(Buckets::new(rate)))),
        overeager: Arc::default(),
        begun,
        desk,
        settings: Arc::new(settings),
        wallets: Arc::default(),
    };
    let service = warp::service(routes::filter(api).recover(
        |rejection: warp::Rejection| async move {
            // Every path and method has an answer in `routes`, so nothing should come here.
            tracing::error!(?rejection, "no resource has taken the request");
            Ok::<_, std::convert::Infallible>(
                problem(&Problem::new(
                    ProblemKind::Internal,
                    "no resource has taken the request",
                ))
                .into_response(),
            )
        },
    ));
    let service = TowerToHyperService::new(service);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(HEADER_BYTES)
        .max_headers(64);
    let census = Arc::new(Census {
        limits,
        counts: Mutex::default(),
    });
    // Everybody who serves a connection holds one end.
    let (open, mut all_closed) = mpsc::channel::<()>(1);

    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, connection) = match accepted.and_then(|(stream, peer)| both_ends(stream, peer))
        {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = Place::take(&census, connection.peer.ip().to_canonical()) else {
            if let Some(refused) = complaints.count(begun.elapsed()) {
                tracing::warn!(
                    refused,
                    last = %connection.peer,
                    "more connections than http.max_connections or http.max_connections_per_host"
                );
            }
            if acceptor.is_none() {
                refuse(&stream);
            }
            continue;
        };
        let service = service.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(connection);
            service.call(request)
        });
        let stream = Patient::new(stream, limits.write_time);
        let (http, acceptor) = (http.clone(), acceptor.clone());
        let (stopped, open) = (stopped.clone(), open.clone());
        tokio::spawn(async move {
            match acceptor {
                None => converse(&http, stream, service, stopped).await,
                Some(acceptor) => {
                    match timeout(limits.header_time, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => converse(&http, stream, service, stopped).await,
                        Ok(Err(error)) => {
                            tracing::debug!(%error, peer = %connection.peer, "no keys were agreed on");
                        }
                        Err(_) => {
                            tracing::debug!(peer = %connection.peer, "no keys were agreed on in time");
                        }
                    }
                }
            }
            drop((place, open));
        });
    }
    drop(listener);
    drop(open);
    // Streams of events would go on for ever.
    stopping.send_replace(true);
    if timeout(DRAIN, all_closed.recv()).await.is_err() {
        tracing::info!("requests still in progress are abandoned");
    }
}

/// One connection, until the client or `stopped` ends it; then the request in progress is answered still.
async fn converse<I, S>(
    http: &http1::Builder,
    stream: I,
    service: S,
    mut stopped: watch::Receiver<bool>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: 'static,
    <S::ResBody as Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let served = http.serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served.with_upgrades());
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = told_to_stop(&mut stopped) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection has ended");
    }
}

/// Ready when the server is stopping; also when it is gone.
pub(super) async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

fn both_ends(stream: TcpStream, peer: SocketAddr) -> io::Result<(TcpStream, Connection)> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok((stream, Connection { peer, local }))
}

/// Tells a client that there is no place. The socket's buffer is empty, so this never waits; a client that
/// misses it sees a closed connection.
fn refuse(stream: &TcpStream) {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let problem = Problem::new(
        ProblemKind::TooManyRequests,
        "too many connections are open; close some, or try again later",
    );
    let body = problem_json(status, &problem).to_string();
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 2\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    if let Err(error) = stream.try_write(response.as_bytes()) {
        tracing::debug!(%error, "a refused client was not told");
    }
}

/// Who is connected how often.
struct Census {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// One connection's place; given back when dropped.
struct Place {
    census: Arc<Census>,
    peer: IpAddr,
}

impl Place {
    fn take(census: &Arc<Census>, peer: IpAddr) -> Option<Self> {
        let mut counts = census.counts.lock();
        let of_peer = counts.of.get(&peer).copied().unwrap_or(0);
        if counts.all >= census.limits.connections || of_peer >= census.limits.connections_per_peer
        {
            return None;
        }
        counts.of.insert(peer, of_peer + 1);
        counts.all += 1;
        drop(counts);
        Some(Self {
            census: Arc::clone(census),
            peer,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock();
        counts.all -= 1;
        match counts.of.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.of.remove(&self.peer);
            }
        }
    }
}
