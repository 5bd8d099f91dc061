//! Fan-in: several producers, one channel, one consumer; it ends when the last producer has.
//!
//! `cargo run -p gaggle-examples --bin fan_in`

use gaggle::chan;
use std::collections::BTreeMap;

#[gaggle::main]
fn main() {
    let (sender, merged) = chan::unbuffered();
    for sensor in ["north", "south", "west"] {
        let sender = sender.clone();
        gaggle::go(move || {
            for reading in 0..10 {
                sender.send((sensor, reading)).expect("somebody listens");
            }
        });
    }
    // Each producer has its own; the channel is closed when the last of them drops.
    drop(sender);

    let mut readings = BTreeMap::<_, Vec<_>>::new();
    for (sensor, reading) in merged {
        readings.entry(sensor).or_default().push(reading);
    }
    for (sensor, own) in &readings {
        println!("{sensor}: {own:?}");
        assert_eq!(*own, (0..10).collect::<Vec<_>>());
    }
    assert_eq!(readings.len(), 3);
}
