//! Messages beyond the specification, and the ONF extensions Open vSwitch speaks on OpenFlow 1.3.

use std::fmt;

use crate::code_points::{wire_enum, wire_flags};
use crate::codec::{DecodeError, EncodeError, Hex, Reader, Wire, Writer};
use crate::header::Header;
use crate::message::Message;
use crate::switch::ControllerRole;

/// Vendor id of the Open Networking Foundation's own extensions.
pub const ONF: u32 = 0x4f4e_4600;

/// Vendor id of Nicira, under which Open vSwitch has its own actions, match fields and messages.
pub const NICIRA: u32 = 0x0000_2320;

const ONF_ROLE_STATUS: u32 = 1911;
const ONF_BUNDLE_CONTROL: u32 = 2300;
const ONF_BUNDLE_ADD: u32 = 2301;

/// A vendor's message, `ofp_experimenter_header`, 16 bytes, header included, and data; or the body
/// of a vendor's multipart message, `ofp_experimenter_multipart_header`, 8 bytes and data. What it
/// carries is kept as it came.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Experimenter {
    /// Which vendor.
    pub experimenter: u32,
    /// Which of the vendor's messages.
    pub exp_type: u32,
    /// What it carries.
    pub data: Vec<u8>,
}

impl fmt::Debug for Experimenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Experimenter")
            .field("experimenter", &format_args!("{:#010x}", self.experimenter))
            .field("exp_type", &self.exp_type)
            .field("data", &Hex(&self.data))
            .finish()
    }
}

impl Experimenter {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            experimenter: r.u32("experimenter")?,
            exp_type: r.u32("exp_type")?,
            data: r.rest().to_vec(),
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.experimenter);
        w.u32(self.exp_type);
        w.bytes(&self.data);
    }
}

wire_enum! {
    /// Why a role changed, `enum ofp_controller_role_reason`.
    pub struct RoleReason(u8) {
        /// Another controller asked to be master.
        MASTER_REQUEST = 0;
        /// The switch's configuration was changed.
        CONFIG = 1;
        /// A vendor's reason.
        EXPERIMENTER = 2;
    }
}

/// Another controller's request changed our role, `onf_role_status` (ONF extension 191, type 1911):
/// 16 bytes after those of [`Experimenter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleStatus {
    /// The role we have now.
    pub role: ControllerRole,
    /// Why.
    pub reason: RoleReason,
    /// Number of the election.
    pub generation_id: u64,
}

impl RoleStatus {
    /// Reads the role out of a vendor message; `None` if it is not one of these or malformed.
    #[must_use]
    pub fn from_experimenter(message: &Experimenter) -> Option<Self> {
        if (message.experimenter, message.exp_type) != (ONF, ONF_ROLE_STATUS) {
            return None;
        }
        let mut r = Reader::new(&message.data);
        let role = Wire::read(&mut r, "role").ok()?;
        let reason = Wire::read(&mut r, "role_status reason").ok()?;
        r.skip(3, "role_status padding").ok()?;
        Some(Self {
            role,
            reason,
            generation_id: r.u64("generation_id").ok()?,
        })
    }

    /// The message that carries this.
    #[must_use]
    pub fn to_message(self) -> Message {
        let mut data = Vec::with_capacity(16);
        let mut w = Writer::new(&mut data);
        self.role.write(&mut w);
        self.reason.write(&mut w);
        w.zeros(3);
        w.u64(self.generation_id);
        Message::Experimenter(Experimenter {
            experimenter: ONF,
            exp_type: ONF_ROLE_STATUS,
            data,
        })
    }
}

wire_enum! {
    /// What to do with a bundle or what was done, `enum onf_bundle_ctrl_type`: replies are the
    /// odd numbers.
    pub struct BundleCommand(u16) {
        OPEN_REQUEST = 0;
        OPEN_REPLY = 1;
        CLOSE_REQUEST = 2;
        CLOSE_REPLY = 3;
        COMMIT_REQUEST = 4;
        COMMIT_REPLY = 5;
        DISCARD_REQUEST = 6;
        DISCARD_REPLY = 7;
    }
}

