//! Reading signed transactions without asking anybody.

use std::collections::{BTreeMap, BTreeSet};

use iota_sdk_crypto::{IotaVerifier as _, UserSignatureVerifier};
use iota_sdk_types::{
    Argument, Command, Input, ProgrammableTransaction, SignedTransaction, SimpleSignature,
    Transaction, TransactionExpiration, TransactionKind, TransactionV1, UserSignature,
};
use serde::de::DeserializeOwned;

use super::super::{InspectError, Inspected};
use super::neutral_address;
use crate::{Address, Amount, Asset, Credit, PublicKey, TxDigest};

/// Reads a signed transaction: who pays whom, and that those who must have signed exactly this.
///
/// Only one shape is accepted, the one whose coins are provably IOTA: every coin is split off the gas coin
/// (`SplitCoins(Gas, amounts)`) and transferred whole (`TransferObjects`), once. It is what wallets make of "send".
pub fn inspect(transaction: &crate::SignedTransaction) -> Result<Inspected, InspectError> {
    let signed: SignedTransaction = bcs::from_bytes(transaction.as_bytes())
        .map_err(|error| InspectError::Malformed(error.to_string()))?;
    let Transaction::V1(v1) = &signed.transaction else {
        return Err(InspectError::Malformed(
            "a version that is not known".into(),
        ));
    };
    verify_signatures(&signed, v1)?;
    let TransactionKind::Programmable(program) = &v1.kind else {
        return Err(not_plain("not a programmable transaction"));
    };
    let expires_after_epoch = match v1.expiration {
        TransactionExpiration::None => None,
        TransactionExpiration::Epoch(epoch) => Some(epoch),
        _ => return Err(not_plain("an expiration that is not known")),
    };
    Ok(Inspected {
        digest: TxDigest::new(signed.transaction.digest().to_string()),
        payer: neutral_address(&v1.sender),
        sponsor: (v1.gas_payment.owner != v1.sender)
            .then(|| neutral_address(&v1.gas_payment.owner)),
        transfers: transfers(program)?,
        gas_budget: Amount(v1.gas_payment.budget),
        expires_after_epoch,
    })
}

/// The ed25519 key of the sender, where that is what the sender signs with. Says nothing about whether the signature is right:
/// [`inspect`] does.
#[must_use]
pub fn payer_key(transaction: &crate::SignedTransaction) -> Option<PublicKey> {
    let signed: SignedTransaction = bcs::from_bytes(transaction.as_bytes()).ok()?;
    let Transaction::V1(v1) = &signed.transaction else {
        return None;
    };
    let senders = signed.signatures.iter();
    let mut senders = senders.filter(|it| it.derive_address() == v1.sender);
    match senders.next()? {
        UserSignature::Simple(SimpleSignature::Ed25519 { public_key, .. }) => {
            Some(PublicKey(*public_key.bytes()))
        }
        _ => None,
    }
}

/// The memo of a transaction: the first pure input that no command uses and that holds bytes.
pub(super) fn memo(transaction: &Transaction) -> Option<Vec<u8>> {
    let Transaction::V1(v1) = transaction else {
        return None;
    };
    let TransactionKind::Programmable(program) = &v1.kind else {
        return None;
    };
    let used = used_inputs(program);
    let is_used = |n: usize| u16::try_from(n).is_ok_and(|n| used.contains(&n));
    program
        .inputs
        .iter()
        .enumerate()
        .find_map(|(n, input)| match input {
            Input::Pure(bytes) if !is_used(n) => bcs::from_bytes(bytes).ok(),
            _ => None,
        })
}

/// The same people sign as must, each once: the sender, and the sponsor if the gas is another's. That a signature
/// verifies is not enough, since it says only that *somebody* signed.
fn verify_signatures(signed: &SignedTransaction, v1: &TransactionV1) -> Result<(), InspectError> {
    let required = BTreeSet::from([v1.sender, v1.gas_payment.owner]);
    let signers: BTreeSet<_> = signed
        .signatures
        .iter()
        .map(|signature| signature.derive_address())
        .collect();
    if signers != required || signed.signatures.len() != required.len() {
        let expected: Vec<_> = required.iter().map(ToString::to_string).collect();
        return Err(InspectError::WrongSigners {
            expected: expected.join(" and "),
        });
    }
    let verifier = UserSignatureVerifier::new();
    for signature in &signed.signatures {
        verifier
            .verify_transaction(&signed.transaction, signature)
            .map_err(|error| InspectError::BadSignature(error.to_string()))?;
    }
    Ok(())
}

