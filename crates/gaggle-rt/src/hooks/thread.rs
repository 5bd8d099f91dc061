//! Threads: thread-local destructors, pthread keys, attributes.

use crate::plain;
use crate::{sched, thread_tls};
use gaggle_sys::glibc::symbols::{self, Real};
use gaggle_sys::signal;
use libc::{c_int, c_void, pthread_attr_t, pthread_key_t, pthread_t};
use std::sync::atomic::{AtomicUsize, Ordering};

static CXA_THREAD_ATEXIT: Real = Real::new(c"__cxa_thread_atexit_impl");
static CREATE: Real = Real::new(c"pthread_create");
static KEY_CREATE: Real = Real::new(c"pthread_key_create");
static KEY_DELETE: Real = Real::new(c"pthread_key_delete");
static GETATTR: Real = Real::new(c"pthread_getattr_np");

/// glibc 2.32 and later.
static ATTR_GETSIGMASK: AtomicUsize = AtomicUsize::new(0);

/// Finds libc's own functions before the first goroutine.
pub fn resolve_all() {
    for real in [
        &CXA_THREAD_ATEXIT,
        &CREATE,
        &KEY_CREATE,
        &KEY_DELETE,
        &GETATTR,
    ] {
        real.resolve();
    }
    let get = symbols::data(c"pthread_attr_getsigmask_np").map_or(0, |address| address as usize);
    // Relaxed: before the first goroutine.
    ATTR_GETSIGMASK.store(get, Ordering::Relaxed);
}

/// Registers a destructor of the calling thread's (or goroutine's) thread-local storage.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __cxa_thread_atexit_impl(
    function: thread_tls::DestructorFn,
    object: *mut c_void,
    module: *mut c_void,
) -> c_int {
    if let Some(g) = plain::owner() {
        return if thread_tls::register(g, function, object, module) {
            0
        } else {
            -1
        };
    }
    type Function =
        unsafe extern "C" fn(thread_tls::DestructorFn, *mut c_void, *mut c_void) -> c_int;
    // SAFETY: libc's function of this name has this type.
    let real: Function = unsafe { std::mem::transmute(CXA_THREAD_ATEXIT.resolve()) };
    // SAFETY: the caller's contract.
    unsafe { real(function, object, module) }
}

/// `pthread_key_create(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_key_create(key: *mut pthread_key_t, destructor: usize) -> c_int {
    type Function = unsafe extern "C" fn(*mut pthread_key_t, usize) -> c_int;
    // SAFETY: libc's function of this name has this type (the destructor is a nullable pointer).
    let real: Function = unsafe { std::mem::transmute(KEY_CREATE.resolve()) };
    // SAFETY: the caller's contract.
    let result = unsafe { real(key, destructor) };
    if result == 0 {
        // SAFETY: the call succeeded, so it wrote the key.
        thread_tls::key_created(unsafe { *key }, destructor);
    }
    result
}

/// `pthread_key_delete(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_key_delete(key: pthread_key_t) -> c_int {
    thread_tls::key_deleted(key);
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(pthread_key_t) -> c_int =
        unsafe { std::mem::transmute(KEY_DELETE.resolve()) };
    // SAFETY: the caller's contract.
    unsafe { real(key) }
}

/// `pthread_getattr_np(3)`: asks the kernel about the thread by its number, so on a goroutine the M's
/// number stands in for the time of the call.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_getattr_np(
    thread: pthread_t,
    attributes: *mut pthread_attr_t,
) -> c_int {
    // SAFETY: libc's function of this name has this type.
    let real: unsafe extern "C" fn(pthread_t, *mut pthread_attr_t) -> c_int =
        unsafe { std::mem::transmute(GETATTR.resolve()) };
    let own = sched::current().filter(|g| g.fs.get() == thread as usize);
    let Some(g) = own else {
        // SAFETY: the caller's contract.
        return unsafe { real(thread, attributes) };
    };
    let field = crate::template().tid_field(g.fs.get());
    // SAFETY: the goroutine's own control block, which nobody else writes.
    let number = unsafe {
        field.replace(
            g.machine()
                .thread_id
                .load(std::sync::atomic::Ordering::Relaxed) as u32,
        )
    };
    // SAFETY: the caller's contract; the goroutine stays on its M during the call.
    let result = unsafe { real(thread, attributes) };
    // SAFETY: as above.
    unsafe { field.write(number) };
    result
}

/// What a thread that a goroutine made begins with.
struct Beginning {
    function: StartRoutine,
    argument: *mut c_void,
    mask: signal::Set,
}

/// A thread that ends by `pthread_exit` or is cancelled unwinds through these.
type StartRoutine = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// A thread's first function: takes the mask of the goroutine that made it.
unsafe extern "C-unwind" fn begin(beginning: *mut c_void) -> *mut c_void {
    let place = beginning.cast::<Beginning>();
    // SAFETY: `pthread_create` passes what it allocated for this thread.
    let Beginning {
        function,
        argument,
        mask,
    } = unsafe { place.read() };
    // SAFETY: malloc's, freed once.
    unsafe { libc::free(beginning) };
    signal::set_mask(mask);
    // SAFETY: the function and its argument are those of the caller of `pthread_create`.
    unsafe { function(argument) }
}

/// Whether the attributes say with which mask the thread is to begin.
///
/// # Safety
/// Null or initialised.
unsafe fn has_mask(attributes: *const pthread_attr_t) -> bool {
    type GetMask = unsafe extern "C" fn(*const pthread_attr_t, *mut libc::sigset_t) -> c_int;
    // Relaxed: written once, before the first goroutine.
    let known = ATTR_GETSIGMASK.load(Ordering::Relaxed);
    if attributes.is_null() || known == 0 {
        return false;
    }
    // SAFETY: libc's function of this name has this type.
    let get = unsafe { std::mem::transmute::<usize, GetMask>(known) };
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: the caller's contract; it answers PTHREAD_ATTR_NO_SIGMASK_NP (-1) where there is none.
    unsafe { get(attributes, set.as_mut_ptr()) == 0 }
}

/// `pthread_create(3)`: a new thread has the signal mask of the one that made it; an M's is not that of
/// its goroutine.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    function: StartRoutine,
    argument: *mut c_void,
) -> c_int {
    type Create = unsafe extern "C" fn(
        *mut pthread_t,
        *const pthread_attr_t,
        StartRoutine,
        *mut c_void,
    ) -> c_int;
    // SAFETY: libc's function of this name has this type.
    let real = unsafe { std::mem::transmute::<usize, Create>(CREATE.resolve()) };
    // SAFETY: the caller's contract.
    let Some(g) = sched::current().filter(|_| !unsafe { has_mask(attributes) }) else {
        // SAFETY: the caller's contract.
        return unsafe { real(thread, attributes, function, argument) };
    };
    // SAFETY: malloc may be asked for any size.
    let place = unsafe { libc::malloc(size_of::<Beginning>()) }.cast::<Beginning>();
    if place.is_null() {
        return libc::EAGAIN;
    }
    // SAFETY: malloc answered enough aligned memory.
    unsafe {
        place.write(Beginning {
            function,
            argument,
            mask: g.signal_mask(),
        })
    };
    // SAFETY: the caller's contract; `begin` takes what was written.
    let result = unsafe { real(thread, attributes, begin, place.cast()) };
    if result != 0 {
        // SAFETY: no thread was made that would free it.
        unsafe { libc::free(place.cast()) };
    }
    result
}
