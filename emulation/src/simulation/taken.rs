//! How much of each link is taken, by the text of the journal alone.

use std::collections::{BTreeMap, BTreeSet};

use payflow_qos::{Path, PortRef, Time};
use serde::Deserialize;
use serde_json::Value;

use super::disk::Disk;

/// So long after a flow has moved, its capacity may still be taken where it was.
const LEAVES_MS: u64 = 70_000;

/// Every quote in the journal, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    quotes: BTreeMap<u64, Quote>,
    /// What the ports are called.
    names: BTreeMap<PortRef, String>,
    /// The first of all reservations that take each other's place, for everyone that is not that itself.
    roots: BTreeMap<u64, u64>,
    /// Who was given which path: by the first reservation of its flow and the path's generation.
    carriers: BTreeMap<(u64, u16), u64>,
    /// Whose place a reservation takes.
    replaces: BTreeMap<u64, u64>,
    /// Those whose place another one has taken.
    replaced: BTreeSet<u64>,
    /// Those that have no path.
    displaced: BTreeSet<u64>,
    /// What payments have bought, each all at once.
    pub bought: Vec<Vec<u64>>,
    /// How often a port got another number.
    pub renumbered: u64,
    records_read: usize,
}

#[derive(Clone, Debug)]
struct Quote {
    path: Vec<PortRef>,
    /// Links that it has left, and until when they may be taken.
    left: Vec<(PortRef, u64)>,
    moves: u64,
    /// What the ports on the path, and the one where packets enter, were called when it was issued, or moved there.
    names: Vec<Option<String>>,
    entered: Option<String>,
    rate_bps: u64,
    is_steady: bool,
    price: u64,
    /// When it was recorded that nobody pays for it, or that it is settled: nothing is kept for it after that.
    over_at: Option<u64>,
}

impl Taken {
    /// Reads what has become durable since the last time.
    pub fn read(&mut self, disk: &Disk) {
        for text in disk.texts(self.records_read) {
            self.records_read += 1;
            let record: Value = serde_json::from_str(text).unwrap_or_default();
            let several = match record["record"].as_str() {
                Some("group_issued") => record["quotes"].as_array(),
                Some("group_paid" | "bought_from_account") => record["members"].as_array(),
                _ => None,
            };
            if let Some(several) = several {
                let mut bought = Vec::new();
                for one in several {
                    let number = one["number"].as_u64().unwrap_or_default();
                    if one.get("quote").is_some() {
                        self.quoted(number, one);
                    } else {
                        self.paid(number);
                        bought.push(number);
                    }
                }
                if !bought.is_empty() {
                    self.bought.push(bought);
                }
                continue;
            }
            let Some(number) = record["number"].as_u64() else {
                self.name(&record);
                self.renumber(&record);
                continue;
            };
            let over = match record["record"].as_str() {
                Some("quote_issued") => {
                    self.quoted(number, &record);
                    false
                }
                Some("paid") => {
                    self.paid(number);
                    self.bought.push(vec![number]);
                    false
                }
                Some("activated") => {
                    self.replaced.extend(self.replaces.get(&number));
                    false
                }
                Some("moved") => {
                    self.moved(number, &record);
                    false
                }
                Some("displaced") => {
                    self.displaced.insert(number);
                    false
                }
                Some("ended") => record["cause"] == "unpaid",
                // What a switch may still carry stays booked.
                Some("settled" | "settled_to_account") => record["lingers"] != true,
                Some("cleared") => true,
                _ => false,
            };
            if let Some(quote) = self.quotes.get_mut(&number).filter(|_| over) {
                quote.over_at = record["at"].as_u64();
            }
        }
    }

    fn quoted(&mut self, number: u64, issued: &Value) {
        let document = &issued["quote"]["document"];
        let path: Vec<_> = Vec::deserialize(&document["path"]).unwrap_or_default();
        let called = |port: &PortRef| self.names.get(port).cloned();
        let ingress = PortRef::deserialize(&issued["ingress"]).ok();
        let quote = Quote {
            names: path.iter().map(called).collect(),
            entered: ingress.as_ref().and_then(called),
            path,
            left: Vec::new(),
            moves: 0,
            rate_bps: document["rate_bps"].as_u64().unwrap_or_default(),
            is_steady: document["class"] == "steady",
            price: document["payment"]["price"].as_u64().unwrap_or_default(),
            over_at: None,
        };
        self.quotes.insert(number, quote);
        if let Some(replaces) = issued["replaces"].as_u64() {
            self.roots.insert(number, self.root(replaces));
            self.replaces.insert(number, replaces);
        }
    }

    fn paid(&mut self, number: u64) {
        let next = self.last_generation(number).map_or(0, |last| last + 1);
        self.carriers.insert((self.root(number), next), number);
    }

