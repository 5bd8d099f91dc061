//! A connection, while somebody has it.

use crate::error::Error;
use crate::pool::Shared;
use crate::row::Row;
use crate::session::Session;
use crate::state::Entry;
use crate::transaction::Transaction;
use crate::value::Value;
use gaggle::context::Context;
use std::fmt;
use std::sync::Arc;

/// A connection that is one's own until it is dropped, when it goes back to its pool; made by
/// [`Pool::get`](crate::Pool::get).
///
/// What it does to its session beyond statements and transactions (`SET`, `LISTEN`, temporary tables) stays
/// for whoever gets it next.
pub struct Connection {
    shared: Arc<Shared>,
    /// There until it is dropped.
    entry: Option<Entry>,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, entry: Entry) -> Connection {
        let entry = Some(entry);
        Connection { shared, entry }
    }

    pub(crate) fn session(&mut self) -> &mut dyn Session {
        let entry = self.entry.as_mut().expect("it is there until the drop");
        &mut *entry.session
    }

    /// Runs one statement, and answers how many rows it changed. Blocks this goroutine (never its OS
    /// thread).
    ///
    /// # Errors
    /// [`Error::Context`] when the context ends first, and what the statement fails with.
    pub fn execute(
        &mut self,
        context: &Context,
        sql: &str,
        parameters: &[Value],
    ) -> Result<u64, Error> {
        Ok(self.session().run(context, sql, parameters)?.affected)
    }

    /// Runs one statement, and answers all its rows. Blocks this goroutine (never its OS thread).
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn query(
        &mut self,
        context: &Context,
        sql: &str,
        parameters: &[Value],
    ) -> Result<Vec<Row>, Error> {
        Ok(self.session().run(context, sql, parameters)?.rows)
    }

    /// As [`Connection::query`], for the one row that there must be.
    ///
    /// # Errors
    /// As [`Connection::execute`]; [`Error::Usage`] when there are none or several.
    pub fn query_one(
        &mut self,
        context: &Context,
        sql: &str,
        parameters: &[Value],
    ) -> Result<Row, Error> {
        let mut rows = self.query(context, sql, parameters)?;
        match (rows.pop(), rows.len()) {
            (Some(row), 0) => Ok(row),
            (Some(_), others) => {
                let count = others + 1;
                Err(Error::Usage(format!(
                    "one row was expected, and there are {count}"
                )))
            }
            (None, _) => Err(Error::Usage(
                "one row was expected, and there is none".into(),
            )),
        }
    }

    /// Runs statements without parameters, separated by semicolons: a schema, for instance. Blocks this
    /// goroutine (never its OS thread).
    ///
    /// # Errors
    /// As [`Connection::execute`]; what comes after the first that fails is not run.
    pub fn batch(&mut self, context: &Context, sql: &str) -> Result<(), Error> {
        self.session().batch(context, sql)
    }

    /// Begins a transaction: see [`Pool::begin`](crate::Pool::begin).
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn begin(&mut self, context: &Context) -> Result<Transaction<'_>, Error> {
        Transaction::begin(self, context)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.shared.put(entry);
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
