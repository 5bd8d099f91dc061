//! What Go documents of `select`, and checks in `test/chan` and by `reflect.Select`; on goroutines, on OS
//! threads and on both mixed.

// A select takes two steps of the macro for each arm.
#![recursion_limit = "512"]

mod support;

use gaggle::chan::{
    Receiver, RecvError, RecvTimeoutError, SendError, Sender, bounded, never, unbuffered,
};
use gaggle::select;
use gaggle::select::{RecvArm, Select, SendArm};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::random::seed;
use support::tasks::{Started, Tasks, let_others_run, on_all};

#[test]
fn doubleselect_value_offered_on_four_channels_arrives_on_one() {
    on_all(|tasks| {
        let count = tasks.scaled(20_000);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..4).map(|_| unbuffered()).unzip();
        let (merged, all) = unbuffered();
        drop(tasks.start(move || {
            let [a, b, c, d] = &senders[..] else {
                unreachable!()
            };
            for n in 0..count {
                select! {
                    send(a, n) -> result => result.unwrap(),
                    send(b, n) -> result => result.unwrap(),
                    send(c, n) -> result => result.unwrap(),
                    send(d, n) -> result => result.unwrap(),
                }
            }
        }));
        for receiver in receivers {
            let merged = merged.clone();
            drop(tasks.start(move || receiver.iter().for_each(|n| merged.send(n).unwrap())));
        }
        drop(merged);
        let mut seen = HashSet::new();
        for n in &all {
            assert!(seen.insert(n), "{n} came twice");
        }
        assert_eq!(seen.len(), count);
    });
}

#[test]
fn select_of_the_other_direction_shifts_a_number_through_two_channels() {
    // Each bit of a number goes on the channel of its value; the receiver puts the number together.
    on_all(|tasks| {
        let (zero, zeros) = unbuffered::<()>();
        let (one, ones) = unbuffered::<()>();
        let sending = tasks.start(move || {
            for bit in (0..32).rev() {
                let is_one = 0xdead_beef_u32 >> bit & 1 == 1;
                let (mut for_one, mut for_zero) = (is_one.then_some(()), (!is_one).then_some(()));
                select! {
                    send_from(one, for_one) -> result => result.unwrap(),
                    send_from(zero, for_zero) -> result => result.unwrap(),
                }
            }
        });
        let mut number = 0u32;
        for _ in 0..32 {
            let bit = select! {
                recv(ones) -> value => value.map(|()| 1),
                recv(zeros) -> value => value.map(|()| 0),
            };
            number = number << 1 | bit.unwrap();
        }
        assert_eq!(number, 0xdead_beef);
        sending.join();
    });
}

#[test]
fn select2_hundred_thousand_selects_leave_no_memory_behind() {
    // A select that waits allocates nothing, so it can leave nothing; what can is the length of the
    // queues it leaves: were a waiter left behind, the other channel's next send would find it.
    on_all(|tasks| {
        let count = tasks.scaled(100_000);
        let (sender, receiver) = unbuffered();
        let (other_sender, other) = unbuffered::<usize>();
        let selecting = tasks.start(move || {
            for n in 0..count {
                select! {
                    recv(receiver) -> value => assert_eq!(value, Ok(n)),
                    recv(other) -> _ => panic!("nobody sends here"),
                }
            }
            other
        });
        (0..count).for_each(|n| sender.send(n).unwrap());
        let other = selecting.join();
        assert!(other_sender.try_send(1).unwrap_err().is_full());
        drop(other);
    });
}

/// Whether `operation` waits for ever: it is started, others run, and then it is ended by `release`, which
/// it must not have passed before.
fn waits<T: Send + 'static>(
    tasks: &Tasks,
    operation: impl FnOnce() -> T + Send + 'static,
    release: impl FnOnce(),
) -> T {
    let has_passed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&has_passed);
    let task = tasks.start(move || {
        let result = operation();
        flag.store(true, Ordering::Release);
        result
    });
    let_others_run();
    assert!(!has_passed.load(Ordering::Acquire), "it did not wait");
    release();
    task.join()
}

