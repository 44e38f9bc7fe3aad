//! The UDP receiver.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use nix::time::ClockId;
use serde::{Deserialize, Serialize};

use super::send::{now_ns, timespec_ns};
use super::series::Series;
use super::stamp::Stamp;
use super::stop::Caught;
use super::{TrafficError, frame_overhead};

const BATCH: usize = 64;
const PACKET_BYTES: usize = 2048;
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
/// More streams than this on all ports are counted together, as foreign.
const MAX_STREAMS: usize = 4096;

/// Where to listen, and for how long.
#[derive(Clone, Debug)]
pub struct RecvOptions {
    /// UDP ports, on every address.
    pub ports: Vec<u16>,
    /// The end, at the latest; a SIGINT or SIGTERM ends it earlier.
    pub duration: Option<Duration>,
    /// Width of the buckets of the series.
    pub bucket: Duration,
}

/// What was received.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecvReport {
    /// One entry for each stream on each port.
    pub streams: Vec<ReceivedStream>,
    /// Packets without a stamp.
    pub foreign_packets: u64,
}

/// What was received of one stream on one port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReceivedStream {
    /// The port.
    pub port: u16,
    /// The sender's mark.
    pub stream: u32,
    /// Packets, without duplicates of the one before.
    pub received_packets: u64,
    /// Their frame bytes.
    pub received_bytes: u64,
    /// Packets with a number below one seen before.
    pub reordered_packets: u64,
    /// The highest number seen.
    pub highest_number: u64,
    /// Arrival of the first packet, Unix time in milliseconds.
    pub first_unix_ms: u64,
    /// Arrival of the last packet, Unix time in milliseconds.
    pub last_unix_ms: u64,
    /// Source addresses, with packets from each; at most 16.
    pub sources: BTreeMap<String, u64>,
    /// From the sender's call to the arrival at the receiver's socket.
    pub delay_ms: Delays,
    /// Packets and frame bytes over time.
    pub series: Series,
}

/// One-way delays in milliseconds, exact: every packet is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delays {
    /// Shortest.
    pub min: f64,
    /// Average.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90 of 100 were not longer.
    pub p90: f64,
    /// 99 of 100 were not longer.
    pub p99: f64,
    /// Longest.
    pub max: f64,
}

impl Delays {
    /// Percentiles by nearest rank. Without samples all are zero.
    #[must_use]
    pub fn of(mut delays_us: Vec<u32>) -> Self {
        delays_us.sort_unstable();
        let rank = |percent: usize| {
            let rank = (delays_us.len() * percent).div_ceil(100).max(1);
            delays_us
                .get(rank - 1)
                .map_or(0.0, |us| f64::from(*us) / 1e3)
        };
        let sum: u64 = delays_us.iter().map(|us| u64::from(*us)).sum();
        let count = u64::try_from(delays_us.len()).unwrap_or(u64::MAX).max(1);
        // Whole microseconds are exact enough for an average.
        let mean = Duration::from_micros(sum / count).as_secs_f64() * 1e3;
        Self {
            min: rank(0),
            mean,
            p50: rank(50),
            p90: rank(90),
            p99: rank(99),
            max: rank(100),
        }
    }
}

/// Receives until the time is over or a SIGINT or SIGTERM comes. Writes `ready` to standard error once it listens.
///
/// # Errors
/// When a port cannot be bound.
pub fn recv(options: &RecvOptions) -> Result<RecvReport, TrafficError> {
    let stop = Caught::stop()?;
    let mut listeners = Vec::new();
    for port in &options.ports {
        listeners.push(Listener::open(*port)?);
    }
    let deadline = options.duration.map(|duration| Instant::now() + duration);
    let mut counters = Counters::new(options.bucket);
    eprintln!("ready");
    loop {
        let now = Instant::now();
        let wait = deadline.map_or(Duration::from_millis(500), |end| {
            end.saturating_duration_since(now)
        });
        if wait.is_zero() {
            break;
        }
        let timeout = u16::try_from(wait.as_millis()).unwrap_or(500).min(500);
        let mut polled: Vec<PollFd<'_>> = listeners
            .iter()
            .map(|listener| PollFd::new(listener.socket.as_fd(), PollFlags::POLLIN))
            .collect();
        polled.push(PollFd::new(stop.as_fd(), PollFlags::POLLIN));
        match poll(&mut polled, PollTimeout::from(timeout)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(TrafficError::errno("waiting for packets")(errno)),
        }
        let stopping = stop.requested();
        for listener in &mut listeners {
            listener.drain(&mut counters)?;
        }
        if stopping {
            break;
        }
    }
    Ok(counters.report())
}

