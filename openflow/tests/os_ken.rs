//! The OpenFlow 1.3 messages that come with os-ken, a controller framework in Python: one whole
//! message each, of its own making, of another library and of Open vSwitch with its extensions.
//!
//! os-ken is installed from PyPI into an environment of this test's own, once, below the target
//! directory. Nothing of it is part of this project.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rust_openflow::*;

const VERSION: &str = "4.2.2";
/// How many messages of OpenFlow 1.3 this version has.
const MESSAGES: usize = 104;

/// Where the messages are, after installing os-ken if it is not there yet.
fn packet_data() -> PathBuf {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("os-ken-{VERSION}"));
    let complete = environment.join("complete");
    if !complete.exists() {
        if environment.exists() {
            fs::remove_dir_all(&environment).unwrap();
        }
        install(&environment);
        fs::write(&complete, VERSION).unwrap();
    }
    let lib = environment.join("lib");
    let python = fs::read_dir(&lib).unwrap().next();
    let python = python.unwrap_or_else(|| panic!("nothing in {}", lib.display()));
    let packages = python.unwrap().path().join("site-packages");
    packages.join("os_ken/tests/packet_data/of13")
}

fn install(environment: &Path) {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(environment);
    run(
        venv,
        "`make setup` installs Python's venv (python3-venv on Debian)",
    );
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"]);
    pip.args([
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "--no-deps",
    ]);
    pip.arg(format!("os-ken=={VERSION}"));
    run(
        pip,
        "this test needs PyPI, or a mirror in pip's configuration, the first time it runs",
    );
}

fn run(mut command: Command, advice: &str) {
    let output = command.output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}\n{advice}"));
    let told = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    assert!(status.success(), "{command:?}: {status}\n{told}\n{advice}");
}

/// Name and bytes of every message.
fn messages() -> Vec<(String, Vec<u8>)> {
    let directory = packet_data();
    let files = fs::read_dir(&directory);
    let files = files.unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut messages: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "packet"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    messages.sort();
    messages
}

#[test]
fn every_message_of_os_ken_comes_back_byte_for_byte() {
    let messages = messages();
    assert_eq!(messages.len(), MESSAGES);
    let mut wrong = Vec::new();
    for (name, bytes) in messages {
        let mut again = Vec::new();
        match Message::decode(&bytes) {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok((_, Message::Unknown { kind, .. })) => wrong.push(format!("{name}: unknown {kind}")),
            Ok((header, message)) => {
                message.encode(header.xid, &mut again).unwrap();
                if again != bytes {
                    wrong.push(format!("{name}: {message:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
