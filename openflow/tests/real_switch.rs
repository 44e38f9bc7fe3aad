//! The session and the codec against a real Open vSwitch, private to each test.

#![allow(clippy::unwrap_used)]

#[path = "common/open_vswitch.rs"]
mod open_vswitch;

use open_vswitch::OpenVswitch;
use rust_openflow::*;

fn drop_all(priority: u16) -> FlowMod {
    FlowMod::add(TableId(0), priority, Match::new(), vec![])
}

fn to_port_1(priority: u16, flow_match: Match) -> FlowMod {
    let actions = vec![Instruction::apply(Action::output(PortNo(1)))];
    FlowMod::add(TableId(0), priority, flow_match, actions)
}

/// Every refusal heard, by the id of what was refused.
fn refusals(heard: &[Output]) -> Vec<(u32, ErrorCode)> {
    heard
        .iter()
        .filter_map(|output| match output {
            Output::Error { xid, error } => Some((*xid, error.code)),
            _ => None,
        })
        .collect()
}

fn is_flow_removed(output: &Output) -> bool {
    matches!(
        output,
        Output::Message {
            message: Message::FlowRemoved(_),
            ..
        }
    )
}

#[test]
fn a_real_switch_comes_up_and_describes_itself() {
    let switch = OpenVswitch::start();
    let mut connection = switch.connect();
    assert_eq!(connection.features().datapath_id, DatapathId(0xa1));
    let MultipartReplyBody::Desc(desc) = connection.ask(MultipartRequestBody::Desc) else {
        panic!("no description");
    };
    assert_eq!(desc.hardware, "Open vSwitch");
    let MultipartReplyBody::PortDesc(ports) = connection.ask(MultipartRequestBody::PortDesc) else {
        panic!("no ports");
    };
    let mut names: Vec<_> = ports
        .iter()
        .map(|port| (port.port_no, &port.name[..]))
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            (PortNo(1), "p1"),
            (PortNo(2), "p2"),
            (PortNo(3), "p3"),
            (PortNo::LOCAL, "br0")
        ]
    );
    let MultipartReplyBody::MeterFeatures(meters) =
        connection.ask(MultipartRequestBody::MeterFeatures)
    else {
        panic!("no meter features");
    };
    assert_eq!(
        (meters.band_types, meters.max_bands),
        (1 << BandType::DROP.0, 8)
    );
    for question in [
        MultipartRequestBody::Table,
        MultipartRequestBody::PortStats(PortNo::ANY),
        MultipartRequestBody::Queue {
            port_no: PortNo::ANY,
            queue_id: QueueId::ALL,
        },
        MultipartRequestBody::Unknown {
            kind: MultipartType::TABLE_FEATURES,
            body: vec![],
        },
    ] {
        let kind = question.kind();
        assert_eq!(connection.ask(question).kind(), kind);
    }
}

