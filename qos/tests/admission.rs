//! The path search against brute force, and what it offers instead of a refusal.
#![allow(clippy::unwrap_used)]

use payflow_qos::{
    HoldTerms,
    admission::{Ask, Bounds, find_path},
    book::{Book, Commitment, CommitmentId},
    class::Class,
    refusal::{CounterOffer, Reason, Refusal},
    topology::{Hop, Path, PortNo, PortRef, SwitchId, Topology},
    units::{BitRate, PerMille, SoldRate, Time, Window},
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

    /// Both ways. A cable may lead back to the switch it comes from.
    fn lay(&mut self, (a, b, is_second, mbit): Cable) {
        let number = |to: u32, end: u32| to + if is_second { 10 } else { 0 } + end;
        // Where both ends are on one switch they need two ports.
        let (there, back) = (number(b, 0), number(a, if a == b { 20 } else { 0 }));
        let ends = [PortRef::new(a.into(), there), PortRef::new(b.into(), back)];
        for (from, to) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            self.topology.add_link(from, to);
            self.set_capacity(from, mbit * 1_000_000);
        }
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
            path: [port].into(),
            class: Class::Elastic,
            rate,
            burst: Class::Elastic.burst(rate),
            window,
            ingress: edge(1),
            unpaid: false,
            hold: HoldTerms::default(),
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
        class: Class::Elastic,
        rate: SoldRate(kbps),
        window: window(0, 10 * SECOND),
        asker: edge(from),
        unpaid: false,
        hold: HoldTerms::default(),
        replacing: None,
        bounds: Bounds::default(),
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

/// A square of 1, 2, 3, 4 with a slow short cut from 1 to 3.
fn square_with_a_slow_diagonal() -> Network {
    let mut network = Network::new(&[(1, 2), (2, 3), (1, 4), (4, 3)], 100_000_000);
    network.lay((1, 3, false, 5));
    network
}

#[test]
fn a_bound_on_the_delay_is_kept_by_a_longer_path_if_that_is_faster() {
    let network = square_with_a_slow_diagonal();
    let bounded = |hops, delay_ms| Ask {
        bounds: Bounds { hops, delay_ms },
        class: Class::Steady,
        ..ask(1, 3, 1_000)
    };
    let delay = |path: &Path| delay_ms(&network, path, Class::Steady);
    let slow = network.find(&bounded(None, None)).unwrap();
    let fast = network
        .find(&bounded(None, Some(delay(&slow) - 1)))
        .unwrap();
    assert_eq!(switches(&slow), [1, 3]);
    assert_eq!(switches(&fast), [1, 2, 3], "the lower ports of two");
    assert!(network.find(&bounded(Some(3), Some(delay(&fast)))).is_ok());

    let (asked_ms, least_ms) = (delay(&fast) - 1, delay(&fast));
    let refusal = network.find(&bounded(None, Some(asked_ms))).unwrap_err();
    assert_eq!(refusal, Reason::TooMuchDelay { asked_ms, least_ms }.into());
    // With no more than two hops, the slow one is the best.
    let refusal = network.find(&bounded(Some(2), Some(least_ms))).unwrap_err();
    let (asked_ms, least_ms) = (least_ms, delay(&slow));
    assert_eq!(refusal, Reason::TooMuchDelay { asked_ms, least_ms }.into());
}

#[test]
fn a_bound_on_hops_is_told_the_fewest_and_when_a_short_path_is_free_again() {
    let mut network = triangle();
    network.take(PortRef::new(1, 3), 6_000, window(0, 30 * SECOND));
    let bounded = |most| Ask {
        bounds: Bounds {
            hops: Some(most),
            delay_ms: None,
        },
        ..ask(1, 3, 5_000)
    };
    assert_eq!(switches(&network.find(&bounded(3)).unwrap()), [1, 2, 3]);
    let refusal = network.find(&bounded(2)).unwrap_err();
    let (asked, fewest) = (2, 3);
    assert_eq!(refusal.reason, Reason::TooManyHops { asked, fewest });
    let offer = CounterOffer {
        highest_rate_now: Some(SoldRate(3_000)),
        earliest_start: Some(Time::from_millis(30 * SECOND)),
    };
    assert_eq!(refusal.offer, Some(offer));
    for asked in [0, 1] {
        let refusal = network.find(&bounded(asked)).unwrap_err();
        let never = Reason::TooManyHops { asked, fewest };
        assert_eq!(refusal, never.into(), "and there is nothing to offer");
    }
}

#[test]
fn a_bound_that_no_path_could_keep_is_told_also_where_all_are_full() {
    let mut network = triangle();
    for port in [PortRef::new(1, 2), PortRef::new(1, 3)] {
        network.take(port, 9_000, window(0, 10 * SECOND));
    }
    let bounded = Ask {
        bounds: Bounds {
            hops: Some(1),
            delay_ms: None,
        },
        ..ask(1, 3, 1)
    };
    let (asked, fewest) = (1, 2);
    let refusal = network.find(&bounded).unwrap_err();
    assert_eq!(refusal, Reason::TooManyHops { asked, fewest }.into());
}

#[test]
fn what_is_drained_is_passed_by_and_what_is_there_stays_until_it_moves() {
    let mut network = triangle();
    let direct = PortRef::new(1, 3);
    let first = ask(1, 3, 4_000);
    let path = network.find(&first).unwrap();
    let id = CommitmentId(99);
    network
        .book
        .commit(id, &first.commitment(&path, 0))
        .unwrap();

    network.book.drain(direct.switch, Some(direct.port), true);
    assert_eq!(network.book.on_link_by_value(direct), [id]);
    let around = network.find(&ask(1, 3, 1_000)).unwrap();
    assert_eq!(switches(&around), [1, 2, 3]);
    network.book.drain(SwitchId(2), None, true);
    let refusal = network.find(&ask(1, 3, 1_000)).unwrap_err();
    assert_eq!(refusal, Reason::Drained { link: direct }.into());

    network.book.drain(SwitchId(2), None, false);
    let moving = Ask {
        replacing: Some(id),
        ..first
    };
    let around = network.find(&moving).unwrap();
    assert_eq!(switches(&around), [1, 2, 3]);
    // Make before break: on both for a moment, the drained one included.
    let mut both = moving.commitment(&around, 0);
    both.path = both.path.iter().copied().chain([direct]).collect();
    network.book.replace(id, &both).unwrap();
    network
        .book
        .replace(id, &moving.commitment(&around, 0))
        .unwrap();
    assert_eq!(network.book.on_link_by_value(direct), []);
    network.book.drain(direct.switch, Some(direct.port), false);
    assert_eq!(switches(&network.find(&moving).unwrap()), [1, 3]);
}

#[test]
fn parallel_links_are_sold_one_by_one_and_a_link_back_to_its_switch_is_no_way() {
    let mut network = triangle();
    network.lay((1, 3, true, 10));
    network.lay((1, 1, false, 10));
    let (first, second) = (PortRef::new(1, 3), PortRef::new(1, 13));
    for link in [first, second] {
        let ask = ask(1, 3, 9_000);
        let path = network.find(&ask).unwrap();
        assert_eq!(path.egress_ports().next(), Some(link));
        network.take(link, 9_000, window(0, 10 * SECOND));
    }
    let around = network.find(&ask(1, 3, 9_000)).unwrap();
    assert_eq!(switches(&around), [1, 2, 3]);
    let to_oneself = network.find(&ask(1, 1, 1)).unwrap();
    assert_eq!(to_oneself.egress_ports().collect::<Vec<_>>(), [edge(1)]);
}

#[test]
fn an_ask_at_the_end_of_time_or_before_now_is_refused_and_no_panic() {
    let mut network = triangle();
    let past = network.book.horizon();
    network.book.advance(past);
    let refusal = network.find(&ask(1, 3, 1)).unwrap_err();
    assert_eq!(refusal, Reason::Past.into());
    let last = Time::from_millis(u64::MAX);
    let at_the_end = Ask {
        window: Window::new(Time::from_millis(u64::MAX - 1), last).unwrap(),
        ..ask(1, 3, u32::MAX)
    };
    let horizon = network.book.horizon();
    let refusal = network.find(&at_the_end).unwrap_err();
    assert_eq!(refusal, Reason::BeyondHorizon { horizon }.into());
    network.book.advance(Time::from_millis(u64::MAX - 1));
    let refusal = network.find(&at_the_end).unwrap_err();
    let offer = refusal.offer.unwrap();
    assert_eq!(offer.highest_rate_now, Some(SoldRate(9_000)));
    assert_eq!(offer.earliest_start, None);
}

#[test]
fn a_bound_read_from_json_may_be_left_out_and_is_never_misspelt() {
    let json = serde_json::to_value(ask(1, 3, 1)).unwrap();
    let mut without = json.clone();
    without.as_object_mut().unwrap().remove("bounds");
    assert_eq!(
        serde_json::from_value::<Ask>(without).unwrap(),
        ask(1, 3, 1)
    );
    let wrong = serde_json::from_str::<Bounds>(r#"{"hop": 3}"#);
    assert!(wrong.is_err());
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

/// Every path on which the flow fits, whatever the bounds.
fn fitting(network: &Network, ask: &Ask) -> Vec<Path> {
    let fits = |path: &Path| {
        let mut book = network.book.clone();
        let commitment = ask.commitment(path, 0);
        let is_open = path.egress_ports().all(|port| !book.is_drained(port));
        is_open
            && match ask.replacing {
                Some(id) => book.replace(id, &commitment).is_ok(),
                None => book.commit(CommitmentId(u64::MAX), &commitment).is_ok(),
            }
    };
    let mut paths = all_paths(&network.topology, ask.from, ask.to);
    paths.retain(fits);
    paths
}

/// Every path over links on which something is sold at all.
fn for_sale(network: &Network, ask: &Ask) -> Vec<Path> {
    let mut paths = all_paths(&network.topology, ask.from, ask.to);
    let is_sold = |port| network.book.plan(port).is_some() && !network.book.is_drained(port);
    paths.retain(|path| path.egress_ports().all(is_sold));
    paths
}

fn is_short(path: &Path, bounds: Bounds) -> bool {
    bounds
        .hops
        .is_none_or(|most| path.hops.len() <= most as usize)
}

fn delay_ms(network: &Network, path: &Path, class: Class) -> u64 {
    let bound = network.book.delay_bound_ms(path.egress_ports(), class);
    bound.unwrap()
}

/// The best path by trying all: the fewest hops, then the lowest ports.
fn brute_force(network: &Network, ask: &Ask) -> Option<Path> {
    let is_fast = |path: &Path| {
        let most = ask.bounds.delay_ms;
        most.is_none_or(|most| delay_ms(network, path, ask.class) <= most)
    };
    let paths = fitting(network, ask).into_iter();
    let paths = paths.filter(|path| is_short(path, ask.bounds) && is_fast(path));
    paths.min_by_key(|path| {
        (
            path.hops.len(),
            path.egress_ports()
                .map(|port| port.port)
                .collect::<Vec<PortNo>>(),
        )
    })
}

/// Which bound is in the way, by trying all paths.
fn bound_in_the_way(network: &Network, ask: &Ask) -> Option<Reason> {
    let not_kept = |paths: Vec<Path>| {
        let fewest = paths.iter().map(|path| path.hops.len()).min()?;
        let fewest = u32::try_from(fewest).unwrap();
        if let Some(asked) = ask.bounds.hops.filter(|most| *most < fewest) {
            return Some(Reason::TooManyHops { asked, fewest });
        }
        let short = paths.iter().filter(|path| is_short(path, ask.bounds));
        let least_ms = short.map(|path| delay_ms(network, path, ask.class)).min()?;
        let asked_ms = ask.bounds.delay_ms?;
        (least_ms > asked_ms).then_some(Reason::TooMuchDelay { asked_ms, least_ms })
    };
    not_kept(fitting(network, ask)).or_else(|| not_kept(for_sale(network, ask)))
}

/// A link, whether it is a second one between the same switches, and how fast it is, in Mbit/s.
type Cable = (u32, u32, bool, u64);

fn network() -> impl Strategy<Value = Network> {
    let switch = || 1..=SWITCHES;
    let mbit = prop::sample::select(vec![5, 10, 10, 20]);
    let links = prop::collection::vec((switch(), switch(), any::<bool>(), mbit), 1..10);
    let loads = prop::collection::vec(
        (
            any::<prop::sample::Index>(),
            1_u32..9_000,
            0..40_u64,
            1..40_u64,
            any::<bool>(),
            any::<bool>(),
        ),
        0..25,
    );
    let some = || prop::collection::vec(any::<prop::sample::Index>(), 0..2);
    let shares = prop::collection::vec((any::<prop::sample::Index>(), 0..1_000_u16), 0..2);
    (links, loads, some(), some(), shares).prop_map(|(links, loads, unknown, drained, shares)| {
        let mut network = Network::new(&[], 0);
        for switch in 1..=SWITCHES {
            network.topology.add_switch(SwitchId(switch.into()));
            network.set_capacity(edge(switch.into()), 20_000_000);
        }
        for cable in links {
            network.lay(cable);
        }
        let ports: Vec<_> = network.topology.links().map(|(from, _)| from).collect();
        for (id, (port, kbps, start, length, unpaid, steady)) in loads.into_iter().enumerate() {
            let class = if steady {
                Class::Steady
            } else {
                Class::Elastic
            };
            let commitment = Commitment {
                path: [*port.get(&ports)].into(),
                class,
                rate: SoldRate(kbps),
                burst: class.burst(SoldRate(kbps)),
                window: window(start * SECOND, (start + length) * SECOND),
                ingress: edge(1 + id as u64 % 3),
                unpaid,
                hold: HoldTerms::default(),
                value: 0,
            };
            let _ = network.book.commit(CommitmentId(id as u64), &commitment); // what does not fit is left out
        }
        for port in unknown {
            let port = *port.get(&ports);
            network.topology.clear_capacity(port);
            network.book.clear_capacity(port);
        }
        for port in drained {
            let PortRef { switch, port } = *port.get(&ports);
            let all = port.0 > SWITCHES;
            network.book.drain(switch, (!all).then_some(port), true);
        }
        for (port, share) in shares {
            let share = PerMille::new(share).unwrap();
            network.book.set_share(*port.get(&ports), share);
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
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_search_finds_what_brute_force_finds(
        network in network(),
        from in 1..=SWITCHES,
        to in 1..=SWITCHES,
        kbps in 1_u32..9_500,
        start in 0..30_u64,
        length in 1..30_u64,
        unpaid: bool,
        steady: bool,
        hops in prop::option::of(0..5_u32),
        delay_ms in prop::option::of(0..900_u64),
        replacing in prop::option::weighted(0.2, 0..25_u64),
    ) {
        let window = window(start * SECOND, (start + length) * SECOND);
        let replacing = replacing.map(CommitmentId);
        let bounds = Bounds { hops, delay_ms };
        let class = if steady { Class::Steady } else { Class::Elastic };
        let ask = Ask { class, window, unpaid, bounds, replacing, ..ask(from.into(), to.into(), kbps) };
        let expected = brute_force(&network, &ask);
        match network.find(&ask) {
            Ok(path) => prop_assert_eq!(Some(path), expected),
            Err(refusal) => {
                prop_assert_eq!(expected, None, "{}", refusal);
                match bound_in_the_way(&network, &ask) {
                    Some(reason) => prop_assert_eq!(&refusal.reason, &reason),
                    None => {
                        let is_bound = matches!(refusal.reason, Reason::TooManyHops { .. } | Reason::TooMuchDelay { .. });
                        prop_assert!(!is_bound, "{}", refusal);
                    }
                }
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
                if !unpaid && replacing.is_none() {
                    for second in start..last.millis() / SECOND {
                        prop_assert_eq!(at(Time::from_millis(second * SECOND)), None, "fits at {}", second);
                    }
                }
            }
        }
    }
}
