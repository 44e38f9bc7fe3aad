//! The controller's side of one connection to a switch: bytes and time in, bytes and events out.
//!
//! Sans-IO: no socket, clock, task or random source. The driver drains [`SwitchSession::poll`]
//! after every call, then waits for the socket or [`SwitchSession::next_deadline`].

mod config;
mod event;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::codec::{DecodeError, EncodeError};
use crate::error::{ErrorCode, OfpError};
use crate::experimenter::{BundleControl, RoleStatus};
use crate::header::{Framer, Header, MessageType, Version};
use crate::hello::Hello;
use crate::message::Message;
use crate::multipart::{MultipartReply, MultipartReplyBody};
use crate::switch::SwitchFeatures;

pub use config::SessionConfig;
pub use event::{DownReason, Input, Output, RequestError, SendError};

/// A caller that comes so much after [`SwitchSession::next_deadline`] was held up itself.
const LATE: Duration = Duration::from_millis(500);
/// What a switch is given then.
const SECOND_CHANCE: Duration = Duration::from_secs(1);

/// One connection to a switch, from HELLO to the end.
#[derive(Debug)]
pub struct SwitchSession {
    config: SessionConfig,
    state: State,
    framer: Framer,
    outputs: VecDeque<Output>,
    /// When bytes last came.
    heard_at: Duration,
    /// Until when the switch has to give a sign of life, if it was asked for one and nothing has come since.
    silent_at: Option<Duration>,
    /// It was asked once more, because we were late to look for its answer.
    asked_again: bool,
    last_xid: u32,
    requests: BTreeMap<u32, Request>,
    /// The same requests in the order in which they time out.
    timeouts: BTreeSet<(Duration, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    AwaitHello { until: Duration },
    AwaitFeatures { until: Duration, xid: u32 },
    Up(SwitchFeatures),
    Down,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Request {
    times_out_at: Duration,
    answer: MessageType,
    /// What has come of a multipart answer.
    parts: usize,
    bytes: usize,
    body: Option<MultipartReplyBody>,
}

impl SwitchSession {
    /// A session for a connection to come.
    #[must_use]
    pub fn new(config: SessionConfig) -> Self {
        Self {
            config,
            state: State::Idle,
            framer: Framer::new(),
            outputs: VecDeque::new(),
            heard_at: Duration::ZERO,
            silent_at: None,
            asked_again: false,
            last_xid: 0,
            requests: BTreeMap::new(),
            timeouts: BTreeSet::new(),
        }
    }

    /// Feeds one event. `now` is the time since any fixed origin and never goes backwards; drain
    /// [`Self::poll`] after each call.
    pub fn handle(&mut self, input: Input<'_>, now: Duration) {
        match (self.state, input) {
            (State::Down, _) | (State::Idle, Input::DeadlineReached) => {}
            (State::Idle, Input::Connected) => self.start(now),
            (State::Idle, Input::Received(_)) => {} // nothing can come before the connection
            (_, Input::Connected) => {}             // it is there already
            (_, Input::Closed) => self.down(DownReason::Closed),
            (_, Input::Received(bytes)) => self.received(bytes, now),
            (_, Input::DeadlineReached) => self.deadline_reached(now),
        }
    }

    /// The next thing to do or know, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle`] with [`Input::DeadlineReached`], if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.state {
            State::Idle | State::Down => None,
            State::AwaitHello { until } | State::AwaitFeatures { until, .. } => Some(until),
            State::Up(_) => {
                let alive = self.silent_at.unwrap_or(self.echo_at());
                let request = self.timeouts.first().map(|(at, _)| *at);
                Some(request.map_or(alive, |at| at.min(alive)))
            }
        }
    }

    /// What the switch said of itself, once it is up.
    #[must_use]
    pub fn features(&self) -> Option<&SwitchFeatures> {
        match &self.state {
            State::Up(features) => Some(features),
            _ => None,
        }
    }

    /// How many requests wait for their answers.
    #[must_use]
    pub fn requests_under_way(&self) -> usize {
        self.requests.len()
    }

