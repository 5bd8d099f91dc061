//! Sections, and preemption by suspension.
//!
//! A goroutine that overruns its turn while others wait is *suspended*: the monitor signals its M; the
//! handler, on that very thread, gives the P to another M, puts the goroutine on a queue as "suspended
//! on M x", and waits on a futex inside the handler. Whoever takes that goroutine from a queue hands
//! its own P to M x and goes idle itself. So no frame of the kernel ever moves to another OS thread, no
//! stack is switched in a handler, and any code may be interrupted, as a thread's may.
//!
//! - V1: a goroutine is suspended only outside sections (`gaggle_core::sections`), when no wait of its
//!   is open (T6 of `gaggle_core::task`), and when the interrupted instruction is not libc's, the
//!   dynamic linker's or the unwinder's. So it never holds a lock of the runtime or of libc, and what
//!   resumes it (g0, the monitor, another handler) may take them.
//! - V2: in the order of the handler: the heir is secured first (an M that is itself suspended with the
//!   goroutine that is next, or an idle one); without one nothing happens. Then the own goroutine is
//!   marked (`suspended_on`, the M's word) and queued, then the P is given to the heir, then it waits.
//! - V3: only the M that holds a P gives it away; the exception is the monitor, by revocation (E1), from
//!   an M that is blocked in the kernel in a call that no hook saw. Its goroutine goes on without a P
//!   when the call returns, gets one when it ends its next section, and is suspended if it computes.
//! - V4: the resumer clears `suspended_on`, puts its P into x, moves x's turn on (unless the suspension
//!   was early), clears x's word (Release) and wakes it, and touches none of it after.
//! - V5: a request names a turn, and the handler ignores one of another turn.
//! - V6: a goroutine that is in libc whenever it is looked at loses its P instead ("hand-off"): it goes
//!   on as a thread among others until it leaves libc. It is never frozen there.
//! - V7: nothing between a goroutine's being taken from a queue and its M's waking calls malloc or takes
//!   a lock other than the runtime's own.

use crate::alarm;
use crate::find_work;
use crate::g::{G, from_link};
use crate::m::{self, M};
use crate::p::{self, P};
use crate::pin;
use crate::sched;
use gaggle_core::injector::Batch;
use gaggle_sys::alarm::is_from_alarm;
use gaggle_sys::{barrier, futex, interrupt};
use moving::move_here;
use settings::{WAY_HAND_OFF, WAY_SWITCH, is_switched_off, is_untouched, way};
use std::ffi::{c_int, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

mod moving;
mod section;
mod settings;

pub use moving::move_back;
pub use section::{Section, enter, leave};
pub use settings::{slice_nanos, start, switch_off};

// ---- Figures ----

static SUSPENSIONS: AtomicU64 = AtomicU64::new(0);
static REVOCATIONS: AtomicU64 = AtomicU64::new(0);
/// How many goroutines are suspended early.
static EARLY: AtomicU32 = AtomicU32::new(0);
/// How many goroutines run without a P.
static WITHOUT_P: AtomicI32 = AtomicI32::new(0);

/// How many times a goroutine was suspended.
pub fn suspensions() -> u64 {
    // Relaxed: a figure to report.
    SUSPENSIONS.load(Ordering::Relaxed)
}

/// How many times a P was taken from an M in a call that no hook saw, or given up in libc.
pub fn revocations() -> u64 {
    // Relaxed: a figure to report.
    REVOCATIONS.load(Ordering::Relaxed)
}

/// Whether one more turn may be ended early: no more than one for each P, as those who woke come before
/// those who were suspended for them, and each suspended one keeps an OS thread.
pub fn may_end_early() -> bool {
    // Relaxed: a hint to the monitor, the only one who asks.
    EARLY.load(Ordering::Relaxed) < p::count()
}

/// Whether any goroutine runs without a P.
pub fn any_without_p() -> bool {
    // Relaxed: as above.
    WITHOUT_P.load(Ordering::Relaxed) > 0
}

// ---- The handler ----

/// How often a goroutine is spared in libc within a turn before it loses its P (V6).
const SPARED_IN_LIBC: u32 = 20;

extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: this is the handler of SIGURG, with the kernel's own arguments.
    let is_alarm = unsafe { is_from_alarm(info) };
    // SAFETY: as above.
    if !is_alarm && unsafe { crate::hooks::signal::is_foreign(info) } {
        // SAFETY: as above.
        return unsafe { crate::hooks::signal::foreign_own_signal(signal, info, context) };
    }
    // On an M's own stack, a foreign thread, or in a forked child: nothing to do.
    let Some(g) = sched::current() else { return };
    let m = g.machine();
    // SAFETY: this is the handler, and the context its third argument.
    let in_libc = is_untouched(unsafe { interrupt::interrupted_at(context) });
    let in_section = m.sections.depth() != 0 || g.task.is_armed();
    if is_alarm {
        if alarm::has_rung(m) && !in_section && !in_libc {
            m.sections.enter();
            alarm::ring(g, m, context);
            m.sections.leave();
        }
        return;
    }
    // Relaxed: V5; the monitor writes a turn that it read from here.
    let asked = m.preemption.request.load(Ordering::Relaxed);
    if asked != m.turn.load(Ordering::Relaxed) {
        return;
    }
    // Relaxed: as `early` below.
    let for_alarm = m.preemption.alarm_wanted.load(Ordering::Relaxed);
    if in_section {
        if !for_alarm {
            // Relaxed: read by this thread.
            m.attention.store(true, Ordering::Relaxed);
        }
        return;
    }
    m.sections.enter();
    if for_alarm {
        alarm::set(m);
    } else {
        preempt(g, m, context, in_libc);
    }
    m.sections.leave();
}

