//! One emulated switch: what it is told, what it says, and which of its packets are answered.
//!
//! What comes by the hundred thousand (packet-outs, entries, barriers, echoes) is handled here, at the least cost.
//! Everything else is answered by the switch in memory, which first takes in the entries written down meanwhile.

use std::time::{Duration, Instant};

use payflow_emulation::switch::{ConnectionId, ConnectionKind, MemorySwitch, SwitchSettings};
use rust_openflow::{DatapathId, DecodeError, EncodeError, Framer, Header, MessageType, PortNo};

use super::packet::{HostId, PacketInTemplate, host_let_in, packet_sent};

/// Ports of a switch, numbered from 1.
pub const PORTS: u16 = 48;
/// Hosts behind a port, below the 64 addresses that the controller learns there.
pub const HOSTS_PER_PORT: u16 = 60;

/// What the hosts behind the switches do, and what counts as an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Of so many packets of a switch the first is from a host that was never heard; 1 makes all of them so.
    pub stranger_every: usize,
    /// Hosts that are known already need no answer: their packets have gone on when they are shown. That they were
    /// looked at is known when the next stranger behind them is answered, as a controller takes the packets of a
    /// connection in order. Otherwise every packet is to have an answer of its own.
    pub known_need_none: bool,
}

/// What was received from the controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Flow-mods.
    pub flow_mods: u64,
    /// Packet-outs.
    pub packet_outs: u64,
    /// Packets that are answered.
    pub answered: u64,
    /// Answers to packets that had one already.
    pub repeated: u64,
}

/// A packet that was shown to the controller.
#[derive(Clone, Copy, Debug)]
struct Shown {
    host: u16,
    /// The first packet of its host.
    is_first: bool,
    /// Not one that only closes a measurement.
    counts: bool,
    at: Instant,
    answered: bool,
}

/// One emulated switch and its connection.
pub struct EmulatedSwitch {
    number: u16,
    memory: MemorySwitch,
    connection: ConnectionId,
    born: Instant,
    framer: Framer,
    /// Flow-mods and meter-mods that the switch in memory has not seen yet.
    unseen: Vec<u8>,
    template: PacketInTemplate,
    mix: Mix,
    shown: Vec<Shown>,
    /// By host that was ever heard: the first packet it sent.
    known: Vec<u32>,
    /// All packets before this one are answered.
    answered_to: usize,
    turn: usize,
    waiting: usize,
    received: Received,
    latencies: Vec<Duration>,
}

impl EmulatedSwitch {
    /// Datapath id `number` + 1.
    ///
    /// # Errors
    /// None for a packet-in of this size.
    pub fn new(number: u16, mix: Mix) -> Result<Self, EncodeError> {
        let settings = SwitchSettings::new(DatapathId(u64::from(number) + 1));
        let mut memory = MemorySwitch::new(settings);
        for port in 1..=PORTS {
            memory.add_port(PortNo(port.into()), &format!("h{port}"), Duration::ZERO);
        }
        let connection = memory.connect(ConnectionKind::Primary, Duration::ZERO);
        Ok(Self {
            number,
            memory,
            connection,
            born: Instant::now(),
            framer: Framer::new(),
            unseen: Vec::new(),
            template: PacketInTemplate::new()?,
            mix,
            shown: Vec::new(),
            known: Vec::new(),
            answered_to: 0,
            turn: 0,
            waiting: 0,
            received: Received::default(),
            latencies: Vec::new(),
        })
    }

    /// What it says before anything else.
    pub fn greeting(&mut self) -> Vec<u8> {
        self.memory.take_output(self.connection)
    }

    /// Packets that are not answered yet.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether every packet is answered, those that do not count as well.
    pub fn is_quiet(&self) -> bool {
        self.answered_to == self.shown.len()
    }

    /// Whether hosts are left that were never heard.
    pub fn has_strangers(&self) -> bool {
        self.known.len() < usize::from(PORTS * HOSTS_PER_PORT)
    }

    /// What came since the last call.
    pub fn take_received(&mut self) -> Received {
        std::mem::take(&mut self.received)
    }

