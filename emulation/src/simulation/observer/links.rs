//! Capacity: no link is over-booked, and none is refused that has room.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use payflow_controller::core::document::Status;
use payflow_controller::core::problem::Problem;
use payflow_qos::{Class, PortRef, Time};
use serde::Deserialize;
use serde_json::Value;

use super::{Observer, Sale, Sight};
use crate::simulation::buyer::Buyer;
use crate::simulation::fabric::Fabric;
use crate::simulation::fabric::shape::Jack;

/// So long after its capacity was lowered a link may carry more than that: by then hard time-outs have taken what no
/// word has reached.
const GIVES_WAY: Duration = Duration::from_secs(75);

impl Observer {
    /// A buyer was told no. For want of capacity that is right only if so little was left when it asked, on the link
    /// that it was told of.
    pub fn refused(&mut self, problem: &Problem, buyer: &Buyer, sight: &Sight<'_>, now: Time) {
        let refusal = problem.extensions.get("refusal").unwrap_or(&Value::Null);
        let link = PortRef::deserialize(&refusal["link"]);
        let (Some("no_capacity"), Ok(link)) = (refusal["reason"].as_str(), link) else {
            return;
        };
        // The controller may not have heard yet that a link carries more again.
        let mut sockets = sight.fabric.jacks_that_had(link);
        if sockets.any(|socket| self.shrunk.contains_key(&socket)) {
            return;
        }
        self.taken.read(sight.disk);
        let [taken, steady] = self.taken.of(link, buyer.asked_at);
        // Whichever socket the controller takes the number for.
        let sockets = sight.fabric.jacks_that_had(link);
        let most = sockets.map(|socket| for_sale(sight.fabric, socket)).min();
        let [most, most_steady] = most.unwrap_or_default();
        // Until a change has begun, its path has to carry what it replaces.
        let base = buyer.change.and_then(|change| change.reservation);
        let base = base.and_then(|number| self.sales.get(&number.0));
        let before = base.map_or(0, |base| base.document.rate_bps);
        let asked = before.max(buyer.rate_bps.div_ceil(1_000) * 1_000);
        // The other flows of its group may need the same link.
        let asked = asked + buyer.members_bps;
        if taken + asked <= most && (!buyer.is_steady() || steady + asked <= most_steady) {
            self.wrong(
                now,
                format_args!(
                    "{asked} bit/s on link {link} are refused while {taken} of {most} are taken"
                ),
            );
        }
    }

    /// What is carried is, on every link, at most nine tenths of what the link carries, steady flows three quarters; and so is, now and at every time to come,
    /// what is promised: quotes that are binding, flows whose paid time runs, and what is paid for a later time. (What has ended
    /// or failed and is still being taken off the switches is carried, and no longer promised; and a quote binds no longer when
    /// capacity on its path is withdrawn.) Reservations that take each other's place are one flow.
    pub(super) fn check_links(&mut self, sight: &Sight<'_>, now: Time) {
        let mut carried = Loads::new();
        let mut promises = Vec::new();
        for (number, sale) in &self.sales {
            let rate = sale.document.rate_bps;
            if sale.carried_since.is_some() {
                for link in sale.sockets.iter().flatten() {
                    add(&mut carried, *link, sale, rate);
                }
            }
            let displaced = self.taken.is_displaced(*number);
            let withdrawn = self.is_withdrawn(sale);
            if let Some(promised) = promised(sale, withdrawn, displaced, now) {
                promises.push((sale, promised));
            }
        }
        let begin = promises.iter().map(|(_, (from, _))| *from);
        let instants: BTreeSet<Time> = begin.map(|from| from.max(now)).collect();
        let loads: Vec<_> = instants
            .into_iter()
            .map(|at| {
                let mut loads = Loads::new();
                for (sale, (from, until)) in &promises {
                    if *from <= at && at < *until {
                        let leaves = sale.carried_since.is_some() && sale.withdrawn;
                        let links = sale.sockets.iter().flatten();
                        for link in links.filter(|it| !(leaves && self.gives_way(**it, now))) {
                            add(&mut loads, *link, sale, sale.document.rate_bps);
                        }
                    }
                }
                loads
            })
            .collect();
        self.check_loads("carried", carried, sight, now);
        for loads in loads {
            self.check_loads("promised", loads, sight, now);
        }
    }

