//! Ports: what each is open for, which are links, what they can carry, and the tables that follow
//! from it.
//!
//! A port that comes up settles first: nothing but discovery passes, and the operator's word about it has
//! time to arrive. A port declared a trunk stays closed until its link is proven in both directions, and never
//! opens for hosts. A port about which nothing is declared becomes an edge port; only where the operator allows
//! discovery can it become a link, and never once a host was seen there.

use std::collections::{BTreeMap, BTreeSet};

use payflow_qos::{PortNo, PortRef, SwitchId, Time};
use rust_openflow::{PortReason, PortStatus};
use tracing::info;

use super::{
    Host, MacAddr, Network, PortFacts, PortRole, PortView,
    cookie::INFRASTRUCTURE,
    entry::{FlowEntry, FlowKey},
    pipeline::{self, Opening, Remembered, Tables},
    switch::{Port, Switch},
};
use crate::core::printable::printable;

/// Next hop from every switch towards one, by that one.
type NextHops = BTreeMap<SwitchId, BTreeMap<SwitchId, PortNo>>;

impl Network {
    /// The operator's word about a port.
    pub(super) fn port_facts(&mut self, facts: PortFacts, now: Time) {
        let (switch, name) = (facts.switch, &facts.port_name);
        let of_switch = self.facts.entry(switch).or_default();
        let before = of_switch.insert(name.clone(), facts.clone());
        let was_trunk = before.is_some_and(|before| before.role == PortRole::Trunk);
        let known = self.switches.get_mut(&switch);
        if let Some((number, port)) = known.and_then(|known| known.port_named_mut(name)) {
            if was_trunk && facts.role != PortRole::Trunk {
                // As if it had just come up: the word may be on its way that it is gone.
                port.settled_at = now.plus(self.config.timings.settle);
            }
            let at = PortRef {
                switch,
                port: number,
            };
            self.is_back(at, name);
        }
        self.stale = true;
        self.order_classes(facts.switch, &facts.port_name, now);
    }

    /// The ports of a switch that has just connected. What the switch remembers opens edge ports at once, but for numbers
    /// that belong to other ports now, or to none; gives those.
    pub(super) fn ports_described(
        &mut self,
        id: SwitchId,
        described: &[rust_openflow::Port],
        remembered: &[Remembered],
        now: Time,
    ) -> BTreeSet<PortNo> {
        let settled_at = now.plus(self.config.timings.settle);
        let names = self.names_of(id);
        let switch = self.switch_mut(id);
        let before = std::mem::take(&mut switch.ports);
        for port in described {
            let Some(number) = forwarding_port(port.port_no) else {
                continue;
            };
            let name = printable(&port.name);
            let same = names.get(&number).is_none_or(|known| *known == name);
            let was_edge = same && remembered.contains(&Remembered::Edge(number));
            let seen_host = before
                .get(&number)
                .is_some_and(|old| old.name == name && old.seen_host);
            let settled_at = if was_edge { now } else { settled_at };
            let port = Port {
                name,
                up: port.is_up(),
                settled_at,
                seen_host,
                opening: None,
            };
            switch.ports.insert(number, port);
        }
        self.compare_numbers(id, &names, now)
    }

    pub(super) fn port_changed(&mut self, id: SwitchId, status: &PortStatus, now: Time) {
        let Some(number) = forwarding_port(status.port.port_no) else {
            return;
        };
        let port_ref = PortRef {
            switch: id,
            port: number,
        };
        let settled_at = now.plus(self.config.timings.settle);
        let switch = self.switch_mut(id);
        let (name, up) = (printable(&status.port.name), status.port.is_up());
        let known = switch
            .ports
            .get(&number)
            .map(|port| (port.name.clone(), port.up));
        let gone = status.reason == PortReason::DELETE;
        if (gone || known.as_ref().is_some_and(|(old, _)| *old != name))
            && let Some(port) = switch.ports.remove(&number)
        {
            self.unplugged(port_ref, port.name, now);
        }
        if !gone && known != Some((name.clone(), up)) {
            self.plugged_in(port_ref, &name);
            let switch = self.switch_mut(id);
            let port = Port {
                name: name.clone(),
                up,
                settled_at,
                seen_host: false,
                opening: None,
            };
            let port = match switch.ports.remove(&number) {
                Some(old) => Port {
                    seen_host: old.seen_host,
                    ..port
                },
                None => port,
            };
            switch.ports.insert(number, port);
            if !up {
                self.discovery.stop(port_ref);
            }
            self.order_classes(id, &name, now);
        }
        self.stale = true;
    }

    /// No port of this switch takes part in discovery while the switch is away.
    pub(super) fn stop_ports(&mut self, id: SwitchId) {
        let ports: Vec<PortNo> = self
            .switches
            .get(&id)
            .into_iter()
            .flat_map(|switch| switch.ports.keys().copied())
            .collect();
        for port in ports {
            self.discovery.stop(PortRef { switch: id, port });
        }
        self.stale = true;
    }

