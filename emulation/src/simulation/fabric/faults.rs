//! What goes wrong with cables, switches and lines, and how long it lasts.

use std::time::Duration;

use payflow_qos::Time;
use rust_openflow::ErrorCode;

use super::shape::Jack;
use super::{Fabric, Happening, frames};
use crate::simulation::chance::Chance;
use crate::switch::Refusal;

/// What a slow switch says at once, in bytes.
pub(super) const OUTPUT_PER_CALL: usize = 200;

/// Something that goes wrong, or is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A cable between switches breaks at this end. Told: both ports go down. Else frames vanish in one direction.
    CableBreaks {
        /// This end.
        jack: Jack,
        /// Whether ports say so.
        told: bool,
    },
    /// It carries again.
    CableMended(Jack),
    /// A switch's process ends and starts anew.
    Restart(u64),
    /// The connection of a switch is reset.
    LineLost(u64),
    /// The connection of a switch is cut, and neither end is told.
    LineCut(u64),
    /// A switch looks at nothing that arrives.
    Stall {
        /// Which.
        switch: u64,
        /// For so long.
        lasts: Duration,
    },
    /// A switch refuses entries.
    Refuses {
        /// Which.
        switch: u64,
        /// How many it lets through first.
        skip: u32,
        /// How many it refuses then.
        times: u32,
    },
    /// A switch gives away what it has to say little by little.
    Slow(u64),
    /// A switch has no room for further meters and entries.
    Full(u64),
    /// It has room again, refuses nothing and is as fast as it was.
    Fine(u64),
    /// A port is taken out and put in again, under another number.
    Replugged(Jack),
    /// A host says it has the address of another.
    Claims {
        /// Index of the host that lies.
        liar: usize,
        /// Index of the host it speaks for.
        victim: usize,
    },
}

impl Fabric {
    /// Any switch.
    pub fn any_switch(&self, chance: &mut Chance) -> u64 {
        chance.pick(&self.shape.switches).copied().unwrap_or(1)
    }

    /// Any end of a cable between switches.
    pub fn any_trunk(&self, chance: &mut Chance) -> Option<Jack> {
        let ends: Vec<Jack> = self.cables.keys().copied().collect();
        chance.pick(&ends).copied()
    }

    /// From now on nothing goes wrong any more, and everything is mended.
    pub fn calm(&mut self, now: Time) {
        self.faults.clear();
        for jack in self.down.clone().into_iter().chain(self.silent.clone()) {
            self.mend(jack, now);
        }
        let switches: Vec<u64> = self.places.keys().copied().collect();
        for switch in switches {
            self.fault(Fault::Fine(switch), now);
        }
    }

    pub(super) fn fault(&mut self, fault: Fault, now: Time) {
        let at = self.uptime(now);
        match fault {
            Fault::CableMended(jack) => self.mend(jack, now),
            Fault::Fine(switch) => {
                if let Some(place) = self.places.get_mut(&switch) {
                    place.switch.refuse_nothing();
                    place.switch.limit_output(None);
                    place.switch.limit_meters(u32::MAX);
                    place.switch.limit_entries_per_table(usize::MAX);
                    self.touch(switch, now);
                }
            }
            _ if self.faults.is_empty() => {}
            Fault::CableBreaks { jack, told } => {
                self.break_cable(jack, told, now);
                let lasts = self.chance.millis(100, 30_000);
                self.plan(lasts, Happening::Fault(Fault::CableMended(jack)));
            }
            Fault::Restart(switch) => {
                self.lose_line(switch, now);
                if let Some(place) = self.places.get_mut(&switch) {
                    place.switch.restart(at);
                    self.touch(switch, now);
                }
            }
            Fault::LineLost(switch) => self.lose_line(switch, now),
            Fault::LineCut(switch) => self.cut_line(switch),
            Fault::Stall { switch, lasts } => {
                if let Some(place) = self.places.get_mut(&switch) {
                    place.switch.stall_until(at + lasts);
                    self.touch(switch, now);
                }
            }
            Fault::Refuses {
                switch,
                skip,
                times,
            } => {
                if let Some(place) = self.places.get_mut(&switch) {
                    place.switch.refuse(Refusal {
                        skip,
                        times,
                        ..Refusal::all(ErrorCode::TABLE_FULL)
                    });
                }
            }
            Fault::Slow(switch) => {
                if let Some(place) = self.places.get_mut(&switch) {
                    place.switch.limit_output(Some(OUTPUT_PER_CALL));
                    self.fine_later(switch);
                }
            }
            Fault::Full(switch) => {
                if let Some(place) = self.places.get_mut(&switch) {
                    place.switch.limit_meters(0);
                    place.switch.limit_entries_per_table(0);
                    self.fine_later(switch);
                }
            }
            Fault::Replugged(jack) => self.replug(jack, now),
            Fault::Claims { liar, victim } => self.claim(liar, victim, now),
        }
    }

