//! Where an M looks for a goroutine to run, and how it sleeps when there is none.
//!
//! The search, in order: due timers, who woke while every P was busy (unless turns are short), the P's own
//! queue, the global queue, the netpoller, the queues of other Ps. Every [`FAIRNESS_TICKS`]th time the
//! global queue and the oldest of the own queue come first, so that neither starves. The netpoller waits
//! until both are empty, or for the monitor: events taken earlier would go round those in the global queue
//! (Go's `schedule` and `findRunnable`, runtime/proc.go).
//!
//! - F1: work is published first and [`notify`] called after; an M that goes to sleep gives its P up
//!   first and looks at all queues after. With the fences of [`Idle`] one of the two sees the other.
//! - F2: at most one M sleeps in the netpoller. It publishes until when it sleeps ([`UNTIL`]) before
//!   it looks at the timers' deadlines; whoever adds an earlier timer, or puts a P with one into the
//!   idle set, interrupts it.
//! - F3: only the M that sleeps in the netpoller drains its interruption.
//! - F4: while no P is idle, the sleeping poller ignores timers (their Ps are held by Ms that look at
//!   them); an M that puts its P into the idle set looks whether the poller sleeps too long.
//! - F5: an M is in the idle list before its P is in the idle set, and leaves the list after it has
//!   taken a P from the set. So whoever takes a P from the set finds an M in the list, as long as no
//!   more Ms are spent on calls and suspensions than there are beyond one for each P (and, in the first
//!   millisecond, when there is only one); and only if it finds none is another M needed.
//! - F6: while every P is busy nobody sleeps in the netpoller: it would be woken for each event, on a
//!   processor that another M uses, and could run nothing. Ps that find their queues empty ask it, and the
//!   monitor does when nobody has for a millisecond. The next M that goes idle sleeps there; one that went
//!   idle just before the sleeper left has put its P into the set, where the leaving one looks.

use crate::g::{G, from_link};
use crate::lock::Lock;
use crate::m::{self, M, POLLER};
use crate::netpoll;
use crate::p::{self, P};
use crate::pin;
use crate::sched;
use gaggle_core::contract::{NEVER, Nanos};
use gaggle_core::idle::Idle;
use gaggle_core::injector::{Batch, Injector};
use gaggle_sys::clock;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Every how many switches of a P the fair order applies (a prime, as Go's).
pub const FAIRNESS_TICKS: u32 = 61;

/// A turn that is so short that those who woke can wait for all that are in line before them.
const SHORT_TURN_NANOS: u64 = 50_000;

/// A larger difference of ticks is no count of turns: the tick was set.
const MEASURED_TURNS_MAX: u64 = 1 << 20;

/// Passes over the other Ps before an M gives up stealing.
const STEAL_PASSES: u32 = 4;

static INJECTOR: Injector<G, Lock> = Injector::from_raw(Lock::unlocked());

/// Goroutines that woke while every P was busy with others: they come before all.
static URGENT: Injector<G, Lock> = Injector::from_raw(Lock::unlocked());

/// Which Ps are idle, and how many Ms spin.
pub static IDLE: Idle = Idle::new();

/// Until when the M in the netpoller sleeps (F2); 0 while none sleeps there.
static UNTIL: AtomicU64 = AtomicU64::new(0);

/// The global queue.
pub fn injector() -> &'static Injector<G, Lock> {
    &INJECTOR
}

/// The queue of those who woke while every P was busy.
pub fn urgent() -> &'static Injector<G, Lock> {
    &URGENT
}

/// Says that work has been published; whether an M was woken for it (F1).
pub fn notify() -> bool {
    match IDLE.notify() {
        Some(number) => wake(number, true),
        None => false,
    }
}

/// Gives the P `number`, which the caller took from the idle set, to an idle M.
pub fn wake(number: u32, spinning: bool) -> bool {
    if let Some(m) = m::take_idle() {
        m.give(number, spinning);
        return true;
    }
    IDLE.put(number);
    if spinning {
        IDLE.spin_end();
    }
    crate::sysmon::want_machine();
    false
}

/// For the monitor, after somebody wanted an M and found none idle: whether one has to be made. One
/// that came back from a call meanwhile is given the work.
pub fn needs_machine() -> bool {
    if !any_work() {
        return false;
    }
    let Some(number) = IDLE.take() else {
        return false;
    };
    match m::take_idle() {
        Some(m) => {
            m.give(number, false);
            false
        }
        None => {
            // The M that will be made looks at everything before it sleeps.
            IDLE.put(number);
            true
        }
    }
}

