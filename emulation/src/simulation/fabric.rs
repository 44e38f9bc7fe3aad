//! A data plane without packets: links, hosts, and which paid flows are carried.
//!
//! [`Fabric`] is the network itself: it goes on when the controller dies, and flows whose time is over go by
//! themselves. [`Plane`] is what one life of the controller sees of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use payflow_controller::core::DataPlane;
use payflow_controller::core::network::{
    FlowId, FlowPlan, Host, MacAddr, NetworkEvent, NetworkInput, NetworkOutput, SwitchView,
};
use payflow_qos::{BitRate, PortNo, PortRef, SwitchId, Time, Topology};

use super::chance::Chance;

/// After its end an entry stays for so long, as hard time-outs are set.
pub const ENTRY_GRACE: Duration = Duration::from_secs(3);

/// What a trunk carries.
pub const TRUNK: BitRate = BitRate(20_000_000);

/// How often, in a thousand, and how slowly the network does what it is told.
#[derive(Clone, Copy, Debug)]
pub struct Temper {
    /// An installation is refused.
    pub refuses: u64,
    /// An installation takes very long.
    pub dawdles: u64,
}

/// A flow on the switches.
#[derive(Clone, Debug)]
pub struct Carried {
    /// What was asked for.
    pub plan: FlowPlan,
    /// Every switch has confirmed.
    pub confirmed: bool,
}

/// The network itself. It outlives every controller.
pub struct Fabric {
    /// Links and capacities.
    pub topology: Topology,
    /// Hosts by address.
    pub hosts: BTreeMap<IpAddr, Host>,
    /// Flows on the switches.
    pub flows: BTreeMap<FlowId, Carried>,
    /// Trunks that are down, by either end.
    pub down: BTreeSet<PortRef>,
    /// For the observer: everything that began or ceased to be carried, in order.
    pub changes: VecDeque<Change>,
    temper: Temper,
    chance: Chance,
}

/// What the observer is told.
#[derive(Clone, Debug)]
pub enum Change {
    /// The controller has begun to install a flow.
    Begun(FlowPlan),
    /// Every switch has confirmed it.
    Carried(FlowId),
    /// It is no longer there.
    Gone(FlowId),
}

impl Fabric {
    /// A ring of four switches with two hosts each, so that there are two ways to everywhere.
    #[must_use]
    pub fn ring(chance: Chance, temper: Temper) -> Self {
        const SWITCHES: u64 = 4;
        let mut topology = Topology::new();
        let mut hosts = BTreeMap::new();
        for switch in 1..=SWITCHES {
            topology.add_switch(SwitchId(switch));
        }
        for a in 1..=SWITCHES {
            let b = a % SWITCHES + 1;
            let (out, back) = (port(a, 101), port(b, 102));
            for (from, to) in [(out, back), (back, out)] {
                topology.add_link(from, to);
                topology.set_capacity(from, TRUNK);
            }
            for number in 1..=2_u32 {
                let last = u8::try_from(2 * (a - 1)).unwrap_or_default()
                    + u8::try_from(number).unwrap_or_default();
                let at = port(a, number);
                topology.set_capacity(at, BitRate(1_000_000_000));
                let address = IpAddr::from([10, 0, 0, last]);
                let host = Host {
                    address,
                    mac: MacAddr([2, 0, 0, 0, 0, last]),
                    port: at,
                    since: Time::default(),
                };
                hosts.insert(address, host);
            }
        }
        Self {
            topology,
            hosts,
            flows: BTreeMap::new(),
            down: BTreeSet::new(),
            changes: VecDeque::new(),
            temper,
            chance,
        }
    }

    /// From now on everything is done, and at once.
    pub fn calm(&mut self) {
        self.temper = Temper {
            refuses: 0,
            dawdles: 0,
        };
        self.down.clear();
    }

    /// Flows whose hard time-out is over go by themselves.
    pub fn expire(&mut self, now: Time) {
        let over: Vec<FlowId> = self
            .flows
            .iter()
            .filter(|(_, it)| it.plan.ends.plus(ENTRY_GRACE) <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.take_off(id);
        }
    }

