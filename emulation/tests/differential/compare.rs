//! Doing the same to both switches and finding the first thing they say differently.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use payflow_emulation::switch::{ConnectionId, ConnectionKind, MemorySwitch, SwitchSettings};
use rust_openflow::*;

use super::generate::{CONNECTIONS, Operation};
use super::open_vswitch::OpenVswitch;

const PATIENCE: Duration = Duration::from_secs(20);
/// How long Open vSwitch may take for what it says unasked, before it counts as not said.
const UNASKED_PATIENCE: Duration = Duration::from_secs(3);
/// How long Open vSwitch may take to notice what became of a port.
const LINK_PATIENCE: Duration = Duration::from_millis(1_500);
/// Messages sent before the answers are awaited.
const BATCH: usize = 50;

/// A sequence of at least so many operations is summed up by what was compared.
const SUMMED_UP_FROM: usize = 1_000;

/// What was said differently.
pub(crate) struct Difference {
    /// How many operations it took.
    pub(crate) after: usize,
    pub(crate) text: String,
}

pub(crate) fn first_difference(sequence: &[Operation]) -> Option<Difference> {
    let mut pair = Pair::start();
    let difference = pair.first_difference(sequence);
    if difference.is_none() && sequence.len() >= SUMMED_UP_FROM {
        println!("Open vSwitch said: {:?}", pair.said);
    }
    difference
}

impl Pair {
    fn first_difference(&mut self, sequence: &[Operation]) -> Option<Difference> {
        let mut done = 0;
        while done < sequence.len() {
            let rest = &sequence[done..];
            let connection = connection_of(&rest[0]);
            if changes_what_is_heard(&rest[0])
                && let Some(text) = self.settle()
            {
                return Some(Difference { after: done, text });
            }
            let together = rest
                .iter()
                .take(BATCH)
                .take_while(|operation| {
                    connection.is_some() && connection_of(operation) == connection
                })
                .take_while(|operation| !changes_what_is_heard(operation))
                .count()
                .max(1);
            done += together;
            if let Some(text) = self.run(&rest[..together]) {
                return Some(Difference { after: done, text });
            }
        }
        std::thread::sleep(Duration::from_millis(100));
        let text = self.settle()?;
        Some(Difference { after: done, text })
    }
}

fn connection_of(operation: &Operation) -> Option<usize> {
    match operation {
        Operation::Send { connection, .. }
        | Operation::SendRaw { connection, .. }
        | Operation::Bundle { connection, .. } => Some(*connection),
        _ => None,
    }
}

/// Open vSwitch looks at masks when it sends, some time after what it tells of: so these go alone.
fn changes_what_is_heard(operation: &Operation) -> bool {
    let Operation::Send { message, .. } = operation else {
        return false;
    };
    matches!(
        message,
        Message::SetAsync(_) | Message::RoleRequest(_) | Message::SetConfig(_)
    )
}

/// Both switches and the connections to them.
struct Pair {
    real: OpenVswitch,
    memory: MemorySwitch,
    started: Instant,
    lines: Vec<Line>,
    ids: Vec<ConnectionId>,
    heard: Vec<Heard>,
    expected: Vec<Heard>,
    next_xid: u32,
    /// What was compared: how much of each kind.
    said: BTreeMap<String, usize>,
}

