//! A ledger in memory: coins, transactions that spend them once, and checkpoints that come late.
//!
//! It knows nothing of quotes and reservations. What the controller is told of it, and when, is the business of
//! [`super::world`]; this file is what is true.

use std::collections::{BTreeMap, BTreeSet};

use payflow_payment::ledger::{Inspected, Outgoing, PayoutOrder, PayoutSource};
use payflow_payment::{
    Address, Amount, Asset, Credit, Evidence, SignedTransaction, TxDigest, UnixMillis,
};
use serde::{Deserialize, Serialize};

/// What a transaction of the operator may cost at most, taken from the treasury: what it costs that spends one coin, or fails.
pub const GAS: u64 = 1_000;
/// Given back for the storage of every other coin that is merged: what merges many costs less than nothing.
const REBATE: u64 = 600;

/// What executing a transaction of the operator costs: below zero where more is given back.
fn gas(transfer: &Transfer) -> i64 {
    let merged = if transfer.fails {
        0
    } else {
        transfer.inputs.len().saturating_sub(1)
    };
    let rebate = u64::try_from(merged)
        .unwrap_or(u64::MAX)
        .saturating_mul(REBATE);
    let signed = |nanos| i64::try_from(nanos).unwrap_or(i64::MAX);
    signed(GAS).saturating_sub(signed(rebate))
}

/// Names a coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CoinId(u64);

#[derive(Clone, Debug)]
struct Coin {
    owner: Address,
    asset: Asset,
    amount: Amount,
}

/// What a transaction says; its bytes are this, as JSON. Signatures are left out: whoever holds the owner's name may
/// sign for it, and nobody in a simulation signs for somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Makes the digest unique.
    pub number: u64,
    /// Who owns every input.
    pub payer: Address,
    /// Coins it spends, whole.
    pub inputs: Vec<CoinId>,
    /// Who gets what; the sum is that of the inputs.
    pub credits: Vec<Credit>,
    /// For transactions of the operator: the version of the treasury's gas coin. It executes at that version or never.
    pub gas_version: Option<u64>,
    /// Written with it.
    pub memo: Option<Vec<u8>>,
    /// It executes and has no effect but its gas.
    pub fails: bool,
}

impl Transfer {
    /// Names it.
    #[must_use]
    pub fn digest(&self) -> TxDigest {
        TxDigest::new(format!("tx{}", self.number))
    }

    /// Its bytes.
    ///
    /// # Panics
    /// Never: every field has a JSON form, and a simulation's transactions are small.
    #[must_use]
    pub fn signed(&self) -> SignedTransaction {
        let bytes = serde_json::to_vec(self).expect("plain data");
        SignedTransaction::from_bytes(bytes).expect("far below the limit")
    }

    /// What an adapter finds out about the bytes before they are submitted.
    #[must_use]
    pub fn inspected(&self) -> Inspected {
        Inspected {
            digest: self.digest(),
            payer: self.payer.clone(),
            sponsor: None,
            transfers: self.credits.clone(),
            gas_budget: Amount(GAS),
            expires_after_epoch: None,
        }
    }
}

/// Why a transaction does not execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The bytes are none of ours.
    Malformed,
    /// An input is spent, or somebody else's.
    InputSpent,
    /// The gas coin has moved on.
    GasSpent,
    /// Inputs and credits differ, or the treasury cannot pay the gas.
    Unbalanced,
}

#[derive(Clone, Debug)]
struct Executed {
    transfer: Transfer,
    checkpoint: Option<(u64, UnixMillis)>,
}

/// The ledger, as it really is.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    coins: BTreeMap<CoinId, Coin>,
    next_coin: u64,
    next_transfer: u64,
    executed: BTreeMap<TxDigest, Executed>,
    /// Executed, in no checkpoint yet, in this order.
    waiting: Vec<TxDigest>,
    checkpoints: Vec<(UnixMillis, Vec<TxDigest>)>,
    treasury: Option<Address>,
    gas_coin: u64,
    gas_version: u64,
    /// All coins ever made, by asset; nothing else makes money.
    minted: BTreeMap<Asset, i128>,
    /// Net of what was given back.
    gas_burned: i64,
    /// How often more was given back than a transaction cost.
    rebates: u64,
}