#[test]
fn what_a_real_switch_reports_equals_what_was_asked_for() {
    let v6 = |last| std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
    let ipv4 = || Match::new().eth_type(EthType::IPV4);
    let ipv6 = || Match::new().eth_type(EthType::IPV6);
    let arp = || Match::new().eth_type(EthType::ARP);
    let matches = [
        Match::new(),
        Match::new().in_port(PortNo(3)).eth_src(mac(1)),
        Match::new().eth_dst_masked(mac(1), MacAddr([1, 0, 0, 0, 0, 0])),
        Match::new().eth_type(EthType::LLDP),
        Match::new().vlan_vid(VlanVid::tagged(7)).vlan_pcp(3),
        Match::new().vlan_vid(VlanVid::NONE),
        Match::new().vlan_vid_masked(VlanVid::PRESENT, VlanVid::PRESENT),
        Match::new().metadata_masked(0xffff, 0x0ff0),
        ipv4().ip_dscp(46).ip_ecn(2),
        ipv4()
            .ipv4_src_net([10, 1, 2, 3].into(), 8)
            .ipv4_dst([10, 0, 0, 1].into()),
        ipv4().ipv4_dst_masked([10, 0, 0, 9].into(), [255, 0, 0, 255].into()),
        ipv4()
            .ip_proto(IpProto::UDP)
            .udp_src(1)
            .udp_dst(5201)
            .in_port(PortNo(2)),
        ipv4()
            .ip_proto(IpProto::TCP)
            .tcp_src(80)
            .tcp_dst_masked(0x1451, 0xfff0),
        ipv4().ip_proto(IpProto::SCTP).sctp_dst(5),
        ipv4().ip_proto(IpProto::ICMP).icmp_type(8).icmp_code(0),
        arp()
            .arp_op(ArpOp::REQUEST)
            .arp_spa([10, 0, 0, 1].into())
            .arp_tpa([10, 0, 0, 2].into()),
        arp().arp_sha(mac(1)).arp_tha(mac(2)),
        ipv6().ipv6_src(v6(1)).ipv6_dst_net(v6(2), 64).ip_dscp(46),
        ipv6().ip_proto(IpProto::TCP).tcp_dst(443),
        ipv6()
            .ip_proto(IpProto::ICMPV6)
            .icmpv6_type(135)
            .icmpv6_code(0)
            .ipv6_nd_target(v6(3)),
        ipv6().with(Oxm::Ipv6Flabel(Masked::exact(0x12345))),
        Match::new().with(Oxm::TunnelId(Masked::new(9, 0xff))),
    ];
    let instructions = [
        vec![],
        vec![Instruction::ClearActions],
        vec![
            Instruction::GotoTable(TableId(1)),
            Instruction::WriteMetadata {
                value: 0xff,
                mask: 0x0f,
            },
            Instruction::WriteActions(vec![
                Action::SetField(Oxm::EthDst(Masked::exact(mac(9)))),
                Action::output(PortNo(2)),
            ]),
            Instruction::ApplyActions(vec![
                Action::PushVlan(EthType::VLAN),
                Action::SetField(Oxm::VlanVid(Masked::exact(VlanVid::tagged(5)))),
                Action::SetQueue(QueueId(2)),
                Action::output(PortNo(1)),
                Action::PopVlan,
                Action::output(PortNo::IN_PORT),
                Action::to_controller(),
            ]),
            Instruction::Meter(MeterId(7)),
        ],
        vec![Instruction::ApplyActions(vec![])],
        vec![Instruction::apply(Action::output(PortNo::NORMAL))],
    ];
    let mut asked = Vec::new();
    for (i, flow_match) in (0u16..).zip(matches) {
        let instructions = instructions[usize::from(i) % instructions.len()].clone();
        let flow_mod = FlowMod::add(TableId(0), 100 + i, flow_match, instructions)
            .cookie(0x0100_0000_0000_0000 | u64::from(i))
            .idle_timeout_s(if i % 2 == 0 { 0 } else { 300 })
            .hard_timeout_s(600)
            .flags(FlowFlags::SEND_FLOW_REM | FlowFlags::RESET_COUNTS);
        asked.push(flow_mod);
    }
    // An IP packet's own fields can be written only where the match says that it is one.
    let remark = vec![
        Action::SetField(Oxm::IpDscp(46)),
        Action::SetField(Oxm::Ipv4Dst(Masked::exact([10, 9, 9, 9].into()))),
        Action::SetField(Oxm::UdpDst(Masked::exact(7))),
        Action::output(PortNo(1)),
    ];
    let udp = ipv4().ip_proto(IpProto::UDP);
    asked.push(FlowMod::add(
        TableId(3),
        9,
        udp,
        vec![Instruction::ApplyActions(remark)],
    ));

    let switch = OpenVswitch::start();
    let mut connection = switch.connect();
    connection.install([MeterMod::add_kbps(MeterId(7), 10_000, 500)]);
    connection.install(asked.clone());
    let mut entries: Vec<_> = asked.iter().map(FlowMod::entry).collect();
    entries.sort();
    assert_eq!(connection.entries(), entries);
}

#[test]
fn meters_are_reported_as_asked_for_and_changed_in_place() {
    let switch = OpenVswitch::start();
    let mut connection = switch.connect();
    connection.install([
        MeterMod::add_kbps(MeterId(7), 10_000, 500),
        MeterMod::add_kbps(MeterId(9), 1, 1),
        MeterMod::modify_kbps(MeterId(7), 20_000, 600),
    ]);
    let question = MultipartRequestBody::MeterConfig(MeterId::ALL);
    let MultipartReplyBody::MeterConfig(mut meters) = connection.ask(question) else {
        panic!("no meters");
    };
    meters.sort_by_key(|meter| meter.meter_id);
    let config = |meter_mod: MeterMod| MeterConfig {
        flags: meter_mod.flags,
        meter_id: meter_mod.meter_id,
        bands: meter_mod.bands,
    };
    assert_eq!(
        meters,
        [
            config(MeterMod::add_kbps(MeterId(7), 20_000, 600)),
            config(MeterMod::add_kbps(MeterId(9), 1, 1)),
        ]
    );
    let MultipartReplyBody::Meter(stats) = connection.ask(MultipartRequestBody::Meter(MeterId(7)))
    else {
        panic!("no counters");
    };
    assert_eq!(stats[0].meter_id, MeterId(7));
    assert_eq!(stats[0].bands, [BandStats::default()]);
}

