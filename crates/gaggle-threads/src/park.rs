//! Parkers: how a task of this backend sleeps and is woken.
//!
//! - K1: a parker is leaked when it is made and recycled when its thread ends, so a stale ticket may
//!   look at its [`Task`] at any time (T3 of the contract).
//! - K2: `ready` touches nothing of a parker that needs the thread to live: by the time the permit is
//!   visible the thread may have gone on, ended, and given the parker to another. All it still does
//!   then is to notify the condition variable, and waiting on that is always a loop over the permit.
//! - K3: a parker is given back with no permit in it: T2 pairs each `ready` with a `park`.
//!
//! The locks are `parking_lot`'s: it is compiled with the program, so a race detector sees what they order
//! even where it has a std that was compiled without it.

use gaggle_core::contract::{NEVER, Nanos, Runtime, TIMED_OUT};
use gaggle_core::interrupt::Interrupt;
use gaggle_core::task::{Task, Ticket};
use parking_lot::{Condvar, Mutex};
use std::cell::Cell;
use std::time::Duration;

/// The mark of this backend's tasks.
pub(crate) const KIND: u8 = b'T';

/// What a task is doing about its next `ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permit {
    /// Neither readied nor asleep.
    None,
    /// Asleep: the readier must notify.
    Asleep,
    /// Readied: the next `park` returns at once.
    Given,
}

/// A thread's record; the task comes first, so that its address is the record's.
#[repr(C)]
#[derive(Debug)]
struct Parker {
    task: Task,
    permit: Mutex<Permit>,
    given: Condvar,
}

/// Parkers that no thread uses.
static FREE: Mutex<Vec<&'static Parker>> = Mutex::new(Vec::new());

thread_local! {
    /// The calling thread's parker. It has no destructor, so other TLS destructors may still park.
    static PARKER: Cell<Option<&'static Parker>> = const { Cell::new(None) };
    /// What the thread runs under.
    static INTERRUPT: Cell<*const Interrupt> = const { Cell::new(std::ptr::null()) };
    /// Gives the parker back when the thread ends.
    static RETURN: Return = const { Return };
}

/// Its drop is the end of the thread's use of its parker.
struct Return;

impl Drop for Return {
    fn drop(&mut self) {
        if let Some(parker) = PARKER.take() {
            debug_assert_eq!(*parker.permit.lock(), Permit::None, "K3");
            FREE.lock().push(parker);
        }
    }
}

impl Parker {
    /// Waits for a permit until `deadline` and takes it; `false`: none came.
    fn wait(&self, deadline: Nanos) -> bool {
        let mut permit = self.permit.lock();
        while *permit != Permit::Given {
            let left = match deadline {
                NEVER => None,
                _ => match deadline.saturating_sub(crate::Threads::now()) {
                    0 => {
                        *permit = Permit::None;
                        return false;
                    }
                    left => Some(Duration::from_nanos(left)),
                },
            };
            *permit = Permit::Asleep;
            match left {
                None => self.given.wait(&mut permit),
                Some(left) => {
                    // Whether a permit came is looked at anew.
                    let _ = self.given.wait_for(&mut permit, left);
                }
            }
        }
        *permit = Permit::None;
        true
    }
}

/// The calling thread's parker, lent to it at its first call.
fn parker() -> &'static Parker {
    PARKER.get().unwrap_or_else(borrow_parker)
}

#[cold]
fn borrow_parker() -> &'static Parker {
    let recycled = FREE.lock().pop();
    let parker = recycled.unwrap_or_else(|| {
        let parker: &'static Parker = Box::leak(Box::new(Parker {
            task: Task::new(KIND),
            permit: Mutex::new(Permit::None),
            given: Condvar::new(),
        }));
        // `ready` finds the way back from the task to the whole record by this.
        std::ptr::from_ref(parker).expose_provenance();
        parker
    });
    PARKER.set(Some(parker));
    // A thread whose `RETURN` is already destroyed calls from a later TLS destructor: its parker is
    // lost (some 80 bytes), because nothing tells when the last destructor has run.
    let _ = RETURN.try_with(|_| ());
    parker
}

/// [`Runtime::current`].
pub(crate) fn current() -> &'static Task {
    &parker().task
}

/// [`Runtime::interrupt`].
pub(crate) fn interrupt() -> *const Interrupt {
    INTERRUPT.get()
}

/// [`Runtime::set_interrupt`].
pub(crate) fn set_interrupt(interrupt: *const Interrupt) {
    INTERRUPT.set(interrupt);
}

/// [`Runtime::park`].
pub(crate) fn park() {
    let readied = parker().wait(NEVER);
    debug_assert!(readied, "C1");
}

/// [`Runtime::park_until`].
///
/// The sleeping thread is its own timer: it wakes at the deadline and claims its ticket itself.
pub(crate) fn park_until(ticket: Ticket<crate::Threads>, deadline: Nanos) {
    let parker = parker();
    debug_assert!(
        std::ptr::eq(ticket.task(), &parker.task),
        "a ticket of another task"
    );
    if parker.wait(deadline) {
        return;
    }
    match ticket.claim(TIMED_OUT) {
        // The duty to ready and the one park that would consume it are both ours: they cancel out.
        Some(claimed) => {
            claimed.into_task();
        }
        // Somebody claimed the ticket first and is about to ready us (T2).
        None => park(),
    }
}

/// [`Runtime::ready`].
///
/// # Safety
/// As [`Runtime::ready`]; and `task` came from [`current`].
pub(crate) unsafe fn ready(task: &'static Task) {
    debug_assert_eq!(task.kind(), KIND, "a task of another backend");
    let record = std::ptr::with_exposed_provenance::<Parker>(std::ptr::from_ref(task).addr());
    // SAFETY: `task` is the first field of a `Parker` (repr(C)) that `borrow_parker` leaked and whose
    // provenance it exposed; it lives as long as the process (K1), and all access is shared.
    let parker = unsafe { &*record };
    let before = std::mem::replace(&mut *parker.permit.lock(), Permit::Given);
    debug_assert_ne!(before, Permit::Given, "T2");
    if before == Permit::Asleep {
        // After the unlock, so that the woken thread does not run into our lock (K2 allows it).
        parker.given.notify_one();
    }
}
