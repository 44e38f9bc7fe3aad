//! The data plane as the core sees it: switches, links, hosts, best-effort forwarding and the
//! entries of paid flows.
//!
//! Pure: switch bytes, port facts and time come in ([`NetworkInput`]); switch bytes, queue orders
//! and events go out ([`NetworkOutput`]).

mod cookie;
mod discovery;
mod entry;
mod frames;
mod hosts;
mod interface;
mod pipeline;
mod reconcile;
mod settings;

pub use interface::*;
pub use settings::*;
