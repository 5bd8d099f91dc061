//! Total deadlock: no goroutine can ever run again, and nobody else is there to change that.
//!
//! Source: Go's `checkdead` (runtime/proc.go), which looks when an M goes idle. Here there are threads
//! that the library did not make; their end is no event that anybody hears of. So the monitor looks,
//! each time that it looks around, at little cost: one lock while any M is busy.
//!
//! All of this must hold in one instant:
//!
//! - L1: every M is in the idle list. So no goroutine runs, none is in a call that blocks a thread or
//!   suspended, and no M searches.
//! - L2: no queue holds a goroutine, no timer is set, and no goroutine waits for a descriptor, or for
//!   anything else that comes from outside (those count themselves: [`crate::netpoll::Counted`],
//!   [`Outside`]).
//! - L3: the process has no other threads than the Ms, the library's own (each of which only ever acts
//!   on behalf of a goroutine that L1 and L2 would show), and foreign ones that are parked by the
//!   library, without a deadline: `main` in `gaggle::run`, say. Those wait for a goroutine as well. Any
//!   other thread may be about to send, to unpark or to start a goroutine, whether it has ever used the
//!   library or not. The kernel says how many threads there are, in one number.
//! - L4: there is somebody who waits: a goroutine, or a parked foreign thread.
//!
//! The instant:
//!
//! - L5: a foreign thread is counted as parked from after its permit says so, and until *before* it can
//!   go on: whoever readies it takes it off the count. While the count is too high for a moment, whoever
//!   readies is itself running, on an M that is not idle or as a thread that is not parked.
//! - L6: every readying and every parking moves [`CHANGES`] on, every M that leaves the idle list moves
//!   the list's departures on. Both are read before and after all else and must be the same: then
//!   nobody of those that were counted as waiting went on in between, at the instant at which the kernel
//!   counted the threads there was nobody else, and so there can be nobody since.
//!
//! What holds then holds for ever: nobody is left to end it. A signal handler is nobody: it may not call
//! the library, nor post anything but a semaphore of C, whose waiters count themselves (L2).

use crate::find_work;
use crate::m;
use crate::netpoll;
use crate::sched;
use gaggle_core::contract::NEVER;
use gaggle_sys::{clock, thread};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// Foreign threads that are parked without a deadline (L5).
static PARKED: AtomicI32 = AtomicI32::new(0);
/// Readyings and parkings of foreign threads (L6).
static CHANGES: AtomicU64 = AtomicU64::new(0);
/// The library's own threads but the Ms, those left out that work for a goroutine (L3).
static OWN: AtomicI32 = AtomicI32::new(0);

// SeqCst everywhere here: L6 needs the order of accesses to different words, and nothing is hot.

/// A thread of the library's own has been started, or has no more work.
pub fn own_thread_started() {
    OWN.fetch_add(1, Ordering::SeqCst);
}

/// A thread of the library's own is about to be given work by a goroutine, which calls this.
pub fn own_thread_gets_work() {
    OWN.fetch_sub(1, Ordering::SeqCst);
}

/// The calling foreign thread's permit says that it is parked (L5).
pub fn foreign_parked() {
    CHANGES.fetch_add(1, Ordering::SeqCst);
    PARKED.fetch_add(1, Ordering::SeqCst);
}

/// A foreign thread is about to be readied (L6).
pub fn foreign_changes() {
    CHANGES.fetch_add(1, Ordering::SeqCst);
}

/// A foreign thread that was parked has been readied (L5); called by whoever did so.
pub fn foreign_readied() {
    PARKED.fetch_sub(1, Ordering::SeqCst);
}

/// Goroutines that wait for what a signal handler may do (L2).
static OUTSIDE: AtomicI32 = AtomicI32::new(0);

/// While it lives the calling goroutine waits for something that may come from outside (L2).
#[derive(Debug)]
pub struct Outside(());

impl Outside {
    /// Counts one more.
    pub fn new() -> Self {
        OUTSIDE.fetch_add(1, Ordering::SeqCst);
        Outside(())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        OUTSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The longest time between two looks at the number of threads while nothing changes.
const PAUSE_NANOS_MAX: u64 = 500_000_000;
/// The shortest.
const PAUSE_NANOS_MIN: u64 = 10_000_000;

/// What the monitor remembers from look to look.
#[derive(Debug)]
pub struct Look {
    pause_nanos: u64,
    not_before: u64,
}

impl Look {
    /// It has not looked yet.
    pub const fn new() -> Self {
        Look {
            pause_nanos: PAUSE_NANOS_MIN,
            not_before: 0,
        }
    }

    /// Looks, and has it reported if there is a deadlock.
    pub fn look(&mut self) {
        let Some(departures) = m::departures_if_all_idle() else {
            *self = Look::new();
            return;
        };
        if !nothing_is_coming() {
            return;
        }
        let now = clock::now();
        if now < self.not_before {
            return;
        }
        self.not_before = now + self.pause_nanos;
        self.pause_nanos = (2 * self.pause_nanos).min(PAUSE_NANOS_MAX);
        if everybody_waits(departures) {
            crate::report::all_asleep();
        }
    }
}

/// L2.
fn nothing_is_coming() -> bool {
    netpoll::waiters() == 0
        && OUTSIDE.load(Ordering::SeqCst) == 0
        && find_work::first_deadline() == NEVER
        && !find_work::any_work()
}

/// L1 to L4, in one instant (L6); `departures` were read before.
fn everybody_waits(departures: u64) -> bool {
    let changes = CHANGES.load(Ordering::SeqCst);
    let parked = PARKED.load(Ordering::SeqCst);
    let known = m::count() as i32 + OWN.load(Ordering::SeqCst) + parked;
    thread::count() == Some(known)
        && (parked > 0 || sched::live() > 0)
        && nothing_is_coming()
        && CHANGES.load(Ordering::SeqCst) == changes
        && m::departures_if_all_idle() == Some(departures)
}
