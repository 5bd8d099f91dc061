//! `go`, `JoinHandle`, `Builder`, `park`: a goroutine starts, ends, and is joined as a thread is.

mod support;

use std::cell::Cell;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Longer than anything here takes; what ends only by it has failed.
const FAR_TOO_LONG: Duration = Duration::from_secs(60);

#[test]
fn join_answers_the_value() {
    assert_eq!(gaggle::go(|| "goose".len()).join().unwrap(), 5);
}

#[test]
fn join_answers_the_payload_of_a_panic() {
    let payload = gaggle::go(|| std::panic::panic_any(17_u8))
        .join()
        .unwrap_err();
    assert_eq!(payload.downcast_ref::<u8>(), Some(&17));
}

#[test]
fn join_from_a_goroutine_works_as_from_an_os_thread() {
    let sum = gaggle::go(|| {
        let halves = [gaggle::go(|| 20), gaggle::go(|| 22)];
        halves
            .into_iter()
            .map(|half| half.join().unwrap())
            .sum::<i32>()
    });
    assert_eq!(sum.join().unwrap(), 42);
}

#[test]
fn detached_goroutine_runs_on() {
    let (sender, receiver) = mpsc::channel();
    drop(gaggle::go(move || sender.send("still here").unwrap()));
    assert_eq!(receiver.recv_timeout(FAR_TOO_LONG), Ok("still here"));
}

#[test]
fn result_of_a_detached_goroutine_is_dropped_once() {
    let value = Arc::new(());
    let (sender, receiver) = mpsc::channel::<()>();
    let kept = Arc::clone(&value);
    drop(gaggle::go(move || {
        let _sender = sender;
        kept
    }));
    // The sender goes with the closure, before the result; then the result goes.
    assert!(receiver.recv().is_err());
    while Arc::strong_count(&value) > 1 {
        gaggle::yield_now();
    }
}

/// A value of a size of its own that says when it is dropped, and whether it is still what it was.
#[repr(align(64))]
struct Aligned<const WORDS: usize>(Witness<WORDS>);

struct Witness<const WORDS: usize> {
    words: [usize; WORDS],
    dropped: mpsc::Sender<bool>,
}

impl<const WORDS: usize> Witness<WORDS> {
    fn new(dropped: &mpsc::Sender<bool>) -> Self {
        Witness {
            words: std::array::from_fn(|word| word * 3 + 1),
            dropped: dropped.clone(),
        }
    }
}

impl<const WORDS: usize> Drop for Witness<WORDS> {
    fn drop(&mut self) {
        let is_whole = (0..WORDS).all(|word| self.words[word] == word * 3 + 1);
        self.dropped.send(is_whole).expect("the test receives");
    }
}

/// A result that `make` makes: joined, detached before it is there, and detached after.
fn results_arrive_whole_and_are_dropped_once<T: Send + 'static>(
    make: impl Fn(&mpsc::Sender<bool>) -> T + Copy + Send + 'static,
) {
    let (dropped, drops) = mpsc::channel();
    let start = |begin: Option<mpsc::Receiver<()>>| {
        let dropped = dropped.clone();
        gaggle::go(move || {
            if let Some(begin) = begin {
                let _ = begin.recv();
            }
            make(&dropped)
        })
    };

    let joined = start(None).join().expect("it does not panic");
    assert!(drops.try_recv().is_err(), "it is the joiner's now");
    drop(joined);
    assert_eq!(drops.recv(), Ok(true));

    let (begins, begin) = mpsc::channel::<()>();
    drop(start(Some(begin)));
    assert!(drops.try_recv().is_err(), "it is not there yet");
    drop(begins);
    assert_eq!(drops.recv(), Ok(true));

    let handle = start(None);
    while !handle.is_finished() {
        gaggle::yield_now();
    }
    assert!(drops.try_recv().is_err(), "it waits for its joiner");
    drop(handle);
    assert_eq!(drops.recv(), Ok(true));
    assert!(drops.try_recv().is_err(), "each is dropped once");
}

#[test]
fn results_of_any_size_and_alignment_arrive_and_are_dropped_once() {
    results_arrive_whole_and_are_dropped_once(Witness::<0>::new);
    results_arrive_whole_and_are_dropped_once(Witness::<1>::new);
    results_arrive_whole_and_are_dropped_once(Witness::<2>::new);
    results_arrive_whole_and_are_dropped_once(Witness::<500>::new);
    results_arrive_whole_and_are_dropped_once(|dropped| Aligned(Witness::<1>::new(dropped)));
    results_arrive_whole_and_are_dropped_once(|dropped| vec![Witness::<3>::new(dropped)]);
}

#[test]
fn result_that_only_says_something_by_its_type_arrives() {
    #[derive(Debug, PartialEq)]
    enum Never {}
    assert!(
        gaggle::go(|| -> Option<Never> { None })
            .join()
            .unwrap()
            .is_none()
    );
    assert_eq!(
        gaggle::go(|| (u128::MAX, 7u8)).join().unwrap(),
        (u128::MAX, 7)
    );
    let payload = gaggle::go(|| -> [u64; 100] { std::panic::panic_any(41u64) }).join();
    assert_eq!(payload.unwrap_err().downcast_ref::<u64>(), Some(&41));
}

