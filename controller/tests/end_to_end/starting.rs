//! Starting, stopping, and starting again.

use std::time::Duration;

use payflow_controller::core::document::{ReservationView, Status};

use crate::common::controller::Controller;
use crate::common::process::Scratch;
use crate::common::until;
use crate::common::world::{Terms, World};

/// What is said of a configuration by those who refuse it: the controller, and the check without one.
fn refusals(scratch: &Scratch, text: &str) -> [String; 2] {
    std::fs::write(scratch.path().join("payflow.toml"), text).unwrap();
    let commands = [
        ["controller", "--config", "payflow.toml"].as_slice(),
        &["check-config", "payflow.toml"],
    ];
    commands.map(|words| {
        let output = Controller::command(scratch.path(), words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        said
    })
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused_with_its_line() {
    let scratch = Scratch::new();
    let text =
        "data_dir = \"data\"\n\n[http]\nlisten = \"127.0.0.1:0\"\nlissten = \"127.0.0.1:1\"\n";
    for said in refusals(&scratch, text) {
        assert!(said.contains("payflow.toml:5: http.lissten"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert!(
        !scratch.path().join("data").exists(),
        "nothing is made for a configuration that cannot be"
    );
}

#[test]
fn keys_and_certificates_that_cannot_be_used_are_told_before_anything_starts() {
    let scratch = Scratch::new();
    let text = "data_dir = \"data\"\n[ovsdb]\nendpoints = [\"ssl:127.0.0.1:6640\"]\n[ovsdb.tls]\n\
        key = \"no.key\"\ncertificate = \"no.crt\"\nserver_ca = \"no.ca\"\n";
    for said in refusals(&scratch, text) {
        assert!(said.contains("ovsdb.tls."), "{said}");
        assert!(said.contains("No such file"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_quick_and_paid_entries_stay_and_are_adopted_untouched() {
    let mut world = World::start(Terms::default()).await;
    let buyer = world.buyer(1);
    let view = buyer.buy(&world.want(1, 5001)).await;
    let number = view.id.trim_start_matches('r').parse().unwrap();
    let before = world.switches.entries_of(number);
    assert_eq!(before.len(), 2, "one at each switch: {before:?}");

    let (well, took) = world.controller.stop();
    assert!(well, "{}", world.controller.log());
    assert!(took < Duration::from_secs(10), "{took:?}");
    let stopped = world.switches.entries_of(number);
    assert_eq!(stopped.len(), 2, "{stopped:?}");

    world.restart();
    world.until_ready().await;
    // Long enough for best effort to be drawn again, and for an audit.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let adopted = world.switches.entries_of(number);
    assert_eq!(ages(&adopted).len(), 2, "{adopted:?}");
    for (before, after) in ages(&before).iter().zip(ages(&adopted)) {
        assert!(
            after > before + 5.0,
            "it was made anew: {before} s old, then {after} s"
        );
    }
    let still = buyer.get(&view.id).await.unwrap();
    assert_eq!(
        (still.status, still.ends_at),
        (Status::Active, view.ends_at)
    );
    buyer.cancel(&view.id).await.unwrap();
    buyer.settled(&view.id).await;
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_while_the_controller_is_dead_is_settled_when_it_is_back() {
    let mut world = World::start(Terms::default()).await;
    let buyer = world.buyer(1);
    let mut want = world.want(1, 5001);
    want.duration_s = 2;
    let view = buyer.buy(&want).await;
    world.controller.kill();
    until("the switches have ended it by themselves", || async {
        let remains = world.switches.remains();
        match remains.entries.is_empty() {
            true => Ok(()),
            false => Err(format!("{remains:?}")),
        }
    })
    .await;
    world.restart();
    let settled: ReservationView = buyer.settled(&view.id).await;
    let receipt = settled.receipt.unwrap().document;
    assert_eq!((receipt.served_ms, receipt.refunded.0), (2_000, 0));
    world.audited().await;
}

/// How many seconds ago each entry was made, in the order of the dump.
fn ages(entries: &[String]) -> Vec<f64> {
    entries
        .iter()
        .map(|entry| {
            let (_, rest) = entry.split_once("duration=").unwrap();
            rest.split_once('s').unwrap().0.parse().unwrap()
        })
        .collect()
}
