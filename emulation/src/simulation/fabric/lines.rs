//! The lines between switches and the controller: OpenFlow over TCP, and the database beside it.

use std::time::Duration;

use payflow_controller::core::network::{ConnectionId, NetworkInput, Peer, PortFacts, PortRole};
use payflow_qos::{BitRate, SwitchId, Time};

use super::faults::OUTPUT_PER_CALL;
use super::shape::Jack;
use super::{Fabric, Happening};
use crate::simulation::FaultKind;
use crate::switch::{self, ConnectionKind};

/// A connection. Bytes arrive in order, however late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    switch: u64,
    at_switch: switch::ConnectionId,
    /// The latest time at which something is to arrive at either end.
    at_switch_by: Time,
    at_controller_by: Time,
    /// Nothing gets through any more, and nobody is told.
    cut: bool,
    /// The controller has hung up, and the switch does not know yet.
    ended: bool,
}

impl Fabric {
    /// A controller has begun to live: switches find it, and the database tells it what was declared.
    pub fn controller_starts(&mut self, life: u32) {
        (self.alive, self.life) = (true, life);
        let late = self.chance.millis(0, 300);
        self.plan(late, Happening::Facts { life });
        let switches: Vec<u64> = self.places.keys().copied().collect();
        for switch in switches {
            self.reconnect(switch);
        }
    }

    /// It has died, and its machine says so to the switches it was connected to.
    pub fn controller_dies(&mut self, now: Time) {
        self.alive = false;
        self.inputs.clear();
        let at = self.uptime(now);
        self.lines_at.clear();
        for (_, line) in std::mem::take(&mut self.lines) {
            let Some(place) = self.places.get_mut(&line.switch) else {
                continue;
            };
            if !line.cut {
                place.switch.disconnect(line.at_switch, at);
            }
            self.touch(line.switch, now);
        }
    }

    /// The controller sends.
    pub fn send(&mut self, id: ConnectionId, bytes: Vec<u8>, now: Time) {
        let late = self.latency();
        let Some(line) = self.lines.get_mut(&id).filter(|line| !line.cut) else {
            return;
        };
        line.at_switch_by = now.plus(late).max(line.at_switch_by);
        let after = line.at_switch_by.since(now);
        self.plan(after, Happening::ToSwitch(id, bytes));
    }

    /// The controller hangs up.
    pub fn close(&mut self, id: ConnectionId, now: Time) {
        let late = self.latency();
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        line.ended = true;
        if !line.cut {
            let after = now.plus(late).max(line.at_switch_by).since(now);
            self.plan(after, Happening::HungUp(id));
        }
    }

    /// The controller wants the class queues of a port.
    pub fn make_classes(&mut self, switch: SwitchId, port_name: String, _: BitRate) {
        let moody = self.goes_wrong(FaultKind::Database);
        let done = !(moody && self.chance.happens(self.refuses_classes));
        let slow = moody && self.chance.happens(100);
        let late = if slow {
            self.chance.millis(300, 5_000)
        } else {
            self.chance.millis(2, 50)
        };
        let life = self.life;
        let made = Happening::ClassesMade {
            life,
            switch,
            port_name,
            done,
        };
        self.plan(late, made);
    }

    fn latency(&mut self) -> Duration {
        let slow = self.goes_wrong(FaultKind::Line) && self.chance.happens(20);
        if slow {
            self.chance.millis(20, 1_500)
        } else {
            self.chance.millis(0, 4)
        }
    }

    /// A switch will try to connect, some time.
    pub(super) fn reconnect(&mut self, switch: u64) {
        let slow = self.goes_wrong(FaultKind::Line) && self.chance.happens(200);
        let late = if slow {
            self.chance.millis(1_000, 8_000)
        } else {
            self.chance.millis(50, 1_000)
        };
        self.plan(late, Happening::Connect(switch));
    }

    pub(super) fn connect(&mut self, switch: u64, now: Time) {
        let connected = self
            .lines_of(switch)
            .filter_map(|id| self.lines.get(&id))
            .any(|line| self.holds_on(line));
        let at = self.uptime(now);
        let Some(place) = self.places.get_mut(&switch).filter(|_| self.alive) else {
            return;
        };
        if connected {
            return;
        }
        let at_switch = place.switch.connect(ConnectionKind::Primary, at);
        self.last_line += 1;
        let id = ConnectionId(self.last_line);
        let line = Line {
            switch,
            at_switch,
            at_switch_by: now,
            at_controller_by: now,
            cut: false,
            ended: false,
        };
        self.lines.insert(id, line);
        self.lines_at.insert((switch, id));
        self.inputs.push(NetworkInput::Connected {
            connection: id,
            peer: Peer::Tcp,
        });
        self.touch(switch, now);
    }