/// Says that a timer with this deadline became the first of its P.
pub fn timer_added(deadline: Nanos) {
    // SeqCst fence: F2 and F4: the timer was published before, the idle set is read after.
    fence(Ordering::SeqCst);
    if IDLE.count() == 0 {
        return; // F4: whoever puts a P there looks at the deadlines
    }
    if POLLER.load(Ordering::SeqCst).is_null() {
        notify();
    } else if deadline < UNTIL.load(Ordering::SeqCst) {
        netpoll::interrupt();
    }
}

/// After a P was put into the idle set by an M that does not go on to sleep here: if there is work,
/// or nobody watches the netpoller for what is waited for, an M is woken with it.
pub fn look_after(number: u32) {
    let unwatched = POLLER.load(Ordering::SeqCst).is_null()
        && (netpoll::waiters() > 0 || first_deadline() != NEVER);
    if (any_work() || unwatched) && IDLE.take_this(number) {
        wake(number, false);
    } else if first_deadline() < UNTIL.load(Ordering::SeqCst) {
        netpoll::interrupt(); // F4
    }
}

/// The earliest deadline of any P.
pub fn first_deadline() -> Nanos {
    p::all()
        .iter()
        .map(|p| p.timers.first())
        .min()
        .unwrap_or(NEVER)
}

/// An M's life on its own stack; it ends with a goroutine that is bound to it ([`pin`]), or when it has
/// not been needed for long.
pub fn schedule(m: &'static M) {
    while !m.ends.get() {
        let Some(g) = m.handed.take().or_else(|| find(m)) else {
            return m.has_ended(); // M5 of `crate::m`
        };
        m::has_begun(m);
        if m.spinning.replace(false) && IDLE.spin_end() {
            // The last spinner found work: there may be more than it can do.
            notify();
        }
        sched::run(m, g);
    }
    pin::end_machine(m);
}

/// Finds a goroutine to run, sleeping as long as there is none; `None`: the M is to end.
fn find(m: &'static M) -> Option<&'static G> {
    loop {
        // Given together with a P by an M that was preempted.
        if let Some(g) = m.handed.take() {
            return Some(g);
        }
        if let Some(own) = m.bound.get() {
            return Some(pin::wait(m, own));
        }
        let Some(p) = m.p() else {
            match IDLE.take() {
                Some(number) => m.acquire(p::at(number)),
                None if sleep(m) => {}
                None => return None,
            }
            continue;
        };
        if p.number >= p::count() {
            retire(m, p);
            continue;
        }
        if let Some(g) = search(m, p) {
            return Some(g);
        }
        if !go_idle(m, p) {
            return None;
        }
    }
}

/// One search without sleeping.
fn search(m: &'static M, p: &'static P) -> Option<&'static G> {
    p.share();
    run_timers(p, p);
    // SAFETY: this M holds the P (P1), for this and the operations on its queue below.
    let pop = || unsafe { p.queue.pop() }.map(|(g, _)| from_link(g));
    // A turn that was ended for others comes here with a tick of 0.
    if p.tick.get() == 0
        && let Some(g) = pop_urgent()
    {
        return Some(g);
    }
    if p.tick.get().is_multiple_of(FAIRNESS_TICKS) {
        p.tick.set(p.tick.get().wrapping_add(1));
        // SAFETY: as above.
        let fair = injector().pop().or_else(|| unsafe { p.queue.pop_ring() });
        if let Some(g) = fair {
            return Some(from_link(g));
        }
    }
    if let Some(g) = next_urgent(p) {
        return Some(g);
    }
    if let Some(g) = pop() {
        return Some(g);
    }
    let share = injector().share(p::count() as usize);
    // SAFETY: as above.
    if let Some(g) = unsafe { injector().pop_into(&p.queue, share) } {
        return Some(from_link(g));
    }
    if poll_now()
        && let Some(g) = pop()
    {
        return Some(g);
    }
    let busy = p::count().saturating_sub(IDLE.count());
    if m.spinning.get() || IDLE.spin_begin((busy / 2).max(1)) {
        m.spinning.set(true);
        return steal(m, p);
    }
    None
}