impl MemoryLedger {
    /// A ledger on which the treasury has a coin for gas.
    #[must_use]
    pub fn new(treasury: Address, gas: Amount) -> Self {
        let mut ledger = Self {
            treasury: Some(treasury),
            gas_coin: gas.0,
            ..Self::default()
        };
        *ledger.minted.entry(Asset::iota()).or_default() += i128::from(gas.0);
        ledger
    }

    /// A new coin out of nothing, as from a faucet.
    pub fn mint(&mut self, owner: &Address, asset: &Asset, amount: Amount) -> CoinId {
        *self.minted.entry(asset.clone()).or_default() += i128::from(amount.0);
        self.make(owner.clone(), asset.clone(), amount)
    }

    fn make(&mut self, owner: Address, asset: Asset, amount: Amount) -> CoinId {
        self.next_coin += 1;
        let id = CoinId(self.next_coin);
        let coin = Coin {
            owner,
            asset,
            amount,
        };
        self.coins.insert(id, coin);
        id
    }

    /// A transaction of a host, over one coin: pays `amount` of it and keeps the rest.
    pub fn pay(&mut self, payer: &Address, coin: CoinId, to: &Address, amount: Amount) -> Transfer {
        let (asset, had) = self
            .coins
            .get(&coin)
            .map_or((Asset::iota(), Amount::ZERO), |coin| {
                (coin.asset.clone(), coin.amount)
            });
        let credit = |address: &Address, amount| Credit {
            address: address.clone(),
            asset: asset.clone(),
            amount,
        };
        let mut credits = vec![credit(to, amount)];
        let rest = had.checked_sub(amount).unwrap_or_default();
        if !rest.is_zero() {
            credits.push(credit(payer, rest));
        }
        self.numbered(payer.clone(), vec![coin], credits)
    }

    /// The same to several at once.
    pub fn pay_all(
        &mut self,
        payer: &Address,
        coin: CoinId,
        lines: &[(Address, Amount)],
    ) -> Transfer {
        let (asset, had) = self
            .coins
            .get(&coin)
            .map_or((Asset::iota(), Amount::ZERO), |coin| {
                (coin.asset.clone(), coin.amount)
            });
        let sum = lines.iter().map(|(_, amount)| amount.0).sum();
        let rest = had.checked_sub(Amount(sum)).unwrap_or_default();
        let rest = (payer.clone(), rest);
        let credits = lines.iter().chain([&rest]).map(|(address, amount)| Credit {
            address: address.clone(),
            asset: asset.clone(),
            amount: *amount,
        });
        let credits = credits.filter(|it| !it.amount.is_zero()).collect();
        self.numbered(payer.clone(), vec![coin], credits)
    }

    fn numbered(&mut self, payer: Address, inputs: Vec<CoinId>, credits: Vec<Credit>) -> Transfer {
        self.next_transfer += 1;
        Transfer {
            number: self.next_transfer,
            payer,
            inputs,
            credits,
            gas_version: None,
            memo: None,
            fails: false,
        }
    }

    /// Signs an outgoing transfer as the wallet of the operator does: all coins of the source, the rest to where the order
    /// says. `None` when the source does not hold enough.
    pub fn build(
        &mut self,
        order: &PayoutOrder,
        receive: impl Fn(u64) -> Address,
    ) -> Option<Outgoing> {
        let treasury = self.treasury.clone()?;
        let source = match order.from {
            PayoutSource::Receive(index) => receive(index),
            PayoutSource::Treasury => treasury,
        };
        let iota = Asset::iota();
        let inputs: Vec<CoinId> = self
            .coins
            .iter()
            .filter(|(_, coin)| coin.owner == source && coin.asset == iota)
            .map(|(id, _)| *id)
            .collect();
        let held = Amount(self.held(&source, &iota));
        let wanted = order.payouts.iter().map(|line| line.amount.0).sum();
        let rest = held.checked_sub(Amount(wanted))?;
        let mut credits: Vec<Credit> = order
            .payouts
            .iter()
            .map(|line| Credit {
                address: line.to.clone(),
                asset: iota.clone(),
                amount: line.amount,
            })
            .collect();
        if !rest.is_zero() {
            credits.push(Credit {
                address: order.remainder_to.clone(),
                asset: iota,
                amount: rest,
            });
        }
        let gas_version = Some(self.gas_version);
        let transfer = Transfer {
            gas_version,
            memo: order.memo.clone(),
            ..self.numbered(source, inputs, credits)
        };
        Some(Outgoing {
            transaction: transfer.signed(),
            digest: transfer.digest(),
            remainder: rest,
            gas_budget: Amount(GAS),
        })
    }

