//! The rules of the capacity book one by one.
#![allow(clippy::unwrap_used)]

use payflow_qos::{
    HoldTerms, PaidPart,
    book::{Book, Commitment, CommitmentId, TrimError},
    class::Class,
    refusal::Reason,
    topology::PortRef,
    units::{BitRate, Bytes, PerMille, SoldRate, Time, Window},
};
use std::time::Duration;

const SECOND: u64 = 1_000;
const DAY: u64 = 24 * 60 * 60 * SECOND;
const LINK: PortRef = PortRef::new(1, 1);
const HOST: PortRef = PortRef::new(1, 100);
const OTHER_HOST: PortRef = PortRef::new(1, 101);

fn window(start: u64, end: u64) -> Window {
    Window::new(Time::from_millis(start), Time::from_millis(end)).unwrap()
}

/// A paid elastic flow over `LINK`, for ten seconds: of that class all can be sold.
fn paid(kbps: u32) -> Commitment {
    let rate = SoldRate(kbps);
    Commitment {
        path: [LINK].into(),
        class: Class::Elastic,
        rate,
        burst: Class::Elastic.burst(rate),
        window: window(0, 10 * SECOND),
        ingress: HOST,
        unpaid: false,
        hold: HoldTerms::default(),
        value: 0,
    }
}

/// A paid steady one.
fn steady(kbps: u32) -> Commitment {
    Commitment {
        class: Class::Steady,
        burst: Class::Steady.burst(SoldRate(kbps)),
        ..paid(kbps)
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
        ..steady(1_000)
    };
    assert_eq!(commit(&mut book, 1, bursty), Ok(()));
    let refused = commit(&mut book, 2, steady(1_000));
    let reason = Reason::NoBuffer {
        link: LINK,
        class: Class::Steady,
        asked: Bytes(6_250),
        free: Bytes(0),
    };
    assert_eq!(refused, Err(reason));
    assert_eq!(
        commit(&mut book, 3, paid(1_000)),
        Ok(()),
        "each class has a buffer of its own"
    );
}

#[test]
fn steady_is_sold_up_to_its_guarantee_and_elastic_all_the_rest() {
    let mut book = book();
    let refused = commit(&mut book, 1, steady(75_001));
    let full = |asked, free| Reason::NoCapacity {
        link: LINK,
        asked: SoldRate(asked),
        free: SoldRate(free),
    };
    assert_eq!(refused, Err(full(75_001, 75_000)));
    assert_eq!(commit(&mut book, 1, steady(70_000)), Ok(()));
    assert_eq!(
        commit(&mut book, 2, steady(6_000)),
        Err(full(6_000, 5_000)),
        "whatever else is free"
    );
    assert_eq!(
        commit(&mut book, 2, paid(20_001)),
        Err(full(20_001, 20_000))
    );
    assert_eq!(commit(&mut book, 2, paid(18_000)), Ok(()));
    assert_eq!(
        commit(&mut book, 3, steady(3_000)),
        Err(full(3_000, 2_000)),
        "what elastic has bought is sold"
    );
    // Whatever steady would have left, of less capacity it is sold its part.
    let lost = book.set_capacity(LINK, BitRate(90_000_000));
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].0, CommitmentId(1));
}

