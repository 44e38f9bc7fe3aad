//! Meters: rate limits that flow entries send packets through.

use crate::code_points::{wire_enum, wire_flags};
use crate::codec::{DecodeError, Reader, Wire, Writer};

wire_enum! {
    /// Number of a meter, `enum ofp_meter`.
    pub struct MeterId(u32) {
        /// Highest number of a real meter.
        MAX = 0xffff_0000;
        /// The meter of packets that the switch treats in software.
        SLOWPATH = 0xffff_fffd;
        /// The meter of packets to the controller.
        CONTROLLER = 0xffff_fffe;
        /// All meters, in requests and deletions.
        ALL = 0xffff_ffff;
    }
}

wire_enum! {
    /// What to do with a meter, `enum ofp_meter_mod_command`.
    pub struct MeterCommand(u16) {
        /// Fails with `METER_EXISTS` if there is one of that number.
        ADD = 0;
        /// Fails with `UNKNOWN_METER` if there is none.
        MODIFY = 1;
        /// Takes every flow entry that uses the meter with it; silent if there is none.
        DELETE = 2;
    }
}

wire_flags! {
    /// How a meter counts, `enum ofp_meter_flags`.
    pub struct MeterFlags(u16) {
        /// Rates in kbit/s of whole frames.
        KBPS = 1 << 0;
        /// Rates in packets/s.
        PKTPS = 1 << 1;
        /// The burst sizes count.
        BURST = 1 << 2;
        /// Keep counters.
        STATS = 1 << 3;
    }
}

wire_enum! {
    /// Kind of a meter band, `enum ofp_meter_band_type`.
    pub struct BandType(u16) {
        /// Packets above the rate are lost.
        DROP = 1;
        /// Packets above the rate get a higher drop precedence.
        DSCP_REMARK = 2;
        /// A vendor's band.
        EXPERIMENTER = 0xffff;
    }
}

/// What happens above a rate, `ofp_meter_band_header` and what follows it: 16 bytes. Rates are in
/// kbit/s or packets/s, bursts in kbit or packets, as the meter's flags say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MeterBand {
    /// Packets above the rate are lost. The only band Open vSwitch has.
    Drop {
        /// Above this rate.
        rate: u32,
        /// Tolerated burst; counts only with [`MeterFlags::BURST`].
        burst: u32,
    },
    /// Packets above the rate get a higher drop precedence in their DSCP.
    DscpRemark {
        /// Above this rate.
        rate: u32,
        /// Tolerated burst; counts only with [`MeterFlags::BURST`].
        burst: u32,
        /// How many steps of drop precedence to add.
        prec_level: u8,
    },
    /// A vendor's band, `ofp_meter_band_experimenter`. What it carries is kept as it came.
    Experimenter {
        /// Above this rate.
        rate: u32,
        /// Tolerated burst; counts only with [`MeterFlags::BURST`].
        burst: u32,
        /// Which vendor.
        experimenter: u32,
        /// What follows the vendor's id.
        data: Vec<u8>,
    },
    /// Any other band, kept as it came.
    Unknown {
        /// Kind of the band.
        kind: BandType,
        /// What follows type and length.
        body: Vec<u8>,
    },
}

impl MeterBand {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, mut body) = r.tlv("meter_band")?;
        let band = match BandType(kind) {
            BandType::DROP => {
                let (rate, burst) = (body.u32("band rate")?, body.u32("band burst_size")?);
                body.skip(4, "band padding")?;
                Self::Drop { rate, burst }
            }
            BandType::DSCP_REMARK => {
                let (rate, burst) = (body.u32("band rate")?, body.u32("band burst_size")?);
                let prec_level = body.u8("band prec_level")?;
                body.skip(3, "band padding")?;
                Self::DscpRemark {
                    rate,
                    burst,
                    prec_level,
                }
            }
            BandType::EXPERIMENTER => Self::Experimenter {
                rate: body.u32("band rate")?,
                burst: body.u32("band burst_size")?,
                experimenter: body.u32("band experimenter")?,
                data: body.rest().to_vec(),
            },
            kind => Self::Unknown {
                kind,
                body: body.rest().to_vec(),
            },
        };
        body.finish("meter_band").map(|()| band)
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin_tlv(self.kind().0);
        match self {
            Self::Drop { rate, burst } => {
                w.u32(*rate);
                w.u32(*burst);
                w.zeros(4);
            }
            Self::DscpRemark {
                rate,
                burst,
                prec_level,
            } => {
                w.u32(*rate);
                w.u32(*burst);
                w.u8(*prec_level);
                w.zeros(3);
            }
            Self::Experimenter {
                rate,
                burst,
                experimenter,
                data,
            } => {
                w.u32(*rate);
                w.u32(*burst);
                w.u32(*experimenter);
                w.bytes(data);
            }
            Self::Unknown { body, .. } => w.bytes(body),
        }
        w.end(mark);
    }

    /// Kind of the band on the wire.
    #[must_use]
    pub fn kind(&self) -> BandType {
        match self {
            Self::Drop { .. } => BandType::DROP,
            Self::DscpRemark { .. } => BandType::DSCP_REMARK,
            Self::Experimenter { .. } => BandType::EXPERIMENTER,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}

/// Adds, changes or removes a meter, `ofp_meter_mod`: 16 bytes, header included, and its bands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterMod {
    /// What to do.
    pub command: MeterCommand,
    /// How the meter counts.
    pub flags: MeterFlags,
    /// Which meter.
    pub meter_id: MeterId,
    /// What happens above which rate.
    pub bands: Vec<MeterBand>,
}

