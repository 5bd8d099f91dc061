//! Mutexes of C of every kind, and condition variables.

use crate::table::{Case, Log, let_it_block};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn pthread_mutex_clocklock(
        mutex: *mut libc::pthread_mutex_t,
        clock: libc::clockid_t,
        time: *const libc::timespec,
    ) -> libc::c_int;
    fn pthread_cond_clockwait(
        condition: *mut libc::pthread_cond_t,
        mutex: *mut libc::pthread_mutex_t,
        clock: libc::clockid_t,
        time: *const libc::timespec,
    ) -> libc::c_int;
}

/// The cases.
pub const TABLE: &[Case] = &[
    Case {
        name: "a plain mutex excludes",
        run: |log| excludes(log, &Attributes::default()),
    },
    Case {
        name: "a recursive mutex excludes",
        run: |log| {
            excludes(
                log,
                &Attributes {
                    kind: libc::PTHREAD_MUTEX_RECURSIVE,
                    ..Attributes::default()
                },
            )
        },
    },
    Case {
        name: "an error-checking mutex excludes",
        run: |log| {
            excludes(
                log,
                &Attributes {
                    kind: libc::PTHREAD_MUTEX_ERRORCHECK,
                    ..Attributes::default()
                },
            )
        },
    },
    Case {
        name: "an adaptive mutex excludes",
        run: |log| {
            excludes(
                log,
                &Attributes {
                    kind: libc::PTHREAD_MUTEX_ADAPTIVE_NP,
                    ..Attributes::default()
                },
            )
        },
    },
    Case {
        name: "a process-shared mutex excludes",
        run: |log| {
            excludes(
                log,
                &Attributes {
                    shared: true,
                    ..Attributes::default()
                },
            )
        },
    },
    Case {
        name: "a robust mutex excludes",
        run: |log| {
            excludes(
                log,
                &Attributes {
                    robust: true,
                    ..Attributes::default()
                },
            )
        },
    },
    Case {
        name: "a priority-inheriting mutex excludes",
        run: |log| {
            excludes(
                log,
                &Attributes {
                    protocol: libc::PTHREAD_PRIO_INHERIT,
                    ..Attributes::default()
                },
            )
        },
    },
    Case {
        name: "a priority-inheriting robust mutex excludes",
        run: |log| {
            excludes(
                log,
                &Attributes {
                    protocol: libc::PTHREAD_PRIO_INHERIT,
                    robust: true,
                    ..Attributes::default()
                },
            )
        },
    },
    Case {
        name: "mutexes and their owners",
        run: owners,
    },
    Case {
        name: "mutexes with a time",
        run: timed_mutex,
    },
    Case {
        name: "a robust mutex tells of its owner's end",
        run: owner_died,
    },
    Case {
        name: "a condition variable wakes one or all",
        run: condition,
    },
    Case {
        name: "a condition variable with a time",
        run: timed_condition,
    },
    Case {
        name: "a condition variable with each kind of mutex",
        run: condition_with_kinds,
    },
    Case {
        name: "a process-shared condition variable",
        run: shared_condition,
    },
];

/// An object of C that several may use.
pub struct Shared<T>(UnsafeCell<MaybeUninit<T>>);
// SAFETY: the objects are used through libc's functions only, which any thread may call.
unsafe impl<T> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    /// Made of zeros, which is what the static initialisers are.
    pub fn zeroed() -> Arc<Shared<T>> {
        Arc::new(Shared(UnsafeCell::new(MaybeUninit::zeroed())))
    }

    /// Its address.
    pub fn get(&self) -> *mut T {
        self.0.get().cast()
    }
}

/// A mutex.
pub type Mutex = Shared<libc::pthread_mutex_t>;
/// A condition variable.
pub type Condition = Shared<libc::pthread_cond_t>;

#[derive(Default)]
struct Attributes {
    kind: libc::c_int,
    shared: bool,
    robust: bool,
    protocol: libc::c_int,
}

