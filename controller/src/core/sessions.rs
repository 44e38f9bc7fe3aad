//! Sessions: reservations under the names and rules of CAMARA Quality-on-Demand (`docs/camara.md`).
//!
//! A session is one flow, or a group of them, for one device; everything about money, paths and time is what its reservations
//! say. Kept beside them is what it is called, what was asked in words that the answer repeats, and what its `sink` was told.

use std::{collections::BTreeMap, net::IpAddr};

use payflow_payment::{Amount, UnixMillis};
use payflow_qos::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Core,
    document::{BuyerKey, GroupRequest, QuoteRequest, ReservationNumber},
    io::Caller,
    journal::{EndCause, Record},
    problem::{Problem, ProblemKind},
    quoting::key_of,
    register::{Register, Reservation},
    reply::Answer,
    reservation::State,
    unix,
    views::operator,
};

/// A UUID in its usual form, lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(String);

/// How long a session that is over is still among those of its device, in milliseconds: at least 360 s, says the standard.
const LINGERS_MS: u64 = 360_000;

/// What was asked for, as far as the quotes do not say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDetails {
    /// The members of the answer that repeat the request.
    pub shown: Value,
    /// SHA-256 of the request, hexadecimal: the same request again means this session.
    pub fingerprint: String,
    /// The device's address in the network.
    pub device: IpAddr,
    /// The profile.
    pub profile: String,
    /// The whole of its time, extensions not counted, in seconds.
    pub duration_s: u64,
    /// Who is told of changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<Sink>,
}

/// Who is told of changes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sink {
    /// An `https` URL.
    pub url: String,
    /// What it is to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SinkToken>,
}

/// What a sink is shown, so that it knows who speaks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkToken {
    /// The token.
    pub bearer: String,
    /// It is good for nothing after that, and nothing is told any more.
    pub expires_at: UnixMillis,
}

// The token is nobody's business, in no log.
impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sink").field(&self.url).finish()
    }
}

impl std::fmt::Debug for SinkToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SinkToken")
    }
}

/// See [`Record::SessionOpened`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpened {
    /// What it is called.
    pub session: SessionId,
    /// Whose it is: the buyer of its quotes.
    pub owner: BuyerKey,
    /// The reservations that it began with.
    pub members: Vec<ReservationNumber>,
    /// What was asked.
    pub details: SessionDetails,
    /// When.
    pub at: Time,
}

/// `qosStatus` and `statusInfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SessionStatus {
    /// It is bought, and has not begun.
    Requested,
    /// Every flow of it is carried, or has been and will be again.
    Available,
    /// Its time is over.
    DurationExpired,
    /// The network could not give it, or no longer.
    NetworkTerminated,
    /// Its owner has ended it.
    DeleteRequested,
}

impl SessionStatus {
    /// Whether nothing of it comes back.
    #[must_use]
    pub const fn is_over(self) -> bool {
        match self {
            Self::Requested | Self::Available => false,
            Self::DurationExpired | Self::NetworkTerminated | Self::DeleteRequested => true,
        }
    }
}

/// A session as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// What it is called.
    pub session: SessionId,
    /// What was asked.
    pub details: SessionDetails,
    /// How it is.
    pub status: SessionStatus,
    /// What its sink was told last.
    pub told: Option<SessionStatus>,
    /// When every flow of it had begun.
    pub started_at: Option<UnixMillis>,
    /// When it ends, or has ended.
    pub expires_at: Option<UnixMillis>,
    /// In seconds: of what is to be given, or was.
    pub duration_s: u64,
    /// The reservations that it began with; the first names its quote.
    pub members: Vec<ReservationNumber>,
    /// Those that carry it now.
    pub current: Vec<ReservationNumber>,
    /// Whether it is bought. What is not is a quote, and no session to anybody.
    pub is_bought: bool,
}

/// All sessions there ever were.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    by_id: BTreeMap<SessionId, Session>,
    by_quote: BTreeMap<ReservationNumber, SessionId>,
}

#[derive(Clone, Debug)]
struct Session {
    opened: SessionOpened,
    told: Option<SessionStatus>,
}

