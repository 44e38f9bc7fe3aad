//! How a receipt's hash is written on a ledger that has no memo field.
//!
//! On IOTA a memo is an input of the transaction that no command uses: a `Pure` input holding the BCS of the bytes
//! below as `vector<u8>`. It costs nothing but its bytes and has no effect. This is a convention of this project,
//! not of IOTA; wallets and explorers show it as raw bytes.

use crate::DocumentHash;

/// What a memo of ours begins with.
pub const RECEIPT_PREFIX: &[u8] = b"payflow-receipt-v1:";

/// The memo that says which receipt a settlement belongs to: [`RECEIPT_PREFIX`], then the receipt's hash.
#[must_use]
pub fn encode(receipt: &DocumentHash) -> Vec<u8> {
    [RECEIPT_PREFIX, receipt.as_bytes()].concat()
}

/// The hash of the receipt that `memo` names, if it is a memo of ours.
#[must_use]
pub fn decode(memo: &[u8]) -> Option<DocumentHash> {
    let hash = memo.strip_prefix(RECEIPT_PREFIX)?;
    hash.try_into().ok().map(DocumentHash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_gives_back_its_hash_and_nothing_else_does() {
        let hash = DocumentHash([7; 32]);
        let memo = encode(&hash);
        assert_eq!(decode(&memo), Some(hash));
        for n in 0..memo.len() {
            assert_eq!(decode(memo.get(..n).unwrap_or_default()), None, "{n} bytes");
        }
        assert_eq!(decode(&[memo.as_slice(), &[0]].concat()), None);
        assert_eq!(
            decode(b"payflow-receipt-v2:01234567890123456789012345678901"),
            None
        );
    }
}
