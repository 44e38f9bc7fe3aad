//! What is refused, and what it costs to hold capacity and not pay.

use std::time::Duration;

use crate::theatre::{Theatre, udp};

#[test]
fn a_sold_bottleneck_is_refused_with_what_is_left_of_it_and_that_can_be_bought() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1", "h2"]);
    stage
        .reserve("h1", &udp("10.0.0.4", "5201", "9Mbit", "60s"))
        .unwrap();
    let asked = [&["quote"], &udp("10.0.0.4", "5202", "10Mbit", "60s")[..]].concat();
    let refusal = stage.refusal("h2", &asked).unwrap();
    assert_eq!(refusal.status, 409, "{refusal:?}");
    assert!(refusal.kind.ends_with("no-capacity"), "{refusal:?}");
    // 75 % of 20 Mbit/s can be sold to steady flows.
    let offer = refusal.more["counter_offer"]["highest_rate_now"].as_u64();
    assert_eq!(offer, Some(6_000), "kbit/s: {refusal:?}");

    let more = [&["quote"], &udp("10.0.0.4", "5202", "6001kbit", "60s")[..]].concat();
    assert_eq!(stage.refusal("h2", &more).unwrap().status, 409);
    let bought = stage
        .reserve("h2", &udp("10.0.0.4", "5202", "6Mbit", "60s"))
        .unwrap();
    assert_eq!(bought.view.quote.rate_bps, 6_000_000);
    // The rest, to 90 %, is for elastic ones.
    let elastic = [
        "--to", "10.0.0.4", "--tcp", "5301", "--rate", "3Mbit", "--for", "60s",
    ];
    stage.reserve("h2", &elastic).unwrap();
    let least = [&["quote"], &udp("10.0.0.4", "5203", "1kbit", "60s")[..]].concat();
    let refusal = stage.refusal("h1", &least).unwrap();
    assert_eq!(refusal.status, 409);
    assert!(
        refusal.more["counter_offer"]["highest_rate_now"].is_null(),
        "{refusal:?}"
    );
    // The other direction is another link.
    stage
        .quote(
            "h1",
            &[
                &["--from", "10.0.0.1"],
                &udp("10.0.0.3", "5204", "10Mbit", "60s")[..],
            ]
            .concat(),
        )
        .unwrap();
}

#[test]
fn a_host_holds_little_without_paying_and_one_that_never_pays_has_to_wait() {
    let theatre = Theatre::paper();
    let stage = theatre.open_with(&["h1", "h2"], "\n[quotes]\nttl_s = 6\ngrace_s = 1\n");
    let quote = |port| [&["quote"], &udp("10.0.0.4", port, "5Mbit", "60s")[..]].concat();
    // The only unpaid hold of the network may be large; the next one of the same host may not.
    let first = stage
        .quote("h1", &udp("10.0.0.4", "5201", "5Mbit", "60s"))
        .unwrap();
    assert_eq!(first.rate_bps, 5_000_000);
    let refusal = stage.refusal("h1", &quote("5202")).unwrap();
    assert_eq!(refusal.status, 429, "{refusal:?}");
    assert!(refusal.kind.ends_with("hold-limit"), "{refusal:?}");
    assert_eq!(refusal.more["refusal"]["reason"], "hold_limit");
    // Small holds of others are not its business.
    stage
        .quote("h2", &udp("10.0.0.4", "5203", "500kbit", "60s"))
        .unwrap();

    std::thread::sleep(Duration::from_millis(7_500));
    let refusal = stage.refusal("h1", &quote("5204")).unwrap();
    assert_eq!(refusal.status, 429, "{refusal:?}");
    assert_eq!(refusal.more["refusal"]["reason"], "cooling_down");
    // The cool-down after the first expiry is 10 s.
    std::thread::sleep(Duration::from_secs(10));
    stage
        .reserve("h1", &udp("10.0.0.4", "5205", "5Mbit", "60s"))
        .unwrap();
}
