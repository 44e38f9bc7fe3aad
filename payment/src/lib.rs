//! Money, quotes, receipts and refunds; the IOTA adapter and the development ledger.
