//! Vouchers: how a prepaid account is spent, a signature at a time.
//!
//! A voucher says how much of an account its operator may take **in all**, so the highest replaces every one before it and old
//! ones are harmless. It is worth something to one operator, on one chain, for one account, and nothing anywhere else.
//!
//! What is signed, numbers big endian:
//!
//! | bytes | what |
//! |---|---|
//! | 19 | `payflow-voucher-v1` and a zero byte |
//! | 1 | length of the chain id |
//! | that many | the chain id |
//! | 32 | the operator's key |
//! | 8 | the account's number |
//! | 8 | the sequence number, from 1 |
//! | 8 | the amount, in the asset's smallest unit |
//!
//! A voucher is these bytes, the key that signed (32) and the signature (64); in text, base64 (RFC 4648 section 4) of all of
//! it. The layout is fixed, so that a contract on a ledger can check it too. Nothing else that the key signs looks like it: a
//! transaction is signed by a hash of 32 bytes, a request to a controller begins with a quotation mark.
//!
//! Pure: keys, and the seed of a batch, are arguments.

mod check;
#[cfg(test)]
mod edge_cases;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use base64::{DecodeError, Engine as _, engine::general_purpose::STANDARD as BASE64};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::{Checked, check, check_all, is_signed_by};

use crate::{Amount, ChainId, PublicKey, Signature, SigningKey};

const DOMAIN: &[u8] = b"payflow-voucher-v1\0";

/// The number of a prepaid account at its operator; in text, `a17`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct AccountNumber(pub u64);

impl AccountNumber {
    /// The largest, so that every one can stand in a signed document (RFC 8785 section 3.2.2.3).
    pub const MAX: u64 = (1 << 40) - 1;

    /// As a resource: `a17`.
    #[must_use]
    pub fn account_id(self) -> String {
        format!("a{}", self.0)
    }

    /// Reads `a17`; `None` for anything else, other spellings of the same number included.
    #[must_use]
    pub fn from_account_id(text: &str) -> Option<Self> {
        let number = text.strip_prefix('a')?.parse().ok().map(Self)?;
        (number.0 <= Self::MAX && number.account_id() == text).then_some(number)
    }
}

impl fmt::Display for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}", self.0)
    }
}

/// Where a voucher is worth something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payee {
    /// The chain that the account's deposits are on.
    pub chain_id: ChainId,
    /// The operator's key.
    pub operator: PublicKey,
}

/// What a voucher says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// To whom it is said.
    pub payee: Payee,
    /// Of which account.
    pub account: AccountNumber,
    /// Which word on this account it is: from 1, each used once.
    pub sequence: u64,
    /// What may be taken of the account in all, from its opening to its end.
    pub amount: Amount,
}

/// A promise, who signed it, and the signature. Nobody's word until it is [checked](check()).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Voucher {
    /// What is said.
    pub promise: Promise,
    /// Who says it.
    pub signer: PublicKey,
    /// The proof.
    pub signature: Signature,
}

/// Why something is no voucher here, whatever the account may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoucherError {
    /// It ends too early.
    #[error("the voucher breaks off after {bytes} bytes; send it whole")]
    Truncated {
        /// How many there are.
        bytes: usize,
    },
    /// It is something else.
    #[error("this is not a voucher: {0}")]
    Malformed(&'static str),
    /// For money of another chain.
    #[error("the voucher is for the chain {found}, and this operator is paid on {expected}")]
    OtherChain {
        /// What it says.
        found: ChainId,
        /// What it would have to say.
        expected: ChainId,
    },
    /// For somebody else.
    #[error("the voucher is for the operator {found}, and this one is {expected}")]
    OtherOperator {
        /// What it says.
        found: PublicKey,
        /// What it would have to say.
        expected: PublicKey,
    },
    /// The signature is of something else or by somebody else.
    #[error("the signature does not belong to this voucher and the key {signer}")]
    Forged {
        /// Who would have signed.
        signer: PublicKey,
    },
}

impl VoucherError {
    /// A word for programs, one for each way to be wrong.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "voucher-truncated",
            Self::Malformed(_) => "voucher-malformed",
            Self::OtherChain { .. } => "voucher-other-chain",
            Self::OtherOperator { .. } => "voucher-other-operator",
            Self::Forged { .. } => "voucher-forged",
        }
    }
}

