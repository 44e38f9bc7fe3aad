//! A small OpenFlow switch: tables, meters and ports, behind the bytes of a connection.

use std::collections::{BTreeMap, BTreeSet};

use rust_openflow::{
    BandStats, BandType, DatapathId, ErrorCode, FlowCommand, FlowMod, FlowStats, Framer, Hello,
    Instruction, Match, Message, MeterCapabilities, MeterCommand, MeterConfig, MeterFeatures,
    MeterId, MeterMod, MeterStats, MultipartFlags, MultipartReply, MultipartReplyBody,
    MultipartRequestBody, OfpError, PacketIn, PacketInReason, PacketOut, Port, PortNo, PortReason,
    PortState, PortStatus, SwitchDesc, SwitchFeatures, TableId,
};

use crate::core::network::entry::meter_of;

type Key = (TableId, u16, Match);

pub(super) struct FakeSwitch {
    pub(super) id: u64,
    pub(super) ports: BTreeMap<u32, Port>,
    pub(super) flows: BTreeMap<Key, FlowMod>,
    /// When each entry was put in, in milliseconds.
    added_at: BTreeMap<Key, u64>,
    pub(super) clock_ms: u64,
    pub(super) meters: BTreeMap<u32, MeterMod>,
    pub(super) meter_features: MeterFeatures,
    /// What the counters of every entry show, in packets and bytes.
    pub(super) shown: (u64, u64),
    /// What came to every meter, and what it dropped.
    pub(super) metered: [(u64, u64); 2],
    /// Barriers are not answered.
    pub(super) stalled: bool,
    held_back: Vec<u32>,
    /// Flow-mods with these cookies are refused.
    pub(super) refuses: BTreeSet<u64>,
    /// Messages that it answers with an error.
    pub(super) misunderstands: Option<fn(&Message) -> bool>,
    /// Messages that it does not answer at all.
    pub(super) ignores: Option<fn(&Message) -> bool>,
    pub(super) ignored: usize,
    /// What changed tables or meters, as it came.
    pub(super) changes: Vec<Message>,
    pub(super) packets_out: Vec<PacketOut>,
    framer: Framer,
    pub(super) replies: Vec<u8>,
}

impl FakeSwitch {
    pub(super) fn new(id: u64, ports: u32) -> Self {
        let port = |number: u32| {
            (
                number,
                Port {
                    port_no: PortNo(number),
                    hw_addr: rust_openflow::MacAddr([2, 0xff, 0, 0, 0, 0]),
                    name: format!("s{id}-eth{number}"),
                    config: Default::default(),
                    state: Default::default(),
                    curr: Default::default(),
                    advertised: Default::default(),
                    supported: Default::default(),
                    peer: Default::default(),
                    curr_speed_kbps: 0,
                    max_speed_kbps: 0,
                },
            )
        };
        Self {
            id,
            ports: (1..=ports).map(port).collect(),
            flows: BTreeMap::new(),
            added_at: BTreeMap::new(),
            clock_ms: 0,
            meters: BTreeMap::new(),
            meter_features: MeterFeatures {
                max_meter: 1 << 18,
                band_types: 1 << BandType::DROP.0,
                capabilities: MeterCapabilities::KBPS
                    | MeterCapabilities::PKTPS
                    | MeterCapabilities::BURST,
                max_bands: 1,
                max_color: 0,
            },
            shown: (7, 700),
            metered: [(0, 0); 2],
            stalled: false,
            held_back: Vec::new(),
            refuses: BTreeSet::new(),
            misunderstands: None,
            ignores: None,
            ignored: 0,
            changes: Vec::new(),
            packets_out: Vec::new(),
            framer: Framer::new(),
            replies: Vec::new(),
        }
    }

    /// The connection begins anew; tables stay.
    pub(super) fn connect(&mut self) {
        self.framer = Framer::new();
        self.replies.clear();
        self.held_back.clear();
        self.say(0, &Message::Hello(Hello::v1_3()));
    }

    pub(super) fn say(&mut self, xid: u32, message: &Message) {
        message.encode(xid, &mut self.replies).unwrap();
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.framer.push(bytes);
        while let Some(frame) = self.framer.next_frame().unwrap().map(<[u8]>::to_vec) {
            let (header, message) = Message::decode(&frame).unwrap();
            self.obey(header.xid, message);
        }
    }

    /// Answers the barriers that were held back.
    pub(super) fn go_on(&mut self) {
        self.stalled = false;
        for xid in std::mem::take(&mut self.held_back) {
            self.say(xid, &Message::BarrierReply);
        }
    }

    /// The port is taken out and put in again, under another number and the same name.
    pub(super) fn replug(&mut self, port: u32, number: u32) {
        let Some(old) = self.ports.remove(&port) else {
            panic!("there is no port {port}")
        };
        let new = Port {
            port_no: PortNo(number),
            ..old.clone()
        };
        self.ports.insert(number, new.clone());
        for (reason, port) in [(PortReason::DELETE, old), (PortReason::ADD, new)] {
            self.say(0, &PortStatus { reason, port }.into());
        }
    }

