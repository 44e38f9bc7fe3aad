//! The commands of a transaction: splitting, merging and transferring coins. There is no Move here.

use std::collections::{BTreeMap, BTreeSet};

use iota_sdk_types::{
    Address, Argument, Command, CommandArgumentError, ExecutionError, Input, MergeCoins, Object,
    ObjectId, SplitCoins, TransactionDigest, TransferObjects,
};
use serde::de::DeserializeOwned;

use super::coin;
use super::plan::Plan;

/// The objects after a transaction.
#[derive(Clone)]
pub(super) struct Outcome {
    pub(super) gas_id: ObjectId,
    /// Everything that is written, the gas coin included.
    pub(super) objects: BTreeMap<ObjectId, Object>,
    /// Everything that was there before and is no more.
    pub(super) deleted: BTreeSet<ObjectId>,
}

impl Outcome {
    pub(super) fn gas_balance(&self) -> u64 {
        self.objects
            .get(&self.gas_id)
            .and_then(coin::balance)
            .unwrap_or_default()
    }
}

/// Which command failed, and how.
pub(super) struct Failure {
    pub(super) error: Box<ExecutionError>,
    pub(super) command: usize,
}

/// Runs all commands on `outcome`, in which gas is merged and nothing else has happened.
pub(super) fn run(
    plan: &Plan,
    digest: TransactionDigest,
    outcome: Outcome,
) -> Result<Outcome, Failure> {
    let mut run = Run {
        plan,
        digest,
        outcome,
        results: Vec::new(),
        moved: BTreeSet::new(),
        made: 0,
    };
    for (command, n) in plan.program.commands.iter().zip(0..) {
        let results = match command {
            Command::SplitCoins(split) => run.split(split),
            Command::MergeCoins(merge) => run.merge(merge),
            Command::TransferObjects(transfer) => run.transfer(transfer),
            _ => Err(ExecutionError::FunctionNotFound),
        };
        let results = results.map_err(|error| Failure {
            error: Box::new(error),
            command: n,
        })?;
        run.results.push(results);
    }
    run.finish()
}

struct Run<'a> {
    plan: &'a Plan,
    digest: TransactionDigest,
    outcome: Outcome,
    /// The coins that each command made.
    results: Vec<Vec<ObjectId>>,
    /// What has been given away and can be used no more.
    moved: BTreeSet<ObjectId>,
    made: u64,
}

impl Run<'_> {
    fn split(&mut self, split: &SplitCoins) -> Result<Vec<ObjectId>, ExecutionError> {
        let source = self.usable(&split.coin, 0)?;
        let mut made = Vec::new();
        for (amount, place) in split.amounts.iter().zip(1u16..) {
            let amount: u64 = self.pure(amount, place)?;
            let rest = self
                .balance(&source, 0)?
                .checked_sub(amount)
                .ok_or(ExecutionError::InsufficientCoinBalance)?;
            self.set_balance(&source, rest);
            let id = ObjectId::derive_id(self.digest, self.made);
            self.made += 1;
            let coin = coin::new(id, amount, self.plan.v1.sender, self.digest);
            self.outcome.objects.insert(id, coin);
            made.push(id);
        }
        Ok(made)
    }

    fn merge(&mut self, merge: &MergeCoins) -> Result<Vec<ObjectId>, ExecutionError> {
        let target = self.usable(&merge.coin, 0)?;
        for (argument, place) in merge.coins_to_merge.iter().zip(1u16..) {
            let id = self.usable(argument, place)?;
            if id == target || id == self.outcome.gas_id {
                // The gas coin is only ever borrowed, except to be transferred.
                return Err(argument_error(
                    CommandArgumentError::InvalidValueUsage,
                    place,
                ));
            }
            let sum = self
                .balance(&target, 0)?
                .checked_add(self.balance(&id, place)?)
                .ok_or(ExecutionError::CoinBalanceOverflow)?;
            self.set_balance(&target, sum);
            self.outcome.objects.remove(&id);
            if self.plan.owned.contains_key(&id) {
                self.outcome.deleted.insert(id);
            }
        }
        Ok(Vec::new())
    }

    fn transfer(&mut self, transfer: &TransferObjects) -> Result<Vec<ObjectId>, ExecutionError> {
        let address_place = u16::try_from(transfer.objects.len()).unwrap_or(u16::MAX);
        let to: Address = self.pure(&transfer.address, address_place)?;
        for (argument, place) in transfer.objects.iter().zip(0u16..) {
            let id = self.usable(argument, place)?;
            if let Some(object) = self.outcome.objects.get_mut(&id) {
                object.set_owner(to);
            }
            self.moved.insert(id);
        }
        Ok(Vec::new())
    }

    /// A coin that was split off and neither merged nor transferred cannot just vanish.
    fn finish(self) -> Result<Outcome, Failure> {
        for (made, command) in self.results.iter().zip(0..) {
            for (id, subresult) in made.iter().zip(0u16..) {
                if self.outcome.objects.contains_key(id) && !self.moved.contains(id) {
                    let result = u16::try_from(command).unwrap_or(u16::MAX);
                    return Err(Failure {
                        error: Box::new(ExecutionError::UnusedValueWithoutDrop {
                            result,
                            subresult,
                        }),
                        command,
                    });
                }
            }
        }
        Ok(self.outcome)
    }

    /// The object an argument names, if it is there and has not been given away.
    fn usable(&self, argument: &Argument, place: u16) -> Result<ObjectId, ExecutionError> {
        let id = match argument {
            Argument::Gas => Some(self.outcome.gas_id),
            Argument::Input(n) => match self.plan.program.inputs.get(usize::from(*n)) {
                Some(Input::ImmutableOrOwned(reference)) => Some(reference.object_id),
                _ => return Err(argument_error(CommandArgumentError::TypeMismatch, place)),
            },
            Argument::Result(n) => match self.results.get(usize::from(*n)).map(Vec::as_slice) {
                Some([only]) => Some(*only),
                _ => None,
            },
            Argument::NestedResult(n, m) => self
                .results
                .get(usize::from(*n))
                .and_then(|made| made.get(usize::from(*m)))
                .copied(),
            _ => None,
        };
        id.filter(|id| self.outcome.objects.contains_key(id) && !self.moved.contains(id))
            .ok_or_else(|| argument_error(CommandArgumentError::InvalidValueUsage, place))
    }

    fn pure<T: DeserializeOwned>(
        &self,
        argument: &Argument,
        place: u16,
    ) -> Result<T, ExecutionError> {
        let Argument::Input(n) = argument else {
            return Err(argument_error(CommandArgumentError::TypeMismatch, place));
        };
        match self.plan.program.inputs.get(usize::from(*n)) {
            Some(Input::Pure(bytes)) => bcs::from_bytes(bytes)
                .map_err(|_| argument_error(CommandArgumentError::InvalidBcsBytes, place)),
            _ => Err(argument_error(CommandArgumentError::TypeMismatch, place)),
        }
    }

    fn balance(&self, id: &ObjectId, place: u16) -> Result<u64, ExecutionError> {
        self.outcome
            .objects
            .get(id)
            .and_then(coin::balance)
            .ok_or_else(|| argument_error(CommandArgumentError::TypeMismatch, place))
    }

    fn set_balance(&mut self, id: &ObjectId, balance: u64) {
        if let Some(object) = self.outcome.objects.get_mut(id) {
            coin::set_balance(object, balance);
        }
    }
}

fn argument_error(kind: CommandArgumentError, place: u16) -> ExecutionError {
    ExecutionError::command_argument_error(kind, place)
}
