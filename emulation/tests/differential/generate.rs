//! Random operations from a universe small enough that they collide.

use std::time::Duration;

use payflow_emulation::simulation::chance::Chance;
use rust_openflow::*;

/// One thing done to both switches.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A message on one of the connections.
    Send { connection: usize, message: Message },
    /// A bundle from its opening to its end, each message with an id of its own.
    Bundle {
        connection: usize,
        flags: BundleFlags,
        messages: Vec<Message>,
        /// What comes after them.
        end: Vec<BundleCommand>,
    },
    /// Bytes after a header that is right.
    SendRaw {
        connection: usize,
        kind: u8,
        body: Vec<u8>,
    },
    /// A frame arrives on a port.
    Inject { port: u32, frame: Vec<u8> },
    /// A port is taken down, or up again.
    Link { port: u32, up: bool },
    /// The switch process ends and starts anew.
    Restart,
    /// Nothing, for a while.
    Wait(Duration),
}

/// Controllers connected at a time.
pub(crate) const CONNECTIONS: usize = 2;

/// Tables that packets go through. Two entries of the same priority that take the same packet are
/// anybody's guess, so here every match has priorities of its own; in the table after these,
/// where no packet gets to, they collide.
const TRAVERSED: u8 = 3;

pub(crate) fn operations(seed: u64, count: usize) -> Vec<Operation> {
    let mut random = Random(Chance::new(seed));
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let connection = random.below(CONNECTIONS);
        for _ in 0..1 + random.below(60) {
            all.push(random.operation(connection));
        }
        if random.one_in(60) {
            all.push(Operation::Restart);
        }
        if random.one_in(20) {
            let port = random.pick(&[1, 2, 3]);
            let frame = random.frame();
            all.push(Operation::Inject { port, frame });
        }
    }
    all.truncate(count);
    all
}

