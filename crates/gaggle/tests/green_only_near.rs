//! A goroutine that a channel operation has readied is left to run where it was readied, and does not wait
//! there if the other computes on.

mod support;

use gaggle::chan::unbuffered;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Without preemption nothing but a second processor can run the receiver while the sender computes.
#[test]
fn receiver_runs_beside_a_sender_that_computes_on() {
    let name = "receiver_runs_beside_a_sender_that_computes_on";
    if !support::is_child(name) {
        if gaggle::runtime::backend_name() == "green" {
            let environment = [
                ("GAGGLE_MAXPROCS", Some("2")),
                ("GAGGLE_DEBUG", Some("asyncpreemptoff=1")),
            ];
            let output = support::run_child(name, &environment);
            assert!(output.status.success(), "{}", support::said(&output));
        }
        return;
    }
    gaggle::run(|| {
        let (sender, receiver) = unbuffered::<Arc<AtomicBool>>();
        let receiving = gaggle::go(move || {
            for has_come in &receiver {
                // Release: pairs with the Acquire below.
                has_come.store(true, Ordering::Release);
            }
        });
        for _ in 0..20 {
            // The receiver waits before it is sent to, so that the send readies it.
            let has_come = Arc::new(AtomicBool::new(false));
            while let Err(error) = sender.try_send(Arc::clone(&has_come)) {
                assert!(error.is_full());
                gaggle::yield_now();
            }
            while !has_come.load(Ordering::Acquire) {
                spin_loop();
            }
        }
        drop(sender);
        receiving.join().unwrap();
    });
}

/// Each of two goroutines that pass a value to and fro waits right after it has passed it on, so both stay on
/// one processor though there are two.
#[test]
fn two_that_take_turns_stay_on_one_processor() {
    let name = "two_that_take_turns_stay_on_one_processor";
    if !support::is_child(name) {
        if gaggle::runtime::backend_name() == "green" {
            let output = support::run_child(name, &[("GAGGLE_MAXPROCS", Some("2"))]);
            assert!(output.status.success(), "{}", support::said(&output));
        }
        return;
    }
    const ROUNDS: u32 = 100_000;
    gaggle::run(|| {
        let (ping, pinged) = unbuffered();
        let (pong, ponged) = unbuffered();
        let echo = gaggle::go(move || {
            pinged.iter().for_each(|n: u32| pong.send(n).unwrap());
            gaggle::runtime::own_migrations()
        });
        let play = gaggle::go(move || {
            for n in 0..ROUNDS {
                ping.send(n).unwrap();
                assert_eq!(ponged.recv(), Ok(n));
            }
            gaggle::runtime::own_migrations()
        });
        let moves = play.join().unwrap() + echo.join().unwrap();
        // A wake of another processor for each of them would move one in most rounds.
        assert!(moves < ROUNDS / 10, "{moves} moves");
    });
}
