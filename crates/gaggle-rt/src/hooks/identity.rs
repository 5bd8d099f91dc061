//! Who a goroutine is: to C by its `pthread_t` and thread number, to the kernel by the OS thread that
//! happens to run it.
//!
//! - I1: a goroutine's `pthread_t` is the address of its own thread control block, where the thread
//!   number is one that no kernel thread can have. So goroutines are told from threads by that number.
//! - I2: when libc makes every OS thread take part in a change of user or group, its handler must find
//!   the OS thread's own control block, whatever goroutine runs there: ours puts the M's FS base in
//!   place around it.

use super::signal as signals;
use crate::g::G;
use crate::plain;
use crate::{own, sched, slot, template};
use gaggle_sys::glibc::symbols::Real;
use gaggle_sys::{arch, call, signal};
use libc::{c_int, c_void, pthread_t, siginfo_t};
use std::sync::atomic::{AtomicUsize, Ordering};

static KILL: Real = Real::new(c"pthread_kill");
static QUEUE: Real = Real::new(c"pthread_sigqueue");
static CANCEL: Real = Real::new(c"pthread_cancel");

/// libc's own handler of its broadcast (I2).
static BROADCAST: AtomicUsize = AtomicUsize::new(0);

/// Finds libc's own functions before the first goroutine, and puts I2 into place. Threads have been made
/// before, so libc has installed its handler.
pub fn start() {
    for real in [&KILL, &QUEUE, &CANCEL] {
        real.resolve();
    }
    let signal = signal::OF_LIBC[1];
    if let Some(action) = signal::action(signal) {
        // Release: pairs with the Acquire in `on_broadcast`.
        BROADCAST.store(action.handler, Ordering::Release);
        // SAFETY: ours calls the one that was there, on the same thread, in the same circumstances.
        unsafe { signal::replace_handler(signal, on_broadcast as *const () as usize) };
    }
}

/// See I2.
unsafe extern "C" fn on_broadcast(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let goroutine = plain::owner();
    let own = arch::fs_base();
    let machine = goroutine.map_or(own, |g| g.machine().fs.get());
    // SAFETY: the control block of the M that this runs on, as a goroutine's `on` names it, or the
    // thread's own, which is in place. No thread-local address is held.
    unsafe { arch::load_fs_base(machine) };
    // SAFETY: the kernel's arguments.
    unsafe { call_broadcast(signal, info, context) };
    // SAFETY: what was in place before.
    unsafe { arch::load_fs_base(own) };
}

/// Calls libc's handler; not inlined, so that nothing of it is computed before the FS base changes.
#[inline(never)]
unsafe fn call_broadcast(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    type Handler = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
    // Acquire: pairs with the Release in `start`.
    let handler = BROADCAST.load(Ordering::Acquire);
    // SAFETY: what libc gave the kernel as the handler.
    let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
    // SAFETY: the caller's contract.
    unsafe { handler(signal, info, context) };
}

/// Whether `thread` is a goroutine (I1).
///
/// # Safety
/// A `pthread_t` that is valid, as every function that takes one demands.
unsafe fn is_goroutine(thread: pthread_t) -> bool {
    let field = template().tid_field(thread as usize);
    // SAFETY: the caller's contract: a thread control block is there. Its owner may change the number
    // at this moment, between one and another of its own.
    unsafe { field.read_volatile() >= slot::TID_BASE }
}

