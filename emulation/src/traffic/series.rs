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
