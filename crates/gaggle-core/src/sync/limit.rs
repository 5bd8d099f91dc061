//! How long a task is ready to wait: for ever, until a deadline, or until something else comes.
//!
//! What else may come is an operation of a select ([`Arm`]): for a context, receiving from its `done`
//! channel. The task's one ticket then stands in two queues, the lock's and the arm's, and one claim wins
//! (T1). The two are entered one after the other: unlike a select, who waits for a lock never serves
//! another task while it can itself be claimed, so the two locks need not be held together.
//!
//! A wait also ends with a context that the task runs under ([`crate::interrupt`]), unless its limit is shielded.
//!
//! - L1: the arm is entered by [`Limit::begin`] and left by [`Limit::park`] or [`Limit::withdraw`]: one of
//!   the two follows every `begin` that answered a ticket.

use crate::context::ContextError;
use crate::contract::{NEVER, Nanos, Runtime, TIMED_OUT, WaitReason};
use crate::select::Arm;
use crate::task::Ticket;
use crate::wait_queue::{wait, wait_under_context};
use std::fmt;

/// The token of a wait that its limit's arm ended.
const INTERRUPTED: usize = TIMED_OUT - 1;

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its deadline came.
    TimedOut,
    /// The limit's arm was ready.
    Interrupted,
    /// A context that the task runs under has ended.
    UnderContext(ContextError),
}

/// How long a task is ready to wait.
pub struct Limit<'a, R: Runtime> {
    deadline: Nanos,
    interrupt: Option<&'a dyn Arm<R>>,
    is_shielded: bool,
}

impl<'a, R: Runtime> Limit<'a, R> {
    /// For ever.
    #[inline]
    pub const fn never() -> Self {
        Self::until(NEVER)
    }

    /// For ever, whatever becomes of the contexts that the task runs under.
    #[inline]
    pub const fn shielded() -> Self {
        Limit {
            deadline: NEVER,
            interrupt: None,
            is_shielded: true,
        }
    }

    /// Until `deadline`.
    #[inline]
    pub const fn until(deadline: Nanos) -> Self {
        Limit {
            deadline,
            interrupt: None,
            is_shielded: false,
        }
    }

    /// Until `arm`, which has a lock or is never ready, would not wait. The operation itself is not done.
    pub const fn interrupted_by(arm: &'a dyn Arm<R>) -> Self {
        Limit {
            deadline: NEVER,
            interrupt: Some(arm),
            is_shielded: false,
        }
    }

    /// Begins a wait of the calling task (L1), unless its limit has been reached.
    pub(crate) fn begin(&self) -> Result<Ticket<R>, Ended> {
        if self.deadline != NEVER && self.deadline <= R::now() {
            return Err(Ended::TimedOut);
        }
        let Some(arm) = self.interrupt else {
            return Ok(Ticket::take());
        };
        arm.lock();
        // SAFETY: the lock is held.
        let begun = if unsafe { arm.is_ready(0) } {
            Err(Ended::Interrupted)
        } else {
            let ticket = Ticket::take();
            // SAFETY: the lock is held, the ticket is the caller's, and `dequeue` follows (L1); the arm is
            // borrowed for longer.
            unsafe { arm.enqueue(ticket, INTERRUPTED) };
            Ok(ticket)
        };
        // SAFETY: `lock` took it.
        unsafe { arm.unlock() };
        begun
    }

    /// Ends a wait that was begun and need not be: the ticket was published nowhere but in the arm.
    pub(crate) fn withdraw(&self, ticket: Ticket<R>) {
        let Some(arm) = self.interrupt else {
            return ticket.unused();
        };
        if !ticket.cancel() {
            // The arm has claimed it, and readies the task (T2).
            wait(ticket, NEVER, WaitReason::Unknown);
        }
        arm.dequeue();
    }

    /// Parks until the ticket is claimed, and answers the token of the claim.
    pub(crate) fn park(&self, ticket: Ticket<R>, reason: WaitReason) -> Result<usize, Ended> {
        let under = if self.is_shielded {
            wait(ticket, self.deadline, reason);
            None
        } else {
            wait_under_context(ticket, self.deadline, reason)
        };
        // Before the arm's lock is taken, which begins no wait, but keeps the order plain.
        let token = ticket.token();
        if let Some(arm) = self.interrupt {
            arm.dequeue();
        }
        match token {
            TIMED_OUT => Err(under.map_or(Ended::TimedOut, Ended::UnderContext)),
            INTERRUPTED => Err(Ended::Interrupted),
            token => Ok(token),
        }
    }
}

impl<R: Runtime> fmt::Debug for Limit<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit")
            .field("deadline", &self.deadline)
            .field("is_interruptible", &self.interrupt.is_some())
            .finish()
    }
}
