//! Trunks that go down.

use std::time::Duration;

use payflow_controller::core::document::Status;
use payflow_emulation::mininet::{Stream, Topology};

use crate::theatre::{Theatre, account, assert_served, eventually, regular, udp};

const NOTICE: Duration = Duration::from_secs(10);
const RECOVERY: Duration = Duration::from_secs(30);

#[test]
fn time_in_which_a_trunk_of_the_path_is_down_is_refunded() {
    let theatre = Theatre::new(Topology::Line(regular(3)));
    let stage = theatre.open(&["h1"]);
    let bought = stage
        .reserve("h1", &udp("10.0.0.3", "5201", "10Mbit", "45s"))
        .unwrap()
        .view;
    theatre.lab.set_link("s2", "s3", false).unwrap();
    stage
        .becomes("h1", &bought.id, Status::Suspended, NOTICE)
        .unwrap();
    std::thread::sleep(Duration::from_secs(4));
    theatre.lab.set_link("s2", "s3", true).unwrap();
    let again = stage
        .becomes("h1", &bought.id, Status::Active, RECOVERY)
        .unwrap();
    assert_eq!(
        again.ends_at, bought.ends_at,
        "the time of an outage is given back in money"
    );
    theatre.lab.repair().unwrap();
    let result = theatre
        .trial()
        .udp("paid", "h1", "h3", 5201, "rate=9900000")
        .udp("flood", "h1", "h3", 6201, crate::theatre::FLOOD)
        .run()
        .unwrap();
    assert!(result.flow("flood").unwrap().loss > 0.2);
    assert_served(result.flow("paid").unwrap(), 9_900_000);

    let settled = stage.settled("h1", &bought.id).unwrap();
    assert_eq!(settled.ended_by.as_deref(), Some("expired"));
    let (paid, _, fee, refunded) = account(&settled);
    assert_eq!(fee, 0, "nobody cancelled");
    let receipt = &settled.receipt.as_ref().unwrap().document;
    let unserved_ms = receipt.duration_ms + receipt.shortfall_ms - receipt.served_ms;
    assert!(
        (4_000..40_000).contains(&unserved_ms),
        "{unserved_ms} ms of outage"
    );
    let share = paid * unserved_ms / receipt.duration_ms;
    assert!(
        refunded.abs_diff(share) <= 1,
        "{refunded} refunded, {share} is the price of the outage"
    );
    assert_eq!(stage.paid_entries().unwrap(), 0);
}

#[test]
fn a_ring_carries_best_effort_around_a_broken_trunk_and_no_packet_twice() {
    let theatre = Theatre::new(Topology::Ring(regular(4)));
    let _stage = theatre.open(&[]);
    everybody_reaches_everybody(&theatre);
    broadcasts_arrive_once(&theatre);

    theatre.lab.set_link("s1", "s2", false).unwrap();
    everybody_reaches_everybody(&theatre);
    broadcasts_arrive_once(&theatre);

    theatre.lab.set_link("s1", "s2", true).unwrap();
    // The trunk is proven again before it is used: wait until it has been, so that the change itself is tried too.
    std::thread::sleep(Duration::from_secs(5));
    everybody_reaches_everybody(&theatre);
    broadcasts_arrive_once(&theatre);
    is_quiet(&theatre);
}

fn everybody_reaches_everybody(theatre: &Theatre) {
    let hosts = &theatre.lab.info().hosts;
    for from in hosts {
        for to in hosts.iter().filter(|to| to.name != from.name) {
            eventually(
                &format!("{} reaches {}", from.name, to.name),
                RECOVERY,
                || theatre.ping(&from.name, &to.ip.to_string()),
            );
        }
    }
}

/// Broadcasts of h1 reach every other host as often as they were sent.
fn broadcasts_arrive_once(theatre: &Theatre) {
    const COUNT: u32 = 100;
    let hosts = &theatre.lab.info().hosts;
    let (first, others) = hosts.split_first().unwrap();
    let receivers: Vec<_> = others
        .iter()
        .map(|host| {
            let program = format!(
                "import socket\n\
                 s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))\n\
                 s.bind(('{}', 0x88b5))\n\
                 s.settimeout(30)\n\
                 print('ready', flush=True)\n\
                 count = 0\n\
                 try:\n    while count < 10000:\n        s.recv(2000)\n        count += 1\n        s.settimeout(3)\n\
                 except TimeoutError:\n    pass\n\
                 print('count', count)\n",
                host.interface
            );
            let argv = ["/usr/bin/python3", "-c", &program];
            (&host.name, theatre.lab.spawn(&host.name, &argv).unwrap())
        })
        .collect();
    for (_, receiver) in &receivers {
        receiver.wait_for(Stream::Stdout, "ready", NOTICE).unwrap();
    }
    let frame = format!(
        "ffffffffffff{}88b5{}",
        first.mac.replace(':', ""),
        "00".repeat(46)
    );
    theatre.send_frames(&first.name, &frame, COUNT);
    for (host, receiver) in receivers {
        let done = receiver.wait(RECOVERY).unwrap().success().unwrap();
        let seen = format!("ready\ncount {COUNT}\n");
        assert_eq!(done.stdout, seen, "{COUNT} broadcasts at {host}");
    }
}

/// Nothing goes around in circles.
fn is_quiet(theatre: &Theatre) {
    let trunks: Vec<_> = theatre
        .lab
        .info()
        .switches
        .iter()
        .flat_map(|switch| &switch.ports)
        .filter(|port| port.role == "trunk")
        .collect();
    let count = || -> u64 {
        let ports = trunks.iter();
        ports.map(|port| theatre.received("root", &port.name)).sum()
    };
    let before = count();
    std::thread::sleep(Duration::from_secs(2));
    let packets = count() - before;
    assert!(
        packets < 500,
        "{packets} packets on {} idle trunks in 2 s",
        trunks.len()
    );
}
