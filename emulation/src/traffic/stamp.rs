//! The first bytes of every payload.

/// Stream, number and time of sending; the rest of the payload is zero.
///
/// On the wire, big-endian: magic (4 bytes), stream (4), number (8), Unix time in nanoseconds (8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which sender: spoofed and real packets of the same addresses differ here.
    pub stream: u32,
    /// Counts the packets of the stream, from 0, without gaps.
    pub number: u64,
    /// When the packet was handed to the system, Unix time in nanoseconds.
    pub sent_unix_ns: u64,
}

const MAGIC: [u8; 4] = *b"pfT1";

impl Stamp {
    /// Encoded size in bytes, and therefore the smallest payload.
    pub const BYTES: usize = 24;

    /// The bytes to put in front of the payload.
    #[must_use]
    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let fields = MAGIC
            .into_iter()
            .chain(self.stream.to_be_bytes())
            .chain(self.number.to_be_bytes())
            .chain(self.sent_unix_ns.to_be_bytes());
        for (byte, value) in bytes.iter_mut().zip(fields) {
            *byte = value;
        }
        bytes
    }

    /// The stamp of a payload; `None` when it is not one of ours.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (magic, rest) = payload.split_first_chunk::<4>()?;
        let (stream, rest) = rest.split_first_chunk::<4>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (sent, _) = rest.split_first_chunk::<8>()?;
        (*magic == MAGIC).then(|| Self {
            stream: u32::from_be_bytes(*stream),
            number: u64::from_be_bytes(*number),
            sent_unix_ns: u64::from_be_bytes(*sent),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_wire_and_nothing_shorter_is_one() {
        let stamp = Stamp {
            stream: 7,
            number: 1 << 40,
            sent_unix_ns: 1_790_000_000_123_456_789,
        };
        let bytes = stamp.encode();
        assert_eq!(Stamp::decode(&bytes), Some(stamp));
        for length in 0..bytes.len() {
            assert_eq!(
                Stamp::decode(bytes.get(..length).unwrap_or_default()),
                None,
                "{length} bytes"
            );
        }
        assert_eq!(Stamp::decode(&[0; 64]), None);
    }
}
