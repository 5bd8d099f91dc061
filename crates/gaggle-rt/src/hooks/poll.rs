//! `poll`, `ppoll` and `epoll_wait`.

use super::{answer_int, failure};
use crate::blocking::in_call;
use crate::g::G;
use crate::netpoll::{self, Counted, Direction, Wait, Waiter};
use crate::sched;
use gaggle_core::contract::{NEVER, Nanos};
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

/// Which directions an entry waits for. Errors and hang-ups, which cannot be left out, count as edges
/// of both.
fn directions(entry: &pollfd) -> impl Iterator<Item = Direction> + use<> {
    let write = entry.events & libc::POLLOUT != 0;
    let read = !write || entry.events & !libc::POLLOUT != 0;
    let read = read.then_some(Direction::Read);
    read.into_iter().chain(write.then_some(Direction::Write))
}

/// `poll` on a goroutine.
fn poll_parking(g: &'static G, entries: &mut [pollfd], deadline: Nanos) -> isize {
    loop {
        let mut waits = Vec::with_capacity(entries.len());
        let ticket = Ticket::of(g.as_task());
        for entry in entries.iter().filter(|entry| entry.fd >= 0) {
            for direction in directions(entry) {
                let observed = netpoll::observe(entry.fd, direction);
                waits.push((Waiter::new(ticket), entry.fd, direction, observed));
            }
        }
        let ready = look(entries);
        if ready != 0 {
            ticket.unused();
            return ready;
        }
        if clock::now() >= deadline {
            ticket.unused();
            return 0;
        }
        let counted = Counted::new();
        let mut edge = false;
        let mut unpollable = false;
        for (waiter, fd, direction, observed) in &waits {
            // SAFETY: the vector does not change until `leave` below.
            match unsafe { waiter.enter(*fd, *direction, *observed) } {
                Ok(true) => {}
                Ok(false) | Err(Wait::Closed) => edge = true,
                Err(_) => unpollable = true,
            }
        }
        if !edge && !unpollable {
            g.wait.begin(gaggle_core::contract::WaitReason::Io);
            sched::park_until(g, ticket, deadline);
        } else if !ticket.cancel() {
            sched::park(g); // T2: somebody claimed the wait
        }
        for (waiter, fd, direction, _) in &waits {
            waiter.leave(*fd, *direction);
        }
        drop(counted);
        if unpollable {
            return in_call(|| poll_blocking(entries, deadline));
        }
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
    let deadline = given.map_or(NEVER, |time| {
        clock::now().saturating_add(clock::nanos_of(time))
    });
    // SAFETY: the caller's contract.
    answer_int(poll_parking(g, unsafe { entries(first, count) }, deadline))
}

/// `epoll_wait(2)`: an epoll descriptor can itself be polled.
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
    let call = |milliseconds: c_int| {
        let arguments = [
            fd as usize,
            events as usize,
            count as usize,
            milliseconds as usize,
            0,
            8,
        ];
        // SAFETY: the caller's contract is the system call's; no signal mask.
        unsafe { raw(libc::SYS_epoll_pwait, arguments) }
    };
    let parking = sched::current().filter(|_| milliseconds != 0);
    let Some(g) = parking else {
        return answer_int(call(milliseconds));
    };
    let deadline = after_milliseconds(milliseconds);
    answer_int(loop {
        let observed = netpoll::observe(fd, Direction::Read);
        let result = call(0);
        if result != 0 {
            break result;
        }
        match netpoll::wait(g, fd, Direction::Read, observed, deadline) {
            Wait::Ready => {}
            Wait::TimedOut => break 0,
            Wait::Closed => break failure(libc::EBADF),
            Wait::Unpollable => break in_call(|| call(milliseconds)),
        }
    })
}
