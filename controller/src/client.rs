//! A controller's HTTP API for programs in Rust: what the `payflow` command asks with.
//!
//! Requests are signed with a wallet's key, problem documents become errors, and an answer that did not come is told apart from
//! one that says no. Documents are those of [`crate::core::document`] and [`crate::core::accounts::document`].
//!
//! ```no_run
//! use payflow_controller::{
//!     api::signature::audience,
//!     client::{Call, Client, ClientError, HostWallet, Identity},
//!     core::document::ReservationView,
//! };
//!
//! # async fn example() -> Result<(), ClientError> {
//! let client = Client::new("http://10.0.0.254:8080")?;
//! let known = client.well_known().await?;
//! // Compare known.operator_key with what you were told otherwise, and only then sign for it.
//! let client = client.with_identity(Identity::Buyer {
//!     wallet: HostWallet::load("h1.key".as_ref(), None)?,
//!     tag: audience(&known.operator_key),
//! });
//! let view: ReservationView = client.get("/v1/reservations/r1").await?;
//! match client.call(&Call::get("/v1/reservations/r2")).await {
//!     Ok(answered) => println!("{}: {}", answered.status, answered.document),
//!     // Nothing is decided: the same again is safe, and never pays twice.
//!     Err(error) if error.is_open() => println!("ask again"),
//!     Err(error) => return Err(error.into()),
//! }
//! # drop(view);
//! # Ok(())
//! # }
//! ```

pub use crate::cli::client::{Answered, Call, CallError, Client, Identity};
pub use crate::cli::error::{CliError as ClientError, ProblemDocument};
pub use crate::cli::wallet::HostWallet;
