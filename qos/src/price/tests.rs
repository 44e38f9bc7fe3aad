//! All models together, against a naive book-keeper.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    book::Commitment,
    book::HoldTerms,
    units::{BitRate, Bytes, Time},
};
use proptest::prelude::*;

/// Within a minute, so that the 24 hours of single seconds do not end at a whole day.
const NOW: u64 = 1_700_000_030_000;
const DAY_S: u64 = 24 * 60 * 60;
const BASE: Tariff = Tariff {
    steady_nanos_per_mbit_second: 7_000,
    elastic_nanos_per_mbit_second: 5_000,
    minimum_nanos: 0,
};

fn port(number: u32) -> PortRef {
    PortRef::new(1, number)
}

/// Seconds after [`NOW`].
fn window(from_s: u64, to_s: u64) -> Window {
    window_ms(from_s * 1_000, to_s * 1_000)
}

fn window_ms(from: u64, to: u64) -> Window {
    Window::new(Time::from_millis(NOW + from), Time::from_millis(NOW + to)).unwrap()
}

/// Three links that sell 900, 1800 and 2700 kbit/s.
fn book() -> Book {
    let mut book = Book::new(Time::from_millis(NOW));
    for number in 1..=3 {
        book.set_capacity(port(number), BitRate(u64::from(number) * 1_000_000));
    }
    book
}

fn congestion(full_ratio: u32) -> Congestion {
    Congestion::new(BASE, full_ratio).unwrap()
}

fn time_of_day() -> TimeOfDay {
    let json = r#"[{"from":"00:00","to":"22:13","factor_per_mille":1500},{"from":"22:13","to":"22:14","factor_per_mille":333},
        {"from":"22:14","to":"24:00","factor_per_mille":777}]"#;
    TimeOfDay::new(BASE, 0, serde_json::from_str(json).unwrap()).unwrap()
}

fn pricings() -> impl Strategy<Value = Pricing> {
    prop_oneof![
        Just(Pricing::Fixed(BASE)),
        Just(Pricing::TimeOfDay(time_of_day())),
        (1..2_000_u32).prop_map(|ratio| Pricing::Congestion(congestion(ratio))),
    ]
}

/// One of the purchases of a test.
#[derive(Clone, Debug)]
struct Flow {
    path: Vec<PortRef>,
    class: Class,
    rate: u32,
    window: Window,
}

impl Flow {
    fn purchase(&self) -> Purchase<'_> {
        Purchase {
            path: &self.path,
            class: self.class,
            rate: SoldRate(self.rate),
            window: self.window,
            replacing: None,
        }
    }

    fn commit(&self, book: &mut Book, id: u64) -> bool {
        let commitment = Commitment {
            path: self.path.iter().copied().collect(),
            class: self.class,
            rate: SoldRate(self.rate),
            burst: Bytes(0),
            window: self.window,
            ingress: port(99),
            unpaid: false,
            hold: HoldTerms::default(),
            value: 1,
        };
        book.commit(CommitmentId(id), &commitment).is_ok()
    }

    fn exact(&self, pricing: &Pricing, book: &Book) -> u128 {
        let course = pricing.course(book, &self.purchase(), Factor::ONE);
        course.unwrap().exact().unwrap()
    }

    fn price(&self, pricing: &Pricing, book: &Book) -> u64 {
        let charge = pricing.charge(book, &self.purchase(), Factor::ONE);
        charge.unwrap().total()
    }
}

fn paths() -> impl Strategy<Value = Vec<PortRef>> {
    prop::sample::subsequence(vec![port(1), port(2), port(3)], 1..=3)
}

fn classes() -> impl Strategy<Value = Class> {
    prop::sample::select(Class::SOLD.to_vec())
}

/// Whole seconds, within a few minutes of the present.
fn near() -> impl Strategy<Value = Window> {
    (0..90_u64, 1..100_u64).prop_map(|(start, lasting)| window(start, start + lasting))
}