/// Who woke first while every P was busy.
fn pop_urgent() -> Option<&'static G> {
    if URGENT.is_empty() {
        return None;
    }
    URGENT.pop().map(from_link)
}

/// The first of those who woke while every P was busy, if they are to come before the P's own. Where turns are
/// short they go behind the global queue instead: else those who wait in a queue could wait for ever for
/// those who wake more often.
fn next_urgent(p: &'static P) -> Option<&'static G> {
    if URGENT.is_empty() {
        return None;
    }
    if !has_short_turns(p) {
        return pop_urgent();
    }
    INJECTOR.push_batch(URGENT.take_all());
    notify(); // F1: for a moment they were in no queue
    None
}

/// Whether the turns on `p`, the caller's, since the last call were short on average.
fn has_short_turns(p: &'static P) -> bool {
    let (tick, now) = (p.tick.get(), clock::now());
    let (tick_before, before) = p.pace.replace((tick, now));
    let turns = u64::from(tick.wrapping_sub(tick_before));
    (1..MEASURED_TURNS_MAX).contains(&turns)
        && now.saturating_sub(before) < turns * SHORT_TURN_NANOS
}

/// Readies what is due on `victim`, which may be `p`, the caller's; whether there was anything.
fn run_timers(victim: &'static P, p: &'static P) -> bool {
    if victim.timers.first_hint() == NEVER {
        return false;
    }
    let mut ready = Batch::new();
    victim.timers.run(clock::now(), &mut ready);
    let any = !ready.is_empty();
    // Who has slept until now is late by as much as those before it compute.
    if p.queue.is_empty() && INJECTOR.is_empty() {
        sched::ready_batch(ready);
    } else if any {
        crate::preempt::ready_urgent(ready);
    }
    any
}

/// Asks the netpoller without waiting; whether it readied anything.
fn poll_now() -> bool {
    if netpoll::waiters() == 0 {
        return false;
    }
    let mut ready = Batch::new();
    netpoll::poll(None, &mut ready);
    let any = !ready.is_empty();
    sched::ready_batch(ready);
    any
}

/// Steals from the other Ps, in random order; in the last pass also their due timers and what they
/// would run next.
fn steal(m: &'static M, p: &'static P) -> Option<&'static G> {
    let all = p::all();
    for pass in 0..STEAL_PASSES {
        let last = pass + 1 == STEAL_PASSES;
        let start = m.random() as usize % all.len();
        for offset in 0..all.len() {
            let victim = &all[(start + offset) % all.len()];
            if std::ptr::eq(victim, p) {
                continue;
            }
            let take_next = last && !victim.near.holds(victim.queue.next_hint());
            // SAFETY: this M holds `p`.
            if let Some(g) = unsafe { victim.queue.steal_into(&p.queue, take_next) } {
                return Some(from_link(g));
            }
            if last && run_timers(victim, p) {
                // SAFETY: as above; the timers' goroutines were put there, or among the urgent.
                let own = unsafe { p.queue.pop() }.map(|(g, _)| from_link(g));
                if let Some(g) = own.or_else(pop_urgent) {
                    return Some(g);
                }
            }
        }
        if !injector().is_empty() {
            // SAFETY: as above.
            if let Some(g) = unsafe { injector().pop_into(&p.queue, 1) } {
                return Some(from_link(g));
            }
        }
    }
    None
}

/// Whether any queue holds work, or any timer is due.
pub fn any_work() -> bool {
    any_work_where(|p| !p.queue.is_empty())
}

/// As [`any_work`], without those that were left where they are (N2 of [`crate::near`]), and those in a queue
/// that is not shared yet (P3 of [`crate::p`]): who shares it notifies.
fn any_work_for_others() -> bool {
    let is_left_alone = |p: &P| p.near.holds(p.queue.next_hint()) && p.queue.len() <= 1;
    any_work_where(|p| p.queue.is_shared() && !p.queue.is_empty() && !is_left_alone(p))
}

fn any_work_where(is_in: impl FnMut(&P) -> bool) -> bool {
    !injector().is_empty()
        || !URGENT.is_empty()
        || p::all().iter().any(is_in)
        || first_deadline() <= clock::now()
}

