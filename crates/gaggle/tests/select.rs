//! What a select promises, on whichever backend runs the tests.

use gaggle::chan::{self, Receiver, Sender, bounded, unbuffered};
use gaggle::select;
use gaggle::select::{RecvArm, Select};
use std::time::{Duration, Instant};

/// Long enough for anything that is going to happen; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn one_ready_arm_is_chosen_and_no_other_value_moves() {
    let (full_sender, full) = bounded(1);
    let (room, drain) = bounded(1);
    room.send("first").unwrap();
    full_sender.send(1).unwrap();
    select! {
        recv(full) -> value => assert_eq!(value, Ok(1)),
        send(room, "second") -> _ => panic!("there is no room"),
    }
    assert_eq!(drain.try_iter().collect::<Vec<_>>(), ["first"]);
}

#[test]
fn nothing_ready_takes_default() {
    let (_sender, receiver) = unbuffered::<u8>();
    let taken = select! {
        recv(receiver) -> _ => false,
        default => true,
    };
    assert!(taken);
    let start = Instant::now();
    let delay = Duration::from_millis(2);
    let taken = select! {
        recv(receiver) -> _ => false,
        default(delay) => true
    };
    assert!(taken && start.elapsed() >= delay);
}

#[test]
fn ready_arm_is_preferred_to_default() {
    let (sender, receiver) = bounded(1);
    sender.send(7).unwrap();
    let value = select! { recv(receiver) -> value => value.unwrap(), default => 0 };
    assert_eq!(value, 7);
}

#[test]
fn closed_channels_are_ready_with_an_error() {
    let (sender, receiver) = bounded::<u8>(1);
    drop(sender);
    let result = select! { recv(receiver) -> result => result };
    assert!(result.is_err());
    let (sender, receiver) = bounded(1);
    drop(receiver);
    let result = select! { send(sender, 5) -> result => result };
    assert_eq!(result.unwrap_err().0, 5);
}

#[test]
fn after_arm_ends_a_wait_for_nothing() {
    let (_sender, receiver) = unbuffered::<u8>();
    let (start, delay) = (Instant::now(), Duration::from_millis(3));
    select! {
        recv(receiver) -> _ => panic!("nobody sends"),
        after(delay) => {}
    }
    assert!(start.elapsed() >= delay);
}

#[test]
fn after_tick_and_never_are_receivers_like_others() {
    let ticks = chan::tick(Duration::from_millis(1));
    let never = chan::never::<u8>();
    for _ in 0..3 {
        select! {
            recv(ticks) -> time => assert!(time.is_ok()),
            recv(never) -> _ => panic!("never"),
        }
    }
    let end = chan::after(Duration::from_millis(2));
    select! {
        recv(never) -> _ => panic!("never"),
        recv(end) -> time => assert!(time.is_ok()),
    }
}

#[test]
fn done_arm_is_ready_when_the_context_ends() {
    let (context, cancel) = gaggle::context::background().with_cancel();
    let (_sender, receiver) = unbuffered::<u8>();
    let waiting = gaggle::go(move || {
        select! {
            recv(receiver) -> _ => panic!("nobody sends"),
            done(context) => context.err(),
        }
    });
    cancel.cancel();
    assert!(waiting.join().unwrap().is_some());
}

#[test]
fn done_arm_of_the_background_is_never_ready() {
    let background = gaggle::context::background();
    let (sender, receiver) = bounded(1);
    sender.send(1).unwrap();
    for _ in 0..3 {
        select! {
            done(background) => panic!("it never ends"),
            recv(receiver) -> _ => {}
            default => {}
        }
    }
}

#[test]
fn value_of_a_slot_stays_there_until_it_is_sent() {
    let (sender, receiver) = bounded(1);
    let (other, others) = bounded(1);
    let mut slot = Some(Box::new(7));
    sender.send(Box::new(0)).unwrap();
    other.send(1).unwrap();
    select! {
        send_from(sender, slot) -> _ => panic!("there is no room"),
        recv(others) -> _ => {}
    }
    assert_eq!(slot.as_deref(), Some(&7));
    receiver.recv().unwrap();
    select! { send_from(sender, slot) -> result => result.unwrap() }
    assert_eq!(slot, None);
    assert_eq!(*receiver.recv().unwrap(), 7);
    // With nothing to send the arm is as good as absent.
    select! { send_from(sender, slot) -> _ => panic!("nothing to send"), default => {} }
}

