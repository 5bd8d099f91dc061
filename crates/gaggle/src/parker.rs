//! One permit that one task may wait for: the whole of `park` and `unpark`.
//!
//! - A1: a permit given while nobody waits is kept; giving it twice is giving it once.
//! - A2: nothing is readied while the lock is held.
//! - A3: only the parker's owner waits on it, so there is one ticket at most.

use crate::backend::Dispatch;
use gaggle_core::contract::{NEVER, Nanos, Runtime, TIMED_OUT, WaitReason};
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

    /// Waits for the permit and takes it.
    pub(crate) fn park(&self) {
        self.park_for(WaitReason::Park);
    }

    /// As [`Parker::park`]; `reason` is what dumps say.
    pub(crate) fn park_for(&self, reason: WaitReason) {
        let taken = self.wait(NEVER, reason);
        debug_assert!(taken, "no deadline came");
    }

    /// Waits for the permit until `deadline`; `true`: it came and was taken.
    pub(crate) fn park_until(&self, deadline: Nanos) -> bool {
        self.wait(deadline, WaitReason::Park)
    }

    fn wait(&self, deadline: Nanos, reason: WaitReason) -> bool {
        let mut permit = self.permit.lock();
        if matches!(*permit, Permit::Given) {
            *permit = Permit::None;
            return true;
        }
        Dispatch::note_wait(reason);
        let ticket = Ticket::take();
        *permit = Permit::Awaited(ticket);
        drop(permit);
        if deadline == NEVER {
            Dispatch::park();
            return true;
        }
        Dispatch::park_until(ticket, deadline);
        // After a time-out the dead ticket stays: whoever gives the permit fails to claim it and keeps
        // the permit (A1), and the next wait puts its own ticket in its place.
        ticket.token() != TIMED_OUT
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
