//! One permit that one task may wait for: the whole of `park` and `unpark`.
//!
//! - A1: a permit given while nobody waits is kept; giving it twice is giving it once.
//! - A2: nothing is readied while the lock is held.
//! - A3: only the parker's owner waits on it, so there is one ticket at most.

use crate::backend::Dispatch;
use gaggle_core::context::ContextError;
use gaggle_core::contract::{NEVER, Nanos, Runtime, TIMED_OUT, WaitReason};
use gaggle_core::interrupt;
use gaggle_core::lock::Lock;
use gaggle_core::task::Ticket;

enum Permit {
    /// Not given, and nobody waits.
    None,
    /// Given, and not yet taken.
    Given,
    /// The owner waits for it, or did so until its deadline.
    Awaited(Ticket<Dispatch>),
}

/// A permit and the one task that takes it.
pub(crate) struct Parker {
    permit: Lock<Permit, <Dispatch as Runtime>::Lock>,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Parker {
            permit: Lock::new(Permit::None),
        }
    }

    /// Waits for the permit and takes it, whatever becomes of the context that the task runs under.
    pub(crate) fn park_to_the_end(&self, reason: WaitReason) {
        let taken = interrupt::shielded::<Dispatch, _>(|| self.wait(NEVER, reason));
        debug_assert!(taken.is_ok(), "no deadline came");
    }

    /// Waits for the permit and takes it.
    ///
    /// # Errors
    /// How a context that the task runs under ended first.
    pub(crate) fn park_for(&self, reason: WaitReason) -> Result<(), ContextError> {
        let outcome = self.wait(NEVER, reason);
        outcome.map_err(|ended| ended.expect("no deadline came"))
    }

    /// Waits for the permit and takes it.
    ///
    /// # Panics
    /// When a context that the task runs under ends first.
    #[track_caller]
    pub(crate) fn park(&self) {
        if let Err(error) = self.park_for(WaitReason::Park) {
            interrupt::unwind(error);
        }
    }

    /// Waits for the permit until `deadline`; `true`: it came and was taken.
    pub(crate) fn park_until(&self, deadline: Nanos) -> bool {
        self.wait(deadline, WaitReason::Park).is_ok()
    }

    /// The error is how a context ended, or none at the deadline.
    fn wait(&self, deadline: Nanos, reason: WaitReason) -> Result<(), Option<ContextError>> {
        let mut permit = self.permit.lock();
        if matches!(*permit, Permit::Given) {
            *permit = Permit::None;
            return Ok(());
        }
        Dispatch::note_wait(reason);
        let ticket = Ticket::take();
        *permit = Permit::Awaited(ticket);
        drop(permit);
        let ended = interrupt::park(ticket, deadline);
        // After a time-out the dead ticket stays: whoever gives the permit fails to claim it and keeps
        // the permit (A1), and the next wait puts its own ticket in its place.
        match ticket.token() {
            TIMED_OUT => Err(ended),
            _ => Ok(()),
        }
    }

    /// Gives the permit (A1).
    pub(crate) fn unpark(&self) {
        let mut permit = self.permit.lock();
        let claimed = match &*permit {
            Permit::Given => return,
            Permit::None => None,
            Permit::Awaited(ticket) => ticket.claim(0),
        };
        match claimed {
            Some(claimed) => {
                *permit = Permit::None;
                drop(permit);
                claimed.ready();
            }
            // Nobody waits, or the deadline won.
            None => *permit = Permit::Given,
        }
    }
}
