//! Transactions and messages that another implementation made, IOTA's TypeScript SDK, read and verified here.
//!
//! `golden/vectors.json` holds them; `golden/make.mjs` made them and says how to make them again.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use iota_sdk_crypto::secp256k1::Secp256k1PrivateKey;
use iota_sdk_crypto::secp256r1::Secp256r1PrivateKey;
use iota_sdk_crypto::{IotaSigner, IotaVerifier as _, UserSignatureVerifier};
use iota_sdk_types::{PersonalMessage, Transaction, UserSignature};
use payflow_payment::ledger::InspectError;
use payflow_payment::ledger::iota::inspect;
use payflow_payment::{Address, Amount, Asset, Credit, SignedTransaction};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Vectors {
    transactions: Vec<Vector>,
    /// Signed by rules that no longer hold.
    refused: Vec<Vector>,
    personal_messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    /// In the order of the signatures; empty where several keys make one signature.
    signers: Vec<Signer>,
    sender: Address,
    #[serde(default)]
    sponsor: Option<Address>,
    digest: String,
    transaction: String,
    signatures: Vec<String>,
    /// Absent where nobody can tell without the ledger.
    transfers: Option<Vec<Transfer>>,
    #[serde(default)]
    last_epoch: Option<u64>,
}

#[derive(Deserialize)]
struct Signer {
    scheme: String,
    secret: String,
    address: Address,
}

#[derive(Deserialize)]
struct Transfer {
    address: Address,
    nanos: String,
}

#[derive(Deserialize)]
struct Message {
    signer: Signer,
    message: String,
    signature: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("golden/vectors.json")).unwrap()
}

impl Signer {
    fn key(&self) -> (Box<dyn IotaSigner>, iota_sdk_types::Address) {
        let mut seed = [0; 32];
        hex::decode_to_slice(&self.secret, &mut seed).unwrap();
        match self.scheme.as_str() {
            "ed25519" => {
                let key = Ed25519PrivateKey::new(seed);
                let address = key.public_key().derive_address();
                (Box::new(key), address)
            }
            "secp256k1" => {
                let key = Secp256k1PrivateKey::new(seed).unwrap();
                let address = key.public_key().derive_address();
                (Box::new(key), address)
            }
            "secp256r1" => {
                let key = Secp256r1PrivateKey::new(seed).unwrap();
                let address = key.public_key().derive_address();
                (Box::new(key), address)
            }
            other => panic!("{other}"),
        }
    }
}

impl Vector {
    /// As a wallet hands it over.
    fn read(&self) -> SignedTransaction {
        serde_json::from_value(
            json!({ "tx_bytes": self.transaction, "signatures": self.signatures }),
        )
        .unwrap()
    }
}

#[test]
fn what_another_implementation_signed_is_read_as_it_was_meant() {
    for vector in vectors().transactions {
        let name = &vector.name;
        let signed = vector.read();
        let inspected = match (inspect(&signed), &vector.transfers) {
            (Err(InspectError::NotAPlainPayment(_)), None) => continue,
            (inspected, _) => inspected.unwrap_or_else(|error| panic!("{name}: {error}")),
        };
        assert_eq!(inspected.digest.as_str(), vector.digest, "{name}");
        assert_eq!(inspected.payer, vector.sender, "{name}");
        assert_eq!(inspected.sponsor, vector.sponsor, "{name}");
        assert_eq!(inspected.expires_after_epoch, vector.last_epoch, "{name}");
        let mut expected: Vec<_> = vector
            .transfers
            .unwrap()
            .into_iter()
            .map(|transfer| Credit {
                address: transfer.address,
                asset: Asset::iota(),
                amount: Amount(transfer.nanos.parse().unwrap()),
            })
            .collect();
        expected.sort_by(|a, b| a.address.cmp(&b.address));
        assert_eq!(inspected.transfers, expected, "{name}");
    }
}

