//! The futex call: what std's Mutex, Condvar, RwLock, Once, mpsc, Barrier and park, and parking_lot and
//! crossbeam, wait with.
//!
//! Goroutines wait in the [`wait_table`], other threads in the kernel.
//!
//! - U1: a goroutine enters the table under the bucket's lock after the word was seen there to hold the
//!   expected value.
//! - U2: a waker changes the word first and takes the bucket's lock after, so of a waiter and a waker
//!   either the waiter sees the new value or the waker sees the waiter.
//! - U3: a foreign thread that waits counts itself in the bucket under the lock and then waits in the
//!   kernel, which looks at the word again; a waker that sees the count wakes the kernel's waiters,
//!   too. If it does not see it, the foreign thread took the lock later and sees the new value.
//! - U4: the kernel's waiters may be moved by the kernel to another word, while they are counted at the
//!   first. So the bucket of the other is marked before, for good, and wakers there ask the kernel, too.
//! - U5: goroutines and the kernel's waiters come first by turns: were one side always first, the other would
//!   wait for as long as there is somebody of the first, at a contended lock for ever.
//!
//! Only private futexes; others, and the operations with priority inheritance, are the kernel's.

use super::failure;
use super::wait_table::{self, ANY_BITS, Kind, Outcome};
use crate::sched;
use gaggle_core::contract::{NEVER, Nanos};
use gaggle_sys::call::raw;
use gaggle_sys::clock;
use libc::{c_int, timespec};
use std::sync::atomic::{AtomicU32, Ordering};

/// FUTEX_WAIT on a goroutine.
fn wait(word: &AtomicU32, expected: u32, bits: u32, deadline: Nanos) -> isize {
    let address = word.as_ptr() as usize;
    let outcome = wait_table::wait(address, Kind::Futex, bits, deadline, |_| {
        // SeqCst: U2; the lock orders it after the waker's section if that came first.
        word.load(Ordering::SeqCst) == expected
    });
    match outcome {
        Outcome::Entered => failure(libc::EAGAIN),
        Outcome::TimedOut => failure(libc::ETIMEDOUT),
        Outcome::Woken => 0,
    }
}

/// FUTEX_WAKE (U5). `kernel` makes the call for a number of waiters.
fn wake(address: usize, bits: u32, count: u32, kernel: impl FnOnce(u32) -> isize) -> isize {
    let decide = |list: &mut wait_table::List| {
        if list.is_kernels_turn() {
            return None;
        }
        let woken = list.wake(address, Kind::Futex, bits, count as usize);
        Some((woken, list.has_foreign()))
    };
    let Some((woken, foreign)) = wait_table::with_list(address, decide) else {
        let number = kernel(count).max(0);
        let left = (count as usize).saturating_sub(number as usize);
        let woken =
            wait_table::with_list(address, |list| list.wake(address, Kind::Futex, bits, left));
        let more = woken.len() as isize;
        woken.release();
        return number + more;
    };
    let number = woken.len() as u32;
    woken.release();
    with_more(number, foreign && number < count, || kernel(count - number))
}

/// `number`, and where there may be `more` those that the kernel finds.
fn with_more(number: u32, more: bool, kernel: impl FnOnce() -> isize) -> isize {
    let found = if more { kernel().max(0) } else { 0 };
    number as isize + found
}

/// FUTEX_WAIT on a foreign thread (U3).
fn wait_foreign(address: usize, kernel: impl FnOnce() -> isize) -> isize {
    wait_table::with_list(address, |list| list.foreign += 1);
    let result = kernel();
    wait_table::with_list(address, |list| list.foreign -= 1);
    result
}

/// The deadline of a wait: relative for FUTEX_WAIT, absolute for FUTEX_WAIT_BITSET.
fn deadline(operation: c_int, realtime: bool, time: Option<&timespec>) -> Nanos {
    let Some(time) = time else { return NEVER };
    let nanos = clock::nanos_of(time);
    if operation == libc::FUTEX_WAIT {
        clock::now().saturating_add(nanos)
    } else if realtime {
        super::clocks::from_wall(nanos)
    } else {
        nanos
    }
}

/// A count as the kernel reads it.
fn count_of(value: usize) -> u32 {
    (value as c_int).max(0) as u32
}

