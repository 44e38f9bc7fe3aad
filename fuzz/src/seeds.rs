//! Writes the seed corpus: the annotated messages of `openflow/tests/common`, each for the target of
//! its decoder and for those that take any. `seeds DIRECTORY`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use rust_openflow_fuzz::TARGETS;

#[path = "../../openflow/tests/common/samples.rs"]
mod samples;

fn main() -> io::Result<()> {
    let directory = env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.ok_or_else(|| io::Error::other("usage: seeds DIRECTORY"))?;
    for sample in samples::samples() {
        let words = sample.name.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let name = words.join("-");
        let kind = sample.bytes[1];
        for target in ["message", "framer", "session"] {
            write(&directory.join(target), &name, &sample.bytes)?;
        }
        for (target, kinds) in TARGETS {
            if kinds.iter().any(|known| known.0 == kind) {
                write(&directory.join(target), &name, &sample.bytes)?;
            }
        }
    }
    Ok(())
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join(name), bytes)
}
