//! SQLite: a file of this machine, or memory.
//!
//! A statement runs on the goroutine that asks for it; while it reads or writes the file its OS thread is
//! blocked, and others go on without it. When the context ends, another goroutine interrupts it.
//!
//! - Q1: waiting for a file that is locked is a wait of the goroutine, ends with the context, and with the
//!   busy time-out.

use crate::error::Error;
use crate::pool::PoolBuilder;
use crate::row::Row;
use crate::session::{Answer, Connector, Session};
use crate::value::Value;
use crate::watch::{Call, under};
use gaggle::context::{Context, ContextError};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, InterruptHandle, Statement};
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How far apart interrupts are: one that comes between two steps of SQLite is lost.
const INTERRUPT_AGAIN: Duration = Duration::from_millis(1);
/// The longest pause before a locked file is tried again.
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(10);

pub(crate) struct Sqlite {
    /// `None`: memory.
    path: Option<PathBuf>,
    statements: usize,
    busy_timeout: Duration,
}

impl Sqlite {
    pub(crate) fn at(path: &str, builder: &PoolBuilder) -> Sqlite {
        let path = Some(PathBuf::from(path));
        Sqlite {
            path,
            ..Sqlite::in_memory(builder)
        }
    }

    pub(crate) fn in_memory(builder: &PoolBuilder) -> Sqlite {
        Sqlite {
            path: None,
            statements: builder.statements,
            busy_timeout: builder.busy_timeout,
        }
    }
}

impl Connector for Sqlite {
    fn connect(&self, context: &Context) -> Result<Box<dyn Session>, Error> {
        let opened = match &self.path {
            Some(path) => Connection::open(path),
            None => Connection::open_in_memory(),
        };
        let refused = |error: rusqlite::Error| Error::Connect(error.to_string());
        let mut connection = opened.map_err(refused)?;
        connection.set_prepared_statement_cache_capacity(self.statements);
        connection
            .busy_handler(Some(wait_for_file))
            .map_err(refused)?;
        let mut session = SqliteSession {
            interrupt: Arc::new(connection.get_interrupt_handle()),
            connection,
            busy_timeout: self.busy_timeout,
            is_broken: false,
        };
        // Readers and the writer do not lock each other out; what is committed survives the process, and the
        // machine up to the last checkpoint.
        session.batch(
            context,
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON",
        )?;
        Ok(Box::new(session))
    }
}

thread_local! {
    /// What the calling goroutine's statement waits under for a locked file (Q1).
    static WAITING: RefCell<Option<(Context, Instant)>> = const { RefCell::new(None) };
}

/// SQLite asks whether to try again, for the `tries`-th time.
fn wait_for_file(tries: i32) -> bool {
    let Some((context, until)) = WAITING.with_borrow(Clone::clone) else {
        return false;
    };
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() || context.err().is_some() {
        return false;
    }
    let pause = Duration::from_millis(tries.clamp(1, 10) as u64);
    // Nothing is ever sent there: it ends with the time, or with the context.
    let _ = context
        .done()
        .recv_timeout(pause.min(BUSY_PAUSE_MAX).min(left));
    context.err().is_none()
}

/// Takes the context away again, also when a statement panics.
struct Waiting;

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.set(None);
    }
}

struct SqliteSession {
    connection: Connection,
    interrupt: Arc<InterruptHandle>,
    busy_timeout: Duration,
    is_broken: bool,
}

impl SqliteSession {
    fn within<T>(
        &mut self,
        context: &Context,
        call: impl FnOnce(&Connection) -> Result<T, Failed>,
    ) -> Result<T, Error> {
        if let Some(error) = context.err() {
            return Err(Error::Context(error));
        }
        let until = Instant::now() + self.busy_timeout;
        WAITING.set(Some((context.clone(), until)));
        let waiting = Waiting;
        let interrupt = Arc::clone(&self.interrupt);
        let abort = move |running: Call| {
            interrupt.interrupt();
            while !running.is_over_within(INTERRUPT_AGAIN) {
                interrupt.interrupt();
            }
        };
        let (answer, _) = under(context, abort, || call(&self.connection));
        drop(waiting);
        answer.map_err(|failed| match failed {
            Failed::Usage(what) => Error::Usage(what),
            Failed::Sqlite(error) => of_sqlite(error, context),
        })
    }
}

enum Failed {
    Usage(String),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Failed::Sqlite(error)
    }
}

