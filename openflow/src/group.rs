//! Groups: lists of things done to a packet, of which all or one are done.

use crate::action::{Action, GroupId};
use crate::code_points::{wire_enum, wire_flags};
use crate::codec::{DecodeError, Reader, Wire, Writer};
use crate::port::PortNo;

wire_enum! {
    /// What to do with a group, `enum ofp_group_mod_command`.
    pub struct GroupCommand(u16) {
        /// Fails with `GROUP_EXISTS` if there is one of that number.
        ADD = 0;
        /// Fails with `UNKNOWN_GROUP` if there is none; counters start from zero.
        MODIFY = 1;
        /// Takes every flow entry that refers to the group with it; silent if there is none.
        DELETE = 2;
    }
}

wire_enum! {
    /// Which buckets of a group act, `enum ofp_group_type`.
    pub struct GroupType(u8) {
        /// Every bucket, each on a copy of the packet.
        ALL = 0;
        /// One bucket, which the switch chooses by weight.
        SELECT = 1;
        /// The only bucket there is.
        INDIRECT = 2;
        /// Fast failover: the first bucket whose port or group is alive.
        FF = 3;
    }
}

wire_flags! {
    /// What a switch's groups can do, `enum ofp_group_capabilities`.
    pub struct GroupCapabilities(u32) {
        /// Weights of buckets count in [`GroupType::SELECT`].
        SELECT_WEIGHT = 1 << 0;
        /// So does whether what they watch is alive.
        SELECT_LIVENESS = 1 << 1;
        /// Buckets may refer to other groups.
        CHAINING = 1 << 2;
        /// The switch refuses chains with loops.
        CHAINING_CHECKS = 1 << 3;
    }
}

/// One list of actions of a group, `ofp_bucket`: 16 bytes and its actions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    /// Share among the buckets of a [`GroupType::SELECT`], without a unit; 0 in other groups.
    pub weight: u16,
    /// The bucket is alive while this port is up; [`PortNo::ANY`] watches none.
    pub watch_port: PortNo,
    /// Or while this group has a bucket that is alive; [`GroupId::ANY`] watches none.
    pub watch_group: GroupId,
    /// A set of actions, as in WRITE_ACTIONS: the order of OpenFlow 1.3.5, section 5.10, counts, and
    /// without an output or a group nothing is done.
    pub actions: Vec<Action>,
}

impl Bucket {
    /// A bucket without weight that watches nothing.
    #[must_use]
    pub fn new(actions: Vec<Action>) -> Self {
        Self {
            weight: 0,
            watch_port: PortNo::ANY,
            watch_group: GroupId::ANY,
            actions,
        }
    }

    /// With this share among others.
    #[must_use]
    pub fn weight(self, weight: u16) -> Self {
        Self { weight, ..self }
    }

    /// Alive while this port is up.
    #[must_use]
    pub fn watch_port(self, watch_port: PortNo) -> Self {
        Self { watch_port, ..self }
    }

