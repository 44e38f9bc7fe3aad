//! Capacities in labels for people, as maps of networks have them.

use super::build::rate;
use payflow_qos::BitRate;

/// Optical Carrier level 1 (SONET, ANSI T1.105): 51.84 Mbit/s.
const OC_1: u64 = 51_840_000;
/// Synchronous Transport Module level 1 (SDH, ITU-T G.707): 155.52 Mbit/s.
const STM_1: u64 = 155_520_000;

/// The one speed that a whole label is: `10 Gbps`, `2.5Gb/s`, `155 Mbit/s`, `100M`, `OC-192c`, `STM-16`. `None` of anything else,
/// such as a range or several.
pub(super) fn capacity(label: &str) -> Option<BitRate> {
    let label = label.trim().to_ascii_lowercase();
    let level = |prefix: &str| {
        let rest = label.strip_prefix(prefix)?;
        let digits = rest.trim_start_matches(['-', ' ']);
        digits
            .strip_suffix('c')
            .unwrap_or(digits)
            .parse::<u32>()
            .ok()
    };
    if let Some(level) = level("oc") {
        return OC_1.checked_mul(level.into()).map(BitRate);
    }
    if let Some(level) = level("stm") {
        return STM_1.checked_mul(level.into()).map(BitRate);
    }
    let end = label.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = label.split_at(end);
    let number: f64 = number.parse().ok()?;
    rate(number, unit_of(unit.trim())?)
}

/// A unit of rates in bit/s.
pub(super) fn unit_of(name: &str) -> Option<u64> {
    let name = name.to_ascii_lowercase();
    let rest = name.trim_start_matches(['k', 'm', 'g', 't']);
    let prefix = &name[..name.len() - rest.len()];
    let factor = match prefix {
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "t" => 1_000_000_000_000,
        "" if !rest.is_empty() => 1,
        _ => return None,
    };
    let is_bits = [
        "",
        "b",
        "bps",
        "b/s",
        "bit",
        "bit/s",
        "bits",
        "bits/s",
        "bitpersec",
    ];
    is_bits.contains(&rest).then_some(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_is_one_speed_is_read_and_no_other() {
        for (label, bps) in [
            ("OC-192c", 9_953_280_000),
            ("OC3", 155_520_000),
            ("STM-16", 2_488_320_000),
            ("10 Gbps", 10_000_000_000),
            ("2.5Gb/s", 2_500_000_000),
            ("155 Mbit/s", 155_000_000),
            ("100M", 100_000_000),
            ("64 kbps", 64_000),
            ("1 MBITPERSEC", 1_000_000),
        ] {
            assert_eq!(capacity(label), Some(BitRate(bps)), "{label}");
        }
        for label in [
            "",
            "10",
            "Lit Fibre",
            "2.5-10 Gbps",
            "2x10 Gbps",
            "< 1 Gbps",
            "OC-",
            "10 GB/h",
            "é",
            "Completed",
            "1e3 kbps",
        ] {
            assert_eq!(capacity(label), None, "{label}");
        }
    }
}