/// FUTEX_REQUEUE and FUTEX_CMP_REQUEUE: `expected` is what the first word has to hold.
fn requeue(arguments: [usize; 6], expected: Option<u32>) -> isize {
    let [from, _, wakes, moves, to, _] = arguments;
    let (wakes, moves) = (count_of(wakes), count_of(moves));
    let done = wait_table::requeue(from, to, wakes as usize, moves as usize, || {
        // SAFETY: the hook's caller vouches for an aligned word.
        let word = unsafe { AtomicU32::from_ptr(from as *mut u32) };
        // SeqCst: as in `wait`.
        expected.is_none_or(|expected| word.load(Ordering::SeqCst) == expected)
    });
    let Some((woken, moved, foreign)) = done else {
        return failure(libc::EAGAIN);
    };
    let number = woken.len() as u32;
    woken.release();
    let answered = number + if expected.is_some() { moved as u32 } else { 0 };
    let rest = wakes.saturating_add(moves) - number - moved as u32;
    with_more(answered, foreign && rest > 0, || {
        let mut left = arguments;
        left[2] = wakes.saturating_sub(number) as usize;
        left[3] = moves.saturating_sub(moved as u32) as usize;
        // SAFETY: the hook's caller vouches for the words. U4.
        unsafe { raw(libc::SYS_futex, left) }
    })
}

/// FUTEX_WAKE_OP: changes the second word, wakes at the first, and at the second if its old value says
/// so.
///
/// # Safety
/// As for the system call.
unsafe fn wake_op(arguments: [usize; 6], kernel_wake: impl Fn(usize, u32) -> isize) -> isize {
    let [first, _, count, count_second, second, encoded] = arguments;
    let encoded = encoded as u32;
    // The fields are signed, 12 bits each.
    let argument = (encoded as i32) << 8 >> 20;
    let compared = (encoded as i32) << 20 >> 20;
    let (operation, comparison) = (encoded >> 28, encoded >> 24 & 0xf);
    let argument = if operation & 8 == 0 {
        argument as u32
    } else {
        1u32 << (argument as u32 & 31)
    };
    // SAFETY: the caller's contract: an aligned word.
    let word = unsafe { AtomicU32::from_ptr(second as *mut u32) };
    // SeqCst: U2, before the locks below.
    let old = match operation & 7 {
        0 => word.swap(argument, Ordering::SeqCst),
        1 => word.fetch_add(argument, Ordering::SeqCst),
        2 => word.fetch_or(argument, Ordering::SeqCst),
        3 => word.fetch_and(!argument, Ordering::SeqCst),
        4 => word.fetch_xor(argument, Ordering::SeqCst),
        _ => return failure(libc::ENOSYS),
    } as i32;
    let wakes_second = match comparison {
        0 => old == compared,
        1 => old != compared,
        2 => old < compared,
        3 => old <= compared,
        4 => old > compared,
        5 => old >= compared,
        _ => return failure(libc::ENOSYS),
    };
    let number = wake(first, ANY_BITS, count_of(count), |more| {
        kernel_wake(first, more)
    });
    if !wakes_second {
        return number;
    }
    number
        + wake(second, ANY_BITS, count_of(count_second), |more| {
            kernel_wake(second, more)
        })
}

/// A futex operation; `None`: not one of ours.
///
/// # Safety
/// As for the system call.
pub unsafe fn futex(arguments: [usize; 6]) -> Option<isize> {
    let [address, operation, value, time, _, mask] = arguments;
    let flags = operation as c_int;
    if flags & libc::FUTEX_PRIVATE_FLAG == 0 || crate::plain::is_child() {
        return None;
    }
    let realtime = flags & libc::FUTEX_CLOCK_REALTIME != 0;
    let operation = flags & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    let kernel = |count: usize| {
        let mut changed = arguments;
        changed[2] = count;
        // SAFETY: the caller's contract is the system call's.
        unsafe { raw(libc::SYS_futex, changed) }
    };
    let has_mask = [libc::FUTEX_WAIT_BITSET, libc::FUTEX_WAKE_BITSET].contains(&operation);
    let bits = if has_mask { mask as u32 } else { ANY_BITS };
    match operation {
        _ if bits == 0 || address % 4 != 0 => None, // the kernel's to refuse
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
            if sched::current().is_none() {
                return Some(wait_foreign(address, || kernel(value)));
            }
            // SAFETY: the caller's contract: null or a readable time.
            let time = unsafe { (time as *const timespec).as_ref() };
            if time.is_some_and(|time| !super::sleep::is_valid(time)) {
                return None;
            }
            let deadline = deadline(operation, realtime, time);
            // SAFETY: the caller's contract: an aligned word that lives while somebody waits on it.
            let word = unsafe { AtomicU32::from_ptr(address as *mut u32) };
            Some(wait(word, value as u32, bits, deadline))
        }
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => {
            Some(wake(address, bits, count_of(value), |count| {
                kernel(count as usize)
            }))
        }
        libc::FUTEX_REQUEUE => Some(requeue(arguments, None)),
        libc::FUTEX_CMP_REQUEUE => Some(requeue(arguments, Some(mask as u32))),
        libc::FUTEX_WAKE_OP => {
            // SAFETY: the caller's contract.
            Some(unsafe {
                wake_op(arguments, |address, count| {
                    gaggle_sys::futex::wake_address(address, count) as isize
                })
            })
        }
        _ => None,
    }
}
