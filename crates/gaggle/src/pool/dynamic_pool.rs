//! The pool that grows and shrinks.
//!
//! - D1: `min <= workers <= max` from the making on until the pool is over.
//! - D2: a task that was added is run once: workers end only when the queue is empty.
//! - D3: when a task is added and more wait than workers are free, a worker is added, up to `max`.
//! - D4: a worker that has had nothing to do for `keep_alive` ends, down to `min`.

use super::results::Queue;
use super::{PoolError, Results, Task};
use crate::builder::{Builder, refused};
use crate::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// How long a worker that is not needed stays, unless told otherwise.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// As many goroutines between two bounds as there are tasks for. A clone is the same pool.
///
/// A task that finds no idle worker starts one, up to the upper bound; from there on tasks wait, and when too many do,
/// [`DynamicPool::add`] blocks. A worker without a task for a while ends, down to the lower bound. When the last clone
/// is dropped the workers finish what was added, and end.
///
/// # Examples
/// ```
/// use gaggle::pool::{DynamicPool, PoolError};
///
/// let pool = DynamicPool::<String>::new(1..=8)?;
/// for _ in 0..100 {
///     pool.add(|| Ok(()))?;
/// }
/// assert!((1..=8).contains(&pool.workers()));
/// pool.shutdown();
/// assert_eq!(pool.results().count(), 0);
/// # Ok::<(), PoolError>(())
/// ```
pub struct DynamicPool<E: Send + 'static> {
    handle: Arc<Handle<E>>,
}

/// What the clones of a pool share; dropped with the last of them.
struct Handle<E: Send + 'static>(Arc<Shared<E>>);

struct Shared<E> {
    min: usize,
    max: usize,
    /// How many tasks wait before adding one blocks.
    queue_max: usize,
    keep_alive: Duration,
    state: Mutex<State<E>>,
    /// A task was added, or the pool is over.
    work: Condvar,
    /// A task was taken, or the pool is over.
    room: Condvar,
    /// The last worker has ended.
    ended: Condvar,
    results: Arc<Queue<E>>,
}

struct State<E> {
    tasks: VecDeque<Task<E>>,
    workers: usize,
    /// How many of them run no task: they wait for one, or are on their way.
    free: usize,
    is_over: bool,
}

