//! Memory of stacks that were deep once goes back to the kernel, and nothing that is in use does.
#![cfg(green)]
#![allow(missing_docs)]

mod support;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;
use support::Go;

/// Writes `kib` KiB of stack, deeper with every frame, and answers the lowest address that it wrote.
#[inline(never)]
fn deep(kib: usize) -> usize {
    let frame = black_box([kib as u8; 1024]);
    let here = frame.as_ptr() as usize;
    let lowest = if kib > 0 { deep(kib - 1) } else { here };
    black_box(&frame);
    lowest
}

/// How many of the pages of `[address, address + bytes)` are there.
fn resident_pages(address: usize, bytes: usize) -> usize {
    let base = address & !4095;
    let mut pages = vec![0u8; (address + bytes - base).div_ceil(4096)];
    let start = std::ptr::with_exposed_provenance_mut(base);
    // SAFETY: the kernel writes a byte a page of the range, for which there is room.
    let result = unsafe { libc::mincore(start, address + bytes - base, pages.as_mut_ptr()) };
    assert_eq!(result, 0, "the range is mapped");
    pages.iter().filter(|&&page| page & 1 != 0).count()
}

/// Waits until `done`; how long is the giver's business, for ever a failure of the test's caller.
fn until(done: impl Fn() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_parked_goroutine_no_longer_uses_goes_and_what_it_uses_stays() {
    const KIB: usize = 512;
    let (say, hear) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let (end, ended) = mpsc::channel();
    Go::new().start(move || {
        let kept = black_box([0xa5u8; 8192]);
        say.send(deep(KIB)).expect("the test hears");
        wait.recv().expect("the test lets it go on");
        let intact = black_box(&kept).iter().all(|&byte| byte == 0xa5);
        deep(KIB);
        end.send(intact).expect("the test hears");
    });
    let lowest = hear.recv().expect("it says where it was");
    let bytes = (KIB - 64) << 10;
    until(|| resident_pages(lowest, bytes) == 0);
    go_on.send(()).expect("it waits");
    assert!(
        ended.recv().expect("it ends"),
        "what is above the stack pointer is as it was"
    );
}

#[test]
fn slots_that_nobody_needs_lose_their_memory_and_work_afterwards() {
    const COUNT: usize = 300;
    const STACK: usize = 1 << 20; // larger than the default: processors keep none of these
    let lowest: Vec<usize> = {
        let together = Arc::new(Barrier::new(COUNT));
        let (say, hear) = mpsc::channel();
        for _ in 0..COUNT {
            let (say, together) = (say.clone(), together.clone());
            Go::with_stack(STACK).start(move || {
                together.wait();
                say.send(deep(256)).expect("the test hears");
            });
        }
        drop(say);
        hear.iter().collect()
    };
    assert_eq!(lowest.len(), COUNT);
    let pages = || -> usize {
        let resident = |&lowest: &usize| resident_pages(lowest, 192 << 10);
        lowest.iter().map(resident).sum()
    };
    until(|| pages() == 0);
    let (say, hear) = mpsc::channel();
    for _ in 0..COUNT {
        let say = say.clone();
        Go::with_stack(STACK).start(move || say.send(deep(256)).expect("the test hears"));
    }
    drop(say);
    assert_eq!(hear.iter().count(), COUNT);
}

/// Goroutines that rest for random times around the giver's pause, with a pattern on their stacks that
/// is written after each rest, just where the giver may be at work.
#[test]
fn goroutines_that_wake_while_their_stacks_are_given_back_lose_nothing() {
    #[inline(never)]
    fn pattern(depth: usize, seed: u64) -> u64 {
        let mut frame = [0u64; 64];
        for (index, word) in frame.iter_mut().enumerate() {
            *word = seed ^ (depth * 64 + index) as u64;
        }
        black_box(&mut frame);
        let below = if depth > 0 {
            pattern(depth - 1, seed)
        } else {
            0
        };
        let wrong = frame
            .iter()
            .enumerate()
            .filter(|&(index, &word)| word != seed ^ (depth * 64 + index) as u64)
            .count();
        below + wrong as u64
    }
    let wrong = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (say, hear) = mpsc::channel::<()>();
    const COUNT: u64 = 2000;
    for number in 0..COUNT {
        let (wrong, stop, say) = (wrong.clone(), stop.clone(), say.clone());
        Go::new().start(move || {
            let mut state = number + 1;
            for _ in 0..4 {
                wrong.fetch_add(pattern(40, state) as usize, Ordering::Relaxed);
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                std::thread::sleep(Duration::from_micros(900_000 + (state >> 44)));
            }
            say.send(()).expect("the test hears");
        });
    }
    drop(say);
    assert_eq!(hear.iter().count() as u64, COUNT);
    assert_eq!(wrong.load(Ordering::Relaxed), 0, "words that changed");
    stop.store(true, Ordering::Relaxed);
}
