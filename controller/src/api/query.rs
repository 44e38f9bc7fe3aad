//! What stands behind the question mark of a path, with errors that say what to write instead.

use std::str::FromStr;

use serde::Deserialize;

use crate::core::problem::{Problem, ProblemKind};

/// `?after=12.0&limit=100`: which of many, where `after` names one of them.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

impl Page {
    /// The most in one answer.
    pub(super) const MOST: usize = 1_000;

    /// Reads it.
    ///
    /// # Errors
    /// Says which part it is that cannot be read.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Problem> {
        serde_urlencoded::from_str(query.unwrap_or_default()).map_err(|error| {
            Problem::new(
                ProblemKind::MalformedRequest,
                format!("the query is not like ?after=12&limit=100: {error}"),
            )
        })
    }

    /// Those after this one; all when absent.
    ///
    /// # Errors
    /// When it is not of the kind of `example`.
    pub(super) fn after<T: FromStr>(&self, example: &str) -> Result<Option<T>, Problem> {
        let parse = |text: &String| {
            text.parse().map_err(|_| {
                let detail = format!("after must be the number of one of these, such as {example}");
                Problem::new(ProblemKind::InvalidField, detail).with("field", "after")
            })
        };
        self.after.as_ref().map(parse).transpose()
    }

    /// So many at most: as many as there may be in one answer, unless fewer are wanted.
    pub(super) fn most(&self) -> usize {
        self.limit.unwrap_or(Self::MOST).clamp(1, Self::MOST)
    }
}

/// `?step_s=900&count=24`: how many steps from now on, and how long each.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Steps {
    pub(super) step_s: u64,
    pub(super) count: u32,
}

impl Default for Steps {
    /// A day in hours.
    fn default() -> Self {
        Self {
            step_s: 3_600,
            count: 24,
        }
    }
}

impl Steps {
    /// Reads it.
    ///
    /// # Errors
    /// Says which part it is that cannot be read.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Problem> {
        serde_urlencoded::from_str(query.unwrap_or_default()).map_err(|error| {
            Problem::new(
                ProblemKind::MalformedRequest,
                format!("the query is not like ?step_s=3600&count=24: {error}"),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use payflow_payment::TransferId;

    #[test]
    fn what_cannot_be_read_is_told() {
        let page = Page::read(Some("after=12.3&limit=5000")).unwrap();
        let after = TransferId {
            record: 12,
            part: 3,
        };
        assert_eq!(
            (page.after("12.0").unwrap(), page.most()),
            (Some(after), Page::MOST)
        );
        let page = Page::read(None).unwrap();
        assert_eq!(
            (page.after::<TransferId>("12.0").unwrap(), page.most()),
            (None, Page::MOST)
        );
        for wrong in ["after=1&after=2", "limit=-1", "limit=x", "other=1", "%ff=1"] {
            let problem = Page::read(Some(wrong)).unwrap_err();
            assert_eq!(problem.kind, ProblemKind::MalformedRequest, "{wrong}");
        }
        for wrong in ["12", "12.", ".3", "12.3.4", "-1.0", "012.0", "x.y"] {
            let page = Page::read(Some(&format!("after={wrong}"))).unwrap();
            assert!(page.after::<TransferId>("12.0").is_err(), "{wrong}");
        }
    }
}
