//! Families: the goroutines that descend from one piece of work, so that those it leaves can be named.
//!
//! A family is founded around a function ([`Founded`]); a goroutine that is started inside it, by the
//! function or by a member, is a member until it ends.
//!
//! - F1: while no family exists in the process, starting a goroutine costs one load more than without
//!   this module.
//! - F2: a member is entered before its goroutine can run, or, where a timer or a context starts it,
//!   when it begins: a function that will never run is no goroutine.
//! - F3: a member is taken out before anybody who waits for its end goes on, so nobody who has been
//!   joined is ever found.
//! - F4: families nest; a member of one is a member of all around it.
//!
//! An OS thread that the program starts by itself begins without a family.

use crate::goroutine::Goroutine;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many families exist (F1).
static FAMILIES: AtomicUsize = AtomicUsize::new(0);

/// What is known of a member while it lives.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) goroutine: Goroutine,
    pub(crate) started_at: &'static Location<'static>,
}

#[derive(Default)]
struct Members {
    /// In the order in which they were entered.
    records: BTreeMap<u64, Record>,
    next: u64,
}

/// The goroutines that descend from one piece of work.
pub(crate) struct Family {
    outer: Option<Arc<Family>>,
    members: Mutex<Members>,
    emptied: Condvar,
}

impl Family {
    fn lock(&self) -> MutexGuard<'_, Members> {
        // Nothing panics under it.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no member is left, for `grace` at most, and answers those that are.
    pub(crate) fn left_after(&self, grace: Duration) -> Vec<Record> {
        let has_some = |members: &mut Members| !members.records.is_empty();
        let waited = self
            .emptied
            .wait_timeout_while(self.lock(), grace, has_some);
        let (members, _) = waited.unwrap_or_else(PoisonError::into_inner);
        members.records.values().cloned().collect()
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // Relaxed: see `of_caller`.
        FAMILIES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The family that the caller belongs to (F1).
pub(crate) fn of_caller() -> Option<Arc<Family>> {
    // Relaxed: whoever is in a family has it from the thread that made it, and so sees the count.
    if FAMILIES.load(Ordering::Relaxed) == 0 {
        return None;
    }
    crate::goroutine::own_family()
}

/// A family whose founder is the caller, until this is dropped, on the same goroutine or OS thread.
pub(crate) struct Founded {
    family: Arc<Family>,
    /// Not `Send`: what is put back is the caller's.
    restore: Outside,
}

impl Founded {
    /// Founds a family inside the caller's own (F4).
    pub(crate) fn new() -> Self {
        // Relaxed: see `of_caller`.
        FAMILIES.fetch_add(1, Ordering::Relaxed);
        let family = Arc::new(Family {
            outer: of_caller(),
            members: Mutex::default(),
            emptied: Condvar::new(),
        });
        let restore = Outside::swap(Some(Arc::clone(&family)));
        Founded { family, restore }
    }

    /// Ends the founder's own part: what it starts from here on is no member. Answers the family.
    pub(crate) fn leave(self) -> Arc<Family> {
        drop(self.restore);
        self.family
    }
}

/// Makes the caller a member of another family, or of none, until it is dropped.
pub(crate) struct Outside {
    before: Option<Arc<Family>>,
    not_send: std::marker::PhantomData<*const ()>,
}

impl Outside {
    /// From here on what the caller starts is no member of any family.
    pub(crate) fn begin() -> Self {
        Outside::swap(None)
    }

    fn swap(family: Option<Arc<Family>>) -> Self {
        Outside {
            before: crate::goroutine::set_own_family(family),
            not_send: std::marker::PhantomData,
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        drop(crate::goroutine::set_own_family(self.before.take()));
    }
}

/// A goroutine's place in its family and in those around it (F4); dropping it gives them up (F3).
pub(crate) struct Membership {
    family: Arc<Family>,
    started_at: &'static Location<'static>,
    /// Its numbers, the innermost family's first; empty: it is not entered yet (F2).
    numbers: Vec<u64>,
}

impl Membership {
    /// The place of a goroutine that the caller starts, if that is in a family; not entered yet.
    pub(crate) fn of_child(started_at: &'static Location<'static>) -> Option<Box<Self>> {
        let family = of_caller()?;
        Some(Box::new(Membership {
            family,
            started_at,
            numbers: Vec::new(),
        }))
    }

    /// Enters the goroutine, unless that has been done.
    pub(crate) fn enter(&mut self, goroutine: &Goroutine) {
        if !self.numbers.is_empty() {
            return;
        }
        let mut next = Some(&self.family);
        while let Some(family) = next {
            let mut members = family.lock();
            let number = members.next;
            members.next += 1;
            let record = Record {
                goroutine: goroutine.clone(),
                started_at: self.started_at,
            };
            members.records.insert(number, record);
            self.numbers.push(number);
            drop(members);
            next = family.outer.as_ref();
        }
    }

    pub(crate) fn family(&self) -> Arc<Family> {
        Arc::clone(&self.family)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut next = Some(&self.family);
        for number in &self.numbers {
            let Some(family) = next else { break };
            let mut members = family.lock();
            let record = members.records.remove(number);
            let is_empty = members.records.is_empty();
            drop(members);
            debug_assert!(record.is_some(), "F2");
            if is_empty {
                family.emptied.notify_all();
            }
            next = family.outer.as_ref();
        }
    }
}
