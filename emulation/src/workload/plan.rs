//! A workload, places and a seed give the sequence of events: a pure function.

use std::collections::BTreeMap;
use std::time::Duration;

use payflow_qos::{BitRate, Class};

use super::file::{Application, Arrivals, Fails, Lasts, Want, Workload};
use super::trace::TraceRow;
use crate::simulation::chance::Chance;
use crate::topology::Wiring;

/// Destination ports of requests begin here, one after another, so that flows of one pair of hosts differ.
const FIRST_PORT: u16 = 1_024;

/// Where requests can come from and go to, and what can fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The network without its hosts.
    pub wiring: Wiring,
    /// Hosts.
    pub hosts: Vec<Host>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The node of the topology that it is, or at whose switch it is.
    pub node: String,
    /// The number of its switch, from 1 on.
    pub switch: u64,
}

/// Everything that happens, in order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The events.
    pub events: Vec<Event>,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, from the beginning.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Somebody wants something.
    Request(Request),
    /// Something fails.
    Fails {
        /// What.
        what: Outage,
        /// For how long.
        lasts: Duration,
    },
}

/// Somebody wants something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Index of the application.
    pub application: usize,
    /// Index of the host that sends, and pays.
    pub from: usize,
    /// Index of the host that receives.
    pub to: usize,
    /// The destination port.
    pub port: u16,
    /// Frame bits per second, at first.
    pub rate: BitRate,
    /// How much.
    pub amount: Amount,
    /// The most it pays for one Mbit/s during one second, in nanos.
    pub value: Option<u64>,
}

/// How much somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Its rate for so long.
    Seconds(u64),
    /// So many bytes, at its rate or at least at this one.
    Bytes(u64, BitRate),
}

/// What fails, found in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Cables, by their places in [`Wiring::cables`].
    Cables(Vec<usize>),
    /// The ledger's node is out of reach.
    Ledger,
    /// The controller is killed.
    Controller,
}

impl Amount {
    /// The class that is bought for it.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Seconds(_) => Class::Steady,
            Self::Bytes(..) => Class::Elastic,
        }
    }

    /// For how many seconds a rate is bought, rounded up: at least one.
    #[must_use]
    pub fn seconds(self, rate: BitRate) -> u64 {
        match self {
            Self::Seconds(seconds) => seconds,
            Self::Bytes(bytes, _) => bytes.saturating_mul(8).div_ceil(rate.0.max(1)).max(1),
        }
    }
}

impl Places {
    /// The hosts of a wiring; if it has none, so many at each switch.
    #[must_use]
    pub fn new(wiring: Wiring, hosts_per_switch: u16) -> Self {
        let mut hosts: Vec<Host> = wiring
            .hosts
            .iter()
            .map(|(node, switch)| Host {
                node: node.clone(),
                switch: *switch,
            })
            .collect();
        if hosts.is_empty() {
            for (switch, node) in (1..).zip(&wiring.switches) {
                let host = Host {
                    node: node.clone(),
                    switch,
                };
                hosts.extend(vec![host; usize::from(hosts_per_switch)]);
            }
        }
        Self { wiring, hosts }
    }

    fn hosts_at(&self, nodes: &[String], what: &str, problems: &mut Vec<String>) -> Vec<usize> {
        if nodes.is_empty() {
            return (0..self.hosts.len()).collect();
        }
        let mut all = Vec::new();
        for node in nodes {
            let at: Vec<usize> = (0..self.hosts.len())
                .filter(|it| self.hosts.get(*it).is_some_and(|host| host.node == *node))
                .collect();
            if at.is_empty() {
                problems.push(format!("{what}: no host is at {node:?}"));
            }
            all.extend(at);
        }
        all
    }

