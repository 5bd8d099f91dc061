//! Which spawn sites need larger stacks than the default: learnt from goroutines that ended.
//!
//! A goroutine that used more than half of its reservation raises the reservation of the next one that
//! is started at the same place, by a factor of two. Only address space is reserved, so nothing is ever
//! lowered. A size that was asked for (`Builder::stack_size`) is neither changed nor learnt from. This
//! does not save the first goroutine that overflows; it helps where depth grows with the data.
//!
//! How deep a goroutine was can be told only from the pages that exist, and asking for that costs as much
//! as starting one. So only some are *watched*: the first [`WATCHED_FIRST`] of the process, and one of
//! [`WATCHED_ONE_IN`] after that, chosen by a hash of their number, so that no site is always missed.
//!
//! - Z1: before a watched goroutine begins, the lower half of its stack is emptied: slots are reused, and
//!   the pages of the goroutine before would count as its own.
//! - Z2: whoever is to empty the stack of a watched goroutine, at its end or while it rests
//!   ([`crate::give_back`]), looks first ([`look`]).
//! - Z3: a site's class only grows. An entry of the table is never taken back; when the table is full
//!   further sites keep the default.
//!
//! Measured on a virtual machine of two processors: emptying takes 0.7 microseconds and looking 0.9, so
//! some 6 ns a goroutine; a site that was never raised costs a spawn one load.
//!
//! Rejected: a word at half depth that is written at the start and compared at the end (it commits a page
//! for every goroutine); asking at every end (`mincore`: 0.9 microseconds, several times a spawn).

use crate::g::G;
use crate::slot::{self, Slot};
use gaggle_sys::stack::map;
use std::panic::Location;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// How many of the process's first goroutines are watched.
const WATCHED_FIRST: u64 = 1024;
/// One of how many later ones is watched; a power of two.
const WATCHED_ONE_IN: u64 = 256;
/// log2 of the largest reservation that is learnt, 64 MiB: what needs more should ask for it.
const LEARNT_MAX: u8 = 26;
/// How many sites can be raised; a power of two.
const SITES: usize = 1024;
/// How many places of the table are tried for one site.
const PROBES: usize = 8;

/// A spawn site whose goroutines get more than the default.
struct Site {
    /// The address of its [`Location`]; 0: free.
    location: AtomicUsize,
    class: AtomicU8,
}

static TABLE: [Site; SITES] = [const {
    Site {
        location: AtomicUsize::new(0),
        class: AtomicU8::new(slot::DEFAULT_CLASS),
    }
}; SITES];

/// How many sites are raised.
static RAISED: AtomicU32 = AtomicU32::new(0);

/// 2^64 divided by the golden ratio: multiplying by it spreads numbers (Knuth, TAOCP 3, 6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The places where `location` may be.
fn places(location: &'static Location<'static>) -> impl Iterator<Item = (&'static Site, usize)> {
    let address = std::ptr::from_ref(location) as usize;
    let first = (address as u64).wrapping_mul(GOLDEN) >> (64 - SITES.ilog2());
    (0..PROBES).map(move |probe| (&TABLE[(first as usize + probe) % SITES], address))
}

/// The class for a goroutine started at `location` without a size.
#[inline]
pub fn class_for(location: &'static Location<'static>) -> u8 {
    // Relaxed: a goroutine that is started while its site is raised may still get the old size.
    if RAISED.load(Ordering::Relaxed) == 0 {
        return slot::DEFAULT_CLASS;
    }
    places(location)
        .find(|(site, address)| site.location.load(Ordering::Relaxed) == *address)
        .map_or(slot::DEFAULT_CLASS, |(site, _)| {
            site.class.load(Ordering::Relaxed)
        })
}

/// Raises the class of `location` to `class` at least (Z3).
fn raise(location: &'static Location<'static>, class: u8) {
    for (site, address) in places(location) {
        // Relaxed (all): the entry stands for itself, and its class is never less than the default.
        let taken =
            site.location
                .compare_exchange(0, address, Ordering::Relaxed, Ordering::Relaxed);
        if taken.is_ok() || taken == Err(address) {
            site.class.fetch_max(class, Ordering::Relaxed);
            RAISED.fetch_add(u32::from(taken.is_ok()), Ordering::Relaxed);
            return;
        }
    }
}

/// Decides whether `g`, which is about to begin on `slot`, is watched, and prepares the slot (Z1).
#[inline]
pub fn begin(g: &G, slot: &Slot) {
    let id = g.id.get();
    let chosen = id.wrapping_mul(GOLDEN) >> (64 - WATCHED_ONE_IN.ilog2()) == 0;
    if (chosen || id <= WATCHED_FIRST) && !g.stack_is_given.get() && slot.class() < LEARNT_MAX {
        begin_watched(slot);
    }
}

#[cold]
fn begin_watched(slot: &Slot) {
    let lower = slot.lower_half();
    // SAFETY: the slot's holder calls, and no context is on it: its stack holds nothing of use.
    unsafe { map::discard(lower.start, lower.len()) };
    slot.watched.set(true);
}

/// Looks how deep the goroutine was, if it is watched and was not found deep before (Z2). Called by who
/// holds the goroutine, or has claimed its stack.
#[inline]
pub fn look(g: &G, slot: &Slot) {
    if slot.watched.get() {
        look_at_watched(g, slot);
    }
}

#[cold]
fn look_at_watched(g: &G, slot: &Slot) {
    let lower = slot.lower_half();
    let bytes = lower.len().min(map::LOOKED_AT_MAX_BYTES);
    // The upper end of it: a goroutine that got there came past.
    if map::any_resident(lower.end - bytes, bytes) {
        slot.watched.set(false);
        if let Some(location) = g.location.get() {
            raise(location, slot.class() + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_site_keeps_its_largest_class_and_others_the_default() {
        let (here, there) = (Location::caller(), place());
        assert_eq!(class_for(here), slot::DEFAULT_CLASS);
        raise(here, 22);
        raise(here, 21);
        assert_eq!(class_for(here), 22);
        assert_eq!(class_for(there), slot::DEFAULT_CLASS);
    }

    #[track_caller]
    fn place() -> &'static Location<'static> {
        Location::caller()
    }
}
