//! A whole message: what the header's type says follows it.

use crate::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::error::OfpError;
use crate::experimenter::Experimenter;
use crate::flow_mod::FlowMod;
use crate::flow_removed::FlowRemoved;
use crate::group::GroupMod;
use crate::header::{Header, MessageType, Version};
use crate::hello::Hello;
use crate::meter::MeterMod;
use crate::multipart::{MultipartReply, MultipartRequest, MultipartRequestBody};
use crate::packet::{PacketIn, PacketOut};
use crate::port::{PortMod, PortStatus};
use crate::queue::{QueueGetConfigReply, QueueGetConfigRequest};
use crate::switch::{AsyncConfig, Role, SwitchConfig, SwitchFeatures};
use crate::table::TableMod;

/// A message of OpenFlow 1.3, without its transaction id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // each variant is documented at the type it holds
pub enum Message {
    Hello(Hello),
    Error(OfpError),
    /// Asks whether the other end lives; the bytes come back in the answer.
    EchoRequest(Vec<u8>),
    EchoReply(Vec<u8>),
    Experimenter(Experimenter),
    FeaturesRequest,
    FeaturesReply(SwitchFeatures),
    GetConfigRequest,
    GetConfigReply(SwitchConfig),
    SetConfig(SwitchConfig),
    PacketIn(PacketIn),
    FlowRemoved(FlowRemoved),
    PortStatus(PortStatus),
    PacketOut(PacketOut),
    FlowMod(FlowMod),
    GroupMod(GroupMod),
    PortMod(PortMod),
    TableMod(TableMod),
    MultipartRequest(MultipartRequest),
    MultipartReply(MultipartReply),
    /// Answered once everything sent before it is done or refused.
    BarrierRequest,
    BarrierReply,
    QueueGetConfigRequest(QueueGetConfigRequest),
    QueueGetConfigReply(QueueGetConfigReply),
    RoleRequest(Role),
    RoleReply(Role),
    GetAsyncRequest,
    GetAsyncReply(AsyncConfig),
    SetAsync(AsyncConfig),
    MeterMod(MeterMod),
    /// A message of a kind that OpenFlow 1.3 does not have, kept as it came.
    Unknown {
        kind: MessageType,
        /// What follows the header.
        body: Vec<u8>,
    },
}

impl Message {
    /// Reads one whole message. `frame` is exactly the message, as [`crate::Framer`] cuts it.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that is not a message of OpenFlow 1.3. HELLO and ERROR are
    /// read in any version, since they are what peers without a common one exchange.
    pub fn decode(frame: &[u8]) -> Result<(Header, Self), DecodeError> {
        let mut r = Reader::new(frame);
        let header = Header::read(&mut r)?;
        let len = usize::from(header.length);
        if len > frame.len() {
            return Err(DecodeError::Truncated { field: "message" });
        }
        if len < frame.len() {
            return Err(DecodeError::Trailing {
                field: "message",
                len: frame.len() - len,
            });
        }
        let message = Self::read(header, &mut r)?;
        r.finish("message")?;
        Ok((header, message))
    }

