//! Any message there is, for property tests.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use rust_openflow::*;

fn any_mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn masked<T: Bits + std::fmt::Debug>(
    value: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Masked<T>> {
    (value.clone(), proptest::option::of(value))
        .prop_map(|(value, mask)| mask.map_or(Masked::exact(value), |m| Masked::new(value, m)))
}

pub(crate) fn any_oxm() -> impl Strategy<Value = Oxm> {
    let v4 = || any::<u32>().prop_map(Ipv4Addr::from_bits);
    let v6 = || any::<u128>().prop_map(Ipv6Addr::from_bits);
    prop_oneof![
        any::<u32>().prop_map(|v| Oxm::InPort(PortNo(v))),
        masked(any::<u64>()).prop_map(Oxm::Metadata),
        masked(any::<[u8; 6]>().prop_map(MacAddr)).prop_map(Oxm::EthDst),
        masked(any::<[u8; 6]>().prop_map(MacAddr)).prop_map(Oxm::EthSrc),
        any::<u16>().prop_map(|v| Oxm::EthType(EthType(v))),
        masked((0..0x2000u16).prop_map(VlanVid)).prop_map(Oxm::VlanVid),
        any::<u8>().prop_map(Oxm::VlanPcp),
        any::<u8>().prop_map(Oxm::IpDscp),
        any::<u8>().prop_map(|v| Oxm::IpProto(IpProto(v))),
        masked(v4()).prop_map(Oxm::Ipv4Src),
        masked(v4()).prop_map(Oxm::Ipv4Dst),
        masked(any::<u16>()).prop_map(Oxm::TcpDst),
        masked(any::<u16>()).prop_map(Oxm::UdpDst),
        masked(v4()).prop_map(Oxm::ArpTpa),
        masked(v6()).prop_map(Oxm::Ipv6Src),
        masked(v6()).prop_map(Oxm::Ipv6NdTarget),
        any_mac().prop_map(Oxm::Ipv6NdSll),
        any::<u32>().prop_map(Oxm::MplsLabel),
        masked((0..1u32 << 24).prop_map(Isid)).prop_map(Oxm::PbbIsid),
        masked(any::<u64>()).prop_map(Oxm::TunnelId),
        masked(any::<u16>()).prop_map(Oxm::Ipv6Exthdr),
        (any::<u8>(), any::<bool>(), vec(any::<u8>(), 0..20)).prop_map(|(field, mask, body)| {
            Oxm::Unknown(RawOxm::new(0x0001, field & 0x7f, mask, body).unwrap())
        }),
        (any::<u8>(), vec(any::<u8>(), 4..20)).prop_map(|(field, body)| {
            Oxm::Unknown(RawOxm::new(0xffff, field & 0x7f, false, body).unwrap())
        }),
    ]
}

fn any_match() -> impl Strategy<Value = Match> {
    vec(any_oxm(), 0..12).prop_map(|fields| fields.into_iter().collect())
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (any::<u32>(), any::<u16>()).prop_map(|(port, max_len)| Action::Output {
            port: PortNo(port),
            max_len
        }),
        any::<u32>().prop_map(|queue| Action::SetQueue(QueueId(queue))),
        any::<u32>().prop_map(|group| Action::Group(GroupId(group))),
        any_oxm().prop_map(Action::SetField),
        any::<u16>().prop_map(|eth_type| Action::PushVlan(EthType(eth_type))),
        any::<u16>().prop_map(|eth_type| Action::PushMpls(EthType(eth_type))),
        any::<u16>().prop_map(|eth_type| Action::PopMpls(EthType(eth_type))),
        any::<u16>().prop_map(|eth_type| Action::PushPbb(EthType(eth_type))),
        any::<u8>().prop_map(Action::SetMplsTtl),
        any::<u8>().prop_map(Action::SetNwTtl),
        proptest::sample::select(vec![
            Action::PopVlan,
            Action::PopPbb,
            Action::CopyTtlOut,
            Action::CopyTtlIn,
            Action::DecMplsTtl,
            Action::DecNwTtl,
        ]),
        (any::<u32>(), vec(any::<u8>(), 0..20))
            .prop_map(|(experimenter, data)| Action::Experimenter { experimenter, data }),
        (28..0xffffu16, vec(any::<u8>(), 0..20)).prop_map(|(kind, body)| Action::Unknown {
            kind: ActionType(kind),
            body
        }),
    ]
}