/// The same, or where seconds become minutes.
fn windows() -> impl Strategy<Value = Window> {
    let far = (DAY_S - 100..DAY_S + 100, 1..100_u64);
    let far = far.prop_map(|(start, lasting)| window(start, start + lasting));
    prop_oneof![3 => near(), 1 => far]
}

fn flows(windows: impl Strategy<Value = Window>) -> impl Strategy<Value = Flow> {
    (paths(), classes(), 1..400_u32, windows).prop_map(|(path, class, rate, window)| Flow {
        path,
        class,
        rate,
        window,
    })
}

/// Often small and at the same time on the same link, where a price that fell with the load would pay.
fn traded() -> impl Strategy<Value = Flow> {
    let small = (
        1..6_u32,
        prop::sample::select(vec![(0, 1), (0, 2), (1, 2)]),
        classes(),
    );
    let small = small.prop_map(|(rate, (from, to), class)| Flow {
        path: vec![port(1)],
        class,
        rate,
        window: window(from, to),
    });
    prop_oneof![3 => small, 1 => flows(windows())]
}

/// What `rate` costs on top of `load` for a millisecond: one kbit/s after another.
fn naive_rate(steps: &[u64], sold: u32, load: u32, rate: u32) -> u128 {
    let price = |kbps: u32| {
        let part = u64::from(kbps) * 257 / u64::from(sold);
        u128::from(steps[usize::try_from(part).unwrap().min(256)])
    };
    (load..load + rate).map(price).sum()
}

/// One second after another, one link after another.
fn naive_congestion(congestion: &Congestion, book: &Book, flow: &Flow) -> u128 {
    let steps = congestion.steps(flow.class, Factor::ONE).unwrap();
    let (start, end) = (flow.window.start().millis(), flow.window.end().millis());
    let mut sum = 0;
    for port in &flow.path {
        let sold = book.plan(*port).unwrap().reservable().0;
        let mut at = start;
        while at < end {
            let until = (at / 1_000 * 1_000 + 1_000).min(end);
            let load = book.load(*port, Time::from_millis(at)).rate.0;
            sum += u128::from(until - at) * naive_rate(&steps, sold, load, flow.rate);
            at = until;
        }
    }
    sum
}

