//! Random programs of channels and selects: no value is lost, doubled, or dropped twice, whatever races.
//!
//! `GAGGLE_TEST_SEED` replays the programs of a run; how their tasks interleave is the scheduler's.

mod support;

use gaggle::chan::{
    Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError, bounded,
};
use gaggle::select;
use gaggle::select::{RecvArm, Select};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use support::random::seed;
use support::tasks::{Tasks, on_all};

/// What has happened to each value.
struct Ledger {
    made: AtomicU32,
    fates: Vec<Fate>,
}

#[derive(Default)]
struct Fate {
    sent: AtomicU32,
    refused: AtomicU32,
    received: AtomicU32,
    dropped: AtomicU32,
}

/// A value that keeps the ledger.
struct Value {
    number: usize,
    sender: usize,
    ledger: Arc<Ledger>,
    /// Makes it larger than a word or two, and shows whether it arrives whole.
    body: [usize; 5],
}

impl Ledger {
    fn new(room: usize) -> Arc<Ledger> {
        Arc::new(Ledger {
            made: AtomicU32::new(0),
            fates: (0..room).map(|_| Fate::default()).collect(),
        })
    }

    fn make(self: &Arc<Self>, sender: usize) -> Value {
        let number = self.made.fetch_add(1, Ordering::Relaxed) as usize;
        Value {
            number,
            sender,
            ledger: Arc::clone(self),
            body: [number; 5],
        }
    }

    fn add(counter: &AtomicU32) {
        // Relaxed: read after all tasks were joined.
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Insists that each value was dropped once, and received once if it was sent, else never.
    /// `drained`: nobody dropped a channel with values in it.
    fn check(&self, drained: bool) {
        let made = self.made.load(Ordering::Relaxed) as usize;
        for (number, fate) in self.fates[..made].iter().enumerate() {
            let [sent, refused, received, dropped] =
                [&fate.sent, &fate.refused, &fate.received, &fate.dropped]
                    .map(|counter| counter.load(Ordering::Relaxed));
            assert_eq!(dropped, 1, "value {number} was dropped {dropped} times");
            assert!(sent + refused <= 1, "value {number} was sent and refused");
            assert!(received <= sent, "value {number} was received and not sent");
            assert!(!drained || received == sent, "value {number} was lost");
        }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        assert_eq!(self.body, [self.number; 5], "it is whole");
        Ledger::add(&self.ledger.fates[self.number].dropped);
    }
}

/// Notes that a value came back.
fn refused(value: &Value) {
    Ledger::add(&value.ledger.fates[value.number].refused);
}

/// Notes that value `number` has gone.
fn sent(ledger: &Ledger, number: usize) {
    Ledger::add(&ledger.fates[number].sent);
}

/// Sends one value in one of the ways there are, and notes whether it has gone or come back.
fn send_somehow(random: &mut StdRng, sender: &Sender<Value>, mut value: Value) {
    let ledger = Arc::clone(&value.ledger);
    let number = value.number;
    let soon = Duration::from_nanos(random.random_range(0..3_000));
    let done = match random.random_range(0..5) {
        0 | 1 => sender.send(value).map_err(|error| Some(error.0)),
        2 => loop {
            match sender.try_send(value) {
                Ok(()) => break Ok(()),
                Err(TrySendError::Closed(value)) => break Err(Some(value)),
                Err(TrySendError::Full(back)) => value = back,
            }
            gaggle::yield_now();
        },
        3 => match sender.send_timeout(value, soon) {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(value)) => {
                return refused(&value);
            }
            Err(SendTimeoutError::Closed(value)) => Err(Some(value)),
        },
        _ => {
            let mut slot = Some(value);
            select! {
                send_from(sender, slot) -> result => result.map_err(|error| Some(error.0)),
                default(soon) => {
                    return refused(slot.as_ref().expect("it was not sent"));
                }
            }
        }
    };
    match done {
        Ok(()) => sent(&ledger, number),
        Err(value) => refused(&value.expect("a value that was not sent comes back")),
    }
}

/// Receives one value in one of the ways there are; `None`: all channels are closed and drained.
fn recv_somehow(random: &mut StdRng, open: &mut Vec<Receiver<Value>>) -> Option<Value> {
    while !open.is_empty() {
        let index = random.random_range(0..open.len());
        let soon = Duration::from_nanos(random.random_range(0..3_000));
        let result = match random.random_range(0..4) {
            0 => match open[index].try_recv() {
                Err(TryRecvError::Empty) => {
                    gaggle::yield_now();
                    continue;
                }
                result => result.ok(),
            },
            1 => match open[index].recv_timeout(soon) {
                Err(RecvTimeoutError::Timeout) => continue,
                result => result.ok(),
            },
            _ => {
                let mut arms: Vec<_> = open.iter().map(RecvArm::new).collect();
                let mut list = Select::new();
                for arm in &mut arms {
                    list.add(arm);
                }
                let chosen = list.wait();
                let result = arms[chosen].take().ok();
                drop(arms);
                if result.is_none() {
                    open.swap_remove(chosen);
                    continue;
                }
                result
            }
        };
        match result {
            Some(value) => return Some(value),
            None => drop(open.swap_remove(index)),
        }
    }
    None
}

