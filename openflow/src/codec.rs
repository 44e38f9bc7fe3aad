//! Checked reading and appending of big-endian bytes: the only place that touches raw buffers.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::header::Version;

/// Why bytes from a peer are not an OpenFlow message. The numbers are what was found on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside `field`.
    #[error("the bytes end inside {field}")]
    Truncated {
        /// The structure member that could not be read.
        field: &'static str,
    },
    /// A length member contradicts the structure it belongs to.
    #[error("{field} has the impossible length {len}")]
    BadLength {
        /// The structure whose length is wrong.
        field: &'static str,
        /// The length it claims, in bytes.
        len: usize,
    },
    /// Bytes remain where the structure has ended.
    #[error("{len} bytes follow the end of {field}")]
    Trailing {
        /// The structure that has ended.
        field: &'static str,
        /// How many bytes follow it.
        len: usize,
    },
    /// The header names a protocol version this crate does not decode.
    #[error("{0} is not {v}", v = Version::V1_3)]
    BadVersion(Version),
    /// The match structure is not a list of OXM fields (`OFPMT_OXM`).
    #[error("match type {0} is not OFPMT_OXM")]
    BadMatchType(u16),
    /// The same field appears twice in one match.
    #[error("OXM class {class:#06x} field {field} appears twice in one match")]
    DuplicateField {
        /// `oxm_class`.
        class: u16,
        /// `oxm_field`.
        field: u8,
    },
}

/// Why a message cannot be put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message is longer than its 16-bit length field can say (65 535 bytes).
    #[error("the message is {len} bytes long, more than the 65535 its length field can say")]
    TooLong {
        /// The length of the whole message, in bytes.
        len: usize,
    },
}

/// Takes big-endian values off the front of a slice; every read is checked.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn take(
        &mut self,
        len: usize,
        field: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self
            .0
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated { field })?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn skip(&mut self, len: usize, field: &'static str) -> Result<(), DecodeError> {
        self.take(len, field).map(drop)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self
            .0
            .split_first_chunk()
            .ok_or(DecodeError::Truncated { field })?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// One `type, length, body` element. `length` counts its own 4 bytes: less is an error, never
    /// an endless loop.
    pub(crate) fn tlv(&mut self, field: &'static str) -> Result<(u16, Reader<'a>), DecodeError> {
        let kind = self.u16(field)?;
        Ok((kind, self.counted(2, field)?))
    }

    /// The rest of a structure whose 16-bit length comes next and counts itself and the `before`
    /// bytes already read.
    pub(crate) fn counted(
        &mut self,
        before: usize,
        field: &'static str,
    ) -> Result<Reader<'a>, DecodeError> {
        let len = usize::from(self.u16(field)?);
        let split = len
            .checked_sub(before + 2)
            .and_then(|n| self.0.split_at_checked(n));
        let (body, tail) = split.ok_or(DecodeError::BadLength { field, len })?;
        self.0 = tail;
        Ok(Reader(body))
    }

    /// States that the structure ends here.
    pub(crate) fn finish(&self, field: &'static str) -> Result<(), DecodeError> {
        match self.0.len() {
            0 => Ok(()),
            len => Err(DecodeError::Trailing { field, len }),
        }
    }

    /// Repeats `one` until nothing is left. `one` must consume at least a byte when it succeeds.
    pub(crate) fn list<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut items = Vec::new();
        while !self.is_empty() {
            items.push(one(self)?);
        }
        Ok(items)
    }
}

/// Appends big-endian values to the caller's buffer.
#[derive(Debug)]
pub(crate) struct Writer<'a>(&'a mut Vec<u8>);

/// Where a 16-bit length is to be filled in, and where its structure began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LengthMark {
    start: usize,
    at: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn zeros(&mut self, count: usize) {
        self.0.resize(self.0.len() + count, 0);
    }

    /// Starts a structure whose 16-bit length member comes next, after `before` bytes of it.
    pub(crate) fn begin(&mut self, before: usize) -> LengthMark {
        let at = self.reserve_u16();
        LengthMark {
            start: at - before,
            at,
        }
    }

    /// Starts a `type, length, body` element.
    pub(crate) fn begin_tlv(&mut self, kind: u16) -> LengthMark {
        self.u16(kind);
        self.begin(2)
    }

    /// Fills in the length of everything since `mark`'s structure began.
    ///
    /// An inner length never exceeds that of the message around it, which
    /// [`crate::Message::encode`] checks, so saturating here hides nothing.
    pub(crate) fn end(&mut self, mark: LengthMark) {
        self.fill_u16(mark.at, self.0.len() - mark.start);
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> usize {
        self.0.len()
    }

    /// Leaves room for a length to be filled in with [`Self::fill_u16`].
    pub(crate) fn reserve_u16(&mut self) -> usize {
        self.u16(0);
        self.0.len() - 2
    }

    pub(crate) fn fill_u16(&mut self, at: usize, len: usize) {
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        if let Some(place) = self.0.get_mut(at..at + 2) {
            place.copy_from_slice(&len.to_be_bytes());
        }
    }

    /// Pads with zeros until the structure of `mark` is a multiple of 8 bytes.
    pub(crate) fn pad8(&mut self, mark: LengthMark) {
        let len = self.0.len() - mark.start;
        self.zeros(len.next_multiple_of(8) - len);
    }
}

