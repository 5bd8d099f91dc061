//! The programs of Go's `test/chan` that are about channels, each as what it shows; on goroutines, on OS
//! threads and on both mixed. Those about `select` are in `select_programs.rs`.

mod support;

use gaggle::chan::{Receiver, Sender, TryRecvError, TrySendError, bounded, unbuffered};
use gaggle::select;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::tasks::{Tasks, on_all};

#[test]
fn fifo_buffered_values_leave_in_the_order_they_came() {
    for capacity in [1, 10, 1000] {
        let (sender, receiver) = bounded(capacity);
        for round in 0..3 {
            (0..capacity).for_each(|n| sender.send((round, n)).unwrap());
            for n in 0..capacity {
                assert_eq!(receiver.recv(), Ok((round, n)));
            }
        }
    }
}

#[test]
fn fifo_each_of_a_chain_of_tasks_goes_on_only_after_the_one_before() {
    on_all(|tasks| {
        let count = tasks.scaled(100);
        let (sender, receiver) = unbuffered();
        let (first, mut turn) = unbuffered::<()>();
        for number in 0..count {
            let (next, next_turn) = unbuffered();
            let own_turn = std::mem::replace(&mut turn, next_turn);
            let receiver = receiver.clone();
            drop(tasks.start(move || {
                own_turn.recv().unwrap();
                assert_eq!(receiver.recv(), Ok(number));
                next.send(()).unwrap();
            }));
        }
        first.send(()).unwrap();
        (0..count).for_each(|n| sender.send(n).unwrap());
        assert_eq!(turn.recv(), Ok(()));
    });
}

/// On one processor and without preemption a goroutine runs until it waits, so once the last has begun all
/// wait, in the order of their starts.
#[test]
fn fifo_goroutines_that_wait_are_served_in_the_order_they_began_to() {
    const COUNT: usize = 50;
    let name = "fifo_goroutines_that_wait_are_served_in_the_order_they_began_to";
    if !support::is_child(name) {
        if gaggle::runtime::backend_name() == "green" {
            let environment = [
                ("GAGGLE_MAXPROCS", Some("1")),
                ("GAGGLE_DEBUG", Some("asyncpreemptoff=1")),
            ];
            let output = support::run_child(name, &environment);
            assert!(output.status.success(), "{}", support::said(&output));
        }
        return;
    }
    gaggle::run(|| {
        for capacity in [0, 2] {
            let (sender, receiver) = bounded(capacity);
            let (done, served) = bounded(COUNT);
            let begun = Arc::new(AtomicUsize::new(0));
            for number in 0..COUNT {
                let (receiver, done, counter) = (receiver.clone(), done.clone(), begun.clone());
                drop(gaggle::go(move || {
                    counter.fetch_add(1, Ordering::Relaxed);
                    let value: usize = receiver.recv().unwrap();
                    done.send((number, value)).unwrap();
                }));
                while begun.load(Ordering::Relaxed) <= number {
                    gaggle::yield_now();
                }
            }
            (0..COUNT).for_each(|value| sender.send(value).unwrap());
            let mut all: Vec<_> = served.iter().take(COUNT).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq((0..COUNT).map(|n| (n, n))));
        }
        for capacity in [0, 2] {
            let (sender, receiver) = bounded(capacity);
            (0..capacity).for_each(|_| sender.send(COUNT).unwrap());
            let begun = Arc::new(AtomicUsize::new(0));
            for number in 0..COUNT {
                let (sender, counter) = (sender.clone(), begun.clone());
                drop(gaggle::go(move || {
                    counter.fetch_add(1, Ordering::Relaxed);
                    sender.send(number).unwrap();
                }));
                while begun.load(Ordering::Relaxed) <= number {
                    gaggle::yield_now();
                }
            }
            drop(sender);
            assert!(receiver.iter().skip(capacity).eq(0..COUNT));
        }
    });
}

