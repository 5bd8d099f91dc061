//! Worker pools in four kinds: by hand, with the errors collected, given up together, and growing.
//!
//! `cargo run -p gaggle-examples --bin worker_pools`

use gaggle::chan;
use gaggle::context::background;
use gaggle::pool::{ContextPool, ContextPoolError, DynamicPool, PoolError, TaskError, WorkerPool};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// By hand: a channel of jobs, a channel of results, and a few goroutines between.
fn by_hand() {
    let (jobs, queue) = chan::bounded(8);
    let (out, results) = chan::bounded(8);
    for _ in 0..3 {
        let (queue, out) = (queue.clone(), out.clone());
        gaggle::go(move || {
            for n in queue {
                out.send(n * n).expect("somebody takes the results");
            }
        });
    }
    drop(out); // the workers have theirs; the results end with them
    gaggle::go(move || (1..=10u32).for_each(|n| jobs.send(n).expect("the workers live")));
    let sum: u32 = results.iter().sum();
    println!("by hand: the squares' sum is {sum}");
    assert_eq!(sum, 385);
}

/// A fixed number of workers; of the results only the errors are kept.
fn with_errors() -> Result<(), PoolError> {
    assert_eq!(
        WorkerPool::<String>::new(0).err(),
        Some(PoolError::BadParams)
    );
    let pool = WorkerPool::<String>::new(3)?;
    assert_eq!(pool.add(|| Ok(())), Err(PoolError::NotStarted));
    pool.run();
    pool.run(); // starts nobody twice
    assert_eq!(pool.add_task(None), Err(PoolError::BadTask));
    for n in 0..10 {
        pool.add(move || match n % 4 {
            3 => Err(format!("job {n} failed")),
            _ => Ok(()),
        })?;
    }
    pool.shutdown(); // waits for what is in flight
    let mut errors: Vec<_> = pool.results().map(|error| error.to_string()).collect();
    errors.sort();
    println!("with errors: {errors:?}");
    assert_eq!(errors, ["job 3 failed", "job 7 failed"]);
    Ok(())
}

/// All or nothing: the first failure ends the others' context.
fn given_up_together() -> Result<(), PoolError> {
    let pool = ContextPool::<String>::new(&background(), 3)?;
    for _ in 0..2 {
        pool.add(|context| {
            let _ = context.done().recv(); // as long work that minds its context
            Ok(())
        })?;
    }
    pool.add(|_| Err("the disk is full".to_owned()))?;
    let result = pool.wait();
    println!("given up together: {result:?}");
    assert_eq!(
        result,
        Err(ContextPoolError::Failed("the disk is full".to_owned()))
    );
    Ok(())
}

/// As many workers as there is work for, between two bounds.
fn growing() -> Result<(), PoolError> {
    let pool = DynamicPool::<String>::with(1..=4, 16, Duration::from_millis(5))?;
    assert_eq!(pool.workers(), 1);
    // Nobody of four goes on before all four are there: so there are four workers.
    let (meet, done) = (Arc::new(Barrier::new(4)), Arc::new(AtomicU32::new(0)));
    for n in 0..16 {
        let (meet, done) = (Arc::clone(&meet), Arc::clone(&done));
        pool.add(move || {
            meet.wait();
            done.fetch_add(1, Ordering::Relaxed);
            if n == 5 {
                Err("five".to_owned())
            } else {
                Ok(())
            }
        })?;
    }
    let most = pool.workers();
    pool.shutdown();
    let errors: Vec<_> = pool.results().collect();
    println!("growing: {most} workers at the end of the adding, {errors:?}");
    assert!((1..=4).contains(&most));
    assert_eq!(done.load(Ordering::Relaxed), 16);
    assert_eq!(errors, [TaskError::Failed("five".to_owned())]);
    Ok(())
}

#[gaggle::main]
fn main() -> Result<(), PoolError> {
    by_hand();
    with_errors()?;
    given_up_together()?;
    growing()
}
