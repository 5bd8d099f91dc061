//! Semaphores, read-write locks, barriers and once-only initialisation of C, and the locks of C11.

use crate::locks::{Condition, Mutex, REAL, STEADY, Shared, after};
use crate::table::{Case, Log, let_it_block};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn pthread_rwlock_timedrdlock(
        lock: *mut libc::pthread_rwlock_t,
        time: *const libc::timespec,
    ) -> libc::c_int;
    fn pthread_rwlock_timedwrlock(
        lock: *mut libc::pthread_rwlock_t,
        time: *const libc::timespec,
    ) -> libc::c_int;
    fn pthread_rwlockattr_setkind_np(
        attributes: *mut libc::pthread_rwlockattr_t,
        kind: libc::c_int,
    ) -> libc::c_int;
    fn sem_clockwait(
        semaphore: *mut libc::sem_t,
        clock: libc::clockid_t,
        time: *const libc::timespec,
    ) -> libc::c_int;
    fn mtx_init(mutex: *mut libc::pthread_mutex_t, kind: libc::c_int) -> libc::c_int;
    fn mtx_lock(mutex: *mut libc::pthread_mutex_t) -> libc::c_int;
    fn mtx_trylock(mutex: *mut libc::pthread_mutex_t) -> libc::c_int;
    fn mtx_timedlock(mutex: *mut libc::pthread_mutex_t, time: *const libc::timespec)
    -> libc::c_int;
    fn mtx_unlock(mutex: *mut libc::pthread_mutex_t) -> libc::c_int;
    fn cnd_wait(
        condition: *mut libc::pthread_cond_t,
        mutex: *mut libc::pthread_mutex_t,
    ) -> libc::c_int;
    fn cnd_broadcast(condition: *mut libc::pthread_cond_t) -> libc::c_int;
    fn pthread_once(control: *mut libc::pthread_once_t, function: extern "C" fn()) -> libc::c_int;
}

/// The cases.
pub const TABLE: &[Case] = &[
    Case {
        name: "a semaphore hands out what is posted",
        run: semaphore,
    },
    Case {
        name: "a semaphore with a time",
        run: timed_semaphore,
    },
    Case {
        name: "read-write locks share and exclude",
        run: rwlock,
    },
    Case {
        name: "read-write locks and their owners",
        run: rwlock_owners,
    },
    Case {
        name: "a barrier lets all go at once",
        run: barrier,
    },
    Case {
        name: "once-only initialisation runs once",
        run: once,
    },
    Case {
        name: "the locks of C11",
        run: c11,
    },
];

fn new_semaphore(shared: libc::c_int, value: u32) -> Arc<Shared<libc::sem_t>> {
    let semaphore = Shared::zeroed();
    // SAFETY: memory for a semaphore.
    assert_eq!(unsafe { libc::sem_init(semaphore.get(), shared, value) }, 0);
    semaphore
}

fn semaphore(log: &mut Log) {
    for shared in [0, 1] {
        let semaphore = new_semaphore(shared, 2);
        let helpers: Vec<_> = (0..10)
            .map(|_| {
                let semaphore = semaphore.clone();
                // SAFETY: an initialised semaphore.
                log.help(move || unsafe { libc::sem_wait(semaphore.get()) })
            })
            .collect();
        for _ in 0..8 {
            std::thread::yield_now();
            // SAFETY: as above.
            log.answer("post", unsafe { libc::sem_post(semaphore.get()) });
        }
        let errors: i32 = helpers.into_iter().map(|helper| helper.join()).sum();
        log.note("errors", errors);
        // SAFETY: as above.
        log.answer("none is left", unsafe {
            libc::sem_trywait(semaphore.get())
        });
        // One posted by a thread of the other kind.
        let same = semaphore.clone();
        // SAFETY: as above.
        let foreign = std::thread::spawn(move || unsafe { libc::sem_post(same.get()) });
        // SAFETY: as above.
        log.answer("posted by a thread", unsafe {
            libc::sem_wait(semaphore.get())
        });
        log.note("post", foreign.join().expect("it does not panic"));
    }
}

