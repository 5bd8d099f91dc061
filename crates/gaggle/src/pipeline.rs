//! Pipelines: values that flow through stages, each with goroutines of its own.
//!
//! A pipeline begins with a [`source`] (or a channel, [`receive`]), goes through stages such as
//! [`Stage::map`], and ends in a sink such as [`Stage::collect`], which runs on the caller. Between any
//! two stages is a channel with little room ([`Pipeline::buffer`]), so a slow stage slows those before it
//! down and memory stays bounded.
//!
//! ```
//! use gaggle::{context, pipeline};
//!
//! let squares: Vec<u64> = pipeline::source(&context::background(), 1..=4u64)
//!     .map_ordered(2, |n| n * n)
//!     .collect()?;
//! assert_eq!(squares, [1, 4, 9, 16]);
//! # Ok::<(), context::Cause>(())
//! ```
//!
//! One context ends the whole: the one it was made with, the first error that a stage answers, a panic
//! in a stage, or the last consumer's leaving. A sink returns when every goroutine of the pipeline has
//! ended; a consumer that leaves early leaves nothing behind. What is between the stages when a pipeline is
//! ended is dropped.
//!
//! - P1: a stage that stops before its input has ended, because the context has, says so before it
//!   closes its output; so a sink that has seen the end knows whether it has seen all.
//! - P2: every [`Stage`] and every [`Items`] is an outlet. With the last outlet the context ends, so no
//!   stage waits for a consumer, or a producer, whom nobody needs.
//! - P3: a stage ends when its input does, when its output has lost its consumer, or with the context;
//!   it waits for nothing else, but for the program's own functions.
//!
//! Source: "Go Concurrency Patterns: Pipelines and cancellation" (go.dev/blog/pipelines).

mod flow;
mod items;
mod stage;

use crate::chan::Receiver;
use crate::context::Context;
use flow::{Flow, Outlet};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use flow::{Input, Output, Stopped};
pub use items::Items;
pub use stage::Stage;

/// What a stage's function may answer as its error.
type BoxError = Box<dyn Error + Send + Sync>;

/// Makes a pipeline that begins with the values of `values`; see [`Pipeline::source`].
///
/// # Panics
/// As [`go`](crate::go).
///
/// # Examples
/// ```
/// use gaggle::{context, pipeline};
/// let sum = pipeline::source(&context::background(), 1..=3).fold(0, |sum, n| sum + n)?;
/// assert_eq!(sum, 6);
/// # Ok::<(), context::Cause>(())
/// ```
#[track_caller]
pub fn source<I>(context: &Context, values: I) -> Stage<I::Item>
where
    I: IntoIterator + Send + 'static,
    I::Item: Send + 'static,
{
    Pipeline::new(context).source(values)
}

/// Makes a pipeline that begins with what is received from `receiver`; see [`Pipeline::receive`].
///
/// # Examples
/// ```
/// use gaggle::{chan, context, pipeline};
/// let (sender, receiver) = chan::bounded(2);
/// sender.send("grey").unwrap();
/// sender.send("goose").unwrap();
/// drop(sender);
/// let words: Vec<_> = pipeline::receive(&context::background(), receiver).collect()?;
/// assert_eq!(words, ["grey", "goose"]);
/// # Ok::<(), context::Cause>(())
/// ```
pub fn receive<T: Send + 'static>(context: &Context, receiver: Receiver<T>) -> Stage<T> {
    Pipeline::new(context).receive(receiver)
}

/// A pipeline before its stages: for several sources, or another room between stages.
///
/// # Examples
/// ```
/// use gaggle::{context, pipeline::Pipeline};
/// let pipeline = Pipeline::new(&context::background()).buffer(1);
/// let (geese, ducks) = (pipeline.source(vec![3, 5]), pipeline.source(vec![10]));
/// let birds = geese.merge([ducks]).fold(0, |sum, n| sum + n)?;
/// assert_eq!(birds, 18);
/// # Ok::<(), context::Cause>(())
/// ```
#[derive(Clone)]
pub struct Pipeline {
    flow: Arc<Flow>,
    buffer: usize,
}

/// The room between two stages, unless said otherwise: so many values may go before the other side
/// must be switched to.
const BUFFER: usize = 16;

impl Pipeline {
    /// A pipeline that ends with `context` at the latest.
    pub fn new(context: &Context) -> Self {
        Pipeline {
            flow: Arc::new(Flow::new(context)),
            buffer: BUFFER,
        }
    }

    /// Sets for how many values there is room between a stage made from here on and the next: 16 unless
    /// set. 0: each value goes from one goroutine to the other directly.
    #[must_use = "it is a builder"]
    pub fn buffer(mut self, values: usize) -> Self {
        self.buffer = values;
        self
    }

    /// A stage that produces `values`, in a goroutine. Its iterator runs there; where it blocks, the
    /// pipeline ends only when it goes on: for what comes from a channel there is [`Pipeline::receive`].
    /// Never blocks the caller.
    ///
    /// A pipeline ends when nothing consumes from it any more: make all its sources before the first
    /// sink runs.
    ///
    /// # Panics
    /// As [`go`](crate::go).
    #[track_caller]
    pub fn source<I>(&self, values: I) -> Stage<I::Item>
    where
        I: IntoIterator + Send + 'static,
        I::Item: Send + 'static,
    {
        self.try_source(ok(values))
    }

    /// As [`Pipeline::source`], of values that may be errors: the first ends the pipeline.
    ///
    /// # Panics
    /// As [`go`](crate::go).
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline::Pipeline};
    /// let lines = ["1", "2", "goose"].map(str::parse::<u32>);
    /// let result = Pipeline::new(&context::background()).try_source(lines).collect::<Vec<_>>();
    /// assert_eq!(result.unwrap_err().to_string(), "invalid digit found in string");
    /// ```
    #[track_caller]
    pub fn try_source<I, T, E>(&self, values: I) -> Stage<T>
    where
        I: IntoIterator<Item = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let outlet = Outlet::new(&self.flow);
        let (output, input) = flow::channel(&self.flow, self.buffer);
        self.flow.start("pipeline source", output, move |output| {
            for value in values {
                output.send(value.map_err(Into::into)?)?;
            }
            Ok(())
        });
        Stage::new(input, outlet)
    }

    /// A stage that hands on what is received from `receiver`, until that is closed and drained. Has no
    /// goroutine of its own; what is not consumed stays in the channel. Never blocks the caller.
    pub fn receive<T: Send + 'static>(&self, receiver: Receiver<T>) -> Stage<T> {
        let input = Input::new(&self.flow, receiver, self.buffer);
        Stage::new(input, Outlet::new(&self.flow))
    }
}

/// The values, none of them an error. A function, so that the iterator is made in the goroutine.
fn ok<I: IntoIterator>(values: I) -> Sure<I> {
    Sure(values)
}

struct Sure<I>(I);

impl<I: IntoIterator> IntoIterator for Sure<I> {
    type Item = Result<I::Item, BoxError>;
    type IntoIter = std::iter::Map<I::IntoIter, fn(I::Item) -> Self::Item>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(Ok)
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("buffer", &self.buffer)
            .finish_non_exhaustive()
    }
}
