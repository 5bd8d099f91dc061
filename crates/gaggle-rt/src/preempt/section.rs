//! Sections: while one lasts the goroutine is not suspended, and its P stays its own (V1 of
//! [`super`]; E1 of `gaggle_core::sections`).

use crate::g::G;
use crate::m::M;
use crate::sched;
use std::sync::atomic::Ordering;

/// While it lives the calling goroutine is in a section: it is not suspended, and its P stays its own.
/// Nothing on other threads. It must not live over a park.
#[derive(Debug)]
pub struct Section(Option<&'static G>);

impl Section {
    /// Begins a section.
    #[inline(always)]
    pub fn enter() -> Section {
        let g = sched::current();
        if let Some(g) = g {
            sched::machine_of_caller(g).sections.enter();
        }
        Section(g)
    }

    /// As [`Section::enter`], for the calling goroutine `g`.
    #[inline(always)]
    pub fn of(g: &'static G) -> Section {
        sched::machine_of_caller(g).sections.enter();
        Section(Some(g))
    }
}

impl Drop for Section {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(g) = self.0 {
            leave(g);
        }
    }
}

/// Begins a section of the calling goroutine; ended by [`leave`], perhaps on another M.
#[inline(always)]
pub fn enter(g: &'static G) -> &'static M {
    let m = sched::machine_of_caller(g);
    m.sections.enter();
    m
}

/// Ends a section of the calling goroutine, and does what was put off because of it.
#[inline(always)]
pub fn leave(g: &'static G) {
    let m = sched::machine_of_caller(g);
    // Relaxed: written by this thread's handler, or by the monitor at any time before or after.
    if m.sections.leave() && m.attention.load(Ordering::Relaxed) {
        attend(g);
    }
}

/// A preemption was asked for during the section, or the P is gone.
#[cold]
fn attend(g: &'static G) {
    if g.task.is_armed() {
        return; // V1; its park will do
    }
    let m = enter(g);
    debug_assert_eq!(m.sections.depth(), 1, "attended outside all sections");
    // Relaxed: as in `leave`.
    m.attention.store(false, Ordering::Relaxed);
    if m.p().is_some() {
        sched::preempted(g);
    } else {
        crate::blocking::find_processor(g, m);
    }
    leave(g);
}
