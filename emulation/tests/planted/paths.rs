//! Paths that change: the network half of the core alone, over switches in memory, under a seed.
//!
//! The desk gives a reservation one path for its whole life, so no simulation of the whole core ever has two generations
//! of one. Here they come and go, and after every word to a switch its tables are read, as anybody could.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use payflow_controller::core::network::{
    ConnectionId, FlowId, FlowPlan, MacAddr, Network, NetworkConfig, NetworkEvent, NetworkInput,
    NetworkOutput, Peer, PortFacts, PortRole, Protocol, Selector,
};
use payflow_emulation::simulation::chance::Chance;
use payflow_emulation::switch::{self, ConnectionKind, MemorySwitch, SwitchSettings};
use payflow_qos::{Class, Hop, Path, PortNo, SoldRate, SwitchId, Time};
use rust_openflow::{
    DatapathId, FlowFilter, FlowStats, Framer, Hello, Instruction, Message, MeterBand, MeterConfig,
    MeterId, MultipartReply, MultipartReplyBody, MultipartRequestBody,
};

const BEGIN: Time = Time::from_millis(1_000_000);
const SWITCHES: u64 = 4;
/// Leads to the next switch of the ring.
const ONWARDS: u32 = 101;
/// Leads to the one before.
const BACKWARDS: u32 = 102;
/// The highest byte of our cookies.
const OWNER: u8 = 0x50;

struct Line {
    switch: MemorySwitch,
    /// The controller's connection.
    controller: switch::ConnectionId,
    /// Through which the tables are read.
    reader: switch::ConnectionId,
}

struct Ring {
    network: Network,
    lines: BTreeMap<u64, Line>,
    chance: Chance,
    now: Time,
    /// The newest generation of every reservation.
    wanted: BTreeMap<u64, FlowPlan>,
    /// What is installed, by reservation.
    installed: BTreeMap<u64, FlowPlan>,
    /// How often something was installed.
    installations: u64,
    wrong: BTreeSet<String>,
}

/// What is wrong under a seed.
pub(crate) fn run(seed: u64) -> Vec<String> {
    let mut ring = Ring::new(seed);
    ring.wait(3_000);
    for number in 1..=40 {
        ring.act(number);
        let pause = ring.chance.between(0, 400);
        ring.wait(pause);
    }
    ring.wait(1_000);
    if ring.installations == 0 {
        ring.wrong.insert("nothing was ever installed".to_owned());
    }
    ring.wrong.into_iter().collect()
}

impl Ring {
    fn new(seed: u64) -> Self {
        let mut ring = Self {
            network: Network::new(NetworkConfig::new([1; 32])),
            lines: BTreeMap::new(),
            chance: Chance::new(seed),
            now: BEGIN,
            wanted: BTreeMap::new(),
            installed: BTreeMap::new(),
            installations: 0,
            wrong: BTreeSet::new(),
        };
        for id in 1..=SWITCHES {
            let mut switch = MemorySwitch::new(SwitchSettings::new(DatapathId(id)));
            for port in [1, 2, ONWARDS, BACKWARDS] {
                let name = format!("s{id}-eth{port}");
                switch.add_port(rust_openflow::PortNo(port), &name, Duration::ZERO);
            }
            let controller = switch.connect(ConnectionKind::Primary, Duration::ZERO);
            let reader = switch.connect(ConnectionKind::Service, Duration::ZERO);
            let mut line = Line {
                switch,
                controller,
                reader,
            };
            line.ask(&Message::Hello(Hello::v1_3()), Duration::ZERO);
            ring.lines.insert(id, line);
            let connection = ConnectionId(id);
            ring.network.handle(
                NetworkInput::Connected {
                    connection,
                    peer: Peer::Tcp,
                },
                BEGIN,
            );
            for port in [ONWARDS, BACKWARDS] {
                let facts = PortFacts {
                    switch: SwitchId(id),
                    port_name: format!("s{id}-eth{port}"),
                    capacity: None,
                    role: PortRole::Trunk,
                };
                ring.network.handle(NetworkInput::Port(facts), BEGIN);
            }
        }
        ring
    }

    /// Somebody buys, a path changes, or a flow ends.
    fn act(&mut self, number: u64) {
        let there: Vec<u64> = self
            .wanted
            .iter()
            .filter(|(number, plan)| self.installed.get(*number) == Some(plan))
            .map(|(number, _)| *number)
            .collect();
        let one = self.chance.pick(&there).copied();
        match one.and_then(|one| self.wanted.get(&one).cloned()) {
            Some(mut plan) if there.len() > 3 || self.chance.happens(600) => {
                if self.chance.happens(400) {
                    self.wanted.remove(&plan.flow.reservation);
                    self.installed.remove(&plan.flow.reservation);
                    self.network.remove(plan.flow, self.now);
                    return;
                }
                plan.flow.generation += 1;
                let ends = [plan.path.hops.first(), plan.path.hops.last()];
                if let [Some(first), Some(last)] = ends.map(Option::<&Hop>::copied) {
                    plan.path = self.path(first.switch.0, last.switch.0);
                }
                self.install(plan);
            }
            _ => {
                let plan = self.new_plan(number);
                self.install(plan);
            }
        }
    }

