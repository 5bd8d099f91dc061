//! `select` and `pselect`.
//!
//! The kernel looks at the sets, so that the answers, a bad descriptor's too, are its own; the
//! netpoller only says when to look again.

use super::poll::{Parked, Watched, after, park_until_any};
use super::sleep::is_valid;
use super::{answer_int, failure};
use crate::blocking::in_call;
use crate::g::G;
use crate::netpoll::Direction;
use crate::sched;
use gaggle_core::contract::Nanos;
use gaggle_sys::call::raw;
use gaggle_sys::clock;
use libc::{c_int, fd_set, sigset_t, timespec, timeval};

/// Bits in a word of a set.
const WORD_BITS: usize = usize::BITS as usize;

/// The three sets of a call, of `words` words each; null ones are left out.
struct Sets {
    descriptors: c_int,
    places: [*mut usize; 3],
    words: usize,
    /// What the caller asked for: the kernel overwrites the sets with its answer.
    asked: [Vec<usize>; 3],
}

impl Sets {
    /// # Safety
    /// The sets are null or have room for `descriptors` bits, in whole words.
    unsafe fn new(descriptors: c_int, places: [*mut fd_set; 3]) -> Self {
        let words = usize::try_from(descriptors).map_or(0, |bits| bits.div_ceil(WORD_BITS));
        Sets {
            descriptors,
            places: places.map(<*mut fd_set>::cast::<usize>),
            words,
            asked: [const { Vec::new() }; 3],
        }
    }

    /// Copies what the caller asked for. It allocates, so only a goroutine may call it (K3).
    fn remember(&mut self) {
        for (place, asked) in self.places.iter().zip(&mut self.asked) {
            if !place.is_null() {
                // SAFETY: `new`'s contract.
                *asked = unsafe { std::slice::from_raw_parts(*place, self.words) }.to_vec();
            }
        }
    }

    /// What the sets name. Exceptional conditions come with edges of reading.
    fn watched(&self) -> Vec<Watched> {
        let directions = [Direction::Read, Direction::Write, Direction::Read];
        let mut watched = Vec::new();
        for (asked, direction) in self.asked.iter().zip(directions) {
            for fd in 0..self.descriptors {
                let word = asked.get(fd as usize / WORD_BITS).copied().unwrap_or(0);
                if word >> (fd as usize % WORD_BITS) & 1 == 1 {
                    watched.push((fd, direction));
                }
            }
        }
        watched
    }

    /// Puts back what the caller asked for.
    fn restore(&self) {
        for (place, asked) in self.places.iter().zip(&self.asked) {
            // SAFETY: `new`'s contract: the set has as many words as were read from it.
            unsafe { std::ptr::copy_nonoverlapping(asked.as_ptr(), *place, asked.len()) };
        }
    }

    /// Empties the sets, as the kernel leaves them when the time is over.
    fn clear(&self) {
        for place in self.places.iter().filter(|place| !place.is_null()) {
            // SAFETY: as in `restore`.
            unsafe { std::ptr::write_bytes(*place, 0, self.words) };
        }
    }

    /// The system call with a time (`None`: for ever) and a mask packed as the kernel wants them.
    fn call(&self, time: Option<timespec>, mask: *const sigset_t) -> isize {
        let mut copy = time;
        let time_address = copy.as_mut().map_or(0, |time| &raw mut *time as usize);
        let packed = [mask as usize, 8];
        let [read, write, except] = self.places.map(|place| place as usize);
        let arguments = [
            self.descriptors as usize,
            read,
            write,
            except,
            time_address,
            packed.as_ptr() as usize,
        ];
        // SAFETY: the sets are the caller's; time and mask live here.
        unsafe { raw(libc::SYS_pselect6, arguments) }
    }
}

const AT_ONCE: timespec = timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// `pselect` on a goroutine, without a mask.
fn parking(g: &'static G, sets: &mut Sets, time: Option<timespec>) -> isize {
    sets.remember();
    let sets = &*sets;
    let deadline: Nanos = after(time.as_ref());
    let mut first = true;
    let parked = park_until_any(g, &sets.watched(), deadline, || {
        if !std::mem::replace(&mut first, false) {
            sets.restore();
        }
        sets.call(Some(AT_ONCE), std::ptr::null())
    });
    match parked {
        Parked::Answer(0) => {
            sets.clear();
            0
        }
        Parked::Answer(result) => {
            if result < 0 {
                sets.restore(); // a failed call changes nothing
            }
            result
        }
        Parked::Unpollable => {
            sets.restore();
            let left = time.map(|_| spec_of(deadline.saturating_sub(clock::now())));
            in_call(|| sets.call(left, std::ptr::null()))
        }
    }
}

/// A length of time as the kernel takes it.
fn spec_of(nanos: Nanos) -> timespec {
    timespec {
        tv_sec: (nanos / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
    }
}

/// `pselect(2)`; with a signal mask, which belongs to the OS thread, it takes the hand-off path.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pselect(
    descriptors: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    time: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: the caller's contract.
    let mut sets = unsafe { Sets::new(descriptors, [read, write, except]) };
    // SAFETY: the caller's contract: null or a readable time.
    let time = unsafe { time.as_ref() }.copied();
    let valid = descriptors >= 0 && time.as_ref().is_none_or(is_valid);
    answer_int(match sched::current() {
        Some(g) if mask.is_null() && valid => parking(g, &mut sets, time),
        _ => in_call(|| sets.call(time, mask)),
    })
}

/// `select(2)`; as Linux does, it leaves in `time` what was left of it.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn select(
    descriptors: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    time: *mut timeval,
) -> c_int {
    let begun = clock::now();
    // SAFETY: the caller's contract: null or a readable time.
    let given = unsafe { time.as_ref() }.copied();
    if given.is_some_and(|time| time.tv_sec < 0 || time.tv_usec < 0) {
        return answer_int(failure(libc::EINVAL));
    }
    let wanted = given.map(|time| timespec {
        tv_sec: time.tv_sec.saturating_add(time.tv_usec / 1_000_000),
        tv_nsec: time.tv_usec % 1_000_000 * 1_000,
    });
    // SAFETY: the caller's contract, without a mask.
    let result = unsafe {
        let address = wanted.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        pselect(descriptors, read, write, except, address, std::ptr::null())
    };
    if let Some(wanted) = &wanted {
        let took = clock::now().saturating_sub(begun);
        let left = spec_of(clock::nanos_of(wanted).saturating_sub(took));
        let left = timeval {
            tv_sec: left.tv_sec,
            tv_usec: left.tv_nsec / 1_000,
        };
        // SAFETY: the caller's contract: a writable time, not null as it was read.
        unsafe { time.write(left) };
    }
    result
}
