//! What ports can carry: sold only once the class queues of a port are in place.

use payflow_qos::{BitRate, PortRef, SwitchId, Time};
use tracing::warn;

use super::{Network, NetworkEvent, NetworkOutput};

/// How far the class queues of a port are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Classes {
    pub(super) ordered: Option<BitRate>,
    /// Orders that have not been answered; only the last answer counts.
    pub(super) unanswered: u32,
    pub(super) made: Option<BitRate>,
    pub(super) retry_at: Option<Time>,
    /// When they were in place last.
    made_at: Option<Time>,
    /// The port was plugged in anew, and has none until they are made.
    pub(super) lost: bool,
}

impl Network {
    /// Orders the class queues of a port, if its switch is there and they are not ordered yet.
    pub(super) fn order_classes(&mut self, switch: SwitchId, name: &str, now: Time) {
        let ready = self.switches.get(&switch).filter(|known| known.is_ready());
        let Some(number) = ready.and_then(|known| known.port_named(name)) else {
            return;
        };
        let port = PortRef {
            switch,
            port: number,
        };
        let key = (switch, name.to_owned());
        let offered = self.facts_of(switch, name).and_then(|facts| facts.capacity);
        let Some(capacity) = offered else {
            self.forget_classes(switch, name);
            self.undeclared(port, name, now);
            return;
        };
        // Nothing more is sold across a switch that is not fit. What was sold goes on for as long as it carries it, and needs its
        // queues, which may be gone: the port may have been plugged in anew while no controller was there.
        let is_fit = self.is_fit(switch);
        if !is_fit {
            self.topology.clear_capacity(port);
        }
        let classes = self.classes.entry(key).or_default();
        if classes.made == Some(capacity) && classes.ordered == Some(capacity) {
            if is_fit {
                self.set_capacity(port, capacity);
            }
            return;
        }
        let waits = classes.retry_at.is_some_and(|at| now < at);
        if classes.ordered == Some(capacity) && classes.unanswered > 0 || waits {
            return;
        }
        *classes = Classes {
            ordered: Some(capacity),
            unanswered: classes.unanswered + 1,
            made: None,
            retry_at: None,
            made_at: classes.made_at,
            lost: classes.lost,
        };
        // What is sold is never more than what was said last.
        if self.booked.get(&port).is_some_and(|sold| capacity < *sold) {
            if self.topology.capacity(port).is_some() {
                self.topology.set_capacity(port, capacity);
            }
            self.book_capacity(port, capacity);
        }
        self.outputs.push_back(NetworkOutput::MakeClasses {
            switch,
            port_name: name.to_owned(),
            capacity,
        });
    }

    /// A switch has connected: its queues may be gone.
    pub(super) fn order_all_classes(&mut self, switch: SwitchId, now: Time) {
        let names: Vec<String> = self
            .facts
            .get(&switch)
            .into_iter()
            .flat_map(|of_switch| of_switch.keys().cloned())
            .collect();
        for name in names {
            self.forget_classes(switch, &name);
            self.order_classes(switch, &name, now);
        }
    }

    /// The queues of a port may be gone; what is on its way to the database or back from it tells nothing of that.
    pub(super) fn forget_classes(&mut self, switch: SwitchId, name: &str) {
        if let Some(classes) = self.classes.get_mut(&(switch, name.to_owned())) {
            *classes = Classes {
                unanswered: classes.unanswered,
                made_at: classes.made_at,
                lost: classes.lost,
                ..Classes::default()
            };
        }
    }

    /// The port was taken out, and the queues of what was sold there with it.
    pub(super) fn lose_classes(&mut self, switch: SwitchId, name: &str) {
        self.forget_classes(switch, name);
        if let Some(classes) = self.classes.get_mut(&(switch, name.to_owned())) {
            classes.lost = true;
        }
    }

