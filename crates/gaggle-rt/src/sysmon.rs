//! The monitor: an OS thread without a P that sees to what no goroutine can.
//!
//! It takes the P of an M whose blocking call lasts, makes Ms when they are wanted, polls descriptors
//! when nobody has for a while, ends the turns of goroutines that overrun ([`crate::preempt`]), and finds
//! company for those that were left to run next and do not ([`crate::near`]). It
//! looks around every 20 microseconds while that finds something to do, and ever more rarely while it
//! does not: to 10 ms, or 1 ms while every P is busy or channels are used, or the next deadline of a timer then. Source:
//! Go's sysmon (runtime/proc.go).
//!
//! Of the runtime's OS threads only the first M and the monitor are there when the first goroutine runs. The
//! monitor makes the others ([`Crew`]) [`CREW_AFTER_NANOS`] later, and sleeps until then unless an M is wanted:
//! turns have just begun, and a call that blocks keeps its P for no longer than while a thread is made.

use crate::alarm;
use crate::blocking;
use crate::find_work::{self, IDLE};
use crate::m::{self, M, Seen};
use crate::netpoll;
use crate::p::{self, P};
use crate::preempt;
use crate::sched;
use gaggle_core::contract::NEVER;
use gaggle_core::injector::Batch;
use gaggle_sys::glibc::snapshot::Pictured;
use gaggle_sys::thread::{self, State};
use gaggle_sys::{clock, futex, interrupt};
use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

const SLEEP_NANOS_MIN: u64 = 20_000;
const SLEEP_NANOS_MAX: u64 = 10_000_000;
/// Rounds without anything to do before the sleep doubles.
const PATIENCE_ROUNDS: u32 = 50;

/// The monitor's own slice of processor time: the shortest that the kernel gives, as it is to run soon
/// when it wakes among goroutines that compute.
const KERNEL_SLICE_NANOS: u64 = 100_000;
/// The longest sleep while every P is busy.
const BUSY_SLEEP_NANOS_MAX: u64 = 1_000_000;
/// How long the netpoller may go without anybody who looks.
const UNPOLLED_NANOS: u64 = 1_000_000;
/// How much processor time a turn may use before it is ended early, for somebody who woke.
const EARLY_USED_NANOS: u64 = 400_000;
/// How long an M may sleep in a call that no hook saw before its P is taken.
const BLOCKED_NANOS: u64 = 200_000;
/// The same where it waits for the kernel itself (a page, the address space) or for a lock of libc, the
/// one futex that no hook sees: such waits end soon, and the next M may well wait for the same.
const LOCKED_NANOS: u64 = 5_000_000;
/// How long a due timer is left alone: a busy M finds its timers itself.
const GRACE_NANOS: u64 = 40_000;
/// How long after a request for the end of a slice the next one is made.
const RETRY_NANOS: u64 = 100_000;
/// How long after an early request the next one is made.
const EARLY_NANOS: u64 = 1_000_000;
/// How long a turn has lasted when its M is asked to set its alarm.
const ALARM_AFTER_NANOS: u64 = 500_000;
/// How much processor time a goroutine may use without a P.
const WITHOUT_P_NANOS: u64 = 100_000;

/// How long after the start the crew is made: a program that has ended by then has not paid for it.
const CREW_AFTER_NANOS: u64 = 1_000_000;

/// 1 while an M is wanted.
static WANTED: AtomicU32 = AtomicU32::new(0);

/// Says that an M was wanted and none was idle.
pub fn want_machine() {
    // Release: pairs with the Acquire in `make_machines`.
    WANTED.store(1, Ordering::Release);
    futex::wake(&WANTED, 1);
}

/// Starts one M.
///
/// # Errors
/// When the operating system refuses a thread.
pub fn start_machine() -> io::Result<()> {
    let m = M::new();
    m::begins(m);
    // SAFETY: an M lives for ever, and this one waits for its thread.
    let started = unsafe { thread::start(run_machine, std::ptr::from_ref(m).cast_mut().cast()) };
    if started.is_err() {
        m::has_begun(m);
        m.has_ended();
    }
    started
}

/// Makes the first M, of a thread that has been pictured.
pub fn start_first_machine(thread: Pictured) {
    let m = M::new();
    m::begins(m);
    // SAFETY: an M lives for ever, and this one waits for its thread.
    unsafe { thread.go_on(run_machine, std::ptr::from_ref(m).cast_mut().cast()) };
}

