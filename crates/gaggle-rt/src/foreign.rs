//! OS threads that call into the runtime without being a goroutine: main, and what the program or a
//! library made. They park on a futex.
//!
//! - X2: the permit says whether the thread is parked without a deadline; whoever readies it then takes
//!   it off the count of the parked (L5 of [`crate::deadlock`]).
//! - X1: a foreign task lives for ever and serves one OS thread at a time: it is given back when the
//!   thread ends, so a late `ready` reaches a task, and at worst lets a later `park` return early,
//!   which every waiter here checks for.

use crate::Green;
use crate::deadlock;
use crate::lock::Lock;
use gaggle_core::contract::{Nanos, TIMED_OUT};
use gaggle_core::lock::Lock as Guarded;
use gaggle_core::task::{Task, Ticket};
use gaggle_sys::{clock, futex};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// [`Task::kind`] of a foreign thread.
pub const KIND_FOREIGN: u8 = 2;

/// Not readied, and not parked without a deadline.
const NONE: u32 = 0;
/// Readied and not yet gone on.
const GIVEN: u32 = 1;
/// Parked without a deadline (X2).
const PARKED: u32 = 2;

/// A foreign thread's task.
#[repr(C)]
pub struct Foreign {
    task: Task,
    /// [`NONE`], [`GIVEN`] or [`PARKED`].
    permit: AtomicU32,
}

static FREE: Guarded<Vec<&'static Foreign>, Lock> = Guarded::from_raw(Lock::unlocked(), Vec::new());

struct Held(&'static Foreign);

impl Drop for Held {
    fn drop(&mut self) {
        // From here on the task may be another thread's: this one must not use it again.
        CURRENT.set(None);
        // Relaxed: nobody waits on it now; a permit that comes later is X1's case.
        self.0.permit.store(0, Ordering::Relaxed);
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
            permit: AtomicU32::new(0),
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
        deadlock::foreign_changes();
        // Release: pairs with the Acquire in `park`.
        if self.permit.swap(GIVEN, Ordering::Release) == PARKED {
            deadlock::foreign_readied();
        }
        futex::wake(&self.permit, 1);
    }

    /// Blocks the calling thread, whose task this is, until readied.
    pub fn park(&self) {
        // Acquire on failure: pairs with the Release in `ready`. Relaxed else: nothing is published.
        let parked =
            self.permit
                .compare_exchange(NONE, PARKED, Ordering::Relaxed, Ordering::Acquire);
        if parked.is_ok() {
            deadlock::foreign_parked();
            // Acquire: as above.
            while self.permit.load(Ordering::Acquire) == PARKED {
                futex::wait(&self.permit, PARKED, None);
            }
        }
        // Relaxed: a task is readied once for each park (T2).
        self.permit.store(NONE, Ordering::Relaxed);
    }

    /// As `park`, but claims `ticket` itself at `deadline`.
    pub fn park_until(&self, ticket: Ticket<Green>, deadline: Nanos) {
        loop {
            // Acquire: pairs with the Release in `ready`.
            if self.permit.swap(0, Ordering::Acquire) != 0 {
                return;
            }
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
            futex::wait(&self.permit, 0, Some(deadline - now));
        }
    }
}
