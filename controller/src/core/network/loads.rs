//! What ports have counted of late: for people and metrics. Nothing is decided by it.

use std::{collections::BTreeMap, time::Duration};

use payflow_qos::{BitRate, PortNo, PortRef, SwitchId, Time};
use rust_openflow::PortStats;

/// Readings closer together than this are not compared: what a switch tells may be half a second old.
const LEAST: Duration = Duration::from_secs(2);

/// What was read of every port, and what follows from the last two readings.
#[derive(Debug, Default)]
pub(super) struct Loads {
    ports: BTreeMap<PortRef, Load>,
}

#[derive(Clone, Copy, Debug)]
struct Load {
    /// Bytes sent, and when that was read.
    sent: u64,
    at: Time,
    rate: Option<BitRate>,
}

impl Loads {
    /// A switch has told its counters.
    pub(super) fn note(&mut self, switch: SwitchId, stats: &[PortStats], now: Time) {
        for stats in stats {
            // Not kept (OpenFlow 1.3.5, section 5.8), and ports that are none.
            if stats.tx_bytes == u64::MAX || !stats.port_no.is_physical() {
                continue;
            }
            let port = PortRef {
                switch,
                port: PortNo(stats.port_no.0),
            };
            let fresh = Load {
                sent: stats.tx_bytes,
                at: now,
                rate: None,
            };
            let load = self.ports.entry(port).or_insert(fresh);
            let passed = now.since(load.at);
            if passed < LEAST {
                continue;
            }
            // A counter that has begun anew says nothing of the time before.
            let rate = stats
                .tx_bytes
                .checked_sub(load.sent)
                .map(|bytes| BitRate(bits_per_second(bytes, passed)));
            *load = Load { rate, ..fresh };
        }
    }

    /// The switch is gone: what it counted is of another time.
    pub(super) fn forget(&mut self, switch: SwitchId) {
        self.ports.retain(|port, _| port.switch != switch);
    }

    /// Frame bits per second that left a port between the last two readings.
    pub(super) fn of(&self, port: PortRef) -> Option<BitRate> {
        self.ports.get(&port)?.rate
    }
}

/// Rounds down.
fn bits_per_second(bytes: u64, passed: Duration) -> u64 {
    let bits = u128::from(bytes) * 8_000;
    u64::try_from(bits / passed.as_millis().max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SWITCH: SwitchId = SwitchId(1);
    const PORT: PortRef = PortRef {
        switch: SWITCH,
        port: PortNo(2),
    };

    fn sent(tx_bytes: u64) -> PortStats {
        PortStats {
            port_no: rust_openflow::PortNo(2),
            rx_packets: 0,
            tx_packets: 0,
            rx_bytes: 0,
            tx_bytes,
            rx_dropped: 0,
            tx_dropped: 0,
            rx_errors: 0,
            tx_errors: 0,
            rx_frame_err: 0,
            rx_over_err: 0,
            rx_crc_err: 0,
            collisions: 0,
            duration_sec: 0,
            duration_nsec: 0,
        }
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn two_readings_make_a_rate_and_one_makes_none() {
        let mut loads = Loads::default();
        loads.note(SWITCH, &[sent(1_000)], at(0));
        assert_eq!(loads.of(PORT), None);
        loads.note(SWITCH, &[sent(1_000 + 6_250_000)], at(5_000));
        assert_eq!(loads.of(PORT), Some(BitRate(10_000_000)));
        loads.note(SWITCH, &[sent(1_000 + 6_250_000)], at(10_000));
        assert_eq!(loads.of(PORT), Some(BitRate(0)));
    }

    #[test]
    fn readings_too_close_together_wait_for_a_later_one() {
        let mut loads = Loads::default();
        loads.note(SWITCH, &[sent(0)], at(0));
        loads.note(SWITCH, &[sent(5_000_000)], at(500));
        assert_eq!(loads.of(PORT), None);
        loads.note(SWITCH, &[sent(5_000_000)], at(4_000));
        assert_eq!(loads.of(PORT), Some(BitRate(10_000_000)));
    }

    #[test]
    fn a_counter_that_begins_anew_or_is_not_kept_is_no_load() {
        let mut loads = Loads::default();
        loads.note(SWITCH, &[sent(u64::MAX)], at(0));
        loads.note(SWITCH, &[sent(9_000_000)], at(5_000));
        loads.note(SWITCH, &[sent(1_000)], at(10_000));
        assert_eq!(loads.of(PORT), None);
        loads.note(SWITCH, &[sent(2_250)], at(15_000));
        assert_eq!(loads.of(PORT), Some(BitRate(2_000)));
        loads.forget(SWITCH);
        assert_eq!(loads.of(PORT), None);
    }
}
