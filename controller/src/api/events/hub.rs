//! Who listens to what, and the last events for those who come back.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{broadcast::error::RecvError, mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::{Brief, EventDocument, Happened, between};
use crate::{
    api::{Desk, Limits, server::told_to_stop},
    core::{
        document::{BuyerKey, ReservationNumber, ReservationView},
        io::{Caller, Request},
        network::FlowCounters,
        problem::{Problem, ProblemKind},
        reply::{Answer, UsageView},
    },
};

/// Events that a stream may be behind.
const QUEUE: usize = 32;
/// Events that are kept for those who come back.
const KEPT: usize = 8_192;
/// How often counters are asked for.
const USAGE_INTERVAL: Duration = Duration::from_secs(5);
/// Reservations whose counters are asked for at once, so that nobody waits for the core meanwhile.
const USAGE_AT_ONCE: usize = 256;

/// An event, written once for everybody.
#[derive(Debug)]
pub(in crate::api) struct Event {
    sequence: u64,
    reservation: Option<ReservationNumber>,
    buyer: Option<BuyerKey>,
    /// As server-sent events are written.
    pub(super) text: Bytes,
    /// Where in it the JSON is.
    json: std::ops::Range<usize>,
}

impl Event {
    /// The JSON of its [`EventDocument`].
    pub(super) fn json(&self) -> Bytes {
        self.text.slice(self.json.clone())
    }

    fn write(
        run: u64,
        sequence: u64,
        about: Option<(ReservationNumber, BuyerKey)>,
        happened: Happened,
    ) -> Self {
        let name = happened.name();
        let document = EventDocument {
            id: id(run, sequence),
            reservation: about.map(|(number, _)| number.reservation_id()),
            happened,
        };
        let json = serde_json::to_string(&document).unwrap_or_else(|error| {
            tracing::error!(%error, "an event cannot be written as JSON");
            "{}".to_owned()
        });
        // JSON has no line breaks but in texts, where they are escaped.
        let head = format!("id: {}\nevent: {name}\ndata: ", document.id);
        let range = head.len()..head.len() + json.len();
        Self {
            sequence,
            reservation: about.map(|(number, _)| number),
            buyer: about.map(|(_, buyer)| buyer),
            text: Bytes::from(format!("{head}{json}\n\n")),
            json: range,
        }
    }

    fn is_for(&self, scope: Scope) -> bool {
        match scope {
            Scope::Reservation(number) => self.reservation == Some(number),
            Scope::Buyer(key) => self.buyer == Some(key),
            Scope::All => true,
        }
    }
}

fn id(run: u64, sequence: u64) -> String {
    format!("{run:x}-{sequence}")
}

/// What a stream is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::api) enum Scope {
    /// One reservation.
    Reservation(ReservationNumber),
    /// All that a key has bought or asked for.
    Buyer(BuyerKey),
    /// All there are.
    All,
}

/// All streams.
pub(in crate::api) struct Hub {
    limits: Limits,
    /// Tells runs of the controller apart in ids of events.
    run: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of the last event.
    sequence: u64,
    recent: VecDeque<Arc<Event>>,
    /// Events after this are all in `recent`.
    complete_after: u64,
    known: HashMap<ReservationNumber, Brief>,
    listeners: HashMap<u64, Listener>,
    watches: HashMap<Scope, Watch>,
    of_peer: HashMap<IpAddr, usize>,
    last_listener: u64,
    closed: bool,
}

struct Listener {
    scope: Scope,
    peer: IpAddr,
    sender: mpsc::Sender<Arc<Event>>,
    too_slow: Arc<AtomicBool>,
}

/// Who listens to the same, and what they have heard of its counters.
#[derive(Default)]
struct Watch {
    listeners: Vec<u64>,
    usage: Option<FlowCounters>,
}

/// A place to listen; given back when dropped.
pub(in crate::api) struct Subscription {
    hub: Arc<Hub>,
    listener: u64,
    /// What was said since the event that the listener had last, before anything from `receiver`.
    pub(in crate::api) replay: VecDeque<Arc<Event>>,
    pub(in crate::api) receiver: mpsc::Receiver<Arc<Event>>,
    /// Whether `replay` goes on where the listener was. `false` for one who comes for the first time too.
    pub(in crate::api) resumed: bool,
    /// The id of the last event before those.
    pub(in crate::api) last: String,
    too_slow: Arc<AtomicBool>,
}

impl Subscription {
    /// Whether it was ended because it was too slow.
    pub(in crate::api) fn too_slow(&self) -> bool {
        self.too_slow.load(Ordering::Relaxed)
    }

    /// An event for this stream alone, which does not move its place.
    pub(super) fn own(
        &self,
        about: Option<(ReservationNumber, BuyerKey)>,
        happened: Happened,
    ) -> Event {
        let sequence = self
            .last
            .rsplit_once('-')
            .and_then(|(_, it)| it.parse().ok());
        Event::write(self.hub.run, sequence.unwrap_or(0), about, happened)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.state.lock().forget(self.listener);
    }
}

