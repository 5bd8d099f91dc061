//! Tests that notice the goroutines they leave behind.
//!
//! A goroutine that nobody waits for any more, blocked on a channel that nobody will ever close, is a
//! leak: it keeps its stack and all that it owns until the process ends. [`#[gaggle::test]`](macro@crate::test)
//! fails when the test's body leaves one; [`leak_check`] does the same under any other harness, and
//! [`LeakCheck`] answers what was left instead of failing.
//!
//! Only descendants count: goroutines that the checked function starts, and those that they start. So
//! tests may run side by side. An OS thread that the function starts by itself (`std::thread::spawn`)
//! begins outside; so does what [`exempt`] starts.
//!
//! ```should_panic
//! gaggle::testing::leak_check(|| {
//!     gaggle::go(|| gaggle::chan::never::<u8>().recv());
//! });
//! ```
//!
//! A test that is to leave some says so:
//! ```
//! #[gaggle::test(may_leak)]
//! fn starts_what_lives_as_long_as_the_process() {
//!     gaggle::go(|| gaggle::chan::never::<u8>().recv());
//! }
//! ```
//! and nothing else is said there:
//! ```compile_fail
//! #[gaggle::test(may_leek)]
//! fn starts_what_lives_as_long_as_the_process() {}
//! ```
//!
//! Source of the idea: Uber's `goleak` for Go.

use crate::family::{Founded, Outside, Record};
use std::fmt;
use std::panic::Location;
use std::process::{ExitCode, Termination};
use std::time::Duration;

/// How long a goroutine may take to end, once nothing keeps it, before it counts as left.
const GRACE: Duration = Duration::from_secs(5);

/// Runs `f`, and fails if it leaves goroutines: each that `f` or a descendant has started must have
/// ended by itself, or within five seconds after `f` has returned. Answers what `f` answers.
///
/// Blocks this goroutine (never its OS thread) until all have ended, or the time is over.
///
/// # Panics
/// With the name, the state, the stack and the place of starting of every goroutine left; and with
/// `f`'s own panic, in which case nothing is checked. On the threads backend, where goroutines are OS
/// threads, a debugger shows the stacks.
///
/// # Examples
/// ```
/// let sum = gaggle::testing::leak_check(|| {
///     let (sender, receiver) = gaggle::chan::unbuffered();
///     gaggle::go(move || (1..=3).for_each(|n| sender.send(n).unwrap()));
///     receiver.iter().sum::<i32>()
/// });
/// assert_eq!(sum, 6);
/// ```
#[track_caller]
pub fn leak_check<T>(f: impl FnOnce() -> T) -> T {
    let (value, leaks) = LeakCheck::new().run(f);
    assert!(leaks.is_empty(), "{leaks}");
    value
}

/// Runs `f`; the goroutines that it starts, and their descendants, are nobody's leaks. For what is
/// started at first use and lives as long as the process. Answers what `f` answers.
///
/// # Examples
/// ```
/// use gaggle::testing::{exempt, leak_check};
/// leak_check(|| {
///     exempt(|| gaggle::go(|| gaggle::chan::never::<u8>().recv()));
/// });
/// ```
pub fn exempt<T>(f: impl FnOnce() -> T) -> T {
    let _outside = Outside::begin();
    f()
}

/// A check for goroutines left behind that answers them.
///
/// # Examples
/// ```
/// use gaggle::testing::LeakCheck;
/// use std::time::Duration;
///
/// let check = LeakCheck::new().grace(Duration::from_millis(10));
/// let (sender, leaks) = check.run(|| {
///     let (sender, receiver) = gaggle::chan::unbuffered::<u8>();
///     gaggle::Builder::new().name("reader").spawn(move || receiver.recv()).unwrap();
///     sender
/// });
/// assert_eq!(leaks.iter().next().unwrap().name(), Some("reader"));
/// drop(sender); // and the reader ends
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is checked before `run`"]
pub struct LeakCheck {
    grace: Duration,
}

impl LeakCheck {
    /// A check that gives goroutines five seconds to end.
    pub const fn new() -> Self {
        LeakCheck { grace: GRACE }
    }

    /// Sets how long goroutines may take to end after the function has returned.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Runs `f`, and answers its value and the goroutines that it has left, the oldest first.
    ///
    /// Blocks this goroutine (never its OS thread) until all have ended, or the time is over.
    pub fn run<T>(self, f: impl FnOnce() -> T) -> (T, Leaks) {
        let founded = Founded::new();
        let value = f();
        let family = founded.leave();
        let left = family.left_after(self.grace);
        (value, Leaks::of(&left))
    }
}

