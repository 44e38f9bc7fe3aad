//! Whatever buyers, switches, the operator and crashes do, in any order: the accounts are exact, groups are all or none, and in
//! the end nothing stays booked.

use payflow_qos::price::{Congestion, Following, MinuteOfDay, Period, TimeOfDay};
use proptest::prelude::*;

use super::*;
use crate::core::document::{ChangeRequest, GroupRequest};

/// Two ways from where most hosts are to the other one.
const DIAMOND: &[Cable] = &[
    (1, 2, 20_000_000),
    (2, 3, 20_000_000),
    (1, 4, 10_000_000),
    (4, 3, 10_000_000),
];

/// One flow of a group.
#[derive(Clone, Debug)]
struct Flow {
    back: bool,
    port: u16,
    kbps: u64,
    seconds: u64,
    /// In so many seconds; at once where none.
    later: Option<u64>,
}

/// Something that happens. What it happens to is chosen among what there is.
#[derive(Clone, Debug)]
enum Event {
    /// A group of these is asked for, or a quote where it is one.
    Ask(Vec<Flow>),
    /// A quote or group is paid: to so many of its addresses, each that much above or below its price.
    Pay {
        which: usize,
        flows: usize,
        more: i64,
    },
    /// Its signed bytes are handed over, and are found on the ledger.
    HandOver {
        which: usize,
    },
    /// A quote for another rate and time.
    Change {
        which: usize,
        kbps: Option<u64>,
        seconds: Option<u64>,
    },
    Cancel {
        which: usize,
    },
    /// Switches refuse.
    Fail {
        which: usize,
    },
    /// Switches confirm what they have not.
    Confirm {
        which: usize,
    },
    Break {
        which: usize,
    },
    Mend {
        which: usize,
    },
    Capacity {
        link: usize,
        per_cent: u64,
    },
    Drain {
        link: usize,
        drained: bool,
    },
    /// The host at the far end is found at another switch, or where it was.
    Moves {
        away: bool,
    },
    /// A port is gone for good.
    GivenUp {
        link: usize,
    },
    /// Whether switches confirm at once.
    Confirms(bool),
    /// A switch is out of reach, or there again.
    Away(bool),
    Wait {
        ms: u64,
    },
    /// The controller is killed after so many of the records that the next event makes.
    Crash {
        records: usize,
    },
}

