//! Hosts that want what others have paid for.

use std::time::Duration;

use payflow_controller::core::document::Status;
use payflow_emulation::mininet::HostInfo;
use payflow_emulation::trial::Trial;

use crate::theatre::{MEASURE, Theatre, assert_served, eventually, udp};

const API: &str = "10.0.0.254";

/// A gratuitous ARP request: `mac` says, in a frame from `from`, that it has `ip`.
fn announcement(from: &str, mac: &str, ip: &str) -> String {
    let (from, mac) = (from.replace(':', ""), mac.replace(':', ""));
    let ip: String = ip
        .split('.')
        .map(|byte| format!("{:02x}", byte.parse::<u8>().unwrap()))
        .collect();
    format!("ffffffffffff{from}0806000108000604 0001{mac}{ip}000000000000{ip}").replace(' ', "")
}

fn host<'a>(theatre: &'a Theatre, name: &str) -> &'a HostInfo {
    theatre.lab.info().host(name).unwrap()
}

#[test]
fn another_hosts_flow_cannot_be_bought_seen_or_cancelled() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1", "m1"]);
    let bought = stage
        .reserve("h1", &udp("10.0.0.4", "5201", "10Mbit", "100s"))
        .unwrap()
        .view;
    let theirs = [
        &["quote", "--from", "10.0.0.1"],
        &udp("10.0.0.4", "5202", "1Mbit", "60s")[..],
    ]
    .concat();
    for words in [
        &theirs[..],
        &["status", &bought.id],
        &["cancel", &bought.id],
    ] {
        let refusal = stage.refusal("m1", words).unwrap();
        assert_eq!(refusal.status, 403, "{words:?}: {refusal:?}");
        assert!(refusal.kind.ends_with("not-the-owner"), "{refusal:?}");
    }

    // Forged packets do not even reach the API: h1's address from m1's station, and both from m1's port.
    let (h1, m1) = (host(&theatre, "h1"), host(&theatre, "m1"));
    for mac in [&m1.mac, &h1.mac] {
        let raw = format!(
            "to={API}:8080,rate=1Mbit,iface={},src-mac={mac},src-ip={},dst-mac=02:00:00:00:00:fe",
            m1.interface, h1.ip
        );
        let lab = theatre.tools.payflow_lab.to_string_lossy().into_owned();
        let before = theatre.received("root", "pf-api");
        theatre
            .lab
            .exec(
                "m1",
                &[&lab, "traffic", "send", "--for", "2s", "--flow", &raw],
            )
            .unwrap();
        let reached = theatre.received("root", "pf-api") - before;
        assert!(
            reached < 40,
            "{reached} of about 170 forged packets reached the API"
        );
    }
    // A whole host that calls itself h1 gets no connection.
    theatre
        .lab
        .exec(
            "m1",
            &["ip", "address", "add", "10.0.0.1/32", "dev", &m1.interface],
        )
        .unwrap();
    let forged = theatre
        .lab
        .program(
            "m1",
            [
                "curl",
                "-s",
                "-m",
                "3",
                "--interface",
                "10.0.0.1",
                "http://10.0.0.254:8080/healthz",
            ],
        )
        .run(Duration::from_secs(10))
        .unwrap();
    assert_ne!(forged.status, 0, "m1 was heard as h1: {}", forged.stdout);
    theatre
        .lab
        .exec(
            "m1",
            &["ip", "address", "del", "10.0.0.1/32", "dev", &m1.interface],
        )
        .unwrap();
    assert_eq!(
        stage.status("h1", &bought.id).unwrap().status,
        Status::Active
    );
    assert_served(&theatre.under_flood("rate=9900000"), 9_900_000);
}

