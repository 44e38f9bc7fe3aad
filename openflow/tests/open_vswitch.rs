//! What Open vSwitch reads in our bytes: `ovs-ofctl ofp-print` judges the encoder.

#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use rust_openflow::*;

/// What Open vSwitch says a message is, on one line.
fn printed(message: impl Into<Message>) -> String {
    let mut bytes = Vec::new();
    message.into().encode(1, &mut bytes).unwrap();
    print_bytes(&bytes)
}

fn print_bytes(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let output = Command::new("ovs-ofctl").args(["ofp-print", &hex]).output();
    let output = output.expect("ovs-ofctl cannot be run: `make setup` installs Open vSwitch");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn iperf() -> Match {
    Match::new()
        .in_port(PortNo(3))
        .eth_src(MacAddr([2, 0, 0, 0, 0, 1]))
        .eth_type(EthType::IPV4)
        .ipv4_src([10, 0, 0, 1].into())
        .ipv4_dst_net([10, 0, 1, 77].into(), 24)
        .ip_dscp(46)
        .ip_proto(IpProto::UDP)
        .udp_dst(5201)
}

#[test]
fn open_vswitch_reads_a_paid_flow() {
    let flow_mod = FlowMod::add(
        TableId(0),
        1000,
        iperf(),
        vec![
            Instruction::Meter(MeterId(7)),
            Instruction::ApplyActions(vec![
                Action::SetField(Oxm::IpDscp(46)),
                Action::SetQueue(QueueId(1)),
                Action::output(PortNo(1)),
                Action::to_controller(),
            ]),
            Instruction::GotoTable(TableId(1)),
        ],
    )
    .cookie(0x2a)
    .hard_timeout_s(60)
    .flags(FlowFlags::SEND_FLOW_REM);
    assert_eq!(
        printed(flow_mod),
        "OFPT_FLOW_MOD (OF1.3) (xid=0x1): ADD priority=1000,udp,in_port=3,\
         dl_src=02:00:00:00:00:01,nw_src=10.0.0.1,nw_dst=10.0.1.0/24,nw_tos=184,tp_dst=5201 \
         cookie:0x2a hard:60 send_flow_rem actions=meter:7,set_field:46->ip_dscp,set_queue:1,\
         output:1,CONTROLLER:65535,goto_table:1"
    );
}

#[test]
fn open_vswitch_reads_every_kind_of_match_field() {
    let v6 = |last| std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    let mac = MacAddr([2, 0, 0, 0, 0, 9]);
    for (flow_match, text) in [
        (Match::new(), "priority=1 actions"),
        (
            Match::new().metadata_masked(0x12, 0xff),
            "metadata=0x12/0xff",
        ),
        (
            Match::new().eth_dst_masked(MacAddr([1, 0, 0, 0, 0, 0]), MacAddr([1, 0, 0, 0, 0, 0])),
            "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
        ),
        (
            Match::new().vlan_vid(VlanVid::tagged(5)).vlan_pcp(3),
            "dl_vlan=5,dl_vlan_pcp=3",
        ),
        (Match::new().vlan_vid(VlanVid::NONE), "vlan_tci=0x0000"),
        (
            Match::new().vlan_vid_masked(VlanVid::PRESENT, VlanVid::PRESENT),
            "vlan_tci=0x1000/0x1000",
        ),
        (
            Match::new()
                .eth_type(EthType::ARP)
                .arp_op(ArpOp::REQUEST)
                .arp_spa([10, 0, 0, 1].into())
                .arp_tpa_masked([10, 0, 0, 2].into(), [255, 255, 255, 0].into())
                .arp_sha(mac)
                .arp_tha(MacAddr::ZERO),
            "arp,arp_spa=10.0.0.1,arp_tpa=10.0.0.0/24,arp_op=1,arp_sha=02:00:00:00:00:09,\
             arp_tha=00:00:00:00:00:00",
        ),
        (
            Match::new()
                .eth_type(EthType::IPV4)
                .ip_proto(IpProto::ICMP)
                .icmp_type(8)
                .icmp_code(0)
                .ip_ecn(1),
            "icmp,nw_ecn=1,icmp_type=8,icmp_code=0",
        ),
        (
            Match::new()
                .eth_type(EthType::IPV4)
                .ip_proto(IpProto::TCP)
                .tcp_src(80)
                .tcp_dst_masked(0x1400, 0xff00),
            "tcp,tp_src=80,tp_dst=0x1400/0xff00",
        ),
        (
            Match::new()
                .eth_type(EthType::IPV4)
                .ip_proto(IpProto::SCTP)
                .sctp_src(1)
                .sctp_dst(2),
            "sctp,tp_src=1,tp_dst=2",
        ),
        (
            Match::new()
                .eth_type(EthType::IPV6)
                .ipv6_src(v6(1))
                .ipv6_dst_net(v6(2), 64)
                .ip_proto(IpProto::UDP)
                .udp_src(53),
            "udp6,ipv6_src=2001:db8::1,ipv6_dst=2001:db8::/64,tp_src=53",
        ),
        (
            Match::new()
                .eth_type(EthType::IPV6)
                .ip_proto(IpProto::ICMPV6)
                .icmpv6_type(135)
                .icmpv6_code(0)
                .ipv6_nd_target(v6(3))
                .with(Oxm::Ipv6NdSll(mac)),
            "icmp6,icmp_type=135,icmp_code=0,nd_target=2001:db8::3,nd_sll=02:00:00:00:00:09",
        ),
        (
            Match::new().with(Oxm::TunnelId(Masked::exact(9))),
            "tun_id=0x9",
        ),
    ] {
        let printed = printed(FlowMod::add(TableId(0), 1, flow_match, vec![]));
        assert!(printed.contains(text), "{text}\n{printed}");
    }
}

#[test]
fn open_vswitch_reads_meters() {
    let mut add = MeterMod::add_kbps(MeterId(7), 10_000, 500);
    assert_eq!(
        printed(add.clone()),
        "OFPT_METER_MOD (OF1.3) (xid=0x1): ADD meter=7 kbps burst stats bands= \
         type=drop rate=10000 burst_size=500"
    );
    add.bands.push(MeterBand::DscpRemark {
        rate: 8_000,
        burst: 400,
        prec_level: 1,
    });
    let two = printed(add);
    assert!(
        two.contains("type=dscp_remark rate=8000 burst_size=400 prec_level=1"),
        "{two}"
    );
    let modify = printed(MeterMod::modify_kbps(MeterId(7), 65, 10));
    assert!(
        modify.contains("MOD meter=7 kbps burst stats bands= type=drop rate=65"),
        "{modify}"
    );
    assert_eq!(
        printed(MeterMod::delete(MeterId::ALL)),
        "OFPT_METER_MOD (OF1.3) (xid=0x1): DEL meter=all bands="
    );
}

#[test]
fn open_vswitch_reads_groups() {
    let to = |port| Bucket::new(vec![Action::output(PortNo(port))]);
    for (group_mod, text) in [
        (
            GroupMod::add(GroupId(1), GroupType::ALL, vec![to(1), to(2)]),
            "ADD group_id=1,type=all,bucket=actions=output:1,bucket=actions=output:2",
        ),
        (
            GroupMod::add(
                GroupId::MAX,
                GroupType::SELECT,
                vec![to(1).weight(2).watch_port(PortNo(1)), to(2).weight(65_535)],
            ),
            "ADD group_id=4294967040,type=select,bucket=weight:2,watch_port:1,actions=output:1,\
             bucket=weight:65535,actions=output:2",
        ),
        (
            GroupMod::modify(
                GroupId(3),
                GroupType::INDIRECT,
                vec![Bucket::new(vec![
                    Action::SetField(Oxm::IpDscp(46)),
                    Action::SetQueue(QueueId(1)),
                    Action::Group(GroupId(1)),
                ])],
            ),
            "MOD group_id=3,type=indirect,bucket=actions=set_field:46->ip_dscp,set_queue:1,group:1",
        ),
        (
            GroupMod::add(
                GroupId(4),
                GroupType::FF,
                vec![to(1).watch_port(PortNo(1)), to(2).watch_group(GroupId(3))],
            ),
            "ADD group_id=4,type=ff,bucket=watch_port:1,actions=output:1,\
             bucket=watch_group:3,actions=output:2",
        ),
        (GroupMod::delete(GroupId(4)), "DEL group_id=4,type=all"),
    ] {
        let printed = printed(group_mod);
        let expected = format!("OFPT_GROUP_MOD (OF1.3) (xid=0x1): {text}");
        assert_eq!(printed, expected);
    }
}

#[test]
fn open_vswitch_reads_what_queues_and_tables_can_do() {
    let queues = QueueGetConfigReply {
        port_no: PortNo(3),
        queues: vec![PacketQueue {
            queue_id: QueueId(1),
            port_no: PortNo(3),
            properties: vec![QueueProperty::MinRate(605), QueueProperty::MaxRate(900)],
        }],
    };
    let printed_queues = printed(queues);
    let text = "port=3 queue 1: min_rate:60.5% max_rate:90.0%";
    assert!(printed_queues.contains(text), "{printed_queues}");
    let miss = false;
    let table = TableFeatures {
        table_id: TableId(5),
        name: "classes".into(),
        metadata_match: 0xff,
        metadata_write: 0xf0,
        config: TableConfig::NONE,
        max_entries: 1_000_000,
        properties: vec![
            TableProperty::Instructions {
                miss,
                ids: vec![
                    InstructionType::APPLY_ACTIONS.into(),
                    InstructionType::METER.into(),
                ],
            },
            TableProperty::NextTables {
                miss,
                tables: vec![TableId(6), TableId(7)],
            },
            TableProperty::WriteActions {
                miss,
                ids: vec![ActionType::OUTPUT.into()],
            },
            TableProperty::ApplyActions {
                miss,
                ids: vec![ActionType::OUTPUT.into(), ActionType::SET_QUEUE.into()],
            },
            TableProperty::Match(vec![OxmId::basic(0, false, 4), OxmId::basic(4, true, 12)]),
            TableProperty::Wildcards(vec![OxmId::basic(0, false, 4), OxmId::basic(4, false, 6)]),
            TableProperty::WriteSetField { miss, ids: vec![] },
            TableProperty::ApplySetField {
                miss,
                ids: vec![OxmId::basic(8, false, 1)],
            },
        ],
    };
    let reply = MultipartReply {
        flags: MultipartFlags::NONE,
        body: MultipartReplyBody::TableFeatures(vec![table]),
    };
    let tables = printed(reply);
    for text in [
        "table 5 (\"classes\"):",
        "metadata: match=0xff write=0xf0",
        "max_entries=1000000",
        "next tables: 6-7",
        "instructions: meter apply_actions Write-Actions features: actions: output Apply-Actions",
        "supported on Set-Field: ip_dscp",
        "matching: arbitrary mask: eth_src exact match or wildcard: in_port",
    ] {
        assert!(tables.contains(text), "no {text} in\n{tables}");
    }
}

#[test]
fn open_vswitch_reads_deletions() {
    assert_eq!(
        printed(FlowMod::delete_by_cookie(TableId::ALL, 1 << 56, 0xff << 56)),
        "OFPT_FLOW_MOD (OF1.3) (xid=0x1): DEL table:255 priority=0 \
         cookie:0x100000000000000/0xff00000000000000 actions=drop"
    );
    let strict = printed(FlowMod::delete_strict(TableId(0), 1000, iperf()));
    assert!(strict.contains("DEL_STRICT priority=1000,udp"), "{strict}");
}

/// Everything a controller sends, as Open vSwitch calls it.
#[test]
fn open_vswitch_reads_everything_a_controller_sends() {
    let mut wrong = Vec::new();
    for (name, text) in [
        (
            "hello",
            "OFPT_HELLO (OF1.3) (xid=0x1): version bitmap: 0x04",
        ),
        (
            "error: meter exists",
            "OFPT_ERROR (OF1.3) (xid=0x5): OFPMMFC_METER_EXISTS",
        ),
        (
            "error: role stale",
            "OFPT_ERROR (OF1.3) (xid=0x5): OFPRRFC_STALE",
        ),
        (
            "echo request",
            "OFPT_ECHO_REQUEST (OF1.3) (xid=0x1): 2 bytes of payload",
        ),
        (
            "echo reply",
            "OFPT_ECHO_REPLY (OF1.3) (xid=0x1): 2 bytes of payload",
        ),
        (
            "role status (ONF)",
            "ONFT_ROLE_STATUS (OF1.3) (xid=0x0): role=",
        ),
        (
            "bundle control (ONF)",
            "bundle_id=0x7 type=COMMIT_REQUEST flags=atomic ordered",
        ),
        (
            "bundle add (ONF)",
            "bundle_id=0x7 flags=ordered OFPT_FLOW_MOD",
        ),
        ("features request", "OFPT_FEATURES_REQUEST"),
        (
            "features reply",
            "dpid:00000000000000a1 n_tables:254, n_buffers:0",
        ),
        ("get config request", "OFPT_GET_CONFIG_REQUEST"),
        (
            "set config",
            "OFPT_SET_CONFIG (OF1.3) (xid=0x1): frags=normal miss_send_len=65535",
        ),
        (
            "flow removed",
            "reason=delete table_id=0 cookie:0x11 duration5.00000001s idle15 hard30",
        ),
        (
            "group mod: add, fast failover",
            "ADD group_id=7,type=ff,bucket=watch_port:1,actions=set_queue:1,output:1,\
             bucket=watch_group:8,actions=group:8",
        ),
        (
            "group mod: modify, select",
            "MOD group_id=7,type=select,bucket=weight:3,actions=output:2",
        ),
        (
            "group mod: delete all",
            "OFPT_GROUP_MOD (OF1.3) (xid=0x1): DEL group_id=4294967292,type=all",
        ),
        (
            "port mod",
            "OFPT_PORT_MOD (OF1.3) (xid=0x1): port: 3: addr:02:00:00:00:00:03",
        ),
        ("flow-stats request", "OFPST_FLOW request"),
        (
            "queue-stats request",
            "OFPST_QUEUE request (OF1.3) (xid=0x1): port=ANY queue=ALL",
        ),
        (
            "port-stats request",
            "OFPST_PORT request (OF1.3) (xid=0x1): port_no=3",
        ),
        (
            "meter-stats request",
            "OFPST_METER request (OF1.3) (xid=0x1): meter=all",
        ),
        (
            "group-stats request",
            "OFPST_GROUP request (OF1.3) (xid=0x1): group_id=ALL",
        ),
        ("group-desc request", "OFPST_GROUP_DESC request"),
        ("group-features request", "OFPST_GROUP_FEATURES request"),
        ("port-desc request", "OFPST_PORT_DESC request"),
        (
            "aggregate reply",
            "packet_count=100 byte_count=10000 flow_count=3",
        ),
        (
            "queue-stats reply",
            "port 3 queue 1: bytes=10000, pkts=100, errors=2",
        ),
        (
            "port-stats reply",
            "port 3: rx pkts=1, bytes=3, drop=5, errs=7, frame=?, over=10",
        ),
        (
            "meter-stats reply",
            "meter:7 flow_count:1 packet_in_count:100 byte_in_count:10000",
        ),
        (
            "meter-config reply",
            "meter=7 kbps burst stats bands= type=drop rate=10000",
        ),
        (
            "meter-features reply",
            "max_meter:262144 max_bands:8 max_color:0 band_types: drop",
        ),
        (
            "group-stats reply",
            "group_id=7,duration=5.00000001s,ref_count=2,packet_count=100,byte_count=10000,\
             bucket0:packet_count=99,byte_count=9987 group_id=8,duration=6.000000011s",
        ),
        (
            "group-desc reply",
            "group_id=7,type=ff,bucket=watch_port:1,actions=set_queue:1,output:1 \
             group_id=8,type=all",
        ),
        (
            "group-features reply",
            "Types: 0xf Capabilities: 0x7 all group: max_groups=0xffffff00 \
             actions: output group set_queue select group: max_groups=0xffffff00 actions: output \
             indirect group: max_groups=0x1",
        ),
        ("port-desc reply", "3(s1-eth3): addr:02:00:00:00:00:03"),
        (
            "desc reply",
            "Manufacturer: Nicira Hardware: Open vSwitch Software: 3.1.0",
        ),
        ("barrier request", "OFPT_BARRIER_REQUEST"),
        (
            "table mod",
            "OFPT_TABLE_MOD (OF1.3) (xid=0x1): table_id: ALL_TABLES",
        ),
        ("table-features request", "OFPST_TABLE_FEATURES request"),
        (
            "queue get config request",
            "OFPT_QUEUE_GET_CONFIG_REQUEST (OF1.3) (xid=0x1): port=ANY",
        ),
        ("role request", "OFPT_ROLE_REQUEST (OF1.3) (xid=0x1): role="),
        ("get async request", "OFPT_GET_ASYNC_REQUEST"),
        ("set async", "OFPT_SET_ASYNC (OF1.3) (xid=0x1):"),
        (
            "packet out",
            "OFPT_PACKET_OUT (OF1.3) (xid=0x1): in_port=CONTROLLER actions=output:3",
        ),
    ] {
        let sample = common::samples()
            .into_iter()
            .find(|sample| sample.name == name);
        let printed = print_bytes(&sample.unwrap_or_else(|| panic!("no sample {name}")).bytes);
        if !printed.contains(text) {
            wrong.push(format!("{name}: expected {text}\n{printed}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