/// Ends the turn of `g`, in the handler and a section, for somebody who woke.
pub fn end_early(g: &'static G, m: &'static M, context: *mut c_void) {
    // Relaxed: read by this thread.
    m.preemption.early.store(true, Ordering::Relaxed);
    preempt(g, m, context, false);
}

/// Ends the turn of `g`, on its own M, in the handler.
fn preempt(g: &'static G, m: &'static M, context: *mut c_void, in_libc: bool) {
    let Some(p) = m.p() else {
        if !in_libc {
            suspend(g, m, None);
        }
        return;
    };
    if in_libc && !spared_enough(m) {
        return;
    }
    // Relaxed: written by the monitor before it sent the signal; a stale answer is harmless.
    let early = m.preemption.early.load(Ordering::Relaxed);
    let way = way();
    if way == WAY_SWITCH && !in_libc {
        let limit = g.slot.get().map_or(usize::MAX >> 1, |slot| slot.base);
        // SAFETY: this is the handler, and the goroutine was interrupted on its own stack, outside
        // sections and libc; the way's contract says that no handler of the program runs on Ms.
        unsafe { interrupt::call_at_return(context, limit, yield_for_others) };
        return;
    }
    if early && !m::any_idle() {
        crate::sysmon::want_machine();
        return; // who woke stays first in the queue of the urgent
    }
    let Some(next) = next_for(p, early) else {
        return;
    };
    // V2: the heir.
    let has_own = suspended_on(next).is_some() || pin::machine_of(next).is_some();
    let heir = match has_own {
        true => None,
        false => match m::take_idle() {
            Some(idle) => {
                if !m::any_idle() {
                    // The next one who wakes is not to wait until an OS thread has been made.
                    crate::sysmon::want_machine();
                }
                Some(idle)
            }
            None => {
                put_back(p, next);
                crate::sysmon::want_machine();
                return;
            }
        },
    };
    if in_libc || way == WAY_HAND_OFF {
        lose(m);
        pass(p, next, heir);
    } else {
        m.preemption.keeps_turn.store(early, Ordering::Relaxed);
        suspend(g, m, Some((p, next, heir)));
    }
}

/// What an interrupted goroutine calls by [`WAY_SWITCH`].
extern "C" fn yield_for_others() {
    let Some(g) = sched::current() else { return };
    if g.task.is_armed() {
        return;
    }
    enter(g);
    // Relaxed: a figure to report.
    SUSPENSIONS.fetch_add(1, Ordering::Relaxed);
    sched::preempted(g);
    leave(g);
}

