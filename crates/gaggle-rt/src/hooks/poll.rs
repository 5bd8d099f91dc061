//! `poll`, `ppoll` and `epoll_wait` with its relatives.

use super::answer_int;
use super::sleep::is_valid;
use crate::Green;
use crate::blocking::in_call;
use crate::g::G;
use crate::netpoll::{self, Counted, Direction, Wait, Waiter};
use crate::sched;
use gaggle_core::contract::{NEVER, Nanos};
use gaggle_core::interrupt;
use gaggle_core::task::Ticket;
use gaggle_sys::call::raw;
use gaggle_sys::clock;
use libc::{c_int, epoll_event, nfds_t, pollfd, sigset_t, timespec};

/// The kernel's answer now: how many entries are ready.
fn look(entries: &mut [pollfd]) -> isize {
    // SAFETY: the kernel reads and writes the entries; a time-out of 0 does not wait.
    unsafe {
        raw(
            libc::SYS_poll,
            [entries.as_mut_ptr() as usize, entries.len(), 0, 0, 0, 0],
        )
    }
}

/// A direction of a descriptor that a call waits for.
pub type Watched = (c_int, Direction);

/// The events that say that something can be written; all others, but for errors and hang-ups, say
/// that something can be read.
const WRITE_EVENTS: i16 = libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND;

/// Which directions an entry waits for. Errors and hang-ups, which cannot be left out, count as edges
/// of both.
fn directions(entry: &pollfd) -> impl Iterator<Item = Watched> + use<> {
    let write = entry.events & WRITE_EVENTS != 0;
    let read = !write || entry.events & !WRITE_EVENTS != 0;
    let fd = entry.fd;
    let read = read.then_some((fd, Direction::Read));
    read.into_iter()
        .chain(write.then_some((fd, Direction::Write)))
}

/// How [`park_until_any`] ended.
pub enum Parked {
    /// What `look` answered.
    Answer(isize),
    /// There is something among the descriptors that the netpoller cannot watch: the kernel has to wait.
    Unpollable,
}

/// Calls `look` until it answers anything but 0, parking in between until one of `watched` has an edge;
/// 0 at the deadline.
pub fn park_until_any(
    g: &'static G,
    watched: &[Watched],
    deadline: Nanos,
    mut look: impl FnMut() -> isize,
) -> Parked {
    let mut waits = Vec::with_capacity(watched.len());
    loop {
        waits.clear();
        // Looked at before `look`, as N1 of the netpoller demands.
        for (fd, direction) in watched {
            waits.push((None, *fd, *direction, netpoll::observe(*fd, *direction)));
        }
        let ready = look();
        if ready != 0 {
            return Parked::Answer(ready);
        }
        if clock::now() >= deadline {
            return Parked::Answer(0);
        }
        let counted = Counted::new();
        let mut edge = false;
        let mut unpollable = false;
        let ticket = Ticket::<Green>::of(g.as_task());
        for (waiter, fd, direction, observed) in &mut waits {
            let waiter = waiter.insert(Waiter::new(ticket));
            // SAFETY: the vector does not change until `leave` below.
            match unsafe { waiter.enter(*fd, *direction, *observed) } {
                Ok(true) => {}
                Ok(false) | Err(Wait::Closed) => edge = true,
                Err(_) => unpollable = true,
            }
        }
        let mut ended = None;
        if !edge && !unpollable {
            g.wait.begin(gaggle_core::contract::WaitReason::Io);
            ended = interrupt::park(ticket, deadline);
        } else if !ticket.cancel() {
            sched::park(g); // T2: somebody claimed the wait
        }
        for (waiter, fd, direction, _) in &waits {
            if let Some(waiter) = waiter {
                waiter.leave(*fd, *direction);
            }
        }
        drop(counted);
        if unpollable {
            return Parked::Unpollable;
        }
        if let Some(error) = ended {
            return Parked::Answer(super::ended(error));
        }
    }
}

/// `poll` on a goroutine.
fn poll_parking(g: &'static G, entries: &mut [pollfd], deadline: Nanos) -> isize {
    let named = entries.iter().filter(|entry| entry.fd >= 0);
    let watched: Vec<Watched> = named.flat_map(directions).collect();
    match park_until_any(g, &watched, deadline, || look(entries)) {
        Parked::Answer(result) => result,
        Parked::Unpollable => in_call(|| poll_blocking(entries, deadline)),
    }
}

/// `poll` on the OS thread, for what the netpoller cannot watch.
fn poll_blocking(entries: &mut [pollfd], deadline: Nanos) -> isize {
    let left = deadline.saturating_sub(clock::now());
    let time = timespec {
        tv_sec: (left / 1_000_000_000) as libc::time_t,
        tv_nsec: (left % 1_000_000_000) as libc::c_long,
    };
    let time_address = if deadline == NEVER {
        0
    } else {
        &raw const time as usize
    };
    // SAFETY: the kernel reads and writes the entries and reads the time; no signal mask.
    unsafe {
        raw(
            libc::SYS_ppoll,
            [
                entries.as_mut_ptr() as usize,
                entries.len(),
                time_address,
                0,
                0,
                0,
            ],
        )
    }
}

