//! Where libc's synchronisation objects keep what they are: process-shared or not, whose clock, how
//! many, who owns them.
//!
//! Assumption: each of these stands in one 32-bit word of the object, at a place that is the same for
//! all objects (static initialisers and `inline` code of old programs depend on it). Tested with glibc
//! 2.36. Check: the places are found by making two objects that differ in the one thing and comparing
//! them; where they differ in another number of words, the place is unknown, and goroutines wait for
//! such objects in libc, on the hand-off path.

use super::symbols::Real;
use libc::c_int;
use std::mem::MaybeUninit;

/// The largest of the objects, in 32-bit words.
const WORDS: usize = 16;

/// An object's memory, large and aligned enough for each kind.
#[repr(align(16))]
struct Object([u32; WORDS]);

impl Object {
    /// The memory that `make` has made an object in; `None` if it refused.
    fn made(make: impl FnOnce(*mut u32) -> c_int) -> Option<Object> {
        let mut object = Object([0; WORDS]);
        (make(object.0.as_mut_ptr()) == 0).then_some(object)
    }
}

/// Some bits of a word of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    word: usize,
    mask: u32,
}

impl Place {
    /// Where two objects differ, if it is in one word.
    fn of_difference(one: &Object, other: &Object) -> Option<Place> {
        let mut found = None;
        for word in 0..WORDS {
            let mask = one.0[word] ^ other.0[word];
            if mask != 0 {
                if found.is_some() {
                    return None;
                }
                found = Some(Place { word, mask });
            }
        }
        found
    }

    /// The only word of `object` that holds `value`.
    fn of_value(object: &Object, value: u32) -> Option<Place> {
        let mut holding = (0..WORDS).filter(|word| object.0[*word] == value);
        let word = holding.next()?;
        let mask = u32::MAX;
        holding.next().is_none().then_some(Place { word, mask })
    }

    /// The word's address in the object at `object`.
    pub fn address(self, object: usize) -> *mut u32 {
        (object as *mut u32).wrapping_add(self.word)
    }

    /// What stands there.
    ///
    /// # Safety
    /// `object` is the address of an initialised object of the kind that the place was found in.
    pub unsafe fn read(self, object: usize) -> u32 {
        // SAFETY: within the object. Volatile: other threads may write words of it, though not the
        // bits asked for, or only the owner does.
        (unsafe { self.address(object).read_volatile() }) & self.mask
    }
}

/// What is known about the objects; `None`: not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncObjects {
    /// Not 0: a condition variable that other processes use.
    pub condition_shared: Option<Place>,
    /// Not 0: a condition variable whose deadlines are of the monotonic clock.
    pub condition_monotonic: Option<Place>,
    /// Not 0: a semaphore that other processes use.
    pub semaphore_shared: Option<Place>,
    /// Not 0: a barrier that other processes use.
    pub barrier_shared: Option<Place>,
    /// How many a barrier waits for.
    pub barrier_count: Option<Place>,
    /// Not 0: a read-write lock that other processes use.
    pub rwlock_shared: Option<Place>,
    /// Not 0: a read-write lock that prefers writers.
    pub rwlock_kind: Option<Place>,
    /// The thread that holds a read-write lock for writing.
    pub rwlock_owner: Option<Place>,
    /// The thread that holds a mutex.
    pub mutex_owner: Option<Place>,
}

type Initialise<A> = unsafe extern "C" fn(*mut u32, *const A) -> c_int;

/// A function that sets one of the attributes, and what to.
type Change<A> = (unsafe extern "C" fn(*mut A, c_int) -> c_int, c_int);

/// Makes an object, its attributes changed by `change`.
fn with_attributes<A>(
    initialise_attributes: unsafe extern "C" fn(*mut A) -> c_int,
    change: Option<Change<A>>,
    initialise: Initialise<A>,
) -> Option<Object> {
    let mut attributes = MaybeUninit::<A>::zeroed();
    let place = attributes.as_mut_ptr();
    // SAFETY: memory for the attributes.
    if unsafe { initialise_attributes(place) } != 0 {
        return None;
    }
    if let Some((change, value)) = change
        // SAFETY: attributes that were just made; each of these functions takes any number.
        && unsafe { change(place, value) } != 0
    {
        return None;
    }
    // SAFETY: memory for an object, and attributes made above.
    Object::made(|object| unsafe { initialise(object, place) })
}

macro_rules! initialiser {
    ($function:path, $object:ty, $attributes:ty) => {{
        unsafe extern "C" fn initialise(object: *mut u32, attributes: *const $attributes) -> c_int {
            // SAFETY: the caller passes memory for an object and attributes that were made.
            unsafe { $function(object.cast::<$object>(), attributes) }
        }
        initialise
    }};
}

const SHARED: c_int = libc::PTHREAD_PROCESS_SHARED;

unsafe extern "C" {
    fn pthread_rwlockattr_setkind_np(
        attributes: *mut libc::pthread_rwlockattr_t,
        kind: c_int,
    ) -> c_int;
}

