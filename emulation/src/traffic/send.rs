//! The paced UDP sender.

use std::io::IoSlice;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use serde::{Deserialize, Serialize};

use super::TrafficError;
use super::bursts::BurstPacer;
use super::flow::FlowSpec;
use super::pacing::Pacer;
use super::raw::RawSender;
use super::series::Series;
use super::stamp::Stamp;
use super::stop::Caught;

/// Packets handed to the system in one call, at most.
const BATCH: usize = 32;
/// Packets of one flow before the next flow has its turn.
const TURN: u64 = BATCH as u64;
const SEND_BUFFER_BYTES: usize = 4 << 20;
/// From the start of the program to the first packet.
const LEAD_NS: u64 = 20_000_000;

/// How often signals are looked for.
const SIGNAL_LOOK_NS: u64 = 10_000_000;

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct SendOptions {
    /// The flows; each has its own schedule.
    pub flows: Vec<FlowSpec>,
    /// When to begin, Unix time in milliseconds, so that programs in several hosts begin together; `None`: at once.
    pub start_unix_ms: Option<u64>,
    /// How long.
    pub duration: Duration,
    /// The shortest sleep between two looks at the schedule: packets due within it leave together.
    pub tick: Duration,
    /// Width of the buckets of the series.
    pub bucket: Duration,
}

/// What was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SendReport {
    /// One entry for each flow, in the order given.
    pub flows: Vec<SentFlow>,
}

/// What was sent of one flow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SentFlow {
    /// Its name.
    pub name: String,
    /// Its mark in the payloads.
    pub stream: u32,
    /// Its rate as asked for, frame bits per second.
    pub rate_bps: u64,
    /// What left, over the time it took: frame bits per second.
    pub offered_bps: u64,
    /// Packets that the system took.
    pub sent_packets: u64,
    /// Their frame bytes.
    pub sent_bytes: u64,
    /// Packets that the system refused.
    pub failed_packets: u64,
    /// Packets that were left out because the machine had stalled the sender.
    pub skipped_packets: u64,
    /// How often that was.
    pub stalls: u64,
    /// The longest that a packet was late, in milliseconds.
    pub longest_lag_ms: f64,
    /// When the schedule began, Unix time in milliseconds.
    pub start_unix_ms: u64,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
    /// Packets and frame bytes over time.
    pub series: Series,
}

/// Sends until the time is over or a SIGINT or SIGTERM comes; SIGUSR1 changes every flow to its other rate and back.
///
/// # Errors
/// When a socket cannot be made or set up. Packets that the system refuses later are counted, not errors.
pub fn send(options: &SendOptions) -> Result<SendReport, TrafficError> {
    let (stop, switch) = (Caught::stop()?, Caught::switch()?);
    let unix_ns = now_ns(ClockId::CLOCK_REALTIME)?;
    let lead_ns = options.start_unix_ms.map_or(LEAD_NS, |at| {
        at.saturating_mul(1_000_000).saturating_sub(unix_ns)
    });
    let start_ns = now_ns(ClockId::CLOCK_MONOTONIC)?.saturating_add(lead_ns);
    let start_unix_ms = unix_ns.saturating_add(lead_ns) / 1_000_000;
    let end_ns = start_ns.saturating_add(nanos(options.duration));
    let count = u64::try_from(options.flows.len())
        .unwrap_or(u64::MAX)
        .max(1);
    let mut flows = Vec::with_capacity(options.flows.len());
    for (index, spec) in (0_u64..).zip(&options.flows) {
        // Flows of one rate begin spread over one interval, not all at once; bursts are meant to meet.
        let interval = u64::from(spec.frame_bytes()) * 8_000_000_000 / spec.rate_bps.max(1);
        let offset = if spec.burst_packets > 1 {
            0
        } else {
            interval / count * index
        };
        flows.push(Flow::open(
            spec,
            start_ns.saturating_add(offset),
            options.bucket,
        )?);
    }

    let tick = nanos(options.tick);
    let mut order = Shuffle(start_ns | 1);
    let mut next_look_for_signals = 0;
    let finished_ns = loop {
        let now = now_ns(ClockId::CLOCK_MONOTONIC)?;
        if now >= end_ns {
            break end_ns;
        }
        if now >= next_look_for_signals {
            if stop.requested() {
                break now;
            }
            if switch.requested() {
                flows.iter_mut().for_each(Flow::switch_rate);
            }
            next_look_for_signals = now + SIGNAL_LOOK_NS;
        }
        // In another order each time, or flows would lock into the drops of a full queue.
        let first = order.below(flows.len());
        let (tail, head) = flows.split_at_mut(first);
        let mut full_turn = false;
        for flow in head.iter_mut().chain(tail) {
            full_turn |= flow.send_due(now)?;
        }
        if full_turn {
            continue;
        }
        let next = flows
            .iter()
            .map(|flow| flow.schedule.next_due_ns())
            .min()
            .unwrap_or(end_ns)
            .min(now + SIGNAL_LOOK_NS);
        sleep_until(next.max(now + tick).min(end_ns))?;
    };

    let duration_ns = finished_ns.saturating_sub(start_ns).max(1);
    Ok(SendReport {
        flows: flows
            .into_iter()
            .map(|flow| flow.report(start_unix_ms, duration_ns))
            .collect(),
    })
}

