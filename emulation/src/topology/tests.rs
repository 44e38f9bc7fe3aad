//! What holds of every format, and of the samples.

#![allow(clippy::unwrap_used)]

use super::source::read_text;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const SAMPLES: [(&str, &str); 6] = [
    (
        "Abilene.graphml",
        include_str!("../../../examples/topologies/Abilene.graphml"),
    ),
    (
        "AttMpls.graphml",
        include_str!("../../../examples/topologies/AttMpls.graphml"),
    ),
    (
        "Geant2012.graphml",
        include_str!("../../../examples/topologies/Geant2012.graphml"),
    ),
    (
        "abilene-2005.toml",
        include_str!("../../../examples/topologies/abilene-2005.toml"),
    ),
    (
        "att-2008.toml",
        include_str!("../../../examples/topologies/att-2008.toml"),
    ),
    (
        "geant-2012.toml",
        include_str!("../../../examples/topologies/geant-2012.toml"),
    ),
];

/// As SNDlib writes networks; the numbers are ours.
const SNDLIB: &str = r#"<?xml version="1.0" encoding="ISO-8859-1"?>
<network xmlns="http://sndlib.zib.de/network" version="1.0">
 <meta><granularity>5min</granularity><unit>MBITPERSEC</unit><origin>us</origin></meta>
 <networkStructure>
  <nodes coordinatesType="geographical">
   <node id="A"><coordinates><x>4.9</x><y>52.4</y></coordinates></node>
   <node id="B"><coordinates><x>13.4</x><y>52.5</y></coordinates></node>
   <node id="C"><coordinates><x>NaN</x><y>45.0</y></coordinates></node>
  </nodes>
  <links>
   <link id="L1"><source>A</source><target>B</target><preInstalledModule><capacity>9920.0</capacity><cost>0</cost></preInstalledModule></link>
   <link id="L2"><source>B</source><target>C</target><preInstalledModule><capacity>0.0</capacity></preInstalledModule>
    <additionalModules><addModule><capacity>622.08</capacity></addModule><addModule><capacity>155.0</capacity></addModule></additionalModules></link>
   <link id="L3"><source>C</source><target>A</target></link>
  </links>
 </networkStructure>
 <demands>
  <demand id="D1"><source>A</source><target>B</target><routingUnit>1</routingUnit><demandValue> 0.522208 </demandValue></demand>
  <demand id="D2"><source>A</source><target>C</target><demandValue>-3</demandValue></demand>
 </demands>
</network>"#;

/// As TopoHub writes graphs; the numbers are ours.
const TOPOHUB: &str = r#"{"directed": false, "multigraph": false,
 "graph": {"name": "three", "demands": {"0": {"2": 12.5}}, "stats": {"nodes": 3}},
 "nodes": [{"name": "Lille", "pos": [3.06, 50.63], "id": 0}, {"pos": [2.35, 48.86], "type": "Seacable Waypoint", "id": 1},
  {"name": "Lille", "pos": [4.83, 45.76], "id": 2}],
 "edges": [{"dist": 204.0, "ecmp_fwd": {"uni": 58.67}, "source": 0, "target": 1}, {"dist": 391.5, "source": 1, "target": 2}]}"#;

fn read(name: &str, text: &str) -> Result<Topology, String> {
    read_text(Path::new(name), text.as_bytes()).map_err(|refusal| refusal.of(name).to_string())
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/topologies")
        .join(name);
    path.to_string_lossy().into_owned()
}