#[test]
fn goroutines_ten_thousand_in_a_chain_pass_one_value_through() {
    on_all(|tasks| {
        let length = if tasks.are_cheap() { 10_000 } else { 100 };
        let (left, mut last) = unbuffered();
        for _ in 0..length {
            let (sender, receiver) = unbuffered();
            let from = std::mem::replace(&mut last, receiver);
            drop(tasks.start(move || sender.send(from.recv().unwrap() + 1).unwrap()));
        }
        left.send(0).unwrap();
        assert_eq!(last.recv(), Ok(length));
    });
}

/// Non-blocking operations on channels of any type, before and while the other side waits.
fn nonblocking<T>(tasks: &Tasks, value: T)
where
    T: Clone + PartialEq + Debug + Send + 'static,
{
    let (sender, receiver) = unbuffered::<T>();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(
        sender.try_send(value.clone()),
        Err(TrySendError::Full(value.clone()))
    );

    let receiving = {
        let receiver = receiver.clone();
        tasks.start(move || receiver.recv())
    };
    // It succeeds as soon as the other side waits, and never before.
    while sender.try_send(value.clone()).is_err() {
        gaggle::yield_now();
    }
    assert_eq!(receiving.join(), Ok(value.clone()));

    let sending = {
        let (sender, value) = (sender.clone(), value.clone());
        tasks.start(move || sender.send(value))
    };
    let received = loop {
        match receiver.try_recv() {
            Ok(received) => break received,
            Err(TryRecvError::Empty) => gaggle::yield_now(),
            Err(TryRecvError::Closed) => panic!("nobody closed it"),
        }
    };
    assert_eq!(received, value);
    assert_eq!(sending.join(), Ok(()));

    let (sender, receiver) = bounded(1);
    assert_eq!(sender.try_send(value.clone()), Ok(()));
    assert_eq!(
        sender.try_send(value.clone()),
        Err(TrySendError::Full(value.clone()))
    );
    assert_eq!(receiver.try_recv(), Ok(value));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn nonblock_operations_take_what_is_ready_and_nothing_else() {
    on_all(|tasks| {
        nonblocking(tasks, 123_i32);
        nonblocking(tasks, 123_456_i64);
        nonblocking(tasks, true);
        nonblocking(tasks, String::from("hello"));
        nonblocking(tasks, ());
        nonblocking(tasks, [7_u64; 100]);
    });
}

#[test]
fn sendstmt_value_received_from_a_channel_of_channels_can_be_sent_on() {
    let (carrier, carried) = bounded(1);
    let (sender, receiver) = bounded(1);
    carrier.send(sender).unwrap();
    select! {
        send(carried.recv().unwrap(), 2) -> result => result.unwrap(),
        default => panic!("there is room"),
    }
    assert_eq!(receiver.recv(), Ok(2));
    let (sender, receiver) = bounded(1);
    let length = receiver.len();
    sender.send(length == 1 || length == 0).unwrap();
    assert_eq!(receiver.recv(), Ok(true));
}

/// The primes in order, by a chain of filters that grows by one for each: `sieve1`.
fn sieve(tasks: &Tasks, capacity: usize, count: usize) -> Vec<u32> {
    let (sender, mut last) = bounded(capacity);
    drop(tasks.start(move || (2..).try_for_each(|n| sender.send(n))));
    let mut primes = Vec::new();
    while primes.len() < count {
        let prime: u32 = last.recv().unwrap();
        primes.push(prime);
        let (sender, receiver) = bounded(capacity);
        let from = std::mem::replace(&mut last, receiver);
        drop(tasks.start(move || {
            // It ends when nobody takes what it sends, and so does the one before it, to the first.
            let mut kept = from.iter().filter(|n| n % prime != 0);
            kept.try_for_each(|n| sender.send(n))
        }));
    }
    primes
}

#[test]
fn sieve_finds_the_primes_in_order_and_ends_without_a_leak() {
    on_all(|tasks| {
        let count = if tasks.are_cheap() { 100 } else { 25 };
        for capacity in [0, 1, 16] {
            let primes = sieve(tasks, capacity, count);
            let is_prime = |n: &u32| {
                (2..*n)
                    .take_while(|d| d * d <= *n)
                    .all(|d| !n.is_multiple_of(d))
            };
            assert!(primes.into_iter().eq((2..).filter(is_prime).take(count)));
        }
    });
}

/// `sieve2`: one task merges the streams of multiples through an ordered list of their heads, each stream
/// a task of its own.
#[test]
fn sieve2_merges_streams_of_multiples_by_their_heads() {
    on_all(|tasks| {
        let multiples = |of: u64| {
            let (sender, receiver) = bounded(10);
            drop(tasks.start(move || (of..).try_for_each(|n| sender.send(n * of))));
            receiver
        };
        let mut heads = BTreeMap::<u64, Vec<Receiver<u64>>>::new();
        let mut primes = Vec::new();
        for n in 2u64..200 {
            let Some(streams) = heads.remove(&n) else {
                primes.push(n);
                let stream = multiples(n);
                heads
                    .entry(stream.recv().unwrap())
                    .or_default()
                    .push(stream);
                continue;
            };
            for stream in streams {
                heads
                    .entry(stream.recv().unwrap())
                    .or_default()
                    .push(stream);
            }
        }
        let is_prime = |n: &u64| (2..*n).all(|d| !n.is_multiple_of(d));
        assert!(primes.into_iter().eq((2..200).filter(is_prime)));
    });
}

#[test]
fn zerosize_values_take_no_room_but_count() {
    let (sender, receiver) = bounded::<[u8; 0]>(1 << 20);
    for _ in 0..1 << 20 {
        sender.try_send([]).unwrap();
    }
    assert!(sender.try_send([]).unwrap_err().is_full());
    drop(sender);
    assert_eq!(receiver.into_iter().count(), 1 << 20);
}

// ---- powser1 and powser2: power series as tasks that answer demands for coefficients ----

/// A coefficient: numerator and denominator.
type Ratio = (i128, i128);

fn ratio(numerator: i128, denominator: i128) -> Ratio {
    let (mut a, mut b) = (numerator.abs(), denominator.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let sign = if denominator < 0 { -1 } else { 1 };
    (sign * numerator / a.max(1), sign * denominator / a.max(1))
}

fn add(a: Ratio, b: Ratio) -> Ratio {
    ratio(a.0 * b.1 + b.0 * a.1, a.1 * b.1)
}

fn multiply(a: Ratio, b: Ratio) -> Ratio {
    ratio(a.0 * b.0, a.1 * b.1)
}

/// A series: a coefficient comes for each demand; when nobody demands any more its task ends.
struct Series {
    demand: Sender<()>,
    coefficients: Receiver<Ratio>,
}

impl Series {
    /// A task that makes the coefficients.
    fn new(tasks: &Tasks, mut next: impl FnMut() -> Ratio + Send + 'static) -> Series {
        let (demand, demands) = unbuffered();
        let (sender, coefficients) = unbuffered();
        drop(tasks.start(move || {
            for () in &demands {
                if sender.send(next()).is_err() {
                    return;
                }
            }
        }));
        Series {
            demand,
            coefficients,
        }
    }

    fn next(&self) -> Ratio {
        self.demand.send(()).unwrap();
        self.coefficients.recv().unwrap()
    }

    /// The same series twice; each half keeps what only the other has taken.
    fn split(self, tasks: &Tasks) -> (Series, Series) {
        let (first_demand, first_demands) = unbuffered();
        let (second_demand, second_demands) = unbuffered();
        let (first_sender, first) = unbuffered();
        let (second_sender, second) = unbuffered();
        drop(tasks.start(move || {
            let (mut for_first, mut for_second) = (VecDeque::new(), VecDeque::new());
            loop {
                let demanded = select! {
                    recv(first_demands) -> demand => demand.map(|()| true),
                    recv(second_demands) -> demand => demand.map(|()| false),
                };
                let (own, other, sender) = match demanded {
                    Ok(true) => (&mut for_first, &mut for_second, &first_sender),
                    Ok(false) => (&mut for_second, &mut for_first, &second_sender),
                    Err(_) => return,
                };
                let coefficient = own.pop_front().unwrap_or_else(|| {
                    let coefficient = self.next();
                    other.push_back(coefficient);
                    coefficient
                });
                if sender.send(coefficient).is_err() {
                    return;
                }
            }
        }));
        let half = |demand, coefficients| Series {
            demand,
            coefficients,
        };
        (half(first_demand, first), half(second_demand, second))
    }

    fn plus(self, other: Series, tasks: &Tasks) -> Series {
        Series::new(tasks, move || add(self.next(), other.next()))
    }

    fn times(self, factor: Ratio, tasks: &Tasks) -> Series {
        Series::new(tasks, move || multiply(self.next(), factor))
    }

    fn derivative(self, tasks: &Tasks) -> Series {
        let mut exponent = 0;
        Series::new(tasks, move || {
            if exponent == 0 {
                self.next();
            }
            exponent += 1;
            multiply(self.next(), (exponent, 1))
        })
    }

    fn integral(self, constant: Ratio, tasks: &Tasks) -> Series {
        let mut exponent = 0;
        Series::new(tasks, move || {
            exponent += 1;
            match exponent {
                1 => constant,
                _ => multiply(self.next(), (1, exponent - 1)),
            }
        })
    }

    /// The product, each factor split so that all earlier coefficients come again: `u*v + x*(...)`.
    fn product(self, other: Series, tasks: &Tasks) -> Series {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        Series::new(tasks, move || {
            ours.push(self.next());
            theirs.push(other.next());
            let pairs = ours.iter().zip(theirs.iter().rev());
            pairs.fold((0, 1), |sum, (&a, &b)| add(sum, multiply(a, b)))
        })
    }

    fn take(&self, count: usize) -> Vec<Ratio> {
        (0..count).map(|_| self.next()).collect()
    }
}

#[test]
fn powser_series_as_networks_of_tasks_give_the_known_coefficients() {
    on_all(|tasks| {
        let ones = || Series::new(tasks, || (1, 1));
        let whole = |numbers: &[i128]| numbers.iter().map(|&n| (n, 1)).collect::<Vec<_>>();
        assert_eq!(
            ones().plus(ones().times((2, 1), tasks), tasks).take(5),
            whole(&[3; 5])
        );
        assert_eq!(ones().derivative(tasks).take(5), whole(&[1, 2, 3, 4, 5]));
        assert_eq!(
            ones().product(ones(), tasks).take(5),
            whole(&[1, 2, 3, 4, 5])
        );
        let logarithm = ones().integral((0, 1), tasks);
        assert_eq!(logarithm.take(5), [(0, 1), (1, 1), (1, 2), (1, 3), (1, 4)]);
        let (left, right) = ones().derivative(tasks).split(tasks);
        assert_eq!(left.product(right, tasks).take(4), whole(&[1, 4, 10, 20]));

        // The arc tangent: the integral of 1 - x^2 + x^4 - ...
        let mut signs = [1, 0, -1, 0].into_iter().cycle();
        let alternating = Series::new(tasks, move || (signs.next().unwrap(), 1));
        assert_eq!(
            alternating.integral((0, 1), tasks).take(6),
            [(0, 1), (1, 1), (0, 1), (-1, 3), (0, 1), (1, 5)]
        );
    });
}

/// `exp` is the integral of itself times the derivative: its coefficients come round through a loop of
/// tasks.
#[test]
fn powser_exponential_feeds_back_into_itself() {
    on_all(|tasks| {
        let (known_sender, known) = bounded(64);
        let mut coefficients = Vec::new();
        let looped = Series::new(tasks, move || known.recv().unwrap());
        let product = looped.product(Series::new(tasks, || (1, 1)).derivative(tasks), tasks);
        let exponential = product.integral((1, 1), tasks);
        for _ in 0..8 {
            let coefficient = exponential.next();
            known_sender.send(coefficient).unwrap();
            coefficients.push(coefficient);
        }
        let expected = [
            (1, 1),
            (1, 1),
            (3, 2),
            (13, 6),
            (73, 24),
            (167, 40),
            (4051, 720),
            (37633, 5040),
        ];
        assert_eq!(coefficients, expected);
    });
}