/// Gives the P up and sleeps, unless work appeared meanwhile (F1); `false`: the M is to end.
fn go_idle(m: &'static M, p: &'static P) -> bool {
    m.release();
    m::go_idle(m); // F5: before its P
    IDLE.put(p.number);
    if m.spinning.replace(false) {
        IDLE.spin_end();
    }
    // SeqCst fence: F1, pairs with the one in `Idle::notify`.
    fence(Ordering::SeqCst);
    if any_work_for_others()
        && let Some(number) = IDLE.take()
    {
        if m::leave_idle_if(m, true) {
            m.acquire(p::at(number));
            m.spinning.set(IDLE.spin_begin(u32::MAX));
        } else {
            // Somebody has taken this M from the list and gives it another P.
            IDLE.put(number);
            look_after(number);
            m.sleep();
            m.take_given();
        }
        return true;
    }
    // F4.
    if !POLLER.load(Ordering::SeqCst).is_null() && first_deadline() < UNTIL.load(Ordering::SeqCst) {
        netpoll::interrupt();
    }
    // SeqCst: F2, with `timer_added`.
    let sole = POLLER.compare_exchange(
        null_mut(),
        std::ptr::from_ref(m).cast_mut(),
        Ordering::SeqCst,
        Ordering::SeqCst,
    );
    if sole.is_ok() {
        sleep_in_netpoll(m);
        POLLER.store(null_mut(), Ordering::SeqCst);
        // SeqCst fence: F6, pairs with the one above: an M that found the place taken has put its P into the
        // set before, and the caller looks there next if it has no P.
        fence(Ordering::SeqCst);
        return true;
    }
    sleep_in_list(m)
}

/// Sleeps, without a P, until one is given; `false`: the M is to end.
fn sleep(m: &'static M) -> bool {
    m::go_idle(m);
    sleep_in_list(m)
}

fn sleep_in_list(m: &'static M) -> bool {
    let given = m::sleep_unless_surplus(m);
    if given {
        m.take_given();
    }
    given
}

/// Sleeps in the netpoller until work comes out of it, a timer is due, or a P is given; returns with
/// a P held, or in no list and without one, if all are busy (F6).
fn sleep_in_netpoll(m: &'static M) {
    // SeqCst: with `M::give`: either it sees `polling`, or this thread sees the note.
    m.polling.store(true, Ordering::SeqCst);
    loop {
        let mut ready = Batch::new();
        if !m.is_noted() {
            wait_for_events(m, &mut ready);
        }
        let due = ready.is_empty() && first_deadline() <= clock::now();
        if m.is_noted() || !m::leave_idle_if(m, !ready.is_empty() || due) {
            // Somebody took this M from the idle list, and has given or is giving it a P.
            m.polling.store(false, Ordering::SeqCst);
            UNTIL.store(0, Ordering::SeqCst);
            m.sleep();
            m.take_given();
            sched::ready_batch(ready);
            return;
        }
        if ready.is_empty() && !due {
            continue; // interrupted for an earlier timer, or for nothing; still in the idle list
        }
        if let Some(number) = IDLE.take() {
            m.polling.store(false, Ordering::SeqCst);
            UNTIL.store(0, Ordering::SeqCst);
            m.acquire(p::at(number));
            sched::ready_batch(ready);
            return;
        }
        // All Ps are busy: they look there first, and the monitor sees to it that one looks soon (F6).
        m.polling.store(false, Ordering::SeqCst);
        UNTIL.store(0, Ordering::SeqCst);
        crate::preempt::ready_urgent(ready);
        return;
    }
}

/// Waits in the netpoller until an event, an interruption, or the first deadline.
fn wait_for_events(m: &'static M, ready: &mut Batch<G>) {
    let until = loop {
        // F4: without an idle P nothing could be run at the deadline.
        let until = if IDLE.count() > 0 {
            first_deadline()
        } else {
            NEVER
        };
        // SeqCst: F2: published before the deadlines are looked at again.
        UNTIL.store(until, Ordering::SeqCst);
        let again = if IDLE.count() > 0 {
            first_deadline()
        } else {
            NEVER
        };
        if again >= until {
            break until;
        }
    };
    if m.is_noted() {
        return;
    }
    netpoll::poll(Some(until), ready);
}

/// Empties a P that is no longer wanted, and lets go of it (P2).
pub fn retire(m: &'static M, p: &'static P) {
    m.release();
    crate::processors::drop_processor(p);
    if m.spinning.replace(false) {
        IDLE.spin_end();
    }
    notify();
}
