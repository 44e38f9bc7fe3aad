//! Flow tables as such: what each of them can do, and asking for it.

use crate::action::ActionType;
use crate::code_points::{wire_enum, wire_flags};
use crate::codec::{DecodeError, Hex, Reader, Wire, Writer, read_name, write_name};
use crate::instruction::{InstructionType, TableId};
use crate::oxm::CLASS_EXPERIMENTER;

wire_flags! {
    /// How a table behaves, `enum ofp_table_config`. OpenFlow 1.3 has no meaning for any bit.
    pub struct TableConfig(u32) {
        /// What earlier versions used.
        DEPRECATED_MASK = 3;
    }
}

/// Configures a table, `ofp_table_mod`: 16 bytes, header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableMod {
    /// Which table; [`TableId::ALL`] is all.
    pub table_id: TableId,
    /// How it is to behave.
    pub config: TableConfig,
}

impl TableMod {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table_id = Wire::read(r, "table_id")?;
        r.skip(3, "table_mod padding")?;
        Ok(Self {
            table_id,
            config: TableConfig(r.u32("table config")?),
        })
    }

    pub(crate) fn write(self, w: &mut Writer<'_>) {
        self.table_id.write(w);
        w.zeros(3);
        w.u32(self.config.0);
    }
}

wire_enum! {
    /// Kind of a table property, `enum ofp_table_feature_prop_type`. One with `_MISS` is about the
    /// entry that takes what nothing else took; without it, one about that entry is the same as
    /// about the others.
    pub struct TablePropertyType(u16) {
        INSTRUCTIONS = 0;
        INSTRUCTIONS_MISS = 1;
        NEXT_TABLES = 2;
        NEXT_TABLES_MISS = 3;
        WRITE_ACTIONS = 4;
        WRITE_ACTIONS_MISS = 5;
        APPLY_ACTIONS = 6;
        APPLY_ACTIONS_MISS = 7;
        MATCH = 8;
        WILDCARDS = 10;
        WRITE_SETFIELD = 12;
        WRITE_SETFIELD_MISS = 13;
        APPLY_SETFIELD = 14;
        APPLY_SETFIELD_MISS = 15;
        EXPERIMENTER = 0xfffe;
        EXPERIMENTER_MISS = 0xffff;
    }
}

/// A kind of instruction or action without its arguments, `ofp_instruction` or `ofp_action_header`
/// in a table property: 4 bytes, and what a vendor says besides.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeatureId<T> {
    /// Which kind.
    pub kind: T,
    /// What follows type and length: nothing, a vendor's id and data, or padding that some switches
    /// send.
    pub body: Vec<u8>,
}

impl<T> From<T> for FeatureId<T> {
    fn from(kind: T) -> Self {
        let body = Vec::new();
        Self { kind, body }
    }
}

fn read_id<T: Wire>(r: &mut Reader<'_>) -> Result<FeatureId<T>, DecodeError> {
    let kind = T::read(r, "feature id")?;
    let body = r.counted(T::LEN, "feature id")?.rest().to_vec();
    Ok(FeatureId { kind, body })
}

fn write_ids<T: Wire>(ids: &[FeatureId<T>], w: &mut Writer<'_>) {
    for id in ids {
        id.kind.write(w);
        let mark = w.begin(T::LEN);
        w.bytes(&id.body);
        w.end(mark);
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for FeatureId<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind.fmt(f)?;
        match &self.body[..] {
            [] => Ok(()),
            body => write!(f, "+{}", Hex(body)),
        }
    }
}

/// A match field without its value, an OXM header in a table property: 4 bytes, 8 for a vendor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OxmId {
    /// `oxm_class`.
    pub class: u16,
    /// `oxm_field`, 7 bits.
    pub field: u8,
    /// `oxm_hasmask`: whether the table takes a mask for it.
    pub has_mask: bool,
    /// `oxm_length`: bytes of a value, and of a mask if there is one.
    pub length: u8,
    /// Whose field it is. On the wire only with class `0xffff`, where 0 stands for none.
    pub experimenter: Option<u32>,
}

