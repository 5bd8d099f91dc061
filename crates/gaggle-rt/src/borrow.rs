//! Running a short function of foreign code with the thread-local storage of the M.
//!
//! An allocator that is linked into the program keeps caches in thread-local storage. On a goroutine
//! these would be the goroutine's: a heap for each, given up at its end. Here they are the M's, so there
//! are as many as OS threads, and none travels.
//!
//! - X1: between the two changes of the FS base the goroutine stays on its M: what runs cannot park, since
//!   every hook finds no goroutine ([`sched::current`] is `None` in an M's storage) and forwards to libc.
//! - X2: nor is it suspended there, for the same reason: the handler finds no goroutine. So a goroutine
//!   that is suspended holds no lock of the allocator. The monitor may take its P while the kernel holds
//!   it; it then goes on without one until its next section.
//! - X3: the M that a goroutine is on changes only where it parks or yields, so the FS base that is read
//!   first is still the right one when it is loaded, whatever comes between.
//! - X4: the function does not unwind: a panic in it ends the process.

use crate::sched;
use gaggle_sys::arch;
use std::mem::MaybeUninit;

/// What passes through [`arch::call_with_fs_base`]: the function, then its result.
struct Errand<F, R> {
    function: Option<F>,
    result: MaybeUninit<R>,
}

/// Runs `function` with the calling M's thread-local storage instead of the goroutine's; off goroutines
/// it is only called.
///
/// It has to be short and must not unwind (a panic ends the process), and what it keeps in thread-local
/// storage stays with the OS thread. It may block the OS thread, and all that runs on it, briefly.
#[inline]
pub fn with_machine_storage<R>(function: impl FnOnce() -> R) -> R {
    match sched::current() {
        None => function(),
        Some(g) => run(g.machine().fs.get(), g.fs.get(), function),
    }
}

fn run<F: FnOnce() -> R, R>(machine_fs: usize, own_fs: usize, function: F) -> R {
    let mut errand = Errand {
        function: Some(function),
        result: MaybeUninit::<R>::uninit(),
    };
    let argument = (&raw mut errand).cast();
    // SAFETY: `own_fs` is the running goroutine's and `machine_fs` that of the M which it is on (X3),
    // whose own stack waits meanwhile; `perform` cannot unwind (X4), nor can it switch (X1).
    unsafe { arch::call_with_fs_base(machine_fs, own_fs, perform::<F, R>, argument) };
    // SAFETY: `perform` has written it.
    unsafe { errand.result.assume_init() }
}

/// `extern "C"`, so that a panic ends the process here (X4).
unsafe extern "C" fn perform<F: FnOnce() -> R, R>(argument: *mut ()) {
    // SAFETY: `run` passes its errand, which lives until this returns.
    let errand = unsafe { &mut *argument.cast::<Errand<F, R>>() };
    if let Some(function) = errand.function.take() {
        errand.result.write(function());
    }
}