    pub(super) fn set_up(&mut self, port: u32, up: bool) {
        let port = self.ports.get_mut(&port).unwrap();
        port.state = if up {
            PortState::default()
        } else {
            PortState::LINK_DOWN
        };
        let status = PortStatus {
            reason: PortReason::MODIFY,
            port: port.clone(),
        };
        self.say(0, &Message::PortStatus(status));
    }

    /// A port is taken out, as `ovs-vsctl del-port` does.
    pub(super) fn unplug(&mut self, number: u32) -> Port {
        let port = self.ports.remove(&number).unwrap();
        let status = PortStatus {
            reason: PortReason::DELETE,
            port: port.clone(),
        };
        self.say(0, &Message::PortStatus(status));
        port
    }

    /// And comes back under a number of its own.
    pub(super) fn plug(&mut self, port: Port, number: u32) {
        let port = Port {
            port_no: PortNo(number),
            ..port
        };
        let status = PortStatus {
            reason: PortReason::ADD,
            port: port.clone(),
        };
        self.ports.insert(number, port);
        self.say(0, &Message::PortStatus(status));
    }

    pub(super) fn packet_in(
        &mut self,
        in_port: u32,
        table_id: TableId,
        cookie: u64,
        data: Vec<u8>,
    ) {
        let packet = PacketIn {
            buffer_id: rust_openflow::BufferId::NO_BUFFER,
            total_len: u16::try_from(data.len()).unwrap(),
            reason: PacketInReason::ACTION,
            table_id,
            cookie,
            flow_match: Match::new().in_port(PortNo(in_port)),
            data,
        };
        self.say(0, &Message::PacketIn(packet));
    }

    fn obey(&mut self, xid: u32, message: Message) {
        if self.ignores.is_some_and(|ignores| ignores(&message)) {
            self.ignored += 1;
            return;
        }
        if self
            .misunderstands
            .is_some_and(|does_not| does_not(&message))
        {
            return self.refuse(xid, ErrorCode::BAD_TYPE);
        }
        match message {
            Message::FeaturesRequest => {
                let features = SwitchFeatures {
                    datapath_id: DatapathId(self.id),
                    n_buffers: 0,
                    n_tables: 254,
                    auxiliary_id: 0,
                    capabilities: Default::default(),
                    reserved: 0,
                };
                self.say(xid, &Message::FeaturesReply(features));
            }
            Message::EchoRequest(data) => self.say(xid, &Message::EchoReply(data)),
            Message::BarrierRequest if self.stalled => self.held_back.push(xid),
            Message::BarrierRequest => self.say(xid, &Message::BarrierReply),
            Message::MultipartRequest(request) => {
                let body = self.answer(&request.body);
                let reply = MultipartReply {
                    flags: MultipartFlags::default(),
                    body,
                };
                self.say(xid, &Message::MultipartReply(reply));
            }
            Message::FlowMod(flow) => {
                self.changes.push(Message::FlowMod(flow.clone()));
                self.flow_mod(xid, flow);
            }
            Message::MeterMod(meter) => {
                self.changes.push(Message::MeterMod(meter.clone()));
                self.meter_mod(xid, meter);
            }
            Message::PacketOut(packet) => self.packets_out.push(packet),
            // Bundles, which it has not.
            Message::Experimenter(_) => self.refuse(xid, ErrorCode::BAD_EXPERIMENTER),
            _ => {}
        }
    }

    fn refuse(&mut self, xid: u32, code: ErrorCode) {
        self.say(
            xid,
            &Message::Error(OfpError {
                code,
                data: Vec::new(),
            }),
        );
    }

    fn flow_mod(&mut self, xid: u32, flow: FlowMod) {
        let key = (flow.table_id, flow.priority, flow.flow_match.clone());
        if flow.command == FlowCommand::DELETE_STRICT {
            let agrees =
                |old: &FlowMod| old.cookie & flow.cookie_mask == flow.cookie & flow.cookie_mask;
            if self.flows.get(&key).is_some_and(agrees) {
                self.flows.remove(&key);
            }
            return;
        }
        assert_eq!(flow.command, FlowCommand::ADD);
        let meter = meter_of(&flow.instructions);
        if meter.is_some_and(|meter| !self.meters.contains_key(&meter.0)) {
            return self.refuse(xid, ErrorCode::INVALID_METER);
        }
        if self.refuses.contains(&flow.cookie) {
            return self.refuse(xid, ErrorCode::TABLE_FULL);
        }
        self.added_at.insert(key.clone(), self.clock_ms);
        self.flows.insert(key, flow);
    }