struct Random(Chance);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        (self.0.number() % limit as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    fn operation(&mut self, connection: usize) -> Operation {
        if self.one_in(40) {
            return self.bundle(connection);
        }
        let message = match self.below(100) {
            0..39 => self.flow_mod().into(),
            39..48 => self.meter_mod().into(),
            48..58 => self.group_mod().into(),
            58..60 => self.role_request(),
            60..68 => self.question().into(),
            68..70 => Message::BarrierRequest,
            70..92 => self.packet_out().into(),
            92..94 => self.asynchronous(),
            94 => self.pick(&[
                Message::EchoRequest(vec![1, 2, 3]),
                Message::GetConfigRequest,
                Message::FeaturesRequest,
                Message::GetAsyncRequest,
            ]),
            95..97 => return self.malformed(connection),
            97 => self.port_mod().into(),
            98 => Message::Experimenter(Experimenter {
                experimenter: 0x00ab_cdef,
                exp_type: 1,
                data: vec![0; 8],
            }),
            // Rare, so that tables fill.
            _ if self.one_in(8) => FlowMod::delete_by_cookie(TableId::ALL, 0, 0).into(),
            _ => Message::BarrierRequest,
        };
        Operation::Send {
            connection,
            message,
        }
    }

    fn bundle(&mut self, connection: usize) -> Operation {
        let count = self.below(8);
        // Of an entry that comes and goes in one bundle Open vSwitch sometimes tells the end and sometimes not, and one that
        // comes in a bundle is not modified in it.
        let adds = self.one_in(2);
        let message = |this: &mut Self| match this.below(20) {
            0 => this.meter_mod().into(),
            1 => Message::BarrierRequest,
            _ => {
                let mut flow_mod = this.flow_mod();
                flow_mod.command = match flow_mod.command {
                    _ if adds => FlowCommand::ADD,
                    FlowCommand::ADD => FlowCommand::DELETE_STRICT,
                    command => command,
                };
                // Open vSwitch 3.1 dies at some bundles of entries that refer to groups.
                without_groups(&mut flow_mod.instructions);
                flow_mod.into()
            }
        };
        let messages = (0..count).map(|_| message(self)).collect();
        use BundleCommand as Do;
        let end = self.pick(&[
            vec![Do::COMMIT_REQUEST],
            vec![Do::COMMIT_REQUEST],
            vec![Do::COMMIT_REQUEST],
            vec![Do::COMMIT_REQUEST],
            vec![Do::CLOSE_REQUEST, Do::COMMIT_REQUEST],
            vec![Do::DISCARD_REQUEST],
            vec![Do::COMMIT_REQUEST, Do::COMMIT_REQUEST],
            vec![Do::CLOSE_REQUEST, Do::CLOSE_REQUEST],
            vec![Do::OPEN_REQUEST, Do::COMMIT_REQUEST],
        ]);
        let flags = BundleFlags(self.pick(&[0, 1, 2, 3, 3, 3]));
        Operation::Bundle {
            connection,
            flags,
            messages,
            end,
        }
    }

    fn flow_mod(&mut self) -> FlowMod {
        let table = self.pick(&[0, 0, 0, 0, 1, 1, 2, 3, 3]);
        let which = self.below(MATCHES);
        let command = self.pick(&[0, 0, 0, 0, 0, 1, 2, 2, 3, 4, 4]);
        let priority = match (table, which) {
            (_, 0) if self.one_in(2) => 0,
            (0..TRAVERSED, which) => self.pick(&[100, 200]) + which as u16,
            _ => self.pick(&[5, 6]),
        };
        let instructions = if command < 3 || self.one_in(10) {
            self.instructions(table, which)
        } else {
            Vec::new()
        };
        let mut flow_mod = FlowMod {
            cookie: self.pick(&[0, 0x100, 0x101, 0x1ff, 0x200]),
            cookie_mask: self.pick(&[0, 0, 0, 0xff00, 0x0f, u64::MAX]),
            idle_timeout_s: self.pick(&[0, 0, 3_000]),
            hard_timeout_s: self.pick(&[0, 0, 6_000]),
            flags: FlowFlags(self.pick(&[0, 0, 1, 1, 1, 2, 3, 4, 5, 8, 16, 31])),
            instructions,
            ..FlowMod::new(
                FlowCommand(command),
                TableId(table),
                priority,
                a_match(which),
            )
        };
        if command >= 3 {
            flow_mod.table_id = TableId(self.pick(&[table, table, table, 0xff]));
            flow_mod.out_port =
                self.pick(&[PortNo::ANY, PortNo::ANY, PortNo(1), PortNo::CONTROLLER]);
            if self.one_in(40) {
                flow_mod.flow_match = Match::new();
                flow_mod.table_id = TableId(self.pick(&[0, 3, 0xfe, 0xff]));
            }
            if self.one_in(6) {
                flow_mod.out_group = self.group();
            }
        }
        if self.one_in(12) {
            self.spoil(&mut flow_mod);
        }
        flow_mod
    }

    /// Makes a flow-mod, most likely, one to be refused.
    fn spoil(&mut self, flow_mod: &mut FlowMod) {
        match self.below(12) {
            0 => flow_mod.flags = FlowFlags(0x80),
            1 => flow_mod.table_id = TableId(self.pick(&[0xff, 0xfe, 0xfd])),
            2 => flow_mod.command = FlowCommand(self.pick(&[5, 9])),
            3 => flow_mod.flow_match = Match::new().udp_dst(1),
            4 => flow_mod.flow_match = Match::new().eth_type(EthType::IPV4).ip_dscp(64),
            5 => flow_mod.buffer_id = BufferId(7),
            6 => flow_mod.out_port = PortNo(self.pick(&[0xff00, 0x1_0000, 77])),
            7 => flow_mod.flow_match = Match::new().vlan_pcp(1),
            8 => flow_mod.flow_match = Match::new().with(Oxm::Ipv6Exthdr(Masked::exact(1))),
            9 => flow_mod.flow_match = Match::new().eth_type(EthType::ARP).ipv4_src([1; 4].into()),
            10 => {
                flow_mod.instructions = vec![Instruction::Unknown {
                    kind: InstructionType(77),
                    body: vec![0; 4],
                }]
            }
            _ => {
                flow_mod.flow_match = Match::new().in_port(PortNo(1)).in_phy_port(PortNo(1));
            }
        }
    }

    fn instructions(&mut self, table: u8, which: usize) -> Vec<Instruction> {
        let mut all = Vec::new();
        let untagged = which == UNTAGGED && table + 1 == TRAVERSED;
        let untraversed = table >= TRAVERSED;
        if self.one_in(5) {
            let meter = self.pick(&[1, 2, 3, 4, 5]);
            all.push(Instruction::Meter(MeterId(meter)));
        }
        if self.one_in(40) {
            let meter = self.pick(&[0, 77, 0xffff_fffd]);
            all = vec![Instruction::Meter(MeterId(meter))];
        }
        if !self.one_in(3) {
            all.push(Instruction::ApplyActions(
                self.actions(untagged || untraversed),
            ));
        }
        if self.one_in(8) {
            all.push(Instruction::ClearActions);
        }
        if self.one_in(4) {
            all.push(Instruction::WriteActions(self.actions(untraversed)));
        }
        if self.one_in(5) {
            let value = self.pick(&[1, 2, 0xff]);
            let mask = self.pick(&[0x0f, u64::MAX]);
            all.push(Instruction::WriteMetadata { value, mask });
        }
        if self.one_in(3) && table + 1 < TRAVERSED {
            all.push(Instruction::GotoTable(TableId(table + 1)));
        } else if self.one_in(30) {
            // A table that does not exist only where no packet gets to.
            let beyond = if table < TRAVERSED { 0 } else { 255 };
            all.push(Instruction::GotoTable(TableId(self.pick(&[0, beyond]))));
        }
        each_group_once(&mut all);
        all
    }

    /// Open vSwitch 3.1 writes IP fields of a packet with two tags to wrong places, so in lists
    /// that packets meet only those without a tag get one.
    fn actions(&mut self, may_push: bool) -> Vec<Action> {
        let mut actions: Vec<Action> = (0..self.below(4)).map(|_| self.action()).collect();
        let mut pushed = !may_push;
        actions.retain(|action| {
            let pushes = matches!(action, Action::PushVlan(_));
            let again = pushes && pushed;
            pushed |= pushes;
            !again
        });
        actions
    }

    fn action(&mut self) -> Action {
        let mac = MacAddr([2, 0, 0, 0, 0, 9]);
        match self.below(27) {
            0..6 => Action::output(PortNo(self.pick(&[1, 2, 3]))),
            6..10 => Action::to_controller(),
            10 => Action::Output {
                port: PortNo::CONTROLLER,
                max_len: 20,
            },
            11 => Action::output(self.pick(&[PortNo::FLOOD, PortNo::ALL, PortNo::IN_PORT])),
            12 => Action::SetQueue(QueueId(7)),
            13 => Action::SetField(Oxm::EthDst(Masked::exact(mac))),
            14 => Action::SetField(Oxm::EthSrc(Masked::exact(mac))),
            15 => Action::SetField(Oxm::IpDscp(self.pick(&[0, 46]))),
            16 => Action::SetField(Oxm::Ipv4Dst(Masked::exact([10, 0, 0, 9].into()))),
            17 => Action::SetField(Oxm::UdpDst(Masked::exact(53))),
            18 => Action::PushVlan(EthType(self.pick(&[0x8100, 0x8100, 0x88a8, 0x0800]))),
            19 => Action::PopVlan,
            20 => Action::SetField(Oxm::VlanVid(Masked::exact(VlanVid::tagged(5)))),
            21..24 => Action::SetField(self.pick(&[
                Oxm::IpEcn(1),
                Oxm::VlanPcp(2),
                Oxm::Ipv4Src(Masked::exact([10, 0, 0, 8].into())),
                Oxm::Ipv6Dst(Masked::exact([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7].into())),
                Oxm::Ipv6Flabel(Masked::exact(0x1_2345)),
                Oxm::TcpDst(Masked::exact(80)),
                Oxm::IcmpType(0),
                Oxm::ArpOp(ArpOp::REPLY),
                Oxm::ArpSpa(Masked::exact([10, 0, 0, 7].into())),
                Oxm::ArpTha(Masked::exact(mac)),
                Oxm::Metadata(Masked::exact(1)),
            ])),
            24..26 => Action::Group(self.group()),
            _ => match self.below(8) {
                0 => Action::output(PortNo(0x1_0000)),
                1 => Action::output(PortNo::ANY),
                2 => Action::Group(GroupId(self.pick(&[77, 0xffff_ff01]))),
                3 => Action::SetField(Oxm::EthType(EthType::IPV4)),
                4 => Action::SetField(Oxm::IpDscp(64)),
                5 => Action::SetField(Oxm::TunnelId(Masked::exact(3))),
                6 => Action::output(PortNo(77)),
                _ => Action::Unknown {
                    kind: ActionType(99),
                    body: vec![0; 4],
                },
            },
        }
    }

    fn meter_mod(&mut self) -> MeterMod {
        // No frame is short enough for meter 5, every frame for the others: no clock decides.
        let id = self.pick(&[1, 2, 3, 4, 5]);
        let (rate, burst) = match id {
            5 => (1, 1),
            _ => (self.pick(&[1_000_000, 2_000_000]), 2_000_000),
        };
        let mut meter_mod = MeterMod {
            command: MeterCommand(self.pick(&[0, 0, 0, 0, 1, 1, 2])),
            ..MeterMod::add_kbps(MeterId(id), rate, burst)
        };
        if self.one_in(6) {
            let remark = MeterBand::DscpRemark {
                rate: 1,
                burst: 1,
                prec_level: 1,
            };
            match self.below(9) {
                0 => meter_mod.flags = MeterFlags::KBPS | MeterFlags::PKTPS,
                1 => meter_mod.bands = vec![remark],
                2 => meter_mod.meter_id = MeterId(0),
                3 => meter_mod.meter_id = MeterId(0xffff_0001),
                4 => meter_mod.command = MeterCommand(7),
                5 => meter_mod.bands = vec![meter_mod.bands[0].clone(); 9],
                6 => meter_mod.flags = MeterFlags(0x10 | 1),
                7 => {
                    meter_mod.bands = vec![MeterBand::Unknown {
                        kind: BandType(9),
                        body: vec![0; 12],
                    }];
                }
                _ => meter_mod.meter_id = self.pick(&[MeterId(0xffff_0000), MeterId::ALL]),
            }
        }
        meter_mod
    }

    /// A group that packets meet.
    fn group(&mut self) -> GroupId {
        GroupId(self.pick(&MET_BY_PACKETS))
    }

    fn group_mod(&mut self) -> GroupMod {
        let id = self.pick(&[1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 7, 8]);
        let kind = GroupType(self.pick(&[0, 0, 1, 2, 3, 3]));
        let met = MET_BY_PACKETS.contains(&id);
        let mut group_mod = GroupMod {
            command: GroupCommand(self.pick(&[0, 0, 0, 0, 1, 1, 2])),
            group_type: kind,
            group_id: GroupId(id),
            buckets: self.buckets(kind, met),
        };
        if group_mod.command == GroupCommand::DELETE && !self.one_in(8) {
            group_mod.buckets.clear();
        }
        if self.one_in(8) {
            self.spoil_group(&mut group_mod);
        }
        group_mod
    }

    /// Which bucket of a SELECT acts is the switch's choice: in groups that packets meet, one can.
    /// Its weight is so great that Open vSwitch chooses at once, and not in its data path, which
    /// would count late.
    fn buckets(&mut self, kind: GroupType, met: bool) -> Vec<Bucket> {
        let count = match kind {
            GroupType::INDIRECT => 1,
            GroupType::SELECT if met => self.pick(&[0, 1, 2, 2]),
            _ => self.below(4),
        };
        let mut buckets: Vec<_> = (0..count).map(|_| self.bucket(met)).collect();
        let mut watches = false;
        for (at, bucket) in buckets.iter_mut().enumerate() {
            let port = self.pick(&[1, 2, 77, PortNo::LOCAL.0, PortNo::ANY.0]);
            match kind {
                GroupType::SELECT if met && count == 2 => {
                    let dead = [PortNo::ANY, PortNo(77)][at];
                    (bucket.weight, bucket.watch_port) = ([65_535, 1][at], dead);
                }
                GroupType::SELECT if met => {}
                GroupType::SELECT => {
                    (bucket.weight, bucket.watch_port) = (self.pick(&[0, 1, 7]), PortNo(port));
                }
                GroupType::FF => {
                    bucket.watch_port = PortNo(port);
                    if port == PortNo::ANY.0 || self.one_in(4) {
                        bucket.watch_group = self.group();
                    }
                    // Two that watch groups make a tree; Open vSwitch climbs it 128 deep.
                    if watches && bucket.watch_group != GroupId::ANY {
                        (bucket.watch_port, bucket.watch_group) = (PortNo(77), GroupId::ANY);
                    }
                    watches |= bucket.watch_group != GroupId::ANY;
                }
                _ => {}
            }
        }
        if self.one_in(2) {
            buckets.reverse();
        }
        buckets
    }

    fn bucket(&mut self, met: bool) -> Bucket {
        let mut actions = self.actions(!met);
        if self.one_in(2) {
            actions.push(Action::output(PortNo(self.pick(&[1, 2, 3]))));
        }
        Bucket::new(actions)
    }

    /// Makes a group-mod, most likely, one to be refused.
    fn spoil_group(&mut self, group_mod: &mut GroupMod) {
        match self.below(9) {
            0 => group_mod.group_type = GroupType(self.pick(&[4, 9])),
            1 => group_mod.command = GroupCommand(self.pick(&[9, 0x7fff])),
            2 => group_mod.group_type = GroupType(self.pick(&[0, 1, 2, 3])),
            3 => group_mod.group_id = GroupId(self.pick(&[0, 0xffff_ff00, 0xffff_ff01])),
            4 => group_mod.group_id = GroupId::ALL,
            5 => group_mod.group_id = GroupId::ANY,
            _ => {
                let Some(bucket) = group_mod.buckets.last_mut() else {
                    return;
                };
                match self.below(3) {
                    0 => bucket.watch_port = PortNo(self.pick(&[1, 0xff00, 0x1_0000])),
                    1 => bucket.watch_group = GroupId(77),
                    _ if group_mod.group_type == GroupType::SELECT => {}
                    _ => bucket.weight = 3,
                }
            }
        }
    }

    fn role_request(&mut self) -> Message {
        let role = self.pick(&[0, 1, 1, 1, 2, 2, 3, 9]);
        Message::RoleRequest(Role {
            role: ControllerRole(role),
            generation_id: self.pick(&[1, 2, 3, 1 << 63, u64::MAX]),
        })
    }

    fn asynchronous(&mut self) -> Message {
        let mask = AsyncMask {
            master: self.pick(&[0x3f, 0x0f, 0x07, 0]),
            slave: self.pick(&[0, 0x07]),
        };
        let packets = AsyncMask {
            master: self.pick(&[7, 3, 3, 0]),
            slave: 0,
        };
        match self.below(4) {
            0 => Message::SetAsync(AsyncConfig {
                packet_in: packets,
                port_status: mask,
                flow_removed: mask,
            }),
            1 => Message::SetAsync(AsyncConfig::EVERYTHING),
            2 => Message::GetAsyncRequest,
            _ => Message::SetConfig(SwitchConfig {
                miss_send_len: self.pick(&[0xffff, 0xffff, 128]),
                ..SwitchConfig::WHOLE_PACKETS
            }),
        }
    }

    fn question(&mut self) -> MultipartRequestBody {
        let which = self.below(MATCHES);
        // Asked by the whole cookie 0, Open vSwitch shows entries of its own.
        let (cookie, cookie_mask) = self.pick(&[
            (0, 0),
            (0x100, 0),
            (0, 0xff00),
            (0x100, 0xff00),
            (0x100, u64::MAX),
        ]);
        let filter = FlowFilter {
            out_group: self.pick(&[GroupId::ANY, GroupId::ANY, GroupId::ANY, GroupId(1)]),
            table_id: TableId(self.pick(&[0xff, 0xff, 0, 1, 3, 200])),
            out_port: self.pick(&[PortNo::ANY, PortNo::ANY, PortNo(1), PortNo(0x1_0000)]),
            cookie,
            cookie_mask,
            flow_match: if self.one_in(2) {
                Match::new()
            } else {
                a_match(which)
            },
        };
        let meter = MeterId(self.pick(&[MeterId::ALL.0, MeterId::ALL.0, 1, 5, 77, 0, 0xffff_0001]));
        let group = self.pick(&[
            GroupId::ALL,
            GroupId::ALL,
            GroupId(1),
            GroupId(77),
            GroupId::ANY,
        ]);
        match self.below(18) {
            13..16 => MultipartRequestBody::Group(group),
            16 => MultipartRequestBody::GroupDesc,
            17 => MultipartRequestBody::GroupFeatures,
            0..3 => MultipartRequestBody::Flow(filter),
            3 => MultipartRequestBody::Flow(FlowFilter::all()),
            4 => MultipartRequestBody::Aggregate(filter),
            5 => MultipartRequestBody::MeterConfig(meter),
            6 => MultipartRequestBody::Meter(meter),
            7 => MultipartRequestBody::Table,
            8 => MultipartRequestBody::PortDesc,
            9 => MultipartRequestBody::PortStats(PortNo(self.pick(&[PortNo::ANY.0, 1, 2, 77]))),
            10 => MultipartRequestBody::Queue {
                port_no: PortNo(self.pick(&[PortNo::ANY.0, 1, 77])),
                queue_id: QueueId(7),
            },
            11 => MultipartRequestBody::MeterFeatures,
            _ => MultipartRequestBody::Unknown {
                kind: MultipartType(self.pick(&[77, 6])),
                body: Vec::new(),
            },
        }
    }

    fn packet_out(&mut self) -> PacketOut {
        let mut packet = PacketOut {
            in_port: PortNo(self.pick(&[1, 2, 3, 1, 2, 3, PortNo::CONTROLLER.0])),
            actions: vec![Action::output(PortNo::TABLE)],
            ..PacketOut::new(PortNo(1), self.frame())
        };
        if self.one_in(5) {
            let untagged = packet.data[12..14] != [0x81, 0];
            packet.actions = self.actions(untagged);
        }
        if self.one_in(20) {
            match self.below(3) {
                0 => packet.in_port = PortNo(self.pick(&[0xff00, 0xffff_ff00, 77])),
                1 => packet.buffer_id = BufferId(7),
                _ => packet.actions = vec![Action::output(PortNo(0x1_0000))],
            }
        }
        packet
    }

    fn port_mod(&mut self) -> PortMod {
        PortMod {
            port_no: PortNo(self.pick(&[77, 78])),
            hw_addr: MacAddr::ZERO,
            config: PortConfig::NONE,
            mask: PortConfig::NONE,
            advertise: PortFeatures::NONE,
        }
    }

    fn malformed(&mut self, connection: usize) -> Operation {
        if self.one_in(2) {
            return self.cut_short(connection);
        }
        let (kind, body) = match self.below(8) {
            5 => (18, vec![0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
            6 => {
                // A bucket of a length it cannot have.
                let mut body = vec![0; 40];
                body[7] = 1;
                body[9] = self.pick(&[0, 8, 15, 17, 20, 33, 200]);
                (15, body)
            }
            7 => (15, vec![0; self.pick(&[0, 4, 8, 12, 16])]),
            0 => (99, Vec::new()),
            1 => (14, vec![0; 20]),
            2 => (18, vec![0, 1, 0, 0, 0, 0, 0, 0]),
            3 => (6, vec![0; 24]),
            _ => (29, vec![0; 2]),
        };
        Operation::SendRaw {
            connection,
            kind,
            body,
        }
    }

    /// A message that ends too early, with a length that says so.
    fn cut_short(&mut self, connection: usize) -> Operation {
        let message: Message = match self.below(4) {
            3 => self.group_mod().into(),
            0 => self.flow_mod().into(),
            1 => self.meter_mod().into(),
            _ => self.packet_out().into(),
        };
        let mut bytes = Vec::new();
        message.encode(0, &mut bytes).unwrap();
        let whole = bytes.len().min(100) - Header::LEN;
        let body = bytes[Header::LEN..][..self.below(whole)].to_vec();
        let kind = message.kind().0;
        Operation::SendRaw {
            connection,
            kind,
            body,
        }
    }

    /// Frames are longer than any burst of meter 5: 1000 bits.
    fn frame(&mut self) -> Vec<u8> {
        let to = self.pick(&[[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [0xff; 6]]);
        let from = self.pick(&[[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]]);
        let mut frame = [to, from].concat();
        if self.one_in(5) {
            frame.extend([0x81, 0, self.pick(&[0, 0x60]), self.pick(&[5, 7])]);
        }
        let (last, mark) = (self.pick(&[1, 2]), self.pick(&[0, 46 << 2, 46 << 2 | 1]));
        let port = self.pick(&[53, 5_201_u16]).to_be_bytes();
        match self.below(6) {
            0 => {
                frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, self.pick(&[1, 2])]);
                frame.extend([
                    2, 0, 0, 0, 0, 1, 10, 0, 0, last, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
                ]);
            }
            1 => {
                let proto = self.pick(&[6, 17, 58]);
                frame.extend([
                    0x86,
                    0xdd,
                    0x60 | mark >> 4,
                    mark << 4,
                    0,
                    0,
                    0,
                    160,
                    proto,
                    64,
                ]);
                for end in [1, last] {
                    frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end]);
                }
                frame.extend(if proto == 58 { [135, 0] } else { [0, 80] });
                frame.extend(port);
                frame.extend([
                    0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3,
                ]);
            }
            2 => frame.extend([0x88, 0xcc]),
            _ => {
                let proto = self.pick(&[1, 6, 17, 17, 17]);
                let mut header = [
                    0x45, mark, 0, 188, 0, 1, 0, 0, 64, proto, 0, 0, 10, 0, 0, last, 10, 0, 0, 2,
                ];
                let sum: u32 = header
                    .chunks_exact(2)
                    .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
                    .sum();
                let sum = (sum & 0xffff) + (sum >> 16);
                let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                frame.extend([8, 0]);
                frame.extend(header);
                frame.extend(if proto == 1 { [8, 0] } else { [0, 80] });
                frame.extend(port);
                frame.extend([0, 168, 0x12, 0x34, 0, 0, 0, 0, 0x50]);
            }
        }
        frame.resize(220, 0);
        frame
    }
}

