//! The main goroutine.

use crate::builder::Builder;
use crate::builder::refused;
use crate::scope::scope;
use std::panic::resume_unwind;

/// The main goroutine's stack, as large as an OS gives the main thread by default.
const MAIN_STACK_BYTES: usize = 8 << 20;

/// Runs `f` as the main goroutine and answers its value; what [`macro@crate::main`] does.
///
/// Blocks the calling OS thread (or goroutine) until `f` has returned. Goroutines that still run then
/// go on running; when `main` returns the process ends under them, as in Go.
///
/// # Panics
/// With `f`'s own panic; and when the operating system refuses the memory or the thread needed.
///
/// # Examples
/// ```
/// let birds = [1, 2, 3];
/// let sum: i32 = gaggle::run(|| birds.iter().sum());
/// assert_eq!(sum, 6);
/// ```
#[track_caller]
pub fn run<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    run_named("main", f)
}

/// [`run`] under another name.
#[track_caller]
pub(crate) fn run_named<F, T>(name: &str, f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let builder = Builder::new().name(name).stack_size(MAIN_STACK_BYTES);
    let result = scope(|scope| match builder.spawn_scoped(scope, f) {
        Ok(handle) => handle.join(),
        Err(refusal) => refused(&refusal),
    });
    // The hook has printed the panic already.
    result.unwrap_or_else(|payload| resume_unwind(payload))
}
