//! Ports that are taken out of a switch and come back, under whatever number.
//!
//! A port is known by its name. Its number is given anew whenever it is plugged in (OpenFlow 1.3.5 section A.2.1 says
//! nothing of how), and what was sold is bound to numbers: to follow a port, they are replaced, in the journal first.
//!
//! Who takes a port out and puts it in again tells it twice: the switch says so, and its database, which forgets what was
//! declared of the port and hears it again. Whichever comes first, and whichever comes back last: for a while nothing that
//! was sold there ends.

use std::collections::{BTreeMap, BTreeSet};

use payflow_qos::{PortNo, PortRef, SwitchId, Time};
use tracing::info;

use super::{Network, NetworkEvent};

/// A port that is not there, or of which no capacity is declared any more, and may come back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unplugged {
    /// Its number; while it is there, the one it has.
    was: PortNo,
    /// What was sold there may still be given.
    until: Time,
}

impl Network {
    /// What a port was called when something was sold through it, before a restart.
    pub(super) fn port_named(&mut self, port: PortRef, name: String) {
        self.classes.entry((port.switch, name.clone())).or_default();
        self.named.insert(port, name);
    }

    /// The name of a port of a switch that is, or was, connected.
    pub fn port_name(&self, port: PortRef) -> Option<&str> {
        let known = self.switches.get(&port.switch)?.ports.get(&port.port)?;
        Some(&known.name)
    }

    /// A port is gone, and whoever was behind it. For a while nobody is told that what it could carry is lost.
    pub(super) fn unplugged(&mut self, at: PortRef, name: String, now: Time) {
        self.discovery.stop(at);
        self.hosts.forget_port(at);
        self.lose_classes(at.switch, &name);
        self.topology.clear_capacity(at);
        self.redraw = true;
        self.may_come_back(at, name, now);
    }

    /// Nothing is declared any more of what a port that is there can carry. Nothing more is sold there, and what was sold
    /// has a while, as when the port is gone.
    pub(super) fn undeclared(&mut self, at: PortRef, name: &str, now: Time) {
        self.topology.clear_capacity(at);
        if self.booked.contains_key(&at) {
            self.may_come_back(at, name.to_owned(), now);
        }
    }

    /// The time runs from the first word of it.
    fn may_come_back(&mut self, at: PortRef, name: String, now: Time) {
        let until = now.plus(self.config.timings.replug);
        let was = at.port;
        self.unplugged
            .entry((at.switch, name))
            .or_insert(Unplugged { was, until });
    }

    /// A port is there that was not, or not under this name.
    pub(super) fn plugged_in(&mut self, at: PortRef, name: &str) {
        // Whoever had the number does not come back to it.
        let displaced: Vec<_> = self
            .unplugged
            .iter()
            .filter(|((switch, other), it)| PortRef::new(switch.0, it.was.0) == at && other != name)
            .map(|(key, _)| key.clone())
            .collect();
        for key in displaced {
            self.given_up(&key);
        }
        let Some(unplugged) = self.unplugged.get_mut(&(at.switch, name.to_owned())) else {
            return;
        };
        let was = std::mem::replace(&mut unplugged.was, at.port);
        let from = PortRef {
            switch: at.switch,
            port: was,
        };
        if from != at {
            info!(%from, to = %at, name, "a port has another number");
            match self.booked.remove(&from) {
                Some(capacity) => self.booked.insert(at, capacity),
                None => self.booked.remove(&at),
            };
            self.moving.insert(from);
            self.emit(NetworkEvent::PortRenumbered { from, to: at });
        }
        self.is_back(at, name);
    }

    /// A port is there. If as much is declared of it as had to be for what was sold there, nothing ends.
    pub(super) fn is_back(&mut self, at: PortRef, name: &str) {
        let key = (at.switch, name.to_owned());
        let declared = self
            .facts_of(at.switch, name)
            .is_some_and(|facts| facts.capacity.is_some());
        if declared || !self.booked.contains_key(&at) {
            self.unplugged.remove(&key);
        }
    }

    /// The numbers and names that the ports of a switch had when it was seen last, or something was sold through them.
    pub(super) fn names_of(&mut self, id: SwitchId) -> BTreeMap<PortNo, String> {
        let of_switch = |port: &PortRef, _: &mut String| port.switch == id;
        let all = PortRef::new(id.0, 0)..=PortRef::new(id.0, u32::MAX);
        let from_before = self.named.extract_if(all, of_switch);
        let mut names: BTreeMap<_, _> = from_before.map(|(at, name)| (at.port, name)).collect();
        names.extend(self.names_now(id));
        names
    }

    fn names_now(&self, id: SwitchId) -> BTreeMap<PortNo, String> {
        let ports = self.switches.get(&id).into_iter();
        ports
            .flat_map(|switch| &switch.ports)
            .map(|(number, port)| (*number, port.name.clone()))
            .collect()
    }

    /// A switch has connected again: which of the ports that it had have other numbers. Gives the numbers that belong to
    /// other ports now, or to none.
    pub(super) fn compare_numbers(
        &mut self,
        id: SwitchId,
        before: &BTreeMap<PortNo, String>,
        now: Time,
    ) -> BTreeSet<PortNo> {
        let at = |port| PortRef { switch: id, port };
        let there = self.names_now(id);
        let mut left = BTreeSet::new();
        for (number, name) in before {
            if there.get(number) != Some(name) {
                self.unplugged(at(*number), name.clone(), now);
                left.insert(*number);
            }
        }
        let new = there.into_iter();
        let new = new.filter(|(number, name)| before.get(number) != Some(name));
        for (number, name) in self.in_order(id, new.collect()) {
            self.plugged_in(at(number), &name);
        }
        left
    }

    /// Whoever had a number and has another now goes before whoever has that number now: else it would be given up. Of
    /// ports that have changed their numbers in a circle one has to be.
    fn in_order(&self, id: SwitchId, mut new: BTreeMap<PortNo, String>) -> Vec<(PortNo, String)> {
        let had = |name: &String| Some(self.unplugged.get(&(id, name.clone()))?.was);
        let now_at: BTreeMap<PortNo, PortNo> = new
            .iter()
            .filter_map(|(number, name)| Some((had(name)?, *number)))
            .collect();
        let mut order = Vec::new();
        while let Some((number, name)) = new.pop_first() {
            let mut chain = vec![(number, name)];
            while let Some(before) = chain
                .last()
                .and_then(|(number, _)| now_at.get(number))
                .and_then(|next| new.remove_entry(next))
            {
                chain.push(before);
            }
            order.extend(chain.into_iter().rev());
        }
        order
    }

    pub(super) fn tick_unplugged(&mut self, now: Time) {
        let over: Vec<_> = self
            .unplugged
            .iter()
            .filter(|(_, it)| it.until <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in over {
            self.given_up(&key);
        }
    }

    /// When a port is given up.
    pub(super) fn replug_deadline(&self) -> Option<Time> {
        self.unplugged.values().map(|it| it.until).min()
    }

    /// What was sold through the port ends. That it is not for sale now, or its switch was away, says nothing of what was
    /// sold before. Where the port is there, and only nothing is declared of it, what enters there goes on.
    fn given_up(&mut self, key: &(SwitchId, String)) {
        let Some(unplugged) = self.unplugged.remove(key) else {
            return;
        };
        let port = PortRef {
            switch: key.0,
            port: unplugged.was,
        };
        self.booked.remove(&port);
        self.emit(NetworkEvent::Capacity {
            link: port,
            capacity: None,
        });
        if self.port_name(port) != Some(&key.1) {
            self.emit(NetworkEvent::PortGivenUp { port });
        }
    }
}