    fn take_off(&mut self, id: FlowId) {
        if self.flows.remove(&id).is_some() {
            self.changes.push_back(Change::Gone(id));
        }
    }

    /// Whether every link of the flow's path is up.
    #[must_use]
    pub fn is_whole(&self, plan: &FlowPlan) -> bool {
        plan.path
            .egress_ports()
            .all(|link| !self.down.contains(&link))
    }
}

fn port(switch: u64, number: u32) -> PortRef {
    PortRef {
        switch: SwitchId(switch),
        port: PortNo(number),
    }
}

enum Doing {
    Installing { fails: bool, at: Time },
    Carrying { broken: bool },
    Removing { at: Time },
}

/// What one life of the controller sees of the fabric.
pub struct Plane {
    fabric: Arc<Mutex<Fabric>>,
    topology: Topology,
    doing: BTreeMap<FlowId, (FlowPlan, Doing)>,
    outputs: VecDeque<NetworkOutput>,
    /// Flows that nobody has adopted by then are taken off.
    sweep_at: Option<Time>,
}

impl Plane {
    /// A controller begins to live.
    #[must_use]
    pub fn new(fabric: Arc<Mutex<Fabric>>, now: Time) -> Self {
        let topology = fabric.lock().topology.clone();
        let outputs = topology
            .capacities()
            .map(|(link, capacity)| {
                let capacity = Some(capacity);
                NetworkOutput::Event(NetworkEvent::Capacity { link, capacity })
            })
            .collect();
        Self {
            fabric,
            topology,
            doing: BTreeMap::new(),
            outputs,
            sweep_at: Some(now.plus(Duration::from_millis(200))),
        }
    }

    fn tell(&mut self, event: NetworkEvent) {
        self.outputs.push_back(NetworkOutput::Event(event));
    }

    fn look(&mut self, now: Time) {
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_at = None;
            let mut fabric = self.fabric.lock();
            let strange: Vec<FlowId> = fabric
                .flows
                .keys()
                .filter(|id| !self.doing.contains_key(id))
                .copied()
                .collect();
            strange.into_iter().for_each(|id| fabric.take_off(id));
        }
        let flows: Vec<FlowId> = self.doing.keys().copied().collect();
        for flow in flows {
            self.step(flow, now);
        }
    }

    fn step(&mut self, flow: FlowId, now: Time) {
        let Some((plan, doing)) = self.doing.get_mut(&flow) else {
            return;
        };
        let mut fabric = self.fabric.lock();
        let whole = fabric.is_whole(plan);
        let news = match doing {
            Doing::Installing { fails: true, at } if *at <= now => {
                self.doing.remove(&flow);
                fabric.take_off(flow);
                let reason = "the switch refused".to_owned();
                Some(NetworkEvent::InstallFailed { flow, reason })
            }
            Doing::Installing { at, .. } if *at <= now && whole => {
                *doing = Doing::Carrying { broken: false };
                match fabric.flows.get_mut(&flow) {
                    Some(carried) => carried.confirmed = true,
                    // Its hard time-out was over before the last switch confirmed.
                    None => {
                        let carried = Carried {
                            plan: plan.clone(),
                            confirmed: true,
                        };
                        fabric.flows.insert(flow, carried);
                    }
                }
                fabric.changes.push_back(Change::Carried(flow));
                Some(NetworkEvent::Installed { flow })
            }
            Doing::Carrying { broken } if *broken == whole => {
                *broken = !whole;
                let reason = "a link is down".to_owned();
                Some(if whole {
                    NetworkEvent::PathRestored { flow }
                } else {
                    NetworkEvent::PathBroken { flow, reason }
                })
            }
            Doing::Removing { at } if *at <= now => {
                self.doing.remove(&flow);
                fabric.take_off(flow);
                Some(NetworkEvent::Removed { flow })
            }
            Doing::Installing { .. } | Doing::Carrying { .. } | Doing::Removing { .. } => None,
        };
        drop(fabric);
        if let Some(news) = news {
            self.tell(news);
        }
    }
}

