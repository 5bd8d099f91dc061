//! The netpoller: goroutines that wait for descriptors.
//!
//! Each descriptor is registered once, edge-triggered, for both directions. An edge counts up the
//! direction's number and wakes all who wait for it; they try their call again.
//!
//! - N1: a caller reads the direction's number *before* it tries its call ([`observe`]). When it then
//!   wants to wait and the number has moved, an edge came in between and it tries again instead. So
//!   no edge is lost, and none needs to be kept for anyone.
//! - N2: the waiters of a descriptor are in a list under its lock; whoever takes one out claims its
//!   ticket under the lock, and a waiter that goes on takes the lock to see that it is out. So the
//!   list never reaches a waiter's frame that is gone.
//! - N3: closing a descriptor, and anything that puts another file behind its number, moves its
//!   generation on and wakes the waiters, who then report EBADF; events that carry an older
//!   generation are dropped.
//!
//! - N4: a call that waits for a descriptor goes on with the file that it waits for when the number is
//!   closed or given to another file, as a thread does: the file gets a number of the netpoller's own
//!   before, which the waiters *borrow*, and the last of them closes it. Such numbers, and those of the
//!   poller itself, are not the program's to close. Where the process has no number left, and for `poll`
//!   and its relatives, N3 holds.
//!
//! - N5: a call that the kernel has no form of that answers rather than waits (`accept`) is made by one
//!   goroutine at a time, which has its *turn*: so what it found to be there has not been taken by another
//!   goroutine when it makes the call. Who finds the turn taken notes that and waits for an edge; giving
//!   up a turn that somebody wanted counts as one.
//!
//! Who wants to be told rather than to wait has a watch in the descriptor's record ([`watch`]).
//!
//! Source: Go's runtime/netpoll.go, but for N1, which takes the place of its per-direction states and
//! lets many goroutines wait for the same descriptor.

mod retry;
mod watch;

pub use retry::until_ready;
pub use watch::{Watch, is_ready};

use crate::Green;
use crate::g::G;
use crate::lock::Lock;
use crate::sched;
use gaggle_core::context::ContextError;
use gaggle_core::contract::{NEVER, Nanos, TIMED_OUT, WaitReason};
use gaggle_core::injector::Batch;
use gaggle_core::interrupt;
use gaggle_core::lock::Lock as Guarded;
use gaggle_core::task::Ticket;
use gaggle_sys::call::{self, FileKind};
use gaggle_sys::clock;
use gaggle_sys::poller::{Event, INTERRUPT, Poller, TIMER};
use gaggle_sys::stack::map;
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

/// What a goroutine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Something to read, or the end.
    Read,
    /// Room to write.
    Write,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// An edge came (or came before): try again.
    Ready,
    /// The deadline came.
    TimedOut,
    /// The descriptor was closed by another goroutine.
    Closed,
    /// It was, and the file goes on under this number, which is to be given back ([`give_back`], N4).
    Moved(i32),
    /// The kernel cannot poll this descriptor.
    Unpollable,
    /// A context that the goroutine runs under has ended, in this way.
    Ended(ContextError),
}

/// The token of a claim made because of an edge, and of one made because of a close.
const EDGE: usize = 1;
const CLOSED: usize = 2;

/// What [`observe`] saw.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    edges: u32,
    generation: u32,
}

/// One goroutine's wait for one descriptor, on that goroutine's stack (or heap) while it waits.
pub struct Waiter {
    ticket: Ticket<Green>,
    next: Cell<Option<NonNull<Waiter>>>,
    queued: Cell<bool>,
    /// It goes on with the file when the number is closed (N4).
    holds: bool,
    /// Under which number it goes on; -1: under none. Written under the lock.
    moved_to: Cell<i32>,
}

#[derive(Default)]
struct Side {
    waiters: Option<NonNull<Waiter>>,
}

struct Sides {
    registered: bool,
    read: Side,
    write: Side,
    watches: watch::Watches,
}

// SAFETY: the lists are reached only under the lock, and waiters may be touched from any thread there.
unsafe impl Send for Sides {}

