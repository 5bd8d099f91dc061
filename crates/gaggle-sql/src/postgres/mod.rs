//! PostgreSQL: tokio-postgres's protocol over a plain socket of std, driven by blocking.
//!
//! - N1: after a statement that was cancelled or refused, the connection has answered something else before
//!   it is used again, so the cancel request cannot meet a later statement, and nothing is left unread.
//! - N2: a connection on which that failed, or that did not end its statement in time, is broken.

mod drive;
mod tls;
mod values;
mod wire;
mod written;

use crate::error::Error;
use crate::pool::PoolBuilder;
use crate::row::Row;
use crate::session::{Answer, Connector, Session};
use crate::value::Value;
use crate::watch::{Call, under};
use drive::{Driven, drive};
use futures_util::TryStreamExt;
use gaggle::context::{Context, ContextError};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tls::{Tls, TlsStream, take_roots, tls};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Client, Config, Statement};
use values::of_column;
use wire::{Link, Socket, Wire};

/// How long a server may take to end a statement that it was told to cancel.
const CANCEL_TIME: Duration = Duration::from_secs(1);
/// "query_canceled"
const CANCELLED: &str = "57014";
/// "feature_not_supported": the answer of a prepared statement has changed; "invalid_sql_statement_name":
/// it is gone (`DISCARD ALL`). Neither was begun.
const STALE: [&str; 2] = ["0A000", "26000"];

#[derive(Clone)]
pub(crate) struct Postgres {
    config: Arc<Config>,
    /// The same without TLS: for Unix sockets, on which libpq and the server have none either.
    plain: Arc<Config>,
    statements: usize,
    connect_timeout: Duration,
    tls: Tls,
}

type Wired = tokio_postgres::Connection<Link, TlsStream>;

impl Postgres {
    pub(crate) fn at(url: &str, builder: &PoolBuilder) -> Result<Postgres, Error> {
        let (url, roots) = take_roots(url)?;
        let config: Config = url
            .parse()
            .map_err(|error| Error::Usage(format!("the URL of a database: {error}")))?;
        let tls = tls(config.get_ssl_mode(), roots)?;
        let mut plain = config.clone();
        plain.ssl_mode(SslMode::Disable);
        Ok(Postgres {
            config: Arc::new(config),
            plain: Arc::new(plain),
            statements: builder.statements,
            connect_timeout: builder.connect_timeout,
            tls,
        })
    }

    /// A socket to the first host that answers, and that host's name.
    fn dial(&self, until: Instant) -> Result<(Wire, String), Error> {
        let ports = self.config.get_ports();
        let mut why = "the URL names no host".to_string();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let port = *ports.get(index).or(ports.first()).unwrap_or(&5432);
            let (socket, name) = match host {
                Host::Tcp(name) => (Socket::connect_tcp(name, port, until), name.clone()),
                Host::Unix(folder) => {
                    let path = folder.join(format!(".s.PGSQL.{port}"));
                    (Socket::connect_unix(&path), "localhost".to_string())
                }
            };
            match socket {
                Ok(socket) => return Ok((Wire::new(socket), name)),
                Err(error) => why = format!("{name}:{port}: {error}"),
            }
        }
        Err(Error::Connect(why))
    }

    fn tls_for(&self, host: &str) -> Result<<Tls as MakeTlsConnect<Link>>::TlsConnect, Error> {
        let mut tls = Clone::clone(&self.tls);
        MakeTlsConnect::<Link>::make_tls_connect(&mut tls, host)
            .map_err(|error| Error::Connect(error.to_string()))
    }

    /// Asks the server, on a connection of its own, to end the statement of another; returns when the
    /// server has passed that on.
    fn cancel(&self, token: &CancelToken) -> Result<(), Error> {
        let (wire, host) = self.dial(Instant::now() + CANCEL_TIME)?;
        let wire = Arc::new(wire);
        wire.socket().limit_reads(CANCEL_TIME);
        let tls = self.tls_for(&host)?;
        let request = token.cancel_query_raw(Link(Arc::clone(&wire)), tls);
        match drive(&wire, &mut None, request) {
            Driven::Done(Ok(())) => wire.read_to_end(),
            Driven::Done(Err(error)) => return Err(Error::Connect(error.to_string())),
            Driven::Stuck => {}
        }
        Ok(())
    }
}