proptest! {
    #[test]
    fn congestion_is_priced_kbit_by_kbit_and_second_by_second(
        ratio in 1..2_000_u32,
        booked in prop::collection::vec(flows(windows()), 0..12),
        asked in flows(windows()),
        (early, late) in (0..999_u64, 0..999_u64),
    ) {
        let (congestion, mut book) = (congestion(ratio), book());
        for (id, flow) in (0..).zip(&booked) {
            flow.commit(&mut book, id);
        }
        let (start, end) = (asked.window.start().millis() - NOW, asked.window.end().millis() - NOW);
        let asked = Flow { window: window_ms(start + early, (end - late).max(start + early + 1)), ..asked };
        let naive = naive_congestion(&congestion, &book, &asked);
        let pricing = Pricing::Congestion(congestion);
        prop_assert_eq!(asked.exact(&pricing, &book), naive);
        prop_assert_eq!(u128::from(asked.price(&pricing, &book)), naive.div_ceil(1_000_000));
    }

    /// The parts are bought one after another, each beside what is booked of those before. Over whole seconds congestion
    /// prices are whole nanos, so that not even the last nano differs.
    #[test]
    fn a_purchase_split_in_rate_costs_exactly_the_same(
        pricing in pricings(),
        booked in prop::collection::vec(flows(windows()), 0..8),
        asked in flows(windows()),
        parts in prop::collection::vec(1..100_u32, 1..5),
    ) {
        let mut book = book();
        for (id, flow) in (0..).zip(&booked) {
            flow.commit(&mut book, id);
        }
        let whole = Flow { rate: parts.iter().sum(), ..asked };
        let (exact, price) = (whole.exact(&pricing, &book), whole.price(&pricing, &book));
        let (mut sum_exact, mut sum_price) = (0, 0);
        for (id, rate) in (100..).zip(&parts) {
            let part = Flow { rate: *rate, ..whole.clone() };
            sum_exact += part.exact(&pricing, &book);
            sum_price += part.price(&pricing, &book);
            if !part.commit(&mut book, id) {
                return Ok(());
            }
        }
        prop_assert_eq!(sum_exact, exact);
        if matches!(pricing, Pricing::Congestion(_)) {
            prop_assert_eq!(sum_price, price);
        } else {
            prop_assert!((price..price + parts.len() as u64).contains(&sum_price));
        }
    }

    /// Bought in any order, each part beside what is booked of those before.
    #[test]
    fn a_purchase_split_at_slots_costs_exactly_the_same(
        pricing in pricings(),
        booked in prop::collection::vec(flows(windows()), 0..8),
        asked in flows(near()),
        cuts in prop::collection::btree_set(1..99_u64, 0..6),
        order in any::<u64>(),
    ) {
        // Within a day a slot is a second; beyond, a second's part would take its whole minute.
        let mut book = book();
        for (id, flow) in (0..).zip(&booked) {
            flow.commit(&mut book, id);
        }
        let (exact, price) = (asked.exact(&pricing, &book), asked.price(&pricing, &book));
        let start = asked.window.start().millis();
        let inner = cuts.into_iter().map(|cut| start + cut * 1_000).filter(|it| *it < asked.window.end().millis());
        let ends: Vec<_> = inner.chain([asked.window.end().millis()]).collect();
        let starts = [start].into_iter().chain(ends.iter().copied());
        let mut parts: Vec<_> = starts.zip(&ends).map(|(from, to)| window_ms(from - NOW, to - NOW)).collect();
        let count = parts.len();
        parts.rotate_left(usize::try_from(order % count as u64).unwrap());
        let (mut sum_exact, mut sum_price) = (0, 0);
        for (id, window) in (100..).zip(parts) {
            let part = Flow { window, ..asked.clone() };
            sum_exact += part.exact(&pricing, &book);
            sum_price += part.price(&pricing, &book);
            if !part.commit(&mut book, id) {
                return Ok(());
            }
        }
        prop_assert_eq!(sum_exact, exact);
        if matches!(pricing, Pricing::Congestion(_)) {
            prop_assert_eq!(sum_price, price);
        } else {
            prop_assert!((price..price + count as u64).contains(&sum_price));
        }
    }

    /// So that the integral is convex.
    #[test]
    fn steps_rise_from_the_base_price_to_the_full_one(
        ratio in 1..=1_000_000_u32,
        base in prop_oneof![1..50_u64, 1..1_000_000_u64],
        factor in prop_oneof![Just(1_000_000), 0..1_000_000_000_u64],
    ) {
        let base = Tariff { steady_nanos_per_mbit_second: base * BASE_UNIT, ..BASE };
        let steps = Congestion::new(base, ratio).unwrap().steps(Class::Steady, Factor(factor)).unwrap();
        prop_assert!(steps.is_sorted());
        prop_assert!(steps.iter().all(|it| *it > 0 && it.is_multiple_of(BASE_UNIT)));
        prop_assert_eq!(steps[256], steps[0] * u64::from(ratio));
        let exact = u128::from(base.steady_nanos_per_mbit_second) * u128::from(factor) / 1_000_000;
        let off = u128::from(steps[0]).abs_diff(exact);
        prop_assert!(off <= 500 || steps[0] == BASE_UNIT, "{} for {exact}", steps[0]);
    }

    #[test]
    fn a_price_never_falls_with_what_is_booked_nor_with_the_rate(
        pricing in pricings(),
        booked in prop::collection::vec(flows(windows()), 1..12),
        asked in flows(windows()),
    ) {
        let mut book = book();
        let mut before = asked.price(&pricing, &book);
        for (id, flow) in (0..).zip(&booked) {
            flow.commit(&mut book, id);
            let after = asked.price(&pricing, &book);
            prop_assert!(before <= after);
            before = after;
        }
        let more = Flow { rate: asked.rate + 1, ..asked.clone() };
        prop_assert!(more.exact(&pricing, &book) > asked.exact(&pricing, &book));
    }

    /// Whatever is bought, given back before it begins, and bought anew: what is paid for what is booked in the end is at
    /// least what the same costs on an empty network, second by second. So nobody gets capacity below its price by moving
    /// it about. (All of one class: the prices of two are two.)
    #[test]
    fn no_sequence_of_purchases_and_refunds_makes_a_profit(
        pricing in pricings(),
        class in classes(),
        steps in prop::collection::vec((traded(), any::<Option<prop::sample::Index>>()), 1..60),
    ) {
        let mut book = book();
        // Paid in sum and given back in sum; what is held, and was paid for it.
        let (mut paid, mut refunded) = (0, 0);
        let mut held: Vec<(u64, Flow, u64)> = Vec::new();
        for (id, (flow, cancel)) in (0..).zip(steps) {
            let flow = Flow { class, ..flow };
            let charge = pricing.charge(&book, &flow.purchase(), Factor::ONE).unwrap();
            if flow.commit(&mut book, id) {
                paid += charge.total();
                held.push((id, flow, charge.total()));
            }
            if let Some(which) = cancel && !held.is_empty() {
                let (id, flow, price) = held.swap_remove(which.index(held.len()));
                let unserved = Charge::flat(flow.window.millis(), price).unwrap();
                refunded += price - unserved.earned_until(0);
                book.release(CommitmentId(id));
            }
            prop_assert!(refunded <= paid);
        }
        let kept = u128::from(paid - refunded) * 1_000_000;
        prop_assert!(kept >= naive_value(&pricing, class, &held));
        for (id, _, price) in held {
            refunded += price;
            book.release(CommitmentId(id));
        }
        prop_assert_eq!(paid, refunded, "nothing is left over, and nothing is missing");
    }

    /// The same with service: everybody cancels after some time, and what is kept of each covers what it was served, exactly.
    #[test]
    fn what_is_kept_covers_what_was_carried(
        pricing in pricings(),
        flows in prop::collection::vec((flows(windows()), 0..100_000_u64), 1..20),
    ) {
        let mut book = book();
        for (id, (flow, served)) in (0..).zip(flows) {
            let charge = pricing.charge(&book, &flow.purchase(), Factor::ONE).unwrap();
            let start = flow.window.start().millis() - NOW;
            let served = served.min(flow.window.millis());
            let carried = match served {
                0 => 0,
                ms => Flow { window: window_ms(start, start + ms), ..flow.clone() }.exact(&pricing, &book),
            };
            prop_assert!(u128::from(charge.earned_until(served)) * 1_000_000 >= carried);
            prop_assert!(charge.earned_until(served) <= charge.total());
            flow.commit(&mut book, id);
        }
    }
}

