//! Total deadlock, seen by the monitor: [`gaggle_core::deadlock`] has the protocol, L1 to L6. What comes
//! from outside counts itself here ([`Outside`]) or in [`crate::netpoll`] (`Counted`).

use crate::find_work;
use crate::m;
use crate::netpoll;
use crate::population;
use gaggle_core::contract::NEVER;
use gaggle_core::deadlock::{self, Census, Surroundings};
use gaggle_sys::{clock, thread};

/// Of this process.
pub static CENSUS: Census = Census::new();

/// A thread of the library's own has been started, or has no more work.
pub fn own_thread_started() {
    CENSUS.own_thread_started();
}

/// A thread of the library's own is about to be given work by a goroutine, which calls this.
pub fn own_thread_gets_work() {
    CENSUS.own_thread_gets_work();
}

/// While it lives the calling goroutine waits for something that may come from outside (L2).
#[derive(Debug)]
pub struct Outside(());

impl Outside {
    /// Counts one more.
    pub fn new() -> Self {
        CENSUS.outside_begins();
        Outside(())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        CENSUS.outside_ends();
    }
}

/// This process's scheduler and threads.
struct Process;

impl Surroundings for Process {
    fn departures_if_all_idle(&self) -> Option<u64> {
        m::departures_if_all_idle()
    }

    fn machines(&self) -> i32 {
        m::count() as i32
    }

    fn threads(&self) -> Option<i32> {
        thread::count()
    }

    fn goroutines(&self) -> usize {
        population::live()
    }

    fn nothing_is_coming(&self) -> bool {
        netpoll::waiters() == 0 && find_work::first_deadline() == NEVER && !find_work::any_work()
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
        let departures = match CENSUS.worth_a_look(&Process) {
            deadlock::Look::Busy => {
                *self = Look::new();
                return;
            }
            deadlock::Look::NotNow => return,
            deadlock::Look::At(departures) => departures,
        };
        let now = clock::now();
        if now < self.not_before {
            return;
        }
        self.not_before = now + self.pause_nanos;
        self.pause_nanos = (2 * self.pause_nanos).min(PAUSE_NANOS_MAX);
        if CENSUS.everybody_waits(&Process, departures) {
            crate::report::all_asleep();
        }
    }
}