/// An M's OS thread.
extern "C" fn run_machine(m: *mut c_void) -> *mut c_void {
    // SAFETY: `start_machine` passes an M, which lives for ever.
    let m = unsafe { &*m.cast::<M>() };
    thread::set_name(format_args!("gaggle-m{}", m.number));
    thread::block_asynchronous_signals();
    let signal_stack = crate::alt_stack::install().unwrap_or_else(|error| {
        crate::fatal(format_args!("no signal stack for an OS thread: {error}"))
    });
    m.adopt();
    find_work::schedule(m);
    crate::alt_stack::remove(signal_stack);
    std::ptr::null_mut()
}

/// Starts the monitor itself, of a thread that has been pictured.
pub fn start(thread: Pictured) {
    crate::hold::tick();
    // SAFETY: the monitor takes no argument.
    unsafe { thread.go_on(run_monitor, std::ptr::null_mut()) };
    crate::deadlock::own_thread_started();
}

/// The monitor's OS thread.
extern "C" fn run_monitor(_: *mut c_void) -> *mut c_void {
    thread::set_name(format_args!("gaggle-sysmon"));
    thread::block_asynchronous_signals();
    thread::ask_for_slices(KERNEL_SLICE_NANOS);
    watch()
}

/// The threads that every program gets that lasts: an M for each P and a spare for the first blocking call,
/// so that they need not be made when they are wanted; and the reporter.
struct Crew {
    due: u64,
    is_whole: bool,
}

impl Crew {
    fn new() -> Self {
        Crew {
            due: clock::now() + CREW_AFTER_NANOS,
            is_whole: false,
        }
    }

    /// Makes it whole when that is due; whether it was.
    fn look(&mut self) -> bool {
        let is_due = !self.is_whole && clock::now() >= self.due;
        if is_due {
            // Where the operating system refuses a thread the next round tries anew.
            self.is_whole = Self::make().is_ok();
        }
        is_due
    }

    fn make() -> io::Result<()> {
        while m::count() < (p::count() + 1).min(m::limit()) {
            start_machine()?;
        }
        crate::report::start()
    }
}

fn watch() -> ! {
    let mut seen = [None; p::MAX];
    let mut crew = Crew::new();
    let mut sleep_nanos = CREW_AFTER_NANOS;
    let mut quiet_rounds = 0;
    let mut open = false;
    let mut reread = crate::processors::Reread::default();
    let mut trace = crate::trace::Trace::new();
    let mut deadlock = crate::deadlock::Look::new();
    let mut near = crate::near::Look::new();
    let mut again_soon = false;
    let mut woken_at = clock::now();
    loop {
        deadlock.look();
        trace.look();
        reread.look();
        crate::hooks::deliver_deferred();
        let planned = match (again_soon, near.is_active()) {
            (true, _) => SLEEP_NANOS_MIN,
            (false, true) => sleep_nanos.min(BUSY_SLEEP_NANOS_MAX),
            (false, false) => sleep_nanos,
        };
        let awake = clock::now().saturating_sub(woken_at);
        futex::wait(&WANTED, 0, Some(until_next_look(planned, awake)));
        woken_at = clock::now();
        crate::hold::tick();
        again_soon = near.look();
        let busy = make_machines(&mut open) | retake(&mut seen);
        // What this finds is no reason to look again soon (Go's sysmon has it so, too).
        poll_if_nobody_does();
        let busy = preempt_overrunning() | crew.look() | busy;
        if busy {
            sleep_nanos = SLEEP_NANOS_MIN;
            quiet_rounds = 0;
        } else {
            quiet_rounds += 1;
            if quiet_rounds > PATIENCE_ROUNDS {
                sleep_nanos = (sleep_nanos * 2).min(SLEEP_NANOS_MAX);
            }
        }
    }
}

/// How long to sleep: `planned`, but no longer than the next timer is due while no P is free to look; and
/// then at least as long as it was `awake`: who has had more of a processor than those who compute there
/// gets it again at the kernel's next tick only (EEVDF), up to 4 ms later.
fn until_next_look(planned: u64, awake: u64) -> u64 {
    if IDLE.count() > 0 {
        return planned;
    }
    let until_due = find_work::first_deadline().saturating_sub(clock::now());
    planned
        .min(BUSY_SLEEP_NANOS_MAX)
        .min(until_due.saturating_add(GRACE_NANOS))
        .max(awake + awake / 2)
}

