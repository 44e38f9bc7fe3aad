//! Frames that switches show to the controller, what is learned from them, and the frames it sends itself.

use std::{collections::BTreeMap, time::Duration};

use payflow_qos::{PortNo, PortRef, SwitchId, Time};
use rust_openflow::PacketIn;
use tracing::{info, warn};

use super::{
    Network, NetworkEvent,
    cookie::INFRASTRUCTURE,
    frames,
    hosts::{News, Presence},
    pipeline::{self, LLDP, Opening},
    switch::{State, Switch},
};

/// How long nothing moves away from a switch that is not connected: it may well carry packets.
const AWAY_PATIENCE: Duration = Duration::from_secs(30);

impl Network {
    pub(super) fn packet_in(&mut self, switch: SwitchId, packet: &PacketIn, now: Time) {
        let Some(port) = packet.in_port() else { return };
        let port = PortRef {
            switch,
            port: PortNo(port.0),
        };
        if packet.data.get(12..14) == Some(&LLDP.0.to_be_bytes()) {
            self.stale |= self.discovery.heard(port, &packet.data, now).is_some();
            return;
        }
        let opening = self
            .switches
            .get(&switch)
            .and_then(|known| known.ports.get(&port.port)?.opening);
        match opening {
            Some(Opening::Edge { .. }) => {
                self.seen_host(port);
                if let Some(sender) = frames::sender(&packet.data) {
                    let (hosts, switches) = (&mut self.hosts, &self.switches);
                    let news =
                        hosts.heard(port, sender, |owner| presence(switches, owner, now), now);
                    self.take_news(news, now);
                }
            }
            Some(Opening::Discovery { watched: true }) => self.seen_host(port),
            Some(Opening::Discovery { watched: false } | Opening::Trunk) | None => {}
        }
    }

    pub(super) fn tick_hosts(&mut self, now: Time) {
        let news = self.hosts.tick(now);
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
                    self.redraw = true;
                    for host in hosts {
                        info!(address = %host.address, mac = %host.mac, port = %host.port, "host moved");
                        self.emit(NetworkEvent::Host(host));
                    }
                }
                News::Quarantine(port, claimed, until) => {
                    warn!(%port, ?claimed, "a name that belongs elsewhere is blocked here");
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
                News::Ask(port, frame) => self.send_frame(port, frame, now),
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

    fn send_frame(&mut self, port: PortRef, frame: Vec<u8>, now: Time) {
        let connection = self
            .spokesmen
            .get(&port.switch)
            .and_then(|id| self.connections.get_mut(id));
        if let Some(connection) = connection {
            connection.packet_out(port.port, frame, now);
        }
    }
}

/// Whether the owner of a claimed name can be asked at its port.
fn presence(switches: &BTreeMap<SwitchId, Switch>, port: PortRef, now: Time) -> Presence {
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
