//! libc's blocking calls, defined here so that the whole program, std and C code included, calls
//! these instead: on a goroutine they park it, anywhere else they do what libc does.
//!
//! - K1: off a goroutine (a foreign thread, an M's own stack, a forked child) a hook makes the system
//!   call, or calls libc's own function. Foreign threads do more only for objects whose waiters have to
//!   be known all in one place: they wait for condition variables, barriers and once-only initialisation
//!   in the table of [`wait_table`], on a futex of their own, and wake who waits there.
//! - K2: on a goroutine a hook answers what the kernel would answer a thread: the same results, the
//!   same errno; only the waiting is ours.
//! - K3: a hook never allocates but on a goroutine, and never panics.
//! - K4: a wait for a descriptor, a poll or a sleep ends with a context that the goroutine runs under
//!   ([`gaggle_core::interrupt`]). Its call answers ECANCELED or ETIMEDOUT, never EINTR, after which std
//!   and many others call again; and only where it would have waited. What was transferred before is
//!   answered first, as at a time-out. A sleep ends early, with nothing left of it. Locks, joins and
//!   semaphores of others wait on: C would go on as if it had what it waited for.
//!
//! Signals that are not an instruction's own fault are blocked on Ms, so no user handler runs on a
//! goroutine, and a hook need not ask.
//!
//! The symbols bind since the program's own definitions come before those of shared libraries.

mod aliases;
mod barrier;
mod c11;
mod child;
mod clocks;
mod condition;
mod descriptor;
mod file;
mod futex;
mod identity;
mod io;
mod join;
pub mod loader;
mod message;
mod mutex;
mod os_thread;
mod poll;
mod process;
mod raw_call;
mod real;
mod resolve;
mod rwlock;
mod select;
mod semaphore;
mod shadow;
pub mod signal;
pub mod signal_queue;
mod signal_stack;
mod sleep;
mod socket;
mod splice;
mod thread;
mod wait_table;

use crate::g::G;
use crate::netpoll::{self, Direction, Wait};
use gaggle_core::context::ContextError;
use gaggle_core::contract::{NEVER, Nanos};
use gaggle_sys::call;
use gaggle_sys::glibc::sync_objects::SyncObjects;
use std::cell::Cell;
use std::ffi::c_int;
use std::sync::OnceLock;

/// Finds libc's own functions behind the hooks, before the first goroutine.
pub fn resolve_all() {
    thread::resolve_all();
    loader::resolve_all();
    process::resolve_all();
    mutex::resolve_all();
    condition::resolve_all();
    semaphore::resolve_all();
    rwlock::resolve_all();
    barrier::resolve_all();
    join::resolve_all();
    sync_objects();
}

/// Sets up what the hooks of signals need, before the first goroutine and after the first thread: libc sets
/// a handler with that.
pub fn start() {
    signal::start();
    identity::start();
}

/// Where C's synchronisation objects keep what they are; found out at the first use of any, which may be
/// before the runtime starts, so that those who wait already then are known to those who come later.
fn sync_objects() -> &'static SyncObjects {
    static OBJECTS: OnceLock<SyncObjects> = OnceLock::new();
    OBJECTS.get_or_init(|| {
        // SAFETY: registers a handler that only writes variables of this library.
        unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) };
        SyncObjects::discover(call::thread_id() as u32)
    })
}

/// The number by which C's locks know the calling goroutine.
fn own_thread_number() -> u32 {
    let Some(g) = crate::sched::current() else {
        return call::thread_id() as u32;
    };
    let field = crate::template().tid_field(g.fs.get());
    // SAFETY: the goroutine's own control block, which nobody else writes.
    unsafe { field.read() }
}

/// For the monitor: wakes goroutines whose semaphores were posted by foreign threads.
pub fn deliver_deferred() {
    wait_table::deliver_deferred();
}

/// In a forked child the runtime's other threads are gone: the one that lives on is no goroutine (K1).
unsafe extern "C" fn after_fork_in_child() {
    crate::plain::in_child();
    // SAFETY: a forked child has one thread, which is here.
    unsafe { wait_table::reset_in_forked_child() };
}

