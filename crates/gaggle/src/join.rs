//! The way of a goroutine's result to whoever joins it.

use crate::goroutine::Goroutine;
use crate::scope::ScopeData;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

/// How many goroutines panicked and were joined by nobody.
static UNSEEN_PANICS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn unseen_panics() -> u64 {
    // Relaxed: a count for people.
    UNSEEN_PANICS.load(Ordering::Relaxed)
}

/// What a goroutine leaves at its end: that it has ended, and its result on the way to the joiner, whatever its
/// type. It is part of what the two share besides, as a block of its own for each goroutine would be malloc's
/// dearest. A result that is larger than most lies in a box.
///
/// - J1: the goroutine and its joiner are the two *owners* of the result. They know its type, and whoever is the
///   last to [`release`](Outcome::release) it drops one that nobody took.
/// - J2: the goroutine writes it, and releases it, before it announces its end; the joiner takes it after it has
///   waited for the end.
pub(crate) struct Outcome {
    /// Owners that have not released the result.
    owners: AtomicU8,
    /// There is a result.
    is_full: UnsafeCell<bool>,
    has_ended: AtomicBool,
    words: UnsafeCell<MaybeUninit<Words>>,
}

/// Room for what fits into a word or is a panic's payload. With it all that is shared is 128 bytes as malloc counts, the
/// most that glibc's gives back without a lock when another thread made it.
type Words = [usize; 2];

// SAFETY: J1 and J2: no two threads touch the cells at a time. What they hold is sent from one owner to the
// other, who promise that it may be (see `put`).
unsafe impl Sync for Outcome {}

/// Whether a result of this type needs no box.
const fn fits<T>() -> bool {
    size_of::<thread::Result<T>>() <= size_of::<Words>()
        && align_of::<thread::Result<T>>() <= align_of::<Words>()
}

impl Outcome {
    /// Of one that has not ended, with the two owners of its result.
    pub(crate) const fn new() -> Self {
        Outcome {
            owners: AtomicU8::new(2),
            is_full: UnsafeCell::new(false),
            has_ended: AtomicBool::new(false),
            words: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Says that the goroutine has ended.
    pub(crate) fn end(&self) {
        // Release: pairs with the Acquire in `has_ended`.
        self.has_ended.store(true, Ordering::Release);
    }

    /// Whether it has.
    pub(crate) fn has_ended(&self) -> bool {
        // Acquire: pairs with the Release in `end`.
        self.has_ended.load(Ordering::Acquire)
    }

    /// Leaves the result.
    ///
    /// # Safety
    /// Called once, by the goroutine, before it releases it (J2). `T` is the type that both owners
    /// know, and may be sent to another thread.
    pub(crate) unsafe fn put<T>(&self, result: thread::Result<T>) {
        let words = self.words.get();
        if fits::<T>() {
            // SAFETY: nobody else touches it yet (J2), and it is as large and aligned as it need be.
            unsafe { words.cast::<thread::Result<T>>().write(result) };
        } else {
            let boxed = Box::into_raw(Box::new(result));
            // SAFETY: as above, of a pointer.
            unsafe { words.cast::<*mut thread::Result<T>>().write(boxed) };
        }
        // SAFETY: as above.
        unsafe { *self.is_full.get() = true };
    }

    /// Takes the result.
    ///
    /// # Safety
    /// Called by an owner, while the other does not touch it: by the joiner after it has waited for the
    /// end (J2), or by the last one (J1). `T` is as in `put`.
    unsafe fn take<T>(&self) -> Option<thread::Result<T>> {
        // SAFETY: the caller's promise; what the other did is visible.
        if !unsafe { self.is_full.get().replace(false) } {
            return None;
        }
        let words = self.words.get();
        if fits::<T>() {
            // SAFETY: `put` wrote it there, and it is taken once.
            Some(unsafe { words.cast::<thread::Result<T>>().read() })
        } else {
            // SAFETY: as above, of a pointer.
            let boxed = unsafe { words.cast::<*mut thread::Result<T>>().read() };
            // SAFETY: `put` made it of a box.
            Some(*unsafe { Box::from_raw(boxed) })
        }
    }

    /// Lets go of the result; the last drops one that nobody took.
    ///
    /// # Safety
    /// Called once by each owner. `T` is as in `put`.
    pub(crate) unsafe fn release<T>(&self, scope: Option<&ScopeData>) {
        // AcqRel: what the first one did with it is visible to the last.
        if self.owners.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        // SAFETY: the last owner (J1).
        let Some(result) = (unsafe { self.take::<T>() }) else {
            return;
        };
        if result.is_err() {
            match scope {
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
    goroutine: Goroutine,
    scope: Option<Arc<ScopeData>>,
    id: u64,
    result: PhantomData<thread::Result<T>>,
}

// SAFETY: nothing of the result can be reached by way of a shared reference.
unsafe impl<T: Send> Sync for Joiner<T> {}

impl<T> Joiner<T> {
    /// The joiner's right to the result of `goroutine`, which nobody else has yet.
    ///
    /// # Safety
    /// Called once for a goroutine, whose result is a `T`.
    pub(crate) unsafe fn new(goroutine: Goroutine, scope: Option<Arc<ScopeData>>) -> Self {
        Joiner {
            goroutine,
            scope,
            id: 0,
            result: PhantomData,
        }
    }

    /// Says which number the goroutine was given.
    pub(crate) fn set_id(&mut self, id: u64) {
        self.goroutine.set_id(id);
        self.id = id;
    }

    pub(crate) fn goroutine(&self) -> &Goroutine {
        &self.goroutine
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn join(self) -> thread::Result<T> {
        if let Err(error) = self.goroutine.await_end() {
            return Err(Box::new(error));
        }
        // SAFETY: it has ended, and this is its joiner, which joins once.
        let result = unsafe { self.goroutine.outcome().take() };
        result.expect("a goroutine that has ended has left its result")
    }
}

impl<T> Drop for Joiner<T> {
    fn drop(&mut self) {
        // SAFETY: the joiner's own, once, and of its type (see `new`).
        unsafe { self.goroutine.outcome().release::<T>(self.scope.as_deref()) };
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
        self.0.goroutine().has_ended()
    }

    /// The goroutine's number, never used again in this process.
    pub fn id(&self) -> u64 {
        self.0.id()
    }

    /// The goroutine's own handle, to [`Goroutine::unpark`] it.
    pub fn goroutine(&self) -> &Goroutine {
        self.0.goroutine()
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
