//! Nobody rides on what somebody else has paid for, and nobody speaks for the API.

use std::net::Ipv4Addr;

use payflow_qos::{Class, PortRef};

use super::{
    lab::{Delivery, Lab, flow, host, mac, plan_through_row, port},
    walker::{Packet, ip},
};
use crate::core::network::{ApiPort, MacAddr, NetworkConfig, NetworkEvent, PortRole};

const API: (MacAddr, Ipv4Addr) = (
    MacAddr([2, 0, 0, 0, 0xff, 0xff]),
    Ipv4Addr::new(10, 0, 0, 254),
);
const API_PORT: PortRef = PortRef::new(2, 5);

fn with_api() -> Lab {
    let api = ApiPort {
        address: API.1.into(),
        mac: API.0,
    };
    let mut lab = Lab::row(NetworkConfig {
        api: Some(api),
        ..NetworkConfig::new([1; 32])
    });
    lab.declare(API_PORT, PortRole::Api, None);
    lab.take_events();
    lab
}

fn marks() -> [u8; 3] {
    [Class::Control, Class::Steady, Class::Elastic].map(Class::dscp)
}

fn rides_free(deliveries: &[Delivery]) -> bool {
    deliveries.iter().all(|delivery| {
        delivery
            .queues
            .iter()
            .all(|queue| *queue == Class::BestEffort.queue())
    })
}

#[test]
fn a_spoofed_paid_flow_is_never_in_a_paid_queue_from_any_port() {
    let mut lab = with_api();
    lab.install(plan_through_row(flow(7, 0)));
    // The first, a middle and the last switch; with every mark, and none; as the payer and as itself.
    for thief_port in [port(1, 4), port(2, 4), port(3, 4), port(2, 1)] {
        for dscp in marks().into_iter().chain([0, 10]) {
            for mac in [host(1).0, mac(66)] {
                let packet = Packet::udp((mac, host(1).1), host(3), dscp);
                let walk = lab.enter(thief_port, packet.clone());
                assert!(!walk.meters.contains(&0x1_0007), "the payer's meter");
                let delivered = lab.inject(thief_port, packet);
                assert!(rides_free(&delivered), "{thief_port} {dscp} {delivered:?}");
                let kept = |delivery: &Delivery| marks().contains(&delivery.packet.dscp().unwrap());
                assert!(
                    !delivered.iter().any(kept),
                    "a mark crosses the network: {delivered:?}"
                );
            }
        }
    }
}

#[test]
fn the_payer_itself_rides_only_with_what_it_paid_for() {
    let mut lab = with_api();
    lab.install(plan_through_row(flow(7, 0)));
    let other_port = Packet::udp_to_port(host(1), host(3), Class::Steady.dscp(), 5001);
    assert!(rides_free(&lab.inject(port(1, 1), other_port)));
    let other_address = Packet::udp(host(1), host(2), Class::Steady.dscp());
    let delivered = lab.inject(port(1, 1), other_address);
    assert_eq!(delivered.len(), 1);
    assert!(rides_free(&delivered));
    assert_eq!(delivered[0].packet.dscp(), Some(0));
}

#[test]
fn a_known_host_reaches_the_api_in_the_control_class_and_is_answered_in_it() {
    let mut lab = with_api();
    for last in 1..=3 {
        let delivered = lab.inject(port(u64::from(last), 1), Packet::udp(host(last), API, 0));
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[0].port, API_PORT);
        assert!(
            delivered[0]
                .queues
                .iter()
                .all(|queue| *queue == Class::Control.queue()),
            "{delivered:?}"
        );
        let answer = lab.inject(API_PORT, Packet::udp(API, host(last), 0));
        assert_eq!(answer.len(), 1);
        assert_eq!(answer[0].port, port(u64::from(last), 1));
        assert!(
            answer[0]
                .queues
                .iter()
                .all(|queue| *queue == Class::Control.queue())
        );
    }
}

#[test]
fn a_stranger_does_not_reach_the_api_before_it_is_known_and_does_afterwards() {
    let mut lab = with_api();
    let stranger = host(77);
    assert!(
        lab.inject(port(1, 4), Packet::udp(stranger, API, 0))
            .is_empty()
    );
    assert_eq!(
        lab.network.host(stranger.1.into()).unwrap().port,
        port(1, 4),
        "the packet made it known"
    );
    assert_eq!(
        lab.inject(port(1, 4), Packet::udp(stranger, API, 0)).len(),
        1
    );
}

