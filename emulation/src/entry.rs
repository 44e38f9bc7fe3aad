//! What `ovs-ofctl` says is on a switch.

use anyhow::Context as _;

/// First number of the meters of reservations; below are those of ports.
const RESERVATION_METERS: u32 = 0x1_0000;

/// The meter of a reservation, modulo 2^30.
#[must_use]
pub fn meter_of(reservation: u64) -> u32 {
    RESERVATION_METERS + u32::try_from(reservation % (1 << 30)).unwrap_or_default()
}

/// One row of a flow table, as `ovs-ofctl dump-flows` writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The switch's name.
    pub switch: String,
    /// The table.
    pub table: u8,
    /// Priority and match.
    pub matching: String,
    /// Instructions.
    pub actions: String,
    /// Whose it is.
    pub cookie: u64,
    /// For how long the switch has had it, milliseconds.
    pub duration_ms: u64,
    /// When the switch removes it by itself, seconds after it came.
    pub hard_timeout_s: Option<u64>,
    /// Packets that met it.
    pub packets: u64,
}

impl Entry {
    /// The reservation in the cookie; 0 for entries that belong to none.
    #[must_use]
    pub fn reservation(&self) -> u64 {
        (self.cookie >> 16) & 0xff_ffff_ffff
    }

    /// Whether it belongs to a reservation.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.reservation() != 0
    }

    /// What it does, without counters and times: two switches in the same state say the same.
    #[must_use]
    pub fn rule(&self) -> String {
        format!(
            "{} cookie={:#x} table={} {} actions={}",
            self.switch, self.cookie, self.table, self.matching, self.actions
        )
    }
}

/// Reads `ovs-ofctl dump-flows`.
///
/// # Errors
/// When a line is not as expected.
pub fn entries(switch: &str, dump: &str) -> anyhow::Result<Vec<Entry>> {
    let lines = dump
        .lines()
        .filter(|line| line.trim_start().starts_with("cookie="));
    lines
        .map(|line| entry(switch, line.trim()).with_context(|| format!("the entry {line:?}")))
        .collect()
}

fn entry(switch: &str, line: &str) -> anyhow::Result<Entry> {
    let (head, actions) = line.split_once(" actions=").context("no actions")?;
    let mut entry = Entry {
        switch: switch.to_owned(),
        table: 0,
        matching: String::new(),
        actions: actions.to_owned(),
        cookie: 0,
        duration_ms: 0,
        hard_timeout_s: None,
        packets: 0,
    };
    let mut matching = Vec::new();
    for part in head.split([',', ' ']).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("cookie", value)) => {
                let digits = value.strip_prefix("0x").unwrap_or(value);
                entry.cookie = u64::from_str_radix(digits, 16)?;
            }
            Some(("duration", value)) => entry.duration_ms = millis(value)?,
            Some(("table", value)) => entry.table = value.parse()?,
            Some(("n_packets", value)) => entry.packets = value.parse()?,
            Some(("hard_timeout", value)) => entry.hard_timeout_s = Some(value.parse()?),
            Some(("n_bytes" | "idle_age" | "hard_age", _)) => {}
            None if part == "reset_counts" => {}
            Some(_) | None => matching.push(part),
        }
    }
    entry.matching = matching.join(",");
    Ok(entry)
}

/// `12.345s` in milliseconds.
fn millis(text: &str) -> anyhow::Result<u64> {
    let seconds: f64 = text.trim_end_matches('s').parse()?;
    Ok(u64::try_from(
        std::time::Duration::try_from_secs_f64(seconds)?.as_millis(),
    )?)
}

/// The meters of reservations in `ovs-ofctl dump-meters`.
pub fn paid_meters(dump: &str) -> impl Iterator<Item = u32> + '_ {
    dump.lines()
        .filter_map(|line| {
            line.trim_start()
                .strip_prefix("meter=")?
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .filter(|meter| *meter >= RESERVATION_METERS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_entry_is_read_in_all_its_parts() {
        let dump = "OFPST_FLOW reply (OF1.3) (xid=0x2):\n cookie=0x5000000000010000, duration=1.25s, table=0, n_packets=7, \
                    n_bytes=10094, hard_timeout=103, send_flow_rem reset_counts priority=40001,udp,in_port=1,\
                    nw_src=10.0.0.1 actions=meter:65537,set_queue:2,output:101\n";
        let [entry] = <[Entry; 1]>::try_from(entries("s1", dump).unwrap()).unwrap();
        assert_eq!(
            (
                entry.reservation(),
                entry.duration_ms,
                entry.packets,
                entry.hard_timeout_s
            ),
            (1, 1_250, 7, Some(103))
        );
        assert_eq!(
            entry.rule(),
            "s1 cookie=0x5000000000010000 table=0 send_flow_rem,priority=40001,udp,in_port=1,nw_src=10.0.0.1 \
             actions=meter:65537,set_queue:2,output:101"
        );
        assert!(entry.is_paid());
        let common = entries(
            "s1",
            " cookie=0x5000000000000000, duration=1s, table=1, n_packets=0, n_bytes=0, arp actions=drop",
        );
        assert!(!common.unwrap().iter().any(Entry::is_paid));
        assert!(entries("s1", " cookie=0xzz, duration=1s, table=1, arp actions=drop").is_err());
    }

    #[test]
    fn meters_of_reservations_are_told_from_those_of_ports() {
        let dump = "meter=357 pktps burst stats bands=\ntype=drop rate=1\n\nmeter=65537 kbps burst stats bands=\n";
        assert_eq!(paid_meters(dump).collect::<Vec<_>>(), [65_537]);
    }
}
