//! What a real Open vSwitch says comes back byte for byte.

#![allow(clippy::unwrap_used)]

#[path = "common/open_vswitch.rs"]
mod open_vswitch;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use open_vswitch::OpenVswitch;
use rust_openflow::*;

/// Everything that can be asked, after something to tell about.
fn questions() -> Vec<Message> {
    let bucket = Bucket::new(vec![Action::output(PortNo(1))]);
    let mut ask: Vec<Message> = vec![
        Message::Hello(Hello::v1_3()),
        Message::FeaturesRequest,
        Message::SetConfig(SwitchConfig::WHOLE_PACKETS),
        Message::SetAsync(AsyncConfig::EVERYTHING),
        MeterMod::add_kbps(MeterId(7), 10_000, 500).into(),
        GroupMod::add(GroupId(7), GroupType::ALL, vec![bucket]).into(),
        Message::BarrierRequest,
    ];
    for (priority, flow_match) in [
        (1, Match::new()),
        (
            2,
            Match::new()
                .in_port(PortNo(1))
                .eth_type(EthType::IPV4)
                .ipv4_dst_net([10, 0, 0, 0].into(), 9),
        ),
        (
            3,
            Match::new()
                .eth_type(EthType::IPV6)
                .ipv6_src_net([1, 0, 0, 0, 0, 0, 0, 0].into(), 16),
        ),
        (
            4,
            Match::new()
                .eth_type(EthType::MPLS)
                .mpls_label(5)
                .mpls_bos(1),
        ),
    ] {
        let apply = vec![
            Action::SetField(Oxm::EthDst(Masked::exact(MacAddr([2, 0, 0, 0, 0, 1])))),
            Action::PushVlan(EthType::VLAN),
            Action::Group(GroupId(7)),
        ];
        let instructions = vec![
            Instruction::Meter(MeterId(7)),
            Instruction::ApplyActions(apply),
        ];
        let flow_mod = FlowMod::add(TableId(0), priority, flow_match, instructions);
        ask.push(flow_mod.flags(FlowFlags::SEND_FLOW_REM).into());
    }
    let every = MultipartRequestBody::Queue {
        port_no: PortNo::ANY,
        queue_id: QueueId::ALL,
    };
    for body in [
        MultipartRequestBody::Desc,
        MultipartRequestBody::Flow(FlowFilter::all()),
        MultipartRequestBody::Aggregate(FlowFilter::all()),
        MultipartRequestBody::Table,
        MultipartRequestBody::PortStats(PortNo::ANY),
        every,
        MultipartRequestBody::Group(GroupId::ALL),
        MultipartRequestBody::GroupDesc,
        MultipartRequestBody::GroupFeatures,
        MultipartRequestBody::Meter(MeterId::ALL),
        MultipartRequestBody::MeterConfig(MeterId::ALL),
        MultipartRequestBody::MeterFeatures,
        MultipartRequestBody::TableFeatures(vec![]),
        MultipartRequestBody::PortDesc,
    ] {
        ask.push(body.into());
    }
    let role = Role {
        role: ControllerRole::MASTER,
        generation_id: 1,
    };
    let bundle = BundleControl {
        bundle_id: 1,
        command: BundleCommand::OPEN_REQUEST,
        flags: BundleFlags::ATOMIC,
    };
    ask.extend([
        Message::GetConfigRequest,
        Message::GetAsyncRequest,
        QueueGetConfigRequest { port_no: PortNo(1) }.into(),
        Message::RoleRequest(role),
        bundle.to_message(),
        Message::EchoRequest(b"hi".to_vec()),
        // Refused.
        MeterMod::add_kbps(MeterId(7), 10_000, 500).into(),
        MeterMod::delete(MeterId::ALL).into(),
        Message::BarrierRequest,
        // After the removals, which come late.
        Message::EchoRequest(b"last".to_vec()),
    ]);
    ask
}

#[test]
fn all_answers_of_a_real_switch_come_back_byte_for_byte() {
    let switch = OpenVswitch::start();
    let mut stream = UnixStream::connect(switch.socket()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    for (xid, question) in (1..).zip(questions()) {
        let mut bytes = Vec::new();
        question.encode(xid, &mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    }
    let mut framer = Framer::new();
    let mut buffer = [0; 1 << 16];
    let (mut heard, mut tables, mut removed) = (Vec::new(), 0, 0);
    while removed < 4 || !heard.contains(&Message::EchoReply(b"last".to_vec())) {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the switch hung up after {heard:?}");
        framer.push(&buffer[..read]);
        while let Some(frame) = framer.next_frame().unwrap() {
            let (header, message) = Message::decode(frame).unwrap();
            let mut again = Vec::new();
            message
                .encode_as(header.version, header.xid, &mut again)
                .unwrap();
            assert!(again == frame, "{message:?}");
            match &message {
                Message::Unknown { .. } => panic!("{message:?}"),
                Message::FlowRemoved(_) => removed += 1,
                Message::MultipartReply(reply) => match &reply.body {
                    MultipartReplyBody::Unknown { .. } => panic!("{message:?}"),
                    MultipartReplyBody::TableFeatures(some) => tables += some.len(),
                    _ => {}
                },
                _ => {}
            }
            if header.kind != MessageType::MULTIPART_REPLY {
                heard.push(message);
            }
        }
    }
    assert_eq!(tables, 254);
    let exists = |message: &Message| matches!(message, Message::Error(e) if e.code == ErrorCode::METER_EXISTS);
    assert!(heard.iter().any(exists), "{heard:?}");
}
