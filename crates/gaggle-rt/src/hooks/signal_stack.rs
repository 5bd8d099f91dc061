//! `sigaltstack`: the alternate signal stack belongs to the OS thread, and an M needs its own
//! ([`crate::alt_stack`]). So what a goroutine asks for is kept for it and answered to it, and its
//! handlers run on the M's, which is larger than most.

use super::set_errno;
use crate::{sched, thread_tls};
use gaggle_sys::call::raw;
use libc::{c_int, c_void, stack_t};
use std::cell::Cell;
use std::ptr::null_mut;

thread_local! {
    /// What the goroutine asked for; null: nothing yet.
    static ASKED: Cell<*mut stack_t> = const { Cell::new(null_mut()) };
}

/// Frees it at the goroutine's end.
unsafe extern "C" fn free_asked(asked: *mut c_void) {
    ASKED.set(null_mut());
    // SAFETY: malloc's, freed once.
    unsafe { libc::free(asked) };
}

/// No alternate stack.
fn none() -> stack_t {
    stack_t {
        ss_sp: null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 0,
    }
}

/// What the kernel says to such a stack: an errno, or 0.
fn refusal(stack: &stack_t) -> c_int {
    /// `SS_AUTODISARM`: off while a handler runs.
    const AUTODISARM: c_int = 1 << 31;
    match stack.ss_flags & !AUTODISARM {
        libc::SS_DISABLE => 0,
        0 | libc::SS_ONSTACK if stack.ss_size < libc::MINSIGSTKSZ => libc::ENOMEM,
        0 | libc::SS_ONSTACK => 0,
        _ => libc::EINVAL,
    }
}

/// `sigaltstack(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigaltstack(new: *const stack_t, old: *mut stack_t) -> c_int {
    let Some(g) = sched::current() else {
        let arguments = [new as usize, old as usize, 0, 0, 0, 0];
        // SAFETY: the caller's contract is the system call's.
        return super::answer_int(unsafe { raw(libc::SYS_sigaltstack, arguments) });
    };
    // SAFETY: the caller's contract: null or readable.
    let new = unsafe { new.as_ref() }.copied();
    let asked = ASKED.get();
    // SAFETY: null, or the goroutine's own memory.
    let before = unsafe { asked.as_ref() }.copied().unwrap_or_else(none);
    if let Some(mut new) = new {
        let errno = refusal(&new);
        if errno != 0 {
            set_errno(errno);
            return -1;
        }
        new.ss_flags &= !libc::SS_ONSTACK;
        if new.ss_flags & libc::SS_DISABLE != 0 {
            new = none();
        }
        if asked.is_null() {
            // SAFETY: malloc may be asked for any size.
            let place = unsafe { libc::malloc(size_of::<stack_t>()) };
            if place.is_null() || !thread_tls::register(g, free_asked, place, null_mut()) {
                // SAFETY: malloc's, or null.
                unsafe { libc::free(place) };
                set_errno(libc::ENOMEM);
                return -1;
            }
            ASKED.set(place.cast());
        }
        // SAFETY: the goroutine's own memory, of this size.
        unsafe { ASKED.get().write(new) };
    }
    if !old.is_null() {
        // SAFETY: the caller's contract: writable.
        unsafe { old.write(before) };
    }
    0
}
