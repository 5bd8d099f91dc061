//! A goroutine that needs more stack than it has ends the process with a report; other faults are
//! handled as before. Each case runs in a child: this program again, with one test and a variable.
#![cfg(green)]
#![allow(missing_docs)]

mod support;

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::Arc;
use support::{Go, c_function, in_child};

fn assert_reported(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    for part in parts {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{said}");
}

#[inline(never)]
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if depth == 0 {
        return frame[0];
    }
    descend(depth - 1) + frame[3]
}

#[test]
fn recursion_without_end_names_goroutine_site_and_remedy() {
    let Some(output) = in_child("recursion_without_end_names_goroutine_site_and_remedy") else {
        Go::named("digger").run(|| black_box(descend(u64::MAX)));
        return;
    };
    assert_reported(
        &output,
        &[
            "fatal error: stack overflow: goroutine ",
            "(\"digger\"), spawned at ",
            "overflow.rs:",
            "has used all of its 1024 KiB stack",
            "Builder::stack_size(2048 * 1024)",
        ],
    );
}

#[test]
fn a_guard_of_the_older_kind_is_reported_too() {
    let name = "a_guard_of_the_older_kind_is_reported_too";
    let Some(output) = support::in_child_with(name, &[("GAGGLE_STACK_GUARD", "mprotect")]) else {
        Go::named("digger").run(|| black_box(descend(u64::MAX)));
        return;
    };
    assert_reported(&output, &["fatal error: stack overflow", "(\"digger\")"]);
}

#[test]
fn recursion_without_end_on_a_thread_is_still_reported_by_std() {
    let Some(output) = in_child("recursion_without_end_on_a_thread_is_still_reported_by_std")
    else {
        support::start();
        let thread = std::thread::spawn(|| black_box(descend(u64::MAX)));
        let _ = thread.join();
        return;
    };
    assert_reported(&output, &["has overflowed its stack"]);
}

#[test]
fn a_larger_stack_is_named_with_its_own_remedy() {
    let Some(output) = in_child("a_larger_stack_is_named_with_its_own_remedy") else {
        Go::with_stack(1 << 30).run(|| black_box(descend(u64::MAX)));
        return;
    };
    assert_reported(
        &output,
        &[
            "has used all of its 1048576 KiB stack",
            "no goroutine can have a larger one",
        ],
    );
}

/// Recursion whose frames are of 24 KiB, of which only the lowest word is touched, without probes.
const BIG_FRAMES: &str = "
    __attribute__((noinline)) long sink(volatile char *p) { return p[0]; }
    long entry(long n) {
        volatile char frame[24 * 1024];
        frame[0] = (char)n;
        long below = n ? entry(n - 1) : 0;
        return below + sink(frame);
    }";

/// The same by `alloca`, 60 KiB at a time.
const BIG_ALLOCA: &str = "
    #include <alloca.h>
    __attribute__((noinline)) long sink(volatile char *p) { return p[0]; }
    long entry(long n) {
        volatile char *frame = alloca((size_t)(60 * 1024 + (n & 1)));
        frame[0] = (char)n;
        long below = n ? entry(n - 1) : 0;
        return below + sink(frame);
    }";

/// Goroutines on both sides of one that overflows, whose stacks must not be reached.
fn overflow_in_c(source: &str) {
    support::start();
    let entry = c_function("entry", source);
    let parked = Arc::new(std::sync::Barrier::new(33));
    for _ in 0..32 {
        let parked = parked.clone();
        Go::new().start(move || {
            parked.wait();
            loop {
                std::thread::park();
            }
        });
    }
    parked.wait();
    Go::named("c").run(move || {
        // SAFETY: `long entry(long)`; that it overflows is what is tested.
        unsafe { entry(1 << 20) }
    });
}

#[test]
fn a_c_frame_of_24_kib_without_probes_does_not_step_over_the_guard() {
    let Some(output) = in_child("a_c_frame_of_24_kib_without_probes_does_not_step_over_the_guard")
    else {
        return overflow_in_c(BIG_FRAMES);
    };
    assert_reported(&output, &["stack overflow", "(\"c\")"]);
}

#[test]
fn an_alloca_of_60_kib_without_probes_does_not_step_over_the_guard() {
    let Some(output) = in_child("an_alloca_of_60_kib_without_probes_does_not_step_over_the_guard")
    else {
        return overflow_in_c(BIG_ALLOCA);
    };
    assert_reported(&output, &["stack overflow", "(\"c\")"]);
}

#[test]
fn a_wild_pointer_on_a_goroutine_is_no_overflow() {
    let Some(output) = in_child("a_wild_pointer_on_a_goroutine_is_no_overflow") else {
        Go::new().run(|| {
            // SAFETY: none: that the process ends by it is what is tested.
            unsafe { std::ptr::without_provenance_mut::<u8>(black_box(8)).write_volatile(1) }
        });
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{said}");
    assert!(!said.contains("stack overflow"), "{said}");
}

#[test]
fn a_signal_that_was_sent_is_not_lost() {
    let Some(output) = in_child("a_signal_that_was_sent_is_not_lost") else {
        // std's handler would take it for a fault, which comes again.
        // SAFETY: the default action calls nothing.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        Go::new().run(|| {
            // SAFETY: only asks.
            let own = unsafe { libc::getpid() };
            // SAFETY: sends a signal to this process.
            unsafe { libc::kill(own, libc::SIGSEGV) };
            loop {
                std::thread::park();
            }
        });
        return;
    };
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV));
}

extern "C" fn say_and_leave(_signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel's own structure.
    let info = unsafe { &*info };
    // SAFETY: a fault has an address.
    let address = unsafe { info.si_addr() } as usize;
    // SAFETY: ends the process.
    unsafe { libc::_exit(if address == 8 { 77 } else { 78 }) };
}

#[test]
fn a_handler_that_was_there_before_gets_what_is_no_overflow() {
    let Some(output) = in_child("a_handler_that_was_there_before_gets_what_is_no_overflow") else {
        // SAFETY: all zeros is an empty mask without flags.
        let mut action = unsafe { std::mem::zeroed::<libc::sigaction>() };
        action.sa_sigaction = say_and_leave as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: the handler has the type that SA_SIGINFO asks for.
        unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut()) };
        Go::new().run(|| {
            // SAFETY: none: the handler ends the process.
            unsafe { std::ptr::without_provenance_mut::<u8>(black_box(8)).write_volatile(1) }
        });
        return;
    };
    assert_eq!(output.status.code(), Some(77));
}
