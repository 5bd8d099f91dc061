//! What one operation takes on the green runtime, without contention unless its name says otherwise: to see the
//! effect of a change within seconds. What is compared with other runtimes are the workloads of `gaggle-bench`;
//! what gates a change are the instructions that `cargo xtask instructions` counts.
//!
//! `cargo bench --manifest-path bench/Cargo.toml --bench primitives [FILTER]`; `-- --help` has more. Each is
//! measured on one goroutine of a runtime with one processor, unless GAGGLE_MAXPROCS says more.

use divan::{Bencher, black_box};
use gaggle::chan;
use gaggle::context;
use gaggle::select;
use gaggle::sync::WaitGroup;
use gaggle::time::after_func;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

/// What the command line of a benchmark takes.
const STACK_BYTES: usize = 8 << 20;

fn main() {
    if std::env::var_os("GAGGLE_MAXPROCS").is_none() {
        let builder = gaggle::runtime::Builder::new().max_procs(1);
        builder.configure().expect("nothing has started it yet");
    }
    gaggle::run(|| {
        let main = gaggle::Builder::new().stack_size(STACK_BYTES);
        let main = main.spawn(divan::main).expect("there is memory");
        main.join().expect("no panic");
    });
}

#[divan::bench]
fn chan_send_recv(bencher: Bencher) {
    let (sender, receiver) = chan::bounded(128);
    bencher.bench_local(|| {
        sender.send(black_box(1u64)).expect("it is open");
        receiver.recv()
    });
}

/// Through two rendezvous channels to another goroutine and back.
#[divan::bench]
fn chan_round_trip(bencher: Bencher) {
    let (there, incoming) = chan::unbuffered::<u64>();
    let (outgoing, back) = chan::unbuffered();
    let echo = gaggle::go(move || {
        for value in &incoming {
            outgoing.send(value).expect("somebody waits for it");
        }
    });
    bencher.bench_local(|| {
        there.send(black_box(1)).expect("it is open");
        back.recv()
    });
    drop(there);
    echo.join().expect("no panic");
}

#[divan::bench]
fn chan_try_recv_empty(bencher: Bencher) {
    let (_sender, receiver) = chan::bounded::<u64>(128);
    bencher.bench_local(|| receiver.try_recv());
}

/// One of two is ready.
#[divan::bench]
fn select_one_of_2(bencher: Bencher) {
    let (sender, receiver) = chan::bounded(128);
    let (_other, never) = chan::bounded::<u64>(128);
    bencher.bench_local(|| {
        sender.send(black_box(1u64)).expect("it is open");
        select! {
            recv(receiver) -> value => value,
            recv(never) -> value => value,
        }
    });
}

/// None of two is ready, and there is a default.
#[divan::bench]
fn select_default(bencher: Bencher) {
    let (_one, first) = chan::bounded::<u64>(128);
    let (_other, second) = chan::bounded::<u64>(128);
    bencher.bench_local(|| {
        select! {
            recv(first) -> value => value.ok(),
            recv(second) -> value => value.ok(),
            default => None,
        }
    });
}

#[divan::bench]
fn mutex_lock_unlock(bencher: Bencher) {
    let mutex = Mutex::new(0u64);
    bencher.bench_local(|| *mutex.lock().expect("nobody panics") += 1);
}

#[divan::bench]
fn rwlock_read_unlock(bencher: Bencher) {
    let lock = RwLock::new(1u64);
    bencher.bench_local(|| *lock.read().expect("nobody panics"));
}

#[divan::bench]
fn wait_group_add_done(bencher: Bencher) {
    let group = WaitGroup::new();
    bencher.bench_local(|| {
        group.add(1);
        group.done();
    });
}

#[divan::bench]
fn go_and_join(bencher: Bencher) {
    bencher.bench_local(|| gaggle::go(|| black_box(42)).join());
}

/// Nobody else is there.
#[divan::bench]
fn yield_alone(bencher: Bencher) {
    bencher.bench_local(gaggle::yield_now);
}

/// To another goroutine that yields, and back.
#[divan::bench]
fn yield_to_another(bencher: Bencher) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let other = gaggle::go(move || {
        // Relaxed: it carries nothing but itself.
        while !stopped.load(Ordering::Relaxed) {
            gaggle::yield_now();
        }
    });
    bencher.bench_local(gaggle::yield_now);
    // Relaxed: as above.
    stop.store(true, Ordering::Relaxed);
    other.join().expect("no panic");
}

#[divan::bench]
fn timer_arm_stop(bencher: Bencher) {
    bencher.bench_local(|| {
        let timer = after_func(Duration::from_secs(3600), || ());
        assert!(timer.stop());
    });
}

#[divan::bench]
fn context_with_cancel(bencher: Bencher) {
    let parent = context::background();
    bencher.bench_local(|| {
        let (context, cancel) = parent.with_cancel();
        cancel.cancel();
        assert!(context.err().is_some());
    });
}