#[test]
fn who_claims_anothers_address_takes_nothing_from_it() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1"]);
    let bought = stage
        .reserve("h1", &udp("10.0.0.4", "5201", "10Mbit", "100s"))
        .unwrap()
        .view;
    // Everybody has h1's address at hand, so that there is something to poison.
    for from in ["h2", "h3", "h4"] {
        assert!(theatre.ping(from, "10.0.0.1"));
    }
    let (h1, m1) = (host(&theatre, "h1"), host(&theatre, "m1"));
    let victim = h1.ip.to_string();
    for frame in [
        announcement(&m1.mac, &m1.mac, &victim),
        announcement(&h1.mac, &h1.mac, &victim),
        announcement(&m1.mac, &m1.mac, API),
        announcement(&m1.mac, "02:00:00:00:00:fe", API),
        announcement("02:00:00:00:00:fe", "02:00:00:00:00:fe", API),
    ] {
        theatre.send_frames("m1", &frame, 50);
        let believed = |node: &str, ip: &str| {
            let text = theatre.lab.exec(node, &["ip", "neighbour", "show", ip]);
            text.unwrap().to_lowercase()
        };
        for node in ["root", "h2", "h4"] {
            let text = believed(node, &victim);
            assert!(!text.contains(&m1.mac), "{node} was told {text}");
        }
        let text = believed("h1", API);
        assert!(text.contains("02:00:00:00:00:fe"), "h1 was told {text:?}");
        assert_eq!(
            stage.status("h1", &bought.id).unwrap().status,
            Status::Active
        );
    }
    assert_served(&theatre.under_flood("rate=9900000"), 9_900_000);
    for from in ["h2", "h3", "h4"] {
        assert!(theatre.ping(from, "10.0.0.1"), "{from} has lost h1");
    }
    let known = stage.entries().unwrap();
    let at = |port: &str| {
        let place = format!("in_port={port},dl_src={}", h1.mac);
        known
            .iter()
            .filter(|entry| entry.switch == "s1" && entry.matching.contains(&place))
            .count()
    };
    assert!(at("1") > 0 && at("90") == 0, "h1 has moved to m1's port");
    // Claims that failed leave nothing behind for long.
    eventually("m1 reaches the API", Duration::from_secs(20), || {
        theatre.ping("m1", API)
    });
}

#[test]
fn marks_are_worth_nothing_unless_they_are_paid_for() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1"]);
    stage
        .reserve("h1", &udp("10.0.0.4", "5201", "8Mbit", "100s"))
        .unwrap();

    // Through the bottleneck towards h4 from the first and the middle switch, and back from the last one.
    for (cheat, to) in [("m1", "h4"), ("m2", "h4"), ("m3", "h1")] {
        let result = Trial::new(&theatre.lab, &theatre.tools, MEASURE)
            .udp("paid", "h1", "h4", 5201, "rate=7900000")
            .udp("steady", cheat, to, 6201, "rate=8Mbit,dscp=46")
            .udp("elastic", cheat, to, 6202, "rate=8Mbit,dscp=34")
            .udp("control", cheat, to, 6203, "rate=8Mbit,dscp=48")
            .udp("plain", cheat, to, 6204, "rate=8Mbit")
            .run()
            .unwrap();
        assert_served(result.flow("paid").unwrap(), 7_900_000);
        let plain = result.flow("plain").unwrap();
        assert!(plain.loss > 0.1, "{cheat}: there was no competition");
        for name in ["steady", "elastic", "control"] {
            let marked = result.flow(name).unwrap();
            assert!(
                marked.goodput_bps < plain.goodput_bps * 3 / 2,
                "{cheat}: marked {name} got {} bit/s, unmarked {}",
                marked.goodput_bps,
                plain.goodput_bps
            );
        }
    }

    // Where the switch classifies by queue and not by mark: no entry gives a paid queue away.
    let edge: Vec<(String, u32)> = theatre
        .lab
        .info()
        .switches
        .iter()
        .flat_map(|switch| switch.ports.iter().map(move |port| (switch, port)))
        .filter(|(_, port)| port.role != "trunk")
        .map(|(switch, port)| (switch.name.clone(), port.number))
        .collect();
    for entry in stage.entries().unwrap() {
        let queues = ["set_queue:2", "set_queue:3"];
        if !queues.iter().any(|queue| entry.actions.contains(queue)) {
            continue;
        }
        assert!(entry.is_paid(), "{entry:?}");
        let fields: Vec<&str> = entry.matching.split(',').collect();
        let port = fields
            .iter()
            .find_map(|field| field.strip_prefix("in_port="));
        let port: u32 = port.expect("a paid entry has a port").parse().unwrap();
        let has = |name: &str| fields.iter().any(|field| field.starts_with(name));
        assert!(has("nw_src=10.0.0.1") && has("nw_dst=10.0.0.4") && has("tp_dst=5201"));
        if edge.contains(&(entry.switch.clone(), port)) {
            assert!(has("dl_src=02:00:00:00:00:01"), "{entry:?}");
            assert!(entry.actions.contains("meter:"), "{entry:?}");
        } else {
            assert!(
                has("nw_tos=184"),
                "matches packets without the mark: {entry:?}"
            );
        }
    }
}
