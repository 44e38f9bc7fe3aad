//! Building payouts: a receive address's coins go out, the treasury pays the gas.

use std::collections::BTreeSet;

use iota_sdk_transaction_builder::TransactionBuilderSimulationClient as _;
use iota_sdk_types::{
    Address, Argument, Command, GasPayment, Input, MergeCoins, ProgrammableTransaction,
    SignedTransaction, SplitCoins, Transaction, TransactionExpiration, TransactionKind,
    TransactionV1, TransferObjects,
};
use serde::Serialize;

use super::super::keys::Keyring;
use super::super::{BuildError, Outgoing, PayoutOrder, PayoutSource};
use super::client::{CallError, Client, SpendableCoin};
use super::neutral_address;
use crate::{Amount, TxDigest};

/// The most coins one payout spends, and the most it pays gas with (a node takes 256); the largest first. Whoever
/// sends dust to a receive address cannot stop a refund; what is left over is picked up by the next payout.
const MAX_COINS: usize = 250;

/// Added to the simulated gas, so that a payout still executes if prices move before it is submitted. What is not
/// used is not charged.
const GAS_MARGIN_PERCENT: u64 = 50;

impl From<CallError> for BuildError {
    fn from(error: CallError) -> Self {
        Self::Unknown { reason: error.0 }
    }
}

pub(super) async fn build(
    client: &Client,
    keys: &Keyring,
    order: &PayoutOrder,
) -> Result<Outgoing, BuildError> {
    let total = Amount::checked_sum(order.payouts.iter().map(|payout| payout.amount))
        .ok_or_else(|| impossible("the payouts are more than there is"))?;
    if order.payouts.iter().any(|payout| payout.amount.is_zero()) {
        return Err(impossible("a payout of nothing"));
    }
    let treasury = keys.treasury();
    let (program, sender, remainder) = match order.from {
        PayoutSource::Receive(index) => {
            let receive = keys.receive(index);
            let mut coins = client.coins(receive.address()).await?;
            coins.truncate(MAX_COINS);
            let remainder = sum(&coins)
                .and_then(|held| held.checked_sub(total))
                .ok_or_else(|| {
                    let held = sum(&coins).unwrap_or_default();
                    impossible(format!(
                        "receive address {index} holds {held}, {total} is to be paid"
                    ))
                })?;
            let program = spend_coins(order, &coins, remainder)?;
            (program, receive, remainder)
        }
        PayoutSource::Treasury => {
            let home = neutral_address(&treasury.address());
            (spend_gas(order, &home)?, treasury.clone(), Amount::ZERO)
        }
    };
    let mut gas_coins = client.coins(treasury.address()).await?;
    gas_coins.truncate(MAX_COINS);
    let gas_held = sum(&gas_coins).unwrap_or_default();
    if gas_coins.is_empty() {
        return Err(impossible(format!(
            "the treasury {} has no coin to pay gas with",
            treasury.address()
        )));
    }
    let price = client
        .call(async { Ok(client.grpc().reference_gas_price().await?.into_inner()) })
        .await?;
    let mut v1 = TransactionV1 {
        kind: TransactionKind::Programmable(program),
        sender: sender.address(),
        gas_payment: GasPayment {
            objects: gas_coins.iter().map(|coin| coin.reference).collect(),
            owner: treasury.address(),
            price,
            budget: 0,
        },
        expiration: TransactionExpiration::None,
    };
    let budget = gas_budget(client, &v1).await?;
    v1.gas_payment.budget = budget;
    let from_gas = match order.from {
        PayoutSource::Receive(_) => Amount::ZERO,
        PayoutSource::Treasury => total,
    };
    if from_gas
        .checked_add(Amount(budget))
        .is_none_or(|needed| gas_held < needed)
    {
        return Err(impossible(format!(
            "the treasury holds {gas_held}, needed are {from_gas} and {budget} for gas"
        )));
    }
    let transaction = Transaction::V1(v1);
    let mut signatures = vec![sender.sign(&transaction)];
    if sender.address() != treasury.address() {
        signatures.push(treasury.sign(&transaction));
    }
    let digest = TxDigest::new(transaction.digest().to_string());
    let bytes = encode(&SignedTransaction {
        transaction,
        signatures,
    })?;
    Ok(Outgoing {
        transaction: crate::SignedTransaction::from_bytes(bytes)
            .map_err(|error| impossible(error.to_string()))?,
        digest,
        remainder,
        gas_budget: Amount(budget),
    })
}