struct Listener {
    port: u16,
    socket: UdpSocket,
    buffers: Vec<[u8; PACKET_BYTES]>,
    headers: MultiHeaders<SockaddrStorage>,
}

impl Listener {
    fn open(port: u16) -> Result<Self, TrafficError> {
        // One socket for both families, or, where there is no IPv6, for the one there is.
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))
            .or_else(|_| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))
            .map_err(TrafficError::io(format!("binding port {port}")))?;
        socket
            .set_nonblocking(true)
            .map_err(TrafficError::io("non-blocking"))?;
        // More than an ordinary user may have; fine without.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES);
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)
            .map_err(TrafficError::errno("timestamps"))?;
        let headers = MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(TimeSpec)));
        Ok(Self {
            port,
            socket,
            buffers: vec![[0; PACKET_BYTES]; BATCH],
            headers,
        })
    }

    fn drain(&mut self, counters: &mut Counters) -> Result<(), TrafficError> {
        loop {
            let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
                .buffers
                .iter_mut()
                .map(|buffer| [IoSliceMut::new(buffer)])
                .collect();
            let received = match recvmmsg(
                self.socket.as_raw_fd(),
                &mut self.headers,
                slices.iter_mut(),
                MsgFlags::MSG_DONTWAIT,
                None,
            ) {
                Ok(received) => received,
                // ECONNREFUSED and the like are about packets sent, and none are.
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
                Err(errno) => {
                    return Err(TrafficError::errno(format!(
                        "receiving on port {}",
                        self.port
                    ))(errno));
                }
            };
            let mut count = 0;
            for message in received {
                count += 1;
                let stamped = message.cmsgs().ok().and_then(|mut cmsgs| {
                    cmsgs.find_map(|cmsg| match cmsg {
                        ControlMessageOwned::ScmTimestampns(time) => Some(timespec_ns(time)),
                        _ => None,
                    })
                });
                let arrived = match stamped {
                    Some(arrived) => arrived,
                    None => now_ns(ClockId::CLOCK_REALTIME)?,
                };
                let payload = message.iovs().next().unwrap_or_default();
                counters.count(self.port, payload, source(message.address), arrived);
            }
            if count < BATCH {
                return Ok(());
            }
        }
    }
}

/// The sender's address; one of IPv4 as such, not mapped into IPv6.
fn source(address: Option<SockaddrStorage>) -> Option<SocketAddr> {
    let address = address?;
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(IpAddr::V4(v4.ip()), v4.port()));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::new(v6.ip().to_canonical(), v6.port()))
}

struct Counters {
    bucket_ms: u64,
    streams: BTreeMap<(u16, u32), Counter>,
    foreign: u64,
}

struct Counter {
    report: ReceivedStream,
    delays_us: Vec<u32>,
    sources: BTreeMap<SocketAddr, u64>,
}

const MAX_SOURCES: usize = 16;

impl Counters {
    fn new(bucket: Duration) -> Self {
        let bucket_ms = u64::try_from(bucket.as_millis()).unwrap_or(u64::MAX);
        Self {
            bucket_ms,
            streams: BTreeMap::new(),
            foreign: 0,
        }
    }

