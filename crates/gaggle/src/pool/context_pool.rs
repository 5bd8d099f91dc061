//! The pool whose tasks are done or given up together.

use super::PoolError;
use crate::chan::{Receiver, Sender, bounded};
use crate::context::{Context, ContextError};
use crate::group::Group;
use std::fmt;

/// What the pool works off: a function that is told when to give up, and may fail.
type Task<E> = Box<dyn FnOnce(&Context) -> Result<(), E> + Send + 'static>;

/// Why a [`ContextPool`] has not done all its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextPoolError<E> {
    /// A task failed with this error, as the first.
    Failed(E),
    /// The context that the pool was made with has ended.
    Ended(ContextError),
}

impl<E: fmt::Display> fmt::Display for ContextPoolError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContextPoolError::Failed(error) => error.fmt(f),
            ContextPoolError::Ended(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for ContextPoolError<E> {}

/// A fixed number of goroutines that work off tasks until the first fails, or a context ends.
///
/// Each task is given the pool's context, which ends at the first failure, by a panic too, and with the context that
/// the pool was made with. Tasks that have not begun by then are dropped; those that have should give up.
///
/// # Examples
/// ```
/// use gaggle::context::background;
/// use gaggle::pool::{ContextPool, ContextPoolError};
///
/// let pool = ContextPool::<String>::new(&background(), 2).unwrap();
/// pool.add(|context| {
///     // Until the other fails.
///     let _ = context.done().recv();
///     Ok(())
/// }).unwrap();
/// pool.add(|_| Err("no such goose".to_owned())).unwrap();
/// assert_eq!(pool.wait(), Err(ContextPoolError::Failed("no such goose".to_owned())));
/// ```
pub struct ContextPool<E> {
    tasks: Sender<Task<E>>,
    group: Group<ContextPoolError<E>>,
    context: Context,
    workers: usize,
}

impl<E: fmt::Display + Send + 'static> ContextPool<E> {
    /// A pool of `workers`, which are started. As many tasks wait for a worker before [`ContextPool::add`] blocks.
    ///
    /// # Errors
    /// [`PoolError::BadParams`] when there are no workers.
    ///
    /// # Panics
    /// As [`go`](crate::go).
    #[track_caller]
    pub fn new(context: &Context, workers: usize) -> Result<Self, PoolError> {
        if workers == 0 {
            return Err(PoolError::BadParams);
        }
        let (group, context) = Group::with_context(context);
        let (tasks, queue) = bounded(workers);
        for _ in 0..workers {
            let (queue, context) = (queue.clone(), context.clone());
            group.go(move || work(&queue, &context));
        }
        Ok(ContextPool {
            tasks,
            group,
            context,
            workers,
        })
    }

    /// Adds a task, blocking this goroutine (never its OS thread) while as many wait as there are workers.
    ///
    /// # Errors
    /// [`PoolError::ShutDown`] once the context has ended: a task has failed, or a deadline has come.
    ///
    /// # Panics
    /// When another context, that this is called under ([`Context::run`]), ends while it waits.
    ///
    /// # Examples
    /// ```
    /// use gaggle::context::background;
    /// use gaggle::pool::{ContextPool, PoolError};
    /// let (context, cancel) = background().with_cancel();
    /// let pool = ContextPool::<String>::new(&context, 2).unwrap();
    /// assert_eq!(pool.add(|_| Ok(())), Ok(()));
    /// cancel.cancel();
    /// assert_eq!(pool.add(|_| Ok(())), Err(PoolError::ShutDown));
    /// ```
    pub fn add<F>(&self, task: F) -> Result<(), PoolError>
    where
        F: FnOnce(&Context) -> Result<(), E> + Send + 'static,
    {
        if self.context.err().is_some() {
            return Err(PoolError::ShutDown);
        }
        let (tasks, task): (_, Task<E>) = (&self.tasks, Box::new(task));
        crate::select! {
            send(tasks, task) -> sent => sent.map_err(|_closed| PoolError::ShutDown),
            done(self.context) => Err(PoolError::ShutDown),
        }
    }

    /// The context of the tasks.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Takes no more tasks, and blocks this goroutine (never its OS thread) until those that were added have been
    /// done or given up.
    ///
    /// # Errors
    /// The first failure.
    ///
    /// # Panics
    /// With the payload of the first task that failed, if it panicked; and as [`Group::wait`] when a context that
    /// this is called under ends first.
    #[track_caller]
    pub fn wait(self) -> Result<(), ContextPoolError<E>> {
        self.tasks.close();
        self.group.wait()
    }
}

/// What a worker does.
fn work<E>(queue: &Receiver<Task<E>>, context: &Context) -> Result<(), ContextPoolError<E>> {
    loop {
        // A select chooses among what is ready; the end comes first.
        if let Some(error) = context.err() {
            return Err(ContextPoolError::Ended(error));
        }
        let task = crate::select! {
            recv(queue) -> task => task,
            done(context) => continue,
        };
        match task {
            Ok(task) => task(context).map_err(ContextPoolError::Failed)?,
            Err(_closed) => return Ok(()),
        }
    }
}

impl<E> fmt::Debug for ContextPool<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextPool")
            .field("workers", &self.workers)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
