//! What holds for every message and for every string of bytes.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::any::{any_message, any_oxm};
use proptest::collection::vec;
use proptest::prelude::*;
use rust_openflow::*;

fn encoded(message: &Message, xid: u32) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(xid, &mut out).unwrap();
    out
}

/// Bytes that at least pass for a message: an honest header and anything behind it.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    (
        0u8..32,
        any::<u32>(),
        vec(prop_oneof![3 => 0u8..9, 1 => any::<u8>()], 0..200),
    )
        .prop_map(|(kind, xid, body)| {
            let mut frame = vec![4, kind];
            frame.extend(u16::try_from(body.len() + 8).unwrap().to_be_bytes());
            frame.extend(xid.to_be_bytes());
            frame.extend(body);
            frame
        })
}

/// What can be read is read the same again after encoding it.
fn reads_the_same_again(frame: &[u8]) -> Result<(), TestCaseError> {
    if let Ok((header, message)) = Message::decode(frame) {
        let again = encoded(&message, header.xid);
        let (reread_header, reread) = Message::decode(&again).unwrap();
        prop_assert_eq!(reread_header.xid, header.xid);
        prop_assert_eq!(&reread, &message);
        prop_assert_eq!(encoded(&reread, header.xid), again);
    }
    Ok(())
}

/// The samples that have something behind their headers.
fn long_samples() -> Vec<Vec<u8>> {
    let bytes = common::samples().into_iter().map(|sample| sample.bytes);
    bytes.filter(|bytes| bytes.len() > Header::LEN).collect()
}

proptest! {
    #[test]
    fn every_message_is_read_as_it_was_written(message in any_message(), xid in any::<u32>()) {
        let bytes = encoded(&message, xid);
        let (header, decoded) = Message::decode(&bytes).unwrap();
        prop_assert_eq!(header.xid, xid);
        prop_assert_eq!(usize::from(header.length), bytes.len());
        prop_assert_eq!(decoded, message);
    }

    #[test]
    fn matches_are_equal_in_whatever_order_they_are_made(
        fields in vec(any_oxm(), 0..12).prop_shuffle(),
        seed in any::<proptest::sample::Index>(),
    ) {
        let one: Match = fields.into_iter().collect();
        let mut shuffled = one.fields().to_vec();
        if !shuffled.is_empty() {
            let at = seed.index(shuffled.len());
            shuffled.rotate_left(at);
            shuffled.reverse();
        }
        let other: Match = shuffled.into_iter().collect();
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one.cmp(&other), std::cmp::Ordering::Equal);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        reads_the_same_again(&bytes)?;
    }

    #[test]
    fn arbitrary_bodies_never_panic_and_read_the_same_again(frame in any_frame()) {
        reads_the_same_again(&frame)?;
    }

    #[test]
    fn spoilt_messages_never_panic_and_read_the_same_again(
        message in any_message(),
        spoils in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&message, 1);
        for (index, value) in spoils {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        reads_the_same_again(&bytes)?;
    }

    #[test]
    fn spoilt_samples_never_panic_and_read_the_same_again(
        sample in proptest::sample::select(
            long_samples()
        ),
        spoils in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = sample;
        for (index, value) in spoils {
            let at = index.index(bytes.len() - 8) + 8;
            bytes[at] = value;
        }
        reads_the_same_again(&bytes)?;
    }

    #[test]
    fn a_stream_gives_the_same_messages_however_it_is_cut(
        messages in vec(any_message(), 1..8),
        cuts in vec(1usize..50, 1..40),
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(|message| encoded(message, 9)).collect();
        let mut framer = Framer::new();
        let mut read = Vec::new();
        let mut rest = &stream[..];
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            rest = tail;
            framer.push(piece);
            while let Some(frame) = framer.next_frame().unwrap() {
                read.push(Message::decode(frame).unwrap().1);
            }
        }
        prop_assert_eq!(read, messages);
        prop_assert_eq!(framer.pending(), 0);
    }

    /// Whatever a peer sends and whenever, a session does not panic, never asks to be woken in
    /// the past for long, and says that it is down once and last.
    #[test]
    fn a_session_survives_any_peer(
        steps in vec((prop_oneof![
            4 => any_frame().prop_map(Some),
            1 => vec(any::<u8>(), 0..30).prop_map(Some),
            2 => Just(None),
        ], 0u64..4_000, any::<bool>()), 0..40),
        friendly in any::<bool>(),
    ) {
        let mut session = SwitchSession::new(SessionConfig::default());
        let mut now = Duration::ZERO;
        session.handle(Input::Connected, now);
        if friendly {
            session.handle(Input::Received(&common::hello()), now);
            session.handle(Input::Received(&common::features_reply(2, 0)), now);
        }
        let mut down = false;
        for (bytes, millis, ask) in steps {
            now += Duration::from_millis(millis);
            match &bytes {
                Some(bytes) => session.handle(Input::Received(bytes), now),
                None => session.handle(Input::DeadlineReached, now),
            }
            if ask {
                let asked = session.request(&Message::BarrierRequest, now);
                prop_assert_eq!(asked.is_ok(), session.features().is_some());
            }
            while let Some(output) = session.poll() {
                prop_assert!(!down, "{:?} after down", output);
                down = matches!(output, Output::Down(_));
                if let Output::Send(bytes) = output {
                    prop_assert!(Message::decode(&bytes).is_ok());
                }
            }
            if bytes.is_none() {
                prop_assert!(session.next_deadline().is_none_or(|at| at > now));
            }
            prop_assert_eq!(session.next_deadline().is_none(), down);
        }
    }
}
