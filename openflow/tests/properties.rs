//! What holds for every message and for every string of bytes.

#![allow(clippy::unwrap_used)]

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

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

fn any_oxm() -> impl Strategy<Value = Oxm> {
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
        masked(any::<u64>()).prop_map(Oxm::TunnelId),
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
        Just(Action::PopVlan),
        vec(any::<u8>(), 0..20).prop_map(|body| Action::Unknown {
            kind: ActionType::EXPERIMENTER,
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
        vec(any::<u8>(), 0..20).prop_map(|body| Instruction::Unknown {
            kind: InstructionType::EXPERIMENTER,
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
        (3u16.., vec(any::<u8>(), 0..20)).prop_map(|(kind, body)| MeterBand::Unknown {
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

fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        any_flow_mod().prop_map(Message::FlowMod),
        any_meter_mod().prop_map(Message::MeterMod),
        any_group_mod().prop_map(Message::GroupMod),
        about_groups(),
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

fn encoded(message: &Message, xid: u32) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(xid, &mut out).unwrap();
    out
}

/// Bytes that at least pass for a message: an honest header and anything behind it.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    (
        0u8..32,
        any::<u32>(),
        vec(prop_oneof![3 => 0u8..9, 1 => any::<u8>()], 0..200),
    )
        .prop_map(|(kind, xid, body)| {
            let mut frame = vec![4, kind];
            frame.extend(u16::try_from(body.len() + 8).unwrap().to_be_bytes());
            frame.extend(xid.to_be_bytes());
            frame.extend(body);
            frame
        })
}

/// What can be read is read the same again after encoding it.
fn reads_the_same_again(frame: &[u8]) -> Result<(), TestCaseError> {
    if let Ok((header, message)) = Message::decode(frame) {
        let again = encoded(&message, header.xid);
        let (reread_header, reread) = Message::decode(&again).unwrap();
        prop_assert_eq!(reread_header.xid, header.xid);
        prop_assert_eq!(&reread, &message);
        prop_assert_eq!(encoded(&reread, header.xid), again);
    }
    Ok(())
}

/// The samples that have something behind their headers.
fn long_samples() -> Vec<Vec<u8>> {
    let bytes = common::samples().into_iter().map(|sample| sample.bytes);
    bytes.filter(|bytes| bytes.len() > Header::LEN).collect()
}

proptest! {
    #[test]
    fn every_message_is_read_as_it_was_written(message in any_message(), xid in any::<u32>()) {
        let bytes = encoded(&message, xid);
        let (header, decoded) = Message::decode(&bytes).unwrap();
        prop_assert_eq!(header.xid, xid);
        prop_assert_eq!(usize::from(header.length), bytes.len());
        prop_assert_eq!(decoded, message);
    }

    #[test]
    fn matches_are_equal_in_whatever_order_they_are_made(
        fields in vec(any_oxm(), 0..12).prop_shuffle(),
        seed in any::<proptest::sample::Index>(),
    ) {
        let one: Match = fields.into_iter().collect();
        let mut shuffled = one.fields().to_vec();
        if !shuffled.is_empty() {
            let at = seed.index(shuffled.len());
            shuffled.rotate_left(at);
            shuffled.reverse();
        }
        let other: Match = shuffled.into_iter().collect();
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one.cmp(&other), std::cmp::Ordering::Equal);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        reads_the_same_again(&bytes)?;
    }

    #[test]
    fn arbitrary_bodies_never_panic_and_read_the_same_again(frame in any_frame()) {
        reads_the_same_again(&frame)?;
    }

    #[test]
    fn spoilt_messages_never_panic_and_read_the_same_again(
        message in any_message(),
        spoils in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&message, 1);
        for (index, value) in spoils {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        reads_the_same_again(&bytes)?;
    }

    #[test]
    fn spoilt_samples_never_panic_and_read_the_same_again(
        sample in proptest::sample::select(
            long_samples()
        ),
        spoils in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = sample;
        for (index, value) in spoils {
            let at = index.index(bytes.len() - 8) + 8;
            bytes[at] = value;
        }
        reads_the_same_again(&bytes)?;
    }

    #[test]
    fn a_stream_gives_the_same_messages_however_it_is_cut(
        messages in vec(any_message(), 1..8),
        cuts in vec(1usize..50, 1..40),
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(|message| encoded(message, 9)).collect();
        let mut framer = Framer::new();
        let mut read = Vec::new();
        let mut rest = &stream[..];
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            rest = tail;
            framer.push(piece);
            while let Some(frame) = framer.next_frame().unwrap() {
                read.push(Message::decode(frame).unwrap().1);
            }
        }
        prop_assert_eq!(read, messages);
        prop_assert_eq!(framer.pending(), 0);
    }

    /// Whatever a peer sends and whenever, a session does not panic, never asks to be woken in
    /// the past for long, and says that it is down once and last.
    #[test]
    fn a_session_survives_any_peer(
        steps in vec((prop_oneof![
            4 => any_frame().prop_map(Some),
            1 => vec(any::<u8>(), 0..30).prop_map(Some),
            2 => Just(None),
        ], 0u64..4_000, any::<bool>()), 0..40),
        friendly in any::<bool>(),
    ) {
        let mut session = SwitchSession::new(SessionConfig::default());
        let mut now = Duration::ZERO;
        session.handle(Input::Connected, now);
        if friendly {
            session.handle(Input::Received(&common::hello()), now);
            session.handle(Input::Received(&common::features_reply(2, 0)), now);
        }
        let mut down = false;
        for (bytes, millis, ask) in steps {
            now += Duration::from_millis(millis);
            match &bytes {
                Some(bytes) => session.handle(Input::Received(bytes), now),
                None => session.handle(Input::DeadlineReached, now),
            }
            if ask {
                let asked = session.request(&Message::BarrierRequest, now);
                prop_assert_eq!(asked.is_ok(), session.features().is_some());
            }
            while let Some(output) = session.poll() {
                prop_assert!(!down, "{:?} after down", output);
                down = matches!(output, Output::Down(_));
                if let Output::Send(bytes) = output {
                    prop_assert!(Message::decode(&bytes).is_ok());
                }
            }
            if bytes.is_none() {
                prop_assert!(session.next_deadline().is_none_or(|at| at > now));
            }
            prop_assert_eq!(session.next_deadline().is_none(), down);
        }
    }
}
