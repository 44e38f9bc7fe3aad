//! What goes into the network and what comes out of it.

use std::net::IpAddr;

use payflow_qos::{BitRate, Class, Path, PortNo, PortRef, SoldRate, SwitchId, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::{Certificate, KeyFingerprint, Peer};
use super::selector::Selector;
use crate::core::document::ReservationNumber;

/// One connection from a switch, numbered by the driver; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happens to the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkInput {
    /// A switch opened a connection.
    Connected {
        /// The new connection.
        connection: ConnectionId,
        /// Who is at its other end, as far as that is proven.
        peer: Peer,
    },
    /// Bytes came from a switch, cut anywhere.
    Bytes {
        /// On which connection.
        connection: ConnectionId,
        /// The bytes, in order.
        bytes: Vec<u8>,
    },
    /// The connection is gone, whoever closed it.
    Closed {
        /// Which connection.
        connection: ConnectionId,
    },
    /// What the switch's database (OVSDB) says of the switch itself; sent at every change.
    Bridge {
        /// The datapath id.
        switch: SwitchId,
        /// `None` when it says nothing any more.
        facts: Option<BridgeFacts>,
    },
    /// What the switch's database (OVSDB) or the configuration says of a port; sent at every change.
    Port(PortFacts),
    /// The class queues ordered by [`NetworkOutput::MakeClasses`] are in place, or why not.
    ClassesMade {
        /// The switch.
        switch: SwitchId,
        /// The port, by name.
        port_name: String,
        /// The reason when the database refused or did not answer.
        result: Result<(), String>,
    },
    /// Somebody has changed or removed the class queues of a port that were in place.
    ClassesLost {
        /// The switch.
        switch: SwitchId,
        /// The port, by name.
        port_name: String,
    },
    /// It is durable that a datapath id belongs to a key: the answer to [`NetworkEvent::SwitchMet`], and what is
    /// remembered after a restart.
    Bound {
        /// The datapath id.
        switch: SwitchId,
        /// The key.
        key: KeyFingerprint,
    },
    /// It is durable that a datapath id belongs to nobody any more: whoever comes with it next is met anew.
    Unbound {
        /// The datapath id.
        switch: SwitchId,
    },
    /// It is remembered that a port has another number: the answer to [`NetworkEvent::PortRenumbered`]. Paid flows follow.
    Renumbered {
        /// What it was.
        from: PortRef,
        /// What it is.
        to: PortRef,
    },
    /// It is remembered from before a restart what a port was called when something was sold through it, so that it is
    /// followed if it has another number by now. Told before any switch connects.
    PortNamed {
        /// The port.
        port: PortRef,
        /// Its name.
        name: String,
    },
    /// A deadline given by `next_deadline` has passed.
    DeadlineReached,
}

/// How a bridge is configured (OVSDB table Bridge).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeFacts {
    /// Its name, for the log.
    pub name: String,
    /// `fail_mode=secure`: without a controller it keeps its entries, and does nothing of its own.
    pub secure: bool,
    /// `other_config:datapath-id` is set: the datapath id stays when the bridge is made again.
    pub fixed_datapath_id: bool,
}

/// Something that a switch lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Shortcoming {
    /// Nothing is sold across the switch until it is mended.
    pub unsellable: bool,
    /// What is missing, and what the operator does about it.
    pub text: String,
}

/// Most bytes of a port's name in OpenFlow: `name` of `ofp_port` has 16, one of them a zero.
pub const OPENFLOW_NAME: usize = 15;

/// A port's name as switches say it in OpenFlow, whatever it is called elsewhere.
#[must_use]
pub fn openflow_name(name: &str) -> &str {
    let end = name.floor_char_boundary(OPENFLOW_NAME);
    name.get(..end).unwrap_or(name)
}

/// What the operator declared of a port: in the configuration file, else in OVSDB
/// `external_ids` of table Port (`payflow-capacity-bps`, `payflow-role`). A port is identified by
/// datapath id and name, because port numbers change (OpenFlow reference, trap 15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// The switch.
    pub switch: SwitchId,
    /// The port, by its name in OpenFlow: [`openflow_name`].
    pub port_name: String,
    /// Capacity of the link behind the port, in this direction. `None` is not sellable.
    pub capacity: Option<BitRate>,
    /// What the operator says is behind the port.
    pub role: PortRole,
}

/// What the operator says is behind a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortRole {
    /// Nothing said: an edge port. Becomes a trunk only where the operator allows discovery.
    #[default]
    Unsaid,
    /// Another switch: the only ports that discovery may turn into links.
    Trunk,
    /// The controller's own API.
    Api,
}

