//! Paid flows come and go in the order that loses no packet.

use std::time::Duration;

use payflow_qos::{Class, Time};
use rust_openflow::{Message, MeterCommand};

use super::{
    lab::{Lab, flow, host, plan_through_row, port},
    walker::Packet,
};
use crate::core::network::{FlowId, FlowPlan, NetworkConfig, NetworkEvent, PortRange, Timings};

fn lab() -> Lab {
    let mut lab = Lab::row(NetworkConfig::new([1; 32]));
    lab.take_events();
    lab.take_changes();
    lab
}

fn removed(flow: FlowId) -> NetworkEvent {
    NetworkEvent::Removed {
        flow,
        everywhere: true,
    }
}

fn paid_packet() -> Packet {
    Packet::udp(host(1), host(3), 0)
}

#[test]
fn nothing_is_on_the_first_switch_before_all_others_have_confirmed() {
    let mut lab = lab();
    let flow = flow(7, 0);
    lab.switches.get_mut(&2).unwrap().stalled = true;
    lab.install(plan_through_row(flow));
    assert!(lab.holds(2, flow) && lab.holds(3, flow));
    assert!(!lab.holds(1, flow), "switch 2 has not confirmed");
    assert_eq!(lab.events, []);
    lab.switches.get_mut(&2).unwrap().go_on();
    lab.pump();
    assert!(lab.holds(1, flow));
    assert_eq!(lab.take_events(), [NetworkEvent::Installed { flow }]);
}

#[test]
fn a_paid_packet_is_metered_once_queued_at_every_hop_and_delivered_without_a_mark() {
    let mut lab = lab();
    lab.install(plan_through_row(flow(7, 0)));
    let walk = lab.enter(port(1, 1), paid_packet());
    assert_eq!(walk.meters, [0x1_0007]);
    assert_eq!(walk.outputs[0].1.dscp(), Some(Class::Steady.dscp()));
    let delivered = lab.inject(port(1, 1), paid_packet());
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0].port, port(3, 1));
    assert_eq!(delivered[0].queues, [Class::Steady.queue(); 3]);
    assert_eq!(delivered[0].packet.dscp(), Some(0));
}