impl Attributes {
    fn mutex(&self) -> Arc<Mutex> {
        let mutex = Mutex::zeroed();
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let place = attributes.as_mut_ptr();
        // SAFETY: attributes that are made first, and memory for a mutex.
        unsafe {
            assert_eq!(libc::pthread_mutexattr_init(place), 0);
            assert_eq!(libc::pthread_mutexattr_settype(place, self.kind), 0);
            assert_eq!(
                libc::pthread_mutexattr_setpshared(place, self.shared.into()),
                0
            );
            assert_eq!(
                libc::pthread_mutexattr_setrobust(place, self.robust.into()),
                0
            );
            assert_eq!(libc::pthread_mutexattr_setprotocol(place, self.protocol), 0);
            assert_eq!(libc::pthread_mutex_init(mutex.get(), place), 0);
        }
        mutex
    }
}

fn lock(mutex: &Mutex) -> libc::c_int {
    // SAFETY: an initialised mutex.
    unsafe { libc::pthread_mutex_lock(mutex.get()) }
}

fn try_lock(mutex: &Mutex) -> libc::c_int {
    // SAFETY: as above.
    unsafe { libc::pthread_mutex_trylock(mutex.get()) }
}

fn unlock(mutex: &Mutex) -> libc::c_int {
    // SAFETY: as above.
    unsafe { libc::pthread_mutex_unlock(mutex.get()) }
}

/// A time from now, of this clock.
pub fn after(clock: libc::clockid_t, milliseconds: i64) -> libc::timespec {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: room for a time.
    unsafe { libc::clock_gettime(clock, &mut time) };
    let nanos = time.tv_nsec + milliseconds * 1_000_000;
    time.tv_sec += nanos.div_euclid(1_000_000_000);
    time.tv_nsec = nanos.rem_euclid(1_000_000_000);
    time
}

/// The wall clock.
pub const REAL: libc::clockid_t = libc::CLOCK_REALTIME;
/// The monotonic clock.
pub const STEADY: libc::clockid_t = libc::CLOCK_MONOTONIC;

fn excludes(log: &mut Log, attributes: &Attributes) {
    let mutex = attributes.mutex();
    let inside = Arc::new(AtomicUsize::new(0));
    let together = Arc::new(AtomicUsize::new(0));
    let helpers: Vec<_> = (0..8)
        .map(|_| {
            let (mutex, inside, together) = (mutex.clone(), inside.clone(), together.clone());
            log.help(move || {
                let mut errors = 0;
                for _ in 0..20 {
                    errors += lock(&mutex);
                    let others = inside.fetch_add(1, Ordering::SeqCst);
                    together.fetch_add(others, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_micros(20));
                    inside.fetch_sub(1, Ordering::SeqCst);
                    errors += unlock(&mutex);
                }
                errors
            })
        })
        .collect();
    let errors: i32 = helpers.into_iter().map(|helper| helper.join()).sum();
    log.note("errors", errors);
    log.note("inside together", together.load(Ordering::SeqCst));
    // SAFETY: nobody uses it any longer.
    log.note("destroy", unsafe {
        libc::pthread_mutex_destroy(mutex.get())
    });
}

fn owners(log: &mut Log) {
    for kind in [
        libc::PTHREAD_MUTEX_RECURSIVE,
        libc::PTHREAD_MUTEX_ERRORCHECK,
    ] {
        for (robust, protocol) in [(false, 0), (true, 0), (false, libc::PTHREAD_PRIO_INHERIT)] {
            let attributes = Attributes {
                kind,
                robust,
                protocol,
                ..Attributes::default()
            };
            let mutex = attributes.mutex();
            log.note("unlock a free one", unlock(&mutex));
            log.note("lock", lock(&mutex));
            std::thread::sleep(Duration::from_millis(1));
            log.note("lock again", lock(&mutex));
            log.note("try again", try_lock(&mutex));
            let same = mutex.clone();
            let helper = log.help(move || (try_lock(&same), unlock(&same)));
            log.note("another", helper.join());
            let unlocks: Vec<_> = (0..4).map(|_| unlock(&mutex)).collect();
            log.note("unlocks", unlocks);
        }
    }
}

