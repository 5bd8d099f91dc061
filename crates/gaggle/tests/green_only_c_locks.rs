//! Locks, condition variables, semaphores, barriers and joins of C park goroutines, and threads that are
//! none use the same objects at the same time.
//!
//! What they answer is compared with threads in `libc_calls`; here it is how many OS threads they cost,
//! which the threads backend has nothing to say about.
#![cfg(target_os = "linux")]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "sequences of C's calls on the same objects, for one reason, given above the block"
)]

mod support;

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `body` on the green backend with two processors, in a child process.
fn on_two_processors(name: &str, body: impl FnOnce()) {
    if support::is_child(name) {
        assert_eq!(gaggle::runtime::backend_name(), "green");
        body();
    } else if gaggle::runtime::backend_name() == "green" {
        let output = support::run_child(name, &[("GAGGLE_MAXPROCS", Some("2"))]);
        assert!(output.status.success(), "{}", support::said(&output));
    }
}

/// How many OS threads this process has.
fn os_threads() -> usize {
    std::fs::read_dir("/proc/self/task")
        .expect("Linux lists the threads")
        .count()
}

/// An object of C that several use, made of zeros.
struct Shared<T>(UnsafeCell<MaybeUninit<T>>);
// SAFETY: the objects are used through libc's functions only, which any thread may call.
unsafe impl<T> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    fn zeroed() -> Arc<Shared<T>> {
        Arc::new(Shared(UnsafeCell::new(MaybeUninit::zeroed())))
    }

    fn get(&self) -> *mut T {
        self.0.get().cast()
    }
}

type Mutex = Shared<libc::pthread_mutex_t>;
type Condition = Shared<libc::pthread_cond_t>;

/// How many goroutines wait in each test.
const WAITERS: usize = 200;

/// Starts goroutines that count themselves and then `wait`; when all have counted, lets others run until
/// they must be waiting, looks how many OS threads there are, and calls `release`.
fn park_all(wait: impl Fn() + Clone + Send + 'static, release: impl FnOnce()) {
    let begun = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = (0..WAITERS)
        .map(|_| {
            let (wait, begun) = (wait.clone(), begun.clone());
            gaggle::go(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                wait();
            })
        })
        .collect();
    while begun.load(Ordering::SeqCst) < WAITERS {
        std::thread::yield_now();
    }
    let threads = os_threads();
    release();
    for handle in handles {
        handle.join().expect("no goroutine panics");
    }
    assert!(threads < 30, "{threads} OS threads for {WAITERS} that wait");
}

#[test]
fn waiting_for_a_condition_variable_costs_no_os_thread() {
    on_two_processors(
        "waiting_for_a_condition_variable_costs_no_os_thread",
        || {
            let (mutex, condition) = (Mutex::zeroed(), Condition::zeroed());
            let go = Arc::new(AtomicUsize::new(0));
            let (own, waited, told) = (mutex.clone(), condition.clone(), go.clone());
            let wait = move || {
                // SAFETY: initialised objects; the mutex is held while it waits.
                unsafe {
                    libc::pthread_mutex_lock(own.get());
                    while told.load(Ordering::SeqCst) == 0 {
                        libc::pthread_cond_wait(waited.get(), own.get());
                    }
                    libc::pthread_mutex_unlock(own.get());
                }
            };
            // The main thread, which is no goroutine, wakes them.
            park_all(wait, || unsafe {
                // SAFETY: as above.
                libc::pthread_mutex_lock(mutex.get());
                go.store(1, Ordering::SeqCst);
                libc::pthread_cond_broadcast(condition.get());
                libc::pthread_mutex_unlock(mutex.get());
            });
        },
    );
}

#[test]
fn waiting_for_a_semaphore_costs_no_os_thread() {
    on_two_processors("waiting_for_a_semaphore_costs_no_os_thread", || {
        let semaphore: Arc<Shared<libc::sem_t>> = Shared::zeroed();
        // SAFETY: memory for a semaphore.
        assert_eq!(unsafe { libc::sem_init(semaphore.get(), 0, 0) }, 0);
        let own = semaphore.clone();
        // SAFETY: an initialised semaphore.
        let wait = move || assert_eq!(unsafe { libc::sem_wait(own.get()) }, 0);
        park_all(wait, || {
            for _ in 0..WAITERS {
                // SAFETY: as above.
                assert_eq!(unsafe { libc::sem_post(semaphore.get()) }, 0);
            }
        });
        // SAFETY: as above.
        assert_eq!(unsafe { libc::sem_trywait(semaphore.get()) }, -1);
    });
}

#[test]
fn waiting_for_a_read_write_lock_costs_no_os_thread() {
    on_two_processors("waiting_for_a_read_write_lock_costs_no_os_thread", || {
        let lock: Arc<Shared<libc::pthread_rwlock_t>> = Shared::zeroed();
        // SAFETY: zeros are an unlocked lock, in all.
        assert_eq!(unsafe { libc::pthread_rwlock_wrlock(lock.get()) }, 0);
        let own = lock.clone();
        let turn = AtomicUsize::new(0);
        let turn = Arc::new(turn);
        let wait = move || {
            let writes = turn.fetch_add(1, Ordering::SeqCst).is_multiple_of(4);
            // SAFETY: as above; given up by who took it.
            unsafe {
                if writes {
                    assert_eq!(libc::pthread_rwlock_wrlock(own.get()), 0);
                } else {
                    assert_eq!(libc::pthread_rwlock_rdlock(own.get()), 0);
                }
                assert_eq!(libc::pthread_rwlock_unlock(own.get()), 0);
            }
        };
        park_all(wait, || {
            // SAFETY: as above.
            assert_eq!(unsafe { libc::pthread_rwlock_unlock(lock.get()) }, 0);
        });
    });
}

