//! OS threads that call into the runtime without being a goroutine: main, and what the program or a
//! library made. They park on a futex.
//!
//! - X2: the permit says whether the thread is parked without a deadline; whoever readies it then takes
//!   it off the count of the parked (L5 of [`gaggle_core::deadlock`]).
//! - X1: a foreign task lives for ever and serves one OS thread at a time: it is given back when the
//!   thread ends, so a late `ready` reaches a task, and at worst lets a later `park` return early,
//!   which every waiter here checks for.

use crate::Green;
use crate::deadlock::CENSUS;
use crate::lock::Lock;
use gaggle_core::contract::{Nanos, TIMED_OUT};
use gaggle_core::deadlock::Permit;
use gaggle_core::lock::Lock as Guarded;
use gaggle_core::task::{Task, Ticket};
use gaggle_sys::{clock, futex};
use std::cell::Cell;

/// [`Task::kind`] of a foreign thread.
pub const KIND_FOREIGN: u8 = 2;

/// A foreign thread's task.
#[repr(C)]
pub struct Foreign {
    task: Task,
    /// See X2.
    permit: Permit,
}

static FREE: Guarded<Vec<&'static Foreign>, Lock> = Guarded::from_raw(Lock::unlocked(), Vec::new());

struct Held(&'static Foreign);

impl Drop for Held {
    fn drop(&mut self) {
        // From here on the task may be another thread's: this one must not use it again.
        CURRENT.set(None);
        // A permit that comes later is X1's case.
        self.0.permit.clear();
        FREE.lock().push(self.0);
    }
}

thread_local! {
    static HELD: Held = Held(take());
    /// The same, without a destructor, so that it can be read while the thread ends.
    static CURRENT: Cell<Option<&'static Foreign>> = const { Cell::new(None) };
}

fn take() -> &'static Foreign {
    let free = FREE.lock().pop();
    free.unwrap_or_else(|| {
        Box::leak(Box::new(Foreign {
            task: Task::new(KIND_FOREIGN),
            permit: Permit::new(),
        }))
    })
}

/// The calling thread's task.
pub fn current() -> &'static Foreign {
    CURRENT.get().unwrap_or_else(|| {
        // A thread that first parks while its thread-local destructors run gets a task for good.
        let task = HELD.try_with(|held| held.0).unwrap_or_else(|_| take());
        CURRENT.set(Some(task));
        task
    })
}

impl Foreign {
    /// This thread's task as the algorithms see it.
    pub fn as_task(&'static self) -> &'static Task {
        // SAFETY: the task is the first field; going through the record's own address keeps the right
        // to come back in `of`.
        unsafe { &*std::ptr::from_ref(self).cast::<Task>() }
    }

    /// The foreign task that `task` belongs to.
    ///
    /// # Safety
    /// The task is of [`KIND_FOREIGN`].
    pub unsafe fn of(task: &'static Task) -> &'static Foreign {
        // SAFETY: tasks of this kind are made only as the first field of a Foreign (`repr(C)`).
        unsafe { &*std::ptr::from_ref(task).cast::<Foreign>() }
    }

    /// Lets its `park` return.
    pub fn ready(&self) {
        self.permit.ready(&CENSUS);
        futex::wake(self.permit.word(), 1);
    }

    /// Blocks the calling thread, whose task this is, until readied.
    pub fn park(&self) {
        let word = self.permit.word();
        self.permit
            .park(&CENSUS, |value| futex::wait(word, value, None));
    }

    /// As `park`, but claims `ticket` itself at `deadline`.
    pub fn park_until(&self, ticket: Ticket<Green>, deadline: Nanos) {
        loop {
            let Err(unreadied) = self.permit.take() else {
                return;
            };
            let now = clock::now();
            if now >= deadline {
                match ticket.claim(TIMED_OUT) {
                    // The claim is its own: it need not be readied to know.
                    Some(claimed) => {
                        claimed.into_task();
                        return;
                    }
                    None => return self.park(),
                }
            }
            futex::wait(self.permit.word(), unreadied, Some(deadline - now));
        }
    }
}