    /// A frame of a host came in.
    pub(super) fn seen_host(&mut self, port_ref: PortRef) {
        let switch = self.switches.get(&port_ref.switch);
        let port = switch.and_then(|switch| switch.ports.get(&port_ref.port));
        if port.is_none_or(|port| port.seen_host) {
            return;
        }
        let ports = &mut self.switch_mut(port_ref.switch).ports;
        if let Some(port) = ports.get_mut(&port_ref.port) {
            port.seen_host = true;
            self.stale = true;
        }
    }

    /// Which ports take part in discovery, which links are proven, what every port is open for.
    /// Orders new tables if any of that has changed.
    pub(super) fn refresh(&mut self, now: Time) {
        let mut all: Vec<(PortRef, bool)> = Vec::new();
        for (switch, known) in self.read_switches() {
            let ports = known.ports.iter();
            all.extend(ports.map(|(port, known)| {
                (
                    PortRef {
                        switch,
                        port: *port,
                    },
                    self.may_be_link(switch, known),
                )
            }));
        }
        for (port, may_be_link) in &all {
            if *may_be_link {
                self.discovery.start(*port, now);
            } else {
                self.discovery.stop(*port);
            }
        }
        let links = self.discovery.links(now);
        let before: BTreeMap<PortRef, PortRef> = self.topology.links().collect();
        if links != before {
            for (from, to) in before
                .iter()
                .filter(|(from, to)| links.get(*from) != Some(*to))
            {
                info!(%from, %to, "link lost");
                self.topology.remove_link(*from);
            }
            for (from, to) in links
                .iter()
                .filter(|(from, to)| before.get(*from) != Some(*to))
            {
                info!(%from, %to, "link found");
                self.topology.add_link(*from, *to);
            }
            self.redraw = true;
        }
        for (port_ref, _) in all {
            let opening = self.opening(port_ref, now);
            let is_trunk = self.is_declared_trunk(port_ref);
            let Some(port) = self
                .switch_mut(port_ref.switch)
                .ports
                .get_mut(&port_ref.port)
            else {
                continue;
            };
            if port.opening != opening {
                port.opening = opening;
                self.redraw = true;
                // Whether or not its link is proven: what a switch remembers may be of another port that had the number.
                if is_trunk || matches!(opening, Some(Opening::Trunk)) {
                    self.hosts.forget_port(port_ref);
                }
            }
        }
    }

    fn read_switches(&self) -> impl Iterator<Item = (SwitchId, &Switch)> {
        self.switches
            .iter()
            .filter(|(_, switch)| switch.is_read())
            .map(|(id, switch)| (*id, switch))
    }

    /// What is declared of a port.
    pub(super) fn facts_of(&self, switch: SwitchId, name: &str) -> Option<&PortFacts> {
        self.facts.get(&switch)?.get(name)
    }

    fn role(&self, switch: SwitchId, name: &str) -> PortRole {
        let facts = self.facts_of(switch, name);
        facts.map(|facts| facts.role).unwrap_or_default()
    }

    fn is_declared_trunk(&self, port: PortRef) -> bool {
        self.port_name(port)
            .is_some_and(|name| self.role(port.switch, name) == PortRole::Trunk)
    }

    fn may_be_link(&self, switch: SwitchId, port: &Port) -> bool {
        port.up
            && match self.role(switch, &port.name) {
                PortRole::Trunk => true,
                PortRole::Api => false,
                PortRole::Unsaid => self.config.discover_trunks && !port.seen_host,
            }
    }

    fn opening(&self, port_ref: PortRef, now: Time) -> Option<Opening> {
        let port = self
            .switches
            .get(&port_ref.switch)?
            .ports
            .get(&port_ref.port)
            .filter(|port| port.up)?;
        let role = self.role(port_ref.switch, &port.name);
        let may_be_link = self.may_be_link(port_ref.switch, port);
        let edge = |api| {
            let (full, discovery) = (self.hosts.is_full(port_ref), may_be_link);
            Opening::Edge {
                api,
                full,
                discovery,
            }
        };
        Some(match role {
            PortRole::Api => edge(true),
            _ if self.topology.peer(port_ref).is_some() => Opening::Trunk,
            PortRole::Trunk => Opening::Discovery { watched: false },
            PortRole::Unsaid if port.settled_at <= now => edge(false),
            PortRole::Unsaid => Opening::Discovery {
                watched: self.config.discover_trunks,
            },
        })
    }

    /// Makes the tables of every switch anew.
    pub(super) fn draw_tables(&mut self) {
        let tree = self.topology.spanning_tree();
        let next_hops = self.next_hops();
        let ids: Vec<SwitchId> = self.read_switches().map(|(id, _)| id).collect();
        for id in ids {
            let Tables { entries, meters } = self.tables(id, &tree, &next_hops);
            self.switch_mut(id)
                .reconciler
                .replace_infrastructure(entries, &meters);
        }
    }

    fn next_hops(&self) -> NextHops {
        self.topology
            .switches()
            .map(|to| (to, self.topology.next_hops(to)))
            .collect()
    }

