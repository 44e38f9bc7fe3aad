//! Ethernet addresses, and values matched under a mask.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::codec::{DecodeError, Reader, Wire, Writer};
use crate::oxm::{Isid, VlanVid};

/// An Ethernet (MAC) address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All zeros: no address.
    pub const ZERO: Self = Self([0; 6]);
    /// Everybody on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether this names a group (broadcast included) rather than one station.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six two-digit hexadecimal bytes between colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an Ethernet address is six two-digit hexadecimal bytes, such as 02:00:00:00:00:01")]
pub struct ParseMacError;

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(ParseMacError)?;
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| ParseMacError)?;
        }
        if parts.next().is_some() {
            Err(ParseMacError)
        } else {
            Ok(Self(bytes))
        }
    }
}

impl Wire for MacAddr {
    const LEN: usize = 6;
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, DecodeError> {
        r.array(field).map(Self)
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(&self.0);
    }
}

/// A value some of whose bits count, in canonical form: bits outside the mask are zero, and a mask
/// of all ones is no mask. So two of them are equal exactly if they match the same packets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Masked<T> {
    value: T,
    mask: Option<T>,
}

impl<T: Bits> Masked<T> {
    /// Every bit counts.
    #[must_use]
    pub fn exact(value: T) -> Self {
        Self { value, mask: None }
    }

    /// Only the bits set in `mask` count. A mask of all zeros matches everything.
    #[must_use]
    pub fn new(value: T, mask: T) -> Self {
        let mask = mask.and(T::ONES);
        if mask == T::ONES {
            Self::exact(value.and(T::ONES))
        } else {
            Self {
                value: value.and(mask),
                mask: Some(mask),
            }
        }
    }

    /// The bits that count; the others are zero.
    #[must_use]
    pub fn value(self) -> T {
        self.value
    }

    /// Which bits count, or `None` if every bit does.
    #[must_use]
    pub fn mask(self) -> Option<T> {
        self.mask
    }

    /// Whether `value` agrees in every bit that counts.
    #[must_use]
    pub fn matches(self, value: T) -> bool {
        self.mask.map_or(value, |mask| value.and(mask)) == self.value
    }

    /// Whether no bit counts.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.mask == Some(T::ZERO)
    }
}

impl<T: fmt::Debug> fmt::Debug for Masked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mask {
            None => self.value.fmt(f),
            Some(mask) => write!(f, "{:?}/{mask:?}", self.value),
        }
    }
}

/// Types that can be matched under a mask.
pub trait Bits: Copy + Eq + sealed::Sealed {
    /// No bit set.
    const ZERO: Self;
    /// Every bit the field has, set.
    const ONES: Self;
    /// The bits set in both.
    #[must_use]
    fn and(self, mask: Self) -> Self;
}

mod sealed {
    #[allow(unreachable_pub)] // sealed: nameable only inside the crate
    pub trait Sealed {}
}

macro_rules! bits {
    ($($ty:ty: $zero:expr, $ones:expr, |$a:ident, $b:ident| $and:expr;)*) => {$(
        impl sealed::Sealed for $ty {}
        impl Bits for $ty {
            const ZERO: Self = $zero;
            const ONES: Self = $ones;
            fn and(self, mask: Self) -> Self {
                let ($a, $b) = (self, mask);
                $and
            }
        }
    )*};
}

bits! {
    u16: 0, u16::MAX, |a, b| a & b;
    u32: 0, u32::MAX, |a, b| a & b;
    u64: 0, u64::MAX, |a, b| a & b;
    Ipv4Addr: Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, |a, b| a & b;
    Ipv6Addr: Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX), |a, b| a & b;
    MacAddr: MacAddr::ZERO, MacAddr::BROADCAST,
        |a, b| MacAddr(std::array::from_fn(|i| a.0[i] & b.0[i]));
    VlanVid: VlanVid::NONE, VlanVid(0x1fff), |a, b| VlanVid(a.0 & b.0);
    Isid: Isid(0), Isid(0x00ff_ffff), |a, b| Isid(a.0 & b.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_reads_as_it_prints() {
        let mac = MacAddr([0x02, 0, 0, 0xab, 0, 0xff]);
        assert_eq!(mac.to_string(), "02:00:00:ab:00:ff");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for bad in [
            "",
            "02:00:00:ab:00",
            "02:00:00:ab:00:ff:00",
            "2:0:0:ab:0:ff",
            "+2:00:00:ab:00:ff",
        ] {
            assert_eq!(bad.parse::<MacAddr>(), Err(ParseMacError), "{bad}");
        }
    }

    #[test]
    fn masked_values_are_equal_exactly_if_they_match_the_same() {
        let mask = Ipv4Addr::new(255, 255, 255, 0);
        let net = Masked::new(Ipv4Addr::new(10, 1, 2, 3), mask);
        assert_eq!(net, Masked::new(Ipv4Addr::new(10, 1, 2, 0), mask));
        assert!(net.matches(Ipv4Addr::new(10, 1, 2, 77)));
        assert!(!net.matches(Ipv4Addr::new(10, 1, 3, 77)));
        assert_eq!(Masked::new(7u16, u16::MAX), Masked::exact(7));
        assert!(Masked::new(7u16, 0).is_any());
        assert!(!Masked::new(0u16, 1).is_any());
        assert!(!Masked::exact(0u16).is_any());
    }
}
