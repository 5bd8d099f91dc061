//! The report of a stack overflow: which goroutine, where it was started, and what to do.
//!
//! A fault is an overflow if its address lies in the guard of the calling goroutine's slot, or if its
//! stack pointer has left the stack at the lower end. Any other fault goes on to the handler that was
//! there before (std's, as a rule, which does the same for OS threads) or to the kernel. A handler that
//! the program installs later replaces this one and has to go on to it in the same way.
//!
//! - O1: the handler runs on the M's alternate signal stack, takes no lock, allocates nothing and
//!   calls no libc function: the goroutine may have been in the middle of any.
//! - O2: it runs under the goroutine's own thread-local storage, so [`sched::current`] names the one
//!   that faulted; the record is that goroutine's own (G2 of [`crate::g`]).

use crate::g::G;
use crate::sched;
use crate::slot;
use gaggle_sys::fault;
use gaggle_sys::message::Message;
use gaggle_sys::stack::guard::GUARD_BYTES;
use std::ffi::{c_int, c_void};
use std::fmt::Write;
use std::io;
use std::sync::OnceLock;

/// The actions that were there before ours: SIGSEGV's and SIGBUS's.
static BEFORE: OnceLock<[fault::Action; 2]> = OnceLock::new();

/// Installs the handler. Called once, before any goroutine runs.
///
/// # Errors
/// The kernel's.
pub fn install() -> io::Result<()> {
    // SIGURG is masked: what goes on from here to a handler of the program is not to be suspended in
    // the middle of deciding whose fault it is.
    let install = |signal| fault::install(signal, on_fault, &[libc::SIGURG], 0);
    let _ = BEFORE.set([install(libc::SIGSEGV)?, install(libc::SIGBUS)?]);
    Ok(())
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: called by the kernel with its own arguments.
    let own = unsafe { fault::is_own(info) };
    if own && let Some(g) = sched::current() {
        // SAFETY: as above; the fault is an instruction's, so it has an address.
        let address = unsafe { fault::address(info) };
        // SAFETY: as above.
        let stack_pointer = unsafe { fault::stack_pointer(context) };
        if is_overflow(g, address, stack_pointer) {
            report(g);
            fault::abort();
        }
    }
    let before = BEFORE.get().map(|[segv, bus]| match signal {
        libc::SIGSEGV => segv,
        _ => bus,
    });
    match before {
        // SAFETY: as above; `before` is what was answered for this signal.
        Some(before) => unsafe { fault::go_on(before, signal, info, context) },
        None => fault::abort(), // a fault while `install` itself runs
    }
}

fn is_overflow(g: &G, address: usize, stack_pointer: usize) -> bool {
    g.slot.get().is_some_and(|slot| {
        let guard = slot.base..slot.base + GUARD_BYTES;
        // A frame larger than the guard ends below it; the top end bounds what is still "below".
        guard.contains(&address) || stack_pointer < guard.end
    })
}

/// Says it on the standard error (O1).
fn report(g: &'static G) {
    let class = g.slot.get().map_or(slot::DEFAULT_CLASS, slot::Slot::class);
    let mut message = Message::new();
    // `Message` never fails.
    let _ = write!(
        message,
        "fatal error: stack overflow: goroutine {}",
        g.id.get()
    );
    // SAFETY: O2: the record is the calling goroutine's; nobody writes the name while it runs.
    if let Some(name) = unsafe { &*g.name.as_ptr() } {
        let _ = write!(message, " (\"{name}\")");
    }
    if let Some(location) = g.location.get() {
        let _ = write!(message, ", spawned at {location}");
    }
    let _ = writeln!(
        message,
        ", has used all of its {} KiB stack",
        (1usize << class) >> 10
    );
    let _ = match slot::next_size(class) {
        Some(bytes) => writeln!(
            message,
            "start it with a larger one: Builder::stack_size({} * 1024); the memory is reserved, not \
             used, until the goroutine gets that deep",
            bytes >> 10
        ),
        None => writeln!(
            message,
            "no goroutine can have a larger one: recurse less deep, or keep what grows on the heap"
        ),
    };
    message.send();
}