    fn outage(&self, fails: &Fails, problems: &mut Vec<String>) -> Outage {
        let mut switch = |name: &String| {
            let number = (1..).zip(&self.wiring.switches).find(|(_, it)| *it == name);
            if number.is_none() {
                problems.push(format!("failures: there is no switch {name:?}"));
            }
            number.map_or(0, |(number, _)| number)
        };
        let cables = |hit: &dyn Fn(u64, u64) -> bool| -> Vec<usize> {
            let cables = self.wiring.cables.iter().enumerate();
            let hits = cables.filter(|(_, (a, b, _))| hit(*a, *b));
            hits.map(|(at, _)| at).collect()
        };
        match fails {
            Fails::Ledger => Outage::Ledger,
            Fails::Controller => Outage::Controller,
            Fails::Switch(name) => {
                let switch = switch(name);
                Outage::Cables(cables(&|a, b| a == switch || b == switch))
            }
            Fails::Link(ends) => {
                let [x, y] = [switch(&ends[0]), switch(&ends[1])];
                let found = cables(&|a, b| (a, b) == (x, y) || (b, a) == (x, y));
                if found.is_empty() && x != 0 && y != 0 {
                    problems.push(format!(
                        "failures: there is no link between {:?} and {:?}",
                        ends[0], ends[1]
                    ));
                }
                Outage::Cables(found)
            }
        }
    }
}

impl Plan {
    /// What happens. What one application asks for does not change with what the others ask for.
    ///
    /// # Errors
    /// Every name that the network does not have, and every other reason why it cannot be played there.
    pub fn new(workload: &Workload, places: &Places, seed: u64) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut events = Vec::new();
        for (number, application) in workload.applications.iter().enumerate() {
            let name = &application.name;
            if workload
                .applications
                .iter()
                .filter(|it| it.name == *name)
                .count()
                > 1
            {
                problems.push(format!("{name}: two applications have this name"));
            }
            let from = places.hosts_at(&application.from, name, &mut problems);
            let to = places.hosts_at(&application.to, name, &mut problems);
            let crowd = Crowd {
                application,
                number,
                from,
                to,
                seed,
            };
            match &application.arrivals {
                Arrivals::Poisson { requests, shape } => {
                    if !crowd.can_send() {
                        problems.push(format!("{name}: nobody can send to anybody else"));
                        continue;
                    }
                    crowd.poisson(*requests, shape, workload.lasts, &mut events);
                }
                Arrivals::Trace(rows) => crowd.trace(rows, places, &mut events, &mut problems),
            }
        }
        for failure in &workload.failures {
            let what = What::Fails {
                what: places.outage(&failure.what, &mut problems),
                lasts: failure.lasts,
            };
            events.push(Event {
                at: failure.at,
                what,
            });
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        // A stable order: of one instant, applications in the order of the file, then failures.
        events.sort_by_key(|event| event.at);
        let mut ports = (FIRST_PORT..=u16::MAX).cycle();
        for event in &mut events {
            if let (What::Request(request), Some(port)) = (&mut event.what, ports.next()) {
                request.port = port;
            }
        }
        Ok(Self { events })
    }

    /// How many requests there are.
    #[must_use]
    pub fn requests(&self) -> usize {
        let requests = self.events.iter();
        requests
            .filter(|it| matches!(it.what, What::Request(_)))
            .count()
    }
}

/// Those who ask for one application, and where they are.
struct Crowd<'a> {
    application: &'a Application,
    number: usize,
    from: Vec<usize>,
    to: Vec<usize>,
    seed: u64,
}

