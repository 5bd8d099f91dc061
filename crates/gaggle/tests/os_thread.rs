//! Goroutines that are bound to their OS thread.
#![cfg(target_os = "linux")]

mod support;

use gaggle::runtime::{lock_os_thread, unlock_os_thread};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// The kernel's name for the OS thread that runs the caller.
fn os_thread() -> PathBuf {
    std::fs::read_link("/proc/thread-self").expect("the kernel knows the thread")
}

/// Runs `body` in a child process with this many processors.
fn with_processors(name: &str, processors: &str, body: impl FnOnce()) {
    if support::is_child(name) {
        body();
    } else {
        let output = support::run_child(name, &[("GAGGLE_MAXPROCS", Some(processors))]);
        assert!(output.status.success(), "{}", support::said(&output));
    }
}

fn join_all<T>(handles: Vec<gaggle::JoinHandle<T>>) -> Vec<T> {
    let join = |handle: gaggle::JoinHandle<T>| handle.join().expect("it does not panic");
    handles.into_iter().map(join).collect()
}

#[test]
fn bound_goroutine_keeps_its_os_thread_for_itself() {
    let name = "bound_goroutine_keeps_its_os_thread_for_itself";
    with_processors(name, "3", || {
        let others = Arc::new(Mutex::new(HashSet::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let bound: Vec<_> = (0..8)
            .map(|_| {
                gaggle::go(|| {
                    lock_os_thread();
                    let mine = os_thread();
                    for round in 0..50 {
                        match round % 3 {
                            0 => std::thread::sleep(Duration::from_micros(50)),
                            1 => gaggle::yield_now(),
                            _ => drop(gaggle::go(os_thread).join()),
                        }
                        assert_eq!(os_thread(), mine);
                    }
                    mine
                })
            })
            .collect();
        let free: Vec<_> = (0..32)
            .map(|_| {
                let (others, stop) = (others.clone(), stop.clone());
                gaggle::go(move || {
                    while !stop.load(Ordering::Relaxed) {
                        others.lock().expect("nobody panics").insert(os_thread());
                        std::thread::sleep(Duration::from_micros(20));
                    }
                })
            })
            .collect();
        let threads: HashSet<_> = join_all(bound).into_iter().collect();
        assert_eq!(threads.len(), 8, "each its own");
        others.lock().expect("nobody panics").clear();
        // Those OS threads ended with their goroutines: nobody comes to run on them.
        for thread in &threads {
            while Path::new("/proc").join(thread).exists() {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
        join_all(free);
        let others = others.lock().expect("nobody panics");
        assert!(others.is_disjoint(&threads), "{others:?} {threads:?}");
    });
}

#[test]
fn locks_are_counted() {
    with_processors("locks_are_counted", "3", || {
        let hogs: Vec<_> = (0..4)
            .map(|_| {
                gaggle::go(|| {
                    for _ in 0..200 {
                        std::thread::sleep(Duration::from_micros(20));
                    }
                })
            })
            .collect();
        let first = gaggle::go(|| {
            unlock_os_thread(); // without a lock: nothing
            for _ in 0..3 {
                lock_os_thread();
            }
            let mine = os_thread();
            for _ in 0..2 {
                unlock_os_thread();
                for _ in 0..20 {
                    std::thread::sleep(Duration::from_micros(20));
                    assert_eq!(os_thread(), mine);
                }
            }
            unlock_os_thread();
            mine
        });
        let thread = first.join().expect("it does not panic");
        if gaggle::runtime::backend_name() == "green" {
            // It was unlocked at its end, so its OS thread goes on to serve others.
            assert!(Path::new("/proc").join(thread).exists());
        }
        join_all(hogs);
    });
}

#[test]
fn a_guard_counts_as_one_lock_and_ends_with_its_drop_or_a_panic() {
    let name = "a_guard_counts_as_one_lock_and_ends_with_its_drop_or_a_panic";
    with_processors(name, "3", || {
        let stays = |thread: &Path| {
            for _ in 0..20 {
                std::thread::sleep(Duration::from_micros(20));
                assert_eq!(os_thread(), thread);
            }
        };
        let bound = gaggle::go(move || {
            let outer = gaggle::lock_os_thread();
            let mine = os_thread();
            let inner = gaggle::lock_os_thread();
            stays(&mine);
            drop(outer);
            stays(&mine);
            let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _third = gaggle::lock_os_thread();
                std::panic::resume_unwind(Box::new(()));
            }));
            assert!(unwound.is_err());
            stays(&mine);
            drop(inner);
            mine
        });
        let thread = bound.join().expect("it does not panic");
        if gaggle::runtime::backend_name() == "green" {
            // It was unlocked at its end, so its OS thread goes on to serve others.
            assert!(Path::new("/proc").join(thread).exists());
        }
    });
}

#[test]
fn bound_goroutines_talk_to_each_other_on_one_processor() {
    let name = "bound_goroutines_talk_to_each_other_on_one_processor";
    with_processors(name, "1", || {
        let (to_b, from_a) = mpsc::channel();
        let (to_a, from_b) = mpsc::channel();
        let a = gaggle::go(move || {
            lock_os_thread();
            for round in 0..500 {
                to_b.send(round).expect("b lives");
                assert_eq!(from_b.recv(), Ok(round + 1));
            }
            os_thread()
        });
        let b = gaggle::go(move || {
            lock_os_thread();
            for _ in 0..500 {
                let round: u32 = from_a.recv().expect("a lives");
                to_a.send(round + 1).expect("a lives");
            }
            os_thread()
        });
        assert_ne!(a.join().expect("no panic"), b.join().expect("no panic"));
    });
}

#[test]
fn bound_goroutines_that_compute_let_others_run() {
    let name = "bound_goroutines_that_compute_let_others_run";
    with_processors(name, "2", || {
        static STOP: AtomicBool = AtomicBool::new(false);
        static RUNNING: AtomicU32 = AtomicU32::new(0);
        let hogs: Vec<_> = (0..4)
            .map(|_| {
                gaggle::go(|| {
                    lock_os_thread();
                    let mine = os_thread();
                    RUNNING.fetch_add(1, Ordering::Relaxed);
                    while !STOP.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                    assert_eq!(os_thread(), mine);
                })
            })
            .collect();
        // All four have run, on two processors, and so does whoever comes after.
        while RUNNING.load(Ordering::Relaxed) < 4 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let free: Vec<_> = (0..4).map(|_| gaggle::go(os_thread)).collect();
        join_all(free);
        STOP.store(true, Ordering::Relaxed);
        join_all(hogs);
    });
}

/// Runs `change` in one goroutine and `look` in that one and in many others, which see what it was like
/// before, also after the first has ended; the first stays on its OS thread.
fn change_stays_with_its_goroutine<T>(change: fn(), look: fn() -> T, changed: T)
where
    T: PartialEq + std::fmt::Debug + Send + Copy + 'static,
{
    let before = gaggle::go(look).join().expect("it does not panic");
    assert_ne!(before, changed);
    let (go_on, wait) = mpsc::channel::<()>();
    let one = gaggle::go(move || {
        change();
        let mine = os_thread();
        for _ in 0..20 {
            std::thread::sleep(Duration::from_micros(50));
            assert_eq!(look(), changed);
        }
        let _ = wait.recv();
        assert_eq!(os_thread(), mine);
        assert_eq!(look(), changed);
    });
    let others = || {
        let look = move || {
            for _ in 0..10 {
                std::thread::sleep(Duration::from_micros(20));
                assert_eq!(look(), before);
            }
        };
        join_all((0..32).map(|_| gaggle::go(look)).collect());
    };
    others();
    drop(go_on);
    one.join().expect("it does not panic");
    others();
}

#[test]
fn what_a_call_does_to_its_thread_is_met_by_no_other_goroutine() {
    let name = "what_a_call_does_to_its_thread_is_met_by_no_other_goroutine";
    with_processors(name, "3", || {
        change_stays_with_its_goroutine(
            || {
                // SAFETY: takes numbers only.
                let failed = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 12_345, 0, 0, 0) };
                assert_eq!(failed, 0);
            },
            // SAFETY: as above.
            || unsafe { libc::prctl(libc::PR_GET_TIMERSLACK, 0, 0, 0, 0) },
            12_345,
        );
        change_stays_with_its_goroutine(
            || {
                // SAFETY: makes the thread nicer, itself only.
                assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 7) }, 0);
            },
            // SAFETY: asks only.
            || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) },
            7,
        );
        change_stays_with_its_goroutine(
            || {
                // SAFETY: the system call takes no pointer.
                let result =
                    unsafe { libc::syscall(libc::SYS_personality, libc::ADDR_NO_RANDOMIZE) };
                assert!(result >= 0);
            },
            // SAFETY: asks only.
            || unsafe { libc::syscall(libc::SYS_personality, 0xffff_ffffu32) as i32 },
            libc::ADDR_NO_RANDOMIZE,
        );
    });
}

