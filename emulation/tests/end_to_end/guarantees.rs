//! Whatever is killed, what was sold is measured again on the wire.
//!
//! `PAYFLOW_TEST_GUARANTEES` says how many flows are sold (6 unless told otherwise, at most 16); three of them are measured.

use std::time::Duration;

use nix::sys::signal::Signal;
use payflow_controller::core::document::Status;
use payflow_emulation::entry::Entry;
use payflow_emulation::stage::Stage;

use crate::theatre::{FLOOD, Theatre, assert_served, differences, udp};

const RECOVERY: Duration = Duration::from_secs(30);
const RATE_BPS: u64 = 1_000_000;
/// A little below what was bought: the generator's packets come in whole milliseconds.
const OFFERED: &str = "rate=990000";
const FIRST_PORT: u16 = 5_201;

#[test]
fn whatever_is_killed_a_sample_of_what_was_sold_is_measured_again_on_the_wire() {
    let flows = std::env::var("PAYFLOW_TEST_GUARANTEES");
    let flows = flows.map_or(6, |text| text.parse::<u16>().unwrap());
    let theatre = Theatre::paper();
    let mut stage = theatre.open(&["h1", "h2"]);
    let ports: Vec<u16> = (FIRST_PORT..).take(usize::from(flows)).collect();
    let mut bought = Vec::new();
    for port in &ports {
        let words = udp("10.0.0.4", &port.to_string(), "1Mbit", "600s").map(str::to_owned);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let host = host_of(*port);
        bought.push((host, stage.reserve(host, &words).unwrap().view.id));
    }
    // What is known of hosts is not sold, and learned anew from what they send.
    let paid = |stage: &Stage<'_>| {
        let entries = stage.entries().unwrap().into_iter();
        entries.filter(Entry::is_paid).collect::<Vec<_>>()
    };
    let before = paid(&stage);
    assert_eq!(before.len(), 3 * ports.len());
    let meters = stage.paid_meters().unwrap();
    assert_eq!(meters.len(), ports.len());
    let is_back = |stage: &Stage<'_>, killed: &str| {
        let begun = std::time::Instant::now();
        loop {
            let different = differences(&before, &paid(stage));
            if different.is_empty() && stage.paid_meters().unwrap() == meters {
                break;
            }
            assert!(begun.elapsed() < RECOVERY, "{killed}: {different:#?}");
            std::thread::sleep(Duration::from_millis(200));
        }
        for (host, id) in &bought {
            stage.becomes(host, id, Status::Active, RECOVERY).unwrap();
        }
        for host in &theatre.lab.info().hosts {
            stage.introduce(&host.name).unwrap();
        }
        eprintln!("{killed} killed: as before after {:?}", begun.elapsed());
    };
    measure(&theatre, &ports, "nothing");

    theatre.lab.restart_switches(Signal::SIGKILL).unwrap();
    is_back(&stage, "the switches");
    measure(&theatre, &ports, "the switches");

    stage.kill_controller().unwrap();
    theatre.start_controller(&mut stage);
    is_back(&stage, "the controller");
    measure(&theatre, &ports, "the controller");

    stage.kill_controller().unwrap();
    theatre.lab.restart_switches(Signal::SIGKILL).unwrap();
    theatre.start_controller(&mut stage);
    is_back(&stage, "both");
    measure(&theatre, &ports, "both");
}

/// The sender of the flow to this port.
fn host_of(port: u16) -> &'static str {
    if port % 2 == 1 { "h1" } else { "h2" }
}

/// The first, the middle and the last of the flows, beside a flood.
fn measure(theatre: &Theatre, ports: &[u16], killed: &str) {
    theatre.lab.repair().unwrap();
    let last = ports.len() - 1;
    let sample = [0, last / 2, last].map(|index| ports[index]);
    let names = sample.map(|port| format!("to port {port}"));
    let mut trial = theatre.trial();
    for (name, port) in names.iter().zip(sample) {
        trial = trial.udp(name, host_of(port), "h4", port, OFFERED);
    }
    let result = trial.udp("flood", "h1", "h4", 6_201, FLOOD).run().unwrap();
    let flood = result.flow("flood").unwrap();
    assert!(flood.loss > 0.2, "the flood was none: {:.3}", flood.loss);
    for name in &names {
        let flow = result.flow(name).unwrap();
        eprintln!(
            "{killed} killed, {name}: {} of {} packets, {} of {} bit/s",
            flow.received_packets, flow.sent_packets, flow.goodput_bps, flow.offered_bps
        );
        assert_served(flow, RATE_BPS);
    }
}
