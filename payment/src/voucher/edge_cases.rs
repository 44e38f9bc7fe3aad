//! The corners of Ed25519 in which implementations differ, as ZIP-215 decides them: computed here from the curve, and shown to one
//! check, to a batch, and to what verifies signatures for the ledger.
#![allow(clippy::unwrap_used)]

use curve25519_dalek::{
    constants::{ED25519_BASEPOINT_POINT as BASE, EIGHT_TORSION},
    edwards::{CompressedEdwardsY, EdwardsPoint},
    scalar::Scalar,
    traits::IsIdentity as _,
};
use ed25519_consensus::{
    Signature as RawSignature, VerificationKeyBytes, batch::Item, batch::Verifier,
};
use iota_sdk_crypto::{Verifier as _, ed25519::Ed25519VerifyingKey};
use iota_sdk_types::{Ed25519PublicKey, Ed25519Signature};
use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

use super::is_signed_by;
use crate::{PublicKey, Signature, SigningKey};

type Case = (PublicKey, Vec<u8>, Signature);

fn as_the_ledger_does(case: &Case) -> bool {
    Ed25519VerifyingKey::new(&Ed25519PublicKey::new(case.0.0))
        .and_then(|key| key.verify(&case.1, &Ed25519Signature::new(case.2.0)))
        .is_ok()
}

fn in_a_batch(cases: &[Case], seed: u8) -> bool {
    let mut batch = Verifier::new();
    for (key, message, signature) in cases {
        batch.queue(Item::from((
            VerificationKeyBytes::from(key.0),
            RawSignature::from(signature.0),
            message,
        )));
    }
    batch.verify(ChaCha20Rng::from_seed([seed; 32])).is_ok()
}

/// Says the same however it is asked, and says it.
fn verdict(case: &Case) -> bool {
    let alone = is_signed_by(&case.0, &case.1, &case.2);
    assert_eq!(alone, as_the_ledger_does(case), "the ledger: {case:?}");
    for seed in 0..4 {
        assert_eq!(
            alone,
            in_a_batch(std::slice::from_ref(case), seed),
            "a batch of one: {case:?}"
        );
        let company = [honest(b"a"), case.clone(), honest(b"b")];
        assert_eq!(alone, in_a_batch(&company, seed), "in company: {case:?}");
    }
    alone
}

fn honest(message: &[u8]) -> Case {
    let key = SigningKey::from_seed([1; 32]);
    (key.public_key(), message.to_vec(), key.sign_bytes(message))
}

/// p = 2^255 - 19, little endian, plus `more`.
fn field_prime_plus(more: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = 0xed + more;
    bytes[31] = 0x7f;
    bytes
}

/// Every encoding of a point of small order: eight canonical ones; -0 for x; and those of y that are not below p.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut all: Vec<[u8; 32]> = EIGHT_TORSION
        .iter()
        .map(|it| it.compress().to_bytes())
        .collect();
    let with_sign = |mut bytes: [u8; 32]| {
        bytes[31] |= 0x80;
        bytes
    };
    let mut one = [0; 32];
    one[0] = 1;
    let minus_one = EIGHT_TORSION[4].compress().to_bytes();
    assert!(minus_one != one, "the point of order 2 has y = -1");
    all.extend([with_sign(one), with_sign(minus_one)]);
    for more in [0, 1] {
        let bytes = field_prime_plus(more);
        all.extend([bytes, with_sign(bytes)]);
    }
    all
}

fn signature(r: [u8; 32], s: [u8; 32]) -> Signature {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&r);
    bytes[32..].copy_from_slice(&s);
    Signature(bytes)
}

fn decompressed(encoding: [u8; 32]) -> EdwardsPoint {
    CompressedEdwardsY(encoding).decompress().unwrap()
}