impl Connector for Postgres {
    fn connect(&self, context: &Context) -> Result<Box<dyn Session>, Error> {
        if let Some(error) = context.err() {
            return Err(Error::Context(error));
        }
        let timeout = self.config.get_connect_timeout().copied();
        let until = Instant::now() + timeout.unwrap_or(self.connect_timeout);
        let until = context
            .deadline()
            .map_or(until, |deadline| deadline.min(until));
        // The clock may be ahead of the timer that ends the context.
        let is_late = || {
            context
                .deadline()
                .is_some_and(|deadline| deadline <= Instant::now())
        };
        let late = || is_late().then_some(ContextError::DeadlineExceeded);
        let ended = |error| context.err().or_else(late).map_or(error, Error::Context);
        let (wire, host) = context.run(|| self.dial(until)).map_err(ended)?;
        let wire = Arc::new(wire);
        let tls = self.tls_for(&host)?;
        wire.socket()
            .limit_reads(until.saturating_duration_since(Instant::now()));
        let config = match wire.socket() {
            Socket::Tcp(_) => &self.config,
            Socket::Unix(_) => &self.plain,
        };
        let begin = config.connect_raw(Link(Arc::clone(&wire)), tls);
        let abort = {
            let wire = Arc::clone(&wire);
            move |_: Call| wire.socket().shut()
        };
        let (begun, _) = under(context, abort, || drive(&wire, &mut None, begin));
        let (client, wired) = match begun {
            Driven::Done(Ok(begun)) => begun,
            Driven::Done(Err(error)) => return Err(ended(Error::Connect(words_of(&error)))),
            Driven::Stuck => return Err(ended(Error::Connect("the handshake stuck".to_string()))),
        };
        wire.socket().limit_reads(Duration::ZERO);
        Ok(Box::new(PostgresSession {
            postgres: self.clone(),
            token: client.cancel_token(),
            client: Some(client),
            wired: Some(wired),
            wire,
            prepared: HashMap::new(),
            clock: 0,
            is_broken: false,
        }))
    }
}

struct PostgresSession {
    postgres: Postgres,
    token: CancelToken,
    /// There until the drop.
    client: Option<Client>,
    /// `None`: it has ended.
    wired: Option<Wired>,
    wire: Arc<Wire>,
    /// By their text; with when each was used last.
    prepared: HashMap<String, (Statement, u64)>,
    clock: u64,
    is_broken: bool,
}

/// The server's own words, where it said any.
fn words_of(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} ({})", error.message(), error.code().code()),
        None => {
            let source = std::error::Error::source(error);
            source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
        }
    }
}

impl PostgresSession {
    /// Runs `work` until it is done; an error of the connection makes it broken.
    fn drive<T>(
        &mut self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        let driven = drive(&self.wire, &mut self.wired, work);
        self.is_broken |= self.wired.is_none();
        match driven {
            Driven::Done(Ok(answer)) => Ok(answer),
            Driven::Done(Err(error)) => Err(self.of_postgres(&error)),
            Driven::Stuck => {
                self.is_broken = true;
                Err(Error::Lost(
                    "the server and we wait for each other".to_string(),
                ))
            }
        }
    }

    fn of_postgres(&mut self, error: &tokio_postgres::Error) -> Error {
        let Some(refusal) = error.as_db_error() else {
            if error.is_closed() || self.is_broken || self.wired.is_none() {
                self.is_broken = true;
                return Error::Lost(words_of(error));
            }
            return Error::Usage(words_of(error));
        };
        // "FATAL" and "PANIC": the server ends the connection.
        if matches!(refusal.severity(), "FATAL" | "PANIC") {
            self.is_broken = true;
            return Error::Lost(words_of(error));
        }
        Error::Database {
            code: refusal.code().code().to_string(),
            message: refusal.message().to_string(),
        }
    }

    /// Runs `work` under the context (N1, N2).
    fn within<T>(
        &mut self,
        context: &Context,
        work: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if let Some(error) = context.err() {
            return Err(Error::Context(error));
        }
        let (postgres, token) = (self.postgres.clone(), self.token.clone());
        let wire = Arc::clone(&self.wire);
        let abort = move |statement: Call| {
            // Whether it got there shows in whether the statement ends.
            let _ = postgres.cancel(&token);
            if !statement.is_over_within(CANCEL_TIME) {
                wire.socket().shut();
            }
        };
        let (answer, aborted) = under(context, abort, || work(self));
        // After a refusal the server says that it is ready, which has not been read yet.
        if aborted || matches!(answer, Err(Error::Database { .. })) {
            self.settle();
        }
        if !aborted {
            return answer;
        }
        match (answer, context.err()) {
            (Err(Error::Database { code, .. }), Some(ended)) if code == CANCELLED => {
                Err(Error::Context(ended))
            }
            (Err(Error::Lost(_)), Some(ended)) => Err(Error::Context(ended)),
            (answer, _) => answer,
        }
    }

