//! Starting what failed again: what a supervisor is told, and what it tells.

use super::supervise::{Shared, Spec, Supervising};
use super::{Actor, Backoff, BoxError, End, Handle, Own};
use crate::backend::Dispatch;
use crate::builder::{Builder, refused};
use crate::chan::{Never, Receiver, bounded, unbuffered};
use crate::context::{Cancel, Cause, Context};
use crate::join::JoinHandle;
use gaggle_core::interrupt;
use std::error::Error;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

/// Which children are started again when one of them fails. The others among them are stopped first, the
/// last started first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The one that failed.
    OneForOne,
    /// It, and those that were added after it, which may depend on it.
    RestForOne,
    /// All.
    OneForAll,
}

/// When a child is started again after it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// However it ended; an actor whose mailbox was closed stays ended all the same.
    Always,
    /// When it failed: an error, or a panic.
    #[default]
    OnFailure,
    /// Never. It also stays stopped when it was stopped because another failed.
    Never,
}

/// How many messages wait in the mailbox of a supervised actor at most, unless said otherwise.
const MAILBOX: usize = 64;

/// What a child is called and when it is started again.
///
/// # Examples
/// ```
/// use gaggle::actor::{Child, Restart};
/// let cache = Child::new("cache").restart(Restart::Always).mailbox(256);
/// ```
#[derive(Clone, Debug)]
pub struct Child {
    name: Arc<str>,
    restart: Restart,
    mailbox: usize,
}

impl Child {
    /// A child of this name, started again when it fails. Its goroutines bear the name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Child {
            name: name.into(),
            restart: Restart::default(),
            mailbox: MAILBOX,
        }
    }

    /// Sets when it is started again.
    #[must_use = "it is a builder"]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets for how many messages its mailbox has room, if it is an actor: 64 unless set.
    #[must_use = "it is a builder"]
    pub fn mailbox(mut self, messages: usize) -> Self {
        self.mailbox = messages;
        self
    }
}

/// What a supervisor tells its observer: a child has failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<'a> {
    /// The name of the child.
    pub child: &'a str,
    /// Its error, or what its panic said.
    pub cause: &'a Cause,
    /// When it is started again, from now; `None`: it is not.
    pub restart_in: Option<Duration>,
}

/// A supervisor has ended itself and its children: one failed too often.
#[derive(Clone, Debug)]
pub struct GaveUp {
    pub(super) child: Arc<str>,
    pub(super) cause: Cause,
}

impl GaveUp {
    /// The name of the child that failed last.
    pub fn child(&self) -> &str {
        &self.child
    }

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (child, cause) = (&self.child, &self.cause);
        write!(f, "too many restarts; {child} failed last: {cause}")
    }
}

