//! What the first switch has counted of every paid flow.

use std::collections::{BTreeMap, BTreeSet};

use payflow_qos::SwitchId;

use super::{FlowId, Network, entry::reservation_meter, switch::Reading};

impl Network {
    /// Adds what the counters of an audit show more than the last one.
    pub(super) fn count(&mut self, switch: SwitchId, reading: &Reading) {
        for flow in &reading.flows {
            if let Some(owner) = self.owner(flow.cookie) {
                self.count_entry(
                    switch,
                    owner,
                    &flow.flow_match,
                    (flow.packet_count, flow.byte_count),
                );
            }
        }
        let there: BTreeSet<u32> = reading
            .meter_stats
            .iter()
            .map(|meter| meter.meter_id.0)
            .collect();
        self.meters_seen
            .retain(|(at, meter), _| *at != switch || there.contains(meter));
        let mut newest = BTreeMap::new();
        for (flow, paid) in &mut self.flows {
            if paid.ingress().is_some_and(|(hop, _)| hop.switch == switch) {
                // The meter is shared by the generations of a path; the newest one has it, and comes last.
                newest.insert(reservation_meter(flow.reservation), paid);
            }
        }
        for meter in &reading.meter_stats {
            let dropped = meter
                .bands
                .iter()
                .fold((0_u64, 0_u64), |(packets, bytes), band| {
                    (
                        packets.saturating_add(band.packet_count),
                        bytes.saturating_add(band.byte_count),
                    )
                });
            let seen = self
                .meters_seen
                .insert((switch, meter.meter_id.0), dropped)
                .unwrap_or_default();
            let (packets, bytes) = grown(seen, dropped);
            if let Some(paid) = newest.get_mut(&meter.meter_id) {
                add(&mut paid.counters.dropped_packets, packets);
                add(&mut paid.counters.dropped_bytes, bytes);
            }
        }
    }

    /// What an entry shows; counts if it is the one at the first switch.
    pub(super) fn count_entry(
        &mut self,
        switch: SwitchId,
        flow: FlowId,
        matching: &rust_openflow::Match,
        seen: (u64, u64),
    ) {
        let Some(paid) = self.flows.get_mut(&flow) else {
            return;
        };
        if paid
            .ingress()
            .is_some_and(|(hop, key)| hop.switch == switch && key.matching == *matching)
        {
            let (packets, bytes) = grown(paid.last_seen, seen);
            paid.last_seen = seen;
            add(&mut paid.counters.packets, packets);
            add(&mut paid.counters.bytes, bytes);
        }
    }
}

/// Switches say what they like, also that all bits are set, which the specification has for a counter that is not kept.
fn add(counter: &mut u64, more: u64) {
    *counter = counter.saturating_add(more);
}

/// By how much counters have grown since they were last seen; they begin at zero again when an entry
/// or meter is made anew.
fn grown(last: (u64, u64), now: (u64, u64)) -> (u64, u64) {
    match (now.0.checked_sub(last.0), now.1.checked_sub(last.1)) {
        (Some(packets), Some(bytes)) => (packets, bytes),
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_is_not_kept_stops_nothing() {
        let mut counted = 0;
        for (last, now) in [(0, u64::MAX), (u64::MAX, 5), (5, u64::MAX)] {
            add(&mut counted, grown((last, last), (now, now)).0);
        }
        assert_eq!(counted, u64::MAX);
    }
}
