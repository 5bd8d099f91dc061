//! The way of one task to a read-write lock that it finds taken.

use super::super::contention::{Contended, PARKED, Patience, STARVING};
use super::queue::{Request, Want};
use super::{RawRwLock, WRITER_WAITS, marks_of, marks_of_woken, taken};
use crate::contract::{Nanos, Runtime, WaitReason};
use crate::shim::atomic::Ordering;
use crate::wait_queue::{ClaimedChain, Waiter};

/// A task's way to the lock.
pub(super) struct Taking<'a, R: Runtime> {
    pub(super) lock: &'a RawRwLock<R>,
    pub(super) want: Want,
}

impl<R: Runtime> Contended<R> for Taking<'_, R> {
    type Request = Request;

    fn request(&self, since: Nanos) -> Request {
        let want = self.want;
        Request { want, since }
    }

    fn reason(&self) -> WaitReason {
        match self.want {
            Want::Read => WaitReason::ReadLock,
            Want::Write => WaitReason::WriteLock,
        }
    }

    fn try_again(&self, patience: &Patience) -> Result<(), u32> {
        let own_marks = marks_of_woken(patience.is_woken, self.want);
        // Relaxed: the exchange decides.
        let mut word = self.lock.word.load(Ordering::Relaxed);
        loop {
            debug_assert!(word & own_marks == own_marks, "V4");
            let new = taken(word, self.want, patience.has_waited).ok_or(word)?;
            match self.lock.exchange(word, new & !own_marks) {
                Ok(()) => break,
                Err(current) => word = current,
            }
        }
        if patience.is_woken && self.want == Want::Read && word & PARKED != 0 {
            // The next may be a reader too (V3, V4).
            self.lock.see_to_queue();
        }
        Ok(())
    }

    unsafe fn enqueue(
        &self,
        waiter: &Waiter<R, Request>,
        patience: &Patience,
        is_starving: bool,
    ) -> bool {
        let mut queue = self.lock.queue.lock();
        // Relaxed: the exchange decides, and the queue's lock orders the rest.
        let mut word = self.lock.word.load(Ordering::Relaxed);
        loop {
            if taken(word, self.want, patience.has_waited).is_some() {
                return false;
            }
            let mut new = word | PARKED;
            if self.want == Want::Write {
                new |= WRITER_WAITS;
            }
            if patience.is_woken {
                new &= !marks_of_woken(true, self.want);
                if is_starving {
                    new |= STARVING;
                }
            }
            match self.lock.exchange(word, new) {
                Ok(()) => break,
                Err(current) => word = current,
            }
        }
        // SAFETY: the guard holds the lock (W1); the caller keeps W2 and W3.
        unsafe { queue.put(waiter, self.want, patience.has_waited) };
        true
    }

    unsafe fn leave(&self, waiter: &Waiter<R, Request>) {
        let mut woken = ClaimedChain::new();
        let mut queue = self.lock.queue.lock();
        // SAFETY: the guard holds the lock, and the waiter was in this queue only.
        unsafe { queue.remove(waiter, self.want) };
        let mut gone = (PARKED | WRITER_WAITS) & !marks_of(&queue);
        if gone & PARKED != 0 {
            // V5: without a waiter nobody is left to be handed anything.
            gone |= STARVING;
        }
        // Relaxed: as in `serve`.
        self.lock.word.fetch_and(!gone, Ordering::Relaxed);
        // Readers behind a writer that leaves may join those that hold the lock (V3).
        self.lock.serve(&mut queue, &mut woken);
        drop(queue);
        woken.ready_all();
    }

    fn give_up(&self) {
        // Relaxed: nothing was done under the lock.
        let before = self
            .lock
            .word
            .fetch_and(!marks_of_woken(true, self.want), Ordering::Relaxed);
        if before & PARKED != 0 {
            self.lock.see_to_queue();
        }
    }
}
