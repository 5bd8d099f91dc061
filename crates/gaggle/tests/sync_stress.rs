//! Random programs of locks: nobody is inside with another who may not be, and nobody waits for ever.
//!
//! `GAGGLE_TEST_SEED` replays the programs of a run; how their tasks interleave is the scheduler's.

mod support;

use gaggle::context::background;
use gaggle::sync::{Condvar, Mutex, RwLock, Semaphore};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::random::seed;
use support::tasks::{Started, Tasks, on_all};

const TASKS: usize = 6;
const STEPS: usize = 400;
const PERMITS: usize = 3;

/// A lock, what it guards, and how often that was changed.
struct Place {
    mutex: Mutex<usize>,
    changed: Condvar,
    lock: RwLock<[usize; 4]>,
    semaphore: Semaphore,
    /// Who is inside the mutex, and how many hold permits.
    inside: AtomicUsize,
    held: AtomicUsize,
    /// How often each was locked to change it.
    locked: AtomicUsize,
    written: AtomicUsize,
}

impl Place {
    fn new() -> Arc<Place> {
        Arc::new(Place {
            mutex: Mutex::new(0),
            changed: Condvar::new(),
            lock: RwLock::new([0; 4]),
            semaphore: Semaphore::new(PERMITS),
            inside: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            locked: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
        })
    }

    /// Takes the mutex in one of the ways there are, and perhaps waits for a change.
    fn use_mutex(&self, random: &mut StdRng) {
        let soon = soon(random);
        let guard = match random.random_range(0..4) {
            0 => Some(self.mutex.lock()),
            1 => self.mutex.try_lock(),
            2 => self.mutex.lock_timeout(soon),
            _ => {
                let (context, _cancel) = background().with_timeout(soon);
                self.mutex.lock_context(&context).ok()
            }
        };
        let Some(mut guard) = guard else { return };
        assert_eq!(self.inside.fetch_add(1, Ordering::Relaxed), 0);
        *guard += 1;
        self.locked.fetch_add(1, Ordering::Relaxed);
        linger(random);
        assert_eq!(self.inside.fetch_sub(1, Ordering::Relaxed), 1);
        if random.random_range(0..4) == 0 {
            self.changed.wait_timeout(&mut guard, soon);
            assert_eq!(self.inside.fetch_add(1, Ordering::Relaxed), 0);
            linger(random);
            assert_eq!(self.inside.fetch_sub(1, Ordering::Relaxed), 1);
        }
        drop(guard);
        if random.random() {
            self.changed.notify_one();
        } else {
            self.changed.notify_all();
        }
    }

    /// Takes the read-write lock in one of the ways there are.
    fn use_lock(&self, random: &mut StdRng) {
        let soon = soon(random);
        let reading = match random.random_range(0..6) {
            0 => Some(self.lock.read()),
            1 => self.lock.try_read(),
            2 => self.lock.read_timeout(soon),
            way => {
                let writing = match way {
                    3 => Some(self.lock.write()),
                    4 => self.lock.try_write(),
                    _ => self.lock.write_timeout(soon),
                };
                return writing.map_or((), |mut writing| {
                    for number in &mut *writing {
                        *number += 1;
                        linger(random);
                    }
                    self.written.fetch_add(1, Ordering::Relaxed);
                });
            }
        };
        if let Some(reading) = reading {
            let seen = reading[0];
            linger(random);
            assert_eq!(*reading, [seen; 4], "nobody writes meanwhile");
        }
    }

    /// Takes permits in one of the ways there are.
    fn use_semaphore(&self, random: &mut StdRng) {
        let wanted = random.random_range(1..=PERMITS);
        let permit = match random.random_range(0..3) {
            0 => Some(self.semaphore.acquire(wanted)),
            1 => self.semaphore.try_acquire(wanted),
            _ => self.semaphore.acquire_timeout(wanted, soon(random)),
        };
        if let Some(permit) = permit {
            let held = self.held.fetch_add(wanted, Ordering::Relaxed) + wanted;
            assert!(held <= PERMITS);
            linger(random);
            self.held.fetch_sub(wanted, Ordering::Relaxed);
            drop(permit);
        }
    }
}

/// A time that may be over before, while or after a task waits.
fn soon(random: &mut StdRng) -> Duration {
    Duration::from_nanos(random.random_range(0..30_000))
}

/// Stays inside for a moment, in one of the ways there are.
fn linger(random: &mut StdRng) {
    match random.random_range(0..32) {
        0 => gaggle::time::sleep(soon(random)),
        1 => std::thread::sleep(soon(random)),
        2..8 => gaggle::yield_now(),
        pauses => (0..pauses).for_each(|_| std::hint::spin_loop()),
    }
}

fn run(tasks: &Tasks, seed: u64) {
    let place = Place::new();
    let started: Vec<_> = (0..TASKS)
        .map(|number| {
            let place = Arc::clone(&place);
            let mut random = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
            tasks.start(move || {
                for _ in 0..STEPS {
                    match random.random_range(0..3) {
                        0 => place.use_mutex(&mut random),
                        1 => place.use_lock(&mut random),
                        _ => place.use_semaphore(&mut random),
                    }
                }
            })
        })
        .collect();
    started.into_iter().for_each(Started::join);
    // All have left, and nothing was changed that was not counted.
    let count = *place.mutex.try_lock().expect("nobody has it");
    assert_eq!(count, place.locked.load(Ordering::Relaxed));
    let written = *place.lock.try_write().expect("nobody has it");
    assert_eq!(written, [place.written.load(Ordering::Relaxed); 4]);
    assert_eq!(place.semaphore.available(), PERMITS);
}

#[test]
fn random_programs_of_locks_let_nobody_in_who_must_wait_and_end() {
    let seed = seed();
    for round in 0..4u64 {
        on_all(move |tasks| run(tasks, seed.wrapping_add(round * TASKS as u64)));
    }
}
