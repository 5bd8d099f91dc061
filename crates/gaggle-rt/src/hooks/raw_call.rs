//! `syscall(2)`: libc's function for any system call. Those that wait do what the function of their name
//! does; where the kernel's call and libc's function differ, the difference is made good here.

use super::{
    answer, child, descriptor, file, futex, identity, io, message, os_thread, poll, select, signal,
    sleep, socket, splice,
};
use crate::blocking::in_call;
use crate::sched;
use gaggle_sys::call::raw;
use libc::{c_int, c_long};

macro_rules! dispatch {
    ($number:ident, $arguments:ident; $($call:ident => $module:ident::$name:ident $count:tt;)*) => {
        match $number {
            $(libc::$call => Some(dispatch!(@call $module $name $arguments $count)),)*
            _ => None,
        }
    };
    (@call $module:ident $name:ident $a:ident 0) => {
        $module::$name() as c_long
    };
    (@call $module:ident $name:ident $a:ident 1) => {
        $module::$name($a[0] as _) as c_long
    };
    (@call $module:ident $name:ident $a:ident 2) => {
        $module::$name($a[0] as _, $a[1] as _) as c_long
    };
    (@call $module:ident $name:ident $a:ident 3) => {
        $module::$name($a[0] as _, $a[1] as _, $a[2] as _) as c_long
    };
    (@call $module:ident $name:ident $a:ident 4) => {
        $module::$name($a[0] as _, $a[1] as _, $a[2] as _, $a[3] as _) as c_long
    };
    (@call $module:ident $name:ident $a:ident 5) => {
        $module::$name($a[0] as _, $a[1] as _, $a[2] as _, $a[3] as _, $a[4] as _) as c_long
    };
    (@call $module:ident $name:ident $a:ident 6) => {
        $module::$name($a[0] as _, $a[1] as _, $a[2] as _, $a[3] as _, $a[4] as _, $a[5] as _)
            as c_long
    };
}

/// Calls whose libc function takes the same arguments and answers the same. `None`: not one of them.
///
/// # Safety
/// As for the system call.
unsafe fn as_function(number: c_long, a: [usize; 6]) -> Option<c_long> {
    // SAFETY: the caller's contract: the arguments are the call's, and the function's are the same.
    unsafe {
        dispatch! { number, a;
            SYS_read => io::read 3;
            SYS_write => io::write 3;
            SYS_readv => io::readv 3;
            SYS_writev => io::writev 3;
            SYS_pread64 => io::pread 4;
            SYS_pwrite64 => io::pwrite 4;
            SYS_preadv => io::preadv 4;
            SYS_pwritev => io::pwritev 4;
            SYS_recvfrom => socket::recvfrom 6;
            SYS_sendto => socket::sendto 6;
            SYS_recvmsg => socket::recvmsg 3;
            SYS_sendmsg => socket::sendmsg 3;
            SYS_recvmmsg => message::recvmmsg 5;
            SYS_sendmmsg => message::sendmmsg 4;
            SYS_accept => socket::accept 3;
            SYS_accept4 => socket::accept4 4;
            SYS_connect => socket::connect 3;
            SYS_sendfile => splice::sendfile 4;
            SYS_splice => splice::splice 6;
            SYS_tee => splice::tee 4;
            SYS_vmsplice => splice::vmsplice 4;
            SYS_copy_file_range => splice::copy_file_range 6;
            SYS_fsync => file::fsync 1;
            SYS_fdatasync => file::fdatasync 1;
            SYS_flock => file::flock 2;
            SYS_poll => poll::poll 3;
            SYS_select => select::select 5;
            SYS_epoll_wait => poll::epoll_wait 4;
            SYS_wait4 => child::wait4 4;
            SYS_sched_yield => sleep::sched_yield 0;
            SYS_nanosleep => sleep::nanosleep 2;
            SYS_prctl => os_thread::prctl 5;
            SYS_tgkill => identity::tgkill 3;
            SYS_rt_sigprocmask => signal::sigprocmask 3;
            SYS_rt_sigtimedwait => signal::sigtimedwait 3;
            SYS_rt_sigsuspend => signal::sigsuspend 1;
            SYS_pause => signal::pause 0;
            SYS_close => descriptor::close 1;
            SYS_close_range => descriptor::close_range 3;
            SYS_dup => descriptor::dup 1;
            SYS_dup2 => descriptor::dup2 2;
            SYS_dup3 => descriptor::dup3 3;
            SYS_fcntl => descriptor::fcntl 3;
            SYS_socket => descriptor::socket 3;
            SYS_socketpair => descriptor::socketpair 4;
            SYS_pipe => descriptor::pipe 1;
            SYS_pipe2 => descriptor::pipe2 2;
            SYS_open => descriptor::open 3;
            SYS_openat => descriptor::openat 4;
            SYS_eventfd2 => descriptor::eventfd 2;
            SYS_epoll_create1 => descriptor::epoll_create1 1;
        }
    }
}

