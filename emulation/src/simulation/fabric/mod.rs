//! The network: switches that speak OpenFlow, cables, hosts, and the lines to the controller.
//!
//! It outlives every controller. What it does is driven by [`Happening`]s, which the world keeps in order of time;
//! [`Fabric::take_plans`] gives those that follow from what has happened, [`Fabric::take_inputs`] what the controller
//! learns of it.
//!
//! | file | what it is |
//! |---|---|
//! | [`shape`] | which switches there are and what is plugged in |
//! | `lines` | control connections: late, lost, cut without a word |
//! | `faults` | what goes wrong with cables, switches and their database |
//! | [`frames`] | what hosts send |

mod faults;
pub mod frames;
mod lines;
pub mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use payflow_controller::core::network::{ConnectionId, NetworkInput};
use payflow_qos::{BitRate, Class, PortNo, PortRef, SwitchId, Time};
use rust_openflow::{DatapathId, QueueId};

use super::FaultKind;
use super::chance::Chance;
use crate::switch::{MemorySwitch, SentFrame, SwitchSettings};

pub use faults::{Fault, NumberAfter};
use lines::Line;
use shape::{Jack, Shape, Station};

/// Between two words of a host about who and where it is.
const ANNOUNCES: (u64, u64) = (8_000, 20_000);

/// Frames that a cable between switches takes one way in a millisecond; the smallest ones fill 43 Mbit/s with it. More are lost, or
/// a broadcast that goes in circles could multiply without time going on.
const FRAMES_PER_MS: u32 = 64;

/// Something that happens in the network.
#[derive(Clone, Debug)]
pub enum Happening {
    /// Bytes reach the controller.
    ToController(ConnectionId, Vec<u8>),
    /// Bytes reach a switch.
    ToSwitch(ConnectionId, Vec<u8>),
    /// A switch learns that the controller has hung up.
    HungUp(ConnectionId),
    /// The controller learns that a line is gone.
    Lost(ConnectionId),
    /// A switch tries to connect.
    Connect(u64),
    /// A frame comes out of the cable at this end.
    Frame(Jack, Vec<u8>),
    /// A switch has something to do by itself.
    Wake(u64),
    /// A switch has more to say.
    Speak(u64),
    /// A host tells who it is.
    Announce(usize),
    /// The database has made class queues, or not.
    ClassesMade {
        /// Nothing to a later life of the controller.
        life: u32,
        /// Where.
        switch: SwitchId,
        /// Of which port.
        port_name: String,
        /// Whether.
        done: bool,
    },
    /// The database tells a controller what was declared of the ports.
    Facts {
        /// Nothing to a later life of the controller.
        life: u32,
    },
    /// Something goes wrong, or is mended.
    Fault(Fault),
}

/// A switch, and when it has asked to be woken.
struct Place {
    switch: MemorySwitch,
    wakes_at: Option<Time>,
}

/// See the module.
pub struct Fabric {
    begin: Time,
    /// What is where.
    pub shape: Shape,
    places: BTreeMap<u64, Place>,
    /// The other end of every cable between switches.
    cables: BTreeMap<Jack, Jack>,
    /// Numbers of the ports that are plugged in.
    numbers: BTreeMap<Jack, PortNo>,
    jacks: BTreeMap<PortRef, Jack>,
    /// Numbers of those that were taken out.
    last_numbers: BTreeMap<Jack, PortNo>,
    /// Which sockets ever had a number.
    had: BTreeMap<PortRef, BTreeSet<Jack>>,
    /// Sockets whose ports have numbers that others had, and since when.
    taken_over: BTreeMap<Jack, Time>,
    /// No port has a higher number, unless it was built with it.
    unused_number: u32,
    /// Of these the database says nothing.
    undeclared: BTreeSet<Jack>,
    capacities: BTreeMap<Jack, BitRate>,
    /// Cables that carry nothing from this end, and whose ports say nothing of it.
    silent: BTreeSet<Jack>,
    /// Cables whose ports are down.
    down: BTreeSet<Jack>,
    lines: BTreeMap<ConnectionId, Line>,
    /// The same, by switch.
    lines_at: BTreeSet<(u64, ConnectionId)>,
    last_line: u64,
    life: u32,
    alive: bool,
    faults: BTreeSet<FaultKind>,
    /// Between two words of a host about who and where it is, in milliseconds.
    announces: (u64, u64),
    refuses_classes: u64,
    chance: Chance,
    plans: Vec<(Duration, Happening)>,
    inputs: Vec<NetworkInput>,
    /// Switches whose tables may have changed.
    touched: BTreeSet<u64>,
    cables_changed: u64,
    /// Of every end of a cable: the frames that went in last, and in which millisecond.
    carried: BTreeMap<Jack, (Duration, u32)>,
}

