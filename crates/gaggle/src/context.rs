//! Contexts: when a piece of work must end, and what it carries along.
//!
//! A [`Context`] is made from another ([`background`] at first) and handed down as a parameter. It ends
//! when it is cancelled, at its deadline, or when the one it was made from ends; those made from it end
//! with it. Work that waits looks at [`Context::done`], in a [`select!`](crate::select!) for instance;
//! work that computes looks at [`Context::err`] now and then.
//!
//! ```
//! use gaggle::{chan, context, select};
//! use std::time::Duration;
//!
//! let (context, _cancel) = context::background().with_timeout(Duration::from_millis(1));
//! let (_sender, replies) = chan::unbuffered::<String>();
//! let reply = select! {
//!     recv(replies) -> reply => reply.ok(),
//!     done(context) => None,
//! };
//! assert_eq!(reply, None);
//! assert_eq!(context.err(), Some(context::ContextError::DeadlineExceeded));
//! ```
//!
//! Source: Go's package `context`. Where Go's `vet` complains about a `cancel` that is never called,
//! here dropping the [`Cancel`] cancels.

use crate::backend::Dispatch;
use crate::builder::entry_for_later;
use crate::chan::{Never, Receiver, deadline_at};
use gaggle_core::context as core_context;
use gaggle_core::contract::{Nanos, SpawnOptions};
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use gaggle_core::context::{Cause, ContextError};

/// The context that never ends, has no deadline and carries nothing: where every other comes from.
///
/// # Examples
/// ```
/// assert!(gaggle::context::background().err().is_none());
/// ```
pub const fn background() -> Context {
    Context {
        inner: core_context::Context::background(),
        deadline: None,
    }
}

/// When a piece of work must end, and what it carries along. A clone is the same context, and cheap.
#[derive(Clone)]
pub struct Context {
    inner: core_context::Context<Dispatch>,
    /// As the program gave it; the inner one counts on the runtime's clock.
    deadline: Option<Instant>,
}

impl Context {
    /// Makes a context that also ends when `cancel` is called on the handle, or the handle drops.
    ///
    /// # Examples
    /// ```
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// assert!(context.err().is_none());
    /// cancel.cancel();
    /// assert!(context.err().is_some());
    /// ```
    #[must_use = "the context ends when the handle is dropped"]
    #[track_caller]
    pub fn with_cancel(&self) -> (Context, Cancel) {
        let (inner, cancel) = self.inner.with_cancel(options());
        (self.derived(inner, None), Cancel(cancel))
    }

    /// As [`Context::with_cancel`], with a handle that gives a reason, which [`Context::cause`] answers.
    ///
    /// # Examples
    /// ```
    /// let (context, cancel) = gaggle::context::background().with_cancel_cause();
    /// cancel.cancel("the client is gone");
    /// assert_eq!(context.cause().unwrap().to_string(), "the client is gone");
    /// ```
    #[must_use = "the context ends when the handle is dropped"]
    #[track_caller]
    pub fn with_cancel_cause(&self) -> (Context, CancelCause) {
        let (inner, cancel) = self.inner.with_cancel(options());
        (self.derived(inner, None), CancelCause(cancel))
    }

    /// Makes a context that also ends at `deadline`, at once if that has passed, and when `cancel` is
    /// called on the handle or the handle drops.
    ///
    /// # Panics
    /// When the operating system refuses the thread that serves timers (threads backend, first timer).
    ///
    /// # Examples
    /// ```
    /// use gaggle::context::{background, ContextError};
    /// let (context, _cancel) = background().with_deadline(std::time::Instant::now());
    /// assert_eq!(context.err(), Some(ContextError::DeadlineExceeded));
    /// ```
    #[must_use = "the context ends when the handle is dropped"]
    #[track_caller]
    pub fn with_deadline(&self, deadline: Instant) -> (Context, Cancel) {
        self.until(deadline, None)
    }