struct Flow<'a> {
    spec: &'a FlowSpec,
    schedule: Schedule,
    at_other_rate: bool,
    out: Out,
    next_number: u64,
    failed: u64,
    series: Series,
}

impl<'a> Flow<'a> {
    fn open(spec: &'a FlowSpec, start_ns: u64, bucket: Duration) -> Result<Self, TrafficError> {
        let out = match &spec.raw {
            Some(source) => Out::Raw(RawSender::open(spec, source)?),
            None => Out::Udp(UdpSender::open(spec)?),
        };
        Ok(Self {
            spec,
            schedule: Schedule::new(spec, start_ns),
            at_other_rate: false,
            out,
            next_number: 0,
            failed: 0,
            series: Series::new(u64::try_from(bucket.as_millis()).unwrap_or(u64::MAX)),
        })
    }

    fn switch_rate(&mut self) {
        self.at_other_rate = !self.at_other_rate;
        let rate_bps = if self.at_other_rate {
            self.spec.other_rate_bps
        } else {
            self.spec.rate_bps
        };
        // Bursts have one rate: their size goes with it.
        if let Schedule::Constant(pacer) = &mut self.schedule {
            pacer.change_rate(rate_bps);
        }
    }

    /// Sends what is due, at most one turn; whether the turn was used up.
    fn send_due(&mut self, now: u64) -> Result<bool, TrafficError> {
        // The distance between bursts counts from when they leave, after the other flows had their turns.
        let now = match self.schedule {
            Schedule::Constant(_) => now,
            Schedule::Bursts(_) => now_ns(ClockId::CLOCK_MONOTONIC)?,
        };
        let count = self.schedule.take_due(now, TURN);
        if count == 0 {
            return Ok(false);
        }
        let sent_unix_ns = now_ns(ClockId::CLOCK_REALTIME)?;
        let first = self.next_number;
        let stamps = (first..first + count).map(|number| Stamp {
            stream: self.spec.stream,
            number,
            sent_unix_ns,
        });
        let sent = match &mut self.out {
            Out::Raw(raw) => {
                let mut sent = 0;
                for stamp in stamps {
                    if !raw.send(stamp) {
                        break;
                    }
                    sent += 1;
                }
                sent
            }
            Out::Udp(udp) => udp.send(stamps),
        };
        if let Schedule::Bursts(pacer) = &mut self.schedule {
            pacer.left_at(now_ns(ClockId::CLOCK_MONOTONIC)?);
        }
        // Numbers count what left, so a gap at the receiver is a loss in the network.
        self.next_number += sent;
        self.failed += count - sent;
        for _ in 0..sent {
            self.series
                .add(sent_unix_ns, u64::from(self.spec.frame_bytes()));
        }
        Ok(count == TURN)
    }

    fn report(self, start_unix_ms: u64, duration_ns: u64) -> SentFlow {
        let (skipped, stalls, longest_lag_ns) = self.schedule.lateness();
        let sent_bytes = self.next_number * u64::from(self.spec.frame_bytes());
        let offered = u128::from(sent_bytes) * 8_000_000_000 / u128::from(duration_ns);
        SentFlow {
            name: self.spec.name.clone(),
            stream: self.spec.stream,
            rate_bps: self.spec.rate_bps,
            offered_bps: u64::try_from(offered).unwrap_or(u64::MAX),
            sent_packets: self.next_number,
            sent_bytes,
            failed_packets: self.failed,
            skipped_packets: skipped,
            stalls,
            longest_lag_ms: Duration::from_nanos(longest_lag_ns).as_secs_f64() * 1e3,
            start_unix_ms,
            duration_ms: duration_ns / 1_000_000,
            series: self.series,
        }
    }
}

