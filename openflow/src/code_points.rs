//! Numbers and bits with names, where an unknown one is data and no error.

/// A code point of the protocol: a number with named values, where an unknown number is data that
/// is re-encoded as it came.
macro_rules! wire_enum {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($repr:ident) {
            $( $(#[$const_meta:meta])* $konst:ident = $value:expr; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            $(
                #[doc = concat!("`", stringify!($konst), "`, ", stringify!($value), ".")]
                $(#[$const_meta])*
                pub const $konst: Self = Self($value);
            )*

            /// The name of this value, if it has one here.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $( Self::$konst => Some(stringify!($konst)), )*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}", self.0),
                }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl crate::codec::Wire for $name {
            const LEN: usize = size_of::<$repr>();
            fn read(
                r: &mut crate::codec::Reader<'_>,
                field: &'static str,
            ) -> Result<Self, crate::codec::DecodeError> {
                r.$repr(field).map(Self)
            }
            fn write(&self, w: &mut crate::codec::Writer<'_>) {
                w.$repr(self.0);
            }
        }
    };
}

/// A set of bits with named members; unknown bits are kept.
macro_rules! wire_flags {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($repr:ident) {
            $( $(#[$const_meta:meta])* $konst:ident = $value:expr; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            /// No bit set.
            pub const NONE: Self = Self(0);
            $(
                #[doc = concat!("`", stringify!($konst), "`, ", stringify!($value), ".")]
                $(#[$const_meta])*
                pub const $konst: Self = Self($value);
            )*

            /// Whether every bit of `other` is set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl std::ops::BitAnd for $name {
            type Output = Self;
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut left = self.0;
                let mut separator = "";
                $(
                    if $value != 0 && left & $value == $value {
                        write!(f, "{separator}{}", stringify!($konst))?;
                        separator = "|";
                        left &= !$value;
                    }
                )*
                if left != 0 || separator.is_empty() {
                    write!(f, "{separator}{left:#x}")?;
                }
                Ok(())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

pub(crate) use {wire_enum, wire_flags};
