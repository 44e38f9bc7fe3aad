//! The disk of a simulated controller: slow, and what was on its way when the power went may be there or not.

use std::collections::VecDeque;

use payflow_controller::core::journal::Record;

use super::chance::Chance;

/// Records, as the store keeps them: JSON, in order, whole groups or nothing.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    durable: Vec<(u64, String)>,
    /// Given to the disk, in groups that were committed together; nobody was told that they are durable.
    writing: VecDeque<Vec<(u64, String)>>,
    gathering: Vec<(u64, String)>,
    /// Nobody will ever read what was written.
    forgets: bool,
}

impl Disk {
    /// A disk that keeps nothing, for a controller that is never restarted.
    #[must_use]
    pub fn forgetful() -> Self {
        Self {
            forgets: true,
            ..Self::default()
        }
    }

    /// Takes a record. `true` if nothing was being gathered: a commit is due.
    ///
    /// # Panics
    /// When a record has no JSON form, which the store could not write either.
    pub fn take(&mut self, sequence: u64, record: &Record) -> bool {
        let text = if self.forgets {
            String::new()
        } else {
            serde_json::to_string(record).expect("records have a JSON form")
        };
        self.gathering.push((sequence, text));
        self.gathering.len() == 1
    }

    /// Begins to write what was gathered, as one group.
    pub fn begin(&mut self) {
        let group = std::mem::take(&mut self.gathering);
        if !group.is_empty() {
            self.writing.push_back(group);
        }
    }

    /// The oldest group is written: the last sequence number in it.
    pub fn finish(&mut self) -> Option<u64> {
        let group = self.writing.pop_front()?;
        let last = group.last().map(|(sequence, _)| *sequence);
        if !self.forgets {
            self.durable.extend(group);
        }
        last
    }

    /// The power goes. Groups that were being written may have reached the disk, in order, though nobody was told.
    pub fn crash(&mut self, chance: &mut Chance) {
        while !self.writing.is_empty() && chance.happens(500) {
            self.finish();
        }
        self.writing.clear();
        self.gathering.clear();
    }

    /// Everything that is durable, read back.
    ///
    /// # Errors
    /// A record that cannot be read back.
    pub fn read(&self) -> Result<Vec<(u64, Record)>, serde_json::Error> {
        self.durable
            .iter()
            .map(|(sequence, text)| Ok((*sequence, serde_json::from_str(text)?)))
            .collect()
    }

    /// The durable records after the first so many, as they were written.
    pub fn texts(&self, after: usize) -> impl Iterator<Item = &str> {
        self.durable.iter().skip(after).map(|(_, text)| &**text)
    }

    /// Whether a durable record is of this kind and about this reservation. Looks at the text, not through the code
    /// under test.
    #[must_use]
    pub fn holds(&self, kind: &str, number: u64) -> bool {
        self.says(number, &[&format!("\"record\":\"{kind}\"")])
    }

    /// How many durable records are of this kind and about this reservation.
    #[must_use]
    pub fn count(&self, kind: &str, number: u64) -> usize {
        let kind = format!("\"record\":\"{kind}\"");
        let number = format!("\"number\":{number},");
        let about = |(_, text): &&(u64, String)| text.contains(&kind) && text.contains(&number);
        self.durable.iter().filter(about).count()
    }

    /// Whether a durable record about this reservation has all these words.
    #[must_use]
    pub fn says(&self, number: u64, words: &[&str]) -> bool {
        let number = format!("\"number\":{number},");
        self.durable
            .iter()
            .any(|(_, text)| text.contains(&number) && words.iter().all(|word| text.contains(word)))
    }
}

/// What a record says it is.
#[must_use]
pub fn kind(text: &str) -> &str {
    let mut rest = text.splitn(2, "\"record\":\"").skip(1);
    rest.next()
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_default()
}