impl SessionId {
    /// Reads a UUID (RFC 9562 section 4), of any version; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed = text.len() == 36
            && text.char_indices().all(|(at, it)| match at {
                8 | 13 | 18 | 23 => it == '-',
                _ => it.is_ascii_hexdigit(),
            });
        well_formed.then(|| Self(text.to_ascii_lowercase()))
    }

    /// A UUID of version 4 of these random bits.
    #[must_use]
    pub fn random(mut bits: [u8; 16]) -> Self {
        bits[6] = bits[6] & 0x0f | 0x40;
        bits[8] = bits[8] & 0x3f | 0x80;
        let text = hex::encode(bits);
        let part = |range| text.get(range).unwrap_or_default();
        let parts = [
            part(0..8),
            part(8..12),
            part(12..16),
            part(16..20),
            part(20..32),
        ];
        Self(parts.join("-"))
    }

    /// Its usual form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Sessions {
    pub(super) fn opened(&mut self, opened: &SessionOpened) -> Result<(), String> {
        let first = opened.members.first().ok_or("a session of no flow")?;
        self.by_quote.insert(*first, opened.session.clone());
        let session = Session {
            opened: opened.clone(),
            told: None,
        };
        match self.by_id.insert(opened.session.clone(), session) {
            None => Ok(()),
            Some(_) => Err(format!("session {:?} is there already", opened.session)),
        }
    }

    pub(super) fn told(&mut self, id: &SessionId, status: SessionStatus) -> Result<(), String> {
        let session = self.by_id.get_mut(id);
        session
            .ok_or_else(|| format!("there is no session {id:?}"))?
            .told = Some(status);
        Ok(())
    }
}

impl Core {
    /// Makes the quotes of a session. What costs nothing is taken at once; of the rest the answer is how to pay.
    pub(super) fn open_session(
        &mut self,
        caller: &Caller,
        session: SessionId,
        mut quotes: Vec<QuoteRequest>,
        details: SessionDetails,
    ) -> Result<Answer, Problem> {
        let owner = key_of(caller)?;
        if let Some((first, session)) = self.quoted_before(owner, &details) {
            self.reserve(caller, first, None)?;
            return self.get_session(caller, &session);
        }
        let answer = match (quotes.pop(), quotes.is_empty()) {
            (Some(one), true) => self.quote(caller, one, None)?,
            (last, _) => {
                quotes.extend(last);
                let max_price = None;
                self.group(caller, GroupRequest { quotes, max_price }, None)?
            }
        };
        let ids: Vec<String> = match answer {
            Answer::Quote(quote) => vec![quote.document.id],
            Answer::Group(group) => {
                let quotes = group.quotes.into_iter();
                quotes.map(|it| it.document.id).collect()
            }
            _ => Vec::new(),
        };
        let members = ids
            .iter()
            .filter_map(|it| ReservationNumber::from_quote_id(it));
        let members: Vec<_> = members.collect();
        let Some(first) = members.first().copied() else {
            return Err(Problem::new(ProblemKind::Internal, "a session of no flow"));
        };
        self.record(Record::SessionOpened(Box::new(SessionOpened {
            session: session.clone(),
            owner,
            members,
            details,
            at: self.now,
        })));
        self.reserve(caller, first, None)?;
        self.get_session(caller, &session)
    }

    /// What was asked for in the same words, and can be paid still: it is not held twice.
    fn quoted_before(
        &self,
        owner: BuyerKey,
        details: &SessionDetails,
    ) -> Option<(ReservationNumber, SessionId)> {
        let lives = self.config.quote_ttl + self.config.grace;
        let newest = self.register.sessions.by_quote.iter().rev();
        let newest = newest.filter_map(|(first, id)| {
            let session = self.register.sessions.by_id.get(id)?;
            Some((*first, id, &session.opened))
        });
        let mut open = newest.take_while(|(_, _, it)| it.at.plus(lives) >= self.now);
        let (first, id, _) = open.find(|(first, _, it)| {
            let reservation = self.register.reservations.get(first);
            let is_held = reservation.is_some_and(|reservation| {
                reservation.state == State::Held
                    && self.unix_now() <= reservation.quote().payment.expires_at
            });
            is_held && it.owner == owner && it.details.fingerprint == details.fingerprint
        })?;
        Some((first, id.clone()))
    }