#[test]
fn select3_operations_wait_exactly_when_nothing_is_ready() {
    on_all(|tasks| {
        // A channel that never becomes ready, alone, with itself, and beside default.
        let nothing = never::<u8>();
        assert_eq!(
            nothing.recv_timeout(Duration::from_millis(1)),
            Err(RecvTimeoutError::Timeout)
        );
        let selected = select! { recv(nothing) -> _ => false, default => true };
        assert!(selected);
        let (sender, receiver) = unbuffered();
        let mut empty = None::<u8>;
        let selected = select! {
            send_from(sender, empty) -> _ => false,
            recv(nothing) -> _ => false,
            default => true,
        };
        assert!(selected);
        select! { default => {} }

        // A receive, a select of one arm, and one that could only serve itself.
        let other = receiver.clone();
        let received = waits(tasks, move || other.recv(), || sender.send(1).unwrap());
        assert_eq!(received, Ok(1));
        let other = receiver.clone();
        let selecting = move || select! { recv(other) -> value => value };
        assert_eq!(waits(tasks, selecting, || sender.send(2).unwrap()), Ok(2));
        let (own, other) = (sender.clone(), receiver.clone());
        let itself = move || {
            select! {
                send(own, 3) -> result => result.map(|()| 0).unwrap(),
                recv(other) -> value => value.unwrap(),
            }
        };
        assert_eq!(waits(tasks, itself, || sender.send(4).unwrap()), 4);
        let mut nothing_to_send = None::<u8>;
        let (own, other) = (sender.clone(), receiver.clone());
        let half = move || {
            select! {
                send_from(own, nothing_to_send) -> _ => Ok(0),
                recv(other) -> value => value,
                recv(never::<u8>()) -> value => value,
            }
        };
        assert_eq!(waits(tasks, half, || sender.send(5).unwrap()), Ok(5));

        // What is ready does not wait.
        let (sender, receiver) = bounded(1);
        select! { send(sender, 7) -> result => result.unwrap(), default => panic!("there is room") }
        select! { recv(receiver) -> value => assert_eq!(value, Ok(7)), default => panic!("it is full") }

        // A closed channel is ready, always and for both directions.
        sender.close();
        for _ in 0..10 {
            assert_eq!(receiver.recv(), Err(RecvError));
            assert_eq!(select! { recv(receiver) -> value => value }, Err(RecvError));
            assert_eq!(sender.send(8), Err(SendError(8)));
            assert_eq!(
                select! { send(sender, 9) -> result => result },
                Err(SendError(9))
            );
        }
    });
}

#[test]
fn select4_only_the_chosen_arms_result_is_assigned() {
    let (sender, receiver) = bounded(1);
    sender.send(42).unwrap();
    let (_open, nothing) = unbuffered::<i32>();
    let mut places = [0, 0];
    let indexed = RefCell::new(Vec::new());
    let place = |index: usize| {
        indexed.borrow_mut().push(index);
        index
    };
    select! {
        recv(nothing) -> value => places[place(1)] = value.unwrap(),
        recv(receiver) -> value => places[place(0)] = value.unwrap(),
    }
    assert_eq!((places, indexed.into_inner()), ([42, 0], vec![0]));
}

#[test]
fn select5_operands_are_evaluated_once_each_from_the_first_arm_to_the_last() {
    let order = RefCell::new(Vec::new());
    fn say<T>(order: &RefCell<Vec<&'static str>>, name: &'static str, value: T) -> T {
        order.borrow_mut().push(name);
        value
    }
    let (sender, receiver) = bounded(1);
    let (other_sender, other) = bounded(1);
    other_sender.send(1).unwrap();
    let (dummy_sender, dummy) = unbuffered::<i32>();
    for round in 0..2 {
        order.borrow_mut().clear();
        let mut slot = Some(5);
        select! {
            send(say(&order, "sender", &sender), say(&order, "value", 7)) -> result => {
                order.borrow_mut().push("sent");
                result.unwrap();
            }
            recv(say(&order, "receiver", &dummy)) -> _ => panic!("nothing was sent"),
            send_from(say(&order, "dummy", &dummy_sender), slot) -> _ => panic!("nobody receives"),
            after(say(&order, "duration", Duration::from_secs(3600))) => panic!("too early"),
            default => {
                order.borrow_mut().push("default");
            }
        }
        let last = if round == 0 { "sent" } else { "default" };
        let expected = ["sender", "value", "receiver", "dummy", "duration", last];
        assert_eq!(*order.borrow(), expected);
        assert_eq!(slot, Some(5));
    }
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [7]);
    assert_eq!(other.try_iter().collect::<Vec<_>>(), [1]);
}

