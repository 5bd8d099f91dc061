//! Carrying the end of a context to the task that runs under it.
//!
//! A task that runs something under a context has an [`Interrupt`] meanwhile; a wait that may be ended
//! so is one that parks by [`park`]. Everything else (foreign locks and joins) parks as ever and is left
//! alone.
//!
//! - U1: an interrupt belongs to one task, and only that task enters waits into it. Its word is the
//!   number of a wait of that task, or [`NO_WAIT`], or how the context has ended.
//! - U2: the word comes to an end once, by [`Interrupt::end`]; the task puts back what it overwrites.
//! - U3: entering a wait swaps its number in, ending swaps the end in. Whichever is second sees the
//!   first: the task sees the end and does not park, or the end sees the number and claims that wait.
//!   So no end is lost.
//! - U4: the number of a wait that is over stays behind, and a claim on it fails (T1): an end that comes
//!   between two waits ends neither of them by itself. So a wait is left without a step of its own, and
//!   the next one sees the end by U3.
//! - U5: such a claim says [`TIMED_OUT`]: whoever waited does what it does at a deadline (it leaves its
//!   queues), and [`park`] tells it that the context, not the clock, was first.
//! - U6: a nested run's interrupt names the one around it, which outlives it; a wait enters all of them,
//!   the innermost first.
//!
//! Rejected: standing in the queue of the context's `done` channel for each wait: thousands of tasks
//! under one context would meet at its lock twice a wait; here a wait touches its own task's word.

use crate::context::ContextError;
use crate::contract::{NEVER, Nanos, Runtime, TIMED_OUT};
use crate::shim::atomic::{AtomicU64, Ordering};
use crate::task::{Task, Ticket};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

/// The task has entered no wait yet. No wait has this number, nor those of the ends (see
/// [`crate::task`] on how long counting takes).
const NO_WAIT: u64 = u64::MAX;
const CANCELED: u64 = u64::MAX - 1;
const DEADLINE_EXCEEDED: u64 = u64::MAX - 2;

/// What ends the waits of one task when one context ends.
pub struct Interrupt {
    task: &'static Task,
    word: AtomicU64,
    /// Null: there is none. Only the task itself looks at it.
    outer: *const Interrupt,
}

// SAFETY: `task` and `word` are made for sharing; `outer` is read by the task's own thread alone, while
// the frame that it points into is below its own (U6).
unsafe impl Sync for Interrupt {}
// SAFETY: as above; dropping it touches nothing.
unsafe impl Send for Interrupt {}

/// How the word says that the context has ended.
fn ended(word: u64) -> Option<ContextError> {
    match word {
        CANCELED => Some(ContextError::Canceled),
        DEADLINE_EXCEEDED => Some(ContextError::DeadlineExceeded),
        _ => None,
    }
}

impl Interrupt {
    fn new(task: &'static Task, outer: *const Interrupt) -> Self {
        Interrupt {
            task,
            word: AtomicU64::new(NO_WAIT),
            outer,
        }
    }

    /// Ends the wait that the task has entered, and those that it will. Called once.
    pub(crate) fn end<R: Runtime>(&self, error: ContextError) {
        let end = match error {
            ContextError::Canceled => CANCELED,
            ContextError::DeadlineExceeded => DEADLINE_EXCEEDED,
        };
        // AcqRel: pairs with itself in `enter` (U3): what the wait's owner did before entering is
        // visible here, and what was done before the end to the task that finds it.
        let number = self.word.swap(end, Ordering::AcqRel);
        debug_assert!(ended(number).is_none(), "U2");
        if number != NO_WAIT
            && let Some(claimed) = Ticket::<R>::again(self.task, number).claim(TIMED_OUT)
        {
            claimed.ready();
        }
    }

    /// Enters the wait `number` of the task, here and further out; how a context has ended, if one has.
    fn enter(&self, number: u64) -> Option<ContextError> {
        // AcqRel: U3, as in `end`.
        let before = self.word.swap(number, Ordering::AcqRel);
        if let Some(error) = ended(before) {
            // Relaxed: `end` comes once (U2), so nobody but this task looks here any more.
            self.word.store(before, Ordering::Relaxed);
            return Some(error);
        }
        self.outer()?.enter(number)
    }

