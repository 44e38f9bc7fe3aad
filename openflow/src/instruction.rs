//! What a flow entry tells the switch to do with a packet that matches.

use crate::action::Action;
use crate::code_points::wire_enum;
use crate::codec::{DecodeError, Reader, Wire, Writer};
use crate::meter::MeterId;

wire_enum! {
    /// Kind of an instruction, `enum ofp_instruction_type`.
    pub struct InstructionType(u16) {
        GOTO_TABLE = 1;
        WRITE_METADATA = 2;
        WRITE_ACTIONS = 3;
        APPLY_ACTIONS = 4;
        CLEAR_ACTIONS = 5;
        METER = 6;
        /// A vendor's instruction.
        EXPERIMENTER = 0xffff;
    }
}

wire_enum! {
    /// Number of a flow table.
    pub struct TableId(u8) {
        /// Highest number of a real table.
        MAX = 0xfe;
        /// All tables, in requests and deletions.
        ALL = 0xff;
    }
}

/// One instruction of a flow entry, `ofp_instruction`: 8 bytes, the actions of a list besides, and
/// 24 for metadata. An entry has at most one of each kind.
///
/// Variants are in the order in which a switch executes them, and so is [`Ord`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Instruction {
    /// Sends the packet through a meter, which may drop it.
    Meter(MeterId),
    /// Does these at once, in this order.
    ApplyActions(Vec<Action>),
    /// Empties the action set.
    ClearActions,
    /// Adds these to the action set, done when the packet leaves the last table.
    WriteActions(Vec<Action>),
    /// Writes the bits of `value` set in `mask` to the packet's metadata.
    WriteMetadata {
        /// New bits.
        value: u64,
        /// Which bits to write.
        mask: u64,
    },
    /// Goes on in a later table.
    GotoTable(TableId),
    /// A vendor's instruction, `ofp_instruction_experimenter`. What it carries is kept as it came.
    Experimenter {
        /// Which vendor.
        experimenter: u32,
        /// What follows the vendor's id.
        data: Vec<u8>,
    },
    /// Any other instruction, kept as it came.
    Unknown {
        /// Kind of the instruction.
        kind: InstructionType,
        /// What follows type and length.
        body: Vec<u8>,
    },
}

impl Instruction {
    /// Applies one action.
    #[must_use]
    pub fn apply(action: Action) -> Self {
        Self::ApplyActions(vec![action])
    }

    /// Brings instructions to the form in which switches report them: in the order of execution,
    /// empty action lists left out, metadata cut to its mask.
    #[must_use]
    pub fn canonical(mut instructions: Vec<Self>) -> Vec<Self> {
        instructions.retain(|instruction| match instruction {
            Self::ApplyActions(actions) | Self::WriteActions(actions) => !actions.is_empty(),
            _ => true,
        });
        for instruction in &mut instructions {
            if let Self::WriteMetadata { value, mask } = instruction {
                *value &= *mask;
            }
        }
        instructions.sort();
        instructions
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, mut body) = r.tlv("instruction")?;
        let instruction = match InstructionType(kind) {
            InstructionType::METER => Self::Meter(Wire::read(&mut body, "meter_id")?),
            InstructionType::APPLY_ACTIONS => {
                body.skip(4, "apply_actions padding")?;
                Self::ApplyActions(body.list(Action::read)?)
            }
            InstructionType::CLEAR_ACTIONS => {
                body.skip(4, "clear_actions padding")?;
                Self::ClearActions
            }
            InstructionType::WRITE_ACTIONS => {
                body.skip(4, "write_actions padding")?;
                Self::WriteActions(body.list(Action::read)?)
            }
            InstructionType::WRITE_METADATA => {
                body.skip(4, "write_metadata padding")?;
                Self::WriteMetadata {
                    value: body.u64("metadata")?,
                    mask: body.u64("mask")?,
                }
            }
            InstructionType::GOTO_TABLE => {
                let table = Wire::read(&mut body, "goto table_id")?;
                body.skip(3, "goto_table padding")?;
                Self::GotoTable(table)
            }
            InstructionType::EXPERIMENTER => Self::Experimenter {
                experimenter: body.u32("instruction experimenter")?,
                data: body.rest().to_vec(),
            },
            kind => Self::Unknown {
                kind,
                body: body.rest().to_vec(),
            },
        };
        body.finish("instruction").map(|()| instruction)
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin_tlv(self.kind().0);
        match self {
            Self::Meter(meter) => meter.write(w),
            Self::ApplyActions(actions) | Self::WriteActions(actions) => {
                w.zeros(4);
                actions.iter().for_each(|action| action.write(w));
            }
            Self::ClearActions => w.zeros(4),
            Self::WriteMetadata { value, mask } => {
                w.zeros(4);
                w.u64(*value);
                w.u64(*mask);
            }
            Self::GotoTable(table) => {
                table.write(w);
                w.zeros(3);
            }
            Self::Experimenter { experimenter, data } => {
                w.u32(*experimenter);
                w.bytes(data);
            }
            Self::Unknown { body, .. } => w.bytes(body),
        }
        w.end(mark);
    }

    /// Kind of the instruction on the wire.
    #[must_use]
    pub fn kind(&self) -> InstructionType {
        match self {
            Self::Meter(_) => InstructionType::METER,
            Self::ApplyActions(_) => InstructionType::APPLY_ACTIONS,
            Self::ClearActions => InstructionType::CLEAR_ACTIONS,
            Self::WriteActions(_) => InstructionType::WRITE_ACTIONS,
            Self::WriteMetadata { .. } => InstructionType::WRITE_METADATA,
            Self::GotoTable(_) => InstructionType::GOTO_TABLE,
            Self::Experimenter { .. } => InstructionType::EXPERIMENTER,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}
