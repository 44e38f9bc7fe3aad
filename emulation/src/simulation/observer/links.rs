//! Capacity: no link is over-booked, and none is refused that has room.

use std::collections::BTreeMap;
use std::time::Duration;

use payflow_controller::core::document::Status;
use payflow_controller::core::problem::Problem;
use payflow_qos::{PortRef, Time};
use serde::Deserialize;
use serde_json::Value;

use super::{Observer, Sight};
use crate::simulation::buyer::Buyer;
use crate::simulation::fabric::Fabric;
use crate::simulation::fabric::shape::Jack;

impl Observer {
    /// A buyer was told no. For want of capacity that is right only if so little was left when it asked, on the link
    /// that it was told of.
    pub fn refused(&mut self, problem: &Problem, buyer: &Buyer, sight: &Sight<'_>, now: Time) {
        let refusal = problem.extensions.get("refusal").unwrap_or(&Value::Null);
        let link = PortRef::deserialize(&refusal["link"]);
        let (Some("no_capacity"), Ok(link)) = (refusal["reason"].as_str(), link) else {
            return;
        };
        self.taken.read(sight.disk);
        let taken = self.taken.of(link, buyer.asked_at);
        // Whichever socket the controller takes the number for.
        let sockets = sight.fabric.jacks_that_had(link);
        let most = sockets.map(|socket| for_sale(sight.fabric, socket)).min();
        let most = most.unwrap_or_default();
        let asked = buyer.rate_bps.div_ceil(1_000) * 1_000;
        if taken + asked <= most {
            self.wrong(
                now,
                format_args!(
                    "{asked} bit/s on link {link} are refused while {taken} of {most} are taken"
                ),
            );
        }
    }

    /// What is carried is, on every link, at most nine tenths of what the link carries; and so is what is promised:
    /// quotes that are binding, and flows whose paid time runs. (What has ended or failed and is still being taken off
    /// the switches is carried, and no longer promised; and a quote binds no longer when capacity on its path is withdrawn.)
    pub(super) fn check_links(&mut self, sight: &Sight<'_>, now: Time) {
        let mut carried: BTreeMap<Jack, BTreeMap<u64, u64>> = BTreeMap::new();
        let mut promised = carried.clone();
        for (number, sale) in &self.sales {
            let rate = sale.document.rate_bps;
            // What has failed is refunded, and that is checked in the end.
            let given_up = matches!(
                sale.status,
                Some(Status::Failed | Status::Cancelled | Status::Expired | Status::Settled)
            );
            let binding = !sale.cancelled
                && !sale.over
                && !given_up
                && !sale.withdrawn
                && sale.carried_since.is_none()
                && now.millis() <= sale.document.payment.expires_at.0;
            let paid_time = Duration::from_millis(sale.document.duration_ms);
            let broken_off = sale.cancelled || sale.status == Some(Status::Failed);
            let runs = sale
                .carried_since
                .is_some_and(|since| !broken_off && now < since.plus(paid_time));
            for link in sale.sockets.iter().flatten().copied() {
                if sale.carried_since.is_some() {
                    carried.entry(link).or_default().insert(*number, rate);
                }
                if binding || runs {
                    promised.entry(link).or_default().insert(*number, rate);
                }
            }
        }
        for (what, links) in [("carried", carried), ("promised", promised)] {
            for (link, flows) in links {
                let rate: u64 = flows.values().sum();
                let most = for_sale(sight.fabric, link);
                if rate > most {
                    self.wrong(
                        now,
                        format_args!("{rate} of {most} bit/s are {what} on link {link}: {flows:?}"),
                    );
                }
            }
        }
    }
}

/// Nine tenths of what a link carries.
fn for_sale(fabric: &Fabric, link: Jack) -> u64 {
    let capacity = fabric.capacity(link);
    capacity.map_or(0, |capacity| capacity.0 / 10 * 9)
}
