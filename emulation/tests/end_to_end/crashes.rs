//! Switches and controllers that die in the middle of a reservation.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use payflow_controller::core::document::Status;

use crate::theatre::{Theatre, account, assert_served, differences, eventually, udp};

/// For everything to be as before after something died.
const RECOVERY: Duration = Duration::from_secs(30);

fn sleep_until(unix_ms: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    std::thread::sleep(Duration::from_millis(unix_ms).saturating_sub(now));
}

#[test]
fn switches_that_are_killed_get_their_tables_back_and_a_paid_flow_its_rate() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1", "h2"]);
    let paid = stage
        .reserve("h1", &udp("10.0.0.4", "5201", "10Mbit", "120s"))
        .unwrap();
    let other = [
        "--to", "10.0.0.4", "--tcp", "5301", "--rate", "4Mbit", "--for", "120s",
    ];
    let other = stage.reserve("h2", &other).unwrap();
    let before = stage.entries().unwrap();
    let meters = stage.paid_meters().unwrap();
    assert_eq!(meters.len(), 2, "{meters:?}");

    theatre.lab.restart_switches(Signal::SIGKILL).unwrap();
    let deadline = Instant::now() + RECOVERY;
    let different = loop {
        let different = differences(&before, &stage.entries().unwrap());
        if different.is_empty() || Instant::now() > deadline {
            break different;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!(stage.paid_meters().unwrap(), meters);
    for (host, purchase) in [("h1", &paid), ("h2", &other)] {
        stage
            .becomes(host, &purchase.view.id, Status::Active, RECOVERY)
            .unwrap();
    }
    theatre.lab.repair().unwrap();
    assert_served(&theatre.under_flood("rate=9900000"), 9_900_000);
}

#[test]
fn a_controller_that_is_killed_finds_its_entries_untouched_and_ends_the_service_on_time() {
    let theatre = Theatre::paper();
    let mut stage = theatre.open(&["h1"]);
    let bought = stage
        .reserve("h1", &udp("10.0.0.4", "5201", "10Mbit", "45s"))
        .unwrap()
        .view;
    let (before, then) = (stage.entries().unwrap(), Instant::now());
    stage.kill_controller().unwrap();
    theatre.start_controller(&mut stage);

    let view = stage.status("h1", &bought.id).unwrap();
    assert_eq!(view.status, Status::Active);
    assert_eq!(view.ends_at, bought.ends_at);
    // Until the best-effort entries have been gone through as well.
    std::thread::sleep(Duration::from_secs(6));
    let elapsed = u64::try_from(then.elapsed().as_millis()).unwrap();
    let after = stage.entries().unwrap();
    let different = differences(&before, &after);
    assert!(different.is_empty(), "{different:#?}");
    for old in &before {
        let new = after.iter().find(|new| new.rule() == old.rule()).unwrap();
        assert!(
            new.duration_ms >= old.duration_ms + elapsed - 1_000,
            "added again: {new:?}, before {old:?}"
        );
        assert_eq!(new.hard_timeout_s, old.hard_timeout_s);
    }
    assert_served(&theatre.under_flood("rate=9900000"), 9_900_000);

    let ends = view.ends_at.unwrap().get();
    sleep_until(ends.saturating_sub(4_000));
    assert_eq!(
        stage.status("h1", &bought.id).unwrap().status,
        Status::Active
    );
    sleep_until(ends);
    eventually("the service ends", Duration::from_secs(8), || {
        stage.paid_entries().unwrap() == 0
    });
    let settled = stage.settled("h1", &bought.id).unwrap();
    assert_eq!(settled.ended_by.as_deref(), Some("expired"));
    let (paid, earned, _, _) = account(&settled);
    assert_eq!(paid, earned, "all of it was served");
}

#[test]
fn with_nobody_there_the_service_ends_and_the_next_controller_settles_it() {
    let theatre = Theatre::paper();
    let mut stage = theatre.open(&["h1"]);
    let bought = stage
        .reserve("h1", &udp("10.0.0.4", "5201", "10Mbit", "10s"))
        .unwrap()
        .view;
    stage.kill_controller().unwrap();
    let ends = bought.ends_at.unwrap().get();
    sleep_until(ends.saturating_sub(3_000));
    let count = || {
        let entries = stage.entries().unwrap();
        entries.iter().filter(|entry| entry.is_paid()).count()
    };
    assert_eq!(count(), 3, "the service ended early");
    // At most twice the grace of 3 s, and time-outs are looked at once a second.
    sleep_until(ends);
    let limit = Duration::from_secs(10);
    eventually("the service ends without a controller", limit, || {
        count() == 0
    });
    assert_eq!(
        stage.paid_meters().unwrap().len(),
        1,
        "switches remove entries by themselves, not meters"
    );

    theatre.start_controller(&mut stage);
    let settled = stage.settled("h1", &bought.id).unwrap();
    assert_eq!(settled.ended_by.as_deref(), Some("expired"));
    let receipt = &settled.receipt.as_ref().unwrap().document;
    assert_eq!(receipt.served_ms, receipt.duration_ms);
    let (paid, earned, _, _) = account(&settled);
    assert_eq!(paid, earned);
    eventually("the meter goes", RECOVERY, || {
        stage.paid_entries().unwrap() == 0
    });
}

#[test]
fn switches_that_go_silent_are_noticed_and_the_time_is_credited() {
    // Longer than the 10 s after which a link that is not heard of counts as lost, and much shorter than flows stay
    // suspended.
    const SILENCE: Duration = Duration::from_secs(16);

    let theatre = Theatre::paper();
    let stage = theatre.open(&["h1"]);
    let bought = stage
        .reserve("h1", &udp("10.0.0.4", "5201", "10Mbit", "60s"))
        .unwrap()
        .view;
    // Connections stay open; nothing answers any more, and nothing is forwarded.
    let signal = |signal| {
        theatre
            .lab
            .exec("root", &["pkill", signal, "-x", "ovs-vswitchd"])
            .unwrap();
    };
    signal("-STOP");
    std::thread::sleep(SILENCE);
    signal("-CONT");
    eventually("h1 reaches the controller", RECOVERY, || {
        stage.status("h1", &bought.id).is_ok()
    });
    stage
        .becomes("h1", &bought.id, Status::Active, RECOVERY)
        .unwrap();

    let settled = stage.settled("h1", &bought.id).unwrap();
    assert_eq!(settled.ended_by.as_deref(), Some("expired"));
    let (_, _, fee, refunded) = account(&settled);
    assert_eq!(fee, 0, "nobody cancelled");
    let receipt = &settled.receipt.as_ref().unwrap().document;
    assert!(
        receipt.served_ms < receipt.duration_ms && refunded > 0,
        "{receipt:?}"
    );
}
