//! Carries out the core's orders to the ledger and follows the chain, without ever holding up the core.

use std::{collections::BTreeSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, stream};
use payflow_payment::{
    Address, ChainId,
    ledger::{
        BuildError, FollowEvent, Followed, Ledger, LedgerStatus, Lookup, Prospect, Submission,
        Unavailable,
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time,
};
use tracing::{error, info, warn};

use super::event_loop::Event;
use crate::core::io::{Input, LedgerEvent, LedgerOrder};

/// Orders that may wait in one lane. Above that an order is answered at once with "unknown", and the
/// core asks again in its own time.
const QUEUE: usize = 4_096;

/// Calls under way at once, per lane.
const SUBMISSIONS: usize = 32;
const QUESTIONS: usize = 32;

/// How often a ledger that is down is asked whether it is back.
const RETRY: Duration = Duration::from_secs(1);

/// The ledger at work. Dropping it stops all of it; what was submitted stays submitted.
pub(super) struct LedgerWork {
    ledger: Arc<dyn Ledger>,
    events: mpsc::Sender<Event>,
    /// One at a time: each payout takes the treasury's gas coin.
    payouts: mpsc::Sender<LedgerOrder>,
    submissions: mpsc::Sender<LedgerOrder>,
    questions: mpsc::Sender<LedgerOrder>,
    watched: watch::Sender<Arc<BTreeSet<Address>>>,
    tasks: JoinSet<()>,
}

impl LedgerWork {
    /// Starts to take orders.
    pub(super) fn start(ledger: Arc<dyn Ledger>, events: mpsc::Sender<Event>) -> Self {
        let mut tasks = JoinSet::new();
        let mut lane = |concurrency| {
            let (orders, queue) = mpsc::channel(QUEUE);
            tasks.spawn(carry_out(
                ledger.clone(),
                queue,
                concurrency,
                events.clone(),
            ));
            orders
        };
        let (payouts, submissions, questions) = (lane(1), lane(SUBMISSIONS), lane(QUESTIONS));
        let watched = watch::Sender::default();
        Self {
            ledger,
            events,
            payouts,
            submissions,
            questions,
            watched,
            tasks,
        }
    }

    /// Starts to follow the chain from checkpoint `from` on. The addresses of a restart must be watched by now.
    pub(super) fn follow(&mut self, from: u64) {
        let (ledger, events) = (self.ledger.clone(), self.events.clone());
        self.tasks
            .spawn(follow(ledger, from, self.watched.subscribe(), events));
    }

    /// Takes an order. Its answer comes as an event, or at once when the lane is full.
    ///
    /// An address is watched when this returns, so that whoever is told of it afterwards cannot pay unseen.
    pub(super) fn order(&self, order: LedgerOrder) -> Option<LedgerEvent> {
        let lane = match order {
            LedgerOrder::Watch { address } => {
                self.watched.send_modify(|watched| {
                    Arc::make_mut(watched).insert(address);
                });
                return None;
            }
            LedgerOrder::BuildPayout { .. } => &self.payouts,
            LedgerOrder::Submit { .. } => &self.submissions,
            LedgerOrder::LookUp { .. }
            | LedgerOrder::Prospect { .. }
            | LedgerOrder::Gas { .. }
            | LedgerOrder::TreasuryBalance => &self.questions,
        };
        match lane.try_send(order) {
            Ok(()) => None,
            Err(
                mpsc::error::TrySendError::Full(order) | mpsc::error::TrySendError::Closed(order),
            ) => not_asked(order),
        }
    }
}

/// The answer to an order that was not carried out.
fn not_asked(order: LedgerOrder) -> Option<LedgerEvent> {
    unknown(order, "too many questions are waiting for the ledger")
}

/// Nobody knows what became of the order: the core asks again.
fn unknown(order: LedgerOrder, reason: &str) -> Option<LedgerEvent> {
    let reason = || reason.to_owned();
    Some(match order {
        LedgerOrder::Watch { .. } => return None,
        LedgerOrder::Submit { digest, .. } => LedgerEvent::Submitted {
            digest,
            outcome: Submission::Unknown { reason: reason() },
        },
        LedgerOrder::LookUp { digest } => LedgerEvent::LookedUp {
            digest,
            result: Lookup::Unknown { reason: reason() },
        },
        LedgerOrder::Prospect { digest, .. } => LedgerEvent::Prospect {
            digest,
            prospect: Prospect::Unknown { reason: reason() },
        },
        LedgerOrder::BuildPayout { payout, .. } => LedgerEvent::PayoutBuilt {
            payout,
            result: Err(BuildError::Unknown { reason: reason() }),
        },
        LedgerOrder::Gas { digest } => LedgerEvent::Gas {
            digest,
            nanos: None,
        },
        LedgerOrder::TreasuryBalance => LedgerEvent::TreasuryBalance { balance: None },
    })
}

/// One lane: begins orders in their order, at most `concurrency` at once.
async fn carry_out(
    ledger: Arc<dyn Ledger>,
    mut queue: mpsc::Receiver<LedgerOrder>,
    concurrency: usize,
    events: mpsc::Sender<Event>,
) {
    let orders = stream::poll_fn(|context| queue.poll_recv(context));
    let mut answers = std::pin::pin!(
        orders
            .map(|order| ask_guarded(&*ledger, order))
            .buffer_unordered(concurrency)
    );
    while let Some(answer) = answers.next().await {
        if let Some(event) = answer
            && !tell(&events, event).await
        {
            return;
        }
    }
}

/// The pinned client panics on answers newer than itself. Such an answer is none: every order is answered, whatever
/// the node says, or a payout would wait for ever.
async fn ask_guarded(ledger: &dyn Ledger, order: LedgerOrder) -> Option<LedgerEvent> {
    let spare = order.clone();
    match AssertUnwindSafe(ask(ledger, order)).catch_unwind().await {
        Ok(answer) => answer,
        Err(_) => {
            error!("the ledger's client panicked over an answer; it is asked again");
            unknown(spare, "the ledger's client does not understand the answer")
        }
    }
}

async fn ask(ledger: &dyn Ledger, order: LedgerOrder) -> Option<LedgerEvent> {
    Some(match order {
        LedgerOrder::Watch { .. } => return None,
        LedgerOrder::Submit {
            digest,
            transaction,
        } => LedgerEvent::Submitted {
            outcome: ledger.submit(&transaction).await,
            digest,
        },
        LedgerOrder::LookUp { digest } => LedgerEvent::LookedUp {
            result: ledger.lookup(&digest).await,
            digest,
        },
        LedgerOrder::Prospect {
            digest,
            transaction,
        } => LedgerEvent::Prospect {
            prospect: ledger.prospect(&transaction).await,
            digest,
        },
        LedgerOrder::BuildPayout { payout, order } => LedgerEvent::PayoutBuilt {
            payout,
            result: ledger.build_payout(&order).await,
        },
        LedgerOrder::Gas { digest } => {
            let cost = ledger
                .gas_of(&digest)
                .await
                .map_err(|error| unanswered(&error))
                .ok()
                .flatten();
            LedgerEvent::Gas {
                nanos: cost.and_then(|cost| i64::try_from(cost.net()).ok()),
                digest,
            }
        }
        LedgerOrder::TreasuryBalance => {
            let balance = ledger.balance(&ledger.treasury_address()).await;
            LedgerEvent::TreasuryBalance {
                balance: balance.map_err(|error| unanswered(&error)).ok(),
            }
        }
    })
}

fn unanswered(error: &Unavailable) {
    warn!(%error, "a question to the ledger stays open");
}

/// `false` when the controller is stopping.
async fn tell(events: &mpsc::Sender<Event>, event: LedgerEvent) -> bool {
    events
        .send(Event::Input(Input::Ledger(event)))
        .await
        .is_ok()
}

/// Follows the chain for ever, and says when the ledger can be relied on. A panic of the pinned client over a checkpoint
/// newer than itself takes the ledger down, for the operator to see, and the checkpoint is asked for again.
async fn follow(
    ledger: Arc<dyn Ledger>,
    from: u64,
    addresses: watch::Receiver<Arc<BTreeSet<Address>>>,
    events: mpsc::Sender<Event>,
) {
    let mut health = Health {
        chain_id: ledger.chain_id().clone(),
        next: from,
        goal: None,
        state: State::Unknown,
    };
    loop {
        let following = follow_from(&*ledger, &mut health, &addresses, &events);
        if AssertUnwindSafe(following).catch_unwind().await.is_ok() {
            return;
        }
        error!(
            checkpoint = health.next,
            "the ledger's client panicked over a checkpoint; it is asked again"
        );
        let reason = "the ledger's client does not understand a checkpoint".to_owned();
        if let Some(news) = health.lost(reason)
            && !tell(&events, news).await
        {
            return;
        }
        time::sleep(RETRY).await;
    }
}

async fn follow_from(
    ledger: &dyn Ledger,
    health: &mut Health,
    addresses: &watch::Receiver<Arc<BTreeSet<Address>>>,
    events: &mpsc::Sender<Event>,
) {
    let mut checkpoints = ledger.follow(health.next, addresses.clone());
    let mut retry = time::interval(RETRY);
    retry.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        let news = tokio::select! {
            event = checkpoints.next() => match event {
                Some(FollowEvent::Checkpoint(followed)) => {
                    let Followed { checkpoint, timestamp, payments } = followed;
                    if !tell(events, LedgerEvent::Followed { checkpoint, timestamp, payments }).await {
                        return;
                    }
                    health.followed(checkpoint)
                }
                Some(FollowEvent::Interrupted(error)) => health.lost(error.reason),
                Some(FollowEvent::Unproven(unproven)) => {
                    error!(%unproven, "the ledger's node shows what is not proven; nothing of it counts");
                    health.lost(unproven.to_string())
                }
                None => {
                    time::sleep(RETRY).await;
                    checkpoints = ledger.follow(health.next, addresses.clone());
                    health.lost("the ledger's checkpoints have ended".to_owned())
                }
            },
            _ = retry.tick(), if health.state != State::Up => health.asked(ledger.status().await),
        };
        if let Some(news) = news
            && !tell(events, news).await
        {
            return;
        }
    }
}

