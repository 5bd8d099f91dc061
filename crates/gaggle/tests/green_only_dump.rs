//! The list of all goroutines: who is in it, in which state, with which stack.
#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The tests take turns: one of them keeps a processor busy for as long as it lasts.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The entry of the goroutine `name` in a dump: from its header to the empty line.
fn entry<'a>(dump: &'a str, name: &str) -> &'a str {
    let quoted = format!("\"{name}\"]:");
    dump.split("\n\n")
        .find(|entry| {
            entry
                .lines()
                .next()
                .is_some_and(|line| line.ends_with(&quoted))
        })
        .unwrap_or_else(|| panic!("no goroutine {name} in the dump:\n{dump}"))
}

/// Dumps until the goroutine `name` is in `state`: it gets there some time after it was started.
fn dump_when(name: &str, state: &str) -> String {
    loop {
        let dump = gaggle::runtime::stack_dump();
        if entry(&dump, name).contains(&format!("[{state}, \"")) {
            return dump;
        }
        gaggle::yield_now();
    }
}

#[inline(never)]
fn waits_for_a_value(receiver: &gaggle::chan::Receiver<u32>) -> u32 {
    std::hint::black_box(receiver.recv().expect("a value comes"))
}

#[gaggle::test]
fn parked_goroutine_is_listed_with_its_own_frames_and_origin() {
    if gaggle::runtime::backend_name() != "green" {
        return; // OS threads are not listed
    }
    let _turn = turn();
    let (sender, receiver) = gaggle::chan::unbuffered();
    let line = line!() + 3;
    let waiter = gaggle::Builder::new()
        .name("waiter")
        .spawn(move || waits_for_a_value(&receiver))
        .expect("it starts");
    let dump = dump_when("waiter", "chan receive");
    let own = entry(&dump, "waiter");
    assert!(own.contains("waits_for_a_value"), "{own}");
    assert!(own.contains("green_only_dump.rs:"), "{own}");
    let parent = gaggle::id().expect("the test is a goroutine");
    assert!(
        own.contains(&format!("created by go in goroutine {parent}\n")),
        "{own}"
    );
    assert!(own.contains(&format!("green_only_dump.rs:{line}")), "{own}");
    assert!(
        own.starts_with(&format!("goroutine {} [", waiter.id())),
        "{own}"
    );
    sender.send(1).expect("it receives");
    waiter.join().expect("no panic");
}

#[gaggle::test(may_leak)]
fn each_way_to_wait_has_its_name() {
    if gaggle::runtime::backend_name() != "green" {
        return; // OS threads are not listed
    }
    let _turn = turn();
    let (full, rest) = gaggle::chan::unbuffered::<u32>();
    let (nothing, never) = gaggle::chan::unbuffered::<u32>();
    let lock = Arc::new(Mutex::new(()));
    let held = lock.lock().expect("nobody panicked");
    let semaphore = gaggle::sync::Semaphore::new(1);
    let permit = semaphore.acquire(1);
    let (mut pipe, other_end) = std::io::pipe().expect("a pipe");
    let named = |name: &str, f: Box<dyn FnOnce() + Send>| {
        gaggle::Builder::new()
            .name(name)
            .spawn(f)
            .expect("it starts")
    };
    let (lock2, semaphore2) = (Arc::clone(&lock), semaphore.clone());
    let all = [
        named(
            "sends",
            Box::new(move || {
                let _ = full.send(1);
            }),
        ),
        named(
            "selects",
            Box::new(move || {
                let late = gaggle::chan::after(Duration::from_secs(3600));
                gaggle::select! {
                    recv(never) -> _ => {}
                    recv(late) -> _ => {}
                }
            }),
        ),
        named("parks", Box::new(gaggle::park)),
        named("locks", Box::new(move || drop(lock2.lock()))),
        named("acquires", Box::new(move || drop(semaphore2.acquire(1)))),
        named(
            "reads",
            Box::new(move || {
                use std::io::Read;
                let _ = pipe.read(&mut [0]);
            }),
        ),
    ];
    // Ends with the process.
    named(
        "sleeps",
        Box::new(|| std::thread::sleep(Duration::from_secs(3600))),
    );
    dump_when("sleeps", "sleep");
    dump_when("sends", "chan send");
    dump_when("selects", "select");
    dump_when("parks", "park");
    dump_when("locks", "futex wait");
    dump_when("acquires", "semacquire");
    dump_when("reads", "IO wait");
    drop((held, rest, nothing, other_end, permit));
    all[2].goroutine().unpark();
    for goroutine in all {
        goroutine.join().expect("no panic");
    }
}

#[gaggle::test]
fn goroutine_that_runs_elsewhere_has_no_stack_to_show() {
    if gaggle::runtime::backend_name() != "green" {
        return; // OS threads are not listed
    }
    let _turn = turn();
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(Barrier::new(2));
    let (stop2, begun2) = (Arc::clone(&stop), Arc::clone(&begun));
    let before = gaggle::runtime::gomaxprocs(Some(2));
    let busy = gaggle::Builder::new()
        .name("busy")
        .spawn(move || {
            begun2.wait();
            while !stop2.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        })
        .expect("it starts");
    begun.wait();
    let dump = dump_when("busy", "running");
    let own = entry(&dump, "busy");
    assert!(own.contains("stack unavailable"), "{own}");
    let me = dump.split("\n\n").next().expect("the caller comes first");
    assert!(
        me.contains("goroutine_that_runs_elsewhere_has_no_stack_to_show"),
        "{me}"
    );
    stop.store(true, Ordering::Relaxed);
    busy.join().expect("no panic");
    gaggle::runtime::gomaxprocs(Some(before));
}

/// Goroutines that begin, park and end all the time, while others look at them.
#[gaggle::test]
fn dumps_and_switches_at_the_same_time_harm_nobody() {
    if gaggle::runtime::backend_name() != "green" {
        return; // OS threads are not listed
    }
    let _turn = turn();
    let stop = Arc::new(AtomicBool::new(false));
    let (ping, pong) = (
        gaggle::chan::unbuffered::<u64>(),
        gaggle::chan::unbuffered::<u64>(),
    );
    let stop2 = Arc::clone(&stop);
    let (ping_out, pong_in) = (ping.0, pong.1);
    let player = gaggle::go(move || {
        let mut count = 0u64;
        while !stop2.load(Ordering::Relaxed) {
            ping_out.send(count).expect("the other plays");
            count = pong_in.recv().expect("the other plays");
        }
        count
    });
    let other = gaggle::go(move || {
        for value in ping.1.iter() {
            if pong.0.send(value + 1).is_err() {
                break;
            }
        }
    });
    let stop3 = Arc::clone(&stop);
    let started = Arc::new(AtomicU64::new(0));
    let started2 = Arc::clone(&started);
    let starter = gaggle::go(move || {
        while !stop3.load(Ordering::Relaxed) {
            let short = gaggle::Builder::new()
                .name("short")
                .spawn(gaggle::yield_now)
                .expect("it starts");
            short.join().expect("no panic");
            started2.fetch_add(1, Ordering::Relaxed);
        }
    });
    for _ in 0..200 {
        gaggle::yield_now();
        let dump = gaggle::runtime::stack_dump();
        assert!(dump.contains("goroutine "), "{dump}");
    }
    while started.load(Ordering::Relaxed) < 100 {
        gaggle::yield_now();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(player.join().expect("no panic") > 0);
    other.join().expect("no panic");
    starter.join().expect("no panic");
}
