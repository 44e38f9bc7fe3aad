#![allow(clippy::unwrap_used)]
use iota_sdk_crypto::IotaSigner as _;
use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use iota_sdk_types::{
    Argument, Command, GasPayment, Input, MergeCoins, ProgrammableTransaction, SplitCoins,
    TransactionExpiration, TransactionKind, TransactionV1, TransferObjects,
};
use proptest::prelude::*;

use super::*;

const TOTAL: u64 = 4_600_000_000_000_000_000;

/// Inputs 0 to 2 are amounts, 3 is the recipient, then come the coins that do not pay gas.
const FIRST_COIN: u16 = 4;

#[derive(Clone, Debug)]
enum Step {
    /// Splits coins off and gives all of them to the recipient.
    Send {
        from: Argument,
        amounts: Vec<u16>,
    },
    Merge {
        into: Argument,
        coins: Vec<Argument>,
    },
    Give {
        coin: Argument,
    },
    /// Makes coins that no later step needs to know of.
    Split {
        from: Argument,
    },
}

#[derive(Clone, Debug)]
struct Draft {
    steps: Vec<Step>,
    amounts: Vec<u64>,
    to_self: bool,
    gas_coins: usize,
    budget: u64,
}

/// Any coin, sensible or not: gas, inputs that are there or not, results of other steps.
fn coins() -> impl Strategy<Value = Argument> {
    prop_oneof![
        9 => Just(Argument::Gas),
        6 => (FIRST_COIN..FIRST_COIN + 3).prop_map(Argument::Input),
        1 => (0u16..4).prop_map(Argument::Result),
        1 => (0u16..4, 0u16..3).prop_map(|(n, m)| Argument::NestedResult(n, m)),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (coins(), prop::collection::vec(0u16..3, 1..4))
            .prop_map(|(from, amounts)| Step::Send { from, amounts }),
        3 => (coins(), prop::collection::vec(coins(), 1..3))
            .prop_map(|(into, coins)| Step::Merge { into, coins }),
        2 => coins().prop_map(|coin| Step::Give { coin }),
        1 => coins().prop_map(|from| Step::Split { from }),
    ]
}

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let amount = prop_oneof![4 => 0u64..5, 8 => 0u64..9_000_000, 1 => Just(u64::MAX)];
    let draft = (
        prop::collection::vec(steps(), 1..4),
        prop::collection::vec(amount, 3),
        prop::bool::weighted(0.9),
        1usize..4,
        prop_oneof![1 => 1_000_000u64..9_000_000, 4 => Just(coin::MAX_GAS_BUDGET)],
    );
    let draft = draft.prop_map(|(steps, amounts, to_self, gas_coins, budget)| Draft {
        steps,
        amounts,
        to_self,
        gas_coins,
        budget,
    });
    prop::collection::vec(draft, 1..12)
}

fn write(draft: &Draft, state: &State, sender: Address) -> Transaction {
    let mut coins: Vec<_> = state.owned_by(&sender).collect();
    coins.sort_by_key(|object| std::cmp::Reverse(coin::balance(object)));
    let mut coins: Vec<_> = coins.into_iter().map(Object::object_ref).collect();
    let owned = coins.split_off(draft.gas_coins.min(coins.len()));
    let recipient = if draft.to_self {
        sender
    } else {
        Address::new([9; 32])
    };
    let pure = |bytes: Result<Vec<u8>, bcs::Error>| Input::Pure(bytes.unwrap());
    let mut inputs: Vec<_> = draft
        .amounts
        .iter()
        .map(|amount| pure(bcs::to_bytes(amount)))
        .collect();
    inputs.push(pure(bcs::to_bytes(&recipient)));
    inputs.extend(owned.into_iter().take(3).map(Input::ImmutableOrOwned));
    let mut commands = Vec::new();
    let transfer = |objects| {
        let address = Argument::Input(FIRST_COIN - 1);
        Command::TransferObjects(TransferObjects { objects, address })
    };
    for step in &draft.steps {
        let n = u16::try_from(commands.len()).unwrap();
        match step.clone() {
            Step::Send {
                from: coin,
                amounts,
            } => {
                let made = 0..u16::try_from(amounts.len()).unwrap();
                let amounts = amounts.into_iter().map(Argument::Input).collect();
                commands.push(Command::SplitCoins(SplitCoins { coin, amounts }));
                commands.push(transfer(
                    made.map(|m| Argument::NestedResult(n, m)).collect(),
                ));
            }
            Step::Merge {
                into: coin,
                coins: coins_to_merge,
            } => {
                commands.push(Command::MergeCoins(MergeCoins {
                    coin,
                    coins_to_merge,
                }));
            }
            Step::Give { coin } => commands.push(transfer(vec![coin])),
            Step::Split { from: coin } => {
                let amounts = vec![Argument::Input(0)];
                commands.push(Command::SplitCoins(SplitCoins { coin, amounts }));
            }
        }
    }
    Transaction::V1(TransactionV1 {
        kind: TransactionKind::Programmable(ProgrammableTransaction { commands, inputs }),
        sender,
        gas_payment: GasPayment {
            objects: coins,
            owner: sender,
            price: coin::REFERENCE_GAS_PRICE,
            budget: draft.budget,
        },
        expiration: TransactionExpiration::None,
    })
}

/// The sender has several coins: nothing that is done with them makes money or loses it.
fn several_coins(key: &Ed25519PrivateKey) -> State {
    let sender = key.public_key().derive_address();
    let genesis = coin::new(
        ObjectId::new([1; 32]),
        TOTAL,
        sender,
        TransactionDigest::default(),
    );
    let mut state = State::genesis(genesis);
    let draft = Draft {
        steps: vec![Step::Send {
            from: Argument::Gas,
            amounts: vec![0, 1, 2],
        }],
        amounts: vec![3, 2_000_000, 5_000_000_000],
        to_self: true,
        gas_coins: 1,
        budget: 10_000_000,
    };
    let transaction = write(&draft, &state, sender);
    let signatures = vec![key.sign_transaction(&transaction).unwrap()];
    state
        .apply(SignedTransaction {
            transaction,
            signatures,
        })
        .unwrap();
    assert_eq!(state.owned_by(&sender).count(), 4);
    state
}

proptest! {
    #[test]
    fn no_transaction_makes_or_loses_money(drafts in drafts()) {
        let key = Ed25519PrivateKey::new([1; 32]);
        let sender = key.public_key().derive_address();
        let mut state = several_coins(&key);
        for draft in &drafts {
            let transaction = write(draft, &state, sender);
            let signatures = vec![key.sign_transaction(&transaction).unwrap()];
            let before = state.supply();
            let Ok(digest) = state.apply(SignedTransaction { transaction, signatures }) else {
                prop_assert_eq!(state.supply(), before, "a refusal changes nothing");
                continue;
            };
            let executed = state.transaction(&digest).unwrap();
            let effects = executed.effects.as_v1();
            let changes = effects.balance_changes(&executed.inputs, &executed.outputs, None);
            let net: i128 = changes.unwrap().iter().map(|change| change.amount()).sum();
            let gas = &effects.gas_cost_summary;
            prop_assert_eq!(net, -i128::from(gas.net_gas_usage()));
            prop_assert!(gas.gas_used() <= draft.budget || !effects.status.is_success());
            let (coins, deposits) = state.supply();
            let burned: u128 = u128::from(before.0) + u128::from(before.1)
                - u128::from(coins) - u128::from(deposits);
            prop_assert_eq!(burned, u128::from(gas.computation_cost_burned));
        }
    }
}
