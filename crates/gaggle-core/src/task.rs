//! A task as algorithms see it, and the claim that decides who may wake it.
//!
//! A *task* is a goroutine, or an OS thread that called into Gaggle. Blocking is always the same
//! four steps, whatever is waited for:
//!
//! 1. The task takes a [`Ticket`] ([`Ticket::take`]): its own address and the number of this wait.
//! 2. It publishes the ticket (a channel's wait queue, a select's arms, a timer, ...).
//! 3. It calls [`Runtime::park`] exactly once.
//! 4. Whoever wants to wake it calls [`Ticket::claim`]; the one claim that succeeds, and only that
//!    one, calls [`Claimed::ready`].
//!
//! - T1: of all claims on one ticket at most one succeeds; a ticket of an earlier wait never does.
//! - T2: every successful claim is followed by exactly one `ready`, and every `ready` by exactly one
//!   `park` of that task consuming it. A task that changed its mind claims its own ticket
//!   ([`Ticket::cancel`]): if that succeeds nobody will ready it and it must not park; if it fails
//!   somebody has claimed it and it must park to consume the `ready`.
//! - T3: a [`Task`] is never freed while the process lives (its memory may serve a later task), so a
//!   stale ticket may be claimed (and fail) at any time.
//! - T4: `ready` may come before the `park` it belongs to; a backend keeps it.
//! - T5: between publishing a ticket and the `park` a task begins no other wait: it has one number,
//!   so whoever claims the ticket would end that wait instead. Only the backend's lock, which never
//!   parks, may be taken there; std's locks and channels may not.
//! - T6: from taking a ticket to the end of its `park` or a successful `cancel` the task is *armed*: a
//!   backend that interrupts tasks leaves it alone, since a task that may be readied at any moment can
//!   be in no queue for another reason. Who took a ticket and never published it says so
//!   ([`Ticket::unused`]).
//!
//! The number is 64 bits wide: at a wait each nanosecond it wraps after five centuries.

use crate::contract::Runtime;
use crate::shim::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::marker::PhantomData;

/// The part of a task that algorithms touch; a backend keeps it at the start of its own record.
#[repr(C)]
#[derive(Debug)]
pub struct Task {
    /// The number of the current wait: a claim moves it on by one (T1).
    sequence: AtomicU64,
    /// What the winning claim says to the task (which arm of a select, why).
    token: AtomicUsize,
    /// Tells a backend what its record is; the algorithms never read it.
    kind: u8,
    /// T6. Touched by the task's own thread and signal handlers on it only.
    armed: AtomicBool,
}

impl Task {
    /// A task that waits for nothing. `kind` is the backend's own mark.
    #[cfg(not(loom))]
    pub const fn new(kind: u8) -> Self {
        Task {
            sequence: AtomicU64::new(0),
            token: AtomicUsize::new(0),
            kind,
            armed: AtomicBool::new(false),
        }
    }

    /// A task that waits for nothing. `kind` is the backend's own mark.
    #[cfg(loom)]
    pub fn new(kind: u8) -> Self {
        Task {
            sequence: AtomicU64::new(0),
            token: AtomicUsize::new(0),
            kind,
            armed: AtomicBool::new(false),
        }
    }

    /// Whether a wait has begun and not ended (T6), asked on the task's own thread.
    #[inline]
    pub fn is_armed(&self) -> bool {
        // Relaxed: the task's own thread wrote it.
        self.armed.load(Ordering::Relaxed)
    }

    /// For a backend: the wait is over, or the task's record serves a new task (T6).
    #[inline]
    pub fn disarm(&self) {
        // Relaxed: read by the task's own thread.
        self.armed.store(false, Ordering::Relaxed);
    }

    /// The backend's mark given to [`Task::new`].
    pub fn kind(&self) -> u8 {
        self.kind
    }
}

/// One wait of one task; see the module's text for its life.
pub struct Ticket<R: Runtime> {
    task: &'static Task,
    sequence: u64,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Clone for Ticket<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R: Runtime> Copy for Ticket<R> {}

impl<R: Runtime> std::fmt::Debug for Ticket<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl<R: Runtime> Ticket<R> {
    /// Begins a wait of the calling task.
    pub fn take() -> Self {
        Self::of(R::current())
    }