    /// As [`Context::with_deadline`], with the reason that [`Context::cause`] answers if the deadline ends
    /// it.
    ///
    /// # Panics
    /// As [`Context::with_deadline`].
    ///
    /// # Examples
    /// ```
    /// use gaggle::context::{background, ContextError};
    /// let now = std::time::Instant::now();
    /// let (context, _cancel) = background().with_deadline_cause(now, "the shop has closed");
    /// assert_eq!(context.err(), Some(ContextError::DeadlineExceeded));
    /// assert_eq!(context.cause().unwrap().to_string(), "the shop has closed");
    /// ```
    #[must_use = "the context ends when the handle is dropped"]
    #[track_caller]
    pub fn with_deadline_cause(
        &self,
        deadline: Instant,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> (Context, Cancel) {
        self.until(deadline, Some(Arc::from(cause.into())))
    }

    #[track_caller]
    fn until(&self, deadline: Instant, expiry: Option<Cause>) -> (Context, Cancel) {
        let at = deadline_at(deadline);
        let (inner, cancel) = self.inner.with_deadline(at, expiry, options());
        (self.derived(inner, Some(deadline)), Cancel(cancel))
    }

    /// Makes a context that also ends when `timeout` has passed, and when `cancel` is called on the
    /// handle or the handle drops. A timeout beyond what the clock can tell is none.
    ///
    /// # Panics
    /// As [`Context::with_deadline`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let (context, cancel) = gaggle::context::background().with_timeout(Duration::from_secs(3600));
    /// assert!(context.deadline().is_some());
    /// drop(cancel);
    /// assert!(context.err().is_some());
    /// ```
    #[must_use = "the context ends when the handle is dropped"]
    #[track_caller]
    pub fn with_timeout(&self, timeout: Duration) -> (Context, Cancel) {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.with_deadline(deadline),
            None => self.with_cancel(),
        }
    }

    /// As [`Context::with_timeout`], with the reason that [`Context::cause`] answers if the time ends it.
    ///
    /// # Panics
    /// As [`Context::with_deadline`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let (context, _cancel) = gaggle::context::background()
    ///     .with_timeout_cause(Duration::ZERO, "the replica did not answer");
    /// assert_eq!(context.cause().unwrap().to_string(), "the replica did not answer");
    /// ```
    #[must_use = "the context ends when the handle is dropped"]
    #[track_caller]
    pub fn with_timeout_cause(
        &self,
        timeout: Duration,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> (Context, Cancel) {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.with_deadline_cause(deadline, cause),
            None => self.with_cancel(),
        }
    }

    /// Makes a context that also carries `value`, found again by its type; an inherited value of that
    /// type is hidden.
    ///
    /// # Examples
    /// ```
    /// struct RequestId(u64);
    /// let context = gaggle::context::background().with_value(RequestId(7));
    /// assert_eq!(context.value::<RequestId>().unwrap().0, 7);
    /// ```
    #[must_use = "the context it is called on stays as it is"]
    pub fn with_value<V: Any + Send + Sync>(&self, value: V) -> Context {
        self.derived(self.inner.with_value(value), None)
    }

    /// Makes a context that carries the same values but never ends and has no deadline, for work that
    /// must be finished although the reason for it has gone.
    ///
    /// # Examples
    /// ```
    /// let (context, cancel) = gaggle::context::background().with_value(7u8).with_cancel();
    /// let audit = context.without_cancel();
    /// cancel.cancel();
    /// assert!(audit.err().is_none());
    /// assert_eq!(audit.value(), Some(&7u8));
    /// ```
    #[must_use = "the context it is called on stays as it is"]
    pub fn without_cancel(&self) -> Context {
        Context {
            inner: self.inner.without_cancel(),
            deadline: None,
        }
    }

    /// A channel that is closed when the context ends, for [`select!`](crate::select!) and
    /// [`Receiver::recv`]. Nothing is ever sent on it.
    ///
    /// # Examples
    /// ```
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// gaggle::go(move || cancel.cancel());
    /// assert!(context.done().recv().is_err());
    /// ```
    pub fn done(&self) -> &Receiver<Never> {
        Receiver::from_core(self.inner.done())
    }

    /// Why the context has ended; `None`: it has not. Never blocks.
    ///
    /// # Examples
    /// ```
    /// use gaggle::context::{background, ContextError};
    /// let (context, cancel) = background().with_cancel();
    /// cancel.cancel();
    /// assert_eq!(context.err(), Some(ContextError::Canceled));
    /// ```
    pub fn err(&self) -> Option<ContextError> {
        self.inner.err()
    }