fn any_instruction() -> impl Strategy<Value = Instruction> {
    prop_oneof![
        any::<u32>().prop_map(|meter| Instruction::Meter(MeterId(meter))),
        vec(any_action(), 0..5).prop_map(Instruction::ApplyActions),
        vec(any_action(), 0..5).prop_map(Instruction::WriteActions),
        Just(Instruction::ClearActions),
        any::<(u64, u64)>().prop_map(|(value, mask)| Instruction::WriteMetadata { value, mask }),
        any::<u8>().prop_map(|table| Instruction::GotoTable(TableId(table))),
        (any::<u32>(), vec(any::<u8>(), 0..20))
            .prop_map(|(experimenter, data)| Instruction::Experimenter { experimenter, data }),
        (7..0xffffu16, vec(any::<u8>(), 0..20)).prop_map(|(kind, body)| Instruction::Unknown {
            kind: InstructionType(kind),
            body
        }),
    ]
}

prop_compose! {
    fn any_flow_mod()(
        (cookie, cookie_mask, table, command) in any::<(u64, u64, u8, u8)>(),
        (idle_timeout_s, hard_timeout_s, priority, flags) in any::<(u16, u16, u16, u16)>(),
        (buffer, out_port, out_group) in any::<(u32, u32, u32)>(),
        flow_match in any_match(),
        instructions in vec(any_instruction(), 0..5),
    ) -> FlowMod {
        FlowMod {
            cookie,
            cookie_mask,
            table_id: TableId(table),
            command: FlowCommand(command),
            idle_timeout_s,
            hard_timeout_s,
            priority,
            buffer_id: BufferId(buffer),
            out_port: PortNo(out_port),
            out_group: GroupId(out_group),
            flags: FlowFlags(flags),
            flow_match,
            instructions,
        }
    }
}

fn any_band() -> impl Strategy<Value = MeterBand> {
    prop_oneof![
        any::<(u32, u32)>().prop_map(|(rate, burst)| MeterBand::Drop { rate, burst }),
        any::<(u32, u32, u8)>().prop_map(|(rate, burst, prec_level)| MeterBand::DscpRemark {
            rate,
            burst,
            prec_level
        }),
        (any::<(u32, u32, u32)>(), vec(any::<u8>(), 0..20)).prop_map(
            |((rate, burst, experimenter), data)| MeterBand::Experimenter {
                rate,
                burst,
                experimenter,
                data
            }
        ),
        (3..0xffffu16, vec(any::<u8>(), 0..20)).prop_map(|(kind, body)| MeterBand::Unknown {
            kind: BandType(kind),
            body
        }),
    ]
}

fn any_meter_mod() -> impl Strategy<Value = MeterMod> {
    (any::<(u16, u16, u32)>(), vec(any_band(), 0..4)).prop_map(|((command, flags, id), bands)| {
        MeterMod {
            command: MeterCommand(command),
            flags: MeterFlags(flags),
            meter_id: MeterId(id),
            bands,
        }
    })
}

fn any_buckets() -> impl Strategy<Value = Vec<Bucket>> {
    let bucket = (any::<(u16, u32, u32)>(), vec(any_action(), 0..5));
    let bucket = bucket.prop_map(|((weight, watch_port, watch_group), actions)| Bucket {
        weight,
        watch_port: PortNo(watch_port),
        watch_group: GroupId(watch_group),
        actions,
    });
    vec(bucket, 0..4)
}

fn any_group_mod() -> impl Strategy<Value = GroupMod> {
    (any::<(u16, u8, u32)>(), any_buckets()).prop_map(|((command, kind, id), buckets)| GroupMod {
        command: GroupCommand(command),
        group_type: GroupType(kind),
        group_id: GroupId(id),
        buckets,
    })
}

fn any_group_stats() -> impl Strategy<Value = GroupStats> {
    let numbers = any::<(u32, u32, u64, u64, u32, u32)>();
    (numbers, vec(any::<(u64, u64)>(), 0..4)).prop_map(|(numbers, buckets)| GroupStats {
        group_id: GroupId(numbers.0),
        ref_count: numbers.1,
        packet_count: numbers.2,
        byte_count: numbers.3,
        duration_sec: numbers.4,
        duration_nsec: numbers.5,
        buckets: buckets
            .into_iter()
            .map(|(packet_count, byte_count)| BucketStats {
                packet_count,
                byte_count,
            })
            .collect(),
    })
}

