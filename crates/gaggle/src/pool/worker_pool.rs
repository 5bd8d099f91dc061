//! The pool with a fixed number of workers.
//!
//! - W1: a task that was added is run once: workers end only when the queue is closed and empty.
//! - W2: the state goes from new to running or to over, and from running to over, never back; only the step from
//!   new to running starts workers.

use super::results::Queue;
use super::{PoolError, Results, Task};
use crate::chan::{Receiver, Sender, bounded};
use crate::sync::{Mutex, WaitGroup};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

const NEW: u8 = 0;
const RUNNING: u8 = 1;
const OVER: u8 = 2;

/// A fixed number of goroutines that work off tasks. A clone is the same pool, and may be used from many goroutines.
///
/// Made by [`WorkerPool::new`], started by [`WorkerPool::run`], fed by [`WorkerPool::add`], ended by
/// [`WorkerPool::shutdown`]; what goes wrong comes by [`WorkerPool::results`]. When the last clone is dropped the
/// workers finish what was added, and end.
///
/// # Examples
/// ```
/// use gaggle::pool::{PoolError, TaskError, WorkerPool};
///
/// let pool = WorkerPool::<String>::new(4)?;
/// pool.run();
/// for number in 0..10 {
///     pool.add(move || match number {
///         7 => Err("no seventh goose".to_owned()),
///         _ => Ok(()),
///     })?;
/// }
/// pool.shutdown();
/// let errors: Vec<_> = pool.results().collect();
/// assert_eq!(errors, [TaskError::Failed("no seventh goose".to_owned())]);
/// # Ok::<(), PoolError>(())
/// ```
pub struct WorkerPool<E> {
    inner: Arc<Inner<E>>,
}

struct Inner<E> {
    workers: usize,
    state: AtomicU8,
    /// Held while the state changes (W2).
    changing: Mutex<()>,
    tasks: Sender<Task<E>>,
    /// What workers receive from.
    queue: Receiver<Task<E>>,
    running: WaitGroup,
    results: Arc<Queue<E>>,
}

/// The end of a worker, whether it has worked or could not be started.
struct Leaving<E> {
    /// How many workers there still are.
    left: Arc<AtomicUsize>,
    running: WaitGroup,
    results: Arc<Queue<E>>,
}

impl<E> Drop for Leaving<E> {
    fn drop(&mut self) {
        // AcqRel: the last one's end comes after all others' work.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.results.end();
        }
        self.running.done();
    }
}

