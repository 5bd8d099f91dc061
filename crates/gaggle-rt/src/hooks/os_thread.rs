//! Calls that the kernel answers, or remembers, for one OS thread.
//!
//! - O1: a call that changes what the kernel knows of the calling thread binds the goroutine to its M for
//!   good first ([`crate::pin`]), so that the change stays with the goroutine and is met by nobody else.
//! - O2: a goroutine's thread number, by `gettid`, is its own for life, and none of the kernel's, unless
//!   it is bound: then it is the OS thread's. So code that tells owners apart by it works, and code that
//!   gives it to the kernel binds first or is refused (`ESRCH`). Calls here take both for "myself".
//! - O3: a name that an unbound goroutine gives its thread is kept for it, and not told to the kernel.

use super::answer_int;
use super::identity::{self, Whose};
use crate::{pin, plain, sched, thread_tls};
use gaggle_sys::call::{self, raw};
use gaggle_sys::glibc::symbols::Real;
use libc::{c_char, c_int, c_long, c_ulong, c_void, pid_t, pthread_t, sched_param};
use std::cell::Cell;
use std::ptr::null_mut;

/// Whether `number` means the calling goroutine (O2).
fn is_self(number: pid_t) -> bool {
    sched::current().is_some_and(|g| {
        number == 0 || number == identity::number_of(g) || number == call::thread_id()
    })
}

/// `gettid(2)` (O2).
#[unsafe(no_mangle)]
pub extern "C" fn gettid() -> pid_t {
    match sched::current() {
        Some(g) if !pin::is_bound() => identity::number_of(g),
        _ => call::thread_id(),
    }
}

/// What a system call does to the thread that makes it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing that lasts.
    None,
    /// It changes the thread (O1).
    Changes,
    /// It changes the thread that its first argument names.
    ChangesNamed,
    /// It asks about that thread.
    AsksNamed,
}

/// The effect of a system call by its number.
fn effect(number: c_long, arguments: &[usize; 6]) -> Effect {
    /// `IORING_SETUP_SINGLE_ISSUER`: the ring belongs to the thread that makes it.
    const SINGLE_ISSUER: u32 = 1 << 12;
    match number {
        libc::SYS_setns
        | libc::SYS_unshare
        | libc::SYS_seccomp
        | libc::SYS_setfsuid
        | libc::SYS_setfsgid
        | libc::SYS_personality
        | libc::SYS_ptrace
        | libc::SYS_capset
        | libc::SYS_set_mempolicy
        | libc::SYS_ioprio_set
        | libc::SYS_keyctl
        | libc::SYS_landlock_restrict_self
        | libc::SYS_perf_event_open
        // Past libc, these are the calling thread's alone.
        | libc::SYS_setuid
        | libc::SYS_setgid
        | libc::SYS_setreuid
        | libc::SYS_setregid
        | libc::SYS_setresuid
        | libc::SYS_setresgid
        | libc::SYS_setgroups => Effect::Changes,
        libc::SYS_sched_setaffinity
        | libc::SYS_sched_setscheduler
        | libc::SYS_sched_setparam
        | libc::SYS_sched_setattr => Effect::ChangesNamed,
        libc::SYS_sched_getaffinity
        | libc::SYS_sched_getscheduler
        | libc::SYS_sched_getparam
        | libc::SYS_sched_getattr => Effect::AsksNamed,
        libc::SYS_setpriority if arguments[0] == 0 && is_self(arguments[1] as pid_t) => {
            Effect::Changes
        }
        libc::SYS_prctl if changes_thread(arguments[0] as c_int) => Effect::Changes,
        libc::SYS_io_uring_setup => {
            // SAFETY: the call's contract: null or readable; the flags are its third word.
            let flags = unsafe { (arguments[1] as *const [u32; 3]).as_ref() };
            match flags {
                Some(words) if words[2] & SINGLE_ISSUER != 0 => Effect::Changes,
                _ => Effect::None,
            }
        }
        _ => Effect::None,
    }
}