impl Fabric {
    /// Builds it. Nothing is connected to a controller yet.
    #[must_use]
    pub fn new(
        shape: Shape,
        mut chance: Chance,
        faults: &BTreeSet<FaultKind>,
        begin: Time,
    ) -> Self {
        let place = |id: &u64| {
            let settings = SwitchSettings {
                name: format!("s{id}"),
                ..SwitchSettings::new(DatapathId(*id))
            };
            let place = Place {
                switch: MemorySwitch::new(settings),
                wakes_at: None,
            };
            (*id, place)
        };
        let mut fabric = Self {
            begin,
            places: shape.switches.iter().map(place).collect(),
            cables: shape
                .trunks
                .iter()
                .flat_map(|(a, b, _)| [(*a, *b), (*b, *a)])
                .collect(),
            numbers: BTreeMap::new(),
            jacks: BTreeMap::new(),
            last_numbers: BTreeMap::new(),
            had: BTreeMap::new(),
            taken_over: BTreeMap::new(),
            unused_number: 100,
            undeclared: BTreeSet::new(),
            capacities: BTreeMap::new(),
            silent: BTreeSet::new(),
            down: BTreeSet::new(),
            lines: BTreeMap::new(),
            lines_at: BTreeSet::new(),
            last_line: 0,
            life: 0,
            alive: false,
            faults: faults.clone(),
            announces: ANNOUNCES,
            refuses_classes: chance.between(0, 200),
            chance,
            plans: Vec::new(),
            inputs: Vec::new(),
            touched: BTreeSet::new(),
            cables_changed: 0,
            carried: BTreeMap::new(),
            shape,
        };
        let jacks: Vec<_> = fabric.shape.jacks().collect();
        for (jack, capacity, _) in jacks {
            fabric.capacities.insert(jack, capacity);
            fabric.plug(jack, jack.eth, begin);
        }
        for station in 0..fabric.shape.stations.len() {
            let when = fabric.chance.millis(1_600, 4_000);
            fabric.plan(when, Happening::Announce(station));
        }
        fabric
    }

    /// From now on hosts tell who and where they are only so often. Every word floods the network.
    pub fn announce_every(&mut self, shortest: Duration, longest: Duration) {
        let ms = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        self.announces = (ms(shortest), ms(longest));
    }

    /// How long the controller may be silent before a switch asks for a sign of life: said before anything is connected.
    pub fn set_inactivity_probe(&mut self, interval: Duration) {
        for place in self.places.values_mut() {
            place.switch.set_inactivity_probe(interval);
        }
    }

    /// A cable between switches breaks, with both ports, or carries again.
    pub fn set_cable(&mut self, jack: Jack, whole: bool, now: Time) {
        if whole {
            self.mend(jack, now);
        } else {
            self.break_cable(jack, true, now);
        }
    }

    /// What follows from what has happened, and after how long.
    pub fn take_plans(&mut self) -> Vec<(Duration, Happening)> {
        std::mem::take(&mut self.plans)
    }

    /// What the controller learns, in order. Nothing while it is dead.
    pub fn take_inputs(&mut self) -> Vec<NetworkInput> {
        std::mem::take(&mut self.inputs)
    }

    /// Switches to which something happened since they were forgotten last.
    #[must_use]
    pub fn touched(&self) -> &BTreeSet<u64> {
        &self.touched
    }

    /// They have been looked at.
    pub fn forget_touched(&mut self) {
        self.touched.clear();
    }

    /// A number that rises whenever a cable breaks, is mended or is plugged in elsewhere.
    #[must_use]
    pub fn cables_changed(&self) -> u64 {
        self.cables_changed
    }

    /// Whether things of this kind go wrong now.
    fn goes_wrong(&self, kind: FaultKind) -> bool {
        self.faults.contains(&kind)
    }

    /// A switch, to be looked at.
    #[must_use]
    pub fn switch(&self, id: u64) -> Option<&MemorySwitch> {
        self.places.get(&id).map(|place| &place.switch)
    }

    /// Which socket has this port.
    #[must_use]
    pub fn jack(&self, port: PortRef) -> Option<Jack> {
        self.jacks.get(&port).copied()
    }

    /// Which sockets have, or had, a port of this number.
    pub fn jacks_that_had(&self, port: PortRef) -> impl Iterator<Item = Jack> {
        self.had.get(&port).into_iter().flatten().copied()
    }