/// What it would cost to buy all of this at once on an empty network.
fn naive_value(pricing: &Pricing, class: Class, held: &[(u64, Flow, u64)]) -> u128 {
    let Pricing::Congestion(congestion) = pricing else {
        let exact = held.iter().map(|(_, flow, _)| flow.exact(pricing, &book()));
        return exact.sum();
    };
    let steps = congestion.steps(class, Factor::ONE).unwrap();
    let mut sum = 0;
    for number in 1..=3 {
        let rates = |at: u64| -> u32 {
            let here = held.iter().map(|(_, flow, _)| flow).filter(|flow| {
                flow.path.contains(&port(number)) && flow.window.contains(Time::from_millis(at))
            });
            here.map(|flow| flow.rate).sum()
        };
        for second in (0..200).chain(DAY_S - 100..DAY_S + 200) {
            let load = rates(NOW + second * 1_000);
            sum += 1_000 * naive_rate(&steps, 900 * number, 0, load);
        }
    }
    sum
}

#[test]
fn an_empty_link_costs_the_base_price_and_a_full_one_the_ratio() {
    let (pricing, mut book) = (Pricing::Congestion(congestion(100)), book());
    let one = Flow {
        path: vec![port(1)],
        class: Class::Steady,
        rate: 1,
        window: window(10, 20),
    };
    assert_eq!(one.price(&pricing, &book), 10 * 7);
    let rest = Flow {
        class: Class::Elastic,
        rate: 899,
        ..one.clone()
    };
    assert!(rest.commit(&mut book, 1));
    assert_eq!(one.price(&pricing, &book), 10 * 700);
    // As much again on a link of twice the size that is empty, and elsewhere nothing.
    let both = Flow {
        path: vec![port(2), port(1), port(2)],
        ..one.clone()
    };
    assert_eq!(both.price(&pricing, &book), 10 * 707);
    let before = Flow {
        window: window(0, 10),
        ..one.clone()
    };
    assert_eq!(before.price(&pricing, &book), 10 * 7);
    // What it replaces does not count.
    let purchase = Purchase {
        replacing: Some(CommitmentId(1)),
        ..one.purchase()
    };
    let charge = pricing.charge(&book, &purchase, Factor::ONE).unwrap();
    assert_eq!(charge.total(), 10 * 7);
}

