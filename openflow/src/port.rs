//! Ports of a switch: their numbers, descriptions, changes and counters.

use crate::addr::MacAddr;
use crate::code_points::{wire_enum, wire_flags};
use crate::codec::{DecodeError, Reader, Wire, Writer, read_name, write_name};

wire_enum! {
    /// Number of a port on one switch, `enum ofp_port_no`. Numbers change when a bridge is made
    /// anew; a port's name is what identifies it.
    pub struct PortNo(u32) {
        /// Highest number of a real port.
        MAX = 0xffff_ff00;
        /// Back out of the port the packet came in on.
        IN_PORT = 0xffff_fff8;
        /// Through the flow tables (packet-out only).
        TABLE = 0xffff_fff9;
        /// The switch's own forwarding, as if it were no OpenFlow switch.
        NORMAL = 0xffff_fffa;
        /// Every port but the one the packet came in on and those that are blocked.
        FLOOD = 0xffff_fffb;
        /// Every port but the one the packet came in on.
        ALL = 0xffff_fffc;
        /// To the controller, in a packet-in.
        CONTROLLER = 0xffff_fffd;
        /// The switch's own network stack.
        LOCAL = 0xffff_fffe;
        /// Wildcard in requests and deletions; also "no port".
        ANY = 0xffff_ffff;
    }
}

impl PortNo {
    /// Whether this is a number a real port can have.
    #[must_use]
    pub const fn is_physical(self) -> bool {
        self.0 > 0 && self.0 <= Self::MAX.0
    }
}

wire_flags! {
    /// What the operator set on a port, `enum ofp_port_config`.
    pub struct PortConfig(u32) {
        /// Set down.
        PORT_DOWN = 1 << 0;
        /// What it receives is dropped.
        NO_RECV = 1 << 2;
        /// What would go out of it is dropped.
        NO_FWD = 1 << 5;
        /// What it receives makes no packet-in.
        NO_PACKET_IN = 1 << 6;
    }
}

wire_flags! {
    /// What the switch observes on a port, `enum ofp_port_state`.
    pub struct PortState(u32) {
        /// No physical link.
        LINK_DOWN = 1 << 0;
        /// Blocked by a protocol of the switch, such as spanning tree.
        BLOCKED = 1 << 1;
        /// Counts as alive for fast failover groups.
        LIVE = 1 << 2;
    }
}

wire_flags! {
    /// Speeds and media of a port, `enum ofp_port_features`.
    pub struct PortFeatures(u32) {
        HD_10MB = 1 << 0;
        FD_10MB = 1 << 1;
        HD_100MB = 1 << 2;
        FD_100MB = 1 << 3;
        HD_1GB = 1 << 4;
        FD_1GB = 1 << 5;
        FD_10GB = 1 << 6;
        FD_40GB = 1 << 7;
        FD_100GB = 1 << 8;
        FD_1TB = 1 << 9;
        OTHER = 1 << 10;
        COPPER = 1 << 11;
        FIBER = 1 << 12;
        AUTONEG = 1 << 13;
        PAUSE = 1 << 14;
        PAUSE_ASYM = 1 << 15;
    }
}

/// Description of a port, `ofp_port`: 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Number of the port.
    pub port_no: PortNo,
    /// Its Ethernet address.
    pub hw_addr: MacAddr,
    /// Its name, at most 16 bytes on the wire.
    pub name: String,
    /// What the operator set.
    pub config: PortConfig,
    /// What the switch observes.
    pub state: PortState,
    /// Features in use.
    pub curr: PortFeatures,
    /// Features advertised by the port.
    pub advertised: PortFeatures,
    /// Features the port could have.
    pub supported: PortFeatures,
    /// Features advertised by its peer.
    pub peer: PortFeatures,
    /// Current speed in kbit/s; 0 if unknown.
    pub curr_speed_kbps: u32,
    /// Highest speed in kbit/s; 0 if unknown.
    pub max_speed_kbps: u32,
}

