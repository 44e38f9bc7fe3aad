//! Server-sent events: who may listen, and what a stream says from its first line to its last.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use tokio::time::{Instant, timeout_at};
use warp::{
    Reply as _,
    http::{HeaderName, HeaderValue, StatusCode, header},
};

use super::{
    Happened,
    hub::{Event, Scope, Subscription},
    websocket,
};
use crate::{
    api::{
        reply::{set, single},
        request::{Failed, Received},
        routes::{Api, unexpected},
        token::Right,
    },
    core::{
        document::{BuyerKey, ReservationNumber},
        io::Request,
        problem::{Problem, ProblemKind},
        reply::Answer,
    },
};

/// A silent stream says that it is still there this often, so that proxies keep it, and whoever is gone is noticed.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A stream ends after so long: who may listen is looked at again when it is taken up.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a stream says, event after event.
pub(super) struct Feed {
    first: VecDeque<Arc<Event>>,
    subscription: Subscription,
    ends: Instant,
    ended: bool,
}

/// What comes next.
pub(super) enum Next {
    Event(Arc<Event>),
    /// Nothing for a while.
    Silence,
    /// The last event was said.
    Over,
}

impl Feed {
    /// What was missed, or how it is now; then what happens.
    fn new(
        subscription: Subscription,
        snapshot: Option<(ReservationNumber, BuyerKey, Happened)>,
        returns: bool,
    ) -> Self {
        let mut first = VecDeque::new();
        if !subscription.resumed {
            if returns {
                first.push_back(Arc::new(subscription.own(None, Happened::Missed)));
            }
            if let Some((number, buyer, happened)) = snapshot {
                first.push_back(Arc::new(subscription.own(Some((number, buyer)), happened)));
            }
        }
        let mut subscription = subscription;
        first.append(&mut subscription.replay);
        Self {
            first,
            subscription,
            ends: Instant::now() + LONGEST,
            ended: false,
        }
    }

    pub(super) async fn next(&mut self) -> Next {
        if self.ended {
            return Next::Over;
        }
        if let Some(event) = self.first.pop_front() {
            return Next::Event(event);
        }
        let silent = Instant::now() + KEEP_ALIVE;
        match timeout_at(silent.min(self.ends), self.subscription.receiver.recv()).await {
            Ok(Some(event)) => Next::Event(event),
            Err(_) if Instant::now() < self.ends => Next::Silence,
            ended => {
                self.ended = true;
                let why = match ended {
                    Ok(None) if self.subscription.too_slow() => Happened::TooSlow,
                    _ => Happened::End,
                };
                Next::Event(Arc::new(self.subscription.own(None, why)))
            }
        }
    }

    fn text(
        self,
    ) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + Sync + 'static {
        let begin = Bytes::from_static(b"retry: 3000\n\n");
        stream::unfold((Some(begin), self), |(begin, mut feed)| async move {
            if let Some(begin) = begin {
                return Some((Ok(begin), (None, feed)));
            }
            match feed.next().await {
                Next::Event(event) => Some((Ok(event.text.clone()), (None, feed))),
                Next::Silence => Some((Ok(Bytes::from_static(b":\n\n")), (None, feed))),
                Next::Over => None,
            }
        })
    }
}

impl Api {
    /// `GET /v1/events`: everything for who may see it, for a buyer what it has bought; or what happens to one reservation.
    pub(in crate::api) async fn events(
        &self,
        of: Option<ReservationNumber>,
        received: Received,
    ) -> Result<warp::reply::Response, Failed> {
        let received = received.buyer_or(Right::See, &self.settings)?;
        let after = single(&received.head.headers, &LAST_EVENT_ID)?;
        let peer = received.head.connection.peer.ip().to_canonical();
        let scope = match (of, received.caller.operator, received.caller.key) {
            (Some(number), ..) => Scope::Reservation(number),
            (None, false, Some(key)) => Scope::Buyer(key),
            (None, true, _) => Scope::All,
            (None, false, None) => {
                return Err(Problem::new(ProblemKind::Unauthenticated, "sign this request").into());
            }
        };
        // Before it is asked for, so that nothing that happens afterwards is missed.
        let subscription = self.hub.subscribe(scope, peer, after)?;
        let snapshot = match of {
            None => None,
            // The core decides whether it may be seen.
            Some(number) => match self
                .desk
                .request(received.caller.clone(), Request::GetReservation(number))
                .await?
            {
                Answer::Reservation(view) => {
                    Some((number, view.quote.buyer, Happened::Snapshot { view }))
                }
                other => return Err(unexpected(&other)),
            },
        };
        let feed = Feed::new(subscription, snapshot, after.is_some());
        if websocket::is_asked_for(&received.head) {
            return Ok(websocket::upgrade(&received.head, feed)?);
        }
        let mut response = warp::reply::stream(feed.text()).into_response();
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        set(
            &mut response,
            HeaderName::from_static("x-accel-buffering"),
            "no",
        );
        Ok(response)
    }
}
