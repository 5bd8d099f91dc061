//! Go's contract for timers and tickers, case by case; `docs/contracts.md` says which of Go's cases each
//! test is. Where a case waits for time to pass it checks that nothing came too early, never that it came
//! soon: that the machine decides.

mod support;

use gaggle::chan::{self, Receiver, bounded, unbuffered};
use gaggle::select;
use gaggle::time::{AfterFunc, Ticker, Timer, after_func, sleep};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(2);
/// Later than any test runs.
const LATE: Duration = Duration::from_secs(3600);

/// Runs the case as an OS thread and as a goroutine.
fn on_both(case: fn()) {
    case();
    gaggle::go(case).join().unwrap();
}

/// A function timer that sends when it runs.
fn sending(delay: Duration) -> (AfterFunc, Receiver<Instant>) {
    let (sender, receiver) = bounded(1);
    let timer = after_func(delay, move || sender.send(Instant::now()).unwrap());
    (timer, receiver)
}

#[track_caller]
fn assert_nothing(receiver: &Receiver<Instant>) {
    assert!(receiver.try_recv().is_err(), "an extra tick");
    select! {
        recv(receiver) -> _ => panic!("an extra tick"),
        default => {}
    }
}

#[test]
fn functions_that_start_functions_all_run() {
    fn countdown(left: u32, sender: chan::Sender<()>) {
        after_func(Duration::ZERO, move || match left {
            0 => sender.send(()).unwrap(),
            _ => {
                countdown(left - 1, sender);
                // It holds up nobody but itself.
                gaggle::park_timeout(SHORT);
            }
        });
    }
    on_both(|| {
        let (sender, receiver) = bounded(1);
        countdown(10, sender);
        receiver.recv().unwrap();
    });
}

#[test]
fn ticker_of_a_nanosecond_ticks_under_load() {
    on_both(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let load = gaggle::go(move || {
            while !stopped.load(Ordering::Relaxed) {
                drop(vec![1; 1000]);
                sleep(Duration::from_nanos(1));
            }
        });
        let ticker = Ticker::new(Duration::from_nanos(1));
        assert_eq!(ticker.receiver().iter().take(100).count(), 100);
        ticker.stop();
        stop.store(true, Ordering::Relaxed);
        load.join().unwrap();
        assert_nothing(ticker.receiver());
    });
}

#[test]
fn ticker_of_a_nanosecond_serves_ten_receivers() {
    on_both(|| {
        let ticker = Ticker::new(Duration::from_nanos(1));
        let receivers: Vec<_> = (0..10)
            .map(|_| {
                let ticks = ticker.receiver().clone();
                gaggle::go(move || ticks.iter().take(100).count())
            })
            .collect();
        for receiver in receivers {
            assert_eq!(receiver.join().unwrap(), 100);
        }
        ticker.stop();
    });
}

#[test]
fn function_is_not_starved_by_goroutines_that_wake_each_other() {
    const NAME: &str = "function_is_not_starved_by_goroutines_that_wake_each_other";
    if !support::is_child(NAME) {
        let output = support::run_child(NAME, &[("GAGGLE_MAXPROCS", Some("1"))]);
        assert!(output.status.success(), "{}", support::said(&output));
        return;
    }
    gaggle::run(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = bounded(1);
        let stopped = Arc::clone(&stop);
        let sending = gaggle::go(move || {
            while !stopped.load(Ordering::Relaxed) {
                sender.send(()).unwrap();
            }
        });
        let receiving = gaggle::go(move || receiver.iter().count());
        let stops = Arc::clone(&stop);
        let _timer = after_func(SHORT, move || stops.store(true, Ordering::Relaxed));
        sending.join().unwrap();
        receiving.join().unwrap();
    });
}

#[test]
fn ticks_take_their_time_and_end_with_stop() {
    on_both(|| {
        const COUNT: u32 = 5;
        let begun = Instant::now();
        let ticker = Ticker::new(SHORT);
        ticker.receiver().iter().take(COUNT as usize).for_each(drop);
        // The first tick came one period after the start, the last so many.
        assert!(begun.elapsed() >= SHORT * COUNT);
        let reset = Instant::now();
        ticker.reset(SHORT * 2);
        ticker.receiver().iter().take(COUNT as usize).for_each(drop);
        assert!(reset.elapsed() >= SHORT * 2 * COUNT);
        ticker.stop();
        sleep(SHORT * 2);
        assert_nothing(ticker.receiver());
    });
}

