//! `[log]`: what is told on stderr, and how.

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `level`: `error`, `warn`, `info` (the default), `debug` or `trace`, and for parts of the program
    /// `payflow_controller::driver=debug`, with commas between. The variable `PAYFLOW_LOG` goes over it.
    pub level: String,
    /// `format`: lines of text, the default, or one JSON object a line.
    pub format: LogFormat,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line, with `timestamp`, `level`, `target`, `message` and the fields beside them.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}