fn of_sqlite(error: rusqlite::Error, context: &Context) -> Error {
    match &error {
        rusqlite::Error::SqliteFailure(failure, _)
        | rusqlite::Error::SqlInputError { error: failure, .. } => {
            let is_ours = matches!(
                failure.code,
                ErrorCode::OperationInterrupted | ErrorCode::DatabaseBusy
            );
            match context.err().filter(|_| is_ours) {
                Some(ended) => Error::Context(ended),
                None if failure.code == ErrorCode::OperationInterrupted => {
                    Error::Context(ContextError::Canceled)
                }
                None => Error::Database {
                    code: failure.extended_code.to_string(),
                    message: error.to_string(),
                },
            }
        }
        other => Error::Usage(other.to_string()),
    }
}

/// Binds `$n` and `?n` to the n-th parameter, and each plain `?` to the one of its own place.
fn bind(statement: &mut Statement<'_>, parameters: &[Value]) -> Result<(), Failed> {
    let mut greatest = 0;
    for place in 1..=statement.parameter_count() {
        let number = match statement.parameter_name(place) {
            None => place,
            Some(name) => name[1..].parse().map_err(|_| {
                Failed::Usage(format!("the parameter {name} is no number, such as $1"))
            })?,
        };
        greatest = greatest.max(number);
        let value = number
            .checked_sub(1)
            .and_then(|index| parameters.get(index));
        match value {
            None => {
                return Err(Failed::Usage(format!(
                    "the parameter {number} was not given"
                )));
            }
            Some(Value::Null) => statement.raw_bind_parameter(place, rusqlite::types::Null)?,
            Some(Value::Bool(value)) => statement.raw_bind_parameter(place, value)?,
            Some(Value::Integer(value)) => statement.raw_bind_parameter(place, value)?,
            Some(Value::Real(value)) => statement.raw_bind_parameter(place, value)?,
            Some(Value::Text(value) | Value::Decimal(value)) => {
                statement.raw_bind_parameter(place, value)?
            }
            Some(Value::Bytes(value)) => statement.raw_bind_parameter(place, value)?,
            Some(Value::List(_)) => {
                return Err(Failed::Usage(format!(
                    "the parameter {number} is a list, and SQLite has none"
                )));
            }
        }
    }
    if greatest < parameters.len() {
        let (given, taken) = (parameters.len(), greatest);
        let what = format!("{given} parameters were given, and the statement takes {taken}");
        return Err(Failed::Usage(what));
    }
    Ok(())
}

fn of_column(value: ValueRef<'_>) -> Result<Value, Failed> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text);
            Value::Text(
                text.map_err(|error| Failed::Usage(error.to_string()))?
                    .to_string(),
            )
        }
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    })
}

fn run(connection: &Connection, sql: &str, parameters: &[Value]) -> Result<Answer, Failed> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, parameters)?;
    let names = statement.column_names();
    let columns: Arc<[String]> = names.map(str::to_string).collect();
    let is_query = statement.readonly();
    let before = connection.total_changes();
    let mut answer = Answer::default();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let values = (0..columns.len()).map(|place| of_column(row.get_ref(place)?));
        let values = values.collect::<Result<_, _>>()?;
        answer.rows.push(Row::new(Arc::clone(&columns), values));
    }
    drop(rows);
    // What a statement that changes nothing answers there is what the one before did.
    if !is_query && connection.total_changes() != before {
        answer.affected = connection.changes();
    }
    Ok(answer)
}

impl Session for SqliteSession {
    fn run(&mut self, context: &Context, sql: &str, parameters: &[Value]) -> Result<Answer, Error> {
        self.within(context, |connection| run(connection, sql, parameters))
    }

    fn batch(&mut self, context: &Context, sql: &str) -> Result<(), Error> {
        // An error may have rolled back already.
        if sql.starts_with("ROLLBACK") && self.connection.is_autocommit() {
            return Ok(());
        }
        self.within(context, |connection| Ok(connection.execute_batch(sql)?))
    }

    fn begin(&self) -> &'static str {
        "BEGIN IMMEDIATE"
    }

    fn commit(&mut self, context: &Context) -> Result<(), Error> {
        self.batch(context, "COMMIT")
    }

    fn give_up(&mut self) {
        self.is_broken = true;
    }

    fn is_broken(&mut self) -> bool {
        // A transaction that somebody left open is nobody else's.
        self.is_broken || !self.connection.is_autocommit()
    }
}
