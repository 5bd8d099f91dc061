//! The end of a goroutine's thread-local storage: destructors, and what libc allocated for it.
//!
//! - D1: every destructor registered by a goroutine runs once, on that goroutine, the last registered
//!   first, before its storage is reused. Destructors may register more: the rounds go on until
//!   nothing is left (four rounds of pthread keys at most, as POSIX says).
//! - D2: a pthread key's destructor is looked up when the goroutine ends, so that one of a deleted key
//!   never runs.
//!
//! Destructors arrive by the hook on `__cxa_thread_atexit_impl`, keys by those on
//! `pthread_key_create` and `pthread_key_delete`.

use crate::g::G;
use crate::hooks::loader;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// A destructor's function.
pub type DestructorFn = unsafe extern "C" fn(*mut c_void);

/// One registered destructor, in a list. Nearly all goroutines have some, so it is as small as can be: one
/// whose library is to be kept loaded is a [`KeptDestructor`], which the lowest bit of `next` tells.
#[derive(Debug)]
pub struct Destructor {
    function: DestructorFn,
    object: *mut c_void,
    next: *mut Destructor,
}

/// A destructor in a library.
#[repr(C)]
struct KeptDestructor {
    destructor: Destructor,
    /// What keeps its library loaded until it has run.
    library: *mut c_void,
}

/// Set in `next` of a [`KeptDestructor`]; nodes are aligned to more than a byte.
const KEPT: usize = 1;

/// Registers a destructor with the calling goroutine; `false` where memory is out. `module` is an address
/// in the library that it belongs to, which stays loaded meanwhile (null: the program itself).
pub fn register(g: &G, function: DestructorFn, object: *mut c_void, module: *mut c_void) -> bool {
    let library = loader::keep_loaded(module);
    let kept = !library.is_null();
    let bytes = if kept {
        size_of::<KeptDestructor>()
    } else {
        size_of::<Destructor>()
    };
    // SAFETY: malloc may be asked for any size; this is a goroutine, not a scheduler's stack.
    let node = unsafe { libc::malloc(bytes) }.cast::<Destructor>();
    if node.is_null() {
        loader::let_go(library);
        return false;
    }
    let destructor = Destructor {
        function,
        object,
        next: g
            .destructors
            .get()
            .map_addr(|next| next | usize::from(kept)),
    };
    if kept {
        // SAFETY: malloc answered enough aligned memory, for the larger kind.
        unsafe {
            node.cast::<KeptDestructor>().write(KeptDestructor {
                destructor,
                library,
            })
        };
    } else {
        // SAFETY: malloc answered enough aligned memory.
        unsafe { node.write(destructor) };
    }
    g.destructors.set(node);
    true
}

/// glibc's PTHREAD_KEYS_MAX.
const KEYS: usize = 1024;
/// POSIX's PTHREAD_DESTRUCTOR_ITERATIONS, as glibc has it.
const KEY_ROUNDS: usize = 4;

static KEY_DESTRUCTORS: [AtomicUsize; KEYS] = [const { AtomicUsize::new(0) }; KEYS];
/// One more than the highest key that ever had a destructor.
static KEY_BOUND: AtomicU32 = AtomicU32::new(0);

/// Notes that `key` exists and has this destructor (0: none).
pub fn key_created(key: libc::pthread_key_t, destructor: usize) {
    if let Some(entry) = KEY_DESTRUCTORS.get(key as usize) {
        // Release: pairs with the Acquire in `run_keys`.
        entry.store(destructor, Ordering::Release);
        if destructor != 0 {
            // Release: pairs with the Acquire in `run_keys`; the entry is written before the bound.
            KEY_BOUND.fetch_max(key + 1, Ordering::Release);
        }
    }
}

/// Notes that `key` is deleted (D2).
pub fn key_deleted(key: libc::pthread_key_t) {
    if let Some(entry) = KEY_DESTRUCTORS.get(key as usize) {
        // Release: as in `key_created`.
        entry.store(0, Ordering::Release);
    }
}

/// Runs all destructors of the calling goroutine (D1). They are user code and may park.
pub fn run_destructors(g: &G) {
    for _ in 0..=KEY_ROUNDS {
        run_list(g);
        if !run_keys() {
            break;
        }
    }
    run_list(g);
    loader::forget_errors();
}

fn run_list(g: &G) {
    loop {
        let node = g.destructors.get();
        if node.is_null() {
            return;
        }
        // SAFETY: the list holds nodes that `register` wrote; this one is taken out and freed here.
        let Destructor {
            function,
            object,
            next,
        } = unsafe { node.read() };
        let library = if next.addr() & KEPT == 0 {
            null_mut()
        } else {
            // SAFETY: the bit says that `register` wrote the larger kind.
            unsafe { (*node.cast::<KeptDestructor>()).library }
        };
        g.destructors.set(next.map_addr(|next| next & !KEPT));
        // SAFETY: malloc's, freed once.
        unsafe { libc::free(node.cast()) };
        // SAFETY: registered for this object on this goroutine, and called once.
        unsafe { function(object) };
        loader::let_go(library);
    }
}

/// One round over the keys; whether any destructor ran.
fn run_keys() -> bool {
    let mut any = false;
    // Acquire: pairs with the Release in `key_created`.
    let bound = KEY_BOUND.load(Ordering::Acquire);
    for key in 0..bound {
        // Acquire: pairs with the Release in `key_created` and `key_deleted`.
        let destructor = KEY_DESTRUCTORS[key as usize].load(Ordering::Acquire);
        if destructor == 0 {
            continue;
        }
        // SAFETY: any key may be asked for; one that was deleted since answers null.
        let value = unsafe { libc::pthread_getspecific(key) };
        if value.is_null() {
            continue;
        }
        // SAFETY: the key exists, as it has a value.
        unsafe { libc::pthread_setspecific(key, null_mut()) };
        // SAFETY: the address was given to pthread_key_create as a function of this type.
        let function: DestructorFn = unsafe { std::mem::transmute(destructor) };
        // SAFETY: POSIX: called with the key's value of the ending thread.
        unsafe { function(value) };
        any = true;
    }
    any
}
