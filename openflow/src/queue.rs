//! Queues of a port: what they guarantee and what they have sent. OpenFlow cannot make them.

use crate::code_points::wire_enum;
use crate::codec::{DecodeError, Hex, Reader, Wire, Writer};
use crate::port::PortNo;

wire_enum! {
    /// Number of a queue on one port.
    pub struct QueueId(u32) {
        /// Wildcard in requests.
        ALL = 0xffff_ffff;
    }
}

wire_enum! {
    /// Kind of a queue property, `enum ofp_queue_properties`.
    pub struct QueuePropertyType(u16) {
        /// Least rate.
        MIN_RATE = 1;
        /// Greatest rate.
        MAX_RATE = 2;
        /// A vendor's property.
        EXPERIMENTER = 0xffff;
    }
}

/// One thing known of a queue, `ofp_queue_prop_header` and what follows it: 16 bytes, a vendor's
/// data besides.
///
/// Rates are in tenths of a percent of the port's speed; above 1000 the queue has no such limit
/// ([`QueueProperty::RATE_UNKNOWN`]: the switch does not know).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum QueueProperty {
    /// The rate the queue is guaranteed, `ofp_queue_prop_min_rate`.
    MinRate(u16),
    /// The rate the queue never exceeds, `ofp_queue_prop_max_rate`.
    MaxRate(u16),
    /// A vendor's property, `ofp_queue_prop_experimenter`. What it carries is kept as it came.
    Experimenter {
        /// Which vendor.
        experimenter: u32,
        /// What follows the vendor's id and 4 bytes of padding.
        data: Vec<u8>,
    },
    /// Any other property, kept as it came.
    Unknown {
        /// Kind of the property.
        kind: QueuePropertyType,
        /// What follows type, length and 4 bytes of padding.
        body: Vec<u8>,
    },
}

impl QueueProperty {
    /// `OFPQ_MIN_RATE_UNCFG`: the rate is not configured.
    pub const RATE_UNKNOWN: u16 = 0xffff;

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, mut body) = r.tlv("queue_property")?;
        body.skip(4, "queue_property padding")?;
        let rate = |body: &mut Reader<'_>| {
            let rate = body.u16("queue rate")?;
            body.skip(6, "queue rate padding")?;
            Ok(rate)
        };
        let property = match QueuePropertyType(kind) {
            QueuePropertyType::MIN_RATE => Self::MinRate(rate(&mut body)?),
            QueuePropertyType::MAX_RATE => Self::MaxRate(rate(&mut body)?),
            QueuePropertyType::EXPERIMENTER => {
                let experimenter = body.u32("queue experimenter")?;
                body.skip(4, "queue experimenter padding")?;
                let data = body.rest().to_vec();
                Self::Experimenter { experimenter, data }
            }
            kind => Self::Unknown {
                kind,
                body: body.rest().to_vec(),
            },
        };
        body.finish("queue_property").map(|()| property)
    }

    fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin_tlv(self.kind().0);
        w.zeros(4);
        match self {
            Self::MinRate(rate) | Self::MaxRate(rate) => {
                w.u16(*rate);
                w.zeros(6);
            }
            Self::Experimenter { experimenter, data } => {
                w.u32(*experimenter);
                w.zeros(4);
                w.bytes(data);
            }
            Self::Unknown { body, .. } => w.bytes(body),
        }
        w.end(mark);
    }

    /// Kind of the property on the wire.
    #[must_use]
    pub fn kind(&self) -> QueuePropertyType {
        match self {
            Self::MinRate(_) => QueuePropertyType::MIN_RATE,
            Self::MaxRate(_) => QueuePropertyType::MAX_RATE,
            Self::Experimenter { .. } => QueuePropertyType::EXPERIMENTER,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}

impl std::fmt::Debug for QueueProperty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MinRate(rate) => write!(f, "MinRate({rate})"),
            Self::MaxRate(rate) => write!(f, "MaxRate({rate})"),
            Self::Experimenter { experimenter, data } => {
                write!(f, "Experimenter({experimenter:#010x} {})", Hex(data))
            }
            Self::Unknown { kind, body } => write!(f, "Unknown({kind} {})", Hex(body)),
        }
    }
}

/// What is known of one queue, `ofp_packet_queue`: 16 bytes and its properties.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketQueue {
    /// Which queue.
    pub queue_id: QueueId,
    /// Of which port.
    pub port_no: PortNo,
    /// What is known of it.
    pub properties: Vec<QueueProperty>,
}

impl PacketQueue {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let queue_id = Wire::read(r, "queue_id")?;
        let port_no = Wire::read(r, "queue port")?;
        let mut body = r.counted(8, "packet_queue")?;
        body.skip(6, "packet_queue padding")?;
        Ok(Self {
            queue_id,
            port_no,
            properties: body.list(QueueProperty::read)?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        self.queue_id.write(w);
        self.port_no.write(w);
        let mark = w.begin(8);
        w.zeros(6);
        self.properties
            .iter()
            .for_each(|property| property.write(w));
        w.end(mark);
    }
}

/// Asks for the queues of a port, `ofp_queue_get_config_request`: 16 bytes, header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueGetConfigRequest {
    /// Which port; [`PortNo::ANY`] is all.
    pub port_no: PortNo,
}

impl QueueGetConfigRequest {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let port_no = Wire::read(r, "queue port")?;
        r.skip(4, "queue_get_config padding")?;
        Ok(Self { port_no })
    }

    pub(crate) fn write(self, w: &mut Writer<'_>) {
        self.port_no.write(w);
        w.zeros(4);
    }
}

/// The queues of a port, `ofp_queue_get_config_reply`: 16 bytes, header included, and the queues.
/// Open vSwitch leaves out queues it does not know, and answers with none for [`PortNo::ANY`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueGetConfigReply {
    /// Which port was asked for.
    pub port_no: PortNo,
    /// Its queues.
    pub queues: Vec<PacketQueue>,
}

impl QueueGetConfigReply {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let QueueGetConfigRequest { port_no } = QueueGetConfigRequest::read(r)?;
        Ok(Self {
            port_no,
            queues: r.list(PacketQueue::read)?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        let Self { port_no, queues } = self;
        QueueGetConfigRequest { port_no: *port_no }.write(w);
        queues.iter().for_each(|queue| queue.write(w));
    }
}

/// Counters of a queue, `ofp_queue_stats`: 40 bytes. A counter the switch does not keep is
/// `u64::MAX`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the specification's own names, one per counter
pub struct QueueStats {
    pub port_no: PortNo,
    pub queue_id: QueueId,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    /// Packets dropped because the queue was full.
    pub tx_errors: u64,
    pub duration_sec: u32,
    pub duration_nsec: u32,
}

impl QueueStats {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            port_no: Wire::read(r, "port_no")?,
            queue_id: Wire::read(r, "queue_id")?,
            tx_bytes: r.u64("tx_bytes")?,
            tx_packets: r.u64("tx_packets")?,
            tx_errors: r.u64("tx_errors")?,
            duration_sec: r.u32("duration_sec")?,
            duration_nsec: r.u32("duration_nsec")?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.port_no.write(w);
        self.queue_id.write(w);
        w.u64(self.tx_bytes);
        w.u64(self.tx_packets);
        w.u64(self.tx_errors);
        w.u32(self.duration_sec);
        w.u32(self.duration_nsec);
    }
}