    /// A session, for its owner.
    pub(super) fn get_session(&self, caller: &Caller, id: &SessionId) -> Result<Answer, Problem> {
        let session = self.own_session(caller, id)?;
        Ok(Answer::Session(Box::new(self.register.session(session))))
    }

    /// The session that a quote was made for.
    pub(super) fn session_of(
        &self,
        caller: &Caller,
        quote: ReservationNumber,
    ) -> Result<Answer, Problem> {
        match self.register.sessions.by_quote.get(&quote) {
            Some(id) => self.get_session(caller, id),
            None => Err(no_session()),
        }
    }

    /// The caller's sessions for a device, those that are over for a while yet.
    pub(super) fn list_sessions(&self, caller: &Caller, device: IpAddr) -> Result<Answer, Problem> {
        let owner = key_of(caller)?;
        let since = UnixMillis(self.unix_now().0.saturating_sub(LINGERS_MS));
        let recent = |it: &SessionView| !it.status.is_over() || it.expires_at >= Some(since);
        let all = self.register.sessions.by_id.values();
        let own = all.filter(|it| it.opened.owner == owner && it.opened.details.device == device);
        let views = own.map(|it| self.register.session(it));
        let views = views.filter(|it| it.is_bought && recent(it));
        Ok(Answer::Sessions(views.collect()))
    }

    /// Ends every flow of a session.
    pub(super) fn end_session(
        &mut self,
        caller: &Caller,
        id: &SessionId,
    ) -> Result<Answer, Problem> {
        let session = self.own_session(caller, id)?;
        for number in self.register.session(session).current {
            self.cancel(caller, number)?;
        }
        self.get_session(caller, id)
    }

    /// Sessions with a sink that has not been told how they are.
    pub(super) fn sessions_to_tell(&self, caller: &Caller) -> Result<Answer, Problem> {
        operator(caller)?;
        let all = self.register.sessions.by_id.values();
        let open = all.filter(|it| {
            it.opened.details.sink.is_some() && !it.told.is_some_and(SessionStatus::is_over)
        });
        let views = open.map(|it| self.register.session(it));
        let news = |it: &SessionView| {
            it.is_bought && it.status != SessionStatus::Requested && it.told != Some(it.status)
        };
        Ok(Answer::Sessions(views.filter(news).collect()))
    }

    /// The sink was told, or cannot be.
    pub(super) fn session_told(
        &mut self,
        caller: &Caller,
        session: SessionId,
        status: SessionStatus,
    ) -> Result<Answer, Problem> {
        operator(caller)?;
        if !self.register.sessions.by_id.contains_key(&session) {
            return Err(no_session());
        }
        let at = self.now;
        let record = Record::SessionTold {
            session: session.clone(),
            status,
            at,
        };
        self.record(record);
        match self.register.sessions.by_id.get(&session) {
            Some(it) => Ok(Answer::Session(Box::new(self.register.session(it)))),
            None => Err(no_session()),
        }
    }

    fn own_session(&self, caller: &Caller, id: &SessionId) -> Result<&Session, Problem> {
        let owner = key_of(caller)?;
        let session = self
            .register
            .sessions
            .by_id
            .get(id)
            .ok_or_else(no_session)?;
        if session.opened.owner != owner {
            return Err(Problem::new(
                ProblemKind::NotTheOwner,
                "only the client that created the session may see or change it",
            ));
        }
        Ok(session)
    }

    /// Reservations that cost nothing are taken as they are: there is no payment to wait for.
    pub(super) fn take_for_nothing(
        &mut self,
        members: Vec<ReservationNumber>,
    ) -> Result<(), Problem> {
        for member in &members {
            let root = self.register.reservations.get(member).map(|it| it.root);
            let next = root.map(|it| self.register.next_generation(it));
            if let Some(Err(why)) = next {
                return Err(Problem::new(ProblemKind::WrongState, why));
            }
        }
        self.record(Record::Given {
            members: members.clone(),
            at: self.now,
        });
        for member in members {
            self.bought(member);
        }
        Ok(())
    }

    /// Whether all of these cost nothing.
    pub(super) fn costs_nothing(&self, members: &[ReservationNumber]) -> bool {
        let price = |it: &ReservationNumber| {
            let reservation = self.register.reservations.get(it);
            reservation.map(|it| it.quote().payment.price)
        };
        members.iter().all(|it| price(it) == Some(Amount::ZERO))
    }
}

