//! Checks the controller from outside: what it says against what the ledger and the switches have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use payflow_controller::core::document::{ReservationView, Status};
use payflow_controller::core::reply::Books;
use payflow_payment::ledger::iota::IotaLedger;
use payflow_payment::ledger::{Ledger as _, Lookup};
use payflow_payment::{Address, Amount, TxDigest};

use super::buyer::refunds_are_final;
use super::switches::{Remains, Switches};

/// What the test itself knows of the money: who was given some, and who may have moved it.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    granted: u64,
    holders: BTreeSet<Address>,
    refund_addresses: BTreeSet<Address>,
    payments: BTreeSet<TxDigest>,
}

impl Notes {
    pub(crate) fn granted(&self, to: &Address, nanos: u64) {
        let mut noted = self.0.lock();
        noted.granted += nanos;
        noted.holders.insert(to.clone());
    }

    pub(crate) fn refund_address(&self, address: &Address) {
        self.0.lock().refund_addresses.insert(address.clone());
    }

    pub(crate) fn payment(&self, digest: &TxDigest) {
        self.0.lock().payments.insert(digest.clone());
    }
}

/// What the controller says to its operator.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) reservations: Vec<ReservationView>,
    pub(crate) books: Books,
}

impl Account {
    /// Whether no money is on its way and nothing changes by itself any more, but for flows that are served.
    pub(crate) fn is_quiet(&self) -> Result<(), String> {
        let busy = self.reservations.iter().find(|view| {
            matches!(view.status, Status::Pending | Status::Installing | Status::Suspended)
                || !refunds_are_final(view)
                // Paid and over, but not settled.
                || (view.payment.as_ref().is_some_and(|payment| payment.amount.is_some())
                    && matches!(view.status, Status::Expired | Status::Cancelled | Status::Failed))
        });
        match busy {
            Some(view) => Err(format!("{view:?}")),
            None if self.books.payouts_open > 0 => Err(format!("{:?}", self.books)),
            None => Ok(()),
        }
    }
}

/// Requires everything that always holds, of an account that is quiet.
pub(crate) async fn audit(
    account: &Account,
    notes: &Notes,
    ledger: &IotaLedger,
    switches: &Switches,
) {
    account.is_quiet().unwrap();
    a_payment_bought_once(account);
    let on_ledger = OnLedger::read(account, notes, ledger).await;
    on_ledger.agrees_with(account);
    for view in &account.reservations {
        on_ledger.was_served_or_refunded(view);
    }
    let remains = switches.remains();
    nothing_else_is_on_the_switches(account, &remains);
}

fn a_payment_bought_once(account: &Account) {
    let bought: Vec<_> = account
        .reservations
        .iter()
        .filter_map(|view| view.payment.as_ref()?.amount.and(view.payment.as_ref()))
        .map(|payment| &payment.digest)
        .collect();
    let different: BTreeSet<_> = bought.iter().collect();
    assert_eq!(different.len(), bought.len(), "a payment bought twice");
}

fn nothing_else_is_on_the_switches(account: &Account, remains: &Remains) {
    let alive: BTreeSet<u64> = account
        .reservations
        .iter()
        .filter(|view| view.status == Status::Active)
        .map(|view| view.id.trim_start_matches('r').parse().unwrap())
        .collect();
    let entries: BTreeSet<u64> = remains.entries.iter().map(|(number, _)| *number).collect();
    assert_eq!(entries, alive, "entries on the switches, and active flows");
    assert_eq!(
        remains.meters, alive,
        "meters on the switches, and active flows"
    );
}

/// What the ledger says of everybody concerned.
struct OnLedger {
    granted: u64,
    /// Of everybody concerned, now.
    held: u64,
    /// Of the buyers' transactions.
    buyers_gas: i128,
    /// Of the operator's transactions.
    operators_gas: i128,
    /// To receive addresses, in buyers' transactions that are final.
    paid_in: BTreeMap<Address, u64>,
    refunded: BTreeMap<Address, u64>,
}

