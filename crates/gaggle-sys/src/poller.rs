//! epoll and the descriptor that interrupts it.

use crate::call::{close, failed_with, raw};
use std::ffi::c_int;

/// An edge of readiness, as the kernel reported it.
pub type Event = libc::epoll_event;

/// What [`Event`]s of the interrupting descriptor carry instead of a descriptor's number.
pub const INTERRUPT: u64 = u64::MAX;

/// One epoll instance, and an eventfd in it.
#[derive(Debug)]
pub struct Poller {
    epoll: c_int,
    interrupt: c_int,
}

fn check(result: isize) -> std::io::Result<c_int> {
    if result < 0 {
        Err(std::io::Error::from_raw_os_error(-result as i32))
    } else {
        Ok(result as c_int)
    }
}

impl Poller {
    /// Makes the two descriptors.
    ///
    /// # Errors
    /// When the process or the system has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        // SAFETY: takes flags only.
        let epoll = check(unsafe {
            raw(
                libc::SYS_epoll_create1,
                [libc::EPOLL_CLOEXEC as usize, 0, 0, 0, 0, 0],
            )
        })?;
        let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
        // SAFETY: takes a count and flags.
        let interrupt = check(unsafe { raw(libc::SYS_eventfd2, [0, flags as usize, 0, 0, 0, 0]) })
            .inspect_err(|_| {
                close(epoll);
            })?;
        let poller = Poller { epoll, interrupt };
        poller.control(
            libc::EPOLL_CTL_ADD,
            interrupt,
            libc::EPOLLIN as u32,
            INTERRUPT,
        )?;
        Ok(poller)
    }

    fn control(&self, operation: c_int, fd: c_int, events: u32, data: u64) -> std::io::Result<()> {
        let mut event = libc::epoll_event { events, u64: data };
        // SAFETY: the kernel reads one event.
        check(unsafe {
            raw(
                libc::SYS_epoll_ctl,
                [
                    self.epoll as usize,
                    operation as usize,
                    fd as usize,
                    &raw mut event as usize,
                    0,
                    0,
                ],
            )
        })?;
        Ok(())
    }

    /// Registers `fd` for edges of both directions; its events carry `data`. A descriptor that is in
    /// already is asked for anew, so that an edge that is present is reported again.
    ///
    /// # Errors
    /// The kernel's: EPERM for what cannot be polled, EBADF, ENOMEM, ENOSPC.
    pub fn add(&self, fd: c_int, data: u64) -> std::io::Result<()> {
        let kinds = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLPRI | libc::EPOLLRDHUP;
        self.watch(fd, kinds as u32, data)
    }

    /// As [`Poller::add`], for edges of these `kinds` only.
    ///
    /// # Errors
    /// As there.
    pub fn watch(&self, fd: c_int, kinds: u32, data: u64) -> std::io::Result<()> {
        let events = kinds | libc::EPOLLET as u32;
        match self.control(libc::EPOLL_CTL_ADD, fd, events, data) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                self.control(libc::EPOLL_CTL_MOD, fd, events, data)
            }
            other => other,
        }
    }

    /// Takes `fd` out again, while it is still open.
    pub fn remove(&self, fd: c_int) {
        // It may be in no longer, which is as well.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    /// Waits for events, `nanos` at most (`None`: for ever, `Some(0)`: not at all), and answers how
    /// many were written to `events`.
    pub fn wait(&self, events: &mut [Event], nanos: Option<u64>) -> usize {
        let time = libc::timespec {
            tv_sec: (nanos.unwrap_or(0) / 1_000_000_000) as libc::time_t,
            tv_nsec: (nanos.unwrap_or(0) % 1_000_000_000) as libc::c_long,
        };
        let address = events.as_mut_ptr() as usize;
        let time_address = if nanos.is_some() {
            &raw const time as usize
        } else {
            0
        };
        // SAFETY: the kernel writes at most `events.len()` events and reads the time.
        let count = unsafe {
            raw(
                libc::SYS_epoll_pwait2,
                [
                    self.epoll as usize,
                    address,
                    events.len(),
                    time_address,
                    0,
                    0,
                ],
            )
        };
        if failed_with(count, libc::ENOSYS) {
            return self.wait_milliseconds(events, nanos);
        }
        usize::try_from(count).unwrap_or(0)
    }

    /// As `wait`, for kernels before 5.11: whole milliseconds, rounded up.
    fn wait_milliseconds(&self, events: &mut [Event], nanos: Option<u64>) -> usize {
        let milliseconds = match nanos {
            None => -1,
            Some(nanos) => c_int::try_from(nanos.div_ceil(1_000_000)).unwrap_or(c_int::MAX),
        };
        let address = events.as_mut_ptr() as usize;
        // SAFETY: the kernel writes at most `events.len()` events; the signal mask is null.
        let count = unsafe {
            raw(
                libc::SYS_epoll_pwait,
                [
                    self.epoll as usize,
                    address,
                    events.len(),
                    milliseconds as usize,
                    0,
                    8,
                ],
            )
        };
        usize::try_from(count).unwrap_or(0)
    }

    /// Makes a `wait` in progress, or the next one, return.
    pub fn interrupt(&self) {
        let one: u64 = 1;
        // SAFETY: the kernel reads eight bytes. EAGAIN (the counter is full) means it is set already.
        unsafe {
            raw(
                libc::SYS_write,
                [self.interrupt as usize, &raw const one as usize, 8, 0, 0, 0],
            )
        };
    }

    /// Takes the interruption back. Only the thread that blocks in `wait` may do so, else it could
    /// miss one.
    pub fn drain_interrupt(&self) {
        let mut count: u64 = 0;
        // SAFETY: the kernel writes eight bytes, or answers EAGAIN as the descriptor does not block.
        unsafe {
            raw(
                libc::SYS_read,
                [self.interrupt as usize, &raw mut count as usize, 8, 0, 0, 0],
            )
        };
    }

    /// Whether `fd` is one of the poller's own.
    pub fn owns(&self, fd: c_int) -> bool {
        fd == self.epoll || fd == self.interrupt
    }
}