impl Crowd<'_> {
    fn can_send(&self) -> bool {
        self.from
            .iter()
            .any(|from| self.to.iter().any(|to| to != from))
    }

    /// Given how many there are, the arrivals of a Poisson process are independent, and anywhere in the time.
    fn poisson(&self, requests: u64, shape: &[u64], lasts: Duration, events: &mut Vec<Event>) {
        let usual = [1];
        let shape = if shape.is_empty() { &usual } else { shape };
        let total: u64 = shape.iter().sum();
        let parts = u64::try_from(shape.len()).unwrap_or(u64::MAX);
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let bound = |part: u64| lasts_ms / parts * part + lasts_ms % parts * part / parts;
        for number in 0..requests {
            let mut chance = Chance::of(self.seed, &self.application.name, number);
            let mut left = chance.between(0, total);
            let mut part = 0;
            for weight in shape {
                if left < *weight {
                    break;
                }
                left -= weight;
                part += 1;
            }
            let at = chance.millis(bound(part), bound(part + 1));
            let Some((from, to)) = self.pair(&mut chance) else {
                continue;
            };
            let rate = chance.pick(&self.application.rates).copied();
            let rate = rate.unwrap_or(BitRate(1_000));
            let amount = match &self.application.want {
                Want::Inelastic(lasts) => Amount::Seconds(seconds(*lasts, &mut chance)),
                Want::Elastic { sizes, least } => {
                    Amount::Bytes(sizes.draw(&mut chance), (*least).min(rate))
                }
            };
            let what = What::Request(self.request((from, to), rate, amount, &mut chance));
            events.push(Event { at, what });
        }
    }

    /// Two hosts; the second another one than the first.
    fn pair(&self, chance: &mut Chance) -> Option<(usize, usize)> {
        // Where one place has several hosts or lists overlap, a draw may have to be repeated; whoever can send at all finds
        // somebody before long.
        for _ in 0..10_000 {
            let (from, to) = (*chance.pick(&self.from)?, *chance.pick(&self.to)?);
            if from != to {
                return Some((from, to));
            }
        }
        None
    }

    fn request(
        &self,
        (from, to): (usize, usize),
        rate: BitRate,
        amount: Amount,
        chance: &mut Chance,
    ) -> Request {
        let value = self.application.value;
        Request {
            application: self.number,
            from,
            to,
            port: FIRST_PORT,
            rate,
            amount,
            value: value.map(|(low, high)| chance.between(low, high.saturating_add(1))),
        }
    }

    fn trace(
        &self,
        rows: &[TraceRow],
        places: &Places,
        events: &mut Vec<Event>,
        problems: &mut Vec<String>,
    ) {
        let name = &self.application.name;
        let mut at: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, host) in places.hosts.iter().enumerate() {
            at.entry(&host.node).or_default().push(number);
        }
        for (number, row) in (0..).zip(rows) {
            let mut chance = Chance::of(self.seed, name, number);
            let mut find = |node: &str, but: Option<usize>| {
                let hosts = at.get(node).into_iter().flatten();
                let hosts: Vec<usize> = hosts.copied().filter(|it| Some(*it) != but).collect();
                let host = chance.pick(&hosts).copied();
                if host.is_none() {
                    problems.push(format!(
                        "{name}: at {} ms there is no host (or no other one) at {node:?}",
                        row.at_ms
                    ));
                }
                host
            };
            let from = find(&row.from, None);
            let to = find(&row.to, from);
            let amount = match (&self.application.want, row.duration_s, row.bytes) {
                (Want::Inelastic(_), Some(seconds), None) => Some(Amount::Seconds(seconds.max(1))),
                (Want::Elastic { least, .. }, None, Some(bytes)) => Some(Amount::Bytes(
                    bytes.max(1),
                    (*least).min(BitRate(row.rate_bps)),
                )),
                _ => None,
            };
            if amount.is_none() {
                problems.push(format!(
                    "{name}: at {} ms: inelastic applications need duration_s, elastic ones bytes",
                    row.at_ms
                ));
            }
            let (Some(from), Some(to), Some(amount)) = (from, to, amount) else {
                if problems.len() > 20 {
                    return;
                }
                continue;
            };
            let rate = BitRate(row.rate_bps);
            let what = What::Request(self.request((from, to), rate, amount, &mut chance));
            events.push(Event {
                at: Duration::from_millis(row.at_ms),
                what,
            });
        }
    }
}