impl OnLedger {
    async fn read(account: &Account, notes: &Notes, ledger: &IotaLedger) -> Self {
        let (granted, holders, refund_addresses, payments) = {
            let noted = notes.0.lock();
            (
                noted.granted,
                noted.holders.clone(),
                noted.refund_addresses.clone(),
                noted.payments.clone(),
            )
        };
        let receive: BTreeSet<_> = account
            .reservations
            .iter()
            .map(|view| view.quote.payment.pay_to.clone())
            .collect();
        assert_eq!(
            receive.len(),
            account.reservations.len(),
            "every quote has an address of its own"
        );
        let mut on_ledger = Self {
            granted,
            held: 0,
            buyers_gas: 0,
            operators_gas: 0,
            paid_in: BTreeMap::new(),
            refunded: BTreeMap::new(),
        };
        for address in holders.iter().chain(&receive) {
            on_ledger.held += balance(ledger, address).await;
        }
        for address in refund_addresses {
            let refunded = balance(ledger, &address).await;
            on_ledger.held += refunded;
            on_ledger.refunded.insert(address, refunded);
        }
        for digest in &payments {
            let Lookup::Found(evidence) = ledger.lookup(digest).await else {
                continue;
            };
            assert!(evidence.checkpoint.is_some(), "{evidence:?}");
            on_ledger.buyers_gas += gas(ledger, digest).await;
            for credit in evidence
                .credits
                .iter()
                .filter(|credit| evidence.succeeded && receive.contains(&credit.address))
            {
                *on_ledger.paid_in.entry(credit.address.clone()).or_default() += credit.amount.0;
            }
        }
        let transfers = account
            .reservations
            .iter()
            .flat_map(|view| view.settlement.iter().chain(&view.other_refunds));
        for transfer in transfers {
            on_ledger.operators_gas += gas(ledger, transfer.digest.as_ref().unwrap()).await;
        }
        on_ledger
    }

    fn agrees_with(&self, account: &Account) {
        let books = &account.books;
        let sum: u64 = [
            books.earned,
            books.fees,
            books.refunded,
            books.held,
            books.credited,
        ]
        .iter()
        .map(|amount| amount.0)
        .sum();
        assert_eq!(books.paid.0, sum, "{books:?}");
        assert_eq!(
            books.paid.0,
            self.paid_in.values().sum::<u64>(),
            "{books:?}"
        );
        assert_eq!(
            books.refunded.0,
            self.refunded.values().sum::<u64>(),
            "{books:?}"
        );
        assert_eq!(i128::from(books.gas_nanos), self.operators_gas, "{books:?}");
        assert_eq!(
            i128::from(self.granted),
            i128::from(self.held) + self.buyers_gas + self.operators_gas,
            "money is conserved, to the nano: {books:?}"
        );
    }

    fn was_served_or_refunded(&self, view: &ReservationView) {
        let terms = &view.quote.payment;
        let paid_in = self.paid_in.get(&terms.pay_to).copied().unwrap_or(0);
        let refunded = self.refunded.get(&terms.refund_to).copied().unwrap_or(0);
        let bought = view.payment.as_ref().and_then(|payment| payment.amount);
        let others: u64 = view.other_refunds.iter().map(|it| it.amount.0).sum();
        if view.status == Status::Active {
            assert!(bought.is_some_and(|bought| bought >= terms.price && bought.0 <= paid_in));
            return;
        }
        let back = view.receipt.as_ref().map_or(0, |receipt| {
            let receipt = &receipt.document;
            assert_eq!(Some(receipt.paid), bought, "{view:?}");
            let parts = [receipt.earned, receipt.fee, receipt.refunded];
            assert_eq!(
                Amount::checked_sum(parts),
                Some(receipt.paid),
                "{receipt:?}"
            );
            receipt.refunded.0
        });
        assert_eq!(
            bought.is_some(),
            view.receipt.is_some(),
            "what was bought is accounted for: {view:?}"
        );
        assert_eq!(
            refunded,
            back + others,
            "what came back is what the receipt says: {view:?}"
        );
        let useless = paid_in - bought.map_or(0, |bought| bought.0);
        if useless > terms.mispayment_fee.0 {
            assert!(others > 0 && others < useless, "{view:?}");
        }
    }
}

async fn balance(ledger: &IotaLedger, address: &Address) -> u64 {
    ledger.balance(address).await.unwrap().0
}

async fn gas(ledger: &IotaLedger, digest: &TxDigest) -> i128 {
    ledger.gas_of(digest).await.unwrap().unwrap().net()
}