/// A value of fixed size inside an OXM field or a structure.
pub(crate) trait Wire: Sized {
    const LEN: usize;
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, DecodeError>;
    fn write(&self, w: &mut Writer<'_>);
}

macro_rules! wire_int {
    ($($int:ident),*) => {$(
        impl Wire for $int {
            const LEN: usize = size_of::<$int>();
            fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, DecodeError> {
                r.$int(field)
            }
            fn write(&self, w: &mut Writer<'_>) {
                w.$int(*self);
            }
        }
    )*};
}
wire_int!(u8, u16, u32, u64);

impl Wire for Ipv4Addr {
    const LEN: usize = 4;
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, DecodeError> {
        r.array::<4>(field).map(Self::from)
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(&self.octets());
    }
}

impl Wire for Ipv6Addr {
    const LEN: usize = 16;
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, DecodeError> {
        r.array::<16>(field).map(Self::from)
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(&self.octets());
    }
}

/// Reads a zero-padded name of `N` bytes. What is not UTF-8 is replaced, and the name then cut so
/// that it still fits where it came from.
pub(crate) fn read_name<const N: usize>(
    r: &mut Reader<'_>,
    field: &'static str,
) -> Result<String, DecodeError> {
    let raw: [u8; N] = r.array(field)?;
    let name = raw.split(|byte| *byte == 0).next().unwrap_or_default();
    // Who cut it at N bytes may have cut a character.
    let whole = match std::str::from_utf8(name) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => name.len(),
    };
    let mut name = String::from_utf8_lossy(name.get(..whole).unwrap_or_default()).into_owned();
    name.truncate(floor_char_boundary(&name, N));
    Ok(name)
}

/// Writes `name` into `N` bytes padded with zeros, cut at a character if it is longer.
pub(crate) fn write_name<const N: usize>(w: &mut Writer<'_>, name: &str) {
    let name = name.get(..floor_char_boundary(name, N)).unwrap_or_default();
    w.bytes(name.as_bytes());
    w.zeros(N - name.len());
}

/// The greatest place at most `limit` bytes in where no character is cut.
fn floor_char_boundary(text: &str, limit: usize) -> usize {
    let mut at = text.len().min(limit);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Shows bytes as hexadecimal digits, at most 32 bytes of them.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(32) {
            write!(f, "{byte:02x}")?;
        }
        match self.0.len() {
            len @ 33.. => write!(f, "... ({len} bytes)"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tlv_shorter_than_its_own_header_is_an_error() {
        for len in 0..4 {
            let bytes = [0, 7, 0, len, 1, 2, 3, 4];
            let error = Reader::new(&bytes).tlv("tlv").map(drop);
            assert_eq!(
                error,
                Err(DecodeError::BadLength {
                    field: "tlv",
                    len: usize::from(len)
                })
            );
        }
    }

    #[test]
    fn a_tlv_that_claims_more_than_there_is_is_an_error() {
        let error = Reader::new(&[0, 7, 0, 9, 1, 2, 3, 4]).tlv("tlv").map(drop);
        assert_eq!(
            error,
            Err(DecodeError::BadLength {
                field: "tlv",
                len: 9
            })
        );
    }

    fn renamed(raw: [u8; 4]) -> (String, [u8; 4]) {
        let name = read_name::<4>(&mut Reader::new(&raw), "name").unwrap();
        let mut out = Vec::new();
        write_name::<4>(&mut Writer::new(&mut out), &name);
        (name, out.try_into().unwrap())
    }

    #[test]
    fn a_name_ends_at_a_zero_or_fills_its_field() {
        assert_eq!(renamed(*b"ab\0\0"), ("ab".to_owned(), *b"ab\0\0"));
        assert_eq!(renamed(*b"eth0"), ("eth0".to_owned(), *b"eth0"));
        assert_eq!(renamed(*b"a\0bc"), ("a".to_owned(), *b"a\0\0\0"));
    }

    #[test]
    fn a_name_that_is_no_text_is_read_the_same_again() {
        let (name, again) = renamed([b'a', 0xff, 0xfe, 0xfd]);
        assert_eq!(name, "a\u{fffd}");
        assert_eq!(renamed(again), (name, again));
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let mut out = Vec::new();
        write_name::<4>(&mut Writer::new(&mut out), "abcé");
        assert_eq!(out, b"abc\0");
    }
}