/// What the network wants done, and what it has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkOutput {
    /// Bytes for a switch.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// Whole messages.
        bytes: Vec<u8>,
    },
    /// Close the connection; nothing more is sent on it.
    Close {
        /// Which connection.
        connection: ConnectionId,
        /// Why, for the log.
        reason: String,
    },
    /// Make the four class queues of a port through OVSDB; answered by [`NetworkInput::ClassesMade`].
    MakeClasses {
        /// The switch.
        switch: SwitchId,
        /// The port, by name.
        port_name: String,
        /// The capacity the classes share.
        capacity: BitRate,
    },
    /// Something the rest of the core wants to know.
    Event(NetworkEvent),
}

/// What the network has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkEvent {
    /// Every entry of the paid flow is confirmed by barriers, the first switch last.
    Installed {
        /// Which reservation.
        flow: FlowId,
    },
    /// The paid flow cannot be installed; whatever had been installed is being removed.
    InstallFailed {
        /// Which reservation.
        flow: FlowId,
        /// The switch's error or what else went wrong, for people.
        reason: String,
    },
    /// More of what was let in is missing at the last switch than may be.
    FellShort {
        /// Which reservation.
        flow: FlowId,
    },
    /// What was counted of a flow that is being taken off, for the last time: before [`Self::Removed`].
    Counted {
        /// Which reservation.
        flow: FlowId,
        /// All of it.
        counters: FlowCounters,
    },
    /// No entry of the paid flow is left on any connected switch. Told a second time, with `everywhere`, if a switch of the
    /// path was away the first time.
    Removed {
        /// Which reservation.
        flow: FlowId,
        /// Nor on any other: no switch of the path is away, or hard time-outs are over. Until then a switch that cannot be
        /// reached may go on carrying it.
        everywhere: bool,
    },
    /// A link or switch on the path of an installed flow is gone.
    PathBroken {
        /// Which reservation.
        flow: FlowId,
        /// What broke, for people.
        reason: String,
    },
    /// Every hop of a flow whose path was broken is connected, read back and right again.
    PathRestored {
        /// Which reservation.
        flow: FlowId,
    },
    /// A certificate came for the first time with a datapath id that belongs to nobody. Nothing is asked of the switch
    /// until [`NetworkInput::Bound`] says that this is remembered.
    SwitchMet {
        /// The datapath id.
        switch: SwitchId,
        /// The certificate.
        certificate: Certificate,
    },
    /// The switch is connected, read back, and holds what it should.
    SwitchReady {
        /// Which switch.
        switch: SwitchId,
    },
    /// The switch is no longer connected.
    SwitchLost {
        /// Which switch.
        switch: SwitchId,
    },
    /// The capacity of a directed link changed; `None` is no longer sellable.
    Capacity {
        /// The egress port that is the link.
        link: PortRef,
        /// The new capacity.
        capacity: Option<BitRate>,
    },
    /// A port, by name, has come back under another number. Paid flows follow once [`NetworkInput::Renumbered`] says that
    /// this is remembered.
    PortRenumbered {
        /// What it was.
        from: PortRef,
        /// What it is.
        to: PortRef,
    },
    /// A port was taken out and has not come back in time, or another has its number: nothing that was sold enters or leaves
    /// there any more. [`NetworkEvent::Capacity`] was told before.
    PortGivenUp {
        /// The number it had.
        port: PortRef,
    },
    /// A host was learned, or has moved.
    Host(Host),
}

/// A paid flow on the switches: reservation number (40 bits) and generation (16 bits), the
/// generation rising with every new path. Both are carried in the cookie of every entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    /// The reservation's number, below 2^40.
    pub reservation: u64,
    /// Rises with every new path of the same reservation.
    pub generation: u16,
}

impl FlowId {
    /// The reservation's id, for the log; where others took its place, that of the first.
    #[must_use]
    pub fn reservation_id(self) -> String {
        ReservationNumber(self.reservation).reservation_id()
    }
}

/// Everything the data plane needs to carry one paid flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowPlan {
    /// Whose flow, and which generation of its path.
    pub flow: FlowId,
    /// The pinned path; the first hop's `in_port` is where the paying host is attached.
    pub path: Path,
    /// Which packets.
    pub selector: Selector,
    /// MAC address of the source host at the first switch.
    pub source_mac: MacAddr,
    /// MAC address of the destination host. The last switch writes it into every packet, so that a lie about the
    /// destination's address, believed by the source, leads nowhere else.
    pub destination_mac: MacAddr,
    /// Steady or elastic.
    pub class: Class,
    /// The rate of the meter at the first switch.
    pub rate: SoldRate,
    /// When the service ends. Hard time-outs are the remaining time plus a grace, so the entries go
    /// even when the controller is dead. While installing, the service is taken to begin now; every delay moves its end,
    /// until `Network::set_end` says it.
    pub ends: Time,
    /// When the service ends that this one takes the place of, once it is installed: no entry goes before that, as some serve
    /// the one before until all are there.
    pub replaced_ends: Option<Time>,
    /// The paid time runs already, on another path: no delay moves its end.
    pub begun: bool,
    /// Packets are in the buffers of the path for so long at the most.
    pub transit: std::time::Duration,
}

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

