//! Whether what was paid for arrives, and nobody else rides on it.
//!
//! Every buyer sends at the rate it has bought, every fourth at three times that; somebody elsewhere sends the same
//! packets, marked as if they were paid for; and hosts flood the network. What becomes of it is computed as a
//! [fluid](crate::simulation::fluid) whenever tables or cables have changed.

use std::collections::BTreeMap;
use std::time::Duration;

use payflow_controller::core::document::Status;
use payflow_controller::core::network::{Protocol, Selector};
use payflow_qos::Time;

use super::tables::RESERVATION_METERS;
use super::{Observer, Sight};
use crate::simulation::fabric::Fabric;
use crate::simulation::fabric::frames::packet;
use crate::simulation::fabric::shape::{Jack, Station};
use crate::simulation::fluid::{Course, Stream, flow};

/// So much of an outage may be charged: the time until it is noticed.
const UNNOTICED: Duration = Duration::from_secs(25);
/// The same where a switch says at once what has happened, and nothing keeps the controller from hearing it.
const TOLD: Duration = Duration::from_secs(1);
/// After a disturbance packets may be lost for so long without that being wrong by itself.
const UNREST: Duration = Duration::from_secs(60);
/// So long after a port got the number of another, its entries may still be there, if nothing holds anybody up: who is behind
/// it is let in as if the other one were.
const FOLLOWED: Duration = Duration::from_secs(2);
/// All switches have learned something after so long, if nothing holds them up.
const ONE_BY_ONE: Duration = Duration::from_secs(5);
/// What a host floods with, in bits per second.
const FLOOD: f64 = 60e6;
/// What somebody sends who has not paid.
const INTRUSION: f64 = 30e6;
/// Queues in which only what is paid for travels.
const PAID_QUEUES: [u32; 2] = [2, 3];
/// Marks of the paid classes: EF and AF41.
const MARKS: [u8; 2] = [46, 34];

/// What has arrived of one sale.
#[derive(Clone, Debug, Default)]
pub(super) struct Delivery {
    arrives_since: Option<Time>,
    arrived: Duration,
    /// The controller says that it arrives.
    promised: bool,
    out_since: Option<Time>,
    /// So much of the present outage may be charged.
    out_unnoticed: Duration,
    /// Of the present outage, while nobody could see it.
    out_unwatched: Duration,
    lost_unseen: Duration,
    /// While there was no controller.
    unwatched: Duration,
}

impl Delivery {
    /// How long all that was sent up to the sold rate has arrived.
    pub(super) fn delivered(&self, now: Time) -> Duration {
        self.arrived
            + self
                .arrives_since
                .map_or(Duration::ZERO, |since| now.since(since))
    }

    /// How much of the time in which it did not arrive may be charged.
    pub(super) fn lost_unseen(&self) -> Duration {
        self.lost_unseen
    }

    /// For how long there was no controller.
    pub(super) fn unseen(&self) -> Duration {
        self.unwatched
    }

    /// Whether anything is being counted.
    pub(super) fn runs(&self) -> bool {
        self.arrives_since.is_some() || self.out_since.is_some()
    }

    pub(super) fn promised(&mut self, now: Time) {
        self.promised = true;
        if self.arrives_since.is_none() {
            self.out_begins(now, UNNOTICED);
        }
    }

    /// Another one has taken its place: from here on what arrives is that one's.
    pub(super) fn stops(&mut self, now: Time) {
        self.no_longer_promised(now);
        if let Some(since) = self.arrives_since.take() {
            self.arrived += now.since(since);
        }
    }

    fn out_begins(&mut self, now: Time, unnoticed: Duration) {
        if self.out_since.is_none() {
            self.out_since = Some(now);
            self.out_unnoticed = unnoticed;
        }
    }

    pub(super) fn no_longer_promised(&mut self, now: Time) {
        self.promised = false;
        self.outage_ends(now);
    }

    /// There was no controller in this time.
    pub(super) fn unwatched(&mut self, since: Time, until: Time) {
        self.unwatched += until.since(since);
        if let Some(out) = self.out_since {
            self.out_unwatched += until.since(out.max(since));
        }
    }

    fn outage_ends(&mut self, now: Time) {
        if let Some(since) = self.out_since.take() {
            let unseen = std::mem::take(&mut self.out_unwatched);
            self.lost_unseen += now.since(since).min(self.out_unnoticed + unseen);
        }
    }

