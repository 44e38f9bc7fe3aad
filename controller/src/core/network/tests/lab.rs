//! Switches, cables and hosts around a [`Network`], in virtual time.

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv4Addr,
    time::Duration,
};

use payflow_qos::{BitRate, Class, Hop, Path, PortNo, PortRef, SoldRate, SwitchId, Time};
use rust_openflow::{Action, Message, PacketOut};

use super::{
    fake::FakeSwitch,
    walker::{self, Packet, Walk, walk},
};
use crate::core::network::{
    ConnectionId, FlowCounters, FlowId, FlowPlan, MacAddr, Network, NetworkConfig, NetworkEvent,
    NetworkInput, NetworkOutput, Peer, PortFacts, PortRole, Protocol, Selector,
};

pub(super) const T0: u64 = 1_800_000_000_000;

pub(super) struct Lab {
    pub(super) network: Network,
    pub(super) now: Time,
    pub(super) switches: BTreeMap<u64, FakeSwitch>,
    pub(super) connections: BTreeMap<ConnectionId, u64>,
    last_connection: u64,
    /// Both directions.
    pub(super) cables: BTreeMap<PortRef, PortRef>,
    pub(super) events: Vec<NetworkEvent>,
    /// The last words on flows that were taken off.
    pub(super) counted: Vec<(FlowId, FlowCounters)>,
    pub(super) closed: Vec<(ConnectionId, String)>,
    pub(super) classes_ordered: Vec<(SwitchId, String, BitRate)>,
    /// Hosts that answer when they are asked whether they are there.
    pub(super) hosts: BTreeMap<PortRef, (MacAddr, Ipv4Addr)>,
    /// Held packets that the controller has let go, and that have arrived.
    delivered: Vec<Delivery>,
}

/// A packet that left the network at an edge port, and what it met on the way.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) port: PortRef,
    pub(super) packet: Packet,
    /// Queues at each switch.
    pub(super) queues: Vec<u32>,
}

pub(super) fn port(switch: u64, port: u32) -> PortRef {
    PortRef::new(switch, port)
}

pub(super) fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

/// Host number `last`: its MAC and IPv4 address.
pub(super) fn host(last: u8) -> (MacAddr, Ipv4Addr) {
    (mac(last), Ipv4Addr::new(10, 0, 0, last))
}

impl Lab {
    /// Switches with so many ports each, and cables between them. Nothing is connected yet.
    pub(super) fn new(
        config: NetworkConfig,
        switches: &[(u64, u32)],
        cables: &[(PortRef, PortRef)],
    ) -> Self {
        Self {
            network: Network::new(config),
            now: Time::from_millis(T0),
            switches: switches
                .iter()
                .map(|(id, ports)| (*id, FakeSwitch::new(*id, *ports)))
                .collect(),
            connections: BTreeMap::new(),
            last_connection: 0,
            cables: cables
                .iter()
                .flat_map(|(a, b)| [(*a, *b), (*b, *a)])
                .collect(),
            events: Vec::new(),
            counted: Vec::new(),
            closed: Vec::new(),
            classes_ordered: Vec::new(),
            hosts: BTreeMap::new(),
            delivered: Vec::new(),
        }
    }

    /// Three switches in a row, host ports 1, trunks 2 and 3 declared: 1:3-2:2, 2:3-3:2. Everything is up,
    /// hosts 1, 2 and 3 are known at port 1 of each switch.
    pub(super) fn row(config: NetworkConfig) -> Self {
        let cables = [(port(1, 3), port(2, 2)), (port(2, 3), port(3, 2))];
        let mut lab = Self::new(config, &[(1, 5), (2, 5), (3, 5)], &cables);
        lab.start();
        for last in 1..=3 {
            lab.host_arrives(port(u64::from(last), 1), host(last));
        }
        lab
    }

    /// Declares every cable, connects every switch, and waits until all is settled.
    pub(super) fn start(&mut self) {
        let cables: Vec<PortRef> = self.cables.keys().copied().collect();
        for end in cables {
            self.declare(end, PortRole::Trunk, None);
        }
        let ids: Vec<u64> = self.switches.keys().copied().collect();
        for id in ids {
            self.connect(id);
        }
        self.wait(2_000);
    }

    pub(super) fn declare(&mut self, port: PortRef, role: PortRole, capacity: Option<BitRate>) {
        let port_name = format!("s{}-eth{}", port.switch.0, port.port);
        self.input(NetworkInput::Port(PortFacts {
            switch: port.switch,
            port_name,
            capacity,
            role,
        }));
    }

    pub(super) fn connect(&mut self, switch: u64) -> ConnectionId {
        self.connect_as(switch, Peer::Tcp)
    }

