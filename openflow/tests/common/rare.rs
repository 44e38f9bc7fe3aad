//! The rest of OpenFlow 1.3, byte by byte: tables, queues, vendors, and what is kept as it came.

use std::net::Ipv6Addr;

use rust_openflow::*;

use super::{Sample, multipart, sample, wire};

pub(super) fn samples() -> Vec<Sample> {
    vec![
        every_field(),
        sample(
            "flow mod: the actions of OpenFlow 1.3 that are left",
            "04 0e 00a0 00000008                // FLOW_MOD, length 160
             0000000000000000 0000000000000000  // cookie, cookie_mask
             00 00 0000 0000 0001               // table 0, ADD, no time-outs, priority 1
             ffffffff ffffffff ffffffff 0000 0000 // NO_BUFFER, ANY, ANY, no flags, pad
             0001 0004 00000000                 // OFPMT_OXM, length 4, pad
             0004 0068 00000000                 // APPLY_ACTIONS, length 104, pad
             0013 0008 8847 0000                // PUSH_MPLS 0x8847
             0014 0008 0800 0000                // POP_MPLS to IPv4
             001a 0008 88e7 0000                // PUSH_PBB 0x88e7
             001b 0008 00000000                 // POP_PBB
             000b 0008 00000000                 // COPY_TTL_OUT
             000c 0008 00000000                 // COPY_TTL_IN
             000f 0008 40 000000                // SET_MPLS_TTL 64
             0010 0008 00000000                 // DEC_MPLS_TTL
             0017 0008 3f 000000                // SET_NW_TTL 63
             0018 0008 00000000                 // DEC_NW_TTL
             0063 0010 000000000000000000000000 // an action of another time",
            Message::FlowMod(FlowMod::add(
                TableId(0),
                1,
                Match::new(),
                vec![Instruction::ApplyActions(vec![
                    Action::PushMpls(EthType::MPLS),
                    Action::PopMpls(EthType::IPV4),
                    Action::PushPbb(EthType::PBB),
                    Action::PopPbb,
                    Action::CopyTtlOut,
                    Action::CopyTtlIn,
                    Action::SetMplsTtl(64),
                    Action::DecMplsTtl,
                    Action::SetNwTtl(63),
                    Action::DecNwTtl,
                    Action::Unknown { kind: ActionType(99), body: vec![0; 12] },
                ])],
            )),
        ),
        sample(
            "table-features request",
            "04 12 0010 00000001 000c 0000 00000000",
            MultipartRequestBody::TableFeatures(vec![]).into(),
        ),
        sample(
            "table-features reply",
            "04 13 0118 00000001 000c 0000 00000000 // TABLE_FEATURES
             0108 05 0000000000                     // length 264, table 5, pad
             636c6173736573 00000000000000000000000000000000000000000000000000 // 'classes' in 32
             00000000000000ff ffffffffffffffff      // metadata matched, written
             00000003 000f4240                      // config DEPRECATED_MASK, 1 000 000 entries
             0000 0014 0004 0004 0006 0004 0001 0004 ffff 0004 00000000 // INSTRUCTIONS, pad
             0001 0008 0004 0004                    // INSTRUCTIONS_MISS
             0002 0006 06 07 0000                   // NEXT_TABLES 6 and 7, pad
             0003 0004 00000000                     // NEXT_TABLES_MISS: none, pad
             0004 0008 0000 0004                    // WRITE_ACTIONS: OUTPUT
             0005 0004 00000000                     // WRITE_ACTIONS_MISS
             0006 0018 0019 0004 0000 0008 00000000 ffff 0008 00002320 // APPLY_ACTIONS, one with padding
             0007 0008 0000 0004                    // APPLY_ACTIONS_MISS
             0008 0014 80000004 80000908 ffff0008 00002320 00000000 // MATCH, pad
             000a 0008 80000908                     // WILDCARDS: eth_src under masks
             000c 0008 80001001                     // WRITE_SETFIELD: ip_dscp
             000d 0004 00000000                     // WRITE_SETFIELD_MISS
             000e 0008 80001001                     // APPLY_SETFIELD
             000f 0004 00000000                     // APPLY_SETFIELD_MISS
             fffe 0010 4f4e4600 00000007 00000009   // EXPERIMENTER of ONF, type 7
             ffff 000d 4f4e4600 00000007 09 000000  // EXPERIMENTER_MISS, pad
             0063 0005 aa 000000                    // a property of another time, pad",
            multipart(MultipartReplyBody::TableFeatures(vec![table_features()])),
        ),
        sample(
            "a vendor's multipart request",
            "04 12 001a 00000001 ffff 0000 00000000 // EXPERIMENTER
             4f4e4600 0000074e abcd                 // ONF, flow monitor, data",
            MultipartRequestBody::Experimenter(Experimenter {
                experimenter: ONF,
                exp_type: 1870,
                data: vec![0xab, 0xcd],
            })
            .into(),
        ),
        sample(
            "a vendor's multipart reply",
            "04 13 0018 00000001 ffff 0000 00000000 00002320 00000002 // Nicira, type 2",
            multipart(MultipartReplyBody::Experimenter(Experimenter {
                experimenter: NICIRA,
                exp_type: 2,
                data: vec![],
            })),
        ),
        sample(
            "a multipart request of another time",
            "04 12 0012 00000001 0012 0000 00000000 abcd",
            MultipartRequestBody::Unknown { kind: MultipartType(18), body: vec![0xab, 0xcd] }.into(),
        ),
        sample(
            "a multipart reply of another time",
            "04 13 0012 00000001 0012 0001 00000000 abcd",
            Message::MultipartReply(MultipartReply {
                flags: MultipartFlags::MORE,
                body: MultipartReplyBody::Unknown {
                    kind: MultipartType(18),
                    body: vec![0xab, 0xcd],
                },
            }),
        ),
        sample(
            "table mod",
            "04 11 0010 00000001 ff 000000 00000003 // all tables, pad, DEPRECATED_MASK",
            Message::TableMod(TableMod {
                table_id: TableId::ALL,
                config: TableConfig::DEPRECATED_MASK,
            }),
        ),
        sample(
            "queue get config request",
            "04 16 0010 00000001 ffffffff 00000000 // all ports, pad",
            QueueGetConfigRequest { port_no: PortNo::ANY }.into(),
        ),
        sample(
            "queue get config reply",
            "04 17 0070 00000001 ffffffff 00000000  // all ports, pad
             00000001 00000003 0050 000000000000    // queue 1 of port 3, length 80, pad
             0001 0010 00000000 0258 000000000000   // MIN_RATE 60 %, pad
             0002 0010 00000000 ffff 000000000000   // MAX_RATE unknown, pad
             ffff 0014 00000000 00002320 00000000 01020304 // Nicira's property, length 20
             0009 000c 00000000 abcdabcd            // a property of another time
             00000002 00000003 0010 000000000000    // queue 2 of port 3, nothing known",
            QueueGetConfigReply {
                port_no: PortNo::ANY,
                queues: vec![
                    PacketQueue {
                        queue_id: QueueId(1),
                        port_no: PortNo(3),
                        properties: vec![
                            QueueProperty::MinRate(600),
                            QueueProperty::MaxRate(QueueProperty::RATE_UNKNOWN),
                            QueueProperty::Experimenter {
                                experimenter: NICIRA,
                                data: vec![1, 2, 3, 4],
                            },
                            QueueProperty::Unknown {
                                kind: QueuePropertyType(9),
                                body: vec![0xab, 0xcd, 0xab, 0xcd],
                            },
                        ],
                    },
                    PacketQueue {
                        queue_id: QueueId(2),
                        port_no: PortNo(3),
                        properties: vec![],
                    },
                ],
            }
            .into(),
        ),
    ]
}

