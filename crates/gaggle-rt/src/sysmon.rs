//! The monitor: an OS thread without a P that sees to what no goroutine can.
//!
//! It takes the P of an M whose blocking call lasts, makes Ms when they are wanted, and polls
//! descriptors when nobody has for a while. It looks around every 20 microseconds while that finds
//! something to do, and ever more rarely (to 10 ms) while it does not. Source: Go's sysmon
//! (runtime/proc.go).

use crate::blocking;
use crate::find_work::{self, IDLE};
use crate::m::{self, M};
use crate::netpoll;
use crate::p;
use crate::sched;
use gaggle_core::injector::Batch;
use gaggle_sys::{futex, thread};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

const SLEEP_NANOS_MIN: u64 = 20_000;
const SLEEP_NANOS_MAX: u64 = 10_000_000;
/// Rounds without anything to do before the sleep doubles.
const PATIENCE_ROUNDS: u32 = 50;

/// The largest number of Ms, as Go's default.
const MACHINES_MAX: u32 = 10_000;

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
    std::thread::Builder::new()
        .name(format!("gaggle-m{}", m.number))
        .spawn(move || {
            thread::block_asynchronous_signals();
            if let Err(error) = crate::alt_stack::install() {
                crate::fatal(format_args!("no signal stack for an OS thread: {error}"));
            }
            m.adopt();
            find_work::schedule(m)
        })?;
    Ok(())
}

/// Starts the monitor itself.
///
/// # Errors
/// When the operating system refuses a thread.
pub fn start() -> io::Result<()> {
    std::thread::Builder::new()
        .name("gaggle-sysmon".to_owned())
        .spawn(|| {
            thread::block_asynchronous_signals();
            watch()
        })?;
    Ok(())
}

fn watch() -> ! {
    let mut seen = [None; p::MAX];
    let mut sleep_nanos = SLEEP_NANOS_MIN;
    let mut quiet_rounds = 0;
    let mut bare_looks = 0;
    let mut reread = crate::processors::Reread::default();
    loop {
        reread.look();
        futex::wait(&WANTED, 0, Some(sleep_nanos));
        let busy = make_machines(&mut bare_looks) | retake(&mut seen) | poll_if_nobody_does();
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

/// Makes an M if one is wanted and really needed, or if none has been idle for two looks in a row, so
/// that the next blocking call finds one.
fn make_machines(bare_looks: &mut u32) -> bool {
    *bare_looks = if m::any_idle() { 0 } else { *bare_looks + 1 };
    // Acquire: pairs with the Release in `want_machine`.
    let wanted = WANTED.swap(0, Ordering::Acquire) != 0;
    if !(wanted && find_work::needs_machine() || *bare_looks >= 2) {
        return wanted;
    }
    *bare_looks = 0;
    if m::count() >= MACHINES_MAX {
        crate::fatal(format_args!(
            "{MACHINES_MAX} OS threads are in blocking calls"
        ));
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
        if thread::is_runnable(p.caller.load(Ordering::Relaxed)) {
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

/// Takes events from the kernel if goroutines wait for some and no M sleeps in the netpoller.
fn poll_if_nobody_does() -> bool {
    // Acquire: the pointer is only compared with null.
    if netpoll::waiters() == 0 || !m::POLLER.load(Ordering::Acquire).is_null() {
        return false;
    }
    let mut ready = Batch::new();
    netpoll::poll(Some(0), false, &mut ready);
    let any = !ready.is_empty();
    sched::ready_batch(ready);
    any
}
