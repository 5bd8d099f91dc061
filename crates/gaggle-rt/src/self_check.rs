//! The last self-check: a goroutine that tries what per-goroutine thread-local storage must support.

use crate::{m, p, population, sched};
use gaggle_core::contract::{Runtime, SpawnOptions, entry};
pub use gaggle_sys::glibc::Refusal;
use gaggle_sys::glibc::require;
use gaggle_sys::{arch, clock};
use std::mem::MaybeUninit;
use std::panic::Location;
use std::sync::mpsc::{self, Receiver};

/// How long the start spins for the probe, which takes 60 us or so.
const SPIN_NANOS_MAX: u64 = 200_000;

/// The probe goroutine: what it could not do, if anything.
#[derive(Debug)]
pub struct Probe(Receiver<Option<&'static str>>);

impl Probe {
    /// Starts it.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub fn start() -> Result<Probe, Refusal> {
        let (report, result) = mpsc::channel();
        let options = SpawnOptions {
            name: None,
            stack_bytes: None,
            location: Location::caller(),
        };
        let entry = entry(move || {
            let _ = report.send(examine());
        });
        crate::Green::spawn(options, entry)
            .map_err(|error| Refusal::new("probe", error.to_string()))?;
        Ok(Probe(result))
    }

    /// Blocks the calling thread until it has reported.
    ///
    /// # Errors
    /// What it could not do.
    pub fn wait(self) -> Result<(), Refusal> {
        self.spin();
        let failure = self.0.recv().unwrap_or(Some("the probe goroutine died"));
        // It has reported and only ends; whoever counts goroutines next finds none.
        while population::live() != 0 {
            gaggle_sys::call::yield_thread();
        }
        require("probe", failure.is_none(), || {
            failure.unwrap_or_default().to_owned()
        })
    }

    /// Waits for a moment without sleeping, where the M has a processor of its own: to be woken takes half as
    /// long as the probe. And until the M is idle: whoever readied the first goroutine before would find no M
    /// for it and want another.
    fn spin(&self) {
        let until = clock::now() + SPIN_NANOS_MAX;
        let is_over = || population::live() == 0 && m::any_idle();
        while p::count() > 1 && !is_over() && clock::now() < until {
            arch::spin_pause();
        }
    }
}

/// What does not work on the calling goroutine, if anything.
fn examine() -> Option<&'static str> {
    let Some(g) = sched::current() else {
        return Some("the probe is no goroutine");
    };
    // SAFETY: only asks.
    let own = unsafe { libc::pthread_self() } as usize;
    if own != g.fs.get() {
        return Some("pthread_self is not the goroutine's own thread structure");
    }
    if !stack_is_known() {
        return Some("pthread_getattr_np does not report the goroutine's stack");
    }
    if !recursive_mutex_works() {
        return Some("a recursive mutex does not know the goroutine as its owner");
    }
    // Large enough to leave malloc's cache and go to the arena.
    let block = std::hint::black_box(vec![1u8; 4_000]);
    if block.iter().any(|&byte| byte != 1) {
        return Some("malloc does not work on a goroutine");
    }
    if !errno_is_own(g.fs.get()) {
        return Some("errno is not in the goroutine's own storage");
    }
    None
}

/// Resolving a variable through the dynamic linker must end in this goroutine's block, too.
fn errno_is_own(fs: usize) -> bool {
    let below = crate::template().below();
    // SAFETY: answers the address of the calling thread's errno.
    let address = unsafe { libc::__errno_location() } as usize;
    // SAFETY: RTLD_DEFAULT is a valid handle; a thread-local symbol is resolved by __tls_get_addr.
    let resolved = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"errno".as_ptr()) } as usize;
    let block = fs - below..fs;
    block.contains(&address) && (resolved == 0 || resolved == address)
}

fn stack_is_known() -> bool {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: only asks.
    let own = unsafe { libc::pthread_self() };
    // SAFETY: fills the attributes in for the calling thread.
    let result = unsafe { libc::pthread_getattr_np(own, attributes.as_mut_ptr()) };
    if result != 0 {
        return false;
    }
    let (mut base, mut bytes) = (std::ptr::null_mut(), 0);
    // SAFETY: initialised by the call above.
    unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut base, &raw mut bytes) };
    // SAFETY: as above; not used after.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    let here = std::ptr::from_ref(&bytes) as usize;
    (base as usize..base as usize + bytes).contains(&here)
}

fn recursive_mutex_works() -> bool {
    let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    // SAFETY: initialises the attributes.
    unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) };
    // SAFETY: initialised above.
    unsafe {
        libc::pthread_mutexattr_settype(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_RECURSIVE)
    };
    let mut mutex = MaybeUninit::<libc::pthread_mutex_t>::uninit();
    // SAFETY: initialises the mutex.
    unsafe { libc::pthread_mutex_init(mutex.as_mut_ptr(), attributes.as_ptr()) };
    // SAFETY: initialised above.
    let first = unsafe { libc::pthread_mutex_lock(mutex.as_mut_ptr()) };
    // SAFETY: as above; taking it again is what is tried.
    let second = unsafe { libc::pthread_mutex_trylock(mutex.as_mut_ptr()) };
    for _ in 0..2 {
        // SAFETY: taken twice above.
        unsafe { libc::pthread_mutex_unlock(mutex.as_mut_ptr()) };
    }
    // SAFETY: free now, not used after.
    unsafe { libc::pthread_mutex_destroy(mutex.as_mut_ptr()) };
    first == 0 && second == 0
}
