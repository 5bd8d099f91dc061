//! An unmodified blocking HTTP client under a deadline: the call returns when the context ends.
//!
//! `cargo run -p gaggle-examples --bin context_run`
//!
//! The client knows nothing of contexts, and has no time-out of its own. On the threads backend calls of
//! other libraries wait on, so there is nothing to show.

mod support;

use gaggle::context::{self, ContextError};
use std::error::Error;
use std::time::{Duration, Instant};
use support::{SlowServer, lean_agent};

#[gaggle::main]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let server = SlowServer::start(Duration::from_secs(5))?;
    if gaggle::runtime::backend_name() != "green" {
        println!("only the green backend ends the waits of other libraries");
        return Ok(());
    }
    let (context, _cancel) = context::background().with_timeout(Duration::from_millis(100));
    let start = Instant::now();
    let answer = context.run(|| lean_agent().get(server.url()).call());
    let took = start.elapsed();

    let error = answer.err().ok_or("the server takes five seconds")?;
    println!("after {took:.0?}: {error}");
    assert_eq!(context.err(), Some(ContextError::DeadlineExceeded));
    assert!(took < Duration::from_secs(5));
    Ok(())
}
