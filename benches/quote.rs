//! The controller's core at work: one quote, and one whole purchase, beside none, 1 000 and 10 000 paid flows.
//!
//! The journal answers at once, so this is the processor's part: admission, price, a receive address, a signature,
//! the register, the gate. What a commit costs is measured in `commit`.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use payflow_controller::core::document::Status;

mod desk;
use desk::Desk;

/// Operations on one core before it is replaced by a fresh one, so that what is measured stays what its name says:
/// in the middle, a quote finds 250 others that are not paid yet.
const TURNS: u64 = 500;

fn quote(criterion: &mut Criterion) {
    measure(criterion, "quote", |desk| {
        let (caller, body) = desk.next_request();
        let begun = Instant::now();
        let quoted = desk.quote(caller, body);
        let took = begun.elapsed();
        assert_eq!(desk.status(&quoted), Some(Status::Held));
        took
    });
}

fn purchase(criterion: &mut Criterion) {
    measure(criterion, "purchase", |desk| {
        let (caller, body) = desk.next_request();
        let begun = Instant::now();
        let quoted = desk.quote(caller, body);
        desk.pay(&quoted);
        let took = begun.elapsed();
        assert_eq!(desk.status(&quoted), Some(Status::Active));
        took
    });
}

/// Times every single operation, beside ever more paid flows.
fn measure(criterion: &mut Criterion, name: &str, operation: impl Fn(&mut Desk) -> Duration) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    for paid in [0, 1_000, 10_000] {
        let journal = Desk::journal_of(paid);
        let mut desk = Desk::open(journal.clone());
        let (mut turns, mut times) = (0, Vec::new());
        let bench = format!("beside_{paid}");
        group.bench_function(&bench, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    if turns == TURNS {
                        (desk, turns) = (Desk::open(journal.clone()), 0);
                    }
                    turns += 1;
                    let took = operation(&mut desk);
                    total += took;
                    times.push(took);
                }
                total
            });
        });
        keep_percentiles(name, &bench, times);
    }
    group.finish();
}

/// Criterion knows means and medians of batches; a bar on the slowest of a hundred needs every single time.
fn keep_percentiles(group: &str, bench: &str, mut times: Vec<Duration>) {
    let Some(home) = std::env::var_os("CRITERION_HOME") else {
        return;
    };
    times.sort_unstable();
    let of = |percent: usize| {
        let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(at).map_or(0, Duration::as_nanos)
    };
    let json = format!(
        r#"{{"p50_ns":{},"p99_ns":{},"max_ns":{},"count":{}}}"#,
        of(50),
        of(99),
        of(100),
        times.len()
    );
    let dir = PathBuf::from(home).join(group).join(bench);
    // Absent where benches are only tried (`--test`) or filtered out.
    if !times.is_empty() && dir.exists() {
        fs::write(dir.join("percentiles.json"), json).expect("beside what Criterion writes");
    }
}

criterion_group!(benches, quote, purchase);
criterion_main!(benches);