/// Calls that wait and have no function of the same shape: those that park where they can, and the rest
/// of those that are known to wait, on the hand-off path.
///
/// # Safety
/// As for the system call.
unsafe fn otherwise(number: c_long, arguments: [usize; 6]) -> isize {
    let [first, second, third, fourth, fifth, _] = arguments;
    // SAFETY: the caller's contract is the system call's.
    let call = || unsafe { raw(number, arguments) };
    match number {
        // SAFETY: the caller's contract.
        libc::SYS_futex => unsafe { futex::futex(arguments) }.unwrap_or_else(|| in_call(call)),
        libc::SYS_waitid if fifth == 0 => {
            // SAFETY: the caller's contract, without resource usage.
            as_kernel(unsafe {
                child::waitid(
                    first as libc::idtype_t,
                    second as libc::id_t,
                    third as *mut libc::siginfo_t,
                    fourth as c_int,
                )
            })
        }
        libc::SYS_epoll_pwait if fifth == 0 => {
            // SAFETY: the caller's contract, without a mask.
            as_kernel(unsafe {
                poll::epoll_wait(
                    first as c_int,
                    second as *mut _,
                    third as c_int,
                    fourth as c_int,
                )
            })
        }
        libc::SYS_clock_nanosleep => {
            // SAFETY: the caller's contract; the function answers the error itself.
            let error = unsafe {
                sleep::clock_nanosleep(
                    first as c_int,
                    second as c_int,
                    third as *const _,
                    fourth as *mut _,
                )
            };
            super::failure(error)
        }
        libc::SYS_ppoll
        | libc::SYS_pselect6
        | libc::SYS_waitid
        | libc::SYS_epoll_pwait
        | libc::SYS_epoll_pwait2
        | libc::SYS_preadv2
        | libc::SYS_pwritev2
        | libc::SYS_rt_sigtimedwait
        | libc::SYS_rt_sigsuspend
        | libc::SYS_pause
        | libc::SYS_sync_file_range
        | libc::SYS_syncfs
        | libc::SYS_sync
        | libc::SYS_msync
        | libc::SYS_msgrcv
        | libc::SYS_msgsnd
        | libc::SYS_semop
        | libc::SYS_semtimedop
        | libc::SYS_mq_timedreceive
        | libc::SYS_mq_timedsend
        | libc::SYS_io_getevents
        | libc::SYS_io_uring_enter
        | libc::SYS_futex_waitv => in_call(call),
        _ => call(),
    }
}

/// What a libc function answered, as the kernel says it.
fn as_kernel(result: c_int) -> isize {
    if result == -1 {
        super::failure(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        result as isize
    }
}

/// `syscall(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    let mut arguments = [a, b, c, d, e, f];
    // The futex comes first: it is what std calls, from any thread, and it keeps errno where it succeeds.
    if number != libc::SYS_futex && sched::current().is_some() {
        if let Some(result) = os_thread::before_call(number, &mut arguments) {
            return answer(result) as c_long;
        }
        // SAFETY: the caller's contract.
        if let Some(result) = unsafe { as_function(number, arguments) } {
            return result;
        }
    }
    // SAFETY: the caller's contract.
    answer(unsafe { otherwise(number, arguments) }) as c_long
}
