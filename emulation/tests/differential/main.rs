//! The in-memory switch against a real Open vSwitch: the same messages to both, and everything
//! they say compared.
//!
//! `PAYFLOW_DIFFERENTIAL_OPERATIONS` asks for more operations than the default, and
//! `PAYFLOW_DIFFERENTIAL_SEED` for another sequence. The same seed gives the same sequence. A
//! difference is shrunk to a short sequence that still shows it.
//!
//! What is not compared, and why, is in `emulation/src/switch/README.md`.

#![allow(clippy::unwrap_used)]

mod compare;
mod generate;
#[path = "../../../openflow/tests/common/open_vswitch.rs"]
mod open_vswitch;

use std::time::{Duration, Instant};

use compare::first_difference;
use generate::{Operation, operations};

const DEFAULT_OPERATIONS: usize = 3_000;
const DEFAULT_SEED: u64 = 1;
/// How long a difference is shrunk.
const SHRINKING: Duration = Duration::from_secs(60);

fn from_environment<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}

#[test]
fn the_switch_in_memory_says_what_open_vswitch_says() {
    let count = from_environment("PAYFLOW_DIFFERENTIAL_OPERATIONS", DEFAULT_OPERATIONS);
    let seed = from_environment("PAYFLOW_DIFFERENTIAL_SEED", DEFAULT_SEED);
    let sequence = operations(seed, count);
    let started = Instant::now();
    let difference = first_difference(&sequence);
    println!("{count} operations in {:?}", started.elapsed());
    let Some(difference) = difference else {
        return;
    };
    let prefix = sequence.get(..difference.after).unwrap_or(&sequence);
    println!("seed {seed}, after {}: {}", prefix.len(), difference.text);
    let (short, text) = shrink(prefix.to_vec(), difference.text);
    for operation in &short {
        println!("{operation:?}");
    }
    panic!("seed {seed}, {} operations: {text}", short.len());
}

/// Leaves out ever smaller pieces while a difference remains.
fn shrink(mut sequence: Vec<Operation>, mut text: String) -> (Vec<Operation>, String) {
    let started = Instant::now();
    let mut piece = sequence.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < sequence.len() {
            if started.elapsed() > SHRINKING {
                return (sequence, text);
            }
            let mut shorter = sequence.clone();
            shorter.drain(at..(at + piece).min(sequence.len()));
            match first_difference(&shorter) {
                Some(difference) => {
                    shorter.truncate(difference.after);
                    sequence = shorter;
                    text = difference.text;
                }
                None => at += piece,
            }
        }
        piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
    }
    (sequence, text)
}