#[test]
fn bodies_are_code_of_the_surrounding_function() {
    fn first_even(receiver: &Receiver<u32>) -> Result<u32, chan::RecvError> {
        loop {
            select! {
                recv(receiver) -> value => {
                    let value = value?;
                    if value % 2 == 1 {
                        continue;
                    }
                    return Ok(value);
                }
            }
        }
    }
    let (sender, receiver) = bounded(3);
    for n in [1, 3, 4] {
        sender.send(n).unwrap();
    }
    assert_eq!(first_even(&receiver), Ok(4));
    drop(sender);
    assert!(first_even(&receiver).is_err());
}

#[test]
fn arms_take_expressions_and_bodies_may_move_what_they_borrow() {
    struct Hub {
        sender: Sender<String>,
        receivers: Vec<Receiver<String>>,
        count: usize,
    }
    let (sender, receiver) = bounded(1);
    let mut hub = Hub {
        sender,
        receivers: vec![receiver],
        count: 0,
    };
    let text = String::from("text");
    select! {
        send(hub.sender, text.clone() + "!") -> result => { result.unwrap(); hub.count += 1 }
        recv(&hub.receivers[0]) => panic!("nothing was sent"),
        recv(hub.receivers[0].clone()) -> _ => panic!("nothing was sent"),
    }
    let received = select! {
        recv(hub.receivers[0]) -> value => {
            drop(hub.receivers);
            value
        }
    };
    assert_eq!((received.as_deref(), hub.count), (Ok("text!"), 1));
}

#[test]
fn each_of_several_ready_arms_is_chosen_in_its_turn() {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| bounded(1)).unzip();
    let mut chosen = [0u32; 3];
    for sender in &senders {
        sender.send(()).unwrap();
    }
    const ROUNDS: u32 = 30_000;
    for _ in 0..ROUNDS {
        let number = select! {
            recv(receivers[0]) -> _ => 0,
            recv(receivers[1]) -> _ => 1,
            recv(receivers[2]) -> _ => 2,
        };
        chosen[number] += 1;
        senders[number].send(()).unwrap();
    }
    // A third each; ten standard deviations of the binomial distribution are 816.
    for count in chosen {
        assert!(count.abs_diff(ROUNDS / 3) < 816, "{chosen:?}");
    }
}

#[test]
fn same_channel_in_several_arms_receives_each_value_once() {
    let (sender, receiver) = unbuffered();
    let sending = gaggle::go(move || (0..1000u64).for_each(|n| sender.send(n).unwrap()));
    let mut received = Vec::new();
    loop {
        let result = select! {
            recv(receiver) -> value => value,
            recv(receiver) -> value => value,
            recv(receiver.clone()) -> value => value,
        };
        match result {
            Ok(value) => received.push(value),
            Err(_) => break,
        }
    }
    assert!(received.into_iter().eq(0..1000));
    sending.join().unwrap();
}

#[test]
fn send_and_receive_on_one_channel_never_meet_themselves() {
    let (sender, receiver) = unbuffered();
    let taken = select! {
        send(sender, 1) -> _ => false,
        recv(receiver) -> _ => false,
        default(Duration::from_millis(2)) => true,
    };
    assert!(taken);
}

#[test]
fn two_selects_crosswise_exchange_every_value_once() {
    // Each side sends its own values and receives the other's in one select: each meets the other both
    // ways at the same time.
    fn exchange(sender: &Sender<u64>, receiver: &Receiver<u64>, count: u64) -> u64 {
        let (mut sent, mut received, mut sum) = (0, 0, 0);
        while sent < count || received < count {
            let mut slot = (sent < count).then_some(sent);
            select! {
                send_from(sender, slot) -> result => { result.unwrap(); sent += 1 }
                recv(receiver) -> value => { sum += value.unwrap(); received += 1 }
            }
        }
        sum
    }
    const COUNT: u64 = 20_000;
    let (left_sender, left) = unbuffered();
    let (right_sender, right) = unbuffered();
    let other = {
        let (sender, receiver) = (right_sender.clone(), left.clone());
        gaggle::go(move || exchange(&sender, &receiver, COUNT))
    };
    assert_eq!(
        exchange(&left_sender, &right, COUNT),
        COUNT * (COUNT - 1) / 2
    );
    assert_eq!(other.join().unwrap(), COUNT * (COUNT - 1) / 2);
}

