//! What a backend offers, and all that the algorithms know of one.
//!
//! Two backends keep this contract: `gaggle-rt` (green: goroutines over a few OS threads) and
//! `gaggle-threads` (each goroutine on an OS thread of its own); the loom tests bring a third. It is
//! a trait of associated functions, so that an algorithm is compiled once for each and a call costs
//! what a call costs.
//!
//! - C1: `park` returns only after a `ready` of the calling task that no earlier `park` consumed.
//! - C2: everything the readier did before `ready` is visible to the task after its `park`.
//! - C3: `ready` may be called from a goroutine, from any OS thread, and while the task still runs.
//! - C4: no function here runs user code, but `yield_now`, `park` and `park_until` let other tasks run.
//! - C5: the clock and the randomness of the algorithms are `now` and `random`, nothing else.
//! - C6: a goroutine's entry is dropped last of all that is the goroutine's ([`Body`]).

use crate::interrupt::Interrupt;
use crate::lock::RawLock;
use crate::task::{Task, Ticket};
use std::panic::Location;

/// A point of the monotonic clock, or a length of time, in nanoseconds.
pub type Nanos = u64;

/// The deadline that never comes.
pub const NEVER: Nanos = Nanos::MAX;

/// What a goroutine runs.
///
/// It is dropped, on the goroutine, when the goroutine has ended: its function has returned and the
/// destructors of its thread-local storage have run. So a drop announces the end. One that never runs,
/// because the goroutine was refused or its timer stopped, is dropped too.
pub trait Body: Send {
    /// Runs it. Called once at most.
    fn run(&mut self);
}

/// What a new goroutine runs.
pub type Entry = Box<dyn Body>;

/// A function as what a goroutine runs. What it captures is dropped before the goroutine has ended.
///
/// # Examples
/// ```
/// use gaggle_core::contract::entry;
/// entry(|| println!("honk")).run();
/// ```
pub fn entry<F: FnOnce() + Send + 'static>(f: F) -> Entry {
    Box::new(Function(Some(f)))
}

struct Function<F>(Option<F>);

impl<F: FnOnce() + Send> Body for Function<F> {
    fn run(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

/// How a goroutine is to be started.
#[derive(Clone, Debug)]
pub struct SpawnOptions {
    /// Shown in dumps and panics; the OS thread's name on the threads backend.
    pub name: Option<std::sync::Arc<str>>,
    /// Bytes of address space for the stack; `None`: the backend's default.
    pub stack_bytes: Option<usize>,
    /// Where the program asked for it.
    pub location: &'static Location<'static>,
}

/// What a task is about to wait for: for dumps, in Go's words where the meaning is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WaitReason {
    /// Nobody said.
    Unknown = 0,
    /// In a run queue, or on its way into one.
    Runnable,
    /// A value from a channel.
    ChanReceive,
    /// Room in a channel.
    ChanSend,
    /// Whichever of several operations can go first.
    Select,
    /// Nothing that could ever come: a select without arms, a channel that never becomes ready.
    Never,
    /// A point in time.
    Sleep,
    /// A descriptor.
    Io,
    /// A word of memory: std's locks, condition variables, `thread::park`, ...
    Futex,
    /// A mutex of C.
    Mutex,
    /// Permits of a semaphore, or the end of a wait group.
    Semaphore,
    /// Its permit: `park`, a future's waker.
    Park,
    /// The end of another goroutine.
    Join,
    /// A call that blocks the OS thread.
    Call,
    /// The point in time at which it is to begin.
    Timer,
    /// A condition variable's notification.
    Condition,
    /// A read-write lock, to read.
    ReadLock,
    /// A read-write lock, to write.
    WriteLock,
}

impl WaitReason {
    /// All of them, each at the place of its number.
    const ALL: [(WaitReason, &'static str); 18] = [
        (WaitReason::Unknown, "waiting"),
        (WaitReason::Runnable, "runnable"),
        (WaitReason::ChanReceive, "chan receive"),
        (WaitReason::ChanSend, "chan send"),
        (WaitReason::Select, "select"),
        (WaitReason::Never, "select (no cases)"),
        (WaitReason::Sleep, "sleep"),
        (WaitReason::Io, "IO wait"),
        (WaitReason::Futex, "futex wait"),
        (WaitReason::Mutex, "sync.Mutex.Lock"),
        (WaitReason::Semaphore, "semacquire"),
        (WaitReason::Park, "park"),
        (WaitReason::Join, "join"),
        (WaitReason::Call, "syscall"),
        (WaitReason::Timer, "timer"),
        (WaitReason::Condition, "sync.Cond.Wait"),
        (WaitReason::ReadLock, "sync.RWMutex.RLock"),
        (WaitReason::WriteLock, "sync.RWMutex.Lock"),
    ];

    /// The reason with this number; [`WaitReason::Unknown`] where there is none.
    pub fn from_number(number: u8) -> Self {
        let found = Self::ALL.get(usize::from(number));
        found.map_or(WaitReason::Unknown, |&(reason, _)| reason)
    }

    /// How dumps call it.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// What a watch of a descriptor is for.
///
/// Watches are no part of [`Runtime`]: no algorithm knows them, only the facade, which calls each backend's
/// own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the end.
    Read,
    /// Room to write, or the end.
    Write,
    /// The other side has gone, or will write no more; nothing need have been read.
    Hangup,
}

/// The operations of a backend.
pub trait Runtime: Sized + 'static {
    /// The lock of short critical sections.
    type Lock: RawLock;
    /// A timer that was started; dropping it neither stops nor fires it.
    type Timer: Send + Sync;

