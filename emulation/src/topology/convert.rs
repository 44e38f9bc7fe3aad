//! Formats that topologies are written in.

use super::{Topology, graphml, mininet, toml, topohub};
use clap::ValueEnum;
use std::path::Path;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Our own: everything that is known, for people to change.
    Toml,
    /// Node-link JSON, as networkx and TopoHub have it.
    Json,
    /// GraphML, with the names of the Internet Topology Zoo; without demands.
    Graphml,
    /// A script for `mn --custom`; without demands, places, and where facts are from.
    Mininet,
}

impl Format {
    /// What the end of a file's name says.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            "graphml" | "xml" => Some(Self::Graphml),
            "py" => Some(Self::Mininet),
            _ => None,
        }
    }

    /// The topology in this format.
    #[must_use]
    pub fn write(self, topology: &Topology) -> String {
        match self {
            Self::Toml => toml::write(topology),
            Self::Json => topohub::write(topology),
            Self::Graphml => graphml::write(topology),
            Self::Mininet => mininet::write(topology),
        }
    }

    /// Whether demands are part of it.
    #[must_use]
    pub const fn has_demands(self) -> bool {
        matches!(self, Self::Toml | Self::Json)
    }
}
