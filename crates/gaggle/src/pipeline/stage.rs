//! The stages of a pipeline.

use super::flow::{Input, Outlet, Output, channel};
use super::{BoxError, Items};
use crate::backend::Dispatch;
use crate::context::Cause;
use crate::rate::Limiter;
use crate::time::deadline_after;
use gaggle_core::contract::Runtime;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The values that come out of a pipeline so far; the next stage, or a sink, consumes them.
///
/// What makes a stage never blocks. Dropping one is a consumer's leaving: the stages that worked for it
/// alone end.
#[must_use = "a pipeline ends when nobody consumes its values"]
pub struct Stage<T> {
    input: Input<T>,
    outlet: Outlet,
}

impl<T: Send + 'static> Stage<T> {
    pub(super) fn new(input: Input<T>, outlet: Outlet) -> Self {
        Stage { input, outlet }
    }

    /// A stage of your own: `work` runs in each of `workers` goroutines, takes values from its input and
    /// sends others to its output, as it likes, until the input answers `None`.
    ///
    /// An error that `work` answers ends the pipeline, but for [`Stopped`](super::Stopped).
    ///
    /// # Panics
    /// When there are no workers; and as [`go`](crate::go).
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// let even: Vec<i32> = pipeline::source(&context::background(), 1..=6)
    ///     .through(1, |input, output| {
    ///         while let Some(n) = input.recv() {
    ///             if n % 2 == 0 {
    ///                 output.send(n)?;
    ///             }
    ///         }
    ///         Ok(())
    ///     })
    ///     .collect()?;
    /// assert_eq!(even, [2, 4, 6]);
    /// # Ok::<(), context::Cause>(())
    /// ```
    #[track_caller]
    pub fn through<U, F>(self, workers: usize, work: F) -> Stage<U>
    where
        U: Send + 'static,
        F: Fn(&Input<T>, &Output<U>) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        assert!(workers > 0, "a stage needs a worker");
        let (output, input) = channel(self.outlet.flow(), self.input.buffer());
        let work = Arc::new(work);
        for _ in 0..workers {
            let ends = (self.input.clone(), output.clone());
            let work = Arc::clone(&work);
            let flow = self.outlet.flow();
            flow.start("pipeline stage", ends, move |(input, output)| {
                work(input, output)
            });
        }
        Stage::new(input, self.outlet)
    }

    /// Calls `f` with each value, in `workers` goroutines, and hands on what it answers, in the order in
    /// which it is ready (with one worker: in their order).
    ///
    /// # Panics
    /// As [`Stage::through`].
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// let mut lengths: Vec<usize> = pipeline::source(&context::background(), ["goose", "duck"])
    ///     .map(2, str::len)
    ///     .collect()?;
    /// lengths.sort();
    /// assert_eq!(lengths, [4, 5]);
    /// # Ok::<(), context::Cause>(())
    /// ```
    #[track_caller]
    pub fn map<U, F>(self, workers: usize, f: F) -> Stage<U>
    where
        U: Send + 'static,
        F: Fn(T) -> U + Send + Sync + 'static,
    {
        self.through(workers, move |input, output| {
            while let Some(value) = input.recv() {
                output.send(f(value))?;
            }
            Ok(())
        })
    }

    /// As [`Stage::map`], with an `f` that may fail; its first error ends the pipeline, and is what the
    /// sink answers.
    ///
    /// # Panics
    /// As [`Stage::through`].
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// let result = pipeline::source(&context::background(), ["1", "goose"])
    ///     .try_map(1, str::parse::<u32>)
    ///     .collect::<Vec<_>>();
    /// assert!(result.unwrap_err().is::<std::num::ParseIntError>());
    /// ```
    #[track_caller]
    pub fn try_map<U, E, F>(self, workers: usize, f: F) -> Stage<U>
    where
        U: Send + 'static,
        E: Into<BoxError>,
        F: Fn(T) -> Result<U, E> + Send + Sync + 'static,
    {
        self.through(workers, move |input, output| {
            while let Some(value) = input.recv() {
                output.send(f(value).map_err(Into::into)?)?;
            }
            Ok(())
        })
    }

    /// As [`Stage::map`], handing on in the order of the values. A value that takes long holds back those
    /// after it: each worker may be two values ahead, then it waits.
    ///
    /// # Panics
    /// As [`Stage::through`].
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline, time};
    /// use std::time::Duration;
    /// let slow_first = |n: u64| {
    ///     time::sleep(Duration::from_millis(3 - n));
    ///     n
    /// };
    /// let all: Vec<u64> = pipeline::source(&context::background(), 0..=2)
    ///     .map_ordered(3, slow_first)
    ///     .collect()?;
    /// assert_eq!(all, [0, 1, 2]);
    /// # Ok::<(), context::Cause>(())
    /// ```
    #[track_caller]
    pub fn map_ordered<U, F>(self, workers: usize, f: F) -> Stage<U>
    where
        U: Send + 'static,
        F: Fn(T) -> U + Send + Sync + 'static,
    {
        self.ordered(workers, move |value| Ok(f(value)))
    }

    /// As [`Stage::map_ordered`], with an `f` that may fail; see [`Stage::try_map`].
    ///
    /// # Panics
    /// As [`Stage::through`].
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// let numbers: Vec<u32> = pipeline::source(&context::background(), ["1", "2"])
    ///     .try_map_ordered(2, str::parse)
    ///     .collect()?;
    /// assert_eq!(numbers, [1, 2]);
    /// # Ok::<(), context::Cause>(())
    /// ```
    #[track_caller]
    pub fn try_map_ordered<U, E, F>(self, workers: usize, f: F) -> Stage<U>
    where
        U: Send + 'static,
        E: Into<BoxError>,
        F: Fn(T) -> Result<U, E> + Send + Sync + 'static,
    {
        self.ordered(workers, move |value| f(value).map_err(Into::into))
    }

    /// A lane for each worker. Values are dealt to the lanes in turn, and what comes out of them is taken
    /// in the same turn: so order needs no numbers, and nothing is allocated for a value.
    #[track_caller]
    fn ordered<U, F>(self, workers: usize, f: F) -> Stage<U>
    where
        U: Send + 'static,
        F: Fn(T) -> Result<U, BoxError> + Send + Sync + 'static,
    {
        assert!(workers > 0, "a stage needs a worker");
        let flow = Arc::clone(self.outlet.flow());
        let f = Arc::new(f);
        let (mut lanes_in, mut lanes_out) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (lane_in, todo) = channel::<T>(&flow, 1);
            let (done, lane_out) = channel::<U>(&flow, 1);
            lanes_in.push(lane_in);
            lanes_out.push(lane_out);
            let f = Arc::clone(&f);
            flow.start("pipeline stage", (todo, done), move |(todo, done)| {
                while let Some(value) = todo.recv() {
                    done.send(f(value)?)?;
                }
                Ok(())
            });
        }
        let (output, input) = channel(&flow, self.input.buffer());
        flow.start(
            "pipeline dealer",
            (self.input, lanes_in),
            |(input, lanes)| {
                for lane in lanes.iter().cycle() {
                    let Some(value) = input.recv() else { break };
                    lane.send(value)?;
                }
                Ok(())
            },
        );
        flow.start(
            "pipeline collector",
            (lanes_out, output),
            |(lanes, output)| {
                for lane in lanes.iter().cycle() {
                    // The first lane that has ended is the one whose turn would come next.
                    let Some(value) = lane.recv() else { break };
                    output.send(value)?;
                }
                Ok(())
            },
        );
        Stage::new(input, self.outlet)
    }

    /// Hands on what comes from this stage and from `others`, in the order in which it comes: fan-in.
    ///
    /// # Panics
    /// When one of `others` is not of the same [`Pipeline`](super::Pipeline); and as [`go`](crate::go).
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline::Pipeline};
    /// let pipeline = Pipeline::new(&context::background());
    /// let both = pipeline.source([1, 2]).merge([pipeline.source([3])]);
    /// assert_eq!(both.fold(0, |sum, n| sum + n)?, 6);
    /// # Ok::<(), context::Cause>(())
    /// ```
    #[track_caller]
    pub fn merge(self, others: impl IntoIterator<Item = Stage<T>>) -> Stage<T> {
        let flow = Arc::clone(self.outlet.flow());
        let (output, input) = channel(&flow, self.input.buffer());
        let Stage {
            input: first,
            outlet,
        } = self;
        let mut inputs = vec![first];
        for other in others {
            let is_same = Arc::ptr_eq(&flow, other.outlet.flow());
            assert!(is_same, "only stages of one pipeline can be merged");
            inputs.push(other.input);
        }
        for input in inputs {
            flow.start(
                "pipeline merge",
                (input, output.clone()),
                |(input, output)| {
                    while let Some(value) = input.recv() {
                        output.send(value)?;
                    }
                    Ok(())
                },
            );
        }
        Stage::new(input, outlet)
    }

    /// Hands every value on to each of `N` stages. The slowest of them sets the pace, so each needs a
    /// consumer of its own at the same time (in a goroutine). One that leaves does not hold up the
    /// others.
    ///
    /// # Panics
    /// As [`go`](crate::go).
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// let [sum, count] = pipeline::source(&context::background(), 1..=100).tee();
    /// let count = gaggle::go(move || count.fold(0, |n, _| n + 1));
    /// assert_eq!(sum.fold(0, |sum, n| sum + n)?, 5050);
    /// assert_eq!(count.join().unwrap()?, 100);
    /// # Ok::<(), context::Cause>(())
    /// ```
    #[track_caller]
    pub fn tee<const N: usize>(self) -> [Stage<T>; N]
    where
        T: Clone,
    {
        let flow = Arc::clone(self.outlet.flow());
        let mut outputs = Vec::with_capacity(N);
        let stages = std::array::from_fn(|_| {
            let (output, input) = channel(&flow, self.input.buffer());
            outputs.push(output);
            Stage::new(input, Outlet::new(&flow))
        });
        let mut live = outputs.clone();
        // The ends keep the outputs open until it is known that all went well.
        flow.start("pipeline tee", (self.input, outputs), move |(input, _)| {
            while !live.is_empty()
                && let Some(value) = input.recv()
            {
                live.retain(|output| output.send(value.clone()).is_ok());
            }
            Ok(())
        });
        stages
    }

    /// Gathers values: hands on `max` of them at a time, or, `wait` after the first of a batch came, those
    /// that there are. The last batch may be smaller; none is empty.
    ///
    /// # Panics
    /// When `max` is 0; and as [`go`](crate::go).
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// use std::time::Duration;
    /// let batches: Vec<Vec<i32>> = pipeline::source(&context::background(), 1..=5)
    ///     .batch(2, Duration::from_secs(3600))
    ///     .collect()?;
    /// assert_eq!(batches, [vec![1, 2], vec![3, 4], vec![5]]);
    /// # Ok::<(), context::Cause>(())
    /// ```
    #[track_caller]
    pub fn batch(self, max: usize, wait: Duration) -> Stage<Vec<T>> {
        assert!(max > 0, "a batch has room for one value at least");
        self.through(1, move |input, output| {
            while let Some(first) = input.recv() {
                let deadline = deadline_after(wait);
                let mut batch = vec![first];
                while batch.len() < max
                    && let Some(Some(value)) = input.recv_until(deadline)
                {
                    batch.push(value);
                }
                output.send(batch)?;
            }
            Ok(())
        })
    }

    /// Lets a value pass each `interval` at most. The first passes at once; time in which none came is
    /// not made up for.
    ///
    /// # Panics
    /// As [`go`](crate::go).
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// use std::time::{Duration, Instant};
    /// let start = Instant::now();
    /// pipeline::source(&context::background(), 0..3)
    ///     .throttle(Duration::from_millis(2))
    ///     .drain()?;
    /// assert!(start.elapsed() >= Duration::from_millis(4));
    /// # Ok::<(), context::Cause>(())
    /// ```
    #[track_caller]
    pub fn throttle(self, interval: Duration) -> Stage<T> {
        self.through(1, move |input, output| {
            let mut free = Dispatch::now();
            while let Some(value) = input.recv() {
                if !input.wait_until(free) {
                    break;
                }
                free = deadline_after(interval);
                output.send(value)?;
            }
            Ok(())
        })
    }

    /// Lets values pass as `limiter` allows, which others may share.
    ///
    /// # Errors
    /// Where the limiter can never allow a value, or not before the deadline, that ends the pipeline.
    ///
    /// # Panics
    /// As [`go`](crate::go).
    ///
    /// # Examples
    /// ```
    /// use gaggle::rate::{Limit, Limiter};
    /// use gaggle::{context, pipeline};
    /// use std::sync::Arc;
    /// let limiter = Arc::new(Limiter::new(Limit::per_second(1000.0), 2));
    /// let all: Vec<u8> = pipeline::source(&context::background(), 0..4)
    ///     .limit(limiter)
    ///     .collect()?;
    /// assert_eq!(all, [0, 1, 2, 3]);
    /// # Ok::<(), context::Cause>(())
    /// ```
    #[track_caller]
    pub fn limit(self, limiter: Arc<Limiter>) -> Stage<T> {
        self.through(1, move |input, output| {
            while let Some(value) = input.recv() {
                limiter.wait(input.context())?;
                output.send(value)?;
            }
            Ok(())
        })
    }

    /// The sink that hands the values to the caller, one by one.
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// let mut items = pipeline::source(&context::background(), 1..=3).items();
    /// for n in &mut items {
    ///     println!("{n}");
    /// }
    /// items.finish()?; // or why there were no more
    /// # Ok::<(), context::Cause>(())
    /// ```
    pub fn items(self) -> Items<T> {
        Items::new(self.input, self.outlet)
    }

    /// The sink that calls `f` with each value, on the caller. Blocks this goroutine (never its OS
    /// thread) until the pipeline has ended and, if it failed or no other consumer is left, its
    /// goroutines have.
    ///
    /// # Errors
    /// The first error of a stage, or why the context has ended, unless all values had come before.
    ///
    /// # Panics
    /// With the panic of a stage (of several consumers, one; the others get an error), or of `f`.
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// let mut seen = Vec::new();
    /// pipeline::source(&context::background(), 1..=3).for_each(|n| seen.push(n))?;
    /// assert_eq!(seen, [1, 2, 3]);
    /// # Ok::<(), context::Cause>(())
    /// ```
    pub fn for_each(self, mut f: impl FnMut(T)) -> Result<(), Cause> {
        let mut items = self.items();
        items.by_ref().for_each(&mut f);
        items.finish()
    }

    /// As [`Stage::for_each`], with an `f` that may fail, which ends the pipeline.
    ///
    /// # Errors
    /// As [`Stage::for_each`], or the error of `f`.
    ///
    /// # Panics
    /// As [`Stage::for_each`].
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// let result = pipeline::source(&context::background(), 1..)
    ///     .try_for_each(|n| if n < 10 { Ok(()) } else { Err("enough") });
    /// assert_eq!(result.unwrap_err().to_string(), "enough");
    /// ```
    pub fn try_for_each<E>(self, mut f: impl FnMut(T) -> Result<(), E>) -> Result<(), Cause>
    where
        E: Into<BoxError>,
    {
        let mut items = self.items();
        if let Err(error) = items.by_ref().try_for_each(&mut f) {
            items.fail(error.into());
        }
        items.finish()
    }

    /// The sink that gathers all values, as [`Iterator::collect`]. Blocks as [`Stage::for_each`].
    ///
    /// # Errors
    /// As [`Stage::for_each`].
    ///
    /// # Panics
    /// As [`Stage::for_each`].
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// let all: Vec<i32> = pipeline::source(&context::background(), 1..=3).collect()?;
    /// assert_eq!(all, [1, 2, 3]);
    /// # Ok::<(), context::Cause>(())
    /// ```
    pub fn collect<C: FromIterator<T>>(self) -> Result<C, Cause> {
        let mut items = self.items();
        let all = items.by_ref().collect();
        items.finish()?;
        Ok(all)
    }

    /// The sink that brings all values into one, as [`Iterator::fold`]. Blocks as [`Stage::for_each`].
    ///
    /// # Errors
    /// As [`Stage::for_each`].
    ///
    /// # Panics
    /// As [`Stage::for_each`].
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// let product = pipeline::source(&context::background(), 1..=3).fold(1, |product, n| product * n)?;
    /// assert_eq!(product, 6);
    /// # Ok::<(), context::Cause>(())
    /// ```
    pub fn fold<A>(self, begin: A, f: impl FnMut(A, T) -> A) -> Result<A, Cause> {
        let mut items = self.items();
        let result = items.by_ref().fold(begin, f);
        items.finish()?;
        Ok(result)
    }

    /// The sink that drops all values, for stages that do the work. Blocks as [`Stage::for_each`].
    ///
    /// # Errors
    /// As [`Stage::for_each`].
    ///
    /// # Panics
    /// As [`Stage::for_each`].
    ///
    /// # Examples
    /// ```
    /// use gaggle::{context, pipeline};
    /// pipeline::source(&context::background(), 1..=3).map(2, |n| println!("{n}")).drain()?;
    /// # Ok::<(), context::Cause>(())
    /// ```
    pub fn drain(self) -> Result<(), Cause> {
        self.for_each(drop)
    }
}

impl<T: Send + 'static> IntoIterator for Stage<T> {
    type Item = T;
    type IntoIter = Items<T>;
    fn into_iter(self) -> Items<T> {
        self.items()
    }
}

impl<T> fmt::Debug for Stage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").finish_non_exhaustive()
    }
}