fn flow() -> impl Strategy<Value = Flow> {
    let later = prop_oneof![3 => Just(None), 1 => (1..120_u64).prop_map(Some)];
    let times = (1..90_u64, later);
    (any::<bool>(), 1..6_u16, 1..4_000_u64, times).prop_map(
        |(back, port, kbps, (seconds, later))| Flow {
            back,
            port,
            kbps,
            seconds,
            later,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let which = 0..1_000_usize;
    let more = prop_oneof![6 => Just(0_i64), 1 => -3_000_000..3_000_000_i64];
    let link = 0..8_usize;
    prop_oneof![
        6 => prop::collection::vec(flow(), 1..4).prop_map(Event::Ask),
        8 => (which.clone(), prop_oneof![8 => Just(9_usize), 1 => 0..3_usize], more)
            .prop_map(|(which, flows, more)| Event::Pay { which, flows, more }),
        3 => which.clone().prop_map(|which| Event::HandOver { which }),
        4 => (which.clone(), prop::option::of(1..6_000_u64), prop::option::of(1..90_u64))
            .prop_map(|(which, kbps, seconds)| Event::Change { which, kbps, seconds }),
        2 => which.clone().prop_map(|which| Event::Cancel { which }),
        2 => which.clone().prop_map(|which| Event::Fail { which }),
        3 => which.clone().prop_map(|which| Event::Confirm { which }),
        2 => which.clone().prop_map(|which| Event::Break { which }),
        2 => which.prop_map(|which| Event::Mend { which }),
        2 => (link.clone(), 0..=100_u64).prop_map(|(link, per_cent)| Event::Capacity { link, per_cent }),
        1 => (link, any::<bool>()).prop_map(|(link, drained)| Event::Drain { link, drained }),
        1 => any::<bool>().prop_map(|away| Event::Moves { away }),
        1 => (0..8_usize).prop_map(|link| Event::GivenUp { link }),
        2 => any::<bool>().prop_map(Event::Confirms),
        1 => any::<bool>().prop_map(Event::Away),
        6 => (0..40_000_u64).prop_map(|ms| Event::Wait { ms }),
        3 => (0..8_usize).prop_map(|records| Event::Crash { records }),
    ]
}

/// What buyers and the ledger know.
struct Story {
    desk: Desk,
    pricing: Pricing,
    /// Quotes that were told, in groups.
    quotes: Vec<Vec<QuoteDocument>>,
    /// How many transactions were made.
    made: usize,
    /// What is on the ledger: a controller that was killed reads it again.
    payments: Vec<Evidence>,
    capacities: BTreeMap<usize, u64>,
    /// How many records of the next event are durable when the controller is killed.
    kill_after: Option<usize>,
}

fn links() -> Vec<(PortRef, u64)> {
    let both = |(a, b, bps): &Cable| {
        let (there, back) = (port(*a, 10 + *b as u32), port(*b, 10 + *a as u32));
        [(there, *bps), (back, *bps)]
    };
    DIAMOND.iter().flat_map(both).collect()
}

impl Story {
    fn begin(pricing: Pricing) -> Self {
        let now = Time::from_millis(1_000_000);
        let mut story = Story {
            desk: Self::start(&pricing, Vec::new(), now, true),
            pricing,
            quotes: Vec::new(),
            made: 0,
            payments: Vec::new(),
            capacities: BTreeMap::new(),
            kill_after: None,
        };
        story.second_edge_port();
        story
    }

    /// Where the host at the far end may be found as well.
    fn second_edge_port(&mut self) {
        let (link, capacity) = (port(2, 1), Some(BitRate(1_000_000_000)));
        self.network(NetworkEvent::Capacity { link, capacity });
    }

    fn start(pricing: &Pricing, journal: Vec<(u64, Record)>, now: Time, confirms: bool) -> Desk {
        start_with(DIAMOND, journal, now, confirms, |config| {
            config.pricing = pricing.clone();
            let interval = Duration::from_secs(60);
            config.following = Some(Following::new(interval, 100, 200, 500, 4_000).unwrap());
        })
    }

    fn tell(&mut self, event: &Event) {
        let kill_after = self.kill_after.take();
        let before = self.desk.journal.len();
        self.desk.durable = kill_after.is_none();
        self.happens(event);
        if let (Some(records), false) = (kill_after, matches!(event, Event::Crash { .. })) {
            self.restart(before + records);
        }
        self.desk.durable = true;
        self.desk.books();
    }

    /// Kills the controller, with so many records durable at most, and starts another one.
    fn restart(&mut self, records: usize) {
        let mut journal = std::mem::take(&mut self.desk.journal);
        journal.truncate(records);
        let confirms = *self.desk.confirms.lock().unwrap();
        self.desk = Self::start(&self.pricing, journal, self.desk.now, confirms);
        self.second_edge_port();
        for (link, per_cent) in self.capacities.clone() {
            self.capacity(link, per_cent);
        }
        // What was told of a quote that is not durable was told to nobody.
        let known = &self.desk.core.register.reservations;
        self.quotes.retain(|group| {
            let number = ReservationNumber::from_quote_id(&group[0].id).unwrap();
            let it = known.get(&number);
            it.is_some_and(|it| it.quote() == &group[0])
        });
        let payments = self.payments.clone();
        self.desk.checkpoint(1, payments);
    }

    fn capacity(&mut self, link: usize, per_cent: u64) {
        let (link, bps) = links()[link];
        let capacity = Some(BitRate(bps * per_cent / 100));
        self.network(NetworkEvent::Capacity { link, capacity });
    }

    fn network(&mut self, event: NetworkEvent) {
        self.desk.core.network_event(event);
        self.desk.core.settle_down();
        self.desk.drain();
    }

    /// One of what there is, if anything is.
    fn any(&self, which: usize) -> Option<ReservationNumber> {
        let living = self.desk.core.register.reservations.values();
        let living: Vec<_> = living.filter(|it| it.ended_by().is_none()).collect();
        let it = living.get(which.checked_rem(living.len())?)?;
        Some(it.issued.number)
    }

    fn flow(&self, which: usize) -> Option<FlowId> {
        let number = self.any(which)?;
        let reservation = self.desk.core.register.reservations.get(&number)?;
        reservation.paid.as_ref()?;
        Some(reservation.flow())
    }

    fn quoted(&self, which: usize) -> Option<&Vec<QuoteDocument>> {
        self.quotes.get(which.checked_rem(self.quotes.len())?)
    }

    fn post(&mut self, request: Request) -> Option<Result<Answer, Problem>> {
        let id = self.desk.post(&buyer(), request);
        self.desk.replies.remove(&id)
    }

    fn evidence(&mut self, quotes: &[QuoteDocument], more: i64) -> Evidence {
        self.made += 1;
        let credit = |it: &QuoteDocument| Credit {
            address: it.payment.pay_to.clone(),
            asset: Asset::iota(),
            amount: Amount(it.payment.price.0.saturating_add_signed(more).max(1)),
        };
        Evidence {
            digest: TxDigest::new(format!("paid {}", self.made)),
            credits: quotes.iter().map(credit).collect(),
            ..self.desk.evidence("", ReservationNumber(1), 0)
        }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Ask(flows) => {
                let body = |it: &Flow| QuoteRequest {
                    source: Some(ip(if it.back { 4 } else { 1 })),
                    destination: ip(if it.back { 1 } else { 4 }),
                    destination_port: Some(it.port.into()),
                    rate_bps: it.kbps * 1_000,
                    duration_s: it.seconds,
                    start_at: it
                        .later
                        .map(|later| UnixMillis(self.desk.now.millis() + later * 1_000)),
                    ..request()
                };
                let mut quotes: Vec<_> = flows.iter().map(body).collect();
                let request = match quotes.len() {
                    1 => Request::Quote {
                        body: quotes.remove(0),
                        idempotency: None,
                    },
                    _ => Request::Group {
                        body: GroupRequest {
                            quotes,
                            max_price: None,
                        },
                        idempotency: None,
                    },
                };
                match self.post(request) {
                    Some(Ok(Answer::Quote(quote))) => self.quotes.push(vec![quote.document]),
                    Some(Ok(Answer::Group(group))) => {
                        let sum = group.quotes.iter().map(|it| it.document.payment.price.0);
                        assert_eq!(group.price.0, sum.sum::<u64>());
                        let quotes = group.quotes.into_iter().map(|it| it.document);
                        self.quotes.push(quotes.collect());
                    }
                    Some(Ok(other)) => panic!("{other:?}"),
                    Some(Err(problem)) => assert_ne!(problem.kind, ProblemKind::Internal),
                    None => {}
                }
            }
            Event::Pay { which, flows, more } => {
                let Some(quotes) = self.quoted(*which).cloned() else {
                    return;
                };
                let some = quotes.get(..quotes.len().min(*flows)).unwrap_or_default();
                let payment = self.evidence(some, *more);
                self.payments.push(payment.clone());
                self.desk.checkpoint(1, vec![payment]);
            }
            Event::HandOver { which } => {
                let Some(quotes) = self.quoted(*which).cloned() else {
                    return;
                };
                let payment = self.evidence(&quotes, 0);
                let inspected = Inspected {
                    digest: payment.digest.clone(),
                    payer: "0xbuyer".into(),
                    sponsor: None,
                    transfers: payment.credits.clone(),
                    gas_budget: Amount(1),
                    expires_after_epoch: None,
                };
                let transaction = bytes(payment.digest.as_str());
                let quote = ReservationNumber::from_quote_id(&quotes[which % quotes.len()].id);
                self.post(Request::Reserve {
                    quote: quote.unwrap(),
                    payment: Some(PaymentProof::Transaction {
                        transaction,
                        inspected,
                    }),
                });
                if self.desk.submitted(&payment.digest) {
                    self.payments.push(payment.clone());
                    self.desk.ledger(LedgerEvent::LookedUp {
                        digest: payment.digest.clone(),
                        result: Lookup::Found(payment.clone()),
                    });
                    self.desk.checkpoint(1, vec![payment]);
                }
            }
            Event::Change {
                which,
                kbps,
                seconds,
            } => {
                let Some(number) = self.any(*which) else {
                    return;
                };
                let request = Request::Change {
                    number,
                    body: ChangeRequest {
                        rate_bps: kbps.map(|it| it * 1_000),
                        duration_s: *seconds,
                        ..ChangeRequest::default()
                    },
                    idempotency: None,
                };
                match self.post(request) {
                    Some(Ok(Answer::Quote(quote))) => self.quotes.push(vec![quote.document]),
                    Some(Ok(other)) => panic!("{other:?}"),
                    Some(Err(problem)) => assert_ne!(problem.kind, ProblemKind::Internal),
                    None => {}
                }
            }
            Event::Cancel { which } => {
                if let Some(number) = self.any(*which) {
                    self.post(Request::Cancel(number));
                    self.post(Request::Cancel(number));
                }
            }
            Event::Fail { which } => {
                if let Some(flow) = self.flow(*which) {
                    let reason = "no room".to_owned();
                    self.network(NetworkEvent::InstallFailed { flow, reason });
                }
            }
            Event::Confirm { which } => {
                if let Some(flow) = self.flow(*which) {
                    self.network(NetworkEvent::Installed { flow });
                }
            }
            Event::Break { which } => {
                if let Some(flow) = self.flow(*which) {
                    let reason = "link down".to_owned();
                    self.network(NetworkEvent::PathBroken { flow, reason });
                }
            }
            Event::Mend { which } => {
                if let Some(flow) = self.flow(*which) {
                    self.network(NetworkEvent::PathRestored { flow });
                }
            }
            Event::Capacity { link, per_cent } => {
                self.capacities.insert(*link, *per_cent);
                self.capacity(*link, *per_cent);
            }
            Event::Drain { link, drained } => {
                let (link, _) = links()[*link];
                let operator = Caller {
                    operator: true,
                    ..Caller::default()
                };
                let request = Request::Drain {
                    switch: link.switch,
                    port: Some(link.port),
                    drained: *drained,
                };
                self.desk.post(&operator, request);
            }
            Event::Moves { away } => {
                let host = Host {
                    address: ip(4),
                    mac: MacAddr([2, 0, 0, 0, 0, 4]),
                    port: if *away { port(2, 1) } else { port(3, 1) },
                    since: self.desk.now,
                };
                let hosts = &self.desk.hosts;
                hosts.lock().unwrap().insert(ip(4), host.clone());
                self.network(NetworkEvent::Host(host));
            }
            Event::GivenUp { link } => {
                let (port, _) = links()[*link];
                self.network(NetworkEvent::PortGivenUp { port });
            }
            Event::Confirms(confirms) => *self.desk.confirms.lock().unwrap() = *confirms,
            Event::Away(away) => {
                let connection = crate::core::network::ConnectionId(1);
                self.desk.feed(Input::Network(if *away {
                    NetworkInput::Closed { connection }
                } else {
                    NetworkInput::Connected {
                        connection,
                        peer: Peer::Tcp,
                    }
                }));
            }
            Event::Wait { ms } => self.desk.wait(Duration::from_millis(*ms)),
            Event::Crash { records } => self.kill_after = Some(*records),
        }
    }

    /// Everything ends, and what came of it is looked at.
    fn end(mut self) {
        *self.desk.confirms.lock().unwrap() = true;
        for link in 0..links().len() {
            self.capacity(link, 100);
        }
        self.desk.wait(Duration::from_secs(3 * 3_600));
        let books = self.desk.books();
        let sent = self.payments.iter().flat_map(|it| &it.credits);
        let sent: u64 = sent.map(|it| it.amount.0).sum();
        assert_eq!((books.paid.0, books.held.0), (sent, 0), "{books:?}");
        let commitments: Vec<_> = self.desk.core.book.commitments().collect();
        assert!(commitments.is_empty(), "{commitments:?}");
        let reservations = &self.desk.core.register.reservations;
        for it in reservations.values() {
            let name = it.issued.number.reservation_id();
            assert!(it.ended_by().is_some(), "{name} has not ended");
            let Some(paid) = &it.paid else {
                assert_eq!(it.ended_by(), Some(EndCause::Unpaid), "{name}");
                continue;
            };
            let (quote, receipt) = (it.quote(), &it.receipt.as_ref().unwrap().document);
            let (earned, price) = (receipt.earned.0, quote.payment.price.0);
            assert_eq!(earned + receipt.unserved_charge.0, price, "{name}");
            assert_eq!(receipt.paid, paid.amount, "{name}");
            let returned = receipt.paid.0 - earned - receipt.fee.0;
            assert_eq!(receipt.refunded.0, returned, "{name}");
            assert!(receipt.served_ms <= quote.duration_ms, "{name}");
            if receipt.served_ms == quote.duration_ms {
                assert_eq!(earned, price, "{name}");
            }
            if receipt.served_ms == 0 {
                assert_eq!(earned, 0, "{name}");
            }
            let fee = match it.ended_by() {
                Some(EndCause::Cancelled) => 2_000_000,
                _ => 0,
            };
            assert!(receipt.fee.0 <= fee, "{name}");
            // One that was not to be had when it was to begin has ended all that had not ended before.
            if it.ended_by() == Some(EndCause::Failed) && it.active.is_none() {
                for other in &it.issued.group {
                    let other = &reservations[other];
                    let had_ended = other.ended_at < it.ended_at;
                    let failed = other.ended_by() == Some(EndCause::Failed);
                    assert!(
                        had_ended || failed || other.ended_at == it.ended_at,
                        "{name}"
                    );
                }
            }
            let all_paid = it
                .issued
                .group
                .iter()
                .all(|it| reservations[it].paid.is_some());
            assert!(all_paid, "half of the group of {name} was bought");
        }
    }
}

/// Another price in every second minute of the first hour.
fn by_minutes() -> Vec<Period> {
    let minute = |it| MinuteOfDay::new(it).unwrap();
    let period = |from, to, factor| Period {
        from: minute(from),
        to: minute(to),
        factor_per_mille: Some(factor),
        steady_nanos_per_mbit_second: None,
        elastic_nanos_per_mbit_second: None,
    };
    let dear = |it: u16| period(it, it + 1, 333 + 700 * u32::from(it % 2));
    (0..60)
        .map(dear)
        .chain([period(60, 1_440, 1_000)])
        .collect()
}

fn pricings() -> impl Strategy<Value = Pricing> {
    let tariff = |minimum_nanos| Tariff {
        steady_nanos_per_mbit_second: 1_001_000,
        elastic_nanos_per_mbit_second: 1_000_000,
        minimum_nanos,
    };
    prop_oneof![
        Just(Pricing::Fixed(tariff(10_000_000))),
        Just(Pricing::Fixed(tariff(0))),
        Just(Pricing::TimeOfDay(
            TimeOfDay::new(tariff(0), 0, by_minutes()).unwrap()
        )),
        Just(Pricing::Congestion(
            Congestion::new(tariff(1_000), 50).unwrap()
        )),
    ]
}

proptest! {
    #[test]
    fn accounts_are_exact_groups_whole_and_nothing_stays_booked(
        pricing in pricings(), events in prop::collection::vec(event(), 1..60),
    ) {
        let mut story = Story::begin(pricing);
        for event in &events {
            story.tell(event);
        }
        story.end();
    }
}
