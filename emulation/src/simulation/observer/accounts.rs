//! Prepaid accounts: nothing is spent beyond what was deposited or beyond the owner's signed word, contradictions are kept, and what
//! is left comes back once.
//!
//! What was deposited and returned is seen on the ledger, and what was signed by the owner is told by the owner. What was done with
//! it is read in the text of the journal, and is added up here anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use payflow_controller::core::accounts::document::{AccountView, Counted};
use payflow_controller::core::accounts::problem::VoucherProblem;
use payflow_controller::core::document::{ReservationView, Status};
use payflow_controller::core::problem::{Problem, ProblemKind};
use payflow_payment::account::Phase;
use payflow_payment::voucher::Voucher;
use payflow_payment::{Address, TxDigest};
use payflow_qos::Time;
use serde_json::Value;

use super::{Observer, Sight};
use crate::simulation::disk::{Disk, kind};
use crate::simulation::ledger::MemoryLedger;
use crate::simulation::owner::{Nature, Posted};
use crate::simulation::taken::Taken;

/// So many contradictions of one account are kept at least: one proves what there is to prove.
const FORKS_KEPT: usize = 4;

/// Every account, as far as the journal was read.
#[derive(Default)]
pub(super) struct Accounts {
    all: BTreeMap<u64, Account>,
    by_address: BTreeMap<Address, u64>,
    by_refund: BTreeMap<Address, u64>,
    /// By reservation.
    purchases: BTreeMap<u64, Purchase>,
    /// What has ended.
    ended: BTreeSet<u64>,
    records_read: usize,
    /// What was wrong in the text.
    wrong: Vec<String>,
}

#[derive(Default)]
struct Account {
    closing_fee: u64,
    mispayment_fee: u64,
    /// Transactions on the ledger that have paid to it.
    deposits: Vec<(TxDigest, u64)>,
    /// What the ledger has brought back.
    returned: u64,
    /// What its owner has signed: numbers and amounts.
    words: BTreeSet<(u64, u64)>,
    /// The last that was said to count.
    counted: (u64, u64),
    told_closing: bool,
    /// From here on by the text: what was deposited in time, and the highest voucher.
    deposited: u64,
    highest: (u64, u64),
    held: BTreeMap<u64, u64>,
    spent: u64,
    metered: Option<u64>,
    closing: bool,
    closed: bool,
    /// Deposits that came too late.
    late: u64,
    /// Both sides of every contradiction.
    forks: Vec<(String, String)>,
}

impl Account {
    fn held(&self) -> u64 {
        self.held.values().sum()
    }
}

/// What was bought with a voucher.
#[derive(Clone, Debug)]
pub(super) struct Purchase {
    /// From which account.
    pub(super) account: u64,
    /// What was set aside for it.
    pub(super) set_aside: u64,
    /// It is paid as it goes.
    pub(super) metered: bool,
    /// What it has cost, once that is settled.
    pub(super) charged: Option<u64>,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

impl Accounts {
    /// Reads what has become durable since the last time.
    pub(super) fn read(&mut self, disk: &Disk, taken: &Taken, ledger: &MemoryLedger) {
        for record in disk.texts(self.records_read) {
            self.records_read += 1;
            if matches!(
                kind(record),
                "account_opened"
                    | "deposited"
                    | "deposit_returned"
                    | "vouchers"
                    | "voucher_forked"
                    | "bought_from_account"
                    | "settled_to_account"
                    | "account_closing"
                    | "account_closed"
                    | "ended"
                    | "activated"
            ) {
                let value: Value = serde_json::from_str(record).unwrap_or_default();
                self.read_one(kind(record), &value, taken, ledger);
            }
        }
    }