#[test]
fn both_implementations_write_the_same_bytes() {
    for vector in vectors().transactions {
        let name = &vector.name;
        let signed: iota_sdk_types::SignedTransaction =
            bcs::from_bytes(vector.read().as_bytes()).unwrap();
        let transaction = bcs::to_bytes(&signed.transaction).unwrap();
        assert_eq!(BASE64.encode(transaction), vector.transaction, "{name}");
        assert_eq!(
            signed.transaction.digest().to_string(),
            vector.digest,
            "{name}"
        );
        let signatures: Vec<_> = signed
            .signatures
            .iter()
            .map(UserSignature::to_base64)
            .collect();
        assert_eq!(signatures, vector.signatures, "{name}");
        assert_eq!(
            bcs::to_bytes(&signed).unwrap(),
            vector.read().as_bytes(),
            "{name}"
        );
    }
}

#[test]
fn the_same_keys_make_the_same_addresses_and_signatures() {
    let Vectors {
        transactions,
        personal_messages,
        ..
    } = vectors();
    for vector in transactions {
        let transaction = Transaction::from_base64(&vector.transaction).unwrap();
        for (signer, expected) in vector.signers.iter().zip(&vector.signatures) {
            let (key, address) = signer.key();
            assert_eq!(address.to_string(), signer.address.as_str());
            let signature = key.sign_transaction(&transaction).unwrap();
            assert_eq!(signature.to_base64(), *expected, "{}", vector.name);
        }
    }
    for vector in personal_messages {
        let (key, address) = vector.signer.key();
        assert_eq!(address.to_string(), vector.signer.address.as_str());
        let message = BASE64.decode(&vector.message).unwrap();
        let message = PersonalMessage(message.as_slice().into());
        let signature = key.sign_personal_message(&message).unwrap();
        assert_eq!(signature.to_base64(), vector.signature);
    }
}

/// Whichever byte it is: the transaction, a signature, a key, a length. So nobody between wallet and ledger can turn
/// one payment into another.
#[test]
fn a_transaction_with_one_byte_changed_is_refused() {
    for vector in vectors().transactions {
        let signed = vector.read();
        for n in 0..signed.as_bytes().len() {
            let mut bytes = signed.as_bytes().to_vec();
            *bytes.get_mut(n).unwrap() ^= 1;
            let changed = SignedTransaction::from_bytes(bytes).unwrap();
            let refusal = inspect(&changed);
            assert!(
                matches!(
                    refusal,
                    Err(InspectError::Malformed(_)
                        | InspectError::WrongSigners { .. }
                        | InspectError::BadSignature(_))
                ),
                "{}, byte {n}: {refusal:?}",
                vector.name
            );
        }
    }
}

#[test]
fn what_no_node_takes_any_more_is_refused() {
    for vector in vectors().refused {
        let refusal = inspect(&vector.read());
        assert!(
            matches!(refusal, Err(InspectError::BadSignature(_))),
            "{}: {refusal:?}",
            vector.name
        );
    }
}

#[test]
fn a_personal_message_is_its_signers_and_no_other() {
    for vector in vectors().personal_messages {
        let signature = UserSignature::from_base64(&vector.signature).unwrap();
        assert_eq!(
            signature.derive_address().to_string(),
            vector.signer.address.as_str()
        );
        let message = BASE64.decode(&vector.message).unwrap();
        let verify = |message: &[u8], signature: &UserSignature| {
            UserSignatureVerifier::new()
                .verify_personal_message(&PersonalMessage(message.into()), signature)
        };
        verify(&message, &signature).unwrap();
        assert!(
            verify(&[&message[..], b" "].concat(), &signature).is_err(),
            "one byte more"
        );
        for n in 0..message.len() {
            let mut changed = message.clone();
            *changed.get_mut(n).unwrap() ^= 1;
            assert!(verify(&changed, &signature).is_err(), "byte {n}");
        }
        let bytes = BASE64.decode(&vector.signature).unwrap();
        for n in 0..bytes.len() {
            let mut changed = bytes.clone();
            *changed.get_mut(n).unwrap() ^= 1;
            let accepted = UserSignature::from_bytes(&changed).is_ok_and(|changed| {
                changed.derive_address() == signature.derive_address()
                    && verify(&message, &changed).is_ok()
            });
            assert!(!accepted, "byte {n} of the signature");
        }
    }
}
