//! Who waits for words and objects in memory: futexes, and the mutexes, condition variables, semaphores
//! and the like of C. Goroutines park; other threads, where they wait here, block on a futex of their own.
//!
//! - Y1: a waiter is in the list of its address's bucket from its entry, made under the bucket's lock
//!   after it saw there that it has to wait, until somebody takes it out, under the lock.
//! - Y2: a waker changes what is waited for first and takes the bucket's lock after, so of a waiter and
//!   a waker either the waiter sees the change or the waker sees the waiter.
//! - Y3: who takes a waiter out to wake it claims it in the same section and releases it after the lock.
//!   A waiter that was taken out goes on only when it has been released; one that wants to go on for
//!   another reason (its time is over) takes itself out, under the lock. So a waiter that is in a list,
//!   or has been claimed and not yet released, lives.
//! - Y4: waiters of one address are woken in the order in which they came.
//! - Y5: what an object's memory is used for may change: a late wake-up for an object that is gone may
//!   reach a waiter at the same address. A wake-up is for one [`Kind`], and waiters of each kind but
//!   [`Kind::Barrier`] look again after they are woken. A barrier's are woken only in the section that
//!   completes it.
//! - Y6: a waiter of an object of C counts itself in its bucket (`waiting`) before it looks at the
//!   object for the last time; who releases an object looks at the count after it did. So a release
//!   that nobody waits for costs no lock.
//!
//! Source: the parking lot of WebKit (Pizlo, 2015), for the table apart from the objects; the kernel's
//! kernel/futex/ for requeueing.

use crate::g::{G, KIND_GOROUTINE};
use crate::lock::Lock;
use crate::{Green, sched};
use gaggle_core::contract::{NEVER, Nanos, WaitReason};
use gaggle_core::injector::Batch;
use gaggle_core::lock::Lock as Guarded;
use gaggle_core::task::Ticket;
use gaggle_sys::{clock, futex};
use std::cell::{Cell, UnsafeCell};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word, by the futex call.
    Futex,
    /// A mutex.
    Mutex,
    /// A condition variable.
    Condition,
    /// A semaphore.
    Semaphore,
    /// A read-write lock.
    RwLock,
    /// A barrier.
    Barrier,
    /// A `pthread_once_t`.
    Once,
}

impl Kind {
    /// What a list of goroutines says of those that wait.
    fn reason(self) -> WaitReason {
        match self {
            Kind::Mutex | Kind::RwLock => WaitReason::Mutex,
            Kind::Semaphore => WaitReason::Semaphore,
            Kind::Futex | Kind::Condition | Kind::Barrier | Kind::Once => WaitReason::Futex,
        }
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was no need to wait.
    Entered,
    /// Somebody woke it.
    Woken,
    /// The deadline came.
    TimedOut,
}

/// All bits of a futex's mask.
pub const ANY_BITS: u32 = u32::MAX;
/// The token of a claim by a waker.
const WOKEN: usize = 1;

/// Who waits: a goroutine by its ticket, another thread on this word (0, then 1 when released).
enum Party {
    Goroutine(Ticket<Green>),
    Thread(AtomicU32),
}

struct Waiter {
    party: Party,
    kind: Kind,
    bits: u32,
    /// Changed under the locks of both buckets, by a requeue.
    address: AtomicUsize,
    /// It is in the list. Changed under the lock; read without it to see whether the lock is needed.
    queued: AtomicBool,
    before: Cell<Option<NonNull<Waiter>>>,
    behind: Cell<Option<NonNull<Waiter>>>,
}

/// Who waits at the addresses of one bucket.
pub struct List {
    first: Option<NonNull<Waiter>>,
    last: Option<NonNull<Waiter>>,
    /// Threads that wait, or are about to, in the kernel on words of this bucket ([`super::futex`]).
    pub foreign: u32,
    /// Such threads may have been moved to words of this bucket by the kernel, for good.
    foreign_moved_here: bool,
    /// At the last wake that had both to choose from, the kernel's waiters came first.
    kernel_was_first: bool,
    /// A mutex of this bucket is given up inside libc ([`super::mutex`]).
    pub hidden_release: bool,
}

// SAFETY: reached only under the lock; waiters may be touched from any thread there (Y3).
unsafe impl Send for List {}

struct Bucket {
    /// Waiters for objects of C, counted before they look (Y6).
    waiting: AtomicU32,
    /// A semaphore of this bucket was posted where no lock may be taken ([`defer`]).
    deferred: AtomicBool,
    list: Guarded<List, Lock>,
}

const BUCKETS: usize = 1024;

struct Table(UnsafeCell<[Bucket; BUCKETS]>);

// SAFETY: only shared references are made of it, but in `reset_in_forked_child`, which is alone.
unsafe impl Sync for Table {}

impl Bucket {
    const fn empty() -> Bucket {
        let empty = List {
            first: None,
            last: None,
            foreign: 0,
            foreign_moved_here: false,
            kernel_was_first: false,
            hidden_release: false,
        };
        Bucket {
            waiting: AtomicU32::new(0),
            deferred: AtomicBool::new(false),
            list: Guarded::from_raw(Lock::unlocked(), empty),
        }
    }
}

/// A plain static: what waits for a first use would wait by this very table.
static TABLE: Table = Table(UnsafeCell::new([const { Bucket::empty() }; BUCKETS]));

fn buckets() -> &'static [Bucket; BUCKETS] {
    // SAFETY: see `Table`.
    unsafe { &*TABLE.0.get() }
}

