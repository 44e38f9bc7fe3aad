//! Groups: flows that are sold all or none.

use std::collections::BTreeSet;
use std::time::Duration;

use payflow_qos::Time;

use super::Observer;

/// As long as one flow of a group has not begun, the others may be carried: the time that installing may take, and then some.
const TOGETHER: Duration = Duration::from_secs(20);

impl Observer {
    /// When all is over: what was bought of a group was all of it, and where one flow was never carried, none of the others was for
    /// longer than it takes to find that out.
    pub(super) fn check_groups(&mut self, now: Time) {
        let mut wrong = Vec::new();
        for bought in &self.taken.bought {
            let numbers: BTreeSet<u64> = bought.iter().copied().collect();
            let sales = bought.iter().filter_map(|it| self.sales.get(it));
            for group in sales.map(|sale| &sale.group).filter(|it| !it.is_empty()) {
                if numbers != group.iter().copied().collect() {
                    wrong.push(format!(
                        "of {group:?}, which are all or none, {bought:?} is bought"
                    ));
                }
            }
            let missing = |it: &&u64| {
                let sale = self.sales.get(it);
                sale.is_some_and(|sale| sale.begun.is_none() && !sale.cancelled)
            };
            let Some(missing) = bought.iter().find(missing) else {
                self.tally.groups += u64::from(bought.len() > 1);
                continue;
            };
            for number in bought {
                let Some(sale) = self.sales.get(number) else {
                    continue;
                };
                let carried = sale.delivery.delivered(now);
                if carried > TOGETHER + sale.delivery.unseen() {
                    wrong.push(format!(
                        "r{number} is carried for {carried:?}, and r{missing} of its group never"
                    ));
                }
            }
        }
        for what in wrong {
            self.wrong(now, what);
        }
    }
}
