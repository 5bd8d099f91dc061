//! What every backend must do, clause by clause of `gaggle_core::contract` and `gaggle_core::task`.
//!
//! Generic by name: the file that declares this module says which `Backend` is meant and how it
//! `begin`s. The tests run on OS threads and in goroutines alike, since both may call everything.

use super::{Backend, begin};
use gaggle_core::contract::{NEVER, Runtime, SpawnOptions, TIMED_OUT, entry};
use gaggle_core::lock::Lock;
use gaggle_core::task::Ticket;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

const MILLISECOND: u64 = 1_000_000;

fn options() -> SpawnOptions {
    SpawnOptions {
        name: None,
        stack_bytes: None,
        location: Location::caller(),
    }
}

/// Runs `f` in a goroutine and answers what it answers.
fn in_goroutine<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let entry = entry(move || sender.send(f()).unwrap());
    Backend::spawn(options(), entry).unwrap();
    receiver.recv().expect("the goroutine did not end well")
}

/// Runs `check` on an OS thread and in a goroutine.
fn everywhere(check: impl Fn() + Send + Clone + 'static) {
    begin();
    check();
    in_goroutine(check);
}

/// A ticket, and the token to claim it with.
type Order = (Ticket<Backend>, usize);

/// A goroutine that claims the tickets it is sent and readies their tasks, until this is dropped.
///
/// Sending waits by the backend's lock only: whoever has published a ticket must not block in any
/// other way before it parks (T5).
struct Waker {
    orders: Arc<Lock<Vec<Order>, <Backend as Runtime>::Lock>>,
    stopped: Arc<AtomicBool>,
}