/// In a forked child nobody waits any longer; who waits there for an object of C does so in libc, so that
/// no lock of the table is taken.
///
/// # Safety
/// The caller is the only thread of a forked child and holds nothing of the table.
pub unsafe fn reset_in_forked_child() {
    let first = TABLE.0.get().cast::<Bucket>();
    for index in 0..BUCKETS {
        // SAFETY: the caller's contract: there is no reference into the table.
        unsafe { first.wrapping_add(index).write(Bucket::empty()) };
    }
}

fn bucket(address: usize) -> &'static Bucket {
    &buckets()[place(address)]
}

fn place(address: usize) -> usize {
    // Fibonacci hashing: Knuth, TAOCP volume 3, section 6.4.
    let hash = (address as u64 >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> (64 - BUCKETS.ilog2())) as usize
}

/// Waiters that have been claimed and are to be released once the lock is given up (Y3).
#[must_use = "claimed waiters sleep for ever unless they are released"]
pub struct Woken {
    goroutines: Batch<G>,
    threads: Option<NonNull<Waiter>>,
    count: usize,
}

impl Woken {
    /// Nobody.
    pub const fn nobody() -> Self {
        Woken {
            goroutines: Batch::new(),
            threads: None,
            count: 0,
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Claims `waiter`, which was just taken out of its list.
    fn add(&mut self, waiter: &Waiter) {
        match &waiter.party {
            Party::Goroutine(ticket) => {
                let Some(claimed) = ticket.claim(WOKEN) else {
                    return; // its time was over first
                };
                let task = claimed.into_task();
                debug_assert_eq!(task.kind(), KIND_GOROUTINE, "Y1: tickets are goroutines'");
                // SAFETY: tickets here are goroutines' only.
                let g = unsafe { G::of(task) };
                g.wait.set(WaitReason::Runnable);
                // SAFETY: claiming made this thread the goroutine's holder; it waits in no list.
                unsafe { self.goroutines.push_back(NonNull::from(g)) };
            }
            Party::Thread(_) => {
                waiter
                    .behind
                    .set(self.threads.replace(NonNull::from(waiter)));
            }
        }
        self.count += 1;
    }

    /// Lets them go on: one goroutine next, several behind others.
    pub fn release(mut self) {
        let mut at = self.threads.take();
        while let Some(waiter) = at {
            // SAFETY: Y3: claimed and not yet released.
            let waiter = unsafe { waiter.as_ref() };
            at = waiter.behind.take();
            let Party::Thread(word) = &waiter.party else {
                continue;
            };
            let address = word.as_ptr() as usize;
            // Release: pairs with the Acquire in `block`. After this the waiter may be gone.
            word.store(1, Ordering::Release);
            futex::wake_address(address, 1);
        }
        if self.goroutines.len() == 1 {
            if let Some(g) = self.goroutines.pop_front() {
                sched::ready(crate::g::from_link(g));
            }
        } else {
            sched::ready_batch(self.goroutines);
        }
    }
}

impl List {
    fn push(&mut self, waiter: &Waiter) {
        let link = NonNull::from(waiter);
        waiter.before.set(self.last);
        match self.last.replace(link) {
            // SAFETY: Y3: a waiter in the list lives.
            Some(last) => unsafe { last.as_ref() }.behind.set(Some(link)),
            None => self.first = Some(link),
        }
        // Relaxed: under the lock.
        waiter.queued.store(true, Ordering::Relaxed);
    }

    fn remove(&mut self, waiter: &Waiter) {
        let (before, behind) = (waiter.before.take(), waiter.behind.take());
        match before {
            // SAFETY: Y3.
            Some(before) => unsafe { before.as_ref() }.behind.set(behind),
            None => self.first = behind,
        }
        match behind {
            // SAFETY: Y3.
            Some(behind) => unsafe { behind.as_ref() }.before.set(before),
            None => self.last = before,
        }
        // Relaxed: under the lock; whoever is woken by the claim that follows sees it.
        waiter.queued.store(false, Ordering::Relaxed);
    }

    /// Takes out at most `count` waiters that `fits` says, the longest waiting first, for `use_it`.
    fn take(
        &mut self,
        count: usize,
        fits: impl Fn(&Waiter) -> bool,
        mut use_it: impl FnMut(&Waiter),
    ) -> usize {
        let mut taken = 0;
        let mut at = self.first;
        while let Some(waiter) = at.filter(|_| taken < count) {
            // SAFETY: Y3.
            let waiter = unsafe { waiter.as_ref() };
            at = waiter.behind.get();
            if fits(waiter) {
                self.remove(waiter);
                use_it(waiter);
                taken += 1;
            }
        }
        taken
    }

    /// Whether threads may wait in the kernel on words of this bucket.
    pub fn has_foreign(&self) -> bool {
        self.foreign > 0 || self.foreign_moved_here
    }

    /// Whether the kernel's waiters are to be woken before the goroutines this time: every other time
    /// that there may be any.
    pub fn is_kernels_turn(&mut self) -> bool {
        let turn = self.has_foreign() && !self.kernel_was_first;
        self.kernel_was_first = turn;
        turn
    }

    /// Takes out and claims at most `count` waiters of this kind at `address` (Y4).
    pub fn wake(&mut self, address: usize, kind: Kind, bits: u32, count: usize) -> Woken {
        let mut woken = Woken::nobody();
        // Those whose time was over first do not count, so it may take several rounds.
        while woken.len() < count {
            let missing = count - woken.len();
            let fits = |waiter: &Waiter| waiter.is(address, kind) && waiter.bits & bits != 0;
            if self.take(missing, fits, |waiter| woken.add(waiter)) == 0 {
                break;
            }
        }
        woken
    }
}

impl Waiter {
    fn new(address: usize, kind: Kind, bits: u32) -> Self {
        let party = match sched::current() {
            Some(g) => Party::Goroutine(Ticket::of(g.as_task())),
            None => Party::Thread(AtomicU32::new(0)),
        };
        Waiter {
            party,
            kind,
            bits,
            address: AtomicUsize::new(address),
            queued: AtomicBool::new(false),
            before: Cell::new(None),
            behind: Cell::new(None),
        }
    }

    fn is(&self, address: usize, kind: Kind) -> bool {
        // Relaxed: under the lock.
        self.kind == kind && self.address.load(Ordering::Relaxed) == address
    }

    /// Waits until released or `deadline`, and answers which.
    fn block(&self, deadline: Nanos) -> Outcome {
        match &self.party {
            Party::Goroutine(ticket) => {
                if let Some(g) = sched::current() {
                    g.wait.begin(self.kind.reason());
                    // A handler of a signal may post a semaphore, and nothing else.
                    let _outside =
                        (self.kind == Kind::Semaphore).then(crate::deadlock::Outside::new);
                    sched::park_until(g, *ticket, deadline);
                }
                let was_queued = self.leave();
                if was_queued && deadline != NEVER {
                    Outcome::TimedOut
                } else {
                    Outcome::Woken
                }
            }
            Party::Thread(word) => {
                // Acquire: pairs with the Release in `release`.
                while word.load(Ordering::Acquire) == 0 {
                    let now = clock::now();
                    if now >= deadline && self.leave() {
                        return Outcome::TimedOut;
                    }
                    // Past its deadline but claimed: the release is on its way (Y3).
                    let left = deadline.checked_sub(now).filter(|_| deadline != NEVER);
                    futex::wait(word, 0, left.filter(|left| *left > 0));
                }
                Outcome::Woken
            }
        }
    }

    /// Takes itself out of the list, if nobody has (Y3); whether it was still in.
    fn leave(&self) -> bool {
        loop {
            // Relaxed: a waker takes a waiter out before it claims it, and the claim happened before
            // this; if the wait ended otherwise, the lock decides.
            if !self.queued.load(Ordering::Relaxed) {
                return false;
            }
            let address = self.address.load(Ordering::Relaxed);
            let mut list = bucket(address).list.lock();
            if self.address.load(Ordering::Relaxed) != address {
                continue; // moved by a requeue meanwhile
            }
            let queued = self.queued.load(Ordering::Relaxed);
            if queued {
                list.remove(self);
            }
            return queued;
        }
    }
}

/// Waits at `address` until woken or `deadline`, unless `enters`, called under the bucket's lock, says
/// that there is no need (Y1).
pub fn wait(
    address: usize,
    kind: Kind,
    bits: u32,
    deadline: Nanos,
    enters: impl FnOnce(&mut List) -> bool,
) -> Outcome {
    let waiter = Waiter::new(address, kind, bits);
    {
        let mut list = bucket(address).list.lock();
        if enters(&mut list) {
            list.push(&waiter);
        } else {
            drop(list);
            waiter.give_up();
            return Outcome::Entered;
        }
    }
    waiter.block(deadline)
}

impl Waiter {
    /// Ends the wait of a waiter that was never in a list: nobody can have claimed it.
    fn give_up(&self) {
        if let Party::Goroutine(ticket) = &self.party {
            let cancelled = ticket.cancel();
            debug_assert!(cancelled, "Y1: nobody saw the ticket");
        }
    }
}

/// Waits at `address` as [`wait`] does, but calls `before` once it is in the list, where it can be
/// woken already. An error of `before` ends the wait.
///
/// # Errors
/// What `before` answers, if that is not 0.
pub fn wait_after(
    address: usize,
    kind: Kind,
    deadline: Nanos,
    before: impl FnOnce() -> i32,
) -> Result<Outcome, i32> {
    let counted = Counted::new(address);
    let waiter = Waiter::new(address, kind, ANY_BITS);
    bucket(address).list.lock().push(&waiter);
    let error = before();
    if error == 0 {
        let outcome = waiter.block(deadline);
        drop(counted);
        return Ok(outcome);
    }
    if waiter.leave() {
        waiter.give_up();
    } else {
        // Somebody has woken it: another that waits gets that wake-up.
        waiter.block(NEVER);
        drop(counted);
        wake(address, kind, 1);
    }
    Err(error)
}

/// A waiter for an object of C, counted in its bucket while it lives (Y6).
struct Counted(usize);

impl Counted {
    fn new(address: usize) -> Self {
        // SeqCst: Y6, with the look in `released`.
        bucket(address).waiting.fetch_add(1, Ordering::SeqCst);
        Counted(address)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // SeqCst: as in `new`.
        bucket(self.0).waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Repeats `attempt`, waiting at `address` in between, until it answers something or `deadline` comes.
pub fn acquire<R>(
    address: usize,
    kind: Kind,
    deadline: Nanos,
    attempt: impl Fn(&mut List) -> Option<R>,
) -> Option<R> {
    loop {
        let answer = Cell::new(None);
        let counted = Counted::new(address);
        let outcome = wait(address, kind, ANY_BITS, deadline, |list| {
            answer.set(attempt(list));
            let waits = answer.take();
            let enters = waits.is_none();
            answer.set(waits);
            enters
        });
        drop(counted);
        match (answer.into_inner(), outcome) {
            (None, Outcome::TimedOut) => return None,
            (None, _) => {}
            (answer, _) => return answer,
        }
    }
}

/// Whether anybody may wait at `address` for an object of C, asked after the object was released (Y6).
pub fn is_waited_for(address: usize) -> bool {
    fence(Ordering::SeqCst);
    // SeqCst: with `Counted::new`.
    bucket(address).waiting.load(Ordering::SeqCst) > 0
}

/// Wakes at most `count` waiters at `address`.
pub fn wake(address: usize, kind: Kind, count: usize) {
    let woken = bucket(address)
        .list
        .lock()
        .wake(address, kind, ANY_BITS, count);
    woken.release();
}

/// After an object was released: wakes at most `count` of those that wait for it.
pub fn released(address: usize, kind: Kind, count: usize) {
    if is_waited_for(address) {
        wake(address, kind, count);
    }
}

/// Calls `look` with the list of `address`, under its lock.
pub fn with_list<R>(address: usize, look: impl FnOnce(&mut List) -> R) -> R {
    look(&mut bucket(address).list.lock())
}

/// Moves waiters of the futex `from` to `to` after waking `wake` of them, if `allows`, called under
/// both locks, says so; answers those woken and how many moved.
pub fn requeue(
    from: usize,
    to: usize,
    wake: usize,
    moves: usize,
    allows: impl FnOnce() -> bool,
) -> Option<(Woken, usize, bool)> {
    let (first, second) = (place(from).min(place(to)), place(from).max(place(to)));
    let mut lower = buckets()[first].list.lock();
    // One bucket may be both.
    let mut upper = (first != second).then(|| buckets()[second].list.lock());
    if !allows() {
        return None;
    }
    let from_is_lower = place(from) == first;
    let same = upper.is_none();
    let source: &mut List = match &mut upper {
        Some(upper) if !from_is_lower => upper,
        _ => &mut lower,
    };
    let woken = source.wake(from, Kind::Futex, ANY_BITS, wake);
    let foreign = source.has_foreign();
    let mut moved_first: Option<NonNull<Waiter>> = None;
    let mut moved_last: Option<NonNull<Waiter>> = None;
    let moved = if from == to {
        0
    } else {
        source.take(
            moves,
            |waiter| waiter.is(from, Kind::Futex),
            |waiter| {
                let link = NonNull::from(waiter);
                match moved_last.replace(link) {
                    // SAFETY: Y3: taken out under the lock that is still held.
                    Some(last) => unsafe { last.as_ref() }.behind.set(Some(link)),
                    None => moved_first = Some(link),
                }
            },
        )
    };
    let target: &mut List = match &mut upper {
        Some(upper) if from_is_lower && !same => upper,
        _ => &mut lower,
    };
    while let Some(waiter) = moved_first {
        // SAFETY: as above.
        let waiter = unsafe { waiter.as_ref() };
        moved_first = waiter.behind.take();
        // Relaxed: under both locks.
        waiter.address.store(to, Ordering::Relaxed);
        target.push(waiter);
    }
    target.foreign_moved_here |= foreign;
    Some((woken, moved, foreign))
}

/// 1 while some bucket has a deferred wake-up.
static DEFERRED: AtomicBool = AtomicBool::new(false);

/// Leaves it to the monitor to wake those who wait for the semaphore at `address`: for callers that
/// may take no lock, such as a signal handler that interrupted the holder of one.
pub fn defer(address: usize) {
    if !is_waited_for(address) {
        return;
    }
    // SeqCst, for both and with `deliver_deferred`: the bucket's mark first, then the common one, while
    // the monitor takes them the other way round.
    bucket(address).deferred.store(true, Ordering::SeqCst);
    DEFERRED.store(true, Ordering::SeqCst);
    crate::sysmon::want_machine();
}

/// For the monitor: wakes whom [`defer`] left to it; whether there was anything.
pub fn deliver_deferred() -> bool {
    // Relaxed: a look at no cost; the swap below decides.
    if !DEFERRED.load(Ordering::Relaxed) || !DEFERRED.swap(false, Ordering::SeqCst) {
        return false;
    }
    for bucket in buckets() {
        if !bucket.deferred.load(Ordering::Relaxed)
            || !bucket.deferred.swap(false, Ordering::SeqCst)
        {
            continue;
        }
        let mut woken = Woken::nobody();
        // All of them: which one was posted is not known, and they look again (Y5).
        bucket.list.lock().take(
            usize::MAX,
            |waiter| waiter.kind == Kind::Semaphore,
            |waiter| woken.add(waiter),
        );
        woken.release();
    }
    true
}