    /// When a port of a switch got a number last that another had.
    #[must_use]
    pub fn number_taken_over(&self, switch: u64) -> Option<Time> {
        let of_switch = self.taken_over.iter();
        let of_switch = of_switch.filter(|(jack, _)| jack.switch == switch);
        of_switch.map(|(_, at)| *at).max()
    }

    /// The socket whose port has a name.
    #[must_use]
    pub fn jack_named(&self, name: &str) -> Option<Jack> {
        let mut jacks = self.shape.jacks().map(|(jack, ..)| jack);
        jacks.find(|jack| jack.port_name() == name)
    }

    /// The number of the port in a socket.
    #[must_use]
    pub fn number(&self, jack: Jack) -> Option<PortNo> {
        self.numbers.get(&jack).copied()
    }

    /// What a socket's cable carries, outward.
    #[must_use]
    pub fn capacity(&self, jack: Jack) -> Option<BitRate> {
        self.capacities.get(&jack).copied()
    }

    /// Where a cable between switches leads, if it carries anything.
    #[must_use]
    pub fn far_end(&self, jack: Jack) -> Option<Jack> {
        let whole = !self.silent.contains(&jack) && !self.down.contains(&jack);
        self.cables.get(&jack).filter(|_| whole).copied()
    }

    /// Whether this is a socket for a cable between switches.
    #[must_use]
    pub fn is_trunk(&self, jack: Jack) -> bool {
        self.cables.contains_key(&jack)
    }

    /// The host that has an address.
    #[must_use]
    pub fn station_of(&self, address: IpAddr) -> Option<&Station> {
        let mut stations = self.shape.stations.iter();
        stations.find(|station| station.address == address)
    }

    /// The host at a socket.
    #[must_use]
    pub fn station_at(&self, jack: Jack) -> Option<&Station> {
        self.shape
            .stations
            .iter()
            .find(|station| station.jack == jack)
    }

    /// Something happens.
    pub fn happen(&mut self, happening: Happening, now: Time) {
        match happening {
            Happening::ToController(id, bytes) => self.bring_to_controller(id, bytes),
            Happening::ToSwitch(id, bytes) => self.bring_to_switch(id, &bytes, now),
            Happening::HungUp(id) => self.hung_up(id, now),
            Happening::Lost(id) => {
                if self.alive {
                    self.inputs.push(NetworkInput::Closed { connection: id });
                }
            }
            Happening::Connect(switch) => self.connect(switch, now),
            Happening::Frame(jack, frame) => self.arrive(jack, frame, now),
            Happening::Wake(switch) => self.wake(switch, now),
            Happening::Speak(switch) => self.touch(switch, now),
            Happening::Announce(station) => self.announce(station, now),
            Happening::ClassesMade {
                life,
                switch,
                port_name,
                done,
            } => self.classes_made(life, switch, port_name, done),
            Happening::Facts { life } => self.tell_facts(life),
            Happening::Fault(fault) => self.fault(fault, now),
        }
    }

    fn plan(&mut self, after: Duration, happening: Happening) {
        self.plans.push((after, happening));
    }

    /// Time as a switch counts it.
    fn uptime(&self, now: Time) -> Duration {
        now.since(self.begin)
    }

    fn plug(&mut self, jack: Jack, number: u32, now: Time) {
        let at = self.uptime(now);
        self.cables_changed += 1;
        self.numbers.insert(jack, PortNo(number));
        let port = PortRef {
            switch: SwitchId(jack.switch),
            port: PortNo(number),
        };
        self.jacks.insert(port, jack);
        let had = self.had.entry(port).or_default();
        if had.iter().any(|other| *other != jack) {
            self.taken_over.insert(jack, now);
        }
        had.insert(jack);
        if let Some(place) = self.places.get_mut(&jack.switch) {
            let number = rust_openflow::PortNo(number);
            place.switch.add_port(number, &jack.port_name(), at);
        }
    }

    /// A frame enters a switch, or a host.
    fn arrive(&mut self, jack: Jack, frame: Vec<u8>, now: Time) {
        let at = self.uptime(now);
        let number = self.numbers.get(&jack).copied();
        if let (Some(number), Some(place)) = (number, self.places.get_mut(&jack.switch)) {
            place
                .switch
                .inject(rust_openflow::PortNo(number.0), frame, at);
            self.touch(jack.switch, now);
        }
    }

