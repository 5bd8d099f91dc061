//! Selects in every interleaving: against each other, against plain operations, closing, deadlines.

#![cfg(loom)]

mod model;

use gaggle_core::chan::{Receiver, RecvArm, SendArm, Sender, bounded, unbuffered};
use gaggle_core::contract::NEVER;
use gaggle_core::select::{Arm, Place, Select, Timeout, select};
use loom::thread;
use model::{Model, every_interleaving};

type Ends<T> = (Sender<T, Model>, Receiver<T, Model>);

/// One select of sending `value` on `sender` and receiving from `receiver`; what was received.
fn send_or_recv(
    sender: &Sender<u32, Model>,
    value: u32,
    receiver: &Receiver<u32, Model>,
) -> Option<u32> {
    let mut slot = Some(value);
    let mut send = SendArm::new(sender, &mut slot);
    let mut recv = RecvArm::new(receiver);
    let arms: [&dyn Arm<Model>; 2] = [&send, &recv];
    select(&arms, &mut [Place::default(); 2], NEVER);
    if send.is_chosen() {
        assert!(!recv.is_chosen());
        send.take().unwrap();
        assert!(slot.is_none());
        None
    } else {
        let received = recv.take().unwrap();
        assert_eq!(slot, Some(value));
        Some(received)
    }
}

#[test]
fn two_selects_crosswise_exchange_one_value() {
    every_interleaving(3, || {
        let (left_sender, left_receiver): Ends<u32> = unbuffered();
        let (right_sender, right_receiver): Ends<u32> = unbuffered();
        let other = {
            let (sender, receiver) = (right_sender.clone(), left_receiver.clone());
            thread::spawn(move || send_or_recv(&sender, 2, &receiver))
        };
        let mine = send_or_recv(&left_sender, 1, &right_receiver);
        let others = other.join().unwrap();
        assert!(matches!((mine, others), (None, Some(1)) | (Some(2), None)));
    });
}

#[test]
fn two_selects_on_one_channel_meet_each_other_not_themselves() {
    every_interleaving(3, || {
        let (sender, receiver): Ends<u32> = unbuffered();
        let other = {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            thread::spawn(move || send_or_recv(&sender, 2, &receiver))
        };
        let mine = send_or_recv(&sender, 1, &receiver);
        let others = other.join().unwrap();
        assert!(matches!((mine, others), (None, Some(1)) | (Some(2), None)));
    });
}

#[test]
fn two_sends_to_one_select_one_arrives_and_the_other_stays_with_its_sender() {
    every_interleaving(3, || {
        let (left_sender, left): Ends<Box<u32>> = unbuffered();
        let (right_sender, right): Ends<Box<u32>> = unbuffered();
        let first = thread::spawn(move || left_sender.send(Box::new(1)).is_ok());
        let second = thread::spawn(move || right_sender.send(Box::new(2)).is_ok());
        let mut arms = [RecvArm::new(&left), RecvArm::new(&right)];
        let mut list = Select::new();
        for arm in &mut arms {
            list.add(arm);
        }
        let chosen = list.wait();
        let value = *arms[chosen].take().unwrap();
        assert_eq!(value as usize, chosen + 1);
        assert!(!arms[1 - chosen].is_chosen());
        drop(left);
        drop(right);
        let sent = [first.join().unwrap(), second.join().unwrap()];
        assert_eq!(sent, [chosen == 0, chosen == 1]);
    });
}

#[test]
fn same_channel_in_two_arms_receives_one_value() {
    every_interleaving(3, || {
        let (sender, receiver): Ends<u32> = bounded(1);
        let sending = thread::spawn(move || {
            sender.send(1).unwrap();
            sender.send(2).unwrap();
        });
        let mut arms = [RecvArm::new(&receiver), RecvArm::new(&receiver)];
        let mut list = Select::new();
        for arm in &mut arms {
            list.add(arm);
        }
        let chosen = list.wait();
        assert_eq!(arms[chosen].take(), Ok(1));
        assert_eq!(receiver.recv(), Ok(2));
        sending.join().unwrap();
    });
}

#[test]
fn close_racing_a_select_is_seen_as_closed() {
    every_interleaving(3, || {
        let (sender, receiver): Ends<u32> = unbuffered();
        let (_open, never_sent): Ends<u32> = unbuffered();
        let closing = thread::spawn(move || drop(sender));
        let (mut closed, open) = (RecvArm::new(&receiver), RecvArm::new(&never_sent));
        let arms: [&dyn Arm<Model>; 2] = [&open, &closed];
        assert_eq!(select(&arms, &mut [Place::default(); 2], NEVER), Some(1));
        assert!(closed.take().is_err());
        closing.join().unwrap();
    });
}