impl DataPlane for Plane {
    fn handle(&mut self, _: NetworkInput, now: Time) {
        self.look(now);
    }

    fn poll(&mut self) -> Option<NetworkOutput> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<Time> {
        self.doing
            .values()
            .filter_map(|(plan, doing)| match doing {
                // One that waits for a link is looked at when the link is up.
                Doing::Installing { fails, at } => {
                    (*fails || self.fabric.lock().is_whole(plan)).then_some(*at)
                }
                Doing::Removing { at } => Some(*at),
                Doing::Carrying { .. } => None,
            })
            .chain(self.sweep_at)
            .min()
    }

    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn host(&self, address: IpAddr) -> Option<Host> {
        self.fabric.lock().hosts.get(&address).cloned()
    }

    fn hosts(&self) -> Vec<Host> {
        self.fabric.lock().hosts.values().cloned().collect()
    }

    fn switches(&self) -> Vec<SwitchView> {
        Vec::new()
    }

    fn install(&mut self, plan: FlowPlan, now: Time) {
        let mut fabric = self.fabric.lock();
        let Temper { refuses, dawdles } = fabric.temper;
        let fails = fabric.chance.happens(refuses);
        let slow = fabric.chance.happens(dawdles);
        let pause = if slow {
            fabric.chance.millis(2_000, 15_000)
        } else {
            fabric.chance.millis(1, 8)
        };
        fabric.changes.push_back(Change::Begun(plan.clone()));
        let carried = Carried {
            plan: plan.clone(),
            confirmed: false,
        };
        fabric.flows.insert(plan.flow, carried);
        drop(fabric);
        let at = now.plus(pause);
        self.doing
            .insert(plan.flow, (plan, Doing::Installing { fails, at }));
    }

    fn adopt(&mut self, plan: FlowPlan, suspended: bool, now: Time) {
        let (there, whole) = {
            let fabric = self.fabric.lock();
            let there = fabric.flows.get(&plan.flow).is_some_and(|it| it.confirmed);
            (there, fabric.is_whole(&plan))
        };
        let flow = plan.flow;
        if !there {
            self.install(plan.clone(), now);
            if let Some((_, Doing::Installing { fails, .. })) = self.doing.get_mut(&flow) {
                *fails = false;
            }
            return;
        }
        if let Some(carried) = self.fabric.lock().flows.get_mut(&flow) {
            carried.plan = plan.clone();
        }
        let broken = suspended || !whole;
        self.doing.insert(flow, (plan, Doing::Carrying { broken }));
        if !whole && !suspended {
            let reason = "a link is down".to_owned();
            self.tell(NetworkEvent::PathBroken { flow, reason });
        }
    }

    fn set_end(&mut self, flow: FlowId, ends: Time, _: Time) {
        let Some((plan, doing)) = self.doing.get_mut(&flow) else {
            return;
        };
        plan.ends = ends;
        let confirmed = matches!(doing, Doing::Carrying { .. });
        let mut fabric = self.fabric.lock();
        match fabric.flows.get_mut(&flow) {
            Some(carried) => carried.plan.ends = ends,
            // Entries whose hard time-out was over before this are written again.
            None if confirmed => {
                let plan = plan.clone();
                fabric.flows.insert(flow, Carried { plan, confirmed });
                fabric.changes.push_back(Change::Carried(flow));
            }
            None => {}
        }
    }

    fn remove(&mut self, flow: FlowId, now: Time) {
        let pause = self.fabric.lock().chance.millis(1, 400);
        match self.doing.get_mut(&flow) {
            Some((_, doing)) => {
                *doing = Doing::Removing {
                    at: now.plus(pause),
                };
            }
            None => self.tell(NetworkEvent::Removed { flow }),
        }
    }
}
