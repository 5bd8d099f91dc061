//! What Go documents of channels and checks in `runtime/chan_test.go`, case by case; on goroutines, on OS
//! threads and on both mixed.

mod support;

use gaggle::chan::{self, RecvError, SendError, TryRecvError, TrySendError, bounded, unbuffered};
use gaggle::select;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::tasks::{Tasks, let_others_run, on_all};

/// Capacities from none to many; the sizes around a power of two are where a ring goes wrong.
const CAPACITIES: [usize; 12] = [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 200];

#[test]
fn receive_from_an_empty_channel_blocks_until_the_send() {
    on_all(|tasks| {
        for capacity in CAPACITIES {
            let (sender, receiver) = bounded(capacity);
            let is_sent = Arc::new(AtomicBool::new(false));
            let receiving: Vec<_> = (0..2)
                .map(|_| {
                    let (receiver, is_sent) = (receiver.clone(), Arc::clone(&is_sent));
                    tasks.start(move || {
                        receiver.recv().unwrap();
                        // Acquire: pairs with the Release before the send.
                        assert!(is_sent.load(Ordering::Acquire));
                    })
                })
                .collect();
            let_others_run();
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            select! {
                recv(receiver) -> _ => panic!("nothing was sent"),
                default => {}
            }
            // Release: pairs with the Acquire above.
            is_sent.store(true, Ordering::Release);
            sender.send(0).unwrap();
            sender.send(0).unwrap();
            receiving
                .into_iter()
                .for_each(support::tasks::Started::join);
        }
    });
}

#[test]
fn send_to_a_full_channel_blocks_until_a_receive() {
    on_all(|tasks| {
        for capacity in CAPACITIES {
            let (sender, receiver) = bounded(capacity);
            (0..capacity).for_each(|n| sender.send(n).unwrap());
            let has_room = Arc::new(AtomicBool::new(false));
            let sending = {
                let (sender, has_room) = (sender.clone(), Arc::clone(&has_room));
                tasks.start(move || {
                    sender.send(capacity).unwrap();
                    // Acquire: pairs with the Release before the first receive.
                    assert!(has_room.load(Ordering::Acquire));
                })
            };
            let_others_run();
            assert_eq!(sender.try_send(7), Err(TrySendError::Full(7)));
            select! {
                send(sender, 7) -> _ => panic!("there is no room"),
                default => {}
            }
            // Release: pairs with the Acquire above.
            has_room.store(true, Ordering::Release);
            for expected in 0..=capacity {
                assert_eq!(receiver.recv(), Ok(expected));
            }
            sending.join();
        }
    });
}

#[test]
fn closed_channel_is_drained_in_order_and_then_reports_closed_for_ever() {
    for capacity in CAPACITIES {
        let (sender, receiver) = bounded(capacity);
        (0..capacity).for_each(|n| sender.send(n).unwrap());
        sender.close();
        for expected in 0..capacity {
            assert_eq!(receiver.recv(), Ok(expected));
        }
        for _ in 0..3 {
            assert_eq!(receiver.recv(), Err(RecvError));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
            assert_eq!(
                select! { recv(receiver) -> result => result },
                Err(RecvError)
            );
        }
    }
}

#[test]
fn close_unblocks_a_receive() {
    on_all(|tasks| {
        for capacity in CAPACITIES {
            let (sender, receiver) = bounded::<u8>(capacity);
            let receiving = tasks.start(move || receiver.recv());
            let_others_run();
            sender.close();
            assert_eq!(receiving.join(), Err(RecvError));
        }
    });
}

#[test]
fn close_unblocks_a_send_which_keeps_its_value() {
    on_all(|tasks| {
        for capacity in CAPACITIES {
            let (sender, receiver) = bounded(capacity);
            (0..capacity).for_each(|n| sender.send(n).unwrap());
            let sending = {
                let sender = sender.clone();
                tasks.start(move || sender.send(999))
            };
            let_others_run();
            sender.close();
            assert_eq!(sending.join(), Err(SendError(999)));
            assert!(receiver.iter().eq(0..capacity));
        }
    });
}

#[test]
fn hundred_values_arrive_whole_and_in_order() {
    on_all(|tasks| {
        for capacity in CAPACITIES {
            let (sender, receiver) = bounded(capacity);
            let sending = tasks.start(move || (0..100).for_each(|n| sender.send(n).unwrap()));
            assert!(receiver.iter().eq(0..100));
            sending.join();
        }
    });
}

