//! C's way to keep something per thread: keys with destructors.
#![cfg(unix)]

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

static DESTROYED: AtomicUsize = AtomicUsize::new(0);
static STALE: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn destroy(value: *mut c_void) {
    // SAFETY: every value set under the key was made by `Box::into_raw` and is destroyed once.
    drop(unsafe { Box::from_raw(value.cast::<u64>()) });
    DESTROYED.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" fn never(_value: *mut c_void) {
    STALE.fetch_add(1, Ordering::Relaxed);
}

fn new_key(destructor: unsafe extern "C" fn(*mut c_void)) -> libc::pthread_key_t {
    let mut key = 0;
    // SAFETY: `key` is writable; the destructor takes what is set under the key.
    let failed = unsafe { libc::pthread_key_create(&raw mut key, Some(destructor)) };
    assert_eq!(failed, 0);
    key
}

#[test]
fn destructor_of_a_key_runs_once_for_each_goroutine_that_set_it() {
    let key = new_key(destroy);
    let goroutines = 200;
    let handles: Vec<_> = (0..goroutines)
        .map(|number| {
            gaggle::go(move || {
                let value = Box::into_raw(Box::new(number as u64)).cast::<c_void>();
                // SAFETY: the key lives as long as the process.
                assert_eq!(unsafe { libc::pthread_setspecific(key, value) }, 0);
                gaggle::yield_now();
                // SAFETY: as above.
                assert_eq!(unsafe { libc::pthread_getspecific(key) }, value);
            })
        })
        .collect();
    for handle in handles {
        handle.join().expect("no goroutine panics");
    }
    // The keys' destructors come after those of Rust, which are what `join` waits for.
    while DESTROYED.load(Ordering::Relaxed) < goroutines {
        std::thread::yield_now();
    }
    assert_eq!(DESTROYED.load(Ordering::Relaxed), goroutines);
}

#[test]
fn destructor_of_a_deleted_key_does_not_run() {
    let key = new_key(never);
    let goroutines = 20;
    let all_set = Arc::new(Barrier::new(goroutines + 1));
    let deleted = Arc::new(Barrier::new(goroutines + 1));
    let handles: Vec<_> = (0..goroutines)
        .map(|_| {
            let (all_set, deleted) = (all_set.clone(), deleted.clone());
            gaggle::go(move || {
                let value = std::ptr::from_ref(&STALE).cast::<c_void>();
                // SAFETY: the key exists until all have set their value.
                assert_eq!(unsafe { libc::pthread_setspecific(key, value) }, 0);
                all_set.wait();
                deleted.wait();
            })
        })
        .collect();
    all_set.wait();
    // SAFETY: made above; nobody uses it any more.
    assert_eq!(unsafe { libc::pthread_key_delete(key) }, 0);
    deleted.wait();
    for handle in handles {
        handle.join().expect("no goroutine panics");
    }
    assert_eq!(STALE.load(Ordering::Relaxed), 0);
}
