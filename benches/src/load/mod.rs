//! A load generator: many OpenFlow 1.3 switches in one thread, which show packets to a controller and time its answers.
//!
//! Closed loop: every switch keeps so many packets unanswered, and shows the next one when one is answered. Open loop:
//! packets are shown at a fixed rate, whatever the controller does, and an answer is timed from the moment at which the
//! packet was due, so that a stall counts for every packet it delays.

mod packet;
mod switch;

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

pub use switch::{EmulatedSwitch, HOSTS_PER_PORT, Mix, PORTS, Received};

/// Most bytes read at once.
const READ_BUFFER: usize = 256 << 10;
/// Bytes of a flood that wait for their socket.
const FLOOD_BUFFER: usize = 64 << 10;
/// How long a controller may take to say hello.
const GREETING: Duration = Duration::from_secs(5);
/// How long a controller may take to answer everything when no more is asked.
const DRAIN: Duration = Duration::from_secs(10);

/// What was measured while packets were shown.
#[derive(Clone, Debug, Default)]
pub struct Phase {
    /// Packets shown.
    pub shown: u64,
    /// Packets answered before the end.
    pub in_time: u64,
    /// How long packets were shown.
    pub took: Duration,
    /// Of the answers to new hosts, in increasing order.
    pub latencies: Vec<Duration>,
    /// What came from the controller.
    pub received: Received,
}

