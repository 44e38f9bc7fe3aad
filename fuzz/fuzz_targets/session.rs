//! A peer that sends anything, with and without a handshake before it.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rust_openflow::{
    Capabilities, DatapathId, Hello, Input, Message, Output, SessionConfig, SwitchFeatures,
    SwitchSession,
};

fuzz_target!(|bytes: &[u8]| {
    run(bytes, false);
    run(bytes, true);
});

fn run(bytes: &[u8], greets: bool) {
    let mut session = SwitchSession::new(SessionConfig::default());
    session.handle(Input::Connected, Duration::ZERO);
    if greets {
        session.handle(Input::Received(&handshake()), Duration::ZERO);
        let asked = session.request(&Message::BarrierRequest, Duration::ZERO);
        assert!(asked.is_ok());
    }
    let mut is_down = false;
    for (second, piece) in (1..).zip(bytes.chunks(97)) {
        session.handle(Input::Received(piece), Duration::from_secs(second));
        while let Some(output) = session.poll() {
            assert!(!is_down, "{output:?} after down");
            match output {
                Output::Down(_) => is_down = true,
                Output::Send(sent) => drop(Message::decode(&sent).expect("we send messages")),
                _ => {}
            }
        }
    }
}

fn handshake() -> Vec<u8> {
    let features = Message::FeaturesReply(SwitchFeatures {
        datapath_id: DatapathId(0xa1),
        n_buffers: 0,
        n_tables: 254,
        auxiliary_id: 0,
        capabilities: Capabilities(0x4f),
        reserved: 0,
    });
    let mut bytes = Vec::new();
    for message in [Message::Hello(Hello::v1_3()), features] {
        message.encode(2, &mut bytes).expect("short messages");
    }
    bytes
}
