//! The one runtime of the process: what it is, and what it is to be.
//!
//! It starts by itself at the first use of the library (`go`, `run`, `#[gaggle::main]`, a channel that
//! blocks, ...). Until then it can be configured, by [`Builder`] or by these environment variables,
//! which override the program:
//!
//! | variable | values | meaning |
//! |---|---|---|
//! | `GAGGLE_BACKEND` | `green`, `threads` | forces a backend; one that cannot run ends the process with status 2 |
//! | `GAGGLE_PANIC` | `deliver`, `exit`, `abort` | what a panic in a goroutine does to the process: [`PanicPolicy`] |
//! | `GAGGLE_TRACEBACK` | `none`, `single`, `all`, `system`, `crash` | how many stacks a fatal error shows, as Go's `GOTRACEBACK`; `single` shows all, since these errors are no single goroutine's |
//! | `GAGGLE_DEBUG` | `schedtrace=MS`, `scheddetail=1`, `asyncpreemptoff=1`, with commas | as Go's `GODEBUG` (green only) |
//! | `GAGGLE_MAXPROCS` | 1, 2, ... | how many processors run goroutines at the same time (green: 64 at most) |
//! | `GAGGLE_MAXTHREADS` | 1, 2, ... | green: how many OS threads may run goroutines or be blocked with one (default: 10,000); a program that needs more ends with `fatal error: thread exhaustion` and status 2 |

pub use crate::backend::Backend;
use crate::backend::{Dispatch, backend, wish};
pub use crate::metrics::{
    Metric, MetricDescription, MetricHistogram, MetricKind, MetricValue, metric_descriptions,
    metrics,
};
pub use crate::panics::PanicPolicy;
use gaggle_core::contract::Runtime;
use std::fmt;

/// How many goroutines exist: started or waiting to start, and not ended. Never blocks.
///
/// # Examples
/// ```
/// gaggle::run(|| assert!(gaggle::runtime::num_goroutine() >= 1));
/// ```
pub fn num_goroutine() -> usize {
    Dispatch::task_count()
}

/// How many goroutines have panicked without anybody joining them. Their panics were printed when
/// they happened. Never blocks.
///
/// # Examples
/// ```
/// let _ = gaggle::go(|| panic!("seen")).join();
/// assert_eq!(gaggle::runtime::unseen_panics(), 0);
/// ```
pub fn unseen_panics() -> u64 {
    crate::join::unseen_panics()
}

/// How many processors this process may use: those of the machine, less those that its affinity mask
/// or its container's CPU quota keep from it.
///
/// # Examples
/// ```
/// assert!(gaggle::runtime::num_cpu() >= 1);
/// ```
pub fn num_cpu() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many processors run goroutines at the same time; with `Some(n)` sets it and answers what it was
/// before. 0 counts as 1.
///
/// Until a number is set, here, by [`Builder::max_procs`] or by `GAGGLE_MAXPROCS`, the green backend uses
/// the least of: the machine's processors, those of the affinity mask, 64, and the CPU quotas (control
/// groups of version 1 and 2, all ancestors) rounded up, but 2 at least. It looks at them each second.
/// A change takes effect as goroutines are switched.
///
/// On the threads backend the operating system decides what runs: the number is only remembered.
///
/// # Examples
/// ```
/// let before = gaggle::runtime::gomaxprocs(Some(3));
/// assert!(before >= 1);
/// assert_eq!(gaggle::runtime::gomaxprocs(None), 3);
/// ```
pub fn gomaxprocs(processors: Option<usize>) -> usize {
    match processors {
        None => Dispatch::processors(),
        Some(processors) => crate::backend::set_processors(processors.max(1)),
    }
}

/// The name of the backend of this process, `"green"` or `"threads"`; starts it if none runs yet.
///
/// # Examples
/// ```
/// assert!(["green", "threads"].contains(&gaggle::runtime::backend_name()));
/// ```
pub fn backend_name() -> &'static str {
    backend().name()
}

/// All goroutines with their stacks, in the format of Go's dumps; the calling goroutine comes first.
///
/// A goroutine that runs on another OS thread, or is in a call that blocks one, is listed without its
/// stack, since its registers are in a processor. Each is looked at by itself, so the list is no
/// picture of one instant. Does not block, but reads the program's debug information: milliseconds for
/// the first call, microseconds for each goroutine.
///
/// On the threads backend only the caller's own stack can be had; a debugger shows the others, which
/// are OS threads.
///
/// # Examples
/// ```
/// let dump = gaggle::go(gaggle::runtime::stack_dump).join().unwrap();
/// assert!(dump.contains("[running]"));
/// ```
pub fn stack_dump() -> String {
    crate::backend::stack_dump()
}

