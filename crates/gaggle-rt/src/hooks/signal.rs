//! Signals: masks, handlers, and waiting for signals, per goroutine as per thread.
//!
//! Ms block the signals that others send, so a signal to the process is handled on one of the
//! program's own threads (as a rule the main one, which waits in `gaggle::run`), unless all of them
//! block it. What a goroutine does about signals for itself is kept in its record:
//!
//! - S1: a goroutine's mask is its own, begins as that of whoever started it, and is the real one only
//!   while a handler runs on it or it is a plain thread ([`crate::plain`]).
//! - S2: a signal to one goroutine (`raise`, `pthread_kill`) that is not blocked is handled on it before
//!   the call returns; else, or if another goroutine sent it, it is *pending* in the record, and is
//!   handled when its goroutine next unblocks it, waits for it, or sends itself one. Each real-time signal
//!   is handled, and those that `pthread_sigqueue` sent with their values ([`super::signal_queue`]).
//! - S3: who waits for signals first says on which OS thread, then looks at what is pending, then waits;
//!   who sends first makes the signal pending, then looks whether and where is waited, and interrupts
//!   it by SIGURG, which the waiter takes as one of those it waits for.
//! - S4: a handler of the program runs as on a plain thread, whoever was interrupted: its calls are
//!   libc's own. SIGURG, the runtime's own signal, waits meanwhile.
//! - S5: the program's action for SIGURG is kept here, and called for those that the runtime has not
//!   sent.

use super::{set_errno, signal_queue};
use crate::blocking::in_long_call;
use crate::g::G;
use crate::plain::{self, Plain};
use crate::preempt::Section;
use crate::sched;
use gaggle_core::lock::Lock as Guarded;
use gaggle_sys::glibc::symbols::Real;
use gaggle_sys::signal::{self, LibcAction as Action, Set, only};
use gaggle_sys::{call, clock};
use libc::{c_int, c_void, siginfo_t, sigset_t, timespec};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The runtime's own signal.
pub const OWN: c_int = libc::SIGURG;

static SIGACTION: Real = Real::new(c"sigaction");

type Sigaction = unsafe extern "C" fn(c_int, *const Action, *mut Action) -> c_int;

fn real_sigaction() -> Sigaction {
    // SAFETY: libc's function of this name has this type.
    unsafe { std::mem::transmute::<usize, Sigaction>(SIGACTION.resolve()) }
}

const SIGNALS: usize = signal::MAX as usize + 1;

/// The program's handlers, by signal.
static HANDLERS: [AtomicUsize; SIGNALS] = [const { AtomicUsize::new(0) }; SIGNALS];

/// What the program said of its actions, where the kernel was told something else.
struct Said {
    /// Flags, and whether the mask had SIGURG.
    flags: [c_int; SIGNALS],
    masks_own: Set,
    /// S5; `None`: the runtime has not started, or the program has said nothing since.
    own: Option<Action>,
}

static SAID: Guarded<Said, crate::lock::Lock> = Guarded::from_raw(
    crate::lock::Lock::unlocked(),
    Said {
        flags: [0; SIGNALS],
        masks_own: 0,
        own: None,
    },
);

/// SIGURG is the runtime's (S5).
static IS_OWN: AtomicBool = AtomicBool::new(false);

/// Takes SIGURG over, and makes libc's own broadcast work on Ms. Called once, before any goroutine.
pub fn start() {
    SIGACTION.resolve();
    let mut before = MaybeUninit::<Action>::zeroed();
    // SAFETY: asks for the action that the program has set so far.
    unsafe { sigaction(OWN, std::ptr::null(), before.as_mut_ptr()) };
    // SAFETY: zeroed, or filled in.
    SAID.lock().own = Some(unsafe { before.assume_init() });
    // Release: pairs with the Acquire in `sigaction`.
    IS_OWN.store(true, Ordering::Release);
}

