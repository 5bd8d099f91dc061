//! Alarms: the kernel itself interrupts an M whose goroutine computes, at the moment a timer is due.
//!
//! The monitor sees a due timer only when the kernel gives it a processor, which among threads that
//! compute may be a tick of the kernel's (4 ms) late, or several. A timer's signal needs no processor of its
//! own: it comes on the one that the computing thread has, and that thread makes room for who woke, early
//! (V2 of [`crate::preempt`]).
//!
//! - A1: an alarm is made, set, silenced and deleted by its own M's OS thread: in the preemption handler,
//!   before a call that may block, and at the M's end. So nobody sets the timer of a thread that has ended.
//! - A2: it is set for a turn that has lasted for a while ([`crate::sysmon`] asks for it, and who resumes after a suspension
//!   sets its own), and no sooner than [`APART_NANOS`] from then: who is interrupted has had that time.
//! - A3: an alarm of another turn is ignored (as V5).
//! - A4: it is set while a goroutine's own code runs only: a call that blocks the OS thread silences it
//!   first, so that it does not end that call. A system call that no hook sees can be interrupted by it, as by
//!   any signal; the kernel begins most of them again (`SA_RESTART`).
//! - A5: an alarm is help, not the rule: what it misses the monitor finds.

use crate::find_work::{self, IDLE};
use crate::g::G;
use crate::m::M;
use crate::p;
use crate::plain;
use crate::preempt;
use gaggle_core::contract::NEVER;
use gaggle_core::injector::Batch;
use gaggle_sys::{alarm, clock};
use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far ahead a deadline may lie for an alarm to be set for it: as far as the monitor's looks are apart
/// while every P is busy, and late by a tick of the kernel's. No further: A4.
const AHEAD_NANOS: u64 = 6_000_000;

/// How much later than the deadline it comes: a timer that is due a little after is found with it.
const GRACE_NANOS: u64 = 5_000;

/// How long after its setting it comes at least.
const APART_NANOS: u64 = 400_000;

/// An M's alarm.
#[derive(Debug)]
pub struct Alarm {
    /// Made when first needed; its own thread's.
    timer: Cell<Option<alarm::Alarm>>,
    /// The deadline it is set for; `NEVER`: it is not set.
    deadline: AtomicU64,
    /// The turn it was set in.
    turn: AtomicU64,
}

impl Alarm {
    /// None yet.
    pub const fn new() -> Self {
        Alarm {
            timer: Cell::new(None),
            deadline: AtomicU64::new(NEVER),
            turn: AtomicU64::new(0),
        }
    }
}

/// Whether the monitor should ask `m`, in `turn`, to set its alarm: no P is free to look at the timers,
/// and the next one is due soon, and earlier than what the alarm is set for.
pub fn is_wanted(m: &M, turn: u64, first_deadline: u64, now: u64) -> bool {
    // Relaxed (both): hints; at worst it is set twice, or one look later.
    let set_for = match m.alarm.turn.load(Ordering::Relaxed) == turn {
        true => m.alarm.deadline.load(Ordering::Relaxed),
        false => NEVER,
    };
    first_deadline < set_for
        && first_deadline < now.saturating_add(AHEAD_NANOS)
        && IDLE.count() == 0
}

/// Sets the alarm of the calling M to the earliest deadline, if no P is free to look at the timers. Called
/// in the handler.
pub fn set(m: &'static M) {
    let deadline = find_work::first_deadline();
    let now = clock::now();
    if deadline >= now.saturating_add(AHEAD_NANOS) || IDLE.count() > 0 {
        return;
    }
    let timer = match m.alarm.timer.get() {
        Some(timer) => timer,
        // A5: the kernel has no more timers for this user.
        None => match alarm::Alarm::for_this_thread() {
            Ok(timer) => timer,
            Err(_) => return,
        },
    };
    m.alarm.timer.set(Some(timer));
    // Relaxed (both): this thread's own; the monitor's reads are hints.
    m.alarm
        .turn
        .store(m.turn.load(Ordering::Relaxed), Ordering::Relaxed);
    m.alarm.deadline.store(deadline, Ordering::Relaxed);
    timer.set((deadline + GRACE_NANOS).max(now + APART_NANOS));
}

/// Stops the alarm of the calling M if it is set (A4).
#[inline]
pub fn silence(m: &'static M) {
    // Relaxed: this thread's own.
    if m.alarm.deadline.load(Ordering::Relaxed) != NEVER {
        stop(m);
    }
}

#[cold]
fn stop(m: &'static M) {
    // Relaxed: as above.
    m.alarm.deadline.store(NEVER, Ordering::Relaxed);
    // A forked child has none of its parent's timers, and may have made its own.
    if let Some(timer) = m.alarm.timer.get().filter(|_| !plain::is_child()) {
        timer.set(0);
    }
}

/// The calling M's OS thread ends.
pub fn end(m: &'static M) {
    // Relaxed: as above.
    m.alarm.deadline.store(NEVER, Ordering::Relaxed);
    if let Some(timer) = m.alarm.timer.take() {
        timer.delete();
    }
}

/// The alarm of `m` rang, while `g`, outside sections and libc, computed on it: wakes who is due, and makes
/// room if every P is busy. `context` is the handler's.
pub fn ring(g: &'static G, m: &'static M, context: *mut c_void) {
    let mut due = Batch::new();
    let now = clock::now();
    for p in p::all() {
        p.timers.run(now, &mut due);
    }
    preempt::ready_urgent(due);
    if IDLE.count() == 0 && !find_work::urgent().is_empty() && preempt::may_end_early() {
        preempt::end_early(g, m, context);
    }
    // Set anew for the next one, unless its turn has ended: then whoever resumed it did so.
    set(m);
}

/// Whether the alarm of `m` was set in this turn (A3), and it has now rung.
pub fn has_rung(m: &'static M) -> bool {
    // Relaxed (all): this thread's own; the monitor's reads are hints.
    m.alarm.deadline.store(NEVER, Ordering::Relaxed);
    m.alarm.turn.load(Ordering::Relaxed) == m.turn.load(Ordering::Relaxed)
}
