//! The life of a paid flow on its switches.
//!
//! Installing goes in phases, each confirmed by barriers before the next: first every switch where nothing of
//! the reservation is replaced, in parallel; then those where a new generation replaces entries of the
//! path before, from last to first; the ingress switch last. Removing goes the other way: the
//! ingress, one queue drain, everything else.

use std::{collections::BTreeMap, time::Duration};

use payflow_qos::{Class, Hop, Path, PortRef, Time};
use rust_openflow::{Instruction, Match, MeterId};

use super::{
    FlowCounters, FlowId, FlowPlan, Network, NetworkEvent, Selector, Timings,
    counting::Counted,
    entry::{
        FlowEntry, FlowKey, MatchExt, MeterSpec, mark, output, queue, reservation_meter, to_mac,
    },
    pipeline::{ADMISSION, PAID_PRIORITY},
};
use crate::core::planted::{Fault, is_planted};

/// A paid flow and how far it is.
pub(crate) struct Paid {
    pub(crate) plan: FlowPlan,
    /// The entries of every hop, in order.
    hops: Vec<HopEntry>,
    stage: Stage,
    /// Hard time-outs have taken every entry by then, if no switch was slower to read what it was told than the margin.
    gone_by: Time,
    /// Until then an incomplete path is not broken but not there yet.
    patient_until: Option<Time>,
    /// When its path was last seen broken.
    broken_at: Option<Time>,
    /// The path flaps, and is not believed whole before then.
    calm_at: Option<Time>,
    pub(crate) counters: FlowCounters,
    /// What the entries at the first switch showed last.
    pub(crate) last_seen: BTreeMap<Match, (u64, u64)>,
}

/// The entries at one hop, which do the same: ranges of ports take several matches.
struct HopEntry {
    hop: Hop,
    keys: Vec<FlowKey>,
    entry: FlowEntry,
    wanted: bool,
}

enum Stage {
    /// Indices of hops, phase by phase; those before `current` are confirmed. The service `lasts` for so long once all are;
    /// `None` if it has begun.
    Installing {
        phases: Vec<Vec<usize>>,
        current: usize,
        lasts: Option<Duration>,
    },
    Installed {
        broken: bool,
    },
    Removing {
        step: Step,
        waiting: Waiting,
    },
}

/// Who waits for [`NetworkEvent::Removed`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Nobody yet.
    Nobody,
    /// The desk.
    Desk,
    /// The desk was told that connected switches are clean, and waits for the others.
    ForTheRest,
}

#[derive(Clone, Copy)]
enum Step {
    Ingress,
    Draining { until: Time },
    Rest,
}

impl Paid {
    fn new(plan: FlowPlan, stage: Stage, grace: Duration) -> Self {
        let hops = hop_entries(&plan, grace);
        Self {
            gone_by: gone_by(&plan, grace),
            plan,
            hops,
            stage,
            patient_until: None,
            broken_at: None,
            calm_at: None,
            counters: FlowCounters::default(),
            last_seen: BTreeMap::new(),
        }
    }

    /// The path breaks, perhaps again and again.
    fn breaks(&mut self, now: Time, timings: &Timings) {
        let last = self.broken_at.replace(now);
        let flaps = last.is_some_and(|at| now.since(at) < timings.flapping);
        self.calm_at = flaps.then(|| now.plus(timings.calm));
    }

    /// It is broken, and was when it was looked at last, whatever it was between.
    fn is_still_broken(&mut self, now: Time, timings: &Timings) {
        self.broken_at = Some(now);
        if self.calm_at.is_some() {
            self.calm_at = Some(now.plus(timings.calm));
        }
    }

    fn meter(&self) -> (MeterId, MeterSpec) {
        let spec = MeterSpec::sold(self.plan.class, self.plan.rate);
        (reservation_meter(self.plan.flow.reservation), spec)
    }

    /// The entry at the first switch, and which switch that is.
    pub(crate) fn ingress(&self) -> Option<(Hop, &[FlowKey])> {
        self.hops
            .first()
            .map(|first| (first.hop, first.keys.as_slice()))
    }