fn timed_mutex(log: &mut Log) {
    for protocol in [0, libc::PTHREAD_PRIO_INHERIT] {
        let mutex = Attributes {
            protocol,
            ..Attributes::default()
        }
        .mutex();
        log.note("lock", lock(&mutex));
        let same = mutex.clone();
        let helper = log.help(move || {
            let begun = Instant::now();
            let wrong = libc::timespec {
                tv_sec: 0,
                tv_nsec: 2_000_000_000,
            };
            // SAFETY: an initialised mutex and readable times.
            let results = unsafe {
                [
                    libc::pthread_mutex_timedlock(same.get(), &after(REAL, -5)),
                    libc::pthread_mutex_timedlock(same.get(), &wrong),
                    libc::pthread_mutex_timedlock(same.get(), &after(REAL, 20)),
                    pthread_mutex_clocklock(same.get(), STEADY, &after(STEADY, 20)),
                ]
            };
            (results, begun.elapsed() >= Duration::from_millis(40))
        });
        log.note("timed", helper.join());
        let same = mutex.clone();
        let helper = log.help(move || {
            // SAFETY: as above.
            let result = unsafe { libc::pthread_mutex_timedlock(same.get(), &after(REAL, 60_000)) };
            (result, unlock(&same))
        });
        let_it_block();
        log.note("unlock", unlock(&mutex));
        log.note("in time", helper.join());
    }
}

fn owner_died(log: &mut Log) {
    for protocol in [0, libc::PTHREAD_PRIO_INHERIT] {
        let attributes = Attributes {
            robust: true,
            protocol,
            ..Attributes::default()
        };
        let mutex = attributes.mutex();
        let same = mutex.clone();
        let dies = log.help(move || lock(&same));
        log.note("locked", dies.join());
        log.note("its owner died", lock(&mutex) == libc::EOWNERDEAD);
        // SAFETY: an initialised mutex that the caller holds.
        let consistent = unsafe { libc::pthread_mutex_consistent(mutex.get()) };
        log.note("consistent", consistent);
        log.note("unlock", unlock(&mutex));
        log.note("lock", (lock(&mutex), unlock(&mutex)));
        let same = mutex.clone();
        log.note("another dies", log.help(move || lock(&same)).join());
        log.note("its owner died", lock(&mutex) == libc::EOWNERDEAD);
        log.note("given up as it is", unlock(&mutex));
        log.note("lost", lock(&mutex) == libc::ENOTRECOVERABLE);
    }
}

/// Waits for `turn` to have come, under the mutex.
fn wait_for(mutex: &Mutex, condition: &Condition, turn: &AtomicUsize, wanted: usize) -> i32 {
    let mut errors = lock(mutex);
    while turn.load(Ordering::SeqCst) != wanted {
        // SAFETY: initialised objects, the mutex held.
        errors += unsafe { libc::pthread_cond_wait(condition.get(), mutex.get()) };
    }
    turn.fetch_add(1, Ordering::SeqCst);
    errors += unlock(mutex);
    // SAFETY: as above.
    errors + unsafe { libc::pthread_cond_broadcast(condition.get()) }
}

fn turns(log: &mut Log, mutex: Arc<Mutex>, condition: Arc<Condition>) {
    let turn = Arc::new(AtomicUsize::new(1));
    let helpers: Vec<_> = (1..10)
        .rev()
        .map(|own| {
            let (mutex, condition, turn) = (mutex.clone(), condition.clone(), turn.clone());
            log.help(move || wait_for(&mutex, &condition, &turn, own))
        })
        .collect();
    let errors: i32 = helpers.into_iter().map(|helper| helper.join()).sum();
    log.note("errors", errors);
    log.note("turns", turn.load(Ordering::SeqCst));
}

fn condition(log: &mut Log) {
    let mutex = Mutex::zeroed();
    let condition = Condition::zeroed();
    turns(log, mutex.clone(), condition.clone());
    // One signal for each waiter, given under the mutex: none is lost.
    let waiting = Arc::new(AtomicUsize::new(0));
    let helpers: Vec<_> = (0..6)
        .map(|_| {
            let (mutex, condition, waiting) = (mutex.clone(), condition.clone(), waiting.clone());
            log.help(move || {
                let mut errors = lock(&mutex);
                waiting.fetch_add(1, Ordering::SeqCst);
                // SAFETY: initialised objects, the mutex held.
                errors += unsafe { libc::pthread_cond_wait(condition.get(), mutex.get()) };
                errors + unlock(&mutex)
            })
        })
        .collect();
    while waiting.load(Ordering::SeqCst) < 6 {
        std::thread::yield_now();
    }
    for _ in 0..6 {
        lock(&mutex); // each counts itself and waits under it
        // SAFETY: an initialised condition variable.
        log.note("signal", unsafe {
            libc::pthread_cond_signal(condition.get())
        });
        unlock(&mutex);
    }
    let errors: i32 = helpers.into_iter().map(|helper| helper.join()).sum();
    log.note("errors", errors);
    // SAFETY: nobody waits.
    log.note("destroy", unsafe {
        libc::pthread_cond_destroy(condition.get())
    });
}

