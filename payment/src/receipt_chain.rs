//! The chain of an operator's receipts: whoever has the end of it cannot be shown other receipts than those that made it.
//!
//! Receipts are numbered from 1 on. The end of the chain after receipt *n* is
//!
//! ```text
//! end(0) = 32 zero bytes
//! end(n) = BLAKE2b-256("payflow-receipt-chain-v1" || 0x00 || n as 8 bytes, big endian || end(n - 1) || hash of receipt n)
//! ```
//!
//! Every receipt names its number and `end(n - 1)` and is signed with both, so nothing can be put before it afterwards. The operator
//! publishes the hashes of all receipts, which say nothing of what is in them, and writes an end on the ledger from time to time
//! ([`ChainEnd::memo`]). So a buyer with one receipt, the hashes and the ledger can check that its receipt stands in the chain that
//! everybody else sees.

use blake2::{Blake2b, Digest as _, digest::consts::U32};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DocumentHash;

const DOMAIN: &[u8] = b"payflow-receipt-chain-v1\0";

/// What a memo of an end begins with.
const MEMO_PREFIX: &[u8] = b"payflow-chain-v1:";

/// How many receipts there are, and the hash that depends on all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainEnd {
    /// The number of the last receipt; 0 before the first.
    pub sequence: u64,
    /// See the module.
    pub hash: DocumentHash,
}

impl Default for ChainEnd {
    fn default() -> Self {
        Self {
            sequence: 0,
            hash: DocumentHash([0; 32]),
        }
    }
}

impl ChainEnd {
    /// The end once one more receipt stands there.
    #[must_use]
    pub fn then(&self, receipt: &DocumentHash) -> Self {
        let sequence = self.sequence.saturating_add(1);
        let mut hasher = Blake2b::<U32>::new();
        hasher.update(DOMAIN);
        hasher.update(sequence.to_be_bytes());
        hasher.update(self.hash.as_bytes());
        hasher.update(receipt.as_bytes());
        Self {
            sequence,
            hash: DocumentHash(hasher.finalize().into()),
        }
    }

    /// How an end is written on the ledger: `payflow-chain-v1:`, the number as 8 bytes, big endian, and the hash. See
    /// [`crate::memo`] for how a ledger without memos holds one.
    #[must_use]
    pub fn memo(&self) -> Vec<u8> {
        let number = self.sequence.to_be_bytes();
        [MEMO_PREFIX, &number, self.hash.as_bytes()].concat()
    }

    /// The end that a memo holds, if it is one of these.
    #[must_use]
    pub fn from_memo(memo: &[u8]) -> Option<Self> {
        let rest = memo.strip_prefix(MEMO_PREFIX)?;
        let (number, hash) = rest.split_first_chunk::<8>()?;
        Some(Self {
            sequence: u64::from_be_bytes(*number),
            hash: DocumentHash(hash.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Worked out with Python's hashlib: `blake2b(b'payflow-receipt-chain-v1\0' + n.to_bytes(8, 'big') + end + bytes([n] * 32),
    /// digest_size=32)`.
    #[test]
    fn the_first_ends_are_what_another_implementation_makes() {
        let first = ChainEnd::default().then(&DocumentHash([1; 32]));
        let second = first.then(&DocumentHash([2; 32]));
        assert_eq!((first.sequence, second.sequence), (1, 2));
        assert_eq!(
            [first, second].map(|end| end.hash.to_string()),
            [
                "5e19fd956c517954c0f5967a94aedec2f5b150c14340dce11f4317ff78ea8cec",
                "824b393b9be8e2a055072cc1702bf8e17f07ffd0157cf6f2f620dfacca8411cc"
            ]
        );
    }

    proptest! {
        #[test]
        fn another_receipt_anywhere_makes_another_end(receipts in prop::collection::vec(any::<[u8; 32]>(), 1..12), at in any::<prop::sample::Index>(), bit in 0..256_usize) {
            let end = |receipts: &[[u8; 32]]| {
                receipts.iter().fold(ChainEnd::default(), |end, it| end.then(&DocumentHash(*it)))
            };
            let mut others = receipts.clone();
            let index = at.index(others.len());
            others[index][bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(end(&receipts), end(&others));
            prop_assert_ne!(end(&receipts), end(&receipts[..receipts.len() - 1]));
        }

        #[test]
        fn an_end_is_read_back_from_its_memo_and_nothing_else_is_one(sequence in any::<u64>(), hash in any::<[u8; 32]>()) {
            let end = ChainEnd { sequence, hash: DocumentHash(hash) };
            let memo = end.memo();
            prop_assert_eq!(ChainEnd::from_memo(&memo), Some(end));
            prop_assert_eq!(ChainEnd::from_memo(&memo[..memo.len() - 1]), None);
            prop_assert_eq!(ChainEnd::from_memo(&[&memo[..], &[0]].concat()), None);
            prop_assert_eq!(ChainEnd::from_memo(&crate::memo::encode(&DocumentHash(hash))), None);
        }
    }
}
