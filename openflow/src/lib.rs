#![doc = include_str!("../README.md")]

mod action;
mod addr;
mod code_points;
mod codec;
mod error;
mod experimenter;
mod flow_entry;
mod flow_match;
mod flow_mod;
mod flow_removed;
mod flow_stats;
mod group;
mod header;
mod hello;
mod instruction;
mod message;
mod meter;
mod multipart;
mod oxm;
mod packet;
mod port;
mod queue;
pub mod session;
mod switch;
mod table;

pub use action::{Action, ActionType, GroupId};
pub use addr::{Bits, MacAddr, Masked, ParseMacError};
pub use codec::{DecodeError, EncodeError};
pub use error::{ErrorCode, ErrorType, OfpError};
pub use experimenter::{
    BundleAdd, BundleCommand, BundleControl, BundleFlags, Experimenter, NICIRA, ONF, RoleReason,
    RoleStatus, bundle_add,
};
pub use flow_entry::FlowEntry;
pub use flow_match::Match;
pub use flow_mod::{FlowCommand, FlowFlags, FlowMod};
pub use flow_removed::{FlowRemoved, FlowRemovedReason};
pub use flow_stats::FlowStats;
pub use group::{
    Bucket, BucketStats, GroupCapabilities, GroupCommand, GroupDesc, GroupFeatures, GroupMod,
    GroupStats, GroupType,
};
pub use header::{Framer, Header, MessageType, Version};
pub use hello::Hello;
pub use instruction::{Instruction, InstructionType, TableId};
pub use message::Message;
pub use meter::{
    BandStats, BandType, MeterBand, MeterCapabilities, MeterCommand, MeterConfig, MeterFeatures,
    MeterFlags, MeterId, MeterMod, MeterStats,
};
pub use multipart::{
    AggregateStats, FlowFilter, MultipartFlags, MultipartReply, MultipartReplyBody,
    MultipartRequest, MultipartRequestBody, MultipartType, SwitchDesc, TableStats,
};
pub use oxm::{ArpOp, EthType, IpProto, Ipv6ExtHdr, Isid, Oxm, RawOxm, VlanVid};
pub use packet::{BufferId, PacketIn, PacketInReason, PacketOut};
pub use port::{
    Port, PortConfig, PortFeatures, PortMod, PortNo, PortReason, PortState, PortStats, PortStatus,
};
pub use queue::{
    PacketQueue, QueueGetConfigReply, QueueGetConfigRequest, QueueId, QueueProperty,
    QueuePropertyType, QueueStats,
};
pub use session::{
    DownReason, Input, Output, RequestError, SendError, SessionConfig, SwitchSession,
};
pub use switch::{
    AsyncConfig, AsyncMask, Capabilities, ControllerRole, DatapathId, FragmentHandling, Role,
    SwitchConfig, SwitchFeatures,
};
pub use table::{
    FeatureId, OxmId, TableConfig, TableFeatures, TableMod, TableProperty, TablePropertyType,
};
