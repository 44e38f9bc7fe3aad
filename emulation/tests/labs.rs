//! Labs on real switches: what they promise, and that nothing of them stays behind.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use payflow_emulation::mininet::{Given, Lab, LabConfig, Regular, Stream, Topology};
use payflow_emulation::selftest;
use payflow_emulation::topology::{self, Reading};
use payflow_emulation::trial::{FlowResult, Tools, Trial};
use payflow_qos::BitRate;

fn lab(topology: Topology) -> Lab {
    Lab::start(LabConfig {
        topology,
        controller: None,
        ..LabConfig::default()
    })
    .unwrap()
}

fn switch_plainly(lab: &Lab) {
    for switch in &lab.info().switches {
        ofctl(lab, &["add-flow", &switch.name, "actions=NORMAL"]);
    }
}

fn ofctl(lab: &Lab, words: &[&str]) -> String {
    lab.exec(
        "root",
        &[&["ovs-ofctl", "-O", "OpenFlow13"], words].concat(),
    )
    .unwrap()
}

fn reaches(lab: &Lab, from: &str, to: &str) -> bool {
    lab.reaches(from, to, Duration::from_secs(20)).unwrap()
}

fn is_cut_off(lab: &Lab, from: &str, to: &str) -> bool {
    !lab.reaches(from, to, Duration::ZERO).unwrap()
}

#[test]
fn the_network_of_the_paper_is_as_described() {
    let lab = lab(Topology::default());
    let hosts: Vec<_> = lab
        .info()
        .hosts
        .iter()
        .map(|host| (host.name.as_str(), host.ip.to_string(), host.mac.as_str()))
        .collect();
    assert_eq!(
        hosts.first(),
        Some(&("h1", "10.0.0.1".to_owned(), "02:00:00:00:00:01"))
    );
    assert_eq!(
        hosts.last(),
        Some(&("m3", "10.0.0.13".to_owned(), "02:00:00:00:00:0d"))
    );
    let ids: Vec<_> = lab
        .info()
        .switches
        .iter()
        .map(|switch| switch.datapath_id)
        .collect();
    assert_eq!(ids, [1, 2, 3]);

    let bottleneck = lab.info().port("s2", "s3").unwrap();
    assert_eq!(
        (bottleneck.capacity_bps, bottleneck.role.as_str()),
        (Some(20_000_000), "trunk")
    );
    let get = |port: &str, key: &str| {
        let column = format!("external_ids:{key}");
        lab.exec(
            "root",
            &["ovs-vsctl", "--if-exists", "get", "Port", port, &column],
        )
        .unwrap()
        .trim()
        .replace('"', "")
    };
    assert_eq!(get(&bottleneck.name, "payflow-capacity-bps"), "20000000");
    assert_eq!(get(&bottleneck.name, "payflow-role"), "trunk");
    assert_eq!(get("s1-eth1", "payflow-capacity-bps"), "1000000000");
    assert_eq!(get("s1-eth1", "payflow-role"), "");
    assert_eq!(get("s1-api", "payflow-role"), "api");
    // OpenFlow knows the ports by the same numbers.
    for switch in &lab.info().switches {
        let shown = ofctl(&lab, &["show", &switch.name]);
        for port in &switch.ports {
            assert!(
                shown.contains(&format!(" {}({})", port.number, port.name)),
                "{port:?} not in {shown}"
            );
        }
    }

    assert!(
        is_cut_off(&lab, "h1", "10.0.0.4"),
        "a secure switch without flows forwarded"
    );
    switch_plainly(&lab);
    assert!(reaches(&lab, "h1", "10.0.0.4"));
    assert!(reaches(&lab, "m3", "10.0.0.254"));
    // The API's address belongs to the API's interface alone: no switch port answers for it.
    let neighbours = lab
        .exec("m3", &["ip", "neighbour", "show", "10.0.0.254"])
        .unwrap();
    assert!(neighbours.contains("02:00:00:00:00:fe"), "{neighbours}");

    lab.set_link("s2", "s3", false).unwrap();
    assert!(is_cut_off(&lab, "h1", "10.0.0.4"));
    lab.set_link("s2", "s3", true).unwrap();
    assert!(reaches(&lab, "h1", "10.0.0.4"));

    lab.restart_switches(Signal::SIGKILL).unwrap();
    assert!(
        is_cut_off(&lab, "h1", "10.0.0.4"),
        "flows survived the restart"
    );
    switch_plainly(&lab);
    assert!(reaches(&lab, "h1", "10.0.0.4"));
}