#[test]
fn many_selects_among_plain_operations_lose_and_double_nothing() {
    const WORKERS: u64 = 6;
    const EACH: u64 = 4_000;
    let channels = [bounded(0), bounded(0), bounded(1), bounded(5)];
    let senders: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let channels = channels.clone().map(|(sender, _)| sender);
            gaggle::go(move || {
                for n in 0..EACH {
                    let value = Box::new(worker * EACH + n);
                    if worker % 2 == 0 {
                        channels[(n % 4) as usize].send(value).unwrap();
                        continue;
                    }
                    send_somewhere(&channels, value);
                }
            })
        })
        .collect();
    let receivers: Vec<_> = (0..4)
        .map(|number| {
            let channels = channels.clone().map(|(_, receiver)| receiver);
            gaggle::go(move || receive_all(&channels, number))
        })
        .collect();
    drop(channels);
    for sender in senders {
        sender.join().unwrap();
    }
    let mut all: Vec<u64> = receivers
        .into_iter()
        .flat_map(|r| r.join().unwrap())
        .collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..WORKERS * EACH));
}

/// Offers `value` to each channel for a moment, in turn, until it is sent.
fn send_somewhere(channels: &[Sender<Box<u64>>; 4], value: Box<u64>) {
    let first = *value as usize % 4;
    let mut slot = Some(value);
    for sender in channels.iter().cycle().skip(first) {
        select! {
            send_from(sender, slot) -> result => return result.unwrap(),
            after(Duration::from_micros(20)) => assert!(slot.is_some()),
        }
    }
}

/// Receives by a select over all channels that are still open, until none is.
fn receive_all(channels: &[Receiver<Box<u64>>; 4], number: usize) -> Vec<u64> {
    let mut open: Vec<_> = channels.iter().collect();
    open.rotate_left(number);
    let mut values = Vec::new();
    while !open.is_empty() {
        let mut arms: Vec<_> = open.iter().map(|receiver| RecvArm::new(receiver)).collect();
        let mut list = Select::new();
        for arm in &mut arms {
            list.add(arm);
        }
        let chosen = list.wait();
        match arms[chosen].take() {
            Ok(value) => values.push(*value),
            Err(_) => drop(open.remove(chosen)),
        }
    }
    values
}

#[test]
fn select_racing_its_deadline_loses_nothing() {
    let (sender, receiver) = unbuffered();
    let sending = gaggle::go(move || {
        let mut sent = 0;
        for n in 0..20_000u64 {
            let mut slot = Some(n);
            select! {
                send_from(sender, slot) -> result => { result.unwrap(); sent += n }
                after(Duration::from_nanos(n % 4 * 700)) => assert_eq!(slot, Some(n)),
            }
        }
        sent
    });
    let (mut received, mut round) = (0, 0);
    loop {
        round += 1;
        select! {
            recv(receiver) -> value => match value {
                Ok(value) => received += value,
                Err(_) => break,
            },
            default(Duration::from_nanos(round % 4 * 700)) => {}
        }
    }
    assert_eq!(sending.join().unwrap(), received);
}

#[test]
fn list_made_at_run_time_answers_the_number_of_the_chosen() {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..100).map(|_| unbuffered()).unzip();
    let sending = gaggle::go(move || {
        for (number, sender) in senders.iter().enumerate().rev() {
            sender.send(number).unwrap();
        }
        // The senders stay open until all has been received.
        senders
    });
    for expected in (0..100).rev() {
        let mut arms: Vec<_> = receivers.iter().map(RecvArm::new).collect();
        let mut list = Select::new();
        for (number, arm) in arms.iter_mut().enumerate() {
            assert_eq!(list.add(arm), number);
        }
        let chosen = list.wait_timeout(LONG).unwrap();
        assert_eq!((chosen, arms[chosen].take()), (expected, Ok(expected)));
    }
    drop(sending.join().unwrap());
}

#[test]
fn list_that_finds_nothing_ready_chooses_nothing() {
    let (_sender, receiver) = unbuffered::<u8>();
    let mut arm = RecvArm::new(&receiver);
    let mut list = Select::new();
    list.add(&mut arm);
    assert_eq!(list.try_wait(), None);
    assert!(!arm.is_chosen());
}
