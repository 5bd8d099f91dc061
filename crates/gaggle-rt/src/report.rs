//! The reporter: an OS thread that waits until there is something fatal to say, says it with the stacks
//! of all goroutines, and ends the process. Meanwhile it gives stacks' memory back ([`crate::give_back`]).
//!
//! Stacks are printed with malloc and files, which neither a signal handler nor the monitor may touch;
//! so both only leave a request here.
//!
//! - R1: a request is one word, written once: the first one is reported. A second SIGQUIT does not wait
//!   for the report and ends the process at once.
//! - R2: the handler of SIGQUIT calls nothing but the kernel. It is set only where nobody has set
//!   another: a program's own handler, or its wish to ignore the signal, stays.
//! - R3: in a forked child the reporter is missing: there SIGQUIT does what it does by default.
//! - R4: a request may come before the reporter, which the monitor starts some time after the first
//!   goroutine: it looks for one before it first sleeps.

use crate::dump::{Dumper, Frames};
use crate::give_back;
use crate::m;
use crate::options::{self, Traceback};
use gaggle_sys::{call, fault, futex, signal, thread};
use std::ffi::{c_int, c_void};
use std::io::{self, Write};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

const NOTHING: u32 = 0;
const QUIT: u32 = 1;
const DEADLOCK: u32 = 2;
const EXHAUSTED: u32 = 3;

/// What is to be reported (R1).
static REQUEST: AtomicU32 = AtomicU32::new(NOTHING);

/// The process that the reporter lives in (R3).
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// Takes SIGQUIT where it is free (R2). Called once, before any goroutine runs.
///
/// # Errors
/// The kernel's.
pub fn handle_quit() -> io::Result<()> {
    // Relaxed: written before the handler is set.
    PROCESS.store(signal::process_id(), Ordering::Relaxed);
    if signal::action(libc::SIGQUIT).is_some_and(|action| action.handler == libc::SIG_DFL) {
        fault::install(libc::SIGQUIT, on_quit, &[], libc::SA_RESTART)?;
    }
    Ok(())
}

/// Starts the reporter; called once, by the monitor (R4).
///
/// # Errors
/// When the operating system refuses a thread.
pub fn start() -> io::Result<()> {
    // SAFETY: the reporter takes no argument.
    unsafe { thread::start(run, std::ptr::null_mut()) }?;
    crate::deadlock::own_thread_started();
    Ok(())
}

/// The reporter's OS thread.
extern "C" fn run(_: *mut c_void) -> *mut c_void {
    thread::set_name(format_args!("gaggle-report"));
    thread::block_asynchronous_signals();
    give_back::work()
}

extern "C" fn on_quit(number: c_int, _info: *mut libc::siginfo_t, _context: *mut c_void) {
    // Relaxed: written before the handler was set.
    if signal::process_id() != PROCESS.load(Ordering::Relaxed) {
        fault::end_by(number); // R3
    }
    if !request(QUIT) {
        // SAFETY: ends the process without running anything of it (R1).
        unsafe { libc::_exit(2) };
    }
}

/// Asks for a report; `false`: one has been asked for before.
fn request(what: u32) -> bool {
    // Release: pairs with the Acquire in `rest`. Relaxed on failure: nothing is read.
    let first = REQUEST
        .compare_exchange(NOTHING, what, Ordering::Release, Ordering::Relaxed)
        .is_ok();
    futex::wake(&REQUEST, 1);
    first
}

/// Says that no goroutine can ever run again.
pub fn all_asleep() {
    request(DEADLOCK);
}

/// Says that one more OS thread is needed than there may be.
pub fn exhausted() {
    request(EXHAUSTED);
}

/// Blocks the reporter's OS thread for `nanos`, or less; reports and ends the process if that is asked.
pub fn rest(nanos: u64) {
    futex::wait(&REQUEST, NOTHING, Some(nanos));
    // Acquire: pairs with the Release in `request`.
    match REQUEST.load(Ordering::Acquire) {
        NOTHING => {}
        QUIT => end("SIGQUIT: quit"),
        // Go's words.
        EXHAUSTED => end(&format!(
            "runtime: program exceeds {}-thread limit\nfatal error: thread exhaustion",
            m::limit()
        )),
        _ => end("fatal error: all goroutines are asleep - deadlock!"),
    }
}

/// Standard error, without std's lock, which a goroutine may hold that waits for good.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = call::write(libc::STDERR_FILENO, bytes);
        usize::try_from(written).map_err(|_| io::Error::from_raw_os_error(-written as i32))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints `line` and, as far as `GAGGLE_TRACEBACK` wants them, the stacks; ends the process.
fn end(line: &str) -> ! {
    let level = options::traceback();
    // A stderr that cannot be written to is no reason not to end.
    let _ = writeln!(Stderr, "{line}\n");
    if level > Traceback::None {
        let frames = if level >= Traceback::System {
            Frames::All
        } else {
            Frames::User
        };
        let _ = Dumper::new(&mut Stderr, frames).all();
    }
    if level == Traceback::Crash {
        fault::end_by(libc::SIGABRT);
    }
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(2) }
}