struct Descriptor {
    read_edges: AtomicU32,
    write_edges: AtomicU32,
    generation: AtomicU32,
    /// A [`FileKind`], or 0: not asked yet.
    kind: AtomicU8,
    /// Something is remembered about the file behind the number.
    touched: AtomicBool,
    /// The number is the netpoller's own, and this many calls go on under it (N4).
    borrowers: AtomicU32,
    /// [`FREE`], [`TAKEN`] or [`WANTED`] (N5).
    turn: AtomicU8,
    sides: Guarded<Sides, Lock>,
}

const PAGE: usize = 1024;
const PAGES: usize = 1024;

/// Descriptors by number, in pages made as they are needed.
static TABLE: [AtomicPtr<Descriptor>; PAGES] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; PAGES];

static POLLER: OnceLock<Poller> = OnceLock::new();
static WAITERS: AtomicUsize = AtomicUsize::new(0);

/// Makes the kernel's part.
///
/// # Errors
/// When there is no descriptor left.
pub fn start() -> std::io::Result<()> {
    let poller = Poller::new()?;
    let _ = POLLER.set(poller);
    Ok(())
}

fn poller() -> &'static Poller {
    POLLER
        .get()
        .expect("the netpoller is made before any goroutine runs")
}

/// How many goroutines wait for descriptors.
pub fn waiters() -> usize {
    // Relaxed: a hint; a goroutine counts itself before it parks, so whoever sleeps for want of work
    // does so in the netpoller anyway (F2).
    WAITERS.load(Ordering::Relaxed)
}

/// Makes the M that sleeps in the netpoller return.
pub fn interrupt() {
    poller().interrupt();
}

/// The record of `fd`; `None` for numbers beyond the table, which are then not pollable.
fn descriptor(fd: i32) -> Option<&'static Descriptor> {
    let fd = usize::try_from(fd).ok()?;
    let page = TABLE.get(fd / PAGE)?;
    // Acquire: pairs with the Release in `make_page`.
    let mut records = page.load(Ordering::Acquire);
    if records.is_null() {
        records = make_page(page)?;
    }
    Some(record_of(records, fd))
}

/// The record of `fd` in its page, which is not null.
fn record_of(records: *mut Descriptor, fd: usize) -> &'static Descriptor {
    let record = records.wrapping_add(fd % PAGE);
    // SAFETY: a page holds PAGE records, made before it was published, and is never unmapped.
    unsafe { &*record }
}

/// The record of `fd` if its page exists.
fn known(fd: i32) -> Option<&'static Descriptor> {
    let fd = usize::try_from(fd).ok()?;
    // Acquire: pairs with the Release in `make_page`.
    let records = TABLE.get(fd / PAGE)?.load(Ordering::Acquire);
    (!records.is_null()).then(|| record_of(records, fd))
}

#[cold]
fn make_page(page: &AtomicPtr<Descriptor>) -> Option<*mut Descriptor> {
    let bytes = PAGE * size_of::<Descriptor>();
    let made = map::reserve(bytes).ok()? as *mut Descriptor;
    for index in 0..PAGE {
        let record = Descriptor {
            read_edges: AtomicU32::new(0),
            write_edges: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            kind: AtomicU8::new(0),
            touched: AtomicBool::new(false),
            borrowers: AtomicU32::new(0),
            turn: AtomicU8::new(FREE),
            sides: Guarded::new(Sides {
                registered: false,
                read: Side::default(),
                write: Side::default(),
                watches: watch::Watches::default(),
            }),
        };
        let place = made.wrapping_add(index);
        // SAFETY: within the mapping, which is aligned to a page.
        unsafe { place.write(record) };
    }
    // Release: publishes the records. Acquire on failure: another thread's records are used.
    match page.compare_exchange(
        std::ptr::null_mut(),
        made,
        Ordering::Release,
        Ordering::Acquire,
    ) {
        Ok(_) => Some(made),
        Err(theirs) => {
            // SAFETY: our own mapping, which nobody has seen.
            unsafe { map::release(made as usize, bytes) };
            Some(theirs)
        }
    }
}