    fn read(header: Header, r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match header.kind {
            MessageType::HELLO => {
                let elements = r.rest().to_vec();
                return Ok(Self::Hello(Hello {
                    version: header.version,
                    elements,
                }));
            }
            MessageType::ERROR => return OfpError::read(r).map(Self::Error),
            _ if header.version != Version::V1_3 => {
                return Err(DecodeError::BadVersion(header.version));
            }
            _ => {}
        }
        Ok(match header.kind {
            MessageType::ECHO_REQUEST => Self::EchoRequest(r.rest().to_vec()),
            MessageType::ECHO_REPLY => Self::EchoReply(r.rest().to_vec()),
            MessageType::EXPERIMENTER => Self::Experimenter(Experimenter::read(r)?),
            MessageType::FEATURES_REQUEST => Self::FeaturesRequest,
            MessageType::FEATURES_REPLY => Self::FeaturesReply(SwitchFeatures::read(r)?),
            MessageType::GET_CONFIG_REQUEST => Self::GetConfigRequest,
            MessageType::GET_CONFIG_REPLY => Self::GetConfigReply(SwitchConfig::read(r)?),
            MessageType::SET_CONFIG => Self::SetConfig(SwitchConfig::read(r)?),
            MessageType::PACKET_IN => Self::PacketIn(PacketIn::read(r)?),
            MessageType::FLOW_REMOVED => Self::FlowRemoved(FlowRemoved::read(r)?),
            MessageType::PORT_STATUS => Self::PortStatus(PortStatus::read(r)?),
            MessageType::PACKET_OUT => Self::PacketOut(PacketOut::read(r)?),
            MessageType::FLOW_MOD => Self::FlowMod(FlowMod::read(r)?),
            MessageType::GROUP_MOD => Self::GroupMod(GroupMod::read(r)?),
            MessageType::PORT_MOD => Self::PortMod(PortMod::read(r)?),
            MessageType::TABLE_MOD => Self::TableMod(TableMod::read(r)?),
            MessageType::MULTIPART_REQUEST => Self::MultipartRequest(MultipartRequest::read(r)?),
            MessageType::MULTIPART_REPLY => Self::MultipartReply(MultipartReply::read(r)?),
            MessageType::BARRIER_REQUEST => Self::BarrierRequest,
            MessageType::BARRIER_REPLY => Self::BarrierReply,
            MessageType::QUEUE_GET_CONFIG_REQUEST => {
                Self::QueueGetConfigRequest(QueueGetConfigRequest::read(r)?)
            }
            MessageType::QUEUE_GET_CONFIG_REPLY => {
                Self::QueueGetConfigReply(QueueGetConfigReply::read(r)?)
            }
            MessageType::ROLE_REQUEST => Self::RoleRequest(Role::read(r)?),
            MessageType::ROLE_REPLY => Self::RoleReply(Role::read(r)?),
            MessageType::GET_ASYNC_REQUEST => Self::GetAsyncRequest,
            MessageType::GET_ASYNC_REPLY => Self::GetAsyncReply(AsyncConfig::read(r)?),
            MessageType::SET_ASYNC => Self::SetAsync(AsyncConfig::read(r)?),
            MessageType::METER_MOD => Self::MeterMod(MeterMod::read(r)?),
            kind => Self::Unknown {
                kind,
                body: r.rest().to_vec(),
            },
        })
    }

    /// Appends the message to `out`, header included.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] above 65 535 bytes; `out` is then as it was.
    pub fn encode(&self, xid: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let version = match self {
            Self::Hello(hello) => hello.version,
            _ => Version::V1_3,
        };
        self.encode_as(version, xid, out)
    }

