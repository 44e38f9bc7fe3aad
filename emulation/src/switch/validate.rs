//! What a switch refuses in a flow-mod or a packet-out before it looks at its tables, in the order
//! in which Open vSwitch looks.

use rust_openflow::{
    Action, BufferId, ErrorCode, EthType, FlowCommand, FlowFlags, FlowMod, GroupId, Instruction,
    MeterId, Oxm, PortNo, TableId,
};

use super::flow_table::N_TABLES;
use super::packet::MAX_TAGS;
use super::pattern::{Pattern, fits, lay_out};

/// Flags of OpenFlow 1.3.
const KNOWN_FLAGS: FlowFlags = FlowFlags(0x1f);

/// Checks what the message says by itself; gives the match laid out.
pub(super) fn check_flow_mod(wanted: &FlowMod) -> Result<Pattern, ErrorCode> {
    let pattern = check_head(wanted)?;
    let deletes = deletes(wanted);
    check_each_alone(&wanted.instructions)?;
    if !KNOWN_FLAGS.contains(wanted.flags) {
        return Err(ErrorCode::FLOW_BAD_FLAGS);
    }
    check_instructions(wanted, &pattern)?;
    if wanted.table_id > TableId(N_TABLES) && !deletes {
        return Err(ErrorCode::REQUEST_BAD_TABLE_ID);
    }
    if wanted.table_id == TableId(N_TABLES) && !deletes {
        // Open vSwitch keeps its own entries there.
        return Err(ErrorCode::REQUEST_EPERM);
    }
    Ok(pattern)
}

/// Nothing is buffered here.
pub(super) fn check_buffer(wanted: &FlowMod) -> Result<(), ErrorCode> {
    if !deletes(wanted) && wanted.buffer_id != BufferId::NO_BUFFER {
        return Err(ErrorCode::BUFFER_UNKNOWN);
    }
    Ok(())
}

/// What is looked at before the instructions are.
pub(super) fn check_head(wanted: &FlowMod) -> Result<Pattern, ErrorCode> {
    let pattern = Pattern::new(&wanted.flow_match)?;
    if wanted.table_id == TableId::ALL && !deletes(wanted) {
        return Err(ErrorCode::FLOW_BAD_TABLE_ID);
    }
    check_port_number(wanted.out_port)?;
    if wanted.command > FlowCommand::DELETE_STRICT {
        return Err(ErrorCode::FLOW_BAD_COMMAND);
    }
    Ok(pattern)
}

fn deletes(wanted: &FlowMod) -> bool {
    matches!(
        wanted.command,
        FlowCommand::DELETE | FlowCommand::DELETE_STRICT
    )
}

/// Open vSwitch has 16 bits for a port: numbers from `0xff00` to `0xfffffeff` are none.
pub(super) fn check_port_number(port: PortNo) -> Result<(), ErrorCode> {
    match port.0 {
        0xff00..=0xffff_feff => Err(ErrorCode::BAD_OUT_PORT),
        _ => Ok(()),
    }
}

/// What can be told of each instruction and action by itself.
fn check_each_alone(instructions: &[Instruction]) -> Result<(), ErrorCode> {
    for each in instructions {
        match each {
            Instruction::Unknown { .. } => return Err(ErrorCode::UNKNOWN_INST),
            Instruction::Experimenter { .. } => return Err(ErrorCode::INST_BAD_EXPERIMENTER),
            _ => {}
        }
    }
    in_order(instructions)
        .iter()
        .try_for_each(|each| match each {
            Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => {
                actions.iter().try_for_each(check_alone)
            }
            _ => Ok(()),
        })
}

/// As they are executed, and looked at.
fn in_order(instructions: &[Instruction]) -> Vec<&Instruction> {
    let mut in_order: Vec<&Instruction> = instructions.iter().collect();
    in_order.sort();
    in_order
}

