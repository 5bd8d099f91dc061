//! The values of a pipeline as an iterator.

use super::BoxError;
use super::flow::{Input, Outlet};
use crate::context::Cause;
use std::fmt;
use std::iter::FusedIterator;

/// The values that come out of a pipeline; made by [`Stage::items`](super::Stage::items).
///
/// The iterator ends when the values do or when the pipeline fails; [`Items::finish`] tells which.
/// Dropping it is leaving early: the pipeline ends by itself then, without being waited for.
///
/// # Examples
/// ```
/// use gaggle::{context, pipeline};
/// let mut numbers = pipeline::source(&context::background(), 1..).items();
/// assert_eq!(numbers.next(), Some(1));
/// drop(numbers); // though it would go on for ever
/// ```
#[must_use = "a pipeline ends when nobody consumes its values"]
pub struct Items<T> {
    /// `None`: it has ended.
    input: Option<Input<T>>,
    outlet: Outlet,
}

impl<T> Items<T> {
    pub(super) fn new(input: Input<T>, outlet: Outlet) -> Self {
        Items {
            input: Some(input),
            outlet,
        }
    }

    /// Ends the pipeline with an error.
    pub(super) fn fail(&mut self, error: BoxError) {
        self.outlet.flow().fail(error);
        self.input = None;
    }

    /// Says whether all values have come, once the iterator has ended; before, the pipeline ends here.
    /// Blocks this goroutine (never its OS thread) until, if the pipeline failed or no other consumer is
    /// left, all its goroutines have ended.
    ///
    /// # Errors
    /// The first error of a stage, or why the context has ended, if it has before the values did.
    ///
    /// # Panics
    /// With the panic of a stage.
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// let mut words = pipeline::source(&context::background(), ["1", "goose"])
    ///     .try_map(1, str::parse::<u32>)
    ///     .items();
    /// assert!(words.by_ref().count() <= 1); // the error may overtake the value before it
    /// assert!(words.finish().is_err());
    /// ```
    pub fn finish(self) -> Result<(), Cause> {
        drop(self.input);
        self.outlet.finish()
    }
}

impl<T> Iterator for Items<T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        let value = self.input.as_ref()?.recv();
        if value.is_none() {
            self.input = None;
        }
        value
    }
}

impl<T> FusedIterator for Items<T> {}

impl<T> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items")
            .field("has_ended", &self.input.is_none())
            .finish_non_exhaustive()
    }
}