impl<E: Send + 'static> WorkerPool<E> {
    /// A pool of `workers`, not started yet. As many tasks wait for a worker before [`WorkerPool::add`] blocks.
    ///
    /// # Errors
    /// [`PoolError::BadParams`] when there are no workers.
    ///
    /// # Examples
    /// ```
    /// use gaggle::pool::{PoolError, WorkerPool};
    /// assert_eq!(WorkerPool::<()>::new(0).unwrap_err(), PoolError::BadParams);
    /// ```
    pub fn new(workers: usize) -> Result<Self, PoolError> {
        if workers == 0 {
            return Err(PoolError::BadParams);
        }
        let (tasks, queue) = bounded(workers);
        Ok(WorkerPool {
            inner: Arc::new(Inner {
                workers,
                state: AtomicU8::new(NEW),
                changing: Mutex::new(()),
                tasks,
                queue,
                running: WaitGroup::new(),
                results: Queue::new(),
            }),
        })
    }

    /// Starts the workers, at the first call; later calls, and one after [`WorkerPool::shutdown`], do nothing.
    ///
    /// # Panics
    /// As [`go`](crate::go).
    #[track_caller]
    pub fn run(&self) {
        let inner = &*self.inner;
        let changing = inner.changing.lock_shielded();
        // Relaxed: the lock orders the changes.
        if inner.state.load(Ordering::Relaxed) != NEW {
            return;
        }
        inner.running.add(inner.workers as i32);
        // Release: pairs with the Acquire in `add_task`.
        inner.state.store(RUNNING, Ordering::Release);
        drop(changing);
        let left = Arc::new(AtomicUsize::new(inner.workers));
        for _ in 0..inner.workers {
            let queue = inner.queue.clone();
            let leaving = Leaving {
                left: Arc::clone(&left),
                running: inner.running.clone(),
                results: Arc::clone(&inner.results),
            };
            let worker = crate::go(move || {
                for task in queue.iter() {
                    leaving.results.run(task);
                }
            });
            drop(worker);
        }
    }

    /// Adds a task, blocking this goroutine (never its OS thread) while as many wait as there are workers.
    ///
    /// # Errors
    /// [`PoolError::NotStarted`] before [`WorkerPool::run`], [`PoolError::ShutDown`] after
    /// [`WorkerPool::shutdown`], and when a context that this is called under
    /// ([`Context::run`](crate::context::Context::run)) ends while it waits: the task was not added then.
    ///
    /// # Examples
    /// ```
    /// use gaggle::pool::{PoolError, WorkerPool};
    /// let pool = WorkerPool::<()>::new(1).unwrap();
    /// assert_eq!(pool.add(|| Ok(())), Err(PoolError::NotStarted));
    /// pool.run();
    /// assert_eq!(pool.add(|| Ok(())), Ok(()));
    /// pool.shutdown();
    /// assert_eq!(pool.add(|| Ok(())), Err(PoolError::ShutDown));
    /// ```
    pub fn add<F>(&self, task: F) -> Result<(), PoolError>
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        self.add_task(Some(Box::new(task)))
    }

    /// As [`WorkerPool::add`], for a task that was made elsewhere, or was not.
    ///
    /// # Errors
    /// As [`WorkerPool::add`]; [`PoolError::BadTask`] for `None`.
    ///
    /// # Examples
    /// ```
    /// use gaggle::pool::{PoolError, WorkerPool};
    /// let pool = WorkerPool::<()>::new(1).unwrap();
    /// pool.run();
    /// assert_eq!(pool.add_task(None), Err(PoolError::BadTask));
    /// ```
    pub fn add_task(&self, task: Option<Task<E>>) -> Result<(), PoolError> {
        // Acquire: pairs with the Release in `run` and `shutdown`.
        match self.inner.state.load(Ordering::Acquire) {
            NEW => return Err(PoolError::NotStarted),
            OVER => return Err(PoolError::ShutDown),
            _ => {}
        }
        let task = task.ok_or(PoolError::BadTask)?;
        let sent = self.inner.tasks.send(task);
        sent.map_err(|_closed| PoolError::ShutDown)
    }

    /// The errors of the tasks, and nothing of those that succeed.
    ///
    /// # Examples
    /// ```
    /// let pool = gaggle::pool::WorkerPool::<()>::new(1).unwrap();
    /// pool.run();
    /// pool.add(|| Ok(())).unwrap();
    /// pool.shutdown();
    /// assert_eq!(pool.results().next(), None);
    /// ```
    pub fn results(&self) -> Results<E> {
        self.inner.results.results()
    }

    /// Takes no more tasks, and blocks this goroutine (never its OS thread) until those that were added have been
    /// run. A task of the pool itself must not call it: it would wait for itself.
    ///
    /// # Panics
    /// When a context that this is called under ([`Context::run`](crate::context::Context::run)) ends first; the pool
    /// is shut down all the same, and its tasks go on.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// static DONE: AtomicBool = AtomicBool::new(false);
    /// let pool = gaggle::pool::WorkerPool::<()>::new(1).unwrap();
    /// pool.run();
    /// pool.add(|| Ok(DONE.store(true, Ordering::Relaxed))).unwrap();
    /// pool.shutdown();
    /// assert!(DONE.load(Ordering::Relaxed));
    /// ```
    #[track_caller]
    pub fn shutdown(&self) {
        let inner = &*self.inner;
        let changing = inner.changing.lock_shielded();
        // AcqRel: as in `run`.
        if inner.state.swap(OVER, Ordering::AcqRel) == NEW {
            inner.results.end();
        }
        drop(changing);
        inner.tasks.close();
        inner.running.wait();
    }
}

impl<E> Drop for Inner<E> {
    fn drop(&mut self) {
        // The channel is closed by the drop of its sender, and the last worker ends the results.
        if *self.state.get_mut() == NEW {
            self.results.end();
        }
    }
}

impl<E> Clone for WorkerPool<E> {
    fn clone(&self) -> Self {
        WorkerPool {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<E> fmt::Debug for WorkerPool<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool")
            .field("workers", &self.inner.workers)
            .field("queued", &self.inner.queue.len())
            .finish_non_exhaustive()
    }
}