impl Port {
    /// Whether the port carries traffic: neither set down nor without a link.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !self.config.contains(PortConfig::PORT_DOWN) && !self.state.contains(PortState::LINK_DOWN)
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let port_no = Wire::read(r, "port_no")?;
        r.skip(4, "port")?;
        let hw_addr = Wire::read(r, "hw_addr")?;
        r.skip(2, "port")?;
        Ok(Self {
            port_no,
            hw_addr,
            name: read_name::<16>(r, "port name")?,
            config: PortConfig(r.u32("port config")?),
            state: PortState(r.u32("port state")?),
            curr: PortFeatures(r.u32("port curr")?),
            advertised: PortFeatures(r.u32("port advertised")?),
            supported: PortFeatures(r.u32("port supported")?),
            peer: PortFeatures(r.u32("port peer")?),
            curr_speed_kbps: r.u32("curr_speed")?,
            max_speed_kbps: r.u32("max_speed")?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.port_no.write(w);
        w.zeros(4);
        self.hw_addr.write(w);
        w.zeros(2);
        write_name::<16>(w, &self.name);
        w.u32(self.config.0);
        w.u32(self.state.0);
        w.u32(self.curr.0);
        w.u32(self.advertised.0);
        w.u32(self.supported.0);
        w.u32(self.peer.0);
        w.u32(self.curr_speed_kbps);
        w.u32(self.max_speed_kbps);
    }
}

wire_enum! {
    /// What happened to a port, `enum ofp_port_reason`.
    pub struct PortReason(u8) {
        ADD = 0;
        DELETE = 1;
        MODIFY = 2;
    }
}

/// A port came, went or changed, `ofp_port_status`: 80 bytes, header included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortStatus {
    /// What happened.
    pub reason: PortReason,
    /// The port as it is now, or was when it went.
    pub port: Port,
}

impl PortStatus {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let reason = Wire::read(r, "port_status reason")?;
        r.skip(7, "port_status")?;
        Ok(Self {
            reason,
            port: Port::read(r)?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.reason.write(w);
        w.zeros(7);
        self.port.write(w);
    }
}

/// Changes a port's behaviour, `ofp_port_mod`: 40 bytes, header included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortMod {
    /// The port to change.
    pub port_no: PortNo,
    /// Its Ethernet address, which must agree with the switch's.
    pub hw_addr: MacAddr,
    /// New values of the bits in `mask`.
    pub config: PortConfig,
    /// Which bits of `config` to change.
    pub mask: PortConfig,
    /// Features to advertise; none changes nothing.
    pub advertise: PortFeatures,
}

impl PortMod {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let port_no = Wire::read(r, "port_no")?;
        r.skip(4, "port_mod")?;
        let hw_addr = Wire::read(r, "hw_addr")?;
        r.skip(2, "port_mod")?;
        let port_mod = Self {
            port_no,
            hw_addr,
            config: PortConfig(r.u32("port_mod config")?),
            mask: PortConfig(r.u32("port_mod mask")?),
            advertise: PortFeatures(r.u32("port_mod advertise")?),
        };
        r.skip(4, "port_mod")?;
        Ok(port_mod)
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.port_no.write(w);
        w.zeros(4);
        self.hw_addr.write(w);
        w.zeros(2);
        w.u32(self.config.0);
        w.u32(self.mask.0);
        w.u32(self.advertise.0);
        w.zeros(4);
    }
}

/// Counters of a port, `ofp_port_stats`: 112 bytes. A counter the switch does not keep is
/// `u64::MAX`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the specification's own names, one per counter
pub struct PortStats {
    pub port_no: PortNo,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_frame_err: u64,
    pub rx_over_err: u64,
    pub rx_crc_err: u64,
    pub collisions: u64,
    pub duration_sec: u32,
    pub duration_nsec: u32,
}

impl PortStats {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let port_no = Wire::read(r, "port_no")?;
        r.skip(4, "port_stats")?;
        Ok(Self {
            port_no,
            rx_packets: r.u64("rx_packets")?,
            tx_packets: r.u64("tx_packets")?,
            rx_bytes: r.u64("rx_bytes")?,
            tx_bytes: r.u64("tx_bytes")?,
            rx_dropped: r.u64("rx_dropped")?,
            tx_dropped: r.u64("tx_dropped")?,
            rx_errors: r.u64("rx_errors")?,
            tx_errors: r.u64("tx_errors")?,
            rx_frame_err: r.u64("rx_frame_err")?,
            rx_over_err: r.u64("rx_over_err")?,
            rx_crc_err: r.u64("rx_crc_err")?,
            collisions: r.u64("collisions")?,
            duration_sec: r.u32("duration_sec")?,
            duration_nsec: r.u32("duration_nsec")?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.port_no.write(w);
        w.zeros(4);
        for counter in [
            self.rx_packets,
            self.tx_packets,
            self.rx_bytes,
            self.tx_bytes,
            self.rx_dropped,
            self.tx_dropped,
            self.rx_errors,
            self.tx_errors,
            self.rx_frame_err,
            self.rx_over_err,
            self.rx_crc_err,
            self.collisions,
        ] {
            w.u64(counter);
        }
        w.u32(self.duration_sec);
        w.u32(self.duration_nsec);
    }
}