    /// Has the server answer something, so that a cancel request that it has been passed meets that (N1).
    fn settle(&mut self) {
        for _ in 0..2 {
            if self.is_broken {
                return;
            }
            self.wire.socket().limit_reads(CANCEL_TIME);
            let answered = self.simple("");
            self.wire.socket().limit_reads(Duration::ZERO);
            match answered {
                Ok(()) => return,
                Err(error) if error.code() == Some(CANCELLED) => {}
                Err(_) => self.is_broken = true,
            }
        }
        self.is_broken = true;
    }

    fn client(&self) -> Result<&Client, Error> {
        let gone = || Error::Lost("it has ended".to_string());
        self.client.as_ref().ok_or_else(gone)
    }

    /// Runs statements without parameters.
    fn simple(&mut self, sql: &str) -> Result<(), Error> {
        let client = self
            .client
            .take()
            .ok_or_else(|| Error::Lost("it has ended".to_string()))?;
        let answer = self.drive(client.batch_execute(sql));
        self.client = Some(client);
        answer
    }

    /// The statement, prepared.
    fn prepare(&mut self, sql: &str) -> Result<Statement, Error> {
        self.clock += 1;
        if let Some((statement, used)) = self.prepared.get_mut(sql) {
            *used = self.clock;
            return Ok(statement.clone());
        }
        let client = self
            .client
            .take()
            .ok_or_else(|| Error::Lost("it has ended".to_string()))?;
        let prepared = self.drive(client.prepare(sql));
        self.client = Some(client);
        let statement = prepared?;
        if self.prepared.len() >= self.postgres.statements {
            let oldest = self.prepared.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(sql, _)| sql.clone()) {
                self.prepared.remove(&oldest);
            }
        }
        if self.postgres.statements > 0 {
            let entry = (statement.clone(), self.clock);
            self.prepared.insert(sql.to_string(), entry);
        }
        Ok(statement)
    }

    fn run_once(&mut self, sql: &str, parameters: &[Value]) -> Result<Answer, Error> {
        let statement = self.prepare(sql)?;
        let (given, taken) = (parameters.len(), statement.params().len());
        if given != taken {
            let what = format!("{given} parameters were given, and the statement takes {taken}");
            return Err(Error::Usage(what));
        }
        let columns: Arc<[String]> = statement
            .columns()
            .iter()
            .map(|column| column.name().to_string())
            .collect();
        self.client()?;
        let client = self
            .client
            .take()
            .ok_or_else(|| Error::Lost("it has ended".to_string()))?;
        let work = async {
            let mut rows = pin!(client.query_raw(&statement, parameters).await?);
            let mut answer = (Vec::new(), 0);
            while let Some(row) = rows.try_next().await? {
                answer.0.push(row);
            }
            answer.1 = rows.rows_affected().unwrap_or(0);
            Ok(answer)
        };
        let answer = self.drive(work);
        self.client = Some(client);
        let (rows, affected) = answer?;
        let rows = rows.iter().map(|row| {
            let values = (0..columns.len()).map(|place| of_column(row, place));
            Ok(Row::new(
                Arc::clone(&columns),
                values.collect::<Result<_, _>>()?,
            ))
        });
        let rows = rows.collect::<Result<_, Error>>()?;
        Ok(Answer { rows, affected })
    }
}

impl Session for PostgresSession {
    fn run(&mut self, context: &Context, sql: &str, parameters: &[Value]) -> Result<Answer, Error> {
        self.within(context, |session| {
            let was_prepared = session.prepared.contains_key(sql);
            let answer = session.run_once(sql, parameters);
            match &answer {
                // Prepared for tables that have changed since: it was not begun. In a transaction the second
                // time fails as well, since the first has ended it.
                Err(error)
                    if was_prepared && error.code().is_some_and(|code| STALE.contains(&code)) =>
                {
                    session.prepared.remove(sql);
                    session.run_once(sql, parameters)
                }
                _ => answer,
            }
        })
    }

    fn batch(&mut self, context: &Context, sql: &str) -> Result<(), Error> {
        self.within(context, |session| session.simple(sql))
    }

    fn begin(&self) -> &'static str {
        "BEGIN"
    }

    fn commit(&mut self, context: &Context) -> Result<(), Error> {
        // COMMIT of a transaction in which something failed rolls back, and is no error by itself; any other
        // statement is one then, and COMMIT is not reached.
        self.batch(context, "SELECT 1; COMMIT")
    }

    fn give_up(&mut self) {
        self.is_broken = true;
    }

    fn is_broken(&mut self) -> bool {
        self.is_broken || self.wire.is_disturbed()
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        // The connection then says goodbye to the server, if it still can.
        drop(self.client.take());
        self.prepared.clear();
        if self.is_broken {
            self.wire.socket().shut();
        } else if let Some(wired) = &mut self.wired {
            drive::poll_once(wired);
        }
    }
}
