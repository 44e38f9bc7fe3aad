//! Finding a path on which a flow fits.

use crate::{
    book::{Book, Commitment, CommitmentId, HoldTerms, Holder},
    calendar::Booking,
    class::Class,
    graph::{Budget, Graph},
    topology::{Path, PortRef, Topology},
    units::{SoldRate, Time, Window},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BinaryHeap;

pub use crate::refusal::{CounterOffer, Reason, Refusal};

/// How many instants the search for an earliest start looks at before it gives up.
const START_STEPS: usize = 16;

const NEVER: Time = Time::from_millis(u64::MAX);

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
    /// What the limits of unpaid holds look at beside it.
    #[serde(default)]
    pub hold: HoldTerms,
    /// What the path may be like at most.
    #[serde(default)]
    pub bounds: Bounds,
}

/// What a path may be like at most; by default like any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The most hops. A path of one hop leads through one switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<u32>,
    /// The highest [`Book::delay_bound_ms`], in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
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
            hold: self.hold.clone(),
            value,
        }
    }

    fn asker(&self) -> Option<PortRef> {
        self.unpaid.then_some(self.asker)
    }

    fn holder(&self, link: PortRef) -> Option<Holder> {
        let asker = self.asker()?;
        Some(self.hold.holder(asker, link))
    }
}

