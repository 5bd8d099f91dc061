//! Timers: one thread, started by the first of them, that starts a goroutine for each as it is due.
//!
//! The timers are kept in a tree ordered by deadline, not in a heap: most timers are stopped long
//! before they are due, and a stopped one must leave nothing behind.
//!
//! - R1: a timer is in the tree until it is stopped or fires; whoever takes it out owns its entry, so
//!   an entry runs or is dropped exactly once.
//! - R2: a fired timer whose thread the operating system refuses is tried again until it starts.

use crate::goroutine;
use gaggle_core::contract::{Body, Entry, Nanos, Runtime, SpawnOptions};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long to wait before a refused thread is asked for again.
const RETRY_NANOS: Nanos = 10_000_000;

/// When a timer is due, and a number that tells timers of the same instant apart.
type Key = (Nanos, u64);

/// A timer that was started.
#[derive(Debug)]
pub struct Timer {
    /// Its key's halves; the first changes under the lock of [`TIMERS`].
    deadline: AtomicU64,
    number: u64,
}

impl Timer {
    /// Its key; the caller holds the lock.
    fn key(&self) -> Key {
        // Relaxed: under the lock.
        (self.deadline.load(Ordering::Relaxed), self.number)
    }
}

/// What a timer starts.
struct Pending {
    options: SpawnOptions,
    entry: Entry,
}

/// The timers that have neither fired nor been stopped (R1).
struct Timers {
    pending: BTreeMap<Key, Pending>,
    last_number: u64,
    running: bool,
}

static TIMERS: Mutex<Timers> = Mutex::new(Timers {
    pending: BTreeMap::new(),
    last_number: 0,
    running: false,
});

/// Notified when a timer becomes the earliest.
static EARLIER: Condvar = Condvar::new();

/// [`Runtime::timer_start`].
///
/// # Panics
/// When the operating system refuses the one timer thread, as `std::thread::spawn` does.
pub(crate) fn start(deadline: Nanos, mut options: SpawnOptions, entry: Entry) -> Timer {
    // A name that no thread can have would be refused for ever (R2).
    options.name = options.name.filter(|name| !name.contains('\0'));
    let mut timers = TIMERS.lock();
    if !timers.running {
        let name = "gaggle-timers".to_owned();
        let started = std::thread::Builder::new().name(name).spawn(serve);
        match started {
            Ok(_detached) => timers.running = true,
            Err(refusal) => {
                drop(timers);
                panic!("cannot start the thread that serves timers: {refusal}");
            }
        }
    }
    timers.last_number += 1;
    let number = timers.last_number;
    timers.insert((deadline, number), Pending { options, entry });
    Timer {
        deadline: AtomicU64::new(deadline),
        number,
    }
}

impl Timers {
    fn insert(&mut self, key: Key, pending: Pending) {
        self.pending.insert(key, pending);
        let first = self.pending.first_key_value();
        if first.is_some_and(|(first, _)| *first == key) {
            EARLIER.notify_one();
        }
    }
}

/// [`Runtime::timer_stop`].
pub(crate) fn stop(timer: &Timer) -> bool {
    let mut timers = TIMERS.lock();
    let stopped = timers.pending.remove(&timer.key());
    drop(timers);
    // The entry is dropped here, after the lock: dropping it runs code of the user (W3).
    stopped.is_some()
}

/// [`Runtime::timer_reset`].
pub(crate) fn reset(timer: &Timer, deadline: Nanos) -> bool {
    let mut timers = TIMERS.lock();
    let Some(pending) = timers.pending.remove(&timer.key()) else {
        return false;
    };
    // Relaxed: under the lock.
    timer.deadline.store(deadline, Ordering::Relaxed);
    timers.insert(timer.key(), pending);
    true
}

/// The timer thread.
fn serve() {
    let mut timers = TIMERS.lock();
    loop {
        let now = crate::Threads::now();
        let Some(first) = timers.pending.first_entry() else {
            EARLIER.wait(&mut timers);
            continue;
        };
        let deadline = first.key().0;
        if deadline > now {
            let left = Duration::from_nanos(deadline - now);
            // Whether one is due is looked at anew.
            let _ = EARLIER.wait_for(&mut timers, left);
            continue;
        }
        let due = first.remove();
        drop(timers);
        fire(due);
        timers = TIMERS.lock();
    }
}

/// Starts the goroutine of a timer that is due (R2).
fn fire(due: Pending) {
    // std drops the closure of a thread that is refused, so the entry is lent to it.
    let place = Arc::new(Mutex::new(Some(due.entry)));
    loop {
        let lent = Lent {
            place: Arc::clone(&place),
            taken: None,
        };
        if goroutine::spawn(due.options.clone(), Box::new(lent)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_nanos(RETRY_NANOS));
    }
}

/// An entry that stays when the goroutine is refused.
struct Lent {
    place: Arc<Mutex<Option<Entry>>>,
    /// Kept until the goroutine has ended.
    taken: Option<Entry>,
}

impl Body for Lent {
    fn run(&mut self) {
        self.taken = self.place.lock().take();
        if let Some(entry) = &mut self.taken {
            entry.run();
        }
    }
}