impl OxmId {
    /// A field of the class every switch knows, `OFPXMC_OPENFLOW_BASIC`.
    #[must_use]
    pub const fn basic(field: u8, has_mask: bool, length: u8) -> Self {
        Self {
            class: crate::oxm::CLASS_BASIC,
            field: field & 0x7f,
            has_mask,
            length,
            experimenter: None,
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let class = r.u16("oxm_class")?;
        let field_and_mask = r.u8("oxm_field")?;
        let length = r.u8("oxm_length")?;
        let experimenter = match class {
            CLASS_EXPERIMENTER => Some(r.u32("oxm experimenter")?),
            _ => None,
        };
        Ok(Self {
            class,
            field: field_and_mask >> 1,
            has_mask: field_and_mask & 1 == 1,
            length,
            experimenter,
        })
    }

    fn write(self, w: &mut Writer<'_>) {
        w.u16(self.class);
        w.u8(self.field << 1 | u8::from(self.has_mask));
        w.u8(self.length);
        if self.class == CLASS_EXPERIMENTER {
            w.u32(self.experimenter.unwrap_or(0));
        }
    }
}

/// One thing a table can do, `ofp_table_feature_prop_header` and what follows it: 4 bytes and its
/// list, padded to a multiple of 8.
///
/// `miss` tells that it is about the entry that takes what nothing else took.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // `miss` and the lists are said by the variants
pub enum TableProperty {
    /// Instructions that entries may have, `ofp_table_feature_prop_instructions`.
    Instructions {
        miss: bool,
        ids: Vec<FeatureId<InstructionType>>,
    },
    /// Tables that entries may go to, `ofp_table_feature_prop_next_tables`.
    NextTables { miss: bool, tables: Vec<TableId> },
    /// Actions that may be added to the action set, `ofp_table_feature_prop_actions`.
    WriteActions {
        miss: bool,
        ids: Vec<FeatureId<ActionType>>,
    },
    /// Actions that may be done at once, `ofp_table_feature_prop_actions`.
    ApplyActions {
        miss: bool,
        ids: Vec<FeatureId<ActionType>>,
    },
    /// Fields that may be matched, `ofp_table_feature_prop_oxm`.
    Match(Vec<OxmId>),
    /// Fields that may be left out of a match, `ofp_table_feature_prop_oxm`.
    Wildcards(Vec<OxmId>),
    /// Fields that the action set may write, `ofp_table_feature_prop_oxm`.
    WriteSetField { miss: bool, ids: Vec<OxmId> },
    /// Fields that may be written at once, `ofp_table_feature_prop_oxm`.
    ApplySetField { miss: bool, ids: Vec<OxmId> },
    /// A vendor's property, `ofp_table_feature_prop_experimenter`. What it carries is kept as it
    /// came.
    Experimenter {
        miss: bool,
        experimenter: u32,
        exp_type: u32,
        data: Vec<u8>,
    },
    /// Any other property, kept as it came.
    Unknown {
        kind: TablePropertyType,
        body: Vec<u8>,
    },
}

impl TableProperty {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, mut body) = r.tlv("table property")?;
        let len = body.len() + 4;
        let kind = TablePropertyType(kind);
        let miss = kind == TablePropertyType::EXPERIMENTER_MISS
            || kind != TablePropertyType::EXPERIMENTER && kind.0 & 1 == 1;
        let property = match kind {
            TablePropertyType::INSTRUCTIONS | TablePropertyType::INSTRUCTIONS_MISS => {
                let ids = body.list(read_id)?;
                Self::Instructions { miss, ids }
            }
            TablePropertyType::NEXT_TABLES | TablePropertyType::NEXT_TABLES_MISS => {
                let tables = body.list(|r| Wire::read(r, "next table"))?;
                Self::NextTables { miss, tables }
            }
            TablePropertyType::WRITE_ACTIONS | TablePropertyType::WRITE_ACTIONS_MISS => {
                let ids = body.list(read_id)?;
                Self::WriteActions { miss, ids }
            }
            TablePropertyType::APPLY_ACTIONS | TablePropertyType::APPLY_ACTIONS_MISS => {
                let ids = body.list(read_id)?;
                Self::ApplyActions { miss, ids }
            }
            TablePropertyType::MATCH => Self::Match(body.list(OxmId::read)?),
            TablePropertyType::WILDCARDS => Self::Wildcards(body.list(OxmId::read)?),
            TablePropertyType::WRITE_SETFIELD | TablePropertyType::WRITE_SETFIELD_MISS => {
                let ids = body.list(OxmId::read)?;
                Self::WriteSetField { miss, ids }
            }
            TablePropertyType::APPLY_SETFIELD | TablePropertyType::APPLY_SETFIELD_MISS => {
                let ids = body.list(OxmId::read)?;
                Self::ApplySetField { miss, ids }
            }
            TablePropertyType::EXPERIMENTER | TablePropertyType::EXPERIMENTER_MISS => {
                Self::Experimenter {
                    miss,
                    experimenter: body.u32("table property experimenter")?,
                    exp_type: body.u32("table property exp_type")?,
                    data: body.rest().to_vec(),
                }
            }
            kind => Self::Unknown {
                kind,
                body: body.rest().to_vec(),
            },
        };
        body.finish("table property")?;
        r.skip(len.next_multiple_of(8) - len, "table property padding")?;
        Ok(property)
    }

    fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin_tlv(self.kind().0);
        match self {
            Self::Instructions { ids, .. } => write_ids(ids, w),
            Self::NextTables { tables, .. } => tables.iter().for_each(|table| table.write(w)),
            Self::WriteActions { ids, .. } | Self::ApplyActions { ids, .. } => write_ids(ids, w),
            Self::Match(ids)
            | Self::Wildcards(ids)
            | Self::WriteSetField { ids, .. }
            | Self::ApplySetField { ids, .. } => ids.iter().for_each(|id| id.write(w)),
            Self::Experimenter {
                experimenter,
                exp_type,
                data,
                ..
            } => {
                w.u32(*experimenter);
                w.u32(*exp_type);
                w.bytes(data);
            }
            Self::Unknown { body, .. } => w.bytes(body),
        }
        w.end(mark);
        w.pad8(mark);
    }

    /// Kind of the property on the wire.
    #[must_use]
    pub fn kind(&self) -> TablePropertyType {
        let (hit, missed, miss) = match self {
            Self::Instructions { miss, .. } => (
                TablePropertyType::INSTRUCTIONS,
                TablePropertyType::INSTRUCTIONS_MISS,
                miss,
            ),
            Self::NextTables { miss, .. } => (
                TablePropertyType::NEXT_TABLES,
                TablePropertyType::NEXT_TABLES_MISS,
                miss,
            ),
            Self::WriteActions { miss, .. } => (
                TablePropertyType::WRITE_ACTIONS,
                TablePropertyType::WRITE_ACTIONS_MISS,
                miss,
            ),
            Self::ApplyActions { miss, .. } => (
                TablePropertyType::APPLY_ACTIONS,
                TablePropertyType::APPLY_ACTIONS_MISS,
                miss,
            ),
            Self::WriteSetField { miss, .. } => (
                TablePropertyType::WRITE_SETFIELD,
                TablePropertyType::WRITE_SETFIELD_MISS,
                miss,
            ),
            Self::ApplySetField { miss, .. } => (
                TablePropertyType::APPLY_SETFIELD,
                TablePropertyType::APPLY_SETFIELD_MISS,
                miss,
            ),
            Self::Experimenter { miss, .. } => (
                TablePropertyType::EXPERIMENTER,
                TablePropertyType::EXPERIMENTER_MISS,
                miss,
            ),
            Self::Match(_) => return TablePropertyType::MATCH,
            Self::Wildcards(_) => return TablePropertyType::WILDCARDS,
            Self::Unknown { kind, .. } => return *kind,
        };
        if *miss { missed } else { hit }
    }
}

