//! Channels in every interleaving: hand-off, a full ring, closing, deadlines.

#![cfg(loom)]

mod model;

use gaggle_core::chan::{
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, bounded, unbuffered,
};
use loom::thread;
use model::{Model, every_interleaving};

type Ends<T> = (Sender<T, Model>, Receiver<T, Model>);

#[test]
fn unbuffered_two_senders_each_value_arrives_once() {
    every_interleaving(3, || {
        let (sender, receiver): Ends<Box<u32>> = unbuffered();
        let other = sender.clone();
        let first = thread::spawn(move || sender.send(Box::new(1)).unwrap());
        let second = thread::spawn(move || other.send(Box::new(2)).unwrap());
        let sum = *receiver.recv().unwrap() + *receiver.recv().unwrap();
        assert_eq!(sum, 3);
        assert_eq!(receiver.recv(), Err(RecvError));
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn unbuffered_two_receivers_each_gets_a_value() {
    every_interleaving(3, || {
        let (sender, receiver): Ends<Box<u32>> = unbuffered();
        let other = receiver.clone();
        let first = thread::spawn(move || *receiver.recv().unwrap());
        let second = thread::spawn(move || *other.recv().unwrap());
        sender.send(Box::new(1)).unwrap();
        sender.send(Box::new(2)).unwrap();
        assert_eq!(first.join().unwrap() + second.join().unwrap(), 3);
    });
}

#[test]
fn full_ring_wraps_and_keeps_the_order() {
    every_interleaving(3, || {
        let (sender, receiver): Ends<u32> = bounded(1);
        let sending = thread::spawn(move || {
            for value in 0..3 {
                sender.send(value).unwrap();
            }
        });
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [0, 1, 2]);
        sending.join().unwrap();
    });
}

#[test]
fn close_racing_a_waiting_send_sends_or_hands_the_value_back() {
    every_interleaving(3, || {
        let (sender, receiver): Ends<Box<u32>> = unbuffered();
        let closer = sender.clone();
        let sending = thread::spawn(move || sender.send(Box::new(7)));
        let closing = thread::spawn(move || closer.close());
        let received = receiver.recv();
        closing.join().unwrap();
        match sending.join().unwrap() {
            Ok(()) => assert_eq!(*received.unwrap(), 7),
            Err(SendError(value)) => {
                assert_eq!(*value, 7);
                assert_eq!(received, Err(RecvError));
            }
        }
    });
}

#[test]
fn close_wakes_every_waiting_receiver() {
    every_interleaving(3, || {
        let (sender, receiver): Ends<u32> = bounded(1);
        let other = receiver.clone();
        let first = thread::spawn(move || receiver.recv());
        let second = thread::spawn(move || other.recv());
        drop(sender);
        assert_eq!(first.join().unwrap(), Err(RecvError));
        assert_eq!(second.join().unwrap(), Err(RecvError));
    });
}

#[test]
fn last_receiver_dropped_racing_a_send_hands_back_or_drops_the_value() {
    every_interleaving(3, || {
        let value = std::sync::Arc::new(());
        let (sender, receiver): Ends<std::sync::Arc<()>> = bounded(1);
        let sent = value.clone();
        let sending = thread::spawn(move || {
            let _ = sender.send(sent.clone());
            assert!(sender.send(sent).is_err());
        });
        drop(receiver);
        sending.join().unwrap();
        assert_eq!(std::sync::Arc::strong_count(&value), 1);
    });
}

#[test]
fn deadline_racing_a_send_times_out_or_receives_never_both() {
    every_interleaving(3, || {
        let (sender, receiver): Ends<Box<u32>> = unbuffered();
        let receiving = thread::spawn(move || receiver.recv_deadline(2));
        let sent = sender.send(Box::new(7));
        match receiving.join().unwrap() {
            Ok(value) => {
                assert_eq!(*value, 7);
                sent.unwrap();
            }
            Err(RecvTimeoutError::Timeout) => assert_eq!(*sent.unwrap_err().0, 7),
            Err(RecvTimeoutError::Closed) => panic!("nobody closed the channel"),
        }
    });
}

#[test]
fn deadline_of_a_send_racing_a_receive_times_out_or_sends_never_both() {
    every_interleaving(3, || {
        let (sender, receiver): Ends<Box<u32>> = unbuffered();
        let sending = thread::spawn(move || sender.send_deadline(Box::new(7), 2));
        let received = receiver.recv();
        match sending.join().unwrap() {
            Ok(()) => assert_eq!(*received.unwrap(), 7),
            Err(SendTimeoutError::Timeout(value)) => {
                assert_eq!(*value, 7);
                assert_eq!(received, Err(RecvError));
            }
            Err(SendTimeoutError::Closed(_)) => panic!("nobody closed the channel"),
        }
    });
}

#[test]
fn stale_receiver_is_passed_over_for_the_one_behind_it() {
    every_interleaving(2, || {
        let (sender, receiver): Ends<u32> = unbuffered();
        let other = receiver.clone();
        let impatient = thread::spawn(move || receiver.recv_deadline(2).is_ok());
        let patient = thread::spawn(move || other.recv());
        sender.send(1).unwrap();
        let served = impatient.join().unwrap();
        drop(sender);
        assert_eq!(patient.join().unwrap().is_ok(), !served);
    });
}
