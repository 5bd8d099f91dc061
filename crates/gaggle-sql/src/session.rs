//! What the pool asks of a database: connections, and statements on them.

use crate::error::Error;
use crate::row::Row;
use crate::value::Value;
use gaggle::context::Context;

/// What came of a statement.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The rows that it answers.
    pub(crate) rows: Vec<Row>,
    /// How many rows it changed; for a query of PostgreSQL, how many it answers.
    pub(crate) affected: u64,
}

/// One connection. All of it blocks the calling goroutine, never its OS thread.
pub(crate) trait Session: Send {
    /// Runs one statement, with parameters, and answers all its rows.
    ///
    /// When the context ends, the statement is cancelled; whatever came of that, the connection is
    /// afterwards without a statement, or broken.
    fn run(&mut self, context: &Context, sql: &str, parameters: &[Value]) -> Result<Answer, Error>;

    /// Runs statements without parameters, separated by semicolons.
    fn batch(&mut self, context: &Context, sql: &str) -> Result<(), Error>;

    /// How a transaction is begun.
    fn begin(&self) -> &'static str;

    /// Commits the transaction that is open.
    fn commit(&mut self, context: &Context) -> Result<(), Error>;

    /// Makes it broken: it is in an unknown state.
    fn give_up(&mut self);

    /// Whether it is known to be broken. Never blocks; asked when it is given back and when it is handed
    /// out.
    fn is_broken(&mut self) -> bool;
}

/// What makes connections.
pub(crate) trait Connector: Send + Sync {
    /// Makes one.
    fn connect(&self, context: &Context) -> Result<Box<dyn Session>, Error>;
}
