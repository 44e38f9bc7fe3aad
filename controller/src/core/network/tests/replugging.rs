//! Ports that are taken out of a switch and come back under other numbers.

use std::time::Duration;

use payflow_qos::{BitRate, PortRef};
use rust_openflow::{Action, Port};

use super::{
    lab::{Lab, flow, host, plan_through_row, port},
    walker::Packet,
};
use crate::core::network::{NetworkConfig, NetworkEvent, NetworkInput, PortRole, Timings};

const GBIT: BitRate = BitRate(1_000_000_000);

/// The row, with a flow through it and a capacity at the trunk from switch 1 to switch 2.
fn lab() -> Lab {
    let mut lab = Lab::row(NetworkConfig::new([1; 32]));
    lab.declare(port(1, 3), PortRole::Trunk, Some(GBIT));
    for (switch, port_name, _) in std::mem::take(&mut lab.classes_ordered) {
        lab.input(NetworkInput::ClassesMade {
            switch,
            port_name,
            result: Ok(()),
        });
    }
    lab.install(plan_through_row(flow(7, 0)));
    lab.take_events();
    lab
}

fn unplug(lab: &mut Lab, at: PortRef) -> Port {
    let unplugged = lab.switches.get_mut(&at.switch.0).unwrap();
    let unplugged = unplugged.unplug(at.port.0);
    lab.pump();
    unplugged
}

/// The port is at the same cable again.
fn plug(lab: &mut Lab, unplugged: Port, from: PortRef, to: PortRef) {
    if let Some(other) = lab.cables.remove(&from) {
        lab.cables.extend([(to, other), (other, to)]);
    }
    let switch = lab.switches.get_mut(&to.switch.0).unwrap();
    switch.plug(unplugged, to.port.0);
    lab.pump();
}

fn renumbered(from: PortRef, to: PortRef) -> NetworkEvent {
    NetworkEvent::PortRenumbered { from, to }
}

/// Whether an entry of the flow at a switch names this port.
fn names(lab: &Lab, at: PortRef) -> bool {
    let port = rust_openflow::PortNo(at.port.0);
    let entries = lab.switches[&at.switch.0].flows.values();
    let mut of_flow = entries.filter(|entry| entry.cookie == 0x50 << 56 | 7 << 16);
    of_flow.any(|entry| {
        let outputs = format!("{:?}", Action::output(port));
        let instructions = format!("{:?}", entry.instructions);
        entry.flow_match.get_in_port() == Some(port) || instructions.contains(&outputs)
    })
}

fn paid() -> Packet {
    Packet::udp(host(1), host(3), 0)
}

#[test]
fn a_paid_flow_follows_a_trunk_and_an_edge_port_once_that_is_remembered() {
    let mut lab = lab();
    for (from, to) in [
        (port(1, 3), port(1, 31)),
        (port(2, 2), port(2, 21)),
        (port(1, 1), port(1, 11)),
        (port(3, 1), port(3, 11)),
    ] {
        let unplugged = unplug(&mut lab, from);
        plug(&mut lab, unplugged, from, to);
        let told = lab.take_events();
        assert!(told.contains(&renumbered(from, to)), "{told:?}");
        let lost = |event: &NetworkEvent| matches!(event, NetworkEvent::Capacity { .. });
        assert!(!told.iter().any(lost), "{told:?}");
        assert!(names(&lab, from) && !names(&lab, to), "it is not durable");
        lab.input(NetworkInput::Renumbered { from, to });
        assert!(!names(&lab, from) && names(&lab, to), "{from} to {to}");
    }
    lab.wait(3_000);
    let told = lab.take_events();
    let restored = NetworkEvent::PathRestored { flow: flow(7, 0) };
    assert!(told.contains(&restored), "{told:?}");
    let delivered = lab.inject(port(1, 11), paid());
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0].port, port(3, 11));
    for switch in 1..=3 {
        let entries = lab.switches[&switch].flows.values();
        let of_flow = entries.filter(|entry| entry.cookie == 0x50 << 56 | 7 << 16);
        assert_eq!(of_flow.count(), 1, "switch {switch}");
    }
    lab.remove(flow(7, 0));
    lab.wait(1_000);
    assert!(!(1..=3).any(|switch| lab.holds(switch, flow(7, 0))));
}

#[test]
fn a_port_that_stays_away_is_given_up_and_comes_back_as_another() {
    let mut lab = lab();
    let (from, to) = (port(1, 3), port(1, 31));
    let unplugged = unplug(&mut lab, from);
    let replug = Timings::default().replug;
    lab.wait(u64::try_from((replug - Duration::from_millis(1)).as_millis()).unwrap());
    let lost = NetworkEvent::Capacity {
        link: from,
        capacity: None,
    };
    assert!(!lab.events.contains(&lost), "{:?}", lab.events);
    lab.wait(1);
    assert!(lab.events.contains(&lost), "{:?}", lab.events);
    plug(&mut lab, unplugged, from, to);
    assert!(!lab.take_events().contains(&renumbered(from, to)));
}

#[test]
fn of_two_ports_that_change_their_numbers_with_each_other_one_is_given_up() {
    let mut lab = lab();
    let (a, b) = (port(1, 3), port(1, 2));
    let (first, second) = (unplug(&mut lab, a), unplug(&mut lab, b));
    plug(&mut lab, second, b, a);
    let told = lab.take_events();
    let lost = NetworkEvent::Capacity {
        link: a,
        capacity: None,
    };
    let (lost, moved) = (
        told.iter().position(|event| *event == lost).unwrap(),
        told.iter()
            .position(|event| *event == renumbered(b, a))
            .unwrap(),
    );
    assert!(lost < moved, "{told:?}");
    plug(&mut lab, first, a, b);
    assert!(!lab.take_events().contains(&renumbered(a, b)));
}

#[test]
fn a_number_that_changed_while_the_switch_was_away_is_noticed() {
    let mut lab = lab();
    let (from, to) = (port(1, 3), port(1, 31));
    lab.disconnect(1);
    let unplugged = lab.switches.get_mut(&1).unwrap().unplug(3);
    let other = lab.cables.remove(&from).unwrap();
    lab.cables.extend([(to, other), (other, to)]);
    lab.switches.get_mut(&1).unwrap().plug(unplugged, 31);
    lab.connect(1);
    let told = lab.take_events();
    assert!(told.contains(&renumbered(from, to)), "{told:?}");
    lab.input(NetworkInput::Renumbered { from, to });
    lab.wait(3_000);
    assert_eq!(lab.inject(port(1, 1), paid()).len(), 1);
    assert!(names(&lab, to) && !names(&lab, from));
}

#[test]
fn a_port_that_is_not_there_when_the_switch_comes_back_is_given_up_too() {
    let mut lab = lab();
    lab.disconnect(1);
    lab.switches.get_mut(&1).unwrap().unplug(3);
    lab.connect(1);
    let lost = NetworkEvent::Capacity {
        link: port(1, 3),
        capacity: None,
    };
    assert!(!lab.events.contains(&lost), "{:?}", lab.events);
    lab.wait(u64::try_from(Timings::default().replug.as_millis()).unwrap());
    assert!(lab.events.contains(&lost), "{:?}", lab.events);
}
