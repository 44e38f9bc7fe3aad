//! What is asked.

use super::{MultipartFlags, MultipartType};
use crate::action::GroupId;
use crate::codec::{DecodeError, Reader, Wire, Writer};
use crate::experimenter::Experimenter;
use crate::flow_match::Match;
use crate::instruction::TableId;
use crate::meter::MeterId;
use crate::port::PortNo;
use crate::queue::QueueId;
use crate::table::TableFeatures;

/// A question, `ofp_multipart_request`: 16 bytes, header included, and the body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MultipartRequest {
    /// Whether more parts follow.
    pub flags: MultipartFlags,
    /// What is asked.
    pub body: MultipartRequestBody,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MultipartRequestBody {
    /// Maker, hardware and software of the switch.
    Desc,
    /// Flow entries with their counters.
    Flow(FlowFilter),
    /// Sums over flow entries.
    Aggregate(FlowFilter),
    /// Counters of flow tables.
    Table,
    /// Counters of one port, or of all ([`PortNo::ANY`]).
    PortStats(PortNo),
    /// Counters of queues.
    Queue {
        /// One port, or all ([`PortNo::ANY`]).
        port_no: PortNo,
        /// One queue, or all ([`QueueId::ALL`]).
        queue_id: QueueId,
    },
    /// Counters of one group, or of all ([`GroupId::ALL`]).
    Group(GroupId),
    /// All groups.
    GroupDesc,
    /// What groups the switch can have.
    GroupFeatures,
    /// Counters of one meter, or of all ([`MeterId::ALL`]).
    Meter(MeterId),
    /// One meter, or all ([`MeterId::ALL`]).
    MeterConfig(MeterId),
    /// What meters the switch can have.
    MeterFeatures,
    /// What the tables can do; or, with a list, makes them do that and nothing else.
    TableFeatures(Vec<TableFeatures>),
    /// Descriptions of all ports.
    PortDesc,
    /// A vendor's question, `ofp_experimenter_multipart_header`.
    Experimenter(Experimenter),
    /// Any other question, kept as it came.
    Unknown {
        /// Kind of the question.
        kind: MultipartType,
        /// What follows the multipart header.
        body: Vec<u8>,
    },
}

/// Which flow entries are asked for, `ofp_flow_stats_request` and `ofp_aggregate_stats_request`: 32
/// bytes and the match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowFilter {
    /// One table, or all.
    pub table_id: TableId,
    /// Only entries that output here; [`PortNo::ANY`] is all.
    pub out_port: PortNo,
    /// Only entries that use this group; [`GroupId::ANY`] is all.
    pub out_group: GroupId,
    /// Only entries whose cookie agrees with this in the bits of the mask.
    pub cookie: u64,
    /// Which bits of the cookie count.
    pub cookie_mask: u64,
    /// Only entries within this match.
    pub flow_match: Match,
}

impl FlowFilter {
    /// Every entry of every table.
    #[must_use]
    pub fn all() -> Self {
        Self::by_cookie(0, 0)
    }

