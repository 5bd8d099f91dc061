//! Watches: a goroutine that begins when a descriptor becomes ready, for who does not wait itself.
//!
//! - H1: a watch is in its descriptor's list, under the descriptor's lock, from its making until it fires,
//!   the descriptor is closed, or it is dropped. Dropping takes it out before its memory goes.
//! - H2: whoever takes the start out of a watch, under that lock, is the one who starts the goroutine or
//!   drops what it would have run: so it begins once at most.
//! - H3: a watch fires where malloc may not be called: nothing is allocated or freed there.

use super::{Counted, Descriptor, Sides, descriptor, poller};
use crate::delayed::{Rare, Start};
use crate::g::G;
use crate::sched;
use gaggle_core::contract::{Entry, Interest, SpawnOptions};
use gaggle_core::injector::Batch;
use gaggle_sys::call;
use std::cell::Cell;
use std::ffi::c_short;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

const ENDS: i32 = libc::EPOLLHUP | libc::EPOLLERR;

/// The kernel's bits that mean that `interest` is satisfied; those of `poll` have the same values.
fn bits_of(interest: Interest) -> i32 {
    match interest {
        Interest::Read => libc::EPOLLIN | libc::EPOLLRDHUP | ENDS,
        Interest::Write => libc::EPOLLOUT | ENDS,
        Interest::Hangup => libc::EPOLLRDHUP | ENDS,
    }
}

/// A watch as its descriptor's list knows it.
pub struct Node {
    interest: Interest,
    next: Cell<Option<NonNull<Node>>>,
    queued: Cell<bool>,
    start: Cell<Option<Start>>,
    /// What is freed when the watch is dropped (H3).
    used: Cell<Option<Box<Rare>>>,
}

/// The watches of one descriptor.
#[derive(Default)]
pub struct Watches(Option<NonNull<Node>>);

impl Watches {
    /// Takes out those that `keep` does not want, and hands them to `each`.
    fn take(&mut self, keep: impl Fn(&Node) -> bool, mut each: impl FnMut(&Node)) {
        let mut at = self.0.take();
        while let Some(pointer) = at {
            // SAFETY: H1: what is in the list lives, and is touched under the lock that the caller holds.
            let node = unsafe { pointer.as_ref() };
            at = node.next.take();
            if keep(node) {
                node.next.set(self.0.replace(pointer));
            } else {
                node.queued.set(false);
                each(node);
            }
        }
    }

    /// Starts the goroutines of those that wait for one of `bits` (H3).
    pub fn fire(&mut self, bits: i32, ready: &mut Batch<G>) {
        if self.0.is_some() {
            self.take(
                |node| bits_of(node.interest) & bits == 0,
                |node| node.begin(ready),
            );
        }
    }

    /// The descriptor is being closed: nobody has hung up, and who wants to read or write learns it by
    /// trying.
    pub fn close(&mut self, ready: &mut Batch<G>) {
        self.take(
            |_| false,
            |node| {
                if node.interest != Interest::Hangup {
                    node.begin(ready);
                }
            },
        );
    }
}

impl Node {
    /// Starts the goroutine, if nobody has before (H2).
    fn begin(&self, ready: &mut Batch<G>) {
        let Some(start) = self.start.take() else {
            return;
        };
        let mut used = self.used.take();
        let g = start.into_goroutine(&mut used);
        self.used.set(used);
        // SAFETY: the goroutine was made here and is in no list.
        unsafe { ready.push_back(NonNull::from(g)) };
    }
}

/// A goroutine that is to begin when a descriptor becomes ready; dropped before, it never does.
pub struct Watch {
    fd: i32,
    node: NonNull<Node>,
    /// What it starts may wake others: a program in which all wait, and one for this, is not at its end.
    _counted: Counted,
}

// SAFETY: the node is reached under the descriptor's lock, and what it would start is `Send`.
unsafe impl Send for Watch {}
// SAFETY: as above; a shared watch can only be asked to fire, under that lock.
unsafe impl Sync for Watch {}

impl Watch {
    /// Starts `entry` in a goroutine at the next edge of `fd` that satisfies `interest`.
    ///
    /// # Errors
    /// The kernel's, for what cannot be polled or is not open.
    pub fn new(
        fd: i32,
        interest: Interest,
        options: SpawnOptions,
        entry: Entry,
    ) -> io::Result<Watch> {
        let record = descriptor(fd).ok_or(io::ErrorKind::InvalidInput)?;
        let node = Node {
            interest,
            next: Cell::new(None),
            queued: Cell::new(true),
            start: Cell::new(Some(Start::new(options, entry))),
            used: Cell::new(None),
        };
        let mut node = Box::new(node);
        let mut sides = record.sides.lock();
        if let Err(error) = register(fd, record, &mut sides) {
            drop(sides);
            // The node goes here, behind the lock: dropping the entry runs code of the user.
            return Err(error);
        }
        *node.next.get_mut() = sides.watches.0.take();
        let node = NonNull::from(Box::leak(node));
        sides.watches.0 = Some(node);
        Ok(Watch {
            fd,
            node,
            _counted: Counted::new(),
        })
    }

    /// Starts the goroutine now, unless it has begun.
    pub fn fire(&self) {
        let mut ready = Batch::new();
        if let Some(record) = descriptor(self.fd) {
            let mut sides = record.sides.lock();
            // SAFETY: the node lives as long as this handle.
            let node = unsafe { self.node.as_ref() };
            remove(&mut sides, node);
            node.begin(&mut ready);
        }
        sched::ready_batch(ready);
    }
}

/// Has the kernel report edges of `fd`, as [`super::Waiter::enter`] does.
fn register(fd: i32, record: &Descriptor, sides: &mut Sides) -> io::Result<()> {
    if sides.registered {
        return Ok(());
    }
    if poller().owns(fd) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Relaxed: written under the lock, which the caller holds.
    let generation = record.generation.load(Ordering::Relaxed);
    poller().add(fd, fd as u64 | u64::from(generation) << 32)?;
    sides.registered = true;
    // Relaxed: read by `forget`, which whoever may close the descriptor calls after this.
    record.touched.store(true, Ordering::Relaxed);
    Ok(())
}

/// Takes `gone` out of the list, if it is in.
fn remove(sides: &mut Sides, gone: &Node) {
    if gone.queued.get() {
        let gone = std::ptr::from_ref(gone);
        sides.watches.take(|node| !std::ptr::eq(node, gone), |_| {});
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(record) = descriptor(self.fd) {
            let mut sides = record.sides.lock();
            // SAFETY: the node lives as long as this handle.
            remove(&mut sides, unsafe { self.node.as_ref() });
        }
        // SAFETY: made by `Box::leak` in `new`, in no list any more, and given back once.
        drop(unsafe { Box::from_raw(self.node.as_ptr()) });
    }
}

/// Whether `interest` is satisfied now.
///
/// # Errors
/// When `fd` is not open.
pub fn is_ready(fd: i32, interest: Interest) -> io::Result<bool> {
    let found = call::poll_now(fd, bits_of(interest) as c_short);
    if found < 0 {
        return Err(io::Error::from_raw_os_error(-found as i32));
    }
    if found as i32 & i32::from(libc::POLLNVAL) != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(found != 0)
}
