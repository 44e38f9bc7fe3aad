//! The ports of a switch, and what changes about them.

use std::time::Duration;

use rust_openflow::{
    ErrorCode, MacAddr, Port, PortConfig, PortFeatures, PortMod, PortNo, PortReason, PortState,
    PortStats, PortStatus, QueueId,
};

use super::clock::split;
use super::connection::Unasked;
use super::{MemorySwitch, SwitchSettings};

#[derive(Clone, Debug)]
pub(super) struct PortEntry {
    pub(super) port: Port,
    pub(super) received: Count,
    pub(super) sent: Count,
    since: Duration,
}

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    packets: u64,
    bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, frame_bytes: usize) {
        self.packets += 1;
        self.bytes += u64::try_from(frame_bytes).unwrap_or(u64::MAX);
    }
}

impl PortEntry {
    fn new(port_no: PortNo, name: &str, hw_addr: MacAddr, now: Duration) -> Self {
        Self {
            port: Port {
                port_no,
                hw_addr,
                name: name.to_owned(),
                config: PortConfig::NONE,
                state: PortState::LIVE,
                curr: PortFeatures::NONE,
                advertised: PortFeatures::NONE,
                supported: PortFeatures::NONE,
                peer: PortFeatures::NONE,
                curr_speed_kbps: 0,
                max_speed_kbps: 0,
            },
            received: Count::default(),
            sent: Count::default(),
            since: now,
        }
    }

    /// The switch's own port.
    pub(super) fn local(settings: &SwitchSettings) -> Self {
        let [_, _, mac @ ..] = settings.datapath_id.0.to_be_bytes();
        Self::new(PortNo::LOCAL, &settings.name, MacAddr(mac), Duration::ZERO)
    }

    pub(super) fn reset(&mut self, now: Duration) {
        self.received = Count::default();
        self.sent = Count::default();
        self.since = now;
    }

    pub(super) fn stats(&self, now: Duration) -> PortStats {
        let (duration_sec, duration_nsec) = split(now.saturating_sub(self.since));
        PortStats {
            port_no: self.port.port_no,
            rx_packets: self.received.packets,
            tx_packets: self.sent.packets,
            rx_bytes: self.received.bytes,
            tx_bytes: self.sent.bytes,
            rx_dropped: 0,
            tx_dropped: 0,
            rx_errors: 0,
            tx_errors: 0,
            rx_frame_err: 0,
            rx_over_err: 0,
            rx_crc_err: 0,
            collisions: 0,
            duration_sec,
            duration_nsec,
        }
    }
}

impl MemorySwitch {
    /// Adds a port, up, and tells the controllers. One of the same number is replaced.
    pub fn add_port(&mut self, port_no: PortNo, name: &str, now: Duration) {
        self.advance(now);
        let [.., a, b, c] = self.settings.datapath_id.0.to_be_bytes();
        let [.., d, e] = port_no.0.to_be_bytes();
        let entry = PortEntry::new(port_no, name, MacAddr([0xaa, a, b, c, d, e]), self.now);
        self.ports.insert(port_no, entry);
        self.changed();
        self.tell_of_port(PortReason::ADD, port_no);
    }

    /// Takes a port away with its queues, and tells the controllers.
    pub fn remove_port(&mut self, port_no: PortNo, now: Duration) {
        self.advance(now);
        self.tell_of_port(PortReason::DELETE, port_no);
        self.ports.remove(&port_no);
        self.changed();
        self.queues.retain(|(port, _)| *port != port_no);
        self.learned.retain(|_, port| *port != port_no);
    }

    /// The link of a port goes down or comes up again; the controllers are told of a change.
    pub fn set_link(&mut self, port_no: PortNo, up: bool, now: Duration) {
        self.advance(now);
        let state = if up {
            PortState::LIVE
        } else {
            PortState::LINK_DOWN
        };
        let Some(entry) = self.ports.get_mut(&port_no) else {
            return;
        };
        if std::mem::replace(&mut entry.port.state, state) != state {
            self.changed();
            self.tell_of_port(PortReason::MODIFY, port_no);
        }
    }

    /// Makes a queue of a port, as OVSDB would.
    pub fn add_queue(&mut self, port_no: PortNo, queue: QueueId) {
        self.queues.insert((port_no, queue));
        self.changed();
    }

    /// Takes a queue away. Entries that name it go on, into the default queue.
    pub fn remove_queue(&mut self, port_no: PortNo, queue: QueueId) {
        self.queues.remove(&(port_no, queue));
        self.changed();
    }

    pub(super) fn change_port(&mut self, wanted: &PortMod) -> Result<(), ErrorCode> {
        const CHANGEABLE: PortConfig = PortConfig(
            PortConfig::PORT_DOWN.0
                | PortConfig::NO_RECV.0
                | PortConfig::NO_FWD.0
                | PortConfig::NO_PACKET_IN.0,
        );
        let Some(entry) = self.ports.get_mut(&wanted.port_no) else {
            return Err(ErrorCode::PORT_BAD_PORT);
        };
        if entry.port.hw_addr != wanted.hw_addr {
            return Err(ErrorCode::BAD_HW_ADDR);
        }
        let mask = wanted.mask.0 & CHANGEABLE.0;
        let config = PortConfig(entry.port.config.0 & !mask | wanted.config.0 & mask);
        if std::mem::replace(&mut entry.port.config, config) != config {
            self.changed();
            self.tell_of_port(PortReason::MODIFY, wanted.port_no);
        }
        Ok(())
    }

    fn tell_of_port(&mut self, reason: PortReason, port_no: PortNo) {
        if let Some(entry) = self.ports.get(&port_no) {
            let port = entry.port.clone();
            let status = PortStatus { reason, port };
            self.tell(Unasked::PortStatus, reason.0, &status.into());
        }
    }
}