fn table_features() -> TableFeatures {
    let eth_src = OxmId::basic(4, true, 8);
    let ip_dscp = OxmId::basic(8, false, 1);
    let nicira = OxmId {
        class: 0xffff,
        field: 0,
        has_mask: false,
        length: 8,
        experimenter: Some(NICIRA),
    };
    let instructions = [
        InstructionType::APPLY_ACTIONS,
        InstructionType::METER,
        InstructionType::GOTO_TABLE,
        InstructionType::EXPERIMENTER,
    ];
    let vendors_action = FeatureId {
        kind: ActionType::EXPERIMENTER,
        body: NICIRA.to_be_bytes().into(),
    };
    let padded_action = FeatureId {
        kind: ActionType::SET_FIELD,
        body: vec![],
    };
    TableFeatures {
        table_id: TableId(5),
        name: "classes".into(),
        metadata_match: 0xff,
        metadata_write: u64::MAX,
        config: TableConfig::DEPRECATED_MASK,
        max_entries: 1_000_000,
        properties: vec![
            TableProperty::Instructions {
                miss: false,
                ids: instructions.map(FeatureId::from).into(),
            },
            TableProperty::Instructions {
                miss: true,
                ids: vec![InstructionType::APPLY_ACTIONS.into()],
            },
            TableProperty::NextTables {
                miss: false,
                tables: vec![TableId(6), TableId(7)],
            },
            TableProperty::NextTables {
                miss: true,
                tables: vec![],
            },
            TableProperty::WriteActions {
                miss: false,
                ids: vec![ActionType::OUTPUT.into()],
            },
            TableProperty::WriteActions {
                miss: true,
                ids: vec![],
            },
            TableProperty::ApplyActions {
                miss: false,
                ids: vec![
                    padded_action,
                    FeatureId {
                        kind: ActionType::OUTPUT,
                        body: vec![0; 4],
                    },
                    vendors_action,
                ],
            },
            TableProperty::ApplyActions {
                miss: true,
                ids: vec![ActionType::OUTPUT.into()],
            },
            TableProperty::Match(vec![OxmId::basic(0, false, 4), eth_src, nicira]),
            TableProperty::Wildcards(vec![eth_src]),
            TableProperty::WriteSetField {
                miss: false,
                ids: vec![ip_dscp],
            },
            TableProperty::WriteSetField {
                miss: true,
                ids: vec![],
            },
            TableProperty::ApplySetField {
                miss: false,
                ids: vec![ip_dscp],
            },
            TableProperty::ApplySetField {
                miss: true,
                ids: vec![],
            },
            TableProperty::Experimenter {
                miss: false,
                experimenter: ONF,
                exp_type: 7,
                data: vec![0, 0, 0, 9],
            },
            TableProperty::Experimenter {
                miss: true,
                experimenter: ONF,
                exp_type: 7,
                data: vec![9],
            },
            TableProperty::Unknown {
                kind: TablePropertyType(99),
                body: vec![0xaa],
            },
        ],
    }
}

