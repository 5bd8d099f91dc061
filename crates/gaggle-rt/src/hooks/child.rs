//! Waiting for child processes, and for OS threads to end.
//!
//! The kernel has a descriptor for each process (and, since Linux 6.9, for each thread) that can be
//! polled for its end. A goroutine parks on that; what has none takes the hand-off path: several
//! children at once, stopped and continued ones, older kernels.

use super::answer_int;
use crate::blocking::in_long_call;
use crate::g::G;
use crate::netpoll::{self, Direction, Wait};
use crate::sched;
use gaggle_core::contract::{NEVER, Nanos};
use gaggle_sys::call::{self, raw};
use libc::{c_int, id_t, idtype_t, pid_t, rusage, siginfo_t};

/// The flag that asks for a thread's descriptor rather than a process's: O_EXCL's value.
pub const THREAD: usize = libc::O_EXCL as usize;

/// The descriptor of a process or thread, closed when it is dropped.
pub struct Watch(c_int);

impl Watch {
    /// Opens the descriptor of `pid`; `None`: there is no such process, or no such call.
    pub fn open(pid: pid_t, flags: usize) -> Option<Watch> {
        // SAFETY: takes numbers only.
        let fd = unsafe { raw(libc::SYS_pidfd_open, [pid as usize, flags, 0, 0, 0, 0]) };
        if fd < 0 {
            return None;
        }
        netpoll::forget(fd as c_int);
        Some(Watch(fd as c_int))
    }

    /// Parks `g` until the process or thread has ended; how it went.
    pub fn wait(&self, g: &'static G, deadline: Nanos) -> Wait {
        loop {
            let observed = netpoll::observe(self.0, Direction::Read);
            if call::poll_now(self.0, libc::POLLIN) != 0 {
                return Wait::Ready;
            }
            match netpoll::wait(g, self.0, Direction::Read, observed, deadline) {
                Wait::Ready => {}
                other => return other,
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        netpoll::forget(self.0);
        call::close(self.0);
    }
}

/// The options of a wait for a child's end, and nothing else about it.
const ENDS_ONLY: c_int = libc::WNOHANG | libc::WEXITED | libc::WNOWAIT | libc::__WNOTHREAD;

/// Makes the waiting call `call`, which gets whether it may wait, for the one child `pid` (`None`: for
/// several). `found` says whether its answer is one.
fn wait_for(
    pid: Option<pid_t>,
    options: c_int,
    call: impl Fn(bool) -> isize,
    found: impl Fn(isize) -> bool,
) -> isize {
    let Some(g) = sched::current() else {
        return call(true);
    };
    if options & libc::WNOHANG != 0 {
        return call(true);
    }
    let Some(pid) = pid.filter(|_| options & !ENDS_ONLY == 0) else {
        return in_long_call(|| call(true));
    };
    loop {
        let result = call(false);
        if found(result) {
            return result;
        }
        let Some(watch) = Watch::open(pid, 0) else {
            return in_long_call(|| call(true));
        };
        match watch.wait(g, NEVER) {
            Wait::Ready => {}
            Wait::Ended(error) => return super::ended(error),
            _ => return in_long_call(|| call(true)),
        }
    }
}

/// `wait4(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wait4(
    pid: pid_t,
    status: *mut c_int,
    options: c_int,
    usage: *mut rusage,
) -> pid_t {
    let call = |waits: bool| {
        let options = options | if waits { 0 } else { libc::WNOHANG };
        let arguments = [
            pid as usize,
            status as usize,
            options as usize,
            usage as usize,
            0,
            0,
        ];
        // SAFETY: the caller's contract is the system call's.
        unsafe { raw(libc::SYS_wait4, arguments) }
    };
    let one = (pid > 0).then_some(pid);
    answer_int(wait_for(one, options, call, |result| result != 0))
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

/// `wait(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wait(status: *mut c_int) -> pid_t {
    // SAFETY: the caller's contract.
    unsafe { wait4(-1, status, 0, std::ptr::null_mut()) }
}

/// `wait3(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wait3(status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t {
    // SAFETY: the caller's contract.
    unsafe { wait4(-1, status, options, usage) }
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
    // The kernel says by the process's number in it whether there was a child; a caller may pass null.
    let mut own = std::mem::MaybeUninit::<siginfo_t>::zeroed();
    let info = if info.is_null() {
        own.as_mut_ptr()
    } else {
        info
    };
    let call = |waits: bool| {
        let options = options | if waits { 0 } else { libc::WNOHANG };
        let arguments = [
            kind as usize,
            id as usize,
            info as usize,
            options as usize,
            0,
            0,
        ];
        // SAFETY: the caller's contract is the system call's; no resource usage is asked for.
        unsafe { raw(libc::SYS_waitid, arguments) }
    };
    let one = (kind == libc::P_PID && options & libc::WEXITED != 0).then_some(id as pid_t);
    let found = |result: isize| {
        // SAFETY: the caller's contract, or our own; the call wrote the structure where it succeeded.
        let info = unsafe { &*info };
        // SAFETY: as above: a child's, or zeros.
        result < 0 || unsafe { info.si_pid() } != 0
    };
    answer_int(wait_for(one, options, call, found))
}
