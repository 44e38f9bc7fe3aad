//! Echo requests are answered where they are read: a switch that asks whether we live need not wait for the core, which
//! may be busy with a thousand others, and does not go away because of that.

use rust_openflow::{Header, MessageType, Version};

/// Bytes of `ofp_header`.
const HEADER: usize = 8;

/// Takes the echo requests out of what a switch sends, however it is cut. HELLO, which comes first, is the core's, as
/// are versions of the protocol that we do not speak; what is no OpenFlow is passed on as it is.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    /// The first message has begun.
    greeted: bool,
    place: Place,
}

/// Where the next byte belongs.
#[derive(Debug)]
enum Place {
    /// To a header, of which this much has come.
    Header(Vec<u8>),
    /// To a message that is passed on, of which so many are to come.
    Other(usize),
    /// To an echo request: what has come of it, and how long it will be.
    Echo(Vec<u8>, usize),
    /// To something that we cannot read.
    Noise,
}

/// What becomes of bytes that were read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    /// For the core.
    pub(super) rest: Vec<u8>,
    /// For the switch: whole messages.
    pub(super) replies: Vec<u8>,
}

impl Default for Place {
    fn default() -> Self {
        Self::Header(Vec::new())
    }
}

impl Echoes {
    /// Sorts the next bytes from the switch. Up to 7 of them are kept until more come.
    pub(super) fn sort(&mut self, mut bytes: &[u8]) -> Sorted {
        let mut sorted = Sorted::default();
        sorted.rest.reserve(bytes.len());
        while !bytes.is_empty() {
            if self.greeted && matches!(&self.place, Place::Header(begun) if begun.is_empty()) {
                let (passed, later) = bytes.split_at(passed_on(bytes));
                sorted.rest.extend(passed);
                bytes = later;
                if bytes.is_empty() {
                    break;
                }
            }
            let wanted = match &self.place {
                Place::Header(begun) => HEADER.saturating_sub(begun.len()),
                Place::Other(left) => *left,
                Place::Echo(begun, length) => length.saturating_sub(begun.len()),
                Place::Noise => bytes.len(),
            };
            let (now, later) = bytes.split_at(wanted.min(bytes.len()));
            bytes = later;
            self.take(now, &mut sorted);
        }
        sorted
    }

    /// Takes bytes that all belong to the same place.
    fn take(&mut self, bytes: &[u8], sorted: &mut Sorted) {
        match &mut self.place {
            Place::Noise => sorted.rest.extend(bytes),
            Place::Other(left) => {
                sorted.rest.extend(bytes);
                *left = left.saturating_sub(bytes.len());
                if *left == 0 {
                    self.place = Place::default();
                }
            }
            Place::Header(begun) => {
                begun.extend(bytes);
                let openflow = begun
                    .first()
                    .is_some_and(|version| (Version::V1_0.0..=Version::V1_5.0).contains(version));
                if !openflow {
                    sorted.rest.append(begun);
                    self.place = Place::Noise;
                } else if begun.len() == HEADER {
                    let begun = std::mem::take(begun);
                    self.place = self.enter(begun, sorted);
                }
            }
            Place::Echo(begun, _) => begun.extend(bytes),
        }
        if let Place::Echo(message, length) = &mut self.place
            && message.len() == *length
        {
            // The answer is the request with another type (OpenFlow 1.3.5 section A.5.3).
            if let Some(kind) = message.get_mut(1) {
                *kind = MessageType::ECHO_REPLY.0;
            }
            sorted.replies.append(message);
            self.place = Place::default();
        }
    }

    /// A whole header has come.
    fn enter(&mut self, bytes: Vec<u8>, sorted: &mut Sorted) -> Place {
        let header = Header::decode(&bytes);
        let begun = bytes.len();
        let first = !std::mem::replace(&mut self.greeted, true);
        match header {
            Ok(header) if usize::from(header.length) >= HEADER => {
                let length = usize::from(header.length);
                let echo =
                    header.kind == MessageType::ECHO_REQUEST && header.version == Version::V1_3;
                if echo && !first {
                    return Place::Echo(bytes, length);
                }
                sorted.rest.extend(bytes);
                match length.saturating_sub(begun) {
                    0 => Place::default(),
                    left => Place::Other(left),
                }
            }
            _ => {
                sorted.rest.extend(bytes);
                Place::Noise
            }
        }
    }
}

