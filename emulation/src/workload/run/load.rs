//! What is booked on each link between switches, over time; and what happened between two samples.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use payflow_qos::{BitRate, PortNo, PortRef, SwitchId, Time};
use serde::Serialize;

use crate::simulation::fabric::shape::{Jack, Shape};
use crate::topology::Wiring;

/// One direction of a cable.
#[derive(Clone, Debug)]
pub struct Link {
    /// Names of its ends.
    pub ends: [String; 2],
    /// What it carries.
    pub capacity: BitRate,
    /// What is booked now, bits per second.
    pub booked: u64,
    /// The most that was ever booked.
    pub peak: u64,
    /// Bits booked times milliseconds, until `at`.
    sum: u128,
    at: Time,
    begin: Option<Time>,
}

impl Link {
    fn until(&mut self, now: Time) {
        let begin = *self.begin.get_or_insert(now);
        let since = now.since(self.at.max(begin));
        self.sum += u128::from(self.booked) * since.as_millis();
        self.at = now;
    }

    /// What was booked on average, rounded down.
    #[must_use]
    pub fn mean(&self) -> u64 {
        let lasted = self
            .begin
            .map_or(0, |begin| self.at.since(begin).as_millis());
        u64::try_from(self.sum.checked_div(lasted).unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

/// What happened since the last sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bin {
    /// Requests that came.
    pub asked: u64,
    /// Flows whose service began.
    pub accepted: u64,
    /// Requests that ended without service.
    pub refused: u64,
    /// Prices of the flows whose service began, in nanos.
    pub revenue: u64,
    quoted_nanos: u128,
    quoted_bits: u128,
}

impl Bin {
    /// A price was quoted.
    pub fn quoted(&mut self, nanos: u64, rate_bps: u64, seconds: u64) {
        self.quoted_nanos += u128::from(nanos);
        self.quoted_bits += u128::from(rate_bps) * u128::from(seconds);
    }
}

/// What was seen at one moment, and since the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When, in seconds.
    pub at_s: u64,
    /// Requests that came since the last sample.
    pub asked: u64,
    /// Flows whose service began since then.
    pub accepted: u64,
    /// Requests that ended since then without service.
    pub refused: u64,
    /// Flows that are served now.
    pub active: usize,
    /// Prices of the flows whose service began since then, in nanos.
    pub revenue_nanos: u64,
    /// What 1 Mbit/s for one second was quoted at on average since then, in nanos, rounded down; absent without a quote.
    pub price_nanos_per_mbit_second: Option<u64>,
    /// What is booked on all links together, in millionths of their capacity, rounded down.
    pub mean_load_ppm: u64,
    /// The same of the link that is booked most.
    pub highest_load_ppm: u64,
}

/// All links between switches, in both directions.
#[derive(Clone, Debug)]
pub struct Links {
    /// The links: each cable from its first end, then from its second.
    pub all: Vec<Link>,
    ports: HashMap<PortRef, usize>,
    /// Since the last sample.
    pub bin: Bin,
    /// Flows that are served now.
    pub active: BTreeSet<usize>,
}

impl Links {
    /// Those of a network, with nothing booked.
    #[must_use]
    pub fn new(shape: &Shape, wiring: &Wiring) -> Self {
        let mut links = Self {
            all: Vec::new(),
            ports: HashMap::new(),
            bin: Bin::default(),
            active: BTreeSet::new(),
        };
        let name = |jack: &Jack| {
            let at = usize::try_from(jack.switch.saturating_sub(1)).ok();
            let name = at.and_then(|at| wiring.switches.get(at));
            name.cloned().unwrap_or_default()
        };
        for (a, b, capacity) in &shape.trunks {
            for (out, into) in [(a, b), (b, a)] {
                let port = PortRef {
                    switch: SwitchId(out.switch),
                    // A port that is never taken out has the number of its socket.
                    port: PortNo(out.eth),
                };
                links.ports.insert(port, links.all.len());
                links.all.push(Link {
                    ends: [name(out), name(into)],
                    capacity: *capacity,
                    booked: 0,
                    peak: 0,
                    sum: 0,
                    at: Time::default(),
                    begin: None,
                });
            }
        }
        links
    }

    /// Links of a path between switches.
    #[must_use]
    pub fn hops(&self, path: &[PortRef]) -> u32 {
        let hops = path.iter().filter(|port| self.ports.contains_key(port));
        u32::try_from(hops.count()).unwrap_or(u32::MAX)
    }

    /// A flow is served along a path from now on.
    pub fn book(&mut self, path: &[PortRef], rate_bps: u64, now: Time) {
        self.change(path, now, |link| {
            link.booked += rate_bps;
            link.peak = link.peak.max(link.booked);
        });
    }

    /// It is not any more.
    pub fn release(&mut self, path: &[PortRef], rate_bps: u64, now: Time) {
        self.change(path, now, |link| {
            link.booked = link.booked.saturating_sub(rate_bps)
        });
    }

    fn change(&mut self, path: &[PortRef], now: Time, change: impl Fn(&mut Link)) {
        for port in path {
            let link = self.ports.get(port).and_then(|at| self.all.get_mut(*at));
            if let Some(link) = link {
                link.until(now);
                change(link);
            }
        }
    }

    /// Averages are taken until now.
    pub fn until(&mut self, now: Time) {
        for link in &mut self.all {
            link.until(now);
        }
    }

    /// A sample, after which the next begins.
    pub fn sample(&mut self, at: Duration) -> Sample {
        let bin = std::mem::take(&mut self.bin);
        let ppm = |booked: u128, capacity: u128| {
            let ppm = (booked * 1_000_000).checked_div(capacity).unwrap_or(0);
            u64::try_from(ppm).unwrap_or(u64::MAX)
        };
        let sum = |of: fn(&Link) -> u64| self.all.iter().map(|it| u128::from(of(it))).sum();
        let each = self
            .all
            .iter()
            .map(|it| ppm(it.booked.into(), it.capacity.0.into()));
        let price = (bin.quoted_nanos * 1_000_000).checked_div(bin.quoted_bits);
        Sample {
            at_s: at.as_secs(),
            asked: bin.asked,
            accepted: bin.accepted,
            refused: bin.refused,
            active: self.active.len(),
            revenue_nanos: bin.revenue,
            price_nanos_per_mbit_second: price.and_then(|it| u64::try_from(it).ok()),
            mean_load_ppm: ppm(sum(|it| it.booked), sum(|it| it.capacity.0)),
            highest_load_ppm: each.max().unwrap_or(0),
        }
    }
}
