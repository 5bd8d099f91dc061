//! Running goroutines: readying, switching, yielding, starting and ending them.
//!
//! A goroutine that parks picks the next one itself and switches straight to it; only when nothing is
//! at hand (or the next one's stack is still in use elsewhere) does it switch to its M's own stack,
//! g0, whose loop looks further ([`crate::find_work`]).
//!
//! - W1: a goroutine may be readied while it still runs (it has published its wait but not yet left
//!   its stack). It is then in a queue with `on` set (G3 of [`crate::g`]); whoever takes it from there
//!   waits for `on` to clear.
//! - W2: only g0 waits so. Its M has left its own goroutine, so no two Ms wait for each other.
//! - W3: between publishing its wait and leaving its stack a goroutine does nothing that can block.
//! - W4: after a switch, the first thing the arriving context does is [`arrive`]: it clears `on` of
//!   the goroutine that was left, or puts an ended one back into the pools.
//! - W5: a goroutine's thread-local storage names it and the M that runs it ([`crate::own`]). The first is written
//!   before it first runs, the second in [`prepare`], whenever it is about to run on another M than before.

use crate::find_work;
use crate::g::{self, G};
use crate::hold;
use crate::m::{self, M};
use crate::own::{self, processor_of_caller};
pub use crate::own::{current, machine_of_caller};
use crate::p::{self, P};
use crate::pin;
use crate::plain;
use crate::population;
use crate::preempt::{self, Section};
use crate::records;
use crate::slot;
use crate::thread_tls;
use crate::watermark;
use crate::{Green, fatal, template};
use gaggle_core::contract::{Entry, NEVER, Nanos, SpawnOptions, WaitReason};
use gaggle_core::injector::Batch;
use gaggle_core::task::Ticket;
use gaggle_sys::{arch, call, clock, glibc};
use std::panic::AssertUnwindSafe;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

static SWITCHES_TO_OTHER_M: AtomicU64 = AtomicU64::new(0);

/// How often a started goroutine went on on another M than before, in all.
pub fn migrations() -> u64 {
    SWITCHES_TO_OTHER_M.load(Ordering::Relaxed)
}

// ---- Readying ----

/// Makes `g` runnable: next on the readier's own P if it holds one, else in the global queue.
pub fn ready(g: &'static G) {
    if plain::is_child() {
        return;
    }
    g.wait.set(WaitReason::Runnable);
    crate::latency::readied(g);
    let _section = Section::enter();
    let link = NonNull::from(g);
    let overflow = match holder() {
        Some((p, true)) => {
            p.near.forget();
            // SAFETY: the calling M holds this P (P1).
            unsafe { p.queue.push_next(link) }
        }
        // SAFETY: as above.
        Some((p, false)) => unsafe { p.queue.push(link) },
        None => {
            // SAFETY: the readier holds the goroutine; it is in no list; records live for ever.
            unsafe { find_work::injector().push(link) };
            None
        }
    };
    if let Some(batch) = overflow {
        find_work::injector().push_batch(batch);
    }
    find_work::notify();
}

/// Makes `g` runnable, behind all others of this P.
fn ready_last(p: &'static P, g: &'static G) {
    g.wait.set(WaitReason::Runnable);
    // SAFETY: the calling M holds this P.
    if !unsafe { p.queue.push_if_room(NonNull::from(g)) } {
        ready_last_of_many(p, g);
    }
}

/// As [`ready_last`], where the queue may be full.
#[cold]
#[inline(never)]
fn ready_last_of_many(p: &'static P, g: &'static G) {
    // SAFETY: as there.
    if let Some(batch) = unsafe { p.queue.push(NonNull::from(g)) } {
        find_work::injector().push_batch(batch);
    }
}

/// Makes all of `batch` runnable, behind others.
pub fn ready_batch(mut batch: Batch<G>) {
    if batch.is_empty() || plain::is_child() {
        return;
    }
    let count = batch.len();
    let _section = Section::enter();
    match holder() {
        Some((p, _)) => {
            while let Some(g) = batch.pop_front() {
                ready_last(p, g::from_link(g));
            }
        }
        None => find_work::injector().push_batch(batch),
    }
    for _ in 0..count.min(p::count() as usize) {
        if !find_work::notify() {
            break;
        }
    }
}

/// The P of the calling M, and whether the caller is a goroutine, which is in a section.
fn holder() -> Option<(&'static P, bool)> {
    match current() {
        Some(g) => {
            debug_assert!(g.machine().sections.depth() > 0, "E1");
            machine_of_caller(g).p().map(|p| (p, true))
        }
        None => m::current().and_then(M::p).map(|p| (p, false)),
    }
}