    fn count(
        &mut self,
        port: u16,
        payload: &[u8],
        source: Option<SocketAddr>,
        arrived_unix_ns: u64,
    ) {
        let Some(stamp) = Stamp::decode(payload) else {
            self.foreign += 1;
            return;
        };
        if self.streams.len() >= MAX_STREAMS && !self.streams.contains_key(&(port, stamp.stream)) {
            self.foreign += 1;
            return;
        }
        let bucket_ms = self.bucket_ms;
        let counter = self
            .streams
            .entry((port, stamp.stream))
            .or_insert_with(|| Counter::new(port, stamp.stream, arrived_unix_ns, bucket_ms));
        counter.count(stamp, payload.len(), source, arrived_unix_ns);
    }

    fn report(self) -> RecvReport {
        RecvReport {
            streams: self.streams.into_values().map(Counter::report).collect(),
            foreign_packets: self.foreign,
        }
    }
}

impl Counter {
    fn new(port: u16, stream: u32, arrived_unix_ns: u64, bucket_ms: u64) -> Self {
        Self {
            report: ReceivedStream {
                port,
                stream,
                received_packets: 0,
                received_bytes: 0,
                reordered_packets: 0,
                highest_number: 0,
                first_unix_ms: arrived_unix_ns / 1_000_000,
                last_unix_ms: arrived_unix_ns / 1_000_000,
                sources: BTreeMap::new(),
                delay_ms: Delays::default(),
                series: Series::new(bucket_ms),
            },
            delays_us: Vec::new(),
            sources: BTreeMap::new(),
        }
    }

    fn count(
        &mut self,
        stamp: Stamp,
        payload_bytes: usize,
        source: Option<SocketAddr>,
        arrived_unix_ns: u64,
    ) {
        let report = &mut self.report;
        let frame_bytes = u64::try_from(payload_bytes)
            .unwrap_or(u64::MAX)
            .saturating_add(u64::from(frame_overhead(
                source.is_some_and(|it| it.is_ipv6()),
            )));
        if report.received_packets > 0 && stamp.number < report.highest_number {
            report.reordered_packets += 1;
        }
        report.highest_number = report.highest_number.max(stamp.number);
        report.received_packets += 1;
        report.received_bytes += frame_bytes;
        report.last_unix_ms = arrived_unix_ns / 1_000_000;
        report.series.add(arrived_unix_ns, frame_bytes);
        let delay_us = arrived_unix_ns.saturating_sub(stamp.sent_unix_ns) / 1_000;
        self.delays_us
            .push(u32::try_from(delay_us).unwrap_or(u32::MAX));
        if let Some(source) = source
            && (self.sources.len() < MAX_SOURCES || self.sources.contains_key(&source))
        {
            *self.sources.entry(source).or_insert(0) += 1;
        }
    }

    fn report(self) -> ReceivedStream {
        let sources = self.sources.into_iter();
        ReceivedStream {
            sources: sources
                .map(|(source, packets)| (source.to_string(), packets))
                .collect(),
            delay_ms: Delays::of(self.delays_us),
            ..self.report
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let delays = Delays::of((1..=1000).rev().collect());
        assert_eq!(
            (delays.min, delays.p50, delays.p90, delays.p99, delays.max),
            (0.001, 0.5, 0.9, 0.99, 1.0)
        );
        assert_eq!(Delays::of(Vec::new()), Delays::default());
    }

    #[test]
    fn streams_on_one_port_are_told_apart() {
        let mut counters = Counters::new(Duration::from_millis(100));
        for (stream, number) in [(1, 0), (2, 0), (1, 2), (1, 1)] {
            let payload = Stamp {
                stream,
                number,
                sent_unix_ns: 1_000_000_000,
            }
            .encode();
            counters.count(5201, &payload, None, 1_002_000_000);
        }
        counters.count(5201, b"hello", None, 1_002_000_000);
        let report = counters.report();
        let seen: Vec<_> = report
            .streams
            .iter()
            .map(|s| (s.stream, s.received_packets, s.reordered_packets))
            .collect();
        assert_eq!(seen, [(1, 3, 1), (2, 1, 0)]);
        assert_eq!(report.foreign_packets, 1);
        assert!(
            report
                .streams
                .iter()
                .all(|stream| stream.delay_ms.p99 == 2.0 && stream.received_bytes % 66 == 0)
        );
    }
}
