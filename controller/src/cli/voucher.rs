//! The next voucher of an account.
//!
//! It is made from what the controller says of the account, and never believes it more than it must: the terms are signed by the
//! operator, what is promised so far is proven by the wallet's own signature, and the last word on every account is written beside
//! the wallet before it leaves, so that no number is used for two of them.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use payflow_payment::{
    Amount, PublicKey, Signature,
    voucher::{AccountNumber, Payee, Promise, Voucher, check},
};
use serde::{Deserialize, Serialize};

use super::{error::CliError, units::show_amount, wallet::HostWallet};
use crate::{
    api::WellKnown,
    core::accounts::document::{AccountDocument, AccountView},
};

/// The terms, if the operator has signed them, for this wallet.
pub(super) fn trusted<'v>(
    view: &'v AccountView,
    wallet: &HostWallet,
    known: &WellKnown,
) -> Result<&'v AccountDocument, CliError> {
    let document = view
        .account
        .verify(AccountDocument::DOMAIN, &known.operator_key)
        .map_err(|error| distrusted(&format!("the account is not the operator's: {error}")))?;
    if document.owner != wallet.buyer() {
        return Err(distrusted("the account is not this wallet's"));
    }
    if document.chain_id != known.chain_id {
        return Err(distrusted("the account is on another chain"));
    }
    Ok(document)
}

/// What has been said last on an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    sequence: u64,
    amount: Amount,
}

/// The last word on every account, beside the wallet.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Memory(BTreeMap<String, Said>);

impl Memory {
    fn file(wallet: &Path) -> PathBuf {
        let mut name = wallet.file_name().unwrap_or_default().to_owned();
        name.push(".vouchers.json");
        wallet.with_file_name(name)
    }

