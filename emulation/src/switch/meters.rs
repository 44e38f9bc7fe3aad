//! Meters: token buckets over virtual time, as Open vSwitch's userspace data path has them.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_openflow::{
    BandStats, BandType, ErrorCode, MeterBand, MeterCapabilities, MeterCommand, MeterConfig,
    MeterFeatures, MeterFlags, MeterId, MeterMod, MeterStats,
};

use super::clock::split;

/// Bands a meter may have.
const MAX_BANDS: u8 = 8;

/// Every meter of a switch.
#[derive(Clone, Debug, Default)]
pub(super) struct Meters {
    meters: BTreeMap<MeterId, Meter>,
}

#[derive(Clone, Debug)]
struct Meter {
    config: MeterConfig,
    created_at: Duration,
    used_at: Duration,
    packets: u64,
    bytes: u64,
    bands: Vec<Band>,
}

#[derive(Clone, Debug)]
struct Band {
    /// kbit/s or packets/s: bits, or thousandths of a packet, per millisecond.
    rate: u64,
    /// Bits, or thousandths of a packet.
    depth: u64,
    level: u64,
    stats: BandStats,
}

impl Meters {
    /// Does what a meter-mod asks. The ids returned are of meters that went: their flow entries go
    /// with them.
    pub(super) fn apply(
        &mut self,
        wanted: &MeterMod,
        max_meters: u32,
        now: Duration,
    ) -> Result<Vec<MeterId>, ErrorCode> {
        let id = wanted.meter_id;
        match wanted.command {
            MeterCommand::ADD | MeterCommand::MODIFY => {}
            MeterCommand::DELETE if id == MeterId::ALL => {
                return Ok(std::mem::take(&mut self.meters).into_keys().collect());
            }
            MeterCommand::DELETE => {
                return Ok(self.meters.remove(&id).map(|_| id).into_iter().collect());
            }
            _ => return Err(ErrorCode::METER_BAD_COMMAND),
        }
        check_shape(wanted)?;
        let exists = self.meters.contains_key(&id);
        match (wanted.command, exists) {
            (MeterCommand::ADD, true) => return Err(ErrorCode::METER_EXISTS),
            (MeterCommand::MODIFY, false) => return Err(ErrorCode::UNKNOWN_METER),
            _ => {}
        }
        check_support(wanted)?;
        if !exists && self.meters.len() >= usize::try_from(max_meters).unwrap_or(usize::MAX) {
            return Err(ErrorCode::OUT_OF_METERS);
        }
        let mut meter = Meter::new(wanted, now);
        if let Some(old) = self.meters.get(&id) {
            meter.created_at = old.created_at;
        }
        self.meters.insert(id, meter);
        Ok(Vec::new())
    }

    pub(super) fn contains(&self, id: MeterId) -> bool {
        self.meters.contains_key(&id)
    }

    /// By number.
    pub(super) fn all(&self) -> impl Iterator<Item = &MeterConfig> {
        self.meters.values().map(|meter| &meter.config)
    }

    pub(super) fn clear(&mut self) {
        self.meters.clear();
    }

    /// Sends a packet through a meter; `false` if it drops it. A meter that does not exist lets
    /// everything through.
    pub(super) fn pass(&mut self, id: MeterId, frame_bytes: usize, now: Duration) -> bool {
        self.meters
            .get_mut(&id)
            .is_none_or(|meter| meter.pass(frame_bytes, now))
    }

    /// One meter, or all.
    ///
    /// # Errors
    /// `UNKNOWN_METER` for one that does not exist.
    fn select(&self, id: MeterId) -> Result<Vec<&Meter>, ErrorCode> {
        if id == MeterId::ALL {
            return Ok(self.meters.values().collect());
        }
        let meter = self.meters.get(&id).ok_or(ErrorCode::UNKNOWN_METER)?;
        Ok(vec![meter])
    }

    pub(super) fn configs(&self, id: MeterId) -> Result<Vec<MeterConfig>, ErrorCode> {
        let selected = self.select(id)?;
        Ok(selected.iter().map(|meter| meter.config.clone()).collect())
    }

    /// Counters; `users` says how many flow entries use a meter.
    pub(super) fn stats(
        &self,
        id: MeterId,
        now: Duration,
        users: impl Fn(MeterId) -> u32,
    ) -> Result<Vec<MeterStats>, ErrorCode> {
        let stats = |meter: &&Meter| {
            let (duration_sec, duration_nsec) = split(now.saturating_sub(meter.created_at));
            MeterStats {
                meter_id: meter.config.meter_id,
                flow_count: users(meter.config.meter_id),
                packet_in_count: meter.packets,
                byte_in_count: meter.bytes,
                duration_sec,
                duration_nsec,
                bands: meter.bands.iter().map(|band| band.stats).collect(),
            }
        };
        Ok(self.select(id)?.iter().map(stats).collect())
    }

    pub(super) fn features(max_meter: u32) -> MeterFeatures {
        MeterFeatures {
            max_meter,
            band_types: 1 << BandType::DROP.0,
            capabilities: MeterCapabilities::KBPS
                | MeterCapabilities::PKTPS
                | MeterCapabilities::BURST
                | MeterCapabilities::STATS,
            max_bands: MAX_BANDS,
            max_color: 0,
        }
    }
}