#[test]
fn nobody_reaches_the_api_under_another_host_s_address() {
    let mut lab = with_api();
    for (at, mac) in [
        (port(1, 4), host(1).0),
        (port(1, 4), mac(66)),
        (port(2, 1), host(2).0),
    ] {
        let spoofed = Packet::udp((mac, host(1).1), API, 0);
        for _ in 0..3 {
            assert!(lab.inject(at, spoofed.clone()).is_empty(), "{at}");
            lab.wait(1_000);
        }
    }
    assert_eq!(lab.network.host(host(1).1.into()).unwrap().port, port(1, 1));
}

#[test]
fn nobody_but_the_api_speaks_with_its_address() {
    let mut lab = with_api();
    for packet in [
        Packet::udp((mac(66), API.1), host(3), 0),
        Packet::udp((API.0, Ipv4Addr::new(10, 0, 0, 66)), host(3), 0),
        Packet::arp((mac(66), API.1), host(3).1),
        Packet::arp((API.0, Ipv4Addr::new(10, 0, 0, 66)), host(3).1),
    ] {
        for at in [port(1, 4), port(2, 4), port(3, 1)] {
            assert!(lab.inject(at, packet.clone()).is_empty(), "{at} {packet:?}");
        }
    }
    assert!(lab.network.host(API.1.into()).is_none());
    assert_eq!(
        lab.inject(API_PORT, Packet::arp(API, host(3).1)).len(),
        10,
        "the API itself does: every other edge port"
    );
}

#[test]
fn a_claimed_address_stays_while_its_owner_answers_and_the_claimant_is_blocked() {
    let mut lab = with_api();
    let thief = port(3, 4);
    lab.inject(thief, Packet::arp(host(1), host(2).1));
    lab.wait(3_000);
    assert_eq!(lab.network.host(host(1).1.into()).unwrap().port, port(1, 1));
    assert!(
        lab.inject(thief, Packet::udp(host(1), host(2), 0))
            .is_empty(),
        "blocked"
    );
    lab.wait(10_000);
    assert!(
        !lab.events
            .iter()
            .any(|event| matches!(event, NetworkEvent::Host(_))),
        "nobody has moved"
    );
}

#[test]
fn a_claim_of_anothers_address_reaches_nobody() {
    for thief in [port(1, 4), port(2, 1), port(3, 4)] {
        for mac in [mac(66), host(1).0] {
            for claim in [
                Packet::arp((mac, host(1).1), host(1).1),
                Packet::arp_reply((mac, host(1).1), host(3).0),
            ] {
                let mut lab = with_api();
                let walk = lab.enter(thief, claim.clone());
                assert_eq!(walk.shown.len(), 1, "the controller looks into it");
                lab.pump();
                for _ in 0..3 {
                    let delivered = lab.inject(thief, claim.clone());
                    assert!(delivered.is_empty(), "{thief} {mac}: {delivered:?}");
                }
            }
        }
    }
    let mut lab = with_api();
    let itself = Packet::arp(host(1), host(3).1);
    assert_eq!(
        lab.inject(port(1, 1), itself).len(),
        10,
        "the owner is heard at every other edge port"
    );
}

#[test]
fn the_first_question_of_a_newcomer_reaches_everybody_once_and_the_next_needs_no_controller() {
    let mut lab = with_api();
    let (at, question) = (port(1, 4), Packet::arp(host(50), host(3).1));
    let held = lab.enter(at, question.clone());
    assert_eq!((held.outputs.len(), held.shown.len()), (0, 1));
    let delivered = lab.inject(at, question.clone());
    let places: Vec<PortRef> = delivered.iter().map(|delivery| delivery.port).collect();
    assert_eq!(places.len(), 20, "ten edge ports, for each of the two");
    assert!(!places.contains(&at));
    let control = Class::Control.queue();
    assert!(
        delivered
            .iter()
            .all(|delivery| delivery.queues.iter().all(|queue| *queue == control))
    );
    assert!(!lab.enter(at, question).outputs.is_empty());
}

