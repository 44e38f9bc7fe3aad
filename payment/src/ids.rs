//! Names of things on a ledger, without any ledger's own types.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is; only a ledger's adapter knows whether it is well formed.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// Which chain money is on; IOTA: the base58 digest of the genesis checkpoint. Two development ledgers have two
    /// chain ids, and neither is mainnet's, so that money of one never passes for money of another.
    ChainId
}

name! {
    /// An account on a ledger in the ledger's canonical text; IOTA: `0x` and 64 lower-case hex digits.
    /// Equality is equality of the text: normalize what people type with [`crate::ledger::Ledger::parse_address`].
    Address
}

name! {
    /// The digest of a transaction; IOTA: base58. Known before submission, and the same however often it is submitted.
    TxDigest
}

name! {
    /// What is paid with; IOTA: [`Asset::IOTA`].
    Asset
}

impl Asset {
    /// The coin of IOTA, whose smallest unit is the nano (10⁻⁹ IOTA).
    pub const IOTA: &'static str = "0x2::iota::IOTA";

    /// The coin of IOTA.
    #[must_use]
    pub fn iota() -> Self {
        Self::new(Self::IOTA)
    }
}

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The number of milliseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The time `ms` milliseconds later, or the end of time.
    #[must_use]
    pub const fn saturating_add_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
