//! The data plane as the core sees it: switches, links, hosts, best-effort forwarding and the
//! entries of paid flows.
//!
//! Pure: switch bytes, port facts and time come in ([`NetworkInput`]); switch bytes, queue orders
//! and events go out ([`NetworkOutput`]).
//!
//! | file | what it knows |
//! |---|---|
//! | `identity` | who may speak for a datapath id |
//! | `fitness` | what a switch must have for something to be sold across it |
//! | `agenda` | which connections and switches have to be looked at |
//! | `switch`, `conversation` | a switch, its connections, what is asked at the start and at audits |
//! | `reconcile`, `rows`, `claims` | the difference between what is wanted on a switch and what it holds |
//! | `pipeline` | the flow tables of a switch |
//! | `ports`, `discovery`, `capacity` | what a port is open for, which ports are links, what they can carry |
//! | `replug` | ports that are taken out and come back, under whatever number |
//! | `hosts`, `frames`, `learning` | who is where, and the frames that tell |
//! | `loads` | what ports have counted of late |
//! | `chatter` | what may be in the log, of what others can cause as often as they like |
//! | `selector` | which packets a flow is for, and the matches that cover ranges of ports |
//! | `paid`, `counting`, `conservation` | the life of a paid flow, what was counted of it, and what of it was lost |

mod agenda;
mod capacity;
mod chatter;
mod claims;
mod conservation;
mod conversation;
mod cookie;
mod counting;
mod discovery;
mod entry;
mod fitness;
mod frames;
mod hosts;
mod identity;
mod interface;
mod learning;
mod loads;
mod paid;
mod pipeline;
mod ports;
mod reconcile;
mod replug;
mod rows;
mod selector;
mod settings;
mod switch;
#[cfg(test)]
mod tests;

pub use identity::{Certificate, KeyFingerprint, Peer};
pub use interface::*;
pub use selector::{PortRange, Protocol, Selector};
pub use settings::*;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
};

use payflow_qos::{BitRate, PortRef, SwitchId, Time, Topology};

use agenda::Agenda;
use capacity::Classes;
use chatter::Chatter;
use discovery::Discovery;
use fitness::Fitness;
use frames::Heard;
use hosts::Hosts;
use identity::Identities;
use loads::Loads;
use paid::Paid;
use replug::Unplugged;
use switch::{Connection, Switch};

/// The network half of the deterministic core.
///
/// Feed it with [`Self::handle`], and after every call to it or to [`Self::install`], [`Self::adopt`],
/// [`Self::set_end`] or [`Self::remove`] drain [`Self::poll`]. Call it again at
/// [`Self::next_deadline`] with [`NetworkInput::DeadlineReached`], if nothing happens before. Time never
/// goes backwards.
pub struct Network {
    config: NetworkConfig,
    connections: Agenda<ConnectionId, Connection>,
    /// Every switch that was ever connected or is on the path of a paid flow.
    switches: Agenda<SwitchId, Switch>,
    /// By switch: the connection that speaks for it.
    spokesmen: BTreeMap<SwitchId, ConnectionId>,
    identities: Identities,
    /// Until when nothing is said of another connection that is refused for the same reason. Only of datapath ids that
    /// somebody else has, so no longer than the list of switches.
    complaints: BTreeMap<SwitchId, (Time, String)>,
    /// Until when lines of the log are counted, and how many there were.
    chatter: BTreeMap<(SwitchId, Chatter), (Time, u32)>,
    fitness: BTreeMap<SwitchId, Fitness>,
    /// What is declared of the ports of every switch, by their names.
    facts: BTreeMap<SwitchId, BTreeMap<String, PortFacts>>,
    classes: BTreeMap<(SwitchId, String), Classes>,
    /// What was told last of the capacity of a link. It stays while nothing more is sold there.
    booked: BTreeMap<PortRef, BitRate>,
    /// When to order them again; some have been overtaken by events, which does no harm.
    class_timers: BTreeSet<(Time, (SwitchId, String))>,
    unplugged: BTreeMap<(SwitchId, String), Unplugged>,
    /// Numbers that ports had, while it is not remembered yet which they have now.
    moving: BTreeSet<PortRef>,
    /// From before a restart, of switches that have not connected since: the names of ports.
    named: BTreeMap<PortRef, String>,
    discovery: Discovery,
    hosts: Hosts,
    topology: Topology,
    flows: BTreeMap<FlowId, Paid>,
    /// When to look at a flow again; some have been overtaken by events, which does no harm.
    flow_timers: BTreeSet<(Time, FlowId)>,
    /// What the meter of a reservation showed last.
    meters_seen: BTreeMap<(SwitchId, u32), counting::MeterSeen>,
    /// What is counted of a flow over all its generations, by its number.
    counted: BTreeMap<u64, counting::Counted>,
    loads: Loads,
    outputs: VecDeque<NetworkOutput>,
    /// Ports, links or switches may have changed: see [`Self::refresh`].
    stale: bool,
    /// Stations have moved or links have changed: every table is made anew.
    redraw: bool,
    /// Flows for which a barrier was answered.
    stirred: BTreeSet<FlowId>,
    /// Held frames that may go on, and the ports they came in at.
    released: Vec<(PortRef, Heard, Vec<u8>)>,
    now: Time,
}

