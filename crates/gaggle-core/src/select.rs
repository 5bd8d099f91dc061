//! Select: one wait for whichever of several operations can go first.
//!
//! Each operation is an [`Arm`]. Arms name a lock each (a channel's, a semaphore's) or none (the
//! clock's, or a channel that never becomes ready).
//!
//! - S1: a select finishes without waiting in one of two ways. Quickly: it glances at all arms without a
//!   lock, chooses one of those that seem ready, and completes that one under its own lock. Or exactly: all
//!   locks are held, taken in the order of their addresses, from the first look at an arm until the
//!   select has either finished or stands in every arm's queue. Only the exact way finds that nothing
//!   is ready: so `default` is chosen only if there was an instant in which no arm was ready, and no two
//!   selects wait for each other's locks.
//! - S2: a select serves another task only before it stands in any queue, when nobody can claim it:
//!   it never both serves and is served, and never meets itself.
//! - S3: one ticket stands in all queues with the arm's number as its token, so one claim at most
//!   succeeds (T1) and exactly that arm's value moves.
//! - S4: after the wait the select leaves every queue, each under its own lock, before it returns
//!   (W3); only the arm that was served has been taken out by its claimer.
//! - S5: of the arms that are ready each is chosen with the same probability. A quick choice that fails,
//!   since others were quicker, is made anew in the exact way.
//! - S6: of several arms that wait in one queue each stands first with the same probability, so that a
//!   select that waits is as fair as one that does not.
//!
//! A rejected alternative enters the queues one lock at a time: it must be able to claim another
//! while it can itself be claimed, so it needs two claims at once, and two selects that meet crosswise
//! may for ever undo each other.
//!
//! Source: `selectgo` in Go's `runtime/select.go`, which always locks all; S5 counts the ready arms where Go
//! shuffles all, and S6 shuffles only arms with the same lock.

use crate::contract::{NEVER, Nanos, Runtime, TIMED_OUT, WaitReason};
use crate::interrupt;
use crate::task::{Claimed, Ticket};
use crate::wait_queue::wait_under_context;
use std::cell::Cell;
use std::fmt;

/// The address of an arm that has no lock.
pub const NO_LOCK: usize = 0;

/// One operation of a select.
///
/// An arm is used by one select at a time and by the task that owns it; what others reach of it (a
/// waiter, a value slot) is in cells, under the arm's lock.
///
/// # Safety
/// `lock` and `unlock` take and give up the one lock that `lock_address` names, the same for arms
/// with the same address, and `enqueue` and `dequeue` keep W1 to W4 of the wait queue. An arm without
/// a lock stands in no queue.
pub unsafe trait Arm<R: Runtime> {
    /// Where the arm's lock is; [`NO_LOCK`]: it has none.
    fn lock_address(&self) -> usize;

    /// Takes the lock.
    fn lock(&self);

    /// Gives the lock up.
    ///
    /// # Safety
    /// The caller took it.
    unsafe fn unlock(&self);

    /// How the arm looks without its lock: out of date as soon as it is answered. An arm that cannot
    /// tell says that it is ready.
    #[inline]
    fn glance(&self) -> Glance {
        Glance {
            is_ready: true,
            deadline: self.deadline(),
        }
    }

    /// Does the operation under its lock, if it needs no waiting, and readies the task that it served.
    /// `now` is the time if any arm has a deadline.
    fn complete_alone(&self, now: Nanos) -> bool {
        self.lock();
        // SAFETY: the lock was just taken, and the task is readied after it.
        let done = unsafe { self.try_complete(now) };
        // SAFETY: taken above.
        unsafe { self.unlock() };
        if let Some(Some(claimed)) = done {
            claimed.ready_near();
            return true;
        }
        done.is_some()
    }

    /// Whether the operation would not wait. `now` is as above.
    ///
    /// # Safety
    /// The caller holds the lock.
    unsafe fn is_ready(&self, now: Nanos) -> bool;

    /// Does the operation, if it needs no waiting; answers the task it served, if one waited.
    ///
    /// # Safety
    /// The caller holds the lock, and readies the task once it holds none.
    unsafe fn try_complete(&self, now: Nanos) -> Option<Option<Claimed<R>>>;

    /// Puts the operation into the queue of those that wait.
    ///
    /// # Safety
    /// The caller holds the lock, owns the ticket, and calls `dequeue` before the arm moves or goes,
    /// unless the ticket was claimed with `token`.
    unsafe fn enqueue(&self, ticket: Ticket<R>, token: usize);

    /// Takes the operation out of the queue, if it is still there; takes the lock for that.
    fn dequeue(&self);

    /// When the arm becomes ready by itself; [`NEVER`]: it does not.
    fn deadline(&self) -> Nanos;

    /// Forgets what an earlier select has left in the arm; called when it stands in no queue.
    fn prepare(&mut self) {}

    /// Tells the arm that it was chosen and is done.
    fn choose(&self);
}

