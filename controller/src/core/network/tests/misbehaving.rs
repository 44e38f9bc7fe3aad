//! Switches that refuse, ignore or garble what every switch should understand.

use payflow_qos::SwitchId;
use rust_openflow::{
    FlowMod, Instruction, Match, Message, MeterCommand, MeterId, MeterMod, MultipartRequestBody,
    TableId,
};

use super::lab::{Lab, flow, host, plan_through_row, port};
use crate::core::network::{NetworkConfig, NetworkInput};

fn config() -> NetworkConfig {
    NetworkConfig::new([9; 32])
}

/// One switch with three ports, not connected.
fn alone() -> Lab {
    Lab::new(config(), &[(1, 3)], &[])
}

fn asks_for(message: &Message, wanted: fn(&MultipartRequestBody) -> bool) -> bool {
    matches!(message, Message::MultipartRequest(request) if wanted(&request.body))
}

fn is_ready(lab: &Lab) -> bool {
    let views = lab.network.switches();
    views.iter().any(|it| it.switch == SwitchId(1) && it.ready)
}

#[test]
fn a_switch_that_refuses_barriers_is_left() {
    let mut lab = alone();
    lab.connect(1);
    lab.wait(2_000);
    lab.switches.get_mut(&1).unwrap().misunderstands =
        Some(|message| matches!(message, Message::BarrierRequest));
    lab.host_arrives(port(1, 1), host(1));
    let [(_, reason)] = &*lab.closed else {
        panic!("{:?}", lab.closed)
    };
    assert!(reason.contains("barrier"), "{reason}");
}

#[test]
fn a_switch_that_does_not_tell_its_ports_has_not_lost_them() {
    let mut lab = Lab::row(config());
    lab.install(plan_through_row(flow(7, 1)));
    lab.disconnect(2);
    lab.switches.get_mut(&2).unwrap().misunderstands = Some(|message| {
        asks_for(message, |body| {
            matches!(body, MultipartRequestBody::PortDesc)
        })
    });
    lab.take_events();
    lab.connect(2);
    lab.wait(30_000);
    let [(_, reason)] = &*lab.closed else {
        panic!("{:?}", lab.closed)
    };
    assert!(reason.contains("ports"), "{reason}");
    let given_up = |event: &_| format!("{event:?}").contains("PortGivenUp");
    assert!(!lab.take_events().iter().any(given_up));
}

#[test]
fn a_switch_that_does_not_tell_its_meters_at_an_audit_is_not_given_them_again() {
    let mut lab = Lab::row(config());
    lab.install(plan_through_row(flow(7, 1)));
    lab.wait(1_000);
    lab.switches.get_mut(&1).unwrap().misunderstands = Some(|message| {
        asks_for(message, |body| {
            matches!(body, MultipartRequestBody::MeterConfig(_))
        })
    });
    lab.take_changes();
    lab.wait(60_000);
    assert_eq!(lab.take_changes().get(&1), None);
    assert_eq!(lab.closed, []);
    // What else it tells is compared.
    let switch = lab.switches.get_mut(&1).unwrap();
    let before = switch.flows.len();
    let paid = |flow: &rust_openflow::FlowMod| flow.instructions.contains(&METER_OF_7);
    switch.flows.retain(|_, flow| !paid(flow));
    assert!(switch.flows.len() < before);
    lab.wait(60_000);
    assert_eq!(lab.switches[&1].flows.len(), before);
}

const METER_OF_7: Instruction = Instruction::Meter(MeterId(0x1_0007));

#[test]
fn a_leftover_meter_that_a_switch_does_not_delete_harms_nobody() {
    let mut lab = alone();
    let switch = lab.switches.get_mut(&1).unwrap();
    let left = MeterId(0x1_2345);
    switch.meters.insert(left.0, MeterMod::delete(left));
    switch.misunderstands = Some(
        |message| matches!(message, Message::MeterMod(meter) if meter.command == MeterCommand::DELETE),
    );
    lab.connect(1);
    lab.wait(30_000);
    assert!(is_ready(&lab));
    assert!(lab.switches[&1].meters.contains_key(&left.0));
}

#[test]
fn a_switch_that_heeds_no_bundles_and_refuses_a_meter_is_served_without() {
    let mut lab = alone();
    let switch = lab.switches.get_mut(&1).unwrap();
    switch.ignores = Some(|message| matches!(message, Message::Experimenter(_)));
    switch.misunderstands =
        Some(|message| matches!(message, Message::MeterMod(meter) if meter.meter_id.0 == 0x101));
    lab.connect(1);
    lab.wait(60_000);
    assert_eq!(lab.closed, []);
}

#[test]
fn a_message_a_minute_that_cannot_be_read_is_forgiven() {
    let mut lab = alone();
    let connection = lab.connect(1);
    lab.wait(2_000);
    for _ in 0..100 {
        let bytes = vec![4, 11, 0, 8, 0, 0, 0, 1];
        lab.input(NetworkInput::Bytes { connection, bytes });
        lab.wait(61_000);
    }
    assert_eq!(lab.closed, []);
}

#[test]
fn who_sends_much_that_is_no_openflow_is_left() {
    let mut lab = alone();
    let connection = lab.connect(1);
    lab.wait(2_000);
    // FLOW_REMOVED without a body.
    let bytes = [4, 11, 0, 8, 0, 0, 0, 1].repeat(63);
    lab.input(NetworkInput::Bytes { connection, bytes });
    assert_eq!(lab.closed, []);
    let bytes = [4, 11, 0, 8, 0, 0, 0, 1].repeat(1_000);
    lab.input(NetworkInput::Bytes { connection, bytes });
    assert_eq!(lab.closed.len(), 1, "{:?}", lab.closed);
}

#[test]
fn a_switch_that_heeds_no_bundles_is_served_without() {
    let mut lab = alone();
    lab.switches.get_mut(&1).unwrap().ignores =
        Some(|message| matches!(message, Message::Experimenter(_)));
    lab.connect(1);
    lab.wait(15_000);
    lab.host_arrives(port(1, 1), host(1));
    lab.wait(15_000);
    assert_eq!(lab.closed, []);
    assert!(is_ready(&lab));
    let experiments = |lab: &Lab| lab.switches[&1].ignored;
    let before = experiments(&lab);
    assert!(before > 0, "bundles are tried");
    lab.host_arrives(port(1, 2), host(2));
    assert_eq!(experiments(&lab), before, "and not again");
}

#[test]
fn a_meter_that_an_entry_of_others_uses_is_theirs_whatever_its_number() {
    let mut lab = alone();
    lab.connect(1);
    lab.wait(2_000);
    let switch = lab.switches.get_mut(&1).unwrap();
    let meter = |number| MeterMod {
        meter_id: MeterId(number),
        ..MeterMod::delete(MeterId(number))
    };
    // 300 is used, 301 and 0x1_2345 are not.
    for number in [300, 301, 0x1_2345] {
        switch.meters.insert(number, meter(number));
    }
    let theirs = FlowMod::add(
        TableId(0),
        7,
        Match::new().in_port(rust_openflow::PortNo(3)),
        vec![Instruction::Meter(MeterId(300))],
    );
    let key = (TableId(0), 7, theirs.flow_match.clone());
    switch.flows.insert(key.clone(), theirs.cookie(0x42));
    lab.wait(60_000);
    let switch = &lab.switches[&1];
    assert!(switch.meters.contains_key(&300) && switch.flows.contains_key(&key));
    assert!(!switch.meters.contains_key(&301) && !switch.meters.contains_key(&0x1_2345));
}
