//! How others reach an actor: its handle, and the replies that it sends.

use crate::backend::Dispatch;
use crate::chan::{
    Receiver, RecvTimeoutError, SendError, SendTimeoutError, Sender, TrySendError, bounded,
};
use crate::context::{Context, ContextError};
use crate::select::{DoneArm, RecvArm, SendArm, wait_or_end};
use gaggle_core::contract::NEVER;
use gaggle_core::interrupt;
use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

/// Reaches an actor that is told messages of type `M`. A clone reaches the same actor; when the last one
/// drops, the actor's mailbox is closed.
///
/// The handle of a supervised actor reaches it across its restarts: what it was not told yet stays in
/// the mailbox.
pub struct Handle<M> {
    mailbox: Sender<M>,
}

impl<M> Handle<M> {
    pub(super) fn new(mailbox: Sender<M>) -> Self {
        Handle { mailbox }
    }

    /// Tells the actor `message`, blocking this goroutine (never its OS thread) while the mailbox is
    /// full. That it was told does not mean that it was handled.
    ///
    /// # Errors
    /// Returns `message` once the mailbox is closed or the actor has ended for good.
    ///
    /// # Examples
    /// ```
    /// # use gaggle::actor::{self, Actor, BoxError, Own};
    /// # struct Sum(u64);
    /// # impl Actor for Sum {
    /// #     type Message = u64;
    /// #     fn handle(&mut self, number: u64, _: &Own) -> Result<(), BoxError> {
    /// #         self.0 += number;
    /// #         Ok(())
    /// #     }
    /// # }
    /// let (sum, running) = actor::spawn(&gaggle::context::background(), 8, Sum(0));
    /// sum.tell(2).unwrap();
    /// sum.tell(3).unwrap();
    /// drop(sum);
    /// assert_eq!(running.join().unwrap().unwrap().0, 5);
    /// ```
    pub fn tell(&self, message: M) -> Result<(), SendError<M>> {
        self.mailbox.send(message)
    }

    /// As [`Handle::tell`], if the mailbox has room.
    ///
    /// # Errors
    /// Returns `message`, and whether the mailbox is full or closed.
    ///
    /// # Examples
    /// ```
    /// # use gaggle::actor::{self, Actor, BoxError, Own};
    /// # struct Sum(u64);
    /// # impl Actor for Sum {
    /// #     type Message = u64;
    /// #     fn handle(&mut self, number: u64, _: &Own) -> Result<(), BoxError> {
    /// #         self.0 += number;
    /// #         Ok(())
    /// #     }
    /// # }
    /// let (sum, running) = actor::spawn(&gaggle::context::background(), 8, Sum(0));
    /// sum.try_tell(2).expect("there is room");
    /// sum.close();
    /// assert_eq!(sum.try_tell(3).unwrap_err().into_inner(), 3);
    /// assert_eq!(running.join().unwrap().unwrap().0, 2);
    /// ```
    pub fn try_tell(&self, message: M) -> Result<(), TrySendError<M>> {
        self.mailbox.try_send(message)
    }

    /// As [`Handle::tell`], for `timeout` at most.
    ///
    /// # Errors
    /// Returns `message`, and whether the time was over or the mailbox closed.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// # use gaggle::actor::{self, Actor, BoxError, Own};
    /// # struct Sum(u64);
    /// # impl Actor for Sum {
    /// #     type Message = u64;
    /// #     fn handle(&mut self, number: u64, _: &Own) -> Result<(), BoxError> {
    /// #         self.0 += number;
    /// #         Ok(())
    /// #     }
    /// # }
    /// let (sum, running) = actor::spawn(&gaggle::context::background(), 8, Sum(0));
    /// sum.tell_timeout(2, Duration::from_secs(60)).expect("there is room");
    /// drop(sum);
    /// assert_eq!(running.join().unwrap().unwrap().0, 2);
    /// ```
    pub fn tell_timeout(&self, message: M, timeout: Duration) -> Result<(), SendTimeoutError<M>> {
        self.mailbox.send_timeout(message, timeout)
    }