    /// A switch connects, and has proven this of itself.
    pub(super) fn connect_as(&mut self, switch: u64, peer: Peer) -> ConnectionId {
        self.last_connection += 1;
        let now = self.now.millis();
        self.switches.get_mut(&switch).unwrap().clock_ms = now;
        let connection = ConnectionId(self.last_connection);
        self.connections.insert(connection, switch);
        self.switches.get_mut(&switch).unwrap().connect();
        self.input(NetworkInput::Connected { connection, peer });
        connection
    }

    /// The controller dies, and a new one starts. No switch is told anything.
    pub(super) fn crash(&mut self, config: NetworkConfig) {
        self.network = Network::new(config);
        self.connections.clear();
    }

    pub(super) fn disconnect(&mut self, switch: u64) {
        let id = *self
            .connections
            .iter()
            .find(|(_, at)| **at == switch)
            .unwrap()
            .0;
        self.connections.remove(&id);
        self.input(NetworkInput::Closed { connection: id });
    }

    /// Every switch loses its connection, or all of them.
    pub(super) fn disconnect_all(&mut self) {
        for connection in std::mem::take(&mut self.connections).into_keys() {
            self.input(NetworkInput::Closed { connection });
        }
    }

    pub(super) fn input(&mut self, input: NetworkInput) {
        self.network.handle(input, self.now);
        self.pump();
    }

    /// Passes bytes and frames on until nothing moves.
    pub(super) fn pump(&mut self) {
        for switch in self.switches.values_mut() {
            switch.tick(self.now.millis());
        }
        loop {
            while let Some(output) = self.network.poll() {
                match output {
                    NetworkOutput::Send { connection, bytes } => {
                        if let Some(switch) = self.connections.get(&connection) {
                            self.switches.get_mut(switch).unwrap().take(&bytes);
                        }
                    }
                    NetworkOutput::Close { connection, reason } => {
                        self.connections.remove(&connection);
                        self.closed.push((connection, reason));
                    }
                    NetworkOutput::MakeClasses {
                        switch,
                        port_name,
                        capacity,
                    } => {
                        self.classes_ordered.push((switch, port_name, capacity));
                    }
                    NetworkOutput::Event(NetworkEvent::Counted { flow, counters }) => {
                        self.counted.push((flow, counters));
                    }
                    NetworkOutput::Event(event) => self.events.push(event),
                }
            }
            self.carry_out();
            let talkative = self
                .connections
                .iter()
                .find(|(_, id)| !self.switches[*id].replies.is_empty());
            let Some((connection, switch)) =
                talkative.map(|(connection, switch)| (*connection, *switch))
            else {
                return;
            };
            let bytes = std::mem::take(&mut self.switches.get_mut(&switch).unwrap().replies);
            self.network
                .handle(NetworkInput::Bytes { connection, bytes }, self.now);
        }
    }

    /// Frames the controller sends out of ports: over a cable, or to a host that may answer.
    fn carry_out(&mut self) {
        let sent: Vec<(u64, _)> = self
            .switches
            .iter_mut()
            .flat_map(|(id, switch)| switch.packets_out.drain(..).map(|packet| (*id, packet)))
            .collect();
        for (id, packet) in sent {
            if packet.in_port != rust_openflow::PortNo::CONTROLLER {
                let delivered = self.let_go(id, packet);
                self.delivered.extend(delivered);
                continue;
            }
            let Some(Action::Output { port: out, .. }) = packet.actions.last() else {
                panic!("{packet:?}")
            };
            let from = port(id, out.0);
            if let Some(to) = self.cables.get(&from).copied() {
                self.enter(to, Packet { frame: packet.data });
            } else if let Some(host) = self.hosts.get(&from).copied() {
                let asker = MacAddr(packet.data[6..12].try_into().unwrap());
                self.enter(from, Packet::arp_reply(host, asker));
            }
        }
    }

    /// A packet enters one switch; the controller is shown it if the tables say so.
    pub(super) fn enter(&mut self, at: PortRef, packet: Packet) -> Walk {
        let switch = self.switches.get_mut(&at.switch.0).unwrap();
        let walk = walk(switch, at.port.0, packet.clone());
        for (table, cookie) in &walk.shown {
            switch.packet_in(at.port.0, *table, *cookie, packet.frame.clone());
        }
        walk
    }

    /// A packet enters at a port and goes where the tables, the controller and cables take it. Panics if it goes in
    /// circles.
    pub(super) fn inject(&mut self, at: PortRef, packet: Packet) -> Vec<Delivery> {
        let outputs = self.enter(at, packet).outputs;
        let mut delivered = self.carry(at.switch.0, outputs);
        self.pump();
        delivered.append(&mut self.delivered);
        delivered
    }