/// What `fd` refers to, asked of the kernel once for each file behind the number.
pub fn kind(fd: i32) -> FileKind {
    let Some(record) = descriptor(fd) else {
        return FileKind::File;
    };
    // Relaxed: the value stands for itself; `forget` of a number that is being reused happens before
    // its new owner learns the number.
    match record.kind.load(Ordering::Relaxed) {
        1 => FileKind::Socket,
        2 => FileKind::Pipe,
        3 => FileKind::Pollable,
        4 => FileKind::File,
        _ => {
            let kind = call::file_kind(fd);
            if kind != FileKind::Closed {
                // Relaxed: as above, for both.
                record.touched.store(true, Ordering::Relaxed);
                record.kind.store(kind as u8, Ordering::Relaxed);
            }
            kind
        }
    }
}

/// Looks at a direction before trying a call on it (N1).
pub fn observe(fd: i32, direction: Direction) -> Observed {
    let Some(record) = descriptor(fd) else {
        return Observed {
            edges: 0,
            generation: 0,
        };
    };
    // Acquire: pairs with the Release in `edge` and `forget`.
    let generation = record.generation.load(Ordering::Acquire);
    Observed {
        edges: record.edges(direction).load(Ordering::Acquire),
        generation,
    }
}

impl Descriptor {
    fn edges(&self, direction: Direction) -> &AtomicU32 {
        match direction {
            Direction::Read => &self.read_edges,
            Direction::Write => &self.write_edges,
        }
    }
}

impl Sides {
    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

impl Side {
    /// Whether any waiter goes on with its file.
    fn is_held(&self) -> bool {
        let mut at = self.waiters;
        while let Some(waiter) = at {
            // SAFETY: N2.
            let waiter = unsafe { waiter.as_ref() };
            if waiter.holds {
                return true;
            }
            at = waiter.next.get();
        }
        false
    }

    /// Claims every waiter with `token` and collects the goroutines; the list is empty then (N2).
    fn wake_all(&mut self, token: usize, ready: &mut Batch<G>) {
        self.wake_all_for(token, -1, ready);
    }

    /// As [`Side::wake_all`]; those that hold their file learn that it goes on under the number `moved_to`.
    /// Answers how many do.
    fn wake_all_for(&mut self, token: usize, moved_to: i32, ready: &mut Batch<G>) -> u32 {
        let mut borrowers = 0;
        let mut at = self.waiters.take();
        while let Some(waiter) = at {
            // SAFETY: N2: a waiter in the list lives, and its cells are touched under the lock.
            let waiter = unsafe { waiter.as_ref() };
            at = waiter.next.take();
            waiter.queued.set(false);
            if waiter.holds {
                waiter.moved_to.set(moved_to);
            }
            if let Some(claimed) = waiter.ticket.claim(token) {
                borrowers += u32::from(waiter.holds);
                // SAFETY: only goroutines wait here.
                let g = unsafe { G::of(claimed.into_task()) };
                g.wait.set(WaitReason::Runnable);
                // SAFETY: claiming made this thread the goroutine's holder; it waits in no list.
                unsafe { ready.push_back(NonNull::from(g)) };
            }
        }
        borrowers
    }

    fn remove(&mut self, gone: &Waiter) {
        let gone_at = NonNull::from(gone);
        let mut at = self.waiters;
        if at == Some(gone_at) {
            self.waiters = gone.next.take();
            return;
        }
        while let Some(waiter) = at {
            // SAFETY: N2.
            let waiter = unsafe { waiter.as_ref() };
            if waiter.next.get() == Some(gone_at) {
                waiter.next.set(gone.next.take());
                return;
            }
            at = waiter.next.get();
        }
    }
}

impl Waiter {
    /// A waiter that is in no list.
    pub fn new(ticket: Ticket<Green>) -> Self {
        Waiter {
            ticket,
            next: Cell::new(None),
            queued: Cell::new(false),
            holds: false,
            moved_to: Cell::new(-1),
        }
    }

