//! How everybody else in the process talks to the controller.

use std::{net::SocketAddr, sync::Arc};

use payflow_payment::{ChainId, PublicKey, ledger::Ledger};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{core_config, event_loop::Event};
use crate::config::Config;
use crate::core::{
    document::ReservationView,
    io::{Caller, Input, Request},
    problem::{Problem, ProblemKind},
    reply::Answer,
};
use crate::metrics::Instruments;

/// Talks to a running controller. Cheap to clone; does not keep the controller running.
#[derive(Clone)]
pub struct Handle {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) changes: broadcast::WeakSender<Arc<ReservationView>>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) operator: PublicKey,
    pub(super) instruments: Instruments,
    pub(super) addresses: Arc<Addresses>,
}

/// Where the controller listens, with the ports it was actually given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// OpenFlow, for switches, in the order of the configuration.
    pub openflow: Vec<SocketAddr>,
    /// The embedded ledger's gRPC, for wallets; absent when the ledger is elsewhere.
    pub ledger: Option<SocketAddr>,
    /// The embedded ledger's faucet.
    pub faucet: Option<SocketAddr>,
}

impl Handle {
    /// Asks the core. Waits while the controller is busy; what was asked is carried out even when the
    /// caller stops waiting.
    ///
    /// # Errors
    /// The core's own problem documents; [`ProblemKind::NotReady`] when the controller is stopping.
    pub async fn request(&self, caller: Caller, request: Request) -> Result<Answer, Problem> {
        let stopping = || {
            Problem::new(
                ProblemKind::NotReady,
                "the controller is stopping; ask again in a moment",
            )
        };
        let (reply, answer) = oneshot::channel();
        let event = Event::Request {
            caller,
            request,
            reply,
        };
        self.events.send(event).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// From now on the operator wants it so: prices, terms of quotes, receipts, the enrolled, shares. Whatever else the
    /// configuration says stays as it was at the start. `false` when the controller is stopping.
    pub async fn reconfigure(&self, config: &Config) -> bool {
        let wanted = core_config(config, self.chain_id().clone());
        let input = Input::Reconfigured(Box::new(wanted));
        self.events.send(Event::Input(input)).await.is_ok()
    }

    /// Every reservation that changes from now on, as it is after the change. A receiver that does not
    /// keep up is told how many it missed ([`broadcast::error::RecvError::Lagged`]) and asks again;
    /// one that is closed belongs to a controller that has stopped.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Arc<ReservationView>> {
        match self.changes.upgrade() {
            Some(changes) => changes.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    /// The ledger, for what needs no core: inspecting transactions, normalizing addresses.
    #[must_use]
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// The chain that is paid on.
    #[must_use]
    pub fn chain_id(&self) -> &ChainId {
        self.ledger.chain_id()
    }

    /// The key that signs quotes and receipts, for clients to pin.
    #[must_use]
    pub fn operator_key(&self) -> PublicKey {
        self.operator
    }

    /// What is measured outside the core.
    #[must_use]
    pub fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// Where the controller listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