#[test]
fn four_senders_and_four_receivers_each_value_arrives_as_often_as_it_was_sent() {
    on_all(|tasks| {
        const SIDE: usize = 4;
        let each = tasks.scaled(1000);
        for capacity in CAPACITIES {
            let (sender, receiver) = bounded(capacity);
            for _ in 0..SIDE {
                let sender = sender.clone();
                drop(tasks.start(move || (0..each).for_each(|n| sender.send(n).unwrap())));
            }
            drop(sender);
            let receiving: Vec<_> = (0..SIDE)
                .map(|_| {
                    let receiver = receiver.clone();
                    tasks.start(move || receiver.iter().collect::<Vec<_>>())
                })
                .collect();
            let mut counts = vec![0; each];
            for value in receiving.into_iter().flat_map(|task| task.join()) {
                counts[value] += 1;
            }
            assert!(counts.iter().all(|&count| count == SIDE));
        }
    });
}

#[test]
fn length_and_capacity_are_what_was_put_in_and_asked_for() {
    for capacity in CAPACITIES {
        let (sender, receiver) = bounded(capacity);
        assert_eq!((sender.len(), sender.capacity()), (0, capacity));
        (0..capacity).for_each(|n| sender.send(n).unwrap());
        assert_eq!((sender.len(), receiver.len()), (capacity, capacity));
        assert_eq!(
            (sender.capacity(), receiver.capacity()),
            (capacity, capacity)
        );
    }
}

#[test]
fn receive_that_need_not_wait_finds_the_value_though_the_channel_is_closed_meanwhile() {
    on_all(|tasks| {
        for _ in 0..tasks.scaled(2000) {
            let (sender, receiver) = bounded(1);
            sender.send(1).unwrap();
            let receiving = {
                let receiver = receiver.clone();
                tasks.start(move || select! { recv(receiver) -> _ => true, default => false })
            };
            sender.close();
            // One of the two gets the value, the other sees the end; none finds the channel not ready.
            let mine = receiver.recv();
            assert!(receiving.join());
            assert!(mine == Ok(1) || mine == Err(RecvError));
        }
    });
}

/// Of two channels one is ready at each moment: first the first, then both, then the second. A select
/// that looks at them in one instant never finds none.
fn select_while_readiness_moves(tasks: &Tasks, make_second_ready: fn(&chan::Sender<u8>)) {
    for _ in 0..tasks.scaled(5000) {
        let (first_sender, first) = bounded(1);
        let (second_sender, second) = bounded(1);
        first_sender.send(1).unwrap();
        let selecting = {
            let (first, second) = (first.clone(), second.clone());
            tasks.start(move || {
                select! {
                    recv(first) -> _ => true,
                    recv(second) -> _ => true,
                    default => false,
                }
            })
        };
        make_second_ready(&second_sender);
        let _ = first.try_recv();
        assert!(selecting.join(), "a channel was ready all the time");
    }
}

#[test]
fn select_looks_at_all_channels_in_one_instant_while_one_is_filled() {
    on_all(|tasks| select_while_readiness_moves(tasks, |second| second.send(2).unwrap()));
}

#[test]
fn select_looks_at_all_channels_in_one_instant_while_one_is_closed() {
    on_all(|tasks| select_while_readiness_moves(tasks, chan::Sender::close));
}

#[test]
fn two_selects_that_send_and_receive_on_one_channel_end_and_never_serve_themselves() {
    on_all(|tasks| {
        for capacity in [0, 10] {
            let (sender, receiver) = bounded(capacity);
            let rounds = tasks.scaled(1000);
            let playing: Vec<_> = (0..2)
                .map(|player| {
                    let (sender, receiver) = (sender.clone(), receiver.clone());
                    tasks.start(move || {
                        let check = |value| assert!(capacity > 0 || value != Ok(player));
                        for round in 0..rounds {
                            if player == 0 || round % 2 == 0 {
                                select! {
                                    send(sender, player) -> result => result.unwrap(),
                                    recv(receiver) -> value => check(value),
                                }
                            } else {
                                select! {
                                    recv(receiver) -> value => check(value),
                                    send(sender, player) -> result => result.unwrap(),
                                }
                            }
                        }
                    })
                })
                .collect();
            playing.into_iter().for_each(support::tasks::Started::join);
        }
    });
}