/// What the kernel calls for every signal that the program handles (S4).
unsafe extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // Acquire: pairs with the Release in `sigaction`.
    let handler = HANDLERS[signal as usize % SIGNALS].load(Ordering::Acquire);
    let plain = Plain::begin();
    // SAFETY: set by `sigaction` from a program's action.
    unsafe { call_handler(handler, signal, info, context) };
    drop(plain);
}

/// Calls a handler of the program.
///
/// # Safety
/// `handler` came with an action; the other arguments from the kernel.
unsafe fn call_handler(handler: usize, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    type Handler = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
    // SAFETY: a handler takes these arguments, or only the first of them, which is passed the same way.
    let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
    // SAFETY: the kernel's arguments.
    unsafe { handler(signal, info, context) };
}

/// Whether somebody else than the runtime sent this SIGURG: the kernel, for a socket's urgent data, or
/// another process.
///
/// # Safety
/// `info` is what the handler was called with.
pub unsafe fn is_foreign(info: *const siginfo_t) -> bool {
    // SAFETY: the caller's contract.
    let info = unsafe { &*info };
    // SAFETY: a signal that a process sent carries the sender's number.
    info.si_code != libc::SI_TKILL || unsafe { info.si_pid() } != signal::process_id()
}

/// For the runtime's own handler of SIGURG, when it was not the runtime that sent it (S5). Called with
/// the handler's own arguments.
///
/// # Safety
/// As for a handler.
pub unsafe fn foreign_own_signal(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // Acquire: pairs with the Release in `sigaction`.
    let handler = HANDLERS[OWN as usize].load(Ordering::Acquire);
    if handler != 0 {
        let plain = Plain::begin();
        // SAFETY: the caller's contract.
        unsafe { call_handler(handler, signal, info, context) };
        drop(plain);
    }
}

/// Whether an action names a function.
fn is_function(handler: usize) -> bool {
    handler != libc::SIG_DFL && handler != libc::SIG_IGN && handler != libc::SIG_ERR
}

/// `sigaction(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int {
    let Some(index) = usize::try_from(signal)
        .ok()
        .filter(|&index| index < SIGNALS)
    else {
        // SAFETY: the caller's contract; libc refuses the number.
        return unsafe { real_sigaction()(signal, new, old) };
    };
    // SAFETY: the caller's contract: null or readable.
    let new = unsafe { new.as_ref() }.copied();
    // The mask below is the OS thread's: until it is restored the goroutine stays there.
    let section = Section::enter();
    // A handler that calls this on the same thread would wait for itself.
    let mask = signal::set_mask(!(only(libc::SIGSEGV) | only(libc::SIGBUS)));
    let (result, before) = change_action(signal, index, new);
    signal::set_mask(mask);
    drop(section);
    if result == 0 && !old.is_null() {
        // SAFETY: the caller's contract: writable.
        unsafe { old.write(before) };
    }
    result
}

