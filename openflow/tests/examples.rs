//! What the examples `roundtrip` and `dump` do with what they are given, as programs.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use common::{samples, wire};

/// Cargo builds the examples before the tests, beside their directory.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap();
    built.join("examples").join(name)
}

fn start(name: &str) -> Child {
    Command::new(example(name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{name}: {e}: `cargo build -p rust_openflow --examples`"))
}

/// What a program says to these bytes, given to it in pieces of at most `piece` bytes.
fn fed(name: &str, input: &[u8], piece: usize) -> Output {
    let mut child = start(name);
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for piece in input.chunks(piece) {
                // A program that has found a bad message reads no more.
                if stdin.write_all(piece).and_then(|()| stdin.flush()).is_err() {
                    break;
                }
            }
        });
        child.wait_with_output().unwrap()
    })
}

fn roundtrip(input: &[u8]) -> Output {
    fed("roundtrip", input, usize::MAX)
}

fn complaint(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn every_sample() -> Vec<u8> {
    let samples = samples().into_iter().map(|sample| sample.bytes);
    let roundabout = common::rare::needless_bits().bytes;
    samples.chain([roundabout]).flatten().collect()
}

#[track_caller]
fn comes_back(input: &[u8], output: &Output) {
    assert!(output.status.success(), "{}", complaint(output));
    assert!(output.stdout == input, "other bytes came back");
    assert_eq!(complaint(output), "");
}

#[test]
fn every_message_comes_back_as_it_was() {
    let input = every_sample();
    comes_back(&input, &roundtrip(&input));
}

#[test]
fn nothing_comes_back_of_nothing() {
    comes_back(&[], &roundtrip(&[]));
}

#[test]
fn the_bytes_may_come_one_by_one() {
    let input = every_sample();
    comes_back(&input, &fed("roundtrip", &input, 1));
}

#[test]
fn there_may_be_many_messages() {
    let input = every_sample().repeat(1_000);
    comes_back(&input, &roundtrip(&input));
}

#[test]
fn a_hello_and_an_error_of_another_version_come_back_as_they_were() {
    let input = wire(
        "06 00 0010 00000001 0001 0008 00000050 // HELLO of 1.5, which speaks 1.3 too
         01 01 000c 00000002 0000 0000          // ERROR of 1.0: HELLO_FAILED, INCOMPATIBLE",
    );
    comes_back(&input, &roundtrip(&input));
}

#[test]
fn a_message_comes_back_before_the_next_is_sent() {
    let mut child = start("roundtrip");
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    for sample in samples() {
        stdin.write_all(&sample.bytes).unwrap();
        let mut back = vec![0; sample.bytes.len()];
        stdout.read_exact(&mut back).unwrap();
        assert_eq!(back, sample.bytes, "{}", sample.name);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_first_bad_message_is_told_with_its_place_and_nothing_after_it_comes_back() {
    let good = wire("04 02 000a 00000001 6869");
    for (bad, why) in [
        ("04 02 0007 00000002", "header has the impossible length 7"),
        ("01 02 0008 00000002", "V1_0 is not V1_3"),
        (
            "04 0b 0010 00000002 0000000000000011",
            "the bytes end inside priority",
        ),
        (
            "04 14 000c 00000002 00000000",
            "4 bytes follow the end of message",
        ),
    ] {
        let input = [&good[..], &wire(bad), &good].concat();
        let output = roundtrip(&input);
        assert_eq!(output.status.code(), Some(1), "{bad}");
        assert_eq!(output.stdout, good, "{bad}");
        let said = format!("roundtrip: message at byte 10: {why}\n");
        assert_eq!(complaint(&output), said);
    }
}

#[test]
fn a_last_message_cut_short_is_told_wherever_it_is_cut() {
    let good = wire("04 02 000a 00000001 6869");
    let last = wire("04 0c 0010 00000002 0000000000000000");
    for len in 1..last.len() {
        let output = roundtrip(&[&good, &last[..len]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stdout, good);
        let said =
            format!("roundtrip: message at byte 10: the input ends after {len} bytes of it\n");
        assert_eq!(complaint(&output), said);
    }
}

#[test]
fn a_dump_tells_people_what_is_said_and_where() {
    let output = fed("dump", &every_sample(), usize::MAX);
    assert!(output.status.success(), "{}", complaint(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches("\nbyte ").count(), samples().len(), "{text}");
    for said in [
        "byte 0: V1_3 HELLO, 16 bytes, xid 0x1\n",
        "data 6869\n",
        "RoleStatus {\n    role: ControllerRole(SLAVE),",
        "BundleControl {\n    bundle_id: 7,\n    command: BundleCommand(COMMIT_REQUEST),",
        "BundleAdd {\n    bundle_id: 7,",
        "SetField(IpDscp(46))",
        "data: abcd,",
        "MinRate(600)",
        "body 010203\n",
    ] {
        assert!(text.contains(said), "no {said:?} in {text}");
    }
    let bad = fed("dump", &wire("04 02 0007 00000002"), usize::MAX);
    assert_eq!(bad.status.code(), Some(1));
    let said = "dump: message at byte 0: header has the impossible length 7\n";
    assert_eq!(complaint(&bad), said);
}
