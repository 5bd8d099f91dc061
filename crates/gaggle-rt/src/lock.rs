//! The lock of short sections for this backend: a spin, then the kernel's futex; never a park.
//!
//! A goroutine that holds one is in a section ([`crate::preempt`]): it is not suspended with the lock.
//! In a forked child, where a holder may be a thread that is not there any more, nobody waits.

use crate::{preempt, sched};
use gaggle_core::lock::RawLock;
use gaggle_core::word_lock::{Waiting, WordLock};
use gaggle_sys::{arch, barrier, call, futex};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How long a thread sleeps at most where the kernel has no barrier on all threads.
const SHORT_SLEEP_NANOS: u64 = 1_000_000;

/// After how many rounds of spinning another thread may have the processor.
const ROUNDS_TO_YIELD: u32 = 32;

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
        if round % ROUNDS_TO_YIELD == ROUNDS_TO_YIELD - 1 {
            call::yield_thread();
        } else {
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
        if let Some(g) = sched::current() {
            preempt::enter(g);
        }
        self.0.lock::<Kernel>();
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.unlock::<Kernel>();
        if let Some(g) = sched::current() {
            preempt::leave(g);
        }
    }
}
