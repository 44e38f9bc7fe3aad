//! What the benches of whole programs share: a load generator that is many OpenFlow switches at once, the programs
//! that are measured, and the results as one file.
//!
//! | module | what it is |
//! |---|---|
//! | [`load`] | emulated switches that ask a controller about packets, and time its answers |
//! | [`open_vswitch`] | real switches |
//! | [`demand`] | networks without switches, and what is asked of them |
//! | [`client`] | the other end of an OpenFlow connection to a switch, without any policy |
//! | [`buyer`] | somebody who buys |
//! | [`prepaid`] | somebody who buys from a prepaid account |
//! | [`market`] | a controller that has sold many flows on real switches |
//! | [`reflector`] | the least a controller can do: every packet goes back |
//! | [`program`] | a program under measurement: started, watched, ended |
//! | [`contestant`] | the controllers that are compared |
//! | [`report`] | what was measured, as JSON |

pub mod buyer;
pub mod client;
pub mod contestant;
pub mod demand;
pub mod load;
pub mod market;
pub mod open_vswitch;
pub mod prepaid;
pub mod program;
pub mod reflector;
pub mod report;