impl Waker {
    fn send(&self, order: Order) {
        self.orders.lock().push(order);
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

fn waker() -> Waker {
    let waker = Waker {
        orders: Arc::new(Lock::new(Vec::new())),
        stopped: Arc::new(AtomicBool::new(false)),
    };
    let (orders, stopped) = (Arc::clone(&waker.orders), Arc::clone(&waker.stopped));
    let entry = entry(move || {
        while !stopped.load(Ordering::Relaxed) {
            let order = orders.lock().pop();
            match order.and_then(|(ticket, token)| ticket.claim(token)) {
                Some(claimed) => claimed.ready(),
                None => Backend::yield_now(),
            }
        }
    });
    Backend::spawn(options(), entry).unwrap();
    waker
}

#[test]
fn ready_before_park_is_kept() {
    everywhere(|| {
        for token in 0..100 {
            let ticket = Ticket::<Backend>::take();
            ticket.claim(token).expect("nobody else claims").ready();
            Backend::park();
            assert_eq!(ticket.token(), token);
        }
    });
}

#[test]
fn ready_by_another_task_ends_the_park() {
    everywhere(|| {
        let waker = waker();
        for token in 0..1_000 {
            let ticket = Ticket::take();
            waker.send((ticket, token));
            Backend::park();
            assert_eq!(ticket.token(), token);
        }
    });
}

#[test]
fn what_was_written_before_ready_is_seen_after_park() {
    everywhere(|| {
        let value = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = mpsc::channel::<Ticket<Backend>>();
        let written = Arc::clone(&value);
        let entry = entry(move || {
            for (number, ticket) in receiver.into_iter().enumerate() {
                written.store(number + 1, Ordering::Relaxed);
                ticket.claim(0).expect("nobody else claims").ready();
            }
        });
        Backend::spawn(options(), entry).unwrap();
        for number in 0..1_000 {
            sender.send(Ticket::take()).unwrap();
            Backend::park();
            assert_eq!(value.load(Ordering::Relaxed), number + 1, "C2");
        }
    });
}

#[test]
fn one_of_many_claims_succeeds() {
    everywhere(|| {
        let wakers = [waker(), waker(), waker()];
        for _ in 0..500 {
            let ticket = Ticket::take();
            for (token, waker) in wakers.iter().enumerate() {
                waker.send((ticket, token));
            }
            // A second ready for this wait would end the next park too early, or trip an assertion.
            Backend::park();
            assert!(ticket.token() < wakers.len());
            assert!(!ticket.is_waiting());
        }
    });
}

#[test]
fn cancelled_wait_is_not_readied_and_a_claimed_one_is() {
    everywhere(|| {
        let waker = waker();
        for _ in 0..1_000 {
            let ticket = Ticket::take();
            waker.send((ticket, 1));
            if !ticket.cancel() {
                Backend::park();
                assert_eq!(ticket.token(), 1);
            }
        }
    });
}

#[test]
fn park_until_ends_at_the_deadline_and_says_so() {
    everywhere(|| {
        let deadline = Backend::now() + 3 * MILLISECOND;
        let ticket = Ticket::take();
        Backend::park_until(ticket, deadline);
        assert!(Backend::now() >= deadline);
        assert_eq!(ticket.token(), TIMED_OUT);
        assert!(ticket.claim(0).is_none(), "the deadline claimed it");
    });
}

#[test]
fn park_until_a_deadline_that_has_passed_returns() {
    everywhere(|| {
        for deadline in [0, Backend::now()] {
            let ticket = Ticket::take();
            Backend::park_until(ticket, deadline);
            assert_eq!(ticket.token(), TIMED_OUT);
        }
    });
}

#[test]
fn park_until_ends_early_when_readied() {
    everywhere(|| {
        let waker = waker();
        for (token, deadline) in [NEVER, Backend::now() + 3_600_000 * MILLISECOND]
            .into_iter()
            .enumerate()
        {
            let ticket = Ticket::take();
            waker.send((ticket, token));
            Backend::park_until(ticket, deadline);
            assert_eq!(ticket.token(), token);
        }
    });
}

#[test]
fn deadline_and_claim_race_without_losing_or_doubling_a_ready() {
    everywhere(|| {
        let waker = waker();
        for round in 0..2_000 {
            let ticket = Ticket::take();
            waker.send((ticket, 1));
            Backend::park_until(ticket, Backend::now() + round % 40 * 1_000);
            assert!([1, TIMED_OUT].contains(&ticket.token()));
        }
        // Who wins is the machine's affair; what counts is that every wait ended once.
        let ticket = Ticket::take();
        Backend::park_until(ticket, Backend::now() + MILLISECOND);
        assert_eq!(ticket.token(), TIMED_OUT, "a ready was left over");
    });
}

#[test]
fn deadline_that_comes_after_the_claim_waits_for_the_ready() {
    everywhere(|| {
        let readied = Arc::new(AtomicUsize::new(0));
        for round in 1..=100 {
            let ticket = Ticket::<Backend>::take();
            let claimed = ticket.claim(round).expect("nobody else claims");
            let before = Arc::clone(&readied);
            let entry = entry(move || {
                for _ in 0..10 {
                    Backend::yield_now();
                }
                before.store(round, Ordering::Relaxed);
                claimed.ready();
            });
            Backend::spawn(options(), entry).unwrap();
            Backend::park_until(ticket, 0);
            assert_eq!(readied.load(Ordering::Relaxed), round, "C1");
            assert_eq!(ticket.token(), round);
        }
    });
}

#[test]
fn goroutines_have_distinct_tasks_and_numbers() {
    begin();
    assert_eq!(Backend::current_id(), None);
    let (sender, receiver) = mpsc::channel();
    let mut started: Vec<u64> = (0..50)
        .map(|_| {
            let sender = sender.clone();
            let entry = entry(move || {
                let task = std::ptr::from_ref(Backend::current()).addr();
                Backend::yield_now();
                assert_eq!(task, std::ptr::from_ref(Backend::current()).addr());
                sender
                    .send(Backend::current_id().expect("a goroutine"))
                    .unwrap();
            });
            Backend::spawn(options(), entry).unwrap()
        })
        .collect();
    drop(sender);
    let mut ran: Vec<u64> = receiver.into_iter().collect();
    ran.sort_unstable();
    started.sort_unstable();
    assert_eq!(ran, started);
    started.dedup();
    assert_eq!(started.len(), 50);
}

#[test]
fn clock_never_goes_back() {
    everywhere(|| {
        let mut last = Backend::now();
        for _ in 0..1_000 {
            let now = Backend::now();
            assert!(now >= last);
            last = now;
            Backend::yield_now();
        }
    });
}

#[test]
fn random_numbers_fill_all_64_bits() {
    everywhere(|| {
        let numbers: Vec<u64> = (0..256).map(|_| Backend::random()).collect();
        // The chance that one of 64 fair bits never showed in 256 numbers is below 2^-248.
        assert_eq!(
            numbers.iter().fold(0, |seen, number| seen | number),
            u64::MAX
        );
        assert_eq!(
            numbers
                .iter()
                .fold(u64::MAX, |always, number| always & number),
            0
        );
    });
}

#[test]
fn timer_runs_its_entry_in_a_goroutine_after_its_deadline() {
    everywhere(|| {
        let deadline = Backend::now() + 2 * MILLISECOND;
        let (sender, receiver) = mpsc::channel();
        let entry = entry(move || {
            sender
                .send((Backend::now(), Backend::current_id()))
                .unwrap()
        });
        let timer = Backend::timer_start(deadline, options(), entry);
        let (now, id) = receiver.recv().unwrap();
        assert!(now >= deadline && id.is_some());
        assert!(!Backend::timer_stop(&timer));
    });
}

#[test]
fn timer_that_is_reset_comes_at_its_new_time() {
    everywhere(|| {
        let (sender, receiver) = mpsc::channel();
        let send = entry(move || sender.send(Backend::now()).unwrap());
        let timer = Backend::timer_start(NEVER - 1, options(), send);
        let deadline = Backend::now() + 2 * MILLISECOND;
        assert!(Backend::timer_reset(&timer, deadline));
        assert!(receiver.recv().unwrap() >= deadline);
        assert!(!Backend::timer_reset(&timer, 0) && !Backend::timer_stop(&timer));
    });
}

#[test]
fn timer_that_never_comes_can_be_stopped_once() {
    everywhere(|| {
        let value = Arc::new(());
        let kept = Arc::clone(&value);
        let timer = Backend::timer_start(NEVER, options(), entry(move || drop(kept)));
        assert!(Backend::timer_stop(&timer));
        assert_eq!(
            Arc::strong_count(&value),
            1,
            "a stopped timer drops its entry"
        );
        assert!(!Backend::timer_stop(&timer));
    });
}

#[test]
fn lock_lets_one_in_at_a_time() {
    begin();
    const TASKS: usize = 4;
    const ROUNDS: usize = 5_000;
    let count = Arc::new(Lock::<usize, <Backend as Runtime>::Lock>::new(0));
    let (sender, receiver) = mpsc::channel::<()>();
    for _ in 0..TASKS {
        let (count, sender) = (Arc::clone(&count), sender.clone());
        let entry = entry(move || {
            for _ in 0..ROUNDS {
                // Read and written apart, so that two inside at once would lose an addition.
                let mut count = count.lock();
                let seen = std::hint::black_box(*count);
                *count = seen + 1;
            }
            drop(sender);
        });
        Backend::spawn(options(), entry).unwrap();
    }
    drop(sender);
    receiver.recv().unwrap_err();
    assert_eq!(*count.lock(), TASKS * ROUNDS);
}

#[test]
fn processors_are_one_at_least() {
    begin();
    assert!(Backend::processors() >= 1);
}
