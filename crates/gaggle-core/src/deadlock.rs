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
//!   anything else that comes from outside (those count themselves).
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
//!   go on: whoever readies it takes it off the count first, and gives the permit then. While the count is
//!   too high, whoever readies is itself running, on an M that is not idle or as a thread that is not
//!   parked.
//! - L6: every parking moves the census's changes on before it counts, every readying between taking off
//!   the count and the permit; every M that leaves the idle list moves the list's departures on. Both are
//!   read before and after all else and must be the same: then nobody of those that were counted as
//!   waiting went on in between, nor did anybody ready one of them and end; at the instant at which the
//!   kernel counted the threads there was nobody else, and so there can be nobody since.
//!
//! What holds then holds for ever: nobody is left to end it. A signal handler is nobody: it may not call
//! the library, nor post anything but a semaphore of C, whose waiters count themselves (L2).

use crate::shim::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

// SeqCst everywhere here: L6 needs the order of accesses to different words, and nothing is hot.

/// What is counted of those whom the scheduler does not know.
#[derive(Debug)]
pub struct Census {
    /// Foreign threads that are parked without a deadline (L5).
    parked: AtomicI32,
    /// Readyings and parkings of foreign threads (L6).
    changes: AtomicU64,
    /// The library's own threads but the Ms, those left out that work for a goroutine (L3).
    own: AtomicI32,
    /// Goroutines that wait for what a signal handler may do (L2).
    outside: AtomicI32,
}

/// What the scheduler and the kernel say, asked by [`Census::everybody_waits`].
pub trait Surroundings {
    /// How often an M has left the idle list, if every M is in it now (L1).
    fn departures_if_all_idle(&self) -> Option<u64>;
    /// How many Ms there are.
    fn machines(&self) -> i32;
    /// How many threads the process has; `None` where that cannot be found out.
    fn threads(&self) -> Option<i32>;
    /// How many goroutines there are.
    fn goroutines(&self) -> usize;
    /// L2, but for what the census counts.
    fn nothing_is_coming(&self) -> bool;
}

impl Default for Census {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! new_census {
    () => {
        Census {
            parked: AtomicI32::new(0),
            changes: AtomicU64::new(0),
            own: AtomicI32::new(0),
            outside: AtomicI32::new(0),
        }
    };
}

impl Census {
    /// Of a process in which nobody is parked.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        new_census!()
    }

    /// Of a process in which nobody is parked.
    #[cfg(loom)]
    pub fn new() -> Self {
        new_census!()
    }

    /// A thread of the library's own has been started, or has no more work.
    pub fn own_thread_started(&self) {
        self.own.fetch_add(1, Ordering::SeqCst);
    }

    /// A thread of the library's own is about to be given work by a goroutine, which calls this.
    pub fn own_thread_gets_work(&self) {
        self.own.fetch_sub(1, Ordering::SeqCst);
    }

    /// The calling goroutine is about to wait for something that may come from outside (L2).
    pub fn outside_begins(&self) {
        self.outside.fetch_add(1, Ordering::SeqCst);
    }

    /// It waits no more.
    pub fn outside_ends(&self) {
        self.outside.fetch_sub(1, Ordering::SeqCst);
    }

    /// L2.
    fn nothing_is_coming(&self, around: &impl Surroundings) -> bool {
        self.outside.load(Ordering::SeqCst) == 0 && around.nothing_is_coming()
    }

    /// Whether it is worth the kernel's count to ask [`Census::everybody_waits`]; the departures to ask it
    /// with. Takes the idle list's lock.
    pub fn worth_a_look(&self, around: &impl Surroundings) -> Look {
        match around.departures_if_all_idle() {
            None => Look::Busy,
            Some(_) if !self.nothing_is_coming(around) => Look::NotNow,
            Some(departures) => Look::At(departures),
        }
    }

    /// L1 to L4, in one instant (L6); `departures` were read before.
    pub fn everybody_waits(&self, around: &impl Surroundings, departures: u64) -> bool {
        let changes = self.changes.load(Ordering::SeqCst);
        let parked = self.parked.load(Ordering::SeqCst);
        let known = around.machines() + self.own.load(Ordering::SeqCst) + parked;
        around.threads() == Some(known)
            && (parked > 0 || around.goroutines() > 0)
            && self.nothing_is_coming(around)
            && self.changes.load(Ordering::SeqCst) == changes
            && around.departures_if_all_idle() == Some(departures)
    }
}

/// What [`Census::worth_a_look`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Some M is busy.
    Busy,
    /// Something is coming.
    NotNow,
    /// It may be: ask with these departures.
    At(u64),
}

/// Not readied, and not parked without a deadline.
const NONE: u32 = 0;
/// Readied and not yet gone on.
const GIVEN: u32 = 1;
/// Parked without a deadline.
const PARKED: u32 = 2;
/// As [`PARKED`], but somebody is about to ready it and takes it off the count (L5).
const LEAVING: u32 = 3;

/// The permit by which a foreign thread is readied: its word, for a futex.
///
/// It says whether the thread is parked without a deadline; whoever readies it then takes it off the
/// census's count (L5).
#[derive(Debug)]
pub struct Permit {
    word: AtomicU32,
}

impl Default for Permit {
    fn default() -> Self {
        Self::new()
    }
}

