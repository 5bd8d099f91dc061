//! The handle of a goroutine, and what it shares with its joiner: name, number, permit, end.
//!
//! - E1: a goroutine has *ended* when its function has returned and its TLS destructors have run. The
//!   end is announced by the drop of [`Ending`], part of what the goroutine runs, which the backend drops
//!   last (C6 of the contract).
//! - E2: an entry that never runs (its spawn was refused, its timer stopped) drops its [`Ending`] too,
//!   so nobody waits for a goroutine that will not come.

use crate::backend::Dispatch;
use crate::family::{Family, Membership};
use crate::join::Outcome;
use crate::parker::Permits;
use crate::scope::ScopeData;
use gaggle_core::context::ContextError;
use gaggle_core::contract::{NEVER, Runtime, WaitReason};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::ptr::null;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

struct Shared {
    /// Few have one, so for the others it takes one word.
    name: Option<Box<Arc<str>>>,
    /// 0: not known yet, or no goroutine.
    id: AtomicU64,
    /// [`PERMIT`] and [`END`].
    permits: Permits<2>,
    outcome: Outcome,
}

/// The permit of `park` and `unpark`.
const PERMIT: usize = 0;
/// Given once, at the end; taken by the joiner.
const END: usize = 1;

/// A handle to a goroutine, or to an OS thread that called [`current`]: cheap to clone, and usable
/// after the goroutine has ended.
#[derive(Clone)]
pub struct Goroutine {
    shared: Arc<Shared>,
}

impl fmt::Debug for Goroutine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Goroutine")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl Goroutine {
    pub(crate) fn new(name: Option<Arc<str>>) -> Self {
        Goroutine {
            shared: Arc::new(Shared {
                name: name.map(Box::new),
                id: AtomicU64::new(0),
                permits: Permits::new(),
                outcome: Outcome::new(),
            }),
        }
    }

    /// Its number, never used again in this process; `None` for an OS thread that is no goroutine,
    /// and for the goroutine of a timer that has not fired.
    pub fn id(&self) -> Option<u64> {
        // Relaxed: the number stands for itself; its two writers write the same one.
        Some(self.shared.id.load(Ordering::Relaxed)).filter(|&id| id != 0)
    }

    pub(crate) fn set_id(&self, id: u64) {
        // Relaxed: as in `id`.
        self.shared.id.store(id, Ordering::Relaxed);
    }

    /// The name given to [`crate::Builder::name`].
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_ref().map(|name| &***name)
    }

    /// Gives the goroutine its permit: its [`park`], if it is in one, or its next one, returns.
    ///
    /// There is one permit; giving it twice before it is taken is giving it once. Never blocks.
    ///
    /// # Examples
    /// ```
    /// let sleeper = gaggle::go(gaggle::park);
    /// sleeper.goroutine().unpark();
    /// sleeper.join().unwrap();
    /// ```
    pub fn unpark(&self) {
        self.shared.permits.give(PERMIT);
    }

    /// Whether it has ended (E1).
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.outcome.has_ended()
    }

    /// What it leaves at its end.
    pub(crate) fn outcome(&self) -> &Outcome {
        &self.shared.outcome
    }

    /// Blocks the calling task until the goroutine has ended (E1); to be called once.
    ///
    /// # Errors
    /// How a context that the task runs under ended first.
    pub(crate) fn await_end(&self) -> Result<(), ContextError> {
        let outcome = self.shared.permits.wait(END, NEVER, WaitReason::Join);
        outcome.map_err(|ended| ended.expect("no deadline came"))
    }
}

/// The duty to announce a goroutine's end (E1, E2).
pub(crate) struct Ending {
    goroutine: Goroutine,
    scope: Option<Arc<ScopeData>>,
    /// Its place in the family of whoever starts it.
    membership: Option<Box<Membership>>,
}

impl Ending {
    pub(crate) fn new(goroutine: Goroutine, scope: Option<Arc<ScopeData>>) -> Self {
        Ending {
            goroutine,
            scope,
            membership: None,
        }
    }

    /// Makes the goroutine a member of a family, if it was given one, from when it begins.
    pub(crate) fn of(mut self, membership: Option<Box<Membership>>) -> Self {
        self.membership = membership;
        self
    }

    /// Makes the goroutine a member of the caller's family, if that is in one, from now on.
    pub(crate) fn belongs_now(self, started_at: &'static Location<'static>) -> Self {
        let mut own = self.of(Membership::of_child(started_at));
        if let Some(membership) = &mut own.membership {
            membership.enter(&own.goroutine);
        }
        own
    }

    /// What the goroutine leaves.
    pub(crate) fn outcome(&self) -> &Outcome {
        self.goroutine.outcome()
    }

    /// The scope that it is of.
    pub(crate) fn scope(&self) -> Option<&ScopeData> {
        self.scope.as_deref()
    }

