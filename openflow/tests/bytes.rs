//! Every message against annotated bytes, whole, cut and spoilt.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Sample, samples, wire};
use rust_openflow::*;

fn xid(bytes: &[u8]) -> u32 {
    Header::decode(bytes).unwrap().xid
}

fn encoded(message: &Message, xid: u32) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(xid, &mut out).unwrap();
    out
}

#[test]
fn every_sample_says_what_its_annotation_says() {
    for Sample {
        name,
        bytes,
        message,
    } in samples()
    {
        let (header, decoded) = Message::decode(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(decoded, message, "{name}");
        assert_eq!(header.kind, message.kind(), "{name}");
        assert_eq!(usize::from(header.length), bytes.len(), "{name}");
    }
}

#[test]
fn every_sample_is_encoded_to_the_same_bytes() {
    for Sample {
        name,
        bytes,
        message,
    } in samples()
    {
        assert_eq!(encoded(&message, xid(&bytes)), bytes, "{name}");
    }
}

#[test]
fn what_a_peer_says_in_a_roundabout_way_is_understood_and_encoded_as_it_came() {
    let Sample { bytes, message, .. } = common::rare::needless_bits();
    let decoded = Message::decode(&bytes).unwrap().1;
    assert_eq!(decoded, message);
    assert_eq!(encoded(&decoded, xid(&bytes)), bytes);
    assert_ne!(encoded(&message, xid(&bytes)), bytes);
}

#[test]
fn a_set_field_with_needless_bits_is_kept_as_it_came() {
    let packet_out = |set_field: &str| {
        wire(&format!(
            "04 0d 0028 00000001 ffffffff fffffffd 0010 000000000000 {set_field}"
        ))
    };
    let masked = packet_out("0019 0010 80001704 0a000001 00000000");
    let needless = packet_out("0019 0010 80002104 1451 ffff 00000000");
    let actions = |bytes: &[u8]| match Message::decode(bytes) {
        Ok((_, Message::PacketOut(packet))) => packet.actions,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        Message::decode(&masked),
        Err(DecodeError::BadLength {
            field: "ipv4_src",
            len: 4
        })
    );
    let kept = Action::Unknown {
        kind: ActionType::SET_FIELD,
        body: wire("80002104 1451 ffff 00000000"),
    };
    assert_eq!(actions(&needless), [kept]);
    let (header, message) = Message::decode(&needless).unwrap();
    assert_eq!(encoded(&message, header.xid), needless);
}

#[test]
fn encoding_appends_and_leaves_what_is_there() {
    let mut out = vec![1, 2, 3];
    Message::BarrierRequest.encode(9, &mut out).unwrap();
    assert_eq!(out, [1, 2, 3, 4, 20, 0, 8, 0, 0, 0, 9]);
}

#[test]
fn every_truncation_of_every_sample_is_an_error() {
    for Sample { name, bytes, .. } in samples() {
        for n in 0..bytes.len() {
            assert!(
                Message::decode(&bytes[..n]).is_err(),
                "{name}: accepted {n} bytes"
            );
        }
    }
}

/// A message cut short whose header says so may be whole in a shorter form (an echo with less
/// data), but then encodes to what it was read from.
#[test]
fn a_truncation_with_an_honest_header_is_an_error_or_another_whole_message() {
    let (mut refused, mut read) = (0, 0);
    for Sample { name, bytes, .. } in samples() {
        for n in 8..bytes.len() {
            let mut cut = bytes[..n].to_vec();
            cut[2..4].copy_from_slice(&u16::try_from(n).unwrap().to_be_bytes());
            match Message::decode(&cut) {
                Err(_) => refused += 1,
                Ok((header, message)) => {
                    read += 1;
                    assert_eq!(encoded(&message, header.xid), cut, "{name} cut to {n}");
                }
            }
        }
    }
    assert!(
        refused > 1_000 && read > 10,
        "refused {refused}, read {read}"
    );
}

#[test]
fn bytes_after_the_end_of_a_message_are_an_error() {
    for Sample {
        name, mut bytes, ..
    } in samples()
    {
        bytes.push(0);
        let error = Message::decode(&bytes);
        assert_eq!(
            error,
            Err(DecodeError::Trailing {
                field: "message",
                len: 1
            }),
            "{name}"
        );
    }
}

/// Every byte of every sample set to values that upset lengths: the decoder refuses or reads
/// something that encodes and reads the same again.
#[test]
fn no_spoilt_byte_upsets_the_decoder() {
    let mut read = 0;
    for Sample { name, bytes, .. } in samples() {
        for at in 0..bytes.len() {
            for value in [0, 1, 3, 4, 7, 8, 0x7f, 0x80, 0xff, bytes[at] ^ 1] {
                let mut spoilt = bytes.clone();
                spoilt[at] = value;
                if let Ok((header, message)) = Message::decode(&spoilt) {
                    read += 1;
                    let again = encoded(&message, header.xid);
                    let (_, reread) = Message::decode(&again).unwrap();
                    assert_eq!(reread, message, "{name}, byte {at} = {value:#x}");
                }
            }
        }
    }
    assert!(read > 10_000, "only {read} read");
}

#[test]
fn the_samples_in_one_stream_come_out_whole_one_byte_at_a_time() {
    let samples = samples();
    let stream: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.bytes.clone())
        .collect();
    let mut framer = Framer::new();
    let mut messages = Vec::new();
    for byte in &stream {
        framer.push(std::slice::from_ref(byte));
        while let Some(frame) = framer.next_frame().unwrap() {
            messages.push(Message::decode(frame).unwrap().1);
        }
    }
    let expected: Vec<Message> = samples.into_iter().map(|sample| sample.message).collect();
    assert_eq!(messages, expected);
}

