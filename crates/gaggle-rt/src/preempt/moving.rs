//! Moving the M that a P is passed to, onto the processor of the machine that the passer leaves.

use crate::m::M;
use gaggle_sys::affinity;
use std::sync::atomic::Ordering;

/// Puts the OS thread of `m`, which waits and is about to be woken, where the caller runs: the caller
/// leaves this processor to it, while on its own it would queue behind another goroutine.
pub fn move_here(m: &'static M) {
    let thread = m.thread_id.load(Ordering::Relaxed);
    let Some(mask) = affinity::mask_of(thread) else {
        return;
    };
    let here = affinity::current_processor();
    if mask.len() < 2 || !mask.has(here) {
        return;
    }
    m.preemption.mask.set(mask);
    if affinity::set_mask(thread, &affinity::Mask::only(here)) {
        // Relaxed: published by the waking.
        m.preemption.moved.store(true, Ordering::Relaxed);
    }
}

/// Restores the mask of the calling M.
pub fn move_back(m: &'static M) {
    // Relaxed: written before this M was woken.
    if m.preemption.moved.load(Ordering::Relaxed) {
        m.preemption.moved.store(false, Ordering::Relaxed);
        affinity::set_mask(0, &m.preemption.mask.get());
    }
}
