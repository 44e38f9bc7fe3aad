//! Switches, the controller, or both are killed under many paid flows, and afterwards every switch holds what it held.
//!
//! `PAYFLOW_TEST_RESERVATIONS` says how many flows (200 unless told otherwise).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use payflow_controller::core::document::Status;

use crate::common::buyer::Want;
use crate::common::chance::number;
use crate::common::ledger::GRANT;
use crate::common::until;
use crate::common::world::{BUYERS, Terms, World};

/// More than the least that anything costs, with the gas to pay for it, in nanos.
const LEAST_AND_GAS: u64 = 20_000_000;

/// What waits in the network until everything is confirmed.
const INSTALLATION: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_every_switch_holds_again_what_was_sold() {
    let flows = number("PAYFLOW_TEST_RESERVATIONS").unwrap_or(200);
    let mut world = World::start(Terms {
        // A thousand flows fill the buffers of a Gbit/s.
        capacity: "10Gbit",
        ..Terms::default()
    })
    .await;
    let begun = Instant::now();
    buy(&world, flows).await;
    let sold = world.switches.sold();
    eprintln!(
        "{flows} flows bought and active after {:?}, {} entries and meters",
        begun.elapsed(),
        sold.len()
    );
    // An entry at either switch, and a meter at the first.
    assert_eq!(sold.len(), 3 * usize::try_from(flows).unwrap());

    world.switches.kill();
    world.switches.launch();
    back(&world, "the switches", &sold).await;

    world.controller.kill();
    world.controller.launch();
    world.controller.listening().unwrap();
    world.connect();
    back(&world, "the controller", &sold).await;

    world.switches.kill();
    world.controller.kill();
    world.controller.launch();
    world.controller.listening().unwrap();
    world.switches.launch();
    world.connect();
    back(&world, "both", &sold).await;

    let account = world.account().await.unwrap();
    let lost = account
        .reservations
        .iter()
        .filter(|view| !matches!(view.status, Status::Active | Status::Suspended));
    assert_eq!(lost.count(), 0);
}

/// Buys so many flows of an hour, and waits until all are active.
async fn buy(world: &World, flows: u64) {
    let [a, b, c, d] = [1, 2, 3, 4].map(|n| {
        let share = (flows + u64::from(BUYERS - n)) / u64::from(BUYERS);
        buy_share(world, n, u16::try_from(share).unwrap())
    });
    tokio::join!(a, b, c, d);
    let begun = Instant::now();
    loop {
        let account = world.account().await.unwrap();
        let active = account
            .reservations
            .iter()
            .filter(|view| view.status == Status::Active);
        let active = active.count();
        if active == usize::try_from(flows).unwrap() {
            return;
        }
        assert!(begun.elapsed() < INSTALLATION, "{active} are active");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What one buyer buys, from its own host.
async fn buy_share(world: &World, n: u8, share: u16) {
    let buyer = world.buyer(n);
    let enough = u64::from(share) * LEAST_AND_GAS / GRANT;
    for _ in 0..enough {
        world.grant(n).await;
    }
    for port in 10_000..10_000 + share {
        let want = Want {
            rate_bps: 8_000,
            duration_s: 3_600,
            ..world.want(n, port)
        };
        buyer.buy(&want).await;
    }
}

/// Waits until the switches hold what they held, and tells how long that took from the moment at which both sides
/// listened.
async fn back(world: &World, killed: &str, sold: &BTreeSet<String>) {
    until("the switches can be asked", || async {
        world
            .switches
            .are_up()
            .then_some(())
            .ok_or_else(String::new)
    })
    .await;
    let up = Instant::now();
    let took = loop {
        if world.switches.count_entries() >= sold.len() / 2 {
            let took = up.elapsed();
            let held = world.switches.sold();
            if held == *sold {
                break took;
            }
            let missing: Vec<_> = sold.difference(&held).take(3).collect();
            let too_many: Vec<_> = held.difference(sold).take(3).collect();
            assert!(
                up.elapsed() < INSTALLATION,
                "{} of {} entries and meters; missing {missing:?}; too many {too_many:?}",
                held.len(),
                sold.len()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    eprintln!("{killed} killed: all is back after {took:?}");
}
