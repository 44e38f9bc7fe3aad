//! What first and last switches count of what was sold, and what is credited for what the network lost.

use std::time::Duration;

use payflow_controller::core::network::FlowCounters;
use payflow_emulation::stage::Stage;
use payflow_emulation::trial::TrialResult;

use crate::theatre::{FLOOD, MEASURE, Theatre, assert_served, eventually, udp};

/// For the next two audits of every switch, one of which reads the last one after the first.
const COUNTED: Duration = Duration::from_secs(40);

/// What switches have counted of it, as its buyer sees it; nothing before the first audit.
fn usage(stage: &Stage<'_>, id: &str) -> FlowCounters {
    let view = stage.status("h1", id).unwrap();
    view.usage.unwrap_or_default()
}

/// Waits until switches have counted what both ends of a measurement have, and says what they did count if they never do.
#[track_caller]
fn until_counted(stage: &Stage<'_>, id: &str, wanted: (u64, u64)) {
    let begun = std::time::Instant::now();
    loop {
        let counted = usage(stage, id);
        let seen = (counted.packets, counted.left_packets);
        if seen == wanted {
            return;
        }
        assert!(
            begun.elapsed() < COUNTED,
            "{id}: (sent, received) is {wanted:?}, and switches have counted {counted:?}"
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Packets sent, and packets that arrived, of these flows of a measurement.
fn packets(result: &TrialResult, names: &[&str]) -> (u64, u64) {
    let flows = names.iter().map(|name| result.flow(name).unwrap());
    flows.fold((0, 0), |(sent, received), flow| {
        (sent + flow.sent_packets, received + flow.received_packets)
    })
}

#[test]
fn a_range_of_ports_is_carried_and_counted_at_both_ends_and_what_is_beside_it_is_not() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1"]);
    theatre.ipv6(&[("h1", 1), ("h4", 4)]);
    let bought = [
        stage.reserve("h1", &udp("10.0.0.4", "5201-5210", "6Mbit", "300s")),
        stage.reserve(
            "h1",
            &[
                &["--from", "fd00::1"],
                &udp("fd00::4", "5301-5306", "3Mbit", "300s")[..],
            ]
            .concat(),
        ),
    ]
    .map(|purchase| purchase.unwrap().view.id);
    theatre.lab.repair().unwrap();
    let within = [("first", 5_201), ("middle", 5_206), ("last", 5_210)];
    let within6 = [("first6", 5_301), ("last6", 5_306)];
    let mut trial = theatre
        .trial()
        .udp("flood", "h1", "h4", 6_201, FLOOD)
        .udp("above", "h1", "h4", 5_211, "rate=2Mbit")
        .udp_at("above6", "h1", "h4", "[fd00::4]", 5_307, "rate=1Mbit");
    for (name, port) in within {
        trial = trial.udp(name, "h1", "h4", port, "rate=1900000");
    }
    for (name, port) in within6 {
        trial = trial.udp_at(name, "h1", "h4", "[fd00::4]", port, "rate=1400000");
    }
    let result = trial.run().unwrap();
    for (name, rate_bps) in within
        .iter()
        .map(|(name, _)| (name, 1_900_000))
        .chain(within6.iter().map(|(name, _)| (name, 1_400_000)))
    {
        assert_served(result.flow(name).unwrap(), rate_bps);
    }
    for name in ["above", "above6"] {
        let flow = result.flow(name).unwrap();
        assert!(flow.loss > 0.2, "{name} lost {:.3}", flow.loss);
    }
    let sold = [
        packets(&result, &within.map(|(name, _)| name)),
        packets(&result, &within6.map(|(name, _)| name)),
    ];
    for (id, (sent, received)) in bought.iter().zip(sold) {
        until_counted(&stage, id, (sent, received));
        assert_eq!(usage(&stage, id).short_bytes, 0);
    }

    // A datagram in three fragments, none of which shows a port: they arrive, and are not of what was sold.
    let at_h4 = &theatre.lab.info().host("h4").unwrap().interface;
    let before = theatre.received("h4", at_h4);
    theatre.python(
        "h1",
        "import socket, time\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         for _ in range(50):\n    s.sendto(bytes(4000), ('10.0.0.4', 5205))\n    time.sleep(0.02)\n",
    );
    let arrived = theatre.received("h4", at_h4) - before;
    assert!(
        (150..200).contains(&arrived),
        "{arrived} of 150 fragments arrived"
    );
    // What is sent after them is counted, and nothing of theirs.
    let result = theatre
        .trial()
        .udp("after", "h1", "h4", 5_205, "rate=1Mbit")
        .run()
        .unwrap();
    let (sent, received) = packets(&result, &["after"]);
    let [(sent_before, received_before), _] = sold;
    let [id, _] = &bought;
    until_counted(&stage, id, (sent_before + sent, received_before + received));
    let counted = usage(&stage, id);
    stage.cancel("h1", id).unwrap();
    let receipt = stage.settled("h1", id).unwrap().receipt.unwrap().document;
    assert_eq!((receipt.shortfall_ms, receipt.usage), (0, Some(counted)));
}

#[test]
fn what_a_link_swallows_for_a_moment_is_credited_to_the_packet_and_outlives_the_controller() {
    let theatre = Theatre::paper();
    let mut stage = theatre.open(&["h1"]);
    let id = stage
        .reserve("h1", &udp("10.0.0.4", "5201", "8Mbit", "300s"))
        .unwrap()
        .view
        .id;
    theatre.lab.repair().unwrap();
    let running = theatre
        .trial()
        .udp("paid", "h1", "h4", 5_201, "rate=7900000")
        .start()
        .unwrap();
    std::thread::sleep(running.ends_in().saturating_sub(MEASURE * 3 / 4));
    // Too short for anybody to notice.
    theatre.lab.swallow("s1", "s2", true).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    theatre.lab.swallow("s1", "s2", false).unwrap();
    let result = running.finish().unwrap();
    let flow = result.flow("paid").unwrap();
    let lost = flow.sent_bytes - flow.received_bytes;
    assert!(lost > 100_000, "the link swallowed {lost} bytes");
    eventually("it is known at both ends", COUNTED, || {
        let counted = usage(&stage, &id);
        counted.bytes - counted.dropped_bytes == flow.sent_bytes && counted.short_bytes == lost
    });
    let credited = stage.status("h1", &id).unwrap().shortfall_ms;
    assert_eq!(credited, (lost * 8).div_ceil(8_000));

    stage.kill_controller().unwrap();
    theatre.start_controller(&mut stage);
    stage.cancel("h1", &id).unwrap();
    let settled = stage.settled("h1", &id).unwrap();
    let receipt = settled.receipt.unwrap().document;
    assert_eq!(receipt.shortfall_ms, credited);
}