// ---- Switching ----

/// The next goroutine of `p`, which `m` holds, if it has one and the scheduler need not look further. One that
/// was readied last goes on with the turn of the one that leaves (Go's inheritTime, runtime/proc.go), so
/// that two that wake each other do not starve the rest.
#[inline]
fn next_at_hand(m: &'static M, p: &'static P) -> Option<&'static G> {
    // Relaxed: written by this thread's handler.
    if m.attention.load(Ordering::Relaxed) {
        p.tick.set(0); // the fair order
        return None;
    }
    let tick = p.tick.get().wrapping_add(1);
    p.tick.set(tick);
    let first = p.timers.first_hint();
    if tick.is_multiple_of(find_work::FAIRNESS_TICKS)
        || first != NEVER && is_due(first)
        || p.number >= p::count()
        || !find_work::urgent().is_empty()
    {
        return None;
    }
    // SAFETY: the calling M holds this P.
    let (g, was_next) = unsafe { p.queue.pop() }?;
    m.inherits.set(was_next);
    fetch_ahead(p);
    Some(g::from_link(g))
}

/// Whether it is time. Not inlined, so that who switches without timers pays nothing for its registers.
#[inline(never)]
fn is_due(deadline: Nanos) -> bool {
    deadline <= clock::now()
}

/// How many goroutines ahead a record is fetched into the cache, and its frames one turn later.
const AHEAD: u32 = 2;

/// Begins to fetch those that run soon: of many goroutines that have not run for a while, most of the
/// time of a short turn is waiting for memory.
#[inline]
fn fetch_ahead(p: &'static P) {
    // SAFETY: the calling M holds this P.
    let Some(later) = (unsafe { p.queue.ahead(AHEAD) }) else {
        return;
    };
    g::from_link(later).prefetch_record();
    // SAFETY: as above.
    if let Some(soon) = unsafe { p.queue.ahead(0) } {
        g::from_link(soon).prefetch_context();
    }
}

/// Gives `g`, which is about to run for the first time, its slot and its first frame.
fn start(p: &'static P, g: &'static G) {
    let template = template();
    let class = g.stack_class.get();
    let own = (class == slot::DEFAULT_CLASS).then_some(&p.free_slots);
    let kept = own.and_then(slot::SlotList::pop);
    let slot = match kept.map_or_else(|| slot::take(class, own), Ok) {
        Ok(slot) => slot,
        Err(error) => fatal(format_args!(
            "a stack of {} KiB for goroutine {} cannot be reserved: {error}",
            (1usize << class) >> 10,
            g.id.get()
        )),
    };
    watermark::begin(g, slot);
    // SAFETY: the slot was free: nobody runs on it.
    unsafe { slot.write_tls(template) };
    g.slot.set(Some(slot));
    g.fs.set(slot.fs(template));
    // SAFETY: W5: the block just written, which nobody else touches before the goroutine runs.
    unsafe { own::set_goroutine(g.fs.get(), g) };
    g.task.disarm(); // a timer's wait for its start
    let argument = std::ptr::from_ref(g).cast_mut().cast::<()>();
    // SAFETY: the stack under `top` is the slot's, writable, and belongs to this goroutine.
    let frame = unsafe { arch::initial_stack(slot.top(template), goroutine_main, argument) };
    g.stack_pointer.set(frame);
}

/// Takes `g` onto the P that `m` holds: after this it must be switched to. `false`: only after [`prepare`],
/// which is called then, and this again.
#[inline(always)]
#[must_use = "it is not ready to be switched to"]
fn take_over(m: &'static M, g: &'static G) -> bool {
    let own = std::ptr::from_ref(m).cast_mut();
    // Relaxed (both): only this M reads it until the goroutine leaves (G3).
    debug_assert!(
        [null_mut(), own].contains(&g.on.load(Ordering::Relaxed)),
        "W1: its stack is free"
    );
    g.on.store(own, Ordering::Relaxed);
    if hold::holds(g)
        || g.stack_claim.is_disturbed()
        || g.ready_at.get() != 0
        || g.last_m.get() != m.number
    {
        return false;
    }
    debug_assert!(g.slot.get().is_some(), "who is new has run nowhere");
    g.wait.set(WaitReason::Unknown);
    if !m.inherits.replace(false) {
        // Relaxed (both): this M's own; the monitor's reads are hints (V5 of `preempt`).
        let turn = m.turn.load(Ordering::Relaxed);
        m.turn.store(turn + 1, Ordering::Relaxed);
        m.attention.store(false, Ordering::Relaxed);
    }
    true
}