#[test]
fn there_are_fourteen_encodings_of_points_of_small_order() {
    let encodings = small_order_encodings();
    let mut distinct = encodings.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 14);
    for encoding in encodings {
        assert!(decompressed(encoding).mul_by_cofactor().is_identity());
    }
}

/// s = 0, key and R of small order: the equation holds after the cofactor, whatever the message.
#[test]
fn small_order_keys_and_nonces_pass_in_every_encoding() {
    for key in small_order_encodings() {
        for r in small_order_encodings() {
            let case = (PublicKey(key), b"voucher".to_vec(), signature(r, [0; 32]));
            assert!(verdict(&case), "ZIP-215 takes all 196 of them");
        }
    }
}

#[test]
fn what_decodes_to_no_point_is_refused_as_key_and_as_nonce() {
    let mut bytes = [0; 32];
    let alien = (2..=255)
        .map(|y| {
            bytes[0] = y;
            bytes
        })
        .find(|it| CompressedEdwardsY(*it).decompress().is_none())
        .unwrap();
    let (key, message, good) = honest(b"m");
    assert!(!verdict(&(PublicKey(alien), message.clone(), good)));
    let mut s = [0; 32];
    s.copy_from_slice(&good.0[32..]);
    assert!(!verdict(&(key, message, signature(alien, s))));
}

/// s + l is the same scalar, and another signature: refused, or vouchers could be given a second form.
#[test]
fn a_scalar_above_the_group_order_is_refused() {
    let (key, message, good) = honest(b"m");
    assert!(verdict(&(key, message.clone(), good)));
    let order = (-Scalar::ONE).to_bytes();
    let mut s = [0u8; 32];
    let mut carry = 1u16;
    for (at, byte) in s.iter_mut().enumerate() {
        let sum = u16::from(good.0[32 + at]) + u16::from(order[at]) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    let mut r = [0; 32];
    r.copy_from_slice(&good.0[..32]);
    assert!(!verdict(&(key, message, signature(r, s))));
}

/// The challenge of RFC 8032 section 5.1.7, by another implementation's parts.
fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    use sha2::{Digest as _, Sha512};
    let hash = Sha512::new()
        .chain_update(r)
        .chain_update(key)
        .chain_update(message);
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

/// Signs with `secret`, with torsion added to the key and to the nonce; `off` is added to s.
fn with_torsion(secret: u64, key_at: usize, r_at: usize, off: u64, message: &[u8]) -> Case {
    let (a, nonce) = (Scalar::from(secret), Scalar::from(secret ^ 0x5555));
    let key = (BASE * a + EIGHT_TORSION[key_at]).compress().to_bytes();
    let r = (BASE * nonce + EIGHT_TORSION[r_at]).compress().to_bytes();
    let s = nonce + challenge(&r, &key, message) * a + Scalar::from(off);
    (PublicKey(key), message.to_vec(), signature(r, s.to_bytes()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The case in which cofactorless verification says no and some batches say yes.
    #[test]
    fn torsion_makes_no_difference_and_a_wrong_scalar_does(
        secret in 1u64.., key_at in 0usize..8, r_at in 0usize..8, off in 0u64..2, message: Vec<u8>,
    ) {
        let case = with_torsion(secret, key_at, r_at, off, &message);
        prop_assert_eq!(verdict(&case), off == 0);
    }

    /// Torsion that cancels out over a batch neither helps nor hurts.
    #[test]
    fn a_batch_is_good_exactly_if_each_is(
        parts in prop::collection::vec((1u64.., 0usize..8, 0usize..8, 0u64..8), 1..10), seed: u8,
    ) {
        let cases: Vec<_> = parts
            .into_iter()
            .map(|(secret, key_at, r_at, off)| with_torsion(secret, key_at, r_at, u64::from(off == 0), b"m"))
            .collect();
        let each = cases.iter().all(|(key, message, signature)| is_signed_by(key, message, signature));
        prop_assert_eq!(in_a_batch(&cases, seed), each);
    }
}