    /// As [`Waiter::new`], for a call that goes on with its file (N4).
    fn holding(ticket: Ticket<Green>) -> Self {
        Waiter {
            holds: true,
            ..Waiter::new(ticket)
        }
    }

    /// Puts this waiter into `fd`'s list. `Ok(false)`: an edge came since `observed`.
    ///
    /// # Errors
    /// [`Wait::Closed`] or [`Wait::Unpollable`].
    ///
    /// # Safety
    /// `self` stays where it is until [`Waiter::leave`] has returned.
    pub unsafe fn enter(
        &self,
        fd: i32,
        direction: Direction,
        observed: Observed,
    ) -> Result<bool, Wait> {
        let Some(record) = descriptor(fd) else {
            return Err(Wait::Unpollable);
        };
        let mut sides = record.sides.lock();
        // Relaxed: written under the lock.
        let generation = record.generation.load(Ordering::Relaxed);
        if generation != observed.generation {
            return Err(Wait::Closed);
        }
        if !sides.registered {
            let data = fd as u64 | u64::from(generation) << 32;
            if poller().owns(fd) || poller().add(fd, data).is_err() {
                return Err(Wait::Unpollable);
            }
            sides.registered = true;
            // Relaxed: read by `forget`, which whoever may close the descriptor calls after this.
            record.touched.store(true, Ordering::Relaxed);
        }
        // Relaxed: written under the lock.
        if record.edges(direction).load(Ordering::Relaxed) != observed.edges {
            return Ok(false);
        }
        let side = sides.side(direction);
        self.next.set(side.waiters.replace(NonNull::from(self)));
        self.queued.set(true);
        Ok(true)
    }

