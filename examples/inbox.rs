//! A webhook inbox in fifty lines: events of one key one after the other, keys side by side.
//!
//! `cargo run -p gaggle-examples --bin inbox`
//!
//! Each key has a goroutine while it has events. It ends when its queue has been empty for a moment, so
//! what exists follows what is busy, not what was ever seen.

use gaggle::chan::{self, Receiver, Sender};
use gaggle::sync::WaitGroup;
use std::collections::HashMap;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

const IDLE: Duration = Duration::from_millis(20);

struct Event {
    key: &'static str,
    number: u32,
}

struct Inbox {
    groups: Mutex<HashMap<&'static str, Sender<Event>>>,
    handled: Mutex<HashMap<&'static str, Vec<u32>>>,
}

impl Inbox {
    fn push(&'static self, event: Event, running: &WaitGroup) {
        let mut groups = self.groups.lock().expect("no panic");
        let group = groups.entry(event.key).or_insert_with(|| {
            let (sender, queue) = chan::bounded(64);
            let key = event.key;
            running.go(move || self.drain(key, &queue));
            sender
        });
        group.send(event).expect("its goroutine runs");
    }

    fn drain(&self, key: &'static str, queue: &Receiver<Event>) {
        loop {
            match queue.recv_timeout(IDLE) {
                Ok(event) => self.handle(event),
                Err(_) => {
                    // Nobody can push while the map is locked, so nothing is lost.
                    let mut groups = self.groups.lock().expect("no panic");
                    if queue.is_empty() {
                        groups.remove(key);
                        return;
                    }
                }
            }
        }
    }

    fn handle(&self, event: Event) {
        sleep(Duration::from_millis(1)); // the work
        let mut handled = self.handled.lock().expect("no panic");
        handled.entry(event.key).or_default().push(event.number);
    }
}

#[gaggle::main]
fn main() {
    let inbox: &'static Inbox = Box::leak(Box::new(Inbox {
        groups: Mutex::default(),
        handled: Mutex::default(),
    }));
    let running = WaitGroup::new();
    for number in 0..20 {
        for key in ["orders", "payments", "returns"] {
            inbox.push(Event { key, number }, &running);
        }
    }
    running.wait();
    let handled = inbox.handled.lock().expect("no panic");
    assert_eq!(handled.len(), 3);
    for (key, numbers) in &*handled {
        assert_eq!(
            *numbers,
            (0..20).collect::<Vec<_>>(),
            "{key} kept its order"
        );
    }
    assert!(inbox.groups.lock().expect("no panic").is_empty());
    println!("60 events of 3 keys, each key's in order, and no goroutine left");
}