#[test]
fn a_charge_tells_when_what_costs_how_much() {
    let (pricing, mut book) = (Pricing::Congestion(congestion(100)), book());
    let flow = Flow {
        path: vec![port(1)],
        class: Class::Elastic,
        rate: 899,
        window: window(10, 20),
    };
    assert!(flow.commit(&mut book, 1));
    let asked = Flow {
        class: Class::Steady,
        rate: 1,
        window: window(5, 30),
        ..flow
    };
    let charge = pricing.charge(&book, &asked.purchase(), Factor::ONE);
    let pairs = Vec::from(charge.unwrap());
    assert_eq!(pairs, [(5_000, 35), (10_000, 7_000), (10_000, 70)]);
}

#[test]
fn fixed_prices_are_those_of_the_tariff() {
    let tariff = Tariff {
        steady_nanos_per_mbit_second: 1_501,
        elastic_nanos_per_mbit_second: 1_000,
        minimum_nanos: 700,
    };
    let (pricing, book) = (Pricing::Fixed(tariff), book());
    for (class, rate, ms) in [
        (Class::Steady, 1, 1),
        (Class::Steady, 777, 12_345),
        (Class::Elastic, 900, 86_400_000),
    ] {
        let flow = Flow {
            path: vec![port(1)],
            class,
            rate,
            window: window_ms(0, ms),
        };
        let price = flow.price(&pricing, &book);
        assert_eq!(Some(price), tariff.charge(class, SoldRate(rate), ms));
    }
}

#[test]
fn the_base_price_multiplies_every_model() {
    let book = book();
    let twice = Factor::from_millionths(2_000_000);
    for (pricing, rate) in [
        (Pricing::Fixed(BASE), 1_000),
        (Pricing::TimeOfDay(time_of_day()), 1_000),
        (Pricing::Congestion(congestion(50)), 3),
    ] {
        let flow = Flow {
            path: vec![port(1), port(2)],
            class: Class::Steady,
            rate,
            window: window(0, 100),
        };
        let charge = pricing.charge(&book, &flow.purchase(), twice).unwrap();
        assert_eq!(charge.total(), 2 * flow.price(&pricing, &book));
        // Down to one nano for 1 kbit/s where congestion prices end, to nothing else.
        let none = Factor::from_millionths(0);
        let charge = pricing.charge(&book, &flow.purchase(), none).unwrap();
        let congestion = matches!(pricing, Pricing::Congestion(_));
        assert_eq!(charge.total(), if congestion { 2 * 3 * 100 } else { 0 });
    }
}

