//! Frames that switches show to the controller, what is learned from them, and the frames it sends itself.

use std::time::Duration;

use payflow_qos::{Class, PortNo, PortRef, SwitchId, Time};
use rust_openflow::PacketIn;
use tracing::{info, warn};

use super::{
    Network, NetworkEvent,
    agenda::Agenda,
    chatter::Chatter,
    cookie::INFRASTRUCTURE,
    entry::{FlowKey, output, queue},
    frames::{self, Words},
    hosts::{News, Presence},
    pipeline::{self, HELD, LLDP, Opening},
    switch::{State, Switch},
};

/// How long nothing moves away from a switch that is not connected: it may well carry packets.
const AWAY_PATIENCE: Duration = Duration::from_secs(30);

impl Network {
    pub(super) fn packet_in(&mut self, switch: SwitchId, packet: PacketIn, now: Time) {
        let Some(port) = packet.in_port() else { return };
        let port = PortRef {
            switch,
            port: PortNo(port.0),
        };
        if packet.data.get(12..14) == Some(&LLDP.0.to_be_bytes()) {
            self.stale |= self.discovery.heard(port, &packet.data, now);
            return;
        }
        let known = self
            .switches
            .get(&switch)
            .and_then(|known| known.ports.get(&port.port));
        match known.and_then(|known| known.opening) {
            Some(Opening::Edge { .. }) => {
                self.seen_host(port);
                let Some(heard) = frames::read(&packet.data) else {
                    return;
                };
                if heard.for_itself {
                    let (hosts, switches) = (&mut self.hosts, &self.switches);
                    let presence = |owner| presence(switches, owner, now);
                    let news = hosts.heard(port, heard.sender, presence, now);
                    self.take_news(news, now);
                }
                let is_read = heard.words != Words::Other;
                if packet.table_id == HELD && is_read && self.hosts.may_speak(port, heard.sender) {
                    self.released.push((port, heard, packet.data));
                }
            }
            Some(Opening::Discovery { watched: true }) => self.seen_host(port),
            Some(Opening::Discovery { watched: false } | Opening::Trunk) | None => {}
        }
    }

    /// Sends the held frames of those who may speak on their way: behind the entries that were made for them, if those
    /// could be sent at once.
    pub(super) fn release_frames(&mut self, now: Time) {
        for (port, heard, frame) in std::mem::take(&mut self.released) {
            let switch = self.switches.get(&port.switch).filter(|it| it.is_read());
            let Some(switch) = switch.filter(|it| it.is_edge(port.port)) else {
                continue;
            };
            let entry = |key: &FlowKey| switch.reconciler.instructions(key, now);
            let is_ip = heard.words == Words::NeighbourDiscovery;
            let actions = pipeline::release(heard.destination, is_ip, entry);
            if let Some(connection) = self.spokesman(port.switch).filter(|_| !actions.is_empty()) {
                connection.packet_out(Some(port.port), actions, frame, now);
            }
        }
    }

    pub(super) fn tick_hosts(&mut self, now: Time) {
        let heard = |switch| {
            let connection = self.connections.get(self.spokesmen.get(&switch)?)?;
            Some(Time::default().plus(connection.session.heard_at()))
        };
        let news = self.hosts.tick(heard, now);
        self.take_news(news, now);
    }

    /// Does what follows from what was learned of hosts.
    pub(super) fn take_news(&mut self, news: Vec<News>, now: Time) {
        for news in news {
            match news {
                News::Station(mac) => self.draw_station(mac),
                News::Address(host) => {
                    self.draw_address(&host);
                    self.emit(NetworkEvent::Host(host));
                }
                News::Moved(hosts) => {
                    // A port may be full now, or not any more.
                    self.stale = true;
                    self.redraw = true;
                    for host in hosts {
                        info!(address = %host.address, mac = %host.mac, port = %host.port, "host moved");
                        self.emit(NetworkEvent::Host(host));
                    }
                }
                News::Quarantine(port, claimed, until) => {
                    if self.may_say(port.switch, Chatter::Claims, now) {
                        warn!(%port, ?claimed, "a name that belongs elsewhere is blocked here");
                    }
                    let reconciler = &mut self.switch_mut(port.switch).reconciler;
                    for (key, entry) in pipeline::quarantine_entries(port.port, claimed, until) {
                        reconciler.want(INFRASTRUCTURE, key, entry);
                    }
                }
                News::Released(port, claimed) => {
                    let reconciler = &mut self.switch_mut(port.switch).reconciler;
                    for (key, _) in pipeline::quarantine_entries(port.port, claimed, now) {
                        reconciler.withdraw(INFRASTRUCTURE, &key);
                    }
                }
                News::Ask(port, frame) => {
                    self.send_frame(port, frame, now);
                    if let Some(connection) = self.spokesman(port.switch) {
                        connection.session.ask_for_a_sign();
                    }
                }
                News::Full(port) => {
                    warn!(%port, "no more addresses are learned at this port");
                    self.stale = true;
                    self.redraw = true;
                }
            }
        }
    }

    pub(super) fn send_discovery(&mut self, now: Time) {
        for (port, frame) in self.discovery.due(now) {
            self.send_frame(port, frame, now);
        }
    }

    /// Sends a frame of our own out of one port, in the queue of the steady class: admission bounds what else is in there,
    /// while the control class can be filled by hosts that call the API, and a trunk whose discovery frames are lost
    /// is closed.
    fn send_frame(&mut self, port: PortRef, frame: Vec<u8>, now: Time) {
        if let Some(connection) = self.spokesman(port.switch) {
            let actions = vec![queue(Class::Steady), output(port.port)];
            connection.packet_out(None, actions, frame, now);
        }
    }
}

/// Whether the owner of a claimed name can be asked at its port.
fn presence(switches: &Agenda<SwitchId, Switch>, port: PortRef, now: Time) -> Presence {
    match switches.get(&port.switch) {
        Some(switch) if switch.is_read() => {
            if switch.is_up(port.port) {
                Presence::Up
            } else {
                Presence::Down
            }
        }
        Some(switch) => match switch.state {
            State::Away { since } if since.plus(AWAY_PATIENCE) <= now => Presence::Down,
            _ => Presence::Unknown,
        },
        None => Presence::Down,
    }
}
