//! `syscall(SYS_futex, ..)`: what std's Mutex, Condvar, RwLock, Once, mpsc, Barrier and park, and
//! parking_lot and crossbeam, wait with.
//!
//! - U1: a goroutine that waits is in the list of its word's bucket, put there under the bucket's lock
//!   after the word was seen to hold the expected value.
//! - U2: a waker changes the word first and takes the bucket's lock after, so of a waiter and a waker
//!   either the waiter sees the new value or the waker sees the waiter.
//! - U3: a foreign thread that waits counts itself in the bucket under the lock and then waits in the
//!   kernel, which looks at the word again; a waker that sees the count wakes the kernel's waiters,
//!   too. If it does not see it, the foreign thread took the lock later and sees the new value.
//! - U4: who takes a waiter out of a list claims its ticket under the lock, and a waiter that goes on
//!   without having been taken out takes itself out.
//!
//! Only private futexes; others, and the other operations, are the kernel's.

use super::answer;
use crate::blocking::in_call;
use crate::g::G;
use crate::lock::Lock;
use crate::{Green, sched};
use gaggle_core::contract::{NEVER, Nanos, TIMED_OUT, WaitReason};
use gaggle_core::injector::Batch;
use gaggle_core::lock::Lock as Guarded;
use gaggle_core::task::Ticket;
use gaggle_sys::call::raw;
use gaggle_sys::clock;
use libc::{c_int, c_long, timespec};
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const ANY_BITS: u32 = u32::MAX;
/// The token of a claim by a waker.
const WOKEN: usize = 1;

struct Waiter {
    ticket: Ticket<Green>,
    address: usize,
    bits: u32,
    /// It is in the list. Changed under the lock; read without it to see whether the lock is needed.
    queued: AtomicBool,
    before: Cell<Option<NonNull<Waiter>>>,
    behind: Cell<Option<NonNull<Waiter>>>,
}

/// Who waits on the words of one bucket.
pub struct List {
    first: Option<NonNull<Waiter>>,
    last: Option<NonNull<Waiter>>,
    /// Foreign threads that wait, or are about to, on words of this bucket (U3).
    foreign: u32,
    /// A mutex of this bucket has been used with a condition variable ([`super::mutex`]).
    pub condition: bool,
}

// SAFETY: reached only under the lock; waiters may be touched from any thread there.
unsafe impl Send for List {}

const BUCKETS: usize = 1024;

/// A plain static: what waits for a first use would wait by this very hook.
static TABLE: [Guarded<List, Lock>; BUCKETS] = [const {
    let empty = List {
        first: None,
        last: None,
        foreign: 0,
        condition: false,
    };
    Guarded::from_raw(Lock::unlocked(), empty)
}; BUCKETS];

fn bucket(address: usize) -> &'static Guarded<List, Lock> {
    // Fibonacci hashing: Knuth, TAOCP volume 3, section 6.4.
    let hash = (address as u64 >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &TABLE[(hash >> (64 - BUCKETS.ilog2())) as usize]
}

impl List {
    fn push(&mut self, waiter: &Waiter) {
        let link = NonNull::from(waiter);
        waiter.before.set(self.last);
        match self.last.replace(link) {
            // SAFETY: U1, U4: a waiter in the list lives.
            Some(last) => unsafe { last.as_ref() }.behind.set(Some(link)),
            None => self.first = Some(link),
        }
        // Relaxed: under the lock.
        waiter.queued.store(true, Ordering::Relaxed);
    }

    fn remove(&mut self, waiter: &Waiter) {
        let (before, behind) = (waiter.before.take(), waiter.behind.take());
        match before {
            // SAFETY: U1, U4.
            Some(before) => unsafe { before.as_ref() }.behind.set(behind),
            None => self.first = behind,
        }
        match behind {
            // SAFETY: U1, U4.
            Some(behind) => unsafe { behind.as_ref() }.before.set(before),
            None => self.last = before,
        }
        // Relaxed: under the lock; whoever is woken by the claim that follows sees it.
        waiter.queued.store(false, Ordering::Relaxed);
    }

    /// Takes out and claims at most `count` waiters on `address`, the longest waiting first.
    fn wake(&mut self, address: usize, bits: u32, count: usize) -> Batch<G> {
        let mut woken = Batch::new();
        let mut at = self.first;
        while let Some(waiter) = at.filter(|_| woken.len() < count) {
            // SAFETY: U1, U4.
            let waiter = unsafe { waiter.as_ref() };
            at = waiter.behind.get();
            if waiter.address != address || waiter.bits & bits == 0 {
                continue;
            }
            self.remove(waiter);
            if let Some(claimed) = waiter.ticket.claim(WOKEN) {
                // SAFETY: only goroutines are in the lists.
                let g = unsafe { G::of(claimed.into_task()) };
                g.wait.set(WaitReason::Runnable);
                // SAFETY: claiming made this thread the goroutine's holder; it waits in no list.
                unsafe { woken.push_back(NonNull::from(g)) };
            }
        }
        woken
    }
}

/// Parks `g` on `address` until it is woken there, unless `enters`, called under the bucket's lock,
/// says that it need not wait (U1).
pub fn park_on(g: &'static G, address: usize, enters: impl FnOnce(&mut List) -> bool) {
    let waiter = Waiter::new(Ticket::of(g.as_task()), address, ANY_BITS);
    {
        let mut list = bucket(address).lock();
        if !enters(&mut list) {
            waiter.ticket.unused();
            return;
        }
        list.push(&waiter);
    }
    g.wait.begin(WaitReason::Mutex);
    sched::park(g);
    waiter.leave();
}

