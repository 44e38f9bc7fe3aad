//! Who an entry belongs to, written into its cookie.

use super::FlowId;

/// Bits of the cookie that hold the reservation number.
const RESERVATION_BITS: u32 = 40;
/// Bits of the cookie that hold the generation.
const GENERATION_BITS: u32 = 16;

/// The owner of all entries that belong to no reservation. Reservation numbers begin at 1.
pub(crate) const INFRASTRUCTURE: FlowId = FlowId {
    reservation: 0,
    generation: 0,
};

/// Marks the entries of one controller domain on switches that others may use as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnerTag(pub(crate) u8);

impl OwnerTag {
    /// Owner tag (8 bits), reservation number (40 bits), generation (16 bits), the tag highest.
    /// A reservation number above 40 bits is cut; [`super::Network::install`] refuses it.
    pub(crate) fn cookie(self, flow: FlowId) -> u64 {
        let reservation = flow.reservation & ((1 << RESERVATION_BITS) - 1);
        u64::from(self.0) << (RESERVATION_BITS + GENERATION_BITS)
            | reservation << GENERATION_BITS
            | u64::from(flow.generation)
    }

    /// Whose entry has this cookie; `None` if it has another owner's tag.
    pub(crate) fn owner(self, cookie: u64) -> Option<FlowId> {
        let [tag, r4, r3, r2, r1, r0, g1, g0] = cookie.to_be_bytes();
        (tag == self.0).then(|| FlowId {
            reservation: u64::from_be_bytes([0, 0, 0, r4, r3, r2, r1, r0]),
            generation: u16::from_be_bytes([g1, g0]),
        })
    }
}

impl FlowId {
    /// Reservation numbers are below this: 2^40, what fits the cookie.
    pub const RESERVATION_LIMIT: u64 = 1 << RESERVATION_BITS;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cookie_names_its_owner_and_nobody_elses(tag: u8, other: u8, reservation in 0..FlowId::RESERVATION_LIMIT, generation: u16) {
            let flow = FlowId { reservation, generation };
            let cookie = OwnerTag(tag).cookie(flow);
            prop_assert_eq!(OwnerTag(tag).owner(cookie), Some(flow));
            prop_assert_eq!(OwnerTag(other).owner(cookie).is_some(), tag == other);
        }
    }

    #[test]
    fn a_cookie_reads_in_hexadecimal_as_tag_reservation_generation() {
        let flow = FlowId {
            reservation: 0x12_3456_789a,
            generation: 0xbcde,
        };
        assert_eq!(OwnerTag(0x50).cookie(flow), 0x5012_3456_789a_bcde);
    }
}
