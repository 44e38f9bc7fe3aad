#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

const SEED: [u8; 32] = [9; 32];

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32])
}

fn payee() -> Payee {
    Payee {
        chain_id: "4YMkRhpTVfFnd7pWDCpKchZ6gJZGBR2Zc7vcHVCMzGzT".into(),
        operator: key(200).public_key(),
    }
}

fn promise(sequence: u64, amount: u64) -> Promise {
    Promise {
        payee: payee(),
        account: AccountNumber(17),
        sequence,
        amount: Amount(amount),
    }
}

fn signed(sequence: u64, amount: u64) -> Voucher {
    promise(sequence, amount).sign(&key(1)).unwrap()
}

#[test]
fn what_is_signed_is_the_documented_layout() {
    let bytes = promise(3, 1_000).signed_bytes().unwrap();
    let mut expected = b"payflow-voucher-v1\0".to_vec();
    expected.push(44);
    expected.extend(b"4YMkRhpTVfFnd7pWDCpKchZ6gJZGBR2Zc7vcHVCMzGzT");
    expected.extend(key(200).public_key().0);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 17]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 3]);
    expected.extend([0, 0, 0, 0, 0, 0, 3, 0xe8]);
    assert_eq!(bytes, expected);
}

#[test]
fn a_voucher_survives_text_and_json() {
    let voucher = signed(3, 1_000);
    let read: Voucher = voucher.to_string().parse().unwrap();
    assert_eq!(read, voucher);
    let json = serde_json::to_string(&voucher).unwrap();
    assert_eq!(serde_json::from_str::<Voucher>(&json).unwrap(), voucher);
    assert!(check(read, &payee()).is_ok());
}

#[test]
fn every_truncation_is_told_as_one_in_bytes_and_in_text() {
    let voucher = signed(3, 1_000);
    let bytes = voucher.to_bytes();
    for end in 0..bytes.len() {
        assert_eq!(
            Voucher::from_bytes(&bytes[..end]),
            Err(VoucherError::Truncated { bytes: end })
        );
    }
    let text = voucher.to_string();
    for end in 0..text.len() {
        let error = text[..end].parse::<Voucher>().unwrap_err();
        assert_eq!(error.code(), "voucher-truncated", "{end}: {error}");
    }
}

#[test]
fn what_is_no_voucher_is_told_apart_from_a_bad_one() {
    let voucher = signed(3, 1_000);
    let mut long = voucher.to_bytes();
    long.push(0);
    let mut alien = voucher.to_bytes();
    alien[0] = b'P';
    for bytes in [long, alien] {
        let error = Voucher::from_bytes(&bytes).unwrap_err();
        assert_eq!(error.code(), "voucher-malformed");
    }
    for text in ["%%%%", &"A".repeat(10_000)] {
        let error = text.parse::<Voucher>().unwrap_err();
        assert_eq!(error.code(), "voucher-malformed", "{text:.8}");
    }
}

#[test]
fn a_voucher_is_worth_nothing_on_another_chain_or_to_another_operator() {
    let voucher = signed(3, 1_000);
    let mut elsewhere = payee();
    elsewhere.chain_id = "another".into();
    let error = check(voucher.clone(), &elsewhere).unwrap_err();
    assert_eq!(error.code(), "voucher-other-chain");
    let mut other = payee();
    other.operator = key(201).public_key();
    let error = check(voucher.clone(), &other).unwrap_err();
    assert_eq!(error.code(), "voucher-other-operator");

    // Written over, so that it would be worth something there: then the signature is of something else.
    let mut rewritten = voucher;
    rewritten.promise.payee = other.clone();
    let error = check(rewritten, &other).unwrap_err();
    assert_eq!(error.code(), "voucher-forged");
}

