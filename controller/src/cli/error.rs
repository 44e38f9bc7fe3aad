//! What can go wrong, and the exit status that says so.

use crate::config::ConfigError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A problem document as received (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// `urn:payflow:problem:<name>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong in this case, and what to do.
    #[serde(default)]
    pub detail: String,
    /// Everything else, for programs.
    #[serde(flatten)]
    pub extensions: Map<String, Value>,
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Something on this side, or no answer.
    #[error("{0}")]
    Failed(String),
    /// Options that parse, but make no sense.
    #[error("{0}")]
    Usage(String),
    /// A configuration in which something is wrong; all of it is told.
    #[error("{0}")]
    Config(Box<ConfigError>),
    /// The controller has refused.
    #[error("{}: {}", .0.title, .0.detail)]
    Refused(Box<ProblemDocument>),
    /// Not decided yet.
    #[error("{message}")]
    Pending {
        /// What is open, and what to do.
        message: String,
        /// As far as it is known.
        document: Box<Value>,
    },
}

impl CliError {
    /// See the table of [`super`].
    pub(super) fn exit_status(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Config(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
            Self::Pending { .. } => 4,
        }
    }

    /// What `--json` prints in this case.
    pub(super) fn document(&self) -> Option<Value> {
        match self {
            Self::Failed(message) | Self::Usage(message) => {
                Some(serde_json::json!({ "error": message }))
            }
            Self::Config(error) => {
                let problems = error.problems.iter().map(|it| {
                    serde_json::json!({ "line": it.line, "key": it.key, "message": it.message })
                });
                Some(serde_json::json!({
                    "file": error.file, "valid": false, "problems": problems.collect::<Vec<_>>()
                }))
            }
            Self::Refused(problem) => serde_json::to_value(problem).ok(),
            Self::Pending { document, .. } => Some((**document).clone()),
        }
    }
}
