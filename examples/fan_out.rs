//! Fan-out: several goroutines take jobs from one channel; each job is done once.
//!
//! `cargo run -p gaggle-examples --bin fan_out`

use gaggle::chan;
use std::thread::sleep;
use std::time::Duration;

#[gaggle::main]
fn main() {
    let (jobs, queue) = chan::bounded(10);
    let mut done = [0u32; 4];
    gaggle::scope(|scope| {
        for count in &mut done {
            let queue = queue.clone();
            scope.go(move || {
                for _job in &queue {
                    sleep(Duration::from_millis(1));
                    *count += 1;
                }
            });
        }
        for job in 0..100 {
            jobs.send(job).expect("the workers live");
        }
        drop(jobs); // the workers' loops end, and so does the scope
    });
    println!("jobs done by each of four workers: {done:?}");
    assert_eq!(done.iter().sum::<u32>(), 100);
}
