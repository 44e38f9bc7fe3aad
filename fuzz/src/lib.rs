//! What must hold for any bytes, for all fuzz targets. An input is a whole frame, so that what one
//! target finds can be given to the others, and to the example `roundtrip`.

use rust_openflow::{BundleAdd, BundleControl, Header, Message, MessageType, RoleStatus};

/// The kinds of message whose decoder has a target of its own, with its name.
pub const TARGETS: [(&str, &[MessageType]); 12] = [
    ("hello", &[MessageType::HELLO]),
    ("error", &[MessageType::ERROR]),
    ("experimenter", &[MessageType::EXPERIMENTER]),
    ("fixed", &FIXED),
    ("packet_in", &[MessageType::PACKET_IN]),
    ("packet_out", &[MessageType::PACKET_OUT]),
    ("flow_mod", &[MessageType::FLOW_MOD]),
    ("group_mod", &[MessageType::GROUP_MOD]),
    ("meter_mod", &[MessageType::METER_MOD]),
    ("multipart_request", &[MessageType::MULTIPART_REQUEST]),
    ("multipart_reply", &[MessageType::MULTIPART_REPLY]),
    ("queue_get_config", &QUEUES),
];

/// Asking for queues, and the answer.
pub const QUEUES: [MessageType; 2] = [
    MessageType::QUEUE_GET_CONFIG_REQUEST,
    MessageType::QUEUE_GET_CONFIG_REPLY,
];

/// Messages without lists, but for the match of a flow-removed.
pub const FIXED: [MessageType; 18] = [
    MessageType::FLOW_REMOVED,
    MessageType::PORT_STATUS,
    MessageType::FEATURES_REQUEST,
    MessageType::FEATURES_REPLY,
    MessageType::GET_CONFIG_REQUEST,
    MessageType::GET_CONFIG_REPLY,
    MessageType::SET_CONFIG,
    MessageType::PORT_MOD,
    MessageType::TABLE_MOD,
    MessageType::BARRIER_REQUEST,
    MessageType::BARRIER_REPLY,
    MessageType::ROLE_REQUEST,
    MessageType::ROLE_REPLY,
    MessageType::GET_ASYNC_REQUEST,
    MessageType::GET_ASYNC_REPLY,
    MessageType::SET_ASYNC,
    MessageType::ECHO_REQUEST,
    MessageType::ECHO_REPLY,
];

/// Decodes the bytes as a message of this target's kinds, with an honest length.
pub fn message_of(target: &str, bytes: &[u8]) {
    let known = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, kinds) = known.expect("the target is in the list");
    let mut frame = bytes.to_vec();
    if let (&[_, kind, _, _, ..], Ok(len)) = (bytes, u16::try_from(bytes.len())) {
        let kind = match kinds.iter().find(|known| known.0 == kind) {
            Some(kind) => *kind,
            None => kinds[usize::from(kind) % kinds.len()],
        };
        let [high, low] = len.to_be_bytes();
        frame[..4].copy_from_slice(&[4, kind.0, high, low]);
    }
    message(&frame);
}

/// What can be read is encoded in as many bytes, and read the same again.
pub fn message(frame: &[u8]) {
    let Ok((header, message)) = Message::decode(frame) else {
        return;
    };
    read_on(&message);
    let again = encode(header, &message);
    assert_eq!(again.len(), frame.len(), "{message:?}");
    let (same_header, reread) = Message::decode(&again).expect("our own bytes can be read");
    assert_eq!((same_header, &reread), (header, &message));
    assert_eq!(encode(header, &reread), again);
}

/// What is decoded on demand.
fn read_on(message: &Message) {
    match message {
        Message::Hello(hello) => drop(hello.bitmap()),
        Message::Error(error) => drop(error.to_string()),
        Message::Experimenter(vendors) => {
            let role = RoleStatus::from_experimenter(vendors);
            let bundle = BundleControl::from_experimenter(vendors);
            drop((role, bundle, BundleAdd::from_experimenter(vendors)));
        }
        _ => {}
    }
}

fn encode(header: Header, message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    let encoded = message.encode_as(header.version, header.xid, &mut out);
    encoded.expect("what was received fits into a message");
    out
}