/// What makes no sense for the packets of the pattern, or in this table.
fn check_instructions(wanted: &FlowMod, pattern: &Pattern) -> Result<(), ErrorCode> {
    let mut consistent = true;
    let mut tags = sure_tags(pattern);
    for instruction in in_order(&wanted.instructions) {
        match instruction {
            Instruction::Meter(meter) if meter.0 == 0 || *meter > MeterId::MAX => {
                return Err(ErrorCode::INVALID_METER);
            }
            Instruction::ApplyActions(actions) => {
                consistent &= check_actions(actions, pattern, &mut tags)?;
            }
            Instruction::WriteActions(actions) => {
                // Whether a set makes sense depends on what else gets into it.
                check_actions(actions, pattern, &mut tags)?;
            }
            // Open vSwitch takes a table that does not exist; packets end there.
            Instruction::GotoTable(to)
                if wanted.table_id != TableId::ALL && *to <= wanted.table_id =>
            {
                return Err(ErrorCode::INST_BAD_TABLE_ID);
            }
            _ => {}
        }
    }
    if consistent {
        Ok(())
    } else {
        Err(ErrorCode::MATCH_INCONSISTENT)
    }
}

/// What is wrong with an action whatever packet it meets.
pub(super) fn check_alone(action: &Action) -> Result<(), ErrorCode> {
    match action {
        Action::Output {
            port: PortNo::ANY, ..
        } => Err(ErrorCode::BAD_OUT_PORT),
        Action::Output { port, .. } => check_port_number(*port),
        Action::PushVlan(EthType::VLAN | EthType::QINQ) => Ok(()),
        Action::PushVlan(_) => Err(ErrorCode::ACTION_BAD_ARGUMENT),
        Action::SetField(Oxm::Unknown(_)) => Err(ErrorCode::BAD_SET_TYPE),
        Action::SetField(field) if lay_out(field).is_none() => Err(ErrorCode::BAD_SET_TYPE),
        Action::SetField(field) if !is_writable(field) => Err(ErrorCode::BAD_SET_ARGUMENT),
        Action::SetField(field) if !fits(field) => Err(ErrorCode::BAD_SET_ARGUMENT),
        Action::SetQueue(_) | Action::Group(_) | Action::SetField(_) | Action::PopVlan => Ok(()),
        Action::Experimenter { .. } => Err(ErrorCode::ACTION_BAD_EXPERIMENTER),
        // What Open vSwitch knows besides (TTLs, MPLS) is not made here.
        _ => Err(ErrorCode::ACTION_BAD_TYPE),
    }
}

/// What an entry refers to must be there, in the order in which it does.
pub(super) fn check_references(
    instructions: &[Instruction],
    meter_exists: impl Fn(MeterId) -> bool,
    group_exists: impl Fn(GroupId) -> bool,
) -> Result<(), ErrorCode> {
    for instruction in in_order(instructions) {
        match instruction {
            Instruction::Meter(meter) if !meter_exists(*meter) => {
                return Err(ErrorCode::INVALID_METER);
            }
            Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => {
                check_groups(actions, &group_exists)?;
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn check_groups(
    actions: &[Action],
    exists: impl Fn(GroupId) -> bool,
) -> Result<(), ErrorCode> {
    let missing = |action: &Action| matches!(action, Action::Group(group) if !exists(*group));
    if actions.iter().any(missing) {
        return Err(ErrorCode::BAD_OUT_GROUP);
    }
    Ok(())
}

fn is_writable(field: &Oxm) -> bool {
    !matches!(field, Oxm::EthType(_) | Oxm::IpProto(_) | Oxm::MplsBos(_))
}

/// VLAN tags every packet of a pattern has.
pub(super) fn sure_tags(pattern: &Pattern) -> usize {
    usize::from(pattern.has_vlan())
}

/// What is wrong with actions on the packets of a pattern. `false` if there may be no VLAN tag to
/// pop, which counts only if nothing else is wrong. `tags` is how many there are for sure.
pub(super) fn check_actions(
    actions: &[Action],
    pattern: &Pattern,
    tags: &mut usize,
) -> Result<bool, ErrorCode> {
    let mut consistent = true;
    for action in actions {
        match action {
            Action::PushVlan(_) if *tags == MAX_TAGS => return Err(ErrorCode::BAD_TAG),
            Action::PushVlan(_) => *tags += 1,
            Action::PopVlan => {
                consistent &= *tags > 0;
                *tags = tags.saturating_sub(1);
            }
            Action::SetField(field) => {
                let there = match field {
                    Oxm::VlanVid(_) | Oxm::VlanPcp(_) => *tags > 0,
                    field => pattern.has_prerequisite(field),
                };
                if !there {
                    return Err(ErrorCode::MATCH_INCONSISTENT);
                }
            }
            _ => {}
        }
    }
    Ok(consistent)
}