/// When the packets of a flow are due.
enum Schedule {
    Constant(Pacer),
    Bursts(BurstPacer),
}

impl Schedule {
    fn new(spec: &FlowSpec, start_ns: u64) -> Self {
        let (frame, rate) = (spec.frame_bytes(), spec.rate_bps);
        match spec.burst_packets {
            0 | 1 => Self::Constant(Pacer::new(start_ns, frame, rate)),
            packets => Self::Bursts(BurstPacer::new(start_ns, frame, rate, packets)),
        }
    }

    fn next_due_ns(&self) -> u64 {
        match self {
            Self::Constant(pacer) => pacer.next_due_ns(),
            Self::Bursts(pacer) => pacer.next_due_ns(),
        }
    }

    fn take_due(&mut self, now_ns: u64, limit: u64) -> u64 {
        match self {
            Self::Constant(pacer) => pacer.take_due(now_ns, limit),
            Self::Bursts(pacer) => pacer.take_due(now_ns, limit),
        }
    }

    /// Packets that were skipped, how often that was, and the longest lag in nanoseconds.
    fn lateness(&self) -> (u64, u64, u64) {
        match self {
            Self::Constant(pacer) => (pacer.skipped(), pacer.stalls(), pacer.longest_lag_ns()),
            Self::Bursts(pacer) => (pacer.skipped(), pacer.stalls(), pacer.longest_lag_ns()),
        }
    }
}

enum Out {
    Udp(UdpSender),
    Raw(RawSender),
}

struct UdpSender {
    socket: UdpSocket,
    to: Vec<Option<SockaddrStorage>>,
    padding: Vec<u8>,
}

impl UdpSender {
    fn open(spec: &FlowSpec) -> Result<Self, TrafficError> {
        let any: SocketAddr = match spec.to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, spec.from_port).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, spec.from_port).into(),
        };
        let socket = UdpSocket::bind(any).map_err(TrafficError::io(format!("binding {any}")))?;
        // More than an ordinary user may have; fine without.
        let _ = setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER_BYTES);
        if spec.dscp != 0 {
            let traffic_class = i32::from(spec.dscp) << 2;
            match spec.to {
                SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4Tos, &traffic_class),
                SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6TClass, &traffic_class),
            }
            .map_err(TrafficError::errno("setting the DSCP"))?;
        }
        let padding = usize::try_from(spec.payload_bytes)
            .unwrap_or(0)
            .saturating_sub(Stamp::BYTES);
        Ok(Self {
            socket,
            to: vec![Some(SockaddrStorage::from(spec.to)); BATCH],
            padding: vec![0; padding],
        })
    }

    /// Sends at most [`BATCH`] packets; how many the system took. The others of the batch are lost, not retried: the
    /// schedule goes on.
    fn send(&self, stamps: impl Iterator<Item = Stamp>) -> u64 {
        let stamps: Vec<[u8; Stamp::BYTES]> = stamps.take(BATCH).map(Stamp::encode).collect();
        let slices: Vec<[IoSlice<'_>; 2]> = stamps
            .iter()
            .map(|stamp| [IoSlice::new(stamp), IoSlice::new(&self.padding)])
            .collect();
        let mut headers = MultiHeaders::preallocate(slices.len(), None);
        let to = self.to.get(..slices.len()).unwrap_or_default();
        match sendmmsg(
            self.socket.as_raw_fd(),
            &mut headers,
            &slices,
            to,
            [],
            MsgFlags::empty(),
        ) {
            Ok(results) => u64::try_from(results.count()).unwrap_or(0),
            Err(_) => 0,
        }
    }
}

/// A small xorshift generator: the order of flows needs no better.
struct Shuffle(u64);

impl Shuffle {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.0 % bound).unwrap_or(0)
    }
}

pub(super) fn now_ns(clock: ClockId) -> Result<u64, TrafficError> {
    let time = clock_gettime(clock).map_err(TrafficError::errno("reading the clock"))?;
    Ok(timespec_ns(time))
}

pub(super) fn timespec_ns(time: TimeSpec) -> u64 {
    nanos(Duration::from(time))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn sleep_until(monotonic_ns: u64) -> Result<(), TrafficError> {
    let time = TimeSpec::from_duration(Duration::from_nanos(monotonic_ns));
    loop {
        match clock_nanosleep(
            ClockId::CLOCK_MONOTONIC,
            ClockNanosleepFlags::TIMER_ABSTIME,
            &time,
        ) {
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(TrafficError::errno("sleeping")(errno)),
        }
    }
}