/// Sets the calling thread's (or goroutine's) errno.
fn set_errno(errno: c_int) {
    // SAFETY: libc answers the address of the caller's own errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: nobody else uses it.
    unsafe { place.write(errno) };
}

/// Turns the kernel's answer into libc's: `-1` and errno for a failure.
fn answer(result: isize) -> isize {
    if (-4095..0).contains(&result) {
        set_errno(-result as c_int);
        -1
    } else {
        result
    }
}

/// As [`answer`], for calls that answer an `int`.
fn answer_int(result: isize) -> c_int {
    answer(result) as c_int
}

/// The kernel's way to say that a call failed with `errno`.
fn failure(errno: c_int) -> isize {
    -(errno as isize)
}

/// Whether the descriptor's owner asked for calls that never wait.
fn is_nonblocking(fd: c_int) -> bool {
    let flags = call::status_flags(fd);
    flags >= 0 && flags & libc::O_NONBLOCK as isize != 0
}

/// The file that a call is for: by the number that its caller gave, or, once that was closed while the
/// call waited, by one of the netpoller's own (N4 of the netpoller).
struct Target {
    fd: Cell<c_int>,
    is_borrowed: Cell<bool>,
}

impl Target {
    fn new(fd: c_int) -> Self {
        Target {
            fd: Cell::new(fd),
            is_borrowed: Cell::new(false),
        }
    }

    /// The number to call the kernel with.
    fn fd(&self) -> c_int {
        self.fd.get()
    }

    fn give_back(&self) {
        if self.is_borrowed.replace(false) {
            netpoll::give_back(self.fd.get());
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Parks `g` until `target` may be tried again. `Some`: what the call is to answer instead.
fn park_for(
    g: &'static G,
    target: &Target,
    direction: Direction,
    observed: netpoll::Observed,
    deadline: Nanos,
) -> Option<isize> {
    match netpoll::wait(g, target.fd(), direction, observed, deadline) {
        Wait::Moved(fd) => {
            target.give_back();
            target.fd.set(fd);
            target.is_borrowed.set(true);
            None
        }
        Wait::Ready => None,
        Wait::TimedOut => Some(failure(libc::EAGAIN)),
        Wait::Closed => Some(failure(libc::EBADF)),
        Wait::Unpollable => Some(UNPOLLABLE),
        Wait::Ended(error) => Some(ended(error)),
    }
}

/// What a call answers whose wait the end of a context has ended (K4).
fn ended(error: ContextError) -> isize {
    failure(match error {
        ContextError::Canceled => libc::ECANCELED,
        ContextError::DeadlineExceeded => libc::ETIMEDOUT,
    })
}

/// What [`park_for`] answers for a descriptor that cannot be polled: no errno of the kernel's.
const UNPOLLABLE: isize = isize::MIN;

/// Parks `g` until the kernel says that `target` is ready for `direction`, or has failed; at once if its
/// owner asked for calls that never wait. `Some`: what the call is to answer instead.
fn park_until_ready(
    g: &'static G,
    target: &Target,
    direction: Direction,
    deadline: Nanos,
) -> Option<isize> {
    let events = match direction {
        Direction::Read => libc::POLLIN,
        Direction::Write => libc::POLLOUT,
    };
    let mut asked = false;
    loop {
        let observed = netpoll::observe(target.fd(), direction);
        if call::poll_now(target.fd(), events) != 0 {
            return None;
        }
        if !asked && is_nonblocking(target.fd()) {
            return None;
        }
        asked = true;
        match park_for(g, target, direction, observed, deadline) {
            None => {}
            Some(UNPOLLABLE) => return None,
            other => return other,
        }
    }
}

/// The deadline that a socket's own time-out gives a call that begins now.
fn socket_deadline(fd: c_int, direction: Direction) -> Nanos {
    let option = match direction {
        Direction::Read => libc::SO_RCVTIMEO,
        Direction::Write => libc::SO_SNDTIMEO,
    };
    match call::socket_timeout(fd, option) {
        0 => NEVER,
        nanos => gaggle_sys::clock::now().saturating_add(nanos),
    }
}
