//! Serving the ledger: gRPC for clients, HTTP for the faucet, and the clock that makes checkpoints.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iota_sdk_grpc_types::tonic::Status;
use iota_sdk_grpc_types::tonic::service::InterceptorLayer;
use iota_sdk_grpc_types::tonic::transport::Server;
use iota_sdk_grpc_types::tonic::transport::server::TcpIncoming;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{BANNER, CHAIN_NAME, DevLedger, faucet, grpc};

/// How long a transaction waits for its checkpoint at most, unless told otherwise.
pub const DEFAULT_CHECKPOINT_INTERVAL: Duration = Duration::from_millis(250);

/// A checkpoint is made after this time even if there is nothing to put in, so that followers see life.
const EMPTY_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// How long stopping waits for calls that are under way.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// A ledger that is being served. Dropping it stops the serving, after the calls that are under way.
pub struct Handle {
    /// Where the node's interface is.
    pub grpc_addr: SocketAddr,
    /// Where the faucet is.
    pub faucet_addr: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Handle {
    /// The URL for clients.
    #[must_use]
    pub fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc_addr)
    }

    /// The URL of the faucet.
    #[must_use]
    pub fn faucet_url(&self) -> String {
        format!("http://{}", self.faucet_addr)
    }

    /// Stops: no new calls, streams end, calls under way are finished. The ports are free when this returns.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        for mut task in std::mem::take(&mut self.tasks) {
            match tokio::time::timeout(SHUTDOWN_GRACE, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "the development ledger did not stop cleanly")
                }
                Err(_) => task.abort(),
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Serves `ledger`, with a checkpoint every `interval` while there are transactions. Port 0 takes a free port.
pub async fn serve(
    ledger: Arc<DevLedger>,
    grpc_addr: SocketAddr,
    faucet_addr: SocketAddr,
    interval: Duration,
) -> io::Result<Handle> {
    let grpc_listener = TcpListener::bind(grpc_addr).await?;
    let faucet_listener = TcpListener::bind(faucet_addr).await?;
    let (grpc_addr, faucet_addr) = (grpc_listener.local_addr()?, faucet_listener.local_addr()?);
    let (stop, stopped) = watch::channel(false);
    let chain_id = ledger.chain_id();
    tracing::warn!(%grpc_addr, %faucet_addr, %chain_id, chain = CHAIN_NAME, "{BANNER}");
    let tasks = vec![
        tokio::spawn(serve_grpc(ledger.clone(), grpc_listener, stopped.clone())),
        tokio::spawn(serve_faucet(
            ledger.clone(),
            faucet_listener,
            stopped.clone(),
        )),
        tokio::spawn(make_checkpoints(ledger, interval, stopped)),
    ];
    Ok(Handle {
        grpc_addr,
        faucet_addr,
        stop,
        tasks,
    })
}

async fn serve_grpc(ledger: Arc<DevLedger>, listener: TcpListener, stopped: watch::Receiver<bool>) {
    let faults = ledger.faults.subscribe();
    let refuse = InterceptorLayer::new(move |request| {
        if faults.borrow().refuse_calls {
            return Err(Status::unavailable("the node is shutting down"));
        }
        Ok(request)
    });
    let service = grpc::Service::new(ledger, stopped.clone());
    // Without TCP_NODELAY an answer waits up to 40 ms for the client's delayed acknowledgement.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = Server::builder()
        .layer(refuse)
        .add_service(service.clone().ledger())
        .add_service(service.clone().state())
        .add_service(service.execution())
        .serve_with_incoming_shutdown(incoming, until(stopped))
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the development ledger stopped serving");
    }
}

async fn serve_faucet(
    ledger: Arc<DevLedger>,
    listener: TcpListener,
    stopped: watch::Receiver<bool>,
) {
    warp::serve(faucet::routes(ledger))
        .incoming(listener)
        .graceful(until(stopped))
        .run()
        .await;
}

async fn make_checkpoints(
    ledger: Arc<DevLedger>,
    interval: Duration,
    stopped: watch::Receiver<bool>,
) {
    let stop = until(stopped);
    tokio::pin!(stop);
    let mut last = Instant::now();
    loop {
        let faults = *ledger.faults.borrow();
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(interval + faults.checkpoint_delay) => {}
        }
        let ends_epoch = ledger.epoch_is_over();
        let due = ends_epoch || ledger.has_pending() || last.elapsed() >= EMPTY_CHECKPOINT_INTERVAL;
        if ledger.faults.borrow().no_checkpoints || !due {
            continue;
        }
        let maker = ledger.clone();
        match tokio::task::spawn_blocking(move || maker.seal(ends_epoch)).await {
            Ok(Ok(_)) => last = Instant::now(),
            Ok(Err(error)) => {
                tracing::error!(%error, "no checkpoint could be stored; trying again")
            }
            Err(error) => tracing::error!(%error, "making a checkpoint panicked"),
        }
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the handle is gone, which is a stop as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