    /// Whether it has just ceased to arrive although it was promised; `told` if the controller hears why.
    fn see(&mut self, arrives: bool, told: bool, now: Time) -> bool {
        match (arrives, self.arrives_since) {
            (true, None) => {
                self.arrives_since = Some(now);
                self.outage_ends(now);
                false
            }
            (false, Some(since)) => {
                self.arrives_since = None;
                self.arrived += now.since(since);
                if self.promised {
                    self.out_begins(now, if told { TOLD } else { UNNOTICED });
                }
                self.promised
            }
            _ => false,
        }
    }
}

/// Who sends a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Buyer(u64),
    Intruder(u64),
    Flood,
}

impl Observer {
    pub(super) fn look_at_traffic(&mut self, sight: &Sight<'_>, now: Time) {
        let senders = self.senders(sight.fabric);
        let streams: Vec<_> = senders
            .iter()
            .map(|(_, stream)| {
                let course = Course::of(sight.fabric, stream.from, &stream.frame);
                (stream, course)
            })
            .collect();
        let streams: Vec<_> = streams
            .iter()
            .map(|(stream, course)| (*stream, course))
            .collect();
        let rates = flow(sight.fabric, &streams);
        self.check_circles(streams.iter().any(|(_, course)| course.endless), now);
        for (((sender, stream), (_, course)), rates) in senders.iter().zip(&streams).zip(&rates) {
            match sender {
                Sender::Buyer(number) => {
                    self.check_delivery(*number, course, rates, now);
                }
                // The network may have been told by somebody that he is the buyer, while it could not hear the buyer.
                Sender::Intruder(number) if self.is_let_in(sight, *number, stream.from) => {}
                Sender::Intruder(number) => {
                    self.check_intruder(Some(*number), sight.fabric, course, now)
                }
                Sender::Flood => self.check_intruder(None, sight.fabric, course, now),
            }
        }
    }

    /// While switches learn one after another of a host or a way, best effort may go in circles; but not for long.
    fn check_circles(&mut self, endless: bool, now: Time) {
        if !endless {
            self.endless_since = None;
            return;
        }
        let since = *self.endless_since.get_or_insert(now);
        let patience = if self.is_disturbed(now) {
            UNREST
        } else {
            ONE_BY_ONE
        };
        if now.since(since) > patience {
            self.wrong(
                now,
                format_args!("packets have gone in circles for {:?}", now.since(since)),
            );
        }
    }

    fn is_disturbed(&self, now: Time) -> bool {
        self.disturbed_at.is_some_and(|at| now < at.plus(UNREST))
    }

    /// Everybody who sends while something is sold.
    fn senders(&mut self, fabric: &Fabric) -> Vec<(Sender, Stream)> {
        let stations = &fabric.shape.stations;
        let mut senders = Vec::new();
        // Reservations that take each other's place are one flow: what is let in, or was last, is what is sent.
        let mut flows: BTreeMap<u64, (bool, u64)> = BTreeMap::new();
        for (number, sale) in &self.sales {
            let carried = sale.carried_since.is_some();
            if carried || sale.delivery.runs() {
                let newest = flows.entry(sale.root).or_default();
                *newest = (*newest).max((carried, *number));
            }
        }
        for (root, (_, number)) in &flows {
            let Some(sale) = self.sales.get(number) else {
                continue;
            };
            let selector = &sale.document.flow;
            let (Some(from), Some(to)) = (
                fabric.station_of(selector.source),
                fabric.station_of(selector.destination),
            ) else {
                continue;
            };
            // Whole numbers far below 2^52.
            let sold = sale.document.rate_bps as f64;
            let greed = if root % 4 == 0 { 3.0 } else { 1.0 };
            let stream = |station: &Station, dscp, offered| Stream {
                from: station.jack,
                frame: packet(selector, station.mac, to.mac, dscp),
                offered,
            };
            senders.push((Sender::Buyer(*number), stream(from, 0, sold * greed)));
            // Somebody else, and not always the same.
            let index = usize::try_from(*root).unwrap_or_default() % stations.len().max(1);
            if let Some(intruder) = stations.get(index).filter(|it| it.address != from.address) {
                let mark = MARKS[usize::from(root % 2 == 0)];
                senders.push((Sender::Intruder(*number), stream(intruder, mark, INTRUSION)));
                self.tally.thefts_tried += 1;
            }
        }
        let floods = stations.iter().zip(stations.iter().skip(3)).step_by(2);
        senders.extend(floods.map(|(from, to)| {
            let selector = Selector {
                source: from.address.into(),
                destination: to.address.into(),
                protocol: Protocol::Udp,
                source_port: None,
                destination_port: Some(9.into()),
            };
            let stream = Stream {
                from: from.jack,
                frame: packet(&selector, from.mac, to.mac, 0),
                offered: FLOOD,
            };
            (Sender::Flood, stream)
        }));
        senders
    }

