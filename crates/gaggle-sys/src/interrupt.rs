//! Interrupting OS threads of this process: the preemption signal, and how much processor time one has used.

use crate::call::raw;
use std::ffi::{c_int, c_void};

/// The signal that asks an M to look: rarely used otherwise, ignored by default, and Go's choice
/// (runtime/signal_unix.go gives the reasons).
pub const SIGNAL: c_int = libc::SIGURG;

/// Sets the handler of [`SIGNAL`]: on the thread's alternate stack, with system calls begun again where
/// the kernel can.
///
/// # Errors
/// The kernel's.
pub fn handle(handler: crate::fault::Handler) -> std::io::Result<()> {
    crate::fault::install(SIGNAL, handler, &[], libc::SA_RESTART).map(drop)
}

/// Where the code was when it was interrupted.
///
/// # Safety
/// `context` is what the kernel called a handler with, and the handler has not returned.
pub unsafe fn interrupted_at(context: *mut c_void) -> usize {
    // SAFETY: the caller's contract: the third argument of an SA_SIGINFO handler.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize
}

/// Makes the interrupted code call `function` before it goes on, once the handler has returned; whether
/// its stack, which ends at `limit`, has room for that.
///
/// # Safety
/// As for [`interrupted_at`]; the code that was interrupted runs on a stack that ends at `limit`, and
/// `function` may be called between any two of its instructions.
pub unsafe fn call_at_return(
    context: *mut c_void,
    limit: usize,
    function: extern "C" fn(),
) -> bool {
    // SAFETY: the caller's contract: the third argument of an SA_SIGINFO handler.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let registers = &mut context.uc_mcontext.gregs;
    let stack_pointer = registers[libc::REG_RSP as usize] as usize;
    if stack_pointer < limit + crate::arch::INTERRUPTED_CALL_BYTES {
        return false;
    }
    let words = [
        function as *const () as usize,
        registers[libc::REG_RIP as usize] as usize,
    ];
    let place = (stack_pointer - 128 - size_of_val(&words)) as *mut [usize; 2];
    // SAFETY: below the red zone of the interrupted stack, which has room as was just seen.
    unsafe { place.write_unaligned(words) };
    registers[libc::REG_RSP as usize] = place as i64;
    registers[libc::REG_RIP as usize] = crate::arch::interrupted_call as *const () as i64;
    true
}

/// Sends [`SIGNAL`] to one OS thread of this process; whether there is such a thread.
pub fn send(thread_id: i32) -> bool {
    // SAFETY: takes numbers only.
    let own = unsafe { raw(libc::SYS_getpid, [0; 6]) };
    let arguments = [own as usize, thread_id as usize, SIGNAL as usize, 0, 0, 0];
    // SAFETY: takes numbers only.
    unsafe { raw(libc::SYS_tgkill, arguments) == 0 }
}

/// The processor time that an OS thread of this process has used, in nanoseconds; 0 if there is no
/// such thread. Its precision is the scheduler's: exact for a thread that is not running.
pub fn processor_nanos(thread_id: i32) -> u64 {
    // linux/posix-timers_types.h: the clock of a thread, by scheduler time.
    let clock = (!thread_id << 3) | 0b110;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let arguments = [clock as usize, &raw mut time as usize, 0, 0, 0, 0];
    // SAFETY: the kernel writes one timespec.
    unsafe { raw(libc::SYS_clock_gettime, arguments) };
    crate::clock::nanos_of(&time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_grows_while_computing() {
        let own = crate::call::thread_id();
        let before = processor_nanos(own);
        while processor_nanos(own) == before {
            std::hint::spin_loop();
        }
        assert!(processor_nanos(own) > before);
        assert_eq!(processor_nanos(1 << 22), 0, "no thread has such a number");
    }
}