    /// Every entry whose cookie agrees with `cookie` in the bits of `mask`.
    #[must_use]
    pub fn by_cookie(cookie: u64, mask: u64) -> Self {
        Self {
            table_id: TableId::ALL,
            out_port: PortNo::ANY,
            out_group: GroupId::ANY,
            cookie,
            cookie_mask: mask,
            flow_match: Match::new(),
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table_id = Wire::read(r, "table_id")?;
        r.skip(3, "flow_stats_request padding")?;
        let out_port = Wire::read(r, "out_port")?;
        let out_group = Wire::read(r, "out_group")?;
        r.skip(4, "flow_stats_request padding")?;
        Ok(Self {
            table_id,
            out_port,
            out_group,
            cookie: r.u64("cookie")?,
            cookie_mask: r.u64("cookie_mask")?,
            flow_match: Match::read(r)?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        self.table_id.write(w);
        w.zeros(3);
        self.out_port.write(w);
        self.out_group.write(w);
        w.zeros(4);
        w.u64(self.cookie);
        w.u64(self.cookie_mask);
        self.flow_match.write(w);
    }
}

impl From<MultipartRequestBody> for MultipartRequest {
    fn from(body: MultipartRequestBody) -> Self {
        Self {
            flags: MultipartFlags::NONE,
            body,
        }
    }
}

impl MultipartRequestBody {
    /// Kind of the question on the wire.
    #[must_use]
    pub fn kind(&self) -> MultipartType {
        match self {
            Self::Desc => MultipartType::DESC,
            Self::Flow(_) => MultipartType::FLOW,
            Self::Aggregate(_) => MultipartType::AGGREGATE,
            Self::Table => MultipartType::TABLE,
            Self::PortStats(_) => MultipartType::PORT_STATS,
            Self::Queue { .. } => MultipartType::QUEUE,
            Self::Group(_) => MultipartType::GROUP,
            Self::GroupDesc => MultipartType::GROUP_DESC,
            Self::GroupFeatures => MultipartType::GROUP_FEATURES,
            Self::Meter(_) => MultipartType::METER,
            Self::MeterConfig(_) => MultipartType::METER_CONFIG,
            Self::MeterFeatures => MultipartType::METER_FEATURES,
            Self::TableFeatures(_) => MultipartType::TABLE_FEATURES,
            Self::PortDesc => MultipartType::PORT_DESC,
            Self::Experimenter(_) => MultipartType::EXPERIMENTER,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}

impl MultipartRequest {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = Wire::read(r, "multipart type")?;
        let flags = MultipartFlags(r.u16("multipart flags")?);
        r.skip(4, "multipart padding")?;
        let body = match kind {
            MultipartType::DESC => MultipartRequestBody::Desc,
            MultipartType::FLOW => MultipartRequestBody::Flow(FlowFilter::read(r)?),
            MultipartType::AGGREGATE => MultipartRequestBody::Aggregate(FlowFilter::read(r)?),
            MultipartType::TABLE => MultipartRequestBody::Table,
            MultipartType::PORT_STATS => {
                let port_no = Wire::read(r, "port_no")?;
                r.skip(4, "port_stats_request padding")?;
                MultipartRequestBody::PortStats(port_no)
            }
            MultipartType::QUEUE => MultipartRequestBody::Queue {
                port_no: Wire::read(r, "port_no")?,
                queue_id: Wire::read(r, "queue_id")?,
            },
            MultipartType::GROUP => {
                let group = Wire::read(r, "group_id")?;
                r.skip(4, "group_stats_request padding")?;
                MultipartRequestBody::Group(group)
            }
            MultipartType::GROUP_DESC => MultipartRequestBody::GroupDesc,
            MultipartType::GROUP_FEATURES => MultipartRequestBody::GroupFeatures,
            MultipartType::METER => MultipartRequestBody::Meter(read_meter_request(r)?),
            MultipartType::METER_CONFIG => {
                MultipartRequestBody::MeterConfig(read_meter_request(r)?)
            }
            MultipartType::METER_FEATURES => MultipartRequestBody::MeterFeatures,
            MultipartType::TABLE_FEATURES => {
                MultipartRequestBody::TableFeatures(r.list(TableFeatures::read)?)
            }
            MultipartType::PORT_DESC => MultipartRequestBody::PortDesc,
            MultipartType::EXPERIMENTER => {
                MultipartRequestBody::Experimenter(Experimenter::read(r)?)
            }
            kind => MultipartRequestBody::Unknown {
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
            MultipartRequestBody::Desc
            | MultipartRequestBody::Table
            | MultipartRequestBody::GroupDesc
            | MultipartRequestBody::GroupFeatures
            | MultipartRequestBody::MeterFeatures
            | MultipartRequestBody::PortDesc => {}
            MultipartRequestBody::Flow(filter) | MultipartRequestBody::Aggregate(filter) => {
                filter.write(w);
            }
            MultipartRequestBody::PortStats(port_no) => {
                port_no.write(w);
                w.zeros(4);
            }
            MultipartRequestBody::Queue { port_no, queue_id } => {
                port_no.write(w);
                queue_id.write(w);
            }
            MultipartRequestBody::Group(group) => {
                group.write(w);
                w.zeros(4);
            }
            MultipartRequestBody::Meter(meter) | MultipartRequestBody::MeterConfig(meter) => {
                meter.write(w);
                w.zeros(4);
            }
            MultipartRequestBody::TableFeatures(tables) => {
                tables.iter().for_each(|table| table.write(w));
            }
            MultipartRequestBody::Experimenter(body) => body.write(w),
            MultipartRequestBody::Unknown { body, .. } => w.bytes(body),
        }
    }
}

fn read_meter_request(r: &mut Reader<'_>) -> Result<MeterId, DecodeError> {
    let meter = Wire::read(r, "meter_id")?;
    r.skip(4, "meter_multipart_request padding")?;
    Ok(meter)
}
