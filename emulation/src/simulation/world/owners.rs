//! What the owners of prepaid accounts do, what buyers pay out of them, and what they make of the answers.

use std::net::IpAddr;
use std::time::Duration;

use payflow_controller::core::accounts::document::AccountRequest;
use payflow_controller::core::document::ReservationView;
use payflow_controller::core::io::{Input, PaymentProof, Request, RequestId};
use payflow_controller::core::problem::{Problem, ProblemKind};
use payflow_controller::core::reply::Answer;
use payflow_payment::account::Phase;
use payflow_payment::voucher::{Payee, Voucher, check};
use payflow_payment::{Address, Amount, Asset};

use super::{Asked, CHAIN, Event, FAKE, World};
use crate::simulation::buyer::{Buyer, Prepaid, Step};
use crate::simulation::chance::Chance;
use crate::simulation::observer::Sight;
use crate::simulation::owner::{Filling, Nature, Owner, OwnerStep, Posted, Running};
use crate::simulation::{Scenario, Wish};

/// So many buyers there are for one owner.
const BUYERS_PER_OWNER: usize = 4;
/// What is deposited in pieces comes in so many.
const PIECES: u64 = 5;
/// Vouchers for what is paid as it goes come at this distance.
const VOUCHER_EVERY: Duration = Duration::from_secs(2);

fn payee() -> Payee {
    Payee {
        chain_id: CHAIN.into(),
        operator: crate::simulation::operator::signing_key().public_key(),
    }
}

/// Who owns accounts, and which buyers pay out of them. All that one key buys is paid in one way.
pub(super) fn owners(seed: u64, scenario: &Scenario, buyers: &mut [Buyer]) -> Vec<Owner> {
    let mut chance = Chance::of(seed, "wish", Wish::Account as u64);
    if !(scenario.wishes.contains(&Wish::Account) && chance.happens(500)) {
        return Vec::new();
    }
    let whose = |number: usize| u64::try_from(number).unwrap_or_default();
    let count = (scenario.buyers / BUYERS_PER_OWNER).max(1);
    let owners: Vec<Owner> = (0..count)
        .map(|number| {
            let mut chance = Chance::of(seed, "owner", whose(number));
            let host = u8::try_from(chance.between(1, 9)).unwrap_or(1);
            Owner::any(number, IpAddr::from([10, 0, 0, host]), chance)
        })
        .collect();
    for buyer in buyers {
        let mut chance = Chance::of(seed, "prepaid", whose(buyer.signs_as));
        let from_account = chance.happens(400);
        let owner = usize::try_from(chance.between(0, whose(count))).unwrap_or_default();
        let as_it_goes = chance.happens(400);
        let alone = buyer.change.is_none()
            && buyer.members.is_empty()
            && buyer.starts_after_ms.is_none()
            && buyer.number == buyer.signs_as;
        if let Some(owner) = owners.get(owner).filter(|_| from_account) {
            buyer.prepaid = Some(Prepaid {
                owner: owner.number,
                key: owner.key(),
                as_it_goes: as_it_goes && alone,
            });
        }
    }
    owners
}

impl World {
    pub(super) fn plan_owners(&mut self, seed: u64) {
        for number in 0..self.owners.len() {
            let whose = u64::try_from(number).unwrap_or_default();
            let when = Chance::of(seed, "opens", whose).millis(1_000, 20_000);
            self.owner_looks_again(number, when);
        }
    }

    fn owner_looks_again(&mut self, number: usize, after: Duration) {
        if let Some(owner) = self.owners.get_mut(number) {
            owner.looks_at = Some(self.now.plus(after));
        }
        self.at(after, Event::Owner(number));
    }

    fn owner_asks(&mut self, number: usize, request: Request) -> u64 {
        self.requests += 1;
        let id = RequestId(self.requests);
        let patience = self.chance.millis(3_000, 6_000);
        self.owner_looks_again(number, patience);
        let pause = self.chance.millis(5, 60);
        if let Some(owner) = self.owners.get_mut(number) {
            owner.waiting = Some(id.0);
            let caller = owner.caller();
            if let Some(IpAddr::V4(address)) = caller.address {
                self.fabric.speaks(address, self.now);
            }
            let asked = Asked {
                id,
                number,
                caller,
                request,
            };
            self.at(pause, Event::OwnerAsks(asked));
        }
        id.0
    }