/// Whether an operation of `prctl` changes the calling thread; those that only ask, and those that are
/// about the process, do not.
fn changes_thread(operation: c_int) -> bool {
    /// Linux 5.6.
    const PR_SET_IO_FLUSHER: c_int = 57;
    matches!(
        operation,
        libc::PR_SET_PDEATHSIG
            | libc::PR_SET_KEEPCAPS
            | libc::PR_SET_TIMERSLACK
            | libc::PR_SET_SECCOMP
            | libc::PR_CAPBSET_DROP
            | libc::PR_SET_SECUREBITS
            | libc::PR_SET_NO_NEW_PRIVS
            | libc::PR_CAP_AMBIENT
            | libc::PR_SET_TSC
            | libc::PR_SET_ENDIAN
            | libc::PR_SET_FPEMU
            | libc::PR_SET_FPEXC
            | libc::PR_SET_UNALIGN
            | libc::PR_MCE_KILL
            | libc::PR_SET_SPECULATION_CTRL
            | libc::PR_SCHED_CORE
            | PR_SET_IO_FLUSHER
    )
}

/// For `syscall(2)` and the calls below, on a goroutine: does what O1 and O2 ask before the call is made;
/// `Some`: the call's answer, which the kernel is not asked for.
pub fn before_call(number: c_long, arguments: &mut [usize; 6]) -> Option<isize> {
    sched::current()?;
    if number == libc::SYS_gettid {
        return Some(gettid() as isize);
    }
    match effect(number, arguments) {
        Effect::None => {}
        Effect::Changes => pin::for_good(),
        Effect::ChangesNamed if is_self(arguments[0] as pid_t) => {
            pin::for_good();
            arguments[0] = 0;
        }
        Effect::AsksNamed if is_self(arguments[0] as pid_t) => arguments[0] = 0,
        Effect::ChangesNamed | Effect::AsksNamed => {}
    }
    None
}

/// Makes a system call as `syscall(2)` would.
///
/// # Safety
/// As for the call.
unsafe fn make(number: c_long, mut arguments: [usize; 6]) -> isize {
    before_call(number, &mut arguments).unwrap_or_else(|| {
        // SAFETY: the caller's contract.
        unsafe { raw(number, arguments) }
    })
}

macro_rules! calls {
    ($($name:ident($($argument:ident: $type:ty),*) = $number:ident;)*) => {$(
        /// The libc function of this name (O1, O2).
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> c_int {
            let mut arguments = [0usize; 6];
            for (slot, value) in arguments.iter_mut().zip([$($argument as usize),*]) {
                *slot = value;
            }
            // SAFETY: the caller's contract is the system call's.
            answer_int(unsafe { make(libc::$number, arguments) })
        }
    )*};
}

calls! {
    setns(fd: c_int, kind: c_int) = SYS_setns;
    unshare(flags: c_int) = SYS_unshare;
    setfsuid(user: libc::uid_t) = SYS_setfsuid;
    setfsgid(group: libc::gid_t) = SYS_setfsgid;
    personality(persona: c_ulong) = SYS_personality;
    capset(header: *mut c_void, data: *const c_void) = SYS_capset;
    setpriority(which: c_int, who: libc::id_t, priority: c_int) = SYS_setpriority;
    sched_setaffinity(thread: pid_t, bytes: usize, set: *const c_void) = SYS_sched_setaffinity;
    sched_setscheduler(thread: pid_t, policy: c_int, param: *const sched_param)
        = SYS_sched_setscheduler;
    sched_setparam(thread: pid_t, param: *const sched_param) = SYS_sched_setparam;
    sched_getscheduler(thread: pid_t) = SYS_sched_getscheduler;
    sched_getparam(thread: pid_t, param: *mut sched_param) = SYS_sched_getparam;
}

/// `sched_getaffinity(2)`: what the kernel does not write of the set becomes zero, as libc has it.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sched_getaffinity(thread: pid_t, bytes: usize, set: *mut c_void) -> c_int {
    let arguments = [thread as usize, bytes, set as usize, 0, 0, 0];
    // SAFETY: the caller's contract is the system call's.
    let written = unsafe { make(libc::SYS_sched_getaffinity, arguments) };
    if let Ok(written) = usize::try_from(written) {
        let rest = set.cast::<u8>().wrapping_add(written);
        // SAFETY: the caller lends `bytes` bytes, of which the kernel wrote the first.
        unsafe { rest.write_bytes(0, bytes.saturating_sub(written)) };
        return 0;
    }
    answer_int(written)
}

/// `nice(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nice(increment: c_int) -> c_int {
    static NICE: Real = Real::new(c"nice");
    pin::for_good();
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(c_int) -> c_int = unsafe { std::mem::transmute(NICE.resolve()) };
    // SAFETY: the caller's contract.
    unsafe { real(increment) }
}

