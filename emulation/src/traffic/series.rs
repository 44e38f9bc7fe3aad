//! Packets and bytes over time, in buckets of equal width that begin at whole multiples of it since the Unix epoch, so that
//! the series of different programs lie on each other.

use serde::{Deserialize, Serialize};

/// A series longer than this is cut off, so that a wrong clock cannot exhaust memory.
const MAX_BUCKETS: usize = 100_000;

/// Counts per bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Width of a bucket in milliseconds.
    pub bucket_ms: u64,
    /// Begin of the first bucket, Unix time in milliseconds; zero while nothing was counted.
    pub start_unix_ms: u64,
    /// Packets in each bucket.
    pub packets: Vec<u64>,
    /// Frame bytes in each bucket; payload bytes for TCP.
    pub bytes: Vec<u64>,
}

impl Series {
    /// An empty series; a width of zero counts as one.
    #[must_use]
    pub fn new(bucket_ms: u64) -> Self {
        Self {
            bucket_ms: bucket_ms.max(1),
            ..Self::default()
        }
    }

    /// Counts one packet. What lies before the first bucket is counted in the first.
    pub fn add(&mut self, unix_ns: u64, bytes: u64) {
        let bucket = unix_ns / 1_000_000 / self.bucket_ms.max(1);
        if self.packets.is_empty() {
            self.start_unix_ms = bucket * self.bucket_ms.max(1);
        }
        let first = self.start_unix_ms / self.bucket_ms.max(1);
        let Ok(index) = usize::try_from(bucket.saturating_sub(first)) else {
            return;
        };
        if index >= MAX_BUCKETS {
            return;
        }
        if index >= self.packets.len() {
            self.packets.resize(index + 1, 0);
            self.bytes.resize(index + 1, 0);
        }
        if let (Some(packets), Some(total)) =
            (self.packets.get_mut(index), self.bytes.get_mut(index))
        {
            *packets += 1;
            *total += bytes;
        }
    }

    /// Adds what another series of the same width counted; one of another width is left out.
    pub fn merge(&mut self, other: &Self) {
        if other.packets.is_empty() || other.bucket_ms != self.bucket_ms {
            return;
        }
        if self.packets.is_empty() {
            *self = other.clone();
            return;
        }
        let width = self.bucket_ms.max(1);
        let index = |of: u64, from: u64| usize::try_from((of - from) / width).unwrap_or(usize::MAX);
        if other.start_unix_ms < self.start_unix_ms {
            let missing = index(self.start_unix_ms, other.start_unix_ms).min(MAX_BUCKETS);
            self.packets.splice(0..0, std::iter::repeat_n(0, missing));
            self.bytes.splice(0..0, std::iter::repeat_n(0, missing));
            self.start_unix_ms = other.start_unix_ms;
        }
        let first = index(other.start_unix_ms, self.start_unix_ms).min(MAX_BUCKETS);
        let end = first
            .saturating_add(other.packets.len())
            .clamp(self.packets.len(), MAX_BUCKETS.max(self.packets.len()));
        self.packets.resize(end, 0);
        self.bytes.resize(end, 0);
        let counts = self.packets.iter_mut().zip(&mut self.bytes).skip(first);
        for ((packets, bytes), (more_packets, more_bytes)) in
            counts.zip(other.packets.iter().zip(&other.bytes))
        {
            *packets += more_packets;
            *bytes += more_bytes;
        }
    }

    /// Bits per second in each bucket, with the bucket's begin in Unix milliseconds.
    pub fn rates_bps(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let width = self.bucket_ms.max(1);
        let starts = (0_u64..).map(move |index| self.start_unix_ms + index * width);
        starts.zip(self.bytes.iter().map(move |bytes| bytes * 8_000 / width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_several_flows_add_up_wherever_they_begin() {
        let add = |times: &[u64]| {
            let mut series = Series::new(100);
            times.iter().for_each(|ms| series.add(ms * 1_000_000, 10));
            series
        };
        let (early, late) = (add(&[1_000, 1_050, 1_300]), add(&[1_210, 1_620]));
        let whole = add(&[1_000, 1_050, 1_210, 1_300, 1_620]);
        for (mut first, second) in [(early.clone(), late.clone()), (late, early)] {
            first.merge(&second);
            assert_eq!(first, whole);
        }
    }

    #[test]
    fn buckets_begin_at_multiples_of_their_width() {
        let mut series = Series::new(100);
        series.add(1_234_567_000_000, 1_000);
        series.add(1_234_599_999_999, 500);
        series.add(1_234_800_000_000, 2_500);
        assert_eq!(series.start_unix_ms, 1_234_500);
        assert_eq!(series.packets, [2, 0, 0, 1]);
        let rates: Vec<_> = series.rates_bps().collect();
        assert_eq!(
            rates,
            [
                (1_234_500, 120_000),
                (1_234_600, 0),
                (1_234_700, 0),
                (1_234_800, 200_000)
            ]
        );
    }
}
