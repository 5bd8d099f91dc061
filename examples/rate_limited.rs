//! Calls to a partner that allows a hundred a second, two at once: who comes too early waits.
//!
//! `cargo run -p gaggle-examples --bin rate_limited`

use gaggle::context::background;
use gaggle::rate::{Limit, Limiter};
use std::time::{Duration, Instant};

#[gaggle::main]
fn main() {
    let limiter = Limiter::new(Limit::per_second(100.0), 2);
    let context = background();
    let start = Instant::now();
    let mut times = Vec::new();
    gaggle::scope(|scope| {
        let callers = (0..10).map(|_| {
            scope.go(|| {
                limiter.wait(&context).expect("it comes");
                start.elapsed()
            })
        });
        let callers: Vec<_> = callers.collect();
        times.extend(
            callers
                .into_iter()
                .map(|caller| caller.join().expect("no panic")),
        );
    });
    times.sort();
    println!("ten calls went out at {times:.0?}");
    // Two at once, then one each 10 ms.
    assert!(times[9] >= Duration::from_millis(79));

    // And who would rather do something else than wait:
    let strict = Limiter::new(Limit::every(Duration::from_secs(3600)), 2);
    let dropped = (0..10).filter(|_| !strict.allow()).count();
    println!("of ten at once {dropped} were dropped");
    assert_eq!(dropped, 8);
}
