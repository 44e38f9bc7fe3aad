//! Finding a path on which a flow fits.

use crate::{
    book::{Book, Commitment, CommitmentId, Headroom},
    calendar::Booking,
    class::Class,
    topology::{Path, PortRef, Topology},
    units::{SoldRate, Time, Window},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

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
    book.may_ask(ask.class, ask.window, ask.holder())?;
    let shortest = topology
        .shortest_path(ask.from, ask.to)
        .ok_or(Reason::NoRoute)?;
    let mut rooms = Rooms::new(topology, book, ask, ask.window);
    let Some(reason) = shortest
        .egress_ports()
        .find_map(|port| rooms.refuses(port, ask.rate))
    else {
        return Ok(shortest);
    };
    if let Some(path) = rooms.path(ask.rate) {
        return Ok(path);
    }
    let offer = CounterOffer {
        highest_rate_now: highest_rate(&mut rooms),
        earliest_start: earliest_start(topology, book, ask),
    };
    let some = offer.highest_rate_now.is_some() || offer.earliest_start.is_some();
    Err(Refusal {
        reason,
        offer: some.then_some(offer),
    })
}

/// The highest rate that fits on some path, where the one asked for does not: widest first, from
/// switch to switch.
fn highest_rate(rooms: &mut Rooms<'_>) -> Option<SoldRate> {
    let (topology, ask) = (rooms.topology, rooms.ask);
    let last = rooms.highest(ask.to);
    let mut reached = BTreeSet::new();
    let mut widest = BinaryHeap::from([(last, ask.from.switch)]);
    while let Some((rate, switch)) = widest.pop().filter(|(rate, _)| rate.0 > 0) {
        if switch == ask.to.switch {
            return Some(rate);
        }
        if reached.insert(switch) {
            let links = topology.links_from(switch);
            let onward = links.filter(|(_, next)| !reached.contains(&next.switch));
            widest.extend(onward.map(|(port, next)| (rate.min(rooms.highest(port)), next.switch)));
        }
    }
    None
}

/// From one instant to the next at which a link that stood in the way no longer does. Until then
/// the links that can be reached can only become fewer, so nothing earlier is missed.
fn earliest_start(topology: &Topology, book: &Book, ask: &Ask) -> Option<Time> {
    let duration = ask.window.duration();
    let mut start = ask.window.start().max(book.now());
    for _ in 0..START_STEPS {
        let window =
            Window::lasting(start, duration).filter(|window| window.end() <= book.horizon())?;
        let mut rooms = Rooms::new(topology, book, ask, window);
        if rooms.path(ask.rate).is_some() {
            return Some(start);
        }
        let booking = Booking {
            window,
            class: ask.class,
            rate: ask.rate,
            burst: ask.class.burst(ask.rate),
        };
        let obstacles: Vec<_> = rooms.refusing(ask.rate).collect();
        start = obstacles
            .into_iter()
            .filter_map(|port| book.next_room(port, &booking, ask.replacing))
            .min()?;
    }
    None
}

/// The room on every link that the search has looked at, over one window.
struct Rooms<'a> {
    topology: &'a Topology,
    book: &'a Book,
    ask: &'a Ask,
    window: Window,
    seen: BTreeMap<PortRef, Result<Headroom, Reason>>,
}

impl<'a> Rooms<'a> {
    fn new(topology: &'a Topology, book: &'a Book, ask: &'a Ask, window: Window) -> Self {
        Rooms {
            topology,
            book,
            ask,
            window,
            seen: BTreeMap::new(),
        }
    }

    /// The shortest path on which every link has room for this rate.
    fn path(&mut self, rate: SoldRate) -> Option<Path> {
        let (topology, ask) = (self.topology, self.ask);
        topology.shortest_path_where(ask.from, ask.to, |port| self.refuses(port, rate).is_none())
    }

    fn refuses(&mut self, port: PortRef, rate: SoldRate) -> Option<Reason> {
        let class = self.ask.class;
        refusal(self.room(port), port, class, rate)
    }

    /// The highest rate that this link has room for.
    fn highest(&mut self, port: PortRef) -> SoldRate {
        let class = self.ask.class;
        self.room(port)
            .as_ref()
            .map_or(SoldRate(0), |room| room.highest(class))
    }

    fn room(&mut self, port: PortRef) -> &Result<Headroom, Reason> {
        let Rooms {
            topology,
            book,
            ask,
            window,
            seen,
        } = self;
        let look = || match topology.capacity(port) {
            Some(_) => book.headroom(port, ask.class, *window, ask.holder(), ask.replacing),
            None => Err(Reason::UnknownCapacity { link: port }),
        };
        seen.entry(port).or_insert_with(look)
    }

    /// The links looked at so far that refuse this rate.
    fn refusing(&self, rate: SoldRate) -> impl Iterator<Item = PortRef> + '_ {
        let refuses = move |(port, room): &(&PortRef, &Result<Headroom, Reason>)| {
            refusal(room, **port, self.ask.class, rate).is_some()
        };
        self.seen.iter().filter(refuses).map(|(port, _)| *port)
    }
}

fn refusal(
    room: &Result<Headroom, Reason>,
    port: PortRef,
    class: Class,
    rate: SoldRate,
) -> Option<Reason> {
    match room {
        Ok(room) => room.refuses(port, class, rate, class.burst(rate)),
        Err(reason) => Some(reason.clone()),
    }
}
