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

#[test]
fn stop_racing_a_receive_that_waits_for_its_time_says_whether_it_had_it() {
    every_interleaving(3, || {
        let (clock, receiver) = timer(NOW + 1);
        // Its deadline is its own end, so that a stopped timer does not keep it.
        let waiting = thread::spawn(move || receiver.recv_deadline(NOW + 2).is_ok());
        let stopped = clock.set(NEVER, 0);
        assert_eq!(waiting.join().unwrap(), !stopped, "M1 and M3");
    });
}

#[test]
fn reset_racing_a_receive_that_waits_delivers_one_time_for_each_that_was_set_and_not_taken_back() {
    every_interleaving(2, || {
        let (clock, receiver) = timer(NOW + 1);
        let other = receiver.clone();
        let waiting = thread::spawn(move || other.recv());
        let taken_back = clock.set(NOW + 2, 0);
        assert_eq!(waiting.join().unwrap(), Ok(7));
        if !taken_back {
            // The first time was received, so the second is still to come.
            assert_eq!(receiver.recv(), Ok(7));
        }
        assert!(!clock.set(NEVER, 0), "M1");
    });
}

#[test]
fn two_who_wait_are_both_woken_by_a_set_and_each_receives_one_time() {
    every_interleaving(2, || {
        let (clock, receiver) = timer(NEVER);
        let waiting = [(); 2].map(|()| {
            let receiver = receiver.clone();
            thread::spawn(move || receiver.recv())
        });
        clock.set(NOW, 0);
        while !receiver.is_empty() {
            thread::yield_now();
        }
        assert!(!clock.set(NOW, 0), "the first was received");
        for receive in waiting {
            assert_eq!(receive.join().unwrap(), Ok(7));
        }
    });
}