#[test]
fn regular_networks_have_their_trunks() {
    let regular = Regular {
        switches: 4,
        hosts: 2,
        trunk_bps: 50_000_000,
    };
    for (topology, trunk_ports) in [
        (Topology::Line(regular.clone()), 6),
        (Topology::Ring(regular.clone()), 8),
        (Topology::Mesh(regular.clone()), 12),
    ] {
        let lab = lab(topology.clone());
        let trunks = lab
            .info()
            .switches
            .iter()
            .flat_map(|switch| &switch.ports)
            .filter(|port| port.role == "trunk");
        assert_eq!(trunks.count(), trunk_ports, "{topology:?}");
        assert_eq!(lab.info().hosts.len(), 8);
    }
    let refused = Lab::start(LabConfig {
        topology: Topology::Ring(Regular {
            switches: 2,
            ..regular
        }),
        ..LabConfig::default()
    });
    let told = refused.err().unwrap().to_string();
    assert!(told.contains("a ring needs at least 3 switches"), "{told}");
}

#[test]
fn a_topology_from_a_file_becomes_bridges_with_its_capacities() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/topologies/Abilene.graphml"
    );
    let reading = Reading {
        scale_to: Some(BitRate(40_000_000)),
        ..Reading::default()
    };
    let map = topology::load(file, &reading).unwrap();
    let lab = lab(Topology::Given(Given::new(&map).unwrap()));
    let info = lab.info();
    assert_eq!((info.switches.len(), info.hosts.len()), (11, 11));
    let ports = info.switches.iter().flat_map(|switch| &switch.ports);
    let trunks = ports.filter(|port| port.role == "trunk");
    let capacities: Vec<_> = trunks.map(|port| port.capacity_bps).collect();
    assert_eq!(capacities, [Some(40_000_000); 28]);
    // The first link of the map: New York and Chicago, the first two nodes.
    assert!(info.port("s1", "s2").is_some() && info.port("s1", "s4").is_none());
}

#[test]
fn a_trunk_swallows_without_a_word_and_a_sender_changes_its_rate() {
    let lab = lab(Topology::Detour {
        senders: 1,
        receivers: 1,
        trunk_bps: 40_000_000,
        detour_bps: 20_000_000,
    });
    let capacity = |a: &str, b: &str| lab.info().port(a, b).unwrap().capacity_bps;
    assert_eq!(
        [("s1", "s2"), ("s1", "s3"), ("s3", "s2")].map(|(a, b)| capacity(a, b)),
        [Some(40_000_000), Some(20_000_000), Some(20_000_000)]
    );
    // Over the trunk alone: the detour would be a loop.
    for switch in ["s1", "s2"] {
        ofctl(&lab, &["add-flow", switch, "in_port=1,actions=output:101"]);
        ofctl(&lab, &["add-flow", switch, "in_port=101,actions=output:1"]);
    }
    assert!(reaches(&lab, "h1", "10.0.0.2"));
    lab.swallow("s1", "s2", true).unwrap();
    assert!(is_cut_off(&lab, "h1", "10.0.0.2"));
    let state = ofctl(&lab, &["dump-ports-desc", "s1"]);
    assert!(!state.contains("LINK_DOWN state"), "{state}");
    lab.swallow("s1", "s2", false).unwrap();
    assert!(reaches(&lab, "h1", "10.0.0.2"));
    lab.repair().unwrap();

    let tools = Tools::find().unwrap();
    let running = Trial::new(&lab, &tools, Duration::from_secs(2))
        .together()
        .udp(
            "steady",
            "h1",
            "h2",
            5201,
            "rate=1Mbit,other-rate=2Mbit,payload=83",
        )
        .udp("bursts", "h1", "h2", 5202, "rate=1Mbit,burst=50,payload=83")
        .start()
        .unwrap();
    thread::sleep(running.ends_in().saturating_sub(Duration::from_secs(1)));
    running.switch_rates("h1").unwrap();
    let result = running.finish().unwrap();
    // A second at 1000 packets, and one at 2000; the bursts of 50 stay as they are.
    let steady = result.flow("steady").unwrap();
    assert!(
        (2_800..=3_200).contains(&steady.sent_packets),
        "{}",
        steady.sent_packets
    );
    assert_eq!(steady.received_packets, steady.sent_packets);
    let bursts = result.flow("bursts").unwrap();
    assert!(bursts.sent_packets % 50 == 0, "{}", bursts.sent_packets);
    assert!(
        (1_700..=2_000).contains(&bursts.sent_packets),
        "{}",
        bursts.sent_packets
    );
    assert!(lab.watch_sockets(Duration::from_millis(50)).unwrap().len() < 10);
}

