//! Questions whose answers may take several messages: descriptions and counters.

mod reply;
mod request;
mod stats;

use crate::code_points::{wire_enum, wire_flags};

pub use reply::{MultipartReply, MultipartReplyBody};
pub use request::{FlowFilter, MultipartRequest, MultipartRequestBody};
pub use stats::{AggregateStats, SwitchDesc, TableStats};

wire_enum! {
    /// Kind of a multipart message, `enum ofp_multipart_type`.
    pub struct MultipartType(u16) {
        DESC = 0;
        FLOW = 1;
        AGGREGATE = 2;
        TABLE = 3;
        PORT_STATS = 4;
        QUEUE = 5;
        GROUP = 6;
        GROUP_DESC = 7;
        GROUP_FEATURES = 8;
        METER = 9;
        METER_CONFIG = 10;
        METER_FEATURES = 11;
        TABLE_FEATURES = 12;
        PORT_DESC = 13;
        EXPERIMENTER = 0xffff;
    }
}

wire_flags! {
    /// Whether more parts follow, `enum ofp_multipart_request_flags` and `_reply_flags`.
    pub struct MultipartFlags(u16) {
        /// This is not the last part.
        MORE = 1 << 0;
    }
}