/// What is asked and answered about groups.
fn about_groups() -> impl Strategy<Value = Message> {
    let desc = (any::<(u8, u32)>(), any_buckets()).prop_map(|((kind, id), buckets)| GroupDesc {
        group_type: GroupType(kind),
        group_id: GroupId(id),
        buckets,
    });
    let features = any::<(u32, u32, [u32; 4], [u32; 4])>();
    let features = features.prop_map(|(types, capabilities, max_groups, actions)| GroupFeatures {
        types,
        capabilities: GroupCapabilities(capabilities),
        max_groups,
        actions,
    });
    let reply = prop_oneof![
        vec(any_group_stats(), 0..4).prop_map(MultipartReplyBody::Group),
        vec(desc, 0..4).prop_map(MultipartReplyBody::GroupDesc),
        features.prop_map(MultipartReplyBody::GroupFeatures),
    ];
    let reply = (any::<u16>(), reply).prop_map(|(flags, body)| MultipartReply {
        flags: MultipartFlags(flags),
        body,
    });
    prop_oneof![
        reply.prop_map(Message::MultipartReply),
        any::<u32>().prop_map(|id| MultipartRequestBody::Group(GroupId(id)).into()),
        Just(MultipartRequestBody::GroupDesc.into()),
        Just(MultipartRequestBody::GroupFeatures.into()),
    ]
}

fn any_oxm_id() -> impl Strategy<Value = OxmId> {
    let class = prop_oneof![Just(0x8000u16), Just(0xffff), any::<u16>()];
    (class, any::<(u8, bool, u8, u32)>()).prop_map(|(class, (field, has_mask, length, vendor))| {
        OxmId {
            class,
            field: field & 0x7f,
            has_mask,
            length,
            experimenter: (class == 0xffff).then_some(vendor),
        }
    })
}

/// A kind of instruction or action: nearly always as short as it should be.
fn any_ids<T: Clone + std::fmt::Debug>(
    kind: fn(u16) -> T,
) -> impl Strategy<Value = Vec<FeatureId<T>>> {
    let body = prop_oneof![3 => Just(vec![]), 1 => vec(any::<u8>(), 0..9)];
    let id = (any::<u16>(), body).prop_map(move |(number, body)| FeatureId {
        kind: kind(number),
        body,
    });
    vec(id, 0..5)
}

fn any_table_property() -> impl Strategy<Value = TableProperty> {
    let oxm_ids = || vec(any_oxm_id(), 0..5);
    let miss = any::<bool>;
    prop_oneof![
        (miss(), any_ids(InstructionType))
            .prop_map(|(miss, ids)| TableProperty::Instructions { miss, ids }),
        (miss(), vec(any::<u8>().prop_map(TableId), 0..9))
            .prop_map(|(miss, tables)| TableProperty::NextTables { miss, tables }),
        (miss(), any_ids(ActionType))
            .prop_map(|(miss, ids)| TableProperty::WriteActions { miss, ids }),
        (miss(), any_ids(ActionType))
            .prop_map(|(miss, ids)| TableProperty::ApplyActions { miss, ids }),
        oxm_ids().prop_map(TableProperty::Match),
        oxm_ids().prop_map(TableProperty::Wildcards),
        (miss(), oxm_ids()).prop_map(|(miss, ids)| TableProperty::WriteSetField { miss, ids }),
        (miss(), oxm_ids()).prop_map(|(miss, ids)| TableProperty::ApplySetField { miss, ids }),
        (any::<(bool, u32, u32)>(), vec(any::<u8>(), 0..9)).prop_map(
            |((miss, experimenter, exp_type), data)| TableProperty::Experimenter {
                miss,
                experimenter,
                exp_type,
                data
            }
        ),
        (16..0xfffeu16, vec(any::<u8>(), 0..9)).prop_map(|(kind, body)| TableProperty::Unknown {
            kind: TablePropertyType(kind),
            body
        }),
    ]
}

