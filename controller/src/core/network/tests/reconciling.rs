//! Switches hold what they should, whatever happens to them or to the controller.

use payflow_qos::Time;
use rust_openflow::{FlowMod, Match, Message, TableId};

use super::{
    lab::{Lab, flow, host, plan_through_row, port},
    walker::Packet,
};
use crate::core::network::{Network, NetworkConfig, NetworkEvent, PortRole};

fn config() -> NetworkConfig {
    NetworkConfig::new([1; 32])
}

/// The controller restarts: everything it knew but the plans of paid flows is lost. Switches keep what they have.
fn restart(lab: &mut Lab, adopt: impl FnOnce(&mut Network, Time)) {
    lab.crash(config());
    lab.wait(500);
    lab.take_events();
    lab.take_changes();
    adopt(&mut lab.network, lab.now);
    let cables: Vec<_> = lab.cables.keys().copied().collect();
    for end in cables {
        lab.declare(end, PortRole::Trunk, None);
    }
    for switch in 1..=3 {
        lab.connect(switch);
    }
}

#[test]
fn a_switch_is_ready_when_it_was_read_back_and_holds_what_it_should() {
    let mut lab = Lab::new(config(), &[(1, 2)], &[]);
    lab.switches.get_mut(&1).unwrap().stalled = true;
    lab.connect(1);
    assert_eq!(lab.take_events(), []);
    lab.switches.get_mut(&1).unwrap().go_on();
    lab.pump();
    assert_eq!(
        lab.take_events(),
        [NetworkEvent::SwitchReady {
            switch: port(1, 1).switch
        }]
    );
    let view = &lab.network.switches()[0];
    assert!(view.ready && view.description.starts_with("PayFlow"));
    assert_eq!(view.flow_entries, lab.switches[&1].flows.len());
    assert_eq!(view.meters, lab.switches[&1].meters.len());
    lab.disconnect(1);
    assert_eq!(
        lab.take_events(),
        [NetworkEvent::SwitchLost {
            switch: port(1, 1).switch
        }]
    );
}

#[test]
fn after_a_restart_nothing_is_sent_when_all_is_right() {
    let mut lab = Lab::row(config());
    lab.install(plan_through_row(flow(7, 0)));
    lab.wait(500);
    restart(&mut lab, |network, now| {
        network.adopt(plan_through_row(flow(7, 0)), false, now)
    });
    lab.wait(30_000);
    let changes = lab.take_changes();
    let brief = |changes: &Vec<Message>| changes.iter().map(brief).collect::<Vec<_>>();
    assert!(
        changes.is_empty(),
        "{:#?}",
        changes.values().map(brief).collect::<Vec<_>>()
    );
    assert_eq!(lab.network.links().count(), 4);
    for last in 1..=3 {
        let known = lab.network.host(host(last).1.into()).unwrap();
        assert_eq!(
            (known.port, known.mac),
            (port(u64::from(last), 1), host(last).0),
            "read back from the switch"
        );
    }
    assert!(
        !lab.events
            .iter()
            .any(|event| matches!(event, NetworkEvent::PathBroken { .. }))
    );
}

#[test]
fn after_a_restart_only_the_difference_is_sent() {
    let mut lab = Lab::row(config());
    lab.install(plan_through_row(flow(7, 0)));
    lab.install({
        let mut plan = plan_through_row(flow(8, 0));
        plan.selector.destination_port = Some(6000.into());
        plan
    });
    // Flow 8 has ended meanwhile, and somebody took an entry of flow 7 away.
    let second = lab.switches.get_mut(&2).unwrap();
    second
        .flows
        .retain(|_, entry| entry.cookie != 0x50 << 56 | 7 << 16);
    restart(&mut lab, |network, now| {
        network.adopt(plan_through_row(flow(7, 0)), false, now)
    });
    let mut changes = lab.take_changes();
    let second = changes.remove(&2).unwrap();
    assert!(
        matches!(&second[..], [Message::FlowMod(_), Message::FlowMod(_)]),
        "one back, one gone: {second:#?}"
    );
    assert_eq!(changes[&3].len(), 1);
    assert_eq!(changes[&1].len(), 2, "entry and meter of flow 8");
    for switch in 1..=3 {
        assert!(lab.holds(switch, flow(7, 0)) && !lab.holds(switch, flow(8, 0)));
    }
    lab.wait(30_000);
    let changes = lab.take_changes();
    let brief = |changes: &Vec<Message>| changes.iter().map(brief).collect::<Vec<_>>();
    assert!(
        changes.is_empty(),
        "{:#?}",
        changes.values().map(brief).collect::<Vec<_>>()
    );
}

