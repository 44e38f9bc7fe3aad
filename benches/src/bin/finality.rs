//! `bench-finality [--purchases N] FILE`: what the controller adds to the ledger's own finality when somebody pays with a
//! transaction. Writes FILE.
//!
//! One buyer buys flows over three bridges of Open vSwitch, one after the other. A development ledger in this process makes a
//! checkpoint every 50 ms while there is something to put into one. The controller follows it as it would any node, and verifies what it is shown from
//! a pinned committee.
//!
//! **What is measured.** This bench follows the ledger as well, as any client of it does: the stream of checkpoints, each
//! looked at whether it follows on and holds what is shown with it. A payment is *final* when that client has the checkpoint that the
//! controller names in its answer. *Added* is the time from then until the buyer has the answer of `POST
//! /v1/reservations` that says "active": the payment proven and on stable storage, the flow on three switches, confirmed by barriers, and
//! that on stable storage too. What a controller does before it submits (a look at the bytes and one commit) decides which checkpoint a payment gets into, and is in "finality" here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use futures::StreamExt as _;
use payflow_benches::{
    market::{Market, Terms, across},
    program::PATIENCE,
    report::{self, Latency, Machine, Target},
};
use payflow_payment::ledger::{FollowEvent, Ledger as _};
use serde::Serialize;
use tokio::sync::watch;

const USAGE: &str = "usage: bench-finality [--purchases N] FILE";
const CHECKPOINTS: Duration = Duration::from_millis(50);
const ADDED_MS: f64 = 5.0;

#[derive(Serialize)]
struct Results {
    what: &'static str,
    machine: Machine,
    load_after: f64,
    purchases: usize,
    checkpoint_interval_ms: u64,
    /// From handing the signed payment to the controller until it is final.
    finality: Latency,
    /// From then until the buyer knows that the reservation is active.
    added: Latency,
    targets: Vec<Target>,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (mut purchases, mut file) = (500, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--purchases" => purchases = args.next().context(USAGE)?.parse()?,
            _ if file.is_none() && !arg.starts_with('-') => file = Some(PathBuf::from(arg)),
            _ => bail!(USAGE),
        }
    }
    let file = file.context(USAGE)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let results = runtime.block_on(measure(purchases, &file))?;
    for target in &results.targets {
        println!("{}", target.line());
    }
    report::write(&file, &results)
}

/// When this client had which checkpoint.
type Seen = BTreeMap<u64, Instant>;

async fn measure(purchases: usize, file: &Path) -> anyhow::Result<Results> {
    let machine = Machine::this();
    // On the disk that the results go to: a directory in memory would make every commit a lie.
    let beside = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(beside)?;
    let dir = tempfile::tempdir_in(beside.canonicalize()?)?;
    let terms = Terms {
        buyers: 1,
        checkpoints: CHECKPOINTS,
        ..Terms::default()
    };
    let mut market = Market::open_with(dir.path(), terms).await?;
    market.learn().await?;
    let buyer = market.take_buyers().pop().context("nobody buys")?;
    let mut seen = follow(&market).await?;

    let (mut finality, mut added) = (Vec::new(), Vec::new());
    for number in 0..purchases {
        let (view, purchase) = buyer.buy(&across(number)?).await?;
        let answered = Instant::now();
        ensure!(view.active_at.is_some(), "it is not active: {view:?}");
        let payment = view.payment.context("a payment")?;
        let checkpoint = payment.checkpoint.context("the payment's checkpoint")?;
        let known = tokio::time::timeout(
            PATIENCE,
            seen.wait_for(|seen| seen.contains_key(&checkpoint)),
        );
        let known = known.await.context("its checkpoint does not come")??;
        let at = *known.get(&checkpoint).context("its checkpoint")?;
        let handed = answered.checked_sub(purchase.installed);
        finality.push(at.saturating_duration_since(handed.context("a clock")?));
        added.push(answered.saturating_duration_since(at));
    }
    let (finality, added) = (Latency::of(finality), Latency::of(added));
    println!("finality {finality:?}, added {added:?}");
    Ok(Results {
        what: "Time from a payment being final, as a client of the ledger sees it that follows its checkpoints, to the buyer \
               knowing that the flow is active on three bridges of Open vSwitch, durably; one purchase at a time.",
        machine,
        load_after: Machine::this().load_before,
        purchases,
        checkpoint_interval_ms: u64::try_from(CHECKPOINTS.as_millis())?,
        finality,
        added,
        targets: vec![Target::at_most(
            "p99 of what the controller adds to the ledger's finality, in ms",
            added.p99_ms,
            ADDED_MS,
        )],
    })
}

/// Follows the ledger from here on.
async fn follow(market: &Market) -> anyhow::Result<watch::Receiver<Seen>> {
    let ledger = market.ledger_client()?;
    let from = ledger.status().await?.checkpoint;
    let (_, nobody) = watch::channel(Arc::new(BTreeSet::new()));
    let mut events = ledger.follow(from, nobody);
    let (sender, receiver) = watch::channel(Seen::new());
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let at = Instant::now();
            match event {
                FollowEvent::Checkpoint(followed) => sender.send_modify(|seen| {
                    seen.insert(followed.checkpoint, at);
                }),
                other => {
                    eprintln!("the ledger cannot be followed: {other:?}");
                    return;
                }
            }
        }
    });
    Ok(receiver)
}