#[test]
fn tickers_are_torn_down_after_a_tick() {
    on_both(|| {
        for _ in 0..3 {
            let ticker = Ticker::new(SHORT);
            ticker.receiver().recv().unwrap();
            ticker.stop();
        }
    });
}

#[test]
#[should_panic(expected = "longer than zero")]
fn ticker_of_no_length_panics() {
    let _ = Ticker::new(Duration::ZERO);
}

#[test]
#[should_panic(expected = "longer than zero")]
fn ticker_reset_to_no_length_panics() {
    Ticker::new(LATE).reset(Duration::ZERO);
}

#[test]
fn queue_of_messages_flows_while_thousands_of_timers_are_adjusted() {
    on_both(|| {
        let sleepers: Vec<_> = (0..1_000)
            .map(|_| gaggle::go(|| sleep(Duration::from_micros(10))))
            .collect();
        let (into, from_into) = unbuffered::<usize>();
        let (out, from_out) = unbuffered();
        let queue = gaggle::go(move || {
            let mut waiting = std::collections::VecDeque::new();
            loop {
                let mut next = waiting.pop_front();
                select! {
                    send_from(out, next) -> sent => sent.unwrap(),
                    recv(from_into) -> value => match value {
                        Ok(value) => {
                            if let Some(next) = next {
                                waiting.push_front(next);
                            }
                            waiting.push_back(value);
                        }
                        Err(_) => return,
                    },
                }
            }
        });
        for round in 0..200 {
            for value in 0..20 {
                into.send(round * 20 + value).unwrap();
            }
            for value in 0..20 {
                // Each of these waits arms a deadline that is never reached.
                select! {
                    recv(from_out) -> received => assert_eq!(received, Ok(round * 20 + value)),
                    recv(chan::after(LATE)) -> _ => unreachable!(),
                }
            }
        }
        drop(into);
        queue.join().unwrap();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
    });
}

/// What a timer and a ticker have in common.
trait Settable {
    fn ticks(&self) -> &Receiver<Instant>;
    fn stop(&self) -> bool;
    fn reset(&self, duration: Duration) -> bool;
}

impl Settable for Timer {
    fn ticks(&self) -> &Receiver<Instant> {
        self.receiver()
    }
    fn stop(&self) -> bool {
        Timer::stop(self)
    }
    fn reset(&self, duration: Duration) -> bool {
        Timer::reset(self, duration)
    }
}

impl Settable for Ticker {
    fn ticks(&self) -> &Receiver<Instant> {
        self.receiver()
    }
    fn stop(&self) -> bool {
        Ticker::stop(self);
        true
    }
    fn reset(&self, duration: Duration) -> bool {
        Ticker::reset(self, duration);
        true
    }
}

const SOON: Duration = Duration::from_nanos(1);

/// Stops and resets with nobody waiting; `is_ticker`: more ticks come by themselves.
fn set_with_nobody_waiting(timer: &impl Settable, is_ticker: bool) {
    let ticks = timer.ticks();
    assert!(timer.stop());
    assert_nothing(ticks);
    timer.reset(LATE);
    assert_nothing(ticks);
    timer.reset(SOON);
    ticks.recv().unwrap();
    if !is_ticker {
        assert_nothing(ticks);
        assert!(!timer.stop(), "it was received");
    }
    // What was due and not received is not received after a reset.
    timer.reset(SOON);
    sleep(SHORT);
    assert!(timer.reset(LATE), "it was due and not received");
    assert_nothing(ticks);
    timer.reset(SOON);
    sleep(SHORT);
    assert!(timer.stop());
    assert_nothing(ticks);
    assert!(ticks.is_empty());
}

