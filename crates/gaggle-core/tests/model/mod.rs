//! A third keeper of the contract, small enough to be looked through: tasks are threads, of the model
//! checker with `--cfg loom` and of std without.
//!
//! A deadline is a thread of its own that claims the ticket whenever it happens to run; so under the
//! model checker a deadline comes at every possible moment. Each task's clock stands at 1 until a deadline
//! of its own moves it there.

#![allow(dead_code, reason = "each test uses its part of the model")]

#[cfg(loom)]
pub mod counted;

use gaggle_core::contract::{Entry, Nanos, Runtime, SpawnOptions, TIMED_OUT};
use gaggle_core::interrupt::Interrupt;
use gaggle_core::lock::RawLock;
use gaggle_core::task::{Task, Ticket};
use std::cell::{Cell, UnsafeCell};

#[cfg(not(loom))]
use std::{
    sync::atomic::{AtomicU64, Ordering},
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

#[cfg(loom)]
use loom::{
    sync::atomic::{AtomicU64, Ordering},
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

/// The model as a backend.
pub enum Model {}

/// A lock that the model checker knows.
pub struct ModelLock {
    mutex: Mutex<()>,
    /// The guard of whoever holds the lock.
    held: UnsafeCell<Option<MutexGuard<'static, ()>>>,
}

// SAFETY: `held` is touched only by the holder of `mutex`, which drops the guard on the thread that
// took it: `RawLock` says so.
unsafe impl Sync for ModelLock {}
// SAFETY: an unlocked lock holds no guard, and a locked one is borrowed.
unsafe impl Send for ModelLock {}

impl RawLock for ModelLock {
    fn new() -> Self {
        ModelLock {
            mutex: Mutex::new(()),
            held: UnsafeCell::new(None),
        }
    }

    fn lock(&self) {
        let guard = self.mutex.lock().expect("no test panics under a lock");
        // SAFETY: the guard is dropped by `unlock`, whose caller borrows the lock.
        let guard =
            unsafe { std::mem::transmute::<MutexGuard<'_, ()>, MutexGuard<'static, ()>>(guard) };
        // SAFETY: this thread holds the mutex.
        unsafe { *self.held.get() = Some(guard) };
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller holds the lock; the place is empty before the guard is dropped.
        let guard = unsafe { (*self.held.get()).take() };
        drop(guard);
    }
}

/// One thread as a task; the [`Task`] comes first, so that a pointer to it is one to this.
#[repr(C)]
struct Record {
    task: Task,
    readied: Mutex<bool>,
    changed: Condvar,
    clock: AtomicU64,
}

fn new_record() -> &'static Record {
    // Never freed, as T3 wants it.
    Box::leak(Box::new(Record {
        task: Task::new(0),
        readied: Mutex::new(false),
        changed: Condvar::new(),
        clock: AtomicU64::new(1),
    }))
}

#[cfg(not(loom))]
std::thread_local! {
    static RECORD: &'static Record = new_record();
    static RANDOM: AtomicU64 = const { AtomicU64::new(1) };
    static INTERRUPT: Cell<*const Interrupt> = const { Cell::new(std::ptr::null()) };
}

#[cfg(loom)]
loom::thread_local! {
    static RECORD: &'static Record = new_record();
    static RANDOM: AtomicU64 = AtomicU64::new(1);
    static INTERRUPT: Cell<*const Interrupt> = Cell::new(std::ptr::null());
}

// Std's, not the model checker's: its threads are one of the system's, and all interleavings see the same.
std::thread_local! {
    static PROCESSORS: Cell<usize> = const { Cell::new(2) };
}

/// The machine of this test has one processor, from now on: nobody spins before it waits.
pub fn have_one_processor() {
    PROCESSORS.set(1);
}

fn record() -> &'static Record {
    RECORD.with(|record| *record)
}

impl Runtime for Model {
    type Lock = ModelLock;
    type Timer = ();

    fn current() -> &'static Task {
        &record().task
    }

    fn current_id() -> Option<u64> {
        None
    }

    fn park() {
        let record = record();
        let mut readied = record.readied.lock().expect("nobody panics here");
        while !*readied {
            readied = record.changed.wait(readied).expect("nobody panics here");
        }
        *readied = false;
    }

    fn park_until(ticket: Ticket<Self>, deadline: Nanos) {
        let record = record();
        thread::spawn(move || {
            record.clock.fetch_max(deadline, Ordering::Relaxed);
            if let Some(claimed) = ticket.claim(TIMED_OUT) {
                claimed.ready();
            }
        });
        Self::park();
    }

    unsafe fn ready(task: &'static Task) {
        let record: *const Record = std::ptr::from_ref(task).cast();
        // SAFETY: every task of the model is the first field of a `Record` that is never freed.
        let record = unsafe { &*record };
        let mut readied = record.readied.lock().expect("nobody panics here");
        assert!(!*readied, "T2: readied twice");
        *readied = true;
        record.changed.notify_one();
    }

    fn interrupt() -> *const Interrupt {
        INTERRUPT.with(Cell::get)
    }

    fn set_interrupt(interrupt: *const Interrupt) {
        INTERRUPT.with(|own| own.set(interrupt));
    }

    fn yield_now() {
        thread::yield_now();
    }

    fn now() -> Nanos {
        record().clock.load(Ordering::Relaxed)
    }

    fn random() -> u64 {
        // Weyl's sequence with a finaliser; each thread its own.
        RANDOM.with(|state| {
            let seed = state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
            let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed ^ (mixed >> 31)
        })
    }

    fn spawn(_options: SpawnOptions, mut entry: Entry) -> std::io::Result<u64> {
        thread::spawn(move || entry.run());
        Ok(0)
    }

    fn timer_start(_deadline: Nanos, _options: SpawnOptions, _entry: Entry) {
        unreachable!("no algorithm tested on the model starts a timer")
    }

    fn timer_reset(_timer: &(), _deadline: Nanos) -> bool {
        unreachable!("no algorithm tested on the model starts a timer")
    }

    fn timer_stop(_timer: &()) -> bool {
        unreachable!("no algorithm tested on the model starts a timer")
    }

    fn task_count() -> usize {
        unreachable!("no algorithm counts tasks")
    }

    fn processors() -> usize {
        PROCESSORS.get()
    }
}

/// Runs `check` in every interleaving with at most `preemptions` involuntary switches.
#[cfg(loom)]
pub fn every_interleaving(preemptions: usize, check: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.max_branches = 10_000;
    model.check(check);
}