    /// Everything wanted on a switch apart from paid flows.
    fn tables(&self, id: SwitchId, tree: &BTreeSet<PortRef>, next_hops: &NextHops) -> Tables {
        let Some(switch) = self.switches.get(&id) else {
            return Tables::default();
        };
        let open = |(number, port): (&PortNo, &Port)| Some((*number, port.opening?));
        let ports = switch.ports.iter().filter_map(open).collect();
        let mut tables = pipeline::port_entries(&self.config, id, &ports, tree);
        for (mac, at) in self.hosts.stations() {
            tables
                .entries
                .extend(station_entries(id, mac, at, next_hops));
        }
        if let (Some(api), Some(at)) = (self.config.api, self.api_port()) {
            let entries = station_entries(id, api.mac, at, next_hops).into_iter();
            // The API is not learned: its port lets it pass.
            tables
                .entries
                .extend(entries.filter(|(key, _)| key.matching.get_in_port().is_none()));
        }
        for host in self.hosts.all().filter(|host| host.port.switch == id) {
            tables.entries.extend(pipeline::address_entries(
                &self.config,
                host.port.port,
                host.mac,
                host.address,
            ));
        }
        for (port, claimed, until) in self
            .hosts
            .quarantines()
            .filter(|(port, ..)| port.switch == id)
        {
            tables
                .entries
                .extend(pipeline::quarantine_entries(port.port, claimed, until));
        }
        tables
    }

    /// The port declared to be the API's; the lowest if several are.
    fn api_port(&self) -> Option<PortRef> {
        let ports = self.read_switches().flat_map(|(id, switch)| {
            let is_api =
                |port: &Port| matches!(port.opening, Some(Opening::Edge { api: true, .. }));
            let api = switch.ports.iter().filter(move |(_, port)| is_api(port));
            api.map(move |(number, _)| PortRef {
                switch: id,
                port: *number,
            })
        });
        ports.min()
    }

    /// Adds a new station to the tables of every switch.
    pub(super) fn draw_station(&mut self, mac: MacAddr) {
        let Some(at) = self.hosts.station(mac) else {
            return;
        };
        let next_hops = NextHops::from([(at.switch, self.topology.next_hops(at.switch))]);
        let ids: Vec<SwitchId> = self.read_switches().map(|(id, _)| id).collect();
        for id in ids {
            for (key, entry) in station_entries(id, mac, at, &next_hops) {
                self.switch_mut(id)
                    .reconciler
                    .want(INFRASTRUCTURE, key, entry);
            }
        }
    }

    /// Adds a new address to the tables: its packets pass at its switch.
    pub(super) fn draw_address(&mut self, host: &Host) {
        for (key, entry) in
            pipeline::address_entries(&self.config, host.port.port, host.mac, host.address)
        {
            self.switch_mut(host.port.switch)
                .reconciler
                .want(INFRASTRUCTURE, key, entry);
        }
    }

    pub(super) fn port_views(&self, id: SwitchId, switch: &Switch) -> Vec<PortView> {
        let view = |(number, port): (&PortNo, &Port)| {
            let key = (id, port.name.clone());
            let facts = self.facts_of(id, &port.name);
            let capacity = facts.and_then(|facts| facts.capacity);
            let role = match port.opening {
                Some(Opening::Edge { api: true, .. }) => "api",
                Some(Opening::Edge { .. }) => "edge",
                Some(Opening::Trunk) => "trunk",
                Some(Opening::Discovery { .. }) | None => "probing",
            };
            PortView {
                number: *number,
                name: port.name.clone(),
                up: port.up,
                role: role.to_owned(),
                capacity_bps: capacity.map(|capacity| capacity.bps()),
                classes: self
                    .classes
                    .get(&key)
                    .is_some_and(|classes| classes.made.is_some()),
                peer: self.topology.peer(PortRef {
                    switch: id,
                    port: *number,
                }),
            }
        };
        // The switch's own port is of interest only where somebody has brought it up.
        let shown = |(number, port): &(&PortNo, &Port)| {
            port.up || number.0 != rust_openflow::PortNo::LOCAL.0
        };
        switch.ports.iter().filter(shown).map(view).collect()
    }
}

/// Ports that forward packets: real ones and the switch's own.
fn forwarding_port(number: rust_openflow::PortNo) -> Option<PortNo> {
    let forwards = number.is_physical() || number == rust_openflow::PortNo::LOCAL;
    forwards.then_some(PortNo(number.0))
}

/// What a station needs on one switch: to be known at its own, and to be reached from every other.
fn station_entries(
    on: SwitchId,
    mac: MacAddr,
    at: PortRef,
    next_hops: &NextHops,
) -> Vec<(FlowKey, FlowEntry)> {
    if on == at.switch {
        return vec![
            pipeline::station_entry(at.port, mac),
            pipeline::forwarding_entry(mac, at.port),
        ];
    }
    let next = next_hops.get(&at.switch).and_then(|next| next.get(&on));
    next.map(|port| pipeline::forwarding_entry(mac, *port))
        .into_iter()
        .collect()
}
