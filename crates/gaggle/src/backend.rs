//! The choice between the two backends, made once, at the first use of the library.
//!
//! - D1: the choice never changes after it is made; tasks, timers and locks of one backend never meet
//!   the other.
//! - D2: a process that asked for what it cannot have (an unknown backend, green where green refuses,
//!   a number of processors that is none) ends with a clear line and status 2, before any goroutine.
//! - D3: green that refuses without having been asked for gives way to threads with one line that
//!   says why.

use crate::panics::PanicPolicy;
use gaggle_core::contract::{Entry, Interest, Nanos, Runtime, SpawnOptions, WaitReason};
use gaggle_core::interrupt::Interrupt;
use gaggle_core::task::{Task, Ticket};
#[cfg(green)]
use gaggle_rt::Green;
use gaggle_threads::Threads;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which implementation runs the goroutines of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// Goroutines scheduled M:N over a few OS threads (Linux, glibc, x86-64).
    Green,
    /// Each goroutine on an OS thread of its own (everywhere).
    Threads,
}

impl Backend {
    /// The name that `GAGGLE_BACKEND` uses: `"green"` or `"threads"`.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(gaggle::runtime::Backend::Threads.name(), "threads");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Backend::Green => "green",
            Backend::Threads => "threads",
        }
    }
}

const UNCHOSEN: u8 = 0;
const GREEN: u8 = 1;
const THREADS: u8 = 2;

/// The choice: one of the three constants above.
static CHOSEN: AtomicU8 = AtomicU8::new(UNCHOSEN);

/// What the program asked for before the first use; `None`: it leaves it to us.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) backend: Option<Backend>,
    pub(crate) processors: Option<usize>,
    pub(crate) panic_policy: Option<PanicPolicy>,
}

static WISHES: Mutex<Wishes> = Mutex::new(Wishes {
    backend: None,
    processors: None,
    panic_policy: None,
});

fn wishes() -> MutexGuard<'static, Wishes> {
    WISHES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The backend of this process; chooses and starts it at the first call.
#[inline]
pub(crate) fn backend() -> Backend {
    // Acquire: pairs with the Release in `start`, after which the backend is ready for use.
    match CHOSEN.load(Ordering::Acquire) {
        GREEN => Backend::Green,
        THREADS => Backend::Threads,
        _ => choose(),
    }
}

/// The backend of this process, if one was chosen already.
pub(crate) fn backend_if_started() -> Option<Backend> {
    // Acquire: as in `backend`.
    match CHOSEN.load(Ordering::Acquire) {
        GREEN => Some(Backend::Green),
        THREADS => Some(Backend::Threads),
        _ => None,
    }
}

/// Changes the wishes, unless the backend was chosen already.
///
/// # Errors
/// The backend that was chosen.
pub(crate) fn wish(change: impl FnOnce(&mut Wishes)) -> Result<(), Backend> {
    // The lock is held while the choice is made, so no wish comes between reading and choosing.
    let mut wishes = wishes();
    match backend_if_started() {
        Some(backend) => Err(backend),
        None => {
            change(&mut wishes);
            Ok(())
        }
    }
}

#[cold]
fn choose() -> Backend {
    let wishes = wishes();
    if let Some(backend) = backend_if_started() {
        return backend;
    }
    match start(*wishes) {
        Ok(backend) => backend,
        Err(reason) => {
            eprintln!("gaggle: {reason}");
            std::process::exit(2);
        }
    }
}

/// Reads the environment, which overrides the program's own wishes, and starts a backend (D2, D3).
fn start(wishes: Wishes) -> Result<Backend, String> {
    let asked_for = backend_of_environment()?;
    let panic_policy = panic_policy_of_environment()?.or(wishes.panic_policy);
    let processors = number_of_environment("GAGGLE_MAXPROCS", "processors")?.or(wishes.processors);
    limit_machines(number_of_environment("GAGGLE_MAXTHREADS", "OS threads")?);
    let backend = match asked_for.or(wishes.backend) {
        Some(Backend::Threads) => Backend::Threads,
        Some(Backend::Green) => {
            start_green(processors)
                .map_err(|why| format!("the green backend cannot run: {why}"))?;
            Backend::Green
        }
        None => by_default(processors),
    };
    if let (Backend::Threads, Some(processors)) = (backend, processors) {
        gaggle_threads::set_processors(processors);
    }
    let chosen = match backend {
        Backend::Green => GREEN,
        Backend::Threads => THREADS,
    };
    crate::panics::start(panic_policy.unwrap_or_default());
    // Release: pairs with the Acquire in `backend`.
    CHOSEN.store(chosen, Ordering::Release);
    Ok(backend)
}