#[test]
fn select6_select_that_is_last_in_a_queue_leaves_the_queue_whole() {
    on_all(|tasks| {
        for _ in 0..tasks.scaled(500) {
            let (first_sender, first) = unbuffered::<()>();
            let (second_sender, second) = unbuffered::<()>();
            let (third_sender, third) = unbuffered::<()>();
            let other = first.clone();
            let before = tasks.start(move || other.recv().unwrap());
            let selecting = tasks.start(move || {
                select! {
                    recv(first) -> _ => panic!("the second channel was served"),
                    recv(second) -> value => value.unwrap(),
                }
                third_sender.send(()).unwrap();
                first.recv().unwrap();
            });
            drop(tasks.start(move || second_sender.send(())));
            third.recv().unwrap();
            first_sender.send(()).unwrap();
            first_sender.send(()).unwrap();
            before.join();
            selecting.join();
        }
    });
}

#[test]
fn select7_every_way_to_send_meets_every_way_to_receive() {
    type Sending = fn(Sender<u8>);
    type Receiving = fn(Receiver<u8>);
    let sends: [Sending; 3] = [
        |sender| sender.send(1).unwrap(),
        |sender| select! { send(sender, 1) -> result => result.unwrap() },
        |sender| {
            let (other, _other) = unbuffered();
            select! {
                send(sender, 1) -> result => result.unwrap(),
                send(other, 2) -> _ => panic!("nobody receives"),
            }
        },
    ];
    let receives: [Receiving; 3] = [
        |receiver| assert_eq!(receiver.recv(), Ok(1)),
        |receiver| select! { recv(receiver) => {} },
        |receiver| {
            let (_other, other) = unbuffered::<u8>();
            select! { recv(receiver) => {}, recv(other) => panic!("nobody sends") }
        },
    ];
    on_all(move |tasks| {
        for send in sends {
            for receive in receives {
                for gives_way in [true, false] {
                    let (sender, receiver) = unbuffered();
                    let receiving = tasks.start(move || receive(receiver));
                    if gives_way {
                        let_others_run();
                    }
                    send(sender);
                    receiving.join();
                }
            }
        }
    });
}

#[test]
fn select8_break_and_continue_in_a_body_are_those_of_the_loop_around_it() {
    let (sender, receiver) = bounded(4);
    (0..4).for_each(|n| sender.send(n).unwrap());
    let mut seen = Vec::new();
    'outer: loop {
        for _ in 0..2 {
            select! {
                recv(receiver) -> value => match value.unwrap() {
                    0 => continue,
                    3 => break 'outer,
                    n => seen.push(n),
                },
                default => unreachable!("four were sent"),
            }
            seen.push(seen.len() + 10);
        }
    }
    assert_eq!(seen, [1, 11, 2, 13]);
}

#[test]
fn select_nop_list_of_no_arms_chooses_nothing_at_once() {
    assert_eq!(Select::new().try_wait(), None);
    assert_eq!(Select::new().wait_timeout(Duration::from_millis(1)), None);
}

#[test]
fn select_max_cases_a_list_may_have_any_length() {
    // Go's limit is 65,536.
    const ARMS: usize = 70_000;
    let (sender, receiver) = bounded(1);
    let mut arms: Vec<_> = (0..ARMS).map(|_| RecvArm::new(&receiver)).collect();
    let mut list = Select::new();
    for arm in &mut arms {
        list.add(arm);
    }
    sender.send(1).unwrap();
    let chosen = list.wait();
    assert_eq!(arms[chosen].take(), Ok(1));
    // It stands ten thousands of times in one queue, and leaves it.
    let mut list = Select::new();
    for arm in &mut arms {
        list.add(arm);
    }
    assert_eq!(list.wait_timeout(Duration::from_millis(1)), None);
    sender.send(2).unwrap();
    assert_eq!(receiver.recv(), Ok(2));
}