#[test]
fn the_first_answer_of_a_newcomer_goes_to_whom_it_answers() {
    let mut lab = with_api();
    let answer = Packet::arp_reply(host(50), host(3).0);
    let delivered = lab.inject(port(1, 4), answer);
    let places: Vec<PortRef> = delivered.iter().map(|delivery| delivery.port).collect();
    assert_eq!(places, [port(3, 1)]);
}

#[test]
fn a_newcomer_costs_a_few_entries_on_its_own_switch_and_one_on_each_other() {
    let mut lab = with_api();
    let count = |lab: &Lab| [1, 2, 3].map(|switch| lab.switches[&switch].flows.len());
    let before = count(&lab);
    lab.inject(port(1, 4), Packet::arp(host(50), host(3).1));
    let after = count(&lab);
    let more = [0, 1, 2].map(|at| after[at] - before[at]);
    assert_eq!(more, [5, 1, 1]);
}

#[test]
fn a_host_whose_old_port_is_silent_is_followed() {
    let mut lab = with_api();
    lab.hosts.remove(&port(1, 1));
    lab.host_arrives(port(3, 4), host(1));
    lab.wait(3_000);
    assert_eq!(lab.network.host(ip("10.0.0.1")).unwrap().port, port(3, 4));
    let delivered = lab.inject(port(2, 1), Packet::udp(host(2), host(1), 0));
    assert_eq!(
        delivered
            .iter()
            .map(|delivery| delivery.port)
            .collect::<Vec<_>>(),
        [port(3, 4)]
    );
}

#[test]
fn what_comes_in_at_a_full_port_is_still_forwarded() {
    let mut lab = Lab::row(NetworkConfig {
        hosts_per_port: 2,
        ..NetworkConfig::new([1; 32])
    });
    for last in 100..110 {
        lab.inject(port(1, 4), Packet::udp(host(last), host(3), 0));
    }
    assert_eq!(
        lab.network
            .hosts()
            .filter(|host| host.port == port(1, 4))
            .count(),
        2
    );
    let walk = lab.enter(port(1, 4), Packet::udp(host(120), host(3), 0));
    assert_eq!((walk.shown.len(), walk.outputs.len()), (0, 1));
    let question = Packet::arp(host(120), host(3).1);
    assert!(!lab.inject(port(1, 4), question).is_empty());
}

#[test]
fn one_packet_makes_a_host_known_and_no_other_is_shown() {
    let mut lab = with_api();
    let newcomer = host(50);
    assert_eq!(
        lab.enter(port(1, 4), Packet::udp(newcomer, host(3), 0))
            .shown
            .len(),
        1
    );
    lab.pump();
    for port_number in 1..100 {
        let packet = Packet::udp_to_port(newcomer, host(3), 0, port_number);
        assert_eq!(lab.enter(port(1, 4), packet).shown.len(), 0);
    }
}

#[test]
fn a_paid_mark_without_a_paid_entry_goes_no_further_than_the_next_switch() {
    let mut lab = with_api();
    for dscp in [Class::Steady, Class::Elastic].map(Class::dscp) {
        let walk = lab.enter(port(2, 2), Packet::udp(host(1), host(3), dscp));
        let [(3, packet, queue)] = &walk.outputs[..] else {
            panic!("{walk:?}")
        };
        assert_eq!(
            (*queue, packet.dscp()),
            (Class::BestEffort.queue(), Some(0))
        );
    }
}

#[test]
fn no_host_reaches_the_port_where_switches_connect() {
    let api = ApiPort {
        address: API.1.into(),
        mac: API.0,
    };
    let mut lab = Lab::row(NetworkConfig {
        api: Some(api),
        closed_ports: vec![6653],
        ..NetworkConfig::new([1; 32])
    });
    lab.declare(API_PORT, PortRole::Api, None);
    let delivered = |lab: &mut Lab, to| {
        let packet = Packet::tcp(host(1), API, to);
        lab.inject(port(1, 1), packet).len()
    };
    delivered(&mut lab, 8080); // makes the sender known
    assert_eq!(delivered(&mut lab, 8080), 1);
    assert_eq!(delivered(&mut lab, 6653), 0);
}