#[test]
fn what_cannot_be_bought_has_no_price() {
    let book = book();
    let fine = Flow {
        path: vec![port(1)],
        class: Class::Steady,
        rate: 1,
        window: window(0, 10),
    };
    let horizon_s = (book.horizon().millis() - NOW) / 1_000;
    let past = Window::new(Time::from_millis(NOW - 1), Time::from_millis(NOW + 1)).unwrap();
    for pricing in [
        Pricing::Fixed(BASE),
        Pricing::TimeOfDay(time_of_day()),
        Pricing::Congestion(congestion(50)),
    ] {
        let has_price = |flow: &Flow| {
            let charge = pricing.charge(&book, &flow.purchase(), Factor::ONE);
            charge.is_some()
        };
        let with = |window| Flow {
            window,
            ..fine.clone()
        };
        assert!(has_price(&fine));
        assert!(has_price(&with(window(horizon_s - 1, horizon_s))));
        assert!(!has_price(&with(window(horizon_s - 1, horizon_s + 1))));
        assert!(!has_price(&with(past)));
        for path in [vec![], vec![port(4)], vec![port(1), port(4)]] {
            let flow = Flow {
                path,
                ..fine.clone()
            };
            assert!(!has_price(&flow));
        }
        for class in [Class::Control, Class::BestEffort] {
            let flow = Flow {
                class,
                ..fine.clone()
            };
            assert!(!has_price(&flow));
        }
    }
}

#[test]
fn prices_that_overflow_are_none_and_never_wrap() {
    let most = u64::MAX / 1_000_000 / 1_000 * 1_000;
    let tariff = Tariff {
        steady_nanos_per_mbit_second: most,
        elastic_nanos_per_mbit_second: most,
        minimum_nanos: u64::MAX,
    };
    let pricing = Pricing::Congestion(Congestion::new(tariff, 1_000_000).unwrap());
    let flow = Flow {
        path: vec![port(1), port(2), port(3)],
        class: Class::Steady,
        rate: u32::MAX,
        window: window(0, 20 * DAY_S),
    };
    let book = book();
    for factor in [0, 1, 1_000_000, 1_000_000_000, u64::MAX] {
        let charge = pricing.charge(&book, &flow.purchase(), Factor(factor));
        assert_eq!(charge, None);
    }
    let little = Flow {
        rate: 1,
        window: window(0, 1),
        ..flow
    };
    let charge = pricing
        .charge(&book, &little.purchase(), Factor(0))
        .unwrap();
    assert_eq!(charge.total(), u64::MAX, "the minimum");
}

#[test]
fn a_link_that_sells_nothing_costs_as_a_full_one() {
    let mut book = book();
    book.set_capacity(port(1), BitRate(0));
    let pricing = Pricing::Congestion(congestion(100));
    let flow = Flow {
        path: vec![port(1)],
        class: Class::Elastic,
        rate: 2,
        window: window(0, 3),
    };
    assert_eq!(flow.price(&pricing, &book), 3 * 2 * 500);
}

#[test]
fn congestion_prices_out_of_range_are_told() {
    let with = |steady, elastic, ratio| {
        let base = Tariff {
            steady_nanos_per_mbit_second: steady,
            elastic_nanos_per_mbit_second: elastic,
            minimum_nanos: 0,
        };
        Congestion::new(base, ratio).unwrap_err()
    };
    assert_eq!(with(0, 1_000, 2), CongestionError::Base(0));
    assert_eq!(with(1_000, 1_500, 2), CongestionError::Base(1_500));
    assert_eq!(with(1_000, 1_000, 0), CongestionError::FullRatio(0));
    assert_eq!(
        with(1_000, 1_000, 1_000_001),
        CongestionError::FullRatio(1_000_001)
    );
    let most = u64::MAX / 1_000 * 1_000;
    assert_eq!(with(1_000, most, 2), CongestionError::TooDear(most));
}

