//! Random and mutated bytes for every decoder: no panic, no memory beyond a multiple of what was
//! received, and what is read is encoded in as many bytes and read the same again.
//!
//! `PAYFLOW_HOSTILE_INPUTS` asks for more inputs per decoder.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Mutex;
use std::time::Duration;

use peak_alloc::PeakAlloc;
use rust_openflow::*;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The memory is counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// A decoded list takes more memory than its bytes: a field of 4 bytes is an `Oxm`, and a list that
/// grows holds its old and its new room for a moment.
const BYTES_PER_BYTE: usize = 40;
/// Texts, and lists before they grow.
const BYTES_AT_LEAST: usize = 4_096;

fn inputs() -> u64 {
    match std::env::var("PAYFLOW_HOSTILE_INPUTS") {
        Ok(count) => count.parse().expect("PAYFLOW_HOSTILE_INPUTS is a number"),
        Err(_) => 10_000,
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same bytes in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Mostly small numbers, as lengths and types are.
    fn byte(&mut self) -> u8 {
        let byte = self.next().to_le_bytes()[0];
        match self.below(4) {
            0 => byte,
            1 => *self.pick(&[0x7f, 0x80, 0xfe, 0xff]),
            _ => byte % 25,
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }
}

/// A message of one of these kinds: made up, or a seed with something done to it.
fn hostile_frame(chance: &mut Chance, kinds: &[MessageType], seeds: &[Vec<u8>]) -> Vec<u8> {
    let is_made_up = seeds.is_empty() || chance.below(4) == 0;
    let mut frame = if is_made_up {
        let len = match chance.below(100) {
            0 => chance.below(65_528),
            _ => chance.below(160),
        };
        let mut frame = vec![4, chance.pick(kinds).0, 0, 0];
        frame.extend(chance.bytes(4 + len));
        frame
    } else {
        let mut frame = chance.pick(seeds).clone();
        for _ in 0..=chance.below(6) {
            mutate(chance, &mut frame, seeds);
        }
        frame
    };
    frame.truncate(65_535);
    if frame.len() >= Header::LEN && chance.below(16) > 0 {
        let len = u16::try_from(frame.len()).unwrap();
        frame[2..4].copy_from_slice(&len.to_be_bytes());
    }
    frame
}

fn mutate(chance: &mut Chance, frame: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = chance.below(frame.len());
    let run = chance.below(24).min(frame.len() - at);
    match chance.below(9) {
        0 => frame.truncate(at),
        1 => drop(frame.drain(at..at + run)),
        2 => {
            let again = frame[at..at + run].to_vec();
            frame.splice(at..at, again);
        }
        3 => {
            let more = chance.bytes(run);
            frame.splice(at..at, more);
        }
        4 => {
            let other = chance.pick(seeds);
            let from = chance.below(other.len());
            frame.truncate(at);
            frame.extend(&other[from..]);
        }
        5 if frame.len() >= 2 => {
            let len = *chance.pick(&[0u16, 1, 3, 4, 5, 7, 8, 12, 16, 24, 0x7fff, 0x8000, 0xffff]);
            let at = (at & !1).min(frame.len() - 2);
            frame[at..at + 2].copy_from_slice(&len.to_be_bytes());
        }
        6 if at < frame.len() => frame[at] ^= 1 << chance.below(8),
        7 if frame.len() > 16 => {
            // The same element many times.
            let element = frame[16..].to_vec();
            for _ in 0..chance.below(40) {
                frame.extend(&element);
            }
        }
        _ if at < frame.len() => frame[at] = chance.byte(),
        _ => {}
    }
}

/// Runs `decode` and requires that it took no more memory than this.
#[track_caller]
fn within<T>(limit: usize, input: &[u8], decode: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = decode();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert!(
        taken <= limit,
        "{} bytes took {taken} bytes of memory: {input:02x?}",
        input.len()
    );
    result
}

/// Returns whether the bytes were a message.
fn try_message(frame: &[u8]) -> bool {
    let limit = BYTES_AT_LEAST + BYTES_PER_BYTE * frame.len();
    let Ok((header, message)) = within(limit, frame, || Message::decode(frame)) else {
        return false;
    };
    within(limit, frame, || match &message {
        Message::Hello(hello) => drop((hello.bitmap(), hello.supports(Version::V1_3))),
        Message::Experimenter(vendors) => {
            let role = RoleStatus::from_experimenter(vendors);
            let bundle = BundleControl::from_experimenter(vendors);
            drop((role, bundle, BundleAdd::from_experimenter(vendors)));
        }
        Message::Error(error) => drop((error.to_string(), error.experimenter())),
        _ => {}
    });
    let encode = |message: &Message| {
        let mut out = Vec::new();
        message
            .encode_as(header.version, header.xid, &mut out)
            .unwrap();
        out
    };
    let again = encode(&message);
    assert_eq!(again.len(), frame.len(), "{frame:02x?}\n{message:?}");
    let lost = frame.iter().zip(&again).filter(|(was, is)| was != is);
    let only_padding = lost.into_iter().all(|(_, is)| *is == 0);
    assert!(
        only_padding || has_names(&message),
        "{frame:02x?}\n{again:02x?}"
    );
    let (same_header, reread) = Message::decode(&again).unwrap();
    assert_eq!((same_header, &reread), (header, &message));
    assert_eq!(encode(&reread), again);
    true
}

/// What is no UTF-8 in a name is replaced.
fn has_names(message: &Message) -> bool {
    match message {
        Message::PortStatus(_) => true,
        Message::MultipartRequest(request) => {
            matches!(request.body, MultipartRequestBody::TableFeatures(_))
        }
        Message::MultipartReply(reply) => matches!(
            reply.body,
            MultipartReplyBody::Desc(_)
                | MultipartReplyBody::PortDesc(_)
                | MultipartReplyBody::TableFeatures(_)
        ),
        _ => false,
    }
}

fn seeds(kinds: &[MessageType]) -> Vec<Vec<u8>> {
    let samples = common::samples().into_iter().map(|sample| sample.bytes);
    let roundabout = common::rare::needless_bits().bytes;
    let all = samples.chain([roundabout]);
    all.filter(|bytes| kinds.iter().any(|kind| bytes[1] == kind.0))
        .collect()
}

fn try_decoder(kinds: &[MessageType]) {
    let _alone = ALONE.lock().unwrap();
    let seeds = seeds(kinds);
    assert!(!seeds.is_empty(), "no samples of {kinds:?}");
    let mut chance = Chance(u64::from(kinds[0].0));
    let count = inputs();
    let mut read = 0;
    for _ in 0..count {
        let frame = hostile_frame(&mut chance, kinds, &seeds);
        read += u64::from(try_message(&frame));
    }
    println!("{kinds:?}: {count} inputs, {read} of them messages");
    assert!(
        read * 500 > count,
        "only {read} of {count} inputs were messages"
    );
}

macro_rules! decoders {
    ($($name:ident: $($kind:ident),+;)*) => {$(
        #[test]
        fn $name() {
            try_decoder(&[$(MessageType::$kind),+]);
        }
    )*};
}

decoders! {
    hello: HELLO;
    error: ERROR;
    echo: ECHO_REQUEST, ECHO_REPLY;
    experimenter: EXPERIMENTER;
    features: FEATURES_REQUEST, FEATURES_REPLY;
    switch_config: GET_CONFIG_REQUEST, GET_CONFIG_REPLY, SET_CONFIG;
    packet_in: PACKET_IN;
    flow_removed: FLOW_REMOVED;
    port_status: PORT_STATUS;
    packet_out: PACKET_OUT;
    flow_mod: FLOW_MOD;
    group_mod: GROUP_MOD;
    port_mod: PORT_MOD;
    table_mod: TABLE_MOD;
    multipart_request: MULTIPART_REQUEST;
    multipart_reply: MULTIPART_REPLY;
    barrier: BARRIER_REQUEST, BARRIER_REPLY;
    queue_get_config: QUEUE_GET_CONFIG_REQUEST, QUEUE_GET_CONFIG_REPLY;
    role: ROLE_REQUEST, ROLE_REPLY;
    async_config: GET_ASYNC_REQUEST, GET_ASYNC_REPLY, SET_ASYNC;
    meter_mod: METER_MOD;
}

/// The dearest lists there are: elements of 4 bytes, one more of them than the list had room for.
#[test]
fn lists_of_the_smallest_elements() {
    let _alone = ALONE.lock().unwrap();
    let unknown = [0, 99, 0, 4]; // type 99, length 4
    for count in [1_025usize, 4_097, 8_193, 16_200] {
        let list = unknown.repeat(count);
        let len = u16::try_from(list.len()).unwrap();
        let match_of = |fields: &[u8]| {
            let len = u16::try_from(4 + fields.len()).unwrap();
            let padding = vec![0; usize::from(len).next_multiple_of(8) - usize::from(len)];
            [&[0, 1], &len.to_be_bytes()[..], fields, &padding].concat()
        };
        let flow_mod = [&[0; 16][..], &[0; 8], &[0xff; 12], &[0; 4]].concat();
        // A field cannot be in a match twice, but is refused only after all are read.
        let field = [0, 1, 2, 0].repeat(count);
        let table = |property: &[u8]| {
            let len = u16::try_from(64 + property.len()).unwrap();
            [
                &[0, 12, 0, 0, 0, 0, 0, 0][..],
                &len.to_be_bytes(),
                &[0; 62],
                property,
            ]
            .concat()
        };
        let property = |kind: u8| {
            let len = 4 + len;
            let padding = vec![0; usize::from(len).next_multiple_of(8) - usize::from(len)];
            [&[0, kind][..], &len.to_be_bytes(), &list, &padding].concat()
        };
        for (kind, body) in [
            (
                MessageType::PACKET_OUT,
                [&[0xff; 8][..], &len.to_be_bytes(), &[0; 6], &list].concat(),
            ),
            (
                MessageType::FLOW_MOD,
                [&flow_mod[..], &match_of(&[]), &list].concat(),
            ),
            (
                MessageType::FLOW_MOD,
                [&flow_mod, &match_of(&field)[..]].concat(),
            ),
            (MessageType::METER_MOD, [&[0; 8][..], &list].concat()),
            (MessageType::MULTIPART_REQUEST, table(&property(0))),
            (MessageType::MULTIPART_REQUEST, table(&property(4))),
            (MessageType::MULTIPART_REQUEST, table(&property(8))),
            (
                MessageType::MULTIPART_REQUEST,
                table(&unknown.repeat(2).repeat(count / 2)),
            ),
        ] {
            let len = u16::try_from(Header::LEN + body.len()).unwrap();
            let frame = [&[4, kind.0][..], &len.to_be_bytes(), &[0; 4], &body].concat();
            let decoded = within(
                BYTES_AT_LEAST + BYTES_PER_BYTE * frame.len(),
                &frame,
                || Message::decode(&frame),
            );
            let is_twice = matches!(decoded, Err(DecodeError::DuplicateField { .. }));
            assert!(is_twice || decoded.is_ok(), "{kind:?}: {decoded:?}");
        }
    }
}

/// A stream that is all one frame after another, or loses its place.
#[test]
fn framer() {
    let _alone = ALONE.lock().unwrap();
    let all: Vec<MessageType> = (0..=29).map(MessageType).collect();
    let seeds = seeds(&all);
    let mut chance = Chance(1_000);
    let mut framer = Framer::new();
    let mut frames = 0u64;
    for _ in 0..inputs() {
        let piece = match chance.below(40) {
            0 => chance.bytes(40),
            1..20 => hostile_frame(&mut chance, &all, &seeds),
            _ => chance.pick(&seeds).clone(),
        };
        let framed = within(4 * (1 << 16) + 4 * piece.len(), &piece, || {
            framer.push(&piece);
            loop {
                match framer.next_frame() {
                    Ok(Some(frame)) => frames += u64::from(frame.len() >= Header::LEN),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
        });
        if framed.is_err() {
            framer = Framer::new();
        } else {
            assert!(
                framer.pending() < 1 << 16,
                "an incomplete message of 64 KiB"
            );
        }
    }
    assert!(frames > inputs() / 20, "only {frames} frames");
}

/// A switch that completed the handshake and then sends anything.
#[test]
fn session() {
    let _alone = ALONE.lock().unwrap();
    let all: Vec<MessageType> = (0..=29).map(MessageType).collect();
    let seeds = seeds(&all);
    let mut chance = Chance(2_000);
    let mut session = None;
    let mut downs = 0;
    for _ in 0..inputs() {
        let now = Duration::from_secs(1);
        let session = session.get_or_insert_with(|| up_session(now));
        let frame = hostile_frame(&mut chance, &all, &seeds);
        // What waits for the rest of a message, and the answers to be sent.
        let limit = 4 * (1 << 16) + BYTES_PER_BYTE * frame.len();
        let is_down = within(limit, &frame, || {
            session.handle(Input::Received(&frame), now);
            let mut is_down = false;
            while let Some(output) = session.poll() {
                is_down |= matches!(output, Output::Down(_));
            }
            is_down
        });
        if is_down {
            downs += 1;
            *session = up_session(now);
        }
    }
    assert!(downs > 0, "no input lost the stream's place");
}

fn up_session(now: Duration) -> SwitchSession {
    let mut session = SwitchSession::new(SessionConfig::default());
    session.handle(Input::Connected, now);
    session.handle(Input::Received(&common::hello()), now);
    session.handle(Input::Received(&common::features_reply(2, 0)), now);
    while session.poll().is_some() {}
    assert!(session.features().is_some());
    session
}