    fn read_one(&mut self, kind: &str, record: &Value, taken: &Taken, ledger: &MemoryLedger) {
        let about = number(&record["account"]);
        match kind {
            "account_opened" => {
                let document = &record["document"]["document"];
                let [pay_to, refund_to] = ["pay_to", "refund_to"].map(|it| text(&document[it]));
                self.by_address.insert(pay_to.into(), about);
                self.by_refund.insert(refund_to.into(), about);
                let account = Account {
                    closing_fee: number(&document["closing_fee"]),
                    mispayment_fee: number(&document["mispayment_fee"]),
                    ..Account::default()
                };
                if self.all.insert(about, account).is_some() {
                    self.wrong.push(format!("a{about} is opened twice"));
                }
            }
            "deposited" | "deposit_returned" => {
                let digest = TxDigest::from(text(&record["key"]["digest"]));
                let amount = number(&record["amount"]);
                let Some(account) = self.all.get_mut(&about) else {
                    return;
                };
                let seen = account.deposits.contains(&(digest.clone(), amount));
                let is_final = ledger
                    .evidence(&digest)
                    .is_some_and(|it| it.succeeded && it.checkpoint.is_some());
                if !(seen && is_final) {
                    let what = format!("a{about}: {amount} by {digest} are in no checkpoint");
                    self.wrong.push(what);
                }
                if kind == "deposited" {
                    account.deposited += amount;
                } else {
                    account.late += 1;
                }
            }
            "vouchers" => {
                for voucher in record["vouchers"].as_array().into_iter().flatten() {
                    if let Some(account) = self.promised(text(voucher)) {
                        self.set_aside(account, taken);
                    }
                }
            }
            "voucher_forked" => {
                let fork = &record["fork"];
                let both = (text(&fork["first"]).into(), text(&fork["second"]).into());
                if let Some(account) = self.all.get_mut(&about) {
                    account.forks.push(both);
                }
            }
            "bought_from_account" => {
                let Some(account) = self.promised(text(&record["voucher"])) else {
                    return;
                };
                let metered = record["metered"] == true;
                let members = record["members"].as_array().into_iter().flatten();
                let members = members.map(|it| (number(&it["number"]), number(&it["amount"])));
                let members: Vec<_> = members.collect();
                for (reservation, amount) in &members {
                    self.hold(account, *reservation, *amount);
                    let purchase = Purchase {
                        account,
                        set_aside: *amount,
                        metered,
                        charged: None,
                    };
                    if self.purchases.insert(*reservation, purchase).is_some() {
                        self.wrong.push(format!("r{reservation} is bought twice"));
                    }
                }
                if let (true, Some(account)) = (metered, self.all.get_mut(&account)) {
                    account.metered = members.first().map(|(reservation, _)| *reservation);
                }
                self.check(account);
            }
            "ended" => self.ends(number(&record["number"])),
            "activated" => {
                if let Some(replaced) = taken.whose_place(number(&record["number"])) {
                    self.ends(replaced);
                }
            }
            "settled_to_account" => {
                let reservation = number(&record["number"]);
                let receipt = &record["receipt"]["document"];
                let parts = ["earned", "fee", "refunded"].map(|it| number(&receipt[it]));
                self.settled(reservation, parts);
            }
            "account_closing" => {
                if let Some(account) = self.all.get_mut(&about) {
                    account.closing = true;
                }
            }
            "account_closed" => {
                let statement = &record["statement"]["document"];
                let says = ["deposited", "spent", "fee", "returned"];
                let says = says.map(|it| number(&statement[it]));
                self.closed(about, says);
            }
            _ => {}
        }
    }

    /// The owner's word is now this. Which account it is of.
    fn promised(&mut self, voucher: &str) -> Option<u64> {
        let voucher: Result<Voucher, _> = voucher.parse();
        let Ok(Voucher { promise, .. }) = voucher else {
            self.wrong.push("what is written down is no voucher".into());
            return None;
        };
        let of = promise.account.0;
        let account = self.all.get_mut(&of)?;
        let word = (promise.sequence, promise.amount.0);
        let mut wrong = Vec::new();
        if !account.words.contains(&word) {
            wrong.push(format!("a{of}: nobody has signed {word:?}"));
        }
        if word.0 <= account.highest.0 || word.1 < account.highest.1 {
            wrong.push(format!("a{of}: {word:?} follows {:?}", account.highest));
        }
        if account.closing {
            wrong.push(format!("a{of}: {word:?} counts while it is being closed"));
        }
        account.highest = word;
        self.wrong.extend(wrong);
        self.check(of);
        Some(of)
    }

    /// What is promised and not taken is for what is paid as it goes, until its price is there.
    fn set_aside(&mut self, of: u64, taken: &Taken) {
        let Some(account) = self.all.get(&of) else {
            return;
        };
        let covered = account
            .highest
            .1
            .saturating_sub(account.spent + account.held());
        let Some(reservation) = account.metered.filter(|it| !self.ended.contains(it)) else {
            return;
        };
        let Some(purchase) = self.purchases.get_mut(&reservation) else {
            return;
        };
        let open = taken.price(reservation).saturating_sub(purchase.set_aside);
        let more = covered.min(open);
        purchase.set_aside += more;
        self.hold(of, reservation, more);
        self.check(of);
    }

    fn hold(&mut self, of: u64, reservation: u64, amount: u64) {
        if let Some(account) = self.all.get_mut(&of) {
            *account.held.entry(reservation).or_default() += amount;
        }
    }

    fn ends(&mut self, reservation: u64) {
        self.ended.insert(reservation);
    }

