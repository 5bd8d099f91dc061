//! HTTP: the API that takes events in, the sender that delivers them, and what `/metrics` shows.

pub mod api;
pub mod metrics;
mod replies;
mod resolver;
pub mod sender;
