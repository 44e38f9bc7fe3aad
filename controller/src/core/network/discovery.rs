//! Which ports are joined by a link: authenticated discovery frames (LLDP, IEEE 802.1AB).
//!
//! A frame names the port it leaves by and carries a MAC (HMAC-SHA256) over datapath id, port,
//! sequence number and time. It counts once, while it is fresh, and only if it is one of those this
//! controller has sent through that port. A link is proven when frames have come through in both directions.
//! Frames that a host relays are authentic all the same: which ports may be links at all is decided elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use hmac::{Hmac, Mac};
use payflow_qos::{PortNo, PortRef, SwitchId, Time};
use sha2::Sha256;

use super::Timings;

/// Nearest-bridge group address: never forwarded by a bridge.
const DESTINATION: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x0e];
/// A locally administered address, so that frames of ours are told apart in a capture.
const SOURCE: [u8; 6] = [0x02, 0x70, 0x66, 0, 0, 0x02];
const ETHERTYPE: [u8; 2] = [0x88, 0xcc];
/// Organisation code of our TLV; the local bit is set, so it is nobody's.
const ORGANISATION: [u8; 4] = [0x02, 0x70, 0x66, 0x01];
/// Organisation code, datapath id, port, sequence number, time, HMAC.
const PROOF_LEN: usize = 4 + 8 + 4 + 8 + 8 + 32;
const SIGNED_LEN: usize = 8 + 4 + 8 + 8;
/// A link is gone after this many missed frames.
const MISSED: u32 = 3;
/// Frames of one port that may be on their way.
const OUTSTANDING: usize = 8;
/// Frames that are sent in one go: what hosts say does not wait until thousands of ports, whose time has come at once,
/// have spoken. Where there are more ports, each has a time of its own.
const IN_ONE_GO: usize = 32;
/// However many ports there are, in so many goes all have spoken.
const GOES: usize = 128;

/// The ports that take part in discovery, and what they have heard.
pub(crate) struct Discovery {
    /// Has taken in the secret, and nothing else.
    signer: Hmac<Sha256>,
    timings: Timings,
    sequence: u64,
    ports: BTreeMap<PortRef, Prober>,
    /// When each of them speaks next.
    schedule: BTreeSet<(Time, PortRef)>,
    /// By the port that heard: which port was heard, and when last.
    heard: BTreeMap<PortRef, (PortRef, Time)>,
    /// Nothing that was heard is too old before.
    next_lapse: Option<Time>,
}

struct Prober {
    settled_at: Time,
    next: Time,
    outstanding: VecDeque<(u64, Time)>,
}

impl Discovery {
    pub(crate) fn new(secret: [u8; 32], timings: Timings) -> Self {
        Self {
            signer: signer(&secret),
            timings,
            sequence: 0,
            ports: BTreeMap::new(),
            schedule: BTreeSet::new(),
            heard: BTreeMap::new(),
            next_lapse: None,
        }
    }

    /// The port takes part from now on: often while it settles, then once a second.
    pub(crate) fn start(&mut self, port: PortRef, now: Time) {
        let settled_at = now.plus(self.timings.settle);
        self.ports.entry(port).or_insert_with(|| {
            self.schedule.insert((now, port));
            Prober {
                settled_at,
                next: now,
                outstanding: VecDeque::new(),
            }
        });
    }

    /// The port takes no part any more, and what it heard is forgotten.
    pub(crate) fn stop(&mut self, port: PortRef) {
        if let Some(prober) = self.ports.remove(&port) {
            self.schedule.remove(&(prober.next, port));
        }
        self.heard
            .retain(|heard, (from, _)| *heard != port && *from != port);
    }

    /// The frames to send now. More may be due at once.
    pub(crate) fn due(&mut self, now: Time) -> Vec<(PortRef, Vec<u8>)> {
        let ports = self.ports.len();
        let most = IN_ONE_GO.max(ports.div_ceil(GOES));
        let mut frames = Vec::new();
        while let Some((at, port)) = self.schedule.first().copied()
            && at <= now
            && frames.len() < most
        {
            self.schedule.pop_first();
            let Some(prober) = self.ports.get_mut(&port) else {
                continue;
            };
            let settling = now < prober.settled_at;
            let interval = if settling {
                self.timings.lldp_settling
            } else {
                self.timings.lldp_settled
            };
            prober.next = now.plus(interval);
            if !settling && ports > IN_ONE_GO {
                prober.next = in_turn(port, prober.next, interval);
            }
            self.schedule.insert((prober.next, port));
            self.sequence += 1;
            prober.outstanding.push_back((self.sequence, now));
            if prober.outstanding.len() > OUTSTANDING {
                prober.outstanding.pop_front();
            }
            frames.push((port, frame(&self.signer, port, self.sequence, now)));
        }
        frames
    }

