//! A goroutine that for a while is a plain thread, to every hook: in handlers of signals, and in calls
//! that run code of others while they hold a lock of libc or start a process.
//!
//! - L1: while a goroutine is plain, `sched::current` answers none on it, so it neither parks nor is
//!   interrupted, and stays on its M.
//! - L2: what belongs to its thread-local storage for good (destructors) still finds it, by [`owner`].
//! - L3: in a forked child nobody becomes a goroutine again, nobody is readied, and descriptors and
//!   futexes are the kernel's alone.

use crate::blocking::in_long_call;
use crate::g::G;
use crate::{own, sched};
use gaggle_sys::signal;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// The goroutine that is plain now.
    static HIDDEN: Cell<Option<&'static G>> = const { Cell::new(None) };
}

/// This process is a forked child (L3).
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// While it lives the calling goroutine is plain.
#[derive(Debug)]
pub struct Plain(Option<&'static G>);

impl Plain {
    /// Makes the calling goroutine plain; does nothing where none calls, or it is plain already.
    pub fn begin() -> Self {
        let g = sched::current();
        if g.is_some() {
            HIDDEN.set(g);
            own::set_current(None);
        }
        Plain(g)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // Relaxed: set by this thread, when it was forked.
        if self.0.is_some() && !IS_CHILD.load(Ordering::Relaxed) {
            HIDDEN.set(None);
            own::set_current(self.0);
        }
    }
}

/// The goroutine whose thread-local storage the caller uses (L2).
pub fn owner() -> Option<&'static G> {
    sched::current().or_else(|| HIDDEN.get())
}

/// In a forked child: the thread that lives on is no goroutine (L3). Its signal mask becomes what the
/// goroutine that forked had asked for.
pub fn in_child() {
    // Relaxed: read by this thread, the only one.
    IS_CHILD.store(true, Ordering::Relaxed);
    crate::lock::in_child();
    if let Some(g) = sched::current() {
        signal::set_mask(g.signal_mask());
    }
    HIDDEN.set(None);
    own::set_current(None);
}

/// Whether this process is a child that was forked after the runtime started.
pub fn is_child() -> bool {
    // Relaxed: as in `in_child`.
    IS_CHILD.load(Ordering::Relaxed)
}

/// Makes `call` as a plain thread with the goroutine's own signal mask, having given its P up.
pub fn as_thread<R>(call: impl FnOnce() -> R) -> R {
    let Some(g) = sched::current() else {
        return call();
    };
    in_long_call(|| {
        let plain = Plain::begin();
        let mask = signal::set_mask(g.signal_mask());
        let result = call();
        if !is_child() {
            signal::set_mask(mask);
        }
        drop(plain);
        result
    })
}
