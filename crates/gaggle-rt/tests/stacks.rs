//! Stacks of every size, deep recursion beside many small goroutines, and what happens when the kernel
//! has no mapping left for another guard.
#![cfg(green)]
#![allow(missing_docs)]

mod support;

use gaggle_core::contract::{Runtime, SpawnOptions};
use std::hint::black_box;
use std::panic::Location;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use support::{Go, in_child_with};

/// Uses `bytes` of stack and answers how many frames that were.
#[inline(never)]
fn use_stack(bytes: usize) -> usize {
    let frame = black_box([1u8; 4000]);
    let below = match bytes.checked_sub(frame.len() + 96) {
        Some(left) => use_stack(left),
        None => 0,
    };
    below + usize::from(frame[17])
}

const MIB: usize = 1 << 20;

#[test]
fn a_stack_of_any_size_is_as_deep_as_asked_for_as_a_threads_is() {
    for size in [
        0,
        1,
        4096,
        65_536,
        192 << 10,
        MIB,
        3 * MIB,
        16 * MIB,
        256 * MIB,
        1024 * MIB,
    ] {
        // All of a large one would be real memory, more than a test should take.
        let used = (size / 8 * 7).min(128 * MIB);
        let on_goroutine = Go::with_stack(size).run(move || use_stack(used));
        let thread = std::thread::Builder::new().stack_size(size.max(MIB));
        let on_thread = thread.spawn(move || use_stack(used)).expect("a thread");
        assert_eq!(
            on_goroutine,
            on_thread.join().expect("it is deep enough"),
            "{size} bytes"
        );
    }
}

#[test]
fn a_stack_larger_than_a_gibibyte_is_refused() {
    support::start();
    let options = SpawnOptions {
        name: None,
        stack_bytes: Some(1024 * MIB + 1),
        location: Location::caller(),
    };
    let refused = gaggle_rt::Green::spawn(
        options,
        gaggle_core::contract::entry(|| unreachable!("it was refused")),
    );
    let error = refused.expect_err("no stack is that large");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("1 GiB"), "{error}");
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second number is the resident pages") * 4096
}

#[inline(never)]
fn sum_down_from(number: u64) -> u64 {
    let own = black_box([number; 8]);
    if number == 0 {
        return 0;
    }
    sum_down_from(number - 1) + own[black_box(5)]
}

#[test]
fn recursion_of_100_000_frames_works_while_10_000_others_stay_small() {
    const FRAMES: u64 = 100_000;
    const OTHERS: usize = 10_000;
    let others = Arc::new(Barrier::new(OTHERS + 1));
    let before = resident_bytes();
    for _ in 0..OTHERS {
        let others = others.clone();
        Go::new().start(move || {
            others.wait();
            others.wait();
        });
    }
    others.wait();
    let each = resident_bytes().saturating_sub(before) / OTHERS;
    // A page for frames, storage and control block, and what the barrier's wait takes below: the
    // runtime of a test runs other tests at the same time, so there is room for those.
    assert!(each <= 40 << 10, "{each} bytes for each of the small ones");
    let on_goroutine = Go::with_stack(256 * MIB).run(|| sum_down_from(FRAMES));
    let thread = std::thread::Builder::new().stack_size(256 * MIB);
    let on_thread = thread.spawn(|| sum_down_from(FRAMES)).expect("a thread");
    assert_eq!(on_goroutine, FRAMES * (FRAMES + 1) / 2);
    assert_eq!(on_goroutine, on_thread.join().expect("it is deep enough"));
    others.wait();
}

/// Takes all but the kernel's usual number of mappings, where a machine allows more.
fn take_mappings_beyond(usual: usize, max: usize) {
    let count = max.saturating_sub(usual);
    if count == 0 {
        return;
    }
    // SAFETY: a new mapping, wherever the kernel likes.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            count * 4096,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    assert_ne!(base, libc::MAP_FAILED, "address space for the test");
    for page in (0..count).step_by(2) {
        let address = base.wrapping_byte_add(page * 4096);
        // SAFETY: a page of the mapping above, which nobody uses.
        unsafe { libc::mprotect(address, 4096, libc::PROT_READ) };
    }
}

#[test]
fn no_mapping_left_for_a_guard_is_a_fatal_error_that_says_what_to_do() {
    let name = "no_mapping_left_for_a_guard_is_a_fatal_error_that_says_what_to_do";
    let Some(output) = in_child_with(name, &[("GAGGLE_STACK_GUARD", "mprotect")]) else {
        const USUAL: usize = 65_530;
        let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("Linux tells");
        let max = text.trim().parse::<usize>().expect("a number");
        take_mappings_beyond(USUAL, max);
        let (_keep, wait) = mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        for _ in 0..USUAL / 2 {
            let wait = wait.clone();
            Go::with_stack(0).start(move || {
                let _ = wait.lock().map(|wait| wait.recv());
            });
        }
        loop {
            std::thread::park();
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("fatal error: a stack of 256 KiB"), "{said}");
    assert!(said.contains("raise vm.max_map_count"), "{said}");
    assert_eq!(output.status.code(), Some(2), "{said}");
}