/// What is not done each time that a goroutine begins to run: somebody looks at it or has its stack, its wait
/// is measured, it is new, or it ran elsewhere before.
#[cold]
#[inline(never)]
fn prepare(m: &'static M, g: &'static G) {
    hold::check(g);
    crate::latency::runs(g);
    g.stack_claim.arrive(call::yield_thread);
    if g.slot.get().is_none() {
        start(m.processor(), g);
    }
    if g.last_m.get() != m.number {
        // SAFETY: W5: the block of a goroutine that does not run and is this M's to run.
        unsafe { own::set_machine(g.fs.get(), m) };
        note_migration(m, g);
    }
}

/// `g` begins to run on `m`, which is not where it ran before.
fn note_migration(m: &M, g: &G) {
    if g.last_m.replace(m.number) != u32::MAX {
        g.migrations.set(g.migrations.get() + 1);
        // Relaxed: a figure to report.
        SWITCHES_TO_OTHER_M.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether only `m`'s own stack can run `next`: its stack is in use (W2), or it has none yet and its P
/// has none at hand. Making stacks takes system calls and half a KiB of frames, which would cost a small
/// goroutine that happens to park just then a second page.
fn needs_g0(m: &'static M, next: &'static G) -> bool {
    let has_none = || next.slot.get().is_none();
    let is_at_hand =
        |p: &P| next.stack_class.get() == slot::DEFAULT_CLASS && p.free_slots.len() > 0;
    next.needs_scheduler() || has_none() && !m.p().is_some_and(is_at_hand)
}

/// What the context that was switched to does first (W4).
///
/// # Safety
/// `left` is null or the goroutine whose stack was left by the switch that arrived here.
unsafe fn arrive(left: *mut ()) {
    // SAFETY: contexts carry only null or a record of the pool.
    let Some(left) = (unsafe { left.cast::<G>().as_ref::<'static>() }) else {
        return;
    };
    if left.ended.get() {
        recycle(left);
    } else {
        left.leave_processor();
    }
}

/// Puts an ended goroutine's slot and record back.
fn recycle(g: &'static G) {
    // Relaxed: this M set it and reads it; afterwards the record is nobody's.
    let m = g.machine();
    let slot = g.slot.take();
    g.leave_processor();
    match (m.p(), slot) {
        (Some(p), Some(slot)) if slot.class() == slot::DEFAULT_CLASS => {
            p.free_slots.push(slot);
            if p.free_slots.len() > slot::KEPT_BY_PROCESSOR {
                slot::put(&p.free_slots, slot::KEPT_BY_PROCESSOR / 2);
            }
        }
        (_, Some(slot)) => slot::put_one(slot),
        (_, None) => {}
    }
    match m.p() {
        Some(p) => p.keep_record(g),
        None => records::put_one(g),
    }
}

/// Leaves the calling goroutine's stack for `next`, or for g0, and returns when it runs again. Not
/// inlined: it is the one place that goroutines switch from (W4 of `gaggle_sys::arch`).
#[inline(never)]
fn leave(g: &'static G, m: &'static M, next: Option<&'static G>) {
    debug_assert_eq!(m.sections.depth(), 1, "M4");
    let own = std::ptr::from_ref(g).cast_mut().cast::<()>();
    let (stack_pointer, fs) = match next {
        Some(next) => {
            if !take_over(m, next) {
                return leave_with_care(g, m, next);
            }
            (next.stack_pointer.get(), next.fs.get())
        }
        None => (m.g0_stack_pointer.get(), m.fs.get()),
    };
    // SAFETY: the frame is `next`'s, taken over by this M alone, or that of this M's own stack, which
    // waits in `run`; the FS base belongs to it.
    let left = unsafe { arch::switch(g.stack_pointer.as_ptr(), stack_pointer, fs, own) };
    // SAFETY: carried by the switch that came back here.
    unsafe { arrive(left) };
}

/// As [`leave`], to one that has to be prepared. Apart, so that `leave` saves no registers for it.
#[cold]
#[inline(never)]
fn leave_with_care(g: &'static G, m: &'static M, next: &'static G) {
    prepare(m, next);
    leave(g, m, Some(next));
}

/// Runs `g` from this M's own stack until some goroutine comes back to it; or hands the P to the M on
/// which `g` is suspended.
pub fn run(m: &'static M, g: &'static G) {
    if preempt::suspended_on(g).is_some() {
        let p = m.processor();
        m.inherits.set(false);
        m.forget_p();
        return preempt::resume(g, p, true);
    }
    if let Some(owner) = pin::machine_of(g).filter(|owner| !std::ptr::eq(*owner, m)) {
        let p = m.processor();
        m.inherits.set(false);
        m.forget_p();
        return pin::pass(owner, p);
    }
    // W2: g0 may wait here.
    let mut rounds = 0u32;
    while g.is_on_processor() {
        rounds += 1;
        if rounds.is_multiple_of(64) {
            call::yield_thread();
        } else {
            arch::spin_pause();
        }
    }
    while !take_over(m, g) {
        prepare(m, g);
    }
    // SAFETY: taken over by this M alone; the FS base is its slot's.
    let left = unsafe {
        arch::switch(
            m.g0_stack_pointer.as_ptr(),
            g.stack_pointer.get(),
            g.fs.get(),
            null_mut(),
        )
    };
    // SAFETY: carried by the switch that came back here.
    unsafe { arrive(left) };
}

/// Parks the calling goroutine until it is readied; it has published its wait before.
pub fn park(g: &'static G) {
    let m = preempt::enter(g);
    switch_away(g, m);
    end_wait(g);
}

/// The wait that the calling goroutine parked for is over, and so is its section.
fn end_wait(g: &'static G) {
    g.task.disarm();
    preempt::leave(g);
}

/// Leaves the calling goroutine, in a section, until it is readied.
fn switch_away(g: &'static G, m: &'static M) {
    if m.bound.get().is_some() {
        return leave(g, m, None);
    }
    match processor_of_caller(m).and_then(|p| next_at_hand(m, p)) {
        // Readied already, and first in the queue (W1).
        Some(next) if std::ptr::eq(next, g) => m.inherits.set(false),
        Some(next) if needs_g0(m, next) => {
            m.handed.set(Some(next));
            leave(g, m, None);
        }
        next => leave(g, m, next),
    }
}

/// Parks until readied, or until `deadline`, at which the P's timer claims `ticket`.
pub fn park_until(g: &'static G, ticket: Ticket<Green>, deadline: Nanos) {
    if deadline == NEVER {
        return park(g);
    }
    let m = preempt::enter(g);
    let p = m.p().unwrap_or_else(|| p::at(0));
    if p.timers.add(p.number, g, ticket, deadline) {
        find_work::timer_added(deadline);
    }
    switch_away(g, m);
    crate::timers::remove(g);
    end_wait(g);
}

/// Ends the turn of the calling goroutine, in a section, because others wait: it goes behind all of
/// them.
pub fn preempted(g: &'static G) {
    // SAFETY: the goroutine runs, so it is in no list; W1 covers its being taken at once.
    unsafe { find_work::injector().push(NonNull::from(g)) };
    leave(g, g.machine(), None);
}

/// Lets the other goroutines of this P run before the caller goes on.
pub fn yield_now(g: &'static G) {
    let m = preempt::enter(g);
    match processor_of_caller(m) {
        Some(p) => yield_processor(g, m, p),
        None => crate::blocking::find_processor(g, m),
    }
    preempt::leave(g);
}

fn yield_processor(g: &'static G, m: &'static M, p: &'static P) {
    if m.bound.get().is_some() {
        ready_last(p, g);
        return leave(g, m, None);
    }
    match next_at_hand(m, p) {
        Some(next) if needs_g0(m, next) => {
            m.handed.set(Some(next));
            ready_last(p, g);
            leave(g, m, None);
        }
        None => yield_to_the_search(g, m, p),
        next => {
            ready_last(p, g);
            leave(g, m, next);
        }
    }
}

/// As [`yield_now`], where no other is at hand.
#[cold]
fn yield_to_the_search(g: &'static G, m: &'static M, p: &'static P) {
    if !p.tick.get().is_multiple_of(find_work::FAIRNESS_TICKS) && p.number < p::count() {
        let due = p.timers.first_hint();
        if (due == NEVER || due > clock::now())
            && find_work::injector().is_empty()
            && find_work::urgent().is_empty()
        {
            return; // nobody to yield to
        }
    }
    ready_last(p, g);
    leave(g, m, None);
}

/// Leaves the calling goroutine for its M's own stack after the M lost its P: `g` waits in the global
/// queue for another.
pub fn requeue_without_processor(g: &'static G) {
    g.wait.set(WaitReason::Runnable);
    // SAFETY: the goroutine runs, so it is in no list; W1 covers its being taken at once.
    unsafe { find_work::injector().push(NonNull::from(g)) };
    find_work::notify();
    leave(g, g.machine(), None);
}

// ---- Starting and ending ----

/// Makes a goroutine that is not yet runnable.
///
/// # Errors
/// When the kernel has no memory for its record, or the stack asked for is too large.
pub fn new_goroutine(options: SpawnOptions, entry: Entry) -> std::io::Result<&'static G> {
    let class = match options.stack_bytes {
        Some(bytes) => slot::class_of(bytes)?,
        None => watermark::class_for(options.location),
    };
    let _section = Section::enter();
    let p = holder().map(|(p, _)| p);
    let g = match p {
        Some(p) => p.take_record()?,
        None => records::take_one()?,
    };
    let parent = current().map_or(0, |parent| parent.id.get());
    g::prepare(g, options, entry, class, parent);
    g.set_signal_mask(current().map_or_else(gaggle_sys::signal::mask, G::signal_mask));
    population::one_started(p);
    Ok(g)
}

/// A goroutine's first frame.
unsafe extern "C" fn goroutine_main(argument: *mut (), left: *mut ()) -> ! {
    // SAFETY: carried by the switch that came here.
    unsafe { arrive(left) };
    // SAFETY: `start` passes the goroutine's own record.
    let g = unsafe { &*argument.cast::<G>() };
    preempt::leave(g); // M4: the section of whoever switched here
    ensure_vector(g);
    let mut entry = g.entry.take();
    if let Some(entry) = &mut entry {
        // The entry reports its own panic to whoever joins; one that escapes ends only this goroutine.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(|| entry.run()));
    }
    if plain::is_child() {
        // A forked child's only thread ends, and so does the child.
        thread_tls::run_destructors(g);
        std::process::exit(0);
    }
    end(g, entry)
}

/// How many goroutines are started between two widenings of malloc's heap; each comes with a few
/// hundred bytes of closures and handles.
const STARTS_PER_WIDENING: u64 = 256;

/// How many slots get their vector between two widenings.
const VECTORS_PER_WIDENING: u32 = 256;

/// Gives the goroutine a dynamic thread vector, on its own stack, where malloc may be called.
fn ensure_vector(g: &'static G) {
    let Some(slot) = g.slot.get() else { return };
    if !slot.dtv().is_null() {
        return;
    }
    if slot.is_one_in(VECTORS_PER_WIDENING) {
        glibc::dtv::widen_heap();
    }
    let (modules, generation) = template().dtv();
    // SAFETY: a goroutine's malloc works by the M's words.
    let vector = unsafe { glibc::dtv::allocate(modules, generation) };
    if vector.is_null() {
        fatal(format_args!(
            "out of memory starting goroutine {}",
            g.id.get()
        ));
    }
    slot.set_dtv(vector);
    // SAFETY: fs + 8 is the vector's place in this goroutine's control block.
    unsafe { ((g.fs.get() + 8) as *mut *mut usize).write(vector) };
}

/// Ends the calling goroutine: destructors, its entry (C6 of the contract), what libc allocated for it,
/// and the last switch away.
fn end(g: &'static G, entry: Option<Entry>) -> ! {
    let guarded = std::panic::catch_unwind(AssertUnwindSafe(|| {
        thread_tls::run_destructors(g);
        drop(entry);
    }));
    if guarded.is_err() {
        fatal(format_args!(
            "a thread-local destructor of goroutine {} panicked",
            g.id.get()
        ));
    }
    hold::end(g);
    g.name.take();
    if let Some(slot) = g.slot.get() {
        // SAFETY: the destructors have run; nothing after this uses thread-local storage that libc
        // allocated on demand.
        unsafe { template().release_specific(g.fs.get()) };
        // SAFETY: libc may have moved the vector: the control block knows where it is.
        let vector = unsafe { ((g.fs.get() + 8) as *const *mut usize).read() };
        // SAFETY: as for `release_specific`.
        unsafe { glibc::dtv::release_blocks(vector) };
        slot.set_dtv(vector);
        watermark::look(g, slot);
        slot.watched.set(false);
    }
    let m = preempt::enter(g);
    population::one_ended(m.p());
    g.ended.set(true);
    pin::end(g, m);
    let next = m.p().filter(|_| !m.ends.get());
    let next = next.and_then(|p| next_at_hand(m, p));
    match next.filter(|next| needs_g0(m, next)) {
        Some(busy) => {
            m.handed.set(Some(busy));
            leave(g, m, None);
        }
        None => leave(g, m, next),
    }
    unreachable!("an ended goroutine is never switched to")
}

/// Starts a goroutine and answers its number.
///
/// # Errors
/// When the kernel has no memory for its record.
pub fn spawn(options: SpawnOptions, entry: Entry) -> std::io::Result<u64> {
    let g = new_goroutine(options, entry)?;
    let id = g.id.get();
    if id.is_multiple_of(STARTS_PER_WIDENING) && current().is_some() {
        glibc::dtv::widen_heap();
    }
    ready(g);
    Ok(id)
}