    /// A discovery frame came in at `port`. Whether that tells anything that was not known.
    pub(crate) fn heard(&mut self, port: PortRef, frame: &[u8], now: Time) -> bool {
        let Some(from) = self.proven(port, frame, now) else {
            return false;
        };
        let patience = self.patience();
        let lapse = now.plus(patience);
        self.next_lapse = Some(self.next_lapse.map_or(lapse, |at| at.min(lapse)));
        let before = self.heard.insert(port, (from, now));
        before.is_none_or(|(other, at)| other != from || at.plus(patience) <= now)
    }

    /// The port by which a frame has left, if it is one of those that count.
    fn proven(&mut self, port: PortRef, frame: &[u8], now: Time) -> Option<PortRef> {
        let (from, proof) = open(&self.signer, frame)?;
        let sent = &mut self.ports.get_mut(&from)?.outstanding;
        let place = sent.iter().position(|sent| *sent == proof)?;
        let (_, sent_at) = sent.remove(place)?; // Once only.
        let fresh = sent_at <= now && now < sent_at.plus(self.timings.lldp_age);
        let counts = fresh && from != port && self.ports.contains_key(&port);
        counts.then_some(from)
    }

    /// Whether something that was heard may have become too old.
    pub(crate) fn lapsed(&mut self, now: Time) -> bool {
        if self.next_lapse.is_none_or(|at| now < at) {
            return false;
        }
        let lapses = self.heard.values().map(|(_, at)| at.plus(self.patience()));
        self.next_lapse = lapses.filter(|at| now < *at).min();
        true
    }

    /// The directed links that are proven now: heard in both directions, and lately.
    pub(crate) fn links(&self, now: Time) -> BTreeMap<PortRef, PortRef> {
        let fresh = |at: Time| now < at.plus(self.patience());
        let hears = |port: &PortRef| {
            self.heard
                .get(port)
                .filter(|(_, at)| fresh(*at))
                .map(|(from, _)| *from)
        };
        let peer = |port: &PortRef| hears(port).filter(|from| hears(from) == Some(*port));
        self.heard
            .keys()
            .filter_map(|port| Some((*port, peer(port)?)))
            .collect()
    }

    /// When the next frame is due or a link may be gone.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let next_frame = self.schedule.first().map(|(at, _)| *at);
        [next_frame, self.next_lapse].into_iter().flatten().min()
    }

    /// Three intervals, and half of one for the way.
    fn patience(&self) -> Duration {
        self.timings.lldp_settled * MISSED + self.timings.lldp_settled / 2
    }
}

/// The instant nearest to `at` at which this port speaks, of those that are an interval apart. Ports are spread over the
/// interval by a hash (Knuth, 6.4: multiplication by the golden ratio).
fn in_turn(port: PortRef, at: Time, interval: Duration) -> Time {
    let interval = u64::try_from(interval.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    let number = port.switch.0.rotate_left(32) ^ u64::from(port.port.0);
    let turn = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % interval;
    // From half an interval before to half of one after.
    let first = at.millis().saturating_sub(interval / 2);
    let wait = (turn + interval - first % interval) % interval;
    Time::from_millis(first.saturating_add(wait))
}

/// The frame a port sends.
fn frame(signer: &Hmac<Sha256>, port: PortRef, sequence: u64, now: Time) -> Vec<u8> {
    let mut proof = ORGANISATION.to_vec();
    proof.extend(port.switch.0.to_be_bytes());
    proof.extend(port.port.0.to_be_bytes());
    proof.extend(sequence.to_be_bytes());
    proof.extend(now.millis().to_be_bytes());
    let signed = proof.get(ORGANISATION.len()..).unwrap_or_default();
    let mac = signer.clone().chain_update(signed).finalize();
    proof.extend(mac.into_bytes());
    let mut frame = Vec::with_capacity(128);
    frame.extend(DESTINATION);
    frame.extend(SOURCE);
    frame.extend(ETHERTYPE);
    // Chassis id and port id, both "locally assigned" (7), for people who look at them.
    tlv(
        &mut frame,
        1,
        &[&[7][..], port.switch.to_string().as_bytes()].concat(),
    );
    tlv(
        &mut frame,
        2,
        &[&[7][..], port.port.to_string().as_bytes()].concat(),
    );
    tlv(&mut frame, 3, &120_u16.to_be_bytes());
    tlv(&mut frame, 127, &proof);
    tlv(&mut frame, 0, &[]);
    frame
}

/// Type (7 bits), length (9 bits), value (IEEE 802.1AB clause 8.4). Values are short.
fn tlv(frame: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap_or(0x1ff) & 0x1ff;
    frame.extend((kind << 9 | len).to_be_bytes());
    frame.extend(value);
}

/// What signs under a secret: half of the work, and the same for every frame. (HMAC fills a key up to a block with zeros.)
fn signer(secret: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..32].copy_from_slice(secret);
    Hmac::new(&block.into())
}