    fn fine_later(&mut self, switch: u64) {
        let lasts = self.chance.millis(500, 20_000);
        self.plan(lasts, Happening::Fault(Fault::Fine(switch)));
    }

    fn break_cable(&mut self, jack: Jack, told: bool, now: Time) {
        self.cables_changed += 1;
        if !told {
            self.silent.insert(jack);
            return;
        }
        for end in [Some(jack), self.cables.get(&jack).copied()]
            .into_iter()
            .flatten()
        {
            self.down.insert(end);
            self.set_link(end, false, now);
        }
    }

    fn mend(&mut self, jack: Jack, now: Time) {
        self.cables_changed += 1;
        self.silent.remove(&jack);
        for end in [Some(jack), self.cables.get(&jack).copied()]
            .into_iter()
            .flatten()
        {
            if self.down.remove(&end) {
                self.set_link(end, true, now);
            }
        }
    }

    fn set_link(&mut self, jack: Jack, up: bool, now: Time) {
        let at = self.uptime(now);
        let number = self.numbers.get(&jack).copied();
        if let (Some(number), Some(place)) = (number, self.places.get_mut(&jack.switch)) {
            let number = rust_openflow::PortNo(number.0);
            place.switch.set_link(number, up, at);
            self.touch(jack.switch, now);
        }
    }

    fn replug(&mut self, jack: Jack, now: Time) {
        let at = self.uptime(now);
        let Some(number) = self.numbers.get(&jack).copied() else {
            return;
        };
        if let Some(place) = self.places.get_mut(&jack.switch) {
            let old = rust_openflow::PortNo(number.0);
            place.switch.remove_port(old, at);
        }
        self.plug(jack, number.0 + 100, now);
        if self.down.contains(&jack) {
            self.set_link(jack, false, now);
        }
        self.touch(jack.switch, now);
    }

    fn claim(&mut self, liar: usize, victim: usize, now: Time) {
        let stations = &self.shape.stations;
        if let (Some(liar), Some(victim)) = (stations.get(liar), stations.get(victim)) {
            let (jack, address) = (liar.jack, victim.address);
            let (mine, theirs) = (liar.mac, victim.mac);
            let mac = if self.chance.happens(300) {
                theirs
            } else {
                mine
            };
            let frame = frames::announcement(mac, address);
            self.arrive(jack, frame, now);
        }
    }
}

impl Fault {
    /// Whether packets may be lost by it.
    #[must_use]
    pub fn disturbs(&self) -> bool {
        match self {
            Self::CableBreaks { .. }
            | Self::CableMended(_)
            | Self::Restart(_)
            | Self::Refuses { .. }
            | Self::Full(_)
            | Self::Fine(_)
            | Self::Replugged(_) => true,
            Self::LineLost(_)
            | Self::LineCut(_)
            | Self::Stall { .. }
            | Self::Slow(_)
            | Self::Claims { .. } => false,
        }
    }

    /// Whether a switch says at once that it has happened.
    #[must_use]
    pub fn is_told(&self) -> bool {
        matches!(self, Self::CableBreaks { told: true, .. })
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CableBreaks { jack, told: true } => write!(f, "the cable at {jack} breaks"),
            Self::CableBreaks { jack, told: false } => {
                write!(f, "frames from {jack} vanish, and no port says so")
            }
            Self::CableMended(jack) => write!(f, "the cable at {jack} is mended"),
            Self::Restart(switch) => write!(f, "s{switch} restarts and has forgotten everything"),
            Self::LineLost(switch) => write!(f, "the connection of s{switch} is reset"),
            Self::LineCut(switch) => {
                write!(
                    f,
                    "the connection of s{switch} is cut, and neither end knows"
                )
            }
            Self::Stall { switch, lasts } => {
                write!(f, "s{switch} looks at nothing for {} ms", lasts.as_millis())
            }
            Self::Refuses {
                switch,
                skip,
                times,
            } => write!(
                f,
                "s{switch} takes {skip} more entries and refuses {times} then"
            ),
            Self::Slow(switch) => write!(f, "s{switch} speaks slowly"),
            Self::Full(switch) => write!(f, "s{switch} has no room for entries and meters"),
            Self::Fine(switch) => write!(f, "s{switch} is fine again"),
            Self::Replugged(jack) => write!(f, "{jack} is replugged and has another number"),
            Self::Claims { liar, victim } => write!(
                f,
                "host {} says that it has the address of host {}",
                liar + 1,
                victim + 1
            ),
        }
    }
}