/// Whether the ledger can be relied on: it answers, and everything it had when it was asked has been seen.
struct Health {
    chain_id: ChainId,
    /// The checkpoint that comes next.
    next: u64,
    /// The newest checkpoint when the ledger was asked; `None` since the connection was lost.
    goal: Option<u64>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was said yet.
    Unknown,
    Up,
    Down,
}

impl Health {
    fn followed(&mut self, checkpoint: u64) -> Option<LedgerEvent> {
        self.next = checkpoint.saturating_add(1);
        self.rise()
    }

    fn asked(&mut self, answer: Result<LedgerStatus, Unavailable>) -> Option<LedgerEvent> {
        match answer {
            Ok(status) => {
                self.goal = Some(status.checkpoint);
                self.rise()
            }
            Err(error) => self.lost(error.reason),
        }
    }

    fn rise(&mut self) -> Option<LedgerEvent> {
        if self.state == State::Up || self.goal.is_none_or(|goal| goal >= self.next) {
            return None;
        }
        self.state = State::Up;
        info!(chain_id = %self.chain_id, next_checkpoint = self.next, "the ledger is up");
        Some(LedgerEvent::Up {
            chain_id: self.chain_id.clone(),
        })
    }

    fn lost(&mut self, reason: String) -> Option<LedgerEvent> {
        self.goal = None;
        if self.state == State::Down {
            return None;
        }
        self.state = State::Down;
        warn!(reason, next_checkpoint = self.next, "the ledger is down");
        Some(LedgerEvent::Down { reason })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::{future::BoxFuture, stream::BoxStream};
    use payflow_payment::{
        Amount, PublicKey, SignedTransaction, TxDigest, UnixMillis,
        ledger::{
            GasCost, InspectError, Inspected, Outgoing, PayoutOrder, PayoutSource, WalletState,
        },
    };

    use super::*;

    fn health(next: u64) -> Health {
        Health {
            chain_id: ChainId::new("c"),
            next,
            goal: None,
            state: State::Unknown,
        }
    }

    fn status(checkpoint: u64) -> Result<LedgerStatus, Unavailable> {
        let timestamp = UnixMillis(0);
        Ok(LedgerStatus {
            checkpoint,
            timestamp,
            lowest_available_checkpoint: None,
            chain_name: None,
        })
    }

    fn up() -> Option<LedgerEvent> {
        Some(LedgerEvent::Up {
            chain_id: ChainId::new("c"),
        })
    }

    #[test]
    fn a_ledger_is_up_once_everything_it_had_has_been_seen() {
        let mut health = health(5);
        assert_eq!(health.followed(5), None);
        assert_eq!(health.asked(status(7)), None);
        assert_eq!(health.followed(6), None);
        assert_eq!(health.followed(7), up());
        assert_eq!(health.followed(8), None);
    }

    #[test]
    fn a_ledger_with_nothing_new_is_up_at_once() {
        assert_eq!(health(5).asked(status(4)), up());
    }

    #[test]
    fn down_is_told_once_and_up_again_only_after_it_was_asked_again() {
        let mut health = health(5);
        assert_eq!(health.asked(status(4)), up());
        let down = |reason: &str| {
            Some(LedgerEvent::Down {
                reason: reason.to_owned(),
            })
        };
        assert_eq!(health.lost("gone".to_owned()), down("gone"));
        assert_eq!(health.lost("still gone".to_owned()), None);
        assert_eq!(
            health.asked(Err(Unavailable {
                reason: "no".to_owned()
            })),
            None
        );
        assert_eq!(health.followed(5), None);
        assert_eq!(health.asked(status(5)), up());
    }

    #[test]
    fn an_order_that_is_not_carried_out_is_answered_as_unknown_and_never_as_refused() {
        let digest = || payflow_payment::TxDigest::new("d");
        let answer = not_asked(LedgerOrder::LookUp { digest: digest() }).unwrap();
        assert!(matches!(
            answer,
            LedgerEvent::LookedUp {
                result: Lookup::Unknown { .. },
                ..
            }
        ));
        let transaction = payflow_payment::SignedTransaction::from_bytes(vec![1]).unwrap();
        let answer = not_asked(LedgerOrder::Prospect {
            digest: digest(),
            transaction: transaction.clone(),
        });
        assert!(matches!(
            answer,
            Some(LedgerEvent::Prospect {
                prospect: Prospect::Unknown { .. },
                ..
            })
        ));
        let answer = not_asked(LedgerOrder::Submit {
            digest: digest(),
            transaction,
        })
        .unwrap();
        assert!(matches!(
            answer,
            LedgerEvent::Submitted {
                outcome: Submission::Unknown { .. },
                ..
            }
        ));
        assert_eq!(
            not_asked(LedgerOrder::TreasuryBalance),
            Some(LedgerEvent::TreasuryBalance { balance: None })
        );
    }

    /// A client that meets something newer than itself in every answer.
    struct Outdated(ChainId);

    fn newer<T>() -> T {
        panic!("a variant this client does not know")
    }

    impl Ledger for Outdated {
        fn chain_id(&self) -> &ChainId {
            &self.0
        }
        fn status(&self) -> BoxFuture<'_, Result<LedgerStatus, Unavailable>> {
            async { newer() }.boxed()
        }
        fn parse_address(&self, _: &str) -> Option<Address> {
            newer()
        }
        fn receive_address(&self, _: u64) -> Address {
            newer()
        }
        fn treasury_address(&self) -> Address {
            Address::new("treasury")
        }
        fn inspect(&self, _: &SignedTransaction) -> Result<Inspected, InspectError> {
            newer()
        }
        fn submit<'a>(&'a self, _: &'a SignedTransaction) -> BoxFuture<'a, Submission> {
            async { newer() }.boxed()
        }
        fn lookup<'a>(&'a self, _: &'a TxDigest) -> BoxFuture<'a, Lookup> {
            async { newer() }.boxed()
        }
        fn prospect<'a>(&'a self, _: &'a SignedTransaction) -> BoxFuture<'a, Prospect> {
            async { newer() }.boxed()
        }
        fn follow(
            &self,
            _: u64,
            _: watch::Receiver<Arc<BTreeSet<Address>>>,
        ) -> BoxStream<'static, FollowEvent> {
            stream::once(async { newer() }).boxed()
        }
        fn build_payout<'a>(
            &'a self,
            _: &'a PayoutOrder,
        ) -> BoxFuture<'a, Result<Outgoing, BuildError>> {
            async { newer() }.boxed()
        }
        fn balance<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, Result<Amount, Unavailable>> {
            async { newer() }.boxed()
        }
        fn wallet<'a>(
            &'a self,
            _: &'a PublicKey,
        ) -> BoxFuture<'a, Result<WalletState, Unavailable>> {
            async { newer() }.boxed()
        }
        fn memo_of<'a>(
            &'a self,
            _: &'a TxDigest,
        ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Unavailable>> {
            async { newer() }.boxed()
        }
        fn gas_of<'a>(
            &'a self,
            _: &'a TxDigest,
        ) -> BoxFuture<'a, Result<Option<GasCost>, Unavailable>> {
            async { newer() }.boxed()
        }
    }

    #[tokio::test]
    async fn a_client_that_panics_answers_unknown_and_the_lane_lives_on() {
        let (events, mut told) = mpsc::channel(16);
        let work = LedgerWork::start(Arc::new(Outdated(ChainId::new("c"))), events);
        for payout in 1..=2 {
            let order = PayoutOrder {
                from: PayoutSource::Treasury,
                payouts: Vec::new(),
                remainder_to: Address::new("treasury"),
                memo: None,
            };
            assert!(
                work.order(LedgerOrder::BuildPayout { payout, order })
                    .is_none()
            );
            let Some(Event::Input(Input::Ledger(LedgerEvent::PayoutBuilt {
                payout: answered,
                result,
            }))) = told.recv().await
            else {
                panic!("a payout is answered with a payout");
            };
            assert_eq!(answered, payout);
            assert!(matches!(result, Err(BuildError::Unknown { .. })));
        }
    }
}
