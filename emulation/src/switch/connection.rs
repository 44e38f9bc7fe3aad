//! One controller's connection: its bytes, its role, and what it is told unasked.

use std::time::Duration;

use rust_openflow::{
    AsyncConfig, AsyncMask, ControllerRole, FragmentHandling, Framer, Hello, Message,
    MultipartFlags, MultipartReply, MultipartReplyBody, SwitchConfig,
};

use super::bundles::Bundles;

/// Longest part of an answer, in bytes: what Open vSwitch sends at most.
const MAX_PART_LEN: usize = 65_488;

/// Names a connection of one switch; never used again after it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionKind {
    /// The switch, to its configured controller. It is probed when idle and counts for the fail
    /// mode.
    Primary,
    /// Somebody, to a listener of the switch. It hears nothing unasked until it has sent a
    /// SET_CONFIG whose `miss_send_len` is not 0.
    Service,
}

/// Kinds of messages nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unasked {
    PacketIn,
    PortStatus,
    FlowRemoved,
}

#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) kind: ConnectionKind,
    pub(super) framer: Framer,
    pub(super) role: ControllerRole,
    pub(super) asked_for: AsyncConfig,
    pub(super) config: SwitchConfig,
    /// The peer's HELLO has been seen.
    pub(super) greeted: bool,
    pub(super) closed: bool,
    /// Everything is swallowed and nothing said, as on a line that was cut.
    pub(super) half_open: bool,
    pub(super) heard_at: Duration,
    pub(super) probed: bool,
    pub(super) bundles: Bundles,
    output: Vec<u8>,
}

impl Connection {
    /// A new connection, with the switch's HELLO on it.
    pub(super) fn new(kind: ConnectionKind, now: Duration) -> Self {
        let miss_send_len = match kind {
            ConnectionKind::Primary => 128,
            ConnectionKind::Service => 0,
        };
        let mut connection = Self {
            kind,
            framer: Framer::new(),
            role: ControllerRole::EQUAL,
            asked_for: DEFAULT_MASKS,
            config: SwitchConfig {
                fragments: FragmentHandling::NORMAL,
                miss_send_len,
            },
            greeted: false,
            closed: false,
            half_open: false,
            heard_at: now,
            probed: false,
            bundles: Bundles::default(),
            output: Vec::new(),
        };
        connection.say(1, &Message::Hello(Hello::v1_3()));
        connection
    }

    pub(super) fn say(&mut self, xid: u32, message: &Message) {
        if self.half_open || self.closed {
            return;
        }
        // Nothing the switch says is longer than a message: long answers are cut into parts, and a
        // frame that came in a message fits into one.
        if let Err(error) = message.encode(xid, &mut self.output) {
            tracing::debug!(%error, "a message too long for its length field is not sent");
        }
    }

    /// Says an answer, halved until every part fits; all but the last part say that more follow.
    pub(super) fn say_in_parts(&mut self, xid: u32, whole: MultipartReplyBody) {
        if self.half_open || self.closed {
            return;
        }
        let mut waiting = vec![whole];
        while let Some(body) = waiting.pop() {
            let flags = if waiting.is_empty() {
                MultipartFlags::NONE
            } else {
                MultipartFlags::MORE
            };
            let begin = self.output.len();
            let part = Message::MultipartReply(MultipartReply { flags, body });
            let encoded = part.encode(xid, &mut self.output);
            if encoded.is_ok() && self.output.len() - begin <= MAX_PART_LEN {
                continue;
            }
            if let Message::MultipartReply(MultipartReply { mut body, .. }) = part
                && let Some(half) = second_half(&mut body)
            {
                self.output.truncate(begin);
                waiting.extend([half, body]);
            } else if let Err(error) = encoded {
                tracing::debug!(%error, "an item too long for a message is not sent");
            }
        }
    }

    /// At most `limit` bytes of what there is to send.
    pub(super) fn take_output(&mut self, limit: Option<usize>) -> Vec<u8> {
        match limit.filter(|limit| *limit < self.output.len()) {
            Some(limit) => self.output.drain(..limit).collect(),
            None => std::mem::take(&mut self.output),
        }
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub(super) fn is_slave(&self) -> bool {
        self.role == ControllerRole::SLAVE
    }

    /// Whether it is told of something of this kind for the reason numbered `reason`.
    pub(super) fn hears(&self, kind: Unasked, reason: u8) -> bool {
        let silent = self.kind == ConnectionKind::Service && self.config.miss_send_len == 0;
        let mask = match kind {
            Unasked::PacketIn => self.asked_for.packet_in,
            Unasked::PortStatus => self.asked_for.port_status,
            Unasked::FlowRemoved => self.asked_for.flow_removed,
        };
        let mask = if self.is_slave() {
            mask.slave
        } else {
            mask.master
        };
        self.greeted && !silent && mask.checked_shr(reason.into()).unwrap_or(0) & 1 == 1
    }
}

/// Takes the second half off a list; nothing of what is no list or has less than two items.
fn second_half(whole: &mut MultipartReplyBody) -> Option<MultipartReplyBody> {
    macro_rules! halve {
        ($($list:ident),*) => {
            match whole {
                $(MultipartReplyBody::$list(items) if items.len() > 1 => {
                    let half = items.split_off(items.len() / 2);
                    Some(MultipartReplyBody::$list(half))
                })*
                _ => None,
            }
        };
    }
    halve!(
        Flow,
        PortStats,
        Queue,
        Meter,
        MeterConfig,
        PortDesc,
        Group,
        GroupDesc
    )
}

/// What a controller hears before it has asked for anything (OpenFlow 1.3.5, section 7.3.10, and
/// Open vSwitch: no removals for the end of a meter).
const DEFAULT_MASKS: AsyncConfig = AsyncConfig {
    packet_in: AsyncMask {
        master: 0x03,
        slave: 0,
    },
    port_status: AsyncMask {
        master: 0x07,
        slave: 0x07,
    },
    flow_removed: AsyncMask {
        master: 0x0f,
        slave: 0,
    },
};