/// Green, or threads with one line on stderr that says why not green (D3).
#[cfg(green)]
fn by_default(processors: Option<usize>) -> Backend {
    match start_green(processors) {
        Ok(()) => Backend::Green,
        Err(why) => {
            eprintln!("gaggle: each goroutine runs on an OS thread of its own: {why}");
            Backend::Threads
        }
    }
}

/// Threads, without a word: where green is not built there is nothing to fall back from.
#[cfg(not(green))]
fn by_default(_processors: Option<usize>) -> Backend {
    Backend::Threads
}

/// Only green has a number of OS threads that is not that of goroutines.
fn limit_machines(_count: Option<usize>) {
    #[cfg(green)]
    if let Some(count) = _count {
        gaggle_rt::set_machines_max(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

#[cfg(green)]
fn start_green(processors: Option<usize>) -> Result<(), String> {
    gaggle_rt::start(processors).map_err(|refusal| refusal.to_string())
}

#[cfg(not(green))]
fn start_green(_processors: Option<usize>) -> Result<(), String> {
    Err("it is built for Linux with glibc on x86-64 only, and without Miri or a sanitizer".into())
}

/// `GAGGLE_BACKEND`; unset or empty: none.
fn backend_of_environment() -> Result<Option<Backend>, String> {
    match std::env::var_os("GAGGLE_BACKEND") {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Some("") => Ok(None),
            Some("green") => Ok(Some(Backend::Green)),
            Some("threads") => Ok(Some(Backend::Threads)),
            _ => Err(format!(
                "GAGGLE_BACKEND is {value:?}; it must be green or threads"
            )),
        },
    }
}

/// `GAGGLE_PANIC`; unset or empty: none.
fn panic_policy_of_environment() -> Result<Option<PanicPolicy>, String> {
    let Some(value) = std::env::var_os("GAGGLE_PANIC").filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    match value.to_str().and_then(PanicPolicy::by_name) {
        Some(policy) => Ok(Some(policy)),
        None => Err(format!(
            "GAGGLE_PANIC is {value:?}; it must be deliver, exit or abort"
        )),
    }
}

/// A variable that holds a number of `what`, 1 or more; unset or empty: none.
fn number_of_environment(name: &str, what: &str) -> Result<Option<usize>, String> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    match value.to_str().and_then(|text| text.parse().ok()) {
        Some(number @ 1..) => Ok(Some(number)),
        _ => Err(format!(
            "{name} is {value:?}; it must be a whole number of {what}, 1 or more"
        )),
    }
}

/// Evaluates an expression with `$backend` naming the type of the chosen backend.
macro_rules! on_backend {
    ($backend:ident => $operation:expr) => {
        match backend() {
            #[cfg(green)]
            Backend::Green => {
                type $backend = Green;
                $operation
            }
            _ => {
                type $backend = Threads;
                $operation
            }
        }
    };
}

/// The backend of this process as one type; each call costs one well-predicted branch more.
#[derive(Debug)]
pub(crate) struct Dispatch;

/// The same wait of the calling task as a ticket of its backend; `None` when it has been claimed, so
/// that all that is left to do is to park.
fn ticket_for<B: Runtime>(ticket: Ticket<Dispatch>) -> Option<Ticket<B>> {
    // Read before the look at `ticket`: a task's waits are numbered upwards, so if `ticket` is still
    // the current wait afterwards, this is the same one.
    let same = Ticket::of(ticket.task());
    ticket.is_waiting().then_some(same)
}

/// An unlocked lock of short sections, for statics.
pub(crate) const fn unlocked() -> <Dispatch as Runtime>::Lock {
    #[cfg(green)]
    return gaggle_rt::Lock::unlocked();
    #[cfg(not(green))]
    gaggle_threads::Lock::unlocked()
}

/// A timer of whichever backend started it.
#[derive(Debug)]
pub(crate) enum AnyTimer {
    #[cfg(green)]
    Green(<Green as Runtime>::Timer),
    /// In a box: the other one, of which there may be a million, is then two words.
    Threads(Box<<Threads as Runtime>::Timer>),
}

impl Runtime for Dispatch {
    // Green's lock serves OS threads too, since they may call everything, so it serves both.
    #[cfg(green)]
    type Lock = gaggle_rt::Lock;
    #[cfg(not(green))]
    type Lock = gaggle_threads::Lock;
    type Timer = AnyTimer;

    #[inline]
    fn current() -> &'static Task {
        on_backend!(B => B::current())
    }

    #[inline]
    fn current_id() -> Option<u64> {
        on_backend!(B => B::current_id())
    }

    #[inline]
    fn park() {
        on_backend!(B => B::park())
    }

    #[inline]
    fn park_until(ticket: Ticket<Self>, deadline: Nanos) {
        on_backend!(B => match ticket_for::<B>(ticket) {
            Some(ticket) => B::park_until(ticket, deadline),
            None => B::park(),
        })
    }

    #[inline]
    fn note_wait(reason: WaitReason) {
        on_backend!(B => B::note_wait(reason));
    }

    #[inline]
    unsafe fn ready(task: &'static Task) {
        // SAFETY: every task is the chosen backend's (D1); the rest is the caller's.
        on_backend!(B => unsafe { B::ready(task) })
    }

    #[inline]
    unsafe fn ready_near(task: &'static Task) {
        // SAFETY: as in `ready`.
        on_backend!(B => unsafe { B::ready_near(task) })
    }

    #[inline]
    fn interrupt() -> *const Interrupt {
        on_backend!(B => B::interrupt())
    }

    fn set_interrupt(interrupt: *const Interrupt) {
        on_backend!(B => B::set_interrupt(interrupt));
    }

    fn yield_now() {
        on_backend!(B => B::yield_now())
    }

    #[inline]
    fn now() -> Nanos {
        on_backend!(B => B::now())
    }

    #[inline]
    fn random() -> u64 {
        on_backend!(B => B::random())
    }

    #[inline]
    fn spawn(options: SpawnOptions, entry: Entry) -> io::Result<u64> {
        on_backend!(B => B::spawn(options, entry))
    }

    fn timer_start(deadline: Nanos, options: SpawnOptions, entry: Entry) -> AnyTimer {
        match backend() {
            #[cfg(green)]
            Backend::Green => AnyTimer::Green(Green::timer_start(deadline, options, entry)),
            _ => AnyTimer::Threads(Box::new(Threads::timer_start(deadline, options, entry))),
        }
    }

    fn timer_reset(timer: &AnyTimer, deadline: Nanos) -> bool {
        match timer {
            #[cfg(green)]
            AnyTimer::Green(timer) => Green::timer_reset(timer, deadline),
            AnyTimer::Threads(timer) => Threads::timer_reset(timer, deadline),
        }
    }

    fn timer_stop(timer: &AnyTimer) -> bool {
        match timer {
            #[cfg(green)]
            AnyTimer::Green(timer) => Green::timer_stop(timer),
            AnyTimer::Threads(timer) => Threads::timer_stop(timer),
        }
    }

    fn task_count() -> usize {
        on_backend!(B => B::task_count())
    }

    fn processors() -> usize {
        on_backend!(B => B::processors())
    }
}

