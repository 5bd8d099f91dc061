//! M: an OS thread that runs goroutines.
//!
//! - M1: an M that runs a goroutine holds a P, but for the time of a blocking call.
//! - M2: an M without work is in the list of idle Ms, and sleeps on its note, or (one at a time) in
//!   the netpoller. Who takes it from the list gives it a P and sets its note, in that order.
//! - M3: an M's own stack (g0) runs the scheduler; nothing there calls malloc or takes a lock of libc.

use crate::g::G;
use crate::lock::Lock;
use crate::p::{self, P};
use gaggle_core::lock::Lock as Guarded;
use gaggle_sys::futex;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

/// An OS thread that runs goroutines. `&'static M`: they are never freed.
pub struct M {
    /// Its number, from 0.
    pub number: u32,
    /// Where its scheduler goes on when the goroutine leaves.
    pub g0_stack_pointer: Cell<usize>,
    /// Its own FS base.
    pub fs: Cell<usize>,
    /// Its OS thread's number.
    pub thread_id: Cell<i32>,
    /// The P it holds.
    p: Cell<Option<&'static P>>,
    /// What its scheduler is to run next, found by the goroutine that left.
    pub handed: Cell<Option<&'static G>>,
    /// It looks for work without having any.
    pub spinning: Cell<bool>,
    /// State of its random numbers.
    pub random: Cell<u64>,
    /// 1: it has been given a P and is to go on.
    note: AtomicU32,
    /// The P given with the note: its number, and whether the M is to begin as a spinning one.
    given: AtomicU32,
    given_spinning: AtomicBool,
    /// It sleeps in the netpoller.
    pub polling: AtomicBool,
    next_idle: Cell<Option<&'static M>>,
}

// SAFETY: the cells belong to the M's own thread, but `next_idle`, which the idle list's lock guards.
unsafe impl Sync for M {}

impl std::fmt::Debug for M {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("M")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

thread_local! {
    static CURRENT: Cell<Option<&'static M>> = const { Cell::new(None) };
}

/// The M whose own stack (g0) the caller runs on; `None` on goroutines and foreign threads.
pub fn current() -> Option<&'static M> {
    CURRENT.get()
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// How many Ms exist.
pub fn count() -> u32 {
    // Relaxed: a figure to report.
    COUNT.load(Ordering::Relaxed)
}

impl M {
    /// Makes the record of a new M; its thread then calls [`M::adopt`].
    pub fn new() -> &'static M {
        // Relaxed: only uniqueness matters.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Box::leak(Box::new(M {
            number,
            g0_stack_pointer: Cell::new(0),
            fs: Cell::new(0),
            thread_id: Cell::new(0),
            p: Cell::new(None),
            handed: Cell::new(None),
            spinning: Cell::new(false),
            random: Cell::new(
                0x9e37_79b9_7f4a_7c15 ^ (u64::from(number) + 1).wrapping_mul(0xd134_2543_de82_ef95),
            ),
            note: AtomicU32::new(0),
            given: AtomicU32::new(0),
            given_spinning: AtomicBool::new(false),
            polling: AtomicBool::new(false),
            next_idle: Cell::new(None),
        }))
    }

    /// Makes the calling OS thread this M.
    pub fn adopt(&'static self) {
        self.fs.set(gaggle_sys::arch::fs_base());
        self.thread_id.set(gaggle_sys::call::thread_id());
        CURRENT.set(Some(self));
    }

    /// The P it holds, asked by its own thread.
    pub fn p(&self) -> Option<&'static P> {
        self.p.get()
    }

    /// The P it holds, where it must hold one (M1).
    pub fn processor(&self) -> &'static P {
        self.p.get().expect("M1: a goroutine runs only with a P")
    }

    /// Takes hold of `p`.
    pub fn acquire(&self, p: &'static P) {
        debug_assert!(self.p.get().is_none(), "P1: an M holds one P");
        self.p.set(Some(p));
    }

    /// Lets go of its P.
    pub fn release(&self) {
        self.p.set(None);
    }

    /// A pseudo-random number (xorshift64*: Vigna, 2016).
    pub fn random(&self) -> u64 {
        let mut state = self.random.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.random.set(state);
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Whether it has been given a P.
    pub fn is_noted(&self) -> bool {
        // SeqCst: Acquire for the Release in `give`; and after writing `polling`, with `give`, which
        // writes the note before reading `polling`.
        self.note.load(Ordering::SeqCst) != 0
    }

    /// Sleeps until it is given a P.
    pub fn sleep(&self) {
        while !self.is_noted() {
            futex::wait(&self.note, 0, None);
        }
    }

    /// Takes the P that the note came with.
    pub fn take_given(&self) {
        debug_assert!(self.is_noted(), "M2: an M goes on when it is noted");
        // Relaxed: `is_noted` acquired what `give` released.
        self.note.store(0, Ordering::Relaxed);
        self.spinning
            .set(self.given_spinning.load(Ordering::Relaxed));
        self.acquire(p::at(self.given.load(Ordering::Relaxed)));
    }

    /// Gives this M, which the caller took from the idle list, a P (M2).
    pub fn give(&self, number: u32, spinning: bool) {
        // Relaxed: published by the note.
        self.given.store(number, Ordering::Relaxed);
        self.given_spinning.store(spinning, Ordering::Relaxed);
        // SeqCst: Release for `is_noted`; and before reading `polling`, while the M writes `polling`
        // before reading the note: one of the two sees the other.
        self.note.store(1, Ordering::SeqCst);
        if self.polling.load(Ordering::SeqCst) {
            crate::netpoll::interrupt();
        } else {
            futex::wake(&self.note, 1);
        }
    }
}

/// Idle Ms, the last to go idle first.
static IDLE: Guarded<IdleList, Lock> =
    Guarded::from_raw(Lock::unlocked(), IdleList { first: None });

struct IdleList {
    first: Option<&'static M>,
}

/// Puts the calling M into the idle list.
pub fn go_idle(m: &'static M) {
    let mut idle = IDLE.lock();
    m.next_idle.set(idle.first.replace(m));
}

/// Takes the calling M out of the idle list again if it `wants` to; `false`: somebody has taken it
/// and gives, or has given, it a P.
pub fn leave_idle_if(m: &'static M, wants: bool) -> bool {
    !wants || unlink(&mut IDLE.lock(), m)
}

fn unlink(idle: &mut IdleList, m: &'static M) -> bool {
    let mut before: Option<&'static M> = None;
    let mut at = idle.first;
    while let Some(here) = at {
        if std::ptr::eq(here, m) {
            match before {
                Some(before) => before.next_idle.set(here.next_idle.take()),
                None => idle.first = here.next_idle.take(),
            }
            return true;
        }
        before = at;
        at = here.next_idle.get();
    }
    false
}

/// Takes an idle M, one that does not watch the netpoller if there is one.
pub fn take_idle() -> Option<&'static M> {
    let mut idle = IDLE.lock();
    let mut chosen = idle.first?;
    let mut at = Some(chosen);
    while let Some(here) = at {
        // Relaxed: a preference only.
        if !here.polling.load(Ordering::Relaxed) {
            chosen = here;
            break;
        }
        at = here.next_idle.get();
    }
    unlink(&mut idle, chosen);
    Some(chosen)
}

/// Whether any M is idle; the one in the netpoller can be taken as well as another.
pub fn any_idle() -> bool {
    IDLE.lock().first.is_some()
}

/// The M that sleeps in the netpoller, if any.
pub static POLLER: AtomicPtr<M> = AtomicPtr::new(std::ptr::null_mut());
