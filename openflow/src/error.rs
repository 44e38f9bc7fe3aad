//! What a switch refuses, and why.

use std::fmt;

use crate::code_points::wire_enum;
use crate::codec::{DecodeError, Hex, Reader, Wire, Writer};
use crate::experimenter::ONF;

wire_enum! {
    /// What kind of thing failed, `enum ofp_error_type`. A flow-mod that names a missing meter
    /// fails with a type of `METER_MOD_FAILED`: find out what failed by xid, not by this.
    pub struct ErrorType(u16) {
        HELLO_FAILED = 0;
        BAD_REQUEST = 1;
        BAD_ACTION = 2;
        BAD_INSTRUCTION = 3;
        BAD_MATCH = 4;
        FLOW_MOD_FAILED = 5;
        GROUP_MOD_FAILED = 6;
        PORT_MOD_FAILED = 7;
        TABLE_MOD_FAILED = 8;
        QUEUE_OP_FAILED = 9;
        SWITCH_CONFIG_FAILED = 10;
        ROLE_REQUEST_FAILED = 11;
        METER_MOD_FAILED = 12;
        TABLE_FEATURES_FAILED = 13;
        /// The data starts with the vendor's 32-bit id, and the code is the vendor's.
        EXPERIMENTER = 0xffff;
    }
}

/// Type and code of an error: only together do they mean something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode {
    /// What kind of thing failed.
    pub kind: ErrorType,
    /// Why, in the numbers of that kind.
    pub code: u16,
}

