//! SQL on goroutines: a [`Pool`] of connections to PostgreSQL or SQLite, with the controls and statistics of
//! Go's `database/sql`.
//!
//! - Statements are bound to a [`Context`](gaggle::context::Context). When it ends, PostgreSQL is sent a
//!   cancel request and SQLite is interrupted; the connection is afterwards as good as new, or thrown away.
//! - Who waits for a connection is served in the order they came.
//! - A connection that broke is never handed out again, and a new one takes its place when it is needed.
//! - Statements are prepared once a connection and kept.
//!
//! ```
//! use gaggle::context;
//! use gaggle_sql::{Pool, params};
//!
//! let context = context::background();
//! let pool = Pool::open("sqlite::memory:")?;
//! pool.execute(&context, "CREATE TABLE geese (id INTEGER PRIMARY KEY, name TEXT NOT NULL)", &[])?;
//! pool.execute(&context, "INSERT INTO geese (name) VALUES ($1)", &params!["Martin"])?;
//! let row = pool.query_one(&context, "SELECT id, name FROM geese", &[])?;
//! assert_eq!((row.get::<i64>(0)?, row.get::<String>("name")?), (1, "Martin".to_string()));
//! # Ok::<(), gaggle_sql::Error>(())
//! ```
//!
//! Parameters are written `$1`, `$2`, ... for both databases.
//!
//! Source of the pool's contract: Go's package `database/sql`.

#![forbid(unsafe_code)]

#[cfg(any(feature = "chrono", feature = "time"))]
mod calendar;
mod connection;
#[cfg(any(
    feature = "chrono",
    feature = "rust_decimal",
    feature = "serde_json",
    feature = "time",
    feature = "uuid"
))]
mod convert;
mod error;
mod pool;
mod postgres;
mod row;
mod session;
mod sqlite;
mod state;
mod transaction;
mod value;
mod watch;

pub use connection::Connection;
pub use error::Error;
pub use pool::{Pool, PoolBuilder};
pub use row::{Column, Row};
pub use state::Statistics;
pub use transaction::Transaction;
pub use value::{FromValue, Value};