/// `prctl(2)`, whose arguments are words.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prctl(operation: c_int, b: usize, c: usize, d: usize, e: usize) -> c_int {
    let unbound = sched::current().filter(|_| !pin::is_bound());
    if unbound.is_some() && operation == libc::PR_SET_NAME {
        // SAFETY: the caller's contract: a text that ends in a zero byte, of which 15 are read.
        return answer_int(unsafe { keep_name(b as *const c_char) });
    }
    if unbound.is_some() && operation == libc::PR_GET_NAME {
        // SAFETY: the caller's contract: 16 bytes may be written.
        unsafe { (b as *mut [c_char; NAME_BYTES]).write(kept_name()) };
        return 0;
    }
    // SAFETY: the caller's contract is the system call's.
    answer_int(unsafe { make(libc::SYS_prctl, [operation as usize, b, c, d, e, 0]) })
}

// ---- Names ----

/// As long as the kernel's, with the zero byte.
const NAME_BYTES: usize = 16;

thread_local! {
    /// The name that an unbound goroutine gave its thread (O3); null: none.
    static NAME: Cell<*mut [c_char; NAME_BYTES]> = const { Cell::new(null_mut()) };
}

/// Frees the name at the goroutine's end.
unsafe extern "C" fn free_name(name: *mut c_void) {
    NAME.set(null_mut());
    // SAFETY: malloc's, freed once.
    unsafe { libc::free(name) };
}

/// Keeps the first 15 bytes of `text` as the goroutine's name; 0 or `-errno`.
///
/// # Safety
/// A text that ends in a zero byte.
unsafe fn keep_name(text: *const c_char) -> isize {
    let Some(g) = plain::owner() else { return 0 };
    if NAME.get().is_null() {
        // SAFETY: malloc may be asked for any size.
        let place = unsafe { libc::malloc(NAME_BYTES) };
        if place.is_null() || !thread_tls::register(g, free_name, place, null_mut()) {
            // SAFETY: malloc's, or null.
            unsafe { libc::free(place) };
            return super::failure(libc::ENOMEM);
        }
        NAME.set(place.cast());
    }
    // SAFETY: the caller's contract.
    let bytes = unsafe { std::ffi::CStr::from_ptr(text) }.to_bytes();
    let mut name = [0 as c_char; NAME_BYTES];
    for (place, &byte) in name.iter_mut().take(NAME_BYTES - 1).zip(bytes) {
        *place = byte as c_char;
    }
    // SAFETY: the goroutine's own memory, of this size.
    unsafe { NAME.get().write(name) };
    0
}

/// The name kept for the goroutine; the program's own general one where none is.
fn kept_name() -> [c_char; NAME_BYTES] {
    if NAME.get().is_null() {
        let mut name = [0 as c_char; NAME_BYTES];
        for (place, &byte) in name.iter_mut().zip(b"goroutine") {
            *place = byte as c_char;
        }
        return name;
    }
    // SAFETY: the goroutine's own memory, written by `keep_name`.
    unsafe { NAME.get().read() }
}

/// `pthread_setname_np(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_setname_np(thread: pthread_t, name: *const c_char) -> c_int {
    static SETNAME: Real = Real::new(c"pthread_setname_np");
    // SAFETY: the caller's contract.
    match unsafe { identity::whose(thread) } {
        Whose::Own(_) => {
            // SAFETY: the caller's contract: a text that ends in a zero byte.
            if unsafe { std::ffi::CStr::from_ptr(name) }.count_bytes() >= NAME_BYTES {
                return libc::ERANGE;
            }
            // SAFETY: as above.
            errno_of(unsafe { prctl(libc::PR_SET_NAME, name as usize, 0, 0, 0) })
        }
        Whose::Other(_) => libc::ESRCH,
        Whose::Thread => {
            // SAFETY: libc's function of this name has this type.
            let real: unsafe extern "C" fn(pthread_t, *const c_char) -> c_int =
                unsafe { std::mem::transmute(SETNAME.resolve()) };
            // SAFETY: the caller's contract.
            unsafe { real(thread, name) }
        }
    }
}