    /// How this context or one further out has ended; `None`: none has.
    fn error(&self) -> Option<ContextError> {
        // Acquire: pairs with the swap in `end`.
        let own = ended(self.word.load(Ordering::Acquire));
        own.or_else(|| self.outer()?.error())
    }

    fn outer(&self) -> Option<&Interrupt> {
        // SAFETY: null, or the interrupt of the run around this one, which lasts longer (U6).
        unsafe { self.outer.as_ref() }
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt").finish_non_exhaustive()
    }
}

/// The calling task runs under an interrupt while this lives.
pub(crate) struct Under<R: Runtime> {
    pub(crate) interrupt: Arc<Interrupt>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Under<R> {
    /// Begins to run under a new interrupt, inside those that the task runs under already.
    pub(crate) fn new() -> Self {
        let interrupt = Arc::new(Interrupt::new(R::current(), R::interrupt()));
        R::set_interrupt(Arc::as_ptr(&interrupt));
        Under {
            interrupt,
            runtime: PhantomData,
        }
    }
}

impl<R: Runtime> Drop for Under<R> {
    fn drop(&mut self) {
        R::set_interrupt(self.interrupt.outer);
    }
}

/// Runs `wait` as if the calling task ran under no context.
pub fn shielded<R: Runtime, T>(wait: impl FnOnce() -> T) -> T {
    struct Shield<R: Runtime>(*const Interrupt, PhantomData<fn() -> R>);
    impl<R: Runtime> Drop for Shield<R> {
        fn drop(&mut self) {
            R::set_interrupt(self.0);
        }
    }
    let _shield = Shield::<R>(R::interrupt(), PhantomData);
    R::set_interrupt(ptr::null());
    wait()
}

/// The innermost interrupt that the calling task runs under.
fn innermost<'a, R: Runtime>() -> Option<&'a Interrupt> {
    let innermost = R::interrupt();
    if innermost.is_null() {
        return None;
    }
    // SAFETY: it was set by an `Under` in a frame of this task further down, which holds it and has not
    // been dropped: its drop sets another. The answer is used while this frame lives only.
    Some(unsafe { &*innermost })
}

/// How a context that the calling task runs under has ended; `None`: none has, or it runs under none.
pub fn error<R: Runtime>() -> Option<ContextError> {
    innermost::<R>()?.error()
}

/// Parks the calling task, whose current wait `ticket` is, until the ticket is claimed, by another task,
/// at `deadline`, or because a context that the task runs under has ended, in which case it answers how;
/// after that, and at the deadline, the ticket's token is [`TIMED_OUT`].
///
/// On a task that runs under no context it is the backend's park.
#[inline]
pub fn park<R: Runtime>(ticket: Ticket<R>, deadline: Nanos) -> Option<ContextError> {
    match innermost::<R>() {
        None => {
            plainly(ticket, deadline);
            None
        }
        Some(interrupt) => park_under(interrupt, ticket, deadline),
    }
}

fn plainly<R: Runtime>(ticket: Ticket<R>, deadline: Nanos) {
    if deadline == NEVER {
        R::park();
    } else {
        R::park_until(ticket, deadline);
    }
}

#[cold]
fn park_under<R: Runtime>(
    interrupt: &Interrupt,
    ticket: Ticket<R>,
    deadline: Nanos,
) -> Option<ContextError> {
    debug_assert!(ptr::eq(interrupt.task, ticket.task()), "U1");
    if interrupt.enter(ticket.number()).is_none() {
        plainly(ticket, deadline);
    } else {
        match ticket.claim(TIMED_OUT) {
            // The duty to ready and the one park that would consume it are both its own.
            Some(claimed) => claimed.into_task().disarm(),
            // Somebody was quicker and readies it (T2).
            None => R::park(),
        }
    }
    if ticket.token() == TIMED_OUT {
        interrupt.error()
    } else {
        None
    }
}

/// Ends the calling task's wait that has no error to answer, after a context that it runs under ended.
///
/// # Panics
/// Always: that is how it ends the wait.
#[cold]
#[track_caller]
pub fn unwind(error: ContextError) -> ! {
    panic!("{error}, and a wait under it cannot answer an error")
}