    /// The same at the last switch.
    pub(crate) fn exit(&self) -> Option<(Hop, &[FlowKey])> {
        self.hops
            .last()
            .map(|last| (last.hop, last.keys.as_slice()))
    }

    /// The first switch is the last one, and one entry counts for both.
    pub(crate) fn is_at_one_switch(&self) -> bool {
        self.hops.len() == 1
    }

    /// When something happens that no switch will bring about.
    fn next_deadline(&self) -> Option<Time> {
        match self.stage {
            Stage::Removing {
                step: Step::Draining { until },
                ..
            } => Some(until),
            Stage::Removing {
                step: Step::Rest, ..
            } => Some(self.gone_by),
            Stage::Installed { .. } => self.patient_until.or(self.calm_at),
            _ => None,
        }
    }
}

impl Network {
    /// Puts a paid flow on its switches. Ends in [`NetworkEvent::Installed`] or
    /// [`NetworkEvent::InstallFailed`]; waits without limit for switches that are away and for links that are not proven,
    /// until [`Self::remove`].
    pub fn install(&mut self, plan: FlowPlan, now: Time) {
        let flow = plan.flow;
        if let Err(reason) = self.check(&plan) {
            self.emit(NetworkEvent::InstallFailed { flow, reason });
            return;
        }
        let lasts = (!plan.begun).then(|| plan.ends.since(now));
        let stage = Stage::Installing {
            phases: Vec::new(),
            current: 0,
            lasts,
        };
        let mut paid = Paid::new(plan, stage, self.config.timings.grace);
        let phases = self.phases(&paid);
        paid.stage = Stage::Installing {
            phases,
            current: 0,
            lasts,
        };
        self.want_phase(&mut paid, 0);
        // The meter of a later path has counted for the one before.
        let begins = flow.generation == 0 && !paid.plan.begun;
        let counted = self.counted.entry(flow.reservation);
        counted.or_insert_with(|| Counted::new(begins));
        self.flows.insert(flow, paid);
        self.progress(flow, now);
        self.settle(now);
    }

    /// After a restart of the controller: the flow is believed to be on its switches. They are compared when
    /// they connect, and only what differs is mended. No event tells that all is well, unless the flow was `suspended`:
    /// then [`NetworkEvent::PathRestored`] does. A path that is not complete when
    /// [`super::Timings::adoption_patience`] is over is broken. A plan that cannot be is
    /// [`NetworkEvent::InstallFailed`].
    pub fn adopt(&mut self, plan: FlowPlan, suspended: bool, now: Time) {
        let flow = plan.flow;
        if let Err(reason) = self.check(&plan) {
            self.emit(NetworkEvent::InstallFailed { flow, reason });
            return;
        }
        let mut paid = Paid::new(
            plan,
            Stage::Installed { broken: suspended },
            self.config.timings.grace,
        );
        paid.patient_until = Some(now.plus(self.config.timings.adoption_patience));
        for index in 0..paid.hops.len() {
            self.want_hop(&mut paid, index);
        }
        self.flow_timers
            .extend(paid.next_deadline().map(|at| (at, flow)));
        let counted = self.counted.entry(flow.reservation);
        let counted = counted.or_insert_with(|| Counted::new(false));
        if suspended {
            counted.stop();
        }
        self.flows.insert(flow, paid);
        self.settle(now);
    }

    /// After a restart of the controller: the flow has ended, and switches may still hold entries of it. Nothing of it is
    /// wanted; [`NetworkEvent::Removed`] tells at once that nothing is in reach, as no switch is, and later that nothing is
    /// left.
    pub fn recall(&mut self, plan: FlowPlan, now: Time) {
        let flow = plan.flow;
        let stage = Stage::Removing {
            step: Step::Rest,
            waiting: Waiting::Desk,
        };
        let paid = Paid::new(plan, stage, self.config.timings.grace);
        self.flows.insert(flow, paid);
        self.progress(flow, now);
        self.settle(now);
    }

