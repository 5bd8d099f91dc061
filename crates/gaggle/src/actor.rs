//! Actors: a goroutine that owns its state and changes it by one message after the other.
//!
//! An [`Actor`] says what a message does; [`spawn`] gives it a goroutine and a mailbox with room for so
//! many messages. Others have a [`Handle`]: [`tell`](Handle::tell) sends a message,
//! [`ask`](Handle::ask) sends one and waits for the reply.
//!
//! ```
//! use gaggle::actor::{self, Actor, BoxError, Own, Reply};
//!
//! struct Counter(u64);
//!
//! enum Message {
//!     Add(u64),
//!     Read(Reply<u64>),
//! }
//!
//! impl Actor for Counter {
//!     type Message = Message;
//!     fn handle(&mut self, message: Message, _: &Own) -> Result<(), BoxError> {
//!         match message {
//!             Message::Add(n) => self.0 += n,
//!             Message::Read(reply) => reply.send(self.0),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let (counter, running) = actor::spawn(&gaggle::context::background(), 16, Counter(0));
//! counter.tell(Message::Add(2)).unwrap();
//! assert_eq!(counter.ask(Message::Read), Ok(2));
//! drop(counter); // with the last handle the actor ends
//! assert_eq!(running.join().unwrap().unwrap().0, 2);
//! ```
//!
//! A [`Supervisor`] starts actors, and other functions, again when they fail, with the state that they
//! restore from a durable [`Store`].
//!
//! - M1: a message is handled by one call, and no two calls run at once.
//! - M2: messages of one sender are handled in the order in which it sent them.
//! - M3: whoever asks hears of it when no reply can come any more: because the message was refused, or
//!   because its [`Reply`] was dropped, handled or not.
//!
//! Source: Erlang's processes and its `gen_server`.

mod backoff;
mod handle;
mod store;
mod supervise;
mod supervisor;

use crate::builder::{Builder, refused};
use crate::chan::{Receiver, bounded};
use crate::context::Context;
use crate::join::JoinHandle;
use std::cell::Cell;
use std::error::Error;

pub use backoff::Backoff;
pub use handle::{AskError, Handle, Reply};
pub use store::{FileStore, Store};
pub use supervisor::{Child, Failure, GaveUp, Restart, Strategy, Supervisor, SupervisorBuilder};

/// Any error, as actors answer it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What owns a state and changes it by messages.
pub trait Actor: Send + 'static {
    /// What it can be told.
    type Message: Send + 'static;

    /// Handles a message. Nothing else of the actor runs meanwhile; it may block.
    ///
    /// # Errors
    /// Ends the actor; its supervisor, if it has one, starts it again. So does a panic.
    fn handle(&mut self, message: Self::Message, own: &Own) -> Result<(), BoxError>;

    /// Called when the actor ends without having failed: [`Own::stop`] was called, its mailbox is
    /// closed and empty, or its context has ended.
    fn stopped(&mut self) {}
}

/// What an actor knows of itself while it handles a message.
#[derive(Debug)]
pub struct Own {
    context: Context,
    is_stopping: Cell<bool>,
}

impl Own {
    fn new(context: &Context) -> Self {
        Own {
            context: context.clone(),
            is_stopping: Cell::new(false),
        }
    }

    /// The context with which the actor ends.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Ends the actor after the message that it handles, whatever else is in its mailbox.
    ///
    /// # Examples
    /// ```
    /// use gaggle::actor::{self, Actor, BoxError, Own};
    /// struct Countdown(u32);
    /// impl Actor for Countdown {
    ///     type Message = ();
    ///     fn handle(&mut self, _: (), own: &Own) -> Result<(), BoxError> {
    ///         self.0 -= 1;
    ///         if self.0 == 0 {
    ///             own.stop();
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// let (countdown, running) = actor::spawn(&gaggle::context::background(), 8, Countdown(3));
    /// while countdown.tell(()).is_ok() {}
    /// assert_eq!(running.join().unwrap().unwrap().0, 0);
    /// ```
    pub fn stop(&self) {
        self.is_stopping.set(true);
    }
}

/// Starts `actor` in a goroutine, with a mailbox that has room for `capacity` messages (0: a sender
/// waits until the actor takes its message). Answers the handle by which to reach it, and the one that
/// joins it and answers it back. Never blocks.
///
/// It ends with `context`, leaving unread what is in the mailbox; when the mailbox was closed
/// ([`Handle::close`], or the last handle dropped) and is empty; by [`Own::stop`]; or by failing.
///
/// # Panics
/// As [`go`](crate::go).
#[track_caller]
pub fn spawn<A: Actor>(
    context: &Context,
    capacity: usize,
    actor: A,
) -> (Handle<A::Message>, JoinHandle<Result<A, BoxError>>) {
    let (sender, mailbox) = bounded(capacity);
    let own = Own::new(context);
    let spawned = Builder::new().name("actor").spawn(move || {
        let mut actor = actor;
        run(&mut actor, &mailbox, &own).map(|_| actor)
    });
    match spawned {
        Ok(running) => (Handle::new(sender), running),
        Err(refusal) => refused(&refusal),
    }
}

/// Why an actor has ended without failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing can ever be in its mailbox again.
    Closed,
    /// It wanted to, or its context has ended.
    Stopped,
}

/// Handles messages until the actor ends.
fn run<A: Actor>(
    actor: &mut A,
    mailbox: &Receiver<A::Message>,
    own: &Own,
) -> Result<End, BoxError> {
    let end = loop {
        if own.context.err().is_some() {
            break End::Stopped;
        }
        let message = crate::select! {
            recv(mailbox) -> message => message,
            done(own.context) => break End::Stopped,
        };
        let Ok(message) = message else {
            break End::Closed;
        };
        actor.handle(message, own)?;
        if own.is_stopping.get() {
            break End::Stopped;
        }
    };
    actor.stopped();
    Ok(end)
}
