//! Transactions, and savepoints in them.

use crate::connection::Connection;
use crate::error::Error;
use crate::row::Row;
use crate::value::Value;
use gaggle::context::{Context, background};
use std::fmt;
use std::time::Duration;

/// How long undoing may take; then the connection is given up, which undoes it too.
const ROLLBACK_TIME: Duration = Duration::from_secs(5);

/// The connection of a transaction, or of a savepoint in one.
pub(crate) enum Held<'a> {
    Owned(Connection),
    Borrowed(&'a mut Connection),
}

impl From<Connection> for Held<'static> {
    fn from(connection: Connection) -> Self {
        Held::Owned(connection)
    }
}

impl<'a> From<&'a mut Connection> for Held<'a> {
    fn from(connection: &'a mut Connection) -> Self {
        Held::Borrowed(connection)
    }
}

/// A transaction, or a savepoint in one. Dropped without [`Transaction::commit`], it is rolled back.
#[must_use = "it is rolled back when this is dropped"]
pub struct Transaction<'a> {
    connection: Held<'a>,
    /// 0: the transaction itself; n: the n-th savepoint, each in the one before.
    depth: usize,
    is_over: bool,
}

impl<'a> Transaction<'a> {
    pub(crate) fn begin(
        connection: impl Into<Held<'a>>,
        context: &Context,
    ) -> Result<Transaction<'a>, Error> {
        let mut transaction = Transaction {
            connection: connection.into(),
            depth: 0,
            // If the context ends now it is unknown whether it has begun, so it is rolled back.
            is_over: false,
        };
        let begin = transaction.connection().session().begin();
        transaction.connection().batch(context, begin)?;
        Ok(transaction)
    }

    fn connection(&mut self) -> &mut Connection {
        match &mut self.connection {
            Held::Owned(connection) => connection,
            Held::Borrowed(connection) => connection,
        }
    }

    /// Begins a savepoint: what is done in it can be undone without undoing what was done before.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn savepoint(&mut self, context: &Context) -> Result<Transaction<'_>, Error> {
        let depth = self.depth + 1;
        // If this fails the transaction has failed: nothing hangs on whether the savepoint is there.
        let connection = self.connection();
        connection.batch(context, &format!("SAVEPOINT gaggle_{depth}"))?;
        Ok(Transaction {
            connection: Held::Borrowed(connection),
            depth,
            is_over: false,
        })
    }

    /// As [`Connection::execute`], in the transaction.
    ///
    /// # Errors
    /// As there. On PostgreSQL a statement that fails makes all that follow fail, until the transaction, or
    /// the savepoint that it was in, is rolled back.
    pub fn execute(
        &mut self,
        context: &Context,
        sql: &str,
        parameters: &[Value],
    ) -> Result<u64, Error> {
        self.connection().execute(context, sql, parameters)
    }

    /// As [`Connection::query`], in the transaction.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub fn query(
        &mut self,
        context: &Context,
        sql: &str,
        parameters: &[Value],
    ) -> Result<Vec<Row>, Error> {
        self.connection().query(context, sql, parameters)
    }

    /// As [`Connection::query_one`], in the transaction.
    ///
    /// # Errors
    /// As [`Transaction::execute`]; [`Error::Usage`] when there are none or several.
    pub fn query_one(
        &mut self,
        context: &Context,
        sql: &str,
        parameters: &[Value],
    ) -> Result<Row, Error> {
        self.connection().query_one(context, sql, parameters)
    }

    /// Makes what was done last; for a savepoint: makes it part of what it is in. Blocks this goroutine
    /// (never its OS thread).
    ///
    /// # Errors
    /// As [`Connection::execute`]; it is rolled back then, unless the connection was lost, when it is
    /// unknown. [`Error::Database`] also when PostgreSQL had to roll back because a statement had failed.
    pub fn commit(mut self, context: &Context) -> Result<(), Error> {
        let depth = self.depth;
        let connection = self.connection();
        if depth > 0 {
            connection.batch(context, &format!("RELEASE SAVEPOINT gaggle_{depth}"))?;
        } else {
            connection.session().commit(context)?;
        }
        self.is_over = true;
        Ok(())
    }

    /// Undoes what was done. Blocks this goroutine (never its OS thread), for seconds at most, whatever
    /// becomes of contexts.
    ///
    /// # Errors
    /// As [`Connection::execute`]; the connection is then given up, which undoes it too.
    pub fn rollback(mut self) -> Result<(), Error> {
        self.undo()
    }

    fn undo(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        let sql = match self.depth {
            0 => "ROLLBACK".to_string(),
            depth => {
                format!("ROLLBACK TO SAVEPOINT gaggle_{depth}; RELEASE SAVEPOINT gaggle_{depth}")
            }
        };
        let (context, _cancel) = background().with_timeout(ROLLBACK_TIME);
        let session = self.connection().session();
        let undone = session.batch(&context, &sql);
        if undone.is_err() {
            session.give_up();
        }
        undone
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // The error was met: the connection was given up.
        let _ = self.undo();
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}