/// Resets while goroutines wait, in a receive and in selects.
fn set_while_others_wait(timer: &impl Settable) {
    timer.reset(LATE);
    let ticks = timer.ticks().clone();
    let (began_sender, began) = unbuffered();
    let began_one = began_sender.clone();
    let waiting = gaggle::go(move || {
        began_one.send(()).unwrap();
        ticks.recv()
    });
    began.recv().unwrap();
    gaggle::yield_now();
    timer.reset(LATE * 2);
    assert!(!waiting.is_finished());
    timer.reset(SOON);
    waiting.join().unwrap().unwrap();

    timer.stop();
    let (stop, stopped) = unbuffered::<()>();
    let (ticked_sender, ticked) = unbuffered();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (ticks, stopped) = (timer.ticks().clone(), stopped.clone());
            let (began, ticked) = (began_sender.clone(), ticked_sender.clone());
            gaggle::go(move || {
                began.send(()).unwrap();
                select! {
                    recv(ticks) -> tick => ticked.send(tick.is_ok()).unwrap(),
                    recv(stopped) -> _ => {}
                }
            })
        })
        .collect();
    began.recv().unwrap();
    began.recv().unwrap();
    assert!(ticked.try_recv().is_err(), "it is stopped");
    timer.reset(SOON);
    assert_eq!(ticked.recv(), Ok(true));
    timer.stop();
    drop((stop, ticked_sender));
    // A ticker may have served the other one too, before the stop.
    while ticked.recv().is_ok() {}
    for waiting in waiting {
        waiting.join().unwrap();
    }
}

/// Goroutines that began to wait for a stopped timer are not disturbed by it.
fn wait_while_stopped(timer: &impl Settable) {
    timer.stop();
    let (stop, stopped) = unbuffered::<()>();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (ticks, stopped) = (timer.ticks().clone(), stopped.clone());
            gaggle::go(move || {
                select! {
                    recv(ticks) -> _ => panic!("it is stopped"),
                    recv(stopped) -> _ => {}
                }
            })
        })
        .collect();
    gaggle::yield_now();
    drop(stop);
    for waiting in waiting {
        waiting.join().unwrap();
    }
}

#[test]
fn timer_set_again_and_again_never_delivers_an_old_time() {
    on_both(|| {
        let timer = Timer::new(LATE);
        set_with_nobody_waiting(&timer, false);
        set_while_others_wait(&timer);
        wait_while_stopped(&timer);
        assert!(!timer.stop());
        assert!(!timer.reset(LATE));
        assert!(timer.reset(LATE));
        assert!(timer.stop());
    });
}

#[test]
fn ticker_set_again_and_again_never_delivers_an_old_time() {
    on_both(|| {
        let ticker = Ticker::new(LATE);
        set_with_nobody_waiting(&ticker, true);
        set_while_others_wait(&ticker);
        wait_while_stopped(&ticker);
    });
}

#[test]
fn received_time_is_when_it_was_due_not_when_it_was_received() {
    /// Receives long after the time; whether all four said that it was long ago.
    fn all_say_so() -> bool {
        let begun = Instant::now();
        let receivers = [chan::after(SHORT), chan::tick(SHORT)];
        let (timer, ticker) = (Timer::new(SHORT), Ticker::new(SHORT));
        sleep(SHORT * 10);
        let looked = Instant::now();
        let all = [
            &receivers[0],
            &receivers[1],
            timer.receiver(),
            ticker.receiver(),
        ];
        all.iter().all(|receiver| {
            let time = receiver.recv().unwrap();
            assert!(time >= begun + SHORT);
            time + SHORT < looked
        })
    }
    // A machine that stands still between two readings of the clock makes one of them late.
    on_both(|| assert!((0..100).any(|_| all_say_so())));
}

#[test]
fn after_comes_after_its_time_and_says_so() {
    on_both(|| {
        let begun = Instant::now();
        let time = chan::after(SHORT).recv().unwrap();
        assert!(begun.elapsed() >= SHORT);
        assert!(time >= begun + SHORT);
        // One after the other, their times add up.
        let begun = Instant::now();
        for _ in 0..10 {
            chan::after(SHORT).recv().unwrap();
        }
        assert!(begun.elapsed() >= SHORT * 10);
    });
}

#[test]
fn stopped_timer_and_function_do_not_come_although_later_ones_do() {
    on_both(|| {
        let timer = Timer::new(SHORT);
        let (function, ran) = sending(SHORT * 2);
        let later = chan::after(SHORT * 3);
        // On a machine that stands still meanwhile, they may have come before.
        let was_stopped = (timer.stop(), function.stop());
        later.recv().unwrap();
        assert!(was_stopped.0, "nobody has received it");
        assert_nothing(timer.receiver());
        assert_eq!(ran.recv().is_err(), was_stopped.1);
        assert!(!timer.stop() && !function.stop());
    });
}

