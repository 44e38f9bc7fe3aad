//! What controllers say, and what they are answered.

use rust_openflow::{
    AsyncConfig, AsyncMask, Capabilities, ControllerRole, DatapathId, DecodeError, ErrorCode,
    Experimenter, FlowCommand, FlowMod, FlowRemovedReason, GroupMod, Header, Hello, Message,
    MessageType, MeterCommand, MeterFlags, MeterMod, ONF, OfpError, PortNo, Role, SwitchConfig,
    SwitchFeatures, Version,
};

use super::MemorySwitch;
use super::connection::{Connection, ConnectionId};
use super::flow_table::{N_TABLES, Selection};
use super::groups::{bucket_by_bucket, check_bucket};
use super::validate::{
    check_buffer, check_flow_mod, check_head, check_port_number, check_references,
};

/// Length of a flow-mod without match and instructions, in bytes.
const FLOW_MOD_LEN: usize = 48;

/// Length of a meter-mod without bands, in bytes.
const METER_MOD_LEN: usize = 16;

/// ONF extension 191: another controller changed your role.
const ROLE_STATUS: u32 = 1911;

impl MemorySwitch {
    /// Obeys every whole message that has arrived on a connection, unless the switch is stalled.
    pub(super) fn obey_all(&mut self, id: ConnectionId) {
        while !self.faults.is_stalled(self.now) {
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            if connection.closed || connection.half_open {
                return;
            }
            let frame = match connection.framer.next_frame() {
                Ok(Some(frame)) => frame.to_vec(),
                Ok(None) => return,
                Err(error) => {
                    // The stream has lost its place.
                    tracing::debug!(%error, "connection closed");
                    connection.closed = true;
                    return;
                }
            };
            self.obey_frame(id, &frame);
        }
    }

    fn obey_frame(&mut self, id: ConnectionId, frame: &[u8]) {
        let (Ok(header), Some(connection)) = (Header::decode(frame), self.connections.get_mut(&id))
        else {
            return;
        };
        let refused = |code| {
            let data = frame.to_vec();
            Message::Error(OfpError { code, data })
        };
        if !connection.greeted && header.kind != MessageType::HELLO {
            connection.closed = true;
            return;
        }
        if connection.greeted && header.version != Version::V1_3 {
            connection.say(header.xid, &refused(ErrorCode::BAD_VERSION));
            connection.closed = true;
            return;
        }
        if !has_a_possible_length(header.kind, frame.len()) {
            connection.say(header.xid, &refused(ErrorCode::BAD_LEN));
            return;
        }
        if connection.is_slave() && changes_the_switch(header.kind) {
            connection.say(header.xid, &refused(ErrorCode::IS_SLAVE));
            return;
        }
        let outcome = match decode(header.kind, frame) {
            Ok((_, message)) => self.obey(id, header.xid, message),
            Err(error) => {
                let found_before = match header.kind {
                    MessageType::FLOW_MOD => wrong_before_instructions(frame),
                    MessageType::GROUP_MOD => Some(code_of_groups(frame)),
                    MessageType::PACKET_OUT => wrong_before_actions(frame),
                    _ => None,
                };
                Err(found_before.unwrap_or_else(|| code_of(&error)))
            }
        };
        if let Err(code) = outcome {
            self.reply(id, header.xid, &refused(code));
        }
    }

