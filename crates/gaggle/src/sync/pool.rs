//! Things that are kept for the next who needs one.

use super::Mutex;
use crate::backend::Dispatch;
use gaggle_core::contract::Runtime;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

/// How many parts a pool has: goroutines on different processors seldom meet in one.
const SHARDS: usize = 8;

/// How many things a pool keeps unless told otherwise.
const KEPT_BY_DEFAULT: usize = 64;

/// Things that are dear to make and can be used again: buffers, parsers, connections to a library.
///
/// [`Pool::get`] answers one that was given back, or a new one; it is given back when its guard drops. No more
/// are kept than the pool is for, so what a burst has made is dropped after it.
///
/// Whoever gets a thing gets it as it was left.
///
/// # Examples
/// ```
/// use gaggle::sync::Pool;
/// static BUFFERS: Pool<Vec<u8>> = Pool::new(|| Vec::with_capacity(4096));
///
/// let mut buffer = BUFFERS.get();
/// buffer.clear();
/// buffer.extend_from_slice(b"honk");
/// drop(buffer); // given back
/// assert_eq!(BUFFERS.kept(), 1);
/// ```
///
/// Source: Go's `sync.Pool`, whose bound is the garbage collector.
pub struct Pool<T> {
    make: fn() -> T,
    /// How many each shard keeps at most.
    kept_by_shard: usize,
    shards: [Mutex<Vec<T>>; SHARDS],
}

impl<T> Pool<T> {
    /// An empty pool that keeps 64 things at most.
    pub const fn new(make: fn() -> T) -> Self {
        Pool::with_capacity(KEPT_BY_DEFAULT, make)
    }

    /// An empty pool that keeps `capacity` things at most, rounded up to a multiple of 8.
    pub const fn with_capacity(capacity: usize, make: fn() -> T) -> Self {
        Pool {
            make,
            kept_by_shard: capacity.div_ceil(SHARDS),
            shards: [const { Mutex::new(Vec::new()) }; SHARDS],
        }
    }

    /// One that was given back, or a new one. It waits only while another is just taking or giving back.
    ///
    /// # Examples
    /// ```
    /// let pool = gaggle::sync::Pool::new(String::new);
    /// pool.get().push_str("left as it was");
    /// assert_eq!(*pool.get(), "left as it was");
    /// ```
    pub fn get(&self) -> Pooled<'_, T> {
        let value = self.take_kept().unwrap_or_else(self.make);
        Pooled {
            pool: self,
            value: ManuallyDrop::new(value),
        }
    }

    /// Gives `value` to the pool, wherever it comes from; it is dropped if the pool keeps enough.
    ///
    /// # Examples
    /// ```
    /// let pool = gaggle::sync::Pool::new(String::new);
    /// pool.put(String::from("honk"));
    /// assert_eq!(*pool.get(), "honk");
    /// ```
    pub fn put(&self, value: T) {
        let mut shard = self.shards[own_shard()].lock_shielded();
        if shard.len() < self.kept_by_shard {
            shard.push(value);
        } else {
            // Its destructor is the user's: not under the lock.
            drop(shard);
            drop(value);
        }
    }

    /// How many things are kept at the time of the call.
    pub fn kept(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock_shielded().len())
            .sum()
    }

    /// Drops all that are kept.
    pub fn clear(&self) {
        for shard in &self.shards {
            let kept = std::mem::take(&mut *shard.lock_shielded());
            drop(kept);
        }
    }

    fn take_kept(&self) -> Option<T> {
        let own = own_shard();
        let mut shards = (own..own + SHARDS).map(|number| &self.shards[number % SHARDS]);
        // A shard that another looks at just now is passed over: making one is no error.
        let first = shards.next().and_then(|shard| shard.lock_shielded().pop());
        first.or_else(|| shards.find_map(|shard| shard.try_lock()?.pop()))
    }
}

/// The shard of the calling goroutine.
fn own_shard() -> usize {
    Dispatch::current_id().unwrap_or(0) as usize % SHARDS
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("kept", &self.kept()).finish()
    }
}

/// A thing of a [`Pool`]; dropping it gives it back.
#[must_use = "it is given back when this is dropped"]
pub struct Pooled<'a, T> {
    pool: &'a Pool<T>,
    /// Taken out once, by the drop or by `take`.
    value: ManuallyDrop<T>,
}

impl<T> Pooled<'_, T> {
    /// Keeps the thing for good.
    ///
    /// # Examples
    /// ```
    /// use gaggle::sync::{Pool, Pooled};
    /// let pool = Pool::new(String::new);
    /// let text: String = Pooled::take(pool.get());
    /// assert_eq!((text.as_str(), pool.kept()), ("", 0));
    /// ```
    pub fn take(pooled: Self) -> T {
        let mut pooled = ManuallyDrop::new(pooled);
        // SAFETY: the guard does not drop any more, so this is the only taking.
        unsafe { ManuallyDrop::take(&mut pooled.value) }
    }
}

impl<T> Deref for Pooled<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Pooled<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Pooled<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the guard drops once, and `take` keeps it from dropping.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        self.pool.put(value);
    }
}

impl<T: fmt::Debug> fmt::Debug for Pooled<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