/// Makes `new` the action of `signal`, and answers the program's one before.
fn change_action(signal: c_int, index: usize, new: Option<Action>) -> (c_int, Action) {
    let mut said = SAID.lock();
    // SAFETY: an action of zeroes is the default one.
    let mut before = unsafe { MaybeUninit::<Action>::zeroed().assume_init() };
    // Acquire: pairs with the Release in `start`.
    if signal == OWN && IS_OWN.load(Ordering::Acquire) {
        before = said.own.unwrap_or(before);
        if let Some(new) = new {
            said.own = Some(new);
            let handler = Some(new.sa_sigaction).filter(|&handler| is_function(handler));
            // Release: pairs with the Acquire in `foreign_own_signal`.
            HANDLERS[index].store(handler.unwrap_or(0), Ordering::Release);
        }
        return (0, before);
    }
    // Relaxed: under the lock.
    let handler = HANDLERS[index].load(Ordering::Relaxed);
    let told = new.map(|mut new| {
        if is_function(new.sa_sigaction) {
            // Release: pairs with the Acquire in `on_signal`. From here on the new handler is called.
            HANDLERS[index].store(new.sa_sigaction, Ordering::Release);
            new.sa_sigaction = on_signal as *const () as usize;
            new.sa_flags |= libc::SA_SIGINFO;
            // SAFETY: a set of the program's own making.
            unsafe { libc::sigaddset(&raw mut new.sa_mask, OWN) };
        }
        new
    });
    let told = told.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: null or an action whose function is safe wherever the program's own one is.
    let result = unsafe { real_sigaction()(signal, told, &raw mut before) };
    if result != 0 {
        // Relaxed: under the lock; the kernel calls nothing of ours for it.
        HANDLERS[index].store(handler, Ordering::Relaxed);
        return (result, before);
    }
    if before.sa_sigaction == on_signal as *const () as usize {
        before.sa_sigaction = handler;
        before.sa_flags = said.flags[index];
        if said.masks_own & only(signal) == 0 {
            // SAFETY: a set that libc answered.
            unsafe { libc::sigdelset(&raw mut before.sa_mask, OWN) };
        }
    }
    if let Some(new) = new {
        said.flags[index] = new.sa_flags;
        said.masks_own &= !only(signal);
        // SAFETY: a set of the program's own making.
        if unsafe { libc::sigismember(&raw const new.sa_mask, OWN) } == 1 {
            said.masks_own |= only(signal);
        }
    }
    (result, before)
}

/// `signal(2)` and its like: sets a plain handler, with these flags.
fn set_handler(signal: c_int, handler: usize, flags: c_int, masks_itself: bool) -> usize {
    if handler == libc::SIG_ERR || !(1..=signal::MAX).contains(&signal) {
        set_errno(libc::EINVAL);
        return libc::SIG_ERR;
    }
    // SAFETY: an action of zeroes is the default one with an empty mask.
    let mut action = unsafe { MaybeUninit::<Action>::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    if masks_itself {
        // SAFETY: an initialised set.
        unsafe { libc::sigaddset(&raw mut action.sa_mask, signal) };
    }
    let mut before = action;
    // SAFETY: both are ours; the handler is the caller's.
    if unsafe { sigaction(signal, &raw const action, &raw mut before) } != 0 {
        return libc::SIG_ERR;
    }
    before.sa_sigaction
}

/// `signal(2)`, with BSD's meaning as in glibc: calls go on after the handler.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn signal(signal: c_int, handler: usize) -> usize {
    set_handler(signal, handler, libc::SA_RESTART, true)
}

/// `bsd_signal(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bsd_signal(signal: c_int, handler: usize) -> usize {
    set_handler(signal, handler, libc::SA_RESTART, true)
}

/// `ssignal(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ssignal(signal: c_int, handler: usize) -> usize {
    set_handler(signal, handler, libc::SA_RESTART, true)
}

/// `sysv_signal(3)`: the handler is called once, and the signal not blocked meanwhile.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sysv_signal(signal: c_int, handler: usize) -> usize {
    set_handler(
        signal,
        handler,
        libc::SA_RESETHAND | libc::SA_NODEFER,
        false,
    )
}

/// `sysv_signal(3)`, by the name that C's headers use.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sysv_signal(signal: c_int, handler: usize) -> usize {
    set_handler(
        signal,
        handler,
        libc::SA_RESETHAND | libc::SA_NODEFER,
        false,
    )
}

/// `sigset(3)` of System V: sets a handler, or blocks the signal (`SIG_HOLD`, 2).
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigset(signal: c_int, handler: usize) -> usize {
    const SIG_HOLD: usize = 2;
    if !(1..=signal::MAX).contains(&signal) {
        set_errno(libc::EINVAL);
        return libc::SIG_ERR;
    }
    let hold = handler == SIG_HOLD;
    let how = if hold {
        libc::SIG_BLOCK
    } else {
        libc::SIG_UNBLOCK
    };
    let mut before = 0;
    if !hold && set_handler_keeping(signal, handler, &mut before) {
        return libc::SIG_ERR;
    }
    let was_held =
        change_mask(how, Some(only(signal))).is_some_and(|mask| mask & only(signal) != 0);
    if hold {
        // SAFETY: asks only.
        let mut action = unsafe { MaybeUninit::<Action>::zeroed().assume_init() };
        // SAFETY: writable.
        unsafe { sigaction(signal, std::ptr::null(), &raw mut action) };
        before = action.sa_sigaction;
    }
    if was_held { SIG_HOLD } else { before }
}