    /// Whether the switch still believes in a line.
    fn holds_on(&self, line: &Line) -> bool {
        self.places
            .get(&line.switch)
            .is_some_and(|place| place.switch.is_open(line.at_switch))
    }

    pub(super) fn bring_to_controller(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        if self.alive
            && self
                .lines
                .get(&id)
                .is_some_and(|line| !line.ended && !line.cut)
        {
            let connection = id;
            self.inputs.push(NetworkInput::Bytes { connection, bytes });
        }
    }

    pub(super) fn bring_to_switch(&mut self, id: ConnectionId, bytes: &[u8], now: Time) {
        let at = self.uptime(now);
        let Some(line) = self.lines.get(&id).filter(|line| !line.cut) else {
            return;
        };
        let (switch, at_switch) = (line.switch, line.at_switch);
        if let Some(place) = self.places.get_mut(&switch) {
            place.switch.receive(at_switch, bytes, at);
            self.touch(switch, now);
        }
    }

    pub(super) fn hung_up(&mut self, id: ConnectionId, now: Time) {
        let at = self.uptime(now);
        let Some(line) = self.lines.remove(&id) else {
            return;
        };
        self.lines_at.remove(&(line.switch, id));
        if let Some(place) = self.places.get_mut(&line.switch) {
            place.switch.disconnect(line.at_switch, at);
            self.touch(line.switch, now);
        }
        self.reconnect(line.switch);
    }

    /// Both ends learn that a line is gone.
    pub(super) fn lose_line(&mut self, switch: u64, now: Time) {
        let ids: Vec<ConnectionId> = self.lines_of(switch).collect();
        for id in ids {
            if self
                .lines
                .get(&id)
                .is_some_and(|line| !line.cut && !line.ended)
            {
                let late = self.latency();
                self.plan(late, Happening::Lost(id));
            }
            self.hung_up(id, now);
        }
    }

    /// From now on nothing gets through, and neither end is told.
    pub(super) fn cut_line(&mut self, switch: u64) {
        for line in self.lines.values_mut() {
            if line.switch == switch && !line.cut {
                line.cut = true;
                if let Some(place) = self.places.get_mut(&switch) {
                    place.switch.cut(line.at_switch);
                }
            }
        }
    }

    fn lines_of(&self, switch: u64) -> impl Iterator<Item = ConnectionId> {
        let [first, last] = [0, u64::MAX].map(|id| (switch, ConnectionId(id)));
        self.lines_at.range(first..=last).map(|(_, id)| *id)
    }

    /// Takes what a switch has to say on its lines; those it has given up are gone.
    pub(super) fn collect_output(&mut self, switch: u64, now: Time) {
        let ids: Vec<ConnectionId> = self.lines_of(switch).collect();
        for id in ids {
            let late = self.latency();
            let (Some(line), Some(place)) = (self.lines.get_mut(&id), self.places.get_mut(&switch))
            else {
                continue;
            };
            let bytes = place.switch.take_output(line.at_switch);
            let is_open = place.switch.is_open(line.at_switch);
            let more = bytes.len() == OUTPUT_PER_CALL;
            let is_said = !bytes.is_empty() && !line.cut;
            if is_said {
                line.at_controller_by = now.plus(late).max(line.at_controller_by);
            }
            let line = *line;
            let after = line.at_controller_by.since(now);
            if is_said {
                self.plan(after, Happening::ToController(id, bytes));
            }
            if more {
                self.plan(Duration::from_millis(20), Happening::Speak(switch));
            }
            if !is_open {
                self.lines.remove(&id);
                self.lines_at.remove(&(switch, id));
                if !line.cut && !line.ended {
                    self.plan(after, Happening::Lost(id));
                }
                self.reconnect(switch);
            }
        }
    }

    /// What the operator declared of every port.
    pub(super) fn tell_facts(&mut self, life: u32) {
        if !self.alive || life != self.life {
            return;
        }
        let jacks = self.shape.jacks().map(|(jack, ..)| jack);
        let declared = jacks.filter(|jack| !self.undeclared.contains(jack));
        let facts: Vec<_> = declared.filter_map(|jack| self.facts_of(jack)).collect();
        self.inputs.extend(facts);
    }

    /// What is declared of a port, if anything.
    pub(super) fn facts_of(&self, jack: Jack) -> Option<NetworkInput> {
        let declared = !self.undeclared.contains(&jack);
        let role = if declared && self.is_trunk(jack) {
            PortRole::Trunk
        } else {
            PortRole::Unsaid
        };
        Some(NetworkInput::Port(PortFacts {
            switch: SwitchId(jack.switch),
            port_name: jack.port_name(),
            capacity: Some(self.capacity(jack)?).filter(|_| declared),
            role,
        }))
    }
}