    /// Takes this waiter out of `fd`'s list if it still is in.
    pub fn leave(&self, fd: i32, direction: Direction) {
        let Some(record) = descriptor(fd) else { return };
        let mut sides = record.sides.lock();
        if self.queued.replace(false) {
            sides.side(direction).remove(self);
        }
    }
}

/// Counts the calling goroutine among those that wait for descriptors, while it lives.
pub struct Counted(());

impl Counted {
    /// Counts one more.
    pub fn new() -> Self {
        WAITERS.fetch_add(1, Ordering::Relaxed);
        Counted(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        WAITERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Blocks the calling goroutine `g` until `fd` had an edge since `observed`, is closed, or `deadline`,
/// or a context that it runs under ends.
pub fn wait(
    g: &'static G,
    fd: i32,
    direction: Direction,
    observed: Observed,
    deadline: Nanos,
) -> Wait {
    let ticket = Ticket::of(g.as_task());
    let waiter = Waiter::holding(ticket);
    // SAFETY: `waiter` does not move, and `leave` is called below before it goes.
    match unsafe { waiter.enter(fd, direction, observed) } {
        Ok(true) => {}
        Ok(false) => {
            ticket.unused();
            return Wait::Ready;
        }
        Err(outcome) => {
            ticket.unused();
            return outcome;
        }
    }
    let counted = Counted::new();
    g.wait.begin(WaitReason::Io);
    let ended = interrupt::park(ticket, deadline);
    drop(counted);
    waiter.leave(fd, direction);
    if let Some(error) = ended {
        return Wait::Ended(error);
    }
    match waiter.outcome(deadline) {
        // The number was given to another file after the edge woke this goroutine, before it ran.
        Wait::Ready if observe(fd, direction).generation != observed.generation => Wait::Closed,
        outcome => outcome,
    }
}

impl Waiter {
    /// What the winning claim means, asked after `leave`.
    fn outcome(&self, deadline: Nanos) -> Wait {
        match (self.ticket.token(), self.moved_to.get()) {
            (TIMED_OUT, _) if deadline != NEVER => Wait::TimedOut,
            (CLOSED, -1) => Wait::Closed,
            (CLOSED, fd) => Wait::Moved(fd),
            _ => Wait::Ready,
        }
    }
}

/// When [`poll`] last was done, in nanoseconds of the clock.
static LAST_POLL: AtomicU64 = AtomicU64::new(0);

/// When events were last taken from the kernel, in nanoseconds of the clock.
pub fn last_poll() -> Nanos {
    // Relaxed: as above.
    LAST_POLL.load(Ordering::Relaxed)
}

/// Takes events from the kernel and collects the goroutines that waited for them. The one M that sleeps in
/// the netpoller says until when (`None`: it does not wait) (F3).
pub fn poll(until: Option<Nanos>, ready: &mut Batch<G>) {
    let mut events = [Event { events: 0, u64: 0 }; 128];
    let count = match until {
        None => poller().poll(&mut events),
        Some(deadline) => poller().wait_until(&mut events, deadline),
    };
    // Relaxed: a hint to the monitor.
    LAST_POLL.store(clock::now(), Ordering::Relaxed);
    for event in &events[..count] {
        let (bits, data) = (event.events, event.u64);
        match data {
            // The timer's end says that the wait is over, no more.
            TIMER => {}
            INTERRUPT if until.is_some() => poller().drain_interrupt(),
            INTERRUPT => {}
            _ => edge(data as u32 as i32, (data >> 32) as u32, bits as i32, ready),
        }
    }
}

/// Nobody has the turn.
const FREE: u8 = 0;
/// One has it.
const TAKEN: u8 = 1;
/// One has it, and another has asked for it since.
const WANTED: u8 = 2;

/// The turn to read from a descriptor, given up when it drops (N5).
pub struct Turn(&'static Descriptor);

/// Takes the turn for `fd`. `None`: another has it, and an edge will say that it was given up, to whoever
/// observed the descriptor before this call.
pub fn take_turn(fd: i32) -> Option<Turn> {
    let record = descriptor(fd)?;
    // Acquire: pairs with the Release in `Turn::drop`: what its holder took from the file is gone.
    let mut current = record.turn.load(Ordering::Relaxed);
    loop {
        let next = if current == FREE { TAKEN } else { WANTED };
        match record
            .turn
            .compare_exchange_weak(current, next, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) if next == TAKEN => return Some(Turn(record)),
            Ok(_) => return None,
            Err(found) => current = found,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `take_turn`.
        if self.0.turn.swap(FREE, Ordering::Release) != WANTED {
            return;
        }
        let mut ready = Batch::new();
        {
            let mut sides = self.0.sides.lock();
            // Release: pairs with the Acquire in `observe`.
            self.0.read_edges.fetch_add(1, Ordering::Release);
            sides.read.wake_all(EDGE, &mut ready);
        }
        sched::ready_batch(ready);
    }
}

/// Counts an edge and wakes who waits for it.
fn edge(fd: i32, generation: u32, bits: i32, ready: &mut Batch<G>) {
    let Some(record) = known(fd) else { return };
    let ends = libc::EPOLLHUP | libc::EPOLLERR;
    let mut sides = record.sides.lock();
    // Relaxed: written under the lock.
    if record.generation.load(Ordering::Relaxed) != generation {
        return; // N3
    }
    if bits & (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLPRI | ends) != 0 {
        // Release: pairs with the Acquire in `observe`.
        record.read_edges.fetch_add(1, Ordering::Release);
        sides.read.wake_all(EDGE, ready);
    }
    if bits & (libc::EPOLLOUT | ends) != 0 {
        // Release: pairs with the Acquire in `observe`.
        record.write_edges.fetch_add(1, Ordering::Release);
        sides.write.wake_all(EDGE, ready);
    }
    sides.watches.fire(bits, ready);
}

/// Says that the number `fd` does not, or no longer, stand for the file that it stood for (N3).
pub fn forget(fd: i32) {
    let Some(record) = known(fd).filter(|_| !crate::plain::is_child()) else {
        return;
    };
    // Relaxed: a number that was never touched has no waiters and is not registered. The common case
    // costs no lock.
    if !record.touched.load(Ordering::Relaxed) {
        return;
    }
    let mut ready = Batch::new();
    {
        let mut sides = record.sides.lock();
        record.kind.store(0, Ordering::Relaxed);
        record.touched.store(false, Ordering::Relaxed);
        sides.registered = false;
        // Release: pairs with the Acquire in `observe`.
        record.generation.fetch_add(1, Ordering::Release);
        sides.read.wake_all(CLOSED, &mut ready);
        sides.write.wake_all(CLOSED, &mut ready);
        sides.watches.close(&mut ready);
    }
    sched::ready_batch(ready);
}

/// Whether the program has no business with the number `fd`: it is the poller's, or borrowed (N4).
pub fn is_own(fd: i32) -> bool {
    if crate::plain::is_child() {
        return false;
    }
    // Relaxed: set before the number is told to anybody.
    let borrowed = |record: &Descriptor| record.borrowers.load(Ordering::Relaxed) > 0;
    POLLER.get().is_some_and(|poller| poller.owns(fd)) || known(fd).is_some_and(borrowed)
}

/// Says that the number `fd` is about to be closed, or given to another file: whoever waits for its file
/// goes on waiting for it (N4).
pub fn release(fd: i32) {
    let Some(record) = known(fd).filter(|_| !crate::plain::is_child()) else {
        return;
    };
    // Relaxed: as in `forget`.
    if !record.touched.load(Ordering::Relaxed) {
        return;
    }
    let is_held = {
        let sides = record.sides.lock();
        sides.read.is_held() || sides.write.is_held()
    };
    let moved = is_held && call::duplicate(fd).is_some_and(|own| move_to(record, fd, own));
    if !moved {
        forget(fd);
    }
}

/// Lets those who wait for `fd` go on with its file under the number `own`; whether it could.
fn move_to(record: &Descriptor, fd: i32, own: i32) -> bool {
    forget(own);
    let Some(target) = descriptor(own) else {
        call::close(own);
        return false;
    };
    let mut ready = Batch::new();
    let borrowers = {
        let mut sides = record.sides.lock();
        if std::mem::replace(&mut sides.registered, false) {
            // The file stays open, so the kernel would keep watching it for this number.
            poller().remove(fd);
        }
        // Relaxed, for both: as in `forget`.
        record.kind.store(0, Ordering::Relaxed);
        record.touched.store(false, Ordering::Relaxed);
        // Release: pairs with the Acquire in `observe`.
        record.generation.fetch_add(1, Ordering::Release);
        sides.watches.close(&mut ready);
        sides.read.wake_all_for(CLOSED, own, &mut ready)
            + sides.write.wake_all_for(CLOSED, own, &mut ready)
    };
    // Relaxed: published to the borrowers by readying them.
    target.borrowers.store(borrowers, Ordering::Relaxed);
    if borrowers == 0 {
        forget(own);
        call::close(own);
    }
    sched::ready_batch(ready);
    true
}

/// A call that went on under the netpoller's own number `own` has ended (N4).
pub fn give_back(own: i32) {
    let Some(record) = known(own) else { return };
    // AcqRel: what the others did with the file is over before it is closed.
    if record.borrowers.fetch_sub(1, Ordering::AcqRel) == 1 {
        forget(own);
        call::close(own);
    }
}

/// Releases all numbers from `first` to `last` that are the program's, and calls `close` with each run of
/// them; numbers that were never waited for are in the runs unseen.
pub fn release_range(first: u32, last: u32, mut close: impl FnMut(u32, u32) -> isize) -> isize {
    let bound = (PAGE * PAGES) as u32;
    let mut result = 0;
    let mut run = first;
    let mut fd = first;
    while fd <= last && fd < bound {
        if is_own(fd as i32) {
            if run < fd {
                result = close(run, fd - 1).min(result);
            }
            run = fd + 1;
        } else {
            release(fd as i32);
        }
        fd += 1;
        if known(fd as i32).is_none() && !is_own(fd as i32) && fd.is_multiple_of(PAGE as u32) {
            // A page that was never made has nothing to release.
            let page_end = fd + PAGE as u32;
            fd = (fd..page_end)
                .find(|fd| is_own(*fd as i32))
                .unwrap_or(page_end);
        }
    }
    if run <= last {
        result = close(run, last).min(result);
    }
    result
}
