//! The conversation with the script: requests out, answers dispatched to whoever asked.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, Write};
use std::process::ChildStdin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::LabError;

/// Lines of the script's standard error kept for error messages.
const STDERR_LINES: usize = 40;

/// What the script said, or why not.
type Answer = Result<Value, String>;

/// The pipe to the script.
pub(super) struct Link {
    requests: Mutex<Requests>,
    stderr: Mutex<VecDeque<String>>,
}

struct Requests {
    /// `None` once closed.
    stdin: Option<ChildStdin>,
    next_id: u64,
    waiting: BTreeMap<u64, mpsc::Sender<Answer>>,
    ended: bool,
}

impl Link {
    pub(super) fn new(stdin: ChildStdin) -> Self {
        let requests = Requests {
            stdin: Some(stdin),
            next_id: 1,
            waiting: BTreeMap::new(),
            ended: false,
        };
        Self {
            requests: Mutex::new(requests),
            stderr: Mutex::new(VecDeque::new()),
        }
    }

    pub(super) fn ask<T: serde::de::DeserializeOwned>(
        &self,
        operation: &str,
        mut request: Value,
        limit: Duration,
    ) -> Result<T, LabError> {
        let (sender, receiver) = mpsc::channel();
        let id = {
            let mut requests = lock(&self.requests);
            let id = requests.next_id;
            requests.next_id += 1;
            if let Some(fields) = request.as_object_mut() {
                fields.insert("id".to_owned(), json!(id));
                fields.insert("op".to_owned(), json!(operation));
            }
            let ended = requests.ended;
            let line = format!("{request}\n");
            let written = match requests.stdin.as_mut() {
                Some(stdin) if !ended => stdin
                    .write_all(line.as_bytes())
                    .and_then(|()| stdin.flush())
                    .is_ok(),
                Some(_) | None => false,
            };
            if !written {
                drop(requests);
                return Err(self.ended());
            }
            requests.waiting.insert(id, sender);
            id
        };
        match receiver.recv_timeout(limit) {
            Ok(Ok(value)) => serde_json::from_value(value).map_err(|source| LabError::Answer {
                operation: operation.to_owned(),
                source,
            }),
            Ok(Err(message)) => Err(LabError::Refused {
                operation: operation.to_owned(),
                message,
            }),
            Err(RecvTimeoutError::Timeout) => {
                lock(&self.requests).waiting.remove(&id);
                Err(LabError::TimeOut {
                    what: format!("the lab's answer to {operation}"),
                    limit,
                })
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    pub(super) fn dispatch(&self, stdout: impl BufRead) {
        #[derive(Deserialize)]
        struct Reply {
            id: u64,
            #[serde(default)]
            ok: Value,
            error: Option<String>,
        }
        for line in stdout.lines().map_while(Result::ok) {
            match serde_json::from_str::<Reply>(&line) {
                Ok(reply) => {
                    if let Some(sender) = lock(&self.requests).waiting.remove(&reply.id) {
                        // Nobody listens any more when the asker has timed out.
                        let _ = sender.send(reply.error.map_or(Ok(reply.ok), Err));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, line, "the lab wrote something that is no answer")
                }
            }
        }
    }

    pub(super) fn keep_stderr(&self, stderr: impl BufRead) {
        for line in stderr.lines().map_while(Result::ok) {
            tracing::debug!(target: "lab", "{line}");
            let mut kept = lock(&self.stderr);
            kept.push_back(line);
            if kept.len() > STDERR_LINES {
                kept.pop_front();
            }
        }
    }

    pub(super) fn end(&self) {
        let mut requests = lock(&self.requests);
        requests.ended = true;
        requests.waiting.clear();
    }

    pub(super) fn close(&self) {
        lock(&self.requests).stdin = None;
    }

    fn ended(&self) -> LabError {
        let lines: Vec<String> = lock(&self.stderr).iter().cloned().collect();
        LabError::Ended(if lines.is_empty() {
            "it said nothing".to_owned()
        } else {
            lines.join("; ")
        })
    }
}

/// What the locks guard stays consistent between statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