macro_rules! error_codes {
    ($( $kind:ident { $($konst:ident = $code:literal $name:literal;)* } )*) => {
        impl ErrorCode {
            $($(
                #[doc = concat!("`", stringify!($kind), "` / `", $name, "`.")]
                pub const $konst: Self = Self { kind: ErrorType::$kind, code: $code };
            )*)*

            /// The specification's name of the code, if it has one here.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $($( Self::$konst => Some($name), )*)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    HELLO_FAILED {
        HELLO_INCOMPATIBLE = 0 "INCOMPATIBLE";
        HELLO_EPERM = 1 "EPERM";
    }
    BAD_REQUEST {
        BAD_VERSION = 0 "BAD_VERSION";
        BAD_TYPE = 1 "BAD_TYPE";
        BAD_MULTIPART = 2 "BAD_MULTIPART";
        BAD_EXPERIMENTER = 3 "BAD_EXPERIMENTER";
        BAD_EXP_TYPE = 4 "BAD_EXP_TYPE";
        REQUEST_EPERM = 5 "EPERM";
        BAD_LEN = 6 "BAD_LEN";
        BUFFER_EMPTY = 7 "BUFFER_EMPTY";
        BUFFER_UNKNOWN = 8 "BUFFER_UNKNOWN";
        REQUEST_BAD_TABLE_ID = 9 "BAD_TABLE_ID";
        IS_SLAVE = 10 "IS_SLAVE";
        REQUEST_BAD_PORT = 11 "BAD_PORT";
        BAD_PACKET = 12 "BAD_PACKET";
        MULTIPART_BUFFER_OVERFLOW = 13 "MULTIPART_BUFFER_OVERFLOW";
    }
    BAD_ACTION {
        ACTION_BAD_TYPE = 0 "BAD_TYPE";
        ACTION_BAD_LEN = 1 "BAD_LEN";
        ACTION_BAD_EXPERIMENTER = 2 "BAD_EXPERIMENTER";
        ACTION_BAD_EXP_TYPE = 3 "BAD_EXP_TYPE";
        BAD_OUT_PORT = 4 "BAD_OUT_PORT";
        ACTION_BAD_ARGUMENT = 5 "BAD_ARGUMENT";
        ACTION_EPERM = 6 "EPERM";
        ACTION_TOO_MANY = 7 "TOO_MANY";
        BAD_QUEUE = 8 "BAD_QUEUE";
        BAD_OUT_GROUP = 9 "BAD_OUT_GROUP";
        MATCH_INCONSISTENT = 10 "MATCH_INCONSISTENT";
        UNSUPPORTED_ORDER = 11 "UNSUPPORTED_ORDER";
        BAD_TAG = 12 "BAD_TAG";
        BAD_SET_TYPE = 13 "BAD_SET_TYPE";
        BAD_SET_LEN = 14 "BAD_SET_LEN";
        BAD_SET_ARGUMENT = 15 "BAD_SET_ARGUMENT";
    }
    BAD_INSTRUCTION {
        UNKNOWN_INST = 0 "UNKNOWN_INST";
        UNSUP_INST = 1 "UNSUP_INST";
        INST_BAD_TABLE_ID = 2 "BAD_TABLE_ID";
        UNSUP_METADATA = 3 "UNSUP_METADATA";
        UNSUP_METADATA_MASK = 4 "UNSUP_METADATA_MASK";
        INST_BAD_EXPERIMENTER = 5 "BAD_EXPERIMENTER";
        INST_BAD_EXP_TYPE = 6 "BAD_EXP_TYPE";
        INST_BAD_LEN = 7 "BAD_LEN";
        INST_EPERM = 8 "EPERM";
    }
    BAD_MATCH {
        MATCH_BAD_TYPE = 0 "BAD_TYPE";
        MATCH_BAD_LEN = 1 "BAD_LEN";
        MATCH_BAD_TAG = 2 "BAD_TAG";
        BAD_DL_ADDR_MASK = 3 "BAD_DL_ADDR_MASK";
        BAD_NW_ADDR_MASK = 4 "BAD_NW_ADDR_MASK";
        BAD_WILDCARDS = 5 "BAD_WILDCARDS";
        BAD_FIELD = 6 "BAD_FIELD";
        MATCH_BAD_VALUE = 7 "BAD_VALUE";
        MATCH_BAD_MASK = 8 "BAD_MASK";
        BAD_PREREQ = 9 "BAD_PREREQ";
        DUP_FIELD = 10 "DUP_FIELD";
        MATCH_EPERM = 11 "EPERM";
    }
    FLOW_MOD_FAILED {
        FLOW_UNKNOWN = 0 "UNKNOWN";
        TABLE_FULL = 1 "TABLE_FULL";
        FLOW_BAD_TABLE_ID = 2 "BAD_TABLE_ID";
        OVERLAP = 3 "OVERLAP";
        FLOW_EPERM = 4 "EPERM";
        BAD_TIMEOUT = 5 "BAD_TIMEOUT";
        FLOW_BAD_COMMAND = 6 "BAD_COMMAND";
        FLOW_BAD_FLAGS = 7 "BAD_FLAGS";
    }
    GROUP_MOD_FAILED {
        GROUP_EXISTS = 0 "GROUP_EXISTS";
        INVALID_GROUP = 1 "INVALID_GROUP";
        WEIGHT_UNSUPPORTED = 2 "WEIGHT_UNSUPPORTED";
        OUT_OF_GROUPS = 3 "OUT_OF_GROUPS";
        OUT_OF_BUCKETS = 4 "OUT_OF_BUCKETS";
        CHAINING_UNSUPPORTED = 5 "CHAINING_UNSUPPORTED";
        WATCH_UNSUPPORTED = 6 "WATCH_UNSUPPORTED";
        GROUP_LOOP = 7 "LOOP";
        UNKNOWN_GROUP = 8 "UNKNOWN_GROUP";
        CHAINED_GROUP = 9 "CHAINED_GROUP";
        GROUP_BAD_TYPE = 10 "BAD_TYPE";
        GROUP_BAD_COMMAND = 11 "BAD_COMMAND";
        BAD_BUCKET = 12 "BAD_BUCKET";
        BAD_WATCH = 13 "BAD_WATCH";
        GROUP_EPERM = 14 "EPERM";
    }
    PORT_MOD_FAILED {
        PORT_BAD_PORT = 0 "BAD_PORT";
        BAD_HW_ADDR = 1 "BAD_HW_ADDR";
        PORT_BAD_CONFIG = 2 "BAD_CONFIG";
        PORT_BAD_ADVERTISE = 3 "BAD_ADVERTISE";
        PORT_EPERM = 4 "EPERM";
    }
    TABLE_MOD_FAILED {
        TABLE_BAD_TABLE = 0 "BAD_TABLE";
        TABLE_BAD_CONFIG = 1 "BAD_CONFIG";
        TABLE_EPERM = 2 "EPERM";
    }
    QUEUE_OP_FAILED {
        QUEUE_BAD_PORT = 0 "BAD_PORT";
        QUEUE_BAD_QUEUE = 1 "BAD_QUEUE";
        QUEUE_EPERM = 2 "EPERM";
    }
    SWITCH_CONFIG_FAILED {
        CONFIG_BAD_FLAGS = 0 "BAD_FLAGS";
        CONFIG_BAD_LEN = 1 "BAD_LEN";
        CONFIG_EPERM = 2 "EPERM";
    }
    ROLE_REQUEST_FAILED {
        ROLE_STALE = 0 "STALE";
        ROLE_UNSUP = 1 "UNSUP";
        ROLE_BAD_ROLE = 2 "BAD_ROLE";
    }
    METER_MOD_FAILED {
        METER_UNKNOWN = 0 "UNKNOWN";
        METER_EXISTS = 1 "METER_EXISTS";
        INVALID_METER = 2 "INVALID_METER";
        UNKNOWN_METER = 3 "UNKNOWN_METER";
        METER_BAD_COMMAND = 4 "BAD_COMMAND";
        METER_BAD_FLAGS = 5 "BAD_FLAGS";
        METER_BAD_RATE = 6 "BAD_RATE";
        METER_BAD_BURST = 7 "BAD_BURST";
        METER_BAD_BAND = 8 "BAD_BAND";
        METER_BAD_BAND_VALUE = 9 "BAD_BAND_VALUE";
        OUT_OF_METERS = 10 "OUT_OF_METERS";
        OUT_OF_BANDS = 11 "OUT_OF_BANDS";
    }
    TABLE_FEATURES_FAILED {
        FEATURES_BAD_TABLE = 0 "BAD_TABLE";
        FEATURES_BAD_METADATA = 1 "BAD_METADATA";
        FEATURES_BAD_TYPE = 2 "BAD_TYPE";
        FEATURES_BAD_LEN = 3 "BAD_LEN";
        FEATURES_BAD_ARGUMENT = 4 "BAD_ARGUMENT";
        FEATURES_EPERM = 5 "EPERM";
    }
    EXPERIMENTER {
        ONF_BUNDLE_UNKNOWN = 2300 "ONF BUNDLE UNKNOWN";
        ONF_BUNDLE_EPERM = 2301 "ONF BUNDLE EPERM";
        ONF_BUNDLE_BAD_ID = 2302 "ONF BUNDLE BAD_ID";
        ONF_BUNDLE_EXIST = 2303 "ONF BUNDLE EXIST";
        ONF_BUNDLE_CLOSED = 2304 "ONF BUNDLE CLOSED";
        ONF_BUNDLE_OUT_OF_BUNDLES = 2305 "ONF BUNDLE OUT_OF_BUNDLES";
        ONF_BUNDLE_BAD_TYPE = 2306 "ONF BUNDLE BAD_TYPE";
        ONF_BUNDLE_BAD_FLAGS = 2307 "ONF BUNDLE BAD_FLAGS";
        ONF_BUNDLE_MSG_BAD_LEN = 2308 "ONF BUNDLE MSG_BAD_LEN";
        ONF_BUNDLE_MSG_BAD_XID = 2309 "ONF BUNDLE MSG_BAD_XID";
        ONF_BUNDLE_MSG_UNSUP = 2310 "ONF BUNDLE MSG_UNSUP";
        ONF_BUNDLE_MSG_CONFLICT = 2311 "ONF BUNDLE MSG_CONFLICT";
        ONF_BUNDLE_MSG_TOO_MANY = 2312 "ONF BUNDLE MSG_TOO_MANY";
        ONF_BUNDLE_MSG_FAILED = 2313 "ONF BUNDLE MSG_FAILED";
        ONF_BUNDLE_TIMEOUT = 2314 "ONF BUNDLE TIMEOUT";
    }
}

impl ErrorCode {
    /// Type and code as they stand on the wire.
    #[must_use]
    pub const fn new(kind: ErrorType, code: u16) -> Self {
        Self { kind, code }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, code) = (self.kind, self.code);
        match self.name() {
            Some(name) => write!(f, "{kind}/{name} ({}/{code})", kind.0),
            None => write!(f, "{kind}/{code}"),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorCode({self})")
    }
}

/// What a message that cannot be read is answered with.
impl From<&DecodeError> for ErrorCode {
    fn from(error: &DecodeError) -> Self {
        match error {
            DecodeError::Truncated { .. }
            | DecodeError::BadLength { .. }
            | DecodeError::Trailing { .. } => Self::BAD_LEN,
            DecodeError::BadVersion(_) => Self::BAD_VERSION,
            DecodeError::BadMatchType(_) => Self::MATCH_BAD_TYPE,
            DecodeError::DuplicateField { .. } => Self::DUP_FIELD,
        }
    }
}

/// A refusal, `ofp_error_msg`, or `ofp_error_experimenter_msg`: 12 bytes, header included, and
/// data. Its xid is that of the message refused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfpError {
    /// What failed and why.
    pub code: ErrorCode,
    /// At least 64 bytes of the message refused, or all of a shorter one; text for
    /// `HELLO_FAILED`; the vendor's id and data for `EXPERIMENTER`.
    pub data: Vec<u8>,
}

