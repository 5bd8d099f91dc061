//! Starting goroutines: [`go`], and [`Builder`] for those with a name or a stack of another size.

use crate::backend::Dispatch;
use crate::family::Membership;
use crate::goroutine::{Ending, Goroutine};
use crate::join::{JoinHandle, Joiner};
use crate::scope::{Scope, ScopeData, ScopedJoinHandle};
use gaggle_core::contract::{Body, Entry, Runtime, SpawnOptions};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::{io, mem, thread};

/// Starts a goroutine that runs `f`, and answers the handle by which to join it.
///
/// Never blocks. The goroutine is a thread as far as `f` can tell: it has its own stack,
/// `thread_local!`s and `std::thread::current()`, and may block anywhere.
///
/// # Panics
/// When the operating system refuses the memory or the thread it needs, as [`std::thread::spawn`]
/// does; [`Builder::spawn`] answers an error instead.
///
/// # Examples
/// ```
/// let answer = gaggle::go(|| 6 * 7);
/// assert_eq!(answer.join().unwrap(), 42);
/// ```
///
/// What only one thread may touch cannot be sent to a goroutine:
/// ```compile_fail,E0277
/// let counter = std::rc::Rc::new(0);
/// gaggle::go(move || println!("{counter}"));
/// ```
#[track_caller]
pub fn go<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match Builder::new().spawn(f) {
        Ok(handle) => handle,
        Err(refusal) => refused(&refusal),
    }
}

#[cold]
#[track_caller]
pub(crate) fn refused(refusal: &io::Error) -> ! {
    panic!("cannot start a goroutine: {refusal}")
}

/// What a goroutine is to be, before it is started.
///
/// # Examples
/// ```
/// let handle = gaggle::Builder::new()
///     .name("resizer")
///     .stack_size(4 << 20)
///     .spawn(|| std::thread::current().name().map(str::to_owned))?;
/// assert_eq!(handle.goroutine().name(), Some("resizer"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing starts before `spawn`"]
pub struct Builder {
    name: Option<Arc<str>>,
    stack_bytes: Option<usize>,
}

impl Builder {
    /// A goroutine without a name, with the backend's usual stack.
    pub fn new() -> Self {
        Builder::default()
    }

    /// Names the goroutine in panics and dumps.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets how deep its stack may become, in bytes. The memory is reserved, not used, until the
    /// stack grows into it.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_bytes = Some(bytes);
        self
    }

    /// Starts the goroutine, as [`go`] does.
    ///
    /// # Errors
    /// When the operating system refuses the memory or the thread it needs, or the name contains a
    /// NUL character; `f` is dropped.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let options = self.into_options();
        // SAFETY: `F` and `T` are 'static, so there is nothing to outlive.
        let joiner = unsafe { start(options, f, None) }?;
        Ok(JoinHandle::new(joiner))
    }

    /// Starts the goroutine in `scope`, as [`Scope::go`] does.
    ///
    /// # Errors
    /// As [`Builder::spawn`]; and when a context that this is called under
    /// ([`Context::run`](crate::context::Context::run)) ends while it waits for the scope's limit: the
    /// [`ContextError`](crate::context::ContextError) is the error's source.
    #[track_caller]
    pub fn spawn_scoped<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        scope.start(self.into_options(), f)
    }

    #[track_caller]
    fn into_options(self) -> SpawnOptions {
        SpawnOptions {
            name: self.name,
            stack_bytes: self.stack_bytes,
            location: Location::caller(),
        }
    }
}