#[test]
fn affinity_that_a_goroutine_asks_for_is_its_own() {
    fn processors() -> i32 {
        let mut set = std::mem::MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: the kernel writes the set.
        let result =
            unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
        assert_eq!(result, 0);
        // SAFETY: zeroed, and written by the kernel.
        let set = unsafe { set.assume_init_ref() };
        // SAFETY: as above.
        unsafe { libc::CPU_COUNT(set) }
    }
    fn stay_on_the_first() {
        // SAFETY: a set of zeroes is empty.
        let mut all = unsafe { std::mem::zeroed::<libc::cpu_set_t>() };
        let bytes = size_of::<libc::cpu_set_t>();
        // SAFETY: asks only.
        let own = unsafe { libc::pthread_self() };
        // SAFETY: the set is ours.
        let failed = unsafe { libc::pthread_getaffinity_np(own, bytes, &raw mut all) };
        assert_eq!(failed, 0);
        let first = (0..libc::CPU_SETSIZE as usize)
            // SAFETY: within the set.
            .find(|&number| unsafe { libc::CPU_ISSET(number, &all) })
            .expect("a thread may run somewhere");
        // SAFETY: as above.
        let mut one = unsafe { std::mem::zeroed::<libc::cpu_set_t>() };
        // SAFETY: within the set.
        unsafe { libc::CPU_SET(first, &mut one) };
        // SAFETY: the set is ours.
        let failed = unsafe { libc::pthread_setaffinity_np(own, bytes, &raw const one) };
        assert_eq!(failed, 0);
    }
    let name = "affinity_that_a_goroutine_asks_for_is_its_own";
    if gaggle::runtime::num_cpu() < 2 && !support::is_child(name) {
        println!("skipped: processors: the machine has one");
        return;
    }
    with_processors(name, "3", || {
        stay_on_the_first_is_seen();
        change_stays_with_its_goroutine(stay_on_the_first, processors, 1);
    });
    fn stay_on_the_first_is_seen() {
        let seen = gaggle::go(|| {
            stay_on_the_first();
            processors()
        });
        assert_eq!(seen.join().expect("it does not panic"), 1);
    }
}

