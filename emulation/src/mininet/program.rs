//! Programs in the hosts of a lab, and in its own namespace.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::link::Link;
use super::{ANSWER_LIMIT, Lab, LabError};

/// A program about to run in a lab.
#[must_use = "nothing runs before `run` or `spawn`"]
pub struct Program<'a> {
    lab: &'a Lab,
    node: String,
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    nice: i32,
    name: Option<String>,
}

impl<'a> Program<'a> {
    pub(super) fn new(lab: &'a Lab, node: &str, argv: Vec<String>) -> Self {
        Self {
            lab,
            node: node.to_owned(),
            argv,
            env: BTreeMap::new(),
            nice: 0,
            name: None,
        }
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets the scheduling priority, from -20 (first) to 19. Paced senders want to be first.
    pub fn nice(mut self, nice: i32) -> Self {
        self.nice = nice;
        self
    }

    /// Names the output files.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started or takes longer than `limit`; it is killed then. A failing exit status is no error here.
    pub fn run(self, limit: Duration) -> Result<Done, LabError> {
        #[derive(Deserialize)]
        struct Output {
            status: i32,
            stdout: String,
            stderr: String,
        }
        let Output { status, stdout, stderr } = self.lab.link.ask(
            "exec",
            json!({ "node": self.node, "argv": self.argv, "env": self.env, "nice": self.nice, "timeout_s": limit.as_secs_f64() }),
            limit.saturating_add(ANSWER_LIMIT),
        )?;
        Ok(Done {
            command: self.argv.join(" "),
            node: self.node,
            status,
            stdout,
            stderr,
        })
    }

    /// Starts it.
    ///
    /// # Errors
    /// When there is no such host or program.
    pub fn spawn(self) -> Result<Proc, LabError> {
        #[derive(Deserialize)]
        struct Started {
            process: u64,
            pid: u32,
        }
        let mut request =
            json!({ "node": self.node, "argv": self.argv, "env": self.env, "nice": self.nice });
        if let (Some(fields), Some(dir)) = (request.as_object_mut(), &self.lab.log_dir) {
            fields.insert("log_dir".to_owned(), json!(dir));
        }
        let name = self.name.or_else(|| {
            let program = Path::new(self.argv.first()?).file_name()?;
            Some(program.to_string_lossy().into_owned())
        });
        if let (Some(fields), Some(name)) = (request.as_object_mut(), name) {
            fields.insert("name".to_owned(), json!(name));
        }
        let Started { process, pid } = self.lab.link.ask("spawn", request, ANSWER_LIMIT)?;
        let link = Arc::clone(&self.lab.link);
        Ok(Proc {
            link,
            process,
            pid,
            command: self.argv.join(" "),
            node: self.node,
        })
    }
}

/// A program that has ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// The program and its arguments.
    pub command: String,
    /// Where it ran.
    pub node: String,
    /// Exit status; minus the signal number where a signal ended it.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Done {
    /// Itself, unless the exit status tells a failure.
    ///
    /// # Errors
    /// [`LabError::Failed`] with the program's standard error.
    pub fn success(self) -> Result<Self, LabError> {
        if self.status == 0 {
            return Ok(self);
        }
        Err(LabError::Failed {
            command: self.command,
            node: self.node,
            status: self.status,
            stderr: self.stderr.trim().to_owned(),
        })
    }
}

/// Which output of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A program that was started in a lab. It outlives this handle and ends with the lab.
pub struct Proc {
    link: Arc<Link>,
    process: u64,
    pid: u32,
    command: String,
    node: String,
}

#[derive(Deserialize)]
struct Chunk {
    text: String,
    offset: u64,
    status: Option<i32>,
}

impl Proc {
    /// Its process id inside the lab.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The host it runs in.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What it has written so far.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn output(&self, stream: Stream) -> Result<String, LabError> {
        let (mut text, mut offset) = (String::new(), 0);
        loop {
            let chunk = self.read(stream, offset)?;
            if chunk.text.is_empty() {
                return Ok(text);
            }
            text.push_str(&chunk.text);
            offset = chunk.offset;
        }
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn is_running(&self) -> Result<bool, LabError> {
        Ok(self.read(Stream::Stderr, 0)?.status.is_none())
    }

    /// Waits until it has written `needle`.
    ///
    /// # Errors
    /// When it does not within `limit`, or ends before; the error has what it wrote to standard error.
    pub fn wait_for(&self, stream: Stream, needle: &str, limit: Duration) -> Result<(), LabError> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.read(stream, 0)?.status;
            if self.output(stream)?.contains(needle) {
                return Ok(());
            }
            if let Some(status) = ended {
                let stderr = self.output(Stream::Stderr)?;
                return Err(LabError::Failed {
                    command: self.command.clone(),
                    node: self.node.clone(),
                    status,
                    stderr: format!("ended before it wrote {needle:?}; {}", stderr.trim()),
                });
            }
            if Instant::now() > deadline {
                let what = format!(
                    "{needle:?} from `{}` in {}; standard error: {}",
                    self.command,
                    self.node,
                    self.output(Stream::Stderr)?.trim()
                );
                return Err(LabError::TimeOut { what, limit });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal; whether it still ran.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn kill(&self, signal: Signal) -> Result<bool, LabError> {
        #[derive(Deserialize)]
        struct Sent {
            sent: bool,
        }
        let request = json!({ "process": self.process, "signal": signal as i32 });
        self.link
            .ask::<Sent>("signal", request, ANSWER_LIMIT)
            .map(|answer| answer.sent)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `limit`. A failing exit status is no error here.
    pub fn wait(&self, limit: Duration) -> Result<Done, LabError> {
        #[derive(Deserialize)]
        struct Ended {
            status: Option<i32>,
        }
        let request = json!({ "process": self.process, "timeout_s": limit.as_secs_f64() });
        let ended: Ended = self
            .link
            .ask("wait", request, limit.saturating_add(ANSWER_LIMIT))?;
        let Some(status) = ended.status else {
            return Err(LabError::TimeOut {
                what: format!("the end of `{}` in {}", self.command, self.node),
                limit,
            });
        };
        Ok(Done {
            command: self.command.clone(),
            node: self.node.clone(),
            status,
            stdout: self.output(Stream::Stdout)?,
            stderr: self.output(Stream::Stderr)?,
        })
    }

    fn read(&self, stream: Stream, offset: u64) -> Result<Chunk, LabError> {
        let request = json!({ "process": self.process, "stream": stream, "offset": offset });
        self.link.ask("read", request, ANSWER_LIMIT)
    }
}