/// What the runtime is to be, to be said before the first use of the library.
///
/// # Examples
/// ```
/// use gaggle::runtime::{Backend, Builder};
///
/// fn main() {
///     Builder::new().backend(Backend::Threads).max_procs(2).configure().expect("nothing runs yet");
///     gaggle::run(|| println!("{} goroutine", gaggle::runtime::num_goroutine()));
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "nothing changes before `configure`"]
pub struct Builder {
    backend: Option<Backend>,
    processors: Option<usize>,
    panic_policy: Option<PanicPolicy>,
}

impl Builder {
    /// Leaves everything as it is.
    pub fn new() -> Self {
        Builder::default()
    }

    /// Forces a backend, as `GAGGLE_BACKEND` does.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Sets how many processors run goroutines at the same time, as `GAGGLE_MAXPROCS` does; 0 counts
    /// as 1.
    pub fn max_procs(mut self, processors: usize) -> Self {
        self.processors = Some(processors.max(1));
        self
    }

    /// Says what a panic in a goroutine does to the process, as `GAGGLE_PANIC` does.
    pub fn panic_policy(mut self, policy: PanicPolicy) -> Self {
        self.panic_policy = Some(policy);
        self
    }

    /// Makes it so for the runtime that is to start.
    ///
    /// # Errors
    /// When the runtime has started already; nothing changes.
    pub fn configure(self) -> Result<(), AlreadyStarted> {
        wish(|wishes| {
            wishes.backend = self.backend.or(wishes.backend);
            wishes.processors = self.processors.or(wishes.processors);
            wishes.panic_policy = self.panic_policy.or(wishes.panic_policy);
        })
        .map_err(AlreadyStarted)
    }
}

/// The runtime had started before it was configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyStarted(Backend);

impl fmt::Display for AlreadyStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.name();
        write!(
            f,
            "the runtime has started already, with the {name} backend"
        )
    }
}

impl std::error::Error for AlreadyStarted {}

/// How often the calling goroutine has gone on on another OS thread than before; 0 on the threads
/// backend, and on OS threads that are no goroutine.
///
/// It does not block.
///
/// # Examples
/// ```
/// let moves = gaggle::go(gaggle::runtime::own_migrations).join().unwrap();
/// assert_eq!(moves, 0); // it ended where it began
/// ```
pub fn own_migrations() -> u32 {
    crate::backend::own_migrations()
}

/// How many times a goroutine that computed for longer than its slice, while others waited, was
/// suspended; 0 on the threads backend, where the kernel does it.
///
/// It does not block.
///
/// # Examples
/// ```
/// let before = gaggle::runtime::suspensions();
/// gaggle::go(|| ()).join().unwrap();
/// assert!(gaggle::runtime::suspensions() >= before);
/// ```
pub fn suspensions() -> u64 {
    crate::backend::suspensions()
}

/// Binds the calling goroutine to the OS thread it runs on: it moves to no other, and no other goroutine
/// runs there, until [`unlock_os_thread`] has been called as often. For code that the kernel, or a
/// library by inline system calls, knows by its OS thread: a graphics context, a ring of `io_uring` with
/// one issuer, `ptrace`. Never blocks; from here on each wait of this goroutine costs two switches of the
/// operating system.
///
/// A goroutine that ends bound takes the OS thread with it, so that what was done to that thread is met
/// by nobody else. Calls of libc that change what the kernel knows of a thread (its affinity, namespaces,
/// user for files, seccomp filters, ...) bind their goroutine for good, without being asked.
///
/// On the threads backend, and on OS threads that are no goroutine, it does nothing: there it is so
/// anyway.
///
/// [`gaggle::lock_os_thread`](crate::lock_os_thread()) does the same for as long as a value lives.
///
/// Source: Go's `runtime.LockOSThread`.
///
/// # Examples
/// ```
/// gaggle::run(|| {
///     gaggle::runtime::lock_os_thread();
///     let before = gaggle::runtime::own_migrations();
///     std::thread::sleep(std::time::Duration::from_millis(1));
///     assert_eq!(gaggle::runtime::own_migrations(), before);
///     gaggle::runtime::unlock_os_thread();
/// });
/// ```
pub fn lock_os_thread() {
    crate::backend::bind_to_os_thread(true);
}

/// Undoes one [`lock_os_thread`] of the calling goroutine; without one it does nothing. Never blocks.
///
/// # Examples
/// ```
/// gaggle::runtime::lock_os_thread();
/// gaggle::runtime::unlock_os_thread();
/// ```
pub fn unlock_os_thread() {
    crate::backend::bind_to_os_thread(false);
}