#[test]
fn thread_number_is_the_goroutines_own_and_the_kernels_while_it_is_bound() {
    let name = "thread_number_is_the_goroutines_own_and_the_kernels_while_it_is_bound";
    with_processors(name, "3", || {
        fn number() -> i32 {
            // SAFETY: asks only.
            let by_function = unsafe { libc::gettid() };
            // SAFETY: asks only.
            let by_number = unsafe { libc::syscall(libc::SYS_gettid) };
            assert_eq!(i64::from(by_function), by_number);
            by_function
        }
        let all_there = Arc::new(std::sync::Barrier::new(50));
        let numbers = (0..50).map(|_| {
            let all_there = all_there.clone();
            gaggle::go(move || {
                let mine = number();
                all_there.wait();
                for _ in 0..10 {
                    std::thread::sleep(Duration::from_micros(20));
                    assert_eq!(number(), mine);
                }
                mine
            })
        });
        let numbers: HashSet<_> = join_all(numbers.collect()).into_iter().collect();
        assert_eq!(numbers.len(), 50);
        let bound = gaggle::go(|| {
            lock_os_thread();
            let name = os_thread();
            assert_eq!(
                name.file_name().and_then(|name| name.to_str()),
                Some(&*number().to_string())
            );
        });
        bound.join().expect("it does not panic");
    });
}