/// What is refused whatever meters there are, in the order in which Open vSwitch looks.
fn check_shape(wanted: &MeterMod) -> Result<(), ErrorCode> {
    if wanted.flags.contains(MeterFlags::KBPS | MeterFlags::PKTPS) {
        return Err(ErrorCode::METER_BAD_FLAGS);
    }
    if wanted
        .bands
        .iter()
        .any(|band| !matches!(band, MeterBand::Drop { .. } | MeterBand::DscpRemark { .. }))
    {
        return Err(ErrorCode::METER_BAD_BAND);
    }
    let id = wanted.meter_id;
    let reserved = matches!(id, MeterId::SLOWPATH | MeterId::CONTROLLER);
    if id.0 == 0 || id > MeterId::MAX && !reserved {
        return Err(ErrorCode::INVALID_METER);
    }
    if wanted.bands.len() > usize::from(MAX_BANDS) {
        return Err(ErrorCode::OUT_OF_BANDS);
    }
    Ok(())
}

/// What the data path cannot do.
fn check_support(wanted: &MeterMod) -> Result<(), ErrorCode> {
    if wanted.bands.is_empty() {
        // A meter that limits nothing is none.
        return Err(ErrorCode::OUT_OF_BANDS);
    }
    let known = MeterFlags::KBPS | MeterFlags::PKTPS | MeterFlags::BURST | MeterFlags::STATS;
    if !known.contains(wanted.flags) {
        return Err(ErrorCode::METER_BAD_FLAGS);
    }
    let drops = |band: &MeterBand| matches!(band, MeterBand::Drop { .. });
    if !wanted.bands.iter().all(drops) {
        return Err(ErrorCode::METER_BAD_BAND);
    }
    Ok(())
}

impl Meter {
    fn new(wanted: &MeterMod, now: Duration) -> Self {
        let bands = wanted.bands.iter().map(|band| {
            let (rate, burst) = match band {
                MeterBand::Drop { rate, burst } | MeterBand::DscpRemark { rate, burst, .. } => {
                    (u64::from(*rate), u64::from(*burst))
                }
                _ => (0, 0),
            };
            let depth = if burst == 0 { rate } else { burst } * 1_000;
            Band {
                rate,
                depth,
                level: depth,
                stats: BandStats::default(),
            }
        });
        Self {
            config: MeterConfig {
                flags: wanted.flags,
                meter_id: wanted.meter_id,
                bands: wanted.bands.clone(),
            },
            created_at: now,
            used_at: now,
            packets: 0,
            bytes: 0,
            bands: bands.collect(),
        }
    }

    /// Every band is refilled and drained; of those exceeded, the one of the highest rate acts.
    fn pass(&mut self, frame_bytes: usize, now: Duration) -> bool {
        let bytes = u64::try_from(frame_bytes).unwrap_or(u64::MAX);
        let elapsed = now.as_millis().saturating_sub(self.used_at.as_millis());
        let elapsed_ms = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.used_at = now;
        self.packets += 1;
        self.bytes += bytes;
        let volume = if self.config.flags.contains(MeterFlags::PKTPS) {
            1_000
        } else {
            bytes.saturating_mul(8)
        };
        let mut exceeded: Option<&mut Band> = None;
        for band in &mut self.bands {
            let refill = elapsed_ms.saturating_mul(band.rate);
            band.level = band.level.saturating_add(refill).min(band.depth);
            match band.level.checked_sub(volume) {
                Some(left) => band.level = left,
                None if exceeded.as_ref().is_none_or(|other| other.rate < band.rate) => {
                    exceeded = Some(band);
                }
                None => {}
            }
        }
        if let Some(band) = exceeded {
            band.stats.packet_count += 1;
            band.stats.byte_count += bytes;
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_meter_lets_its_burst_through_and_then_its_rate() {
        let mut meters = Meters::default();
        let add = MeterMod::add_kbps(MeterId(1), 80, 8); // 10 packets/s of 1000 bytes, 1 at once
        meters.apply(&add, 10, Duration::ZERO).unwrap();
        let passed = (0..1_000_u64)
            .filter(|ms| meters.pass(MeterId(1), 1_000, Duration::from_millis(*ms)))
            .count();
        assert_eq!(passed, 10);
        let stats = meters.stats(MeterId(1), SECOND, |_| 0).unwrap();
        assert_eq!(stats[0].packet_in_count, 1_000);
        assert_eq!(stats[0].bands[0].packet_count, 990);
    }

    #[test]
    fn a_meter_of_packets_counts_packets_whatever_their_size() {
        let mut meters = Meters::default();
        let add = MeterMod {
            flags: MeterFlags::PKTPS | MeterFlags::BURST,
            ..MeterMod::add_kbps(MeterId(1), 5, 2)
        };
        meters.apply(&add, 10, Duration::ZERO).unwrap();
        let at_once = [60, 1_500, 9_000].map(|len| meters.pass(MeterId(1), len, Duration::ZERO));
        assert_eq!(at_once, [true, true, false]);
        assert!(meters.pass(MeterId(1), 60, Duration::from_millis(200)));
    }

    #[test]
    fn there_are_no_more_meters_than_the_limit() {
        let mut meters = Meters::default();
        let add = |id| MeterMod::add_kbps(MeterId(id), 1, 1);
        meters.apply(&add(1), 1, Duration::ZERO).unwrap();
        let refused = meters.apply(&add(2), 1, Duration::ZERO);
        assert_eq!(refused, Err(ErrorCode::OUT_OF_METERS));
    }
}
