//! Channels that the clock feeds, set anew while others wait for them, in every interleaving.

#![cfg(loom)]

mod model;

use gaggle_core::chan::{Clock, Receiver, RecvArm, unbuffered};
use gaggle_core::contract::NEVER;
use gaggle_core::select::Select;
use loom::thread;
use model::{Model, every_interleaving};

/// A task's clock stands at 1 until a deadline of its own moves it.
const NOW: u64 = 1;

fn timer(first: u64) -> (Clock<u32, Model>, Receiver<u32, Model>) {
    Clock::new(first, 0, |_late| 7)
}

#[test]
fn set_racing_a_receive_that_begins_to_wait_wakes_it() {
    every_interleaving(3, || {
        let (clock, receiver) = timer(NEVER);
        let waiting = thread::spawn(move || receiver.recv());
        assert!(!clock.set(NOW, 0));
        assert_eq!(waiting.join().unwrap(), Ok(7));
    });
}

#[test]
fn set_racing_a_select_that_begins_to_wait_wakes_it() {
    every_interleaving(3, || {
        let (clock, receiver) = timer(NEVER);
        let waiting = thread::spawn(move || {
            let (_sender, silent) = unbuffered::<u32, Model>();
            let (mut tick, mut never) = (RecvArm::new(&receiver), RecvArm::new(&silent));
            let mut select = Select::new();
            select.add(&mut never);
            select.add(&mut tick);
            assert_eq!(select.wait(), 1);
            tick.take()
        });
        clock.set(NOW, 0);
        assert_eq!(waiting.join().unwrap(), Ok(7));
    });
}

#[test]
fn stop_racing_two_receives_says_whether_one_had_it() {
    every_interleaving(3, || {
        let (clock, receiver) = timer(NOW);
        let other = receiver.clone();
        let one = thread::spawn(move || receiver.try_recv().is_ok());
        let two = thread::spawn(move || other.try_recv().is_ok());
        let stopped = clock.set(NEVER, 0);
        let received = [one.join().unwrap(), two.join().unwrap()];
        let count = received.iter().filter(|received| **received).count();
        assert_eq!(count, usize::from(!stopped), "M1 and M3");
    });
}
