//! A leaked goroutine, how it is found, and its fix.
//!
//! `cargo run -p gaggle-examples --bin leak`

use gaggle::chan;
use gaggle::testing::LeakCheck;
use std::time::Duration;

/// Asks three mirrors and takes the first answer. The other two wait for ever for somebody to receive
/// theirs: nobody does, and `keep` holds the receiver, so they never learn of it.
fn first_leaks(keep: &mut Vec<chan::Receiver<u32>>) -> u32 {
    let (sender, receiver) = chan::unbuffered();
    for mirror in 0..3 {
        let sender = sender.clone();
        gaggle::go(move || sender.send(mirror));
    }
    let first = receiver.recv().expect("somebody answers");
    keep.push(receiver);
    first
}

/// The fix: room for every answer, so that nobody has to wait for being heard. (That the receiver drops
/// would do as well: a send without a receiver returns.)
fn first_fixed(keep: &mut Vec<chan::Receiver<u32>>) -> u32 {
    let (sender, receiver) = chan::bounded(3);
    for mirror in 0..3 {
        let sender = sender.clone();
        gaggle::go(move || sender.send(mirror));
    }
    let first = receiver.recv().expect("somebody answers");
    keep.push(receiver);
    first
}

#[gaggle::main]
fn main() {
    let mut keep = Vec::new();
    // In a test, `#[gaggle::test]` does this, and fails.
    let check = LeakCheck::new().grace(Duration::from_millis(100));
    let (_, leaks) = check.run(|| first_leaks(&mut keep));
    println!("{leaks}\n");
    assert_eq!(leaks.len(), 2);

    let (_, leaks) = LeakCheck::new().run(|| first_fixed(&mut keep));
    println!("after the fix: {} left", leaks.len());
    assert!(leaks.is_empty());
}
