#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::{
    SigningKey,
    voucher::{AccountNumber, Payee, Promise, check},
};

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32])
}

fn payee() -> Payee {
    Payee {
        chain_id: "chain".into(),
        operator: key(200).public_key(),
    }
}

fn voucher_of(signer: u8, sequence: u64, amount: u64) -> Checked {
    let promise = Promise {
        payee: payee(),
        account: AccountNumber(1),
        sequence,
        amount: Amount(amount),
    };
    check(promise.sign(&key(signer)).unwrap(), &payee()).unwrap()
}

fn voucher(sequence: u64, amount: u64) -> Checked {
    voucher_of(1, sequence, amount)
}

fn opened(deposit: u64) -> Account {
    let mut account = Account::new(key(1).public_key());
    account.apply(&Event::Deposited(Amount(deposit))).unwrap();
    account
}

/// What a controller does when a voucher comes by itself.
fn promise(account: &mut Account, voucher: &Checked) -> Result<(), Refusal> {
    account.may_promise(voucher)?;
    let event = Event::Promised(voucher.voucher().clone());
    account.apply(&event).unwrap();
    Ok(())
}

/// What it does when one comes with a purchase.
fn buy(account: &mut Account, voucher: &Checked, purchase: u64, price: u64) -> Result<(), Refusal> {
    let amount = Amount(price);
    account.may_buy(voucher, amount)?;
    let event = Event::Promised(voucher.voucher().clone());
    account.apply(&event).unwrap();
    account.apply(&Event::Held { purchase, amount }).unwrap();
    Ok(())
}

fn code<T>(result: Result<T, Refusal>) -> &'static str {
    result.err().map_or("", |it| it.code())
}

#[test]
fn an_account_is_spent_by_rising_vouchers_and_the_rest_comes_back() {
    let mut account = opened(1_000);
    buy(&mut account, &voucher(1, 300), 7, 300).unwrap();
    assert_eq!((account.held().0, account.free().0), (300, 700));
    let charge = Event::Charged {
        purchase: 7,
        amount: Amount(120),
    };
    account.apply(&charge).unwrap();
    assert!(
        account.apply(&charge).is_err(),
        "a purchase is charged once"
    );
    assert_eq!(
        (account.spent().0, account.free().0, account.covered().0),
        (120, 880, 180)
    );
    // What came back is covered by what was promised: the next voucher is the next, and promises no more.
    buy(&mut account, &voucher(2, 300), 8, 180).unwrap();
    account.apply(&Event::Closing).unwrap();
    assert_eq!(account.closing(Amount(5)), None, "something is held");
    let charge = Event::Charged {
        purchase: 8,
        amount: Amount(0),
    };
    account.apply(&charge).unwrap();
    let closing = account.closing(Amount(5)).unwrap();
    assert_eq!((closing.returned.0, closing.fee.0), (880, 0));
    account.apply(&Event::Closed(closing)).unwrap();
    assert_eq!(account.phase(), Phase::Closed);
}

#[test]
fn every_way_in_which_a_voucher_does_not_count_has_its_own_code() {
    let mut account = opened(1_000);
    promise(&mut account, &voucher(5, 500)).unwrap();
    let before = account.clone();
    let mut said = |it: Checked| code(promise(&mut account, &it));
    let codes = [
        said(voucher(5, 500)),
        said(voucher(4, 400)),
        said(voucher(4, 600)),
        said(voucher(6, 499)),
        said(voucher(5, 501)),
        said(voucher(6, 1_001)),
        said(voucher_of(2, 6, 600)),
        said(voucher(0, 600)),
    ];
    assert_eq!(
        codes,
        [
            "voucher-replayed",
            "voucher-superseded",
            "voucher-superseded",
            "voucher-decreasing",
            "voucher-forked",
            "voucher-exceeds-deposit",
            "voucher-wrong-signer",
            "voucher-superseded",
        ]
    );
    assert_eq!(account, before, "and nothing of it left a trace");
    assert_eq!(
        code(buy(&mut account, &voucher(6, 500), 1, 501)),
        "voucher-too-small"
    );
    assert_eq!(
        code(buy(&mut account, &voucher(6, 5_000), 1, 1_001)),
        "balance-too-small"
    );
    account.apply(&Event::Closing).unwrap();
    assert_eq!(
        code(promise(&mut account, &voucher(6, 600))),
        "account-not-open"
    );
}