    fn age_ms(&self, flow: &FlowMod) -> u64 {
        let key = (flow.table_id, flow.priority, flow.flow_match.clone());
        self.clock_ms - self.added_at.get(&key).copied().unwrap_or(self.clock_ms)
    }

    /// Time passes: entries whose hard time-out is over go, and the controller is told.
    pub(super) fn tick(&mut self, clock_ms: u64) {
        self.clock_ms = clock_ms;
        let over = |flow: &FlowMod| {
            flow.hard_timeout_s != 0 && self.age_ms(flow) >= u64::from(flow.hard_timeout_s) * 1_000
        };
        let gone: Vec<FlowMod> = self
            .flows
            .values()
            .filter(|flow| over(flow))
            .cloned()
            .collect();
        for flow in gone {
            let key = (flow.table_id, flow.priority, flow.flow_match.clone());
            self.flows.remove(&key);
            assert!(flow.flags.contains(rust_openflow::FlowFlags::SEND_FLOW_REM));
            self.say(
                0,
                &Message::FlowRemoved(rust_openflow::FlowRemoved {
                    cookie: flow.cookie,
                    priority: flow.priority,
                    reason: rust_openflow::FlowRemovedReason::HARD_TIMEOUT,
                    table_id: flow.table_id,
                    duration_sec: u32::from(flow.hard_timeout_s),
                    duration_nsec: 0,
                    idle_timeout_s: 0,
                    hard_timeout_s: flow.hard_timeout_s,
                    packet_count: self.shown.0,
                    byte_count: self.shown.1,
                    flow_match: flow.flow_match,
                }),
            );
        }
    }

    fn meter_mod(&mut self, xid: u32, meter: MeterMod) {
        let exists = self.meters.contains_key(&meter.meter_id.0);
        match meter.command {
            MeterCommand::ADD if exists => self.refuse(xid, ErrorCode::METER_EXISTS),
            MeterCommand::MODIFY if !exists => self.refuse(xid, ErrorCode::UNKNOWN_METER),
            MeterCommand::DELETE => {
                self.meters.remove(&meter.meter_id.0);
                // As real switches do, silently.
                let uses = Instruction::Meter(meter.meter_id);
                self.flows
                    .retain(|_, flow| !flow.instructions.contains(&uses));
            }
            _ => {
                self.meters.insert(meter.meter_id.0, meter);
            }
        }
    }

    fn answer(&self, body: &MultipartRequestBody) -> MultipartReplyBody {
        match body {
            MultipartRequestBody::Desc => MultipartReplyBody::Desc(Box::new(SwitchDesc {
                manufacturer: "PayFlow".into(),
                hardware: "none".into(),
                software: "test".into(),
                ..SwitchDesc::default()
            })),
            MultipartRequestBody::PortDesc => {
                MultipartReplyBody::PortDesc(self.ports.values().cloned().collect())
            }
            MultipartRequestBody::MeterFeatures => {
                MultipartReplyBody::MeterFeatures(self.meter_features)
            }
            MultipartRequestBody::MeterConfig(_) => {
                let config = |meter: &MeterMod| MeterConfig {
                    flags: meter.flags,
                    meter_id: meter.meter_id,
                    bands: meter.bands.clone(),
                };
                MultipartReplyBody::MeterConfig(self.meters.values().map(config).collect())
            }
            MultipartRequestBody::Meter(asked) => {
                let [came, dropped] = self.metered;
                let stats = |meter: &MeterMod| MeterStats {
                    meter_id: meter.meter_id,
                    flow_count: 1,
                    packet_in_count: came.0,
                    byte_in_count: came.1,
                    duration_sec: 0,
                    duration_nsec: 0,
                    bands: vec![BandStats {
                        packet_count: dropped.0,
                        byte_count: dropped.1,
                    }],
                };
                let meters = self.meters.values();
                let asked = meters.filter(|it| [MeterId::ALL, it.meter_id].contains(asked));
                MultipartReplyBody::Meter(asked.map(stats).collect())
            }
            MultipartRequestBody::Flow(_) => {
                let stats = |flow: &FlowMod| FlowStats {
                    table_id: flow.table_id,
                    duration_sec: u32::try_from(self.age_ms(flow) / 1_000).unwrap(),
                    duration_nsec: u32::try_from(self.age_ms(flow) % 1_000).unwrap() * 1_000_000,
                    priority: flow.priority,
                    idle_timeout_s: flow.idle_timeout_s,
                    hard_timeout_s: flow.hard_timeout_s,
                    flags: flow.flags,
                    cookie: flow.cookie,
                    packet_count: self.shown.0,
                    byte_count: self.shown.1,
                    flow_match: flow.flow_match.clone(),
                    instructions: flow.instructions.clone(),
                };
                MultipartReplyBody::Flow(self.flows.values().map(stats).collect())
            }
            other => panic!("nobody asks for {other:?}"),
        }
    }
}
