//! Paid entries and meters as they stand on the switches.
//!
//! What is known of them is what ARCHITECTURE.md says in section 5: whose an entry is stands in its cookie (owner tag
//! 0x50, 40 bits of reservation, 16 of generation); the first switch meters; all have a hard time-out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use payflow_qos::{PortNo, PortRef, SwitchId, Time};
use rust_openflow::{Instruction, MeterId, Oxm};

use super::{Observer, Sight};
use crate::simulation::fabric::Fabric;
use crate::simulation::fluid;
use crate::switch::{EntryView, MemorySwitch};

const OWNER_TAG: u64 = 0x50;
/// Meters of reservations are numbered from here.
pub(super) const RESERVATION_METERS: u32 = 0x1_0000;
/// An entry may outlive the paid time by this, as its hard time-out has it: the time that installing may take, and the
/// grace.
const TIME_OUT_MARGIN: Duration = Duration::from_secs(10 + 2 * 3 + 2);
/// All entries are gone so long after the paid time, whatever happens: what was on its way into a switch that stalls
/// begins to count when it arrives.
const GONE_AFTER: Duration = Duration::from_secs(70);

/// Which reservation, and which generation of its path.
type Owner = (u64, u16);

/// What the switches hold of what was sold.
#[derive(Default)]
pub struct Tables {
    versions: BTreeMap<u64, u64>,
    held: BTreeMap<u64, Vec<Held>>,
    /// How many meters of sales every switch has.
    meters: BTreeMap<u64, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    owner: Owner,
    meter: Option<MeterId>,
    in_port: Option<PortNo>,
}

impl Tables {
    /// Whether nothing is held of any sale.
    #[must_use]
    pub fn are_empty(&self) -> bool {
        self.held.values().all(Vec::is_empty) && self.meters.values().all(|count| *count == 0)
    }

    /// Where a sale's packets are let in: at two places while it moves.
    pub(super) fn ingresses(&self, number: u64) -> impl Iterator<Item = PortRef> + '_ {
        self.held.iter().flat_map(move |(switch, held)| {
            let first = held
                .iter()
                .filter(move |it| it.owner.0 == number && it.meter.is_some());
            first.filter_map(|it| {
                Some(PortRef {
                    switch: SwitchId(*switch),
                    port: it.in_port?,
                })
            })
        })
    }

    /// Sales of which a switch holds something, and whether the first switch lets packets in.
    fn present(&self) -> BTreeMap<u64, bool> {
        let mut present = BTreeMap::new();
        for held in self.held.values().flatten() {
            *present.entry(held.owner.0).or_default() |= held.meter.is_some();
        }
        present
    }
}

fn owner(cookie: u64) -> Option<Owner> {
    let generation = u16::try_from(cookie & 0xffff).ok()?;
    let reservation = cookie >> 16 & ((1 << 40) - 1);
    (cookie >> 56 == OWNER_TAG && reservation > 0).then_some((reservation, generation))
}

fn paid_entries(switch: &MemorySwitch) -> impl Iterator<Item = (Owner, EntryView<'_>)> {
    switch
        .entries()
        .filter_map(|entry| Some((owner(entry.cookie)?, entry)))
}

fn meter_of(entry: &EntryView<'_>) -> Option<MeterId> {
    entry.instructions.iter().find_map(|it| match it {
        Instruction::Meter(meter) => Some(*meter),
        _ => None,
    })
}

fn in_port_of(entry: &EntryView<'_>) -> Option<PortNo> {
    entry.flow_match.fields().iter().find_map(|it| match it {
        Oxm::InPort(port) => Some(PortNo(port.0)),
        _ => None,
    })
}

fn reservation_meters(switch: &MemorySwitch) -> impl Iterator<Item = u32> {
    let numbers = switch.meters().map(|meter| meter.meter_id.0);
    numbers.filter(|meter| *meter >= RESERVATION_METERS)
}

impl Observer {
    /// Reads the tables of a switch again, if they have changed. Whether they have.
    pub(super) fn look_at_tables(&mut self, sight: &Sight<'_>, id: u64, now: Time) -> bool {
        let Some(switch) = sight.fabric.switch(id) else {
            return false;
        };
        if self.tables.versions.insert(id, switch.version()) == Some(switch.version()) {
            return false;
        }
        let mut held = Vec::new();
        let mut users: BTreeMap<MeterId, BTreeSet<u64>> = BTreeMap::new();
        self.taken.read(sight.disk);
        for ((root, generation), entry) in paid_entries(switch) {
            let meter = meter_of(&entry);
            if let Some(meter) = meter {
                users.entry(meter).or_default().insert(root);
            }
            let carrier = self.taken.carrier(root, generation);
            if carrier.is_none() && self.taken.is_carried(root) {
                let what =
                    format!("s{id} holds path {generation} of r{root}, which nobody wrote down");
                self.wrong(now, what);
            }
            let owner = (carrier.unwrap_or(root), generation);
            let in_port = in_port_of(&entry);
            held.push(Held {
                owner,
                meter,
                in_port,
            });
            self.check_entry(sight.fabric, id, owner, &entry, now);
        }
        for (meter, sales) in users.into_iter().filter(|(_, sales)| sales.len() > 1) {
            let what = format!(
                "s{id} has one meter, {}, for several sales: {sales:?}",
                meter.0
            );
            self.wrong(now, what);
        }
        self.tables.held.insert(id, held);
        self.tables
            .meters
            .insert(id, reservation_meters(switch).count());
        true
    }