    fn settled(&mut self, reservation: u64, [earned, fee, refunded]: [u64; 3]) {
        let Some(purchase) = self.purchases.get_mut(&reservation) else {
            let what = format!("r{reservation} is settled to an account that has not paid it");
            self.wrong.push(what);
            return;
        };
        let charged = earned + fee;
        if charged + refunded != purchase.set_aside || purchase.charged.is_some() {
            self.wrong.push(format!(
                "r{reservation}: {earned} and {fee} are kept and {refunded} given back of {}",
                purchase.set_aside
            ));
        }
        purchase.charged = Some(charged);
        let of = purchase.account;
        if let Some(account) = self.all.get_mut(&of) {
            account.held.remove(&reservation);
            account.spent += charged;
        }
        self.check(of);
    }

    fn closed(&mut self, of: u64, [deposited, spent, fee, returned]: [u64; 4]) {
        let Some(account) = self.all.get_mut(&of) else {
            return;
        };
        let most_fee = account.closing_fee.saturating_sub(account.spent);
        let right = !account.closed
            && account.held.is_empty()
            && (deposited, spent) == (account.deposited, account.spent)
            && spent + fee + returned == deposited
            && fee <= most_fee;
        if !right {
            self.wrong.push(format!(
                "a{of} is closed with {deposited} deposited, {spent} spent, {fee} kept and {returned} returned, and {} were \
                 deposited, {} are spent and {} held",
                account.deposited,
                account.spent,
                account.held()
            ));
        }
        account.closed = true;
    }

    /// Never beyond the deposits, and never beyond the owner's word.
    fn check(&mut self, of: u64) {
        let Some(account) = self.all.get(&of) else {
            return;
        };
        let taken = account.spent + account.held();
        let promised = account.highest.1;
        if taken > promised || promised > account.deposited {
            self.wrong.push(format!(
                "a{of}: {taken} are taken, {promised} promised, and {} deposited",
                account.deposited
            ));
        }
    }

    /// What was bought with a voucher, if it was.
    pub(super) fn purchase(&self, reservation: u64) -> Option<&Purchase> {
        self.purchases.get(&reservation)
    }

    /// Whether something is set aside for what is not settled, or an account is being closed.
    pub(super) fn are_at_rest(&self) -> bool {
        let rests = |it: &Account| it.held.is_empty() && (it.closed || !it.closing);
        self.all.values().all(rests)
    }

    pub(super) fn is_ours(&self, address: &Address) -> bool {
        self.by_address.contains_key(address) || self.by_refund.contains_key(address)
    }

    /// A transaction pays to an account: whether it does.
    pub(super) fn arrived(&mut self, to: &Address, digest: &TxDigest, amount: u64) -> bool {
        let number = self.by_address.get(to);
        let Some(account) = number.and_then(|it| self.all.get_mut(it)) else {
            return false;
        };
        account.deposits.push((digest.clone(), amount));
        true
    }

    /// The operator pays to an owner: what is wrong about it, if it does.
    pub(super) fn returned(&mut self, to: &Address, amount: u64) -> Option<Result<(), String>> {
        let of = self.by_refund.get(to)?;
        let account = self.all.get_mut(of)?;
        account.returned += amount;
        let came: u64 = account.deposits.iter().map(|(_, amount)| amount).sum();
        if account.returned > came {
            return Some(Err(format!(
                "a{of}: {} returned of {came} deposited",
                account.returned
            )));
        }
        Some(Ok(()))
    }

    /// All that was ever deposited, all that came back, and what lies in accounts that are open.
    pub(super) fn sums(&self) -> (u64, u64, u64) {
        let mut sums = (0, 0, 0);
        for account in self.all.values() {
            let came: u64 = account.deposits.iter().map(|(_, amount)| amount).sum();
            sums.0 += came;
            sums.1 += account.returned;
            if !account.closed {
                sums.2 += came - account.spent.min(came);
            }
        }
        sums
    }

    /// What is not as it must be when all is over.
    fn in_the_end(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (of, account) in &self.all {
            let came: u64 = account.deposits.iter().map(|(_, amount)| amount).sum();
            if !account.held.is_empty() {
                wrong.push(format!("a{of}: {:?} are still held", account.held));
            }
            if (account.closing || account.told_closing) && !account.closed {
                wrong.push(format!("a{of} is never closed"));
            }
            let kept = came.saturating_sub(account.returned);
            let fee = account.closing_fee.saturating_sub(account.spent);
            let most = account.spent + fee + account.late * account.mispayment_fee;
            if account.closed && !(account.spent..=most).contains(&kept) {
                wrong.push(format!(
                    "a{of}: {came} deposited, {} returned, and {} are spent",
                    account.returned, account.spent
                ));
            }
            if !account.closed && account.returned > 0 {
                wrong.push(format!("a{of} is open, and {} came back", account.returned));
            }
        }
        wrong
    }
}

impl Observer {
    /// Whether nothing follows of itself for any account.
    pub fn accounts_are_at_rest(&self) -> bool {
        self.accounts.are_at_rest()
    }