#[test]
fn a_path_is_committed_on_every_link_or_on_none() {
    let mut book = book();
    let unknown = PortRef::new(2, 1);
    let two = Commitment {
        path: [LINK, unknown].into(),
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
        path: [LINK, elsewhere].into(),
        ..paid(80_000)
    };
    book.restore(CommitmentId(1), both.clone());
    let smaller = |rate, path| Commitment {
        rate: SoldRate(rate),
        path,
        ..both.clone()
    };
    for greater in [
        smaller(80_001, [LINK].into()),
        smaller(80_000, [PortRef::new(78, 1)].into()),
        smaller(80_000, [].into()),
    ] {
        let refused = book.shrink(CommitmentId(1), greater);
        assert_eq!(refused, Err(TrimError::NotWithin));
    }
    assert_eq!(
        book.shrink(CommitmentId(1), smaller(30_000, [elsewhere].into())),
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
    let hold = |ingress| Commitment {
        unpaid: true,
        ingress,
        ..steady(1)
    };
    commit(&mut book, 0, hold(HOST)).unwrap();
    let accepted = (1..100_u32)
        .filter(|n| commit(&mut book, (*n).into(), hold(PortRef::new(1, 200 + n))).is_ok())
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
                path: [LINK, elsewhere].into(),
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

#[test]
fn what_is_committed_follows_a_port_that_has_another_number() {
    const NEW: PortRef = PortRef::new(1, 7);
    let mut book = book();
    commit(&mut book, 1, paid(60_000)).unwrap();
    commit(&mut book, 2, hold(1_000, HOST)).unwrap();
    // Something else had the number, and is gone with what was sold there.
    book.set_capacity(NEW, BitRate(10_000_000));
    let elsewhere = Commitment {
        path: [NEW].into(),
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
        path: [NEW].into(),
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

#[test]
fn a_lower_share_sells_nothing_new_until_there_is_room_and_takes_nothing_back() {
    let mut book = book();
    let half = PerMille::new(500).unwrap();
    commit(&mut book, 1, paid(60_000)).unwrap();
    book.set_share(LINK, half);
    assert_eq!(book.share(LINK), half);
    assert_eq!(book.reservable(LINK), SoldRate(45_000));
    assert_eq!(book.load(LINK, Time::default()).rate, SoldRate(60_000));
    let refused = commit(&mut book, 2, paid(1));
    let full = |free| {
        Err(Reason::NoCapacity {
            link: LINK,
            asked: SoldRate(1),
            free: SoldRate(free),
        })
    };
    assert_eq!(refused, full(0));
    // What is there may move, become smaller, and stays when the capacity is said again or shrinks to what it needs.
    let elsewhere = PortRef::new(2, 1);
    book.set_capacity(elsewhere, BitRate(100_000_000));
    let wider = Commitment {
        path: [LINK, elsewhere].into(),
        ..paid(60_000)
    };
    book.replace(CommitmentId(1), &wider).unwrap();
    let more = paid(60_001);
    assert!(book.replace(CommitmentId(1), &more).is_err());
    book.replace(CommitmentId(1), &paid(50_000)).unwrap();
    assert_eq!(book.set_capacity(LINK, BitRate(56_000_000)), []);
    assert_eq!(book.reservable(LINK), SoldRate(25_200));

    book.set_capacity(LINK, BitRate(100_000_000));
    book.replace(CommitmentId(1), &paid(44_999)).unwrap();
    assert_eq!(commit(&mut book, 2, paid(1)), Ok(()));
    assert_eq!(commit(&mut book, 3, paid(1)), full(0));
    // It is remembered while the capacity is not known, and follows the port.
    book.clear_capacity(LINK);
    assert_eq!(book.reservable(LINK), SoldRate(0));
    book.set_capacity(LINK, BitRate(10_000_000));
    assert_eq!(book.reservable(LINK), SoldRate(4_500));
    book.renumber(LINK, PortRef::new(1, 7));
    assert_eq!(book.share(LINK), PerMille::ALL);
    assert_eq!(book.share(PortRef::new(1, 7)), half);
    book.set_share(PortRef::new(1, 7), PerMille::ALL);
    assert_eq!(book.reservable(PortRef::new(1, 7)), SoldRate(9_000));
}

#[test]
fn a_clock_that_is_set_back_changes_nothing_and_one_that_jumps_ahead_ends_what_it_passes() {
    let mut book = book();
    commit(&mut book, 1, paid(1_000)).unwrap();
    book.advance(Time::from_millis(5 * SECOND));
    let (now, horizon) = (book.now(), book.horizon());
    assert_eq!(book.advance(Time::default()), []);
    assert_eq!((book.now(), book.horizon()), (now, horizon));
    assert_eq!(book.load(LINK, now).rate, SoldRate(1_000));
    let passed = Commitment {
        window: window(0, 5 * SECOND),
        ..paid(1)
    };
    assert_eq!(commit(&mut book, 2, passed), Err(Reason::Past));
    // What begins in the past counts from now on.
    assert_eq!(commit(&mut book, 2, paid(1_000)), Ok(()));

    let far = Commitment {
        window: window(40 * DAY, 40 * DAY + SECOND),
        ..paid(1)
    };
    assert_eq!(
        commit(&mut book, 3, far.clone()),
        Err(Reason::BeyondHorizon { horizon })
    );
    let ended = book.advance(Time::from_millis(40 * DAY)).len();
    assert_eq!(ended, 2);
    assert_eq!(book.load(LINK, book.now()).rate, SoldRate(0));
    assert_eq!(commit(&mut book, 3, far), Ok(()));
    assert_eq!(book.advance(Time::from_millis(u64::MAX)).len(), 1);
    assert_eq!(commit(&mut book, 4, paid(1)), Err(Reason::Past));
}

#[test]
fn rates_and_bursts_that_overflow_every_sum_are_refused_and_lost_when_restored() {
    let mut book = Book::new(Time::default());
    let all = Commitment {
        burst: Bytes(u64::MAX),
        ..paid(u32::MAX)
    };
    for id in 1..4 {
        assert_eq!(book.restore(CommitmentId(id), all.clone()), []);
    }
    let lost: Vec<_> = book
        .set_capacity(LINK, BitRate(100_000_000))
        .into_iter()
        .map(|it| it.0.0)
        .collect();
    assert_eq!(lost, [3, 2, 1]);
    assert_eq!(
        book.restore(CommitmentId(4), all.clone()),
        [(CommitmentId(4), all.clone())]
    );
    assert_eq!(book.free(LINK, all.window), SoldRate(90_000));
    assert!(commit(&mut book, 5, all.clone()).is_err());

    // The fastest link that can be told sells what a meter can count, and no more.
    book.set_capacity(LINK, BitRate(u64::MAX));
    let most = Commitment {
        burst: Bytes(0),
        ..all.clone()
    };
    assert_eq!(commit(&mut book, 6, most.clone()), Ok(()));
    let refused = commit(
        &mut book,
        7,
        Commitment {
            burst: Bytes(0),
            ..paid(1)
        },
    );
    assert!(matches!(refused, Err(Reason::NoCapacity { .. })));
    let refused = commit(
        &mut book,
        7,
        Commitment {
            burst: Bytes(125 * u64::from(u32::MAX) + 1),
            ..paid(0)
        },
    );
    assert!(
        matches!(refused, Err(Reason::NoBuffer { .. })),
        "{refused:?}"
    );
    let (gone, _) = book.restore(CommitmentId(8), most).remove(0);
    assert_eq!(gone, CommitmentId(8));
}

#[test]
fn a_flow_below_the_granularity_of_a_meter_is_booked_as_one_kilobit_and_one_of_no_rate_by_its_burst()
 {
    let mut book = book();
    let least = BitRate(1).to_sold().unwrap();
    commit(&mut book, 1, steady(least.0)).unwrap();
    assert_eq!(book.load(LINK, Time::default()).rate, SoldRate(1));
    let burst = Class::Steady.burst(SoldRate(0));
    commit(&mut book, 2, steady(0)).unwrap();
    let load = book.load(LINK, Time::default());
    assert_eq!(load.rate, SoldRate(1));
    assert_eq!(load.steady_burst, Bytes(2 * burst.0));
}

/// A tenth of the link of 90 Mbit/s, beside another hold.
const TENTH: u32 = 9_000;

#[test]
fn flows_that_are_bought_together_are_one_hold() {
    let mut book = book();
    let together = |id, kbps| {
        let hold = HoldTerms {
            group: Some(CommitmentId(1)),
            paid: None,
        };
        (
            id,
            Commitment {
                hold,
                ..self::hold(kbps, HOST)
            },
        )
    };
    // Alone on the link, whatever they are.
    for (id, hold) in [
        together(1, 30_000),
        together(2, 30_000),
        together(3, 20_000),
    ] {
        assert_eq!(commit(&mut book, id, hold), Ok(()));
    }
    // Beside them, and beside another one, everybody's limits hold.
    assert!(matches!(
        commit(&mut book, 4, hold(TENTH, HOST)),
        Err(Reason::HoldLimit { .. })
    ));
    book.release(CommitmentId(3));
    book.release(CommitmentId(2));
    book.release(CommitmentId(1));
    assert_eq!(commit(&mut book, 5, hold(1_000, OTHER_HOST)), Ok(()));
    assert_eq!(commit(&mut book, 6, together(6, TENTH - 1_000).1), Ok(()));
    assert!(matches!(
        commit(&mut book, 7, together(7, 2_000).1),
        Err(Reason::HoldLimit { .. })
    ));
}

#[test]
fn a_hold_that_changes_what_is_paid_is_a_hold_of_what_it_adds() {
    let mut book = book();
    assert_eq!(commit(&mut book, 1, paid(40_000)), Ok(()));
    assert_eq!(commit(&mut book, 2, hold(64, OTHER_HOST)), Ok(()));
    let change = |kbps, is_paid: bool| Commitment {
        hold: HoldTerms {
            group: None,
            paid: is_paid.then(|| {
                Box::new(PaidPart {
                    links: [LINK].into(),
                    rate: SoldRate(40_000),
                    burst: Class::Elastic.burst(SoldRate(40_000)),
                })
            }),
        },
        ..hold(kbps, HOST)
    };
    let try_instead = |book: &Book, commitment: Commitment| {
        let mut book = book.clone();
        book.release(CommitmentId(1));
        let committed = commit(&mut book, 3, commitment);
        (committed, book)
    };
    assert!(try_instead(&book, change(40_000, false)).0.is_err());
    assert_eq!(try_instead(&book, change(40_000, true)).0, Ok(()));
    assert_eq!(try_instead(&book, change(40_000 + TENTH, true)).0, Ok(()));
    assert!(try_instead(&book, change(41_000 + TENTH, true)).0.is_err());
    // What is paid of it takes nothing of what others may hold.
    let (_, mut changed) = try_instead(&book, change(40_000, true));
    assert_eq!(
        commit(&mut changed, 4, hold(TENTH - 64, OTHER_HOST)),
        Ok(())
    );
    // Where it is not carried yet, all of it is a hold.
    let elsewhere = Commitment {
        hold: HoldTerms {
            group: None,
            paid: Some(Box::new(PaidPart {
                links: [].into(),
                rate: SoldRate(40_000),
                burst: Bytes(u64::MAX),
            })),
        },
        ..hold(40_000, HOST)
    };
    assert!(try_instead(&book, elsewhere).0.is_err());
}