/// Sets a handler with an empty mask, noting the one before; whether it failed.
fn set_handler_keeping(signal: c_int, handler: usize, before: &mut usize) -> bool {
    *before = set_handler(signal, handler, 0, false);
    *before == libc::SIG_ERR
}

// ---- Masks ----

/// Changes the mask of the calling goroutine (S1) or thread and answers what it was; `None`: `how` is
/// none of the three ways.
fn change_mask(how: c_int, set: Option<Set>) -> Option<Set> {
    let g = sched::current();
    let before = g.map_or_else(signal::mask, |g| g.signal_mask());
    let Some(set) = set else { return Some(before) };
    let mask = match how {
        libc::SIG_BLOCK => before | set,
        libc::SIG_UNBLOCK => before & !set,
        libc::SIG_SETMASK => set,
        _ => return None,
    } & !signal::UNBLOCKABLE;
    match g {
        None => {
            signal::set_mask(mask);
        }
        Some(g) => {
            g.set_signal_mask(mask);
            if before & !mask != 0 {
                handle_pending(g);
            }
        }
    }
    Some(before)
}

/// The word of a set of libc's, of which the kernel knows the first.
///
/// # Safety
/// Null or readable.
unsafe fn word_of(set: *const sigset_t) -> Option<Set> {
    if set.is_null() {
        return None;
    }
    // SAFETY: the caller's contract; a set begins with its first 64 signals.
    Some(unsafe { set.cast::<Set>().read() })
}

/// `pthread_sigmask(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_sigmask(
    how: c_int,
    set: *const sigset_t,
    old: *mut sigset_t,
) -> c_int {
    // SAFETY: the caller's contract.
    let set = unsafe { word_of(set) };
    let Some(before) = change_mask(how, set) else {
        return libc::EINVAL;
    };
    if !old.is_null() {
        // SAFETY: the caller's contract: writable.
        unsafe { old.cast::<Set>().write(before) };
    }
    0
}

/// `sigprocmask(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigprocmask(
    how: c_int,
    set: *const sigset_t,
    old: *mut sigset_t,
) -> c_int {
    // SAFETY: the caller's contract.
    match unsafe { pthread_sigmask(how, set, old) } {
        0 => 0,
        errno => {
            set_errno(errno);
            -1
        }
    }
}

/// `sigpending(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigpending(set: *mut sigset_t) -> c_int {
    let mut pending = signal::pending();
    if let Some(g) = sched::current() {
        // Acquire: pairs with the Release in `send_to`.
        pending = pending & g.signal_mask() | g.signals_pending.load(Ordering::Acquire);
    }
    // SAFETY: the caller's contract: writable.
    unsafe { set.cast::<Set>().write(pending) };
    0
}

// ---- Sending and handling ----

/// Handles what is pending and not blocked, of the goroutine's own and of the process's (S2).
pub fn handle_pending(g: &'static G) {
    loop {
        // Acquire: pairs with the Release in `send_to`.
        let due = g.signals_pending.load(Ordering::Acquire) & !g.signal_mask();
        if due == 0 {
            break;
        }
        let signal = due.trailing_zeros() as c_int + 1;
        if let Some(info) = signal_queue::take(g, signal) {
            handle(g, signal, info);
        }
    }
    if signal::pending() & !g.signal_mask() & !only(OWN) != 0 {
        open(g, |_| {});
    }
}