impl Default for LeakCheck {
    fn default() -> Self {
        LeakCheck::new()
    }
}

/// The goroutines that a function has left; displayed as Go's dumps.
#[derive(Clone, Debug)]
pub struct Leaks {
    leaks: Vec<Leak>,
}

impl Leaks {
    fn of(left: &[Record]) -> Leaks {
        let ids: Vec<u64> = left.iter().filter_map(|one| one.goroutine.id()).collect();
        let dump = match ids.as_slice() {
            [] => String::new(),
            ids => crate::backend::stack_dump_of(ids),
        };
        let leak = |one: &Record| {
            let id = one.goroutine.id();
            let header = format!("goroutine {} [", id.unwrap_or(0));
            let mut entries = dump.split("\n\n");
            Leak {
                id,
                name: one.goroutine.name().map(str::to_owned),
                started_at: one.started_at,
                stack: entries
                    .find(|entry| entry.starts_with(&header))
                    .map(str::to_owned),
            }
        };
        Leaks {
            leaks: left.iter().map(leak).collect(),
        }
    }

    /// Whether none was left.
    pub fn is_empty(&self) -> bool {
        self.leaks.is_empty()
    }

    /// How many were left.
    pub fn len(&self) -> usize {
        self.leaks.len()
    }

    /// The goroutines, the oldest first.
    pub fn iter(&self) -> std::slice::Iter<'_, Leak> {
        self.leaks.iter()
    }
}

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, noun) = match self.leaks.len() {
            1 => (1, "goroutine"),
            count => (count, "goroutines"),
        };
        write!(f, "{count} {noun} left behind")?;
        self.leaks
            .iter()
            .try_for_each(|leak| write!(f, "\n\n{leak}"))
    }
}

/// A goroutine that was left behind.
#[derive(Clone, Debug)]
pub struct Leak {
    id: Option<u64>,
    name: Option<String>,
    started_at: &'static Location<'static>,
    stack: Option<String>,
}

impl Leak {
    /// Its number.
    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// The name given to [`Builder::name`](crate::Builder::name).
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it was started: the place of `go`, or of what starts goroutines for you.
    pub fn started_at(&self) -> &'static Location<'static> {
        self.started_at
    }

    /// Its entry in a dump of all goroutines: state, stack, place of starting; `None` on the threads
    /// backend, and where it has ended since.
    pub fn stack(&self) -> Option<&str> {
        self.stack.as_deref()
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stack) = &self.stack {
            return f.write_str(stack.trim_end());
        }
        write!(f, "goroutine {}", self.id.unwrap_or(0))?;
        if let Some(name) = &self.name {
            write!(f, " [\"{name}\"]")?;
        }
        let place = self.started_at;
        write!(
            f,
            ":\n\t(an OS thread: a debugger shows its stack)\ncreated by go\n\t{}:{}",
            place.file(),
            place.line()
        )
    }
}

/// Runs the body of a program as the main goroutine; its result is reported there, so it need not be
/// `Send`.
#[doc(hidden)]
#[track_caller]
pub fn main<T: Termination>(body: fn() -> T) -> ExitCode {
    crate::run(|| body().report())
}

/// Runs the body of a test as a goroutine of the test's name, which may leave goroutines or not; as
/// [`main`].
#[doc(hidden)]
#[track_caller]
pub fn test<T: Termination>(name: &str, may_leak: bool, body: fn() -> T) -> ExitCode {
    checked(may_leak, || crate::run::run_named(name, || body().report()))
}

/// As [`test`], for a test that answers nothing (which `should_panic` insists on).
#[doc(hidden)]
#[track_caller]
pub fn test_unit(name: &str, may_leak: bool, body: fn()) {
    checked(may_leak, || crate::run::run_named(name, body));
}

#[track_caller]
fn checked<T>(may_leak: bool, run: impl FnOnce() -> T) -> T {
    if may_leak { run() } else { leak_check(run) }
}

/// What the backend has counted since the start of the process; all zero on the threads backend.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// How often a goroutine was suspended.
    pub suspensions: u64,
    /// How often a goroutine went on on another OS thread than before.
    pub migrations: u64,
    /// How often a P went on without the OS thread of a blocked call.
    pub hand_offs: u64,
    /// OS threads that run goroutines, or are kept for that.
    pub machines: usize,
    /// How many goroutines timers are to start; it comes down when they are stopped.
    pub pending_timers: usize,
}

/// Reads the figures.
#[doc(hidden)]
pub fn figures() -> Figures {
    crate::backend::figures()
}