#[test]
fn programs_in_hosts_are_told_apart_by_how_they_end() {
    let lab = lab(Topology::default());
    assert_eq!(
        lab.exec("h2", &["sh", "-c", "hostname -I"])
            .unwrap()
            .split_whitespace()
            .next(),
        Some("10.0.0.2")
    );
    let failed = lab
        .exec("h1", &["sh", "-c", "echo no luck >&2; exit 3"])
        .unwrap_err()
        .to_string();
    assert!(
        failed.contains("status 3") && failed.contains("no luck"),
        "{failed}"
    );
    let missing = lab
        .exec("h1", &["no-such-program"])
        .unwrap_err()
        .to_string();
    assert!(missing.contains("no program no-such-program"), "{missing}");
    let nowhere = lab.exec("h9", &["true"]).unwrap_err().to_string();
    assert!(nowhere.contains("no host h9"), "{nowhere}");

    let sleeper = lab
        .spawn("h1", &["sh", "-c", "echo begun; sleep 100"])
        .unwrap();
    sleeper
        .wait_for(Stream::Stdout, "begun", Duration::from_secs(5))
        .unwrap();
    assert!(sleeper.is_running().unwrap());
    assert!(sleeper.kill(Signal::SIGKILL).unwrap());
    assert_eq!(sleeper.wait(Duration::from_secs(5)).unwrap().status, -9);
    assert!(!sleeper.kill(Signal::SIGKILL).unwrap());
}

#[test]
fn two_labs_at_once_do_not_see_each_other() {
    let config = LabConfig {
        topology: Topology::Line(Regular {
            switches: 2,
            hosts: 1,
            trunk_bps: 1_000_000,
        }),
        controller: None,
        exclusive: false,
        ..LabConfig::default()
    };
    let first = Lab::start(config.clone()).unwrap();
    let second = Lab::start(config).unwrap();
    switch_plainly(&first);
    assert!(reaches(&first, "h1", "10.0.0.2"));
    assert!(
        is_cut_off(&second, "h1", "10.0.0.2"),
        "the second lab has the first one's flows"
    );
    drop(first);
    switch_plainly(&second);
    assert!(reaches(&second, "h1", "10.0.0.2"));
}

