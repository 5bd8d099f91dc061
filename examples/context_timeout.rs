//! A context with a timeout: what is slower than allowed is given up, by everybody below.
//!
//! `cargo run -p gaggle-examples --bin context_timeout`

use gaggle::context::{self, Context, ContextError};
use gaggle::select;
use std::time::Duration;

/// Takes `time`, unless the context ends before.
fn work(context: &Context, time: Duration) -> Result<&'static str, ContextError> {
    select! {
        after(time) => Ok("done"),
        done(context) => Err(context.err().expect("it has ended")),
    }
}

/// Hands its caller's context down, with a value of its own.
fn handler(context: &Context, time: Duration) -> Result<&'static str, ContextError> {
    struct RequestId(u64);
    let context = context.with_value(RequestId(7));
    let result = work(&context, time);
    let id = context.value::<RequestId>().expect("it was put there").0;
    println!("request {id}: {result:?}");
    result
}

#[gaggle::main]
fn main() {
    let (context, _cancel) = context::background().with_timeout(Duration::from_millis(50));
    assert_eq!(handler(&context, Duration::from_millis(1)), Ok("done"));
    let slow = handler(&context, Duration::from_secs(3600));
    assert_eq!(slow, Err(ContextError::DeadlineExceeded));
}
