//! A timer of the kernel that interrupts one OS thread of this process (`timer_create` with
//! `SIGEV_THREAD_ID`).

use crate::call::raw;
use crate::interrupt::SIGNAL;
use std::io;

/// linux/time.h: the time is a point of the clock, not a distance.
const TIMER_ABSTIME: usize = 1;

/// What marks the signals of these timers: nobody else's carry this address.
static OWN: u8 = 0;

fn own() -> *mut libc::c_void {
    (&raw const OWN).cast_mut().cast()
}

/// A timer that sends [`SIGNAL`] to one OS thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm(i32);

impl Alarm {
    /// A timer, not set, for the calling OS thread.
    ///
    /// # Errors
    /// The kernel's, when the user has too many signals pending and timers (`RLIMIT_SIGPENDING`).
    pub fn for_this_thread() -> io::Result<Alarm> {
        // SAFETY: numbers and a pointer that may be null, all of which are valid as zeros.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_value.sival_ptr = own();
        event.sigev_signo = SIGNAL;
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_notify_thread_id = crate::call::thread_id();
        let mut id = 0i32;
        let (event, place) = (&raw const event as usize, &raw mut id as usize);
        let arguments = [libc::CLOCK_MONOTONIC as usize, event, place, 0, 0, 0];
        // SAFETY: the kernel reads the event and writes the number.
        let result = unsafe { raw(libc::SYS_timer_create, arguments) };
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result as i32));
        }
        Ok(Alarm(id))
    }

    /// Sets it to `at` nanoseconds of [`crate::clock::now`]; 0 stops it. Once a call from its own thread
    /// has returned, no signal of an earlier setting comes any more.
    pub fn set(self, at: u64) {
        let mut setting = [0i64; 4]; // interval and value, as seconds and nanoseconds
        setting[2] = (at / 1_000_000_000) as i64;
        setting[3] = (at % 1_000_000_000) as i64;
        let setting = &raw const setting as usize;
        let arguments = [self.0 as usize, TIMER_ABSTIME, setting, 0, 0, 0];
        // SAFETY: the kernel reads two timespecs.
        unsafe { raw(libc::SYS_timer_settime, arguments) };
    }

    /// Ends it.
    pub fn delete(self) {
        // SAFETY: takes a number only.
        unsafe { raw(libc::SYS_timer_delete, [self.0 as usize, 0, 0, 0, 0, 0]) };
    }
}

/// Whether an [`Alarm`] sent this signal.
///
/// # Safety
/// `info` is what the kernel called a handler with.
pub unsafe fn is_from_alarm(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the caller's contract.
    let info = unsafe { &*info };
    // SAFETY: the signal of a timer carries the value that the timer was made with.
    info.si_code == libc::SI_TIMER && unsafe { info.si_value() }.sival_ptr == own()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::{c_int, c_void};
    use std::sync::atomic::{AtomicI32, Ordering};

    static RANG_ON: AtomicI32 = AtomicI32::new(0);

    extern "C" fn on_signal(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
        // SAFETY: this is a handler, with the kernel's arguments.
        if unsafe { is_from_alarm(info) } {
            RANG_ON.store(crate::call::thread_id(), Ordering::Relaxed);
        }
    }

    #[test]
    fn an_alarm_interrupts_its_own_thread_at_its_time_and_not_once_it_is_stopped() {
        crate::interrupt::handle(on_signal).expect("a handler");
        let alarm = Alarm::for_this_thread().expect("a timer");
        // Far ahead, stopped: it never comes. Another thread's setting is for this one all the same.
        alarm.set(crate::clock::now() + 3_600_000_000_000);
        alarm.set(0);
        assert_eq!(RANG_ON.load(Ordering::Relaxed), 0);
        let at = crate::clock::now() + 1_000_000;
        std::thread::spawn(move || alarm.set(at))
            .join()
            .expect("no panic");
        while RANG_ON.load(Ordering::Relaxed) == 0 {
            std::hint::spin_loop();
        }
        assert!(crate::clock::now() >= at);
        assert_eq!(RANG_ON.load(Ordering::Relaxed), crate::call::thread_id());
        alarm.delete();
    }
}
