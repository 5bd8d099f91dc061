//! Select with a timeout: the reply, or the news that it took too long.
//!
//! `cargo run -p gaggle-examples --bin select_timeout`

use gaggle::{chan, select};
use std::time::Duration;

/// Asks a server that takes `time`; `None`: it took more than 50 ms.
fn ask(time: Duration) -> Option<&'static str> {
    // With room for one: the server can put its reply down even when nobody waits any more. Without,
    // a server that comes too late would wait for ever: the classic leak.
    let (reply, replies) = chan::bounded(1);
    gaggle::go(move || {
        gaggle::time::sleep(time);
        let _ = reply.send("here it is");
    });
    select! {
        recv(replies) -> reply => reply.ok(),
        after(Duration::from_millis(50)) => None,
    }
}

#[gaggle::main]
fn main() {
    let fast = ask(Duration::from_millis(1));
    let slow = ask(Duration::from_millis(200));
    println!("the fast one: {fast:?}; the slow one: {slow:?}");
    assert_eq!((fast, slow), (Some("here it is"), None));
}