#[test]
fn values_of_any_type_may_stand_in_several_arms_that_send() {
    let value: Arc<dyn std::any::Any + Send + Sync> = Arc::new(7u8);
    let (sender, receiver) = bounded(1);
    sender.send(Arc::clone(&value)).unwrap();
    select! {
        send(sender, Arc::clone(&value)) -> _ => panic!("it is full"),
        default => {}
    }
    select! {
        send(sender, Arc::clone(&value)) -> _ => panic!("it is full"),
        send(sender, Arc::new(8u8)) -> _ => panic!("it is full"),
        default => {}
    }
    assert!(receiver.recv().unwrap().is::<u8>());
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn select_of_two_sends_on_one_channel_sends_both_values_about_as_often() {
    on_all(|tasks| {
        for capacity in [0, 100] {
            let (sender, receiver) = bounded(capacity);
            let receiving = tasks.start(move || {
                let mut counts = [0; 2];
                for value in &receiver {
                    gaggle::yield_now();
                    counts[value as usize] += 1;
                }
                counts
            });
            for _ in 0..100 {
                select! {
                    send(sender, 1u8) -> result => result.unwrap(),
                    send(sender, 0u8) -> result => result.unwrap(),
                }
            }
            drop(sender);
            let counts = receiving.join();
            // Fewer than 10 of 100: once in 10^17 runs.
            assert!(counts.iter().all(|&count| count > 10), "{counts:?}");
        }
    });
}

#[test]
fn many_workers_between_two_channels_pass_every_value_on() {
    on_all(|tasks| {
        const WORKERS: usize = 23;
        const NUMBERS: [u64; 10] = [2, 3, 7, 11, 13, 17, 19, 23, 27, 31];
        let count = tasks.scaled(60_000);
        let (job, jobs) = bounded(WORKERS * 3);
        let (result, results) = bounded(WORKERS * 3);
        for worker in 0..WORKERS {
            let (jobs, result) = (jobs.clone(), result.clone());
            drop(tasks.start(move || {
                for value in &jobs {
                    // Some give way at some values, so that they overtake each other.
                    if NUMBERS[worker % NUMBERS.len()] == value {
                        gaggle::yield_now();
                    }
                    result.send(value).unwrap();
                }
            }));
        }
        drop((jobs, result));
        let feeding = tasks.start(move || {
            let values = (0..count).map(|n| NUMBERS[n % NUMBERS.len()]);
            values
                .map(|value| job.send(value).map(|()| value).unwrap())
                .sum::<u64>()
        });
        let (mut received, mut sum) = (0, 0);
        for value in &results {
            received += 1;
            sum += value;
        }
        assert_eq!((received, sum), (count, feeding.join()));
    });
}

/// Uses some 100 KiB of stack.
#[inline(never)]
fn use_stack(depth: usize) -> u64 {
    let frame = std::hint::black_box([depth as u64; 512]);
    match depth {
        0 => frame[511],
        _ => use_stack(depth - 1) + frame[0],
    }
}

#[test]
fn send_that_waits_on_a_stack_that_was_deep_keeps_its_value() {
    // Go shrinks the stacks of those who wait; here the memory below the frame is given back.
    on_all(|tasks| {
        let (sender, receiver) = unbuffered();
        let sending = tasks.start(move || {
            for n in 0..50u64 {
                sender.send([n; 64]).unwrap();
                assert_eq!(use_stack(25), 25 * 26 / 2);
            }
        });
        for n in 0..50 {
            let_others_run();
            assert_eq!(receiver.recv(), Ok([n; 64]));
        }
        sending.join();
    });
}

#[test]
fn select_that_waits_on_a_stack_that_was_deep_changes_only_what_it_received() {
    on_all(|tasks| {
        let (sender, receiver) = unbuffered::<Box<u32>>();
        let (other_sender, other) = unbuffered::<Box<u32>>();
        let selecting = tasks.start(move || {
            use_stack(25);
            let mut received = None;
            let own = Box::new(42);
            select! {
                recv(receiver) -> value => received = value.ok(),
                recv(receiver) => {}
                recv(other) => {}
                recv(other.clone()) => {}
            }
            assert_eq!((received, *own), (None, 42));
        });
        let_others_run();
        other_sender.send(Box::new(1)).unwrap();
        selecting.join();
        drop(sender);
    });
}

#[test]
fn select_that_stands_twice_in_a_queue_leaves_it_whole() {
    on_all(|tasks| {
        for _ in 0..20 {
            let (sender, receiver) = unbuffered();
            let (other_sender, other) = unbuffered();
            let has_ended = Arc::new(AtomicUsize::new(0));
            let selecting = {
                let (receiver, has_ended) = (receiver.clone(), Arc::clone(&has_ended));
                tasks.start(move || {
                    select! {
                        recv(receiver) -> _ => panic!("the other channel was served"),
                        recv(receiver) -> _ => panic!("the other channel was served"),
                        recv(other) -> value => assert_eq!(value, Ok(7)),
                    }
                    has_ended.fetch_add(1, Ordering::Relaxed);
                })
            };
            let_others_run();
            let behind = tasks.start(move || receiver.recv());
            let_others_run();
            // The select leaves the first queue, in which it stands twice, in front of another.
            other_sender.send(7).unwrap();
            selecting.join();
            sender.send(8).unwrap();
            assert_eq!(behind.join(), Ok(8));
        }
    });
}