impl<E: Send + 'static> DynamicPool<E> {
    /// A pool with as many workers as `workers` says, the fewest of which are started; as many tasks as the most may
    /// wait.
    ///
    /// # Errors
    /// [`PoolError::BadParams`] when the range is empty, or its end 0.
    ///
    /// # Panics
    /// As [`go`](crate::go).
    ///
    /// # Examples
    /// ```
    /// use gaggle::pool::{DynamicPool, PoolError};
    /// assert_eq!(DynamicPool::<()>::new(0..=0).unwrap_err(), PoolError::BadParams);
    /// ```
    #[track_caller]
    pub fn new(workers: RangeInclusive<usize>) -> Result<Self, PoolError> {
        let queue_max = *workers.end();
        Self::with(workers, queue_max, KEEP_ALIVE)
    }

    /// As [`DynamicPool::new`]; `queue_max` tasks may wait, and a worker without one ends after `keep_alive`.
    ///
    /// # Errors
    /// As [`DynamicPool::new`], and when no task may wait.
    ///
    /// # Panics
    /// As [`go`](crate::go).
    #[track_caller]
    pub fn with(
        workers: RangeInclusive<usize>,
        queue_max: usize,
        keep_alive: Duration,
    ) -> Result<Self, PoolError> {
        let (min, max) = workers.into_inner();
        if max == 0 || min > max || queue_max == 0 {
            return Err(PoolError::BadParams);
        }
        let state = State {
            tasks: VecDeque::new(),
            workers: min,
            free: min,
            is_over: false,
        };
        let shared = Arc::new(Shared {
            min,
            max,
            queue_max,
            keep_alive,
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
            ended: Condvar::new(),
            results: Queue::new(),
        });
        for _ in 0..min {
            shared.start_worker();
        }
        let handle = Arc::new(Handle(shared));
        Ok(DynamicPool { handle })
    }

    /// Adds a task, blocking this goroutine (never its OS thread) while too many wait.
    ///
    /// # Errors
    /// [`PoolError::ShutDown`] after [`DynamicPool::shutdown`].
    ///
    /// # Panics
    /// As [`go`](crate::go), when a worker is to be added; and when a context that this is called under
    /// ([`Context::run`](crate::context::Context::run)) ends while it waits.
    #[track_caller]
    pub fn add<F>(&self, task: F) -> Result<(), PoolError>
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        let shared = self.shared();
        let task: Task<E> = Box::new(task);
        let mut state = shared.state.lock_shielded();
        shared.room.wait_while(&mut state, |state| {
            state.tasks.len() >= shared.queue_max && !state.is_over
        });
        if state.is_over {
            return Err(PoolError::ShutDown);
        }
        state.tasks.push_back(task);
        // D3.
        let grows = state.tasks.len() > state.free && state.workers < shared.max;
        if grows {
            state.workers += 1;
            state.free += 1;
        }
        drop(state);
        if grows {
            shared.start_worker();
        } else {
            shared.work.notify_one();
        }
        Ok(())
    }

    /// How many workers there are at the time of the call.
    pub fn workers(&self) -> usize {
        self.shared().state.lock_shielded().workers
    }

    /// How many tasks wait for a worker at the time of the call.
    pub fn queued(&self) -> usize {
        self.shared().state.lock_shielded().tasks.len()
    }

    /// The errors of the tasks, and nothing of those that succeed.
    pub fn results(&self) -> Results<E> {
        self.shared().results.results()
    }

    /// Takes no more tasks, and blocks this goroutine (never its OS thread) until those that were added have been
    /// run and all workers have ended. A task of the pool itself must not call it: it would wait for itself.
    ///
    /// # Panics
    /// When a context that this is called under ([`Context::run`](crate::context::Context::run)) ends first; the pool
    /// is shut down all the same, and its tasks go on.
    #[track_caller]
    pub fn shutdown(&self) {
        let shared = self.shared();
        shared.end();
        let mut state = shared.state.lock_shielded();
        shared
            .ended
            .wait_while(&mut state, |state| state.workers > 0);
    }

    fn shared(&self) -> &Arc<Shared<E>> {
        &self.handle.0
    }
}

impl<E: Send + 'static> Shared<E> {
    /// Starts a worker that is counted already.
    #[track_caller]
    fn start_worker(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let Err(refusal) = Builder::new().spawn(move || shared.work()) else {
            return;
        };
        let mut state = self.state.lock_shielded();
        state.workers -= 1;
        state.free -= 1;
        self.end_if_last(&state);
        drop(state);
        refused(&refusal);
    }

    /// What a worker does.
    fn work(&self) {
        while let Some(task) = self.next_task() {
            self.room.notify_one();
            self.results.run(task);
            self.state.lock_shielded().free += 1;
        }
    }

    /// The next task; `None`: this worker ends, and is not counted any more.
    fn next_task(&self) -> Option<Task<E>> {
        let mut state = self.state.lock_shielded();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                state.free -= 1;
                return Some(task);
            }
            if state.is_over {
                break;
            }
            let has_waited_long = !self.work.wait_timeout(&mut state, self.keep_alive);
            // D4.
            if has_waited_long && state.tasks.is_empty() && state.workers > self.min {
                break;
            }
        }
        state.workers -= 1;
        state.free -= 1;
        self.end_if_last(&state);
        None
    }

    /// Takes no more tasks.
    fn end(&self) {
        let mut state = self.state.lock_shielded();
        state.is_over = true;
        self.end_if_last(&state);
        drop(state);
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Tells who waits for the end, if this is it.
    fn end_if_last(&self, state: &State<E>) {
        if state.is_over && state.workers == 0 {
            self.results.end();
            self.ended.notify_all();
        }
    }
}

impl<E: Send + 'static> Drop for Handle<E> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<E: Send + 'static> Clone for DynamicPool<E> {
    fn clone(&self) -> Self {
        DynamicPool {
            handle: Arc::clone(&self.handle),
        }
    }
}

impl<E: Send + 'static> fmt::Debug for DynamicPool<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared().state.lock_shielded();
        f.debug_struct("DynamicPool")
            .field("workers", &state.workers)
            .field("queued", &state.tasks.len())
            .finish_non_exhaustive()
    }
}