/// Open vSwitch 3.1 dies when a group goes that one entry refers to twice.
fn without_groups(instructions: &mut [Instruction]) {
    for instruction in instructions {
        if let Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) = instruction
        {
            actions.retain(|action| !matches!(action, Action::Group(_)));
        }
    }
}

fn each_group_once(instructions: &mut [Instruction]) {
    let mut named = Vec::new();
    for instruction in instructions {
        if let Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) = instruction
        {
            actions.retain(|action| match action {
                Action::Group(group) if named.contains(group) => false,
                Action::Group(group) => {
                    named.push(*group);
                    true
                }
                _ => true,
            });
        }
    }
}

/// Packets meet none of the others, whose buckets may push a second VLAN tag.
const MET_BY_PACKETS: [u32; 6] = [1, 2, 3, 4, 5, 6];
const MATCHES: usize = 29;
/// The match of packets without a VLAN tag.
const UNTAGGED: usize = 6;

fn a_match(which: usize) -> Match {
    let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
    let ipv4 = || Match::new().eth_type(EthType::IPV4);
    let ipv6 = || Match::new().eth_type(EthType::IPV6);
    let udp = || ipv4().ip_proto(IpProto::UDP);
    match which {
        1 => Match::new().in_port(PortNo(1)),
        2 => Match::new().in_port(PortNo(2)).eth_src(mac(1)),
        3 => Match::new().eth_dst_masked(mac(1), MacAddr([1, 0, 0, 0, 0, 0])),
        4 => Match::new().eth_type(EthType::LLDP),
        5 => Match::new().vlan_vid(VlanVid::tagged(5)),
        UNTAGGED => Match::new().vlan_vid(VlanVid::NONE),
        7 => Match::new().vlan_vid_masked(VlanVid::PRESENT, VlanVid::PRESENT),
        8 => Match::new().metadata_masked(1, 0x0f),
        9 => ipv4(),
        10 => ipv4().ip_dscp(46),
        11 => ipv4().ipv4_src_net([10, 0, 0, 0].into(), 24),
        12 => ipv4().ipv4_src([10, 0, 0, 1].into()),
        13 => udp(),
        14 => udp().udp_dst(5201),
        15 => udp()
            .udp_dst(5201)
            .ipv4_src([10, 0, 0, 1].into())
            .in_port(PortNo(1)),
        16 => ipv4().ip_proto(IpProto::ICMP).icmp_type(8),
        17 => Match::new().eth_type(EthType::ARP),
        18 => Match::new().eth_type(EthType::ARP).arp_op(ArpOp::REQUEST),
        19 => ipv6(),
        20 => ipv6().ip_dscp(46),
        21 => ipv6().ip_proto(IpProto::ICMPV6).icmpv6_type(135),
        22 => ipv4().ip_proto(IpProto::TCP).tcp_dst_masked(0x1400, 0xff00),
        23 => Match::new().vlan_vid(VlanVid::tagged(5)).vlan_pcp(3),
        24 => ipv6()
            .ip_proto(IpProto::ICMPV6)
            .icmpv6_type(135)
            .ipv6_nd_target([0x2001, 0xdb8, 0, 0, 0, 0, 0, 3].into()),
        25 => Match::new()
            .eth_type(EthType::ARP)
            .arp_tpa([10, 0, 0, 2].into()),
        26 => ipv6().ip_proto(IpProto::TCP).tcp_dst(53),
        27 => ipv6().ipv6_src_net([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0].into(), 64),
        28 => ipv4().ip_dscp(46).ip_ecn(1),
        _ => Match::new(),
    }
}