    /// Begins a wait of `task`, which the caller owns: it is the calling task, or one that has
    /// never run.
    pub fn of(task: &'static Task) -> Self {
        // Relaxed: only the task itself, or a claim that it consumed by parking, wrote this.
        let sequence = task.sequence.load(Ordering::Relaxed);
        // Relaxed: read by the task's own thread (T6).
        task.armed.store(true, Ordering::Relaxed);
        Ticket {
            task,
            sequence,
            runtime: PhantomData,
        }
    }

    /// The number of this wait, from which [`Ticket::again`] makes the same ticket where the task is known.
    pub fn number(&self) -> u64 {
        self.sequence
    }

    /// The ticket of the wait `number` of `task`, for who keeps the number only, to save room.
    pub fn again(task: &'static Task, number: u64) -> Self {
        Ticket {
            task,
            sequence: number,
            runtime: PhantomData,
        }
    }

    /// The task that waits.
    pub fn task(&self) -> &'static Task {
        self.task
    }

    /// Whether this ticket could still be claimed at the time of the call.
    pub fn is_waiting(&self) -> bool {
        // Acquire: pairs with the AcqRel in `claim`.
        self.task.sequence.load(Ordering::Acquire) == self.sequence
    }

    /// Takes the right to wake the task, if nobody took it before (T1); `token` is what
    /// [`Ticket::token`] will answer.
    pub fn claim(&self, token: usize) -> Option<Claimed<R>> {
        // AcqRel: Acquire pairs with the Release by which the ticket's publisher put it where it was
        // found (a lock, as a rule); Release pairs with the Acquire in `is_waiting` and `cancel`.
        // Relaxed on failure: the caller learns only that it lost.
        self.task
            .sequence
            .compare_exchange(
                self.sequence,
                self.sequence.wrapping_add(1),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .ok()?;
        // Relaxed: published by `ready`, which happens after and is consumed by the task's `park`.
        self.task.token.store(token, Ordering::Relaxed);
        Some(Claimed {
            task: self.task,
            runtime: PhantomData,
        })
    }

    /// The waiting task gives the wait up before parking. `true`: nobody will ready it, it must not
    /// park. `false`: it has been claimed and must park once (T2).
    #[must_use]
    pub fn cancel(&self) -> bool {
        let cancelled = self.end_wait();
        if cancelled {
            self.task.disarm();
        }
        cancelled
    }

    /// The waiting task has not published the ticket, and will not park (T6).
    pub fn unused(self) {
        self.task.disarm();
    }

    fn end_wait(&self) -> bool {
        // AcqRel: as in `claim`; on failure Acquire pairs with the winning claim's Release.
        self.task
            .sequence
            .compare_exchange(
                self.sequence,
                self.sequence.wrapping_add(1),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .is_ok()
    }

    /// What the winning claim said. Meaningful only to the task itself, after its `park`.
    pub fn token(&self) -> usize {
        // Relaxed: `park` synchronised with the `ready` that followed the store.
        self.task.token.load(Ordering::Relaxed)
    }
}

/// The right, and the duty, to ready a task once.
#[must_use = "a claimed task sleeps for ever unless it is readied"]
pub struct Claimed<R: Runtime> {
    task: &'static Task,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> std::fmt::Debug for Claimed<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claimed").finish_non_exhaustive()
    }
}

impl<R: Runtime> Claimed<R> {
    /// Makes the task runnable.
    pub fn ready(self) {
        // SAFETY: a `Claimed` comes only from the one successful claim of a ticket (T1) and is
        // consumed here, so this is the one `ready` for that wait (T2).
        unsafe { R::ready(self.task) }
    }

    /// Makes the task runnable, by one that is likely to wait itself before long
    /// ([`Runtime::ready_near`]).
    #[inline]
    pub fn ready_near(self) {
        // SAFETY: as in `ready`.
        unsafe { R::ready_near(self.task) }
    }

    /// The task, for a caller that readies many at once by its own means; the duty passes to it.
    pub fn into_task(self) -> &'static Task {
        self.task
    }
}
