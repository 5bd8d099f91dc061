//! epoll, the descriptor that interrupts it, and the timer that ends a wait.
//!
//! The timer takes the place of epoll's own time limit, because that is not kept to: the kernel lets it pass
//! by the thread's timer slack (50 us, unless the thread asks for less) or by a thousandth of the time,
//! whichever is more (`select_estimate_accuracy` in its fs/select.c). A timer descriptor has no slack.

use crate::call::{close, raw};
use crate::clock::timespec_of;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};

/// An edge of readiness, as the kernel reported it.
pub type Event = libc::epoll_event;

/// What [`Event`]s of the interrupting descriptor carry instead of a descriptor's number.
pub const INTERRUPT: u64 = u64::MAX;

/// What events of the timer carry.
pub const TIMER: u64 = u64::MAX - 1;

/// The timer is not set, and has nothing to report; as a deadline: never.
const UNSET: u64 = u64::MAX;

/// The timer has reported its end, and does so again until it is set.
const REPORTED: u64 = 0;

/// One epoll instance, and an eventfd and a timer in it.
#[derive(Debug)]
pub struct Poller {
    epoll: c_int,
    interrupt: c_int,
    timer: c_int,
    /// What the timer is set for, [`UNSET`] or [`REPORTED`]. Only the thread that waits with a deadline
    /// touches it.
    set_for: AtomicU64,
}

fn check(result: isize) -> std::io::Result<c_int> {
    if result < 0 {
        Err(std::io::Error::from_raw_os_error(-result as i32))
    } else {
        Ok(result as c_int)
    }
}