/// Handles one signal that was pending for `g`, the calling goroutine.
fn handle(g: &'static G, signal: c_int, mut info: siginfo_t) {
    if signal == OWN {
        // The kernel's action is the runtime's.
        // SAFETY: as the kernel would call it; the context is not known.
        unsafe { foreign_own_signal(signal, &raw mut info, std::ptr::null_mut()) };
    } else {
        open(g, |thread| {
            // Where the kernel queues no more, it comes without what is known of it.
            if signal::send_to_self(signal, &info) != 0 {
                signal::send(thread, signal);
            }
        });
    }
}

/// Lets the kernel deliver signals here, by the goroutine's own mask, after `send` was called with the
/// OS thread's number. Handlers run before this returns, as on a plain thread (S4).
fn open(g: &'static G, send: impl FnOnce(c_int)) {
    let plain = Plain::begin();
    send(call::thread_id());
    let mask = signal::set_mask(g.signal_mask() | only(OWN));
    if !plain::is_child() {
        signal::set_mask(mask);
    }
    drop(plain);
}

/// `raise(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn raise(signal: c_int) -> c_int {
    let Some(g) = sched::current() else {
        return super::answer_int(signal::send(call::thread_id(), signal));
    };
    match send_to(g, signal, None) {
        0 => {
            handle_pending(g);
            0
        }
        errno => {
            set_errno(errno);
            -1
        }
    }
}

/// Makes `signal` pending for `g`, with the `value` of `pthread_sigqueue`, and ends its wait for it, if it is in
/// one (S2, S3); 0 or an errno.
pub fn send_to(g: &'static G, signal: c_int, value: Option<usize>) -> c_int {
    if signal == 0 {
        return 0;
    }
    if only(signal) & !signal::UNBLOCKABLE == 0 {
        // The kernel's own two end or stop the whole process.
        return if only(signal) == 0 || signal == signal::OF_LIBC[0] || signal == signal::OF_LIBC[1]
        {
            libc::EINVAL
        } else {
            -signal::send_to_process(signal) as c_int
        };
    }
    let own = sched::current().is_some_and(|current| std::ptr::eq(current, g));
    if !own && g.signal_mask() & only(signal) == 0 && has_default_action(signal) {
        // It stops or ends the process, or does nothing: whoever receives it.
        return -signal::send_to_process(signal) as c_int;
    }
    if value.is_none() && !signal_queue::is_real_time(signal) {
        // Release: pairs with the Acquire of whoever takes it. SeqCst for S3.
        g.signals_pending.fetch_or(only(signal), Ordering::SeqCst);
    } else if !signal_queue::push(g, signal, value) {
        return libc::EAGAIN;
    }
    let waiting = g.signal_waiter.load(Ordering::SeqCst);
    if waiting != 0 {
        signal::send(waiting, OWN);
    }
    0
}

/// Whether the program has left `signal` to the kernel, or ignores it.
fn has_default_action(signal: c_int) -> bool {
    signal::action(signal).is_some_and(|action| !is_function(action.handler))
}

/// Whether the kernel does nothing about `signal` as things stand.
fn is_ignored(signal: c_int) -> bool {
    const IGNORED_BY_DEFAULT: Set =
        only(libc::SIGCHLD) | only(libc::SIGURG) | only(libc::SIGWINCH) | only(libc::SIGCONT);
    signal::action(signal).is_some_and(|action| {
        action.handler == libc::SIG_IGN
            || action.handler == libc::SIG_DFL && only(signal) & IGNORED_BY_DEFAULT != 0
    })
}

// ---- Waiting ----