    /// A request of an owner reaches the controller, if the network lets it through.
    pub(super) fn owner_asked(&mut self, asked: Asked) {
        let Asked {
            id,
            number,
            caller,
            request,
        } = asked;
        if !self.gets_through("owner", number, &caller) {
            return;
        }
        if let Some(alive) = &mut self.life {
            alive.asked_by_owners.insert(id, number);
            self.feed(Input::Request {
                id,
                caller,
                request,
            });
        }
    }

    pub(super) fn owner_acts(&mut self, number: usize) {
        let now = self.now;
        let Some(owner) = self
            .owners
            .get_mut(number)
            .filter(|owner| owner.looks_at == Some(now))
        else {
            return;
        };
        owner.looks_at = None;
        let (step, account) = (owner.step, owner.account());
        match (step, account) {
            (OwnerStep::Open, _) if !self.is_early() => self.owner_step(number, OwnerStep::Done),
            (OwnerStep::Open, _) | (_, None) => {
                let Some(owner) = self.owners.get(number) else {
                    return;
                };
                let body = AccountRequest {
                    refund_to: owner.refund_to(),
                };
                let idempotency = Some(owner.idempotency());
                self.owner_asks(number, Request::OpenAccount { body, idempotency });
            }
            (OwnerStep::Fill, Some(_)) => self.fill(number),
            (OwnerStep::Use, Some(account)) => {
                if self.closes(number) {
                    self.tell(|| format!("owner {number}: closes {account}"));
                    self.owner_step(number, OwnerStep::Close);
                    self.owner_asks(number, Request::CloseAccount(account));
                } else if self.writes_wrong(number) || self.pays_on(number) {
                    // It has sent a voucher.
                } else if self.is_early() || self.will_close(number) {
                    self.owner_asks(number, Request::GetAccount(account));
                } else {
                    self.owner_step(number, OwnerStep::Done);
                }
            }
            (OwnerStep::Close, Some(account)) => {
                self.owner_asks(number, Request::CloseAccount(account));
            }
            (OwnerStep::Wait, Some(account)) => {
                self.owner_asks(number, Request::GetAccount(account));
            }
            (OwnerStep::Done, _) => {}
        }
    }

    fn owner_step(&mut self, number: usize, step: OwnerStep) {
        if let Some(owner) = self.owners.get_mut(number) {
            owner.step = step;
        }
    }

    fn will_close(&self, number: usize) -> bool {
        let owner = self.owners.get(number);
        owner.is_some_and(|owner| owner.closes_after_ms.is_some())
    }

    fn closes(&self, number: usize) -> bool {
        let due = |owner: &Owner| {
            let after = Duration::from_millis(owner.closes_after_ms?);
            Some(owner.opened_at?.plus(after) <= self.now)
        };
        self.owners.get(number).and_then(due).unwrap_or(false)
    }

    /// Deposits as it is used to.
    fn fill(&mut self, number: usize) {
        self.owner_step(number, OwnerStep::Use);
        let Some(owner) = self.owners.get(number) else {
            return;
        };
        let Some(view) = &owner.view else {
            return;
        };
        let (filling, amount) = (owner.filling, owner.amount);
        let pay_to = view.account.document.pay_to.clone();
        let wallet = match filling {
            Filling::ByAnother => Address::new("0xfriend-with-money"),
            _ => owner.wallet(),
        };
        let asset = match filling {
            Filling::WrongAsset => Asset::new(FAKE),
            _ => Asset::iota(),
        };
        let parts = match filling {
            Filling::Never => Vec::new(),
            Filling::Twice => vec![amount, amount],
            Filling::InPieces => vec![(amount / PIECES).max(1); 5],
            _ => vec![amount],
        };
        let parts: Vec<_> = parts
            .into_iter()
            .map(|part| self.transfer_to(&wallet, &asset, &pay_to, Amount(part)))
            .collect();
        self.tell(|| format!("owner {number}: deposits {amount} ({filling:?})"));
        if filling == Filling::HandsOver {
            let account = self.owners.get(number).and_then(Owner::account);
            if let (Some(account), Some(transfer)) = (account, parts.into_iter().next()) {
                self.owner_asks(
                    number,
                    Request::Deposit {
                        account,
                        transaction: transfer.signed(),
                        inspected: transfer.inspected(),
                    },
                );
                if let Some(owner) = self.owners.get_mut(number) {
                    owner.to_hand_over = Some(transfer);
                }
            }
            return;
        }
        for transfer in parts {
            let soon = self.chance.millis(0, 4_000);
            self.at(soon, Event::Execute(transfer.signed()));
        }
        self.owner_looks_again(number, Duration::from_secs(1));
    }

