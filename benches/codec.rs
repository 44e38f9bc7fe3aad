//! OpenFlow messages to bytes and back: what one purchase sends, and what a switch with many entries reports.

use std::{hint::black_box, net::Ipv4Addr};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rust_openflow::{
    Action, BufferId, EthType, FlowFlags, FlowMod, FlowStats, Instruction, IpProto, MacAddr, Match,
    Message, MeterId, MeterMod, MultipartFlags, MultipartReply, MultipartReplyBody, Oxm, PacketIn,
    PacketInReason, PortNo, QueueId, TableId,
};

/// What a paid flow's first switch matches.
fn paid_match(flow: u32) -> Match {
    Match::new()
        .in_port(PortNo(3))
        .eth_src(MacAddr([2, 0, 0, 0, 0, 1]))
        .eth_type(EthType::IPV4)
        .ipv4_src(Ipv4Addr::from(0x0a00_0000 | (flow >> 14)))
        .ipv4_dst(Ipv4Addr::from(0x0a01_0001))
        .ip_proto(IpProto::UDP)
        .udp_dst(1_024 + (flow & 0x3fff) as u16)
}

/// Metered, marked, queued and sent out.
fn paid_instructions(flow: u32) -> Vec<Instruction> {
    vec![
        Instruction::Meter(MeterId(0x1_0000 + flow)),
        Instruction::ApplyActions(vec![
            Action::SetField(Oxm::IpDscp(46)),
            Action::SetQueue(QueueId(2)),
            Action::output(PortNo(1)),
        ]),
    ]
}

fn paid_flow_mod() -> Message {
    let added = FlowMod::add(TableId(0), 1_000, paid_match(7), paid_instructions(7));
    Message::FlowMod(
        added
            .cookie(0x5046_0000_0007_0000)
            .hard_timeout_s(70)
            .flags(FlowFlags::SEND_FLOW_REM),
    )
}

/// An ARP request from a new host, as a switch hands it up.
fn packet_in() -> Message {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend([2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    frame.resize(60, 0);
    Message::PacketIn(PacketIn {
        buffer_id: BufferId::NO_BUFFER,
        total_len: 60,
        reason: PacketInReason::ACTION,
        table_id: TableId(1),
        cookie: 0x5046_0000_0000_0001,
        flow_match: Match::new().in_port(PortNo(3)),
        data: frame,
    })
}

/// One part of the answer to "which entries have you?", as full as a message can be.
fn flow_stats_part() -> Message {
    let entry = |flow: u32| FlowStats {
        table_id: TableId(0),
        duration_sec: 12,
        duration_nsec: 345_000_000,
        priority: 1_000,
        idle_timeout_s: 0,
        hard_timeout_s: 70,
        flags: FlowFlags::SEND_FLOW_REM,
        cookie: 0x5046_0000_0000_0000 | u64::from(flow) << 16,
        packet_count: 123_456,
        byte_count: 181_480_320,
        flow_match: paid_match(flow),
        instructions: paid_instructions(flow),
    };
    let part = |entries: u32| {
        Message::MultipartReply(MultipartReply {
            flags: MultipartFlags::MORE,
            body: MultipartReplyBody::Flow((0..entries).map(entry).collect()),
        })
    };
    let fits = |entries: &u32| part(*entries).encode(1, &mut Vec::new()).is_ok();
    let most = (1..2_000).take_while(fits).last();
    part(most.expect("one entry fits"))
}

fn codec(criterion: &mut Criterion) {
    let messages = [
        ("paid_flow_mod", paid_flow_mod()),
        (
            "meter_mod",
            Message::MeterMod(MeterMod::add_kbps(MeterId(0x1_0007), 10_000, 500)),
        ),
        ("packet_in", packet_in()),
        ("flow_stats_64k", flow_stats_part()),
    ];
    for (direction, encode) in [("encode", true), ("decode", false)] {
        let mut group = criterion.benchmark_group(direction);
        group.throughput(Throughput::Elements(1));
        for (name, message) in &messages {
            let mut bytes = Vec::new();
            message.encode(1, &mut bytes).expect("it fits a message");
            let (_, read) = Message::decode(&bytes).expect("it is whole");
            assert_eq!(read, *message, "what is measured is right");
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                if encode {
                    bencher.iter(|| {
                        bytes.clear();
                        black_box(message).encode(1, &mut bytes)
                    });
                } else {
                    bencher.iter(|| Message::decode(black_box(&bytes)));
                }
            });
        }
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