#[test]
fn many_channels_in_one_list_send_and_receive_each_value_once() {
    const CHANNELS: usize = 300;
    on_all(|tasks| {
        let (senders, inputs): (Vec<_>, Vec<_>) =
            (0..CHANNELS).map(|n| bounded::<usize>(n % 3)).unzip();
        let (outputs, receivers): (Vec<_>, Vec<_>) =
            (0..CHANNELS).map(|n| bounded::<usize>(n % 3)).unzip();
        let feeding = tasks.start(move || {
            for (n, sender) in senders.iter().enumerate() {
                sender.send(n).unwrap();
            }
            senders
        });
        let draining = tasks.start(move || {
            let values = receivers.iter().map(|receiver| receiver.recv().unwrap());
            values.collect::<Vec<_>>()
        });
        let (mut received, mut slots) = (Vec::new(), (0..CHANNELS).map(Some).collect::<Vec<_>>());
        for _ in 0..2 * CHANNELS {
            let mut inputs: Vec<_> = inputs.iter().map(RecvArm::new).collect();
            let mut outputs: Vec<_> = outputs
                .iter()
                .zip(&mut slots)
                .map(|(sender, slot)| SendArm::new(sender, slot))
                .collect();
            let mut list = Select::new();
            for arm in &mut inputs {
                list.add(arm);
            }
            for arm in &mut outputs {
                list.add(arm);
            }
            let chosen = list.wait();
            match chosen.checked_sub(CHANNELS) {
                None => received.push(inputs[chosen].take().unwrap()),
                Some(output) => outputs[output].take().unwrap(),
            }
        }
        assert!(slots.iter().all(Option::is_none));
        received.sort_unstable();
        assert!(received.into_iter().eq(0..CHANNELS));
        assert!(draining.join().into_iter().eq(0..CHANNELS));
        drop(feeding.join());
    });
}

#[test]
fn macro_with_hundred_arms_chooses_the_one_that_is_ready() {
    macro_rules! over {
        ($receivers:ident: $($number:literal)*) => {
            select! { $(recv($receivers[$number]) -> value => (value, $number),)* }
        };
    }
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..100).map(|_| bounded(1)).unzip();
    for ready in (0..100).rev() {
        senders[ready].send(ready).unwrap();
        let chosen = over!(receivers: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24
            25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55
            56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86
            87 88 89 90 91 92 93 94 95 96 97 98 99);
        assert_eq!(chosen, (Ok(ready), ready));
    }
}

// ---- As `reflect`'s TestSelect: lists of arms of every sort, and what may be chosen of each ----

/// One arm of a random list.
struct Arm {
    kind: Kind,
    sender: Sender<u64>,
    receiver: Receiver<u64>,
    slot: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    ReadySend,
    ReadyRecv,
    /// Nobody is on the other side, unless it is the one that the helper serves.
    WaitingSend,
    WaitingRecv,
    NothingToSend,
    NeverRecv,
    ClosedSend,
    ClosedRecv,
}

impl Kind {
    const ALL: [Kind; 8] = [
        Kind::ReadySend,
        Kind::ReadyRecv,
        Kind::WaitingSend,
        Kind::WaitingRecv,
        Kind::NothingToSend,
        Kind::NeverRecv,
        Kind::ClosedSend,
        Kind::ClosedRecv,
    ];

    fn is_ready(self) -> bool {
        matches!(
            self,
            Kind::ReadySend | Kind::ReadyRecv | Kind::ClosedSend | Kind::ClosedRecv
        )
    }

    fn sends(self) -> bool {
        matches!(
            self,
            Kind::ReadySend | Kind::WaitingSend | Kind::NothingToSend | Kind::ClosedSend
        )
    }
}