    fn check_loads(&mut self, what: &str, loads: Loads, sight: &Sight<'_>, now: Time) {
        for (link, flows) in loads {
            let steady = flows.iter().filter(|((_, is_steady), _)| *is_steady);
            let [rate, steady]: [u64; 2] = [flows.values().sum(), steady.map(|(_, it)| it).sum()];
            let [most, most_steady] = for_sale(sight.fabric, link);
            let is_too_much = rate > most || steady > most_steady;
            if is_too_much && !(what == "carried" && self.gives_way(link, now)) {
                self.wrong(
                    now,
                    format_args!("{rate} of {most} bit/s are {what} on link {link}: {flows:?}"),
                );
            }
        }
    }

    /// Whether it may be given up on its whole path, because capacity there was withdrawn; of a group that is not paid, which is
    /// sold whole or not at all, all are with one.
    fn is_withdrawn(&self, sale: &Sale) -> bool {
        let unpaid = matches!(sale.status, None | Some(Status::Held | Status::Pending));
        let mut group = sale.group.iter().filter_map(|it| self.sales.get(it));
        sale.withdrawn || unpaid && group.any(|it| it.withdrawn)
    }

    /// Whether what was carried on a link may not be gone yet: its capacity was lowered.
    fn gives_way(&self, link: Jack, now: Time) -> bool {
        let shrunk = self.shrunk.get(&link);
        shrunk.is_some_and(|at| now < self.started_at.max(*at).plus(GIVES_WAY))
            || self.away_since.is_some()
    }
}

/// For every link, the rates of flows, and whether they are steady.
type Loads = BTreeMap<Jack, BTreeMap<(u64, bool), u64>>;

fn add(loads: &mut Loads, link: Jack, sale: &Sale, rate: u64) {
    let flow = (sale.root, sale.document.class == Class::Steady);
    let most = loads.entry(link).or_default().entry(flow).or_default();
    *most = rate.max(*most);
}

/// From when until when the capacity of a sale is promised, if it is.
fn promised(sale: &Sale, withdrawn: bool, displaced: bool, now: Time) -> Option<(Time, Time)> {
    let paid_time = Duration::from_millis(sale.document.duration_ms);
    // What has failed is refunded, and that is checked in the end.
    let given_up = matches!(
        sale.status,
        Some(Status::Failed | Status::Cancelled | Status::Expired | Status::Settled)
    );
    if let Some(since) = sale.carried_since {
        let broken_off = sale.cancelled || sale.status == Some(Status::Failed);
        // It may have been let in again; its time has run since it began.
        let until = sale.begun.unwrap_or(since).plus(paid_time);
        return (!broken_off && !displaced && now < until).then_some((now, until));
    }
    if sale.cancelled || sale.over || given_up || withdrawn || displaced {
        return None;
    }
    let expires = Time::from_millis(sale.document.payment.expires_at.0);
    let binds = now <= expires;
    match sale.document.start_at.map(|at| Time::from_millis(at.0)) {
        None => binds.then_some((now, expires.plus(paid_time))),
        Some(at) => {
            let waits = binds || sale.status == Some(Status::Scheduled);
            waits.then_some((at.max(now), at.plus(paid_time)))
        }
    }
}

/// Nine tenths of what a link carries; three quarters for steady flows.
fn for_sale(fabric: &Fabric, link: Jack) -> [u64; 2] {
    let capacity = fabric.capacity(link).map_or(0, |capacity| capacity.0);
    [capacity / 10 * 9, capacity / 4 * 3]
}