impl Network {
    /// A network without switches.
    pub fn new(config: NetworkConfig) -> Self {
        Self {
            connections: Agenda::default(),
            switches: Agenda::default(),
            spokesmen: BTreeMap::new(),
            identities: Identities::new(config.switch_keys.clone()),
            complaints: BTreeMap::new(),
            chatter: BTreeMap::new(),
            fitness: BTreeMap::new(),
            facts: BTreeMap::new(),
            classes: BTreeMap::new(),
            booked: BTreeMap::new(),
            class_timers: BTreeSet::new(),
            unplugged: BTreeMap::new(),
            moving: BTreeSet::new(),
            named: BTreeMap::new(),
            discovery: Discovery::new(config.secret, config.timings),
            hosts: Hosts::new(&config),
            topology: Topology::new(),
            flows: BTreeMap::new(),
            flow_timers: BTreeSet::new(),
            meters_seen: BTreeMap::new(),
            counted: BTreeMap::new(),
            loads: Loads::default(),
            outputs: VecDeque::new(),
            stale: false,
            redraw: false,
            stirred: BTreeSet::new(),
            released: Vec::new(),
            now: Time::default(),
            config,
        }
    }

    /// Takes one input. What came of it is given by [`Self::poll`].
    pub fn handle(&mut self, input: NetworkInput, now: Time) {
        match input {
            NetworkInput::Connected { connection, peer } => self.connected(connection, peer, now),
            NetworkInput::Bytes { connection, bytes } => self.received(connection, &bytes, now),
            NetworkInput::Closed { connection } => self.closed(connection, now),
            NetworkInput::Bridge { switch, facts } => self.bridge_facts(switch, facts),
            NetworkInput::Port(facts) => self.port_facts(facts, now),
            NetworkInput::ClassesMade {
                switch,
                port_name,
                result,
            } => {
                self.classes_made(switch, &port_name, result, now);
            }
            NetworkInput::ClassesLost { switch, port_name } => {
                self.classes_lost(switch, &port_name, now);
            }
            NetworkInput::Bound { switch, key } => self.bound(switch, key, now),
            NetworkInput::Unbound { switch } => self.identities.unbind(switch),
            NetworkInput::Renumbered { from, to } => self.follow_port(from, to),
            NetworkInput::PortNamed { port, name } => self.port_named(port, name),
            NetworkInput::DeadlineReached => {}
        }
        self.settle(now);
    }

    /// The next thing to do or know, in order.
    pub fn poll(&mut self) -> Option<NetworkOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle`] with [`NetworkInput::DeadlineReached`].
    pub fn next_deadline(&self) -> Option<Time> {
        let timers = [
            self.connections.next_deadline(),
            self.switches.next_deadline(),
            self.flow_timers.first().map(|(at, _)| *at),
            self.class_timers.first().map(|(at, _)| *at),
            self.discovery.next_deadline(),
            self.hosts.next_deadline(),
            self.replug_deadline(),
        ];
        timers.into_iter().flatten().min()
    }

    /// Switches that are connected and read back, proven links, and the capacities of ports whose class
    /// queues are in place.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The host that has this address. The API is no host.
    pub fn host(&self, address: IpAddr) -> Option<&Host> {
        self.hosts.get(address)
    }

    /// Every host, by address.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.all()
    }

    /// Every proven link, by egress port.
    pub fn links(&self) -> impl Iterator<Item = LinkView> + '_ {
        self.topology.links().map(|(from, to)| {
            let capacity_bps = self.topology.capacity(from).map(|capacity| capacity.bps());
            LinkView {
                from,
                to,
                capacity_bps,
            }
        })
    }

    /// Every switch that was ever connected, by datapath id.
    pub fn switches(&self) -> Vec<SwitchView> {
        let view = |(id, switch): (&SwitchId, &Switch)| {
            let (flow_entries, meters) = switch.reconciler.wanted_counts();
            SwitchView {
                switch: *id,
                description: switch.description.clone(),
                peer: self.peer(*id).cloned(),
                ready: switch.is_ready(),
                shortcomings: self
                    .fitness
                    .get(id)
                    .map(Fitness::shortcomings)
                    .unwrap_or_default(),
                ports: self.port_views(*id, switch),
                flow_entries,
                meters,
                errors: switch.errors,
            }
        };
        self.switches.iter().map(view).collect()
    }

    /// What a port has sent of late, frame bits per second; `None` where nobody has counted twice.
    #[must_use]
    pub fn load(&self, port: PortRef) -> Option<BitRate> {
        self.loads.of(port)
    }

    /// Who speaks for a switch.
    fn peer(&self, switch: SwitchId) -> Option<&Peer> {
        let connection = self.connections.get(self.spokesmen.get(&switch)?)?;
        Some(&connection.peer)
    }

    fn emit(&mut self, event: NetworkEvent) {
        self.outputs.push_back(NetworkOutput::Event(event));
    }

    /// What is known of a switch, from nothing if need be.
    fn switch_mut(&mut self, switch: SwitchId) -> &mut Switch {
        let (config, now) = (&self.config, self.now);
        self.switches
            .get_or_insert_with(switch, || Switch::new(config, now))
    }

    /// Everything that follows from an input or from time passing, in a fixed order.
    fn settle(&mut self, now: Time) {
        self.now = now;
        self.tick_sessions(now);
        self.tick_hosts(now);
        self.tick_switches(now);
        self.tick_classes(now);
        self.tick_unplugged(now);
        self.stale |= self.discovery.lapsed(now);
        if std::mem::take(&mut self.stale) {
            self.refresh(now);
        }
        if std::mem::take(&mut self.redraw) {
            self.draw_tables();
            // A path may have broken or be whole again, whoever it belongs to.
            self.stirred.extend(self.flows.keys());
        }
        while self.flow_timers.first().is_some_and(|(at, _)| *at <= now) {
            let due = self.flow_timers.pop_first().map(|(_, flow)| flow);
            self.stirred.extend(due);
        }
        for flow in std::mem::take(&mut self.stirred) {
            self.progress(flow, now);
        }
        self.send_discovery(now);
        self.flush(now);
        self.connections
            .reschedule(|connection| connection.next_deadline());
        self.switches.reschedule(|switch| switch.next_deadline(now));
    }
}