#[test]
fn an_operator_writes_one_flat_table() {
    let read = |text: &str| toml::from_str::<Pricing>(text);
    let prices = "steady_nanos_per_mbit_second = 7000\nelastic_nanos_per_mbit_second = 5000\nminimum_nanos = 0\n";
    assert_eq!(read(prices).unwrap(), Pricing::Fixed(BASE));
    let fixed = format!("model = \"fixed\"\n{prices}");
    assert_eq!(read(&fixed).unwrap(), Pricing::Fixed(BASE));
    let congested = format!("model = \"congestion\"\nfull_ratio = 100\n{prices}");
    assert_eq!(
        read(&congested).unwrap(),
        Pricing::Congestion(congestion(100))
    );
    let by_day = format!(
        "model = \"time_of_day\"\n{prices}utc_offset_minutes = -60\n\
         [[period]]\nfrom = \"22:00\"\nto = \"06:00\"\nfactor_per_mille = 500\n\
         [[period]]\nfrom = \"06:00\"\nto = \"22:00\"\nsteady_nanos_per_mbit_second = 9\nelastic_nanos_per_mbit_second = 8\n"
    );
    let schedule = read(&by_day).unwrap();
    let Pricing::TimeOfDay(it) = &schedule else {
        panic!("{schedule:?}")
    };
    assert_eq!((it.utc_offset_minutes(), it.periods().len()), (-60, 2));
    for pricing in [read(&congested).unwrap(), schedule, Pricing::Fixed(BASE)] {
        let json = serde_json::to_string(&pricing).unwrap();
        assert_eq!(serde_json::from_str::<Pricing>(&json).unwrap(), pricing);
        assert_eq!(read(&toml::to_string(&pricing).unwrap()).unwrap(), pricing);
    }

    for (text, wrong) in [
        (
            format!("{prices}full_ratio = 5"),
            "full_ratio belongs to model = \"congestion\"",
        ),
        (
            format!("{prices}utc_offset_minutes = 5"),
            "utc_offset_minutes belongs to model = \"time_of_day\"",
        ),
        (
            format!("model = \"congestion\"\n{prices}"),
            "full_ratio is missing",
        ),
        (
            format!("model = \"congestion\"\nfull_ratio = 0\n{prices}"),
            "from 1 to 1000000 times",
        ),
        (
            format!("model = \"time_of_day\"\n{prices}"),
            "there is no period",
        ),
        (
            format!("model = \"auction\"\n{prices}"),
            "unknown variant `auction`",
        ),
        (format!("{prices}more = 5"), "unknown field `more`"),
        (
            by_day.replace("\"06:00\"\nto", "\"6\"\nto"),
            "\"6\" is not a time of the day",
        ),
        (
            by_day.replace("\"06:00\"\nto", "\"06:01\"\nto"),
            "no period has the time from 06:00 to 06:01",
        ),
        (
            by_day.replace("factor_per_mille", "factor"),
            "unknown field `factor`",
        ),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn what_is_sold_is_counted_over_all_links_together() {
    let mut book = book();
    let links = [port(1), port(2), port(9)];
    let at = Time::from_millis(NOW + 15_000);
    assert_eq!(book.sold_millionths(&links, at), 0);
    let flow = Flow {
        path: vec![port(1), port(3)],
        class: Class::Elastic,
        rate: 900,
        window: window(10, 20),
    };
    assert!(flow.commit(&mut book, 1));
    // All 900 kbit/s of the first, nothing of the 1800 of the second.
    assert_eq!(book.sold_millionths(&links, at), 333_333);
    assert_eq!(book.sold_millionths(&[port(1)], at), 1_000_000);
    let before = Time::from_millis(NOW + 9_000);
    assert_eq!(book.sold_millionths(&links, before), 0);
    assert_eq!(book.sold_millionths(&[port(9)], at), 0);
}