/// An arm at a glance.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// The operation seems not to have to wait.
    pub is_ready: bool,
    /// When it becomes ready by itself; [`NEVER`]: it does not.
    pub deadline: Nanos,
}

/// A place in the order of the arms; a select needs one an arm.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    address: usize,
    number: usize,
}

/// Waits until one of `arms` could be done, does it, and answers its number; `None` if `deadline`, or
/// the end of a context that the task runs under, came first. With a deadline of 0 it never waits, and
/// reads no clock unless an arm has a deadline.
///
/// `places` is room for one place an arm. An arm that another select has chosen has been taken since.
///
/// # Panics
/// When `places` is shorter than `arms`.
pub fn select<R: Runtime>(
    arms: &[&dyn Arm<R>],
    places: &mut [Place],
    deadline: Nanos,
) -> Option<usize> {
    let places = &mut places[..arms.len()];
    if let Some(number) = quickly(arms, places) {
        return Some(number);
    }
    for ((number, arm), place) in arms.iter().enumerate().zip(places.iter_mut()) {
        let address = arm.lock_address();
        *place = Place { address, number };
    }
    places.sort_unstable_by_key(|place| place.address);
    exactly(Arms { arms, places }, deadline)
}

/// The quick way of S1, for arms without deadlines.
#[inline]
fn quickly<R: Runtime>(arms: &[&dyn Arm<R>], places: &mut [Place]) -> Option<usize> {
    let mut count = 0;
    for (number, arm) in arms.iter().enumerate() {
        let glance = arm.glance();
        if glance.deadline != NEVER {
            return None; // whether its time has come the exact way finds out
        }
        if glance.is_ready {
            places[count].number = number;
            count += 1;
        }
    }
    let chosen = match count {
        0 => return None,
        1 => 0,
        _ => below::<R>(count),
    };
    let number = places[chosen].number;
    if !arms[number].complete_alone(0) {
        return None;
    }
    arms[number].choose();
    Some(number)
}

/// A number below `count`, each with the same probability (but for one part in 2^40 where there are no more
/// than 2^24).
fn below<R: Runtime>(count: usize) -> usize {
    // The upper half of the product: Lemire, "Fast Random Integer Generation in an Interval" (2019).
    ((u128::from(R::random()) * count as u128) >> 64) as usize
}

/// The exact way of S1, and the wait.
fn exactly<R: Runtime>(mut arms: Arms<'_, R>, deadline: Nanos) -> Option<usize> {
    loop {
        let first = arms.deadline();
        let wake_at = first.min(deadline);
        let has_clock = wake_at != NEVER && (deadline != 0 || first != NEVER);
        let now = if has_clock { R::now() } else { 0 };
        arms.lock();
        if let Some((number, claimed)) = arms.complete_one(now) {
            arms.unlock();
            if let Some(claimed) = claimed {
                claimed.ready_near();
            }
            arms.arms[number].choose();
            return Some(number);
        }
        if now >= deadline {
            arms.unlock();
            return None;
        }
        arms.mix();
        let ticket = Ticket::take();
        arms.enqueue(ticket);
        // Read again under the locks: a timer may have been set to an earlier time since.
        let wake_at = arms.deadline().min(deadline);
        arms.unlock();
        let ended = wait_under_context(ticket, wake_at, WaitReason::Select);
        let token = ticket.token();
        arms.dequeue(token);
        if ended.is_some() {
            return None;
        }
        if token != TIMED_OUT {
            arms.arms[token].choose();
            return Some(token);
        }
        // A deadline came: the select's own, or an arm's; the next look tells.
    }
}

/// The arms, and the order in which their locks are taken.
struct Arms<'a, R: Runtime> {
    arms: &'a [&'a dyn Arm<R>],
    places: &'a mut [Place],
}

impl<'a, R: Runtime> Arms<'a, R> {
    /// The earliest deadline of an arm.
    fn deadline(&self) -> Nanos {
        let deadlines = self.arms.iter().map(|arm| arm.deadline());
        deadlines.min().unwrap_or(NEVER)
    }

