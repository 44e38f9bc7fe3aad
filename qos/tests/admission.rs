//! The path search against brute force, and what it offers instead of a refusal.
#![allow(clippy::unwrap_used)]

use payflow_qos::{
    admission::{Ask, find_path},
    book::{Book, Commitment, CommitmentId},
    class::Class,
    refusal::{CounterOffer, Reason, Refusal},
    topology::{Hop, Path, PortNo, PortRef, SwitchId, Topology},
    units::{BitRate, SoldRate, Time, Window},
};
use proptest::prelude::*;
use std::time::Duration;

const SECOND: u64 = 1_000;
/// The edge port of every switch.
const EDGE: u32 = 100;

fn window(start: u64, end: u64) -> Window {
    Window::new(Time::from_millis(start), Time::from_millis(end)).unwrap()
}

fn edge(switch: u64) -> PortRef {
    PortRef::new(switch, EDGE)
}

/// A network in which port `n` of a switch leads to switch `n`, and its book.
struct Network {
    topology: Topology,
    book: Book,
    next: u64,
}

impl Network {
    fn new(links: &[(u32, u32)], bps: u64) -> Self {
        let mut network = Network {
            topology: Topology::new(),
            book: Book::new(Time::default()),
            next: 0,
        };
        for (a, b) in links {
            for (from, to) in [(*a, *b), (*b, *a)] {
                let port = PortRef::new(from.into(), to);
                network
                    .topology
                    .add_link(port, PortRef::new(to.into(), from));
                network.set_capacity(port, bps);
                network.set_capacity(edge(from.into()), 10 * bps);
            }
        }
        network
    }

    fn set_capacity(&mut self, port: PortRef, bps: u64) {
        self.topology.set_capacity(port, BitRate(bps));
        self.book.set_capacity(port, BitRate(bps));
    }

    fn find(&self, ask: &Ask) -> Result<Path, Refusal> {
        find_path(&self.topology, &self.book, ask)
    }

    fn take(&mut self, port: PortRef, kbps: u32, window: Window) -> CommitmentId {
        self.next += 1;
        let rate = SoldRate(kbps);
        let commitment = Commitment {
            path: vec![port],
            class: Class::Steady,
            rate,
            burst: Class::Steady.burst(rate),
            window,
            ingress: edge(1),
            unpaid: false,
            value: 0,
        };
        self.book
            .commit(CommitmentId(self.next), &commitment)
            .unwrap();
        CommitmentId(self.next)
    }
}

fn ask(from: u64, to: u64, kbps: u32) -> Ask {
    Ask {
        from: edge(from),
        to: edge(to),
        class: Class::Steady,
        rate: SoldRate(kbps),
        window: window(0, 10 * SECOND),
        asker: edge(from),
        unpaid: false,
        replacing: None,
    }
}

fn switches(path: &Path) -> Vec<u64> {
    path.hops.iter().map(|hop| hop.switch.0).collect()
}

/// A triangle of 10 Mbit/s: the direct link from 1 to 3, and the way around over 2.
fn triangle() -> Network {
    Network::new(&[(1, 2), (2, 3), (1, 3)], 10_000_000)
}

#[test]
fn a_flow_takes_the_short_way_while_it_fits_and_then_the_long_one() {
    let mut network = triangle();
    assert_eq!(switches(&network.find(&ask(1, 3, 5_000)).unwrap()), [1, 3]);
    network.take(PortRef::new(1, 3), 5_000, window(9 * SECOND, 20 * SECOND));
    assert_eq!(switches(&network.find(&ask(1, 3, 4_000)).unwrap()), [1, 3]);
    assert_eq!(
        switches(&network.find(&ask(1, 3, 5_000)).unwrap()),
        [1, 2, 3]
    );
}

#[test]
fn hosts_on_one_switch_are_one_hop_apart_and_booked_on_the_port_of_the_receiver() {
    let mut network = triangle();
    let receiver = PortRef::new(1, EDGE + 1);
    network.set_capacity(receiver, 10_000_000);
    let path = network
        .find(&Ask {
            to: receiver,
            ..ask(1, 1, 9_000)
        })
        .unwrap();
    assert_eq!(path.egress_ports().collect::<Vec<_>>(), [receiver]);
}

#[test]
fn a_port_of_unknown_capacity_is_not_for_sale() {
    let mut network = triangle();
    let unknown = PortRef::new(3, EDGE + 1);
    let refusal = network
        .find(&Ask {
            to: unknown,
            ..ask(1, 3, 1)
        })
        .unwrap_err();
    assert_eq!(refusal, Reason::UnknownCapacity { link: unknown }.into());
    network.topology.clear_capacity(PortRef::new(1, 3));
    assert_eq!(
        switches(&network.find(&ask(1, 3, 1)).unwrap()),
        [1, 2, 3],
        "the known way around is"
    );
}

