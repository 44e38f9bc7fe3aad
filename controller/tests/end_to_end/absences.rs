//! A controller that is away for long, under paid flows.
//!
//! `PAYFLOW_TEST_ABSENCE_S` says for how many seconds the controller is away (14 unless told otherwise).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, Row as _};

use crate::changes::{buy, is_as_before, steady_tables};
use crate::common::chance::number;
use crate::common::until;
use crate::common::world::{Terms, World};

/// Longer than any of the tests.
const LONG: u64 = 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn while_the_controller_is_frozen_paid_entries_stay_and_what_is_over_goes() {
    let away = Duration::from_secs(number("PAYFLOW_TEST_ABSENCE_S").unwrap_or(14));
    let world = World::start(Terms::default()).await;
    let long = buy(&world, &[1, 2], LONG).await;
    let before = steady_tables(&world).await;
    let sold = world.switches.sold();
    let brief = buy(&world, &[3], 4).await;
    let (buyer, view) = &brief[0];
    let written = records(&world).await;

    world.controller.freeze();
    let begun = Instant::now();
    // Time-outs are longer by a grace of 3 s, or twice that where they were not worth arming again.
    until("what is over is gone from the tables", || async {
        let held = world.switches.entries_of(reservation(&view.id));
        held.is_empty().then_some(()).ok_or(format!("{held:?}"))
    })
    .await;
    let over = begun.elapsed();
    tokio::time::sleep(away.saturating_sub(begun.elapsed())).await;
    let held = world.switches.sold();
    assert!(sold.is_subset(&held), "{:?}", sold.difference(&held));
    world.controller.thaw();

    is_as_before(&world, &long, &before, &[]).await;
    eprintln!(
        "away for {away:?}; the brief flow left the tables after {over:?}, all is as before after {:?}",
        begun.elapsed()
    );
    let settled = buyer.settled(&view.id).await;
    let receipt = &settled.receipt.as_ref().unwrap().document;
    assert_eq!(receipt.served_ms, receipt.duration_ms, "{receipt:?}");
    assert_eq!(receipt.earned, receipt.paid, "{receipt:?}");
    let resumed = self::records(&world).await;
    eprintln!("records before {written:?}, after {resumed:?}");
    world.audited().await;
}

fn reservation(id: &str) -> u64 {
    id.trim_start_matches('r').parse().unwrap()
}

/// How many records of each kind the journal has.
async fn records(world: &World) -> BTreeMap<String, i64> {
    let file = world.scratch.path().join("data/journal.sqlite");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file)
        .read_only(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options)
        .await
        .unwrap();
    let rows = sqlx::query("SELECT kind, count(*) FROM journal GROUP BY kind")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}
