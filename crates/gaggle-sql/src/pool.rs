//! The pool: connections that goroutines share. What it decides is in [`crate::state`].

use crate::connection::Connection;
use crate::error::Error;
use crate::postgres::Postgres;
use crate::row::Row;
use crate::session::{Connector, Session};
use crate::sqlite::Sqlite;
use crate::state::{Chosen, Delivery, Entry, Grant, Limits, State, Statistics};
use crate::transaction::Transaction;
use crate::value::Value;
use gaggle::chan::{self, Receiver};
use gaggle::context::{Context, ContextError};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two looks at the resting connections.
const LOOK_MIN: Duration = Duration::from_millis(10);

/// Connections to one database that goroutines share. A clone is the same pool; when the last is dropped,
/// the connections that rest are closed.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    connector: Box<dyn Connector>,
    state: Mutex<State>,
}

/// The settings of a pool, to be said before it is opened.
#[derive(Clone, Debug)]
#[must_use = "nothing is opened before `open`"]
pub struct PoolBuilder {
    limits: Limits,
    pub(crate) statements: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) busy_timeout: Duration,
}

impl Default for PoolBuilder {
    fn default() -> Self {
        PoolBuilder {
            limits: Limits {
                max_open: 20,
                max_idle: 10,
                max_lifetime: None,
                max_idle_time: Some(Duration::from_secs(300)),
            },
            statements: 100,
            connect_timeout: Duration::from_secs(10),
            busy_timeout: Duration::from_secs(5),
        }
    }
}

impl PoolBuilder {
    /// How many connections may be open at a time; 20 unless set, 0 for any number. More are waited for.
    pub fn max_open(mut self, connections: usize) -> Self {
        self.limits.max_open = connections;
        self
    }

    /// How many connections are kept when nobody uses them; 10 unless set.
    pub fn max_idle(mut self, connections: usize) -> Self {
        self.limits.max_idle = connections;
        self
    }

    /// How old a connection may become; any age unless set. One that is in use ends when it is given back.
    pub fn max_lifetime(mut self, time: Duration) -> Self {
        self.limits.max_lifetime = Some(time);
        self
    }

    /// How long a connection may rest; 5 minutes unless set.
    pub fn max_idle_time(mut self, time: Duration) -> Self {
        self.limits.max_idle_time = Some(time);
        self
    }

    /// How many prepared statements each connection keeps; 100 unless set. The one that was used longest
    /// ago goes first.
    pub fn statements(mut self, count: usize) -> Self {
        self.statements = count;
        self
    }

    /// How long making a connection may take; 10 seconds unless set.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time;
        self
    }

    /// How long SQLite waits for a file that another connection has locked; 5 seconds unless set.
    pub fn busy_timeout(mut self, time: Duration) -> Self {
        self.busy_timeout = time;
        self
    }

    /// Makes a pool for the database at `url`: `postgres://user:password@host:port/name`, with the
    /// parameters of libpq that tokio-postgres knows, or `sqlite:path/to/file`, or `sqlite::memory:`.
    /// Nothing is connected yet, and nothing blocks.
    ///
    /// A database in memory has one connection, which is kept: it would be gone with it.
    ///
    /// With the feature `tls`, connections to PostgreSQL over TCP are encrypted when the server can
    /// (`sslmode=prefer`, unless the URL says otherwise), and must be with `sslmode=require`, `verify-ca` or
    /// `verify-full`. In every mode a server that encrypts must show a certificate for its host's name,
    /// signed by one of Mozilla's roots or of those in the PEM file that `sslrootcert=path` names;
    /// `sslmode=disable` never encrypts.
    ///
    /// # Errors
    /// When `url` is neither, or asks for what is not there (TLS without the feature `tls`, a file of root
    /// certificates that cannot be read, which this does at once).
    ///
    /// # Examples
    /// ```
    /// let pool = gaggle_sql::Pool::builder().max_open(4).open("postgres://goose@localhost/pond")?;
    /// assert_eq!(pool.stats().open, 0);
    /// # Ok::<(), gaggle_sql::Error>(())
    /// ```
    pub fn open(mut self, url: &str) -> Result<Pool, Error> {
        let connector: Box<dyn Connector> = match url.strip_prefix("sqlite:") {
            Some(":memory:") => {
                self.limits = Limits {
                    max_open: 1,
                    max_idle: 1,
                    max_lifetime: None,
                    max_idle_time: None,
                };
                Box::new(Sqlite::in_memory(&self))
            }
            Some(path) => Box::new(Sqlite::at(path, &self)),
            None => Box::new(Postgres::at(url, &self)?),
        };
        let state = Mutex::new(State::new(self.limits));
        let shared = Arc::new(Shared { connector, state });
        Ok(Pool { shared })
    }
}

