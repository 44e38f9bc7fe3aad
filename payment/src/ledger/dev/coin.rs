//! IOTA coins as objects, and what storing them costs.

use iota_sdk_types::framework::Coin;
use iota_sdk_types::{
    Address, MoveStruct, Object, ObjectData, ObjectId, Owner, StructTag, TransactionDigest, Version,
};

/// Nanos per gas unit that every transaction offers at least (`reference_gas_price`).
pub(super) const REFERENCE_GAS_PRICE: u64 = 1_000;

/// Gas units of every transaction that this ledger can execute (`base_tx_cost_fixed`): IOTA rounds computation up
/// to whole buckets of this size, and splitting, merging and transferring coins stay in the first.
pub(super) const COMPUTATION_UNITS: u64 = 1_000;

/// Gas units per stored byte (`obj_data_cost_refundable`).
pub(super) const UNITS_PER_BYTE: u64 = 100;

/// Nanos per gas unit of storage (`storage_gas_price`).
pub(super) const STORAGE_GAS_PRICE: u64 = 76;

/// The most gas a transaction may ask for, in nanos (`max_tx_gas`).
pub(super) const MAX_GAS_BUDGET: u64 = 50_000_000_000;

/// The most coins that gas may be paid with (`max_gas_payment_objects`).
pub(super) const MAX_GAS_OBJECTS: usize = 256;

/// A coin of IOTA that nobody has stored yet: its storage deposit is due when it is written.
pub(super) fn new(
    id: ObjectId,
    balance: u64,
    owner: Address,
    made_by: TransactionDigest,
) -> Object {
    let coin = MoveStruct::new(
        StructTag::new_gas_coin().into(),
        Version::from_u64(0),
        contents(id, balance),
    )
    .expect("the contents begin with the id");
    Object::new(ObjectData::Struct(coin), Owner::Address(owner), made_by, 0)
}

/// What is in the coin; `None` for every other object.
pub(super) fn balance(object: &Object) -> Option<u64> {
    object
        .is_gas_coin()
        .then(|| Coin::try_from_object(object).ok())?
        .map(|coin| coin.balance())
}

pub(super) fn set_balance(coin: &mut Object, balance: u64) {
    let id = coin.id();
    if let ObjectData::Struct(object) = &mut coin.data {
        object
            .set_contents(contents(id, balance))
            .expect("the contents begin with the id");
    }
}

/// Marks the object as written by a transaction, with the deposit for its storage inside.
pub(super) fn store(object: &mut Object, version: Version, written_by: TransactionDigest) {
    if let ObjectData::Struct(object) = &mut object.data {
        object.set_version(version);
    }
    object.previous_transaction = written_by;
    object.storage_rebate = deposit(object);
}

/// The storage deposit: contents, type, version and 88 bytes of metadata. A coin of IOTA has 129 bytes, so
/// 980 400 nanos.
pub(super) fn deposit(object: &Object) -> u64 {
    const METADATA_BYTES: usize = 8 + 40 + 32 + 8;
    let bytes = object.as_opt_struct().map_or(0, |object| {
        let kind = bcs::serialized_size(object.object_type()).expect("a type serializes");
        object.contents().len() + kind + METADATA_BYTES
    });
    u64::try_from(bytes)
        .unwrap_or(u64::MAX)
        .saturating_mul(UNITS_PER_BYTE * STORAGE_GAS_PRICE)
}

/// `0x2::coin::Coin`: the id, then the balance.
fn contents(id: ObjectId, balance: u64) -> Vec<u8> {
    let id: &[u8] = id.as_ref();
    [id, &balance.to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figure of IOTA's own fixtures.
    #[test]
    fn a_coin_deposits_980_400_nanos() {
        let coin = new(
            ObjectId::ZERO,
            7,
            Address::ZERO,
            TransactionDigest::default(),
        );
        assert_eq!(deposit(&coin), 980_400);
        assert_eq!(balance(&coin), Some(7));
    }
}