/// Sets how many processors run goroutines, and answers how many did before; starts the backend.
pub(crate) fn set_processors(processors: usize) -> usize {
    match backend() {
        #[cfg(green)]
        Backend::Green => gaggle_rt::set_processors(processors),
        _ => gaggle_threads::set_processors(processors),
    }
}

/// What the backends count, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) created: u64,
    pub(crate) threads: u64,
    pub(crate) hand_offs: u64,
    pub(crate) migrations: u64,
    pub(crate) suspensions: u64,
    pub(crate) revocations: u64,
}

pub(crate) fn counts() -> Counts {
    match backend() {
        #[cfg(green)]
        Backend::Green => Counts {
            created: gaggle_rt::created(),
            threads: gaggle_rt::machines() as u64,
            hand_offs: gaggle_rt::hand_offs(),
            migrations: gaggle_rt::migrations(),
            suspensions: gaggle_rt::suspensions(),
            revocations: gaggle_rt::revocations(),
        },
        _ => Counts {
            created: gaggle_threads::created(),
            threads: Threads::task_count() as u64,
            ..Counts::default()
        },
    }
}

/// How long goroutines waited for a processor: counts and bounds in seconds; empty where nobody measures.
pub(crate) fn latencies() -> (Vec<u64>, Vec<f64>) {
    match backend() {
        #[cfg(green)]
        Backend::Green => gaggle_rt::latencies(),
        _ => (Vec::new(), Vec::new()),
    }
}

/// All goroutines with their stacks, the caller's first.
pub(crate) fn stack_dump() -> String {
    match backend() {
        #[cfg(green)]
        Backend::Green => gaggle_rt::stack_dump(),
        _ => {
            let own = Threads::current_id().map_or_else(
                || "thread [running]:".to_owned(),
                |id| format!("goroutine {id} [running]:"),
            );
            let stack = std::backtrace::Backtrace::force_capture();
            let others =
                Threads::task_count().saturating_sub(usize::from(Threads::current_id().is_some()));
            format!(
                "{own}\n{stack}\n({others} other goroutines are OS threads: a debugger shows them)\n"
            )
        }
    }
}

/// Those of the goroutines `ids` that exist, with their stacks; empty where stacks cannot be had.
pub(crate) fn stack_dump_of(ids: &[u64]) -> String {
    match backend() {
        #[cfg(green)]
        Backend::Green => gaggle_rt::stack_dump_of(ids),
        _ => {
            let _ = ids;
            String::new()
        }
    }
}