/// Waits until a signal of `set` is sent to the goroutine or the process and takes it: its number, or
/// `-errno`.
fn wait(g: &'static G, set: Set, nanos: Option<u64>) -> (isize, siginfo_t) {
    let set = set & !signal::UNBLOCKABLE & !only(OWN);
    let deadline = nanos.map(|nanos| clock::now().saturating_add(nanos));
    in_long_call(|| {
        // The runtime's signal is blocked, so that one sent at any moment ends the wait (S3).
        let mask = signal::set_mask(signal::mask() | set | only(OWN));
        // SeqCst: S3.
        g.signal_waiter.store(call::thread_id(), Ordering::SeqCst);
        let result = loop {
            let due = g.signals_pending.load(Ordering::SeqCst) & set;
            if due != 0 {
                let signal = due.trailing_zeros() as c_int + 1;
                let taken = signal_queue::take(g, signal);
                break (signal as isize, taken.expect("only its goroutine takes it"));
            }
            let left = deadline.map(|deadline| deadline.saturating_sub(clock::now()));
            let (result, info) = signal::wait(set | only(OWN), left);
            if result != OWN as isize && !call::failed_with(result, libc::EINTR) {
                break (result, info);
            }
        };
        g.signal_waiter.store(0, Ordering::SeqCst);
        signal::set_mask(mask);
        result
    })
}

/// `sigtimedwait(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigtimedwait(
    set: *const sigset_t,
    info: *mut siginfo_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract.
    let wanted = unsafe { word_of(set) }.unwrap_or(0);
    // SAFETY: the caller's contract: null or readable.
    let time = unsafe { time.as_ref() };
    if time.is_some_and(|time| !(0..1_000_000_000).contains(&time.tv_nsec) || time.tv_sec < 0) {
        set_errno(libc::EINVAL);
        return -1;
    }
    let nanos = time.map(clock::nanos_of);
    let (result, found) = match sched::current() {
        Some(g) => wait(g, wanted, nanos),
        None => signal::wait(wanted, nanos),
    };
    if result > 0 && !info.is_null() {
        // SAFETY: the caller's contract: writable.
        unsafe { info.write(found) };
    }
    super::answer_int(result)
}

/// `sigwaitinfo(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigwaitinfo(set: *const sigset_t, info: *mut siginfo_t) -> c_int {
    // SAFETY: the caller's contract; for as long as it takes.
    unsafe { sigtimedwait(set, info, std::ptr::null()) }
}

/// `sigwait(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigwait(set: *const sigset_t, signal: *mut c_int) -> c_int {
    loop {
        // SAFETY: the caller's contract.
        let wanted = unsafe { word_of(set) }.unwrap_or(0);
        let (result, _) = match sched::current() {
            Some(g) => wait(g, wanted, None),
            None => signal::wait(wanted, None),
        };
        if result > 0 {
            // SAFETY: the caller's contract: writable.
            unsafe { signal.write(result as c_int) };
            return 0;
        }
        // POSIX: sigwait does not answer EINTR.
        if !call::failed_with(result, libc::EINTR) {
            return -result as c_int;
        }
    }
}

/// `sigsuspend(2)`: a handler runs on the goroutine before it returns.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigsuspend(set: *const sigset_t) -> c_int {
    // SAFETY: the caller's contract.
    let mask = unsafe { word_of(set) }.unwrap_or(0);
    let Some(g) = sched::current() else {
        // SAFETY: the kernel reads eight bytes of the caller's set.
        let result = unsafe {
            call::raw(
                libc::SYS_rt_sigsuspend,
                [&raw const mask as usize, 8, 0, 0, 0, 0],
            )
        };
        return super::answer_int(result);
    };
    let before = g.signal_mask();
    g.set_signal_mask(mask & !signal::UNBLOCKABLE);
    loop {
        let (result, info) = wait(g, !mask, None);
        let signal = result as c_int;
        if result > 0 && !is_ignored(signal) {
            open(g, |_| {
                signal::send_to_self(signal, &info);
            });
            break;
        }
    }
    g.set_signal_mask(before);
    handle_pending(g);
    set_errno(libc::EINTR);
    -1
}

/// `pause(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pause() -> c_int {
    let mask = change_mask(libc::SIG_BLOCK, Some(0)).unwrap_or(0);
    let mut set = MaybeUninit::<sigset_t>::zeroed();
    // SAFETY: a set begins with its first 64 signals.
    unsafe { set.as_mut_ptr().cast::<Set>().write(mask) };
    // SAFETY: initialised.
    unsafe { sigsuspend(set.as_ptr()) }
}