/// `pthread_getname_np(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_getname_np(
    thread: pthread_t,
    name: *mut c_char,
    bytes: usize,
) -> c_int {
    static GETNAME: Real = Real::new(c"pthread_getname_np");
    // SAFETY: the caller's contract.
    match unsafe { identity::whose(thread) } {
        Whose::Own(_) if bytes < NAME_BYTES => libc::ERANGE,
        // SAFETY: the caller lends at least 16 bytes.
        Whose::Own(_) => errno_of(unsafe { prctl(libc::PR_GET_NAME, name as usize, 0, 0, 0) }),
        Whose::Other(_) => libc::ESRCH,
        Whose::Thread => {
            // SAFETY: libc's function of this name has this type.
            let real: unsafe extern "C" fn(pthread_t, *mut c_char, usize) -> c_int =
                unsafe { std::mem::transmute(GETNAME.resolve()) };
            // SAFETY: the caller's contract.
            unsafe { real(thread, name, bytes) }
        }
    }
}

// ---- By pthread_t ----

/// The errno of a call that failed, 0 otherwise: how pthread functions answer.
fn errno_of(result: c_int) -> c_int {
    if result >= 0 {
        return 0;
    }
    std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EINVAL)
}

macro_rules! by_thread {
    ($($name:ident($($argument:ident: $type:ty),*) $own:expr;)*) => {$(
        /// The libc function of this name: a goroutine may name itself.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(thread: pthread_t, $($argument: $type),*) -> c_int {
            static REAL: Real = Real::new(
                match std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => panic!("a name without a zero byte"),
                },
            );
            // SAFETY: the caller's contract.
            match unsafe { identity::whose(thread) } {
                // SAFETY: the caller's contract, for the calling thread.
                Whose::Own(_) => unsafe { $own },
                Whose::Other(_) => libc::ESRCH,
                Whose::Thread => {
                    type Function = unsafe extern "C" fn(pthread_t, $($type),*) -> c_int;
                    // SAFETY: libc's function of this name has this type.
                    let real = unsafe { std::mem::transmute::<usize, Function>(REAL.resolve()) };
                    // SAFETY: the caller's contract.
                    unsafe { real(thread, $($argument),*) }
                }
            }
        }
    )*};
}

by_thread! {
    pthread_setaffinity_np(bytes: usize, set: *const c_void)
        errno_of(sched_setaffinity(0, bytes, set));
    pthread_getaffinity_np(bytes: usize, set: *mut c_void)
        errno_of(sched_getaffinity(0, bytes, set));
    pthread_setschedparam(policy: c_int, param: *const sched_param)
        errno_of(sched_setscheduler(0, policy, param));
    pthread_getschedparam(policy: *mut c_int, param: *mut sched_param)
        own_parameters(policy, param);
    pthread_setschedprio(priority: c_int) own_priority(priority);
    pthread_getcpuclockid(clock: *mut libc::clockid_t) own_clock(clock);
}

/// The policy and parameters of the OS thread.
///
/// # Safety
/// Both are writable.
unsafe fn own_parameters(policy: *mut c_int, param: *mut sched_param) -> c_int {
    // SAFETY: asks only.
    let found = unsafe { sched_getscheduler(0) };
    if found < 0 {
        return errno_of(found);
    }
    // SAFETY: the caller's contract.
    unsafe { policy.write(found) };
    // SAFETY: as above.
    errno_of(unsafe { sched_getparam(0, param) })
}

/// Sets the priority within the policy.
///
/// # Safety
/// None; as the call that it serves.
unsafe fn own_priority(priority: c_int) -> c_int {
    let param = sched_param {
        sched_priority: priority,
    };
    // SAFETY: the kernel reads the parameter.
    errno_of(unsafe { sched_setparam(0, &raw const param) })
}

/// The clock of the OS thread's processor time: it means the goroutine's only while that is bound, so
/// it binds.
///
/// # Safety
/// Writable.
unsafe fn own_clock(clock: *mut libc::clockid_t) -> c_int {
    pin::for_good();
    // SAFETY: the caller's contract.
    unsafe { clock.write(libc::CLOCK_THREAD_CPUTIME_ID) };
    0
}

/// `ptrace(2)`: the tracer is the OS thread.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptrace(request: c_int, pid: pid_t, address: usize, data: usize) -> c_long {
    static PTRACE: Real = Real::new(c"ptrace");
    pin::for_good();
    // SAFETY: libc's function takes these in the same registers.
    let real: unsafe extern "C" fn(c_int, pid_t, usize, usize) -> c_long =
        unsafe { std::mem::transmute(PTRACE.resolve()) };
    // SAFETY: the caller's contract.
    unsafe { real(request, pid, address, data) }
}