    /// Sends a wrong voucher, if it is time for one.
    fn writes_wrong(&mut self, number: usize) -> bool {
        let now = self.now;
        let Some(owner) = self.owners.get_mut(number) else {
            return false;
        };
        let Some((after, nature)) = owner.mischief.last().copied() else {
            return false;
        };
        let at = *owner
            .mischief_at
            .get_or_insert(now.plus(Duration::from_millis(after)));
        if now < at {
            return false;
        }
        owner.mischief.pop();
        owner.mischief_at = None;
        let amount = owner.promised().saturating_add(1);
        let Some(posted) = owner.writes(nature, amount, &payee()) else {
            return false;
        };
        self.posts(number, posted);
        true
    }

    /// Sends the next voucher for what it pays as it goes, if it is time for one.
    fn pays_on(&mut self, number: usize) -> bool {
        let now = self.now;
        let Some(owner) = self.owners.get_mut(number) else {
            return false;
        };
        let Some(running) = &mut owner.running else {
            return false;
        };
        if running.stops_at.is_some_and(|at| at <= now) {
            owner.running = None;
            return false;
        }
        if now < running.next_at {
            return false;
        }
        running.next_at = now.plus(VOUCHER_EVERY);
        let ms = u64::try_from(VOUCHER_EVERY.as_millis()).unwrap_or(u64::MAX);
        let more = running.price.saturating_mul(ms) / running.duration_ms.max(1) + 1;
        let deposited = owner.view.as_ref().map_or(0, |view| view.deposited.0);
        let amount = owner.promised().saturating_add(more).min(deposited);
        let Some(posted) = owner.writes(Nature::Next, amount, &payee()) else {
            return false;
        };
        self.posts(number, posted);
        true
    }

    /// Sends a voucher. What is wrong with it by itself is found before it reaches the core.
    fn posts(&mut self, number: usize, posted: Posted) {
        if is_the_owners_word(posted.nature) {
            let (account, word) = (posted.account.0, (posted.sequence, posted.amount.0));
            self.observer.signed(account, word.0, word.1);
        }
        self.tell(|| {
            let (nature, amount) = (posted.nature, posted.amount);
            format!(
                "owner {number}: {nature:?} voucher {}: {amount}",
                posted.sequence
            )
        });
        let voucher: Result<Voucher, _> = posted.text.parse();
        match voucher.and_then(|voucher| check(voucher, &payee())) {
            Ok(checked) => {
                let id = self.owner_asks(number, Request::Vouchers(vec![checked]));
                if let Some(owner) = self.owners.get_mut(number) {
                    owner.sent.insert(id, posted);
                }
            }
            Err(error) => {
                let answer = (posted, Err(Problem::from(&error)));
                self.vouchers_answered(&[answer]);
                self.owner_looks_again(number, Duration::from_millis(500));
            }
        }
    }

    fn vouchers_answered(
        &mut self,
        answers: &[(
            Posted,
            Result<payflow_controller::core::accounts::document::Counted, Problem>,
        )],
    ) {
        let sight = Sight {
            fabric: &self.fabric,
            ledger: &self.ledger,
            disk: &self.disk,
        };
        self.observer.vouchers_answered(answers, &sight, self.now);
    }

