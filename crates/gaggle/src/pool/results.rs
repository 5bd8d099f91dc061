//! The errors of a pool's tasks, on their way to whoever asks.

use super::Task;
use crate::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What became of a task that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskError<E> {
    /// It answered this error.
    Failed(E),
    /// It panicked, with this text. The worker goes on.
    Panicked(String),
}

impl<E: fmt::Display> fmt::Display for TaskError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Failed(error) => error.fmt(f),
            TaskError::Panicked(text) => write!(f, "the task panicked: {text}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for TaskError<E> {}

/// The errors of a pool, in the order in which they came. A clone takes from the same.
///
/// As an iterator it blocks this goroutine (never its OS thread) until there is one, and ends when the pool has.
/// Errors are kept until they are taken, each once, so that no worker ever waits for them. A wait under
/// [`Context::run`](crate::context::Context::run) panics when that context ends.
pub struct Results<E> {
    queue: Arc<Queue<E>>,
}

/// What a pool and its [`Results`] share.
pub(super) struct Queue<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
}

struct State<E> {
    errors: VecDeque<TaskError<E>>,
    /// No task will run any more.
    is_over: bool,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            errors: VecDeque::new(),
            is_over: false,
        };
        Arc::new(Queue {
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    /// Runs `task` and keeps what goes wrong.
    pub(super) fn run(&self, task: Task<E>) {
        let error = match catch_unwind(AssertUnwindSafe(task)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => TaskError::Failed(error),
            Err(payload) => TaskError::Panicked(crate::panics::text_of(&*payload).to_owned()),
        };
        self.state.lock_shielded().errors.push_back(error);
        self.changed.notify_one();
    }

    /// No task will run any more.
    pub(super) fn end(&self) {
        self.state.lock_shielded().is_over = true;
        self.changed.notify_all();
    }

    pub(super) fn results(self: &Arc<Self>) -> Results<E> {
        Results {
            queue: Arc::clone(self),
        }
    }
}

impl<E> Results<E> {
    /// An error that is there already. Never blocks.
    pub fn try_next(&self) -> Option<TaskError<E>> {
        self.queue.state.lock_shielded().errors.pop_front()
    }
}

impl<E> Iterator for Results<E> {
    type Item = TaskError<E>;

    fn next(&mut self) -> Option<TaskError<E>> {
        let mut state = self.queue.state.lock_shielded();
        self.queue.changed.wait_while(&mut state, |state| {
            state.errors.is_empty() && !state.is_over
        });
        state.errors.pop_front()
    }
}

impl<E> Clone for Results<E> {
    fn clone(&self) -> Self {
        self.queue.results()
    }
}

impl<E> fmt::Debug for Results<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.queue.state.lock_shielded();
        f.debug_struct("Results")
            .field("waiting", &state.errors.len())
            .field("is_over", &state.is_over)
            .finish()
    }
}