#[test]
fn a_fork_is_evidence_and_the_first_word_counts() {
    let mut account = opened(1_000);
    promise(&mut account, &voucher(1, 100)).unwrap();
    for amount in 200..300 {
        let Err(Refusal::Forked(fork)) = account.may_promise(&voucher(1, amount)) else {
            panic!("voucher 1 was for 100");
        };
        if account.keeps(&fork) {
            account.apply(&Event::Forked(*fork)).unwrap();
        }
    }
    assert_eq!(account.promised(), Amount(100));
    assert_eq!(account.forks().len(), MOST_FORKS, "the journal has an end");
    let fork = &account.forks()[0];
    assert_eq!(fork.first.promise.sequence, fork.second.promise.sequence);
    for it in [&fork.first, &fork.second] {
        assert!(check(it.clone(), &payee()).is_ok(), "anybody can check it");
    }
    promise(&mut account, &voucher(2, 150)).unwrap();
}

#[test]
fn an_account_that_has_spent_nothing_pays_for_the_gas_of_its_end() {
    for (deposit, returned, fee) in [(1_000, 980, 20), (20, 0, 20), (7, 0, 7), (0, 0, 0)] {
        let mut account = opened(deposit);
        account.apply(&Event::Closing).unwrap();
        let closing = account.closing(Amount(20)).unwrap();
        assert_eq!((closing.returned.0, closing.fee.0), (returned, fee));
        account.apply(&Event::Closed(closing)).unwrap();
    }
}

#[test]
fn deposits_end_where_signed_numbers_end() {
    let account = opened(Account::MOST.0 - 5);
    assert!(account.may_deposit(Amount(5)).is_ok());
    assert_eq!(code(account.may_deposit(Amount(6))), "account-full");
    assert_eq!(code(account.may_deposit(Amount(u64::MAX))), "account-full");
}

#[derive(Clone, Debug)]
enum Step {
    Deposit(u64),
    Voucher {
        signer: u8,
        sequence: u64,
        amount: u64,
    },
    /// One that was shown before, by its place.
    Again(prop::sample::Index),
    Buy {
        sequence: u64,
        amount: u64,
        price: u64,
    },
    Settle {
        which: prop::sample::Index,
        part: u64,
    },
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0u64..400).prop_map(Step::Deposit),
        4 => (1u8..3, 0u64..12, 0u64..900)
            .prop_map(|(signer, sequence, amount)| Step::Voucher { signer, sequence, amount }),
        2 => any::<prop::sample::Index>().prop_map(Step::Again),
        6 => (0u64..12, 0u64..900, 0u64..300)
            .prop_map(|(sequence, amount, price)| Step::Buy { sequence, amount, price }),
        4 => (any::<prop::sample::Index>(), 0u64..=100)
            .prop_map(|(which, part)| Step::Settle { which, part }),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 0..60)
}

/// An account as its history: nothing is added up before somebody asks.
#[derive(Default)]
struct Model {
    deposits: Vec<u64>,
    /// Number and amount of those that counted.
    counted: Vec<(u64, u64)>,
    /// What is held, and what of it was charged once it was settled.
    purchases: Vec<(u64, Option<u64>)>,
    closing: bool,
}

