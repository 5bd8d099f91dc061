//! M: an OS thread that runs goroutines.
//!
//! - M1: an M that runs a goroutine holds a P, but for the time of a blocking call.
//! - M2: an M without work is in the list of idle Ms, and sleeps on its note, or (one at a time) in
//!   the netpoller. Who takes it from the list gives it a P and sets its note, in that order.
//! - M3: an M's own stack (g0) runs the scheduler; nothing there calls malloc or takes a lock of libc.
//! - M4: an M is in a section (`gaggle_core::sections`) but while a goroutine's own code runs on it;
//!   contexts are switched at depth 1, so what is left by one is ended by the next.
//! - M5: an M that does not watch the netpoller and was idle for a minute ends if more Ms are idle than
//!   there are Ps and a few spares. It takes itself out of the idle list, so nobody can give it a P.
//! - M6: the record of an M that has ended is used by the next one that is made; the OS thread that ends
//!   touches nothing of it any more. The stack of the first M's thread, which libc did not make, stays.

use crate::g::G;
use crate::lock::Lock;
use crate::p::{self, P};
use gaggle_core::lock::Lock as Guarded;
use gaggle_core::sections::Sections;
use gaggle_sys::affinity::Mask;
use gaggle_sys::{clock, futex};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// An OS thread that runs goroutines. `&'static M`: they are never freed.
pub struct M {
    /// Its number, from 0.
    pub number: u32,
    /// Where its scheduler goes on when the goroutine leaves.
    pub g0_stack_pointer: Cell<usize>,
    /// Its own FS base.
    pub fs: Cell<usize>,
    /// Its OS thread's number.
    pub thread_id: AtomicI32,
    /// The P it holds, or, revoked, held (E3 of `gaggle_core::sections`).
    p: AtomicPtr<P>,
    /// See M4.
    pub sections: Sections,
    /// Something waits for the goroutine to end its section: a preemption, or the loss of the P.
    pub attention: AtomicBool,
    /// Counts the turns of goroutines here; one that inherits its turn from another does not count.
    pub turn: AtomicU64,
    /// What the monitor and the preemption handler share ([`crate::preempt`]).
    pub preemption: Preemption,
    /// Interrupts its OS thread when a timer is due ([`crate::alarm`]).
    pub alarm: crate::alarm::Alarm,
    next_all: AtomicPtr<M>,
    /// What its scheduler is to run next, found by the goroutine that left.
    pub handed: Cell<Option<&'static G>>,
    /// The goroutine that is bound to it ([`crate::pin`]).
    pub bound: Cell<Option<&'static G>>,
    /// Its goroutine ended bound: it is to end, too.
    pub ends: Cell<bool>,
    /// The goroutine that comes next goes on with the turn of the one before.
    pub inherits: Cell<bool>,
    /// It has neither found work nor gone idle since it was made.
    begins: Cell<bool>,
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

/// What the monitor asks of an M, and how the M waits when its goroutine is suspended.
#[derive(Debug)]
pub struct Preemption {
    /// The turn that is to end; 0: none.
    pub request: AtomicU64,
    /// The request is for somebody who woke, not for the end of the slice.
    pub early: AtomicBool,
    /// The request is to set the alarm, and to go on.
    pub alarm_wanted: AtomicBool,
    /// 1: the M waits in the handler until its goroutine is resumed.
    pub suspended: AtomicU32,
    /// The suspension was early: its turn goes on when it is resumed.
    pub keeps_turn: AtomicBool,
    /// How often the handler found the goroutine in libc during this turn: turn and count.
    pub in_libc: Cell<(u64, u32)>,
    /// The goroutine goes on without a P.
    pub without_p: AtomicBool,
    /// It was moved to a processor of the machine for its waking; the mask to restore.
    pub moved: AtomicBool,
    pub mask: Cell<Mask>,
    /// The monitor's own notes: the turn seen, since when, its processor time then, the last request.
    pub seen: Cell<Seen>,
}

/// What the monitor has seen of an M.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The turn.
    pub turn: u64,
    /// When it was first seen, in nanoseconds.
    pub since: u64,
    /// The OS thread's processor time then, in nanoseconds.
    pub used_before: u64,
    /// The processor time used since then at the last look, in nanoseconds.
    pub processor_nanos: u64,
    /// When a request was last made, in nanoseconds.
    pub requested: u64,
}

// SAFETY: the cells belong to the M's own thread, but `next_idle`, which the idle list's lock guards;
// `preemption.seen`, which is the monitor's; `handed` and `preemption.mask`, which whoever took the
// sleeping M writes before it wakes it.
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

/// How many of them have ended.
static ENDED: AtomicU32 = AtomicU32::new(0);

/// How many Ms exist.
pub fn count() -> u32 {
    // Relaxed: figures to report. Those that ended are read first: they were made before.
    let ended = ENDED.load(Ordering::Relaxed);
    COUNT.load(Ordering::Relaxed).saturating_sub(ended)
}