    /// The reason that was given to [`CancelCause::cancel`], of this context or the one that ended it;
    /// else what [`Context::err`] answers; `None`: it has not ended.
    ///
    /// # Examples
    /// ```
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// drop(cancel);
    /// assert_eq!(context.cause().unwrap().to_string(), "context canceled");
    /// ```
    pub fn cause(&self) -> Option<Cause> {
        self.inner.cause()
    }

    /// When it will end at the latest, its own deadline or one it inherited; `None`: it has none.
    ///
    /// # Examples
    /// ```
    /// assert!(gaggle::context::background().deadline().is_none());
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The value of type `V` that it carries.
    ///
    /// # Examples
    /// ```
    /// let context = gaggle::context::background().with_value("tenant-7");
    /// assert_eq!(context.value::<&str>(), Some(&"tenant-7"));
    /// assert_eq!(context.value::<u32>(), None);
    /// ```
    pub fn value<V: Any>(&self) -> Option<&V> {
        self.inner.value()
    }

    /// Runs `f` in a goroutine of its own when the context ends, at once if it has, unless
    /// [`AfterFunc::stop`] is called before. If the context is dropped without ever having ended, `f` is
    /// dropped too; an `f` that holds the context itself keeps it alive until it ends.
    ///
    /// # Examples
    /// ```
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// let (sender, receiver) = gaggle::chan::bounded(1);
    /// context.after_func(move || sender.send("ended").unwrap());
    /// cancel.cancel();
    /// assert_eq!(receiver.recv(), Ok("ended"));
    /// ```
    #[track_caller]
    pub fn after_func<F>(&self, f: F) -> AfterFunc
    where
        F: FnOnce() + Send + 'static,
    {
        let options = options();
        let entry = entry_for_later(f, options.location);
        AfterFunc(self.inner.after_func(options, entry))
    }

    /// Runs `f` on this goroutine and answers what it answers; when the context ends, whatever `f` waits
    /// for ends with an error, so that it can leave. A context that has ended already lets `f` begin:
    /// then only what need not wait succeeds.
    ///
    /// What ends so, as soon as the context does:
    /// - the waits of this crate, on every backend. Channels answer the error that they have
    ///   ([`RecvError`](crate::chan::RecvError), or that the time is over),
    ///   [`JoinHandle::join`](crate::JoinHandle::join) answers a [`ContextError`],
    ///   [`time::sleep`](crate::time::sleep) returns early, and the forms of locks and condition variables
    ///   that have a time-out or a context end as at their own. Those that have no error to answer panic: a
    ///   `select!` without `default`, a plain `lock`, a semaphore's `acquire`, a `wait` of a wait group, a barrier
    ///   or a [`Group`](crate::group::Group), [`park`](crate::park). What must not be left behind is waited for all
    ///   the same: the goroutines of a [`scope`](crate::scope()), which may borrow, the stages of a
    ///   [`pipeline`](crate::pipeline), and the actors of a supervisor that is stopped;
    /// - on the green backend also std's and other libraries' waits for sockets, pipes and other
    ///   descriptors (reading, writing, accepting, connecting, `poll` and its relatives, a child's end):
    ///   they answer an [`io::Error`](std::io::Error) of the kind
    ///   [`TimedOut`](std::io::ErrorKind::TimedOut) at a deadline, and ECANCELED ("operation canceled")
    ///   after a cancellation; and sleeps, which return early. On the threads backend they wait on, and
    ///   `f` has to look at [`Context::err`].
    ///
    /// Callers of std that take every error for a bug panic then:
    /// [`Command::output`](std::process::Command::output) and
    /// [`Child::wait_with_output`](std::process::Child::wait_with_output) while they read, `spawn` with a
    /// `pre_exec`.
    ///
    /// Locks, condition variables and joins of std and of other libraries, name lookups, and files wait
    /// on everywhere. Goroutines that `f` starts do not run under the context. Runs may be nested: the
    /// context that ends first ends the wait.
    ///
    /// A descriptor stays open and as usable as before: nothing that came was lost, since a call that has
    /// received something answers it. A call that had sent a part answers how much; the next one, if it
    /// has to wait, fails. So after `write_all` or `read_exact` it is unknown how much of the message has
    /// passed: then the connection is good for nothing but being closed. One that was being connected goes
    /// on connecting.
    ///
    /// Blocks as long as `f` runs.
    ///
    /// # Examples
    /// ```
    /// use gaggle::context::background;
    /// use std::time::Duration;
    ///
    /// let (_sender, replies) = gaggle::chan::unbuffered::<u32>();
    /// let (context, _cancel) = background().with_timeout(Duration::from_millis(1));
    /// assert!(context.run(|| replies.recv()).is_err());
    /// assert!(context.err().is_some(), "that is why");
    /// ```
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        self.inner.run(f)
    }

    /// When it ends at the latest, on the runtime's clock.
    pub(crate) fn deadline_nanos(&self) -> Nanos {
        self.inner.deadline()
    }

    fn derived(&self, inner: core_context::Context<Dispatch>, own: Option<Instant>) -> Context {
        let deadlines = self.deadline.into_iter().chain(own);
        Context {
            inner,
            deadline: deadlines.min(),
        }
    }
}

