//! What belongs to a thread, and what threads do with each other.

use super::{Expected, Round};
use crate::random::Random;
use gaggle::chan;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::{Arc, Condvar, Mutex, RwLock, mpsc};
use std::time::{Duration, Instant};

/// Computes for about the given number of microseconds, without a call.
fn compute(microseconds: usize) {
    let mut state = 1u64;
    for _ in 0..microseconds * 500 {
        state = std::hint::black_box(
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        );
    }
}

/// Counts its drop, and panics and catches inside it.
struct Guard<'a>(&'a Cell<u32>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped by the unwinding");
        let inner = catch_unwind(|| panic_any(Expected(1)));
        assert!(inner.is_err_and(|payload| payload.is::<Expected>()));
        self.0.set(self.0.get() + 1);
    }
}

/// Panics through several frames and catches it, with panics inside the destructors.
pub fn panics(_: &mut Random) -> Round {
    fn fall(depth: u32, drops: &Cell<u32>, number: u64) {
        let _guard = Guard(drops);
        if depth == 0 {
            panic_any(Expected(number));
        }
        fall(depth - 1, drops, std::hint::black_box(number));
    }
    Box::new(|random| {
        let number = random.next();
        let drops = Cell::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| fall(9, &drops, number)));
        let payload = caught.expect_err("it panics").downcast::<Expected>();
        assert_eq!(payload.expect("our own payload").0, number);
        assert_eq!(drops.get(), 10, "each frame's destructor ran once");
        assert!(!std::thread::panicking());
    })
}

thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    static LIST: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    static NAME: RefCell<String> = RefCell::new(String::from("begun"));
}

/// Keeps numbers in thread-locals, in errno and in the thread's identity, while it is moved about.
pub fn thread_locals(random: &mut Random) -> Round {
    let own = random.next();
    let identity = std::thread::current().id();
    NUMBER.set(own);
    NAME.with_borrow_mut(|name| *name = own.to_string());
    Box::new(move |random| {
        let errno = 1 + random.below(100) as i32;
        set_errno(errno);
        compute(random.below(600));
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(errno));
        assert_eq!(NUMBER.get(), own, "another goroutine's value");
        NAME.with_borrow(|name| assert_eq!(name.parse(), Ok(own)));
        LIST.with_borrow_mut(|list| {
            list.push(own);
            assert!(list.iter().all(|&value| value == own));
            list.truncate(50);
        });
        assert_eq!(std::thread::current().id(), identity);
        if random.below(4) == 0 {
            gaggle::yield_now();
            assert_eq!(NUMBER.get(), own, "another goroutine's value");
        }
    })
}

fn set_errno(errno: i32) {
    // SAFETY: libc answers the address of the caller's own errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: nobody else uses it.
    unsafe { place.write(errno) };
}

/// Starts goroutines and OS threads and joins them, one of which panics.
pub fn spawn_join(_: &mut Random) -> Round {
    Box::new(|random| {
        let count = 1 + random.below(12) as u64;
        let bad = random.next() % count;
        let handles: Vec<_> = (0..count)
            .map(|number| {
                gaggle::go(move || {
                    if number == bad {
                        panic_any(Expected(number));
                    }
                    (0..10)
                        .map(|_| Box::new(number))
                        .map(|number| *number)
                        .sum::<u64>()
                })
            })
            .collect();
        let ends: Vec<_> = handles
            .into_iter()
            .map(|handle| handle.join().ok())
            .collect();
        for (number, end) in (0..count).zip(ends) {
            assert_eq!(end, (number != bad).then_some(number * 10));
        }
    })
}

/// Sends numbers through channels of ours and of std, and gets each once, in order.
pub fn channels(_: &mut Random) -> Round {
    Box::new(|random| {
        let count = 1 + random.below(20) as u64;
        let (to_first, first) = match random.below(2) {
            0 => chan::unbuffered(),
            _ => chan::bounded(1 + random.below(8)),
        };
        let (to_second, second) = mpsc::sync_channel(random.below(3));
        let relay = gaggle::go(move || {
            for number in first.iter() {
                to_second.send(number + 1u64).expect("the receiver lives");
            }
        });
        let sender = gaggle::go(move || {
            for number in 0..count {
                to_first.send(number).expect("the relay lives");
            }
        });
        assert!(second.iter().eq(1..=count), "lost, doubled or out of order");
        sender.join().expect("the sender ends");
        relay.join().expect("the relay ends");
    })
}

/// Two goroutines take turns by a mutex and a condition variable, beside a lock for reading.
pub fn locks(_: &mut Random) -> Round {
    static SHARED: RwLock<[u64; 4]> = RwLock::new([0; 4]);
    Box::new(|random| {
        let turns = Arc::new((Mutex::new(0u32), Condvar::new()));
        let limit = 2 * (1 + random.below(20) as u32);
        let take = move |turns: &(Mutex<u32>, Condvar), parity: u32| {
            for _ in 0..limit / 2 {
                let turn = turns.0.lock().expect("nobody panics");
                let mut turn = turns
                    .1
                    .wait_while(turn, |turn| *turn % 2 != parity)
                    .expect("as above");
                *turn += 1;
                turns.1.notify_all();
            }
        };
        let partner = {
            let turns = turns.clone();
            gaggle::go(move || take(&turns, 1))
        };
        take(&turns, 0);
        partner.join().expect("the partner ends");
        assert_eq!(*turns.0.lock().expect("as above"), limit);
        if random.below(4) == 0 {
            let mut all = SHARED.write().expect("as above");
            let next = all[0] + 1;
            for one in all.iter_mut() {
                *one = next;
                compute(5);
            }
        }
        let all = SHARED.read().expect("as above");
        assert!(
            all.iter().all(|one| *one == all[0]),
            "read while it was written"
        );
    })
}

/// Sleeps, and never less than it wanted to.
pub fn sleeping(_: &mut Random) -> Round {
    Box::new(|random| {
        let time = Duration::from_micros(random.below(2_000) as u64);
        let started = Instant::now();
        std::thread::sleep(time);
        assert!(started.elapsed() >= time, "woken too early");
        let (_never, silent) = chan::bounded::<u8>(1);
        let started = Instant::now();
        assert!(silent.recv_timeout(time).is_err());
        assert!(started.elapsed() >= time, "timed out too early");
    })
}