/// Ends turns that have lasted too long, or that keep somebody from running who woke; takes the P from
/// Ms that sleep in a call that no hook saw. Whether there was anything.
fn preempt_overrunning() -> bool {
    let now = clock::now();
    let mut early = false;
    if IDLE.count() == 0 {
        early = !find_work::urgent().is_empty();
        if find_work::first_deadline().saturating_add(GRACE_NANOS / 2) <= now {
            let mut due = Batch::new();
            for p in p::all() {
                p.timers.run(now, &mut due);
            }
            early |= !due.is_empty();
            preempt::ready_urgent(due);
        }
    }
    let waiting = early || find_work::any_work();
    let mut any = false;
    if IDLE.count() == 0 {
        set_alarms(now);
    }
    if waiting {
        for p in p::all() {
            any |= p.holder().is_some_and(|m| look_at(m, p, now, &mut early));
        }
    }
    if preempt::any_without_p() {
        m::all()
            // Relaxed: a hint.
            .filter(|m| m.preemption.without_p.load(Ordering::Relaxed))
            .for_each(|m| look_at_without_p(m, now));
    }
    any
}

/// Has those who compute set their alarms for the next timer.
fn set_alarms(now: u64) {
    let deadline = find_work::first_deadline();
    if deadline == NEVER {
        return;
    }
    for p in p::all() {
        let Some(m) = p.holder() else { continue };
        // Relaxed: as in `look_at`.
        let turn = m.turn.load(Ordering::Relaxed);
        let seen = m.preemption.seen.get();
        if seen.turn != turn {
            look_first(m, turn, now);
        } else if now - seen.since >= ALARM_AFTER_NANOS
            && now - seen.requested >= RETRY_NANOS
            && alarm::is_wanted(m, turn, deadline, now)
            && p.handoff.observe().is_none()
            && has_computed(m, seen)
        {
            let requested = now;
            m.preemption.seen.set(Seen { requested, ..seen });
            preempt::request_alarm(m, turn);
        }
    }
}

/// Whether `m` has used processor time since it was last looked at: no call of it is interrupted.
fn has_computed(m: &'static M, seen: Seen) -> bool {
    let used = interrupt::processor_nanos(m.thread_id.load(Ordering::Relaxed));
    used.saturating_sub(seen.used_before) != seen.processor_nanos
}

/// Notes that `m` has a new turn.
fn look_first(m: &'static M, turn: u64, now: u64) {
    m.preemption.seen.set(Seen {
        turn,
        since: now,
        used_before: interrupt::processor_nanos(m.thread_id.load(Ordering::Relaxed)),
        processor_nanos: 0,
        requested: 0,
    });
}

/// Looks at `m`, which held `p` a moment ago, while others wait; whether there was anything to do.
fn look_at(m: &'static M, p: &'static P, now: u64, early: &mut bool) -> bool {
    let thread = m.thread_id.load(Ordering::Relaxed);
    let turn = m.turn.load(Ordering::Relaxed);
    let mut seen = m.preemption.seen.get();
    if seen.turn != turn {
        look_first(m, turn, now);
        return false;
    }
    let used = interrupt::processor_nanos(thread).saturating_sub(seen.used_before);
    let computes = used != seen.processor_nanos;
    seen.processor_nanos = used;
    if p.handoff.observe().is_some() {
        // `retake` sees to a call that lasts; one short call after the other is a turn like any other,
        // which ends after the call. No signal: it would end the call.
        if used >= preempt::slice_nanos() {
            m.attention.store(true, Ordering::Relaxed);
        }
        return false;
    }
    if !computes && has_blocked(thread, now - seen.since) {
        return revoke(m, p);
    }
    // The slice is of processor time: on a busy machine a turn that got none has not overrun.
    let over = used >= preempt::slice_nanos() || p.number >= p::count();
    let is_waited_for = over || *early && computes;
    let again = if over { RETRY_NANOS } else { EARLY_NANOS };
    let for_who_woke = *early && used >= EARLY_USED_NANOS && preempt::may_end_early();
    if (over || for_who_woke) && now - seen.requested >= again {
        seen.requested = now;
        *early &= over; // one is enough for who woke
        preempt::request(m, turn, !over);
    }
    m.preemption.seen.set(seen);
    is_waited_for
}

