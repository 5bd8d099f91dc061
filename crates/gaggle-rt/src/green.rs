//! The contract between Gaggle and its backends, kept by this one.

use crate::delayed::{Start, Timer};
use crate::foreign::Foreign;
use crate::g::{G, KIND_GOROUTINE};
use crate::lock::Lock;
use crate::p;
use crate::population;
use crate::timers;
use crate::{find_work, sched};
use gaggle_core::contract::{Entry, Nanos, Runtime, SpawnOptions, WaitReason};
use gaggle_core::interrupt::Interrupt;
use gaggle_core::task::{Task, Ticket};
use gaggle_sys::clock;
use std::cell::Cell;
use std::io;

/// The green backend.
#[derive(Clone, Copy, Debug)]
pub struct Green;

thread_local! {
    static RANDOM: Cell<u64> = const { Cell::new(0) };
    /// What the goroutine, or the foreign thread, runs under.
    static INTERRUPT: Cell<*const Interrupt> = const { Cell::new(std::ptr::null()) };
}

impl Runtime for Green {
    type Lock = Lock;
    type Timer = Timer;

    #[inline]
    fn current() -> &'static Task {
        match sched::current() {
            Some(g) => g.as_task(),
            None => crate::foreign::current().as_task(),
        }
    }

    fn current_id() -> Option<u64> {
        sched::current().map(|g| g.id.get())
    }

    #[inline]
    fn park() {
        match sched::current() {
            Some(g) => sched::park(g),
            None => crate::foreign::current().park(),
        }
    }

    fn park_until(ticket: Ticket<Self>, deadline: Nanos) {
        match sched::current() {
            Some(g) => sched::park_until(g, ticket, deadline),
            None => crate::foreign::current().park_until(ticket, deadline),
        }
    }

    #[inline]
    fn note_wait(reason: WaitReason) {
        if let Some(g) = sched::current() {
            g.wait.begin(reason);
        }
    }

    #[inline]
    unsafe fn ready(task: &'static Task) {
        if task.kind() == KIND_GOROUTINE {
            // SAFETY: tasks of this kind belong to goroutines.
            sched::ready(unsafe { G::of(task) });
        } else {
            // SAFETY: this backend has two kinds of tasks.
            unsafe { Foreign::of(task) }.ready();
        }
    }

    #[inline]
    unsafe fn ready_near(task: &'static Task) {
        if task.kind() == KIND_GOROUTINE {
            // SAFETY: tasks of this kind belong to goroutines.
            crate::near::ready(unsafe { G::of(task) });
        } else {
            // SAFETY: this backend has two kinds of tasks.
            unsafe { Foreign::of(task) }.ready();
        }
    }

    #[inline]
    fn interrupt() -> *const Interrupt {
        INTERRUPT.get()
    }

    fn set_interrupt(interrupt: *const Interrupt) {
        INTERRUPT.set(interrupt);
    }

    fn yield_now() {
        match sched::current() {
            Some(g) => sched::yield_now(g),
            None => gaggle_sys::call::yield_thread(),
        }
    }

    fn now() -> Nanos {
        clock::now()
    }

    fn random() -> u64 {
        let mut state = RANDOM.get();
        if state == 0 {
            // The address of this thread's variable and the clock differ from thread to thread.
            state = RANDOM.with(|own| std::ptr::from_ref(own) as u64) ^ clock::now() | 1;
        }
        // xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators" (2016).
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        RANDOM.set(state);
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn spawn(options: SpawnOptions, entry: Entry) -> io::Result<u64> {
        sched::spawn(options, entry)
    }

    fn timer_start(deadline: Nanos, options: SpawnOptions, entry: Entry) -> Timer {
        let start = Start::new(options, entry);
        let _section = crate::preempt::Section::enter();
        let p = sched::current().and_then(|g| g.machine().p());
        let p = p.unwrap_or_else(|| p::at(0));
        let (timer, is_first) = p.timers.start(p.number, start, deadline);
        if is_first {
            find_work::timer_added(deadline);
        }
        timer
    }

    fn timer_stop(timer: &Timer) -> bool {
        // Dropped here, behind the lock: that runs code of the user.
        timers::stop(timer).is_some()
    }

    fn timer_reset(timer: &Timer, deadline: Nanos) -> bool {
        timers::reset(timer, deadline)
    }

    fn task_count() -> usize {
        population::live()
    }

    fn processors() -> usize {
        p::count() as usize
    }
}