    /// Executes signed bytes, once; the same bytes again change nothing.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn execute(
        &mut self,
        transaction: &SignedTransaction,
        fails: bool,
    ) -> Result<Option<Transfer>, Refusal> {
        let mut transfer: Transfer =
            serde_json::from_slice(transaction.as_bytes()).map_err(|_| Refusal::Malformed)?;
        if self.executed.contains_key(&transfer.digest()) {
            return Ok(None);
        }
        let mut sums: BTreeMap<Asset, i128> = BTreeMap::new();
        let inputs: BTreeSet<CoinId> = transfer.inputs.iter().copied().collect();
        for id in &inputs {
            let coin = self
                .coins
                .get(id)
                .filter(|coin| coin.owner == transfer.payer)
                .ok_or(Refusal::InputSpent)?;
            *sums.entry(coin.asset.clone()).or_default() += i128::from(coin.amount.0);
        }
        for credit in &transfer.credits {
            *sums.entry(credit.asset.clone()).or_default() -= i128::from(credit.amount.0);
        }
        if sums.values().any(|sum| *sum != 0) {
            return Err(Refusal::Unbalanced);
        }
        transfer.fails = fails;
        if let Some(version) = transfer.gas_version {
            if version != self.gas_version {
                return Err(Refusal::GasSpent);
            }
            // Whatever comes back in the end, the budget has to be there.
            let cost = gas(&transfer);
            let left = self.gas_coin.checked_sub(GAS).map(|_| self.gas_coin);
            let left = left.and_then(|it| it.checked_add_signed(cost.checked_neg()?));
            self.gas_coin = left.ok_or(Refusal::Unbalanced)?;
            self.gas_burned += cost;
            self.rebates += u64::from(cost < 0);
            self.gas_version += 1;
        }
        if !fails {
            for id in &inputs {
                self.coins.remove(id);
            }
            for credit in transfer.credits.clone() {
                self.make(credit.address, credit.asset, credit.amount);
            }
        }
        let digest = transfer.digest();
        self.waiting.push(digest.clone());
        let executed = Executed {
            transfer: transfer.clone(),
            checkpoint: None,
        };
        self.executed.insert(digest, executed);
        Ok(Some(transfer))
    }

    /// Whether signed bytes can never execute: something else has spent what they spend.
    pub fn is_dead(&self, transaction: &SignedTransaction) -> bool {
        let Ok(transfer) = serde_json::from_slice::<Transfer>(transaction.as_bytes()) else {
            return true;
        };
        let spent = |id: &CoinId| {
            let coin = self.coins.get(id);
            coin.is_none_or(|coin| coin.owner != transfer.payer)
        };
        let gas_spent = transfer
            .gas_version
            .is_some_and(|version| version < self.gas_version);
        !self.executed.contains_key(&transfer.digest())
            && (gas_spent || transfer.inputs.iter().any(spent))
    }

    /// Puts what waits into a checkpoint, except what `later` holds back. Its sequence number.
    pub fn checkpoint(&mut self, at: UnixMillis, mut later: impl FnMut() -> bool) -> u64 {
        let sequence = u64::try_from(self.checkpoints.len()).unwrap_or(u64::MAX);
        let (held_back, taken): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|_| later());
        self.waiting = held_back;
        for digest in &taken {
            if let Some(executed) = self.executed.get_mut(digest) {
                executed.checkpoint = Some((sequence, at));
            }
        }
        self.checkpoints.push((at, taken));
        sequence
    }

    /// The newest checkpoint; `None` before the first.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        u64::try_from(self.checkpoints.len()).ok()?.checked_sub(1)
    }

    /// A checkpoint: its time, and the payments in it to the given addresses.
    #[must_use]
    pub fn payments(
        &self,
        sequence: u64,
        to: &BTreeSet<Address>,
    ) -> Option<(UnixMillis, Vec<Evidence>)> {
        let (at, digests) = self.checkpoints.get(usize::try_from(sequence).ok()?)?;
        let payments = digests
            .iter()
            .filter_map(|digest| self.evidence(digest))
            .filter(|evidence| {
                evidence.succeeded
                    && evidence
                        .credits
                        .iter()
                        .any(|credit| to.contains(&credit.address))
            })
            .collect();
        Some((*at, payments))
    }

    /// What the ledger knows of a digest.
    #[must_use]
    pub fn evidence(&self, digest: &TxDigest) -> Option<Evidence> {
        let Executed {
            transfer,
            checkpoint,
        } = self.executed.get(digest)?;
        Some(Evidence {
            digest: digest.clone(),
            succeeded: !transfer.fails,
            checkpoint: checkpoint.map(|(sequence, _)| sequence),
            timestamp: checkpoint.map(|(_, at)| at),
            sender: Some(transfer.payer.clone()),
            // What goes back to the payer is no payment.
            credits: transfer
                .credits
                .iter()
                .filter(|credit| !transfer.fails && credit.address != transfer.payer)
                .cloned()
                .collect(),
        })
    }

    /// What a digest cost the treasury, once it is in a checkpoint; below zero where more was given back.
    #[must_use]
    pub fn gas_of(&self, digest: &TxDigest) -> Option<i64> {
        let executed = self.executed.get(digest)?;
        executed.checkpoint?;
        executed
            .transfer
            .gas_version
            .map(|_| gas(&executed.transfer))
    }

    /// What an address holds of an asset, gas coins left out.
    #[must_use]
    pub fn held(&self, address: &Address, asset: &Asset) -> u64 {
        self.coins
            .values()
            .filter(|coin| coin.owner == *address && coin.asset == *asset)
            .map(|coin| coin.amount.0)
            .sum()
    }

    /// What the treasury can pay gas with.
    #[must_use]
    pub fn gas_left(&self) -> Amount {
        Amount(self.gas_coin)
    }

    /// All gas ever burned, less what was given back.
    #[must_use]
    pub fn gas_burned(&self) -> i64 {
        self.gas_burned
    }

    /// How often more was given back than a transaction of the operator cost.
    #[must_use]
    pub fn rebates(&self) -> u64 {
        self.rebates
    }

    /// Whether every coin ever made is still there, or burned as gas; and none was made but by what was given back.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        let mut there: BTreeMap<Asset, i128> = BTreeMap::new();
        *there.entry(Asset::iota()).or_default() +=
            i128::from(self.gas_coin) + i128::from(self.gas_burned);
        for coin in self.coins.values() {
            *there.entry(coin.asset.clone()).or_default() += i128::from(coin.amount.0);
        }
        there == self.minted
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use payflow_payment::ledger::Payout;

    fn ledger() -> (MemoryLedger, Address, CoinId) {
        let mut ledger = MemoryLedger::new("treasury".into(), Amount(10_000));
        let host = Address::from("0xhost");
        let coin = ledger.mint(&host, &Asset::iota(), Amount(100));
        (ledger, host, coin)
    }

    #[test]
    fn a_coin_is_spent_once_and_the_same_bytes_execute_once() {
        let (mut ledger, host, coin) = ledger();
        let first = ledger.pay(&host, coin, &"us".into(), Amount(60));
        let second = ledger.pay(&host, coin, &"friend".into(), Amount(60));
        assert_eq!(
            ledger.execute(&first.signed(), false).unwrap(),
            Some(first.clone())
        );
        assert_eq!(ledger.execute(&first.signed(), false).unwrap(), None);
        assert_eq!(
            ledger.execute(&second.signed(), false),
            Err(Refusal::InputSpent)
        );
        assert_eq!(ledger.held(&"us".into(), &Asset::iota()), 60);
        assert_eq!(ledger.held(&host, &Asset::iota()), 40);
        assert!(ledger.is_conserved());
    }

    #[test]
    fn nothing_is_final_before_its_checkpoint_and_only_payments_are_shown() {
        let (mut ledger, host, coin) = ledger();
        let transfer = ledger.pay(&host, coin, &"us".into(), Amount(60));
        ledger.execute(&transfer.signed(), false).unwrap();
        assert_eq!(
            ledger.evidence(&transfer.digest()).unwrap().checkpoint,
            None
        );
        let first = ledger.checkpoint(UnixMillis(1), || true);
        let second = ledger.checkpoint(UnixMillis(2), || false);
        let watched = BTreeSet::from(["us".into(), host]);
        assert!(ledger.payments(first, &watched).unwrap().1.is_empty());
        let (_, payments) = ledger.payments(second, &watched).unwrap();
        let [payment] = payments.as_slice() else {
            panic!("{payments:?}")
        };
        assert_eq!(payment.checkpoint, Some(second));
        assert_eq!(payment.credits.len(), 1, "change is no payment");
    }

    #[test]
    fn an_outgoing_transfer_executes_at_its_gas_version_or_never() {
        let (mut ledger, host, coin) = ledger();
        let transfer = ledger.pay(&host, coin, &"receive-1".into(), Amount(100));
        ledger.execute(&transfer.signed(), false).unwrap();
        let order = PayoutOrder {
            from: PayoutSource::Receive(1),
            payouts: vec![Payout {
                to: host.clone(),
                amount: Amount(30),
            }],
            remainder_to: "treasury".into(),
            memo: None,
        };
        let receive = |index| Address::new(format!("receive-{index}"));
        let first = ledger.build(&order, receive).unwrap();
        let second = ledger.build(&order, receive).unwrap();
        ledger.execute(&first.transaction, true).unwrap();
        assert_eq!(ledger.held(&host, &Asset::iota()), 0, "it failed");
        assert_eq!(
            ledger.execute(&second.transaction, false),
            Err(Refusal::GasSpent)
        );
        let third = ledger.build(&order, receive).unwrap();
        ledger.execute(&third.transaction, false).unwrap();
        assert_eq!(ledger.held(&host, &Asset::iota()), 30);
        assert_eq!(ledger.held(&"treasury".into(), &Asset::iota()), 70);
        assert!(ledger.build(&order, receive).is_none(), "nothing is left");
        assert_eq!(ledger.gas_burned(), 2 * i64::try_from(GAS).unwrap());
        assert!(ledger.is_conserved());
    }

    #[test]
    fn what_merges_many_coins_gets_more_back_than_it_costs_and_nothing_back_where_it_fails() {
        let (mut ledger, host, _) = ledger();
        for _ in 0..4 {
            ledger.mint(&"receive-1".into(), &Asset::iota(), Amount(10));
        }
        let order = PayoutOrder {
            from: PayoutSource::Receive(1),
            payouts: vec![Payout {
                to: host,
                amount: Amount(40),
            }],
            remainder_to: "treasury".into(),
            memo: None,
        };
        let receive = |index| Address::new(format!("receive-{index}"));
        let cost = i64::try_from(GAS).unwrap();
        for (fails, gas) in [(true, cost), (false, cost - 3 * 600)] {
            let outgoing = ledger.build(&order, receive).unwrap();
            ledger.execute(&outgoing.transaction, fails).unwrap();
            assert_eq!(ledger.gas_of(&outgoing.digest), None, "in no checkpoint");
            ledger.checkpoint(UnixMillis(1), || false);
            assert_eq!(ledger.gas_of(&outgoing.digest), Some(gas));
        }
        assert_eq!((ledger.gas_burned(), ledger.rebates()), (200, 1));
        assert_eq!(ledger.gas_left(), Amount(10_000 - 200));
        assert!(ledger.is_conserved());
    }
}
