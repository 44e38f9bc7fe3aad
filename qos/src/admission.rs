//! Finding a path on which a flow fits.

use crate::{
    book::{Book, Commitment, CommitmentId},
    calendar::Booking,
    class::Class,
    graph::Graph,
    topology::{Path, PortRef, Topology},
    units::{SoldRate, Time, Window},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, BinaryHeap};

pub use crate::refusal::{CounterOffer, Reason, Refusal};

/// How many instants the search for an earliest start looks at before it gives up.
const START_STEPS: usize = 16;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The edge port where packets enter.
    pub from: PortRef,
    /// The edge port where packets leave: the last directed link, towards the destination.
    pub to: PortRef,
    /// Steady or elastic.
    pub class: Class,
    /// The rate. The burst that is booked with it is [`Class::burst`].
    pub rate: SoldRate,
    /// When.
    pub window: Window,
    /// The edge port of whoever asks, often one of the two: answerable for a hold that is not paid.
    pub asker: PortRef,
    /// Whether the commitment will be an unpaid hold, to which the hold limits apply.
    pub unpaid: bool,
    /// A commitment of the same flow that the new one will take the place of ([`Book::replace`]):
    /// what it holds counts as free.
    pub replacing: Option<CommitmentId>,
}

impl Ask {
    /// The commitment that takes what was asked for on this path.
    pub fn commitment(&self, path: &Path, value: u64) -> Commitment {
        Commitment {
            path: path.egress_ports().collect(),
            class: self.class,
            rate: self.rate,
            burst: self.class.burst(self.rate),
            window: self.window,
            ingress: self.asker,
            unpaid: self.unpaid,
            value,
        }
    }

    fn holder(&self) -> Option<PortRef> {
        self.unpaid.then_some(self.asker)
    }
}

/// The path with the fewest hops among those on which the flow fits over the whole window, the one
/// with the lowest ports among equals. Committing it at once succeeds. Both ports may be on one
/// switch: a path of one hop.
///
/// # Errors
///
/// The first of these: not for sale, past, beyond the horizon, cooling down, no route; then the
/// reason of the first link that refuses on the shortest path, with a counter-offer. A link whose
/// capacity the topology or the book does not know is not for sale.
pub fn find_path(topology: &Topology, book: &Book, ask: &Ask) -> Result<Path, Refusal> {
    search(topology, book, ask, |rooms, from, to| {
        let offer = CounterOffer {
            highest_rate_now: highest_rate(rooms, from, to),
            earliest_start: earliest_start(topology, book, ask, from, to),
        };
        let some = offer.highest_rate_now.is_some() || offer.earliest_start.is_some();
        some.then_some(offer)
    })
}

/// [`find_path`] without a counter-offer, which costs more than the path.
///
/// # Errors
///
/// The reason that [`find_path`] tells.
pub fn fitting_path(topology: &Topology, book: &Book, ask: &Ask) -> Result<Path, Reason> {
    search(topology, book, ask, |_, _, _| None).map_err(|refusal| refusal.reason)
}

