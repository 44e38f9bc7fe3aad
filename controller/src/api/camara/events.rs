//! CloudEvents 1.0 to the sinks of sessions: when one becomes AVAILABLE, and when it is over.
//!
//! What a sink was told is in the journal, so a restart tells what was missed and nothing that was taken. Between a delivery and its
//! record a crash may come: then the event is sent again under the same `id`, by which the sink knows it. Each session has one event
//! on its way at a time, so they come in order. An event is tried five times, within a minute; then it is given up, and written
//! down as told. So the work is bounded, whatever sinks do: [`AT_ONCE`] deliveries, each for so long at most.

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::json;
use tokio::{
    sync::{Semaphore, broadcast::error::RecvError},
    time::sleep,
};

use super::{
    sessions::qos_status,
    sinks::{Sender, SinkError},
    when,
};
use crate::{
    api::Desk,
    core::{
        io::{Caller, Request},
        reply::Answer,
        sessions::{SessionId, SessionStatus, SessionView},
    },
    wall,
};

/// Deliveries at a time.
const AT_ONCE: usize = 32;
/// How long after a failure the next try is made.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(9),
    Duration::from_secs(20),
];
/// Changes that come together are looked at together.
const TOGETHER: Duration = Duration::from_millis(50);
/// However quiet it is, it is looked again after this.
const LONGEST: Duration = Duration::from_secs(30);

/// Tells sinks until `stop` is ready. What is on its way then is told after the next start.
pub async fn run(desk: Arc<dyn Desk>, sender: Sender, stop: impl Future<Output = ()>) {
    let teller = Arc::new(Teller {
        desk,
        sender,
        room: Semaphore::new(AT_ONCE),
        under_way: Mutex::default(),
    });
    let mut tasks = tokio::task::JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let mut changes = teller.desk.changes();
    loop {
        teller.look(&mut tasks).await;
        let news = async {
            tokio::select! {
                // Lagging says that there are many, which is all that matters.
                change = changes.recv() => matches!(change, Ok(_) | Err(RecvError::Lagged(_))),
                Some(_) = tasks.join_next() => true,
                () = sleep(LONGEST) => true,
            }
        };
        tokio::select! {
            () = &mut stop => return,
            goes_on = news => if !goes_on {
                return;
            },
        }
        sleep(TOGETHER).await;
        while changes.try_recv().is_ok() {}
    }
}

struct Teller {
    desk: Arc<dyn Desk>,
    sender: Sender,
    room: Semaphore,
    under_way: Mutex<BTreeSet<SessionId>>,
}

impl Teller {
    /// Begins what is to be told.
    async fn look(self: &Arc<Self>, tasks: &mut tokio::task::JoinSet<()>) {
        let answer = self
            .desk
            .request(ourselves(), Request::SessionsToTell)
            .await;
        let sessions = match answer {
            Ok(Answer::Sessions(sessions)) => sessions,
            Ok(other) => return tracing::error!(?other, "the core has answered another question"),
            Err(problem) => return tracing::debug!(?problem, "sessions cannot be looked at"),
        };
        for session in sessions {
            if self.under_way.lock().insert(session.session.clone()) {
                let teller = Arc::clone(self);
                tasks.spawn(async move {
                    teller.tell(&session).await;
                    teller.under_way.lock().remove(&session.session);
                });
            }
        }
    }

    /// Tells one sink of one session, and writes down that it was told.
    async fn tell(&self, session: &SessionView) {
        let Ok(_place) = self.room.acquire().await else {
            return;
        };
        let (id, status) = (session.session.as_str(), session.status);
        let outcome = self.deliver(session).await;
        let told = match outcome {
            Ok(()) => status,
            Err(error) => {
                tracing::warn!(session = id, ?status, %error, "an event was given up");
                // Whose sink is gone is told nothing more.
                match error.is_final() {
                    true if !status.is_over() => SessionStatus::NetworkTerminated,
                    _ => status,
                }
            }
        };
        let told = Request::SessionTold {
            session: session.session.clone(),
            status: told,
        };
        if let Err(problem) = self.desk.request(ourselves(), told).await {
            tracing::warn!(session = id, ?problem, "an event will be sent again");
        }
    }

    async fn deliver(&self, session: &SessionView) -> Result<(), SinkError> {
        let Some(sink) = &session.details.sink else {
            return Ok(());
        };
        let event = event(session);
        let correlator = format!("{}:{}", session.session.as_str(), number(session.status));
        let mut pauses = PAUSES.iter();
        loop {
            let expired =
                |it: &&crate::core::sessions::SinkToken| it.expires_at <= wall::unix_millis();
            if sink.token.as_ref().is_some_and(|it| expired(&it)) {
                return Err(SinkError::Url(
                    "the sink's access token has expired".to_owned(),
                ));
            }
            let bearer = sink.token.as_ref().map(|it| it.bearer.as_str());
            let posted = self
                .sender
                .post(&sink.url, bearer, &correlator, event.clone());
            match (posted.await, pauses.next()) {
                (Ok(()), _) => return Ok(()),
                (Err(error), Some(pause)) if !error.is_final() => {
                    tracing::debug!(session = correlator, %error, "an event is tried again");
                    sleep(*pause).await;
                }
                (Err(error), _) => return Err(error),
            }
        }
    }
}

fn ourselves() -> Caller {
    Caller {
        operator: true,
        ..Caller::default()
    }
}

/// Which of a session's events it is.
fn number(status: SessionStatus) -> u8 {
    if status.is_over() { 2 } else { 1 }
}

/// `EventQosStatusChanged`.
fn event(session: &SessionView) -> String {
    let (status, info) = qos_status(session.status);
    let id = session.session.as_str();
    let at = match session.status.is_over() {
        true => session.expires_at,
        false => session.started_at,
    };
    let mut data = json!({ "sessionId": id, "qosStatus": status });
    if let (Some(info), Some(members)) = (info, data.as_object_mut()) {
        members.insert("statusInfo".to_owned(), json!(info));
    }
    let time = at
        .and_then(when::written)
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned());
    json!({
        "id": format!("{id}:{}", number(session.status)),
        "source": format!("/quality-on-demand/v1/sessions/{id}"),
        "specversion": "1.0",
        "type": "org.camaraproject.quality-on-demand.v1.qos-status-changed",
        "datacontenttype": "application/json",
        "time": time,
        "data": data,
    })
    .to_string()
}