/// Receives until nothing more comes, or until it panics with a value in its hands.
fn receive(mut random: StdRng, receivers: Vec<Receiver<Value>>, panics_after: usize) {
    let mut open = receivers;
    let mut last = [0; 8];
    let mut count = 0;
    while let Some(value) = recv_somehow(&mut random, &mut open) {
        let fate = &value.ledger.fates[value.number];
        Ledger::add(&fate.received);
        assert_eq!(fate.received.load(Ordering::Relaxed), 1, "received once");
        // Of one sender and one channel at most; with several, only their own order is kept.
        if open.len() == 1 {
            assert!(last[value.sender] <= value.number, "in order");
            last[value.sender] = value.number;
        }
        count += 1;
        if count == panics_after {
            std::panic::resume_unwind(Box::new("as planned"));
        }
    }
}

/// What a random program is made of.
struct Plan {
    capacities: Vec<usize>,
    senders: usize,
    receivers: usize,
    each: usize,
    /// Somebody closes the channels in the middle.
    closes: bool,
    /// Receivers panic in the middle, and leave values behind.
    panics: bool,
}

fn plan(random: &mut StdRng, tasks: &Tasks) -> Plan {
    let channels = random.random_range(1..5);
    Plan {
        capacities: (0..channels)
            .map(|_| [0, 0, 1, 2, 7, 64, 1 << 20][random.random_range(0..7)])
            .collect(),
        senders: random.random_range(1..6),
        receivers: random.random_range(1..6),
        each: tasks.scaled(400),
        closes: random.random_range(0..3) == 0,
        panics: random.random_range(0..3) == 0,
    }
}

fn run(tasks: &Tasks, random: &mut StdRng) {
    let plan = plan(random, tasks);
    let ledger = Ledger::new(plan.senders * plan.each);
    let (senders, receivers): (Vec<Sender<Value>>, Vec<Receiver<Value>>) = plan
        .capacities
        .iter()
        .map(|&capacity| bounded(capacity))
        .unzip();
    let receiving: Vec<_> = (0..plan.receivers)
        .map(|_| {
            let (random, receivers) = (StdRng::from_rng(random), receivers.clone());
            let panics_after = if plan.panics {
                plan.each / 2 + 1
            } else {
                usize::MAX
            };
            tasks.start(move || {
                catch_unwind(AssertUnwindSafe(|| {
                    receive(random, receivers, panics_after)
                }))
                .is_err()
            })
        })
        .collect();
    drop(receivers);
    let sending: Vec<_> = (0..plan.senders)
        .map(|number| {
            let (mut random, senders) = (StdRng::from_rng(random), senders.clone());
            let (ledger, each) = (Arc::clone(&ledger), plan.each);
            tasks.start(move || {
                for _ in 0..each {
                    let sender = &senders[random.random_range(0..senders.len())];
                    send_somehow(&mut random, sender, ledger.make(number));
                }
            })
        })
        .collect();
    let closing = plan.closes.then(|| {
        let (senders, ledger) = (senders.clone(), Arc::clone(&ledger));
        let half = (plan.senders * plan.each / 2) as u32;
        tasks.start(move || {
            while ledger.made.load(Ordering::Relaxed) < half {
                gaggle::yield_now();
            }
            senders.iter().for_each(Sender::close);
        })
    });
    drop(senders);
    sending.into_iter().for_each(support::tasks::Started::join);
    closing.map(support::tasks::Started::join);
    let panicked = receiving.into_iter().map(|task| task.join());
    let any_panicked = panicked.fold(false, |any, one| any | one);
    ledger.check(!any_panicked);
}

#[test]
fn random_programs_lose_and_double_nothing() {
    on_all(|tasks| {
        let seed = seed();
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..40 {
            run(tasks, &mut random);
        }
    });
}

#[test]
fn a_million_values_of_room_are_filled_and_drained_in_order() {
    const ROOM: usize = 1 << 20;
    let (sender, receiver) = bounded(ROOM);
    (0..ROOM).for_each(|n| sender.try_send(n).unwrap());
    assert!(sender.try_send(0).unwrap_err().is_full());
    // Over the end of the ring and round again.
    for n in 0..1000 {
        assert_eq!(receiver.recv(), Ok(n));
        sender.try_send(ROOM + n).unwrap();
    }
    drop(sender);
    assert!(receiver.iter().eq(1000..ROOM + 1000));
}

#[test]
fn values_left_in_any_place_are_dropped_once_when_tasks_unwind() {
    on_all(|tasks| {
        let ledger = Ledger::new(16);
        let (sender, receiver) = bounded(2);
        // Two in the ring, one with a sender that waits, one in a select that waits.
        for _ in 0..2 {
            let value = ledger.make(0);
            let number = value.number;
            assert!(sender.send(value).is_ok());
            sent(&ledger, number);
        }
        let waiting = {
            let (sender, value) = (sender.clone(), ledger.make(1));
            tasks.start(move || {
                let error = sender
                    .send(value)
                    .map_err(|error| error.0)
                    .expect_err("it is closed");
                refused(&error);
                catch_unwind(AssertUnwindSafe(move || {
                    let _held = error;
                    std::panic::resume_unwind(Box::new("with the value in hand"));
                }))
                .is_err()
            })
        };
        let selecting = {
            let (sender, value) = (sender.clone(), ledger.make(2));
            tasks.start(move || {
                catch_unwind(AssertUnwindSafe(move || {
                    select! {
                        send(sender, value) -> result => {
                            let error = result.map_err(|error| error.0).expect_err("it is closed");
                            refused(&error);
                            std::panic::resume_unwind(Box::new("in the body"));
                        }
                    }
                }))
                .is_err()
            })
        };
        support::tasks::let_others_run();
        drop(receiver);
        assert!(waiting.join());
        assert!(selecting.join());
        drop(sender);
        ledger.check(false);
    });
}
