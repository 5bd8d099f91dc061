//! What channels promise, on whichever backend runs the tests.

use gaggle::chan::{
    self, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
    bounded, unbuffered,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Long enough for anything that is going to happen; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn recv_after_close_drains_then_reports_closed() {
    let (sender, receiver) = bounded(3);
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    sender.close();
    assert_eq!(sender.send(3), Err(SendError(3)));
    assert_eq!(sender.try_send(4), Err(TrySendError::Closed(4)));
    assert!(receiver.is_closed());
    assert_eq!(receiver.recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Ok(2));
    assert_eq!(receiver.recv(), Err(RecvError));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(receiver.recv_timeout(LONG), Err(RecvTimeoutError::Closed));
}

#[test]
fn last_sender_dropped_closes_the_channel_the_first_does_not() {
    let (sender, receiver) = bounded(1);
    let other = sender.clone();
    drop(sender);
    other.send(1).unwrap();
    drop(other);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [1]);
}

#[test]
fn last_receiver_dropped_drops_the_values_and_fails_the_sends() {
    let value = Arc::new(());
    let (sender, receiver) = bounded(2);
    sender.send(Arc::clone(&value)).unwrap();
    drop(receiver.clone());
    assert_eq!(Arc::strong_count(&value), 2);
    drop(receiver);
    assert_eq!(Arc::strong_count(&value), 1);
    assert!(sender.is_closed());
    assert_eq!(
        sender
            .send(value)
            .map_err(|error| Arc::strong_count(&error.0)),
        Err(1)
    );
}

#[test]
fn last_receiver_dropped_while_a_send_waits_hands_the_value_back() {
    let (sender, receiver) = unbuffered();
    let sending = gaggle::go(move || sender.send("unwanted"));
    // Whether the send waits already or comes later, its value comes back.
    drop(receiver);
    assert_eq!(sending.join().unwrap(), Err(SendError("unwanted")));
}

#[test]
fn try_send_to_a_full_channel_hands_the_value_back() {
    let (sender, receiver) = bounded(1);
    assert_eq!(sender.try_send(1), Ok(()));
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!((receiver.len(), receiver.capacity()), (1, 1));
    let (sender, _receiver) = unbuffered();
    assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
    assert_eq!((sender.len(), sender.capacity()), (0, 0));
}

#[test]
fn unbuffered_send_returns_only_after_its_receive() {
    let (sender, receiver) = unbuffered();
    let received = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&received);
    let receiving = gaggle::go(move || {
        for value in &receiver {
            assert_eq!(value, seen.load(Ordering::Relaxed));
            // The sender of the next value has not passed this one: nothing holds it but the receiver.
            seen.fetch_add(1, Ordering::Relaxed);
        }
    });
    for value in 0..1000 {
        sender.send(value).unwrap();
        // The receiver may be about to count this value, but has counted all before.
        assert!(received.load(Ordering::Relaxed) >= value);
    }
    drop(sender);
    receiving.join().unwrap();
    assert_eq!(received.load(Ordering::Relaxed), 1000);
}

#[test]
fn deadline_in_the_past_still_takes_what_is_ready() {
    let past = Instant::now();
    let (sender, receiver) = bounded(1);
    assert_eq!(sender.send_deadline(1, past), Ok(()));
    assert_eq!(
        sender.send_deadline(2, past),
        Err(SendTimeoutError::Timeout(2))
    );
    assert_eq!(receiver.recv_deadline(past), Ok(1));
    assert_eq!(receiver.recv_deadline(past), Err(RecvTimeoutError::Timeout));
}

#[test]
fn timeout_without_a_partner_expires_and_leaves_the_channel_usable() {
    let short = Duration::from_millis(5);
    let (sender, receiver) = unbuffered();
    let start = Instant::now();
    assert_eq!(receiver.recv_timeout(short), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= short);
    assert_eq!(
        sender.send_timeout(1, short),
        Err(SendTimeoutError::Timeout(1))
    );
    let receiving = gaggle::go(move || receiver.recv());
    sender.send_timeout(2, LONG).unwrap();
    assert_eq!(receiving.join().unwrap(), Ok(2));
}

#[test]
fn timeout_racing_the_partner_loses_nothing() {
    let (sender, receiver) = bounded(1);
    let sending = gaggle::go(move || {
        let mut sent = 0u64;
        for value in 0..20_000 {
            let timeout = Duration::from_nanos(value % 4 * 500);
            match sender.send_timeout(value, timeout) {
                Ok(()) => sent += value,
                Err(SendTimeoutError::Timeout(returned)) => assert_eq!(returned, value),
                Err(SendTimeoutError::Closed(_)) => panic!("nobody closed the channel"),
            }
        }
        sent
    });
    let mut received = 0;
    let mut round = 0;
    loop {
        round += 1;
        match receiver.recv_timeout(Duration::from_nanos(round % 4 * 500)) {
            Ok(value) => received += value,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Closed) => break,
        }
    }
    assert_eq!(sending.join().unwrap(), received);
}

#[test]
fn zero_sized_values_are_counted() {
    let (sender, receiver) = bounded(2);
    sender.send(()).unwrap();
    sender.send(()).unwrap();
    assert!(sender.try_send(()).is_err());
    drop(sender);
    assert_eq!(receiver.iter().count(), 2);
    let (sender, receiver) = unbuffered();
    let sending = gaggle::go(move || (0..100).for_each(|_| sender.send(()).unwrap()));
    assert_eq!(receiver.iter().count(), 100);
    sending.join().unwrap();
}

