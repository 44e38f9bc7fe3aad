//! What switches count of paid flows, and what that says of what was lost.

use super::lab::{Lab, flow, plan_through_row};
use crate::core::network::{FlowCounters, FlowId, NetworkConfig, PortRange};

const FLOW: FlowId = FlowId {
    reservation: 7,
    generation: 0,
};

/// A flow through three switches, of which the first has let in `entered` packets of a kilobyte, and the last has seen `left`.
fn counting(lab: &mut Lab, entered: u64, left: u64) {
    let shows = |lab: &mut Lab, switch, packets| {
        lab.switches.get_mut(&switch).unwrap().shown = (packets, packets * 1_000);
    };
    // A tenth as much came above the rate.
    let (came, dropped) = (entered + entered / 10, entered / 10);
    shows(lab, 1, came);
    shows(lab, 3, left);
    lab.switches.get_mut(&1).unwrap().metered = [came, dropped].map(|it| (it, it * 1_000));
}

fn row() -> Lab {
    let mut lab = Lab::row(NetworkConfig::new([1; 32]));
    counting(&mut lab, 0, 0);
    lab.install(plan_through_row(flow(7, 0)));
    lab
}

fn counters(lab: &Lab) -> FlowCounters {
    lab.network.flow_counters(FLOW).unwrap()
}

#[test]
fn both_ends_are_counted_and_what_is_between_them_is_lost() {
    let mut lab = row();
    counting(&mut lab, 100, 60);
    lab.wait(11_000);
    assert_eq!(
        counters(&lab),
        FlowCounters {
            packets: 110,
            bytes: 110_000,
            dropped_packets: 10,
            dropped_bytes: 10_000,
            left_packets: 60,
            left_bytes: 60_000,
            lost_bytes: 40_000,
            short_bytes: 40_000,
        }
    );
    // What was late was not lost; what is lost now is beside what was before.
    counting(&mut lab, 200, 160);
    lab.wait(11_000);
    assert_eq!(counters(&lab).lost_bytes, 40_000);
    counting(&mut lab, 300, 250);
    lab.wait(11_000);
    assert_eq!(counters(&lab).lost_bytes, 50_000);
}

#[test]
fn the_last_word_is_asked_for_when_a_flow_is_taken_off() {
    let mut lab = row();
    lab.wait(11_000);
    counting(&mut lab, 100, 90);
    lab.remove(FLOW);
    lab.wait(900);
    assert!(lab.holds(3, FLOW), "its counters may be old");
    lab.wait(200);
    assert!(!lab.holds(3, FLOW));
    let counted = std::mem::take(&mut lab.counted);
    let [(of, counters)] = counted[..] else {
        panic!("{counted:?}")
    };
    assert_eq!(of, FLOW);
    assert_eq!((counters.left_bytes, counters.lost_bytes), (90_000, 10_000));
}

#[test]
fn counters_that_begin_anew_have_lost_nothing() {
    let mut lab = row();
    counting(&mut lab, 100, 100);
    lab.wait(11_000);
    // The last switch has forgotten what it had counted, and counts again.
    counting(&mut lab, 200, 30);
    lab.wait(11_000);
    assert_eq!(counters(&lab).lost_bytes, 0);
    // From here on both are known again.
    counting(&mut lab, 300, 110);
    lab.wait(11_000);
    assert_eq!(counters(&lab).lost_bytes, 20_000);
}

#[test]
fn what_was_missing_before_a_restart_of_the_controller_is_nobodys_loss() {
    let mut lab = Lab::row(NetworkConfig::new([1; 32]));
    counting(&mut lab, 1_000, 400);
    lab.install(plan_through_row(flow(7, 1)));
    lab.wait(11_000);
    let of = flow(7, 1);
    let lost = |lab: &Lab| lab.network.flow_counters(of).unwrap().lost_bytes;
    assert_eq!(
        lost(&lab),
        0,
        "another generation has used the meter before"
    );
    counting(&mut lab, 1_100, 480);
    lab.wait(11_000);
    assert_eq!(lost(&lab), 20_000);
}

#[test]
fn a_switch_that_is_first_and_last_loses_nothing() {
    let mut lab = Lab::row(NetworkConfig::new([1; 32]));
    counting(&mut lab, 0, 0);
    let mut plan = plan_through_row(flow(7, 0));
    plan.path.hops.truncate(1);
    lab.install(plan);
    counting(&mut lab, 100, 0);
    lab.wait(11_000);
    let counters = counters(&lab);
    assert_eq!((counters.left_bytes, counters.lost_bytes), (100_000, 0));
}

#[test]
fn what_left_by_one_entry_of_a_range_of_ports_is_not_missing_at_another() {
    let mut lab = Lab::row(NetworkConfig::new([1; 32]));
    counting(&mut lab, 0, 0);
    let mut plan = plan_through_row(FLOW);
    plan.selector.destination_port = PortRange::new(5001, 5006);
    lab.install(plan);
    lab.wait(11_000);
    // Four entries at either end, each of which shows so much, and one meter.
    for (switch, packets) in [(1, 25), (3, 20)] {
        lab.switches.get_mut(&switch).unwrap().shown = (packets, packets * 1_000);
    }
    lab.switches.get_mut(&1).unwrap().metered = [(100, 100_000), (0, 0)];
    lab.wait(11_000);
    let counted = counters(&lab);
    assert_eq!((counted.packets, counted.bytes), (100, 100_000));
    assert_eq!((counted.left_packets, counted.left_bytes), (80, 80_000));
    assert_eq!(counted.lost_bytes, 20_000);
}

#[test]
fn a_counter_that_is_not_kept_says_nothing() {
    let not_kept = (u64::MAX, u64::MAX);
    let mut lab = row();
    counting(&mut lab, 100, 100);
    lab.switches.get_mut(&1).unwrap().metered[0] = not_kept;
    lab.wait(11_000);
    assert_eq!(counters(&lab).lost_bytes, 0);
    let mut lab = row();
    counting(&mut lab, 100, 100);
    lab.switches.get_mut(&3).unwrap().shown = not_kept;
    lab.wait(11_000);
    assert_eq!(counters(&lab).lost_bytes, 0);
}

#[test]
fn a_little_is_lost_at_any_time_and_much_for_a_moment_is_credited_however_long_a_flow_lasts() {
    let mut lab = row();
    let (mut entered, mut left) = (0, 0);
    let mut pass = |lab: &mut Lab, come: u64, go: u64| {
        (entered, left) = (entered + come, left + go);
        counting(lab, entered, left);
        lab.wait(11_000);
        let counters = counters(lab);
        (counters.lost_bytes, counters.short_bytes)
    };
    // One per mille each time.
    assert_eq!(pass(&mut lab, 10_000, 9_990), (10_000, 0));
    assert_eq!(pass(&mut lab, 10_000, 9_990), (20_000, 0));
    assert_eq!(pass(&mut lab, 10_000, 9_980), (40_000, 20_000));
    for _ in 0..5 {
        assert_eq!(pass(&mut lab, 1_000_000, 1_000_000), (40_000, 20_000));
    }
}
