//! Messages out of a stream of bytes, one after another, with the place where each begins.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use rust_openflow::{DecodeError, Framer, Header, Message};

/// Why reading stopped before the end, and at which byte of the stream.
pub(crate) enum Failure {
    /// The message that begins here cannot be read.
    Decode { offset: u64, why: DecodeError },
    /// The stream ends within the message that begins here.
    Incomplete { offset: u64, left: usize },
    /// Reading or writing failed.
    Io(io::Error),
}

/// Hands every message to `each`, with its place, as soon as it is whole. `idle` is called when
/// nothing more is known to come at once.
///
/// # Errors
/// The first thing that goes wrong; every message before it has been handed out.
pub(crate) fn for_each_message(
    mut input: impl Read,
    mut each: impl FnMut(u64, Header, Message) -> io::Result<()>,
    mut idle: impl FnMut() -> io::Result<()>,
) -> Result<(), Failure> {
    let mut framer = Framer::new();
    let mut buffer = vec![0; 1 << 16];
    let mut offset = 0;
    loop {
        let read = match input.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            break;
        }
        framer.push(buffer.get(..read).unwrap_or_default());
        let bad = |offset| move |why| Failure::Decode { offset, why };
        while let Some(frame) = framer.next_frame().map_err(bad(offset))? {
            let (header, message) = Message::decode(frame).map_err(bad(offset))?;
            each(offset, header, message)?;
            offset += u64::from(header.length);
        }
        idle()?;
    }
    match framer.pending() {
        0 => Ok(()),
        left => Err(Failure::Incomplete { offset, left }),
    }
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
            Self::Incomplete { offset, left } => write!(
                f,
                "message at byte {offset}: the input ends after {left} bytes of it"
            ),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}
