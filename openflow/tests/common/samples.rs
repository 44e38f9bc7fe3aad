//! Messages byte by byte, with what they say.

#![allow(dead_code)] // each crate uses its own part

#[path = "rare.rs"]
pub(crate) mod rare;

use rust_openflow::*;

/// A message on the wire and what it says.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) message: Message,
}

/// Bytes from hexadecimal digits; `//` starts a comment.
pub(crate) fn wire(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .lines()
        .flat_map(|line| line.split("//").next())
        .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
        .map(|c| c.to_digit(16).expect("a hexadecimal digit"))
        .collect();
    assert_eq!(digits.len() % 2, 0, "half a byte");
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

pub(crate) fn hello() -> Vec<u8> {
    wire(
        "04 00 0010 00000001  // version 1.3, HELLO, length 16, xid 1
         0001 0008 00000010   // version bitmap, length 8, bit 4",
    )
}

pub(crate) fn features_reply(xid: u32, auxiliary_id: u8) -> Vec<u8> {
    wire(&format!(
        "04 06 0020 {xid:08x}          // FEATURES_REPLY, length 32
         00000000000000a1              // datapath_id
         00000000 fe {auxiliary_id:02x} 0000 // n_buffers 0, n_tables 254, auxiliary_id, pad
         0000004f 00000000             // FLOW|TABLE|PORT|GROUP|QUEUE_STATS, reserved"
    ))
}

pub(crate) fn features(auxiliary_id: u8) -> SwitchFeatures {
    SwitchFeatures {
        datapath_id: DatapathId(0xa1),
        n_buffers: 0,
        n_tables: 254,
        auxiliary_id,
        capabilities: Capabilities(0x4f),
        reserved: 0,
    }
}

/// A part of the answer to a flow-stats request: one entry with this priority.
pub(crate) fn flow_stats_part(xid: u32, more: bool, priority: u16) -> Vec<u8> {
    wire(&format!(
        "04 13 0058 {xid:08x}                // MULTIPART_REPLY, length 88
         0001 {:04x} 00000000                // FLOW, MORE or not, pad
         0048 00 00 00000005 0000000a        // length 72, table 0, 5 s 10 ns
         {priority:04x} 0000 001e 0001       // priority, idle 0, hard 30 s, SEND_FLOW_REM
         00000000                            // pad
         010000000000002a                    // cookie
         0000000000000064 0000000000002710   // 100 packets, 10 000 bytes
         0001 000c 80000004 00000003 00000000 // OFPMT_OXM, length 12: in_port 3; pad
         0006 0008 00000007                  // meter 7",
        u16::from(more),
    ))
}

pub(crate) fn flow_stats(priority: u16) -> FlowStats {
    FlowStats {
        table_id: TableId(0),
        duration_sec: 5,
        duration_nsec: 10,
        priority,
        idle_timeout_s: 0,
        hard_timeout_s: 30,
        flags: FlowFlags::SEND_FLOW_REM,
        cookie: 0x0100_0000_0000_002a,
        packet_count: 100,
        byte_count: 10_000,
        flow_match: Match::new().in_port(PortNo(3)),
        instructions: vec![Instruction::Meter(MeterId(7))],
    }
}

pub(crate) fn port(name: &str) -> Port {
    Port {
        port_no: PortNo(3),
        hw_addr: MacAddr([2, 0, 0, 0, 0, 3]),
        name: name.to_owned(),
        config: PortConfig::NONE,
        state: PortState::LIVE,
        curr: PortFeatures::FD_10GB | PortFeatures::COPPER,
        advertised: PortFeatures::NONE,
        supported: PortFeatures::NONE,
        peer: PortFeatures::NONE,
        curr_speed_kbps: 10_000_000,
        max_speed_kbps: 0,
    }
}

const PORT: &str = "
         00000003 00000000            // port_no 3, pad
         020000000003 0000            // hw_addr, pad
         73312d65746833 000000000000000000 // 's1-eth3' in 16 bytes
         00000000 00000004            // config, state LIVE
         00000840 00000000            // curr FD_10GB|COPPER, advertised
         00000000 00000000            // supported, peer
         00989680 00000000            // curr_speed 10 Gbit/s, max_speed unknown";

fn sample(name: &'static str, text: &str, message: Message) -> Sample {
    Sample {
        name,
        bytes: wire(text),
        message,
    }
}

fn multipart(body: MultipartReplyBody) -> Message {
    Message::MultipartReply(MultipartReply {
        flags: MultipartFlags::NONE,
        body,
    })
}

/// One of every message the crate has a type for, and some it has none for.
pub(crate) fn samples() -> Vec<Sample> {
    let mut samples = common();
    samples.extend(rare::samples());
    samples
}

/// What a controller and a switch tell each other every day.
fn common() -> Vec<Sample> {
    vec![
        Sample { name: "hello", bytes: hello(), message: Message::Hello(Hello::v1_3()) },
        sample(
            "error: meter exists",
            "04 01 0014 00000005   // ERROR, length 20
             000c 0001             // METER_MOD_FAILED, METER_EXISTS
             041d002000000005      // the header of the message refused",
            Message::Error(OfpError {
                code: ErrorCode::METER_EXISTS,
                data: vec![4, 0x1d, 0, 0x20, 0, 0, 0, 5],
            }),
        ),
        sample(
            "error: role stale",
            "04 01 000c 00000005 000b 0000 // ROLE_REQUEST_FAILED, STALE",
            Message::Error(OfpError { code: ErrorCode::ROLE_STALE, data: vec![] }),
        ),
        sample("echo request", "04 02 000a 00000001 6869", Message::EchoRequest(b"hi".into())),
        sample("echo reply", "04 03 000a 00000001 6869", Message::EchoReply(b"hi".into())),
        sample(
            "role status (ONF)",
            "04 04 0020 00000000             // EXPERIMENTER
             4f4e4600 00000777               // ONF, type 1911
             00000003 00 000000              // SLAVE, MASTER_REQUEST, pad
             0000000000000009                // generation_id 9",
            Message::Experimenter(Experimenter {
                experimenter: ONF,
                exp_type: 1911,
                data: vec![0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
            }),
        ),
        sample(
            "bundle control (ONF)",
            "04 04 0018 00000001             // EXPERIMENTER
             4f4e4600 000008fc               // ONF, type 2300
             00000007 0004 0003              // bundle 7, COMMIT_REQUEST, ATOMIC|ORDERED",
            BundleControl {
                bundle_id: 7,
                command: BundleCommand::COMMIT_REQUEST,
                flags: BundleFlags::ATOMIC | BundleFlags::ORDERED,
            }
            .to_message(),
        ),
        sample(
            "bundle add (ONF)",
            "04 04 0050 00000009             // EXPERIMENTER, length 80, xid 9
             4f4e4600 000008fd               // ONF, type 2301
             00000007 0000 0002              // bundle 7, pad, ORDERED
             04 0e 0038 00000009             // FLOW_MOD, length 56, same xid
             0000000000000001 0000000000000001 // cookie, cookie_mask
             ff 03 0000 0000 0000            // all tables, DELETE, no time-outs, priority 0
             ffffffff ffffffff ffffffff 0000 0000 // NO_BUFFER, ANY, ANY, no flags, pad
             0001 0004 00000000              // OFPMT_OXM, length 4, pad",
            bundle_add(
                7,
                BundleFlags::ORDERED,
                9,
                &FlowMod::delete_by_cookie(TableId::ALL, 1, 1).into(),
            )
            .unwrap(),
        ),
        sample("features request", "04 05 0008 00000001", Message::FeaturesRequest),
        Sample {
            name: "features reply",
            bytes: features_reply(2, 0),
            message: Message::FeaturesReply(features(0)),
        },
        sample("get config request", "04 07 0008 00000001", Message::GetConfigRequest),
        sample(
            "get config reply",
            "04 08 000c 00000001 0001 0080 // DROP fragments, 128 bytes of a miss",
            Message::GetConfigReply(SwitchConfig {
                fragments: FragmentHandling::DROP,
                miss_send_len: 128,
            }),
        ),
        sample(
            "set config",
            "04 09 000c 00000001 0000 ffff // NORMAL fragments, whole packets",
            Message::SetConfig(SwitchConfig::WHOLE_PACKETS),
        ),
        sample(
            "packet in",
            "04 0a 002c 00000000             // PACKET_IN, length 44
             ffffffff 0002 01 00             // NO_BUFFER, total_len 2, ACTION, table 0
             0000000000000011                // cookie 0x11
             0001 000c 80000004 00000003 00000000 // OFPMT_OXM, length 12: in_port 3; pad
             0000 abcd                       // pad, frame",
            Message::PacketIn(PacketIn {
                buffer_id: BufferId::NO_BUFFER,
                total_len: 2,
                reason: PacketInReason::ACTION,
                table_id: TableId(0),
                cookie: 0x11,
                flow_match: Match::new().in_port(PortNo(3)),
                data: vec![0xab, 0xcd],
            }),
        ),
        sample(
            "flow removed",
            "04 0b 0040 00000000             // FLOW_REMOVED, length 64
             0000000000000011 03e8 02 00     // cookie, priority 1000, DELETE, table 0
             00000005 0000000a               // 5 s 10 ns
             000f 001e                       // idle 15 s, hard 30 s
             0000000000000064 0000000000002710 // 100 packets, 10 000 bytes
             0001 000c 80000004 00000003 00000000 // OFPMT_OXM, length 12: in_port 3; pad",
            Message::FlowRemoved(FlowRemoved {
                cookie: 0x11,
                priority: 1000,
                reason: FlowRemovedReason::DELETE,
                table_id: TableId(0),
                duration_sec: 5,
                duration_nsec: 10,
                idle_timeout_s: 15,
                hard_timeout_s: 30,
                packet_count: 100,
                byte_count: 10_000,
                flow_match: Match::new().in_port(PortNo(3)),
            }),
        ),
        sample(
            "port status",
            &format!("04 0c 0050 00000000 02 00000000000000 {PORT}"), // MODIFY, pad
            Message::PortStatus(PortStatus { reason: PortReason::MODIFY, port: port("s1-eth3") }),
        ),
        sample(
            "packet out",
            "04 0d 002a 00000001             // PACKET_OUT, length 42
             ffffffff fffffffd               // NO_BUFFER, in_port CONTROLLER
             0010 000000000000               // 16 bytes of actions, pad
             0000 0010 00000003 0000 000000000000 // OUTPUT, length 16, port 3, max_len 0, pad
             abcd                            // frame",
            Message::PacketOut(PacketOut::new(PortNo(3), vec![0xab, 0xcd])),
        ),
        sample(
            "flow mod: add",
            "04 0e 0098 00000008                // FLOW_MOD, length 152
             010000000000002a 0000000000000000  // cookie, cookie_mask
             00 00 0000 003c 03e8               // table 0, ADD, idle 0, hard 60 s, priority 1000
             ffffffff ffffffff ffffffff 0001 0000 // NO_BUFFER, ANY, ANY, SEND_FLOW_REM, pad
             0001 0029                          // OFPMT_OXM, length 41
             80000004 00000003                  // in_port 3
             80000a02 0800                      // eth_type IPv4
             80001401 11                        // ip_proto UDP
             80001708 0a000000 ffffff00         // ipv4_src 10.0.0.0/24
             80002002 1451                      // udp_dst 5201
             00000000000000                     // pad to 48
             0006 0008 00000007                 // meter 7
             0004 0030 00000000                 // APPLY_ACTIONS, length 48, pad
             0019 0010 80001001 2e 00000000000000 // SET_FIELD, length 16: ip_dscp 46; pad
             0015 0008 00000001                 // SET_QUEUE 1
             0000 0010 00000001 0000 000000000000 // OUTPUT, length 16, port 1, max_len 0, pad",
            Message::FlowMod(
                FlowMod::add(
                    TableId(0),
                    1000,
                    Match::new()
                        .udp_dst(5201)
                        .in_port(PortNo(3))
                        .ip_proto(IpProto::UDP)
                        .ipv4_src_net([10, 0, 0, 77].into(), 24)
                        .eth_type(EthType::IPV4),
                    vec![
                        Instruction::Meter(MeterId(7)),
                        Instruction::ApplyActions(vec![
                            Action::SetField(Oxm::IpDscp(46)),
                            Action::SetQueue(QueueId(1)),
                            Action::output(PortNo(1)),
                        ]),
                    ],
                )
                .cookie(0x0100_0000_0000_002a)
                .hard_timeout_s(60)
                .flags(FlowFlags::SEND_FLOW_REM),
            ),
        ),
        sample(
            "flow mod: delete by cookie",
            "04 0e 0038 00000008                // FLOW_MOD, length 56
             0100000000000000 ff00000000000000  // cookie, cookie_mask
             ff 03 0000 0000 0000               // all tables, DELETE, no time-outs, priority 0
             ffffffff ffffffff ffffffff 0000 0000 // NO_BUFFER, ANY, ANY, no flags, pad
             0001 0004 00000000                 // OFPMT_OXM, length 4, pad",
            Message::FlowMod(FlowMod::delete_by_cookie(TableId::ALL, 1 << 56, 0xff << 56)),
        ),
        sample(
            "flow mod: every other instruction and action",
            "04 0e 00a8 00000008                // FLOW_MOD, length 168
             0000000000000000 0000000000000000  // cookie, cookie_mask
             00 00 0000 0000 0001               // table 0, ADD, no time-outs, priority 1
             ffffffff ffffffff ffffffff 0000 0000 // NO_BUFFER, ANY, ANY, no flags, pad
             0001 0004 00000000                 // OFPMT_OXM, length 4, pad
             0003 0030 00000000                 // WRITE_ACTIONS, length 48, pad
             0011 0008 8100 0000                // PUSH_VLAN 0x8100
             0012 0008 00000000                 // POP_VLAN
             0016 0008 00000009                 // GROUP 9
             ffff 0010 00002320 0000000000000000 // an experimenter's action
             0005 0008 00000000                 // CLEAR_ACTIONS
             0002 0018 00000000                 // WRITE_METADATA, length 24, pad
             0000000000000001 00000000000000ff  // 1 under 0xff
             ffff 0010 00002320 0000000000000001 // an experimenter's instruction
             0001 0008 02 000000                // GOTO_TABLE 2, pad
             0009 0008 00000000                 // an instruction of another time",
            Message::FlowMod(FlowMod::add(
                TableId(0),
                1,
                Match::new(),
                vec![
                    Instruction::WriteActions(vec![
                        Action::PushVlan(EthType::VLAN),
                        Action::PopVlan,
                        Action::Group(GroupId(9)),
                        Action::Experimenter { experimenter: NICIRA, data: vec![0; 8] },
                    ]),
                    Instruction::ClearActions,
                    Instruction::WriteMetadata { value: 1, mask: 0xff },
                    Instruction::Experimenter {
                        experimenter: NICIRA,
                        data: vec![0, 0, 0, 0, 0, 0, 0, 1],
                    },
                    Instruction::GotoTable(TableId(2)),
                    Instruction::Unknown { kind: InstructionType(9), body: vec![0; 4] },
                ],
            )),
        ),
        sample(
            "group mod: add, fast failover",
            "04 0f 0050 00000001             // GROUP_MOD, length 80
             0000 03 00 00000007             // ADD, FF, pad, group 7
             0028 0000 00000001 ffffffff 00000000 // bucket, length 40, no weight, port 1, no group, pad
             0015 0008 00000001              // SET_QUEUE 1
             0000 0010 00000001 0000 000000000000 // OUTPUT, length 16, port 1, max_len 0, pad
             0018 0000 ffffffff 00000008 00000000 // bucket, length 24, no weight, no port, group 8, pad
             0016 0008 00000008              // GROUP 8",
            Message::GroupMod(GroupMod::add(
                GroupId(7),
                GroupType::FF,
                vec![
                    Bucket::new(vec![Action::SetQueue(QueueId(1)), Action::output(PortNo(1))])
                        .watch_port(PortNo(1)),
                    Bucket::new(vec![Action::Group(GroupId(8))]).watch_group(GroupId(8)),
                ],
            )),
        ),
        sample(
            "group mod: modify, select",
            "04 0f 0030 00000001             // GROUP_MOD, length 48
             0001 01 00 00000007             // MODIFY, SELECT, pad, group 7
             0020 0003 ffffffff ffffffff 00000000 // bucket, length 32, weight 3, watching nothing, pad
             0000 0010 00000002 0000 000000000000 // OUTPUT, length 16, port 2, max_len 0, pad",
            Message::GroupMod(GroupMod::modify(
                GroupId(7),
                GroupType::SELECT,
                vec![Bucket::new(vec![Action::output(PortNo(2))]).weight(3)],
            )),
        ),
        sample(
            "group mod: delete all",
            "04 0f 0010 00000001 0002 00 00 fffffffc // DELETE, ALL type, pad, all groups",
            Message::GroupMod(GroupMod::delete(GroupId::ALL)),
        ),
        sample(
            "group mod: of another time",
            "04 0f 0040 00000001             // GROUP_MOD, length 64
             0009 07 00 ffffff01             // command 9, type 7, pad, a group beyond the last
             0010 0000 ffffffff ffffffff 00000000 // bucket, length 16: no actions
             0020 0000 ffffffff ffffffff 00000000 // bucket, length 32
             ffff 0010 00002320 0000000000000000 // an experimenter's action",
            Message::GroupMod(GroupMod {
                command: GroupCommand(9),
                ..GroupMod::add(
                    GroupId(0xffff_ff01),
                    GroupType(7),
                    vec![
                        Bucket::new(vec![]),
                        Bucket::new(vec![Action::Experimenter {
                            experimenter: NICIRA,
                            data: vec![0; 8],
                        }]),
                    ],
                )
            }),
        ),
        sample(
            "port mod",
            "04 10 0028 00000001             // PORT_MOD, length 40
             00000003 00000000               // port 3, pad
             020000000003 0000               // hw_addr, pad
             00000001 00000001               // PORT_DOWN under PORT_DOWN
             00000000 00000000               // advertise, pad",
            Message::PortMod(PortMod {
                port_no: PortNo(3),
                hw_addr: MacAddr([2, 0, 0, 0, 0, 3]),
                config: PortConfig::PORT_DOWN,
                mask: PortConfig::PORT_DOWN,
                advertise: PortFeatures::NONE,
            }),
        ),
        sample(
            "flow-stats request",
            "04 12 0038 00000001             // MULTIPART_REQUEST, length 56
             0001 0000 00000000              // FLOW, no flags, pad
             ff 000000 ffffffff ffffffff 00000000 // all tables, pad, ANY, ANY, pad
             0100000000000000 ff00000000000000 // cookie, cookie_mask
             0001 0004 00000000              // OFPMT_OXM, length 4, pad",
            MultipartRequestBody::Flow(FlowFilter::by_cookie(1 << 56, 0xff << 56)).into(),
        ),
        sample(
            "queue-stats request",
            "04 12 0018 00000001 0005 0000 00000000 ffffffff ffffffff // ANY port, ALL queues",
            MultipartRequestBody::Queue { port_no: PortNo::ANY, queue_id: QueueId::ALL }.into(),
        ),
        sample(
            "port-stats request",
            "04 12 0018 00000001 0004 0000 00000000 00000003 00000000 // port 3, pad",
            MultipartRequestBody::PortStats(PortNo(3)).into(),
        ),
        sample(
            "meter-stats request",
            "04 12 0018 00000001 0009 0000 00000000 ffffffff 00000000 // all meters, pad",
            MultipartRequestBody::Meter(MeterId::ALL).into(),
        ),
        sample(
            "group-stats request",
            "04 12 0018 00000001 0006 0000 00000000 fffffffc 00000000 // all groups, pad",
            MultipartRequestBody::Group(GroupId::ALL).into(),
        ),
        sample(
            "group-desc request",
            "04 12 0010 00000001 0007 0000 00000000",
            MultipartRequestBody::GroupDesc.into(),
        ),
        sample(
            "group-features request",
            "04 12 0010 00000001 0008 0000 00000000",
            MultipartRequestBody::GroupFeatures.into(),
        ),
        sample(
            "port-desc request",
            "04 12 0010 00000001 000d 0000 00000000",
            MultipartRequestBody::PortDesc.into(),
        ),
        Sample {
            name: "flow-stats reply with MORE",
            bytes: flow_stats_part(1, true, 9),
            message: Message::MultipartReply(MultipartReply {
                flags: MultipartFlags::MORE,
                body: MultipartReplyBody::Flow(vec![flow_stats(9)]),
            }),
        },
        sample(
            "aggregate reply",
            "04 13 0028 00000001 0002 0000 00000000 // AGGREGATE
             0000000000000064 0000000000002710      // 100 packets, 10 000 bytes
             00000003 00000000                      // 3 flows, pad",
            multipart(MultipartReplyBody::Aggregate(AggregateStats {
                packet_count: 100,
                byte_count: 10_000,
                flow_count: 3,
            })),
        ),
        sample(
            "table-stats reply",
            "04 13 0028 00000001 0003 0000 00000000 // TABLE
             05 000000 00000007                     // table 5, pad, 7 entries
             0000000000000064 0000000000000032      // 100 looked up, 50 matched",
            multipart(MultipartReplyBody::Table(vec![TableStats {
                table_id: TableId(5),
                active_count: 7,
                lookup_count: 100,
                matched_count: 50,
            }])),
        ),
        sample(
            "queue-stats reply",
            "04 13 0038 00000001 0005 0000 00000000 // QUEUE
             00000003 00000001                      // port 3, queue 1
             0000000000002710 0000000000000064      // 10 000 bytes, 100 packets
             0000000000000002 00000005 0000000a     // 2 dropped, 5 s 10 ns",
            multipart(MultipartReplyBody::Queue(vec![QueueStats {
                port_no: PortNo(3),
                queue_id: QueueId(1),
                tx_bytes: 10_000,
                tx_packets: 100,
                tx_errors: 2,
                duration_sec: 5,
                duration_nsec: 10,
            }])),
        ),
        sample(
            "port-stats reply",
            "04 13 0080 00000001 0004 0000 00000000 // PORT_STATS
             00000003 00000000                      // port 3, pad
             0000000000000001 0000000000000002      // packets in, out
             0000000000000003 0000000000000004      // bytes in, out
             0000000000000005 0000000000000006      // dropped in, out
             0000000000000007 0000000000000008      // errors in, out
             ffffffffffffffff 000000000000000a      // frame errors not counted, overruns
             000000000000000b 000000000000000c      // CRC errors, collisions
             0000000d 0000000e                      // 13 s 14 ns",
            multipart(MultipartReplyBody::PortStats(vec![PortStats {
                port_no: PortNo(3),
                rx_packets: 1,
                tx_packets: 2,
                rx_bytes: 3,
                tx_bytes: 4,
                rx_dropped: 5,
                tx_dropped: 6,
                rx_errors: 7,
                tx_errors: 8,
                rx_frame_err: u64::MAX,
                rx_over_err: 10,
                rx_crc_err: 11,
                collisions: 12,
                duration_sec: 13,
                duration_nsec: 14,
            }])),
        ),
        sample(
            "meter-stats reply",
            "04 13 0048 00000001 0009 0000 00000000 // METER
             00000007 0038 000000000000             // meter 7, length 56, pad
             00000001                               // used by 1 flow
             0000000000000064 0000000000002710      // 100 packets, 10 000 bytes
             00000005 0000000a                      // 5 s 10 ns
             0000000000000002 0000000000000bb8      // band: 2 packets, 3 000 bytes",
            multipart(MultipartReplyBody::Meter(vec![MeterStats {
                meter_id: MeterId(7),
                flow_count: 1,
                packet_in_count: 100,
                byte_in_count: 10_000,
                duration_sec: 5,
                duration_nsec: 10,
                bands: vec![BandStats { packet_count: 2, byte_count: 3_000 }],
            }])),
        ),
        sample(
            "meter-config reply",
            "04 13 0030 00000001 000a 0000 00000000 // METER_CONFIG
             0018 000d 00000007                     // length 24, KBPS|BURST|STATS, meter 7
             0001 0010 00002710 000003e8 00000000   // DROP above 10 000 kbit/s, burst 1 000, pad
             0008 0001 00000008                     // length 8, KBPS, meter 8, no bands",
            multipart(MultipartReplyBody::MeterConfig(vec![
                MeterConfig {
                    flags: MeterFlags(0x0d),
                    meter_id: MeterId(7),
                    bands: vec![MeterBand::Drop { rate: 10_000, burst: 1_000 }],
                },
                MeterConfig { flags: MeterFlags::KBPS, meter_id: MeterId(8), bands: vec![] },
            ])),
        ),
        sample(
            "meter-features reply",
            "04 13 0020 00000001 000b 0000 00000000 // METER_FEATURES
             00040000 00000002 0000000f 08 00 0000  // 262144 meters, DROP, all flags, 8 bands, pad",
            multipart(MultipartReplyBody::MeterFeatures(MeterFeatures {
                max_meter: 262_144,
                band_types: 1 << BandType::DROP.0,
                capabilities: MeterCapabilities(0x0f),
                max_bands: 8,
                max_color: 0,
            })),
        ),
        sample(
            "port-desc reply",
            &format!("04 13 0050 00000001 000d 0000 00000000 {PORT}"),
            multipart(MultipartReplyBody::PortDesc(vec![port("s1-eth3")])),
        ),
        Sample {
            name: "desc reply",
            bytes: {
                let mut bytes = wire("04 13 0430 00000001 0000 0000 00000000");
                for (text, len) in
                    [("Nicira", 256), ("Open vSwitch", 256), ("3.1.0", 256), ("None", 32), ("s1", 256)]
                {
                    bytes.extend(text.bytes().chain(std::iter::repeat(0)).take(len));
                }
                bytes
            },
            message: multipart(MultipartReplyBody::Desc(Box::new(SwitchDesc {
                manufacturer: "Nicira".into(),
                hardware: "Open vSwitch".into(),
                software: "3.1.0".into(),
                serial_number: "None".into(),
                datapath: "s1".into(),
            }))),
        },
        sample(
            "group-stats reply",
            "04 13 0070 00000001 0006 0000 00000000 // GROUP
             0038 0000 00000007                     // length 56, pad, group 7
             00000002 00000000                      // 2 entries refer to it, pad
             0000000000000064 0000000000002710      // 100 packets, 10 000 bytes
             00000005 0000000a                      // 5 s 10 ns
             0000000000000063 0000000000002703      // bucket: 99 packets, 9 987 bytes
             0028 0000 00000008                     // length 40, pad, group 8, no buckets
             00000000 00000000
             0000000000000000 0000000000000000
             00000006 0000000b                      // 6 s 11 ns",
            multipart(MultipartReplyBody::Group(vec![
                GroupStats {
                    group_id: GroupId(7),
                    ref_count: 2,
                    packet_count: 100,
                    byte_count: 10_000,
                    duration_sec: 5,
                    duration_nsec: 10,
                    buckets: vec![BucketStats { packet_count: 99, byte_count: 9_987 }],
                },
                GroupStats {
                    group_id: GroupId(8),
                    ref_count: 0,
                    packet_count: 0,
                    byte_count: 0,
                    duration_sec: 6,
                    duration_nsec: 11,
                    buckets: vec![],
                },
            ])),
        ),
        sample(
            "group-desc reply",
            "04 13 0048 00000001 0007 0000 00000000 // GROUP_DESC
             0030 03 00 00000007                    // length 48, FF, pad, group 7
             0028 0000 00000001 ffffffff 00000000   // bucket, length 40, no weight, port 1, no group, pad
             0015 0008 00000001                     // SET_QUEUE 1
             0000 0010 00000001 0000 000000000000   // OUTPUT, length 16, port 1, max_len 0, pad
             0008 00 00 00000008                    // length 8, ALL, pad, group 8, no buckets",
            multipart(MultipartReplyBody::GroupDesc(vec![
                GroupDesc {
                    group_type: GroupType::FF,
                    group_id: GroupId(7),
                    buckets: vec![
                        Bucket::new(vec![
                            Action::SetQueue(QueueId(1)),
                            Action::output(PortNo(1)),
                        ])
                        .watch_port(PortNo(1)),
                    ],
                },
                GroupDesc {
                    group_type: GroupType::ALL,
                    group_id: GroupId(8),
                    buckets: vec![],
                },
            ])),
        ),
        sample(
            "group-features reply",
            "04 13 0038 00000001 0008 0000 00000000 // GROUP_FEATURES
             0000000f 00000007                      // all types, weights, liveness and chains
             ffffff00 ffffff00 00000001 00000002    // as many ALL, SELECT, INDIRECT, FF
             00600001 00000001 00000001 00000001    // OUTPUT everywhere; SET_QUEUE and GROUP in ALL",
            multipart(MultipartReplyBody::GroupFeatures(GroupFeatures {
                types: 0x0f,
                capabilities: GroupCapabilities::SELECT_WEIGHT
                    | GroupCapabilities::SELECT_LIVENESS
                    | GroupCapabilities::CHAINING,
                max_groups: [0xffff_ff00, 0xffff_ff00, 1, 2],
                actions: [0x0060_0001, 1, 1, 1],
            })),
        ),
        sample("barrier request", "04 14 0008 00000001", Message::BarrierRequest),
        sample("barrier reply", "04 15 0008 00000001", Message::BarrierReply),
        sample(
            "role request",
            "04 18 0018 00000001 00000002 00000000 0000000000000009 // MASTER, pad, generation 9",
            Message::RoleRequest(Role { role: ControllerRole::MASTER, generation_id: 9 }),
        ),
        sample(
            "role reply",
            "04 19 0018 00000001 00000001 00000000 ffffffffffffffff // EQUAL, pad, none seen",
            Message::RoleReply(Role { role: ControllerRole::EQUAL, generation_id: u64::MAX }),
        ),
        sample("get async request", "04 1a 0008 00000001", Message::GetAsyncRequest),
        sample(
            "get async reply",
            "04 1b 0020 00000001 00000003 00000000 00000007 00000007 0000000f 00000000",
            Message::GetAsyncReply(AsyncConfig {
                packet_in: AsyncMask { master: 3, slave: 0 },
                port_status: AsyncMask { master: 7, slave: 7 },
                flow_removed: AsyncMask { master: 15, slave: 0 },
            }),
        ),
        sample(
            "set async",
            "04 1c 0020 00000001 00000007 00000000 00000007 00000007 0000003f 00000000",
            Message::SetAsync(AsyncConfig::EVERYTHING),
        ),
        sample(
            "meter mod: add, two bands",
            "04 1d 0030 00000005                  // METER_MOD, length 48
             0000 000d 00000007                   // ADD, KBPS|BURST|STATS, meter 7
             0001 0010 00002710 000003e8 00000000 // DROP above 10 000 kbit/s, burst 1 000, pad
             0002 0010 00001f40 000001f4 01 000000 // DSCP_REMARK above 8 000, burst 500, 1 step, pad",
            Message::MeterMod(MeterMod {
                bands: vec![
                    MeterBand::Drop { rate: 10_000, burst: 1_000 },
                    MeterBand::DscpRemark { rate: 8_000, burst: 500, prec_level: 1 },
                ],
                ..MeterMod::add_kbps(MeterId(7), 0, 0)
            }),
        ),
        sample(
            "meter mod: modify",
            "04 1d 0020 00000006                  // METER_MOD, length 32
             0001 000d 00000007                   // MODIFY, KBPS|BURST|STATS, meter 7
             0001 0010 00000041 0000000a 00000000 // DROP above 65 kbit/s, burst 10 kbit, pad",
            Message::MeterMod(MeterMod::modify_kbps(MeterId(7), 65, 10)),
        ),
        sample(
            "meter mod: delete all",
            "04 1d 0010 00000007 0002 0000 ffffffff // DELETE, no flags, all meters",
            Message::MeterMod(MeterMod::delete(MeterId::ALL)),
        ),
        sample(
            "a message of another time",
            "04 63 000b 00000001 010203",
            Message::Unknown { kind: MessageType(99), body: vec![1, 2, 3] },
        ),
    ]
}
