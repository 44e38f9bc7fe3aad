//! The capacity book against a naive model, and the rules of unpaid holds one by one.
#![allow(clippy::unwrap_used)]

use payflow_qos::{
    book::{Book, Commitment, CommitmentId, TrimError},
    class::Class,
    refusal::Reason,
    topology::PortRef,
    units::{BitRate, Bytes, SoldRate, Time, Window},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

const SECOND: u64 = 1_000;
const DAY: u64 = 24 * 60 * 60 * SECOND;
const LINK: PortRef = PortRef::new(1, 1);
const HOST: PortRef = PortRef::new(1, 100);
const OTHER_HOST: PortRef = PortRef::new(1, 101);

fn window(start: u64, end: u64) -> Window {
    Window::new(Time::from_millis(start), Time::from_millis(end)).unwrap()
}

/// A paid steady flow over `LINK`, for ten seconds.
fn paid(kbps: u32) -> Commitment {
    let rate = SoldRate(kbps);
    Commitment {
        path: vec![LINK],
        class: Class::Steady,
        rate,
        burst: Class::Steady.burst(rate),
        window: window(0, 10 * SECOND),
        ingress: HOST,
        unpaid: false,
        value: 0,
    }
}

fn hold(kbps: u32, ingress: PortRef) -> Commitment {
    Commitment {
        unpaid: true,
        ingress,
        ..paid(kbps)
    }
}

/// One link of 100 Mbit/s: 90 Mbit/s can be reserved.
fn book() -> Book {
    let mut book = Book::new(Time::default());
    book.set_capacity(LINK, BitRate(100_000_000));
    book
}

fn commit(book: &mut Book, id: u64, commitment: Commitment) -> Result<(), Reason> {
    book.commit(CommitmentId(id), &commitment)
        .map_err(|refusal| refusal.reason)
}

#[test]
fn a_link_is_sold_to_its_last_kilobit_and_not_one_more() {
    let mut book = book();
    assert_eq!(commit(&mut book, 1, paid(60_000)), Ok(()));
    assert_eq!(
        book.free(LINK, window(5 * SECOND, 20 * SECOND)),
        SoldRate(30_000)
    );
    let refused = commit(&mut book, 2, paid(30_001));
    assert_eq!(
        refused,
        Err(Reason::NoCapacity {
            link: LINK,
            asked: SoldRate(30_001),
            free: SoldRate(30_000)
        })
    );
    assert_eq!(commit(&mut book, 2, paid(30_000)), Ok(()));
    let after = Commitment {
        window: window(10 * SECOND, 11 * SECOND),
        ..paid(90_000)
    };
    assert_eq!(
        commit(&mut book, 3, after),
        Ok(()),
        "windows that touch do not overlap"
    );
}

#[test]
fn a_full_buffer_refuses_what_the_rate_would_allow() {
    let mut book = book(); // 625 000 B for steady bursts
    let bursty = Commitment {
        burst: Bytes(625_000),
        ..paid(1_000)
    };
    assert_eq!(commit(&mut book, 1, bursty), Ok(()));
    let refused = commit(&mut book, 2, paid(1_000));
    let reason = Reason::NoBuffer {
        link: LINK,
        class: Class::Steady,
        asked: Bytes(6_250),
        free: Bytes(0),
    };
    assert_eq!(refused, Err(reason));
    let elastic = Commitment {
        class: Class::Elastic,
        ..paid(1_000)
    };
    assert_eq!(
        commit(&mut book, 3, elastic),
        Ok(()),
        "each class has a buffer of its own"
    );
}

#[test]
fn a_path_is_committed_on_every_link_or_on_none() {
    let mut book = book();
    let unknown = PortRef::new(2, 1);
    let two = Commitment {
        path: vec![LINK, unknown],
        ..paid(1_000)
    };
    assert_eq!(
        commit(&mut book, 1, two.clone()),
        Err(Reason::UnknownCapacity { link: unknown })
    );
    assert_eq!(book.load(LINK, Time::default()).rate, SoldRate(0));
    book.set_capacity(unknown, BitRate(100_000_000));
    assert_eq!(commit(&mut book, 1, two.clone()), Ok(()));
    assert_eq!(book.load(unknown, Time::default()).rate, SoldRate(1_000));
    assert_eq!(book.release(CommitmentId(1)), Some(two));
    assert_eq!(book.load(unknown, Time::default()).rate, SoldRate(0));
    assert_eq!(book.release(CommitmentId(1)), None);
}

#[test]
fn the_same_commitment_twice_is_one_and_another_under_its_id_is_an_error() {
    let mut book = book();
    assert_eq!(commit(&mut book, 1, paid(1_000)), Ok(()));
    assert_eq!(commit(&mut book, 1, paid(1_000)), Ok(()));
    assert_eq!(book.load(LINK, Time::default()).rate, SoldRate(1_000));
    assert_eq!(commit(&mut book, 1, paid(2_000)), Err(Reason::Conflict));
}

#[test]
fn what_is_past_or_too_far_or_not_for_sale_is_refused() {
    let mut book = book();
    book.advance(Time::from_millis(10 * SECOND));
    assert_eq!(commit(&mut book, 1, paid(1)), Err(Reason::Past));
    let horizon = book.horizon();
    let far = Commitment {
        window: Window::new(Time::default(), horizon.plus(Duration::from_millis(1))).unwrap(),
        ..paid(1)
    };
    assert_eq!(
        commit(&mut book, 1, far),
        Err(Reason::BeyondHorizon { horizon })
    );
    let free = Commitment {
        class: Class::BestEffort,
        ..paid(1)
    };
    assert_eq!(
        commit(&mut book, 1, free),
        Err(Reason::NotSold {
            class: Class::BestEffort
        })
    );
}

#[test]
fn a_trim_only_shrinks_and_gives_the_rest_back() {
    let mut book = book();
    commit(&mut book, 1, paid(90_000)).unwrap();
    assert_eq!(
        book.trim(CommitmentId(1), window(0, 11 * SECOND)),
        Err(TrimError::NotWithin)
    );
    assert_eq!(
        book.trim(CommitmentId(2), window(0, 1)),
        Err(TrimError::Unknown)
    );
    assert_eq!(book.trim(CommitmentId(1), window(0, 4 * SECOND)), Ok(()));
    assert_eq!(
        book.free(LINK, window(4 * SECOND, 10 * SECOND)),
        SoldRate(90_000)
    );
    assert_eq!(
        book.free(LINK, window(3 * SECOND, 10 * SECOND)),
        SoldRate(0)
    );
}

#[test]
fn what_is_made_smaller_fits_also_where_no_capacity_is_known() {
    let mut book = book();
    let elsewhere = PortRef::new(77, 1);
    let both = Commitment {
        path: vec![LINK, elsewhere],
        ..paid(80_000)
    };
    book.restore(CommitmentId(1), both.clone());
    let smaller = |rate, path| Commitment {
        rate: SoldRate(rate),
        path,
        ..both.clone()
    };
    for greater in [
        smaller(80_001, vec![LINK]),
        smaller(80_000, vec![PortRef::new(78, 1)]),
        smaller(80_000, Vec::new()),
    ] {
        let refused = book.shrink(CommitmentId(1), greater);
        assert_eq!(refused, Err(TrimError::NotWithin));
    }
    assert_eq!(
        book.shrink(CommitmentId(1), smaller(30_000, vec![elsewhere])),
        Ok(())
    );
    assert_eq!(book.load(LINK, Time::default()).rate, SoldRate(0));
    let left = book.get(CommitmentId(1)).map(|it| it.rate);
    assert_eq!(left, Some(SoldRate(30_000)));
}

#[test]
fn a_replacement_counts_what_it_replaces_as_free_and_fails_without_a_trace() {
    let mut book = book();
    commit(&mut book, 1, paid(60_000)).unwrap();
    book.replace(CommitmentId(1), &paid(80_000)).unwrap();
    assert_eq!(book.load(LINK, Time::default()).rate, SoldRate(80_000));
    assert!(book.replace(CommitmentId(1), &paid(90_001)).is_err());
    assert_eq!(book.get(CommitmentId(1)), Some(&paid(80_000)));
    assert_eq!(book.load(LINK, Time::default()).rate, SoldRate(80_000));
}

#[test]
fn the_only_unpaid_hold_on_a_link_may_take_all_of_it() {
    assert_eq!(commit(&mut book(), 1, hold(90_000, HOST)), Ok(()));
}

#[test]
fn a_second_unpaid_hold_from_one_port_gets_a_tenth_less_what_the_port_holds() {
    let mut book = book();
    commit(&mut book, 1, hold(4_000, HOST)).unwrap();
    let refused = commit(&mut book, 2, hold(5_001, HOST));
    assert_eq!(
        refused,
        Err(Reason::HoldLimit {
            link: LINK,
            asked: SoldRate(5_001),
            allowed: SoldRate(5_000)
        })
    );
    assert_eq!(commit(&mut book, 2, hold(5_000, HOST)), Ok(()));
    assert_eq!(
        commit(&mut book, 3, hold(9_000, OTHER_HOST)),
        Ok(()),
        "another port has a tenth of its own"
    );
    assert!(book.mark_paid(CommitmentId(1)));
    assert_eq!(
        commit(&mut book, 4, hold(4_000, HOST)),
        Ok(()),
        "what is paid for is no hold"
    );
}

#[test]
fn all_unpaid_holds_together_take_at_most_half_of_what_is_free_without_them() {
    let mut book = book();
    commit(&mut book, 1, paid(50_000)).unwrap(); // 40 000 are free, 20 000 of them for holds
    commit(&mut book, 2, hold(14_000, HOST)).unwrap(); // the only one, so it may
    let refused = commit(&mut book, 3, hold(6_001, OTHER_HOST));
    assert_eq!(
        refused,
        Err(Reason::HoldLimit {
            link: LINK,
            asked: SoldRate(6_001),
            allowed: SoldRate(6_000)
        })
    );
    assert_eq!(commit(&mut book, 3, hold(6_000, OTHER_HOST)), Ok(()));
    assert_eq!(
        commit(&mut book, 4, paid(20_000)),
        Ok(()),
        "what is paid from the start is under no hold limit"
    );
}

#[test]
fn a_hold_that_was_released_no_longer_counts_against_others() {
    let mut book = book();
    commit(&mut book, 1, hold(90_000, HOST)).unwrap();
    book.release(CommitmentId(1)).unwrap();
    assert_eq!(commit(&mut book, 2, hold(90_000, HOST)), Ok(()));
    book.expire_unpaid(CommitmentId(2), Time::default())
        .unwrap();
    assert_eq!(commit(&mut book, 3, hold(90_000, OTHER_HOST)), Ok(()));
}

#[test]
fn small_unpaid_holds_cannot_fill_a_buffer() {
    let mut book = Book::new(Time::default());
    book.set_capacity(LINK, BitRate(10_000_000)); // 64 000 B: the least buffer
    commit(&mut book, 0, hold(1, HOST)).unwrap();
    let accepted = (1..100_u32)
        .filter(|n| commit(&mut book, (*n).into(), hold(1, PortRef::new(1, 200 + n))).is_ok())
        .count();
    assert_eq!(accepted, 18, "of 1 625 B each, within half of 64 000 B");
    assert_eq!(commit(&mut book, 100, paid(1_000)), Ok(()));
}

#[test]
fn every_unpaid_expiry_doubles_the_cool_down_until_somebody_pays() {
    let mut book = book();
    let mut now = Time::default();
    for seconds in [10, 20, 40, 80, 160, 300, 300] {
        let lasting = Commitment {
            window: window(0, DAY),
            ..hold(1_000, HOST)
        };
        commit(&mut book, 1, lasting.clone()).unwrap();
        assert!(book.expire_unpaid(CommitmentId(1), now).is_some());
        let until = now.plus(Duration::from_secs(seconds));
        assert_eq!(book.cool_down_until(HOST, now), Some(until));
        assert_eq!(
            commit(&mut book, 1, lasting.clone()),
            Err(Reason::CoolingDown { until })
        );
        assert_eq!(book.cool_down_until(OTHER_HOST, now), None);
        now = until;
        assert_eq!(book.cool_down_until(HOST, now), None);
        book.advance(now);
    }
    let lasting = Commitment {
        window: window(0, DAY),
        ..hold(1_000, HOST)
    };
    commit(&mut book, 1, lasting.clone()).unwrap();
    book.mark_paid(CommitmentId(1));
    assert_eq!(
        book.expire_unpaid(CommitmentId(1), now),
        None,
        "what is paid does not expire unpaid"
    );
    commit(&mut book, 2, lasting).unwrap();
    book.expire_unpaid(CommitmentId(2), now);
    assert_eq!(
        book.cool_down_until(HOST, now),
        Some(now.plus(Duration::from_secs(10)))
    );
}

#[test]
fn what_has_ended_is_forgotten_and_an_unpaid_one_cools_its_port_down() {
    let mut book = book();
    commit(&mut book, 1, paid(1_000)).unwrap();
    commit(&mut book, 2, hold(1_000, OTHER_HOST)).unwrap();
    assert_eq!(book.advance(Time::from_millis(9_999)), []);
    let now = Time::from_millis(10_000);
    let ended: Vec<_> = book.advance(now).into_iter().map(|(id, _)| id.0).collect();
    assert_eq!(ended, [1, 2]);
    assert_eq!(book.commitments().count(), 0);
    assert_eq!(book.cool_down_until(HOST, now), None);
    assert_eq!(
        book.cool_down_until(OTHER_HOST, now),
        Some(Time::from_millis(20_000))
    );
}

#[test]
fn when_capacity_shrinks_the_least_valuable_go_first_and_from_their_whole_path() {
    let mut book = book();
    let elsewhere = PortRef::new(2, 1);
    book.set_capacity(elsewhere, BitRate(100_000_000));
    for (id, value) in [(1, 5), (2, 1), (3, 9), (4, 3)] {
        commit(
            &mut book,
            id,
            Commitment {
                value,
                path: vec![LINK, elsewhere],
                ..paid(20_000)
            },
        )
        .unwrap();
    }
    let gone: Vec<_> = book
        .set_capacity(LINK, BitRate(50_000_000))
        .into_iter()
        .map(|(id, _)| id.0)
        .collect();
    assert_eq!(gone, [2, 4]);
    assert_eq!(book.load(LINK, Time::default()).rate, SoldRate(40_000));
    assert_eq!(book.load(elsewhere, Time::default()).rate, SoldRate(40_000));
    let rest: Vec<_> = book
        .clear_capacity(LINK)
        .into_iter()
        .map(|(id, _)| id.0)
        .collect();
    assert_eq!(rest, [1, 3]);
    assert_eq!(book.load(elsewhere, Time::default()).rate, SoldRate(0));
    assert_eq!(
        commit(&mut book, 5, paid(1)),
        Err(Reason::UnknownCapacity { link: LINK })
    );
}

#[test]
fn what_is_restored_counts_once_its_capacity_is_known_and_never_overbooks() {
    let mut book = Book::new(Time::default());
    let worth = |kbps, value| Commitment {
        value,
        ..paid(kbps)
    };
    assert_eq!(book.restore(CommitmentId(1), worth(50_000, 1)), []);
    assert_eq!(book.restore(CommitmentId(2), worth(30_000, 2)), []);
    assert_eq!(book.set_capacity(LINK, BitRate(100_000_000)), []);
    assert_eq!(book.free(LINK, window(0, SECOND)), SoldRate(10_000));
    let gone = book.restore(CommitmentId(3), worth(20_000, 3));
    assert_eq!(gone, [(CommitmentId(1), worth(50_000, 1))]);
    assert_eq!(book.free(LINK, window(0, SECOND)), SoldRate(40_000));
    book.release(CommitmentId(2)).unwrap();
    book.release(CommitmentId(3)).unwrap();
    assert_eq!(book.free(LINK, window(0, SECOND)), SoldRate(90_000));
}

// ---- Against a naive model --------------------------------------------------------------------------------------------

const PORTS: u64 = 3;

/// What is committed, and nothing else.
#[derive(Clone, Debug, Default)]
struct Model {
    live: BTreeMap<CommitmentId, Commitment>,
    capacity: BTreeMap<PortRef, BitRate>,
}

impl Model {
    fn on(&self, port: PortRef) -> Vec<&Commitment> {
        self.live
            .values()
            .filter(|commitment| commitment.path.contains(&port))
            .collect()
    }

    /// At every instant, from `now` on, at which the load can rise: rates and bursts are within
    /// what the link has.
    fn is_within_limits(&self, now: Time) -> Result<(), TestCaseError> {
        for (port, capacity) in &self.capacity {
            let plan = payflow_qos::class::ClassPlan::for_capacity(*capacity);
            let here = self.on(*port);
            for at in here
                .iter()
                .map(|commitment| commitment.window.start().max(now))
            {
                let running = || {
                    here.iter()
                        .filter(|commitment| commitment.window.contains(at))
                };
                let rate: u64 = running().map(|commitment| commitment.rate.bps()).sum();
                prop_assert!(
                    rate <= plan.reservable().bps(),
                    "{port} over-booked at {at}"
                );
                prop_assert!(rate * 10 <= capacity.0 * 9);
                for class in Class::SOLD {
                    let burst: u64 = running()
                        .filter(|its| its.class == class)
                        .map(|its| its.burst.0)
                        .sum();
                    prop_assert!(
                        burst <= plan.share(class).buffer.0,
                        "{class} buffer of {port} over-booked at {at}"
                    );
                }
            }
        }
        Ok(())
    }

    /// Whether a paid commitment fits by the instants alone: then the calendars, which round
    /// outwards, may still refuse; and if not even then, they must.
    fn fits(&self, new: &Commitment, now: Time, rounded: bool) -> bool {
        let round = |window: Window| {
            if rounded {
                outwards(window, now)
            } else {
                window
            }
        };
        new.path.iter().all(|port| {
            let Some(capacity) = self.capacity.get(port) else {
                return false;
            };
            let plan = payflow_qos::class::ClassPlan::for_capacity(*capacity);
            let here = self.on(*port);
            let asked = round(new.window);
            let starts = here.iter().map(|its| round(its.window).start());
            starts
                .chain([asked.start()])
                .map(|at| at.max(now))
                .filter(|at| asked.contains(*at))
                .all(|at| {
                    let running = || here.iter().filter(|its| round(its.window).contains(at));
                    let rate: u64 = running().map(|its| u64::from(its.rate.0)).sum();
                    let burst: u64 = running()
                        .filter(|its| its.class == new.class)
                        .map(|its| its.burst.0)
                        .sum();
                    rate + u64::from(new.rate.0) <= plan.reservable().0.into()
                        && burst + new.burst.0 <= plan.share(new.class).buffer.0
                })
        })
    }
}

/// What one more unpaid hold may take, from the definition: one entry per link that holds others.
struct HoldLimits(Vec<(u64, u64)>);

impl HoldLimits {
    fn keep(&self, hold: &Commitment) -> bool {
        self.0
            .iter()
            .all(|(rate, burst)| u64::from(hold.rate.0) <= *rate && hold.burst.0 <= *burst)
    }
}

impl Model {
    fn hold_limits(&self, book: &Book, new: &Commitment) -> HoldLimits {
        let known = new
            .path
            .iter()
            .filter_map(|port| Some((*port, *self.capacity.get(port)?)));
        let limits = known.filter_map(|(port, capacity)| {
            let holds: Vec<_> = self.on(port).into_iter().filter(|its| its.unpaid).collect();
            if holds.is_empty() {
                return None;
            }
            let near = || holds.iter().filter(|its| its.window.overlaps(new.window));
            let mine = || near().filter(|its| its.ingress == new.ingress);
            let of_class = |its: &&&Commitment| its.class == new.class;
            let plan = payflow_qos::class::ClassPlan::for_capacity(capacity);
            let limit = |whole: u64, free: u64, all: u64, mine: u64| {
                (whole / 10)
                    .saturating_sub(mine)
                    .min(((free + all).min(whole) / 2).saturating_sub(all))
            };
            let rate = limit(
                plan.reservable().0.into(),
                book.free(port, new.window).0.into(),
                near().map(|its| u64::from(its.rate.0)).sum(),
                mine().map(|its| u64::from(its.rate.0)).sum(),
            );
            let buffer = plan.share(new.class).buffer.0;
            // Without the calendars the free buffer is known only as at most all of it.
            let all = near().filter(of_class).map(|its| its.burst.0).sum();
            let burst = limit(
                buffer,
                buffer,
                all,
                mine().filter(of_class).map(|its| its.burst.0).sum(),
            );
            Some((rate, burst))
        });
        HoldLimits(limits.collect())
    }
}

/// A window as the calendars count it at `now`.
fn outwards(window: Window, now: Time) -> Window {
    let border = (now.millis() / 60_000) * 60_000 + DAY;
    let slot = |at: u64| if at < border { SECOND } else { 60 * SECOND };
    let start = window.start().millis();
    let end = window.end().millis();
    let (first, last) = (slot(start), slot(end - 1));
    self::window(start / first * first, end.div_ceil(last) * last)
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Commitment),
    Replace(u64, Commitment),
    Release(u64),
    Trim(u64, u64, u64),
    Expire(u64),
    MarkPaid(u64),
    Advance(u64),
    SetCapacity(u64, u64),
    ClearCapacity(u64),
}