#[test]
fn times_armed_in_any_order_come_when_they_are_due() {
    const SLOTS: [u32; 13] = [5, 3, 6, 6, 6, 1, 1, 2, 7, 9, 4, 8, 0];
    on_both(|| {
        let begun = Instant::now();
        let (sender, receiver) = bounded(SLOTS.len());
        for slot in SLOTS {
            let (sender, time) = (sender.clone(), chan::after(SHORT * slot));
            gaggle::go(move || {
                let due = time.recv().unwrap();
                sender.send((slot, due, Instant::now())).unwrap();
            });
        }
        drop(sender);
        let results: Vec<_> = receiver.iter().collect();
        assert_eq!(results.len(), SLOTS.len());
        for (slot, due, received) in results {
            assert!(due >= begun + SHORT * slot && received >= due);
        }
    });
}

#[test]
fn timers_are_stopped_by_other_goroutines_than_their_own() {
    on_both(|| {
        let stopping: Vec<_> = (0..100)
            .map(|_| {
                let timer = after_func(LATE, || unreachable!("it is stopped"));
                gaggle::go(move || {
                    sleep(SHORT);
                    timer.stop()
                })
            })
            .collect();
        assert!(
            stopping
                .into_iter()
                .all(|stopping| stopping.join().unwrap())
        );
    });
}

#[test]
fn sleep_of_nothing_leaves_the_goroutine_running() {
    on_both(|| {
        let load = gaggle::go(|| (0..100).for_each(|_| gaggle::yield_now()));
        for _ in 0..100 {
            sleep(Duration::ZERO);
            let (sender, receiver) = bounded(1);
            sender.send(()).unwrap();
            receiver.recv().unwrap();
        }
        load.join().unwrap();
    });
}

#[test]
fn reset_says_whether_the_timer_was_active_and_sets_its_time() {
    on_both(|| {
        let timer = Timer::new(LATE);
        let reset = Instant::now();
        assert!(timer.reset(SHORT));
        timer.receiver().recv().unwrap();
        assert!(reset.elapsed() >= SHORT);
        assert!(!timer.reset(LATE), "it was received");
        assert!(timer.stop());
        let (function, ran) = sending(LATE);
        let reset = Instant::now();
        assert!(function.reset(SHORT));
        assert!(ran.recv().unwrap() >= reset + SHORT);
        assert!(!function.reset(LATE) && !function.stop(), "it has run");
    });
}

#[test]
fn lengths_beyond_the_clock_are_for_ever() {
    on_both(|| {
        let never = Timer::new(Duration::MAX);
        let longest = Ticker::new(Duration::from_nanos(u64::MAX));
        select! {
            recv(chan::after(Duration::MAX)) -> _ => unreachable!(),
            recv(never.receiver()) -> _ => unreachable!(),
            recv(longest.receiver()) -> _ => unreachable!(),
            recv(chan::after(SHORT)) -> _ => {}
        }
        // They disturb nobody either.
        let (function, ran) = sending(Duration::MAX);
        let (_other, other_ran) = sending(SHORT);
        other_ran.recv().unwrap();
        assert!(ran.try_recv().is_err());
        assert!(function.stop() && never.stop());
        longest.reset(Duration::MAX);
        assert_nothing(longest.receiver());
    });
}

#[test]
fn timers_of_no_length_are_never_missed() {
    on_both(|| {
        let (timer, function) = (Timer::new(LATE), sending(LATE));
        drop(function);
        for _ in 0..2_000 {
            Timer::new(Duration::ZERO).receiver().recv().unwrap();
            sending(Duration::ZERO).1.recv().unwrap();
            timer.reset(Duration::ZERO);
            timer.receiver().recv().unwrap();
        }
    });
}

#[test]
fn function_moved_earlier_again_and_again_runs() {
    on_both(|| {
        for _ in 0..200 {
            let (function, ran) = sending(LATE);
            for _ in 0..10 {
                assert!(function.reset(LATE / 2));
            }
            assert!(function.reset(Duration::ZERO));
            ran.recv().unwrap();
        }
    });
}

