//! Signals to goroutines that carry something, or of which each counts: real-time ones, and those with a value.
//!
//! The bit in a goroutine's record (S2 of [`super::signal`]) says that a signal is pending; what is known of it
//! is here, in the order of sending. Nothing is allocated: a handler of the program may send.
//!
//! - U1: while the lock is free a goroutine that has entries of a signal has its bit set; of a real-time signal
//!   the bit is cleared with the last entry.
//! - U2: whoever holds the lock has all signals blocked, so that no handler on the same thread waits for it; and
//!   a goroutine does not leave its OS thread before they are let through again.
//! - U3: where there is no room, a signal with a value is refused, as the kernel does at its own limit
//!   (`RLIMIT_SIGPENDING`); one without becomes one with those of its number that are pending.

use crate::g::G;
use crate::preempt::Section;
use gaggle_core::lock::{Lock as Guarded, LockGuard};
use gaggle_sys::signal::{self, Set, only};
use libc::{c_int, siginfo_t};
use std::ops::{Deref, DerefMut};
use std::ptr::null;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many can be pending in the whole process.
const ENTRIES_MAX: usize = 1024;

/// One pending signal.
#[derive(Clone, Copy)]
struct Entry {
    to: *const G,
    signal: c_int,
    value: Option<usize>,
}

/// What is pending, the oldest first.
struct Queue {
    entries: [Entry; ENTRIES_MAX],
    len: usize,
}

// SAFETY: the pointers are compared, and never followed.
unsafe impl Send for Queue {}

static QUEUE: Guarded<Queue, crate::lock::Lock> = Guarded::from_raw(
    crate::lock::Lock::unlocked(),
    Queue {
        entries: [Entry {
            to: null(),
            signal: 0,
            value: None,
        }; ENTRIES_MAX],
        len: 0,
    },
);

/// How many entries there are, for a look without the lock.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The queue, with all signals blocked (U2).
struct Locked {
    queue: Option<LockGuard<'static, Queue, crate::lock::Lock>>,
    mask: Set,
    /// Ends after the rest, at which the goroutine may go on elsewhere.
    _section: Section,
}

fn lock() -> Locked {
    let section = Section::enter();
    let mask = signal::set_mask(!(only(libc::SIGSEGV) | only(libc::SIGBUS)));
    Locked {
        queue: Some(QUEUE.lock()),
        mask,
        _section: section,
    }
}

impl Deref for Locked {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        self.queue.as_ref().expect("taken by `drop` only")
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Queue {
        self.queue.as_mut().expect("taken by `drop` only")
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.queue = None;
        signal::set_mask(self.mask);
    }
}

impl Queue {
    /// Takes the oldest entry of `signal` for `to`; the answer's second half: there are more.
    fn take(&mut self, to: *const G, signal: c_int) -> (Option<Entry>, bool) {
        let is_one = |entry: &Entry| entry.to == to && entry.signal == signal;
        let Some(first) = self.entries[..self.len].iter().position(is_one) else {
            return (None, false);
        };
        let entry = self.entries[first];
        self.entries.copy_within(first + 1..self.len, first);
        self.len -= 1;
        let has_more = self.entries[first..self.len].iter().any(is_one);
        // Relaxed: a hint; who must find an entry has seen its bit, which was set after.
        COUNT.store(self.len, Ordering::Relaxed);
        (Some(entry), has_more)
    }
}

/// Whether each one of `signal` counts.
pub fn is_real_time(signal: c_int) -> bool {
    only(signal) != 0 && signal > signal::OF_LIBC[1]
}

/// Makes `signal` pending for `g`, with `value` if it is one of `pthread_sigqueue`; `false`: there is no room.
pub fn push(g: &'static G, signal: c_int, value: Option<usize>) -> bool {
    let mut queue = lock();
    // Relaxed: under the lock; another bit's change is nothing to us.
    let is_pending = g.signals_pending.load(Ordering::Relaxed) & only(signal) != 0;
    let has_room = queue.len < ENTRIES_MAX;
    if has_room && (is_real_time(signal) || !is_pending) {
        let len = queue.len;
        let to = std::ptr::from_ref(g);
        queue.entries[len] = Entry { to, signal, value };
        queue.len = len + 1;
        // Relaxed: as in `take`.
        COUNT.store(queue.len, Ordering::Relaxed);
    } else if value.is_some() && is_real_time(signal) {
        return false;
    }
    // SeqCst: S3 of `super::signal`; it also publishes the entry's count to who takes the bit.
    g.signals_pending.fetch_or(only(signal), Ordering::SeqCst);
    true
}

/// Takes one pending `signal` of the calling goroutine `g`, and answers what is known of it; `None`: it is not
/// pending.
pub fn take(g: &'static G, signal: c_int) -> Option<siginfo_t> {
    // Relaxed: `g` has seen the bit by an Acquire, if it has an entry.
    if !is_real_time(signal) && COUNT.load(Ordering::Relaxed) == 0 {
        return clear(g, signal).then(|| info_of(signal, None));
    }
    let mut queue = lock();
    let (entry, has_more) = queue.take(g, signal);
    // U1.
    let was_pending = has_more || clear(g, signal);
    was_pending.then(|| info_of(signal, entry.and_then(|entry| entry.value)))
}

/// Whether the bit was set.
fn clear(g: &G, signal: c_int) -> bool {
    // AcqRel: takes it, once; pairs with the SeqCst of who sent it.
    g.signals_pending.fetch_and(!only(signal), Ordering::AcqRel) & only(signal) != 0
}

/// Forgets what is pending for `g`, a goroutine that is over.
pub fn forget(g: &'static G) {
    // Relaxed: nobody sends to it any more.
    if g.signals_pending.load(Ordering::Relaxed) == 0 {
        return;
    }
    let mut queue = lock();
    let mut kept = 0;
    for index in 0..queue.len {
        let entry = queue.entries[index];
        if !std::ptr::eq(entry.to, g) {
            queue.entries[kept] = entry;
            kept += 1;
        }
    }
    queue.len = kept;
    // Relaxed: as in `take`.
    COUNT.store(kept, Ordering::Relaxed);
    // Relaxed: as above.
    g.signals_pending.store(0, Ordering::Relaxed);
}

/// The beginning of a `siginfo_t` of a signal that a process sent (sigaction(2)).
#[repr(C)]
struct Sent {
    signal: c_int,
    errno: c_int,
    code: c_int,
    padding: c_int,
    process: c_int,
    user: libc::uid_t,
    value: usize,
}

const _: () = assert!(size_of::<Sent>() <= size_of::<siginfo_t>());
const _: () = assert!(align_of::<Sent>() <= align_of::<siginfo_t>());

/// What a handler is told of a signal that this process sent to one of its threads.
fn info_of(signal: c_int, value: Option<usize>) -> siginfo_t {
    let code = match value {
        Some(_) => libc::SI_QUEUE,
        None => libc::SI_TKILL,
    };
    let sent = Sent {
        signal,
        errno: 0,
        code,
        padding: 0,
        process: signal::process_id(),
        user: signal::user_id(),
        value: value.unwrap_or(0),
    };
    let mut info = std::mem::MaybeUninit::<siginfo_t>::zeroed();
    // SAFETY: it begins like that, has room for it and its alignment (both asserted above), and the rest is zeroes.
    unsafe { info.as_mut_ptr().cast::<Sent>().write(sent) };
    // SAFETY: zeroes, with the kernel's own layout at the beginning.
    unsafe { info.assume_init() }
}
