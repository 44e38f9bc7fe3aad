//! A stream, cut where its first byte says: whole frames come out, the same for every cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rust_openflow::{DecodeError, Framer};

fuzz_target!(|bytes: &[u8]| {
    let piece = bytes.first().map_or(1, |first| usize::from(*first).max(1));
    assert_eq!(frames(bytes, piece), frames(bytes, usize::MAX));
});

fn frames(bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, Result<(), DecodeError>) {
    let mut framer = Framer::new();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        framer.push(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        assert!(
            framer.pending() < 1 << 16,
            "an incomplete message of 64 KiB"
        );
    }
    (frames, Ok(()))
}
