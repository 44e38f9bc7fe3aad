//! The network changes, or the controller is out of reach, while paid packets are on the wire.
//!
//! `PAYFLOW_TEST_ABSENCE_S` says for how many seconds the controller is out of reach (16 unless told otherwise).

use std::time::{Duration, Instant};

use payflow_controller::core::document::Status;
use payflow_emulation::stage::Stage;
use payflow_emulation::trial::{FlowResult, Trial};

use crate::theatre::{FLOOD, Theatre, assert_served, differences, eventually, udp};

const RECOVERY: Duration = Duration::from_secs(30);
const RATE_BPS: u64 = 9_900_000;
const OFFERED: &str = "rate=9900000";

/// The link is switched so often, for so long; what it takes to switch it comes on top.
const SWITCHED_EVERY: Duration = Duration::from_millis(30);
const FLAPPING: Duration = Duration::from_secs(6);

#[test]
fn a_trunk_that_flaps_ten_times_a_second_costs_nothing_for_good() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1"]);
    let id = buy(&stage, "600s");
    let before = stage.entries().unwrap();
    let (records, ticks) = (theatre.records(), processor_ticks(&theatre));
    // On one side, as a bad transceiver does.
    let script = format!(
        "end=$(($(date +%s%3N) + {})); n=0; while [ $(date +%s%3N) -lt $end ]; do \
         ip link set {port} down; sleep {pause}; ip link set {port} up; sleep {pause}; n=$((n + 1)); done; echo $n",
        FLAPPING.as_millis(),
        port = theatre.lab.info().port("s2", "s3").unwrap().name,
        pause = SWITCHED_EVERY.as_secs_f64(),
    );
    let begun = Instant::now();
    let times = theatre.lab.exec("root", &["sh", "-c", &script]).unwrap();
    let flapped = begun.elapsed();
    stage.becomes("h1", &id, Status::Active, RECOVERY).unwrap();
    eventually("the tables are as before", RECOVERY, || {
        is_as_before(&stage, &before)
    });
    let back = begun.elapsed();
    let (written, busy) = (
        theatre.records() - records,
        processor_ticks(&theatre) - ticks,
    );
    eprintln!(
        "{} times down and up in {flapped:?}, as before after {back:?}: {written} records written, \
         {busy} hundredths of a second of processor",
        times.trim()
    );
    // Suspended and resumed once, and once more when the link is calm.
    assert!(written <= 6, "{written} records for one flow");
    theatre.lab.repair().unwrap();
    assert_served(&theatre.under_flood(OFFERED), RATE_BPS);
}

#[test]
fn paid_packets_arrive_again_after_ports_of_the_path_have_other_numbers() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1"]);
    let id = buy(&stage, "600s");
    let paid = stage.paid_entries().unwrap();
    for (switch, peer, number) in [("s2", "s3", 250), ("s1", "h1", 251), ("s3", "h4", 252)] {
        let port = theatre.lab.info().port(switch, peer).unwrap().name.clone();
        renumber(&theatre, switch, &port, number);
        eventually("the entries follow", RECOVERY, || {
            let entries = stage.entries().unwrap();
            let mut paid = entries
                .iter()
                .filter(|it| it.is_paid() && it.switch == switch);
            paid.any(|it| {
                let words = [format!("in_port={number},"), format!("output:{number}")];
                let row = format!("{},{}", it.matching, it.actions);
                words.iter().any(|word| row.contains(word))
            })
        });
    }
    stage.becomes("h1", &id, Status::Active, RECOVERY).unwrap();
    assert_eq!(
        stage.paid_entries().unwrap(),
        paid,
        "nothing of the old numbers"
    );
    theatre.lab.repair().unwrap();
    // Whoever is behind a port with a new number is learned there anew.
    assert!(theatre.ping("h1", "10.0.0.4"));
    assert_served(&theatre.under_flood(OFFERED), RATE_BPS);
}

#[test]
fn paid_packets_arrive_while_nothing_passes_between_controller_and_switches() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1"]);
    let cut = [
        "add table inet cut",
        "add chain inet cut in { type filter hook input priority 0; }",
        "add rule inet cut in tcp dport 6653 drop",
        "add rule inet cut in tcp sport 6653 drop",
    ];
    is_served_while_it_is_away(
        &theatre,
        &stage,
        || {
            for words in cut {
                theatre.lab.exec("root", &["nft", words]).unwrap();
            }
        },
        || {
            theatre
                .lab
                .exec("root", &["nft", "delete table inet cut"])
                .unwrap();
        },
    );
}