impl Phase {
    /// The `percent` percentile of the latencies; zero if there were none.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

/// Connected switches.
pub struct Load {
    poll: Poll,
    events: Events,
    peers: Vec<Peer>,
    buffer: Vec<u8>,
    known_need_none: bool,
}

struct Peer {
    stream: TcpStream,
    switch: EmulatedSwitch,
    out: Vec<u8>,
    /// So much of `out` is written.
    written: usize,
    /// The controller has said something.
    greeted: bool,
}

impl Load {
    /// Connects so many switches, each when the one before has been greeted: of connections that a controller has not
    /// accepted yet, the system keeps no more than it asked for (10 at ovs-testcontroller), and of the others it loses
    /// what they say first. The datapath id of the first is `first` + 1.
    ///
    /// # Errors
    /// The controller cannot be reached, or greets nobody.
    pub fn connect(
        controller: SocketAddr,
        first: u16,
        switches: u16,
        mix: Mix,
    ) -> anyhow::Result<Self> {
        let mut load = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1_024),
            peers: Vec::new(),
            buffer: vec![0; READ_BUFFER],
            known_need_none: mix.known_need_none,
        };
        for number in 0..switches {
            load.add(controller, EmulatedSwitch::new(first + number, mix)?)
                .with_context(|| controller.to_string())?;
        }
        Ok(load)
    }

    fn add(&mut self, controller: SocketAddr, mut switch: EmulatedSwitch) -> anyhow::Result<()> {
        let stream = std::net::TcpStream::connect(controller)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let place = self.peers.len();
        self.poll
            .registry()
            .register(&mut stream, Token(place), interest)?;
        let out = switch.greeting();
        self.peers.push(Peer {
            stream,
            switch,
            out,
            written: 0,
            greeted: false,
        });
        self.flush()?;
        let begun = Instant::now();
        while !self.peers.get(place).is_some_and(|peer| peer.greeted) {
            if begun.elapsed() > GREETING {
                bail!("no word from the controller in {GREETING:?}");
            }
            self.wait(GREETING)?;
        }
        Ok(())
    }

    /// Answers what the controller asks, and shows nothing.
    ///
    /// # Errors
    /// The controller closed a connection, or spoke no OpenFlow.
    pub fn idle(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        self.flush()?;
        while Instant::now() < until {
            self.wait(until.saturating_duration_since(Instant::now()))?;
        }
        Ok(())
    }

    /// Lets the first host of every port say who it is, over and over until the controller has answered all of them.
    ///
    /// # Errors
    /// As [`Self::idle`]; and when that takes longer than `patience`.
    pub fn introduce(&mut self, patience: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        for peer in &mut self.peers {
            for _ in 0..PORTS {
                peer.switch.show_last(begun, &mut peer.out);
            }
        }
        while !self.peers.iter().all(|peer| peer.switch.is_quiet()) {
            if begun.elapsed() > patience {
                bail!("not every host is let in after {patience:?}");
            }
            for peer in &mut self.peers {
                peer.switch.show_again(&mut peer.out);
            }
            self.idle(Duration::from_millis(250))?;
        }
        Ok(())
    }

    /// Keeps `window` packets of every switch unanswered, for so long or until a switch has no new host left.
    ///
    /// # Errors
    /// As [`Self::idle`].
    pub fn closed_loop(&mut self, window: usize, time: Duration) -> anyhow::Result<Phase> {
        let mut phase = self.begin();
        let begun = Instant::now();
        while begun.elapsed() < time && self.has_strangers() {
            let now = Instant::now();
            for peer in &mut self.peers {
                while peer.switch.waiting() < window && peer.switch.has_strangers() {
                    peer.switch.show_next(now, &mut peer.out);
                    phase.shown += 1;
                }
            }
            self.flush()?;
            self.wait(time.saturating_sub(begun.elapsed()))?;
        }
        self.end(phase, begun.elapsed())
    }

    /// Shows `rate` packets of new hosts per second, from one switch after the other, for so long or until a switch has no
    /// new host left.
    ///
    /// # Errors
    /// As [`Self::idle`].
    pub fn open_loop(&mut self, rate: u32, time: Duration) -> anyhow::Result<Phase> {
        let mut phase = self.begin();
        let begun = Instant::now();
        let interval = Duration::from_secs(1) / rate;
        let mut due = begun;
        let mut turn = 0;
        while begun.elapsed() < time && self.has_strangers() {
            let now = Instant::now();
            while due <= now {
                if let Some(peer) = self.peers.get_mut(turn) {
                    peer.switch.show_stranger(due, &mut peer.out);
                    phase.shown += 1;
                }
                turn = (turn + 1) % self.peers.len();
                due += interval;
            }
            self.flush()?;
            // The system sleeps for whole milliseconds, so what is due earlier is waited for awake.
            let wait = due.saturating_duration_since(Instant::now());
            self.wait(if wait < Duration::from_millis(2) {
                Duration::ZERO
            } else {
                wait
            })?;
        }
        self.end(phase, begun.elapsed())
    }

    /// Shows packets from the first port of every switch as fast as the controller takes them, and waits for no
    /// answers, until told to stop. Gives how many were shown.
    ///
    /// # Errors
    /// As [`Self::idle`].
    pub fn flood(&mut self, stop: &AtomicBool) -> anyhow::Result<u64> {
        let mut shown = 0;
        while !stop.load(Ordering::Relaxed) {
            for peer in &mut self.peers {
                while peer.out.len() - peer.written < FLOOD_BUFFER {
                    peer.switch.show_flood(&mut peer.out);
                    shown += 1;
                }
            }
            self.flush()?;
            self.wait(Duration::from_millis(1))?;
        }
        Ok(shown)
    }

    fn begin(&mut self) -> Phase {
        for peer in &mut self.peers {
            peer.switch.take_received();
            peer.switch.take_latencies();
        }
        Phase::default()
    }

    /// Sums up, after having waited for the answers that are missing.
    fn end(&mut self, mut phase: Phase, took: Duration) -> anyhow::Result<Phase> {
        phase.took = took;
        phase.in_time = phase.shown - self.waiting() as u64;
        if self.known_need_none {
            let now = Instant::now();
            for peer in &mut self.peers {
                peer.switch.show_last(now, &mut peer.out);
            }
        }
        let ended = Instant::now();
        self.flush()?;
        while self.waiting() > 0 && ended.elapsed() < DRAIN {
            self.wait(Duration::from_millis(20))?;
        }
        for peer in &mut self.peers {
            let received = peer.switch.take_received();
            phase.received.flow_mods += received.flow_mods;
            phase.received.packet_outs += received.packet_outs;
            phase.received.answered += received.answered;
            phase.received.repeated += received.repeated;
            phase.latencies.extend(peer.switch.take_latencies());
        }
        phase.latencies.sort_unstable();
        Ok(phase)
    }

    fn waiting(&self) -> usize {
        self.peers.iter().map(|peer| peer.switch.waiting()).sum()
    }

    fn has_strangers(&self) -> bool {
        self.peers.iter().all(|peer| peer.switch.has_strangers())
    }

    /// Waits for something to read, at most so long, and takes it.
    fn wait(&mut self, time: Duration) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, Some(time)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            if let Some(peer) = self.peers.get_mut(event.token().0) {
                peer.read(&mut self.buffer)?;
                peer.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.peers.iter_mut().try_for_each(Peer::flush)
    }
}

impl Peer {
    fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => bail!("the controller closed a connection"),
                Ok(count) => {
                    self.greeted = true;
                    let bytes = buffer.get(..count).unwrap_or_default();
                    self.switch.receive(bytes, Instant::now(), &mut self.out)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the controller cut a connection"),
            }
        }
    }

    /// Writes what the socket takes; the rest when it is writable again.
    fn flush(&mut self) -> anyhow::Result<()> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the controller cut a connection"),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}