impl MeterMod {
    /// A new meter that drops what exceeds `rate_kbps`, bursts of `burst_kbit` tolerated, with
    /// counters.
    #[must_use]
    pub fn add_kbps(meter_id: MeterId, rate_kbps: u32, burst_kbit: u32) -> Self {
        Self {
            command: MeterCommand::ADD,
            flags: MeterFlags::KBPS | MeterFlags::BURST | MeterFlags::STATS,
            meter_id,
            bands: vec![MeterBand::Drop {
                rate: rate_kbps,
                burst: burst_kbit,
            }],
        }
    }

    /// Gives an existing meter another rate and burst, as [`Self::add_kbps`] does a new one.
    #[must_use]
    pub fn modify_kbps(meter_id: MeterId, rate_kbps: u32, burst_kbit: u32) -> Self {
        let command = MeterCommand::MODIFY;
        Self {
            command,
            ..Self::add_kbps(meter_id, rate_kbps, burst_kbit)
        }
    }

    /// Removes a meter, or all of them ([`MeterId::ALL`]), and every flow entry that uses it.
    #[must_use]
    pub fn delete(meter_id: MeterId) -> Self {
        let flags = MeterFlags::NONE;
        Self {
            command: MeterCommand::DELETE,
            flags,
            meter_id,
            bands: Vec::new(),
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            command: Wire::read(r, "meter_mod command")?,
            flags: MeterFlags(r.u16("meter_mod flags")?),
            meter_id: Wire::read(r, "meter_id")?,
            bands: r.list(MeterBand::read)?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.command.write(w);
        w.u16(self.flags.0);
        self.meter_id.write(w);
        self.bands.iter().for_each(|band| band.write(w));
    }
}

/// A meter as the switch has it, `ofp_meter_config`: 8 bytes and its bands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterConfig {
    /// How the meter counts.
    pub flags: MeterFlags,
    /// Which meter.
    pub meter_id: MeterId,
    /// What happens above which rate.
    pub bands: Vec<MeterBand>,
}

impl MeterConfig {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut body = r.counted(0, "meter_config")?;
        Ok(Self {
            flags: MeterFlags(body.u16("meter_config flags")?),
            meter_id: Wire::read(&mut body, "meter_id")?,
            bands: body.list(MeterBand::read)?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        let mark = w.begin(0);
        w.u16(self.flags.0);
        self.meter_id.write(w);
        self.bands.iter().for_each(|band| band.write(w));
        w.end(mark);
    }
}

/// What one band of a meter has acted on, `ofp_meter_band_stats`: 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BandStats {
    /// Packets the band acted on.
    pub packet_count: u64,
    /// Bytes the band acted on.
    pub byte_count: u64,
}

/// Counters of a meter, `ofp_meter_stats`: 40 bytes and 16 for each band.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterStats {
    /// Which meter.
    pub meter_id: MeterId,
    /// Flow entries that use it.
    pub flow_count: u32,
    /// Packets sent through it.
    pub packet_in_count: u64,
    /// Bytes sent through it.
    pub byte_in_count: u64,
    /// Whole seconds since it was made.
    pub duration_sec: u32,
    /// Nanoseconds beyond them.
    pub duration_nsec: u32,
    /// Counters of its bands, in their order.
    pub bands: Vec<BandStats>,
}

impl MeterStats {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let meter_id = Wire::read(r, "meter_id")?;
        let mut body = r.counted(4, "meter_stats")?;
        body.skip(6, "meter_stats padding")?;
        Ok(Self {
            meter_id,
            flow_count: body.u32("flow_count")?,
            packet_in_count: body.u64("packet_in_count")?,
            byte_in_count: body.u64("byte_in_count")?,
            duration_sec: body.u32("duration_sec")?,
            duration_nsec: body.u32("duration_nsec")?,
            bands: body.list(|r| {
                Ok(BandStats {
                    packet_count: r.u64("packet_band_count")?,
                    byte_count: r.u64("byte_band_count")?,
                })
            })?,
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        self.meter_id.write(w);
        let mark = w.begin(4);
        w.zeros(6);
        w.u32(self.flow_count);
        w.u64(self.packet_in_count);
        w.u64(self.byte_in_count);
        w.u32(self.duration_sec);
        w.u32(self.duration_nsec);
        for band in &self.bands {
            w.u64(band.packet_count);
            w.u64(band.byte_count);
        }
        w.end(mark);
    }
}

/// What meters a switch can have, `ofp_meter_features`: 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterFeatures {
    /// How many meters at once; 0 if the switch has none.
    pub max_meter: u32,
    /// Bit `1 << n` for each [`BandType`] `n`.
    pub band_types: u32,
    /// Flags the switch knows.
    pub capabilities: MeterCapabilities,
    /// Bands one meter may have.
    pub max_bands: u8,
    /// Number of drop precedences.
    pub max_color: u8,
}

wire_flags! {
    /// [`MeterFlags`] a switch knows, in the 32 bits of `ofp_meter_features`.
    pub struct MeterCapabilities(u32) {
        /// Rates in kbit/s.
        KBPS = 1 << 0;
        /// Rates in packets/s.
        PKTPS = 1 << 1;
        /// Burst sizes.
        BURST = 1 << 2;
        /// Counters.
        STATS = 1 << 3;
    }
}

impl MeterFeatures {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let features = Self {
            max_meter: r.u32("max_meter")?,
            band_types: r.u32("band_types")?,
            capabilities: MeterCapabilities(r.u32("capabilities")?),
            max_bands: r.u8("max_bands")?,
            max_color: r.u8("max_color")?,
        };
        r.skip(2, "meter_features padding")?;
        Ok(features)
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.max_meter);
        w.u32(self.band_types);
        w.u32(self.capabilities.0);
        w.u8(self.max_bands);
        w.u8(self.max_color);
        w.zeros(2);
    }
}
