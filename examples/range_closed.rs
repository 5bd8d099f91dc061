//! Ranging over a channel until it is closed: what was sent before is still received.
//!
//! `cargo run -p gaggle-examples --bin range_closed`

use gaggle::chan;

#[gaggle::main]
fn main() {
    let (sender, receiver) = chan::bounded(5);
    for n in 1..=5 {
        sender.send(n).expect("there is room");
    }
    sender.close();
    assert_eq!(sender.send(6).expect_err("it is closed").0, 6);

    // Closed is not empty: the range drains what is there, then ends.
    let mut sum = 0;
    for n in &receiver {
        println!("received {n}");
        sum += n;
    }
    assert_eq!(sum, 15);
    assert!(receiver.recv().is_err());
}