    /// One arm for each lock, in the order of their addresses.
    fn locks(&self) -> impl Iterator<Item = &'a dyn Arm<R>> {
        let (arms, mut last) = (self.arms, NO_LOCK);
        self.places
            .iter()
            .filter(move |place| place.address != std::mem::replace(&mut last, place.address))
            .map(move |place| arms[place.number])
    }

    /// Takes all locks (S1).
    fn lock(&self) {
        for arm in self.locks() {
            arm.lock();
        }
    }

    /// Gives all locks up.
    fn unlock(&self) {
        for arm in self.locks() {
            // SAFETY: `lock` took the same locks, and each `lock` is followed by one `unlock`.
            unsafe { arm.unlock() };
        }
    }

    /// Does one of the arms that are ready, each with the same probability (S5). All locks are held.
    fn complete_one(&self, now: Nanos) -> Option<(usize, Option<Claimed<R>>)> {
        loop {
            let is_ready = |&number: &usize| {
                // SAFETY: the caller holds all locks.
                unsafe { self.arms[number].is_ready(now) }
            };
            let ready = (0..self.arms.len()).filter(is_ready).count();
            let skipped = match ready {
                0 => return None,
                1 => 0,
                _ => below::<R>(ready),
            };
            let chosen = (0..self.arms.len()).filter(is_ready).nth(skipped);
            // A waiter seen at the first look may be stale by the second; then all are looked at anew.
            // Nobody can join a queue meanwhile, so this ends.
            let Some(number) = chosen else { continue };
            // SAFETY: the caller holds all locks, and readies the task after them.
            if let Some(claimed) = unsafe { self.arms[number].try_complete(now) } {
                return Some((number, claimed));
            }
        }
    }

    /// Shuffles the arms that have the same lock (S6).
    fn mix(&mut self) {
        let have_one = |one: &Place, other: &Place| one.address == other.address;
        for same in self.places.chunk_by_mut(have_one) {
            // Fisher and Yates; no step where there is one arm.
            for last in (1..same.len()).rev() {
                same.swap(last, below::<R>(last + 1));
            }
        }
    }

    /// Puts all arms into their queues (S3). All locks are held.
    fn enqueue(&self, ticket: Ticket<R>) {
        for &Place { number, .. } in self.places.iter() {
            // SAFETY: the caller holds all locks; the arms are borrowed for longer than the wait, and
            // `dequeue` follows it.
            unsafe { self.arms[number].enqueue(ticket, number) };
        }
    }

    /// Takes all arms but the one that was served out of their queues (S4). No lock is held.
    fn dequeue(&self, served: usize) {
        for (number, arm) in self.arms.iter().enumerate() {
            if number != served {
                arm.dequeue();
            }
        }
    }
}

/// A list of operations made at run time, to wait for whichever can go first.
///
/// The operations ([`RecvArm`](crate::chan::RecvArm), [`SendArm`](crate::chan::SendArm), [`Timeout`])
/// stay the caller's: what came of the one that was chosen is asked of it.
pub struct Select<'a, R: Runtime> {
    arms: Vec<&'a dyn Arm<R>>,
    places: Vec<Place>,
}

impl<'a, R: Runtime> Select<'a, R> {
    /// A list of no operations.
    pub const fn new() -> Self {
        Select {
            arms: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Adds an operation and answers its number: 0 for the first, and so on.
    ///
    /// `&mut` keeps the operation from standing in two lists, or twice in one. If an earlier select has
    /// chosen it and nobody has taken what came of that, it is forgotten: a value received is dropped.
    pub fn add(&mut self, arm: &'a mut dyn Arm<R>) -> usize {
        arm.prepare();
        self.arms.push(arm);
        self.places.push(Place::default());
        self.arms.len() - 1
    }

    /// Waits for one operation, does it and answers its number; parks for ever if there is none.
    ///
    /// # Panics
    /// When a context that the task runs under ends first.
    #[track_caller]
    pub fn wait(mut self) -> usize {
        match (
            select(&self.arms, &mut self.places, NEVER),
            interrupt::error::<R>(),
        ) {
            (Some(number), _) => number,
            (None, Some(error)) => interrupt::unwind(error),
            (None, None) => unreachable!("only the end of a context ends it"),
        }
    }

    /// As [`Select::wait`], until `deadline` at most; 0 does not wait.
    pub fn wait_deadline(mut self, deadline: Nanos) -> Option<usize> {
        select(&self.arms, &mut self.places, deadline)
    }
}

impl<R: Runtime> Default for Select<'_, R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Runtime> fmt::Debug for Select<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select")
            .field("arms", &self.arms.len())
            .finish_non_exhaustive()
    }
}

/// The operation of waiting for a point of time.
#[derive(Debug)]
pub struct Timeout {
    at: Nanos,
    chosen: Cell<bool>,
}

impl Timeout {
    /// Ready from `at` on.
    pub const fn new(at: Nanos) -> Self {
        Timeout {
            at,
            chosen: Cell::new(false),
        }
    }

    /// Whether a select has chosen this operation.
    pub fn is_chosen(&self) -> bool {
        self.chosen.get()
    }
}

// SAFETY: it has no lock and stands in no queue.
unsafe impl<R: Runtime> Arm<R> for Timeout {
    fn lock_address(&self) -> usize {
        NO_LOCK
    }

    fn lock(&self) {}

    unsafe fn unlock(&self) {}

    unsafe fn is_ready(&self, now: Nanos) -> bool {
        now >= self.at
    }

    unsafe fn try_complete(&self, now: Nanos) -> Option<Option<Claimed<R>>> {
        (now >= self.at).then_some(None)
    }

    unsafe fn enqueue(&self, _ticket: Ticket<R>, _token: usize) {}

    fn dequeue(&self) {}

    fn deadline(&self) -> Nanos {
        self.at
    }

    fn prepare(&mut self) {
        self.chosen.set(false);
    }

    fn choose(&self) {
        self.chosen.set(true);
    }
}