fn seconds(lasts: Lasts, chance: &mut Chance) -> u64 {
    match lasts {
        Lasts::Fixed(seconds) => seconds,
        Lasts::Uniform(low, high) => chance.between(low, high.saturating_add(1)),
        Lasts::Exponential(mean, most) => {
            let ms = chance.exponential(mean.saturating_mul(1_000));
            ms.div_ceil(1_000).clamp(1, most)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Reading, load};

    fn places(source: &str) -> Places {
        let topology = load(source, &Reading::default()).expect("a topology");
        Places::new(Wiring::of(&topology, 100).expect("a wiring"), 1)
    }

    fn workload(more: &str) -> Workload {
        let text = format!(
            "name = \"test\"\nlasts_s = 86400\n[[applications]]\nname = \"calls\"\nkind = \"inelastic\"\n\
             arrivals = {{ requests = 20000, shape = [1, 3] }}\nrates = [\"1Mbit\", \"2Mbit\"]\n\
             duration = {{ exponential_s = 100 }}\nvalue_nanos_per_mbit_second = [5, 7]\n{more}"
        );
        let open = |name: &str| match name {
            "t.csv" => Ok(
                "at_ms,from,to,rate_bps,bytes\n5,s1,s2,1000000,9\n7,s2,nowhere,1,1\n".to_owned(),
            ),
            _ => Err("no such file".to_owned()),
        };
        Workload::read("test", &text, &open).expect("a workload")
    }

    #[test]
    fn a_plan_is_the_same_for_the_same_seed_and_as_its_workload_says() {
        let places = places("mn:linear,4");
        let plan = Plan::new(&workload(""), &places, 3).expect("a plan");
        assert_eq!(plan, Plan::new(&workload(""), &places, 3).expect("a plan"));
        assert_ne!(plan, Plan::new(&workload(""), &places, 4).expect("a plan"));
        assert_eq!(plan.requests(), 20_000);
        assert!(plan.events.is_sorted_by_key(|event| event.at));
        let half = Duration::from_secs(43_200);
        let early = plan.events.iter().filter(|event| event.at < half).count();
        assert!(
            (4_800..5_200).contains(&early),
            "{early} of 20 000, a quarter"
        );
        let mut total = 0;
        for event in &plan.events {
            let What::Request(request) = &event.what else {
                panic!("a request")
            };
            assert_ne!(request.from, request.to);
            assert!(request.value.is_some_and(|value| (5..=7).contains(&value)));
            total += request.amount.seconds(request.rate);
        }
        // Rounded up to whole seconds: half a second above the mean.
        assert!((1_980_000..2_040_000).contains(&total), "{total} s");
    }

    #[test]
    fn what_others_ask_for_changes_nothing_of_an_application() {
        let places = places("mn:linear,4");
        let more = "[[applications]]\nname = \"files\"\nkind = \"elastic\"\narrivals = { requests = 50 }\nrates = [\"1Mbit\"]\n\
                    size = { published = \"web-search\" }\n[[failures]]\nat_s = 9\nlasts_s = 5\nlink = [\"s1\", \"s2\"]\n";
        let calls = |plan: &Plan| -> Vec<_> {
            let of = |event: &Event| match &event.what {
                What::Request(it) if it.application == 0 => {
                    Some((event.at, it.from, it.to, it.rate))
                }
                _ => None,
            };
            plan.events.iter().filter_map(of).collect()
        };
        let alone = Plan::new(&workload(""), &places, 3).expect("a plan");
        let together = Plan::new(&workload(more), &places, 3).expect("a plan");
        assert_eq!(calls(&alone), calls(&together));
        assert_eq!(together.events.len(), 20_051);
    }

    #[test]
    fn names_that_the_network_does_not_have_are_told_all_together() {
        let places = places("mn:linear,4");
        let more = "from = [\"s9\"]\n[[applications]]\nname = \"files\"\nkind = \"elastic\"\narrivals = { trace = \"t.csv\" }\n\
                    [[failures]]\nat_s = 9\nlasts_s = 5\nswitch = \"s8\"\n[[failures]]\nat_s = 9\nlasts_s = 5\nlink = [\"s1\", \"s4\"]\n";
        let problems = Plan::new(&workload(more), &places, 3).expect_err("names");
        let all = problems.join("\n");
        for part in [
            "calls: no host is at \"s9\"",
            "\"nowhere\"",
            "no switch \"s8\"",
            "no link between",
        ] {
            assert!(all.contains(part), "{part} is missing in:\n{all}");
        }
    }

    #[test]
    fn bytes_take_their_time_rounded_up() {
        let bytes = Amount::Bytes(1_000_001, BitRate(1));
        assert_eq!(bytes.seconds(BitRate(8_000_000)), 2);
        assert_eq!(bytes.seconds(BitRate(80_000_000)), 1);
        assert_eq!(Amount::Seconds(7).seconds(BitRate(1)), 7);
    }
}