impl Model {
    fn deposited(&self) -> u64 {
        self.deposits.iter().sum()
    }
    fn promised(&self) -> u64 {
        self.counted.iter().map(|it| it.1).max().unwrap_or(0)
    }
    fn taken(&self) -> u64 {
        let each = self.purchases.iter();
        each.map(|(held, charged)| charged.unwrap_or(*held)).sum()
    }
    fn spent(&self) -> u64 {
        self.purchases.iter().filter_map(|it| it.1).sum()
    }
    /// Whether a voucher of the owner is later than all, promises as much as all, and no more than is there.
    fn counts(&self, sequence: u64, amount: u64) -> bool {
        !self.closing
            && sequence > 0
            && self
                .counted
                .iter()
                .all(|it| sequence > it.0 && amount >= it.1)
            && amount <= self.deposited()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn an_account_is_what_its_history_says(steps in steps(), most_fee in 0u64..50) {
        let mut account = Account::new(key(1).public_key());
        let mut model = Model::default();
        let mut shown: Vec<Checked> = Vec::new();
        for step in steps {
            let before = account.clone();
            let changed = match step {
                Step::Deposit(amount) => {
                    account.apply(&Event::Deposited(Amount(amount))).unwrap();
                    model.deposits.push(amount);
                    true
                }
                Step::Voucher { signer, sequence, amount } => {
                    let it = voucher_of(signer, sequence, amount);
                    let counts = signer == 1 && model.counts(sequence, amount);
                    prop_assert_eq!(promise(&mut account, &it).is_ok(), counts);
                    if counts {
                        model.counted.push((sequence, amount));
                    }
                    shown.push(it);
                    counts
                }
                // The deposit may have grown since; otherwise nothing that was shown before counts now.
                Step::Again(_) if shown.is_empty() => false,
                Step::Again(index) => {
                    let it = index.get(&shown).clone();
                    let said = &it.voucher().promise;
                    let owner = it.voucher().signer == key(1).public_key();
                    let counts = owner && model.counts(said.sequence, said.amount.0);
                    let known = model.counted.contains(&(said.sequence, said.amount.0));
                    prop_assert!(!(counts && known), "a replay is harmless");
                    prop_assert_eq!(promise(&mut account, &it).is_ok(), counts);
                    if counts {
                        model.counted.push((said.sequence, said.amount.0));
                    }
                    counts
                }
                Step::Buy { sequence, amount, price } => {
                    let it = voucher(sequence, amount);
                    let buys = model.counts(sequence, amount) && model.taken() + price <= amount;
                    let purchase = model.purchases.len() as u64;
                    prop_assert_eq!(buy(&mut account, &it, purchase, price).is_ok(), buys);
                    if buys {
                        model.counted.push((sequence, amount));
                        model.purchases.push((price, None));
                    }
                    shown.push(it);
                    buys
                }
                Step::Settle { .. } if model.purchases.is_empty() => false,
                Step::Settle { which, part } => {
                    let which = which.index(model.purchases.len());
                    let (held, charged) = model.purchases[which];
                    let amount = held * part / 100;
                    let event = Event::Charged { purchase: which as u64, amount: Amount(amount) };
                    prop_assert_eq!(account.apply(&event).is_ok(), charged.is_none());
                    if charged.is_none() {
                        model.purchases[which].1 = Some(amount);
                    }
                    charged.is_none()
                }
                Step::Close => {
                    prop_assert_eq!(account.apply(&Event::Closing).is_ok(), !model.closing);
                    !std::mem::replace(&mut model.closing, true)
                }
            };
            prop_assert!(changed || account == before, "what is refused leaves no trace");
            prop_assert_eq!(account.deposited().0, model.deposited());
            prop_assert_eq!(account.promised().0, model.promised());
            prop_assert_eq!(account.spent().0, model.spent());
            prop_assert_eq!(account.spent().0 + account.held().0, model.taken());
            prop_assert!(model.taken() <= model.promised(), "never more than was promised");
            prop_assert!(model.promised() <= model.deposited(), "never more than is there");
            prop_assert_eq!(account.spent().0 + account.held().0 + account.free().0, model.deposited());
        }
        if !model.closing {
            account.apply(&Event::Closing).unwrap();
        }
        for (purchase, (held, charged)) in model.purchases.iter_mut().enumerate() {
            if charged.is_none() {
                prop_assert_eq!(account.closing(Amount(most_fee)), None);
                let event = Event::Charged { purchase: purchase as u64, amount: Amount(*held) };
                account.apply(&event).unwrap();
                *charged = Some(*held);
            }
        }
        let closing = account.closing(Amount(most_fee)).unwrap();
        account.apply(&Event::Closed(closing)).unwrap();
        prop_assert_eq!(model.deposited(), model.spent() + closing.fee.0 + closing.returned.0);
        prop_assert!(closing.fee.0 <= most_fee);
        prop_assert!(account.apply(&Event::Deposited(Amount(1))).is_err());
    }
}