    /// Sends a message and gives the transaction id it was sent with, never 0.
    ///
    /// A message of a kind that is answered is followed by exactly one of [`Output::Reply`],
    /// [`Output::BarrierReply`], [`Output::MultipartDone`], [`Output::Error`] and
    /// [`Output::RequestFailed`] with this id, unless the session goes down first. Any other (a
    /// flow-mod, a packet-out) is silent or followed by [`Output::Error`]; a barrier after it tells
    /// when no error can follow.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
    pub fn request(&mut self, message: &Message, now: Duration) -> Result<u32, SendError> {
        let xid = self.next_xid();
        self.submit(xid, message, now).map(|()| xid)
    }

    /// The same for a message that must know its own transaction id, as [`crate::bundle_add`] does.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
    pub fn request_with(
        &mut self,
        now: Duration,
        message: impl FnOnce(u32) -> Result<Message, EncodeError>,
    ) -> Result<u32, SendError> {
        let xid = self.next_xid();
        self.submit(xid, &message(xid)?, now).map(|()| xid)
    }

    /// Asks the switch now whether it is there, as when another connection claims to be it. If nothing comes within
    /// `patience`, the session goes down with [`DownReason::Silent`]. Does nothing before the session is up, or when
    /// the switch has been asked already and its time ends sooner.
    pub fn probe(&mut self, patience: Duration, now: Duration) {
        let until = now.saturating_add(patience);
        if matches!(self.state, State::Up(_)) && self.silent_at.is_none_or(|at| until < at) {
            self.ask_for_life(patience, now);
        }
    }

    /// Asks for a sign of life, without a deadline: [`Self::heard_at`] tells whether one has come. Does nothing before the session
    /// is up.
    pub fn ask_for_a_sign(&mut self) {
        if matches!(self.state, State::Up(_)) {
            self.last_xid = self.next_xid();
            self.send_own(self.last_xid, &Message::EchoRequest(Vec::new()));
        }
    }

    /// When something came from the switch last.
    #[must_use]
    pub fn heard_at(&self) -> Duration {
        self.heard_at
    }

    fn submit(&mut self, xid: u32, message: &Message, now: Duration) -> Result<(), SendError> {
        if !matches!(self.state, State::Up(_)) {
            return Err(SendError::NotUp);
        }
        let answer = answer_to(message);
        if answer.is_some() && self.requests.len() >= self.config.requests_max {
            return Err(SendError::TooManyRequests(self.requests.len()));
        }
        self.send(xid, message)?;
        self.last_xid = xid;
        if let Some(answer) = answer {
            let times_out_at = now.saturating_add(self.config.request_timeout);
            let request = Request {
                times_out_at,
                answer,
                parts: 0,
                bytes: 0,
                body: None,
            };
            self.requests.insert(xid, request);
            self.timeouts.insert((times_out_at, xid));
        }
        Ok(())
    }

    fn start(&mut self, now: Duration) {
        self.heard_at = now;
        self.last_xid = self.next_xid();
        self.state = State::AwaitHello {
            until: now.saturating_add(self.config.handshake_timeout),
        };
        self.send_own(self.last_xid, &Message::Hello(Hello::v1_3()));
    }

    fn received(&mut self, bytes: &[u8], now: Duration) {
        if bytes.is_empty() {
            return;
        }
        self.heard_at = now;
        self.silent_at = None;
        self.asked_again = false;
        let mut framer = std::mem::take(&mut self.framer);
        framer.push(bytes);
        while self.state != State::Down {
            if matches!(self.state, State::Up(_)) {
                framer.require_version(Version::V1_3);
            }
            match framer.next_frame() {
                Ok(Some(frame)) => self.frame(frame),
                Ok(None) => break,
                Err(error) => self.down(error.into()),
            }
        }
        self.framer = framer;
    }

    fn frame(&mut self, frame: &[u8]) {
        let (header, message) = match Message::decode(frame) {
            Ok(decoded) => decoded,
            Err(error) => return self.malformed(frame, error),
        };
        match (self.state, message) {
            (State::Idle | State::Down, _) => {}
            (State::AwaitHello { until }, Message::Hello(hello)) => self.greeted(&hello, until),
            (State::AwaitHello { .. } | State::AwaitFeatures { .. }, Message::Error(error)) => {
                self.down(DownReason::Refused(error));
            }
            (State::AwaitHello { .. }, message) => {
                self.down(DownReason::OutOfTurn(message.kind()));
            }
            (_, Message::EchoRequest(data)) => {
                self.send_own(header.xid, &Message::EchoReply(data));
            }
            (State::AwaitFeatures { xid, .. }, Message::FeaturesReply(features))
                if header.xid == xid =>
            {
                self.introduced(features);
            }
            // A second HELLO says nothing new; unasked messages may overtake the handshake.
            (_, Message::Hello(_)) => {}
            (State::AwaitFeatures { .. }, message) => {
                self.outputs.push_back(Output::Message {
                    xid: header.xid,
                    message,
                });
            }
            (State::Up(_), message) => self.message(header, message),
        }
    }