#[test]
fn name_that_a_goroutine_gives_its_thread_is_its_own() {
    fn name() -> String {
        let mut name = [0; 16];
        // SAFETY: asks only.
        let own = unsafe { libc::pthread_self() };
        // SAFETY: the buffer is ours, of that size.
        let failed = unsafe { libc::pthread_getname_np(own, name.as_mut_ptr(), 16) };
        assert_eq!(failed, 0);
        // SAFETY: filled in by the call.
        let name = unsafe { std::ffi::CStr::from_ptr(name.as_ptr()) };
        name.to_string_lossy().into_owned()
    }
    fn set_name(name: &std::ffi::CStr) -> i32 {
        // SAFETY: asks only.
        let own = unsafe { libc::pthread_self() };
        // SAFETY: a text that ends in a zero byte.
        unsafe { libc::pthread_setname_np(own, name.as_ptr()) }
    }
    let own_name = "name_that_a_goroutine_gives_its_thread_is_its_own";
    with_processors(own_name, "3", || {
        let handles = (0..32).map(|index| {
            gaggle::go(move || {
                assert_eq!(set_name(c"far too long for a name"), libc::ERANGE);
                let mine = std::ffi::CString::new(format!("worker {index}")).expect("no zero byte");
                assert_eq!(set_name(&mine), 0);
                for _ in 0..10 {
                    std::thread::sleep(Duration::from_micros(20));
                    assert_eq!(name(), mine.to_string_lossy());
                }
            })
        });
        join_all(handles.collect());
        let fresh = gaggle::go(name).join().expect("it does not panic");
        assert!(!fresh.starts_with("worker"), "{fresh}");
        let of_thread = std::thread::Builder::new().name("plain".into()).spawn(name);
        assert_eq!(
            of_thread.expect("a thread").join().expect("no panic"),
            "plain"
        );
    });
}

/// libc answers from the area that the kernel keeps for a thread (rseq); a goroutine has none.
#[test]
fn processor_that_runs_a_goroutine_is_asked_of_the_kernel() {
    let name = "processor_that_runs_a_goroutine_is_asked_of_the_kernel";
    with_processors(name, "3", || {
        // SAFETY: a set of zeroes is empty.
        let mut all = unsafe { std::mem::zeroed::<libc::cpu_set_t>() };
        let bytes = size_of::<libc::cpu_set_t>();
        // SAFETY: the kernel writes the set.
        let failed = unsafe { libc::sched_getaffinity(0, bytes, &raw mut all) };
        assert_eq!(failed, 0);
        // SAFETY: within the set.
        let may = |number: &usize| unsafe { libc::CPU_ISSET(*number, &all) };
        for number in (0..libc::CPU_SETSIZE as usize).filter(may) {
            let seen = gaggle::go(move || {
                // SAFETY: as above.
                let mut one = unsafe { std::mem::zeroed::<libc::cpu_set_t>() };
                // SAFETY: within the set.
                unsafe { libc::CPU_SET(number, &mut one) };
                // SAFETY: the set is ours.
                let failed = unsafe { libc::sched_setaffinity(0, bytes, &raw const one) };
                assert_eq!(failed, 0);
                gaggle::yield_now();
                // SAFETY: asks only.
                unsafe { libc::sched_getcpu() }
            });
            assert_eq!(seen.join().expect("it does not panic"), number as i32);
        }
    });
}

#[test]
fn thread_gets_a_lock_that_goroutines_never_stop_wanting() {
    let name = "thread_gets_a_lock_that_goroutines_never_stop_wanting";
    with_processors(name, "2", || {
        let lock = Arc::new(Mutex::new(0u64));
        let stop = Arc::new(AtomicBool::new(false));
        let hold = |lock: &Mutex<u64>| {
            let mut count = lock.lock().expect("nobody panics with it");
            *count += 1;
            // Long enough that the others queue up.
            std::thread::sleep(Duration::from_micros(100));
        };
        let greedy: Vec<_> = (0..8)
            .map(|_| {
                let (lock, stop) = (lock.clone(), stop.clone());
                gaggle::go(move || {
                    while !stop.load(Ordering::Relaxed) {
                        hold(&lock);
                    }
                })
            })
            .collect();
        // The test itself is an OS thread.
        for _ in 0..100 {
            hold(&lock);
        }
        stop.store(true, Ordering::Relaxed);
        join_all(greedy);
    });
}
