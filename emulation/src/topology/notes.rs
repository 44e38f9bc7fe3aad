//! What was changed or left out when a topology was read.

use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Note {
    /// A node had no name, and is called after its id.
    Unnamed,
    /// A node had another's name, and has a number behind it.
    Renamed,
    /// A name was too long, and was cut.
    Cut,
    /// A link from a node to itself was left out.
    Loop,
    /// What stood where a capacity belongs is none; it counts as unknown.
    NoCapacity,
    /// What stood where a delay belongs is none; it counts as unknown.
    NoDelay,
    /// What stood where coordinates belong are none; the node has no place.
    NoPlace,
    /// What stood where a demand belongs is none; it was left out.
    NoDemand,
    /// Two directed links, one each way, became one.
    Paired,
    /// A directed link that has no counterpart became one for both ways.
    OneWay,
    /// The directions carry different rates; the link has the lower one.
    Uneven,
    /// Nodes inside of nodes stand beside them.
    Flattened,
    /// A link of more than two nodes was left out.
    Hyperedge,
    /// A graph after the first was left out.
    AnotherGraph,
    /// Something that topologies here do not have was left out.
    Ignored,
    /// Nodes outside of the largest component were left out.
    NotLargest,
    /// A demand of or for a node that is not there was left out.
    Homeless,
    /// Capacities were scaled.
    Scaled,
}

impl Note {
    const fn text(self) -> &'static str {
        match self {
            Self::Unnamed => "without a name, called after their ids",
            Self::Renamed => "with another's name, numbered",
            Self::Cut => "names too long, cut",
            Self::Loop => "links from a node to itself, left out",
            Self::NoCapacity => "capacities that are none, taken as unknown",
            Self::NoDelay => "delays that are none, taken as unknown",
            Self::NoPlace => "coordinates that are none, left out",
            Self::NoDemand => "demands that are none, left out",
            Self::Paired => "pairs of directed links, made one link each",
            Self::OneWay => "directed links, made links both ways",
            Self::Uneven => "links of uneven directions, with the lower rate",
            Self::Flattened => "nodes inside of others, put beside them",
            Self::Hyperedge => "links of more than two nodes, left out",
            Self::AnotherGraph => "further graphs, left out",
            Self::Ignored => "things that have no counterpart here, left out",
            Self::NotLargest => "nodes outside of the largest component, left out",
            Self::Homeless => "demands of nodes that are not there, left out",
            Self::Scaled => "capacities scaled",
        }
    }
}

/// How often, and where first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// How often.
    pub count: usize,
    /// The first of them.
    pub first: String,
}

/// All changes, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Notes(BTreeMap<Note, Seen>);

impl Notes {
    pub(super) fn add(&mut self, note: Note, example: impl FnOnce() -> String) {
        self.add_many(note, 1, example);
    }

    pub(super) fn add_many(&mut self, note: Note, count: usize, example: impl FnOnce() -> String) {
        let seen = self.0.entry(note).or_insert_with(|| Seen {
            count: 0,
            first: example(),
        });
        seen.count += count;
    }

    /// Whether nothing was changed or left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How often something of a kind happened.
    #[must_use]
    pub fn count(&self, note: Note) -> usize {
        self.0.get(&note).map_or(0, |seen| seen.count)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Note, &Seen)> {
        self.0.iter().map(|(note, seen)| (*note, seen))
    }
}

/// One line each.
impl fmt::Display for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (note, seen) in self.iter() {
            let more = if seen.count > 1 { "first " } else { "" };
            writeln!(f, "{} {} ({more}{})", seen.count, note.text(), seen.first)?;
        }
        Ok(())
    }
}