fn transfers(program: &ProgrammableTransaction) -> Result<Vec<Credit>, InspectError> {
    // Commands and amounts take 3 bytes each at least, so within `SignedTransaction::MAX_BYTES` 16 bits count them.
    // The amounts of the coins that were split off and not yet transferred, by command and place.
    let mut coins = BTreeMap::new();
    let mut received = BTreeMap::<Address, Amount>::new();
    for (command, n) in program.commands.iter().zip(0u16..) {
        match command {
            Command::SplitCoins(split) if split.coin == Argument::Gas => {
                for (amount, place) in split.amounts.iter().zip(0u16..) {
                    coins.insert((n, place), Amount(pure(program, amount)?));
                }
            }
            Command::TransferObjects(transfer) => {
                let to: iota_sdk_types::Address = pure(program, &transfer.address)?;
                for object in &transfer.objects {
                    let amount = coin_key(program, object)
                        .and_then(|key| coins.remove(&key))
                        .ok_or_else(|| not_plain("a transfer of something else than a new coin"))?;
                    let sum = received.entry(neutral_address(&to)).or_default();
                    *sum = sum
                        .checked_add(amount)
                        .ok_or_else(|| not_plain("more than there is"))?;
                }
            }
            _ => {
                return Err(not_plain(
                    "a command other than splitting gas and transferring",
                ));
            }
        }
    }
    if !coins.is_empty() {
        return Err(not_plain("a new coin that goes to nobody"));
    }
    Ok(received
        .into_iter()
        .map(|(address, amount)| Credit {
            address,
            asset: Asset::iota(),
            amount,
        })
        .collect())
}

/// Which split, and which of its coins. `Result` names the only coin of a split; with several it is an error.
fn coin_key(program: &ProgrammableTransaction, object: &Argument) -> Option<(u16, u16)> {
    match object {
        Argument::NestedResult(n, place) => Some((*n, *place)),
        Argument::Result(n) => match program.commands.get(usize::from(*n))? {
            Command::SplitCoins(split) if split.amounts.len() == 1 => Some((*n, 0)),
            _ => None,
        },
        _ => None,
    }
}

fn pure<T: DeserializeOwned>(
    program: &ProgrammableTransaction,
    argument: &Argument,
) -> Result<T, InspectError> {
    let Argument::Input(n) = argument else {
        return Err(not_plain("an amount or address that is computed"));
    };
    match program.inputs.get(usize::from(*n)) {
        Some(Input::Pure(bytes)) => {
            bcs::from_bytes(bytes).map_err(|error| InspectError::Malformed(error.to_string()))
        }
        _ => Err(not_plain("an amount or address that is not written out")),
    }
}

fn used_inputs(program: &ProgrammableTransaction) -> BTreeSet<u16> {
    let mut used = BTreeSet::new();
    let mut add = |arguments: &[Argument]| {
        used.extend(arguments.iter().filter_map(|argument| match argument {
            Argument::Input(n) => Some(*n),
            _ => None,
        }));
    };
    for command in &program.commands {
        match command {
            Command::MoveCall(call) => add(&call.arguments),
            Command::TransferObjects(transfer) => {
                add(&transfer.objects);
                add(&[transfer.address]);
            }
            Command::SplitCoins(split) => {
                add(&[split.coin]);
                add(&split.amounts);
            }
            Command::MergeCoins(merge) => {
                add(&[merge.coin]);
                add(&merge.coins_to_merge);
            }
            Command::MakeMoveVector(vector) => add(&vector.elements),
            Command::Upgrade(upgrade) => add(&[upgrade.ticket]),
            _ => {}
        }
    }
    used
}

fn not_plain(what: &str) -> InspectError {
    InspectError::NotAPlainPayment(what.to_owned())
}
