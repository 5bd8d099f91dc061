//! The dynamic linker, and the texts that libc keeps for each thread.
//!
//! `dlopen` itself needs no hook. It is called on the goroutine, whose number libc's recursive lock
//! knows; variables of a library that are found through the dynamic thread vector work for goroutines
//! as for threads; and a library that demands a place in static thread-local storage is refused by
//! libc, since that has been spent (`gaggle_sys::glibc::ballast`). A hook would hide from libc who
//! calls, and with it the caller's search path.
//!
//! - L1: a library whose destructors of thread-local variables wait for a goroutine's end stays loaded
//!   until they have run.
//! - L2: a text that libc would allocate for a thread and free at its end is kept in memory of ours that
//!   the goroutine frees at its end, since libc's own end of a thread cannot be called.

use crate::g::G;
use crate::{plain, thread_tls};
use gaggle_sys::glibc::modules;
use gaggle_sys::glibc::symbols::Real;
use libc::{c_char, c_int, c_void, locale_t};
use std::cell::Cell;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

static STRERROR: Real = Real::new(c"strerror");
static STRERROR_L: Real = Real::new(c"strerror_l");
/// GNU's, which answers a text that is not in the buffer where there is one.
static STRERROR_R: Real = Real::new(c"strerror_r");
static STRSIGNAL: Real = Real::new(c"strsignal");

/// Finds libc's own functions before the first goroutine.
pub fn resolve_all() {
    for real in [&STRERROR, &STRERROR_L, &STRERROR_R, &STRSIGNAL] {
        real.resolve();
    }
}

/// Keeps the library loaded that `address` lies in (L1): a handle for [`let_go`]; null: it is the
/// program itself, which is never unloaded.
pub fn keep_loaded(address: *mut c_void) -> *mut c_void {
    if modules::is_in_program(address as usize) {
        return null_mut();
    }
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `info` is writable; any address may be asked for.
    if unsafe { libc::dladdr(address, info.as_mut_ptr()) } == 0 {
        return null_mut();
    }
    // SAFETY: zeroed, or filled in.
    let name = unsafe { info.assume_init() }.dli_fname;
    if name.is_null() {
        return null_mut();
    }
    // SAFETY: the name is the dynamic linker's own; a library that is loaded runs no code now.
    unsafe { libc::dlopen(name, libc::RTLD_LAZY | libc::RTLD_NOLOAD) }
}

/// Lets go of what [`keep_loaded`] answered.
pub fn let_go(handle: *mut c_void) {
    if !handle.is_null() {
        // SAFETY: a handle of ours, given back once.
        unsafe { libc::dlclose(handle) };
    }
}

/// Frees the message of the goroutine's last failed call to the dynamic linker, if there is one: asked
/// for it again, libc frees it.
pub fn forget_errors() {
    // SAFETY: asks only.
    let message = unsafe { libc::dlerror() };
    if !message.is_null() {
        // SAFETY: as above; the message is used by nobody.
        unsafe { libc::dlerror() };
    }
}

/// Room for "Unknown error" with a number.
const TEXT_BYTES: usize = 64;

thread_local! {
    /// The goroutine's text (L2); null until it needs one.
    static TEXT: Cell<*mut c_char> = const { Cell::new(null_mut()) };
}

/// Frees the goroutine's text at its end. A destructor that runs later gets another.
unsafe extern "C" fn free_text(text: *mut c_void) {
    TEXT.set(null_mut());
    // SAFETY: malloc's, freed once.
    unsafe { libc::free(text) };
}

/// The goroutine's text; null where memory is out.
fn text_of(g: &'static G) -> *mut c_char {
    if TEXT.get().is_null() {
        // SAFETY: malloc may be asked for any size.
        let text = unsafe { libc::malloc(TEXT_BYTES) };
        if text.is_null() || !thread_tls::register(g, free_text, text, null_mut()) {
            // SAFETY: malloc's, or null.
            unsafe { libc::free(text) };
            return null_mut();
        }
        TEXT.set(text.cast());
    }
    TEXT.get()
}

/// The text for an error that libc has no own text for, in the goroutine's memory; `None`: libc has
/// one, or no goroutine calls.
fn unknown_error(number: c_int) -> Option<*mut c_char> {
    type Real = unsafe extern "C" fn(c_int, *mut c_char, usize) -> *mut c_char;
    let g = plain::owner()?;
    let mut trial = [0 as c_char; TEXT_BYTES];
    // SAFETY: libc's function of this name has this type.
    let real = unsafe { std::mem::transmute::<usize, Real>(STRERROR_R.resolve()) };
    // SAFETY: the buffer is ours, of the size that is said.
    let answer = unsafe { real(number, trial.as_mut_ptr(), TEXT_BYTES) };
    if answer != trial.as_mut_ptr() {
        return None;
    }
    Some(keep(text_of(g), &trial))
}

/// Copies a text to where it stays; what cannot be kept is said in general words.
fn keep(place: *mut c_char, text: &[c_char; TEXT_BYTES]) -> *mut c_char {
    if place.is_null() {
        return c"Unknown error".as_ptr().cast_mut();
    }
    // SAFETY: the goroutine's own memory, of this size.
    unsafe { place.cast::<[c_char; TEXT_BYTES]>().write(*text) };
    place
}

/// `strerror(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strerror(number: c_int) -> *mut c_char {
    unknown_error(number).unwrap_or_else(|| {
        // SAFETY: libc's function of this name has this type.
        let real: unsafe extern "C" fn(c_int) -> *mut c_char =
            unsafe { std::mem::transmute(STRERROR.resolve()) };
        // SAFETY: the caller's contract.
        unsafe { real(number) }
    })
}

/// `strerror_l(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strerror_l(number: c_int, locale: locale_t) -> *mut c_char {
    unknown_error(number).unwrap_or_else(|| {
        // SAFETY: libc's function of this name has this type.
        let real: unsafe extern "C" fn(c_int, locale_t) -> *mut c_char =
            unsafe { std::mem::transmute(STRERROR_L.resolve()) };
        // SAFETY: the caller's contract.
        unsafe { real(number, locale) }
    })
}

/// `strsignal(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strsignal(signal: c_int) -> *mut c_char {
    const NAMED: std::ops::RangeInclusive<c_int> = 1..=31;
    let Some(g) = plain::owner().filter(|_| !NAMED.contains(&signal)) else {
        // SAFETY: libc's function of this name has this type.
        let real: unsafe extern "C" fn(c_int) -> *mut c_char =
            unsafe { std::mem::transmute(STRSIGNAL.resolve()) };
        // SAFETY: the caller's contract.
        return unsafe { real(signal) };
    };
    let first = libc::SIGRTMIN();
    let (words, number): (&CStr, c_int) = if (first..=libc::SIGRTMAX()).contains(&signal) {
        (c"Real-time signal ", signal - first)
    } else {
        (c"Unknown signal ", signal)
    };
    let mut text = [0 as c_char; TEXT_BYTES];
    let digits = number.to_string();
    let bytes = words.to_bytes().iter().chain(digits.as_bytes());
    for (place, &byte) in text.iter_mut().zip(bytes) {
        *place = byte as c_char;
    }
    keep(text_of(g), &text)
}