/// A watch of whichever backend made it.
#[allow(dead_code, reason = "held for its drop")]
pub(crate) enum AnyWatch {
    #[cfg(green)]
    Green(gaggle_rt::Watch),
    #[cfg(green)]
    Threads(gaggle_threads::Watch),
}

impl AnyWatch {
    /// Runs `entry` once when the descriptor `fd`, which is open as long as the watch is, satisfies
    /// `interest`: in a goroutine, or on the thread that serves all watches.
    pub(crate) fn new(
        fd: i32,
        interest: Interest,
        options: SpawnOptions,
        entry: Entry,
    ) -> io::Result<AnyWatch> {
        match backend() {
            #[cfg(green)]
            Backend::Green => {
                gaggle_rt::Watch::new(fd, interest, options, entry).map(AnyWatch::Green)
            }
            #[cfg(green)]
            Backend::Threads => {
                gaggle_threads::Watch::new(fd, interest, entry).map(AnyWatch::Threads)
            }
            #[cfg(not(green))]
            _ => {
                let _ = (fd, interest, options, entry);
                Err(io::ErrorKind::Unsupported.into())
            }
        }
    }

    /// Runs the entry now, unless it has run.
    pub(crate) fn fire(&self) {
        match self {
            #[cfg(green)]
            AnyWatch::Green(watch) => watch.fire(),
            #[cfg(green)]
            AnyWatch::Threads(watch) => watch.fire(),
            #[cfg(not(green))]
            _ => {}
        }
    }
}

/// Whether the descriptor `fd` satisfies `interest` now.
pub(crate) fn is_ready(fd: i32, interest: Interest) -> io::Result<bool> {
    match backend() {
        #[cfg(green)]
        Backend::Green => gaggle_rt::is_ready(fd, interest),
        #[cfg(green)]
        Backend::Threads => gaggle_threads::is_ready(fd, interest),
        #[cfg(not(green))]
        _ => {
            let _ = (fd, interest);
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

/// Calls `attempt` until it says that it has done what it is for, blocking until the descriptor `fd` satisfies
/// `interest`, which is to read or to write, before each further call.
pub(crate) fn until_ready(
    fd: i32,
    interest: Interest,
    timeout: Nanos,
    mut attempt: impl FnMut() -> bool,
) -> io::Result<()> {
    #[cfg(green)]
    {
        if matches!(backend(), Backend::Green) {
            let direction = match interest {
                Interest::Write => gaggle_rt::Direction::Write,
                _ => gaggle_rt::Direction::Read,
            };
            let outcome = gaggle_rt::until_ready(fd, direction, timeout, &mut attempt);
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
        gaggle_threads::until_ready(fd, interest, timeout, attempt)
    }
    #[cfg(not(green))]
    {
        let _ = (fd, interest, timeout, &mut attempt);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Receives what is there on the socket `fd`, without waiting; the same on both backends.
pub(crate) fn try_recv(fd: i32, room: &mut [u8]) -> io::Result<usize> {
    #[cfg(green)]
    return gaggle_threads::try_recv(fd, room);
    #[cfg(not(green))]
    {
        let _ = (fd, room);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Sends what there is room for on the socket `fd`, without waiting; the same on both backends.
pub(crate) fn try_send(fd: i32, bytes: &[u8]) -> io::Result<usize> {
    #[cfg(green)]
    return gaggle_threads::try_send(fd, bytes);
    #[cfg(not(green))]
    {
        let _ = (fd, bytes);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Binds the calling goroutine to its OS thread, or undoes that once.
pub(crate) fn bind_to_os_thread(bind: bool) {
    match backend() {
        #[cfg(green)]
        Backend::Green if bind => gaggle_rt::lock_os_thread(),
        #[cfg(green)]
        Backend::Green => gaggle_rt::unlock_os_thread(),
        _ => {}
    }
}

/// How often the calling goroutine has gone on on another OS thread than before.
pub(crate) fn own_migrations() -> u32 {
    match backend() {
        #[cfg(green)]
        Backend::Green => gaggle_rt::own_migrations(),
        _ => 0,
    }
}

/// How many times a goroutine was suspended for others.
pub(crate) fn suspensions() -> u64 {
    match backend() {
        #[cfg(green)]
        Backend::Green => gaggle_rt::suspensions(),
        _ => 0,
    }
}

/// What the backend has counted, for our own tests.
pub(crate) fn figures() -> crate::testing::Figures {
    match backend() {
        #[cfg(green)]
        Backend::Green => crate::testing::Figures {
            suspensions: gaggle_rt::suspensions(),
            migrations: gaggle_rt::migrations(),
            hand_offs: gaggle_rt::hand_offs(),
            machines: gaggle_rt::machines(),
            pending_timers: gaggle_rt::pending_timers(),
        },
        _ => crate::testing::Figures::default(),
    }
}