impl Permit {
    /// Of a thread that is not readied.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Permit {
            word: AtomicU32::new(NONE),
        }
    }

    /// Of a thread that is not readied.
    #[cfg(loom)]
    pub fn new() -> Self {
        Permit {
            word: AtomicU32::new(NONE),
        }
    }

    /// The word that changes when the thread is readied.
    pub fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Blocks the calling thread, whose permit this is, until readied: by `wait`, which is called with a
    /// value while the word has it, and may return at any time.
    pub fn park(&self, census: &Census, mut wait: impl FnMut(u32)) {
        // Acquire on failure: pairs with the Release in `ready`. Relaxed else: nothing is published.
        let parked = self
            .word
            .compare_exchange(NONE, PARKED, Ordering::Relaxed, Ordering::Acquire);
        if parked.is_ok() {
            census.changes.fetch_add(1, Ordering::SeqCst);
            census.parked.fetch_add(1, Ordering::SeqCst);
            loop {
                // Acquire: as above.
                match self.word.load(Ordering::Acquire) {
                    GIVEN => break,
                    parked => wait(parked),
                }
            }
        }
        // Relaxed: a task is readied once for each park (T2).
        self.word.store(NONE, Ordering::Relaxed);
    }

    /// For a thread that waits with a deadline: takes the permit.
    ///
    /// # Errors
    /// Where it was not readied: the word's value, to wait for a change of.
    pub fn take(&self) -> Result<(), u32> {
        // Acquire: pairs with the Release in `ready`.
        match self.word.swap(NONE, Ordering::Acquire) {
            NONE => Err(NONE),
            _ => Ok(()),
        }
    }

    /// Takes a permit that nobody will ask for, when the thread ends.
    pub fn clear(&self) {
        // Relaxed: nobody waits on it now.
        self.word.store(NONE, Ordering::Relaxed);
    }

    /// Lets its `park` return; the caller then wakes who waits for the word to change.
    pub fn ready(&self, census: &Census) {
        // Release: pairs with the Acquire in `park` and `take`. Relaxed on failure: nothing is read.
        let before = self
            .word
            .compare_exchange(NONE, GIVEN, Ordering::Release, Ordering::Relaxed);
        if before != Err(PARKED) {
            return;
        }
        // Only who does this step takes it off the count. Relaxed: the permit below is what publishes.
        let own = self
            .word
            .compare_exchange(PARKED, LEAVING, Ordering::Relaxed, Ordering::Relaxed);
        if own.is_err() {
            return;
        }
        census.parked.fetch_sub(1, Ordering::SeqCst);
        census.changes.fetch_add(1, Ordering::SeqCst);
        // Release: as above.
        self.word.store(GIVEN, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A process whose Ms are all idle, with as many threads as the field says.
    struct Still {
        threads: i32,
        goroutines: usize,
        coming: bool,
        busy: bool,
    }

    impl Surroundings for Still {
        fn departures_if_all_idle(&self) -> Option<u64> {
            (!self.busy).then_some(7)
        }
        fn machines(&self) -> i32 {
            2
        }
        fn threads(&self) -> Option<i32> {
            Some(self.threads)
        }
        fn goroutines(&self) -> usize {
            self.goroutines
        }
        fn nothing_is_coming(&self) -> bool {
            !self.coming
        }
    }

    const STILL: Still = Still {
        threads: 3,
        goroutines: 1,
        coming: false,
        busy: false,
    };

    fn census_with_one_own_thread() -> Census {
        let census = Census::new();
        census.own_thread_started();
        census
    }

    #[test]
    fn all_idle_and_a_goroutine_that_waits_is_a_deadlock() {
        let census = census_with_one_own_thread();
        assert_eq!(census.worth_a_look(&STILL), Look::At(7));
        assert!(census.everybody_waits(&STILL, 7));
        assert!(!census.everybody_waits(&STILL, 6), "L6");
    }

    #[test]
    fn what_is_busy_coming_or_missing_is_none() {
        let census = census_with_one_own_thread();
        let busy = Still {
            busy: true,
            ..STILL
        };
        assert_eq!(census.worth_a_look(&busy), Look::Busy);
        let coming = Still {
            coming: true,
            ..STILL
        };
        assert_eq!(census.worth_a_look(&coming), Look::NotNow);
        let nobody = Still {
            goroutines: 0,
            ..STILL
        };
        assert!(!census.everybody_waits(&nobody, 7), "L4");
        let stranger = Still {
            threads: 4,
            ..STILL
        };
        assert!(!census.everybody_waits(&stranger, 7), "L3");
        census.own_thread_gets_work();
        assert!(!census.everybody_waits(&STILL, 7), "L3");
        census.own_thread_started();
        census.outside_begins();
        assert_eq!(census.worth_a_look(&STILL), Look::NotNow);
        census.outside_ends();
        assert!(census.everybody_waits(&STILL, 7));
    }

    #[test]
    fn permit_that_came_first_is_taken_at_once() {
        let (census, permit) = (Census::new(), Permit::new());
        permit.ready(&census);
        permit.park(&census, |_| unreachable!("it is readied"));
        assert_eq!(permit.take(), Err(NONE));
        permit.ready(&census);
        permit.ready(&census); // a late one, for a thread that has ended (X1 of the backend)
        assert_eq!(permit.take(), Ok(()));
        assert_eq!(census.parked.load(Ordering::SeqCst), 0);
    }
}