/// The entries of a `poll`, if there are any worth the name.
///
/// # Safety
/// As for `poll`'s first two arguments.
unsafe fn entries<'a>(first: *mut pollfd, count: nfds_t) -> &'a mut [pollfd] {
    if count == 0 || first.is_null() {
        return &mut [];
    }
    // SAFETY: the caller's contract: `count` entries that only this call uses.
    unsafe { std::slice::from_raw_parts_mut(first, count as usize) }
}

/// `poll(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn poll(first: *mut pollfd, count: nfds_t, milliseconds: c_int) -> c_int {
    let parking = sched::current().filter(|_| milliseconds != 0);
    let Some(g) = parking else {
        // SAFETY: the caller's contract is the system call's.
        return answer_int(unsafe {
            raw(
                libc::SYS_poll,
                [
                    first as usize,
                    count as usize,
                    milliseconds as usize,
                    0,
                    0,
                    0,
                ],
            )
        });
    };
    let deadline = after_milliseconds(milliseconds);
    // SAFETY: the caller's contract.
    answer_int(poll_parking(g, unsafe { entries(first, count) }, deadline))
}

fn after_milliseconds(milliseconds: c_int) -> Nanos {
    match u64::try_from(milliseconds) {
        Ok(milliseconds) => clock::now().saturating_add(milliseconds * 1_000_000),
        Err(_) => NEVER,
    }
}

/// `ppoll(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppoll(
    first: *mut pollfd,
    count: nfds_t,
    time: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: the caller's contract: null or a readable time.
    let given = unsafe { time.as_ref() };
    let call = || {
        // The kernel would write the remaining time, which libc's `ppoll` does not show.
        let mut copy = given.copied().unwrap_or(timespec {
            tv_sec: 0,
            tv_nsec: 0,
        });
        let time_address = if given.is_some() {
            &raw mut copy as usize
        } else {
            0
        };
        let arguments = [
            first as usize,
            count as usize,
            time_address,
            mask as usize,
            8,
            0,
        ];
        // SAFETY: the caller's contract is the system call's.
        unsafe { raw(libc::SYS_ppoll, arguments) }
    };
    let Some(g) = sched::current() else {
        return answer_int(call());
    };
    if !mask.is_null() {
        return answer_int(in_call(call));
    }
    if given.is_some_and(|time| !is_valid(time)) {
        return answer_int(call());
    }
    // SAFETY: the caller's contract.
    let entries = unsafe { entries(first, count) };
    answer_int(poll_parking(g, entries, after(given)))
}

/// The deadline of a wait that begins now; no time is no deadline.
pub fn after(time: Option<&timespec>) -> Nanos {
    time.map_or(NEVER, |time| {
        clock::now().saturating_add(clock::nanos_of(time))
    })
}

/// `epoll_wait` and its relatives: an epoll descriptor can itself be polled. `call` gets whether it may
/// wait.
fn epoll_parking(fd: c_int, deadline: Nanos, call: impl Fn(bool) -> isize) -> c_int {
    let Some(g) = sched::current() else {
        return answer_int(call(true));
    };
    let watched = [(fd, Direction::Read)];
    answer_int(
        match park_until_any(g, &watched, deadline, || call(false)) {
            Parked::Answer(result) => result,
            Parked::Unpollable => in_call(|| call(true)),
        },
    )
}

/// `epoll_wait(2)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_wait(
    fd: c_int,
    events: *mut epoll_event,
    count: c_int,
    milliseconds: c_int,
) -> c_int {
    // SAFETY: the caller's contract, without a signal mask.
    unsafe { epoll_pwait(fd, events, count, milliseconds, std::ptr::null()) }
}

/// `epoll_pwait(2)`; with a signal mask, which belongs to the OS thread, it takes the hand-off path.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_pwait(
    fd: c_int,
    events: *mut epoll_event,
    count: c_int,
    milliseconds: c_int,
    mask: *const sigset_t,
) -> c_int {
    let (events, count) = (events as usize, count as usize);
    let call = |waits: bool| {
        let wait = if waits { milliseconds as usize } else { 0 };
        let arguments = [fd as usize, events, count, wait, mask as usize, 8];
        // SAFETY: the caller's contract is the system call's.
        unsafe { raw(libc::SYS_epoll_pwait, arguments) }
    };
    if !mask.is_null() {
        return answer_int(in_call(|| call(true)));
    }
    epoll_parking(fd, after_milliseconds(milliseconds), call)
}

/// `epoll_pwait2(2)`: as `epoll_pwait`, with a time in nanoseconds.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_pwait2(
    fd: c_int,
    events: *mut epoll_event,
    count: c_int,
    time: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    const AT_ONCE: timespec = timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let (events, count) = (events as usize, count as usize);
    let call = |waits: bool| {
        let wait = if waits {
            time
        } else {
            std::ptr::from_ref(&AT_ONCE)
        };
        let arguments = [fd as usize, events, count, wait as usize, mask as usize, 8];
        // SAFETY: the caller's contract is the system call's.
        unsafe { raw(libc::SYS_epoll_pwait2, arguments) }
    };
    // SAFETY: the caller's contract: null or a readable time.
    let given = unsafe { time.as_ref() };
    if !mask.is_null() || given.is_some_and(|time| !is_valid(time)) {
        return answer_int(in_call(|| call(true)));
    }
    epoll_parking(fd, after(given), call)
}
