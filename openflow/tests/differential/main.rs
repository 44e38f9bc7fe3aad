//! Our encoder against Open vSwitch's: the same flow or group once in Open vSwitch's own words
//! (`ovs-ofctl parse-flow`, `parse-group`), once in our bytes (`ovs-ofctl ofp-print`). Open vSwitch
//! must say the same of both.

#![allow(clippy::unwrap_used)]

mod made;
mod words;

use std::process::Command;

use made::{flow_mod, group_mod, meter_mod};
use proptest::prelude::*;
use rust_openflow::*;
use words::{flow_text, group_text, meter_text};

/// What Open vSwitch prints for one of its commands, on one line, from the name of the message on.
fn ovs_ofctl(command: &str, argument: &str) -> String {
    let mut ovs_ofctl = Command::new("ovs-ofctl");
    let output = ovs_ofctl
        .args(["-O", "OpenFlow13", command, argument])
        .output();
    let output = output.expect("ovs-ofctl cannot be run: `make setup` installs Open vSwitch");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{argument}\n{complaint}");
    let text = String::from_utf8(output.stdout).unwrap();
    let said = text.find("OFPT_").and_then(|start| text.get(start..));
    let said = said.unwrap_or_else(|| panic!("{argument}\n{text}{complaint}"));
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn read_in_our_bytes(message: impl Into<Message>) -> String {
    let mut bytes = Vec::new();
    message.into().encode(1, &mut bytes).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    ovs_ofctl("ofp-print", &hex)
}

/// Every case takes two processes; `PROPTEST_CASES` asks for more.
fn few_cases() -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(48),
    }
}

proptest! {
    #![proptest_config(few_cases())]

    #[test]
    fn open_vswitch_reads_in_a_flow_mod_what_we_meant(flow_mod in flow_mod()) {
        let verb = match flow_mod.command {
            FlowCommand::ADD => " ADD ",
            FlowCommand::MODIFY => " MOD ",
            _ => " MOD_STRICT ",
        };
        let text = flow_text(&flow_mod);
        let meant = ovs_ofctl("parse-flow", &text).replacen(" ADD ", verb, 1);
        prop_assert_eq!(read_in_our_bytes(flow_mod), meant, "{}", text);
    }

    #[test]
    fn open_vswitch_reads_in_a_group_mod_what_we_meant(group_mod in group_mod()) {
        let text = group_text(&group_mod);
        let meant = ovs_ofctl("parse-group", &text);
        prop_assert_eq!(read_in_our_bytes(group_mod), meant, "{}", text);
    }

    #[test]
    fn open_vswitch_reads_in_a_meter_mod_what_we_meant(meter_mod in meter_mod()) {
        let meant = meter_text(&meter_mod);
        prop_assert_eq!(read_in_our_bytes(meter_mod), meant);
    }
}