/// A host as the network learned it: in band, by address and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Host {
    /// IP address.
    pub address: IpAddr,
    /// MAC address.
    pub mac: MacAddr,
    /// Edge port the host is attached to.
    pub port: PortRef,
    /// When it was learned there.
    pub since: Time,
}

/// A switch as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SwitchView {
    /// Datapath id.
    pub switch: SwitchId,
    /// Manufacturer, hardware and software, as the switch says (`OFPMP_DESC`).
    pub description: String,
    /// Who speaks for it; absent while it is not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// Connected, read back, and holds what it should.
    pub ready: bool,
    /// What it lacks, if anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shortcomings: Vec<Shortcoming>,
    /// Ports by number.
    pub ports: Vec<PortView>,
    /// Entries the controller wants on it.
    pub flow_entries: usize,
    /// Meters the controller wants on it.
    pub meters: usize,
    /// Errors it has answered with (`OFPT_ERROR`), since the controller started.
    pub errors: u64,
}

/// A port as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PortView {
    /// Port number.
    pub number: PortNo,
    /// Port name.
    pub name: String,
    /// Link is up.
    pub up: bool,
    /// `edge`, `trunk`, `api` or `probing`.
    pub role: String,
    /// Declared capacity, bit/s.
    pub capacity_bps: Option<u64>,
    /// The class queues are in place.
    pub classes: bool,
    /// The port at the other end, for a trunk whose link is proven.
    pub peer: Option<PortRef>,
}

/// A proven link, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LinkView {
    /// The egress port, which names the link.
    pub from: PortRef,
    /// The port it leads to.
    pub to: PortRef,
    /// Capacity, bit/s, once its class queues are in place.
    pub capacity_bps: Option<u64>,
}

/// What switches have counted of a paid flow, over all its path changes, some seconds ago at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlowCounters {
    /// Packets at the first switch, those the meter dropped included.
    pub packets: u64,
    /// Their bytes, as whole frames.
    pub bytes: u64,
    /// Packets the meter dropped because they came above the paid rate.
    pub dropped_packets: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// Packets at the last switch; on a path of one switch those that the meter let through.
    #[serde(default)]
    pub left_packets: u64,
    /// Their bytes.
    #[serde(default)]
    pub left_bytes: u64,
    /// Bytes that the meter let through and that never came to the last switch, as far as that is certain.
    #[serde(default)]
    pub lost_bytes: u64,
    /// Of these, what is credited: all that were lost between two readings, if those were more than may be lost.
    #[serde(default)]
    pub short_bytes: u64,
}

impl FlowCounters {
    /// No number is above 2^53 - 1, the largest in a signed document (RFC 8785 section 3.2.2.3).
    #[must_use]
    pub fn signable(self) -> Self {
        let most = |number: u64| number.min((1 << 53) - 1);
        Self {
            packets: most(self.packets),
            bytes: most(self.bytes),
            dropped_packets: most(self.dropped_packets),
            dropped_bytes: most(self.dropped_bytes),
            left_packets: most(self.left_packets),
            left_bytes: most(self.left_bytes),
            lost_bytes: most(self.lost_bytes),
            short_bytes: most(self.short_bytes),
        }
    }

    /// What both have counted.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
            dropped_packets: self.dropped_packets.saturating_add(other.dropped_packets),
            dropped_bytes: self.dropped_bytes.saturating_add(other.dropped_bytes),
            left_packets: self.left_packets.saturating_add(other.left_packets),
            left_bytes: self.left_bytes.saturating_add(other.left_bytes),
            lost_bytes: self.lost_bytes.saturating_add(other.lost_bytes),
            short_bytes: self.short_bytes.saturating_add(other.short_bytes),
        }
    }
}

impl std::fmt::Display for MacAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl std::fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

impl std::str::FromStr for MacAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            *octet = parts
                .next()
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| {
                    format!("{text:?} is not a MAC address; write it as 02:00:00:00:00:01")
                })?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(format!(
                "{text:?} is not a MAC address; it has more than six octets"
            )),
        }
    }
}

impl TryFrom<String> for MacAddr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