#[test]
fn a_lab_whose_owner_is_killed_leaves_nothing_behind() {
    let before = traces();
    let mut owner = Command::new(env!("CARGO_BIN_EXE_payflow-lab"))
        .arg("selftest")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Until switches, hosts and traffic are all there; long, because the lab may have to wait for its turn.
    let deadline = Instant::now() + Duration::from_secs(600);
    let begun = loop {
        let family = descendants(owner.id());
        let has = |name: &str| family.values().any(|command| command.contains(name));
        if has("ovs-vswitchd") && has("mininet:m3") && has("traffic") {
            break family;
        }
        assert!(
            owner.try_wait().unwrap().is_none(),
            "the self-test ended before it was killed"
        );
        assert!(Instant::now() < deadline, "no lab came up: {family:?}");
        thread::sleep(Duration::from_millis(50));
    };
    kill(
        Pid::from_raw(owner.id().try_into().unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    owner.wait().unwrap();

    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let alive: Vec<_> = begun
            .iter()
            .filter(|(pid, command)| command_line(**pid).as_ref() == Some(*command))
            .collect();
        if alive.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "still running: {alive:?}");
        thread::sleep(Duration::from_millis(20));
    }
    // The kernel takes namespaces down a moment after the last process in them.
    loop {
        let left: Vec<_> = traces().difference(&before).cloned().collect();
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "left behind: {left:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_receiver_tells_spoofed_packets_from_real_ones() {
    let lab = lab(Topology::default());
    switch_plainly(&lab);
    assert!(reaches(&lab, "h1", "10.0.0.4"));
    let tools = Tools::find().unwrap();
    let result = Trial::new(&lab, &tools, Duration::from_secs(2))
        .udp(
            "real",
            "h1",
            "h4",
            5201,
            "rate=1Mbit,from-port=4000,payload=500",
        )
        .spoofed(
            "spoofed",
            "m2",
            "h1",
            "h4",
            5201,
            "rate=2Mbit,from-port=4000,payload=1000,dscp=46",
        )
        .tcp("tcp", "h2", 0, "h3", 5301)
        .run()
        .unwrap();
    for (name, rate_bps) in [("real", 1_000_000_u64), ("spoofed", 2_000_000)] {
        let flow = result.flow(name).unwrap();
        assert!(
            flow.offered_bps.abs_diff(rate_bps) < rate_bps / 20,
            "{name} offered {} bit/s",
            flow.offered_bps
        );
        assert_eq!(
            flow.received_packets, flow.sent_packets,
            "{name}: an idle network lost packets"
        );
        assert_eq!(flow.received_bytes, flow.sent_bytes, "{name}");
        assert!(
            flow.delay_ms.p50 > 0.0 && flow.delay_ms.p50 < 50.0,
            "{name}: {:?}",
            flow.delay_ms
        );
    }
    let tcp = result.tcp.get("tcp").unwrap();
    assert!(
        tcp.goodput_bps > 20_000_000,
        "TCP over idle switches got {} bit/s",
        tcp.goodput_bps
    );
}

#[test]
fn a_class_of_its_own_keeps_a_flow_whole_beside_a_flood() {
    let seen = selftest::run().unwrap();
    let (unprotected, flood) = &seen.before;
    assert!(
        flood.offered_bps > 90_000_000,
        "the flood was none: {} bit/s",
        flood.offered_bps
    );
    assert!(
        unprotected.loss > 0.5,
        "the flow did not suffer without a reservation: loss {}",
        unprotected.loss
    );
    // Every packet that is missing was dropped by the queue of best effort at the bottleneck, none by the processor.
    let missing = |flow: &FlowResult| flow.sent_packets - flow.received_packets;
    let lost = [&seen.before.0, &seen.before.1, &seen.after.0, &seen.after.1]
        .map(missing)
        .iter()
        .sum::<u64>();
    let dropped = seen.drops.get("s2-eth102 queue 0").copied().unwrap();
    assert!(
        lost.abs_diff(dropped) <= lost / 20,
        "{lost} packets lost, {dropped} dropped by the queue: {:?}",
        seen.drops
    );
    let (reserved, flood) = &seen.after;
    assert!(
        reserved.goodput_bps >= 9_500_000,
        "the reserved flow got {} bit/s",
        reserved.goodput_bps
    );
    assert!(
        flood.goodput_bps >= 7_000_000,
        "best effort got {} bit/s of 10 Mbit/s",
        flood.goodput_bps
    );
}

/// Names in the places where Mininet, Open vSwitch and `ip netns` leave things.
fn traces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for dir in [
        "/run/netns",
        "/run/openvswitch",
        "/run/payflow-lab",
        "/sys/class/net",
        "/var/log/openvswitch",
    ] {
        if let Ok(entries) = fs::read_dir(dir) {
            found.extend(
                entries
                    .flatten()
                    .map(|entry| entry.path().display().to_string()),
            );
        }
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    found.extend(mounts.lines().map(|line| format!("mount {line}")));
    found
}

fn command_line(pid: u32) -> Option<String> {
    let bytes = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).ok()?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).replace('\0', " "))
}

/// Every process below `ancestor`, with its command line.
fn descendants(ancestor: u32) -> BTreeMap<u32, String> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else {
            continue;
        };
        let parent = status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok());
        if let Some(parent) = parent {
            parents.insert(pid, parent);
        }
    }
    let below = |mut pid: u32| {
        while let Some(parent) = parents.get(&pid) {
            if *parent == ancestor {
                return true;
            }
            pid = *parent;
        }
        false
    };
    parents
        .keys()
        .filter(|pid| below(**pid))
        .filter_map(|pid| Some((*pid, command_line(*pid)?)))
        .collect()
}
