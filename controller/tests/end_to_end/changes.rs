//! The network changes under paid flows: a switch is another under the same datapath id, a port has another number.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use payflow_controller::core::document::{ReservationView, Status};

use crate::common::buyer::{Buyer, Want};
use crate::common::world::{Terms, World};
use crate::common::{PATIENCE, until};

/// Longer than any of the tests.
const LONG: u64 = 3_600;

const THREE_SWITCHES: Terms = Terms {
    ttl_s: 30,
    grace_s: 10,
    switches: 3,
    capacity: "1Gbit",
};

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_replaced_under_its_datapath_id_gets_what_was_sold_once_and_the_money_is_right() {
    let world = World::start(THREE_SWITCHES).await;
    let long = buy(&world, &[1, 2, 3], LONG).await;
    let (before, rows) = (steady_tables(&world).await, rows(&world));
    let brief = buy(&world, &[4], 20).await;
    // First, middle and last on the path.
    for n in [1, 2, 3] {
        world.switches.replace(n, world.controller.openflow());
        is_as_before(&world, &long, &before, &[&brief[0].1]).await;
    }
    let (buyer, view) = &brief[0];
    let settled = buyer.settled(&view.id).await;
    an_outage_was_refunded(&settled);
    is_as_before(&world, &long, &before, &[]).await;
    assert_eq!(self::rows(&world), rows, "rows of QoS, Queue and Port");
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_comes_while_its_old_connection_is_half_open_gets_what_was_sold_once() {
    let mut world = World::start(THREE_SWITCHES).await;
    let long = buy(&world, &[1, 2, 3], LONG).await;
    let before = steady_tables(&world).await;
    let first = world.switches.supersede();
    let begun = Instant::now();
    until("the others can be asked", || async {
        let up = world.switches.are_up();
        up.then_some(()).ok_or_else(String::new)
    })
    .await;
    is_as_before(&world, &long, &before, &[]).await;
    eprintln!("superseded, and as before after {:?}", begun.elapsed());
    // The first ones wake up, find their connections closed, and are refused for as long as the others live.
    first.signal(Signal::SIGCONT);
    let log = until("the first ones are refused", || async {
        let log = world.controller.log();
        let refused = log
            .rsplit_once("switch ready")
            .is_some_and(|(_, later)| later.contains("not accepted as switch"));
        refused.then_some(()).ok_or(log)
    });
    log.await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    is_as_before(&world, &long, &before, &[]).await;
    drop(first);
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paid_flows_follow_a_port_that_has_another_number() {
    let mut world = World::start(THREE_SWITCHES).await;
    let long = buy(&world, &[1, 2, 3], LONG).await;
    let before = world.switches.sold();
    // A trunk at either end of it, then the ports of the host that sends and of the one that receives.
    for (n, other) in [(1, 2), (2, 1), (2, 3)] {
        world
            .switches
            .renumber_trunk(n, other, 200 + u32::from(other));
    }
    world.switches.renumber_host(1, 1, 301);
    world.switches.renumber_host(3, 1, 301);
    let followed = before.iter().map(|row| {
        let (bridge, _) = row.split_once(' ').unwrap();
        let ports: &[(u32, u32)] = match bridge {
            "s1" => &[(102, 202), (1, 301)],
            "s2" => &[(101, 201), (103, 203)],
            _ => &[(1, 301)],
        };
        ports
            .iter()
            .fold(row.clone(), |row, (from, to)| renumbered(&row, *from, *to))
    });
    let wanted: BTreeSet<String> = followed.collect();
    let begun = Instant::now();
    for restarted in [false, true] {
        if restarted {
            // What follows is remembered.
            world.controller.kill();
            world.restart();
        }
        until(
            "the sold entries have followed, and nothing is left",
            || async {
                let held = world.switches.sold();
                let missing: Vec<_> = wanted.difference(&held).collect();
                let too_many: Vec<_> = held.difference(&wanted).collect();
                let differs = format!("missing {missing:#?}, too many {too_many:#?}");
                (held == wanted).then_some(()).ok_or(differs)
            },
        )
        .await;
        for (buyer, view) in &long {
            let active = |view: &ReservationView| view.status == Status::Active;
            buyer.until(&view.id, "it is active", active).await;
        }
        eprintln!(
            "restarted: {restarted}; followed after {:?}",
            begun.elapsed()
        );
    }
    let (buyer, view) = &long[0];
    buyer.cancel(&view.id).await.unwrap();
    buyer.settled(&view.id).await;
    // What is sold now leads through the new numbers.
    let buyer = world.buyer(4);
    world.is_well(&buyer, &world.want(4, 5_004)).await;
    world.audited().await;
}

/// A row of the tables once a port has another number.
fn renumbered(row: &str, from: u32, to: u32) -> String {
    let mut row = format!("{row},");
    for word in ["in_port=", "output:"] {
        for end in [",", " ", "\n"] {
            row = row.replace(&format!("{word}{from}{end}"), &format!("{word}{to}{end}"));
        }
    }
    row.trim_end_matches(',').to_owned()
}

/// Buys a flow from each of these hosts of the first switch, each for its own buyer.
pub(crate) async fn buy(
    world: &World,
    hosts: &[u8],
    duration_s: u64,
) -> Vec<(Buyer, ReservationView)> {
    let mut bought = Vec::new();
    for host in hosts {
        let buyer = world.buyer(*host);
        let want = Want {
            duration_s,
            rate_bps: 1_000_000,
            ..world.want(*host, 5_000 + u16::from(*host))
        };
        let view = buyer.buy(&want).await;
        bought.push((buyer, view));
    }
    bought
}

/// The tables, once nothing changes in them any more.
pub(crate) async fn steady_tables(world: &World) -> BTreeSet<String> {
    until("the tables are steady", || async {
        let tables = world.switches.tables();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let again = world.switches.tables();
        (tables == again).then_some(again).ok_or_else(String::new)
    })
    .await
}

/// Waits until these flows are active, and the tables as they were but for what belongs to `others`.
pub(crate) async fn is_as_before(
    world: &World,
    flows: &[(Buyer, ReservationView)],
    before: &BTreeSet<String>,
    others: &[&ReservationView],
) {
    let begun = Instant::now();
    loop {
        let tables: BTreeSet<_> = world
            .switches
            .tables()
            .into_iter()
            .filter(|row| !others.iter().any(|view| is_of(row, view)))
            .collect();
        let mut waits = Vec::new();
        for (buyer, view) in flows {
            let now = buyer.get(&view.id).await;
            if !now.as_ref().is_ok_and(|now| now.status == Status::Active) {
                waits.push(now.map(|now| (now.id, now.status, now.detail)));
            }
        }
        if waits.is_empty() && tables == *before {
            break;
        }
        let missing: Vec<_> = before.difference(&tables).take(4).collect();
        let too_many: Vec<_> = tables.difference(before).take(4).collect();
        assert!(
            begun.elapsed() < PATIENCE,
            "not active: {waits:?}; missing {missing:#?}; too many {too_many:#?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eprintln!("as before after {:?}", begun.elapsed());
}

/// Whether a row of [`crate::common::switches::Switches::tables`] is an entry or the meter of a reservation.
fn is_of(row: &str, view: &ReservationView) -> bool {
    let number: u64 = view.id.trim_start_matches('r').parse().unwrap();
    let (cookie, meter) = (
        format!(" cookie=0x50{number:010x}0000"),
        format!(" meter={} ", 0x1_0000 + number),
    );
    row.contains(&cookie) || row.contains(&meter) && !row.contains("cookie")
}

/// It lasted its time, and what an outage took of it was refunded, to the nano.
pub(crate) fn an_outage_was_refunded(settled: &ReservationView) {
    assert_eq!(settled.ended_by.as_deref(), Some("expired"), "{settled:?}");
    let receipt = &settled.receipt.as_ref().unwrap().document;
    assert!(receipt.served_ms < receipt.duration_ms, "{receipt:?}");
    let price = u128::from(settled.quote.payment.price.0);
    let served = price * u128::from(receipt.served_ms) / u128::from(receipt.duration_ms);
    assert!(
        u128::from(receipt.earned.0).abs_diff(served) <= 1,
        "{served} were served: {receipt:?}"
    );
    assert_eq!(receipt.fee.0, 0, "nobody cancelled: {receipt:?}");
    assert_eq!(
        receipt.paid.0,
        receipt.earned.0 + receipt.refunded.0,
        "{receipt:?}"
    );
}

/// How many rows the database has of what the controller makes there, and of ports.
fn rows(world: &World) -> [usize; 3] {
    ["QoS", "Queue", "Port"].map(|table| world.switches.rows(table))
}
