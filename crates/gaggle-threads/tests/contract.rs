//! The threads backend keeps the contract, and gives its parkers back.

mod suite;

use gaggle_core::contract::Runtime;
use gaggle_core::task::Ticket;
pub use gaggle_threads::Threads as Backend;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Starts the backend; this one needs no starting.
pub fn begin() {}

#[test]
fn parkers_of_ended_threads_serve_later_threads() {
    const THREADS: usize = 500;
    let mut addresses = HashSet::new();
    for _ in 0..THREADS {
        let address = std::thread::spawn(|| std::ptr::from_ref(Backend::current()).addr());
        addresses.insert(address.join().unwrap());
    }
    // Other tests of this process borrow some at the same time.
    assert!(addresses.len() < THREADS / 2, "{} parkers", addresses.len());
}

#[test]
fn ticket_of_an_ended_thread_cannot_be_claimed_once_its_wait_is_over() {
    for _ in 0..100 {
        let ticket = std::thread::spawn(|| {
            let ticket = Ticket::<Backend>::take();
            assert!(ticket.cancel());
            ticket
        });
        let stale = ticket.join().unwrap();
        // A later thread, with the same parker more likely than not.
        std::thread::spawn(move || {
            let own = Ticket::<Backend>::take();
            assert!(stale.claim(1).is_none());
            assert!(own.cancel());
        })
        .join()
        .unwrap();
    }
}

#[test]
fn set_processors_changes_what_is_answered() {
    let before = gaggle_threads::set_processors(7);
    assert!(before >= 1);
    assert_eq!(gaggle_threads::set_processors(0), 7);
    assert_eq!(Backend::processors(), 1);
}

#[test]
fn wait_in_a_late_tls_destructor_works() {
    struct ParksAtTheEnd(Arc<AtomicBool>);
    impl Drop for ParksAtTheEnd {
        fn drop(&mut self) {
            let ticket = Ticket::<Backend>::take();
            Backend::park_until(ticket, Backend::now() + 1_000);
            self.0.store(true, Ordering::SeqCst);
        }
    }
    thread_local!(static LOCAL: std::cell::Cell<Option<ParksAtTheEnd>> =
        const { std::cell::Cell::new(None) });
    for _ in 0..50 {
        let parked = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&parked);
        std::thread::spawn(move || {
            // Registered before the parker's own destructor, so run after it.
            LOCAL.set(Some(ParksAtTheEnd(flag)));
            Backend::current();
        })
        .join()
        .unwrap();
        assert!(parked.load(Ordering::SeqCst));
    }
}
