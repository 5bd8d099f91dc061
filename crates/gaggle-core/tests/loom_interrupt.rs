//! The end of a context and the waits of a task that runs under it, in every interleaving.

#![cfg(loom)]

mod model;

use gaggle_core::chan::{Receiver, Sender, unbuffered};
use gaggle_core::context::{Cancel, Context};
use gaggle_core::contract::SpawnOptions;
use loom::thread;
use model::{Model, every_interleaving};
use std::panic::Location;

type Ends = (Sender<u32, Model>, Receiver<u32, Model>);

#[track_caller]
fn cancelable(parent: &Context<Model>) -> (Context<Model>, Cancel<Model>) {
    parent.with_cancel(SpawnOptions {
        name: None,
        stack_bytes: None,
        location: Location::caller(),
    })
}

#[test]
fn end_racing_the_wait_ends_it() {
    every_interleaving(3, || {
        let (context, cancel) = cancelable(&Context::background());
        let canceler = thread::spawn(move || cancel.cancel());
        // U3: whichever comes first. The sender lives, so nothing else ends the wait.
        let (sender, receiver): Ends = unbuffered();
        assert!(context.run(|| receiver.recv()).is_err());
        assert!(context.err().is_some());
        drop(sender);
        canceler.join().unwrap();
    });
}

#[test]
fn value_racing_the_end_is_received_or_stays_with_its_sender() {
    every_interleaving(2, || {
        let (context, cancel) = cancelable(&Context::background());
        let (sender, receiver): Ends = unbuffered();
        let canceler = thread::spawn(move || cancel.cancel());
        let sending = thread::spawn(move || {
            let sent = sender.try_send(7).is_ok();
            (sender, sent)
        });
        let received = context.run(|| receiver.recv());
        let (_sender, sent) = sending.join().unwrap();
        assert_eq!(received.is_ok(), sent);
        canceler.join().unwrap();
    });
}

#[test]
fn end_of_either_of_two_nested_contexts_ends_the_wait_once() {
    every_interleaving(2, || {
        let (outer, cancel_outer) = cancelable(&Context::background());
        let (inner, cancel_inner) = cancelable(&Context::background());
        let (sender, receiver): Ends = unbuffered();
        let one = thread::spawn(move || cancel_outer.cancel());
        let other = thread::spawn(move || cancel_inner.cancel());
        outer.run(|| {
            assert!(inner.run(|| receiver.recv()).is_err());
            // One has ended; the outer one may still be to come, and ends the next wait then.
            assert!(receiver.recv().is_err());
        });
        drop(sender);
        one.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn end_that_comes_after_the_run_ends_no_later_wait() {
    every_interleaving(3, || {
        let (context, cancel) = cancelable(&Context::background());
        let (sender, receiver): Ends = unbuffered();
        let other = thread::spawn(move || {
            cancel.cancel();
            sender.send(7).unwrap();
        });
        // A wait that the end may or may not find leaves its number behind (U4).
        let early = context.run(|| receiver.recv_deadline(2));
        let value = early.or_else(|_| receiver.recv());
        assert_eq!(value, Ok(7));
        other.join().unwrap();
    });
}

#[test]
fn deadline_racing_the_end_ends_the_wait_once() {
    every_interleaving(2, || {
        let (context, cancel) = cancelable(&Context::background());
        let canceler = thread::spawn(move || cancel.cancel());
        let (sender, receiver): Ends = unbuffered();
        assert!(context.run(|| receiver.recv_deadline(2)).is_err());
        canceler.join().unwrap();
        drop(sender);
    });
}