/// V6: counts one more look in libc during this turn; whether it is enough.
fn spared_enough(m: &'static M) -> bool {
    let turn = m.turn.load(Ordering::Relaxed);
    let (counted, times) = m.preemption.in_libc.get();
    let times = if counted == turn { times + 1 } else { 1 };
    m.preemption.in_libc.set((turn, times));
    times > SPARED_IN_LIBC
}

/// Gives the P of the calling M up while its goroutine goes on; the caller passes the P on.
fn lose(m: &'static M) {
    m.forget_p();
    m.sections.lose();
    mark_without_p(m);
    // Relaxed: a figure to report.
    REVOCATIONS.fetch_add(1, Ordering::Relaxed);
}

fn mark_without_p(m: &'static M) {
    // Relaxed: hints, which the M itself reads at its next section.
    m.preemption.without_p.store(true, Ordering::Relaxed);
    WITHOUT_P.fetch_add(1, Ordering::Relaxed);
    m.attention.store(true, Ordering::Relaxed);
}

/// The M has a P again, or kept it.
pub fn unmark_without_p(m: &M) {
    // Relaxed: hints; of the M and the monitor one finds the mark.
    if m.preemption.without_p.load(Ordering::Relaxed)
        && m.preemption.without_p.swap(false, Ordering::Relaxed)
    {
        WITHOUT_P.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who is to run instead on `p`, which the calling M holds. `early`: only somebody who woke.
fn next_for(p: &'static P, early: bool) -> Option<&'static G> {
    if let Some(g) = find_work::urgent().pop() {
        return Some(from_link(g));
    }
    if early {
        return None;
    }
    p.share();
    let tick = p.tick.get().wrapping_add(1);
    p.tick.set(tick);
    // SAFETY: the calling M holds the P.
    let own = || unsafe { p.queue.pop() }.map(|(g, _)| g);
    let global = || find_work::injector().pop();
    let found = if tick.is_multiple_of(2) {
        own().or_else(global)
    } else {
        global().or_else(own)
    };
    let found = found.or_else(|| {
        p::all()
            .iter()
            .filter(|victim| !std::ptr::eq(*victim, p))
            // SAFETY: the calling M holds `p`.
            .find_map(|victim| unsafe { victim.queue.steal_into(&p.queue, true) })
    });
    found.map(from_link)
}

/// Undoes [`next_for`].
fn put_back(p: &'static P, g: &'static G) {
    // SAFETY: the calling M holds the P, and the goroutine was taken from a queue.
    if let Some(overflow) = unsafe { p.queue.push_next(NonNull::from(g)) } {
        find_work::injector().push_batch(overflow);
    }
}

/// The M that waits with the frames of `g`, which the caller took from a queue.
pub fn suspended_on(g: &'static G) -> Option<&'static M> {
    // Relaxed: written before the goroutine was put into the queue it was taken from.
    // SAFETY: null or an M, which lives for ever.
    unsafe { g.suspended_on.load(Ordering::Relaxed).as_ref::<'static>() }
}

/// Suspends `g` on its own M until it is resumed (V2).
fn suspend(
    g: &'static G,
    m: &'static M,
    heir: Option<(&'static P, &'static G, Option<&'static M>)>,
) {
    // Relaxed: a figure to report.
    SUSPENSIONS.fetch_add(1, Ordering::Relaxed);
    // Relaxed: published by the queue.
    m.preemption.suspended.store(1, Ordering::Relaxed);
    let own = std::ptr::from_ref(m).cast_mut();
    g.suspended_on.store(own, Ordering::Relaxed);
    match heir {
        Some((p, next, heir)) => {
            m.forget_p();
            if m.preemption.keeps_turn.load(Ordering::Relaxed) {
                EARLY.fetch_add(1, Ordering::Relaxed);
                put_back(p, g); // next after the one who woke
            } else {
                // SAFETY: the goroutine runs here, so it is in no queue; V1: nobody else can ready it.
                unsafe { find_work::injector().push(NonNull::from(g)) };
            }
            pass(p, next, heir);
            find_work::notify(); // for the own goroutine, if a P has gone idle meanwhile
        }
        None => {
            m.preemption.keeps_turn.store(false, Ordering::Relaxed);
            // SAFETY: as above.
            unsafe { find_work::injector().push(NonNull::from(g)) };
            find_work::notify();
        }
    }
    // Acquire: pairs with the Release in `resume`.
    while m.preemption.suspended.load(Ordering::Acquire) != 0 {
        futex::wait(&m.preemption.suspended, 1, None);
    }
    move_back(m);
    alarm::set(m);
}

/// Gives `p` to whoever runs `next`: `heir`, or the M that `next` is suspended on or bound to.
fn pass(p: &'static P, next: &'static G, heir: Option<&'static M>) {
    match heir {
        Some(heir) => {
            move_here(heir);
            // Published by `give`; the heir sleeps, taken from the idle list.
            heir.handed.set(Some(next));
            heir.give(p.number, false);
        }
        None if suspended_on(next).is_some() => resume(next, p, true),
        None => {
            if let Some(owner) = pin::machine_of(next) {
                pin::pass(owner, p);
            }
        }
    }
}

/// Gives `p`, which the caller owns, to the M on which `g` is suspended (V4). `here`: the caller is
/// about to leave its processor of the machine to it.
pub fn resume(g: &'static G, p: &'static P, here: bool) {
    let Some(x) = suspended_on(g) else { return };
    // Relaxed: the goroutine is the caller's.
    g.suspended_on.store(null_mut(), Ordering::Relaxed);
    if here {
        move_here(x);
    }
    x.acquire(p);
    x.attention.store(false, Ordering::Relaxed);
    if x.preemption.keeps_turn.load(Ordering::Relaxed) {
        EARLY.fetch_sub(1, Ordering::Relaxed);
    } else {
        x.turn.fetch_add(1, Ordering::Relaxed);
    }
    // Release: pairs with the Acquire in `suspend`: all that was written to x is there when it goes on.
    x.preemption.suspended.store(0, Ordering::Release);
    futex::wake(&x.preemption.suspended, 1);
}

// ---- For the monitor ----

/// Asks `m` to end this turn.
pub fn request(m: &'static M, turn: u64, early: bool) {
    m.preemption.alarm_wanted.store(false, Ordering::Relaxed);
    m.preemption.early.store(early, Ordering::Relaxed);
    // Relaxed: V5: a handler that sees an older value ignores it, and is asked again.
    m.preemption.request.store(turn, Ordering::Relaxed);
    if is_switched_off() {
        m.attention.store(true, Ordering::Relaxed);
    } else {
        interrupt::send(m.thread_id.load(Ordering::Relaxed));
    }
}

/// Asks `m` to set its alarm, if it still is in this turn.
pub fn request_alarm(m: &'static M, turn: u64) {
    if is_switched_off() {
        return;
    }
    // Relaxed (both): as in `request`.
    m.preemption.alarm_wanted.store(true, Ordering::Relaxed);
    m.preemption.request.store(turn, Ordering::Relaxed);
    interrupt::send(m.thread_id.load(Ordering::Relaxed));
}

/// Takes `p` from `m`, which the kernel says is blocked; whether it could be taken. The caller owns it
/// then, and has an M for it.
pub fn revoke(m: &'static M, p: &'static P) -> bool {
    // The caller saw `m` hold `p` some time ago: meanwhile it may have given it away, and have another (E5).
    if !m.sections.ask(|| m.has(p)) {
        return false;
    }
    mark_without_p(m);
    barrier::all_threads(); // registered at the start
    if !m.sections.take() {
        unmark_without_p(m);
        return false;
    }
    // Relaxed: a figure to report.
    REVOCATIONS.fetch_add(1, Ordering::Relaxed);
    p.set_holder(None);
    true
}

/// Readies `batch` ahead of all others, when every P is busy; those that have gone idle meanwhile are
/// woken for it (F1 of [`crate::find_work`]).
pub fn ready_urgent(batch: Batch<G>) {
    let count = batch.len();
    if count == 0 {
        return;
    }
    find_work::urgent().push_batch(batch);
    for _ in 0..count.min(p::count() as usize) {
        if !find_work::notify() {
            break;
        }
    }
}
