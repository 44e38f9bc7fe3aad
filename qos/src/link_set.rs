//! Sets of directed links.

use crate::port::PortRef;
use serde::{Deserialize, Serialize};
use std::{ops::Deref, sync::Arc};

/// The directed links that something takes, each once, in ascending order. A copy costs nothing, and all flows on one path
/// share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<PortRef>", into = "Vec<PortRef>")]
pub struct LinkSet(Arc<[PortRef]>);

impl LinkSet {
    /// Whether a link is one of them.
    pub fn contains(&self, link: &PortRef) -> bool {
        self.0.binary_search(link).is_ok()
    }

    /// The same, but with one link in the place of another.
    pub(crate) fn renamed(&self, from: PortRef, to: PortRef) -> Self {
        let name = |link: &PortRef| if *link == from { to } else { *link };
        self.iter().map(name).collect()
    }
}

impl Deref for LinkSet {
    type Target = [PortRef];

    fn deref(&self) -> &[PortRef] {
        &self.0
    }
}

impl From<Vec<PortRef>> for LinkSet {
    fn from(mut links: Vec<PortRef>) -> Self {
        links.sort_unstable();
        links.dedup();
        LinkSet(links.into())
    }
}

impl<const N: usize> From<[PortRef; N]> for LinkSet {
    fn from(links: [PortRef; N]) -> Self {
        Vec::from(links).into()
    }
}

impl From<LinkSet> for Vec<PortRef> {
    fn from(links: LinkSet) -> Self {
        links.to_vec()
    }
}

impl FromIterator<PortRef> for LinkSet {
    fn from_iter<I: IntoIterator<Item = PortRef>>(links: I) -> Self {
        Vec::from_iter(links).into()
    }
}

impl<'a> IntoIterator for &'a LinkSet {
    type Item = &'a PortRef;
    type IntoIter = std::slice::Iter<'a, PortRef>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_do_not_matter() {
        let [a, b] = [PortRef::new(1, 2), PortRef::new(2, 1)];
        let set = LinkSet::from([b, a, b]);
        assert_eq!(set, LinkSet::from([a, b]));
        assert_eq!(set.to_vec(), [a, b]);
        assert!(set.contains(&b) && !set.contains(&PortRef::new(3, 1)));
        assert_eq!(set.renamed(a, b), LinkSet::from([b]));
    }
}
