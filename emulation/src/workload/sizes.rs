//! How much a flow has to carry: fixed, from a published distribution, or from a file.
//!
//! A distribution is its cumulative function as points: so many bytes or fewer, in so many of a million flows. Between two
//! points it is a straight line, so a draw needs whole numbers alone, and is the same on every machine.

use crate::simulation::chance::Chance;

/// Of a million.
const ALL: u64 = 1_000_000;

/// Flow sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Always so many.
    Fixed(u64),
    /// By points of a cumulative distribution: bytes, and how many of a million flows have no more. Rising in both.
    Points(Vec<(u64, u64)>),
}

/// Flows of a cluster that answers web searches: M. Alizadeh et al., "Data Center TCP (DCTCP)", SIGCOMM 2010, figure 4, by
/// the points of `DCTCP_CDF` in the traffic generator github.com/datacenter/empirical-traffic-gen.
const WEB_SEARCH: [(u64, u64); 12] = [
    (0, 0),
    (10_000, 150_000),
    (20_000, 200_000),
    (30_000, 300_000),
    (50_000, 400_000),
    (80_000, 530_000),
    (200_000, 600_000),
    (1_000_000, 700_000),
    (2_000_000, 800_000),
    (5_000_000, 900_000),
    (10_000_000, 970_000),
    (30_000_000, ALL),
];

/// Flows of a cluster that mines data: A. Greenberg et al., "VL2: A Scalable and Flexible Data Center Network", SIGCOMM 2009,
/// figure 2, by the points of `VL2_CDF` there.
const DATA_MINING: [(u64, u64); 13] = [
    (0, 0),
    (180, 100_000),
    (216, 200_000),
    (560, 300_000),
    (900, 400_000),
    (1_100, 500_000),
    (1_870, 600_000),
    (3_160, 700_000),
    (10_000, 800_000),
    (400_000, 900_000),
    (3_160_000, 950_000),
    (100_000_000, 980_000),
    (1_000_000_000, ALL),
];

impl Sizes {
    /// A published distribution.
    #[must_use]
    pub fn published(name: &str) -> Option<Self> {
        match name {
            "web-search" => Some(Self::Points(WEB_SEARCH.to_vec())),
            "data-mining" => Some(Self::Points(DATA_MINING.to_vec())),
            _ => None,
        }
    }

    /// Reads points from text: a line each, bytes and per cent with up to four digits behind the point, `#` begins a remark.
    ///
    /// # Errors
    /// Every line that is wrong, or why they are no distribution together.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        let (mut points, mut problems) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let mut words = line.split([' ', '\t', ',']).filter(|it| !it.is_empty());
            let point = match (words.next(), words.next(), words.next()) {
                (Some(bytes), Some(percent), None) => bytes.parse().ok().zip(millionths(percent)),
                _ => None,
            };
            match point {
                Some(point) => points.push(point),
                None => problems.push(format!(
                    "line {number}: {line:?} is not bytes and per cent, such as 10000 15.5"
                )),
            }
        }
        if problems.is_empty() {
            let rises = points
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
            if !rises {
                problems.push("bytes have to rise, and per cents must not fall".to_owned());
            }
            if points
                .last()
                .is_none_or(|last| last.1 != ALL || last.0 == 0)
            {
                problems.push("the last line has to say 100 per cent".to_owned());
            }
        }
        if problems.is_empty() {
            Ok(Self::Points(points))
        } else {
            Err(problems)
        }
    }

    /// One flow, of at least one byte; between points rounded down.
    pub fn draw(&self, chance: &mut Chance) -> u64 {
        match self {
            Self::Fixed(bytes) => (*bytes).max(1),
            Self::Points(points) => at(points, chance.between(0, ALL)).max(1),
        }
    }
}

/// The size that so many of a million flows do not exceed.
fn at(points: &[(u64, u64)], share: u64) -> u64 {
    let mut before = (0, 0);
    for point in points {
        if share < point.1 {
            let (rise, width) = (point.0 - before.0, point.1 - before.1);
            let part = u128::from(rise) * u128::from(share - before.1) / u128::from(width);
            // Not above `rise`, which is one.
            return before.0 + u64::try_from(part).unwrap_or(rise);
        }
        before = *point;
    }
    before.0
}

/// `15.25` per cent are 152 500 of a million.
fn millionths(percent: &str) -> Option<u64> {
    let (whole, rest) = percent.split_once('.').unwrap_or((percent, ""));
    if rest.len() > 4 || !rest.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let rest: u64 = format!("{rest:0<4}").parse().ok()?;
    let all = whole.checked_mul(10_000)?.checked_add(rest)?;
    (all <= ALL).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_quantiles_of_their_distribution() {
        for name in ["web-search", "data-mining"] {
            let sizes = Sizes::published(name).expect("it is published");
            let Sizes::Points(points) = &sizes else {
                panic!("points")
            };
            let mut chance = Chance::new(5);
            let mut drawn: Vec<u64> = (0..100_000).map(|_| sizes.draw(&mut chance)).collect();
            drawn.sort_unstable();
            for (bytes, share) in points {
                let below = drawn.partition_point(|it| it < bytes);
                let off = (below as f64 / 100_000.0 - *share as f64 / 1e6).abs();
                assert!(off < 0.006, "{name}: {bytes} bytes, off by {off}");
            }
        }
        assert_eq!(Sizes::published("websearch"), None);
    }

    #[test]
    fn between_points_it_is_a_line_rounded_down() {
        let points = [(100, 500_000), (201, ALL)];
        assert_eq!(at(&points, 0), 0);
        assert_eq!(at(&points, 499_999), 99);
        assert_eq!(at(&points, 500_000), 100);
        assert_eq!(at(&points, 750_000), 150);
        assert_eq!(at(&points, ALL - 1), 200);
    }

    #[test]
    fn a_file_is_read_exactly_and_all_that_is_wrong_with_it_is_told() {
        let read = Sizes::read("# measured\n1000 0\n 2000, 12.5\n30000\t100\n");
        assert_eq!(
            read,
            Ok(Sizes::Points(vec![
                (1_000, 0),
                (2_000, 125_000),
                (30_000, ALL)
            ]))
        );
        let wrong = Sizes::read("10 x\n20 101\n30 1.23456\n").expect_err("wrong");
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        let falls = Sizes::read("10 50\n5 60\n").expect_err("falls");
        assert_eq!(falls.len(), 2, "{falls:?}");
    }
}