    /// Says when the service ends. Hard time-outs are armed again only where the armed ones would end the
    /// service early, or leave entries behind for longer than twice the grace.
    pub fn set_end(&mut self, flow: FlowId, ends: Time, now: Time) {
        if let Some(mut paid) = self.flows.remove(&flow) {
            self.move_end(&mut paid, ends);
            self.flows.insert(flow, paid);
        }
        self.settle(now);
    }

    fn move_end(&mut self, paid: &mut Paid, ends: Time) {
        paid.plan.ends = ends;
        paid.gone_by = gone_by(&paid.plan, self.config.timings.grace);
        let until = hard_timeout(&paid.plan, self.config.timings.grace);
        for index in 0..paid.hops.len() {
            if let Some(hop) = paid.hops.get_mut(index) {
                hop.entry.until = until;
                if hop.wanted {
                    self.want_hop(paid, index);
                }
            }
        }
    }

    /// Takes a paid flow off its switches; ends in [`NetworkEvent::Removed`], and in a second one if a switch was away: what
    /// it holds and should not is deleted when it returns.
    pub fn remove(&mut self, flow: FlowId, now: Time) {
        match self.flows.get_mut(&flow).map(|paid| &mut paid.stage) {
            None => self.emit(NetworkEvent::Removed {
                flow,
                everywhere: true,
            }),
            Some(Stage::Removing { waiting, .. }) => *waiting = Waiting::Desk,
            Some(_) => self.begin_removal(flow, Waiting::Desk),
        }
        self.progress(flow, now);
        self.settle(now);
    }

    /// A port has another number: the entries of paid flows follow. What is being removed is removed where it is.
    pub(super) fn follow_port(&mut self, from: PortRef, to: PortRef) {
        self.moving.remove(&from);
        let grace = self.config.timings.grace;
        let flows: Vec<FlowId> = self.flows.keys().copied().collect();
        for flow in flows {
            let Some(mut paid) = self.flows.remove(&flow) else {
                continue;
            };
            let stays = !matches!(paid.stage, Stage::Removing { .. });
            if stays && paid.plan.path.renumber(from, to) {
                let hops = hop_entries(&paid.plan, grace);
                let before = std::mem::replace(&mut paid.hops, hops);
                for (index, old) in before.into_iter().enumerate() {
                    if old.wanted {
                        self.want_hop(&mut paid, index);
                        self.withdraw_keys(&paid, index, &old);
                    }
                }
                self.stirred.insert(flow);
            }
            self.flows.insert(flow, paid);
        }
    }

    /// No longer wants what a hop had under other keys than now.
    fn withdraw_keys(&mut self, paid: &Paid, index: usize, old: &HopEntry) {
        let Some(hop) = paid.hops.get(index) else {
            return;
        };
        if let Some(switch) = self.switches.get_mut(&old.hop.switch) {
            for key in old.keys.iter().filter(|key| !hop.keys.contains(*key)) {
                switch.reconciler.withdraw(paid.plan.flow, key);
            }
        }
    }

    /// What the first switch has counted, as of the last audit. `None` for a flow that is not on the switches.
    pub fn flow_counters(&self, flow: FlowId) -> Option<FlowCounters> {
        self.flows.get(&flow).map(|paid| paid.counters)
    }

