//! The switch as a whole: what it can do, how it is configured, who controls it, what it tells.

use std::fmt;

use crate::code_points::{wire_enum, wire_flags};
use crate::codec::{DecodeError, Reader, Wire, Writer};

/// Identity of a switch: 48 bits of Ethernet address below 16 bits of its maker's choice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatapathId(pub u64);

impl fmt::Display for DatapathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for DatapathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatapathId({self})")
    }
}

wire_flags! {
    /// What a switch can do, `enum ofp_capabilities`.
    pub struct Capabilities(u32) {
        /// Counts what flow entries take.
        FLOW_STATS = 1 << 0;
        /// Counts what tables look up.
        TABLE_STATS = 1 << 1;
        /// Counts what ports carry.
        PORT_STATS = 1 << 2;
        /// Counts what groups act on.
        GROUP_STATS = 1 << 3;
        /// Can put IP fragments together.
        IP_REASM = 1 << 5;
        /// Counts what queues send.
        QUEUE_STATS = 1 << 6;
        /// Blocks ports that would make loops.
        PORT_BLOCKED = 1 << 8;
    }
}

/// Who the switch is and what it can do, `ofp_switch_features`: 32 bytes, header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwitchFeatures {
    /// Who it is.
    pub datapath_id: DatapathId,
    /// How many packets it can hold for the controller.
    pub n_buffers: u32,
    /// How many flow tables it has.
    pub n_tables: u8,
    /// 0 on the main connection.
    pub auxiliary_id: u8,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Not used by OpenFlow 1.3; kept as it came.
    pub reserved: u32,
}

impl SwitchFeatures {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let datapath_id = DatapathId(r.u64("datapath_id")?);
        let n_buffers = r.u32("n_buffers")?;
        let n_tables = r.u8("n_tables")?;
        let auxiliary_id = r.u8("auxiliary_id")?;
        r.skip(2, "switch_features padding")?;
        Ok(Self {
            datapath_id,
            n_buffers,
            n_tables,
            auxiliary_id,
            capabilities: Capabilities(r.u32("capabilities")?),
            reserved: r.u32("reserved")?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        w.u64(self.datapath_id.0);
        w.u32(self.n_buffers);
        w.u8(self.n_tables);
        w.u8(self.auxiliary_id);
        w.zeros(2);
        w.u32(self.capabilities.0);
        w.u32(self.reserved);
    }
}

wire_enum! {
    /// How the switch treats IP fragments, `enum ofp_config_flags`.
    pub struct FragmentHandling(u16) {
        NORMAL = 0;
        DROP = 1;
        REASM = 2;
    }
}

/// How the switch is configured, `ofp_switch_config`: 12 bytes, header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwitchConfig {
    /// How it treats IP fragments.
    pub fragments: FragmentHandling,
    /// How many bytes of a packet it sends for a table miss; `0xffff` is all. Open vSwitch sends
    /// no asynchronous message at all on a listener's connection while this is 0.
    pub miss_send_len: u16,
}

impl SwitchConfig {
    /// Normal fragments, whole packets.
    pub const WHOLE_PACKETS: Self = Self {
        fragments: FragmentHandling::NORMAL,
        miss_send_len: 0xffff,
    };

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let fragments = Wire::read(r, "config flags")?;
        Ok(Self {
            fragments,
            miss_send_len: r.u16("miss_send_len")?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.fragments.write(w);
        w.u16(self.miss_send_len);
    }
}

wire_enum! {
    /// What a controller may do with a switch, `enum ofp_controller_role`.
    pub struct ControllerRole(u32) {
        /// Only asks.
        NOCHANGE = 0;
        /// Full access, beside others.
        EQUAL = 1;
        /// Full access; an earlier master becomes a slave.
        MASTER = 2;
        /// May only read.
        SLAVE = 3;
    }
}

/// A role asked for or had, `ofp_role_request`: 24 bytes, header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role {
    /// The role.
    pub role: ControllerRole,
    /// Number of the election it was won in; an older one than the switch has seen is refused as
    /// stale. The distance is signed and wraps. All ones if the switch has seen none.
    pub generation_id: u64,
}

impl Role {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let role = Wire::read(r, "role")?;
        r.skip(4, "role padding")?;
        Ok(Self {
            role,
            generation_id: r.u64("generation_id")?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.role.write(w);
        w.zeros(4);
        w.u64(self.generation_id);
    }
}

/// Which reasons of a kind of message a controller hears of, one bit `1 << reason` each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AsyncMask {
    /// While it is equal or master.
    pub master: u32,
    /// While it is slave.
    pub slave: u32,
}

/// What a switch tells a controller unasked, `ofp_async_config`: 32 bytes, header included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AsyncConfig {
    /// Packets, by [`crate::PacketInReason`].
    pub packet_in: AsyncMask,
    /// Changes of ports, by [`crate::PortReason`].
    pub port_status: AsyncMask,
    /// Flow entries that went, by [`crate::FlowRemovedReason`].
    pub flow_removed: AsyncMask,
}

impl AsyncConfig {
    /// Everything to a master, changes of ports to a slave. Beyond the switch's own choice this
    /// brings, on Open vSwitch, the removal of entries whose meter was deleted, which is silent
    /// otherwise.
    pub const EVERYTHING: Self = Self {
        packet_in: AsyncMask {
            master: 0x07,
            slave: 0,
        },
        port_status: AsyncMask {
            master: 0x07,
            slave: 0x07,
        },
        flow_removed: AsyncMask {
            master: 0x3f,
            slave: 0,
        },
    };

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut mask = |field| {
            Ok(AsyncMask {
                master: r.u32(field)?,
                slave: r.u32(field)?,
            })
        };
        Ok(Self {
            packet_in: mask("packet_in_mask")?,
            port_status: mask("port_status_mask")?,
            flow_removed: mask("flow_removed_mask")?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        for mask in [self.packet_in, self.port_status, self.flow_removed] {
            w.u32(mask.master);
            w.u32(mask.slave);
        }
    }
}