fn commitment() -> impl Strategy<Value = Commitment> {
    let instant = || prop_oneof![3 => 0..60 * SECOND, 2 => DAY - 90 * SECOND..DAY + 200 * SECOND];
    // In order, as the book tells them.
    let ports = prop::collection::btree_set(0..PORTS, 1..4);
    (
        ports,
        any::<bool>(),
        1..5_000_u32,
        1..4_u64,
        instant(),
        instant(),
        0..3_u32,
        prop::bool::weighted(0.3),
        0..4_u64,
    )
        .prop_map(
            |(ports, elastic, kbps, bursts, a, b, ingress, unpaid, value)| {
                let class = if elastic {
                    Class::Elastic
                } else {
                    Class::Steady
                };
                Commitment {
                    path: ports
                        .into_iter()
                        .map(|switch| PortRef::new(switch, 1))
                        .collect(),
                    class,
                    rate: SoldRate(kbps),
                    burst: Bytes(class.burst(SoldRate(kbps)).0 * bursts),
                    window: window(a.min(b), a.max(b) + 1),
                    ingress: PortRef::new(9, ingress),
                    unpaid,
                    value,
                }
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..24_u64;
    prop_oneof![
        12 => commitment().prop_map(Step::Commit),
        2 => (id(), commitment()).prop_map(|(id, commitment)| Step::Replace(id, commitment)),
        2 => id().prop_map(Step::Release),
        2 => (id(), 0..DAY, 0..DAY).prop_map(|(id, a, b)| Step::Trim(id, a, b)),
        1 => id().prop_map(Step::Expire),
        1 => id().prop_map(Step::MarkPaid),
        2 => prop_oneof![0..3 * SECOND, 0..130 * SECOND, DAY - 100 * SECOND..DAY].prop_map(Step::Advance),
        1 => (0..PORTS, 1_000_000..20_000_000_u64).prop_map(|(port, bps)| Step::SetCapacity(port, bps)),
        1 => (0..PORTS).prop_map(Step::ClearCapacity),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_book_never_overbooks_and_refuses_nothing_that_fits(steps in prop::collection::vec(step(), 1..60)) {
        let mut now = Time::from_millis(0);
        let (mut book, mut model) = (Book::new(now), Model::default());
        for switch in 0..PORTS {
            let port = PortRef::new(switch, 1);
            book.set_capacity(port, BitRate(10_000_000));
            model.capacity.insert(port, BitRate(10_000_000));
        }
        let mut next = 0;
        for step in steps {
            match step {
                Step::Commit(commitment) => {
                    let id = CommitmentId(next);
                    next += 1;
                    let limits = model.hold_limits(&book, &commitment);
                    let accepted = book.commit(id, &commitment);
                    let asked_in_time = commitment.window.end() > now;
                    let fits = asked_in_time && model.fits(&commitment, now, true);
                    match &accepted {
                        Ok(()) => prop_assert!(fits && model.fits(&commitment, now, false)),
                        Err(refusal) if fits => prop_assert!(
                            commitment.unpaid && matches!(refusal.reason, Reason::HoldLimit { .. } | Reason::CoolingDown { .. }),
                            "refused what fits: {refusal}"
                        ),
                        Err(_) => {}
                    }
                    if accepted.is_ok() {
                        prop_assert!(!commitment.unpaid || limits.keep(&commitment), "an unpaid hold took more than its share");
                        model.live.insert(id, commitment);
                    }
                }
                Step::Replace(id, commitment) => {
                    if book.replace(CommitmentId(id), &commitment).is_ok() {
                        model.live.insert(CommitmentId(id), commitment);
                        next = next.max(id + 1);
                    }
                }
                Step::Release(id) => {
                    prop_assert_eq!(book.release(CommitmentId(id)), model.live.remove(&CommitmentId(id)));
                }
                Step::Trim(id, a, b) => {
                    let known = model.live.get_mut(&CommitmentId(id));
                    let old = known.as_ref().map_or(window(0, 1), |known| known.window);
                    let cut = |part: u64| old.start().millis() + part % (old.millis() + 1);
                    if let Some(new) = Window::new(Time::from_millis(cut(a)), Time::from_millis(cut(b))) {
                        let trimmed = book.trim(CommitmentId(id), new);
                        prop_assert_eq!(trimmed.is_ok(), known.is_some());
                        if let Some(known) = known {
                            known.window = new;
                        }
                    }
                }
                Step::Expire(id) => {
                    if let Some(gone) = book.expire_unpaid(CommitmentId(id), now) {
                        prop_assert!(gone.unpaid);
                        prop_assert_eq!(model.live.remove(&CommitmentId(id)), Some(gone));
                    }
                }
                Step::MarkPaid(id) => {
                    let known = model.live.get_mut(&CommitmentId(id));
                    prop_assert_eq!(book.mark_paid(CommitmentId(id)), known.is_some());
                    if let Some(known) = known {
                        known.unpaid = false;
                    }
                }
                Step::Advance(by) => {
                    now = now.plus(Duration::from_millis(by));
                    for (id, ended) in book.advance(now) {
                        prop_assert!(ended.window.end() <= now);
                        prop_assert_eq!(model.live.remove(&id), Some(ended));
                    }
                    prop_assert!(model.live.values().all(|its| its.window.end() > now));
                }
                Step::SetCapacity(switch, bps) => {
                    let port = PortRef::new(switch, 1);
                    for (id, gone) in book.set_capacity(port, BitRate(bps)) {
                        prop_assert!(gone.path.contains(&port));
                        prop_assert_eq!(model.live.remove(&id), Some(gone));
                    }
                    model.capacity.insert(port, BitRate(bps));
                }
                Step::ClearCapacity(switch) => {
                    let port = PortRef::new(switch, 1);
                    for (id, gone) in book.clear_capacity(port) {
                        prop_assert_eq!(model.live.remove(&id), Some(gone));
                    }
                    model.capacity.remove(&port);
                    prop_assert!(model.on(port).is_empty());
                }
            }
            model.is_within_limits(now)?;
            prop_assert!(book.commitments().map(|(id, its)| (id, its.clone())).eq(model.live.clone()));
        }
        // Nothing is left behind when everything is given back.
        for id in model.live.keys() {
            book.release(*id);
        }
        for (port, capacity) in &model.capacity {
            let whole = payflow_qos::class::ClassPlan::for_capacity(*capacity).reservable();
            prop_assert_eq!(book.free(*port, Window::new(now, book.horizon()).unwrap()), whole);
        }
    }
}

#[test]
fn what_is_committed_follows_a_port_that_has_another_number() {
    const NEW: PortRef = PortRef::new(1, 7);
    let mut book = book();
    commit(&mut book, 1, paid(60_000)).unwrap();
    commit(&mut book, 2, hold(1_000, HOST)).unwrap();
    // Something else had the number, and is gone with what was sold there.
    book.set_capacity(NEW, BitRate(10_000_000));
    let elsewhere = Commitment {
        path: vec![NEW],
        ..paid(1_000)
    };
    commit(&mut book, 3, elsewhere).unwrap();
    let lost: Vec<_> = book
        .renumber(LINK, NEW)
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(lost, [CommitmentId(3)]);
    let now = window(0, 10 * SECOND);
    assert_eq!(book.free(NEW, now), SoldRate(29_000));
    assert!(book.set_capacity(NEW, BitRate(100_000_000)).is_empty());
    assert!(book.clear_capacity(LINK).is_empty());
    let through_both = Commitment {
        path: vec![NEW],
        ..paid(29_001)
    };
    assert!(commit(&mut book, 4, through_both).is_err());

    // Who asked has another number too.
    assert!(book.renumber(HOST, OTHER_HOST).is_empty());
    assert_eq!(
        book.get(CommitmentId(2)).map(|it| it.ingress),
        Some(OTHER_HOST)
    );
    assert!(book.release(CommitmentId(1)).is_some());
    assert!(book.release(CommitmentId(2)).is_some());
    assert_eq!(book.free(NEW, now), SoldRate(90_000));
}