wire_flags! {
    /// How a bundle is applied, `enum onf_bundle_flags`.
    pub struct BundleFlags(u16) {
        /// All or nothing, and no packet sees half of it.
        ATOMIC = 1 << 0;
        /// In the order of adding.
        ORDERED = 1 << 1;
    }
}

/// Opens, commits or discards a bundle, `onf_bundle_ctrl_msg` (ONF extension 230, type 2300): 8
/// bytes after those of [`Experimenter`]. Open vSwitch discards one that is idle for 10 s.
/// Meter-mods cannot be in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleControl {
    /// The sender's own number for the bundle.
    pub bundle_id: u32,
    /// What to do.
    pub command: BundleCommand,
    /// How it is applied: the same in every message of the bundle.
    pub flags: BundleFlags,
}

impl BundleControl {
    /// Reads a reply out of a vendor message; `None` if it is not one of these or malformed.
    #[must_use]
    pub fn from_experimenter(message: &Experimenter) -> Option<Self> {
        if (message.experimenter, message.exp_type) != (ONF, ONF_BUNDLE_CONTROL) {
            return None;
        }
        let mut r = Reader::new(&message.data);
        Some(Self {
            bundle_id: r.u32("bundle_id").ok()?,
            command: Wire::read(&mut r, "bundle type").ok()?,
            flags: BundleFlags(r.u16("bundle flags").ok()?),
        })
    }

    /// The message that carries this.
    #[must_use]
    pub fn to_message(self) -> Message {
        let mut data = Vec::with_capacity(8);
        let mut w = Writer::new(&mut data);
        w.u32(self.bundle_id);
        self.command.write(&mut w);
        w.u16(self.flags.0);
        Message::Experimenter(Experimenter {
            experimenter: ONF,
            exp_type: ONF_BUNDLE_CONTROL,
            data,
        })
    }
}

/// The message that adds `inner` to a bundle (ONF extension 230, type 2301), to be sent with this
/// same `xid`: the specification wants both to carry one.
///
/// # Errors
/// [`EncodeError::TooLong`] if `inner` does not fit into a message.
pub fn bundle_add(
    bundle_id: u32,
    flags: BundleFlags,
    xid: u32,
    inner: &Message,
) -> Result<Message, EncodeError> {
    let mut data = Vec::new();
    let mut w = Writer::new(&mut data);
    w.u32(bundle_id);
    w.zeros(2);
    w.u16(flags.0);
    inner.encode(xid, &mut data)?;
    Ok(Message::Experimenter(Experimenter {
        experimenter: ONF,
        exp_type: ONF_BUNDLE_ADD,
        data,
    }))
}

/// A message added to a bundle, `onf_bundle_add_msg` (ONF extension 230, type 2301): 8 bytes after
/// those of [`Experimenter`], and the message; made by [`bundle_add`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleAdd {
    /// The sender's own number for the bundle.
    pub bundle_id: u32,
    /// How it is applied.
    pub flags: BundleFlags,
    /// Transaction id of the message added, which must be that of the message around it.
    pub xid: u32,
    /// The message added.
    pub message: Message,
}

impl BundleAdd {
    /// Reads what is added out of a vendor's message; `None` if it is not one of these.
    ///
    /// # Errors
    /// [`DecodeError`] if it is one, but cut short, or what is added is no message.
    pub fn from_experimenter(outer: &Experimenter) -> Option<Result<Self, DecodeError>> {
        let is_one = (outer.experimenter, outer.exp_type) == (ONF, ONF_BUNDLE_ADD);
        is_one.then(|| Self::read(&mut Reader::new(&outer.data)))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bundle_id = r.u32("bundle_id")?;
        r.skip(2, "bundle_add padding")?;
        let flags = BundleFlags(r.u16("bundle flags")?);
        let rest = r.rest();
        // Properties may follow the message.
        let len = usize::from(Header::decode(rest)?.length);
        let frame = rest.get(..len).unwrap_or(rest);
        let (header, message) = Message::decode(frame)?;
        Ok(Self {
            bundle_id,
            flags,
            xid: header.xid,
            message,
        })
    }
}
