//! Two calls of 100 ms each: 200 ms one after the other, 100 ms side by side.
//!
//! `cargo run -p gaggle-examples --bin parallel_fetch`
//!
//! The calls are ordinary blocking ones; only `go` stands before the second kind.

mod support;

use std::error::Error;
use std::time::{Duration, Instant};
use support::{SlowServer, lean_agent};

fn fetch(url: String) -> Result<String, ureq::Error> {
    lean_agent().get(url).call()?.body_mut().read_to_string()
}

#[gaggle::main]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let server = SlowServer::start(Duration::from_millis(100))?;

    let start = Instant::now();
    let user = fetch(server.url())?;
    let orders = fetch(server.url())?;
    let one_by_one = start.elapsed();
    assert_eq!((&*user, &*orders), ("hello", "hello"));

    let (first, second) = (server.url(), server.url());
    let start = Instant::now();
    let user = gaggle::go(move || fetch(first));
    let orders = gaggle::go(move || fetch(second));
    let user = user.join().expect("no panic")?;
    let orders = orders.join().expect("no panic")?;
    let side_by_side = start.elapsed();
    assert_eq!((&*user, &*orders), ("hello", "hello"));

    println!("one by one: {one_by_one:.0?}, side by side: {side_by_side:.0?}");
    assert!(one_by_one >= Duration::from_millis(200));
    assert!(side_by_side < one_by_one);
    Ok(())
}