impl Pool {
    /// Settings, with the usual values.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    /// A pool with the usual settings: see [`PoolBuilder::open`].
    ///
    /// # Errors
    /// As [`PoolBuilder::open`].
    pub fn open(url: &str) -> Result<Pool, Error> {
        Pool::builder().open(url)
    }

    /// A connection of one's own until it is dropped: one that rests, or a new one. Blocks this goroutine
    /// (never its OS thread) while as many are in use as may be open; who came first is served first.
    ///
    /// # Errors
    /// [`Error::Context`] when the context ends first, [`Error::Connect`], [`Error::Closed`].
    pub fn get(&self, context: &Context) -> Result<Connection, Error> {
        let entry = self.shared.get(context)?;
        Ok(Connection::new(Arc::clone(&self.shared), entry))
    }

    /// Runs one statement on some connection, and answers how many rows it changed. Blocks this goroutine
    /// (never its OS thread).
    ///
    /// # Errors
    /// As [`Pool::get`], and what the statement fails with.
    pub fn execute(
        &self,
        context: &Context,
        sql: &str,
        parameters: &[Value],
    ) -> Result<u64, Error> {
        self.get(context)?.execute(context, sql, parameters)
    }

    /// Runs one statement on some connection, and answers all its rows. Blocks this goroutine (never its OS
    /// thread).
    ///
    /// # Errors
    /// As [`Pool::execute`].
    pub fn query(
        &self,
        context: &Context,
        sql: &str,
        parameters: &[Value],
    ) -> Result<Vec<Row>, Error> {
        self.get(context)?.query(context, sql, parameters)
    }

    /// As [`Pool::query`], for the one row that there must be.
    ///
    /// # Errors
    /// As [`Pool::execute`]; [`Error::Usage`] when there are none or several.
    pub fn query_one(
        &self,
        context: &Context,
        sql: &str,
        parameters: &[Value],
    ) -> Result<Row, Error> {
        self.get(context)?.query_one(context, sql, parameters)
    }

    /// As [`Pool::query`], for the first row, if there is any.
    ///
    /// # Errors
    /// As [`Pool::execute`].
    pub fn query_optional(
        &self,
        context: &Context,
        sql: &str,
        parameters: &[Value],
    ) -> Result<Option<Row>, Error> {
        Ok(self.query(context, sql, parameters)?.into_iter().next())
    }