impl Poller {
    /// Makes the three descriptors.
    ///
    /// # Errors
    /// When the process or the system has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let make = |number, arguments: [c_int; 2]| {
            let arguments = arguments.map(|argument| argument as usize);
            // SAFETY: the three calls below take numbers only.
            check(unsafe { raw(number, [arguments[0], arguments[1], 0, 0, 0, 0]) })
        };
        let mut poller = Poller {
            epoll: make(libc::SYS_epoll_create1, [libc::EPOLL_CLOEXEC, 0])?,
            interrupt: -1,
            timer: -1,
            set_for: AtomicU64::new(UNSET),
        };
        let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
        poller.interrupt = make(libc::SYS_eventfd2, [0, flags])?;
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        poller.timer = make(libc::SYS_timerfd_create, [libc::CLOCK_MONOTONIC, flags])?;
        for (fd, data) in [(poller.interrupt, INTERRUPT), (poller.timer, TIMER)] {
            poller.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN as u32, data)?;
        }
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

    /// Takes the events that are there, without waiting, and answers how many were written to `events`.
    pub fn poll(&self, events: &mut [Event]) -> usize {
        self.take(events, 0)
    }

    /// As [`Poller::poll`], but waits until there is one.
    pub fn wait(&self, events: &mut [Event]) -> usize {
        self.take(events, -1)
    }

    /// As [`Poller::wait`], until the clock ([`crate::clock::now`]) shows `deadline` at the latest
    /// (`u64::MAX`: for ever); an event of the timer says that it does. One thread at a time does this.
    pub fn wait_until(&self, events: &mut [Event], deadline: u64) -> usize {
        // Relaxed (both): one thread at a time, and what hands that role on orders them.
        let set_for = self.set_for.load(Ordering::Relaxed);
        // A timer that is set for earlier, when none is wanted, ends one wait for nothing.
        if set_for != deadline && (set_for == REPORTED || deadline != UNSET) {
            self.set(deadline);
        }
        let count = self.wait(events);
        if events[..count].iter().any(|event| event.u64 == TIMER) {
            self.set_for.store(REPORTED, Ordering::Relaxed);
        }
        count
    }

    /// Sets the timer, which forgets what it has not reported.
    fn set(&self, deadline: u64) {
        let value = match deadline {
            UNSET => 0,
            deadline => deadline.max(1), // 0 would unset it
        };
        let time = libc::itimerspec {
            it_interval: timespec_of(0),
            it_value: timespec_of(value),
        };
        // SAFETY: the kernel reads one specification, and writes none to the null address.
        let result = unsafe {
            raw(
                libc::SYS_timerfd_settime,
                [
                    self.timer as usize,
                    libc::TFD_TIMER_ABSTIME as usize,
                    &raw const time as usize,
                    0,
                    0,
                    0,
                ],
            )
        };
        assert_eq!(result, 0, "the netpoller's timer cannot be set");
        // Relaxed: as above.
        self.set_for.store(deadline, Ordering::Relaxed);
    }

    fn take(&self, events: &mut [Event], milliseconds: c_int) -> usize {
        // SAFETY: the kernel writes at most `events.len()` events; the signal mask is null.
        let count = unsafe {
            raw(
                libc::SYS_epoll_pwait,
                [
                    self.epoll as usize,
                    events.as_mut_ptr() as usize,
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
        [self.epoll, self.interrupt, self.timer].contains(&fd)
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        for fd in [self.timer, self.interrupt, self.epoll] {
            if fd >= 0 {
                close(fd);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    const MILLISECOND: u64 = 1_000_000;

    fn data(events: &[Event]) -> Vec<u64> {
        events.iter().map(|event| event.u64).collect()
    }

    fn wait_until(poller: &Poller, deadline: u64) -> Vec<u64> {
        let mut events = [Event { events: 0, u64: 0 }; 4];
        let count = poller.wait_until(&mut events, deadline);
        data(&events[..count])
    }

    #[test]
    fn the_timer_ends_a_wait_at_its_deadline_and_not_before() {
        let poller = Poller::new().unwrap();
        for _ in 0..20 {
            let deadline = now() + MILLISECOND;
            assert_eq!(wait_until(&poller, deadline), [TIMER]);
            assert!(now() >= deadline);
        }
        for past in [0, 1, now()] {
            assert_eq!(wait_until(&poller, past), [TIMER]);
        }
    }

    #[test]
    fn the_same_deadline_ends_each_wait_that_begins_after_it() {
        let poller = Poller::new().unwrap();
        let deadline = now();
        assert_eq!(wait_until(&poller, deadline), [TIMER]);
        assert_eq!(wait_until(&poller, deadline), [TIMER]);
    }

    #[test]
    fn a_timer_that_has_reported_does_not_end_the_next_wait() {
        for next in [UNSET, now() + 60_000 * MILLISECOND] {
            let poller = Poller::new().unwrap();
            assert_eq!(wait_until(&poller, now()), [TIMER]);
            poller.interrupt();
            assert_eq!(wait_until(&poller, next), [INTERRUPT]);
        }
    }

    #[test]
    fn a_later_deadline_takes_the_place_of_one_that_nobody_saw_pass() {
        let poller = Poller::new().unwrap();
        poller.interrupt();
        let before = now() + MILLISECOND;
        assert_eq!(wait_until(&poller, before), [INTERRUPT]);
        while now() <= before + MILLISECOND {
            crate::clock::sleep(MILLISECOND);
        }
        let mut events = [Event { events: 0, u64: 0 }; 4];
        let count = poller.poll(&mut events);
        assert_eq!(data(&events[..count]), [INTERRUPT, TIMER]);
        // Who polls without waiting takes neither from the one who waits.
        poller.drain_interrupt();
        let deadline = now() + 5 * MILLISECOND;
        assert_eq!(wait_until(&poller, deadline), [TIMER]);
        assert!(now() >= deadline);
    }

    #[test]
    fn an_interruption_ends_a_wait_without_a_deadline() {
        let poller = Poller::new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| poller.interrupt());
            assert_eq!(wait_until(&poller, UNSET), [INTERRUPT]);
        });
    }
}
