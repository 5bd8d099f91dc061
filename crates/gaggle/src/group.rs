//! Groups of goroutines that work on one task, and fail as one.
//!
//! [`Group::go`] starts a goroutine that may fail; [`Group::wait`] answers the first error once all have ended. A
//! group made by [`Group::with_context`] cancels its context at the first failure, so that the others can end
//! early.
//!
//! ```
//! use gaggle::group::Group;
//!
//! let group = Group::<String>::new();
//! group.go(|| Ok(()));
//! group.go(|| Err("no such goose".to_owned()));
//! assert_eq!(group.wait(), Err("no such goose".to_owned()));
//! ```
//!
//! Source: `golang.org/x/sync/errgroup`.

use crate::context::{CancelCause, Context, ContextError};
use crate::sync::{Mutex, Permit, Semaphore, WaitGroup};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Goroutines that work on one task; a clone is the same group.
///
/// A goroutine that panics counts as one that failed: the context ends, and [`Group::wait`] goes on with the panic
/// once all have ended.
pub struct Group<E> {
    shared: Arc<Shared<E>>,
    limit: Option<Semaphore>,
}

struct Shared<E> {
    running: WaitGroup,
    first: Mutex<Option<Failure<E>>>,
    context: Option<Cancelling<E>>,
}

/// How a group tells its context of a failure.
struct Cancelling<E> {
    cancel: CancelCause,
    describe: fn(&E) -> String,
}

/// The first that went wrong.
enum Failure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
    /// Told by a `wait` before.
    Taken,
}