    fn check_entry(
        &mut self,
        fabric: &Fabric,
        switch: u64,
        (number, _): Owner,
        entry: &EntryView<'_>,
        now: Time,
    ) {
        let Some(sale) = self.sales.get(&number) else {
            self.wrong(
                now,
                format_args!("s{switch} holds r{number}, which nobody was quoted"),
            );
            return;
        };
        // Until all switches have it, some serve what it replaces with it, which was paid for, too.
        let replaced = sale.replaces.and_then(|it| self.sales.get(&it));
        let paid_ms = [Some(sale), replaced].into_iter().flatten();
        let paid_ms = paid_ms.map(|it| it.document.duration_ms).max();
        let paid_time = Duration::from_millis(paid_ms.unwrap_or_default());
        let root = sale.root;
        let (rate, source_address) = (sale.document.rate_bps, sale.document.flow.source);
        let lasts = Duration::from_secs(entry.hard_timeout_s.into());
        if lasts.is_zero() {
            let what = format!("r{number} on s{switch} has no hard time-out");
            self.wrong(now, what);
        } else if lasts > paid_time + TIME_OUT_MARGIN {
            let what =
                format!("r{number} on s{switch} goes after {lasts:?}, and {paid_time:?} were sold");
            self.wrong(now, what);
        }
        let Some(meter) = meter_of(entry) else {
            let marked = entry
                .flow_match
                .fields()
                .iter()
                .any(|it| matches!(it, Oxm::IpDscp(_)));
            if !marked {
                let what =
                    format!("r{number} on s{switch} has neither a meter nor asks for a mark");
                self.wrong(now, what);
            }
            return;
        };
        let source = fabric.station_of(source_address);
        let let_in = in_port_of(entry).and_then(|port| {
            fabric.jack(PortRef {
                switch: SwitchId(switch),
                port,
            })
        });
        if self.hosts_are_known(now) && let_in != source.map(|station| station.jack) {
            let what = format!("r{number} is let in at {let_in:?}, where its source is not");
            self.wrong(now, what);
        }
        let metered = fluid::rate_of(fabric, (switch, meter));
        // While one reservation takes the place of another, their flow has the meter of one of them.
        let flow = self.sales.values().filter(|it| it.root == root);
        // All are whole numbers far below 2^52.
        let mut rates = flow.map(|it| it.document.rate_bps as f64);
        let is_sold = |metered: f64| rates.any(|sold| (sold..sold + 1_000.0).contains(&metered));
        if !metered.is_some_and(is_sold) {
            let what = format!(
                "r{number} is metered at {metered:?} on s{switch}, and {rate} bit/s were sold"
            );
            self.wrong(now, what);
        }
    }

    /// What began, and what is over.
    pub(super) fn follow_sales(&mut self, sight: &Sight<'_>, now: Time) -> Vec<String> {
        let present = self.tables.present();
        let mut news = Vec::new();
        let mut carried = false;
        for number in self.sales.keys().copied().collect::<Vec<_>>() {
            let there = present.get(&number).copied();
            let Some(sale) = self.sales.get_mut(&number) else {
                continue;
            };
            let begins = there.is_some() && sale.begun.is_none();
            let mut early = false;
            if begins {
                sale.begun = Some(now);
                let starts_at = sale.document.start_at;
                early = starts_at.is_some_and(|at| now.millis() < at.0);
                self.tally.begun_later += u64::from(starts_at.is_some());
            }
            match (there == Some(true), sale.carried_since) {
                (true, None) => {
                    self.tally.carried += 1;
                    // Whoever is let in is served until something else is said.
                    sale.carried_since = Some(now);
                    sale.delivery.promised(now);
                    carried = true;
                    news.push(format!("network: lets r{number} in"));
                }
                (false, Some(_)) => {
                    sale.carried_since = None;
                    sale.over = true;
                    news.push(format!("network: lets r{number} in no longer"));
                }
                _ => {}
            }
            let late = sale.begun.is_some_and(|begun| {
                let whole = Duration::from_millis(sale.document.duration_ms);
                there.is_some() && now > begun.plus(whole + GONE_AFTER + sale.delivery.unseen())
            });
            if begins {
                news.push(format!("network: r{number} is being installed"));
                self.check_begin(number, sight, now);
            }
            if early {
                self.wrong(now, format_args!("r{number} is installed before its time"));
            }
            if late {
                self.wrong(now, format_args!("r{number} is still on the switches"));
            }
        }
        if carried {
            self.check_links(sight, now);
        }
        news
    }

    fn check_begin(&mut self, number: u64, sight: &Sight<'_>, now: Time) {
        self.read(sight, now);
        if !self.is_paid(number, sight.ledger) {
            self.wrong(
                now,
                format_args!("q{number} is installed and nobody has paid for it"),
            );
        }
        let paid = ["paid", "group_paid", "bought_from_account"];
        if !paid.iter().any(|kind| sight.disk.holds(kind, number)) {
            self.wrong(
                now,
                format_args!("q{number} is installed before its payment is durable"),
            );
        }
    }

    /// In the end no switch holds anything of anybody.
    pub(super) fn look_for_leftovers(&mut self, sight: &Sight<'_>, now: Time) {
        for id in sight.fabric.shape.switches.clone() {
            let Some(switch) = sight.fabric.switch(id) else {
                continue;
            };
            let entries: BTreeSet<u64> = paid_entries(switch)
                .map(|((number, _), _)| number)
                .collect();
            let meters: Vec<u32> = reservation_meters(switch).collect();
            if !entries.is_empty() || !meters.is_empty() {
                let what = format!("s{id} has entries of {entries:?} and meters {meters:?} left");
                self.wrong(now, what);
            }
        }
    }
}
