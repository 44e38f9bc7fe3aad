//! What stands behind the question mark of a path, with errors that say what to write instead.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use warp::http::{StatusCode, header};

use super::reply::{HttpResponse, document, set};
use crate::core::problem::{Problem, ProblemKind};

/// `?after=12.0&limit=100`: which of many, where `after` names one of them.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// The last one that is known; those after it are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// So many at most; 1000 at most in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
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

    /// Those after the one with this id; all when absent.
    ///
    /// # Errors
    /// When it is not of the kind of `example`.
    pub(super) fn after_id<T>(
        &self,
        example: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = &self.after else {
            return Ok(None);
        };
        let read = read(text).ok_or_else(|| {
            let detail = format!("after must be the id of one of these, such as {example}");
            Problem::new(ProblemKind::InvalidField, detail).with("field", "after")
        });
        read.map(Some)
    }

    /// Leaves what belongs to this page of one more than that, and says whether there was more.
    pub(super) fn cut<T>(&self, found: &mut Vec<T>) -> bool {
        let more = found.len() > self.most();
        found.truncate(self.most());
        more
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

/// A page of a list. `next` is the last of it where there are more, and then a link leads to them (RFC 8288).
pub(super) fn linked(
    path: &str,
    page: &Page,
    next: Option<String>,
    list: &impl Serialize,
) -> HttpResponse {
    let mut response = document(StatusCode::OK, list);
    if let Some(after) = next {
        let next = Page {
            after: Some(after),
            limit: page.limit,
        };
        match serde_urlencoded::to_string(&next) {
            Ok(query) => set(
                &mut response,
                header::LINK,
                &format!("<{path}?{query}>; rel=\"next\""),
            ),
            Err(error) => tracing::error!(%error, "a link to the next page cannot be written"),
        }
    }
    response
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