    fn load(wallet: &Path) -> Result<Self, CliError> {
        let file = Self::file(wallet);
        let failed = |error: String| CliError::Failed(format!("{}: {error}", file.display()));
        match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    fn save(&self, wallet: &Path) -> io::Result<()> {
        let file = Self::file(wallet);
        let draft = file.with_extension("draft");
        let mut out = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        out.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        out.sync_all()?;
        fs::rename(&draft, &file)
    }
}

/// The voucher that pays so much more, if what the controller says of the account can be.
fn next_promise(
    view: &AccountView,
    payee: &Payee,
    owner: PublicKey,
    said: Said,
    price: Amount,
) -> Result<Promise, String> {
    let number = AccountNumber::from_account_id(&view.account.document.id)
        .ok_or("the account has no number")?;
    let proven = match &view.voucher {
        None => Said::default(),
        Some(voucher) => {
            let checked = check(voucher.clone(), payee).map_err(|error| error.to_string())?;
            let promise = &checked.voucher().promise;
            if voucher.signer != owner || promise.account != number {
                return Err("the voucher that it shows is of somebody else".to_owned());
            }
            Said {
                sequence: promise.sequence,
                amount: promise.amount,
            }
        }
    };
    let taken = view
        .spent
        .checked_add(view.held)
        .ok_or("sums of the account are too large")?;
    if taken > proven.amount {
        return Err(format!(
            "the controller has taken {taken}, and no voucher of this wallet says more than {}",
            proven.amount
        ));
    }
    let needed = taken.checked_add(price).ok_or("the price is too high")?;
    Ok(Promise {
        payee: payee.clone(),
        account: number,
        sequence: proven.sequence.max(said.sequence).saturating_add(1),
        amount: needed.max(proven.amount).max(said.amount),
    })
}

/// Signs the next voucher of an account, and remembers it before anybody sees it.
pub(super) fn sign_next(
    view: &AccountView,
    wallet: &HostWallet,
    known: &WellKnown,
    price: Amount,
) -> Result<Voucher, CliError> {
    let document = trusted(view, wallet, known)?;
    let payee = Payee {
        chain_id: known.chain_id.clone(),
        operator: known.operator_key,
    };
    let name = format!("{}/{}/{}", known.chain_id, known.operator_key, document.id);
    let mut memory = Memory::load(wallet.path())?;
    let said = memory.0.get(&name).copied().unwrap_or_default();
    let promise = next_promise(view, &payee, wallet.buyer(), said, price)
        .map_err(|reason| distrusted(&reason))?;
    if promise.amount > view.deposited {
        return Err(CliError::Failed(format!(
            "{} holds {} that is free, and this costs {}; pay more in with: payflow account deposit {} AMOUNT",
            document.id,
            show_amount(view.free),
            show_amount(price),
            document.id
        )));
    }
    let last = Said {
        sequence: promise.sequence,
        amount: promise.amount,
    };
    memory.0.insert(name, last);
    memory.save(wallet.path()).map_err(|error| {
        CliError::Failed(format!(
            "{}: {error}; nothing has been paid",
            Memory::file(wallet.path()).display()
        ))
    })?;
    let signature = promise
        .signed_bytes()
        .and_then(|bytes| wallet.payer().sign_bytes(&bytes))
        .ok_or_else(|| CliError::Failed("the wallet cannot sign a voucher".to_owned()))?;
    Ok(promise.with_signature(wallet.buyer(), Signature(signature)))
}

fn distrusted(reason: &str) -> CliError {
    CliError::Failed(format!("{reason}; nothing has been paid"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use payflow_payment::{Asset, Signed, SigningKey, UnixMillis, account::Phase};

    use super::*;

    fn operator() -> SigningKey {
        SigningKey::from_seed([1; 32])
    }

    fn owner() -> SigningKey {
        SigningKey::from_seed([2; 32])
    }

    fn payee() -> Payee {
        Payee {
            chain_id: "chain".into(),
            operator: operator().public_key(),
        }
    }

    fn view(promised: Option<(u64, u64)>, spent: u64, held: u64) -> AccountView {
        let document = AccountDocument {
            id: "a3".to_owned(),
            owner: owner().public_key(),
            chain_id: "chain".into(),
            asset: Asset::iota(),
            pay_to: "0x1".into(),
            refund_to: "0x2".into(),
            closing_fee: Amount(1),
            mispayment_fee: Amount(1),
            opened_at: UnixMillis(0),
        };
        let voucher = promised.map(|(sequence, amount)| {
            let promise = Promise {
                payee: payee(),
                account: AccountNumber(3),
                sequence,
                amount: Amount(amount),
            };
            promise.sign(&owner()).unwrap()
        });
        AccountView {
            account: Signed::sign(&operator(), AccountDocument::DOMAIN, document).unwrap(),
            status: Phase::Open,
            deposited: Amount(1_000),
            spent: Amount(spent),
            held: Amount(held),
            free: Amount(1_000 - spent - held),
            promised: Amount(promised.map_or(0, |it| it.1)),
            sequence: promised.map_or(0, |it| it.0),
            voucher,
            forks: Vec::new(),
            deposits: Vec::new(),
            statement: None,
            settlement: None,
            other_refunds: Vec::new(),
        }
    }

    fn next(view: &AccountView, said: (u64, u64)) -> Result<(u64, u64), String> {
        let said = Said {
            sequence: said.0,
            amount: Amount(said.1),
        };
        let promise = next_promise(view, &payee(), owner().public_key(), said, Amount(100))?;
        Ok((promise.sequence, promise.amount.0))
    }

    #[test]
    fn the_next_voucher_covers_what_is_taken_and_the_price() {
        assert_eq!(next(&view(None, 0, 0), (0, 0)), Ok((1, 100)));
        assert_eq!(
            next(&view(Some((4, 300)), 200, 100), (4, 300)),
            Ok((5, 400))
        );
        // What came back is covered already.
        assert_eq!(next(&view(Some((4, 300)), 50, 0), (4, 300)), Ok((5, 300)));
    }

    #[test]
    fn a_number_that_was_used_is_never_used_again_whatever_the_controller_says() {
        assert_eq!(next(&view(None, 0, 0), (7, 250)), Ok((8, 250)));
        assert_eq!(next(&view(Some((4, 300)), 300, 0), (7, 350)), Ok((8, 400)));
    }

    #[test]
    fn nothing_is_signed_for_what_no_voucher_has_promised() {
        let lie = next(&view(Some((4, 300)), 301, 0), (4, 300)).unwrap_err();
        assert!(lie.contains("has taken 301"), "{lie}");
        assert!(next(&view(None, 1, 0), (0, 0)).is_err());
        let mut forged = view(Some((4, 300)), 300, 0);
        forged.voucher.as_mut().unwrap().promise.amount = Amount(900);
        assert!(next(&forged, (0, 0)).is_err());
    }

    #[test]
    fn the_last_word_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let wallet = dir.path().join("wallet.key");
        let mut memory = Memory::load(&wallet).unwrap();
        let said = Said {
            sequence: 7,
            amount: Amount(70),
        };
        memory.0.insert("chain/key/a3".to_owned(), said);
        memory.save(&wallet).unwrap();
        let read = Memory::load(&wallet).unwrap();
        assert_eq!(read.0.get("chain/key/a3"), Some(&said));
    }
}
