//! The cases that each allocator goes through, on goroutines and, the same, on OS threads.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

/// How many run at the same time.
const TASKS: usize = 16;

/// Runs `task` on goroutines, which move between OS threads, and on threads of std; the outcomes are to
/// be the same. Answers that of the goroutines.
fn on_both<T: PartialEq + std::fmt::Debug + Send + 'static>(task: fn(usize) -> T) -> Vec<T> {
    assert_eq!(gaggle::runtime::backend_name(), "green");
    gaggle::runtime::gomaxprocs(Some(3));
    let goroutines: Vec<_> = (0..TASKS)
        .map(|index| gaggle::go(move || task(index)))
        .collect();
    let goroutines: Vec<T> = goroutines
        .into_iter()
        .map(|handle| handle.join().expect("no goroutine panics"))
        .collect();
    let threads: Vec<_> = (0..TASKS)
        .map(|index| std::thread::spawn(move || task(index)))
        .collect();
    let threads: Vec<T> = threads
        .into_iter()
        .map(|handle| handle.join().expect("no thread panics"))
        .collect();
    assert_eq!(goroutines, threads);
    goroutines
}

/// Lets the others run; a goroutine goes on on another OS thread now and then.
fn move_on() {
    if gaggle::id().is_some() {
        gaggle::yield_now();
    } else {
        std::thread::yield_now();
    }
}

#[test]
fn blocks_of_every_size_live_across_moves() {
    let sums = on_both(|index| {
        let mut kept = BTreeMap::new();
        for round in 0..300usize {
            let size = 1 << (round % 18);
            kept.insert(round, vec![(index ^ round) as u8; size + round]);
            move_on();
            if let Some(old) = round.checked_sub(20) {
                let block = kept.remove(&old).expect("it was kept");
                assert!(block.iter().all(|&byte| byte == (index ^ old) as u8));
            }
        }
        kept.values().map(Vec::len).sum::<usize>()
    });
    assert!(sums.iter().all(|sum| *sum == sums[0] && *sum > 0));
}

#[test]
fn blocks_are_freed_on_other_os_threads() {
    let (to_freer, freer) = mpsc::channel::<Vec<usize>>();
    let freed = gaggle::go(move || {
        let mut sum = 0;
        for block in freer {
            sum += block.iter().sum::<usize>();
            gaggle::yield_now();
        }
        sum
    });
    let makers: Vec<_> = (0..TASKS)
        .map(|index| {
            let to_freer = to_freer.clone();
            std::thread::spawn(move || {
                for size in 1..200 {
                    to_freer.send(vec![index; size]).expect("the freer lives");
                }
            })
        })
        .collect();
    drop(to_freer);
    for maker in makers {
        maker.join().expect("no thread panics");
    }
    let expected = (0..TASKS).sum::<usize>() * (1..200).sum::<usize>();
    assert_eq!(freed.join().ok(), Some(expected));
}

#[test]
fn zeroed_and_grown_memory_holds_what_it_must() {
    on_both(|index| {
        let mut total = 0;
        for round in 0..100usize {
            let zeroed = vec![0u64; 1 + (index * 131 + round * 17) % 5_000];
            assert!(zeroed.iter().all(|&word| word == 0));
            let mut grown = Vec::new();
            for value in 0..500u64 {
                grown.push(value);
                grown.shrink_to_fit();
            }
            move_on();
            total += grown.iter().sum::<u64>();
        }
        total
    });
}

#[test]
fn goroutines_come_and_go_by_the_thousand() {
    gaggle::runtime::gomaxprocs(Some(3));
    let sum = Arc::new(Mutex::new(0usize));
    for _ in 0..20 {
        let handles: Vec<_> = (0..500)
            .map(|index: usize| {
                let sum = sum.clone();
                gaggle::go(move || {
                    let text = format!("{index}").repeat(3);
                    *sum.lock().expect("nobody panics") += text.len();
                })
            })
            .collect();
        for handle in handles {
            handle.join().expect("no goroutine panics");
        }
    }
    let digits: usize = (0..500usize).map(|index| format!("{index}").len()).sum();
    assert_eq!(*sum.lock().expect("nobody panics"), digits * 3 * 20);
}

/// An allocator is entered and left with the M's storage: what a goroutine keeps in its own stays.
#[test]
fn errno_and_thread_locals_are_not_the_allocators() {
    std::thread_local! {
        static OWN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }
    on_both(|index| {
        OWN.set(index);
        for round in 0..1_000usize {
            let missing = std::fs::File::open("/nonexistent/name").expect_err("it is not there");
            let errno = missing.raw_os_error();
            // Large enough to be asked of the kernel.
            drop(std::hint::black_box(vec![1u8; 1 << (10 + round % 13)]));
            // On an OS thread an allocator may change it, and mimalloc does.
            if gaggle::id().is_some() {
                assert_eq!(std::io::Error::last_os_error().raw_os_error(), errno);
            }
            assert_eq!(OWN.get(), index);
        }
    });
}

#[test]
fn goroutines_that_are_suspended_while_they_allocate_stop_nobody() {
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..8)
        .map(|_| {
            let stop = stop.clone();
            gaggle::go(move || {
                let mut blocks = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    drop(std::hint::black_box(vec![0u8; 3_000]));
                    blocks += 1;
                }
                blocks
            })
        })
        .collect();
    let before = gaggle::testing::figures().suspensions;
    while gaggle::testing::figures().suspensions < before + 20 {
        // Allocates on this OS thread, too, so that a lock that is never given up stops the test.
        let mut text = String::new();
        let mut source = std::io::repeat(b'x').take(10_000);
        source.read_to_string(&mut text).expect("bytes");
        assert_eq!(text.len(), 10_000);
    }
    stop.store(true, Ordering::Relaxed);
    for hog in hogs {
        assert!(hog.join().is_ok());
    }
}
