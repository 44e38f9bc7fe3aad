//! What stands behind a name: `tree,2,fanout=3`.

use super::Refusal;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// A name with arguments, some of them named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) name: String,
    pub(super) ordered: Vec<String>,
    pub(super) named: BTreeMap<String, String>,
}

impl Arguments {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut parts = text.split(',').map(str::trim);
        let name = parts.next().unwrap_or_default().to_owned();
        let (mut ordered, mut named) = (Vec::new(), BTreeMap::new());
        for part in parts {
            match part.split_once('=') {
                Some((key, value)) => {
                    let before = named.insert(key.trim().to_owned(), value.trim().to_owned());
                    if before.is_some() {
                        return Err(Refusal::new(format!("{key} is said twice")));
                    }
                }
                None if !named.is_empty() => {
                    return Err(Refusal::new(format!(
                        "{part:?} behind arguments with a name"
                    )));
                }
                None => ordered.push(part.to_owned()),
            }
        }
        Ok(Self {
            name,
            ordered,
            named,
        })
    }

    /// The arguments in this order, or by these names.
    ///
    /// # Errors
    /// There are more, or others, or one twice.
    pub(super) fn only(mut self, names: &[&str]) -> Result<Self, Refusal> {
        if self.ordered.len() > names.len() {
            let problem = format!(
                "{} takes {} arguments at most: {}",
                self.name,
                names.len(),
                names.join(", ")
            );
            return Err(Refusal::new(problem));
        }
        for (name, value) in names.iter().zip(std::mem::take(&mut self.ordered)) {
            if self.named.insert((*name).to_owned(), value).is_some() {
                return Err(Refusal::new(format!("{name} is said twice")));
            }
        }
        let unknown = self.named.keys().find(|key| !names.contains(&key.as_str()));
        match unknown {
            Some(key) => Err(Refusal::new(format!(
                "{} has no {key}; it has {}",
                self.name,
                names.join(", ")
            ))),
            None => Ok(self),
        }
    }

    /// One of them, if it is there.
    pub(super) fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let value = self.named.get(name);
        let parsed = value.map(|text| {
            let parsed = text.parse();
            parsed.map_err(|error| Refusal::new(format!("{name}={text}: {error}")))
        });
        parsed.transpose()
    }

    /// A whole number within bounds, or what it is when nothing is said.
    pub(super) fn number(
        &self,
        name: &str,
        usual: usize,
        bounds: std::ops::RangeInclusive<usize>,
    ) -> Result<usize, Refusal> {
        let number = self.get(name)?.unwrap_or(usual);
        if bounds.contains(&number) {
            return Ok(number);
        }
        let (low, high) = bounds.into_inner();
        Err(Refusal::new(format!(
            "{name}={number} is not from {low} to {high}"
        )))
    }

    /// A number within bounds, or what it is when nothing is said.
    pub(super) fn share(&self, name: &str, usual: f64) -> Result<f64, Refusal> {
        let number: f64 = self.get(name)?.unwrap_or(usual);
        if number > 0.0 && number <= 1.0 {
            return Ok(number);
        }
        Err(Refusal::new(format!(
            "{name}={number} is not above 0 and at most 1"
        )))
    }
}
