//! The way of a goroutine's result to whoever joins it.

use crate::goroutine::Goroutine;
use crate::scope::ScopeData;
use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

/// How many goroutines panicked and were joined by nobody.
static UNSEEN_PANICS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn unseen_panics() -> u64 {
    // Relaxed: a count for people.
    UNSEEN_PANICS.load(Ordering::Relaxed)
}

/// A result on its way. The goroutine and its handle own it together; whoever lets go last drops a
/// result that nobody took.
pub(crate) struct Packet<T> {
    /// Written by the goroutine before it has ended, taken by the one joiner after (E1 of
    /// `crate::goroutine`), or by the last owner.
    result: UnsafeCell<Option<thread::Result<T>>>,
    scope: Option<Arc<ScopeData>>,
}

// SAFETY: the result goes from the goroutine to whoever joins or drops it, so `T` must be `Send`; no two
// threads touch it at a time (see the field).
unsafe impl<T: Send> Sync for Packet<T> {}

impl<T> Packet<T> {
    pub(crate) fn new(scope: Option<Arc<ScopeData>>) -> Self {
        Packet {
            result: UnsafeCell::new(None),
            scope,
        }
    }

    /// Leaves the result.
    ///
    /// # Safety
    /// Called once, by the goroutine, before it announces its end.
    pub(crate) unsafe fn put(&self, result: thread::Result<T>) {
        // SAFETY: nobody else touches it before the end is announced: see the field.
        unsafe { *self.result.get() = Some(result) };
    }

    /// Takes the result.
    ///
    /// # Safety
    /// Called by the joiner, after it has waited for the end.
    unsafe fn take(&self) -> Option<thread::Result<T>> {
        // SAFETY: the goroutine touches it no more, and the end that it announced makes it visible.
        unsafe { (*self.result.get()).take() }
    }
}

impl<T> Drop for Packet<T> {
    fn drop(&mut self) {
        let Some(result) = self.result.get_mut().take() else {
            return;
        };
        if result.is_err() {
            match &self.scope {
                Some(scope) => scope.note_panic(),
                // Relaxed: a count for people.
                None => {
                    UNSEEN_PANICS.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        // As std does: nobody is left who could be told of a panic in dropping a result.
        if catch_unwind(AssertUnwindSafe(|| drop(result))).is_err() {
            eprintln!("fatal: dropping the result of a goroutine panicked");
            std::process::abort();
        }
    }
}

/// What both kinds of handles are: see [`JoinHandle`] and [`crate::ScopedJoinHandle`].
pub(crate) struct Joiner<T> {
    pub(crate) goroutine: Goroutine,
    pub(crate) packet: Arc<Packet<T>>,
    pub(crate) id: u64,
}

impl<T> Joiner<T> {
    pub(crate) fn join(self) -> thread::Result<T> {
        if let Err(error) = self.goroutine.await_end() {
            return Err(Box::new(error));
        }
        // SAFETY: it has ended, and this is its joiner, which joins once.
        let result = unsafe { self.packet.take() };
        result.expect("a goroutine that has ended has left its result")
    }
}

/// The right to wait for a goroutine's end and to take its result; dropping it detaches the
/// goroutine, which runs on.
///
/// The panic of a goroutine that nobody joins is printed by std's panic hook and counted
/// ([`crate::runtime::unseen_panics`]).
pub struct JoinHandle<T>(Joiner<T>);

impl<T> JoinHandle<T> {
    pub(crate) fn new(joiner: Joiner<T>) -> Self {
        JoinHandle(joiner)
    }

    /// Blocks this goroutine (never its OS thread) until the other has ended: its function has
    /// returned and the destructors of its `thread_local!`s have run. Everything it did
    /// happens before the return of `join`, as with [`std::thread::JoinHandle::join`].
    ///
    /// # Errors
    /// When the goroutine panicked: the panic's payload. When a context that this is called under
    /// ([`Context::run`](crate::context::Context::run)) ends first: the
    /// [`ContextError`](crate::context::ContextError); the goroutine runs on.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(gaggle::go(|| 6 * 7).join().unwrap(), 42);
    ///
    /// let payload = gaggle::go(|| panic!("no")).join().unwrap_err();
    /// assert_eq!(payload.downcast_ref::<&str>(), Some(&"no"));
    /// ```
    pub fn join(self) -> thread::Result<T> {
        self.0.join()
    }

    /// Whether the goroutine has ended, so that [`JoinHandle::join`] would return at once. Never
    /// blocks.
    pub fn is_finished(&self) -> bool {
        self.0.goroutine.has_ended()
    }

    /// The goroutine's number, never used again in this process.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The goroutine's own handle, to [`Goroutine::unpark`] it.
    pub fn goroutine(&self) -> &Goroutine {
        &self.0.goroutine
    }
}

/// The result of a goroutine as a future, for code that awaits: what [`JoinHandle::join`] answers, and as it
/// does, without blocking whoever polls. Dropping it detaches the goroutine.
///
/// A second goroutine waits for the end meanwhile.
///
/// # Examples
/// ```
/// let answer = gaggle::block_on(async { gaggle::go(|| 6 * 7).await });
/// assert_eq!(answer.unwrap(), 42);
/// ```
impl<T: Send + 'static> IntoFuture for JoinHandle<T> {
    type Output = thread::Result<T>;
    type IntoFuture = Joined<T>;

    fn into_future(self) -> Joined<T> {
        let (slot, waiter) = (Arc::new(Mutex::default()), self);
        let other = Arc::clone(&slot);
        // It ends when the other does; it is no leak of its own.
        let wait = move || {
            let result = waiter.join();
            let waker = {
                let mut slot: MutexGuard<'_, Slot<T>> = lock(&other);
                slot.result = Some(result);
                slot.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        crate::testing::exempt(|| drop(crate::go(wait)));
        Joined(slot)
    }
}

/// The future of a goroutine's result: made by awaiting a [`JoinHandle`], or by its
/// [`into_future`](IntoFuture::into_future).
#[must_use = "a future does nothing unless it is awaited"]
pub struct Joined<T>(Arc<Mutex<Slot<T>>>);

/// The result once it is there, and whom to wake then.
struct Slot<T> {
    result: Option<thread::Result<T>>,
    waker: Option<Waker>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        let (result, waker) = (None, None);
        Slot { result, waker }
    }
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Future for Joined<T> {
    type Output = thread::Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.0);
        if let Some(result) = slot.result.take() {
            return Poll::Ready(result);
        }
        // A clone of the user's runs, and the old one is dropped, without the lock.
        drop(slot);
        let waker = context.waker().clone();
        let mut slot = lock(&self.0);
        if let Some(result) = slot.result.take() {
            return Poll::Ready(result);
        }
        let old = slot.waker.replace(waker);
        drop(slot);
        drop(old);
        Poll::Pending
    }
}

impl<T> fmt::Debug for Joined<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
