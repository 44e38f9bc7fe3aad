//! Every graph of TopoHub loads: those of the Internet Topology Zoo, of SNDlib, of CAIDA, backbones, and Gabriel graphs.
//!
//! TopoHub is installed from PyPI into an environment of this test's own, once, below the target directory. Nothing of it is part
//! of this project.

#![allow(clippy::unwrap_used)]

use payflow_emulation::topology::{Coordinates, Note, Origin, Reading, Statistics, load};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const VERSION: &str = "1.5.1";

/// Where the graphs are, after installing TopoHub if it is not there yet.
fn data() -> PathBuf {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("topohub-{VERSION}"));
    let complete = environment.join("complete");
    if !complete.exists() {
        if environment.exists() {
            fs::remove_dir_all(&environment).unwrap();
        }
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(&environment);
        run(
            venv,
            "`make setup` installs Python's venv (python3-venv on Debian)",
        );
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
        ]);
        pip.args(["--only-binary", ":all:", "--no-deps"]);
        pip.arg(format!("topohub=={VERSION}"));
        run(
            pip,
            "this test needs PyPI, or a mirror in pip's configuration, the first time it runs",
        );
        fs::write(&complete, VERSION).unwrap();
    }
    let python = fs::read_dir(environment.join("lib")).unwrap().next();
    python
        .unwrap()
        .unwrap()
        .path()
        .join("site-packages/topohub/data")
}

fn run(mut command: Command, advice: &str) {
    let output = command.output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}\n{advice}"));
    let told = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    assert!(status.success(), "{command:?}: {status}\n{told}\n{advice}");
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|it| it == "json") {
            found.push(path);
        }
    }
}

#[derive(Debug, Default, PartialEq)]
struct Sum {
    graphs: usize,
    nodes: usize,
    links: usize,
    defaults: usize,
    /// Nodes whose names were made their own.
    renamed: usize,
    /// Graphs in a plane of whatever unit.
    planes: usize,
    demands: usize,
}

#[test]
fn every_graph_of_topohub_loads_with_the_nodes_and_links_that_its_file_counts() {
    let data = data();
    let mut all = Vec::new();
    files(&data, &mut all);
    let mut sums = BTreeMap::<String, Sum>::new();
    for path in &all {
        let topology = load(&path.to_string_lossy(), &Reading::default());
        let topology = topology.unwrap_or_else(|error| panic!("{error}"));
        let seen = Statistics::of(&topology);
        let file: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let counted = |name: &str| file["graph"]["stats"][name].as_u64();
        let own = (Some(seen.switches as u64), Some(seen.links as u64));
        assert_eq!(
            own,
            (counted("nodes"), counted("links")),
            "{}",
            path.display()
        );
        let hops = seen.diameter.map(|it| it as u64);
        assert_eq!(hops, counted("diameter_hops"), "{}", path.display());

        let set = path.strip_prefix(&data).unwrap().iter().next().unwrap();
        let sum = sums.entry(set.to_string_lossy().into_owned()).or_default();
        sum.graphs += 1;
        sum.nodes += seen.switches;
        sum.links += seen.links;
        sum.defaults += seen.capacities_from(&[Origin::Default]);
        sum.renamed += seen.notes.count(Note::Renamed) + seen.notes.count(Note::Unnamed);
        sum.planes += usize::from(topology.coordinates == Coordinates::Plane);
        sum.demands += topology.demands.len();
    }
    println!("{sums:#?}");
    let zoo = &sums["topozoo"];
    assert_eq!(
        (zoo.graphs, zoo.nodes, zoo.links, zoo.defaults),
        (203, 5_418, 6_885, 6_885)
    );
    let graphs: Vec<_> = sums
        .iter()
        .map(|(set, sum)| (set.as_str(), sum.graphs))
        .collect();
    let expected = [
        ("backbone", 20),
        ("caida", 98),
        ("gabriel", 360),
        ("sndlib", 26),
        ("topozoo", 203),
    ];
    assert_eq!(graphs, expected);
    assert!(sums["sndlib"].demands > 10_000, "{:?}", sums["sndlib"]);
    assert_eq!(sums["gabriel"].planes, 360);
}