    /// Whether the plan can be put on switches beside what is there.
    fn check(&self, plan: &FlowPlan) -> Result<(), String> {
        let Selector {
            source,
            destination,
            ..
        } = plan.selector;
        if !(1..FlowId::RESERVATION_LIMIT).contains(&plan.flow.reservation) {
            return Err("the reservation number does not fit the cookie".to_owned());
        }
        if plan.path.hops.is_empty() {
            return Err("the path has no switch".to_owned());
        }
        if !plan.class.is_sold() {
            return Err(format!("class {} is not sold", plan.class));
        }
        if source.is_ipv4() != destination.is_ipv4() {
            return Err("source and destination are of different address families".to_owned());
        }
        if self.flows.contains_key(&plan.flow) {
            return Err("this generation of the path is on the switches already".to_owned());
        }
        for HopEntry { hop, keys, .. } in hop_entries(plan, self.config.timings.grace) {
            let Some(switch) = self.switches.get(&hop.switch) else {
                continue;
            };
            let meter = reservation_meter(plan.flow.reservation);
            let is_taken = |key| switch.reconciler.is_taken(key, plan.flow);
            if keys.iter().any(is_taken) {
                return Err(format!(
                    "another reservation has the same packets at switch {}",
                    hop.switch
                ));
            }
            let taken = switch.reconciler.is_meter_taken(meter, plan.flow);
            if taken && !is_planted(Fault::ReuseMeterEarly) {
                return Err(format!(
                    "another reservation has the same meter at switch {}",
                    hop.switch
                ));
            }
        }
        Ok(())
    }

    /// In which order the hops are put on their switches.
    fn phases(&self, paid: &Paid) -> Vec<Vec<usize>> {
        let replaces = |hop: &HopEntry| {
            let switch = self.switches.get(&hop.hop.switch);
            switch.is_some_and(|switch| {
                let is_shared = |key| switch.reconciler.is_shared(key, paid.plan.flow);
                hop.keys.iter().any(is_shared)
            })
        };
        let later = || paid.hops.iter().enumerate().skip(1);
        let new: Vec<usize> = later()
            .filter(|(_, hop)| !replaces(hop))
            .map(|(index, _)| index)
            .collect();
        let replaced = later()
            .rev()
            .filter(|(_, hop)| replaces(hop))
            .map(|(index, _)| vec![index]);
        let phases = [new].into_iter().chain(replaced).chain([vec![0]]);
        phases.filter(|phase| !phase.is_empty()).collect()
    }

    fn want_phase(&mut self, paid: &mut Paid, phase: usize) {
        let Stage::Installing { phases, .. } = &paid.stage else {
            return;
        };
        for index in phases.get(phase).cloned().unwrap_or_default() {
            self.want_hop(paid, index);
        }
    }

    fn want_hop(&mut self, paid: &mut Paid, index: usize) {
        let flow = paid.plan.flow;
        let (meter, spec) = paid.meter();
        let Some(hop) = paid.hops.get_mut(index) else {
            return;
        };
        let reconciler = &mut self.switch_mut(hop.hop.switch).reconciler;
        if index == 0 {
            reconciler.want_meter(flow, meter, spec);
        }
        for key in &hop.keys {
            reconciler.want(flow, key.clone(), hop.entry.clone());
        }
        hop.wanted = true;
    }

    fn withdraw_hop(&mut self, paid: &mut Paid, index: usize, with_meter: bool) {
        let flow = paid.plan.flow;
        let (meter, _) = paid.meter();
        let Some(hop) = paid.hops.get_mut(index) else {
            return;
        };
        if let Some(switch) = self.switches.get_mut(&hop.hop.switch) {
            for key in &hop.keys {
                switch.reconciler.withdraw(flow, key);
            }
            if index == 0 && with_meter {
                switch.reconciler.withdraw_meter(flow, meter);
            }
        }
        hop.wanted = false;
    }

    /// A switch refused something of this flow.
    pub(crate) fn refused(&mut self, flow: FlowId, reason: String) {
        let Some(paid) = self.flows.get_mut(&flow) else {
            return;
        };
        match &mut paid.stage {
            Stage::Installing { .. } => {
                self.begin_removal(flow, Waiting::Nobody);
                self.emit(NetworkEvent::InstallFailed { flow, reason });
            }
            Stage::Installed { broken } if !*broken => {
                *broken = true;
                if let Some(counted) = self.counted.get_mut(&flow.reservation) {
                    counted.stop();
                }
                self.emit(NetworkEvent::PathBroken { flow, reason });
            }
            Stage::Installed { .. } | Stage::Removing { .. } => {}
        }
    }