#[test]
fn nothing_in_a_voucher_can_be_changed() {
    let good = signed(3, 1_000);
    let change = |change: fn(&mut Voucher)| {
        let mut voucher = good.clone();
        change(&mut voucher);
        check(voucher, &payee()).map_err(|error| error.code())
    };
    assert!(change(|_| ()).is_ok());
    let forged = Err("voucher-forged");
    assert_eq!(change(|it| it.promise.account.0 += 1), forged);
    assert_eq!(change(|it| it.promise.sequence += 1), forged);
    assert_eq!(change(|it| it.promise.amount.0 += 1), forged);
    assert_eq!(change(|it| it.signer = key(2).public_key()), forged);
    assert_eq!(change(|it| it.signature.0[5] ^= 1), forged);
}

#[test]
fn a_signature_of_another_document_is_no_voucher() {
    let voucher = signed(3, 1_000);
    let document = crate::Signed::sign(&key(1), "voucher", serde_json::json!({"a": 1})).unwrap();
    let borrowed = voucher
        .promise
        .with_signature(document.signer, document.signature);
    let error = check(borrowed, &payee()).unwrap_err();
    assert_eq!(error.code(), "voucher-forged");
}

#[test]
fn of_a_bad_batch_only_the_bad_ones_are_refused() {
    let mut vouchers: Vec<_> = (1..=40).map(|n| signed(n, n * 10)).collect();
    vouchers[7].promise.amount.0 += 1;
    vouchers[31].signature.0[0] ^= 0x40;
    vouchers[12].promise.payee.chain_id = "another".into();
    let codes: Vec<_> = check_all(vouchers, &payee(), SEED)
        .into_iter()
        .map(|it| it.map(|_| ()).map_err(|error| error.code()))
        .collect();
    for (at, code) in codes.into_iter().enumerate() {
        let expected = match at {
            7 | 31 => Err("voucher-forged"),
            12 => Err("voucher-other-chain"),
            _ => Ok(()),
        };
        assert_eq!(code, expected, "voucher {at}");
    }
}

#[test]
fn an_empty_batch_says_nothing() {
    assert!(check_all(Vec::new(), &payee(), SEED).is_empty());
}

#[test]
fn only_the_canonical_form_names_an_account() {
    assert_eq!(
        AccountNumber::from_account_id("a17"),
        Some(AccountNumber(17))
    );
    for wrong in [
        "17",
        "r17",
        "a",
        "a017",
        "a-1",
        "a+1",
        "a1 ",
        "a1099511627776",
    ] {
        assert_eq!(AccountNumber::from_account_id(wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn bytes_are_read_as_what_was_written_or_refused(bytes: Vec<u8>, flip in 0usize..1_500) {
        let _ = Voucher::from_bytes(&bytes);
        let mut good = signed(7, 70).to_bytes();
        if let Some(byte) = good.get_mut(flip / 8) {
            *byte ^= 1 << (flip % 8);
        }
        match Voucher::from_bytes(&good) {
            Ok(read) => {
                prop_assert_eq!(read.to_bytes(), good, "one form for each voucher");
                prop_assert!(check(read, &payee()).is_err());
            }
            Err(error) => prop_assert!(error.code().starts_with("voucher-")),
        }
    }

    #[test]
    fn a_batch_says_of_each_what_it_is_by_itself(
        which in prop::collection::vec((0u8..4, 1u64..9, 0u64..99, 0u8..4), 0..24), seed: [u8; 32],
    ) {
        let vouchers: Vec<_> = which
            .into_iter()
            .map(|(signer, sequence, amount, wrong)| {
                let mut voucher = promise(sequence, amount).sign(&key(signer)).unwrap();
                match wrong {
                    0 => voucher.promise.amount.0 += 1,
                    1 => voucher.signature.0[40] ^= 1,
                    _ => {}
                }
                voucher
            })
            .collect();
        let one_by_one: Vec<_> = vouchers.iter().map(|it| check(it.clone(), &payee())).collect();
        prop_assert_eq!(check_all(vouchers, &payee(), seed), one_by_one);
    }
}