    fn install(&mut self, plan: FlowPlan) {
        self.wanted.insert(plan.flow.reservation, plan.clone());
        self.network.install(plan, self.now);
    }

    fn new_plan(&mut self, number: u64) -> FlowPlan {
        let from = self.chance.between(1, SWITCHES + 1);
        let to = (from + self.chance.between(1, SWITCHES) - 1) % SWITCHES + 1;
        let host = |switch: u64| u8::try_from(switch).unwrap_or_default();
        let mac = |switch| MacAddr([2, 0, 0, 0, 0, host(switch)]);
        FlowPlan {
            flow: FlowId {
                reservation: number,
                generation: 0,
            },
            path: self.path(from, to),
            selector: Selector {
                source: IpAddr::from([10, 0, 0, host(from)]),
                destination: IpAddr::from([10, 0, 0, host(to)]),
                protocol: Protocol::Udp,
                source_port: None,
                destination_port: u16::try_from(5_000 + number).ok().map(Into::into),
            },
            source_mac: mac(from),
            destination_mac: mac(to),
            class: Class::Steady,
            rate: SoldRate(u32::try_from(self.chance.between(100, 9_000)).unwrap_or(100)),
            ends: self.now.plus(Duration::from_secs(600)),
            replaced_ends: None,
            begun: false,
            transit: Duration::ZERO,
        }
    }

    /// One way round or the other.
    fn path(&mut self, from: u64, to: u64) -> Path {
        let (out, back, step) = if self.chance.happens(500) {
            (ONWARDS, BACKWARDS, 1)
        } else {
            (BACKWARDS, ONWARDS, SWITCHES - 1)
        };
        let mut hops = Vec::new();
        let (mut at, mut in_port) = (from, 1);
        loop {
            let out_port = if at == to { 1 } else { out };
            hops.push(Hop {
                switch: SwitchId(at),
                in_port: PortNo(in_port),
                out_port: PortNo(out_port),
            });
            if at == to {
                return Path { hops };
            }
            (at, in_port) = ((at + step - 1) % SWITCHES + 1, back);
        }
    }

    fn wait(&mut self, millis: u64) {
        let until = self.now.plus(Duration::from_millis(millis));
        loop {
            self.pump();
            if self.now >= until {
                return;
            }
            self.now = self.now.plus(Duration::from_millis(10));
            if self
                .network
                .next_deadline()
                .is_some_and(|at| at <= self.now)
            {
                self.network.handle(NetworkInput::DeadlineReached, self.now);
            }
            let since = self.now.since(BEGIN);
            for line in self.lines.values_mut() {
                line.switch.advance(since);
            }
        }
    }

