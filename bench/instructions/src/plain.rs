//! The least that keeps gaggle-core's contract: one task that never has to wait, on one thread.
//!
//! Its lock is the green backend's own algorithm ([`WordLock`]) with one processor, so that it is biased
//! after some hundred uses, as a channel's is that stays on one processor. Where an algorithm would wait, it
//! panics: nothing that is counted here waits.

use gaggle_core::contract::{Entry, Nanos, Runtime, SpawnOptions};
use gaggle_core::interrupt::Interrupt;
use gaggle_core::lock::RawLock;
use gaggle_core::task::{Task, Ticket};
use gaggle_core::word_lock::{Waiting, WordLock};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The one processor that there is, as locks know it.
const PROCESSOR: u32 = 1;

/// The contract's keeper.
pub enum Plain {}

static TASK: Task = Task::new(0);
static RANDOM: AtomicU64 = AtomicU64::new(0);

/// The one task.
pub fn task() -> &'static Task {
    &TASK
}

impl Runtime for Plain {
    type Lock = PlainLock;
    type Timer = ();

    fn current() -> &'static Task {
        &TASK
    }

    fn current_id() -> Option<u64> {
        Some(1)
    }

    fn park() {
        unreachable!("nothing that is counted waits")
    }

    fn park_until(_: Ticket<Self>, _: Nanos) {
        unreachable!("nothing that is counted waits")
    }

    unsafe fn ready(task: &'static Task) {
        // Its park would end the wait.
        task.disarm();
    }

    fn interrupt() -> *const Interrupt {
        std::ptr::null()
    }

    fn set_interrupt(_: *const Interrupt) {}

    fn yield_now() {}

    fn now() -> Nanos {
        1
    }

    fn random() -> u64 {
        // Weyl's sequence. Relaxed: one thread.
        let last = RANDOM.load(Ordering::Relaxed);
        let next = last.wrapping_add(0x9E37_79B9_7F4A_7C15);
        RANDOM.store(next, Ordering::Relaxed);
        next
    }

    fn spawn(_: SpawnOptions, _: Entry) -> io::Result<u64> {
        unreachable!("nothing that is counted starts a goroutine")
    }

    fn timer_start(_: Nanos, _: SpawnOptions, _: Entry) {
        unreachable!("nothing that is counted starts a timer of the backend")
    }

    fn timer_stop(_: &()) -> bool {
        unreachable!("there is none")
    }

    fn timer_reset(_: &(), _: Nanos) -> bool {
        unreachable!("there is none")
    }

    fn task_count() -> usize {
        1
    }

    fn processors() -> usize {
        1
    }
}

/// How the one thread waits: never.
pub enum Nobody {}

impl Waiting for Nobody {
    fn barrier() -> bool {
        // Of all one threads.
        true
    }

    fn sleep_while(_: &AtomicU32, _: u32, _: bool) {
        unreachable!("there is nobody to wait for")
    }

    fn wake_one(_: &AtomicU32) {
        unreachable!("there is nobody to wake")
    }

    fn spin(_: u32) {
        unreachable!("there is nobody to wait for")
    }

    fn is_alone() -> bool {
        false
    }
}

/// The lock of short sections.
pub struct PlainLock(WordLock);

impl RawLock for PlainLock {
    fn new() -> Self {
        PlainLock(WordLock::new())
    }

    #[inline]
    fn lock(&self) {
        self.0.lock::<Nobody>(PROCESSOR);
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.unlock::<Nobody>();
    }
}
