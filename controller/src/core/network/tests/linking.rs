//! Links are found, believed only where they may be, and carry broadcasts without loops.

use payflow_qos::{BitRate, PortRef};

use super::{
    lab::{Lab, host, port},
    walker::Packet,
};
use crate::core::network::{NetworkConfig, NetworkEvent, NetworkInput, PortRole};

fn config() -> NetworkConfig {
    NetworkConfig::new([1; 32])
}

/// Switches 1 to 4 in a ring, and a second cable between 1 and 2; hosts at ports 1 and 2.
fn ring() -> Lab {
    let cables = [
        (port(1, 5), port(2, 4)),
        (port(1, 6), port(2, 6)),
        (port(2, 5), port(3, 4)),
        (port(3, 5), port(4, 4)),
        (port(4, 5), port(1, 4)),
    ];
    let mut lab = Lab::new(config(), &[(1, 6), (2, 6), (3, 6), (4, 6)], &cables);
    lab.start();
    lab
}

#[test]
fn declared_cables_become_links_in_both_directions() {
    let lab = Lab::row(config());
    let links: Vec<(PortRef, PortRef)> = lab
        .network
        .links()
        .map(|link| (link.from, link.to))
        .collect();
    assert_eq!(
        links,
        lab.cables
            .iter()
            .map(|(from, to)| (*from, *to))
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_broadcast_in_a_ring_reaches_every_edge_port_once() {
    let mut lab = ring();
    assert_eq!(lab.network.links().count(), 10);
    for switch in 1..=4 {
        let from = port(switch, 1);
        let delivered = lab.inject(from, Packet::arp(host(switch as u8), host(99).1));
        let mut reached: Vec<PortRef> = delivered
            .into_iter()
            .map(|delivery| delivery.port)
            .collect();
        reached.sort();
        let edges = (1..=4).flat_map(|switch| (1..=6).map(move |number| port(switch, number)));
        let expected: Vec<PortRef> = edges
            .filter(|edge| *edge != from && !lab.cables.contains_key(edge))
            .collect();
        assert_eq!(reached, expected);
    }
}

#[test]
fn known_stations_are_reached_by_a_shortest_path_from_everywhere_in_a_ring() {
    let mut lab = ring();
    for switch in 1..=4 {
        lab.host_arrives(port(switch, 1), host(switch as u8));
    }
    for from in 1..=4_u64 {
        for to in (1..=4).filter(|to| *to != from) {
            let delivered = lab.inject(
                port(from, 1),
                Packet::udp(host(from as u8), host(to as u8), 0),
            );
            assert_eq!(delivered.len(), 1, "from {from} to {to}");
            assert_eq!(delivered[0].port, port(to, 1));
            let around = from.abs_diff(to).min(4 - from.abs_diff(to));
            assert_eq!(delivered[0].queues.len() as u64, around + 1);
        }
    }
}

#[test]
fn best_effort_finds_another_way_when_a_link_of_the_ring_dies() {
    let mut lab = ring();
    for switch in 1..=4 {
        lab.host_arrives(port(switch, 1), host(switch as u8));
    }
    lab.set_port_up(port(1, 4), false);
    let delivered = lab.inject(port(1, 1), Packet::udp(host(1), host(4), 0));
    assert_eq!(
        delivered
            .iter()
            .map(|delivery| delivery.port)
            .collect::<Vec<_>>(),
        [port(4, 1)]
    );
    assert_eq!(delivered[0].queues.len(), 4);
    assert!(
        lab.inject(port(1, 1), Packet::arp(host(1), host(99).1))
            .len()
            > 4
    );
}

#[test]
fn a_host_that_relays_discovery_between_two_ports_makes_no_link() {
    // The relay is a cable about which nothing was declared, with a declared trunk elsewhere.
    let mut lab = Lab::new(config(), &[(1, 3), (2, 3)], &[(port(1, 3), port(2, 3))]);
    lab.start();
    assert_eq!(lab.network.links().count(), 2);
    lab.cables.insert(port(1, 2), port(2, 2));
    lab.cables.insert(port(2, 2), port(1, 2));
    lab.wait(10_000);
    assert_eq!(lab.network.links().count(), 2);
    let roles: Vec<String> = lab.network.switches()[0]
        .ports
        .iter()
        .map(|port| port.role.clone())
        .collect();
    assert_eq!(roles, ["edge", "edge", "trunk"]);
}

#[test]
fn one_declared_end_is_no_link() {
    let mut lab = Lab::new(config(), &[(1, 2), (2, 2)], &[(port(1, 2), port(2, 2))]);
    lab.declare(port(1, 2), PortRole::Trunk, None);
    lab.connect(1);
    lab.connect(2);
    lab.wait(10_000);
    assert_eq!(lab.network.links().count(), 0);
    assert!(
        lab.inject(port(1, 2), Packet::udp(host(9), host(8), 0))
            .is_empty(),
        "it stays closed"
    );
}

#[test]
fn where_discovery_is_allowed_undeclared_cables_become_links_unless_a_host_was_seen() {
    let discover = NetworkConfig {
        discover_trunks: true,
        ..config()
    };
    let mut lab = Lab::new(
        discover.clone(),
        &[(1, 2), (2, 2)],
        &[(port(1, 2), port(2, 2))],
    );
    lab.connect(1);
    lab.connect(2);
    lab.wait(2_000);
    assert_eq!(lab.network.links().count(), 2);

    let mut lab = Lab::new(discover, &[(1, 2), (2, 2)], &[]);
    lab.connect(1);
    lab.connect(2);
    lab.inject(port(1, 2), Packet::udp(host(9), host(8), 0));
    lab.cables
        .extend([(port(1, 2), port(2, 2)), (port(2, 2), port(1, 2))]);
    lab.wait(10_000);
    assert_eq!(
        lab.network.links().count(),
        0,
        "a host was seen at one end while the port settled"
    );
}

#[test]
fn a_port_carries_nothing_before_it_has_settled() {
    let mut lab = Lab::new(config(), &[(1, 3)], &[]);
    lab.connect(1);
    assert!(
        lab.inject(port(1, 1), Packet::arp(host(1), host(2).1))
            .is_empty()
    );
    lab.wait(1_500);
    assert_eq!(
        lab.inject(port(1, 1), Packet::arp(host(1), host(2).1))
            .len(),
        2
    );
    lab.set_port_up(port(1, 2), false);
    lab.set_port_up(port(1, 2), true);
    assert_eq!(
        lab.inject(port(1, 1), Packet::arp(host(1), host(2).1))
            .len(),
        1,
        "it settles anew"
    );
}

#[test]
fn a_link_is_gone_when_its_port_is_down_or_three_frames_are_missed() {
    let mut lab = Lab::row(config());
    lab.set_port_up(port(1, 3), false);
    assert_eq!(lab.network.links().count(), 2);
    lab.set_port_up(port(1, 3), true);
    lab.wait(1_000);
    assert_eq!(lab.network.links().count(), 4);
    lab.cables.remove(&port(2, 3));
    lab.wait(2_400);
    assert_eq!(lab.network.links().count(), 4);
    lab.wait(1_200);
    assert_eq!(lab.network.links().count(), 2);
}

#[test]
fn a_port_is_sold_only_when_its_class_queues_are_made() {
    let mut lab = Lab::row(config());
    lab.take_events();
    let capacity = BitRate(100_000_000);
    lab.declare(port(1, 3), PortRole::Trunk, Some(capacity));
    let order = lab.classes_ordered.pop().unwrap();
    assert_eq!(order, (port(1, 3).switch, "s1-eth3".to_owned(), capacity));
    assert_eq!(lab.network.topology().capacity(port(1, 3)), None);
    assert_eq!(lab.take_events(), []);
    let made = |result| NetworkInput::ClassesMade {
        switch: order.0,
        port_name: order.1.clone(),
        result,
    };
    lab.input(made(Ok(())));
    let told = |capacity| NetworkEvent::Capacity {
        link: port(1, 3),
        capacity,
    };
    assert_eq!(lab.take_events(), [told(Some(capacity))]);
    assert_eq!(lab.network.topology().capacity(port(1, 3)), Some(capacity));

    let less = BitRate(50_000_000);
    lab.declare(port(1, 3), PortRole::Trunk, Some(less));
    assert_eq!(
        lab.take_events(),
        [told(Some(less))],
        "less is true at once"
    );
    lab.input(made(Err("no database".to_owned())));
    assert_eq!(lab.take_events(), [], "what was sold goes on");
    assert_eq!(
        lab.network.topology().capacity(port(1, 3)),
        None,
        "nothing more is sold"
    );
    lab.classes_ordered.clear();
    lab.wait(5_000);
    assert_eq!(lab.classes_ordered.len(), 1, "it is tried again");
    lab.input(made(Ok(())));
    assert_eq!(lab.take_events(), [], "it is no news");
    assert_eq!(lab.network.topology().capacity(port(1, 3)), Some(less));
    lab.declare(port(1, 3), PortRole::Trunk, None);
    assert_eq!(lab.network.topology().capacity(port(1, 3)), None);
    lab.wait(9_999);
    assert_eq!(lab.take_events(), [], "it may be declared again");
    lab.wait(1);
    assert_eq!(lab.take_events(), [told(None)]);
}

#[test]
fn a_port_that_is_plugged_in_again_is_sold_only_when_its_class_queues_are_made_again() {
    let mut lab = Lab::row(config());
    let capacity = BitRate(100_000_000);
    lab.declare(port(1, 3), PortRole::Trunk, Some(capacity));
    let made = |order: (payflow_qos::SwitchId, String, BitRate)| NetworkInput::ClassesMade {
        switch: order.0,
        port_name: order.1,
        result: Ok(()),
    };
    let order = lab.classes_ordered.pop().expect("queues are ordered");
    lab.input(made(order.clone()));
    lab.switches.get_mut(&1).expect("it is there").replug(3, 30);
    lab.pump();
    assert_eq!(lab.network.topology().capacity(port(1, 30)), None);
    assert_eq!(lab.classes_ordered.pop().as_ref(), Some(&order));
    lab.input(made(order));
    assert_eq!(lab.network.topology().capacity(port(1, 30)), Some(capacity));
}