    /// Reads on in the journal.
    pub fn read(&mut self, sight: &Sight<'_>, now: Time) {
        self.taken.read(sight.disk);
        self.accounts.read(sight.disk, &self.taken, sight.ledger);
        for what in std::mem::take(&mut self.accounts.wrong) {
            self.wrong(now, what);
        }
    }

    /// The owner of an account has signed this.
    pub fn signed(&mut self, of: u64, sequence: u64, amount: u64) {
        if let Some(account) = self.accounts.all.get_mut(&of) {
            account.words.insert((sequence, amount));
        }
    }

    /// An owner is shown its account. Whether it was ever shown before.
    pub fn shown(&mut self, view: &AccountView, sight: &Sight<'_>, now: Time) {
        self.read(sight, now);
        let document = &view.account.document;
        let Some(of) = self.accounts.by_address.get(&document.pay_to).copied() else {
            let what = format!("{} is shown and not written down", document.id);
            self.wrong(now, what);
            return;
        };
        let Some(account) = self.accounts.all.get_mut(&of) else {
            return;
        };
        account.told_closing |= view.status != Phase::Open;
        let parts = view.spent.0 + view.held.0 + view.free.0;
        let whole = match &view.statement {
            None => parts == view.deposited.0,
            Some(it) => {
                let it = &it.document;
                it.spent.0 + it.fee.0 + it.returned.0 == view.deposited.0
            }
        };
        let taken = view.spent.0 + view.held.0;
        let word = (view.sequence, view.promised.0);
        let is_word = word == (0, 0) || account.words.contains(&word);
        let came: u64 = account.deposits.iter().map(|(_, amount)| amount).sum();
        let right = whole && taken <= word.1 && word.1 <= view.deposited.0;
        if !right || !is_word || view.deposited.0 > came {
            let what = format!("a{of} is shown as {view:?}, and {came} came");
            self.wrong(now, what);
        }
        self.tally.accounts_closed += u64::from(
            view.settlement
                .as_ref()
                .is_some_and(|it| it.checkpoint.is_some()),
        );
    }

    /// Vouchers were answered.
    pub fn vouchers_answered(
        &mut self,
        answers: &[(Posted, Result<Counted, Problem>)],
        sight: &Sight<'_>,
        now: Time,
    ) {
        self.read(sight, now);
        for (posted, answer) in answers {
            match answer {
                Ok(counted) => self.voucher_counts(posted, counted, now),
                Err(problem) => self.voucher_refused(posted, problem, now),
            }
        }
    }

    fn voucher_counts(&mut self, posted: &Posted, counted: &Counted, now: Time) {
        let of = posted.account.0;
        let word = (posted.sequence, posted.amount.0);
        self.tally.vouchers += 1;
        let Some(account) = self.accounts.all.get_mut(&of) else {
            self.wrong(
                now,
                format_args!("a{of} is not there, and its voucher counts"),
            );
            return;
        };
        let by_owner = account.words.contains(&word);
        let right = by_owner
            && (counted.sequence, counted.promised.0) == word
            && word.0 > account.counted.0
            && word.1 >= account.counted.1
            && word.1 <= account.deposited;
        // Only the highest is written down, and that before anybody is told.
        let durable = account.highest.0 >= word.0 && account.highest.1 >= word.1;
        let before = account.counted;
        account.counted = account.counted.max(word);
        if !right || !durable {
            let what = format!(
                "a{of}: a voucher of nature {:?}, {word:?}, counts as {counted:?} after {before:?}; durable: {durable}",
                posted.nature
            );
            self.wrong(now, what);
        }
    }

