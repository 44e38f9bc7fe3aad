//! What a switch must have for something to be sold across it.

use payflow_qos::{BitRate, SwitchId};
use rust_openflow::{BandType, MeterCapabilities, MeterFeatures};

use super::{
    fake::FakeSwitch,
    lab::{Lab, port},
};
use crate::core::network::{BridgeFacts, NetworkConfig, NetworkInput, PortRole, Shortcoming};

const ONE: SwitchId = SwitchId(1);
const CAPACITY: BitRate = BitRate(10_000_000);

/// One switch with this kind of meters, one port of known capacity; class queues are made as ordered.
fn lab(features: impl FnOnce(&mut MeterFeatures)) -> Lab {
    let mut lab = Lab::new(NetworkConfig::new([9; 32]), &[(1, 3)], &[]);
    features(&mut lab.switches.get_mut(&1).unwrap().meter_features);
    lab.declare(port(1, 1), PortRole::Unsaid, Some(CAPACITY));
    lab.connect(1);
    lab.wait(2_000);
    make_classes(&mut lab);
    lab
}

fn make_classes(lab: &mut Lab) {
    while let Some((switch, port_name, _)) = lab.classes_ordered.pop() {
        lab.input(NetworkInput::ClassesMade {
            switch,
            port_name,
            result: Ok(()),
        });
    }
}

/// The capacity that is sold now.
fn sold(lab: &Lab) -> Option<BitRate> {
    lab.network.topology().capacity(port(1, 1))
}

fn shortcomings(lab: &Lab) -> Vec<Shortcoming> {
    let views = lab.network.switches();
    let view = views.into_iter().find(|view| view.switch == ONE);
    view.unwrap().shortcomings
}

fn configured(lab: &mut Lab, secure: bool, fixed_datapath_id: bool) {
    lab.input(NetworkInput::Bridge {
        switch: ONE,
        facts: Some(BridgeFacts {
            name: "br0".to_owned(),
            secure,
            fixed_datapath_id,
        }),
    });
    make_classes(lab);
}

#[test]
fn a_switch_that_has_all_it_needs_sells_and_says_nothing() {
    let lab = lab(|_| ());
    assert_eq!((sold(&lab), shortcomings(&lab)), (Some(CAPACITY), vec![]));
}

#[test]
fn nothing_is_sold_across_a_switch_whose_meters_do_not_do() {
    type Spoil = fn(&mut MeterFeatures);
    let spoil: [(&str, Spoil); 5] = [
        ("no meters", |it| it.max_meter = 0),
        ("cannot drop", |it| {
            it.band_types = 1 << BandType::DSCP_REMARK.0
        }),
        ("no rates in kbit/s", |it| {
            it.capabilities = MeterCapabilities::PKTPS | MeterCapabilities::BURST;
        }),
        ("no rates in packets/s", |it| {
            it.capabilities = MeterCapabilities::KBPS | MeterCapabilities::BURST;
        }),
        ("no burst sizes", |it| {
            it.capabilities = MeterCapabilities::KBPS | MeterCapabilities::PKTPS;
        }),
    ];
    for (said, spoil) in spoil {
        let lab = lab(spoil);
        assert_eq!(sold(&lab), None, "{said}");
        let found = shortcomings(&lab);
        assert!(
            matches!(&*found, [it] if it.unsellable && it.text.contains(said)),
            "{said}: {found:?}"
        );
    }
}

#[test]
fn a_switch_that_comes_back_with_meters_is_sold_again() {
    let mut lab = lab(|it| it.max_meter = 0);
    lab.disconnect(1);
    lab.switches.insert(1, FakeSwitch::new(1, 3));
    lab.connect(1);
    lab.wait(2_000);
    make_classes(&mut lab);
    assert_eq!((sold(&lab), shortcomings(&lab)), (Some(CAPACITY), vec![]));
}

#[test]
fn nothing_more_is_sold_across_a_bridge_that_drops_its_entries_without_a_controller() {
    let mut lab = lab(|_| ());
    lab.take_events();
    configured(&mut lab, false, true);
    assert_eq!(sold(&lab), None);
    assert!(matches!(&*shortcomings(&lab), [it] if it.unsellable && it.text.contains("br0")));
    assert_eq!(lab.take_events(), [], "what was sold goes on");
    configured(&mut lab, true, true);
    assert_eq!((sold(&lab), shortcomings(&lab)), (Some(CAPACITY), vec![]));
}

