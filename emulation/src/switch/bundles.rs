//! Bundles: messages that take effect all at once, or not at all (ONF extension 230).

use std::collections::BTreeMap;
use std::time::Duration;

use rust_openflow::{
    BundleAdd, BundleCommand, BundleControl, BundleFlags, ErrorCode, ErrorType, Experimenter,
    Message, ONF, OfpError,
};

use super::MemorySwitch;
use super::connection::ConnectionId;
use super::validate::{check_buffer, check_flow_mod};

/// A bundle that nobody has added to for so long is thrown away.
const IDLE: Duration = Duration::from_secs(10);

/// Why a bundle or one of its messages is refused: codes of ONF extension 230.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Refused {
    BadId = 2302,
    Closed = 2304,
    BadType = 2306,
    BadFlags = 2307,
    BadXid = 2309,
    Unsupported = 2310,
    Failed = 2313,
}

/// The bundles of one connection that are not committed yet, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Bundles(BTreeMap<u32, Bundle>);

#[derive(Clone, Debug)]
struct Bundle {
    flags: BundleFlags,
    closed: bool,
    heard_at: Duration,
    messages: Vec<Added>,
}

/// A message in a bundle.
#[derive(Clone, Debug)]
struct Added {
    xid: u32,
    message: Message,
    /// What it came in.
    outer: Experimenter,
}

impl Bundle {
    fn new(flags: BundleFlags, now: Duration) -> Self {
        Self {
            flags,
            closed: false,
            heard_at: now,
            messages: Vec::new(),
        }
    }
}

impl Bundles {
    /// Throws away what is idle.
    pub(super) fn expire(&mut self, now: Duration) {
        self.0
            .retain(|_, bundle| now.saturating_sub(bundle.heard_at) < IDLE);
    }

    fn add(
        &mut self,
        added: BundleAdd,
        outer: &Experimenter,
        now: Duration,
    ) -> Result<(), Refused> {
        let number = added.bundle_id;
        let bundle = self
            .0
            .entry(number)
            .or_insert_with(|| Bundle::new(added.flags, now));
        bundle.heard_at = now;
        let refused = match bundle {
            Bundle { closed: true, .. } => Refused::Closed,
            bundle if bundle.flags != added.flags => Refused::BadFlags,
            bundle => {
                bundle.messages.push(Added {
                    xid: added.xid,
                    message: added.message,
                    outer: outer.clone(),
                });
                return Ok(());
            }
        };
        self.0.remove(&number);
        Err(refused)
    }

    /// Everything but a commit.
    fn control(&mut self, wanted: BundleControl, now: Duration) -> Result<BundleCommand, Refused> {
        let number = wanted.bundle_id;
        match wanted.command {
            BundleCommand::OPEN_REQUEST => {
                if self.0.remove(&number).is_some() {
                    return Err(Refused::BadId);
                }
                self.0.insert(number, Bundle::new(wanted.flags, now));
                Ok(BundleCommand::OPEN_REPLY)
            }
            BundleCommand::CLOSE_REQUEST => {
                let bundle = self.0.get_mut(&number).ok_or(Refused::BadId)?;
                let refused = match bundle {
                    Bundle { closed: true, .. } => Refused::Closed,
                    bundle if bundle.flags != wanted.flags => Refused::BadFlags,
                    bundle => {
                        bundle.closed = true;
                        bundle.heard_at = now;
                        return Ok(BundleCommand::CLOSE_REPLY);
                    }
                };
                self.0.remove(&number);
                Err(refused)
            }
            BundleCommand::DISCARD_REQUEST => match self.0.remove(&number) {
                Some(_) => Ok(BundleCommand::DISCARD_REPLY),
                None => Err(Refused::BadId),
            },
            _ => Err(Refused::BadType),
        }
    }

    fn take(&mut self, wanted: BundleControl) -> Result<Vec<Added>, Refused> {
        let bundle = self.0.remove(&wanted.bundle_id).ok_or(Refused::BadId)?;
        if bundle.flags != wanted.flags {
            return Err(Refused::BadFlags);
        }
        Ok(bundle.messages)
    }
}

impl MemorySwitch {
    /// A message of ONF's, if it is about bundles; otherwise an error.
    pub(super) fn obey_bundle(
        &mut self,
        id: ConnectionId,
        xid: u32,
        message: &Experimenter,
    ) -> Result<(), ErrorCode> {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        if connection.is_slave() {
            return Err(ErrorCode::IS_SLAVE);
        }
        let bundles = &mut connection.bundles;
        bundles.expire(now);
        let outcome = if let Some(added) = BundleAdd::from_experimenter(message) {
            let added = added.map_err(|error| ErrorCode::from(&error))?;
            if added.xid != xid {
                Err(Refused::BadXid)
            } else if let Message::FlowMod(flow_mod) = &added.message {
                check_flow_mod(flow_mod)?;
                check_buffer(flow_mod)?;
                return self.add_to_bundle(id, added, message);
            } else {
                Err(Refused::Unsupported)
            }
        } else if let Some(wanted) = BundleControl::from_experimenter(message) {
            let outcome = if wanted.command == BundleCommand::COMMIT_REQUEST {
                let messages = bundles.take(wanted);
                messages.and_then(|messages| self.commit(id, messages))
            } else {
                bundles.control(wanted, now)
            };
            outcome.map(|command| {
                let answer = BundleControl {
                    command,
                    // As Open vSwitch has it.
                    flags: BundleFlags::NONE,
                    ..wanted
                };
                self.reply(id, xid, &answer.to_message());
            })
        } else {
            return Err(ErrorCode::BAD_EXP_TYPE);
        };
        if let Err(refused) = outcome {
            self.refuse_bundle(id, xid, refused, message);
        }
        Ok(())
    }

    fn add_to_bundle(
        &mut self,
        id: ConnectionId,
        added: BundleAdd,
        outer: &Experimenter,
    ) -> Result<(), ErrorCode> {
        let (now, xid) = (self.now, added.xid);
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        if let Err(refused) = connection.bundles.add(added, outer, now) {
            self.refuse_bundle(id, xid, refused, outer);
        }
        Ok(())
    }

    /// Applies everything or nothing; the first message that cannot be is told of.
    fn commit(&mut self, id: ConnectionId, messages: Vec<Added>) -> Result<BundleCommand, Refused> {
        let before = self.tables.clone();
        let untold = self.untold.len();
        for Added {
            xid,
            message,
            outer,
        } in messages
        {
            let Err(code) = self.obey(id, xid, message) else {
                continue;
            };
            self.tables = before;
            self.untold.truncate(untold);
            self.changed();
            let data = encoded(xid, outer);
            self.reply(id, xid, &Message::Error(OfpError { code, data }));
            return Err(Refused::Failed);
        }
        Ok(BundleCommand::COMMIT_REPLY)
    }

    fn refuse_bundle(&mut self, id: ConnectionId, xid: u32, why: Refused, outer: &Experimenter) {
        let mut data = ONF.to_be_bytes().to_vec();
        data.extend(encoded(xid, outer.clone()));
        let code = ErrorCode {
            kind: ErrorType::EXPERIMENTER,
            code: why as u16,
        };
        self.reply(id, xid, &Message::Error(OfpError { code, data }));
    }
}

/// A vendor's message as it came.
fn encoded(xid: u32, message: Experimenter) -> Vec<u8> {
    let mut bytes = Vec::new();
    let whole = Message::Experimenter(message).encode(xid, &mut bytes);
    debug_assert_eq!(whole, Ok(()), "it came in a message");
    bytes
}
