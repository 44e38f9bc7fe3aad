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
    let mut lab = Lab::row(config());
    declare(&mut lab, Some(GBIT));
    lab.install(plan_through_row(flow(7, 0)));
    lab.take_events();
    lab
}

fn config() -> NetworkConfig {
    NetworkConfig::new([1; 32])
}

/// The database says this of the trunk from switch 1 to switch 2, and makes what queues are ordered.
fn declare(lab: &mut Lab, capacity: Option<BitRate>) {
    let role = match capacity {
        Some(_) => PortRole::Trunk,
        None => PortRole::Unsaid,
    };
    lab.declare(port(1, 3), role, capacity);
    make_classes(lab);
}

fn make_classes(lab: &mut Lab) {
    for (switch, port_name, _) in std::mem::take(&mut lab.classes_ordered) {
        lab.input(NetworkInput::ClassesMade {
            switch,
            port_name,
            result: Ok(()),
        });
    }
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

/// What the switch did with its ports while nobody looked: each has another number at the same cable.
fn replug_unseen(lab: &mut Lab, switch: u64, moves: &[(u32, u32)]) {
    let fake = lab.switches.get_mut(&switch).unwrap();
    let all: Vec<_> = moves
        .iter()
        .map(|(from, to)| (fake.unplug(*from), *to))
        .collect();
    for (unplugged, to) in all {
        fake.plug(unplugged, to);
    }
    let others: Vec<_> = moves
        .iter()
        .map(|(from, _)| lab.cables.remove(&port(switch, *from)))
        .collect();
    for ((_, to), other) in moves.iter().zip(others) {
        if let Some(other) = other {
            let to = port(switch, *to);
            lab.cables.extend([(to, other), (other, to)]);
        }
    }
}

fn lost(link: PortRef) -> NetworkEvent {
    NetworkEvent::Capacity {
        link,
        capacity: None,
    }
}

fn given_up(port: PortRef) -> NetworkEvent {
    NetworkEvent::PortGivenUp { port }
}

fn is_broken(event: &NetworkEvent) -> bool {
    matches!(event, NetworkEvent::PathBroken { .. })
}

fn is_restored(event: &NetworkEvent) -> bool {
    matches!(event, NetworkEvent::PathRestored { .. })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
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
    make_classes(&mut lab);
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

#[test]
fn nobody_stays_behind_a_number_that_belongs_to_another_port() {
    let mut lab = lab();
    lab.disconnect(1);
    replug_unseen(&mut lab, 1, &[(1, 11), (4, 1)]);
    lab.connect(1);
    let (mac, address) = host(1);
    assert_eq!(lab.network.host(address.into()), None, "it has not spoken");
    let at_once = lab.inject(port(1, 1), Packet::arp(host(4), host(2).1));
    assert!(at_once.is_empty(), "another port settles first");
    lab.wait(2_000);
    lab.host_arrives(port(1, 11), (mac, address));
    let known = lab.network.host(address.into()).cloned();
    assert_eq!(known.map(|host| host.port), Some(port(1, 11)));
}

#[test]
fn what_is_told_first_and_last_of_a_port_that_comes_back_makes_no_difference() {
    for (database_first, database_last) in
        [(true, true), (true, false), (false, true), (false, false)]
    {
        for to in [port(1, 3), port(1, 31)] {
            let mut lab = lab();
            let from = port(1, 3);
            if database_first {
                declare(&mut lab, None);
                lab.wait(50);
            }
            let unplugged = unplug(&mut lab, from);
            if !database_first {
                lab.wait(50);
                declare(&mut lab, None);
            }
            lab.wait(9_000);
            if !database_last {
                declare(&mut lab, Some(GBIT));
                lab.wait(50);
            }
            plug(&mut lab, unplugged, from, to);
            lab.input(NetworkInput::Renumbered { from, to });
            if database_last {
                lab.wait(50);
                declare(&mut lab, Some(GBIT));
            }
            make_classes(&mut lab);
            lab.wait(20_000);
            let told = lab.take_events();
            let case = format!("{database_first} {database_last} {to}: {told:?}");
            let ends = |event: &NetworkEvent| *event == lost(from) || *event == lost(to);
            assert!(!told.iter().any(ends), "{case}");
            assert!(told.iter().any(is_restored), "{case}");
            assert_eq!(lab.network.topology().capacity(to), Some(GBIT), "{case}");
        }
    }
}

#[test]
fn a_port_that_comes_back_and_is_declared_to_be_nothing_is_withdrawn_in_the_same_time() {
    for database_first in [true, false] {
        let mut lab = lab();
        let at = port(1, 3);
        if database_first {
            declare(&mut lab, None);
        }
        let unplugged = unplug(&mut lab, at);
        lab.wait(1_000);
        plug(&mut lab, unplugged, at, at);
        if !database_first {
            declare(&mut lab, None);
        }
        // Where the port is back, and declared as it was when it came, it counts from when it is declared no more.
        let left = if database_first { 9_000 } else { 10_000 };
        lab.wait(left - 1);
        assert!(!lab.take_events().contains(&lost(at)));
        lab.wait(1);
        let told = lab.take_events();
        assert!(told.contains(&lost(at)), "{told:?}");
        assert!(!told.contains(&given_up(at)), "it is there");
        declare(&mut lab, Some(GBIT));
        let sold = NetworkEvent::Capacity {
            link: at,
            capacity: Some(GBIT),
        };
        assert!(lab.take_events().contains(&sold), "it is for sale again");
    }
}

#[test]
fn a_port_that_comes_back_with_less_has_no_more_than_that_before_its_queues_are_made() {
    let mut lab = lab();
    let at = port(1, 3);
    let unplugged = unplug(&mut lab, at);
    plug(&mut lab, unplugged, at, at);
    lab.classes_ordered.clear();
    lab.declare(at, PortRole::Trunk, Some(BitRate(1_000_000)));
    let less = NetworkEvent::Capacity {
        link: at,
        capacity: Some(BitRate(1_000_000)),
    };
    assert!(lab.take_events().contains(&less));
    assert_eq!(lab.network.topology().capacity(at), None, "nor for sale");
}

#[test]
fn a_trunk_that_is_declared_to_be_nothing_lets_no_hosts_in_before_it_has_settled() {
    let mut lab = lab();
    declare(&mut lab, None);
    let delivered = lab.inject(port(1, 3), Packet::arp(host(9), host(1).1));
    assert!(delivered.is_empty());
    assert_eq!(lab.network.host(host(9).1.into()), None);
}

#[test]
fn a_flow_is_suspended_while_its_first_or_last_port_is_gone_and_told_when_that_is_given_up() {
    for at in [port(1, 1), port(3, 1)] {
        let mut lab = lab();
        let unplugged = unplug(&mut lab, at);
        assert!(lab.take_events().iter().any(is_broken), "{at}");
        lab.wait(5_000);
        plug(&mut lab, unplugged, at, at);
        lab.wait(3_000);
        let told = lab.take_events();
        assert!(told.iter().any(is_restored), "{at}: {told:?}");
        assert!(!told.contains(&given_up(at)));

        let unplugged = unplug(&mut lab, at);
        lab.wait(millis(Timings::default().replug));
        let told = lab.take_events();
        assert!(told.contains(&given_up(at)), "{at}: {told:?}");
        plug(&mut lab, unplugged, at, port(at.switch.0, 99));
        lab.wait(5_000);
        let told = lab.take_events();
        assert!(!told.iter().any(is_restored), "{at}: {told:?}");
    }
}

#[test]
fn a_number_that_another_port_takes_while_it_is_not_remembered_who_had_it_carries_nothing() {
    let mut lab = lab();
    let (from, to) = (port(1, 1), port(1, 11));
    let (first, other) = (unplug(&mut lab, from), unplug(&mut lab, port(1, 4)));
    plug(&mut lab, first, from, to);
    plug(&mut lab, other, port(1, 4), from);
    lab.wait(5_000);
    assert!(!lab.take_events().iter().any(is_restored));
    lab.input(NetworkInput::Renumbered { from, to });
    lab.wait(3_000);
    assert!(lab.take_events().iter().any(is_restored));
    assert!(names(&lab, to) && !names(&lab, from));
}

/// The controller dies with the flow of the row, its switch does something to its ports, and a new controller starts that
/// knows what two of them were called.
fn restart(lab: &mut Lab, meanwhile: impl FnOnce(&mut Lab)) {
    lab.crash(config());
    meanwhile(lab);
    for (number, name) in [(1, "s1-eth1"), (3, "s1-eth3")] {
        lab.input(NetworkInput::PortNamed {
            port: port(1, number),
            name: name.to_owned(),
        });
    }
    lab.network
        .adopt(plan_through_row(flow(7, 0)), false, lab.now);
    for end in [port(1, 3), port(2, 2), port(2, 3), port(3, 2)] {
        lab.declare(end, PortRole::Trunk, Some(GBIT));
    }
    lab.take_events();
    for switch in 1..=3 {
        lab.connect(switch);
    }
}

#[test]
fn ports_that_changed_their_numbers_while_the_controller_was_dead_are_followed() {
    let mut lab = lab();
    restart(&mut lab, |lab| {
        replug_unseen(lab, 1, &[(1, 11), (3, 1), (4, 3)]);
    });
    let told = lab.take_events();
    let moves = [(port(1, 1), port(1, 11)), (port(1, 3), port(1, 1))];
    let seen: Vec<_> = told
        .iter()
        .filter(|event| matches!(event, NetworkEvent::PortRenumbered { .. }))
        .cloned()
        .collect();
    assert_eq!(
        seen,
        moves.map(|(from, to)| renumbered(from, to)),
        "{told:?}"
    );
    assert!(told.iter().any(is_broken), "it is not carried: {told:?}");
    for (from, to) in moves {
        lab.input(NetworkInput::Renumbered { from, to });
    }
    lab.wait(10_000);
    make_classes(&mut lab);
    lab.wait(5_000);
    let told = lab.take_events();
    assert!(told.iter().any(is_restored), "{told:?}");
    let given_up = |event: &NetworkEvent| matches!(event, NetworkEvent::PortGivenUp { .. });
    assert!(!told.iter().any(given_up), "{told:?}");
    assert_eq!(lab.inject(port(1, 11), paid()).len(), 1);
}

#[test]
fn a_port_that_vanished_while_the_controller_was_dead_is_given_up() {
    let mut lab = lab();
    let at = port(1, 1);
    restart(&mut lab, |lab| {
        lab.switches.get_mut(&1).unwrap().unplug(1);
    });
    assert!(lab.take_events().iter().any(is_broken));
    lab.wait(millis(Timings::default().replug));
    let told = lab.take_events();
    assert!(told.contains(&given_up(at)), "{told:?}");
}

#[test]
fn of_ports_that_move_up_by_one_while_the_switch_is_away_none_is_given_up() {
    let mut lab = lab();
    lab.disconnect(1);
    replug_unseen(&mut lab, 1, &[(1, 4), (4, 3), (3, 6)]);
    lab.connect(1);
    let told = lab.take_events();
    let given_up = |event: &NetworkEvent| matches!(event, NetworkEvent::PortGivenUp { .. });
    assert!(!told.iter().any(given_up), "{told:?}");
    for (from, to) in [(3, 6), (4, 3), (1, 4)] {
        assert!(told.contains(&renumbered(port(1, from), port(1, to))));
    }
}

#[test]
fn a_flow_stays_suspended_until_the_queues_of_a_port_that_came_back_are_made_again() {
    let mut lab = lab();
    let at = port(3, 1);
    lab.declare(at, PortRole::Unsaid, Some(GBIT));
    make_classes(&mut lab);
    let unplugged = unplug(&mut lab, at);
    plug(&mut lab, unplugged, at, at);
    let (switch, port_name, _) = lab.classes_ordered.pop().unwrap();
    let answer = |result| NetworkInput::ClassesMade {
        switch,
        port_name: port_name.clone(),
        result,
    };
    lab.input(answer(Err("read-only".to_owned())));
    lab.wait(4_999);
    assert!(!lab.take_events().iter().any(is_restored));
    lab.wait(1);
    assert_eq!(lab.classes_ordered.len(), 1, "it is tried again");
    lab.input(answer(Ok(())));
    assert!(lab.take_events().iter().any(is_restored));
}

#[test]
fn no_host_is_remembered_at_a_number_that_belongs_to_a_trunk_now() {
    let mut lab = lab();
    lab.crash(config());
    lab.cables.remove(&port(1, 3));
    lab.switches.get_mut(&1).unwrap().unplug(1);
    replug_unseen(&mut lab, 1, &[(3, 1)]);
    lab.declare(port(1, 3), PortRole::Trunk, Some(GBIT));
    lab.connect(1);
    assert_eq!(lab.network.host(host(1).1.into()), None);
}

#[test]
fn no_host_is_remembered_at_a_port_that_is_not_there() {
    let mut lab = lab();
    lab.crash(config());
    lab.switches.get_mut(&1).unwrap().unplug(1);
    lab.connect(1);
    assert_eq!(lab.network.host(host(1).1.into()), None);
}
