//! Processes: what a child inherits of a goroutine is what it would of a thread.
//!
//! A child process begins with the signal mask of the thread that made it; an M's mask is the
//! runtime's, so these calls are made as a plain thread with the goroutine's own mask
//! ([`crate::plain`]). `fork` itself needs no hook: what is to be done in the child is registered with
//! `pthread_atfork`.

use crate::blocking::in_long_call;
use crate::plain::{self, as_thread};
use gaggle_sys::glibc::symbols::Real;
use libc::{FILE, c_char, c_int, pid_t, posix_spawn_file_actions_t, posix_spawnattr_t};

static SPAWN: Real = Real::new(c"posix_spawn");
static SPAWNP: Real = Real::new(c"posix_spawnp");
static SYSTEM: Real = Real::new(c"system");
static POPEN: Real = Real::new(c"popen");
static PCLOSE: Real = Real::new(c"pclose");
static FORK: Real = Real::new(c"fork");
static PLAIN_FORK: Real = Real::new(c"_Fork");

/// Finds libc's own functions before the first goroutine.
pub fn resolve_all() {
    for real in [&SPAWN, &SPAWNP, &SYSTEM, &POPEN, &PCLOSE, &FORK] {
        real.resolve();
    }
}

type Spawn = unsafe extern "C" fn(
    *mut pid_t,
    *const c_char,
    *const posix_spawn_file_actions_t,
    *const posix_spawnattr_t,
    *const *mut c_char,
    *const *mut c_char,
) -> c_int;

macro_rules! spawns {
    ($($name:ident = $real:ident;)*) => {$(
        /// The libc function of this name; which std's `Command` uses.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            pid: *mut pid_t,
            path: *const c_char,
            actions: *const posix_spawn_file_actions_t,
            attributes: *const posix_spawnattr_t,
            arguments: *const *mut c_char,
            environment: *const *mut c_char,
        ) -> c_int {
            // SAFETY: libc's functions of these names have this type.
            let real = unsafe { std::mem::transmute::<usize, Spawn>($real.resolve()) };
            // SAFETY: the caller's contract.
            as_thread(|| unsafe { real(pid, path, actions, attributes, arguments, environment) })
        }
    )*};
}

spawns! {
    posix_spawn = SPAWN;
    posix_spawnp = SPAWNP;
}

/// `system(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn system(command: *const c_char) -> c_int {
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(*const c_char) -> c_int =
        unsafe { std::mem::transmute(SYSTEM.resolve()) };
    // SAFETY: the caller's contract.
    as_thread(|| unsafe { real(command) })
}

/// `popen(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn popen(command: *const c_char, kind: *const c_char) -> *mut FILE {
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(*const c_char, *const c_char) -> *mut FILE =
        unsafe { std::mem::transmute(POPEN.resolve()) };
    // SAFETY: the caller's contract.
    as_thread(|| unsafe { real(command, kind) })
}

/// `pclose(3)`: waits for the process.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pclose(stream: *mut FILE) -> c_int {
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(*mut FILE) -> c_int =
        unsafe { std::mem::transmute(PCLOSE.resolve()) };
    // SAFETY: the caller's contract.
    in_long_call(|| unsafe { real(stream) })
}

/// `vfork(2)`: the same as `fork`, which POSIX allows. The child of libc's own one would share the
/// netpoller's memory, and its calls would change it.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfork() -> pid_t {
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn() -> pid_t = unsafe { std::mem::transmute(FORK.resolve()) };
    // SAFETY: the caller's contract.
    unsafe { real() }
}

/// `_Fork(3)`: a `fork` that runs no handlers of `pthread_atfork`, and so not ours.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _Fork() -> pid_t {
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn() -> pid_t =
        unsafe { std::mem::transmute(PLAIN_FORK.resolve()) };
    // SAFETY: the caller's contract.
    let pid = unsafe { real() };
    if pid == 0 {
        plain::in_child();
    }
    pid
}