    /// Whether this was an answer to an owner.
    pub(super) fn replied_to_owner(
        &mut self,
        id: RequestId,
        reply: &Result<Answer, Problem>,
    ) -> bool {
        let alive = self.life.as_mut();
        let Some(number) = alive.and_then(|alive| alive.asked_by_owners.remove(&id)) else {
            return false;
        };
        let posted = self
            .owners
            .get_mut(number)
            .and_then(|it| it.sent.remove(&id.0));
        match (reply, posted) {
            (Ok(Answer::Vouchers(answers)), Some(posted)) => {
                let answers: Vec<_> = [posted].into_iter().zip(answers.iter().cloned()).collect();
                self.vouchers_answered(&answers);
            }
            (Ok(Answer::Account(view)), _) => {
                let sight = Sight {
                    fabric: &self.fabric,
                    ledger: &self.ledger,
                    disk: &self.disk,
                };
                self.observer.shown(view, &sight, self.now);
                if let Some(owner) = self.owners.get_mut(number) {
                    owner.shown((**view).clone());
                    owner.opened_at.get_or_insert(self.now);
                }
            }
            (Ok(other), _) => {
                let what = format!("owner {number} was answered {other:?}");
                self.observer.violations.push(what);
            }
            (Err(problem), _) => {
                self.tell(|| format!("owner {number}: refused, {}", problem.detail));
                if problem.kind == ProblemKind::Internal {
                    let what = format!("owner {number}: internal error: {}", problem.detail);
                    self.observer.violations.push(what);
                }
            }
        }
        self.owner_goes_on(number, id);
        true
    }

    fn owner_goes_on(&mut self, number: usize, id: RequestId) {
        let Some(owner) = self.owners.get_mut(number) else {
            return;
        };
        if owner.waiting != Some(id.0) {
            return;
        }
        owner.waiting = None;
        let Some(view) = &owner.view else {
            let pause = self.chance.millis(1_000, 4_000);
            self.owner_looks_again(number, pause);
            return;
        };
        let settled = view
            .settlement
            .as_ref()
            .is_some_and(|it| it.checkpoint.is_some());
        let empty = view.deposited.is_zero();
        let mut pause = Duration::from_secs(1);
        match (owner.step, view.status) {
            (OwnerStep::Open, Phase::Open) => {
                owner.step = OwnerStep::Fill;
                pause = Duration::from_millis(owner.fills_after_ms);
            }
            // Some do not remember that they have asked.
            (OwnerStep::Close, phase)
                if phase != Phase::Open && !std::mem::take(&mut owner.closes_twice) =>
            {
                owner.step = OwnerStep::Wait;
            }
            (OwnerStep::Wait, Phase::Closed) if settled || empty => {
                owner.step = OwnerStep::Done;
                if std::mem::take(&mut owner.deposits_late) {
                    let (to, amount) = (view.account.document.pay_to.clone(), owner.amount);
                    let wallet = owner.wallet();
                    let late = self.transfer_to(&wallet, &Asset::iota(), &to, Amount(amount));
                    self.at(pause, Event::Execute(late.signed()));
                }
                return;
            }
            _ => {}
        }
        self.owner_looks_again(number, pause);
    }