    /// Carries away what a switch has to say, and asks when it wants to be woken.
    fn touch(&mut self, id: u64, now: Time) {
        self.touched.insert(id);
        self.collect_output(id, now);
        let Some(place) = self.places.get_mut(&id) else {
            return;
        };
        for sent in place.switch.take_frames() {
            self.carry(id, sent, now);
        }
        let begin = self.begin;
        let Some(place) = self.places.get_mut(&id) else {
            return;
        };
        let wakes_at = place
            .switch
            .next_deadline()
            .map(|at| begin.plus(at).max(now));
        let sooner = match (place.wakes_at, wakes_at) {
            (Some(planned), Some(at)) => at < planned,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if let (true, Some(at)) = (sooner, wakes_at) {
            place.wakes_at = Some(at);
            self.plan(at.since(now), Happening::Wake(id));
        }
    }

    fn wake(&mut self, id: u64, now: Time) {
        let at = self.uptime(now);
        if let Some(place) = self.places.get_mut(&id)
            && place.wakes_at.is_some_and(|due| due <= now)
        {
            place.wakes_at = None;
            place.switch.advance(at);
            self.touch(id, now);
        }
    }

    /// A frame leaves a switch.
    fn carry(&mut self, switch: u64, sent: SentFrame, now: Time) {
        let port = PortRef {
            switch: SwitchId(switch),
            port: PortNo(sent.port.0),
        };
        let Some(jack) = self.jack(port) else {
            return;
        };
        if self.is_trunk(jack) {
            if let Some(far) = self.far_end(jack).filter(|_| self.has_room(jack, now)) {
                let late = self.chance.millis(0, 2);
                self.plan(late, Happening::Frame(far, sent.frame));
            }
        } else if let Some(answer) = self
            .station_at(jack)
            .and_then(|station| frames::answer(station, &sent.frame))
        {
            let late = self.chance.millis(0, 5);
            self.plan(late, Happening::Frame(jack, answer));
        }
    }

    /// Whether one more frame goes into a cable at this end now.
    fn has_room(&mut self, jack: Jack, now: Time) -> bool {
        let since = now.since(self.begin);
        let millisecond =
            Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let carried = self.carried.entry(jack).or_default();
        if carried.0 != millisecond {
            *carried = (millisecond, 0);
        }
        carried.1 = carried.1.saturating_add(1);
        carried.1 <= FRAMES_PER_MS
    }

    fn announce(&mut self, number: usize, now: Time) {
        let Some(station) = self.shape.stations.get(number).copied() else {
            return;
        };
        let frame = frames::announcement(station.mac, station.address);
        self.arrive(station.jack, frame, now);
        let pause = self.chance.millis(self.announces.0, self.announces.1);
        self.plan(pause, Happening::Announce(number));
    }

    /// A host asks for another by ARP.
    pub fn asks_for(&mut self, from: Ipv4Addr, to: Ipv4Addr, now: Time) {
        if let Some(station) = self.station_of(from.into()).copied() {
            let frame = frames::question(station.mac, station.address, to);
            self.arrive(station.jack, frame, now);
        }
    }

    /// A host sends a packet, as everybody who asks for something does. Whether its switch lets such packets through.
    pub fn speaks(&mut self, address: Ipv4Addr, now: Time) -> bool {
        let Some(station) = self.station_of(address.into()).copied() else {
            return false;
        };
        let frame = frames::announcement(station.mac, station.address);
        self.arrive(station.jack, frame.clone(), now);
        let switch = self.switch(station.jack.switch);
        let number = self.number(station.jack);
        switch.zip(number).is_some_and(|(switch, number)| {
            let traced = switch.trace(rust_openflow::PortNo(number.0), frame);
            !traced.sent.is_empty()
        })
    }

    fn classes_made(&mut self, life: u32, switch: SwitchId, port_name: String, done: bool) {
        let [first, last] = [0, u32::MAX].map(|eth| Jack {
            switch: switch.0,
            eth,
        });
        let mut of_switch = self.numbers.range(first..=last);
        let plugged_in = of_switch.find(|(jack, _)| jack.port_name() == port_name);
        let done = done && plugged_in.is_some();
        if done
            && let (Some((_, number)), Some(place)) = (plugged_in, self.places.get_mut(&switch.0))
        {
            for class in Class::ALL {
                let port = rust_openflow::PortNo(number.0);
                place.switch.add_queue(port, QueueId(class.queue()));
            }
        }
        if self.alive && life == self.life {
            let result = if done {
                Ok(())
            } else {
                Err("the database is read-only, or has no such port".to_owned())
            };
            self.inputs.push(NetworkInput::ClassesMade {
                switch,
                port_name,
                result,
            });
        }
    }
}
