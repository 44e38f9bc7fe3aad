//! Ports that are taken out of a switch and come back, under whatever number.
//!
//! A port is known by its name. Its number is given anew whenever it is plugged in (OpenFlow 1.3.5 section A.2.1 says
//! nothing of how), and what was sold is bound to numbers: to follow a port, they are replaced, in the journal first.

use std::collections::BTreeMap;

use payflow_qos::{PortNo, PortRef, SwitchId, Time};
use tracing::info;

use super::{Network, NetworkEvent, switch::Port};

/// A port that is not there and may come back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unplugged {
    /// Its number.
    was: PortNo,
    /// What was sold there may still be given.
    until: Time,
}

impl Network {
    /// A port is gone. For a while nobody is told that what it could carry is lost.
    pub(super) fn unplugged(&mut self, at: PortRef, name: String, now: Time) {
        self.topology.clear_capacity(at);
        let unplugged = Unplugged {
            was: at.port,
            until: now.plus(self.config.timings.replug),
        };
        self.unplugged.insert((at.switch, name), unplugged);
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
        let Some(unplugged) = self.unplugged.remove(&(at.switch, name.to_owned())) else {
            return;
        };
        let from = PortRef {
            switch: at.switch,
            port: unplugged.was,
        };
        if from != at {
            info!(%from, to = %at, name, "a port has another number");
            self.emit(NetworkEvent::PortRenumbered { from, to: at });
        }
    }

    /// A switch has connected again: which of the ports that it had have other numbers.
    pub(super) fn compare_numbers(
        &mut self,
        id: SwitchId,
        before: &BTreeMap<PortNo, Port>,
        now: Time,
    ) {
        let there: BTreeMap<PortNo, String> = self
            .switch_mut(id)
            .ports
            .iter()
            .map(|(number, port)| (*number, port.name.clone()))
            .collect();
        for (number, old) in before {
            if there.get(number) != Some(&old.name) {
                let at = PortRef {
                    switch: id,
                    port: *number,
                };
                self.unplugged(at, old.name.clone(), now);
            }
        }
        for (number, name) in there {
            if before.get(&number).is_none_or(|old| old.name != name) {
                let at = PortRef {
                    switch: id,
                    port: number,
                };
                self.plugged_in(at, &name);
            }
        }
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
    /// sold before.
    fn given_up(&mut self, key: &(SwitchId, String)) {
        if let Some(unplugged) = self.unplugged.remove(key) {
            let link = PortRef {
                switch: key.0,
                port: unplugged.was,
            };
            self.emit(NetworkEvent::Capacity {
                link,
                capacity: None,
            });
        }
    }
}