    /// Called first on the goroutine itself.
    pub(crate) fn begin(&mut self) {
        if let Some(id) = Dispatch::current_id() {
            self.goroutine.set_id(id);
        }
        if let Some(membership) = &mut self.membership {
            membership.enter(&self.goroutine);
            drop(set_own_family(Some(membership.family())));
        }
        OWN.set(Arc::as_ptr(&self.goroutine.shared));
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let shared = &self.goroutine.shared;
        if OWN.get() == Arc::as_ptr(shared) {
            OWN.set(null());
        }
        drop(self.membership.take());
        shared.outcome.end();
        shared.permits.give(END);
        if let Some(scope) = self.scope.take() {
            scope.one_ended();
        }
    }
}

thread_local! {
    /// What the calling goroutine shares with its joiner, from its beginning until its [`Ending`], which
    /// owns it, is dropped; null else. Without a destructor, as most goroutines need none.
    static OWN: Cell<*const Shared> = const { Cell::new(null()) };

    /// The handle of an OS thread that asked for its own.
    static FOREIGN: RefCell<Option<Goroutine>> = const { RefCell::new(None) };

    static FAMILY: RefCell<Option<Arc<Family>>> = const { RefCell::new(None) };
}

/// The handle of the calling goroutine.
fn own() -> Option<Goroutine> {
    let shared = OWN.get();
    if shared.is_null() {
        return None;
    }
    // SAFETY: made by `Arc::as_ptr` from the Arc in the goroutine's `Ending`, which lives, as its drop
    // clears the pointer.
    unsafe { Arc::increment_strong_count(shared) };
    // SAFETY: as above, with the count that was just added.
    let shared = unsafe { Arc::from_raw(shared) };
    Some(Goroutine { shared })
}

/// The family that the caller belongs to; none where its thread-local storage is gone.
pub(crate) fn own_family() -> Option<Arc<Family>> {
    let known = FAMILY.try_with(|family| family.borrow().clone());
    known.ok().flatten()
}

/// Makes the caller a member of `family`, or of none, and answers which it was in before.
pub(crate) fn set_own_family(family: Option<Arc<Family>>) -> Option<Arc<Family>> {
    let before = FAMILY.try_with(|own| own.replace(family));
    before.ok().flatten()
}

/// The calling goroutine's name, for its panic hook: never panics itself.
pub(crate) fn own_name() -> Option<Arc<str>> {
    own()?.shared.name.as_deref().cloned()
}

/// The handle of the calling goroutine, or of the calling OS thread where none runs.
///
/// # Examples
/// ```
/// let handle = gaggle::go(gaggle::current).join().unwrap();
/// assert!(handle.id().is_some());
/// ```
pub fn current() -> Goroutine {
    if let Some(own) = own() {
        return own;
    }
    let known = FOREIGN.try_with(|handle| {
        let mut handle = handle.borrow_mut();
        handle.get_or_insert_with(|| Goroutine::new(None)).clone()
    });
    // Destructors that run even after ours get a handle that nobody else has.
    known.unwrap_or_else(|_| Goroutine::new(None))
}

/// The number of the calling goroutine, never used again in this process; `None` on an OS thread that
/// is no goroutine.
///
/// # Examples
/// ```
/// assert_eq!(gaggle::id(), None);
/// assert!(gaggle::go(gaggle::id).join().unwrap().is_some());
/// ```
pub fn id() -> Option<u64> {
    Dispatch::current_id()
}

/// Lets other goroutines run before this one goes on.
pub fn yield_now() {
    Dispatch::yield_now();
}

/// Blocks this goroutine (never its OS thread) until somebody gives it its permit by
/// [`Goroutine::unpark`]; returns at once if that has happened since the last `park`.
///
/// As [`std::thread::park`], with a permit of its own: the two do not see each other's.
///
/// # Panics
/// When a context that it is called under ([`Context::run`](crate::context::Context::run)) ends first.
///
/// # Examples
/// ```
/// gaggle::current().unpark();
/// gaggle::park(); // Takes the permit without blocking.
/// ```
#[track_caller]
pub fn park() {
    current().shared.permits.park_at(PERMIT);
}

/// [`park`] for `timeout` at most, or until a context that it is called under
/// ([`Context::run`](crate::context::Context::run)) ends. `true`: the permit came and was taken.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// assert!(!gaggle::park_timeout(Duration::from_millis(1)));
/// ```
pub fn park_timeout(timeout: Duration) -> bool {
    let deadline = crate::time::deadline_after(timeout);
    current()
        .shared
        .permits
        .wait(PERMIT, deadline, WaitReason::Park)
        .is_ok()
}

#[cfg(all(
    test,
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64"
))]
mod tests {
    use super::*;

    /// See `Words` in `crate::join`: 16 bytes more cost a fifth of what starting a goroutine takes on two
    /// processors.
    #[test]
    fn what_is_shared_fits_into_glibcs_fast_lists() {
        let counts = 2 * size_of::<usize>(); // the Arc's
        let largest = 128 - size_of::<usize>(); // malloc's own word
        assert!(size_of::<Shared>() + counts <= largest);
    }
}
