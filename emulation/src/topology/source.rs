//! Where topologies come from: files, Mininet's names, generators.

use super::{
    Fact, MOST_BYTES, Note, Refusal, Topology, TopologyError, defaults, generators, graphml,
    mininet, mininet_names, sndlib, toml, topohub, xml,
};
use clap::Args;
use payflow_qos::BitRate;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// How a topology is read.
#[derive(Clone, Debug, Args)]
pub struct Reading {
    /// What links carry of which nothing is known, such as 40Gbit [default: what the file says, else the most common of those
    /// that are known, else 10Gbit]
    #[arg(long, value_name = "RATE")]
    pub default_capacity: Option<BitRate>,
    /// Takes the largest component alone
    #[arg(long)]
    pub largest: bool,
    /// Scales capacities, so that the fastest link carries this much
    #[arg(long, value_name = "RATE")]
    pub scale_to: Option<BitRate>,
    /// Demands from another file, such as a matrix of SNDlib; its nodes have the same names
    #[arg(long, value_name = "FILE")]
    pub demands: Option<PathBuf>,
    /// The Python that runs Mininet scripts
    #[arg(long, value_name = "PROGRAM", default_value = PYTHON)]
    pub python: String,
}

const PYTHON: &str = "python3";

impl Default for Reading {
    fn default() -> Self {
        Self {
            default_capacity: None,
            largest: false,
            scale_to: None,
            demands: None,
            python: PYTHON.to_owned(),
        }
    }
}

impl Reading {
    /// What asks for the same on the command line, each option after a blank.
    #[must_use]
    pub fn options(&self) -> String {
        let mut options = String::new();
        let mut say = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                options.push_str(&format!(" --{name} {}", quote(&value)));
            }
        };
        say(
            "default-capacity",
            self.default_capacity.map(|it| it.to_string()),
        );
        say("scale-to", self.scale_to.map(|it| it.to_string()));
        say(
            "demands",
            self.demands.as_ref().map(|it| it.display().to_string()),
        );
        say(
            "python",
            Some(self.python.clone()).filter(|it| it != PYTHON),
        );
        if self.largest {
            options.push_str(" --largest");
        }
        options
    }
}

/// A word as a shell takes it.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-,:=+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The topology of a file (`.graphml`, `.xml`, `.json`, `.toml`, `.py`), of a name of Mininet's (`mn:tree,2`) or of a generator
/// (`gen:waxman,n=50,seed=3`). Every link has a capacity.
///
/// A Mininet script (`script.py`, or `script.py:NAME,ARGUMENT` for an entry of its `topos`) is run as what it is: code of its
/// user, with the rights of whoever calls this.
///
/// # Errors
/// There is no such thing, or it is none that can be read, or larger than what is read.
pub fn load(source: &str, reading: &Reading) -> Result<Topology, TopologyError> {
    let mut topology = read(source, &reading.python)?;
    if let Some(path) = &reading.demands {
        let path = path.to_string_lossy();
        let matrix = read(&path, &reading.python)?;
        join(&mut topology, &matrix);
    }
    if reading.largest {
        let components = topology.components();
        let left: usize = components.iter().skip(1).map(Vec::len).sum();
        if left > 0 {
            let largest = components.first().cloned().unwrap_or_default();
            let first = components.get(1).and_then(|members| members.first());
            let first = first.map(|node| topology.nodes[*node].name.clone());
            topology.keep(&largest);
            topology
                .notes
                .add_many(Note::NotLargest, left, || first.unwrap_or_default());
        }
    }
    defaults::apply(&mut topology, reading.default_capacity);
    if let Some(fastest) = reading.scale_to {
        scale(&mut topology, fastest);
    }
    Ok(topology)
}

/// A topology from a text that comes with the program; `name` ends as its file does.
///
/// # Errors
/// It is none.
pub fn read_shipped(name: &str, text: &str, reading: &Reading) -> Result<Topology, TopologyError> {
    let refused = |refusal: Refusal| refusal.of(name);
    let mut topology = read_text(Path::new(name), text.as_bytes()).map_err(refused)?;
    defaults::apply(&mut topology, reading.default_capacity);
    Ok(topology)
}

/// As the source has it, before anything is filled in.
pub(super) fn read(source: &str, python: &str) -> Result<Topology, TopologyError> {
    let topology = if let Some(name) = source.strip_prefix("mn:") {
        mininet_names::read(name)
    } else if let Some(name) = source.strip_prefix("gen:") {
        generators::read(name)
    } else if let Some((path, wanted)) = script(source) {
        read_script(path, wanted, python)
    } else {
        let path = Path::new(source);
        bytes(path).and_then(|bytes| read_text(path, &bytes))
    };
    topology.map_err(|refusal| refusal.of(source))
}

