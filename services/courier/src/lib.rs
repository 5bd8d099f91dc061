//! courier: a webhook outbox. An application hands it events; it delivers each to the subscribed
//! endpoints, at least once, in order per key, and loses nothing silently.
//!
//! Four layers, and the arrows between them:
//!
//! ```text
//! delivery (http, cli) -> usecase -> domain
//! repository (sqlite)  -> usecase's ports -> domain
//! ```
//!
//! - L1: `domain` knows nobody and does no input or output.
//! - L2: `usecase` knows `domain`, and the outside only through the traits of its `ports`.
//! - L3: `delivery` and `repository` do not know each other; they meet in `main`.
//! - L4: every unit of concurrency (a connection, a delivery in flight, the writer) is a goroutine.

#![forbid(unsafe_code)]

pub mod config;
pub mod delivery;
pub mod domain;
pub mod repository;
pub mod usecase;
