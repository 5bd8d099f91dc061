//! What the locks and the rest of `gaggle::sync` promise, in the cases that Go's own tests have, and in those
//! that are Rust's. Each case with several tasks runs on goroutines, on plain OS threads and on both mixed.

mod barrier;
mod condvar;
mod mutex;
mod once;
mod pool;
mod rwlock;
mod semaphore;
mod single_flight;
mod under_context;
mod wait_group;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Long enough for anything that is going to happen; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);

/// Where the tasks of a case run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Where {
    Goroutines,
    Threads,
    /// One here, the next there.
    Mixed,
}

/// Runs a case wherever tasks can run.
pub(crate) fn everywhere(case: impl Fn(Where)) {
    case(Where::Goroutines);
    case(Where::Threads);
    case(Where::Mixed);
}

impl Where {
    /// Starts a task of the case.
    pub(crate) fn go<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: only its parity matters.
        let is_even = STARTED.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        match self {
            Where::Threads => Task::Thread(thread::spawn(f)),
            Where::Mixed if is_even => Task::Thread(thread::spawn(f)),
            Where::Goroutines | Where::Mixed => Task::Goroutine(gaggle::go(f)),
        }
    }

    /// Starts `count` tasks.
    pub(crate) fn go_all<T: Send + 'static, F>(
        self,
        count: usize,
        f: impl Fn(usize) -> F,
    ) -> Vec<Task<T>>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        (0..count).map(|number| self.go(f(number))).collect()
    }
}

/// A task that was started.
pub(crate) enum Task<T> {
    Goroutine(gaggle::JoinHandle<T>),
    Thread(thread::JoinHandle<T>),
}

impl<T> Task<T> {
    /// Waits for its end.
    pub(crate) fn join(self) -> thread::Result<T> {
        match self {
            Task::Goroutine(handle) => handle.join(),
            Task::Thread(handle) => handle.join(),
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Task::Goroutine(handle) => handle.is_finished(),
            Task::Thread(handle) => handle.is_finished(),
        }
    }
}

/// Waits for the ends of all; none has panicked.
pub(crate) fn join_all<T>(tasks: Vec<Task<T>>) -> Vec<T> {
    tasks
        .into_iter()
        .map(|task| task.join().expect("no task panics"))
        .collect()
}

/// Lets others run until `condition` holds.
pub(crate) fn until(condition: impl Fn() -> bool) {
    while !condition() {
        gaggle::yield_now();
    }
}

/// Lets others run until so many wait for `lock`.
pub(crate) fn until_waiting(lock: &impl std::fmt::Debug, count: usize) {
    until(|| format!("{lock:?}").contains(&format!("waiting: {count}")));
}