    fn greeted(&mut self, hello: &Hello, until: Duration) {
        if !hello.supports(Version::V1_3) {
            let data = b"only OpenFlow 1.3 is spoken here".to_vec();
            let error = OfpError {
                code: ErrorCode::HELLO_INCOMPATIBLE,
                data,
            };
            self.send_own(self.last_xid, &Message::Error(error));
            return self.down(DownReason::NoCommonVersion(hello.version));
        }
        let xid = self.next_xid();
        self.last_xid = xid;
        self.state = State::AwaitFeatures { until, xid };
        self.send_own(xid, &Message::FeaturesRequest);
    }

    fn introduced(&mut self, features: SwitchFeatures) {
        if features.auxiliary_id != 0 {
            return self.down(DownReason::Auxiliary(features.auxiliary_id));
        }
        self.state = State::Up(features);
        self.outputs.push_back(Output::Up(features));
    }

    fn message(&mut self, header: Header, message: Message) {
        let xid = header.xid;
        if let Message::Error(error) = message {
            self.finish(xid);
            return self.outputs.push_back(Output::Error { xid, error });
        }
        let output = match self.requests.get(&xid).map(|request| request.answer) {
            None if message == Message::EchoReply(Vec::new()) => return, // to an echo of our own
            None => Output::Message { xid, message },
            Some(_) if is_unasked(&message) => Output::Message { xid, message },
            Some(answer) if answer != message.kind() => {
                self.finish(xid);
                let error = RequestError::WrongReply(message.kind());
                Output::RequestFailed { xid, error }
            }
            Some(_) => match message {
                Message::MultipartReply(part) => return self.multipart(header, part),
                Message::BarrierReply => {
                    self.finish(xid);
                    Output::BarrierReply { xid }
                }
                message => {
                    self.finish(xid);
                    Output::Reply { xid, message }
                }
            },
        };
        self.outputs.push_back(output);
    }

    fn multipart(&mut self, header: Header, part: MultipartReply) {
        let xid = header.xid;
        let Some(request) = self.requests.get_mut(&xid) else {
            return;
        };
        let has_more = part.has_more();
        request.parts += 1;
        request.bytes += usize::from(header.length);
        let (parts, bytes) = (request.parts, request.bytes);
        let too_long =
            parts > self.config.multipart_parts_max || bytes > self.config.multipart_bytes_max;
        let fits = match &mut request.body {
            Some(body) => body.append(part.body),
            None => {
                request.body = Some(part.body);
                true
            }
        };
        let error = match (too_long, fits) {
            (true, _) => RequestError::TooLong { parts, bytes },
            (false, false) => RequestError::MixedParts,
            (false, true) if has_more => return,
            (false, true) => {
                if let Some(body) = self.finish(xid).and_then(|request| request.body) {
                    self.outputs.push_back(Output::MultipartDone { xid, body });
                }
                return;
            }
        };
        self.finish(xid);
        self.outputs.push_back(Output::RequestFailed { xid, error });
    }

    fn malformed(&mut self, frame: &[u8], error: DecodeError) {
        match (self.state, Header::decode(frame)) {
            (State::Up(_), Ok(header)) => {
                let asked = self.requests.get(&header.xid).map(|request| request.answer);
                let output = if asked == Some(header.kind) {
                    self.finish(header.xid);
                    let error = RequestError::Malformed(error);
                    Output::RequestFailed {
                        xid: header.xid,
                        error,
                    }
                } else {
                    Output::Malformed { header, error }
                };
                self.outputs.push_back(output);
            }
            _ => self.down(error.into()),
        }
    }

