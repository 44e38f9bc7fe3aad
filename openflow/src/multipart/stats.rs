//! The switch as a whole and its tables in numbers.

use crate::codec::{DecodeError, Reader, Wire, Writer, read_name, write_name};
use crate::instruction::TableId;

/// Maker, hardware and software of a switch, `ofp_desc`: 1056 bytes. Texts that are longer than
/// their fields (256 bytes, 32 for the serial number) are cut at a character.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwitchDesc {
    /// Who made it.
    pub manufacturer: String,
    /// What it is made of.
    pub hardware: String,
    /// What runs on it.
    pub software: String,
    /// Its serial number.
    pub serial_number: String,
    /// What its operator calls it.
    pub datapath: String,
}

impl SwitchDesc {
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            manufacturer: read_name::<256>(r, "mfr_desc")?,
            hardware: read_name::<256>(r, "hw_desc")?,
            software: read_name::<256>(r, "sw_desc")?,
            serial_number: read_name::<32>(r, "serial_num")?,
            datapath: read_name::<256>(r, "dp_desc")?,
        })
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        write_name::<256>(w, &self.manufacturer);
        write_name::<256>(w, &self.hardware);
        write_name::<256>(w, &self.software);
        write_name::<32>(w, &self.serial_number);
        write_name::<256>(w, &self.datapath);
    }
}

/// Sums over flow entries, `ofp_aggregate_stats_reply`: 24 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AggregateStats {
    /// Packets that matched.
    pub packet_count: u64,
    /// Bytes of them, whole frames.
    pub byte_count: u64,
    /// How many entries.
    pub flow_count: u32,
}

impl AggregateStats {
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let stats = Self {
            packet_count: r.u64("packet_count")?,
            byte_count: r.u64("byte_count")?,
            flow_count: r.u32("flow_count")?,
        };
        r.skip(4, "aggregate_stats padding")?;
        Ok(stats)
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.u64(self.packet_count);
        w.u64(self.byte_count);
        w.u32(self.flow_count);
        w.zeros(4);
    }
}

/// Counters of a flow table, `ofp_table_stats`: 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableStats {
    /// Which table.
    pub table_id: TableId,
    /// Entries in it.
    pub active_count: u32,
    /// Packets looked up.
    pub lookup_count: u64,
    /// Packets some entry took.
    pub matched_count: u64,
}

impl TableStats {
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table_id = Wire::read(r, "table_id")?;
        r.skip(3, "table_stats padding")?;
        Ok(Self {
            table_id,
            active_count: r.u32("active_count")?,
            lookup_count: r.u64("lookup_count")?,
            matched_count: r.u64("matched_count")?,
        })
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        self.table_id.write(w);
        w.zeros(3);
        w.u32(self.active_count);
        w.u64(self.lookup_count);
        w.u64(self.matched_count);
    }
}
