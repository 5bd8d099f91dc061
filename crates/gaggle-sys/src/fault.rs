//! Handlers of faults (SIGSEGV and SIGBUS): installing one before what was there, going on to what
//! was there, and ending the process.

use crate::call::{raw, thread_id};
use crate::glibc::symbols::Real;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;

/// A handler that is told why and where.
pub type Handler = extern "C" fn(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void);

/// What was to be done about a signal before [`install`].
#[derive(Clone, Copy)]
pub struct Action(libc::sigaction);

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Action").field(&self.0.sa_sigaction).finish()
    }
}

/// What the kernel is told of an action; libc's own structure is another.
#[repr(C)]
struct KernelAction {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

/// Makes `handler` the action of `signal`, on the alternate signal stack, with `masked` blocked
/// meanwhile and these `flags` more, and answers what was there before.
///
/// # Errors
/// The kernel's: no such signal.
pub fn install(
    signal: c_int,
    handler: Handler,
    masked: &[c_int],
    flags: c_int,
) -> io::Result<Action> {
    /// libc's own one brings the code that returns from a handler.
    static SIGACTION: Real = Real::new(c"sigaction");
    type Sigaction =
        unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int;
    // SAFETY: the address is that of libc's sigaction, which has this type.
    let sigaction = unsafe { std::mem::transmute::<usize, Sigaction>(SIGACTION.resolve()) };
    let mut mask = MaybeUninit::uninit();
    // SAFETY: initialises the set.
    unsafe { libc::sigemptyset(mask.as_mut_ptr()) };
    for &signal in masked {
        // SAFETY: initialised above.
        unsafe { libc::sigaddset(mask.as_mut_ptr(), signal) };
    }
    let action = libc::sigaction {
        sa_sigaction: handler as usize,
        // SAFETY: initialised above.
        sa_mask: unsafe { mask.assume_init() },
        sa_flags: libc::SA_SIGINFO | libc::SA_ONSTACK | flags,
        sa_restorer: None,
    };
    let mut before = MaybeUninit::uninit();
    // SAFETY: both structures are ours; the handler is a function of the right type.
    if unsafe { sigaction(signal, &raw const action, before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled in by the call, which succeeded.
    Ok(Action(unsafe { before.assume_init() }))
}

/// Whether a fault came from an instruction of the thread itself, not from a `kill`.
///
/// # Safety
/// `info` is what a handler was called with.
pub unsafe fn is_own(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the caller's contract. Codes of the kernel are positive.
    unsafe { (*info).si_code > 0 }
}

/// The address that could not be reached.
///
/// # Safety
/// `info` is what a handler of a fault was called with.
pub unsafe fn address(info: *const libc::siginfo_t) -> usize {
    // SAFETY: the caller's contract.
    let info = unsafe { &*info };
    // SAFETY: as above: a fault carries an address.
    unsafe { info.si_addr() as usize }
}

/// The stack pointer of what was interrupted.
///
/// # Safety
/// `context` is what a handler was called with.
pub unsafe fn stack_pointer(context: *const c_void) -> usize {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the caller's contract: the kernel passes a ucontext_t.
    unsafe { (*context).uc_mcontext.gregs[libc::REG_RSP as usize] as usize }
}

/// Does what would have been done about the signal without our handler: calls the handler that was
/// there, or leaves the signal to the kernel, which ends the process once our handler has returned.
///
/// # Safety
/// Called in a handler of `signal` with its own arguments; `before` is what [`install`] answered.
pub unsafe fn go_on(
    before: &Action,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    let Action(before) = before;
    // SAFETY: the caller's contract.
    let own = unsafe { is_own(info) };
    match before.sa_sigaction {
        libc::SIG_IGN if !own => {} // the kernel heeds an ignored fault only where somebody sent it
        libc::SIG_DFL | libc::SIG_IGN => {
            set_default(signal);
            if !own {
                // An instruction that faults does so again; a signal that was sent would be lost.
                send_to_self(signal);
            }
        }
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with SA_SIGINFO the action holds a function of this type.
            let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: without SA_SIGINFO the action holds a function of this type.
            let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
            handler(signal);
        }
    }
}

/// Leaves `signal` to the kernel.
fn set_default(signal: c_int) {
    let action = KernelAction {
        handler: libc::SIG_DFL,
        flags: 0,
        restorer: 0,
        mask: 0,
    };
    // SAFETY: the kernel reads the structure; the default action calls nothing of ours.
    unsafe {
        raw(
            libc::SYS_rt_sigaction,
            [signal as usize, &raw const action as usize, 0, 8, 0, 0],
        )
    };
}

/// Ends the process by `signal`, as if nobody had set a handler.
pub fn end_by(signal: c_int) -> ! {
    set_default(signal);
    crate::signal::set_mask(0);
    loop {
        send_to_self(signal);
    }
}

/// Sends `signal` to the calling OS thread.
pub fn send_to_self(signal: c_int) {
    // SAFETY: takes no argument.
    let process = unsafe { raw(libc::SYS_getpid, [0; 6]) } as usize;
    let arguments = [process, thread_id() as usize, signal as usize, 0, 0, 0];
    // SAFETY: a signal to ourselves.
    unsafe { raw(libc::SYS_tgkill, arguments) };
}

/// Ends the process by SIGABRT, as `abort` does, but takes no lock: a handler of the program for it
/// runs first.
pub fn abort() -> ! {
    let mask = 1u64 << (libc::SIGABRT - 1);
    let unblock = [
        libc::SIG_UNBLOCK as usize,
        &raw const mask as usize,
        0,
        8,
        0,
        0,
    ];
    // SAFETY: the kernel reads eight bytes of mask.
    unsafe { raw(libc::SYS_rt_sigprocmask, unblock) };
    send_to_self(libc::SIGABRT);
    set_default(libc::SIGABRT);
    send_to_self(libc::SIGABRT);
    loop {
        // SAFETY: ends the process, if for some reason the signal did not.
        unsafe { raw(libc::SYS_exit_group, [134, 0, 0, 0, 0, 0]) };
    }
}
