//! Networks without switches, and what is asked of them: the same in every run.

use std::{collections::BTreeSet, time::Duration};

use payflow_qos::{
    Ask, BitRate, Bounds, Class, Commitment, HoldTerms, PortRef, SoldRate, SwitchId, Time,
    Topology, Window, book::Book, calendar::Slots,
};

/// The present.
pub const START: Time = Time::from_millis(1_700_000_000_000);
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Of [`backbone_of_197`].
const MARKETS: u64 = 197;
const LINKS: usize = 243;

/// Numbers that are always the same (Knuth's MMIX generator).
pub struct Numbers(pub u64);

impl Numbers {
    /// From 0 up to `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// From 1 s to 1 h, beginning at the present.
    pub fn window_from_now(&mut self) -> Window {
        self.window_at(START)
    }

    /// From 1 s to 1 h, beginning at some time within the next 23 hours.
    pub fn window_ahead(&mut self) -> Window {
        let start = START.plus(Duration::from_millis(self.below(DAY_MS - 3_600_000)));
        self.window_at(start)
    }

    fn window_at(&mut self, start: Time) -> Window {
        let duration = Duration::from_millis(1_000 + self.below(3_599_000));
        Window::lasting(start, duration).expect("it lasts")
    }

    /// A flow of up to 10 Mbit/s from port 1 of one switch to port 1 of another.
    pub fn ask(&mut self, switches: u64, window: Window) -> Ask {
        let from = 1 + self.below(switches);
        let to = 1 + (from + self.below(switches - 1)) % switches;
        let steady = self.below(2) == 0;
        Ask {
            from: PortRef::new(from, 1),
            asker: PortRef::new(from, 1),
            to: PortRef::new(to, 1),
            class: if steady {
                Class::Steady
            } else {
                Class::Elastic
            },
            rate: SoldRate(u32::try_from(64 + self.below(9_936)).expect("small")),
            window,
            unpaid: false,
            hold: HoldTerms::default(),
            replacing: None,
            bounds: Bounds::default(),
        }
    }
}

/// What takes what was asked for on one link alone.
#[must_use]
pub fn on_one_link(link: PortRef, ask: &Ask) -> Commitment {
    Commitment {
        path: [link].into(),
        class: ask.class,
        rate: ask.rate,
        burst: ask.class.burst(ask.rate),
        window: ask.window,
        ingress: ask.from,
        unpaid: ask.unpaid,
        hold: HoldTerms::default(),
        value: 1,
    }
}

/// Switches numbered from 1, each with hosts behind port 1, at 400 Gbit/s, and these links of one capacity, both ways.
#[must_use]
pub fn network(switches: u64, links: &[(u64, u64)], capacity: BitRate) -> (Topology, Book) {
    network_of(Slots::default(), switches, links, capacity)
}

/// [`network`], whose calendars cut time like this.
#[must_use]
pub fn network_of(
    slots: Slots,
    switches: u64,
    links: &[(u64, u64)],
    capacity: BitRate,
) -> (Topology, Book) {
    let (mut topology, mut book) = (Topology::new(), Book::with_slots(slots, START));
    let port = |at: u64, to: u64| PortRef::new(at, u32::try_from(100 + to).expect("small"));
    let edge = BitRate(400_000_000_000);
    for switch in 1..=switches {
        topology.add_switch(SwitchId(switch));
        topology.set_capacity(PortRef::new(switch, 1), edge);
        book.set_capacity(PortRef::new(switch, 1), edge);
    }
    for (a, b) in links.iter().flat_map(|&(a, b)| [(a, b), (b, a)]) {
        topology.add_link(port(a, b), port(b, a));
        topology.set_capacity(port(a, b), capacity);
        book.set_capacity(port(a, b), capacity);
    }
    (topology, book)
}

/// Three switches in a row.
#[must_use]
pub fn line_of_3() -> Vec<(u64, u64)> {
    vec![(1, 2), (2, 3)]
}

/// Eleven switches and fourteen links, as the Abilene backbone had: a ring with three chords.
#[must_use]
pub fn backbone_of_11() -> Vec<(u64, u64)> {
    let ring = (1..=11).map(|switch| (switch, switch % 11 + 1));
    ring.chain([(2, 10), (3, 8), (4, 7)]).collect()
}

/// 197 switches and 243 links, as many as the largest backbones of the Internet Topology Zoo that fit into an emulation:
/// places in a plane, joined by the shortest tree, then, one after another, by the link that saves most for its length.
#[must_use]
pub fn backbone_of_197() -> Vec<(u64, u64)> {
    let mut numbers = Numbers(197);
    let mut place = || (numbers.below(20_000), numbers.below(10_000));
    let places: Vec<(u64, u64)> = (0..MARKETS).map(|_| place()).collect();
    // Squared, which is enough to compare.
    let length = |a: usize, b: usize| {
        let (x, y) = (
            places[a].0.abs_diff(places[b].0),
            places[a].1.abs_diff(places[b].1),
        );
        x * x + y * y + 1
    };
    let all = 0..places.len();
    let mut joined = vec![0];
    let mut links = BTreeSet::new();
    while joined.len() < places.len() {
        let open = all.clone().filter(|it| !joined.contains(it));
        let pairs = open.flat_map(|b| joined.iter().map(move |a| (*a, b)));
        let (a, b) = pairs
            .min_by_key(|(a, b)| length(*a, *b))
            .expect("one is not joined yet");
        links.insert((a.min(b), a.max(b)));
        joined.push(b);
    }
    while links.len() < LINKS {
        let pairs = all.clone().flat_map(|a| {
            let hops = hops(places.len(), &links, a);
            (a + 1..places.len()).map(move |b| (a, b, hops[b]))
        });
        let best = pairs
            .filter(|(a, b, _)| !links.contains(&(*a, *b)))
            .max_by_key(|(a, b, hops)| hops * hops * 1_000_000_000 / length(*a, *b))
            .expect("not all are joined");
        links.insert((best.0, best.1));
    }
    let number = |index: usize| index as u64 + 1;
    let links = links.into_iter();
    links.map(|(a, b)| (number(a), number(b))).collect()
}

/// How many links all others are away.
fn hops(switches: usize, links: &BTreeSet<(usize, usize)>, from: usize) -> Vec<u64> {
    let mut hops = vec![u64::MAX; switches];
    hops[from] = 0;
    let mut reached = vec![from];
    let mut next = 0;
    while let Some(&at) = reached.get(next) {
        next += 1;
        for &(a, b) in links {
            for (here, there) in [(a, b), (b, a)] {
                if here == at && hops[there] == u64::MAX {
                    hops[there] = hops[at] + 1;
                    reached.push(there);
                }
            }
        }
    }
    hops
}