/// The path with the fewest hops among those on which the flow fits over the whole window and that keep the bounds asked for,
/// the one with the lowest ports among equals. Committing it at once succeeds. Both ports may be on one switch: a path of one
/// hop. The search is exact: where there is such a path, it is found.
///
/// # Errors
///
/// The first of these: not for sale, past, beyond the horizon, cooling down, no route; a bound, if the flow fits on some path,
/// or none could keep that bound; then the reason of the first link that refuses on the shortest path. The last two come with a
/// counter-offer. A link whose capacity the topology or the book does not know is not for sale.
pub fn find_path(topology: &Topology, book: &Book, ask: &Ask) -> Result<Path, Refusal> {
    search(topology, book, ask, |mut rooms| {
        let offer = CounterOffer {
            highest_rate_now: highest_rate(&mut rooms),
            earliest_start: earliest_start(rooms),
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
    search(topology, book, ask, |_| None).map_err(|refusal| refusal.reason)
}

fn search(
    topology: &Topology,
    book: &Book,
    ask: &Ask,
    counter_offer: impl FnOnce(Rooms<'_>) -> Option<CounterOffer>,
) -> Result<Path, Refusal> {
    book.may_ask(ask.class, ask.window, ask.asker())?;
    let graph = topology.graph();
    let ends = [ask.from.switch, ask.to.switch].map(|switch| graph.number(switch));
    let [Some(from), Some(to)] = ends else {
        return Err(Reason::NoRoute.into());
    };
    let shortest = graph.shortest(from, to).ok_or(Reason::NoRoute)?;
    let course = Course {
        topology,
        graph,
        book,
        ask,
        from,
        to,
    };
    let mut rooms = Rooms::new(course, ask.window);
    let mut links = shortest.iter().copied().chain([course.last()]);
    let ports = links.clone().map(|link| course.port(link));
    book.fetch(ports, ask.class, ask.window);
    let full = links.find_map(|link| rooms.look(link).err());
    if full.is_none() && course.is_within_bounds(&shortest) {
        return Ok(topology.path(ask.from, &shortest, ask.to));
    }
    if let Some(way) = rooms.way() {
        return Ok(topology.path(ask.from, &way, ask.to));
    }
    let reason = rooms.bound_in_the_way().or(full).unwrap_or(Reason::NoRoute);
    let offer = counter_offer(rooms);
    Err(Refusal { reason, offer })
}

/// The highest rate that fits on some path, where the one asked for does not.
fn highest_rate(rooms: &mut Rooms<'_>) -> Option<SoldRate> {
    let widest = widest(rooms)?;
    let course = rooms.course;
    if course.ask.bounds == Bounds::default() {
        return Some(widest);
    }
    // It is the rate of some link. What a path may be like does not depend on it, so what fits also fits at every lower one.
    let of_links: Vec<_> = (0..=course.last())
        .map(|link| rooms.highest(link))
        .collect();
    let mut rates: Vec<_> = of_links
        .iter()
        .copied()
        .filter(|rate| rate.0 > 0 && *rate <= widest)
        .collect();
    rates.sort_unstable();
    rates.dedup();
    let fits = |rate: &SoldRate| course.way(|link| of_links[link] >= *rate).is_some();
    let fitting = rates.partition_point(fits);
    fitting.checked_sub(1).map(|highest| rates[highest])
}

/// The highest rate up to the one asked for that fits on some path, whatever the bounds: widest first, from switch to switch.
fn widest(rooms: &mut Rooms<'_>) -> Option<SoldRate> {
    let Course {
        graph, from, to, ..
    } = rooms.course;
    let last = rooms.highest(rooms.course.last());
    let mut reached = vec![false; graph.switches()];
    let mut widest = BinaryHeap::from([(last, from)]);
    while let Some((rate, switch)) = widest.pop().filter(|(rate, _)| rate.0 > 0) {
        if switch == to {
            return Some(rate);
        }
        if std::mem::replace(&mut reached[switch], true) {
            continue;
        }
        for link in graph.leaving(switch) {
            let next = graph.links()[link].to();
            if !reached[next] {
                widest.push((rate.min(rooms.highest(link)), next));
            }
        }
    }
    None
}

/// From one instant to the next at which a link that stood in the way no longer does. Until then
/// the links that can be reached can only become fewer, so nothing earlier is missed.
fn earliest_start(mut rooms: Rooms<'_>) -> Option<Time> {
    let course = rooms.course;
    let Course { book, ask, .. } = course;
    let duration = ask.window.duration();
    if ask.window.start() < book.now() {
        rooms = rooms.at(Window::lasting(book.now(), duration)?)?;
    } else {
        rooms.is_searched = true;
    }
    for _ in 0..START_STEPS {
        if !rooms.is_searched && rooms.way().is_some() {
            return Some(rooms.booking.window.start());
        }
        let later = rooms.next_room()?;
        rooms = rooms.at(Window::lasting(later, duration)?)?;
    }
    None
}

/// What is asked for, and where. Links go by their numbers in the graph; the one after them is that towards the destination.
#[derive(Clone, Copy)]
struct Course<'a> {
    topology: &'a Topology,
    graph: &'a Graph,
    book: &'a Book,
    ask: &'a Ask,
    /// The first switch.
    from: usize,
    /// The last one.
    to: usize,
}

impl Course<'_> {
    /// The link towards the destination.
    fn last(&self) -> usize {
        self.graph.links().len()
    }

    fn port(&self, link: usize) -> PortRef {
        let links = self.graph.links();
        links.get(link).map_or(self.ask.to, |link| link.egress)
    }

    /// The shortest way over usable links, the last one included, that keeps the bounds.
    fn way(&self, mut usable: impl FnMut(usize) -> bool) -> Option<Vec<usize>> {
        if !usable(self.last()) {
            return None;
        }
        let way = self
            .graph
            .shortest_where(self.from, self.to, &mut usable)
            .filter(|way| self.most_links().is_some_and(|most| way.len() <= most))?;
        if self.is_within_bounds(&way) {
            return Some(way);
        }
        let last = self.delay_ns(self.last())?;
        let budget = Budget {
            links: self.most_links()?,
            cost: self.most_ns().checked_sub(last)?,
        };
        let cost = |link| usable(link).then(|| self.delay_ns(link)).flatten();
        self.graph.shortest_within(self.from, self.to, budget, cost)
    }

    /// Without the link towards the destination. `None` if not even that one may be taken.
    fn most_links(&self) -> Option<usize> {
        let hops = self.ask.bounds.hops.unwrap_or(u32::MAX);
        hops.checked_sub(1).map(|links| links as usize)
    }

    fn most_ns(&self) -> u64 {
        let ms = self.ask.bounds.delay_ms.unwrap_or(u64::MAX);
        // The last number of all stands for what there is not.
        ms.saturating_mul(1_000_000).min(u64::MAX - 1)
    }

    fn is_within_bounds(&self, way: &[usize]) -> bool {
        let is_short = self.most_links().is_some_and(|most| way.len() <= most);
        let is_fast = || {
            let mut links = way.iter().copied().chain([self.last()]);
            let sum = links.try_fold(0_u64, |sum, link| sum.checked_add(self.delay_ns(link)?));
            sum.is_some_and(|sum| sum <= self.most_ns())
        };
        is_short && (self.ask.bounds.delay_ms.is_none() || is_fast())
    }

    /// What a link adds to the bound on the delay; `None` if its class is guaranteed nothing there.
    fn delay_ns(&self, link: usize) -> Option<u64> {
        let plan = self.book.plan(self.port(link))?;
        u64::try_from(plan.delay_ns(self.ask.class)?).ok()
    }

    /// The bound that no way over usable links keeps, and the best that one has; `None` if one keeps them all, or there is none.
    fn bound_not_kept(&self, mut usable: impl FnMut(usize) -> bool) -> Option<Reason> {
        let Bounds { hops, delay_ms } = self.ask.bounds;
        if !usable(self.last()) {
            return None;
        }
        let shortest = self.graph.shortest_where(self.from, self.to, &mut usable)?;
        let fewest = u32::try_from(shortest.len() + 1).unwrap_or(u32::MAX);
        if let Some(asked) = hops.filter(|most| *most < fewest) {
            return Some(Reason::TooManyHops { asked, fewest });
        }
        let asked_ms = delay_ms?;
        let cost = |link| usable(link).then(|| self.delay_ns(link)).flatten();
        let least = self
            .graph
            .least_cost(self.from, self.to, self.most_links()?, cost)?
            .checked_add(self.delay_ns(self.last())?)?;
        let least_ms = least.div_ceil(1_000_000);
        (least_ms > asked_ms).then_some(Reason::TooMuchDelay { asked_ms, least_ms })
    }

    /// Whether anything at all is sold on a link.
    fn is_for_sale(&self, link: usize) -> bool {
        let port = self.port(link);
        let is_known = self.topology.capacity(port).is_some() && self.book.plan(port).is_some();
        is_known && !self.book.is_drained(port)
    }
}

/// Which links have room for what is asked, as far as the search has looked, over one window.
struct Rooms<'a> {
    course: Course<'a>,
    booking: Booking,
    /// By link.
    has_room: Vec<Option<bool>>,
    /// By link: the instant before which windows that begin after this one have no room, as far as that is known.
    full_until: Vec<Time>,
    /// It is known that there is no way.
    is_searched: bool,
}

impl<'a> Rooms<'a> {
    fn new(course: Course<'a>, window: Window) -> Self {
        let ask = course.ask;
        Rooms {
            course,
            booking: Booking {
                window,
                class: ask.class,
                rate: ask.rate,
                burst: ask.class.burst(ask.rate),
            },
            has_room: vec![None; course.last() + 1],
            full_until: Vec::new(),
            is_searched: false,
        }
    }

    /// The same, later. `None` beyond the horizon.
    fn at(self, window: Window) -> Option<Self> {
        let is_near = window.end() <= self.course.book.horizon();
        is_near.then(|| Rooms {
            full_until: self.full_until,
            ..Rooms::new(self.course, window)
        })
    }

    /// The shortest way on which every link has room, the last one included, and that keeps the bounds.
    fn way(&mut self) -> Option<Vec<usize>> {
        let course = self.course;
        course.way(|link| self.has_room(link))
    }

    /// The bound that is not kept where the flow fits; where it fits on no path, the one that no path keeps however empty it is.
    fn bound_in_the_way(&mut self) -> Option<Reason> {
        let course = self.course;
        if course.ask.bounds == Bounds::default() {
            return None;
        }
        course
            .bound_not_kept(|link| self.has_room(link))
            .or_else(|| course.bound_not_kept(|link| course.is_for_sale(link)))
    }

    fn has_room(&mut self, link: usize) -> bool {
        match self.has_room[link] {
            Some(has_room) => has_room,
            None if self.is_known_full(link) => {
                self.has_room[link] = Some(false);
                false
            }
            None => self.look(link).is_ok(),
        }
    }

    fn is_known_full(&self, link: usize) -> bool {
        let until = self.full_until.get(link);
        until.is_some_and(|until| self.booking.window.start() < *until)
    }

    /// Why there is no room.
    fn look(&mut self, link: usize) -> Result<(), Reason> {
        let Course {
            topology,
            book,
            ask,
            ..
        } = self.course;
        let port = self.course.port(link);
        let result = match topology.capacity(port) {
            _ if book.is_drained(port) => Err(Reason::Drained { link: port }),
            Some(_) => book.admits(port, &self.booking, ask.holder(port), ask.replacing),
            None => Err(Reason::UnknownCapacity { link: port }),
        };
        self.has_room[link] = Some(result.is_ok());
        result
    }

    /// The highest rate that there is room for, up to the one asked for: most links have room for that, and need not be measured.
    fn highest(&mut self, link: usize) -> SoldRate {
        let Course { book, ask, .. } = self.course;
        if self.has_room(link) {
            return ask.rate;
        }
        if !self.course.is_for_sale(link) {
            return SoldRate(0);
        }
        let (port, window) = (self.course.port(link), self.booking.window);
        book.headroom(port, ask.class, window, ask.holder(port), ask.replacing)
            .map_or(SoldRate(0), |room| room.highest(ask.class))
    }

    /// The first instant at which one of the links that stood in the way has room.
    fn next_room(&mut self) -> Option<Time> {
        let course = self.course;
        self.full_until.resize(self.has_room.len(), Time::default());
        let full = (0..self.has_room.len()).filter(|link| self.has_room[*link] == Some(false));
        let full: Vec<_> = full.collect();
        let later = full.into_iter().filter_map(|link| {
            if !self.is_known_full(link) {
                if !course.is_for_sale(link) {
                    self.full_until[link] = NEVER;
                    return None;
                }
                let port = course.port(link);
                let (next, is_exact) =
                    course
                        .book
                        .next_room(port, &self.booking, course.ask.replacing);
                if !is_exact {
                    return next;
                }
                self.full_until[link] = next.unwrap_or(NEVER);
            }
            Some(self.full_until[link]).filter(|until| *until != NEVER)
        });
        later.min()
    }
}