fn any_tables() -> impl Strategy<Value = Vec<TableFeatures>> {
    let numbers = any::<(u8, u64, u64, u32, u32)>();
    let table = (numbers, "[a-z0-9é-]{0,16}", vec(any_table_property(), 0..5));
    let table = table.prop_map(|(numbers, name, properties)| TableFeatures {
        table_id: TableId(numbers.0),
        name,
        metadata_match: numbers.1,
        metadata_write: numbers.2,
        config: TableConfig(numbers.3),
        max_entries: numbers.4,
        properties,
    });
    vec(table, 0..3)
}

fn any_experimenter() -> impl Strategy<Value = Experimenter> {
    (any::<(u32, u32)>(), vec(any::<u8>(), 0..40)).prop_map(|((experimenter, exp_type), data)| {
        Experimenter {
            experimenter,
            exp_type,
            data,
        }
    })
}

fn about_queues() -> impl Strategy<Value = Message> {
    let property = prop_oneof![
        any::<u16>().prop_map(QueueProperty::MinRate),
        any::<u16>().prop_map(QueueProperty::MaxRate),
        (any::<u32>(), vec(any::<u8>(), 0..9))
            .prop_map(|(experimenter, data)| QueueProperty::Experimenter { experimenter, data }),
        (3..0xffffu16, vec(any::<u8>(), 0..9)).prop_map(|(kind, body)| QueueProperty::Unknown {
            kind: QueuePropertyType(kind),
            body
        }),
    ];
    let queue = (any::<(u32, u32)>(), vec(property, 0..4));
    let queue = queue.prop_map(|((queue, port), properties)| PacketQueue {
        queue_id: QueueId(queue),
        port_no: PortNo(port),
        properties,
    });
    let port = || any::<u32>().prop_map(PortNo);
    prop_oneof![
        port().prop_map(|port_no| QueueGetConfigRequest { port_no }.into()),
        (port(), vec(queue, 0..4)).prop_map(|(port_no, queues)| QueueGetConfigReply {
            port_no,
            queues
        }
        .into()),
    ]
}

/// What tables can do, and what vendors say in several parts.
fn about_tables() -> impl Strategy<Value = Message> {
    let reply = |flags, body| MultipartReply {
        flags: MultipartFlags(flags),
        body,
    };
    prop_oneof![
        any::<(u8, u32)>().prop_map(|(table, config)| TableMod {
            table_id: TableId(table),
            config: TableConfig(config)
        }
        .into()),
        any_tables().prop_map(|tables| MultipartRequestBody::TableFeatures(tables).into()),
        (any::<u16>(), any_tables()).prop_map(move |(flags, tables)| {
            reply(flags, MultipartReplyBody::TableFeatures(tables)).into()
        }),
        any_experimenter().prop_map(|body| MultipartRequestBody::Experimenter(body).into()),
        (any::<u16>(), any_experimenter()).prop_map(move |(flags, body)| {
            reply(flags, MultipartReplyBody::Experimenter(body)).into()
        }),
        any_experimenter().prop_map(Message::Experimenter),
    ]
}

pub(crate) fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        any_flow_mod().prop_map(Message::FlowMod),
        any_meter_mod().prop_map(Message::MeterMod),
        any_group_mod().prop_map(Message::GroupMod),
        about_groups(),
        about_queues(),
        about_tables(),
        (
            any::<(u32, u32)>(),
            vec(any_action(), 0..5),
            vec(any::<u8>(), 0..100)
        )
            .prop_map(
                |((buffer, port), actions, data)| Message::PacketOut(PacketOut {
                    buffer_id: BufferId(buffer),
                    in_port: PortNo(port),
                    actions,
                    data,
                })
            ),
        (any::<(u8, u32, u32, u64, u64)>(), any_match()).prop_map(
            |((table, port, group, cookie, cookie_mask), flow_match)| {
                MultipartRequestBody::Flow(FlowFilter {
                    table_id: TableId(table),
                    out_port: PortNo(port),
                    out_group: GroupId(group),
                    cookie,
                    cookie_mask,
                    flow_match,
                })
                .into()
            }
        ),
        (any::<(u16, u16)>(), vec(any::<u8>(), 0..80)).prop_map(|((kind, code), data)| {
            Message::Error(OfpError {
                code: ErrorCode::new(ErrorType(kind), code),
                data,
            })
        }),
        (30u8.., vec(any::<u8>(), 0..80)).prop_map(|(kind, body)| Message::Unknown {
            kind: MessageType(kind),
            body
        }),
    ]
}
