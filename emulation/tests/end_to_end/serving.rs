//! What is paid for is given: end to end over real switches and the ledger.

use crate::theatre::{FLOOD, Theatre, account, assert_served, udp};
use payflow_controller::core::document::Status;

#[test]
fn a_paid_flow_keeps_its_rate_and_a_cancelled_one_leaves_nothing_but_a_refund_and_a_receipt() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1"]);
    let unpaid = theatre.under_flood("rate=10Mbit");
    assert!(
        unpaid.loss > 0.2,
        "the unpaid flow lost only {:.3}",
        unpaid.loss
    );

    let purchase = stage
        .reserve("h1", &udp("10.0.0.4", "5201", "10Mbit", "100s"))
        .unwrap();
    let entries = stage.entries().unwrap();
    let paid: Vec<_> = entries.iter().filter(|entry| entry.is_paid()).collect();
    let switches: Vec<_> = paid.iter().map(|entry| entry.switch.as_str()).collect();
    assert_eq!(switches, ["s1", "s2", "s3"], "one entry on each switch");
    let meters = stage.paid_meters().unwrap();
    assert_eq!(meters.len(), 1, "{meters:?}");
    assert_eq!(meters[0].0, "s1", "the meter is at the first switch");
    assert_served(&theatre.under_flood("rate=9900000"), 9_900_000);

    let wallet = purchase.view.quote.payment.refund_to.to_string();
    let addresses = [wallet.clone()];
    let before = stage.audit(&addresses, &[]).unwrap().balances[&wallet];
    let view = stage.cancel("h1", &purchase.view.id).unwrap();
    assert_eq!(view.status, Status::Settled);
    assert_eq!(
        stage.paid_entries().unwrap(),
        0,
        "entries or meters are left"
    );

    let (paid, earned, fee, refunded) = account(&view);
    assert_eq!(paid, purchase.view.quote.payment.price.0);
    assert_eq!(fee, purchase.view.quote.payment.cancellation_fee.0);
    assert!(
        earned > 0 && refunded > paid / 2,
        "{earned} earned of {paid}"
    );
    let digest = view.settlement.as_ref().unwrap().digest.as_ref().unwrap();
    let after = stage.audit(&addresses, &[digest.to_string()]).unwrap();
    assert_eq!(
        after.balances[&wallet] - before,
        refunded,
        "the refund is on the ledger to the nano"
    );
    let hash = view.receipt.as_ref().unwrap().hash().unwrap().to_string();
    assert_eq!(
        after.receipt_hashes[&digest.to_string()],
        hash,
        "the receipt's hash is on the ledger"
    );
}

#[test]
fn paid_flows_to_one_destination_share_nothing_but_the_link_and_excess_is_dropped_at_the_meter() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1", "h2"]);
    let udp_id = stage
        .reserve("h1", &udp("10.0.0.4", "5201", "6Mbit", "100s"))
        .unwrap()
        .view
        .id;
    let tcp = [
        "--to", "10.0.0.4", "--tcp", "5301", "--rate", "4Mbit", "--for", "100s",
    ];
    stage.reserve("h2", &tcp).unwrap();
    let meter = stage.paid_meters().unwrap();
    assert_eq!(meter.len(), 2, "{meter:?}");
    let number: u32 = udp_id.trim_start_matches('r').parse().unwrap();
    let place = format!("s1 meter {}", 0x1_0000 + number);

    let before = theatre.lab.drops().unwrap();
    let result = theatre
        .trial()
        .udp("paid", "h1", "h4", 5201, "rate=9Mbit")
        .udp("flood", "h1", "h4", 6201, FLOOD)
        .tcp("paid tcp", "h2", 0, "h4", 5301)
        .run()
        .unwrap();
    let after = theatre.lab.drops().unwrap();
    let dropped = |place: &str| after[place] - before[place];

    let paid = result.flow("paid").unwrap();
    assert!(paid.offered_bps > 8_500_000, "{} offered", paid.offered_bps);
    assert!(
        (5_700_000..6_450_000).contains(&paid.goodput_bps),
        "{} bit/s of 6 Mbit/s paid and 9 Mbit/s offered (the burst comes on top)",
        paid.goodput_bps
    );
    let lost = paid.sent_packets - paid.received_packets;
    assert!(
        lost.abs_diff(dropped(&place)) <= lost / 20,
        "{lost} packets lost, {} dropped by the meter: {after:?}",
        dropped(&place)
    );
    assert_eq!(
        dropped("s2-eth102 queue 2"),
        0,
        "the steady class lost packets"
    );
    let tcp = result.tcp.get("paid tcp").unwrap();
    assert!(
        tcp.goodput_bps > 3_200_000,
        "TCP got {} bit/s of 4 Mbit/s",
        tcp.goodput_bps
    );
}

#[test]
fn a_flow_of_ipv6_is_bought_and_carried_like_any_other() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1"]);
    theatre.ipv6(&[("h1", 1), ("h2", 2), ("h4", 4)]);
    for (from, to) in [("h1", "fd00::4"), ("h4", "fd00::2"), ("h2", "fd00::1")] {
        assert!(theatre.ping(from, to), "{from} does not reach {to}");
    }
    let flow = |port| {
        [
            &["--from", "fd00::1"],
            &udp("fd00::4", port, "10Mbit", "60s")[..],
        ]
        .concat()
    };
    let refused = stage
        .refusal(
            "h1",
            &[
                &["quote", "--from", "fd00::2"],
                &udp("fd00::4", "5", "1Mbit", "9s")[..],
            ]
            .concat(),
        )
        .unwrap();
    assert_eq!(refused.status, 403, "{refused:?}");
    stage.reserve("h1", &flow("5201")).unwrap();
    let result = theatre
        .trial()
        .udp_at("paid", "h1", "h4", "[fd00::4]", 5201, "rate=9900000")
        .udp("flood", "h1", "h4", 6201, FLOOD)
        .udp_at("flood6", "h1", "h4", "[fd00::4]", 6202, "rate=10Mbit")
        .run()
        .unwrap();
    assert_served(result.flow("paid").unwrap(), 9_900_000);
    let flood = result.flow("flood6").unwrap();
    assert!(flood.loss > 0.2, "the unpaid flow lost {:.3}", flood.loss);
}
