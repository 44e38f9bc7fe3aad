//! Traffic that is sent on a schedule and measured packet by packet: `payflow-lab traffic send`, `recv`, `tcp-send`,
//! `tcp-recv`, run inside the hosts of a lab.
//!
//! Every UDP payload begins with a [`stamp::Stamp`]: the stream it belongs to, its number, and when it was sent. The receiver
//! therefore tells spoofed packets from real ones that look the same to the network. Sender and receiver share one
//! machine and its clock, so one-way delays need no synchronisation.
//!
//! Rates are *frame* bits per second, as meters, classes and prices count them: payload plus [`frame_overhead`].

pub mod bursts;
pub mod flow;
pub mod pacing;
pub mod raw;
pub mod recv;
pub mod send;
pub mod series;
pub mod stamp;
pub mod tcp;

mod stop;

/// Ethernet (14, without frame check sequence), IPv4 (20) and UDP (8) headers, in bytes.
pub const FRAME_OVERHEAD: u32 = 42;

/// The same with IPv6 (40) in place of IPv4.
pub const FRAME_OVERHEAD_IPV6: u32 = 62;

/// Bytes of a frame beyond the UDP payload.
#[must_use]
pub const fn frame_overhead(is_ipv6: bool) -> u32 {
    if is_ipv6 {
        FRAME_OVERHEAD_IPV6
    } else {
        FRAME_OVERHEAD
    }
}

/// Largest UDP payload the generator sends, in bytes: what fits into a frame on every link.
pub const MAX_PAYLOAD: u32 = 1400;

/// What went wrong while sending or receiving.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A flow description that cannot be sent.
    #[error("flow {flow:?}: {problem}")]
    BadFlow {
        /// The description.
        flow: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl TrafficError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    fn errno(what: impl Into<String>) -> impl FnOnce(nix::errno::Errno) -> Self {
        let what = what.into();
        move |errno| Self::Io {
            what,
            source: errno.into(),
        }
    }
}
