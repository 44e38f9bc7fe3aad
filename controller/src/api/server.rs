//! The accept loop: connections within limits, each served as HTTP/1.1.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use warp::{
    Filter as _, Reply as _,
    http::{Request, StatusCode},
    hyper::{self, body::Incoming, server::conn::http1, service::Service as _},
};

use super::{
    Desk, Limits, Settings,
    reply::{problem, problem_json},
    request::Connection,
    routes::{self, Api},
};
use crate::core::problem::{Problem, ProblemKind};

/// How long requests in progress may take once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait when the system has no socket left to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is ready, then lets requests in progress end, for at most five seconds.
pub async fn serve(
    listener: TcpListener,
    desk: Arc<dyn Desk>,
    settings: Settings,
    stop: impl Future<Output = ()>,
) {
    let limits = settings.limits;
    let api = Api {
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
        .max_headers(64);
    let census = Arc::new(Census {
        limits,
        counts: Mutex::default(),
    });
    let graceful = GracefulShutdown::new();

    let mut stop = std::pin::pin!(stop);
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
            refuse(&stream);
            continue;
        };
        let service = service.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(connection);
            service.call(request)
        });
        let served = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::debug!(%error, peer = %connection.peer, "a connection has ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::info!("requests still in progress are abandoned");
    }
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
    counts: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One connection's place; given back when dropped.
struct Place {
    census: Arc<Census>,
    peer: IpAddr,
}

impl Place {
    fn take(census: &Arc<Census>, peer: IpAddr) -> Option<Self> {
        let mut counts = census.counts.lock();
        let total: usize = counts.values().sum();
        let of_peer = counts.get(&peer).copied().unwrap_or(0);
        if total >= census.limits.connections || of_peer >= census.limits.connections_per_peer {
            return None;
        }
        counts.insert(peer, of_peer + 1);
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
        match counts.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.remove(&self.peer);
            }
        }
    }
}
