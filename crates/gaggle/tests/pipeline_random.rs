//! Pipelines made by chance: whatever the stages and however they end, nothing is lost in one that ends by
//! itself, nothing comes twice in any, and no goroutine stays.
//!
//! A failure names its seed; `GAGGLE_TEST_SEED` runs that one alone.

mod support;

use gaggle::context::{self, Cause, Context};
use gaggle::pipeline::{Pipeline, Stage};
use gaggle::testing::LeakCheck;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const RUNS: u64 = 150;

/// Numbers from a seed. Source: Vigna's `splitmix64`.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn workers(&mut self) -> usize {
        1 + self.below(4) as usize
    }
}

/// How a pipeline ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    ByItself,
    /// The consumer leaves after so many.
    Leave(u64),
    /// This value is an error in a stage.
    Error(u64),
    /// This value is a panic in a stage.
    Panic(u64),
    /// Another goroutine cancels it.
    Cancel,
}

/// Keeps the processor from this goroutine now and then, so that interleavings differ.
fn dawdle(value: u64) {
    if value.is_multiple_of(5) {
        gaggle::yield_now();
    }
}

fn add_stage(stage: Stage<u64>, chance: &mut Chance) -> Stage<u64> {
    let workers = chance.workers();
    match chance.below(5) {
        0 => stage.map(workers, |value| {
            dawdle(value);
            value
        }),
        1 => stage.map_ordered(workers, |value| {
            dawdle(value);
            value
        }),
        2 => {
            let wait = Duration::from_micros(chance.below(2000));
            let batches = stage.batch(workers, wait);
            batches.through(1, |input, output| {
                while let Some(batch) = input.recv() {
                    assert!(!batch.is_empty(), "a batch is never empty");
                    batch.into_iter().try_for_each(|value| output.send(value))?;
                }
                Ok(())
            })
        }
        3 => {
            let [kept, other] = stage.tee();
            // It may leave before the end.
            let taken = chance.below(100) as usize;
            gaggle::go(move || other.items().take(taken).count());
            kept
        }
        _ => stage.throttle(Duration::from_micros(chance.below(20))),
    }
}

struct Plan {
    ending: Ending,
    stages: u64,
    buffer: usize,
    counts: [u64; 2],
}

impl Plan {
    fn new(chance: &mut Chance) -> Self {
        let counts = [chance.below(120), chance.below(60)];
        let total = counts[0] + counts[1];
        let ending = match chance.below(6) {
            0 => Ending::Leave(chance.below(total + 1)),
            1 => Ending::Error(chance.below(total + 1)),
            2 => Ending::Panic(chance.below(total + 1)),
            3 => Ending::Cancel,
            _ => Ending::ByItself,
        };
        Plan {
            ending,
            stages: chance.below(5),
            buffer: chance.below(4) as usize,
            counts,
        }
    }

    fn build(&self, context: &Context, chance: &mut Chance) -> Stage<u64> {
        let pipeline = Pipeline::new(context).buffer(self.buffer);
        let [first, second] = self.counts;
        let sources = [
            pipeline.source(0..first),
            pipeline.source(first..first + second),
        ];
        let [mut stage, other] = sources;
        stage = add_stage(stage, chance).merge([other]);
        for _ in 0..self.stages {
            stage = add_stage(stage, chance);
        }
        let ending = self.ending;
        stage.try_map(chance.workers(), move |value| match ending {
            Ending::Error(bad) if bad == value => Err("as it should"),
            Ending::Panic(bad) if bad == value => panic!("as it should"),
            _ => Ok(value),
        })
    }
}

type Outcome = Result<Result<(), Cause>, Box<dyn Any + Send>>;

fn consume(plan: &Plan, stage: Stage<u64>, seen: &mut Vec<u64>) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| {
        let mut items = stage.items();
        match plan.ending {
            Ending::Leave(after) => seen.extend(items.by_ref().take(after as usize)),
            _ => seen.extend(items.by_ref()),
        }
        items.finish()
    }))
}

fn run(seed: u64) -> Result<(), String> {
    let mut chance = Chance(seed);
    let plan = Plan::new(&mut chance);
    let mut seen = Vec::new();
    let (outcome, leaks) = LeakCheck::new().run(|| {
        let (context, cancel) = context::background().with_cancel();
        let stage = plan.build(&context, &mut chance);
        let turns = match plan.ending {
            Ending::Cancel => chance.below(50),
            _ => u64::MAX,
        };
        let canceller = gaggle::go(move || {
            if turns < u64::MAX {
                (0..turns).for_each(|_| gaggle::yield_now());
                cancel.cancel();
            }
            cancel // and kept until the pipeline has ended
        });
        let outcome = consume(&plan, stage, &mut seen);
        drop(canceller.join().expect("no panic"));
        outcome
    });
    let fail = |what: &dyn fmt::Display| Err(format!("{what}; {:?}; saw {seen:?}", plan.ending));
    if !leaks.is_empty() {
        return fail(&leaks);
    }
    let total = plan.counts[0] + plan.counts[1];
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1])
        || sorted.last() >= Some(&total) && total > 0
    {
        return fail(&"a value came twice, or from nowhere");
    }
    let all_came = sorted.len() as u64 == total;
    match (plan.ending, outcome) {
        (Ending::ByItself | Ending::Cancel, Ok(Ok(()))) if all_came => Ok(()),
        (Ending::Cancel, Ok(Err(_))) => Ok(()),
        (Ending::Leave(after), Ok(Ok(()))) if seen.len() as u64 == after => Ok(()),
        // The one value that is bad is beyond the last.
        (Ending::Error(bad) | Ending::Panic(bad), Ok(Ok(()))) if bad == total && all_came => Ok(()),
        (Ending::Error(_), Ok(Err(cause))) if cause.to_string() == "as it should" => Ok(()),
        (Ending::Panic(_), Err(payload)) if payload.is::<&str>() => Ok(()),
        (_, Ok(result)) => fail(&format!("ended with {result:?}")),
        (_, Err(_)) => fail(&"panicked"),
    }
}

#[test]
fn pipelines_made_by_chance_end_as_they_should() {
    support::random::with_seeds(RUNS, run);
}