    fn check_delivery(&mut self, number: u64, course: &Course, rates: &[f64], now: Time) {
        let disturbed = self.is_disturbed(now);
        let Some(sale) = self.sales.get(&number) else {
            return;
        };
        // Where the buyer was told that it leads.
        let Some(end) = sale.sockets.last().copied().flatten() else {
            return;
        };
        let sold = sale.document.rate_bps as f64;
        // Its meter may already, or still, have the rate of another one that takes its place, or whose place it takes; also of
        // one that a switch has just refused.
        let root = sale.root;
        let due = self.sales.values().filter(|it| {
            it.root == root
                && !it.replaced
                && matches!(
                    it.status,
                    Some(Status::Installing | Status::Active | Status::Failed | Status::Cancelled)
                )
        });
        let due = due.map(|it| it.document.rate_bps as f64);
        let (least, most) = due.fold((sold, sold), |(least, most), rate| {
            (least.min(rate), most.max(rate))
        });
        let arrives = arriving(course, rates, end);
        let paid_for = sale.carried_since.is_some() && travels_paid(course, end);
        let told = self.words_arrive && self.told_at == Some(now);
        let arrives_whole = paid_for && arrives >= least - 1.0;
        let mut lost = Vec::new();
        let flow = self.sales.iter_mut().filter(|(_, it)| it.root == root);
        for (other, sale) in flow {
            if sale.replaced || *other != number && !sale.delivery.runs() {
                continue;
            }
            let ceased = sale.delivery.see(arrives_whole, told, now);
            let whole = Duration::from_millis(sale.document.duration_ms);
            let due = sale.begun.is_some_and(|begun| now < begun.plus(whole))
                && sale.status == Some(Status::Active)
                && !sale.cancelled;
            self.tally.outages += u64::from(ceased && due);
            if ceased && due && !disturbed {
                lost.push(*other);
            }
        }
        for other in lost {
            let how = unpaid_part(course, end).unwrap_or_default();
            let what = format!(
                "r{other}: {arrives:.0} of {least:.0} bit/s arrive{how}, and nothing has happened"
            );
            self.wrong(now, what);
        }
        if paid_for && arrives > most + 1_000.0 {
            let what = format!("r{number}: {arrives:.0} bit/s arrive, and {sold:.0} were sold");
            self.wrong(now, what);
        }
    }

    /// Whether the network takes whoever is at this socket for the buyer.
    fn is_let_in(&self, sight: &Sight<'_>, number: u64, at: Jack) -> bool {
        self.tables
            .ingresses(number)
            .any(|port| sight.fabric.jack(port) == Some(at))
    }

    /// Nobody rides on what somebody else has paid for.
    fn check_intruder(&mut self, copies: Option<u64>, fabric: &Fabric, course: &Course, now: Time) {
        let patience = if self.words_arrive { FOLLOWED } else { UNREST };
        for step in &course.steps {
            let taken_over = fabric.number_taken_over(step.out.switch);
            if taken_over.is_some_and(|at| now < at.plus(patience)) {
                continue;
            }
            let stolen = fabric.is_trunk(step.out) && PAID_QUEUES.contains(&step.queue)
                || step
                    .meters
                    .iter()
                    .any(|(_, meter)| meter.0 >= RESERVATION_METERS);
            if stolen {
                let whose = copies.map_or("a flood".to_owned(), |number| {
                    format!("a copy of r{number}")
                });
                let what = format!(
                    "{whose} travels in queue {} through {}",
                    step.queue, step.out
                );
                self.wrong(now, what);
            }
        }
    }
}

/// What leaves through a port.
fn arriving(course: &Course, rates: &[f64], end: Jack) -> f64 {
    let steps = course.steps.iter().zip(rates);
    steps
        .filter(|(step, _)| step.out == end)
        .map(|(_, rate)| rate)
        .sum()
}

/// Whether a stream travels as paid for all the way.
fn travels_paid(course: &Course, end: Jack) -> bool {
    unpaid_part(course, end).is_none()
}

/// Where a stream does not travel as paid for; `None` if it does all the way.
fn unpaid_part(course: &Course, end: Jack) -> Option<String> {
    let Some(way) = course.to(end) else {
        return Some(", none as paid for".to_owned());
    };
    let metered = way.first().is_some_and(|first| {
        first
            .meters
            .iter()
            .any(|(_, meter)| meter.0 >= RESERVATION_METERS)
    });
    if !metered {
        return Some(" past the meter".to_owned());
    }
    let unpaid = way.iter().find(|it| !PAID_QUEUES.contains(&it.queue))?;
    Some(format!(" in queue {} through {}", unpaid.queue, unpaid.out))
}
