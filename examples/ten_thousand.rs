//! Ten thousand unmodified blocking HTTP calls at once, on two processors.
//!
//! `cargo run --release -p gaggle-examples --bin ten_thousand`
//!
//! Each call waits a second for its answer; one after the other they would take three hours. The
//! server is this program again, as a child process, so that each side has descriptors enough.

mod support;

use std::error::Error;
use std::time::Duration;
use support::{SlowServer, Watch, lean_agent};

#[gaggle::main]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    gaggle::runtime::gomaxprocs(Some(2));
    let server = SlowServer::start(Duration::from_secs(1))?;
    let watch = Watch::start();
    let calls: Vec<_> = (0..10_000)
        .map(|_| (lean_agent(), server.url()))
        .map(|(agent, url)| gaggle::go(move || agent.get(url).call()?.body_mut().read_to_string()))
        .collect();
    for call in calls {
        assert_eq!(call.join().expect("no call panics")?, "hello");
    }
    println!("10,000 calls of one second each: {}", watch.finish());
    Ok(())
}