#[test]
fn a_refused_entry_fails_the_flow_and_leaves_nothing_behind() {
    let mut lab = lab();
    let failing = flow(7, 0);
    lab.switches
        .get_mut(&3)
        .unwrap()
        .refuses
        .insert(0x50 << 56 | 7 << 16);
    lab.install(plan_through_row(failing));
    let events = lab.take_events();
    let [
        NetworkEvent::InstallFailed {
            flow: failed,
            reason,
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*failed, failing);
    assert!(reason.contains("TABLE_FULL"), "{reason}");
    for switch in 1..=3 {
        assert!(!lab.holds(switch, failing), "switch {switch}");
        assert!(!lab.switches[&switch].meters.contains_key(&0x1_0007));
    }
    lab.remove(failing);
    assert_eq!(
        lab.take_events(),
        [removed(failing)],
        "it can be removed all the same"
    );
}

#[test]
fn the_ingress_goes_first_then_a_drain_then_the_rest_flows_before_meters() {
    let mut lab = lab();
    let flow = flow(7, 0);
    lab.install(plan_through_row(flow));
    lab.take_events();
    lab.take_changes();
    lab.remove(flow);
    assert!(!lab.holds(1, flow) && lab.holds(2, flow) && lab.holds(3, flow));
    lab.wait(99);
    assert!(lab.holds(2, flow) && lab.holds(3, flow), "the queues drain");
    lab.wait(1);
    assert!(!lab.holds(2, flow) && !lab.holds(3, flow));
    assert_eq!(lab.take_events(), [removed(flow)]);
    let first: Vec<bool> = lab.take_changes()[&1]
        .iter()
        .map(|change| matches!(change, Message::MeterMod(_)))
        .collect();
    assert_eq!(first, [false, true], "the entry, then the meter");
    assert!(!lab.switches[&1].meters.contains_key(&0x1_0007));
}

#[test]
fn a_meter_number_is_free_again_only_when_its_deletion_is_confirmed() {
    let mut lab = lab();
    lab.install(plan_through_row(flow(7, 0)));
    lab.remove(flow(7, 0));
    lab.switches.get_mut(&1).unwrap().stalled = true;
    lab.wait(100);
    lab.take_changes();
    lab.install(plan_through_row(flow(7, 1)));
    let on_first = |lab: &mut Lab| lab.take_changes().remove(&1).unwrap_or_default();
    assert_eq!(on_first(&mut lab), [], "the deletion is under way");
    lab.switches.get_mut(&1).unwrap().go_on();
    lab.pump();
    let added = on_first(&mut lab);
    assert!(
        matches!(&added[0], Message::MeterMod(meter) if meter.command == MeterCommand::ADD),
        "{added:?}"
    );
    assert!(
        lab.take_events()
            .contains(&NetworkEvent::Installed { flow: flow(7, 1) })
    );
}

#[test]
fn a_new_generation_replaces_shared_entries_and_the_old_one_s_removal_leaves_it_alone() {
    let mut lab = lab();
    lab.install(plan_through_row(flow(7, 0)));
    lab.install(FlowPlan {
        rate: payflow_qos::SoldRate(20_000),
        ..plan_through_row(flow(7, 1))
    });
    assert!(
        lab.take_events()
            .contains(&NetworkEvent::Installed { flow: flow(7, 1) })
    );
    lab.remove(flow(7, 0));
    lab.wait(200);
    assert!(lab.take_events().contains(&removed(flow(7, 0))));
    for switch in 1..=3 {
        assert!(
            lab.holds(switch, flow(7, 1)) && !lab.holds(switch, flow(7, 0)),
            "switch {switch}"
        );
    }
    assert_eq!(
        lab.inject(port(1, 1), paid_packet())[0].queues,
        [Class::Steady.queue(); 3]
    );
    lab.remove(flow(7, 1));
    lab.wait(200);
    assert!((1..=3).all(|switch| !lab.holds(switch, flow(7, 1))));
}

#[test]
fn two_reservations_cannot_have_the_same_packets() {
    let mut lab = lab();
    lab.install(plan_through_row(flow(7, 0)));
    lab.take_events();
    lab.install(plan_through_row(flow(8, 0)));
    assert!(matches!(
        &lab.take_events()[..],
        [NetworkEvent::InstallFailed { .. }]
    ));
    assert!(lab.holds(1, flow(7, 0)));
}

#[test]
fn an_end_that_changes_little_is_not_sent_and_one_that_changes_much_is() {
    let mut lab = lab();
    let plan = plan_through_row(flow(7, 0));
    let ends = plan.ends;
    lab.install(plan);
    lab.take_changes();
    let set = |lab: &mut Lab, ends: Time| {
        lab.network.set_end(flow(7, 0), ends, lab.now);
        lab.pump();
        lab.take_changes().len()
    };
    // Armed for the end plus the grace.
    let grace = Timings::default().grace;
    assert_eq!(
        set(&mut lab, ends.minus(grace)),
        0,
        "a grace too late is good enough"
    );
    assert_eq!(set(&mut lab, ends.plus(grace)), 0, "it does not end early");
    assert_eq!(
        set(&mut lab, ends.plus(grace).plus(Duration::from_secs(1))),
        3,
        "it would end early"
    );
    assert_eq!(
        set(&mut lab, ends.minus(Duration::from_secs(60))),
        3,
        "it would stay far too long"
    );
    let timeout = |lab: &Lab| {
        let paid = lab.switches[&2]
            .flows
            .values()
            .find(|flow| flow.priority > 30_000 && flow.hard_timeout_s > 0);
        paid.unwrap().hard_timeout_s
    };
    let remaining = ends.minus(Duration::from_secs(60)).since(lab.now).as_secs();
    assert_eq!(u64::from(timeout(&lab)), remaining + grace.as_secs());
}

#[test]
fn entries_go_by_themselves_when_their_time_is_over_and_nobody_calls_that_an_error() {
    let mut lab = lab();
    let flow = flow(7, 0);
    lab.install(FlowPlan {
        ends: lab.now.plus(Duration::from_secs(20)),
        ..plan_through_row(flow)
    });
    lab.take_events();
    lab.wait(22_000);
    assert!((1..=3).all(|switch| lab.holds(switch, flow)), "the grace");
    lab.take_changes();
    lab.wait(2_000);
    assert!(!(1..=3).any(|switch| lab.holds(switch, flow)));
    lab.wait(10_000);
    assert_eq!(lab.take_events(), []);
    let changes = lab.take_changes();
    assert!(changes.is_empty(), "nothing brings them back: {changes:?}");
}

#[test]
fn a_flow_that_had_to_wait_for_a_switch_is_carried_for_its_whole_time() {
    for waited_ms in [2_500, 6_500, 25_000] {
        let mut lab = lab();
        let flow = flow(7, 0);
        lab.disconnect(2);
        lab.install(FlowPlan {
            ends: lab.now.plus(Duration::from_secs(5)),
            ..plan_through_row(flow)
        });
        lab.wait(waited_ms);
        lab.connect(2);
        lab.wait(4_000);
        let events = lab.take_events();
        assert!(
            events.contains(&NetworkEvent::Installed { flow }),
            "{waited_ms} ms: {events:?}"
        );
        // Nobody has said yet when it ends.
        lab.wait(1_000);
        assert!(
            (1..=3).all(|switch| lab.holds(switch, flow)),
            "{waited_ms} ms"
        );
    }
}

#[test]
fn an_entry_that_goes_too_early_comes_back() {
    let mut lab = lab();
    let flow = flow(7, 0);
    lab.install(FlowPlan {
        ends: lab.now.plus(Duration::from_secs(20)),
        ..plan_through_row(flow)
    });
    for entry in lab
        .switches
        .get_mut(&2)
        .unwrap()
        .flows
        .values_mut()
        .filter(|entry| entry.hard_timeout_s > 0)
    {
        entry.hard_timeout_s = 3;
    }
    lab.wait(3_000);
    assert!(lab.holds(2, flow));
    assert!(
        !lab.events
            .iter()
            .any(|event| matches!(event, NetworkEvent::PathBroken { .. }))
    );
}

#[test]
fn whoever_pulls_its_own_cable_is_not_credited_for_it() {
    let mut lab = lab();
    let plan = plan_through_row(flow(7, 0));
    let (first, last) = (
        plan.path.hops.first().unwrap().ingress(),
        plan.path.hops.last().unwrap().egress(),
    );
    lab.install(plan);
    lab.take_events();
    for end in [first, last] {
        lab.set_port_up(end, false);
        lab.wait(60_000);
        let broken = |event: &NetworkEvent| matches!(event, NetworkEvent::PathBroken { .. });
        assert!(!lab.take_events().iter().any(broken), "{end}");
        lab.set_port_up(end, true);
    }
}

#[test]
fn a_broken_path_is_told_once_and_its_entries_stay_until_it_is_whole_again() {
    let mut lab = lab();
    let flow = flow(7, 0);
    lab.install(plan_through_row(flow));
    lab.take_events();
    lab.take_changes();
    lab.set_port_up(port(2, 3), false);
    lab.wait(5_000);
    let broken = |event: &&NetworkEvent| matches!(event, NetworkEvent::PathBroken { .. });
    assert_eq!(lab.take_events().iter().filter(broken).count(), 1);
    assert!((1..=3).all(|switch| lab.holds(switch, flow)));
    lab.set_port_up(port(2, 3), true);
    lab.wait(2_000);
    assert_eq!(lab.take_events(), [NetworkEvent::PathRestored { flow }]);
}

#[test]
fn a_switch_that_restarts_empty_gets_back_what_it_had() {
    let mut lab = lab();
    let flow = flow(7, 0);
    lab.install(plan_through_row(flow));
    lab.take_events();
    let before = lab.switches[&2].flows.clone();
    lab.disconnect(2);
    assert!(
        lab.take_events()
            .iter()
            .any(|event| matches!(event, NetworkEvent::PathBroken { .. }))
    );
    let switch = lab.switches.get_mut(&2).unwrap();
    switch.flows.clear();
    switch.meters.clear();
    lab.wait(1_000);
    lab.connect(2);
    assert!(lab.holds(2, flow), "paid entries at once");
    lab.wait(5_000);
    assert!(
        lab.take_events()
            .contains(&NetworkEvent::PathRestored { flow })
    );
    let keys = |flows: &std::collections::BTreeMap<_, rust_openflow::FlowMod>| {
        flows.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys(&lab.switches[&2].flows), keys(&before));
}

#[test]
fn removing_does_not_wait_for_a_switch_that_is_away_and_cleans_it_when_it_returns() {
    let mut lab = lab();
    let flow = flow(7, 0);
    lab.install(plan_through_row(flow));
    lab.disconnect(2);
    lab.take_events();
    lab.remove(flow);
    lab.wait(200);
    let in_reach = NetworkEvent::Removed {
        flow,
        everywhere: false,
    };
    assert_eq!(lab.take_events(), [in_reach]);
    assert!(lab.holds(2, flow), "nobody could tell it");
    lab.connect(2);
    assert!(!lab.holds(2, flow));
    assert!(lab.take_events().contains(&removed(flow)));
}

#[test]
fn a_reroute_replaces_shared_entries_from_last_to_first_and_the_ingress_at_the_end() {
    let mut lab = lab();
    lab.install(plan_through_row(flow(7, 0)));
    let next = flow(7, 1);
    for switch in [3, 2] {
        lab.switches.get_mut(&switch).unwrap().stalled = true;
    }
    lab.install(plan_through_row(next));
    assert!(lab.holds(3, next) && !lab.holds(2, next) && !lab.holds(1, next));
    lab.switches.get_mut(&3).unwrap().go_on();
    lab.pump();
    assert!(lab.holds(2, next) && !lab.holds(1, next));
    lab.switches.get_mut(&2).unwrap().go_on();
    lab.pump();
    assert!(lab.holds(1, next));
}

#[test]
fn when_a_reroute_fails_the_path_before_is_there_again() {
    let mut lab = lab();
    lab.install(plan_through_row(flow(7, 0)));
    lab.take_events();
    lab.switches
        .get_mut(&1)
        .unwrap()
        .refuses
        .insert(0x50 << 56 | 7 << 16 | 1);
    lab.install(plan_through_row(flow(7, 1)));
    let events = lab.take_events();
    assert!(
        matches!(&events[..], [NetworkEvent::InstallFailed { .. }]),
        "{events:?}"
    );
    lab.wait(200);
    for switch in 1..=3 {
        assert!(
            lab.holds(switch, flow(7, 0)) && !lab.holds(switch, flow(7, 1)),
            "switch {switch}"
        );
    }
    assert_eq!(
        lab.inject(port(1, 1), paid_packet())[0].queues,
        [Class::Steady.queue(); 3]
    );
}

#[test]
fn a_path_of_one_hop_is_metered_and_queued_and_leaves_no_mark() {
    let mut lab = lab();
    lab.host_arrives(port(1, 4), host(4));
    let mut plan = plan_through_row(flow(7, 0));
    plan.path.hops.truncate(1);
    plan.path.hops[0].out_port = payflow_qos::PortNo(4);
    plan.selector.destination = host(4).1.into();
    lab.install(plan);
    let walk = lab.enter(port(1, 1), Packet::udp(host(1), host(4), 0));
    assert_eq!(walk.meters, [0x1_0007]);
    let [(4, packet, queue)] = &walk.outputs[..] else {
        panic!("{walk:?}")
    };
    assert_eq!((*queue, packet.dscp()), (Class::Steady.queue(), Some(0)));
}

/// The last thing to go may be a meter, which belongs to nobody by then.
#[test]
fn a_removal_ends_when_the_meter_is_gone_whichever_switch_answers_last() {
    let (mut lab, flow) = (lab(), flow(7, 0));
    lab.install(plan_through_row(flow));
    lab.take_events();
    lab.remove(flow);
    lab.switches.get_mut(&1).unwrap().stalled = true;
    lab.wait(100);
    assert!(!lab.holds(2, flow) && !lab.holds(3, flow));
    assert_eq!(lab.take_events(), [], "the first switch has not confirmed");
    lab.switches.get_mut(&1).unwrap().go_on();
    lab.pump();
    assert_eq!(lab.take_events(), [removed(flow)]);
}

#[test]
fn plans_that_cannot_be_are_refused_at_once() {
    let mut lab = lab();
    let good = plan_through_row(flow(7, 0));
    let mut no_path = good.clone();
    no_path.path.hops.clear();
    let mut mixed = good.clone();
    mixed.selector.destination = "2001:db8::1".parse().unwrap();
    let unsold = FlowPlan {
        class: Class::BestEffort,
        ..good.clone()
    };
    for bad in [
        no_path,
        mixed,
        unsold,
        plan_through_row(flow(0, 0)),
        plan_through_row(flow(1 << 40, 0)),
    ] {
        lab.install(bad.clone());
        let events = lab.take_events();
        assert!(
            matches!(&events[..], [NetworkEvent::InstallFailed { .. }]),
            "{bad:?}"
        );
    }
    assert!(lab.take_changes().is_empty());
}

#[test]
fn no_packet_is_let_in_while_there_is_no_way_for_it() {
    let mut lab = lab();
    let flow = flow(7, 0);
    lab.switches.get_mut(&2).unwrap().stalled = true;
    lab.install(plan_through_row(flow));
    lab.set_port_up(port(1, 3), false);
    lab.switches.get_mut(&2).unwrap().go_on();
    lab.pump();
    assert!(lab.holds(2, flow) && !lab.holds(1, flow));
    assert!(
        !lab.take_events()
            .contains(&NetworkEvent::Installed { flow })
    );
    lab.set_port_up(port(1, 3), true);
    lab.wait(5_000);
    assert!(lab.holds(1, flow));
    assert!(
        lab.take_events()
            .contains(&NetworkEvent::Installed { flow })
    );
}

#[test]
fn a_switch_that_never_comes_back_is_clean_when_hard_time_outs_are_over() {
    let mut lab = lab();
    let flow = flow(7, 0);
    let now = lab.now;
    let plan = FlowPlan {
        ends: now.plus(Duration::from_secs(30)),
        ..plan_through_row(flow)
    };
    lab.install(plan);
    lab.disconnect(2);
    lab.remove(flow);
    lab.wait(20_000);
    lab.take_events();
    lab.wait(20_000);
    assert_eq!(lab.take_events(), [removed(flow)]);
}

#[test]
fn no_switch_drops_a_flow_because_a_shorter_one_was_about_to_take_its_place() {
    let mut lab = lab();
    let (old, new) = (flow(7, 0), flow(7, 1));
    let now = lab.now;
    let in_seconds = |seconds| now.plus(Duration::from_secs(seconds));
    lab.install(FlowPlan {
        ends: in_seconds(60),
        ..plan_through_row(old)
    });
    lab.disconnect(2);
    lab.install(FlowPlan {
        ends: in_seconds(10),
        replaced_ends: Some(in_seconds(60)),
        ..plan_through_row(new)
    });
    assert!(lab.holds(1, old) && lab.holds(3, new), "it is half there");
    // The controller is gone, and nobody arms time-outs again.
    lab.disconnect_all();
    lab.wait(50_000);
    assert!(lab.holds(3, new));
    lab.wait(20_000);
    assert!(!lab.holds(3, new), "nobody has paid for more");
}

#[test]
fn what_is_removed_while_time_outs_of_its_successor_are_armed_again_is_told_to_be_gone() {
    let mut lab = lab();
    let (old, new) = (flow(7, 0), flow(7, 1));
    lab.install(plan_through_row(old));
    lab.install(plan_through_row(new));
    lab.take_events();
    let much_later = lab.now.plus(Duration::from_secs(7_200));
    lab.network.set_end(new, much_later, lab.now);
    lab.remove(old);
    lab.wait(5_000);
    assert_eq!(lab.take_events(), [removed(old)]);
    assert!((1..=3).all(|switch| lab.holds(switch, new)));
}

#[test]
fn a_path_that_flaps_is_told_broken_twice_and_whole_when_it_is_calm() {
    let mut lab = lab();
    let flow = flow(7, 0);
    lab.install(plan_through_row(flow));
    lab.take_events();
    for _ in 0..40 {
        lab.set_port_up(port(1, 3), false);
        lab.wait(50);
        lab.set_port_up(port(1, 3), true);
        lab.wait(450);
    }
    let told = |lab: &mut Lab| {
        let events = lab.take_events().into_iter();
        let of_path = events.filter_map(|event| match event {
            NetworkEvent::PathBroken { .. } => Some("broken"),
            NetworkEvent::PathRestored { .. } => Some("whole"),
            _ => None,
        });
        of_path.collect::<Vec<_>>()
    };
    assert_eq!(told(&mut lab), ["broken", "whole", "broken"]);
    lab.wait(3_000);
    assert_eq!(told(&mut lab), ["whole"]);
    // Long after, it is as if it had never been.
    lab.wait(10_000);
    lab.set_port_up(port(1, 3), false);
    lab.wait(50);
    lab.set_port_up(port(1, 3), true);
    lab.wait(1_000);
    assert_eq!(told(&mut lab), ["broken", "whole"]);
}

#[test]
fn a_range_of_ports_is_carried_under_one_meter_and_its_neighbours_are_not() {
    let mut lab = lab();
    let flow = flow(7, 0);
    let mut plan = plan_through_row(flow);
    plan.selector.destination_port = PortRange::new(5001, 5006);
    assert_eq!(
        plan.selector.entries(),
        4,
        "5001, 5002-5003, 5004-5005, 5006"
    );
    lab.install(plan);
    assert_eq!(lab.take_events(), [NetworkEvent::Installed { flow }]);
    for to in 4998..5010 {
        let packet = || Packet::udp_to_port(host(1), host(3), 0, to);
        let is_paid = (5001..=5006).contains(&to);
        let meters = lab.enter(port(1, 1), packet()).meters;
        assert_eq!(meters == [0x1_0007], is_paid, "port {to}: {meters:?}");
        let delivered = lab.inject(port(1, 1), packet());
        let paid = delivered
            .iter()
            .filter(|it| it.queues == [Class::Steady.queue(); 3])
            .count();
        assert_eq!(paid, usize::from(is_paid), "port {to}");
    }
    lab.remove(flow);
    lab.wait(10_000);
    assert_eq!(lab.take_events(), [removed(flow)]);
    for switch in 1..=3 {
        assert!(!lab.holds(switch, flow), "switch {switch}");
    }
}
