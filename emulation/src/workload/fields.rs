//! A TOML table that is read key by key, so that everything wrong with a file is told at once.

use std::cell::RefCell;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// What is wrong with a file, in the order in which it was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Problems(Rc<RefCell<Vec<String>>>);

impl Problems {
    /// One more, at a key.
    pub(super) fn add(&self, path: &str, what: impl std::fmt::Display) {
        let line = if path.is_empty() {
            what.to_string()
        } else {
            format!("{path}: {what}")
        };
        self.0.borrow_mut().push(line);
    }

    /// All of them.
    pub(super) fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// A table of the file, and where in the file it is.
pub(super) struct Fields {
    path: String,
    table: Table,
    known: Vec<&'static str>,
    problems: Problems,
}

impl Fields {
    pub(super) fn new(path: String, table: Table, problems: &Problems) -> Self {
        Self {
            path,
            table,
            known: Vec::new(),
            problems: problems.clone(),
        }
    }

    /// Where a key is in the file.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Something is wrong with a key.
    pub(super) fn wrong(&self, key: &str, what: impl std::fmt::Display) {
        self.problems.add(&self.path_of(key), what);
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// What a key says; `None` if it is not there, or wrong, which is told.
    pub(super) fn get<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        let value = self.take(key)?;
        match value.try_into() {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(key, error.message());
                None
            }
        }
    }

    /// As [`Self::get`], of a key that must be there.
    pub(super) fn need<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            self.wrong(key, "is missing");
            return None;
        }
        self.get(key)
    }

    /// A whole number from `least` to `most`; told if it is another.
    pub(super) fn number(&mut self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        let number: i64 = self.get(key)?;
        match u64::try_from(number) {
            Ok(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                self.wrong(key, format!("{number} is not from {least} to {most}"));
                None
            }
        }
    }

    /// As [`Self::number`], of a key that must be there.
    pub(super) fn need_number(&mut self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            self.wrong(key, "is missing");
            return None;
        }
        self.number(key, least, most)
    }

    /// A rate such as `"20Mbit"`; told if it is none, or zero.
    pub(super) fn rate(&mut self, key: &'static str) -> Option<payflow_qos::BitRate> {
        let text: String = self.get(key)?;
        self.parse_rate(key, &text)
    }

    /// The rate in a text.
    pub(super) fn parse_rate(&self, key: &str, text: &str) -> Option<payflow_qos::BitRate> {
        match text.parse::<payflow_qos::BitRate>() {
            Ok(rate) if (1_000..=MOST_BPS).contains(&rate.0) => Some(rate),
            Ok(rate) => {
                self.wrong(key, format!("{rate} is not from 1 kbit/s to 1 Tbit/s"));
                None
            }
            Err(error) => {
                self.wrong(key, error);
                None
            }
        }
    }

    /// A table inside.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        let table: Table = self.get(key)?;
        Some(Self::new(self.path_of(key), table, &self.problems))
    }

    /// Tables inside, each with its place from 1 on.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let tables: Vec<Table> = self.get(key).unwrap_or_default();
        let path = self.path_of(key);
        let of = |(number, table)| Self::new(format!("{path} {number}"), table, &self.problems);
        (1..).zip(tables).map(of).collect()
    }

    /// The one key of a table that says which of several things it is.
    pub(super) fn only_key(&self) -> Option<&str> {
        let mut keys = self.table.keys();
        let key = keys.next()?;
        keys.next().is_none().then_some(key)
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whatever is left was never asked for.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let known = self.known.join(", ");
            self.wrong(key, format!("is not known here; known are {known}"));
        }
    }
}

/// The most that anything carries here.
const MOST_BPS: u64 = 1_000_000_000_000;