/// How many bytes whole messages take that are passed on, up to the first that is not one. Nearly all are.
fn passed_on(bytes: &[u8]) -> usize {
    let mut passed = 0;
    while let Some(header) = bytes
        .get(passed..)
        .and_then(|rest| Header::decode(rest).ok())
    {
        let end = passed + usize::from(header.length);
        let plain = header.version == Version::V1_3 && header.kind != MessageType::ECHO_REQUEST;
        if !plain || usize::from(header.length) < HEADER || end > bytes.len() {
            break;
        }
        passed = end;
    }
    passed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use rust_openflow::{Hello, Message};

    use super::*;

    fn bytes(message: &Message, xid: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.encode(xid, &mut bytes).unwrap();
        bytes
    }

    fn hello() -> Vec<u8> {
        bytes(&Message::Hello(Hello::v1_3()), 1)
    }

    fn sort(pieces: &[&[u8]]) -> Sorted {
        let mut echoes = Echoes::default();
        let mut all = Sorted::default();
        for piece in pieces {
            let sorted = echoes.sort(piece);
            all.rest.extend(sorted.rest);
            all.replies.extend(sorted.replies);
        }
        all
    }

    #[derive(Clone, Debug)]
    enum Said {
        Echo(Vec<u8>),
        Barrier,
        Reply(Vec<u8>),
    }

    fn said() -> impl Strategy<Value = Said> {
        let data = || proptest::collection::vec(any::<u8>(), 0..40);
        prop_oneof![
            data().prop_map(Said::Echo),
            Just(Said::Barrier),
            data().prop_map(Said::Reply),
        ]
    }

    proptest! {
        #[test]
        fn however_it_is_cut_every_echo_is_answered_and_the_rest_passes_in_order(
            said in proptest::collection::vec(said(), 0..30),
            cuts in proptest::collection::vec(1_usize..20, 0..200),
        ) {
            let mut stream = hello();
            let mut wanted = Sorted { rest: hello(), replies: Vec::new() };
            for (xid, said) in (7..).zip(said) {
                match said {
                    Said::Echo(data) => {
                        stream.extend(bytes(&Message::EchoRequest(data.clone()), xid));
                        wanted.replies.extend(bytes(&Message::EchoReply(data), xid));
                    }
                    Said::Barrier => {
                        let reply = bytes(&Message::BarrierReply, xid);
                        stream.extend(&reply);
                        wanted.rest.extend(reply);
                    }
                    Said::Reply(data) => {
                        let reply = bytes(&Message::EchoReply(data), xid);
                        stream.extend(&reply);
                        wanted.rest.extend(reply);
                    }
                }
            }
            let mut pieces = Vec::new();
            let mut left = &*stream;
            for cut in cuts {
                let (piece, later) = left.split_at(cut.min(left.len()));
                pieces.push(piece);
                left = later;
            }
            pieces.push(left);
            prop_assert_eq!(sort(&pieces), wanted);
        }

        #[test]
        fn any_bytes_pass_or_are_echoes_and_no_more_than_one_message_waits(
            noise in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut echoes = Echoes::default();
            let sorted = echoes.sort(&noise);
            let kept = match &echoes.place {
                Place::Header(begun) | Place::Echo(begun, _) => begun.len(),
                _ => 0,
            };
            prop_assert_eq!(sorted.rest.len() + sorted.replies.len() + kept, noise.len());
        }
    }

    #[test]
    fn before_the_hello_and_in_other_versions_nothing_is_answered() {
        let echo = bytes(&Message::EchoRequest(vec![]), 3);
        assert_eq!(sort(&[&echo]).rest, echo);
        let mut old = echo.clone();
        old[0] = Version::V1_0.0;
        assert_eq!(sort(&[&hello(), &old]).rest, [hello(), old].concat());
    }

    #[test]
    fn an_echo_is_answered_behind_pieces_that_end_where_messages_do() {
        let barrier = bytes(&Message::BarrierReply, 5);
        let echo = bytes(&Message::EchoRequest(vec![1]), 6);
        let sorted = sort(&[&hello(), &barrier, &barrier, &echo]);
        assert_eq!(sorted.rest, [hello(), barrier.clone(), barrier].concat());
        assert_eq!(sorted.replies, bytes(&Message::EchoReply(vec![1]), 6));
    }

    #[test]
    fn what_is_no_openflow_passes_at_once() {
        assert_eq!(sort(&[b"hello"]).rest, b"hello");
        // A length shorter than the header.
        let broken = [4, 2, 0, 3, 0, 0, 0, 0, 9];
        assert_eq!(sort(&[&broken]).rest, broken);
    }
}