    /// Begins a transaction on a connection of its own. Dropped without [`Transaction::commit`], it is
    /// rolled back. On SQLite it takes the lock for writing at once, so that it cannot fail for it later.
    ///
    /// # Errors
    /// As [`Pool::execute`].
    ///
    /// # Examples
    /// ```
    /// use gaggle_sql::{Pool, params};
    /// let (pool, context) = (Pool::open("sqlite::memory:")?, gaggle::context::background());
    /// pool.execute(&context, "CREATE TABLE t (x INTEGER)", &[])?;
    /// let mut transaction = pool.begin(&context)?;
    /// transaction.execute(&context, "INSERT INTO t VALUES ($1)", &params![1])?;
    /// let mut savepoint = transaction.savepoint(&context)?;
    /// savepoint.execute(&context, "INSERT INTO t VALUES ($1)", &params![2])?;
    /// savepoint.rollback()?;
    /// transaction.commit(&context)?;
    /// let sum = pool.query_one(&context, "SELECT SUM(x) FROM t", &[])?;
    /// assert_eq!(sum.get::<i64>(0)?, 1);
    /// # Ok::<(), gaggle_sql::Error>(())
    /// ```
    pub fn begin(&self, context: &Context) -> Result<Transaction<'static>, Error> {
        Transaction::begin(self.get(context)?, context)
    }

    /// Runs `f` in a transaction, which is committed if it answers `Ok` and rolled back if not.
    ///
    /// # Errors
    /// What `f` fails with; as [`Pool::execute`].
    pub fn transaction<T, E: From<Error>>(
        &self,
        context: &Context,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut transaction = self.begin(context)?;
        let answer = f(&mut transaction)?;
        transaction.commit(context)?;
        Ok(answer)
    }

    /// Asks the database for an answer, on some connection.
    ///
    /// # Errors
    /// As [`Pool::execute`].
    pub fn ping(&self, context: &Context) -> Result<(), Error> {
        self.execute(context, "SELECT 1", &[]).map(drop)
    }

    /// The figures, now.
    pub fn stats(&self) -> Statistics {
        self.shared.lock().figures()
    }

    /// Changes how many connections may be open at a time, 0 for any number. Those that are too many end
    /// when they are given back.
    pub fn set_max_open(&self, connections: usize) {
        let mut deliveries = Vec::new();
        let mut state = self.shared.lock();
        state.limits.max_open = connections;
        while let Some(delivery) = state.next_place() {
            deliveries.push(delivery);
        }
        drop(state);
        deliveries.into_iter().for_each(Delivery::send);
    }

    /// Changes how many connections are kept when nobody uses them.
    pub fn set_max_idle(&self, connections: usize) {
        self.shared.change(|limits| limits.max_idle = connections);
    }

    /// Changes how old a connection may become; `None`: any age.
    pub fn set_max_lifetime(&self, time: Option<Duration>) {
        self.shared.change(|limits| limits.max_lifetime = time);
    }

    /// Changes how long a connection may rest; `None`: for ever.
    pub fn set_max_idle_time(&self, time: Option<Duration>) {
        self.shared.change(|limits| limits.max_idle_time = time);
    }

    /// Closes the pool: who waits and who comes is sent away, connections that rest are closed now, those in
    /// use when they are given back. Never blocks for those.
    pub fn close(&self) {
        let mut dead = Vec::new();
        let waiting = self.shared.lock().close(&mut dead);
        drop(waiting);
        drop(dead);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.stats()).finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        debug_assert!(state.is_consistent(), "L1");
        state
    }

    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Limits)) {
        let mut dead = Vec::new();
        let mut state = self.lock();
        change(&mut state.limits);
        state.clean(&mut dead);
        drop(state);
        drop(dead);
        self.clean_later();
    }

    fn get(self: &Arc<Self>, context: &Context) -> Result<Entry, Error> {
        if let Some(error) = context.err() {
            return Err(Error::Context(error));
        }
        let (mut dead, mut grants) = (Vec::new(), None);
        let waiter = || {
            let (sender, receiver) = chan::bounded(1);
            grants = Some(receiver);
            sender
        };
        let chosen = self.lock().choose(waiter, &mut dead);
        drop(dead);
        let grant = match (chosen, grants) {
            (Chosen::Closed, _) => return Err(Error::Closed),
            (Chosen::Entry(entry), _) => Grant::Entry(entry),
            (Chosen::Wait(number), Some(grants)) => self.wait(context, number, &grants)?,
            (Chosen::Open | Chosen::Wait(_), _) => Grant::Place,
        };
        if let Grant::Entry(mut entry) = grant {
            if !entry.session.is_broken() {
                return Ok(entry);
            }
            // A server that was restarted broke all that rested: each is found so here.
            self.lock().note_broken();
        }
        self.open(context)
    }

    /// Waits for one's turn.
    fn wait(
        self: &Arc<Self>,
        context: &Context,
        number: u64,
        grants: &Receiver<Grant>,
    ) -> Result<Grant, Error> {
        let began = Instant::now();
        // Under the context a wait ends with it, by an error; so it does under one around this call.
        let granted = context.run(|| grants.recv());
        let has_left = self.lock().end_wait(number, began.elapsed());
        if let Ok(grant) = granted {
            return Ok(grant);
        }
        if !has_left {
            // What was granted is there or on its way, unless the pool was closed.
            match receive_to_the_end(grants) {
                Some(Grant::Entry(entry)) => self.put(entry),
                Some(Grant::Place) => self.discount(),
                None => return Err(Error::Closed),
            }
        }
        Err(Error::Context(
            context.err().unwrap_or(ContextError::Canceled),
        ))
    }

    /// Opens a connection for a place that is counted.
    fn open(self: &Arc<Self>, context: &Context) -> Result<Entry, Error> {
        match self.connector.connect(context) {
            Ok(session) => Ok(Entry::new(session)),
            Err(error) => {
                self.discount();
                Err(error)
            }
        }
    }

    fn discount(&self) {
        let delivery = self.lock().discount();
        delivery.into_iter().for_each(Delivery::send);
    }

    /// Takes a connection back.
    pub(crate) fn put(self: &Arc<Self>, mut entry: Entry) {
        let is_broken = Session::is_broken(&mut *entry.session);
        let mut dead = Vec::new();
        let delivery = self.lock().put(entry, is_broken, &mut dead);
        match delivery {
            Some(delivery) => delivery.send(),
            None => self.clean_later(),
        }
        drop(dead);
    }

    /// Sees to it that somebody looks at the resting connections when one of them expires.
    fn clean_later(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.is_cleaning {
            return;
        }
        let Some(delay) = state.next_look() else {
            return;
        };
        state.is_cleaning = true;
        drop(state);
        let weak = Arc::downgrade(self);
        gaggle::time::after_func(delay.max(LOOK_MIN), move || {
            let Some(shared) = weak.upgrade() else {
                return;
            };
            let mut dead = Vec::new();
            let mut state = shared.lock();
            state.is_cleaning = false;
            state.clean(&mut dead);
            drop(state);
            drop(dead);
            shared.clean_later();
        });
    }
}

/// A grant that is on its way comes within microseconds, so nothing ends this wait; `None`: the channel was
/// closed without one.
fn receive_to_the_end(grants: &Receiver<Grant>) -> Option<Grant> {
    loop {
        match grants.try_recv() {
            Ok(grant) => return Some(grant),
            Err(chan::TryRecvError::Closed) => return None,
            Err(chan::TryRecvError::Empty) => gaggle::yield_now(),
        }
    }
}