fn timed_semaphore(log: &mut Log) {
    for shared in [0, 1] {
        let semaphore = new_semaphore(shared, 0);
        let wrong = libc::timespec {
            tv_sec: 1,
            tv_nsec: 1_000_000_000,
        };
        let begun = Instant::now();
        // SAFETY: an initialised semaphore and readable times.
        unsafe {
            let semaphore = semaphore.get();
            log.answer("over", libc::sem_timedwait(semaphore, &after(REAL, -5)));
            log.answer("timed", libc::sem_timedwait(semaphore, &after(REAL, 20)));
            log.answer(
                "clock",
                sem_clockwait(semaphore, STEADY, &after(STEADY, 20)),
            );
            log.answer("no time", libc::sem_timedwait(semaphore, &wrong));
            log.answer("no clock", sem_clockwait(semaphore, 77, &after(STEADY, 20)));
        }
        log.took("it waited", begun, Duration::from_millis(40));
        let same = semaphore.clone();
        let helper = log.help(move || {
            let_it_block();
            // SAFETY: as above.
            unsafe { libc::sem_post(same.get()) }
        });
        // SAFETY: as above.
        let result = unsafe { libc::sem_timedwait(semaphore.get(), &after(REAL, 60_000)) };
        log.answer("in time", result);
        log.note("post", helper.join());
    }
}

fn new_rwlock(kind: libc::c_int, shared: libc::c_int) -> Arc<Shared<libc::pthread_rwlock_t>> {
    let lock = Shared::zeroed();
    let mut attributes = MaybeUninit::<libc::pthread_rwlockattr_t>::uninit();
    let place = attributes.as_mut_ptr();
    // SAFETY: attributes made first, and memory for a lock.
    unsafe {
        libc::pthread_rwlockattr_init(place);
        pthread_rwlockattr_setkind_np(place, kind);
        libc::pthread_rwlockattr_setpshared(place, shared);
        assert_eq!(libc::pthread_rwlock_init(lock.get(), place), 0);
    }
    lock
}

fn rwlock(log: &mut Log) {
    for (kind, shared) in [(0, 0), (2, 0), (0, 1)] {
        let lock = new_rwlock(kind, shared);
        let value = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let helpers: Vec<_> = (0..9)
            .map(|number| {
                let (lock, value) = (lock.clone(), value.clone());
                log.help(move || {
                    let mut wrong = 0;
                    for _ in 0..10 {
                        // SAFETY: an initialised lock, given up by who took it.
                        unsafe {
                            if number % 3 == 0 {
                                wrong += libc::pthread_rwlock_wrlock(lock.get());
                                value[0].fetch_add(1, Ordering::SeqCst);
                                std::thread::sleep(Duration::from_micros(20));
                                value[1].fetch_add(1, Ordering::SeqCst);
                            } else {
                                wrong += libc::pthread_rwlock_rdlock(lock.get());
                                let first = value[0].load(Ordering::SeqCst);
                                std::thread::sleep(Duration::from_micros(20));
                                let second = value[1].load(Ordering::SeqCst);
                                wrong += i32::from(first != second);
                            }
                            wrong += libc::pthread_rwlock_unlock(lock.get());
                        }
                    }
                    wrong
                })
            })
            .collect();
        let wrong: i32 = helpers.into_iter().map(|helper| helper.join()).sum();
        log.note("wrong", wrong);
    }
}