/// Go's runs again; see `docs/contracts.md`.
#[test]
fn function_that_has_run_or_was_stopped_is_not_set_again_but_another_can_be() {
    on_both(|| {
        let (function, ran) = sending(Duration::ZERO);
        ran.recv().unwrap();
        assert!(!function.reset(Duration::ZERO));
        let (stopped, never_ran) = sending(LATE);
        assert!(stopped.stop());
        assert!(!stopped.reset(Duration::ZERO));
        // They were dropped with what they hold, so nothing can come.
        assert!(ran.recv().is_err() && never_ran.recv().is_err());
        let (_another, runs) = sending(Duration::ZERO);
        runs.recv().unwrap();
    });
}

#[test]
fn timers_adjusted_in_random_order_lose_no_time() {
    on_both(|| {
        let mut timers: Vec<(Timer, u32)> = (0..100).map(|_| (Timer::new(SOON), 0)).collect();
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        while !timers.is_empty() {
            // Marsaglia's xorshift: the same order each time.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let place = (random % timers.len() as u64) as usize;
            let (timer, next) = &mut timers[place];
            let step = *next;
            *next += 1;
            match step {
                0 | 8 => assert!(timer.receiver().recv().is_ok()),
                1 | 3 | 5 => assert!(!timer.reset(LATE * (step + 1)), "it is idle"),
                2 | 4 | 6 => assert!(timer.stop(), "it is active"),
                7 => assert!(!timer.reset(Duration::ZERO)),
                _ => drop(timers.swap_remove(place)),
            }
        }
    });
}

/// Two timers race; the one that was not received must be active for `end`.
fn one_of_two_is_received(end: fn(&Timer) -> bool) {
    let racing: Vec<_> = (0..20)
        .map(|_| {
            gaggle::go(move || {
                for _ in 0..20 {
                    let (one, other) = (Timer::new(SHORT / 4), Timer::new(SHORT / 4));
                    let left = select! {
                        recv(one.receiver()) -> _ => &other,
                        recv(other.receiver()) -> _ => &one,
                    };
                    assert!(end(left), "nobody has received it");
                    assert_nothing(left.receiver());
                }
            })
        })
        .collect();
    for racing in racing {
        racing.join().unwrap();
    }
}

#[test]
fn stop_racing_the_time_says_whether_it_was_received() {
    on_both(|| one_of_two_is_received(Timer::stop));
}

#[test]
fn reset_racing_the_time_says_whether_it_was_received() {
    on_both(|| one_of_two_is_received(|timer| timer.reset(LATE)));
}

#[test]
fn many_goroutines_wake_up_for_one_ticker() {
    on_both(|| {
        let ticker = Ticker::new(Duration::from_micros(1));
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let ticks = ticker.receiver().clone();
                gaggle::go(move || {
                    for _ in 0..500 {
                        select! {
                            recv(ticks) -> tick => assert!(tick.is_ok()),
                            recv(chan::after(SHORT)) -> _ => {}
                        }
                    }
                })
            })
            .collect();
        for waiting in waiting {
            waiting.join().unwrap();
        }
    });
}

#[test]
fn many_goroutines_wake_up_for_one_timer() {
    on_both(|| {
        let timer = Arc::new(Timer::new(SOON));
        let received = Arc::new(AtomicUsize::new(0));
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let (timer, received) = (Arc::clone(&timer), Arc::clone(&received));
                gaggle::go(move || {
                    for _ in 0..200 {
                        select! {
                            recv(timer.receiver()) -> _ => {
                                received.fetch_add(1, Ordering::Relaxed);
                            }
                            recv(chan::after(SHORT / 10)) -> _ => {}
                        }
                        timer.reset(SOON);
                    }
                })
            })
            .collect();
        for waiting in waiting {
            waiting.join().unwrap();
        }
        assert!(received.load(Ordering::Relaxed) > 0);
    });
}

#[test]
fn ends_of_contexts_and_timers_race_without_a_loss() {
    on_both(|| {
        for _ in 0..100 {
            let timer = Timer::new(SHORT);
            let (context, cancel) = gaggle::context::background().with_cancel();
            let canceling = gaggle::go(move || cancel.cancel());
            let received = context.run(|| timer.receiver().recv()).is_ok();
            // Received, or still to be received: one of both.
            assert_eq!(timer.stop(), !received);
            canceling.join().unwrap();
        }
    });
}
