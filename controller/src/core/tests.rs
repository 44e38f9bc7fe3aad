//! The core as a whole, against a ledger and a network told by the test.
