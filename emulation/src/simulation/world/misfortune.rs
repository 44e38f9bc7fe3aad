//! What goes wrong in the course of a simulation, and when.

use std::time::Duration;

use payflow_controller::core::io::{Caller, Input, Request, RequestId};
use payflow_controller::core::reply::Drain;
use payflow_qos::{PortRef, SwitchId};

use super::{BEGIN, Event, ROUGH_FOR, World};
use crate::simulation::FaultKind;
use crate::simulation::chance::Chance;
use crate::simulation::fabric::shape::{HOSTS, Jack};
use crate::simulation::fabric::{Fault, Happening};

/// The last misfortune begins so long before the calm.
const LAST: u64 = 5_000;

impl World {
    /// Every kind of misfortune strikes at its own times, which do not change when another is left out.
    pub(super) fn plan_misfortune(&mut self, seed: u64) {
        let latest = u64::try_from(ROUGH_FOR.as_millis()).unwrap_or_default() - LAST;
        for kind in self.scenario.faults.clone() {
            let mut chance = Chance::of(seed, "misfortune", kind as u64);
            let strikes = match kind {
                FaultKind::Crash => chance.between(0, 6),
                FaultKind::Cable | FaultKind::Claim | FaultKind::Replug => chance.between(0, 5),
                FaultKind::Ledger | FaultKind::Line | FaultKind::Refuse => chance.between(0, 3),
                // These are a matter of how often, not of when.
                FaultKind::Disk | FaultKind::Database => 0,
                // Most seeds know none of these, so that there are quiet ones, too.
                _ if chance.happens(600) => 0,
                _ => chance.between(1, 3),
            };
            for _ in 0..strikes {
                let when = chance.millis(1_000, latest);
                if let Some(event) = self.misfortune(kind, &mut chance) {
                    self.at(when, event);
                }
            }
        }
    }

    fn misfortune(&self, kind: FaultKind, chance: &mut Chance) -> Option<Event> {
        let switch = self.fabric.any_switch(chance);
        let fault = match kind {
            FaultKind::Crash => return Some(Event::Crash),
            FaultKind::Ledger => return Some(Event::LedgerGoes),
            FaultKind::Disk | FaultKind::Database => return None,
            FaultKind::Cable => Fault::CableBreaks {
                jack: self.fabric.any_trunk(chance)?,
                told: chance.happens(700),
            },
            FaultKind::Restart => Fault::Restart(switch),
            FaultKind::Line => Fault::LineLost(switch),
            FaultKind::Cut => Fault::LineCut(switch),
            FaultKind::Stall => Fault::Stall {
                switch,
                lasts: chance.millis(200, 25_000),
            },
            FaultKind::Refuse => Fault::Refuses {
                switch,
                skip: u32::try_from(chance.between(0, 12)).unwrap_or_default(),
                times: u32::try_from(chance.between(1, 4)).unwrap_or_default(),
            },
            FaultKind::Drain => {
                let whole = chance.happens(300);
                let jack = if whole {
                    None
                } else {
                    Some(self.fabric.any_trunk(chance)?)
                };
                return Some(Event::Drain {
                    switch: jack.map_or(switch, |jack| jack.switch),
                    jack,
                    drained: true,
                });
            }
            FaultKind::Shrink => Fault::Shrinks {
                jack: self.fabric.any_jack(chance)?,
                permille: chance.between(100, 900),
            },
            FaultKind::Full => Fault::Full(switch),
            FaultKind::Slow => Fault::Slow(switch),
            FaultKind::Replug => Fault::Replugs(self.fabric.any_jack(chance)?),
            FaultKind::Claim => {
                let any = |chance: &mut Chance| {
                    usize::try_from(chance.between(0, HOSTS.into())).unwrap_or_default()
                };
                let (liar, victim) = (any(chance), any(chance));
                if liar == victim {
                    return None;
                }
                Fault::Claims { liar, victim }
            }
        };
        Some(Event::Network(Happening::Fault(fault)))
    }

    pub(super) fn disk_begins(&mut self, life: u32) {
        self.disk.begin();
        let slow = self.goes_wrong(FaultKind::Disk) && self.chance.happens(20);
        let pause = if slow {
            self.chance.millis(100, 3_000)
        } else {
            self.chance.millis(1, 8)
        };
        self.at(pause, Event::DiskEnds { life });
    }

    pub(super) fn disk_ends(&mut self) {
        if self.goes_wrong(FaultKind::Disk) && self.chance.happens(2) {
            self.tell(|| "disk: a commit fails, and the controller stops".to_owned());
            self.crash();
        } else if let Some(through) = self.disk.finish() {
            self.tell_records();
            self.feed(payflow_controller::core::io::Input::Journaled { through });
        }
    }

    /// The operator drains a link or a switch, and ends that later.
    pub(super) fn drain_request(&mut self, switch: u64, jack: Option<Jack>, drained: bool) {
        if drained && !self.rough {
            return;
        }
        let number = jack.map(|jack| self.fabric.number(jack));
        if self.life.is_none() || number == Some(None) {
            let pause = Duration::from_secs(3);
            self.at(
                pause,
                Event::Drain {
                    switch,
                    jack,
                    drained,
                },
            );
            return;
        }
        self.tell(|| {
            let what = jack.map_or(format!("s{switch}"), |jack| jack.to_string());
            let end = if drained { "" } else { " no longer" };
            format!("operator: drains {what}{end}")
        });
        if drained {
            let lasts = self.chance.millis(3_000, 40_000);
            self.at(
                lasts,
                Event::Drain {
                    switch,
                    jack,
                    drained: false,
                },
            );
        } else {
            self.observer.drained_no_longer(switch, jack);
        }
        self.requests += 1;
        let caller = Caller {
            operator: true,
            ..Caller::default()
        };
        self.feed(Input::Request {
            id: RequestId(self.requests),
            caller,
            request: Request::Drain {
                switch: SwitchId(switch),
                port: number.flatten(),
                drained,
            },
        });
    }

    /// The controller says that something is drained.
    pub(super) fn drained(&mut self, drain: &Drain) {
        self.tell(|| {
            format!(
                "controller: of what was carried there {:?} move and {:?} stay",
                drain.moved, drain.stay
            )
        });
        if drain.drained {
            let port = drain.port.map(|port| PortRef {
                switch: drain.switch,
                port,
            });
            let jack = port.map(|port| self.fabric.jack(port));
            if jack != Some(None) {
                let switch = drain.switch.0;
                self.observer.drained(switch, jack.flatten(), self.now);
            }
        }
    }

    pub(super) fn calm(&mut self) {
        self.rough = false;
        self.tell(|| "from here on nothing goes wrong any more".to_owned());
        self.observer.disturbed(false, self.now);
        self.fabric.calm(self.now);
        self.ledger_returns();
        self.start();
    }

    /// Whether it is still the time of misfortune, whatever the scenario.
    pub(super) fn is_early(&self) -> bool {
        self.now.since(BEGIN) < ROUGH_FOR + Duration::from_secs(20)
    }
}
