//! Records of goroutines that have ended, for those to come.
//!
//! Each P has two *magazines*, lists of at most [`MAGAZINE`] records: it takes from and puts into one,
//! and when that is empty or full the other one's turn comes. Only when both are full, or empty, a whole
//! magazine goes to the common pool, or comes from there: under a lock, but no list is walked. The last that
//! was put is the first to be taken, everywhere: it is the likeliest to be in the processor's cache.
//!
//! Source: J. Bonwick and J. Adams, "Magazines and Vmem", USENIX 2001, section 3.

use crate::g::{self, G, from_link};
use crate::lock::Lock;
use gaggle_core::injector::Batch;
use gaggle_core::lock::Lock as Guarded;
use std::ptr::NonNull;

/// How many records a full magazine holds.
const MAGAZINE: usize = 64;

/// How many magazines the common pool keeps apart; the records of further ones are in one list.
const APART: usize = 1024;

struct Pool {
    full: [Batch<G>; APART],
    /// How many of `full` are.
    count: usize,
    /// New records, single ones, and those of magazines that found no place.
    rest: Batch<G>,
}

/// Records that no P has.
static POOL: Guarded<Pool, Lock> = Guarded::from_raw(
    Lock::unlocked(),
    Pool {
        full: [const { Batch::new() }; APART],
        count: 0,
        rest: Batch::new(),
    },
);

impl Pool {
    fn put(&mut self, mut magazine: Batch<G>) {
        if self.count < APART && magazine.len() == MAGAZINE {
            self.full[self.count] = magazine;
            self.count += 1;
        } else {
            self.rest.append(&mut magazine);
        }
    }

    /// A magazine, not always full, but never empty; of new memory if there is no other.
    fn take(&mut self) -> std::io::Result<Batch<G>> {
        if let Some(last) = self.count.checked_sub(1) {
            self.count = last;
            return Ok(std::mem::take(&mut self.full[last]));
        }
        if self.rest.is_empty() {
            g::make_chunk(&mut self.rest)?;
        }
        Ok(self.rest.take_front(MAGAZINE))
    }
}

/// The records at a P's hand.
#[derive(Debug, Default)]
pub struct Magazines {
    loaded: Batch<G>,
    other: Batch<G>,
}

impl Magazines {
    /// Takes a record.
    ///
    /// # Errors
    /// When the kernel has no memory.
    pub fn take(&mut self) -> std::io::Result<&'static G> {
        if self.loaded.is_empty() {
            std::mem::swap(&mut self.loaded, &mut self.other);
        }
        if self.loaded.is_empty() {
            self.loaded = POOL.lock().take()?;
        }
        let record = self.loaded.pop_front().expect("no magazine comes empty");
        if let Some(next) = self.loaded.front() {
            from_link(next).prefetch_record();
        }
        Ok(from_link(record))
    }

    /// Keeps the record of a goroutine that has ended.
    pub fn keep(&mut self, g: &'static G) {
        if self.loaded.len() >= MAGAZINE {
            std::mem::swap(&mut self.loaded, &mut self.other);
            if !self.loaded.is_empty() {
                POOL.lock().put(std::mem::take(&mut self.loaded));
            }
        }
        // SAFETY: the goroutine has ended and is in no list; records live for ever.
        unsafe { self.loaded.push_front(NonNull::from(g)) };
    }

    /// Gives all to the common pool.
    pub fn empty(&mut self) {
        let mut pool = POOL.lock();
        pool.put(std::mem::take(&mut self.loaded));
        pool.put(std::mem::take(&mut self.other));
    }
}

/// Takes one record from the common pool, for a thread that has no P.
///
/// # Errors
/// When the kernel has no memory.
pub fn take_one() -> std::io::Result<&'static G> {
    let mut pool = POOL.lock();
    let mut magazine = pool.take()?;
    let record = magazine.pop_front().expect("no magazine comes empty");
    pool.put(magazine);
    Ok(from_link(record))
}

/// Puts one record into the common pool, from a thread that has no P.
pub fn put_one(g: &'static G) {
    // SAFETY: the caller held the goroutine, which is in no list; records live for ever.
    unsafe { POOL.lock().rest.push_front(NonNull::from(g)) };
}
