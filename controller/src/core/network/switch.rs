//! One switch: what is known of it, whether or not it is connected, and the conversation at the
//! start of a connection and at every audit.

use std::{collections::BTreeMap, time::Duration};

use payflow_qos::{PortNo, SwitchId, Time};
use rust_openflow::{
    Action, AsyncConfig, BufferId, BundleCommand, BundleControl, BundleFlags, EncodeError,
    FlowFilter, FlowMod, FlowStats, Message, MeterConfig, MeterFeatures, MeterId, MeterMod,
    MeterStats, MultipartReplyBody, MultipartRequest, MultipartRequestBody, PacketOut, PortReason,
    PortStats, PortStatus, SendError, SessionConfig, SwitchConfig, SwitchSession, bundle_add,
};

use super::{
    NetworkConfig,
    cookie::OwnerTag,
    identity::Peer,
    pipeline::Opening,
    reconcile::{Outlet, Reconciler, SentBundle},
};
use crate::core::printable::printable;

/// What is known of a switch. Stays when the connection goes.
pub(crate) struct Switch {
    pub(crate) reconciler: Reconciler,
    pub(crate) ports: BTreeMap<PortNo, Port>,
    pub(crate) description: String,
    pub(crate) state: State,
    pub(crate) audit_at: Time,
    pub(crate) audit: Option<Box<Reading>>,
    /// Questions about the counters of single flows, by their number: when they were asked.
    pub(crate) asked: BTreeMap<u32, (Time, u64)>,
    /// Somebody else's entries have been warned about.
    pub(crate) warned: bool,
    /// Errors it has answered with (`OFPT_ERROR`), over all its connections.
    pub(crate) errors: u64,
}

/// How far the connection is.
pub(crate) enum State {
    /// Not connected.
    Away { since: Time },
    /// Connected and being read back.
    Reading(Box<Reading>),
    /// Read back; being brought to what is wanted.
    Mending,
    /// It has held everything wanted since it was read back.
    Ready,
}

/// A port as the switch describes it.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) up: bool,
    /// When it has been up long enough to be an edge port.
    pub(crate) settled_at: Time,
    /// A host was seen there, so it never becomes a link by discovery alone.
    pub(crate) seen_host: bool,
    /// What it is open for; `None` while it is down.
    pub(crate) opening: Option<Opening>,
}

/// Answers awaited, and those that have come.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) asked_at: Time,
    awaited: BTreeMap<u32, Part>,
    pub(crate) flows: Vec<FlowStats>,
    pub(crate) meters: Vec<MeterConfig>,
    pub(crate) meter_stats: Vec<MeterStats>,
    pub(crate) port_stats: Vec<PortStats>,
    ports: Vec<rust_openflow::Port>,
    port_changes: Vec<PortStatus>,
    pub(crate) description: Option<String>,
    pub(crate) meter_features: Option<MeterFeatures>,
    /// It did not say what meters it has.
    pub(crate) meters_untold: bool,
    /// Something was sent or under way meanwhile: not a picture of one moment.
    pub(crate) blurred: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Without it nothing is known of what the switch holds, or what is plugged in there.
    Needed,
    /// Its meters, which some switches do not have.
    Meters,
    Other,
}

impl Switch {
    pub(crate) fn new(config: &NetworkConfig, now: Time) -> Self {
        let timings = &config.timings;
        Self {
            reconciler: Reconciler::new(OwnerTag(config.owner_tag), timings.grace, timings.retry),
            ports: BTreeMap::new(),
            description: String::new(),
            state: State::Away { since: now },
            audit_at: now,
            audit: None,
            asked: BTreeMap::new(),
            warned: false,
            errors: 0,
        }
    }

    /// Connected and read back: what it holds is known.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.state, State::Mending | State::Ready)
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// When to look at it if nothing happens to it before: an audit, something to send, a port that has settled.
    pub(crate) fn next_deadline(&self, now: Time) -> Option<Time> {
        if !self.is_read() {
            return None;
        }
        let settling = self.ports.values().filter(|port| port.is_settling(now));
        let settled = settling.map(|port| port.settled_at).min();
        let entries = self.reconciler.next_deadline(now);
        let others = [settled, entries].into_iter().flatten();
        others.chain([self.audit_at]).min()
    }

    pub(crate) fn port_named(&self, name: &str) -> Option<PortNo> {
        self.ports
            .iter()
            .find(|(_, port)| port.name == name)
            .map(|(number, _)| *number)
    }

    pub(crate) fn port_named_mut(&mut self, name: &str) -> Option<(PortNo, &mut Port)> {
        self.ports
            .iter_mut()
            .find(|(_, port)| port.name == name)
            .map(|(number, port)| (*number, port))
    }

