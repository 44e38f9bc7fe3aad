//! How often one host may ask: the generic cell rate algorithm, which is a token bucket that is kept as one time per host. Pure.

use std::{collections::HashMap, net::IpAddr, num::NonZeroU32, time::Duration};

/// What one host may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// All the time.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

/// What became of an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// So many more at once; `None` where this one was too many.
    pub(super) remaining: Option<u32>,
    /// How long to wait: until the next may be asked where this was too many, else until all of the burst is there again.
    pub(super) wait: Duration,
}

/// The buckets of all hosts. An empty one says no more than none at all, so only hosts that have asked a moment ago are kept.
#[derive(Debug)]
pub(super) struct Buckets {
    rate: Rate,
    /// When, after the beginning, everything that a host has asked is worked off, in nanoseconds.
    worked_off: HashMap<IpAddr, u64>,
    /// How many there may be before those that are worked off are dropped.
    sweep_at: usize,
    /// Not before this time, so that nobody makes every ask look at all buckets.
    sweep_after: u64,
}

impl Buckets {
    /// So many hosts are told apart at a time; whoever comes beyond shares one bucket with all the others.
    const MOST_HOSTS: usize = 65_536;
    /// Whose bucket that is: nobody has this address.
    const OTHERS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            worked_off: HashMap::new(),
            sweep_at: 1_024,
            sweep_after: 0,
        }
    }

    /// One more ask of a host, this long after the beginning.
    pub(super) fn take(&mut self, host: IpAddr, now: Duration) -> Verdict {
        let now = nanos(now);
        // Rounded up: never more than the rate. At least one, as there is no rate above 10^9.
        let each = 1_000_000_000_u64.div_ceil(u64::from(self.rate.per_second.get()));
        let whole = each.saturating_mul(u64::from(self.rate.burst.get()));
        let host = self.bucket(network_of(host), now);
        let before = self.worked_off.get(&host).copied().unwrap_or(0).max(now);
        let after = before.saturating_add(each);
        let owed = after - now;
        if owed > whole {
            return Verdict {
                remaining: None,
                wait: Duration::from_nanos(owed - whole),
            };
        }
        self.worked_off.insert(host, after);
        Verdict {
            remaining: u32::try_from((whole - owed) / each).ok(),
            wait: Duration::from_nanos(owed),
        }
    }

    /// What is allowed.
    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    fn bucket(&mut self, host: IpAddr, now: u64) -> IpAddr {
        if self.worked_off.len() >= self.sweep_at && now >= self.sweep_after {
            self.worked_off.retain(|_, worked_off| *worked_off > now);
            // Never above what there may be: else nothing would be dropped any more, and all new hosts share one bucket for ever.
            self.sweep_at = (self.worked_off.len() * 2).clamp(1_024, Self::MOST_HOSTS);
            self.sweep_after = now.saturating_add(1_000_000_000);
        }
        let full = self.worked_off.len() >= Self::MOST_HOSTS;
        if full && !self.worked_off.contains_key(&host) {
            Self::OTHERS
        } else {
            host
        }
    }
}

/// A host of IPv6 has a /64 to itself (RFC 6177), so that is what counts as one.
fn network_of(host: IpAddr) -> IpAddr {
    match host.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn buckets(per_second: u32, burst: u32) -> Buckets {
        Buckets::new(Rate {
            per_second: NonZeroU32::new(per_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        })
    }

    fn host(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn the_burst_is_there_at_once_and_comes_back_at_the_rate() {
        let mut buckets = buckets(10, 3);
        let now = Duration::from_secs(100);
        let left: Vec<_> = (0..4)
            .map(|_| buckets.take(host(1), now).remaining)
            .collect();
        assert_eq!(left, [Some(2), Some(1), Some(0), None]);
        assert_eq!(buckets.take(host(1), now).wait, Duration::from_millis(100));
        assert_eq!(
            buckets.take(host(2), now).remaining,
            Some(2),
            "hosts have nothing to do with one another"
        );
        let later = now + Duration::from_millis(100);
        assert_eq!(buckets.take(host(1), later).remaining, Some(0));
        assert_eq!(buckets.take(host(1), later).remaining, None);
        assert_eq!(
            buckets
                .take(host(1), later + Duration::from_secs(1))
                .remaining,
            Some(2)
        );
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_host_and_a_mapped_address_is_the_one_of_ipv4() {
        let mut buckets = buckets(1, 1);
        let now = Duration::ZERO;
        for (address, allowed) in [
            ("2001:db8::1", true),
            ("2001:db8::2", false),
            ("2001:db8:0:1::1", true),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", false),
        ] {
            let verdict = buckets.take(address.parse().unwrap(), now);
            assert_eq!(verdict.remaining.is_some(), allowed, "{address}");
        }
    }

    #[test]
    fn hosts_without_number_take_no_memory_without_end() {
        let mut buckets = buckets(1, 2);
        for n in 1..=200_000 {
            buckets.take(host(n), Duration::from_micros(n.into()));
        }
        assert!(buckets.worked_off.len() <= Buckets::MOST_HOSTS + 1);
        let others = buckets.take(host(300_000), Duration::from_millis(200));
        assert_eq!(others.remaining, None, "the others share a bucket");
        assert_eq!(
            buckets
                .take(host(300_000), Duration::from_secs(200_000))
                .remaining,
            Some(1)
        );
        assert!(buckets.worked_off.len() < 10);
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_burst_and_rate(
            per_second in 1..2_000_u32, burst in 1..50_u32, gaps in prop::collection::vec(0..50_000_u64, 1..300),
        ) {
            let mut buckets = buckets(per_second, burst);
            let (mut now, mut allowed) = (0_u64, 0_u64);
            for gap in gaps {
                now += gap;
                if buckets.take(host(1), Duration::from_micros(now)).remaining.is_some() {
                    allowed += 1;
                }
                let most = u64::from(burst) + now * u64::from(per_second) / 1_000_000;
                prop_assert!(allowed <= most, "{allowed} of {most} after {now} us");
            }
        }
    }
}