    /// Somebody has changed or removed the class queues of a port: they are made again, and what was sold there waits until
    /// they are. At once, but not over and over if somebody does it over and over.
    pub(super) fn classes_lost(&mut self, switch: SwitchId, name: &str, now: Time) {
        let key = (switch, name.to_owned());
        let Some(known) = self.classes.get_mut(&key) else {
            return;
        };
        if known.made.is_none() {
            // Not confirmed, or not wanted now: whoever makes them next has them back.
            if !std::mem::replace(&mut known.lost, true) {
                warn!(%switch, port = name, "somebody has changed the class queues; what was sold there waits");
                self.stirred.extend(self.flows.keys());
            }
            return;
        }
        warn!(%switch, port = name, "somebody has changed the class queues; they are made again");
        let made_at = known.made_at;
        self.lose_classes(switch, name);
        self.stirred.extend(self.flows.keys());
        let port = self.switches.get(&switch);
        if let Some(port) = port.and_then(|known| known.port_named(name)) {
            self.topology.clear_capacity(PortRef { switch, port });
        }
        let retry_at = made_at.map(|at| at.plus(self.config.timings.retry));
        if let Some(at) = retry_at.filter(|at| now < *at) {
            if let Some(classes) = self.classes.get_mut(&key) {
                classes.retry_at = Some(at);
            }
            self.class_timers.insert((at, key));
        } else {
            self.order_classes(switch, name, now);
        }
    }

    /// Whether what was sold at a port would travel as best effort.
    pub(super) fn has_lost_classes(&self, switch: SwitchId, name: &str) -> bool {
        let classes = self.classes.get(&(switch, name.to_owned()));
        classes.is_some_and(|classes| classes.lost)
    }

    pub(super) fn classes_made(
        &mut self,
        switch: SwitchId,
        name: &str,
        result: Result<(), String>,
        now: Time,
    ) {
        let retry_at = now.plus(self.config.timings.retry);
        let port = self
            .switches
            .get(&switch)
            .and_then(|known| known.port_named(name));
        let Some(classes) = self.classes.get_mut(&(switch, name.to_owned())) else {
            return;
        };
        classes.unanswered = classes.unanswered.saturating_sub(1);
        let (Some(capacity), 0) = (classes.ordered, classes.unanswered) else {
            return;
        };
        match result {
            Ok(()) => {
                classes.made = Some(capacity);
                classes.made_at = Some(now);
                if std::mem::take(&mut classes.lost) {
                    self.stirred.extend(self.flows.keys());
                }
                self.order_classes(switch, name, now);
            }
            Err(reason) => {
                // The database was not reached, or refused. The queues of before, if any, still work: nothing more is sold at
                // the port until they are confirmed, and what was sold goes on.
                warn!(%switch, port = name, reason, "class queues are not confirmed; nothing more is sold at this port");
                *classes = Classes {
                    retry_at: Some(retry_at),
                    made_at: classes.made_at,
                    lost: classes.lost,
                    ..Classes::default()
                };
                self.class_timers
                    .insert((retry_at, (switch, name.to_owned())));
                if let Some(port) = port {
                    self.topology.clear_capacity(PortRef { switch, port });
                }
            }
        }
    }

    pub(super) fn tick_classes(&mut self, now: Time) {
        while self.class_timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((at, key)) = self.class_timers.pop_first() else {
                return;
            };
            let classes = self.classes.get_mut(&key);
            if let Some(classes) = classes.filter(|classes| classes.retry_at == Some(at)) {
                classes.retry_at = None;
                let (switch, name) = key;
                self.order_classes(switch, &name, now);
            }
        }
    }

    fn set_capacity(&mut self, link: PortRef, capacity: BitRate) {
        self.topology.set_capacity(link, capacity);
        self.book_capacity(link, capacity);
    }

    /// Tells what may be sold in all, if that is news.
    fn book_capacity(&mut self, link: PortRef, capacity: BitRate) {
        if self.booked.insert(link, capacity) != Some(capacity) {
            self.emit(NetworkEvent::Capacity {
                link,
                capacity: Some(capacity),
            });
        }
    }
}
