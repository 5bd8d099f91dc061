//! The OS threads that run goroutines: their signal mask.

use crate::call::raw;

/// Signals that an instruction of the thread itself raises; they must reach it.
const SYNCHRONOUS: [i32; 8] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGPROF,
];

/// Blocks every signal on the calling OS thread but those it raises itself (and SIGPROF), so that
/// the kernel delivers the process's signals to a thread that is in no goroutine: a handler never
/// runs on a goroutine's stack or in the middle of a switch.
pub fn block_asynchronous_signals() {
    let mut mask = !0u64;
    for signal in SYNCHRONOUS {
        mask &= !(1 << (signal - 1));
    }
    // SAFETY: the kernel reads eight bytes of mask; the old mask is not asked for.
    unsafe {
        raw(
            libc::SYS_rt_sigprocmask,
            [
                libc::SIG_BLOCK as usize,
                &raw const mask as usize,
                0,
                8,
                0,
                0,
            ],
        )
    };
}