#[test]
fn large_values_arrive_whole() {
    for capacity in [0, 1, 3] {
        let (sender, receiver) = bounded(capacity);
        let sending = gaggle::go(move || {
            for n in 0..100u64 {
                sender.send([n; 512]).unwrap();
            }
        });
        for (n, value) in receiver.into_iter().enumerate() {
            assert!(value.iter().all(|&word| word == n as u64));
        }
        sending.join().unwrap();
    }
}

#[test]
fn value_that_panics_when_dropped_leaves_the_channel_sound() {
    struct Angry;
    impl Drop for Angry {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped");
            }
        }
    }
    let (sender, receiver) = bounded(1);
    sender.send(Angry).unwrap();
    let dropping = catch_unwind(AssertUnwindSafe(|| drop(receiver)));
    assert!(dropping.is_err());
    // The lock is free and the channel closed; the value comes back, to be forgotten.
    std::mem::forget(sender.send(Angry).unwrap_err());
}

#[test]
fn value_whose_drop_uses_its_own_channel_does_not_deadlock() {
    struct Closing(chan::Sender<Closing>);
    impl Drop for Closing {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let (sender, receiver) = bounded(1);
    sender.send(Closing(sender.clone())).unwrap();
    drop(receiver);
    assert!(sender.is_closed());
}

#[test]
fn values_of_one_sender_arrive_in_order() {
    for capacity in [0, 1, 7] {
        let (sender, receiver) = bounded(capacity);
        let senders: Vec<_> = (0..4u64)
            .map(|number| {
                let sender = sender.clone();
                gaggle::go(move || (0..2000u64).for_each(|n| sender.send((number, n)).unwrap()))
            })
            .collect();
        drop(sender);
        let mut next = [0; 4];
        for (number, n) in &receiver {
            assert_eq!(n, next[number as usize]);
            next[number as usize] += 1;
        }
        assert_eq!(next, [2000; 4]);
        for sender in senders {
            sender.join().unwrap();
        }
    }
}

#[test]
fn many_senders_and_receivers_every_value_is_received_once() {
    const SENDERS: u64 = 8;
    const EACH: u64 = 5_000;
    for capacity in [0, 1, 16] {
        let (sender, receiver) = bounded(capacity);
        let senders: Vec<_> = (0..SENDERS)
            .map(|number| {
                let sender = sender.clone();
                gaggle::go(move || {
                    for n in 0..EACH {
                        sender.send(Box::new(number * EACH + n)).unwrap();
                    }
                })
            })
            .collect();
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let receiver = receiver.clone();
                gaggle::go(move || receiver.iter().map(|value| *value).collect::<Vec<u64>>())
            })
            .collect();
        drop((sender, receiver));
        let mut all: Vec<u64> = receivers
            .into_iter()
            .flat_map(|r| r.join().unwrap())
            .collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..SENDERS * EACH));
        for sender in senders {
            sender.join().unwrap();
        }
    }
}

#[test]
fn close_with_many_waiting_wakes_them_all() {
    let (sender, receiver) = unbuffered::<u8>();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let receiver = receiver.clone();
            gaggle::go(move || receiver.recv())
        })
        .collect();
    sender.close();
    for waiting in waiting {
        assert_eq!(waiting.join().unwrap(), Err(RecvError));
    }
}

#[test]
fn os_threads_and_goroutines_share_a_channel() {
    let (sender, receiver) = bounded(1);
    let thread = std::thread::spawn(move || receiver.iter().sum::<u32>());
    gaggle::go(move || (1..=100).for_each(|n| sender.send(n).unwrap()))
        .join()
        .unwrap();
    assert_eq!(thread.join().unwrap(), 5050);
}

#[test]
fn after_is_received_once_and_not_early() {
    let delay = Duration::from_millis(3);
    let start = Instant::now();
    let receiver = chan::after(delay);
    assert!(receiver.recv().unwrap() - start >= delay);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    let timeout = receiver.recv_timeout(Duration::from_millis(1));
    assert_eq!(timeout, Err(RecvTimeoutError::Timeout));
    assert!(!receiver.is_closed());
}

#[test]
fn after_shared_by_two_is_received_by_one() {
    let receiver = chan::after(Duration::from_millis(3));
    let other = receiver.clone();
    let waiting = gaggle::go(move || other.recv_timeout(Duration::from_millis(50)).is_ok());
    let mine = receiver.recv_timeout(Duration::from_millis(50)).is_ok();
    assert_ne!(mine, waiting.join().unwrap());
}

#[test]
fn tick_missed_by_a_slow_receiver_is_left_out() {
    let period = Duration::from_millis(2);
    let ticks = chan::tick(period);
    let first = ticks.recv().unwrap();
    // However late this is, one tick waits, the first that was missed; the next lies ahead.
    gaggle::time::sleep(period * 10);
    assert!(ticks.len() == 1);
    let looked = Instant::now();
    let missed = ticks.recv().unwrap();
    assert!(missed > first && missed < looked);
    assert!(ticks.recv_timeout(LONG).unwrap() > looked);
}

#[test]
#[should_panic(expected = "longer than zero")]
fn tick_of_no_length_panics() {
    let _ = chan::tick(Duration::ZERO);
}
