//! The 8 bytes every message starts with, and cutting a byte stream into whole messages.

use crate::code_points::wire_enum;
use crate::codec::{DecodeError, Reader, Writer};

wire_enum! {
    /// Version number of the protocol on the wire, `version` of `ofp_header`.
    pub struct Version(u8) {
        V1_0 = 1;
        V1_1 = 2;
        V1_2 = 3;
        V1_3 = 4;
        V1_4 = 5;
        V1_5 = 6;
    }
}

wire_enum! {
    /// Kind of a message, `enum ofp_type`.
    pub struct MessageType(u8) {
        HELLO = 0;
        ERROR = 1;
        ECHO_REQUEST = 2;
        ECHO_REPLY = 3;
        EXPERIMENTER = 4;
        FEATURES_REQUEST = 5;
        FEATURES_REPLY = 6;
        GET_CONFIG_REQUEST = 7;
        GET_CONFIG_REPLY = 8;
        SET_CONFIG = 9;
        PACKET_IN = 10;
        FLOW_REMOVED = 11;
        PORT_STATUS = 12;
        PACKET_OUT = 13;
        FLOW_MOD = 14;
        GROUP_MOD = 15;
        PORT_MOD = 16;
        TABLE_MOD = 17;
        MULTIPART_REQUEST = 18;
        MULTIPART_REPLY = 19;
        BARRIER_REQUEST = 20;
        BARRIER_REPLY = 21;
        QUEUE_GET_CONFIG_REQUEST = 22;
        QUEUE_GET_CONFIG_REPLY = 23;
        ROLE_REQUEST = 24;
        ROLE_REPLY = 25;
        GET_ASYNC_REQUEST = 26;
        GET_ASYNC_REPLY = 27;
        SET_ASYNC = 28;
        METER_MOD = 29;
    }
}

/// What every message starts with, `ofp_header`: 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Header {
    /// Protocol version the sender speaks.
    pub version: Version,
    /// Kind of the message.
    pub kind: MessageType,
    /// Length of the whole message in bytes, these 8 included.
    pub length: u16,
    /// Transaction id: an answer carries that of its request.
    pub xid: u32,
}

impl Header {
    /// Length of a header, in bytes.
    pub const LEN: usize = 8;

    /// Reads the header at the start of `bytes`, which may be longer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] below 8 bytes, [`DecodeError::BadLength`] if `length` does not
    /// even cover the header.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(bytes))
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = Self {
            version: Version(r.u8("version")?),
            kind: MessageType(r.u8("type")?),
            length: r.u16("length")?,
            xid: r.u32("xid")?,
        };
        match usize::from(header.length) {
            len if len < Self::LEN => Err(DecodeError::BadLength {
                field: "header",
                len,
            }),
            _ => Ok(header),
        }
    }

    pub(crate) fn write(self, w: &mut Writer<'_>) {
        w.u8(self.version.0);
        w.u8(self.kind.0);
        w.u16(self.length);
        w.u32(self.xid);
    }
}

/// Cuts a byte stream into whole messages, however the bytes arrive.
///
/// Holds at most one incomplete message (65 535 bytes) beyond what was pushed last. After an error
/// the stream has lost its place and every further call gives the same error.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    start: usize,
    version: Option<Version>,
}

impl Framer {
    /// An empty stream that accepts any version, as before the handshake.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From here on, a message of another version is an error.
    pub fn require_version(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// Appends what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start.min(self.buffer.len()));
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, header included, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`DecodeError::BadLength`] for a length below 8, [`DecodeError::BadVersion`] for another
    /// version than the required one. Both are told as soon as the 8 bytes of the header are there.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, DecodeError> {
        let unread = self.buffer.get(self.start..).unwrap_or_default();
        if unread.len() < Header::LEN {
            return Ok(None);
        }
        let header = Header::decode(unread)?;
        if self
            .version
            .is_some_and(|required| required != header.version)
        {
            return Err(DecodeError::BadVersion(header.version));
        }
        let frame = unread.get(..usize::from(header.length));
        if let Some(frame) = frame {
            self.start += frame.len();
        }
        Ok(frame)
    }

    /// Bytes received that no frame has been made of yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len().saturating_sub(self.start)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TWO_ECHOES: [u8; 18] = [
        0x04, 0x02, 0x00, 0x0a, 0x00, 0x00, 0x00, 0x01, b'h', b'i', // echo request, 10 bytes
        0x04, 0x02, 0x00, 0x08, 0x00, 0x00, 0x00, 0x02, // echo request, header only
    ];

    #[test]
    fn frames_do_not_depend_on_how_the_bytes_arrive() {
        for chunk in 1..=TWO_ECHOES.len() {
            let mut framer = Framer::new();
            let mut frames = Vec::new();
            for piece in TWO_ECHOES.chunks(chunk) {
                framer.push(piece);
                while let Some(frame) = framer.next_frame().unwrap() {
                    frames.push(frame.to_vec());
                }
            }
            assert_eq!(
                frames,
                [&TWO_ECHOES[..10], &TWO_ECHOES[10..]],
                "chunks of {chunk}"
            );
            assert_eq!(framer.pending(), 0);
        }
    }

    #[test]
    fn a_length_below_8_is_an_error_and_not_an_endless_loop() {
        for length in 0..8 {
            let mut framer = Framer::new();
            framer.push(&[4, 2, 0, length, 0, 0, 0, 1, 0, 0]);
            let error = Err(DecodeError::BadLength {
                field: "header",
                len: usize::from(length),
            });
            assert_eq!(framer.next_frame(), error);
            framer.push(&TWO_ECHOES);
            assert_eq!(framer.next_frame(), error, "the stream has lost its place");
        }
    }

    #[test]
    fn another_version_is_an_error_once_one_is_required() {
        let mut framer = Framer::new();
        framer.push(&[6, 0, 0, 8, 0, 0, 0, 1]);
        assert!(framer.next_frame().unwrap().is_some());
        framer.require_version(Version::V1_3);
        framer.push(&[6, 2, 0, 8, 0, 0, 0, 1]);
        assert_eq!(
            framer.next_frame(),
            Err(DecodeError::BadVersion(Version::V1_5))
        );
    }
}