fn search(
    topology: &Topology,
    book: &Book,
    ask: &Ask,
    counter_offer: impl FnOnce(&Rooms<'_>, usize, usize) -> Option<CounterOffer>,
) -> Result<Path, Refusal> {
    book.may_ask(ask.class, ask.window, ask.holder())?;
    let graph = topology.graph();
    let ends = [ask.from.switch, ask.to.switch].map(|switch| graph.number(switch));
    let [Some(from), Some(to)] = ends else {
        return Err(Reason::NoRoute.into());
    };
    let shortest = graph.shortest(from, to).ok_or(Reason::NoRoute)?;
    let mut rooms = Rooms::new(topology, book, ask, ask.window);
    let mut links = shortest.iter().copied().chain([rooms.last()]);
    let Some(reason) = links.find_map(|link| rooms.look(link).err()) else {
        return Ok(topology.path(ask.from, &shortest, ask.to));
    };
    if let Some(way) = rooms.way(from, to) {
        return Ok(topology.path(ask.from, &way, ask.to));
    }
    let offer = counter_offer(&rooms, from, to);
    Err(Refusal { reason, offer })
}

/// The highest rate that fits on some path, where the one asked for does not: widest first, from
/// switch to switch.
fn highest_rate(rooms: &Rooms<'_>, from: usize, to: usize) -> Option<SoldRate> {
    let graph = rooms.graph;
    let last = rooms.highest(rooms.last());
    let mut reached = BTreeSet::new();
    let mut widest = BinaryHeap::from([(last, from)]);
    while let Some((rate, switch)) = widest.pop().filter(|(rate, _)| rate.0 > 0) {
        if switch == to {
            return Some(rate);
        }
        if reached.insert(switch) {
            let links = graph.leaving(switch);
            let onward = links.map(|link| (link, graph.links()[link].to()));
            let onward = onward.filter(|(_, next)| !reached.contains(next));
            widest.extend(onward.map(|(link, next)| (rate.min(rooms.highest(link)), next)));
        }
    }
    None
}

/// From one instant to the next at which a link that stood in the way no longer does. Until then
/// the links that can be reached can only become fewer, so nothing earlier is missed.
fn earliest_start(
    topology: &Topology,
    book: &Book,
    ask: &Ask,
    from: usize,
    to: usize,
) -> Option<Time> {
    let duration = ask.window.duration();
    let mut start = ask.window.start().max(book.now());
    for _ in 0..START_STEPS {
        let window =
            Window::lasting(start, duration).filter(|window| window.end() <= book.horizon())?;
        let mut rooms = Rooms::new(topology, book, ask, window);
        if rooms.way(from, to).is_some() {
            return Some(start);
        }
        let later = rooms
            .full()
            .filter_map(|port| book.next_room(port, &rooms.booking, ask.replacing));
        start = later.min()?;
    }
    None
}

/// Which links have room for what is asked, as far as the search has looked, over one window. Links go by their numbers in
/// the graph; the one after them is that towards the destination.
struct Rooms<'a> {
    topology: &'a Topology,
    graph: &'a Graph,
    book: &'a Book,
    ask: &'a Ask,
    booking: Booking,
    /// By link.
    has_room: Vec<Option<bool>>,
}

impl<'a> Rooms<'a> {
    fn new(topology: &'a Topology, book: &'a Book, ask: &'a Ask, window: Window) -> Self {
        let graph = topology.graph();
        Rooms {
            topology,
            graph,
            book,
            ask,
            booking: Booking {
                window,
                class: ask.class,
                rate: ask.rate,
                burst: ask.class.burst(ask.rate),
            },
            has_room: vec![None; graph.links().len() + 1],
        }
    }

    /// The link towards the destination.
    fn last(&self) -> usize {
        self.graph.links().len()
    }

    fn port(&self, link: usize) -> PortRef {
        let links = self.graph.links();
        links.get(link).map_or(self.ask.to, |link| link.egress)
    }

    /// The shortest way on which every link has room, the last one included.
    fn way(&mut self, from: usize, to: usize) -> Option<Vec<usize>> {
        if !self.has_room(self.last()) {
            return None;
        }
        let graph = self.graph;
        graph.shortest_where(from, to, |link| self.has_room(link))
    }

    fn has_room(&mut self, link: usize) -> bool {
        match self.has_room[link] {
            Some(has_room) => has_room,
            None => self.look(link).is_ok(),
        }
    }

    /// Why there is no room.
    fn look(&mut self, link: usize) -> Result<(), Reason> {
        let (port, ask) = (self.port(link), self.ask);
        let result = match self.topology.capacity(port) {
            _ if self.book.is_drained(port) => Err(Reason::Drained { link: port }),
            Some(_) => self
                .book
                .admits(port, &self.booking, ask.holder(), ask.replacing),
            None => Err(Reason::UnknownCapacity { link: port }),
        };
        self.has_room[link] = Some(result.is_ok());
        result
    }

    /// The highest rate that there is room for.
    fn highest(&self, link: usize) -> SoldRate {
        let (port, ask, class) = (self.port(link), self.ask, self.ask.class);
        let window = self.booking.window;
        self.topology
            .capacity(port)
            .filter(|_| !self.book.is_drained(port))
            .and_then(|_| {
                let room = self
                    .book
                    .headroom(port, class, window, ask.holder(), ask.replacing);
                room.ok()
            })
            .map_or(SoldRate(0), |room| room.highest(class))
    }

    /// The links looked at so far that have no room.
    fn full(&self) -> impl Iterator<Item = PortRef> + '_ {
        let seen = self.has_room.iter().enumerate();
        let full = seen.filter(|(_, has_room)| **has_room == Some(false));
        full.map(|(link, _)| self.port(link))
    }
}