    pub(super) fn reply(&mut self, id: ConnectionId, xid: u32, message: &Message) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.say(xid, message);
        }
    }

    pub(super) fn obey(
        &mut self,
        id: ConnectionId,
        xid: u32,
        message: Message,
    ) -> Result<(), ErrorCode> {
        // Fail-open ends when a controller is at work and not merely there.
        let at_work = !matches!(
            message,
            Message::Hello(_)
                | Message::EchoRequest(_)
                | Message::EchoReply(_)
                | Message::FeaturesRequest
                | Message::GetConfigRequest
                | Message::SetConfig(_)
        );
        self.failed_open &= !at_work;
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        let answer = match message {
            Message::Hello(hello) => {
                greet(connection, xid, &hello);
                return Ok(());
            }
            Message::EchoRequest(data) => Message::EchoReply(data),
            Message::EchoReply(_) | Message::Error(_) => return Ok(()),
            Message::FeaturesRequest => Message::FeaturesReply(features(self.settings.datapath_id)),
            Message::GetConfigRequest => Message::GetConfigReply(connection.config),
            Message::SetConfig(config) => {
                connection.config = SwitchConfig {
                    miss_send_len: config.miss_send_len,
                    ..connection.config
                };
                return Ok(());
            }
            Message::GetAsyncRequest => Message::GetAsyncReply(connection.asked_for),
            Message::SetAsync(wanted) => {
                connection.asked_for = known_reasons(wanted);
                return Ok(());
            }
            Message::BarrierRequest => {
                connection.say(xid, &Message::BarrierReply);
                self.tell_of_ends();
                return Ok(());
            }
            Message::RoleRequest(wanted) => self.elect(id, wanted)?,
            Message::FlowMod(flow_mod) => return self.change_flows(&flow_mod),
            Message::GroupMod(group_mod) => return self.change_groups(&group_mod),
            Message::MeterMod(meter_mod) => return self.change_meters(&meter_mod),
            Message::PacketOut(packet) => return self.packet_out(packet),
            Message::PortMod(port_mod) => return self.change_port(&port_mod),
            Message::MultipartRequest(request) => {
                let answer = self.answer(&request.body)?;
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.say_in_parts(xid, answer);
                }
                return Ok(());
            }
            Message::Experimenter(message) if message.experimenter == ONF => {
                return self.obey_bundle(id, xid, &message);
            }
            Message::Experimenter(_) => return Err(ErrorCode::BAD_EXPERIMENTER),
            // What only switches say, table-mods and queue configurations.
            _ => return Err(ErrorCode::BAD_TYPE),
        };
        self.reply(id, xid, &answer);
        Ok(())
    }

    /// Changes a role; a new master makes the old one a slave, which is told.
    fn elect(&mut self, id: ConnectionId, wanted: Role) -> Result<Message, ErrorCode> {
        let new = wanted.role;
        if new > ControllerRole::SLAVE {
            return Err(ErrorCode::ROLE_BAD_ROLE);
        }
        if matches!(new, ControllerRole::MASTER | ControllerRole::SLAVE) {
            let ahead = |seen: u64| wanted.generation_id.wrapping_sub(seen) >> 63 == 0;
            if !self.generation_id.is_none_or(ahead) {
                return Err(ErrorCode::ROLE_STALE);
            }
            self.generation_id = Some(wanted.generation_id);
        }
        let generation_id = self.generation_id.unwrap_or(u64::MAX);
        if new == ControllerRole::MASTER {
            for (other, connection) in &mut self.connections {
                if *other != id && connection.role == ControllerRole::MASTER {
                    connection.role = ControllerRole::SLAVE;
                    connection.say(0, &role_status(generation_id));
                }
            }
        }
        let connection = self.connections.get_mut(&id);
        let role = connection.map_or(new, |connection| {
            if new != ControllerRole::NOCHANGE {
                connection.role = new;
            }
            connection.role
        });
        Ok(Message::RoleReply(Role {
            role,
            generation_id,
        }))
    }

    fn change_flows(&mut self, wanted: &FlowMod) -> Result<(), ErrorCode> {
        let pattern = check_flow_mod(wanted)?;
        check_buffer(wanted)?;
        if let Some(code) = self.faults.refuses(wanted) {
            return Err(code);
        }
        let strict = matches!(
            wanted.command,
            FlowCommand::MODIFY_STRICT | FlowCommand::DELETE_STRICT
        );
        let meter_exists = |meter| self.meters.contains(meter);
        let group_exists = |group| self.groups.contains(group);
        let references = || check_references(&wanted.instructions, meter_exists, group_exists);
        match wanted.command {
            FlowCommand::ADD => {
                references()?;
                let room = self.settings.max_entries_per_table;
                self.tables.add(wanted, pattern, room, self.now)?;
                self.changed();
            }
            FlowCommand::MODIFY | FlowCommand::MODIFY_STRICT => {
                let selection = Selection::to_modify(wanted, pattern, strict);
                // Looked at only when an entry is to have them.
                if self.tables.has_any(&selection) {
                    references()?;
                    self.tables.modify(&selection, wanted, self.now);
                    self.changed();
                }
            }
            _ => {
                let selection = Selection::to_delete(wanted, pattern, strict);
                // A deletion that finds nothing but those is refused.
                if !strict
                    && selection.takes_entries_of_the_switch()
                    && !self.tables.has_any(&selection)
                {
                    return Err(ErrorCode::REQUEST_EPERM);
                }
                for entry in self.tables.delete(&selection) {
                    self.changed();
                    self.ended(&entry, FlowRemovedReason::DELETE);
                }
            }
        }
        Ok(())
    }

    fn change_groups(&mut self, wanted: &GroupMod) -> Result<(), ErrorCode> {
        let limit = self.settings.max_groups;
        let gone = self.groups.apply(wanted, limit, self.now)?;
        self.changed();
        for entry in self.tables.delete_referring(&gone) {
            self.ended(&entry, FlowRemovedReason::GROUP_DELETE);
        }
        Ok(())
    }

    fn change_meters(&mut self, wanted: &MeterMod) -> Result<(), ErrorCode> {
        let limit = self.settings.max_meters;
        let gone = self.meters.apply(wanted, limit, self.now)?;
        self.changed();
        for entry in self.tables.delete_users(&gone) {
            self.ended(&entry, FlowRemovedReason::METER_DELETE);
        }
        Ok(())
    }
}