    /// Pays a quote out of an account, whole or as it goes.
    pub(super) fn pay_from_account(&mut self, buyer: &Buyer, prepaid: Prepaid) {
        let (Some(quote), Some(reservation)) = (&buyer.quote, buyer.reservation()) else {
            return;
        };
        if self.now.millis() > quote.payment.expires_at.0 {
            self.step_of(buyer.number, Step::Watch);
            self.look_again(buyer.number, Duration::from_secs(2));
            return;
        }
        let numbers = [buyer.number].into_iter().chain(buyer.members.clone());
        let quotes = numbers.filter_map(|it| self.buyers.get(it)?.quote.as_ref());
        let price: u64 = quotes.map(|it| it.payment.price.0).sum();
        let least = if prepaid.as_it_goes {
            // Dearer hours may come first: twice the flat share of the grace.
            let grace = u128::from(quote.payment.grace_ms) * 2 * u128::from(price);
            let share = grace / u128::from(quote.duration_ms.max(1)) + 1;
            u64::try_from(share).unwrap_or(u64::MAX).min(price)
        } else {
            price
        };
        let reckless = self.chance.happens(100);
        let voucher = match &buyer.voucher {
            Some(voucher) => voucher.clone(),
            None => {
                let Some(owner) = self.owners.get_mut(prepaid.owner) else {
                    return;
                };
                let view = owner.view.as_ref();
                let free = view.map_or(0, |view| view.free.0);
                let taken = view.map_or(0, |view| view.spent.0 + view.held.0);
                let account = owner.account();
                let enough = free >= least || reckless;
                let amount = taken.saturating_add(least).max(owner.promised());
                let (Some(account), true) = (account, enough) else {
                    self.look_again(buyer.number, Duration::from_secs(1));
                    return;
                };
                let Some(voucher) = owner.signs(&payee(), amount) else {
                    return;
                };
                let promise = &voucher.promise;
                self.observer
                    .signed(account.0, promise.sequence, promise.amount.0);
                voucher
            }
        };
        if let Some(buyer) = self.buyers.get_mut(buyer.number) {
            buyer.voucher = Some(voucher.clone());
        }
        for member in &buyer.members {
            let waits = |it: &&mut Buyer| it.step == Step::Base && it.quote.is_some();
            if let Some(member) = self.buyers.get_mut(*member).filter(waits) {
                member.step = Step::Watch;
                let number = member.number;
                self.look_again(number, Duration::from_secs(2));
            }
        }
        let checked = match check(voucher, &payee()) {
            Ok(checked) => checked,
            Err(error) => {
                let what = format!("buyer {}: its own voucher: {error}", buyer.number);
                self.observer.violations.push(what);
                return;
            }
        };
        let request = Request::Reserve {
            quote: reservation,
            payment: Some(PaymentProof::Voucher {
                voucher: Box::new(checked),
                pay_as_you_go: prepaid.as_it_goes,
            }),
        };
        self.ask(buyer.number, buyer.caller(), request);
    }

    fn step_of(&mut self, number: usize, step: Step) {
        if let Some(buyer) = self.buyers.get_mut(number) {
            buyer.step = step;
        }
    }

    /// A voucher has bought what a buyer wanted.
    pub(super) fn bought_from_account(&mut self, number: usize) {
        let Some(buyer) = self.buyers.get(number) else {
            return;
        };
        let (Some(prepaid), Some(voucher), Some(quote)) =
            (buyer.prepaid, &buyer.voucher, &buyer.quote)
        else {
            return;
        };
        let promise = &voucher.promise;
        self.observer
            .voucher_buys(promise.account.0, (promise.sequence, promise.amount.0));
        let (price, duration_ms) = (quote.payment.price.0, quote.duration_ms);
        let now = self.now;
        let Some(owner) = self.owners.get_mut(prepaid.owner) else {
            return;
        };
        if prepaid.as_it_goes && owner.running.as_ref().is_none_or(|it| it.buyer != number) {
            let stops = owner.chance.happens(400);
            let after = owner.chance.millis(1_000, 30_000);
            owner.running = Some(Running {
                buyer: number,
                price,
                duration_ms,
                next_at: now,
                stops_at: stops.then(|| now.plus(after)),
            });
        }
    }

    /// A buyer is told how what it has bought stands.
    pub(super) fn explained(&mut self, number: usize, view: &ReservationView) {
        let reservation = self.buyers.get(number).and_then(Buyer::reservation);
        if let Some(reservation) = reservation {
            self.observer.explained(reservation.0, view, self.now);
        }
    }

    /// A voucher has bought nothing: another one may. Whether it is tried again.
    pub(super) fn voucher_was_refused(&mut self, number: usize, problem: &Problem) -> bool {
        let again = matches!(
            problem.kind,
            ProblemKind::Voucher(_) | ProblemKind::PaymentAlreadyUsed
        );
        let Some(buyer) = self.buyers.get_mut(number) else {
            return false;
        };
        if !again || buyer.prepaid.is_none() || buyer.step != Step::Pay {
            return false;
        }
        buyer.voucher = None;
        self.look_again(number, Duration::from_secs(1));
        true
    }
}

/// Whether the owner of the account has signed it, for this operator and chain, as it is sent.
fn is_the_owners_word(nature: Nature) -> bool {
    matches!(
        nature,
        Nature::Next
            | Nature::Repeated
            | Nature::Backwards
            | Nature::OutOfOrder
            | Nature::Forked
            | Nature::TooMuch
    )
}
