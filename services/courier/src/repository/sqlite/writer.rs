//! The writer: one goroutine, one connection, group commit.
//!
//! - W1: an operation is answered only after the transaction it was part of has been committed.
//! - W2: an operation that fails takes no other with it: its transaction is rolled back, and each of
//!   its operations is run again in a transaction of its own.
//! - W3: after `close` nothing is written; an operation that comes later fails, it does not hang.

use super::tables::Tables;
use crate::usecase::ports::StoreError;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

/// How many operations go into one transaction at most.
const BATCH_MAX: usize = 1_024;
/// How many operations may wait for the writer before those who ask block.
const WAITING_MAX: usize = 4_096;

/// An operation that waits for its answer.
trait Operation: Send {
    fn run(&mut self, tables: &mut Tables) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Call<F, T> {
    work: F,
    result: Option<T>,
    reply: SyncSender<Result<T, StoreError>>,
}

impl<F, T> Operation for Call<F, T>
where
    F: FnMut(&mut Tables) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, tables: &mut Tables) -> rusqlite::Result<()> {
        self.result = Some((self.work)(tables)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { result, reply, .. } = *self;
        let answer = committed
            .and_then(|()| result.ok_or_else(|| StoreError("the operation did not run".into())));
        // Whoever asked may have gone; what was committed stays.
        let _ = reply.send(answer);
    }
}

/// The handle of the writer's goroutine.
pub(super) struct Writer {
    operations: Mutex<Option<SyncSender<Box<dyn Operation>>>>,
    goroutine: Mutex<Option<gaggle::JoinHandle<()>>>,
}

fn closed<E>(_: E) -> StoreError {
    StoreError("the database is closed".into())
}

impl Writer {
    /// Starts the goroutine that owns `tables`.
    pub(super) fn start(tables: Tables) -> Self {
        let (operations, waiting) = sync_channel(WAITING_MAX);
        let goroutine = gaggle::go(move || write_all(tables, &waiting));
        Self {
            operations: Mutex::new(Some(operations)),
            goroutine: Mutex::new(Some(goroutine)),
        }
    }

    /// Runs `work` in a transaction and answers once that is on disk. It may be run twice (W2).
    pub(super) fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tables) -> rusqlite::Result<T> + Send + 'static,
    {
        let operations = self
            .operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or(())
            .map_err(closed)?;
        let (reply, answer) = sync_channel(1);
        operations
            .send(Box::new(Call {
                work,
                result: None,
                reply,
            }))
            .map_err(closed)?;
        drop(operations);
        answer.recv().map_err(closed)?
    }

    /// Ends the goroutine after all that waits has been written (W3).
    pub(super) fn close(&self) {
        let operations = self
            .operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(operations);
        let goroutine = self
            .goroutine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(goroutine) = goroutine {
            let _ = goroutine.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

fn write_all(mut tables: Tables, waiting: &Receiver<Box<dyn Operation>>) {
    while let Ok(first) = waiting.recv() {
        let mut batch = vec![first];
        batch.extend(waiting.try_iter().take(BATCH_MAX - 1));
        commit(&mut tables, batch);
    }
}

fn commit(tables: &mut Tables, mut batch: Vec<Box<dyn Operation>>) {
    let together = tables.transaction(|tables| {
        batch
            .iter_mut()
            .try_for_each(|operation| operation.run(tables))
    });
    match together {
        Ok(()) => {
            for operation in batch {
                operation.answer(Ok(()));
            }
        }
        Err(_) => {
            for mut operation in batch {
                let alone = tables.transaction(|tables| operation.run(tables));
                operation.answer(alone.map_err(|error| StoreError(error.to_string())));
            }
        }
    }
}
