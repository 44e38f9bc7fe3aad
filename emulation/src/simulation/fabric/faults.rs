//! What goes wrong with cables, switches and lines, and how long it lasts.

use std::time::Duration;

use payflow_qos::{BitRate, PortRef, Time};
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
    /// Somebody is about to take a port out and put it in again, sometimes one more of the same switch, and sometimes the
    /// database forgets what was declared of it.
    Replugs(Jack),
    /// A port is taken out.
    TakenOut(Jack),
    /// It is put in again.
    PutIn(Jack, NumberAfter),
    /// The database forgets what was declared of a port.
    Undeclared(Jack),
    /// It is declared again.
    Declared(Jack),
    /// A socket's cable carries less than it was built for, and that is declared.
    Shrinks {
        /// This end.
        jack: Jack,
        /// So many thousandths.
        permille: u64,
    },
    /// It carries all of it again.
    Grows(Jack),
    /// A host says it has the address of another.
    Claims {
        /// Index of the host that lies.
        liar: usize,
        /// Index of the host it speaks for.
        victim: usize,
    },
}

/// Which number a port has when it is put in again, where that is free; else one that is unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberAfter {
    /// The one it had.
    Old,
    /// One that no port of the switch ever had.
    Unused,
    /// One that another port had.
    OfAnother,
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

    /// Any socket that is in use.
    pub fn any_jack(&self, chance: &mut Chance) -> Option<Jack> {
        let jacks: Vec<Jack> = self.shape.jacks().map(|(jack, ..)| jack).collect();
        chance.pick(&jacks).copied()
    }

    /// From now on nothing goes wrong any more, and everything is mended.
    pub fn calm(&mut self, now: Time) {
        self.faults.clear();
        for jack in self.down.clone().into_iter().chain(self.silent.clone()) {
            self.mend(jack, now);
        }
        for jack in self.undeclared.clone() {
            self.fault(Fault::Declared(jack), now);
        }
        for (jack, ..) in self.shape.clone().jacks() {
            self.fault(Fault::Grows(jack), now);
            self.fault(Fault::PutIn(jack, NumberAfter::Unused), now);
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
            Fault::PutIn(jack, number) => self.put_in(jack, number, now),
            Fault::Declared(jack) => self.declare(jack, true),
            Fault::Grows(jack) => self.carries(jack, 1_000),
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
            Fault::Replugs(jack) => {
                self.plan_replug(jack);
                if self.chance.happens(300)
                    && let Some(other) = self.any_jack_of(jack.switch).filter(|it| *it != jack)
                {
                    self.plan_replug(other);
                }
            }
            Fault::TakenOut(jack) => self.take_out(jack, now),
            Fault::Undeclared(jack) => self.declare(jack, false),
            Fault::Shrinks { jack, permille } => {
                self.carries(jack, permille);
                let lasts = self.chance.millis(1_000, 40_000);
                self.plan(lasts, Happening::Fault(Fault::Grows(jack)));
            }
            Fault::Claims { liar, victim } => self.claim(liar, victim, now),
        }
    }

    fn fine_later(&mut self, switch: u64) {
        let lasts = self.chance.millis(500, 20_000);
        self.plan(lasts, Happening::Fault(Fault::Fine(switch)));
    }

    pub(super) fn break_cable(&mut self, jack: Jack, told: bool, now: Time) {
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

    pub(super) fn mend(&mut self, jack: Jack, now: Time) {
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

    fn any_jack_of(&mut self, switch: u64) -> Option<Jack> {
        let jacks = self.shape.jacks().map(|(jack, ..)| jack);
        let jacks: Vec<Jack> = jacks.filter(|jack| jack.switch == switch).collect();
        self.chance.pick(&jacks).copied()
    }

    /// The switch and its database tell of it in any order, both times.
    fn plan_replug(&mut self, jack: Jack) {
        let about = |chance: &mut Chance| chance.millis(0, 300);
        let (out, lasts) = (about(&mut self.chance), self.chance.millis(0, 15_000));
        let kinds = [
            NumberAfter::Old,
            NumberAfter::Unused,
            NumberAfter::OfAnother,
        ];
        let number = self.chance.pick(&kinds).copied();
        let number = number.unwrap_or(NumberAfter::Old);
        self.plan(out, Happening::Fault(Fault::TakenOut(jack)));
        let back = out + lasts + about(&mut self.chance);
        self.plan(back, Happening::Fault(Fault::PutIn(jack, number)));
        if self.chance.happens(500) {
            let forgotten = about(&mut self.chance);
            self.plan(forgotten, Happening::Fault(Fault::Undeclared(jack)));
            // Sometimes somebody remembers only later to declare it.
            let late = if self.chance.happens(150) {
                self.chance.millis(0, 15_000)
            } else {
                Duration::ZERO
            };
            let again = out + lasts + about(&mut self.chance) + late;
            let again = again.max(forgotten + Duration::from_millis(1));
            self.plan(again, Happening::Fault(Fault::Declared(jack)));
        }
    }

    fn take_out(&mut self, jack: Jack, now: Time) {
        let at = self.uptime(now);
        let Some(number) = self.numbers.remove(&jack) else {
            return;
        };
        self.cables_changed += 1;
        self.last_numbers.insert(jack, number);
        self.jacks.remove(&PortRef::new(jack.switch, number.0));
        if let Some(place) = self.places.get_mut(&jack.switch) {
            place
                .switch
                .remove_port(rust_openflow::PortNo(number.0), at);
        }
        self.touch(jack.switch, now);
    }

    fn put_in(&mut self, jack: Jack, number: NumberAfter, now: Time) {
        if self.numbers.contains_key(&jack) {
            return;
        }
        let number = self.number_after(jack, number);
        self.plug(jack, number, now);
        if self.down.contains(&jack) {
            self.set_link(jack, false, now);
        }
        self.touch(jack.switch, now);
    }

    fn number_after(&mut self, jack: Jack, wanted: NumberAfter) -> u32 {
        let old = self.last_numbers.get(&jack).map(|number| number.0);
        let free: Vec<u32> = self
            .had
            .keys()
            .filter(|port| port.switch.0 == jack.switch && !self.jacks.contains_key(port))
            .map(|port| port.port.0)
            .collect();
        let others: Vec<u32> = free.iter().copied().filter(|it| Some(*it) != old).collect();
        let number = match wanted {
            NumberAfter::Old => old.filter(|old| free.contains(old)),
            NumberAfter::OfAnother => self.chance.pick(&others).copied(),
            NumberAfter::Unused => None,
        };
        number.unwrap_or_else(|| {
            self.unused_number += 1;
            self.unused_number
        })
    }

    /// The database says what is declared of a port, or that nothing is.
    fn declare(&mut self, jack: Jack, declared: bool) {
        let changed = if declared {
            self.undeclared.remove(&jack)
        } else {
            self.undeclared.insert(jack)
        };
        if changed && self.alive {
            let facts = self.facts_of(jack);
            self.inputs.extend(facts);
        }
    }

    /// A socket's cable carries so many thousandths of what it was built for, and the database says so.
    fn carries(&mut self, jack: Jack, permille: u64) {
        let mut built = self.shape.jacks();
        let Some((_, built, _)) = built.find(|(it, ..)| *it == jack) else {
            return;
        };
        let capacity = BitRate(built.0 / 1_000 * permille);
        if self.capacities.insert(jack, capacity) == Some(capacity) {
            return;
        }
        self.cables_changed += 1;
        if self.alive {
            let facts = self.facts_of(jack);
            self.inputs.extend(facts);
        }
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
            | Self::Replugs(_)
            | Self::TakenOut(_)
            | Self::PutIn(..)
            | Self::Undeclared(_)
            | Self::Declared(_)
            | Self::Shrinks { .. }
            | Self::Grows(_) => true,
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
        matches!(
            self,
            Self::CableBreaks { told: true, .. } | Self::TakenOut(_)
        )
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
            Self::Replugs(jack) => write!(f, "{jack} is about to be replugged"),
            Self::TakenOut(jack) => write!(f, "{jack} is taken out"),
            Self::PutIn(jack, number) => {
                let number = match number {
                    NumberAfter::Old => "its old number",
                    NumberAfter::Unused => "an unused number",
                    NumberAfter::OfAnother => "a number that another port had",
                };
                write!(f, "{jack} is put in, under {number}")
            }
            Self::Undeclared(jack) => write!(f, "nothing is declared of {jack} any more"),
            Self::Declared(jack) => write!(f, "{jack} is declared again"),
            Self::Shrinks { jack, permille } => write!(
                f,
                "{jack} carries {permille} thousandths of what it was built for"
            ),
            Self::Grows(jack) => write!(f, "{jack} carries all of what it was built for"),
            Self::Claims { liar, victim } => write!(
                f,
                "host {} says that it has the address of host {}",
                liar + 1,
                victim + 1
            ),
        }
    }
}