#[test]
fn is_finished_turns_true_at_the_end_and_not_before() {
    let (sender, receiver) = mpsc::channel::<()>();
    let handle = gaggle::go(move || receiver.recv().unwrap());
    assert!(!handle.is_finished());
    sender.send(()).unwrap();
    while !handle.is_finished() {
        gaggle::yield_now();
    }
    handle.join().unwrap();
}

/// Counts its own drops.
struct CountsDrops(&'static AtomicUsize);

impl Drop for CountsDrops {
    fn drop(&mut self) {
        // Slow enough that a join that did not wait would be early.
        for _ in 0..10 {
            gaggle::yield_now();
        }
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn join_returns_after_the_tls_destructors_have_run_once_each() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static LOCAL: CountsDrops = const { CountsDrops(&DROPS) });
    for joined in 1..=20 {
        gaggle::go(|| LOCAL.with(|_| ())).join().unwrap();
        assert_eq!(DROPS.load(Ordering::SeqCst), joined);
    }
}

#[test]
fn tls_destructor_may_block_and_start_goroutines() {
    struct Blocks(mpsc::Sender<i32>);
    impl Drop for Blocks {
        fn drop(&mut self) {
            gaggle::time::sleep(Duration::from_millis(1));
            self.0.send(gaggle::go(|| 7).join().unwrap()).unwrap();
        }
    }
    thread_local!(static LOCAL: Cell<Option<Blocks>> = const { Cell::new(None) });
    let (sender, receiver) = mpsc::channel();
    gaggle::go(move || LOCAL.set(Some(Blocks(sender))))
        .join()
        .unwrap();
    assert_eq!(receiver.try_recv(), Ok(7));
}

#[test]
fn every_goroutine_has_its_own_locals_thread_id_and_number() {
    thread_local!(static LOCAL: Cell<u64> = const { Cell::new(0) });
    const COUNT: u64 = 100;
    let handles = (1..=COUNT).map(|number| {
        gaggle::go(move || {
            assert_eq!(LOCAL.replace(number), 0);
            gaggle::yield_now();
            assert_eq!(LOCAL.get(), number);
            (thread::current().id(), gaggle::id())
        })
    });
    // All are started before the first is joined.
    let handles: Vec<_> = handles.collect();
    let mut thread_ids: HashSet<ThreadId> = HashSet::from([thread::current().id()]);
    let mut ids = HashSet::new();
    for handle in handles {
        let id = handle.id();
        assert_eq!(handle.goroutine().id(), Some(id));
        let (thread_id, own_id) = handle.join().unwrap();
        assert_eq!(own_id, Some(id));
        assert!(
            thread_ids.insert(thread_id),
            "{thread_id:?} was given twice"
        );
        assert!(ids.insert(id), "number {id} was given twice");
    }
}

#[test]
fn current_knows_number_and_name() {
    let builder = gaggle::Builder::new().name("gander");
    let handle = builder.spawn(gaggle::current).unwrap();
    assert_eq!(handle.goroutine().name(), Some("gander"));
    let id = handle.id();
    let current = handle.join().unwrap();
    assert_eq!((current.id(), current.name()), (Some(id), Some("gander")));
}

#[test]
fn os_thread_is_no_goroutine() {
    assert_eq!(gaggle::id(), None);
    assert_eq!(gaggle::current().id(), None);
}

#[test]
fn std_thread_started_by_a_goroutine_is_no_goroutine() {
    let id = gaggle::go(|| thread::spawn(gaggle::id).join().unwrap());
    assert_eq!(id.join().unwrap(), None);
}

#[test]
fn name_with_a_nul_character_is_refused_and_the_function_dropped() {
    let value = Arc::new(());
    let kept = Arc::clone(&value);
    let refusal = gaggle::Builder::new()
        .name("go\0ose")
        .spawn(move || drop(kept))
        .unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::InvalidInput);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn stack_that_cannot_be_had_is_an_error_and_the_function_is_dropped() {
    let value = Arc::new(());
    let kept = Arc::clone(&value);
    // All of the user's address space.
    let builder = gaggle::Builder::new().stack_size(1 << 47);
    builder
        .spawn(move || drop(kept))
        .expect_err("no machine has that much");
    assert_eq!(Arc::strong_count(&value), 1);
}

/// Uses a kibibyte of stack and more for each level.
fn descend(levels: usize) -> u8 {
    let mut frame = [levels as u8; 1024];
    std::hint::black_box(&mut frame);
    match levels {
        0 => frame[0],
        _ => descend(levels - 1).wrapping_add(frame[1023]),
    }
}

#[test]
fn stack_size_is_what_was_asked_for() {
    let builder = gaggle::Builder::new().stack_size(64 << 20);
    builder.spawn(|| descend(32 << 10)).unwrap().join().unwrap();
}

#[test]
fn panics_that_nobody_joins_are_counted() {
    const NAME: &str = "panics_that_nobody_joins_are_counted";
    if !support::is_child(NAME) {
        return support::pass_as_child(NAME);
    }
    gaggle::go(|| panic!("seen")).join().unwrap_err();
    assert_eq!(gaggle::runtime::unseen_panics(), 0);
    drop(gaggle::go(|| panic!("unseen")));
    while gaggle::runtime::unseen_panics() == 0 {
        gaggle::yield_now();
    }
    assert_eq!(gaggle::runtime::unseen_panics(), 1);
}

#[test]
fn num_goroutine_counts_those_that_live() {
    const NAME: &str = "num_goroutine_counts_those_that_live";
    if !support::is_child(NAME) {
        return support::pass_as_child(NAME);
    }
    assert_eq!(gaggle::runtime::num_goroutine(), 0);
    let (sender, receiver) = mpsc::channel::<()>();
    let receiver = Arc::new(Mutex::new(receiver));
    let handles: Vec<_> = (0..50)
        .map(|_| {
            let receiver = Arc::clone(&receiver);
            gaggle::go(move || receiver.lock().unwrap().recv().unwrap_err())
        })
        .collect();
    assert_eq!(gaggle::runtime::num_goroutine(), 50);
    drop(sender);
    for handle in handles {
        handle.join().unwrap();
    }
    while gaggle::runtime::num_goroutine() > 0 {
        gaggle::yield_now();
    }
}

#[test]
fn permit_given_before_the_goroutine_runs_is_kept() {
    for _ in 0..100 {
        let handle = gaggle::go(gaggle::park);
        handle.goroutine().unpark();
        handle.join().unwrap();
    }
}

#[test]
fn permit_given_twice_is_one() {
    gaggle::go(|| {
        gaggle::current().unpark();
        gaggle::current().unpark();
        assert!(gaggle::park_timeout(FAR_TOO_LONG));
        assert!(!gaggle::park_timeout(Duration::from_millis(1)));
    })
    .join()
    .unwrap();
}

#[test]
fn park_and_unpark_take_turns_without_a_lost_permit() {
    const TURNS: usize = 2_000;
    let turns = Arc::new(AtomicUsize::new(0));
    let player = |own: usize, turns: Arc<AtomicUsize>, other: mpsc::Receiver<gaggle::Goroutine>| {
        move || {
            let other = other.recv().unwrap();
            loop {
                match turns.load(Ordering::SeqCst) {
                    TURNS => return other.unpark(),
                    turn if turn % 2 == own => {
                        turns.store(turn + 1, Ordering::SeqCst);
                        other.unpark();
                    }
                    _ => gaggle::park(),
                }
            }
        }
    };
    let (to_even, from_main) = mpsc::channel();
    let even = gaggle::go(player(0, Arc::clone(&turns), from_main));
    let (to_odd, from_main) = mpsc::channel();
    let odd = gaggle::go(player(1, Arc::clone(&turns), from_main));
    to_even.send(odd.goroutine().clone()).unwrap();
    to_odd.send(even.goroutine().clone()).unwrap();
    even.join().unwrap();
    odd.join().unwrap();
    assert_eq!(turns.load(Ordering::SeqCst), TURNS);
}

#[test]
fn permit_that_meets_the_deadline_is_taken_or_kept_but_never_lost() {
    for round in 0..500_u64 {
        let sleeper = gaggle::go(move || {
            let early = gaggle::park_timeout(Duration::from_micros(round % 50));
            // Not taken before the deadline: then it must be there, or come, afterwards.
            early || gaggle::park_timeout(FAR_TOO_LONG)
        });
        sleeper.goroutine().unpark();
        assert!(sleeper.join().unwrap(), "lost in round {round}");
    }
}

#[test]
fn std_park_permit_outlives_our_own_waits() {
    let (sender, receiver) = mpsc::channel();
    let sleeper = gaggle::go(move || {
        sender.send(thread::current()).unwrap();
        gaggle::park();
        let start = Instant::now();
        thread::park_timeout(FAR_TOO_LONG);
        start.elapsed() < FAR_TOO_LONG / 2
    });
    receiver.recv().unwrap().unpark();
    sleeper.goroutine().unpark();
    assert!(
        sleeper.join().unwrap(),
        "std's permit was taken by a wait of ours"
    );
}

#[test]
fn os_threads_may_park_and_be_unparked() {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        sender.send(gaggle::current()).unwrap();
        gaggle::park();
    });
    let handle = receiver.recv().unwrap();
    gaggle::go(move || handle.unpark()).join().unwrap();
    thread.join().unwrap();
}

#[test]
fn process_exit_on_a_goroutine_ends_the_process_whoever_joins_it() {
    let name = "process_exit_on_a_goroutine_ends_the_process_whoever_joins_it";
    if support::is_child(name) {
        let exits = gaggle::go(|| std::process::exit(42));
        exits.join().expect("the process ends first");
    } else {
        let output = support::run_child(name, &[]);
        assert_eq!(output.status.code(), Some(42), "{}", support::said(&output));
    }
}