fn generated(source: &str) -> Topology {
    load(source, &Reading::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(source: &str) -> String {
    load(source, &Reading::default()).unwrap_err().to_string()
}

/// A graph of the Zoo's kind with these elements; keys: 1 label, 2 Longitude, 3 Latitude, 4 LinkSpeedRaw, 5 LinkSpeed,
/// 6 LinkSpeedUnits, 7 LinkLabel.
fn zoo(attributes: &str, elements: &str) -> String {
    let keys = [
        ("node", "label"),
        ("node", "Longitude"),
        ("node", "Latitude"),
        ("edge", "LinkSpeedRaw"),
        ("edge", "LinkSpeed"),
        ("edge", "LinkSpeedUnits"),
        ("edge", "LinkLabel"),
    ];
    let keys = keys
        .iter()
        .zip(1..)
        .map(|((of, name), id)| format!("<key attr.name=\"{name}\" for=\"{of}\" id=\"{id}\"/>"));
    let keys: String = keys.collect();
    format!(
        "<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">{keys}<graph {attributes}>\n{elements}\n</graph></graphml>"
    )
}

fn node(id: u32, label: &str) -> String {
    format!("<node id=\"{id}\"><data key=\"1\">{label}</data></node>\n")
}

fn edge(a: u32, b: u32, data: &[(u32, &str)]) -> String {
    let data: String = data
        .iter()
        .map(|(key, text)| format!("<data key=\"{key}\">{text}</data>"))
        .collect();
    format!("<edge source=\"{a}\" target=\"{b}\">{data}</edge>\n")
}

#[test]
fn every_sample_is_the_network_of_its_map() {
    for (name, text) in SAMPLES {
        let topology = read_shipped(name, text, &Reading::default()).unwrap();
        let statistics = Statistics::of(&topology);
        let expected = match name {
            "Abilene.graphml" => (11, 14, 0, 11, 0, 14, 0),
            "AttMpls.graphml" => (25, 57, 1, 25, 0, 0, 57),
            "Geant2012.graphml" => (40, 61, 0, 37, 39, 0, 22),
            "abilene-2005.toml" => (11, 14, 0, 11, 0, 14, 0),
            "att-2008.toml" => (25, 57, 1, 0, 0, 0, 57),
            "geant-2012.toml" => (40, 61, 0, 0, 39, 0, 22),
            other => panic!("what is {other}?"),
        };
        let seen = (
            statistics.switches,
            statistics.links,
            statistics.parallel,
            statistics.placed,
            statistics.capacities_from(&[Origin::Stated]),
            statistics.capacities_from(&[Origin::Label]),
            statistics.capacities_from(&[Origin::Default]),
        );
        assert_eq!(seen, expected, "{name}");
        assert_eq!(
            (statistics.components.len(), statistics.notes.is_empty()),
            (1, true),
            "{name}"
        );
        assert_eq!(topology.licence.as_deref(), Some("CC BY 4.0"), "{name}");
    }
}

#[test]
fn our_files_say_what_those_of_the_zoo_say() {
    for place in 0..3 {
        let (ours, original) = (SAMPLES[3 + place], SAMPLES[place]);
        let [ours, original] = [ours, original].map(|(name, text)| read(name, text).unwrap());
        let names = |topology: &Topology| {
            topology
                .nodes
                .iter()
                .map(|it| it.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&ours), names(&original));
        let links = |topology: &Topology| -> Vec<_> {
            topology
                .links
                .iter()
                .map(|link| (link.ends, link.capacity))
                .collect()
        };
        assert_eq!(links(&ours), links(&original));
    }
}

#[test]
fn what_maps_of_the_zoo_leave_out_or_say_twice_is_coped_with_and_told() {
    let elements = [
        edge(0, 1, &[(4, "155000000.0")]),
        edge(0, 1, &[(5, "2.5"), (6, "G")]),
        edge(1, 2, &[(7, "OC-48")]),
        edge(2, 2, &[]),
        edge(3, 4, &[(4, "NaN"), (7, "10 Gbps")]),
        edge(4, 3, &[(7, "Lit Fibre")]),
        node(0, "Lund"),
        node(1, "Lund"),
        "<node id=\"2\"><data key=\"1\">Oslo</data><data key=\"2\">10.7</data><data key=\"3\">595.9</data></node>\n".to_owned(),
        "<node id=\"3\"/>\n".to_owned(),
        node(4, "Bergen"),
        "<hyperedge><endpoint node=\"0\"/></hyperedge>".to_owned(),
    ];
    let topology = read(
        "n.graphml",
        &zoo("edgedefault=\"undirected\"", &elements.concat()),
    )
    .unwrap();
    let names: Vec<_> = topology.nodes.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["Lund", "Lund #2", "Oslo", "n3", "Bergen"]);
    assert_eq!(topology.components(), [vec![0, 1, 2], vec![3, 4]]);
    let capacities: Vec<_> = topology
        .links
        .iter()
        .map(|it| it.capacity.map(|it| (it.value.0, it.origin)))
        .collect();
    assert_eq!(
        capacities,
        [
            Some((155_000_000, Origin::Stated)),
            Some((2_500_000_000, Origin::Stated)),
            Some((2_488_320_000, Origin::Label)),
            Some((10_000_000_000, Origin::Label)),
            None,
        ]
    );
    let notes: Vec<_> = topology
        .notes
        .iter()
        .map(|(note, seen)| (note, seen.count))
        .collect();
    assert_eq!(
        notes,
        [
            (Note::Unnamed, 1),
            (Note::Renamed, 1),
            (Note::Loop, 1),
            (Note::NoCapacity, 1),
            (Note::NoPlace, 1),
            (Note::Hyperedge, 1),
        ]
    );
    assert!(
        topology.notes.to_string().contains("line 6"),
        "{}",
        topology.notes
    );
}

#[test]
fn directed_links_there_and_back_are_one_with_the_lower_rate() {
    let nodes = [node(0, "A"), node(1, "B"), node(2, "C")].concat();
    let edges = [
        edge(0, 1, &[(4, "10")]),
        edge(1, 0, &[(4, "7")]),
        edge(0, 1, &[(4, "3")]),
        edge(1, 0, &[]),
        edge(2, 1, &[]),
    ];
    let topology = read(
        "n.graphml",
        &zoo("edgedefault=\"directed\"", &(nodes + &edges.concat())),
    )
    .unwrap();
    let links: Vec<_> = topology
        .links
        .iter()
        .map(|it| (it.ends, it.capacity.map(|it| it.value.0)))
        .collect();
    assert_eq!(
        links,
        [([0, 1], Some(7)), ([0, 1], Some(3)), ([2, 1], None)]
    );
    let counts = [Note::Paired, Note::Uneven, Note::OneWay].map(|note| topology.notes.count(note));
    assert_eq!(counts, [2, 1, 1]);
}

#[test]
fn what_is_no_topology_is_refused_with_file_and_line() {
    let cases = [
        ("n.graphml", zoo("", &edge(0, 9, &[])), "n.graphml:2: no node \"0\""),
        ("n.graphml", zoo("", &(node(0, "A") + &node(0, "B"))), "n.graphml:3: a second node with the id \"0\""),
        ("n.graphml", zoo("", ""), "n.graphml: no nodes"),
        ("n.graphml", "<gexf/>".to_owned(), "n.graphml:1: <gexf> where <graphml> belongs"),
        ("n.xml", "<a>\n</b>".to_owned(), "n.xml:2: not XML"),
        ("n.xml", SNDLIB.replace("MBITPERSEC", "furlongs"), "the unit \"furlongs\""),
        ("n.xml", SNDLIB.replace("<target>C", "<target>X"), "n.xml:12: no node \"X\""),
        ("n.json", "{\"nodes\":\n[{]}".to_owned(), "n.json:2: not a graph as JSON"),
        ("n.json", TOPOHUB.replace("\"target\": 2", "\"target\": 7"), "no node \"7\""),
        ("n.json", format!("{{\"nodes\": [{{\"id\": {}", "[".repeat(100_000)), "recursion"),
        ("n.toml", "name = \"n\"\nnodes = [\"A\",\n\"A\"]".to_owned(), "n.toml:3: a second node"),
        ("n.toml", "name = \"n\"\nnodes = [\"A\"]\nlinks = [\n{ ends = [\"A\", \"A\"] }]".to_owned(), "n.toml:4: a link from A to itself"),
        ("n.toml", "name = \"n\"\nnodes = [\"A\", \"B\"]\nlinks = [\n{ ends = [\"A\", \"B\"], capacity = \"fast\" }]".to_owned(), "is not a rate"),
        ("n.toml", "name = \"n\"\nnodes = [{ name = \"A\", at = [nan, 1.0] }]".to_owned(), "n.toml:2: \"A\" needs another name, or another place"),
        ("n.toml", "name = \"n\"\nspeed = 3\nnodes = []".to_owned(), "n.toml:2: unknown field `speed`"),
        ("n.toml", format!("a = {}", "[".repeat(100_000)), "n.toml:1"),
        ("n.dat", "x".to_owned(), "not known what this is"),
    ];
    for (name, text, told) in cases {
        let error = read(name, &text).expect_err(told);
        assert!(error.contains(told), "{error:.300}, not {told}");
        assert!(error.starts_with(name), "{error:.300}");
    }
    assert!(refused("nowhere.graphml").contains("No such file"));
    assert!(refused("/").contains("--all"));
}

#[test]
fn more_than_is_read_is_refused() {
    let many: String = (0..=MOST_NODES)
        .map(|id| format!("{{\"id\": {id}}},"))
        .collect();
    let error = read(
        "n.json",
        &format!(
            "{{\"edges\": [], \"nodes\": [{}]}}",
            many.trim_end_matches(',')
        ),
    )
    .unwrap_err();
    assert!(error.contains("more than 20000 nodes"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.json");
    std::fs::File::create(&path)
        .unwrap()
        .set_len(MOST_BYTES + 1)
        .unwrap();
    assert!(refused(&path.to_string_lossy()).contains("larger than 32 MiB"));
}

#[test]
fn a_network_of_sndlib_has_its_modules_and_demands() {
    let topology = read("n.xml", SNDLIB).unwrap();
    let facts: Vec<_> = topology
        .links
        .iter()
        .map(|it| it.capacity.map(|it| (it.value.0, it.origin)))
        .collect();
    let expected = [
        Some((9_920_000_000, Origin::Stated)),
        Some((155_000_000, Origin::Module)),
        None,
    ];
    assert_eq!(facts, expected);
    assert_eq!(
        topology.demands,
        [Demand {
            from: 0,
            to: 1,
            rate: BitRate(522_208)
        }]
    );
    assert_eq!(
        [Note::NoPlace, Note::NoDemand].map(|note| topology.notes.count(note)),
        [1, 1]
    );
    let unitless = read("n.xml", &SNDLIB.replace("<unit>MBITPERSEC</unit>", "")).unwrap();
    assert_eq!(
        unitless.links[0].capacity.map(|it| it.origin),
        Some(Origin::Unit)
    );
    let pixels = read("n.xml", &SNDLIB.replace("geographical", "pixel")).unwrap();
    assert!(pixels.links.iter().all(|link| link.delay_us.is_none()));
}

#[test]
fn demands_come_from_another_file_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let [network, matrix] = ["network.toml", "matrix.xml"].map(|name| dir.path().join(name));
    std::fs::write(
        &network,
        "name = \"n\"\nnodes = [\"B\", \"A\"]\nlinks = [{ ends = [\"A\", \"B\"] }]",
    )
    .unwrap();
    std::fs::write(&matrix, SNDLIB.replace("-3", "3")).unwrap();
    let reading = Reading {
        demands: Some(matrix),
        ..Reading::default()
    };
    let topology = load(&network.to_string_lossy(), &reading).unwrap();
    assert_eq!(
        topology.demands,
        [Demand {
            from: 1,
            to: 0,
            rate: BitRate(522_208)
        }]
    );
    assert_eq!(topology.notes.count(Note::Homeless), 1);
}

#[test]
fn a_graph_of_topohub_has_delays_from_its_distances() {
    let topology = read("n.json", TOPOHUB).unwrap();
    let names: Vec<_> = topology.nodes.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        (topology.name.as_str(), names.as_slice()),
        ("three", ["Lille", "n1", "Lille #2"].as_slice())
    );
    let delays: Vec<_> = topology
        .links
        .iter()
        .map(|it| it.delay_us.map(|it| (it.value, it.origin)))
        .collect();
    // 4.897 us a kilometre, rounded up.
    assert_eq!(
        delays,
        [
            Some((999, Origin::Distance)),
            Some((1_918, Origin::Distance))
        ]
    );
    assert_eq!(
        topology.demands,
        [Demand {
            from: 0,
            to: 2,
            rate: BitRate(12_500_000)
        }]
    );
    // Gabriel graphs are in a plane of whatever unit.
    let plane = read("n.json", &TOPOHUB.replace("45.76", "463.4")).unwrap();
    assert_eq!(plane.coordinates, Coordinates::Plane);
    assert!(plane.links.iter().all(|link| link.delay_us.is_none()));
}

#[test]
fn the_largest_component_alone_and_what_all_carry_when_scaled() {
    let source = "gen:waxman,n=40,beta=0.02,connected=false";
    let all = generated(source);
    let components = all.components();
    assert!(components.len() > 1);
    let largest = load(
        source,
        &Reading {
            largest: true,
            ..Reading::default()
        },
    )
    .unwrap();
    assert_eq!(largest.nodes.len(), components[0].len());
    assert_eq!(largest.components().len(), 1);
    assert_eq!(
        largest.notes.count(Note::NotLargest),
        40 - components[0].len()
    );

    let reading = Reading {
        scale_to: Some(BitRate(40_000_000)),
        ..Reading::default()
    };
    let scaled = load(&example("Geant2012.graphml"), &reading).unwrap();
    let rates: BTreeSet<u64> = scaled
        .links
        .iter()
        .filter_map(|it| it.capacity)
        .map(|it| it.value.0)
        .collect();
    assert_eq!(
        rates.into_iter().collect::<Vec<_>>(),
        [620_000, 4_000_000, 10_000_000, 40_000_000]
    );
}

#[test]
fn generators_make_what_they_are_called_after() {
    // Switches, hosts, links, components, fewest and most links of a node.
    for (source, expected) in [
        ("gen:line,5", (5, 0, 4, 1, 1, 2)),
        ("gen:line,n=3,hosts=2", (3, 6, 8, 1, 1, 4)),
        ("gen:ring,6", (6, 0, 6, 1, 2, 2)),
        ("gen:star,7,hosts=1", (8, 7, 14, 1, 1, 7)),
        ("gen:tree,depth=3,fanout=2", (15, 0, 14, 1, 1, 3)),
        ("gen:fat-tree,k=4", (20, 16, 48, 1, 1, 4)),
        ("gen:fat-tree,k=6", (45, 54, 162, 1, 1, 6)),
        ("gen:dumbbell,n=5", (2, 10, 11, 1, 1, 6)),
        ("mn:minimal", (1, 2, 2, 1, 1, 2)),
        ("mn:single,3", (1, 3, 3, 1, 1, 3)),
        ("mn:linear,4,2", (4, 8, 11, 1, 1, 4)),
        ("mn:tree,2", (3, 4, 6, 1, 1, 3)),
        ("mn:tree,depth=3,fanout=3", (13, 27, 39, 1, 1, 4)),
        ("mn:torus,3,4", (12, 12, 36, 1, 1, 5)),
    ] {
        let statistics = Statistics::of(&generated(source));
        let seen = (
            statistics.switches,
            statistics.hosts,
            statistics.links,
            statistics.components.len(),
            statistics.degree.least as usize,
            statistics.degree.most as usize,
        );
        assert_eq!(seen, expected, "{source}");
    }
    let dumbbell = generated("gen:dumbbell,n=1,capacity=1Gbit,bottleneck=20Mbit,delay_us=500");
    let rates: Vec<_> = dumbbell
        .links
        .iter()
        .filter_map(|it| it.capacity)
        .map(|it| it.value.0)
        .collect();
    assert_eq!(rates, [20_000_000, 1_000_000_000, 1_000_000_000]);
}

#[test]
fn what_no_generator_makes_is_told() {
    for (source, told) in [
        ("gen:cube", "no generator \"cube\"; there are line,"),
        ("gen:ring,2", "n=2 is not from 3 to"),
        ("gen:fat-tree,k=5", "k=5 is odd"),
        (
            "gen:waxman,n=50,sead=3",
            "waxman has no sead; it has n, alpha",
        ),
        ("gen:waxman,alpha=nan", "alpha=NaN is not above 0"),
        ("gen:waxman,n=20000", "more than 3000 switches"),
        ("gen:line,n=3,n=4", "n is said twice"),
        ("gen:line,3,n=4", "n is said twice"),
        ("gen:line,n=3,4", "\"4\" behind arguments with a name"),
        (
            "gen:line,capacity=fast",
            "capacity=fast: \"fast\" is not a rate",
        ),
        ("gen:barabasi-albert,n=3,m=3", "n=3 is not from 4 to"),
        ("gen:tree,depth=16,fanout=20000", "more than 20000 nodes"),
        (
            "mn:cube",
            "Mininet has no topology \"cube\"; it has minimal,",
        ),
        ("mn:torus,2,2", "x=2 is not from 3 to"),
        ("mn:tree,16,9", "more than 20000 nodes"),
        ("mn:single,2,3", "single takes 1 arguments at most: k"),
    ] {
        let error = refused(source);
        assert!(error.starts_with(source) && error.contains(told), "{error}");
    }
}

proptest! {
    #[test]
    fn the_same_seed_is_the_same_graph_and_waxman_and_barabasi_albert_are_connected(
        n in 4..60_usize, m in 1..4_usize, seed in 0..1_000_u64,
    ) {
        let waxman = format!("gen:waxman,n={n},beta=0.2,seed={seed}");
        let grown = format!("gen:barabasi-albert,n={n},m={m},seed={seed}");
        for source in [&waxman, &grown] {
            prop_assert_eq!(generated(source), generated(source));
            prop_assert_eq!(generated(source).components().len(), 1);
        }
        let grown = generated(&grown);
        prop_assert_eq!(grown.links.len(), m * (n - m));
        let pairs: BTreeSet<_> = grown.links.iter().map(|link| link.ends).collect();
        prop_assert_eq!(pairs.len(), grown.links.len());
        // Joining what is apart adds as many links as there were components too many.
        let apart = generated(&format!("{waxman},connected=false"));
        let missing = apart.components().len() - 1;
        prop_assert_eq!(apart.links.len() + missing, generated(&waxman).links.len());
    }
}

#[test]
fn another_seed_is_another_graph() {
    for kind in ["waxman", "barabasi-albert"] {
        let links = |seed: u64| generated(&format!("gen:{kind},n=40,seed={seed}")).links;
        assert_ne!(links(1), links(2), "{kind}");
    }
}

/// Any topology that keeps the rules.
fn any_topology() -> impl Strategy<Value = Topology> {
    let name = "[a-zA-Z&<>\"'éλ{}]{1,6}( [#a-z0-9=]{1,4})?";
    let coordinates = prop_oneof![Just(Coordinates::Geographic), Just(Coordinates::Plane)];
    let kind = prop_oneof![Just(Kind::Switch), Just(Kind::Host)];
    let origin = |origins: &'static [Origin]| prop::sample::select(origins);
    let capacity = (
        1..=MOST_CAPACITY.0,
        origin(&[Origin::Stated, Origin::Label, Origin::Unit, Origin::Module]),
    );
    let capacity = capacity.prop_map(|(bps, origin)| Fact {
        value: BitRate(bps),
        origin,
    });
    let delay = (
        0..=MOST_DELAY_US,
        origin(&[Origin::Stated, Origin::Distance]),
    );
    let delay = delay.prop_map(|(value, origin)| Fact { value, origin });
    // As maps have them: six decimals.
    let place = (-180_000_000..=180_000_000_i32, -90_000_000..=90_000_000_i32);
    let place = place.prop_map(|(x, y)| (f64::from(x) / 1e6, f64::from(y) / 1e6));
    let node = (kind, prop::option::of(place));
    let link = (
        0..100_usize,
        0..100_usize,
        prop::option::of(capacity),
        prop::option::of(delay),
    );
    let demand = (0..100_usize, 0..100_usize, 1..=MOST_CAPACITY.0);
    (
        (
            name,
            "[a-z<&\"]{0,8}",
            prop::option::of("[A-Z]{2,5}"),
            coordinates,
        ),
        prop::collection::btree_map(name, node, 2..8),
        prop::collection::vec(link, 0..12),
        prop::collection::btree_map((0..100_usize, 0..100_usize), demand, 0..5),
        prop::option::of(1..=MOST_CAPACITY.0),
    )
        .prop_map(
            |((name, source, licence, coordinates), nodes, links, demands, default)| {
                let nodes: Vec<_> = nodes
                    .into_iter()
                    .map(|(name, (kind, place))| Node {
                        name,
                        kind,
                        place: place.map(|(x, y)| Place { x, y }),
                    })
                    .collect();
                let count = nodes.len();
                let links = links
                    .into_iter()
                    .filter(|(a, b, ..)| a % count != b % count);
                let links = links.map(|(a, b, capacity, delay_us)| Link {
                    ends: [a % count, b % count],
                    capacity,
                    delay_us,
                });
                let demands = demands
                    .into_values()
                    .filter(|(a, b, _)| a % count != b % count);
                let demands = demands.map(|(a, b, bps)| Demand {
                    from: a % count,
                    to: b % count,
                    rate: BitRate(bps),
                });
                let mut topology = Topology {
                    name,
                    source,
                    licence,
                    coordinates,
                    links: links.collect(),
                    demands: demands.collect(),
                    default_capacity: default.map(BitRate),
                    nodes,
                    notes: Notes::default(),
                };
                // As JSON has them: in order, one for each pair.
                topology
                    .demands
                    .sort_by_key(|demand| (demand.from, demand.to));
                topology
                    .demands
                    .dedup_by_key(|demand| (demand.from, demand.to));
                if topology.coordinates == Coordinates::Geographic {
                    build::delays_from_places(&mut topology);
                }
                topology
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_the_same(topology in any_topology()) {
        for (format, name) in [(Format::Toml, "n.toml"), (Format::Json, "n.json"), (Format::Graphml, "n.graphml")] {
            let mut expected = topology.clone();
            if !format.has_demands() {
                expected.demands.clear();
            }
            let text = format.write(&topology);
            let back = read(name, &text);
            prop_assert_eq!(back.as_ref(), Ok(&expected), "{}", text);
            // And so it is once defaults are filled in.
            let filled = |mut topology: Topology| {
                defaults::apply(&mut topology, None);
                topology
            };
            let full = filled(topology.clone());
            let back = read(name, &format.write(&full)).map(filled);
            prop_assert_eq!(back, Ok(filled(expected)));
        }
    }

    /// A picture can be drawn of whatever can be read, and is XML.
    #[test]
    fn every_topology_can_be_drawn(topology in any_topology()) {
        let picture = plot::draw(&topology);
        prop_assert!(!picture.svg.contains("NaN") && !picture.svg.contains("inf"));
        let document = roxmltree::Document::parse(&picture.svg);
        prop_assert!(document.is_ok(), "{:?}", document);
    }

    /// Bytes put in, taken out and changed: whatever comes of it, no reader panics, and what it takes keeps the rules.
    #[test]
    fn no_reader_panics_whatever_is_done_to_a_file(
        which in 0..7_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, prop_oneof![
            "[<>&\"'\\[\\]{}=,0-9a-z\\-\\n]{0,6}", Just("NaN".to_owned()), Just("1e999".to_owned()), Just("-1".to_owned()),
            Just("<node id=\"0\"/>".to_owned()), Just("\u{0}".to_owned()), Just("é".to_owned()),
        ]), 1..6),
    ) {
        let (name, text) = match which {
            5 => ("n.xml", SNDLIB),
            6 => ("n.json", TOPOHUB),
            sample => SAMPLES[sample],
        };
        let mut bytes = text.as_bytes().to_vec();
        for (at, length, new) in edits {
            let start = at.index(bytes.len().max(1)).min(bytes.len());
            let end = (start + length).min(bytes.len());
            bytes.splice(start..end, new.into_bytes());
        }
        let Ok(topology) = read_text(Path::new(name), &bytes) else { return Ok(()) };
        let names: BTreeSet<_> = topology.nodes.iter().map(|node| &node.name).collect();
        prop_assert_eq!(names.len(), topology.nodes.len());
        for link in &topology.links {
            prop_assert!(link.ends.iter().all(|end| *end < topology.nodes.len()) && link.ends[0] != link.ends[1]);
            prop_assert!(link.capacity.is_none_or(|it| it.value.0 > 0 && it.value <= MOST_CAPACITY));
        }
        prop_assert!(topology.nodes.iter().filter_map(|it| it.place).all(|it| it.x.is_finite() && it.y.is_finite()));
    }
}

/// Writes a script and reads it.
fn script(text: &str, wanted: &str) -> Result<Topology, String> {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("net.py");
    std::fs::write(&path, text).unwrap();
    let source = format!("{}{wanted}", path.display());
    let topology = load(&source, &Reading::default());
    topology.map_err(|error| error.to_string().replace(&source, "net.py"))
}

fn shape(topology: &Topology) -> Vec<String> {
    let name = |end: usize| topology.nodes[end].name.as_str();
    topology
        .links
        .iter()
        .map(|link| format!("{}-{}", name(link.ends[0]), name(link.ends[1])))
        .collect()
}

#[test]
fn a_script_that_starts_a_network_is_that_network() {
    let text = r#"
from functools import partial
from mininet.net import Mininet
from mininet.node import OVSSwitch, RemoteController, Node
from mininet.link import TCLink
from mininet.cli import CLI
from mininet.log import setLogLevel, info
from mininet.util import dumpNodeConnections

def run():
    net = Mininet(controller=RemoteController, switch=OVSSwitch, link=partial(TCLink, delay='2ms'))
    net.addController('c0', ip='127.0.0.1')
    h1 = net.addHost('h1', ip='10.0.0.1')
    h2 = net.addHost('h2')
    s1, s2 = [net.addSwitch('s%d' % n, dpid='%x' % n) for n in (1, 2)]
    net.addLink(h1, s1)
    net.addLink('h2', 's2', bw=10, delay='5ms', loss=1)
    net.addLink(s1, s2, cls=TCLink, bw=2.5)
    net.addLink(Node('root', inNamespace=False), s1)
    info('*** starting\n')
    net.start()
    raise RuntimeError('nothing is started')
    CLI(net)

if __name__ == '__main__':
    setLogLevel('info')
    run()
"#;
    let topology = script(text, "").unwrap();
    assert_eq!(shape(&topology), ["h1-s1", "h2-s2", "s1-s2", "root-s1"]);
    let kinds: Vec<_> = topology
        .hosts()
        .map(|host| topology.nodes[host].name.as_str())
        .collect();
    assert_eq!(kinds, ["h1", "h2", "root"]);
    let capacities: Vec<_> = topology
        .links
        .iter()
        .filter_map(|it| it.capacity)
        .map(|it| (it.value.0, it.origin))
        .collect();
    let default = (2_500_000, Origin::Default);
    assert_eq!(
        capacities,
        [
            default,
            (10_000_000, Origin::Stated),
            (2_500_000, Origin::Stated),
            default
        ]
    );
    let delays: Vec<_> = topology
        .links
        .iter()
        .map(|it| it.delay_us.map(|it| it.value))
        .collect();
    assert_eq!(delays, [Some(2_000), Some(5_000), Some(2_000), Some(2_000)]);
    assert_eq!(topology.notes.count(Note::Ignored), 1);
}

#[test]
fn a_custom_file_is_read_as_mn_reads_it() {
    let text = r#"
"""Two directly connected switches plus hosts."""
from mininet.topo import Topo, LinearTopo

class Pair(Topo):
    def build(self, hosts=1, bw=None):
        left, right = self.addSwitch('s1'), self.addSwitch('s2')
        for n in range(hosts):
            self.addLink(self.addHost('h%d' % n), left)
        self.addLink(left, right, bw=bw, max_queue_size=1000)

topos = {'pair': Pair, 'row': (lambda n=3: LinearTopo(k=n))}
"#;
    assert_eq!(shape(&script(text, ":pair").unwrap()), ["h0-s1", "s1-s2"]);
    let wide = script(text, ":pair,2,bw=20").unwrap();
    assert_eq!(
        (wide.links.len(), wide.links[2].capacity),
        (3, Some(Fact::stated(BitRate(20_000_000))))
    );
    assert_eq!(script(text, ":row").unwrap().links.len(), 5);
    assert!(
        script(text, "")
            .unwrap_err()
            .contains("name one, as in script.py:NAME: pair, row")
    );
    assert!(
        script(text, ":cube")
            .unwrap_err()
            .contains("no topology 'cube' in `topos`; there are: pair, row")
    );
    assert!(
        script(text, ":pair,1,2,3")
            .unwrap_err()
            .contains("TypeError")
    );
}

#[test]
fn what_is_wrong_with_a_script_is_told_with_its_line() {
    assert_eq!(
        script("import mininet\n\n1/0\n", "").unwrap_err(),
        "net.py:3: ZeroDivisionError: division by zero"
    );
    assert!(
        script("def f(:\n", "")
            .unwrap_err()
            .starts_with("net.py:1: SyntaxError")
    );
    assert!(
        script("print('hello')\n", "")
            .unwrap_err()
            .contains("it starts no Mininet object")
    );
    let unknown = "from mininet.topo import Topo\nclass T(Topo):\n def build(self):\n  self.addLink('a', 'b')\ntopos = {'t': T}";
    assert!(
        script(unknown, "")
            .unwrap_err()
            .contains("a link of 'a', which was never added")
    );
    let nowhere = load("nowhere.py", &Reading::default()).unwrap_err();
    assert_eq!(nowhere.to_string(), "nowhere.py: no such file");
    let reading = Reading {
        python: "no-such-python".to_owned(),
        ..Reading::default()
    };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/mininet/topology.py");
    assert!(
        load(path, &reading)
            .unwrap_err()
            .to_string()
            .contains("--python names another")
    );
}

#[test]
fn the_network_of_our_own_labs_is_read_from_its_script() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/mininet/topology.py:payflow");
    let topology = generated(path);
    let trunks = topology
        .links
        .iter()
        .filter_map(|it| it.capacity)
        .map(|it| it.value.0)
        .filter(|bps| *bps < 1_000_000_000);
    assert_eq!(trunks.collect::<Vec<_>>(), [100_000_000, 20_000_000]);
    assert_eq!(
        (topology.switches().count(), topology.hosts().count()),
        (3, 7)
    );
}

