//! Many flows bought at once: every host buys one after the other, all hosts at the same time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::progress::Progress;
use crate::stage::{Purchase, Refusal, Stage};

/// What a host does not get because too much is held by others and not paid yet, it asks for again.
const HOLD_LIMIT: &str = "hold-limit";
const PAUSE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(30);

/// One purchase.
#[derive(Clone, Debug)]
pub struct Order {
    /// How the caller calls it.
    pub name: String,
    /// Who buys.
    pub host: String,
    /// The options of `payflow reserve`.
    pub words: Vec<String>,
}

impl Order {
    /// A flow to a port of `to`, `udp` or `tcp`.
    #[must_use]
    pub fn new(
        name: &str,
        host: &str,
        to: &str,
        protocol: &str,
        port: u16,
        rate_bps: u64,
        duration: Duration,
    ) -> Self {
        let words = [
            "--to".to_owned(),
            to.to_owned(),
            format!("--{protocol}"),
            port.to_string(),
            "--rate".to_owned(),
            format!("{}kbit", rate_bps / 1_000),
            "--for".to_owned(),
            format!("{}s", duration.as_secs()),
        ];
        Self {
            name: name.to_owned(),
            host: host.to_owned(),
            words: words.to_vec(),
        }
    }
}

/// Buys everything; what was bought, by name.
///
/// # Errors
/// When something is refused for another reason than that others hold too much just now, or a command fails.
pub fn buy_all(
    stage: &Stage<'_>,
    orders: &[Order],
    progress: &Progress,
) -> anyhow::Result<BTreeMap<String, Purchase>> {
    let bought = AtomicUsize::new(0);
    each_host(orders, |order| {
        let purchase = buy(stage, order).with_context(|| format!("buying {}", order.name))?;
        let so_far = bought.fetch_add(1, Ordering::Relaxed) + 1;
        progress.tell(&format!("bought {so_far} of {} flows", orders.len()));
        Ok((order.name.clone(), purchase))
    })
}

/// Asks for everything; what was bought or refused, by name.
///
/// # Errors
/// When a command fails.
pub fn try_buy_all(
    stage: &Stage<'_>,
    orders: &[Order],
) -> anyhow::Result<BTreeMap<String, Result<Purchase, Refusal>>> {
    each_host(orders, |order| {
        let answer = try_buy(stage, order).with_context(|| format!("buying {}", order.name))?;
        Ok((order.name.clone(), answer))
    })
}

/// Cancels everything that was bought with these orders, without waiting for the refunds.
///
/// # Errors
/// When a command fails.
pub fn cancel_all(
    stage: &Stage<'_>,
    orders: &[Order],
    bought: &BTreeMap<String, Purchase>,
) -> anyhow::Result<()> {
    each_host(orders, |order| {
        let purchase = bought.get(&order.name).context("it was never bought")?;
        stage.leave(&order.host, &purchase.view.id)?;
        Ok((order.name.clone(), ()))
    })?;
    Ok(())
}

/// Does something with every order: those of one host one after the other, the hosts side by side.
pub(super) fn each_host<T: Send>(
    orders: &[Order],
    act: impl Fn(&Order) -> anyhow::Result<(String, T)> + Sync,
) -> anyhow::Result<BTreeMap<String, T>> {
    let mut by_host: BTreeMap<&str, Vec<&Order>> = BTreeMap::new();
    for order in orders {
        by_host.entry(&order.host).or_default().push(order);
    }
    std::thread::scope(|scope| {
        let buyers: Vec<_> = by_host
            .into_values()
            .map(|orders| {
                let act = &act;
                scope.spawn(move || {
                    orders
                        .into_iter()
                        .map(act)
                        .collect::<anyhow::Result<Vec<_>>>()
                })
            })
            .collect();
        let mut done = BTreeMap::new();
        for buyer in buyers {
            match buyer.join() {
                Ok(results) => done.extend(results?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(done)
    })
}

fn buy(stage: &Stage<'_>, order: &Order) -> anyhow::Result<Purchase> {
    match try_buy(stage, order)? {
        Ok(purchase) => Ok(purchase),
        Err(refusal) => bail!("{}: {}", refusal.kind, refusal.detail),
    }
}

/// Buys, or says why not; what others hold and have not paid is waited for.
fn try_buy(stage: &Stage<'_>, order: &Order) -> anyhow::Result<Result<Purchase, Refusal>> {
    let words: Vec<&str> = order.words.iter().map(String::as_str).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match stage.try_reserve(&order.host, &words)? {
            Err(refusal) if refusal.kind.ends_with(HOLD_LIMIT) && Instant::now() < deadline => {
                std::thread::sleep(PAUSE);
            }
            answer => return Ok(answer),
        }
    }
}