#[test]
fn two_networks_that_are_not_connected_have_no_route() {
    let network = Network::new(&[(1, 2), (3, 4)], 10_000_000);
    assert_eq!(
        network.find(&ask(1, 4, 1)).unwrap_err(),
        Reason::NoRoute.into()
    );
}

#[test]
fn a_refusal_offers_the_highest_rate_that_fits_and_the_earliest_start() {
    let mut network = triangle();
    network.take(PortRef::new(1, 3), 8_000, window(0, 30 * SECOND));
    network.take(PortRef::new(2, 3), 7_500, window(5 * SECOND, 20 * SECOND));
    network.take(PortRef::new(1, 3), 8_000, window(60 * SECOND, 61 * SECOND));
    let refusal = network.find(&ask(1, 3, 5_000)).unwrap_err();
    let link = PortRef::new(1, 3);
    assert_eq!(
        refusal.reason,
        Reason::NoCapacity {
            link,
            asked: SoldRate(5_000),
            free: SoldRate(1_000)
        }
    );
    let offer = CounterOffer {
        highest_rate_now: Some(SoldRate(1_500)),
        earliest_start: Some(Time::from_millis(20 * SECOND)),
    };
    assert_eq!(refusal.offer, Some(offer));
}

#[test]
fn what_never_fits_is_offered_no_start_and_what_is_full_no_rate() {
    let mut network = triangle();
    let offer = network.find(&ask(1, 3, 9_001)).unwrap_err().offer.unwrap();
    assert_eq!(
        offer,
        CounterOffer {
            highest_rate_now: Some(SoldRate(9_000)),
            earliest_start: None
        }
    );
    for port in [PortRef::new(1, 2), PortRef::new(1, 3)] {
        network.take(port, 9_000, window(0, 10 * SECOND));
    }
    let offer = network.find(&ask(1, 3, 1)).unwrap_err().offer.unwrap();
    assert_eq!(
        offer,
        CounterOffer {
            highest_rate_now: None,
            earliest_start: Some(Time::from_millis(10 * SECOND))
        }
    );
}

#[test]
fn a_flow_that_moves_does_not_stand_in_its_own_way() {
    let mut network = triangle();
    let first = ask(1, 3, 8_000);
    let path = network.find(&first).unwrap();
    network
        .book
        .commit(CommitmentId(99), &first.commitment(&path, 0))
        .unwrap();
    let again = Ask {
        replacing: Some(CommitmentId(99)),
        ..first
    };
    assert_eq!(network.find(&again).unwrap(), path);
    network
        .book
        .replace(CommitmentId(99), &again.commitment(&path, 0))
        .unwrap();
}

#[test]
fn a_hold_over_its_share_is_told_what_it_may_hold_and_when_more() {
    let mut network = Network::new(&[(1, 2)], 100_000_000);
    let hold = |kbps| Ask {
        unpaid: true,
        ..ask(1, 2, kbps)
    };
    let path = network.find(&hold(1_000)).unwrap();
    network
        .book
        .commit(CommitmentId(1), &hold(1_000).commitment(&path, 0))
        .unwrap();
    let refusal = network.find(&hold(9_500)).unwrap_err();
    let link = PortRef::new(1, 2);
    assert_eq!(
        refusal.reason,
        Reason::HoldLimit {
            link,
            asked: SoldRate(9_500),
            allowed: SoldRate(8_000)
        }
    );
    assert_eq!(
        refusal.offer.unwrap().highest_rate_now,
        Some(SoldRate(8_000))
    );
    let later = network
        .find(&hold(8_500))
        .unwrap_err()
        .offer
        .unwrap()
        .earliest_start;
    assert_eq!(
        later,
        Some(Time::from_millis(10 * SECOND)),
        "when the first hold no longer overlaps"
    );
}

// ---- Against brute force ----------------------------------------------------------------------------------------------

const SWITCHES: u32 = 5;

/// Every path without loops, by trying every port in ascending order: all of the fewest hops first
/// is up to the caller.
fn all_paths(topology: &Topology, from: PortRef, to: PortRef) -> Vec<Path> {
    fn walk(
        topology: &Topology,
        at: PortRef,
        to: PortRef,
        hops: &mut Vec<Hop>,
        found: &mut Vec<Path>,
    ) {
        let step = |out_port| Hop {
            switch: at.switch,
            in_port: at.port,
            out_port,
        };
        if at.switch == to.switch {
            hops.push(step(to.port));
            found.push(Path { hops: hops.clone() });
            hops.pop();
            return;
        }
        for (egress, ingress) in topology.links_from(at.switch) {
            if hops.iter().all(|hop| hop.switch != ingress.switch) {
                hops.push(step(egress.port));
                walk(topology, ingress, to, hops, found);
                hops.pop();
            }
        }
    }
    let mut found = Vec::new();
    walk(topology, from, to, &mut Vec::new(), &mut found);
    found
}

