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
use rust_openflow::*;

const DEFAULT_OPERATIONS: usize = 10_000;
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

/// Replacing or modifying an entry starts its hard time-out anew, but never its idle time. (Open vSwitch looks at time-outs once a second.)
#[test]
fn both_count_time_outs_from_the_same_moments() {
    let (none, reset) = (FlowFlags::NONE, FlowFlags::RESET_COUNTS);
    let add = |priority, hard_timeout_s, idle_timeout_s, flags| {
        let add = FlowMod::add(TableId(0), priority, Match::new(), vec![]);
        let add = add.flags(FlowFlags::SEND_FLOW_REM | flags);
        send(
            add.hard_timeout_s(hard_timeout_s)
                .idle_timeout_s(idle_timeout_s),
        )
    };
    let modify = |priority, flags| {
        let strict = FlowCommand::MODIFY_STRICT;
        send(FlowMod::new(strict, TableId(0), priority, Match::new()).flags(flags))
    };
    let wait = |ms| Operation::Wait(Duration::from_millis(ms));
    let sequence = [
        add(1, 3, 0, none), // left alone
        add(2, 0, 3, none),
        add(3, 60, 60, none),
        add(4, 3, 0, none), // modified
        add(5, 0, 3, none),
        add(6, 0, 3, none),
        add(7, 3, 0, none), // replaced
        add(8, 0, 3, none),
        add(9, 0, 3, none),
        wait(2_000),
        modify(4, none),
        modify(5, none),
        modify(6, reset),
        add(7, 3, 0, none),
        add(8, 0, 3, none),
        add(9, 0, 3, reset),
        wait(2_500),
        wait(2_500),
    ];
    if let Some(difference) = first_difference(&sequence) {
        panic!("{}", difference.text);
    }
}

fn send(message: impl Into<Message>) -> Operation {
    Operation::Send {
        connection: 0,
        message: message.into(),
    }
}

/// What arrives on a port goes to a group.
fn to_group(port: u32, group: u32) -> Operation {
    let actions = Instruction::apply(Action::Group(GroupId(group)));
    let from = Match::new().in_port(PortNo(port));
    send(FlowMod::add(TableId(0), 1, from, vec![actions]))
}

fn arrives(port: u32) -> Operation {
    let mut frame = vec![2; 60];
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    Operation::Inject { port, frame }
}

#[test]
fn both_fail_over_to_the_first_bucket_whose_port_is_up_and_back() {
    let bucket = |port| Bucket::new(vec![Action::output(PortNo(port))]).watch_port(PortNo(port));
    let group = vec![bucket(1), bucket(2)];
    let watched = Bucket::new(vec![Action::to_controller()]).watch_group(GroupId(1));
    let link = |port, up| Operation::Link { port, up };
    let ask = || send(MultipartRequestBody::Group(GroupId::ALL));
    let sequence = [
        send(GroupMod::add(GroupId(1), GroupType::FF, group)),
        send(GroupMod::add(GroupId(2), GroupType::FF, vec![watched])),
        to_group(3, 1),
        to_group(2, 2),
        arrives(3),
        link(1, false),
        arrives(3),
        arrives(2),
        ask(),
        link(2, false),
        arrives(3),
        link(1, true),
        arrives(3),
        ask(),
        send(MultipartRequestBody::PortStats(PortNo::ANY)),
    ];
    if let Some(difference) = first_difference(&sequence) {
        panic!("{}", difference.text);
    }
}

/// With weights so near to each other Open vSwitch hashes in its data path.
#[test]
fn both_select_the_only_bucket_that_is_alive_and_has_weight() {
    let bucket = |weight, watched| {
        let bucket = Bucket::new(vec![
            Action::SetField(Oxm::EthDst(Masked::exact(MacAddr([4; 6])))),
            Action::output(PortNo(2)),
            Action::to_controller(),
        ]);
        bucket.weight(weight).watch_port(watched)
    };
    let group = vec![
        bucket(0, PortNo::ANY),
        bucket(3, PortNo(77)),
        bucket(2, PortNo(2)),
    ];
    let alone = vec![bucket(9, PortNo::ANY)];
    let sequence = [
        send(GroupMod::add(GroupId(1), GroupType::SELECT, group)),
        send(GroupMod::add(GroupId(2), GroupType::SELECT, alone)),
        to_group(1, 1),
        to_group(3, 2),
        arrives(1),
        arrives(3),
        arrives(1),
        send(MultipartRequestBody::Group(GroupId::ALL)),
        send(MultipartRequestBody::Flow(FlowFilter::all())),
        send(MultipartRequestBody::PortStats(PortNo::ANY)),
    ];
    if let Some(difference) = first_difference(&sequence) {
        panic!("{}", difference.text);
    }
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