    /// Sends the message that `ask` makes of a [`Reply`], and waits for the reply, blocking this goroutine
    /// (never its OS thread).
    ///
    /// # Errors
    /// [`AskError::Closed`] when the mailbox is closed; [`AskError::NoReply`] when the reply was dropped:
    /// the actor does not answer such a message, or it failed.
    ///
    /// # Examples
    /// ```
    /// # use gaggle::actor::{self, Actor, AskError, BoxError, Own, Reply};
    /// # struct Echo;
    /// # impl Actor for Echo {
    /// #     type Message = (&'static str, Reply<&'static str>);
    /// #     fn handle(&mut self, (word, reply): Self::Message, _: &Own) -> Result<(), BoxError> {
    /// #         if word != "lose" { reply.send(word) }
    /// #         Ok(())
    /// #     }
    /// # }
    /// let (echo, _) = actor::spawn(&gaggle::context::background(), 1, Echo);
    /// assert_eq!(echo.ask(|reply| ("honk", reply)), Ok("honk"));
    /// assert_eq!(echo.ask(|reply| ("lose", reply)), Err(AskError::NoReply));
    /// ```
    pub fn ask<R>(&self, ask: impl FnOnce(Reply<R>) -> M) -> Result<R, AskError> {
        let (reply, answer) = Reply::new();
        let sent = self.mailbox.send(ask(reply));
        sent.map_err(|_| AskError::Closed.of_caller())?;
        answer.recv().map_err(|_| AskError::NoReply.of_caller())
    }

    /// As [`Handle::ask`], for `timeout` at most, the wait for room in the mailbox included. A message
    /// that was sent is handled all the same.
    ///
    /// # Errors
    /// As [`Handle::ask`]; [`AskError::Timeout`] when the time was over.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// # use gaggle::actor::{self, Actor, AskError, BoxError, Own, Reply};
    /// # struct Echo;
    /// # impl Actor for Echo {
    /// #     type Message = (&'static str, Reply<&'static str>);
    /// #     fn handle(&mut self, (word, reply): Self::Message, _: &Own) -> Result<(), BoxError> {
    /// #         if word != "lose" { reply.send(word) }
    /// #         Ok(())
    /// #     }
    /// # }
    /// let (echo, _) = actor::spawn(&gaggle::context::background(), 1, Echo);
    /// let minute = Duration::from_secs(60);
    /// assert_eq!(echo.ask_timeout(minute, |reply| ("honk", reply)), Ok("honk"));
    /// ```
    pub fn ask_timeout<R>(
        &self,
        timeout: Duration,
        ask: impl FnOnce(Reply<R>) -> M,
    ) -> Result<R, AskError> {
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            return self.ask(ask);
        };
        let (reply, answer) = Reply::new();
        match self.mailbox.send_deadline(ask(reply), deadline) {
            Ok(()) => {}
            Err(SendTimeoutError::Timeout(_)) => return Err(AskError::Timeout.of_caller()),
            Err(SendTimeoutError::Closed(_)) => return Err(AskError::Closed.of_caller()),
        }
        answer.recv_deadline(deadline).map_err(|error| match error {
            RecvTimeoutError::Timeout => AskError::Timeout.of_caller(),
            RecvTimeoutError::Closed => AskError::NoReply.of_caller(),
        })
    }

    /// As [`Handle::ask`], until `context` ends at most. A message that was sent is handled all the same.
    ///
    /// # Errors
    /// As [`Handle::ask`]; [`AskError::Ended`] when the context has ended.
    ///
    /// # Examples
    /// ```
    /// # use gaggle::actor::{self, Actor, AskError, BoxError, Own, Reply};
    /// # struct Echo;
    /// # impl Actor for Echo {
    /// #     type Message = (&'static str, Reply<&'static str>);
    /// #     fn handle(&mut self, (word, reply): Self::Message, _: &Own) -> Result<(), BoxError> {
    /// #         if word != "lose" { reply.send(word) }
    /// #         Ok(())
    /// #     }
    /// # }
    /// let (echo, _) = actor::spawn(&gaggle::context::background(), 1, Echo);
    /// let (context, cancel) = gaggle::context::background().with_cancel();
    /// assert_eq!(echo.ask_context(&context, |reply| ("honk", reply)), Ok("honk"));
    /// cancel.cancel();
    /// assert!(echo.ask_context(&context, |reply| ("honk", reply)).is_err());
    /// ```
    pub fn ask_context<R>(
        &self,
        context: &Context,
        ask: impl FnOnce(Reply<R>) -> M,
    ) -> Result<R, AskError> {
        let ended = || AskError::Ended(context.err().unwrap_or(ContextError::Canceled));
        if context.err().is_some() {
            return Err(ended());
        }
        let (reply, answer) = Reply::new();
        let mut message = Some(ask(reply));
        let mut send = SendArm::new(&self.mailbox, &mut message);
        let mut done = DoneArm::new(context);
        wait_or_end([&mut send, &mut done], NEVER);
        if !send.is_chosen() {
            return Err(ended().of_caller());
        }
        send.take().map_err(|_| AskError::Closed)?;
        let mut receive = RecvArm::new(&answer);
        let mut done = DoneArm::new(context);
        wait_or_end([&mut receive, &mut done], NEVER);
        if !receive.is_chosen() {
            return Err(ended().of_caller());
        }
        receive.take().map_err(|_| AskError::NoReply)
    }

    /// Closes the mailbox: nothing more goes in, and the actor ends when it has handled what is there.
    /// Never blocks.
    ///
    /// # Examples
    /// ```
    /// # use gaggle::actor::{self, Actor, BoxError, Own};
    /// # struct Sum(u64);
    /// # impl Actor for Sum {
    /// #     type Message = u64;
    /// #     fn handle(&mut self, number: u64, _: &Own) -> Result<(), BoxError> {
    /// #         self.0 += number;
    /// #         Ok(())
    /// #     }
    /// # }
    /// let (sum, running) = actor::spawn(&gaggle::context::background(), 8, Sum(0));
    /// sum.tell(2).unwrap();
    /// sum.close();
    /// assert!(sum.is_closed());
    /// assert_eq!(running.join().unwrap().unwrap().0, 2);
    /// ```
    pub fn close(&self) {
        self.mailbox.close();
    }

    /// Whether the mailbox is closed, or the actor has ended for good.
    pub fn is_closed(&self) -> bool {
        self.mailbox.is_closed()
    }

    /// How many messages wait in the mailbox.
    pub fn backlog(&self) -> usize {
        self.mailbox.len()
    }
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Handle {
            mailbox: self.mailbox.clone(),
        }
    }
}

