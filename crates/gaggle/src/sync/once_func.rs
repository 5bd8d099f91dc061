//! Functions that run once, however often they are called.

use super::{Mutex, OnceLock};
use crate::panics::text_of;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::Arc;

/// Makes a function that runs `f` at its first call and does nothing at later ones, which return once the first
/// has run. Clones are the same function; it may be called from several goroutines.
///
/// # Panics
/// The function that is made panics at every call if `f` has panicked: at the first call with `f`'s own payload,
/// at later ones with the same text.
///
/// # Examples
/// ```
/// let greet = gaggle::sync::once_func(|| println!("hello"));
/// greet();
/// greet(); // prints nothing
/// ```
///
/// Source: Go's `sync.OnceFunc`.
pub fn once_func<F>(f: F) -> impl Fn() + Clone + Send + Sync
where
    F: FnOnce() + Send,
{
    let run = once_value(f);
    move || run()
}

/// Makes a function that runs `f` at its first call and answers a clone of what that answered, then and at every
/// later call. Several values are a tuple.
///
/// # Panics
/// As [`once_func`]'s.
///
/// # Examples
/// ```
/// let answer = gaggle::sync::once_value(|| 6 * 7);
/// assert_eq!((answer(), answer()), (42, 42));
/// ```
///
/// Source: Go's `sync.OnceValue` and `sync.OnceValues`.
pub fn once_value<T, F>(f: F) -> impl Fn() -> T + Clone + Send + Sync
where
    T: Clone + Send + Sync,
    F: FnOnce() -> T + Send,
{
    let shared = Arc::new(Shared {
        // Taken out by the first call, so that what it holds is dropped then.
        f: Mutex::new(Some(f)),
        outcome: OnceLock::new(),
    });
    move || shared.call()
}

struct Shared<T, F> {
    f: Mutex<Option<F>>,
    outcome: OnceLock<Result<T, Text>>,
}

/// What a panic said.
type Text = Arc<str>;

impl<T: Clone, F: FnOnce() -> T> Shared<T, F> {
    fn call(&self) -> T {
        let mut first_panic = None;
        let outcome = self.outcome.get_or_init(|| {
            let f = self.f.lock_shielded().take();
            let f = f.expect("one call at most makes the outcome");
            // Its panic goes on below, when nobody waits for the outcome any more.
            catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
                let text = Text::from(text_of(&*payload));
                first_panic = Some(payload);
                text
            })
        });
        if let Some(payload) = first_panic {
            resume_unwind(payload);
        }
        match outcome {
            Ok(value) => value.clone(),
            Err(text) => panic_any(text.to_string()),
        }
    }
}