    /// The calling task: the goroutine, or the OS thread where none runs.
    fn current() -> &'static Task;

    /// The number of the calling goroutine, never used again; `None` on any other OS thread.
    fn current_id() -> Option<u64>;

    /// Blocks the calling task, never an OS thread that could run others, until it is readied
    /// (C1, C2).
    fn park();

    /// As [`Runtime::park`], but at `deadline` the backend claims `ticket` itself with
    /// [`TIMED_OUT`] as its token and readies the task. `ticket` is the calling task's and has been
    /// taken for this wait. Afterwards [`Ticket::token`] tells which claim won.
    fn park_until(ticket: Ticket<Self>, deadline: Nanos);

    /// Says what the calling task is about to park for; only dumps read it.
    #[inline]
    fn note_wait(_reason: WaitReason) {}

    /// Makes `task` runnable, or its next `park` return at once (T4).
    ///
    /// # Safety
    /// The caller has the one right to ready this wait of the task: see [`crate::task`], T1 and T2.
    unsafe fn ready(task: &'static Task);

    /// As [`Runtime::ready`], by a task that is likely to wait itself before long: a backend may leave
    /// it to run where the caller does instead of waking a processor for it.
    ///
    /// # Safety
    /// As for [`Runtime::ready`].
    #[inline]
    unsafe fn ready_near(task: &'static Task) {
        // SAFETY: promised by the caller.
        unsafe { Self::ready(task) }
    }

    /// What was given to the last [`Runtime::set_interrupt`] of the calling task; null at first.
    fn interrupt() -> *const Interrupt;

    /// Keeps `interrupt` for the calling task, which runs under it ([`crate::interrupt`]).
    fn set_interrupt(interrupt: *const Interrupt);

    /// Lets other tasks run.
    fn yield_now();

    /// The monotonic clock.
    fn now() -> Nanos;

    /// A pseudo-random number; uniform, not for secrets.
    fn random() -> u64;

    /// Starts a goroutine and answers its number.
    ///
    /// # Errors
    /// When the operating system refuses the memory or the thread it needs; `entry` is dropped.
    fn spawn(options: SpawnOptions, entry: Entry) -> std::io::Result<u64>;

    /// Runs `entry` in a goroutine of its own at `deadline`, unless stopped before.
    fn timer_start(deadline: Nanos, options: SpawnOptions, entry: Entry) -> Self::Timer;

    /// Stops a timer. `true`: its entry will never run and has been dropped. `false`: it has fired,
    /// or was stopped before.
    fn timer_stop(timer: &Self::Timer) -> bool;

    /// Moves a timer to another deadline. `false`: it has fired, or was stopped, and nothing changes.
    fn timer_reset(timer: &Self::Timer, deadline: Nanos) -> bool;

    /// How many goroutines exist: started or waiting to start, and not ended.
    fn task_count() -> usize;

    /// How many processors run goroutines at the same time.
    fn processors() -> usize;
}

/// The token of a wait that the backend's timer ended.
pub const TIMED_OUT: usize = usize::MAX;
