//! What is answered, part by part.

use super::{AggregateStats, MultipartFlags, MultipartType, SwitchDesc, TableStats};
use crate::codec::{DecodeError, Reader, Wire, Writer};
use crate::experimenter::Experimenter;
use crate::flow_stats::FlowStats;
use crate::group::{GroupDesc, GroupFeatures, GroupStats};
use crate::meter::{MeterConfig, MeterFeatures, MeterStats};
use crate::port::{Port, PortStats};
use crate::queue::QueueStats;
use crate::table::TableFeatures;

/// One part of an answer, or a whole one put together, `ofp_multipart_reply`: 16 bytes, header
/// included, and the body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MultipartReply {
    /// Whether more parts follow.
    pub flags: MultipartFlags,
    /// What is answered.
    pub body: MultipartReplyBody,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MultipartReplyBody {
    /// Maker, hardware and software of the switch.
    Desc(Box<SwitchDesc>),
    /// Flow entries with their counters.
    Flow(Vec<FlowStats>),
    /// Sums over flow entries.
    Aggregate(AggregateStats),
    /// Counters of flow tables.
    Table(Vec<TableStats>),
    /// Counters of ports.
    PortStats(Vec<PortStats>),
    /// Counters of queues.
    Queue(Vec<QueueStats>),
    /// Counters of groups.
    Group(Vec<GroupStats>),
    /// Groups.
    GroupDesc(Vec<GroupDesc>),
    /// What groups the switch can have.
    GroupFeatures(GroupFeatures),
    /// Counters of meters.
    Meter(Vec<MeterStats>),
    /// Meters.
    MeterConfig(Vec<MeterConfig>),
    /// What meters the switch can have.
    MeterFeatures(MeterFeatures),
    /// What tables can do.
    TableFeatures(Vec<TableFeatures>),
    /// Descriptions of ports.
    PortDesc(Vec<Port>),
    /// A vendor's answer, `ofp_experimenter_multipart_header`.
    Experimenter(Experimenter),
    /// Any other answer, kept as it came.
    Unknown {
        /// Kind of the answer.
        kind: MultipartType,
        /// What follows the multipart header.
        body: Vec<u8>,
    },
}

impl MultipartReplyBody {
    /// Kind of the answer on the wire.
    #[must_use]
    pub fn kind(&self) -> MultipartType {
        match self {
            Self::Desc(_) => MultipartType::DESC,
            Self::Flow(_) => MultipartType::FLOW,
            Self::Aggregate(_) => MultipartType::AGGREGATE,
            Self::Table(_) => MultipartType::TABLE,
            Self::PortStats(_) => MultipartType::PORT_STATS,
            Self::Queue(_) => MultipartType::QUEUE,
            Self::Group(_) => MultipartType::GROUP,
            Self::GroupDesc(_) => MultipartType::GROUP_DESC,
            Self::GroupFeatures(_) => MultipartType::GROUP_FEATURES,
            Self::Meter(_) => MultipartType::METER,
            Self::MeterConfig(_) => MultipartType::METER_CONFIG,
            Self::MeterFeatures(_) => MultipartType::METER_FEATURES,
            Self::TableFeatures(_) => MultipartType::TABLE_FEATURES,
            Self::PortDesc(_) => MultipartType::PORT_DESC,
            Self::Experimenter(_) => MultipartType::EXPERIMENTER,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Adds a later part of the same answer; `false`, and nothing added, if it is of another kind
    /// or of one that comes whole.
    pub fn append(&mut self, later: Self) -> bool {
        match (self, later) {
            (Self::Flow(all), Self::Flow(more)) => all.extend(more),
            (Self::Table(all), Self::Table(more)) => all.extend(more),
            (Self::PortStats(all), Self::PortStats(more)) => all.extend(more),
            (Self::Queue(all), Self::Queue(more)) => all.extend(more),
            (Self::Group(all), Self::Group(more)) => all.extend(more),
            (Self::GroupDesc(all), Self::GroupDesc(more)) => all.extend(more),
            (Self::Meter(all), Self::Meter(more)) => all.extend(more),
            (Self::MeterConfig(all), Self::MeterConfig(more)) => all.extend(more),
            (Self::TableFeatures(all), Self::TableFeatures(more)) => all.extend(more),
            (Self::PortDesc(all), Self::PortDesc(more)) => all.extend(more),
            (Self::Experimenter(all), Self::Experimenter(more))
                if (all.experimenter, all.exp_type) == (more.experimenter, more.exp_type) =>
            {
                all.data.extend(more.data);
            }
            (
                Self::Unknown { kind, body },
                Self::Unknown {
                    kind: same,
                    body: more,
                },
            ) if *kind == same => {
                body.extend(more);
            }
            _ => return false,
        }
        true
    }
}

impl MultipartReply {
    /// Whether more parts follow.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.flags.contains(MultipartFlags::MORE)
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = Wire::read(r, "multipart type")?;
        let flags = MultipartFlags(r.u16("multipart flags")?);
        r.skip(4, "multipart padding")?;
        let body = match kind {
            MultipartType::DESC => MultipartReplyBody::Desc(Box::new(SwitchDesc::read(r)?)),
            MultipartType::FLOW => MultipartReplyBody::Flow(r.list(FlowStats::read)?),
            MultipartType::AGGREGATE => MultipartReplyBody::Aggregate(AggregateStats::read(r)?),
            MultipartType::TABLE => MultipartReplyBody::Table(r.list(TableStats::read)?),
            MultipartType::PORT_STATS => MultipartReplyBody::PortStats(r.list(PortStats::read)?),
            MultipartType::QUEUE => MultipartReplyBody::Queue(r.list(QueueStats::read)?),
            MultipartType::GROUP => MultipartReplyBody::Group(r.list(GroupStats::read)?),
            MultipartType::GROUP_DESC => MultipartReplyBody::GroupDesc(r.list(GroupDesc::read)?),
            MultipartType::GROUP_FEATURES => {
                MultipartReplyBody::GroupFeatures(GroupFeatures::read(r)?)
            }
            MultipartType::METER => MultipartReplyBody::Meter(r.list(MeterStats::read)?),
            MultipartType::METER_CONFIG => {
                MultipartReplyBody::MeterConfig(r.list(MeterConfig::read)?)
            }
            MultipartType::METER_FEATURES => {
                MultipartReplyBody::MeterFeatures(MeterFeatures::read(r)?)
            }
            MultipartType::TABLE_FEATURES => {
                MultipartReplyBody::TableFeatures(r.list(TableFeatures::read)?)
            }
            MultipartType::PORT_DESC => MultipartReplyBody::PortDesc(r.list(Port::read)?),
            MultipartType::EXPERIMENTER => MultipartReplyBody::Experimenter(Experimenter::read(r)?),
            kind => MultipartReplyBody::Unknown {
                kind,
                body: r.rest().to_vec(),
            },
        };
        Ok(Self { flags, body })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.body.kind().write(w);
        w.u16(self.flags.0);
        w.zeros(4);
        match &self.body {
            MultipartReplyBody::Desc(desc) => desc.write(w),
            MultipartReplyBody::Flow(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::Aggregate(stats) => stats.write(w),
            MultipartReplyBody::Table(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::PortStats(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::Queue(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::Group(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::GroupDesc(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::GroupFeatures(features) => features.write(w),
            MultipartReplyBody::Meter(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::MeterConfig(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::MeterFeatures(features) => features.write(w),
            MultipartReplyBody::TableFeatures(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::PortDesc(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::Experimenter(body) => body.write(w),
            MultipartReplyBody::Unknown { body, .. } => w.bytes(body),
        }
    }
}