fn rwlock_owners(log: &mut Log) {
    let lock = new_rwlock(0, 0);
    // SAFETY: an initialised lock and readable times.
    unsafe {
        let lock = lock.get();
        log.note("write", libc::pthread_rwlock_wrlock(lock));
        std::thread::sleep(Duration::from_millis(1));
        log.note("read while writing", libc::pthread_rwlock_rdlock(lock));
        log.note("write while writing", libc::pthread_rwlock_wrlock(lock));
        log.note("try", libc::pthread_rwlock_tryrdlock(lock));
    }
    let same = lock.clone();
    let helper = log.help(move || {
        let begun = Instant::now();
        // SAFETY: as above.
        let results = unsafe {
            [
                pthread_rwlock_timedrdlock(same.get(), &after(REAL, 20)),
                pthread_rwlock_timedwrlock(same.get(), &after(REAL, 20)),
            ]
        };
        (results, begun.elapsed() >= Duration::from_millis(40))
    });
    log.note("another in vain", helper.join());
    let same = lock.clone();
    let helper = log.help(move || {
        // SAFETY: as above.
        unsafe {
            let result = pthread_rwlock_timedrdlock(same.get(), &after(REAL, 60_000));
            (result, libc::pthread_rwlock_unlock(same.get()))
        }
    });
    let_it_block();
    // SAFETY: as above.
    log.note("unlock", unsafe { libc::pthread_rwlock_unlock(lock.get()) });
    log.note("another in time", helper.join());
}

fn barrier(log: &mut Log) {
    let barrier: Arc<Shared<libc::pthread_barrier_t>> = Shared::zeroed();
    let null = std::ptr::null();
    // SAFETY: memory for a barrier.
    unsafe {
        log.note(
            "of nobody",
            libc::pthread_barrier_init(barrier.get(), null, 0),
        );
        log.note(
            "of five",
            libc::pthread_barrier_init(barrier.get(), null, 5),
        );
    }
    let arrived = Arc::new(AtomicUsize::new(0));
    let helpers: Vec<_> = (0..5)
        .map(|_| {
            let (barrier, arrived) = (barrier.clone(), arrived.clone());
            log.help(move || {
                let mut serial = 0;
                let mut early = 0;
                for round in 0..50 {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    // SAFETY: an initialised barrier.
                    match unsafe { libc::pthread_barrier_wait(barrier.get()) } {
                        libc::PTHREAD_BARRIER_SERIAL_THREAD => serial += 1,
                        0 => {}
                        _ => early += 1000,
                    }
                    early += usize::from(arrived.load(Ordering::SeqCst) < (round + 1) * 5);
                }
                (serial, early)
            })
        })
        .collect();
    let (serial, early) = helpers
        .into_iter()
        .map(|helper| helper.join())
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    log.note("serial", serial);
    log.note("early", early);
    // SAFETY: nobody waits.
    log.note("destroy", unsafe {
        libc::pthread_barrier_destroy(barrier.get())
    });
}

static RUNS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn initialise() {
    std::thread::sleep(Duration::from_millis(5));
    RUNS.fetch_add(1, Ordering::SeqCst);
}

fn once(log: &mut Log) {
    let control: Arc<Shared<libc::pthread_once_t>> = Shared::zeroed();
    let before = RUNS.load(Ordering::SeqCst);
    let helpers: Vec<_> = (0..8)
        .map(|_| {
            let control = control.clone();
            log.help(move || {
                // SAFETY: zeros are what the initialiser is.
                let result = unsafe { pthread_once(control.get(), initialise) };
                (result, RUNS.load(Ordering::SeqCst))
            })
        })
        .collect();
    for helper in helpers {
        let (result, runs) = helper.join();
        log.note("once", (result, runs - before));
    }
}

fn c11(log: &mut Log) {
    let mutex: Arc<Mutex> = Shared::zeroed();
    let condition = Condition::zeroed();
    // SAFETY: initialised objects and readable times, in all.
    unsafe {
        log.note("init", mtx_init(mutex.get(), 1)); // with a time
        log.note("lock", mtx_lock(mutex.get()));
        let (same, waited) = (mutex.clone(), condition.clone());
        let helper = log.help(move || {
            (
                mtx_trylock(same.get()),
                mtx_timedlock(same.get(), &after(REAL, 10)),
                mtx_lock(same.get()),
                cnd_broadcast(waited.get()),
                mtx_unlock(same.get()),
            )
        });
        let_it_block();
        log.note("wait", cnd_wait(condition.get(), mutex.get()));
        log.note("unlock", mtx_unlock(mutex.get()));
        log.note("helper", helper.join());
    }
}
