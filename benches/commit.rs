//! The journal on disk: how long until records survive a crash, one at a time and in groups.
//!
//! In a directory below `target/`, on whatever disk that is. `write_and_fsync` is what that disk can do, without a
//! database.

use std::{
    fs::File,
    io::{Seek as _, Write as _},
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use payflow_controller::{core::journal::Record, driver::Store};
use payflow_payment::TxDigest;
use payflow_qos::Time;

#[allow(dead_code)]
mod desk;
use desk::Desk;

/// The records of whole purchases, over and over; no payment is consumed twice.
struct Purchases {
    records: Vec<Record>,
    written: u64,
}

impl Purchases {
    fn next_batch(&mut self, size: usize) -> Vec<(u64, Record)> {
        let count = self.records.len() as u64;
        let batch = (self.written..).take(size).map(|before| {
            let mut record = self.records[(before % count) as usize].clone();
            if let Record::Paid { key, .. } = &mut record {
                key.digest = TxDigest::new(format!("{before:044}"));
            }
            (before + 1, record)
        });
        let batch: Vec<_> = batch.collect();
        self.written += size as u64;
        batch
    }
}

fn commit(criterion: &mut Criterion) {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("target/tmp");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads");
    let mut group = criterion.benchmark_group("commit");
    group.sampling_mode(SamplingMode::Flat).sample_size(20);

    group.throughput(Throughput::Elements(1));
    let mut file = File::create(scratch.path().join("plain")).expect("a file");
    group.bench_function("write_and_fsync_4_kB", |bencher| {
        bencher.iter(|| {
            file.rewind()
                .and_then(|()| file.write_all(&[7; 4_096]))
                .and_then(|()| file.sync_data())
                .expect("a disk with room");
        });
    });

    let records: Vec<_> = Desk::journal_of(1)
        .into_iter()
        .map(|(_, record)| record)
        .collect();
    for size in [1, 64] {
        let dir = scratch.path().join(size.to_string());
        let mut store = runtime.block_on(Store::open(&dir)).expect("a new journal");
        let mut purchases = Purchases {
            records: records.clone(),
            written: 0,
        };
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(format!("batch_of_{size}"), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let batch = purchases.next_batch(size);
                    let begun = Instant::now();
                    runtime
                        .block_on(store.append(&batch, &[], Time::from_millis(1)))
                        .expect("durable");
                    total += begun.elapsed();
                }
                total
            });
        });
    }
    group.finish();
}

criterion_group!(benches, commit);
criterion_main!(benches);