    /// The same with any version in the header: for an ERROR to, or from, a peer that speaks no
    /// OpenFlow 1.3.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] above 65 535 bytes; `out` is then as it was.
    pub fn encode_as(
        &self,
        version: Version,
        xid: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        let mut w = Writer::new(out);
        Header {
            version,
            kind: self.kind(),
            length: 0,
            xid,
        }
        .write(&mut w);
        self.write(&mut w);
        let len = w.position() - start;
        if len > usize::from(u16::MAX) {
            out.truncate(start);
            return Err(EncodeError::TooLong { len });
        }
        w.fill_u16(start + 2, len);
        Ok(())
    }

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Self::Hello(hello) => w.bytes(&hello.elements),
            Self::Error(error) => error.write(w),
            Self::EchoRequest(data) | Self::EchoReply(data) => w.bytes(data),
            Self::Experimenter(message) => message.write(w),
            Self::FeaturesRequest
            | Self::GetConfigRequest
            | Self::BarrierRequest
            | Self::BarrierReply
            | Self::GetAsyncRequest => {}
            Self::FeaturesReply(features) => features.write(w),
            Self::GetConfigReply(config) | Self::SetConfig(config) => config.write(w),
            Self::PacketIn(packet) => packet.write(w),
            Self::FlowRemoved(removed) => removed.write(w),
            Self::PortStatus(status) => status.write(w),
            Self::PacketOut(packet) => packet.write(w),
            Self::FlowMod(flow_mod) => flow_mod.write(w),
            Self::GroupMod(group_mod) => group_mod.write(w),
            Self::PortMod(port_mod) => port_mod.write(w),
            Self::TableMod(table_mod) => table_mod.write(w),
            Self::MultipartRequest(request) => request.write(w),
            Self::MultipartReply(reply) => reply.write(w),
            Self::QueueGetConfigRequest(request) => request.write(w),
            Self::QueueGetConfigReply(reply) => reply.write(w),
            Self::RoleRequest(role) | Self::RoleReply(role) => role.write(w),
            Self::GetAsyncReply(config) | Self::SetAsync(config) => config.write(w),
            Self::MeterMod(meter_mod) => meter_mod.write(w),
            Self::Unknown { body, .. } => w.bytes(body),
        }
    }

    /// Kind of the message on the wire.
    #[must_use]
    pub fn kind(&self) -> MessageType {
        match self {
            Self::Hello(_) => MessageType::HELLO,
            Self::Error(_) => MessageType::ERROR,
            Self::EchoRequest(_) => MessageType::ECHO_REQUEST,
            Self::EchoReply(_) => MessageType::ECHO_REPLY,
            Self::Experimenter(_) => MessageType::EXPERIMENTER,
            Self::FeaturesRequest => MessageType::FEATURES_REQUEST,
            Self::FeaturesReply(_) => MessageType::FEATURES_REPLY,
            Self::GetConfigRequest => MessageType::GET_CONFIG_REQUEST,
            Self::GetConfigReply(_) => MessageType::GET_CONFIG_REPLY,
            Self::SetConfig(_) => MessageType::SET_CONFIG,
            Self::PacketIn(_) => MessageType::PACKET_IN,
            Self::FlowRemoved(_) => MessageType::FLOW_REMOVED,
            Self::PortStatus(_) => MessageType::PORT_STATUS,
            Self::PacketOut(_) => MessageType::PACKET_OUT,
            Self::FlowMod(_) => MessageType::FLOW_MOD,
            Self::GroupMod(_) => MessageType::GROUP_MOD,
            Self::PortMod(_) => MessageType::PORT_MOD,
            Self::TableMod(_) => MessageType::TABLE_MOD,
            Self::MultipartRequest(_) => MessageType::MULTIPART_REQUEST,
            Self::MultipartReply(_) => MessageType::MULTIPART_REPLY,
            Self::BarrierRequest => MessageType::BARRIER_REQUEST,
            Self::BarrierReply => MessageType::BARRIER_REPLY,
            Self::QueueGetConfigRequest(_) => MessageType::QUEUE_GET_CONFIG_REQUEST,
            Self::QueueGetConfigReply(_) => MessageType::QUEUE_GET_CONFIG_REPLY,
            Self::RoleRequest(_) => MessageType::ROLE_REQUEST,
            Self::RoleReply(_) => MessageType::ROLE_REPLY,
            Self::GetAsyncRequest => MessageType::GET_ASYNC_REQUEST,
            Self::GetAsyncReply(_) => MessageType::GET_ASYNC_REPLY,
            Self::SetAsync(_) => MessageType::SET_ASYNC,
            Self::MeterMod(_) => MessageType::METER_MOD,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// A question that [`MultipartReply`]s answer.
    #[must_use]
    pub fn multipart(body: MultipartRequestBody) -> Self {
        Self::MultipartRequest(body.into())
    }
}

macro_rules! message_from {
    ($($ty:ident),*) => {$(
        impl From<$ty> for Message {
            fn from(message: $ty) -> Self {
                Self::$ty(message)
            }
        }
    )*};
}
message_from!(
    Hello,
    Experimenter,
    PacketIn,
    FlowRemoved,
    PortStatus,
    PacketOut,
    FlowMod,
    PortMod
);
message_from!(
    MultipartRequest,
    MultipartReply,
    MeterMod,
    GroupMod,
    TableMod,
    QueueGetConfigRequest,
    QueueGetConfigReply
);

impl From<MultipartRequestBody> for Message {
    fn from(body: MultipartRequestBody) -> Self {
        Self::multipart(body)
    }
}

impl From<OfpError> for Message {
    fn from(error: OfpError) -> Self {
        Self::Error(error)
    }
}