#[test]
fn groups_are_reported_as_asked_for_and_take_their_entries_with_them() {
    let to = |port| {
        Bucket::new(vec![
            Action::SetQueue(QueueId(1)),
            Action::output(PortNo(port)),
        ])
    };
    let failover = vec![
        to(1).watch_port(PortNo(1)),
        Bucket::new(vec![Action::Group(GroupId(8))]).watch_group(GroupId(8)),
    ];
    let asked = [
        GroupMod::add(GroupId(6), GroupType::ALL, vec![]),
        GroupMod::add(GroupId(7), GroupType::FF, failover),
        GroupMod::add(
            GroupId(8),
            GroupType::SELECT,
            vec![to(2).weight(2), to(3).weight(1)],
        ),
        GroupMod::add(GroupId(9), GroupType::INDIRECT, vec![to(3)]),
    ];
    let switch = OpenVswitch::start();
    let mut connection = switch.connect();
    connection.install([Message::SetConfig(SwitchConfig::WHOLE_PACKETS)]);
    let old = GroupMod::add(GroupId(8), GroupType::ALL, vec![]);
    connection.install([old]);
    let [a, b, c, d] = asked.clone();
    let changed = GroupMod {
        command: GroupCommand::MODIFY,
        ..c
    };
    connection.install([a, b, changed, d]);
    let MultipartReplyBody::GroupDesc(mut groups) = connection.ask(MultipartRequestBody::GroupDesc)
    else {
        panic!("no groups");
    };
    groups.sort_by_key(|group| group.group_id);
    let as_asked = asked.map(|group_mod| GroupDesc {
        group_type: group_mod.group_type,
        group_id: group_mod.group_id,
        buckets: group_mod.buckets,
    });
    assert_eq!(groups, as_asked);

    let group = Instruction::apply(Action::Group(GroupId(7)));
    let entry = FlowMod::add(TableId(0), 1, Match::new(), vec![group]);
    connection.install([entry.flags(FlowFlags::SEND_FLOW_REM)]);
    let MultipartReplyBody::Group(stats) = connection.ask(MultipartRequestBody::Group(GroupId(7)))
    else {
        panic!("no counters");
    };
    assert_eq!((stats.len(), stats[0].ref_count), (1, 1));
    assert_eq!(stats[0].buckets, [BucketStats::default(); 2]);
    let MultipartReplyBody::GroupFeatures(features) =
        connection.ask(MultipartRequestBody::GroupFeatures)
    else {
        panic!("no features");
    };
    assert_eq!(
        (features.types, features.max_groups),
        (0x0f, [GroupId::MAX.0; 4])
    );

    connection.request(GroupMod::delete(GroupId(7)));
    let heard = connection.wait_for(is_flow_removed);
    let reason = heard.iter().find_map(|output| match output {
        Output::Message {
            message: Message::FlowRemoved(removed),
            ..
        } => Some(removed.reason),
        _ => None,
    });
    assert_eq!(reason, Some(FlowRemovedReason::GROUP_DELETE));
}