impl Error for GaveUp {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

/// The function that a supervisor tells of failures.
pub(super) type Observer = Box<dyn Fn(&Failure<'_>) + Send>;

/// What a supervisor is to be, before it is started; made by [`Supervisor::builder`].
#[must_use = "nothing is supervised before `start`"]
pub struct SupervisorBuilder {
    pub(super) strategy: Strategy,
    pub(super) restarts_max: usize,
    pub(super) window: Duration,
    pub(super) backoff: Backoff,
    pub(super) observer: Option<Observer>,
}

impl SupervisorBuilder {
    /// Sets how many restarts within `window` are borne: with one more the supervisor gives up. 3 within
    /// 5 seconds unless set. A restart of several children is one.
    ///
    /// # Examples
    /// ```
    /// use gaggle::actor::{Backoff, Child, Strategy, Supervisor};
    /// use std::time::Duration;
    /// let supervisor = Supervisor::builder(Strategy::OneForOne)
    ///     .max_restarts(2, Duration::from_secs(60))
    ///     .backoff(Backoff::none())
    ///     .start(&gaggle::context::background());
    /// supervisor.go(Child::new("wild"), |_| Err("again".into()));
    /// let gave_up = supervisor.join().unwrap_err();
    /// assert_eq!(gave_up.to_string(), "too many restarts; wild failed last: again");
    /// ```
    pub fn max_restarts(mut self, restarts: usize, window: Duration) -> Self {
        self.restarts_max = restarts;
        self.window = window;
        self
    }

    /// Sets how long to wait before each restart; from 10 ms to 1 s unless set. A child that ran for
    /// longer than the window of [`SupervisorBuilder::max_restarts`] begins anew.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets a function that is told of each failure, on the supervisor's goroutine.
    ///
    /// # Examples
    /// ```
    /// use gaggle::actor::{Backoff, Child, Restart, Strategy, Supervisor};
    /// let (said, heard) = gaggle::chan::bounded(1);
    /// let supervisor = Supervisor::builder(Strategy::OneForOne)
    ///     .on_failure(move |failure| said.send(failure.cause.to_string()).unwrap())
    ///     .start(&gaggle::context::background());
    /// supervisor.go(Child::new("once").restart(Restart::Never), |_| Err("no goose".into()));
    /// assert_eq!(heard.recv().unwrap(), "no goose");
    /// supervisor.shutdown().unwrap();
    /// ```
    pub fn on_failure(mut self, observer: impl Fn(&Failure<'_>) + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Starts the supervisor, which ends with `context` at the latest, in a goroutine. Never blocks.
    ///
    /// # Panics
    /// As [`go`](crate::go).
    #[track_caller]
    pub fn start(self, context: &Context) -> Supervisor {
        let (context, cancel) = context.with_cancel();
        let (shared, bell) = Shared::new();
        let supervising = Supervising::new(self, context, Arc::clone(&shared), bell);
        let (ending, ended) = unbuffered();
        let spawned = Builder::new().name("supervisor").spawn(move || {
            let _ending = ending;
            supervising.run()
        });
        match spawned {
            Ok(supervising) => Supervisor {
                shared,
                cancel,
                supervising,
                ended,
            },
            Err(refusal) => refused(&refusal),
        }
    }
}

impl fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorBuilder")
            .field("strategy", &self.strategy)
            .field("restarts_max", &self.restarts_max)
            .field("window", &self.window)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

/// Starts children, and starts them again when they fail, until that happens too often.
///
/// Children are stopped by the end of their context, and waited for: one that does not mind its context
/// holds the supervisor up. Dropping a supervisor ends it and its children without waiting for them.
///
/// # Examples
/// ```
/// use gaggle::actor::{Actor, Backoff, BoxError, Child, Own, Reply, Strategy, Supervisor};
///
/// struct Till(u32);
///
/// impl Actor for Till {
///     type Message = Option<Reply<u32>>;
///     fn handle(&mut self, message: Self::Message, _: &Own) -> Result<(), BoxError> {
///         match message {
///             Some(reply) => reply.send(self.0),
///             None => return Err("the drawer is stuck".into()),
///         }
///         Ok(())
///     }
/// }
///
/// let supervisor = Supervisor::builder(Strategy::OneForOne)
///     .backoff(Backoff::none())
///     .start(&gaggle::context::background());
/// let till = supervisor.actor(Child::new("till"), || Ok(Till(5)));
/// till.tell(None).unwrap(); // it fails, and is started again
/// assert_eq!(till.ask(Some), Ok(5));
/// supervisor.shutdown().unwrap();
/// ```
///
/// Source: Erlang's `supervisor`; the limit of restarts and the three strategies are its own.
#[must_use = "dropping it ends its children"]
#[derive(Debug)]
pub struct Supervisor {
    shared: Arc<Shared>,
    cancel: Cancel,
    supervising: JoinHandle<Result<(), GaveUp>>,
    /// Closed when it has ended.
    ended: Receiver<Never>,
}

impl Supervisor {
    /// A supervisor with this strategy, to be configured.
    pub const fn builder(strategy: Strategy) -> SupervisorBuilder {
        SupervisorBuilder {
            strategy,
            restarts_max: 3,
            window: Duration::from_secs(5),
            backoff: Backoff::exponential(Duration::from_millis(10), Duration::from_secs(1)),
            observer: None,
        }
    }

    /// Adds an actor that `restore` makes, at first and after every failure, from what was stored
    /// durably; an error of `restore` is a failure of the child. Answers the actor's handle. Never
    /// blocks.
    ///
    /// The message at which the actor failed is lost, and whoever asked hears of it; those that wait in
    /// the mailbox are handled by the next. With the supervisor's end the mailbox is closed.
    pub fn actor<A, F>(&self, child: Child, restore: F) -> Handle<A::Message>
    where
        A: Actor,
        F: Fn() -> Result<A, BoxError> + Send + 'static,
    {
        let (sender, mailbox) = bounded(child.mailbox);
        self.add(child, move |context| {
            let mut actor = restore()?;
            super::run(&mut actor, &mailbox, &Own::new(context))
        });
        Handle::new(sender)
    }

    /// Adds a function, called at first and again when it has failed. It must return when its context
    /// ends. Never blocks.
    ///
    /// # Examples
    /// ```
    /// use gaggle::actor::{Child, Strategy, Supervisor};
    /// let (sender, receiver) = gaggle::chan::unbuffered();
    /// let supervisor = Supervisor::builder(Strategy::OneForOne).start(&gaggle::context::background());
    /// supervisor.go(Child::new("greeter"), move |_| sender.send("hello").map_err(Into::into));
    /// assert_eq!(receiver.recv(), Ok("hello"));
    /// supervisor.shutdown().unwrap();
    /// ```
    pub fn go<F>(&self, child: Child, f: F)
    where
        F: Fn(&Context) -> Result<(), BoxError> + Send + 'static,
    {
        self.add(child, move |context| f(context).map(|()| End::Stopped));
    }

    fn add<F>(&self, child: Child, run: F)
    where
        F: Fn(&Context) -> Result<End, BoxError> + Send + 'static,
    {
        self.shared
            .add(Spec::new(child.name, child.restart, Box::new(run)));
    }

    /// Waits until the supervisor ends by itself, blocking this goroutine (never its OS thread): with its
    /// context, or because it gives up. When a context that this is called under
    /// ([`Context::run`](crate::context::Context::run)) ends first, as [`Supervisor::shutdown`].
    ///
    /// # Errors
    /// When it has given up.
    ///
    /// # Panics
    /// With the panic of its observer.
    pub fn join(self) -> Result<(), GaveUp> {
        // Nothing is ever sent: it is closed, or the wait was ended.
        let _ = self.ended.recv();
        self.shutdown()
    }

    /// Stops all children, the last added first, and waits for them, blocking this goroutine (never its
    /// OS thread), whatever context it is called under.
    ///
    /// # Errors
    /// When it had given up before.
    ///
    /// # Panics
    /// With the panic of its observer.
    pub fn shutdown(self) -> Result<(), GaveUp> {
        self.cancel.cancel();
        let ended = interrupt::shielded::<Dispatch, _>(|| self.supervising.join());
        ended.unwrap_or_else(|payload| resume_unwind(payload))
    }
}
