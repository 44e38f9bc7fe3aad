//! What goes into a session and what comes out.

use std::time::Duration;

use crate::codec::{DecodeError, EncodeError};
use crate::error::OfpError;
use crate::header::{Header, MessageType, Version};
use crate::message::Message;
use crate::multipart::MultipartReplyBody;
use crate::switch::SwitchFeatures;

/// What happens to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// The connection is there.
    Connected,
    /// These bytes came, in any pieces.
    Received(&'a [u8]),
    /// [`super::SwitchSession::next_deadline`] is reached. Too early or too often does no harm.
    DeadlineReached,
    /// The connection is gone.
    Closed,
}

/// What a session wants done or known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send these bytes.
    Send(Vec<u8>),
    /// The handshake is done: requests may be made.
    Up(SwitchFeatures),
    /// A message that answers no request of ours under way: packet-in, flow-removed, port-status,
    /// a vendor's, or an answer too late.
    Message {
        /// Its transaction id.
        xid: u32,
        /// The message.
        message: Message,
    },
    /// The answer to a request, other than the two below.
    Reply {
        /// The request.
        xid: u32,
        /// The answer.
        message: Message,
    },
    /// Everything sent before this barrier is done or was refused before.
    BarrierReply {
        /// The barrier.
        xid: u32,
    },
    /// The whole answer to a multipart request, put together from its parts.
    MultipartDone {
        /// The request.
        xid: u32,
        /// The answer.
        body: MultipartReplyBody,
    },
    /// The switch refused a message of ours, whether or not it was one that is answered.
    Error {
        /// The message refused.
        xid: u32,
        /// Why.
        error: OfpError,
    },
    /// A request got no usable answer. Whether the switch did what it asked is unknown.
    RequestFailed {
        /// The request.
        xid: u32,
        /// Why.
        error: RequestError,
    },
    /// A message could not be read and was passed over; the connection goes on.
    Malformed {
        /// Its header.
        header: Header,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// It is over: close the connection. Comes once, and last. Whether requests under way were
    /// done is unknown.
    Down(DownReason),
}

/// Why a request got no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The whole answer did not come in time.
    #[error("no whole answer within {0:?}")]
    TimedOut(Duration),
    /// The answer has more parts or bytes than allowed.
    #[error("the answer is too long: {parts} parts, {bytes} bytes")]
    TooLong {
        /// Parts so far.
        parts: usize,
        /// Bytes so far.
        bytes: usize,
    },
    /// The parts of the answer do not belong together.
    #[error("the parts of the answer are of different kinds")]
    MixedParts,
    /// The answer is of a kind that does not answer this request.
    #[error("the answer is a message of type {0}")]
    WrongReply(MessageType),
    /// The answer could not be read.
    #[error("the answer cannot be read: {0}")]
    Malformed(#[from] DecodeError),
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The handshake is not done, or the session is over.
    #[error("the session is not up")]
    NotUp,
    /// Too many requests wait for answers.
    #[error("{0} requests wait for answers already")]
    TooManyRequests(usize),
    /// The message does not fit on the wire.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DownReason {
    /// The connection was closed.
    #[error("the connection was closed")]
    Closed,
    /// The handshake took too long.
    #[error("the handshake was not done in time")]
    HandshakeTimedOut,
    /// Nothing was heard for too long.
    #[error("nothing was heard from the switch for too long")]
    Silent,
    /// The switch does not speak OpenFlow 1.3.
    #[error("the switch does not speak OpenFlow 1.3 (it says {0})")]
    NoCommonVersion(Version),
    /// The switch refused our HELLO.
    #[error("the switch refused the handshake: {0}")]
    Refused(OfpError),
    /// A second connection of a switch, which is not used.
    #[error("auxiliary connection {0} is not used")]
    Auxiliary(u8),
    /// A message out of turn in the handshake.
    #[error("message of type {0} out of turn in the handshake")]
    OutOfTurn(MessageType),
    /// The byte stream, or a message of the handshake, makes no sense.
    #[error("the byte stream makes no sense: {0}")]
    BadStream(#[from] DecodeError),
}