#[test]
fn nothing_is_sold_across_a_switch_that_does_not_take_what_keeps_hosts_apart() {
    const INFRASTRUCTURE: u64 = 0x50 << 56;
    let mut lab = Lab::new(NetworkConfig::new([9; 32]), &[(1, 3)], &[]);
    let refuses = |lab: &mut Lab, cookies: &[u64]| {
        let switch = lab.switches.get_mut(&1).unwrap();
        switch.refuses = cookies.iter().copied().collect();
    };
    refuses(&mut lab, &[INFRASTRUCTURE]);
    lab.declare(port(1, 1), PortRole::Unsaid, Some(CAPACITY));
    lab.connect(1);
    lab.wait(60_000);
    make_classes(&mut lab);
    assert_eq!(sold(&lab), None);
    let found = shortcomings(&lab);
    assert!(
        matches!(&*found, [it] if it.text.contains("TABLE_FULL")),
        "{found:?}"
    );
    refuses(&mut lab, &[]);
    lab.wait(10_000);
    make_classes(&mut lab);
    assert_eq!((sold(&lab), shortcomings(&lab)), (Some(CAPACITY), vec![]));
}

#[test]
fn class_queues_that_somebody_changes_are_made_again_and_not_over_and_over() {
    let mut lab = lab(|_| ());
    lab.wait(60_000);
    let lose = |lab: &mut Lab| {
        lab.input(NetworkInput::ClassesLost {
            switch: ONE,
            port_name: "s1-eth1".to_owned(),
        });
    };
    lose(&mut lab);
    assert_eq!(sold(&lab), None);
    assert_eq!(lab.classes_ordered.len(), 1, "at once");
    make_classes(&mut lab);
    assert_eq!(sold(&lab), Some(CAPACITY));
    lose(&mut lab);
    lab.wait(4_900);
    assert_eq!((sold(&lab), lab.classes_ordered.len()), (None, 0));
    lab.wait(200);
    assert_eq!(lab.classes_ordered.len(), 1);
    make_classes(&mut lab);
    assert_eq!(sold(&lab), Some(CAPACITY));
}

#[test]
fn class_queues_that_are_lost_while_nothing_may_be_sold_are_missed() {
    let mut lab = lab(|_| ());
    configured(&mut lab, false, true);
    let is_missed = |lab: &Lab| lab.network.has_lost_classes(ONE, "s1-eth1");
    assert!(!is_missed(&lab));
    lab.input(NetworkInput::ClassesLost {
        switch: ONE,
        port_name: "s1-eth1".to_owned(),
    });
    assert!(is_missed(&lab));
    configured(&mut lab, true, true);
    assert_eq!((sold(&lab), is_missed(&lab)), (Some(CAPACITY), false));
}

#[test]
fn what_was_sold_across_a_switch_that_is_not_fit_any_more_keeps_its_class_queues() {
    // The controller starts, finds a switch on which something was sold, and cannot know whether its queues are there still.
    let mut lab = Lab::new(NetworkConfig::new([9; 32]), &[(1, 3)], &[]);
    lab.switches.get_mut(&1).unwrap().meter_features.max_meter = 0;
    lab.declare(port(1, 1), PortRole::Unsaid, Some(CAPACITY));
    lab.connect(1);
    lab.wait(2_000);
    let ordered = (ONE, "s1-eth1".to_owned(), CAPACITY);
    assert_eq!(lab.classes_ordered, std::slice::from_ref(&ordered));
    make_classes(&mut lab);
    assert_eq!(sold(&lab), None, "and nothing more is sold there");
    lab.wait(60_000);
    assert_eq!(lab.classes_ordered, [], "once they are made, they are made");
    // Where they are lost while nothing is sold, they are made again.
    lab.input(NetworkInput::ClassesLost {
        switch: ONE,
        port_name: "s1-eth1".to_owned(),
    });
    assert_eq!(lab.classes_ordered, [ordered]);
    make_classes(&mut lab);
    assert!(!lab.network.has_lost_classes(ONE, "s1-eth1"));
    assert_eq!(sold(&lab), None);
}

#[test]
fn a_datapath_id_that_may_change_is_told_and_does_not_hinder() {
    let mut lab = lab(|_| ());
    configured(&mut lab, true, false);
    assert_eq!(sold(&lab), Some(CAPACITY));
    assert!(matches!(&*shortcomings(&lab), [it] if !it.unsellable));
    lab.input(NetworkInput::Bridge {
        switch: ONE,
        facts: None,
    });
    assert_eq!((sold(&lab), shortcomings(&lab)), (Some(CAPACITY), vec![]));
}