impl Register {
    fn session(&self, session: &Session) -> SessionView {
        let opened = &session.opened;
        let of = |number: &ReservationNumber| self.reservations.get(number);
        let first: Vec<&Reservation> = opened.members.iter().filter_map(of).collect();
        let current: Vec<&Reservation> = first.iter().map(|it| self.newest(it)).collect();
        let status = status(&current);
        let began = first.iter().map(|it| it.active.as_ref().map(|it| it.from));
        let began = began
            .collect::<Option<Vec<_>>>()
            .and_then(|it| it.into_iter().max());
        let over = current.iter().filter_map(|it| it.ended_at).min();
        let planned = current
            .iter()
            .filter_map(|it| Some(it.active.as_ref()?.to))
            .min();
        let ends = if status.is_over() { over } else { planned };
        // Of each flow from its own beginning on: they begin some milliseconds after one another.
        let lasts = first.iter().zip(&current).filter_map(|(first, current)| {
            let end = match status.is_over() {
                true => current.ended_at.or(over),
                false => current.active.as_ref().map(|it| it.to),
            };
            Some(end?.since(first.active.as_ref()?.from))
        });
        let duration_s = match status {
            SessionStatus::Requested => opened.details.duration_s,
            _ => lasts.min().map_or(1, |it| it.as_secs().max(1)),
        };
        SessionView {
            session: opened.session.clone(),
            details: opened.details.clone(),
            status,
            told: session.told,
            started_at: began.map(unix),
            expires_at: ends.map(unix),
            duration_s,
            members: opened.members.clone(),
            current: current.iter().map(|it| it.issued.number).collect(),
            is_bought: !first.is_empty() && first.iter().all(|it| it.paid.is_some()),
        }
    }

    /// What has taken its place, and the place of that.
    fn newest<'r>(&'r self, reservation: &'r Reservation) -> &'r Reservation {
        let mut newest = reservation;
        // Every replacement has a higher number, so this ends.
        while let Some(next) = newest.replaced_by.and_then(|it| self.reservations.get(&it)) {
            if next.active.is_none() {
                break;
            }
            newest = next;
        }
        newest
    }
}

/// What the reservations of a session mean together: it is as good as the worst of them.
fn status(current: &[&Reservation]) -> SessionStatus {
    let of = |it: &&Reservation| match it.ended_by() {
        Some(EndCause::Cancelled | EndCause::Replaced) => SessionStatus::DeleteRequested,
        Some(EndCause::Failed | EndCause::Unpaid) => SessionStatus::NetworkTerminated,
        Some(EndCause::Expired) => SessionStatus::DurationExpired,
        None => match it.state {
            // Time in which the network cannot vouch for it is credited, and it comes back or ends as failed.
            State::Active | State::Suspended => SessionStatus::Available,
            _ => SessionStatus::Requested,
        },
    };
    let all: Vec<_> = current.iter().map(of).collect();
    let over = all.iter().copied().filter(|it| it.is_over()).max();
    let waits = all.contains(&SessionStatus::Requested);
    match (over, waits) {
        (Some(over), _) => over,
        (None, true) => SessionStatus::Requested,
        (None, false) => SessionStatus::Available,
    }
}

fn no_session() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no such session")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_session_is_named_by_a_uuid_and_by_nothing_else() {
        let good = "B4333C46-49c0-4f62-80d7-f0ef930f1c46";
        assert_eq!(
            SessionId::parse(good).unwrap().as_str(),
            good.to_ascii_lowercase()
        );
        for wrong in [
            "",
            "r7",
            "b4333c4649c04f6280d7f0ef930f1c46",
            "b4333c46-49c0-4f62-80d7-f0ef930f1c4",
            "b4333c46-49c0-4f62-80d7-f0ef930f1c4g",
            "b4333c46:49c0:4f62:80d7:f0ef930f1c46",
        ] {
            assert_eq!(SessionId::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn random_names_are_uuids_of_version_four(bits: [u8; 16]) {
            let id = SessionId::random(bits);
            prop_assert_eq!(SessionId::parse(id.as_str()), Some(id.clone()));
            prop_assert_eq!(id.as_str().as_bytes()[14], b'4');
            prop_assert!(b"89ab".contains(&id.as_str().as_bytes()[19]));
        }
    }
}