    /// A packet that was held goes on.
    fn let_go(&mut self, id: u64, out: PacketOut) -> Vec<Delivery> {
        let frame = Packet { frame: out.data };
        let walk = walker::treat(&out.actions, out.in_port.0, frame);
        self.carry(id, walk.outputs)
    }

    /// Packets leave a switch, and go where tables and cables take them.
    fn carry(&mut self, id: u64, outputs: Vec<(u32, Packet, u32)>) -> Vec<Delivery> {
        let mut delivered = Vec::new();
        let mut on_the_way = VecDeque::from([(id, outputs, Vec::new())]);
        let mut steps = 0;
        while let Some((id, outputs, queues)) = on_the_way.pop_front() {
            steps += 1;
            assert!(steps < 200, "the packet goes in circles");
            for (out, packet, queue) in outputs {
                let from = port(id, out);
                let queues = [&queues[..], &[queue]].concat();
                match self.cables.get(&from).copied() {
                    Some(to) => {
                        let outputs = self.enter(to, packet).outputs;
                        on_the_way.push_back((to.switch.0, outputs, queues));
                    }
                    None => delivered.push(Delivery {
                        port: from,
                        packet,
                        queues,
                    }),
                }
            }
        }
        delivered
    }

    /// A host comes to a port and says so by ARP; it answers questions from now on.
    pub(super) fn host_arrives(&mut self, at: PortRef, host: (MacAddr, Ipv4Addr)) {
        self.hosts.insert(at, host);
        self.inject(at, Packet::arp(host, Ipv4Addr::new(10, 0, 0, 254)));
    }

    /// Lets time pass, deadline by deadline.
    pub(super) fn wait(&mut self, millis: u64) {
        let end = self.now.plus(Duration::from_millis(millis));
        let mut rounds = 0;
        while let Some(at) = self.network.next_deadline().filter(|at| *at <= end) {
            rounds += 1;
            assert!(rounds < 10_000, "deadlines do not end");
            self.now = self.now.max(at);
            self.input(NetworkInput::DeadlineReached);
        }
        self.now = end;
        self.input(NetworkInput::DeadlineReached);
    }

    pub(super) fn set_port_up(&mut self, at: PortRef, up: bool) {
        self.switches
            .get_mut(&at.switch.0)
            .unwrap()
            .set_up(at.port.0, up);
        self.pump();
    }

    /// What happened since this was asked last.
    pub(super) fn take_events(&mut self) -> Vec<NetworkEvent> {
        std::mem::take(&mut self.events)
    }

    /// How many messages have changed tables or meters since this was asked last, per switch.
    pub(super) fn take_changes(&mut self) -> BTreeMap<u64, Vec<Message>> {
        let changes = self
            .switches
            .iter_mut()
            .map(|(id, switch)| (*id, std::mem::take(&mut switch.changes)));
        changes.filter(|(_, changes)| !changes.is_empty()).collect()
    }

    pub(super) fn install(&mut self, plan: FlowPlan) {
        self.network.install(plan, self.now);
        self.pump();
    }

    pub(super) fn remove(&mut self, flow: FlowId) {
        self.network.remove(flow, self.now);
        self.pump();
    }

    /// Whether the switch holds an entry of this flow.
    pub(super) fn holds(&self, switch: u64, flow: FlowId) -> bool {
        let cookie = 0x50 << 56 | flow.reservation << 16 | u64::from(flow.generation);
        self.switches[&switch]
            .flows
            .values()
            .any(|entry| entry.cookie == cookie)
    }
}

pub(super) fn flow(reservation: u64, generation: u16) -> FlowId {
    FlowId {
        reservation,
        generation,
    }
}

/// From host 1 at the first switch of [`Lab::row`] to host 3 at the last, for an hour.
pub(super) fn plan_through_row(flow: FlowId) -> FlowPlan {
    let hop = |switch, in_port, out_port| Hop {
        switch: SwitchId(switch),
        in_port: PortNo(in_port),
        out_port: PortNo(out_port),
    };
    FlowPlan {
        flow,
        path: Path {
            hops: vec![hop(1, 1, 3), hop(2, 2, 3), hop(3, 2, 1)],
        },
        selector: Selector {
            source: host(1).1.into(),
            destination: host(3).1.into(),
            protocol: Protocol::Udp,
            source_port: None,
            destination_port: Some(5000.into()),
        },
        source_mac: host(1).0,
        destination_mac: host(3).0,
        class: Class::Steady,
        rate: SoldRate(10_000),
        ends: Time::from_millis(T0 + 3_600_000),
        replaced_ends: None,
        begun: false,
        transit: std::time::Duration::ZERO,
    }
}