    /// Alive while this group has a bucket that is alive.
    #[must_use]
    pub fn watch_group(self, watch_group: GroupId) -> Self {
        Self {
            watch_group,
            ..self
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut body = r.counted(0, "bucket")?;
        let weight = body.u16("bucket weight")?;
        let watch_port = Wire::read(&mut body, "bucket watch_port")?;
        let watch_group = Wire::read(&mut body, "bucket watch_group")?;
        body.skip(4, "bucket padding")?;
        Ok(Self {
            weight,
            watch_port,
            watch_group,
            actions: body.list(Action::read)?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin(0);
        w.u16(self.weight);
        self.watch_port.write(w);
        self.watch_group.write(w);
        w.zeros(4);
        self.actions.iter().for_each(|action| action.write(w));
        w.end(mark);
    }
}

/// Adds, changes or removes a group, `ofp_group_mod`: 16 bytes, header included, and its buckets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupMod {
    /// What to do.
    pub command: GroupCommand,
    /// Which buckets act.
    pub group_type: GroupType,
    /// Which group; [`GroupId::ALL`] only for DELETE.
    pub group_id: GroupId,
    /// What is done; none for DELETE.
    pub buckets: Vec<Bucket>,
}

impl GroupMod {
    /// A new group.
    #[must_use]
    pub fn add(group_id: GroupId, group_type: GroupType, buckets: Vec<Bucket>) -> Self {
        Self {
            command: GroupCommand::ADD,
            group_type,
            group_id,
            buckets,
        }
    }

    /// Gives an existing group another type and other buckets.
    #[must_use]
    pub fn modify(group_id: GroupId, group_type: GroupType, buckets: Vec<Bucket>) -> Self {
        Self {
            command: GroupCommand::MODIFY,
            ..Self::add(group_id, group_type, buckets)
        }
    }

    /// Removes a group, or all of them ([`GroupId::ALL`]), and every flow entry that refers to it.
    #[must_use]
    pub fn delete(group_id: GroupId) -> Self {
        Self {
            command: GroupCommand::DELETE,
            ..Self::add(group_id, GroupType::ALL, Vec::new())
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let command = Wire::read(r, "group_mod command")?;
        let group_type = Wire::read(r, "group_mod type")?;
        r.skip(1, "group_mod padding")?;
        Ok(Self {
            command,
            group_type,
            group_id: Wire::read(r, "group_id")?,
            buckets: r.list(Bucket::read)?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.command.write(w);
        self.group_type.write(w);
        w.zeros(1);
        self.group_id.write(w);
        self.buckets.iter().for_each(|bucket| bucket.write(w));
    }
}

/// A group as the switch has it, `ofp_group_desc`: 8 bytes and its buckets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupDesc {
    /// Which buckets act.
    pub group_type: GroupType,
    /// Which group.
    pub group_id: GroupId,
    /// What is done.
    pub buckets: Vec<Bucket>,
}

impl GroupDesc {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut body = r.counted(0, "group_desc")?;
        let group_type = Wire::read(&mut body, "group_desc type")?;
        body.skip(1, "group_desc padding")?;
        Ok(Self {
            group_type,
            group_id: Wire::read(&mut body, "group_id")?,
            buckets: body.list(Bucket::read)?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin(0);
        self.group_type.write(w);
        w.zeros(1);
        self.group_id.write(w);
        self.buckets.iter().for_each(|bucket| bucket.write(w));
        w.end(mark);
    }
}

/// What one bucket of a group has acted on, `ofp_bucket_counter`: 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketStats {
    /// Packets the bucket acted on.
    pub packet_count: u64,
    /// Their bytes.
    pub byte_count: u64,
}

/// Counters of a group, `ofp_group_stats`: 40 bytes and 16 for each bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupStats {
    /// Which group.
    pub group_id: GroupId,
    /// Flow entries, or groups, that refer to it; Open vSwitch counts entries.
    pub ref_count: u32,
    /// Packets the group acted on.
    pub packet_count: u64,
    /// Their bytes.
    pub byte_count: u64,
    /// Whole seconds since it was made.
    pub duration_sec: u32,
    /// Nanoseconds beyond them.
    pub duration_nsec: u32,
    /// Counters of its buckets, in their order.
    pub buckets: Vec<BucketStats>,
}

impl GroupStats {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut body = r.counted(0, "group_stats")?;
        body.skip(2, "group_stats padding")?;
        let group_id = Wire::read(&mut body, "group_id")?;
        let ref_count = body.u32("ref_count")?;
        body.skip(4, "group_stats padding")?;
        Ok(Self {
            group_id,
            ref_count,
            packet_count: body.u64("packet_count")?,
            byte_count: body.u64("byte_count")?,
            duration_sec: body.u32("duration_sec")?,
            duration_nsec: body.u32("duration_nsec")?,
            buckets: body.list(|r| {
                Ok(BucketStats {
                    packet_count: r.u64("bucket packet_count")?,
                    byte_count: r.u64("bucket byte_count")?,
                })
            })?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin(0);
        w.zeros(2);
        self.group_id.write(w);
        w.u32(self.ref_count);
        w.zeros(4);
        w.u64(self.packet_count);
        w.u64(self.byte_count);
        w.u32(self.duration_sec);
        w.u32(self.duration_nsec);
        for bucket in &self.buckets {
            w.u64(bucket.packet_count);
            w.u64(bucket.byte_count);
        }
        w.end(mark);
    }
}

/// What groups a switch can have, `ofp_group_features`: 40 bytes. Arrays are by [`GroupType`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupFeatures {
    /// Bit `1 << n` for each [`GroupType`] `n`.
    pub types: u32,
    /// What they can do.
    pub capabilities: GroupCapabilities,
    /// How many groups of each type at once.
    pub max_groups: [u32; 4],
    /// Bit `1 << n` for each [`crate::ActionType`] `n` that buckets of each type may have.
    pub actions: [u32; 4],
}

impl GroupFeatures {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut features = Self {
            types: r.u32("group_features types")?,
            capabilities: GroupCapabilities(r.u32("group_features capabilities")?),
            ..Self::default()
        };
        for most in &mut features.max_groups {
            *most = r.u32("max_groups")?;
        }
        for actions in &mut features.actions {
            *actions = r.u32("group_features actions")?;
        }
        Ok(features)
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.types);
        w.u32(self.capabilities.0);
        let arrays = self.max_groups.iter().chain(&self.actions);
        arrays.for_each(|number| w.u32(*number));
    }
}