#[track_caller]
fn options() -> SpawnOptions {
    SpawnOptions {
        name: None,
        stack_bytes: None,
        location: Location::caller(),
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("err", &self.err())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Cancels a context, when told to or dropped. Cancelling never blocks, and again changes nothing.
#[must_use = "the context ends when this is dropped"]
pub struct Cancel(core_context::Cancel<Dispatch>);

impl Cancel {
    /// Ends the context, and all that were made from it, unless they have ended before.
    ///
    /// # Examples
    /// ```
    /// let (parent, cancel) = gaggle::context::background().with_cancel();
    /// let (child, _keep) = parent.with_cancel();
    /// cancel.cancel();
    /// assert!(child.err().is_some());
    /// ```
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Gives `context` and its handle back, for a next piece of work, if that could not tell them from new ones:
    /// if the context has not ended, and of the last piece nothing holds it, waits for its end or is to be
    /// called at it. `None`: the context has ended. A deadline stays what it is.
    ///
    /// Saves the making of a context for each of many short pieces of work, one after the other.
    ///
    /// # Examples
    /// ```
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// let (context, cancel) = cancel.renew(context).expect("nobody has it");
    /// let kept = context.clone();
    /// assert!(cancel.renew(context).is_none());
    /// assert!(kept.err().is_some());
    /// ```
    pub fn renew(self, context: Context) -> Option<(Context, Cancel)> {
        let Context { inner, deadline } = context;
        let (inner, cancel) = self.0.renew(inner)?;
        Some((Context { inner, deadline }, Cancel(cancel)))
    }

    /// Gives the handle up without cancelling: the context then ends with the one it was made from, or
    /// at its deadline.
    ///
    /// # Examples
    /// ```
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// cancel.detach();
    /// assert!(context.err().is_none());
    /// ```
    pub fn detach(self) {
        self.0.detach();
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Cancels a context for a reason; dropped before, it cancels it without one. Cancelling never blocks.
#[must_use = "the context ends when this is dropped"]
pub struct CancelCause(core_context::Cancel<Dispatch>);

impl CancelCause {
    /// Ends the context, and all that were made from it, because of `cause`, unless they have ended
    /// before.
    ///
    /// # Examples
    /// ```
    /// let (context, cancel) = gaggle::context::background().with_cancel_cause();
    /// cancel.cancel(std::io::Error::other("disk full"));
    /// assert_eq!(context.cause().unwrap().to_string(), "disk full");
    /// ```
    pub fn cancel(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) {
        self.0.cancel_because(cause);
    }

    /// As [`Cancel::detach`].
    pub fn detach(self) {
        self.0.detach();
    }
}

impl fmt::Debug for CancelCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelCause").finish_non_exhaustive()
    }
}

/// A function that waits for the end of a context; made by [`Context::after_func`]. Dropping it does
/// not stop it.
pub struct AfterFunc(core_context::AfterFunc<Dispatch>);

impl AfterFunc {
    /// Stops the function. `true`: it will never run, and has been dropped. `false`: it has been
    /// started, or was stopped before. Does not wait for a function that runs.
    ///
    /// # Examples
    /// ```
    /// let (context, _cancel) = gaggle::context::background().with_cancel();
    /// let function = context.after_func(|| unreachable!());
    /// assert!(function.stop());
    /// assert!(!function.stop());
    /// ```
    pub fn stop(&self) -> bool {
        self.0.stop()
    }
}

impl fmt::Debug for AfterFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
