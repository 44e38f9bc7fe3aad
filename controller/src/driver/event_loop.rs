//! One task owns the core. Everything that happens reaches it through one bounded queue, and everything
//! the core wants done leaves through here, in order.

use std::{
    collections::{BTreeMap, VecDeque},
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use payflow_qos::Time;
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch},
    time,
};
use tracing::debug;

use super::{
    clock::Clock, ledger::LedgerWork, ovsdb::ClassOrders, store::Journal, switches::Switches,
};
use crate::core::{
    Core,
    document::ReservationView,
    io::{Caller, Input, Output, Request, RequestId},
    network::{ConnectionId, NetworkInput},
    problem::Problem,
    reply::Answer,
};

/// Events that may wait for the core before those who bring them wait too.
pub(super) const QUEUE: usize = 1_024;

/// How long events are taken from the queue before the journal and deadlines are looked at again.
const TURN: Duration = Duration::from_millis(1);

/// Longest sleep: a step of the wall clock is noticed this late at most.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// How long the journal may take to catch up when the controller stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Something for the core.
#[derive(Debug)]
pub(super) enum Event {
    /// From switches, their databases or the ledger.
    Input(Input),
    /// Bytes from a switch.
    Bytes {
        connection: ConnectionId,
        bytes: Vec<u8>,
        /// Given back when the core takes the bytes; then the switch is listened to again.
        turn: OwnedSemaphorePermit,
    },
    /// From somebody who waits for the answer.
    Request {
        caller: Caller,
        request: Request,
        reply: oneshot::Sender<Result<Answer, Problem>>,
    },
}

/// The core, and the hands that carry out what it wants.
pub(super) struct EventLoop {
    pub(super) core: Core,
    pub(super) clock: Clock,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) journal: Journal,
    pub(super) switches: Switches,
    pub(super) classes: ClassOrders,
    pub(super) ledger: LedgerWork,
    pub(super) changes: broadcast::Sender<Arc<ReservationView>>,
    pub(super) replies: Replies,
    /// The first checkpoint to follow.
    pub(super) follow_from: u64,
}

/// Who waits for which answer.
#[derive(Debug, Default)]
pub(super) struct Replies {
    last: u64,
    waiting: BTreeMap<RequestId, oneshot::Sender<Result<Answer, Problem>>>,
}

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was asked to; everything the core has said is durable.
    Stopped,
    /// The journal takes nothing more; its writer knows why.
    JournalFailed,
}

impl EventLoop {
    /// Runs until `stop` is sent or dropped, or the journal fails.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Ended {
        let mut durable = self.journal.durable();
        let mut inputs = VecDeque::new();
        // What the restart itself wants; among it, which addresses are watched.
        if !self.carry_out(&mut inputs).await {
            return Ended::JournalFailed;
        }
        self.ledger.follow(self.follow_from);
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => return self.stop(durable).await,
                changed = durable.changed() => match changed {
                    Ok(()) => inputs.push_back(Input::Journaled { through: *durable.borrow_and_update() }),
                    Err(_) => return Ended::JournalFailed,
                },
                () = due(self.core.next_deadline(), &self.clock) => {}
                event = self.events.recv() => match event {
                    Some(event) => inputs.push_back(self.replies.admit(event)),
                    None => return self.stop(durable).await,
                },
            }
            // Whatever woke us: deadlines must not wait for a journal that always has news, and not starve it.
            let now = self.clock.now();
            if self.core.next_deadline().is_some_and(|at| at <= now) {
                inputs.push_back(Input::DeadlineReached);
            }
            // One event, if one waits, so that deadlines that follow on one another starve nobody; and several, because to look
            // at deadlines and at the journal costs more than many an event.
            let begun = Instant::now();
            let mut more = true;
            while more {
                let event = self.events.try_recv().ok();
                more = event.is_some() && begun.elapsed() < TURN;
                inputs.extend(event.map(|event| self.replies.admit(event)));
                while let Some(input) = inputs.pop_front() {
                    self.core.handle(input, self.clock.now());
                    if !self.carry_out(&mut inputs).await {
                        return Ended::JournalFailed;
                    }
                }
            }
        }
    }

    /// Carries out what the core wants; answers that are there at once are queued as further inputs.
    /// Waits for nothing but the disk. `false` when the journal takes nothing more.
    async fn carry_out(&mut self, inputs: &mut VecDeque<Input>) -> bool {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Send { connection, bytes } => self.switches.send(connection, bytes),
                Output::CloseConnection { connection, reason } => {
                    self.switches.close(connection, &reason)
                }
                Output::MakeClasses {
                    switch,
                    port_name,
                    capacity,
                } => {
                    if let Err((switch, port_name, reason)) =
                        self.classes.order(switch, port_name, capacity)
                    {
                        let made = NetworkInput::ClassesMade {
                            switch,
                            port_name,
                            result: Err(reason),
                        };
                        inputs.push_back(Input::Network(made));
                    }
                }
                Output::Journal {
                    sequence,
                    record,
                    transfers,
                } => {
                    if !self.journal.append(sequence, record, transfers).await {
                        return false;
                    }
                }
                Output::Ledger(order) => inputs.extend(self.ledger.order(order).map(Input::Ledger)),
                Output::Reply { id, reply } => self.replies.answer(id, reply),
                // Nobody listening is not an error.
                Output::Changed(view) => drop(self.changes.send(Arc::from(view))),
            }
        }
        true
    }

    /// Takes nothing new, and waits until everything the core has said is durable and answered. Paid flows
    /// stay on the switches: their entries end by their own time-outs.
    async fn stop(mut self, mut durable: watch::Receiver<u64>) -> Ended {
        self.events.close();
        let written = self.journal.written();
        let drained =
            time::timeout(DRAIN_LIMIT, durable.wait_for(|through| *through >= written)).await;
        if !matches!(drained, Ok(Ok(_))) {
            return Ended::JournalFailed;
        }
        self.core
            .handle(Input::Journaled { through: written }, self.clock.now());
        // What the core wants beyond the answers is wanted again after the next start.
        while let Some(output) = self.core.poll() {
            match output {
                Output::Reply { id, reply } => self.replies.answer(id, reply),
                other => debug!(?other, "left for the next start"),
            }
        }
        Ended::Stopped
    }
}

impl Replies {
    fn admit(&mut self, event: Event) -> Input {
        match event {
            Event::Input(input) => input,
            Event::Bytes {
                connection,
                bytes,
                turn,
            } => {
                drop(turn);
                Input::Network(NetworkInput::Bytes { connection, bytes })
            }
            Event::Request {
                caller,
                request,
                reply,
            } => {
                self.last += 1;
                let id = RequestId(self.last);
                self.waiting.insert(id, reply);
                Input::Request {
                    id,
                    caller,
                    request,
                }
            }
        }
    }

    fn answer(&mut self, id: RequestId, reply: Result<Answer, Problem>) {
        if let Some(waiting) = self.waiting.remove(&id) {
            // Whoever asked may have gone; what was asked is done all the same.
            let _ = waiting.send(reply);
        }
    }
}

/// Ends when the deadline has passed. The wall clock may step, so it is looked at again and again.
async fn due(deadline: Option<Time>, clock: &Clock) {
    let Some(deadline) = deadline else {
        return future::pending().await;
    };
    loop {
        let now = clock.now();
        if deadline <= now {
            return;
        }
        time::sleep(deadline.since(now).min(LONGEST_SLEEP)).await;
    }
}
