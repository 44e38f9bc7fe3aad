//! Mininet scripts: read by running them under Python with stand-ins for Mininet (`mininet/record.py`), and written.

use super::build::{Builder, micros, rate};
use super::{Fact, Kind, MOST_BYTES, Note, Refusal, Topology};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use payflow_qos::BitRate;
use serde::Deserialize;
use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The script that runs scripts. It is part of the program, so that it needs no files beside it.
const RECORDER: &str = include_str!("../../mininet/record.py");
/// The longest that a script may take to describe its network.
const LIMIT: Duration = Duration::from_secs(30);
/// What is kept of what a script says.
const MOST_WORDS: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Error { error: String, line: Option<u32> },
    Graph(Graph),
}

#[derive(Deserialize)]
struct Graph {
    nodes: Vec<Recorded>,
    links: Vec<RecordedLink>,
    ignored: Vec<String>,
}

#[derive(Deserialize)]
struct Recorded {
    name: String,
    label: String,
    host: bool,
}

#[derive(Deserialize)]
struct RecordedLink {
    ends: [String; 2],
    /// Mbit/s.
    bw: Option<f64>,
    capacity_bps: Option<f64>,
    delay: Option<String>,
}

/// Runs a script with the rights of whoever calls, and takes the network that it describes. `wanted` is an entry of its `topos`
/// with arguments, `NAME,ARGUMENT,...`.
pub(super) fn read(
    path: &Path,
    wanted: Option<&str>,
    python: &str,
    called: &str,
) -> Result<Topology, Refusal> {
    let mut command = Command::new(python);
    command.args(["-B", "-c", RECORDER]).arg(path);
    command.args(wanted.into_iter().flat_map(|wanted| wanted.split(',')));
    let answer = run(command)?;
    let answer = serde_json::from_str(&answer)
        .map_err(|error| Refusal::new(format!("the script's answer is none: {error}")))?;
    let graph = match answer {
        Answer::Error { error, line } => {
            return Err(Refusal {
                line,
                problem: error,
            });
        }
        Answer::Graph(graph) => graph,
    };
    let mut builder = Builder::new(called);
    builder.topology.source = "a Mininet script".to_owned();
    for node in &graph.nodes {
        let kind = if node.host { Kind::Host } else { Kind::Switch };
        builder.node(None, &node.name, Some(&node.label), kind, None)?;
    }
    for link in &graph.links {
        let [a, b] = &link.ends;
        let ends = [builder.find(None, a)?, builder.find(None, b)?];
        let said = link
            .capacity_bps
            .map(|bps| (bps, 1))
            .or(link.bw.map(|mbit| (mbit, 1_000_000)));
        let value = said.and_then(|(number, unit)| rate(number, unit).filter(|it| it.0 > 0));
        if let (Some((number, _)), None) = (said, value) {
            builder.no_capacity(None, &number.to_string());
        }
        let delay_us = link.delay.as_deref().and_then(delay);
        if link.delay.is_some() && delay_us.is_none() {
            let text = link.delay.clone().unwrap_or_default();
            builder.topology.notes.add(Note::NoDelay, || text);
        }
        builder.link(
            None,
            ends,
            value.map(Fact::stated),
            delay_us.map(Fact::stated),
        )?;
    }
    for option in graph.ignored {
        let example = || format!("{option} of links");
        builder.topology.notes.add(Note::Ignored, example);
    }
    builder.finish()
}

/// As tc reads times: `5ms`, `0.1s`, `20us`, and microseconds without a unit. In microseconds, rounded up.
fn delay(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit_us = match unit {
        "s" | "sec" | "secs" => 1e6,
        "ms" | "msec" | "msecs" => 1e3,
        "" | "us" | "usec" | "usecs" => 1.0,
        _ => return None,
    };
    micros(number.trim().parse().ok()?, unit_us)
}