    fn deadline_reached(&mut self, now: Duration) {
        match self.state {
            State::Idle | State::Down => {}
            State::AwaitHello { until } | State::AwaitFeatures { until, .. } => {
                if now >= until {
                    self.down(DownReason::HandshakeTimedOut);
                }
            }
            State::Up(_) => {
                match self.silent_at {
                    Some(at) if now >= at => self.silent_too_long(at, now),
                    None if now >= self.echo_at() => {
                        // Counts from when we ask, so that a controller that slept through the switch's signs of life
                        // asks before it gives up.
                        let patience = self
                            .config
                            .silence_limit
                            .saturating_sub(self.config.echo_after);
                        self.ask_for_life(patience, now);
                    }
                    _ => {}
                }
                self.time_out_requests(now);
            }
        }
    }

    /// Nothing was heard by `at`: the connection goes down, or, where we may have slept, the switch is asked once more.
    fn silent_too_long(&mut self, at: Duration, now: Duration) {
        if now >= at.saturating_add(LATE) && !self.asked_again {
            // Its answer may be here, and not read yet.
            self.asked_again = true;
            self.ask_for_life(SECOND_CHANCE, now);
        } else {
            self.down(DownReason::Silent);
        }
    }

    fn time_out_requests(&mut self, now: Duration) {
        while let Some((at, xid)) = self.timeouts.first().copied() {
            if at > now {
                break;
            }
            self.finish(xid);
            let error = RequestError::TimedOut(self.config.request_timeout);
            self.outputs.push_back(Output::RequestFailed { xid, error });
        }
    }

    /// Takes a request off the books.
    fn finish(&mut self, xid: u32) -> Option<Request> {
        let request = self.requests.remove(&xid)?;
        self.timeouts.remove(&(request.times_out_at, xid));
        Some(request)
    }

    fn down(&mut self, reason: DownReason) {
        self.state = State::Down;
        self.requests.clear();
        self.timeouts.clear();
        self.outputs.push_back(Output::Down(reason));
    }

    fn echo_at(&self) -> Duration {
        self.heard_at.saturating_add(self.config.echo_after)
    }

    fn ask_for_life(&mut self, patience: Duration, now: Duration) {
        self.silent_at = Some(now.saturating_add(patience));
        self.last_xid = self.next_xid();
        self.send_own(self.last_xid, &Message::EchoRequest(Vec::new()));
    }

    /// The next id in turn that is not 0 and not under way.
    fn next_xid(&self) -> u32 {
        let mut xid = self.last_xid;
        loop {
            xid = xid.wrapping_add(1);
            if xid != 0 && !self.requests.contains_key(&xid) {
                return xid;
            }
        }
    }

    fn send(&mut self, xid: u32, message: &Message) -> Result<(), EncodeError> {
        let mut bytes = Vec::with_capacity(256);
        message.encode(xid, &mut bytes)?;
        self.outputs.push_back(Output::Send(bytes));
        Ok(())
    }

    /// Sends a message of the session's own, which is never longer than one that was received.
    fn send_own(&mut self, xid: u32, message: &Message) {
        let sent = self.send(xid, message);
        debug_assert_eq!(sent, Ok(()), "{message:?}");
    }
}

/// The kind of message that answers this one, if any does.
fn answer_to(message: &Message) -> Option<MessageType> {
    Some(match message.kind() {
        MessageType::ECHO_REQUEST => MessageType::ECHO_REPLY,
        MessageType::FEATURES_REQUEST => MessageType::FEATURES_REPLY,
        MessageType::GET_CONFIG_REQUEST => MessageType::GET_CONFIG_REPLY,
        MessageType::MULTIPART_REQUEST => MessageType::MULTIPART_REPLY,
        MessageType::BARRIER_REQUEST => MessageType::BARRIER_REPLY,
        MessageType::QUEUE_GET_CONFIG_REQUEST => MessageType::QUEUE_GET_CONFIG_REPLY,
        MessageType::ROLE_REQUEST => MessageType::ROLE_REPLY,
        MessageType::GET_ASYNC_REQUEST => MessageType::GET_ASYNC_REPLY,
        MessageType::EXPERIMENTER => match message {
            Message::Experimenter(inner) if BundleControl::from_experimenter(inner).is_some() => {
                MessageType::EXPERIMENTER
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// Whether a message is of a kind that switches send of their own accord, with ids of their own
/// choice that may be the same as ours.
fn is_unasked(message: &Message) -> bool {
    match message {
        Message::PacketIn(_) | Message::FlowRemoved(_) | Message::PortStatus(_) => true,
        Message::Experimenter(inner) => RoleStatus::from_experimenter(inner).is_some(),
        _ => false,
    }
}