#[test]
fn refusals_come_before_the_barrier_and_bear_the_id_of_what_was_refused() {
    let switch = OpenVswitch::start();
    let mut connection = switch.connect();
    let add = MeterMod::add_kbps(MeterId(7), 10_000, 500);
    connection.install([add.clone()]);
    let metered = |meter| {
        FlowMod::add(
            TableId(0),
            1,
            Match::new(),
            vec![Instruction::Meter(MeterId(meter))],
        )
    };
    let remark = MeterMod {
        bands: vec![MeterBand::DscpRemark {
            rate: 1,
            burst: 1,
            prec_level: 1,
        }],
        ..MeterMod::add_kbps(MeterId(8), 1, 1)
    };
    let twice = connection.request(add);
    let missing_meter = connection.request(metered(8));
    let missing_prerequisite = connection.request(to_port_1(1, Match::new().udp_dst(1)));
    let unknown = connection.request(MeterMod::modify_kbps(MeterId(8), 1, 1));
    let fine = connection.request(metered(7));
    let bad_flags = connection.request(drop_all(2).flags(FlowFlags(0x80)));
    let bad_band = connection.request(remark);
    let bad_type = connection.request(Message::Unknown {
        kind: MessageType(99),
        body: vec![],
    });
    let bad_len = connection.request(Message::Unknown {
        kind: MessageType::FLOW_MOD,
        body: vec![],
    });
    let silent = connection.request(MeterMod::delete(MeterId(99)));
    let heard = refusals(&connection.barrier());
    assert_eq!(
        heard,
        [
            (twice, ErrorCode::METER_EXISTS),
            (missing_meter, ErrorCode::INVALID_METER),
            (missing_prerequisite, ErrorCode::BAD_PREREQ),
            (unknown, ErrorCode::UNKNOWN_METER),
            (bad_flags, ErrorCode::FLOW_BAD_FLAGS),
            (bad_band, ErrorCode::METER_BAD_BAND),
            (bad_type, ErrorCode::BAD_TYPE),
            (bad_len, ErrorCode::BAD_LEN),
        ]
    );
    assert!(!heard.iter().any(|(xid, _)| [fine, silent].contains(xid)));
}

#[test]
fn entries_are_deleted_by_cookie_exactly() {
    let switch = OpenVswitch::start();
    let mut connection = switch.connect();
    let flow = |i: u16| to_port_1(i, Match::new().in_port(PortNo(2)));
    connection.install([
        flow(1).cookie(0x01_00),
        flow(2).cookie(0x02_00),
        flow(3).cookie(0x02_01),
    ]);
    let filter = FlowFilter::by_cookie(0x02_00, 0xff_00);
    let MultipartReplyBody::Aggregate(sums) =
        connection.ask(MultipartRequestBody::Aggregate(filter))
    else {
        panic!("no sums");
    };
    assert_eq!(sums.flow_count, 2);
    connection.install([FlowMod::delete_by_cookie(TableId::ALL, 0x02_00, 0xff_00)]);
    assert_eq!(connection.entries(), [flow(1).cookie(0x01_00).entry()]);
    // An entry that has another cookie by now is not taken out by its old description.
    connection.install([flow(1).cookie(0x01_00).entry().to_delete(), flow(9)]);
    connection.install([FlowEntry {
        cookie: 5,
        ..flow(9).entry()
    }
    .to_delete()]);
    assert_eq!(connection.entries(), [flow(9).entry()]);
}

#[test]
fn the_end_of_an_entry_is_told_after_the_barrier_and_of_its_meter_when_asked_to() {
    let switch = OpenVswitch::start();
    let mut connection = switch.connect();
    connection.install([Message::SetConfig(SwitchConfig::WHOLE_PACKETS)]);
    connection.install([Message::SetAsync(AsyncConfig::EVERYTHING)]);
    connection.install([MeterMod::add_kbps(MeterId(7), 10_000, 500)]);
    let metered = FlowMod::add(
        TableId(0),
        5,
        Match::new(),
        vec![Instruction::Meter(MeterId(7))],
    )
    .cookie(0x77)
    .flags(FlowFlags::SEND_FLOW_REM);
    for delete in [
        FlowMod::delete_by_cookie(TableId::ALL, 0x77, u64::MAX).into(),
        Message::from(MeterMod::delete(MeterId(7))),
    ] {
        connection.install([metered.clone()]);
        connection.install([delete]);
        let heard = connection.wait_for(is_flow_removed);
        let Some(Output::Message {
            message: Message::FlowRemoved(removed),
            ..
        }) = heard.last()
        else {
            panic!("{heard:?}");
        };
        assert_eq!(
            (removed.cookie, removed.reason),
            (0x77, FlowRemovedReason::DELETE)
        );
        assert_eq!(
            (removed.priority, &removed.flow_match),
            (5, &metered.flow_match)
        );
    }
    assert_eq!(connection.entries(), []);
}

