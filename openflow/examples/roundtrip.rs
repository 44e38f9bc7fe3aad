//! Reads OpenFlow messages from standard input, any number after each other, and writes them to
//! standard output decoded and encoded again, each as soon as it is there. For comparing this codec
//! with another, and for fuzzing it from outside:
//!
//! ```text
//! cargo run -p rust_openflow --example roundtrip < capture.bin | cmp - capture.bin
//! ```
//!
//! At the first message that cannot be read it has written what came before, says on standard error
//! at which byte and why, and exits with 1.

mod stream;

use std::cell::RefCell;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use stream::{Failure, for_each_message};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("roundtrip: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let output = RefCell::new(BufWriter::new(io::stdout().lock()));
    let mut bytes = Vec::new();
    let result = for_each_message(
        io::stdin().lock(),
        |offset, header, message| {
            bytes.clear();
            message
                .encode_as(header.version, header.xid, &mut bytes)
                .map_err(|why| io::Error::other(format!("message at byte {offset}: {why}")))?;
            output.borrow_mut().write_all(&bytes)
        },
        || output.borrow_mut().flush(),
    );
    output.borrow_mut().flush()?;
    result
}