/// Starts a goroutine, of a scope or of none.
///
/// # Safety
/// Whatever `f` borrows must outlive the goroutine: it is 'static, or `scope` is given and is not left
/// before every [`Ending`] made for it was dropped.
pub(crate) unsafe fn start<'scope, F, T>(
    options: SpawnOptions,
    f: F,
    scope: Option<&Arc<ScopeData>>,
) -> io::Result<Joiner<T>>
where
    F: FnOnce() -> T + Send + 'scope,
    T: Send + 'scope,
{
    if options
        .name
        .as_ref()
        .is_some_and(|name| name.contains('\0'))
    {
        let reason = "a goroutine's name must not contain a NUL character";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let goroutine = Goroutine::new(options.name.clone());
    if let Some(scope) = scope {
        scope.one_started()?;
    }
    let ending = Ending::new(goroutine.clone(), scope.cloned()).belongs_now(options.location);
    // SAFETY: of the goroutine just made, whose task is made next, of the same `T`.
    let mut joiner = unsafe { Joiner::new(goroutine, scope.cloned()) };
    let entry: Box<dyn Body + 'scope> = Box::new(Task::<F, T>::new(Some(f), ending));
    // SAFETY: the types differ in the lifetime alone; the closure does not outlive it, because
    // `Ending` is dropped after all that the closure borrows, run or not, and the caller promises
    // that the borrowed outlives the `Ending`.
    let entry = unsafe { std::mem::transmute::<Box<dyn Body + 'scope>, Entry>(entry) };
    let id = Dispatch::spawn(options, entry)?;
    joiner.set_id(id);
    Ok(joiner)
}

/// What a goroutine runs, and what announces its end. Its fields are dropped in their order: the ending
/// must be the last (see `start`).
struct Task<F, T> {
    f: Option<F>,
    /// It is still an owner of its result (J1 of `crate::join`).
    is_owner: bool,
    result: PhantomData<thread::Result<T>>,
    ending: Ending,
}

impl<F, T> Task<F, T> {
    /// Of a goroutine that has no other and whose joiner, if it has one, takes a `T`.
    fn new(f: Option<F>, ending: Ending) -> Self {
        Task {
            f,
            is_owner: true,
            result: PhantomData,
            ending,
        }
    }

    fn release(&mut self) {
        if mem::take(&mut self.is_owner) {
            // SAFETY: the goroutine's own, once, and of its type (see `new`).
            unsafe { self.ending.outcome().release::<T>(self.ending.scope()) };
        }
    }
}

impl<F, T> Drop for Task<F, T> {
    fn drop(&mut self) {
        self.release(); // if it never ran
    }
}

impl<F, T> Body for Task<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn run(&mut self) {
        let Some(f) = self.f.take() else {
            return;
        };
        self.ending.begin();
        // The panic goes to whoever joins, who decides what is still fit for use.
        let result = catch_unwind(AssertUnwindSafe(f));
        if result.is_err() {
            crate::panics::uncaught();
        }
        // SAFETY: `f` is there once, the end is announced when this task is dropped, and `T` is `Send`.
        unsafe { self.ending.outcome().put(result) };
        self.release();
    }
}

/// What the backend runs for a function that a timer or the end of a context may start: what a goroutine has
/// besides its function is made when it begins.
pub(crate) fn entry_for_later<F>(f: F, started_at: &'static Location<'static>) -> Entry
where
    F: FnOnce() + Send + 'static,
{
    Box::new(Later {
        membership: Membership::of_child(started_at),
        task: None,
        f: Some(f),
    })
}

/// A function that may be started later. A million of these may wait, so there is not much to one.
struct Later<F> {
    membership: Option<Box<Membership>>,
    /// Kept until the goroutine has ended.
    task: Option<Box<Task<F, ()>>>,
    f: Option<F>,
}

impl<F: FnOnce() + Send> Body for Later<F> {
    fn run(&mut self) {
        let membership = self.membership.take();
        let goroutine = Goroutine::new(None);
        // SAFETY: of the goroutine just made, whose task is made next, of the same `()`.
        drop(unsafe { Joiner::<()>::new(goroutine.clone(), None) }); // nobody joins it
        let ending = Ending::new(goroutine, None).of(membership);
        let task = self.task.insert(Box::new(Task::new(self.f.take(), ending)));
        task.run();
    }
}