    fn begin_removal(&mut self, flow: FlowId, waiting: Waiting) {
        let Some(mut paid) = self.flows.remove(&flow) else {
            return;
        };
        let was_open = paid.hops.first().is_some_and(|ingress| ingress.wanted);
        let step = if was_open { Step::Ingress } else { Step::Rest };
        self.withdraw_hop(&mut paid, 0, false);
        if !was_open {
            self.withdraw_rest(&mut paid);
        }
        paid.stage = Stage::Removing { step, waiting };
        self.flows.insert(flow, paid);
    }

    fn withdraw_rest(&mut self, paid: &mut Paid) {
        for index in 0..paid.hops.len() {
            self.withdraw_hop(paid, index, true);
        }
    }

    /// Goes on with a flow as far as the switches have confirmed.
    pub(crate) fn progress(&mut self, flow: FlowId, now: Time) {
        let Some(mut paid) = self.flows.remove(&flow) else {
            return;
        };
        let stays = match paid.stage {
            Stage::Installing { .. } => {
                self.go_on_installing(&mut paid, now);
                true
            }
            Stage::Installed { .. } => {
                self.look_after(&mut paid, now);
                true
            }
            Stage::Removing { .. } => self.go_on_removing(&mut paid, now),
        };
        if stays {
            // What was to happen by now waits for a switch, which will say so.
            let later = paid.next_deadline().filter(|at| *at > now);
            self.flow_timers.extend(later.map(|at| (at, flow)));
            self.flows.insert(flow, paid);
        } else {
            self.stop_counting(flow.reservation);
        }
    }

    fn go_on_installing(&mut self, paid: &mut Paid, now: Time) {
        // The service has not begun. Had it to wait for a switch, hard time-outs that were armed before would take it away
        // before they can be armed again.
        if let Stage::Installing {
            lasts: Some(lasts), ..
        } = paid.stage
        {
            let ends = now.plus(lasts);
            if ends > paid.plan.ends.plus(self.config.timings.grace / 2) {
                self.move_end(paid, ends);
            }
        }
        while let Stage::Installing {
            phases,
            current,
            lasts,
        } = &paid.stage
        {
            let indices = phases.get(*current).map(Vec::as_slice).unwrap_or_default();
            if !indices.iter().all(|index| self.is_held(paid, *index, now)) {
                return;
            }
            let next = current + 1;
            // Packets are let in when there is a way for them. Right after a restart switches are back before their links
            // are proven again.
            if next >= phases.len().saturating_sub(1)
                && self.path_problem(&paid.plan.path).is_some()
            {
                return;
            }
            if next < phases.len() {
                paid.stage = Stage::Installing {
                    phases: phases.clone(),
                    current: next,
                    lasts: *lasts,
                };
                self.want_phase(paid, next);
            } else {
                paid.stage = Stage::Installed { broken: false };
                // What it has replaced is over.
                paid.plan.replaced_ends = None;
                self.go_on_counting(paid.plan.flow);
                self.emit(NetworkEvent::Installed {
                    flow: paid.plan.flow,
                });
            }
        }
    }

    fn is_held(&self, paid: &Paid, index: usize, now: Time) -> bool {
        paid.hops.get(index).is_some_and(|hop| {
            let switch = self
                .switches
                .get(&hop.hop.switch)
                .filter(|switch| switch.is_read());
            switch.is_some_and(|switch| {
                let holds = |key| switch.reconciler.holds(key, now);
                hop.keys.iter().all(holds)
            })
        })
    }

    /// Tells when the path of an installed flow breaks, and when it is whole again.
    fn look_after(&mut self, paid: &mut Paid, now: Time) {
        let flow = paid.plan.flow;
        let Stage::Installed { broken } = &mut paid.stage else {
            return;
        };
        let (was_broken, problem) = (*broken, self.path_problem(&paid.plan.path));
        paid.patient_until = paid.patient_until.filter(|until| now < *until);
        // Links are proven again after a while; a port that is gone is gone.
        let patient = paid.patient_until.is_some() && self.port_problem(&paid.plan.path).is_none();
        match problem {
            Some(reason) if !was_broken && !patient => {
                *broken = true;
                paid.breaks(now, &self.config.timings);
                self.pause_counting(paid, now);
                self.emit(NetworkEvent::PathBroken { flow, reason });
                return;
            }
            Some(_) => {
                paid.is_still_broken(now, &self.config.timings);
                return;
            }
            None => {
                if !(0..paid.hops.len()).all(|index| self.is_held(paid, index, now)) {
                    return;
                }
                if was_broken {
                    if paid.calm_at.is_some_and(|at| now < at) {
                        return;
                    }
                    paid.calm_at = None;
                    paid.stage = Stage::Installed { broken: false };
                    self.go_on_counting(flow);
                    self.emit(NetworkEvent::PathRestored { flow });
                }
            }
        }
        paid.patient_until = None;
    }