/// The largest number of Ms; Go's default.
static LIMIT: AtomicU32 = AtomicU32::new(10_000);

/// How many Ms there may be.
pub fn limit() -> u32 {
    // Relaxed: written before any M runs.
    LIMIT.load(Ordering::Relaxed)
}

/// Sets how many Ms there may be, at least one. Called before the runtime starts.
pub fn set_limit(limit: u32) {
    // Relaxed: as in `limit`.
    LIMIT.store(limit.max(1), Ordering::Relaxed);
}

/// All Ms that were ever made, the last first.
static ALL: AtomicPtr<M> = AtomicPtr::new(null_mut());

/// All Ms that were ever made.
pub fn all() -> impl Iterator<Item = &'static M> {
    // Acquire: pairs with the Release in `M::new`.
    // SAFETY: null, or an M, which lives for ever.
    let first = unsafe { ALL.load(Ordering::Acquire).as_ref::<'static>() };
    std::iter::successors(first, |m| {
        // Relaxed: written before the M was published.
        // SAFETY: as above.
        unsafe { m.next_all.load(Ordering::Relaxed).as_ref::<'static>() }
    })
}

impl M {
    /// Makes the record of a new M; its thread then calls [`M::adopt`].
    pub fn new() -> &'static M {
        if let Some(m) = M::take_record() {
            return m;
        }
        let m = M::make();
        let mut first = ALL.load(Ordering::Relaxed);
        loop {
            m.next_all.store(first, Ordering::Relaxed);
            // Release: pairs with the Acquire in `all`.
            match ALL.compare_exchange(
                first,
                std::ptr::from_ref(m).cast_mut(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return m,
                Err(now) => first = now,
            }
        }
    }

    fn make() -> &'static M {
        // Relaxed: only uniqueness matters.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Box::leak(Box::new(M {
            number,
            g0_stack_pointer: Cell::new(0),
            fs: Cell::new(0),
            thread_id: AtomicI32::new(0),
            p: AtomicPtr::new(null_mut()),
            sections: Sections::new(1),
            attention: AtomicBool::new(false),
            turn: AtomicU64::new(1),
            preemption: Preemption {
                request: AtomicU64::new(0),
                early: AtomicBool::new(false),
                alarm_wanted: AtomicBool::new(false),
                suspended: AtomicU32::new(0),
                keeps_turn: AtomicBool::new(false),
                in_libc: Cell::new((0, 0)),
                without_p: AtomicBool::new(false),
                moved: AtomicBool::new(false),
                mask: Cell::new(Mask::default()),
                seen: Cell::new(Seen::default()),
            },
            alarm: crate::alarm::Alarm::new(),
            next_all: AtomicPtr::new(null_mut()),
            handed: Cell::new(None),
            bound: Cell::new(None),
            ends: Cell::new(false),
            inherits: Cell::new(false),
            begins: Cell::new(false),
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
        // Relaxed: read by the monitor after it found this M as a P's holder.
        self.thread_id
            .store(gaggle_sys::call::thread_id(), Ordering::Relaxed);
        CURRENT.set(Some(self));
    }

    /// Its OS thread ends; it holds no P and is in no list. Nothing of the record may be touched after.
    pub fn has_ended(&'static self) {
        crate::alarm::end(self);
        // Relaxed: a signal that the monitor sends to number 0 is refused.
        self.thread_id.store(0, Ordering::Relaxed);
        // From here on this OS thread is a foreign one (M6).
        CURRENT.set(None);
        ENDED.fetch_add(1, Ordering::Relaxed);
        let mut free = FREE.lock();
        self.next_idle.set(free.first.replace(self));
    }

    /// Takes the record of an M that has ended, to be used anew (M6).
    fn take_record() -> Option<&'static M> {
        let mut free = FREE.lock();
        let m = free.first?;
        free.first = m.next_idle.take();
        m.ends.set(false);
        m.inherits.set(false);
        // Relaxed: as in `has_ended`; the new OS thread is started after.
        m.attention.store(false, Ordering::Relaxed);
        ENDED.fetch_sub(1, Ordering::Relaxed);
        Some(m)
    }

    /// The P it holds, asked by its own thread in a section (E1 of `gaggle_core::sections`).
    #[inline]
    pub fn p(&self) -> Option<&'static P> {
        // Relaxed: written by this thread, or by whoever gave it the P before waking it.
        // SAFETY: null or a P, which lives for ever.
        let p = unsafe { self.p.load(Ordering::Relaxed).as_ref::<'static>() };
        if self.sections.holds() { p } else { None }
    }

    /// The P it holds, where it must hold one (M1).
    pub fn processor(&self) -> &'static P {
        self.p().expect("M1: a goroutine runs only with a P")
    }

    /// Takes hold of `p`; or, for an M that waits without one, whoever wakes it gives it `p`.
    pub fn acquire(&self, p: &'static P) {
        let own = std::ptr::from_ref(p).cast_mut();
        // Relaxed: read by this thread; published to the monitor by `restore` (E5).
        self.p.store(own, Ordering::Relaxed);
        self.sections.restore();
        crate::preempt::unmark_without_p(self);
        p.set_holder(Some(self));
    }

    /// Lets go of its P, which is its own until somebody else acquires it.
    pub fn release(&self) {
        if let Some(p) = self.p() {
            p.set_holder(None);
        }
        self.forget_p();
    }

    /// For the monitor, which has asked for this M's P: whether that is `p` (E5 of `gaggle_core::sections`).
    pub fn has(&self, p: &'static P) -> bool {
        // Relaxed: the Acquire in `Sections::ask` pairs with the Release in `restore`, behind the store in `acquire`.
        std::ptr::eq(self.p.load(Ordering::Relaxed), p)
    }

    /// Notes that its P is another's.
    pub fn forget_p(&self) {
        // Relaxed: as in `acquire`.
        self.p.store(null_mut(), Ordering::Relaxed);
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
    pub fn take_given(&'static self) {
        debug_assert!(self.is_noted(), "M2: an M goes on when it is noted");
        // Relaxed: `is_noted` acquired what `give` released.
        self.note.store(0, Ordering::Relaxed);
        self.spinning
            .set(self.given_spinning.load(Ordering::Relaxed));
        self.acquire(p::at(self.given.load(Ordering::Relaxed)));
        crate::preempt::move_back(self);
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
static IDLE: Guarded<IdleList, Lock> = Guarded::from_raw(Lock::unlocked(), IdleList::EMPTY);

struct IdleList {
    first: Option<&'static M>,
    len: u32,
    /// How often an M has left the list.
    departures: u64,
}

impl IdleList {
    const EMPTY: IdleList = IdleList {
        first: None,
        len: 0,
        departures: 0,
    };
}

/// How many Ms are idle.
pub fn idle_count() -> u32 {
    IDLE.lock().len
}

/// How often an M has left the idle list, if every M is in it now.
pub fn departures_if_all_idle() -> Option<u64> {
    let idle = IDLE.lock();
    (idle.len == count()).then_some(idle.departures)
}

/// Records of Ms that have ended.
static FREE: Guarded<FreeList, Lock> =
    Guarded::from_raw(Lock::unlocked(), FreeList { first: None });

struct FreeList {
    first: Option<&'static M>,
}

/// How many Ms stay idle for good, beside one for each P.
const SPARES: u32 = 4;

/// How long an M is idle before it ends if it is not needed, in nanoseconds.
static IDLE_NANOS: AtomicU64 = AtomicU64::new(60_000_000_000);

/// Reads what tests of the runtime set. Called once, before any M runs.
pub fn read_environment() {
    let text = std::env::var("GAGGLE_TEST_IDLE_MILLISECONDS");
    if let Some(millis) = text.ok().and_then(|text| text.parse::<u64>().ok()) {
        // Relaxed: written before any M runs.
        IDLE_NANOS.store(millis.max(1).saturating_mul(1_000_000), Ordering::Relaxed);
    }
}

/// Sleeps in the idle list until it is given a P; `false`: it was idle for long and is not needed, is in
/// the list no more, and is to end (M5).
pub fn sleep_unless_surplus(m: &'static M) -> bool {
    // Relaxed: as above.
    let nanos = IDLE_NANOS.load(Ordering::Relaxed);
    let mut until = clock::now().saturating_add(nanos);
    while !m.is_noted() {
        let now = clock::now();
        if now >= until {
            if leave_as_surplus(m) {
                return false;
            }
            until = now.saturating_add(nanos);
        }
        futex::wait(&m.note, 0, Some(until - now));
    }
    true
}

/// M5: decided under the list's lock, so that not all go at once.
fn leave_as_surplus(m: &'static M) -> bool {
    let mut idle = IDLE.lock();
    idle.len > p::count() + SPARES && unlink(&mut idle, m)
}

/// How many Ms are being made.
static BEGINNING: AtomicU32 = AtomicU32::new(0);

/// `m` is being made; called by its maker, before its OS thread is there.
pub fn begins(m: &M) {
    m.begins.set(true);
    // Relaxed: a hint, that no more are made than needed.
    BEGINNING.fetch_add(1, Ordering::Relaxed);
}

/// `m` has found work or goes idle, for the first time if that is so.
pub fn has_begun(m: &M) {
    if m.begins.replace(false) {
        // Relaxed: as above.
        BEGINNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether an M has been made that has neither found work nor gone idle yet.
pub fn any_begins() -> bool {
    // Relaxed: as above.
    BEGINNING.load(Ordering::Relaxed) > 0
}

/// Puts the calling M into the idle list.
pub fn go_idle(m: &'static M) {
    has_begun(m);
    let mut idle = IDLE.lock();
    m.next_idle.set(idle.first.replace(m));
    idle.len += 1;
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
            idle.len -= 1;
            idle.departures += 1;
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
pub static POLLER: AtomicPtr<M> = AtomicPtr::new(null_mut());