/// What a slave may not send.
fn changes_the_switch(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::FLOW_MOD
            | MessageType::METER_MOD
            | MessageType::PACKET_OUT
            | MessageType::PORT_MOD
            | MessageType::GROUP_MOD
            | MessageType::TABLE_MOD
    )
}

/// What Open vSwitch looks at first: the fixed part must be whole, and what follows it in some
/// messages comes in units of 8 bytes.
fn has_a_possible_length(kind: MessageType, len: usize) -> bool {
    let (fixed, unit) = match kind {
        MessageType::FLOW_MOD => (FLOW_MOD_LEN, 8),
        MessageType::METER_MOD | MessageType::GROUP_MOD => (16, 8),
        MessageType::PACKET_OUT => (24, 1),
        MessageType::TABLE_MOD => (16, 1),
        MessageType::PORT_MOD => (40, 1),
        _ => return true,
    };
    len.checked_sub(fixed)
        .is_some_and(|rest| rest.is_multiple_of(unit))
}

fn greet(connection: &mut Connection, xid: u32, hello: &Hello) {
    if hello.supports(Version::V1_3) {
        connection.greeted = true;
    } else {
        let data = b"this switch speaks OpenFlow 1.3".to_vec();
        let code = ErrorCode::HELLO_INCOMPATIBLE;
        connection.say(xid, &Message::Error(OfpError { code, data }));
        connection.closed = true;
    }
}

fn features(datapath_id: DatapathId) -> SwitchFeatures {
    SwitchFeatures {
        datapath_id,
        n_buffers: 0,
        n_tables: N_TABLES,
        auxiliary_id: 0,
        capabilities: Capabilities::FLOW_STATS
            | Capabilities::TABLE_STATS
            | Capabilities::PORT_STATS
            | Capabilities::GROUP_STATS
            | Capabilities::QUEUE_STATS,
        reserved: 0,
    }
}