impl Pair {
    fn start() -> Self {
        let mut memory = MemorySwitch::new(SwitchSettings::new(DatapathId(0xa1)));
        for number in 1..=3 {
            memory.add_port(PortNo(number), &format!("p{number}"), Duration::ZERO);
        }
        let mut pair = Self {
            real: OpenVswitch::start(),
            memory,
            started: Instant::now(),
            lines: Vec::new(),
            ids: Vec::new(),
            heard: Vec::new(),
            expected: Vec::new(),
            next_xid: 100,
            said: BTreeMap::new(),
        };
        pair.connect();
        pair
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn connect(&mut self) {
        let now = self.now();
        let connect = |_| self.memory.connect(ConnectionKind::Service, now);
        self.ids = (0..CONNECTIONS).map(connect).collect();
        let socket = self.real.socket();
        self.lines = (0..CONNECTIONS).map(|_| Line::open(&socket)).collect();
        self.heard = vec![Heard::default(); CONNECTIONS];
        self.expected = vec![Heard::default(); CONNECTIONS];
        for connection in 0..CONNECTIONS {
            self.send(connection, &encoded(0, &Message::Hello(Hello::v1_3())));
        }
        for connection in 0..CONNECTIONS {
            let config = Message::SetConfig(SwitchConfig::WHOLE_PACKETS);
            assert_eq!(self.exchange(connection, &encoded(1, &config)), None);
        }
    }

    /// What the switches say differently, if anything.
    fn run(&mut self, operations: &[Operation]) -> Option<String> {
        let mut bytes = Vec::new();
        let mut to = 0;
        for operation in operations {
            match operation {
                Operation::Send {
                    connection,
                    message,
                } => {
                    to = *connection;
                    message.encode(self.next_xid, &mut bytes).unwrap();
                }
                Operation::SendRaw {
                    connection,
                    kind,
                    body,
                } => {
                    to = *connection;
                    let message = Message::Unknown {
                        kind: MessageType(*kind),
                        body: body.clone(),
                    };
                    message.encode(self.next_xid, &mut bytes).unwrap();
                }
                Operation::Bundle {
                    connection,
                    flags,
                    messages,
                    end,
                } => {
                    to = *connection;
                    self.bundle(*flags, messages, end, &mut bytes);
                }
                Operation::Inject { port, frame } => {
                    self.real.inject(&format!("p{port}"), frame);
                    let now = self.now();
                    self.memory.inject(PortNo(*port), frame.clone(), now);
                    self.listen();
                    return self.compare_unasked();
                }
                Operation::Link { port, up } => {
                    self.real.set_link(&format!("p{port}"), *up);
                    std::thread::sleep(LINK_PATIENCE);
                    let now = self.now();
                    self.memory.set_link(PortNo(*port), *up, now);
                    self.listen();
                    return self.compare_unasked();
                }
                Operation::Wait(duration) => {
                    std::thread::sleep(*duration);
                    let now = self.now();
                    self.memory.advance(now);
                    self.listen();
                    return self.compare_unasked();
                }
                Operation::Restart => {
                    let late = self.compare_unasked();
                    self.lines.clear();
                    self.real.restart();
                    let now = self.now();
                    self.memory.restart(now);
                    self.connect();
                    return late;
                }
            }
            self.next_xid += 1;
        }
        self.exchange(to, &bytes)
    }

    fn bundle(
        &mut self,
        flags: BundleFlags,
        messages: &[Message],
        end: &[BundleCommand],
        bytes: &mut Vec<u8>,
    ) {
        let control = |command| {
            let control = BundleControl {
                bundle_id: 7,
                command,
                flags,
            };
            control.to_message()
        };
        control(BundleCommand::OPEN_REQUEST)
            .encode(self.next_xid, bytes)
            .unwrap();
        for message in messages {
            self.next_xid += 1;
            bundle_add(7, flags, self.next_xid, message)
                .unwrap()
                .encode(self.next_xid, bytes)
                .unwrap();
        }
        for command in end {
            self.next_xid += 1;
            control(*command).encode(self.next_xid, bytes).unwrap();
        }
    }

    fn send(&mut self, connection: usize, bytes: &[u8]) {
        let written = self.lines[connection].stream.write_all(bytes);
        self.lines[connection].is_dead |= written.is_err();
        let now = self.now();
        self.memory.receive(self.ids[connection], bytes, now);
    }

    /// Sends these and a barrier, and compares everything said up to its answer and unasked.
    fn exchange(&mut self, connection: usize, bytes: &[u8]) -> Option<String> {
        let xid = self.next_xid;
        self.next_xid += 1;
        let bytes = [bytes, &encoded(xid, &Message::BarrierRequest)].concat();
        self.send(connection, &bytes);
        self.listen();
        let started = Instant::now();
        while !self.heard[connection].barriers.contains(&xid) {
            if self.lines[connection].is_dead {
                return Some("Open vSwitch hung up".to_owned());
            }
            if started.elapsed() > PATIENCE {
                return Some("Open vSwitch hangs".to_owned());
            }
            self.lines[connection].hear(&mut self.heard[connection]);
        }
        let heard = std::mem::take(&mut self.heard[connection].replies);
        count(&mut self.said, &heard);
        let expected = std::mem::take(&mut self.expected[connection].replies);
        difference("replies", &heard, &expected).or_else(|| self.compare_unasked())
    }

    /// Lets Open vSwitch say what it says late, and what it says too much.
    fn settle(&mut self) -> Option<String> {
        std::thread::sleep(Duration::from_millis(2));
        for connection in 0..CONNECTIONS {
            if let Some(text) = self.exchange(connection, &[]) {
                return Some(text);
            }
        }
        None
    }

    fn listen(&mut self) {
        for (id, expected) in self.ids.iter().zip(&mut self.expected) {
            let bytes = self.memory.take_output(*id);
            expected.bytes(&bytes);
        }
    }

    /// Compares what was said unasked: the same things, in whatever order.
    fn compare_unasked(&mut self) -> Option<String> {
        let started = Instant::now();
        for connection in 0..CONNECTIONS {
            let (heard, expected) = (&mut self.heard[connection], &mut self.expected[connection]);
            self.lines[connection].hear_at_once(heard);
            while heard.unasked.len() < expected.unasked.len()
                && started.elapsed() < UNASKED_PATIENCE
            {
                self.lines[connection].hear(heard);
            }
            count(&mut self.said, &heard.unasked);
            heard.unasked.sort();
            expected.unasked.sort();
            let what = format!("unasked on connection {connection}");
            let found = difference(&what, &heard.unasked, &expected.unasked);
            heard.unasked.clear();
            expected.unasked.clear();
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

/// Counts lines by their first word and, of errors, by their code.
fn count(said: &mut BTreeMap<String, usize>, lines: &[String]) {
    for line in lines {
        let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let kind = line.split([' ', ',']).next().unwrap_or_default();
        let kind = kind.trim_start_matches("Error(OfpError(");
        *said.entry(kind.to_owned()).or_default() += 1;
    }
}

fn difference(what: &str, real: &[String], memory: &[String]) -> Option<String> {
    if real == memory {
        return None;
    }
    let at = real.iter().zip(memory).take_while(|(a, b)| a == b).count();
    let show = |all: &[String]| all.get(at).map_or("nothing".to_owned(), Clone::clone);
    let (real, memory) = (show(real), show(memory));
    Some(format!(
        "{what}:\n  Open vSwitch {real}\n  in memory    {memory}"
    ))
}

fn encoded(xid: u32, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(xid, &mut bytes).unwrap();
    bytes
}

/// A connection to the real switch.
struct Line {
    stream: UnixStream,
    /// The switch has hung up, most likely because it has died.
    is_dead: bool,
}

impl Line {
    fn open(socket: &std::path::Path) -> Self {
        let started = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let patience = Some(Duration::from_millis(20));
        stream.set_read_timeout(patience).unwrap();
        let is_dead = false;
        Self { stream, is_dead }
    }

    fn hear(&mut self, heard: &mut Heard) -> bool {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(n) if n > 0 => heard.bytes(&buffer[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Ok(_) | Err(_) => {
                self.is_dead = true;
                return false;
            }
        }
        true
    }

    fn hear_at_once(&mut self, heard: &mut Heard) {
        self.stream.set_nonblocking(true).unwrap();
        while self.hear(heard) {}
        self.stream.set_nonblocking(false).unwrap();
    }
}

/// What was said on a connection, in a form that can be compared.
#[derive(Clone, Debug, Default)]
struct Heard {
    framer: Framer,
    replies: Vec<String>,
    unasked: Vec<String>,
    barriers: Vec<u32>,
    /// Answers of which parts are still to come.
    unfinished: BTreeMap<u32, MultipartReplyBody>,
}

impl Heard {
    fn bytes(&mut self, bytes: &[u8]) {
        self.framer.push(bytes);
        while let Some(frame) = self.framer.next_frame().unwrap().map(<[u8]>::to_vec) {
            let (header, message) = Message::decode(&frame).unwrap();
            self.message(header.xid, message);
        }
    }

    fn message(&mut self, xid: u32, message: Message) {
        match message {
            Message::Hello(_) | Message::EchoRequest(_) => {}
            Message::PacketIn(packet) => self.unasked.push(format!("{packet:?}")),
            Message::FlowRemoved(removed) => self.unasked.push(format!(
                "{:?}",
                FlowRemoved {
                    duration_sec: 0,
                    duration_nsec: 0,
                    ..removed
                }
            )),
            // Open vSwitch may tell in several steps what became of a port: the last counts.
            Message::PortStatus(PortStatus { port, .. }) => {
                let about = format!("{} is up: ", port.port_no);
                self.unasked.retain(|line| !line.starts_with(&about));
                self.unasked.push(format!("{about}{}", port.is_up()));
            }
            Message::Experimenter(told) if BundleControl::from_experimenter(&told).is_some() => {
                let done = BundleControl::from_experimenter(&told);
                self.replies.push(format!("{xid} {done:?}"));
            }
            Message::Experimenter(told) => self
                .unasked
                .push(format!("{:?}", RoleStatus::from_experimenter(&told))),
            Message::MultipartReply(part) => {
                let more = part.has_more();
                let body = match self.unfinished.remove(&xid) {
                    Some(mut earlier) => {
                        assert!(earlier.append(part.body), "parts of different kinds");
                        earlier
                    }
                    None => part.body,
                };
                if more {
                    self.unfinished.insert(xid, body);
                } else {
                    self.replies
                        .extend(lines(body).iter().map(|line| format!("{xid} {line}")));
                }
            }
            Message::BarrierReply => {
                self.barriers = vec![xid];
                self.replies.push(format!("{xid} barrier"));
            }
            Message::FeaturesReply(features) => {
                let SwitchFeatures {
                    datapath_id,
                    n_buffers,
                    n_tables,
                    ..
                } = features;
                self.replies
                    .push(format!("{xid} {datapath_id} {n_buffers} {n_tables}"));
            }
            message => self.replies.push(format!("{xid} {message:?}")),
        }
    }
}

/// An answer without what differs between two switches of different makers, sorted.
fn lines(body: MultipartReplyBody) -> Vec<String> {
    let kind = body.kind();
    let mut lines: Vec<String> = match body {
        MultipartReplyBody::Flow(flows) => flows
            .iter()
            .map(|flow| {
                let (entry, packets) = (flow.entry(), flow.packet_count);
                format!(
                    "{entry:?} {:?} {packets} packets {} bytes",
                    flow.flags, flow.byte_count
                )
            })
            .collect(),
        MultipartReplyBody::Table(tables) => tables
            .iter()
            .filter(|table| table.active_count > 0)
            .map(|table| format!("{table:?}"))
            .collect(),
        MultipartReplyBody::Meter(meters) => meters
            .into_iter()
            .map(|meter| MeterStats {
                duration_sec: 0,
                duration_nsec: 0,
                ..meter
            })
            .map(|meter| format!("{meter:?}"))
            .collect(),
        MultipartReplyBody::MeterConfig(configs) => {
            configs.iter().map(|config| format!("{config:?}")).collect()
        }
        MultipartReplyBody::Group(groups) => groups
            .into_iter()
            .map(|group| GroupStats {
                duration_sec: 0,
                duration_nsec: 0,
                ..group
            })
            .map(|group| format!("{group:?}"))
            .collect(),
        MultipartReplyBody::GroupDesc(groups) => {
            groups.iter().map(|group| format!("{group:?}")).collect()
        }
        MultipartReplyBody::GroupFeatures(features) => {
            let actions = [0; 4];
            vec![format!(
                "{:?}",
                GroupFeatures {
                    actions,
                    ..features
                }
            )]
        }
        MultipartReplyBody::PortDesc(ports) => ports
            .iter()
            .map(|p| format!("{} {} {} {}", p.port_no, p.name, p.config, p.state))
            .collect(),
        MultipartReplyBody::PortStats(ports) => ports
            .iter()
            .map(|p| format!("{} sent {} of {}", p.port_no, p.tx_packets, p.tx_bytes))
            .collect(),
        body => vec![format!("{body:?}")],
    };
    lines.sort();
    lines.insert(0, format!("{kind}, {} items", lines.len()));
    lines
}