    /// The first thing that keeps packets from following the path, from the edge port where they enter to the one where
    /// they leave. What is beyond those two is the hosts' own: whoever pulls its own cable is not credited for it.
    fn path_problem(&self, path: &Path) -> Option<String> {
        for hop in &path.hops {
            let read = self
                .switches
                .get(&hop.switch)
                .is_some_and(super::switch::Switch::is_read);
            if !read {
                return Some(format!("switch {} is not connected", hop.switch));
            }
        }
        if let Some(reason) = self.port_problem(path) {
            return Some(reason);
        }
        let links = path.hops.iter().zip(path.hops.iter().skip(1));
        links.into_iter().find_map(|(hop, next)| {
            for end in [hop.egress(), next.ingress()] {
                let up = self
                    .switches
                    .get(&end.switch)
                    .is_some_and(|switch| switch.is_up(end.port));
                if !up {
                    return Some(format!("port {end} is down"));
                }
            }
            let whole = self.topology.peer(hop.egress()) == Some(next.ingress());
            (!whole).then(|| {
                format!(
                    "the link from {} to {} is gone",
                    hop.egress(),
                    next.ingress()
                )
            })
        })
    }

    /// The first port of the path that its switch does not have, or not under this number, or that has come back without the
    /// queues of what leaves there.
    fn port_problem(&self, path: &Path) -> Option<String> {
        path.hops.iter().find_map(|hop| {
            let switch = self.switches.get(&hop.switch).filter(|it| it.is_read())?;
            for port in [hop.ingress(), hop.egress()] {
                if self.moving.contains(&port) {
                    return Some(format!("port {port} is getting another number"));
                }
                if !switch.ports.contains_key(&port.port) {
                    return Some(format!("port {port} is gone"));
                }
            }
            let out = hop.egress();
            let lost = self.has_lost_classes(out.switch, self.port_name(out)?);
            lost.then(|| format!("port {out} has no class queues yet"))
        })
    }

    /// Whether the flow stays.
    fn go_on_removing(&mut self, paid: &mut Paid, now: Time) -> bool {
        let flow = paid.plan.flow;
        while let Stage::Removing { step, waiting } = paid.stage {
            let next = match step {
                Step::Ingress if self.is_gone(paid, 0) => {
                    self.ask_for_entered(paid, now);
                    let until = now.plus(self.config.timings.drain);
                    Step::Draining { until }
                }
                Step::Draining { until } if until <= now => {
                    if let Some(until) = self.keep_counting_until(paid).filter(|at| *at > now) {
                        paid.stage = Stage::Removing {
                            step: Step::Draining { until },
                            waiting,
                        };
                        return true;
                    }
                    self.ask_for_left(paid, now);
                    self.withdraw_rest(paid);
                    Step::Rest
                }
                Step::Rest if (0..paid.hops.len()).all(|index| self.is_gone(paid, index)) => {
                    let everywhere = paid.gone_by <= now || !self.is_out_of_reach(paid);
                    let tells = match waiting {
                        Waiting::Nobody => false,
                        Waiting::Desk => true,
                        Waiting::ForTheRest => everywhere,
                    };
                    if tells {
                        let counters = std::mem::take(&mut paid.counters);
                        if counters != FlowCounters::default() {
                            self.emit(NetworkEvent::Counted { flow, counters });
                        }
                        self.emit(NetworkEvent::Removed { flow, everywhere });
                        let waiting = Waiting::ForTheRest;
                        paid.stage = Stage::Removing { step, waiting };
                    }
                    return !everywhere;
                }
                Step::Ingress | Step::Draining { .. } | Step::Rest => return true,
            };
            paid.stage = Stage::Removing {
                step: next,
                waiting,
            };
        }
        true
    }