/// Looks at `m`, whose goroutine goes on without a P: if it computes, it has to wait for one.
fn look_at_without_p(m: &'static M, now: u64) {
    let now_used = interrupt::processor_nanos(m.thread_id.load(Ordering::Relaxed));
    let mut seen = m.preemption.seen.get();
    let turn = m.turn.load(Ordering::Relaxed);
    let used = now_used.saturating_sub(seen.used_before);
    if seen.turn != turn {
        seen = Seen {
            turn,
            since: now,
            used_before: now_used,
            processor_nanos: 0,
            requested: 0,
        };
    } else if used - seen.processor_nanos >= WITHOUT_P_NANOS && now - seen.requested >= RETRY_NANOS
    {
        seen.processor_nanos = used;
        seen.requested = now;
        preempt::request(m, turn, false);
    }
    m.preemption.seen.set(seen);
}

/// Whether an OS thread that has used no processor time for `nanos` sleeps in the kernel for good.
fn has_blocked(thread: i32, nanos: u64) -> bool {
    nanos >= BLOCKED_NANOS
        && match thread::state(thread) {
            State::Runnable => false,
            State::Waiting => nanos >= LOCKED_NANOS || !thread::is_in_futex(thread),
            State::Uninterruptible => nanos >= LOCKED_NANOS,
        }
}

/// Takes `p` from `m`, which sleeps in the kernel, if another M is there to run it.
fn revoke(m: &'static M, p: &'static P) -> bool {
    if !m::any_idle() {
        want_machine();
        return true;
    }
    if preempt::revoke(m, p) {
        find_work::wake(p.number, false);
    }
    true
}

/// Makes an M if somebody wanted one and there still is none: for a P that is free (F5 of
/// [`crate::find_work`]), or for one that is to be taken from its M. Whether one was wanted.
///
/// One at a time: until the last one made has found work or gone idle, `open` keeps the wish. On a
/// busy machine that lasts, and each look around would want another.
fn make_machines(open: &mut bool) -> bool {
    // Acquire: pairs with the Release in `want_machine`.
    let wanted = WANTED.swap(0, Ordering::Acquire) != 0 || *open;
    *open = wanted && m::any_begins();
    if *open {
        return true;
    }
    let needed = wanted && find_work::needs_machine();
    if !needed && (!wanted || m::any_idle()) {
        return wanted;
    }
    if m::count() >= m::limit() {
        if needed {
            crate::report::exhausted(); // which ends the process soon
        }
        return wanted;
    }
    if let Err(error) = start_machine() {
        // Ms in blocking calls come back, so this is a delay, not the end; the next round tries anew.
        if wanted {
            WANTED.store(1, Ordering::Release);
        }
        let _ = error;
        gaggle_sys::clock::sleep(SLEEP_NANOS_MAX);
    }
    true
}

/// Takes each P whose goroutine has been in the same blocking call since the last look, if somebody
/// could use it; whether any was taken.
fn retake(seen: &mut [Option<u64>; p::MAX]) -> bool {
    let mut taken = false;
    for p in p::all() {
        let now = p.handoff.observe();
        let before = std::mem::replace(&mut seen[p.number as usize], now);
        let Some(tick) = now.filter(|_| now == before) else {
            continue;
        };
        // With nothing to run and another P idle for what comes, the P may as well stay where it is.
        if p.queue.is_empty()
            && IDLE.count() > 0
            && find_work::injector().is_empty()
            && p.timers.first_hint() == u64::MAX
        {
            continue;
        }
        // A call that computes, or whose thread waits for a processor, would only get a competitor.
        // Relaxed: a stale thread is at worst looked at in vain.
        if thread::state(p.caller.load(Ordering::Relaxed)) == State::Runnable {
            continue;
        }
        if p.handoff.take(tick) {
            p.handoff.give();
            blocking::count_hand_off();
            find_work::wake(p.number, false);
            taken = true;
        }
    }
    taken
}

/// Takes events from the kernel if goroutines wait for some, no M sleeps in the netpoller, and none has looked
/// for a while: what the Ms find themselves is in their own order, while this comes before it.
fn poll_if_nobody_does() {
    // Acquire: the pointer is only compared with null.
    if netpoll::waiters() == 0 || !m::POLLER.load(Ordering::Acquire).is_null() {
        return;
    }
    if clock::now().saturating_sub(netpoll::last_poll()) < UNPOLLED_NANOS {
        return;
    }
    let mut ready = Batch::new();
    netpoll::poll(None, &mut ready);
    if IDLE.count() == 0 {
        preempt::ready_urgent(ready);
    } else {
        sched::ready_batch(ready);
    }
}
