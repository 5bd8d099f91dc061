//! Calls that block the OS thread: the M's P goes on without it.
//!
//! - B1: during the call the goroutine stays on its M, in a section, and touches nothing of the P.
//! - B2: a call that may be short ([`in_call`]) leaves the P where it is; the monitor takes it when the
//!   call lasts ([`crate::sysmon`]). A call that is known to last ([`in_long_call`]) gives it up first.
//! - B3: after the call the goroutine goes on with its old P, with an idle one, or waits in the
//!   global queue for one, its M going idle.
//!
//! Source: Go's entersyscall, entersyscallblock and exitsyscall (runtime/proc.go).

use crate::alarm;
use crate::find_work::{self, IDLE};
use crate::g::G;
use crate::m::M;
use crate::p::{self, P};
use crate::preempt;
use crate::sched;
use gaggle_core::contract::WaitReason;
use std::sync::atomic::{AtomicU64, Ordering, fence};

static HAND_OFFS: AtomicU64 = AtomicU64::new(0);

/// How many times a P went on without the M of a blocked call.
pub fn hand_offs() -> u64 {
    HAND_OFFS.load(Ordering::Relaxed)
}

/// Counts one hand-off.
pub fn count_hand_off() {
    // Relaxed: a figure to report.
    HAND_OFFS.fetch_add(1, Ordering::Relaxed);
}

/// Runs `call`, which may block the OS thread; on a goroutine, others run meanwhile if it lasts.
pub fn in_call<R>(call: impl FnOnce() -> R) -> R {
    let Some(g) = sched::current() else {
        return call();
    };
    let m = preempt::enter(g);
    let Some(p) = m.p() else {
        // It goes on without a P (V3 of `preempt`), so nothing has to be handed off.
        let result = call();
        preempt::leave(g);
        return result;
    };
    p.near.expose(p);
    alarm::silence(m);
    // Relaxed: published by `enter`; the monitor uses it to look only.
    p.caller
        .store(m.thread_id.load(Ordering::Relaxed), Ordering::Relaxed);
    g.wait.begin(WaitReason::Call);
    let tick = p.handoff.enter();
    let result = call();
    g.wait.set(WaitReason::Unknown);
    if !p.handoff.leave(tick) {
        m.forget_p();
        find_processor(g, m);
    }
    preempt::leave(g);
    result
}

/// Runs `call`, which is known to block the OS thread for long.
pub fn in_long_call<R>(call: impl FnOnce() -> R) -> R {
    let Some(g) = sched::current() else {
        return call();
    };
    let m = preempt::enter(g);
    g.wait.begin(WaitReason::Call);
    if let Some(p) = m.p() {
        give_up(m, p);
    }
    alarm::silence(m);
    let result = call();
    g.wait.set(WaitReason::Unknown);
    find_processor(g, m);
    preempt::leave(g);
    result
}

/// Lets others have the P of the calling M.
pub fn give_up(m: &'static M, p: &'static P) {
    m.release();
    count_hand_off();
    if !p.queue.is_empty() || !find_work::injector().is_empty() {
        find_work::wake(p.number, false);
        return;
    }
    IDLE.put(p.number);
    // SeqCst fence: as in the order for sleeping (`gaggle_core::idle`): the P was put before, the
    // queues are read after.
    fence(Ordering::SeqCst);
    find_work::look_after(p.number);
}

/// Gets the calling goroutine, in a section and without a P, one to go on with (B3).
pub fn find_processor(g: &'static G, m: &'static M) {
    match IDLE.take() {
        Some(number) => m.acquire(p::at(number)),
        None => sched::requeue_without_processor(g),
    }
}