    /// Whether a switch of the path is away, so that nobody knows what it holds.
    fn is_out_of_reach(&self, paid: &Paid) -> bool {
        let read = |hop: &HopEntry| {
            let switch = self.switches.get(&hop.hop.switch);
            switch.is_some_and(super::switch::Switch::is_read)
        };
        !paid.hops.iter().all(read)
    }

    /// Whether nothing of the flow is left at a hop; a switch that is away counts as clean.
    fn is_gone(&self, paid: &Paid, index: usize) -> bool {
        let Some(hop) = paid.hops.get(index) else {
            return true;
        };
        let Some(switch) = self
            .switches
            .get(&hop.hop.switch)
            .filter(|switch| switch.is_read())
        else {
            return true;
        };
        let removing_all = matches!(
            paid.stage,
            Stage::Removing {
                step: Step::Rest,
                ..
            }
        );
        let meter_gone =
            index != 0 || !removing_all || switch.reconciler.is_meter_gone(paid.meter().0);
        let is_gone = |key| switch.reconciler.is_gone(key, paid.plan.flow);
        hop.keys.iter().all(is_gone) && meter_gone
    }
}

/// Time-outs are armed again only when they are off by more than a grace; and may be armed late.
fn gone_by(plan: &FlowPlan, grace: Duration) -> Time {
    last_needed(plan).plus(grace * 3)
}

/// When nothing of it is paid for any more, nor of what it is still to replace.
fn last_needed(plan: &FlowPlan) -> Time {
    plan.replaced_ends.map_or(plan.ends, |it| it.max(plan.ends))
}

/// When the entries of a flow go by themselves, should nobody be there to remove them.
fn hard_timeout(plan: &FlowPlan, grace: Duration) -> Option<Time> {
    if is_planted(Fault::ForgetTimeout) {
        return None;
    }
    Some(last_needed(plan).plus(grace))
}

/// The entries of every hop.
fn hop_entries(plan: &FlowPlan, grace: Duration) -> Vec<HopEntry> {
    let last = plan.path.hops.len().saturating_sub(1);
    let until = hard_timeout(plan, grace);
    let ports = [plan.selector.source_port, plan.selector.destination_port];
    let more_specific = ports.into_iter().flatten().map(|_| 1).sum::<u16>();
    let matches = plan.selector.matches();
    let entry = |(index, hop): (usize, &Hop)| {
        let meter =
            (index == 0).then(|| Instruction::Meter(reservation_meter(plan.flow.reservation)));
        let key = |selected: &Match| {
            let selected = selected.clone().port_in(hop.in_port);
            FlowKey {
                table: ADMISSION,
                priority: PAID_PRIORITY + more_specific,
                matching: if index == 0 {
                    selected.mac_src(plan.source_mac)
                } else {
                    selected.ip_dscp(plan.class.dscp())
                },
            }
        };
        let written = match index {
            // No mark leaves the network, and no lie about the destination's address leads the packets astray.
            _ if index == last => vec![mark(Class::BestEffort), to_mac(plan.destination_mac)],
            0 => vec![mark(plan.class)],
            _ => vec![],
        };
        let actions = written
            .into_iter()
            .chain([queue(plan.class), output(hop.out_port)])
            .collect();
        let instructions = meter
            .into_iter()
            .chain([Instruction::ApplyActions(actions)])
            .collect();
        HopEntry {
            hop: *hop,
            keys: matches.iter().map(key).collect(),
            entry: FlowEntry {
                until,
                ..FlowEntry::new(instructions)
            },
            wanted: false,
        }
    };
    plan.path.hops.iter().enumerate().map(entry).collect()
}
