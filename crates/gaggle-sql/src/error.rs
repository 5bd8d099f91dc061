//! What can go wrong.

use gaggle::context::ContextError;
use std::fmt;

/// Why a statement, or getting a connection for it, failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The context ended first. What the statement had done was undone, unless the database had finished
    /// with it already.
    Context(ContextError),
    /// The pool was closed.
    Closed,
    /// No connection could be made; nothing was done.
    Connect(String),
    /// The connection broke while the statement was under way: it is unknown whether it was done.
    Lost(String),
    /// The database refused the statement.
    Database {
        /// PostgreSQL's SQLSTATE; SQLite's extended result code, in decimal.
        code: String,
        /// Its words.
        message: String,
    },
    /// The program asked for what cannot be: a parameter too few, a column that is not there, a number from
    /// a text, one row where there are two.
    Usage(String),
}

impl Error {
    /// PostgreSQL's SQLSTATE or SQLite's extended result code, if the database refused the statement.
    ///
    /// # Examples
    /// ```
    /// let pool = gaggle_sql::Pool::open("sqlite::memory:")?;
    /// let error = pool.execute(&gaggle::context::background(), "SELEC 1", &[]).unwrap_err();
    /// assert_eq!(error.code(), Some("1"));
    /// # Ok::<(), gaggle_sql::Error>(())
    /// ```
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Database { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether a row would have broken a rule that rows are different in something.
    ///
    /// # Examples
    /// ```
    /// let (pool, context) = (gaggle_sql::Pool::open("sqlite::memory:")?, gaggle::context::background());
    /// pool.execute(&context, "CREATE TABLE t (x INTEGER PRIMARY KEY)", &[])?;
    /// pool.execute(&context, "INSERT INTO t VALUES (1)", &[])?;
    /// let error = pool.execute(&context, "INSERT INTO t VALUES (1)", &[]).unwrap_err();
    /// assert!(error.is_unique_violation());
    /// # Ok::<(), gaggle_sql::Error>(())
    /// ```
    pub fn is_unique_violation(&self) -> bool {
        // PostgreSQL's unique_violation; SQLite's constraints of primary keys and of uniqueness.
        matches!(self.code(), Some("23505" | "1555" | "2067"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Context(error) => error.fmt(f),
            Error::Closed => f.write_str("the pool of connections is closed"),
            Error::Connect(why) => write!(f, "cannot connect to the database: {why}"),
            Error::Lost(why) => write!(f, "the connection to the database broke: {why}"),
            Error::Database { code, message } => write!(f, "{message} ({code})"),
            Error::Usage(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Context(error) => Some(error),
            _ => None,
        }
    }
}