#[test]
fn a_long_answer_comes_in_many_parts_and_out_whole() {
    let switch = OpenVswitch::start();
    let mut connection = switch.connect();
    let flows: Vec<FlowMod> = (0..3_000u32)
        .map(|i| {
            let host = std::net::Ipv4Addr::from_bits(0x0a00_0000 + i);
            to_port_1(9, Match::new().eth_type(EthType::IPV4).ipv4_src(host)).cookie(i.into())
        })
        .collect();
    connection.install(flows.clone());
    let mut entries: Vec<_> = flows.iter().map(FlowMod::entry).collect();
    entries.sort();
    assert_eq!(connection.entries(), entries);
}

#[test]
fn a_bundle_is_applied_whole_or_not_at_all() {
    let switch = OpenVswitch::start();
    let mut connection = switch.connect();
    let flags = BundleFlags::ATOMIC | BundleFlags::ORDERED;
    let bad = FlowMod::add(
        TableId(0),
        2,
        Match::new(),
        vec![Instruction::Meter(MeterId(8))],
    );
    for (bundle_id, second, applied) in [(1, bad, false), (2, drop_all(2), true)] {
        let control = |command| {
            BundleControl {
                bundle_id,
                command,
                flags,
            }
            .to_message()
        };
        connection.request(control(BundleCommand::OPEN_REQUEST));
        for flow in [drop_all(1), second] {
            connection.request_with(|xid| bundle_add(bundle_id, flags, xid, &flow.into()));
        }
        let commit = connection.request(control(BundleCommand::COMMIT_REQUEST));
        let heard = connection.barrier();
        let failed = refusals(&heard).contains(&(commit, ErrorCode::ONF_BUNDLE_MSG_FAILED));
        assert_eq!(failed, !applied, "{heard:?}");
        let committed = heard
            .iter()
            .any(|o| matches!(o, Output::Reply { xid, .. } if *xid == commit));
        assert_eq!(committed, applied, "{heard:?}");
        assert_eq!(connection.entries().len(), if applied { 2 } else { 0 });
    }
}

#[test]
fn an_older_election_is_stale_and_the_old_master_is_told_and_refused() {
    let switch = OpenVswitch::start();
    let (mut first, mut second) = (switch.connect(), switch.connect());
    let master = |generation_id| {
        Message::RoleRequest(Role {
            role: ControllerRole::MASTER,
            generation_id,
        })
    };
    first.request(master(5));
    assert_eq!(refusals(&first.barrier()), []);
    let stale = second.request(master(4));
    assert_eq!(
        refusals(&second.barrier()),
        [(stale, ErrorCode::ROLE_STALE)]
    );
    second.request(master(6));
    assert_eq!(refusals(&second.barrier()), []);

    let heard = first.wait_for(|output| {
        matches!(
            output,
            Output::Message {
                message: Message::Experimenter(_),
                ..
            }
        )
    });
    let Some(Output::Message {
        message: Message::Experimenter(told),
        ..
    }) = heard.last()
    else {
        panic!("{heard:?}");
    };
    let told = RoleStatus::from_experimenter(told).unwrap();
    assert_eq!((told.role, told.generation_id), (ControllerRole::SLAVE, 6));
    let refused = first.request(drop_all(1));
    assert_eq!(refusals(&first.barrier()), [(refused, ErrorCode::IS_SLAVE)]);
}

#[test]
fn a_packet_sent_out_to_the_controller_comes_in_whole() {
    let switch = OpenVswitch::start();
    let mut connection = switch.connect();
    connection.install([Message::SetConfig(SwitchConfig::WHOLE_PACKETS)]);
    let frame = [
        &[0xff; 6][..],
        &[2, 0, 0, 0, 0, 1],
        &[0x88, 0xcc],
        &[7; 200],
    ]
    .concat();
    connection.request(PacketOut {
        in_port: PortNo(2),
        actions: vec![Action::to_controller()],
        ..PacketOut::new(PortNo(2), frame.clone())
    });
    let heard = connection.wait_for(|o| {
        matches!(
            o,
            Output::Message {
                message: Message::PacketIn(_),
                ..
            }
        )
    });
    let Some(Output::Message {
        message: Message::PacketIn(packet),
        ..
    }) = heard.last()
    else {
        panic!("{heard:?}");
    };
    assert_eq!(packet.in_port(), Some(PortNo(2)));
    assert_eq!(packet.reason, PacketInReason::ACTION);
    assert_eq!(packet.buffer_id, BufferId::NO_BUFFER);
    assert_eq!(packet.data, frame);
}