    fn moved(&mut self, number: u64, record: &Value) {
        let path = Path::deserialize(&record["path"]);
        let links: Vec<_> = path.iter().flat_map(Path::egress_ports).collect();
        let ingress = PortRef::deserialize(&record["ingress"]).ok();
        let until = record["at"].as_u64().unwrap_or_default() + LEAVES_MS;
        let generation = record["generation"].as_u64().map(u16::try_from);
        if let Some(Ok(generation)) = generation {
            let path = (self.root(number), generation);
            self.carriers.insert(path, number);
        }
        self.displaced.remove(&number);
        let called = |port: &PortRef| self.names.get(port).cloned();
        if let Some(quote) = self.quotes.get_mut(&number) {
            quote.moves += 1;
            quote.names = links.iter().map(called).collect();
            quote.entered = ingress.as_ref().and_then(called);
            let before = std::mem::replace(&mut quote.path, links);
            quote
                .left
                .extend(before.into_iter().map(|link| (link, until)));
        }
    }

    fn last_generation(&self, number: u64) -> Option<u16> {
        let root = self.root(number);
        let paths = self.carriers.range((root, 0)..=(root, u16::MAX));
        paths.last().map(|((_, generation), _)| *generation)
    }

    /// Whose place a reservation takes.
    #[must_use]
    pub fn whose_place(&self, number: u64) -> Option<u64> {
        self.replaces.get(&number).copied()
    }

    /// What it costs.
    #[must_use]
    pub fn price(&self, number: u64) -> u64 {
        self.quotes.get(&number).map_or(0, |quote| quote.price)
    }

    /// The first of the reservations that take each other's place.
    #[must_use]
    pub fn root(&self, number: u64) -> u64 {
        self.roots.get(&number).copied().unwrap_or(number)
    }

    /// Which reservation was given this path.
    #[must_use]
    pub fn carrier(&self, root: u64, generation: u16) -> Option<u64> {
        self.carriers.get(&(root, generation)).copied()
    }

    /// Whether any path of a flow is written down.
    #[must_use]
    pub fn is_carried(&self, root: u64) -> bool {
        self.carriers.contains_key(&(root, 0))
    }

    /// Whether another reservation has taken its place.
    #[must_use]
    pub fn is_replaced(&self, number: u64) -> bool {
        self.replaced.contains(&number)
    }

    /// Whether it has no path.
    #[must_use]
    pub fn is_displaced(&self, number: u64) -> bool {
        self.displaced.contains(&number)
    }

    /// How often a flow has moved.
    #[must_use]
    pub fn moves(&self, number: u64) -> u64 {
        self.quotes.get(&number).map_or(0, |quote| quote.moves)
    }

    fn name(&mut self, record: &Value) {
        let port = PortRef::deserialize(&record["port"]);
        if let (Some("port_named"), Ok(port), Some(name)) =
            (record["record"].as_str(), port, record["name"].as_str())
        {
            self.names.insert(port, name.to_owned());
        }
    }

    /// What the ports were called through which a flow leads out of switches, and the one where it enters, when it was
    /// quoted, or has moved there.
    #[must_use]
    pub fn names(&self, number: u64) -> Option<(Vec<Option<String>>, Option<String>)> {
        let quote = self.quotes.get(&number)?;
        Some((quote.names.clone(), quote.entered.clone()))
    }

    /// What is taken of a port follows it when it has another number.
    fn renumber(&mut self, record: &Value) {
        let ends = [&record["from"], &record["to"]].map(PortRef::deserialize);
        if let ("port_renumbered", [Ok(from), Ok(to)]) =
            (record["record"].as_str().unwrap_or_default(), ends)
        {
            self.renumbered += 1;
            if let Some(name) = self.names.remove(&from) {
                self.names.insert(to, name);
            }
            let living = self.quotes.values_mut().filter(|it| it.over_at.is_none());
            let links = living.flat_map(|quote| {
                let left = quote.left.iter_mut().map(|(link, _)| link);
                quote.path.iter_mut().chain(left)
            });
            for link in links {
                if *link == from {
                    *link = to;
                }
            }
        }
    }

    /// The most that can be taken of a link then: the rates of all quotes that were not over before; and those of steady flows.
    #[must_use]
    pub fn of(&self, link: PortRef, at: Time) -> [u64; 2] {
        let needs = |quote: &&Quote| {
            let over = quote.over_at.is_some_and(|over_at| over_at < at.millis());
            let left = |(left, until): &(PortRef, u64)| *left == link && at.millis() < *until;
            (quote.path.contains(&link) || quote.left.iter().any(left)) && !over
        };
        // Until a change has begun, its whole path has to carry what it replaces, too.
        let most = |(number, quote): (&u64, &Quote)| {
            let replaces = self.replaces.get(number).and_then(|it| self.quotes.get(it));
            let before = replaces.map_or(0, |it| it.rate_bps);
            before.max(quote.rate_bps)
        };
        let taken = self.quotes.iter().filter(|(_, quote)| needs(quote));
        let steady = taken.clone().filter(|(_, quote)| quote.is_steady);
        [taken.map(most).sum(), steady.map(most).sum()]
    }
}
