#![allow(clippy::unwrap_used)]

use super::*;
use crate::api::testing::Served;

#[tokio::test]
async fn pages_are_served_with_a_policy_that_lets_nothing_else_in() {
    let served = Served::new([]).await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/buy", "text/html; charset=utf-8"),
        ("/dashboard/main.js", "text/javascript; charset=utf-8"),
        ("/dashboard/style.css", "text/css; charset=utf-8"),
        ("/dashboard/icon.svg", "image/svg+xml"),
    ] {
        let response = served.send("GET", path, "", "").await;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.header("content-type"), Some(kind), "{path}");
        let policy = response.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self';",
            "style-src 'self';",
            "connect-src 'self' http://faucet.test:9123;",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    served
        .send("GET", "/dashboard/none.js", "", "")
        .await
        .is_problem(404, "not-found");
    served
        .send("POST", "/buy", "", "")
        .await
        .is_problem(405, "method-not-allowed");
    assert!(served.asked().is_empty());
}

#[tokio::test]
async fn a_page_that_has_not_changed_is_not_sent_again() {
    let served = Served::new([]).await;
    let first = served.send("GET", "/", "", "").await;
    let tag = first.header("etag").unwrap().to_owned();
    let again = served
        .send("GET", "/", &format!("if-none-match: \"x\", {tag}\r\n"), "")
        .await;
    assert_eq!(again.status, 304);
    let other = served
        .send("GET", "/", "if-none-match: \"x\"\r\n", "")
        .await;
    assert_eq!(other.status, 200);
}

/// What a policy would block is not in the pages to begin with, and every file that is named is there.
#[test]
fn pages_name_no_stranger_and_hold_no_script_or_style() {
    for asset in ASSETS {
        let text = asset.text;
        // SVG's namespace is a name, and nothing is fetched from there.
        let bare = text.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http://", "https://", "//cdn"] {
            assert!(!bare.contains(foreign), "{}: {foreign}", asset.path);
        }
        if asset.content_type().starts_with("text/html") {
            for inline in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
                assert!(!text.contains(inline), "{}: {inline}", asset.path);
            }
            assert!(
                text.matches("<script").count()
                    == text.matches("<script type=\"module\" src=").count()
            );
        }
        let named = text.split(['"', '\'']).filter(|word| {
            word.starts_with("/dashboard/")
                || (word.starts_with("./") || word.starts_with("../")) && word.ends_with(".js")
        });
        for name in named {
            let path = match name.strip_prefix("./") {
                Some(beside) => format!("{}/{beside}", asset.path.rsplit_once('/').unwrap().0),
                None => name.replace("../", "/dashboard/"),
            };
            assert!(Asset::at(&path).is_some(), "{} names {path}", asset.path);
        }
    }
}

#[test]
fn what_is_no_plain_origin_stands_in_no_policy() {
    assert_eq!(
        origin("http://faucet.test:9123/gas?x=1").as_deref(),
        Some(" http://faucet.test:9123")
    );
    assert_eq!(
        origin("http://[::1]:9123").as_deref(),
        Some(" http://[::1]:9123")
    );
    for wrong in [
        "faucet.test",
        "http://a; script-src *",
        "http://",
        "http://a b",
    ] {
        assert_eq!(origin(wrong), None, "{wrong}");
    }
}

/// What the pages must be told by Rust to be tried: hashes, keys, payments and signed requests.
mod vectors {
    use blake2::{Blake2b, digest::consts::U32};
    use iota_sdk_crypto::{IotaSigner as _, Signer as _, ed25519::Ed25519PrivateKey};
    use iota_sdk_types::{
        Address, Argument, Command, Ed25519Signature, GasPayment, Input, ObjectDigest, ObjectId,
        ObjectReference, ProgrammableTransaction, SplitCoins, Transaction, TransactionExpiration,
        TransactionKind, TransactionV1, TransferObjects, Version,
    };
    use payflow_payment::ledger::keys::Wallet;
    use serde_json::{Value, json};
    use sha2::{Digest as _, Sha256, Sha512};

    use crate::api::signature::{Message, Parameters, sign};

    const TAG: &str = "payflow:0011";

    fn seed(n: u8) -> [u8; 32] {
        Sha256::digest([n]).into()
    }