fn timed_condition(log: &mut Log) {
    let mutex = Mutex::zeroed();
    let condition = Condition::zeroed();
    lock(&mutex);
    let begun = Instant::now();
    let wrong = libc::timespec {
        tv_sec: 1,
        tv_nsec: -1,
    };
    // SAFETY: initialised objects, the mutex held, readable times.
    let results = unsafe {
        let (condition, mutex) = (condition.get(), mutex.get());
        [
            libc::pthread_cond_timedwait(condition, mutex, &after(REAL, -5)),
            libc::pthread_cond_timedwait(condition, mutex, &after(REAL, 20)),
            pthread_cond_clockwait(condition, mutex, STEADY, &after(STEADY, 20)),
            libc::pthread_cond_timedwait(condition, mutex, &wrong),
            pthread_cond_clockwait(condition, mutex, 77, &after(STEADY, 20)),
        ]
    };
    log.note("results", results);
    log.took("it waited", begun, Duration::from_millis(40));
    log.note("the mutex is held", try_lock(&mutex));
    let steady = Condition::zeroed();
    let mut attributes = MaybeUninit::<libc::pthread_condattr_t>::uninit();
    let place = attributes.as_mut_ptr();
    // SAFETY: attributes made first, and memory for a condition variable.
    unsafe {
        libc::pthread_condattr_init(place);
        libc::pthread_condattr_setclock(place, STEADY);
        libc::pthread_cond_init(steady.get(), place);
    }
    let begun = Instant::now();
    // SAFETY: as above.
    let result =
        unsafe { libc::pthread_cond_timedwait(steady.get(), mutex.get(), &after(STEADY, 20)) };
    log.note("by its own clock", result);
    log.took("it waited", begun, Duration::from_millis(20));
    let (same, other) = (mutex.clone(), steady.clone());
    let helper = log.help(move || {
        lock(&same);
        // SAFETY: an initialised condition variable.
        unsafe { libc::pthread_cond_signal(other.get()) };
        unlock(&same)
    });
    // SAFETY: as above.
    let result =
        unsafe { libc::pthread_cond_timedwait(steady.get(), mutex.get(), &after(STEADY, 60_000)) };
    log.note("signalled in time", result);
    log.note("unlock", unlock(&mutex));
    log.note("helper", helper.join());
}

fn condition_with_kinds(log: &mut Log) {
    for attributes in [
        Attributes {
            kind: libc::PTHREAD_MUTEX_RECURSIVE,
            ..Attributes::default()
        },
        Attributes {
            kind: libc::PTHREAD_MUTEX_ERRORCHECK,
            ..Attributes::default()
        },
        Attributes {
            shared: true,
            ..Attributes::default()
        },
        Attributes {
            robust: true,
            ..Attributes::default()
        },
        Attributes {
            protocol: libc::PTHREAD_PRIO_INHERIT,
            ..Attributes::default()
        },
    ] {
        turns(log, attributes.mutex(), Condition::zeroed());
    }
    let checking = Attributes {
        kind: libc::PTHREAD_MUTEX_ERRORCHECK,
        ..Attributes::default()
    }
    .mutex();
    let condition = Condition::zeroed();
    // SAFETY: initialised objects; the mutex is not held, which is what it checks.
    let result = unsafe { libc::pthread_cond_wait(condition.get(), checking.get()) };
    log.note("a mutex that is not held", result);
}

fn shared_condition(log: &mut Log) {
    for shared in [true, false] {
        let mutex = Attributes {
            shared,
            ..Attributes::default()
        }
        .mutex();
        let condition = Condition::zeroed();
        let mut attributes = MaybeUninit::<libc::pthread_condattr_t>::uninit();
        let place = attributes.as_mut_ptr();
        // SAFETY: attributes made first, and memory for a condition variable.
        unsafe {
            libc::pthread_condattr_init(place);
            libc::pthread_condattr_setpshared(place, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_cond_init(condition.get(), place);
        }
        turns(log, mutex, condition);
    }
}
