//! The threads backend: each goroutine on an OS thread of its own.
//!
//! What other platforms get, what Miri and ThreadSanitizer run, and what `GAGGLE_BACKEND=threads`
//! selects. Everything stands on `std::thread` and `std::sync`, so it runs wherever std does; only watches
//! of descriptors need the kernel itself, and are there where `gaggle-sys` is.
//!
//! - W1: a parker ([`mod@park`]) is never freed; it is lent to an OS thread from its first call to its
//!   end, and given back only when no `ready` for it can be under way.
//! - W2: the goroutine's own use of `std::thread::park` is not disturbed: a task parks on a condition
//!   variable of its own, so it neither uses up nor makes `std::thread::Thread::unpark` permits.
//! - W3: no function of a user runs, and none is dropped, on the timer thread or under a lock; on the thread
//!   that watches descriptors wakers do.

mod goroutine;
mod lock;
mod park;
mod timer;
#[cfg(green)]
mod watch;

pub use lock::Lock;
pub use timer::Timer;
#[cfg(green)]
pub use watch::{Watch, is_ready, try_recv, try_send, until_ready};

use gaggle_core::contract::{Entry, Nanos, Runtime, SpawnOptions};
use gaggle_core::interrupt::Interrupt;
use gaggle_core::task::{Task, Ticket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The backend whose goroutines are OS threads.
#[derive(Debug)]
pub struct Threads;

/// The number given to [`set_processors`]; 0: none was given.
static PROCESSORS: AtomicUsize = AtomicUsize::new(0);

/// Sets what [`Runtime::processors`] answers, and answers what it answered before.
///
/// It limits nothing: how many OS threads run at the same time is the operating system's affair.
/// Programs that size their pools by this number get what they asked for all the same.
pub fn set_processors(processors: usize) -> usize {
    let before = Threads::processors();
    // Relaxed: the number stands for itself, nothing is published with it.
    PROCESSORS.store(processors.max(1), Ordering::Relaxed);
    before
}

/// How many goroutines were ever started.
pub fn created() -> u64 {
    goroutine::created()
}

impl Runtime for Threads {
    type Lock = Lock;
    type Timer = Timer;

    fn current() -> &'static Task {
        park::current()
    }

    fn current_id() -> Option<u64> {
        goroutine::current_id()
    }

    fn park() {
        park::park();
    }

    fn park_until(ticket: Ticket<Self>, deadline: Nanos) {
        park::park_until(ticket, deadline);
    }

    unsafe fn ready(task: &'static Task) {
        // SAFETY: a task of this backend comes from `current` alone; the rest is the caller's.
        unsafe { park::ready(task) }
    }

    fn interrupt() -> *const Interrupt {
        park::interrupt()
    }

    fn set_interrupt(interrupt: *const Interrupt) {
        park::set_interrupt(interrupt);
    }

    fn yield_now() {
        std::thread::yield_now();
    }

    fn now() -> Nanos {
        static START: OnceLock<Instant> = OnceLock::new();
        let since_start = START.get_or_init(Instant::now).elapsed();
        // 2^64 nanoseconds are 584 years.
        u64::try_from(since_start.as_nanos()).unwrap_or(Nanos::MAX)
    }

    fn random() -> u64 {
        // Seeded for each thread from std's `RandomState`; usable in TLS destructors.
        fastrand::u64(..)
    }

    fn spawn(options: SpawnOptions, entry: Entry) -> std::io::Result<u64> {
        goroutine::spawn(options, entry)
    }

    fn timer_start(deadline: Nanos, options: SpawnOptions, entry: Entry) -> Timer {
        timer::start(deadline, options, entry)
    }

    fn timer_reset(timer: &Timer, deadline: Nanos) -> bool {
        timer::reset(timer, deadline)
    }

    fn timer_stop(timer: &Timer) -> bool {
        timer::stop(timer)
    }

    fn task_count() -> usize {
        goroutine::count()
    }

    fn processors() -> usize {
        // Relaxed: as in `set_processors`.
        match PROCESSORS.load(Ordering::Relaxed) {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            processors => processors,
        }
    }
}
