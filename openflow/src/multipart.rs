//! Questions whose answers may take several messages: descriptions and counters.

use crate::action::GroupId;
use crate::codec::{
    DecodeError, Reader, Wire, Writer, read_name, wire_enum, wire_flags, write_name,
};
use crate::flow::FlowStats;
use crate::flow_match::Match;
use crate::instruction::TableId;
use crate::meter::{MeterConfig, MeterFeatures, MeterId, MeterStats};
use crate::port::{Port, PortNo, PortStats, QueueId, QueueStats};

wire_enum! {
    /// Kind of a multipart message, `enum ofp_multipart_type`.
    pub struct MultipartType(u16) {
        DESC = 0;
        FLOW = 1;
        AGGREGATE = 2;
        TABLE = 3;
        PORT_STATS = 4;
        QUEUE = 5;
        GROUP = 6;
        GROUP_DESC = 7;
        GROUP_FEATURES = 8;
        METER = 9;
        METER_CONFIG = 10;
        METER_FEATURES = 11;
        TABLE_FEATURES = 12;
        PORT_DESC = 13;
        EXPERIMENTER = 0xffff;
    }
}

wire_flags! {
    /// Whether more parts follow, `enum ofp_multipart_request_flags` and `_reply_flags`.
    pub struct MultipartFlags(u16) {
        /// This is not the last part.
        MORE = 1 << 0;
    }
}

/// A question, `ofp_multipart_request`.
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
    /// Counters of one meter, or of all ([`MeterId::ALL`]).
    Meter(MeterId),
    /// One meter, or all ([`MeterId::ALL`]).
    MeterConfig(MeterId),
    /// What meters the switch can have.
    MeterFeatures,
    /// Descriptions of all ports.
    PortDesc,
    /// Any other question, kept as it came.
    Unknown {
        /// Kind of the question.
        kind: MultipartType,
        /// What follows the multipart header.
        body: Vec<u8>,
    },
}

/// Which flow entries are asked for, `ofp_flow_stats_request`.
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
            Self::Meter(_) => MultipartType::METER,
            Self::MeterConfig(_) => MultipartType::METER_CONFIG,
            Self::MeterFeatures => MultipartType::METER_FEATURES,
            Self::PortDesc => MultipartType::PORT_DESC,
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
            MultipartType::METER => MultipartRequestBody::Meter(read_meter_request(r)?),
            MultipartType::METER_CONFIG => {
                MultipartRequestBody::MeterConfig(read_meter_request(r)?)
            }
            MultipartType::METER_FEATURES => MultipartRequestBody::MeterFeatures,
            MultipartType::PORT_DESC => MultipartRequestBody::PortDesc,
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
            MultipartRequestBody::Meter(meter) | MultipartRequestBody::MeterConfig(meter) => {
                meter.write(w);
                w.zeros(4);
            }
            MultipartRequestBody::Unknown { body, .. } => w.bytes(body),
        }
    }
}

fn read_meter_request(r: &mut Reader<'_>) -> Result<MeterId, DecodeError> {
    let meter = Wire::read(r, "meter_id")?;
    r.skip(4, "meter_multipart_request padding")?;
    Ok(meter)
}

/// One part of an answer, or a whole one put together, `ofp_multipart_reply`.
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
    /// Counters of meters.
    Meter(Vec<MeterStats>),
    /// Meters.
    MeterConfig(Vec<MeterConfig>),
    /// What meters the switch can have.
    MeterFeatures(MeterFeatures),
    /// Descriptions of ports.
    PortDesc(Vec<Port>),
    /// Any other answer, kept as it came.
    Unknown {
        /// Kind of the answer.
        kind: MultipartType,
        /// What follows the multipart header.
        body: Vec<u8>,
    },
}

/// Maker, hardware and software of a switch, `ofp_desc`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwitchDesc {
    /// Who made it.
    pub manufacturer: String,
    /// What it is made of.
    pub hardware: String,
    /// What runs on it.
    pub software: String,
    /// Its serial number.
    pub serial_number: String,
    /// What its operator calls it.
    pub datapath: String,
}

impl SwitchDesc {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            manufacturer: read_name::<256>(r, "mfr_desc")?,
            hardware: read_name::<256>(r, "hw_desc")?,
            software: read_name::<256>(r, "sw_desc")?,
            serial_number: read_name::<32>(r, "serial_num")?,
            datapath: read_name::<256>(r, "dp_desc")?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        write_name::<256>(w, &self.manufacturer);
        write_name::<256>(w, &self.hardware);
        write_name::<256>(w, &self.software);
        write_name::<32>(w, &self.serial_number);
        write_name::<256>(w, &self.datapath);
    }
}

/// Sums over flow entries, `ofp_aggregate_stats_reply`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AggregateStats {
    /// Packets that matched.
    pub packet_count: u64,
    /// Bytes of them, whole frames.
    pub byte_count: u64,
    /// How many entries.
    pub flow_count: u32,
}

impl AggregateStats {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let stats = Self {
            packet_count: r.u64("packet_count")?,
            byte_count: r.u64("byte_count")?,
            flow_count: r.u32("flow_count")?,
        };
        r.skip(4, "aggregate_stats padding")?;
        Ok(stats)
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u64(self.packet_count);
        w.u64(self.byte_count);
        w.u32(self.flow_count);
        w.zeros(4);
    }
}

/// Counters of a flow table, `ofp_table_stats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableStats {
    /// Which table.
    pub table_id: TableId,
    /// Entries in it.
    pub active_count: u32,
    /// Packets looked up.
    pub lookup_count: u64,
    /// Packets some entry took.
    pub matched_count: u64,
}

impl TableStats {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table_id = Wire::read(r, "table_id")?;
        r.skip(3, "table_stats padding")?;
        Ok(Self {
            table_id,
            active_count: r.u32("active_count")?,
            lookup_count: r.u64("lookup_count")?,
            matched_count: r.u64("matched_count")?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        self.table_id.write(w);
        w.zeros(3);
        w.u32(self.active_count);
        w.u64(self.lookup_count);
        w.u64(self.matched_count);
    }
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
            Self::Meter(_) => MultipartType::METER,
            Self::MeterConfig(_) => MultipartType::METER_CONFIG,
            Self::MeterFeatures(_) => MultipartType::METER_FEATURES,
            Self::PortDesc(_) => MultipartType::PORT_DESC,
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
            (Self::Meter(all), Self::Meter(more)) => all.extend(more),
            (Self::MeterConfig(all), Self::MeterConfig(more)) => all.extend(more),
            (Self::PortDesc(all), Self::PortDesc(more)) => all.extend(more),
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
            MultipartType::METER => MultipartReplyBody::Meter(r.list(MeterStats::read)?),
            MultipartType::METER_CONFIG => {
                MultipartReplyBody::MeterConfig(r.list(MeterConfig::read)?)
            }
            MultipartType::METER_FEATURES => {
                MultipartReplyBody::MeterFeatures(MeterFeatures::read(r)?)
            }
            MultipartType::PORT_DESC => MultipartReplyBody::PortDesc(r.list(Port::read)?),
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
            MultipartReplyBody::Meter(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::MeterConfig(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::MeterFeatures(features) => features.write(w),
            MultipartReplyBody::PortDesc(items) => items.iter().for_each(|item| item.write(w)),
            MultipartReplyBody::Unknown { body, .. } => w.bytes(body),
        }
    }
}