/// The best path by trying all: the fewest hops, then the lowest ports.
fn brute_force(network: &Network, ask: &Ask) -> Option<Path> {
    let fits = |path: &Path| {
        let mut book = network.book.clone();
        book.commit(CommitmentId(u64::MAX), &ask.commitment(path, 0))
            .is_ok()
    };
    let paths = all_paths(&network.topology, ask.from, ask.to)
        .into_iter()
        .filter(fits);
    paths.min_by_key(|path| {
        (
            path.hops.len(),
            path.egress_ports()
                .map(|port| port.port)
                .collect::<Vec<PortNo>>(),
        )
    })
}

fn network() -> impl Strategy<Value = Network> {
    let switch = || 1..=SWITCHES;
    let links = prop::collection::vec(
        (switch(), switch()).prop_filter("no loop", |(a, b)| a != b),
        1..9,
    );
    let loads = prop::collection::vec(
        (
            any::<prop::sample::Index>(),
            1_u32..9_000,
            0..40_u64,
            1..40_u64,
            any::<bool>(),
        ),
        0..25,
    );
    let unknown = prop::collection::vec(any::<prop::sample::Index>(), 0..2);
    (links, loads, unknown).prop_map(|(links, loads, unknown)| {
        let mut network = Network::new(&links, 10_000_000);
        for switch in 1..=u64::from(SWITCHES) {
            network.topology.add_switch(SwitchId(switch));
            network.set_capacity(edge(switch), 20_000_000);
        }
        let ports: Vec<_> = network.topology.links().map(|(from, _)| from).collect();
        for (id, (port, kbps, start, length, unpaid)) in loads.into_iter().enumerate() {
            let commitment = Commitment {
                path: vec![*port.get(&ports)],
                class: Class::Steady,
                rate: SoldRate(kbps),
                burst: Class::Steady.burst(SoldRate(kbps)),
                window: window(start * SECOND, (start + length) * SECOND),
                ingress: edge(1 + id as u64 % 3),
                unpaid,
                value: 0,
            };
            let _ = network.book.commit(CommitmentId(id as u64), &commitment); // what does not fit is left out
        }
        for port in unknown {
            let port = *port.get(&ports);
            network.topology.clear_capacity(port);
            network.book.clear_capacity(port);
        }
        network
    })
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let links = self.topology.links().collect::<Vec<_>>();
        let loads = self.book.commitments().collect::<Vec<_>>();
        write!(f, "{links:?}, {loads:?}")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_search_finds_what_brute_force_finds(
        network in network(),
        from in 1..=SWITCHES,
        to in 1..=SWITCHES,
        kbps in 1_u32..9_500,
        start in 0..30_u64,
        length in 1..30_u64,
        unpaid: bool,
    ) {
        let window = window(start * SECOND, (start + length) * SECOND);
        let ask = Ask { window, unpaid, ..ask(from.into(), to.into(), kbps) };
        let expected = brute_force(&network, &ask);
        match network.find(&ask) {
            Ok(path) => prop_assert_eq!(Some(path), expected),
            Err(refusal) => {
                prop_assert_eq!(expected, None, "{}", refusal);
                let offer = refusal.offer.unwrap_or(CounterOffer { highest_rate_now: None, earliest_start: None });
                // The rate offered fits, and one kbit/s more does not.
                let with_rate = |rate| brute_force(&network, &Ask { rate: SoldRate(rate), ..ask.clone() });
                let offered = offer.highest_rate_now.unwrap_or_default().0;
                prop_assert!(offered == 0 || with_rate(offered).is_some());
                prop_assert_eq!(with_rate(offered + 1), None);
                // At the start offered it fits, and at no earlier second (all windows here begin
                // and end with one).
                let at = |start| Window::lasting(start, Duration::from_secs(length)).and_then(|window| brute_force(&network, &Ask { window, ..ask.clone() }));
                let last = offer.earliest_start.unwrap_or(Time::from_millis(100 * SECOND));
                prop_assert!(offer.earliest_start.is_none_or(|start| at(start).is_some()));
                if !unpaid {
                    for second in start..last.millis() / SECOND {
                        prop_assert_eq!(at(Time::from_millis(second * SECOND)), None, "fits at {}", second);
                    }
                }
            }
        }
    }
}