impl<M> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("backlog", &self.backlog())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

/// The right to answer who asks, once. Dropped, it tells them that no reply will come. It may be kept, or
/// handed to another goroutine, while the actor handles the next message.
pub struct Reply<R> {
    sender: Sender<R>,
}

impl<R> Reply<R> {
    /// With room for the reply, so that who answers never waits.
    fn new() -> (Self, Receiver<R>) {
        let (sender, receiver) = bounded(1);
        (Reply { sender }, receiver)
    }

    /// Answers. If nobody waits for it any more, `answer` is dropped. Never blocks.
    pub fn send(self, answer: R) {
        // Refused only where nobody waits.
        drop(self.sender.try_send(answer));
    }

    /// Whether nobody waits for it any more, so that it need not be worked out.
    pub fn is_unwanted(&self) -> bool {
        self.sender.is_closed()
    }
}

impl<R> fmt::Debug for Reply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

/// Why no reply came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskError {
    /// The mailbox is closed; the message was not sent.
    Closed,
    /// The reply was dropped: the actor does not answer this, or it failed.
    NoReply,
    /// The time was over.
    Timeout,
    /// The asker's context has ended, or one that it runs under
    /// ([`Context::run`](crate::context::Context::run)).
    Ended(ContextError),
}

impl AskError {
    /// This error, unless the wait has ended because a context has that the caller runs under.
    fn of_caller(self) -> Self {
        interrupt::error::<Dispatch>().map_or(self, AskError::Ended)
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Closed => f.write_str("the actor's mailbox is closed"),
            AskError::NoReply => f.write_str("the actor dropped the question without a reply"),
            AskError::Timeout => f.write_str("the actor did not reply in time"),
            AskError::Ended(error) => error.fmt(f),
        }
    }
}

impl Error for AskError {}
