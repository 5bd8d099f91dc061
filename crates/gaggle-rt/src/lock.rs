//! The lock of short sections for this backend: a spin, then the kernel's futex; never a park.
//!
//! A goroutine that holds one is in a section ([`crate::preempt`]): it is not suspended with the lock.
//! In a forked child, where a holder may be a thread that is not there any more, nobody waits.

use crate::{preempt, sched};
use gaggle_core::lock::RawLock;
use gaggle_core::word_lock::{NOBODY, Waiting, WordLock};
use gaggle_sys::{arch, barrier, call, futex};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How long a thread sleeps at most where the kernel has no barrier on all threads.
const SHORT_SLEEP_NANOS: u64 = 1_000_000;

/// How many pauses there are between two looks at a lock that is held, one or two microseconds, from the first look
/// on. Between processors a line of memory travels some hundred nanoseconds: who looks at the lock sooner takes
/// it away from its holder each time, and a holder that is left alone does many operations in that time.
/// Four senders and four receivers on two processors pass a value in 20 ns; 46 ns where the first looks came
/// after 1, 2, 4, .. pauses, and as much with half the pauses in every third run.
const PAUSES: u32 = 64;

/// From which round on another thread may have the processor between two looks.
const ROUNDS_TO_YIELD: u32 = 12;

static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Says that this process is a forked child, whose only thread calls.
pub fn in_child() {
    // Relaxed: read by this thread.
    IS_CHILD.store(true, Ordering::Relaxed);
}

/// The kernel's part.
struct Kernel;

impl Waiting for Kernel {
    fn barrier() -> bool {
        barrier::all_threads()
    }

    fn sleep_while(word: &AtomicU32, value: u32, short: bool) {
        futex::wait(word, value, short.then_some(SHORT_SLEEP_NANOS));
    }

    fn wake_one(word: &AtomicU32) {
        futex::wake(word, 1);
    }

    fn spin(round: u32) {
        if round >= ROUNDS_TO_YIELD {
            call::yield_thread();
        }
        for _ in 0..PAUSES {
            arch::spin_pause();
        }
    }

    fn is_alone() -> bool {
        // Relaxed: set by this thread.
        IS_CHILD.load(Ordering::Relaxed)
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Lock(WordLock);

impl Lock {
    /// An unlocked lock.
    ///
    /// The runtime's own locks are statics made by this and never by `LazyLock`: that would wait by
    /// a futex when two threads race for it, which is a hook of ours, which uses these locks.
    pub const fn unlocked() -> Self {
        Lock(WordLock::new())
    }
}

impl RawLock for Lock {
    #[inline]
    fn new() -> Self {
        Lock::unlocked()
    }

    #[inline]
    fn lock(&self) {
        let caller = match sched::current() {
            // In the section that begins here the P stays with this M (E1 of `sections`), so one caller at
            // a time names it (K6).
            Some(g) => preempt::enter(g).p().map_or(NOBODY, |p| p.number + 1),
            None => NOBODY,
        };
        self.0.lock::<Kernel>(caller);
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.unlock::<Kernel>();
        if let Some(g) = sched::current() {
            preempt::leave(g);
        }
    }
}