#[test]
fn a_zero_length_element_is_an_error_wherever_lists_are() {
    let cases = [
        ("band", "04 1d 0014 00000001 0000 0001 00000007 0001 0000"),
        (
            "action",
            "04 0d 001c 00000001 ffffffff fffffffd 0004 000000000000 0000 0000",
        ),
        (
            "instruction",
            "04 0e 003c 00000001 00000000000000000000000000000000 00000000 00000000
             ffffffffffffffffffffffff 00000000 0001000400000000 0004 0000",
        ),
        (
            "flow stats",
            "04 13 0014 00000001 0001 0000 00000000 0000 0000",
        ),
        (
            "meter config",
            "04 13 0014 00000001 000a 0000 00000000 0000 0000",
        ),
        (
            "meter stats",
            "04 13 0018 00000001 0009 0000 00000000 00000007 0000 0000",
        ),
        (
            "bucket",
            "04 0f 0014 00000001 0000 00 00 00000007 0000 0000",
        ),
        (
            "action of a bucket",
            "04 0f 0024 00000001 0000 00 00 00000007 0014 0000 ffffffff ffffffff 00000000 0000 0000",
        ),
        (
            "group stats",
            "04 13 0014 00000001 0006 0000 00000000 0000 0000",
        ),
        (
            "group desc",
            "04 13 0014 00000001 0007 0000 00000000 0000 0000",
        ),
        (
            "table features",
            "04 13 0014 00000001 000c 0000 00000000 0000 0000",
        ),
        (
            "table property",
            "04 12 0058 00000001 000c 0000 00000000 0048 00 0000000000
             0000000000000000000000000000000000000000000000000000000000000000
             0000000000000000 0000000000000000 00000000 00000000 0000 0000 00000000",
        ),
        (
            "action of a table property",
            "04 12 0058 00000001 000c 0000 00000000 0048 00 0000000000
             0000000000000000000000000000000000000000000000000000000000000000
             0000000000000000 0000000000000000 00000000 00000000 0004 0008 0000 0000",
        ),
        (
            "queue",
            "04 17 0020 00000001 00000001 00000000 00000001 00000001 0000 000000000000",
        ),
        (
            "queue property",
            "04 17 0028 00000001 00000001 00000000 00000001 00000001 0018 000000000000
             0001 0000 00000000",
        ),
        (
            "match",
            "04 0a 0020 00000000 ffffffff00020100 0000000000000011 0001 0000 00000000",
        ),
    ];
    for (name, text) in cases {
        let error = Message::decode(&wire(text));
        assert!(
            matches!(error, Err(DecodeError::BadLength { len: 0, .. })),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn a_bucket_ends_where_it_says_and_within_its_group() {
    let error = |bucket: &str| Message::decode(&wire(bucket)).map(|(_, message)| message);
    let beyond = "04 0f 0020 00000001 0000 00 00 00000007 0011 0000 ffffffff ffffffff 00000000";
    assert_eq!(
        error(beyond),
        Err(DecodeError::BadLength {
            field: "bucket",
            len: 17
        })
    );
    let short = "04 0f 0020 00000001 0000 00 00 00000007 000c 0000 ffffffff ffffffff 00000000";
    assert_eq!(
        error(short),
        Err(DecodeError::Truncated {
            field: "bucket padding"
        })
    );
    let stats = "04 13 0040 00000001 0006 0000 00000000 0030 0000 00000007 00000002 00000000
                 0000000000000064 0000000000002710 00000005 0000000a 0000000000000063";
    assert_eq!(
        error(stats),
        Err(DecodeError::Truncated {
            field: "bucket byte_count"
        })
    );
}

#[test]
fn a_message_of_another_version_is_refused_unless_it_is_hello_or_error() {
    let decode = |text| Message::decode(&wire(text)).map(|(_, message)| message);
    assert_eq!(
        decode("01 02 0008 00000001"),
        Err(DecodeError::BadVersion(Version::V1_0))
    );
    let hello = Hello {
        version: Version::V1_0,
        elements: vec![],
    };
    assert_eq!(decode("01 00 0008 00000001"), Ok(Message::Hello(hello)));
    let error = OfpError {
        code: ErrorCode::HELLO_INCOMPATIBLE,
        data: vec![],
    };
    assert_eq!(
        decode("01 01 000c 00000001 0000 0000"),
        Ok(Message::Error(error))
    );
}

#[test]
fn a_message_too_long_for_its_length_field_is_refused_and_nothing_is_written() {
    let packet = |len| Message::PacketOut(PacketOut::new(PortNo(1), vec![0; len]));
    let mut out = vec![7];
    let overhead = encoded(&packet(0), 1).len();
    assert_eq!(
        packet(65_536 - overhead).encode(1, &mut out),
        Err(EncodeError::TooLong { len: 65_536 })
    );
    assert_eq!(out, [7]);
    let longest = encoded(&packet(65_535 - overhead), 1);
    assert_eq!(
        Message::decode(&longest).unwrap().1,
        packet(65_535 - overhead)
    );
}

#[test]
fn an_entry_read_back_is_the_entry_asked_for() {
    let asked = FlowMod::add(
        TableId(0),
        9,
        Match::new().in_port(PortNo(3)),
        vec![
            Instruction::ApplyActions(vec![]),
            Instruction::Meter(MeterId(7)),
        ],
    )
    .cookie(0x0100_0000_0000_002a)
    .hard_timeout_s(30)
    .flags(FlowFlags::SEND_FLOW_REM | FlowFlags::CHECK_OVERLAP | FlowFlags::RESET_COUNTS);
    let reported = common::flow_stats(9);
    assert_eq!(reported.entry(), asked.entry());
    assert_ne!(common::flow_stats(8).entry(), asked.entry());
    assert_eq!(asked.entry().to_add().entry(), asked.entry());
}

#[test]
fn instructions_are_compared_in_the_order_of_execution() {
    let reported = vec![
        Instruction::Meter(MeterId(1)),
        Instruction::apply(Action::PopVlan),
        Instruction::WriteMetadata {
            value: 1,
            mask: 0x0f,
        },
        Instruction::GotoTable(TableId(1)),
    ];
    let asked = vec![
        Instruction::GotoTable(TableId(1)),
        Instruction::WriteMetadata {
            value: 0xf1,
            mask: 0x0f,
        },
        Instruction::apply(Action::PopVlan),
        Instruction::WriteActions(vec![]),
        Instruction::Meter(MeterId(1)),
    ];
    assert_eq!(Instruction::canonical(asked), reported);
    assert_eq!(Instruction::canonical(reported.clone()), reported);
}

#[test]
fn what_is_done_at_once_keeps_its_order() {
    let set_then_send = vec![Action::SetQueue(QueueId(1)), Action::output(PortNo(1))];
    let send_then_set = vec![Action::output(PortNo(1)), Action::SetQueue(QueueId(1))];
    assert_ne!(
        Instruction::canonical(vec![Instruction::ApplyActions(set_then_send)]),
        Instruction::canonical(vec![Instruction::ApplyActions(send_then_set)])
    );
}

#[test]
fn the_role_we_lost_and_the_bundle_that_was_committed_can_be_read() {
    let experimenter = |text| match Message::decode(&wire(text)) {
        Ok((_, Message::Experimenter(message))) => message,
        other => panic!("{other:?}"),
    };
    let lost =
        experimenter("04 04 0020 00000000 4f4e4600 00000777 00000003 00 000000 0000000000000009");
    assert_eq!(
        RoleStatus::from_experimenter(&lost),
        Some(RoleStatus {
            role: ControllerRole::SLAVE,
            reason: RoleReason::MASTER_REQUEST,
            generation_id: 9,
        })
    );
    assert_eq!(BundleControl::from_experimenter(&lost), None);
    let committed = experimenter("04 04 0018 00000001 4f4e4600 000008fc 00000007 0005 0003");
    let committed = BundleControl::from_experimenter(&committed).unwrap();
    assert_eq!(committed.command, BundleCommand::COMMIT_REPLY);
    let short = experimenter("04 04 0014 00000000 4f4e4600 00000777 00000003");
    assert_eq!(RoleStatus::from_experimenter(&short), None);
    let again = RoleStatus::from_experimenter(&lost).map(RoleStatus::to_message);
    assert_eq!(again, Some(Message::Experimenter(lost)));
}

#[test]
fn what_was_added_to_a_bundle_can_be_read() {
    let delete = FlowMod::delete_by_cookie(TableId::ALL, 1, 1);
    let add = bundle_add(7, BundleFlags::ORDERED, 9, &delete.clone().into()).unwrap();
    let Message::Experimenter(mut add) = add else {
        panic!("{add:?}")
    };
    let expected = BundleAdd {
        bundle_id: 7,
        flags: BundleFlags::ORDERED,
        xid: 9,
        message: delete.into(),
    };
    let read = |message: &Experimenter| BundleAdd::from_experimenter(message);
    assert_eq!(read(&add), Some(Ok(expected.clone())));
    add.data.extend([0; 8]); // properties
    assert_eq!(read(&add), Some(Ok(expected)));
    add.data.truncate(20);
    let cut = DecodeError::Truncated { field: "message" };
    assert_eq!(read(&add), Some(Err(cut)));
    add.exp_type += 1;
    assert_eq!(read(&add), None);
}