/// Wakes at most `count` goroutines that wait on `address`; `change` is called under the lock first.
pub fn wake_on(address: usize, count: usize, change: impl FnOnce(&mut List)) {
    if crate::plain::is_child() {
        return;
    }
    let woken = {
        let mut list = bucket(address).lock();
        change(&mut list);
        list.wake(address, ANY_BITS, count)
    };
    ready(woken);
}

impl Waiter {
    fn new(ticket: Ticket<Green>, address: usize, bits: u32) -> Self {
        Waiter {
            ticket,
            address,
            bits,
            queued: AtomicBool::new(false),
            before: Cell::new(None),
            behind: Cell::new(None),
        }
    }

    /// Takes itself out of the list, if nobody has (U4); whether it was still in.
    fn leave(&self) -> bool {
        // Relaxed: a waker takes a waiter out before it claims the ticket, and the claim happened
        // before this; if the wait ended otherwise, the lock decides.
        if !self.queued.load(Ordering::Relaxed) {
            return false;
        }
        let mut list = bucket(self.address).lock();
        let queued = self.queued.load(Ordering::Relaxed);
        if queued {
            list.remove(self);
        }
        queued
    }
}

/// FUTEX_WAIT on a goroutine.
fn wait(g: &'static G, word: &AtomicU32, expected: u32, bits: u32, deadline: Nanos) -> isize {
    let address = word.as_ptr() as usize;
    let ticket = Ticket::of(g.as_task());
    let waiter = Waiter::new(ticket, address, bits);
    {
        let mut list = bucket(address).lock();
        // SeqCst: U2; the lock orders it after the waker's section if that came first.
        if word.load(Ordering::SeqCst) != expected {
            ticket.unused();
            return super::failure(libc::EAGAIN);
        }
        list.push(&waiter);
    }
    g.wait.begin(WaitReason::Futex);
    sched::park_until(g, ticket, deadline);
    let was_queued = waiter.leave();
    if was_queued && deadline != NEVER && ticket.token() == TIMED_OUT {
        return super::failure(libc::ETIMEDOUT);
    }
    0
}

/// FUTEX_WAKE: goroutines first, then the kernel's waiters. `kernel` makes the call for `count` more.
fn wake(address: usize, bits: u32, count: u32, kernel: impl FnOnce(u32) -> isize) -> isize {
    let (woken, foreign) = {
        let mut list = bucket(address).lock();
        let woken = list.wake(address, bits, count as usize);
        (woken, list.foreign > 0)
    };
    let number = woken.len() as u32;
    ready(woken);
    if foreign && number < count {
        let more = kernel(count - number);
        return if more > 0 {
            more + number as isize
        } else {
            number as isize
        };
    }
    number as isize
}

/// Readies one goroutine to run next, or several behind others.
fn ready(mut woken: Batch<G>) {
    if woken.len() == 1 {
        if let Some(g) = woken.pop_front() {
            sched::ready(crate::g::from_link(g));
        }
    } else {
        sched::ready_batch(woken);
    }
}

/// FUTEX_WAIT on a foreign thread (U3).
fn wait_foreign(address: usize, kernel: impl FnOnce() -> isize) -> isize {
    bucket(address).lock().foreign += 1;
    let result = kernel();
    bucket(address).lock().foreign -= 1;
    result
}

/// The deadline of a wait: relative for FUTEX_WAIT, absolute for FUTEX_WAIT_BITSET.
fn deadline(operation: c_int, realtime: bool, time: Option<&timespec>) -> Nanos {
    let Some(time) = time else { return NEVER };
    let nanos = clock::nanos_of(time);
    if operation == libc::FUTEX_WAIT {
        clock::now().saturating_add(nanos)
    } else if realtime {
        clock::now().saturating_add(nanos.saturating_sub(clock::wall()))
    } else {
        nanos
    }
}

/// A futex operation; `None`: not one of ours.
///
/// # Safety
/// As for the system call.
unsafe fn futex(arguments: [usize; 6]) -> Option<isize> {
    if crate::plain::is_child() {
        return None;
    }
    let [address, operation, value, time, _, mask] = arguments;
    let flags = operation as c_int;
    if flags & libc::FUTEX_PRIVATE_FLAG == 0 {
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
    match operation {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
            let bits = if operation == libc::FUTEX_WAIT {
                ANY_BITS
            } else {
                mask as u32
            };
            let Some(g) = sched::current() else {
                return Some(wait_foreign(address, || kernel(value)));
            };
            // SAFETY: the caller's contract: null or a readable time.
            let time = unsafe { (time as *const timespec).as_ref() };
            let deadline = deadline(operation, realtime, time);
            // SAFETY: the caller's contract: an aligned word that lives while somebody waits on it.
            let word = unsafe { AtomicU32::from_ptr(address as *mut u32) };
            Some(wait(g, word, value as u32, bits, deadline))
        }
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => {
            let bits = if operation == libc::FUTEX_WAKE {
                ANY_BITS
            } else {
                mask as u32
            };
            let count = (value as c_int).max(0) as u32;
            Some(wake(address, bits, count, |count| kernel(count as usize)))
        }
        _ => None,
    }
}

/// `syscall(2)`: libc's function for any system call.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    let arguments = [a, b, c, d, e, f];
    // SAFETY: the caller's contract is the system call's.
    let call = || unsafe { raw(number, arguments) };
    let result = if number == libc::SYS_futex {
        // SAFETY: the caller's contract.
        unsafe { futex(arguments) }.unwrap_or_else(|| in_call(call))
    } else {
        call()
    };
    answer(result) as c_long
}