    /// Whether hosts may be behind the port.
    pub(crate) fn is_edge(&self, port: PortNo) -> bool {
        let port = self.ports.get(&port);
        port.is_some_and(|port| matches!(port.opening, Some(Opening::Edge { .. })))
    }

    pub(crate) fn is_up(&self, port: PortNo) -> bool {
        self.ports.get(&port).is_some_and(|port| port.up)
    }
}

impl Port {
    pub(crate) fn is_settling(&self, now: Time) -> bool {
        self.up && now < self.settled_at
    }

    /// It is settled, and perhaps nothing has followed from that yet.
    pub(crate) fn has_settled(&self, now: Time) -> bool {
        self.settled_at <= now && matches!(self.opening, Some(Opening::Discovery { .. }))
    }
}

impl Reading {
    /// Takes an answer; `None` if it is not awaited here, else whether everything has come.
    pub(crate) fn answer(&mut self, xid: u32, body: MultipartReplyBody) -> Option<bool> {
        self.awaited.remove(&xid)?;
        match body {
            MultipartReplyBody::Flow(flows) => self.flows = flows,
            MultipartReplyBody::MeterConfig(meters) => self.meters = meters,
            MultipartReplyBody::MeterFeatures(features) => self.meter_features = Some(features),
            MultipartReplyBody::Meter(stats) => self.meter_stats = stats,
            MultipartReplyBody::PortStats(stats) => self.port_stats = stats,
            MultipartReplyBody::PortDesc(ports) => self.ports = ports,
            MultipartReplyBody::Desc(desc) => {
                let parts = [desc.manufacturer, desc.hardware, desc.software];
                self.description = Some(printable(parts.join(" ").trim()));
            }
            _ => {}
        }
        Some(self.awaited.is_empty())
    }

    /// A port has changed after the switch was asked for its ports, or just before it answered.
    pub(crate) fn port_changed(&mut self, status: PortStatus) {
        self.port_changes.push(status);
    }

    /// The ports as they are now.
    pub(crate) fn ports_now(&self) -> Vec<rust_openflow::Port> {
        let mut ports: BTreeMap<_, _> = self
            .ports
            .iter()
            .map(|port| (port.port_no, port.clone()))
            .collect();
        for PortStatus { reason, port } in &self.port_changes {
            if *reason == PortReason::DELETE {
                ports.remove(&port.port_no);
            } else {
                ports.insert(port.port_no, port.clone());
            }
        }
        ports.into_values().collect()
    }

    /// An answer will not come. `None` if it was not awaited here; `Some(None)` if nothing can be said
    /// without it; else whether everything else has come.
    pub(crate) fn no_answer(&mut self, xid: u32) -> Option<Option<bool>> {
        match self.awaited.remove(&xid)? {
            Part::Needed => return Some(None),
            // Not that there are none.
            Part::Meters => self.meters_untold = true,
            Part::Other => {}
        }
        Some(Some(self.awaited.is_empty()))
    }
}

/// One connection, from before the switch has said who it is.
pub(crate) struct Connection {
    pub(crate) session: SwitchSession,
    pub(crate) peer: Peer,
    pub(crate) switch: Option<SwitchId>,
    /// A message could not be sent: the connection is of no use any more.
    pub(crate) broken: Option<SendError>,
    /// How many messages could not be read, since when that was counted.
    pub(crate) unreadable: u32,
    pub(crate) unreadable_since: Time,
    last_bundle: u32,
}

