//! Reads OpenFlow messages from standard input, any number after each other, and writes them to
//! standard output decoded and encoded again. For comparing this codec with another, and for
//! fuzzing it from outside:
//!
//! ```text
//! cargo run -p rust_openflow --example roundtrip < capture.bin | cmp - capture.bin
//! ```
//!
//! At the first message that cannot be read it writes what came before, says on standard error at
//! which byte and why, and exits with 1.

use std::fmt;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use rust_openflow::{DecodeError, EncodeError, Framer, Message};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("roundtrip: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let mut output = Vec::with_capacity(input.len());
    let result = convert(&input, &mut output);
    let mut stdout = io::stdout().lock();
    stdout.write_all(&output)?;
    stdout.flush()?;
    result
}

fn convert(input: &[u8], output: &mut Vec<u8>) -> Result<(), Failure> {
    let mut framer = Framer::new();
    framer.push(input);
    loop {
        let offset = input.len() - framer.pending();
        let bad = |why| Failure::Decode { offset, why };
        let Some(frame) = framer.next_frame().map_err(bad)? else {
            break;
        };
        let (header, message) = Message::decode(frame).map_err(bad)?;
        message
            .encode(header.xid, output)
            .map_err(|why| Failure::Encode { offset, why })?;
    }
    match framer.pending() {
        0 => Ok(()),
        left => Err(Failure::Incomplete {
            offset: input.len() - left,
            left,
        }),
    }
}

enum Failure {
    Decode { offset: usize, why: DecodeError },
    Encode { offset: usize, why: EncodeError },
    Incomplete { offset: usize, left: usize },
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode { offset, why } => write!(f, "message at byte {offset}: {why}"),
            Self::Encode { offset, why } => write!(f, "message at byte {offset}: {why}"),
            Self::Incomplete { offset, left } => {
                write!(
                    f,
                    "message at byte {offset}: the input ends after {left} bytes of it"
                )
            }
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}
