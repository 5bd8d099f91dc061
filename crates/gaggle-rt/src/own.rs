//! What a goroutine knows of itself by its thread-local storage: which it is, and where it runs (W5 of
//! [`crate::sched`]).

use crate::g::G;
use crate::m::M;
use crate::p::P;
use gaggle_sys::arch;
use std::cell::Cell;

/// What a goroutine's thread-local storage says of it.
struct Own {
    /// The goroutine whose storage this is; constant for its life (W5).
    g: Cell<Option<&'static G>>,
    /// The M that runs it, which `on` says as well (G3): here the goroutine finds it by one load.
    m: Cell<Option<&'static M>>,
    /// The P that the M held when this was last asked; written by the goroutine itself.
    p: Cell<Option<&'static P>>,
}

thread_local! {
    /// W5; on other threads nothing.
    static OWN: Own = const { Own { g: Cell::new(None), m: Cell::new(None), p: Cell::new(None) } };
}

/// The goroutine that runs the caller; `None` on an M's own stack and on foreign threads.
#[inline(always)]
pub fn current() -> Option<&'static G> {
    OWN.with(|own| own.g.get())
}

/// Makes the caller no goroutine, or its own again ([`crate::plain`]).
pub fn set_current(g: Option<&'static G>) {
    OWN.with(|own| own.g.set(g));
}

/// The M that runs the calling goroutine, which is `g`.
#[inline(always)]
pub fn machine_of_caller(g: &'static G) -> &'static M {
    OWN.with(|own| own.m.get()).unwrap_or_else(|| g.machine())
}

/// The P of `m`, which runs the calling goroutine in a section. As a rule it is the one that it was before: then
/// what is read by way of it does not wait for `m`, and the switch comes the sooner.
#[inline(always)]
pub fn processor_of_caller(m: &'static M) -> Option<&'static P> {
    let before = OWN.with(|own| own.p.get());
    let now = m.p();
    if std::ptr::eq(address(before), address(now)) {
        before
    } else {
        note_processor(now)
    }
}

fn address(p: Option<&'static P>) -> *const P {
    p.map_or(std::ptr::null(), std::ptr::from_ref)
}

#[cold]
#[inline(never)]
fn note_processor(p: Option<&'static P>) -> Option<&'static P> {
    OWN.with(|own| own.p.set(p));
    p
}

/// The goroutine whose thread control block is at `fs`, which a `pthread_t` of a goroutine is.
///
/// # Safety
/// `fs` is the FS base of a slot.
pub unsafe fn owner_of_thread(fs: usize) -> Option<&'static G> {
    // SAFETY: the place is in that block, which lives as long as its slot, for ever.
    let cell = unsafe { &raw const (*own_of(fs)).g }.cast::<Option<&'static G>>();
    // SAFETY: as above (W5). Its owner may change it at this moment, to none and back.
    unsafe { cell.read_volatile() }
}

/// Says whose storage it is.
///
/// # Safety
/// `fs` is the FS base of a slot whose block has been written, and `g`, whose slot that is, does not run.
pub unsafe fn set_goroutine(fs: usize, g: &'static G) {
    // SAFETY: the caller's contract: the block is whole, and nobody else touches the place.
    unsafe { (*own_of(fs)).g.set(Some(g)) };
}

/// Says which M runs the goroutine whose storage it is.
///
/// # Safety
/// As for [`set_goroutine`]; the goroutine is about to run on `m`.
pub unsafe fn set_machine(fs: usize, m: &'static M) {
    // SAFETY: as above.
    unsafe { (*own_of(fs)).m.set(Some(m)) };
}

/// The place of [`OWN`] in the thread-local storage of the FS base `fs`: as far from it as in every thread.
fn own_of(fs: usize) -> *const Own {
    let address = OWN.with(|own| std::ptr::from_ref(own) as usize);
    fs.wrapping_add(address.wrapping_sub(arch::fs_base())) as *const Own
}