    fn base64(bytes: &[u8]) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }

    fn hash(length: usize) -> Value {
        let bytes: Vec<u8> = (0..length).map(|n| (n * 7 + length) as u8).collect();
        json!({
            "bytes": hex::encode(&bytes),
            "blake2b": hex::encode(Blake2b::<U32>::digest(&bytes)),
            "sha256": hex::encode(Sha256::digest(&bytes)),
            "sha512": hex::encode(Sha512::digest(&bytes)),
        })
    }

    fn key(n: u8) -> Value {
        use iota_sdk_crypto::ToFromBech32 as _;
        let key = Ed25519PrivateKey::new(seed(n));
        let wallet = Wallet::from_seed(seed(n));
        let message = "payflow ".repeat(n.into());
        let signature: Ed25519Signature = key.try_sign(message.as_bytes()).unwrap();
        json!({
            "seed": hex::encode(seed(n)),
            "public_key": wallet.public_key(),
            "address": wallet.address(),
            "text": key.to_bech32().unwrap(),
            "message": message,
            "signature": hex::encode(signature.bytes()),
        })
    }

    fn payment(n: u8, coins: u8, amount: u64) -> Value {
        let key = Ed25519PrivateKey::new(seed(n));
        let sender: Address = key.public_key().derive_address();
        let to = Address::new(seed(n + 1));
        let objects: Vec<_> = (0..coins)
            .map(|coin| {
                ObjectReference::new(
                    ObjectId::new(seed(coin.wrapping_add(100))),
                    Version::from_u64(1 + 1_000 * u64::from(coin)),
                    // A digest that begins with zeros is the one that a careless decoder cuts.
                    ObjectDigest::new(if coin == 1 {
                        [0; 32]
                    } else {
                        seed(coin.wrapping_add(200))
                    }),
                )
            })
            .collect();
        let pure = |bytes: Vec<u8>| Input::Pure(bytes);
        let program = ProgrammableTransaction {
            inputs: vec![
                pure(bcs::to_bytes(&amount).unwrap()),
                pure(bcs::to_bytes(&to).unwrap()),
            ],
            commands: vec![
                Command::SplitCoins(SplitCoins {
                    coin: Argument::Gas,
                    amounts: vec![Argument::Input(0)],
                }),
                Command::TransferObjects(TransferObjects {
                    objects: vec![Argument::Result(0)],
                    address: Argument::Input(1),
                }),
            ],
        };
        let gas_price = 1_000;
        let transaction = Transaction::V1(TransactionV1 {
            kind: TransactionKind::Programmable(program),
            sender,
            gas_payment: GasPayment {
                objects: objects.clone(),
                owner: sender,
                price: gas_price,
                budget: 10_000 * gas_price,
            },
            expiration: TransactionExpiration::None,
        });
        let signature = key.sign_transaction(&transaction).unwrap();
        let coins: Vec<_> = objects
            .iter()
            .map(|it| {
                json!({
                    "object_id": it.object_id.to_string(), "version": it.version.as_u64(),
                    "digest": it.digest.to_string(), "balance": 1
                })
            })
            .collect();
        // What the controller reads is what was meant.
        let bytes = bcs::to_bytes(&transaction).unwrap();
        let signature = signature.to_bytes();
        let whole = payflow_payment::SignedTransaction::from_parts(
            &bytes,
            std::slice::from_ref(&signature),
        )
        .unwrap();
        let inspected = payflow_payment::ledger::iota::inspect(&whole).unwrap();
        assert_eq!(inspected.transfers[0].amount.0, amount);
        json!({
            "seed": hex::encode(seed(n)), "to": to.to_string(), "amount": amount,
            "wallet": { "gas_price": gas_price, "balance": 1, "coins": coins },
            "tx_bytes": base64(&bytes), "signature": base64(&signature),
        })
    }

    fn request(n: u8, method: &str, query: Option<&str>, body: &str, key: Option<&str>) -> Value {
        let message = Message {
            method,
            path: "/v1/quotes",
            query,
            body: body.as_bytes(),
            idempotency_key: key,
        };
        let parameters = Parameters {
            created: 1_700_000_000 + u64::from(n),
            tag: TAG,
            nonce: None,
        };
        let signed = sign(&message, &parameters, &Ed25519PrivateKey::new(seed(n))).unwrap();
        let mut fields = json!({
            "Signature-Input": signed.signature_input, "Signature": signed.signature,
        });
        if let Some(digest) = signed.content_digest {
            fields["Content-Digest"] = json!(digest);
        }
        let mut told = json!({ "method": method, "path": "/v1/quotes", "body": body });
        if let Some(query) = query {
            told["query"] = json!(query);
        }
        if let Some(key) = key {
            fields["Idempotency-Key"] = json!(key);
            told["idempotencyKey"] = json!(key);
        }
        json!({
            "seed": hex::encode(seed(n)), "message": told, "tag": TAG,
            "created": parameters.created, "fields": fields,
        })
    }

    pub(super) fn all() -> Value {
        json!({
            "hashes": (0..320).map(hash).collect::<Vec<_>>(),
            "keys": (1..6).map(key).collect::<Vec<_>>(),
            "payments": [payment(1, 1, 1), payment(2, 3, 68_338_000), payment(3, 250, 9_000_000_000_000_000)],
            "requests": [
                request(1, "GET", None, "", None),
                request(2, "GET", Some("after=1&limit=2"), "", None),
                request(3, "POST", None, "{\"destination\":\"10.0.0.4\",\"who\":\"Zoë\"}", Some("k-1")),
            ],
        })
    }
}

#[test]
fn what_the_pages_compute_themselves_is_what_rust_computes() {
    let dir = tempfile::tempdir().unwrap();
    let vectors = dir.path().join("vectors.json");
    std::fs::write(&vectors, vectors::all().to_string()).unwrap();
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboard/tests");
    let files =
        ["wallet.test.js", "pictures.test.js", "api.test.js"].map(|file| format!("{tests}/{file}"));
    let output = std::process::Command::new("node")
        .arg("--test")
        .args(files)
        .env("PAYFLOW_VECTORS", &vectors)
        .output()
        .expect("node runs the tests of the pages; `make setup` installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("# pass 15"), "{said}");
}