/// Port, sequence number and time of a frame that was signed with the secret.
fn open(signer: &Hmac<Sha256>, frame: &[u8]) -> Option<(PortRef, (u64, Time))> {
    let mut rest = frame.get(14..)?;
    loop {
        let (header, after) = rest.split_first_chunk::<2>()?;
        let header = u16::from_be_bytes(*header);
        let (value, after) = after.split_at_checked(usize::from(header & 0x1ff))?;
        match header >> 9 {
            0 => return None,
            127 if value.starts_with(&ORGANISATION) && value.len() == PROOF_LEN => {
                return verify(signer, value);
            }
            _ => rest = after,
        }
    }
}

fn verify(signer: &Hmac<Sha256>, proof: &[u8]) -> Option<(PortRef, (u64, Time))> {
    let (signed, tag) = proof
        .get(ORGANISATION.len()..)?
        .split_at_checked(SIGNED_LEN)?;
    let mac = signer.clone().chain_update(signed);
    mac.verify_slice(tag).ok()?;
    let (switch, rest) = signed.split_first_chunk::<8>()?;
    let (port, rest) = rest.split_first_chunk::<4>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (time, _) = rest.split_first_chunk::<8>()?;
    let port = PortRef {
        switch: SwitchId(u64::from_be_bytes(*switch)),
        port: PortNo(u32::from_be_bytes(*port)),
    };
    let time = Time::from_millis(u64::from_be_bytes(*time));
    Some((port, (u64::from_be_bytes(*sequence), time)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const A: PortRef = PortRef::new(1, 1);
    const B: PortRef = PortRef::new(2, 5);
    const T0: Time = Time::from_millis(1_000_000);

    fn after(millis: u64) -> Time {
        Time::from_millis(T0.millis() + millis)
    }

    fn two_ports() -> Discovery {
        let mut discovery = Discovery::new([7; 32], Timings::default());
        discovery.start(A, T0);
        discovery.start(B, T0);
        discovery
    }

    fn frame_of(discovery: &mut Discovery, port: PortRef, now: Time) -> Vec<u8> {
        discovery
            .due(now)
            .into_iter()
            .find(|(from, _)| *from == port)
            .unwrap()
            .1
    }

    #[test]
    fn a_link_is_proven_by_frames_in_both_directions() {
        let mut discovery = two_ports();
        let frames: BTreeMap<_, _> = discovery.due(T0).into_iter().collect();
        assert!(discovery.heard(B, &frames[&A], after(1)));
        assert_eq!(
            discovery.links(after(1)),
            BTreeMap::new(),
            "one direction is no link"
        );
        assert!(discovery.heard(A, &frames[&B], after(1)));
        assert_eq!(discovery.links(after(1)), BTreeMap::from([(A, B), (B, A)]));
        assert_eq!(discovery.links(after(3_500)).len(), 2);
        assert_eq!(
            discovery.links(after(3_501)),
            BTreeMap::new(),
            "three frames were missed"
        );
    }

    #[test]
    fn many_ports_speak_once_a_second_and_not_at_once() {
        let mut discovery = Discovery::new([7; 32], Timings::default());
        for (switch, port) in (1..65).flat_map(|switch| (1..49).map(move |port| (switch, port))) {
            discovery.start(PortRef::new(switch, port), T0);
        }
        let mut spoken = BTreeMap::<PortRef, Vec<u64>>::new();
        let mut most = 0;
        for millis in 0..20_000 {
            let frames = discovery.due(after(millis));
            if millis > 8_000 {
                most = most.max(frames.len());
                for (port, _) in frames {
                    spoken.entry(port).or_default().push(millis);
                }
            }
        }
        assert_eq!(spoken.len(), 64 * 48);
        assert!(most < 16, "{most}");
        let regular = |times: &Vec<u64>| times.windows(2).all(|two| two[1] - two[0] == 1_000);
        assert!(spoken.values().all(regular));
    }

    #[test]
    fn what_is_heard_again_is_no_news_until_it_has_lapsed() {
        let mut discovery = two_ports();
        let hear = |discovery: &mut Discovery, now| {
            discovery.start(A, now);
            let frame = frame_of(discovery, A, now);
            discovery.heard(B, &frame, now)
        };
        assert!(hear(&mut discovery, T0));
        assert!(!hear(&mut discovery, after(1_000)));
        assert!(!discovery.lapsed(after(3_499)));
        discovery.lapsed(after(3_500)); // The time of the first frame: it has been heard since.
        assert!(!discovery.lapsed(after(4_499)));
        assert!(discovery.lapsed(after(4_500)));
        assert!(hear(&mut discovery, after(4_500)));
    }

    #[test]
    fn a_replayed_frame_proves_nothing() {
        let mut discovery = two_ports();
        let frame = frame_of(&mut discovery, A, T0);
        assert!(discovery.heard(B, &frame, after(1)));
        assert!(!discovery.heard(B, &frame, after(2)));
    }

    #[test]
    fn a_stale_frame_proves_nothing() {
        let mut discovery = two_ports();
        let frame = frame_of(&mut discovery, A, T0);
        assert!(!discovery.heard(B, &frame, after(2_000)));
    }

    #[test]
    fn a_forged_frame_proves_nothing() {
        let mut discovery = two_ports();
        let frame = frame_of(&mut discovery, A, T0);
        let of_others = super::frame(&signer(&[8; 32]), A, 1, T0);
        assert!(!discovery.heard(B, &of_others, after(1)), "another secret");
        for at in 0..frame.len() {
            let mut forged = frame.clone();
            forged[at] ^= 0x10;
            if let Some((port, proof)) = open(&signer(&[7; 32]), &forged) {
                assert_eq!(
                    (port, proof),
                    (A, (1, T0)),
                    "what is signed cannot be changed (byte {at})"
                );
            }
        }
        for len in 0..frame.len() - 2 {
            assert_eq!(
                open(&signer(&[7; 32]), &frame[..len]),
                None,
                "cut to {len} bytes"
            );
        }
    }

    #[test]
    fn a_frame_of_an_earlier_run_proves_nothing() {
        let old = frame_of(&mut two_ports(), A, T0);
        let mut restarted = two_ports();
        restarted.due(after(500)); // The same sequence number, at another time.
        assert!(!restarted.heard(B, &old, after(501)));
    }

    #[test]
    fn frames_come_often_while_a_port_settles_and_every_second_later() {
        let mut discovery = Discovery::new([7; 32], Timings::default());
        discovery.start(A, T0);
        let mut sent = Vec::new();
        while let Some(at) = discovery.next_deadline().filter(|at| *at < after(5_000)) {
            assert_eq!(discovery.due(at).len(), 1);
            sent.push(at.millis() - T0.millis());
        }
        assert_eq!(sent, [0, 300, 600, 900, 1200, 1500, 2500, 3500, 4500]);
    }

    #[test]
    fn many_ports_whose_time_has_come_at_once_speak_a_few_in_one_go_and_each_once() {
        for ports in [1_000, 100_000] {
            let mut discovery = Discovery::new([7; 32], Timings::default());
            for port in 0..ports {
                discovery.start(PortRef::new(1, port), T0);
            }
            let mut spoken = BTreeSet::new();
            let mut goes = 0;
            while discovery.next_deadline().is_some_and(|at| at <= T0) {
                let frames = discovery.due(T0);
                let most = IN_ONE_GO.max(ports as usize / GOES + 1);
                assert!((1..=most).contains(&frames.len()));
                for (port, _) in frames {
                    assert!(spoken.insert(port), "{port:?} speaks twice");
                }
                goes += 1;
            }
            assert_eq!(spoken.len(), ports as usize);
            assert!(goes <= GOES, "{goes}");
            assert_eq!(discovery.next_deadline(), Some(after(300)));
        }
    }

    #[test]
    fn a_port_that_takes_no_part_any_more_does_not_speak() {
        let mut discovery = two_ports();
        discovery.stop(A);
        let spoken: Vec<_> = discovery
            .due(T0)
            .into_iter()
            .map(|(port, _)| port)
            .collect();
        assert_eq!(spoken, [B]);
        discovery.stop(B);
        assert_eq!(discovery.next_deadline(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(open(&signer(&[7; 32]), &frame), None);
        }
    }
}