/// What a `pthread_t` stands for.
pub enum Whose {
    /// The calling goroutine.
    Own(&'static G),
    /// Another goroutine; `None`: one that runs a handler, or none any more.
    Other(Option<&'static G>),
    /// A thread.
    Thread,
}

/// Finds out.
///
/// # Safety
/// As for [`is_goroutine`].
pub unsafe fn whose(thread: pthread_t) -> Whose {
    if let Some(g) = sched::current().filter(|g| g.fs.get() == thread as usize) {
        return Whose::Own(g);
    }
    // SAFETY: the caller's contract.
    if !crate::is_started() || !unsafe { is_goroutine(thread) } {
        return Whose::Thread;
    }
    // SAFETY: the control block of a goroutine is that of a slot.
    Whose::Other(unsafe { own::owner_of_thread(thread as usize) })
}

/// Sends `signal`, with the value of `pthread_sigqueue` if there is one, to a goroutine; `None`: `thread` is none.
///
/// # Safety
/// As for [`is_goroutine`].
unsafe fn send(thread: pthread_t, signal: c_int, value: Option<usize>) -> Option<c_int> {
    // SAFETY: the caller's contract.
    match unsafe { whose(thread) } {
        Whose::Own(g) => {
            let result = signals::send_to(g, signal, value);
            signals::handle_pending(g);
            Some(result)
        }
        Whose::Other(Some(g)) => Some(signals::send_to(g, signal, value)),
        Whose::Other(None) => Some(libc::ESRCH),
        Whose::Thread => None,
    }
}

/// `pthread_kill(3)`. To another goroutine the signal is pending until that one waits for signals,
/// unblocks it or sends itself one (S2 of `hooks/signal.rs`).
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_kill(thread: pthread_t, signal: c_int) -> c_int {
    // SAFETY: the caller's contract.
    if let Some(result) = unsafe { send(thread, signal, None) } {
        return result;
    }
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(pthread_t, c_int) -> c_int =
        unsafe { std::mem::transmute(KILL.resolve()) };
    // SAFETY: the caller's contract.
    unsafe { real(thread, signal) }
}

/// `pthread_sigqueue(3)`: to a goroutine as [`pthread_kill`], with the value.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_sigqueue(
    thread: pthread_t,
    signal: c_int,
    value: libc::sigval,
) -> c_int {
    // SAFETY: the caller's contract.
    if let Some(result) = unsafe { send(thread, signal, Some(value.sival_ptr as usize)) } {
        return result;
    }
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(pthread_t, c_int, libc::sigval) -> c_int =
        unsafe { std::mem::transmute(QUEUE.resolve()) };
    // SAFETY: the caller's contract.
    unsafe { real(thread, signal, value) }
}

/// `tgkill(2)`: a goroutine that names the OS thread it runs on, or its own number, means itself.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tgkill(process: libc::pid_t, thread: libc::pid_t, signal: c_int) -> c_int {
    if let Some(g) = sched::current()
        && process == signal::process_id()
        && (thread == call::thread_id() || thread == number_of(g))
    {
        // SAFETY: takes a number.
        return unsafe { signals::raise(signal) };
    }
    let arguments = [process as usize, thread as usize, signal as usize, 0, 0, 0];
    // SAFETY: takes numbers only.
    super::answer_int(unsafe { call::raw(libc::SYS_tgkill, arguments) })
}

/// The number in the goroutine's thread control block.
pub fn number_of(g: &'static G) -> libc::pid_t {
    // SAFETY: the goroutine's own control block.
    unsafe { template().tid_field(g.fs.get()).read() as libc::pid_t }
}

/// `pthread_cancel(3)`. Cancelling a goroutine is refused: `ENOTSUP`, and one line that says so.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cancel(thread: pthread_t) -> c_int {
    // SAFETY: the caller's contract.
    if matches!(unsafe { whose(thread) }, Whose::Thread) {
        // SAFETY: libc's function of this name has this type.
        let real: unsafe extern "C" fn(pthread_t) -> c_int =
            unsafe { std::mem::transmute(CANCEL.resolve()) };
        // SAFETY: the caller's contract.
        return unsafe { real(thread) };
    }
    eprintln!("gaggle: a goroutine cannot be cancelled by pthread_cancel; end it by a context");
    libc::ENOTSUP
}

/// What joining a goroutine that ended by `pthread_exit` answers as its error.
pub const EXITED: &str = "the goroutine ended by pthread_exit";

/// `pthread_exit(3)`: ends the goroutine. Its frames are unwound as by a panic that is not printed, the
/// destructors of its thread-local storage run, and joining it answers [`EXITED`]; the value is nobody's.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_exit(value: *mut c_void) -> ! {
    if sched::current().is_some() {
        std::panic::resume_unwind(Box::new(EXITED));
    }
    if plain::owner().is_some() {
        crate::fatal(format_args!(
            "pthread_exit in a handler of a signal on a goroutine"
        ));
    }
    static EXIT: Real = Real::new(c"pthread_exit");
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C-unwind" fn(*mut c_void) -> ! =
        unsafe { std::mem::transmute(EXIT.resolve()) };
    // SAFETY: the caller's contract.
    unsafe { real(value) }
}