impl Connection {
    pub(crate) fn new(peer: Peer, echo: Duration) -> Self {
        let config = SessionConfig {
            echo_after: echo,
            silence_limit: echo.saturating_mul(3),
            ..SessionConfig::default()
        };
        Self {
            session: SwitchSession::new(config),
            peer,
            switch: None,
            broken: None,
            unreadable: 0,
            unreadable_since: Time::default(),
            last_bundle: 0,
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let at = self.session.next_deadline()?;
        Some(Time::default().plus(at))
    }

    /// Sends everything that is said and asked right after the handshake.
    pub(crate) fn introduce(&mut self, now: Time) -> Reading {
        self.send(&Message::SetConfig(SwitchConfig::WHOLE_PACKETS), now);
        self.send(&Message::SetAsync(AsyncConfig::EVERYTHING), now);
        // Ends the time in which Open vSwitch may count as abandoned.
        self.send(&Message::BarrierRequest, now);
        let mut reading = Reading::default();
        self.ask(&mut reading, MultipartRequestBody::PortDesc, now);
        self.ask(&mut reading, MultipartRequestBody::Desc, now);
        self.ask(&mut reading, MultipartRequestBody::MeterFeatures, now);
        self.ask(
            &mut reading,
            MultipartRequestBody::MeterConfig(MeterId::ALL),
            now,
        );
        self.ask(
            &mut reading,
            MultipartRequestBody::Flow(FlowFilter::all()),
            now,
        );
        reading
    }

    /// Asks for counters, those of ports where they are wanted, and for what the switch holds.
    pub(crate) fn audit(&mut self, port_counters: bool, now: Time) -> Reading {
        let mut reading = Reading {
            asked_at: now,
            ..Reading::default()
        };
        if port_counters {
            let every = MultipartRequestBody::PortStats(rust_openflow::PortNo::ANY);
            self.ask(&mut reading, every, now);
        }
        self.ask(&mut reading, MultipartRequestBody::Meter(MeterId::ALL), now);
        self.ask(
            &mut reading,
            MultipartRequestBody::MeterConfig(MeterId::ALL),
            now,
        );
        self.ask(
            &mut reading,
            MultipartRequestBody::Flow(FlowFilter::all()),
            now,
        );
        reading
    }

    /// A frame, to be treated like this. `from` is the port where it came in and does not go out again; `None` for one
    /// of our own.
    pub(crate) fn packet_out(
        &mut self,
        from: Option<PortNo>,
        actions: Vec<Action>,
        frame: Vec<u8>,
        now: Time,
    ) {
        let in_port = from.map_or(rust_openflow::PortNo::CONTROLLER, |port| {
            rust_openflow::PortNo(port.0)
        });
        let packet = PacketOut {
            buffer_id: BufferId::NO_BUFFER,
            in_port,
            actions,
            data: frame,
        };
        self.send(&Message::PacketOut(packet), now);
    }

    fn ask(&mut self, reading: &mut Reading, body: MultipartRequestBody, now: Time) {
        let part = match body {
            MultipartRequestBody::Flow(_) | MultipartRequestBody::PortDesc => Part::Needed,
            MultipartRequestBody::MeterConfig(_) => Part::Meters,
            _ => Part::Other,
        };
        let xid = self.question(body, now);
        reading.awaited.insert(xid, part);
    }

    /// Asks for statistics. The transaction id that the answer will have.
    pub(crate) fn question(&mut self, body: MultipartRequestBody, now: Time) -> u32 {
        let request = MultipartRequest {
            flags: rust_openflow::MultipartFlags::default(),
            body,
        };
        self.send(&Message::MultipartRequest(request), now)
    }

    /// The transaction id; 0, which no message has, if it could not be sent.
    fn send(&mut self, message: &Message, now: Time) -> u32 {
        let sent = self.session.request(message, session_time(now));
        self.sent(sent)
    }

    /// The same for a message that must know its own transaction id.
    fn send_with(
        &mut self,
        message: impl FnOnce(u32) -> Result<Message, EncodeError>,
        now: Time,
    ) -> u32 {
        let sent = self.session.request_with(session_time(now), message);
        self.sent(sent)
    }

    fn sent(&mut self, sent: Result<u32, SendError>) -> u32 {
        sent.unwrap_or_else(|error| {
            self.broken.get_or_insert(error);
            0
        })
    }

    /// A number that no bundle of this connection has had, for as long as that matters.
    fn next_bundle(&mut self) -> u32 {
        self.last_bundle = self.last_bundle.wrapping_add(1);
        self.last_bundle
    }
}

/// Time as sessions count it: since the Unix epoch.
pub(crate) fn session_time(now: Time) -> Duration {
    Duration::from_millis(now.millis())
}

/// What a reconciler sends through.
pub(crate) struct Through<'a> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) now: Time,
}

impl Outlet for Through<'_> {
    fn meter(&mut self, meter: MeterMod) -> u32 {
        self.connection.send(&Message::MeterMod(meter), self.now)
    }

    fn flow(&mut self, flow: FlowMod) -> u32 {
        self.connection.send(&Message::FlowMod(flow), self.now)
    }

    fn bundle(&mut self, flows: Vec<FlowMod>) -> SentBundle {
        let number = self.connection.next_bundle();
        let flags = BundleFlags::ATOMIC | BundleFlags::ORDERED;
        let control = |command| BundleControl {
            bundle_id: number,
            command,
            flags,
        };
        let open = control(BundleCommand::OPEN_REQUEST).to_message();
        let open = self.connection.send(&open, self.now);
        let add = |flow: FlowMod| {
            let inner = Message::FlowMod(flow);
            let outer = |xid| bundle_add(number, flags, xid, &inner);
            self.connection.send_with(outer, self.now)
        };
        let flows = flows.into_iter().map(add).collect();
        let commit = control(BundleCommand::COMMIT_REQUEST).to_message();
        let commit = self.connection.send(&commit, self.now);
        SentBundle {
            open,
            flows,
            commit,
        }
    }

    fn barrier(&mut self) -> u32 {
        self.connection.send(&Message::BarrierRequest, self.now)
    }
}
