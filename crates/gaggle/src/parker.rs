//! Permits that one task may wait for: the whole of `park` and `unpark`.
//!
//! - A1: a permit given while nobody waits is kept; giving it twice is giving it once.
//! - A2: nothing is readied while the lock is held.
//! - A3: only a permit's owner waits for it, so there is one ticket at most.

use crate::backend::Dispatch;
use gaggle_core::context::ContextError;
use gaggle_core::contract::{NEVER, Nanos, Runtime, TIMED_OUT, WaitReason};
use gaggle_core::interrupt;
use gaggle_core::lock::Lock;
use gaggle_core::task::Ticket;

struct State<const N: usize> {
    /// Who waits for each permit, or did so until its deadline.
    awaited: [Option<Ticket<Dispatch>>; N],
    given: [bool; N],
}

/// `N` permits, each with the one task that takes it. They share a lock, as every goroutine has two.
pub(crate) struct Permits<const N: usize> {
    state: Lock<State<N>, <Dispatch as Runtime>::Lock>,
}

/// A permit and the one task that takes it.
pub(crate) type Parker = Permits<1>;

impl<const N: usize> Permits<N> {
    pub(crate) fn new() -> Self {
        Permits {
            state: Lock::new(State {
                awaited: [None; N],
                given: [false; N],
            }),
        }
    }

    /// Waits for a permit and takes it. The error is how a context ended, or none at the deadline.
    pub(crate) fn wait(
        &self,
        permit: usize,
        deadline: Nanos,
        reason: WaitReason,
    ) -> Result<(), Option<ContextError>> {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.given[permit]) {
            return Ok(());
        }
        Dispatch::note_wait(reason);
        let ticket = Ticket::take();
        state.awaited[permit] = Some(ticket);
        drop(state);
        let ended = interrupt::park(ticket, deadline);
        // After a time-out the dead ticket stays: whoever gives the permit fails to claim it and keeps
        // the permit (A1), and the next wait puts its own ticket in its place.
        match ticket.token() {
            TIMED_OUT => Err(ended),
            _ => Ok(()),
        }
    }

    /// Gives a permit (A1).
    pub(crate) fn give(&self, permit: usize) {
        let mut state = self.state.lock();
        if state.given[permit] {
            return;
        }
        let awaited = state.awaited[permit].take();
        match awaited.and_then(|ticket| ticket.claim(0)) {
            Some(claimed) => {
                drop(state);
                claimed.ready();
            }
            // Nobody waits, or the deadline won.
            None => state.given[permit] = true,
        }
    }
}

impl<const N: usize> Permits<N> {
    /// Waits for a permit and takes it, for [`crate::park`].
    ///
    /// # Panics
    /// When a context that the task runs under ends first.
    #[track_caller]
    pub(crate) fn park_at(&self, permit: usize) {
        if let Err(ended) = self.wait(permit, NEVER, WaitReason::Park) {
            interrupt::unwind(ended.expect("no deadline came"));
        }
    }
}

impl Parker {
    /// Waits for the permit and takes it, whatever becomes of the context that the task runs under.
    pub(crate) fn park_to_the_end(&self, reason: WaitReason) {
        let taken = interrupt::shielded::<Dispatch, _>(|| self.wait(0, NEVER, reason));
        debug_assert!(taken.is_ok(), "no deadline came");
    }

    /// Waits for the permit and takes it.
    ///
    /// # Panics
    /// When a context that the task runs under ends first.
    #[track_caller]
    pub(crate) fn park(&self) {
        self.park_at(0);
    }

    /// Gives the permit (A1).
    pub(crate) fn unpark(&self) {
        self.give(0);
    }
}