/// What a table can do, or is asked to be made to do, `ofp_table_features`: 64 bytes and its
/// properties. Open vSwitch tells 254 tables in 20 parts, 1.24 MB in all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableFeatures {
    /// Which table.
    pub table_id: TableId,
    /// Its name, at most 32 bytes on the wire.
    pub name: String,
    /// Bits of the metadata it can match.
    pub metadata_match: u64,
    /// Bits of the metadata it can write.
    pub metadata_write: u64,
    /// How it behaves.
    pub config: TableConfig,
    /// How many entries it has room for.
    pub max_entries: u32,
    /// What else it can do.
    pub properties: Vec<TableProperty>,
}

impl TableFeatures {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut body = r.counted(0, "table_features")?;
        let r = &mut body;
        let table_id = Wire::read(r, "table_id")?;
        r.skip(5, "table_features padding")?;
        Ok(Self {
            table_id,
            name: read_name::<32>(r, "table name")?,
            metadata_match: r.u64("metadata_match")?,
            metadata_write: r.u64("metadata_write")?,
            config: TableConfig(r.u32("table config")?),
            max_entries: r.u32("max_entries")?,
            properties: r.list(TableProperty::read)?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin(0);
        self.table_id.write(w);
        w.zeros(5);
        write_name::<32>(w, &self.name);
        w.u64(self.metadata_match);
        w.u64(self.metadata_write);
        w.u32(self.config.0);
        w.u32(self.max_entries);
        self.properties
            .iter()
            .for_each(|property| property.write(w));
        w.end(mark);
    }
}
