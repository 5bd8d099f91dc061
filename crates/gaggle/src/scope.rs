//! Goroutines that borrow: all of them have ended when the scope is left.
//!
//! The shape, and the reasoning on lifetimes, is that of std's `thread/scoped.rs`.
//!
//! - S1: `running` counts the endings that were made for the scope and not dropped; the scope is left,
//!   whether by return or by panic, only when it has come down to 0.

use crate::backend::Dispatch;
use crate::builder::{Builder, refused, start};
use crate::goroutine::Goroutine;
use crate::join::Joiner;
use crate::parker::Parker;
use gaggle_core::contract::{SpawnOptions, WaitReason};
use gaggle_core::sync::{Ended, Limit, Semaphore};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// What a scope and its goroutines share.
pub(crate) struct ScopeData {
    /// S1.
    running: AtomicUsize,
    /// A goroutine of the scope panicked and nobody joined it.
    panicked: AtomicBool,
    /// The permit of the scope's owner: given whenever `running` comes down to 0.
    owner: Parker,
    /// One permit for each goroutine that may run at the same time; `None`: any number may.
    limit: Option<Semaphore<Dispatch>>,
}

impl ScopeData {
    /// Counts a goroutine that is about to be started, once the limit allows it.
    pub(crate) fn one_started(&self) -> io::Result<()> {
        if let Some(limit) = &self.limit {
            limit
                .acquire_limited(1, &Limit::never())
                .map_err(|ended| match ended {
                    Ended::UnderContext(error) => io::Error::from(error),
                    Ended::Interrupted | Ended::TimedOut => {
                        unreachable!("such a limit was not given")
                    }
                })?;
        }
        // Relaxed: the caller is the owner, or a goroutine of the scope that itself is counted.
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        assert!(before < usize::MAX / 2, "too many goroutines in one scope");
        Ok(())
    }

    pub(crate) fn one_ended(&self) {
        if let Some(limit) = &self.limit {
            limit.release(1);
        }
        // Release: pairs with the Acquire in `wait`; all that the goroutine did with what it
        // borrowed happens before the owner leaves the scope.
        if self.running.fetch_sub(1, Ordering::Release) == 1 {
            self.owner.unpark();
        }
    }

    pub(crate) fn note_panic(&self) {
        // Relaxed: the drop of the goroutine's ending, or the owner itself, orders it before `wait`'s
        // end.
        self.panicked.store(true, Ordering::Relaxed);
    }

    fn wait(&self) {
        // Acquire: pairs with the Release in `one_ended`.
        while self.running.load(Ordering::Acquire) != 0 {
            // What the goroutines borrow stays until they have ended, whatever else ends.
            self.owner.park_to_the_end(WaitReason::Join);
        }
    }
}

/// A place to start goroutines in that may borrow what outlives it; made by [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    data: Arc<ScopeData>,
    /// Invariant over 'scope: else it could shrink, and a goroutine could borrow for too short.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Runs `f`, in which [`Scope::go`] starts goroutines that may borrow; returns when they all have
/// ended.
///
/// Blocks this goroutine (never its OS thread) until then; what `join` promises of a goroutine's end
/// holds of all of them. The end of a context that this is called under
/// ([`Context::run`](crate::context::Context::run)) does not end that wait: what the goroutines borrow would
/// be gone. It ends what `f` itself waits for.
///
/// # Panics
/// If `f` panics, its panic goes on when all goroutines have ended. If a goroutine of the scope
/// panicked and its handle was not joined, the scope panics.
///
/// # Examples
/// ```
/// let mut hits = [0u32; 4];
/// gaggle::scope(|s| {
///     for hit in &mut hits {
///         s.go(|| *hit += 1);
///     }
/// });
/// assert_eq!(hits, [1; 4]);
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    run(None, f)
}

/// As [`scope`], with at most `limit` goroutines of the scope at the same time: [`Scope::go`] then blocks this
/// goroutine (never its OS thread) while as many run.
///
/// A goroutine of the scope that starts another one in it may so wait for itself. A wait for the limit ends with a
/// context that it is under: [`Scope::go`] panics then, and [`Builder::spawn_scoped`] answers an error.
///
/// # Panics
/// When `limit` is 0, and as [`scope`].
///
/// # Examples
/// ```
/// let mut hits = [0u32; 100];
/// gaggle::scope_with_limit(4, |s| {
///     for hit in &mut hits {
///         s.go(|| *hit += 1);
///     }
/// });
/// assert_eq!(hits, [1; 100]);
/// ```
#[track_caller]
pub fn scope_with_limit<'env, F, T>(limit: usize, f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    assert!(limit > 0, "no goroutine could be started with a limit of 0");
    run(Some(Semaphore::new(limit)), f)
}

#[track_caller]
fn run<'env, F, T>(limit: Option<Semaphore<Dispatch>>, f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        data: Arc::new(ScopeData {
            running: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            owner: Parker::new(),
            limit,
        }),
        scope: PhantomData,
        env: PhantomData,
    };
    // Its panic is caught so that the wait comes first; it then goes on.
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.data.wait();
    match result {
        Err(payload) => resume_unwind(payload),
        // Relaxed: ordered by `wait`; see `note_panic`.
        Ok(_) if scope.data.panicked.load(Ordering::Relaxed) => {
            panic!("a scoped goroutine panicked")
        }
        Ok(value) => value,
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a goroutine that may borrow what outlives the scope. Blocks only in a scope with a limit
    /// ([`scope_with_limit`]).
    ///
    /// # Panics
    /// When the operating system refuses the memory or the thread it needs, and when a context that this is
    /// called under ([`Context::run`](crate::context::Context::run)) ends while it waits for the scope's limit;
    /// [`Builder::spawn_scoped`] answers an error instead.
    ///
    /// # Examples
    /// ```
    /// let text = String::from("geese");
    /// let length = gaggle::scope(|s| s.go(|| text.len()).join().unwrap());
    /// assert_eq!(length, 5);
    /// ```
    #[track_caller]
    pub fn go<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match Builder::new().spawn_scoped(self, f) {
            Ok(handle) => handle,
            Err(refusal) => refused(&refusal),
        }
    }

    pub(crate) fn start<F, T>(
        &'scope self,
        options: SpawnOptions,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: `f` borrows what outlives 'scope, and `scope`, which 'scope does not outlast,
        // returns only when every ending made for this scope has been dropped (S1).
        let joiner = unsafe { start(options, f, Some(&self.data)) }?;
        Ok(ScopedJoinHandle {
            joiner,
            scope: PhantomData,
        })
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            // Relaxed: a number for people.
            .field("running", &self.data.running.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// The right to wait for the end of a goroutine of a scope and to take its result.
pub struct ScopedJoinHandle<'scope, T> {
    joiner: Joiner<T>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Blocks this goroutine (never its OS thread) until the other has ended, as
    /// [`crate::JoinHandle::join`].
    ///
    /// # Errors
    /// When the goroutine panicked: the panic's payload; the scope then does not panic for it. When a
    /// context that this is called under ends first: as [`crate::JoinHandle::join`].
    pub fn join(self) -> thread::Result<T> {
        self.joiner.join()
    }

    /// Whether the goroutine has ended. Never blocks.
    pub fn is_finished(&self) -> bool {
        self.joiner.goroutine().has_ended()
    }

    /// The goroutine's number, never used again in this process.
    pub fn id(&self) -> u64 {
        self.joiner.id()
    }

    /// The goroutine's own handle, to [`Goroutine::unpark`] it.
    pub fn goroutine(&self) -> &Goroutine {
        self.joiner.goroutine()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