/// Compares two objects that differ in what `change` does to the attributes.
fn difference<A>(
    initialise_attributes: unsafe extern "C" fn(*mut A) -> c_int,
    change: Change<A>,
    initialise: Initialise<A>,
) -> Option<Place> {
    let plain = with_attributes(initialise_attributes, None, initialise)?;
    let changed = with_attributes(initialise_attributes, Some(change), initialise)?;
    Place::of_difference(&plain, &changed)
}

impl SyncObjects {
    /// Finds the places. `thread` is the calling thread's number.
    pub fn discover(thread: u32) -> SyncObjects {
        let condition = initialiser!(
            libc::pthread_cond_init,
            libc::pthread_cond_t,
            libc::pthread_condattr_t
        );
        let barrier = initialiser!(
            barrier_of_some,
            libc::pthread_barrier_t,
            libc::pthread_barrierattr_t
        );
        let rwlock = initialiser!(
            libc::pthread_rwlock_init,
            libc::pthread_rwlock_t,
            libc::pthread_rwlockattr_t
        );
        SyncObjects {
            condition_shared: difference(
                libc::pthread_condattr_init,
                (libc::pthread_condattr_setpshared, SHARED),
                condition,
            ),
            condition_monotonic: difference(
                libc::pthread_condattr_init,
                (libc::pthread_condattr_setclock, libc::CLOCK_MONOTONIC),
                condition,
            ),
            semaphore_shared: semaphore(0)
                .zip(semaphore(1))
                .and_then(|(own, shared)| Place::of_difference(&own, &shared)),
            barrier_shared: difference(
                libc::pthread_barrierattr_init,
                (libc::pthread_barrierattr_setpshared, SHARED),
                barrier,
            ),
            barrier_count: with_attributes(libc::pthread_barrierattr_init, None, barrier)
                .and_then(|made| Place::of_value(&made, BARRIER_COUNT)),
            rwlock_shared: difference(
                libc::pthread_rwlockattr_init,
                (libc::pthread_rwlockattr_setpshared, SHARED),
                rwlock,
            ),
            rwlock_kind: difference(
                libc::pthread_rwlockattr_init,
                (pthread_rwlockattr_setkind_np, 2),
                rwlock,
            ),
            rwlock_owner: rwlock_owner(thread),
            mutex_owner: mutex_owner(thread),
        }
    }
}

/// How many the barrier waits for that the places are looked for in; a number that nothing else is.
const BARRIER_COUNT: u32 = 0x1234_5677;

/// # Safety
/// As for `pthread_barrier_init`.
unsafe fn barrier_of_some(
    barrier: *mut libc::pthread_barrier_t,
    attributes: *const libc::pthread_barrierattr_t,
) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { libc::pthread_barrier_init(barrier, attributes, BARRIER_COUNT) }
}

fn semaphore(shared: c_int) -> Option<Object> {
    // SAFETY: memory for a semaphore.
    Object::made(|object| unsafe { libc::sem_init(object.cast(), shared, 0) })
}

fn rwlock_owner(thread: u32) -> Option<Place> {
    let object = Object::made(|object| {
        let lock = object.cast::<libc::pthread_rwlock_t>();
        // SAFETY: zeros are an unlocked lock (the static initialiser). Nobody else knows it, so this
        // does not wait, and it is forgotten locked, which holds nothing.
        unsafe { libc::pthread_rwlock_trywrlock(lock) }
    })?;
    Place::of_value(&object, thread)
}

/// libc's own, since the name is a hook's.
static TRY_LOCK: Real = Real::new(c"pthread_mutex_trylock");

fn mutex_owner(thread: u32) -> Option<Place> {
    let object = Object::made(|object| {
        let mutex = object.cast::<libc::pthread_mutex_t>();
        // SAFETY: libc's function of this name has this type.
        let try_lock: unsafe extern "C" fn(*mut libc::pthread_mutex_t) -> c_int =
            unsafe { std::mem::transmute(TRY_LOCK.resolve()) };
        // SAFETY: as in `rwlock_owner`.
        unsafe { try_lock(mutex) }
    })?;
    Place::of_value(&object, thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_libc_keeps_each_of_them_in_one_word() {
        let found = SyncObjects::discover(crate::call::thread_id() as u32);
        let places = [
            found.condition_shared,
            found.condition_monotonic,
            found.semaphore_shared,
            found.barrier_shared,
            found.barrier_count,
            found.rwlock_shared,
            found.rwlock_kind,
            found.rwlock_owner,
            found.mutex_owner,
        ];
        assert!(places.iter().all(Option::is_some), "{found:?}");
    }

    #[test]
    fn objects_that_differ_in_two_words_have_no_place() {
        let one = Object([0; WORDS]);
        let mut other = Object([0; WORDS]);
        assert_eq!(Place::of_difference(&one, &other), None);
        other.0[3] = 6;
        let place = Place { word: 3, mask: 6 };
        assert_eq!(Place::of_difference(&one, &other), Some(place));
        other.0[4] = 1;
        assert_eq!(Place::of_difference(&one, &other), None);
    }
}