/// The masks, cut to the reasons Open vSwitch knows.
fn known_reasons(wanted: AsyncConfig) -> AsyncConfig {
    let cut = |mask: AsyncMask, known: u32| AsyncMask {
        master: mask.master & known,
        slave: mask.slave & known,
    };
    AsyncConfig {
        packet_in: cut(wanted.packet_in, 0x07),
        port_status: cut(wanted.port_status, 0x07),
        flow_removed: cut(wanted.flow_removed, 0x3f),
    }
}

fn role_status(generation_id: u64) -> Message {
    let mut data = Vec::with_capacity(16);
    data.extend(ControllerRole::SLAVE.0.to_be_bytes());
    data.extend([0; 4]); // OFPCRR_MASTER_REQUEST, padding
    data.extend(generation_id.to_be_bytes());
    Message::Experimenter(Experimenter {
        experimenter: ONF,
        exp_type: ROLE_STATUS,
        data,
    })
}

/// Reads a message. Bands of a meter-mod are looked at last: not if it is a deletion, or is refused
/// for its command or flags.
fn decode(kind: MessageType, frame: &[u8]) -> Result<(Header, Message), DecodeError> {
    let whole = Message::decode(frame);
    let (Err(_), MessageType::METER_MOD, Some(fixed)) =
        (&whole, kind, frame.first_chunk::<METER_MOD_LEN>())
    else {
        return whole;
    };
    let mut without_bands = *fixed;
    without_bands[2..4].copy_from_slice(&[0, 16]);
    match Message::decode(&without_bands) {
        Ok((header, Message::MeterMod(meter_mod)))
            if meter_mod.command >= MeterCommand::DELETE
                || meter_mod
                    .flags
                    .contains(MeterFlags::KBPS | MeterFlags::PKTPS) =>
        {
            Ok((header, meter_mod.into()))
        }
        _ => whole,
    }
}

/// What is wrong with a flow-mod that cannot be read, if it is found before its instructions.
fn wrong_before_instructions(frame: &[u8]) -> Option<ErrorCode> {
    let len = frame.get(FLOW_MOD_LEN + 2..)?.first_chunk().copied()?;
    let match_len = usize::from(u16::from_be_bytes(len)).next_multiple_of(8);
    let mut head = frame.get(..FLOW_MOD_LEN + match_len)?.to_vec();
    let len = u16::try_from(head.len()).ok()?;
    head[2..4].copy_from_slice(&len.to_be_bytes());
    match Message::decode(&head) {
        Ok((_, Message::FlowMod(head))) => check_head(&head).err(),
        _ => None,
    }
}

/// What is wrong with a packet-out that cannot be read, if it is found before its actions.
fn wrong_before_actions(frame: &[u8]) -> Option<ErrorCode> {
    let in_port = frame.get(Header::LEN + 4..)?.first_chunk().copied()?;
    check_port_number(PortNo(u32::from_be_bytes(in_port))).err()
}

/// The error for a group-mod that cannot be read.
fn code_of_groups(frame: &[u8]) -> ErrorCode {
    let (each, end) = bucket_by_bucket(frame);
    let check = |one: &Vec<u8>| match Message::decode(one) {
        Ok((_, Message::GroupMod(one))) => one.buckets.iter().try_for_each(check_bucket),
        Ok(_) => Ok(()),
        Err(error) => Err(code_of(&error)),
    };
    let wrong = each.iter().try_for_each(check).and(end);
    wrong.err().unwrap_or(ErrorCode::BAD_LEN)
}

/// The error for a message that cannot be read.
fn code_of(error: &DecodeError) -> ErrorCode {
    let (DecodeError::Truncated { field } | DecodeError::BadLength { field, .. }) = error else {
        return ErrorCode::from(error);
    };
    match field.split([' ', '_']).next() {
        Some("match" | "oxm") => ErrorCode::MATCH_BAD_LEN,
        Some("action") => ErrorCode::ACTION_BAD_LEN,
        Some("instruction") => ErrorCode::INST_BAD_LEN,
        Some("bucket") => ErrorCode::BAD_BUCKET,
        _ => ErrorCode::from(error),
    }
}
