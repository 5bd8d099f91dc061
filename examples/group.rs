//! A group: several goroutines for one task, four at a time; the first error ends the others.
//!
//! `cargo run -p gaggle-examples --bin group`

use gaggle::context::background;
use gaggle::group::Group;
use gaggle::select;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[gaggle::main]
fn main() {
    let done = Arc::new(AtomicU32::new(0));
    let group = Group::<String>::new().limit(4);
    for _ in 0..20 {
        let done = Arc::clone(&done);
        // Waits while four are running.
        group.go(move || {
            gaggle::time::sleep(Duration::from_millis(1));
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
    }
    assert_eq!(group.wait(), Ok(()));
    assert_eq!(done.load(Ordering::Relaxed), 20);

    let (group, context) = Group::<String>::with_context(&background());
    for page in 1..=3 {
        let context = context.clone();
        group.go(move || {
            if page == 2 {
                return Err("page 2 is missing".to_owned());
            }
            select! {
                after(Duration::from_secs(3600)) => Ok(()), // a slow page
                done(context) => Err(format!("page {page} was given up")),
            }
        });
    }
    let result = group.wait();
    println!("{result:?}");
    assert_eq!(result, Err("page 2 is missing".to_owned()));
}
