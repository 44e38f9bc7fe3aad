//! The log of what runs: on stderr, as text or JSON, at a level that can change.

use std::io::IsTerminal as _;

use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, fmt, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

use crate::config::{LogConfig, LogFormat};

/// Goes over `log.level`.
const VARIABLE: &str = "PAYFLOW_LOG";

/// Changes the level.
#[derive(Clone, Debug)]
pub(super) struct Level(reload::Handle<EnvFilter, Registry>);

/// Logs from here on.
pub(super) fn start(config: &LogConfig) -> Level {
    let (filter, handle) = reload::Layer::new(filter(&config.level));
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = match config.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Fails where somebody logs already, which nobody does in a program of ours.
    if let Err(error) = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
    {
        eprintln!("payflow: the log cannot be started: {error}");
    }
    Level(handle)
}

impl Level {
    /// From now on this much, unless the environment says otherwise.
    pub(super) fn change(&self, level: &str) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::error!(%error, "the level of the log cannot be changed");
        }
    }
}

/// What the environment says, or the configuration, which has been checked.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_from_env(VARIABLE)
        .or_else(|_| EnvFilter::try_new(level))
        .unwrap_or_else(|_| EnvFilter::new("info"))
}