#[test]
fn a_path_that_is_not_complete_in_time_after_a_restart_is_broken() {
    let mut lab = Lab::row(config());
    lab.install(plan_through_row(flow(7, 0)));
    restart(&mut lab, |network, now| {
        network.adopt(plan_through_row(flow(7, 0)), false, now)
    });
    lab.disconnect(2);
    lab.wait(19_000);
    let broken = |lab: &Lab| {
        lab.events
            .iter()
            .any(|event| matches!(event, NetworkEvent::PathBroken { .. }))
    };
    assert!(!broken(&lab));
    lab.wait(1_500);
    assert!(broken(&lab));
}

#[test]
fn entries_of_others_are_left_alone() {
    let mut lab = Lab::new(config(), &[(1, 2)], &[]);
    let theirs = FlowMod::add(TableId(0), 5, Match::new(), vec![]).cookie(0x4200_0000_0000_0001);
    let key = (theirs.table_id, theirs.priority, theirs.flow_match.clone());
    lab.switches
        .get_mut(&1)
        .unwrap()
        .flows
        .insert(key.clone(), theirs);
    lab.connect(1);
    lab.wait(20_000);
    assert!(lab.switches[&1].flows.contains_key(&key));
}

#[test]
fn what_somebody_removes_behind_our_back_is_back_after_the_next_audit() {
    let mut lab = Lab::row(config());
    lab.wait(5_000);
    lab.take_changes();
    let before = lab.switches[&1].flows.clone();
    // All but the entries for discovery, so that no link is lost meanwhile.
    lab.switches
        .get_mut(&1)
        .unwrap()
        .flows
        .retain(|(_, priority, _), _| *priority == 65_000);
    lab.wait(6_000);
    assert!(lab.switches[&1].flows == before);
    lab.take_changes();
    lab.wait(30_000);
    assert!(
        lab.take_changes().is_empty(),
        "and then there is nothing to do"
    );
}

#[test]
fn a_second_connection_of_a_live_switch_is_refused_and_the_first_stays() {
    let mut lab = Lab::row(config());
    let events = lab.take_events().len();
    assert!(events > 0);
    // Another switch with the same datapath id.
    let mut twin = super::fake::FakeSwitch::new(1, 2);
    twin.id = 1;
    lab.switches.insert(9, twin);
    let second = lab.connect(9);
    assert_eq!(lab.closed.len(), 1);
    assert_eq!(lab.closed[0].0, second);
    assert_eq!(lab.take_events(), []);
    assert_eq!(
        lab.inject(port(1, 1), Packet::udp(host(1), host(3), 0))
            .len(),
        1
    );
}

#[test]
fn a_switch_whose_old_connection_is_dead_is_let_in_as_soon_as_that_shows() {
    let mut lab = Lab::row(config());
    // No byte passes any more, and neither end is told.
    let dead = lab.connections.iter().find(|(_, switch)| **switch == 1);
    let dead = *dead.unwrap().0;
    lab.connections.remove(&dead);
    let refused = lab.connect(1);
    assert_eq!(lab.closed.pop().unwrap().0, refused);
    lab.wait(3_100);
    assert_eq!(lab.closed.pop().unwrap().0, dead);
    lab.connect(1);
    lab.wait(2_000);
    assert_eq!(lab.closed, []);
    assert!(lab.network.switches().iter().all(|switch| switch.ready));
}

fn brief(change: &Message) -> String {
    match change {
        Message::FlowMod(flow) => format!(
            "{:?} table {:?} {} {:?} {:?}",
            flow.command, flow.table_id, flow.priority, flow.flow_match, flow.instructions
        ),
        other => format!("{other:?}"),
    }
}