    /// Carries bytes to and fro until nobody has any.
    fn pump(&mut self) {
        let since = self.now.since(BEGIN);
        loop {
            let mut quiet = true;
            while let Some(output) = self.network.poll() {
                quiet = false;
                match output {
                    NetworkOutput::Send { connection, bytes } => {
                        if let Some(line) = self.lines.get_mut(&connection.0) {
                            line.switch.receive(line.controller, &bytes, since);
                        }
                        if changes_tables(&bytes) {
                            self.look();
                        }
                    }
                    NetworkOutput::Event(event) => self.happened(event),
                    NetworkOutput::Close { reason, .. } => {
                        self.wrong.insert(format!("closes a connection: {reason}"));
                    }
                    NetworkOutput::MakeClasses { .. } => {}
                }
            }
            let mut sent = Vec::new();
            for (id, line) in &mut self.lines {
                sent.extend(
                    line.switch
                        .take_frames()
                        .into_iter()
                        .map(|frame| (*id, frame)),
                );
                let bytes = line.switch.take_output(line.controller);
                if !bytes.is_empty() {
                    quiet = false;
                    let connection = ConnectionId(*id);
                    self.network
                        .handle(NetworkInput::Bytes { connection, bytes }, self.now);
                }
            }
            for (id, sent) in sent {
                let (far, port) = match sent.port.0 {
                    ONWARDS => (id % SWITCHES + 1, BACKWARDS),
                    BACKWARDS => ((id + SWITCHES - 2) % SWITCHES + 1, ONWARDS),
                    _ => continue,
                };
                quiet = false;
                if let Some(line) = self.lines.get_mut(&far) {
                    let port = rust_openflow::PortNo(port);
                    line.switch.inject(port, sent.frame, since);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn happened(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::Installed { flow } => {
                let Some(plan) = self.wanted.get(&flow.reservation) else {
                    return;
                };
                self.installations += 1;
                if let Some(old) = self.installed.insert(flow.reservation, plan.clone()) {
                    self.network.remove(old.flow, self.now);
                }
            }
            NetworkEvent::InstallFailed { flow, reason } => {
                self.wrong.insert(format!("{flow:?} is refused: {reason}"));
            }
            _ => {}
        }
    }

    /// Reads every table, and compares it with what is installed.
    fn look(&mut self) {
        let since = self.now.since(BEGIN);
        let mut entries: BTreeMap<u64, Vec<FlowStats>> = BTreeMap::new();
        for (id, line) in &mut self.lines {
            let flows = line.flows(since);
            let meters = line.meters(since);
            let mut users: BTreeMap<MeterId, u64> = BTreeMap::new();
            let paid = flows.into_iter().filter(|entry| reservation(entry) != 0);
            let paid: Vec<FlowStats> = paid.collect();
            for entry in &paid {
                let number = reservation(entry);
                if entry.hard_timeout_s == 0 {
                    let what = format!("r{number} has an entry without a hard time-out");
                    self.wrong.insert(what);
                }
                let Some(meter) = meter(entry) else { continue };
                let other = users.insert(meter, number);
                if let Some(other) = other.filter(|other| *other != number) {
                    let what = format!("r{other} and r{number} share a meter");
                    self.wrong.insert(what);
                }
                if let Some(plan) = self.installed.get(&number)
                    && rate(&meters, meter) != Some(plan.rate.0)
                {
                    let what = format!("r{number} is metered at another rate than was sold");
                    self.wrong.insert(what);
                }
            }
            entries.insert(*id, paid);
        }
        for (number, plan) in &self.installed {
            for hop in &plan.path.hops {
                let there = entries.get(&hop.switch.0).into_iter().flatten();
                let carried = there.into_iter().any(|entry| {
                    reservation(entry) == *number && generation(entry) >= plan.flow.generation
                });
                if !carried {
                    let what =
                        format!("r{number} is installed, and has no entry on a switch of its path");
                    self.wrong.insert(what);
                }
            }
        }
    }
}

impl Line {
    /// Asks as anybody may, and hears the whole answer.
    fn ask(&mut self, message: &Message, now: Duration) -> Vec<Message> {
        let mut bytes = Vec::new();
        message.encode(1, &mut bytes).expect("a short message");
        self.switch.receive(self.reader, &bytes, now);
        let mut framer = Framer::new();
        framer.push(&self.switch.take_output(self.reader));
        let mut heard = Vec::new();
        while let Some(frame) = framer.next_frame().expect("whole messages") {
            heard.push(Message::decode(frame).expect("OpenFlow").1);
        }
        heard
    }

    fn read(&mut self, what: MultipartRequestBody, now: Duration) -> Vec<MultipartReplyBody> {
        let heard = self.ask(&what.into(), now).into_iter();
        heard
            .filter_map(|message| match message {
                Message::MultipartReply(MultipartReply { body, .. }) => Some(body),
                _ => None,
            })
            .collect()
    }

    fn flows(&mut self, now: Duration) -> Vec<FlowStats> {
        let bodies = self.read(MultipartRequestBody::Flow(FlowFilter::all()), now);
        let flows = bodies.into_iter().map(|body| match body {
            MultipartReplyBody::Flow(flows) => flows,
            _ => Vec::new(),
        });
        let ours = flows.flatten();
        ours.filter(|entry| entry.cookie.to_be_bytes()[0] == OWNER)
            .collect()
    }

    fn meters(&mut self, now: Duration) -> Vec<MeterConfig> {
        let bodies = self.read(MultipartRequestBody::MeterConfig(MeterId::ALL), now);
        let meters = bodies.into_iter().map(|body| match body {
            MultipartReplyBody::MeterConfig(meters) => meters,
            _ => Vec::new(),
        });
        meters.flatten().collect()
    }
}

/// Whether there is a flow-mod or meter-mod among these messages.
fn changes_tables(bytes: &[u8]) -> bool {
    let mut framer = Framer::new();
    framer.push(bytes);
    std::iter::from_fn(|| {
        framer
            .next_frame()
            .expect("whole messages")
            .map(<[u8]>::to_vec)
    })
    .any(|frame| {
        matches!(
            Message::decode(&frame),
            Ok((_, Message::FlowMod(_) | Message::MeterMod(_)))
        )
    })
}

/// Bits 16 to 55 of the cookie.
fn reservation(entry: &FlowStats) -> u64 {
    entry.cookie << 8 >> 24
}

/// Bits 0 to 15 of the cookie.
fn generation(entry: &FlowStats) -> u16 {
    let [.., high, low] = entry.cookie.to_be_bytes();
    u16::from_be_bytes([high, low])
}

fn meter(entry: &FlowStats) -> Option<MeterId> {
    entry
        .instructions
        .iter()
        .find_map(|instruction| match instruction {
            Instruction::Meter(meter) => Some(*meter),
            _ => None,
        })
}

/// In kbit/s.
fn rate(meters: &[MeterConfig], meter: MeterId) -> Option<u32> {
    let there = meters.iter().find(|there| there.meter_id == meter)?;
    match there.bands[..] {
        [MeterBand::Drop { rate, .. }] => Some(rate),
        _ => None,
    }
}
