//! What an operator asks of a controller in a lab.

use anyhow::Context as _;
use payflow_controller::core::{document::ReservationView, reply::BookAccountsDocument};
use serde::{Deserialize, de::DeserializeOwned};

use super::{COMMAND_LIMIT, LOCAL_API, Stage};

/// The operator, in the namespace where the controller is.
pub struct Operator<'s> {
    stage: &'s Stage<'s>,
}

/// What `payflow audit` found.
#[derive(Clone, Debug, Deserialize)]
pub struct Audited {
    /// What does not fit; empty when all does.
    pub findings: Vec<String>,
    /// About how many transactions the ledger was asked.
    pub asked_of_ledger: u64,
}

/// The books.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct AccountBook(BookAccountsDocument);

impl AccountBook {
    /// What some accounts have together, in nanos.
    #[must_use]
    pub fn balance_of(&self, which: impl Fn(&str) -> bool) -> i64 {
        let accounts = self.0.accounts.iter();
        let wanted = accounts.filter(|it| which(&it.account.to_string()));
        wanted.map(|it| it.balance).sum()
    }
}

impl Stage<'_> {
    /// The operator of the controller.
    #[must_use]
    pub fn operator(&self) -> Operator<'_> {
        Operator { stage: self }
    }

    /// What the treasury has on the ledger, in nanos.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub fn treasury(&self) -> anyhow::Result<u64> {
        Ok(self.audit(&[], &[])?.total())
    }

    /// The kind of the newest record on the disk that is about a purchase, whether or not a controller runs; `None` before the first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn last_record_of_a_purchase(&self) -> anyhow::Result<Option<String>> {
        let file = self.dir.join("data/journal.sqlite");
        let program = format!(
            "import sqlite3\n\
             journal = sqlite3.connect('file:{}?mode=ro', uri=True)\n\
             row = journal.execute(\"SELECT kind FROM journal WHERE reservation IS NOT NULL OR kind GLOB 'payout*' OR \
             kind = 'quote_issued' ORDER BY sequence DESC LIMIT 1\").fetchone()\n\
             print(row[0] if row else '', end='')\n",
            file.display()
        );
        let kind = self
            .lab
            .exec("root", &["/usr/bin/python3", "-c", &program])?;
        Ok(Some(kind).filter(|kind| !kind.is_empty()))
    }
}

impl Operator<'_> {
    /// `payflow reservations`.
    ///
    /// # Errors
    /// When the command fails.
    pub fn reservations(&self) -> anyhow::Result<Vec<ReservationView>> {
        #[derive(Deserialize)]
        struct All {
            reservations: Vec<ReservationView>,
        }
        Ok(self.ask::<All>("reservations", true)?.reservations)
    }

    /// `payflow audit`: what it found, which is no error here.
    ///
    /// # Errors
    /// When the command could not look.
    pub fn audit(&self) -> anyhow::Result<Audited> {
        self.ask("audit", false)
    }

    /// `payflow accounts`.
    ///
    /// # Errors
    /// When the command fails.
    pub fn accounts(&self) -> anyhow::Result<AccountBook> {
        self.ask("accounts", true)
    }

    fn ask<T: DeserializeOwned>(&self, command: &str, succeeds: bool) -> anyhow::Result<T> {
        let stage = self.stage;
        let data = stage.dir.join("data").to_string_lossy().into_owned();
        let argv = [
            stage.tools.payflow.to_string_lossy().into_owned(),
            "--json".to_owned(),
            command.to_owned(),
            "--data-dir".to_owned(),
            data,
        ];
        let done = stage
            .lab
            .program("root", argv)
            .env("PAYFLOW_API", LOCAL_API)
            .run(COMMAND_LIMIT)?;
        let done = if succeeds { done.success()? } else { done };
        serde_json::from_str(&done.stdout).with_context(|| {
            format!(
                "what payflow {command} printed: {}{}",
                done.stdout, done.stderr
            )
        })
    }
}