/// `script.py` or `script.py:NAME,ARGUMENT`.
fn script(source: &str) -> Option<(&Path, Option<&str>)> {
    if source.ends_with(".py") {
        return Some((Path::new(source), None));
    }
    let (path, wanted) = source.split_once(".py:")?;
    Some((Path::new(&source[..path.len() + ".py".len()]), Some(wanted)))
}

fn read_script(path: &Path, wanted: Option<&str>, python: &str) -> Result<Topology, Refusal> {
    if !path.is_file() {
        return Err(Refusal::new("no such file"));
    }
    mininet::read(path, wanted, python, &stem(path))
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn bytes(path: &Path) -> Result<Vec<u8>, Refusal> {
    let fails = |error: std::io::Error| Refusal::new(error.to_string());
    let file = File::open(path).map_err(fails)?;
    if !file.metadata().map_err(fails)?.is_file() {
        return Err(Refusal::new("not a file; `show --all` takes a directory"));
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(fails)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Refusal::new(format!(
            "larger than {} MiB",
            MOST_BYTES >> 20
        )));
    }
    Ok(bytes)
}

/// By the end of the name; where that says nothing, by the first character.
pub(super) fn read_text(path: &Path, bytes: &[u8]) -> Result<Topology, Refusal> {
    let called = stem(path);
    let text = xml::text(bytes)?;
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    match (extension.as_str(), text.trim_start().chars().next()) {
        ("toml", _) => toml::read(&text),
        ("json", _) | ("", Some('{')) => topohub::read(&text, &called),
        ("graphml", _) => graphml::read(&text, &called),
        ("xml", _) | ("", Some('<')) if text.contains("<graphml") => graphml::read(&text, &called),
        ("xml", _) | ("", Some('<')) => sndlib::read(&text, &called),
        _ => Err(Refusal::new(
            "not known what this is; the formats are GraphML (.graphml, .xml), SNDlib (.xml), node-link JSON (.json), TOML \
             (.toml) and Mininet scripts (.py), and there are mn:NAME and gen:NAME",
        )),
    }
}

/// Takes over the demands of a matrix between nodes of the same names.
fn join(topology: &mut Topology, matrix: &Topology) {
    let nodes = topology.nodes.iter().enumerate();
    let places: BTreeMap<String, usize> = nodes.map(|(at, node)| (node.name.clone(), at)).collect();
    topology.demands.clear();
    for demand in &matrix.demands {
        let [from, to] = [demand.from, demand.to].map(|end| &matrix.nodes[end].name);
        match (places.get(from), places.get(to)) {
            (Some(&from), Some(&to)) => topology.demands.push(super::Demand {
                from,
                to,
                ..*demand
            }),
            _ => topology
                .notes
                .add(Note::Homeless, || format!("{from} to {to}")),
        }
    }
}

/// So that the fastest link carries this, and the others in proportion, rounded up to whole bits per second.
fn scale(topology: &mut Topology, fastest: BitRate) {
    let rates = topology.links.iter().filter_map(|link| link.capacity);
    let Some(now) = rates.map(|capacity| capacity.value.0).max() else {
        return;
    };
    let scaled = |rate: BitRate| {
        let exact = u128::from(rate.0) * u128::from(fastest.0);
        BitRate(u64::try_from(exact.div_ceil(now.into())).unwrap_or(u64::MAX))
    };
    for link in &mut topology.links {
        link.capacity = link.capacity.map(|Fact { value, origin }| Fact {
            value: scaled(value),
            origin,
        });
    }
    topology.default_capacity = topology.default_capacity.map(scaled);
    let count = topology.links.len();
    topology.notes.add_many(Note::Scaled, count, || {
        format!("{} became {fastest}", BitRate(now))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_say_what_was_asked_for_and_nothing_else() {
        assert_eq!(Reading::default().options(), "");
        let reading = Reading {
            default_capacity: Some(BitRate(40_000_000_000)),
            largest: true,
            demands: Some("my matrix.xml".into()),
            ..Reading::default()
        };
        assert_eq!(
            reading.options(),
            " --default-capacity 40Gbit/s --demands 'my matrix.xml' --largest"
        );
        assert_eq!(quote("it's"), "'it'\\''s'");
    }
}