impl<E: Send + 'static> Group<E> {
    /// A group that cancels nothing.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// A group, and a context made from `context` that ends at the group's first failure, whose text is its cause,
    /// or when [`Group::wait`] returns.
    ///
    /// # Examples
    /// ```
    /// use gaggle::group::Group;
    /// let (group, context) = Group::<String>::with_context(&gaggle::context::background());
    /// group.go(|| Err("no such goose".to_owned()));
    /// group.go(move || {
    ///     // Ends early, since the other fails.
    ///     let _ = context.done().recv();
    ///     assert_eq!(context.cause().unwrap().to_string(), "no such goose");
    ///     Ok(())
    /// });
    /// assert!(group.wait().is_err());
    /// ```
    pub fn with_context(context: &Context) -> (Self, Context)
    where
        E: fmt::Display,
    {
        let (context, cancel) = context.with_cancel_cause();
        let describe = E::to_string;
        (Self::with(Some(Cancelling { cancel, describe })), context)
    }

    fn with(context: Option<Cancelling<E>>) -> Self {
        let (running, first) = (WaitGroup::new(), Mutex::new(None));
        Group {
            shared: Arc::new(Shared {
                running,
                first,
                context,
            }),
            limit: None,
        }
    }

    /// The group with at most `goroutines` running at the same time; with 0 none can be started.
    ///
    /// # Panics
    /// When goroutines of the group are running: they were not counted.
    ///
    /// # Examples
    /// ```
    /// use gaggle::group::Group;
    /// let group = Group::<String>::new().limit(2);
    /// for _ in 0..10 {
    ///     group.go(|| Ok(()));
    /// }
    /// assert!(group.wait().is_ok());
    /// ```
    #[must_use = "the group it is called on is consumed"]
    pub fn limit(self, goroutines: usize) -> Self {
        // Every running goroutine, and every clone, has a reference.
        assert!(
            Arc::strong_count(&self.shared) == 1,
            "the limit of a group must be set before its goroutines are started and before it is cloned"
        );
        Group {
            limit: Some(Semaphore::new(goroutines)),
            ..self
        }
    }

    /// Starts a goroutine; blocks this one (never its OS thread) while as many run as the limit allows.
    ///
    /// With a limit, a goroutine of the group that starts another may so wait for itself: there
    /// [`Group::try_go`] is right.
    ///
    /// # Panics
    /// When the limit is 0; when a context that this is called under ([`Context::run`]) ends while it waits for the
    /// limit; and as [`go`](crate::go).
    #[track_caller]
    pub fn go<F>(&self, f: F)
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        let permit = self.limit.as_ref().map(|limit| limit.acquire(1));
        self.start(permit, f);
    }

    /// Starts a goroutine, unless as many run as the limit allows. Never blocks. `false`: it was not started, and
    /// `f` was dropped.
    ///
    /// # Panics
    /// As [`go`](crate::go).
    ///
    /// # Examples
    /// ```
    /// use gaggle::group::Group;
    /// let group = Group::<String>::new().limit(1);
    /// let (sender, receiver) = gaggle::chan::unbuffered();
    /// assert!(group.try_go(move || Ok(receiver.recv().unwrap())));
    /// assert!(!group.try_go(|| Ok(())));
    /// sender.send(()).unwrap();
    /// assert!(group.wait().is_ok());
    /// ```
    #[track_caller]
    pub fn try_go<F>(&self, f: F) -> bool
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        let permit = match &self.limit {
            None => None,
            Some(limit) => match limit.try_acquire(1) {
                None => return false,
                permit => permit,
            },
        };
        self.start(permit, f);
        true
    }

    #[track_caller]
    fn start<F>(&self, permit: Option<Permit>, f: F)
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        self.shared.running.go(move || {
            let failure = match catch_unwind(AssertUnwindSafe(f)) {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(Failure::Error(error)),
                Err(payload) => Some(Failure::Panic(payload)),
            };
            if let Some(failure) = failure {
                shared.fail(failure);
            }
            // Before the permit lets the next one start, so that `limit` can count the references.
            drop(shared);
            drop(permit);
        });
    }

    /// Blocks this goroutine (never its OS thread) until all of the group have ended, and ends its context.
    ///
    /// # Errors
    /// The error of the first that failed; one `wait` of a group gets it, others only know by [`Ok`] that all have
    /// ended.
    ///
    /// # Panics
    /// With the payload of the first that failed, if it panicked. And when a context that this is called under
    /// ([`Context::run`]) ends first, since an `E` cannot be made of that ([`Group::wait_context`] answers it): the
    /// goroutines go on then, and the group may be waited for again.
    #[track_caller]
    pub fn wait(&self) -> Result<(), E> {
        self.shared.running.wait();
        self.outcome()
    }

    /// As [`Group::wait`], until `context` ends at most.
    ///
    /// # Errors
    /// The outer one: why `context`, or one that this is called under, has ended first. The goroutines go on then,
    /// and the group may be waited for again. The inner one is that of [`Group::wait`].
    ///
    /// # Panics
    /// With the payload of the first that failed, if it panicked.
    ///
    /// # Examples
    /// ```
    /// use gaggle::group::Group;
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// let (sender, receiver) = gaggle::chan::unbuffered::<()>();
    /// let group = Group::<String>::new();
    /// group.go(move || receiver.recv().map_err(|closed| closed.to_string()));
    /// cancel.cancel();
    /// assert!(group.wait_context(&context).is_err(), "it has not ended");
    /// sender.send(()).unwrap();
    /// assert_eq!(group.wait(), Ok(()));
    /// ```
    pub fn wait_context(&self, context: &Context) -> Result<Result<(), E>, ContextError> {
        self.shared.running.wait_context(context)?;
        Ok(self.outcome())
    }

    /// What came of goroutines that have all ended; ends the context.
    fn outcome(&self) -> Result<(), E> {
        let mut first = self.shared.first.lock_shielded();
        let failure = first
            .as_mut()
            .map(|first| std::mem::replace(first, Failure::Taken));
        drop(first);
        if let Some(context) = &self.shared.context {
            context.cancel.cancel(ContextError::Canceled);
        }
        match failure {
            None | Some(Failure::Taken) => Ok(()),
            Some(Failure::Error(error)) => Err(error),
            Some(Failure::Panic(payload)) => resume_unwind(payload),
        }
    }
}

impl<E> Shared<E> {
    /// Keeps the failure if it is the first, and ends the context.
    fn fail(&self, failure: Failure<E>) {
        // Before the lock: what describes an error is the user's.
        let cause = self.context.as_ref().map(|context| match &failure {
            Failure::Error(error) => (context.describe)(error),
            Failure::Panic(_) | Failure::Taken => "a goroutine of the group panicked".to_owned(),
        });
        let mut first = self.first.lock_shielded();
        if first.is_some() {
            drop(first);
            // Its destructor is the user's too.
            return drop(failure);
        }
        *first = Some(failure);
        drop(first);
        if let (Some(context), Some(cause)) = (&self.context, cause) {
            context.cancel.cancel(cause);
        }
    }
}

impl<E> Clone for Group<E> {
    fn clone(&self) -> Self {
        Group {
            shared: Arc::clone(&self.shared),
            limit: self.limit.clone(),
        }
    }
}

impl<E: Send + 'static> Default for Group<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Group<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("has_failed", &self.shared.first.lock_shielded().is_some())
            .finish_non_exhaustive()
    }
}