impl Arm {
    fn new(kind: Kind, value: u64) -> Arm {
        let (sender, receiver) = bounded(usize::from(matches!(
            kind,
            Kind::ReadySend | Kind::ReadyRecv
        )));
        match kind {
            Kind::ReadyRecv => sender.send(value).unwrap(),
            Kind::ClosedSend | Kind::ClosedRecv => sender.close(),
            _ => {}
        }
        Arm {
            kind,
            slot: (kind.sends() && kind != Kind::NothingToSend).then_some(value),
            receiver: if kind == Kind::NeverRecv {
                never()
            } else {
                receiver
            },
            sender,
        }
    }
}

/// The two sorts of arms in one list.
enum Operation<'a> {
    Send(SendArm<'a, u64>),
    Recv(RecvArm<'a, u64>),
}

/// What came of the arm that was chosen.
fn result_of(operation: &mut Operation<'_>) -> Result<Option<u64>, Option<u64>> {
    match operation {
        Operation::Send(arm) => arm.take().map(|()| None).map_err(|error| Some(error.0)),
        Operation::Recv(arm) => arm.take().map(Some).map_err(|_| None),
    }
}

fn check_random_list(tasks: &Tasks, random: &mut StdRng) {
    let mut arms: Vec<Arm> = (0..random.random_range(0..9))
        .map(|value| Arm::new(Kind::ALL[random.random_range(0..8)], value))
        .collect();
    let can_go = arms.iter().any(|arm| arm.kind.is_ready());
    let waiting: Vec<_> = (0..arms.len())
        .filter(|&n| matches!(arms[n].kind, Kind::WaitingSend | Kind::WaitingRecv))
        .collect();
    // Somebody must come if nothing is ready and there is no default.
    let has_default = (!can_go && waiting.is_empty()) || random.random();
    let helped = (!can_go && !has_default).then(|| waiting[random.random_range(0..waiting.len())]);
    let helping = helped.map(|n| {
        let (kind, sender, receiver) = (
            arms[n].kind,
            arms[n].sender.clone(),
            arms[n].receiver.clone(),
        );
        tasks.start(move || match kind {
            Kind::WaitingSend => assert_eq!(receiver.recv(), Ok(n as u64)),
            _ => sender.send(n as u64).unwrap(),
        })
    });
    let mut operations: Vec<_> = arms
        .iter_mut()
        .map(|arm| match arm.kind.sends() {
            true => Operation::Send(SendArm::new(&arm.sender, &mut arm.slot)),
            false => Operation::Recv(RecvArm::new(&arm.receiver)),
        })
        .collect();
    let mut list = Select::new();
    for operation in &mut operations {
        match operation {
            Operation::Send(arm) => list.add(arm),
            Operation::Recv(arm) => list.add(arm),
        };
    }
    let chosen = if has_default {
        list.try_wait()
    } else {
        Some(list.wait())
    };
    let result = chosen.map(|n| result_of(&mut operations[n]));
    drop(operations);
    match chosen {
        None => assert!(!can_go, "an arm was ready"),
        Some(n) => {
            let kind = arms[n].kind;
            assert!(
                kind.is_ready() || helped == Some(n),
                "{kind:?} was not ready"
            );
            let expected = match kind {
                Kind::ReadySend | Kind::WaitingSend => Ok(None),
                Kind::ReadyRecv | Kind::WaitingRecv => Ok(Some(n as u64)),
                Kind::ClosedSend => Err(Some(n as u64)),
                _ => Err(None),
            };
            assert_eq!(result, Some(expected), "{kind:?}");
        }
    }
    // Nothing else has moved.
    for (n, arm) in arms.iter().enumerate().filter(|(n, _)| chosen != Some(*n)) {
        assert_eq!(
            arm.slot.is_some(),
            arm.kind.sends() && arm.kind != Kind::NothingToSend
        );
        assert_eq!(
            arm.receiver.len(),
            usize::from(arm.kind == Kind::ReadyRecv),
            "{n}"
        );
    }
    helping.map(Started::join);
}

#[test]
fn random_lists_choose_only_what_is_ready_and_move_nothing_else() {
    on_all(|tasks| {
        let seed = seed();
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..tasks.scaled(5_000) {
            check_random_list(tasks, &mut random);
        }
    });
}