#[test]
fn a_script_that_was_written_is_read_back_and_mininet_takes_it() {
    let topology = generated(&example("Geant2012.graphml"));
    let text = Format::Mininet.write(&topology);
    let back = script(&text, ":converted,0").unwrap();
    let facts = |topology: &Topology| -> Vec<_> {
        let links = topology.links.iter();
        links
            .map(|it| {
                (
                    it.ends,
                    it.capacity.map(|it| it.value),
                    it.delay_us.map(|it| it.value),
                )
            })
            .collect()
    };
    let names = |topology: &Topology| {
        topology
            .nodes
            .iter()
            .map(|it| it.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (facts(&back), names(&back)),
        (facts(&topology), names(&topology))
    );
    assert_eq!(script(&text, "").unwrap().hosts().count(), 40);

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("net.py"), text).unwrap();
    let real = "import net; t = net.topos['converted'](2); print(len(t.switches()), len(t.hosts()), len(t.links()))";
    assert_eq!(real_mininet(real, dir.path()).trim(), "40 80 141");
}

/// What Debian's Python says, with Debian's Mininet.
fn real_mininet(program: &str, dir: &Path) -> String {
    let output = Command::new("/usr/bin/python3")
        .args(["-B", "-c", program])
        .current_dir(dir)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{told}\n`make setup` installs Mininet"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn names_of_mn_are_the_graphs_that_mininet_makes() {
    let names = [
        "minimal",
        "single",
        "single,5",
        "reversed,3",
        "linear",
        "linear,4",
        "linear,3,n=2",
        "tree",
        "tree,2",
        "tree,depth=2,fanout=3",
        "torus,3,3",
        "torus,4,3,2",
    ];
    let program = format!(
        "from mininet.util import buildTopo\n\
         from mininet.topo import LinearTopo, SingleSwitchTopo, SingleSwitchReversedTopo, MinimalTopo\n\
         from mininet.topolib import TreeTopo, TorusTopo\n\
         topos = dict(minimal=MinimalTopo, linear=LinearTopo, reversed=SingleSwitchReversedTopo, single=SingleSwitchTopo, \
         tree=TreeTopo, torus=TorusTopo)\n\
         for name in {names:?}:\n\
         \x20   t = buildTopo(topos, name)\n\
         \x20   print(' '.join(sorted(t.switches())), '|', ' '.join(sorted(t.hosts())), '|', \
         ' '.join(sorted('-'.join(sorted(link)) for link in t.links())))\n"
    );
    let theirs = real_mininet(&program, Path::new("/"));
    let ours: Vec<String> = names
        .iter()
        .map(|name| {
            let topology = generated(&format!("mn:{name}"));
            let called = |of: &mut dyn Iterator<Item = usize>| {
                let mut names: Vec<_> = of.map(|node| topology.nodes[node].name.clone()).collect();
                names.sort();
                names.join(" ")
            };
            let mut links: Vec<String> = topology
                .links
                .iter()
                .map(|link| {
                    let mut ends = link.ends.map(|end| topology.nodes[end].name.clone());
                    ends.sort();
                    ends.join("-")
                })
                .collect();
            links.sort();
            format!(
                "{} | {} | {}",
                called(&mut topology.switches()),
                called(&mut topology.hosts()),
                links.join(" ")
            )
        })
        .collect();
    assert_eq!(ours, theirs.lines().collect::<Vec<_>>());
}