/// Merges all coins into the largest, splits the payouts off and sends what is left, the coin itself, to the
/// remainder. If nothing is left, the coin itself is the last payout.
fn spend_coins(
    order: &PayoutOrder,
    coins: &[SpendableCoin],
    remainder: Amount,
) -> Result<ProgrammableTransaction, BuildError> {
    let mut program = Program::default();
    let mut references = coins
        .iter()
        .map(|coin| Input::ImmutableOrOwned(coin.reference));
    let first = references
        .next()
        .ok_or_else(|| impossible("the receive address holds nothing"))?;
    let coin = program.input(first)?;
    let others: Vec<_> = references
        .map(|input| program.input(input))
        .collect::<Result<_, _>>()?;
    if !others.is_empty() {
        program.commands.push(Command::MergeCoins(MergeCoins {
            coin,
            coins_to_merge: others,
        }));
    }
    let (split, whole_to) = match order.payouts.split_last() {
        Some((last, rest)) if remainder.is_zero() => (rest, &last.to),
        _ => (order.payouts.as_slice(), &order.remainder_to),
    };
    for payout in split {
        program.split_and_send(coin, &payout.to, payout.amount)?;
    }
    program.send(coin, whole_to)?;
    program.finish(order.memo.as_deref())
}

/// Splits the payouts off the gas coin, into which all gas coins are merged before. Without payouts there is only the
/// memo to write; a transaction must have a command, so the gas coin is sent to where it is.
fn spend_gas(
    order: &PayoutOrder,
    home: &crate::Address,
) -> Result<ProgrammableTransaction, BuildError> {
    let mut program = Program::default();
    if order.payouts.is_empty() {
        program.send(Argument::Gas, home)?;
    }
    for payout in &order.payouts {
        program.split_and_send(Argument::Gas, &payout.to, payout.amount)?;
    }
    program.finish(order.memo.as_deref())
}

async fn gas_budget(client: &Client, v1: &TransactionV1) -> Result<u64, BuildError> {
    let draft = Transaction::V1(v1.clone());
    let used = client
        .call(async { Ok(client.grpc().estimate_transaction_budget(&draft).await?) })
        .await?
        .ok_or_else(|| CallError("the node does not estimate gas".into()))?;
    used.checked_mul(100 + GAS_MARGIN_PERCENT)
        .map(|budget| budget.div_ceil(100))
        .ok_or_else(|| impossible("the gas estimate is absurd"))
}

#[derive(Default)]
struct Program {
    inputs: Vec<Input>,
    commands: Vec<Command>,
}

impl Program {
    fn input(&mut self, input: Input) -> Result<Argument, BuildError> {
        let n = index(self.inputs.len())?;
        self.inputs.push(input);
        Ok(Argument::Input(n))
    }

    fn pure(&mut self, value: &impl Serialize) -> Result<Argument, BuildError> {
        let bytes = encode(value)?;
        self.input(Input::Pure(bytes))
    }

    fn send(&mut self, coin: Argument, to: &crate::Address) -> Result<(), BuildError> {
        let to: Address = to
            .as_str()
            .parse()
            .map_err(|_| impossible(format!("{to} is not an address")))?;
        let address = self.pure(&to)?;
        self.commands
            .push(Command::TransferObjects(TransferObjects {
                objects: vec![coin],
                address,
            }));
        Ok(())
    }

    fn split_and_send(
        &mut self,
        coin: Argument,
        to: &crate::Address,
        amount: Amount,
    ) -> Result<(), BuildError> {
        let amount = self.pure(&amount.get())?;
        let n = index(self.commands.len())?;
        self.commands.push(Command::SplitCoins(SplitCoins {
            coin,
            amounts: vec![amount],
        }));
        self.send(Argument::Result(n), to)
    }

    fn finish(mut self, memo: Option<&[u8]>) -> Result<ProgrammableTransaction, BuildError> {
        if let Some(memo) = memo {
            self.pure(&memo)?;
        }
        Ok(ProgrammableTransaction {
            inputs: self.inputs,
            commands: self.commands,
        })
    }
}

fn sum(coins: &[SpendableCoin]) -> Option<Amount> {
    debug_assert_eq!(
        coins
            .iter()
            .map(|coin| coin.reference.object_id)
            .collect::<BTreeSet<_>>()
            .len(),
        coins.len()
    );
    Amount::checked_sum(coins.iter().map(|coin| Amount(coin.balance)))
}

fn index(n: usize) -> Result<u16, BuildError> {
    u16::try_from(n).map_err(|_| impossible("too many payouts for one transaction"))
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, BuildError> {
    bcs::to_bytes(value).map_err(|error| impossible(error.to_string()))
}

fn impossible(reason: impl Into<String>) -> BuildError {
    BuildError::Impossible {
        reason: reason.into(),
    }
}
