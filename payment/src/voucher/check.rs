//! Whether a voucher is somebody's word: one rule, for one voucher and for many at once.
//!
//! The rule is ZIP-215 (<https://zips.z.cash/zip-0215>): the scalar is canonical, both points decode, encodings that are not
//! canonical included, and the equation holds after multiplication by the cofactor. IOTA's nodes verify by the same rule, with the
//! same library underneath. By RFC 8032 alone it is open whether the cofactor is multiplied; then a signature can be good in one
//! batch, bad in the next, and bad by itself. By ZIP-215 it never depends on the company.

use ed25519_consensus::{
    Signature as RawSignature, VerificationKey, VerificationKeyBytes, batch::Item, batch::Verifier,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

use super::{Payee, Voucher, VoucherError};
use crate::{PublicKey, Signature};

/// A voucher for whom it is said to be for, signed by whom it says. Only [`check()`] and [`check_all`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked(Voucher);

impl Checked {
    /// The voucher.
    #[must_use]
    pub fn voucher(&self) -> &Voucher {
        &self.0
    }

    /// The voucher.
    #[must_use]
    pub fn into_voucher(self) -> Voucher {
        self.0
    }
}

/// Whether `key` has signed `message`, by ZIP-215.
#[must_use]
pub fn is_signed_by(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    VerificationKey::try_from(VerificationKeyBytes::from(key.0))
        .and_then(|key| key.verify(&RawSignature::from(signature.0), message))
        .is_ok()
}

/// Checks one.
pub fn check(voucher: Voucher, payee: &Payee) -> Result<Checked, VoucherError> {
    let message = message(&voucher, payee)?;
    if is_signed_by(&voucher.signer, &message, &voucher.signature) {
        Ok(Checked(voucher))
    } else {
        Err(forged(&voucher))
    }
}

/// Checks many, in their order, for about half of what they cost one by one. What it says of each is what [`check()`] says.
///
/// `seed` weighs the signatures against each other. It must be nothing that whoever made them could know, or bad ones that cancel
/// each other out would pass. When a batch as a whole is bad, its vouchers are looked at one by one, and only bad ones are
/// refused.
#[must_use]
pub fn check_all(
    vouchers: Vec<Voucher>,
    payee: &Payee,
    seed: [u8; 32],
) -> Vec<Result<Checked, VoucherError>> {
    let mut batch = Verifier::new();
    let checked: Vec<_> = vouchers
        .into_iter()
        .map(|voucher| {
            let message = message(&voucher, payee)?;
            let key = VerificationKeyBytes::from(voucher.signer.0);
            let signature = RawSignature::from(voucher.signature.0);
            let item = Item::from((key, signature, &message));
            batch.queue(item.clone());
            Ok((voucher, item))
        })
        .collect();
    let all_good = batch.verify(ChaCha20Rng::from_seed(seed)).is_ok();
    checked
        .into_iter()
        .map(|it| {
            let (voucher, item) = it?;
            if all_good || item.verify_single().is_ok() {
                Ok(Checked(voucher))
            } else {
                Err(forged(&voucher))
            }
        })
        .collect()
}

/// What must be signed, if the voucher is meant for `payee` at all.
fn message(voucher: &Voucher, payee: &Payee) -> Result<Vec<u8>, VoucherError> {
    let found = &voucher.promise.payee;
    if found.chain_id != payee.chain_id {
        return Err(VoucherError::OtherChain {
            found: found.chain_id.clone(),
            expected: payee.chain_id.clone(),
        });
    }
    if found.operator != payee.operator {
        return Err(VoucherError::OtherOperator {
            found: found.operator,
            expected: payee.operator,
        });
    }
    let bytes = voucher.promise.signed_bytes();
    bytes.ok_or(VoucherError::Malformed("its chain id is too long"))
}

fn forged(voucher: &Voucher) -> VoucherError {
    VoucherError::Forged {
        signer: voucher.signer,
    }
}
