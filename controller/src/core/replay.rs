//! What records mean, without a controller: for copies of a journal.

use payflow_payment::Transfer;

use super::{
    bookkeeping::Bookkeeper, journal::Record, register::Contradiction, register::Register,
};

/// Where a journal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The number that its next quote would have.
    pub next_quote: u64,
    /// The number that its next prepaid account would have.
    pub next_account: u64,
}

/// Applies all records, in order, and books what they mean.
///
/// # Errors
/// The first record that cannot follow those before it.
pub fn replay(
    records: impl IntoIterator<Item = (u64, Record)>,
) -> Result<(Summary, Vec<Transfer>), Contradiction> {
    let mut register = Register::default();
    let mut bookkeeper = Bookkeeper::default();
    let mut transfers = Vec::new();
    for (sequence, record) in records {
        register.apply(&record)?;
        let booked = bookkeeper.book(sequence, &record);
        transfers.extend(booked.map_err(|error| Contradiction::new(&record, error.to_string()))?);
    }
    let summary = Summary {
        next_quote: register.next_number().0,
        next_account: register.next_account().0,
    };
    Ok((summary, transfers))
}
