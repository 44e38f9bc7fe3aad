//! The capacity book and the path search, with many commitments alive, on the shipped calendar: slots of one
//! second for 24 hours. Links of 400 Gbit/s, so that 20 000 flows fit on one.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use payflow_benches::demand::{self, Numbers, START, network, on_one_link};
use payflow_qos::{
    Ask, BitRate, Bytes, Class, Commitment, CommitmentId, HoldTerms, Path, PortRef, SoldRate,
    Topology, Window, admission::find_path, book::Book,
};

/// Commitments alive while the book is measured.
const LIVE: u64 = 20_000;
const CAPACITY: BitRate = BitRate(400_000_000_000);
/// Asks made before the clock runs, and gone through in turn.
const ASKS: usize = 4_096;

/// The networks that are measured, with their books.
fn networks() -> [(&'static str, (Topology, Book)); 2] {
    [
        ("line_of_3", network(3, &demand::line_of_3(), CAPACITY)),
        (
            "backbone_of_11",
            network(11, &demand::backbone_of_11(), CAPACITY),
        ),
    ]
}

/// One link, no path search: every iteration commits one flow and releases it again.
fn one_link(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit_and_release");
    group.throughput(Throughput::Elements(1));
    type Windows = fn(&mut Numbers) -> Window;
    let cases: [(&str, bool, Windows); 3] = [
        ("one_link_from_now", false, Numbers::window_from_now),
        ("one_link_ahead", false, Numbers::window_ahead),
        ("one_link_unpaid_beside_64", true, Numbers::window_from_now),
    ];
    for (name, unpaid, window) in cases {
        let link = PortRef::new(1, 1);
        let mut book = Book::new(START);
        book.set_capacity(link, CAPACITY);
        let mut numbers = Numbers(1);
        let next = |numbers: &mut Numbers| {
            let window = window(numbers);
            on_one_link(link, &numbers.ask(3, window))
        };
        for id in 0..LIVE {
            let commitment = next(&mut numbers);
            book.commit(CommitmentId(id), &commitment)
                .expect("20 000 flows of 5 Mbit/s are 100 Gbit/s");
        }
        if unpaid {
            for id in LIVE..LIVE + 64 {
                let hold = Commitment {
                    unpaid,
                    ..next(&mut numbers)
                };
                book.commit(CommitmentId(id), &hold)
                    .expect("within the hold limits");
            }
        }
        let asks: Vec<_> = (0..ASKS)
            .map(|_| Commitment {
                unpaid,
                ..next(&mut numbers)
            })
            .collect();
        let mut turn = asks.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let commitment = turn.next().expect("a cycle");
                let id = CommitmentId(u64::MAX);
                book.commit(id, black_box(commitment)).expect("it fits");
                book.release(id)
            });
        });
    }
    group.finish();
}

/// Commits an ask on the path found for it.
fn admit(topology: &Topology, book: &mut Book, id: u64, ask: &Ask) -> Path {
    let path = find_path(topology, book, ask).expect("there is room");
    book.commit(CommitmentId(id), &ask.commitment(&path, 1))
        .expect("a path that was found can be committed");
    path
}

/// Every iteration finds a path, commits it on all its links, and releases it again.
fn paths(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find_commit_and_release");
    group.throughput(Throughput::Elements(1));
    for (name, (topology, mut book)) in networks() {
        let switches = topology.switches().count() as u64;
        let mut numbers = Numbers(2);
        for id in 0..LIVE {
            let window = numbers.window_ahead();
            admit(&topology, &mut book, id, &numbers.ask(switches, window));
        }
        let asks: Vec<_> = (0..ASKS)
            .map(|_| {
                let window = numbers.window_from_now();
                numbers.ask(switches, window)
            })
            .collect();
        let mut turn = asks.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let ask = turn.next().expect("a cycle");
                admit(&topology, &mut book, u64::MAX, black_box(ask));
                book.release(CommitmentId(u64::MAX))
            });
        });
    }
    group.finish();
}

/// Asks that do not fit: every iteration finds the reason, the highest rate that fits now, and the earliest start.
fn refusals(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refuse_with_counter_offer");
    group.throughput(Throughput::Elements(1));
    for (name, (topology, mut book)) in networks() {
        let switches = topology.switches().count() as u64;
        let mut numbers = Numbers(3);
        for id in 0..LIVE {
            let window = numbers.window_ahead();
            admit(&topology, &mut book, id, &numbers.ask(switches, window));
        }
        // Every trunk is sold out for half an hour, one, one and a half, or two hours, but for what flows that
        // begin and end within half a minute leave.
        let pieces = (LIVE..).zip(sold_out(&topology, &mut numbers));
        for (id, (trunk, window)) in pieces {
            let flow = Commitment {
                path: [trunk].into(),
                class: Class::Elastic,
                rate: SoldRate(book.free(trunk, window).0 - 1_000),
                burst: Bytes(0),
                window,
                ingress: PortRef::new(1, 1),
                unpaid: false,
                hold: HoldTerms::default(),
                value: 1,
            };
            book.commit(CommitmentId(id), &flow)
                .expect("less than what is free");
        }
        let asks: Vec<_> = (0..ASKS)
            .map(|_| {
                let window = numbers.window_from_now();
                Ask {
                    rate: SoldRate(1_000_000),
                    ..numbers.ask(switches, window)
                }
            })
            .collect();
        for ask in &asks {
            let refusal =
                find_path(&topology, &book, ask).expect_err("1 Gbit/s where little is left");
            let offer = refusal.offer.expect("less, or later");
            assert!(offer.highest_rate_now.is_some() && offer.earliest_start.is_some());
        }
        let mut turn = asks.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| find_path(&topology, &book, black_box(turn.next().expect("a cycle"))));
        });
    }
    group.finish();
}

/// Every trunk with the half minutes in which it is sold out.
fn sold_out(topology: &Topology, numbers: &mut Numbers) -> Vec<(PortRef, Window)> {
    let piece = Duration::from_secs(30);
    let trunks = topology.links().map(|(from, _)| from);
    let pieces = trunks.flat_map(|trunk| {
        let half_hours = 1 + numbers.below(4);
        (0..half_hours * 60).map(move |n| (trunk, START.plus(Duration::from_secs(30 * n))))
    });
    pieces
        .filter_map(|(trunk, start)| Some((trunk, Window::lasting(start, piece)?)))
        .collect()
}

criterion_group!(benches, one_link, paths, refusals);
criterion_main!(benches);