impl Promise {
    /// What is signed. `None` where the chain id is longer than 255 bytes, which that of no ledger is.
    #[must_use]
    pub fn signed_bytes(&self) -> Option<Vec<u8>> {
        let chain = self.payee.chain_id.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(DOMAIN.len() + 1 + chain.len() + 56 + 96);
        bytes.extend_from_slice(DOMAIN);
        bytes.push(u8::try_from(chain.len()).ok()?);
        bytes.extend_from_slice(chain);
        bytes.extend_from_slice(&self.payee.operator.0);
        bytes.extend_from_slice(&self.account.0.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.amount.0.to_be_bytes());
        Some(bytes)
    }

    /// The voucher for which whoever holds a key has signed [`Self::signed_bytes`].
    #[must_use]
    pub fn with_signature(self, signer: PublicKey, signature: Signature) -> Voucher {
        Voucher {
            promise: self,
            signer,
            signature,
        }
    }

    /// Signs it. `None` where there are no bytes to sign.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> Option<Voucher> {
        let signature = key.sign_bytes(&self.signed_bytes()?);
        Some(self.with_signature(key.public_key(), signature))
    }
}

impl Voucher {
    /// The most bytes that one has.
    pub const MAX_BYTES: usize = DOMAIN.len() + 1 + 255 + 56 + 96;

    /// Reads one, whole and nothing after it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VoucherError> {
        let mut rest = Reader { bytes, at: 0 };
        let begins = bytes.iter().zip(DOMAIN).all(|(a, b)| a == b);
        if !begins {
            return Err(VoucherError::Malformed(
                "it does not begin with payflow-voucher-v1 and a zero byte",
            ));
        }
        rest.take(DOMAIN.len())?;
        let [length] = rest.array()?;
        let chain_id = std::str::from_utf8(rest.take(length.into())?)
            .map_err(|_| VoucherError::Malformed("its chain id is not text"))?
            .into();
        let voucher = Self {
            promise: Promise {
                payee: Payee {
                    chain_id,
                    operator: PublicKey(rest.array()?),
                },
                account: AccountNumber(u64::from_be_bytes(rest.array()?)),
                sequence: u64::from_be_bytes(rest.array()?),
                amount: Amount(u64::from_be_bytes(rest.array()?)),
            },
            signer: PublicKey(rest.array()?),
            signature: Signature(rest.array()?),
        };
        if rest.at < bytes.len() {
            return Err(VoucherError::Malformed("something follows the signature"));
        }
        Ok(voucher)
    }

    /// The bytes of [`Self::from_bytes`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // What was read has a chain id that fits, and what does not fit cannot have been signed.
        let mut bytes = self.promise.signed_bytes().unwrap_or_default();
        bytes.extend_from_slice(&self.signer.0);
        bytes.extend_from_slice(&self.signature.0);
        bytes
    }
}

/// Takes from the front, and tells how much there was when it is not enough.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], VoucherError> {
        let taken = self.bytes.get(self.at..self.at + count);
        self.at += count;
        taken.ok_or(VoucherError::Truncated {
            bytes: self.bytes.len(),
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], VoucherError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| VoucherError::Truncated {
            bytes: self.bytes.len(),
        })
    }
}

impl fmt::Display for Voucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.to_bytes()))
    }
}

impl fmt::Debug for Voucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Promise {
            account,
            sequence,
            amount,
            ..
        } = &self.promise;
        write!(f, "Voucher({account} #{sequence}: {amount})")
    }
}

impl FromStr for Voucher {
    type Err = VoucherError;

    fn from_str(text: &str) -> Result<Self, VoucherError> {
        if text.len() > Self::MAX_BYTES.div_ceil(3) * 4 {
            return Err(VoucherError::Malformed("it is too long"));
        }
        let bytes = BASE64.decode(text).map_err(|error| match error {
            DecodeError::InvalidByte(..) => {
                VoucherError::Malformed("it is not base64 (RFC 4648 section 4)")
            }
            // What a text that was cut looks like.
            DecodeError::InvalidLength(_)
            | DecodeError::InvalidPadding
            | DecodeError::InvalidLastSymbol(..) => VoucherError::Truncated {
                bytes: text.len() / 4 * 3,
            },
        })?;
        Self::from_bytes(&bytes)
    }
}

impl TryFrom<String> for Voucher {
    type Error = VoucherError;

    fn try_from(text: String) -> Result<Self, VoucherError> {
        text.parse()
    }
}

impl From<Voucher> for String {
    fn from(it: Voucher) -> Self {
        it.to_string()
    }
}