    /// How long the answers to new hosts since the last call took.
    pub fn take_latencies(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.latencies)
    }

    /// Shows the next packet of the mix. Its answer is timed from `since`.
    pub fn show_next(&mut self, since: Instant, out: &mut Vec<u8>) {
        let host = if self.shown.len().is_multiple_of(self.mix.stranger_every) {
            self.known.len()
        } else {
            self.turn = (self.turn + 1) % self.known.len().max(1);
            self.turn
        };
        self.show(host, true, since, out);
    }

    /// Shows a packet of a new host. Its answer is timed from `since`.
    pub fn show_stranger(&mut self, since: Instant, out: &mut Vec<u8>) {
        self.show(self.known.len(), true, since, out);
    }

    /// Shows a packet of a new host, which does not count; when it is answered, those before it are.
    pub fn show_last(&mut self, since: Instant, out: &mut Vec<u8>) {
        self.show(self.known.len(), false, since, out);
    }

    fn show(&mut self, host: usize, counts: bool, at: Instant, out: &mut Vec<u8>) {
        let packet = self.shown.len();
        let is_first = host == self.known.len();
        if is_first {
            self.known.push(packet as u32);
        }
        self.shown.push(Shown {
            host: host as u16,
            is_first,
            counts,
            at,
            answered: false,
        });
        self.waiting += usize::from(counts);
        self.write(packet, out);
    }

    /// Shows a packet of the first host, of which nothing is awaited.
    pub fn show_flood(&mut self, out: &mut Vec<u8>) {
        let id = HostId {
            switch: self.number,
            host: 0,
        };
        self.template.write(id, 1, u32::MAX, false, out);
    }

    /// Shows the packets that are not answered once more: a controller may not have been ready for them.
    pub fn show_again(&mut self, out: &mut Vec<u8>) {
        for packet in self.answered_to..self.shown.len() {
            if self.shown.get(packet).is_some_and(|shown| !shown.answered) {
                self.write(packet, out);
            }
        }
    }

    fn write(&mut self, packet: usize, out: &mut Vec<u8>) {
        if let Some(Shown { host, is_first, .. }) = self.shown.get(packet).copied() {
            let id = HostId {
                switch: self.number,
                host,
            };
            let port = 1 + u32::from(host % PORTS);
            self.template.write(id, port, packet as u32, is_first, out);
        }
    }

    /// Takes what the controller sent; what is to be said to it at once is appended to `out`.
    ///
    /// # Errors
    /// What is no OpenFlow 1.3.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let mut framer = std::mem::take(&mut self.framer);
        framer.push(bytes);
        while let Some(frame) = framer.next_frame()? {
            match Header::decode(frame)?.kind {
                MessageType::PACKET_OUT => {
                    self.received.packet_outs += 1;
                    if let Some(packet) = packet_sent(frame) {
                        self.answered(packet, now);
                    }
                }
                MessageType::FLOW_MOD => {
                    self.unseen.extend_from_slice(frame);
                    self.flow_mod(frame, now);
                }
                MessageType::METER_MOD => self.unseen.extend_from_slice(frame),
                MessageType::BARRIER_REQUEST => reply(MessageType::BARRIER_REPLY, frame, out),
                MessageType::ECHO_REQUEST => reply(MessageType::ECHO_REPLY, frame, out),
                kind => {
                    if let (MessageType::EXPERIMENTER, Some(inner)) = (kind, in_bundle(frame)) {
                        self.flow_mod(inner, now);
                    }
                    let since_birth = self.born.elapsed();
                    let unseen = std::mem::take(&mut self.unseen);
                    self.memory.receive(self.connection, &unseen, since_birth);
                    self.memory.receive(self.connection, frame, since_birth);
                    out.extend(self.memory.take_output(self.connection));
                }
            }
        }
        self.framer = framer;
        Ok(())
    }

    fn flow_mod(&mut self, frame: &[u8], now: Instant) {
        self.received.flow_mods += 1;
        let host = host_let_in(frame).filter(|host| host.switch == self.number);
        let packet = host.and_then(|id| self.known.get(usize::from(id.host)).copied());
        if let Some(packet) = packet {
            self.let_in(packet, now);
        }
    }

    /// A host is let in. One host has several entries, so an answer that is repeated says nothing.
    fn let_in(&mut self, packet: u32, now: Instant) {
        if self
            .shown
            .get(packet as usize)
            .is_some_and(|shown| !shown.answered)
        {
            self.answered(packet, now);
        }
    }

    fn answered(&mut self, packet: u32, now: Instant) {
        let packet = packet as usize;
        match self.shown.get(packet) {
            None => return,
            Some(shown) if shown.answered => {
                self.received.repeated += 1;
                return;
            }
            Some(_) => self.done(packet, now),
        }
        if self.mix.known_need_none {
            for earlier in self.answered_to..packet {
                let open = |shown: &Shown| !shown.answered && !shown.is_first;
                if self.shown.get(earlier).is_some_and(open) {
                    self.done(earlier, now);
                }
            }
        }
        while self
            .shown
            .get(self.answered_to)
            .is_some_and(|shown| shown.answered)
        {
            self.answered_to += 1;
        }
    }

    fn done(&mut self, packet: usize, now: Instant) {
        let Some(shown) = self.shown.get_mut(packet) else {
            return;
        };
        shown.answered = true;
        if shown.counts {
            self.waiting -= 1;
            self.received.answered += 1;
            if shown.is_first {
                self.latencies.push(now.saturating_duration_since(shown.at));
            }
        }
    }
}

/// The flow-mod that a message puts in a bundle: after the header, `experimenter`, `exp_type`, `bundle_id`, padding and
/// flags of `onf_bundle_add_msg` (ONF extension 230).
fn in_bundle(frame: &[u8]) -> Option<&[u8]> {
    const ADD: [u8; 8] = [0x4f, 0x4e, 0x46, 0x00, 0, 0, 0x08, 0xfd];
    let inner = frame
        .get(24..)
        .filter(|_| frame.get(8..16) == Some(&ADD[..]))?;
    let kind = Header::decode(inner).ok()?.kind;
    (kind == MessageType::FLOW_MOD).then_some(inner)
}

/// The same message, as an answer of this type.
fn reply(kind: MessageType, request: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(request);
    if let Some(place) = out.get_mut(start + 1) {
        *place = kind.0;
    }
}