/// A flow-mod that adds an entry without instructions, with these bytes of OXM fields.
fn flow_mod_with(oxm: &[u8]) -> Vec<u8> {
    let match_len = oxm.len() + 4;
    let padding = match_len.next_multiple_of(8) - match_len;
    let mut bytes = wire(&format!(
        "04 0e {:04x} 00000008              // FLOW_MOD
         0000000000000000 0000000000000000  // cookie, cookie_mask
         00 00 0000 0000 0001               // table 0, ADD, no time-outs, priority 1
         ffffffff ffffffff ffffffff 0000 0000 // NO_BUFFER, ANY, ANY, no flags, pad
         0001 {match_len:04x}               // OFPMT_OXM",
        48 + match_len + padding,
    ));
    bytes.extend(oxm);
    bytes.extend(vec![0; padding]);
    bytes
}

fn flow_mod_for(flow_match: Match) -> Message {
    FlowMod::add(TableId(0), 1, flow_match, vec![]).into()
}

fn every_field() -> Sample {
    let v6 = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
    let fields = wire(
        "80000004 00000003                          // in_port 3
         80000204 00000004                          // in_phy_port 4
         80000510 0000000000000012 00000000000000ff // metadata 0x12/0xff
         80000606 020000000001                      // eth_dst
         8000090c 010000000000 010000000000         // eth_src, under the multicast bit
         80000a02 0800                              // eth_type IPv4
         80000d04 1000 1000                         // vlan_vid: any tag
         80000e01 05                                // vlan_pcp 5
         80001001 2e                                // ip_dscp 46
         80001201 01                                // ip_ecn 1
         80001401 11                                // ip_proto UDP
         80001708 0a000000 ffffff00                 // ipv4_src 10.0.0.0/24
         80001804 0a000002                          // ipv4_dst 10.0.0.2
         80001a02 0050                              // tcp_src 80
         80001d04 1400 ff00                         // tcp_dst 0x1400/0xff00
         80001e02 0035                              // udp_src 53
         80002002 1451                              // udp_dst 5201
         80002202 0001                              // sctp_src 1
         80002402 0002                              // sctp_dst 2
         80002601 08                                // icmpv4_type 8
         80002801 00                                // icmpv4_code 0
         80002a02 0001                              // arp_op REQUEST
         80002c04 0a000001                          // arp_spa 10.0.0.1
         80002e04 0a000002                          // arp_tpa 10.0.0.2
         80003006 020000000002                      // arp_sha
         80003206 000000000000                      // arp_tha
         80003410 20010db8000000000000000000000001  // ipv6_src 2001:db8::1
         80003720 20010db8000000000000000000000000  // ipv6_dst 2001:db8::/64
                  ffffffffffffffff0000000000000000
         80003804 000fffff                          // ipv6_flabel 0xfffff
         80003a01 87                                // icmpv6_type 135
         80003c01 00                                // icmpv6_code 0
         80003e10 20010db8000000000000000000000003  // ipv6_nd_target 2001:db8::3
         80004006 020000000003                      // ipv6_nd_sll
         80004206 020000000004                      // ipv6_nd_tll
         80004404 000fffff                          // mpls_label 0xfffff
         80004601 07                                // mpls_tc 7
         80004801 01                                // mpls_bos 1
         80004b06 001234 00ffff                     // pbb_isid 0x1234/0xffff
         80004c08 0000000000000009                  // tunnel_id 9
         80004f04 0014 001f                         // ipv6_exthdr AUTH|FRAG/0x1f
         80005202 0001                              // a field of another time
         00010604 0a000001                          // NXM_OF_IN_PORT's class
         ffff0008 4f4e4600 002a ffff                // a vendor's field",
    );
    let flow_match = Match::new()
        .in_port(PortNo(3))
        .in_phy_port(PortNo(4))
        .metadata_masked(0x12, 0xff)
        .eth_dst(mac(1))
        .eth_src_masked(MacAddr([1, 0, 0, 0, 0, 0]), MacAddr([1, 0, 0, 0, 0, 0]))
        .eth_type(EthType::IPV4)
        .vlan_vid_masked(VlanVid::PRESENT, VlanVid::PRESENT)
        .vlan_pcp(5)
        .ip_dscp(46)
        .ip_ecn(1)
        .ip_proto(IpProto::UDP)
        .ipv4_src_net([10, 0, 0, 0].into(), 24)
        .ipv4_dst([10, 0, 0, 2].into())
        .tcp_src(80)
        .tcp_dst_masked(0x1400, 0xff00)
        .udp_src(53)
        .udp_dst(5201)
        .sctp_src(1)
        .sctp_dst(2)
        .icmp_type(8)
        .icmp_code(0)
        .arp_op(ArpOp::REQUEST)
        .arp_spa([10, 0, 0, 1].into())
        .arp_tpa([10, 0, 0, 2].into())
        .arp_sha(mac(2))
        .arp_tha(MacAddr::ZERO)
        .ipv6_src(v6(1))
        .ipv6_dst_net(v6(0), 64)
        .ipv6_flabel(0xf_ffff)
        .icmpv6_type(135)
        .icmpv6_code(0)
        .ipv6_nd_target(v6(3))
        .ipv6_nd_sll(mac(3))
        .ipv6_nd_tll(mac(4))
        .mpls_label(0xf_ffff)
        .mpls_tc(7)
        .mpls_bos(1)
        .pbb_isid_masked(Isid(0x1234), Isid(0xffff))
        .tunnel_id(9)
        .ipv6_exthdr_masked((Ipv6ExtHdr::AUTH | Ipv6ExtHdr::FRAG).0, 0x1f)
        .with(raw(0x8000, 41, false, &[0, 1]))
        .with(raw(0x0001, 3, false, &[10, 0, 0, 1]))
        .with(raw(
            0xffff,
            0,
            false,
            &[0x4f, 0x4e, 0x46, 0, 0, 0x2a, 0xff, 0xff],
        ));
    Sample {
        name: "flow mod: every match field",
        bytes: flow_mod_with(&fields),
        message: flow_mod_for(flow_match),
    }
}

fn raw(class: u16, field: u8, has_mask: bool, body: &[u8]) -> Oxm {
    let raw = RawOxm::new(class, field, has_mask, body.to_vec());
    Oxm::Unknown(raw.expect("a field of 7 bits and a short body"))
}

/// What says nothing, or says it in a roundabout way, is understood, and kept on the wire.
pub(crate) fn needless_bits() -> Sample {
    let fields = wire(
        "80002104 1451 ffff                 // udp_dst 5201 under a mask of all ones
         80001401 11                        // ip_proto UDP, out of order
         80000d04 0000 0000                 // vlan_vid under no bit at all
         80000a02 0800                      // eth_type IPv4
         80001708 0a00004d ffffff00         // ipv4_src 10.0.0.77/24",
    );
    Sample {
        name: "flow mod: needless bits",
        bytes: flow_mod_with(&fields),
        message: flow_mod_for(
            Match::new()
                .eth_type(EthType::IPV4)
                .ip_proto(IpProto::UDP)
                .ipv4_src_net([10, 0, 0, 0].into(), 24)
                .udp_dst(5201),
        ),
    }
}