    fn voucher_refused(&mut self, posted: &Posted, problem: &Problem, now: Time) {
        let (of, word) = (posted.account.0, (posted.sequence, posted.amount.0));
        let ProblemKind::Voucher(kind) = problem.kind else {
            let what = format!("a{of}: {word:?} is refused with {:?}", problem.kind);
            self.wrong(now, what);
            return;
        };
        self.tally.vouchers_refused += 1;
        use VoucherProblem as It;
        let expected: &[It] = match posted.nature {
            Nature::Forged => &[It::Forged],
            // What was cut may end where it looks like something else.
            Nature::Truncated => &[It::Truncated],
            Nature::OtherOperator => &[It::OtherOperator],
            Nature::OtherChain => &[It::OtherChain],
            Nature::UnknownAccount => &[It::UnknownAccount],
            Nature::OtherSigner => &[It::WrongSigner],
            Nature::Next
            | Nature::Repeated
            | Nature::Backwards
            | Nature::OutOfOrder
            | Nature::Forked
            | Nature::TooMuch => &[
                It::Replayed,
                It::Superseded,
                It::Forked,
                It::Decreasing,
                It::ExceedsDeposit,
                It::NotOpen,
            ],
        };
        let account = self.accounts.all.get(&of);
        let mut right = expected.contains(&kind);
        if let Some(account) = account.filter(|it| it.words.contains(&word)) {
            // Whoever contradicts the last word that counts, and nothing came after it, is told so.
            let last = account.words.iter().map(|(sequence, _)| *sequence).max();
            let contradicts = account.counted.0 == word.0 && account.counted.1 != word.1;
            let closing = account.closing;
            if contradicts && last == Some(word.0) && !closing {
                right &= kind == It::Forked;
            }
            right &= match kind {
                It::Forked => contradicts || account.highest.0 >= word.0,
                It::Replayed | It::Superseded => account.highest.0 >= word.0,
                It::NotOpen => closing,
                It::ExceedsDeposit => true,
                // Another one may have come, and been forgotten with the controller that had it.
                _ => true,
            };
            if kind == It::Forked {
                let kept = account.forks.len() >= FORKS_KEPT
                    || account
                        .forks
                        .iter()
                        .any(|(_, second)| *second == posted.text);
                right &= kept;
                self.tally.forks += 1;
            }
        }
        if !right {
            let what = format!(
                "a{of}: a voucher of nature {:?}, {word:?}, is refused as {kind:?}: {}",
                posted.nature, problem.detail
            );
            self.wrong(now, what);
        }
    }

    /// A voucher has bought something, as its buyer is told.
    pub fn voucher_buys(&mut self, of: u64, word: (u64, u64)) {
        if let Some(account) = self.accounts.all.get_mut(&of) {
            account.counted = account.counted.max(word);
        }
    }

    /// Where what is paid as it goes ends before its time, for want of vouchers, its buyer is told so.
    pub fn explained(&mut self, reservation: u64, view: &ReservationView, now: Time) {
        let purchase = self.accounts.purchase(reservation);
        let Some(purchase) = purchase.filter(|it| it.metered) else {
            return;
        };
        let Some(sale) = self.sales.get_mut(&reservation) else {
            return;
        };
        let whole = purchase.set_aside >= sale.document.payment.price.0;
        // Its time may be over all the same, where some of it was credited.
        let lasts = Duration::from_millis(sale.document.duration_ms);
        let whole = whole || sale.begun.is_some_and(|at| now >= at.plus(lasts));
        if view.status != Status::Expired || whole || sale.stopped {
            return;
        }
        sale.stopped = true;
        let told = view
            .detail
            .as_ref()
            .is_some_and(|it| it.contains("voucher"));
        self.tally.stopped += 1;
        if !told {
            let what = format!(
                "r{reservation} has ended for want of vouchers, and its buyer is told {:?}",
                view.detail
            );
            self.wrong(now, what);
        }
    }

    /// For how long a reservation is paid from its beginning on, in milliseconds, where it is paid as it goes.
    pub(super) fn covered_ms(&self, reservation: u64) -> Option<u64> {
        let purchase = self
            .accounts
            .purchase(reservation)
            .filter(|it| it.metered)?;
        let document = &self.sales.get(&reservation)?.document;
        let flat = vec![(document.duration_ms.max(1), document.payment.price.0)];
        let spread: Vec<(u64, u64)> = document.charge.clone().map_or(flat, Vec::from);
        let (mut left, mut covered) = (purchase.set_aside, 0);
        for (ms, nanos) in spread {
            if left >= nanos {
                left -= nanos;
                covered += ms;
                continue;
            }
            let part = u128::from(left) * u128::from(ms) / u128::from(nanos.max(1));
            covered += u64::try_from(part).unwrap_or(u64::MAX);
            break;
        }
        Some(covered)
    }

    /// What is wrong with accounts when all is over.
    pub(super) fn finish_accounts(&mut self, now: Time) {
        for what in self.accounts.in_the_end() {
            self.wrong(now, what);
        }
        for account in self.accounts.all.values() {
            self.tally.accounts += 1;
            self.tally.deposits += u64::try_from(account.deposits.len()).unwrap_or_default();
        }
    }
}