/// Runs a program to its end, within limits; its standard output.
fn run(mut command: Command) -> Result<String, Refusal> {
    let program = command.get_program().to_string_lossy().into_owned();
    let started = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = started.map_err(|error| {
        Refusal::new(format!(
            "{program} cannot be started ({error}); --python names another"
        ))
    })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reader = |from: Option<Box<dyn Read + Send>>, most: u64| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = from.map(|from| from.take(most).read_to_end(&mut bytes));
            // What could be read until then is all there is.
            let _ = read;
            bytes
        })
    };
    let stdout = reader(stdout.map(|it| Box::new(it) as _), MOST_BYTES);
    let stderr = reader(stderr.map(|it| Box::new(it) as _), MOST_WORDS);
    let has_ended = ended_within(&child, LIMIT);
    // Whatever the script started goes with it, so that nobody keeps the pipes open. That there is none left is the usual case.
    // The child is not waited for yet, so that the number of its group is nobody else's.
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let status = child
        .wait()
        .map_err(|error| Refusal::new(format!("{program}: {error}")))?;
    if !has_ended {
        return Err(Refusal::new(format!(
            "the script took longer than {} s, and was ended",
            LIMIT.as_secs()
        )));
    }
    let (Ok(stdout), Ok(stderr)) = (stdout.join(), stderr.join()) else {
        return Err(Refusal::new("what the script said could not be read"));
    };
    if !status.success() {
        let words = String::from_utf8_lossy(&stderr);
        let last = words.trim().lines().last().unwrap_or_default();
        return Err(Refusal::new(format!(
            "{program} ended with {status}: {last}"
        )));
    }
    String::from_utf8(stdout).map_err(|_| Refusal::new("the script's answer is not UTF-8"))
}

/// Whether a program has ended by itself in time; it is not waited for.
fn ended_within(child: &Child, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let Ok(pid) = i32::try_from(child.id()) else {
        return false;
    };
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while Instant::now() < deadline {
        match waitid(Id::Pid(Pid::from_raw(pid)), flags) {
            Ok(WaitStatus::StillAlive) => thread::sleep(Duration::from_millis(5)),
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
    false
}

/// A script with a topology for `mn --custom`, which [`read`] reads again.
pub(super) fn write(topology: &Topology) -> String {
    let mut names = Vec::with_capacity(topology.nodes.len());
    let (mut switches, mut hosts) = (0, 0);
    for node in &topology.nodes {
        let (letter, count) = match node.kind {
            Kind::Switch => ('s', &mut switches),
            Kind::Host => ('h', &mut hosts),
        };
        *count += 1;
        names.push(format!("{letter}{count}"));
    }
    let list = |kind: Kind| {
        let nodes = topology
            .nodes
            .iter()
            .zip(&names)
            .filter(|(node, _)| node.kind == kind);
        let rows =
            nodes.map(|(node, name)| format!("    ({}, {}),\n", quote(name), quote(&node.name)));
        rows.collect::<String>()
    };
    let mut links = String::new();
    for link in &topology.links {
        let [a, b] = link.ends.map(|end| quote(&names[end]));
        let mut options = Vec::new();
        if let Some(capacity) = link.capacity {
            options.push(format!("'bw': {}", mbit(capacity.value)));
        }
        if let Some(delay) = link.delay_us {
            options.push(format!("'delay': '{}us'", delay.value));
        }
        let _ = writeln!(links, "    ({a}, {b}, {{{}}}),", options.join(", "));
    }
    let licence = topology
        .licence
        .as_deref()
        .map_or_else(String::new, |it| format!(" ({it})"));
    let about = format!("{}\nFrom: {}{licence}", topology.name, topology.source);
    format!(
        r#"# A topology for Mininet: mn --custom THIS_FILE --topo converted --link tc
# Where it has no hosts of its own, every switch gets one; --topo converted,N gives it N, and 0 none.
# Rates are Mbit/s of frames. Mininet's tc links take at most 1000.
ABOUT = {about}

from mininet.topo import Topo

# Name in Mininet, name in the topology.
SWITCHES = [
{switches}]
HOSTS = [
{hosts}]
LINKS = [
{links}]


class Converted(Topo):
    def build(self, hosts=1):
        for number, (name, label) in enumerate(SWITCHES, 1):
            self.addSwitch(name, dpid='%016x' % number, label=label)
        for name, label in HOSTS:
            self.addHost(name, label=label)
        for a, b, options in LINKS:
            self.addLink(a, b, **options)
        if not HOSTS:
            for number, (name, _) in enumerate(SWITCHES):
                for host in range(number * hosts + 1, (number + 1) * hosts + 1):
                    self.addLink(self.addHost('h%d' % host), name)


topos = {{'converted': Converted}}
"#,
        about = quote(&about),
        switches = list(Kind::Switch),
        hosts = list(Kind::Host),
    )
}

/// In Mbit/s, exactly.
fn mbit(rate: BitRate) -> String {
    let (whole, rest) = (rate.0 / 1_000_000, rate.0 % 1_000_000);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{}", format!("{rest:06}").trim_end_matches('0'))
}

/// A text as Python has it: JSON's escapes are Python's.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
