//! Prints the OpenFlow messages on standard input for people: where each begins, and all it says.
//!
//! ```text
//! cargo run -p rust_openflow --example dump < capture.bin
//! ```
//!
//! At the first message that cannot be read it says at which byte and why, and exits with 1.

mod stream;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use rust_openflow::{BundleAdd, BundleControl, Experimenter, Header, Message, RoleStatus};
use stream::{Failure, for_each_message};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough, as `head` does.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dump: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let output = RefCell::new(BufWriter::new(io::stdout().lock()));
    let result = for_each_message(
        io::stdin().lock(),
        |offset, header, message| {
            let Header {
                version,
                kind,
                length,
                xid,
            } = header;
            let said = told(&message);
            let mut output = output.borrow_mut();
            writeln!(
                output,
                "byte {offset}: {version} {kind}, {length} bytes, xid {xid:#x}"
            )?;
            writeln!(output, "{said}\n")
        },
        || output.borrow_mut().flush(),
    );
    output.borrow_mut().flush()?;
    result
}

/// What a message says, vendors' messages that are known here in their own words.
fn told(message: &Message) -> String {
    match message {
        Message::EchoRequest(data) | Message::EchoReply(data) => format!("data {}", hex(data)),
        Message::Unknown { body, .. } => format!("body {}", hex(body)),
        Message::Experimenter(vendors) => told_by_vendor(vendors),
        message => format!("{message:#?}"),
    }
}

fn told_by_vendor(message: &Experimenter) -> String {
    if let Some(status) = RoleStatus::from_experimenter(message) {
        return format!("{status:#?}");
    }
    if let Some(control) = BundleControl::from_experimenter(message) {
        return format!("{control:#?}");
    }
    match BundleAdd::from_experimenter(message) {
        Some(Ok(add)) => format!("{add:#?}"),
        Some(Err(error)) => format!("bundle add with a bad message: {error}"),
        None => format!("{message:#?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
