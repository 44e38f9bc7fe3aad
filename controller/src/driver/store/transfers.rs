//! The transfers that records mean, in a table of their own, written in one commit with the record.
//!
//! Whoever has only the file can add the accounts up in SQL. Rows can be neither changed nor deleted, and are compared with what
//! the journal means whenever a controller starts.

use futures::TryStreamExt as _;
use payflow_payment::{Amount, Transfer, TransferId};
use sqlx::{Row as _, Sqlite, SqliteConnection, Transaction, sqlite::SqliteRow};

/// From the second version of the tables on.
pub(super) const SCHEMA: &str = "
    CREATE TABLE transfer(
        record       INTEGER NOT NULL REFERENCES journal(sequence),
        part         INTEGER NOT NULL,
        from_account TEXT NOT NULL,
        to_account   TEXT NOT NULL,
        amount       INTEGER NOT NULL CHECK(amount > 0),
        PRIMARY KEY(record, part)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER transfer_stays BEFORE UPDATE ON transfer
        BEGIN SELECT RAISE(ABORT, 'a transfer is never changed; correct it with another one'); END;
    CREATE TRIGGER transfer_is_kept BEFORE DELETE ON transfer
        BEGIN SELECT RAISE(ABORT, 'a transfer is never deleted; correct it with another one'); END;
    CREATE VIEW account AS
        SELECT account, sum(came) AS came, sum(gone) AS gone, sum(came) - sum(gone) AS balance FROM (
            SELECT to_account AS account, amount AS came, 0 AS gone FROM transfer
            UNION ALL SELECT from_account, 0, amount FROM transfer
        ) GROUP BY account;
";

/// Writes them, all in one statement.
pub(super) async fn insert(
    transaction: &mut Transaction<'_, Sqlite>,
    transfers: &[Transfer],
) -> Result<(), sqlx::Error> {
    if transfers.is_empty() {
        return Ok(());
    }
    let encode = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Encode(error);
    let rows: Vec<_> = transfers
        .iter()
        .map(|it| (it.id.record, it.id.part, it.from, it.to, it.amount))
        .collect();
    let rows = serde_json::to_string(&rows).map_err(|error| encode(error.into()))?;
    sqlx::query(
        "INSERT INTO transfer(record, part, from_account, to_account, amount)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?) ORDER BY key",
    )
    .bind(rows)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Compares the table with what the journal means: `None` if they are the same, else the first difference, for people.
pub(super) async fn difference(
    connection: &mut SqliteConnection,
    meant: &[Transfer],
) -> Result<Option<String>, sqlx::Error> {
    let mut rows = sqlx::query(
        "SELECT record, part, from_account, to_account, amount FROM transfer ORDER BY record, part",
    )
    .fetch(connection);
    let mut meant = meant.iter();
    loop {
        match (rows.try_next().await?, meant.next()) {
            (None, None) => return Ok(None),
            (None, Some(transfer)) => {
                return Ok(Some(format!("transfer {} is missing", transfer.id)));
            }
            (Some(row), meant) => {
                let (written, id) = (read(&row), name(&row));
                match meant {
                    None => return Ok(Some(format!("transfer {id} is of no record"))),
                    Some(meant) if written != Some(*meant) => {
                        return Ok(Some(format!(
                            "transfer {id} is not the one that the journal means, {} from {} to {} as {}",
                            meant.amount, meant.from, meant.to, meant.id
                        )));
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

fn read(row: &SqliteRow) -> Option<Transfer> {
    let number = |index: usize| u64::try_from(row.try_get::<i64, _>(index).ok()?).ok();
    let account = |index: usize| row.try_get::<&str, _>(index).ok()?.parse().ok();
    Some(Transfer {
        id: TransferId {
            record: number(0)?,
            part: u32::try_from(number(1)?).ok()?,
        },
        from: account(2)?,
        to: account(3)?,
        amount: Amount(number(4)?),
    })
}

fn name(row: &SqliteRow) -> String {
    let number = |index: usize| row.try_get::<i64, _>(index).unwrap_or_default();
    format!("{}.{}", number(0), number(1))
}
