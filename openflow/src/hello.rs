//! The first message on a connection: which versions its sender speaks.

use std::fmt;

use crate::codec::{Hex, Reader, Writer};
use crate::header::Version;

/// Which versions a peer speaks, `ofp_hello`: 8 bytes, header included, and elements
/// (`ofp_hello_elem_header`). Its elements are kept as they came: a receiver must
/// tolerate any, and older peers send none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hello {
    /// Version in the header: the highest its sender speaks.
    pub version: Version,
    /// Everything after the header.
    pub elements: Vec<u8>,
}

/// `OFPHET_VERSIONBITMAP`.
const ELEMENT_VERSION_BITMAP: u16 = 1;

impl Hello {
    /// Speaks OpenFlow 1.3 and nothing else.
    #[must_use]
    pub fn v1_3() -> Self {
        let mut elements = Vec::new();
        let mut w = Writer::new(&mut elements);
        let mark = w.begin_tlv(ELEMENT_VERSION_BITMAP);
        w.u32(1 << Version::V1_3.0);
        w.end(mark);
        Self {
            version: Version::V1_3,
            elements,
        }
    }

    /// Whether the sender and a speaker of `version` alone can talk: by the bitmap if there is
    /// one, else every version up to that of the header counts as spoken (OpenFlow 1.3.1, section
    /// 6.3.1).
    #[must_use]
    pub fn supports(&self, version: Version) -> bool {
        match self.bitmap() {
            Some(words) => {
                let (word, bit) = (usize::from(version.0 / 32), version.0 % 32);
                words.get(word).is_some_and(|word| word >> bit & 1 == 1)
            }
            None => version <= self.version,
        }
    }

    /// The version bitmap, if the sender gave one: version `n` is bit `n % 32` of word `n / 32`.
    #[must_use]
    pub fn bitmap(&self) -> Option<Vec<u32>> {
        let mut r = Reader::new(&self.elements);
        while !r.is_empty() {
            let (kind, mut body) = r.tlv("hello element").ok()?;
            if kind == ELEMENT_VERSION_BITMAP {
                let mut words = Vec::new();
                while let Ok(word) = body.u32("bitmap") {
                    words.push(word);
                }
                return Some(words);
            }
            // Elements are padded to 8 bytes, which their length does not count.
            let len = body.len() + 4;
            r.skip(len.next_multiple_of(8) - len, "hello padding")
                .ok()?;
        }
        None
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Hello({}, elements {})",
            self.version,
            Hex(&self.elements)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_bitmap_every_version_up_to_the_header_is_spoken() {
        let hello = |version| Hello {
            version,
            elements: Vec::new(),
        };
        assert!(hello(Version::V1_3).supports(Version::V1_3));
        assert!(hello(Version::V1_5).supports(Version::V1_3));
        assert!(!hello(Version::V1_0).supports(Version::V1_3));
    }

    #[test]
    fn the_bitmap_overrules_the_header() {
        let elements = vec![0, 1, 0, 8, 0, 0, 0, 0b0100_0010]; // versions 1 and 6
        let hello = Hello {
            version: Version::V1_5,
            elements,
        };
        assert!(!hello.supports(Version::V1_3));
        assert!(hello.supports(Version::V1_5));
        assert!(!hello.supports(Version(200)));
    }

    #[test]
    fn unknown_elements_before_the_bitmap_are_skipped_with_their_padding() {
        let mut elements = vec![0, 9, 0, 5, 0xaa, 0, 0, 0]; // 5 bytes and 3 of padding
        elements.extend(Hello::v1_3().elements);
        assert!(
            Hello {
                version: Version::V1_0,
                elements
            }
            .supports(Version::V1_3)
        );
    }

    #[test]
    fn garbage_instead_of_elements_counts_as_none() {
        let hello = Hello {
            version: Version::V1_3,
            elements: vec![0, 1, 0, 0, 1],
        };
        assert_eq!(hello.bitmap(), None);
        assert!(hello.supports(Version::V1_3));
    }
}
