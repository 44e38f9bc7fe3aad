//! How patient a session is and how much it holds.

use std::time::Duration;

/// How patient a session is and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// From connection to [`crate::Output::Up`].
    pub handshake_timeout: Duration,
    /// Silence after which we ask whether the switch lives.
    pub echo_after: Duration,
    /// Silence after which the switch counts as gone, unless the caller slept through the time to
    /// ask: then as long after asking as it would have been.
    pub silence_limit: Duration,
    /// From a request to its whole answer.
    pub request_timeout: Duration,
    /// Requests under way at once; more are refused.
    pub requests_max: usize,
    /// Parts of one multipart answer.
    pub multipart_parts_max: usize,
    /// Bytes of one multipart answer, headers included.
    pub multipart_bytes_max: usize,
}

impl Default for SessionConfig {
    /// 5 s for the handshake, an echo after 5 s and the end after 15 s of silence, 10 s for an
    /// answer; 65 536 requests at once; answers of 4 096 parts or 64 MiB (half a million flows).
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            echo_after: Duration::from_secs(5),
            silence_limit: Duration::from_secs(15),
            request_timeout: Duration::from_secs(10),
            requests_max: 65_536,
            multipart_parts_max: 4_096,
            multipart_bytes_max: 64 << 20,
        }
    }
}