impl State {
    fn forget(&mut self, listener: u64) {
        let Some(it) = self.listeners.remove(&listener) else {
            return;
        };
        if let Some(watch) = self.watches.get_mut(&it.scope) {
            watch.listeners.retain(|other| *other != listener);
            if watch.listeners.is_empty() {
                self.watches.remove(&it.scope);
            }
        }
        match self.of_peer.get_mut(&it.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.of_peer.remove(&it.peer);
            }
        }
    }

    /// To everybody whom it concerns. Who has no room for it is ended.
    fn publish(&mut self, event: Event) {
        let event = Arc::new(event);
        let mut scopes = [Some(Scope::All), None, None];
        scopes[1] = event.buyer.map(Scope::Buyer);
        scopes[2] = event.reservation.map(Scope::Reservation);
        let to: Vec<u64> = match event.reservation {
            None => self.listeners.keys().copied().collect(),
            Some(_) => {
                let watches = scopes
                    .into_iter()
                    .flatten()
                    .filter_map(|it| self.watches.get(&it));
                watches
                    .flat_map(|it| it.listeners.iter().copied())
                    .collect()
            }
        };
        for listener in to {
            let Some(it) = self.listeners.get(&listener) else {
                continue;
            };
            if it.sender.try_send(Arc::clone(&event)).is_err() {
                // Its stream ends when it has read what it has.
                it.too_slow.store(true, Ordering::Relaxed);
                self.forget(listener);
            }
        }
        self.recent.push_back(event);
        if self.recent.len() > KEPT {
            let oldest = self.recent.pop_front();
            self.complete_after = oldest.map_or(self.complete_after, |it| it.sequence);
        }
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

impl Hub {
    /// Listens to a desk until `stop` says so, or the desk says nothing more; then every stream ends.
    pub(in crate::api) fn start(
        desk: Arc<dyn Desk>,
        limits: Limits,
        stop: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let mut run = [0; 8];
        if let Err(error) = getrandom::fill(&mut run) {
            // Two runs might then be taken for one; nothing else depends on it.
            tracing::warn!(%error, "no random number for the ids of events");
        }
        let hub = Arc::new(Self {
            limits,
            run: u64::from_be_bytes(run),
            state: Mutex::default(),
        });
        // Now, so that no change is missed that comes after this.
        let mut changes = desk.changes();
        let (hearing, mut stopping) = (Arc::clone(&hub), stop.clone());
        let asked = Arc::clone(&desk);
        tokio::spawn(async move {
            loop {
                let change = tokio::select! {
                    change = changes.recv() => change,
                    () = told_to_stop(&mut stopping) => break,
                };
                match change {
                    Ok(view) => hearing.changed(&view),
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "changes came faster than events could be written");
                        hearing.catch_up(&*asked).await;
                    }
                    Err(RecvError::Closed) => break,
                }
            }
            hearing.close();
        });
        let (counting, mut stopping) = (Arc::clone(&hub), stop);
        tokio::spawn(async move {
            let mut ticks = interval(USAGE_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => counting.ask_for_usage(&*desk).await,
                    () = told_to_stop(&mut stopping) => break,
                }
            }
        });
        hub
    }

    /// A place to listen, after the event with this id if that is known still.
    pub(in crate::api) fn subscribe(
        self: &Arc<Self>,
        scope: Scope,
        peer: IpAddr,
        after: Option<&str>,
    ) -> Result<Subscription, Problem> {
        let mut state = self.state.lock();
        let of_peer = state.of_peer.get(&peer).copied().unwrap_or(0);
        if state.closed {
            return Err(Problem::new(
                ProblemKind::NotReady,
                "the controller is stopping; ask again in a moment",
            ));
        }
        let (streams, per_peer) = (self.limits.streams, self.limits.streams_per_peer);
        let too_many = |who: &str, most| {
            let detail = format!(
                "{who} may have {most} streams of events open at a time; close some, or ask with GET"
            );
            Err(Problem::new(ProblemKind::TooManyRequests, detail).with("max_streams", most))
        };
        if of_peer >= per_peer {
            return too_many("one host", per_peer);
        }
        if state.listeners.len() >= streams {
            return too_many("all hosts together", streams);
        }
        let resumed = after.and_then(|id| self.position(&state, id));
        let replay = resumed.map_or_else(VecDeque::new, |sequence| {
            let begin = state.recent.partition_point(|it| it.sequence <= sequence);
            let later = state.recent.range(begin..);
            later.filter(|it| it.is_for(scope)).cloned().collect()
        });
        state.last_listener += 1;
        let listener = state.last_listener;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let too_slow = Arc::new(AtomicBool::new(false));
        state.listeners.insert(
            listener,
            Listener {
                scope,
                peer,
                sender,
                too_slow: Arc::clone(&too_slow),
            },
        );
        state
            .watches
            .entry(scope)
            .or_default()
            .listeners
            .push(listener);
        *state.of_peer.entry(peer).or_default() += 1;
        Ok(Subscription {
            hub: Arc::clone(self),
            listener,
            replay,
            receiver,
            resumed: resumed.is_some(),
            last: id(self.run, state.sequence),
            too_slow,
        })
    }

    /// The sequence number in an id, if everything after it is known.
    fn position(&self, state: &State, id: &str) -> Option<u64> {
        let (run, sequence) = id.split_once('-')?;
        let sequence = sequence.parse().ok()?;
        let same_run = u64::from_str_radix(run, 16).is_ok_and(|run| run == self.run);
        (same_run && (state.complete_after..=state.sequence).contains(&sequence))
            .then_some(sequence)
    }

    fn changed(&self, view: &ReservationView) {
        let Some(number) = ReservationNumber::from_reservation_id(&view.id) else {
            tracing::error!(
                id = view.id,
                "a reservation with an id that is none has changed"
            );
            return;
        };
        let mut state = self.state.lock();
        for happened in between(state.known.get(&number), view) {
            let about = Some((number, view.quote.buyer));
            let event = Event::write(self.run, state.next(), about, happened);
            state.publish(event);
        }
        let brief = Brief::of(view);
        if brief.is_over() {
            state.known.remove(&number);
        } else {
            state.known.insert(number, brief);
        }
    }

    /// After changes were missed: streams of one reservation get all of it, the others are told.
    async fn catch_up(&self, desk: &dyn Desk) {
        let watched: Vec<_> = {
            let mut state = self.state.lock();
            state.recent.clear();
            state.known.clear();
            let event = Event::write(self.run, state.next(), None, Happened::Missed);
            state.complete_after = state.sequence;
            state.publish(event);
            state.watched(|_| true)
        };
        for number in watched {
            let answer = desk
                .request(operator(), Request::GetReservation(number))
                .await;
            if let Ok(Answer::Reservation(view)) = answer {
                let about = Some((number, view.quote.buyer));
                let mut state = self.state.lock();
                state.known.insert(number, Brief::of(&view));
                let event =
                    Event::write(self.run, state.next(), about, Happened::Snapshot { view });
                state.publish(event);
            }
        }
    }

    async fn ask_for_usage(&self, desk: &dyn Desk) {
        // What has not changed since it is listened to may well be carried.
        let watched = self
            .state
            .lock()
            .watched(|brief| brief.is_none_or(Brief::is_carried));
        for some in watched.chunks(USAGE_AT_ONCE) {
            match desk
                .request(operator(), Request::Usage(some.to_vec()))
                .await
            {
                Ok(Answer::Usage(each)) => self.counted(&each),
                Ok(other) => tracing::error!(?other, "the core has answered another question"),
                Err(error) => tracing::debug!(detail = error.detail, "no counters"),
            }
        }
    }

    fn counted(&self, each: &[UsageView]) {
        let mut state = self.state.lock();
        for it in each {
            let Some(watch) = state.watches.get_mut(&Scope::Reservation(it.number)) else {
                continue;
            };
            if watch.usage.replace(it.usage) == Some(it.usage) {
                continue;
            }
            let listeners = watch.listeners.clone();
            let happened = Happened::Usage {
                usage: it.usage,
                shortfall_ms: it.shortfall_ms,
            };
            // Not among those that are kept: the next ones say more. So it has the id of the last that is.
            let event = Event::write(
                self.run,
                state.sequence,
                Some((it.number, it.buyer)),
                happened,
            );
            let event = Arc::new(event);
            for listener in listeners {
                // Who has no room for counters hears of the next.
                let full = state
                    .listeners
                    .get(&listener)
                    .map(|to| to.sender.try_send(Arc::clone(&event)));
                if let Some(Err(error)) = full {
                    tracing::trace!(%error, "counters are left out");
                }
            }
        }
    }

    /// Every stream ends, and there are no others.
    fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.listeners.clear();
        state.watches.clear();
        state.of_peer.clear();
    }
}

impl State {
    fn watched(&self, wanted: impl Fn(Option<&Brief>) -> bool) -> Vec<ReservationNumber> {
        let scopes = self.watches.keys().filter_map(|scope| match scope {
            Scope::Reservation(number) => Some(*number),
            Scope::Buyer(_) | Scope::All => None,
        });
        scopes
            .filter(|number| wanted(self.known.get(number)))
            .collect()
    }
}

/// What is asked here is shown to those alone who have proven that they may see it.
fn operator() -> Caller {
    Caller {
        operator: true,
        ..Caller::default()
    }
}
