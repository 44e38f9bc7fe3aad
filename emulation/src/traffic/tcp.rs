//! Greedy TCP: as much as the network gives, cubic by default.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use nix::time::ClockId;
use serde::{Deserialize, Serialize};

use super::TrafficError;
use super::send::now_ns;
use super::series::Series;
use super::stop::Caught;

const CHUNK_BYTES: usize = 64 << 10;
/// How long the sender tries to reach a receiver that is not there yet.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A write that gets nowhere for so long ends the flow.
const STUCK_LIMIT: Duration = Duration::from_secs(10);

/// Where to send.
#[derive(Clone, Debug)]
pub struct TcpSendOptions {
    /// Destination.
    pub to: SocketAddr,
    /// Source port; zero: the system's choice.
    pub from_port: u16,
    /// When to begin, Unix time in milliseconds; `None`: at once. The connection is made before.
    pub start_unix_ms: Option<u64>,
    /// How long.
    pub duration: Duration,
    /// Congestion control; the kernel's choice where it has not got this one.
    pub congestion: String,
    /// Width of the buckets of the series.
    pub bucket: Duration,
}

/// One side of a TCP flow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TcpReport {
    /// The other side.
    pub peer: SocketAddr,
    /// Payload bytes handed to the system, or read from it.
    pub bytes: u64,
    /// From the first to the last byte, in milliseconds.
    pub duration_ms: u64,
    /// Payload bits per second over that time. A full frame of 1514 bytes carries 1448 of payload: 95.6 %.
    pub goodput_bps: u64,
    /// Payload bytes over time.
    pub series: Series,
}

/// Sends as fast as the network takes it. At the end the connection is aborted: what no receiver has seen by then does not
/// prolong the measurement.
///
/// # Errors
/// When the receiver cannot be reached, or the connection breaks.
pub fn send(options: &TcpSendOptions) -> Result<TcpReport, TrafficError> {
    let mut stream = connect(options)?;
    stream
        .set_write_timeout(Some(STUCK_LIMIT))
        .map_err(TrafficError::io("write time-out"))?;
    let chunk = vec![0; CHUNK_BYTES];
    let mut flow = Flow::new(options.to, options.bucket);
    if let Some(start) = options.start_unix_ms {
        let wait = Duration::from_millis(start).saturating_sub(crate::trial::unix_now());
        std::thread::sleep(wait);
    }
    let end = Instant::now() + options.duration;
    while Instant::now() < end {
        let written = stream
            .write(&chunk)
            .map_err(TrafficError::io(format!("sending to {}", options.to)))?;
        flow.count(written)?;
    }
    let abort = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&stream, sockopt::Linger, &abort)
        .map_err(TrafficError::errno("setting the connection to be aborted"))?;
    Ok(flow.report())
}

fn connect(options: &TcpSendOptions) -> Result<TcpStream, TrafficError> {
    let deadline = Instant::now() + CONNECT_LIMIT;
    loop {
        match attempt(options) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => {
                return Err(TrafficError::io(format!("connecting to {}", options.to))(
                    error,
                ));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn attempt(options: &TcpSendOptions) -> std::io::Result<TcpStream> {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket,
    };
    use std::os::fd::AsRawFd;

    let (family, any): (_, SocketAddr) = match options.to {
        SocketAddr::V4(_) => (
            AddressFamily::Inet,
            (Ipv4Addr::UNSPECIFIED, options.from_port).into(),
        ),
        SocketAddr::V6(_) => (
            AddressFamily::Inet6,
            (std::net::Ipv6Addr::UNSPECIFIED, options.from_port).into(),
        ),
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    // Not every kernel has or allows it; then the system's default is used.
    let _ = setsockopt(
        &socket,
        sockopt::TcpCongestion,
        &OsString::from(&options.congestion),
    );
    if options.from_port != 0 {
        bind(socket.as_raw_fd(), &SockaddrStorage::from(any))?;
    }
    connect(socket.as_raw_fd(), &SockaddrStorage::from(options.to))?;
    Ok(TcpStream::from(socket))
}

/// Accepts one flow and reads it to its end, an orderly one or not, or until a SIGINT or SIGTERM comes: the end itself may be
/// lost on the way. Writes `ready` to standard error once it listens.
///
/// # Errors
/// When the port cannot be bound, nobody connects, or the connection breaks.
pub fn recv(port: u16, bucket: Duration) -> Result<TcpReport, TrafficError> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .map_err(TrafficError::io(format!("binding port {port}")))?;
    let stop = Caught::stop()?;
    eprintln!("ready");
    if !readable(listener.as_fd(), &stop)? {
        let source = ErrorKind::TimedOut.into();
        let what = format!("waiting for a connection to port {port}");
        return Err(TrafficError::Io { what, source });
    }
    let (mut stream, peer) = listener.accept().map_err(TrafficError::io("accepting"))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut flow = Flow::new(peer, bucket);
    while readable(stream.as_fd(), &stop)? {
        let read = match stream.read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            read => read.map_err(TrafficError::io(format!("receiving from {peer}")))?,
        };
        if read == 0 {
            break;
        }
        flow.count(read)?;
    }
    Ok(flow.report())
}

/// Waits until there is something to read; false when the program is to end before.
fn readable(what: BorrowedFd<'_>, stop: &Caught) -> Result<bool, TrafficError> {
    loop {
        let mut polled = [what, stop.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(TrafficError::errno("waiting for a flow")(errno)),
        }
        if stop.requested() {
            return Ok(false);
        }
        if polled.first().is_some_and(|fd| fd.any() == Some(true)) {
            return Ok(true);
        }
    }
}

struct Flow {
    peer: SocketAddr,
    bytes: u64,
    span: Option<(Instant, Instant)>,
    series: Series,
}

impl Flow {
    fn new(peer: SocketAddr, bucket: Duration) -> Self {
        let bucket_ms = u64::try_from(bucket.as_millis()).unwrap_or(u64::MAX);
        Self {
            peer,
            bytes: 0,
            span: None,
            series: Series::new(bucket_ms),
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), TrafficError> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let now = Instant::now();
        self.bytes += bytes;
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
        self.series.add(now_ns(ClockId::CLOCK_REALTIME)?, bytes);
        Ok(())
    }

    fn report(self) -> TcpReport {
        let duration = self
            .span
            .map_or(Duration::ZERO, |(first, last)| last.duration_since(first));
        let goodput = u128::from(self.bytes) * 8_000_000_000 / duration.as_nanos().max(1);
        TcpReport {
            peer: self.peer,
            bytes: self.bytes,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            goodput_bps: if duration.is_zero() {
                0
            } else {
                u64::try_from(goodput).unwrap_or(u64::MAX)
            },
            series: self.series,
        }
    }
}