#[test]
fn waiting_at_a_barrier_costs_no_os_thread() {
    on_two_processors("waiting_at_a_barrier_costs_no_os_thread", || {
        let barrier: Arc<Shared<libc::pthread_barrier_t>> = Shared::zeroed();
        let count = WAITERS as u32 + 1;
        // SAFETY: memory for a barrier.
        let made = unsafe { libc::pthread_barrier_init(barrier.get(), std::ptr::null(), count) };
        assert_eq!(made, 0);
        let own = barrier.clone();
        let wait = move || {
            // SAFETY: an initialised barrier.
            unsafe { libc::pthread_barrier_wait(own.get()) };
        };
        // The main thread is the last to arrive.
        park_all(wait, || unsafe {
            // SAFETY: as above.
            libc::pthread_barrier_wait(barrier.get());
        });
    });
}

#[test]
fn joining_a_thread_costs_no_further_os_thread() {
    on_two_processors("joining_a_thread_costs_no_further_os_thread", || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let reader = Arc::new(reader);
        let before = os_threads();
        let handles: Vec<_> = (0..40)
            .map(|_| {
                let reader = reader.clone();
                let thread = std::thread::spawn(move || {
                    use std::io::Read;
                    (&*reader).read(&mut [0; 1]).expect("its end comes")
                });
                gaggle::go(move || thread.join().expect("it does not panic"))
            })
            .collect();
        for _ in 0..100 {
            std::thread::yield_now();
        }
        let added = os_threads() - before;
        drop(writer);
        for handle in handles {
            assert_eq!(handle.join().expect("it does not panic"), 0);
        }
        assert!(
            added < 40 + 15,
            "{added} OS threads for 40 threads and 40 joins"
        );
    });
}

#[test]
fn goroutines_and_threads_hand_work_to_each_other() {
    on_two_processors("goroutines_and_threads_hand_work_to_each_other", || {
        let (mutex, condition) = (Mutex::zeroed(), Condition::zeroed());
        let items = Arc::new(AtomicUsize::new(0));
        let taken = Arc::new(AtomicUsize::new(0));
        let rounds = 500;
        let make = |mutex: Arc<Mutex>, condition: Arc<Condition>, items: Arc<AtomicUsize>| {
            move || {
                for _ in 0..rounds {
                    // SAFETY: initialised objects.
                    unsafe {
                        libc::pthread_mutex_lock(mutex.get());
                        items.fetch_add(1, Ordering::SeqCst);
                        libc::pthread_mutex_unlock(mutex.get());
                        libc::pthread_cond_signal(condition.get());
                    }
                }
            }
        };
        let take = |mutex: Arc<Mutex>,
                    condition: Arc<Condition>,
                    items: Arc<AtomicUsize>,
                    taken: Arc<AtomicUsize>| {
            move || {
                for _ in 0..rounds {
                    // SAFETY: initialised objects; the mutex is held while it waits.
                    unsafe {
                        libc::pthread_mutex_lock(mutex.get());
                        while items.load(Ordering::SeqCst) == 0 {
                            libc::pthread_cond_wait(condition.get(), mutex.get());
                        }
                        items.fetch_sub(1, Ordering::SeqCst);
                        libc::pthread_mutex_unlock(mutex.get());
                    }
                    taken.fetch_add(1, Ordering::SeqCst);
                }
            }
        };
        let mut goroutines = Vec::new();
        let mut threads = Vec::new();
        for _ in 0..4 {
            let (m, c, i, t) = (&mutex, &condition, &items, &taken);
            goroutines.push(gaggle::go(make(m.clone(), c.clone(), i.clone())));
            threads.push(std::thread::spawn(make(m.clone(), c.clone(), i.clone())));
            goroutines.push(gaggle::go(take(m.clone(), c.clone(), i.clone(), t.clone())));
            let take = take(m.clone(), c.clone(), i.clone(), t.clone());
            threads.push(std::thread::spawn(take));
        }
        for goroutine in goroutines {
            goroutine.join().expect("it does not panic");
        }
        for thread in threads {
            thread.join().expect("it does not panic");
        }
        assert_eq!(taken.load(Ordering::SeqCst), 8 * rounds);
        assert_eq!(items.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_thread_that_waits_since_before_the_runtime_is_woken_by_a_goroutine() {
    let name = "a_thread_that_waits_since_before_the_runtime_is_woken_by_a_goroutine";
    if !support::is_child(name) {
        let output = support::run_child(name, &[("GAGGLE_MAXPROCS", Some("2"))]);
        assert!(output.status.success(), "{}", support::said(&output));
        return;
    }
    let (mutex, condition) = (Mutex::zeroed(), Condition::zeroed());
    let state = Arc::new(AtomicUsize::new(0));
    let (own, waited, told) = (mutex.clone(), condition.clone(), state.clone());
    let thread = std::thread::spawn(move || {
        // SAFETY: initialised objects; the mutex is held while it waits.
        unsafe {
            libc::pthread_mutex_lock(own.get());
            told.store(1, Ordering::SeqCst);
            while told.load(Ordering::SeqCst) == 1 {
                libc::pthread_cond_wait(waited.get(), own.get());
            }
            libc::pthread_mutex_unlock(own.get());
        }
    });
    while state.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    // Only now does the runtime start.
    gaggle::go(move || {
        // SAFETY: as above.
        unsafe {
            libc::pthread_mutex_lock(mutex.get());
            state.store(2, Ordering::SeqCst);
            libc::pthread_cond_signal(condition.get());
            libc::pthread_mutex_unlock(mutex.get());
        }
    })
    .join()
    .expect("it does not panic");
    thread.join().expect("it does not panic");
}