#[test]
fn paid_packets_arrive_while_the_controller_is_frozen() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1"]);
    let signal = |signal| {
        let words = ["pkill", signal, "-x", "payflow"];
        theatre.lab.exec("root", &words).unwrap();
    };
    is_served_while_it_is_away(&theatre, &stage, || signal("-STOP"), || signal("-CONT"));
}

/// Two flows are bought, one of them for a time that ends while the controller is away.
fn is_served_while_it_is_away(
    theatre: &Theatre,
    stage: &Stage<'_>,
    go: impl FnOnce(),
    come_back: impl FnOnce(),
) {
    let away = std::env::var("PAYFLOW_TEST_ABSENCE_S");
    let away = Duration::from_secs(away.map_or(16, |text| text.parse().unwrap()));
    let id = buy(stage, "600s");
    let before = stage.entries().unwrap();
    let brief = stage.reserve("h1", &udp("10.0.0.4", "5202", "1Mbit", "5s"));
    let brief = brief.unwrap().view.id;
    go();
    let begun = Instant::now();
    let measured = measure(theatre, away - Duration::from_secs(4));
    let entries = stage.entries().unwrap();
    let gone = differences(&before, &entries);
    let paid = entries.iter().filter(|it| it.is_paid()).count();
    std::thread::sleep(away.saturating_sub(begun.elapsed()));
    come_back();
    let away = begun.elapsed();
    eprintln!(
        "away for {away:?}: {} of {} packets arrived, {} of {} bit/s",
        measured.received_packets,
        measured.sent_packets,
        measured.goodput_bps,
        measured.offered_bps
    );
    assert_served(&measured, RATE_BPS);
    assert!(gone.is_empty(), "{gone:#?}");
    assert_eq!(paid, 3, "the brief flow is over");

    let stands = stage.becomes("h1", &id, Status::Active, RECOVERY).unwrap();
    eventually("the tables are as before", RECOVERY, || {
        is_as_before(stage, &before)
    });
    eprintln!("{} as before after {:?}", stands.id, begun.elapsed());
    let settled = stage.settled("h1", &brief).unwrap();
    assert_eq!(settled.ended_by.as_deref(), Some("expired"));
    crate::theatre::account(&settled);
    theatre.lab.repair().unwrap();
    assert_served(&theatre.under_flood(OFFERED), RATE_BPS);
}

fn buy(stage: &Stage<'_>, duration: &str) -> String {
    let words = udp("10.0.0.4", "5201", "10Mbit", duration);
    stage.reserve("h1", &words).unwrap().view.id
}

/// The paid flow beside a flood, for so long.
fn measure(theatre: &Theatre, duration: Duration) -> FlowResult {
    let result = Trial::new(&theatre.lab, &theatre.tools, duration)
        .udp("paid", "h1", "h4", 5201, OFFERED)
        .udp("flood", "h1", "h4", 6201, FLOOD)
        .run()
        .unwrap();
    result.flow("paid").unwrap().clone()
}

fn is_as_before(stage: &Stage<'_>, before: &[payflow_emulation::entry::Entry]) -> bool {
    let meters = stage.paid_meters().unwrap().len();
    differences(before, &stage.entries().unwrap()).is_empty() && meters == 1
}

/// The port is deleted and made anew in one transaction, with what the operator has said of it.
fn renumber(theatre: &Theatre, switch: &str, port: &str, number: u32) {
    let get = |column: &str| {
        let words = ["ovs-vsctl", "get", "Port", port, column];
        theatre.lab.exec("root", &words).unwrap().trim().to_owned()
    };
    let said = format!("external_ids={}", get("external_ids"));
    let number = format!("ofport_request={number}");
    let words = [
        "ovs-vsctl",
        "del-port",
        port,
        "--",
        "add-port",
        switch,
        port,
        "--",
        "set",
        "Port",
        port,
        &said,
        "--",
        "set",
        "Interface",
        port,
        &number,
    ];
    theatre.lab.exec("root", &words).unwrap();
}

/// Time that the controller has had on processors, in hundredths of a second.
fn processor_ticks(theatre: &Theatre) -> u64 {
    let script = "cat /proc/$(pgrep -x -o payflow)/stat";
    let text = theatre.lab.exec("root", &["sh", "-c", script]).unwrap();
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let times = fields.split(' ').skip(11).take(2);
    times.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