impl OfpError {
    /// Whose error it is, if it is a vendor's.
    #[must_use]
    pub fn experimenter(&self) -> Option<u32> {
        match self.code.kind {
            ErrorType::EXPERIMENTER => self.data.first_chunk().copied().map(u32::from_be_bytes),
            _ => None,
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = Wire::read(r, "error type")?;
        let code = ErrorCode {
            kind,
            code: r.u16("error code")?,
        };
        Ok(Self {
            code,
            data: r.rest().to_vec(),
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.code.kind.write(w);
        w.u16(self.code.code);
        w.bytes(&self.data);
    }
}

impl fmt::Display for OfpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.kind, self.experimenter()) {
            (ErrorType::HELLO_FAILED, _) if !self.data.is_empty() => {
                write!(
                    f,
                    "{}: {}",
                    self.code,
                    String::from_utf8_lossy(&self.data).escape_debug()
                )
            }
            (_, Some(vendor)) if vendor != ONF => {
                write!(f, "vendor {vendor:#010x} error {}", self.code.code)
            }
            _ => fmt::Display::fmt(&self.code, f),
        }
    }
}

impl fmt::Debug for OfpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OfpError({}, data {})", self.code, Hex(&self.data))
    }
}

impl std::error::Error for OfpError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_an_operator_would_say_it() {
        let error = |code, data: &[u8]| {
            OfpError {
                code,
                data: data.to_vec(),
            }
            .to_string()
        };
        assert_eq!(
            error(ErrorCode::METER_EXISTS, b""),
            "METER_MOD_FAILED/METER_EXISTS (12/1)"
        );
        assert_eq!(error(ErrorCode::new(ErrorType(77), 5), b""), "77/5");
        assert_eq!(
            error(ErrorCode::HELLO_INCOMPATIBLE, b"only 1.0"),
            "HELLO_FAILED/INCOMPATIBLE (0/0): only 1.0"
        );
        assert_eq!(
            error(ErrorCode::ONF_BUNDLE_MSG_FAILED, &ONF.to_be_bytes()),
            "EXPERIMENTER/ONF BUNDLE MSG_FAILED (65535/2313)"
        );
        assert_eq!(
            error(ErrorCode::ONF_BUNDLE_MSG_FAILED, &[0, 0, 0x23, 0x20]),
            "vendor 0x00002320 error 2313"
        );
    }
}
