//! What it takes to price a flow by congestion: five links, the present and the next hours, and more or less that is booked.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use payflow_benches::demand::{Numbers, START, on_one_link};
use payflow_qos::{
    BitRate, Class, CommitmentId, PortRef, SoldRate, Tariff, Window,
    book::Book,
    price::{Congestion, Factor, Pricing, Purchase},
};

const CAPACITY: BitRate = BitRate(400_000_000_000);

/// Five links, each with so many flows that begin within an hour and last up to one.
fn book(links: &[PortRef], flows: u64) -> Book {
    let mut book = Book::new(START);
    let mut numbers = Numbers(4);
    for (number, link) in (0..).zip(links) {
        book.set_capacity(*link, CAPACITY);
        for flow in 0..flows {
            let start = START.plus(Duration::from_secs(numbers.below(3_600)));
            let lasts = Duration::from_secs(1 + numbers.below(3_600));
            let window = Window::lasting(start, lasts).expect("it lasts");
            let commitment = on_one_link(*link, &numbers.ask(5, window));
            book.commit(CommitmentId(number * flows + flow), &commitment)
                .expect("20 000 flows of 5 Mbit/s are 100 Gbit/s");
        }
    }
    book
}

fn congestion(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("price_by_congestion");
    let prices = Tariff {
        steady_nanos_per_mbit_second: 100_000,
        elastic_nanos_per_mbit_second: 80_000,
        minimum_nanos: 0,
    };
    let pricing = Pricing::Congestion(Congestion::new(prices, 100).expect("in range"));
    let links: Vec<_> = (1..=5).map(|switch| PortRef::new(switch, 2)).collect();
    for flows in [0, 100, 1_000, 20_000] {
        let book = book(&links, flows);
        for hours in [1, 24] {
            let window = Window::lasting(START, Duration::from_secs(hours * 3_600));
            let purchase = Purchase {
                path: &links,
                class: Class::Steady,
                rate: SoldRate(5_000),
                window: window.expect("it lasts"),
                replacing: None,
            };
            group.bench_function(format!("{hours}_h_beside_{flows}_a_link"), |bencher| {
                bencher.iter(|| pricing.charge(&book, black_box(&purchase), Factor::ONE));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, congestion);
criterion_main!(benches);