#[test]
fn deadline_racing_a_send_to_a_select_times_out_or_receives_never_both() {
    every_interleaving(3, || {
        let (sender, receiver): Ends<Box<u32>> = unbuffered();
        let receiving = thread::spawn(move || {
            let mut arm = RecvArm::new(&receiver);
            let arms: [&dyn Arm<Model>; 1] = [&arm];
            let chosen = select(&arms, &mut [Place::default()], 2);
            chosen.map(|_| *arm.take().unwrap())
        });
        let sent = sender.send(Box::new(7)).is_ok();
        assert_eq!(receiving.join().unwrap(), sent.then_some(7));
    });
}

#[test]
fn timeout_arm_racing_a_send_is_chosen_or_the_value_is_received_never_both() {
    every_interleaving(3, || {
        let (sender, receiver): Ends<Box<u32>> = unbuffered();
        let receiving = thread::spawn(move || {
            let (mut arm, timeout) = (RecvArm::new(&receiver), Timeout::new(2));
            let arms: [&dyn Arm<Model>; 2] = [&timeout, &arm];
            select(&arms, &mut [Place::default(); 2], NEVER)
                .expect("it has no deadline of its own");
            assert_ne!(timeout.is_chosen(), arm.is_chosen());
            arm.is_chosen().then(|| *arm.take().unwrap())
        });
        let sent = sender.send(Box::new(7)).is_ok();
        assert_eq!(receiving.join().unwrap(), sent.then_some(7));
    });
}

#[test]
fn default_is_taken_only_if_no_arm_was_ready_in_that_instant() {
    every_interleaving(3, || {
        let (left_sender, left): Ends<u32> = bounded(1);
        let (right_sender, right): Ends<u32> = bounded(1);
        left_sender.send(1).unwrap();
        // Whenever the other channel is found empty, this one is full, and the other way round.
        let moving = {
            let left = left.clone();
            thread::spawn(move || {
                right_sender.send(2).unwrap();
                let _ = left.try_recv();
                right_sender
            })
        };
        let arms = [RecvArm::new(&left), RecvArm::new(&right)];
        let arms: [&dyn Arm<Model>; 2] = [&arms[1], &arms[0]];
        assert!(select(&arms, &mut [Place::default(); 2], 0).is_some());
        drop(moving.join().unwrap());
        drop(left_sender);
    });
}

#[test]
fn timeout_arm_that_has_come_is_chosen_when_nothing_else_is_ready() {
    every_interleaving(3, || {
        let (_sender, receiver): Ends<u32> = unbuffered();
        let (arm, timeout) = (RecvArm::new(&receiver), Timeout::new(1));
        let arms: [&dyn Arm<Model>; 2] = [&arm, &timeout];
        assert_eq!(select(&arms, &mut [Place::default(); 2], NEVER), Some(1));
        assert!(timeout.is_chosen());
    });
}

#[test]
fn glance_at_a_channel_that_selects_use_is_never_trusted() {
    // After the first select the channel says at a glance whether it is ready; a sender and a closer change
    // that while a second select glances.
    every_interleaving(3, || {
        let (sender, receiver): Ends<u32> = bounded(1);
        let (_open, never_sent): Ends<u32> = unbuffered();
        let first = RecvArm::new(&receiver);
        let arms: [&dyn Arm<Model>; 1] = [&first];
        assert_eq!(select(&arms, &mut [Place::default()], 0), None);
        let sending = thread::spawn(move || sender.send(7).unwrap());
        let (other, mut arm) = (RecvArm::new(&never_sent), RecvArm::new(&receiver));
        let arms: [&dyn Arm<Model>; 2] = [&other, &arm];
        assert_eq!(select(&arms, &mut [Place::default(); 2], NEVER), Some(1));
        assert_eq!(arm.take(), Ok(7));
        sending.join().unwrap();
        let arms: [&dyn Arm<Model>; 2] = [&other, &arm];
        assert_eq!(select(&arms, &mut [Place::default(); 2], NEVER), Some(1));
        assert!(arm.take().is_err());
    });
}

#[test]
fn one_of_two_channels_is_ready_all_the_time_and_no_select_finds_none() {
    every_interleaving(2, || {
        let (first_sender, first): Ends<u32> = bounded(1);
        let (second_sender, second): Ends<u32> = bounded(1);
        first_sender.send(1).unwrap();
        let (left, right) = (first.clone(), second.clone());
        let selecting = thread::spawn(move || {
            let (one, other) = (RecvArm::new(&left), RecvArm::new(&right));
            let arms: [&dyn Arm<Model>; 2] = [&one, &other];
            select(&arms, &mut [Place::default(); 2], 0).is_some()
        });
        second_sender.send(2).unwrap();
        let _ = first.try_recv();
        assert!(selecting.join().unwrap());
    });
}
