//! Barriers and once-only initialisation of C: all users in the process come through here.
//!
//! - A1: how many have arrived at a barrier stands in its first word, which changes under its bucket's
//!   lock. The one that completes a round sets it to 0 and takes all waiters out in the same section, so
//!   all waiters in the table are of the round that is under way.
//! - A2: nothing of the barrier is touched by a waiter that has been woken, so it may be destroyed as
//!   soon as its last round is over; libc's own waiting for that is not needed.
//! - A3: a `pthread_once_t` is 0 at first, [`RUNNING`] while one runs the function, and [`DONE`] after
//!   (bits that libc uses, too). If the function unwinds, it is 0 again and another may try.
//!
//! Barriers of several processes are libc's, on the hand-off path.

use super::real::reals;
use super::sync_objects;
use super::wait_table::{self, ANY_BITS, Kind, Outcome, Woken};
use crate::blocking::in_long_call;
use gaggle_core::contract::NEVER;
use libc::{c_int, pthread_barrier_t, pthread_once_t};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

type Barrier = *mut pthread_barrier_t;

reals! {
    real_barrier_wait = pthread_barrier_wait(barrier: Barrier) -> c_int;
    real_once = pthread_once(control: *mut pthread_once_t, function: unsafe extern "C-unwind" fn()) -> c_int;
    real_barrier_destroy = pthread_barrier_destroy(barrier: Barrier) -> c_int;
}

/// How many a barrier of this process waits for; `None`: it is libc's, as all are in a forked child.
fn count_of(barrier: Barrier) -> Option<u32> {
    if crate::plain::is_child() {
        return None;
    }
    let objects = sync_objects();
    let (shared, count) = objects.barrier_shared.zip(objects.barrier_count)?;
    let address = barrier as usize;
    // SAFETY: the hook's caller vouches for it.
    let own = unsafe { shared.read(address) } == 0;
    // SAFETY: the hook's caller vouches for it.
    own.then(|| unsafe { count.read(address) })
}

/// `pthread_barrier_wait(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_barrier_wait(barrier: Barrier) -> c_int {
    let Some(count) = count_of(barrier) else {
        return in_long_call(|| real_barrier_wait(barrier));
    };
    let address = barrier as usize;
    // SAFETY: the caller's contract: a barrier's first word, aligned.
    let arrived = unsafe { AtomicU32::from_ptr(barrier.cast::<u32>()) };
    let mut woken = Woken::nobody();
    let outcome = wait_table::wait(address, Kind::Barrier, ANY_BITS, NEVER, |list| {
        // Relaxed, for all: A1: under the lock.
        let number = arrived.load(Ordering::Relaxed) + 1;
        if number < count {
            arrived.store(number, Ordering::Relaxed);
            return true;
        }
        arrived.store(0, Ordering::Relaxed);
        woken = list.wake(address, Kind::Barrier, ANY_BITS, usize::MAX);
        false
    });
    woken.release();
    match outcome {
        Outcome::Entered => libc::PTHREAD_BARRIER_SERIAL_THREAD,
        Outcome::Woken | Outcome::TimedOut => 0,
    }
}

/// `pthread_barrier_destroy(3)` (A2).
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_barrier_destroy(barrier: Barrier) -> c_int {
    if count_of(barrier).is_some() {
        return 0;
    }
    in_long_call(|| real_barrier_destroy(barrier))
}

/// Somebody runs the function (A3).
const RUNNING: c_int = 1;
/// It has been run (A3).
const DONE: c_int = 2;

/// Sets what comes after the function: another try, unless it came to its end.
struct Ending<'a> {
    state: &'a AtomicI32,
    next: c_int,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        // SeqCst: Release for the Acquire in `pthread_once`; and before the look at the waiters (Y6).
        self.state.store(self.next, Ordering::SeqCst);
        let address = self.state.as_ptr() as usize;
        wait_table::released(address, Kind::Once, usize::MAX);
    }
}

/// `pthread_once(3)`; the function may unwind, as one of C++ does.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_once(
    control: *mut pthread_once_t,
    function: unsafe extern "C-unwind" fn(),
) -> c_int {
    if crate::plain::is_child() {
        return real_once(control, function);
    }
    // SAFETY: the caller's contract: an aligned word that lives for the process.
    let state = unsafe { AtomicI32::from_ptr(control) };
    loop {
        // Acquire: pairs with the store in `Ending`.
        let now = state.load(Ordering::Acquire);
        if now & DONE != 0 {
            return 0;
        }
        if now == 0 {
            // Acquire: what an attempt that unwound did. Relaxed on failure: looked at again.
            let begun = state.compare_exchange(0, RUNNING, Ordering::Acquire, Ordering::Relaxed);
            if begun.is_err() {
                continue;
            }
            let mut ending = Ending { state, next: 0 };
            // SAFETY: the caller's contract: a function to be called once.
            unsafe { function() };
            ending.next = DONE;
            return 0;
        }
        let over = wait_table::acquire(control as usize, Kind::Once, NEVER, |_| {
            // SeqCst: Y6.
            (state.load(Ordering::SeqCst) != now).then_some(())
        });
        debug_assert!(over.is_some(), "there is no deadline");
    }
}
