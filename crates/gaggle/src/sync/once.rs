//! What happens once.

use super::Mutex;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// A function's only run.
///
/// # Examples
/// ```
/// use gaggle::sync::Once;
/// static START: Once = Once::new();
/// let mut runs = 0;
/// for _ in 0..3 {
///     START.call_once(|| runs += 1);
/// }
/// assert_eq!(runs, 1);
/// ```
///
/// Source: Go's `sync.Once`.
pub struct Once {
    is_done: AtomicBool,
    /// Held by the one that runs the function.
    running: Mutex<()>,
}

/// Says that the run is over, by a panic too.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `is_completed`; what the function did is seen by all who return.
        self.0.store(true, Ordering::Release);
    }
}

impl Once {
    /// Nothing has run yet.
    pub const fn new() -> Self {
        Once {
            is_done: AtomicBool::new(false),
            running: Mutex::new(()),
        }
    }

    /// Runs `f`, if this is the first call; else returns when the first call has. Blocks this goroutine (never
    /// its OS thread) meanwhile.
    ///
    /// An `f` that panics has run: the panic is the first caller's, and later calls return. An `f` that calls
    /// this on the same `Once` waits for itself.
    ///
    /// # Panics
    /// When `f` does, and when a context that this is called under
    /// ([`Context::run`](crate::context::Context::run)) ends while another runs its function.
    ///
    /// # Examples
    /// ```
    /// let once = gaggle::sync::Once::new();
    /// once.call_once(|| println!("hello"));
    /// once.call_once(|| unreachable!());
    /// ```
    #[inline]
    #[track_caller]
    pub fn call_once(&self, f: impl FnOnce()) {
        if !self.is_completed() {
            self.call_slow(f);
        }
    }

    #[cold]
    #[track_caller]
    fn call_slow(&self, f: impl FnOnce()) {
        let _running = self.running.lock();
        if !self.is_completed() {
            // Dropped before the lock is.
            let _done = Done(&self.is_done);
            f();
        }
    }

    /// Whether the function has run. Never blocks.
    #[inline]
    pub fn is_completed(&self) -> bool {
        // Acquire: pairs with the Release in `Done::drop`.
        self.is_done.load(Ordering::Acquire)
    }
}

impl Default for Once {
    fn default() -> Self {
        Once::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("is_completed", &self.is_completed())
            .finish()
    }
}

/// A value that is set once.
///
/// - `value` is initialised if `is_set` is true; it goes from false to true once, under `setting`, and back only
///   by `&mut self`.
///
/// # Examples
/// ```
/// use gaggle::sync::OnceLock;
/// static NAME: OnceLock<String> = OnceLock::new();
/// assert_eq!(NAME.get(), None);
/// assert_eq!(NAME.get_or_init(|| "Martin".to_owned()), "Martin");
/// assert_eq!(NAME.set("Akka".to_owned()), Err("Akka".to_owned()));
/// ```
///
/// The interface is that of [`std::sync::OnceLock`].
pub struct OnceLock<T> {
    is_set: AtomicBool,
    /// Held by the one that makes the value.
    setting: Mutex<()>,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written once, before it is shared; then tasks share it (`T: Sync`), and it may have been
// made on one task and be dropped on another (`T: Send`).
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}
// SAFETY: the lock owns its value.
unsafe impl<T: Send> Send for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// No value yet.
    pub const fn new() -> Self {
        OnceLock {
            is_set: AtomicBool::new(false),
            setting: Mutex::new(()),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The value, if it is set. Never blocks.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // Acquire: pairs with the Release in `get_or_try_init`, before which the value was written.
        if !self.is_set.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: it is set, so nobody writes it before `&mut self`.
        let value = unsafe { &*self.value.get() };
        // SAFETY: it is set, so it is initialised.
        Some(unsafe { value.assume_init_ref() })
    }

    /// The value, without a look at who else has it: `&mut self` proves that nobody does.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        let is_set = *self.is_set.get_mut();
        // SAFETY: it is initialised where it is set.
        is_set.then(|| unsafe { self.value.get_mut().assume_init_mut() })
    }

    /// Sets the value; blocks this goroutine (never its OS thread) while another makes one.
    ///
    /// # Errors
    /// Returns `value` when one is set.
    ///
    /// # Panics
    /// When a context that this is called under ([`Context::run`](crate::context::Context::run)) ends while another
    /// makes a value.
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("it is called once at most"));
        value.map_or(Ok(()), Err)
    }

    /// The value, made by `make` if none is set yet; blocks this goroutine (never its OS thread) while another
    /// makes it.
    ///
    /// # Panics
    /// When `make` does; no value is set then, and the next call tries again. A `make` that calls this on the
    /// same lock waits for itself. And when a context that this is called under
    /// ([`Context::run`](crate::context::Context::run)) ends while another makes the value.
    ///
    /// # Examples
    /// ```
    /// let lock = gaggle::sync::OnceLock::new();
    /// assert_eq!(lock.get_or_init(|| 7), &7);
    /// assert_eq!(lock.get_or_init(|| unreachable!()), &7);
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        let made = self.get_or_try_init(|| Ok::<T, std::convert::Infallible>(make()));
        match made {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// As [`OnceLock::get_or_init`], for a `make` that may fail.
    ///
    /// # Errors
    /// What `make` answers; no value is set then, and the next call tries again.
    ///
    /// # Panics
    /// As [`OnceLock::get_or_init`].
    ///
    /// # Examples
    /// ```
    /// let lock = gaggle::sync::OnceLock::<u32>::new();
    /// assert_eq!(lock.get_or_try_init(|| Err("not yet")), Err("not yet"));
    /// assert_eq!(lock.get_or_try_init(|| Ok::<_, ()>(7)), Ok(&7));
    /// ```
    #[track_caller]
    pub fn get_or_try_init<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let setting = self.setting.lock();
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let value = make()?;
        // SAFETY: the lock is held and the value not set, so nobody else has a reference to it.
        let place = unsafe { &mut *self.value.get() };
        place.write(value);
        // Release: pairs with the Acquire in `get`.
        self.is_set.store(true, Ordering::Release);
        drop(setting);
        let value = self.get();
        Ok(value.expect("it has just been set"))
    }

    /// Takes the value out; `&mut self` proves that nobody has it.
    pub fn take(&mut self) -> Option<T> {
        let is_set = std::mem::replace(self.is_set.get_mut(), false);
        // SAFETY: it was initialised where it was set, and is not set any more.
        is_set.then(|| unsafe { self.value.get_mut().assume_init_read() })
    }

    /// The value, if one was set.
    pub fn into_inner(mut self) -> Option<T> {
        self.take()
    }
}

impl<T> Drop for OnceLock<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        OnceLock::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceLock").field(&self.get()).finish()
    }
}
