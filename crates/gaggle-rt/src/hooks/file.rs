//! Calls that block on disks, other processes and locks of files: the hand-off path.

use super::answer_int;
use crate::blocking::{in_call, in_long_call};
use gaggle_sys::call::raw;
use libc::{c_int, c_void, id_t, idtype_t, pid_t, rusage, siginfo_t};

macro_rules! long_calls {
    ($($name:ident($($argument:ident: $type:ty),*) = $number:ident;)*) => {$(
        /// The libc function of this name.
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
            answer_int(in_long_call(|| unsafe { raw(libc::$number, arguments) }))
        }
    )*};
}

long_calls! {
    fsync(fd: c_int) = SYS_fsync;
    fdatasync(fd: c_int) = SYS_fdatasync;
    flock(fd: c_int, operation: c_int) = SYS_flock;
    wait4(pid: pid_t, status: *mut c_int, options: c_int, usage: *mut rusage) = SYS_wait4;
}

/// `waitpid(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> pid_t {
    // SAFETY: the caller's contract, without resource usage.
    unsafe { wait4(pid, status, options, std::ptr::null_mut()) }
}

/// `waitid(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waitid(
    kind: idtype_t,
    id: id_t,
    info: *mut siginfo_t,
    options: c_int,
) -> c_int {
    let arguments = [
        kind as usize,
        id as usize,
        info as usize,
        options as usize,
        0,
        0,
    ];
    // SAFETY: the caller's contract is the system call's; no resource usage is asked for.
    answer_int(in_long_call(|| unsafe { raw(libc::SYS_waitid, arguments) }))
}

/// `sendfile(2)`: between files and sockets, in the kernel.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile(
    to: c_int,
    from: c_int,
    offset: *mut c_void,
    count: usize,
) -> isize {
    let arguments = [to as usize, from as usize, offset as usize, count, 0, 0];
    // SAFETY: the caller's contract is the system call's.
    super::answer(in_call(|| unsafe { raw(libc::SYS_sendfile, arguments) }))
}
